// The loop over turns, forward and backward. The hard part is what may be in flight at once: while turn i is
// computed, turn i + 1's keys arrive and turn i - 1's gradients travel home. Everything in flight has two
// buffers, by the parity of its turn, and each is awaited one turn before it is used again.
#include "comm/ring.h"

// One call: the layer's arguments with this rank's sequences, and what its turns need.
typedef struct pass {
    axl_ring *r;
    axl_attn_args a;
    const axl_ring_plan *plan;
    axl_attn_numerics numerics; // of the forward
    int n_turns;
    int64_t width, elem; // of a row of K and V: elements a head, bytes an element
} pass;

static bool travels(const axl_ring_turn *t)
{
    return t->last > t->first;
}

static axl_ring_turn turn_of(const pass *x, int i)
{
    return axl_ring_turn_of(x->r, x->a.n_kv_heads, i);
}

static const void *at_head(const pass *x, const void *base, int64_t head, int64_t width)
{
    return (const char *)base + head * width * x->elem;
}

// Element n of an array of F32 (or of dtype BF16).
static void *element(void *base, int64_t n, axl_dtype dtype)
{
    return (char *)base + n * (int64_t)axl_dtype_size(dtype);
}

static axl_dtype out_dtype(const axl_attn_args *a)
{
    return a->out_f32 ? AXL_F32 : a->dtype;
}

static int rank_before(const axl_ring *r, int d)
{
    return (r->rank + r->n_ranks - d) % r->n_ranks;
}

static int rank_after(const axl_ring *r, int d)
{
    return (r->rank + d) % r->n_ranks;
}

static axl_status begin(axl_ring *r, const axl_attn_args *a, pass *out)
{
    axl_status status = AXL_OK;
    const axl_ring_options *o = &r->o;
    const axl_ring_plan *plan = NULL;

    for (int i = 0; i < o->n_windows && plan == NULL; i++)
        if (r->plans[i].window == a->window)
            plan = &r->plans[i];
    AXL_REQUIRE(plan != NULL && a->mask == AXL_MASK_CAUSAL && a->dtype == o->dtype, AXL_E_BUG,
                "%s: mask %d, window %d or dtype %s is not what it was made for",
                axl_ring_schedule_name(o->schedule), (int)a->mask, a->window,
                axl_dtype_name(a->dtype));
    AXL_REQUIRE(a->n_heads <= o->n_heads && a->n_kv_heads <= o->n_kv_heads &&
                    a->head_dim <= o->head_dim && a->v_head_dim <= o->v_head_dim,
                AXL_E_BUG, "%s: %d heads, %d key heads of %d and %d are more than it has room for",
                axl_ring_schedule_name(o->schedule), a->n_heads, a->n_kv_heads, a->head_dim,
                a->v_head_dim);
    *out = (pass){.r = r,
                  .a = *a,
                  .plan = plan,
                  .n_turns = axl_ring_n_turns(r, a->n_kv_heads),
                  .width = a->head_dim + a->v_head_dim,
                  .elem = (int64_t)axl_dtype_size(a->dtype)};
    if (r->n_ranks == 1)
        goto out; // the caller's sequences are the layout's
    out->a.n_seqs = r->n_seqs;
    out->a.max_seqlen_q = r->longest_q;
    out->a.cu_seqlens_q = axl_ring_list(r, r->local_cu);
    out->a.positions_q = axl_ring_list(r, r->local_positions);
    out->a.pos_q = out->a.pos_k = NULL;

out:
    return status;
}

// ---- keys on their way

// Copies K and V of some rows (list NULL: all) side by side to `to`, for the key heads of a turn.
static axl_status pack(const pass *x, const axl_ring_turn *t, const int32_t *list, int64_t n,
                       void *to)
{
    axl_status status = AXL_OK;
    const axl_attn_args *a = &x->a;
    const axl_device *d = x->r->device;
    axl_rows_args k = {.src = at_head(x, a->k, t->kv0, a->head_dim),
                       .rows = list,
                       .n_rows = n,
                       .cols = (int64_t)t->n_kv * a->head_dim,
                       .ld_src = a->ldk,
                       .ld_dst = t->n_kv * x->width,
                       .dtype = a->dtype,
                       .dst = to};
    axl_rows_args v = k;

    v.src = at_head(x, a->v, t->kv0, a->v_head_dim);
    v.cols = (int64_t)t->n_kv * a->v_head_dim;
    v.ld_src = a->ldv;
    v.dst = element(to, k.cols, a->dtype);
    if (n == 0)
        goto out;
    AXL_TRY(d->kernels->rows_gather(d->compute, &k));
    AXL_TRY(d->kernels->rows_gather(d->compute, &v));

out:
    return status;
}

