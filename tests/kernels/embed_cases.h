// The embedding: rows of another rank, repeated ids, odd widths.
#include "tests/kernels/harness.h"

typedef struct embed_case {
    kt_head head;
    int64_t n_tokens, cols, row0, n_rows, vocab;
    float scale;
} embed_case;

static const embed_case embed_cases[] = {
    {{"whole", KT_GRAD}, 20, 24, 0, 11, 11, 1.0f},
    {{"middle_rows", KT_GRAD}, 30, 9, 4, 5, 16, 3.5f},
    {{"wide", 0}, 40, 1000, 0, 7, 7, 1.0f},
    {{"many_tokens", 0}, 2500, 16, 100, 1300, 1500, 2.0f},
    {{"one_id", 0}, 1100, 300, 3, 1, 4, 1.0f},
    {{"no_tokens", 0}, 0, 16, 0, 5, 5, 1.0f},
    {{"1024", KT_BENCH}, 1024, 576, 0, 49152, 49152, 1.0f},
    {{"2048", KT_BENCH}, 2048, 576, 0, 49152, 49152, 1.0f},
};

static void embed_run(kt_run *r, const void *c)
{
    const embed_case *g = c;
    const int64_t n = g->n_tokens, d = g->cols;
    const double bytes = (double)(n * d) * (double)axl_dtype_size(r->dtype);
    int32_t *const ids = kt_room(r, (size_t)n * sizeof *ids);
    axl_embed_args f = {.ids = ids,
                        .n_tokens = n,
                        .cols = d,
                        .row0 = g->row0,
                        .n_rows = g->n_rows,
                        .scale = g->scale};
    axl_embed_bwd_args b = {.ids = ids,
                            .n_tokens = n,
                            .cols = d,
                            .row0 = g->row0,
                            .n_rows = g->n_rows,
                            .scale = g->scale};

    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(i * i * 31 % g->vocab);
    f.dtype = b.dtype = r->dtype;
    f.table = kt_in(r, "table", g->n_rows, d, d, r->dtype, 1.0);
    f.out = kt_out(r, "out", n, d, d, r->dtype, 1);
    KT_CALL(r, embed_fwd, &f, 0, bytes * 2);
    b.dout = kt_in(r, "dout", n, d, d, r->dtype, 1.0);
    b.dtable = kt_inout(r, "dtable", g->n_rows, d, d, kt_stat(r), 0.0, n);
    KT_CALL(r, embed_bwd, &b, 0, bytes * 3);
}

static const kt_kernel embed_kernel = {.name = "embed",
                                       .run = embed_run,
                                       .cases = embed_cases,
                                       .case_bytes = sizeof embed_cases[0],
                                       .n_cases = sizeof embed_cases / sizeof embed_cases[0],
                                       .sums = {{"out", "dout"}},
                                       .grads = {{"table", "dtable"}}};
