// The order of copies is all there is to it. With P places unit u shares its place with u + P:
//   forward of u writes the input of u + 1, so what u + 1 - P kept must have left;
//   backward of u + P is the last to read the place before what u kept comes back there.
#include "src/model/offload.h"

#include <stdlib.h>

struct axl_offload {
    axl_device *device; // borrowed
    axl_stream *stream; // owned: the copies, in the order of passes
    char *host;         // owned host memory, [bytes]
    size_t bytes;
    axl_event *moved; // [n_units], owned: the last copy of what a unit kept
};

// Units whose place is taken by another before their backward.
static bool leaves(const axl_work *w, int u)
{
    return u + AXL_OFFLOAD_PLACES < w->model->n_units;
}

// What unit u keeps: bytes of its input, and of its saved slots, in a batch as large as the plan's.
static size_t input_bytes(const axl_work *w, int u)
{
    return u > 0 ? axl_align_up((size_t)(w->options.n_tokens * w->model->arch.hidden) *
                                axl_dtype_size(w->options.dtype))
                 : 0;
}

static size_t saved_bytes(const axl_work *w, int u)
{
    return w->options.offload == AXL_OFFLOAD_ALL
               ? axl_align_up(w->plans[w->model->units[u].program].saved_bytes)
               : 0;
}

static size_t place_of(const axl_work *w, int unit)
{
    size_t at = 0;

    for (int u = 0; u < unit; u++)
        if (leaves(w, u))
            at += input_bytes(w, u) + saved_bytes(w, u);
    return at;
}

size_t axl_offload_bytes(const axl_work *w)
{
    return w->options.offload != AXL_OFFLOAD_NONE && w->options.train
               ? place_of(w, w->model->n_units)
               : 0;
}

axl_status axl_offload_create(axl_work *w, axl_offload **out)
{
    axl_status status = AXL_OK;
    axl_offload *o = NULL;
    axl_device *d = w->device;
    void *host = NULL;

    *out = NULL;
    if (axl_offload_bytes(w) == 0)
        goto out;
    AXL_TRY(axl_calloc(1, sizeof *o, "activations on the host", &o));
    o->device = d;
    o->bytes = axl_offload_bytes(w);
    AXL_TRY(axl_calloc((size_t)w->model->n_units, sizeof *o->moved, "activations on the host",
                       &o->moved));
    AXL_TRY(d->ops->stream_create(d, "offload", &o->stream));
    AXL_TRY(d->ops->host_alloc(d, o->bytes, "activations on the host", &host));
    o->host = host;
    *out = o;
    o = NULL;

out:
    axl_offload_destroy(o);
    return status;
}

void axl_offload_destroy(axl_offload *o)
{
    if (o == NULL)
        return;
    if (o->stream != NULL)
        o->device->ops->stream_destroy(o->stream);
    o->device->ops->host_free(o->device, o->host, o->bytes);
    free(o->moved);
    free(o);
}

// Both parts of what unit u keeps, to the host or back; the stream has waited for what it must.
static axl_status move(axl_work *w, int u, bool back)
{
    axl_status status = AXL_OK;
    axl_offload *o = w->offload;
    const axl_device_ops *ops = o->device->ops;
    const size_t rows =
        u > 0 ? (size_t)(w->run.n_tokens * w->model->arch.hidden) * axl_dtype_size(w->options.dtype)
              : 0;
    const size_t saved = saved_bytes(w, u);
    char *host = o->host + place_of(w, u), *host_saved = host + input_bytes(w, u);

    if (back) {
        AXL_TRY(ops->copy(o->stream, axl_work_carry(w, u), host, rows));
        AXL_TRY(ops->copy(o->stream, w->saved[u], host_saved, saved));
    } else {
        AXL_TRY(ops->copy(o->stream, host, axl_work_carry(w, u), rows));
        AXL_TRY(ops->copy(o->stream, host_saved, w->saved[u], saved));
    }
    AXL_TRY(ops->record(o->stream, &o->moved[u]));
out:
    return status;
}

// The copies that follow come after what compute has been given.
static axl_status wait_for_compute(axl_offload *o)
{
    axl_status status = AXL_OK;
    axl_event done;

    AXL_TRY(o->device->ops->record(o->device->compute, &done));
    AXL_TRY(o->device->ops->wait(o->stream, &done));
out:
    return status;
}

axl_status axl_offload_before_forward(axl_work *w, int u)
{
    const int leaving = u + 1 - AXL_OFFLOAD_PLACES;

    if (w->offload == NULL || leaving < 0)
        return AXL_OK;
    return w->device->ops->wait(w->device->compute, &w->offload->moved[leaving]);
}

axl_status axl_offload_after_forward(axl_work *w, int u)
{
    axl_status status = AXL_OK;

    if (w->offload == NULL || w->forward_only || !leaves(w, u))
        goto out;
    AXL_TRY(wait_for_compute(w->offload));
    AXL_TRY(move(w, u, false));
out:
    return status;
}

axl_status axl_offload_before_backward(axl_work *w, int u)
{
    if (w->offload == NULL || !leaves(w, u))
        return AXL_OK;
    return w->device->ops->wait(w->device->compute, &w->offload->moved[u]);
}

axl_status axl_offload_after_backward(axl_work *w, int u)
{
    axl_status status = AXL_OK;
    const int next = u - AXL_OFFLOAD_PLACES;

    if (w->offload == NULL || next < 0)
        goto out;
    AXL_TRY(wait_for_compute(w->offload));
    AXL_TRY(move(w, next, true));
out:
    return status;
}
