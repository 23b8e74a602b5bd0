# Types of the model. Each one says in its description what is wanted, because that is what a wrong value is answered with.
{ lib }:
let
  inherit (lib) types;

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

  # A coarse sieve: letters, digits and at least two colons; the kernel is the judge of the rest.
  ipv6 = matching "ipv6" "IPv6 address" "[0-9a-f]*:[0-9a-f:]*:[0-9a-f:.]*";

  sshPublicKey =
    matching "sshPublicKey" "OpenSSH public key on one line"
      "(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh[.]com|sk-ecdsa-sha2-nistp256@openssh[.]com) [A-Za-z0-9+/]+=*( [^\n]*)?";

  userName =
    matching "userName" "user name of lower-case letters, digits, hyphens and underscores (at most 31)"
      "[a-z_][a-z0-9_-]{0,30}";

  passPrefix =
    matching "passPrefix" "path in the password store, without a slash at either end"
      "[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*";

  wireguardKey =
    matching "wireguardKey" "WireGuard key: 32 bytes in base64"
      "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=";

  endpoint = matching "endpoint" "host:port" "([A-Za-z0-9.-]+|\\[[0-9a-f:.]+]):[0-9]{1,5}";

  # A string, not a Nix path: a path would be copied to the store, where everyone can read it.
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
