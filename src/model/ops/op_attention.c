// Causal attention over packed documents. With a cache, the new tokens also see those held in it; under context
// parallelism the keys of other ranks come in turns (ring_attention.h).
#include "src/model/ops.h"

static axl_attn_args arguments(const axl_exec *x, const axl_insn *i)
{
    const axl_run *run = x->run;
    int32_t h = i->arg.attention.n_heads;
    int32_t hk = i->arg.attention.n_kv_heads;
    int32_t d = i->arg.attention.head_dim;
    int32_t dv = i->arg.attention.v_head_dim;

    return (axl_attn_args){.q = x->slot[i->in[0]],
                           .k = x->slot[i->in[1]],
                           .v = x->slot[i->in[2]],
                           .ldq = (int64_t)h * d,
                           .ldk = (int64_t)hk * d,
                           .ldv = (int64_t)hk * dv,
                           .ldo = (int64_t)h * dv,
                           .cu_seqlens_q = run->cu_seqlens,
                           .cu_seqlens_k = run->cu_seqlens,
                           .n_seqs = run->n_seqs,
                           .max_seqlen_q = run->max_seqlen,
                           .max_seqlen_k = run->max_seqlen,
                           .n_heads = h,
                           .n_kv_heads = hk,
                           .head_dim = d,
                           .v_head_dim = dv,
                           .scale = i->arg.attention.scale,
                           .softcap = i->arg.attention.softcap,
                           .window = i->arg.attention.window,
                           .mask = AXL_MASK_CAUSAL,
                           .dtype = run->dtype,
                           .out = x->slot[i->out[0]],
                           .lse = x->slot[i->out[1]]};
}

// Puts the new keys and values behind those held and attends to all of them.
static axl_status cached(axl_exec *x, axl_attn_args *a)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = x->run->device->ops;
    axl_stream *s = x->run->device->compute;
    axl_kv_cache *kv = x->run->kv;
    size_t e = axl_dtype_size(x->run->dtype);
    char *k = kv->k[x->run->layer];
    char *v = kv->v[x->run->layer];
    size_t n = (size_t)x->run->n_tokens;

    AXL_TRY(ops->copy(s, k + (size_t)(kv->length * a->ldk) * e, a->k, n * (size_t)a->ldk * e));
    AXL_TRY(ops->copy(s, v + (size_t)(kv->length * a->ldv) * e, a->v, n * (size_t)a->ldv * e));
    a->k = k;
    a->v = v;
    a->cu_seqlens_k = x->run->cu_seqlens_k;
    a->max_seqlen_k = (int32_t)(kv->length + x->run->n_tokens);
    a->pos_q = x->run->positions; // one sequence: its first new token stands at positions[0]
out:
    return status;
}

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    axl_status status = AXL_OK;
    axl_attn_args a = arguments(x, i);

    if (x->run->kv != NULL)
        AXL_TRY(cached(x, &a));
    if (x->run->ring != NULL)
        AXL_TRY(axl_ring_forward(x->run->ring, &a, NULL));
    else
        AXL_TRY(x->run->device->kernels->attn_fwd(x->run->device->compute, &a));
out:
    return status;
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    axl_status status = AXL_OK;
    const axl_kernels *kernels = x->run->device->kernels;
    axl_stream *s = x->run->device->compute;
    const axl_attn_args fwd = arguments(x, i);
    const axl_attn_delta_args delta = {.out = fwd.out,
                                       .dout = x->grad[i->out[0]],
                                       .delta = x->slot[i->scratch],
                                       .n_tokens = x->run->n_tokens,
                                       .ldo = fwd.ldo,
                                       .n_heads = fwd.n_heads,
                                       .v_head_dim = fwd.v_head_dim,
                                       .dtype = fwd.dtype};
    const axl_attn_bwd_args a = {.fwd = fwd,
                                 .dout = x->grad[i->out[0]],
                                 .delta = delta.delta,
                                 .dq = x->grad[i->in[0]],
                                 .dk = x->grad[i->in[1]],
                                 .dv = x->grad[i->in[2]],
                                 .dtype_grad = fwd.dtype,
                                 .accumulate_dq = acc[0],
                                 .accumulate_dkv = acc[1]};

    AXL_ASSERT(acc[1] == acc[2]);
    AXL_TRY(kernels->attn_delta(s, &delta));
    if (x->run->ring != NULL)
        AXL_TRY(axl_ring_backward(x->run->ring, &a, NULL));
    else
        AXL_TRY(kernels->attn_bwd(s, &a));
out:
    return status;
}

static double flops(const axl_insn *i, double n, double pairs)
{
    (void)n;
    return 2.0 * pairs * i->arg.attention.n_heads *
           (i->arg.attention.head_dim + i->arg.attention.v_head_dim);
}

const axl_op_def axl_op_attention = {.name = "attention",
                                     .forward = forward,
                                     .backward = backward,
                                     .needs_in = 7,
                                     .needs_out = 3,
                                     .flops = flops};
