// Cross entropy: odd vocabularies, ignored labels, zero gradients, large logits, in place, bf16 out.
#include "tests/kernels/harness.h"

typedef struct ce_case {
    kt_head head;
    int64_t rows, vocab, ld;
    bool out_bf16, in_place;
    double scale;
} ce_case;

static const ce_case ce_cases[] = {
    {{"small", KT_GRAD | KT_F32}, 5, 37, 37, false, false, 1.0},
    {{"one_word", KT_F32}, 3, 1, 1, false, false, 1.0},
    {{"strided", KT_GRAD | KT_F32}, 4, 300, 320, false, false, 3.0},
    {{"large_logits", KT_F32}, 6, 1000, 1000, false, false, 60.0},
    {{"in_place", KT_F32}, 7, 129, 160, false, true, 2.0},
    {{"to_bf16", 0}, 9, 515, 515, true, false, 2.0},
    {{"no_rows", KT_F32}, 0, 16, 16, false, false, 1.0},
    {{"head_256", KT_BENCH | KT_F32}, 256, 49152, 49152, false, true, 2.0},
    {{"head_256_bf16", KT_BENCH}, 256, 49152, 49152, true, false, 2.0},
};

static void ce_run(kt_run *r, const void *c)
{
    const ce_case *g = c;
    const int64_t n = g->rows, v = g->vocab;
    const axl_dtype stat = kt_stat(r);
    const double bytes = (double)(n * v) * (double)axl_dtype_size(stat);
    static int32_t labels[4096];
    axl_ce_args f = {.labels = labels, .rows = n, .vocab = v, .ld = g->ld, .dtype = stat};
    axl_ce_bwd_args b = {.labels = labels, .rows = n, .vocab = v, .ld = g->ld, .dtype = stat};

    for (int64_t i = 0; i < n; i++)
        labels[i] = i % 5 == 3 ? -100 : (int32_t)(i * 7919 % v);
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
