# The folder that deploy-secrets writes to. Its content is never in the Nix store.
{
  systemd.tmpfiles.settings."10-nixcfg"."/var/lib/nixcfg/secrets".d = {
    # Other users must reach their own files in it.
    mode = "0711";
    user = "root";
    group = "root";
  };
}
