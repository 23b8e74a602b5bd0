# The packages that nixpkgs' modules use, and the Debian packages that they are made from. `program` is the main program; the arguments
# `try` (default: `--version`) show that it runs. pkgs/<name>.sh adapts a package further.
{
  acl = {
    debs = [ "acl" ];
    program = "getfacl";
  };
  attr = {
    debs = [ "attr" ];
    program = "getfattr";
  };
  bash.debs = [ "bash" ];
  bzip2 = {
    debs = [ "bzip2" ];
    try = "--help";
  };
  cacert = {
    debs = [ "ca-certificates" ];
    program = null;
  };
  # Debian's last Consul; see consul.nix.
  consul = {
    debs = [ "consul" ];
    suite = "bullseye";
  };
  coreutils = {
    debs = [ "coreutils" ];
    program = "env";
  };
  cpio.debs = [ "cpio" ];
  curl.debs = [ "curl" ];
  dash = {
    debs = [ "dash" ];
    try = "-c true";
  };
  dbus = {
    debs = [
      "dbus"
      "dbus-bin"
      "dbus-daemon"
      "dbus-session-bus-common"
      "dbus-system-bus-common"
    ];
    program = "dbus-daemon";
  };
  diffutils = {
    debs = [ "diffutils" ];
    program = "diff";
  };
  dns-root-data = {
    debs = [ "dns-root-data" ];
    program = null;
  };
  envsubst.debs = [ "gettext-base" ];
  ethtool.debs = [ "ethtool" ];
  file = {
    debs = [
      "file"
      "libmagic-mgc"
    ];
  };
  findutils = {
    debs = [ "findutils" ];
    program = "find";
  };
  fuse3 = {
    debs = [ "fuse3" ];
    program = "fusermount3";
    try = "-V";
  };
  gawk.debs = [ "gawk" ];
  glibc = {
    debs = [
      "libc-bin"
      "netbase"
    ];
    program = "getent";
  };
  gnugrep = {
    debs = [ "grep" ];
    program = "grep";
  };
  gnumake = {
    debs = [ "make" ];
    program = "make";
  };
  gnupatch = {
    debs = [ "patch" ];
    program = "patch";
  };
  gnused = {
    debs = [ "sed" ];
    program = "sed";
  };
  gnutar = {
    debs = [ "tar" ];
    program = "tar";
  };
  gzip.debs = [ "gzip" ];
  hostname-debian = {
    debs = [ "hostname" ];
    program = "hostname";
  };
  iana-etc = {
    debs = [ "netbase" ];
    program = null;
  };
  iproute2 = {
    debs = [ "iproute2" ];
    program = "ip";
    try = "-V";
  };
  iptables.debs = [ "iptables" ];
  iputils = {
    debs = [ "iputils-ping" ];
    program = "ping";
    try = "-V";
  };
  jq.debs = [ "jq" ];
  kbd = {
    debs = [ "kbd" ];
    program = "loadkeys";
  };
  kmod.debs = [ "kmod" ];
  less.debs = [ "less" ];
  libcap = {
    debs = [ "libcap2-bin" ];
    program = "setcap";
    try = "-h";
  };
  libxslt = {
    debs = [
      "xsltproc"
      "libxslt1.1"
    ];
    program = "xsltproc";
  };
  linux-pam = {
    debs = [
      "libpam-modules"
      "libpam-modules-bin"
    ];
    program = null;
  };
  mkpasswd = {
    debs = [ "whois" ];
    program = "mkpasswd";
  };
  ncurses = {
    debs = [
      "ncurses-bin"
      "ncurses-base"
    ];
    program = "infocmp";
    try = "-V";
  };
  netcat = {
    debs = [ "netcat-openbsd" ];
    program = "nc.openbsd";
    try = "-h";
  };
  nftables = {
    debs = [ "nftables" ];
    program = "nft";
  };
  nix.debs = [
    "nix-bin"
    "nix-setup-systemd"
  ];
  nsncd = {
    debs = [ "nsncd" ];
    program = null;
  };
  openresolv = {
    debs = [ "openresolv" ];
    program = "resolvconf";
  };
  openssh = {
    debs = [
      "openssh-client"
      "openssh-server"
      "openssh-sftp-server"
    ];
    program = "ssh";
    try = "-V";
  };
  openssl = {
    debs = [
      "openssl"
      "openssl-provider-legacy"
    ];
    try = "version";
  };
  patchelf.debs = [
    "patchelf"
  ];
  perl = {
    debs = [
      "perl-base"
      "perl-modules-5.40"
      "libperl5.40"
      "libfile-slurp-perl"
      "libjson-perl"
    ];
  };
  procps = {
    debs = [ "procps" ];
    program = "ps";
  };
  psmisc = {
    debs = [ "psmisc" ];
    program = "fuser";
    try = "-V";
  };
  rsync.debs = [ "rsync" ];
  shadow = {
    debs = [
      "passwd"
      "login.defs"
      "uidmap"
    ];
    program = "useradd";
    try = "--help";
    uses.utillinux = "util-linux";
  };
  sudo = {
    debs = [ "sudo" ];
    try = "-h";
  };
  systemd = {
    debs = [
      "systemd"
      "systemd-sysv"
      "udev"
      "libpam-systemd"
      "libnss-systemd"
      "libnss-myhostname"
    ];
    program = "systemctl";
    uses = {
      kmod = "kmod";
      utillinux = "util-linux";
    };
    # Units that nixpkgs names and these packages lack.
    environment.absent = [
      "systemd-bootctl.socket"
      "systemd-bootctl@.service"
      "systemd-coredump.socket"
      "systemd-coredump@.service"
      "systemd-nspawn@.service"
      "systemd-quotacheck.service"
      "systemd-vconsole-setup.service"
    ];
  };
  time.debs = [ "time" ];
  tzdata = {
    debs = [ "tzdata" ];
    program = null;
  };
  unbound = {
    debs = [
      "unbound"
      "unbound-anchor"
      "libpython3.13"
    ];
    try = "-V";
  };
  util-linux = {
    debs = [
      "bsdextrautils"
      "bsdutils"
      "login"
      "mount"
      "util-linux"
      "util-linux-extra"
    ];
    program = "mount";
  };
  which = {
    debs = [ "debianutils" ];
    try = "/bin/sh";
  };
  wireguard-tools = {
    debs = [ "wireguard-tools" ];
    program = "wg";
  };
  xz.debs = [ "xz-utils" ];
  zstd.debs = [ "zstd" ];
}
