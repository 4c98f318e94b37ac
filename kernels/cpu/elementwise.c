// add, cast, sumsq, adamw and the embedding: one pass over memory each.
#include "kernels/cpu/parallel.h"

#include <math.h>
#include <string.h>

#define BLOCK 4096

AXL_INLINE vf add_vector(const axl_add_args *a, int64_t i, int64_t n, bool bf16)
{
    const bool whole = n == VF;
    vf x = whole ? vf_load(a->a, i, bf16) : vf_load_n(a->a, i, n, bf16);
    vf sum = vf_set(a->alpha) * x;
    if (a->b != NULL) {
        vf y = whole ? vf_load(a->b, i, bf16) : vf_load_n(a->b, i, n, bf16);
        sum = vf_fma(vf_set(a->beta), y, sum);
    }
    return sum;
}

AXL_INLINE void add_block(const axl_add_args *a, int64_t begin, int64_t end, bool bf16)
{
    int64_t i = begin;

    for (; i + VF <= end; i += VF)
        vf_store(a->out, i, add_vector(a, i, VF, bf16), bf16);
    if (i < end)
        vf_store_n(a->out, i, add_vector(a, i, end - i, bf16), end - i, bf16);
}

axl_status AXL_CPU(add)(axl_stream *s, const axl_add_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.add(s, a);
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t begin = 0; begin < a->n; begin += BLOCK) {
        int64_t end = begin + BLOCK < a->n ? begin + BLOCK : a->n;
        if (a->dtype == AXL_BF16)
            add_block(a, begin, end, true);
        else
            add_block(a, begin, end, false);
    }
    return AXL_OK;
}

// Weights pass here, so even subnormal numbers come through exactly.
static void cast_to_bf16(const float *src, axl_bf16 *dst, int64_t n)
{
    int64_t i = 0;

    for (; i + VF <= n; i += VF) {
#ifdef __AVX512F__
        _mm256_storeu_si256((__m256i_u *)(dst + i), vf_to_bf16_exact(vf_load_f32(src + i)));
#else
        _mm_storeu_si128((__m128i_u *)(dst + i), vf_to_bf16_exact(vf_load_f32(src + i)));
#endif
    }
    for (; i < n; i++)
        dst[i] = axl_f32_to_bf16(src[i]);
}

static void cast_from_bf16(const axl_bf16 *src, float *dst, int64_t n)
{
    int64_t i = 0;

    for (; i + VF <= n; i += VF)
        vf_store_f32(dst + i, vf_load(src, i, true));
    for (; i < n; i++)
        dst[i] = axl_bf16_to_f32(src[i]);
}

axl_status AXL_CPU(cast)(axl_stream *s, const axl_cast_args *a)
{
    const bool narrow = a->src_dtype == AXL_F32 && a->dst_dtype == AXL_BF16;
    const bool widen = a->src_dtype == AXL_BF16 && a->dst_dtype == AXL_F32;

    if (a->src_dtype == a->dst_dtype) {
        memmove(a->dst, a->src, (size_t)a->n * axl_dtype_size(a->src_dtype));
        return AXL_OK;
    }
    if (!narrow && !widen)
        return axl_kernels_ref.cast(s, a);
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t begin = 0; begin < a->n; begin += BLOCK) {
        int64_t n = a->n - begin < BLOCK ? a->n - begin : BLOCK;
        if (narrow)
            cast_to_bf16((const float *)a->src + begin, (axl_bf16 *)a->dst + begin, n);
        else
            cast_from_bf16((const axl_bf16 *)a->src + begin, (float *)a->dst + begin, n);
    }
    return AXL_OK;
}

// The lanes of a vector squared and added to sums in f64: in f32 a long sum would lose digits.
typedef double vd __attribute__((vector_size(VF_BYTES)));

AXL_INLINE void add_squares(vd sum[2], vf x)
{
#ifdef __AVX512F__
    vd low = (vd)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x));
    vd high = (vd)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)x, 1));
