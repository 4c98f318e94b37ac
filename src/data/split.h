// Which samples of a prepared set train and which validate, and in what order.
//
// The merged data are shuffled by the seed (unless told not to); of a shard of them (all, unless told) the tail
// is the validation part. So both parts are fixed by the seed and the data alone. A list holds no samples: which
// one stands at a place is computed, so a list costs the same for any number of them.
#ifndef AXL_DATA_SPLIT_H
#define AXL_DATA_SPLIT_H

#include "src/base/hash.h"
#include "src/base/permute.h"
#include "src/data/prepared.h"

typedef struct axl_sample_list {
    const axl_prepared *set; // borrowed; the fields below are read by axl_sample_list_at alone
    int64_t n;               // samples
    int64_t first;           // place of the first in the merged, shuffled set
    uint64_t seed;
    bool shuffle, shuffle_each;
    axl_permuter whole; // shuffle: of the merged set
    int64_t *entry;     // shuffle_each: [n_entries + 1] first sample of each entry, owned
    int64_t n_entries;
} axl_sample_list;

typedef struct axl_split_options {
    uint64_t seed;
    bool shuffle;      // shuffle_merged_datasets, and not curriculum_sampling
    bool shuffle_each; // shuffle_before_merging_datasets: each entry by itself, before the other
    int64_t n_shards;  // dataset_shard_num: keep one contiguous part of the merged set; 0 or 1: all
    int64_t shard;     // dataset_shard_idx, from 0
    double val_set_size; // 0: none; below 1: a fraction, rounded up; above 1: a count
} axl_split_options;

// val may be NULL when val_set_size is 0; it is empty then. AXL_E_CONFIG when nothing is left to train.
axl_status axl_split_make(const axl_prepared *set, const axl_split_options *options,
                          axl_sample_list *train, axl_sample_list *val);

// The whole set in the order of the data: for test_datasets. Cannot fail; needs no fini.
axl_sample_list axl_sample_list_all(const axl_prepared *set);

void axl_sample_list_fini(axl_sample_list *list);

// The sample of the set that stands at place i of the list.
int64_t axl_sample_list_at(const axl_sample_list *list, int64_t i);

// Adds all that decides the order, apart from the set.
void axl_sample_list_hash(const axl_sample_list *list, axl_hash *h);

#endif
