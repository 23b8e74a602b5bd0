# The only unfree programs that are allowed: Consul and Nomad (Business Source License 1.1).
{ lib }:
package:
builtins.elem (lib.getName package) [
  "consul"
  "nomad"
]
