// Gathering and reducing units. The hard part is memory: three regions serve all units - one for the root
// units (embedding and head are never needed at once) and two that layers take in turn, so that one layer can
// arrive while the other computes.
#include "sharding/unit.h"

#include "kernels/kernels.h"
#include "src/base/log.h"
#include "src/base/mem.h"

#include <string.h>

void axl_param_shard(axl_param *p, axl_comm *shard_comm)
{
    int64_t n = axl_comm_size(shard_comm);
    int64_t r = axl_comm_rank(shard_comm);
    int64_t align = p->row_align > 0 ? p->row_align : 1;
    int64_t chunk = (p->rows + n - 1) / n;

    p->shard_comm = shard_comm;
    p->shard_rows = (chunk + align - 1) / align * align;
    p->row0 = r * p->shard_rows < p->rows ? r * p->shard_rows : p->rows;
    int64_t end = (r + 1) * p->shard_rows < p->rows ? (r + 1) * p->shard_rows : p->rows;
    p->n_rows = end - p->row0;
}

// Elements of a param gathered over n ranks; as axl_param_full_count, for any n.
static int64_t full_count(const axl_param *p, int n)
{
    int64_t align = p->row_align > 0 ? p->row_align : 1;
    int64_t chunk = ((p->rows + n - 1) / n + align - 1) / align * align;
    return chunk * n * p->cols;
}

static int region_of(const axl_unit *u)
{
    return u->layer < 0 ? 0 : 1 + u->layer % 2;
}

static bool keeps(const axl_sharder_options *o, int n_ranks)
{
    return n_ranks == 1 || !o->reshard_after_forward;
}

// The sizes of the three regions when each unit's uses lie one after the other.
static void region_sizes(const axl_unit *units, int n_units, int n_ranks, size_t element,
                         bool trainable_only, size_t size[3])
{
    memset(size, 0, 3 * sizeof *size);
    for (int i = 0; i < n_units; i++) {
        size_t total = 0;
        for (int k = 0; k < units[i].n_uses; k++)
            if (!trainable_only || units[i].uses[k]->trainable)
                total += axl_align_up((size_t)full_count(units[i].uses[k], n_ranks) * element);
        size_t *region = &size[region_of(&units[i])];
        *region = total > *region ? total : *region;
    }
}

axl_sharder_bytes axl_sharder_plan(const axl_unit *units, int n_units, int n_ranks,
                                   const axl_sharder_options *o)
{
    axl_sharder_bytes b = {0};
    size_t size[3];
    size_t element = axl_dtype_size(o->dtype);

    for (int i = 0; i < n_units; i++) {
        for (int k = 0; k < units[i].n_params; k++) {
            size_t full = (size_t)full_count(&units[i].params[k], n_ranks);
            b.master += axl_align_up(full / (size_t)n_ranks * sizeof(float));
            if (keeps(o, n_ranks) && !(n_ranks == 1 && o->dtype == AXL_F32))
                b.gathered += axl_align_up(full * element);
        }
    }
    if (o->train) {
        b.grads = b.master;
        b.moments = 2 * b.master;
    }
    if (!keeps(o, n_ranks)) {
        region_sizes(units, n_units, n_ranks, element, false, size);
        b.gathered = size[0] + size[1] + size[2];
    }
    if (o->train && n_ranks > 1) {
        region_sizes(units, n_units, n_ranks, sizeof(float), true, size);
        b.grad_buffers = size[0] + size[1] + size[2];
    }
    return b;
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

static void point_params(axl_sharder *s)
{
    size_t at = 0; // bytes

    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            axl_param *p = &s->units[i].params[k];
            int64_t e = (int64_t)(at / sizeof(float));
            p->dtype = s->options.dtype;
            p->master = s->master + e;
            p->grad_shard = s->options.train && p->trainable ? s->grads + e : NULL;
            for (int m = 0; m < 2; m++)
                p->moment[m] = p->grad_shard != NULL ? s->moments[m] + e : NULL;
            at += axl_align_up((size_t)axl_param_shard_count(p) * sizeof(float));
        }
    }
}

