// Attention with all probabilities held, rounded where transformers' eager attention rounds.
#ifdef AXL_REF

static real AXL_REF(rounded)(real x)
{
    return load(store(x));
}

static real AXL_REF(eager_score)(const axl_attn_args *a, const query *r, int64_t j)
{
    const elem *q = (const elem *)a->q + r->t * a->ldq + r->head * a->head_dim;
    const elem *k = (const elem *)a->k + j * a->ldk + r->head_kv * a->head_dim;
    real s = 0;

    for (int64_t d = 0; d < a->head_dim; d++)
        s += load(q[d]) * load(k[d]);
    s = AXL_REF(rounded)(AXL_REF(rounded)(s) * (real)a->scale);
    if (a->softcap > 0)
        s = AXL_REF(rounded)((real)a->softcap * R(tanh)(s / (real)a->softcap));
    return s;
}

static void AXL_REF(eager_row)(const axl_attn_eager_args *e, const query *r)
{
    const axl_attn_args *a = &e->fwd;
    const int64_t begin = a->cu_seqlens_k[r->seq], end = a->cu_seqlens_k[r->seq + 1];
    real *p = (real *)e->probs + (r->t * a->n_heads + r->head) * e->ld_probs;
    real acc[AXL_REF_HEAD_DIM] = {0}, top = -(real)INFINITY, sum = 0;

    for (int64_t j = begin; j < end; j++) {
        const bool seen = sees(a, r->seq, r->t, j);
        p[j - begin] = seen ? AXL_REF(eager_score)(a, r, j) : -(real)INFINITY;
        top = R(fmax)(top, p[j - begin]);
    }
    for (int64_t j = 0; j < end - begin; j++) {
        p[j] = sees(a, r->seq, r->t, begin + j) ? R(exp)(p[j] - top) : 0;
        sum += p[j];
    }
    for (int64_t j = 0; j < end - begin && sum > 0; j++) {
        const elem *v = (const elem *)a->v + (begin + j) * a->ldv + r->head_kv * a->v_head_dim;
        p[j] /= sum;
        for (int64_t d = 0; d < a->v_head_dim; d++)
            acc[d] += AXL_REF(rounded)(p[j]) * load(v[d]);
    }
    for (int64_t d = 0; d < a->v_head_dim; d++)
        ((elem *)a->out)[r->t * a->ldo + r->head * a->v_head_dim + d] = store(acc[d]);
    ((real *)a->lse)[r->head * a->cu_seqlens_q[a->n_seqs] + r->t] =
        sum > 0 ? top + R(log)(sum) : -(real)INFINITY;
}

static void AXL_REF(attn_eager_fwd)(const axl_attn_eager_args *e)
{
    const axl_attn_args *a = &e->fwd;

    for (int64_t i = 0; i < a->n_seqs; i++)
        for (int64_t t = a->cu_seqlens_q[i]; t < a->cu_seqlens_q[i + 1]; t++)
            for (int64_t h = 0; h < a->n_heads; h++)
                AXL_REF(eager_row)(e, &(query){i, t, h, h / (a->n_heads / a->n_kv_heads)});
}

static real AXL_REF(eager_p)(const axl_attn_eager_bwd_args *e, const query *r, int64_t j)
{
    const axl_attn_args *a = &e->bwd.fwd;
    const int64_t row = (r->t * a->n_heads + r->head) * e->ld_probs;

    return ((const real *)e->probs)[row + j - a->cu_seqlens_k[r->seq]];
}

static real AXL_REF(eager_dp)(const axl_attn_bwd_args *b, const query *r, int64_t j)
{
    const axl_attn_args *a = &b->fwd;
    const elem *dout = (const elem *)b->dout + r->t * a->ldo + r->head * a->v_head_dim;
    const elem *v = (const elem *)a->v + j * a->ldv + r->head_kv * a->v_head_dim;
    real dp = 0;

    for (int64_t d = 0; d < a->v_head_dim; d++)
        dp += load(dout[d]) * load(v[d]);
    return AXL_REF(rounded)(dp);
}

// The gradient of the loss by r(q . k).
static real AXL_REF(eager_ds)(const axl_attn_eager_bwd_args *e, const query *r, int64_t j)
{
    const axl_attn_args *a = &e->bwd.fwd;
    const int64_t stat = r->head * a->cu_seqlens_q[a->n_seqs] + r->t;
    const real p = AXL_REF(eager_p)(e, r, j), delta = ((const real *)e->delta)[stat];
    real ds = AXL_REF(rounded)(p * (AXL_REF(eager_dp)(&e->bwd, r, j) - delta));

    if (a->softcap > 0 && p > 0) {
        const real u = (R(log)(p) + ((const real *)a->lse)[stat]) / (real)a->softcap;
        ds = AXL_REF(rounded)(ds * (1 - u * u));
    }
    return AXL_REF(rounded)(ds * (real)a->scale);
}

