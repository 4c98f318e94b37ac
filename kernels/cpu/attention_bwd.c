// Attention backward: five products a (block of keys, block of queries) pair, each pair once.
//
// The hard part is that a pair adds to dk, dv (of its keys) and to dq (of its queries), and that sums may
// not depend on threads. Pairs are done in rounds: in round r the key block b meets the query block
// (b' + r) mod n, where b' is different for every b. So within a round no two pairs share a sum, all pairs
// of a round may run at once, and the rounds give each sum its order.
// Sums are f32. They are the outputs themselves when those are f32, else they need room in the workspace;
// when that is too small each pair is done twice, once for dq and once for dk and dv, with sums in a tile.
// Dao 2023, arXiv:2307.08691.
#include "kernels/cpu/attention_tile.h"

// A thread's buffers; all f32.
typedef struct bwd_scratch {
    attn_rows rows;
    float *q, *qt;          // [ATTN_ROWS][dp] unscaled, [dp][ATTN_ROWS] scaled
    float *dout, *doutt;    // [ATTN_ROWS][dvp], [dvp][ATTN_ROWS]
    float *k_room, *v_room; // [ATTN_KEYS][dp], [ATTN_KEYS][dvp]
    attn_tile k, v;         // the keys at hand
    float *p, *ds;          // [ATTN_KEYS][ATTN_ROWS]
    float *dq;              // [ATTN_ROWS][dp] what a pair gives, before it is added to the sums
    float *dk, *dv;         // [ATTN_KEYS][dp], [ATTN_KEYS][dvp] likewise
    float *lse, *delta;     // [ATTN_ROWS]; lse base 2
} bwd_scratch;

// Where a gradient is summed: row t, head h at sum + t * ld + h * width.
typedef struct grad_sum {
    float *sum;
    int64_t ld, width;
} grad_sum;

typedef struct bwd_job {
    const axl_attn_bwd_args *args;
    const axl_attn_args *a; // its forward arguments
    attn_dims m;
    grad_sum dq, dk, dv;
    bool want_dq, want_dkv;
    bool in_scratch; // pairs add up in the scratch's dq, dk, dv and nowhere else
} bwd_job;

static int64_t scratch_floats(const attn_dims *m)
{
    const int64_t n = ATTN_ROWS * (3 * m->dp + 2 * m->dvp + 2) +
                      ATTN_KEYS * (2 * m->dp + 2 * m->dvp + 2 * ATTN_ROWS);

    return (n + 15) / 16 * 16;
}

static void scratch_init(const attn_dims *m, float *at, bwd_scratch *w)
{
    w->q = at;
    w->qt = w->q + ATTN_ROWS * m->dp;
    w->dout = w->qt + ATTN_ROWS * m->dp;
    w->doutt = w->dout + ATTN_ROWS * m->dvp;
    w->k_room = w->doutt + ATTN_ROWS * m->dvp;
    w->v_room = w->k_room + ATTN_KEYS * m->dp;
    w->p = w->v_room + ATTN_KEYS * m->dvp;
    w->ds = w->p + ATTN_KEYS * ATTN_ROWS;
    w->dq = w->ds + ATTN_KEYS * ATTN_ROWS;
    w->dk = w->dq + ATTN_ROWS * m->dp;
    w->dv = w->dk + ATTN_KEYS * m->dp;
    w->lse = w->dv + ATTN_KEYS * m->dvp;
    w->delta = w->lse + ATTN_ROWS;
}

