// Attention over packed documents, by the kernel that the run chose. With a cache, the new tokens also see those held in it; under context
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
                           .n_rows_k = run->n_tokens,
                           .n_heads = h,
                           .n_kv_heads = hk,
                           .head_dim = d,
                           .v_head_dim = dv,
                           .scale = i->arg.attention.scale,
                           .softcap = i->arg.attention.softcap,
                           .window = i->arg.attention.window,
                           .mask = i->arg.attention.mask,
                           .prefix = run->prefix,
                           .dtype = run->dtype,
                           .library = i->arg.attention.library,
                           .n_rows = run->n_tokens,
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
    a->n_rows_k = a->max_seqlen_k; // one sequence
    a->pos_q = x->run->positions;  // one sequence: its first new token stands at positions[0]
out:
    return status;
}

// This rank's heads of one half of the model's heads.
typedef struct axl_half {
    int64_t head, n; // n: 0 when the half is other ranks'
} axl_half;

static axl_half heads_of(const axl_run *run, const axl_attn_args *a, int half)
{
    const int64_t n = a->n_heads, before = run->mesh->coord[AXL_TP] * n;
    int64_t first = n * run->mesh->size[AXL_TP] / 2 - before; // of the first half, here

    first = first < 0 ? 0 : first > n ? n : first;
    return half == 0 ? (axl_half){0, first} : (axl_half){first, n - first};
}

// The heads of a half over its groups of the documents; the half begins at a key head (axl_attn_impl_check).
static axl_attn_args half_of(const axl_run *run, const axl_attn_args *whole, int half)
{
    const axl_half h = heads_of(run, whole, half);
    const int64_t group = whole->n_heads / whole->n_kv_heads, head_kv = h.head / group;
    const size_t e = axl_dtype_size(run->dtype);
    axl_attn_args a = *whole;

    a.n_heads = (int32_t)h.n;
    a.n_kv_heads = (int32_t)(h.n / group);
    a.cu_seqlens_q = a.cu_seqlens_k = run->groups[half];
    a.n_seqs = whole->n_seqs * AXL_S2_GROUPS;
    a.max_seqlen_q = a.max_seqlen_k = (whole->max_seqlen_q + 3) / 4;
    a.q = (const char *)a.q + e * (size_t)(h.head * a.head_dim);
    a.k = (const char *)a.k + e * (size_t)(head_kv * a.head_dim);
    a.v = (const char *)a.v + e * (size_t)(head_kv * a.v_head_dim);
    a.out = (char *)a.out + e * (size_t)(h.head * a.v_head_dim);
    a.lse = (char *)a.lse + axl_dtype_size(run->stat) * (size_t)(h.head * run->n_tokens);
    return a;
}

// What fits in the rows of probabilities was planned for.
static axl_status check_probs(const axl_exec *x, const axl_insn *i)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(x->run->max_seqlen <= i->arg.attention.ld_probs, AXL_E_BUG,
                "eager attention: a document of %d tokens, and room for %lld", x->run->max_seqlen,
                (long long)i->arg.attention.ld_probs);
    AXL_REQUIRE(x->run->device->kernels->attn_eager_fwd != NULL, AXL_E_UNSUPPORTED,
                "backend %s has no kernel for attn_implementation eager; use sdpa",
                x->run->device->kernels->name);
out:
    return status;
}

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    axl_status status = AXL_OK;
    const axl_kernels *kernels = x->run->device->kernels;
    const axl_attn_numerics numerics = i->arg.attention.numerics;
    axl_stream *s = x->run->device->compute;
    axl_attn_args a = arguments(x, i);

    if (x->run->kv != NULL)
        AXL_TRY(cached(x, &a));
    if (x->run->ring != NULL) {
        AXL_TRY(axl_ring_forward_as(x->run->ring, numerics, &a, NULL));
    } else if (numerics == AXL_ATTN_EAGER) {
        const axl_attn_eager_args e = {a, x->slot[i->out[2]], i->arg.attention.ld_probs};
        AXL_TRY(check_probs(x, i));
        AXL_TRY(kernels->attn_eager_fwd(s, &e));
    } else if (numerics == AXL_ATTN_SHIFTED) {
        for (int half = 0; half < 2; half++) {
            const axl_attn_args part = half_of(x->run, &a, half);
            if (part.n_heads > 0)
                AXL_TRY(kernels->attn_fwd(s, &part));
        }
    } else {
        AXL_TRY(axl_attn_forward(kernels, s, numerics, &a));
    }
out:
    return status;
}

static axl_status backward_shifted(axl_exec *x, const axl_attn_bwd_args *whole)
{
    axl_status status = AXL_OK;
    const axl_run *run = x->run;
    const axl_attn_args *f = &whole->fwd;
    const size_t e = axl_dtype_size(run->dtype);

    for (int half = 0; half < 2; half++) {
        const size_t h = (size_t)heads_of(run, f, half).head;
        const size_t hk = h / (size_t)(f->n_heads / f->n_kv_heads);
        axl_attn_bwd_args b = *whole;
        b.fwd = half_of(run, f, half);
        b.dout = (const char *)b.dout + e * h * (size_t)f->v_head_dim;
        b.delta = (const char *)b.delta + axl_dtype_size(run->stat) * h * (size_t)run->n_tokens;
        b.dq = (char *)b.dq + e * h * (size_t)f->head_dim;
        b.dk = (char *)b.dk + e * hk * (size_t)f->head_dim;
        b.dv = (char *)b.dv + e * hk * (size_t)f->v_head_dim;
        if (b.fwd.n_heads == 0)
            continue;
        AXL_TRY(run->device->kernels->attn_bwd(run->device->compute, &b));
    }
out:
    return status;
}

// The forward that backward differentiates: with its own out and lse where the one before was rounded.
static axl_attn_args backward_arguments(const axl_exec *x, const axl_insn *i)
{
    axl_attn_args a = arguments(x, i);

    if (axl_attn_repeats(i->arg.attention.numerics)) {
        a.out = x->slot[i->scratch + 1];
        a.lse = x->slot[i->scratch + 2];
    }
    return a;
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    axl_status status = AXL_OK;
    const axl_kernels *kernels = x->run->device->kernels;
    axl_stream *s = x->run->device->compute;
    const axl_attn_args fwd = backward_arguments(x, i);
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
    if (i->arg.attention.numerics == AXL_ATTN_EAGER) {
        const axl_attn_eager_bwd_args e = {a, x->slot[i->out[2]], i->arg.attention.ld_probs,
                                           x->slot[i->scratch]};
        AXL_TRY(kernels->attn_eager_bwd(s, &e));
        goto out;
    }
    if (axl_attn_repeats(i->arg.attention.numerics)) {
        if (x->run->ring != NULL)
            AXL_TRY(axl_ring_forward(x->run->ring, &fwd, NULL));
        else
            AXL_TRY(kernels->attn_fwd(s, &fwd));
    }
    AXL_TRY(kernels->attn_delta(s, &delta));
    if (x->run->ring != NULL)
        AXL_TRY(axl_ring_backward(x->run->ring, &a, NULL));
    else if (i->arg.attention.numerics == AXL_ATTN_SHIFTED)
        AXL_TRY(backward_shifted(x, &a));
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
                                     .needs_out = 7, // out, lse, probabilities
                                     .flops = flops};
