#!/bin/bash
# Installs what is missing, builds, and runs every test that needs no GPU:
#   tests/run.sh [--offline] [--asan] [FILTER]
#     --offline   use only what is installed
#     --asan      build and run the suite with the address and undefined sanitizers
#     FILTER      a regular expression: only the tests whose name matches
# The last line is "N passed, N failed"; exit 0 only if none failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
preset=release
filter=.
for argument in "$@"; do
    case $argument in
    --offline) export OFFLINE=1 ;;
    --asan) preset=asan ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) echo "unknown option $argument; see tests/run.sh --help" >&2 && exit 2 ;;
    *) filter=$argument ;;
    esac
done
. launch/deps.sh

stop() {
    echo "axl-dist: $1" >&2
    echo "0 passed, 1 failed"
    exit 1
}
deps_debian build tests demo || stop "the tests need these packages"
deps_debian cluster || deps_say "going on without Slurm: its test is skipped"
deps_mkl
deps_arrow
deps_model || deps_say "going on without the demo model: the tests that need it are skipped"
export AXL_TEST_GGUF=${DEMO_GGUF:-}

deps_say "building ($preset)"
log=build/$preset.log
mkdir -p build
cmake --preset "$preset" >"$log" 2>&1 || { tail -n 20 "$log" && stop "cmake failed"; }
cmake --build --preset "$preset" -j "$(deps_jobs)" >"$log" 2>&1 || {
    grep -E -A 8 'error|undefined reference|FAILED' "$log" | head -n 60
    stop "the build failed; all of it is in $log"
}

export UBSAN_OPTIONS=print_stacktrace=1
deps_say "testing"
ctest --test-dir "build/$preset" -j "$(nproc)" -R "$filter" --output-on-failure \
    --no-tests=error >"build/$preset.tests.log" 2>&1
summary=$(grep -E 'tests? passed, [0-9]+ tests? failed out of [0-9]+' "build/$preset.tests.log") ||
    { tail -n 20 "build/$preset.tests.log" && stop "no test ran"; }
failed=$(sed -E 's/.*, ([0-9]+) tests? failed.*/\1/' <<<"$summary")
total=$(sed -E 's/.*out of ([0-9]+).*/\1/' <<<"$summary")
skipped=$(grep -cE '\*\*\*Skipped' "build/$preset.tests.log")
if [ "$failed" -gt 0 ]; then
    cat "build/$preset.tests.log"
fi
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
echo "$((total - failed - skipped)) passed, $failed failed"
[ "$failed" -eq 0 ]
