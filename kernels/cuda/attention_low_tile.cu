// Tiled attention, forward, of rounded numbers: q . k in 8 bits (sage: integers, fp8: e4m3), weights by v in bf16.
//
// Keys are rounded once, into the workspace, as many heads at a time as fit there; queries where a block takes its
// tile. An e4m3 is also a bf16, so values of fp8 are kept as bf16, and code without products of e4m3 (for chips
// before 8.9: wide) gets q and k so as well: the products are the same. The rest is attention_fwd.cuh's.
#include "kernels/cuda/attention_low.cuh"
#include "kernels/cuda/attention_rows.cuh"

namespace
{

// What the pass over some key heads has in the workspace.
struct packed_keys {
    bf16 *k;     // [n_kv_heads, Tk] rows of low_shape::UNITS
    bf16 *v;     // fp8: [n_kv_heads, Tk, D]
    int head_kv; // the first of them
    int n_kv_heads;
};

// A row of q or k in units of 2 bytes. Rows of 96 bytes are 128 long: a tile's lanes copy 64 bytes or 128.
template <int D, bool wide> struct low_shape {
    static constexpr int UNITS = wide ? D : D == 96 ? 64 : D / 2;
    static constexpr int STEPS = wide ? D / 16 : D / 32; // of products over a row
    static constexpr int LD = attn_tile<UNITS>::LD;
};

// The bits of an e4m3, from the number.
__device__ __forceinline__ unsigned e4m3_bits(float x)
{
    const unsigned bits = __float_as_uint(x), sign = bits >> 24 & 128u;

    if (x != x)
        return 127u;
    if (fabsf(x) < 0x1p-6f)
        return sign | (unsigned)(fabsf(x) * 512.0f);
    return sign | ((bits >> 20 & 0x7ffu) - (120u << 3)); // the bias is 7 where a float's is 127
}

// Rounds 8 numbers, neighbours in a row, and puts them where the row's `piece` lies.
template <attn_form form, bool wide>
__device__ __forceinline__ void pack8(bf16 *row, int piece, const float (&x)[8], float scale)
{
    unsigned y[8];

#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float number = attn_number<form>(x[i], scale);
        y[i] = wide ? 0u : form == ATTN_SAGE ? (unsigned)(int)number & 255u : e4m3_bits(number);
    }
    if (wide) {
        float z[8];
#pragma unroll
        for (int i = 0; i < 8; i++)
            z[i] = attn_number<form>(x[i], scale);
        reinterpret_cast<uint4 *>(row)[piece] =
            make_uint4(axl_pack_bf16(z[0], z[1]), axl_pack_bf16(z[2], z[3]),
                       axl_pack_bf16(z[4], z[5]), axl_pack_bf16(z[6], z[7]));
    } else {
        reinterpret_cast<uint2 *>(row)[piece] = make_uint2(
            y[0] | y[1] << 8 | y[2] << 16 | y[3] << 24, y[4] | y[5] << 8 | y[6] << 16 | y[7] << 24);
    }
}

__device__ __forceinline__ void take8(const bf16 *from, float (&x)[8])
{
    const uint4 v = *reinterpret_cast<const uint4 *>(from);
    const unsigned pairs[4] = {v.x, v.y, v.z, v.w};

#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i] = __uint_as_float(i % 2 == 0 ? pairs[i / 2] << 16 : pairs[i / 2] & 0xffff0000u);
}

// ---- keys, before

template <attn_form form, bool wide, int D>
__global__ void __launch_bounds__(ATTN_THREADS)
    attn_pack_keys(axl_attn_args a, attn_low low, packed_keys p)
{
    const int n_rows = a.cu_seqlens_k[a.n_seqs];
    const int64_t n = (int64_t)n_rows * p.n_kv_heads * (D / 8);

    for (int64_t i = (int64_t)blockIdx.x * ATTN_THREADS + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * ATTN_THREADS) {
        const int piece = (int)(i % (D / 8)), head = (int)(i / (D / 8) % p.n_kv_heads);
        const int j = (int)(i / (D / 8) / p.n_kv_heads),
                  seq = attn_sequence(a.cu_seqlens_k, a.n_seqs, j);
        const int head_kv = p.head_kv + head;
        const int64_t to = (int64_t)head * n_rows + j, column = (int64_t)head_kv * D + piece * 8;
        float x[8];

        take8((const bf16 *)a.k + j * a.ldk + column, x);
        if (form == ATTN_SAGE) {
            const float *mean = attn_mean(a, low, seq, head_kv) + piece * 8;
#pragma unroll
            for (int d = 0; d < 8; d++)
                x[d] -= mean[d];
        }
        pack8<form, wide>(p.k + to * low_shape<D, wide>::UNITS, piece, x,
                          attn_scale_k<form>(a, low, seq, j - a.cu_seqlens_k[seq], head_kv));
        if (form == ATTN_FP8) {
            take8((const bf16 *)a.v + j * a.ldv + column, x);
            pack8<form, true>(p.v + to * D, piece, x, low.scale_v[seq]);
        }
    }
}

