#!/bin/bash
# The whole of preprocess (read, template, mask, tokenize, pack, write) beside `datasets` with two processes,
# apply_chat_template and `tokenizers`, interleaved:
#   benchmarks/preprocess/run.sh PYTHON TOKENIZERS [PAIRS]
#     PYTHON      one with the modules datasets, transformers and numpy
#     TOKENIZERS  folder of folders with a tokenizer.json: smollm2 (template chatml) and qwen3 (qwen3) are taken
# Environment: PROGRAM (build/release/launch/axl-dist), ROWS (100000), WORK (a new folder under /tmp; needs 4 GB),
# NAMES ("smollm2 qwen3"), VARIANTS ("spans none": how the peer finds the trained tokens, see peer.py).
# Ours takes two threads, as the peer takes two processes, and always finds the trained tokens. Both start from the
# JSON lines each time and write to the same disk. Every measurement goes to stdout as CSV, then medians and ratios;
# the sums over all ids and labels must be those of the peer's `spans`.
set -euo pipefail
python=${1:?see the head of this file} tokenizers=${2:?} pairs=${3:-3}
here=$(cd "$(dirname "$0")" && pwd)
program=${PROGRAM:-$here/../../build/release/launch/axl-dist}
rows=${ROWS:-100000}
work=${WORK:-$(mktemp -d)}
read -ra names <<<"${NAMES:-smollm2 qwen3}"
read -ra variants <<<"${VARIANTS:-spans none}"
declare -A template=([smollm2]=chatml [qwen3]=qwen3)
table=$work/results.csv
trap 'rm -rf "$work/ours" "$work/peer" "$work/out"' EXIT
mkdir -p "$work"
data=$work/data.$rows.jsonl
[ -e "$data" ] || "$python" "$here/make_data.py" "$data" "$rows"

ours() { # name
    local dir=$work/model.$1 config=$work/$1.yaml times
    mkdir -p "$dir"
    cp "$tokenizers/$1"/* "$dir"
    cat >"$config" <<END
base_model: $dir
datasets:
  - path: $data
    type: chat_template
chat_template: ${template[$1]}
sequence_len: 4096
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 1
learning_rate: 1e-4
dataset_num_proc: 2
dataset_prepared_path: $work/ours
output_dir: $work/out
END
    rm -rf "$work/ours"
    TIMEFORMAT='%R %U %S'
    times=$({ time "$program" preprocess "$config" >"$work/log" 2>&1; } 2>&1) || {
        cat "$work/log" >&2
        exit 1
    }
    "$python" - "$1" "$work/ours" "$times" <<'END'
import glob, sys
import numpy as np

name, folder, times = sys.argv[1:]
seconds, user, system = map(float, times.split())
raw = np.memmap(glob.glob(folder + "/*.axl")[0], dtype=np.uint8)
n, n_tokens = (int(x) for x in raw[24:40].view(np.int64))  # the header has 12 words
def check(begin):
    total = 0
    for at in range(0, n_tokens, 1 << 22):
        k = min(1 << 22, n_tokens - at)
        values = raw[begin + 4 * at:begin + 4 * (at + k)].view(np.int32).astype(np.int64).astype(np.uint64)
        total += int((values * np.arange(at + 1, at + k + 1, dtype=np.uint64)).sum())
    return total % 2**64
for metric, value, unit in (("seconds", seconds, "s"), ("cpu", user + system, "s"), ("samples", n, "count"),
                            ("ids", check(96), "sum"), ("labels", check(96 + 4 * n_tokens), "sum")):
    print(f"preprocess,{name}.ours,{metric},{value},{unit}")
END
}

for ((pair = 1; pair <= pairs; pair++)); do
    for name in "${names[@]}"; do
        for variant in "${variants[@]}"; do
            ours "$name"
            "$python" "$here/peer.py" "$variant" "$name" "$tokenizers/$name" \
                "$here/../../src/text/templates/${template[$name]}.jinja" "$data" "$work/peer" 4096 2>"$work/log"
        done
    done
done | tee "$table"

echo
echo "Medians of $pairs interleaved runs of $rows conversations, $(stat -c %s "$data") bytes"
sort -t, -k1,3 -k4,4g "$table" | awk -F, '
function flush() {
    if (n > 0) median[key] = (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2
    n = 0
}
{
    if ($2 "," $3 != key) flush()
    key = $2 "," $3
    v[++n] = $4
    text[key] = $4
    base = $2; variant = $2; sub(/\.[a-z]*$/, "", base); sub(/^.*\./, "", variant)
    if (variant != "ours") seen[$2] = base
}
END {
    flush()
    for (peer in seen) {
        o = seen[peer] ".ours"
        same = text[o ",ids"] == text[peer ",ids"] ? "equal ids" : "IDS DIFFER"
        if (peer ~ /spans$/) same = same (text[o ",labels"] == text[peer ",labels"] ? ", equal labels" : ", LABELS DIFFER")
        printf "%-16s ours %7.2f s (%7.2f s of processors)  peer %8.2f s (%8.2f s)  ratio %5.1f (%5.1f)  %s\n", peer,
            median[o ",seconds"], median[o ",cpu"], median[peer ",seconds"], median[peer ",cpu"],
            median[peer ",seconds"] / median[o ",seconds"], median[peer ",cpu"] / median[o ",cpu"], same
    }
}' | sort
