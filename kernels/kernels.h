// The kernel table: every computation of a step as a pure function of its arguments.
//
// ref/ defines what each entry means (plain loops, f32 accumulation; also f64); cpu/ and cuda/ must agree with it.
// Conventions: matrices are row-major, ld is in elements; T rows are packed tokens. `dtype` is that of the activations (F32,
// BF16; F64 in ref only). *Statistics* (rstd, lse, logp, sums) and gradients of parameters have the statistics dtype: F32,
// or F64 when dtype is F64. "set or add": with accumulate false the output is overwritten and needs no initialisation, else
// added to. Inputs and outputs do not overlap unless a line says so. Results do not depend on the number of threads, nor a
// row's result on which other rows are in the call, except where gemm's library decides (then they are still repeatable for
// equal shapes and threads).
// All entries run on stream s (the compute stream of its device) and may use its workspace; they fail only with AXL_E_DEVICE
// or AXL_E_UNSUPPORTED.
#ifndef AXL_KERNELS_KERNELS_H
#define AXL_KERNELS_KERNELS_H

#include "kernels/attention.h"
#include "kernels/device.h"
#include "kernels/fp8.h"
#include "kernels/moe.h"
#include "kernels/sum_parts.h"
#include "src/base/str.h"

// C = alpha * op(A) op(B) (+ C) (+ bias). op(A) is [m, k], op(B) is [k, n], C is [m, n].
// A linear layer: forward X W^T (trans_b), input gradient dY W, weight gradient dY^T X (trans_a).
typedef struct axl_gemm_args {
    int64_t m, n, k;
    const void *a; // trans_a ? [k, m] : [m, k]
    const void *b; // trans_b ? [n, k] : [k, n]
    void *c;       // [m, n]
    int64_t lda, ldb, ldc;
    bool trans_a, trans_b;
    bool accumulate; // C is added to
    float alpha;
    axl_dtype dtype;   // of A and B: F32, BF16, F64
    axl_dtype dtype_c; // F32 (any dtype), or the same as dtype; BF16 outputs are rounded once
    const void *bias;  // [n] of dtype, or NULL
} axl_gemm_args;

typedef enum axl_norm_kind {
    AXL_NORM_RMS, // w * round(x * rstd): the normalised value is rounded to dtype, then multiplied
    AXL_NORM_RMS1P, // (1 + w) * x * rstd, rounded once
    AXL_NORM_LAYER  // w * (x - mean) * rstd + b
} axl_norm_kind;

// Normalises rows of cols elements; statistics in f32. rstd = 1 / sqrt(mean(x^2) + eps) (RMS).
// Per-head norms pass rows = T * H, cols = Dh.
typedef struct axl_norm_args {
    axl_norm_kind kind;
    int64_t rows, cols;
    const void *x; // [rows, cols] dtype
    const void *w; // [cols] dtype
    const void *b; // [cols] dtype; NULL: none
    float eps;
    axl_dtype dtype;
    void *out;  // [rows, cols] dtype; may be x
    void *rstd; // [rows] statistics
    void *mean; // [rows] statistics; LAYER only, else NULL
} axl_norm_args;

typedef struct axl_norm_bwd_args {
    axl_norm_kind kind;
    int64_t rows, cols;
    const void *x, *w, *dout; // as forward
    const void *rstd, *mean;
    axl_dtype dtype;
    void *dx; // [rows, cols] dtype, set or add
    bool accumulate_dx;
    void *dw, *db; // [cols] statistics, set or add; NULL: not wanted
    bool accumulate_dw;
} axl_norm_bwd_args;

// cos and sin of packed tokens: angle = position * inv_freq[i] in f32; cos and sin are multiplied by
// factor, then rounded to dtype (and stored as f32), as transformers does.
typedef struct axl_rope_table_args {
    const int32_t *positions; // [T]
    const float *inv_freq;    // [half]
    int64_t n_tokens, half;   // half = rotary width / 2
    float factor;
    axl_dtype dtype;
    float *cos, *sin; // [T, half]
} axl_rope_table_args;

typedef enum axl_rope_pairing { AXL_ROPE_HALF, AXL_ROPE_PAIRS } axl_rope_pairing;

// Rotates the first 2 * half entries of each head: y1 = x1 c - x2 s, y2 = x2 c + x1 s; the rest passes.
// inverse: the transposed rotation (the backward pass). out may be x.
typedef struct axl_rope_args {
    const void *x;          // [T, n_heads, head_dim] dtype
    const float *cos, *sin; // [T, half]
    int64_t n_tokens;
    int32_t n_heads, head_dim, half;
    axl_rope_pairing pairing;
    bool inverse;
    axl_dtype dtype;
    void *out; // [T, n_heads, head_dim] dtype
} axl_rope_args;

typedef enum axl_act { AXL_ACT_SILU, AXL_ACT_GELU, AXL_ACT_GELU_TANH, AXL_ACT_RELU2 } axl_act;

