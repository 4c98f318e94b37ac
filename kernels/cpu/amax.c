// The largest magnitude of an array, block by block: no order shows in a maximum.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd_fp8.h"

#include <math.h>

#define BLOCK 65536 // elements a thread takes at a time

axl_status AXL_CPU(amax)(axl_stream *s, const axl_amax_args *a)
{
    const int64_t n_blocks = (a->n + BLOCK - 1) / BLOCK;
    float *of_block = s->device->workspace;

    if ((a->dtype != AXL_F32 && a->dtype != AXL_BF16) ||
        n_blocks * (int64_t)sizeof(float) > (int64_t)AXL_WORKSPACE_BYTES)
        return axl_kernels_ref.amax(s, a);
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t b = 0; b < n_blocks; b++) {
        const int64_t end = (b + 1) * BLOCK < a->n ? (b + 1) * BLOCK : a->n;
        of_block[b] = a->dtype == AXL_BF16 ? largest_of(a->x, b * BLOCK, end, true)
                                           : largest_of(a->x, b * BLOCK, end, false);
    }
    for (int64_t b = 0; b < n_blocks; b++)
        if (!isnan(*a->out) && !(of_block[b] <= *a->out))
            *a->out = of_block[b];
    return AXL_OK;
}
