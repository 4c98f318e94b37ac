// Reading a text file from front to back, plain or compressed, by lines or by windows.
//
// Compression (zstd, gzip, bzip2, xz, lz4) is told by the first bytes, not by the name. Memory is one buffer
// plus the longest line or window.
#ifndef AXL_IO_STREAM_H
#define AXL_IO_STREAM_H

#include "src/base/status.h"
#include "src/base/str.h"

#include <stddef.h>
#include <stdint.h>

typedef struct axl_reader axl_reader;

// AXL_E_INPUT when the file cannot be read, AXL_E_UNSUPPORTED for a compression that is not read.
axl_status axl_reader_open(const char *path, axl_reader **out);
void axl_reader_close(axl_reader *r); // NULL-safe

// The next line without its end ("\n" or "\r\n"); a last line without one counts. A byte order mark at
// the start of the file is left out.
//   line, n      borrowed until the next call; not NUL-terminated
//   more         false when the file is over; line is then NULL
// AXL_E_INPUT when the compressed data are damaged or a line exceeds 1 GiB.
axl_status axl_reader_line(axl_reader *r, const char **line, size_t *n, bool *more);

// For records that are no lines. The window is what is decoded and not yet taken: axl_reader_extend makes
// it longer at its end (*more is false when the file is over), axl_reader_take shorter at its beginning. A
// pointer into it is valid until the next extension. Fails as axl_reader_line does.
axl_status axl_reader_extend(axl_reader *r, bool *more);
const char *axl_reader_window(const axl_reader *r, size_t *n); // borrowed; n 0: nothing decoded yet
void axl_reader_take(axl_reader *r, size_t n);

// How much of the file has been read, from 0 to 1; for progress.
double axl_reader_share(const axl_reader *r);

// The place of the next byte in the text, decoded; and going to a place further on, which a plain file does without
// reading what lies between. AXL_E_INPUT when the file ends before.
int64_t axl_reader_tell(const axl_reader *r);
axl_status axl_reader_seek(axl_reader *r, int64_t place);

#endif
