#!/bin/bash
# The train step on one GPU: SmolLM2-135M, and layers of Llama 3.1 8B's shape, with random weights and 8,192 tokens a step
# in one document, bf16 compute with f32 masters and moments (AdamW). CSV lines name,variant,metric,value,unit.
#   PROGRAM axl-dist   TOOL gpu_tool   MODELS tests/gpu/models   PYTHON one with torch and transformers; empty: no peer
#   PEAK  TFLOP/s of the chip in bf16, for MFU; empty: none      DEVICE cuda   STEPS 12   TOKENS 8192   ROUNDS 1
#   LIMIT 100: seconds of a run, of either program
# The 8B model's weights, gradients and moments take 16 bytes a parameter and more than one card has: as many layers are
# trained as `axl-dist plan` lets into the card's memory, and when that is not all 32, half of them; the difference of the
# two steps is the price of a layer, and a step of 32 layers is that of the larger run and the missing layers. Both run with
# selective checkpointing, as the published figures do. A line says `extrapolated` when 32 layers did not run. The smaller run
# comes once more with linear layers in 8 bits; `gain` is the step in bf16 by that. Beside the peer four layers run without
# checkpointing, which fit both.
# Peak memory is the most that nvidia-smi saw in use while a run lasted, in both programs.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=${PROGRAM:?} tool=${TOOL:?} models=${MODELS:?} python=${PYTHON:-} peak=${PEAK:-}
device=${DEVICE:-cuda} steps=${STEPS:-12} tokens=${TOKENS:-8192} rounds=${ROUNDS:-1} limit=${LIMIT:-100}
warmup=3 # steps that are not counted
work=$(mktemp -d)
child=
trap '[ -z "$child" ] || kill -9 "$child" 2>/dev/null; rm -rf "$work"' EXIT
fail() {
    echo "gpu.sh: $*" >&2
    exit 1
}

card_mib() { timeout -k 1 10 nvidia-smi --query-gpu=memory."$1" --format=csv,noheader,nounits 2>/dev/null | head -n 1; }

# make_model NAME LAYERS [FOLDER]: with weights of its own, or those of FOLDER, which has them all and more.
make_model() {
    local dir=$work/$1-$2
    [ -d "$dir" ] && return
    mkdir -p "$dir"
    sed "s/\"num_hidden_layers\": [0-9]*/\"num_hidden_layers\": $2/" "$models/$1.json" >"$dir/config.json"
    if [ -n "${3:-}" ]; then
        ln -s "$3/model.safetensors" "$dir/model.safetensors"
    else
        timeout -k 5 100 "$tool" inputs model "$dir" >&2 || fail "$1 cannot be made"
    fi
}

# write_yaml DIR CHECKPOINTING [KEY]
write_yaml() {
    cat >"$work/run.yaml" <<EOF
base_model: $1
output_dir: $work/out
datasets:
  - path: $work/rows.jsonl
dataset_prepared_path: $work/prepared
device: $device
sequence_len: $tokens
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 1
max_steps: $((steps + 1))
optimizer: adamw_torch_fused
learning_rate: 1e-5
weight_decay: 0.0
max_grad_norm: 1.0
bf16: true
gradient_checkpointing: $2
$([ "$2" = false ] || echo "selective_checkpointing: true")
logging_steps: 1
save_strategy: "no"
${3:-}
EOF
}

planned() { "$program" plan "$work/run.yaml" --ranks 1 --json | sed -n "s/^ *\"$1\": *\([0-9.e+]*\),*$/\1/p" | head -n 1; }
field() { grep -oE "\"$1\": *[0-9.e+-]+" "$work/out/metrics.jsonl" | sed 's/.*: *//'; }
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# watch_memory FILE: appends what the card has in use until it is killed.
watch_memory() { while sleep 0.3; do card_mib used >>"$1"; done; }

# measure_memory COMMAND...: runs it; $memory is the peak in bytes, empty where nothing says.
measure_memory() {
    local status=0 watcher
    : >"$work/memory"
    watch_memory "$work/memory" &
    watcher=$!
    "$@" || status=$?
    kill $watcher 2>/dev/null
    wait $watcher 2>/dev/null
    memory=$(sort -g "$work/memory" | tail -n 1)
    [ -z "$memory" ] || memory=$((memory * 1048576))
    return $status
}

# shellcheck disable=SC2317 # by train
logged() { { awk 'END { print NR }' <"$work/out/metrics.jsonl"; } 2>/dev/null || echo 0; }

# What it would save after the last step is of no use: it is stopped when that one is logged.
# shellcheck disable=SC2317 # called by name
train() {
    rm -rf "$work/out"
    "$program" "$work/run.yaml" >"$work/log" 2>&1 &
    child=$!
    local begin=$SECONDS
    while kill -0 "$child" 2>/dev/null && [ "$(logged)" -le "$steps" ]; do
        [ $((SECONDS - begin)) -lt "$limit" ] || { echo "gpu.sh: no end within $limit s" >>"$work/log" && break; }
        sleep 0.05
    done
    kill -9 "$child" 2>/dev/null
    for ((begin = SECONDS; SECONDS - begin < 10;)); do # what hangs in the driver is left alone
        kill -0 "$child" 2>/dev/null || break
        sleep 0.05
    done
    disown "$child" 2>/dev/null
    child=
    [ "$(logged)" -gt "$steps" ]
}

# ours NAME DIR CHECKPOINTING [KEY]: $seconds is the median step.
ours() {
    write_yaml "$2" "$3" "${4:-}"
    measure_memory train || { echo "$1:" >&2 && tail -n 15 "$work/log" >&2 && return 1; }
    seconds=$(field step_seconds | tail -n +$((warmup + 1)) | median)
    report axl-dist "$1" "$seconds" "$memory"
}

