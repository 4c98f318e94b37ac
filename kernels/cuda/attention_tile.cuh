// Pieces of the tiled attention kernels: tiles in shared memory, products of fragments, lists of work.
//
// Tiles are rows of D bf16 with 8 elements of padding: a row is an odd number of 16-byte pieces long, so the 8 rows
// that ldmatrix reads at once (and the 8 pieces that 8 lanes copy at once) lie in different banks, as with a swizzle; but
// every address is the lane's own plus a constant, which a swizzle's is not, and that saves registers.
//
// A warp has MT * 16 rows of the left factor. Products are m16n8k16: a result tile is float [MT][columns / 8][4],
// whose lane holds rows g, g + 8 and columns 2 t, 2 t + 1 of each 16 x 8 piece (g = lane / 4, t = lane % 4).
#ifndef AXL_KERNELS_CUDA_ATTENTION_TILE_CUH
#define AXL_KERNELS_CUDA_ATTENTION_TILE_CUH

#include "kernels/cuda/attention.cuh"

extern "C" {
#include "kernels/cuda/attention_mma.h"
}

axl_status axl_cuda_attn_half_tiled(axl_stream *s, const axl_attn_args *a);
// Of those the ones by products of warpgroups: sm_90, head_dim 64, 128 or (forward) 256.
bool axl_cuda_attn_fwd_is_wgmma(const axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_fwd_wgmma(axl_stream *s, const axl_attn_args *a);
bool axl_cuda_attn_bwd_is_wgmma(const axl_stream *s, const axl_attn_bwd_args *b);
axl_status axl_cuda_attn_bwd_wgmma(axl_stream *s, const axl_attn_bwd_args *b);

constexpr int ATTN_WARPS = 4;
constexpr int ATTN_THREADS = ATTN_WARPS * 32;
constexpr int ATTN_BLOCKS =
    4; // of a multiprocessor in a grid; those that find no room find no work later
constexpr float ATTN_LOG2E = 1.4426950408889634f, ATTN_LN2 = 0.6931471805599453f;

// ---- work: a list of (sequence, tile) made on the device; blocks take the next (tile, head) until none is left

struct attn_work {
    unsigned next;    // the item that the next block takes
    unsigned n_tiles; // in the list
    unsigned unused[2];
    int2 tiles[1]; // sequence, tile of it; long sequences first
};

// The list lies in the workspace. A bound of n_tiles that does not fit there: the plain kernels are called.
// Tiles of queries, or of keys, at most: every sequence is as long as the longest, or, where the number of rows is known, the
// last tile of each has one row.
static inline int64_t attn_most_tiles(const axl_attn_args *a, bool keys, int tile)
{
    const int64_t longest = keys ? a->max_seqlen_k : a->max_seqlen_q;
    const int64_t rows = keys ? a->n_rows_k : a->n_rows;
    const int64_t by_longest = a->n_seqs * ((longest + tile - 1) / tile);
    const int64_t by_rows = (rows + (int64_t)a->n_seqs * (tile - 1)) / tile;

    return rows > 0 && by_rows < by_longest ? by_rows : by_longest;
}

static inline size_t attn_work_bytes(int64_t n_tiles)
{
    return (sizeof(attn_work) + sizeof(int2) * (size_t)n_tiles + 127) / 128 * 128;
}

// Blocks that take items until none is left.
static inline dim3 attn_grid(const axl_stream *s, int64_t most_items)
{
    const int64_t most = (int64_t)axl_cuda_n_multiprocessors(s->device) * ATTN_BLOCKS;

    return dim3((unsigned)(most_items < most ? most_items : most));
}

// Makes the list. Tiles of a sequence stand in rising order, or falling: those with most to do come first.
axl_status axl_cuda_attn_plan(axl_stream *s, attn_work *work, const int32_t *cu_seqlens, int n_seqs,
                              int tile, bool falling);

// What a launch goes over: tiles of `rows` queries, or keys, each once for every head.
struct attn_tiles {
    bool keys;
    int rows, n_heads;
    int shared_bytes;
    attn_work *work; // where the list is made
};

// Makes the list and launches kernel(args ..., work) over it.
template <class... Params, class... Args>
static axl_status attn_run(axl_stream *s, const char *name, void (*kernel)(Params...),
                           const axl_attn_args *a, const attn_tiles &t, Args... args)
{
    const int64_t items = attn_most_tiles(a, t.keys, t.rows) * t.n_heads;
    axl_status status = AXL_OK;

    AXL_TRY(axl_cuda_attn_plan(s, t.work, t.keys ? a->cu_seqlens_k : a->cu_seqlens_q, a->n_seqs,
                               t.rows, !t.keys));
    AXL_TRY(axl_cuda_launch(s, name, kernel, attn_grid(s, items), dim3(ATTN_THREADS),
                            (size_t)t.shared_bytes, args..., t.work));

out:
    return status;
}

static inline attn_work *attn_workspace(const axl_stream *s)
{
    return (attn_work *)s->device->workspace;
}

struct attn_item {
    int seq, tile, head;
};

// The next item for this block; false: none is left. Every thread must call it. All threads have then left the
// item before, so its shared memory is free.
__device__ __forceinline__ bool attn_next(attn_work *work, int n_heads, int *slot, attn_item *item)
{
    __syncthreads();
    if (threadIdx.x == 0)
        *slot = (int)atomicAdd(&work->next, 1u);
    __syncthreads();
    const unsigned i = (unsigned)*slot;
    if (i >= work->n_tiles * (unsigned)n_heads)
        return false;
    const int2 tile = work->tiles[i / (unsigned)n_heads];
    *item = {tile.x, tile.y, (int)(i % (unsigned)n_heads)};
    return true;
}

// Where a tile of queries lies, and its keys.
struct attn_query_tile {
    int64_t row;     // its first among all rows
    int first, n;    // its first row in the sequence, how many
    attn_range keys; // that some of its rows see
    attn_range full; // that all of them see
};

__device__ __forceinline__ attn_query_tile attn_query_tile_of(const axl_attn_args &a,
                                                              const attn_item &item, int bm)
{
    const attn_rows queries = attn_queries(a, item.seq), keys = attn_keys(a, item.seq);
    const int begin = item.tile * bm, n = min(bm, queries.n - begin);
    const int first = queries.position(begin), last = queries.position(begin + n - 1);

    return {queries.begin + begin, begin, n, attn_keys_seen(a, keys, first, last),
            attn_keys_seen_by_all(a, keys, first, last)};
}

// ---- tiles

template <int D> struct attn_tile {
    static constexpr int LD = D + 8;
    static constexpr int GROUP = D % 64 == 0 ? 8 : 4; // lanes that copy a row
};

template <int ROWS, int D> constexpr int attn_tile_bytes()
{
    constexpr int bytes = ROWS * attn_tile<D>::LD * 2;

    static_assert(bytes <= 99 << 10, "8.6, 8.9 and 12.0 have no more for a block");
    return bytes;
}

// Begins to copy rows of D elements to a tile; rows from n on become zeros. Eight lanes copy 128 bytes of a row (four 64,
// where D is no multiple of 64), so the lane's place is the same in each step.
template <int ROWS, int D>
__device__ __forceinline__ void attn_load(bf16 *tile, const bf16 *rows, int64_t ld, int n)
{
    constexpr int GROUP = attn_tile<D>::GROUP, STEP = ATTN_THREADS / GROUP, LD = attn_tile<D>::LD;
    static_assert(ROWS % STEP == 0 && D % (GROUP * 8) == 0, "every thread copies as many pieces");
    const int row = (int)threadIdx.x / GROUP, column = (int)threadIdx.x % GROUP * 8;
    const bf16 *from = rows + (row * (int)ld + column);
    bf16 *to = tile + row * LD + column;

    // unrolled, every step's address and row would be kept in registers around the loop over tiles
#pragma unroll 1
    for (int i = 0; i < ROWS / STEP; i++) {
#pragma unroll
        for (int j = 0; j < D; j += GROUP * 8)
            axl_copy16_async(to + i * STEP * LD + j, from + j, row + i * STEP < n);
        from += STEP * ld;
    }
}

// The lane's address for ldmatrix in a left factor, or in a transposed right one.
template <int D> __device__ __forceinline__ int attn_left()
{
    return (int)(threadIdx.x % 16u) * attn_tile<D>::LD + (int)(threadIdx.x % 32u / 16u) * 8;
}

// The same in a right factor whose rows are the result's columns.
template <int D> __device__ __forceinline__ int attn_right()
{
    const int lane = (int)(threadIdx.x % 32u);

    return (lane / 16 * 8 + lane % 8) * attn_tile<D>::LD + lane / 8 % 2 * 8;
}

// ---- products

template <int MT, int NT> __device__ __forceinline__ void attn_clear(float (&x)[MT][NT][4])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                x[m][n][i] = 0.0f;
}

