// Names and folders of checkpoints; shared by the writer and the reader, private to sharding/.
#ifndef AXL_SHARDING_CKPT_IMPL_H
#define AXL_SHARDING_CKPT_IMPL_H

#include "sharding/ckpt.h"

#define AXL_CKPT_FORMAT   2 // 1: parts are whole rows
#define AXL_CKPT_MANIFEST "/checkpoint/manifest"
#define AXL_CKPT_META     "/checkpoint/meta"
#define AXL_CKPT_FILES    "/checkpoint/files"

// A rectangle of a tensor in one shard.
typedef struct axl_ckpt_part {
    int shard;
    axl_block at;  // filled in; dense
    uint64_t hash; // XXH64 of the bytes
} axl_ckpt_part;

// A checkpoint-N folder of an output_dir.
typedef struct axl_ckpt_dir {
    int64_t step;
    int64_t changed_ns; // modification time
} axl_ckpt_dir;

// ---- rectangles

// A tensor as the matrix that blocks are of.
void axl_ckpt_matrix(int n_dims, const int64_t *dims, int64_t *rows, int64_t *cols);

// The shape of a part's data set: that of the tensor when the part has whole rows, else [n_rows, n_cols].
// Returns how many dims.
int axl_ckpt_part_dims(int n_dims, const int64_t *dims, const axl_block *b, int64_t *out);

// Sorts parts by place and fails with `code` unless they cover [rows, cols] once, none of them empty.
axl_status axl_ckpt_check_cover(axl_ckpt_part *parts, int n, int64_t rows, int64_t cols,
                                axl_status code);

// A piece of a block that is a box of the array.
typedef struct axl_ckpt_box {
    int64_t start[AXL_CKPT_MAX_DIMS], size[AXL_CKPT_MAX_DIMS];
    int64_t col0, n_cols; // its columns of the matrix
    int cut;              // dims between the first and this have size 1, dims behind it are whole
    int64_t inner;        // elements of one index of dim cut
} axl_ckpt_box;

#define AXL_CKPT_MAX_BOXES (2 * AXL_CKPT_MAX_DIMS - 3)

// Cuts a block of an array [dims[0], ...] into boxes, in the order of columns: one for whole rows or a
// matrix, at most AXL_CKPT_MAX_BOXES. Returns how many.
int axl_ckpt_boxes(int n_dims, const int64_t *dims, const axl_block *b, axl_ckpt_box *boxes);

// ---- names and folders

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
