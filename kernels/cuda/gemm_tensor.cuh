// A tile of a bf16 matrix product on the tensor cores: TM x 128 elements of C, f32 sums. Two ways: 4 warps with mma, their
// factors in registers; or, on 9.0, TM / 64 warpgroups with wgmma, their factors in shared memory.
//
// A block makes tile after tile. What it multiplies is one stream of steps of 32 along k, through all of its tiles: copies to
// shared memory run some steps ahead of the products, across the end of a tile too, so that the memory is at work while
// a tile is written. An element's sum goes over k in steps of 16 from its beginning, whatever the tile: its bits depend
// on its row and column alone.
//
// An operand's tile lies in shared memory as it does in memory, in pieces of 16 bytes; a row's pieces are exchanged by a
// few bits of the row's number, so that the 8 rows of a matrix that ldmatrix reads, and the pieces that 8 lanes write, lie
// in different banks. Where k does not lie together, 64 elements of a row do, and the next 64 follow TK rows later. These
// are two of the layouts that wgmma takes.
#ifndef AXL_KERNELS_CUDA_GEMM_TENSOR_CUH
#define AXL_KERNELS_CUDA_GEMM_TENSOR_CUH

#include "kernels/cuda/wgmma.cuh"

namespace
{

constexpr int TN = 128, TK = 32;
constexpr int BAND = 16; // rows of tiles that share columns of B in L2

#ifdef AXL_CUDA_EMU
constexpr int ENTRIES_MAX = 3; // so that the cases meet a second launch
#else
constexpr int ENTRIES_MAX = 192; // with the rest in 4 KiB, the most that every CUDA passes
#endif

// What the bytes of the factors are. Of e4m3 a "16-bit element" is two; they are multiplied as fp16.
enum tensor_form { TENSOR_BF16, TENSOR_E4M3 };

// The work of a launch. In the rows form an entry is a range of rows of A and C that meets one matrix of a stack B. In the
// sums form it is a range of k, and the ranges of one matrix of a stack C follow each other.
struct tensor_work {
    int n_items;             // tiles of C
    int n_entries, tiles_n;  // tiles_n: columns of tiles
    bool goes_on;            // sums form: the first matrix has had ranges in an earlier launch
    int row[ENTRIES_MAX];    // where an entry begins
    int n_rows[ENTRIES_MAX]; // rows form: more than 0
    int matrix[ENTRIES_MAX]; // rows form: of an entry. sums form: the i-th matrix
    int start
        [ENTRIES_MAX +
         1]; // rows form: rows of tiles before an entry. sums form: the i-th matrix's first entry
    int16_t order[ENTRIES_MAX]; // sums form: the matrices by falling work
};

struct tensor_product {
    const bf16 *a, *b;
    void *c;
    const bf16 *bias; // [n], or NULL
    int64_t lda, ldb, ldc;
    int64_t matrix_size; // elements, of the stack
    int m, n, k;         // m: sums form; k: rows form
    float alpha;
    const float *scale_a, *scale_b; // e4m3: of rows, [1]; alpha is not looked at
    bool accumulate;
    bool wide; // all rows of C begin at multiples of 16 bytes
};

// ---- an operand: R rows of op(A), or columns of op(B), by TK. along: k is what lies together in memory

template <int R, bool along, int threads> struct tensor_operand {
    static constexpr int BYTES = R * TK * 2;
    static constexpr int ROW = along ? TK * 2 : 128;     // bytes from row to row in shared memory
    static constexpr int BLOCK = TK * 128;               // else: to the next 64 elements of a row
    static constexpr int LANES = along ? TK / 8 : R / 8; // threads that copy a row
    static constexpr int ROWS = threads / LANES;         // rows that are copied at once
    static constexpr int PIECES = BYTES / 16 / threads;  // of a thread

    const bf16 *from; // this thread's first piece of the next step
    int place;        // where it goes
    int left; // along: rows from its own to the last. else: elements from its own to the last

    static __device__ __forceinline__ int place_of(int row, int piece)
    {
        return along ? row * ROW + (piece ^ row / 2 % 4) * 16
                     : piece / 8 * BLOCK + row * ROW + (piece % 8 ^ row % 8) * 16;
    }

    static __device__ __forceinline__ int copied_row() { return (int)(threadIdx.x / LANES); }
    static __device__ __forceinline__ int copied_piece() { return (int)(threadIdx.x % LANES); }

    // at: the tile's first element. n: rows of op(A), columns of op(B), that there are from there.
    __device__ __forceinline__ void begin(const bf16 *at, int64_t ld, int n)
    {
        const int row = copied_row(), piece = copied_piece();

        from = at + row * ld + piece * 8;
        place = place_of(row, piece);
        left = along ? n - row : n - piece * 8;
    }

    // Copies the next TK of k, of which n are left; zeros stand for the others, and for what is not there. full: all is there.
    __device__ __forceinline__ void copy(char *tile, int64_t ld, int n, bool full)
    {
        const int there =
            min(max(along ? n - copied_piece() * 8 : left, 0), 8) * 2; // bytes of a piece
        char *to = tile + place;

        if (full) {
#pragma unroll
            for (int i = 0; i < PIECES; i++)
                axl_copy16_async(to + i * ROWS * ROW, from + i * ROWS * ld, true);
        } else {
#pragma unroll
            for (int i = 0; i < PIECES; i++) {
                const bool take = along ? i * ROWS < left : copied_row() + i * ROWS < n;
                axl_copy_async(to + i * ROWS * ROW, from + i * ROWS * ld, take ? there : 0);
            }
        }
        from += along ? TK : TK * ld;
    }

    // Where this lane reads its row of the four 8 x 8 matrices of a 16 x 16 part, at row (column) first. left: of A, whose
    // second matrix is the lower one; that of B is the next along k.
    static __device__ __forceinline__ int lane_place(int first, bool left)
    {
        const int lane = (int)threadIdx.x % 32, q = lane / 8;
        const int lower = left ? q % 2 : q / 2, next = left ? q / 2 : q % 2;

        return along ? place_of(first + lower * 8 + lane % 8, next)
                     : place_of(next * 8 + lane % 8, first / 8 + lower);
    }

    // The part `part` * 16 rows below the lane's, in the half `half` of the step. The exchange of pieces is by bits
    // that these do not change.
    static __device__ __forceinline__ void read(unsigned r[4], const char *tile, int place,
                                                int part, int half)
    {
        if (along)
            axl_ldmatrix_x4(r, tile + (place ^ half * 32) + part * 16 * ROW);
        else
            axl_ldmatrix_x4_t(r, tile + (place ^ part * 32) + half * 16 * ROW);
    }
};

// ---- which tile

struct tensor_place {
    int i0, j0; // its first row and column
    int head;   // sums form: which matrix, in the list
};

// Tiles go down a band of rows, then on to the next column.
template <int TM>
__device__ __forceinline__ void tensor_in_band(int local, int tiles_m, int tiles_n, tensor_place *p)
{
    const int first = local / (BAND * tiles_n) * BAND, high = min(BAND, tiles_m - first),
              rest = local - first * tiles_n;

    p->i0 = (first + rest % high) * TM;
    p->j0 = rest / high * TN;
}

// entry: rows form: that of an item before this one or 0; becomes this one's.
template <int TM, bool sums>
__device__ __forceinline__ tensor_place tensor_locate(const tensor_product &p, const tensor_work &w,
                                                      int item, int *entry)
{
    tensor_place at = {};

    if constexpr (sums) {
        const int tiles_m = (p.m + TM - 1) / TM, tiles = tiles_m * w.tiles_n;
        at.head = w.order[item / tiles];
        tensor_in_band<TM>(item % tiles, tiles_m, w.tiles_n, &at);
    } else {
        while (*entry + 1 < w.n_entries && w.start[*entry + 1] * w.tiles_n <= item)
            ++*entry;
        tensor_in_band<TM>(item - w.start[*entry] * w.tiles_n, (w.n_rows[*entry] + TM - 1) / TM,
                           w.tiles_n, &at);
    }
    return at;
}

// ---- the stream of copies

template <int TM, bool along_a, bool along_b, bool sums, int threads> struct tensor_loader {
    tensor_operand<TM, along_a, threads> a;
    tensor_operand<TN, along_b, threads> b;
    tensor_place at;
    int item, entry, end; // entry, end: sums form: ranges of k that are left of the tile
    int k_left;
    bool inside; // no row or column of the tile is beyond the matrices

    // To the next range of k that is not empty, or past the last item.
    __device__ __forceinline__ void go_on(const tensor_product &p, const tensor_work &w)
    {
        do {
            if (!sums || ++entry >= end) {
                item += (int)gridDim.x;
                if (item >= w.n_items)
                    return;
                at = tensor_locate<TM, sums>(p, w, item, &entry);
                if (sums) {
                    entry = w.start[at.head];
                    end = w.start[at.head + 1];
                }
            }
            k_left = !sums ? p.k : entry < end ? w.n_rows[entry] : 0;
        } while (k_left == 0);
        const int64_t row = w.row[entry];
        const int rows_left = (sums ? p.m : w.n_rows[entry]) - at.i0, columns_left = p.n - at.j0;
        inside = rows_left >= TM && columns_left >= TN;
        if constexpr (sums) {
            a.begin(p.a + row * p.lda + at.i0, p.lda, rows_left);
            b.begin(p.b + row * p.ldb + at.j0, p.ldb, columns_left);
        } else {
            const bf16 *matrix = p.b + w.matrix[entry] * p.matrix_size;
            const int64_t i = row + at.i0, j = at.j0;
            a.begin(p.a + (along_a ? i * p.lda : i), p.lda, rows_left);
            b.begin(matrix + (along_b ? j * p.ldb : j), p.ldb, columns_left);
        }
    }

    __device__ __forceinline__ void step(const tensor_product &p, const tensor_work &w, char *stage)
    {
        if (k_left <= 0 && item < w.n_items)
            go_on(p, w);
        if (item < w.n_items) {
            const bool full = inside && k_left >= TK;
            a.copy(stage, p.lda, k_left, full);
            b.copy(stage + a.BYTES, p.ldb, k_left, full);
            k_left -= TK;
        }
        axl_copy_commit(); // an empty one too: waiting counts them
    }
};

// ---- results: a lane has rows g, g + 8 and columns 2 t, 2 t + 1 of each 16 x 8 part

__device__ __forceinline__ float2 tensor_old(const float *c, bool both)
{
    return both ? *reinterpret_cast<const float2 *>(c) : make_float2(*c, 0.0f);
}
__device__ __forceinline__ float2 tensor_old(const bf16 *c, bool both)
{
    if (!both)
        return make_float2(axl_to_float(*c), 0.0f);
    const unsigned v = *reinterpret_cast<const unsigned *>(c);
    return make_float2(__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u));
}

