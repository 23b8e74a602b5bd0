# doc/options.md: every option of the model, from its declaration.
{ lib }:
let
  evaluated = lib.evalModules { modules = [ ./model ]; };

  options = lib.filter (option: option.visible && !option.internal && option.name != "cluster") (
    lib.optionAttrSetToDocList (removeAttrs evaluated.options [ "_module" ])
  );

  code = value: if lib.hasInfix "\n" value then "\n\n```nix\n${value}\n```\n" else " `${value}`";

  # The value stands beside its label, or in a fenced block below it.
  line = label: value: "- ${label}:${lib.removeSuffix "\n" (code value)}\n";

  section = option: ''
    ## `${option.name}`

    ${lib.trim option.description}

    - type: ${option.type}
    ${lib.removeSuffix "\n" (
      lib.optionalString (option ? default) (line "default" option.default.text)
      + lib.optionalString (option ? example) (line "example" option.example.text)
    )}
  '';
in
''
  # Options of a cluster

  `nix build .#options-doc` makes this page from nix/model; edit that. [cluster-files.md](cluster-files.md) describes the
  files of a cluster.

  ${lib.concatMapStringsSep "\n" section options}''