// ---- a tile of queries

template <attn_form form, bool wide, int D, int BM>
__device__ __forceinline__ void take_queries(const axl_attn_args &a, const attn_query_tile &x,
                                             int head, float scale, bf16 *tile)
{
    const bf16 *q = (const bf16 *)a.q + x.row * a.ldq + (int64_t)head * D;

#pragma unroll 1
    for (int i = (int)threadIdx.x; i < BM * (D / 8); i += ATTN_THREADS) {
        const int row = i / (D / 8), piece = i % (D / 8);
        float y[8] = {};
        if (row < x.n)
            take8(q + row * a.ldq + piece * 8, y);
        pack8<form, wide>(tile + row * low_shape<D, wide>::LD, piece, y, scale);
    }
}

// q . mean of each row, from q as it was: what scores of keys less their mean lack.
template <int D, int BM>
__device__ __forceinline__ void take_shifts(const axl_attn_args &a, const attn_query_tile &x,
                                            int head, const float *mean, float *shift)
{
    const int row = (int)threadIdx.x;
    float sum = 0.0f;

    if (row >= BM)
        return;
    const bf16 *q = (const bf16 *)a.q + (x.row + min(row, x.n - 1)) * a.ldq + (int64_t)head * D;
#pragma unroll 1
    for (int d = 0; d < D; d += 8) {
        float y[8];
        take8(q + d, y);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += y[i] * mean[d + i];
    }
    shift[row] = sum;
}

// Products of rows in units of their scales. Integers are summed on top of 1.5 * 2^23, which makes the sum's bits those of
// a float: below 2^22 (256 * 127^2 is) one subtraction makes it a number.
template <attn_form form, bool wide, int D, int MT, int NT>
__device__ __forceinline__ void mul_low(float (&x)[MT][NT][4], const bf16 *a, const bf16 *b)
{
    constexpr int LD = low_shape<D, wide>::LD;
    constexpr int MAGIC = 0x4b400000;
    int sum[MT][NT][4];

    // The loop over k is unrolled as far as registers last: products of e4m3 take most.
    attn_clear(x);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sum[m][n][i] = MAGIC;
#pragma unroll(form == ATTN_FP8 && !wide ? 1 : D > 128 ? 2 : 8)
    for (int k = 0; k < low_shape<D, wide>::STEPS; k++) {
        unsigned left[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
            axl_ldmatrix_x4(left[m], a + m * 16 * LD + k * 16);
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            unsigned right[4];
            axl_ldmatrix_x4(right, b + n * 8 * LD + k * 16);
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    if constexpr (form == ATTN_SAGE)
                        axl_mma_s8(sum[m][n + i], left[m], right + 2 * i);
                    else if constexpr (wide)
                        axl_mma_bf16(x[m][n + i], left[m], right + 2 * i);
                    else
                        axl_mma_e4m3(x[m][n + i], left[m], right + 2 * i);
                }
        }
    }
    if constexpr (form == ATTN_SAGE) {
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    x[m][n][i] = __int_as_float(sum[m][n][i]) - 12582912.0f;
    }
}

// Scores to weights: scale is that of the tile's products.
template <int MT, int NT, int ND>
__device__ __forceinline__ void soften_low(const axl_attn_args &a, row_state<MT> &r,
                                           float (&s)[MT][NT][4], float (&o)[MT][ND][4],
                                           float scale)
{
    // never 0: an unseen score is -inf, and must stay so where all numbers are 0
    if (a.softcap <= 0.0f)
        soften(r, s, o, fmaxf(scale * ATTN_LOG2E, 0x1p-126f));
    else
        soften(r, s, o, ATTN_LOG2E);
}