axl_status axl_sharder_init(axl_sharder *s, axl_device *device, axl_comm *comm, axl_unit *units,
                            int n_units, const axl_sharder_options *o)
{
    axl_status status = AXL_OK;
    int n = axl_comm_size(comm);
    size_t size[3];

    *s = (axl_sharder){.device = device,
                       .comm = comm,
                       .units = units,
                       .n_units = n_units,
                       .options = *o,
                       .bytes = axl_sharder_plan(units, n_units, n, o)};
    s->n_elements = (int64_t)(s->bytes.master / sizeof(float));
    AXL_TRY(take(device, s->bytes.master, "the weights", &s->master));
    AXL_TRY(take(device, s->bytes.grads, "the gradients", &s->grads));
    for (int m = 0; m < 2; m++)
        AXL_TRY(take(device, s->bytes.moments / 2, "the optimizer's moments", &s->moments[m]));
    AXL_TRY(take(device, s->bytes.gathered, "the gathered weights", &s->gather_buffer));
    AXL_TRY(take(device, s->bytes.grad_buffers, "the gradients in flight", &s->grad_buffer));
    region_sizes(units, n_units, n, axl_dtype_size(o->dtype), false, size);
    s->gather_offset[1] = size[0];
    s->gather_offset[2] = size[0] + size[1];
    region_sizes(units, n_units, n, sizeof(float), true, size);
    s->grad_offset[1] = size[0];
    s->grad_offset[2] = size[0] + size[1];
    point_params(s);
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
    d->ops->free(d, s->master, s->bytes.master);
    d->ops->free(d, s->grads, s->bytes.grads);
    for (int m = 0; m < 2; m++)
        d->ops->free(d, s->moments[m], s->bytes.moments / 2);
    d->ops->free(d, s->gather_buffer, s->bytes.gathered);
    d->ops->free(d, s->grad_buffer, s->bytes.grad_buffers);
    *s = (axl_sharder){0};
}

// Where the gathered form of a param goes: kept weights have a place of their own, in the order of params.
static char *kept_place(const axl_sharder *s, const axl_param *wanted)
{
    size_t at = 0;

    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            const axl_param *p = &s->units[i].params[k];
            if (p == wanted)
                return s->gather_buffer + at;
            at += axl_align_up((size_t)axl_param_full_count(p) * axl_dtype_size(p->dtype));
        }
    }
    return NULL;
}

static axl_status gather_param(axl_sharder *s, axl_param *p)
{
    axl_status status = AXL_OK;
    int64_t count = axl_param_shard_count(p);
    char *own =
        (char *)p->full + (size_t)(axl_comm_rank(s->comm) * count) * axl_dtype_size(p->dtype);
    const void *send = p->master;

    if (p->dtype !=
        AXL_F32) { // rounded once, straight into this rank's place of the gathered matrix
        const axl_cast_args a = {
            .src = p->master, .src_dtype = AXL_F32, .dst = own, .dst_dtype = p->dtype, .n = count};
        AXL_TRY(s->device->kernels->cast(s->device->compute, &a));
        send = own;
    }
    if (axl_comm_size(s->comm) > 1)
        AXL_TRY(axl_comm_all_gather(s->comm, send, p->full, count, p->dtype, s->device->gather));
out:
    return status;
}

axl_status axl_unit_prefetch(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;
    int n = axl_comm_size(s->comm);
    bool keep = keeps(&s->options, n);
    size_t at = keep ? 0 : s->gather_offset[region_of(u)];
    bool grouped = false;

    for (int k = 0; k < u->n_uses; k++) {
        axl_param *p = u->uses[k];
        if (p->full != NULL)
            continue;
        if (n == 1 && p->dtype == AXL_F32) {
            p->full = p->master;
            continue;
        }
        if (!grouped && n > 1)
            AXL_TRY(axl_comm_group_begin(s->comm));
        grouped = true;
        p->full = keep ? kept_place(s, p) : s->gather_buffer + at;
        at += axl_align_up((size_t)axl_param_full_count(p) * axl_dtype_size(p->dtype));
        AXL_TRY(gather_param(s, p));
    }
    if (grouped && n > 1) {
        AXL_TRY(axl_comm_group_end(s->comm));
        AXL_TRY(s->device->ops->record(s->device->gather, &u->ready));
    }
out:
    return status;
}