// The lane's pair at row, column of C, before it is rounded. both: as one access.
template <class C>
__device__ __forceinline__ float2 tensor_pair(const tensor_product &p, bool add, const C *c,
                                              int column, bool second, float2 v)
{

    if (add) {
        const bool both = p.wide && second;
        float2 old = tensor_old(c, both);
        if (second && !both)
            old.y = axl_to_float(c[1]);
        v = make_float2(v.x + old.x, v.y + old.y);
    }
    if (p.bias != nullptr) {
        v.x += axl_to_float(p.bias[column]);
        v.y += second ? axl_to_float(p.bias[column + 1]) : 0.0f;
    }
    return v;
}

// Writes the lane's pair if it is in C.
__device__ __forceinline__ void tensor_put(const tensor_product &p, float *c, bool second, float2 v)
{
    if (p.wide && second) {
        *reinterpret_cast<float2 *>(c) = v;
    } else {
        c[0] = v.x;
        if (second)
            c[1] = v.y;
    }
}
__device__ __forceinline__ void tensor_put(const tensor_product &, bf16 *c, bool second, float2 v)
{
    c[0] = axl_from_float<bf16>(v.x);
    if (second)
        c[1] = axl_from_float<bf16>(v.y);
}

// The 4 lanes of a row exchange words: lane t gets word t of each.
__device__ __forceinline__ void tensor_transpose(unsigned (&v)[4])
{
    const bool odd = threadIdx.x % 2u != 0, high = threadIdx.x % 4u >= 2;

#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        const unsigned x = v[i], y = v[i + 1], got = __shfl_xor_sync(0xffffffffu, odd ? x : y, 1);
        v[i] = odd ? got : x;
        v[i + 1] = odd ? y : got;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const unsigned x = v[i], y = v[i + 2], got = __shfl_xor_sync(0xffffffffu, high ? x : y, 2);
        v[i] = high ? got : x;
        v[i + 2] = high ? y : got;
    }
}

