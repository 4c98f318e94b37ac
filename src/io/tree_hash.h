// The hash of a file's contents, made by many threads: that of the hashes of its pieces of 4 MiB.
//
// The number of threads does not change it. Bytes are read, not mapped, so memory is a small buffer a thread.
#ifndef AXL_IO_TREE_HASH_H
#define AXL_IO_TREE_HASH_H

#include "src/base/status.h"

#include <stdint.h>

// Called with the bytes done so far by the thread that asked, now and then; context is the caller's.
typedef void axl_tree_hash_progress(void *context, int64_t n_bytes);

typedef struct axl_tree_hash_options {
    int n_threads;                    // at least 1
    axl_tree_hash_progress *progress; // NULL: nobody asks
    void *context;
} axl_tree_hash_options;

// Hashes the bytes of the open file from `from` to its end. name stands for it in messages. AXL_E_INPUT.
axl_status axl_tree_hash_fd(int fd, int64_t from, const char *name,
                            const axl_tree_hash_options *options, uint64_t *out);

// Hashes a whole file. *n_bytes: its size. AXL_E_INPUT.
axl_status axl_tree_hash_file(const char *path, const axl_tree_hash_options *options,
                              int64_t *n_bytes, uint64_t *out);

#endif
