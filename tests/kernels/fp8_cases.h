// Numbers as e4m3 with scales, and their products. Rows of zeros, rows far apart in size, numbers below what e4m3 holds
// beside the largest.
#include "tests/kernels/harness.h"

#include <math.h>

typedef struct fp8_case {
    kt_head head;
    int64_t rows, cols;
    double
        tensor; // the largest number of a tensor that the rows are a part of; 0: each row by itself
} fp8_case;

static const fp8_case cast_fp8_cases[] = {
    {{"rows", 0}, 5, 64, 0},
    {{"odd", 0}, 7, 37, 0},
    {{"wide", 0}, 3, 4112, 0},
    {{"of_half_a_block", 0}, 2, 5000, 0},
    {{"longer_than_registers", 0}, 2, 17000, 0},
    {{"tensor", 0}, 9, 48, 6.5},
    {{"tensor_odd", 0}, 3, 1001, 4096.0},
    {{"tensor_of_zeros", 0}, 1, 16, 1e-30},
    {{"one", 0}, 1, 1, 0},
    {{"no_rows", 0}, 0, 16, 3.0},
    {{"no_columns", 0}, 3, 0, 0},
    {{"1024x576", KT_BENCH}, 1024, 576, 0},
    {{"8192x4096", KT_BENCH}, 8192, 4096, 0},
    {{"4096x4096_tensor", KT_BENCH}, 4096, 4096, 4.0},
};

static const fp8_case amax_cases[] = {
    {{"odd", 0}, 3, 11, 0},
    {{"long", 0}, 1, 300001, 0},
    {{"kept", 0}, 5, 64, 100.0},
    {{"one", 0}, 1, 1, 0},
    {{"none", 0}, 0, 8, 2.0},
    {{"many", 0}, 20, 4104, 0},
    {{"33M", KT_BENCH}, 32, 1 << 20, 0},
};

// Column c of row t is made smaller by 2^(c % 23), the row by 8^t; the second row is zeros.
static void fp8_spread(kt_run *r, int64_t rows, int64_t cols)
{
    for (int64_t t = 0; t < rows && rows * cols < 1 << 18; t++)
        for (int64_t c = 0; c < cols; c++) {
            const int64_t i = t * cols + c;
            const double x = kt_get(&r->buffers[r->n_buffers - 1], i);
            kt_set(r, i, t == 1 ? 0.0 : ldexp(x, -(int)(c % 23) - 3 * (int)(t % 16)));
        }
}

static void cast_fp8_run(kt_run *r, const void *c)
{
    const fp8_case *g = c;
    const double n = (double)(g->rows * g->cols);
    axl_cast_fp8_args a = {.rows = g->rows, .cols = g->cols, .dtype = r->dtype};

    a.src = kt_in(r, "x", g->rows, g->cols, g->cols, r->dtype, 1.0);
    fp8_spread(r, g->rows, g->cols);
    if (g->tensor > 0.0) {
        a.amax = kt_in(r, "amax", 1, 1, 1, AXL_F32, 0.0);
        kt_set(r, 0, g->tensor);
    }
    a.dst = kt_out(r, "q", g->rows, g->cols, g->cols, AXL_F8_E4M3, 1);
    a.scale = kt_out(r, "scale", 1, a.amax != NULL ? 1 : g->rows, a.amax != NULL ? 1 : g->rows,
                     AXL_F32, 1);
    KT_CALL(r, cast_fp8, &a, 0, n * (1.0 + (double)axl_dtype_size(r->dtype)));
}

static void amax_run(kt_run *r, const void *c)
{
    const fp8_case *g = c;
    const int64_t n = g->rows * g->cols;
    axl_amax_args a = {.n = n, .dtype = r->dtype};

    a.x = kt_in(r, "x", 1, n, n, r->dtype, 1.0);
    a.out = kt_inout(r, "most", 1, 1, 1, AXL_F32, 0.0, 1);
    kt_set(r, 0, g->tensor);
    KT_CALL(r, amax, &a, 0, (double)n * (double)axl_dtype_size(r->dtype));
}

