// What the forwards of rounded numbers share: how a number is rounded, where scales and means lie.
#ifndef AXL_KERNELS_CUDA_ATTENTION_LOW_CUH
#define AXL_KERNELS_CUDA_ATTENTION_LOW_CUH

#include "kernels/cuda/attention.cuh"

enum attn_form { ATTN_HALF, ATTN_SAGE, ATTN_FP8 };

// Scales and means of a call, in the workspace. Blocks of a sequence stand at attn_place.
struct attn_low {
    float *mean;    // sage: [n_seqs, Hk, Dh] of the keys
    float *scale_q; // sage: [places of queries, H]; fp8: [n_seqs]
    float *scale_k; // sage: [places of keys, Hk]; fp8: [n_seqs]
    float *scale_v; // fp8: [n_seqs]
};

// The place of a block of `size` rows of a sequence: no two sequences share one, and few are empty.
__device__ __forceinline__ int attn_place(const int *cu_seqlens, int seq, int block, int size)
{
    return cu_seqlens[seq] / size + seq + block;
}

__device__ __forceinline__ int attn_n_places(const int *cu_seqlens, int n_seqs, int size)
{
    return cu_seqlens[n_seqs] / size + n_seqs + 1;
}

// ---- numbers, by the operations of ref: both get the same ones

// axl_low_round: to the nearest number of a format that has `drop` bits less, ties to even; NaN stays NaN.
template <int drop>
__device__ __forceinline__ float attn_low_round(float x, float least, float magic, float most)
{
    if (x != x)
        return x;
    if (fabsf(x) < least)
        return (x + magic) - magic;
    unsigned bits = __float_as_uint(x);
    bits += (1u << (drop - 1)) - 1u + ((bits >> drop) & 1u);
    return fminf(fmaxf(__uint_as_float(bits & ~((1u << drop) - 1u)), -most), most);
}

__device__ __forceinline__ float attn_round_f16(float x)
{
    return attn_low_round<13>(x, 0x1p-14f, 0x1.8p-1f, 65504.0f);
}

__device__ __forceinline__ float attn_round_e4m3(float x)
{
    return attn_low_round<20>(x, 0x1p-6f, 0x1.8p14f, 448.0f);
}

// x as it is stored, in units of its scale.
template <attn_form form> __device__ __forceinline__ float attn_number(float x, float scale)
{
    if (form == ATTN_HALF)
        return attn_round_f16(x);
    const float y = scale > 0.0f ? x / scale : 0.0f;
    return form == ATTN_SAGE ? rintf(y) : attn_round_e4m3(y);
}

// ---- scales

template <attn_form form>
__device__ __forceinline__ float attn_scale_q(const axl_attn_args &a, const attn_low &low, int seq,
                                              int row, int head)
{
    if (form == ATTN_HALF)
        return 1.0f;
    if (form == ATTN_FP8)
        return low.scale_q[seq];
    const int place = attn_place(a.cu_seqlens_q, seq, row / AXL_SAGE_Q, AXL_SAGE_Q);
    return low.scale_q[(int64_t)place * a.n_heads + head];
}

template <attn_form form>
__device__ __forceinline__ float attn_scale_k(const axl_attn_args &a, const attn_low &low, int seq,
                                              int row, int head_kv)
{
    if (form == ATTN_HALF)
        return 1.0f;
    if (form == ATTN_FP8)
        return low.scale_k[seq];
    const int place = attn_place(a.cu_seqlens_k, seq, row / AXL_SAGE_K, AXL_SAGE_K);
    return low.scale_k[(int64_t)place * a.n_kv_heads + head_kv];
}

__device__ __forceinline__ const float *attn_mean(const axl_attn_args &a, const attn_low &low,
                                                  int seq, int head_kv)
{
    return low.mean + ((int64_t)seq * a.n_kv_heads + head_kv) * a.head_dim;
}

// ---- on the host

// Makes means and scales at the start of the workspace; *used is how many bytes they take. AXL_E_UNSUPPORTED when the
// workspace is too small.
axl_status axl_cuda_attn_low_scales(axl_stream *s, const axl_attn_args *a, attn_form form,
                                    attn_low *low, size_t *used);
// Every shape, dtype and option; of half: bf16.
axl_status axl_cuda_attn_low_plain(axl_stream *s, const axl_attn_args *a, attn_form form,
                                   const attn_low *low);
// The calls of axl_cuda_attn_is_tiled; used: bytes of the workspace that the scales take. What does not fit there is
// done by the plain kernels.
axl_status axl_cuda_attn_low_tiled(axl_stream *s, const axl_attn_args *a, attn_form form,
                                   const attn_low *low, size_t used);

#endif