// What tiles of bf16 are multiplied as: themselves, or fp16 (the same numbers unless tiny; at most 65504). arrived: to be
// called by each thread for a tile whose copies it has waited for, before the barrier.
struct attn_bf16_math {
    template <int ROWS, int D> static __device__ __forceinline__ void arrived(bf16 *) {}
    static __device__ __forceinline__ unsigned pack(float low, float high)
    {
        return axl_pack_bf16(low, high);
    }
    static __device__ __forceinline__ void mma(float (&d)[4], const unsigned *a, const unsigned *b)
    {
        axl_mma_bf16(d, a, b);
    }
};

struct attn_f16_math {
    // Each thread converts what it copied.
    template <int ROWS, int D> static __device__ __forceinline__ void arrived(bf16 *tile)
    {
        constexpr int GROUP = attn_tile<D>::GROUP, STEP = ATTN_THREADS / GROUP,
                      LD = attn_tile<D>::LD;
        bf16 *at = tile + (int)threadIdx.x / GROUP * LD + (int)threadIdx.x % GROUP * 8;

#pragma unroll 1
        for (int i = 0; i < ROWS / STEP; i++)
#pragma unroll
            for (int j = 0; j < D; j += GROUP * 8) {
                uint4 *piece = reinterpret_cast<uint4 *>(at + i * STEP * LD + j);
                const uint4 x = *piece;
                *piece = make_uint4(pair(x.x), pair(x.y), pair(x.z), pair(x.w));
            }
    }
    static __device__ __forceinline__ unsigned pair(unsigned x)
    {
        return axl_pack_f16(__uint_as_float(x << 16), __uint_as_float(x & 0xffff0000u));
    }
    static __device__ __forceinline__ unsigned pack(float low, float high)
    {
        return axl_pack_f16(low, high);
    }
    static __device__ __forceinline__ void mma(float (&d)[4], const unsigned *a, const unsigned *b)
    {
        axl_mma_f16(d, a, b);
    }
};

