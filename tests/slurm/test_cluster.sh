#!/bin/bash
# Nothing is left of a cluster: after its command, after one that failed, after kill -9.
set -u
cluster=$(dirname "$0")/cluster.sh
seen=$(mktemp)
trap 'rm -f "$seen"' EXIT

# Notes the namespaces of the cluster, then does what $3 says.
# shellcheck disable=SC2016
inside='for host in ctl n1 n2; do "$1" on $host readlink /proc/self/ns/pid /proc/self/ns/net; done >"$2"
    echo up >>"$2"
    exec $3'

# Processes hold namespaces; the kernel may need a moment to end them.
check_gone() {
    local _
    [ "$(grep -c ':\[' "$seen")" = 6 ] || { cat "$seen" && echo "$1: the cluster had not six namespaces" && exit 1; }
    for _ in $(seq 100); do
        readlink /proc/[0-9]*/ns/pid /proc/[0-9]*/ns/net | grep -qFf <(grep ':\[' "$seen") || return 0
        sleep 0.1
    done
    echo "$1: processes of the cluster are left"
    exit 1
}

"$cluster" run bash -c "$inside" - "$cluster" "$seen" true
status=$?
[ $status = 0 ] || exit $status
check_gone "after a command"

"$cluster" run bash -c "$inside" - "$cluster" "$seen" "sh -c 'exit 3'" 2>/dev/null
status=$?
[ $status != 0 ] || { echo "the status of the command was lost" && exit 1; }
check_gone "after a command that failed"

: >"$seen"
"$cluster" run bash -c "$inside" - "$cluster" "$seen" "sleep 1000" &
for _ in $(seq 300); do
    ! grep -q up "$seen" || break
    sleep 0.1
done
kill -9 $!
wait $! 2>/dev/null
check_gone "after kill -9"
