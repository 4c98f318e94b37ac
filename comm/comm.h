// Communicators, collectives on streams, and what they cost.
//
// The one idea: a collective is a small state machine that is queued on a stream of the device and
// moved on whenever the stream is (kernels/device.h); with stream NULL the call itself moves it until
// it is done. Algorithms move the least bytes a rank can (the ring bound), add in a fixed order, and
// count what they move. The transport behind a communicator (one rank, MPI) is chosen in table.c; between GPUs it is NCCL
// (axl_comm_use_device), whose collectives the device runs by itself.
//
// Collective on c means: every rank of c calls it, in the same order among the collectives of c, with
// the same counts and dtypes (send_recv and all_to_all: counts that fit each other). Counts are elements
// and int64; only this directory narrows them. Buffers stay untouched by the caller until the stream has
// passed the call.
//
// A failure is AXL_E_COMM with a message that names operation, axis and bytes.
#ifndef AXL_COMM_COMM_H
#define AXL_COMM_COMM_H

#include "kernels/device.h"
#include "kernels/sum_parts.h"
#include "src/base/dtype.h"
#include "src/base/status.h"
#include "src/base/str.h"

#include <stdint.h>

typedef struct axl_comm axl_comm;

typedef enum axl_comm_op {
    AXL_COMM_ALL_GATHER,
    AXL_COMM_REDUCE_SCATTER,
    AXL_COMM_ALL_REDUCE,
    AXL_COMM_BROADCAST,
    AXL_COMM_SEND_RECV,
    AXL_COMM_ALL_TO_ALL,
    AXL_COMM_N_OPS
} axl_comm_op;

// ---- the world and its parts

// Starts the transport and gives the communicator of all ranks. Without a launcher (mpirun, srun) the
// world is one rank and MPI is not started. AXL_E_COMM; AXL_E_CONFIG when srun started several tasks that
// cannot see each other. axl_comm_finalize ends what init began; every rank calls it (NULL-safe).
axl_status axl_comm_init(int *argc, char ***argv, axl_comm **out_world);
void axl_comm_finalize(axl_comm *world);

// The ranks of parent with the same color become a communicator, ordered by (key, rank). A negative
// color gives *out = NULL. name is copied; it is the axis in counters and messages. Collective on
// parent. Release with axl_comm_destroy (Collective on c, NULL-safe, not for the world).
axl_status axl_comm_split(axl_comm *parent, int color, int key, const char *name, axl_comm **out);
void axl_comm_destroy(axl_comm *c);

// Gives collectives on the streams of device their fastest carrier: NCCL, when every rank has a GPU of its own and the
// library, of one version (or GPUs are shared and the library allows it); else a GPU's collectives go through host
// memory and MPI, which is slow and said once. A CPU's always go over MPI. Blocking and host-side calls stay MPI's.
// Called once a device is made and before the world is split for its use; the device is destroyed after the parts. All
// ranks decide alike. Collective on world. AXL_E_COMM, AXL_E_MEMORY.
axl_status axl_comm_use_device(axl_comm *world, axl_device *device);

// Bytes of the device's memory that collectives over NCCL take for sums, of ranks that are not alone; and what they
// have taken of this device.
#define AXL_COMM_DEVICE_BYTES ((size_t)64 << 20)
size_t axl_comm_device_bytes(const axl_device *device);

int axl_comm_rank(const axl_comm *c);
int axl_comm_size(const axl_comm *c);
const char *axl_comm_name(const axl_comm *c); // borrowed
const char *
axl_comm_transport(const axl_comm *c); // "self", "mpi", "nccl": of collectives on a device's stream
int axl_comm_local_rank(const axl_comm *c); // among the ranks of c on this host
int axl_comm_local_size(const axl_comm *c); // ranks of c on this host
int axl_comm_n_hosts(const axl_comm *c);    // over which the ranks of c spread
bool axl_comm_threads(const axl_comm *c);   // several threads may communicate at once
// Appends name and version of the library that carries c, "none" for one rank.
axl_status axl_comm_library(const axl_comm *c, axl_str *out);
// Appends what carries collectives between GPUs, or why they go through host memory; nothing for a CPU.
axl_status axl_comm_gpu_library(const axl_comm *world, axl_str *out);

