// What a step sends, from formulas: by group of ranks and operation, in bytes, for this rank.
//
// The numbers are those of the counters (comm.h) as integers. Weights and gradients follow from the model, the mesh
// and the policy alone; activations from the tokens of a micro-batch; keys and values of context parallelism from its
// layout; rows of experts from what was routed. docs/internals/layouts.md has the formulas in words.
#ifndef AXL_MODEL_TRAFFIC_H
#define AXL_MODEL_TRAFFIC_H

#include "src/model/work.h"

typedef struct axl_traffic {
    int64_t sent[AXL_N_GROUPS][AXL_COMM_N_OPS];
} axl_traffic;

// Adds what gathers of weights and sums of gradients send in an optimizer step of n_micro micro-steps. The model may
// lie on an imagined mesh. Local.
void axl_traffic_weights(const axl_model *m, const axl_sharder_options *o, int64_t n_micro,
                         axl_traffic *t);

// Adds what the activations of one micro-batch send, forward, head and backward: batch as it was given to
// axl_work_set_batch, w->n_scored of it scored. Without the rows of experts. Local.
void axl_traffic_activations(const axl_work *w, const axl_batch *batch, axl_traffic *t);

// Adds what the experts' exchanges sent since axl_dispatch_reset, from the rows that were routed; each forward pass
// has had its backward pass. Local.
void axl_traffic_experts(const axl_work *w, axl_traffic *t);

// Before any token is known: what a step of n_micro micro-batches will send. *expected and *worst come as zeros.
//   expected  micro-batches of n_tokens tokens (of the whole cp group) in n_docs documents of equal length, every
//             token scored but the last of a document, experts evenly chosen
//   worst     micro-batches as large as there is memory for, every key needed by every rank, every token copy for an
//             expert of another rank
//   largest   of each operation the rank of cp that sends most (of many ranks some are asked), else this rank
// AXL_E_MEMORY. Local.
axl_status axl_traffic_outlook(const axl_work *w, const axl_sharder_options *o, int64_t n_micro,
                               int64_t n_tokens, int64_t n_docs, bool largest,
                               axl_traffic *expected, axl_traffic *worst);

#endif
