// The driver's version beside this build's.
#ifndef AXL_KERNELS_CUDA_DRIVER_H
#define AXL_KERNELS_CUDA_DRIVER_H

#include "src/base/str.h"

// Appends "the driver is made for CUDA 12.4, this build for 13.0: ...": what a machine without a usable GPU is asked
// about. AXL_E_MEMORY.
axl_status axl_cuda_describe_driver(axl_str *out);

#endif