// p = 2^(score - lse) and ds = p (dp - delta) for the keys begin .. end of a strip; 0 for the other keys.
static void strip_gradients(const bwd_job *job, bwd_scratch *w, int64_t strip, int64_t key0,
                            int64_t n, int64_t begin, int64_t end)
{
    const attn_dims *m = &job->m;
    const int64_t lane = strip * ATTN_LANES;
    const float cap = job->a->softcap;

    for (int64_t j = 0; j < n; j++)
        if (j < begin || j >= end) {
            memset(w->p + j * ATTN_ROWS + lane, 0, ATTN_LANES * sizeof(float));
            memset(w->ds + j * ATTN_ROWS + lane, 0, ATTN_LANES * sizeof(float));
        }
    if (begin >= end)
        return;
    AXL_CPU(attn_scores)
    (&(attn_score_args){job->a, &w->rows, strip, key0, begin, end, w->qt, w->k, w->p + lane, m->dp,
                        ATTN_ROWS});
    AXL_CPU(mm_rows)
    (&(mm_args){.m = end - begin,
                .n = ATTN_LANES,
                .k = m->dvp,
                .a = w->v.p + begin * w->v.ld,
                .step_m = w->v.ld,
                .b = w->doutt + lane,
                .ldb = ATTN_ROWS,
                .c = w->ds + begin * ATTN_ROWS + lane,
                .ldc = ATTN_ROWS});
    for (int64_t v = lane; v < lane + ATTN_LANES; v += VF) {
        const vf lse = vf_load_f32(w->lse + v), delta = vf_load_f32(w->delta + v);
        for (int64_t j = begin; j < end; j++) {
            float *p_at = w->p + j * ATTN_ROWS + v, *ds_at = w->ds + j * ATTN_ROWS + v;
            const vf score = vf_load_f32(p_at);
            const vf p = vf_exp2(score - lse);
            vf ds = p * (vf_load_f32(ds_at) - delta);
            if (cap >
                0.0f) { // the derivative of cap tanh(x / cap); p is 0 where the score is masked
                vf u = vf_max(score, vf_set(-cap * ATTN_LOG2E)) / (cap * ATTN_LOG2E);
                ds *= 1.0f - u * u;
            }
            vf_store_f32(p_at, p);
            vf_store_f32(ds_at, ds);
        }
    }
}

// Adds factor * tile[n][padded] to n rows of keys.
static void add_keys(const grad_sum *g, int64_t token, int64_t head, const float *tile, int64_t n,
                     int64_t padded, float factor)
{
    for (int64_t j = 0; j < n; j++) {
        float *to = g->sum + (token + j) * g->ld + head * g->width;
        for (int64_t c = 0; c < g->width; c += VF) {
            const int64_t k = min64(VF, g->width - c);
            vf x = vf_load_f32(tile + j * padded + c);
            vf_store_n(to, c, vf_fma(x, vf_set(factor), vf_load_n(to, c, k, false)), k, false);
        }
    }
}

// out[keys][padded] (+)= x[keys][rows] y[rows][padded]: a few keys at a time, and of the rows only the
// strips that see any of them.
static void product_by_keys(const attn_rows *r, const float *x, const float *y, int64_t key0,
                            int64_t n, int64_t padded, bool add, float *out)
{
    for (int64_t j = 0; j < n; j += 2 * MM_ROWS) {
        const int64_t end = min64(n, j + 2 * MM_ROWS);
        int64_t s0 = 0, s1 = r->n_strips;
        while (s0 < s1 && r->strips[s0].last <= key0 + j)
            s0++;
        while (s1 > s0 && r->strips[s1 - 1].first >= key0 + end)
            s1--;
        AXL_CPU(mm_rows)
        (&(mm_args){.m = end - j,
                    .n = padded,
                    .k = (s1 - s0) * ATTN_LANES,
                    .a = x + j * ATTN_ROWS + s0 * ATTN_LANES,
                    .step_m = ATTN_ROWS,
                    .b = y + s0 * ATTN_LANES * padded,
                    .ldb = padded,
                    .c = out + j * padded,
                    .ldc = padded,
                    .add = add});
    }
}

static void add_dq(const bwd_job *job, bwd_scratch *w, int64_t strip, int64_t begin, int64_t end)
{
    const attn_dims *m = &job->m;
    const attn_rows *r = &w->rows;
    const int64_t lane = strip * ATTN_LANES;

    AXL_CPU(mm_columns)
    (&(mm_args){.m = ATTN_LANES,
                .n = m->dp,
                .k = end - begin,
                .a = w->ds + begin * ATTN_ROWS + lane,
                .step_k = ATTN_ROWS,
                .b = w->k.p + begin * w->k.ld,
                .ldb = w->k.ld,
                .c = w->dq + lane * m->dp,
                .ldc = m->dp,
                .add = job->in_scratch});
    for (int64_t i = lane; i < min64(r->n, lane + ATTN_LANES) && !job->in_scratch; i++)
        add_keys(&job->dq, attn_token(job->a, m, r, i), attn_head(m, r, i), w->dq + i * m->dp, 1,
                 m->dp, job->a->scale);
}

