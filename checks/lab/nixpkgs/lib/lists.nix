# Functions on lists.
{ lib }:
let
  inherit (builtins) foldl';
in
rec {
  inherit (builtins)
    all
    any
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    genList
    head
    isList
    length
    map
    partition
    sort
    tail
    ;

  singleton = value: [ value ];
  toList = value: if isList value then value else [ value ];
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  foldr =
    f: start: values:
    let
      count = length values;
      from = index: if index == count then start else f (elemAt values index) (from (index + 1));
    in
    from 0;
  foldl =
    f: start: values:
    let
      upTo = index: if index < 0 then start else f (upTo (index - 1)) (elemAt values index);
    in
    upTo (length values - 1);
  range =
    first: last: if first > last then [ ] else genList (offset: first + offset) (last - first + 1);
  replicate = count: value: genList (_: value) count;
  imap0 = f: values: genList (index: f index (elemAt values index)) (length values);
  imap1 = f: imap0 (index: f (index + 1));
  flatten = value: if isList value then concatMap flatten value else [ value ];
  remove = unwanted: filter (value: value != unwanted);
  findFirstIndex =
    wanted: fallback: values:
    let
      count = length values;
      from =
        index:
        if index == count then
          fallback
        else if wanted (elemAt values index) then
          index
        else
          from (index + 1);
    in
    from 0;
  findFirst =
    wanted: fallback: values:
    let
      index = findFirstIndex wanted null values;
    in
    if index == null then fallback else elemAt values index;
  count = wanted: values: length (filter wanted values);
  last =
    values:
    assert values != [ ] || throw "lib.last: the list is empty";
    elemAt values (length values - 1);
  init =
    values:
    assert values != [ ] || throw "lib.init: the list is empty";
    take (length values - 1) values;
  sublist =
    start: size: values:
    let
      available = lib.max 0 (length values - start);
    in
    genList (index: elemAt values (start + index)) (lib.min size available);
  take = size: sublist 0 size;
  drop = size: values: sublist size (length values) values;
  reverseList =
    values:
    let
      size = length values;
    in
    genList (index: elemAt values (size - 1 - index)) size;
  hasPrefix = prefix: values: take (length prefix) values == prefix;
  removePrefix =
    prefix: values:
    if hasPrefix prefix values then
      drop (length prefix) values
    else
      throw "lib.lists.removePrefix: the first argument is not a list prefix of the second";
  commonPrefix =
    a: b:
    let
      shorter = lib.min (length a) (length b);
      from =
        index: if index < shorter && elemAt a index == elemAt b index then from (index + 1) else index;
    in
    take (from 0) a;
  zipListsWith =
    f: a: b:
    genList (index: f (elemAt a index) (elemAt b index)) (lib.min (length a) (length b));
  unique = uniqueBy (a: b: a == b);
  uniqueBy =
    same: foldl' (seen: value: if any (same value) seen then seen else seen ++ [ value ]) [ ];
  allUnique = values: length (unique values) == length values;
  intersectLists = wanted: filter (value: elem value wanted);
  subtractLists = unwanted: filter (value: !elem value unwanted);
  mutuallyExclusive = a: b: intersectLists a b == [ ];
  sortOn =
    key: values:
    map (pair: pair.value) (
      sort (a: b: a.key < b.key) (
        map (value: {
          inherit value;
          key = key value;
        }) values
      )
    );
  naturalSort = sort (a: b: builtins.compareVersions a b < 0);
}
