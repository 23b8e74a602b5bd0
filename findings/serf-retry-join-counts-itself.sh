#!/usr/bin/env bash
# Serf v0.10.1 (Go module github.com/hashicorp/serf, with the memberlist of its go.sum): the gossip of Consul and Nomad.
#
# Guessed: an agent whose -retry-join names all members of a cluster, itself among them, goes on trying until it has met another.
# Seen: its own address answers, so it has "joined: 1 nodes" at the first try, and never tries again. Without its own address in the list,
# it goes on until it meets the other agent. Consul 1.8.7 and Nomad 1.6.10 do the same with their retry_join.
# It matters where all servers have the same list: after a power cut, servers that start before the lines between them are up each stay
# alone, and no leader is ever elected.
# Needs Go, and the module proxy that Go is set to use. On loopback.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$work"' EXIT
export GOPATH=$work/go GOFLAGS=-modcacherw GOBIN=$work/bin
go install github.com/hashicorp/serf/cmd/serf@v0.10.1 2>"$work/build" || { cat "$work/build"; exit 1; }
serf=$work/bin/serf
echo "module v0.10.1, which calls itself $("$serf" version | head -n 1)"

members() { "$serf" members -rpc-addr 127.0.0.1:17373 2>/dev/null | wc -l; }

# alone LIST…: starts an agent that retries to join LIST, then another agent; prints how many members the first one knows.
alone() {
    local first second try joins=()
    for try in "$@"; do joins+=(-retry-join "$try"); done
    "$serf" agent -node first -bind 127.0.0.1:17946 -rpc-addr 127.0.0.1:17373 -retry-interval 1s "${joins[@]}" >"$work/log" 2>&1 &
    first=$!
    for try in $(seq 50); do [ "$(members)" = 1 ] && break; sleep 0.2; done
    sleep 2 # for a first attempt, and a second one if the agent makes it
    "$serf" agent -node second -bind 127.0.0.1:17947 -rpc-addr 127.0.0.1:17374 >/dev/null 2>&1 &
    second=$!
    for try in $(seq 50); do [ "$(members)" = 2 ] && break; sleep 0.2; done
    members
    kill -9 $first $second
    wait $first $second 2>/dev/null || :
}

with=$(alone 127.0.0.1:17946 127.0.0.1:17947)
grep -o 'Join completed. Synced with 1 initial agents' "$work/log"
without=$(alone 127.0.0.1:17947)
echo "members known to the first agent: $with with its own address in the list, $without without"
[ "$with" = 1 ] && [ "$without" = 2 ]
