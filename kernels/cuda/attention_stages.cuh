// How tiles come to attention by warpgroups (attention_fwd_wgmma.cu, attention_bwd_wgmma.cu): what lies where in shared memory, who
// waits for whom, the steps of a tile of queries, what is seen in them, the copies, and the products.
#ifndef AXL_KERNELS_CUDA_ATTENTION_STAGES_CUH
#define AXL_KERNELS_CUDA_ATTENTION_STAGES_CUH

#include "kernels/cuda/attention_keys.cuh"
#include "kernels/cuda/warpgroup.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace
{

constexpr int GROUPS = 2;                 // warpgroups that multiply
constexpr int MULTIPLIERS = GROUPS * 128; // the block's first threads; the copiers follow
constexpr int COPIERS = 128;
constexpr int THREADS = MULTIPLIERS + COPIERS;
constexpr int HELD_ROWS = GROUPS * 64; // of the tile that stays
constexpr int GROUP_BYTES = 64 * 128;  // from a warpgroup's rows of it to the next one's
// The launch gives 168 a thread.
constexpr int MULTIPLIER_REGISTERS = 232, COPIER_REGISTERS = 40;

// ---- shared memory: tiles that stay, stages of two tiles each, statistics, the item. A tile of R rows is D / 64 blocks of R
// rows of 128 bytes, whose pieces of 16 bytes are exchanged by the row's last three bits.

template <int D_, int STEP_, int STAGES_, int N_HELD, int N_STATS> struct group_shape {
    static constexpr int D = D_;
    static constexpr int STEP = STEP_;     // rows of a tile that comes
    static constexpr int STAGES = STAGES_; // of which so many are there
    static constexpr int HELD = HELD_ROWS * D * 2, MOVING = STEP * D * 2; // bytes of a tile
    static constexpr int FIRST = N_HELD * HELD;                           // stages
    static constexpr int STATS = FIRST + STAGES * 2 * MOVING;
    static constexpr int SLOT = STATS + N_STATS * 4;
    static constexpr int BYTES = SLOT + 16;
    static_assert(BYTES <= 227 << 10, "what a block has");
    // Gradients: whether the last sum of a step goes on beside the next one's scores. There must be registers for both.
    static constexpr bool DEEP = D == 64;

    // barriers: of a stage and a group FULL, of a stage EMPTY, of a group ORDER
    static constexpr int HELD_EMPTY = 1, TURN = 2, HELD_FULL = 3, EMPTY = HELD_FULL + GROUPS,
                         FULL = EMPTY + STAGES, ORDER = FULL + STAGES * GROUPS;
    static_assert(ORDER + GROUPS <= 16, "barriers that there are");
};

// ---- barriers

// The number of this thread's warpgroup, the same register in all of its lanes.
__device__ __forceinline__ int warpgroup()
{
    return __shfl_sync(0xffffffffu, (int)(threadIdx.x / 128u), 0);
}

__device__ __forceinline__ bool item_of(const attn_work *work, int n_heads, unsigned i,
                                        attn_item *item)
{
    if (i >= work->n_tiles * (unsigned)n_heads)
        return false;
    const int2 tile = work->tiles[i / (unsigned)n_heads];
    *item = {tile.x, tile.y, (int)(i % (unsigned)n_heads)};
    return true;
}

// The number of the item whose tiles the copiers have brought.
template <class shape> __device__ __forceinline__ unsigned next_item(const char *shared, int group)
{
    axl_barrier_wait(shape::HELD_FULL + group, COPIERS + 128);
    return *(const unsigned *)(shared + shape::SLOT);
}

// The tiles that stay, and the item, have been read by this warpgroup.
template <class shape> __device__ __forceinline__ void release_held()
{
    axl_barrier_arrive(shape::HELD_EMPTY, COPIERS + MULTIPLIERS);
}

// The stages as a warpgroup goes through them.
template <class shape> struct stage_ring {
    int at = shape::STAGES - 1; // of the step
    int held = -1;              // not released yet, beside it

    __device__ __forceinline__ int stage() const { return at; }

    // Goes on to the next stage and waits until it is full.
    __device__ __forceinline__ const char *wait(const char *shared, int group)
    {
        at = at + 1 < shape::STAGES ? at + 1 : 0;
        axl_barrier_wait(shape::FULL + at * GROUPS + group, COPIERS + 128);
        return shared + shape::FIRST + at * 2 * shape::MOVING;
    }

    // All products of this step have been made: its stage is free.
    __device__ __forceinline__ void release() const
    {
        axl_barrier_arrive(shape::EMPTY + at, COPIERS + MULTIPLIERS);
    }

    // Where that is told a step later: all of the steps before have been made.
    __device__ __forceinline__ void release_before()
    {
        release_last();
        held = at;
    }

    // Those of the last one, too.
    __device__ __forceinline__ void release_last()
    {
        if (held >= 0)
            axl_barrier_arrive(shape::EMPTY + held, COPIERS + MULTIPLIERS);
        held = -1;
    }
};

// ---- what is seen, as ranges of the tile that comes: positions ascend

// How many rows stand before a position, of those from low to high.
__device__ __forceinline__ int rows_before(const attn_rows &rows, int64_t position, int low,
                                           int high)
{
    if (rows.positions == nullptr)
        return (int)min(max(position - rows.first, (int64_t)low), (int64_t)high);
    while (low < high) {
        const int middle = (low + high) / 2;
        if (rows.positions[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Of rows low to high of the keys, those that a query sees.
__device__ __forceinline__ attn_range keys_of(const axl_attn_args &a, const attn_rows &queries,
                                              const attn_rows &keys, int query, int low, int high)
{
    const int q = queries.position(min(query, queries.n - 1));

    return {a.window > 0 ? rows_before(keys, (int64_t)q - a.window + 1, low, high) : low,
            rows_before(keys, q < keys.free ? (int64_t)keys.free : (int64_t)q + 1, low, high)};
}

// Of rows low to high of the queries, those that see a key.
__device__ __forceinline__ attn_range queries_of(const axl_attn_args &a, const attn_rows &queries,
                                                 const attn_rows &keys, int key, int low, int high)
{
    const int k = keys.position(min(key, keys.n - 1));

    return {k < queries.free ? low : rows_before(queries, k, low, high),
            a.window > 0 ? rows_before(queries, (int64_t)k + a.window, low, high) : high};
}

// A bit for each of this lane's columns, two of each 8, that stand before column n of a tile.
__device__ __forceinline__ unsigned columns_before(int n)
{
    const int from = n - 2 * (int)(threadIdx.x % 4u);
    const int count = from <= 0 ? 0 : from / 8 * 2 + min(from % 8, 2);

    return count < 32 ? (1u << count) - 1u : ~0u;
}

// Columns, the first of which is `at`, outside a row's range become `unseen`.
template <int NT>
__device__ __forceinline__ void hide(float (&s)[NT][4], const attn_range (&rows)[2], int at,
                                     float unseen)
{
    static_assert(NT <= 16, "two bits for each 8 columns");
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const unsigned seen =
            columns_before(rows[half].end - at) & ~columns_before(rows[half].begin - at);
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                if ((seen >> (2 * n + i) & 1u) == 0)
                    s[n][2 * half + i] = unseen;
    }
}

// ---- copies

// Begins to copy rows to a tile; rows from n on become zeros. thread: of so many.
template <int D, int ROWS, int threads>
__device__ __forceinline__ void copy_rows(char *tile, const bf16 *rows, int64_t ld, int n,
                                          int thread)
{
    constexpr int AT_ONCE = threads / 8; // 8 lanes copy 128 bytes of a row
    const int row = thread / 8, piece = thread % 8;
    const bf16 *from = rows + row * ld + piece * 8;
    char *to = tile + row * 128 + (piece ^ row % 8) * 16;

    static_assert(AT_ONCE % 8 == 0, "a thread's pieces are exchanged alike");
#pragma unroll 2
    for (int i = 0; i < ROWS; i += AT_ONCE) {
#pragma unroll
        for (int block = 0; block < D / 64; block++)
            axl_copy16_async(to + i * 128 + block * ROWS * 128, from + block * 64, row + i < n);
        from += AT_ONCE * ld;
    }
}

// Begins to copy the rows of k, or of v, that a head reads, from row `at` of a sequence on.
template <class shape>
__device__ __forceinline__ void copy_keys(const axl_attn_args &a, const attn_item &item,
                                          const void *rows, int64_t ld, char *tile, int at, int end,
                                          int thread)
{
    const int64_t row = a.cu_seqlens_k[item.seq] + at;
    const int64_t head = item.head / (a.n_heads / a.n_kv_heads);

    copy_rows<shape::D, shape::STEP, COPIERS>(tile, (const bf16 *)rows + row * ld + head * shape::D,
                                              ld, end - at, thread);
}

// The keys that a tile of queries sees, a step of them at a time.
template <class shape> struct seen_keys {
    attn_query_tile x;
    int at;

    __device__ __forceinline__ seen_keys(const axl_attn_args &a, const attn_item &item)
        : x(attn_query_tile_of(a, item, HELD_ROWS)), at(x.keys.begin)
    {
    }
    __device__ __forceinline__ bool more() const { return at < x.keys.end; }
    __device__ __forceinline__ void next() { at += shape::STEP; }
    __device__ __forceinline__ bool is_last() const { return at + shape::STEP >= x.keys.end; }
    __device__ __forceinline__ bool is_border() const // not all pairs of the step are seen
    {
        return at < x.full.begin || at + shape::STEP > x.full.end;
    }
    // What is not seen becomes `unseen`. warp_row: the warp's first row of the tile.
    __device__ __forceinline__ void mask(const axl_attn_args &a, const attn_item &item,
                                         int warp_row, float (&s)[shape::STEP / 8][4],
                                         float unseen) const
    {
        const attn_rows queries = attn_queries(a, item.seq), keys = attn_keys(a, item.seq);
        const int row = item.tile * HELD_ROWS + warp_row + (int)(threadIdx.x % 32u / 4u),
                  end = min(at + shape::STEP, x.keys.end);

        hide(s,
             {keys_of(a, queries, keys, row, at, end), keys_of(a, queries, keys, row + 8, at, end)},
             at, unseen);
    }
};

// This thread's copies to a stage are there, for products too, and those to what stays: those who wait are told.
template <class shape> __device__ __forceinline__ void tell(int stage, bool &told_held)
{
    axl_wgmma_publish();
    for (int group = 0; group < GROUPS && !told_held; group++)
        axl_barrier_arrive(shape::HELD_FULL + group, COPIERS + 128);
    told_held = true;
    for (int group = 0; group < GROUPS; group++)
        axl_barrier_arrive(shape::FULL + stage * GROUPS + group, COPIERS + 128);
}

// What the copiers do: items, one after the other, until none is left, which they tell as well. Of three stages one is told of when
// the next one's copies have begun: they do not wait for each other.
template <class shape, class steps, class Args>
__device__ __forceinline__ void copy_items(const Args &b, attn_work *work, int n_heads,
                                           char *shared)
{
    constexpr int AHEAD = shape::STAGES > 2 ? 1 : 0; // with two the next one is not free yet
    const int thread = (int)threadIdx.x - MULTIPLIERS;
    unsigned *slot = (unsigned *)(shared + shape::SLOT);
    int turn = 0; // steps so far
    bool first = true;

    for (;; first = false) {
        attn_item item;
        unsigned next = 0;
        if (thread == 0)
            next = atomicAdd(&work->next, 1u);
        if (!first)
            axl_barrier_wait(shape::HELD_EMPTY, COPIERS + MULTIPLIERS);
        if (thread == 0)
            *slot = next;
        axl_barrier_wait(shape::TURN, COPIERS);
        const bool is_item = item_of(work, n_heads, *slot, &item);
        bool told = false; // that the tiles that stay are there
        if (is_item) {
            int behind = -1; // the stage to be told of
            steps at(b, item);
            if (at.more())
                at.copy_held(b, item, shared, thread);
            for (; at.more(); at.next(), turn++) {
                const int stage = turn % shape::STAGES;
                if (turn >= shape::STAGES)
                    axl_barrier_wait(shape::EMPTY + stage, COPIERS + MULTIPLIERS);
                at.copy_step(b, item, shared, stage, thread);
                axl_copy_commit();
                axl_copy_wait<AHEAD>();
                if (AHEAD == 0 || behind >= 0)
                    tell<shape>(AHEAD == 0 ? stage : behind, told);
                behind = stage;
            }
            axl_copy_wait<0>();
            if (AHEAD > 0 && behind >= 0)
                tell<shape>(behind, told);
        }
        for (int group = 0; group < GROUPS && !told; group++)
            axl_barrier_arrive(shape::HELD_FULL + group, COPIERS + 128);
        if (!is_item)
            break;
    }
    // whoever comes to a barrier is waited for
    for (int end = turn + shape::STAGES; turn < end; turn++)
        if (turn >= shape::STAGES)
            axl_barrier_wait(shape::EMPTY + turn % shape::STAGES, COPIERS + MULTIPLIERS);
}

// ---- products of a warpgroup

// x = A B^T: this warpgroup's 64 rows of a tile that stays by the rows of one that came, over D.
template <class shape, int NT>
__device__ __forceinline__ void multiply_rows(float (&x)[NT][4], const char *a, const char *b)
{
    const uint64_t left = axl_wgmma_factor<true, 128>(a, 0),
                   right = axl_wgmma_factor<true, 128>(b, 0);

    axl_wgmma_begin(x);
#pragma unroll
    for (int k = 0; k < shape::D / 16; k++)
        axl_wgmma_bf16<true, true>(x, axl_wgmma_further(left, k / 4 * HELD_ROWS * 128 + k % 4 * 32),
                                   axl_wgmma_further(right, k / 4 * shape::STEP * 128 + k % 4 * 32),
                                   k > 0);
    axl_wgmma_commit();
}

// Weights, rounded, become a left factor in registers, of 16 K columns from first * 8 on.
template <int K, int NT>
__device__ __forceinline__ void pack_left(unsigned (&left)[K][4], const float (&p)[NT][4],
                                          int first)
{
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float(&from)[4] = p[first + 2 * k + i / 2];
            left[k][i] = axl_pack_bf16(from[i % 2 * 2], from[i % 2 * 2 + 1]);
        }
}

// x += A B: A in registers, of 16 K columns; they are the rows of B from row `first` of a tile that came on.
template <class shape, int ND, int K>
__device__ __forceinline__ void multiply_columns(float (&x)[ND][4], unsigned (&left)[K][4],
                                                 const char *b, int first)
{
    const uint64_t right = axl_wgmma_factor<false>(b + first * 128, shape::STEP * 128);

    axl_wgmma_hold(left);
    axl_wgmma_begin(x);
#pragma unroll
    for (int k = 0; k < K; k++)
        axl_wgmma_bf16<false>(x, left[k], axl_wgmma_further(right, k * 16 * 128));
    axl_wgmma_commit();
}

// x / y; to 2 units of the last place on the chip, where the exact one calls a function.
__device__ __forceinline__ float quotient(float x, float y)
{
#ifdef AXL_CUDA_EMU
    return x / y;
#else
    return __fdividef(x, y);
#endif
}

// ---- on the host

// One block a multiprocessor: more find no room.
inline dim3 group_grid(const axl_stream *s, const axl_attn_args *a, bool keys)
{
    const int64_t items = attn_most_tiles(a, keys, HELD_ROWS) * (keys ? a->n_kv_heads : a->n_heads);
    const int64_t most = axl_cuda_n_multiprocessors(s->device);

    return dim3((unsigned)(items < most ? items : most));
}

} // namespace

#endif
