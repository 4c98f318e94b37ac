// Rows as e4m3 with a scale each, for the products that read them (op_linear.c). The gradient goes past it: products
// give theirs to the rows themselves.
#include "src/model/ops.h"

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    const axl_cast_fp8_args a = {.src = x->slot[i->in[0]],
                                 .rows = x->run->n_tokens,
                                 .cols = x->program->slots[i->in[0]].cols,
                                 .dtype = x->run->dtype,
                                 .dst = x->slot[i->out[0]],
                                 .scale = x->slot[i->out[1]]};

    return x->run->device->kernels->cast_fp8(x->run->device->compute, &a);
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    (void)x;
    (void)i;
    (void)acc;
    return AXL_OK;
}

const axl_op_def axl_op_cast_fp8 = {
    .name = "cast_fp8", .forward = forward, .backward = backward, .in_place = true, .cheap = true};
