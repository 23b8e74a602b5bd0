# Three bare nodes become a cluster. Nothing fails while certificates and secrets are missing; the last of them to arrive starts the
# services.
{ lib, self, ... }:
{ hostPkgs, ... }:
let
  nodes = import ./nix/machines.nix { inherit lib self; } {
    alder = "server";
    birch = "server";
    cedar = "server";
  };

  # The files that gen-pki makes, made by openssl instead.
  pki = hostPkgs.runCommand "test-pki" { nativeBuildInputs = [ hostPkgs.openssl ]; } ''
    mkdir "$out"
    cd "$out"
    issue() {
      app=$1 name=$2 names=$3 usage=$4
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out request
      printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$usage" "$names" > extensions
      openssl x509 -req -in request -CA "$app-ca.crt" -CAkey "$app-ca.key" -CAcreateserial -days 700 \
        -extfile extensions -out "$name.crt"
    }
    for app in consul nomad; do
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$app" \
        -keyout "$app-ca.key" -out "$app-ca.crt"
    done
    issue consul consul 'DNS:server.vm.consul,DNS:localhost,IP:127.0.0.1' serverAuth,clientAuth
    issue consul consul-client 'DNS:cli.vm.consul' clientAuth
    issue nomad nomad 'DNS:server.vm.nomad,DNS:client.vm.nomad,DNS:localhost,IP:127.0.0.1' serverAuth,clientAuth
    issue nomad nomad-client 'DNS:cli.vm.nomad' clientAuth
    rm request extensions
  '';
in
{
  name = "cluster";
  inherit nodes;

  testScript = ''
    import base64
    import os

    machines = [alder, birch, cedar]
    gossip = {name: base64.b64encode(os.urandom(32)).decode() for name in ["consul-gossip", "nomad-gossip"]}

    def install(machine, folder, owner, names):
        for name in names:
            machine.copy_from_host(f"${pki}/{name}", f"/tmp/{name}")
            machine.succeed(f"install -o {owner} -m 0600 /tmp/{name} {folder}/{name}")

    def consul(path):
        return (
            "curl -sf --cacert /var/lib/consul/pki/consul-ca.crt --cert /tmp/consul-client.crt"
            f" --key /tmp/consul-client.key https://127.0.0.1:8501{path}"
        )

    def nomad(path):
        return (
            "curl -sf --cacert /var/lib/nomad/pki/nomad-ca.crt --cert /tmp/nomad-client.crt"
            f" --key /tmp/nomad-client.key https://127.0.0.1:4646{path}"
        )

    start_all()
    for machine in machines:
        machine.wait_for_unit("multi-user.target")

    with subtest("nothing fails on bare nodes"):
        for machine in machines:
            machine.succeed("systemctl is-active sshd unbound")
            machine.fail("systemctl is-active consul")
            machine.fail("systemctl is-active nomad")
            machine.succeed("test -z \"$(systemctl --failed --no-legend)\"")

    with subtest("the administrator needs a password, root is shut out"):
        for machine in machines:
            machine.succeed("id -nG alice | grep -qw wheel")
            machine.fail("su alice -c 'sudo -n true'")
            machine.succeed("sshd -T | grep -qx 'permitrootlogin no'")
            machine.succeed("sshd -T | grep -qx 'passwordauthentication no'")

    with subtest("certificates and secrets start the cluster"):
        for machine in machines:
            install(machine, "/var/lib/nomad/pki", "root", [
                "nomad-ca.crt", "nomad.crt", "nomad.key", "consul-ca.crt", "consul-client.crt", "consul-client.key",
            ])
            for name, key in gossip.items():
                machine.succeed(f"install -m 0400 /dev/stdin /var/lib/nixcfg/secrets/{name} <<< '{key}'")
            # Last, so that the path unit starts Consul.
            install(machine, "/var/lib/consul/pki", "consul", ["consul-ca.crt", "consul.crt", "consul.key"])
            for name in ["nomad-client.crt", "nomad-client.key"]:
                machine.copy_from_host(f"${pki}/{name}", f"/tmp/{name}")
        for machine in machines:
            machine.wait_for_unit("consul")
            machine.wait_for_unit("nomad")
            machine.wait_until_succeeds(consul("/v1/status/leader") + " | grep 8300")
            machine.wait_until_succeeds(nomad("/v1/status/leader") + " | grep 4647")
        alder.wait_until_succeeds(consul("/v1/operator/autopilot/health") + " | grep '\"FailureTolerance\": *1'")
        alder.wait_until_succeeds(nomad("/v1/nodes") + " | grep cedar")

    with subtest("there is no plain port and no way in without a certificate"):
        alder.fail("curl -s http://127.0.0.1:8500/v1/status/leader")
        alder.fail("curl -sk https://127.0.0.1:8501/v1/status/leader")
        alder.fail("curl -sk https://127.0.0.1:4646/v1/status/leader")

    with subtest("names of the cluster resolve on every node"):
        for machine in machines:
            machine.wait_until_succeeds("getent ahostsv4 cedar.node.consul | grep 192.168.1.3")

    with subtest("the cluster survives the loss of one server"):
        birch.shutdown()
        alder.wait_until_succeeds(consul("/v1/status/leader") + " | grep 8300")
        cedar.wait_until_succeeds(nomad("/v1/status/leader") + " | grep 4647")
  '';
}
