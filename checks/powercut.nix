# The power fails at random moments while the tool's scripts write a node's files. After each cut every file is whole, either the old one
# or the new one, and what was reported as written is there. The test kills QEMU, which loses what the kernel had yet to write; nodes in
# containers cannot show that. The machine starts without its services.
{
  lib,
  self,
  ...
}:
{ hostPkgs, ... }:
let
  machines = import ./nix/machines.nix { inherit lib self; } { alder = "client"; };
  source = file: builtins.readFile (../src/node + "/${file}");

  script = name: parts: hostPkgs.writeText name (lib.concatMapStrings source ([ "ssh/prelude.sh" ] ++ parts));

  install = script "install.sh" [
    "install/install.sh"
    "install/run.sh"
  ];
  wayBack = script "way-back.sh" [ "activation/way-back.sh" ];
  drained = script "drained.sh" [ "activation/drained.sh" ];

  # Runs as stage 2: reports the states of the files, then writes without end.
  writer = hostPkgs.writeScript "writer" ''
    #!${hostPkgs.runtimeShell}
    export PATH=${
      lib.makeBinPath [
        hostPkgs.bash
        hostPkgs.coreutils
        hostPkgs.diffutils
        hostPkgs.findutils
        hostPkgs.gnugrep
        hostPkgs.gnused
        hostPkgs.getent
        hostPkgs.util-linux
      ]
    }
    exec </dev/null >/dev/ttyS0 2>&1
    mkdir -p /etc /run /tmp
    mount -t tmpfs tmpfs /etc
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /tmp
    echo 'root:x:0:0::/root:/bin/sh' | tee /etc/passwd >/etc/shadow
    echo 'root:x:0:' >/etc/group
    files="/var/lib/consul/pki/consul.crt /var/lib/consul/pki/consul.key /var/lib/nixcfg/secrets/gossip /var/lib/nixcfg/passwords/alice"
    state=/var/lib/nixcfg/rollback

    # Thirty kilobytes with a number in each line.
    content() { yes "generation $1 of this file, in each of its lines" | head -n 600; }
    # Prints the number in a whole file, `-` if there is no file, `torn` for any other.
    number() {
        if ! [ -e "$1" ]; then
            echo -
        elif [ "$(wc -l <"$1")" = 600 ] && [ "$(uniq "$1" | wc -l)" = 1 ]; then
            sed -n '1s/^generation \([0-9]*\) of this file, .*/\1/p' "$1"
        else
            echo torn
        fi
    }

    # Prints the same for the record of a switch. It is written after the files that it needs.
    record() {
        [ -e $state/pending ] || { echo -; return; }
        run=$(sed -n 's/^run //p' $state/pending)
        if [ "$(sed -n 's/^end //p' $state/pending)" = "$run" ] && [ "$(number $state/return)" = "$run" ] &&
            cmp -s /etc/passwd $state/accounts/passwd; then echo "$run"; else echo torn; fi
    }
    write_record() (
        . ${wayBack}
        mkdir -p $state || exit
        # Confirms the switch before, whether or not its record was finished.
        rm -f $state/pending && sync $state || exit
        content "$1" | keep return && keep_accounts && { echo "run $1"; seq 2000; echo "end $1"; } | keep pending
    )
    drain() {
        [ -e /var/lib/nixcfg/drained ] || { echo -; return; }
        sed -n '1s/^since //p' /var/lib/nixcfg/drained | grep . || echo torn
    }

    found=
    for file in $files; do found="$found $(number $file)"; done
    found="$found $(record) $(drain)"
    left=$(find /var/lib/consul /var/lib/nixcfg/secrets /var/lib/nixcfg/passwords -name '.nixcfg-*' 2>/dev/null | wc -l)
    echo "writer: found$found left $left"
    # The kernel's command line has the first number.
    n=$(sed -n 's/.* writer.begin=\([0-9]*\).*/\1/p' /proc/cmdline)
    mkdir -p /var/lib/nixcfg
    while :; do
        {
            for file in $files; do
                echo "file 0600 root root $file"
                content "$n" | base64 -w 0
                echo
            done
            echo end
        } | sh ${install} >/tmp/said || { cat /tmp/said; echo 'writer: failed'; }
        write_record "$n" || echo 'writer: failed'
        sh ${drained} "$n" alice a-test || echo 'writer: failed'
        echo "writer: wrote $n"
        n=$((n + 1))
    done
  '';
in
{
  name = "powercut";
  nodes.alder = {
    imports = [ machines.alder ];
    system.extraDependencies = [ writer ];
  };

  testScript = ''
    import os
    import random
    import signal
    import time

    CUTS = 50
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    given = os.environ.get("QEMU_KERNEL_PARAMS", "")
    print(f"the seed of the moments is {seed}", flush=True)


    def line(words):
        """The writer's next line with these words."""
        while True:
            said = alder.last_lines.get(timeout=1800)
            assert "writer: failed" not in said, said
            if words in said:
                return said


    def begin(number):
        os.environ["QEMU_KERNEL_PARAMS"] = f"{given} init=${writer} writer.begin={number}"
        alder.start()
        *states, _, left = line("writer: found").split("found ")[1].split()
        return states, left


    def cut():
        os.kill(alder.pid, signal.SIGKILL)
        alder.wait_for_shutdown()


    with subtest(f"{CUTS} times, every file is the old one or the new"):
        told, in_the_midst = -1, 0
        for number in range(CUTS + 1):
            # The generation after the reported one may be on the disk, so the writer must not use its number again.
            states, left = begin(told + 2)
            if number == 0:
                assert set(states) == {"-"}, states
            else:
                # The reported generation, or the next one, which was being written.
                whole = {str(told), str(told + 1)}
                # The writer removes a record before it makes another.
                files, record = states[:4] + states[5:], states[4]
                assert set(files) <= whole and record in whole | {"-"}, f"cut {number}: {told} was told, found {states}"
                in_the_midst += len(set(states)) > 1 or left != "0"
                print(f"ok: cut {number} after {told} was told, found {states}, {left} unfinished", flush=True)
            if number == CUTS:
                break
            for _ in range(chance.randrange(1, 4)):
                written = line("writer: wrote")
            time.sleep(chance.random() * 2)
            cut()
            while not alder.last_lines.empty():
                said = alder.last_lines.get()
                assert "writer: failed" not in said, said
                written = said if "writer: wrote" in said else written
            told = int(written.split()[-1])
        print(f"{in_the_midst} of {CUTS} cuts were in the midst of writing")
        assert in_the_midst, "no cut was in the midst of writing"
  '';
}
