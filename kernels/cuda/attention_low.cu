// Attention of rounded numbers: its entries, and the means and scales of sage and fp8.
//
// A mean is summed over the keys in their order, by one thread, as ref does: another order could round a key to the
// integer beside, which shows. Largest magnitudes do not depend on an order.
#include "kernels/cuda/attention_low.cuh"
#include "kernels/cuda/attention_plain.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace
{

constexpr int MEAN_THREADS = 64, MEAN_ROWS = 32; // rows that are read before they are added
constexpr int MOST_ROWS = 8;                     // of a warp at a time

template <class T>
__global__ void __launch_bounds__(MEAN_THREADS) attn_means(axl_attn_args a, attn_low low)
{
    const int64_t n = (int64_t)a.n_seqs * a.n_kv_heads * a.head_dim;

    for (int64_t i = (int64_t)blockIdx.x * MEAN_THREADS + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * MEAN_THREADS) {
        const int column = (int)(i % ((int64_t)a.n_kv_heads * a.head_dim));
        const attn_rows keys = attn_keys(a, (int)(i / ((int64_t)a.n_kv_heads * a.head_dim)));
        const T *k = (const T *)a.k + keys.begin * a.ldk + column;
        float sum = 0.0f;
        int j = 0;

        for (; j + MEAN_ROWS <= keys.n; j += MEAN_ROWS) {
            T x[MEAN_ROWS];
#pragma unroll
            for (int r = 0; r < MEAN_ROWS; r++)
                x[r] = k[(j + r) * a.ldk];
#pragma unroll
            for (int r = 0; r < MEAN_ROWS; r++)
                sum += axl_to_float(x[r]);
        }
        for (; j < keys.n; j++)
            sum += axl_to_float(k[j * a.ldk]);
        low.mean[i] = keys.n > 0 ? sum / (float)keys.n : 0.0f;
    }
}

// Blocks of rows of one side: of queries, or of keys less their mean.
struct block_rows {
    const void *x;
    const int *cu_seqlens;
    const float *mean; // [n_seqs, heads, dim]; NULL: none
    float *scale;      // [places, heads]
    int64_t ld;
    int n_seqs, heads, dim, size;
};

// A warp a block of one head.
template <class T> __global__ void __launch_bounds__(WARPS * 32) attn_block_scales(block_rows b)
{
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const int64_t n = (int64_t)attn_n_places(b.cu_seqlens, b.n_seqs, b.size) * b.heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS) {
        const int place = (int)(i / b.heads), head = (int)(i % b.heads);
        int seq = 0, end = b.n_seqs; // the last one whose places begin at or before this
        while (end - seq > 1) {
            const int middle = (seq + end) / 2;
            if (attn_place(b.cu_seqlens, middle, 0, b.size) <= place)
                seq = middle;
            else
                end = middle;
        }
        const int first = (place - attn_place(b.cu_seqlens, seq, 0, b.size)) * b.size;
        const int rows = min(b.size, b.cu_seqlens[seq + 1] - b.cu_seqlens[seq] - first);
        const T *x =
            (const T *)b.x + (int64_t)(b.cu_seqlens[seq] + first) * b.ld + (int64_t)head * b.dim;
        const float *mean =
            b.mean != nullptr ? b.mean + ((int64_t)seq * b.heads + head) * b.dim : nullptr;
        float most = 0.0f;

        for (int d = lane; d < b.dim; d += 32) {
            const float middle = mean != nullptr ? mean[d] : 0.0f;
#pragma unroll 8
            for (int r = 0; r < rows; r++)
                most = fmaxf(most, fabsf(axl_to_float(x[r * b.ld + d]) - middle));
        }
        most = axl_warp_max(most);
        if (lane == 0)
            b.scale[i] = most / 127.0f;
    }
}

// The largest magnitude of each sequence of a tensor, whose rows are `width` elements.
struct tensor_rows {
    const void *x;
    const int *cu_seqlens;
    float *most; // [n_seqs], zeros before
    int64_t ld;
    int n_seqs, width;
};

