// Eager attention by tiles, bf16: scores are made twice, so that probabilities are written once and never read again.
//
// Forward, first pass over the keys: the top of each row and its sum. Second pass: the same scores again, the
// probabilities, their product with V. The bytes are then those of the probabilities, 4 a pair. Backward: dout . v is made
// in a pass for delta and again in one for dq; probabilities are 0 where a query does not see, so no mask is needed.
#include "kernels/cuda/attention_eager.cuh"
#include "kernels/cuda/attention_keys.cuh"
#include "kernels/cuda/attention_rows.cuh"

namespace
{

// Two neighbours, rounded to bf16.
__device__ __forceinline__ void round_pair(float &x, float &y)
{
    const unsigned bits = axl_pack_bf16(x, y);

    x = __uint_as_float(bits << 16);
    y = __uint_as_float(bits & 0xffff0000u);
}

// q . k to scores, with the roundings of eager attention.
template <int MT, int NT>
__device__ __forceinline__ void round_scores(const axl_attn_args &a, float (&s)[MT][NT][4])
{
    const float by_cap = a.softcap > 0.0f ? 2.0f * ATTN_LOG2E / a.softcap : 0.0f;

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                float &x = s[m][n][i], &y = s[m][n][i + 1];
                round_pair(x, y);
                x *= a.scale;
                y *= a.scale;
                round_pair(x, y);
                if (a.softcap > 0.0f) {
                    x = attn_cap(x, a.softcap, by_cap);
                    y = attn_cap(y, a.softcap, by_cap);
                    round_pair(x, y);
                }
            }
}

// This lane's columns of a tile join its rows' tops and sums.
template <int MT, int NT>
__device__ __forceinline__ void join_scores(row_state<MT> &r, const float (&s)[MT][NT][4])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = r.top[m][half];
#pragma unroll
            for (int n = 0; n < NT; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]) * ATTN_LOG2E);
            const float base = top == -INFINITY ? 0.0f : top;
            float sum = r.sum[m][half] * axl_exp2(r.top[m][half] - base);
#pragma unroll
            for (int n = 0; n < NT; n++)
                sum += axl_exp2(s[m][n][2 * half] * ATTN_LOG2E - base) +
                       axl_exp2(s[m][n][2 * half + 1] * ATTN_LOG2E - base);
            r.top[m][half] = top;
            r.sum[m][half] = sum;
        }
}

// The four lanes of a row agree; top becomes the lse in units of log 2, +inf where nothing is seen.
template <int MT> __device__ __forceinline__ void join_lanes(row_state<MT> &r)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = r.top[m][half];
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
            const float base = top == -INFINITY ? 0.0f : top;
            float sum = r.sum[m][half] * axl_exp2(r.top[m][half] - base);
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            r.top[m][half] = sum == 0.0f ? INFINITY : top + log2f(sum); // NaN must not hide
            r.sum[m][half] = sum;
        }
}

// The row of probabilities of a query and head.
template <class P>
__device__ __forceinline__ P *probs_of(P *probs, int64_t ld, const axl_attn_args &a, int64_t row,
                                       int head)
{
    return probs + (row * a.n_heads + head) * ld;
}

// Scores to probabilities, and to memory: keys at .. of rows that exist. Pairs may reach one past the sequence's end: a row
// has room for a multiple of 16.
template <int MT, int NT>
__device__ __forceinline__ void put_probs(const axl_attn_eager_args &e, const attn_query_tile &x,
                                          const row_state<MT> &r, int head, int warp_row, int at,
                                          int n_keys, float (&s)[MT][NT][4])
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + m * 16 + half * 8 + g;
            float *to =
                probs_of((float *)e.probs, e.ld_probs, e.fwd, x.row + row, head) + at + 2 * t;
#pragma unroll
            for (int n = 0; n < NT; n++) {
                float2 p;
                p.x = axl_exp2(s[m][n][2 * half] * ATTN_LOG2E - r.top[m][half]);
                p.y = axl_exp2(s[m][n][2 * half + 1] * ATTN_LOG2E - r.top[m][half]);
                s[m][n][2 * half] = p.x;
                s[m][n][2 * half + 1] = p.y;
                if (row < x.n && at + n * 8 + 2 * t < n_keys)
                    *reinterpret_cast<float2 *>(to + n * 8) = p;
            }
        }
}

