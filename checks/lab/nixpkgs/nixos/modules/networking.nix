# Names, addresses and resolvers. Addresses are not applied, as the lab gives them to its nodes.
# Follows nixos/modules/tasks/network-interfaces.nix, nixos/modules/config/networking.nix.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag lines nullable;
  cfg = config.networking;
  strings =
    description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit description;
    };
  address =
    version:
    types.submodule {
      options = {
        address = mkOption {
          type = types.str;
          description = "The IPv${toString version} address.";
        };
        prefixLength = mkOption {
          type = types.ints.between 0 (if version == 4 then 32 else 128);
          description = "The length of the network's prefix.";
        };
      };
    };
  route =
    version:
    types.submodule {
      options = {
        address = mkOption {
          type = types.str;
          description = "The IPv${toString version} network.";
        };
        prefixLength = mkOption {
          type = types.ints.between 0 (if version == 4 then 32 else 128);
          description = "The length of the network's prefix.";
        };
        type = mkOption {
          type = types.nullOr (
            types.enum [
              "unicast"
              "local"
              "broadcast"
              "multicast"
            ]
          );
          default = null;
          description = "The type of the route.";
        };
        via = nullable types.str "The next hop.";
        options = mkOption {
          type = types.attrsOf types.str;
          default = { };
          description = "Further options.";
        };
      };
    };
  family = version: {
    addresses = mkOption {
      type = types.listOf (address version);
      default = [ ];
      description = "IPv${toString version} addresses.";
    };
    routes = mkOption {
      type = types.listOf (route version);
      default = [ ];
      description = "IPv${toString version} routes.";
    };
  };
  gateway = types.nullOr (
    types.coercedTo types.str (address: { inherit address; }) (
      types.submodule {
        options = {
          address = mkOption {
            type = types.str;
            description = "The gateway's address.";
          };
          interface = nullable types.str "The interface to it.";
          metric = nullable types.int "The metric of the route.";
          source = nullable types.str "The source address.";
        };
      }
    )
  );
  gatewayOption =
    description:
    mkOption {
      type = gateway;
      default = null;
      inherit description;
    };
in
{
  options.networking = {
    hostName = mkOption {
      type = types.strMatching "^$|^[[:alnum:]]([[:alnum:]_-]{0,61}[[:alnum:]])?$";
      default = "nixos";
      description = "The name of the machine.";
    };
    fqdn = mkOption {
      type = types.str;
      default =
        if cfg.hostName != "" && cfg.domain != null then
          "${cfg.hostName}.${cfg.domain}"
        else
          throw "networking.fqdn needs networking.hostName and networking.domain.";
      defaultText = lib.literalExpression "networking.hostName and networking.domain with a dot between them";
      description = "The full name of the machine.";
    };
    fqdnOrHostName = mkOption {
      type = types.str;
      readOnly = true;
      default = if cfg.domain == null then cfg.hostName else cfg.fqdn;
      defaultText = lib.literalExpression "the full name where there is a domain, else the host's name";
      description = "The full name, or the host's name.";
    };
    hostId = nullable types.str "A number of the machine, in hexadecimal.";
    domain = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "example.org";
      description = "The machine's domain.";
    };
    search = strings "Domains in which short names are looked up.";
    nameservers = strings "Resolvers.";
    hosts = mkOption {
      type = types.attrsOf (types.listOf types.str);
      default = { };
      description = "Names by address, in /etc/hosts.";
    };
    extraHosts = lines "Further lines of /etc/hosts.";
    enableIPv6 = flag true "Whether IPv6 is used.";
    useDHCP = flag true "Whether interfaces ask for addresses.";
    useNetworkd = flag false "Whether systemd-networkd configures the network.";
    useHostResolvConf = flag false "Whether a container takes the host's resolvers.";
    usePredictableInterfaceNames = flag true "Whether interfaces are named by where they are.";
    tempAddresses = mkOption {
      type = types.enum [
        "default"
        "enabled"
        "disabled"
      ];
      default = "default";
      description = "Whether temporary IPv6 addresses are used.";
    };
    defaultGateway = gatewayOption "The IPv4 gateway.";
    defaultGateway6 = gatewayOption "The IPv6 gateway.";
    dhcpcd.enable = flag true "Whether dhcpcd may run.";
    resolvconf.enable = flag false "Whether resolvconf manages /etc/resolv.conf.";
    networkmanager.enable = flag false "Whether NetworkManager runs.";
    wireless.enable = flag false "Whether wpa_supplicant runs.";
    nftables.enable = flag false "Whether the firewall is made of nftables.";
    interfaces = mkOption {
      default = { };
      description = "Interfaces.";
      type = types.attrsOf (
        types.submodule (
          { name, ... }: {
            options = {
              name = mkOption {
                type = types.str;
                default = name;
                description = "The interface's name.";
              };
              useDHCP = nullable types.bool "Whether it asks for an address.";
              ipv4 = family 4;
              ipv6 = family 6;
              macAddress = nullable types.str "Its hardware address.";
              mtu = nullable types.int "Its largest packet.";
              virtual = flag false "Whether it is made.";
              wakeOnLan.enable = flag false "Whether a packet wakes the machine.";
            };
          }
        )
      );
    };
    bridges = mkOption {
      type = types.attrsOf (
        types.submodule {
          options.interfaces = strings "Interfaces of the bridge.";
          options.rstp = flag false "Whether RSTP is used.";
        }
      );
      default = { };
      description = "Bridges.";
    };
    vlans = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            id = mkOption {
              type = types.int;
              description = "The number.";
            };
            interface = mkOption {
              type = types.str;
              description = "The interface.";
            };
          };
        }
      );
      default = { };
      description = "VLANs.";
    };
    nat = {
      enable = flag false "Whether addresses are translated.";
      externalInterface = nullable types.str "The outer interface.";
      internalInterfaces = strings "Inner interfaces.";
      internalIPs = strings "Inner networks.";
    };
  };
  config = {
    assertions = [
      {
        assertion = cfg.hostName != "" || cfg.domain == null;
        message = "networking.domain needs networking.hostName.";
      }
    ];
    networking.hosts = {
      "127.0.0.1" = [ "localhost" ];
      "::1" = [ "localhost" ];
      "127.0.0.2" = lib.optional (cfg.hostName != "") (
        if cfg.domain == null then cfg.hostName else "${cfg.fqdn} ${cfg.hostName}"
      );
    };
    environment.etc = {
      hosts.text =
        lib.concatStrings (
          lib.mapAttrsToList (
            ip: names: lib.optionalString (names != [ ]) "${ip} ${toString names}\n"
          ) cfg.hosts
        )
        + cfg.extraHosts;
      hostname = lib.mkIf (cfg.hostName != "") { text = cfg.hostName + "\n"; };
      "resolv.conf" = lib.mkIf (cfg.nameservers != [ ] && !config.services.resolved.enable) {
        text =
          lib.optionalString (cfg.search != [ ] || cfg.domain != null)
            "search ${toString (lib.unique (cfg.search ++ lib.optional (cfg.domain != null) cfg.domain))}\n"
          + lib.concatMapStrings (server: "nameserver ${server}\n") (lib.take 3 cfg.nameservers);
      };
    };
  };
}
