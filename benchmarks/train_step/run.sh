#!/bin/bash
# Training speed of SmolLM2-135M beside transformers + PyTorch, on this machine, interleaved:
#   benchmarks/train_step/run.sh PYTHON MODEL DATA.jsonl [PAIRS]
#     PYTHON   one with torch and transformers;  MODEL  a Hugging Face directory
#     DATA     completion data ({"text": ...} a line);  PAIRS  default 5
# Environment: PROGRAM (build/release/launch/axl-dist), TOKENS ("1024 2048"), STEPS (3),
# PEERS ("fp32 autocast pure"; add -compile to a name for torch.compile).
# Every measurement goes to stdout as CSV, then the medians and the ratios as a table.
set -euo pipefail
python=${1:?see the head of this file} model=${2:?} data=${3:?} pairs=${4:-5}
here=$(cd "$(dirname "$0")" && pwd)
program=${PROGRAM:-$here/../../build/release/launch/axl-dist}
read -ra sizes <<<"${TOKENS:-1024 2048}"
read -ra peers <<<"${PEERS:-fp32 autocast pure}"
steps=${STEPS:-3}
table=$(mktemp)
trap 'rm -f "$table"' EXIT

torch() {
    local precision=${1%-compile} more=() out
    [ "$precision" = "$1" ] || more=(--compile)
    out=$("$here/peak.sh" "$python" "$here/torch_peer.py" \
        --model "$model" --tokens "$2" --precision "$precision" --steps "$steps" "${more[@]}" 2>/dev/null)
    grep '^torch,' <<<"$out"
    awk -v v="$(grep -m1 -oE '^torch,[^,]*' <<<"$out")" \
        '/^peak_memory_bytes/ { print v ",peak_memory," $2 ",bytes" }' <<<"$out"
}

for ((pair = 1; pair <= pairs; pair++)); do
    for tokens in "${sizes[@]}"; do
        for precision in fp32 bf16; do
            "$here/ours.sh" "$program" "$model" "$data" "$tokens" "$precision" "$steps"
        done
        for peer in "${peers[@]}"; do torch "$peer" "$tokens"; done
    done
done | tee "$table"

echo
echo "Medians of $pairs interleaved runs, $(nproc) cores"
sort -t, -k1,3 -k4,4g "$table" | awk -F, '
function flush() {
    if (n == 0) return
    m = (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2
    printf "%-9s %-22s %-16s %14.6g %s\n", name, variant, metric, m, unit
    median[name "," variant "," metric] = m
    n = 0
}
{
    key = $1 "," $2 "," $3
    if (key != last) flush()
    last = key; name = $1; variant = $2; metric = $3; unit = $5
    v[++n] = $4
    split($2, part, "_"); size[part[length(part)]] = 1
}
END {
    flush()
    for (t in size)
        for (k in median) {
            split(k, f, ",")
            if (f[1] != "torch" || f[3] != "throughput" || f[2] !~ "_" t "$") continue
            ours = f[2] ~ /^fp32/ ? "fp32" : "bf16"
            a = median["axl-dist," ours "_" t ",throughput"]
            b = median["axl-dist," ours "_" t ",peak_memory"]
            p = median["torch," f[2] ",peak_memory"]
            if (median[k] > 0 && a > 0 && p > 0)
                printf "ratio: axl-dist %s_%s / torch %s: speed %.2f, peak memory %.2f\n", \
                    ours, t, f[2], a / median[k], b / p
        }
}'
