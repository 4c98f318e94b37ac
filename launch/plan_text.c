// The tables of axl-dist plan.
#include "launch/plan_report.h"

#include <stdio.h>
#include <string.h>

#define GIB 1073741824.0

const char *axl_plan_mode_name(axl_checkpointing mode)
{
    static const char *const names[] = {[AXL_CHECKPOINT_NONE] = "none",
                                        [AXL_CHECKPOINT_SELECTIVE] = "selective",
                                        [AXL_CHECKPOINT_FULL] = "full"};

    return names[mode];
}

bool axl_plan_memory_at(const axl_plan_report *r, int i, axl_plan_memory *out)
{
    const axl_sharder_bytes *s = &r->forecast.sharder;
    const axl_work_bytes *w = &r->forecast.work;
    const size_t *b = r->forecast.beside.bytes;
    const bool host = r->cluster.is_host;
    const axl_plan_memory rows[] = {
        {"weights", "weights, fp32", s->master, false},
        {"gradients", "gradients, fp32", s->grads + s->squares, false},
        {"moments", "moments of the optimizer", s->moments, false},
        {"gathered_weights", "gathered weights", s->gathered, false},
        {"gradients_in_flight", "gradients in flight", s->grad_buffers, false},
        {"micro_step_sums", "sums of micro-steps", s->levels, false},
        {"layer_inputs", "activations: inputs of layers", w->carries, false},
        {"saved", "activations: kept for backward", w->saved, false},
        {"scratch", "scratch of one layer", w->scratch, false},
        {"residual_gradient", "gradient of the residual stream", w->grads, false},
        {"batch", "batch and rotation tables", w->batch, false},
        {"head", "logits and head", w->head, false},
        {"ring", "keys and values of other ranks", w->ring, false},
        {"kernels_workspace", "workspace of kernels", b[AXL_BESIDE_WORKSPACE], false},
        {"sums_over_ranks", "parts of sums over ranks", b[AXL_BESIDE_SUMS], false},
        {"host", "host: loader, rests of pages", host ? r->forecast.host : 0, false},
        {"cudnn", "about: cuDNN's attention", b[AXL_BESIDE_CUDNN], true},
        {"cuda_graphs", "at most: CUDA graphs", b[AXL_BESIDE_GRAPHS], true},
        {"nccl", "about: NCCL's buffers", b[AXL_BESIDE_NCCL], true},
        {"process", host ? "runtime of the process" : "about: CUDA's context", r->forecast.process,
         true},
    };

    if (i >= (int)(sizeof rows / sizeof *rows))
        return false;
    *out = rows[i];
    return true;
}

static double gib(size_t bytes)
{
    return (double)bytes / GIB;
}

// 8.03 G
static const char *counted(double x, char *text, size_t size)
{
    static const char units[] = " kMGTPE";
    int k = 0;

    for (; x >= 999.5 && units[k + 1] != '\0'; k++)
        x /= 1000.0;
    (void)snprintf(text, size, "%.3g %c", x, units[k]);
    return text;
}

static axl_status put_run(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;
    const int *m = r->job.mesh;
    char params[32], active[48] = "", tokens[32];
    const int64_t rows = r->data.micro_batch_size * r->data.accumulation * m[AXL_DP_REPLICATE] *
                         m[AXL_DP_SHARD] * m[AXL_EP];

    if (f->n_active < f->n_params)
        (void)snprintf(active, sizeof active, " (%.3g G meet a token)", (double)f->n_active * 1e-9);
    AXL_TRY(axl_str_printf(out, "%s of %s parameters%s in %s on %lld rank%s, %lld node%s of %s\n",
                           r->family, counted((double)f->n_params, params, sizeof params), active,
                           axl_dtype_name(r->job.work.dtype), (long long)r->n_ranks,
                           r->n_ranks == 1 ? "" : "s", (long long)r->n_nodes,
                           r->n_nodes == 1 ? "" : "s", r->cluster.name));
    if (r->why_cluster != NULL)
        AXL_TRY(axl_str_printf(out, "%s: %s\n", r->cluster.name, r->why_cluster));
    AXL_TRY(axl_str_printf(out, "mesh dp_replicate %d, dp_shard %d, ep %d, cp %d, tp %d\n", m[0],
                           m[1], m[2], m[3], m[4]));
    AXL_TRY(axl_str_printf(
        out,
        "step of %lld rows, %s tokens: micro_batch_size %lld x gradient_accumulation_steps %lld; "
        "checkpointing %s, weights %s\n",
        (long long)rows, counted(f->tokens_step, tokens, sizeof tokens),
        (long long)r->data.micro_batch_size, (long long)r->data.accumulation,
        axl_plan_mode_name(r->job.work.checkpointing),
        r->job.sharder.reshard_after_forward ? "gathered twice" : "kept for the step"));
out:
    return status;
}

