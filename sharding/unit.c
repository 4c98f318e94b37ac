// Gathering units, and steps. The hard part is memory: three regions serve all units - one for the root
// units (embedding and head are never needed at once) and two that layers take in turn, so that one layer can
// arrive while the other computes.
#include "sharding/unit_impl.h"

#include "sharding/host_state.h"
#include "src/base/log.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT = 3 }; // index of the place of kept weights in gather_offset

// Whether the gathered form stays until the optimizer changes it.
static bool is_kept(const axl_sharder_options *o, const axl_param *p)
{
    return (p->n_shards == 1 && !o->offload) || !o->reshard_after_forward;
}

// Whether compute reads the master itself.
static bool is_master(const axl_sharder_options *o, const axl_param *p)
{
    return p->n_shards == 1 && axl_param_full_dtype(p, o->dtype) == AXL_F32 && !o->offload;
}

// Of the gathered form.
static size_t gathered_bytes(const axl_param *p, axl_dtype dtype)
{
    return axl_unit_full_bytes(p, axl_dtype_size(axl_param_full_dtype(p, dtype)));
}

int axl_sharder_n_fp8(const axl_unit *units, int n_units)
{
    int n = 0;

    for (int i = 0; i < n_units; i++)
        for (int k = 0; k < units[i].n_params; k++)
            n += units[i].params[k].fp8;
    return n;
}

// Largest magnitudes and scales.
static size_t scale_bytes(int n_fp8)
{
    return axl_align_up(2 * (size_t)n_fp8 * sizeof(float));
}

// The sizes of the three regions of gathered weights, and that of what is kept.
static void gather_sizes(const axl_unit *units, int n_units, const axl_sharder_options *o,
                         size_t size[4])
{
    memset(size, 0, 4 * sizeof *size);
    for (int i = 0; i < n_units; i++) {
        size_t total = 0;
        for (int k = 0; k < units[i].n_uses; k++) {
            const axl_param *p = units[i].uses[k];
            if (!is_kept(o, p))
                total += gathered_bytes(p, o->dtype);
            else if (axl_unit_owns(&units[i], p) && !is_master(o, p))
                size[KEPT] += gathered_bytes(p, o->dtype);
        }
        size_t *region = &size[axl_unit_region(&units[i])];
        *region = total > *region ? total : *region;
    }
}

static size_t sum_sizes(const size_t size[4])
{
    return size[0] + size[1] + size[2] + size[3];
}

// Sums of squares that the norm needs: one, or one for every row that this rank owns.
static int64_t n_squares(const axl_unit *units, int n_units, const axl_sharder_options *o)
{
    int64_t rows = 0;

    if (o->invariant == 0)
        return 1;
    for (int i = 0; i < n_units; i++)
        for (int k = 0; k < units[i].n_params; k++)
            if (units[i].params[k].trainable && units[i].params[k].owner)
                rows += units[i].params[k].shard_rows;
    return rows;
}

static int n_levels(const axl_sharder_options *o)
{
    int n = 0;

    while (o->invariant > 1 && n < AXL_SHARDER_MAX_LEVELS && (o->invariant >> n) > 0)
        n++;
    return n;
}

axl_sharder_bytes axl_sharder_plan(const axl_unit *units, int n_units, const axl_sharder_options *o)
{
    const int n_fp8 = axl_sharder_n_fp8(units, n_units);
    axl_sharder_bytes b = {0};
    size_t size[4];

    for (int i = 0; i < n_units; i++)
        for (int k = 0; k < units[i].n_params; k++)
            b.shard +=
                axl_align_up((size_t)axl_param_shard_count(&units[i].params[k]) * sizeof(float));
    b.master = o->offload ? 0 : b.shard;
    b.host = axl_host_state_bytes(o, b.shard, n_fp8);
    gather_sizes(units, n_units, o, size);
    b.gathered = sum_sizes(size) + scale_bytes(n_fp8);
    if (!o->train)
        return b;
    b.grads = b.shard;
    b.moments = 2 * b.master;
    b.levels = (size_t)n_levels(o) * b.shard;
    b.squares = (size_t)n_squares(units, n_units, o) * sizeof(double);
    axl_unit_grad_sizes(units, n_units, size);
    b.grad_buffers = sum_sizes(size);
    axl_unit_send_sizes(units, n_units, o, size);
    b.grad_buffers += sum_sizes(size);
    return b;
}