axl_status axl_unit_acquire(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_unit_prefetch(s, u));
    double start = axl_now();
    AXL_TRY(s->device->ops->wait(s->device->compute, &u->ready));
    axl_comm_count_exposed(s->comm, AXL_COMM_ALL_GATHER, axl_now() - start);
out:
    return status;
}

void axl_unit_release(axl_sharder *s, axl_unit *u)
{
    if (keeps(&s->options, axl_comm_size(s->comm)))
        return;
    for (int k = 0; k < u->n_uses; k++)
        u->uses[k]->full = NULL;
}

axl_status axl_unit_begin_grads(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;
    int region = region_of(u);
    char *at = s->grad_buffer;

    if (at != NULL) {
        double start = axl_now();
        AXL_TRY(s->device->ops->wait(s->device->compute, &s->reduced[region]));
        axl_comm_count_exposed(s->comm, AXL_COMM_REDUCE_SCATTER, axl_now() - start);
        at += s->grad_offset[region];
    }
    for (int k = 0; k < u->n_uses; k++) {
        axl_param *p = u->uses[k];
        if (!p->trainable)
            continue;
        if (axl_comm_size(s->comm) ==
            1) { // straight into the shard: grad_written lives through the step
            p->grad_full = p->grad_shard;
            continue;
        }
        int64_t real = p->rows * p->cols;
        int64_t full = axl_param_full_count(p);
        p->grad_full = at;
        p->grad_written = false;
        // compute writes the real rows only; the padding goes into the sum too
        AXL_TRY(s->device->ops->zero(s->device->compute, at + (size_t)real * sizeof(float),
                                     (size_t)(full - real) * sizeof(float)));
        at += axl_align_up((size_t)full * sizeof(float));
    }
out:
    return status;
}

axl_status axl_unit_reduce(axl_sharder *s, axl_unit *u)
{
    axl_status status = AXL_OK;

    if (axl_comm_size(s->comm) == 1)
        goto out;
    AXL_TRY(axl_comm_group_begin(s->comm));
    for (int k = 0; k < u->n_uses; k++) {
        axl_param *p = u->uses[k];
        if (!p->trainable)
            continue;
        if (!p->grad_written) // a rank without tokens adds nothing, but takes part
            AXL_TRY(s->device->ops->zero(s->device->compute, p->grad_full,
                                         (size_t)(p->rows * p->cols) * sizeof(float)));
        AXL_TRY(axl_comm_reduce_scatter(s->comm, p->grad_full, p->grad_shard,
                                        axl_param_shard_count(p), AXL_F32, p->shard_written,
                                        s->device->reduce));
        p->shard_written = true;
        p->grad_full = NULL;
    }
    AXL_TRY(axl_comm_group_end(s->comm));
    AXL_TRY(s->device->ops->record(s->device->reduce, &s->reduced[region_of(u)]));
out:
    return status;
}

void axl_sharder_begin_step(axl_sharder *s)
{
    for (int i = 0; i < s->n_units; i++) {
        for (int k = 0; k < s->units[i].n_params; k++) {
            axl_param *p = &s->units[i].params[k];
            p->grad_written = false;
            p->shard_written = false;
            p->full = NULL;
        }
    }
}

axl_status axl_sharder_finish(axl_sharder *s)
{
    axl_status status = AXL_OK;
    double start = axl_now();

    AXL_TRY(s->device->ops->synchronize(s->device->reduce));
    axl_comm_count_exposed(s->comm, AXL_COMM_REDUCE_SCATTER, axl_now() - start);
    for (int i = 0; i < s->n_units; i++) { // one rank whose step had no token at all
        for (int k = 0; k < s->units[i].n_params; k++) {
            axl_param *p = &s->units[i].params[k];
            if (p->grad_shard != NULL && !p->grad_written && !p->shard_written)
                AXL_TRY(s->device->ops->zero(s->device->compute, p->grad_shard,
                                             (size_t)axl_param_shard_count(p) * sizeof(float)));
        }
    }
out:
    return status;
}