#else
    vd low = (vd)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x));
    vd high = (vd)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1));
#endif
    sum[0] += low * low;
    sum[1] += high * high;
}

AXL_INLINE double sumsq_block(const void *x, int64_t begin, int64_t end, bool bf16)
{
    vd sum[4] = {{0}}; // two vectors at a time hide the latency of the additions
    double total = 0;
    int64_t i = begin;

    for (; i + 2 * VF <= end; i += 2 * VF) {
        add_squares(sum, vf_load(x, i, bf16));
        add_squares(sum + 2, vf_load(x, i + VF, bf16));
    }
    for (; i < end; i += VF)
        add_squares(sum, vf_load_n(x, i, end - i < VF ? end - i : VF, bf16));
    sum[0] += sum[1] + (sum[2] + sum[3]);
    for (int j = 0; j < VF / 2; j++)
        total += sum[0][j];
    return total;
}

axl_status AXL_CPU(sumsq)(axl_stream *s, const axl_sumsq_args *a)
{
    const int64_t room = (int64_t)(AXL_WORKSPACE_BYTES / sizeof(double));
    double *partial = s->device->workspace;
    int64_t block = 16384;

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.sumsq(s, a);
    while ((a->n + block - 1) / block > room)
        block *= 2;
    const int64_t n_blocks = (a->n + block - 1) / block;
    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t b = 0; b < n_blocks; b++) {
        int64_t end = (b + 1) * block < a->n ? (b + 1) * block : a->n;
        partial[b] = a->dtype == AXL_BF16 ? sumsq_block(a->x, b * block, end, true)
                                          : sumsq_block(a->x, b * block, end, false);
    }
    for (int64_t b = 0; b < n_blocks; b++)
        *a->out += partial[b];
    return AXL_OK;
}

// What all elements share; made in f64, used in f32, as in ref.
typedef struct adamw_step {
    float keep, rate, root, b1, c1, b2, c2, eps, grad_scale;
} adamw_step;

AXL_INLINE void adamw_vector(const axl_adamw_args *a, const adamw_step *k, int64_t i, int64_t n)
{
    vf g = vf_load_n(a->g, i, n, false) * k->grad_scale;
    vf m = vf_fma(vf_set(k->c1), g, vf_load_n(a->m, i, n, false) * k->b1);
    vf v = vf_fma(k->c2 * g, g, vf_load_n(a->v, i, n, false) * k->b2);
    vf step = k->rate * m / vf_fma(vf_sqrt(v), vf_set(k->root), vf_set(k->eps));
    vf p = vf_load_n(a->p, i, n, false) * k->keep - step;
    vf_store_n(a->m, i, m, n, false);
    vf_store_n(a->v, i, v, n, false);
    vf_store_n(a->p, i, p, n, false);
}

axl_status AXL_CPU(adamw)(axl_stream *s, const axl_adamw_args *a)
{
    const adamw_step k = {
        .keep = (float)(1.0 - a->lr * a->weight_decay),
        .rate = (float)(a->lr / (1.0 - pow(a->beta1, (double)a->t))),
        .root = (float)(1.0 / sqrt(1.0 - pow(a->beta2, (double)a->t))),
        .b1 = (float)a->beta1,
        .c1 = (float)(1.0 - a->beta1),
        .b2 = (float)a->beta2,
        .c2 = (float)(1.0 - a->beta2),
        .eps = (float)a->eps,
        .grad_scale = (float)a->grad_scale,
    };

    AXL_PARALLEL_FOR(s, a->n)
    for (int64_t begin = 0; begin < a->n; begin += BLOCK) {
        int64_t end = begin + BLOCK < a->n ? begin + BLOCK : a->n, i = begin;
        for (; i + VF <= end; i += VF)
            adamw_vector(a, &k, i, VF);
        if (i < end)
            adamw_vector(a, &k, i, end - i);
    }
    return AXL_OK;
}

