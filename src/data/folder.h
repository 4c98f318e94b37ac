// A folder of data files with the splits that the names say.
#ifndef AXL_DATA_FOLDER_H
#define AXL_DATA_FOLDER_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct axl_split_file {
    char *path;  // owned
    char *split; // owned; "train"; NULL: the name says none
} axl_split_file;

typedef struct axl_split_files {
    axl_split_file *items; // [n], owned
    int64_t n;
    size_t capacity;
} axl_split_files;

void axl_split_files_fini(axl_split_files *f);

// Adds copies of folder/name (folder NULL: of name) and split (NULL: none).
axl_status axl_split_files_add(axl_split_files *f, const char *folder, const char *name,
                               const char *split);

// Adds the data files below the folder, sorted by path. The split of a file is told by
// data/SPLIT-00000-of-00002.*, else by a word in its name, else by one in the names of its folders: train or
// training; validation, valid, val or dev; test, testing, eval or evaluation.
axl_status axl_split_files_walk(axl_split_files *f, const char *folder);

// Adds the files of a folder that `save_to_disk` wrote, of one data set (state.json) or of several
// (dataset_dict.json). *found is false when it is none. AXL_E_INPUT when it is damaged.
axl_status axl_split_files_saved(axl_split_files *f, const char *folder, bool *found);

#endif
