// A file in the making: appended to, read back, and renamed to its final name when it is whole.
//
// It lies beside its target, as <target>.<host>.<process>.<k>.tmp, or has no name at all, for data that end with
// the process. A named one is locked for as long as it is open: so another process knows that its maker lives,
// and what a crash left behind is told from what is being written.
#ifndef AXL_IO_SPILL_H
#define AXL_IO_SPILL_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct axl_spill axl_spill;

// Makes an empty file; the folder of target is made when missing. AXL_E_IO.
axl_status axl_spill_create(const char *target, bool named, axl_spill **out);
void axl_spill_destroy(axl_spill *s); // NULL-safe; a file that was not published is removed

// Bytes put so far.
int64_t axl_spill_size(const axl_spill *s);

// Appends. Goes through a buffer of 256 KiB, the only memory a spill takes. AXL_E_IO.
axl_status axl_spill_put(axl_spill *s, const void *bytes, size_t n);

// Reads, or writes over, n bytes at `at`; all of them were put before. AXL_E_IO.
axl_status axl_spill_read(axl_spill *s, int64_t at, void *bytes, size_t n);
axl_status axl_spill_write(axl_spill *s, int64_t at, const void *bytes, size_t n);

// Copies n bytes of `from` into s, over what is there or behind it, at most at its end. Both may be the same file
// when it is moved down (at <= from_at).
axl_status axl_spill_copy(axl_spill *s, int64_t at, axl_spill *from, int64_t from_at, int64_t n);

// Cuts the file to n bytes, or lengthens it by zeros.
axl_status axl_spill_resize(axl_spill *s, int64_t n);

// For reading by other means: all bytes put can be read from the descriptor, which stays the spill's.
axl_status axl_spill_fd(axl_spill *s, int *fd);

// Brings the file to the disk and gives it the name of its target, in one step that a crash cannot tear. What
// stood there before is replaced. AXL_E_IO.
axl_status axl_spill_publish(axl_spill *s);

// Removes the temporaries in folder that begin with a name ending in `suffix` and whose maker is gone. Failures
// are no matter: another process may be doing the same.
void axl_spill_sweep(const char *folder, const char *suffix);

#endif
