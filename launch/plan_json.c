// The object of axl-dist plan --json. Names are those of the keys and of metrics.jsonl; bytes are integers.
#include "launch/plan_report.h"

#include "src/io/json.h"

#include <stdio.h>
#include <string.h>

static axl_status put_text(axl_json *o, const char *key, const char *text)
{
    axl_json *value = axl_json_new_string(text, strlen(text));

    return axl_json_set(o, key, value != NULL ? value : axl_json_new_string("?", 1));
}

static axl_status put_int(axl_json *o, const char *key, int64_t value)
{
    return axl_json_set(o, key, axl_json_new_int(value));
}

static axl_status put_real(axl_json *o, const char *key, double value)
{
    return axl_json_set(o, key, axl_json_new_real(value));
}

static axl_status put_bool(axl_json *o, const char *key, bool value)
{
    return axl_json_set(o, key, axl_json_new_bool(value));
}

// A new member of o, borrowed.
static axl_status put_object(axl_json *o, const char *key, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_json *child = axl_json_new_object();

    AXL_TRY(axl_json_set(o, key, child));
    *out = child;
out:
    return status;
}

static axl_status put_mesh(axl_json *o, const int mesh[AXL_N_AXES])
{
    axl_status status = AXL_OK;
    axl_json *m = NULL;

    AXL_TRY(put_object(o, "mesh", &m));
    for (int a = 0; a < AXL_N_AXES; a++)
        AXL_TRY(put_int(m, axl_axis_name((axl_axis)a), mesh[a]));
out:
    return status;
}

static axl_status put_memory(axl_json *o, const axl_plan_report *r)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;
    axl_json *m = NULL;
    axl_plan_memory row;
    int64_t estimated = 0;

    AXL_TRY(put_object(o, "memory_bytes", &m));
    for (int i = 0; axl_plan_memory_at(r, i, &row); i++) {
        AXL_TRY(put_int(m, row.key, (int64_t)row.bytes));
        estimated += row.estimated ? (int64_t)row.bytes : 0;
    }
    AXL_TRY(put_int(m, "sum", (int64_t)f->total));
    AXL_TRY(put_int(m, "tensors", (int64_t)f->tensors));
    AXL_TRY(put_int(m, "estimated", estimated)); // part of the sum
    AXL_TRY(put_int(m, "limit", (int64_t)f->limit));
    AXL_TRY(put_int(m, "pinned_host", (int64_t)(f->work.host + f->sharder.host)));
    AXL_TRY(put_int(m, "pinned_node", (int64_t)f->pinned));
    AXL_TRY(put_int(m, "pinned_node_limit", (int64_t)f->pinned_limit));
    AXL_TRY(put_bool(o, "fits", axl_forecast_fits(f)));
out:
    return status;
}

static axl_status put_traffic(axl_json *o, const char *key, const axl_traffic *t)
{
    axl_status status = AXL_OK;
    axl_json *m = NULL;
    char name[48];

    AXL_TRY(put_object(o, key, &m));
    for (int g = 0; g < AXL_N_GROUPS; g++) {
        for (int op = 0; op < AXL_COMM_N_OPS; op++) {
            if (t->sent[g][op] == 0)
                continue;
            (void)snprintf(name, sizeof name, "%s.%s", axl_group_name((axl_group)g),
                           axl_comm_op_name((axl_comm_op)op));
            AXL_TRY(put_int(m, name, t->sent[g][op]));
        }
    }
out:
    return status;
}

static axl_status put_speed(axl_json *o, const axl_forecast *f)
{
    axl_status status = AXL_OK;
    axl_json *time = NULL;

    AXL_TRY(put_object(o, "time_seconds", &time));
    for (int i = 0; i < AXL_TIME_N; i++)
        AXL_TRY(put_real(time, axl_time_class_name((axl_time_class)i), f->time.s[i]));
    AXL_TRY(put_real(o, "step_seconds", f->step));
    AXL_TRY(put_real(o, "comm_hidden_seconds", f->hidden));
    AXL_TRY(put_real(o, "tokens_per_second", f->tokens_per_second));
    AXL_TRY(put_real(o, "tokens_per_second_rank", f->tokens_per_second_rank));
    AXL_TRY(put_real(o, "mfu", f->mfu));
    AXL_TRY(put_real(o, "mfu_causal", f->mfu_causal));
out:
    return status;
}

