// The attention entries of the kernel table: arguments and what they mean (conventions: kernels.h, which
// includes this).
//
// One call attends a set of queries to a set of keys and gives, beside the output, the logarithm of the
// softmax's denominator (lse). That makes calls add up: results over disjoint sets of keys are merged by
// (out, lse), and the gradients of each call need only the lse and delta of the whole.
#ifndef AXL_KERNELS_ATTENTION_H
#define AXL_KERNELS_ATTENTION_H

#include "src/base/dtype.h"

#include <stdbool.h>
#include <stdint.h>

// Which keys of its own sequence a query sees; a window narrows each of them.
typedef enum axl_mask {
    AXL_MASK_FULL,
    AXL_MASK_CAUSAL,
    AXL_MASK_PREFIX // causal, and every query sees the keys at positions below prefix[its sequence]
} axl_mask;

// Attention over packed sequences; one call is one (query chunk, key chunk) pair. Sequence i has rows
// cu_seqlens_q[i] .. of q and cu_seqlens_k[i] .. of k, v. A query at position p sees keys at positions j
// of its own sequence with j <= p (CAUSAL; PREFIX: or j < prefix) and p - j < window (if window > 0). The
// position of a row is positions_q[row], which ascends strictly within a sequence and may have gaps; without
// that array it is pos_q[i] + its row in the sequence. Head h of q reads key head h / (n_heads / n_kv_heads).
// A query that sees no key gets out 0 and lse -inf. Dao 2023, arXiv:2307.08691 (tiling); the softmax is exact.
// With dtype BF16 the weights (and their gradients by the scores) may be rounded to bf16 before they are
// multiplied by v (k, q, dout), as tensor cores take them; sums are f32.
typedef struct axl_attn_args {
    const void *q, *k, *v;                      // rows of [H, Dh], [Hk, Dh], [Hk, Dv]
    int64_t ldq, ldk, ldv, ldo;                 // elements between tokens (H * Dh when dense)
    const int32_t *cu_seqlens_q, *cu_seqlens_k; // [n_seqs + 1]
    const int32_t *pos_q, *pos_k; // [n_seqs] position of each sequence's first row; NULL: all 0
    const int32_t *positions_q, *positions_k; // [Tq], [Tk] of each row; NULL: by pos_q, pos_k
    int32_t n_seqs, max_seqlen_q, max_seqlen_k;
    int64_t
        n_rows_k; // rows of k, or more; 0: not known. Scratch is sized by it, results do not depend on it
    int32_t n_heads, n_kv_heads, head_dim, v_head_dim;
    float scale;
    float softcap;  // 0: none; else cap * tanh(score / cap) before the mask
    int32_t window; // 0: none
    axl_mask mask;
    const int32_t *prefix; // [n_seqs] positions; PREFIX only
    axl_dtype dtype;
    bool out_f32;   // out is F32 whatever dtype: a part that will be merged
    bool library;   // a vendor's fused attention may compute it, where the backend has one
    int64_t n_rows; // of q, or more; 0: not known, then library is in vain. Scratch goes by it, too
    void *out;      // rows of [H, Dv] dtype, ldo apart
    void *lse;      // [H, Tq] statistics, natural logarithm
} axl_attn_args;

typedef struct axl_attn_bwd_args {
    axl_attn_args fwd;    // as in the forward call; lse is read, out (delta's, or NULL) may be
    const void *dout;     // rows of [H, Dv] dtype, ldo apart
    const void *delta;    // [H, Tq] statistics: sum over Dv of dout * out (entry attn_delta)
    void *dq, *dk, *dv;   // same layout as q, k, v (ldq, ldk, ldv)
    axl_dtype dtype_grad; // of dq, dk, dv: dtype, or F32
    bool accumulate_dq, accumulate_dkv; // set or add
} axl_attn_bwd_args;

