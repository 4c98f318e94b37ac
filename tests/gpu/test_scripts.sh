#!/bin/bash
# The scripts of this folder in all that needs no GPU: test_scripts.sh AXL_DIST [AXL_DIST_LATE]
# With the program on the late device (tests/cuda_emu) trainings run as they would on a GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$(dirname "$1")/.." && pwd)
late=${2:-}
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
export OMP_NUM_THREADS=1
fail() {
    echo "$*" >&2
    exit 1
}
# says STATUS COMMAND...: what it says is in $top/says
says() {
    local want=$1 status=0
    shift
    "$@" >"$top/says" 2>&1 || status=$?
    [ $status = "$want" ] || fail "status $status, $want expected of: $*
$(tail -n 20 "$top/says")"
}
has() { grep -q -- "$1" "${2:-$top/says}" || fail "no '$1' in: $(cat "${2:-$top/says}")"; }

# ---- the pack
# one that is too large is refused, with its largest files
mkdir -p "$top/build/launch" "$top/build/tests/gpu"
cp /bin/true "$top/build/launch/axl-dist"
cp /bin/true "$top/build/tests/gpu/gpu_tool"
says 1 env AXL_PACK_LIMIT_MB=0 "$here/pack.sh" --build "$top/build" "$top/small"
has "more than 0"
says 1 "$here/pack.sh" --build "$top/nothing" "$top/small"
has "build axl-dist and gpu_tool first"

says 0 "$here/pack.sh" --build "$top/build" "$top/small"
[[ -e $top/small/files.tgz && ! -e $top/small/files ]] || fail "$(ls "$top/small")"
says 0 "$here/pack.sh" --build "$build" --open "$top/pack"
pack=$top/pack

# without a GPU all parts are skipped, and the JSON says why
if [ ! -e /dev/nvidiactl ]; then
    says 77 "$pack/run.sh" "$top/skipped.json"
    has '"name": "goldens", "outcome": "skipped"' "$top/skipped.json"
fi
# the packed program finds its libraries in the pack
LD_LIBRARY_PATH=$pack/files/lib ldd "$pack/files/bin/axl-dist" >"$top/says"
has "$pack/files/lib/libmpi"
has "$pack/files/lib/libhdf5"
for library in "$pack"/files/lib/lib{c,cuda}.so*; do
    [ ! -e "$library" ] || fail "$library is packed"
done
# device.sh runs the pack's run.sh and leaves all figures as a table; the parts come last
mkdir -p "$top/copy/tests/gpu" "$top/copy/gpu_pack"
cp "$here/device.sh" "$top/copy/tests/gpu/"
cat >"$top/copy/gpu_pack/run.sh" <<'EOF'
#!/bin/bash
cat >"$1" <<'JSON'
    {"name": "cases", "outcome": "failed", "seconds": 30, "text": "1 of 9", "results": [
      {"name": "attn", "outcome": "failed", "tests": 9, "failed": 1, "seconds": 3.2, "text": "tiny, f32: dq[0, 3] is nan"}
    ]},
    {"name": "bench", "outcome": "passed", "seconds": 33, "text": "", "results": [
      {"name": "attn_fwd/mixed", "variant": "cuda/8192", "metric": "time", "value": 900, "unit": "us"},
      {"name": "attn_fwd/mixed", "variant": "cuda/8192", "metric": "of_peak", "value": 0.50, "unit": "ratio"},
      {"name": "attn_fwd_cudnn/mixed", "variant": "cuda/8192", "metric": "time", "value": 800, "unit": "us"},
      {"name": "norm_fwd", "variant": "cuda/8192", "metric": "time", "value": 40, "unit": "us"},
      {"name": "norm_fwd", "variant": "cuda/8192", "metric": "of_copy", "value": 0.80, "unit": "ratio"}
    ]},
    {"name": "peers", "outcome": "passed", "seconds": 33, "text": "", "results": [
      {"name": "attn_fwd/mixed", "variant": "axl-dist", "metric": "time", "value": 910, "unit": "us"},
      {"name": "attn_fwd/mixed", "variant": "axl-dist_cudnn", "metric": "time", "value": 500, "unit": "us"},
      {"name": "attn_fwd/mixed", "variant": "torch_slow", "metric": "time", "value": 2000, "unit": "us"},
      {"name": "attn_fwd/mixed", "variant": "torch_varlen", "metric": "time", "value": 1001, "unit": "us"}
    ]},
    {"name": "step", "outcome": "passed", "seconds": 33, "text": "", "results": [
      {"name": "axl-dist", "variant": "smollm2-135m", "metric": "step", "value": 0.05, "unit": "s"},
      {"name": "axl-dist", "variant": "smollm2-135m", "metric": "throughput", "value": 163840, "unit": "tokens/s"},
      {"name": "ratio", "variant": "smollm2-135m", "metric": "speed", "value": 1.25, "unit": "axl-dist/torch"},
      {"name": "ratio", "variant": "llama-8b_14_layers", "metric": "gain", "value": 1.3, "unit": "bf16/fp8"}
    ]}
