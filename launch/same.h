// Facts that must be the same on all ranks: what runs (binary, libraries) and what it was told (the configuration).
#ifndef AXL_LAUNCH_SAME_H
#define AXL_LAUNCH_SAME_H

#include "comm/comm.h"
#include "src/base/str.h"
#include "src/config/config.h"

// How a difference is told: "rank 3 (host b) <verb> <name> <value>, rank 0 (host a) <value>; <mend>".
typedef struct axl_same_words {
    const char *where;   // put in front, "" or "run.yaml: "
    const char *verb[2]; // of one rank, of several: "reads", "read"
    const char *mend;
} axl_same_words;

// lines: one "name\tvalue\n" a fact, of this rank. The first fact of rank 0 that another rank has otherwise or lacks
// (or has beyond rank 0's) is AXL_E_CONFIG naming the ranks, their host, and both values; known to all ranks.
// Collective on world; when all agree it costs two small reductions.
axl_status axl_same_check(axl_comm *world, const axl_str *lines, const axl_same_words *words);

// The facts of this process: a hash of the executable, and the versions of MPI, HDF5, zstd and the gemm library.
axl_status axl_same_versions(axl_comm *world, axl_str *out);
// The resolved configuration, a leaf a line, without the places where values were set.
axl_status axl_same_config(const axl_config *c, axl_str *out);

#endif
