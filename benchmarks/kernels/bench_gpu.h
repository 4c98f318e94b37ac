// What bench_gpu.c times (rows) and what a row works with.
#ifndef AXL_BENCHMARKS_BENCH_GPU_H
#define AXL_BENCHMARKS_BENCH_GPU_H

#include "kernels/kernels.h"

#define BENCH_POOL   (1 << 22)
#define BENCH_ARRAYS 128

typedef struct bench_gpu {
    axl_device *d;
    int64_t tokens;
    double window;
    bool serve;
    void *pool[4]; // [BENCH_POOL] random f32, bf16, i32, e4m3 on the device; owned
    void *arrays[BENCH_ARRAYS];
    size_t bytes[BENCH_ARRAYS];
    int n_arrays;
    size_t set_bytes; // of the set that is being made
    axl_status status;
    double copy, product; // bytes/s, FLOP/s measured here; 0: not yet
} bench_gpu;

// One call: the arguments of one entry, and what it has to do.
typedef struct bench_call {
    union {
        axl_gemm_args gemm;
        axl_gemm_fp8_args gemm_fp8;
        axl_cast_fp8_args cast_fp8;
        axl_amax_args amax;
        axl_attn_args attn;
        struct {
            axl_attn_bwd_args bwd;
            axl_attn_delta_args delta;
        } attn_bwd;
        axl_norm_args norm;
        axl_norm_bwd_args norm_bwd;
        axl_rope_args rope;
        axl_glu_args glu;
        axl_glu_bwd_args glu_bwd;
        axl_ce_args ce;
        axl_ce_bwd_args ce_bwd;
        axl_embed_args embed;
        axl_embed_bwd_args embed_bwd;
        axl_adamw_args adamw;
        axl_cast_args cast;
        axl_add_args add;
        struct {
            void *dst;
            const void *src;
            size_t n;
        } copy;
    } a;
    double flops, bytes;
} bench_call;

typedef enum gemm_kind { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT } gemm_kind;

typedef struct bench_row {
    const char *name;
    void (*make)(bench_gpu *b, const struct bench_row *r, bench_call *c);
    axl_status (*run)(bench_gpu *b, const bench_call *c);
    int64_t out, in; // of a linear layer; 0: tokens
    gemm_kind kind;
    axl_dtype dtype;
    int64_t rows; // of the head's chunk; 0: tokens
    int heads, kv_heads, head_dim;
    int n_docs; // equal documents; 0: of mixed lengths
} bench_row;

extern const bench_row bench_rows[];
extern const int bench_n_rows;

axl_status bench_pools_make(bench_gpu *b); // the random numbers that arrays are filled with
void bench_pools_free(bench_gpu *b);       // NULL-safe on members
void bench_release(bench_gpu *b); // all arrays of the row at hand, when nothing is queued any more

// Runs of rows by one way alone (bench_gpu_ways.c). AXL_E_UNSUPPORTED, with the reason: it does not make this call.
axl_status bench_attn_fwd_cudnn(bench_gpu *b, const bench_call *c);
axl_status bench_attn_fwd_mma(bench_gpu *b, const bench_call *c);
axl_status bench_attn_bwd_cudnn(bench_gpu *b, const bench_call *c);
axl_status bench_attn_bwd_mma(bench_gpu *b, const bench_call *c);
axl_status bench_gemm_fp8_own(bench_gpu *b, const bench_call *c);

#endif
