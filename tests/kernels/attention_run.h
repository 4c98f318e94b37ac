// What runs a case of attention of any kind: its type, where its rows lie, the calls.
#include "tests/kernels/harness.h"

#define ATTN_MAX_SEQS 12
#define ATTN_MAX_ROWS 4096

// Which forward, and with it which backward.
typedef enum attn_kind { ATTN_PLAIN, ATTN_HALF, ATTN_SAGE, ATTN_FP8, ATTN_EAGER } attn_kind;

typedef struct attn_case {
    kt_head head;
    int32_t len_q[ATTN_MAX_SEQS], len_k[ATTN_MAX_SEQS]; // len_k all 0: as len_q
    int32_t n_seqs, n_heads, n_kv_heads, head_dim, v_head_dim;
    int32_t window;
    int32_t pos_q, pos_k; // of the first row; both 0: no array is given
    axl_mask mask;
    float softcap;
    int pad; // extra elements between tokens
    bool accumulate;
    bool grad_f32; // dq, dk, dv are f32 whatever the dtype
    int32_t gaps;  // the longest step between positions; 0: no array of positions
    bool sinks;
    bool out_f32;
    attn_kind kind;
    int32_t prefix; // of the first sequence, one less for each further one; with AXL_MASK_PREFIX
} attn_case;

// Positions of n rows from start on, with steps of 1 .. gaps, most of them 1.
static void place_rows(int32_t *positions, int32_t n, int32_t start, int32_t gaps, uint32_t seed)
{
    for (int32_t i = 0; i < n; i++) {
        positions[i] = start;
        seed = seed * 1664525u + 1013904223u;
        start += 1 + (int32_t)((seed >> 28) > 10 ? (seed >> 16) % (uint32_t)gaps : 0);
    }
}

// How many (query, key) pairs see each other.
static double visible_pairs(const attn_case *g)
{
    double n = 0;

    for (int i = 0; i < g->n_seqs; i++)
        for (int32_t t = 0; t < g->len_q[i]; t++) {
            int64_t len_k = g->len_k[0] > 0 ? g->len_k[i] : g->len_q[i];
            int64_t last = g->mask == AXL_MASK_CAUSAL ? t + g->pos_q - g->pos_k + 1 : len_k;
            n += (double)(last < len_k ? last : len_k);
        }
    return n;
}

static void attn_join_sinks(kt_run *r, const attn_case *g, const axl_attn_args *a)
{
    const axl_attn_sinks_args s = {.sinks =
                                       kt_in(r, "sinks", 1, a->n_heads, a->n_heads, r->dtype, 1.0),
                                   .out = a->out,
                                   .lse = a->lse,
                                   .n_tokens = a->cu_seqlens_q[a->n_seqs],
                                   .ldo = a->ldo,
                                   .n_heads = a->n_heads,
                                   .v_head_dim = a->v_head_dim,
                                   .dtype = r->dtype,
                                   .dtype_out = g->out_f32 ? kt_stat(r) : r->dtype};
    KT_CALL(r, attn_sinks_fwd, &s, 0, 0);
}

static void attn_sinks_gradient(kt_run *r, const attn_case *g, const axl_attn_bwd_args *b)
{
    const axl_attn_args *a = &b->fwd;
    const int64_t n = a->cu_seqlens_q[a->n_seqs];
    axl_attn_sinks_bwd_args s = {.sinks = kt_find(r, "sinks")->data,
                                 .lse = a->lse,
                                 .delta = b->delta,
                                 .n_tokens = n,
                                 .n_heads = a->n_heads,
                                 .dtype = r->dtype,
                                 .accumulate = g->accumulate};
    s.dsinks = kt_sum(r, g->accumulate, "dsinks", 1, a->n_heads, a->n_heads, kt_stat(r), n);
    kt_rounds(r, 4);
    kt_terms(r, sqrt((double)n));
    KT_CALL(r, attn_sinks_bwd, &s, 0, 0);
}

// Where a case's rows lie.
typedef struct attn_rows {
    int32_t cu_q[ATTN_MAX_SEQS + 1], cu_k[ATTN_MAX_SEQS + 1];
    int32_t pos_q[ATTN_MAX_SEQS], pos_k[ATTN_MAX_SEQS];
    int32_t positions_q[ATTN_MAX_ROWS], positions_k[ATTN_MAX_ROWS];
    int32_t prefix[ATTN_MAX_SEQS];
} attn_rows;

