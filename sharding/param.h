// One weight of the model: which part of it this rank computes with, and which rows of that part it keeps.
//
// Two cuts, one inside the other. First tensor and expert parallelism give a rank its part of the weight: some
// rows (COL) or columns (ROW) of a matrix, or some matrices of a stack of experts. What compute sees is that part,
// [rows, cols], the matrices of a stack one below the other. Then the part is cut by rows over the ranks that
// share it (dp_shard x ep x cp; dp_shard x cp for experts): equal chunks of shard_rows rows, the last ones short
// or empty and padded with zeros in memory; rank r owns rows [r * shard_rows, min(rows, (r + 1) * shard_rows)).
// Only the master copy in f32, its gradient and the optimizer's moments live for the whole run; the part in the
// compute dtype is gathered for the moments that a unit computes (unit.h).
//
// On disk a param is one tensor, or one a matrix of the stack; axl_param_rect says where this rank's rows lie
// in them, which is all that loading and saving need.
#ifndef AXL_SHARDING_PARAM_H
#define AXL_SHARDING_PARAM_H

#include "comm/mesh.h"
#include "kernels/device.h"
#include "src/base/block.h"
#include "src/base/dtype.h"

#include <stdbool.h>
#include <stdint.h>

// Which part of a weight a tensor-parallel rank computes with. Every weight says it at its declaration.
typedef enum axl_tp {
    AXL_TP_NONE,   // all of it; every tp rank has the same gradient
    AXL_TP_COL,    // some of its rows: outputs of a linear layer, words of a vocabulary
    AXL_TP_ROW,    // some of its columns: inputs of a linear layer, whose result is a partial sum
    AXL_TP_PARTIAL // all of it; the gradients of the tp ranks are parts of a sum
} axl_tp;

typedef struct axl_param {
    char *
        key; // Hugging Face name; also the HDF5 data set; of a stack with a %d for the matrix; owned
    int n_dims; // as on disk: 1 (a vector is [rows, 1] here) or 2
    axl_tp tp;
    int tp_parts; // COL: most parts that tp may cut (key heads): then several ranks hold the same; 0: any
    bool tied;      // the head uses it too
    bool is_expert; // a stack of experts: cut over ep, its rows over dp_shard x cp
    bool trainable;
    bool decay;        // weight decay applies (no norm, no bias)
    bool fp8;          // compute reads it as e4m3 (kernels/fp8.h): it travels so, too
    int64_t row_align; // a shard's rows are a multiple of this

    int n_file_mats;              // tensors on disk: experts of the stack, else 1
    int64_t file_rows, file_cols; // of each

    // this rank's part; set by axl_param_place
    int n_mats, mat0;           // matrices of the stack: mat0 .. mat0 + n_mats
    int64_t mat_rows;           // rows of each, with the padding that makes all tp parts equal
    int64_t row_base, col_base; // where each begins in its tensor
    int64_t rows, cols;         // [n_mats * mat_rows, cols]: what compute sees
    bool owner; // of the ranks that hold the same part and rows, the one that counts and saves them
    axl_group sum_group;  // who sums its gradient beyond the data; AXL_N_GROUPS: nobody
    int n_sum;            // how many ranks they are
    axl_comm *sum_comm;   // borrowed; NULL: nobody
    axl_comm *shard_comm; // borrowed: who cuts its rows
    int n_shards, shard;  // their number, and this rank's place
    int64_t shard_rows;   // rows of a padded shard

    axl_device *device; // borrowed: whose memory full and the gradients are; NULL: the host's
    axl_device *state;  // borrowed: whose memory master and the moments are, and who updates them
    axl_dtype dtype;    // of full: what compute reads
    size_t kept_at;     // where full is kept in the sharder's buffer, if it is
    void *full;         // [n_shards * shard_rows, cols] dtype, borrowed; NULL while sharded
    void *
        grad_full; // [n_shards * shard_rows, cols] statistics dtype, borrowed; NULL outside backward
    float *amax;   // fp8: [1] the largest |x| of the whole tensor, of all its ranks; borrowed
    float *scale;  // fp8: [1] of full; borrowed
    bool grad_written;        // grad_full holds a contribution: the next one adds
    bool shard_written;       // grad_shard holds a sum of this step: the next reduction adds
    float *master;            // [shard_rows, cols], borrowed from the state arena
    float *grad_shard;        // the same; NULL when frozen
    const float *update_grad; // the same as the optimizer reads it, memory of state
    void *
        host_shard; // [shard_rows, cols] dtype, borrowed: what gathers send up; NULL: made of master
    bool host_fresh;  // it is what master is
    float *moment[2]; // the same; what the optimizer keeps; NULL when it needs none
} axl_param;

// Fills the fields of this rank's part and shard from those above them. The mesh may be imagined: comms are NULL
// then. AXL_E_CONFIG when an axis does not divide the weight. Collective on the mesh's tp axis.
axl_status axl_param_place(axl_param *p, axl_mesh *mesh);

// Rows of each matrix that are not padding.
int64_t axl_param_real_rows(const axl_param *p);

// The dtype that it is gathered in where compute's is dtype.
static inline axl_dtype axl_param_full_dtype(const axl_param *p, axl_dtype dtype)
{
    return p->fp8 ? AXL_F8_E4M3 : dtype;
}

// Where this rank's shard meets tensor mat on disk: block of it lies at element `at` of the shard (of master,
// grad_shard, moment). block.n_rows 0: nowhere.
typedef struct axl_param_rect {
    axl_block block;
    int64_t at;
} axl_param_rect;
axl_param_rect axl_param_rect_of(const axl_param *p, int mat);

// What this rank holds of a tensor as the host sees it: r of master, grad_shard or a moment (device.h's map).
axl_status axl_param_map(const axl_param *p, float *array, const axl_param_rect *r, bool read,
                         axl_host_view *out);

// Appends the key of tensor mat.
axl_status axl_param_put_key(const axl_param *p, int mat, axl_str *out);

// Elements of this rank's padded shard, and of the padded part.
static inline int64_t axl_param_shard_count(const axl_param *p)
{
    return p->shard_rows * p->cols;
}
static inline int64_t axl_param_full_count(const axl_param *p)
{
    return p->n_shards * p->shard_rows * p->cols;
}
// Elements on disk.
static inline int64_t axl_param_file_count(const axl_param *p)
{
    return p->n_file_mats * p->file_rows * p->file_cols;
}

#endif
