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
axl_need(zlib zlib zlib1g-dev)
axl_need(lzma liblzma liblzma-dev)
axl_need(lz4 liblz4 liblz4-dev)
axl_need(pcre2 libpcre2-8 libpcre2-dev)
axl_need(utf8proc libutf8proc libutf8proc-dev)
axl_need(hwloc hwloc libhwloc-dev)
axl_need(hdf5 hdf5 libhdf5-dev)

find_package(BZip2 QUIET) # Debian 12 ships no bzip2.pc
if(NOT BZIP2_FOUND)
    message(FATAL_ERROR "bzip2 was not found: apt-get install libbz2-dev")
endif()
add_library(axl::bzip2 ALIAS BZip2::BZip2)

# mpirun with what a test needs on a small machine, as root too.
find_program(AXL_MPIRUN_PROGRAM mpirun REQUIRED)
set(AXL_MPIRUN ${AXL_MPIRUN_PROGRAM} --allow-run-as-root --oversubscribe --bind-to none)

# CPU gemm, the target axl::gemm: MKL from AXL_MKL_ROOT or the checkout's .venv (which
# launch/deps.sh fills) when header and runtime are there, else oneDNN. Its users see
# AXL_GEMM_MKL or AXL_GEMM_DNNL. MKL is linked layer by layer with its GNU threading: the
# single runtime library mkl_rt would load Intel's OpenMP beside libgomp, and the two fight
# over cores.
set(axl_mkl_hints ${AXL_MKL_ROOT} ${PROJECT_SOURCE_DIR}/.venv)
find_path(MKL_INCLUDE mkl_cblas.h HINTS ${axl_mkl_hints} PATH_SUFFIXES include)
foreach(layer IN ITEMS intel_lp64 gnu_thread core)
    find_library(MKL_${layer} NAMES libmkl_${layer}.so libmkl_${layer}.so.3 libmkl_${layer}.so.2
                 HINTS ${axl_mkl_hints} PATH_SUFFIXES lib)
endforeach()
find_library(DNNL_LIBRARY dnnl)
find_path(DNNL_INCLUDE dnnl.h)

add_library(axl_gemm INTERFACE)
add_library(axl::gemm ALIAS axl_gemm)
if(MKL_INCLUDE AND MKL_intel_lp64 AND MKL_gnu_thread AND MKL_core)
    message(STATUS "CPU gemm: MKL, ${MKL_core}")
    target_include_directories(axl_gemm SYSTEM INTERFACE ${MKL_INCLUDE})
    target_compile_definitions(axl_gemm INTERFACE AXL_GEMM_MKL=1)
    # libgomp by name inside the group: a program that uses no kernel would drop it, not MKL.
    target_link_libraries(axl_gemm INTERFACE -Wl,--no-as-needed ${MKL_intel_lp64} ${MKL_gnu_thread}
                          ${MKL_core} -lgomp -Wl,--as-needed OpenMP::OpenMP_C m dl)
elseif(DNNL_LIBRARY AND DNNL_INCLUDE)
    message(STATUS "CPU gemm: oneDNN, ${DNNL_LIBRARY}")
    target_include_directories(axl_gemm SYSTEM INTERFACE ${DNNL_INCLUDE})
    target_compile_definitions(axl_gemm INTERFACE AXL_GEMM_DNNL=1)
    target_link_libraries(axl_gemm INTERFACE ${DNNL_LIBRARY} OpenMP::OpenMP_C)
else()
    message(FATAL_ERROR "No CPU gemm library was found: apt-get install libdnnl-dev, or pip install "
                        "mkl-devel mkl-include into ${PROJECT_SOURCE_DIR}/.venv")
endif()

# Parquet and arrow, optional: the C++ libraries inside the pyarrow wheel (AXL_ARROW_ROOT, or the checkout's
# .venv, which deps_arrow of launch/deps.sh fills). Sets AXL_ARROW to the folder when all is there.
set(AXL_ARROW "")
file(GLOB axl_arrow_dirs ${AXL_ARROW_ROOT} ${AXL_ARROW_ROOT}/lib/python3*/site-packages/pyarrow
     ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/pyarrow)
include(CheckLanguage)
check_language(CXX)
foreach(dir IN LISTS axl_arrow_dirs)
    file(GLOB axl_arrow_libraries ${dir}/libarrow.so.* ${dir}/libparquet.so.*)
    list(FILTER axl_arrow_libraries INCLUDE REGEX "\\.so\\.(2[6-9]|[3-9][0-9])00$") # pyarrow 26 and later
    list(LENGTH axl_arrow_libraries count)
    if(NOT AXL_ARROW AND CMAKE_CXX_COMPILER AND count EQUAL 2 AND EXISTS ${dir}/include/parquet/arrow/reader.h)
        set(AXL_ARROW ${dir})
        set(AXL_ARROW_LIBRARIES ${axl_arrow_libraries})
    endif()
endforeach()
if(AXL_ARROW)
    message(STATUS "Parquet and arrow: ${AXL_ARROW}")
    if(AXL_SANITIZE OR AXL_FUZZ)
        # The sanitizers look for the C++ runtime's throw once, at the start: a module that brings it is too late.
        target_link_libraries(axl_flags INTERFACE -Wl,--no-as-needed -lstdc++ -Wl,--as-needed)
    endif()
else()
    message(STATUS "Parquet and arrow: not read (bash -c '. launch/deps.sh; deps_arrow' fetches what is missing)")
endif()
