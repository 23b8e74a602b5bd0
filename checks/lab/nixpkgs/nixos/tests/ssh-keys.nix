# The names of the keys that nixpkgs gives to its tests. No virtual machine starts with the stand-in, so there is nothing
# behind them: a test that uses them evaluates, and its machine could not log in.
pkgs: {
  snakeOilPrivateKey = pkgs.writeText "privkey.snakeoil" "the stand-in has no key\n";
  snakeOilPublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA snakeoil";
}
