// The two loops over units.
#include "src/model/pass.h"

static axl_exec unit_exec(axl_work *w, const axl_unit *u)
{
    w->run.layer = u->layer;
    return (axl_exec){.run = &w->run, .program = axl_model_program(w->model, u), .w = u->uses};
}

axl_status axl_pass_forward(axl_work *w, axl_sharder *s)
{
    axl_status status = AXL_OK;
    axl_unit *units = w->model->units;
    int n = w->model->n_units - 1; // without the head

    AXL_TRY(axl_unit_prefetch(s, &units[0]));
    for (int u = 0; u < n; u++) {
        AXL_TRY(axl_unit_prefetch(s, &units[u + 1]));
        AXL_TRY(axl_unit_acquire(s, &units[u]));
        if (!w->run.idle) {
            axl_exec x = unit_exec(w, &units[u]);
            AXL_TRY(axl_exec_forward(&x, &w->plans[units[u].program], w->scratch, w->saved[u],
                                     u > 0 ? axl_work_carry(w, u) : NULL,
                                     axl_work_carry(w, u + 1)));
        }
        axl_unit_release(s, &units[u]);
    }
out:
    return status;
}

axl_status axl_pass_head(axl_work *w, axl_sharder *s, const double *grad_logp, bool train)
{
    axl_status status = AXL_OK;
    axl_unit *head = &w->model->units[w->model->n_units - 1];

    AXL_TRY(axl_unit_acquire(s, head));
    if (train)
        AXL_TRY(axl_unit_begin_grads(s, head));
    if (!w->run.idle)
        AXL_TRY(axl_head_forward(w, grad_logp));
    if (!train)
        axl_unit_release(s, head);
out:
    return status;
}

axl_status axl_pass_backward(axl_work *w, axl_sharder *s)
{
    axl_status status = AXL_OK;
    axl_unit *units = w->model->units;
    int last = w->model->n_units - 1;

    AXL_TRY(axl_unit_prefetch(s, &units[last - 1]));
    if (!w->run.idle)
        AXL_TRY(axl_head_backward(w));
    AXL_TRY(axl_unit_reduce(s, &units[last]));
    axl_unit_release(s, &units[last]);
    for (int u = last - 1; u >= 0; u--) {
        if (u > 1) // the embedding's backward reads no weight
            AXL_TRY(axl_unit_prefetch(s, &units[u - 1]));
        if (u > 0)
            AXL_TRY(axl_unit_acquire(s, &units[u]));
        AXL_TRY(axl_unit_begin_grads(s, &units[u]));
        if (!w->run.idle) {
            axl_exec x = unit_exec(w, &units[u]);
            AXL_TRY(axl_exec_backward(&x, &w->plans[units[u].program], w->scratch, w->saved[u],
                                      u > 0 ? axl_work_carry(w, u) : NULL, w->grad));
        }
        AXL_TRY(axl_unit_reduce(s, &units[u]));
        axl_unit_release(s, &units[u]);
    }
out:
    return status;
}
