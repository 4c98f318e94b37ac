// Exact attention for every shape, dtype and option (attention_plain.cuh).
#include "kernels/cuda/attention_plain_bwd.cuh"

namespace
{

struct exact {
    struct call {
    };

    template <class T> struct row {
        const axl_attn_args &a;

        __device__ row(const call &, const axl_attn_args &args, const query_row<T> &, int) : a(args)
        {
        }
        __device__ void stage(float *to, const T *q, int lane) { ::stage(to, q, a.head_dim, lane); }
        __device__ float score(const float *q, const T *k, int)
        {
            return capped(a, dot(q, k, a.head_dim));
        }
        __device__ float weight(float p) { return p; }
        __device__ float value(float v) { return v; }
        __device__ float lse(float lse) { return lse; }
    };

    using args = axl_attn_bwd_args;
    static constexpr bool PRODUCTS = true;

    __host__ __device__ static const axl_attn_bwd_args &bwd(const args &b) { return b; }
    __device__ static float scale(const axl_attn_args &a) { return a.scale; }
    __device__ static const float *probs(const args &, int64_t, int) { return nullptr; }
    __device__ static const float *delta(const args &b) { return (const float *)b.delta; }
    template <class T>
    __device__ static float delta_of(const args &b, const scratch &, const query_row<T> &,
                                     const float *, int64_t stat, int)
    {
        return delta(b)[stat];
    }
    template <class T>
    __device__ static pair pair_of(const axl_attn_args &a, const scratch &x, const T *by_row0,
                                   const T *by_row1, const float *, float lse, float delta)
    {
        const float score = capped(a, dot(x.row[0], by_row0, a.head_dim)), p = expf(score - lse);
        float ds = p * (dot(x.row[1], by_row1, a.v_head_dim) - delta);

        if (a.softcap > 0.0f)
            ds *= 1.0f - (score / a.softcap) * (score / a.softcap);
        return {p, ds};
    }
};

} // namespace

axl_status axl_cuda_attn_fwd_plain(axl_stream *s, const axl_attn_args *a)
{
    const exact::call call = {};

    return run_fwd<exact>(s, a, &call);
}

axl_status axl_cuda_attn_bwd_plain(axl_stream *s, const axl_attn_bwd_args *b)
{
    return run_bwd<exact>(s, b);
}
