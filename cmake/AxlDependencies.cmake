# Finds what product.md section 7 lists; each missing one is named with the package that has it.
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(Threads REQUIRED)

function(axl_need target module package)
    pkg_check_modules(${target} IMPORTED_TARGET GLOBAL QUIET ${module})
    if(NOT ${target}_FOUND)
        message(FATAL_ERROR "${module} was not found: apt-get install ${package}")
    endif()
    add_library(axl::${target} ALIAS PkgConfig::${target})
endfunction()
axl_need(mpi ompi-c libopenmpi-dev)
axl_need(yaml yaml-0.1 libyaml-dev)
axl_need(jansson jansson libjansson-dev)
axl_need(zstd libzstd libzstd-dev)
axl_need(pcre2 libpcre2-8 libpcre2-dev)
axl_need(utf8proc libutf8proc libutf8proc-dev)
axl_need(hwloc hwloc libhwloc-dev)
axl_need(hdf5 hdf5 libhdf5-dev)

# mpirun with what a test needs on a small machine, as root too.
find_program(AXL_MPIRUN_PROGRAM mpirun REQUIRED)
set(AXL_MPIRUN ${AXL_MPIRUN_PROGRAM} --allow-run-as-root --oversubscribe --bind-to none)

# CPU gemm: MKL from AXL_MKL_ROOT when its header and runtime are there, else oneDNN.
find_path(MKL_INCLUDE mkl_cblas.h HINTS ${AXL_MKL_ROOT}/include ${PROJECT_SOURCE_DIR}/.venv/include)
find_library(MKL_RT NAMES mkl_rt libmkl_rt.so.3 libmkl_rt.so.2 HINTS ${AXL_MKL_ROOT}/lib ${PROJECT_SOURCE_DIR}/.venv/lib)
find_library(DNNL_LIBRARY dnnl)
