// The router of a mixture of experts, a warp a token; and the order of token copies by expert.
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/sort.cuh"

namespace
{

constexpr int TOKENS = AXL_THREADS / 32; // of a block

// The expert that follows `last` in the order of falling logits, then rising index; -1: none is left, or only NaN.
template <class T>
__device__ __forceinline__ int next_expert(const T *z, int n_experts, int last, int lane)
{
    const float limit = last >= 0 ? axl_to_float(z[last]) : INFINITY;
    float top = 0.0f;
    int best = -1;

    for (int e = lane; e < n_experts; e += 32) {
        const float x = axl_to_float(z[e]);
        if ((x < limit || (x == limit && e > last)) && (best < 0 || x > top)) {
            best = e;
            top = x;
        }
    }
    for (int bits = 16; bits > 0; bits /= 2) {
        const float x = __shfl_xor_sync(0xffffffffu, top, bits);
        const int e = __shfl_xor_sync(0xffffffffu, best, bits);
        if (e >= 0 && (best < 0 || x > top || (x == top && e < best))) {
            best = e;
            top = x;
        }
    }
    return best;
}

template <class T> __global__ void __launch_bounds__(AXL_THREADS) route_fwd(axl_route_args a)
{
    const int lane = (int)threadIdx.x % 32;
    const int64_t t = (int64_t)blockIdx.x * TOKENS + threadIdx.x / 32;
    const T *z = (const T *)a.logits + t * a.n_experts;
    int32_t *ids = a.ids + t * a.top_k;
    float *weights = (float *)a.weights + t * a.top_k;
    float top = -INFINITY, sum = 0.0f, kept = 0.0f;
    int last = -1;

    if (t >= a.n_tokens)
        return; // a whole warp
    for (int e = lane; e < a.n_experts; e += 32)
        top = fmaxf(top, axl_to_float(z[e]));
    top = axl_warp_max(top);
    for (int e = lane; e < a.n_experts; e += 32)
        sum += expf(axl_to_float(z[e]) - top);
    const float lse = top + logf(axl_warp_sum(sum));
    for (int j = 0; j < a.top_k; j++) { // every lane finds the same
        const int next = next_expert(z, a.n_experts, last, lane);
        last = next >= 0 ? next : j; // NaN: any id that exists will do
        const float weight = expf(axl_to_float(z[last]) - lse);
        kept += weight;
        if (lane == j % 32) { // lane j % 32 owns weight j
            ids[j] = last;
            weights[j] = weight;
        }
    }
    for (int j = lane; j < a.top_k && a.renormalize; j += 32)
        weights[j] /= kept;
    if (lane == 0)
        ((float *)a.lse)[t] = lse;
}

template <class T> __global__ void __launch_bounds__(AXL_THREADS) route_bwd(axl_route_bwd_args a)
{
    constexpr int MINE = AXL_MAX_TOP_K / 32; // choices of a lane
    const int lane = (int)threadIdx.x % 32;
    const int64_t t = (int64_t)blockIdx.x * TOKENS + threadIdx.x / 32;
    const T *z = (const T *)a.logits + t * a.n_experts;
    T *dz = (T *)a.dlogits + t * a.n_experts;
    const float *dw = (const float *)a.dweights + t * a.top_k;
    const float *dprobs = (const float *)a.dprobs;
    float p[MINE] = {}, dp[MINE] = {}, kept = 0.0f, mean = 0.0f, sum = 0.0f;
    int id[MINE] = {};

    if (t >= a.n_tokens)
        return; // a whole warp
    const float lse = ((const float *)a.lse)[t];
#pragma unroll
    for (int i = 0; i < MINE; i++) {
        const int j = i * 32 + lane;
        if (j < a.top_k) {
            id[i] = a.ids[t * a.top_k + j];
            p[i] = expf(axl_to_float(z[id[i]]) - lse);
            dp[i] = dw[j];
        }
        kept += p[i];
        mean += p[i] * dp[i];
    }
    kept = axl_warp_sum(kept);
    mean = axl_warp_sum(mean);
#pragma unroll
    for (int i = 0; i < MINE; i++) {
        dp[i] = a.renormalize ? (dp[i] - mean / kept) / kept : dp[i];
        sum += p[i] * dp[i]; // p is 0 beyond top_k
    }
    for (int e = lane; e < a.n_experts && dprobs != nullptr; e += 32)
        sum += expf(axl_to_float(z[e]) - lse) * dprobs[e];
    sum = axl_warp_sum(sum);
    __syncwarp(); // dlogits may be logits, and a lane reads those of its choices
    for (int e = lane; e < a.n_experts; e += 32)
        dz[e] = axl_from_float<T>(expf(axl_to_float(z[e]) - lse) *
                                  ((dprobs != nullptr ? dprobs[e] : 0.0f) - sum));
    __syncwarp(); // the chosen experts' gradients replace those
#pragma unroll
    for (int i = 0; i < MINE; i++)
        if (i * 32 + lane < a.top_k)
            dz[id[i]] = axl_from_float<T>(
                p[i] * (dp[i] + (dprobs != nullptr ? dprobs[id[i]] : 0.0f) - sum));
}

// The probability behind a logit of row t.
struct probability {
    const float *lse;
    __device__ float operator()(int64_t t, float x) const { return expf(x - lse[t]); }
};

template <class T> axl_status run_fwd(axl_stream *s, const axl_route_args *a)
{
    axl_status status =
        axl_cuda_launch(s, "route_fwd", route_fwd<T>, dim3(axl_cuda_blocks(a->n_tokens, TOKENS)),
                        dim3(AXL_THREADS), 0, *a);

    if (status == AXL_OK && a->prob_sum != nullptr)
        status = axl_column_sums(s, "route_fwd", (const T *)a->logits, a->n_tokens, a->n_experts,
                                 probability{(const float *)a->lse}, a->prob_sum, true);
    return status;
}

template <class T> axl_status run_bwd(axl_stream *s, const axl_route_bwd_args *a)
{
    return axl_cuda_launch(s, "route_bwd", route_bwd<T>, dim3(axl_cuda_blocks(a->n_tokens, TOKENS)),
                           dim3(AXL_THREADS), 0, *a);
}

// What follows from the sorted copies. Copies of one expert stand together, so the counts are differences of the places
// where experts begin and end.
__global__ void __launch_bounds__(AXL_THREADS)
    sort_results(axl_route_sort_args a, const int32_t *experts, const int32_t *order)
{
    const int64_t i = (int64_t)blockIdx.x * AXL_THREADS + threadIdx.x;

    if (i < a.n_copies) {
        const int32_t copy = order[i];
        a.copies[i] = copy;
        a.tokens[i] = copy / a.top_k;
        a.places[copy] = (int32_t)i;
    }
    if (i >= a.n_experts)
        return;
    int64_t bound[2]; // how many copies go to experts below i, and to those up to i
    for (int k = 0; k < 2; k++) {
        int64_t low = 0, high = a.n_copies;
        while (low < high) {
            const int64_t mid = (low + high) / 2;
            if (experts[mid] < i + k)
                low = mid + 1;
            else
                high = mid;
        }
        bound[k] = low;
    }
    a.counts[i] = (int32_t)(bound[1] - bound[0]);
}

} // namespace

