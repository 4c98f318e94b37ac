// Finds samples that are equal token for token and label for label to an earlier one.
#ifndef AXL_DATA_DEDUP_H
#define AXL_DATA_DEDUP_H

#include "src/data/samples.h"

typedef struct axl_dedup axl_dedup;

axl_status axl_dedup_create(axl_dedup **out);
void axl_dedup_destroy(axl_dedup *d); // NULL-safe

// Looks at the last sample of s. *fresh: it was not there before, and is now known by its index.
axl_status axl_dedup_last(axl_dedup *d, const axl_samples *s, bool *fresh);

#endif
