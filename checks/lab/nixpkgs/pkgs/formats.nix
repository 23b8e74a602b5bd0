# pkgs.formats: `type` for the option, `generate name value` for the file.
{ lib, final }:
let
  scalars = with lib.types; [
    bool
    int
    float
    str
    path
  ];
  # A value of the format, which may contain itself.
  recursive =
    description: extra:
    let
      value =
        lib.types.nullOr (
          lib.types.oneOf (
            extra
            ++ scalars
            ++ [
              (lib.types.attrsOf value)
              (lib.types.listOf value)
            ]
          )
        )
        // {
          inherit description;
        };
    in
    value;
  write = name: text: final.writeText name text;

  # TOML has the plain values of a table first, then its tables and its lists of tables.
  tomlKey = key: if lib.match "[A-Za-z0-9_-]+" key != null then key else lib.toJSON key;
  isTable = value: lib.isAttrs value && !lib.isDerivation value;
  isTables = value: lib.isList value && value != [ ] && lib.all isTable value;
  tomlValue =
    value:
    if isTable value then
      "{ ${
        lib.concatStringsSep ", " (
          lib.mapAttrsToList (key: v: "${tomlKey key} = ${tomlValue v}") (present value)
        )
      } }"
    else if lib.isList value then
      "[${lib.concatMapStringsSep ", " tomlValue value}]"
    else if value == null then
      throw "TOML has no null"
    else
      lib.toJSON (if lib.isDerivation value then "${value}" else value);
  present = lib.filterAttrs (_: value: value != null);
  tomlTable =
    path: given:
    let
      table = present given;
      plain = lib.filterAttrs (_: value: !isTable value && !isTables value) table;
      lines = lib.concatStrings (
        lib.mapAttrsToList (key: value: "${tomlKey key} = ${tomlValue value}\n") plain
      );
      name = key: lib.concatMapStringsSep "." tomlKey (path ++ [ key ]);
      nested =
        key: value:
        if isTable value then
          "\n[${name key}]\n${tomlTable (path ++ [ key ]) value}"
        else
          lib.concatMapStrings (one: "\n[[${name key}]]\n${tomlTable (path ++ [ key ]) one}") value;
    in
    lines + lib.concatStrings (lib.mapAttrsToList nested (removeAttrs table (lib.attrNames plain)));
in
{
  formats = {
    json = _: {
      type = recursive "JSON value" [ ];
      generate = name: value: write name (lib.toJSON value + "\n");
    };
    toml = _: {
      type = recursive "TOML value" [ ];
      generate = name: value: write name (tomlTable [ ] value);
    };
  };
}