// The forwards whose numbers differ from attn_fwd, with the same arguments. Nothing is shared between sequences:
// scales and means are of one sequence of the call. All give the lse of what they computed, so that parts merge.
//
// attn_half_fwd (Rabe & Staats 2021, arXiv:2112.05682, as xformers runs it without tensor cores). BF16: q, k, v are
// taken as fp16 (exact unless tiny; beyond 65504 that value) and exp(score - maximum) is rounded to fp16 before the
// product with v; sums are f32. F32: exactly attn_fwd. Its gradient is attn_bwd with its out and lse.
//
// attn_sage_fwd (Zhang et al. 2024, arXiv:2410.02367). With mean = the mean of k over the keys of a sequence and key
// head, blocks of AXL_SAGE_Q queries of a head and AXL_SAGE_K keys of a key head from the sequence's start:
//   sq = max |q| / 127, q8 = round(q / sq); sk = max |k - mean| / 127, k8 = round((k - mean) / sk);
//   score = scale sq sk sum(q8 k8); exp(score - maximum) is rounded to dtype before the product with v.
// lse is that of q . k: scale q . mean is added. Means, scales and integers are made in f32 whatever the dtype.
// No softcap (the mean must cancel): AXL_E_UNSUPPORTED. Its gradient, and that of fp8, is that of exact attention at
// the same q, k, v: attn_fwd again, then attn_bwd with that out and lse. With the rounded ones ds would not sum to 0
// over the keys, and a mean of the keys, which sage is for, would go into dq (17 % off in the test's case).
//
// attn_fp8_fwd: of each sequence s = max |x| / 448 over all heads, for q, k and v; attention of e4m3(x / s) s with
// f32 sums; the quotients are made in f32 whatever the dtype.
#define AXL_SAGE_Q 128
#define AXL_SAGE_K 64

// Attention with all probabilities held, rounded where transformers' eager attention rounds (r: to dtype):
//   s = r(scale r(q . k)); with a softcap s = r(softcap tanh(s / softcap)); p = softmax(s) in f32;
//   out = sum r(p) v. Backward: dp = r(dout . v), ds = r(p (dp - sum p dp)), by the softcap ds = r(ds (1 -
//   (s / softcap)^2)), ds = r(scale ds); dq = sum ds k, dk = sum ds q, dv = sum r(p) dout.
// Row (t, h) of probs holds p of all keys of its sequence in their order; 0 where the query does not see.
typedef struct axl_attn_eager_args {
    axl_attn_args fwd; // not out_f32
    void *probs;       // [Tq, H] rows of statistics, ld_probs apart
    int64_t ld_probs;  // a multiple of AXL_PROBS_ALIGN, at least the longest sequence of keys
} axl_attn_eager_args;
#define AXL_PROBS_ALIGN 16

typedef struct axl_attn_eager_bwd_args {
    axl_attn_bwd_args bwd; // its delta is not read
    const void *probs;     // as forward left it
    int64_t ld_probs;
    void *delta; // [H, Tq] statistics: sum p dp; overwritten
} axl_attn_eager_bwd_args;

// delta[h, t] = sum_d dout[t, h, d] * out[t, h, d].
typedef struct axl_attn_delta_args {
    const void *out, *dout; // rows of [H, Dv], ldo apart
    void *delta;            // [H, T] statistics
    int64_t n_tokens, ldo;
    int32_t n_heads, v_head_dim;
    axl_dtype dtype;
} axl_attn_delta_args;

// Merges the result over one more set of keys into the running one, in place:
//   w = sigmoid(part_lse - lse); out -= w (out - part_out); lse = log(exp(lse) + exp(part_lse)).
// A row whose part_lse is -inf leaves out and lse as they were.
// Milakov & Gimelshein 2018, arXiv:1805.02867.
typedef struct axl_attn_merge_args {
    void *out;            // rows of [H, Dv] statistics, ldo apart; updated
    void *lse;            // [H, T] statistics; updated
    const void *part_out; // rows of [H, Dv] dtype, ld_part apart
    const void *part_lse; // [H, T] statistics
    int64_t n_tokens, ldo, ld_part;
    int32_t n_heads, v_head_dim;
    axl_dtype dtype; // of part_out
} axl_attn_merge_args;

// Joins a sink to each head: one more key with score sinks[h] and value 0, seen by every query.
//   out *= exp(lse) / (exp(lse) + exp(sink)); lse = log(exp(lse) + exp(sink)).
// Called once, when out and lse are those over all keys. Xiao et al. 2023, arXiv:2309.17453.
typedef struct axl_attn_sinks_args {
    const void *sinks; // [H] dtype
    void *out;         // rows of [H, Dv] dtype_out, ldo apart; updated
    void *lse;         // [H, T] statistics; updated
    int64_t n_tokens, ldo;
    int32_t n_heads, v_head_dim;
    axl_dtype dtype, dtype_out; // dtype_out: dtype, or F32
} axl_attn_sinks_args;

// dsinks[h] = - sum_t exp(sinks[h] - lse[h, t]) delta[h, t], in the order of t. lse and delta are those of the
// joined result: a sink is a key like others, so attn_bwd takes the same two and needs nothing else.
typedef struct axl_attn_sinks_bwd_args {
    const void *sinks;       // [H] dtype
    const void *lse, *delta; // [H, T] statistics
    int64_t n_tokens;
    int32_t n_heads;
    axl_dtype dtype;
    void *dsinks; // [H] statistics, set or add
    bool accumulate;
} axl_attn_sinks_bwd_args;

#endif