size_t axl_sharder_total(const axl_sharder_bytes *b)
{
    return b->master + b->grads + b->moments + b->gathered + b->grad_buffers + b->levels +
           b->squares;
}

static axl_status take(axl_device *d, size_t bytes, const char *what, void *out)
{
    axl_status status = AXL_OK;
    void *p = NULL;

    if (bytes > 0)
        AXL_TRY(d->ops->alloc(d, bytes, what, &p));
    memcpy(out, &p, sizeof p);
out:
    return status;
}

static axl_status take_squares(axl_sharder *s)
{
    axl_status status = AXL_OK;
    void *host = NULL;

    s->n_squares = (int64_t)(s->bytes.squares / sizeof(double));
    AXL_TRY(take(s->device, s->bytes.squares, "the norm of the gradients", &s->squares));
    AXL_TRY(s->device->ops->host_alloc(s->device, s->bytes.squares, "the norm of the gradients",
                                       &host));
    s->host_squares = host;
out:
    return status;
}

// Whether a lies before b in the arenas, whatever their units.
static bool comes_before(const axl_param *a, const axl_param *b)
{
    const int kind_a = a->trainable ? !a->decay : 2, kind_b = b->trainable ? !b->decay : 2;

    return kind_a != kind_b ? kind_a < kind_b : a->cols < b->cols;
}

static axl_status order_params(axl_sharder *s)
{
    axl_status status = AXL_OK;
    int n = 0;

    for (int i = 0; i < s->n_units; i++)
        n += s->units[i].n_params;
    AXL_TRY(axl_calloc((size_t)n, sizeof *s->order, "the order of weights", &s->order));
    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            axl_param *p = &s->units[i].params[k];
            int at = s->n_params++; // equals stay in the order of units
            for (; at > 0 && comes_before(p, s->order[at - 1]); at--)
                s->order[at] = s->order[at - 1];
            s->order[at] = p;
        }
    }
out:
    return status;
}

static void point_params(axl_sharder *s)
{
    size_t at = 0; // bytes
    int n = 0;     // fp8 params so far

    for (int i = 0; i < s->n_params; i++) {
        axl_param *p = s->order[i];
        int64_t e = (int64_t)(at / sizeof(float));
        p->device = s->device;
        p->state = s->device;
        p->dtype = axl_param_full_dtype(p, s->options.dtype);
        if (p->fp8) {
            p->amax = s->amax + n;
            p->scale = s->amax + s->n_fp8 + n++;
        }
        p->master = s->master + e;
        p->grad_shard = s->options.train && p->trainable ? s->grads + e : NULL;
        for (int m = 0; m < 2; m++)
            p->moment[m] = p->grad_shard != NULL ? s->moments[m] + e : NULL;
        p->update_grad = p->grad_shard;
        if (s->host != NULL)
            axl_host_state_point(s, p, e);
        at += axl_align_up((size_t)axl_param_shard_count(p) * sizeof(float));
    }
}

static void set_offsets(axl_sharder *s)
{
    size_t size[4];

    gather_sizes(s->units, s->n_units, &s->options, size);
    for (int i = 1; i < 4; i++)
        s->gather_offset[i] = s->gather_offset[i - 1] + size[i - 1];
    axl_unit_grad_sizes(s->units, s->n_units, size);
    for (int i = 1; i < 4; i++)
        s->grad_offset[i] = s->grad_offset[i - 1] + size[i - 1];
    s->send_offset[0] = sum_sizes(size);
    axl_unit_send_sizes(s->units, s->n_units, &s->options, size);
    for (int i = 1; i < 3; i++)
        s->send_offset[i] = s->send_offset[i - 1] + size[i - 1];
}

// Kept weights have a place of their own.
static void place_kept(const axl_sharder *s)
{
    size_t at = s->gather_offset[KEPT];

    for (int i = 0; i < s->n_params; i++) {
        axl_param *p = s->order[i];
        if (!is_kept(&s->options, p) || is_master(&s->options, p))
            continue;
        p->kept_at = at;
        at += gathered_bytes(p, s->options.dtype);
    }
}

