// bf16 products on the tensor cores: which ones, the lists of their tiles, and the launches.
//
// A product of two matrices is a list with one entry. Groups are known on the host; they travel as arguments, ENTRIES_MAX
// at a time, and one launch makes all tiles of a list, a fixed number of blocks taking them in turn. Gradients of matrices
// are made longest sum first, so that no long one begins when the others end.
#include "kernels/cuda/gemm_tensor.cuh"

#ifdef AXL_CUDA_EMU
#define AXL_CUDA_SM90A 1 // else kernels/CMakeLists.txt says that there is code for sm_90a
#endif

extern "C" {
#include "kernels/cuda/gemm_tensor.h"
}

namespace
{

constexpr int64_t MOST = (int64_t)1 << 30; // of a dimension, and of the tiles of a launch
constexpr int MANY = 128;                  // tiles that give most chips' multiprocessors work

bool aligned(const void *p, int64_t ld)
{
    return (uintptr_t)p % 16 == 0 && ld % 8 == 0;
}

int tiles_of(int64_t n, int size)
{
    return (int)axl_cuda_blocks(n, size);
}

// A tile of 64 rows is taken to cost 5 / 8 of one of 128. So they win where 128 leaves many rows empty, and where there would
// be too few. tiles_128, tiles_64: rows of tiles.
bool is_thin(int64_t tiles_128, int64_t tiles_64, int64_t tiles_n)
{
    return 5 * tiles_64 < 8 * tiles_128 || tiles_128 * tiles_n < MANY;
}

template <int TM, bool along_a, bool along_b, bool sums, bool groups, class C>
axl_status launch(axl_stream *s, const char *name, const tensor_product &p, const tensor_work &w)
{
    typedef tensor_shape<TM, along_a, along_b, groups> shape;
    const int most = axl_cuda_n_multiprocessors(s->device) * shape::BLOCKS;

    return axl_cuda_launch(s, name, gemm_tensor<TM, along_a, along_b, sums, groups, C>,
                           dim3((unsigned)(w.n_items < most ? w.n_items : most)),
                           dim3((unsigned)shape::THREADS), (size_t)shape::STAGES * shape::STAGE, p,
                           w);
}

template <bool along_a, bool along_b, bool sums, class C>
axl_status launch_rows(axl_stream *s, const char *name, const tensor_product &p,
                       const tensor_work &w, bool thin)
{
#ifdef AXL_CUDA_SM90A
    if (axl_cuda_has_wgmma(s->device))
        return thin ? launch<64, along_a, along_b, sums, true, C>(s, name, p, w)
                    : launch<128, along_a, along_b, sums, true, C>(s, name, p, w);
#endif
    return thin ? launch<64, along_a, along_b, sums, false, C>(s, name, p, w)
                : launch<128, along_a, along_b, sums, false, C>(s, name, p, w);
}

// ---- one product

template <class C> axl_status run(axl_stream *s, const axl_gemm_args *a)
{
    const int64_t tiles_n = tiles_of(a->n, TN);
    const bool thin = is_thin(tiles_of(a->m, 128), tiles_of(a->m, 64), tiles_n);
    tensor_work w = {};
    tensor_product p = {};

    p.a = (const bf16 *)a->a;
    p.b = (const bf16 *)a->b;
    p.c = a->c;
    p.bias = (const bf16 *)a->bias;
    p.lda = a->lda;
    p.ldb = a->ldb;
    p.ldc = a->ldc;
    p.n = (int)a->n;
    p.k = (int)a->k;
    p.alpha = a->alpha;
    p.accumulate = a->accumulate;
    p.wide = (uintptr_t)a->c % 16 == 0 && a->ldc * (int64_t)sizeof(C) % 16 == 0;
    w.n_entries = 1;
    w.n_rows[0] = (int)a->m;
    w.tiles_n = (int)tiles_n;
    w.n_items = tiles_of(a->m, thin ? 64 : 128) * w.tiles_n;
    return a->trans_a   ? launch_rows<false, false, false, C>(s, "gemm", p, w, thin)
           : a->trans_b ? launch_rows<true, true, false, C>(s, "gemm", p, w, thin)
                        : launch_rows<true, false, false, C>(s, "gemm", p, w, thin);
}

// ---- groups: rows

// Takes groups from *g on into the list, the empty ones left out.
void take_rows(const axl_gemm_grouped_args *a, int32_t *g, tensor_work *w)
{
    w->n_entries = 0;
    for (; *g < a->n_groups && w->n_entries < ENTRIES_MAX; ++*g) {
        const int64_t rows = a->begin[*g + 1] - a->begin[*g];
        if (rows == 0)
            continue;
        w->row[w->n_entries] = (int)a->begin[*g];
        w->n_rows[w->n_entries] = (int)rows;
        w->matrix[w->n_entries++] = a->matrix[*g];
    }
}

// Counts the list's rows of tiles.
int64_t count_tiles(tensor_work *w, int tile, bool note)
{
    int64_t tiles = 0;

    for (int e = 0; e < w->n_entries; e++) {
        if (note)
            w->start[e] = (int)tiles;
        tiles += tiles_of(w->n_rows[e], tile);
    }
    return tiles;
}

axl_status run_rows(axl_stream *s, const axl_gemm_grouped_args *a, tensor_product *p)
{
    const bool dx = a->product == AXL_GROUPED_DX;
    axl_status status = AXL_OK;
    tensor_work w = {};

    p->n = (int)(dx ? a->in : a->out);
    p->k = (int)(dx ? a->out : a->in);
    p->lda = p->k;
    p->ldb = a->in;
    p->ldc = p->n;
    w.tiles_n = tiles_of(p->n, TN);
    for (int32_t g = 0; g < a->n_groups && status == AXL_OK;) {
        take_rows(a, &g, &w);
        const bool thin =
            is_thin(count_tiles(&w, 128, false), count_tiles(&w, 64, false), w.tiles_n);
        w.n_items = (int)(count_tiles(&w, thin ? 64 : 128, true) * w.tiles_n);
        status = dx ? launch_rows<true, false, false, bf16>(s, "gemm_grouped", *p, w, thin)
                    : launch_rows<true, true, false, bf16>(s, "gemm_grouped", *p, w, thin);
    }
    return status;
}

// ---- groups: gradients of the matrices

// The order of the list's matrices: by falling rows, equal ones as they stand.
void sort_matrices(tensor_work *w, int n)
{
    int rows[ENTRIES_MAX];

    for (int i = 0; i < n; i++) {
        rows[i] = 0;
        for (int e = w->start[i]; e < w->start[i + 1]; e++)
            rows[i] += w->n_rows[e];
        int at = i;
        for (; at > 0 && rows[w->order[at - 1]] < rows[i]; at--)
            w->order[at] = w->order[at - 1];
        w->order[at] = (int16_t)i;
    }
}

// Takes matrices from *m on, and of the first the groups from *g on. One without rows is taken if it must be cleared.
// Returns how many.
int take_matrices(const axl_gemm_grouped_args *a, int32_t *m, int32_t *g, tensor_work *w)
{
    int n = 0;

    w->n_entries = 0;
    w->goes_on = *g > 0;
    for (; *m < a->n_mats && n < ENTRIES_MAX; ++*m, *g = 0) {
        const int first = w->n_entries;
        for (; *g < a->n_groups && w->n_entries < ENTRIES_MAX; ++*g) {
            const int64_t rows = a->begin[*g + 1] - a->begin[*g];
            if (rows == 0 || a->matrix[*g] != *m)
                continue;
            w->row[w->n_entries] = (int)a->begin[*g];
            w->n_rows[w->n_entries++] = (int)rows;
        }
        if (w->n_entries > first || (!a->accumulate && *g == a->n_groups)) {
            w->start[n] = first;
            w->matrix[n++] = *m;
        }
        if (*g < a->n_groups)
            break; // no room for the rest of its groups
    }
    w->start[n] = w->n_entries;
    sort_matrices(w, n);
    return n;
}

axl_status run_sums(axl_stream *s, const axl_gemm_grouped_args *a, tensor_product *p)
{
    axl_status status = AXL_OK;
    tensor_work w = {};
    int32_t m = 0, g = 0;

    p->m = (int)a->out;
    p->n = (int)a->in;
    p->lda = a->out;
    p->ldb = p->ldc = a->in;
    w.tiles_n = tiles_of(a->in, TN);
    while (m < a->n_mats && status == AXL_OK) {
        const int64_t n = take_matrices(a, &m, &g, &w);
        const bool thin = is_thin(tiles_of(a->out, 128), tiles_of(a->out, 64), n * w.tiles_n);
        w.n_items = (int)n * tiles_of(a->out, thin ? 64 : 128) * w.tiles_n;
        status = launch_rows<false, false, true, float>(s, "gemm_grouped", *p, w, thin);
    }
    return status;
}

} // namespace

