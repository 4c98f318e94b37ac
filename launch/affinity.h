// Which processors, memory and network devices are nearest to a GPU, by hwloc, and binding a rank to them.
//
// A rank's host work - queuing, loading batches, pinned copies - should run on the NUMA node that its GPU hangs on. A
// launcher that has bound the rank knows better and is left alone. Which network device carries what is the choice of NCCL
// and UCX; doctor names those that are near.
#ifndef AXL_LAUNCH_AFFINITY_H
#define AXL_LAUNCH_AFFINITY_H

#include "src/base/str.h"

#include <stdbool.h>

typedef struct axl_affinity {
    char bus[32];      // "0000:3b:00.0"
    char cpus[128];    // "0-15,32-47"; "" when all of the host are as near, or nothing is known
    int n_cpus, node;  // of them; NUMA node, -1: several or none
    char network[128]; // "mlx5_0, ib0": on the same node; ""
} axl_affinity;

typedef enum axl_affinity_done {
    AXL_AFFINITY_BOUND,   // this process runs on the processors of *out now
    AXL_AFFINITY_GIVEN,   // it was bound before: nothing was changed
    AXL_AFFINITY_ALL,     // the host has one node, or hwloc does not know the device
    AXL_AFFINITY_REFUSED, // the system said no
    AXL_AFFINITY_NONE     // not asked to bind
} axl_affinity_done;

// What is nearest to the PCI device at bus. Local; cannot fail: what is not known stays empty.
void axl_affinity_find(const char *bus, axl_affinity *out);

// The same, and binds the process to it: all its threads, and memory where the system prefers it. Local.
axl_affinity_done axl_affinity_bind(const char *bus, axl_affinity *out);

// Appends "0000:3b:00.0 near processors 0-15 (NUMA node 0), network mlx5_0". AXL_E_MEMORY.
axl_status axl_affinity_text(const axl_affinity *a, axl_str *out);

// The NVIDIA devices of this host, at most n; returns how many there are. Needs no driver. Local.
int axl_affinity_gpus(axl_affinity *list, int n);

#endif