// Zeros for keys at .. at + n of all rows of the block.
__device__ __forceinline__ void put_zeros(const axl_attn_eager_args &e, const attn_query_tile &x,
                                          int head, int at, int n)
{
    const int pairs = (n + 1) / 2;

    for (int i = (int)threadIdx.x; i < x.n * pairs; i += ATTN_THREADS) {
        float *to = probs_of((float *)e.probs, e.ld_probs, e.fwd, x.row + i / pairs, head) + at;
        *reinterpret_cast<float2 *>(to + i % pairs * 2) = make_float2(0.0f, 0.0f);
    }
}

template <int MT>
__device__ __forceinline__ void put_lse(const row_state<MT> &r, float *lse, int warp_row, int n)
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + m * 16 + half * 8 + g;
            if (t == 0 && row < n)
                lse[row] = r.sum[m][half] == 0.0f ? -INFINITY : r.top[m][half] * ATTN_LN2;
        }
}

struct eager_keys {
    const bf16 *k, *v; // of the sequence's first key
    int first, end;    // keys of the tiles that matter, from a multiple of BN on
};

// First pass: tops and sums. tiles: two of BN keys.
template <int D, int MT, int BN>
__device__ __forceinline__ void measure(const axl_attn_args &a, const attn_query_tile &x,
                                        const eager_keys &keys, int seq, int warp_row,
                                        const bf16 *q_tile, bf16 *tiles, row_state<MT> &r)
{
    constexpr int LD = attn_tile<D>::LD;
    int stage = 0;

    for (int at = keys.first; at < keys.end; at += BN) {
        float s[MT][BN / 8][4];

        axl_copy_wait<0>();
        __syncthreads(); // this tile is there, and the other was read by all
        if (at + BN < keys.end)
            attn_load<BN, D>(tiles + (stage ^ 1) * BN * LD, keys.k + (at + BN) * a.ldk, a.ldk,
                             keys.end - at - BN);
        axl_copy_commit();
        attn_mul_rows<MT, BN / 8, D>(s, q_tile + warp_row * LD + attn_left<D>(),
                                     tiles + stage * BN * LD + attn_right<D>());
        round_scores(a, s);
        if (at < x.full.begin || at + BN > x.full.end)
            mask_scores(a, seq, x.first + warp_row, at, x.keys.end, s);
        join_scores(r, s);
        stage ^= 1;
    }
    join_lanes(r);
}

template <int D, int MT, int BN>
__device__ __forceinline__ void eager_attend(const axl_attn_eager_args &e, const attn_item &item,
                                             bf16 *shared)
{
    constexpr int BM = ATTN_WARPS * MT * 16, LD = attn_tile<D>::LD;
    const axl_attn_args &a = e.fwd;
    const attn_query_tile x = attn_query_tile_of(a, item, BM);
    const int warp_row = (int)(threadIdx.x / 32u) * MT * 16;
    const int64_t head_kv = item.head / (a.n_heads / a.n_kv_heads);
    const int64_t key_row = a.cu_seqlens_k[item.seq];
    const int n_keys = a.cu_seqlens_k[item.seq + 1] - (int)key_row;
    const eager_keys keys = {(const bf16 *)a.k + key_row * a.ldk + head_kv * D,
                             (const bf16 *)a.v + key_row * a.ldv + head_kv * D,
                             x.keys.begin / BN * BN, x.keys.end};
    const bool some = x.keys.begin < x.keys.end;
    bf16 *q_tile = shared, *k_tile = q_tile + BM * LD, *v_tile = k_tile + BN * LD;
    float o[MT][D / 8][4];
    row_state<MT> r;

    begin_rows(r);
    if (some) {
        attn_load<BM, D>(q_tile, (const bf16 *)a.q + x.row * a.ldq + (int64_t)item.head * D, a.ldq,
                         x.n);
        attn_load<BN, D>(k_tile, keys.k + keys.first * a.ldk, a.ldk, keys.end - keys.first);
        axl_copy_commit();
        measure<D, MT, BN>(a, x, keys, item.seq, warp_row, q_tile, k_tile, r);
        __syncthreads(); // the tiles were read by all
        attn_load<BN, D>(k_tile, keys.k + keys.first * a.ldk, a.ldk, keys.end - keys.first);
        axl_copy_commit();
    } else {
        join_lanes(r);
    }
    attn_clear(o);
    for (int at = some ? keys.first : keys.end; at < keys.end; at += BN) {
        float s[MT][BN / 8][4];

        axl_copy_wait<0>();
        __syncthreads(); // K is there, and V of the step before was read by all
        attn_load<BN, D>(v_tile, keys.v + at * a.ldv, a.ldv, keys.end - at);
        axl_copy_commit();
        attn_mul_rows<MT, BN / 8, D>(s, q_tile + warp_row * LD + attn_left<D>(),
                                     k_tile + attn_right<D>());
        round_scores(a, s);
        if (at < x.full.begin || at + BN > x.full.end)
            mask_scores(a, item.seq, x.first + warp_row, at, x.keys.end, s);
        put_probs(e, x, r, item.head, warp_row, at, n_keys, s);
        axl_copy_wait<0>();
        __syncthreads(); // V is there, and K was read by all
        if (at + BN < keys.end)
            attn_load<BN, D>(k_tile, keys.k + (at + BN) * a.ldk, a.ldk, keys.end - at - BN);
        axl_copy_commit();
        attn_mul_columns<MT, BN / 8, D>(o, s, v_tile + attn_left<D>());
    }
    // what no tile held
    const int begin = some ? keys.first : 0;
    const int end = some ? keys.first + (keys.end - keys.first + BN - 1) / BN * BN : 0;
    put_zeros(e, x, item.head, 0, begin);
    if (end < n_keys)
        put_zeros(e, x, item.head, end, n_keys - end);
    attn_write((bf16 *)a.out + x.row * a.ldo + (int64_t)item.head * D, a.ldo, o, 1.0f, warp_row,
               x.n, false);
    put_lse(r, (float *)a.lse + (int64_t)item.head * a.cu_seqlens_q[a.n_seqs] + x.row, warp_row,
            x.n);
}

