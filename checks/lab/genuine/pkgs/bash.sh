ln -s bash "$out/bin/sh"
