// The gradient of a bias: sums of columns.
#include "kernels/cpu/parallel.h"

// Each block of columns sums all rows in order.
AXL_INLINE void bias_columns(const axl_bias_bwd_args *a, int64_t c0, int64_t c1, bool bf16)
{
    float *db = a->db;

    for (int64_t c = c0; c < c1; c += VF) {
        int64_t n = c1 - c < VF ? c1 - c : VF;
        vf sum = vf_set(0.0f);
        for (int64_t r = 0; r < a->rows; r++)
            sum += vf_load_n(a->dout, r * a->cols + c, n, bf16);
        if (a->accumulate)
            sum += vf_load_n(db, c, n, false);
        vf_store_n(db, c, sum, n, false);
    }
}

axl_status AXL_CPU(bias_bwd)(axl_stream *s, const axl_bias_bwd_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.bias_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->rows * a->cols)
    for (int64_t c = 0; c < a->cols; c += 64) {
        int64_t end = c + 64 < a->cols ? c + 64 : a->cols;
        if (a->dtype == AXL_BF16)
            bias_columns(a, c, end, true);
        else
            bias_columns(a, c, end, false);
    }
    return AXL_OK;
}
