// Eager attention: whole rows of scores and probabilities in memory, products of square tiles. Heads are taken one by
// one (a group of one), since the rows of a head lie at one distance from each other in probs.
// Backward goes over the tiles twice: by queries for delta and dq, then by keys for dk and dv, so every sum belongs
// to one thread. It keeps nothing but a tile.
#include "kernels/cpu/attention_tile.h"

#define TILE ATTN_ROWS

// A thread's buffers; all f32.
typedef struct eager_scratch {
    attn_rows rows;
    float *q, *dout;    // [TILE][dp], [TILE][dvp]
    float *k, *v;       // [TILE][dp], [TILE][dvp]
    float *turned;      // [max(dp, dvp)][TILE] k or v by columns
    float *p, *ds;      // [TILE][TILE] by queries
    float *sum, *sum_v; // [TILE][dp], [TILE][dvp]
    float *delta;       // [TILE]
} eager_scratch;

typedef struct eager_job {
    const axl_attn_args *a;
    axl_attn_args heads; // the same with a key head for every head
    attn_dims m, single; // of a, of heads
    float *probs;
    int64_t ld; // from a row of probs to the next
    const axl_attn_eager_bwd_args *back;
    float *delta;
} eager_job;

static int64_t scratch_floats(const attn_dims *m)
{
    return TILE * (3 * m->dp + 3 * m->dvp + max64(m->dp, m->dvp) + 2 * TILE + 16);
}

static void scratch_init(const attn_dims *m, float *at, eager_scratch *w)
{
    w->q = at;
    w->dout = w->q + TILE * m->dp;
    w->k = w->dout + TILE * m->dvp;
    w->v = w->k + TILE * m->dp;
    w->turned = w->v + TILE * m->dvp;
    w->p = w->turned + TILE * max64(m->dp, m->dvp);
    w->ds = w->p + TILE * TILE;
    w->sum = w->ds + TILE * TILE;
    w->sum_v = w->sum + TILE * m->dp;
    w->delta = w->sum_v + TILE * m->dvp;
}

static eager_job job_of(const axl_attn_args *a, const void *probs, int64_t ld)
{
    eager_job job = {.a = a, .heads = *a, .m = attn_dims_of(a), .ld = ld};

    memcpy(&job.probs, &probs, sizeof job.probs); // backward only reads
    job.heads.n_kv_heads = a->n_heads;
    job.single = job.m;
    job.single.group = 1;
    return job;
}

// The probabilities of a block's row i for the keys of its sequence.
AXL_INLINE float *probs_of(const eager_job *job, const attn_rows *r, int64_t i)
{
    const int64_t t = attn_token(&job->heads, &job->single, r, i);

    return job->probs + (t * job->a->n_heads + r->head_kv) * job->ld;
}

// Rows token .. token + n of a key head, copied and padded: whole vectors of zeros behind, too.
static void copy_tile(const eager_job *job, const void *x, int64_t ld, int64_t token, int64_t n,
                      int64_t head, int64_t width, float *dst)
{
    const int64_t padded = (width + VF - 1) / VF * VF, rows = (n + VF - 1) / VF * VF;
    const attn_tile t = AXL_CPU(attn_tile_of)(x, ld, token, n, head, width, job->m.bf16, dst);

    for (int64_t i = 0; i < n && t.p != dst; i++)
        memcpy(dst + i * padded, t.p + i * t.ld, (size_t)padded * sizeof *dst);
    memset(dst + n * padded, 0, (size_t)((rows - n) * padded) * sizeof *dst);
}

// c[rows of the block][n keys] = x[rows][padded] times the tile by columns.
static void scores_of(const eager_job *job, const attn_rows *r, const float *x, const float *turned,
                      int64_t padded, int64_t n, float *c, int64_t ldc)
{
    (void)job;
    AXL_CPU(mm_rows)
    (&(mm_args){.m = r->n,
                .n = (n + VF - 1) / VF * VF,
                .k = padded,
                .a = x,
                .step_m = padded,
                .b = turned,
                .ldb = TILE,
                .c = c,
                .ldc = ldc});
}

static void turn_tile(const float *x, int64_t n, int64_t padded, float *turned)
{
    AXL_CPU(attn_transpose)(x, (n + VF - 1) / VF * VF, padded, turned);
}

