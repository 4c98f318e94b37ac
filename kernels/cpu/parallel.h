// How kernels share their work among threads: fixed blocks, so that no sum depends on how many there are.
#ifndef AXL_KERNELS_CPU_PARALLEL_H
#define AXL_KERNELS_CPU_PARALLEL_H

#include "kernels/cpu/levels.h"
#include "kernels/cpu/simd.h"

#include <omp.h>

// Elements below which waking other threads costs more than it saves.
#define AXL_SERIAL_BELOW 16384

#define AXL_PRAGMA(text) _Pragma(#text)
// A loop over blocks that each thread takes a contiguous part of; s is the stream, work its elements.
#define AXL_PARALLEL_FOR(s, work)                                                                  \
    AXL_PRAGMA(omp parallel for schedule(static) num_threads((s)->device->n_threads)               \
                   if ((work) >= AXL_SERIAL_BELOW))

// The row block and number of blocks of a sum over rows: at most 128 blocks of at least 32 rows, and
// partial sums that fit the workspace; of the shape alone.
AXL_INLINE int64_t axl_row_block(int64_t rows, int64_t partial_bytes)
{
    int64_t most = (int64_t)(AXL_WORKSPACE_BYTES / 2) / (partial_bytes > 0 ? partial_bytes : 1);
    if (most > 128)
        most = 128;
    if (most < 1)
        most = 1;
    int64_t block = (rows + most - 1) / most;
    return block < 32 ? 32 : block;
}

#endif
