// The residual sum. Its backward hands the same gradient to both inputs; where the plan gave them the same
// memory as the output's gradient there is nothing to do.
#include "src/model/ops.h"

static int64_t n_elements(const axl_exec *x, const axl_insn *i)
{
    return x->run->n_tokens * x->program->slots[i->out[0]].cols;
}

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    const axl_add_args a = {.a = x->slot[i->in[0]],
                            .b = x->slot[i->in[1]],
                            .alpha = 1.0f,
                            .beta = 1.0f,
                            .n = n_elements(x, i),
                            .dtype = x->run->dtype,
                            .out = x->slot[i->out[0]]};

    return x->run->device->kernels->add(x->run->device->compute, &a);
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    axl_status status = AXL_OK;
    void *dout = x->grad[i->out[0]];

    for (int k = 0; k < 2; k++) {
        void *din = x->grad[i->in[k]];
        if (din == dout)
            continue;
        const axl_add_args a = {.a = dout,
                                .b = acc[k] ? din : NULL,
                                .alpha = 1.0f,
                                .beta = 1.0f,
                                .n = n_elements(x, i),
                                .dtype = x->run->dtype,
                                .out = din};
        AXL_TRY(x->run->device->kernels->add(x->run->device->compute, &a));
    }
out:
    return status;
}

const axl_op_def axl_op_add = {.name = "add", .forward = forward, .backward = backward};