AXL_INLINE void embed_row(const axl_embed_args *a, int64_t t, bool bf16)
{
    const size_t size = bf16 ? 2 : 4;
    const int64_t row = a->ids[t] - a->row0;
    uint8_t *out = (uint8_t *)a->out + (size_t)(t * a->cols) * size;

    if (row < 0 || row >= a->n_rows) {
        memset(out, 0, (size_t)a->cols * size);
        return;
    }
    const uint8_t *from = (const uint8_t *)a->table + (size_t)(row * a->cols) * size;
    int64_t c = 0;
    for (; c + VF <= a->cols; c += VF)
        vf_store(out, c, a->scale * vf_load(from, c, bf16), bf16);
    if (c < a->cols)
        vf_store_n(out, c, a->scale * vf_load_n(from, c, a->cols - c, bf16), a->cols - c, bf16);
}

axl_status AXL_CPU(embed_fwd)(axl_stream *s, const axl_embed_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.embed_fwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->cols)
    for (int64_t t = 0; t < a->n_tokens; t++) {
        if (a->dtype == AXL_BF16)
            embed_row(a, t, true);
        else
            embed_row(a, t, false);
    }
    return AXL_OK;
}

// Adds columns c0 .. c1 of every token in order: threads share columns, so no two touch one element.
AXL_INLINE void embed_bwd_columns(const axl_embed_bwd_args *a, int64_t c0, int64_t c1, bool bf16)
{
    for (int64_t t = 0; t < a->n_tokens; t++) {
        const int64_t row = a->ids[t] - a->row0;
        if (row < 0 || row >= a->n_rows)
            continue;
        float *to = (float *)a->dtable + row * a->cols;
        for (int64_t c = c0; c < c1; c += VF) {
            int64_t n = c1 - c < VF ? c1 - c : VF;
            vf d = vf_load_n(a->dout, t * a->cols + c, n, bf16);
            vf_store_n(to, c, vf_fma(vf_set(a->scale), d, vf_load_n(to, c, n, false)), n, false);
        }
    }
}

axl_status AXL_CPU(embed_bwd)(axl_stream *s, const axl_embed_bwd_args *a)
{
    const int64_t width = 64; // columns: a few cache lines

    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.embed_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->n_tokens * a->cols)
    for (int64_t c = 0; c < a->cols; c += width) {
        int64_t end = c + width < a->cols ? c + width : a->cols;
        if (a->dtype == AXL_BF16)
            embed_bwd_columns(a, c, end, true);
        else
            embed_bwd_columns(a, c, end, false);
    }
    return AXL_OK;
}

// Each block of columns sums all rows in order.
AXL_INLINE void bias_columns(const axl_bias_bwd_args *a, int64_t c0, int64_t c1, bool bf16)
{
    float *db = a->db;

    for (int64_t c = c0; c < c1; c += VF) {
        int64_t n = c1 - c < VF ? c1 - c : VF;
        vf sum = vf_set(0.0f);
        for (int64_t r = 0; r < a->rows; r++)
            sum += vf_load_n(a->dout, r * a->cols + c, n, bf16);
        if (a->accumulate)
            sum += vf_load_n(db, c, n, false);
        vf_store_n(db, c, sum, n, false);
    }
}

axl_status AXL_CPU(bias_bwd)(axl_stream *s, const axl_bias_bwd_args *a)
{
    if (a->dtype != AXL_F32 && a->dtype != AXL_BF16)
        return axl_kernels_ref.bias_bwd(s, a);
    AXL_PARALLEL_FOR(s, a->rows * a->cols)
    for (int64_t c = 0; c < a->cols; c += 64) {
        int64_t end = c + 64 < a->cols ? c + 64 : a->cols;
        if (a->dtype == AXL_BF16)
            bias_columns(a, c, end, true);
        else
            bias_columns(a, c, end, false);
    }
    return AXL_OK;
}