// Gives the longest sequence.
static int32_t attn_place(const attn_case *g, attn_rows *x)
{
    int32_t longest = 0;

    for (int i = 0; i < g->n_seqs; i++) {
        const int32_t n_q = g->len_q[i], n_k = g->len_k[0] > 0 ? g->len_k[i] : n_q;
        x->cu_q[i + 1] = x->cu_q[i] + n_q;
        x->cu_k[i + 1] = x->cu_k[i] + n_k;
        x->pos_q[i] = g->pos_q;
        x->pos_k[i] = g->pos_k;
        x->prefix[i] = g->prefix - i;
        longest = n_k > longest ? n_k : longest;
        longest = n_q > longest ? n_q : longest;
        if (g->gaps == 0)
            continue;
        // The seed is the same for both: queries see their own key.
        place_rows(x->positions_q + x->cu_q[i], n_q, g->pos_q, g->gaps, (uint32_t)i);
        place_rows(x->positions_k + x->cu_k[i], n_k, g->pos_k, g->gaps, (uint32_t)i);
    }
    return longest;
}

// Roundings to bf16 behind an output beyond its own: of probabilities; of scores below 8, whose two roundings are of
// 2^-6 each.
static int attn_roundings(const attn_case *g, int plain)
{
    static const int more[] = {[ATTN_HALF] = 1, [ATTN_SAGE] = 1, [ATTN_EAGER] = 5};

    return plain + more[g->kind];
}

// Of the gradients of keys and values: a library rounds those of each query head before it adds them.
static int attn_head_roundings(const attn_case *g, int plain)
{
    return attn_roundings(g, plain) + (kt_library && g->n_heads > g->n_kv_heads ? 1 : 0);
}

static void attn_forward(kt_run *r, const attn_case *g, axl_attn_args *a, double flops)
{
    const int64_t longest = (a->max_seqlen_k + AXL_PROBS_ALIGN - 1) / AXL_PROBS_ALIGN;
    axl_attn_eager_args e = {.fwd = *a, .ld_probs = longest * AXL_PROBS_ALIGN};

    switch (g->kind) {
    case ATTN_PLAIN:
        KT_CALL(r, attn_fwd, a, flops, 0);
        break;
    case ATTN_HALF:
        KT_CALL(r, attn_half_fwd, a, flops, 0);
        break;
    case ATTN_SAGE:
        KT_CALL(r, attn_sage_fwd, a, flops, 0);
        break;
    case ATTN_FP8:
        KT_CALL(r, attn_fp8_fwd, a, flops, 0);
        break;
    default: // rows hold nothing of ours beyond their sequence: what is there is not compared
        e.probs = kt_in(r, "probs", a->cu_seqlens_q[a->n_seqs] * a->n_heads, e.ld_probs, e.ld_probs,
                        kt_stat(r), 0.0);
        KT_CALL(r, attn_eager_fwd, &e, flops, 0);
    }
}

static void attn_backward(kt_run *r, const attn_case *g, const axl_attn_bwd_args *b, double flops)
{
    axl_attn_eager_bwd_args e = {.bwd = *b};

    if (g->kind != ATTN_EAGER) {
        KT_CALL(r, attn_bwd, b, flops, 0);
        return;
    }
    e.probs = kt_find(r, "probs")->data;
    e.ld_probs = kt_find(r, "probs")->ld;
    e.delta = kt_find(r, "delta")->data;
    KT_CALL(r, attn_eager_bwd, &e, flops, 0);
}

