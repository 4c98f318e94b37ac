// From the counts of a micro-batch to its auxiliary loss: a few numbers an expert, on the host.
#include "src/model/router.h"

#include <string.h>

axl_status axl_router_begin(axl_work *w)
{
    axl_status status = AXL_OK;
    axl_router_load *load = w->run.load;
    const size_t n = (size_t)w->model->arch.moe.n_experts;

    if (load == NULL)
        goto out;
    memset(load->counts, 0, n * sizeof *load->counts);
    load->n_rows = 0;
    AXL_TRY(
        w->device->ops->zero(w->device->compute, load->prob_sum, n * axl_dtype_size(w->run.stat)));

out:
    return status;
}

// Statistics between the host's doubles and the device; staging holds n of them.
static axl_status download(axl_work *w, const void *device, double *host, int64_t n)
{
    axl_status status = AXL_OK;
    const bool f64 = w->run.stat == AXL_F64;
    const size_t bytes = (size_t)n * axl_dtype_size(w->run.stat);

    AXL_TRY(w->device->ops->copy(w->device->compute, w->load_stats, device, bytes));
    AXL_TRY(w->device->ops->synchronize(w->device->compute));
    for (int64_t i = 0; i < n; i++)
        host[i] =
            f64 ? ((const double *)w->load_stats)[i] : (double)((const float *)w->load_stats)[i];

out:
    return status;
}

// The download of the next micro-step waits for this copy, before anybody writes the staging again.
static axl_status upload(axl_work *w, void *device, const double *host, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (w->run.stat == AXL_F64)
            ((double *)w->load_stats)[i] = host[i];
        else
            ((float *)w->load_stats)[i] = (float)host[i];
    }
    return w->device->ops->copy(w->device->compute, device, w->load_stats,
                                (size_t)n * axl_dtype_size(w->run.stat));
}

axl_status axl_router_loss(axl_work *w, double weight, double global_weight, double *loss)
{
    axl_status status = AXL_OK;
    const axl_moe *moe = &w->model->arch.moe;
    const axl_mesh *mesh = w->model->mesh;
    axl_router_load *load = w->run.load;
    const int64_t n = moe->n_experts;
    double *probs = w->load_sums, *counts = probs + n, *pairs = counts + n;
    double aux = 0.0;

    *loss = 0.0;
    if (load == NULL)
        goto out;
    AXL_TRY(download(w, load->prob_sum, probs, n));
    for (int64_t e = 0; e < n; e++)
        counts[e] = (double)load->counts[e];
    pairs[0] = (double)load->n_rows;
    pairs[1] = weight;
    AXL_TRY(axl_comm_all_reduce_f64(mesh->axis[AXL_CP], w->load_sums, (int)(2 * n + 2),
                                    AXL_REDUCE_SUM));
    const double share = global_weight > 0.0 ? moe->aux_coef * pairs[1] / global_weight : 0.0;
    const double factor = pairs[0] > 0.0 ? (double)n / (pairs[0] * pairs[0]) : 0.0;
    for (int64_t e = 0; e < n; e++) {
        aux += factor * counts[e] * probs[e];
        counts[e] *= share * factor; // now the gradient of e's probability
    }
    AXL_TRY(upload(w, load->dprobs, counts, n));
    if (mesh->coord[AXL_CP] == 0)
        *loss = share * aux;

out:
    return status;
}