// Of gather_buffer.
static size_t weight_bytes(const axl_sharder *s)
{
    return s->bytes.gathered - scale_bytes(s->n_fp8);
}

// The buffers that every collective of weights and gradients uses are the carrier's to know. In f32 gathers send from
// the masters, which are not. Largest magnitudes of fp8 weights are exchanged as sums are.
static axl_status register_buffers(axl_sharder *s)
{
    axl_status status = AXL_OK;
    axl_comm *comms[2] = {s->mesh->dense, s->mesh->expert};

    AXL_TRY(axl_comm_register(comms[0], s->amax, scale_bytes(s->n_fp8)));
    for (int i = 0; i < 2; i++) {
        if (s->options.dtype != AXL_F32)
            AXL_TRY(axl_comm_register(comms[i], s->gather_buffer, weight_bytes(s)));
        AXL_TRY(axl_comm_register(comms[i], s->grad_buffer, s->bytes.grad_buffers));
        if (s->grad_buffer != NULL || s->amax != NULL)
            AXL_TRY(axl_comm_register_sums(comms[i], s->device));
    }
out:
    return status;
}

static void unregister_buffers(axl_sharder *s)
{
    axl_comm *comms[2] = {s->mesh->dense, s->mesh->expert};

    axl_comm_unregister(comms[0], s->amax);
    for (int i = 0; i < 2; i++) {
        axl_comm_unregister(comms[i], s->gather_buffer);
        axl_comm_unregister(comms[i], s->grad_buffer);
        axl_comm_unregister_sums(comms[i], s->device);
    }
}

static axl_status take_to_send(axl_sharder *s, size_t bytes, const char *what, void *out)
{
    axl_status status = AXL_OK;
    void *p = NULL;

    if (bytes > 0)
        AXL_TRY(axl_comm_alloc(s->mesh->dense, s->device, bytes, what, &p));
    memcpy(out, &p, sizeof p);
out:
    return status;
}

axl_status axl_sharder_init(axl_sharder *s, axl_device *device, axl_mesh *mesh, axl_unit *units,
                            int n_units, const axl_sharder_options *o)
{
    axl_status status = AXL_OK;

    *s = (axl_sharder){.device = device,
                       .mesh = mesh,
                       .units = units,
                       .n_units = n_units,
                       .n_fp8 = axl_sharder_n_fp8(units, n_units),
                       .options = *o,
                       .n_levels = o->train ? n_levels(o) : 0,
                       .bytes = axl_sharder_plan(units, n_units, o)};
    s->n_elements = (int64_t)(s->bytes.shard / sizeof(float));
    // there the masters themselves are what is sent
    AXL_REQUIRE(!o->offload || o->dtype != AXL_F32 || s->n_fp8 == 0, AXL_E_UNSUPPORTED,
                "fp8 with offload_params needs bf16: write bf16: true, or leave one of them out");
    AXL_TRY(take(device, s->bytes.master, "the weights", &s->master));
    AXL_TRY(take(device, s->bytes.grads, "the gradients", &s->grads));
    for (int m = 0; m < 2; m++)
        AXL_TRY(take(device, s->bytes.moments / 2, "the optimizer's moments", &s->moments[m]));
    if (o->offload)
        AXL_TRY(axl_host_state_take(s));
    for (int l = 0; l < s->n_levels; l++)
        AXL_TRY(take(device, s->bytes.shard, "the sums of micro-steps", &s->level[l]));
    AXL_TRY(take_squares(s));
    AXL_TRY(take_to_send(s, weight_bytes(s), "the gathered weights", &s->gather_buffer));
    AXL_TRY(take_to_send(s, scale_bytes(s->n_fp8), "the scales of weights", &s->amax));
    AXL_TRY(take_to_send(s, s->bytes.grad_buffers, "the gradients in flight", &s->grad_buffer));
    AXL_TRY(register_buffers(s));
    set_offsets(s);
    AXL_TRY(order_params(s));
    point_params(s);
    place_kept(s);
out:
    if (status != AXL_OK)
        axl_sharder_fini(s);
    return status;
}

