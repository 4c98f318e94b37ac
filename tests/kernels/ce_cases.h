// Cross entropy: odd vocabularies, ignored labels, zero gradients, large logits, in place, bf16 out.
#include "tests/kernels/harness.h"

typedef struct ce_case {
    kt_head head;
    int64_t rows, vocab, ld;
    bool out_bf16, in_place;
    double scale;
    int64_t label0, n_labels; // a slice of a vocabulary
} ce_case;

static const ce_case ce_cases[] = {
    {{"small", KT_GRAD | KT_F32}, 5, 37, 37, false, false, 1.0, 0, 0},
    {{"one_word", KT_F32}, 3, 1, 1, false, false, 1.0, 0, 0},
    {{"strided", KT_GRAD | KT_F32}, 4, 300, 320, false, false, 3.0, 0, 0},
    {{"large_logits", KT_F32}, 6, 1000, 1000, false, false, 60.0, 0, 0},
    {{"in_place", KT_F32}, 7, 129, 160, false, true, 2.0, 0, 0},
    {{"to_bf16", 0}, 9, 515, 515, true, false, 2.0, 0, 0},
    {{"20000", KT_F32}, 4, 20000, 20000, false, true, 3.0, 0, 0},
    {{"odd_9001", KT_F32}, 3, 9001, 9001, false, false, 3.0, 0, 0},
    {{"9000_to_bf16", 0}, 3, 9000, 9008, true, false, 3.0, 0, 0},
    {{"no_rows", KT_F32}, 0, 16, 16, false, false, 1.0, 0, 0},
    {{"first_slice", KT_GRAD | KT_F32}, 7, 20, 20, false, false, 1.0, 0, 53},
    {{"last_slice", KT_GRAD | KT_F32}, 7, 13, 16, false, true, 1.0, 40, 53},
    {{"head_256", KT_BENCH | KT_F32}, 256, 49152, 49152, false, true, 2.0, 0, 0},
    {{"head_256_bf16", KT_BENCH}, 256, 49152, 49152, true, false, 2.0, 0, 0},
};

static void ce_run(kt_run *r, const void *c)
{
    const ce_case *g = c;
    const int64_t n = g->rows, v = g->vocab;
    const axl_dtype stat = kt_stat(r);
    const double bytes = (double)(n * v) * (double)axl_dtype_size(stat);
    int32_t *const labels = kt_room(r, (size_t)n * sizeof *labels);
    const int64_t all = g->n_labels > 0 ? g->n_labels : v;
    axl_ce_args f = {
        .labels = labels, .rows = n, .vocab = v, .ld = g->ld, .label0 = g->label0, .dtype = stat};
    axl_ce_bwd_args b = {.labels = labels,
                         .rows = n,
                         .vocab = v,
                         .ld = g->ld,
                         .label0 = g->label0,
                         .n_labels = g->n_labels,
                         .dtype = stat};

    for (int64_t i = 0; i < n; i++)
        labels[i] = i % 5 == 3 ? -100 : (int32_t)(i * 7919 % all);
    b.logits = f.logits = kt_in(r, "logits", n, v, g->ld, stat, g->scale);
    b.lse = f.lse = kt_out(r, "lse", 1, n, n, stat, v);
    f.logp = kt_out(r, "logp", 1, n, n, stat, v);
    KT_CALL(r, ce_fwd, &f, 0, bytes);
    void *grad = kt_in(r, "grad", 1, n, n, stat, 1.0);
    if (n > 2 && stat == AXL_F32)
        ((float *)grad)[2] = 0.0f;
    else if (n > 2)
        ((double *)grad)[2] = 0.0;
    b.grad = grad;
    b.ld_out = g->out_bf16 ? v : g->ld;
    b.dtype_out = g->out_bf16 && r->dtype == AXL_BF16 ? AXL_BF16 : stat;
    if (g->in_place)
        b.logits = b.dlogits = kt_inout(r, "logits2", n, v, g->ld, stat, g->scale, v);
    else
        b.dlogits = kt_out(r, "dlogits", n, v, b.ld_out, b.dtype_out, v);
    KT_CALL(r, ce_bwd, &b, 0, bytes + (double)(n * v) * (double)axl_dtype_size(b.dtype_out));
}

static const kt_kernel ce_kernel = {.name = "ce",
                                    .run = ce_run,
                                    .cases = ce_cases,
                                    .case_bytes = sizeof ce_cases[0],
                                    .n_cases = sizeof ce_cases / sizeof ce_cases[0],
                                    .sums = {{"logp", "grad"}},
                                    .grads = {{"logits", "dlogits"}}};

// Two slices of one vocabulary, joined: the same as the whole.
typedef struct ce_merge_case {
    kt_head head;
    int64_t rows, vocab, cut;
} ce_merge_case;

