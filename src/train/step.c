// One optimizer step: a loop over micro-batches, then one update. Everything that is summed over ranks is a sum of
// parts already divided by the weight of the whole step, so the result does not depend on the layout.
#include "src/train/train.h"

#include "comm/cp_layout.h"
#include "src/base/log.h"

#include <string.h>

static double trained_weight(const axl_work *w, const axl_batch *batch)
{
    double sum = 0.0;

    for (int64_t i = 0; i < w->n_scored; i++)
        sum += (double)batch->weight[w->host_scored[i]];
    return sum;
}

// The squares of the documents' lengths, added up; each on one of the ranks that share them.
static double squares(const axl_trainer *t, const axl_batch *b)
{
    const int32_t *cu = b->cp != NULL ? b->cp->cu_seqlens : b->cu_seqlens;
    const int32_t n = b->cp != NULL ? b->cp->n_seqs : b->n_seqs;
    double sum = 0.0;

    for (int32_t i = 0; i < n && t->mesh->coord[AXL_CP] == 0; i++)
        sum += (double)(cu[i + 1] - cu[i]) * (double)(cu[i + 1] - cu[i]);
    return sum;
}

// Forward, loss and backward of one micro-batch. *loss gets its part of the step's mean.
static axl_status micro_step(axl_trainer *t, const axl_batch *batch, double weight, bool last,
                             double *loss)
{
    axl_status status = AXL_OK;
    axl_work *w = &t->work;
    double router_loss = 0.0;

    AXL_TRY(axl_work_set_batch(w, batch));
    axl_sharder_begin_micro(&t->sharder, last);
    axl_loss_in in = {.batch = batch,
                      .position = w->host_scored,
                      .n = w->n_scored,
                      .logp = t->logp,
                      .global_weight = weight};
    const double begin = axl_trace_begin(t->trace);
    AXL_TRY(axl_pass_forward(w, &t->sharder));
    axl_trace_end(t->trace, "forward", "pass", -1, begin);
    const double after = axl_trace_begin(t->trace);
    AXL_TRY(axl_router_loss(w, trained_weight(w, batch), weight, &router_loss));
    if (t->method->gradient_first) {
        t->method->gradient(&in, t->grad);
        AXL_TRY(axl_pass_head(w, &t->sharder, t->grad, true));
        AXL_TRY(axl_head_begin_logp(w)); // for the loss, which can wait until backward is queued
    } else {
        AXL_TRY(axl_pass_head(w, &t->sharder, NULL, true));
        AXL_TRY(axl_head_logp(w, t->logp));
        t->method->gradient(&in, t->grad);
        AXL_TRY(axl_head_gradients(w, t->grad));
    }
    axl_trace_end(t->trace, "logits and loss", "pass", -1, after);
    const double back = axl_trace_begin(t->trace);
    AXL_TRY(axl_pass_backward(w, &t->sharder));
    AXL_TRY(axl_sharder_end_micro(&t->sharder));
    axl_trace_end(t->trace, "backward", "pass", -1, back);
    if (t->method->gradient_first)
        AXL_TRY(axl_head_logp(w, t->logp));
    *loss += t->method->loss(&in) + router_loss;
out:
    return status;
}

static axl_status update(axl_trainer *t, double norm)
{
    axl_status status = AXL_OK;

    t->hyper.t = t->step + 1;
    t->hyper.lr = t->env.config->learning_rate * axl_schedule_factor(&t->schedule, t->step);
    t->hyper.grad_scale = axl_clip_scale(norm, t->env.config->max_grad_norm);
    AXL_TRY(axl_sharder_begin_update(&t->sharder));
    AXL_TRY(axl_optimizer_update(t->optimizer, &t->sharder, &t->hyper));
out:
    return status;
}

