// Rows picked by a list, and rows added to those of a list.
#include "kernels/cpu/parallel.h"

#include <string.h>

axl_status AXL_CPU(rows_gather)(axl_stream *s, const axl_rows_args *a)
{
    const size_t elem = axl_dtype_size(a->dtype);

    AXL_PARALLEL_FOR(s, a->n_rows * a->cols)
    for (int64_t i = 0; i < a->n_rows; i++) {
        const int64_t row = a->rows != NULL ? a->rows[i] : i;
        memcpy((char *)a->dst + (size_t)(i * a->ld_dst) * elem,
               (const char *)a->src + (size_t)(row * a->ld_src) * elem, (size_t)a->cols * elem);
    }
    return AXL_OK;
}

axl_status AXL_CPU(rows_add)(axl_stream *s, const axl_rows_args *a)
{
    const bool bf16 = a->dtype == AXL_BF16;

    if (a->dtype != AXL_F32 && !bf16)
        return axl_kernels_ref.rows_add(s, a);
    AXL_PARALLEL_FOR(s, a->n_rows * a->cols)
    for (int64_t i = 0; i < a->n_rows; i++) {
        const int64_t row = a->rows != NULL ? a->rows[i] : i;
        for (int64_t c = 0; c < a->cols; c += VF) {
            const int64_t n = a->cols - c < VF ? a->cols - c : VF, to = row * a->ld_dst + c;
            const vf x = vf_load_n(a->src, i * a->ld_src + c, n, bf16);
            vf_store_n(a->dst, to, vf_load_n(a->dst, to, n, bf16) + x, n, bf16);
        }
    }
    return AXL_OK;
}
