# Types of the model. Nix shows a type's description in the error about a wrong value.
{ lib }:
let
  inherit (lib) types;
  ipv6 = import ./ipv6.nix { inherit lib; };
  sshKey = import ./ssh-key.nix { inherit lib; };

  matching =
    name: description: regex:
    types.strMatching regex // { inherit name description; };
in
{
  # RFC 1123, lower case, so that a name is also a host name, a file name and a label of a DNS name.
  label =
    matching "label" "name of lower-case letters, digits and hyphens (at most 63)"
      "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

  domain =
    matching "domain" "DNS domain in lower case"
      "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?([.][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*";

  ipv4 =
    let
      octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    in
    matching "ipv4" "IPv4 address" "${octet}[.]${octet}[.]${octet}[.]${octet}";

  # In lower case (RFC 5952, 4.3). An invalid address is an error here; the node would start without it.
  ipv6 = types.addCheck types.str (text: ipv6.expanded text != null) // {
    name = "ipv6";
    description = "IPv6 address";
  };

  # A line of authorized_keys (sshd(8)): options, if any, kind, key. The key itself is checked, because sshd silently
  # ignores a line that it cannot read, which may be an administrator's only one.
  sshPublicKey =
    let
      option = "[A-Za-z0-9@.-]+(=\"([^\"\n\\]|\\\\.)*\")?";
      line = "((${option})(,${option})* )?([a-z0-9@.-]+) ([A-Za-z0-9+/]+=*)( [^\n]*)?";
      fits =
        text:
        let
          found = builtins.match line text;
        in
        found != null && sshKey.isWhole (lib.elemAt found 7) (lib.elemAt found 8);
    in
    types.addCheck types.str fits
    // {
      name = "sshPublicKey";
      description = "OpenSSH public key on one line";
    };

  userName =
    matching "userName"
      "user name of lower-case letters, digits, hyphens, underscores and inner dots (at most 31)"
      "[a-z_]([a-z0-9_.-]{0,29}[a-z0-9_-])?";

  passPrefix =
    matching "passPrefix" "path in the password store, without a slash at either end"
      "[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*";

  wireguardKey =
    matching "wireguardKey" "WireGuard key: 32 bytes in base64"
      "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=";

  # wg of wireguard-tools 1.0.20210914 accepts the port 70000 and sends to 4464, as getaddrinfo of glibc 2.36 keeps 16 bits.
  endpoint =
    let
      fits =
        text:
        let
          found = builtins.match "([A-Za-z0-9.-]+|\\[([0-9a-f:]+)]):([1-9][0-9]{0,4})" text;
          inBrackets = lib.elemAt found 1;
        in
        found != null
        && lib.toInt (lib.elemAt found 2) < 65536
        && (inBrackets == null || ipv6.expanded inBrackets != null);
    in
    types.addCheck types.str fits
    // {
      name = "endpoint";
      description = "host:port";
    };

  # A string, not a Nix path: Nix would copy a path to the store, where everyone can read it.
  nodePath =
    types.addCheck (types.strMatching "/[^\n]+") (path: !lib.hasPrefix builtins.storeDir path)
    // {
      name = "nodePath";
      description = "absolute path on the node, as a string, outside the Nix store";
    };

  unit =
    matching "unit" "name of a systemd unit with its suffix"
      "[A-Za-z0-9:_.@\\-]+[.](service|socket|target|timer|path)";
}
