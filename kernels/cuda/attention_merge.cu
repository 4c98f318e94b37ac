// What goes over the rows of attention's results once: delta, joining another call's result or a sink's.
//
// A row of one head belongs to 8 lanes, each with 16-byte pieces of it. A block has 32 rows that follow each
// other of one head, so the statistics are read and written in full lines; blocks that follow each other have the
// other heads of the same rows.
#include "kernels/cuda/attention.cuh"

namespace
{

constexpr int THREADS = 256;
constexpr int LANES = 8; // of a row
constexpr int ROWS = THREADS / LANES;

// n elements that lie together, as f32.
template <class T, int n> struct piece {
    float v[n];
};

template <class T, int n> __device__ __forceinline__ piece<T, n> read_piece(const T *from)
{
    struct alignas(sizeof(T) * n) packed {
        T v[n];
    };
    const packed x = *reinterpret_cast<const packed *>(from);
    piece<T, n> out;

#pragma unroll
    for (int i = 0; i < n; i++)
        out.v[i] = axl_to_float(x.v[i]);
    return out;
}

template <class T, int n> __device__ __forceinline__ void write_piece(T *to, const float (&v)[n])
{
    struct alignas(sizeof(T) * n) packed {
        T v[n];
    } x;

#pragma unroll
    for (int i = 0; i < n; i++)
        x.v[i] = axl_from_float<T>(v[i]);
    *reinterpret_cast<packed *>(to) = x;
}

// Which row of which head a thread works on.
struct place {
    int head, lane;
    int64_t row;
};

__device__ __forceinline__ place place_of_thread()
{
    return {(int)blockIdx.x, (int)threadIdx.x % LANES,
            ((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * ROWS + (int)threadIdx.x / LANES};
}

dim3 grid_of(int64_t n_tokens, int n_heads)
{
    const unsigned tiles = axl_cuda_blocks(n_tokens, ROWS), most = 32768;

    return tiles <= most ? dim3((unsigned)n_heads, tiles)
                         : dim3((unsigned)n_heads, most, axl_cuda_blocks(tiles, most));
}

__device__ __forceinline__ float log_add(float a, float b)
{
    return fmaxf(a, b) + log1pf(expf(-fabsf(a - b)));
}

// ---- delta

template <class T, int n>
__global__ void __launch_bounds__(THREADS) attn_delta(axl_attn_delta_args a)
{
    const place p = place_of_thread();
    float sum = 0.0f;

    if (p.row < a.n_tokens) {
        const int64_t at = p.row * a.ldo + (int64_t)p.head * a.v_head_dim;
#pragma unroll 2
        for (int d = p.lane * n; d < a.v_head_dim; d += LANES * n) {
            const piece<T, n> x = read_piece<T, n>((const T *)a.out + at + d),
                              y = read_piece<T, n>((const T *)a.dout + at + d);
#pragma unroll
            for (int i = 0; i < n; i++)
                sum += x.v[i] * y.v[i];
        }
    }
    for (int bits = LANES / 2; bits > 0; bits /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, bits);
    if (p.row < a.n_tokens && p.lane == 0)
        ((float *)a.delta)[p.head * a.n_tokens + p.row] = sum;
}

// ---- another part

template <class T, int n>
__global__ void __launch_bounds__(THREADS) attn_merge(axl_attn_merge_args a)
{
    const place p = place_of_thread();
    const int64_t stat = p.head * a.n_tokens + p.row;
    const bool there = p.row < a.n_tokens;
    const float lse = there ? ((const float *)a.lse)[stat] : 0.0f;
    const float part_lse = there ? ((const float *)a.part_lse)[stat] : -INFINITY;

    if (part_lse != -INFINITY) {
        const float w = 1.0f / (1.0f + expf(lse - part_lse));
        float *out = (float *)a.out + p.row * a.ldo + (int64_t)p.head * a.v_head_dim;
        const T *part = (const T *)a.part_out + p.row * a.ld_part + (int64_t)p.head * a.v_head_dim;
#pragma unroll 4
        for (int d = p.lane * n; d < a.v_head_dim; d += LANES * n) {
            piece<float, n> x = read_piece<float, n>(out + d);
            const piece<T, n> y = read_piece<T, n>(part + d);
#pragma unroll
            for (int i = 0; i < n; i++)
                x.v[i] -= w * (x.v[i] - y.v[i]);
            write_piece<float, n>(out + d, x.v);
        }
    }
    __syncwarp(); // every lane of the row has read its lse
    if (part_lse != -INFINITY && p.lane == 0)
        ((float *)a.lse)[stat] = log_add(lse, part_lse);
}

// ---- sinks

template <class T, class Out, int n>
__global__ void __launch_bounds__(THREADS) attn_sinks_fwd(axl_attn_sinks_args a)
{
    const place p = place_of_thread();
    const int64_t stat = p.head * a.n_tokens + p.row;
    const bool there = p.row < a.n_tokens;
    const float sink = axl_to_float(((const T *)a.sinks)[p.head]);
    const float lse = there ? ((const float *)a.lse)[stat] : 0.0f;

    if (there) {
        const float keep = 1.0f / (1.0f + expf(sink - lse));
        Out *out = (Out *)a.out + p.row * a.ldo + (int64_t)p.head * a.v_head_dim;
#pragma unroll 4
        for (int d = p.lane * n; d < a.v_head_dim; d += LANES * n) {
            piece<Out, n> x = read_piece<Out, n>(out + d);
#pragma unroll
            for (int i = 0; i < n; i++)
                x.v[i] *= keep;
            write_piece<Out, n>(out + d, x.v);
        }
    }
    __syncwarp(); // every lane of the row has read its lse
    if (there && p.lane == 0)
        ((float *)a.lse)[stat] = log_add(lse, sink);
}

// One block a head. The order of the sum is that of the threads, fixed by n_tokens alone.
template <class T>
__global__ void __launch_bounds__(THREADS) attn_sinks_bwd(axl_attn_sinks_bwd_args a)
{
    AXL_SHARED_ARRAY(float, scratch, 33);
    const float sink = axl_to_float(((const T *)a.sinks)[blockIdx.x]);
    const float *lse = (const float *)a.lse + blockIdx.x * a.n_tokens,
                *delta = (const float *)a.delta + blockIdx.x * a.n_tokens;
    float sum = 0.0f;

#pragma unroll 4
    for (int64_t t = threadIdx.x; t < a.n_tokens; t += THREADS)
        sum -= expf(sink - lse[t]) * delta[t];
    sum = axl_block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        float *to = (float *)a.dsinks + blockIdx.x;
        *to = a.accumulate ? *to + sum : sum;
    }
}

// ---- on the host

// Whether rows of heads can be read n elements at a time.
bool aligned(const void *rows, int64_t ld, size_t element, int v_head_dim, int n)
{
    return ld % n == 0 && v_head_dim % n == 0 && (uintptr_t)rows % (element * (size_t)n) == 0;
}

template <class T, int n> axl_status run_delta(axl_stream *s, const axl_attn_delta_args *a)
{
    const bool wide = aligned(a->out, a->ldo, sizeof(T), a->v_head_dim, n) &&
                      aligned(a->dout, a->ldo, sizeof(T), a->v_head_dim, n);

    return axl_cuda_launch(s, "attn_delta", wide ? attn_delta<T, n> : attn_delta<T, 1>,
                           grid_of(a->n_tokens, a->n_heads), dim3(THREADS), 0, *a);
}

template <class T> axl_status run_merge(axl_stream *s, const axl_attn_merge_args *a)
{
    const bool wide = aligned(a->out, a->ldo, sizeof(float), a->v_head_dim, 4) &&
                      aligned(a->part_out, a->ld_part, sizeof(T), a->v_head_dim, 4);

    return axl_cuda_launch(s, "attn_merge", wide ? attn_merge<T, 4> : attn_merge<T, 1>,
                           grid_of(a->n_tokens, a->n_heads), dim3(THREADS), 0, *a);
}

template <class T, class Out, int n>
axl_status run_sinks_fwd(axl_stream *s, const axl_attn_sinks_args *a)
{
    const bool wide = aligned(a->out, a->ldo, sizeof(Out), a->v_head_dim, n);

    return axl_cuda_launch(s, "attn_sinks_fwd",
                           wide ? attn_sinks_fwd<T, Out, n> : attn_sinks_fwd<T, Out, 1>,
                           grid_of(a->n_tokens, a->n_heads), dim3(THREADS), 0, *a);
}

} // namespace

extern "C" axl_status axl_cuda_attn_delta(axl_stream *s, const axl_attn_delta_args *a)
{
    return a->dtype == AXL_BF16 ? run_delta<bf16, 8>(s, a) : run_delta<float, 4>(s, a);
}

extern "C" axl_status axl_cuda_attn_merge(axl_stream *s, const axl_attn_merge_args *a)
{
    return a->dtype == AXL_BF16 ? run_merge<bf16>(s, a) : run_merge<float>(s, a);
}

extern "C" axl_status axl_cuda_attn_sinks_fwd(axl_stream *s, const axl_attn_sinks_args *a)
{
    return a->dtype == AXL_F32       ? run_sinks_fwd<float, float, 4>(s, a)
           : a->dtype_out == AXL_F32 ? run_sinks_fwd<bf16, float, 4>(s, a)
                                     : run_sinks_fwd<bf16, bf16, 8>(s, a);
}

extern "C" axl_status axl_cuda_attn_sinks_bwd(axl_stream *s, const axl_attn_sinks_bwd_args *a)
{
    return axl_cuda_launch(s, "attn_sinks_bwd",
                           a->dtype == AXL_BF16 ? attn_sinks_bwd<bf16> : attn_sinks_bwd<float>,
                           dim3((unsigned)a->n_heads), dim3(THREADS), 0, *a);
}