// Packs what others need in turn i and queues its exchange.
static axl_status post_keys(const pass *x, int i)
{
    axl_status status = AXL_OK;
    axl_ring *r = x->r;
    const axl_ring_plan *p = x->plan;
    const axl_ring_turn t = turn_of(x, i);
    const int64_t row = t.n_kv * x->width;
    void *out = axl_ring_at(r, r->at.kv_out[i % 2]), *in = axl_ring_at(r, r->at.kv_in[i % 2]);

    if (i >= x->n_turns || !travels(&t))
        goto out;
    for (int d = t.first; d < t.last; d++) {
        const int dst = rank_after(r, d);
        AXL_TRY(pack(x, &t, axl_ring_list(r, p->rows + p->out_at[dst]), p->n_out[dst],
                     element(out, axl_ring_out_at(p, &t, dst) * row, x->a.dtype)));
    }
    if (t.own)
        AXL_TRY(pack(x, &t, NULL, r->n_rows, element(in, p->in_at[r->rank] * row, x->a.dtype)));
    AXL_TRY(axl_ring_exchange(r, p, &t, false, out, in, row * x->elem, &r->kv_ready[i % 2]));

out:
    return status;
}

// The arguments of turn i's kernel: its heads, and its keys once they are here. n_keys is how many come from
// others, or -1 when own keys are met too.
static axl_status meet_keys(const pass *x, int i, axl_attn_args *out, int64_t *n_keys)
{
    axl_status status = AXL_OK;
    axl_ring *r = x->r;
    const axl_ring_plan *p = x->plan;
    const axl_ring_turn t = turn_of(x, i);
    const axl_attn_args *a = &x->a;
    const int64_t head0 = (int64_t)t.kv0 * (a->n_heads / a->n_kv_heads);
    // Sources in rank order, then all of them together.
    const int source = !travels(&t) ? r->rank : t.own ? r->n_ranks : rank_before(r, t.first);
    axl_attn_args b = *a;

    *n_keys = t.own ? -1 : p->n_in[source];
    b.n_kv_heads = t.n_kv;
    b.n_heads = t.n_kv * (a->n_heads / a->n_kv_heads);
    b.q = at_head(x, a->q, head0, a->head_dim);
    b.out = element(a->out, head0 * a->v_head_dim, out_dtype(a));
    b.lse = element(a->lse, head0 * r->n_rows, AXL_F32);
    if (r->n_ranks > 1) {
        b.cu_seqlens_k = axl_ring_list(r, p->cu + (int64_t)source * (r->n_seqs + 1));
        b.positions_k =
            axl_ring_list(r, p->positions + (source == r->n_ranks ? 0 : p->in_at[source]));
        b.max_seqlen_k = p->longest[source];
        b.n_rows_k =
            source < r->n_ranks ? p->n_in[source] : p->in_at[source - 1] + p->n_in[source - 1];
    }
    if (travels(&t)) {
        AXL_TRY(axl_ring_await(r, &t, &r->kv_ready[i % 2]));
        b.k = axl_ring_at(r, r->at.kv_in[i % 2]);
        b.v = at_head(x, b.k, t.n_kv, a->head_dim);
        b.ldk = b.ldv = t.n_kv * x->width;
    }
    *out = b;

out:
    return status;
}

// ---- forward