// A row of products q . k becomes probabilities; keys outside lo .. hi get 0. Gives the lse.
static float softmax_row(const eager_job *job, float *p, int64_t n, int32_t lo, int32_t hi)
{
    const float cap = job->a->softcap;
    const bool bf16 = job->m.bf16;
    const int64_t end = (n + VF - 1) / VF * VF;
    vf top = vf_set(ATTN_MASKED), sum = vf_set(0.0f);

    for (int64_t j = 0; j < end; j += VF) {
        const vi key = vi_iota() + (int32_t)j;
        vf s = vf_rounded(vf_rounded(vf_load_f32(p + j), bf16) * job->a->scale, bf16);
        if (cap > 0.0f)
            s = vf_rounded(cap * vf_tanh(s / cap), bf16);
        s = vf_select((key >= lo) & (key <= hi), s, vf_set(ATTN_MASKED));
        vf_store_f32(p + j, s);
        top = vf_max(s, top);
    }
    const float most = vf_max_lane(top);
    for (int64_t j = 0; j < end; j += VF) {
        const vi key = vi_iota() + (int32_t)j;
        vf e = vf_exp(vf_load_f32(p + j) - most);
        e = vf_select((key >= lo) & (key <= hi), e, vf_set(0.0f));
        vf_store_f32(p + j, e);
        sum += e;
    }
    const float total = vf_sum(sum), factor = hi >= lo ? 1.0f / total : 0.0f;
    for (int64_t j = 0; j < end; j += VF)
        vf_store_f32(p + j, vf_load_f32(p + j) * factor);
    return hi >= lo ? most + logf(total) : -INFINITY;
}

// The probabilities of a block for n keys from key0 on, rounded to dtype, to w->p.
static void round_probs(const eager_job *job, eager_scratch *w, int64_t key0, int64_t n)
{
    for (int64_t i = 0; i < w->rows.n; i++) {
        const float *from = probs_of(job, &w->rows, i) + key0;
        for (int64_t j = 0; j < n; j += VF)
            vf_store_f32(w->p + i * TILE + j, vf_rounded(vf_load_f32(from + j), job->m.bf16));
    }
}

// Keys that some row of the block sees, by whole tiles.
static void tiles_seen(const attn_rows *r, int64_t *begin, int64_t *end)
{
    *begin = INT32_MAX;
    *end = 0;
    for (int64_t s = 0; s < r->n_strips; s++)
        if (r->strips[s].last > r->strips[s].first) {
            *begin = min64(*begin, r->strips[s].first / TILE * TILE);
            *end = max64(*end, r->strips[s].last);
        }
}

// [rows][padded] (+)= x[rows][n] tile[n][padded].
static void add_product(const eager_scratch *w, const float *x, const float *tile, int64_t n,
                        int64_t padded, bool add, float *to)
{
    AXL_CPU(mm_rows)
    (&(mm_args){.m = w->rows.n,
                .n = padded,
                .k = n,
                .a = x,
                .step_m = TILE,
                .b = tile,
                .ldb = padded,
                .c = to,
                .ldc = padded,
                .add = add});
}

