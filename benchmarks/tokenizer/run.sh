#!/bin/bash
# Tokenization speed beside the `tokenizers` library, one thread each, cold caches, interleaved:
#   benchmarks/tokenizer/run.sh PYTHON TOKENIZERS CORPORA [PAIRS]
#     PYTHON      one with the module tokenizers
#     TOKENIZERS  folder of folders with a tokenizer.json: smollm2, llama3, qwen3 are taken
#     CORPORA     folder of *.bin, documents each ended by a NUL byte; peer.py --corpus makes them
# Environment: PROGRAM (build/release/benchmarks/tokenizer/bench_tokenizer), NAMES ("smollm2 llama3 qwen3").
# Every measurement goes to stdout as CSV, then the medians and the ratios.
set -euo pipefail
python=${1:?see the head of this file} tokenizers=${2:?} corpora=${3:?} pairs=${4:-3}
here=$(cd "$(dirname "$0")" && pwd)
program=${PROGRAM:-$here/../../build/release/benchmarks/tokenizer/bench_tokenizer}
read -ra names <<<"${NAMES:-smollm2 llama3 qwen3}"
table=$(mktemp)
trap 'rm -f "$table"' EXIT

for ((pair = 1; pair <= pairs; pair++)); do
    for name in "${names[@]}"; do
        for corpus in "$corpora"/*.bin; do
            what=$name.$(basename "$corpus" .bin)
            "$program" "$what" "$tokenizers/$name" "$corpus"
            "$python" "$here/peer.py" "$what" "$tokenizers/$name" "$corpus"
        done
    done
done | tee "$table"

echo
echo "Medians of $pairs interleaved runs"
sort -t, -k1,3 -k4,4g "$table" | awk -F, '
function flush() {
    if (n == 0) return
    median[key] = (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2
    first[key] = v[1]; last[key] = v[n]
    n = 0
}
{
    if ($2 "," $3 != key) flush()
    key = $2 "," $3
    v[++n] = $4
    base = $2; sub(/\.[a-z]*$/, "", base); seen[base] = 1
}
END {
    flush()
    for (b in seen) {
        ours = median[b ".ours,encode"]; theirs = median[b ".tokenizers,encode"]
        same = first[b ".ours,check"] == last[b ".tokenizers,check"] ? "equal ids" : "IDS DIFFER"
        printf "%-16s %8.1f MB/s ours %8.1f MB/s tokenizers  ratio %6.1f  load %.0f / %.0f ms  %s\n", b, ours, theirs,
            ours / theirs, 1e3 * median[b ".ours,load"], 1e3 * median[b ".tokenizers,load"], same
    }
}' | sort