// A warp takes some rows, and gives what it found when the sequence ends.
template <class T> __global__ void __launch_bounds__(WARPS * 32) attn_tensor_most(tensor_rows b)
{
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const int n = b.cu_seqlens[b.n_seqs];

    for (int64_t first = ((int64_t)blockIdx.x * WARPS + warp) * MOST_ROWS; first < n;
         first += (int64_t)gridDim.x * WARPS * MOST_ROWS) {
        const int last = (int)(first + MOST_ROWS < n ? first + MOST_ROWS : n);
        int t = (int)first;
        while (t < last) {
            const int seq = attn_sequence(b.cu_seqlens, b.n_seqs, t);
            const int end = min(last, b.cu_seqlens[seq + 1]);
            float most = 0.0f;
            for (; t < end; t++)
                for (int d = lane; d < b.width; d += 32)
                    most = fmaxf(most, fabsf(axl_to_float(((const T *)b.x)[t * b.ld + d])));
            most = axl_warp_max(most);
            // the bits of numbers that are not negative ascend as they do
            if (lane == 0)
                atomicMax((int *)b.most + seq, __float_as_int(most));
        }
    }
}

// From largest magnitudes to scales.
__global__ void __launch_bounds__(MEAN_THREADS) attn_tensor_scales(float *x, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * MEAN_THREADS + threadIdx.x;

    if (i < n)
        x[i] /= 448.0f;
}

dim3 grid_to(const axl_stream *s, int64_t items, int64_t per_block)
{
    const int64_t most = (int64_t)axl_cuda_n_multiprocessors(s->device) * BLOCKS;
    const int64_t blocks = (items + per_block - 1) / per_block;

    return dim3((unsigned)(blocks < most ? blocks : most));
}

// At most so many places: of n_rows where that is known, else of sequences of max_seqlen.
int64_t most_places(int n_seqs, int max_seqlen, int64_t n_rows, int size)
{
    const int64_t most = (int64_t)n_seqs * max_seqlen;

    return (n_rows > 0 && n_rows < most ? n_rows : most) / size + n_seqs + 1;
}

template <class T>
axl_status sage_scales(axl_stream *s, const axl_attn_args *a, const attn_low *low, int64_t places_q,
                       int64_t places_k)
{
    axl_status status = AXL_OK;
    const block_rows q = {a->q,      a->cu_seqlens_q, nullptr,     low->scale_q, a->ldq,
                          a->n_seqs, a->n_heads,      a->head_dim, AXL_SAGE_Q};
    const block_rows k = {a->k,      a->cu_seqlens_k, low->mean,   low->scale_k, a->ldk,
                          a->n_seqs, a->n_kv_heads,   a->head_dim, AXL_SAGE_K};
    const int64_t n_means = (int64_t)a->n_seqs * a->n_kv_heads * a->head_dim;

    AXL_TRY(axl_cuda_launch(s, "attn_means", attn_means<T>, grid_to(s, n_means, MEAN_THREADS),
                            dim3(MEAN_THREADS), 0, *a, *low));
    AXL_TRY(axl_cuda_launch(s, "attn_block_scales", attn_block_scales<T>,
                            grid_to(s, places_q * a->n_heads, WARPS), dim3(WARPS * 32), 0, q));
    AXL_TRY(axl_cuda_launch(s, "attn_block_scales", attn_block_scales<T>,
                            grid_to(s, places_k * a->n_kv_heads, WARPS), dim3(WARPS * 32), 0, k));

out:
    return status;
}

template <class T> axl_status fp8_scales(axl_stream *s, const axl_attn_args *a, const attn_low *low)
{
    axl_status status = AXL_OK;
    const int *cu_k = a->cu_seqlens_k;
    const int n = a->n_seqs;
    const tensor_rows all[] = {
        {a->q, a->cu_seqlens_q, low->scale_q, a->ldq, n, a->n_heads * a->head_dim},
        {a->k, cu_k, low->scale_k, a->ldk, n, a->n_kv_heads * a->head_dim},
        {a->v, cu_k, low->scale_v, a->ldv, n, a->n_kv_heads * a->v_head_dim}};

    AXL_TRY(s->device->ops->zero(s, low->scale_q, 3 * (size_t)n * sizeof(float)));
    for (int i = 0; i < 3; i++)
        AXL_TRY(
            axl_cuda_launch(s, "attn_tensor_most", attn_tensor_most<T>,
                            grid_to(s, (int64_t)n * (i == 0 ? a->max_seqlen_q : a->max_seqlen_k),
                                    WARPS * MOST_ROWS),
                            dim3(WARPS * 32), 0, all[i]));
    AXL_TRY(axl_cuda_launch(s, "attn_tensor_scales", attn_tensor_scales,
                            dim3(axl_cuda_blocks(3 * (int64_t)n, MEAN_THREADS)), dim3(MEAN_THREADS),
                            0, low->scale_q, 3 * (int64_t)n));

out:
    return status;
}

