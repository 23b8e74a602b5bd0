# Ports that no option sets: those that Consul and Nomad take unless told otherwise, and the range for Nomad's jobs.
{
  consul = {
    rpc = 8300;
    serf = 8301;
    dns = 8600;
  };
  nomad = {
    rpc = 4647;
    serf = 4648;
    # What the ports that jobs ask for are taken from.
    jobs = {
      from = 20000;
      to = 32000;
    };
  };
}
