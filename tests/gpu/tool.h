// The commands of gpu_tool. Each takes its arguments as main does, its own name being argv[0], and gives the exit code.
#ifndef AXL_TESTS_GPU_TOOL_H
#define AXL_TESTS_GPU_TOOL_H

#include "kernels/device.h"

#include <stdlib.h>

enum { GPU_SKIPPED = 77 };

// The device that all of them take, by the variable that launch/ reads, too.
static inline axl_status gpu_open(const char *backend, axl_device **out)
{
    const char *wgmma = getenv("AXL_CUDA_WGMMA");
    const axl_device_options o = {.backend = backend, .mma = wgmma != NULL && wgmma[0] == '0'};

    return axl_device_create(&o, out);
}

int gpu_bench_main(int argc, char **argv);   // speed of kernels; also there without CUDA
int gpu_cases_main(int argc, char **argv);   // the kernels' case lists against ref
int gpu_goldens_main(int argc, char **argv); // tiny models of every family against transformers
int gpu_inputs_main(int argc, char **argv);  // models and data to try a program with

#endif
