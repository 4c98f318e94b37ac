// Which rows of an entry are taken: `split: train[10%:20%]`, `shards` and `shards_idx`.
#ifndef AXL_DATA_SELECT_H
#define AXL_DATA_SELECT_H

#include "src/base/permute.h"
#include "src/data/dataset.h"

// A rule, not a list: its size does not depend on the number of rows.
typedef struct axl_row_select {
    bool all;         // every row; the rest is empty then
    int64_t from, to; // the slice
    bool shard; // of the slice, only those whose place in a permutation is one of [first, last)
    int64_t first, last;
    axl_permuter order; // the permutation
} axl_row_select;

// Whether the entry takes a part only, so that its rows must be counted first.
bool axl_row_select_needed(const axl_dataset_spec *spec);

// Chooses among n rows. A slice counts rows, or percent with the bounds rounded to the nearest row; shards
// are parts of a permutation by the seed. AXL_E_CONFIG for a malformed split or a shard that is not there.
axl_status axl_row_select_make(const axl_dataset_spec *spec, int64_t n, axl_row_select *out);

// Whether row i is taken, counted from 0.
bool axl_row_select_takes(const axl_row_select *s, int64_t i);

#endif
