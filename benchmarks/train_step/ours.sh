#!/bin/bash
# ours.sh PROGRAM MODEL DATA.jsonl TOKENS fp32|bf16 STEPS: axl-dist's side of the comparison.
# One process (RANKS=N: N of them), all cores; prints CSV lines name,variant,metric,value,unit.
# The first step warms up and is not counted. The time to the first forward is that of the
# first logged step less the step itself.
set -euo pipefail
program=$1 model=$2 data=$3 tokens=$4 precision=$5 steps=$6
ranks=${RANKS:-1}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/run.yaml" <<EOF
base_model: $model
output_dir: $work/out
datasets:
  - path: $data
    type: completion
dataset_prepared_path: ${TMPDIR:-/tmp}/axl-train-step-prepared
sequence_len: $tokens
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 1
max_steps: $((steps + 1))
optimizer: adamw_torch_fused
learning_rate: 1e-5
weight_decay: 0.0
max_grad_norm: 1.0
bf16: $([ "$precision" = bf16 ] && echo true || echo false)
logging_steps: 1
save_strategy: "no"
EOF
launch=()
export OMP_NUM_THREADS=$(($(nproc) / ranks))
if [ "$ranks" -gt 1 ]; then
    launch=(mpirun --bind-to none --oversubscribe -np "$ranks")
    [ "$(id -u)" != 0 ] || launch+=(--allow-run-as-root)
fi
now() { date +%s.%N; }

started=$(now)
"$here/peak.sh" "${launch[@]}" "$program" "$work/run.yaml" \
    >"$work/log" 2>&1 &
child=$!
until [ -s "$work/out/metrics.jsonl" ] || ! kill -0 $child 2>/dev/null; do sleep 0.02; done
logged=$(now)
wait $child || { tail -n 20 "$work/log" >&2 && exit 1; }

field() { grep -oE "\"$1\": *[0-9.e+-]+" "$work/out/metrics.jsonl" | sed 's/.*: *//'; }
median() { sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
name="axl-dist,${precision}_$tokens"
echo "$name,throughput,$(field tokens_per_second | tail -n +2 | median),tokens/s"
echo "$name,step,$(field step_seconds | tail -n +2 | median),s"
awk -v a="$started" -v b="$logged" -v s="$(field step_seconds | head -n 1)" -v n="$name" \
    'BEGIN { printf "%s,first_forward,%.3f,s\n", n, b - a - s }'
echo "$name,peak_memory,$(awk '/^peak_memory_bytes/ { print $2 }' "$work/log"),bytes"
