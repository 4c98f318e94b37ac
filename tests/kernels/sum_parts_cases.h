// Sums over ranks: numbers of parts around powers of two, the own part first, last and within, in place, adding; lists of
// arrays of several lengths, more than a launch of the GPU carries.
#include "tests/kernels/harness.h"

typedef struct sum_parts_case {
    kt_head head;
    int n_parts, own_index; // -1: all lie together
    int64_t n, gap;         // gap: between parts
    axl_reduce_op op;
    bool wide, in_place, accumulate; // wide: a result in f32
    int n_items;
} sum_parts_case;

static const sum_parts_case sum_parts_cases[] = {
    {{"alone", 0}, 1, 0, 37, 0, AXL_REDUCE_SUM, true, false, true, 1},
    {{"two_in_place", 0}, 2, 1, 1003, 0, AXL_REDUCE_SUM, false, true, false, 1},
    {{"three_wide", 0}, 3, 0, 515, 5, AXL_REDUCE_SUM, true, false, false, 1},
    {{"four_add", 0}, 4, 2, 2048, 0, AXL_REDUCE_SUM, true, false, true, 1},
    {{"seven", 0}, 7, 6, 129, 3, AXL_REDUCE_SUM, false, false, false, 1},
    {{"eight_together", 0}, 8, -1, 4096, 0, AXL_REDUCE_SUM, false, false, false, 1},
    {{"many", 0}, 47, 20, 300, 4, AXL_REDUCE_SUM, true, false, true, 1},
    {{"largest", 0}, 11, 3, 333, 1, AXL_REDUCE_MAX, false, true, false, 1},
    {{"smallest", 0}, 5, -1, 64, 0, AXL_REDUCE_MIN, false, false, false, 1},
    {{"list", 0}, 4, 1, 700, 4, AXL_REDUCE_SUM, true, false, true, 9},
    {{"long_list", 0}, 3, -1, 1100, 2, AXL_REDUCE_SUM, false, false, false, 135},
    {{"largest_of_list", 0}, 2, 0, 40, 0, AXL_REDUCE_MAX, false, true, false, 70},
    {{"none", 0}, 2, 0, 0, 0, AXL_REDUCE_SUM, false, false, false, 1},
    {{"8x4M", KT_BENCH}, 8, 3, 4 << 20, 0, AXL_REDUCE_SUM, true, false, true, 1},
};

static void sum_parts_run(kt_run *r, const void *c)
{
    enum { MOST = 160 };
    const sum_parts_case *g = c;
    const int n_items = g->n_items;
    const int64_t n = g->n, stride = n + g->gap, apart = g->own_index >= 0 ? 1 : 0;
    const axl_dtype out_dtype = g->wide ? kt_stat(r) : r->dtype;
    axl_sum_parts_item items[MOST];
    const axl_sum_parts_args a = {.items = items,
                                  .n_items = n_items,
                                  .n_parts = g->n_parts,
                                  .own_index = g->own_index,
                                  .op = g->op,
                                  .dtype = r->dtype,
                                  .out_dtype = out_dtype};
    const char *own = NULL;
    char *out = NULL;

    const char *parts = kt_in(r, "parts", g->n_parts - apart, n, stride, r->dtype, 1.0);
    if (g->in_place) {
        own = out = kt_inout(r, "out", 1, n, n, r->dtype, 1.0, g->n_parts);
    } else {
        if (apart > 0)
            own = kt_in(r, "own", 1, n, n, r->dtype, 1.0);
        out = kt_sum(r, g->accumulate, "out", 1, n, n, out_dtype, g->n_parts);
    }
    for (int i = 0; i < n_items; i++) { // some are empty
        const int64_t at = n * i / n_items * i / n_items,
                      end = n * (i + 1) / n_items * (i + 1) / n_items;
        items[i] = (axl_sum_parts_item){
            .parts = parts + (size_t)at * axl_dtype_size(r->dtype),
            .stride = stride,
            .own = own != NULL ? own + (size_t)at * axl_dtype_size(r->dtype) : NULL,
            .n = end - at,
            .out = out + (size_t)at * axl_dtype_size(out_dtype),
            .accumulate = g->accumulate};
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
