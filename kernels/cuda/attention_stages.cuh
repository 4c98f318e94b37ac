// How tiles come to the gradients by warpgroups (attention_bwd_wgmma.cu): what lies where in shared memory, who waits for whom, the
// steps of a tile, what is seen in them, and the copies.
#ifndef AXL_KERNELS_CUDA_ATTENTION_STAGES_CUH
#define AXL_KERNELS_CUDA_ATTENTION_STAGES_CUH

#include "kernels/cuda/attention_keys.cuh"
#include "kernels/cuda/warpgroup.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace
{

constexpr int GROUPS = 2;                 // warpgroups that multiply
constexpr int MULTIPLIERS = GROUPS * 128; // the block's first threads; the copiers follow
constexpr int COPIERS = 128, PAIR = 64;   // PAIR: the copiers of a stage
constexpr int THREADS = MULTIPLIERS + COPIERS;
constexpr int HELD_ROWS = GROUPS * 64; // of the tile that stays
constexpr int GROUP_BYTES = 64 * 128;  // from a warpgroup's rows of it to the next one's
// The launch gives 168 a thread.
constexpr int MULTIPLIER_REGISTERS = 232, COPIER_REGISTERS = 40;

// ---- shared memory: two tiles that stay, stages of two tiles each, statistics, the item. A tile of R rows is D / 64 blocks of R
// rows of 128 bytes, whose pieces of 16 bytes are exchanged by the row's last three bits.

template <int D_, int STEP_, int STAGES_, int N_STATS> struct group_shape {
    static constexpr int D = D_;
    static constexpr int STEP = STEP_;     // rows of a tile that comes
    static constexpr int STAGES = STAGES_; // of which so many are there
    static constexpr int HELD = HELD_ROWS * D * 2, MOVING = STEP * D * 2; // bytes of a tile
    static constexpr int FIRST = 2 * HELD;                                // stages
    static constexpr int STATS = FIRST + STAGES * 2 * MOVING;
    static constexpr int SLOT = STATS + N_STATS * 4;
    static constexpr int BYTES = SLOT + 16;
    static_assert(BYTES <= 227 << 10, "what a block has");
    // Whether the last sum of a step goes on beside the next one's scores: there must be registers for both.
    static constexpr bool DEEP = D == 64;

    // barriers: of a stage and a group FULL, of a stage EMPTY
    static constexpr int HELD_EMPTY = 1, TURN = 2, HELD_FULL = 3, EMPTY = HELD_FULL + GROUPS,
                         FULL = EMPTY + STAGES;
    static_assert(FULL + STAGES * GROUPS <= 16, "barriers that there are");
};

// Statistics are lse and delta of a tile's rows. With a softcap a step of 128 keys would take more registers than there are at 128.
template <int D, bool CAP>
using dq_shape =
    group_shape<D, D == 128 && CAP ? 64 : 128, D == 128 && !CAP ? 2 : 3, 2 * HELD_ROWS>;
template <int D> using dkv_shape = group_shape<D, 64, 3, 3 * 2 * 64>;

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
        axl_barrier_wait(shape::FULL + at * GROUPS + group, PAIR + 128);
        return shared + shape::FIRST + at * 2 * shape::MOVING;
    }

    // All products of this step have been made: its stage is free.
    __device__ __forceinline__ void release() const
    {
        axl_barrier_arrive(shape::EMPTY + at, PAIR + MULTIPLIERS);
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
            axl_barrier_arrive(shape::EMPTY + held, PAIR + MULTIPLIERS);
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

// Weights of columns, the first of which is `at`, outside a row's range become 0.
template <int NT>
__device__ __forceinline__ void hide(float (&s)[NT][4], const attn_range (&rows)[2], int at)
{
    const int first = at + 2 * (int)(threadIdx.x % 4u);

#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int column = first + n * 8 + i % 2;
            if (column < rows[i / 2].begin || column >= rows[i / 2].end)
                s[n][i] = 0.0f;
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

// A row's lse, in units of log 2, and delta. there: the row is one of the sequence's.
__device__ __forceinline__ void copy_stats(float *lse, float *delta, const axl_attn_bwd_args &b,
                                           int head, int64_t row, bool there)
{
    const int64_t from = (int64_t)head * b.fwd.cu_seqlens_q[b.fwd.n_seqs] + row;

    *lse = there ? lse_of(((const float *)b.fwd.lse)[from]) : INFINITY;
    *delta = there ? ((const float *)b.delta)[from] : 0.0f;
}

// The steps of a tile of queries: over the keys that they see.
template <class shape> struct query_steps {
    attn_query_tile x;
    int at;

    __device__ __forceinline__ query_steps(const axl_attn_bwd_args &b, const attn_item &item)
        : x(attn_query_tile_of(b.fwd, item, HELD_ROWS)), at(x.keys.begin)
    {
    }
    __device__ __forceinline__ bool more() const { return at < x.keys.end; }
    __device__ __forceinline__ void next() { at += shape::STEP; }
    __device__ __forceinline__ bool is_last() const { return at + shape::STEP >= x.keys.end; }
    __device__ __forceinline__ bool is_border() const // not all pairs of the step are seen
    {
        return at < x.full.begin || at + shape::STEP > x.full.end;
    }
    // Weights of what is not seen become 0. warp_row: the warp's first row of the tile.
    __device__ __forceinline__ void mask(const axl_attn_args &a, const attn_item &item,
                                         int warp_row, float (&s)[shape::STEP / 8][4]) const
    {
        const attn_rows queries = attn_queries(a, item.seq), keys = attn_keys(a, item.seq);
        const int row = item.tile * HELD_ROWS + warp_row + (int)(threadIdx.x % 32u / 4u),
                  end = min(at + shape::STEP, x.keys.end);

        hide(s,
             {keys_of(a, queries, keys, row, at, end), keys_of(a, queries, keys, row + 8, at, end)},
             at);
    }

    __device__ __forceinline__ void copy_held(const axl_attn_bwd_args &b, const attn_item &item,
                                              char *shared, int thread) const
    {
        const axl_attn_args &a = b.fwd;
        const int64_t q = x.row * a.ldq + (int64_t)item.head * shape::D,
                      o = x.row * a.ldo + (int64_t)item.head * shape::D;
        float *stats = (float *)(shared + shape::STATS) + thread;

        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared, (const bf16 *)a.q + q, a.ldq, x.n, thread);
        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared + shape::HELD, (const bf16 *)b.dout + o,
                                                a.ldo, x.n, thread);
        copy_stats(stats, stats + HELD_ROWS, b, item.head, x.row + thread, thread < x.n);
    }

    __device__ __forceinline__ void copy_step(const axl_attn_bwd_args &b, const attn_item &item,
                                              char *shared, int stage, int thread) const
    {
        const axl_attn_args &a = b.fwd;
        const int64_t row = a.cu_seqlens_k[item.seq] + at;
        const int64_t head = item.head / (a.n_heads / a.n_kv_heads);
        char *tiles = shared + shape::FIRST + stage * 2 * shape::MOVING;

        copy_rows<shape::D, shape::STEP, PAIR>(tiles,
                                               (const bf16 *)a.k + row * a.ldk + head * shape::D,
                                               a.ldk, x.keys.end - at, thread);
        copy_rows<shape::D, shape::STEP, PAIR>(tiles + shape::MOVING,
                                               (const bf16 *)a.v + row * a.ldv + head * shape::D,
                                               a.ldv, x.keys.end - at, thread);
    }
};

