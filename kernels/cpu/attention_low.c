// Scales and rounding of attention's tiles. Means, scales and quotients are made by the same operations as in ref, so
// both round to the same integers.
#include "kernels/cpu/attention_low.h"

#include "kernels/low.h"

// axl_low_round for a vector.
AXL_INLINE vf low_round(vf x, axl_low_format f)
{
    const vi bits = (vi)x;
    const vi odd = (bits >> f.drop) & 1;
    const vf normal = (vf)((bits + ((1 << (f.drop - 1)) - 1) + odd) & ~((1 << f.drop) - 1));
    const vf small = (x + f.magic) - f.magic;
    const vf y = vf_select(vf_abs(x) < f.least, small, normal);

    // NaN stands second: the processor gives it on
    return vf_min(vf_set(f.most), vf_max(vf_set(-f.most), y));
}

AXL_INLINE int64_t place_of(const int32_t *cu, int64_t seq, int64_t block, int64_t size)
{
    return cu[seq] / size + seq + block;
}

AXL_INLINE int64_t n_places(const int32_t *cu, int64_t n_seqs, int64_t size)
{
    return cu[n_seqs] / size + n_seqs + 1;
}

// The largest magnitude in rows begin .. end of x less mean (NULL: none), width elements each from `at` on.
static float most_of(const void *x, int64_t ld, int64_t begin, int64_t end, int64_t at,
                     int64_t width, const float *mean, bool bf16)
{
    vf most = vf_set(0.0f);

    for (int64_t t = begin; t < end; t++)
        for (int64_t c = 0; c < width; c += VF) {
            const int64_t n = min64(VF, width - c);
            vf y = vf_load_n(x, t * ld + at + c, n, bf16);
            if (mean != NULL)
                y -= vf_load_n(mean, c, n, false);
            most = vf_max(vf_abs(y), most);
        }
    return vf_max_lane(most);
}

// Means and scales of the keys of one sequence and key head. Sums run over the keys in order, as in ref.
static void sage_keys(const attn_low *low, const axl_attn_args *a, const attn_dims *m, int64_t seq,
                      int64_t head)
{
    const int64_t begin = a->cu_seqlens_k[seq], n = attn_n_keys(a, seq), at = head * m->d;
    float *mean = low->mean + (seq * a->n_kv_heads + head) * m->dp;

    for (int64_t c = 0; c < m->d; c += VF) {
        const int64_t k = min64(VF, m->d - c);
        vf sum = vf_set(0.0f);
        for (int64_t j = 0; j < n; j++)
            sum += vf_load_n(a->k, (begin + j) * a->ldk + at + c, k, m->bf16);
        vf_store_f32(mean + c, n > 0 ? sum / (float)n : sum);
    }
    for (int64_t b = 0; b * AXL_SAGE_K < n; b++) {
        const int64_t first = begin + b * AXL_SAGE_K;
        low->scale_k[place_of(a->cu_seqlens_k, seq, b, AXL_SAGE_K) * a->n_kv_heads + head] =
            most_of(a->k, a->ldk, first, min64(first + AXL_SAGE_K, begin + n), at, m->d, mean,
                    m->bf16) /
            127.0f;
    }
}

static void sage_queries(const attn_low *low, const axl_attn_args *a, const attn_dims *m,
                         int64_t seq, int64_t head)
{
    const int64_t begin = a->cu_seqlens_q[seq], end = a->cu_seqlens_q[seq + 1];

    for (int64_t b = 0; begin + b * AXL_SAGE_Q < end; b++) {
        const int64_t first = begin + b * AXL_SAGE_Q;
        low->scale_q[place_of(a->cu_seqlens_q, seq, b, AXL_SAGE_Q) * a->n_heads + head] =
            most_of(a->q, a->ldq, first, min64(first + AXL_SAGE_Q, end), head * m->d, m->d, NULL,
                    m->bf16) /
            127.0f;
    }
}

static void sage_scales(axl_stream *s, const attn_low *low, const axl_attn_args *a,
                        const attn_dims *m)
{
    AXL_PARALLEL_FOR(s, m->n_q * a->n_heads * m->d)
    for (int64_t i = 0; i < (int64_t)a->n_seqs * a->n_kv_heads; i++)
        sage_keys(low, a, m, i / a->n_kv_heads, i % a->n_kv_heads);
    AXL_PARALLEL_FOR(s, m->n_q * a->n_heads * m->d)
    for (int64_t i = 0; i < (int64_t)a->n_seqs * a->n_heads; i++)
        sage_queries(low, a, m, i / a->n_heads, i % a->n_heads);
}

static void fp8_scales(axl_stream *s, const attn_low *low, const axl_attn_args *a,
                       const attn_dims *m)
{
    AXL_PARALLEL_FOR(s, m->n_q * a->n_heads * m->d)
    for (int64_t i = 0; i < a->n_seqs; i++) {
        const int32_t *q = a->cu_seqlens_q + i, *k = a->cu_seqlens_k + i;
        low->scale_q[i] =
            most_of(a->q, a->ldq, q[0], q[1], 0, a->n_heads * m->d, NULL, m->bf16) / 448.0f;
        low->scale_k[i] =
            most_of(a->k, a->ldk, k[0], k[1], 0, a->n_kv_heads * m->d, NULL, m->bf16) / 448.0f;
        low->scale_v[i] =
            most_of(a->v, a->ldv, k[0], k[1], 0, a->n_kv_heads * m->dv, NULL, m->bf16) / 448.0f;
    }
}

