# Programs that run on this machine, outside the virtual machines. They have libraries of their own.
{
  bash.debs = [ "bash" ];
  erofs-utils = {
    debs = [ "erofs-utils" ];
    program = "mkfs.erofs";
  };
  ovmf = {
    debs = [ "ovmf" ];
    program = null;
  };
  python3 = {
    debs = [
      "python3"
      "python3-minimal"
      "python3.13"
      "python3.13-minimal"
      "libpython3.13-minimal"
      "libpython3.13-stdlib"
      "python3-colorama"
      "python3-junit.xml"
      "python3-six"
      "python3-pyflakes"
    ];
  };
  qemu = {
    debs = [
      "qemu-system-x86"
      "qemu-system-common"
      "qemu-system-data"
      "qemu-utils"
      "seabios"
      "ipxe-qemu"
    ];
    program = "qemu-system-x86_64";
  };
  socat.debs = [ "socat" ];
  vde2 = {
    debs = [ "vde-switch" ];
    program = "vde_switch";
  };
}
