#!/bin/bash
# On a fresh machine with a GPU, from the root of a copy of the checkout that has a pack (tests/gpu/pack.sh makes it):
#   tests/gpu/device.sh [options of run.sh]
# Runs all of run.sh and leaves in $OUT (or the working folder) gpu.json, gpu.full.txt (all that its parts said), gpu.txt (a
# table of the figures) and gpu.log. The pack is looked for in build/gpu_pack and gpu_pack; without one a build is taken or
# made. It ends within nine minutes.
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
# figures KEEP: of the JSON, as a table; of the metrics that match KEEP
figures() {
    sed -n 's/^ *{"name": "\([^"]*\)", "variant": "\([^"]*\)", "metric": "\([^"]*\)", "value": \([^,]*\), "unit": "\([^"]*\)"}.*/\1 \2 \3 \4 \5/p' \
        "$out/gpu.json" | awk -v keep="$1" '$3 ~ keep' >"$out/gpu.figures"
    column -t "$out/gpu.figures" 2>/dev/null || cat "$out/gpu.figures"
    rm "$out/gpu.figures"
}
figures . >"$out/gpu.txt"
# What a person wants to see last is short, since only the end of it may come back: the figures that compare, then what
# failed with the beginning of its reason, then the parts.
figures '^(of_peak|of_gemm|of_copy|speed|throughput|mfu)$' | awk '!/ of_gemm /|| !peak[$1]; / of_peak / { peak[$1] = 1 }' |
    cut -c 1-90 | tail -n 75
sed -n 's/^ *{"name": "\([^"]*\)", "outcome": "\(failed\)".*"text": "\(.\{0,250\}\).*/\1: \3/p' "$out/gpu.json" | tail -n 14
sed -n 's/^    {"name": "\([^"]*\)", "outcome": "\([^"]*\)", "seconds": \([0-9]*\).*/\1: \2 (\3 s)/p' "$out/gpu.json" | tee -a "$out/gpu.txt"
exit $status
