# doc/options.md: every option of the model, as its declaration tells it.
{ lib }:
let
  evaluated = lib.evalModules { modules = [ ./model ]; };

  options = lib.filter (option: option.visible && !option.internal && option.name != "cluster") (
    lib.optionAttrSetToDocList (removeAttrs evaluated.options [ "_module" ])
  );

  code = value: if lib.hasInfix "\n" value then "\n\n```nix\n${value}\n```\n" else " `${value}`";

  # A fenced block ends its own line; a value on the line of its label does not.
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

  Made from nix/model by `nix build .#options-doc`; change it there. How the files of a cluster are laid out is in
  [cluster-files.md](cluster-files.md).

  ${lib.concatMapStringsSep "\n" section options}''