void axl_sharder_fini(axl_sharder *s)
{
    axl_device *d = s->device;

    if (d == NULL)
        return;
    (void)d->ops->synchronize(d->gather);
    (void)d->ops->synchronize(d->reduce);
    unregister_buffers(s);
    axl_host_state_free(s);
    d->ops->free(d, s->master, s->bytes.master);
    d->ops->free(d, s->grads, s->bytes.grads);
    for (int m = 0; m < 2; m++)
        d->ops->free(d, s->moments[m], s->bytes.moments / 2);
    for (int l = 0; l < s->n_levels; l++)
        d->ops->free(d, s->level[l], s->bytes.shard);
    d->ops->free(d, s->squares, s->bytes.squares);
    d->ops->host_free(d, s->host_squares, s->bytes.squares);
    axl_comm_free(s->mesh->dense, d, s->gather_buffer, weight_bytes(s));
    axl_comm_free(s->mesh->dense, d, s->amax, scale_bytes(s->n_fp8));
    axl_comm_free(s->mesh->dense, d, s->grad_buffer, s->bytes.grad_buffers);
    free(s->order);
    *s = (axl_sharder){0};
}

// ---- what goes together

axl_status axl_unit_after_compute(axl_stream *s)
{
    axl_status status = AXL_OK;
    axl_event made;

    AXL_TRY(s->device->ops->record(s->device->compute, &made));
    AXL_TRY(s->device->ops->wait(s, &made));
out:
    return status;
}

axl_status axl_unit_switch_group(axl_stream *s, axl_comm **open, axl_comm *next)
{
    axl_status status = AXL_OK;
    axl_comm *before = *open;

    if (before == next)
        goto out;
    *open = NULL;
    if (before != NULL) {
        AXL_TRY(axl_unit_after_compute(s));
        AXL_TRY(axl_comm_group_end(before));
    }
    if (next != NULL)
        AXL_TRY(axl_comm_group_begin(next));
    *open = next;
out:
    return status;
}

axl_status axl_unit_flush_casts(axl_sharder *s, axl_unit_casts *c)
{
    const axl_cast_list_args a = {
        .items = c->items, .n_items = c->n, .n_blocks = c->n_blocks, .dst_stride = c->dst_stride};

    c->n = 0;
    return a.n_items == 0 ? AXL_OK : s->device->kernels->cast_list(s->device->compute, &a);
}

axl_status axl_unit_add_cast(axl_sharder *s, axl_unit_casts *c, const axl_cast_args *a)
{
    axl_status status = AXL_OK;

    if (c->n == (int)(sizeof c->items / sizeof *c->items))
        AXL_TRY(axl_unit_flush_casts(s, c));
    c->items[c->n++] = *a;
out:
    return status;
}

// ---- weights

static char *gather_place(const axl_sharder *s, const axl_unit *u, int k)
{
    size_t at = s->gather_offset[axl_unit_region(u)];

    if (is_kept(&s->options, u->uses[k]))
        return s->gather_buffer + u->uses[k]->kept_at;
    for (int j = 0; j < u->n_uses; j++)
        if (!is_kept(&s->options, u->uses[j]) && axl_unit_lies_before(u, j, k))
            at += gathered_bytes(u->uses[j], s->options.dtype);
    return s->gather_buffer + at;
}

// This rank's rows in the gathered matrix.
static char *own_place(const axl_param *p)
{
    return (char *)p->full +
           (size_t)(p->shard * axl_param_shard_count(p)) * axl_dtype_size(p->dtype);
}

static axl_status cast_fp8(const axl_sharder *s, const axl_param *p)
{
    const axl_cast_fp8_args a = {.src = p->master,
                                 .rows = p->shard_rows,
                                 .cols = p->cols,
                                 .dtype = AXL_F32,
                                 .amax = p->amax,
                                 .dst = (uint8_t *)own_place(p),
                                 .scale = p->scale};

    return s->device->kernels->cast_fp8(s->device->compute, &a);
}

static axl_status gather_param(axl_sharder *s, axl_param *p)
{
    axl_status status = AXL_OK;
    const bool own = s->host != NULL || p->dtype != AXL_F32; // what is sent has been put there

    if (s->host != NULL)
        AXL_TRY(axl_host_state_send(s, p, own_place(p)));
    if (p->n_shards > 1)
        AXL_TRY(axl_comm_all_gather(p->shard_comm, own ? own_place(p) : (const char *)p->master,
                                    p->full, axl_param_shard_count(p), p->dtype,
                                    s->device->gather));
out:
    return status;
}

