# What is recorded of leases on this node.

lease_of() { sed -n "s/^$2 //p" "/run/nixcfg/$1.lease" 2>/dev/null; } # NAME FIELD

# Who took a lease from the run with an ID. They may have released it since.
taker_of() { # NAME ID
  if [ "$(sed -n 's/^id //p' "/run/nixcfg/$1.taken" 2>/dev/null)" = "$2" ]; then
    sed -n 's/^by //p' "/run/nixcfg/$1.taken"
  else
    lease_of "$1" who | grep . || echo "somebody whose run has ended"
  fi
}
