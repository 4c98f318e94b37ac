// Attention forward: tiles of keys pass by a block of queries, the softmax is kept running.
// Dao 2023, arXiv:2307.08691; the running softmax is of Milakov & Gimelshein 2018, arXiv:1805.02867.
#include "kernels/cpu/attention_low.h"

// A thread's buffers; all f32.
typedef struct fwd_scratch {
    const attn_low *low; // how numbers are rounded first; borrowed
    attn_rows rows;
    float *q;               // [ATTN_ROWS][dp], then the running output [ATTN_ROWS][dvp]
    float *qt;              // [dp][ATTN_ROWS]
    float *k_room, *v_room; // [ATTN_KEYS][dp], [ATTN_KEYS][dvp]
    attn_tile k, v;         // the tile at hand
    float *s;               // [ATTN_KEYS][ATTN_LANES]
    float *top;             // [ATTN_ROWS] running maximum, base 2
    float *sum;             // [ATTN_ROWS] running sum of 2^(score - top)
    bool started[ATTN_STRIPS];
} fwd_scratch;

static int64_t scratch_floats(const attn_dims *m)
{
    const int64_t wide = max64(m->dp, m->dvp);

    return ATTN_ROWS * (wide + m->dp + 2) + ATTN_KEYS * (m->dp + m->dvp + ATTN_LANES);
}

static void scratch_init(const attn_dims *m, float *at, fwd_scratch *w)
{
    w->q = at;
    w->qt = w->q + ATTN_ROWS * max64(m->dp, m->dvp);
    w->k_room = w->qt + ATTN_ROWS * m->dp;
    w->v_room = w->k_room + ATTN_KEYS * m->dp;
    w->s = w->v_room + ATTN_KEYS * m->dvp;
    w->top = w->s + ATTN_KEYS * ATTN_LANES;
    w->sum = w->top + ATTN_ROWS;
}

// Turns the scores of one vector of rows into 2^(score - top); keep gets the factor of what was summed.
static void softmax_vector(float *s, int64_t n, float *top_at, float *sum_at, float *keep)
{
    vf top = vf_load_f32(top_at), sum = vf_set(0.0f);
    vf new_top = top, other_top = top, other_sum = sum;
    int64_t j = 0;

    for (; j + 2 <= n; j += 2) {
        new_top = vf_max(vf_load_f32(s + j * ATTN_LANES), new_top);
        other_top = vf_max(vf_load_f32(s + (j + 1) * ATTN_LANES), other_top);
    }
    if (j < n)
        new_top = vf_max(vf_load_f32(s + j * ATTN_LANES), new_top);
    new_top = vf_max(other_top, new_top);
    for (j = 0; j + 2 <= n; j += 2) {
        vf p = vf_exp2(vf_load_f32(s + j * ATTN_LANES) - new_top);
        vf q = vf_exp2(vf_load_f32(s + (j + 1) * ATTN_LANES) - new_top);
        vf_store_f32(s + j * ATTN_LANES, p);
        vf_store_f32(s + (j + 1) * ATTN_LANES, q);
        sum += p;
        other_sum += q;
    }
    if (j < n) {
        vf p = vf_exp2(vf_load_f32(s + j * ATTN_LANES) - new_top);
        vf_store_f32(s + j * ATTN_LANES, p);
        sum += p;
    }
    vf factor = vf_exp2(top - new_top);
    vf_store_f32(keep, factor);
    vf_store_f32(sum_at, vf_load_f32(sum_at) * factor + sum + other_sum);
    vf_store_f32(top_at, new_top);
}

static void rescale_rows(float *out, int64_t width, const float *keep)
{
    for (int64_t i = 0; i < ATTN_LANES; i++) {
        if (keep[i] == 1.0f)
            continue;
        for (int64_t c = 0; c < width; c += VF)
            vf_store_f32(out + i * width + c, vf_load_f32(out + i * width + c) * keep[i]);
    }
}

