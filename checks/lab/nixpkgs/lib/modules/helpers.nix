# Modules that rename and remove options.
{ lib }:
let
  inherit (lib) showOption;
in
rec {
  doRename =
    {
      from,
      to,
      visible,
      warn,
      use,
      withPriority ? true,
      condition ? true,
    }:
    { config, options, ... }:
    let
      target =
        lib.attrByPath to (abort "mkAliasOptionModule: option `${showOption to}' does not exist.")
          options;
      source = lib.getAttrFromPath from options;
      valueOf =
        lib.attrByPath to (abort "mkAliasOptionModule: option `${showOption to}' does not exist.")
          config;
    in
    {
      options = lib.setAttrByPath from (
        lib.mkOption (
          {
            inherit visible;
            description = "Alias of {option}`${showOption to}`.";
            apply =
              _:
              (if warn then lib.warn "`${showOption from}' has been renamed to `${showOption to}'" else lib.id) (
                use valueOf
              );
          }
          // lib.optionalAttrs (target ? type) { inherit (target) type; }
        )
      );
      config = lib.mkIf condition (
        lib.mkMerge [
          (lib.optionalAttrs (options ? warnings) {
            warnings =
              lib.optional (warn && source.isDefined)
                "The option `${showOption from}' defined in ${lib.showFiles source.files} has been renamed to `${showOption to}'.";
          })
          (lib.setAttrByPath to (
            if withPriority then
              lib.mkAliasAndWrapDefsWithPriority lib.id source
            else
              lib.mkAliasDefinitions source
          ))
        ]
      );
    };
  mkRenamedOptionModule =
    from: to:
    doRename {
      inherit from to;
      visible = false;
      warn = true;
      use = lib.id;
    };
  mkAliasOptionModule =
    from: to:
    doRename {
      inherit from to;
      visible = true;
      warn = false;
      use = lib.id;
    };
  mkRemovedOptionModule =
    path: instead:
    { options, ... }:
    {
      options = lib.setAttrByPath path (
        lib.mkOption {
          visible = false;
          apply =
            _:
            throw "The option `${showOption path}' can no longer be used since it's been removed. ${instead}";
        }
      );
      config.assertions =
        let
          option = lib.getAttrFromPath path options;
        in
        [
          {
            assertion = !option.isDefined;
            message = "The option definition `${showOption path}' in ${lib.showFiles option.files} no longer has any effect; please remove it.\n${instead}";
          }
        ];
    };

  setDefaultModuleLocation = file: module: {
    _file = file;
    imports = [ module ];
  };
}
