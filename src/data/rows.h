// The records of a data file, one at a time, with the line each starts at.
//
// `.jsonl`: an object a line; `.json`: an array of objects, or objects one after another; `.txt`: a line a
// record, in the column `text`. Each may be packed with zstd. A record is handed out as text, so that
// threads can parse; what is inside is looked at by axl_row_parse.
#ifndef AXL_DATA_ROWS_H
#define AXL_DATA_ROWS_H

#include "src/data/dataset.h"

#include <stddef.h>

typedef enum axl_rows_kind { AXL_ROWS_JSONL, AXL_ROWS_JSON, AXL_ROWS_TEXT } axl_rows_kind;

typedef struct axl_row_text {
    const char *text; // borrowed until the next axl_rows_next
    size_t n;         // bytes
    int64_t line;     // of its first byte, from 1
} axl_row_text;

typedef struct axl_rows axl_rows;

// The files an entry names, in order: the file itself, what the pattern matches, or all data files of the
// folder, sorted by name.
typedef struct axl_file_list {
    char **path; // [n], owned
    int64_t n;
    size_t capacity;
} axl_file_list;

// AXL_E_INPUT: nothing there, with the place of the entry. AXL_E_UNSUPPORTED: a kind that is not read.
axl_status axl_file_list_make(const axl_dataset_spec *spec, axl_file_list *out);
void axl_file_list_fini(axl_file_list *f);

// ds_type as in axl_dataset_spec. Fails as axl_file_list_make does.
axl_status axl_rows_kind_of(const char *path, const char *ds_type, axl_rows_kind *out);

axl_status axl_rows_open(const char *path, axl_rows_kind kind, axl_rows **out);
void axl_rows_close(axl_rows *r); // NULL-safe

// The next record; *more is false at the end. AXL_E_INPUT "file:line: why".
axl_status axl_rows_next(axl_rows *r, axl_row_text *out, bool *more);

// Parses a record into an object without null members, owned by the caller.
//   where   "file:line", for messages. AXL_E_INPUT when it is not an object, or not UTF-8.
axl_status axl_row_parse(axl_rows_kind kind, const char *text, size_t n, const char *where,
                         axl_json **out);

#endif
