// Whole files, and the small file-system steps that must not lose data.
#ifndef AXL_IO_FILE_H
#define AXL_IO_FILE_H

#include "src/base/status.h"
#include "src/base/str.h"

#include <stddef.h>
#include <stdint.h>

// Appends the contents of a file to *out. AXL_E_INPUT with the reason when it cannot be read.
axl_status axl_file_read(const char *path, axl_str *out);

// Writes a file so that it exists whole or not at all: temporary name, fsync, rename. AXL_E_IO.
axl_status axl_file_write(const char *path, const void *bytes, size_t n);

// How to mend what errno says of a write, "; free space ..." to follow its text; "" when the text says it all.
const char *axl_write_hint(int error);

// AXL_E_IO with "path: cannot be written: <errno's text><hint>".
axl_status axl_write_failed(const char *path);

// Writes text to standard output, at once. AXL_E_IO.
axl_status axl_print(const axl_str *text);

// path.<host>.<process>.tmp: a name beside path that no other process uses, also none on another host that
// shares the folder and happens to have the same process number. Appends to *out.
axl_status axl_temporary_name(const char *path, axl_str *out);

// Makes a directory and its missing parents; an existing directory is fine. AXL_E_IO.
axl_status axl_dir_make(const char *path);

bool axl_path_exists(const char *path);
bool axl_path_is_dir(const char *path);

// "org/name", as models of the Hugging Face hub are called: no path that anybody would write for a folder.
bool axl_path_is_hub_name(const char *path);

// The size of a file. AXL_E_INPUT.
axl_status axl_file_bytes(const char *path, int64_t *bytes);

// Flushes a file or a directory entry list to the disk. AXL_E_IO.
axl_status axl_path_sync(const char *path);

// Removes a file or a folder with all that is in it; a missing one is fine. AXL_E_IO.
axl_status axl_path_remove(const char *path);

// A read-only view of a file.
typedef struct axl_mapping {
    const unsigned char *data; // borrowed by readers until unmap; NULL for an empty file
    size_t size;               // bytes
} axl_mapping;

axl_status axl_file_map(const char *path, axl_mapping *out); // AXL_E_INPUT
void axl_file_unmap(axl_mapping *m);                         // NULL-safe

// Gives the memory of from[0 .. n) back, from the page it begins in to the last whole one; it is read again when it is
// touched. Walking on part by part, nothing stays behind.
void axl_mapping_release(const axl_mapping *m, const void *from, size_t n);

#endif
