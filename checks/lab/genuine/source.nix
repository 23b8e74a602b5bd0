# Where nixpkgs is: what `checks/lab/lab` was told, as a locked input.
builtins.fetchTree (builtins.fromJSON (builtins.readFile ./source.json))
