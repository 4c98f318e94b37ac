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
    const axl_plan_memory rows[] = {
        {"weights", "weights, fp32", s->master},
        {"gradients", "gradients, fp32", s->grads + s->squares},
        {"moments", "moments of the optimizer", s->moments},
        {"gathered_weights", "gathered weights", s->gathered},
        {"gradients_in_flight", "gradients in flight", s->grad_buffers},
        {"micro_step_sums", "sums of micro-steps", s->levels},
        {"layer_inputs", "activations: inputs of layers", w->carries},
        {"saved", "activations: kept for backward", w->saved},
        {"scratch", "scratch of one layer", w->scratch},
        {"residual_gradient", "gradient of the residual stream", w->grads},
        {"batch", "batch and rotation tables", w->batch},
        {"head", "logits and head", w->head},
        {"ring", "keys and values of other ranks", w->ring},
        {"host", "host: loader, rests of pages", r->cluster.is_host ? r->forecast.host : 0},
        {"process", "runtime of the process", r->forecast.process},
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

static axl_status put_memory(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;
    axl_plan_memory row;
    char note[48];

    AXL_TRY(axl_str_puts(out, "\nmemory of a rank, GiB\n"));
    for (int i = 0; axl_plan_memory_at(r, i, &row); i++) {
        note[0] = '\0';
        if (strcmp(row.key, "head") == 0)
            (void)snprintf(note, sizeof note, "  %lld rows of logits at a time",
                           (long long)f->chunk);
        if (row.bytes > 0)
            AXL_TRY(axl_str_printf(out, "  %-32s %10.3f%s\n", row.what, gib(row.bytes), note));
    }
    AXL_TRY(axl_str_printf(out, "  %-32s %10.3f  of %.1f: ", "sum", gib(f->total), gib(f->limit)));
    if (axl_forecast_fits(f))
        AXL_TRY(axl_str_printf(out, "fits, %.3f left\n", gib(f->limit - f->total)));
    else
        AXL_TRY(axl_str_printf(out, "does not fit, %.3f too much\n", gib(f->total - f->limit)));
    if (f->work.host + f->sharder.host > 0)
        AXL_TRY(axl_str_printf(out, "  %-32s %10.3f  beside the sum\n", "pinned memory of the host",
                               gib(f->work.host + f->sharder.host)));
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
    AXL_TRY(axl_str_printf(out,
                           "  %.6g tokens/s, %.5g a rank; MFU %.1f %% (%.1f %% with the causal "
                           "half only)\n",
                           f->tokens_per_second, f->tokens_per_second_rank, 100.0 * f->mfu,
                           100.0 * f->mfu_causal));
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
    if (m->reshard != r->job.sharder.reshard_after_forward)
        AXL_TRY(axl_str_printf(out, "%sfsdp_config: {reshard_after_forward: %s}", first ? "" : ", ",
                               m->reshard ? "true" : "false"));
out:
    return status;
}

static axl_status put_mend(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_search_row *m = &r->search.mend;

    if (!r->search.has_mend) {
        AXL_TRY(axl_str_printf(out, "\nno layout of %lld ranks fits", (long long)r->n_ranks));
        if (r->search.ranks_needed > 0)
            AXL_TRY(axl_str_printf(
                out,
                "; %lld ranks do, with tensor_parallel_size: %d, gradient_checkpointing: true and "
                "micro_batch_size: 1",
                (long long)r->search.ranks_needed, r->search.tp_needed));
        AXL_TRY(axl_str_puts(out, "\n"));
        goto out;
    }
    AXL_TRY(axl_str_puts(out, "\nthe cheapest mend: "));
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

axl_status axl_plan_text(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_run(r, out));
    AXL_TRY(put_memory(r, out));
    AXL_TRY(put_time(r, out));
    AXL_TRY(put_bytes(r, out));
    if (r->searched)
        AXL_TRY(put_search(r, out));
    if (!axl_forecast_fits(&r->forecast))
        AXL_TRY(put_mend(r, out));
out:
    return status;
}