// What the sums lack: the shift of lse in units of log 2 (sage), the scale of v (fp8).
template <attn_form form, int MT, int ND>
__device__ __forceinline__ void finish(const axl_attn_args &a, const attn_low &low, int seq,
                                       const float *shift, row_state<MT> &r, float (&o)[MT][ND][4])
{
    const int g = (int)(threadIdx.x % 32u / 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            if (form == ATTN_SAGE)
                r.top[m][half] += a.scale * ATTN_LOG2E * shift[m * 16 + half * 8 + g];
    if (form != ATTN_FP8)
        return;
    const float scale_v = low.scale_v[seq];
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < ND; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                o[m][n][i] *= scale_v;
}

template <attn_form form, bool wide, int D, int MT, int BN>
__device__ __forceinline__ void attend_low(const axl_attn_args &a, const attn_low &low,
                                           const packed_keys &p, const attn_item &item,
                                           bf16 *shared, float *shift)
{
    using shape = low_shape<D, wide>;
    constexpr int BM = ATTN_WARPS * MT * 16;
    static_assert(AXL_SAGE_Q % BM == 0 && AXL_SAGE_K % BN == 0, "a tile has one scale");
    const attn_query_tile x = attn_query_tile_of(a, item, BM);
    const int warp_row = (int)(threadIdx.x / 32u) * MT * 16;
    const int group = a.n_heads / a.n_kv_heads, head = p.head_kv * group + item.head;
    const int head_kv = head / group, first = x.keys.begin / BN * BN;
    const int64_t key_row = a.cu_seqlens_k[item.seq] + first;
    const int64_t packed_row = (int64_t)(head_kv - p.head_kv) * a.cu_seqlens_k[a.n_seqs] + key_row;
    const bf16 *k = p.k + packed_row * shape::UNITS;
    const bf16 *v = form == ATTN_FP8 ? p.v + packed_row * D
                                     : (const bf16 *)a.v + key_row * a.ldv + (int64_t)head_kv * D;
    const int64_t ldv = form == ATTN_FP8 ? D : a.ldv;
    bf16 *q_tile = shared, *k_tile = q_tile + BM * shape::LD, *v_tile = k_tile + BN * shape::LD;
    const float scale_q = attn_scale_q<form>(a, low, item.seq, x.first, head);
    float o[MT][D / 8][4];
    row_state<MT> r;

    begin_rows(r);
    attn_clear(o);
    if (form == ATTN_SAGE)
        take_shifts<D, BM>(a, x, head, attn_mean(a, low, item.seq, head_kv), shift);
    if (x.keys.begin < x.keys.end) {
        attn_load<BN, shape::UNITS>(k_tile, k, shape::UNITS, x.keys.end - first);
        axl_copy_commit();
        take_queries<form, wide, D, BM>(a, x, head, scale_q, q_tile);
    }
    for (int at = first; at < x.keys.end; at += BN) {
        const float scale = a.scale * scale_q * attn_scale_k<form>(a, low, item.seq, at, head_kv);
        float s[MT][BN / 8][4];

        axl_copy_wait<0>();
        __syncthreads(); // K is there, and V of the step before was read by all
        attn_load<BN, D>(v_tile, v, ldv, x.keys.end - at);
        axl_copy_commit();
        v += BN * ldv;
        mul_low<form, wide, D>(s, q_tile + warp_row * shape::LD + attn_left<shape::UNITS>(),
                               k_tile + attn_right<shape::UNITS>());
        if (a.softcap > 0.0f)
            cap_scores(s, a.softcap, 2.0f * ATTN_LOG2E * scale / a.softcap);
        if (at < x.full.begin || at + BN > x.full.end)
            mask_scores(a, item.seq, x.first + warp_row, at, x.keys.end, s);
        soften_low(a, r, s, o, scale);
        axl_copy_wait<0>();
        __syncthreads(); // V is there, and K was read by all
        k += BN * shape::UNITS;
        if (at + BN < x.keys.end)
            attn_load<BN, shape::UNITS>(k_tile, k, shape::UNITS, x.keys.end - at - BN);
        axl_copy_commit();
        attn_mul_columns<MT, BN / 8, D>(o, s, v_tile + attn_left<D>());
    }
    if (form == ATTN_SAGE && x.keys.begin >= x.keys.end)
        __syncthreads(); // no step has waited for the shifts
    finish<form>(a, low, item.seq, shift + warp_row, r, o);
    write_rows<D>(a, x, head, r, o, warp_row);
}

template <attn_form form, bool wide, int D, int MT, int BN>
__global__ void __launch_bounds__(ATTN_THREADS, 2)
    attn_low_fwd(axl_attn_args a, attn_low low, packed_keys p, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    AXL_SHARED_ARRAY(int, slot, 1);
    AXL_SHARED_ARRAY(float, shift, ATTN_WARPS *MT * 16);
    attn_item item;

    while (attn_next(work, p.n_kv_heads * (a.n_heads / a.n_kv_heads), slot, &item))
        attend_low<form, wide, D, MT, BN>(a, low, p, item, shared, shift);
}

// ---- on the host

// Rows of k, or more.
int64_t keys_of(const axl_attn_args *a)
{
    return a->n_rows_k > 0 ? a->n_rows_k : (int64_t)a->n_seqs * a->max_seqlen_k;
}

// How many key heads of `bytes` each the workspace holds behind what is taken; 0: none.
int heads_at_once(const axl_stream *s, const axl_attn_args *a, size_t taken, size_t bytes)
{
    const size_t all = s->device->workspace_bytes;
    const size_t n = taken < all ? (all - taken) / (bytes > 0 ? bytes : 1) : 0;

    return n < (size_t)a->n_kv_heads ? (int)n : a->n_kv_heads;
}

template <attn_form form, bool wide, int D, int MT, int BN>
axl_status run_heads(axl_stream *s, const axl_attn_args *a, const attn_low *low,
                     const packed_keys *p, attn_work *work)
{
    using shape = low_shape<D, wide>;
    constexpr int BM = ATTN_WARPS * MT * 16;
    constexpr int bytes = 2 * ((BM + BN) * shape::LD + BN * attn_tile<D>::LD);
    const int n_heads = p->n_kv_heads * (a->n_heads / a->n_kv_heads);
    const int64_t pieces = keys_of(a) * p->n_kv_heads * (D / 8);
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_launch(s, "attn_pack_keys", attn_pack_keys<form, wide, D>,
                            attn_grid(s, (pieces + ATTN_THREADS - 1) / ATTN_THREADS),
                            dim3(ATTN_THREADS), 0, *a, *low, *p));
    AXL_TRY(attn_run(s, "attn_low_fwd", attn_low_fwd<form, wide, D, MT, BN>, a,
                     {false, BM, n_heads, bytes, work}, *a, *low, *p));

out:
    return status;
}

