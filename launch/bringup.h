// From a command line to a running set of ranks: MPI, the configuration (the same on all ranks), the device.
#ifndef AXL_LAUNCH_BRINGUP_H
#define AXL_LAUNCH_BRINGUP_H

#include "comm/comm.h"
#include "src/config/config.h"

#include <signal.h>

typedef struct axl_bringup {
    axl_comm *world;    // owned
    axl_device *device; // owned
    axl_config *config; // owned
    double start;       // axl_now() at the beginning of the program
} axl_bringup;

// Starts the ranks, reads args[0] as the configuration with args[1 .. n) as overrides, prints its warnings once,
// checks that all ranks read the same, and creates the device. Collective on all ranks of the launcher. After a
// failure the message is known to every rank.
axl_status axl_bringup_start(axl_bringup *b, int n, char **args);
void axl_bringup_stop(axl_bringup *b);

// Only the transport: for commands without a configuration.
axl_status axl_bringup_world(axl_bringup *b);

// Threads of one rank: OMP_NUM_THREADS when set, else this rank's share of the processors it may use.
int axl_bringup_threads(const axl_comm *world);

// Whether AXL_CUDA_WGMMA=0 asks for kernels without products by warpgroups (docs/gpu.md).
bool axl_bringup_mma(void);

// INT, TERM and USR1 set a flag instead of ending the process; a second INT ends it.
const volatile sig_atomic_t *axl_bringup_catch_signals(void);

// Prints a failure once (rank 0) and gives the exit code; AXL_OK gives 0.
int axl_bringup_report(const axl_bringup *b, const char *command, axl_status status);

#endif
