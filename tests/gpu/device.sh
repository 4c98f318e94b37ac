#!/bin/bash
# On a fresh machine with a GPU, from the root of a copy of the checkout that has a pack (tests/gpu/pack.sh makes it):
#   tests/gpu/device.sh [options of run.sh]
# Runs all of run.sh and leaves in $OUT (or the working folder) gpu.json, gpu.full.txt (all that its parts said), gpu.txt (a
# table of all figures) and gpu.log (what it says here). The pack is looked for in build/gpu_pack and gpu_pack; without one a
# build is taken or made. It ends within nine minutes.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${OUT:-$PWD}
mkdir -p "$out"
runner=$root/tests/gpu/run.sh
for pack in "$root/build/gpu_pack" "$root/gpu_pack"; do
    [ ! -e "$pack/files.tgz" ] || runner=$pack/run.sh
done
echo "$runner"
status=0
"$runner" "$@" "$out/gpu.json" 2>&1 | tee "$out/gpu.log" || status=$?
[ -e "$out/gpu.json" ] || exit 1
sed -n 's/^ *{"name": "\([^"]*\)", "variant": "\([^"]*\)", "metric": "\([^"]*\)", "value": \([^,]*\), "unit": "\([^"]*\)"}.*/\1 \2 \3 \4 \5/p' \
    "$out/gpu.json" >"$out/gpu.figures"
column -t "$out/gpu.figures" >"$out/gpu.txt" 2>/dev/null || cp "$out/gpu.figures" "$out/gpu.txt"
rm "$out/gpu.figures"
# last, since only the end of what this says may come back
sed -n 's/^    {"name": "\([^"]*\)", "outcome": "\([^"]*\)", "seconds": \([0-9]*\).*/\1: \2 (\3 s)/p' "$out/gpu.json" | tee -a "$out/gpu.txt" "$out/gpu.log"
exit $status
