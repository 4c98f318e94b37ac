// The CUDA backend: its device, and what its kernel files need from it.
#ifndef AXL_KERNELS_CUDA_CUDA_BACKEND_H
#define AXL_KERNELS_CUDA_CUDA_BACKEND_H

#include "kernels/kernels.h"

#include <cuda_runtime.h>

// The accelerators of this host, 0 without a driver; *why (may be NULL) is then a sentence for doctor. Borrowed.
int axl_cuda_device_count(const char **why);

// Appends "NVIDIA H100 80GB HBM3 (compute capability 9.0, 79.2 GiB)" of GPU i. AXL_E_MEMORY.
axl_status axl_cuda_describe(int i, axl_str *out);

// Appends "cuDNN 9.19.0", or "no cuDNN (libcudnn.so.9 is not found)". AXL_E_MEMORY.
axl_status axl_cuda_describe_cudnn(axl_str *out);

// The device that local_rank takes (local_rank modulo their number). AXL_E_UNSUPPORTED: none, too old a driver or
// chip. AXL_E_MEMORY.
axl_status axl_cuda_device_create(int local_rank, axl_device **out);
void axl_cuda_device_destroy(axl_device *d); // NULL-safe; waits for its streams

extern const axl_kernels axl_kernels_cuda;

// For the kernel files ----------------------------------------------------------------------------

cudaStream_t axl_cuda_stream(const axl_stream *s);
// Compute capability * 10: 80, 90, 100.
int axl_cuda_arch(const axl_device *d);
// Whether products are made by warpgroups: on 9.0, unless the device was made with `mma`.
bool axl_cuda_has_wgmma(const axl_device *d);
int axl_cuda_n_multiprocessors(const axl_device *d);
// What the device keeps of a library that is opened at run time; fini is called when the device goes, streams first.
typedef enum axl_cuda_library_id {
    AXL_CUDA_LT,
    AXL_CUDA_DNN,
    AXL_CUDA_N_LIBRARIES
} axl_cuda_library_id;
void *axl_cuda_library(const axl_device *d, axl_cuda_library_id id); // NULL: not asked for yet
void axl_cuda_set_library(const axl_device *d, axl_cuda_library_id id, void *p,
                          void (*fini)(void *));
// What is queued on s, remembered for messages of errors that come late. kernel: a literal.
void axl_cuda_note_launch(const axl_stream *s, const char *kernel, unsigned x, unsigned y,
                          unsigned z, unsigned threads);
// Sets the message; AXL_E_DEVICE.
axl_status axl_cuda_launch_failed(const axl_stream *s, int error, const char *kernel, unsigned x,
                                  unsigned y, unsigned z, unsigned threads, size_t shared_bytes);
// The kernel has no form for this dtype; AXL_E_UNSUPPORTED.
axl_status axl_cuda_no_dtype(const char *kernel, axl_dtype dtype);
// The workspace is too small for so many; AXL_E_UNSUPPORTED.
axl_status axl_cuda_too_many(const char *kernel, int64_t n, const char *what);

#endif
