// Names of the YAML to optimizers, and one step of one of them over all weights.
#include "src/optim/optim_private.h"

#include <string.h>

static const struct {
    const char *name;
    const axl_optimizer *row;
} optimizers[] = {
#define AXL_OPTIMIZER(row, name) {name, &axl_optimizer_##row},
#include "src/optim/optim.def"
#undef AXL_OPTIMIZER
};

const axl_optimizer *axl_optimizer_find(const char *name)
{
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++)
        if (strcmp(optimizers[i].name, name) == 0)
            return optimizers[i].row;
    return NULL;
}

axl_status axl_optimizer_update(const axl_optimizer *o, const axl_sharder *s, const axl_hyper *h)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < s->n_params && s->order[i]->grad_shard != NULL;) {
        const axl_param *first = s->order[i];
        axl_shards x = {.device = first->state,
                        .p = first->master,
                        .m = first->moment[0],
                        .v = first->moment[1],
                        .g = first->update_grad,
                        .decay = first->decay};
        for (; i < s->n_params && s->order[i]->grad_shard != NULL && s->order[i]->decay == x.decay;
             i++)
            x.n = s->order[i]->master - x.p + axl_param_shard_count(s->order[i]);
        AXL_TRY(o->step(&x, h));
    }
out:
    return status;
}
