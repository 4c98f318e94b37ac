// Finds samples that are equal to an earlier one, in bounded memory.
//
// The hash of each sample is spilled to a temporary file as the samples come. When all are there, the hashes are
// parted by their top bits into groups of which one fits into memory, and each group is looked through by itself.
// Equal hashes are compared in full by the caller, so nothing is dropped by chance.
#ifndef AXL_DATA_DEDUP_H
#define AXL_DATA_DEDUP_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct axl_dedup axl_dedup;

// beside: the file that is being made; the temporaries lie next to it. memory: bytes that may be taken.
axl_status axl_dedup_create(const char *beside, size_t memory, axl_dedup **out);
void axl_dedup_destroy(axl_dedup *d); // NULL-safe

// The hash of the next sample; they are counted from 0.
axl_status axl_dedup_put(axl_dedup *d, uint64_t hash);

// What is asked of the owner of the samples; earlier < later.
typedef struct axl_dedup_owner {
    void *context;
    axl_status (*equal)(void *context, int64_t earlier, int64_t later, bool *equal);
    axl_status (*drop)(void *context, int64_t later); // once for each duplicate, in no known order
} axl_dedup_owner;

// Drops every sample that equals an earlier one: of equal ones the first stays.
axl_status axl_dedup_run(axl_dedup *d, const axl_dedup_owner *owner);

#endif
