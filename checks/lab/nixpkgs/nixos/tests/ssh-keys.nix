# nixpkgs' keys for tests, in name only. With the stand-in no virtual machine starts, so that none can log in with them.
pkgs: {
  snakeOilPrivateKey = pkgs.writeText "privkey.snakeoil" "the stand-in has no key\n";
  snakeOilPublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA snakeoil";
}
