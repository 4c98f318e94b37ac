// One rank of the runs that test_watch.py makes fail: watch_rank MODE HEARTBEAT COLLECTIVE. Rank 1 (in some
// modes rank 0 or both) misbehaves as MODE says; the others enter a collective with it.
#include "comm/transport.h" // to fail in the middle of a collective
#include "comm/watch.h"
#include "src/base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

static void compute_for_ever(void)
{
    volatile unsigned n = 0;

    for (;;)
        n = n * 5 + 1;
}

static void nap(double seconds)
{
    const double end = axl_now() + seconds;
    const struct timespec t = {.tv_nsec = 10000000};

    while (axl_now() < end)
        (void)nanosleep(&t, NULL);
}

static bool is(const char *mode, const char *word)
{
    return strcmp(mode, word) == 0;
}

// What the bad rank does instead of coming at once. False: it does not come at all.
static bool misbehave(axl_comm *world, const char *mode, double late)
{
    if (is(mode, "loop") || is(mode, "loop0") || is(mode, "queued"))
        compute_for_ever();
    if (is(mode, "die") || is(mode, "die0") || is(mode, "die01") || is(mode, "reset"))
        (void)raise(SIGKILL);
    if (is(mode, "stop") || is(mode, "stop01"))
        (void)raise(SIGSTOP);
    if (is(mode, "abort"))
        axl_comm_abort(world, 3, "numbers ran away");
    if (is(mode, "saving"))
        axl_watch_phase(world, AXL_PHASE_SAVING, 7);
    if (is(mode, "saving") || is(mode, "late"))
        nap(late > 0.0 ? late : 3.0);
    if (is(mode, "crossed") && axl_comm_barrier(world) != AXL_OK)
        return false;
    if (is(mode, "error"))
        compute_for_ever();
    return !is(mode, "leave");
}

static bool is_bad(const char *mode, int rank)
{
    if (strstr(mode, "01") != NULL)
        return rank < 2;
    return rank == (strchr(mode, '0') != NULL ? 0 : 1);
}

static axl_status communicate(axl_comm *world, axl_comm *half, const char *mode)
{
    axl_status status = AXL_OK;
    float shard[32] = {0}, full[32 * 64];
    axl_device *device = NULL;
    const axl_device_options o = {.backend = "ref"};

    if (is(mode, "reset") || is(mode, "error")) { // what MPI may find out before the watch does
        axl_flight_wait(&world->root->flight, "all_reduce", "world", 128, NULL);
        AXL_FAIL(AXL_E_COMM, "all_reduce on axis world (128 bytes): MPI_Test: connection reset");
    }
    if (is(mode, "queued")) {
        AXL_TRY(axl_device_create(&o, &device));
        AXL_TRY(axl_comm_all_gather(half, shard, full, 32, AXL_F32, device->gather));
        AXL_TRY(device->ops->synchronize(device->gather));
    } else {
        AXL_TRY(axl_comm_all_reduce(world, shard, 32, AXL_F32, AXL_REDUCE_SUM, NULL));
    }

out:
    axl_device_destroy(device);
    return status;
}

int main(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL, *half = NULL;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    if (argc != 4)
        return 2;
    const char *mode = argv[1];
    const axl_watch_options o = {.heartbeat_timeout = strtod(argv[2], NULL),
                                 .collective_timeout = strtod(argv[3], NULL),
                                 .signal = &caught};
    (void)sigaction(SIGTERM, &action, NULL);
    AXL_TRY(axl_comm_init(NULL, NULL, &world));
    axl_log_set_rank(axl_comm_rank(world), axl_comm_size(world));
    AXL_TRY(axl_watch_start(world, &o));
    AXL_TRY(axl_comm_split(world, 0, 0, "dp_shard", &half));
    axl_watch_phase(world, AXL_PHASE_COMPUTING, 7);
    axl_watch_checkpoint(world, "out/checkpoint-5");
    for (int i = 0; i < 3; i++)
        AXL_TRY(axl_comm_barrier(world));
    if (!is_bad(mode, axl_comm_rank(world)) || misbehave(world, mode, 2.0 * o.collective_timeout))
        AXL_TRY(communicate(world, half, mode));

out:
    if (status != AXL_OK)
        axl_comm_abort(world, axl_status_exit_code(status), axl_error_message());
    axl_comm_destroy(half);
    axl_comm_finalize(world);
    return 0;
}
