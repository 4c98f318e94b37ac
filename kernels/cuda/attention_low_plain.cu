// Attention of rounded numbers for every shape, dtype and option: attention_plain.cu's forward with elements that are
// rounded where they are read.
#include "kernels/cuda/attention_low.cuh"
#include "kernels/cuda/attention_plain.cuh"

namespace
{

// A weight as it meets v.
template <class T, attn_form form> __device__ __forceinline__ float weight(float p)
{
    if (form == ATTN_HALF)
        return attn_round_f16(p);
    return form == ATTN_SAGE ? axl_to_float(axl_from_float<T>(p)) : p;
}

template <attn_form form> __device__ __forceinline__ float value(float v, float scale)
{
    return form == ATTN_SAGE   ? v
           : form == ATTN_HALF ? attn_round_f16(v)
                               : attn_number<ATTN_FP8>(v, scale) * scale;
}

// What a row needs of its call.
struct row_scales {
    float q, v;
    const float *mean; // of the keys; NULL: none
};

template <class T, attn_form form>
__device__ __forceinline__ float score_of(const axl_attn_args &a, const row_scales &r,
                                          const float *q, const T *k, float scale_k)
{
    float sum = 0.0f;

    for (int d = 0; d < a.head_dim; d++) {
        const float x = axl_to_float(k[d]) - (form == ATTN_SAGE ? r.mean[d] : 0.0f);
        sum += q[d] * attn_number<form>(x, scale_k);
    }
    sum *= a.scale * r.q * scale_k;
    return a.softcap > 0.0f ? a.softcap * tanhf(sum / a.softcap) : sum;
}

// The row of q to shared memory, in units of its scale; gives q . mean.
template <class T, attn_form form>
__device__ __forceinline__ float stage_query(const row_scales &r, float *to, const T *q, int n,
                                             int lane)
{
    float shift = 0.0f;

    for (int d = lane; d < n; d += 32) {
        const float x = axl_to_float(q[d]);
        to[d] = attn_number<form>(x, r.q);
        if (form == ATTN_SAGE)
            shift += x * r.mean[d];
    }
    return form == ATTN_SAGE ? axl_warp_sum(shift) : 0.0f;
}

template <class T, class Out, attn_form form>
__device__ __forceinline__ void low_row(const axl_attn_args &a, const attn_low &low,
                                        const scratch &x, int t, int head, int lane)
{
    const int seq = attn_sequence(a.cu_seqlens_q, a.n_seqs, t);
    const attn_rows queries = attn_queries(a, seq), keys = attn_keys(a, seq);
    const int row = t - (int)queries.begin, position = queries.position(row);
    const attn_range range = attn_keys_seen(a, keys, position, position);
    const int head_kv = head / (a.n_heads / a.n_kv_heads), dim = a.head_dim, dim_v = a.v_head_dim;
    const T *k = (const T *)a.k + keys.begin * a.ldk + (int64_t)head_kv * dim;
    const T *v = (const T *)a.v + keys.begin * a.ldv + (int64_t)head_kv * dim_v;
    const row_scales scales = {attn_scale_q<form>(a, low, seq, row, head),
                               form == ATTN_FP8 ? low.scale_v[seq] : 1.0f,
                               form == ATTN_SAGE ? attn_mean(a, low, seq, head_kv) : nullptr};
    float top = -INFINITY, sum = 0.0f;

    const float shift = stage_query<T, form>(
        scales, x.row[0], (const T *)a.q + t * a.ldq + (int64_t)head * dim, dim, lane);
    for (int d = lane; d < dim_v; d += 32)
        x.sum[1][d] = 0.0f;
    __syncwarp();
    for (int begin = range.begin; begin < range.end; begin += 32) {
        const int j = begin + lane, n = min(32, range.end - begin);
        const float score = j < range.end
                                ? score_of<T, form>(a, scales, x.row[0], k + j * a.ldk,
                                                    attn_scale_k<form>(a, low, seq, j, head_kv))
                                : -INFINITY;
        const float next = fmaxf(top, axl_warp_max(score));
        const float keep = expf(top - next), p = j < range.end ? expf(score - next) : 0.0f;

        sum = sum * keep + axl_warp_sum(p);
        top = next;
        x.weight[0][lane] = weight<T, form>(p);
        __syncwarp();
        for (int d = lane; d < dim_v; d += 32) {
            float acc = x.sum[1][d] * keep;
            for (int i = 0; i < n; i++)
                acc += x.weight[0][i] *
                       value<form>(axl_to_float(v[(begin + i) * a.ldv + d]), scales.v);
            x.sum[1][d] = acc;
        }
        __syncwarp(); // the weights are read before the next ones come
    }
    Out *out = (Out *)a.out + t * a.ldo + (int64_t)head * dim_v;
    for (int d = lane; d < dim_v; d += 32)
        out[d] = axl_from_float<Out>(sum > 0.0f ? x.sum[1][d] / sum : 0.0f);
    if (lane == 0)
        ((float *)a.lse)[(int64_t)head * a.cu_seqlens_q[a.n_seqs] + t] =
            sum > 0.0f ? top + logf(sum) + a.scale * shift : -INFINITY;
    __syncwarp(); // the row is read before the next one comes
}

template <class T, class Out, attn_form form>
__global__ void __launch_bounds__(WARPS * 32, 6) attn_low_plain(axl_attn_args a, attn_low low)
{
    AXL_DYNAMIC_SHARED(float, shared);
    const int lane = (int)(threadIdx.x & 31u), warp = (int)(threadIdx.x >> 5);
    const scratch x = take(shared, warp, a.head_dim, a.v_head_dim);
    const int64_t n = (int64_t)a.cu_seqlens_q[a.n_seqs] * a.n_heads;

    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < n; i += (int64_t)gridDim.x * WARPS)
        low_row<T, Out, form>(a, low, x, (int)(i / a.n_heads), (int)(i % a.n_heads), lane);
}

template <class T, class Out>
axl_status run(axl_stream *s, const axl_attn_args *a, attn_form form, const attn_low *low)
{
    void (*kernel)(axl_attn_args, attn_low) = form == ATTN_HALF ? attn_low_plain<T, Out, ATTN_HALF>
                                              : form == ATTN_SAGE
                                                  ? attn_low_plain<T, Out, ATTN_SAGE>
                                                  : attn_low_plain<T, Out, ATTN_FP8>;

    return axl_cuda_launch(s, "attn_low_plain", kernel,
                           grid_of(s, a->n_seqs, a->max_seqlen_q, a->n_heads), dim3(WARPS * 32),
                           scratch_bytes(a->head_dim, a->v_head_dim), *a, *low);
}

} // namespace

axl_status axl_cuda_attn_low_plain(axl_stream *s, const axl_attn_args *a, attn_form form,
                                   const attn_low *low)
{
    const axl_status status = check_width(a);

    return status != AXL_OK      ? status
           : a->dtype == AXL_F32 ? run<float, float>(s, a, form, low)
           : a->out_f32          ? run<bf16, float>(s, a, form, low)
                                 : run<bf16, bf16>(s, a, form, low);
}
