// The records of all entries as one stream: the files of each entry in order, the rows an entry takes.
#ifndef AXL_DATA_SOURCES_H
#define AXL_DATA_SOURCES_H

#include "src/base/hash.h"
#include "src/data/files.h"
#include "src/data/rows.h"
#include "src/data/select.h"
#include "src/io/tree_hash.h"

typedef struct axl_source_file {
    const char *path; // borrowed from the list of its entry
    int32_t entry;    // index of the entry
    axl_rows_kind kind;
    int64_t rows;  // taken so far
    int64_t bytes; // of the file, as it lies on the disk
} axl_source_file;

typedef struct axl_sources {
    const axl_dataset_spec *specs; // [n_specs], borrowed
    int n_specs;
    axl_source_file *files; // [n_files], owned
    int64_t n_files;
    axl_file_list *lists;    // [n_specs], owned
    axl_row_select *selects; // [n_specs], owned
    axl_rows *rows;          // of the file being read, owned
    int64_t file;            // index of that file
    int64_t row;             // rows of its entry read so far
} axl_sources;

// Lists the files of the entries. Fails as axl_file_list_make and axl_rows_kind_of do. On failure too, call
// axl_sources_fini.
axl_status axl_sources_init(axl_sources *s, const axl_dataset_spec *specs, int n_specs);
void axl_sources_fini(axl_sources *s);

// Adds all that decides the records: contents and names of the files, keys of the entries. The progress of options
// is told the bytes of all files together.
axl_status axl_sources_hash(const axl_sources *s, const axl_tree_hash_options *options,
                            axl_hash *h);

// Bytes of all files, and those of them that have been read.
int64_t axl_sources_bytes(const axl_sources *s);
int64_t axl_sources_at(const axl_sources *s);

// Decides which rows are taken; reads the files of entries that take a part, to count them. Call it once
// before the first axl_sources_next.
axl_status axl_sources_select(axl_sources *s);

// The next record and the index of its file; *more is false at the end. The text is borrowed until the next
// call. Not for two threads at once.
axl_status axl_sources_next(axl_sources *s, axl_row_text *row, int64_t *file, bool *more);

// Where the next record stands: the file, the records of its entry before it, the place in it. {0}: the start.
typedef struct axl_sources_place {
    int64_t file, entry_row;
    axl_rows_place in_file;
} axl_sources_place;

void axl_sources_tell(const axl_sources *s, axl_sources_place *out);

// Goes to a place, of which the file must be there. AXL_E_INPUT.
axl_status axl_sources_go(axl_sources *s, const axl_sources_place *place);

#endif