template <int D, int MT, int BN>
__global__ void __launch_bounds__(ATTN_THREADS, 2)
    attn_eager_fwd(axl_attn_eager_args e, attn_work *work)
{
    AXL_DYNAMIC_SHARED(bf16, shared);
    AXL_SHARED_ARRAY(int, slot, 1);
    attn_item item;

    while (attn_next(work, e.fwd.n_heads, slot, &item))
        eager_attend<D, MT, BN>(e, item, shared);
}

// ---- backward

// From dout . v to the gradient by r(q . k), in place. Two neighbours of a row: p, then dp.
struct eager_rule {
    float scale, cap_by_log2; // cap_by_log2: log(2) / softcap, 0 without one
};

__device__ __forceinline__ eager_rule eager_rule_of(const axl_attn_args &a)
{
    return {a.scale, a.softcap > 0.0f ? ATTN_LN2 / a.softcap : 0.0f};
}

// lse in units of log 2.
__device__ __forceinline__ float slope_of(const eager_rule &rule, float p, float lse)
{
    const float u = p > 0.0f ? (log2f(p) + lse) * rule.cap_by_log2 : 0.0f;

    return 1.0f - u * u;
}

// x, y: dp of two pairs; become ds.
__device__ __forceinline__ void eager_ds(const eager_rule &rule, float px, float py, float delta_x,
                                         float delta_y, float lse_x, float lse_y, float &x,
                                         float &y)
{
    round_pair(x, y);
    x = px * (x - delta_x);
    y = py * (y - delta_y);
    round_pair(x, y);
    if (rule.cap_by_log2 > 0.0f) {
        x *= slope_of(rule, px, lse_x);
        y *= slope_of(rule, py, lse_y);
        round_pair(x, y);
    }
    x *= rule.scale;
    y *= rule.scale; // rounded where they become left factors
}

// Probabilities of a warp's rows and the keys at .. end.
template <int MT, int NT>
__device__ __forceinline__ void take_probs(const axl_attn_eager_bwd_args &e,
                                           const attn_query_tile &x, int head, int warp_row, int at,
                                           int end, float (&p)[MT][NT][4])
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + m * 16 + half * 8 + g;
            const float *from =
                probs_of((const float *)e.probs, e.ld_probs, e.bwd.fwd, x.row + row, head) + at;
#pragma unroll
            for (int n = 0; n < NT; n++) {
                const int key = n * 8 + 2 * t;
                const bool there = row < x.n && at + key < end;
                const float2 v =
                    there ? *reinterpret_cast<const float2 *>(from + key) : make_float2(0.0f, 0.0f);
                p[m][n][2 * half] = v.x;
                p[m][n][2 * half + 1] = at + key + 1 < end ? v.y : 0.0f;
            }
        }
}

// delta joins p dp (roundings as in eager_ds).
template <int MT, int NT>
__device__ __forceinline__ void join_delta(const float (&p)[MT][NT][4], float (&dp)[MT][NT][4],
                                           float (&delta)[MT][2])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                round_pair(dp[m][n][i], dp[m][n][i + 1]);
                delta[m][i / 2] += p[m][n][i] * dp[m][n][i] + p[m][n][i + 1] * dp[m][n][i + 1];
            }
}

