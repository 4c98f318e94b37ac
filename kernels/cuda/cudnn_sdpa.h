// Attention over packed sequences as an operation graph of cuDNN, and the plan that the library makes of it.
//
// The graph says what is computed, element by element, over padded arrays [n_seqs, heads, seqlen, width]; the library
// knows the pattern and has one kernel for it. Where rows really lie is said by ragged offsets: an array of n_seqs + 1
// int32 for each layout, in elements, of where each sequence begins. How long each is stands in an array of its own;
// what is beyond is masked. n_seqs and seqlen are bounds: a sequence of length 0 costs next to nothing, so one plan
// serves many packings.
#ifndef AXL_KERNELS_CUDA_CUDNN_SDPA_H
#define AXL_KERNELS_CUDA_CUDNN_SDPA_H

#include "kernels/cuda/cudnn.h"

// All that a plan depends on; compared as bytes, so it is cleared first.
typedef struct axl_dnn_shape {
    int64_t ldq, ldk, ldv, ldo; // elements between tokens
    int32_t n_seqs, seqlen;     // bounds of the packings it serves
    int32_t n_heads, n_kv_heads, head_dim, v_head_dim;
    int32_t window; // 0: none
    bool causal, backward;
} axl_dnn_shape;

// What is bound to a plan when it runs: a device address, or a host address of one number (by value).
typedef enum axl_dnn_name {
    AXL_DNN_NONE,
    AXL_DNN_Q, // bf16 rows, as in axl_attn_args
    AXL_DNN_K,
    AXL_DNN_V,
    AXL_DNN_OUT,
    AXL_DNN_STATS,  // f32 [T, H]: lse, with STATS_AT
    AXL_DNN_Q_AT,   // int32 [n_seqs + 1]: where sequences begin in q, dq; likewise the next four
    AXL_DNN_K_AT,   // k, dk
    AXL_DNN_V_AT,   // v, dv
    AXL_DNN_OUT_AT, // out, dout
    AXL_DNN_STATS_AT,
    AXL_DNN_LEN_Q, // int32 [n_seqs]
    AXL_DNN_LEN_K,
    AXL_DNN_SCALE,  // by value, f32
    AXL_DNN_LOW,    // by value, f32: what a masked score is, -inf
    AXL_DNN_WINDOW, // by value, f32; with a window
    AXL_DNN_ONE,    // by value, f32: 1; this and the next, backward
    AXL_DNN_DOUT,
    AXL_DNN_DQ,
    AXL_DNN_DK,
    AXL_DNN_DV,
    AXL_DNN_DELTA, // f32 [T, H], scratch
    AXL_DNN_DK_HEADS, // bf16 rows of [n_heads, head_dim], ldk * group apart, scratch; with grouped heads
    AXL_DNN_DV_HEADS,
    AXL_DNN_N_NAMES
} axl_dnn_name;

#define AXL_DNN_MOST_DESCS 192

typedef struct axl_dnn_plan {
    void *plan; // NULL: the library has none for this shape
    int64_t workspace_bytes;
    void *descs[AXL_DNN_MOST_DESCS]; // owned, in the order in which they were made
    int n_descs;
    int64_t names[AXL_DNN_N_NAMES]; // that must be bound
    int n_names;
} axl_dnn_plan;

// What a plan is made for: a GPU, by the library's handle, or the description of one that is not there.
typedef struct axl_dnn_target {
    const axl_dnn_calls *calls;
    void *handle; // NULL: by deviceprop
    void *deviceprop;
    int arch; // compute capability * 10
} axl_dnn_target;

// Makes the graph and takes the first of the library's proposals that always gives the same bits. Gives the library's
// status and, when that is not AXL_DNN_OK, the call that failed (*where, borrowed); out is then empty.
// AXL_DNN_NOT_SUPPORTED: it has no plan for the shape. Local; takes milliseconds.
int axl_dnn_sdpa_plan(const axl_dnn_target *on, const axl_dnn_shape *shape, axl_dnn_plan *out,
                      const char **where);

// NULL-safe.
void axl_dnn_plan_fini(const axl_dnn_calls *calls, axl_dnn_plan *p);

// Queues the plan on the handle's stream. bound [AXL_DNN_N_NAMES]; workspace of workspace_bytes, aligned to 256.
int axl_dnn_plan_run(const axl_dnn_calls *calls, void *handle, const axl_dnn_plan *p,
                     const void *const *bound, void *workspace);

#endif
