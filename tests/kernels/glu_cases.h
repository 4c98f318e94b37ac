// Activations: each kind, gating or alone, gradients over their inputs.
#include "tests/kernels/harness.h"

typedef struct glu_case {
    kt_head head;
    axl_act act;
    int64_t n;
    bool up, in_place;
    double scale; // of gate: far into the tails, too
} glu_case;

static const glu_case glu_cases[] = {
    {{"silu", KT_GRAD}, AXL_ACT_SILU, 77, true, false, 2.0},
    {{"silu_alone", KT_GRAD}, AXL_ACT_SILU, 33, false, false, 2.0},
    {{"silu_tails", 0}, AXL_ACT_SILU, 3000, true, true, 40.0},
    {{"gelu", KT_GRAD}, AXL_ACT_GELU, 50, true, false, 2.0},
    {{"gelu_tails", 0}, AXL_ACT_GELU, 3000, true, true, 6.0},
    {{"gelu_tanh", KT_GRAD}, AXL_ACT_GELU_TANH, 50, false, false, 2.0},
    {{"gelu_tanh_tails", 0}, AXL_ACT_GELU_TANH, 3000, true, false, 6.0},
    {{"relu2", KT_GRAD}, AXL_ACT_RELU2, 19, true, false, 2.0},
    {{"one", 0}, AXL_ACT_SILU, 1, true, false, 1.0},
    {{"none", 0}, AXL_ACT_SILU, 0, true, false, 1.0},
    {{"silu_1024x1536", KT_BENCH}, AXL_ACT_SILU, 1024 * 1536, true, false, 2.0},
    {{"silu_2048x1536", KT_BENCH}, AXL_ACT_SILU, 2048 * 1536, true, false, 2.0},
    {{"gelu_1024x1536", KT_BENCH}, AXL_ACT_GELU, 1024 * 1536, false, false, 2.0},
};

static void glu_run(kt_run *r, const void *c)
{
    const glu_case *g = c;
    const int64_t n = g->n; // an activation is some 30 operations long
    const double bytes = (double)n * (double)axl_dtype_size(r->dtype);
    axl_glu_args f = {.act = g->act, .n = n, .dtype = r->dtype};
    axl_glu_bwd_args b = {.act = g->act, .n = n, .dtype = r->dtype};

    b.gate = f.gate = kt_in(r, "gate", 1, n, n, r->dtype, g->scale);
    b.up = f.up = g->up ? kt_in(r, "up", 1, n, n, r->dtype, 1.0) : NULL;
    f.out = kt_out(r, "out", 1, n, n, r->dtype, 32);
    KT_CALL(r, glu_fwd, &f, 0, bytes * (g->up ? 3 : 2));
    b.dout = kt_in(r, "dout", 1, n, n, r->dtype, 1.0);
    if (g->in_place) {
        b.gate = b.dgate = kt_inout(r, "gate2", 1, n, n, r->dtype, g->scale, 32);
        kt_terms(r, 3.0);
        b.up = b.dup = kt_inout(r, "up2", 1, n, n, r->dtype, 1.0, 32);
    } else {
        b.dgate = kt_out(r, "dgate", 1, n, n, r->dtype, 32);
        kt_terms(r, 3.0); // the slope of an activation cancels in its tails
        b.dup = g->up ? kt_out(r, "dup", 1, n, n, r->dtype, 1) : NULL;
    }
    KT_CALL(r, glu_bwd, &b, 0, bytes * (g->up ? 5 : 3));
}

static const kt_kernel glu_kernel = {.name = "glu",
                                     .run = glu_run,
                                     .cases = glu_cases,
                                     .case_bytes = sizeof glu_cases[0],
                                     .n_cases = sizeof glu_cases / sizeof glu_cases[0],
                                     .sums = {{"out", "dout"}},
                                     .grads = {{"gate", "dgate"}, {"up", "dup"}}};