// One strip of queries against keys begin .. end of the tile.
static void attend_strip(const axl_attn_args *a, const attn_dims *m, fwd_scratch *w, int64_t strip,
                         int64_t key0, int64_t begin, int64_t end)
{
    const int64_t lane = strip * ATTN_LANES;
    float *out = w->q + lane * m->dvp;
    float *s = w->s + begin * ATTN_LANES;
    float keep[ATTN_LANES] __attribute__((aligned(64)));

    AXL_CPU(attn_scores)
    (&(attn_score_args){a, &w->rows, strip, key0, begin, end, w->qt, w->k, w->s, m->dp,
                        ATTN_LANES});
    for (int64_t v = 0; v < ATTN_LANES; v += VF)
        softmax_vector(s + v, end - begin, w->top + lane + v, w->sum + lane + v, keep + v);
    if (w->started[strip])
        rescale_rows(out, m->dvp, keep);
    AXL_CPU(attn_low_p)(w->low, s, (end - begin) * ATTN_LANES);
    AXL_CPU(mm_columns)
    (&(mm_args){.m = ATTN_LANES,
                .n = m->dvp,
                .k = end - begin,
                .a = s,
                .step_k = ATTN_LANES,
                .b = w->v.p + begin * w->v.ld,
                .ldb = w->v.ld,
                .c = out,
                .ldc = m->dvp,
                .add = w->started[strip]});
    w->started[strip] = true;
}

// Divides by the sums and writes the block's rows of out and lse.
static void write_rows(const axl_attn_args *a, const attn_dims *m, const fwd_scratch *w)
{
    const attn_rows *r = &w->rows;
    const bool bf16 = m->bf16 && !a->out_f32;

    for (int64_t i = 0; i < r->n; i++) {
        const int64_t t = attn_token(a, m, r, i), h = attn_head(m, r, i);
        const bool any = w->sum[i] > 0.0f || isnan(w->sum[i]); // NaN must not hide
        const vf factor = vf_set(any ? 1.0f / w->sum[i] : 0.0f);
        for (int64_t c = 0; c < m->dv; c += VF) {
            vf y = any ? vf_load_f32(w->q + i * m->dvp + c) * factor : vf_set(0.0f);
            vf_store_n(a->out, t * a->ldo + h * m->dv + c, y, min64(VF, m->dv - c), bf16);
        }
        const float shift = any ? AXL_CPU(attn_low_shift)(w->low, a, m, r, i) : 0.0f;
        ((float *)a->lse)[h * m->n_q + t] =
            any ? (w->top[i] + log2f(w->sum[i])) * ATTN_LN2 + shift : -INFINITY;
    }
}

static void attend_block(const axl_attn_args *a, const attn_dims *m, fwd_scratch *w)
{
    attn_rows *r = &w->rows;
    const int64_t first_key = a->cu_seqlens_k[r->seq];
    const float scale = a->softcap > 0.0f ? a->scale : a->scale * ATTN_LOG2E;
    int64_t first = INT32_MAX, last = 0;

    for (int64_t i = 0; i < r->n_strips * ATTN_LANES; i++) {
        w->top[i] = ATTN_NO_MAX;
        w->sum[i] = 0.0f;
    }
    memset(w->started, 0, sizeof w->started);
    for (int64_t s = 0; s < r->n_strips; s++)
        if (r->strips[s].last > r->strips[s].first) {
            first = min64(first, r->strips[s].first);
            last = max64(last, r->strips[s].last);
        }
    if (first < last) { // with a far chunk of keys many blocks see none
        if (w->low->form == ATTN_EXACT)
            AXL_CPU(attn_gather)(a, m, r, a->q, a->ldq, m->d, scale, w->q, m->dp);
        else
            AXL_CPU(attn_low_q)(w->low, a, m, r, scale, w->q);
        AXL_CPU(attn_transpose)(w->q, r->n_strips * ATTN_LANES, m->dp, w->qt);
    }
    for (int64_t key0 = first / ATTN_KEYS * ATTN_KEYS; key0 < last; key0 += ATTN_KEYS) {
        const int64_t n = min64(ATTN_KEYS, last - key0), at = first_key + key0;
        w->k = AXL_CPU(attn_tile_of)(a->k, a->ldk, at, n, r->head_kv, m->d, m->bf16, w->k_room);
        w->v = AXL_CPU(attn_tile_of)(a->v, a->ldv, at, n, r->head_kv, m->dv, m->bf16, w->v_room);
        if (w->low->form != ATTN_EXACT)
            AXL_CPU(attn_low_tiles)
        (w->low, a, m, r, key0, n, w->k_room, w->v_room, &w->k, &w->v);
        for (int64_t s = 0; s < r->n_strips; s++) {
            const int64_t begin = max64(0, r->strips[s].first - key0);
            const int64_t end = min64(n, r->strips[s].last - key0);
            if (begin < end)
                attend_strip(a, m, w, s, key0, begin, end);
        }
    }
    write_rows(a, m, w);
}

