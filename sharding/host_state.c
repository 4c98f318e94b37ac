// The host's side of a device's weights. Hard is only when host memory may be written: the copies of a step have been
// waited for by compute before its norm is known, but the wait is asked for here, where it is relied on.
#include "sharding/host_state.h"

#include "kernels/kernels.h"

#include <string.h>

static bool narrows(const axl_sharder_options *o)
{
    return o->dtype != AXL_F32;
}

static size_t narrow_bytes(const axl_sharder_options *o, size_t shard)
{
    return narrows(o) ? shard / sizeof(float) * axl_dtype_size(o->dtype) : 0;
}

// master; in training also two moments and the gradient; then the shards in the compute dtype.
size_t axl_host_state_bytes(const axl_sharder_options *o, size_t shard)
{
    return o->offload ? (o->train ? 4 : 1) * shard + narrow_bytes(o, shard) : 0;
}

axl_status axl_host_state_take(axl_sharder *s)
{
    axl_status status = AXL_OK;
    const axl_device_options host = {.backend = "host", .n_threads = s->options.host_threads};
    void *memory = NULL;

    AXL_TRY(axl_device_create(&host, &s->host));
    AXL_TRY(s->device->ops->host_alloc(s->device, s->bytes.host,
                                       "the weights and moments on the host", &memory));
    if (s->bytes.host > 0)
        memset(memory, 0, s->bytes.host);
    s->host_memory = memory;
    s->master = memory;
    for (int m = 0; m < 2 && s->options.train; m++)
        s->moments[m] = s->master + (1 + m) * s->n_elements;
    s->host_grads = s->options.train ? s->master + 3 * s->n_elements : NULL;
out:
    return status;
}

void axl_host_state_free(axl_sharder *s)
{
    if (s->host == NULL)
        return;
    s->device->ops->host_free(s->device, s->host_memory, s->bytes.host);
    s->master = s->moments[0] = s->moments[1] = NULL;
    axl_device_destroy(s->host);
}

void axl_host_state_point(const axl_sharder *s, axl_param *p, int64_t e)
{
    const int64_t arrays = s->options.train ? 4 : 1;
    char *narrow = (char *)(s->master + arrays * s->n_elements);

    p->state = s->host;
    p->update_grad = s->host_grads != NULL ? s->host_grads + e : NULL;
    p->host_shard = narrows(&s->options)
                        ? (void *)(narrow + (size_t)e * axl_dtype_size(s->options.dtype))
                        : (void *)(s->master + e);
}

axl_status axl_host_state_send(axl_sharder *s, axl_param *p, void *own)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;
    const int64_t count = axl_param_shard_count(p);
    const axl_cast_args a = {.src = p->master,
                             .src_dtype = AXL_F32,
                             .dst = p->host_shard,
                             .dst_dtype = p->dtype,
                             .n = count};

    if (!p->host_fresh && narrows(&s->options)) {
        AXL_TRY(ops->await(&s->sent)); // the step before may still read it
        AXL_TRY(s->host->kernels->cast(s->host->compute, &a));
    }
    p->host_fresh = true;
    AXL_TRY(
        ops->copy(s->device->gather, own, p->host_shard, (size_t)count * axl_dtype_size(p->dtype)));
out:
    return status;
}

axl_status axl_sharder_begin_update(axl_sharder *s)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;

    if (s->host_grads == NULL)
        goto out;
    AXL_TRY(ops->await(&s->sent)); // in f32 the masters themselves travel
    AXL_TRY(ops->copy(s->device->compute, s->host_grads, s->grads, s->bytes.grads));
    AXL_TRY(ops->synchronize(s->device->compute));
out:
    return status;
}
