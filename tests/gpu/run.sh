#!/bin/bash
# What a GPU has to show, in one JSON: run.sh [--build DIR] [RESULT.json]
#   --build DIR  programs of a build; else those of the pack that run.sh lies in, else build/release
# Kernel cases against ref, then compute-sanitizer on them (memcheck, racecheck, initcheck) where it is installed. Each part
# has a time limit; all end within nine minutes. Without a GPU every part says why it was skipped, and the status is 77.
# Not here yet: training against the CPU's losses, and the benchmarks.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=
[ "${1:-}" != --build ] || { build=$2 && shift 2; }
result=${1:-gpu.json}
if [ -n "$build" ]; then
    program=$build/launch/axl-dist cases=$build/tests/gpu/gpu_cases
elif [ -d "$here/bin" ]; then
    [ -d "$here/lib" ] || tar -C "$here" -xzf "$here/lib.tgz"
    program=$here/bin/axl-dist cases=$here/bin/gpu_cases
    export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
else
    build=$here/../../build/release
    program=$build/launch/axl-dist cases=$build/tests/gpu/gpu_cases
fi
[ -x "$program" ] || { echo "run.sh: $program is not there" >&2 && exit 1; }
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
parts=
failed=0 ran=0

# json TEXT: as a JSON string.
json() {
    printf '"%s"' "$(tr -d '\000-\010\013-\037' <<<"$1" | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g' |
        sed ':a;N;$!ba;s/\n/\\n/g')"
}

# part NAME SECONDS COMMAND...: its outcome and the end of what it says.
part() {
    local name=$1 seconds=$2 status=0 outcome begin=$SECONDS
    shift 2
    timeout "$seconds" "$@" >"$log/$name" 2>&1 || status=$?
    case $status in
    0) outcome=passed ran=$((ran + 1)) ;;
    77) outcome=skipped ;;
    124) outcome="out of time" failed=1 ;;
    *) outcome=failed failed=1 ;;
    esac
    echo "$name: $outcome ($((SECONDS - begin)) s)"
    [ $status = 0 ] || tail -n 5 "$log/$name"
    parts+="${parts:+,}
    {\"name\": \"$name\", \"outcome\": \"$outcome\", \"status\": $status, \"seconds\": $((SECONDS - begin)), \"text\": $(json "$(tail -n 40 "$log/$name")")}"
}

# skip NAME WHY
skip() {
    echo "$1: skipped, $2"
    parts+="${parts:+,}
    {\"name\": \"$1\", \"outcome\": \"skipped\", \"text\": $(json "$2")}"
}

gpu=$("$program" doctor 2>/dev/null | sed -n 's/^gpu  *//p' | head -n 1)
echo "gpu: ${gpu:-unknown}"
if [ -x "$cases" ]; then
    part cases 150 "$cases"
else
    skip cases "$cases is not there: built without CUDA"
fi
for tool in memcheck racecheck initcheck; do
    if [ $ran = 0 ]; then
        skip $tool "the cases did not run"
    elif command -v compute-sanitizer >/dev/null; then
        part $tool 110 compute-sanitizer --tool $tool --error-exitcode 9 "$cases"
    else
        skip $tool "compute-sanitizer is not installed"
    fi
done
printf '{\n  "gpu": %s,\n  "driver": %s,\n  "version": %s,\n  "seconds": %d,\n  "parts": [%s\n  ]\n}\n' \
    "$(json "${gpu:-unknown}")" \
    "$(json "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)")" \
    "$(json "$("$program" --version 2>/dev/null | head -n 1)")" $SECONDS "$parts" >"$result"
echo "written: $result"
[ $failed = 0 ] || exit 1
[ $ran -gt 0 ] || exit 77