// Without scales, and with them.
axl_status attend(axl_stream *s, const axl_attn_args *a, attn_form form)
{
    axl_status status = AXL_OK;
    attn_low low = {};
    size_t used = 0;

    AXL_REQUIRE(form != ATTN_SAGE || a->softcap <= 0.0f, AXL_E_UNSUPPORTED,
                "sage attention of a softcap");
    if (a->dtype != AXL_BF16 && a->dtype != AXL_F32)
        AXL_TRY(axl_cuda_no_dtype("attn_low_fwd", a->dtype));
    if (a->n_seqs == 0)
        goto out;
    if (form != ATTN_HALF)
        AXL_TRY(axl_cuda_attn_low_scales(s, a, form, &low, &used));
    if (form != ATTN_HALF && axl_cuda_attn_is_tiled(s, a))
        AXL_TRY(axl_cuda_attn_low_tiled(s, a, form, &low, used));
    else
        AXL_TRY(axl_cuda_attn_low_plain(s, a, form, &low));

out:
    return status;
}

} // namespace

axl_status axl_cuda_attn_low_scales(axl_stream *s, const axl_attn_args *a, attn_form form,
                                    attn_low *low, size_t *used)
{
    axl_status status = AXL_OK;
    const bool sage = form == ATTN_SAGE;
    const int64_t mean = sage ? (int64_t)a->n_seqs * a->n_kv_heads * a->head_dim : 0;
    const int64_t places_q =
        sage ? most_places(a->n_seqs, a->max_seqlen_q, a->n_rows, AXL_SAGE_Q) : a->n_seqs;
    const int64_t places_k =
        sage ? most_places(a->n_seqs, a->max_seqlen_k, a->n_rows_k, AXL_SAGE_K) : a->n_seqs;
    const int64_t q = sage ? places_q * a->n_heads : a->n_seqs;
    const int64_t k = sage ? places_k * a->n_kv_heads : a->n_seqs;
    const size_t bytes = sizeof(float) * (size_t)(mean + q + k + a->n_seqs);

    if (bytes > s->device->workspace_bytes)
        AXL_TRY(axl_cuda_too_many("attn_low_fwd", a->n_seqs, "sequences"));
    low->mean = (float *)s->device->workspace;
    low->scale_q = low->mean + mean;
    low->scale_k = low->scale_q + q;
    low->scale_v = low->scale_k + k;
    *used = (bytes + 127) / 128 * 128;
    if (sage && a->dtype == AXL_BF16)
        AXL_TRY((sage_scales<bf16>(s, a, low, places_q, places_k)));
    else if (sage)
        AXL_TRY((sage_scales<float>(s, a, low, places_q, places_k)));
    else if (a->dtype == AXL_BF16)
        AXL_TRY((fp8_scales<bf16>(s, a, low)));
    else
        AXL_TRY((fp8_scales<float>(s, a, low)));

out:
    return status;
}

extern "C" axl_status axl_cuda_attn_half_fwd(axl_stream *s, const axl_attn_args *a)
{
    return a->dtype != AXL_BF16           ? axl_cuda_attn_fwd(s, a)
           : axl_cuda_attn_is_tiled(s, a) ? axl_cuda_attn_half_tiled(s, a)
                                          : attend(s, a, ATTN_HALF);
}

extern "C" axl_status axl_cuda_attn_sage_fwd(axl_stream *s, const axl_attn_args *a)
{
    return attend(s, a, ATTN_SAGE);
}

extern "C" axl_status axl_cuda_attn_fp8_fwd(axl_stream *s, const axl_attn_args *a)
{
    return attend(s, a, ATTN_FP8);
}
