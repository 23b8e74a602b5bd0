{ lib, ... }:
let
  inherit (lib) mkOption types;

  forward = types.submodule {
    options = {
      localPort = mkOption {
        type = types.port;
        example = 1389;
        description = "Port on the operator's machine, on loopback.";
      };
      host = mkOption {
        type = types.strMatching "[A-Za-z0-9.:-]+" // {
          description = "host name or address";
        };
        example = "bottin.service.prod.consul";
        description = "Host to connect to, by a name that the cluster's nodes resolve.";
      };
      port = mkOption {
        type = types.port;
        example = 389;
        description = "TCP port of that host.";
      };
    };
  };
in
{
  options.cluster = mkOption {
    type = types.submodule {
      options.forwards = mkOption {
        type = types.attrsOf forward;
        default = { };
        example = {
          ldap = {
            localPort = 1389;
            host = "bottin.service.prod.consul";
            port = 389;
          };
        };
        description = "TCP ports that `tlsproxy` forwards, beside Nomad's and Consul's.";
      };
    };
  };
}
