// What is the same for all devices: copies that the host waits for, and the queues that only some have.
#include "kernels/device.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

axl_status axl_stream_push(axl_stream *s, axl_task *task)
{
    AXL_ASSERT(s->device->ops->push != NULL); // only comm/ over MPI asks, and it knows
    return s->device->ops->push(s, task);
}

axl_status axl_device_progress(axl_device *d)
{
    return d->ops->progress != NULL ? d->ops->progress(d) : AXL_OK;
}

bool axl_device_waits(axl_device *d)
{
    return d->ops->waits != NULL && d->ops->waits(d);
}

axl_status axl_device_read(axl_device *d, void *host, const void *from, size_t bytes)
{
    axl_status status = AXL_OK;

    if (d->lost != NULL) // copies of ordinary memory wait without asking
        AXL_TRY(d->ops->synchronize(d->compute));
    AXL_TRY(d->ops->copy(d->compute, host, from, bytes));
    AXL_TRY(d->ops->synchronize(d->compute));

out:
    return status;
}

axl_status axl_device_write(axl_device *d, void *to, const void *host, size_t bytes)
{
    axl_status status = AXL_OK;

    if (d->lost != NULL)
        AXL_TRY(d->ops->synchronize(d->compute));
    AXL_TRY(d->ops->copy(d->compute, to, host, bytes));
    AXL_TRY(d->ops->synchronize(d->compute));

out:
    return status;
}

axl_status axl_device_map(axl_device *d, void *memory, size_t bytes, bool read, axl_host_view *out)
{
    axl_status status = AXL_OK;
    axl_host_view m = {.device = d, .memory = memory, .bytes = bytes, .host = memory};

    if (!d->host_memory) {
        AXL_TRY(axl_calloc(bytes > 0 ? bytes : 1, 1, "a copy of device memory", &m.host));
        if (read)
            AXL_TRY(axl_device_read(d, m.host, memory, bytes));
    }
    *out = m;
    m.host = NULL;

out:
    if (status != AXL_OK && m.host != memory)
        free(m.host);
    return status;
}

axl_status axl_device_unmap(axl_host_view *m, bool write)
{
    axl_status status = AXL_OK;

    if (m->device == NULL || m->device->host_memory)
        goto out;
    if (write)
        AXL_TRY(axl_device_write(m->device, m->memory, m->host, m->bytes));

out:
    if (m->device != NULL && !m->device->host_memory)
        free(m->host);
    *m = (axl_host_view){0};
    return status;
}

axl_status axl_device_staging(axl_device *d, size_t bytes, void **out)
{
    axl_status status = AXL_OK;

    if (bytes > d->staging_bytes) {
        d->ops->host_free(d, d->staging, d->staging_bytes);
        d->staging = NULL;
        d->staging_bytes = 0;
        AXL_TRY(d->ops->host_alloc(d, bytes, "the staging of copies", &d->staging));
        d->staging_bytes = bytes;
    }
    *out = d->staging;

out:
    return status;
}
