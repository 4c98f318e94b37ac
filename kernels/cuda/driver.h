// What the driver says before there is a device: its version beside this build's, and what its GPUs are.
#ifndef AXL_KERNELS_CUDA_DRIVER_H
#define AXL_KERNELS_CUDA_DRIVER_H

#include "src/base/str.h"

#include <stdbool.h>

// Appends "the driver is made for CUDA 12.4, this build for 13.0: ...": what a machine without a usable GPU is asked
// about. AXL_E_MEMORY.
axl_status axl_cuda_describe_driver(axl_str *out);

// Whether every GPU that this process sees is one that the backend takes (compute capability 8.0 or later).
bool axl_cuda_gpus_fit(void);

#endif
