// One rank of the runs that test_nccl_failures.py makes fail: nccl_rank MODE HEARTBEAT COLLECTIVE. The ranks gather on their
// emulated GPUs; rank 1 misbehaves as MODE says. HEARTBEAT 0: nobody watches. Mode "event": the host waits for events.
#include "comm/watch.h"
#include "src/base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 32 };

static bool is(const char *mode, const char *word)
{
    return strcmp(mode, word) == 0;
}

static void misbehave(const char *mode)
{
    volatile unsigned n = 0;

    if (is(mode, "die"))
        (void)raise(SIGKILL);
    while (is(mode, "loop"))
        n = n * 5 + 1;
}

// Into ordinary memory, behind the collective.
static axl_status read_after(axl_device *device, const axl_event *there, const void *full)
{
    axl_status status = AXL_OK;
    float first = 0.0f;

    AXL_TRY(device->ops->wait(device->compute, there));
    AXL_TRY(axl_device_read(device, &first, full, sizeof first));

out:
    return status;
}

static axl_status gather(axl_comm *c, axl_device *device, const char *mode, bool bad)
{
    axl_status status = AXL_OK;
    const size_t bytes = (size_t)axl_comm_size(c) * COUNT * sizeof(float);
    const int64_t count = bad && is(mode, "mismatch") ? COUNT / 2 : COUNT;
    axl_event there;
    void *full = NULL;

    AXL_TRY(device->ops->alloc(device, bytes, "a test", &full));
    for (int k = 0; k < 4; k++) {
        if (k == 2 && bad)
            misbehave(mode);
        AXL_TRY(axl_comm_all_gather(c, (char *)full + axl_comm_rank(c) * count * 4, full, count,
                                    AXL_F32, device->gather));
        AXL_TRY(device->ops->record(device->gather, &there));
        if (is(mode, "event"))
            AXL_TRY(device->ops->await(&there));
        else if (is(mode, "read"))
            AXL_TRY(read_after(device, &there, full));
        else
            AXL_TRY(device->ops->synchronize(device->gather));
    }

out:
    if (status == AXL_OK) // a device that stands would not give it back
        device->ops->free(device, full, bytes);
    return status;
}

int main(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL, *shard = NULL;
    axl_device *device = NULL;
    axl_str text = {0};

    if (argc != 4)
        return 2;
    const axl_device_options d = {.n_threads = 1};
    const axl_watch_options o = {.heartbeat_timeout = strtod(argv[2], NULL),
                                 .collective_timeout = strtod(argv[3], NULL)};
    AXL_TRY(axl_comm_init(NULL, NULL, &world));
    axl_log_set_rank(axl_comm_rank(world), axl_comm_size(world));
    if (o.heartbeat_timeout > 0.0)
        AXL_TRY(axl_watch_start(world, &o));
    AXL_TRY(axl_device_create(&d, &device));
    AXL_TRY(axl_comm_use_device(world, device));
    AXL_TRY(axl_comm_split(world, 0, 0, "dp_shard", &shard));
    AXL_TRY(axl_comm_gpu_library(world, &text));
    if (axl_comm_rank(world) == 0)
        (void)printf("%s over %s\n", axl_comm_transport(shard), text.data);
    axl_watch_phase(world, AXL_PHASE_COMPUTING, 7);
    axl_watch_checkpoint(world, "out/checkpoint-5");
    AXL_TRY(gather(shard, device, argv[1], axl_comm_rank(world) == 1));

out:
    if (status != AXL_OK)
        axl_comm_abort(world, axl_status_exit_code(status), axl_error_message());
    axl_str_fini(&text);
    axl_comm_destroy(shard);
    axl_watch_stop(world);
    axl_device_destroy(device);
    axl_comm_finalize(world);
    return 0;
}
