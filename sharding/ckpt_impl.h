// Names and folders of checkpoints; shared by the writer and the reader, private to sharding/.
#ifndef AXL_SHARDING_CKPT_IMPL_H
#define AXL_SHARDING_CKPT_IMPL_H

#include "sharding/ckpt.h"

#define AXL_CKPT_FORMAT   1
#define AXL_CKPT_MANIFEST "/checkpoint/manifest"
#define AXL_CKPT_META     "/checkpoint/meta"
#define AXL_CKPT_FILES    "/checkpoint/files"

// Some rows of a tensor in one shard.
typedef struct axl_ckpt_part {
    int shard;
    int64_t row0, n_rows;
    uint64_t hash; // XXH64 of the bytes
} axl_ckpt_part;

// A checkpoint-N folder of an output_dir.
typedef struct axl_ckpt_dir {
    int64_t step;
    int64_t changed_ns; // modification time
} axl_ckpt_dir;

// Append "shard-RRRRR-of-RRRRR.h5", "dir/checkpoint-N" and suffix, "/group/name".
axl_status axl_ckpt_put_shard(axl_str *out, int rank, int world);
axl_status axl_ckpt_put_dir(axl_str *out, const char *dir, int64_t step, const char *suffix);
axl_status axl_ckpt_put_set(axl_str *out, const char *group, const char *name);

// The checkpoint-N folders of dir, oldest change first. *out is owned by the caller; NULL for none,
// also when dir is missing.
axl_status axl_ckpt_scan(const char *dir, axl_ckpt_dir **out, size_t *n);

// Removes what killed saves left in dir (checkpoint-N.tmp).
axl_status axl_ckpt_clean(const char *dir);

// Gives the finished, synced temporary folder its name, at once also when that name is taken.
axl_status axl_ckpt_commit(const char *dir, int64_t step);

// Deletes the oldest folders so that `limit` stay; never that of `step`, nor a kept one.
axl_status axl_ckpt_prune(const axl_ckpt_options *o);

#endif