static void attend_block(const eager_job *job, eager_scratch *w)
{
    const axl_attn_args *a = job->a;
    const attn_dims *m = &job->m;
    const attn_rows *r = &w->rows;
    const int64_t head = r->head_kv, head_kv = head / m->group, n_keys = attn_n_keys(a, r->seq);
    const int64_t token = a->cu_seqlens_k[r->seq];
    int64_t begin, end;

    tiles_seen(r, &begin, &end);
    for (int64_t i = 0; i < r->n; i++) // what no tile below covers
        memset(probs_of(job, r, i), 0, (size_t)((n_keys + VF - 1) / VF * VF) * sizeof(float));
    AXL_CPU(attn_gather)(&job->heads, &job->single, r, a->q, a->ldq, m->d, 1.0f, w->q, m->dp);
    for (int64_t k = begin; k < end; k += TILE) {
        const int64_t n = min64(TILE, n_keys - k);
        copy_tile(job, a->k, a->ldk, token + k, n, head_kv, m->d, w->k);
        turn_tile(w->k, n, m->dp, w->turned);
        scores_of(job, r, w->q, w->turned, m->dp, n, probs_of(job, r, 0) + k, a->n_heads * job->ld);
    }
    for (int64_t i = 0; i < r->n; i++)
        ((float *)a->lse)[head * m->n_q + attn_token(&job->heads, &job->single, r, i)] =
            softmax_row(job, probs_of(job, r, i), n_keys, r->lo[i], r->hi[i]);
    memset(w->sum_v, 0, (size_t)(r->n * m->dvp) * sizeof(float));
    for (int64_t k = begin; k < end; k += TILE) {
        const int64_t n = min64(TILE, n_keys - k);
        copy_tile(job, a->v, a->ldv, token + k, n, head_kv, m->dv, w->v);
        round_probs(job, w, k, n);
        add_product(w, w->p, w->v, n, m->dvp, true, w->sum_v);
    }
    for (int64_t i = 0; i < r->n; i++)
        for (int64_t c = 0; c < m->dv; c += VF)
            vf_store_n(a->out,
                       attn_token(&job->heads, &job->single, r, i) * a->ldo + head * m->dv + c,
                       vf_load_f32(w->sum_v + i * m->dvp + c), min64(VF, m->dv - c), m->bf16);
}

axl_status AXL_CPU(attn_eager_fwd)(axl_stream *s, const axl_attn_eager_args *e)
{
    const eager_job job = job_of(&e->fwd, e->probs, e->ld_probs);
    const int64_t floats = scratch_floats(&job.m);
    attn_plan plan;

    if (e->fwd.dtype != AXL_F32 && e->fwd.dtype != AXL_BF16)
        return axl_kernels_ref.attn_eager_fwd(s, e);
    axl_status status = AXL_CPU(attn_plan_init)(s, &job.heads, &job.single, false, floats, &plan);
    if (status != AXL_OK)
        return status;
#pragma omp parallel num_threads(plan.n_threads)
    {
        eager_scratch w;
        scratch_init(&job.m, plan.scratch + omp_get_thread_num() * floats, &w);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < plan.n_items; i++) {
            const attn_item item = AXL_CPU(attn_plan_item)(&plan, i);
            AXL_CPU(attn_rows_init)
            (&job.heads, &job.single, item.seq, item.head_kv, item.block, &w.rows);
            attend_block(&job, &w);
        }
    }
    return AXL_OK;
}

// ---- backward

// dp = r(dout . v) of a block for n keys whose values lie in w->turned, to w->ds.
static void gradient_of_probs(const eager_job *job, eager_scratch *w, int64_t n)
{
    scores_of(job, &w->rows, w->dout, w->turned, job->m.dvp, n, w->ds, TILE);
    for (int64_t i = 0; i < w->rows.n && job->m.bf16; i++)
        for (int64_t j = 0; j < n; j += VF)
            vf_store_f32(w->ds + i * TILE + j, vf_rounded(vf_load_f32(w->ds + i * TILE + j), true));
}

static void load_values(const eager_job *job, eager_scratch *w, int64_t key0, int64_t n,
                        int64_t head_kv)
{
    const axl_attn_args *a = job->a;
    const int64_t token = a->cu_seqlens_k[w->rows.seq] + key0;

    copy_tile(job, a->v, a->ldv, token, n, head_kv, job->m.dv, w->v);
    turn_tile(w->v, n, job->m.dvp, w->turned);
}

static void load_douts(const eager_job *job, eager_scratch *w)
{
    AXL_CPU(attn_gather)
    (&job->heads, &job->single, &w->rows, job->back->bwd.dout, job->a->ldo, job->m.dv, 1.0f,
     w->dout, job->m.dvp);
}

