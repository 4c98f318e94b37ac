// Gradients of units on their way into the shards. The hard part is what travels together: the parts of many weights that
// go to one rank lie side by side, without copies that cost more than the messages they spare.
#include "sharding/unit_impl.h"

#include "src/base/log.h"

#include <string.h>

void axl_unit_grad_sizes(const axl_unit *units, int n_units, size_t size[4])
{
    memset(size, 0, 4 * sizeof *size);
    for (int i = 0; i < n_units; i++) {
        size_t total = 0;
        for (int k = 0; k < units[i].n_uses; k++)
            if (units[i].uses[k]->trainable && !axl_unit_writes_shard(units[i].uses[k]))
                total += axl_unit_full_bytes(units[i].uses[k], sizeof(float));
        size_t *region = &size[axl_unit_region(&units[i])];
        *region = total > *region ? total : *region;
    }
}

// ---- what travels together
//
// One message to each rank instead of one a weight: the parts that go to a rank lie side by side in a copy. bf16 is a copy of
// everything anyway. In f32 only vectors are copied, a few KiB: a matrix would cost more memory, and time on a CPU, than its
// message (docs/internals/sharding.md).

static bool is_reduced(const axl_unit *u, const axl_param *p)
{
    return p->trainable && !axl_unit_writes_shard(p) && axl_unit_owns(u, p);
}

static bool is_packed(const axl_sharder_options *o, const axl_param *p)
{
    return o->reduce_bf16 || p->cols == 1;
}

static axl_dtype send_dtype(const axl_sharder_options *o)
{
    return o->reduce_bf16 ? AXL_BF16 : AXL_F32;
}

// Elements from one rank's parts to the next one's, of dense weights or of experts; every rank's begin at a whole vector.
static int64_t pack_stride(const axl_unit *u, const axl_sharder_options *o, bool experts)
{
    const int64_t whole = 16;
    int64_t n = 0;

    for (int k = 0; k < u->n_uses; k++) {
        const axl_param *p = u->uses[k];
        if (is_reduced(u, p) && is_packed(o, p) && p->is_expert == experts)
            n += axl_param_shard_count(p);
    }
    return (n + whole - 1) / whole * whole;
}

static size_t pack_bytes(const axl_unit *u, const axl_sharder_options *o, bool experts)
{
    int n_shards = 0;

    for (int k = 0; k < u->n_uses; k++)
        if (u->uses[k]->is_expert == experts)
            n_shards = u->uses[k]->n_shards;
    return axl_align_up((size_t)(n_shards * pack_stride(u, o, experts)) *
                        axl_dtype_size(send_dtype(o)));
}

void axl_unit_send_sizes(const axl_unit *units, int n_units, const axl_sharder_options *o,
                         size_t size[4])
{
    memset(size, 0, 4 * sizeof *size);
    for (int i = 0; i < n_units; i++) {
        const size_t total = pack_bytes(&units[i], o, false) + pack_bytes(&units[i], o, true);
        size_t *region = &size[axl_unit_region(&units[i])];
        *region = total > *region ? total : *region;
    }
}

// ---- gradients

static char *grad_place(const axl_sharder *s, const axl_unit *u, int k)
{
    size_t at = s->grad_offset[axl_unit_region(u)];

    for (int j = 0; j < u->n_uses; j++)
        if (u->uses[j]->trainable && !axl_unit_writes_shard(u->uses[j]) &&
            axl_unit_lies_before(u, j, k))
            at += axl_unit_full_bytes(u->uses[j], sizeof(float));
    return s->grad_buffer + at;
}

static axl_status begin_grad(axl_sharder *s, const axl_unit *u, int k)
{
    axl_status status = AXL_OK;
    axl_param *p = u->uses[k];
    // a vocabulary that tp does not divide has rows of padding already
    int64_t real = (p->n_mats == 1 ? axl_param_real_rows(p) : p->rows) * p->cols;
    int64_t full = axl_param_full_count(p);

    if (axl_unit_writes_shard(p)) { // grad_written lives through the step
        p->grad_full = p->grad_shard;
        goto out;
    }
    if (p->grad_full != NULL) // begun by the other use of a tied matrix
        goto out;
    p->grad_full = grad_place(s, u, k);
    p->grad_written = false;
    // compute writes the real rows only; the padding goes into the sum too
    AXL_TRY(s->device->ops->zero(s->device->compute,
                                 (char *)p->grad_full + (size_t)real * sizeof(float),
                                 (size_t)(full - real) * sizeof(float)));
out:
    return status;
}

axl_status axl_unit_begin_grads(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;
    double start = axl_now();

    AXL_TRY(s->device->ops->wait(s->device->compute, &s->reduced[axl_unit_region(u)]));
    axl_comm_count_exposed(s->mesh->dense, AXL_COMM_REDUCE_SCATTER, axl_now() - start);
    for (int k = 0; k < u->n_uses; k++)
        if (u->uses[k]->trainable)
            AXL_TRY(begin_grad(s, u, k));
out:
    return status;
}

// What the unit sends is whole.
static axl_status finish_grads(axl_sharder *s, const axl_unit *u)
{
    axl_status status = AXL_OK;

    for (int k = 0; k < u->n_uses; k++) {
        const axl_param *p = u->uses[k];
        if (is_reduced(u, p) &&
            !p->grad_written) // a rank without tokens adds nothing, but takes part
            AXL_TRY(s->device->ops->zero(s->device->compute, p->grad_full,
                                         (size_t)(p->rows * p->cols) * sizeof(float)));
    }
out:
    return status;
}