// What stands behind a row's number.
static void put_note(const axl_forecast *f, const char *key, char *note, size_t size)
{
    const axl_beside *b = &f->beside;

    note[0] = '\0';
    if (strcmp(key, "head") == 0)
        (void)snprintf(note, size, "  %lld rows of logits at a time", (long long)f->chunk);
    else if (strcmp(key, "nccl") == 0)
        (void)snprintf(note, size, "  %d communicator%s, %lld connection%s inside nodes",
                       b->n_communicators, b->n_communicators == 1 ? "" : "s",
                       (long long)b->n_peers, b->n_peers == 1 ? "" : "s");
    else if (strcmp(key, "cuda_graphs") == 0)
        (void)snprintf(note, size, "  %lld kernels", (long long)b->n_kernels);
}

static axl_status put_pinned(const axl_forecast *f, axl_str *out)
{
    axl_status status = AXL_OK;

    if (f->pinned == 0)
        goto out;
    AXL_TRY(axl_str_printf(out, "  %-32s %10.3f  beside the sum; %.1f on a node",
                           "pinned memory of the host", gib(f->work.host + f->sharder.host),
                           gib(f->pinned)));
    if (f->pinned_limit > 0)
        AXL_TRY(axl_str_printf(out, " of %.0f%s", gib(f->pinned_limit),
                               f->pinned > f->pinned_limit ? ": too much" : ""));
    AXL_TRY(axl_str_puts(out, "\n"));
out:
    return status;
}

static axl_status put_memory(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;
    axl_plan_memory row;
    char note[80];

    AXL_TRY(axl_str_puts(out, "\nmemory of a rank, GiB\n"));
    for (int i = 0; axl_plan_memory_at(r, i, &row); i++) {
        put_note(f, row.key, note, sizeof note);
        if (row.bytes > 0)
            AXL_TRY(axl_str_printf(out, "  %-32s %10.3f%s\n", row.what, gib(row.bytes), note));
    }
    AXL_TRY(axl_str_printf(out, "  %-32s %10.3f  of %.1f\n", "sum", gib(f->total), gib(f->limit)));
    AXL_TRY(put_pinned(f, out));
out:
    return status;
}

static axl_status put_time(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;
    static const char *const what[AXL_TIME_N] = {
        [AXL_TIME_PRODUCTS] = "products",
        [AXL_TIME_ATTENTION] = "attention",
        [AXL_TIME_ELEMENTWISE] = "norms, activations, sums",
        [AXL_TIME_HEAD] = "logits and loss",
        [AXL_TIME_OPTIMIZER] = "optimizer, casts of weights",
        [AXL_TIME_TP] = "exposed: sums over tp",
        [AXL_TIME_RING] = "exposed: keys and values",
        [AXL_TIME_EXPERTS] = "exposed: rows to experts",
        [AXL_TIME_GATHER] = "exposed: gathers of weights",
        [AXL_TIME_REDUCE] = "exposed: sums of gradients",
        [AXL_TIME_REPLICATE] = "exposed: sums over replicas",
        [AXL_TIME_HOST] = "exposed: copies, updates on hosts",
    };

    AXL_TRY(axl_str_printf(out,
                           "\narithmetic, GFLOP a token: %.4g, of it attention %.4g; with the "
                           "causal half only %.4g\n",
                           f->flops_token * 1e-9, f->flops_attention * 1e-9,
                           f->flops_causal * 1e-9));
    AXL_TRY(axl_str_puts(out, "\ntime of a step, seconds\n"));
    for (int i = 0; i < AXL_TIME_N; i++)
        if (f->time.s[i] > 0.0)
            AXL_TRY(axl_str_printf(out, "  %-32s %10.4f %6.1f %%\n", what[i], f->time.s[i],
                                   100.0 * f->time.s[i] / f->step));
    AXL_TRY(axl_str_printf(out, "  %-32s %10.4f  and %.4f of traffic beside kernels\n", "sum",
                           f->step, f->hidden));
out:
    return status;
}

