# Values as text: INI, key=value, JSON, and a readable form for messages. pkgs/formats.nix has TOML.
{ lib }:
let
  inherit (builtins) typeOf;
in
rec {
  mkValueStringDefault =
    _: value:
    let
      reject = throw "generators.mkValueStringDefault: a ${typeOf value} is not supported: ${toPretty { } value}";
    in
    if lib.isDerivation value then
      toString value
    else
      {
        string = value;
        path = toString value;
        int = toString value;
        bool = lib.boolToString value;
        null = "null";
        float = lib.floatToString value;
      }
      .${typeOf value} or reject;
  mkKeyValueDefault =
    {
      mkValueString ? mkValueStringDefault { },
    }:
    separator: key: value:
    "${lib.escape [ separator ] key}${separator}${mkValueString value}";
  toKeyValue =
    {
      mkKeyValue ? mkKeyValueDefault { } "=",
      listsAsDuplicateKeys ? false,
      indent ? "",
    }:
    set:
    lib.concatStrings (
      lib.concatLists (
        lib.mapAttrsToList (
          key: value:
          map (one: indent + mkKeyValue key one + "\n") (
            if listsAsDuplicateKeys then lib.toList value else [ value ]
          )
        ) set
      )
    );
  toINI =
    {
      mkSectionName ? lib.escape [
        "["
        "]"
      ],
      mkKeyValue ? mkKeyValueDefault { } "=",
      listsAsDuplicateKeys ? false,
    }:
    sections:
    lib.concatMapAttrsStringSep "\n" (
      name: section:
      "[${mkSectionName name}]\n" + toKeyValue { inherit mkKeyValue listsAsDuplicateKeys; } section
    ) sections;
  toJSON = _: builtins.toJSON;
  withRecursion =
    {
      depthLimit,
      throwOnDepthLimit ? true,
    }:
    value:
    let
      cut =
        depth: v:
        if depth > depthLimit then
          (
            if throwOnDepthLimit then
              throw "Exceeded maximum eval-depth limit of ${toString depthLimit} while trying to evaluate with `generators.withRecursion'!"
            else
              "<unevaluated>"
          )
        else if lib.isAttrs v && !lib.isDerivation v then
          lib.mapAttrs (_: cut (depth + 1)) v
        else if lib.isList v then
          map (cut (depth + 1)) v
        else
          v;
    in
    cut 0 value;

  toPretty =
    {
      multiline ? true,
      allowPrettyValues ? false,
      indent ? "",
    }@options:
    value:
    let
      deeper = options // {
        indent = indent + "  ";
      };
      open = if multiline then "\n${indent}  " else " ";
      close = if multiline then "\n${indent}" else " ";
      string =
        text:
        let
          lines = lib.splitString "\n" (lib.replaceStrings [ "\${" "''" ] [ "''\${" "'''" ] text);
        in
        if multiline && lib.length lines > 1 then
          "''${open}${lib.concatStringsSep open (lib.init lines)}${
            if lib.last lines == "" then close else open + lib.last lines
          }''"
        else
          "\"${
            lib.replaceStrings [ "\\" "\"" "\${" "\n" "\t" "\r" ] [ "\\\\" "\\\"" "\\\${" "\\n" "\\t" "\\r" ]
              text
          }\"";
      functionText =
        f:
        let
          args = lib.functionArgs f;
          shown = lib.concatMapAttrsStringSep ", " (
            name: optional: if optional then name + "?" else name
          ) args;
        in
        if args == { } then "<function>" else "<function, args: {${shown}}>";
      set =
        if value == { } then
          "{ }"
        else
          "{${open}${
            lib.concatMapAttrsStringSep open (
              name: v:
              "${lib.escapeNixIdentifier name} = ${lib.addErrorContext "while evaluating an attribute `${name}'" (toPretty deeper v)};"
            ) value
          }${close}}";
    in
    if lib.isFunction value then
      functionText value
    else if lib.isAttrs value then
      if allowPrettyValues && value ? __pretty && value ? val then
        value.__pretty value.val
      else if lib.isDerivation value then
        "<derivation ${value.name or "???"}>"
      else
        set
    else
      {
        int = toString value;
        float = "~${toString value}";
        bool = lib.boolToString value;
        null = "null";
        string = string value;
        path = toString value;
        list =
          if value == [ ] then
            "[ ]"
          else
            "[${open}${lib.concatMapStringsSep open (toPretty deeper) value}${close}]";
      }
      .${typeOf value} or "<${typeOf value}>";
}
