// Sums over ranks: numbers of parts around powers of two, the own part first, last and within, in place, adding.
#include "tests/kernels/harness.h"

typedef struct sum_parts_case {
    kt_head head;
    int n_parts, own_index; // -1: all lie together
    int64_t n, gap;         // gap: between parts
    axl_reduce_op op;
    bool wide, in_place, accumulate; // wide: a result in f32
} sum_parts_case;

static const sum_parts_case sum_parts_cases[] = {
    {{"alone", 0}, 1, 0, 37, 0, AXL_REDUCE_SUM, true, false, true},
    {{"two_in_place", 0}, 2, 1, 1003, 0, AXL_REDUCE_SUM, false, true, false},
    {{"three_wide", 0}, 3, 0, 515, 5, AXL_REDUCE_SUM, true, false, false},
    {{"four_add", 0}, 4, 2, 2048, 0, AXL_REDUCE_SUM, true, false, true},
    {{"seven", 0}, 7, 6, 129, 3, AXL_REDUCE_SUM, false, false, false},
    {{"eight_together", 0}, 8, -1, 4096, 0, AXL_REDUCE_SUM, false, false, false},
    {{"many", 0}, 47, 20, 300, 4, AXL_REDUCE_SUM, true, false, true},
    {{"largest", 0}, 11, 3, 333, 1, AXL_REDUCE_MAX, false, true, false},
    {{"smallest", 0}, 5, -1, 64, 0, AXL_REDUCE_MIN, false, false, false},
    {{"none", 0}, 2, 0, 0, 0, AXL_REDUCE_SUM, false, false, false},
    {{"8x4M", KT_BENCH}, 8, 3, 4 << 20, 0, AXL_REDUCE_SUM, true, false, true},
};

static void sum_parts_run(kt_run *r, const void *c)
{
    const sum_parts_case *g = c;
    const int64_t n = g->n, stride = n + g->gap, apart = g->own_index >= 0 ? 1 : 0;
    const axl_dtype out_dtype = g->wide ? kt_stat(r) : r->dtype;
    axl_sum_parts_args a = {.stride = stride,
                            .n_parts = g->n_parts,
                            .own_index = g->own_index,
                            .op = g->op,
                            .dtype = r->dtype,
                            .n = n,
                            .out_dtype = out_dtype,
                            .accumulate = g->accumulate};

    a.parts = kt_in(r, "parts", g->n_parts - apart, n, stride, r->dtype, 1.0);
    if (g->in_place) {
        a.own = a.out = kt_inout(r, "out", 1, n, n, r->dtype, 1.0, g->n_parts);
    } else {
        if (apart > 0)
            a.own = kt_in(r, "own", 1, n, n, r->dtype, 1.0);
        a.out = kt_sum(r, g->accumulate, "out", 1, n, n, out_dtype, g->n_parts);
    }
    KT_CALL(r, sum_parts, &a, 0,
            (double)n * ((double)(g->n_parts * (int)axl_dtype_size(r->dtype)) +
                         (double)((g->accumulate ? 2 : 1) * (int)axl_dtype_size(out_dtype))));
}

static const kt_kernel sum_parts_kernel = {.name = "sum_parts",
                                           .run = sum_parts_run,
                                           .cases = sum_parts_cases,
                                           .case_bytes = sizeof sum_parts_cases[0],
                                           .n_cases =
                                               sizeof sum_parts_cases / sizeof sum_parts_cases[0]};
