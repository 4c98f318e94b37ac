#!/bin/bash
# All that a machine with a GPU needs to run tests/gpu/run.sh, in one folder below 60 MB; it needs no registry there:
#   tests/gpu/pack.sh [--build DIR] [--chips LIST] [FOLDER]
#     --build DIR   take the programs of this build; else build/gpu is built: CUDA, both programs as one, and oneDNN, which
#                   is smaller than MKL
#     --chips LIST  build for these alone, as AXL_CUDA_ARCHITECTURES has them: 90a-real (H100, H200) makes it smaller
#     --open        nothing is stripped or compressed, and no size is too large: for a look, and for tests
#     --in-checkout without what run.sh finds in the checkout around FOLDER: the goldens
#     FOLDER        build/gpu_pack
# Holds run.sh and what it calls, and one compressed file: the program, gpu_tool, Open MPI with its modules, the shared
# libraries of all of them but those of the C library and the driver, and the goldens of tests/data/families.
set -euo pipefail
cd "$(dirname "$0")/../.."
limit_mb=${AXL_PACK_LIMIT_MB:-60}
build='' chips=-UAXL_CUDA_ARCHITECTURES goldens=yes open='' # a build remembers those of the last pack
while [[ ${1:-} = --* ]]; do
    case $1 in
    --build) build=$2 ;;
    --chips) chips=-DAXL_CUDA_ARCHITECTURES=$2 ;;
    --in-checkout) goldens=no && shift && continue ;;
    --open) open=yes && shift && continue ;;
    *) echo "unknown option $1; see the head of tests/gpu/pack.sh" >&2 && exit 2 ;;
    esac
    shift 2
done
folder=${1:-build/gpu_pack}
fail() {
    echo "pack.sh: $*" >&2
    exit 1
}

if [ -z "$build" ]; then
    build=build/gpu
    cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DAXL_CUDA=ON -DMKL_core=OFF "$chips"
    cmake --build $build --target axl-dist-packed
    programs=("$build/tests/gpu/axl-dist-packed")
else
    programs=("$build/launch/axl-dist" "$build/tests/gpu/gpu_tool")
fi
for program in "${programs[@]}"; do
    [ -x "$program" ] || fail "$program is not there; build axl-dist and gpu_tool first"
done
mpirun=$(command -v orterun || command -v mpirun) || fail "mpirun is not installed"
plugins=$(ompi_info --path pkglibdir --parsable | sed -n 's/^path:pkglibdir://p')
texts=$(ompi_info --path pkgdatadir --parsable | sed -n 's/^path:pkgdatadir://p')
rm -rf "$folder"
mkdir -p "$folder/files/bin" "$folder/files/lib/openmpi" "$folder/files/share/openmpi"
files=$folder/files
cp "${programs[@]}" "$files/bin/"
if [ ${#programs[@]} = 1 ]; then # it is both, by the name that it is called by
    mv "$files/bin/axl-dist-packed" "$files/bin/axl-dist"
    ln -s axl-dist "$files/bin/gpu_tool"
fi
cp -L "$mpirun" "$files/bin/mpirun"
cp -L "$(command -v orted)" "$files/bin/orted"
# modules of Open MPI that one host needs: no fabrics, no batch systems, no one-sided memory
for module in "$plugins"/mca_*.so; do
    case $(basename "$module") in
    *_ofi.so | *_ucx.so | *openib* | *psm* | *slurm* | *flux* | mca_s[cps]*ll_* | mca_spml* | mca_sshmem* | mca_memheap* | mca_atomic*) ;;
    *) cp -L "$module" "$files/lib/openmpi/" ;;
    esac
done
cp -L "$texts"/*.txt "$texts"/*.conf "$files/share/openmpi/" 2>/dev/null || true
cp -r tests/gpu/{run,train,report}.sh tests/gpu/models benchmarks/train_step/gpu.sh benchmarks/train_step/torch_peer.py \
    benchmarks/kernels/torch_peer_gpu.py "$folder/"
git rev-parse --short=10 HEAD >"$folder/commit" 2>/dev/null || rm "$folder/commit"
mkdir -p "$files/data"
[ $goldens = no ] || cp -r tests/data/families "$files/data/"

# libraries PROGRAM...: what they load that a bare machine lacks.
libraries() {
    ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
        grep -vE '/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|util|cuda|nvidia[^/]*))\.so[^/]*$'
}
missing=$(ldd "$files"/bin/* "$files"/lib/openmpi/* | awk '/not found/ {print $1}' | sort -u)
[ -z "$missing" ] || fail "libraries are not found here: $missing"
while read -r library; do
    cp -L "$library" "$files/lib/"
done < <(libraries "$files"/bin/* "$files"/lib/openmpi/*)
if core=$(ldd "$files/bin/axl-dist" | awk '/libmkl_core/ {print $3}') && [ -n "$core" ]; then # it opens these when it runs
    cp -L "$(dirname "$core")"/libmkl_{def,avx2,avx512}.so.* "$files/lib/"
fi
if [ -n "$open" ]; then
    echo "$folder: open"
    exit
fi
strip --strip-unneeded "$files"/bin/* "$files"/lib/*.so* "$files"/lib/openmpi/* 2>/dev/null || true
tar -C "$files" -cf - . | gzip -9 >"$folder/files.tgz" # a third of it; run.sh unpacks it
largest=$(find "$files" -type f -printf '%s %P\n' | sort -nr | sed -n 1,3p)
rm -r "${files:?}"

size_mb=$(du -sm --apparent-size "$folder" | cut -f1)
[ "$size_mb" -le "$limit_mb" ] || fail "$folder has $size_mb MB, more than $limit_mb; the largest, unpacked:
$largest"
echo "$folder: $size_mb MB"
