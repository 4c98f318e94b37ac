// Products of row ranges with matrices of a stack: bf16 on the tensor cores where out and in allow it (gemm_tensor.cu), else
// by plain tiles, all ranges in one launch: they are known on the host and travel as arguments, GROUPS_MAX at a time.
#include "kernels/cuda/gemm_tile.cuh"

extern "C" {
#include "kernels/cuda/gemm_tensor.h"
}

namespace
{

#ifdef AXL_CUDA_EMU
constexpr int GROUPS_MAX = 3; // so that the cases meet a second launch
#else
constexpr int GROUPS_MAX = 128;
#endif

struct group_list {
    int n;
    bool accumulate;
    int64_t row[GROUPS_MAX];        // where a group begins
    int32_t n_rows[GROUPS_MAX];     // no group is empty
    int32_t matrix[GROUPS_MAX];     // which matrix it meets
    int32_t first_tile[GROUPS_MAX]; // Y, DX: rows of tiles before it
};

// What a launch needs of the arguments.
template <class T> struct grouped_shape {
    const T *a, *b;
    void *c;
    int64_t out, in;
};

// Y and DX: a block finds its group, then makes one tile of its rows of C.
template <class T, bool dx>
__global__ void __launch_bounds__(TILE_THREADS)
    grouped_rows(grouped_shape<T> q, group_list list, unsigned tiles_n)
{
    AXL_SHARED_ARRAY(float, shared, 2 * STEP * TILE_LD);
    const int tile = (int)(blockIdx.x / tiles_n);
    const int64_t n = dx ? q.in : q.out, k = dx ? q.out : q.in,
                  j0 = (int64_t)(blockIdx.x % tiles_n) * TILE;
    float sum[EACH][EACH] = {};
    int g = 0;

    while (g + 1 < list.n && list.first_tile[g + 1] <= tile)
        g++;
    const int64_t i0 = (int64_t)(tile - list.first_tile[g]) * TILE, row = list.row[g];
    const T *matrix = q.b + list.matrix[g] * q.out * q.in; // [out, in]
    const gemm_operands<T> o = {q.a + row * k, matrix,       list.n_rows[g], n, k, k, 1,
                                dx ? 1 : q.in, dx ? q.in : 1};
    T *c = (T *)q.c + row * n;
    const bool accumulate = list.accumulate;
    add_products(o, i0, j0, sum, shared);
    over_tile(o.m, n, i0, j0, sum, [&](int64_t r, int64_t col, float v) {
        T *to = c + r * n + col;
        *to = axl_from_float<T>(accumulate ? axl_to_float(*to) + v : v);
    });
}

// DW: a block makes one tile of one matrix's gradient from all groups that met it, in order.
template <class T>
__global__ void __launch_bounds__(TILE_THREADS)
    grouped_matrices(grouped_shape<T> q, group_list list, unsigned tiles_n, unsigned tiles)
{
    AXL_SHARED_ARRAY(float, shared, 2 * STEP * TILE_LD);
    const int m = (int)(blockIdx.x / tiles);
    const int64_t i0 = (int64_t)(blockIdx.x % tiles / tiles_n) * TILE,
                  j0 = (int64_t)(blockIdx.x % tiles % tiles_n) * TILE;
    float sum[EACH][EACH] = {};
    bool met = false;

    for (int g = 0; g < list.n; g++) {
        if (list.matrix[g] != m)
            continue;
        const gemm_operands<T> o = {q.a + list.row[g] * q.out,
                                    q.b + list.row[g] * q.in,
                                    q.out,
                                    q.in,
                                    list.n_rows[g],
                                    1,
                                    q.out,
                                    1,
                                    q.in};
        add_products(o, i0, j0, sum, shared);
        met = true;
    }
    if (!met && list.accumulate)
        return;
    float *c = (float *)q.c + m * q.out * q.in;
    const bool accumulate = list.accumulate;
    over_tile(q.out, q.in, i0, j0, sum, [&](int64_t r, int64_t col, float v) {
        float *to = c + r * q.in + col;
        *to = accumulate ? *to + v : v;
    });
}

// Takes groups from *g on into the list, the empty ones left out. Returns their rows of tiles.
int take_groups(const axl_gemm_grouped_args *a, int32_t *g, group_list *list)
{
    int tiles = 0;

    list->n = 0;
    for (; *g < a->n_groups && list->n < GROUPS_MAX; ++*g) {
        const int64_t rows = a->begin[*g + 1] - a->begin[*g];
        if (rows == 0)
            continue;
        list->row[list->n] = a->begin[*g];
        list->n_rows[list->n] = (int32_t)rows;
        list->matrix[list->n] = a->matrix[*g];
        list->first_tile[list->n++] = tiles;
        tiles += (int)axl_cuda_blocks(rows, TILE);
    }
    return tiles;
}

template <class T> axl_status run(axl_stream *s, const axl_gemm_grouped_args *a)
{
    const grouped_shape<T> q = {(const T *)a->a, (const T *)a->b, a->c, a->out, a->in};
    const bool gradient = a->product == AXL_GROUPED_DW, dx = a->product == AXL_GROUPED_DX;
    const int64_t width = a->product == AXL_GROUPED_Y ? a->out : a->in;
    const unsigned tiles_n = axl_cuda_blocks(width, TILE),
                   tiles = tiles_n * axl_cuda_blocks(a->out, TILE);
    axl_status status = AXL_OK;
    group_list list = {};
    int32_t g = 0;

    list.accumulate = a->accumulate;
    do { // once at least: the gradient of a matrix without a row is set to 0
        const int rows = take_groups(a, &g, &list);
        if (gradient)
            status = axl_cuda_launch(s, "gemm_grouped", grouped_matrices<T>,
                                     dim3(axl_cuda_grid((int64_t)a->n_mats * tiles)),
                                     dim3(TILE_THREADS), 0, q, list, tiles_n, tiles);
        else
            status = axl_cuda_launch(s, "gemm_grouped",
                                     dx ? grouped_rows<T, true> : grouped_rows<T, false>,
                                     dim3(axl_cuda_grid((int64_t)rows * tiles_n)),
                                     dim3(TILE_THREADS), 0, q, list, tiles_n);
        if (gradient)
            list.accumulate = true; // later groups add to what the first have set
    } while (status == AXL_OK && g < a->n_groups);
    return status;
}

} // namespace

extern "C" axl_status axl_cuda_gemm_grouped(axl_stream *s, const axl_gemm_grouped_args *a)
{
    return axl_cuda_grouped_is_tensor(a) ? axl_cuda_grouped_tensor(s, a)
           : a->dtype == AXL_BF16        ? run<bf16>(s, a)
           : a->dtype == AXL_F32         ? run<float>(s, a)
                                         : axl_cuda_no_dtype("gemm_grouped", a->dtype);
}