// Copies what goes together: matrices first, so that none begins within a vector behind a short array. *n: how many.
static axl_status pack_grads(axl_sharder *s, const axl_unit *u, bool experts, char *to,
                             axl_comm_shard *shards, int *n)
{
    axl_status status = AXL_OK;
    axl_unit_casts c = {.dst_stride = pack_stride(u, &s->options, experts)};
    int64_t at = 0;

    *n = 0;
    for (int i = 0; i < 2 * u->n_uses; i++) {
        const axl_param *p = u->uses[i % u->n_uses];
        const int64_t count = axl_param_shard_count(p);
        if (!is_reduced(u, p) || p->is_expert != experts || !is_packed(&s->options, p) ||
            (p->cols == 1) != (i >= u->n_uses))
            continue;
        c.n_blocks = p->n_shards;
        AXL_TRY(axl_unit_add_cast(
            s, &c,
            &(axl_cast_args){.src = p->grad_full,
                             .src_dtype = AXL_F32,
                             .dst = to + (size_t)at * axl_dtype_size(send_dtype(&s->options)),
                             .dst_dtype = send_dtype(&s->options),
                             .n = count}));
        shards[(*n)++] = (axl_comm_shard){p->grad_shard, count, p->shard_written};
        at += count;
    }
    AXL_TRY(axl_unit_flush_casts(s, &c));
out:
    return status;
}

// The dense weights of a unit, or its experts. to: where the copy goes that is sent.
static axl_status reduce_part(axl_sharder *s, axl_unit *u, bool experts, char *to)
{
    axl_status status = AXL_OK;
    axl_comm_shard shards[AXL_UNIT_MAX_USES];
    axl_comm *c = experts ? s->mesh->expert : s->mesh->dense, *open = NULL;
    int n = 0;

    AXL_TRY(pack_grads(s, u, experts, to, shards, &n));
    if (n > 0) {
        AXL_TRY(axl_unit_switch_group(s->device->reduce, &open, c));
        AXL_TRY(axl_comm_reduce_scatter_list(c, to, pack_stride(u, &s->options, experts), shards, n,
                                             send_dtype(&s->options), s->device->reduce));
    }
    for (int k = 0; k < u->n_uses; k++) {
        axl_param *p = u->uses[k];
        if (!is_reduced(u, p) || p->is_expert != experts)
            continue;
        if (!is_packed(&s->options, p)) {
            AXL_TRY(axl_unit_switch_group(s->device->reduce, &open, c));
            AXL_TRY(axl_comm_reduce_scatter(c, p->grad_full, p->grad_shard,
                                            axl_param_shard_count(p), AXL_F32, p->shard_written,
                                            s->device->reduce));
        }
        p->shard_written = true;
        p->grad_full = NULL;
    }
    AXL_TRY(axl_unit_switch_group(s->device->reduce, &open, NULL));
out:
    return status;
}

axl_status axl_unit_clear_unwritten(axl_sharder *s, axl_param *p)
{
    axl_status status = AXL_OK;

    if (p->grad_shard == NULL || p->shard_written || (axl_unit_writes_shard(p) && p->grad_written))
        goto out;
    AXL_TRY(s->device->ops->zero(s->device->compute, p->grad_shard,
                                 (size_t)axl_param_shard_count(p) * sizeof(float)));
    if (axl_unit_writes_shard(p))
        p->grad_written = true;
    else
        p->shard_written = true;
out:
    return status;
}

// Sums the shards of a unit's own params over further ranks. replicas: over those that hold copies of the whole
// sharded model; else over tp ranks whose gradients are parts of one sum.
static axl_status sum_shards(axl_sharder *s, axl_unit *u, bool replicas)
{
    axl_status status = AXL_OK;
    axl_comm *open = NULL;

    for (int k = 0; k < u->n_params; k++) {
        axl_param *p = &u->params[k];
        axl_comm *c = replicas ? s->mesh->axis[AXL_DP_REPLICATE] : p->sum_comm;
        if (!p->trainable || c == NULL || axl_comm_size(c) == 1)
            continue;
        AXL_TRY(axl_unit_clear_unwritten(s, p));
        AXL_TRY(axl_unit_switch_group(s->device->reduce, &open, c));
        AXL_TRY(axl_comm_all_reduce(c, p->grad_shard, axl_param_shard_count(p), AXL_F32,
                                    AXL_REDUCE_SUM, s->device->reduce));
    }
    AXL_TRY(axl_unit_switch_group(s->device->reduce, &open, NULL));
out:
    return status;
}

axl_status axl_unit_reduce(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;
    char *to = s->grad_buffer + s->send_offset[axl_unit_region(u)];

    AXL_TRY(finish_grads(s, u));
    AXL_TRY(reduce_part(s, u, false, to));
    AXL_TRY(reduce_part(s, u, true, to + pack_bytes(u, &s->options, false)));
    if (s->last || s->options.invariant > 0) { // the tree sums whole micro-steps
        AXL_TRY(sum_shards(s, u, true));
        AXL_TRY(sum_shards(s, u, false));
    }
    AXL_TRY(s->device->ops->record(s->device->reduce, &s->reduced[axl_unit_region(u)]));
out:
    return status;
}
