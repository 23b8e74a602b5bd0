# Packages whose programs are scripts. Each runs the program of its name of the machine that it is on, a builder or a
# node; without that program it says so, and ends with exit code 127.
{ lib, final }:
let
  licenses = lib.licenses;
  package =
    pname:
    {
      programs ? [ pname ],
      version ? "0",
      license ? licenses.gpl3Plus,
      mainProgram ? lib.head (programs ++ [ pname ]),
      extra ? { },
    }:
    final.stdenv.mkDerivation {
      inherit pname version;
      programNames = programs;
      buildCommand = ''
        mkdir -p $out/bin
        for program in $programNames; do
          sed "s/@program@/$program/g; s/@package@/$pname/g" ${./machine-program.sh} >"$out/bin/$program"
          chmod 555 "$out/bin/$program"
        done
      '';
      passthru = extra;
      meta = {
        inherit license mainProgram;
        description = "The machine's own ${pname}";
        platforms = lib.platforms.all;
      };
    };
in
lib.mapAttrs package {
  age = { };
  bash.extra.shellPath = "/bin/bash";
  bashInteractive = {
    programs = [ "bash" ];
    extra.shellPath = "/bin/bash";
  };
  cargo.license = licenses.mit;
  clippy = {
    programs = [
      "cargo-clippy"
      "clippy-driver"
    ];
  };
  consul = {
    version = "1.22.2";
    license = licenses.bsl11;
  };
  coreutils.programs = lib.splitString " " "base64 basename cat chmod chown cp cut date dd df dirname du echo env expr false head id install kill link ln ls md5sum mkdir mkfifo mktemp mv nice nproc od paste printenv printf pwd readlink realpath rm rmdir seq sha256sum sleep sort split stat stty sync tail tee test timeout touch tr true tty uname uniq wc whoami";
  cryptsetup = { };
  curl = { };
  diffutils.programs = [
    "diff"
    "cmp"
  ];
  dig = { };
  dnsmasq = { };
  dnsutils = {
    programs = [ "dig" ];
  };
  docker = { };
  e2fsprogs.programs = [ "mkfs.ext4" ];
  ethtool = { };
  findutils.programs = [
    "find"
    "xargs"
  ];
  gawk.programs = [ "awk" ];
  gcc.programs = [
    "gcc"
    "cc"
    "c++"
  ];
  getent = { };
  git = { };
  gitMinimal.programs = [ "git" ];
  gnugrep.programs = [ "grep" ];
  gnumake.programs = [ "make" ];
  gnupg = {
    programs = [
      "gpg"
      "gpg-agent"
      "gpgconf"
    ];
  };
  gnused.programs = [ "sed" ];
  gnutar.programs = [ "tar" ];
  gzip.programs = [
    "gzip"
    "gunzip"
    "zcat"
  ];
  hello = { };
  htop = { };
  iproute2.programs = [
    "ip"
    "ss"
    "tc"
  ];
  iptables = {
    programs = [
      "iptables"
      "ip6tables"
    ];
  };
  iputils.programs = [ "ping" ];
  jq.license = licenses.mit;
  lsof = { };
  man = { };
  mkpasswd = { };
  netcat.programs = [ "nc" ];
  nftables.programs = [ "nft" ];
  nix = {
    version = "2.34.0";
    license = licenses.lgpl21Plus;
    programs = [
      "nix"
      "nix-build"
      "nix-channel"
      "nix-collect-garbage"
      "nix-copy-closure"
      "nix-daemon"
      "nix-env"
      "nix-hash"
      "nix-instantiate"
      "nix-prefetch-url"
      "nix-shell"
      "nix-store"
    ];
  };
  nixfmt.license = licenses.mpl20;
  nixfmt-rfc-style = {
    programs = [ "nixfmt" ];
    license = licenses.mpl20;
  };
  nixfmt-tree = {
    programs = [ "treefmt" ];
  };
  nixos-anywhere = { };
  nixos-rebuild = { };
  nomad = {
    version = "1.11.1";
    license = licenses.bsl11;
  };
  openssh = {
    version = "10.0p2";
    programs = [
      "ssh"
      "ssh-add"
      "ssh-agent"
      "ssh-keygen"
      "ssh-keyscan"
      "scp"
      "sftp"
      "sshd"
    ];
    license = licenses.bsd2;
  };
  openssl.license = licenses.asl20;
  pass = { };
  pkg-config = { };
  procps.programs = [
    "ps"
    "pgrep"
    "pkill"
    "free"
    "sysctl"
    "top"
    "uptime"
  ];
  python3 = { };
  ripgrep.programs = [ "rg" ];
  rsync = { };
  rust-analyzer = { };
  rustc.programs = [
    "rustc"
    "rustdoc"
  ];
  rustfmt = {
    programs = [
      "rustfmt"
      "cargo-fmt"
    ];
  };
  shellcheck = { };
  shadow.programs = [
    "useradd"
    "usermod"
    "userdel"
    "chpasswd"
    "passwd"
  ];
  socat = { };
  statix = { };
  deadnix = { };
  sudo = { };
  systemd.programs = [
    "systemctl"
    "journalctl"
    "systemd-run"
    "systemd-notify"
    "systemd-analyze"
    "systemd-tmpfiles"
    "networkctl"
    "resolvectl"
  ];
  tcpdump = { };
  tmux = { };
  unbound.programs = [
    "unbound"
    "unbound-anchor"
    "unbound-checkconf"
    "unbound-control"
  ];
  util-linux.programs = [
    "flock"
    "lsblk"
    "mount"
    "umount"
    "nsenter"
    "unshare"
    "setpriv"
    "logger"
    "uuidgen"
  ];
  vim = { };
  wgautomesh = { };
  which = { };
  wireguard-tools.programs = [
    "wg"
    "wg-quick"
  ];
  xz = { };
  zstd = { };
}
