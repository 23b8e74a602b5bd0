# Functions that make options, and list them for documentation.
{ lib }:
rec {
  isOption = value: lib.isAttrs value && value._type or "" == "option";
  isType = kind: value: value._type or "" == kind;

  mkOption =
    {
      default ? null,
      defaultText ? null,
      example ? null,
      description ? null,
      relatedPackages ? null,
      type ? null,
      apply ? null,
      internal ? null,
      visible ? null,
      readOnly ? null,
    }@option:
    option // { _type = "option"; };

  mkEnableOption =
    name:
    mkOption {
      default = false;
      example = true;
      description = "Whether to enable ${name}.";
      type = lib.types.bool;
    };

  # `packages` is pkgs, or null if only the option's text is used.
  mkPackageOption =
    packages: name:
    {
      nullable ? false,
      default ? name,
      example ? null,
      extraDescription ? "",
      pkgsText ? "pkgs",
    }:
    let
      names = lib.toList name;
      path = lib.toList default;
      shown = "${pkgsText}.${lib.concatStringsSep "." path}";
    in
    mkOption (
      {
        type = if nullable then lib.types.nullOr lib.types.package else lib.types.package;
        description =
          "The ${lib.concatStringsSep "." names} package to use."
          + lib.optionalString (extraDescription != "") " ${extraDescription}";
      }
      // (
        if default == null then
          lib.optionalAttrs nullable { default = null; }
        else
          {
            default = lib.attrByPath path (throw "${shown} cannot be found in ${pkgsText}") packages;
            defaultText = literalExpression shown;
          }
      )
      // lib.optionalAttrs (example != null) {
        example =
          if lib.isList example then
            literalExpression "${pkgsText}.${lib.concatStringsSep "." example}"
          else
            example;
      }
    );

  literalExpression =
    text:
    if lib.isString text then
      {
        _type = "literalExpression";
        inherit text;
      }
    else
      throw "literalExpression expects a string.";

  getValues = map (definition: definition.value);
  mergeDefaultOption =
    loc: definitions:
    let
      values = getValues definitions;
      all = f: lib.all f values;
    in
    if lib.length values == 1 then
      lib.head values
    else if all lib.isFunction then
      argument: mergeDefaultOption loc (map (d: d // { value = d.value argument; }) definitions)
    else if all lib.isList then
      lib.concatLists values
    else if all lib.isAttrs then
      lib.foldl' lib.mergeAttrs { } values
    else if all lib.isBool then
      lib.any lib.id values
    else if all lib.isString then
      lib.concatStrings values
    else
      mergeEqualOption loc definitions;
  mergeOneOption = mergeUniqueOption { message = ""; };
  mergeUniqueOption =
    {
      message,
      merge ? _: definitions: (lib.head definitions).value,
    }:
    loc: definitions:
    if lib.length definitions == 1 then
      merge loc definitions
    else
      throw "The option `${lib.showOption loc}' is defined multiple times while it's expected to be unique.${
        lib.optionalString (message != "") "\n${message}"
      }\nDefinition values:${lib.options.showDefs definitions}\nUse `lib.mkForce value` or `lib.mkDefault value` to change the priority on any of these definitions.";
  mergeEqualOption =
    loc: definitions:
    let
      first = lib.head definitions;
    in
    if lib.length definitions == 1 then
      first.value
    else
      (lib.foldl' (
        agreed: next:
        if agreed.value == next.value then
          agreed
        else
          throw "The option `${lib.showOption loc}' has conflicting definition values:${
            lib.options.showDefs [
              agreed
              next
            ]
          }\nUse `lib.mkForce value` or `lib.mkDefault value` to change the priority on any of these definitions."
      ) first definitions).value;

  renderOptionValue =
    value:
    if value._type or "" == "literalExpression" || value._type or "" == "literalMD" then
      value
    else
      literalExpression (
        lib.generators.toPretty {
          multiline = true;
          allowPrettyValues = true;
        } value
      );

  # All options of a tree and of its submodules, as plain data.
  optionAttrSetToDocList = optionAttrSetToDocList' [ ];
  optionAttrSetToDocList' =
    _: tree:
    lib.concatMap (
      option:
      let
        name = lib.showOption option.loc;
        visible = option.visible or true;
        entry = {
          inherit (option) loc;
          inherit name;
          description = option.description or null;
          declarations = lib.filter (file: file != lib.modules.unknownFile) option.declarations;
          internal = option.internal or false;
          visible = if lib.isBool visible then visible else visible == "shallow";
          readOnly = option.readOnly or false;
          type = option.type.description or "unspecified";
        }
        // lib.optionalAttrs (option ? example) {
          example = lib.addErrorContext "while evaluating the example of option `${name}'" (
            renderOptionValue option.example
          );
        }
        // lib.optionalAttrs (option ? defaultText || option ? default) {
          default = lib.addErrorContext "while evaluating the default value of option `${name}'" (
            renderOptionValue (option.defaultText or option.default)
          );
        }
        // lib.optionalAttrs (option.relatedPackages or null != null) { inherit (option) relatedPackages; };
        inner = option.type.getSubOptions option.loc;
      in
      [ entry ]
      ++ lib.optionals (visible == true || visible == "transparent") (
        lib.concatMap (child: optionAttrSetToDocList' [ ] child) [ inner ]
      )
    ) (lib.collect isOption tree);
}