static axl_status fill_row(axl_json *o, const axl_search_row *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(put_mesh(o, s->mesh));
    AXL_TRY(put_int(o, "micro_batch_size", s->micro_batch_size));
    AXL_TRY(put_int(o, "gradient_accumulation_steps", s->accumulation));
    AXL_TRY(put_text(o, "checkpointing", axl_plan_mode_name(s->mode)));
    AXL_TRY(put_bool(o, "reshard_after_forward", s->reshard));
    AXL_TRY(put_bool(o, "activation_offloading", s->offload != AXL_OFFLOAD_NONE));
    AXL_TRY(put_bool(o, "offload_params", s->offload_state));
    AXL_TRY(put_int(o, "changes", s->n_changes));
    AXL_TRY(put_int(o, "memory_bytes", (int64_t)s->forecast.total));
    AXL_TRY(put_speed(o, &s->forecast));
    AXL_TRY(put_text(o, "why", s->why));
out:
    return status;
}

static axl_status put_search(axl_json *root, const axl_plan_report *r)
{
    axl_status status = AXL_OK;
    const axl_search *s = &r->search;
    axl_json *list = axl_json_new_array(), *o = NULL;

    AXL_TRY(axl_json_set(root, "best", list));
    for (int i = 0; i < s->n_best; i++) {
        o = axl_json_new_object();
        AXL_TRY(axl_json_append(list, o));
        AXL_TRY(fill_row(o, &s->best[i]));
    }
    AXL_TRY(put_int(root, "layouts_tried", s->n_tried));
    AXL_TRY(put_int(root, "layouts_that_fit", s->n_fit));
out:
    return status;
}

static axl_status put_mend(axl_json *root, const axl_plan_report *r)
{
    axl_status status = AXL_OK;
    axl_json *o = NULL;

    if (r->search.has_mend) {
        AXL_TRY(put_object(root, "mend", &o));
        AXL_TRY(fill_row(o, &r->search.mend));
    } else {
        AXL_TRY(axl_json_set(root, "mend", axl_json_new_null()));
        AXL_TRY(put_int(root, "ranks_needed", r->search.ranks_needed));
        AXL_TRY(put_int(root, "tensor_parallel_size_needed", r->search.tp_needed));
    }
out:
    return status;
}

static axl_status fill(axl_json *root, const axl_plan_report *r)
{
    axl_status status = AXL_OK;
    const axl_forecast *f = &r->forecast;
    axl_json *faster = NULL;

    AXL_TRY(put_text(root, "family", r->family));
    AXL_TRY(put_text(root, "cluster", r->cluster.name));
    AXL_TRY(put_text(root, "cluster_from", r->why_cluster != NULL ? r->why_cluster : "--cluster"));
    AXL_TRY(put_int(root, "ranks", r->n_ranks));
    AXL_TRY(put_int(root, "nodes", r->n_nodes));
    AXL_TRY(put_mesh(root, r->job.mesh));
    AXL_TRY(put_int(root, "micro_batch_size", r->data.micro_batch_size));
    AXL_TRY(put_int(root, "gradient_accumulation_steps", r->data.accumulation));
    AXL_TRY(put_text(root, "checkpointing", axl_plan_mode_name(r->job.work.checkpointing)));
    AXL_TRY(put_bool(root, "reshard_after_forward", r->job.sharder.reshard_after_forward));
    AXL_TRY(put_text(root, "dtype", axl_dtype_name(r->job.work.dtype)));
    AXL_TRY(put_int(root, "parameters", f->n_params));
    AXL_TRY(put_int(root, "active_parameters", f->n_active));
    AXL_TRY(put_int(root, "tokens", (int64_t)f->tokens_step));
    AXL_TRY(put_memory(root, r));
    AXL_TRY(put_real(root, "flops_per_token", f->flops_token));
    AXL_TRY(put_real(root, "flops_per_token_attention", f->flops_attention));
    AXL_TRY(put_real(root, "flops_per_token_causal", f->flops_causal));
    AXL_TRY(put_real(root, "flops_per_rank", f->flops_rank));
    AXL_TRY(put_traffic(root, "comm_bytes", &f->expected));
    AXL_TRY(put_traffic(root, "comm_bytes_most", &f->worst));
    AXL_TRY(put_speed(root, f));
    if (r->searched)
        AXL_TRY(put_search(root, r));
    if (!axl_forecast_fits(f))
        AXL_TRY(put_mend(root, r));
    if (axl_forecast_fits(f) && axl_plan_mends(r)) {
        AXL_TRY(put_object(root, "faster", &faster));
        AXL_TRY(fill_row(faster, &r->search.mend));
    }
out:
    return status;
}

axl_status axl_plan_json(const axl_plan_report *r, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_json *root = axl_json_new_object();

    AXL_REQUIRE(root != NULL, AXL_E_MEMORY, "no memory for the report");
    AXL_TRY(fill(root, r));
    AXL_TRY(axl_json_dump(root, 2, out));
    AXL_TRY(axl_str_puts(out, "\n"));
out:
    axl_json_free(root);
    return status;
}