// Prints "rank R: message" to stderr and ends all ranks with this exit code. For a failure inside a
// step, where the others cannot be asked. With code 4 the watch (watch.h) is first given time to name the
// rank that caused it.
_Noreturn void axl_comm_abort(axl_comm *world, int exit_code, const char *message);

// ---- collectives on a stream (NULL: blocking)
//
// The order of a sum over ranks is fixed: a binary tree in rank order, ((0+1)+(2+3))+..., so that the sum
// over n ranks is the sum of the sums over aligned blocks of 2, 4, 8, ... of them, bit for bit. One
// exception: reduce_scatter of F32 over several hosts with several ranks each adds along a ring, which
// sends less between hosts.

// fixed: from now on the order of sums is the tree wherever the ranks sit; no ring. Calls at the same place in
// the order of collectives on all ranks; holds for all communicators of world. Local.
void axl_comm_fix_order(axl_comm *world, bool fixed);

// full [size * count] = the shards [count] of all ranks in rank order. In place when
// shard == full + rank * count; otherwise they do not overlap.
axl_status axl_comm_all_gather(axl_comm *c, const void *shard, void *full, int64_t count,
                               axl_dtype dtype, axl_stream *s);

// shard [count] f32 (+)= sum over ranks of their full [size * count] at rank * count. dtype is that of
// full: F32, or BF16 (each summand is widened, the sum is f32). accumulate: shard becomes its old
// value + the sum, else the sum; then it may be full's own part (F32).
axl_status axl_comm_reduce_scatter(axl_comm *c, const void *full, float *shard, int64_t count,
                                   axl_dtype dtype, bool accumulate, axl_stream *s);

// The same of n_shards arrays as one collective: the parts of full that go to one rank lie side by side, and those of the
// next one `stride` elements behind them, so that they are one message (a long one: some). shards [n_shards] may be changed
// after the call.
typedef struct axl_comm_shard {
    float *sum; // [count]
    int64_t count;
    bool accumulate;
} axl_comm_shard;
axl_status axl_comm_reduce_scatter_list(axl_comm *c, const void *full, int64_t stride,
                                        const axl_comm_shard *shards, int n_shards, axl_dtype dtype,
                                        axl_stream *s);

// buf [count] = its sum / max / min over ranks, in place and bit-equal on all ranks. dtype: F32, F64,
// I64, BF16 (computed in f32, rounded once).
axl_status axl_comm_all_reduce(axl_comm *c, void *buf, int64_t count, axl_dtype dtype,
                               axl_reduce_op op, axl_stream *s);

// buf [bytes] of rank root to all.
axl_status axl_comm_broadcast(axl_comm *c, void *buf, int64_t bytes, int root, axl_stream *s);

// One turn of a ring: send [send_bytes] goes to rank `to` while recv [recv_bytes] comes from rank `from`.
// Either side may have 0 bytes and then names nobody (its rank is not looked at). What one rank sends
// is what the other receives; every rank of c takes part, if only with nothing. They do not overlap.
axl_status axl_comm_send_recv(axl_comm *c, const void *send, int64_t send_bytes, int to, void *recv,
                              int64_t recv_bytes, int from, axl_stream *s);

// Rows of row_bytes bytes between all pairs: rows send_at[r] .. + send_count[r] of send go to rank r, and
// its rows come to recv_at[r] .. + recv_count[r] of recv. The four arrays are [size], in rows, and may
// be changed after the call. Both sides know the counts: send_count[r] here is recv_count[rank] at r.
// The own part is copied. Nothing of recv overlaps send.
axl_status axl_comm_all_to_all(axl_comm *c, const void *send, const int64_t *send_count,
                               const int64_t *send_at, void *recv, const int64_t *recv_count,
                               const int64_t *recv_at, int64_t row_bytes, axl_stream *s);

// Device memory, as ops->alloc gives it, of the kind that the carrier of c can move without a detour. c NULL: any.
// AXL_E_MEMORY. Local.
axl_status axl_comm_alloc(axl_comm *c, axl_device *d, size_t bytes, const char *what, void **out);
void axl_comm_free(axl_comm *c, axl_device *d, void *memory, size_t bytes); // NULL-safe