static axl_status find_amax(axl_sharder *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(s->device->ops->zero(s->device->compute, s->amax, (size_t)s->n_fp8 * sizeof(float)));
    for (int i = 0; i < s->n_units; i++)
        for (int k = 0; k < s->units[i].n_params; k++) {
            const axl_param *p = &s->units[i].params[k];
            const axl_amax_args a = {
                .x = p->master, .n = axl_param_shard_count(p), .dtype = AXL_F32, .out = p->amax};
            if (p->fp8)
                AXL_TRY(s->device->kernels->amax(s->device->compute, &a));
        }
out:
    return status;
}

// The largest magnitudes of the fp8 weights, over all ranks that hold parts of them. On the gather stream, where other
// messages of weights are in order; compute goes on behind it.
static axl_status join_amax(axl_sharder *s)
{
    axl_status status = AXL_OK;
    axl_comm *comms[2] = {s->mesh->dense, s->mesh->axis[AXL_TP]};
    axl_event joined;

    if (s->n_fp8 == 0 || s->amax_known)
        goto out;
    AXL_TRY(s->host != NULL ? axl_host_state_amax(s) : find_amax(s));
    AXL_TRY(axl_unit_after_compute(s->device->gather));
    for (int i = 0; i < 2; i++)
        if (axl_comm_size(comms[i]) > 1)
            AXL_TRY(axl_comm_all_reduce(comms[i], s->amax, s->n_fp8, AXL_F32, AXL_REDUCE_MAX,
                                        s->device->gather));
    AXL_TRY(s->device->ops->record(s->device->gather, &joined));
    AXL_TRY(s->device->ops->wait(s->device->compute, &joined));
    if (s->host != NULL)
        AXL_TRY(axl_host_state_take_amax(s));
    s->amax_known = true;
out:
    return status;
}

// Gives what the unit uses and does not hold yet its place, and rounds this rank's rows, once, straight into it. *out:
// bit k says that use k is still to be sent.
static axl_status place_weights(axl_sharder *s, const axl_unit *u, uint64_t *out)
{
    axl_status status = AXL_OK;
    axl_unit_casts c = {.n = 0};

    *out = 0;
    AXL_ASSERT(u->n_uses <= AXL_UNIT_MAX_USES);
    for (int k = 0; k < u->n_uses; k++) {
        axl_param *p = u->uses[k];
        if (p->full != NULL)
            continue;
        if (is_master(&s->options, p)) {
            p->full = p->master;
            continue;
        }
        p->full = gather_place(s, u, k);
        *out |= (uint64_t)1 << k;
        if (s->host != NULL)
            continue;
        if (p->fp8)
            AXL_TRY(cast_fp8(s, p));
        else if (p->dtype != AXL_F32)
            AXL_TRY(axl_unit_add_cast(s, &c,
                                      &(axl_cast_args){.src = p->master,
                                                       .src_dtype = AXL_F32,
                                                       .dst = own_place(p),
                                                       .dst_dtype = p->dtype,
                                                       .n = axl_param_shard_count(p)}));
    }
    AXL_TRY(axl_unit_flush_casts(s, &c));
out:
    return status;
}

axl_status axl_unit_prefetch(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;
    axl_comm *open = NULL;
    uint64_t arrives;
    bool travels = false;

    AXL_TRY(join_amax(s));
    AXL_TRY(place_weights(s, u, &arrives));
    for (int k = 0; k < u->n_uses; k++) {
        axl_param *p = u->uses[k];
        if ((arrives >> k & 1) == 0)
            continue;
        if (s->host != NULL && !travels)
            AXL_TRY(axl_unit_after_compute(s->device->gather)); // it has read what lay there
        travels = travels || p->n_shards > 1 || s->host != NULL;
        AXL_TRY(axl_unit_switch_group(s->device->gather, &open,
                                      p->n_shards > 1 ? p->shard_comm : open));
        AXL_TRY(gather_param(s, p));
    }
    AXL_TRY(axl_unit_switch_group(s->device->gather, &open, NULL));
    if (travels)
        AXL_TRY(s->device->ops->record(s->device->gather, &u->ready));
    if (travels && s->host != NULL)
        s->sent = u->ready;
out:
    return status;
}

