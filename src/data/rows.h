// The records of a data file, one at a time, with the line each starts at.
//
// What a kind of file is, is a row of readers/kinds.def. A record is handed out as text, so that threads can
// parse; what is inside is looked at by axl_row_parse.
#ifndef AXL_DATA_ROWS_H
#define AXL_DATA_ROWS_H

#include "src/data/dataset.h"

#include <stddef.h>

typedef const struct axl_row_kind *axl_rows_kind;

typedef struct axl_row_text {
    const char *text; // borrowed until the next axl_rows_next
    size_t n;         // bytes
    int64_t line;     // of its first byte, from 1; parquet and arrow: which record it is, from 1
} axl_row_text;

typedef struct axl_rows axl_rows;

// The kind of a file: by ds_type (NULL: none given), else by its name, of which an ending such as .gz is left
// out. A name that tells nothing is JSON. AXL_E_CONFIG for a ds_type that is not known.
axl_status axl_rows_kind_of(const char *path, const char *ds_type, axl_rows_kind *out);
const char *axl_rows_kind_name(axl_rows_kind kind);

// Whether the name says that it is a data file.
bool axl_rows_is_data_name(const char *name);

// AXL_E_INPUT: it cannot be read. AXL_E_UNSUPPORTED: a kind or compression that this build does not read.
axl_status axl_rows_open(const char *path, axl_rows_kind kind, axl_rows **out);
void axl_rows_close(axl_rows *r); // NULL-safe

// The next record; *more is false at the end. AXL_E_INPUT "file:line: why".
axl_status axl_rows_next(axl_rows *r, axl_row_text *out, bool *more);

// How much of the file has been handed out, from 0 to 1; for progress.
double axl_rows_share(const axl_rows *r);

// A place in a file, and going there in a file just opened: with lines as records by its offset, else by reading
// the records before it. AXL_E_INPUT when the file ends before.
typedef struct axl_rows_place {
    int64_t row;    // records before it
    int64_t offset; // bytes of the text before it; 0 where the kind has no text
    int64_t line;   // from 1; 0 at the start
} axl_rows_place;

void axl_rows_tell(const axl_rows *r, axl_rows_place *out);
axl_status axl_rows_go(axl_rows *r, const axl_rows_place *place);

// Parses a record into an object without null members, owned by the caller.
//   where   "file:line", for messages. AXL_E_INPUT when it is not an object, or not UTF-8.
axl_status axl_row_parse(axl_rows_kind kind, const char *text, size_t n, const char *where,
                         axl_json **out);

#endif
