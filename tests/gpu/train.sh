#!/bin/bash
# Short trainings on a GPU against the CPU's: train.sh [CASE...]; without names all, or those in CASES. A JSON object a
# case on stdout.
#   PROGRAM   axl-dist (a build's, or a pack's)     TOOL     gpu_tool, MODELS config.json files
#   DEVICE    cuda                                  REFERENCE, REFERENCE_DEVICE   $PROGRAM, cpu: what is right
#   STEPS     20                                    GPUS     cards: more than one and the nccl cases run (1)
#   LIMIT     40: seconds of a run; REFERENCE_LIMIT the same
# A case trains a small random model and compares every step's loss, and the weights at the end where it is f32, with a
# run of its model on the reference: the same YAML but for `device` and the layout. Ends with 1 when one is off, with 77
# when none could run.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=${PROGRAM:?} tool=${TOOL:?} models=${MODELS:-$here/models}
device=${DEVICE:-cuda} reference=${REFERENCE:-$program} reference_device=${REFERENCE_DEVICE:-cpu}
steps=${STEPS:-20} gpus=${GPUS:-1} limit=${LIMIT:-40}
[ "$device" != cpu ] || limit=${LIMIT:-300}
if [ $# = 0 ] && [ -n "${CASES:-}" ]; then
    read -ra given <<<"$CASES"
    set -- "${given[@]}"
fi
read -ra mpirun <<<"${MPIRUN:-mpirun --oversubscribe --bind-to none}"
[ "$(id -u)" != 0 ] || mpirun+=(--allow-run-as-root)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 ran=0

# How far a step's loss may be off, and a weight's tensor by its norm: what one run may differ from another that sums in
# another order. f32: the promise for all layouts; bf16: each product's result is rounded to 8 bits. fp8: linear layers in 8
# bits of bf16 numbers; on the CPU another order makes 5e-4 (tensor parallel), bf16 products instead 4e-3, which must show.
declare -A loss_tolerance=([f32]=1e-5 [bf16]=1e-2 [fp8]=3e-3) weight_tolerance=([f32]=1e-4 [bf16]="" [fp8]="")

# name|model|ranks|precision|micro-steps of all ranks together|against|keys, ; between them
#   against: reference, or a case before it on the same device (then bits: and all must be equal to the bit)
cases='
llama|llama|1|f32|2|reference|
llama_bf16|llama|1|bf16|2|reference|
qwen3|qwen3|1|f32|2|reference|
qwen3_bf16|qwen3|1|bf16|2|reference|
mixtral|mixtral|1|f32|2|reference|
mixtral_bf16|mixtral|1|bf16|2|reference|
gemma2|gemma2|1|f32|2|reference|
gemma2_bf16|gemma2|1|bf16|2|reference|
llama_fp8|llama|1|fp8|2|reference|
lora|llama|1|f32|2|reference|adapter: lora;lora_r: 8;lora_alpha: 16;lora_target_linear: true
repeat|llama|1|bf16|2|llama_bf16 bits|
checkpointing|llama|1|bf16|2|llama_bf16 bits|gradient_checkpointing: true
resume|llama|1|bf16|2|llama_bf16 bits|auto_resume_from_checkpoints: true
staged|llama|2|f32|2|llama|
staged_tp|llama|2|f32|2|llama|tensor_parallel_size: 2
staged_cp|llama|2|f32|2|llama|context_parallel_size: 2
staged_ep|mixtral|2|f32|2|mixtral|expert_parallel_size: 2
nccl|llama|2|f32|2|llama|
nccl_bf16|llama|2|bf16|2|llama_bf16|
nccl_tp|llama|2|f32|2|llama|tensor_parallel_size: 2
nccl_cp|llama|2|f32|2|llama|context_parallel_size: 2
nccl_ep|mixtral|2|f32|2|mixtral|expert_parallel_size: 2
'

json() {
    printf '"%s"' "$(tr -d '\000-\010\013-\037' <<<"$1" | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g' |
        sed ':a;N;$!ba;s/\n/\\n/g')"
}

# say NAME OUTCOME [FIELDS]: a line of the result.
say() {
    printf '{"name": "%s", "outcome": "%s"%s}\n' "$1" "$2" "${3:-}"
    [ "$2" != failed ] || failed=1
}