extern "C" bool axl_cuda_gemm_is_tensor(const axl_gemm_args *a)
{
    return a->dtype == AXL_BF16 && (a->dtype_c == AXL_BF16 || a->dtype_c == AXL_F32) &&
           !(a->trans_a && a->trans_b) && aligned(a->a, a->lda) && aligned(a->b, a->ldb) &&
           a->m < MOST && a->n < MOST && a->k < MOST && (a->m / 64 + 1) * (a->n / TN + 1) < MOST;
}

extern "C" bool axl_cuda_grouped_is_tensor(const axl_gemm_grouped_args *a)
{
    const int64_t rows = a->begin[a->n_groups];

    return a->dtype == AXL_BF16 && aligned(a->a, a->out) && aligned(a->b, a->in) &&
           (uintptr_t)a->c % 16 == 0 && a->out < MOST && a->in < MOST && rows < MOST &&
           (rows / 64 + a->n_groups) * ((a->out > a->in ? a->out : a->in) / TN + 1) < MOST &&
           a->n_mats * (a->out / 64 + 1) * (a->in / TN + 1) < MOST;
}

extern "C" axl_status axl_cuda_gemm_tensor(axl_stream *s, const axl_gemm_args *a)
{
    return a->dtype_c == AXL_F32 ? run<float>(s, a) : run<bf16>(s, a);
}

extern "C" axl_status axl_cuda_grouped_tensor(axl_stream *s, const axl_gemm_grouped_args *a)
{
    tensor_product p = {};

    p.a = (const bf16 *)a->a;
    p.b = (const bf16 *)a->b;
    p.c = a->c;
    p.matrix_size = a->out * a->in;
    p.alpha = 1.0f;
    p.accumulate = a->accumulate;
    p.wide = true;
    return a->product == AXL_GROUPED_DW ? run_sums(s, a, &p) : run_rows(s, a, &p);
}