static void attn_run(kt_run *r, const void *c)
{
    const attn_case *g = c;
    attn_rows *const rows = kt_room(r, sizeof *rows);
    const int32_t *cu_q = rows->cu_q, *cu_k = rows->cu_k;
    const int32_t longest = attn_place(g, rows);
    const int64_t n_q = cu_q[g->n_seqs], n_k = cu_k[g->n_seqs], h = g->n_heads, hk = g->n_kv_heads;
    const int64_t wq = h * g->head_dim, wk = hk * g->head_dim, wv = hk * g->v_head_dim,
                  wo = h * g->v_head_dim;
    const bool placed = g->pos_q != 0 || g->pos_k != 0;
    const int64_t sum = 8 * (longest * (h / hk) + g->head_dim);
    const double flops = visible_pairs(g) * (double)h * 2.0;
    axl_attn_bwd_args b = {.fwd = {.ldq = wq + g->pad,
                                   .ldk = wk + g->pad,
                                   .ldv = wv + g->pad,
                                   .ldo = wo + g->pad,
                                   .cu_seqlens_q = cu_q,
                                   .cu_seqlens_k = g->len_k[0] > 0 ? cu_k : cu_q,
                                   .pos_q = placed ? rows->pos_q : NULL,
                                   .pos_k = placed ? rows->pos_k : NULL,
                                   .positions_q = g->gaps > 0 ? rows->positions_q : NULL,
                                   .positions_k = g->gaps > 0 ? rows->positions_k : NULL,
                                   .n_seqs = g->n_seqs,
                                   .max_seqlen_q = longest,
                                   .max_seqlen_k = longest,
                                   .n_rows_k = g->pad > 0 ? n_k : 0, // known in some cases
                                   .n_heads = g->n_heads,
                                   .n_kv_heads = g->n_kv_heads,
                                   .head_dim = g->head_dim,
                                   .v_head_dim = g->v_head_dim,
                                   .scale = 1.0f / sqrtf((float)g->head_dim),
                                   .softcap = g->softcap,
                                   .window = g->window,
                                   .mask = g->mask,
                                   .prefix = rows->prefix,
                                   .dtype = r->dtype,
                                   .out_f32 = g->out_f32,
                                   .library = kt_library,
                                   .n_rows = n_q},
                           .dtype_grad = g->grad_f32 ? kt_stat(r) : r->dtype,
                           .accumulate_dq = g->accumulate,
                           .accumulate_dkv = g->accumulate};
    axl_attn_args *a = &b.fwd;
    axl_attn_delta_args d = {.n_tokens = n_q,
                             .ldo = a->ldo,
                             .n_heads = g->n_heads,
                             .v_head_dim = g->v_head_dim,
                             .dtype = r->dtype};

    const double spread = g->kind == ATTN_EAGER ? 1.0 : 1.5; // scores stay below 8
    a->q = kt_in(r, "q", n_q, wq, a->ldq, r->dtype, spread);
    a->k = kt_in(r, "k", n_k, wk, a->ldk, r->dtype, spread);
    a->v = kt_in(r, "v", n_k, wv, a->ldv, r->dtype, 1.0);
    a->out = kt_out(r, "out", n_q, wo, a->ldo, g->out_f32 ? kt_stat(r) : r->dtype, sum);
    kt_rounds(r, attn_roundings(g, g->sinks ? 2 : 1));
    a->lse = kt_out(r, "lse", h, n_q, n_q, kt_stat(r), sum);
    if (g->kind == ATTN_EAGER) // scores are rounded
        kt_rounds(r, 2);
    attn_forward(r, g, a, flops * (double)(g->head_dim + g->v_head_dim));
    if (g->sinks)
        attn_join_sinks(r, g, a);
    if (g->out_f32 || g->kind == ATTN_SAGE || g->kind == ATTN_FP8)
        return; // a part, and what is rounded to integers or fp8, has no gradient of its own
    d.out = a->out;
    b.dout = d.dout = kt_in(r, "dout", n_q, wo, a->ldo, r->dtype, 1.0);
    b.delta = d.delta = kt_out(r, "delta", h, n_q, n_q, kt_stat(r), sum);
    kt_rounds(r, attn_roundings(g, 2)); // out is read
    kt_terms(r, 1.0);
    KT_CALL(r, attn_delta, &d, 0, 2.0 * (double)(n_q * wo) * (double)axl_dtype_size(r->dtype));
    b.dq = kt_sum(r, g->accumulate, "dq", n_q, wq, a->ldq, b.dtype_grad, sum);
    kt_rounds(r, attn_roundings(g, 4)); // out and delta cancel dp
    kt_terms(r, 1.5);
    b.dk = kt_sum(r, g->accumulate, "dk", n_k, wk, a->ldk, b.dtype_grad, sum);
    kt_rounds(r, attn_head_roundings(g, 4));
    kt_terms(r, 1.5);
    b.dv = kt_sum(r, g->accumulate, "dv", n_k, wv, a->ldv, b.dtype_grad, sum);
    kt_rounds(r, attn_head_roundings(g, 2)); // the weights may be in dtype where they meet dout
    if (g->kind != ATTN_PLAIN)               // p up to 1 and dout of either sign
        kt_terms(r, 1.0);
    attn_backward(r, g, &b, flops * (double)(3 * g->head_dim + 2 * g->v_head_dim));
    if (g->sinks)
        attn_sinks_gradient(r, g, &b);
}
