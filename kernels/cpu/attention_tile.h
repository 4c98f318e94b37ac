// What attention forward and backward share: how the work is cut, masks, packing.
//
// One block of queries is ATTN_ROWS rows of one sequence and one key head; a row is a (token, head of the
// group) pair, the heads of a group side by side, so that they share each tile of keys. Scores are kept
// transposed, [key][row]: rows lie across the lanes of vectors, and the softmax needs no sum over lanes.
// ATTN_LANES rows make a strip; what a strip cannot see is neither computed nor read.
#ifndef AXL_KERNELS_CPU_ATTENTION_TILE_H
#define AXL_KERNELS_CPU_ATTENTION_TILE_H

#include "kernels/cpu/mm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vmath.h"

#include <math.h>
#include <string.h>

#define ATTN_ROWS   ((int64_t)192)
#define ATTN_KEYS   ((int64_t)240) // a multiple of MM_ROWS; 120 costs 10 % more in packing
#define ATTN_LANES  ((int64_t)2 * VF)
#define ATTN_STRIPS (ATTN_ROWS / ATTN_LANES)

#define ATTN_LOG2E  1.44269504f
#define ATTN_LN2    0.69314718f
#define ATTN_MASKED (-1e30f) // a score that no finite maximum lets through
#define ATTN_NO_MAX (-1e20f) // the maximum before the first key

typedef struct attn_dims {
    int64_t group;   // query heads of a key head
    int64_t d, dv;   // widths of q, k and of v
    int64_t dp, dvp; // the same, padded to VF
    int64_t n_q;     // all query rows of lse and delta
    bool bf16;
} attn_dims;

// What the rows of a strip see of their sequence's keys, as indices: first <= j < last for some row,
// all_first <= j < all_last for every row.
typedef struct attn_range {
    int32_t first, last, all_first, all_last;
} attn_range;

// One block of queries.
typedef struct attn_rows {
    int64_t seq, head_kv;
    int64_t row0, n; // rows of the sequence: row0 .. row0 + n
    int64_t n_strips;
    int32_t lo[ATTN_ROWS], hi[ATTN_ROWS]; // a row sees keys lo .. hi; hi < lo beyond n
    attn_range strips[ATTN_STRIPS];
} attn_rows;

AXL_INLINE int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

AXL_INLINE int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

AXL_INLINE attn_dims attn_dims_of(const axl_attn_args *a)
{
    attn_dims m = {.group = a->n_heads / a->n_kv_heads, .d = a->head_dim, .dv = a->v_head_dim};
    m.dp = (m.d + VF - 1) / VF * VF;
    m.dvp = (m.dv + VF - 1) / VF * VF;
    m.n_q = a->cu_seqlens_q[a->n_seqs];
    m.bf16 = a->dtype == AXL_BF16;
    return m;
}

AXL_INLINE int64_t attn_n_keys(const axl_attn_args *a, int64_t seq)
{
    return a->cu_seqlens_k[seq + 1] - a->cu_seqlens_k[seq];
}

AXL_INLINE int64_t attn_n_rows(const axl_attn_args *a, const attn_dims *m, int64_t seq)
{
    return (a->cu_seqlens_q[seq + 1] - a->cu_seqlens_q[seq]) * m->group;
}

// Token (among all) and head of row i of a block.
AXL_INLINE int64_t attn_token(const axl_attn_args *a, const attn_dims *m, const attn_rows *r,
                              int64_t i)
{
    return a->cu_seqlens_q[r->seq] + (r->row0 + i) / m->group;
}

AXL_INLINE int64_t attn_head(const attn_dims *m, const attn_rows *r, int64_t i)
{
    return r->head_kv * m->group + (r->row0 + i) % m->group;
}

// Fills a block of queries: which rows, and what each sees.
void AXL_CPU(attn_rows_init)(const axl_attn_args *a, const attn_dims *m, int64_t seq,
                             int64_t head_kv, int64_t block, attn_rows *r);

// A tile of keys or values as f32 rows: where it lies, and the step from one row to the next.
typedef struct attn_tile {
    const float *p;
    int64_t ld;
} attn_tile;

// Rows token .. token + n of head (width elements each, ld between tokens of x). What is f32 and whole vectors
// is used where it lies, else it is copied to room, each row padded with zeros.
attn_tile AXL_CPU(attn_tile_of)(const void *x, int64_t ld, int64_t token, int64_t n, int64_t head,
                                int64_t width, bool bf16, float *room);

// Gathers the rows of a block from x ([tokens][heads][width], ld between tokens) to [ATTN_ROWS][padded] f32
// times scale; rows beyond the block up to its last strip become 0.
void AXL_CPU(attn_gather)(const axl_attn_args *a, const attn_dims *m, const attn_rows *r,
                          const void *x, int64_t ld, int64_t width, float scale, float *dst,
                          int64_t padded);

// dst[width][ATTN_ROWS] = the transpose of src[rows][width], both multiples of VF.
void AXL_CPU(attn_transpose)(const float *src, int64_t rows, int64_t width, float *dst);

// All scores (times log2 e) of a strip with keys begin .. end of k: s[key][lane], ld apart; softcap and
// mask applied. Keys count from key0 of the sequence.
typedef struct attn_score_args {
    const axl_attn_args *attn;
    const attn_rows *rows;
    int64_t strip, key0, begin, end;
    const float *qt; // [dp][ATTN_ROWS], times scale (and log2 e without softcap)
    attn_tile k;     // [keys][dp]
    float *s;        // [keys][ld]
    int64_t dp, ld;
} attn_score_args;
void AXL_CPU(attn_scores)(const attn_score_args *g);

// The work of a call as a list of (sequence, key head, block), and the workspace dealt out.
typedef struct attn_plan {
    const int64_t *blocks_before; // [n_seqs + 1], in the workspace
    int64_t n_seqs, n_kv_heads, n_items;
    int n_threads;  // as many as have room
    float *scratch; // n_threads times the floats asked for
    float *rest;    // the workspace after that
    int64_t rest_floats;
} attn_plan;

typedef struct attn_item {
    int64_t seq, head_kv, block;
} attn_item;

// Blocks of ATTN_ROWS query rows, or (by_keys) of ATTN_KEYS keys. Fails with AXL_E_UNSUPPORTED when the
// workspace cannot hold even one thread's floats.
axl_status AXL_CPU(attn_plan_init)(axl_stream *s, const axl_attn_args *a, const attn_dims *m,
                                   bool by_keys, int64_t floats, attn_plan *out);

// Item i; of one sequence the later blocks, which see more under a causal mask, come first.
attn_item AXL_CPU(attn_plan_item)(const attn_plan *p, int64_t i);

#endif
