// A thread that moves the queued collectives on while kernels run. Off by default: on a machine whose
// cores are all computing it takes time from them, and explicit progress between kernels is cheaper.
#include "comm/comm.h"

#include "src/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct axl_comm_progress {
    axl_device *device; // borrowed
    pthread_t thread;
    atomic_bool stop;
};

enum { PAUSE_NS = 20000 }; // between rounds: a message of 256 KiB takes about as long

static void *run(void *argument)
{
    axl_comm_progress *p = argument;
    const struct timespec pause = {.tv_nsec = PAUSE_NS};

    while (!atomic_load(&p->stop)) {
        // A failure stays in the stream: whoever waits for it is told there.
        (void)axl_device_progress(p->device);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

axl_status axl_comm_progress_start(axl_comm *world, axl_device *device, axl_comm_progress **out)
{
    axl_status status = AXL_OK;
    axl_comm_progress *p = NULL;

    AXL_REQUIRE(axl_comm_size(world) == 1 || axl_comm_threads(world), AXL_E_UNSUPPORTED,
                "a progress thread needs an MPI that several threads may call");
    AXL_TRY(axl_calloc(1, sizeof *p, "the progress thread", &p));
    p->device = device;
    AXL_REQUIRE(pthread_create(&p->thread, NULL, run, p) == 0, AXL_E_MEMORY,
                "the progress thread cannot be started");
    *out = p;
    p = NULL;

out:
    free(p);
    return status;
}

void axl_comm_progress_stop(axl_comm_progress *p)
{
    if (p == NULL)
        return;
    atomic_store(&p->stop, true);
    (void)pthread_join(p->thread, NULL);
    free(p);
}
