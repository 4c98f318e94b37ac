// The watch: notices a rank that died, hangs or was cut off, and ends the others with one message.
//
// The one idea: a thread of every rank holds its own TCP connections, apart from MPI, to ranks 0 and 1,
// and says once a second what its main thread does: computing, saving, or waiting for a collective. A
// connection that ends without a goodbye is a death, known at once. Silence for heartbeat_timeout is a
// stopped process or a lost host. A collective that some have waited in for collective_timeout while
// another rank has not come, is a hang of that rank. Rank 0 judges (rank 1 when rank 0 is the one lost,
// each rank for itself when both are), prints the message, tells the others, and all end with code 4.
//
// Time that a rank's own watch slept (a stopped machine, a suspended job) is not held against others.
#ifndef AXL_COMM_WATCH_H
#define AXL_COMM_WATCH_H

#include "comm/comm.h"

#include <signal.h>

typedef struct axl_watch_options {
    double heartbeat_timeout;  // seconds of silence; > 0
    double collective_timeout; // seconds that a rank may keep others waiting; 0: for ever
    const volatile sig_atomic_t
        *signal; // the program's last signal, or NULL. Ranks that die soon after a
                 // TERM or INT were ended by the launcher: nobody's failure.
} axl_watch_options;

// Starts the watch of all ranks; without other ranks it does nothing. Ranks that cannot reach ranks 0
// and 1 by TCP leave the run unwatched, with a warning. Collective on world, from the main thread.
axl_status axl_watch_start(axl_comm *world, const axl_watch_options *o);

// Stops it with a goodbye, which tells an orderly end from a death. axl_comm_finalize does it too; call it
// before, when the device of queued collectives goes first. NULL-safe. Local.
void axl_watch_stop(axl_comm *world);

// What the program does, for messages and for judging: nobody is stuck while it loads or saves, however
// long the others wait for it.
typedef enum axl_phase {
    AXL_PHASE_LOADING,
    AXL_PHASE_COMPUTING,
    AXL_PHASE_EVALUATING,
    AXL_PHASE_SAVING,
    AXL_N_PHASES
} axl_phase;

// Local; costs two stores. step is the optimizer step in work, 0: none yet.
void axl_watch_phase(axl_comm *world, axl_phase phase, int64_t step);

// The newest complete checkpoint, for messages. Local.
void axl_watch_checkpoint(axl_comm *world, const char *path);

// A rank that ends by itself says so first, so that nobody calls it dead. When the code is that of a lost
// connection (4), waits a little for the watch to find out who is the cause: then this does not return.
// Local; does nothing without a watch.
void axl_watch_leaving(axl_comm *world, int exit_code);

#endif
