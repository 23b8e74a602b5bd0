# The source of nixpkgs, from the locked input that `checks/lab/lab` writes.
builtins.fetchTree (builtins.fromJSON (builtins.readFile ./source.json))
