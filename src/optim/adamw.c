// AdamW with decoupled decay; norms and biases are spared from decay (param.decay).
#include "src/optim/optim_private.h"

#include "kernels/kernels.h"

static axl_status step(axl_param *p, const axl_hyper *h)
{
    const axl_device *d = p->state;
    const axl_adamw_args a = {.p = p->master,
                              .m = p->moment[0],
                              .v = p->moment[1],
                              .g = p->update_grad,
                              .n = axl_param_shard_count(p),
                              .t = h->t,
                              .lr = h->lr,
                              .beta1 = h->beta1,
                              .beta2 = h->beta2,
                              .eps = h->eps,
                              .weight_decay = p->decay ? h->weight_decay : 0.0,
                              .grad_scale = h->grad_scale};

    return d->kernels->adamw(d->compute, &a);
}

const axl_optimizer axl_optimizer_adamw = {
    .name = "adamw_torch_fused", .n_moments = 2, .step = step};
