// Which files an entry of the YAML means: a file, a pattern, a folder of files with its splits, a folder of
// `save_to_disk`, or a name of the hub that lies in a local mirror.
#ifndef AXL_DATA_FILES_H
#define AXL_DATA_FILES_H

#include "src/data/dataset.h"

#include <stddef.h>

typedef struct axl_file_list {
    char **path; // [n], owned
    int64_t n;
    size_t capacity;
} axl_file_list;

// The files of the entry, those of a folder sorted by name. The rules are in docs/data.md.
// AXL_E_INPUT: nothing there, or the split is not; with the place of the entry. AXL_E_UNSUPPORTED: data that
// lie somewhere else, or a form that is not read.
axl_status axl_file_list_make(const axl_dataset_spec *spec, axl_file_list *out);
void axl_file_list_fini(axl_file_list *f);

#endif