JSON
exit 1
EOF
chmod +x "$top/copy/gpu_pack/run.sh" && touch "$top/copy/gpu_pack/files.tgz"
says 1 env OUT="$top/copy/out" "$top/copy/tests/gpu/device.sh"
[ "$(tail -n 1 "$top/says")" = "step: passed (33 s)" ] || fail "$(cat "$top/says")"
has 'norm_fwd  *cuda/8192  *time  *40' "$top/copy/out/gpu.txt"
# the page for a person: ours beside the best of theirs, the share of the chip, the goals, what failed
says 0 "$here/report.sh" "$top/copy/out/gpu.json"
has '^attn_fwd/mixed  *910.0  *1001.0  *varlen  *1.10  *50 % of peak$'
has '^attn_fwd_cudnn/mixed  *500.0  *1001.0  *varlen  *2.00  *-$'
has '^norm_fwd  *40.0  *-  *-  *-  *80 % of copy$'
has '^llama-8b_14_layers: 1.30 times as fast in 8 bits as in bf16$'
has '^goal: 8B shape.* at least 6700: not measured$'
has '^goal: SmolLM2-135M, .* at least 1.20: 1.25: met$'
has '^goal: .* (least: norm_fwd) at least 0.85: 0.80: MISSED$'
has '^cases: 1 of 9$'
has '^attn: tiny, f32: dq\[0, 3\] is nan$'
# with nothing in the environment it runs the goldens, and trains on two ranks by the pack's own mpirun
says 0 env -i PATH=/usr/bin:/bin DEVICE=cpu STEPS=2 CASES="staged llama_bf16 resume" OMP_NUM_THREADS=1 \
    "$pack/run.sh" --only goldens --only training "$top/ran.json"
has '"name": "goldens", "outcome": "passed"' "$top/ran.json"
has '"name": "staged", "outcome": "passed"' "$top/ran.json"
has '"name": "resume", "outcome": "passed", .*"steps": 1,' "$top/ran.json"
# what has no time left says so, what takes too long is ended, and both are failures
says 1 env DEVICE=cpu AXL_GPU_SECONDS=0 "$pack/run.sh" --only goldens "$top/late.json"
has '"name": "goldens", "outcome": "out of time"' "$top/late.json"
# a library that cannot be loaded is no missing GPU
for library in "$pack/files/lib/"libmpi.so*; do : >"$library"; done
says 1 "$pack/run.sh" "$top/broken.json"
has '"name": "machine", "outcome": "failed".*libmpi' "$top/broken.json"
has '"name": "cases", "outcome": "skipped".*gpu_tool does not run' "$top/broken.json"
rm -rf "$pack/files"

# ---- the tools
tool=$build/tests/gpu/gpu_tool program=$1
says 0 "$tool" bench --backend cpu --tokens 8 --window 0 add attn_fwd/mixed
has '^add,cpu.*,rate,.*,GB/s'
has '^attn_fwd/mixed,cpu.*,rate,.*,TFLOP/s'
# ways behind an entry stand beside it, and one that does not make the call says so; on an emulated H100
emulated() { says 0 env ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 AXL_GPU_TEST_SECONDS=100 \
    "$build/tests/cuda_emu/bench_emulated" 90 --tokens 16 --window 0 "$@"; }
if [ -n "$late" ]; then
    emulated gemm_fp8/square gemm_fp8_own/square cast_fp8 attn_fwd/s attn_fwd_cudnn/s attn_fwd_mma/s attn_bwd_cudnn/s \
        attn_bwd_mma/s
    for name in gemm_fp8/square gemm_fp8_own/square attn_fwd/s_1x8192 attn_fwd_cudnn/s_1x8192 attn_fwd_mma/s_1x8192 \
        attn_bwd_mma/s_1x8192; do
        has "^$name,cuda/16,rate,.*,TFLOP/s"
    done
    has '^{"name": "attn_bwd_cudnn", "outcome": "skipped".*s_1x8192: cuDNN 9.*: it is not used for this call on this chip'
