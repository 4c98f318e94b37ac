// Batches for the training loop: which rank computes what, prepared ahead by a thread.
//
// The bins of an epoch stand in one global order, that of the feed (feed.h). An optimizer step takes the next G micro-batches,
// G = gradient_accumulation_steps x data-parallel ranks; the m-th of them goes to rank m mod D as its micro-
// step m / D. So any rank count with the same G sees the same steps. The last step of an epoch takes what is
// left: then some ranks get an empty batch (n_tokens 0) and still take part in every collective. All ranks
// have the same number of micro-steps in a step.
//
// The weight of a step, the number its sum of losses is divided by, is known from its bins on every rank
// without communication. Of a step, and so of memory, only the numbers of its samples are held.
#ifndef AXL_DATA_LOADER_H
#define AXL_DATA_LOADER_H

#include "comm/cp_layout.h"
#include "src/data/batch.h"
#include "src/data/plan.h"

typedef struct axl_loader_options {
    axl_plan_options plan; // axl_loader_create
    int dp_rank, dp_size;  // data-parallel coordinate: ranks of one cp or tp group share it
    int cp_rank, cp_size;  // which part of each micro-batch; size 0 or 1: all of it
    axl_cp_kind cp_kind;
    int64_t gradient_accumulation_steps;
    double num_epochs; // may be fractional
    bool
        drop_last; // dataloader_drop_last: leave out an incomplete last step, unless it is the only one
} axl_loader_options;

// The place in the data: all that a checkpoint needs, the same at any rank count.
typedef struct axl_loader_state {
    axl_data_place place; // of the next bin
    uint64_t plan_hash;   // of what the bins are made from
} axl_loader_state;

typedef struct axl_step_info {
    int64_t n_micro;  // micro-steps of every rank
    int64_t epoch;    // from 0
    double epoch_end; // epochs done after this step, with its fraction
    bool ends_epoch;  // it is the last of its epoch
    double weight;    // sum of the weights of all trained tokens of the step, over all ranks
    int64_t n_tokens; // of the step, over all ranks
} axl_step_info;

typedef struct axl_loader axl_loader;

// Takes all memory and starts the thread. Local; every rank calls it with the same list and options, its
// own dp_rank apart.
axl_status axl_loader_create(const axl_sample_list *list, const axl_loader_options *options,
                             axl_loader **out);
// The same for the bins of any feed, which it owns from now on, also on failure.
axl_status axl_loader_create_from(axl_feed *feed, const axl_loader_options *options,
                                  axl_loader **out);
void axl_loader_destroy(axl_loader *l); // NULL-safe

// Steps from the present place to the end of num_epochs; the tail of each epoch counts as a step. Packs the
// epochs to come once, so that it is exact. AXL_ENDLESS for a stream.
#define AXL_ENDLESS INT64_MAX
int64_t axl_loader_steps_left(const axl_loader *l);

// The largest batch there can be on this rank: what buffers are sized from. whole: before it is split over cp.
int64_t axl_loader_max_tokens(const axl_loader *l);
int64_t axl_loader_whole_tokens(const axl_loader *l);
int64_t axl_loader_max_seqs(const axl_loader *l);

// Begins the next step. The data never end: epochs follow one another, the caller counts steps.
// AXL_E_BUG when the batches of the step before were not all taken. A stream fails here when its records do.
axl_status axl_loader_begin_step(axl_loader *l, axl_step_info *info);

// This rank's next batch of the step; call it n_micro times. Borrowed until the next call.
axl_status axl_loader_next(axl_loader *l, const axl_batch **out);

// The place behind the last step whose batches were all taken.
axl_loader_state axl_loader_get_state(const axl_loader *l);

// Goes to a place; also to the start: axl_loader_rewind. Fails with AXL_E_INPUT when the plan is another.
axl_status axl_loader_set_state(axl_loader *l, const axl_loader_state *state);
axl_status axl_loader_rewind(axl_loader *l);

#endif
