# Where deploy-secrets writes. Only the folder is the configuration's: what is in it is nowhere in the store.
{
  systemd.tmpfiles.settings."10-nixcfg"."/var/lib/nixcfg/secrets".d = {
    # Others pass through it to files whose owner they are.
    mode = "0711";
    user = "root";
    group = "root";
  };
}