# make_model NAME: its folder and rows, once. Few ids, so that there is something to learn.
make_model() {
    [ -s "$work/$1/model.safetensors" ] && return 0
    mkdir -p "$work/$1"
    cp "$models/$1.json" "$work/$1/config.json"
    "$tool" inputs model "$work/$1" >"$work/said" 2>&1 || return 1
    local lengths=() i
    for ((i = 0; i < 6 * steps; i++)); do lengths+=($((20 + i * 37 % 400))); done
    [ -s "$work/rows.jsonl" ] || "$tool" inputs rows "$work/rows.jsonl" 80 5 "${lengths[@]}"
}

# write_yaml FILE MODEL PRECISION MICRO_STEPS DEVICE OUT KEYS
write_yaml() {
    cat >"$1" <<EOF
base_model: $work/$2
output_dir: $6
datasets:
  - path: $work/rows.jsonl
dataset_prepared_path: $6.prepared
device: $5
sequence_len: 512
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: $4
max_steps: $steps
learning_rate: 1e-3
adam_epsilon: 1e-6
weight_decay: 0.01
max_grad_norm: 1.0
bf16: $([ "$3" != f32 ] && echo true || echo false)
fp8: $([ "$3" = fp8 ] && echo true || echo false)
tf32: false
logging_steps: 1
save_strategy: $([[ $7 = *auto_resume* ]] && echo steps || echo '"no"')
$([[ $7 = *auto_resume* ]] && echo "save_steps: $((steps / 2))")
$(tr ';' '\n' <<<"$7")
EOF
}

# run PROGRAM RANKS YAML [SAID]: one that hangs takes no time of the others; what the driver holds is left alone.
run() {
    local launch=() status=0 said=${4:-$work/said} limit=$limit
    [ "$2" = 1 ] || launch=("${mpirun[@]}" -np "$2")
    [ -z "${4:-}" ] || limit=${REFERENCE_LIMIT:-$limit}
    timeout -k 2 $((limit + 5)) timeout -k 3 "$limit" "${launch[@]}" "$1" "$3" >"$said" 2>&1 </dev/null || status=$?
    [[ $status != 124 && $status != 137 ]] || echo "error: no end within $limit s" >>"$said"
    return $status
}

# why SAID: what a failed run said: its errors, and else its end.
why() {
    grep -iE 'error|signal|abort' "$1" | head -n 3
    grep -viE 'error|signal|abort' "$1" | tail -n 3
    echo "---- $1" >&2
    tail -n 60 "$1" >&2
}

# resume_run YAML OUT: as if the run had been stopped after half of it.
resume_run() {
    run "$program" 1 "$1" || return 1
    local half=$2/checkpoint-$((steps / 2))
    mkdir "$2.half" && mv "$half" "$2.half/" && rm -rf "$2" && mv "$2.half" "$2"
    run "$program" 1 "$1"
}

losses() { sed -n 's/.*"step": *\([0-9]*\),.*"loss": *\([0-9a-zA-Z.+-]*\),.*/\1 \2/p' "$1/metrics.jsonl" 2>/dev/null; }

# furthest WANT GOT: step and relative difference of the loss that is most off, and how many steps were compared.
# Nothing is close to a loss that is no number.
furthest() {
    awk 'NR == FNR { want[$1] = $2; next }
        { d = $2 == want[$1] ? 0 : 1e9
          if ($2 ~ /^[0-9]/ && want[$1] > 0) { d = ($2 - want[$1]) / want[$1]; d = d < 0 ? -d : d }
          if (d >= worst) { worst = d; at = $1 }; n++ }
        END { printf "%d %.3g %d\n", at, worst, n }' <(losses "$1") <(losses "$2")
}

# weights_off WANT GOT: the largest norm of a tensor's difference, by the tensor's norm.
weights_off() {
    "$reference" inspect "$1" "$2" 2>&1 | awk '
        / elements differ/ { r = $(NF - 2) / $NF; if (r > worst) worst = r }
        /tensors are equal/ { seen = 1 }
        END { printf "%.3g\n", seen ? worst + 0 : 1e9 }'
}

above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'; }

