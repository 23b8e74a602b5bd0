# As Debian's alternatives choose.
for name in iptables ip6tables; do
    for end in '' -save -restore; do ln -sfn xtables-nft-multi "$out/bin/$name$end"; done
done
