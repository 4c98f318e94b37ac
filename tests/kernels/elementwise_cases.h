// Passes over memory: add, cast, bias, sumsq, adamw, embedding.
#include "tests/kernels/harness.h"

typedef struct pass_case {
    kt_head head;
    int64_t rows, cols;
    bool second, in_place; // add: with b; bias and others: adds
} pass_case;

static const pass_case pass_cases[] = {
    {{"odd", 0}, 3, 11, true, false},
    {{"alone", 0}, 2, 40, false, false},
    {{"in_place", 0}, 5, 1000, true, true},
    {{"many_rows", 0}, 300, 70, true, false},
    {{"wide", 0}, 20, 4104, true, false},
    {{"one", 0}, 1, 1, false, true},
    {{"none", 0}, 0, 8, true, false},
    {{"1024x576", KT_BENCH}, 1024, 576, true, true},
    {{"2048x576", KT_BENCH}, 2048, 576, true, true},
};

// second: the rows as one.
static const pass_case sumsq_cases[] = {
    {{"odd", 0}, 3, 11, true, false},
    {{"rows", 0}, 3, 11, false, false},
    {{"aligned_rows", 0}, 7, 64, false, false},
    {{"long_rows", 0}, 2, 70001, false, false},
    {{"wide", 0}, 20, 4104, true, false},
    {{"one", 0}, 1, 1, true, false},
    {{"none", 0}, 0, 8, true, false},
    {{"no_rows", 0}, 0, 8, false, false},
    {{"1024x576", KT_BENCH}, 1024, 576, true, false},
    {{"rows_of_576", KT_BENCH}, 2048, 576, false, false},
};

// AdamW runs once a step over every parameter this rank holds.
static const pass_case adamw_cases[] = {
    {{"odd", KT_F32}, 3, 11, false, false},
    {{"large", KT_F32}, 5, 1000, true, false},
    {{"none", KT_F32}, 0, 8, false, false},
    {{"33M", KT_BENCH | KT_F32}, 32, 1 << 20, true, false},
};

static void add_run(kt_run *r, const void *c)
{
    const pass_case *g = c;
    const int64_t n = g->rows * g->cols;
    const double bytes = (double)n * (double)axl_dtype_size(r->dtype);
    axl_add_args a = {.alpha = 0.75f, .beta = -1.5f, .n = n, .dtype = r->dtype};

    a.b = g->second ? kt_in(r, "b", 1, n, n, r->dtype, 1.0) : NULL;
    if (g->in_place)
        a.a = a.out = kt_inout(r, "a", 1, n, n, r->dtype, 1.0, 1);
    else {
        a.a = kt_in(r, "a", 1, n, n, r->dtype, 1.0);
        a.out = kt_out(r, "out", 1, n, n, r->dtype, 1);
    }
    KT_CALL(r, add, &a, 0, bytes * (g->second ? 3 : 2));
}

static void cast_run(kt_run *r, const void *c)
{
    const pass_case *g = c;
    const int64_t n = g->rows * g->cols;
    const double bytes = (double)n * (double)axl_dtype_size(r->dtype);
    axl_cast_args a = {.src_dtype = r->dtype, .dst_dtype = kt_stat(r), .n = n};

    a.src = kt_in(r, "x", 1, n, n, r->dtype, 1.0);
    a.dst = kt_out(r, "wide", 1, n, n, a.dst_dtype, 1);
    KT_CALL(r, cast, &a, 0, bytes * 3);
    a = (axl_cast_args){.src_dtype = kt_stat(r), .dst_dtype = r->dtype, .n = n};
    a.src = kt_in(r, "y", 1, n, n, a.src_dtype, 1e-39); // some are subnormal
    a.dst = kt_out(r, "narrow", 1, n, n, a.dst_dtype, 1);
    KT_CALL(r, cast, &a, 0, bytes * 3);
}

