// The memory of one pass over the model, taken once: the batch on the device, carries between units, saved
// slots of every layer, scratch, and the head's chunk of logits.
//
// Sizes come from the unit plans for a capacity of n_tokens; axl_work_bytes is what `plan` prints and what
// axl_work_init takes.
#ifndef AXL_MODEL_WORK_H
#define AXL_MODEL_WORK_H

#include "src/base/mem.h"
#include "src/data/batch.h"
#include "src/model/exec.h"
#include "src/model/model.h"

typedef struct axl_graphs axl_graphs; // graphs.h

// Whether layers are repeated as graphs of the device; auto: where launches weigh, by the sizes.
typedef enum axl_graph_use { AXL_GRAPHS_OFF, AXL_GRAPHS_AUTO, AXL_GRAPHS_ON } axl_graph_use;

typedef struct axl_offload axl_offload; // offload.h

// What of a layer waits for its backward on the host: nothing, its input, or also what the save set keeps.
typedef enum axl_offload_what {
    AXL_OFFLOAD_NONE,
    AXL_OFFLOAD_INPUTS,
    AXL_OFFLOAD_ALL
} axl_offload_what;

#define AXL_OFFLOAD_PLACES 3 // that units take in turn on the device

typedef struct axl_work_options {
    int64_t n_tokens; // capacity of a micro-batch
    int64_t n_seqs;   // most documents in it
    axl_dtype dtype;  // of activations: F32, BF16; F64 on the ref backend
    axl_checkpointing checkpointing;
    bool train; // memory for backward too
    axl_graph_use graphs;
    axl_offload_what offload;
    // context parallelism: n_tokens is this rank's capacity
    axl_ring_schedule ring;
    int32_t heads_k_stride;
    int64_t whole_tokens; // capacity of the micro-batch that the cp group shares
} axl_work_options;

typedef struct axl_work_bytes {
    size_t batch;   // ids, labels, positions, cu_seqlens, rotation tables
    size_t carries; // [n_units][T, D]: inputs of units, which every save set keeps; offloaded: some
    size_t saved;   // slots that layers keep for backward
    size_t scratch; // the largest of forward and backward of any unit
    size_t grads;   // the gradient of the residual stream
    size_t head;    // hidden rows with a label, a chunk of logits, their gradients
    size_t ring;    // keys and values of other ranks
    size_t host;    // not of the device: what is offloaded
} axl_work_bytes;

typedef struct axl_work {
    axl_model *model;   // borrowed
    axl_device *device; // borrowed
    axl_work_options options;
    axl_work_bytes bytes;
    axl_unit_plan *plans; // [n_programs], owned
    int32_t *
        host; // the batch on its way to the device: [3 T] lists of the head, and on a device without
              // host_memory what the caller gave; owned
    int32_t *host_masks; // groups or prompts on their way, owned
    int64_t n_staged;    // of host, in use
    float *host_freq; // frequencies of rotations on their way, owned; NULL: the host's memory does
    void *host_stats; // [T] statistics between the host and the device, owned
    size_t host_stats_bytes;
    axl_event uploaded, graded; // after which host and host_stats may be written again
    axl_event fetched;          // when logp is in host_stats
    bool fetching;              // it is on its way
    float *inv_freq;            // [AXL_MAX_ROPE_PAIRS] frequencies of a table being made; device
    char *memory;               // owned, one allocation of memory_bytes on the device
    size_t memory_bytes;
    char **saved;                   // [n_units] into memory, owned array
    char *carries, *scratch, *grad; // into memory
    axl_dispatch *dispatch;         // owned; NULL: the model has no experts
    axl_router_load
        load; // of the micro-batch; run.load is NULL when the model asks for no auxiliary loss
    double *load_sums; // [2 n_experts + 2], host, owned
    void *load_stats;  // [n_experts] statistics between the host and the device, owned
    axl_run run;
    axl_offload *offload; // owned; NULL: everything stays on the device
    bool forward_only;    // no backward follows: nothing needs to be offloaded
    axl_graphs *graphs;   // owned; NULL: every kernel is queued by itself
    axl_ring *ring;       // owned; NULL without context parallelism
    // the head: rows with a label, compacted
    int64_t chunk;                   // rows of logits at a time
    int64_t n_scored;                // rows of this batch with a label
    int32_t *scored, *slot_of_token; // [T] row -> token; token -> row or -1; device
    int32_t *labels;                 // [T] of scored rows; device
    const int32_t *host_scored;      // [T] the same as scored, host; borrowed from host
    char *hidden, *grad_hidden;      // [T, D] compact rows
    char *out_hidden;                // [T, D] output of the final norm, all rows
    char *logits, *dlogits;          // [chunk, V]; dlogits is logits for F32
    char *lse, *logp, *grad_logp;    // [T] statistics
    char *top, *sum, *target;        // [chunk] statistics; to join the vocabulary slices of tp
} axl_work;

// Bytes by class for these options; also fills plans when not NULL ([model->n_programs]).
axl_status axl_work_plan(const axl_model *m, const axl_work_options *o, axl_unit_plan *plans,
                         axl_work_bytes *out);
size_t axl_work_total(const axl_work_bytes *b);

// The plans and sizes of a pass without its memory, for formulas: the model may lie on an imagined mesh. Release
// with axl_work_fini. AXL_E_MEMORY. Local.
axl_status axl_work_imagine(axl_work *w, axl_model *m, const axl_work_options *o);

axl_status axl_work_init(axl_work *w, axl_model *m, axl_device *device, const axl_work_options *o);
void axl_work_fini(axl_work *w);

// Puts a batch on the device: ids, positions, document borders, rotation tables, the list of rows with a label.
// AXL_E_BUG when it is larger than the capacity.
axl_status axl_work_set_batch(axl_work *w, const axl_batch *batch);

// Places that units take in turn for what they keep; n_units: each has its own.
static inline int axl_work_places(const axl_work *w, axl_offload_what least)
{
    return w->options.train && w->options.offload >= least && w->model->n_units > AXL_OFFLOAD_PLACES
               ? AXL_OFFLOAD_PLACES
               : w->model->n_units;
}

// The input of unit u, [T, D].
static inline char *axl_work_carry(const axl_work *w, int u)
{
    return w->carries + (size_t)(u % axl_work_places(w, AXL_OFFLOAD_INPUTS)) *
                            axl_align_up((size_t)(w->options.n_tokens * w->model->arch.hidden) *
                                         axl_dtype_size(w->options.dtype));
}

#endif
