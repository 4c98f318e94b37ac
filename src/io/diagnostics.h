// A list of findings about an input, so that a user sees every fault of a file in one run.
//
// The error idiom of base/status.h stops at the first fault; a reader that can go on adds each finding
// here and fails once at its end. A finding knows its place (file:line:column) and the key it is about.
#ifndef AXL_IO_DIAGNOSTICS_H
#define AXL_IO_DIAGNOSTICS_H

#include "src/base/status.h"
#include "src/base/str.h"

#include <stddef.h>
#include <stdint.h>

typedef enum axl_severity {
    AXL_NOTE,    // something was understood in a way worth saying; a key without meaning here
    AXL_WARNING, // the run goes on, but probably not as meant
    AXL_ERROR    // nothing is started
} axl_severity;

// A place in an input. file NULL: no place is known. line 0: the file as a whole. Borrowed text.
typedef struct axl_place {
    const char *file;
    int32_t line, column; // from 1; columns count characters
} axl_place;

typedef struct axl_diagnostic {
    axl_severity severity;
    char *file;           // owned; NULL when no place is known
    int32_t line, column; // from 1; 0: unknown
    char *key;            // owned; "fsdp_config.offload_params"; NULL when it is about no key
    char *text;           // owned; what is wrong and how to mend it
    int rule;             // number of the validation rule; 0 when it is none
} axl_diagnostic;

// {0} is an empty list.
typedef struct axl_diagnostics {
    axl_diagnostic *items; // [n], owned, in the order found
    size_t n, capacity;
    size_t n_errors;    // how many of them are AXL_ERROR
    bool out_of_memory; // a finding was lost; axl_diagnostics_status reports it
} axl_diagnostics;

void axl_diagnostics_fini(axl_diagnostics *d); // NULL-safe

// Adds one finding; place.file, key may be NULL. Never fails for the caller: without memory a flag is
// kept. At most 1,000 findings are stored, further errors are only counted.
void axl_diagnostics_add(axl_diagnostics *d, axl_severity severity, axl_place place,
                         const char *key, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

// Sorts the findings by file, line and column; findings of one place keep their order.
void axl_diagnostics_sort(axl_diagnostics *d);

// Appends the findings at or above severity `least`, one a line:
//   run.yaml:14:3: error: context_parallel_size: 3 does not divide 16 ranks
axl_status axl_diagnostics_text(const axl_diagnostics *d, axl_severity least, axl_str *out);

// Appends a JSON array of {"severity", "file", "line", "column", "key", "rule", "message"}.
axl_status axl_diagnostics_json(const axl_diagnostics *d, axl_str *out);

// AXL_OK when there is no error; else `code` with all error lines as the message.
axl_status axl_diagnostics_status(const axl_diagnostics *d, axl_status code);

// "note", "warning", "error"; never NULL.
const char *axl_severity_name(axl_severity severity);

#endif