// Turn i of the layer's result: straight to where it belongs, or to a part that is then merged. x->a.out is F32
// when turns are merged.
static axl_status attend(const pass *x, int i)
{
    axl_status status = AXL_OK;
    axl_ring *r = x->r;
    const axl_device *d = r->device;
    const axl_ring_turn t = turn_of(x, i);
    axl_attn_args b;
    int64_t n_keys;

    AXL_TRY(meet_keys(x, i, &b, &n_keys));
    if (n_keys == 0)
        goto out;
    if (t.opening) {
        AXL_TRY(axl_attn_forward(d->kernels, d->compute, x->numerics, &b));
        goto out;
    }
    const axl_attn_merge_args merge = {.out = b.out,
                                       .lse = b.lse,
                                       .part_out = axl_ring_at(r, r->at.part_out),
                                       .part_lse = axl_ring_at(r, r->at.part_lse),
                                       .n_tokens = r->n_rows,
                                       .ldo = b.ldo,
                                       .ld_part = (int64_t)b.n_heads * b.v_head_dim,
                                       .n_heads = b.n_heads,
                                       .v_head_dim = b.v_head_dim,
                                       .dtype = AXL_F32};
    b.out = axl_ring_at(r, r->at.part_out);
    b.lse = axl_ring_at(r, r->at.part_lse);
    b.ldo = merge.ld_part;
    AXL_TRY(axl_attn_forward(d->kernels, d->compute, x->numerics, &b));
    AXL_TRY(d->kernels->attn_merge(d->compute, &merge));

out:
    return status;
}

axl_status axl_ring_forward(axl_ring *r, const axl_attn_args *a, const axl_ring_sinks *sinks)
{
    return axl_ring_forward_as(r, AXL_ATTN_EXACT, a, sinks);
}

axl_status axl_ring_forward_as(axl_ring *r, axl_attn_numerics numerics, const axl_attn_args *a,
                               const axl_ring_sinks *sinks)
{
    axl_status status = AXL_OK;
    const axl_device *d = r->device;
    const int64_t out_width = (int64_t)a->n_heads * a->v_head_dim;
    const bool rounds = axl_ring_merges(&r->o) && out_dtype(a) != AXL_F32;
    pass x;

    AXL_TRY(begin(r, a, &x));
    x.numerics = numerics;
    AXL_REQUIRE(!rounds || a->ldo == out_width, AXL_E_BUG,
                "ring attention: rows of out are %lld apart, not %lld", (long long)a->ldo,
                (long long)out_width);
    if (rounds) { // sums stay f32 until the last merge
        x.a.out = axl_ring_at(r, r->at.out);
        x.a.out_f32 = true;
    }
    AXL_TRY(post_keys(&x, 0));
    for (int i = 0; i < x.n_turns; i++) {
        AXL_TRY(post_keys(&x, i + 1));
        AXL_TRY(attend(&x, i));
    }
    if (sinks != NULL)
        AXL_TRY(d->kernels->attn_sinks_fwd(d->compute,
                                           &(axl_attn_sinks_args){.sinks = sinks->sinks,
                                                                  .out = x.a.out,
                                                                  .lse = a->lse,
                                                                  .n_tokens = r->n_rows,
                                                                  .ldo = a->ldo,
                                                                  .n_heads = a->n_heads,
                                                                  .v_head_dim = a->v_head_dim,
                                                                  .dtype = a->dtype,
                                                                  .dtype_out = out_dtype(&x.a)}));
    if (rounds)
        AXL_TRY(d->kernels->cast(d->compute, &(axl_cast_args){.src = x.a.out,
                                                              .src_dtype = AXL_F32,
                                                              .dst = a->out,
                                                              .dst_dtype = a->dtype,
                                                              .n = r->n_rows * out_width}));

out:
    return status;
}

// ---- backward

// A gradient of own rows: where it is summed, and the output it is rounded to in the end (NULL: the same).
typedef struct own_grad {
    void *sum;
    void *out;
    int64_t n, ld;
} own_grad;

typedef struct back_pass {
    pass x;
    const axl_attn_bwd_args *b;
    own_grad dq, dk, dv;
    axl_dtype dtype; // of the sums
    bool accumulate_dq, accumulate_dkv;
} back_pass;

// Rounds to the output, or (opening) widens what the output holds to be added to.
static axl_status convert(const back_pass *x, const own_grad *g, bool opening)
{
    const axl_device *d = x->x.r->device;
    const axl_cast_args round = {.src = g->sum,
                                 .src_dtype = AXL_F32,
                                 .dst = g->out,
                                 .dst_dtype = x->b->dtype_grad,
                                 .n = g->n};
    const axl_cast_args widen = {.src = g->out,
                                 .src_dtype = x->b->dtype_grad,
                                 .dst = g->sum,
                                 .dst_dtype = AXL_F32,
                                 .n = g->n};

    return g->out == NULL ? AXL_OK : d->kernels->cast(d->compute, opening ? &widen : &round);
}