extern "C" axl_status axl_cuda_route_fwd(axl_stream *s, const axl_route_args *a)
{
    return a->dtype == AXL_BF16  ? run_fwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_fwd<float>(s, a)
                                 : axl_cuda_no_dtype("route_fwd", a->dtype);
}

extern "C" axl_status axl_cuda_route_bwd(axl_stream *s, const axl_route_bwd_args *a)
{
    return a->dtype == AXL_BF16  ? run_bwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_bwd<float>(s, a)
                                 : axl_cuda_no_dtype("route_bwd", a->dtype);
}

extern "C" axl_status axl_cuda_route_sort(axl_stream *s, const axl_route_sort_args *a)
{
    axl_status status = AXL_OK;
    const int32_t *experts = nullptr, *order = nullptr;
    const int64_t most = a->n_copies > a->n_experts ? a->n_copies : a->n_experts;

    if (axl_sort_bytes(a->n_copies) > s->device->workspace_bytes)
        return axl_cuda_too_many("route_sort", a->n_copies, "copies");
    status = axl_sort_by_key(s, a->ids, a->n_copies, a->n_experts, s->device->workspace, &experts,
                             &order);
    if (status == AXL_OK)
        status =
            axl_cuda_launch(s, "route_sort", sort_results, dim3(axl_cuda_blocks(most, AXL_THREADS)),
                            dim3(AXL_THREADS), 0, *a, experts, order);
    return status;
}
