// Matrix products: odd sizes, all transpositions, strides, adding, bias, mixed output.
#include "tests/kernels/harness.h"

typedef struct gemm_case {
    kt_head head;
    int64_t m, n, k;
    bool trans_a, trans_b, accumulate, bias, out_f32;
    int pad; // extra elements of each ld
    float alpha;
} gemm_case;

static const gemm_case gemm_cases[] = {
    {{"one", KT_LOOSE}, 1, 1, 1, false, true, false, false, false, 0, 1.0f},
    {{"row_vector", KT_LOOSE}, 1, 40, 33, false, true, false, true, false, 3, 1.0f},
    {{"plain", KT_LOOSE}, 17, 23, 31, false, false, false, false, false, 0, 1.0f},
    {{"forward", KT_LOOSE}, 65, 130, 96, false, true, false, true, false, 5, 1.0f},
    {{"weight_gradient", KT_LOOSE}, 70, 66, 129, true, false, true, false, true, 2, 0.5f},
    {{"both_transposed", KT_LOOSE}, 9, 8, 64, true, true, true, false, false, 1, -2.0f},
    {{"adds_with_bias", KT_LOOSE}, 67, 80, 40, false, false, true, true, false, 4, 1.0f},
    {{"f32_logits", KT_LOOSE}, 7, 301, 24, false, true, false, true, true, 0, 1.0f},
    {{"long_sum", KT_LOOSE}, 66, 64, 5000, false, false, false, false, false, 0, 1.0f},
    {{"wide", KT_LOOSE}, 64, 1800, 1500, true, false, false, false, false, 0, 1.0f},
    {{"tiles_forward", KT_LOOSE}, 200, 268, 100, false, true, false, true, false, 4, 1.0f},
    {{"tiles_dx", KT_LOOSE}, 145, 136, 72, false, false, true, false, false, 8, -0.5f},
    {{"tiles_dw", KT_LOOSE}, 134, 270, 77, true, false, true, false, true, 2, 1.0f},
    {{"tiles_f32_bias", KT_LOOSE}, 66, 40, 40, false, true, false, true, true, 0, 2.0f},
    {{"tiles_odd_columns", KT_LOOSE}, 5, 27, 61, false, false, true, true, true, 5, 1.0f},
    {{"no_sum", KT_LOOSE}, 9, 8, 0, false, true, false, true, false, 8, 1.0f},
    {{"no_rows", KT_LOOSE}, 0, 8, 8, false, true, false, false, false, 0, 1.0f},
    {{"attn_out_1024", KT_BENCH}, 1024, 576, 576, false, true, false, false, false, 0, 1.0f},
    {{"attn_kv_1024", KT_BENCH}, 1024, 192, 576, false, true, false, false, false, 0, 1.0f},
    {{"up_1024", KT_BENCH}, 1024, 1536, 576, false, true, false, false, false, 0, 1.0f},
    {{"down_1024", KT_BENCH}, 1024, 576, 1536, false, true, false, false, false, 0, 1.0f},
    {{"up_2048", KT_BENCH}, 2048, 1536, 576, false, true, false, false, false, 0, 1.0f},
    {{"dx_up_1024", KT_BENCH}, 1024, 576, 1536, false, false, true, false, false, 0, 1.0f},
    {{"dw_up_1024", KT_BENCH}, 1536, 576, 1024, true, false, true, false, true, 0, 1.0f},
    {{"head_256", KT_BENCH}, 256, 49152, 576, false, true, false, false, true, 0, 1.0f},
    {{"dx_head_256", KT_BENCH}, 256, 576, 49152, false, false, false, false, false, 0, 1.0f},
    {{"dw_head_256", KT_BENCH}, 49152, 576, 256, true, false, true, false, true, 0, 1.0f},
    {{"decode_up", KT_BENCH}, 1, 1536, 576, false, true, false, false, false, 0, 1.0f},
    {{"decode_head", KT_BENCH}, 1, 49152, 576, false, true, false, false, true, 0, 1.0f},
};

static void gemm_run(kt_run *r, const void *c)
{
    const gemm_case *g = c;
    const int64_t rows_a = g->trans_a ? g->k : g->m, cols_a = g->trans_a ? g->m : g->k;
    const int64_t rows_b = g->trans_b ? g->n : g->k, cols_b = g->trans_b ? g->k : g->n;
    axl_gemm_args a = {.m = g->m,
                       .n = g->n,
                       .k = g->k,
                       .lda = cols_a + g->pad,
                       .ldb = cols_b + g->pad,
                       .ldc = g->n + g->pad,
                       .trans_a = g->trans_a,
                       .trans_b = g->trans_b,
                       .accumulate = g->accumulate,
                       .alpha = g->alpha,
                       .dtype = r->dtype,
                       .dtype_c = g->out_f32 ? kt_stat(r) : r->dtype};

    a.a = kt_in(r, "a", rows_a, cols_a, a.lda, r->dtype, 1.0);
    a.b = kt_in(r, "b", rows_b, cols_b, a.ldb, r->dtype, 1.0);
    a.bias = g->bias ? kt_in(r, "bias", 1, g->n, g->n, r->dtype, 1.0) : NULL;
    a.c = kt_sum(r, g->accumulate, "c", g->m, g->n, a.ldc, a.dtype_c, g->k);
    KT_CALL(r, gemm, &a, 2.0 * (double)g->m * (double)g->n * (double)g->k, 0);
}

static const kt_kernel gemm_kernel = {.name = "gemm",
                                      .run = gemm_run,
                                      .cases = gemm_cases,
                                      .case_bytes = sizeof gemm_cases[0],
                                      .n_cases = sizeof gemm_cases / sizeof gemm_cases[0]};