// w->ds from dp to the gradient by r(q . k); what lies beyond n keys becomes 0.
static void gradient_of_scores(const eager_job *job, eager_scratch *w, int64_t key0, int64_t n)
{
    const float cap = job->a->softcap, scale = job->a->scale;
    const bool bf16 = job->m.bf16;

    for (int64_t i = 0; i < w->rows.n; i++) {
        const float *p_at = probs_of(job, &w->rows, i) + key0;
        const int64_t t = attn_token(&job->heads, &job->single, &w->rows, i);
        const float lse = ((const float *)job->a->lse)[w->rows.head_kv * job->m.n_q + t];
        const float delta = w->delta[i];
        for (int64_t j = 0; j < n; j += VF) {
            const vf p = vf_load_f32(p_at + j);
            vf ds = vf_rounded(p * (vf_load_f32(w->ds + i * TILE + j) - delta), bf16);
            if (cap > 0.0f)
                for (int64_t l = 0; l < VF; l++) {
                    const float u = p[l] > 0.0f ? (logf(p[l]) + lse) / cap : 0.0f;
                    ds[l] = ds[l] * (1.0f - u * u);
                }
            ds = vf_rounded(vf_rounded(ds, bf16) * scale, bf16);
            vf_store_f32(w->ds + i * TILE + j, ds);
        }
    }
}

static void put_rows(void *p, int64_t at, const float *x, int64_t width, bool bf16, bool add)
{
    for (int64_t c = 0; c < width; c += VF) {
        const int64_t n = min64(VF, width - c);
        vf y = vf_load_f32(x + c);
        if (add)
            y += vf_load_n(p, at + c, n, bf16);
        vf_store_n(p, at + c, y, n, bf16);
    }
}

// delta and dq of a block.
static void back_block(const eager_job *job, eager_scratch *w)
{
    const axl_attn_args *a = job->a;
    const axl_attn_bwd_args *b = &job->back->bwd;
    const attn_dims *m = &job->m;
    const attn_rows *r = &w->rows;
    const int64_t head_kv = r->head_kv / m->group, n_keys = attn_n_keys(a, r->seq);
    int64_t begin, end;

    tiles_seen(r, &begin, &end);
    load_douts(job, w);
    memset(w->delta, 0, TILE * sizeof *w->delta);
    memset(w->sum, 0, (size_t)(TILE * m->dp) * sizeof *w->sum);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = begin; k < end; k += TILE) {
            const int64_t n = min64(TILE, n_keys - k);
            load_values(job, w, k, n, head_kv);
            gradient_of_probs(job, w, n);
            for (int64_t i = 0; i < r->n && pass == 0; i++) {
                vf sum = vf_set(0.0f);
                for (int64_t j = 0; j < n; j += VF)
                    sum = vf_fma(vf_load_f32(probs_of(job, r, i) + k + j),
                                 vf_load_f32(w->ds + i * TILE + j), sum);
                w->delta[i] += vf_sum(sum);
            }
            if (pass == 0)
                continue;
            gradient_of_scores(job, w, k, n);
            copy_tile(job, a->k, a->ldk, a->cu_seqlens_k[r->seq] + k, n, head_kv, m->d, w->k);
            add_product(w, w->ds, w->k, n, m->dp, true, w->sum);
        }
    for (int64_t i = 0; i < r->n; i++) {
        const int64_t t = attn_token(&job->heads, &job->single, r, i);
        job->delta[r->head_kv * m->n_q + t] = w->delta[i];
        put_rows(b->dq, t * a->ldq + r->head_kv * m->d, w->sum + i * m->dp, m->d,
                 b->dtype_grad == AXL_BF16, b->accumulate_dq);
    }
}

// [n keys][padded] += x[rows][keys] transposed times y[rows][padded].
static void add_by_keys(const eager_scratch *w, const float *x, const float *y, int64_t n,
                        int64_t padded, float *to)
{
    AXL_CPU(mm_columns)
    (&(mm_args){.m = n,
                .n = padded,
                .k = w->rows.n,
                .a = x,
                .step_m = 1,
                .step_k = TILE,
                .b = y,
                .ldb = padded,
                .c = to,
                .ldc = padded,
                .add = true});
}