static const ce_merge_case ce_merge_cases[] = {
    {{"halves", KT_F32}, 7, 50, 25},
    {{"uneven", KT_F32}, 33, 1001, 7},
    {{"empty_slice", KT_F32}, 3, 20, 20},
    {{"no_rows", KT_F32}, 0, 20, 10},
};

typedef struct ce_slice {
    void *lse, *logp, *target, *sum;
} ce_slice;

static double ce_get(const void *p, int64_t i, axl_dtype dtype)
{
    return dtype == AXL_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void ce_set(void *p, int64_t i, axl_dtype dtype, double x)
{
    if (dtype == AXL_F64)
        ((double *)p)[i] = x;
    else
        ((float *)p)[i] = (float)x;
}

// What the ranks' sums do: top is the largest lse, sum and target are added.
static void ce_join(int64_t n, axl_dtype stat, void *top, const ce_slice *a, const ce_slice *b,
                    bool sums)
{
    for (int64_t i = 0; i < n; i++) {
        const double x = ce_get(a->lse, i, stat), y = ce_get(b->lse, i, stat);
        if (!sums) {
            ce_set(top, i, stat, x > y ? x : y);
            continue;
        }
        ce_set(a->sum, i, stat, ce_get(a->sum, i, stat) + ce_get(b->sum, i, stat));
        ce_set(a->target, i, stat, ce_get(a->target, i, stat) + ce_get(b->target, i, stat));
    }
}

static void ce_merge_run(kt_run *r, const void *c)
{
    const ce_merge_case *g = c;
    const int64_t n = g->rows, v = g->vocab;
    const axl_dtype stat = kt_stat(r);
    int32_t *const labels = kt_room(r, (size_t)n * sizeof *labels);
    static const char *const names[2][4] = {{"lse", "logp", "target", "sum"},
                                            {"lse2", "logp2", "target2", "sum2"}};
    ce_slice s[2];

    for (int64_t i = 0; i < n; i++)
        labels[i] = (int32_t)(i * 7919 % v);
    const char *logits = kt_in(r, "logits", n, v, v, stat, 4.0);
    void *top = kt_out(r, "top", 1, n, n, stat, v);
    for (int k = 0; k < 2; k++) {
        s[k] = (ce_slice){
            kt_out(r, names[k][0], 1, n, n, stat, v), kt_out(r, names[k][1], 1, n, n, stat, v),
            kt_out(r, names[k][2], 1, n, n, stat, v), kt_out(r, names[k][3], 1, n, n, stat, v)};
        const int64_t first = k == 0 ? 0 : g->cut;
        const axl_ce_args f = {.logits = logits + (size_t)first * axl_dtype_size(stat),
                               .labels = labels,
                               .rows = n,
                               .vocab = k == 0 ? g->cut : v - g->cut,
                               .ld = v,
                               .label0 = first,
                               .dtype = stat,
                               .lse = s[k].lse,
                               .logp = s[k].logp,
                               .target = s[k].target};
        KT_CALL(r, ce_fwd, &f, 0, 0);
    }
    ce_join(n, stat, top, &s[0], &s[1], false);
    axl_ce_merge_args m = {.rows = n, .dtype = stat, .top = top};
    for (int k = 0; k < 2; k++) {
        m.sum = s[k].sum;
        m.lse = s[k].lse;
        KT_CALL(r, ce_merge, &m, 0, 0);
    }
    ce_join(n, stat, top, &s[0], &s[1], true);
    m = (axl_ce_merge_args){.rows = n,
                            .dtype = stat,
                            .finish = true,
                            .top = top,
                            .target = s[0].target,
                            .sum = s[0].sum,
                            .lse = s[0].lse,
                            .logp = s[0].logp};
    KT_CALL(r, ce_merge, &m, 0, 0);
    const axl_ce_args whole = {.logits = logits,
                               .labels = labels,
                               .rows = n,
                               .vocab = v,
                               .ld = v,
                               .dtype = stat,
                               .lse = s[1].lse,
                               .logp = s[1].logp};
    KT_CALL(r, ce_fwd, &whole, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        const double tolerance = stat == AXL_F64 ? 1e-12 : 4e-6;
        const double off = ce_get(s[0].logp, i, stat) - ce_get(s[1].logp, i, stat);
        if (!(fabs(off) <= tolerance * (1.0 + fabs(ce_get(s[1].lse, i, stat)))))
            r->status = axl_error_set(AXL_E_BUG, __FILE__, __LINE__,
                                      "row %d: slices give another logp than the whole", (int)i);
    }
}

static const kt_kernel ce_merge_kernel = {.name = "ce_merge",
                                          .run = ce_merge_run,
                                          .cases = ce_merge_cases,
                                          .case_bytes = sizeof ce_merge_cases[0],
                                          .n_cases =
                                              sizeof ce_merge_cases / sizeof ce_merge_cases[0]};
