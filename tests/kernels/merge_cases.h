// Merging of attention over disjoint keys: rows that one side, the other or neither has seen.
#include "tests/kernels/harness.h"

#include <math.h>

typedef struct merge_case {
    kt_head head;
    int64_t n_tokens;
    int32_t n_heads, v_head_dim;
    int pad;
} merge_case;

static const merge_case merge_cases[] = {
    {{"one", 0}, 1, 1, 8, 0},     {{"odd", 0}, 37, 3, 20, 0},
    {{"apart", 0}, 19, 2, 64, 8}, {{"many", 0}, 300, 4, 64, 0},
    {{"none", 0}, 0, 2, 16, 0},   {{"q_2048", KT_BENCH}, 2048, 9, 64, 0},
};

static void unsee(const kt_run *r, void *lse, int64_t every, int64_t n)
{
    for (int64_t i = 0; i < n; i += every) {
        if (kt_stat(r) == AXL_F64)
            ((double *)lse)[i] = -(double)INFINITY;
        else
            ((float *)lse)[i] = -INFINITY;
    }
}

static void merge_run(kt_run *r, const void *c)
{
    const merge_case *g = c;
    const int64_t n = g->n_tokens, w = (int64_t)g->n_heads * g->v_head_dim;
    axl_attn_merge_args a = {.n_tokens = n,
                             .ldo = w + g->pad,
                             .ld_part = w + 2 * g->pad,
                             .n_heads = g->n_heads,
                             .v_head_dim = g->v_head_dim,
                             .dtype = r->dtype};

    a.out = kt_inout(r, "out", n, w, a.ldo, kt_stat(r), 1.0, 8);
    a.lse = kt_inout(r, "lse", g->n_heads, n, n, kt_stat(r), 30.0, 8);
    a.part_out = kt_in(r, "part_out", n, w, a.ld_part, r->dtype, 1.0);
    void *part_lse = kt_in(r, "part_lse", g->n_heads, n, n, kt_stat(r), 30.0);
    a.part_lse = part_lse;
    unsee(r, a.lse, 5, g->n_heads * n);
    unsee(r, part_lse, 3, g->n_heads * n);
    KT_CALL(r, attn_merge, &a, 0, 3.0 * (double)(n * w) * 4.0);
}

static const kt_kernel merge_kernel = {.name = "attn_merge",
                                       .run = merge_run,
                                       .cases = merge_cases,
                                       .case_bytes = sizeof merge_cases[0],
                                       .n_cases = sizeof merge_cases / sizeof merge_cases[0]};