static axl_status put_bytes(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;
    bool first = true;

    for (int g = 0; g < AXL_N_GROUPS; g++) {
        for (int op = 0; op < AXL_COMM_N_OPS; op++) {
            char name[48];
            if (f->worst.sent[g][op] == 0)
                continue;
            if (first)
                AXL_TRY(axl_str_printf(out, "\nsent in a step by a rank, bytes%17s %20s\n",
                                       "expected", "at most"));
            first = false;
            (void)snprintf(name, sizeof name, "%s.%s", axl_group_name((axl_group)g),
                           axl_comm_op_name((axl_comm_op)op));
            AXL_TRY(axl_str_printf(out, "  %-24s %22lld %20lld\n", name,
                                   (long long)f->expected.sent[g][op],
                                   (long long)f->worst.sent[g][op]));
        }
    }
out:
    return status;
}

// ---- search

static axl_status put_row(const axl_search_row *s, axl_str *out)
{
    const int *m = s->mesh;

    return axl_str_printf(
        out, "  %6d %6d %4d %4d %4d %6lld %6lld  %-10s %-7s %9.4f %9.5g %6.1f %8.2f  %s\n", m[0],
        m[1], m[2], m[3], m[4], (long long)s->micro_batch_size, (long long)s->accumulation,
        axl_plan_mode_name(s->mode), s->reshard ? "twice" : "kept", s->forecast.step,
        s->forecast.tokens_per_second_rank, 100.0 * s->forecast.mfu, gib(s->forecast.total),
        s->why);
}

static axl_status put_search(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_search *s = &r->search;

    AXL_TRY(axl_str_printf(out,
                           "\nthe fastest of %lld layouts for the same rows a step; %lld fit\n",
                           (long long)s->n_tried, (long long)s->n_fit));
    if (s->n_best == 0)
        goto out;
    AXL_TRY(axl_str_printf(out, "  %6s %6s %4s %4s %4s %6s %6s  %-10s %-7s %9s %9s %6s %8s\n",
                           "repl.", "shard", "ep", "cp", "tp", "micro", "accum.", "checkp.",
                           "weights", "s/step", "tok/s/rk", "MFU %", "GiB"));
    for (int i = 0; i < s->n_best; i++)
        AXL_TRY(put_row(&s->best[i], out));
out:
    return status;
}

static axl_status put_key(axl_str *out, bool *first, const char *key, int64_t value)
{
    axl_status status =
        axl_str_printf(out, "%s%s: %lld", *first ? "" : ", ", key, (long long)value);

    *first = false;
    return status;
}

// Those that say what is on the host. What of activations is there may have been asked for by another key.
static axl_status put_host_changes(const axl_plan_report *r, const axl_search_row *m, bool first,
                                   axl_str *out)
{
    axl_status status = AXL_OK;
    static const char *const what[] = {"false", "hidden_states", "true"};
    const axl_offload_what asked = r->job.work.offload;
    const bool reshard = m->reshard != r->job.sharder.reshard_after_forward;
    const bool state = m->offload_state != r->job.sharder.offload;

    if (m->offload != asked && m->mode == r->job.work.checkpointing) {
        AXL_TRY(axl_str_printf(out, "%sgradient_checkpointing: true", first ? "" : ", "));
        first = false;
    }
    if (m->offload != asked || (asked != AXL_OFFLOAD_NONE && m->mode != r->job.work.checkpointing))
        AXL_TRY(axl_str_printf(out, "%sactivation_offloading: %s", first ? "" : ", ",
                               what[m->offload]));
    first = first && m->offload == asked;
    if (reshard || state)
        AXL_TRY(axl_str_printf(out, "%sfsdp_config: {", first ? "" : ", "));
    if (reshard)
        AXL_TRY(axl_str_printf(out, "reshard_after_forward: %s%s", m->reshard ? "true" : "false",
                               state ? ", " : ""));
    if (state)
        AXL_TRY(axl_str_printf(out, "offload_params: %s", m->offload_state ? "true" : "false"));
    if (reshard || state)
        AXL_TRY(axl_str_puts(out, "}"));
out:
    return status;
}