# compare NAME OUT WANT PRECISION BITS SECONDS
compare() {
    local name=$1 out=$2 want=$3 loss_limit=${loss_tolerance[$4]} weight_limit=${weight_tolerance[$4]} at off n weights
    local outcome=passed least=$steps
    [ "$5" != bits ] || loss_limit=0 weight_limit=0
    [[ $name != resume ]] || least=$((steps - steps / 2))
    read -r at off n < <(furthest "$want" "$out")
    weights=$(weights_off "$want" "$out")
    ! above "$off" "$loss_limit" || outcome=failed
    [ "$n" -ge "$least" ] || outcome=failed
    [ -z "$weight_limit" ] || ! above "$weights" "$weight_limit" || outcome=failed
    local first last text=
    [ "$outcome" = passed ] || {
        text="losses $(losses "$out" | head -n 4 | cut -d' ' -f2 | xargs), expected $(losses "$want" | head -n 4 | cut -d' ' -f2 | xargs)"
        echo "$name: step $at: loss off by $off of itself, $loss_limit allowed; weights by $weights, ${weight_limit:-any} allowed; $n of $least steps; $text" >&2
    }
    first=$(losses "$out" | sed -n '1s/.* \([0-9]\)/\1/p') last=$(losses "$out" | sed -n '$s/.* \([0-9]\)/\1/p')
    say "$name" $outcome ", \"seconds\": $6, \"steps\": $n, \"loss_first\": ${first:-null}, \"loss_last\": ${last:-null}, \"loss_off\": $off, \"loss_allowed\": $loss_limit, \"off_at_step\": $at, \"weights_off\": $weights, \"weights_allowed\": ${weight_limit:-null}${text:+, \"text\": \"$text\"}"
}

# try_case NAME MODEL RANKS PRECISION MICRO_STEPS AGAINST KEYS
try_case() {
    local name=$1 model=$2 ranks=$3 precision=$4 micro=$5 keys=$7 out=$work/out-$1 yaml=$work/$1.yaml want begin bits=
    local other='' status
    [ "${6#* }" = "$6" ] || bits=bits
    local against=${6% bits}
    [[ $name != nccl* || $gpus -gt 1 ]] || { say "$name" skipped ", \"text\": \"needs several GPUs, there is $gpus\"" && return; }
    make_model "$model" || { say "$name" skipped ", \"text\": $(json "$(tail -n 1 "$work/said")")" && return; }
    # ranks that hold different data share the micro-steps
    [[ $ranks = 1 || $keys = *_parallel_size* && $keys != *expert* ]] || micro=$((micro / ranks))
    write_yaml "$yaml" "$model" "$precision" "$micro" "$device" "$out" "$keys"
    if ! "$program" validate "$yaml" >"$work/said" 2>&1; then
        say "$name" skipped ", \"text\": $(json "$(grep -m1 error "$work/said" | sed "s|^$work/||")")" && return
    fi
    want=$work/out-$against
    if [ "$against" = reference ]; then
        want=$work/want-$name
        write_yaml "$yaml.want" "$model" "$precision" "$micro" "$reference_device" "$want" "$keys"
        run "$reference" 1 "$yaml.want" "$work/said.want" & # beside the GPU's
        other=$!
    elif [ "$(losses "$want" | wc -l)" -lt "$steps" ]; then
        say "$name" skipped ", \"text\": \"$against, which it is compared with, did not run to its end\"" && return
    fi
    begin=$SECONDS ran=$((ran + 1)) status=0
    if [ "$name" = resume ]; then resume_run "$yaml" "$out"; else run "$program" "$ranks" "$yaml"; fi || status=1
    if [ -n "$other" ] && ! wait "$other"; then
        say "$name" failed ", \"text\": $(json "the reference: $(why "$work/said.want")")" && return
    fi
    [ $status = 0 ] || { say "$name" failed ", \"text\": $(json "$(why "$work/said")")" && return; }
    compare "$name" "$out" "$want" "$precision" "$bits" $((SECONDS - begin))
}

# What the wanted cases are compared with must run, too.
wanted=" $* "
while IFS='|' read -r name _ _ _ _ against _; do
    [ $# -gt 0 ] && [[ $wanted = *" $name "* && $against != reference* ]] && wanted+="${against% bits} "
done <<<"$cases"
while IFS='|' read -r name model ranks precision micro against keys <&3; do
    [ -n "$name" ] || continue
    [ $# = 0 ] || [[ $wanted = *" $name "* ]] || continue
    try_case "$name" "$model" "$ranks" "$precision" "$micro" "$against" "$keys"
done 3<<<"$cases"
[ $failed = 0 ] || exit 1
[ $ran -gt 0 ] || exit 77
