// Checkpoints: a directory checkpoint-N of HDF5 files, written by all ranks, read by any number.
//
// The one idea: each rank writes the rectangles it owns into a file of its own (shard-RRRRR-of-RRRRR.h5: one data
// set a tensor, chunked, byte-shuffled, zstd, checksummed), and index.h5 makes them one: its data sets
// are HDF5 virtual data sets over the shards, so that any HDF5 tool opens whole tensors by their
// Hugging Face names, and its manifest says which rectangles, bytes and hashes every shard has. Everything
// is written to checkpoint-N.tmp, synced, and renamed last: a checkpoint exists whole or not at all.
//
// This module knows no model: it takes and gives named arrays of which a rank has a block (base/block.h:
// an array is seen as a matrix [dims[0], product of the other dims]).
//
// In index.h5: /GROUP/NAME the tensors; /checkpoint/manifest and /checkpoint/meta JSON as bytes;
// /checkpoint/files/NAME embedded files; attributes step, world and format of /checkpoint.
#ifndef AXL_SHARDING_CKPT_H
#define AXL_SHARDING_CKPT_H

#include "comm/comm.h"
#include "kernels/device.h"
#include "src/base/block.h"
#include "src/base/dtype.h"
#include "src/base/status.h"
#include "src/base/str.h"

#include <stdint.h>

#define AXL_CKPT_MAX_DIMS 4

// ---- writing

// One tensor as this rank has it. All ranks list the same tensors in the same order; together their
// rectangles cover it once (ranks that only repeat what others bring have no rows).
typedef struct axl_ckpt_tensor {
    const char *group; // "model", "exp_avg", "exp_avg_sq"; borrowed
    const char *name;  // Hugging Face key; borrowed
    axl_dtype dtype;
    int n_dims;                      // 1 .. AXL_CKPT_MAX_DIMS
    int64_t dims[AXL_CKPT_MAX_DIMS]; // global
    int64_t row0, n_rows;            // this rank's rectangle, as in axl_block: no rows for nothing,
    int64_t col0, n_cols;            // n_cols 0 for all columns,
    int64_t ld;                      // ld 0 for rows side by side
    const void *data;                // [n_rows, n_cols], rows ld apart; borrowed
    axl_device *device;              // borrowed: whose memory data is; NULL: the host's
} axl_ckpt_tensor;

// A small file kept inside the index (config.json, tokenizer files), so that merge needs nothing else.
typedef struct axl_ckpt_file {
    const char *name;  // without a directory; borrowed
    const void *bytes; // borrowed
    size_t n;
} axl_ckpt_file;

typedef struct axl_ckpt_options {
    const char *dir; // output_dir; made when missing
    int64_t step;    // N of checkpoint-N; an existing one is replaced
    const axl_ckpt_tensor *tensors;
    int64_t n_tensors;
    const char
        *meta_json; // the trainer's state, JSON text; read on rank 0. Also trainer_state.json
    const axl_ckpt_file *files; // read on rank 0
    int n_files;
    int zstd_level;          // 0: the measured default; -1: none
    int save_total_limit;    // keep that many of the newest; 0: all
    const char *const *keep; // "checkpoint-N" names that are never deleted
    int n_keep;
} axl_ckpt_options;

// What a save took; of all ranks.
typedef struct axl_ckpt_report {
    int64_t raw_bytes, stored_bytes;
    double seconds;
} axl_ckpt_report;

// Writes a checkpoint, then deletes older ones beyond save_total_limit and leftovers of killed saves.
// On failure every rank gets the same status and message, the temporary folder is gone and the older
// checkpoints are whole. Takes a few MiB beside the tensors. Collective on c. report may be NULL.
//   AXL_E_IO (disk full, not writable), AXL_E_BUG (rectangles that do not cover a tensor, or
//   cover a part of it twice; it is named).
axl_status axl_ckpt_write(axl_comm *c, const axl_ckpt_options *o, axl_ckpt_report *report);

// ---- reading; all Local

typedef struct axl_ckpt axl_ckpt;

typedef struct axl_ckpt_entry {
    const char *group, *name; // borrowed from the checkpoint
    axl_dtype dtype;
    int n_dims;
    int64_t dims[AXL_CKPT_MAX_DIMS];
} axl_ckpt_entry;

// Opens a checkpoint directory: reads the index, and checks that every shard is there with the
// manifest's size. AXL_E_INPUT naming the file.
axl_status axl_ckpt_open(const char *path, axl_ckpt **out);
void axl_ckpt_close(axl_ckpt *k); // NULL-safe

const char *axl_ckpt_path(const axl_ckpt *k);
int64_t axl_ckpt_step(const axl_ckpt *k);
int axl_ckpt_world(const axl_ckpt *k);                           // ranks that wrote it
const char *axl_ckpt_meta(const axl_ckpt *k);                    // JSON text, borrowed
int64_t axl_ckpt_count(const axl_ckpt *k);                       // tensors
int64_t axl_ckpt_stored_bytes(const axl_ckpt *k);                // of all shards
const axl_ckpt_entry *axl_ckpt_at(const axl_ckpt *k, int64_t i); // in the order they were written
const axl_ckpt_entry *axl_ckpt_find(const axl_ckpt *k, const char *group, const char *name);

// Reads a block, whoever wrote its parts, into dst [n_rows, n_cols] of the stored dtype, rows b->ld
// apart. Checksums are verified, and the hash of every part that is read whole. AXL_E_INPUT naming file
// and data set.
axl_status axl_ckpt_read_block(axl_ckpt *k, const char *group, const char *name, const axl_block *b,
                               void *dst);

// The embedded files: how many, the name of one (borrowed), its bytes appended to *out.
int axl_ckpt_n_files(const axl_ckpt *k);
const char *axl_ckpt_file_name(const axl_ckpt *k, int i);
axl_status axl_ckpt_read_file(axl_ckpt *k, const char *name, axl_str *out);

// The path of the newest complete checkpoint-N of output_dir (the highest N; one that does not open is
// passed over with a warning), owned by the caller; NULL when there is none.
axl_status axl_ckpt_latest(const char *output_dir, char **out);

// Appends the versions of the libraries that checkpoints are written with, "name\tversion\n" each.
axl_status axl_ckpt_libraries(axl_str *out);

// ---- merging

typedef struct axl_ckpt_merge_options {
    const char *group; // NULL: "model"
    const char *dtype; // "float32", "bfloat16", "float16"; NULL: that of the source model
} axl_ckpt_merge_options;

// Writes a Hugging Face directory from a step checkpoint: the weights, streamed and cast, and the
// embedded files. The ranks of c share the rows. Collective on c. AXL_E_INPUT, AXL_E_IO.
axl_status axl_ckpt_merge(axl_comm *c, const char *path, const char *out_dir,
                          const axl_ckpt_merge_options *options);

#endif