// The keys to change, as YAML.
static axl_status put_changes(const axl_plan_report *r, const axl_search_row *m, axl_str *out)
{
    axl_status status = AXL_OK;
    static const struct {
        axl_axis axis;
        const char *key;
    } axes[] = {{AXL_DP_REPLICATE, "dp_replicate_size"},
                {AXL_DP_SHARD, "dp_shard_size"},
                {AXL_EP, "expert_parallel_size"},
                {AXL_CP, "context_parallel_size"},
                {AXL_TP, "tensor_parallel_size"}};
    bool first = true;

    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++)
        if (m->mesh[axes[i].axis] != r->job.mesh[axes[i].axis])
            AXL_TRY(put_key(out, &first, axes[i].key, m->mesh[axes[i].axis]));
    if (m->micro_batch_size != r->data.micro_batch_size)
        AXL_TRY(put_key(out, &first, "micro_batch_size", m->micro_batch_size));
    if (m->accumulation != r->data.accumulation)
        AXL_TRY(put_key(out, &first, "gradient_accumulation_steps", m->accumulation));
    if (m->mode != r->job.work.checkpointing)
        AXL_TRY(axl_str_printf(
            out, "%sgradient_checkpointing: %s%s", first ? "" : ", ",
            m->mode == AXL_CHECKPOINT_NONE ? "false" : "true",
            m->mode == AXL_CHECKPOINT_SELECTIVE ? ", selective_checkpointing: true" : ""));
    first = first && m->mode == r->job.work.checkpointing;
    AXL_TRY(put_host_changes(r, m, first, out));
out:
    return status;
}

static axl_status put_need(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "no layout of %lld ranks fits", (long long)r->n_ranks));
    if (r->search.ranks_needed > 0)
        AXL_TRY(axl_str_printf(
            out,
            "; %lld ranks do, with tensor_parallel_size: %d, gradient_checkpointing: true and "
            "micro_batch_size: 1",
            (long long)r->search.ranks_needed, r->search.tp_needed));
    AXL_TRY(axl_str_puts(out, "\n"));
out:
    return status;
}

bool axl_plan_mends(const axl_plan_report *r)
{
    return r->search.has_mend &&
           (!axl_forecast_fits(&r->forecast) ||
            r->search.mend.forecast.step < (1.0 - AXL_PLAN_GAIN) * r->forecast.step);
}

static axl_status put_mend(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_search_row *m = &r->search.mend;
    const bool fits = axl_forecast_fits(&r->forecast);

    if (!axl_plan_mends(r)) {
        AXL_TRY(
            fits ? axl_str_printf(out,
                                  "nothing to change: no layout of these ranks is %.0f %% faster "
                                  "for the same rows a step\n",
                                  100.0 * AXL_PLAN_GAIN)
                 : put_need(r, out));
        goto out;
    }
    AXL_TRY(axl_str_puts(out, fits ? "faster: " : "the cheapest mend: "));
    AXL_TRY(put_changes(r, m, out));
    AXL_TRY(axl_str_printf(out,
                           "\n  then %.3f GiB of %.1f, %.4f s a step instead of %.4f (%+.1f %%): "
                           "%s\n",
                           gib(m->forecast.total), gib(m->forecast.limit), m->forecast.step,
                           r->forecast.step, 100.0 * (m->forecast.step / r->forecast.step - 1.0),
                           m->why));
out:
    return status;
}

// The answer, before what it is made of: does it fit, how fast is it, what should be changed.
static axl_status put_answer(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;

    AXL_TRY(axl_str_puts(out, "\n"));
    if (f->total > f->limit)
        AXL_TRY(axl_str_printf(out, "does not fit, %.3f GiB too much: %.3f of %.1f a rank\n",
                               gib(f->total - f->limit), gib(f->total), gib(f->limit)));
    else if (!axl_forecast_fits(f))
        AXL_TRY(axl_str_printf(
            out, "does not fit: the ranks of a node pin %.0f GiB of its host's %.0f\n",
            gib(f->pinned), gib(f->pinned_limit)));
    else
        AXL_TRY(axl_str_printf(out, "fits, %.3f GiB left: %.3f of %.1f a rank\n",
                               gib(f->limit - f->total), gib(f->total), gib(f->limit)));
    AXL_TRY(axl_str_printf(out,
                           "%.4f s a step%s: %.6g tokens/s, %.5g a rank; MFU %.1f %% (%.1f %% with "
                           "the causal half only)\n",
                           f->step, axl_forecast_fits(f) ? "" : ", if it did", f->tokens_per_second,
                           f->tokens_per_second_rank, 100.0 * f->mfu, 100.0 * f->mfu_causal));
    AXL_TRY(put_mend(r, out));
out:
    return status;
}

axl_status axl_plan_text(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_run(r, out));
    AXL_TRY(put_answer(r, out));
    AXL_TRY(put_memory(r, out));
    AXL_TRY(put_time(r, out));
    AXL_TRY(put_bytes(r, out));
    if (r->searched)
        AXL_TRY(put_search(r, out));
out:
    return status;
}