// The steps of a tile of keys: over the queries that see it, of one head after the other.
template <class shape> struct key_steps {
    key_tile x;
    int at, head, last_head;

    __device__ __forceinline__ key_steps(const axl_attn_bwd_args &b, const attn_item &item)
        : x(key_tile_of(b.fwd, item, HELD_ROWS)), at(x.queries.begin)
    {
        const int group = b.fwd.n_heads / b.fwd.n_kv_heads;

        last_head = (item.head + 1) * group - 1;
        head = x.queries.begin < x.queries.end ? item.head * group : last_head + 1;
    }
    __device__ __forceinline__ bool more() const { return head <= last_head; }
    __device__ __forceinline__ void next()
    {
        at += shape::STEP;
        if (at >= x.queries.end) {
            at = x.queries.begin;
            head++;
        }
    }
    __device__ __forceinline__ bool is_last() const
    {
        return head == last_head && at + shape::STEP >= x.queries.end;
    }
    __device__ __forceinline__ bool is_border() const
    {
        return at < x.full.begin || min(at + shape::STEP, x.queries.end) > x.full.end;
    }
    __device__ __forceinline__ void mask(const axl_attn_args &a, const attn_item &item,
                                         int warp_row, float (&s)[shape::STEP / 8][4]) const
    {
        const attn_rows queries = attn_queries(a, item.seq), keys = attn_keys(a, item.seq);
        const int row = item.tile * HELD_ROWS + warp_row + (int)(threadIdx.x % 32u / 4u),
                  end = min(at + shape::STEP, x.queries.end);

        hide(s,
             {queries_of(a, queries, keys, row, at, end),
              queries_of(a, queries, keys, row + 8, at, end)},
             at);
    }

    __device__ __forceinline__ void copy_held(const axl_attn_bwd_args &b, const attn_item &item,
                                              char *shared, int thread) const
    {
        const axl_attn_args &a = b.fwd;
        const int64_t k = x.row * a.ldk + (int64_t)item.head * shape::D,
                      v = x.row * a.ldv + (int64_t)item.head * shape::D;

        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared, (const bf16 *)a.k + k, a.ldk, x.n, thread);
        copy_rows<shape::D, HELD_ROWS, COPIERS>(shared + shape::HELD, (const bf16 *)a.v + v, a.ldv,
                                                x.n, thread);
    }

    __device__ __forceinline__ void copy_step(const axl_attn_bwd_args &b, const attn_item &,
                                              char *shared, int stage, int thread) const
    {
        static_assert(shape::STEP == PAIR, "a thread copies a row's statistics");
        const axl_attn_args &a = b.fwd;
        const int64_t row = x.query_row + at;
        const int n = x.queries.end - at;
        char *tiles = shared + shape::FIRST + stage * 2 * shape::MOVING;
        float *stats = (float *)(shared + shape::STATS) + stage * 2 * shape::STEP + thread;

        copy_rows<shape::D, shape::STEP, PAIR>(
            tiles, (const bf16 *)a.q + row * a.ldq + (int64_t)head * shape::D, a.ldq, n, thread);
        copy_rows<shape::D, shape::STEP, PAIR>(
            tiles + shape::MOVING, (const bf16 *)b.dout + row * a.ldo + (int64_t)head * shape::D,
            a.ldo, n, thread);
        copy_stats(stats, stats + shape::STEP, b, head, row + thread, thread < n);
    }
};

