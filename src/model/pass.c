// The two loops over units.
#include "src/model/pass.h"

#include "src/model/graphs.h"
#include "src/model/offload.h"

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
            AXL_TRY(axl_offload_before_forward(w, u));
            AXL_TRY(axl_graphs_run(w, u, false));
            AXL_TRY(axl_offload_after_forward(w, u));
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
    if (!w->run.idle) {
        AXL_TRY(axl_head_backward(w));
        AXL_TRY(axl_offload_after_backward(w, last));
    }
    AXL_TRY(axl_unit_reduce(s, &units[last]));
    axl_unit_release(s, &units[last]);
    for (int u = last - 1; u >= 0; u--) {
        if (u > 1) // the embedding's backward reads no weight
            AXL_TRY(axl_unit_prefetch(s, &units[u - 1]));
        if (u > 0)
            AXL_TRY(axl_unit_acquire(s, &units[u]));
        AXL_TRY(axl_unit_begin_grads(s, &units[u]));
        if (!w->run.idle) {
            AXL_TRY(axl_offload_before_backward(w, u));
            AXL_TRY(axl_graphs_run(w, u, true));
            AXL_TRY(axl_offload_after_backward(w, u));
        }
        AXL_TRY(axl_unit_reduce(s, &units[u]));
        axl_unit_release(s, &units[u]);
    }
out:
    return status;
}
