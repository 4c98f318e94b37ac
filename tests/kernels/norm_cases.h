// Normalisation: odd widths, each kind, missing weights, in place, adding.
#include "tests/kernels/harness.h"

typedef struct norm_case {
    kt_head head;
    axl_norm_kind kind;
    int64_t rows, cols;
    bool weight, bias, in_place, accumulate;
} norm_case;

static const norm_case norm_cases[] = {
    {{"rms", KT_GRAD}, AXL_NORM_RMS, 5, 64, true, false, false, false},
    {{"rms_odd", KT_GRAD}, AXL_NORM_RMS, 3, 37, true, false, false, false},
    {{"rms_one_column", 0}, AXL_NORM_RMS, 4, 1, true, false, false, false},
    {{"rms_no_rows", 0}, AXL_NORM_RMS, 0, 16, true, false, false, false},
    {{"rms_many_rows", 0}, AXL_NORM_RMS, 700, 48, true, false, true, true},
    {{"rms1p", KT_GRAD}, AXL_NORM_RMS1P, 9, 40, true, false, false, false},
    {{"layer", KT_GRAD}, AXL_NORM_LAYER, 6, 33, true, true, false, false},
    {{"layer_plain", KT_GRAD}, AXL_NORM_LAYER, 4, 80, false, false, false, false},
    {{"layer_adds", 0}, AXL_NORM_LAYER, 130, 96, true, true, true, true},
    {{"rms_heads", 0}, AXL_NORM_RMS, 41, 128, true, false, false, false},
    {{"rms_600", 0}, AXL_NORM_RMS, 9, 600, true, false, true, true},
    {{"layer_4104", 0}, AXL_NORM_LAYER, 3, 4104, true, true, false, false},
    {{"layer_odd_4099", 0}, AXL_NORM_LAYER, 2, 4099, true, true, true, true},
    {{"rms_8712", 0}, AXL_NORM_RMS, 3, 8712, true, false, false, false},
    {{"rms_1024x576", KT_BENCH}, AXL_NORM_RMS, 1024, 576, true, false, false, true},
    {{"rms_2048x576", KT_BENCH}, AXL_NORM_RMS, 2048, 576, true, false, false, true},
};

static void norm_run(kt_run *r, const void *c)
{
    const norm_case *g = c;
    const int64_t n = g->rows, d = g->cols;
    const double values = (double)(n * d), size = (double)axl_dtype_size(r->dtype);
    axl_norm_args f = {.kind = g->kind, .rows = n, .cols = d, .eps = 1e-5f, .dtype = r->dtype};
    axl_norm_bwd_args b = {.kind = g->kind, .rows = n, .cols = d, .dtype = r->dtype};

    b.x = kt_in(r, "x", n, d, d, r->dtype, 1.5);
    f.x = b.x;
    b.w = f.w = g->weight ? kt_in(r, "w", 1, d, d, r->dtype, 1.0) : NULL;
    f.b = g->bias ? kt_in(r, "b", 1, d, d, r->dtype, 1.0) : NULL;
    b.rstd = f.rstd = kt_out(r, "rstd", 1, n, n, kt_stat(r), d);
    b.mean = f.mean = g->kind == AXL_NORM_LAYER ? kt_out(r, "mean", 1, n, n, kt_stat(r), d) : NULL;
    if (g->in_place) {
        f.out = kt_inout(r, "x_out", n, d, d, r->dtype, 1.5, d);
        kt_rounds(r, 2);
        f.x = f.out;
        b.x = kt_in(r, "x_out", n, d, d, r->dtype, 1.5); // the same numbers, for the way back
    } else {
        f.out = kt_out(r, "out", n, d, d, r->dtype, d);
        kt_rounds(r, 2);
    }
    KT_CALL(r, norm_fwd, &f, 0, values * 2 * size);
    b.dout = kt_in(r, "dout", n, d, d, r->dtype, 1.0);
    b.accumulate_dx = b.accumulate_dw = g->accumulate;
    b.dx = kt_sum(r, g->accumulate, "dx", n, d, d, r->dtype, d);
    kt_terms(r, 1.0);
    // a sum of n terms, and behind each the statistics of d values
    b.dw = g->weight ? kt_sum(r, g->accumulate, "dw", 1, d, d, kt_stat(r), n + d) : NULL;
    b.db = g->bias ? kt_sum(r, g->accumulate, "db", 1, d, d, kt_stat(r), n) : NULL;
    KT_CALL(r, norm_bwd, &b, 0, values * (g->accumulate ? 4 : 3) * size);
}

static const kt_kernel norm_kernel = {.name = "norm",
                                      .run = norm_run,
                                      .cases = norm_cases,
                                      .case_bytes = sizeof norm_cases[0],
                                      .n_cases = sizeof norm_cases / sizeof norm_cases[0],
                                      .sums = {{"out", "dout"}},
                                      .grads = {{"x", "dx"}, {"w", "dw"}, {"b", "db"}}};