// dk and dv of a tile of keys of a key head, from all queries of the heads that share it.
static void back_keys(const eager_job *job, eager_scratch *w, int64_t seq, int64_t head_kv,
                      int64_t key0)
{
    const axl_attn_args *a = job->a;
    const axl_attn_bwd_args *b = &job->back->bwd;
    const attn_dims *m = &job->m;
    const int64_t n = min64(TILE, attn_n_keys(a, seq) - key0), token = a->cu_seqlens_k[seq] + key0;
    const int64_t blocks = (attn_n_rows(&job->heads, &job->single, seq) + TILE - 1) / TILE;
    const bool bf16 = b->dtype_grad == AXL_BF16;

    memset(w->sum, 0, (size_t)(TILE * m->dp) * sizeof *w->sum);
    memset(w->sum_v, 0, (size_t)(TILE * m->dvp) * sizeof *w->sum_v);
    w->rows.seq = seq;
    load_values(job, w, key0, n, head_kv);
    for (int64_t i = 0; i < m->group * blocks; i++) {
        const int64_t head = head_kv * m->group + i / blocks;
        int64_t begin, end;
        AXL_CPU(attn_rows_init)(&job->heads, &job->single, seq, head, i % blocks, &w->rows);
        tiles_seen(&w->rows, &begin, &end);
        if (begin >= key0 + n || end <= key0)
            continue;
        load_douts(job, w);
        AXL_CPU(attn_gather)
        (&job->heads, &job->single, &w->rows, a->q, a->ldq, m->d, 1.0f, w->q, m->dp);
        memcpy(w->delta,
               job->delta + head * m->n_q + attn_token(&job->heads, &job->single, &w->rows, 0),
               (size_t)w->rows.n * sizeof *w->delta);
        gradient_of_probs(job, w, n);
        gradient_of_scores(job, w, key0, n);
        round_probs(job, w, key0, n);
        add_by_keys(w, w->p, w->dout, n, m->dvp, w->sum_v);
        add_by_keys(w, w->ds, w->q, n, m->dp, w->sum);
    }
    for (int64_t j = 0; j < n; j++) {
        put_rows(b->dk, (token + j) * a->ldk + head_kv * m->d, w->sum + j * m->dp, m->d, bf16,
                 b->accumulate_dkv);
        put_rows(b->dv, (token + j) * a->ldv + head_kv * m->dv, w->sum_v + j * m->dvp, m->dv, bf16,
                 b->accumulate_dkv);
    }
}

// Tiles of keys of all sequences, then the one at place i of them.
static int64_t n_key_tiles(const axl_attn_args *a)
{
    int64_t n = 0;

    for (int64_t i = 0; i < a->n_seqs; i++)
        n += (attn_n_keys(a, i) + TILE - 1) / TILE;
    return n;
}

static int64_t find_key_tile(const axl_attn_args *a, int64_t *place)
{
    int64_t seq = 0;

    while (*place >= (attn_n_keys(a, seq) + TILE - 1) / TILE) {
        *place -= (attn_n_keys(a, seq) + TILE - 1) / TILE;
        seq++;
    }
    return seq;
}

axl_status AXL_CPU(attn_eager_bwd)(axl_stream *s, const axl_attn_eager_bwd_args *e)
{
    const axl_attn_args *a = &e->bwd.fwd;
    eager_job job = job_of(a, e->probs, e->ld_probs);
    const int64_t floats = scratch_floats(&job.m), tiles = n_key_tiles(a);
    attn_plan plan;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.attn_eager_bwd(s, e);
    job.back = e;
    job.delta = e->delta;
    axl_status status = AXL_CPU(attn_plan_init)(s, &job.heads, &job.single, false, floats, &plan);
    if (status != AXL_OK)
        return status;
#pragma omp parallel num_threads(plan.n_threads)
    {
        eager_scratch w;
        scratch_init(&job.m, plan.scratch + omp_get_thread_num() * floats, &w);
#pragma omp for schedule(dynamic, 1) // waits at its end: delta is whole before it is read
        for (int64_t i = 0; i < plan.n_items; i++) {
            const attn_item item = AXL_CPU(attn_plan_item)(&plan, i);
            AXL_CPU(attn_rows_init)
            (&job.heads, &job.single, item.seq, item.head_kv, item.block, &w.rows);
            back_block(&job, &w);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tiles * a->n_kv_heads; i++) {
            int64_t place = i / a->n_kv_heads;
            const int64_t seq = find_key_tile(a, &place);
            back_keys(&job, &w, seq, i % a->n_kv_heads, place * TILE);
        }
    }
    return AXL_OK;
}
