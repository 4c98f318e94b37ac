// out = alpha * a + beta * b.
#include "kernels/cpu/parallel.h"

#define BLOCK 4096 // elements a thread takes at a time

AXL_INLINE vf add_vector(const axl_add_args *a, int64_t i, int64_t n, bool bf16)
{
    const bool whole = n == VF;
    vf x = whole ? vf_load(a->a, i, bf16) : vf_load_n(a->a, i, n, bf16);
    vf sum = vf_set(a->alpha) * x;
    if (a->b != NULL) {
        vf y = whole ? vf_load(a->b, i, bf16) : vf_load_n(a->b, i, n, bf16);
        sum = vf_fma(vf_set(a->beta), y, sum);
    }
    return sum;
}

AXL_INLINE void add_block(const axl_add_args *a, int64_t begin, int64_t end, bool bf16)
{
    int64_t i = begin;

    for (; i + VF <= end; i += VF)
        vf_store(a->out, i, add_vector(a, i, VF, bf16), bf16);
    if (i < end)
        vf_store_n(a->out, i, add_vector(a, i, end - i, bf16), end - i, bf16);
}

axl_status AXL_CPU(add)(axl_stream *s, const axl_add_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.add(s, a);
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t begin = 0; begin < a->n; begin += BLOCK) {
        int64_t end = begin + BLOCK < a->n ? begin + BLOCK : a->n;
        if (a->dtype == AXL_BF16)
            add_block(a, begin, end, true);
        else
            add_block(a, begin, end, false);
    }
    return AXL_OK;
}
