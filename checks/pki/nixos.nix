# What nodes of NixOS in the lab have beside the project's modules, for ./scenario.py.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config) cluster;
  servers = lib.attrNames (lib.filterAttrs (_: node: node.role == "server") cluster.nodes);
in
{
  # The client that asks all the time, and asks the agents that should not be, is on the operator's machine, which is no node.
  networking.firewall.allowedTCPPorts = [
    4646
    8501
    28501
  ];

  # Shorter waits than Consul's own: a test waits for them.
  services.consul.extraConfig = {
    retry_interval = "1s";
    performance.raft_multiplier = 1;
    autopilot.server_stabilization_time = "1s";
  };

  # ./nomad.rs, built on the operator's machine, with the libraries in the store; the configuration that Nomad would read is
  # told to it in its own words.
  services.nomad.package =
    pkgs.runCommand "nomad-standin" { nativeBuildInputs = [ pkgs.patchelf ]; }
      ''
        install -D -m 755 ${./nomad-standin} $out/libexec/nomad-standin
        patchelf --set-interpreter ${pkgs.stdenv.cc.bintools.dynamicLinker} --force-rpath \
          --set-rpath ${pkgs.stdenv.cc.cc.lib}/lib $out/libexec/nomad-standin
        mkdir $out/bin
        cat >$out/bin/nomad <<SCRIPT
        #!${pkgs.runtimeShell}
        exec $out/libexec/nomad-standin ${cluster.pki.nomad.directory} ${cluster.nodeName} ${lib.concatStringsSep "," servers}
        SCRIPT
        chmod 755 $out/bin/nomad
      '';
}
