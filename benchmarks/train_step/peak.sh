#!/bin/bash
# peak.sh COMMAND...: runs COMMAND and prints, last, the largest sum of RssAnon + RssShmem over
# the processes it started (mpirun apart), in bytes: "peak_memory_bytes N". File-backed pages
# (the mapped weights, libraries) are not counted. Exits with COMMAND's status.
"$@" &
child=$!

# The child and everything below it.
family() {
    echo "$1"
    cat "/proc/$1/task/"*/children 2>/dev/null | tr ' ' '\n' | while read -r pid; do
        [ -z "$pid" ] || family "$pid"
    done
}

peak=0
while kill -0 "$child" 2>/dev/null; do
    sum=0
    for pid in $(family "$child"); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != mpirun ] || continue
        kib=$(awk '/^Rss(Anon|Shmem)/ { s += $2 } END { print s + 0 }' "/proc/$pid/status" 2>/dev/null)
        sum=$((sum + ${kib:-0}))
    done
    [ "$sum" -le "$peak" ] || peak=$sum
    sleep 0.2
done
wait "$child"
status=$?
echo "peak_memory_bytes $((peak * 1024))"
exit $status