axl_status axl_unit_acquire(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_unit_prefetch(s, u));
    double start = axl_now();
    AXL_TRY(s->device->ops->wait(s->device->compute, &u->ready));
    axl_comm_count_exposed(s->mesh->dense, AXL_COMM_ALL_GATHER, axl_now() - start);
out:
    return status;
}

void axl_unit_release(axl_sharder *s, axl_unit *u)
{
    // the head still needs what the embedding gathered, and drops it
    for (int k = 0; k < u->n_uses; k++)
        if (!is_kept(&s->options, u->uses[k]) &&
            !(u->uses[k]->tied && axl_unit_owns(u, u->uses[k])))
            u->uses[k]->full = NULL;
}

// ---- steps

void axl_sharder_begin_step(axl_sharder *s)
{
    s->micro = 0;
    s->last = true;
    s->amax_known = false;
    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            axl_param *p = &s->units[i].params[k];
            p->grad_written = false;
            p->shard_written = false;
            p->full = NULL;
            p->host_fresh = false;
        }
    }
}

void axl_sharder_begin_micro(axl_sharder *s, bool last)
{
    s->last = last;
}

// What follows on compute sees all reductions; the host goes on, where the device can wait by itself.
static axl_status wait_reduced(axl_sharder *s)
{
    axl_status status = AXL_OK;
    axl_event end;
    double start = axl_now();

    AXL_TRY(s->device->ops->record(s->device->reduce, &end));
    AXL_TRY(s->device->ops->wait(s->device->compute, &end));
    axl_comm_count_exposed(s->mesh->dense, AXL_COMM_REDUCE_SCATTER, axl_now() - start);
out:
    return status;
}

static axl_status clear_all_unwritten(axl_sharder *s)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < s->n_units; i++)
        for (int k = 0; k < s->units[i].n_params; k++)
            AXL_TRY(axl_unit_clear_unwritten(s, &s->units[i].params[k]));
out:
    return status;
}

// grads = level + grads; level stands for earlier micro-steps.
static axl_status add_level(axl_sharder *s, int level)
{
    const axl_add_args a = {.a = s->level[level],
                            .b = s->grads,
                            .alpha = 1.0f,
                            .beta = 1.0f,
                            .n = s->n_elements,
                            .dtype = AXL_F32,
                            .out = s->grads};

    return s->device->kernels->add(s->device->compute, &a);
}

// Micro-steps are summed as a binary counter counts: level l holds the sum of 2^l of them, and two of one level
// make one of the next. Ranks are summed as the same tree (comm.h), and they hold neighbouring micro-batches, so
// that how many there are does not change which sums are made.
axl_status axl_sharder_end_micro(axl_sharder *s)
{
    axl_status status = AXL_OK;
    int level = 0;

    if (s->n_levels == 0)
        goto out;
    AXL_TRY(wait_reduced(s));
    AXL_TRY(clear_all_unwritten(s));
    for (; (s->micro >> level & 1) != 0; level++)
        AXL_TRY(add_level(s, level));
    AXL_ASSERT(level < s->n_levels);
    AXL_TRY(s->device->ops->copy(s->device->compute, s->level[level], s->grads, s->bytes.grads));
    s->micro++;
    for (int i = 0; i < s->n_units; i++)
        for (int k = 0; k < s->units[i].n_params; k++)
            s->units[i].params[k].grad_written = s->units[i].params[k].shard_written = false;
out:
    return status;
}

// The levels that are left, from the smallest.
static axl_status join_levels(axl_sharder *s)
{
    axl_status status = AXL_OK;
    int level = 0;

    while ((s->micro >> level & 1) == 0)
        level++;
    AXL_TRY(s->device->ops->copy(s->device->compute, s->grads, s->level[level], s->bytes.grads));
    for (level++; level < s->n_levels; level++)
        if ((s->micro >> level & 1) != 0)
            AXL_TRY(add_level(s, level));
out:
    return status;
}

axl_status axl_sharder_finish(axl_sharder *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(wait_reduced(s));
    if (s->n_levels > 0 && s->micro > 0)
        AXL_TRY(join_levels(s));
    else
        AXL_TRY(clear_all_unwritten(s)); // a rank whose step had no token at all
out:
    return status;
}