typedef struct gemm_fp8_case {
    kt_head head;
    int64_t m, n, k;
    bool trans_b, accumulate, bias;
} gemm_fp8_case;

static const gemm_fp8_case gemm_fp8_cases[] = {
    {{"one", KT_LOOSE}, 1, 1, 1, true, false, false},
    {{"row_vector", KT_LOOSE}, 1, 48, 32, true, false, true},
    {{"forward", KT_LOOSE}, 67, 144, 96, true, false, true},
    {{"forward_odd", KT_LOOSE}, 17, 23, 31, true, false, true},
    {{"dx", KT_LOOSE}, 70, 80, 48, false, false, false},
    {{"dx_adds", KT_LOOSE}, 145, 160, 208, false, true, false},
    {{"dx_odd", KT_LOOSE}, 9, 21, 33, false, true, true},
    {{"few_rows_adds", KT_LOOSE}, 5, 272, 64, true, true, true},
    {{"long_sum", KT_LOOSE}, 40, 32, 5008, true, false, false},
    {{"no_sum", KT_LOOSE}, 9, 8, 0, true, false, true},
    {{"no_rows", KT_LOOSE}, 0, 8, 16, true, false, false},
    {{"up_1024", KT_BENCH}, 1024, 1536, 576, true, false, false},
    {{"dx_up_1024", KT_BENCH}, 1024, 576, 1536, false, true, false},
    {{"8b_up", KT_BENCH}, 8192, 14336, 4096, true, false, false},
    {{"8b_dx_up", KT_BENCH}, 8192, 4096, 14336, false, true, false},
};

static void gemm_fp8_run(kt_run *r, const void *c)
{
    const gemm_fp8_case *g = c;
    const int64_t rows_b = g->trans_b ? g->n : g->k, cols_b = g->trans_b ? g->k : g->n;
    axl_gemm_fp8_args a = {.m = g->m,
                           .n = g->n,
                           .k = g->k,
                           .trans_b = g->trans_b,
                           .accumulate = g->accumulate,
                           .dtype = r->dtype};

    a.a = kt_in(r, "a", g->m, g->k, g->k, AXL_F8_E4M3, 30.0);
    a.b = kt_in(r, "b", rows_b, cols_b, cols_b, AXL_F8_E4M3, 3.0);
    a.scale_a = kt_in(r, "scale_a", 1, g->m, g->m, AXL_F32, 0.0);
    for (int64_t i = 0; i < g->m; i++)
        kt_set(r, i, ldexp(1.0, (int)(i % 5) - 7));
    a.scale_b = kt_in(r, "scale_b", 1, 1, 1, AXL_F32, 0.0);
    kt_set(r, 0, 0.25);
    a.bias = g->bias ? kt_in(r, "bias", 1, g->n, g->n, r->dtype, 1.0) : NULL;
    a.c = kt_sum(r, g->accumulate, "c", g->m, g->n, g->n, r->dtype, g->k);
    KT_CALL(r, gemm_fp8, &a, 2.0 * (double)g->m * (double)g->n * (double)g->k, 0);
}

static const kt_kernel cast_fp8_kernel = {.name = "cast_fp8",
                                          .run = cast_fp8_run,
                                          .cases = cast_fp8_cases,
                                          .case_bytes = sizeof cast_fp8_cases[0],
                                          .n_cases =
                                              sizeof cast_fp8_cases / sizeof cast_fp8_cases[0]};

static const kt_kernel amax_kernel = {.name = "amax",
                                      .run = amax_run,
                                      .cases = amax_cases,
                                      .case_bytes = sizeof amax_cases[0],
                                      .n_cases = sizeof amax_cases / sizeof amax_cases[0]};

static const kt_kernel gemm_fp8_kernel = {.name = "gemm_fp8",
                                          .run = gemm_fp8_run,
                                          .cases = gemm_fp8_cases,
                                          .case_bytes = sizeof gemm_fp8_cases[0],
                                          .n_cases =
                                              sizeof gemm_fp8_cases / sizeof gemm_fp8_cases[0]};
