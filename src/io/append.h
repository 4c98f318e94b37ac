// Files that grow by whole records while a run goes on: metrics.jsonl, samples.jsonl, event files.
//
// A run of days does not end because a disk was full for an hour. A record that cannot be written stays in memory, in
// its place; that is said once, and the next record tries again. Nobody waits for the disk: nothing is synced.
#ifndef AXL_IO_APPEND_H
#define AXL_IO_APPEND_H

#include "src/base/status.h"

#include <stddef.h>

#define AXL_APPEND_KEPT_BYTES                                                                      \
    ((size_t)16 << 20) // records beyond it are dropped, and count as missing

typedef struct axl_append axl_append;

// Opens path, at its end, and makes it where it is missing. AXL_E_IO. Local.
axl_status axl_append_open(const char *path, axl_append **out);

// Appends a record of n bytes, after those that wait. The first that cannot be written is a warning. Local.
void axl_append_put(axl_append *a, const void *record, size_t n);

// Bytes that are not in the file.
size_t axl_append_missing(const axl_append *a);

// Tries once more. AXL_E_IO when something is missing in the end. NULL-safe. Local.
axl_status axl_append_close(axl_append *a);

#endif
