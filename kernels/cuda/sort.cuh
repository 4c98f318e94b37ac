// A stable sort of positions by small integer keys, and what its users (embed_bwd, route_sort) need of it.
//
// A radix sort of 9 bits a pass. A warp takes a chunk of keys, 32 at a time in their order: lanes with equal digits find
// each other, so a key's place is known without atomics, and the order of equal keys is that of their positions.
#ifndef AXL_KERNELS_CUDA_SORT_CUH
#define AXL_KERNELS_CUDA_SORT_CUH

#include "kernels/cuda/cuda.cuh"

// Sorts positions 0 .. n - 1 by key[i], in [0, n_keys). Runs on s; everything lies in scratch, which has
// axl_sort_bytes(n) bytes, 16-byte aligned. *keys: the sorted keys; *order: their positions.
extern "C" {
size_t axl_sort_bytes(int64_t n);
axl_status axl_sort_by_key(axl_stream *s, const int32_t *key, int64_t n, int64_t n_keys,
                           void *scratch, const int32_t **keys, const int32_t **order);
}

#endif
