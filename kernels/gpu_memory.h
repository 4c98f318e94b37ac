// Device memory that the backend of a GPU takes beside what is asked of it; here for those who plan without a GPU.
#ifndef AXL_KERNELS_GPU_MEMORY_H
#define AXL_KERNELS_GPU_MEMORY_H

#include <stddef.h>
#include <stdint.h>

// axl_device.workspace; lent to cuBLASLt and cuDNN.
#define AXL_GPU_WORKSPACE_BYTES ((size_t)64 << 20)
// The most that attention by cuDNN gets; what needs more goes to the own kernels.
#define AXL_GPU_LIBRARY_BYTES ((size_t)1 << 30)

// What the gradient of attention by cuDNN is lent for rows of so many heads: statistics, and keys' and values'
// gradients a query head where heads share them, as much as its frontend gives. The library's own few KiB are not in it.
static inline size_t axl_gpu_attention_bytes(int64_t rows, int64_t n_heads, int64_t n_kv_heads,
                                             int64_t head_dim)
{
    const size_t stats = (size_t)(rows * n_heads) * sizeof(float);

    return 2 * stats + (n_heads > n_kv_heads ? 2 * stats * (size_t)head_dim : 0);
}

#endif
