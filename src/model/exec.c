// Forward and backward of one program. Pointers come from the plan; the walk itself is two loops.
#include "src/model/exec.h"

#include "src/model/ops.h"

#include <string.h>

size_t axl_exec_slot_size(const axl_run *run, const axl_slot_info *s)
{
    return axl_dtype_size(axl_slot_dtype(s, run->dtype, run->stat));
}

const void *axl_exec_weight(const axl_exec *x, const axl_insn *i, int k)
{
    return i->w[k] >= 0 ? x->w[i->w[k]]->full : NULL;
}

const float *axl_exec_weight_scale(const axl_exec *x, const axl_insn *i, int k)
{
    return x->w[i->w[k]]->scale;
}

void *axl_exec_weight_grad(axl_exec *x, const axl_insn *i, int k, bool *accumulate)
{
    if (i->w[k] < 0 || !x->w[i->w[k]]->trainable)
        return NULL;
    axl_param *p = x->w[i->w[k]];
    *accumulate = p->grad_written;
    p->grad_written = true;
    return p->grad_full;
}

axl_status axl_exec_tp_sum(const axl_exec *x, void *rows, int64_t cols)
{
    return axl_comm_all_reduce(x->run->mesh->axis[AXL_TP], rows, x->run->n_tokens * cols,
                               x->run->dtype, AXL_REDUCE_SUM, x->run->device->compute);
}

static void *at(void *base, int64_t offset)
{
    return offset >= 0 ? (char *)base + offset : NULL;
}

// The carry is read-only for a program, but slots are one array of plain pointers.
static void *unconst(const void *p)
{
    void *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

axl_status axl_exec_forward(axl_exec *x, const axl_unit_plan *plan, void *scratch, void *saved,
                            const void *carry_in, void *carry_out)
{
    axl_status status = AXL_OK;
    const axl_program *p = x->program;

    x->again = false;
    for (int s = 0; s < p->n_slots; s++)
        x->slot[s] =
            plan->saved[s] >= 0 ? at(saved, plan->saved[s]) : at(scratch, plan->forward[s]);
    if (p->in >= 0)
        x->slot[p->in] = unconst(carry_in);
    x->slot[p->out] = carry_out;
    for (int n = 0; n < p->n_insns; n++) {
        const axl_insn *i = &p->insns[n];
        const double begin = axl_trace_begin(x->run->trace);
        AXL_TRY_CTX(axl_ops[i->op]->forward(x, i), "%s (layer %d, forward)", i->name,
                    x->run->layer);
        axl_trace_end(x->run->trace, i->name, "forward", x->run->layer, begin);
        AXL_TRY(axl_device_progress(x->run->device));
    }
out:
    return status;
}

static void bind_backward(axl_exec *x, const axl_unit_plan *plan, void *scratch, void *saved,
                          const void *carry_in, void *grad)
{
    const axl_program *p = x->program;

    for (int s = 0; s < p->n_slots; s++) {
        int16_t root = plan->grad_root[s];
        x->slot[s] =
            plan->saved[s] >= 0 ? at(saved, plan->saved[s]) : at(scratch, plan->backward[s]);
        x->grad[s] = root == plan->grad_root[p->out] ? grad : at(scratch, plan->grad[root]);
    }
    if (p->in >= 0)
        x->slot[p->in] = unconst(carry_in);
}

axl_status axl_exec_backward(axl_exec *x, const axl_unit_plan *plan, void *scratch, void *saved,
                             const void *carry_in, void *grad)
{
    axl_status status = AXL_OK;
    const axl_program *p = x->program;

    x->again = true;
    bind_backward(x, plan, scratch, saved, carry_in, grad);
    for (int n = 0; n < plan->n_rerun; n++) {
        const axl_insn *i = &p->insns[plan->rerun[n]];
        const double begin = axl_trace_begin(x->run->trace);
        AXL_TRY_CTX(axl_ops[i->op]->forward(x, i), "%s (layer %d, recomputed)", i->name,
                    x->run->layer);
        axl_trace_end(x->run->trace, i->name, "recomputed", x->run->layer, begin);
        AXL_TRY(axl_device_progress(x->run->device));
    }
    for (int n = p->n_insns - 1; n >= 0; n--) {
        const axl_insn *i = &p->insns[n];
        const double begin = axl_trace_begin(x->run->trace);
        AXL_TRY_CTX(axl_ops[i->op]->backward(x, i, plan->acc[n]), "%s (layer %d, backward)",
                    i->name, x->run->layer);
        axl_trace_end(x->run->trace, i->name, "backward", x->run->layer, begin);
        AXL_TRY(axl_device_progress(x->run->device));
    }
    if (p->in >= 0 && !plan->in_place)
        AXL_TRY(x->run->device->ops->copy(x->run->device->compute, grad, x->grad[p->in],
                                          (size_t)(x->run->n_tokens * p->slots[p->in].cols) *
                                              axl_dtype_size(x->run->dtype)));
out:
    return status;
}
