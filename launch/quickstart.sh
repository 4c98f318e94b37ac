#!/bin/bash
# From a fresh machine to a fine-tuned chat model, in under ten minutes on two cores:
#   launch/quickstart.sh [--offline] [--again]
#     --offline   use only what is installed
#     --again     forget the trained model and train anew
# Installs what is missing, builds, installs axl-dist, fetches the demo model (SmolLM2-135M-
# Instruct) and data (The Devil's Dictionary), trains on two ranks, and asks the same question
# before and after. Safe to run again: finished parts are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/deps.sh
again=0
for argument in "$@"; do
    case $argument in
    --offline) export OFFLINE=1 ;;
    --again) again=1 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "unknown option $argument; see launch/quickstart.sh --help" >&2 && exit 2 ;;
    esac
done
work=build/quickstart
config=configs/quickstart.yaml
base=$work/SmolLM2-135M-Instruct
trained=$work/bierce
question="Define love."
SECONDS=0

# Installed beside what the user runs: for everybody as root, else in the home directory.
install_program() {
    local built=build/release/launch/axl-dist folder=$HOME/.local/bin
    [ ! -w /usr/local/bin ] || folder=/usr/local/bin
    program=$folder/axl-dist
    cmp -s "$built" "$program" && return 0
    mkdir -p "$folder"
    install -m 755 "$built" "$program"
    deps_say "installed $program"
    case :$PATH: in
    *:"$folder":*) ;;
    *) deps_say "note: $folder is not in your PATH" ;;
    esac
}

# Two ranks share the cores evenly. Left alone, mpirun would bind each of two ranks to one core.
setup_mpirun() {
    local threads=$(($(nproc) / 2))
    export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
    export OMPI_MCA_btl_vader_single_copy_mechanism=none # containers refuse process_vm_readv
    mpirun=(mpirun --bind-to none --oversubscribe -np 2)
    [ "$(id -u)" != 0 ] || mpirun+=(--allow-run-as-root)
}

# Stopped, mpirun itself would give the ranks a second to save. So it is told to pass on USR1, after which
# they take their time and leave with code 75; out of reach of the terminal's Ctrl-C, which it would get too.
train() {
    local run status=0
    setsid "${mpirun[@]}" "$program" $config &
    run=$!
    trap 'kill -USR1 $run' INT TERM HUP
    wait $run || status=$?
    while kill -0 $run 2>/dev/null; do # the signal has only ended the wait
        status=0
        wait $run || status=$?
    done
    trap - INT TERM HUP
    return $status
}

# The CUDA part takes minutes to build: only where a GPU's driver and nvcc are found, and only for this chip.
cuda_options() {
    local chip
    if [ -e /dev/nvidiactl ] && command -v nvcc >/dev/null && command -v nvidia-smi >/dev/null &&
        chip=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .) &&
        [ "${chip:-0}" -ge 80 ] 2>/dev/null; then
        [ "$chip" != 90 ] || chip=90a
        echo "-DAXL_CUDA=ON -DAXL_CUDA_ARCHITECTURES=$chip-real"
    else
        echo -DAXL_CUDA=OFF
    fi
}

# A single process may use all cores.
ask() {
    OMP_NUM_THREADS=$(nproc) "$program" inference "$1" --chat --prompt "$question" \
        --max-new-tokens 80 --temperature 0
}

# held_out_loss FILE MODEL: the loss of a model on the held-out entries, kept in FILE.
held_out_loss() {
    [ -s "$1" ] || {
        "${mpirun[@]}" "$program" evaluate "$config" --base_model "$2" >"$1.part" &&
            mv "$1.part" "$1"
    }
    grep -oE 'eval_loss[^0-9]*[0-9.]+' "$1" | grep -oE '[0-9.]+$' | tail -n 1
}

deps_debian build demo
deps_mkl
deps_model
deps_say "building"
mkdir -p build $work
read -ra cuda <<<"$(cuda_options)"
if ! { cmake --preset release "${cuda[@]}" && cmake --build --preset release -j "$(deps_jobs)" --target axl-dist; } \
    >build/release.log 2>&1; then
    tail -n 30 build/release.log
    deps_fail "the build failed; all of it is in build/release.log"
fi
install_program
setup_mpirun

if [ ! -s $base/config.json ]; then
    deps_say "importing the demo model into $base"
    rm -rf $base.part
    "$program" import "$DEMO_GGUF" -o $base.part
    mv $base.part $base
fi
[ -s $work/devil_heldout.jsonl ] || launch/devil.sh $work
if [ ! -s $work/before.txt ]; then
    deps_say "asking the model as it came: $question"
    ask $base >$work/before.part
    mv $work/before.part $work/before.txt
fi
loss_before=$(held_out_loss $work/before.loss $base)

[ $again = 0 ] || rm -rf $trained $work/after.*
if [ ! -s $trained/model.safetensors ]; then
    rm -f $work/after.*
    deps_say "training: ${mpirun[*]} $program $config"
    status=0
    train || status=$?
    if [ $status = 75 ]; then
        deps_say "stopped and saved; run launch/quickstart.sh again to go on"
    fi
    [ $status = 0 ] || exit $status
fi
if [ ! -s $work/after.txt ]; then
    ask $trained >$work/after.part
    mv $work/after.part $work/after.txt
fi
loss_after=$(held_out_loss $work/after.loss $trained)

echo
echo "Before:  $question"
sed 's/^/    /' $work/before.txt
echo "After:   $question"
sed 's/^/    /' $work/after.txt
echo
echo "Held-out loss: $loss_before before, $loss_after after. All of it took $SECONDS s."
echo "Go on talking: $program inference $trained --chat"
awk -v b="$loss_before" -v a="$loss_after" 'BEGIN { exit !(b - a >= 0.3) }' ||
    deps_fail "the held-out loss should have fallen by at least 0.3"