fi
says 0 "$tool" bench --backend cpu --tokens 8 --window 0 attn_fwd_cudnn/mixed add
has '^{"name": "attn_fwd_cudnn", "outcome": "skipped".*"text": "mixed: th'
# a driver that is older than this build's CUDA is said with both versions
"$tool" device >"$top/device" 2>&1 || true
if [ -e "$build/tests/cuda_emu/driver/libcuda.so.1" ] && [ ! -e /dev/nvidiactl ] &&
    ! grep -q 'this build has no CUDA' "$top/device"; then
    says 0 env AXL_STAND_IN_VERSION=12040 LD_LIBRARY_PATH="$build/tests/cuda_emu/driver" "$tool" device
    has '^none: no NVIDIA driver that this build can use; the driver is made for CUDA 12.4, this build for 1'
fi
# alone, cases of all lists run in turn, until time is up
says 0 "$tool" cases --alone --backend cpu add attn_mma sumsq
has '^\([0-9]*\) of \1 cases were run$'
says 124 "$tool" cases --alone --backend cpu --seconds 0 add
has '^0 of [1-9][0-9]* cases were run, then time was up$'
# a test that crashes, loses the GPU, or never ends is named, and those behind it run
fault() { says 1 env AXL_GPU_FAULT="$1" AXL_GPU_TEST_SECONDS="$2" "$tool" cases --backend cpu add sumsq; }
says 0 "$tool" cases --backend cpu add sumsq
has '^{"name": "add", "outcome": "passed", "tests": 1[0-9], "failed": 0'
says 1 env AXL_GPU_WRONG=yes "$tool" cases --backend cpu glu # where, what, and how much of it
has '^glu/silu, f32: glu.silu on cpu.*: dup\[0, 0\] is -\?nan, expected .* 1 of 1 x 77 are off, 1 no numbers (1 nan), rows 0-0, columns 0-0$'
fault "crash add/odd, f32" 60
has '^add/odd, f32: its process died of signal 6'
has '^{"name": "add", "outcome": "failed", "tests": 1[0-9], "failed": 1,.*odd, f32: its process'
has '^{"name": "sumsq", "outcome": "passed"'
fault "lost add/odd, bf16" 60
has '^add/odd, bf16: the GPU was lost with it'
has '^{"name": "sumsq", "outcome": "passed"'
fault "hang add/odd, f32" 2
has '^add/odd, f32: did not end in 2 s'
has '^{"name": "sumsq", "outcome": "passed"'
says 124 env AXL_GPU_FAULT="hang sumsq/aligned_rows, f32" timeout 3 "$tool" cases --backend cpu sumsq # the part's time is over
has '"outcome": "failed".*"text": "out of time"'
says 1 env AXL_GPU_FAULT="crash add/add" "$tool" bench --backend cpu --tokens 8 --window 0 add copy
has '^copy,cpu.*,rate,.*,GB/s'
has '^{"name": "add", "outcome": "failed"'
printf 'add\nnothing\n' >"$top/names"
says 0 bash -c "'$tool' bench --backend cpu --tokens 8 --window 0 --serve <'$top/names'"
has '^add [0-9.e-]* 0 786432$'
has '^nothing 0 0 0$'
mkdir "$top/odd" && echo '{"model_type": "odd"}' >"$top/odd/config.json"
says 2 "$tool" inputs model "$top/odd"

# The train step's script, with a program that says what a step takes: a second, and a tenth for each layer. It would go
# on for long after the last step. nvidia-smi says what the card has in use.
mkdir "$top/models" "$top/bin"
for name in llama-8b smollm2-135m; do
    sed 's/"hidden_size": 256/"hidden_size": 64/; s/"intermediate_size": 688/"intermediate_size": 96/; s/"head_dim": 64/"head_dim": 16/' \
        "$here/models/llama.json" >"$top/models/$name.json"
done
cat >"$top/bin/timed" <<'EOF'
#!/bin/bash
[ "$1" != plan ] || exec "$REAL" "$@"
value() { sed -n "s/^$1: *//p" "$2"; }
layers=$(sed -n 's/.*"num_hidden_layers": \([0-9]*\).*/\1/p' "$(value base_model "$1")/config.json")
out=$(value output_dir "$1")
[ -z "${ENDLESS:-}" ] || exec sleep 60
[ "$layers" != "${TOO_MANY:-0}" ] || { echo "error: no memory on the GPU" && exit 1; }
mkdir -p "$out"
for ((i = 1; i <= $(value max_steps "$1"); i++)); do
    echo "{\"step\": $i, \"loss\": 1.0, \"step_seconds\": $(((10 + layers) / (1 + $(grep -c "^fp8: true" "$1"))))e-1}"
