# A node of NixOS starts, and nothing fails on it.
{ lib, self, ... }:
{
  name = "trivial";
  nodes = import ./nix/machines.nix { inherit lib self; } { alder = "client"; };

  testScript = ''
    start_all()
    alder.wait_for_unit("multi-user.target")

    with subtest("nothing fails on a bare node"):
        alder.succeed("systemctl is-active sshd unbound")
        alder.succeed("test -z \"$(systemctl --failed --no-legend)\"")

    with subtest("it accepts logins, but none of root's"):
        alder.wait_for_open_port(22)
        alder.succeed("sshd -T | grep -qx 'permitrootlogin no'")
  '';
}
