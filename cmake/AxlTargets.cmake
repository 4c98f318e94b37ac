# axl_library(NAME [STRICT] SOURCES ... [USES ...]): a static library with the project's flags.
#   STRICT adds -Wconversion. USES may name libraries of lower levels and imported targets.
# axl_test(FILE [USES ...]): one cmocka program; its first line says how it runs:
#   // RUN: np=1,2,4          one CTest entry a rank count (default np=1, without mpirun)
#   // RUN: np=2 label=slow
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O3 -g")
set(CMAKE_C_FLAGS_DEBUG "-Og -g3 -DAXL_DEBUG")

add_library(axl_flags INTERFACE)
target_include_directories(axl_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(axl_flags INTERFACE _GNU_SOURCE)
target_compile_options(axl_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wcast-qual
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
    -Wpointer-arith -Wwrite-strings -Wdouble-promotion -Wundef -Wformat=2 -Wimplicit-fallthrough
    -fno-math-errno -ffp-contract=off)
if(AXL_WERROR)
    target_compile_options(axl_flags INTERFACE -Werror)
endif()
if(AXL_SANITIZE STREQUAL "address")
    target_compile_options(axl_flags INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer
                           -fno-sanitize-recover=undefined)
    target_link_options(axl_flags INTERFACE -fsanitize=address,undefined)
    add_library(axl_sanitizer OBJECT ${PROJECT_SOURCE_DIR}/cmake/sanitizer.c)
    target_link_libraries(axl_flags INTERFACE $<TARGET_OBJECTS:axl_sanitizer>)
elseif(AXL_SANITIZE STREQUAL "thread")
    target_compile_options(axl_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
    target_link_options(axl_flags INTERFACE -fsanitize=thread)
endif()
if(AXL_FUZZ)
    target_compile_options(axl_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
                           -fno-sanitize-recover=undefined)
    target_link_options(axl_flags INTERFACE -fsanitize=address,undefined)
endif()
target_link_libraries(axl_flags INTERFACE m)

function(axl_library name)
    cmake_parse_arguments(A "STRICT" "" "SOURCES;USES" ${ARGN})
    add_library(${name} STATIC ${A_SOURCES})
    target_link_libraries(${name} PUBLIC axl_flags ${A_USES})
    if(A_STRICT)
        target_compile_options(${name} PRIVATE -Wconversion)
    endif()
endfunction()

# Tests on real tokenizers, which are not committed, run where this folder has them (else build/tokenizers).
set(AXL_TEST_TOKENIZERS "" CACHE PATH "folder of tokenizer directories for the tests: smollm2, llama3, ...")

function(axl_test file)
    cmake_parse_arguments(A "" "" "USES" ${ARGN})
    get_filename_component(stem ${file} NAME_WE)
    file(RELATIVE_PATH where ${PROJECT_SOURCE_DIR}/tests ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    get_filename_component(where ${where} DIRECTORY)
    string(REPLACE "/" "." id "${where}.${stem}")
    string(REPLACE "/" "_" target "${where}_${stem}")
    add_executable(${target} ${file})
    target_link_libraries(${target} PRIVATE ${A_USES} axl_base cmocka)
    target_compile_definitions(${target} PRIVATE
        AXL_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" AXL_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
        AXL_BUILD_DIR="${PROJECT_BINARY_DIR}")
    file(STRINGS ${file} first LIMIT_COUNT 1)
    set(ranks 1)
    if(first MATCHES "np=([0-9,]+)")
        string(REPLACE "," ";" ranks ${CMAKE_MATCH_1})
    endif()
    foreach(np IN LISTS ranks)
        if(np EQUAL 1)
            add_test(NAME ${id} COMMAND ${target})
            set(entry ${id})
        else()
            set(entry ${id}.np${np})
            add_test(NAME ${entry} COMMAND ${AXL_MPIRUN} -np ${np} $<TARGET_FILE:${target}>)
            set_tests_properties(${entry} PROPERTIES PROCESSORS 2)
        endif()
        # Waiting ranks give up their core: machines that run the suite have fewer cores than ranks.
        set_tests_properties(${entry} PROPERTIES TIMEOUT 300
            ENVIRONMENT "OMP_NUM_THREADS=1;OMP_WAIT_POLICY=passive;OMPI_MCA_mpi_yield_when_idle=1;OMPI_MCA_btl_vader_single_copy_mechanism=none")
        if(AXL_TEST_TOKENIZERS)
            set_property(TEST ${entry} APPEND PROPERTY ENVIRONMENT "AXL_TEST_TOKENIZERS=${AXL_TEST_TOKENIZERS}")
        endif()
        if(first MATCHES "label=([a-z]+)")
            set_tests_properties(${entry} PROPERTIES LABELS ${CMAKE_MATCH_1})
        endif()
    endforeach()
endfunction()
