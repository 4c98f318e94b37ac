// Hugging Face model directories: config.json, weights in one safetensors file or in indexed shards,
// and the small files beside them.
//
// Reading: a directory is opened once and answers for every tensor by its key, whichever file holds it.
// Blocks (base/block.h) are read straight out of the mapped files, so that a rank touches only what it owns.
// Writing: a plan fixes the files and every byte's place; then any number of ranks write their blocks, in
// any order; then the first rank gives the files their names. Nobody ever holds a whole tensor.
#ifndef AXL_IO_HFDIR_H
#define AXL_IO_HFDIR_H

#include "src/base/block.h"
#include "src/io/safetensors.h"

typedef struct axl_hfdir axl_hfdir;

// Opens dir: reads config.json, maps and checks all weight files. AXL_E_INPUT when something is
// missing or does not fit: a shard that the index names, a tensor that is in no shard or in two.
// Pickle (.bin, .pt) is never read: it can run code; a directory that holds only such files is refused.
axl_status axl_hfdir_open(const char *dir, axl_hfdir **out);
void axl_hfdir_close(axl_hfdir *d); // NULL-safe

const char *axl_hfdir_path(const axl_hfdir *d);
axl_json *axl_hfdir_config(const axl_hfdir *d); // config.json, borrowed; an object

int64_t axl_hfdir_count(const axl_hfdir *d);
// Tensor i in the order of keys, and the one of a key (NULL when there is none). Borrowed.
const axl_tensor_entry *axl_hfdir_at(const axl_hfdir *d, int64_t i);
const axl_tensor_entry *axl_hfdir_find(const axl_hfdir *d, const char *key);

// The weight files of the directory.
int64_t axl_hfdir_n_files(const axl_hfdir *d);
const axl_safetensors *axl_hfdir_file(const axl_hfdir *d, int64_t k);
const char *axl_hfdir_file_name(const axl_hfdir *d, int64_t k); // without the directory

// Reads a block of a tensor.
//   want   name: the key; n_dims and dims: what config.json makes of it; dtype: of dst, AXL_F32 or
//          AXL_BF16 (or that of the file, then bytes are copied as they are)
//   dst    [n_rows, n_cols] of want->dtype, rows b->ld apart; what lies between them is left alone
// AXL_E_INPUT when the tensor is missing, has another shape, or is not of a floating dtype.
axl_status axl_hfdir_read_block(const axl_hfdir *d, const axl_tensor_spec *want, const axl_block *b,
                                void *dst);

#define AXL_HFDIR_SHARD_BYTES 50000000000u // transformers 5 starts a new file at 50 GB

// Fails with AXL_E_INPUT, naming the file, when dir holds a model already that writing would replace.
axl_status axl_hfdir_check_free(const char *dir);

// After writing a model there has failed: removes the files that axl_hfdir_check_free looks for, so that it can be tried
// again.
void axl_hfdir_discard(const char *dir);

// The files of a directory to be written.
typedef struct axl_hfdir_plan {
    axl_safetensors_plan *files; // [n_files], owned
    char **names;                // [n_files], owned strings
    int64_t n_files;
    axl_tensor_spec *specs; // [n], owned
    char **keys;            // [n], owned strings: the names of specs
    int64_t *file;          // [n], owned: which file tensor i is in
    int64_t *index;         // [n], owned: its index in that file's plan
    int64_t n;
    axl_str index_json; // model.safetensors.index.json; empty for a single file
} axl_hfdir_plan;

// Plans the files for tensors specs[0 .. n), in the order of the model (transformers fills its files in
// that order). When source is not NULL and holds the same tensors with the same dtypes and shapes, its
// files are planned again byte for byte; otherwise files are filled up to shard_bytes each.
axl_status axl_hfdir_plan_make(const axl_tensor_spec *specs, int64_t n, size_t shard_bytes,
                               const axl_hfdir *source, axl_hfdir_plan *plan);
void axl_hfdir_plan_fini(axl_hfdir_plan *plan);

typedef struct axl_hfdir_writer axl_hfdir_writer;

// Opens the temporary files of the plan in dir, which must exist. Local; when several ranks write,
// exactly one passes first = true and the others open after it. plan is borrowed. AXL_E_IO.
axl_status axl_hfdir_writer_open(const char *dir, const axl_hfdir_plan *plan, bool first,
                                 axl_hfdir_writer **out);

// Writes a block of tensor i (index of the plan). Ranks may write different blocks of the same rows
// at the same time: no byte outside the block is read or written.
//   src   [n_rows, n_cols] of src_dtype, rows b->ld apart; src_dtype is the plan's dtype, or AXL_F32 to
//         be rounded to it
axl_status axl_hfdir_write_block(axl_hfdir_writer *w, int64_t i, const axl_block *b,
                                 const void *src, axl_dtype src_dtype);

// All ranks flush; then the first one publishes: files get their names, the index is written, and
// weight files of an earlier save that are not of this plan are removed. AXL_E_IO.
axl_status axl_hfdir_writer_flush(axl_hfdir_writer *w);
axl_status axl_hfdir_writer_publish(axl_hfdir_writer *w);
void axl_hfdir_writer_destroy(axl_hfdir_writer *w); // removes what was not published; NULL-safe

// Copies config.json, generation_config.json, tokenizer files and chat templates, byte for byte; those
// that `from` lacks are skipped.
//   dtype   "float32", "bfloat16", ...: config.json shall name this dtype (only that word is changed),
//           or NULL to leave it
axl_status axl_hfdir_copy_side_files(const char *from, const char *to, const char *dtype);

// Writes a whole directory again: weights, index and side files. For one rank.
axl_status axl_hfdir_copy(const axl_hfdir *from, const char *to);

#endif
