# What a node does when it starts with a switch that nobody confirmed: it goes back. The record of the switch, and the
# program that goes back, are written on the node by whoever switches it.
{
  systemd.services.nixcfg-return = {
    description = "Go back to the system before an unconfirmed switch";
    # Also where the start itself fails.
    wantedBy = [
      "multi-user.target"
      "emergency.target"
      "rescue.target"
    ];
    after = [
      "sysinit.target"
      "local-fs.target"
    ];
    conflicts = [ "shutdown.target" ];
    before = [ "shutdown.target" ];
    unitConfig = {
      DefaultDependencies = false;
      ConditionPathExists = "/var/lib/nixcfg/rollback/pending";
    };
    # Only the start of the machine is meant, never a switch.
    restartIfChanged = false;
    serviceConfig = {
      Type = "oneshot";
      ExecStart = "/bin/sh /var/lib/nixcfg/rollback/return boot";
    };
  };
}
