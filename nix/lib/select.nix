# Nodes that a list of words selects: names of nodes, `@tag`, `site:name`, `role:name`; or the word `all`.
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

  # Words that select no node, usually misspelt. A role is valid even if no node has it.
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