done >"$out/metrics.jsonl"
exec sleep 60
EOF
printf '#!/bin/sh\ncase "$*" in *total*) echo 4096 ;; *) echo 100 ;; esac\n' >"$top/bin/nvidia-smi"
chmod +x "$top"/bin/*
step() {
    env PATH="$top/bin:$PATH" REAL="$program" PROGRAM="$top/bin/timed" TOOL="$tool" MODELS="$top/models" STEPS=4 TOKENS=32 \
        PEAK=1e-6 "$@" "$here/../../benchmarks/train_step/gpu.sh"
}
says 0 step
has '^axl-dist,smollm2-135m,step,4,s$'
has '^axl-dist,smollm2-135m,mfu,[1-9][0-9.]*,ratio'
has '^axl-dist,llama-8b_32_layers,step,4.2,s$' # all fit: nothing is extrapolated
has '^axl-dist,llama-8b_32_layers_fp8,step,2.1,s$'
has '^ratio,llama-8b_32_layers,gain,2.0000,bf16/fp8$'
has '^axl-dist,llama-8b,throughput,7.61905,tokens/s'
says 1 step STEPS=1 LIMIT=1 ENDLESS=yes
has 'no end within 1 s'
says 0 step LAYERS=6 TOO_MANY=6
has '^axl-dist,llama-8b_2_layers,step,1.2,s$'
has '^axl-dist,llama-8b,layer,0.1,s$'
has '^axl-dist,llama-8b_2_layers_fp8,step,0.6,s$' # the smaller run
has '^axl-dist,llama-8b_extrapolated,throughput,7.61905,tokens/s'

# ---- training against the CPU's losses
train() { env TOOL="$tool" REFERENCE="$program" STEPS=2 DEVICE=cpu PROGRAM="$program" "$@" "$here/train.sh"; }
# liar NAME SED...: a program that trains, then changes what it wrote
# shellcheck disable=SC2016
liar() {
    printf '#!/bin/bash\n%q "$@" || exit\nout=$(sed -n "s/^output_dir: //p" "$1" 2>/dev/null)\n[ ! -e "$out/metrics.jsonl" ] || { %s; }\n' \
        "$program" "$2" >"$top/$1"
    chmod +x "$top/$1"
}
if [ -n "$late" ]; then # memory that the host cannot touch, streams that are late
    says 0 train PROGRAM="$late" DEVICE=cuda CASES=llama
    has '"name": "llama", "outcome": "passed".*"loss_off": 0,'
fi
# shellcheck disable=SC2016 # for the program
liar wrong_loss 'sed -i "/\"step\": 2,/s/\"loss\": \([0-9]\.[0-9][0-9]\)[0-9]*/\"loss\": \19/" "$out/metrics.jsonl"'
says 1 train PROGRAM="$top/wrong_loss" CASES=llama
has 'llama: step 2: loss off by'
has '"name": "llama", "outcome": "failed".*"off_at_step": 2'
# shellcheck disable=SC2016
liar no_number 'sed -i "s/\"loss\": [0-9.]*/\"loss\": nan/" "$out/metrics.jsonl"'
says 1 train PROGRAM="$top/no_number" CASES=llama
has '"loss_first": null, "loss_last": null'
liar endless 'sleep 60'
says 1 train PROGRAM="$top/endless" REFERENCE_LIMIT=300 CASES=llama LIMIT=12
has '"name": "llama", "outcome": "failed", "text": ".*error: no end within 12 s'
# shellcheck disable=SC2016
liar too_short 'sed -i 1d "$out/metrics.jsonl"'
says 1 train PROGRAM="$top/too_short" CASES=llama
has '1 of 2 steps'
# shellcheck disable=SC2016
liar other_weights 'printf "\101" | dd of="$out/model.safetensors" bs=1 seek=600003 conv=notrunc status=none'
says 1 train PROGRAM="$top/other_weights" CASES=llama
has 'weights by [0-9.e+]*, 1e-4 allowed'
# a program that cannot train on the device has failed
if [ ! -e /dev/nvidiactl ]; then
    says 1 train DEVICE=cuda CASES=llama
    has '"name": "llama", "outcome": "failed", "text": ".*error: \(no GPU\|this build has no CUDA\)'
fi
says 0 train CASES=nccl
has 'needs several GPUs, there is 1'

if command -v python3 >/dev/null; then
    python3 - "$top/ran.json" "$top/late.json" <<'EOF'
import json, sys
ran, late = (json.load(open(path)) for path in sys.argv[1:])
assert [p["name"] for p in ran["parts"]] == ["goldens", "training"] and ran["gpu"], ran
row = next(r for r in ran["parts"][1]["results"] if r["name"] == "staged")
assert row["loss_off"] <= 1e-5 and row["loss_last"] < row["loss_first"], row
assert late["parts"][0]["outcome"] == "out of time", late
EOF
fi
