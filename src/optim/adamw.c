// AdamW with decoupled decay; norms and biases are spared from decay (param.decay). Zeros between weights stay zeros.
#include "src/optim/optim_private.h"

#include "kernels/kernels.h"

static axl_status step(const axl_shards *x, const axl_hyper *h)
{
    const axl_adamw_args a = {.p = x->p,
                              .m = x->m,
                              .v = x->v,
                              .g = x->g,
                              .n = x->n,
                              .t = h->t,
                              .lr = h->lr,
                              .beta1 = h->beta1,
                              .beta2 = h->beta2,
                              .eps = h->eps,
                              .weight_decay = x->decay ? h->weight_decay : 0.0,
                              .grad_scale = h->grad_scale};

    return x->device->kernels->adamw(x->device->compute, &a);
}

const axl_optimizer axl_optimizer_adamw = {
    .name = "adamw_torch_fused", .n_moments = 2, .step = step};
