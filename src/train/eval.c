// The evaluation loop: forward only, every sample once, a token-weighted mean over all ranks.
#include "src/train/train.h"

#include "comm/watch.h"

#include <math.h>

static axl_status eval_step(axl_trainer *t, double sums[2])
{
    axl_status status = AXL_OK;
    axl_step_info info;
    const axl_batch *batch = NULL;
    axl_work *w = &t->work;

    AXL_TRY(axl_loader_begin_step(t->eval_loader, &info));
    for (int64_t m = 0; m < info.n_micro; m++) {
        AXL_TRY(axl_loader_next(t->eval_loader, &batch));
        AXL_TRY(axl_work_set_batch(w, batch));
        AXL_TRY(axl_pass_forward(w, &t->sharder));
        AXL_TRY(axl_pass_head(w, &t->sharder, NULL, false));
        double part = 0.0,
               router_loss = 0.0; // as in training: a mean over tokens, and a mean over batches
        AXL_TRY(axl_head_logp(w, t->logp));
        for (int64_t i = 0; i < w->n_scored; i++) {
            double weight = (double)batch->weight[w->host_scored[i]];
            sums[0] -= weight * t->logp[i];
            part += weight;
        }
        AXL_TRY(axl_router_loss(w, part, 1.0, &router_loss));
        sums[0] += router_loss;
        sums[1] += part;
    }
out:
    return status;
}

axl_status axl_train_eval(axl_trainer *t, axl_eval_report *report)
{
    axl_status status = AXL_OK;
    double sums[2] = {0.0, 0.0}; // loss, trained tokens

    t->work.forward_only = true;
    axl_watch_phase(t->env.world, AXL_PHASE_EVALUATING, t->step);
    AXL_TRY(axl_loader_rewind(t->eval_loader));
    axl_sharder_begin_step(
        &t->sharder); // weights that were kept gathered are from before the last update
    for (int64_t n = axl_loader_steps_left(t->eval_loader); n > 0; n--)
        AXL_TRY(eval_step(t, sums));
    AXL_TRY(axl_comm_all_reduce_f64(t->mesh->loss, sums, 2, AXL_REDUCE_SUM));
    // what is decided by it must not depend on the order in which ranks of another group added up
    AXL_TRY(axl_comm_bcast_bytes(t->env.world, sums, sizeof sums, 0));
    t->agreed = true;
    AXL_REQUIRE(sums[1] > 0.0, AXL_E_INPUT, "the evaluation set has no trained token");
    t->agreed = false;
    report->loss = sums[0] / sums[1];
    report->perplexity = exp(report->loss);
    report->n_trained = (int64_t)sums[1];
out:
    t->work.forward_only = false;
    return status;
}
