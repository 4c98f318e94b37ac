// A mixture of experts: odd numbers of experts and of tokens, one expert, all experts chosen, equal logits,
// experts without rows, several ranges of one matrix, adding.
#include "tests/kernels/harness.h"

typedef struct route_case {
    kt_head head;
    int64_t n_tokens;
    int32_t n_experts, top_k;
    bool renormalize, aux; // aux: probabilities are summed, and have a gradient
    bool in_place;
    double scale; // 0: all logits of a row are equal
} route_case;

static const route_case route_cases[] = {
    {{"mixtral", KT_GRAD}, 23, 8, 2, true, false, false, 1.0},
    {{"plain_weights", KT_GRAD}, 9, 13, 3, false, true, false, 1.0},
    {{"with_aux", KT_GRAD}, 40, 37, 4, true, true, false, 2.0},
    {{"one_expert", 0}, 7, 1, 1, true, true, false, 1.0},
    {{"all_chosen", KT_GRAD}, 5, 6, 6, true, false, false, 1.0},
    {{"ties", 0}, 11, 20, 5, false, true, false, 0.0},
    {{"many_128", 0}, 300, 128, 8, true, true, true, 3.0},
    {{"far_apart", 0}, 20, 16, 2, false, false, true, 40.0},
    {{"many_experts", 0}, 30, 700, 40, true, true, false, 1.0},
    {{"no_tokens", 0}, 0, 8, 2, true, true, false, 1.0},
    {{"4096x128", KT_BENCH}, 4096, 128, 8, true, false, false, 2.0},
    {{"4096x8", KT_BENCH}, 4096, 8, 2, true, false, false, 2.0},
};

static void route_run(kt_run *r, const void *c)
{
    const route_case *g = c;
    const int64_t n = g->n_tokens, e = g->n_experts, k = g->top_k;
    const axl_dtype stat = kt_stat(r);
    const double bytes = (double)(n * e) * (double)axl_dtype_size(r->dtype);
    axl_route_args f = {.n_tokens = n,
                        .n_experts = g->n_experts,
                        .top_k = g->top_k,
                        .renormalize = g->renormalize,
                        .dtype = r->dtype};
    axl_route_bwd_args b = {.n_tokens = n,
                            .n_experts = g->n_experts,
                            .top_k = g->top_k,
                            .renormalize = g->renormalize,
                            .dtype = r->dtype};
    axl_route_sort_args o = {.n_copies = n * k, .n_experts = g->n_experts, .top_k = g->top_k};

    b.logits = f.logits = kt_in(r, "logits", n, e, e, r->dtype, g->scale);
    b.lse = f.lse = kt_out(r, "lse", 1, n, n, stat, e);
    f.ids = kt_out(r, "ids", n, k, k, AXL_I32, 1);
    o.ids = b.ids = f.ids;
    f.weights = kt_out(r, "weights", n, k, k, stat, 4 * e);
    kt_terms(r, g->scale); // a probability is e to the difference of a logit and lse
    f.prob_sum = g->aux ? kt_inout(r, "prob_sum", 1, e, e, stat, 1.0, 4 * n) : NULL;
    KT_CALL(r, route_fwd, &f, 0, bytes);
    o.counts = kt_out(r, "counts", 1, e, e, AXL_I32, 1);
    o.copies = kt_out(r, "copies", 1, n * k, n * k, AXL_I32, 1);
    o.tokens = kt_out(r, "tokens", 1, n * k, n * k, AXL_I32, 1);
    o.places = kt_out(r, "places", n, k, k, AXL_I32, 1);
    KT_CALL(r, route_sort, &o, 0, (double)(n * k) * 16.0);
    b.dweights = kt_in(r, "dweights", n, k, k, stat, 1.0);
    b.dprobs = g->aux ? kt_in(r, "dprobs", 1, e, e, stat, 0.5) : NULL;
    if (g->in_place)
        b.logits = b.dlogits = kt_inout(r, "logits", n, e, e, r->dtype, g->scale, 16 * e);
    else
        b.dlogits = kt_out(r, "dlogits", n, e, e, r->dtype, 16 * e);
    kt_terms(r, 1.0 + g->scale);
    KT_CALL(r, route_bwd, &b, 0, bytes * 2);
}

