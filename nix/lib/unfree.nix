# The only programs without a free licence that may be used: Consul and Nomad (Business Source License 1.1).
{ lib }:
package:
builtins.elem (lib.getName package) [
  "consul"
  "nomad"
]
