// From data set entries to a prepared set: read, tokenize, mask, drop or cut, write.
//
// Worker threads take batches of records in turn and hand their samples over in the same turn, so the result
// does not depend on the number of threads, and the first error in the order of the data is the one reported.
#ifndef AXL_DATA_PREPARE_H
#define AXL_DATA_PREPARE_H

#include "src/data/prepared.h"
#include "src/text/tokenizer.h"

// The hash of all that decides the prepared set: contents of the files, tokenizer, entries, options.
axl_status axl_prepare_key(const axl_dataset_spec *specs, int n_specs,
                           const axl_data_options *options, const axl_tokenizer *tokenizer,
                           uint64_t *key);

// Opens the prepared set of these entries, making it first when it is not there (or again: refresh).
// Local: one rank calls it and tells the others the key; they call axl_prepared_open.
//   tokenizer   NULL when the model has none; then only tokenized data are accepted
//   *made       false when it was found on the disk; may be NULL
// AXL_E_INPUT "file:line: why" for bad data, also when no sample is left; AXL_E_CONFIG for a bad entry.
axl_status axl_prepare(const axl_dataset_spec *specs, int n_specs, const axl_data_options *options,
                       const axl_tokenizer *tokenizer, bool refresh, bool *made,
                       axl_prepared **out);

#endif