// Tells the carrier of c that memory of axl_comm_alloc is used in collectives of c again and again, so that it may move it
// without a detour. Advice: a carrier that makes nothing of it takes none. What such a collective sends and receives must
// be registered both, or neither; that of sums lands in memory of comm/, which is the second call's. Taken back before
// the memory goes. Local; NULL-safe; alike on all ranks.
axl_status axl_comm_register(axl_comm *c, void *memory, size_t bytes);
axl_status axl_comm_register_sums(axl_comm *c, const axl_device *d);
void axl_comm_unregister(axl_comm *c, const void *memory);
void axl_comm_unregister_sums(axl_comm *c, const axl_device *d);

// Between begin and end the collectives of c, all on one stream, are only collected; end queues them as
// one launch whose messages travel together, so that many small ones cost the latency of one. Groups do
// not nest.
axl_status axl_comm_group_begin(axl_comm *c);
axl_status axl_comm_group_end(axl_comm *c);

// ---- host side, blocking; they move streams on while they wait

axl_status axl_comm_barrier(axl_comm *c);
axl_status axl_comm_bcast_bytes(axl_comm *c, void *bytes, int64_t n, int root);
// The bytes of all ranks, one after the other, appended to *out of rank 0; sizes [size] (may be NULL)
// is filled on rank 0. n may differ by rank.
axl_status axl_comm_gather_bytes(axl_comm *c, const void *bytes, int64_t n, axl_str *out,
                                 int64_t *sizes);
// values [n] reduced (sums: in the tree's order), bit-equal on all ranks; for small arrays.
axl_status axl_comm_all_reduce_f64(axl_comm *c, double *values, int n, axl_reduce_op op);
axl_status axl_comm_all_reduce_i64(axl_comm *c, int64_t *values, int n, axl_reduce_op op);

// Before a phase's first collective every rank brings the status of what it did alone. When all are
// AXL_OK so is the result; otherwise every rank gets the status and the message of the lowest failing
// rank ("rank 2: ..."), so that any one rank can print it. Collective on c.
axl_status axl_comm_agree(axl_comm *c, axl_status mine);

// ---- progress while kernels run

// Whether a thread that does so is worth its processor time: there are other ranks, MPI takes calls from
// several threads, and a core of this host is left over. Local; ranks may differ.
bool axl_comm_progress_pays(const axl_comm *world, const axl_device *device);

// Starts a thread that moves the streams of device on, so that they move within long kernels too. Optional:
// waits, blocking calls and axl_device_progress do so as well. AXL_E_UNSUPPORTED when MPI does not take
// calls from two threads. Stop it before the device goes. Local.
typedef struct axl_comm_progress axl_comm_progress;
axl_status axl_comm_progress_start(axl_comm *world, axl_device *device, axl_comm_progress **out);
void axl_comm_progress_stop(axl_comm_progress *p); // NULL-safe

// ---- what it cost

// Per operation since the last reset. The factors are those of ring algorithms on n ranks; B is the
// gathered (all_gather), input (reduce_scatter) or whole (others) buffer in bytes: sent per rank is
// (n-1)/n B, (n-1)/n B, floor(2(n-1)/n B), B but for the last of a broadcast's chain. For send_recv and
// all_to_all B is what this rank hands out, and sent is B less what it hands to itself.
typedef struct axl_comm_counter {
    int64_t calls;
    int64_t payload_bytes;  // B
    int64_t sent_bytes;     // by this rank
    double exposed_seconds; // the host waited
} axl_comm_counter;

const char *axl_comm_op_name(axl_comm_op op); // "all_gather", ...
// What a rank of n sends in one collective of that payload: the factors above; others send their payload.
int64_t axl_comm_sent_bytes(axl_comm_op op, int64_t n_ranks, int64_t payload);
void axl_comm_counters_read(const axl_comm *c, axl_comm_counter out[AXL_COMM_N_OPS]);
void axl_comm_counters_reset(axl_comm *c);
// Blocking calls, also those of the host side, count their own wait; who waits on a stream for a collective adds the wait here.
void axl_comm_count_exposed(axl_comm *c, axl_comm_op op, double seconds);

#endif