static void AXL_REF(eager_dq)(const axl_attn_eager_bwd_args *e, const query *r)
{
    const axl_attn_args *a = &e->bwd.fwd;
    const int64_t begin = a->cu_seqlens_k[r->seq], end = a->cu_seqlens_k[r->seq + 1];
    real acc[AXL_REF_HEAD_DIM] = {0}, delta = 0;

    for (int64_t j = begin; j < end; j++)
        if (sees(a, r->seq, r->t, j))
            delta += AXL_REF(eager_p)(e, r, j) * AXL_REF(eager_dp)(&e->bwd, r, j);
    ((real *)e->delta)[r->head * a->cu_seqlens_q[a->n_seqs] + r->t] = delta;
    for (int64_t j = begin; j < end; j++) {
        const elem *k = (const elem *)a->k + j * a->ldk + r->head_kv * a->head_dim;
        if (!sees(a, r->seq, r->t, j))
            continue;
        const real ds = AXL_REF(eager_ds)(e, r, j);
        for (int64_t d = 0; d < a->head_dim; d++)
            acc[d] += ds * load(k[d]);
    }
    for (int64_t d = 0; d < a->head_dim; d++)
        axl_ref_put(e->bwd.dq, r->t * a->ldq + r->head * a->head_dim + d, e->bwd.dtype_grad,
                    (double)acc[d], e->bwd.accumulate_dq);
}

static void AXL_REF(eager_dkv)(const axl_attn_eager_bwd_args *e, int64_t seq, int64_t j,
                               int64_t head_kv)
{
    const axl_attn_bwd_args *b = &e->bwd;
    const axl_attn_args *a = &b->fwd;
    const int64_t group = a->n_heads / a->n_kv_heads;
    real dk[AXL_REF_HEAD_DIM] = {0}, dv[AXL_REF_HEAD_DIM] = {0};

    for (int64_t h = head_kv * group; h < (head_kv + 1) * group; h++)
        for (int64_t t = a->cu_seqlens_q[seq]; t < a->cu_seqlens_q[seq + 1]; t++) {
            const query r = {seq, t, h, head_kv};
            const elem *q = (const elem *)a->q + t * a->ldq + h * a->head_dim;
            const elem *dout = (const elem *)b->dout + t * a->ldo + h * a->v_head_dim;
            if (!sees(a, seq, t, j))
                continue;
            const real ds = AXL_REF(eager_ds)(e, &r, j);
            const real p = AXL_REF(rounded)(AXL_REF(eager_p)(e, &r, j));
            for (int64_t d = 0; d < a->head_dim; d++)
                dk[d] += ds * load(q[d]);
            for (int64_t d = 0; d < a->v_head_dim; d++)
                dv[d] += p * load(dout[d]);
        }
    for (int64_t d = 0; d < a->head_dim; d++)
        axl_ref_put(b->dk, j * a->ldk + head_kv * a->head_dim + d, b->dtype_grad, (double)dk[d],
                    b->accumulate_dkv);
    for (int64_t d = 0; d < a->v_head_dim; d++)
        axl_ref_put(b->dv, j * a->ldv + head_kv * a->v_head_dim + d, b->dtype_grad, (double)dv[d],
                    b->accumulate_dkv);
}

static void AXL_REF(attn_eager_bwd)(const axl_attn_eager_bwd_args *e)
{
    const axl_attn_args *a = &e->bwd.fwd;

    for (int64_t i = 0; i < a->n_seqs; i++) {
        for (int64_t t = a->cu_seqlens_q[i]; t < a->cu_seqlens_q[i + 1]; t++)
            for (int64_t h = 0; h < a->n_heads; h++)
                AXL_REF(eager_dq)(e, &(query){i, t, h, h / (a->n_heads / a->n_kv_heads)});
        for (int64_t j = a->cu_seqlens_k[i]; j < a->cu_seqlens_k[i + 1]; j++)
            for (int64_t h = 0; h < a->n_kv_heads; h++)
                AXL_REF(eager_dkv)(e, i, j, h);
    }
}

#else

#include "kernels/ref/attention_rows.h"

#define AXL_REF_FILE "kernels/ref/attention_eager.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_attn_eager_fwd(axl_stream *s, const axl_attn_eager_args *a)
{
    axl_status status = axl_ref_attn_width(&a->fwd);
    if (status != AXL_OK)
        return status;
    AXL_REF_DISPATCH(attn_eager_fwd, a->fwd.dtype);
}

axl_status axl_ref_attn_eager_bwd(axl_stream *s, const axl_attn_eager_bwd_args *a)
{
    axl_status status = axl_ref_attn_width(&a->bwd.fwd);
    if (status != AXL_OK)
        return status;
    AXL_REF_DISPATCH(attn_eager_bwd, a->bwd.fwd.dtype);
}

#endif