static void load_queries(const bwd_job *job, bwd_scratch *w)
{
    const axl_attn_args *a = job->a;
    const attn_dims *m = &job->m;
    attn_rows *r = &w->rows;
    const int64_t padded_rows = r->n_strips * ATTN_LANES;
    const float scale = a->softcap > 0.0f ? a->scale : a->scale * ATTN_LOG2E;

    AXL_CPU(attn_gather)(a, m, r, a->q, a->ldq, m->d, 1.0f, w->q, m->dp);
    AXL_CPU(attn_transpose)(w->q, padded_rows, m->dp, w->qt);
    for (int64_t c = 0; c < m->dp; c++)
        for (int64_t i = 0; i < padded_rows; i += VF)
            vf_store_f32(w->qt + c * ATTN_ROWS + i, scale * vf_load_f32(w->qt + c * ATTN_ROWS + i));
    AXL_CPU(attn_gather)(a, m, r, job->args->dout, a->ldo, m->dv, 1.0f, w->dout, m->dvp);
    AXL_CPU(attn_transpose)(w->dout, padded_rows, m->dvp, w->doutt);
    for (int64_t i = 0; i < padded_rows; i++) {
        const int64_t at = attn_head(m, r, i) * m->n_q + attn_token(a, m, r, i);
        const float lse = i < r->n ? ((const float *)a->lse)[at] : -INFINITY;
        // A row without keys has p = 0 for every key it does not see.
        w->lse[i] = lse == -INFINITY ? 1e30f : lse * ATTN_LOG2E;
        w->delta[i] = i < r->n ? ((const float *)job->args->delta)[at] : 0.0f;
    }
}

static void load_keys(const bwd_job *job, bwd_scratch *w, const attn_item *keys, int64_t n)
{
    const axl_attn_args *a = job->a;
    const attn_dims *m = &job->m;
    const int64_t at = a->cu_seqlens_k[keys->seq] + keys->block * ATTN_KEYS;

    w->k = AXL_CPU(attn_tile_of)(a->k, a->ldk, at, n, keys->head_kv, m->d, m->bf16, w->k_room);
    w->v = AXL_CPU(attn_tile_of)(a->v, a->ldv, at, n, keys->head_kv, m->dv, m->bf16, w->v_room);
}

// Whether a row of the block sees a key of key0 .. key0 + n.
static bool pair_sees(const attn_rows *r, int64_t key0, int64_t n)
{
    for (int64_t s = 0; s < r->n_strips; s++)
        if (r->strips[s].first < key0 + n && r->strips[s].last > key0)
            return true;
    return false;
}

// One (key block, query block) pair.
static void do_pair(const bwd_job *job, bwd_scratch *w, const attn_item *keys, int64_t query_block)
{
    const attn_dims *m = &job->m;
    const axl_attn_args *a = job->a;
    const int64_t key0 = keys->block * ATTN_KEYS;
    const int64_t n = min64(ATTN_KEYS, attn_n_keys(a, keys->seq) - key0);
    const int64_t token = a->cu_seqlens_k[keys->seq] + key0;
    attn_rows *r = &w->rows;

    AXL_CPU(attn_rows_init)(a, m, keys->seq, keys->head_kv, query_block, r);
    if (!pair_sees(r, key0, n))
        return;
    load_queries(job, w);
    load_keys(job, w, keys, n);
    for (int64_t s = 0; s < r->n_strips; s++) {
        const int64_t begin = max64(0, r->strips[s].first - key0);
        const int64_t end = min64(n, r->strips[s].last - key0);
        strip_gradients(job, w, s, key0, n, begin, end);
        if (job->want_dq && begin < end)
            add_dq(job, w, s, begin, end);
    }
    if (!job->want_dkv)
        return;
    product_by_keys(r, w->p, w->dout, key0, n, m->dvp, job->in_scratch, w->dv);
    product_by_keys(r, w->ds, w->q, key0, n, m->dp, job->in_scratch, w->dk);
    if (job->in_scratch)
        return;
    add_keys(&job->dv, token, keys->head_kv, w->dv, n, m->dvp, 1.0f);
    add_keys(&job->dk, token, keys->head_kv, w->dk, n, m->dp, a->scale);
}

static int64_t blocks_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

