# IPv6 addresses in text (RFC 4291, 2.2), without a zone.
{ lib }:
let
  ofPart = part: if part == "" then [ ] else lib.splitString ":" part;
  isGroup = group: builtins.match "[0-9a-f]{1,4}" group != null;
  padded = group: lib.fixedWidthString 4 "0" group;
in
{
  # The address in eight groups of four digits, so that one address has one text; null if the text is no address.
  expanded =
    text:
    let
      # Two parts where `::` stands for groups of zeros.
      parts = map ofPart (lib.splitString "::" text);
      given = lib.concatLists parts;
      missing = 8 - lib.length given;
      whole =
        if lib.length parts == 1 then
          given
        else
          lib.head parts ++ lib.genList (_: "0") missing ++ lib.last parts;
      fits = if lib.length parts == 1 then missing == 0 else lib.length parts == 2 && missing > 0;
    in
    if fits && lib.all isGroup given then lib.concatMapStringsSep ":" padded whole else null;
}
