// What a kind of data file is to src/data/rows.c: a row of kinds.def with one file in this folder.
//
// A kind cuts a file into records, one thread at a time; worker threads parse them later (axl_row_parse). It
// hands out a record as JSON text, or as the text of the column `text`. What it finds wrong inside one record
// it hands out too, as a fault: so a record that is skipped does not end the file.
#ifndef AXL_DATA_READERS_READER_H
#define AXL_DATA_READERS_READER_H

#include "src/data/rows.h"
#include "src/io/stream.h"

// An open file.
struct axl_rows {
    axl_rows_kind kind;
    char *path;         // owned
    axl_reader *reader; // owned; NULL for a kind that opens the file itself
    int64_t line;       // of the next byte, from 1; or the next record, for files without lines
    axl_str text;       // scratch for the record handed out
    int64_t n_rows;     // records handed out
    void *state;        // owned by the kind
};

struct axl_row_kind {
    const char *name;                // as in ds_type
    const char *const *suffixes;     // of file names, ".csv", NULL at the end
    bool plain;                      // a record is the text of the column `text`, not JSON
    bool lines;                      // each record is a line, and nothing else is remembered
    bool made;                       // its JSON is made by the kind, or a fault
    bool binary;                     // the kind opens the file itself; it is not packed
    axl_status (*open)(axl_rows *r); // may be NULL; on failure close is called
    axl_status (*next)(axl_rows *r, axl_row_text *out, bool *more);
    void (*close)(axl_rows *r); // may be NULL
};

// The first byte of a record that is a fault; its message follows. No JSON begins so.
#define AXL_ROW_FAULT '\x01'

// The bytes not yet taken, at least `need` of them unless the file ends before.
axl_status axl_rows_window(axl_rows *r, size_t need, const char **bytes, size_t *n);

// Makes r->text a fault, and *out that text.
axl_status axl_rows_fault(axl_rows *r, int64_t line, axl_row_text *out, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

// Appends bytes as they stand inside a JSON string; what is not UTF-8 stays for axl_row_parse to find.
axl_status axl_rows_escape(axl_str *out, const char *bytes, size_t n);

#endif