// Four parts side by side: 32 columns of the lane's row, all in C. bf16 goes out in pieces of 16 bytes, f32 by pairs.
template <class C>
__device__ __forceinline__ void tensor_put_four(const tensor_product &p, C *c, bool is_row,
                                                bool add, const float2 (&v)[4])
{
    const int t = (int)threadIdx.x % 4;

    if constexpr (sizeof(C) == 2) {
        unsigned word[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            word[i] = axl_pack_bf16(v[i].x, v[i].y);
        tensor_transpose(word);
        if (add)
            __syncwarp(); // what a lane writes, others have read
        if (is_row)
            *reinterpret_cast<uint4 *>(c + t * 8) = make_uint4(word[0], word[1], word[2], word[3]);
    } else {
#pragma unroll
        for (int i = 0; i < 4 && is_row; i++)
            tensor_put(p, c + i * 8 + 2 * t, true, v[i]);
    }
}

// Two e4m3 as fp16, scaled by 2^-8 where chips have no instruction for it: the exponent's bias is 7 there and 15 here.
// NaN stays NaN.
#if !defined(AXL_CUDA_EMU) && __CUDA_ARCH__ >= 890
constexpr float TENSOR_E4M3_SCALE = 1.0f; // of a product

__device__ __forceinline__ unsigned tensor_e4m3_pair(unsigned low, unsigned high)
{
    const unsigned short pair = (unsigned short)(low | high << 8);
    unsigned v;

    asm("cvt.rn.f16x2.e4m3x2 %0, %1;\n" : "=r"(v) : "h"(pair));
    return v;
}
#else
constexpr float TENSOR_E4M3_SCALE = 0x1p16f;

__device__ __forceinline__ unsigned tensor_e4m3_pair(unsigned low, unsigned high)
{
    const unsigned v = low << 8 | high << 24;
    const unsigned size = v >> 1 & 0x3f803f80u;

    return (v & 0x80008000u) | size | ((size + 0x00800080u) & 0x40004000u);
}
#endif

// What sums of a row are multiplied by. scale_a: of the row.
template <int form>
__device__ __forceinline__ float tensor_alpha(const tensor_product &p, const float *scale_a)
{
    if constexpr (form == TENSOR_BF16)
        return p.alpha;
    return *scale_a * *p.scale_b * TENSOR_E4M3_SCALE;
}

// Writes the warp's part of a tile. c: the tile's first row and the warp's first column; n_rows, n_columns: of C from
// there; scale_a: of the tile's rows.
template <int form, int MT, int NT, class C>
__device__ __forceinline__ void tensor_write(const tensor_product &p, bool add, C *c, int column,
                                             int first_row, int n_rows, const float *scale_a,
                                             const float (&sum)[MT][NT][4])
{
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4, n_columns = p.n - column;

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first_row + m * 16 + half * 8 + g;
            const bool is_row = row < n_rows;
            const float alpha = is_row ? tensor_alpha<form>(p, scale_a + row) : 0.0f;
            C *to = c + row * p.ldc;
#pragma unroll
            for (int n = 0; n < NT; n += 4) {
                const bool all = p.wide && (n + 4) * 8 <= n_columns;
                float2 v[4] = {};
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int at = (n + i) * 8 + 2 * t;
                    const bool second = at + 1 < n_columns;
                    if (!is_row || at >= n_columns)
                        continue;
                    v[i] = make_float2(sum[m][n + i][2 * half] * alpha,
                                       sum[m][n + i][2 * half + 1] * alpha);
                    v[i] = tensor_pair(p, add, to + at, column + at, second, v[i]);
                    if (!all)
                        tensor_put(p, to + at, second, v[i]);
                }
                if (all)
                    tensor_put_four(p, to + n * 8, is_row, add, v);
            }
        }
}

