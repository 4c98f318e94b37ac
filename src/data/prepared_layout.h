// The file of a prepared set: header, ids, labels, infos, counts of each entry, entry and name of each file.
//
// For the two sides that write and read it. The header repeats every size, so that a cut or foreign file is found
// before anything in it is used.
#ifndef AXL_DATA_PREPARED_LAYOUT_H
#define AXL_DATA_PREPARED_LAYOUT_H

#include "src/data/prepared.h"

#define AXL_PREPARED_MAGIC   0x3173646c7861ull // "axlds1"
#define AXL_PREPARED_VERSION 4

typedef struct axl_prepared_header {
    uint64_t magic, version, key;
    int64_t n, n_tokens, n_trained, max_length, n_entries, n_files, names_bytes;
    uint64_t payload_hash; // axl_tree_hash_fd of all behind the header
    uint64_t header_hash;  // of all before it
} axl_prepared_header;
_Static_assert(sizeof(axl_prepared_header) == 12 * sizeof(int64_t), "the header has no holes");
_Static_assert(sizeof(axl_sample_info) == 32, "the infos have no holes");
_Static_assert(sizeof(axl_prepare_counts) % sizeof(int64_t) == 0, "the counts have no holes");

#endif
