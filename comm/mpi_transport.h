// Shared by mpi.c and mpi_coll.c; private to them.
#ifndef AXL_COMM_MPI_TRANSPORT_H
#define AXL_COMM_MPI_TRANSPORT_H

#include "comm/transport.h"

#include <mpi.h>

typedef struct mpi_state {
    MPI_Comm queued; // the messages of queued collectives, told apart by tags
    MPI_Comm host;   // blocking helpers; apart, because their order against the queue is free
    int tag;         // next free tag of queued
    int tag_limit;
} mpi_state;

axl_status axl_mpi_error(int code, const char *call);

#define AXL_MPI(call)                                                                              \
    do {                                                                                           \
        const int mpi_code_ = (call);                                                              \
        if (mpi_code_ != MPI_SUCCESS) {                                                            \
            status = axl_mpi_error(mpi_code_, #call);                                              \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

// mpi_coll.c
void axl_mpi_plan(axl_comm *c, axl_coll *coll);
axl_status axl_mpi_poll(axl_comm_task *t, bool *done);
void axl_mpi_task_fini(axl_comm_task *t);

#endif
