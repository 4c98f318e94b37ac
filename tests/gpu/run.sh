#!/bin/bash
# What a GPU has to show, in one JSON: run.sh [--build DIR] [--only PART]... [RESULT.json]; docs/gpu.md explains it
#   --build DIR  programs of a build; else those of the pack that run.sh lies in, else build/release, which is built
#                first where nvcc and the libraries of launch/deps.sh are
#   --only PART  machine cases goldens training bench step peers memcheck racecheck initcheck, as often as wanted; else all
# Each part has a time limit, and all together have AXL_GPU_SECONDS (530); what is left of it when a part begins is its
# limit, too. All parts report. Without a GPU every part says why it was skipped, and the status is 77; 1: a part failed.
# Beside RESULT.json lies RESULT.full.txt: all that the parts said. It ends with a page of what came out (report.sh).
# Nothing needs Python but the peers, which run where python3 has torch. DEVICE=cpu rehearses what has no need of a GPU
# (with TOKENS, STEPS and --only, or it takes long).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build='' only=' '
while [[ ${1:-} = --* ]]; do
    case $1 in
    --build) build=$2 ;;
    --only) only+="$2 " ;;
    *) echo "unknown option $1; see the head of run.sh" >&2 && exit 2 ;;
    esac
    shift 2
done
result=${1:-gpu.json}
full=${result%.json}.full.txt
: >"$full" || exit 1
export PATH=$PATH:/usr/local/cuda/bin # not every shell has it there
total=${AXL_GPU_SECONDS:-530} device=${DEVICE:-cuda} tokens=${TOKENS:-8192}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work
parts='' driver='' gpu='' commit=''
failed=0 ran=0

# json TEXT: as a JSON string.
json() {
    printf '"%s"' "$(tr -d '\000-\010\013-\037' <<<"$1" | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g' |
        sed ':a;N;$!ba;s/\n/\\n/g')"
}

python=$(command -v python3)
# version PACKAGE: of what python3 has; importing it would take seconds.
version() { [ -n "$python" ] && timeout -k 1 20 "$python" -c "import importlib.metadata as m; print(m.version('$1'))" 2>/dev/null; }
torch=$(version torch)
transformers=$(version transformers)

