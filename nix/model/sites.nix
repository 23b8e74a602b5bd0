{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };

  site = types.submodule {
    options = {
      description = mkOption {
        type = types.str;
        default = "";
        example = "Cellar of the town hall, Lyon";
        description = "Description for people, for example the place.";
      };

      gateway = {
        ipv4 = mkOption {
          type = types.nullOr own.ipv4;
          default = null;
          example = "192.0.2.1";
          description = "Router of the site's IPv4 network.";
        };
        ipv6 = mkOption {
          type = types.nullOr own.ipv6;
          default = null;
          example = "2001:db8:1::1";
          description = "Router of the site's IPv6 network; null leaves it to router advertisements.";
        };
      };

      prefixLength = {
        ipv4 = mkOption {
          type = types.ints.between 1 32;
          default = 24;
          example = 26;
          description = "Length of the prefix of the site's IPv4 network.";
        };
        ipv6 = mkOption {
          type = types.ints.between 1 128;
          default = 64;
          example = 64;
          description = "Length of the prefix of the site's IPv6 network.";
        };
      };

      publicAddress = {
        ipv4 = mkOption {
          type = types.nullOr own.ipv4;
          default = null;
          example = "203.0.113.7";
          description = "Public IPv4 address of the site, where its nodes are behind NAT.";
        };
        ipv6 = mkOption {
          type = types.nullOr own.ipv6;
          default = null;
          example = "2001:db8:7::1";
          description = "IPv6 address of the site as a whole, where it has one for services.";
        };
      };

      nameservers = mkOption {
        type = types.listOf (types.either own.ipv4 own.ipv6);
        default = [ ];
        example = [ "192.0.2.1" ];
        description = "DNS servers that the site's nodes ask for names outside the cluster.";
      };
    };
  };
in
{
  options.cluster = mkOption {
    type = types.submodule {
      options.sites = mkOption {
        type = types.attrsOf site;
        default = { };
        example = {
          lyon.gateway.ipv4 = "192.0.2.1";
        };
        description = "The sites of the cluster. `site/<site>.nix` sets `cluster.sites.<site>`.";
      };
    };
  };
}
