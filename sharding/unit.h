// Units of sharding: one decoder layer, the embedding, or the final norm with the head.
//
// A unit's weights live as row shards (param.h). For the moments that it computes they are gathered into a
// buffer, one grouped all_gather for all of them, started one unit ahead on the gather stream; its gradients
// leave by one grouped reduce_scatter on the reduce stream, one unit behind - in bf16 as one message to each rank - and are
// added to the shards in f32 at every micro-step. In the last micro-step the shards are summed over the replicas (HSDP), and over the tp
// ranks that hold parts of the same sum. The policy reshard_after_forward false, or a weight that one rank holds
// alone, keeps what was gathered until the optimizer changes it.
//
// fp8 weights are gathered as e4m3. Their scale is one of the whole tensor: the largest magnitudes of all of them are
// found once after the optimizer changed them, and joined over the ranks in one message.
//
// A tied matrix belongs to the embedding and is borrowed by the head. It is gathered once a micro-step, by the
// embedding, and stays for the head; its gradient is begun by the head and reduced once, by the embedding: its
// place in memory is nobody else's in between.
#ifndef AXL_SHARDING_UNIT_H
#define AXL_SHARDING_UNIT_H

#include "sharding/param.h"

#define AXL_SHARDER_MAX_LEVELS 32

typedef struct axl_unit {
    const char *name;  // borrowed
    int layer;         // 0 .. n_layers - 1; -1: embedding and head
    axl_param *params; // [n_params], owned
    int n_params;
    axl_param *
        *uses; // [n_uses], owned array: what it computes with, its own and borrowed (a tied matrix)
    int n_uses;
    int program;     // index into the model's programs
    axl_event ready; // its gather
} axl_unit;

typedef struct axl_sharder_options {
    axl_dtype dtype; // of compute
    bool reshard_after_forward;
    bool train;       // gradients and two moments too
    bool offload;     // masters and moments are host memory, of a device that has its own
    int host_threads; // offload: of the update; 0: what OpenMP would take
    bool reduce_bf16; // gradients travel in bf16; sums are f32
    int64_t
        invariant; // sum the micro-steps of a step, at most this many, and ranks in one fixed tree; 0: in
                   // the order they come
} axl_sharder_options;

// Bytes on this rank; what the plan prints and create allocates.
typedef struct axl_sharder_bytes {
    size_t shard;                  // of the row shards of all weights, f32, wherever they are
    size_t master, grads, moments; // row shards, f32; offload: only grads
    size_t gathered;               // buffers for gathered weights, and the scales of fp8 ones
    size_t grad_buffers;           // full gradients of units in flight, and their copies to be sent
    size_t levels;                 // invariant: sums of micro-steps that wait for their partners
    size_t squares;                // sums of squares of gradients
    size_t host;                   // offload: not of the device
} axl_sharder_bytes;

typedef struct axl_sharder {
    axl_device *device; // borrowed
    axl_mesh *mesh;     // borrowed
    axl_unit *units;    // borrowed
    int n_units;
    axl_sharder_options options;
    axl_sharder_bytes bytes;
    float *master, *grads, *moments[2]; // owned: all params of all units in `order`
    // [n_params], owned: trained with weight decay, trained without, frozen; of each those of equal cols side by side.
    // So an update or a norm is a few long calls, however many there are.
    axl_param **order;
    int n_params;
    int64_t n_elements; // of each of the four
    float *level[AXL_SHARDER_MAX_LEVELS];
    int n_levels;
    axl_device *host;     // offload: owned, updates the masters; else NULL
    char *host_memory;    // owned: masters and what follows them, host_state.c
    float *host_grads;    // into it
    axl_event sent;       // the last copy of a shard to the device
    double *squares;      // owned: of the gradients this rank owns; one, or invariant one a row
    double *host_squares; // owned host memory: where they are read
    int64_t n_squares;
    int64_t micro;                     // micro-steps of this step that are over
    bool last;                         // the present one is the last
    char *gather_buffer, *grad_buffer; // owned
    size_t gather_offset[4],
        grad_offset[4];    // root units, even layers, odd layers; then what is kept
    size_t send_offset[3]; // into grad_buffer: where gradients lie by the rank that they go to
    // [2 * n_fp8], owned: largest magnitudes of all fp8 params in `order`, then their scales; NULL: there are none
    float *amax;
    int n_fp8;
    bool amax_known;      // it is that of the present weights
    axl_event reduced[3]; // when each part of grad_buffer is free again
} axl_sharder;

// Bytes that axl_sharder_init will take, for params that have been placed (axl_param_place). Local.
axl_sharder_bytes axl_sharder_plan(const axl_unit *units, int n_units,
                                   const axl_sharder_options *o);
// How many of the units' own params are fp8.
int axl_sharder_n_fp8(const axl_unit *units, int n_units);
size_t axl_sharder_total(const axl_sharder_bytes *b);

// Takes the memory and points every param at its shard (zeros). The params must have been placed on mesh
// (axl_param_place). AXL_E_MEMORY. Local.
axl_status axl_sharder_init(axl_sharder *s, axl_device *device, axl_mesh *mesh, axl_unit *units,
                            int n_units, const axl_sharder_options *o);
void axl_sharder_fini(axl_sharder *s); // drains the streams

// All of the following are Collective on the mesh's world, in the same order of units on all ranks.

// Starts the gather of what the unit uses and does not hold yet; does not wait.
axl_status axl_unit_prefetch(axl_sharder *s, axl_unit *u);
// Waits until the compute stream may read the gathered weights (starts the gather if nobody did).
axl_status axl_unit_acquire(axl_sharder *s, axl_unit *u);
// The unit's compute is done: drops the gathered weights unless the policy keeps them.
void axl_unit_release(axl_sharder *s, axl_unit *u);

// Before the unit's backward: gives its trainable params memory for their full gradients.
axl_status axl_unit_begin_grads(axl_sharder *s, axl_unit *u);
// After it: starts the reduction into the shards.
axl_status axl_unit_reduce(axl_sharder *s, axl_unit *u);

// A new optimizer step: gradients start anew; kept weights count as old (the optimizer changed them).
void axl_sharder_begin_step(axl_sharder *s);
// Around each micro-step of it; last: no other follows, sums over replicas may start.
void axl_sharder_begin_micro(axl_sharder *s, bool last);
axl_status axl_sharder_end_micro(axl_sharder *s);
// After it every grad_shard is, for what follows on compute, the sum over ranks and micro-steps.
axl_status axl_sharder_finish(axl_sharder *s);
// After the norm is known: each param's update_grad is its gradient, for its state's device. Local.
axl_status axl_sharder_begin_update(axl_sharder *s);

#endif