// The scales of a call lie in the workspace behind the threads' buffers.
static axl_status attend(axl_stream *s, const axl_attn_args *a, attn_form form)
{
    axl_status status = AXL_OK;
    const attn_dims m = attn_dims_of(a);
    const int64_t floats = (scratch_floats(&m) + 15) / 16 * 16;
    attn_plan plan;
    attn_low low;

    AXL_TRY(AXL_CPU(attn_plan_init)(s, a, &m, false, floats, &plan));
    AXL_TRY(AXL_CPU(attn_low_init)(s, a, &m, form, plan.rest, plan.rest_floats, &low));
#pragma omp parallel num_threads(plan.n_threads)
    {
        fwd_scratch w = {.low = &low};
        scratch_init(&m, plan.scratch + omp_get_thread_num() * floats, &w);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < plan.n_items; i++) {
            const attn_item item = AXL_CPU(attn_plan_item)(&plan, i);
            AXL_CPU(attn_rows_init)(a, &m, item.seq, item.head_kv, item.block, &w.rows);
            attend_block(a, &m, &w);
        }
    }
out:
    return status;
}

static bool is_fast(const axl_attn_args *a)
{
    return a->dtype == AXL_F32 || a->dtype == AXL_BF16;
}

axl_status AXL_CPU(attn_fwd)(axl_stream *s, const axl_attn_args *a)
{
    return is_fast(a) ? attend(s, a, ATTN_EXACT) : axl_kernels_ref.attn_fwd(s, a);
}

axl_status AXL_CPU(attn_half_fwd)(axl_stream *s, const axl_attn_args *a)
{
    if (a->dtype == AXL_F32) // nothing is rounded
        return attend(s, a, ATTN_EXACT);
    return is_fast(a) ? attend(s, a, ATTN_HALF) : axl_kernels_ref.attn_half_fwd(s, a);
}

axl_status AXL_CPU(attn_sage_fwd)(axl_stream *s, const axl_attn_args *a)
{
    return is_fast(a) ? attend(s, a, ATTN_SAGE) : axl_kernels_ref.attn_sage_fwd(s, a);
}

axl_status AXL_CPU(attn_fp8_fwd)(axl_stream *s, const axl_attn_args *a)
{
    return is_fast(a) ? attend(s, a, ATTN_FP8) : axl_kernels_ref.attn_fp8_fwd(s, a);
}

axl_status AXL_CPU(attn_delta)(axl_stream *s, const axl_attn_delta_args *a)
{
    const bool bf16 = a->dtype == AXL_BF16;
    const int64_t dv = a->v_head_dim;

    if (a->dtype != AXL_F32 && !bf16)
        return axl_kernels_ref.attn_delta(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->n_heads * dv)
    for (int64_t t = 0; t < a->n_tokens; t++)
        for (int64_t h = 0; h < a->n_heads; h++) {
            const int64_t at = t * a->ldo + h * dv;
            vf sum = vf_set(0.0f);
            for (int64_t c = 0; c < dv; c += VF) {
                const int64_t n = min64(VF, dv - c);
                sum = vf_fma(vf_load_n(a->out, at + c, n, bf16),
                             vf_load_n(a->dout, at + c, n, bf16), sum);
            }
            ((float *)a->delta)[h * a->n_tokens + t] = vf_sum(sum);
        }
    return AXL_OK;
}
