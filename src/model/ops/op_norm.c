// Normalisation of rows of arg.norm.cols elements (the whole width, or each head).
#include "src/model/ops.h"

static int64_t n_rows(const axl_exec *x, const axl_insn *i)
{
    return x->run->n_tokens * (x->program->slots[i->in[0]].cols / i->arg.norm.cols);
}

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    const axl_norm_args a = {.kind = i->arg.norm.kind,
                             .rows = n_rows(x, i),
                             .cols = i->arg.norm.cols,
                             .x = x->slot[i->in[0]],
                             .w = axl_exec_weight(x, i, 0),
                             .eps = i->arg.norm.eps,
                             .dtype = x->run->dtype,
                             .out = x->slot[i->out[0]],
                             .rstd = x->slot[i->out[1]]};

    return x->run->device->kernels->norm_fwd(x->run->device->compute, &a);
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    bool add = false;
    void *dw = axl_exec_weight_grad(x, i, 0, &add);
    const axl_norm_bwd_args a = {.kind = i->arg.norm.kind,
                                 .rows = n_rows(x, i),
                                 .cols = i->arg.norm.cols,
                                 .x = x->slot[i->in[0]],
                                 .w = axl_exec_weight(x, i, 0),
                                 .dout = x->grad[i->out[0]],
                                 .rstd = x->slot[i->out[1]],
                                 .dtype = x->run->dtype,
                                 .dx = x->grad[i->in[0]],
                                 .accumulate_dx = acc[0],
                                 .dw = dw,
                                 .accumulate_dw = add};

    return x->run->device->kernels->norm_bwd(x->run->device->compute, &a);
}

const axl_op_def axl_op_norm = {.name = "norm",
                                .forward = forward,
                                .backward = backward,
                                .needs_in = 1,
                                .needs_out = 2,
                                .cheap = true};