// ---- the block

template <int TM, bool along_a, bool along_b, bool groups> struct tensor_shape {
    static constexpr int THREADS = groups ? 2 * TM : 128;
    static constexpr int STAGES = groups ? 6 : 4;
    static constexpr int AHEAD = groups ? STAGES - 2 : STAGES - 1; // steps that copies are ahead
    static constexpr int BLOCKS = TM == 128 ? 2 : 3;               // of a multiprocessor
    typedef tensor_operand<TM, along_a, THREADS> left;
    typedef tensor_operand<TN, along_b, THREADS> right;
    static constexpr int STAGE = left::BYTES + right::BYTES;
    // A warp has half the rows and half the columns; or 16 rows of its warpgroup's 64, and all columns.
    static constexpr int MT = groups ? 1 : TM / 32, NT = groups ? 16 : 8;

    static __device__ __forceinline__ int first_row()
    {
        const int warp = (int)threadIdx.x / 32;
        return groups ? warp * 16 : warp / 2 * (TM / 2);
    }
    static __device__ __forceinline__ int first_column()
    {
        return groups ? 0 : (int)threadIdx.x / 32 % 2 * (TN / 2);
    }
};

__device__ __forceinline__ void tensor_widen(unsigned v, unsigned *low, unsigned *high)
{
    *low = tensor_e4m3_pair(v & 255u, v >> 8 & 255u);
    *high = tensor_e4m3_pair(v >> 16 & 255u, v >> 24);
}

