// The length rules: which samples of a record are kept, and how much of each (datasets.md 8.1 and 8.2).
#ifndef AXL_DATA_KEEP_H
#define AXL_DATA_KEEP_H

#include "src/data/dataset.h"
#include "src/data/prepared.h"
#include "src/data/samples.h"

// Appends to `out` those of the samples of one record that the options keep, cut where they say so.
//   where    "file:line" of the record, for messages
//   counts   gets what became of the others
// Local. AXL_E_INPUT for a sample that is too long (excess_length_strategy: raise) and for a token beyond the
// vocabulary of the model.
axl_status axl_samples_keep(axl_samples *out, const axl_samples *record,
                            const axl_data_options *options, const char *where,
                            axl_prepare_counts *counts);

#endif
