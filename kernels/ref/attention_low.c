// Attention of rounded numbers: fp16 (half), 8-bit integers for q . k (sage), e4m3 (fp8). One loop serves the three;
// what differs is how an element of q, k and v is read and whether a probability is rounded. Scales are made again
// wherever they are wanted: slow, but nothing is kept.
#ifdef AXL_REF

// Element d of a row of q, in the units of its scale.
static real AXL_REF(low_q)(const low_call *c, const query *r, real scale, int64_t d)
{
    const axl_attn_args *a = c->a;
    const real x = load(((const elem *)a->q)[r->t * a->ldq + r->head * a->head_dim + d]);

    return (real)low_value(c, (double)x, (double)scale);
}

// The largest magnitude of rows begin .. end of x, less mean (NULL: none).
static float AXL_REF(most)(const void *x, int64_t ld, int64_t begin, int64_t end, int64_t at,
                           int64_t width, const float *mean)
{
    float most = 0;

    for (int64_t t = begin; t < end; t++)
        for (int64_t d = 0; d < width; d++) {
            const float y = (float)load(((const elem *)x)[t * ld + at + d]);
            most = fmaxf(most, fabsf(mean != NULL ? y - mean[d] : y));
        }
    return most;
}

// The means over the keys of a sequence and key head.
static void AXL_REF(key_means)(const axl_attn_args *a, int64_t seq, int64_t head, float *mean)
{
    const int64_t begin = a->cu_seqlens_k[seq], end = a->cu_seqlens_k[seq + 1];

    for (int64_t d = 0; d < a->head_dim; d++) {
        float sum = 0;
        for (int64_t j = begin; j < end; j++)
            sum += (float)load(((const elem *)a->k)[j * a->ldk + head * a->head_dim + d]);
        mean[d] = end > begin ? sum / (float)(end - begin) : 0;
    }
}

static float AXL_REF(query_scale)(const low_call *c, const query *r)
{
    const axl_attn_args *a = c->a;
    const int64_t begin = a->cu_seqlens_q[r->seq], end = a->cu_seqlens_q[r->seq + 1];
    const int64_t first = begin + (r->t - begin) / AXL_SAGE_Q * AXL_SAGE_Q;
    const int64_t last = first + AXL_SAGE_Q < end ? first + AXL_SAGE_Q : end;

    if (c->form != LOW_SAGE)
        return c->scale_q;
    return AXL_REF(most)(a->q, a->ldq, first, last, r->head * a->head_dim, a->head_dim, NULL) /
           127.0f;
}

static float AXL_REF(key_scale)(const low_call *c, const query *r, int64_t j)
{
    const axl_attn_args *a = c->a;
    const int64_t begin = a->cu_seqlens_k[r->seq], end = a->cu_seqlens_k[r->seq + 1];
    const int64_t first = begin + (j - begin) / AXL_SAGE_K * AXL_SAGE_K;
    const int64_t last = first + AXL_SAGE_K < end ? first + AXL_SAGE_K : end;

    if (c->form != LOW_SAGE)
        return c->scale_k;
    return AXL_REF(most)(a->k, a->ldk, first, last, r->head_kv * a->head_dim, a->head_dim,
                         c->mean) /
           127.0f;
}

// The score of key j; scale_k is that of its block.
static real AXL_REF(low_score)(const low_call *c, const query *r, int64_t j, float scale_q,
                               float scale_k)
{
    const axl_attn_args *a = c->a;
    const elem *k = (const elem *)a->k + j * a->ldk + r->head_kv * a->head_dim;
    real sum = 0;

    for (int64_t d = 0; d < a->head_dim; d++) {
        const float x = (float)load(k[d]);
        const real y = c->form == LOW_HALF
                           ? (real)low_value(c, (double)load(k[d]), 1.0)
                           : (real)low_value(c, (double)(x - c->mean[d]), (double)scale_k);
        sum += AXL_REF(low_q)(c, r, (real)scale_q, d) * y;
    }
    sum *= (real)a->scale * (real)scale_q * (real)scale_k;
    return a->softcap > 0 ? (real)a->softcap * R(tanh)(sum / (real)a->softcap) : sum;
}

// A probability as it meets v.
static real AXL_REF(low_p)(const low_call *c, real p)
{
    if (AXL_REF_DTYPE != AXL_BF16 || c->form == LOW_FP8)
        return p;
    return c->form == LOW_SAGE ? load(store(p)) : (real)axl_low_round((float)p, AXL_LOW_FP16);
}

static real AXL_REF(low_v)(const low_call *c, real x)
{
    if (c->form == LOW_SAGE)
        return x;
    return (real)low_value(c, (double)x, (double)c->scale_v) * (real)c->scale_v;
}

