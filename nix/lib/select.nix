# Which of a cluster's nodes a list of words means: names of nodes, `@tag`, `site:name`, `role:name`; or `all`.
{ lib, nodes }:
let
  test =
    word: name: node:
    if lib.hasPrefix "@" word then
      lib.elem (lib.removePrefix "@" word) node.tags
    else if lib.hasPrefix "site:" word then
      node.site == lib.removePrefix "site:" word
    else if lib.hasPrefix "role:" word then
      node.role == lib.removePrefix "role:" word
    else
      name == word;

  matches = word: lib.filter (name: test word name nodes.${name}) (lib.attrNames nodes);
in
{
  selected =
    words: if words == "all" then lib.attrNames nodes else lib.unique (lib.concatMap matches words);

  # Words that mean no node: misspelt, as a rule. A role that no node has at present is none of them.
  unmatched =
    words:
    if words == "all" then
      [ ]
    else
      lib.filter (
        word:
        !lib.elem word [
          "role:server"
          "role:client"
        ]
        && matches word == [ ]
      ) words;
}
