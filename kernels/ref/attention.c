// Attention by its definition: a full row of scores is never kept, each pass makes the scores again.
#ifdef AXL_REF

static const elem *AXL_REF(query)(const axl_attn_args *a, const query *r)
{
    return (const elem *)a->q + r->t * a->ldq + r->head * a->head_dim;
}

// The score after scale and softcap, before the mask.
static real AXL_REF(score)(const axl_attn_args *a, const elem *q, const elem *k)
{
    real sum = 0;
    for (int64_t d = 0; d < a->head_dim; d++)
        sum += load(q[d]) * load(k[d]);
    sum *= (real)a->scale;
    return a->softcap > 0 ? (real)a->softcap * R(tanh)(sum / (real)a->softcap) : sum;
}

static const elem *AXL_REF(key)(const axl_attn_args *a, int64_t j, int64_t head_kv)
{
    return (const elem *)a->k + j * a->ldk + head_kv * a->head_dim;
}

static const elem *AXL_REF(value)(const axl_attn_args *a, int64_t j, int64_t head_kv)
{
    return (const elem *)a->v + j * a->ldv + head_kv * a->v_head_dim;
}

static void AXL_REF(attend_row)(const axl_attn_args *a, const query *r)
{
    const int64_t begin = a->cu_seqlens_k[r->seq], end = a->cu_seqlens_k[r->seq + 1];
    const int64_t n_q = a->cu_seqlens_q[a->n_seqs];
    const int64_t out = r->t * a->ldo + r->head * a->v_head_dim;
    const axl_dtype dtype_out = a->out_f32 && a->dtype == AXL_BF16 ? AXL_F32 : a->dtype;
    real acc[AXL_REF_HEAD_DIM] = {0};
    real top = -(real)INFINITY, sum = 0;

    for (int64_t j = begin; j < end; j++)
        if (sees(a, r->seq, r->t, j))
            top = R(fmax)(top,
                          AXL_REF(score)(a, AXL_REF(query)(a, r), AXL_REF(key)(a, j, r->head_kv)));
    for (int64_t j = begin; j < end; j++) {
        if (!sees(a, r->seq, r->t, j))
            continue;
        const elem *v = AXL_REF(value)(a, j, r->head_kv);
        real p =
            R(exp)(AXL_REF(score)(a, AXL_REF(query)(a, r), AXL_REF(key)(a, j, r->head_kv)) - top);
        sum += p;
        for (int64_t d = 0; d < a->v_head_dim; d++)
            acc[d] += p * load(v[d]);
    }
    for (int64_t d = 0; d < a->v_head_dim; d++)
        axl_ref_put(a->out, out + d, dtype_out, (double)(sum > 0 ? acc[d] / sum : (real)0), false);
    ((real *)a->lse)[r->head * n_q + r->t] = sum > 0 ? top + R(log)(sum) : -(real)INFINITY;
}

static void AXL_REF(attn_fwd)(const axl_attn_args *a)
{
    for (int64_t i = 0; i < a->n_seqs; i++)
        for (int64_t t = a->cu_seqlens_q[i]; t < a->cu_seqlens_q[i + 1]; t++)
            for (int64_t h = 0; h < a->n_heads; h++) {
                const query r = {i, t, h, h / (a->n_heads / a->n_kv_heads)};
                AXL_REF(attend_row)(a, &r);
            }
}

static void AXL_REF(attn_delta)(const axl_attn_delta_args *a)
{
    for (int64_t h = 0; h < a->n_heads; h++)
        for (int64_t t = 0; t < a->n_tokens; t++) {
            const elem *out = (const elem *)a->out + t * a->ldo + h * a->v_head_dim;
            const elem *dout = (const elem *)a->dout + t * a->ldo + h * a->v_head_dim;
            real sum = 0;
            for (int64_t d = 0; d < a->v_head_dim; d++)
                sum += load(out[d]) * load(dout[d]);
            ((real *)a->delta)[h * a->n_tokens + t] = sum;
        }
}

// p = exp(score - lse) and the gradient of the loss by q . k * scale, for one (query, key) pair.
static void AXL_REF(pair)(const axl_attn_bwd_args *b, const query *r, int64_t j, real *p, real *ds)
{
    const axl_attn_args *a = &b->fwd;
    const int64_t stat = r->head * a->cu_seqlens_q[a->n_seqs] + r->t;
    const elem *dout = (const elem *)b->dout + r->t * a->ldo + r->head * a->v_head_dim;
    const elem *v = AXL_REF(value)(a, j, r->head_kv);
    real score = AXL_REF(score)(a, AXL_REF(query)(a, r), AXL_REF(key)(a, j, r->head_kv));
    real dp = 0;

    for (int64_t d = 0; d < a->v_head_dim; d++)
        dp += load(dout[d]) * load(v[d]);
    *p = R(exp)(score - ((const real *)a->lse)[stat]);
    *ds = *p * (dp - ((const real *)b->delta)[stat]);
    if (a->softcap > 0)
        *ds *= 1 - (score / (real)a->softcap) * (score / (real)a->softcap);
}