// Seconds, memory and bytes of this step, of the rank that has most of each.
static axl_status find_largest(const axl_trainer *t, double start, axl_step_report *report)
{
    axl_status status = AXL_OK;
    enum { EXPOSED, MEMORY, LOAD, SECONDS, BYTES, N_BYTES = AXL_N_GROUPS * AXL_COMM_N_OPS };
    axl_comm_counter c[AXL_COMM_N_OPS];
    double largest[BYTES + N_BYTES] = {[EXPOSED] = axl_mesh_exposed_seconds(t->mesh),
                                       [MEMORY] = (double)axl_memory_bytes(t->env.device),
                                       [SECONDS] = axl_now() - start};

    for (int g = 0; g < AXL_N_GROUPS; g++) {
        if (t->mesh->comms[g] == NULL)
            continue;
        axl_comm_counters_read(t->mesh->comms[g], c);
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            largest[BYTES + g * AXL_COMM_N_OPS + op] = (double)c[op].sent_bytes;
    }
    if (t->work.dispatch != NULL)
        largest[LOAD] = t->work.dispatch->max_over_mean;
    AXL_TRY(axl_comm_all_reduce_f64(t->env.world, largest, BYTES + N_BYTES, AXL_REDUCE_MAX));
    report->exposed = largest[EXPOSED];
    report->seconds = largest[SECONDS];
    report->memory_bytes = (int64_t)largest[MEMORY];
    for (int i = 0; i < N_BYTES; i++)
        report->traffic.sent[i / AXL_COMM_N_OPS][i % AXL_COMM_N_OPS] = (int64_t)largest[BYTES + i];
    report->expert_load = largest[LOAD];
out:
    return status;
}

// The step's loss: micro-batches are added in their global order, wherever each was computed.
static axl_status sum_losses(axl_trainer *t, int64_t n_micro, double *out)
{
    axl_status status = AXL_OK;
    const int64_t n = n_micro * axl_mesh_n_batches(t->mesh);

    *out = 0.0;
    AXL_TRY(axl_comm_all_reduce_f64(t->mesh->loss, t->losses, (int)n, AXL_REDUCE_SUM));
    for (int64_t i = 0; i < n; i++)
        *out += t->losses[i];
out:
    return status;
}

axl_status axl_train_step(axl_trainer *t, axl_step_report *report)
{
    axl_status status = AXL_OK;
    axl_step_info info;
    const axl_batch *batch = NULL;
    double start = axl_now();
    double sums[3] = {0.0}; // tokens, trained tokens, squares of lengths
    const int n_batches = axl_mesh_n_batches(t->mesh);

    axl_mesh_counters_reset(t->mesh);
    axl_dispatch_reset(t->work.dispatch);
    AXL_TRY(axl_loader_begin_step(t->loader, &info));
    axl_sharder_begin_step(&t->sharder);
    memset(t->losses, 0, (size_t)(info.n_micro * n_batches) * sizeof *t->losses);
    for (int64_t m = 0; m < info.n_micro; m++) {
        const double begin = axl_trace_begin(t->trace);
        AXL_TRY(axl_loader_next(t->loader, &batch));
        axl_trace_end(t->trace, "wait for data", "train", m, begin);
        AXL_TRY(micro_step(t, batch, info.weight, m + 1 == info.n_micro,
                           &t->losses[m * n_batches + axl_mesh_batch_rank(t->mesh)]));
        sums[0] += batch->n_tokens;
        sums[1] += (double)t->work.n_scored;
        sums[2] += squares(t, batch);
    }
    AXL_TRY(axl_sharder_finish(&t->sharder));
    AXL_TRY(axl_comm_all_reduce_f64(t->mesh->loss, sums, 3, AXL_REDUCE_SUM));
    *report = (axl_step_report){.step = t->step + 1,
                                .epoch = info.epoch_end,
                                .ends_epoch = info.ends_epoch,
                                .n_tokens = (int64_t)sums[0],
                                .n_trained = (int64_t)sums[1],
                                .flops = axl_arithmetic_flops(&t->arithmetic, sums[0], sums[2])};
    AXL_TRY(sum_losses(t, info.n_micro, &report->loss));
    AXL_TRY(axl_grad_norm(&t->sharder, &report->grad_norm));
    t->agreed = true;                 // loss and norm are equal on all ranks, and so is the verdict
    AXL_TRY(axl_watchdog(t, report)); // before the update: bad gradients must not reach the weights
    t->agreed = false;
    const double begin = axl_trace_begin(t->trace);
    if (info.weight > 0.0)
        AXL_TRY(update(t, report->grad_norm));
    axl_trace_end(t->trace, "optimizer", "train", t->step, begin);
    report->lr = t->hyper.lr;
    AXL_TRY(find_largest(t, start, report));
    if (report->memory_bytes > t->peak_memory)
        t->peak_memory = report->memory_bytes;
    t->step++;
    t->total_tokens += report->n_tokens;
out:
    return status;
}