static const kt_kernel route_kernel = {.name = "route",
                                       .run = route_run,
                                       .cases = route_cases,
                                       .case_bytes = sizeof route_cases[0],
                                       .n_cases = sizeof route_cases / sizeof route_cases[0],
                                       .sums = {{"weights", "dweights"}, {"prob_sum", "dprobs"}},
                                       .grads = {{"logits", "dlogits"}}};

// out[i] = table[ids[i]]
static void kt_gather(kt_run *r, const void *table, const int32_t *ids, int64_t n, int64_t n_rows,
                      int64_t cols, axl_dtype dtype, void *out)
{
    const axl_embed_args a = {.ids = ids,
                              .n_tokens = n,
                              .cols = cols,
                              .n_rows = n_rows,
                              .table = table,
                              .scale = 1.0f,
                              .dtype = dtype,
                              .out = out};
    axl_status status = r->device->kernels->embed_fwd(r->device->compute, &a);

    if (status == AXL_OK)
        status = r->device->ops->synchronize(r->device->compute);
    if (r->status == AXL_OK)
        r->status = status;
}

typedef struct combine_case {
    kt_head head;
    int64_t n_tokens, cols;
    int32_t top_k;
    bool weighted, accumulate;
} combine_case;

static const combine_case combine_cases[] = {
    {{"odd", KT_GRAD}, 13, 37, 3, true, false},
    {{"unweighted", 0}, 9, 64, 2, false, false},
    {{"adds", 0}, 50, 21, 8, false, true},
    {{"one", 0}, 1, 1, 1, true, true},
    {{"wide", 0}, 33, 1000, 2, true, false},
    {{"no_tokens", 0}, 0, 8, 2, true, false},
    {{"2048x2048", KT_BENCH}, 2048, 2048, 8, true, false},
};

// The rows stand in the reverse order of the copies. combine_bwd gets the rows as h, as if W were 1, and each
// row's part of dout as dh: then it gives the gradients of the rows and of the weights.
static void combine_run(kt_run *r, const void *c)
{
    const combine_case *g = c;
    const int64_t n = g->n_tokens, k = g->top_k, cols = g->cols, rows = n * k;
    const axl_dtype stat = kt_stat(r);
    const double bytes = (double)(rows * cols) * (double)axl_dtype_size(r->dtype);
    int32_t *const places = kt_room(r, (size_t)rows * sizeof *places);
    int32_t *const tokens = kt_room(r, (size_t)rows * sizeof *tokens);
    axl_combine_args f = {.places = places,
                          .n_tokens = n,
                          .cols = cols,
                          .top_k = g->top_k,
                          .accumulate = g->accumulate,
                          .dtype = r->dtype};
    axl_combine_bwd_args b = {.n_rows = rows, .cols = cols, .dtype = r->dtype};

    for (int64_t i = 0; i < rows; i++) {
        places[i] = (int32_t)(rows - 1 - i); // its own inverse
        tokens[i] = places[i] / g->top_k;
    }
    f.rows = kt_in(r, "rows", rows, cols, cols, r->dtype, 1.0);
    const void *weights = kt_in(r, "weights", n, k, k, stat, 1.0);
    f.weights = g->weighted ? weights : NULL;
    f.out = kt_sum(r, g->accumulate, "out", n, cols, cols, r->dtype, k);
    KT_CALL(r, combine, &f, 0, bytes + bytes / (double)k);
    const void *dout = kt_in(r, "dout", n, cols, cols, r->dtype, 1.0);
    b.h = kt_inout(r, "rows", rows, cols, cols, r->dtype, 1.0, 1);
    b.dh = kt_out(r, "drows", rows, cols, cols, r->dtype, 1);
    kt_gather(r, dout, tokens, rows, n, cols, r->dtype, b.dh);
    void *sorted = kt_out(r, "sorted", rows, 1, 1, stat, 1);
    kt_gather(r, weights, places, rows, rows, 1, stat, sorted);
    b.weights = sorted;
    b.dweights = kt_out(r, "dsorted", rows, 1, 1, stat, cols);
    kt_terms(r, sqrt((double)cols));
    KT_CALL(r, combine_bwd, &b, 0, bytes * 4);
    void *dweights = kt_out(r, "dweights", n, k, k, stat, cols);
    kt_terms(r, sqrt((double)cols));
    kt_gather(r, b.dweights, places, rows, rows, 1, stat, dweights);
}

static const kt_kernel combine_kernel = {.name = "combine",
                                         .run = combine_run,
                                         .cases = combine_cases,
                                         .case_bytes = sizeof combine_cases[0],
                                         .n_cases = sizeof combine_cases / sizeof combine_cases[0],
                                         .sums = {{"out", "dout"}},
                                         .grads = {{"rows", "drows"}, {"weights", "dweights"}}};

