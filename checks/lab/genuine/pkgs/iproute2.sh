# Debian's sbin/ip is a link to the program in bin, and both folders are one here.
cp -a --remove-destination tree/usr/bin/ip "$out/bin/ip"
