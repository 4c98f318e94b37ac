// Rotary positions. Backward is the inverse rotation; it needs nothing but the tables.
#include "src/model/ops.h"

static axl_status rotate(axl_exec *x, const axl_insn *i, const void *in, void *out, bool inverse)
{
    const axl_rope_args a = {.x = in,
                             .cos = x->run->cos[i->arg.rope.rope],
                             .sin = x->run->sin[i->arg.rope.rope],
                             .n_tokens = x->run->n_tokens,
                             .n_heads = i->arg.rope.n_heads,
                             .head_dim = i->arg.rope.head_dim,
                             .half = i->arg.rope.half,
                             .pairing = i->arg.rope.pairing,
                             .inverse = inverse,
                             .dtype = x->run->dtype,
                             .out = out};

    return x->run->device->kernels->rope(x->run->device->compute, &a);
}

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    return rotate(x, i, x->slot[i->in[0]], x->slot[i->out[0]], false);
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    (void)acc; // sets_only
    return rotate(x, i, x->grad[i->out[0]], x->grad[i->in[0]], true);
}

const axl_op_def axl_op_rope = {
    .name = "rope", .forward = forward, .backward = backward, .sets_only = 1};