static void AXL_REF(attn_dq)(const axl_attn_bwd_args *b, const query *r)
{
    const axl_attn_args *a = &b->fwd;
    real acc[AXL_REF_HEAD_DIM] = {0};
    real p, ds;

    for (int64_t j = a->cu_seqlens_k[r->seq]; j < a->cu_seqlens_k[r->seq + 1]; j++) {
        if (!sees(a, r->seq, r->t, j))
            continue;
        const elem *k = AXL_REF(key)(a, j, r->head_kv);
        AXL_REF(pair)(b, r, j, &p, &ds);
        for (int64_t d = 0; d < a->head_dim; d++)
            acc[d] += ds * load(k[d]);
    }
    for (int64_t d = 0; d < a->head_dim; d++)
        axl_ref_put(b->dq, r->t * a->ldq + r->head * a->head_dim + d, b->dtype_grad,
                    (double)(acc[d] * (real)a->scale), b->accumulate_dq);
}

// The gradients of one key and value row: over all heads that share it and all queries that see it.
static void AXL_REF(attn_dkv)(const axl_attn_bwd_args *b, int64_t seq, int64_t j, int64_t head_kv)
{
    const axl_attn_args *a = &b->fwd;
    const int64_t group = a->n_heads / a->n_kv_heads;
    real dk[AXL_REF_HEAD_DIM] = {0}, dv[AXL_REF_HEAD_DIM] = {0};
    real p, ds;

    for (int64_t h = head_kv * group; h < (head_kv + 1) * group; h++)
        for (int64_t t = a->cu_seqlens_q[seq]; t < a->cu_seqlens_q[seq + 1]; t++) {
            const query r = {seq, t, h, head_kv};
            const elem *q = AXL_REF(query)(a, &r);
            const elem *dout = (const elem *)b->dout + t * a->ldo + h * a->v_head_dim;
            if (!sees(a, seq, t, j))
                continue;
            AXL_REF(pair)(b, &r, j, &p, &ds);
            for (int64_t d = 0; d < a->head_dim; d++)
                dk[d] += ds * load(q[d]);
            for (int64_t d = 0; d < a->v_head_dim; d++)
                dv[d] += p * load(dout[d]);
        }
    for (int64_t d = 0; d < a->head_dim; d++)
        axl_ref_put(b->dk, j * a->ldk + head_kv * a->head_dim + d, b->dtype_grad,
                    (double)(dk[d] * (real)a->scale), b->accumulate_dkv);
    for (int64_t d = 0; d < a->v_head_dim; d++)
        axl_ref_put(b->dv, j * a->ldv + head_kv * a->v_head_dim + d, b->dtype_grad, (double)dv[d],
                    b->accumulate_dkv);
}

static void AXL_REF(attn_bwd)(const axl_attn_bwd_args *b)
{
    const axl_attn_args *a = &b->fwd;

    for (int64_t i = 0; i < a->n_seqs; i++) {
        for (int64_t t = a->cu_seqlens_q[i]; t < a->cu_seqlens_q[i + 1]; t++)
            for (int64_t h = 0; h < a->n_heads; h++) {
                const query r = {i, t, h, h / (a->n_heads / a->n_kv_heads)};
                AXL_REF(attn_dq)(b, &r);
            }
        for (int64_t j = a->cu_seqlens_k[i]; j < a->cu_seqlens_k[i + 1]; j++)
            for (int64_t h = 0; h < a->n_kv_heads; h++)
                AXL_REF(attn_dkv)(b, i, j, h);
    }
}

#else

#include "kernels/ref/attention_rows.h"

axl_status axl_ref_attn_width(const axl_attn_args *a)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(a->head_dim <= AXL_REF_HEAD_DIM && a->v_head_dim <= AXL_REF_HEAD_DIM,
                AXL_E_UNSUPPORTED, "head_dim %d is above %d", a->head_dim, AXL_REF_HEAD_DIM);

out:
    return status;
}

#define AXL_REF_FILE "kernels/ref/attention.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_attn_fwd(axl_stream *s, const axl_attn_args *a)
{
    axl_status status = axl_ref_attn_width(a);
    if (status != AXL_OK)
        return status;
    AXL_REF_DISPATCH(attn_fwd, a->dtype);
}

axl_status axl_ref_attn_delta(axl_stream *s, const axl_attn_delta_args *a)
{
    AXL_REF_DISPATCH(attn_delta, a->dtype);
}

axl_status axl_ref_attn_bwd(axl_stream *s, const axl_attn_bwd_args *a)
{
    axl_status status = axl_ref_attn_width(&a->fwd);
    if (status != AXL_OK)
        return status;
    AXL_REF_DISPATCH(attn_bwd, a->fwd.dtype);
}

#endif