# report WHO NAME SECONDS MEMORY: tokens/s and MFU, by the model's operations that run.yaml's plan counts (attention in
# full, and its causal half alone).
report() {
    local rate
    rate=$(awk -v s="$3" -v t="$tokens" 'BEGIN { print t / s }')
    echo "$1,$2,step,$3,s"
    echo "$1,$2,throughput,$rate,tokens/s"
    for kind in '' _causal; do
        [ -z "$peak" ] || echo "$1,$2,mfu$kind,$(awk -v r="$rate" -v f="$(planned flops_per_token$kind)" -v p="$peak" \
            'BEGIN { printf "%.4f", r * f / (p * 1e12) }'),ratio"
    done
    [ -z "$4" ] || echo "$1,$2,peak_memory,$4,bytes"
}

# theirs NAME DIR PRECISION
theirs() {
    local out
    measure_memory timeout -k 5 "$limit" "$python" "$here/torch_peer.py" --model "$2" --tokens "$tokens" --document "$tokens" --device "$device" \
        --precision "$3" --compile --steps "$steps" >"$work/peer" 2>"$work/peer.log" ||
        { tail -n 3 "$work/peer.log" >&2 && return 1; }
    out=$(grep '^torch,.*,step,' "$work/peer")
    their_seconds=$(cut -d, -f4 <<<"$out")
    report torch "$1_$3" "$their_seconds" "$memory"
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.4f\n", a / b }'; }

small() {
    local found=() round
    make_model smollm2-135m 30
    for ((round = 1; round <= rounds; round++)); do
        ours smollm2-135m "$work/smollm2-135m-30" false || return 1
        [ -n "$python" ] || continue
        theirs smollm2-135m "$work/smollm2-135m-30" autocast || return 1
        found+=("$(ratio "$their_seconds" "$seconds")")
    done
    [ ${#found[@]} = 0 ] || echo "ratio,smollm2-135m,speed,$(printf '%s\n' "${found[@]}" | median),axl-dist/torch"
}

# plan_yaml LAYERS: run.yaml asks about so many layers of the 8B shape; there are no weights.
plan_yaml() {
    mkdir -p "$work/plan"
    sed "s/\"num_hidden_layers\": [0-9]*/\"num_hidden_layers\": $1/" "$models/llama-8b.json" >"$work/plan/config.json"
    write_yaml "$work/plan" true
}

# The most layers of the 8B shape, an even number, that the plan lets into this card.
most_layers() {
    local total layers
    total=$(card_mib total)
    [ -n "$total" ] || fail "nvidia-smi does not say how much memory the card has; set LAYERS"
    for ((layers = 32; layers > 2; layers -= 2)); do
        plan_yaml $layers
        awk -v a="$(planned sum)" -v b="$total" 'BEGIN { exit !(a > 0 && a < 0.97 * b * 1048576) }' && break
    done
    echo $layers
}

# eight LAYERS SECONDS: so many layers in 8 bits, which took SECONDS a step in bf16.
eight() {
    ours "llama-8b_${1}_layers_fp8" "$work/llama-8b-$1" true "fp8: true" || return 1
    echo "ratio,llama-8b_${1}_layers,gain,$(ratio "$2" "$seconds"),bf16/fp8"
}

large() {
    local layers half short long per whole tries fell=0 steps=$((steps < 8 ? steps : 8)) # they are long, and all alike
    layers=${LAYERS:-$(most_layers)}
    [ -n "$layers" ] || return 1
    make_model llama-8b "$layers"
    local weights=$work/llama-8b-$layers
    for tries in 1 2 3; do # libraries may take more of the card than the plan knows
        make_model llama-8b "$layers" "$weights"
        ours "llama-8b_${layers}_layers" "$work/llama-8b-$layers" true && break
        [ $tries -lt 3 ] && [ "$layers" -gt 4 ] || return 1
        layers=$((layers - 2))
    done
    long=$seconds whole=$seconds
    if [ "$layers" != 32 ]; then
        half=$((layers / 2))
        make_model llama-8b $half "$weights"
        ours "llama-8b_${half}_layers" "$work/llama-8b-$half" true || return 1
        short=$seconds
        per=$(awk -v a="$short" -v b="$long" -v n=$((layers - half)) 'BEGIN { print (b - a) / n }')
        whole=$(awk -v b="$long" -v p="$per" -v n=$((32 - layers)) 'BEGIN { print b + p * n }')
        awk -v p="$per" 'BEGIN { exit !(p > 0) }' || fail "$layers layers are not slower than $half: the machine is busy"
        echo "axl-dist,llama-8b,layer,$per,s"
    fi
    eight "${half:-$layers}" "${short:-$long}" || fell=1
    plan_yaml 32
    report axl-dist "llama-8b$([ "$layers" = 32 ] || echo _extrapolated)" "$whole" ""
    [ -n "$python" ] || return $fell
    make_model llama-8b 4 "$weights"
    ours llama-8b_4_layers "$work/llama-8b-4" false || return 1
    theirs llama-8b_4_layers "$work/llama-8b-4" autocast || return 1
    echo "ratio,llama-8b_4_layers,speed,$(ratio "$their_seconds" "$seconds"),axl-dist/torch"
    return $fell
}

lengths=()
for ((i = 0; i < steps + 3; i++)); do lengths+=("$tokens"); done
"$tool" inputs rows "$work/rows.jsonl" 49000 7 "${lengths[@]}" || fail "rows cannot be made"
status=0
echo "name,variant,metric,value,unit"
small || status=1
rm -rf "$work/smollm2-135m-30" "$work/prepared"
large || status=1
exit $status
