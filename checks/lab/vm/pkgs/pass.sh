sed -i '1s,.*,#!/bin/bash,' "$out/bin/pass"
sed -i "2i PATH=\$PATH:$tree/bin:$utillinux/bin" "$out/bin/pass"
