# pkgs.nixosOptionsDoc: options as JSON and as CommonMark.
{ lib, final }:
{
  nixosOptionsDoc =
    {
      options,
      transformOptions ? lib.id,
      warningsAreErrors ? true,
      documentType ? "appendix",
      variablelistId ? null,
      optionIdPrefix ? null,
      revision ? "",
      baseOptionsJSON ? null,
      allowDocBook ? null,
      markdownByDefault ? null,
    }:
    let
      listed = lib.filter (option: option.visible && !option.internal) (
        map transformOptions (lib.optionAttrSetToDocList options)
      );
      undocumented = lib.filter (option: option.description == null) listed;
      sound =
        value:
        if warningsAreErrors && undocumented != [ ] then
          throw "options without a description: ${
            lib.concatMapStringsSep ", " (option: option.name) undocumented
          }"
        else
          value;
      optionsNix = sound (
        lib.listToAttrs (
          map (
            option:
            lib.nameValuePair option.name (
              removeAttrs option [
                "name"
                "visible"
                "internal"
              ]
            )
          ) listed
        )
      );
      code =
        value:
        if value._type or "" == "literalMD" then
          value.text
        else
          let
            text = value.text;
          in
          if lib.hasInfix "\n" text then "\n```nix\n${lib.removeSuffix "\n" text}\n```" else " `${text}`";
      section =
        name: option:
        "## ${lib.escape [ "<" ">" "*" "_" ] name}\n\n"
        + "${lib.removeSuffix "\n" (toString (option.description.text or option.description))}\n\n"
        + "*Type:* ${option.type}${lib.optionalString option.readOnly " *(read only)*"}\n"
        + lib.optionalString (option ? default) "\n*Default:*${code option.default}\n"
        + lib.optionalString (option ? example) "\n*Example:*${code option.example}\n";
    in
    {
      inherit optionsNix;
      optionsJSON = final.runCommand "options.json" {
        passAsFile = [ "json" ];
        json = lib.toJSON optionsNix;
      } "mkdir -p $out/share/doc/nixos; cp $jsonPath $out/share/doc/nixos/options.json";
      optionsCommonMark = final.writeText "options.md" (
        lib.concatStringsSep "\n" (lib.mapAttrsToList section optionsNix)
      );
    };
}
