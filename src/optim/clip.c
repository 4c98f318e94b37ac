// The global gradient norm. Padding rows of shards are zero in every gradient, so whole shards are summed, and
// what several ranks hold is counted by its owner alone.
#include "src/optim/optim.h"

#include "kernels/kernels.h"

#include <math.h>

axl_status axl_grad_norm(const axl_sharder *s, double *out)
{
    axl_status status = AXL_OK;
    double sum = 0.0;

    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            const axl_param *p = &s->units[i].params[k];
            const axl_sumsq_args a = {
                .x = p->grad_shard, .n = axl_param_shard_count(p), .dtype = AXL_F32, .out = &sum};
            if (p->grad_shard != NULL && p->owner)
                AXL_TRY(s->device->kernels->sumsq(s->device->compute, &a));
        }
    }
    AXL_TRY(s->device->ops->synchronize(s->device->compute));
    AXL_TRY(axl_comm_all_reduce_f64(s->mesh->world, &sum, 1, AXL_REDUCE_SUM));
    *out = sqrt(sum);
out:
    return status;
}

double axl_clip_scale(double norm, double max_norm)
{
    double scale = max_norm / (norm + 1e-6);

    return max_norm > 0.0 && scale < 1.0 ? scale : 1.0;
}