// Arrays of a range of lengths, some of them empty or not aligned, in both directions; then each in blocks, of which those
// of one number lie side by side.
static void cast_list_run(kt_run *r, const void *c)
{
    enum { MOST = 70 }; // more than a launch of the GPU carries
    const pass_case *g = c;
    const int n_items = g->rows < MOST ? (int)g->rows : MOST;
    const int64_t n = n_items * g->cols;
    axl_cast_args items[MOST];
    axl_cast_list_args a = {.items = items, .n_items = n_items};

    for (int down = 0; down < 2; down++) {
        const axl_dtype from = down ? kt_stat(r) : r->dtype, to = down ? r->dtype : kt_stat(r);
        const char *x = kt_in(r, down ? "y" : "x", 1, n, n, from, down ? 1e-39 : 1.0);
        char *out = kt_inout(r, down ? "narrow" : "wide", 1, n, n, to, 1.0, 1);
        for (int i = 0; i < n_items; i++) {
            const int64_t at = i * g->cols;
            items[i] = (axl_cast_args){.src = x + (size_t)at * axl_dtype_size(from),
                                       .src_dtype = from,
                                       .dst = out + (size_t)at * axl_dtype_size(to),
                                       .dst_dtype = to,
                                       .n = i % 3 == 1 ? g->cols * i / n_items : g->cols};
        }
        KT_CALL(r, cast_list, &a, 0, (double)n * (double)axl_dtype_size(r->dtype) * 3);
    }
    a.n_blocks = 3;
    a.dst_stride = n + (g->cols % 8 == 0 ? 8 : 1);
    const char *x = kt_in(r, "full", 3, n, n, kt_stat(r), 1.0);
    char *out = kt_inout(r, "by block", 3, n, a.dst_stride, r->dtype, 1.0, 1);
    for (int i = 0; i < n_items; i++) {
        const int64_t at = i * g->cols;
        items[i] = (axl_cast_args){.src = x + (size_t)(3 * at) * axl_dtype_size(kt_stat(r)),
                                   .src_dtype = kt_stat(r),
                                   .dst = out + (size_t)at * axl_dtype_size(r->dtype),
                                   .dst_dtype = r->dtype,
                                   .n = g->cols};
    }
    KT_CALL(r, cast_list, &a, 0, 3.0 * (double)n * (double)axl_dtype_size(r->dtype) * 3);
}

static void bias_run(kt_run *r, const void *c)
{
    const pass_case *g = c;
    axl_bias_bwd_args a = {
        .rows = g->rows, .cols = g->cols, .dtype = r->dtype, .accumulate = g->in_place};

    a.dout = kt_in(r, "dout", g->rows, g->cols, g->cols, r->dtype, 1.0);
    a.db = kt_sum(r, a.accumulate, "db", 1, g->cols, g->cols, kt_stat(r), g->rows);
    KT_CALL(r, bias_bwd, &a, 0, (double)(g->rows * g->cols) * (double)axl_dtype_size(r->dtype));
}

static void sumsq_run(kt_run *r, const void *c)
{
    const pass_case *g = c;
    const int64_t n = g->rows * g->cols;
    axl_sumsq_args a = {
        .n_rows = g->second ? 1 : g->rows, .n = g->second ? n : g->cols, .dtype = r->dtype};

    a.x = kt_in(r, "x", 1, n, n, r->dtype, 1.0);
    a.out = kt_inout(r, "sum", 1, a.n_rows, a.n_rows, AXL_F64, 1.0, n);
    KT_CALL(r, sumsq, &a, 0, (double)n * (double)axl_dtype_size(r->dtype));
}

static void adamw_run(kt_run *r, const void *c)
{
    const pass_case *g = c;
    const int64_t n = g->rows * g->cols;
    axl_adamw_args a = {.n = n,
                        .t = 3,
                        .lr = 1e-2,
                        .beta1 = 0.9,
                        .beta2 = 0.95,
                        .eps = 1e-8,
                        .weight_decay = g->second ? 0.1 : 0.0,
                        .grad_scale = 0.5};
    float *v;

    a.p = kt_inout(r, "p", 1, n, n, AXL_F32, 1.0, 1);
    a.m = kt_inout(r, "m", 1, n, n, AXL_F32, 0.1, 1);
    a.v = v = kt_inout(r, "v", 1, n, n, AXL_F32, 0.1, 1);
    a.g = kt_in(r, "g", 1, n, n, AXL_F32, 0.3);
    for (int64_t i = 0; i < n; i++)
        v[i] *= v[i]; // second moments are not negative
    KT_CALL(r, adamw, &a, 0, (double)n * 28);
}

#define PASS_KERNEL(entry, list)                                                                   \
    static const kt_kernel entry##_kernel = {.name = #entry,                                       \
                                             .run = entry##_run,                                   \
                                             .cases = list,                                        \
                                             .case_bytes = sizeof((list)[0]),                      \
                                             .n_cases = sizeof(list) / sizeof((list)[0])};
PASS_KERNEL(add, pass_cases)
PASS_KERNEL(cast, pass_cases)
PASS_KERNEL(cast_list, pass_cases)
PASS_KERNEL(bias, pass_cases)
PASS_KERNEL(sumsq, sumsq_cases)
PASS_KERNEL(adamw, adamw_cases)
