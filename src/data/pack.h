// Bins: which samples share a row.
//
// first_fit: in the given order, a sample goes to the first open bin with room and fewer than bin_size samples,
// else to a new bin. Lengths are not sorted, so the step counts of Axolotl's multipack sampler are reproduced.
// best_fit: longest first, a sample goes to the fullest bin with room. Where that leaves more bins than need be, the
// samples are also spread evenly over the fewest bins there can be, and packed by first fit; the least bins win, so
// there are never more than by first_fit. Bins stand in the order of their first samples. Both are O(n log n).
// sequential: one open bin, order kept; bin_size does not count.
#ifndef AXL_DATA_PACK_H
#define AXL_DATA_PACK_H

#include "src/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum axl_pack_kind {
    AXL_PACK_FIRST_FIT,
    AXL_PACK_BEST_FIT,
    AXL_PACK_SEQUENTIAL
} axl_pack_kind;

typedef struct axl_pack_options {
    int64_t capacity; // tokens of a bin
    int64_t bin_size; // most samples of a bin, >= 1
    axl_pack_kind kind;
} axl_pack_options;

typedef struct axl_bins {
    int64_t n_bins;
    int64_t *start; // [n_bins + 1] into items, owned by the packer
    int64_t *items; // [n] samples in bin order, ascending in each bin; owned by the packer
} axl_bins;

typedef struct axl_packer axl_packer;

// Takes the memory for groups of up to max_samples samples; axl_packer_run allocates nothing.
axl_status axl_packer_create(int64_t max_samples, const axl_pack_options *options,
                             axl_packer **out);
void axl_packer_destroy(axl_packer *p); // NULL-safe

// Packs the samples 0 .. n-1, whose lengths are given in their order. A sample longer than the capacity gets a
// bin of its own. The result is borrowed and valid until the next run. Local; cannot fail for n <= max_samples.
axl_bins axl_packer_run(axl_packer *p, const int32_t *lengths, int64_t n);

#endif
