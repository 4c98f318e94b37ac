// Supervised fine-tuning: the weighted mean of -logp over the trained tokens of the global batch.
#include "src/methods/methods_private.h"

static void gradient(const axl_loss_in *in, double *grad)
{
    for (int64_t i = 0; i < in->n; i++)
        grad[i] = -(double)in->batch->weight[in->position[i]] / in->global_weight;
}

static double loss(const axl_loss_in *in)
{
    double sum = 0.0;

    for (int64_t i = 0; i < in->n; i++)
        sum -= (double)in->batch->weight[in->position[i]] * in->logp[i];
    return sum / in->global_weight;
}

const axl_method axl_method_sft = {
    .name = "sft", .gradient_first = true, .gradient = gradient, .loss = loss};