// The four lanes of a row agree; one writes.
template <int MT>
__device__ __forceinline__ void end_delta(float (&delta)[MT][2], float *to, int warp_row, int n)
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float &sum = delta[m][half];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            const int row = warp_row + m * 16 + half * 8 + g;
            if (t == 0 && row < n)
                to[row] = sum;
        }
}

template <int MT, int NT>
__device__ __forceinline__ void
differentiate_rows(const eager_rule &rule, const float (&p)[MT][NT][4], float (&dp)[MT][NT][4],
                   const float (&delta)[MT][2], const float *lse, int warp_row, int n_rows)
{
    const int g = (int)(threadIdx.x % 32u / 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + m * 16 + half * 8 + g;
            const float own = rule.cap_by_log2 > 0.0f && row < n_rows ? lse_of(lse[row]) : 0.0f;
#pragma unroll
            for (int n = 0; n < NT; n++)
                eager_ds(rule, p[m][n][2 * half], p[m][n][2 * half + 1], delta[m][half],
                         delta[m][half], own, own, dp[m][n][2 * half], dp[m][n][2 * half + 1]);
        }
}

template <int D, int MT, int BN, class G>
__device__ __forceinline__ void make_eager_dq(const axl_attn_eager_bwd_args &e,
                                              const attn_item &item, bf16 *shared)
{
    constexpr int BM = ATTN_WARPS * MT * 16, LD = attn_tile<D>::LD;
    const axl_attn_bwd_args &b = e.bwd;
    const axl_attn_args &a = b.fwd;
    const attn_query_tile x = attn_query_tile_of(a, item, BM);
    const int warp_row = (int)(threadIdx.x / 32u) * MT * 16;
    const int64_t head_kv = item.head / (a.n_heads / a.n_kv_heads);
    const int64_t stat = (int64_t)item.head * a.cu_seqlens_q[a.n_seqs] + x.row;
    const int first = x.keys.begin / 2 * 2, end = x.keys.end; // probabilities come in pairs
    const int64_t key_row = a.cu_seqlens_k[item.seq] + first;
    bf16 *dout_tile = shared, *tiles = dout_tile + BM * LD;
    const eager_rule rule = eager_rule_of(a);
    float dq[MT][D / 8][4], delta[MT][2] = {};

    attn_clear(dq);
    if (first < end)
        attn_load<BM, D>(dout_tile, (const bf16 *)b.dout + x.row * a.ldo + (int64_t)item.head * D,
                         a.ldo, x.n);
#pragma unroll 1
    for (int pass = 0; pass < 2; pass++) {
        const bf16 *k = (const bf16 *)a.k + key_row * a.ldk + head_kv * D;
        const bf16 *v = (const bf16 *)a.v + key_row * a.ldv + head_kv * D;
        int stage = 0;

        __syncthreads(); // the tiles of the pass before were read by all
        if (first < end) {
            attn_load<BN, D>(tiles, v, a.ldv, end - first);
            if (pass == 1)
                attn_load<BN, D>(tiles + BN * LD, k, a.ldk, end - first);
        }
        axl_copy_commit();
#pragma unroll 1
        for (int at = first; at < end; at += BN) {
            const bf16 *v_tile = tiles + stage * 2 * BN * LD;
            float p[MT][BN / 8][4], dp[MT][BN / 8][4];

            take_probs(e, x, item.head, warp_row, at, end, p);
            axl_copy_wait<0>();
            __syncthreads(); // this stage is there, and the other was read by all
            stage ^= 1;
            v += BN * a.ldv;
            k += BN * a.ldk;
            if (at + BN < end) {
                attn_load<BN, D>(tiles + stage * 2 * BN * LD, v, a.ldv, end - at - BN);
                if (pass == 1)
                    attn_load<BN, D>(tiles + (stage * 2 + 1) * BN * LD, k, a.ldk, end - at - BN);
            }
            axl_copy_commit();
            attn_mul_rows<MT, BN / 8, D>(dp, dout_tile + warp_row * LD + attn_left<D>(),
                                         v_tile + attn_right<D>());
            if (pass == 0) {
                join_delta(p, dp, delta);
            } else {
                differentiate_rows(rule, p, dp, delta, (const float *)a.lse + stat, warp_row, x.n);
                attn_mul_columns<MT, BN / 8, D>(dq, dp, v_tile + BN * LD + attn_left<D>());
            }
        }
        if (pass == 0)
            end_delta(delta, (float *)e.delta + stat, warp_row, x.n);
    }
    axl_copy_wait<0>();
    attn_write((G *)b.dq + x.row * a.ldq + (int64_t)item.head * D, a.ldq, dq, 1.0f, warp_row, x.n,
               b.accumulate_dq);
}

