// Which rows of an entry are taken: `split: train[10%:20%]`, `shards` and `shards_idx`.
#ifndef AXL_DATA_SELECT_H
#define AXL_DATA_SELECT_H

#include "src/data/dataset.h"

typedef struct axl_row_select {
    bool all;            // every row; the rest is empty then
    unsigned char *keep; // [n] owned; 1: taken
    int64_t n;
} axl_row_select;

// Whether the entry takes a part only, so that its rows must be counted first.
bool axl_row_select_needed(const axl_dataset_spec *spec);

// Chooses among n rows. A slice counts rows, or percent with the bounds rounded to the nearest row; shards
// are parts of a permutation by the seed. AXL_E_CONFIG for a malformed split or a shard that is not there.
axl_status axl_row_select_make(const axl_dataset_spec *spec, int64_t n, axl_row_select *out);
void axl_row_select_fini(axl_row_select *s);

#endif
