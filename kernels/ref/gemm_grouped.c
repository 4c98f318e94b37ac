// Products of row ranges with matrices of a stack: one gemm a range.
#include "kernels/ref/ref.h"

static axl_gemm_args product_of(const axl_gemm_grouped_args *a, int32_t g)
{
    const int64_t rows = a->begin[g + 1] - a->begin[g], row = a->begin[g];
    const int64_t cols_a = a->product == AXL_GROUPED_Y ? a->in : a->out;
    const int64_t cols_c = a->product == AXL_GROUPED_Y ? a->out : a->in;
    const size_t size = axl_dtype_size(a->dtype), mat = (size_t)(a->matrix[g] * a->out * a->in);
    axl_gemm_args q = {.m = rows,
                       .n = cols_c,
                       .k = cols_a,
                       .a = (const char *)a->a + (size_t)(row * cols_a) * size,
                       .b = (const char *)a->b + mat * size,
                       .c = (char *)a->c + (size_t)(row * cols_c) * size,
                       .lda = cols_a,
                       .ldb = a->in,
                       .ldc = cols_c,
                       .trans_b = a->product == AXL_GROUPED_Y,
                       .accumulate = a->accumulate,
                       .alpha = 1.0f,
                       .dtype = a->dtype,
                       .dtype_c = a->dtype};

    if (a->product == AXL_GROUPED_DW) {
        q.dtype_c = a->dtype == AXL_F64 ? AXL_F64 : AXL_F32;
        q.m = a->out;
        q.k = rows;
        q.trans_a = true;
        q.b = (const char *)a->b + (size_t)(row * a->in) * size;
        q.c = (char *)a->c + mat * axl_dtype_size(q.dtype_c);
    }
    return q;
}

// Whether an earlier group has rows for the matrix of group g: then its gradient is there to be added to.
static bool has_earlier(const axl_gemm_grouped_args *a, int32_t g)
{
    for (int32_t i = 0; i < g; i++)
        if (a->matrix[i] == a->matrix[g] && a->begin[i + 1] > a->begin[i])
            return true;
    return false;
}

// Clears the gradients of the matrices that no row meets.
static axl_status clear_unmet(axl_stream *s, const axl_gemm_grouped_args *a)
{
    axl_status status = AXL_OK;
    const size_t bytes = (size_t)(a->out * a->in) * (a->dtype == AXL_F64 ? 8 : 4);

    for (int32_t m = 0; m < a->n_mats; m++) {
        bool met = false;
        for (int32_t g = 0; g < a->n_groups && !met; g++)
            met = a->matrix[g] == m && a->begin[g + 1] > a->begin[g];
        if (!met)
            AXL_TRY(s->device->ops->zero(s, (char *)a->c + (size_t)m * bytes, bytes));
    }
out:
    return status;
}

axl_status axl_ref_gemm_each(axl_stream *s, const axl_gemm_grouped_args *a, axl_gemm_fn gemm)
{
    axl_status status = AXL_OK;
    const bool gradient = a->product == AXL_GROUPED_DW;

    for (int32_t g = 0; g < a->n_groups; g++) {
        axl_gemm_args q = product_of(a, g);
        if (a->begin[g + 1] == a->begin[g])
            continue;
        if (gradient && !a->accumulate)
            q.accumulate = has_earlier(a, g);
        AXL_TRY(gemm(s, &q));
    }
    if (gradient && !a->accumulate)
        AXL_TRY(clear_unmet(s, a));
out:
    return status;
}

axl_status axl_ref_gemm_grouped(axl_stream *s, const axl_gemm_grouped_args *a)
{
    return axl_ref_gemm_each(s, a, axl_ref_gemm);
}