#define GROUPED_MAX 8

typedef struct grouped_case {
    kt_head head;
    int64_t rows[GROUPED_MAX];
    int32_t matrix[GROUPED_MAX], n_groups, n_mats;
    int64_t out, in;
    bool accumulate;
} grouped_case;

static const grouped_case grouped_cases[] = {
    {{"uneven", KT_GRAD | KT_LOOSE}, {5, 0, 17, 1}, {0, 1, 2, 3}, 4, 4, 23, 31, false},
    {{"one", KT_LOOSE}, {9}, {0}, 1, 1, 8, 8, false},
    {{"twice", KT_GRAD | KT_LOOSE}, {3, 4, 0, 6, 2, 1}, {0, 1, 2, 0, 1, 2}, 6, 3, 11, 7, false},
    {{"adds", KT_LOOSE}, {70, 0, 66}, {0, 1, 2}, 3, 3, 65, 40, true},
    {{"tiles", KT_LOOSE}, {7, 0, 45, 130, 1}, {0, 1, 2, 3, 4}, 5, 6, 136, 72, false},
    {{"tiles_twice", KT_LOOSE},
     {33, 4, 0, 6, 0, 1, 40, 3},
     {0, 1, 2, 0, 1, 2, 0, 0},
     8,
     4,
     24,
     152,
     true},
    {{"no_rows", KT_LOOSE}, {0, 0}, {0, 1}, 2, 2, 5, 6, false},
    {{"tiles_cut", KT_LOOSE}, {33, 4, 9, 6, 2}, {1, 1, 1, 1, 0}, 5, 3, 24, 40, false},
    {{"tiles_no_rows", KT_LOOSE}, {0, 0}, {0, 1}, 2, 2, 8, 16, false},
    {{"mixtral_8", KT_BENCH},
     {256, 256, 200, 312, 256, 256, 256, 256},
     {0, 1, 2, 3, 4, 5, 6, 7},
     8,
     8,
     1792,
     1024,
     false},
};

static void grouped_run(kt_run *r, const void *c)
{
    const grouped_case *g = c;
    int64_t begin[GROUPED_MAX + 1] = {0}, longest = 0;
    axl_gemm_grouped_args a = {.begin = begin,
                               .matrix = g->matrix,
                               .n_groups = g->n_groups,
                               .n_mats = g->n_mats,
                               .out = g->out,
                               .in = g->in,
                               .accumulate = g->accumulate,
                               .dtype = r->dtype};

    for (int i = 0; i < g->n_groups; i++) {
        begin[i + 1] = begin[i] + g->rows[i];
        longest += g->rows[i];
    }
    const int64_t n = begin[g->n_groups], mats = g->n_mats * g->out;
    const double flops = 2.0 * (double)(n * g->out * g->in);
    const void *x = kt_in(r, "x", n, g->in, g->in, r->dtype, 1.0);
    const void *w = kt_in(r, "w", mats, g->in, g->in, r->dtype, 1.0);
    a.product = AXL_GROUPED_Y;
    a.a = x;
    a.b = w;
    a.c = kt_sum(r, g->accumulate, "y", n, g->out, g->out, r->dtype, g->in);
    KT_CALL(r, gemm_grouped, &a, flops, 0);
    const void *dy = kt_in(r, "dy", n, g->out, g->out, r->dtype, 1.0);
    a.product = AXL_GROUPED_DX;
    a.a = dy;
    a.c = kt_sum(r, g->accumulate, "dx", n, g->in, g->in, r->dtype, g->out);
    KT_CALL(r, gemm_grouped, &a, flops, 0);
    a.product = AXL_GROUPED_DW;
    a.b = x;
    a.c = kt_sum(r, g->accumulate, "dw", mats, g->in, g->in, kt_stat(r), longest);
    KT_CALL(r, gemm_grouped, &a, flops, 0);
}

static const kt_kernel grouped_kernel = {.name = "gemm_grouped",
                                         .run = grouped_run,
                                         .cases = grouped_cases,
                                         .case_bytes = sizeof grouped_cases[0],
                                         .n_cases = sizeof grouped_cases / sizeof grouped_cases[0],
                                         .sums = {{"y", "dy"}},
                                         .grads = {{"x", "dx"}, {"w", "dw"}}};
