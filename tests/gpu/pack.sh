#!/bin/bash
# All that a machine with a GPU needs to run tests/gpu/run.sh, in one folder below 60 MB; it needs no registry there:
#   tests/gpu/pack.sh [--build DIR] [FOLDER]
#     --build DIR  take the programs of this build; else build/gpu is built: CUDA, and oneDNN, which is smaller than MKL
#     FOLDER       build/gpu_pack
# Holds the program, the kernel cases, their shared libraries but those of the C library and the driver, and run.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
limit_mb=${AXL_PACK_LIMIT_MB:-60}
build=
[ "${1:-}" != --build ] || { build=$2 && shift 2; }
folder=${1:-build/gpu_pack}
fail() {
    echo "pack.sh: $*" >&2
    exit 1
}

if [ -z "$build" ]; then
    build=build/gpu
    cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DAXL_CUDA=ON -DMKL_core=OFF
    cmake --build $build --target axl-dist gpu_cases
fi
program=$build/launch/axl-dist
[ -x "$program" ] || fail "$program is not there; build axl-dist first"
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/lib"
for file in "$program" "$build/tests/gpu/gpu_cases"; do
    [ -x "$file" ] && cp "$file" "$folder/bin/"
done
cp tests/gpu/run.sh "$folder/"

# libraries SYSTEM_PROGRAM...: what they load that a bare machine lacks.
libraries() {
    ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
        grep -vE '/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|util|cuda|nvidia[^/]*))\.so[^/]*$'
}
missing=$(ldd "$folder"/bin/* | awk '/not found/ {print $1}' | sort -u)
[ -z "$missing" ] || fail "libraries are not found here: $missing"
while read -r library; do
    cp -L "$library" "$folder/lib/"
done < <(libraries "$folder"/bin/*)
strip --strip-unneeded "$folder"/bin/* "$folder"/lib/* 2>/dev/null || true
tar -C "$folder" -czf "$folder/lib.tgz" lib # a third of it; run.sh unpacks it
rm -r "${folder:?}/lib"

size_mb=$(du -sm --apparent-size "$folder" | cut -f1)
[ "$size_mb" -le "$limit_mb" ] || fail "$folder has $size_mb MB, more than $limit_mb; the largest:
$(tar -tvzf "$folder/lib.tgz" | sort -k3,3nr | head -n 3)"
echo "$folder: $size_mb MB"