static void AXL_REF(low_row)(const low_call *c, const query *r)
{
    const axl_attn_args *a = c->a;
    const int64_t begin = a->cu_seqlens_k[r->seq], end = a->cu_seqlens_k[r->seq + 1];
    const axl_dtype dtype_out = a->out_f32 && a->dtype == AXL_BF16 ? AXL_F32 : a->dtype;
    const float scale_q = AXL_REF(query_scale)(c, r);
    real acc[AXL_REF_HEAD_DIM] = {0}, top = -(real)INFINITY, sum = 0, shift = 0;
    float scale_k = 0;

    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = begin; j < end; j++) {
            if ((j - begin) % AXL_SAGE_K == 0)
                scale_k = AXL_REF(key_scale)(c, r, j);
            if (!sees(a, r->seq, r->t, j))
                continue;
            const real score = AXL_REF(low_score)(c, r, j, scale_q, scale_k);
            if (pass == 0) {
                top = R(fmax)(top, score);
                continue;
            }
            const elem *v = (const elem *)a->v + j * a->ldv + r->head_kv * a->v_head_dim;
            const real p = R(exp)(score - top);
            sum += p;
            for (int64_t d = 0; d < a->v_head_dim; d++)
                acc[d] += AXL_REF(low_p)(c, p) * AXL_REF(low_v)(c, load(v[d]));
        }
    for (int64_t d = 0; d < a->v_head_dim; d++)
        axl_ref_put(a->out, r->t * a->ldo + r->head * a->v_head_dim + d, dtype_out,
                    (double)(sum > 0 ? acc[d] / sum : (real)0), false);
    for (int64_t d = 0; d < a->head_dim && c->form == LOW_SAGE; d++)
        shift += load(((const elem *)a->q)[r->t * a->ldq + r->head * a->head_dim + d]) *
                 (real)c->mean[d];
    ((real *)a->lse)[r->head * a->cu_seqlens_q[a->n_seqs] + r->t] =
        sum > 0 ? top + R(log)(sum) + (real)a->scale * shift : -(real)INFINITY;
}

// The per-tensor scales of a sequence.
static void AXL_REF(low_tensors)(low_call *c, int64_t seq)
{
    const axl_attn_args *a = c->a;
    const int32_t *q = a->cu_seqlens_q + seq, *k = a->cu_seqlens_k + seq;

    c->scale_q = c->scale_k = c->scale_v = 1.0f;
    if (c->form != LOW_FP8)
        return;
    c->scale_q =
        AXL_REF(most)(a->q, a->ldq, q[0], q[1], 0, (int64_t)a->n_heads * a->head_dim, NULL) /
        448.0f;
    c->scale_k =
        AXL_REF(most)(a->k, a->ldk, k[0], k[1], 0, (int64_t)a->n_kv_heads * a->head_dim, NULL) /
        448.0f;
    c->scale_v =
        AXL_REF(most)(a->v, a->ldv, k[0], k[1], 0, (int64_t)a->n_kv_heads * a->v_head_dim, NULL) /
        448.0f;
}

static void AXL_REF(attn_low)(low_call *c)
{
    const axl_attn_args *a = c->a;

    c->exact = AXL_REF_DTYPE != AXL_BF16;
    for (int64_t i = 0; i < a->n_seqs; i++) {
        AXL_REF(low_tensors)(c, i);
        for (int64_t hk = 0; hk < a->n_kv_heads; hk++) {
            const int64_t group = a->n_heads / a->n_kv_heads;
            if (c->form == LOW_SAGE)
                AXL_REF(key_means)(a, i, hk, c->mean);
            for (int64_t h = hk * group; h < (hk + 1) * group; h++)
                for (int64_t t = a->cu_seqlens_q[i]; t < a->cu_seqlens_q[i + 1]; t++)
                    AXL_REF(low_row)(c, &(query){i, t, h, hk});
        }
    }
}

#else

#include "kernels/low.h"
#include "kernels/ref/attention_rows.h"

typedef enum low_form { LOW_HALF, LOW_SAGE, LOW_FP8 } low_form;

typedef struct low_call {
    const axl_attn_args *a;
    low_form form;
    bool exact;                      // the dtype is not one that LOW_HALF rounds
    float scale_q, scale_k, scale_v; // of the tensors of a sequence
    float mean[AXL_REF_HEAD_DIM];    // of its keys; zeros without
} low_call;

// A number as it is stored: divided by its scale and rounded.
static double low_value(const low_call *c, double x, double scale)
{
    const float y = scale > 0 ? (float)x / (float)scale : 0.0f;

    switch (c->form) {
    case LOW_HALF:
        return c->exact ? x : (double)axl_low_round((float)x, AXL_LOW_FP16);
    case LOW_SAGE:
        return (double)rintf(y);
    default:
        return (double)axl_low_round(y, AXL_LOW_E4M3);
    }
}

#define AXL_REF_FILE "kernels/ref/attention_low.c"
#include "kernels/ref/each_dtype.h"

static axl_status attend(axl_stream *s, const axl_attn_args *args, low_form form)
{
    axl_status status = axl_ref_attn_width(args);
    low_call call = {.a = args, .form = form};
    low_call *a = &call;

    if (status != AXL_OK)
        return status;
    if (form == LOW_SAGE && args->softcap > 0)
        return axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__, "sage attention of a softcap");
    AXL_REF_DISPATCH(attn_low, args->dtype);
}

axl_status axl_ref_attn_half_fwd(axl_stream *s, const axl_attn_args *a)
{
    return attend(s, a, LOW_HALF);
}

axl_status axl_ref_attn_sage_fwd(axl_stream *s, const axl_attn_args *a)
{
    return attend(s, a, LOW_SAGE);
}

axl_status axl_ref_attn_fp8_fwd(axl_stream *s, const axl_attn_args *a)
{
    return attend(s, a, LOW_FP8);
}

#endif
