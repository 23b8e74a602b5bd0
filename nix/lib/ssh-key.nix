# Public keys of OpenSSH. A key is base64 of fields, and a field is a length in four bytes and that many bytes (RFC 4251, 5).
{ lib }:
let
  alphabet = lib.stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  valueOf = lib.listToAttrs (lib.imap0 (value: digit: { name = digit; inherit value; }) alphabet);

  # For each kind, how its keys begin and how many fields they have: RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709; OpenSSH's PROTOCOL.u2f.
  kinds = {
    ssh-ed25519 = {
      head = "AAAAC3NzaC1lZDI1NTE5";
      fields = 2;
    };
    ssh-rsa = {
      head = "AAAAB3NzaC1yc2";
      fields = 3;
    };
    ecdsa-sha2-nistp256 = {
      head = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYA";
      fields = 3;
    };
    ecdsa-sha2-nistp384 = {
      head = "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQA";
      fields = 3;
    };
    ecdsa-sha2-nistp521 = {
      head = "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEA";
      fields = 3;
    };
    "sk-ssh-ed25519@openssh.com" = {
      head = "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t";
      fields = 3;
    };
    "sk-ecdsa-sha2-nistp256@openssh.com" = {
      head = "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYA";
      fields = 4;
    };
  };

  # The least bytes of the last field. sshd refuses RSA keys below 1024 bits (sshd_config(5), RequiredRSASize).
  least = kind: if kind == "ssh-rsa" then 128 else 1;
in
{
  # Whether a key is whole: its fields end where it ends. sshd ignores a line with a truncated key.
  isWhole =
    kind: key:
    let
      digits = lib.stringLength key;
      padding = lib.stringLength (lib.removePrefix (lib.removeSuffix "=" (lib.removeSuffix "=" key)) key);
      total = digits / 4 * 3 - padding;
      # A byte lies in two of the digits.
      digit = index: valueOf.${lib.substring index 1 key} or 0;
      byte =
        index:
        let
          bit = index * 8;
          first = bit / 6;
          both = digit first * 64 + digit (first + 1);
          # Of the two digits' twelve bits, the byte begins at 0, 2 or 4, and 4, 2 or no bits follow it.
          behind = 4 - (bit - first * 6);
          dropped = lib.elemAt [
            1
            null
            4
            null
            16
          ] behind;
        in
        builtins.bitAnd (both / dropped) 255;
      number = at: lib.foldl' (value: index: value * 256 + byte (at + index)) 0 (lib.range 0 3);
      # Whether the fields that are left, from this place on, end at the key's end.
      ends =
        left: at:
        let
          size = number at;
          next = at + 4 + size;
        in
        if left == 0 then
          at == total
        else
          at + 4 <= total
          && next <= total
          && size >= (if left == 1 then least kind else 1)
          && ends (left - 1) next;
    in
    kinds ? ${kind}
    && builtins.match "[A-Za-z0-9+/]+={0,2}" key != null
    && digits == digits / 4 * 4
    && lib.hasPrefix kinds.${kind}.head key
    && ends kinds.${kind}.fields 0;
}
