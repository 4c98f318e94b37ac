// One weight of the model, split by rows over the ranks that share it.
//
// A matrix [rows, cols] is cut into equal chunks of shard_rows rows (the last may be short or empty, and is
// padded with zeros in memory so that every rank's part has the same size); rank r owns rows
// [r * shard_rows, min(rows, (r + 1) * shard_rows)). Only the master copy in f32, its gradient and the
// optimizer's moments live for the whole run; the full matrix in the compute dtype is gathered for the
// moments that a unit computes (unit.h).
#ifndef AXL_SHARDING_PARAM_H
#define AXL_SHARDING_PARAM_H

#include "comm/comm.h"
#include "src/base/dtype.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct axl_param {
    char *key;          // Hugging Face name; also the HDF5 data set; owned
    int n_dims;         // as on disk: 1 (a vector is [rows, 1] here) or 2
    int64_t rows, cols; // global
    bool trainable;
    bool decay;           // weight decay applies (no norm, no bias)
    axl_comm *shard_comm; // borrowed
    int64_t row_align;    // a shard's rows are a multiple of this
    int64_t shard_rows;   // rows of a padded shard
    int64_t row0, n_rows; // this rank's real rows: [row0, row0 + n_rows)
    axl_dtype dtype;      // of full: what compute reads
    void *full;           // [size * shard_rows, cols] dtype, borrowed; NULL while sharded
    void *grad_full; // [size * shard_rows, cols] statistics dtype, borrowed; NULL outside backward
    bool grad_written;  // grad_full holds a contribution: the next one adds
    bool shard_written; // grad_shard holds a sum of this step: the next reduction adds
    float *master;      // [shard_rows, cols], borrowed from the state arena
    float *grad_shard;  // the same; NULL when frozen
    float *moment[2];   // the same; what the optimizer keeps; NULL when it needs none
} axl_param;

// Fills the row fields from rows, cols, row_align and the comm's rank and size.
void axl_param_shard(axl_param *p, axl_comm *shard_comm);

// Elements of this rank's padded shard, and of the padded whole.
static inline int64_t axl_param_shard_count(const axl_param *p)
{
    return p->shard_rows * p->cols;
}
static inline int64_t axl_param_full_count(const axl_param *p)
{
    return axl_comm_size(p->shard_comm) * p->shard_rows * p->cols;
}

#endif