// sum += the product of two fragments of e4m3. As fp16 they are two products: lanes hold other places of k than the
// instruction has, the same ones of both factors.
template <int form>
__device__ __forceinline__ void tensor_mma(float (&sum)[4], const unsigned (&a)[4],
                                           const unsigned *b)
{
    if constexpr (form == TENSOR_BF16) {
        axl_mma_bf16(sum, a, b);
    } else {
        unsigned left[2][4], right[2][2];
        tensor_widen(a[0], &left[0][0], &left[0][2]);
        tensor_widen(a[1], &left[0][1], &left[0][3]);
        tensor_widen(a[2], &left[1][0], &left[1][2]);
        tensor_widen(a[3], &left[1][1], &left[1][3]);
        tensor_widen(b[0], &right[0][0], &right[0][1]);
        tensor_widen(b[1], &right[1][0], &right[1][1]);
        axl_mma_f16(sum, left[0], right[0]);
        axl_mma_f16(sum, left[1], right[1]);
    }
}

// sum += the product of a stage, by mma.
template <class shape, int form>
__device__ __forceinline__ void tensor_multiply(const char *stage, int place_a, int place_b,
                                                float (&sum)[shape::MT][shape::NT][4])
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        unsigned left[shape::MT][4];
#pragma unroll
        for (int m = 0; m < shape::MT; m++)
            shape::left::read(left[m], stage, place_a, m, half);
#pragma unroll
        for (int n = 0; n < shape::NT; n += 2) {
            unsigned right[4];
            shape::right::read(right, stage + shape::left::BYTES, place_b, n / 2, half);
#pragma unroll
            for (int m = 0; m < shape::MT; m++) {
                tensor_mma<form>(sum[m][n], left[m], right);
                tensor_mma<form>(sum[m][n + 1], left[m], right + 2);
            }
        }
    }
}

// The same by wgmma, which goes on after the call.
template <class shape, bool along_a, bool along_b>
__device__ __forceinline__ void tensor_begin_product(const char *stage, float (&sum)[1][16][4])
{
    const char *left = stage + (int)threadIdx.x / 128 * (64 * TK * 2), // the warpgroup's rows
        *right = stage + shape::left::BYTES;

    axl_wgmma_begin(sum[0]);
#pragma unroll
    for (int half = 0; half < 2; half++)
        axl_wgmma_bf16<along_a, along_b>(
            sum[0],
            axl_wgmma_factor<along_a>(left + half * (along_a ? 32 : 16 * 128), shape::left::BLOCK),
            axl_wgmma_factor<along_b>(right + half * (along_b ? 32 : 16 * 128),
                                      shape::right::BLOCK));
    axl_wgmma_commit();
}

