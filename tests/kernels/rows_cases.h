// Rows picked by a list and added by a list, lists of all rows and of none, strides.
#include "tests/kernels/harness.h"

typedef struct rows_case {
    kt_head head;
    int64_t n_all, step; // every step-th row is listed; 0: no list, all rows
    int64_t cols, pad;
} rows_case;

static const rows_case rows_cases[] = {
    {{"some", 0}, 50, 3, 40, 0},    {{"apart", 0}, 21, 2, 17, 5},
    {{"last", 0}, 9, 8, 64, 0},     {{"all", 0}, 40, 0, 33, 3},
    {{"none", 0}, 0, 1, 16, 0},     {{"wide", 0}, 300, 2, 520, 0},
    {{"narrow", 0}, 3000, 1, 3, 1}, {{"k_2048", KT_BENCH}, 4096, 2, 384, 0},
};

static void rows_run(kt_run *r, const void *c)
{
    const rows_case *g = c;
    const int64_t n = g->step == 0 ? g->n_all : (g->n_all + g->step - 1) / g->step;
    int32_t *const list = kt_room(r, (size_t)n * sizeof *list);
    axl_rows_args a = {.rows = g->step == 0 ? NULL : list,
                       .n_rows = n,
                       .cols = g->cols,
                       .ld_src = g->cols + g->pad,
                       .ld_dst = g->cols,
                       .dtype = r->dtype};
    const double bytes = (double)(n * g->cols) * (double)axl_dtype_size(r->dtype);

    for (int64_t i = 0; i < n; i++)
        list[i] = (int32_t)(g->n_all - 1 - i * g->step); // in any order
    a.src = kt_in(r, "x", g->n_all, g->cols, a.ld_src, r->dtype, 1.0);
    a.dst = kt_out(r, "picked", n, g->cols, a.ld_dst, r->dtype, 1);
    KT_CALL(r, rows_gather, &a, 0, 2.0 * bytes);
    a.src = a.dst;
    a.ld_src = a.ld_dst;
    a.ld_dst = g->cols + g->pad;
    a.dst = kt_inout(r, "sums", g->n_all, g->cols, a.ld_dst, r->dtype, 1.0, 1);
    KT_CALL(r, rows_add, &a, 0, 3.0 * bytes);
}

static const kt_kernel rows_kernel = {.name = "rows",
                                      .run = rows_run,
                                      .cases = rows_cases,
                                      .case_bytes = sizeof rows_cases[0],
                                      .n_cases = sizeof rows_cases / sizeof rows_cases[0]};