static axl_status begin_back(axl_ring *r, const axl_attn_bwd_args *b, back_pass *x)
{
    axl_status status = AXL_OK;
    const axl_attn_args *a = &b->fwd;
    const int64_t n = r->n_rows;
    const bool rounds = r->n_ranks > 1 && b->dtype_grad != AXL_F32;

    *x = (back_pass){.b = b,
                     .dq = {b->dq, NULL, n * a->n_heads * a->head_dim, a->ldq},
                     .dk = {b->dk, NULL, n * a->n_kv_heads * a->head_dim, a->ldk},
                     .dv = {b->dv, NULL, n * a->n_kv_heads * a->v_head_dim, a->ldv},
                     .dtype = b->dtype_grad,
                     .accumulate_dq = b->accumulate_dq,
                     .accumulate_dkv = b->accumulate_dkv};
    AXL_TRY(begin(r, a, &x->x));
    if (!rounds)
        goto out;
    AXL_REQUIRE(a->ldq * n == x->dq.n && a->ldk * n == x->dk.n && a->ldv * n == x->dv.n, AXL_E_BUG,
                "ring attention: rows of BF16 gradients are not dense (%lld, %lld, %lld apart)",
                (long long)a->ldq, (long long)a->ldk, (long long)a->ldv);
    x->dtype = AXL_F32;
    x->dq = (own_grad){axl_ring_at(r, r->at.dq), b->dq, x->dq.n, a->ldq};
    x->dk = (own_grad){axl_ring_at(r, r->at.dk), b->dk, x->dk.n, a->ldk};
    x->dv = (own_grad){axl_ring_at(r, r->at.dv), b->dv, x->dv.n, a->ldv};
    if (b->accumulate_dq)
        AXL_TRY(convert(x, &x->dq, true));
    if (b->accumulate_dkv) {
        AXL_TRY(convert(x, &x->dk, true));
        AXL_TRY(convert(x, &x->dv, true));
    }

out:
    return status;
}

// Adds n rows of partial dK and dV (side by side, of a turn's heads) to own rows of a list (NULL: all), or sets
// them.
static axl_status take_grads(const back_pass *x, const axl_ring_turn *t, const int32_t *list,
                             int64_t n, bool set, const void *from)
{
    axl_status status = AXL_OK;
    const axl_device *d = x->x.r->device;
    const axl_attn_args *a = &x->b->fwd;
    axl_rows_args k = {.src = from,
                       .rows = list,
                       .n_rows = n,
                       .cols = (int64_t)t->n_kv * a->head_dim,
                       .ld_src = t->n_kv * x->x.width,
                       .ld_dst = a->ldk,
                       .dtype = AXL_F32,
                       .dst = (float *)x->dk.sum + (int64_t)t->kv0 * a->head_dim};
    axl_rows_args v = k;

    v.src = (const float *)from + k.cols;
    v.cols = (int64_t)t->n_kv * a->v_head_dim;
    v.ld_dst = a->ldv;
    v.dst = (float *)x->dv.sum + (int64_t)t->kv0 * a->v_head_dim;
    if (n == 0)
        goto out;
    AXL_TRY((set ? d->kernels->rows_gather : d->kernels->rows_add)(d->compute, &k));
    AXL_TRY((set ? d->kernels->rows_gather : d->kernels->rows_add)(d->compute, &v));

out:
    return status;
}