// All pairs, once each, in rounds.
static void run_rounds(const bwd_job *job, const attn_plan *plan, int64_t floats)
{
    const axl_attn_args *a = job->a;
    int64_t n_rounds = 0;

    for (int64_t i = 0; i < a->n_seqs; i++) {
        const int64_t nq = blocks_of(attn_n_rows(a, &job->m, i), ATTN_ROWS);
        n_rounds = max64(n_rounds, max64(nq, blocks_of(attn_n_keys(a, i), ATTN_KEYS)));
    }
#pragma omp parallel num_threads(plan->n_threads)
    {
        bwd_scratch w;
        scratch_init(&job->m, plan->scratch + omp_get_thread_num() * floats, &w);
        for (int64_t round = 0; round < n_rounds; round++) {
#pragma omp for schedule(dynamic, 1)
            for (int64_t i = 0; i < plan->n_items; i++) {
                const attn_item item = AXL_CPU(attn_plan_item)(plan, i);
                const int64_t nk = blocks_of(attn_n_keys(a, item.seq), ATTN_KEYS);
                const int64_t nq = blocks_of(attn_n_rows(a, &job->m, item.seq), ATTN_ROWS);
                const int64_t n = max64(nq, nk), own = nq > nk ? item.block * nq / nk : item.block;
                const int64_t query_block = (own + round) % n;
                if (round < n && query_block < nq)
                    do_pair(job, &w, &item, query_block);
            }
        }
    }
}

// --- outputs that are not f32, and outputs to be overwritten ---------------------------------------

// An output of n_rows rows of n_heads * width elements.
typedef struct grad_out {
    void *p;
    int64_t n_rows, n, ld; // n elements of a row
    bool accumulate;
} grad_out;

static void zero_rows(axl_stream *s, float *p, int64_t n_rows, int64_t n, int64_t ld)
{
    AXL_PARALLEL_FOR(s, n_rows * n)
    for (int64_t t = 0; t < n_rows; t++)
        memset(p + t * ld, 0, (size_t)n * sizeof *p);
}

static void round_rows(axl_stream *s, const grad_out *out, const float *sum)
{
    AXL_PARALLEL_FOR(s, out->n_rows * out->n)
    for (int64_t t = 0; t < out->n_rows; t++)
        for (int64_t c = 0; c < out->n; c += VF) {
            const int64_t k = min64(VF, out->n - c);
            vf x = vf_load_n(sum, t * out->n + c, k, false);
            if (out->accumulate)
                x += vf_load_n(out->p, t * out->ld + c, k, true);
            vf_store_n(out->p, t * out->ld + c, x, k, true);
        }
}

// Rounds factor * x[width] to an output's row t, head h.
static void put_row(const grad_out *out, int64_t t, int64_t h, const float *x, int64_t width,
                    float factor)
{
    for (int64_t c = 0; c < width; c += VF) {
        const int64_t k = min64(VF, width - c), at = t * out->ld + h * width + c;
        vf y = factor * vf_load_f32(x + c);
        if (out->accumulate)
            y += vf_load_n(out->p, at, k, true);
        vf_store_n(out->p, at, y, k, true);
    }
}

// dk and dv of one block of keys, from all queries.
static void finish_keys(const bwd_job *job, bwd_scratch *w, const attn_item *keys,
                        const grad_out outs[3])
{
    const attn_dims *m = &job->m;
    const int64_t key0 = keys->block * ATTN_KEYS, token = job->a->cu_seqlens_k[keys->seq] + key0;
    const int64_t n = min64(ATTN_KEYS, attn_n_keys(job->a, keys->seq) - key0);
    const int64_t nq = blocks_of(attn_n_rows(job->a, m, keys->seq), ATTN_ROWS);

    memset(w->dk, 0, (size_t)(ATTN_KEYS * m->dp) * sizeof(float));
    memset(w->dv, 0, (size_t)(ATTN_KEYS * m->dvp) * sizeof(float));
    for (int64_t q = 0; q < nq; q++)
        do_pair(job, w, keys, q);
    for (int64_t j = 0; j < n; j++) {
        put_row(&outs[1], token + j, keys->head_kv, w->dk + j * m->dp, m->d, job->a->scale);
        put_row(&outs[2], token + j, keys->head_kv, w->dv + j * m->dvp, m->dv, 1.0f);
    }
}

