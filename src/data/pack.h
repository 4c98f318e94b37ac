// Bins: which samples share a row.
//
// First fit in the given order, in groups of group_size consecutive samples: a sample goes to the first
// open bin with room and fewer than bin_size samples, else to a new bin; bins of one group are closed
// before the next begins. Lengths are not sorted, so the step counts of Axolotl's multipack sampler are
// reproduced. A segment tree over the free space of the bins makes a placement O(log bins).
#ifndef AXL_DATA_PACK_H
#define AXL_DATA_PACK_H

#include "src/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct axl_pack_options {
    int64_t capacity;   // tokens of a bin
    int64_t group_size; // samples packed together, >= 1
    int64_t bin_size;   // most samples of a bin, >= 1; sequential ignores it
    bool sequential;    // next fit: one open bin, order kept
} axl_pack_options;

typedef struct axl_bins {
    int64_t n_bins;
    int64_t *start; // [n_bins + 1] into items, owned by the packer
    int64_t *items; // samples in bin order, owned by the packer
} axl_bins;

typedef struct axl_packer axl_packer;

// Takes the memory for lists of up to max_samples samples; axl_packer_run allocates nothing.
axl_status axl_packer_create(int64_t max_samples, const axl_pack_options *options,
                             axl_packer **out);
void axl_packer_destroy(axl_packer *p); // NULL-safe

// Packs order[0 .. n) (indices into lengths). A sample longer than the capacity gets a bin of its own.
// The result is borrowed and valid until the next run. Local; cannot fail for n <= max_samples.
axl_bins axl_packer_run(axl_packer *p, const int32_t *lengths, const int64_t *order, int64_t n);

// One sample a bin, in order: how rows are formed without packing.
axl_bins axl_packer_singles(axl_packer *p, const int64_t *order, int64_t n);

#endif