axl_status AXL_CPU(attn_low_init)(axl_stream *s, const axl_attn_args *a, const attn_dims *m,
                                  attn_form form, float *room, int64_t n, attn_low *out)
{
    axl_status status = AXL_OK;
    const int64_t seqs = a->n_seqs, hk = a->n_kv_heads;
    const bool sage = form == ATTN_SAGE, fp8 = form == ATTN_FP8;
    const int64_t mean = sage ? seqs * hk * m->dp : 0;
    const int64_t q = sage ? n_places(a->cu_seqlens_q, seqs, AXL_SAGE_Q) * a->n_heads : seqs;
    const int64_t k = sage ? n_places(a->cu_seqlens_k, seqs, AXL_SAGE_K) * hk : seqs;

    *out = (attn_low){.form = form, .bf16 = m->bf16};
    if (!sage && !fp8)
        goto out;
    AXL_REQUIRE(!sage || a->softcap <= 0.0f, AXL_E_UNSUPPORTED, "sage attention of a softcap");
    AXL_REQUIRE(mean + q + k + seqs <= n, AXL_E_UNSUPPORTED,
                "the scales of attention over %d sequences need a larger workspace than %zu bytes",
                a->n_seqs, s->device->workspace_bytes);
    out->mean = room;
    out->scale_q = out->mean + mean;
    out->scale_k = out->scale_q + q;
    out->scale_v = out->scale_k + k;
    if (sage)
        sage_scales(s, out, a, m);
    else
        fp8_scales(s, out, a, m);
out:
    return status;
}

// The rounded x, as a number again: of the format of `form`, with this scale.
AXL_INLINE vf low_number(attn_form form, vf x, float scale)
{
    if (form == ATTN_HALF)
        return low_round(x, AXL_LOW_FP16);
    if (scale <= 0.0f)
        return vf_set(0.0f);
    x = x / scale;
    return scale * (form == ATTN_SAGE ? vf_round(x) : low_round(x, AXL_LOW_E4M3));
}

static void round_row(attn_form form, const float *src, int64_t padded, const float *mean,
                      float scale, float factor, float *dst)
{
    for (int64_t c = 0; c < padded; c += VF) {
        vf x = vf_load_f32(src + c);
        if (mean != NULL)
            x -= vf_load_f32(mean + c);
        vf_store_f32(dst + c, factor * low_number(form, x, scale));
    }
}

void AXL_CPU(attn_low_q)(const attn_low *low, const axl_attn_args *a, const attn_dims *m,
                         const attn_rows *r, float scale, float *dst)
{
    AXL_CPU(attn_gather)(a, m, r, a->q, a->ldq, m->d, 1.0f, dst, m->dp);
    for (int64_t i = 0; i < r->n; i++) {
        const int64_t block = (r->row0 + i) / m->group / AXL_SAGE_Q;
        const int64_t place = place_of(a->cu_seqlens_q, r->seq, block, AXL_SAGE_Q);
        const float own = low->form == ATTN_SAGE
                              ? low->scale_q[place * a->n_heads + attn_head(m, r, i)]
                          : low->form == ATTN_FP8 ? low->scale_q[r->seq]
                                                  : 1.0f;
        round_row(low->form, dst + i * m->dp, m->dp, NULL, own, scale, dst + i * m->dp);
    }
}

void AXL_CPU(attn_low_tiles)(const attn_low *low, const axl_attn_args *a, const attn_dims *m,
                             const attn_rows *r, int64_t key0, int64_t n, float *k_room,
                             float *v_room, attn_tile *k, attn_tile *v)
{
    const bool sage = low->form == ATTN_SAGE, fp8 = low->form == ATTN_FP8;
    const float *mean = sage ? low->mean + (r->seq * a->n_kv_heads + r->head_kv) * m->dp : NULL;
    const float scale_v = fp8 ? low->scale_v[r->seq] : 1.0f;

    for (int64_t j = 0; j < n; j++) {
        const int64_t place =
            place_of(a->cu_seqlens_k, r->seq, (key0 + j) / AXL_SAGE_K, AXL_SAGE_K);
        const float own = sage  ? low->scale_k[place * a->n_kv_heads + r->head_kv]
                          : fp8 ? low->scale_k[r->seq]
                                : 1.0f;
        round_row(low->form, k->p + j * k->ld, m->dp, mean, own, 1.0f, k_room + j * m->dp);
    }
    *k = (attn_tile){k_room, m->dp};
    if (sage) // values stay as they are
        return;
    for (int64_t j = 0; j < n; j++)
        round_row(low->form, v->p + j * v->ld, m->dvp, NULL, scale_v, 1.0f, v_room + j * m->dvp);
    *v = (attn_tile){v_room, m->dvp};
}

void AXL_CPU(attn_low_p)(const attn_low *low, float *p, int64_t n)
{
    if (!low->bf16 || low->form == ATTN_EXACT || low->form == ATTN_FP8)
        return;
    for (int64_t i = 0; i < n; i += VF) {
        const vf x = vf_load_f32(p + i);
        vf_store_f32(p + i,
                     low->form == ATTN_SAGE ? vf_rounded(x, true) : low_round(x, AXL_LOW_FP16));
    }
}

float AXL_CPU(attn_low_shift)(const attn_low *low, const axl_attn_args *a, const attn_dims *m,
                              const attn_rows *r, int64_t i)
{
    const int64_t at = attn_token(a, m, r, i) * a->ldq + attn_head(m, r, i) * m->d;
    vf sum = vf_set(0.0f);

    if (low->form != ATTN_SAGE)
        return 0.0f;
    const float *mean = low->mean + (r->seq * a->n_kv_heads + r->head_kv) * m->dp;
    for (int64_t c = 0; c < m->d; c += VF)
        sum = vf_fma(vf_load_n(a->q, at + c, min64(VF, m->d - c), m->bf16), vf_load_f32(mean + c),
                     sum);
    return a->scale * vf_sum(sum);
}