// out = act(gate) * up. up NULL: out = act(gate). act is computed in f32 and rounded to dtype before the
// product, as transformers does.
typedef struct axl_glu_args {
    axl_act act;
    int64_t n;             // elements
    const void *gate, *up; // [n] dtype
    axl_dtype dtype;
    void *out; // [n] dtype
} axl_glu_args;

typedef struct axl_glu_bwd_args {
    axl_act act;
    int64_t n;
    const void *gate, *up, *dout; // [n] dtype
    axl_dtype dtype;
    void *dgate, *dup; // [n] dtype, overwritten; dgate may be gate, dup may be up
} axl_glu_bwd_args;

// out[t] = scale * table[ids[t] - row0]; rows outside [row0, row0 + n_rows) give zeros.
typedef struct axl_embed_args {
    const int32_t *ids; // [T]
    int64_t n_tokens, cols, row0, n_rows;
    const void *table; // [n_rows, cols] dtype
    float scale;
    axl_dtype dtype;
    void *out; // [T, cols] dtype
} axl_embed_args;

// dtable[ids[t] - row0] += scale * dout[t], in the order of t for every row, whatever the threads.
typedef struct axl_embed_bwd_args {
    const int32_t *ids;
    int64_t n_tokens, cols, row0, n_rows;
    const void *dout; // [T, cols] dtype
    float scale;
    axl_dtype dtype;
    void *dtable; // [n_rows, cols] statistics, added to
} axl_embed_bwd_args;

// Cross entropy of rows of logits. Column c stands for label label0 + c: under tensor parallelism V columns are
// a slice of a larger vocabulary, and lse that of the slice. A row whose label is not among them gets logp 0 and
// target 0; its lse is still made (-inf for no columns).
typedef struct axl_ce_args {
    const void *logits;    // [rows, V] statistics dtype, ld apart
    const int32_t *labels; // [rows]
    int64_t rows, vocab, ld, label0;
    axl_dtype dtype;  // F32, or F64
    void *lse, *logp; // [rows] statistics: log sum exp; logits[label] - lse
    void *target;     // [rows] logits[label]; NULL: not wanted
} axl_ce_args;

// Joins the statistics of vocabulary slices in two steps around sums over their ranks.
//   finish false: sum[i] = exp(lse[i] - top[i]), where top is the largest lse of any slice
//   finish true:  lse[i] = top[i] + log(sum[i]), logp[i] = target[i] - lse[i], with sum and target summed
typedef struct axl_ce_merge_args {
    int64_t rows;
    axl_dtype dtype; // F32, or F64
    bool finish;
    const void *top, *target;
    void *sum, *lse, *logp; // [rows]
} axl_ce_merge_args;

// dlogits = grad[row] * (onehot(label) - softmax): the gradient of sum grad * logp, in the columns of the slice
// that begins at label0; lse is that of the whole vocabulary. Rows with a label outside [0, n_labels) or grad 0
// get zeros. dlogits may be logits when dtype_out is F32 (or both F64).
typedef struct axl_ce_bwd_args {
    const void *logits; // [rows, V] statistics dtype, ld apart
    const int32_t *labels;
    const void *lse;  // [rows] statistics
    const void *grad; // [rows] statistics: d loss / d logp
    int64_t rows, vocab, ld, ld_out, label0;
    int64_t n_labels;    // of the whole vocabulary; 0: vocab
    axl_dtype dtype;     // of logits: F32, or F64
    axl_dtype dtype_out; // F32, BF16 or F64
    void *dlogits;       // [rows, V] dtype_out, ld_out apart
} axl_ce_bwd_args;

// out = alpha * a + beta * b; b NULL: alpha * a. out may be a or b. Arithmetic in f32 (f64).
typedef struct axl_add_args {
    const void *a, *b;
    float alpha, beta;
    int64_t n;
    axl_dtype dtype;
    void *out;
} axl_add_args;

// Converts n elements; dst may be src when the sizes are equal.
typedef struct axl_cast_args {
    const void *src;
    axl_dtype src_dtype;
    void *dst;
    axl_dtype dst_dtype; // F32, BF16, F64
    int64_t n;
} axl_cast_args;

// Several conversions of the same dtypes, in any order, as few launches as there can be: none may read what another writes.
// Each is done n_blocks times (0: once): block b of an item goes from src + b * n to dst + b * dst_stride.
typedef struct axl_cast_list_args {
    const axl_cast_args *items; // [n_items] host memory, the caller's again after the call
    int n_items, n_blocks;
    int64_t dst_stride; // elements
} axl_cast_list_args;

// rows_gather: dst[i] = src[rows[i]]; rows_add: dst[rows[i]] += src[i], all rows different. rows NULL: row i itself.
typedef struct axl_rows_args {
    const void *src;
    const int32_t *rows; // [n_rows], or NULL
    int64_t n_rows, cols, ld_src, ld_dst;
    axl_dtype dtype;
    void *dst;
} axl_rows_args;

