// Makes the file of a prepared set from samples that come one after another, in bounded memory.
//
// Ids go straight to their place in the new file; labels and infos, which stand behind them, wait in temporary files
// without a name. The file gets its name when it is whole: a crash leaves nothing that could be taken for a set.
#ifndef AXL_DATA_PREPARED_WRITE_H
#define AXL_DATA_PREPARED_WRITE_H

#include "src/data/prepared.h"

typedef struct axl_prepared_writer axl_prepared_writer;

// Starts the file of that key; the folder is made when missing, and what crashed makers left in it is removed.
//   deduplicate   drop samples that equal an earlier one
//   memory        bytes that finding them may take
// AXL_E_IO.
axl_status axl_prepared_writer_create(const char *path, uint64_t key, bool deduplicate,
                                      size_t memory, axl_prepared_writer **out);
void axl_prepared_writer_destroy(axl_prepared_writer *w); // NULL-safe; what is not finished is gone

// Appends all samples of s.
axl_status axl_prepared_writer_put(axl_prepared_writer *w, const axl_samples *s);

// What the samples came from.
typedef struct axl_prepared_origin {
    const axl_prepared_file *files; // [n_files] as in the infos of the samples
    int64_t n_files;
    axl_prepare_counts
        *entries; // [n_entries] what became of the rows of each; duplicates are added
    int64_t n_entries;
    int n_threads; // of the checksum
} axl_prepared_origin;

// Drops duplicates, joins the parts and gives the file its name. *n: samples in it; with 0 no file is made.
axl_status axl_prepared_writer_finish(axl_prepared_writer *w, const axl_prepared_origin *origin,
                                      int64_t *n);

#endif
