#!/bin/bash
# installManPage FILE…: copies manual pages to their section's folder.
set -eu
for page; do
  section=${page##*.}
  mkdir -p "$out/share/man/man$section"
  cp "$page" "$out/share/man/man$section/"
done
