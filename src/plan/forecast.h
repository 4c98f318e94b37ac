// What a run will take and how long a step will last, before it: memory, arithmetic, bytes and seconds of one rank of
// a mesh that need not be here.
//
// The one idea: nothing is estimated that the program itself computes. The model is built on an imagined mesh; its
// units, programs and plans are those of the trainer, and memory and bytes come from the functions that the trainer
// takes them with. Only seconds are a model: every instruction costs what its arithmetic or its bytes cost on the
// cluster (cost.h), and the units run through the step's own order of gathers, kernels and reductions (pipeline.h).
#ifndef AXL_PLAN_FORECAST_H
#define AXL_PLAN_FORECAST_H

#include "sharding/unit.h"
#include "src/model/traffic.h"
#include "src/plan/arithmetic.h"
#include "src/plan/beside.h"
#include "src/plan/cluster.h"

// How the data fill a micro-batch.
typedef struct axl_forecast_data {
    int64_t sequence_len, micro_batch_size, accumulation;
    bool packing;                   // several documents share a row
    bool real_batches;              // rows of a micro-batch are packed one by one
    int64_t row_docs;               // most documents of a packed row; 0: as many as tokens
    int64_t document_len;           // expected mean, at most sequence_len
    int64_t eval_tokens, eval_docs; // of the largest batch of an evaluation; 0: none
} axl_forecast_data;

// One run. Fill mesh, rank, sharder and the dtypes and modes of work; axl_forecast_fill does the rest.
typedef struct axl_forecast_job {
    int mesh[AXL_N_AXES];
    int64_t rank; // whose bytes; -1: of each operation the rank that sends most
    axl_sharder_options sharder;
    axl_work_options work;
    int64_t n_micro;
    int64_t n_tokens, n_docs; // expected in a micro-batch of a cp group
    bool tf32;                // products of f32 round their factors where the device can
} axl_forecast_job;

void axl_forecast_fill(const axl_forecast_data *d, axl_forecast_job *job);

// Where the seconds of a step go. The first ones are kernels, the others waiting for communication.
typedef enum axl_time_class {
    AXL_TIME_PRODUCTS,
    AXL_TIME_ATTENTION,
    AXL_TIME_ELEMENTWISE,
    AXL_TIME_HEAD,
    AXL_TIME_OPTIMIZER,
    AXL_TIME_TP,        // sums between the products of a layer
    AXL_TIME_RING,      // keys and values that come later than they are wanted
    AXL_TIME_EXPERTS,   // rows to and from experts
    AXL_TIME_GATHER,    // weights that come later than they are wanted
    AXL_TIME_REDUCE,    // gradients that leave later than their memory is wanted
    AXL_TIME_REPLICATE, // sums over replicas behind the last kernel
    AXL_TIME_HOST,      // activations that come or leave late; gradients down, and updates there
    AXL_TIME_N
} axl_time_class;

const char *axl_time_class_name(axl_time_class c); // "products", ...

typedef struct axl_seconds {
    double s[AXL_TIME_N];
} axl_seconds;

double axl_seconds_sum(const axl_seconds *t);

typedef struct axl_forecast {
    int64_t n_params, n_active; // of the model; those that a token meets (experts)
    // memory of this rank, bytes
    axl_sharder_bytes sharder;
    axl_work_bytes work;
    size_t host;         // buffers of the loader, the host's side of a batch, rests of pages
    size_t process;      // of the runtime, from the cluster
    size_t tensors;      // sharder + work
    axl_beside beside;   // of the device, beside tensors
    size_t pinned;       // memory of a node's host that its ranks pin
    size_t total;        // what counts on the device
    size_t limit;        // of the device
    size_t pinned_limit; // of a node's host; 0: not known
    int64_t chunk;       // rows of logits at a time
    // arithmetic
    double
        flops_token; // of the model, forward and backward, attention counted in full (as MFU does)
    double flops_causal;    // the same with the causal half of documents as long as expected
    double flops_attention; // the part of attention in it
    double flops_rank;      // that this rank's kernels do in a step, what is run again included
    // bytes in a step
    axl_traffic expected, worst;
    // time; zeros when asked without
    axl_seconds time;
    double hidden;      // seconds of communication beside kernels
    double step;        // seconds
    double tokens_step; // of all ranks
    double tokens_per_second, tokens_per_second_rank, mfu, mfu_causal;
} axl_forecast;

