#!/bin/bash
# peak.sh NAME COMMAND...: runs COMMAND and prints, last, the largest sum of RssAnon + RssShmem
# over the processes called NAME below it, in bytes, as "peak_memory_bytes N". File-backed
# pages (the mapped weights, libraries) are not counted. Exits with COMMAND's status.
name=$1
shift
"$@" &
child=$!
peak=0
while kill -0 "$child" 2>/dev/null; do
    sum=0
    for pid in $(pgrep -x "$name"); do
        # Only what this command started: walk up to the child.
        up=$pid
        while [ -n "$up" ] && [ "$up" -gt 1 ] && [ "$up" != "$child" ]; do
            up=$(awk '/^PPid/ { print $2 }' "/proc/$up/status" 2>/dev/null)
        done
        [ "$up" = "$child" ] || continue
        kib=$(awk '/^Rss(Anon|Shmem)/ { s += $2 } END { print s + 0 }' "/proc/$pid/status" 2>/dev/null)
        sum=$((sum + ${kib:-0}))
    done
    [ "$sum" -le "$peak" ] || peak=$sum
    sleep 0.1
done
wait "$child"
status=$?
echo "peak_memory_bytes $((peak * 1024))"
exit $status