// The gradients of turn i: dq is added up here; dk and dv of own keys too, those of others go to a buffer.
static axl_status attend_back(const back_pass *x, int i)
{
    axl_status status = AXL_OK;
    axl_ring *r = x->x.r;
    const axl_device *d = r->device;
    const axl_ring_turn t = turn_of(&x->x, i);
    const axl_attn_args *a = &x->b->fwd;
    const int64_t head0 = (int64_t)t.kv0 * (a->n_heads / a->n_kv_heads);
    const int64_t row = t.n_kv * x->x.width;
    axl_attn_bwd_args b = *x->b;
    float *part = axl_ring_at(r, r->at.dkv_out[i % 2]);
    int64_t n_keys;

    AXL_TRY(meet_keys(&x->x, i, &b.fwd, &n_keys));
    if (n_keys == 0)
        goto out;
    b.dout = at_head(&x->x, b.dout, head0, a->v_head_dim);
    b.delta = (const float *)b.delta + head0 * r->n_rows;
    b.dq = element(x->dq.sum, head0 * a->head_dim, x->dtype);
    b.dk = travels(&t) ? part : x->dk.sum;
    b.dv = travels(&t) ? part + (int64_t)t.n_kv * a->head_dim : x->dv.sum;
    b.dtype_grad = x->dtype;
    b.accumulate_dq = t.opening ? x->accumulate_dq : true;
    b.accumulate_dkv = travels(&t) ? false : x->accumulate_dkv;
    AXL_TRY(d->kernels->attn_bwd(d->compute, &b));
    if (t.own && travels(&t))
        AXL_TRY(take_grads(x, &t, NULL, r->n_rows, !x->accumulate_dkv,
                           part + x->x.plan->in_at[r->rank] * row));

out:
    return status;
}

// Sends the gradients of others' keys in turn i home.
static axl_status post_grads(const back_pass *x, int i)
{
    axl_ring *r = x->x.r;
    const axl_ring_turn t = turn_of(&x->x, i);
    const int64_t row_bytes = t.n_kv * x->x.width * (int64_t)sizeof(float);

    if (!travels(&t))
        return AXL_OK;
    return axl_ring_exchange(r, x->x.plan, &t, true, axl_ring_at(r, r->at.dkv_out[i % 2]),
                             axl_ring_at(r, r->at.dkv_in[i % 2]), row_bytes, &r->dkv_ready[i % 2]);
}

// Adds what others found for own keys in turn i, the nearest rank first.
static axl_status add_grads(const back_pass *x, int i)
{
    axl_status status = AXL_OK;
    axl_ring *r = x->x.r;
    const axl_ring_plan *p = x->x.plan;
    const axl_ring_turn t = turn_of(&x->x, i);
    const float *came = axl_ring_at(r, r->at.dkv_in[i % 2]);

    if (!travels(&t))
        goto out;
    AXL_TRY(axl_ring_await(r, &t, &r->dkv_ready[i % 2]));
    for (int d = t.first; d < t.last; d++) {
        const int dst = rank_after(r, d);
        AXL_TRY(take_grads(x, &t, axl_ring_list(r, p->rows + p->out_at[dst]), p->n_out[dst], false,
                           came + axl_ring_out_at(p, &t, dst) * t.n_kv * x->x.width));
    }

out:
    return status;
}

axl_status axl_ring_backward(axl_ring *r, const axl_attn_bwd_args *b, const axl_ring_sinks *sinks)
{
    axl_status status = AXL_OK;
    const axl_device *d = r->device;
    back_pass x;

    AXL_TRY(begin_back(r, b, &x));
    AXL_TRY(post_keys(&x.x, 0));
    for (int i = 0; i < x.x.n_turns; i++) {
        AXL_TRY(post_keys(&x.x, i + 1));
        AXL_TRY(attend_back(&x, i));
        AXL_TRY(post_grads(&x, i));
        if (i > 0)
            AXL_TRY(add_grads(&x, i - 1)); // they travelled while turn i was computed
    }
    AXL_TRY(add_grads(&x, x.x.n_turns - 1));
    AXL_TRY(convert(&x, &x.dq, false));
    AXL_TRY(convert(&x, &x.dk, false));
    AXL_TRY(convert(&x, &x.dv, false));
    if (sinks != NULL)
        AXL_TRY(d->kernels->attn_sinks_bwd(
            d->compute, &(axl_attn_sinks_bwd_args){.sinks = sinks->sinks,
                                                   .lse = b->fwd.lse,
                                                   .delta = b->delta,
                                                   .n_tokens = r->n_rows,
                                                   .n_heads = b->fwd.n_heads,
                                                   .dtype = b->fwd.dtype,
                                                   .dsinks = sinks->dsinks,
                                                   .accumulate = sinks->accumulate}));

out:
    return status;
}
