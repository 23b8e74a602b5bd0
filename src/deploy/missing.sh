# Prints which of the store paths on standard input are not valid here.
exec xargs nix-store --check-validity --print-invalid