# Where cuBLASLt, cuDNN and NCCL may lie: the toolkit, and the wheels that come with torch. Behind them the driver of
# containers whose loader does not know it.
gpu_libraries() {
    local folder
    for folder in /usr/local/cuda/lib64 /usr/local/cuda/targets/*/lib \
        $([ -z "$python" ] || "$python" -c 'import sysconfig, glob, os
for p in {sysconfig.get_paths()[k] for k in ("purelib", "platlib")}:
    print(*glob.glob(os.path.join(p, "nvidia", "*", "lib")))' 2>/dev/null); do
        compgen -G "$folder/libcublasLt.so*" >/dev/null || compgen -G "$folder/libcudnn.so*" >/dev/null ||
            compgen -G "$folder/libnccl.so*" >/dev/null || continue
        printf ':%s' "$folder"
    done
    [ ! -e /usr/local/nvidia/lib64/libcuda.so.1 ] || printf ':/usr/local/nvidia/lib64'
}

# wrap [FOLDER]: commands for the programs of `targets`, with the libraries of `libraries` - other programs, PyTorch among
# them, must not meet these - and the variables of `settings`. FOLDER comes before all others.
declare -A targets
libraries='' settings=()
wrap() {
    local name
    for name in "${!targets[@]}"; do
        {
            echo "#!/bin/sh"
            printf 'export %s\n' "LD_LIBRARY_PATH='${1:+$1:}$libraries'" "${settings[@]}"
            echo "exec '${targets[$name]}' \"\$@\""
        } >"$work/$name.new"
        chmod +x "$work/$name.new"
        mv "$work/$name.new" "$work/$name"
    done
}

# Libraries that every system with a C++ program has are the pack's only where they are missing: the host's are newer.
use_pack() {
    local root=$here/files library name
    if [ -e "$here/files.tgz" ]; then
        { mkdir -p "$root" && tar -C "$root" -xzf "$here/files.tgz"; } 2>"$work/unpack.err" ||
            stop "files.tgz cannot be unpacked: $(tail -n 2 "$work/unpack.err")"
    fi
    mkdir -p "$root/lib/spare"
    for library in libstdc++.so.6 libgcc_s.so.1; do
        [ ! -e "$root/lib/$library" ] || mv "$root/lib/$library" "$root/lib/spare/"
        [ ! -e "$root/lib/spare/$library" ] || PATH=$PATH:/sbin ldconfig -p 2>/dev/null | grep -q "$library" ||
            cp "$root/lib/spare/$library" "$root/lib/"
    done
    libraries=$root/lib$(gpu_libraries)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    settings=("OPAL_PREFIX='$root'" "OPAL_PKGLIBDIR='$root/lib/openmpi'" "OPAL_PKGDATADIR='$root/share/openmpi'"
        "OPAL_SYSCONFDIR='$root/share/openmpi'" "PMIX_INSTALL_PREFIX='$root'" OMPI_MCA_plm=isolated "PATH='$root/bin:$PATH'")
    for name in axl-dist gpu_tool mpirun; do
        targets[$name]=$root/bin/$name
    done
    wrap
    program=$work/axl-dist tool=$work/gpu_tool mpirun=$work/mpirun
    data=$root/data
    [ -d "$data/families" ] || data=$here/../../tests/data
    models=$here/models scripts=$here step=$here/gpu.sh kernels=$here/torch_peer_gpu.py
}

# Only for this chip: all of them take minutes.
make_build() {
    local chip
    chip=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)
    [ -n "$chip" ] && command -v cmake nvcc >/dev/null && pkg-config --exists ompi-c hdf5 yaml-0.1 2>/dev/null || return 1
    [ "$chip" != 90 ] || chip=90a
    echo "building build/release for $chip"
    (cd "$here/../.." && cmake --preset release "-DAXL_CUDA_ARCHITECTURES=$chip-real" &&
        cmake --build --preset release -j "$(nproc)" --target axl-dist gpu_tool) >"$work/build.log" 2>&1 ||
        { tail -n 20 "$work/build.log" >&2 && return 1; }
}

use_build() {
    build=${build:-$here/../../build/release}
    [ -x "$build/tests/gpu/gpu_tool" ] || [ "$build" != "$here/../../build/release" ] || make_build
    program=$build/launch/axl-dist tool=$build/tests/gpu/gpu_tool mpirun=mpirun
    [[ -x $program && -x $tool ]] || stop "$program or $tool is not there"
    libraries=${LD_LIBRARY_PATH:-/lib}$(gpu_libraries)
    targets=([axl-dist]=$(realpath "$program") [gpu_tool]=$(realpath "$tool"))
    wrap
    program=$work/axl-dist tool=$work/gpu_tool
    data=$here/../data models=$here/models scripts=$here
    step=$here/../../benchmarks/train_step/gpu.sh kernels=$here/../../benchmarks/kernels/torch_peer_gpu.py
}

# results FILE: what a part printed for machines, as elements of a JSON array: objects, a line each, and CSV lines.
results() {
    awk -F, '
        /^\{.*\}$/ { printf "%s\n      %s", n++ ? "," : "", $0 }
        NF == 5 && $4 ~ /^-?[0-9][0-9.e+-]*$/ && !/["\\]/ {
            printf "%s\n      {\"name\": \"%s\", \"variant\": \"%s\", \"metric\": \"%s\", \"value\": %s, \"unit\": \"%s\"}", \
                n++ ? "," : "", $1, $2, $3, $4, $5 }' "$1"
}

# Anew after each part: what a run that is cut off has found is there.
write_json() {
    printf '{\n  "gpu": %s,\n  "driver": %s,\n  "commit": %s,\n  "torch": %s,\n  "transformers": %s,\n  "cores": %d,\n  "seconds": %d,\n  "parts": [%s\n  ]\n}\n' \
        "$(json "${gpu:-unknown}")" "$(json "$driver")" "$(json "${commit:-unknown}")" "$(json "${torch:-none}")" "$(json "${transformers:-none}")" "$(nproc)" $SECONDS "$parts" >"$result.part" &&
        mv "$result.part" "$result"
}

wanted() { [ "$only" = ' ' ] || [[ $only = *" $1 "* ]]; }

# add NAME OUTCOME SECONDS TEXT [RESULTS]
add() {
    echo "$1: $2 ($3 s)"
    parts+="${parts:+,}
    {\"name\": \"$1\", \"outcome\": \"$2\", \"seconds\": $3, \"text\": $(json "$4")${5:+, \"results\": [$5
    ]}}"
    write_json
}

# limited SECONDS COMMAND...: ended after so long, and left alone where the driver holds it: the outer timeout ends the
# inner one, which would wait for ever for what cannot be killed.
limited() {
    local seconds=$1
    shift
    timeout -k 3 $((seconds + 8)) timeout -k 5 "$seconds" "$@"
}

# part NAME SECONDS COMMAND...
part() {
    local name=$1 seconds=$2 left=$((total - SECONDS)) status=0 outcome begin=$SECONDS said
    shift 2
    wanted "$name" || return 0
    [ "$seconds" -lt "$left" ] || seconds=$left
    [ "$seconds" -gt 0 ] || { add "$name" "out of time" 0 "nothing of $total s was left" && failed=1 && return 0; }
    limited "$seconds" "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null || status=$?
    case $status in
    0) outcome=passed ran=$((ran + 1)) ;;
    77) outcome=skipped ;;
    124 | 137) outcome="out of time" failed=1 ;;
    *) outcome=failed failed=1 ;;
    esac
    { # of each at most what a person may read
        echo "==== $name: $outcome, status $status, $((SECONDS - begin)) s"
        head -c 700000 "$work/$name.out"
        echo "---- $name: stderr"
        head -c 700000 "$work/$name.err"
    } >>"$full"
    said=$(grep -v '^{\|^[^,]*,[^,]*,[^,]*,[^,]*,[^,]*$' "$work/$name.out" | cut -c 1-400 | tail -n 40
        tail -n 20 "$work/$name.err" | cut -c 1-400)
    add "$name" "$outcome" $((SECONDS - begin)) "$said" "$(results "$work/$name.out")"
    [ $status = 0 ] || tail -n 8 <<<"$said"
}

# stop TEXT: nothing can be run.
stop() {
    echo "run.sh: $1" >&2
    add machine failed $SECONDS "$1"
    exit 1
}

skip() {
    wanted "$1" || return 0
    add "$1" skipped 0 "$2"
}

# sanitize TOOL MOST SHARE LIST...: the kernels alone; what they give is the other parts' affair. Lists with a failure, if there
# are some, and no others: there it tells most. What never ended is left out. It takes SHARE % of the time that is left, MOST
# seconds at most, and begins no case in the last of them: every list has had its turn by then, if not every case.
sanitize() {
    local name=$1 most=$2 seconds=$(((total - SECONDS) * $3 / 100)) lists
    shift 3
    [ "$seconds" -lt "$most" ] || seconds=$most
    lists=$(sed -n '/did not end/d; s/^{"name": "\([^"]*\)", "outcome": "failed".*/\1/p' "$work/cases.out" 2>/dev/null)
    if [ "$gpus" = 0 ]; then
        skip "$name" "nothing runs on a GPU"
    elif ! command -v compute-sanitizer >/dev/null; then
        skip "$name" "compute-sanitizer is not installed"
    else # shellcheck disable=SC2086 # names
        part "$name" "$seconds" compute-sanitizer --tool "$name" --target-processes all --error-exitcode 9 --print-limit 20 \
            "$tool" cases --alone --seconds $((seconds > 24 ? seconds - 18 : seconds / 4)) ${lists:-"$@"}
    fi
}

