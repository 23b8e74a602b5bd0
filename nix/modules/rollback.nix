# A node that starts with an unconfirmed switch goes back. Whoever switches the node writes the record of the switch and
# the program that goes back.
{
  systemd.services.nixcfg-return = {
    description = "Go back to the system before an unconfirmed switch";
    # Also when the start itself fails.
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
    # Runs at the start of the machine only, never at a switch.
    restartIfChanged = false;
    serviceConfig = {
      Type = "oneshot";
      ExecStart = "/bin/sh /var/lib/nixcfg/rollback/return boot";
    };
  };
}