// Probabilities of a warp's keys (rows) by the queries at .. end (columns).
template <int MT, int NT>
__device__ __forceinline__ void take_probs_t(const axl_attn_eager_bwd_args &e, const key_tile &x,
                                             int head, int warp_row, int at, float (&p)[MT][NT][4])
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int query = at + n * 8 + 2 * t + i;
            const float *from =
                probs_of((const float *)e.probs, e.ld_probs, e.bwd.fwd, x.query_row + query, head) +
                x.first;
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int key = warp_row + m * 16 + half * 8 + g;
                    p[m][n][2 * half + i] = query < x.queries.end && key < x.n ? from[key] : 0.0f;
                }
        }
}

template <int D, int MT, int NT>
__device__ __forceinline__ void differentiate_columns(const eager_rule &rule,
                                                      const float (&p)[MT][NT][4],
                                                      float (&dp)[MT][NT][4], const float *stats)
{
    const int t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int n = 0; n < NT; n++) {
        const float *lse = stats + stat_place<D>(n * 8 + 2 * t);
        const float *delta = stats + stat_place<D>(n * 8 + 2 * t + NT * 8);
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int i = 0; i < 4; i += 2)
                eager_ds(rule, p[m][n][i], p[m][n][i + 1], delta[0], delta[1], lse[0], lse[1],
                         dp[m][n][i], dp[m][n][i + 1]);
    }
}

struct eager {
    using args = axl_attn_eager_bwd_args;
    using rule = eager_rule;
    static constexpr bool SCORES = false;
    static constexpr int QUERIES_64 = 32;

    __host__ __device__ static axl_attn_bwd_args bwd(const args &e)
    {
        axl_attn_bwd_args b = e.bwd;
        b.delta = e.delta; // what the pass for dq has left
        return b;
    }
    __device__ static float scale(const axl_attn_args &) { return 1.0f; } // the gradients have it
    __device__ static rule rule_of(const axl_attn_args &a) { return eager_rule_of(a); }
    template <int MT, int NT>
    static __device__ __forceinline__ void take(const args &e, const key_tile &x,
                                                const key_step &step, float (&p)[MT][NT][4])
    {
        take_probs_t(e, x, step.head, step.warp_row, step.at, p);
    }
    template <int D, int MT, int NT>
    static __device__ __forceinline__ void
    differentiate(const axl_attn_args &, const rule &rule, const key_tile &, const key_step &,
                  const float (&p)[MT][NT][4], float (&ds)[MT][NT][4], const float *stats)
    {
        differentiate_columns<D>(rule, p, ds, stats);
    }
    template <int D, int MT, int BN, class G>
    static __device__ __forceinline__ void make_dq(const args &e, const attn_item &item,
                                                   bf16 *shared)
    {
        make_eager_dq<D, MT, BN, G>(e, item, shared);
    }
};

// ---- on the host

template <int D, int MT, int BN> axl_status run_fwd(axl_stream *s, const axl_attn_eager_args *e)
{
    constexpr int BM = ATTN_WARPS * MT * 16, bytes = attn_tile_bytes<BM + 2 * BN, D>();

    return attn_run(s, "attn_eager_fwd", attn_eager_fwd<D, MT, BN>, &e->fwd,
                    {false, BM, e->fwd.n_heads, bytes, attn_workspace(s)}, *e);
}

} // namespace

bool axl_cuda_attn_eager_is_tiled(const axl_stream *s, const axl_attn_args *a, const void *probs)
{
    return axl_cuda_attn_is_tiled(s, a) && !a->out_f32 && (uintptr_t)probs % 8 == 0;
}

axl_status axl_cuda_attn_eager_fwd_tiled(axl_stream *s, const axl_attn_eager_args *e)
{
    return e->fwd.head_dim == 64    ? run_fwd<64, 2, 64>(s, e)
           : e->fwd.head_dim == 96  ? run_fwd<96, 2, 32>(s, e)
           : e->fwd.head_dim == 128 ? run_fwd<128, 2, 32>(s, e)
                                    : run_fwd<256, 1, 32>(s, e);
}

axl_status axl_cuda_attn_eager_bwd_tiled(axl_stream *s, const axl_attn_eager_bwd_args *e)
{
    return e->bwd.dtype_grad == AXL_F32 ? run_bwd<eager, float>(s, e) : run_bwd<eager, bf16>(s, e);
}
