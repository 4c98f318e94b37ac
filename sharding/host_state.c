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

// master; in training also two moments and the gradient; then the shards in the compute dtype, and of fp8 weights
// (n_fp8) the largest magnitudes and the scales.
size_t axl_host_state_bytes(const axl_sharder_options *o, size_t shard, int n_fp8)
{
    const size_t scales = 2 * (size_t)n_fp8 * sizeof(float);

    return o->offload ? (o->train ? 4 : 1) * shard + narrow_bytes(o, shard) + scales : 0;
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

// [n_fp8] largest magnitudes, then as many scales.
static float *host_amax(const axl_sharder *s)
{
    return (float *)(void *)(s->host_memory + s->bytes.host) - 2 * s->n_fp8;
}

axl_status axl_host_state_amax(axl_sharder *s)
{
    axl_status status = AXL_OK;
    float *amax = host_amax(s);

    memset(amax, 0, (size_t)s->n_fp8 * sizeof *amax);
    for (int i = 0; i < s->n_units; i++)
        for (int k = 0; k < s->units[i].n_params; k++) {
            const axl_param *p = &s->units[i].params[k];
            const axl_amax_args a = {.x = p->master,
                                     .n = axl_param_shard_count(p),
                                     .dtype = AXL_F32,
                                     .out = amax + (p->amax - s->amax)};
            if (p->fp8)
                AXL_TRY(s->host->kernels->amax(s->host->compute, &a));
        }
    AXL_TRY(
        s->device->ops->copy(s->device->compute, s->amax, amax, (size_t)s->n_fp8 * sizeof *amax));
out:
    return status;
}

axl_status axl_host_state_take_amax(axl_sharder *s)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < s->n_units; i++)
        for (int k = 0; k < s->units[i].n_params; k++) {
            const axl_param *p = &s->units[i].params[k];
            const axl_cast_fp8_args scale_only = {
                .dtype = AXL_F32, .amax = p->amax, .scale = p->scale};
            if (p->fp8)
                AXL_TRY(s->device->kernels->cast_fp8(s->device->compute, &scale_only));
        }
    AXL_TRY(s->device->ops->copy(s->device->compute, host_amax(s), s->amax,
                                 (size_t)s->n_fp8 * sizeof(float)));
    AXL_TRY(s->device->ops->synchronize(s->device->compute));
out:
    return status;
}

static axl_status narrow(const axl_sharder *s, const axl_param *p)
{
    const int64_t count = axl_param_shard_count(p);
    const axl_cast_args a = {.src = p->master,
                             .src_dtype = AXL_F32,
                             .dst = p->host_shard,
                             .dst_dtype = p->dtype,
                             .n = count};
    if (!p->fp8)
        return s->host->kernels->cast(s->host->compute, &a);
    float *amax = host_amax(s) + (p->amax - s->amax);
    const axl_cast_fp8_args f = {.src = p->master,
                                 .rows = 1,
                                 .cols = count,
                                 .dtype = AXL_F32,
                                 .amax = amax,
                                 .dst = p->host_shard,
                                 .scale = amax + s->n_fp8};
    return s->host->kernels->cast_fp8(s->host->compute, &f);
}

axl_status axl_host_state_send(axl_sharder *s, axl_param *p, void *own)
{
    axl_status status = AXL_OK;
    const axl_device_ops *ops = s->device->ops;
    const int64_t count = axl_param_shard_count(p);

    if (!p->host_fresh && narrows(&s->options)) {
        AXL_TRY(ops->await(&s->sent)); // the step before may still read it
        AXL_TRY(narrow(s, p));
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