// All key heads, as many at a time as the workspace holds behind the scales.
template <attn_form form, bool wide, int D, int MT, int BN>
axl_status run(axl_stream *s, const axl_attn_args *a, const attn_low *low, size_t used)
{
    using shape = low_shape<D, wide>;
    const size_t work_bytes = attn_work_bytes(attn_most_tiles(a, false, 64));
    const size_t k_bytes = 2 * (size_t)(keys_of(a) * shape::UNITS);
    const size_t v_bytes = form == ATTN_FP8 ? 2 * (size_t)(keys_of(a) * D) : 0;
    char *at = (char *)s->device->workspace + used;
    const int n = heads_at_once(s, a, used + work_bytes, k_bytes + v_bytes);
    axl_status status = AXL_OK;

    if (n == 0) {
        AXL_TRY(axl_cuda_attn_low_plain(s, a, form, low));
        goto out;
    }
    for (int head = 0; head < a->n_kv_heads; head += n) {
        const int now = a->n_kv_heads - head < n ? a->n_kv_heads - head : n;
        bf16 *k = (bf16 *)(at + work_bytes);
        const packed_keys p = {k, k + k_bytes / 2 * (size_t)now, head, now};
        AXL_TRY((run_heads<form, wide, D, MT, BN>(s, a, low, &p, (attn_work *)at)));
    }

out:
    return status;
}

// Whether the code that runs on this chip has products of e4m3. The chip does not say: 8.9 has them, but runs the code for
// 8.0 where the build has none of its own.
bool has_e4m3()
{
    cudaFuncAttributes code = {};

    return cudaFuncGetAttributes(&code, attn_low_fwd<ATTN_FP8, false, 64, 2, 64>) == cudaSuccess &&
           code.ptxVersion >= 89;
}

template <attn_form form, bool wide>
axl_status run_width(axl_stream *s, const axl_attn_args *a, const attn_low *low, size_t used)
{
    return a->head_dim == 64    ? run<form, wide, 64, 2, 64>(s, a, low, used)
           : a->head_dim == 96  ? run<form, wide, 96, 2, 32>(s, a, low, used)
           : a->head_dim == 128 ? run<form, wide, 128, 2, 32>(s, a, low, used)
                                : run<form, wide, 256, 1, 32>(s, a, low, used);
}

} // namespace

axl_status axl_cuda_attn_low_tiled(axl_stream *s, const axl_attn_args *a, attn_form form,
                                   const attn_low *low, size_t used)
{
    return form == ATTN_SAGE ? run_width<ATTN_SAGE, false>(s, a, low, used)
           : has_e4m3()      ? run_width<ATTN_FP8, false>(s, a, low, used)
                             : run_width<ATTN_FP8, true>(s, a, low, used);
}