// Everything about one job. The arch is only read. AXL_E_CONFIG when an axis does not divide the model. Local.
axl_status axl_forecast_make(const axl_arch *arch, const axl_cluster *cluster,
                             const axl_forecast_job *job, axl_forecast *out);

// ---- for searches: the parts of a forecast, each made once for all jobs that share it

// What context parallelism makes of a micro-batch, by the windows of the model's layers.
enum { AXL_FORECAST_WINDOWS = 4 };
typedef struct axl_forecast_view {
    int64_t n_tokens; // of a rank
    int64_t n_scored; // of this rank
    int n_windows;
    int32_t window[AXL_FORECAST_WINDOWS];
    double pairs[AXL_FORECAST_WINDOWS]; // of the rank that has most
    // rows of keys that this rank sends forward, and whose gradients come back
    int64_t rows[AXL_FORECAST_WINDOWS], rows_back[AXL_FORECAST_WINDOWS];
} axl_forecast_view;

axl_status axl_forecast_view_make(const axl_arch *arch, const axl_forecast_job *job,
                                  axl_forecast_view *out);

// What one unit's weights take and send; [2]: dense weights, experts.
typedef struct axl_unit_load {
    double gather[2], reduce[2]; // bytes of the whole, as they travel
    double elements;             // of this rank's shards
    double sent;                 // bytes of them, as they travel
    double cast;                 // bytes read and written to make them so
} axl_unit_load;

// The weights on a mesh. They are cut over dp_shard x ep x cp: meshes that differ in cp but not in that product, ep and
// tp share this.
typedef struct axl_forecast_weights {
    axl_sharder_bytes bytes[2]; // by reshard_after_forward
    axl_arithmetic arithmetic;
    double elements;      // of this rank's shards
    axl_unit_load *loads; // [n_programs], owned; units of one program have equal weights
} axl_forecast_weights;

axl_status axl_forecast_weights_make(const axl_model *m, const axl_sharder_options *o,
                                     axl_forecast_weights *out);
void axl_forecast_weights_fini(axl_forecast_weights *w);

// One unit's kernels and what stands inside it, forward and backward.
typedef struct axl_unit_kernels {
    axl_seconds there, back;
    double flops;
} axl_unit_kernels;

// The kernels of a micro-step: the same on all meshes that differ in dp_replicate and dp_shard only.
typedef struct axl_forecast_kernels {
    axl_work_bytes bytes;
    int64_t chunk;           // rows of logits at a time
    int64_t n_graphed;       // kernels of graphs, at most
    axl_unit_kernels *units; // [n_programs], owned
    double micro;            // seconds of a micro-step, at least
} axl_forecast_kernels;

// w is of this job (axl_work_imagine).
axl_status axl_forecast_kernels_make(const axl_work *w, const axl_cluster *cluster,
                                     const axl_forecast_job *job, const axl_forecast_view *view,
                                     axl_forecast_kernels *out);
void axl_forecast_kernels_fini(axl_forecast_kernels *k);

// Memory alone: everything else of *out becomes zero. Of kernels only bytes and n_graphed are looked at.
void axl_forecast_memory(const axl_arch *arch, const axl_cluster *cluster,
                         const axl_forecast_job *job, const axl_sharder_bytes *weights,
                         const axl_forecast_kernels *kernels, axl_forecast *out);

// Adds arithmetic and time to a forecast of memory. The model's mesh is that of the job.
axl_status axl_forecast_time(const axl_model *m, const axl_cluster *cluster,
                             const axl_forecast_job *job, const axl_forecast_weights *weights,
                             const axl_forecast_kernels *kernels, axl_forecast *out);

// The arch's copy, to be released with axl_arch_fini.
axl_status axl_forecast_copy_arch(const axl_arch *arch, axl_arch *out);

static inline bool axl_forecast_fits(const axl_forecast *f)
{
    return f->total <= f->limit && (f->pinned_limit == 0 || f->pinned <= f->pinned_limit);
}

#endif