// How many steps the products of a tile take.
template <bool sums>
__device__ __forceinline__ int tensor_steps(const tensor_product &p, const tensor_work &w, int head)
{
    int steps = 0;

    if constexpr (sums) {
        for (int e = w.start[head]; e < w.start[head + 1]; e++)
            steps += (w.n_rows[e] + TK - 1) / TK;
    } else {
        steps = (p.k + TK - 1) / TK;
    }
    return steps;
}

// The tile at `at`: its steps. stage: the next one to multiply; to: the one that is filled next.
template <int TM, bool along_a, bool along_b, bool sums, bool groups, int form, class shape>
__device__ __forceinline__ void
tensor_tile(const tensor_product &p, const tensor_work &w, int head, char *shared, int *stage,
            tensor_loader<TM, along_a, along_b, sums, shape::THREADS> *loader,
            float (&sum)[shape::MT][shape::NT][4])
{
    const int place_a = shape::left::lane_place(shape::first_row(), true),
              place_b = shape::right::lane_place(shape::first_column(), false);

#pragma unroll 1
    for (int steps = tensor_steps<sums>(p, w, head); steps > 0; steps--) {
        const char *now = shared + *stage * shape::STAGE;
        const int to = *stage + shape::AHEAD;
        char *next = shared + (to < shape::STAGES ? to : to - shape::STAGES) * shape::STAGE;
        axl_copy_wait<shape::AHEAD - 1>();
        if constexpr (groups)
            axl_wgmma_publish();
        __syncthreads(); // the stage has arrived, and that of `next` has been multiplied by all
        if constexpr (groups) {
            tensor_begin_product<shape, along_a, along_b>(now, sum);
            loader->step(p, w, next);
            axl_wgmma_wait_last(); // the step before has been multiplied
        } else {
            loader->step(p, w, next);
            tensor_multiply<shape, form>(now, place_a, place_b, sum);
        }
        *stage = *stage + 1 < shape::STAGES ? *stage + 1 : 0;
    }
    if constexpr (groups)
        axl_wgmma_end(sum[0]);
}

template <int TM, bool along_a, bool along_b, bool sums, bool groups, class C,
          int form = TENSOR_BF16>
__global__ void __launch_bounds__(tensor_shape<TM, along_a, along_b, groups>::THREADS,
                                  tensor_shape<TM, along_a, along_b, groups>::BLOCKS)
    gemm_tensor(tensor_product p, tensor_work w)
{
    typedef tensor_shape<TM, along_a, along_b, groups> shape;
#if !AXL_WGMMA
    if constexpr (groups) {
        __trap();
    } else
#endif
    {
        AXL_WGMMA_SHARED(char, shared);
        tensor_loader<TM, along_a, along_b, sums, shape::THREADS> loader = {};
        int stage = 0, entry = 0;

        loader.item = (int)blockIdx.x - (int)gridDim.x; // before the first
#pragma unroll 1
        for (int i = 0; i < shape::AHEAD; i++)
            loader.step(p, w, shared + i * shape::STAGE);
        for (int item = (int)blockIdx.x; item < w.n_items; item += (int)gridDim.x) {
            const tensor_place at = tensor_locate<TM, sums>(p, w, item, &entry);
            const int column = at.j0 + shape::first_column();
            float sum[shape::MT][shape::NT][4] = {};

            tensor_tile<TM, along_a, along_b, sums, groups, form, shape>(p, w, at.head, shared,
                                                                         &stage, &loader, sum);
            const int64_t row = sums ? 0 : w.row[entry];
            C *c = (C *)p.c + (sums ? w.matrix[at.head] * p.matrix_size : 0);
            tensor_write<form>(p, p.accumulate || (sums && w.goes_on && at.head == 0),
                               c + (row + at.i0) * p.ldc + column, column, shape::first_row(),
                               (sums ? p.m : w.n_rows[entry]) - at.i0, p.scale_a + at.i0, sum);
        }
    }
}

} // namespace

#endif
