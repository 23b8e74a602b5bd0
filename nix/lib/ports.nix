# Ports without an option: defaults of Consul and Nomad, and the range for Nomad's jobs.
{
  consul = {
    rpc = 8300;
    serf = 8301;
    dns = 8600;
  };
  nomad = {
    rpc = 4647;
    serf = 4648;
    # Nomad takes the dynamic ports of jobs from this range.
    jobs = {
      from = 20000;
      to = 32000;
    };
  };
}
