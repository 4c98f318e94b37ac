// Products of e4m3 without a library.
//
// The tiles are those of gemm_tensor.cuh: a row of e4m3 that has k together is, in bytes, a row of half as many 16-bit
// numbers, and what ldmatrix gives a lane is its part of an m16n8k32. The lane makes fp16 of it, exactly, and multiplies
// those: a warp's product of e4m3 is an instruction of 8.9 and 12.0 alone (on 9.0 and 10.0 the compiler makes the same
// conversions of it), and code for these chips is not in every build. What is not aligned goes to a plain kernel.
#include "kernels/cuda/gemm_tensor.cuh"
#include "kernels/cuda/vector.cuh"

extern "C" {
#include "kernels/cuda/gemm_fp8.h"
}

namespace
{

constexpr int64_t MOST = (int64_t)1 << 30; // of a dimension
constexpr int MANY = 128;                  // tiles that give most chips' multiprocessors work

// ---- B with k together

constexpr int TURN = 64, TURN_LD = TURN + 4; // a tile's edge; bytes of its rows in shared memory

// dst [n, k] = the transpose of src [k, n], whose rows are ld apart. k and n are multiples of 16.
__global__ void __launch_bounds__(AXL_THREADS)
    fp8_turn(const unsigned char *src, int64_t ld, int64_t k, int64_t n, unsigned char *dst)
{
    AXL_SHARED_ARRAY(unsigned, words, TURN *TURN_LD / 4);
    const unsigned char *tile = reinterpret_cast<const unsigned char *>(words);
    const int64_t tiles_k = (k + TURN - 1) / TURN;
    const int64_t k0 = (int64_t)blockIdx.x % tiles_k * TURN,
                  n0 = (int64_t)blockIdx.x / tiles_k * TURN;
    const int row = (int)threadIdx.x / 4, piece = (int)threadIdx.x % 4 * 16;

    if (k0 + row < k && n0 + piece < n) {
        const uint4 v = *reinterpret_cast<const uint4 *>(src + (k0 + row) * ld + n0 + piece);
        unsigned *to = words + (row * TURN_LD + piece) / 4;
        to[0] = v.x;
        to[1] = v.y;
        to[2] = v.z;
        to[3] = v.w;
    }
    __syncthreads();
    if (n0 + row < n && k0 + piece < k) {
        axl_raw<unsigned char, 16> out;
#pragma unroll
        for (int i = 0; i < 16; i++)
            out.v[i] = tile[(piece + i) * TURN_LD + row];
        axl_put<true>(dst + (n0 + row) * k + k0 + piece, 16, out);
    }
}

__global__ void __launch_bounds__(AXL_THREADS) fp8_repeat(const float *scale, int64_t n, float *to)
{
    const int64_t i = (int64_t)blockIdx.x * AXL_THREADS + threadIdx.x;

    if (i < n)
        to[i] = *scale;
}

// ---- tensor cores

template <int TM, class C>
axl_status launch(axl_stream *s, const tensor_product &p, const tensor_work &w)
{
    typedef tensor_shape<TM, true, true, false> shape;
    const int most = axl_cuda_n_multiprocessors(s->device) * shape::BLOCKS;

    return axl_cuda_launch(s, "gemm_fp8", gemm_tensor<TM, true, true, false, false, C, TENSOR_E4M3>,
                           dim3((unsigned)(w.n_items < most ? w.n_items : most)),
                           dim3((unsigned)shape::THREADS), (size_t)shape::STAGES * shape::STAGE, p,
                           w);
}

template <class C> axl_status run(axl_stream *s, const axl_fp8_columns *a)
{
    const unsigned tiles_128 = axl_cuda_blocks(a->m, 128), tiles_64 = axl_cuda_blocks(a->m, 64),
                   tiles_n = axl_cuda_blocks(a->n, TN);
    const bool thin = 5 * tiles_64 < 8 * tiles_128 || tiles_128 * tiles_n < MANY;
    tensor_work w = {};
    tensor_product p = {};

    p.a = (const bf16 *)a->a; // two e4m3 each
    p.b = (const bf16 *)a->b;
    p.lda = p.ldb = a->k / 2;
    p.k = (int)(a->k / 2);
    p.n = (int)a->n;
    p.c = a->c;
    p.ldc = a->ldc;
    p.scale_a = a->scale_a;
    p.scale_b = a->scale_b;
    p.bias = (const bf16 *)a->bias;
    p.accumulate = a->accumulate;
    p.wide = (uintptr_t)a->c % 16 == 0 && a->ldc * (int64_t)sizeof(C) % 16 == 0;
    w.n_entries = 1;
    w.n_rows[0] = (int)a->m;
    w.tiles_n = (int)tiles_n;
    w.n_items = (int)((thin ? tiles_64 : tiles_128) * tiles_n);
    return thin ? launch<64, C>(s, p, w) : launch<128, C>(s, p, w);
}

// ---- any shape

__device__ __forceinline__ float e4m3_value(unsigned q)
{
    const float size = __uint_as_float((q & 0x7fu) << 20) * 0x1p120f; // the exponent's bias is 7

    if ((q & 0x7fu) == 0x7fu)
        return __uint_as_float(0x7fc00000u);
    return (q & 0x80u) != 0 ? -size : size;
}

template <class C>
__global__ void __launch_bounds__(AXL_THREADS) gemm_fp8_plain(axl_gemm_fp8_args a)
{
    const int64_t i = (int64_t)blockIdx.x * AXL_THREADS + threadIdx.x, row = i / a.n, col = i % a.n;
    const int64_t step = a.trans_b ? 1 : a.n;
    float sum = 0.0f;

    if (i >= a.m * a.n)
        return;
    const unsigned char *x = a.a + row * a.k, *y = a.b + (a.trans_b ? col * a.k : col);
    for (int64_t p = 0; p < a.k; p++)
        sum += e4m3_value(x[p]) * e4m3_value(y[p * step]);
    sum *= a.scale_a[row] * *a.scale_b;
    C *to = (C *)a.c + i;
    if (a.accumulate)
        sum += axl_to_float(*to);
    if (a.bias != nullptr)
        sum += axl_to_float(((const C *)a.bias)[col]);
    *to = axl_from_float<C>(sum);
}

template <class C> axl_status run_plain(axl_stream *s, const axl_gemm_fp8_args *a)
{
    return axl_cuda_launch(s, "gemm_fp8", gemm_fp8_plain<C>,
                           dim3(axl_cuda_blocks(a->m * a->n, AXL_THREADS)), dim3(AXL_THREADS), 0,
                           *a);
}

size_t align_up(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

} // namespace

extern "C" bool axl_cuda_fp8_is_tensor(const axl_gemm_fp8_args *a)
{
    const bool aligned = (uintptr_t)a->a % 16 == 0 && (uintptr_t)a->b % 16 == 0 && a->k % 16 == 0 &&
                         (a->trans_b || a->n % 16 == 0);

    return aligned && (a->dtype == AXL_BF16 || (a->dtype == AXL_F32 && a->bias == nullptr)) &&
           a->m > 0 && a->n > 0 && a->k > 0 && a->m < MOST && a->n < MOST && a->k < MOST &&
           (a->m / 64 + 1) * (a->n / TN + 1) < MOST;
}

extern "C" axl_status axl_cuda_fp8_repeat(axl_stream *s, const float *scale, int64_t n, float *to)
{
    return axl_cuda_launch(s, "gemm_fp8", fp8_repeat, dim3(axl_cuda_blocks(n, AXL_THREADS)),
                           dim3(AXL_THREADS), 0, scale, n, to);
}

extern "C" axl_status axl_cuda_fp8_each(axl_stream *s, const axl_gemm_fp8_args *a, size_t used,
                                        axl_fp8_make make)
{
    axl_status status = AXL_OK;
    const int64_t element = (int64_t)axl_dtype_size(a->dtype);
    unsigned char *room = (unsigned char *)s->device->workspace + align_up(used);
    const int64_t bytes = (int64_t)s->device->workspace_bytes - (int64_t)align_up(used);
    const int64_t most = a->trans_b ? a->n : bytes / a->k / TURN * TURN;
    axl_fp8_columns c = {a->m,       a->n,          a->k,     a->a, a->b, a->scale_a,
                         a->scale_b, a->accumulate, a->dtype, a->c, a->n, a->bias};

    if (most <= 0)
        return axl_cuda_too_many("gemm_fp8", a->k, "rows of B");
    for (int64_t j = 0; j < a->n && status == AXL_OK; j += most) {
        c.n = a->n - j < most ? a->n - j : most;
        c.c = (char *)a->c + j * element;
        c.bias = a->bias != nullptr ? (const char *)a->bias + j * element : nullptr;
        if (!a->trans_b) {
            const unsigned tiles = axl_cuda_blocks(a->k, TURN) * axl_cuda_blocks(c.n, TURN);
            status = axl_cuda_launch(s, "gemm_fp8", fp8_turn, dim3(tiles), dim3(AXL_THREADS), 0,
                                     (const unsigned char *)a->b + j, a->n, a->k, c.n, room);
            c.b = room;
        }
        if (status == AXL_OK)
            status = make(s, &c);
    }
    return status;
}

extern "C" axl_status axl_cuda_fp8_tensor(axl_stream *s, const axl_fp8_columns *c)
{
    return c->dtype == AXL_F32 ? run<float>(s, c) : run<bf16>(s, c);
}

extern "C" axl_status axl_cuda_gemm_fp8(axl_stream *s, const axl_gemm_fp8_args *a)
{
    if (axl_cuda_fp8_is_tensor(a))
        return axl_cuda_fp8_each(s, a, 0, axl_cuda_fp8_tensor);
    return a->dtype == AXL_BF16  ? run_plain<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_plain<float>(s, a)
                                 : axl_cuda_no_dtype("gemm_fp8", a->dtype);
}
