// NCCL as the carrier of collectives on a GPU's streams; private to comm/. The communicators, their order, the host side and
// everything about failures stay MPI's: NCCL moves what lies on the device, and nothing else.
//
// The library is used without blocking: a call that cannot finish at once returns, and the host asks for its state while
// it moves its own streams on, so that a rank that does not come is found by the watch instead of hanging the others in a
// call that nobody can see into.
#ifndef AXL_COMM_NCCL_H
#define AXL_COMM_NCCL_H

#include "comm/nccl_calls.h"
#include "comm/transport.h"

// Memory that the library knows, of one communicator.
typedef struct axl_nccl_memory {
    const void *memory; // borrowed
    void *handle;       // the library's; NULL: it has none for this
} axl_nccl_memory;

// Of a communicator (axl_comm.nccl).
typedef struct axl_nccl_comm {
    axl_nccl_handle handle; // owned
    const char *axis;       // for messages; borrowed
    int block;              // each host has so many neighbours in rank, a power of two; 0: not so
    axl_nccl_memory *registered; // [n_registered], owned
    size_t n_registered, capacity;
    struct axl_nccl_comm *next;
} axl_nccl_comm;

// Of the process (axl_comm_root.nccl).
typedef struct axl_nccl {
    axl_nccl_calls call;
    int version;          // 0: none
    const char *why;      // there is none; "" else. Borrowed
    pthread_mutex_t lock; // of the list and of every call on one of it: the watch asks for failures
    axl_nccl_comm *first;
    void **linked; // [n_linked], owned array: memory that the library gave
    size_t n_linked, linked_capacity;
} axl_nccl;

// ---- nccl.c

// What axl_comm_use_device does.
axl_status axl_nccl_use(axl_comm *world, axl_device *device);
// The child of a split (member: this rank is in it) gets a communicator of the library. Collective on parent.
axl_status axl_nccl_split(axl_comm *parent, int color, axl_comm *child, bool member);
void axl_nccl_leave(axl_comm *c);       // ends c's communicator, if it has one. Collective on c
void axl_nccl_end(axl_comm_root *root); // all are gone
// Whether the library has found a failure by itself; then text says which. For the watch's thread; never waits.
bool axl_nccl_failed(axl_comm_root *root, char *text, size_t bytes);

// Memory for exchange: the library's where it has its own, which switches and neighbours reach, else the device's.
axl_status axl_nccl_take(axl_comm_root *root, axl_device *d, size_t bytes, const char *what,
                         void **out);
void axl_nccl_give(axl_comm_root *root, axl_device *d, void *memory, size_t bytes); // NULL-safe

// AXL_E_COMM when the library has found a failure and nobody else looks for one: no watch that would judge it. For the
// main thread, while it waits.
axl_status axl_nccl_look(axl_comm_root *root);

// AXL_E_COMM with the library's words, unless code says that the call went well or goes on. The lock is held.
axl_status axl_nccl_check(const axl_nccl *n, axl_nccl_handle h, axl_nccl_result code,
                          const char *call);
// Waits until what was begun on h has come to its end; op and bytes are for the flight record.
axl_status axl_nccl_settle(axl_comm *c, axl_nccl_handle h, const char *op, int64_t bytes);

// ---- nccl_coll.c

// Queues the collectives of t on its stream. t->comm has a communicator of the library.
axl_status axl_nccl_run(axl_comm_task *t);
// Memory and a stream for sums over ranks, kept with the device until it goes. Does nothing when it has them.
axl_status axl_nccl_landing_create(axl_comm_root *root, axl_device *device);
axl_stream *axl_nccl_sums(const axl_device *device);             // that stream, for tests; borrowed
void *axl_nccl_landing(const axl_device *device, size_t *bytes); // that memory; NULL: none

#endif