if [ -z "$build" ] && { [ -e "$here/files.tgz" ] || [ -d "$here/files" ]; }; then use_pack; else use_build; fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
# A card that nobody has open falls asleep, and takes seconds to wake for each of the many programs here.
for card in /dev/nvidia[0-9]*; do
    # shellcheck disable=SC2034 # only held
    [ ! -c "$card" ] || { exec {awake}<"$card"; } 2>/dev/null || true
done
broken=''
gpu=$(limited 40 "$tool" device 2>"$work/device.err" </dev/null) ||
    broken="gpu_tool does not run: status $?; $(tail -n 3 "$work/device.err")" gpu=unknown
driver=$(limited 20 nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)
commit=$(git -C "$here" rev-parse --short=10 HEAD 2>/dev/null)
[ ! -e "$here/commit" ] || commit=$(cat "$here/commit")
gpus=$(grep -o 'compute capability' <<<"$gpu" | wc -l)
echo "gpu: $gpu"
write_json
# Whether there is what the trainings and their peers need.
there() { [[ $gpus -gt 0 || $device != cuda ]]; }
# What the first look at a machine asks, whatever works of the rest.
# shellcheck disable=SC2317 # called by name
look_around() {
    uname -sr
    ldd --version 2>&1 | head -n 1
    echo "$(nproc) processors; $(df -h "$work" | awk 'END { print $4 " free in " $6 }'); $(awk '/MemAvailable/ { print $2 " kB of memory" }' /proc/meminfo)"
    echo "libraries: $(gpu_libraries)"
    timeout -k 1 10 nvidia-smi
    "$program" doctor --seconds 3
    echo "$broken" >&2
    [ -z "$broken" ] || return 1
    there || return 77
}
export -f look_around there gpu_libraries
part machine 40 env work="$work" program="$program" python="$python" gpus="$gpus" device="$device" \
    broken="$broken" bash -c look_around
