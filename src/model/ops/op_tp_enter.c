// Where a block's column group begins: every tp rank has the gradient of the input through its own outputs, and
// the sum of them is the gradient.
#include "src/model/ops.h"

static axl_status forward(axl_exec *x, const axl_insn *i)
{
    (void)x;
    (void)i;
    return AXL_OK;
}

static axl_status backward(axl_exec *x, const axl_insn *i, const bool acc[AXL_MAX_IN])
{
    (void)acc; // in place
    return axl_exec_tp_sum(x, x->grad[i->in[0]], x->program->slots[i->in[0]].cols);
}

const axl_op_def axl_op_tp_enter = {
    .name = "tp_enter", .forward = forward, .backward = backward, .in_place = true};
