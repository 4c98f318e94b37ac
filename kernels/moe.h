// The part of the kernel table (kernels.h, whose conventions hold here) for a mixture of experts.
//
// Token t has top_k copies; copy t * top_k + j goes to expert ids[t, j]. The copies are sorted by expert, the
// experts' matrices are products of row ranges, and a token's rows are added up in the order of j.
#ifndef AXL_KERNELS_MOE_H
#define AXL_KERNELS_MOE_H

#include "src/base/dtype.h"

#include <stdbool.h>
#include <stdint.h>

#define AXL_MAX_TOP_K 64

// The router: softmax of each row of logits over E experts, the top_k largest (of equal ones the lower
// index first), and their probabilities as weights, divided by their sum if renormalize.
typedef struct axl_route_args {
    const void *logits; // [T, E] dtype
    int64_t n_tokens;
    int32_t n_experts, top_k; // top_k <= n_experts, AXL_MAX_TOP_K
    bool renormalize;
    axl_dtype dtype;
    void *lse;     // [T] statistics
    int32_t *ids;  // [T, top_k], by falling logit
    void *weights; // [T, top_k] statistics
    void *
        prob_sum; // [E] statistics, added to: the sum of probabilities over tokens; NULL: not wanted
} axl_route_args;

// The gradient of sum dweights * weights + sum over tokens of dprobs * probabilities. The choice of
// experts is constant. dlogits may be logits.
typedef struct axl_route_bwd_args {
    const void *logits, *lse; // as forward
    const int32_t *ids;
    int64_t n_tokens;
    int32_t n_experts, top_k;
    bool renormalize;
    axl_dtype dtype;
    const void *dweights; // [T, top_k] statistics
    const void *dprobs;   // [E] statistics, the same for every token; NULL: 0
    void *dlogits;        // [T, E] dtype
} axl_route_bwd_args;

// Orders copies by expert; those of one expert stay in their order.
typedef struct axl_route_sort_args {
    const int32_t *ids; // [n_copies]
    int64_t n_copies;
    int32_t n_experts, top_k;
    int32_t *counts; // [E] copies of each expert
    int32_t *copies; // [n_copies] the copies in their new order
    int32_t *tokens; // [n_copies] copies[i] / top_k
    int32_t *places; // [n_copies] the inverse of copies
} axl_route_sort_args;

// out[t] (+)= sum over j, in order, of weights[t, j] * rows[places[t, j]], rounded once.
typedef struct axl_combine_args {
    const void *rows;      // [any, cols] dtype
    const int32_t *places; // [T, top_k]
    const void *weights;   // [T, top_k] statistics; NULL: all 1
    int64_t n_tokens, cols;
    int32_t top_k;
    axl_dtype dtype;
    void *out; // [T, cols] dtype, set or add
    bool accumulate;
} axl_combine_args;

// combine's backward where the rows were made by y_i = h_i W^T and y is not at hand: from dh_i = dout_t W
// follows d weight_i = dout_t y_i = h_i dh_i. Then h_i and dh_i are multiplied by the weight, in place:
// dout^T h is the gradient of W, and dh that of h.
typedef struct axl_combine_bwd_args {
    int64_t n_rows, cols;
    const void *weights; // [n_rows] statistics
    axl_dtype dtype;
    void *h, *dh;   // [n_rows, cols] dtype
    void *dweights; // [n_rows] statistics
} axl_combine_bwd_args;

typedef enum axl_grouped {
    AXL_GROUPED_Y,  // c = a B^T: a is x [rows, in], c is y [rows, out]
    AXL_GROUPED_DX, // c = a B: a is dy [rows, out], c is dx [rows, in]
    AXL_GROUPED_DW  // C = a^T b: a is dy, b is x; without a row the gradient is set to 0
} axl_grouped;

// A linear layer whose weight is a stack of n_mats matrices [out, in]: rows begin[g] .. begin[g + 1] of
// the row arrays meet matrix[g]; several groups may meet the same, and add up in order.
typedef struct axl_gemm_grouped_args {
    axl_grouped product;
    const int64_t *begin;  // [n_groups + 1], host memory
    const int32_t *matrix; // [n_groups], host memory
    int32_t n_groups, n_mats;
    int64_t out, in;
    const void *a, *b; // dtype; b is the stack but for DW
    void *c;           // dtype; DW: the stack's gradient, statistics
    bool accumulate;   // set or add
    axl_dtype dtype;
} axl_gemm_grouped_args;

#endif