// This thread's copies are there, for products too; those who wait for them may be told.
__device__ __forceinline__ void end_copies()
{
    axl_copy_commit();
    axl_copy_wait<0>();
    axl_wgmma_publish();
}

// What the copiers do: items, one after the other, until none is left, which they tell as well.
template <class shape, class steps>
__device__ __forceinline__ void copy_items(const axl_attn_bwd_args &b, attn_work *work, int n_heads,
                                           char *shared)
{
    const int thread = (int)threadIdx.x - MULTIPLIERS, pair = thread / PAIR;
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
            steps at(b, item);
            if (at.more())
                at.copy_held(b, item, shared, thread);
            for (; at.more(); at.next(), turn++) {
                const int stage = turn % shape::STAGES;
                // always the same pair's: else one could come to the stage's barrier for the other
                if (stage % 2 != pair)
                    continue;
                if (turn >= shape::STAGES)
                    axl_barrier_wait(shape::EMPTY + stage, PAIR + MULTIPLIERS);
                at.copy_step(b, item, shared, stage, thread % PAIR);
                end_copies();
                for (int group = 0; group < GROUPS && !told; group++)
                    axl_barrier_arrive(shape::HELD_FULL + group, COPIERS + 128);
                told = true;
                for (int group = 0; group < GROUPS; group++)
                    axl_barrier_arrive(shape::FULL + stage * GROUPS + group, PAIR + 128);
            }
        }
        if (!told)
            end_copies();
        for (int group = 0; group < GROUPS && !told; group++)
            axl_barrier_arrive(shape::HELD_FULL + group, COPIERS + 128);
        if (!is_item)
            break;
    }
    // whoever comes to a barrier is waited for
    for (int end = turn + shape::STAGES; turn < end; turn++)
        if (turn % shape::STAGES % 2 == pair && turn >= shape::STAGES)
            axl_barrier_wait(shape::EMPTY + turn % shape::STAGES, PAIR + MULTIPLIERS);
}

} // namespace

#endif