// x = A B^T: rows of A by rows of B, over D. a and b: with the lane's address.
template <int MT, int NT, int D, class Math = attn_bf16_math>
__device__ __forceinline__ void attn_mul_rows(float (&x)[MT][NT][4], const bf16 *a, const bf16 *b)
{
    constexpr int LD = attn_tile<D>::LD;

    attn_clear(x);
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        unsigned left[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
            axl_ldmatrix_x4(left[m], a + m * 16 * LD + k * 16);
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            unsigned right[4];
            axl_ldmatrix_x4(right, b + n * 8 * LD + k * 16);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                Math::mma(x[m][n], left[m], right);
                Math::mma(x[m][n + 1], left[m], right + 2);
            }
        }
    }
}

// x += P B: P a result tile, rounded; its columns are the rows of B. b: with the lane's (left) address.
template <int MT, int NT, int D, class Math = attn_bf16_math>
__device__ __forceinline__ void attn_mul_columns(float (&x)[MT][D / 8][4],
                                                 const float (&p)[MT][NT][4], const bf16 *b)
{
    constexpr int LD = attn_tile<D>::LD;

#pragma unroll
    for (int k = 0; k < NT; k += 2) {
        unsigned left[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++) {
            left[m][0] = Math::pack(p[m][k][0], p[m][k][1]);
            left[m][1] = Math::pack(p[m][k][2], p[m][k][3]);
            left[m][2] = Math::pack(p[m][k + 1][0], p[m][k + 1][1]);
            left[m][3] = Math::pack(p[m][k + 1][2], p[m][k + 1][3]);
        }
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            unsigned right[4];
            axl_ldmatrix_x4_t(right, b + k * 8 * LD + n * 8);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                Math::mma(x[m][n], left[m], right);
                Math::mma(x[m][n + 1], left[m], right + 2);
            }
        }
    }
}

// ---- scores

// cap * tanh(x / cap): its error is that of exp2, relative to cap.
__device__ __forceinline__ float attn_cap(float x, float cap, float two_log2e_by_cap)
{
    return cap - 2.0f * cap / (axl_exp2(x * two_log2e_by_cap) + 1.0f);
}

// Two neighbours of a row of results: set or add.
__device__ __forceinline__ void attn_put(float *to, float x, float y, bool add)
{
    float2 *at = reinterpret_cast<float2 *>(to);
    const float2 old = add ? *at : make_float2(0.0f, 0.0f);

    *at = make_float2(old.x + x, old.y + y);
}

__device__ __forceinline__ void attn_put(bf16 *to, float x, float y, bool add)
{
    unsigned *at = reinterpret_cast<unsigned *>(to);

    if (add) {
        const unsigned old = *at;
        x += __uint_as_float(old << 16);
        y += __uint_as_float(old & 0xffff0000u);
    }
    *at = axl_pack_bf16(x, y);
}

// Writes a warp's result rows that exist: row r of the tile to `to` + r * ld. first: the warp's first row.
template <class G, int MT, int NT>
__device__ __forceinline__ void attn_write(G *to, int64_t ld, const float (&x)[MT][NT][4],
                                           float scale, int first, int n_rows, bool add)
{
    const int g = (int)(threadIdx.x % 32u / 4u), t = (int)(threadIdx.x % 4u);

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first + m * 16 + half * 8 + g;
            if (row >= n_rows)
                continue;
            G *at = to + row * ld + 2 * t;
#pragma unroll
            for (int n = 0; n < NT; n++)
                attn_put(at + n * 8, x[m][n][2 * half] * scale, x[m][n][2 * half + 1] * scale, add);
        }
}

static inline bool attn_aligned(const void *rows, int64_t ld)
{
    return ld % 8 == 0 && (uintptr_t)rows % 16 == 0;
}

#endif
