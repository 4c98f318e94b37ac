// The global order of one epoch: samples permuted, then put into bins. It is the same on every rank and at
// every rank count, because it is made from the seed, the epoch and the data alone.
#ifndef AXL_DATA_PLAN_H
#define AXL_DATA_PLAN_H

#include "src/data/pack.h"
#include "src/data/split.h"

typedef struct axl_plan_options {
    int64_t sequence_len;     // tokens
    int64_t micro_batch_size; // samples of a micro-batch; packing: rows of sequence_len
    bool packing;
    bool
        real_batches; // packing: micro_batch_size bins of sequence_len instead of one bin of the product
    bool sequential;    // sample_packing_sequentially
    int64_t group_size; // sample_packing_group_size
    int64_t bin_size;   // sample_packing_bin_size
    uint64_t seed;
    bool shuffle; // a new permutation each epoch; false: the order of the list
} axl_plan_options;

typedef struct axl_plan {
    const axl_sample_list *list; // borrowed
    axl_plan_options options;
    int64_t bins_per_micro; // bins of a micro-batch
    int64_t max_tokens;     // of a micro-batch
    int64_t max_seqs;       // of a micro-batch
    uint64_t hash;      // of all that decides the bins; not of micro_batch_size where it does not
    int64_t epoch;      // the one that bins holds; -1: none yet
    axl_bins bins;      // borrowed from the packer
    axl_packer *packer; // owned
    int32_t *lengths;   // [set->n], owned
    int64_t *order;     // [list->n], owned
} axl_plan;

axl_status axl_plan_create(const axl_sample_list *list, const axl_plan_options *options,
                           axl_plan **out);
void axl_plan_destroy(axl_plan *p); // NULL-safe

// Makes the bins of an epoch (from 0). Allocates nothing.
void axl_plan_epoch(axl_plan *p, int64_t epoch);

#endif
