// The bins of a prepared set: samples permuted anew each epoch, then put into bins. They are the same on every rank
// and at every rank count, because they are made from the seed, the epoch and the data alone.
//
// Bins never cross groups of group_size samples, so one group is packed at a time and nothing is kept of the others:
// memory is that of a group. Without packing, and when packing sequentially, a bin is found from the place of its
// first sample, and there are no groups at all.
#ifndef AXL_DATA_PLAN_H
#define AXL_DATA_PLAN_H

#include "src/data/feed.h"
#include "src/data/pack.h"
#include "src/data/split.h"

typedef struct axl_plan_options {
    int64_t sequence_len;     // tokens
    int64_t micro_batch_size; // samples of a micro-batch; packing: rows of sequence_len
    bool packing;
    bool
        real_batches; // packing: micro_batch_size bins of sequence_len instead of one bin of the product
    axl_pack_kind kind; // sample_packing_algorithm, sample_packing_sequentially
    int64_t group_size; // sample_packing_group_size
    int64_t bin_size;   // sample_packing_bin_size
    uint64_t seed;
    bool shuffle; // a new permutation each epoch; false: the order of the list
} axl_plan_options;

// The capacity of a bin, and how many make a micro-batch.
int64_t axl_plan_capacity(const axl_plan_options *o);
int64_t axl_plan_bins_per_micro(const axl_plan_options *o);

// The feed of a list, which is borrowed. Reads every sample's info once.
axl_status axl_plan_create(const axl_sample_list *list, const axl_plan_options *options,
                           axl_feed **out);

#endif
