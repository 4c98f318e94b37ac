// Attention of rounded numbers for every shape, dtype and option: attention_plain.cuh's forward with elements that are
// rounded where they are read.
#include "kernels/cuda/attention_low.cuh"
#include "kernels/cuda/attention_plain.cuh"

namespace
{

template <attn_form form> struct low_kind {
    using call = attn_low;

    template <class T> struct row {
        const axl_attn_args &a;
        const attn_low &low;
        const int seq, head_kv;
        const float scale_q, scale_v;
        const float *mean; // of the keys; NULL: none
        float shift;       // q . mean

        __device__ row(const call &c, const axl_attn_args &args, const query_row<T> &r, int head)
            : a(args), low(c), seq(r.seq), head_kv(r.head_kv),
              scale_q(attn_scale_q<form>(a, low, seq, r.row, head)),
              scale_v(form == ATTN_FP8 ? low.scale_v[seq] : 1.0f),
              mean(form == ATTN_SAGE ? attn_mean(a, low, seq, head_kv) : nullptr), shift(0.0f)
        {
        }
        // In units of its scale.
        __device__ void stage(float *to, const T *q, int lane)
        {
            for (int d = lane; d < a.head_dim; d += 32) {
                const float x = axl_to_float(q[d]);
                to[d] = attn_number<form>(x, scale_q);
                if (form == ATTN_SAGE)
                    shift += x * mean[d];
            }
            if (form == ATTN_SAGE)
                shift = axl_warp_sum(shift);
        }
        __device__ float score(const float *q, const T *k, int j)
        {
            const float scale_k = attn_scale_k<form>(a, low, seq, j, head_kv);
            float sum = 0.0f;

            for (int d = 0; d < a.head_dim; d++) {
                const float x = axl_to_float(k[d]) - (form == ATTN_SAGE ? mean[d] : 0.0f);
                sum += q[d] * attn_number<form>(x, scale_k);
            }
            sum *= a.scale * scale_q * scale_k;
            return a.softcap > 0.0f ? a.softcap * tanhf(sum / a.softcap) : sum;
        }
        __device__ float weight(float p)
        {
            if (form == ATTN_HALF)
                return attn_round_f16(p);
            return form == ATTN_SAGE ? axl_to_float(axl_from_float<T>(p)) : p;
        }
        __device__ float value(float v)
        {
            return form == ATTN_SAGE   ? v
                   : form == ATTN_HALF ? attn_round_f16(v)
                                       : attn_number<ATTN_FP8>(v, scale_v) * scale_v;
        }
        __device__ float lse(float lse) { return lse + a.scale * shift; }
    };
};

} // namespace

axl_status axl_cuda_attn_low_plain(axl_stream *s, const axl_attn_args *a, attn_form form,
                                   const attn_low *low)
{
    return form == ATTN_HALF   ? run_fwd<low_kind<ATTN_HALF>>(s, a, low)
           : form == ATTN_SAGE ? run_fwd<low_kind<ATTN_SAGE>>(s, a, low)
                               : run_fwd<low_kind<ATTN_FP8>>(s, a, low);
}