// db[c] (+)= sum over rows of dout[r, c], in the order of r within fixed blocks.
typedef struct axl_bias_bwd_args {
    const void *dout; // [rows, cols] dtype
    int64_t rows, cols;
    axl_dtype dtype;
    void *db; // [cols] statistics, set or add
    bool accumulate;
} axl_bias_bwd_args;

// out[r] += sum of x[r, i]^2 in a fixed order, in f64. A row's sum depends on its length n alone.
typedef struct axl_sumsq_args {
    const void *x; // [n_rows, n] dtype
    int64_t n_rows, n;
    axl_dtype dtype;
    double *out; // [n_rows], added to
} axl_sumsq_args;

// Decoupled AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), on f32 masters; first g *= grad_scale (clipping). t is 1-based.
//   p *= 1 - lr * wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
//   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
typedef struct axl_adamw_args {
    float *p, *m, *v; // [n] updated
    const float *g;   // [n]
    int64_t n, t;
    double lr, beta1, beta2, eps, weight_decay, grad_scale;
} axl_adamw_args;

// The table. A backend without an entry holds NULL and the plan refuses before the run.
#define AXL_KERNEL_LIST(K)                                                                         \
    K(gemm, axl_gemm_args)                                                                         \
    K(attn_fwd, axl_attn_args)                                                                     \
    K(attn_delta, axl_attn_delta_args)                                                             \
    K(attn_bwd, axl_attn_bwd_args)                                                                 \
    K(attn_half_fwd, axl_attn_args)                                                                \
    K(attn_sage_fwd, axl_attn_args)                                                                \
    K(attn_fp8_fwd, axl_attn_args)                                                                 \
    K(attn_eager_fwd, axl_attn_eager_args)                                                         \
    K(attn_eager_bwd, axl_attn_eager_bwd_args)                                                     \
    K(attn_merge, axl_attn_merge_args)                                                             \
    K(attn_sinks_fwd, axl_attn_sinks_args)                                                         \
    K(attn_sinks_bwd, axl_attn_sinks_bwd_args)                                                     \
    K(rows_gather, axl_rows_args)                                                                  \
    K(rows_add, axl_rows_args)                                                                     \
    K(norm_fwd, axl_norm_args)                                                                     \
    K(norm_bwd, axl_norm_bwd_args)                                                                 \
    K(rope_table, axl_rope_table_args)                                                             \
    K(rope, axl_rope_args)                                                                         \
    K(glu_fwd, axl_glu_args)                                                                       \
    K(glu_bwd, axl_glu_bwd_args)                                                                   \
    K(embed_fwd, axl_embed_args)                                                                   \
    K(embed_bwd, axl_embed_bwd_args)                                                               \
    K(ce_fwd, axl_ce_args)                                                                         \
    K(ce_merge, axl_ce_merge_args)                                                                 \
    K(ce_bwd, axl_ce_bwd_args)                                                                     \
    K(add, axl_add_args)                                                                           \
    K(cast, axl_cast_args)                                                                         \
    K(cast_list, axl_cast_list_args)                                                               \
    K(bias_bwd, axl_bias_bwd_args)                                                                 \
    K(sumsq, axl_sumsq_args)                                                                       \
    K(adamw, axl_adamw_args)                                                                       \
    K(route_fwd, axl_route_args)                                                                   \
    K(route_bwd, axl_route_bwd_args)                                                               \
    K(route_sort, axl_route_sort_args)                                                             \
    K(combine, axl_combine_args)                                                                   \
    K(combine_bwd, axl_combine_bwd_args)                                                           \
    K(gemm_grouped, axl_gemm_grouped_args)                                                         \
    K(sum_parts, axl_sum_parts_args)                                                               \
    K(amax, axl_amax_args)                                                                         \
    K(cast_fp8, axl_cast_fp8_args)                                                                 \
    K(gemm_fp8, axl_gemm_fp8_args)

struct axl_kernels {
    const char *name; // "ref", "cpu-avx512-bf16", ...
// NOLINTNEXTLINE(bugprone-macro-parentheses): args is a type
#define AXL_KERNEL_FIELD(entry, args) axl_status (*entry)(axl_stream * s, const args *a);
    AXL_KERNEL_LIST(AXL_KERNEL_FIELD)
#undef AXL_KERNEL_FIELD
};

extern const axl_kernels axl_kernels_ref;

// kernels/table.c. Appends the GPUs that this process sees, or why it uses none: a line for a reader.
axl_status axl_kernels_accelerators(axl_str *out);

// Whether backend "auto" takes a GPU: there is one, and this build has every kernel for it.
bool axl_kernels_take_gpu(void);

// Appends name and version of the library behind gemm.
axl_status axl_kernels_library(axl_str *out);

#endif
