// Which transport the world uses. The variables that a launcher sets are the one thing read here from
// the environment: they say whether other ranks exist before MPI is started, which takes a third of
// a second even for one rank.
#include "comm/nccl.h"
#include "comm/transport.h"

#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// mpirun and srun --mpi=pmix set the first two, other MPIs the rest.
static const char *const launcher_variables[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                                                 "PMI_FD"};

static bool launched(void)
{
    for (size_t i = 0; i < sizeof launcher_variables / sizeof *launcher_variables; i++)
        if (getenv(launcher_variables[i]) != NULL)
            return true;
    return false;
}

// Tasks of a Slurm step that cannot see each other would all train alone into one folder. srun's
// pmi2 is no help: Open MPI would end in its own, longer message.
static axl_status check_slurm(void)
{
    axl_status status = AXL_OK;
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    const bool met = getenv("OMPI_COMM_WORLD_SIZE") != NULL || getenv("PMIX_RANK") != NULL;

    AXL_REQUIRE(met || tasks == NULL || getenv("SLURM_PROCID") == NULL ||
                    strtol(tasks, NULL, 10) <= 1,
                AXL_E_CONFIG,
                "srun started %s tasks, but each sees only itself; start it with srun --mpi=pmix, "
                "or with mpirun inside the allocation",
                tasks);

out:
    return status;
}

// While every rank has a core, giving it away only helps other programs; with more ranks than cores the
// one waited for needs it soon. A round takes a microsecond or less.
static int64_t spin_rounds(const axl_comm *world)
{
    enum { SHORT = 200, LONG = 20000 };
    return world->local_size > sysconf(_SC_NPROCESSORS_ONLN) ? SHORT : LONG;
}

axl_status axl_comm_init(int *argc, char ***argv, axl_comm **out_world)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL;

    AXL_TRY(axl_calloc(1, sizeof *world, "the communicator", &world));
    (void)pthread_mutex_init(&world->pool_lock, NULL);
    axl_self_init(world);
    AXL_TRY(axl_calloc(1, sizeof *world->root, "the communicator", &world->root));
    axl_flight_init(&world->root->flight);
    world->axis = axl_flight_axis(&world->root->flight, "world");
    AXL_TRY(axl_strdup("world", &world->name));
    AXL_TRY(check_slurm());
    if (launched())
        AXL_TRY(axl_mpi_init(argc, argv, world));
    world->root->spin_rounds = spin_rounds(world);
    world->root->message_bytes = (int64_t)1 << 30;
    world->root->landing_bytes = AXL_COMM_DEVICE_BYTES;
    *out_world = world;
    world = NULL;

out:
    axl_comm_finalize(world);
    return status;
}

void axl_comm_finalize(axl_comm *world)
{
    if (world == NULL)
        return;
    const axl_transport *transport = world->transport;
    axl_comm_root *root = world->root;
    axl_watch_stop(world);
    axl_comm_destroy(world);
    transport->finalize();
    if (root != NULL) {
        axl_watch_destroy(root->watch);
        axl_nccl_end(root);
        axl_flight_fini(&root->flight);
    }
    free(root);
}

_Noreturn void axl_comm_abort(axl_comm *world, int exit_code, const char *message)
{
    axl_watch_leaving(world, exit_code);
    (void)fprintf(stderr, "axl-dist: rank %d: %s\n", world->rank, message);
    (void)fflush(NULL);
    world->transport->abort(world, exit_code);
    exit(exit_code);
}