if [[ -n $broken || ($gpus = 0 && $device = cuda) ]]; then
    for name in cases goldens training bench step peers memcheck racecheck initcheck; do skip $name "${broken:-no GPU: $gpu}"; done
    echo "written: $result"
    [ $failed = 0 ] || exit 1
    exit 77
fi
part cases 110 "$tool" cases --backend "$device"
# Where only cuBLASLt's products fail, the parts behind do without: they have more to say than that again. A library that
# is no library is one that is not there.
row() { grep -q "^{\"name\": \"$1\", \"outcome\": \"$2\"" "$work/cases.out" 2>/dev/null; }
if row gemm failed && row gemm_own passed; then
    mkdir "$work/without"
    touch "$work"/without/libcublasLt.so.{12,13}
    wrap "$work/without"
    add without_cublaslt passed 0 "products of cuBLASLt failed, our own did not: all parts from here on use our own"
fi
# The same for products by warpgroups, which mma makes in their place, slower. Sanitizers get them back.
if [[ $gpu = *"capability 9.0"* ]] && { row attn failed || row gemm_own failed || row gemm_grouped failed; }; then
    export AXL_CUDA_WGMMA=0
    part without_wgmma 60 "$tool" cases --backend "$device" attn gemm_own gemm_grouped
    grep -q '"outcome": "failed"' "$work/without_wgmma.out" && unset AXL_CUDA_WGMMA
fi
part goldens 40 "$tool" goldens --backend "$device" "$data"
common=(PROGRAM="$program" TOOL="$tool" MODELS="$models" DEVICE="$device" TOKENS="$tokens")
part training 110 env "${common[@]}" GPUS="$gpus" MPIRUN="$mpirun --oversubscribe --bind-to none" OMP_NUM_THREADS=4 \
    OMPI_MCA_btl_vader_single_copy_mechanism=none "$scripts/train.sh"
part bench 85 "$tool" bench --backend "$device" --tokens "$tokens"
peak=$(sed -n 's/^chip,.*,peak,\([0-9.]*\),.*/\1/p' "$work/bench.out" 2>/dev/null)
part step 200 env "${common[@]}" PEAK="$peak" PYTHON="${torch:+${transformers:+$python}}" "$step"
if [ -n "$torch" ]; then
    part peers 110 "$python" "$kernels" --rounds 2 --window 0.03 --device "$device" --tokens "$tokens" "$tool"
else
    skip peers "python3 has no torch"
fi
unset AXL_CUDA_WGMMA
sanitize memcheck 100 45
# those that share memory between threads: in the others it could find nothing
sanitize racecheck 100 60 attn gemm_own gemm_fp8_own gemm_grouped cast_fp8 amax norm ce embed route bias sumsq combine \
    attn_merge attn_half attn_sage attn_fp8 attn_eager
sanitize initcheck 60 100
"$scripts/report.sh" "$result"
echo "written: $result"
[ $failed = 0 ] || exit 1
[ $ran -gt 0 ] || exit 77