// dq of one block of queries, from all keys.
static void finish_queries(const bwd_job *job, bwd_scratch *w, const attn_item *queries,
                           const grad_out outs[3])
{
    const attn_dims *m = &job->m;
    attn_item keys = *queries;
    const int64_t nk = blocks_of(attn_n_keys(job->a, keys.seq), ATTN_KEYS);

    memset(w->dq, 0, (size_t)(ATTN_ROWS * m->dp) * sizeof(float));
    for (keys.block = 0; keys.block < nk; keys.block++)
        do_pair(job, w, &keys, queries->block);
    AXL_CPU(attn_rows_init)(job->a, m, queries->seq, queries->head_kv, queries->block, &w->rows);
    for (int64_t i = 0; i < w->rows.n; i++)
        put_row(&outs[0], attn_token(job->a, m, &w->rows, i), attn_head(m, &w->rows, i),
                w->dq + i * m->dp, m->d, job->a->scale);
}

// Every pair twice, the sums of a block in its thread's scratch.
static axl_status run_twice(bwd_job job, axl_stream *s, int64_t floats, const grad_out outs[3])
{
    axl_status status = AXL_OK;
    attn_plan plan;

    job.in_scratch = true;
    for (int pass = 0; pass < 2; pass++) {
        job.want_dkv = pass == 0;
        job.want_dq = pass == 1;
        AXL_TRY(AXL_CPU(attn_plan_init)(s, job.a, &job.m, job.want_dkv, floats, &plan));
#pragma omp parallel num_threads(plan.n_threads)
        {
            bwd_scratch w;
            scratch_init(&job.m, plan.scratch + omp_get_thread_num() * floats, &w);
#pragma omp for schedule(dynamic, 1)
            for (int64_t i = 0; i < plan.n_items; i++) {
                const attn_item item = AXL_CPU(attn_plan_item)(&plan, i);
                if (job.want_dkv)
                    finish_keys(&job, &w, &item, outs);
                else
                    finish_queries(&job, &w, &item, outs);
            }
        }
    }

out:
    return status;
}

axl_status AXL_CPU(attn_bwd)(axl_stream *s, const axl_attn_bwd_args *args)
{
    const axl_attn_args *a = &args->fwd;
    bwd_job job = {.args = args, .a = a, .m = attn_dims_of(a), .want_dq = true, .want_dkv = true};
    const int64_t floats = scratch_floats(&job.m), n_k = a->cu_seqlens_k[a->n_seqs];
    const int64_t heads[3] = {a->n_heads, a->n_kv_heads, a->n_kv_heads};
    const int64_t widths[3] = {job.m.d, job.m.d, job.m.dv};
    const grad_out outs[3] = {
        {args->dq, job.m.n_q, heads[0] * widths[0], a->ldq, args->accumulate_dq},
        {args->dk, n_k, heads[1] * widths[1], a->ldk, args->accumulate_dkv},
        {args->dv, n_k, heads[2] * widths[2], a->ldv, args->accumulate_dkv},
    };
    grad_sum *sums[3] = {&job.dq, &job.dk, &job.dv};
    const bool direct = args->dtype_grad == AXL_F32;
    attn_plan plan;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.attn_bwd(s, args);
    axl_status status = AXL_CPU(attn_plan_init)(s, a, &job.m, true, floats, &plan);
    if (status != AXL_OK)
        return status;
    int64_t used = 0;
    for (int i = 0; i < 3; i++) {
        const int64_t ld = direct ? outs[i].ld : outs[i].n;
        *sums[i] = (grad_sum){direct ? outs[i].p : plan.rest + used, ld, widths[i]};
        used += direct ? 0 : (outs[i].n_rows * outs[i].n + 15) / 16 * 16;
    }
    if (used > plan.rest_floats)
        return run_twice(job, s, floats, outs);
    for (int i = 0; i < 3; i++)
        if (!direct || !outs[i].accumulate)
            zero_rows(s, sums[i]->sum, outs[i].n_rows, outs[i].n, sums[i]->ld);
    run_rounds(&job, &plan, floats);
    for (int i = 0; i < 3 && !direct; i++)
        round_rows(s, &outs[i], sums[i]->sum);
    return AXL_OK;
}
