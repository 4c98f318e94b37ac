// Rotary embedding: both pairings, partial widths, the way back.
#include "tests/kernels/harness.h"

typedef struct rope_case {
    kt_head head;
    int64_t n_tokens;
    int32_t n_heads, head_dim, half;
    axl_rope_pairing pairing;
    bool in_place;
} rope_case;

static const rope_case rope_cases[] = {
    {{"half", KT_GRAD}, 7, 3, 64, 32, AXL_ROPE_HALF, false},
    {{"half_odd", KT_GRAD}, 5, 2, 24, 12, AXL_ROPE_HALF, false},
    {{"half_partial", KT_GRAD}, 6, 2, 80, 10, AXL_ROPE_HALF, false},
    {{"half_narrow", 0}, 9, 1, 8, 1, AXL_ROPE_HALF, true},
    {{"pairs", KT_GRAD}, 4, 3, 64, 32, AXL_ROPE_PAIRS, false},
    {{"pairs_odd", KT_GRAD}, 5, 2, 24, 11, AXL_ROPE_PAIRS, false},
    {{"pairs_partial", 0}, 6, 2, 128, 20, AXL_ROPE_PAIRS, true},
    {{"many_heads", 0}, 5, 40, 128, 64, AXL_ROPE_HALF, true},
    {{"half_rest", 0}, 6, 5, 64, 16, AXL_ROPE_HALF, false},
    {{"no_tokens", 0}, 0, 2, 16, 8, AXL_ROPE_HALF, false},
    {{"q_1024", KT_BENCH}, 1024, 9, 64, 32, AXL_ROPE_HALF, true},
    {{"k_1024", KT_BENCH}, 1024, 3, 64, 32, AXL_ROPE_HALF, true},
    {{"q_2048", KT_BENCH}, 2048, 9, 64, 32, AXL_ROPE_HALF, true},
};

static void rope_run(kt_run *r, const void *c)
{
    const rope_case *g = c;
    const int64_t cols = (int64_t)g->n_heads * g->head_dim, n = g->n_tokens;
    const double bytes = 2.0 * (double)(n * cols) * (double)axl_dtype_size(r->dtype);
    int32_t *const positions = kt_room(r, 4096 * sizeof *positions);
    float *const inv_freq = kt_room(r, 64 * sizeof *inv_freq);
    axl_rope_table_args t = {.positions = positions,
                             .inv_freq = inv_freq,
                             .n_tokens = n,
                             .half = g->half,
                             .factor = 1.25f,
                             .dtype = r->dtype};
    axl_rope_args a = {.n_tokens = n,
                       .n_heads = g->n_heads,
                       .head_dim = g->head_dim,
                       .half = g->half,
                       .pairing = g->pairing,
                       .dtype = r->dtype};

    for (int i = 0; i < 4096; i++)
        positions[i] = i * 7 % 1000;
    for (int i = 0; i < 64; i++)
        inv_freq[i] = 1.0f / (float)(i + 1);
    a.cos = t.cos = kt_out(r, "cos", n, g->half, g->half, AXL_F32, 1);
    kt_rounds(r, 1);
    a.sin = t.sin = kt_out(r, "sin", n, g->half, g->half, AXL_F32, 1);
    kt_rounds(r, 1);
    KT_CALL(r, rope_table, &t, 0, 8.0 * (double)(n * g->half));
    a.x = kt_in(r, "x", n, cols, cols, r->dtype, 1.0);
    a.out = kt_out(r, "out", n, cols, cols, r->dtype, 2);
    kt_rounds(r, 2);
    KT_CALL(r, rope, &a, 0, bytes);
    a.inverse = true;
    a.x = kt_in(r, "dout", n, cols, cols, r->dtype, 1.0);
    a.out = kt_out(r, "dx", n, cols, cols, r->dtype, 2);
    kt_rounds(r, 2);
    if (g->in_place) {
        a.out = kt_inout(r, "x_in_place", n, cols, cols, r->dtype, 1.0, 2);
        kt_rounds(r, 2);
        a.x = a.out;
        KT_CALL(r, rope, &a, 0, bytes);
        r->buffers[r->n_buffers - 2].output = false; // dx was not written
        return;
    }
    KT_CALL(r, rope, &a, 0, bytes);
}

static const kt_kernel rope_kernel = {.name = "rope",
                                      .run = rope_run,
                                      .cases = rope_cases,
                                      .case_bytes = sizeof rope_cases[0],
                                      .n_cases = sizeof rope_cases / sizeof rope_cases[0],
                                      .sums = {{"out", "dout"}},
                                      .grads = {{"x", "dx"}}};
