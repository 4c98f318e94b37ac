// act(gate) * up.
#include "src/model/ops.h"

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    const axl_glu_args a = {.act = i->arg.glu.act,
                            .n = x->run->n_tokens * x->program->slots[i->out[0]].cols,
                            .gate = x->slot[i->in[0]],
                            .up = x->slot[i->in[1]],
                            .dtype = x->run->dtype,
                            .out = x->slot[i->out[0]]};

    return x->run->device->kernels->glu_fwd(x->run->device->compute, &a);
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    const axl_glu_bwd_args a = {.act = i->arg.glu.act,
                                .n = x->run->n_tokens * x->program->slots[i->out[0]].cols,
                                .gate = x->slot[i->in[0]],
                                .up = x->slot[i->in[1]],
                                .dout = x->grad[i->out[0]],
                                .dtype = x->run->dtype,
                                .dgate = x->grad[i->in[0]],
                                .dup = x->grad[i->in[1]]};

    (void)acc; // sets_only
    return x->run->device->kernels->glu_bwd(x->run->device->compute, &a);
}

const axl_op_def axl_op_glu = {.name = "glu",
                               .forward = forward,
                               .backward = backward,
                               .needs_in = 3,
                               .sets_only = 3,
                               .cheap = true};
