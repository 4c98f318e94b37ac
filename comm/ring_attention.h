// Context-parallel attention over a packed micro-batch: each rank holds some rows of Q, K and V and gets
// the attention of its queries to the whole of their documents.
//
// The one idea: the attention of a query to all its keys is the merge of its attention to any parts of them.
// So the work goes in turns: in a turn some rows of K and V come from other ranks while the turn before is
// computed, and a local attention kernel meets them. Which rows those are every rank knows from the layout
// (cp_layout.h): only keys that a query of this rank sees travel, each straight from its owner. One loop
// serves all schedules; a schedule says who sends to whom in a turn, and which heads.
//
//   VARLEN_ZIGZAG  turn j meets the rows of rank - j; ZIGZAG layout: even work, few rows travel
//   BATCH_RING     the same turns over the CONTIGUOUS layout: keys of later ranks are never seen and never
//                  sent, so early ranks idle; here to compare, and where a row must stay in order
//   VARLEN_LLAMA3  CONTIGUOUS; a turn gathers from all ranks the keys of heads_k_stride key heads and attends
//                  to them at once: one exact softmax, nothing is merged (Grattafiori et al. 2024,
//                  arXiv:2407.21783, section 3.3.2)
//
// K and V travel in the dtype of the activations; partial dK and dV in F32, straight back to the owner, which
// adds them in a fixed order: its own, then those of rank + 1, rank + 2, ... Backward fetches K and V again.
// Own rows come first, then those at increasing distance, so results repeat bit for bit.
// (Liu et al. 2023, arXiv:2310.01889; docs/internals/context_parallel.md has volumes and memory.)
#ifndef AXL_COMM_RING_ATTENTION_H
#define AXL_COMM_RING_ATTENTION_H

#include "comm/comm.h"
#include "comm/cp_layout.h"
#include "kernels/attention_impl.h"

typedef struct axl_ring axl_ring;

typedef enum axl_ring_schedule {
    AXL_RING_VARLEN_ZIGZAG,
    AXL_RING_BATCH_RING,
    AXL_RING_VARLEN_LLAMA3,
    AXL_RING_N_SCHEDULES
} axl_ring_schedule;

typedef struct axl_ring_options {
    axl_ring_schedule schedule;
    int n_ranks;            // of the context-parallel axis
    int32_t heads_k_stride; // VARLEN_LLAMA3: key heads a turn, at least 1
    int64_t max_tokens;     // of a whole micro-batch
    int32_t max_seqs;
    int32_t n_heads, n_kv_heads, head_dim, v_head_dim; // of the largest layer, on this rank
    axl_dtype dtype;                                   // of activations: F32 or BF16
    axl_attn_numerics numerics; // of the forward of every part: one that gives (out, lse)
    const int32_t *windows;     // [n_windows] the different windows of the layers, 0: none; copied
    int n_windows;
} axl_ring_options;

// A schedule's name ("varlen_zigzag", ...) and the layout it works on.
const char *axl_ring_schedule_name(axl_ring_schedule schedule);
axl_cp_kind axl_ring_layout(axl_ring_schedule schedule);

// The device memory that create takes; 0 for one rank.
size_t axl_ring_bytes(const axl_ring_options *o);

// comm is the context-parallel axis, of o->n_ranks ranks; both are borrowed. AXL_E_MEMORY, AXL_E_BUG. Local.
axl_status axl_ring_create(const axl_ring_options *o, axl_comm *comm, axl_device *device,
                           axl_ring **out);
void axl_ring_destroy(axl_ring *r); // NULL-safe; nothing may be in flight

// Lists what travels between which ranks for a micro-batch; the layout may change after the call. It is the
// same on all ranks and of the schedule's kind (AXL_E_BUG). Local; takes no memory.
axl_status axl_ring_set_layout(axl_ring *r, const axl_cp_layout *l);

// Sinks of a layer's heads (kernels/attention.h), or NULL where a pointer to this is asked for.
typedef struct axl_ring_sinks {
    const void *sinks; // [H] dtype
    void *dsinks;      // [H] F32, backward only: from this rank's queries alone
    bool accumulate;   // dsinks: set or add
} axl_ring_sinks;

// As kernels->attn_fwd for this rank's rows. q, k, v, out, lse are local; cu_seqlens_q, positions_q (and their
// k twins), n_seqs and max_seqlen are taken from the layout and not read. The mask is causal, the window one
// of the options'. With BF16 and several ranks out is dense (ldo = H * Dv). One rank: exactly that kernel.
// Collective on the axis, on the compute and exchange streams.
axl_status axl_ring_forward(axl_ring *r, const axl_attn_args *a, const axl_ring_sinks *sinks);

// As kernels->attn_bwd for this rank's rows; lse and delta are those of the final out. With BF16 gradients and
// several ranks dq, dk, dv are dense. Collective on the axis, on the compute and exchange streams.
axl_status axl_ring_backward(axl_ring *r, const axl_attn_bwd_args *b, const axl_ring_sinks *sinks);

// What rank `rank` sends for one layer, in bytes: exactly what the axis' counters will say. kv_width =
// n_kv_heads * (head_dim + v_head_dim). Local.
typedef struct axl_ring_traffic {
    int64_t forward, backward;
} axl_ring_traffic;
axl_ring_traffic axl_ring_traffic_of(const axl_cp_layout *l, int rank, int32_t window,
                                     int64_t kv_width, axl_dtype dtype);

#endif
