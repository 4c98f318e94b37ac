// axl-dist CONFIG.yaml: trains.
#include "launch/bringup.h"
#include "launch/commands.h"
#include "src/train/train.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "axl-dist CONFIG.yaml [--key value ...]\n"
    "  Trains as the configuration says. Alone, or one process a rank:\n"
    "    mpirun -np 4 axl-dist run.yaml\n"
    "    srun --mpi=pmix -n 16 axl-dist run.yaml\n"
    "  --key value replaces a key of the file, --parent.child value a nested one:\n"
    "    axl-dist run.yaml --learning_rate 1e-5 --fsdp_config.reshard_after_forward false\n";

int axl_cmd_train(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_bringup b = {0};
    axl_trainer *t = NULL;

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        (void)fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    // at once: a batch system may ask for a stop while the ranks are still coming up
    const volatile sig_atomic_t *signal = axl_bringup_catch_signals();
    AXL_TRY(axl_bringup_start(&b, argc - 1, argv + 1));
    const axl_train_env env = {.world = b.world,
                               .device = b.device,
                               .config = b.config,
                               .signal = signal,
                               .start_seconds = b.start};
    AXL_TRY(axl_trainer_create(&env, &t));
    status = axl_trainer_run(t);
    if (status != AXL_OK && !t->agreed) // the other ranks wait in a collective: end them too
        axl_comm_abort(b.world, axl_status_exit_code(status), axl_error_message());
out:;
    int code = axl_bringup_report(&b, "train", status);
    axl_trainer_destroy(t);
    axl_bringup_stop(&b);
    return code;
}
