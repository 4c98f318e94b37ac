// Normalisation of rows: some threads a row, by its length, whose vectors stay in registers between the passes. What does
// not fit there (rows of more than 8192 bf16) is read again.
#include "kernels/cuda/columns.cuh"

namespace
{

constexpr int KEPT = 4; // vectors of a row in the registers of a thread, on the way forward
template <class T>
constexpr int KEPT_BWD = 16 / axl_width<T>; // and back, where sums of columns take many

// Calls use(vector, column) for the vectors of a row that belong to a thread.
template <int P, bool wide, class T, class F>
__device__ __forceinline__ void over_row(const axl_raw<T, axl_width<T>> (&keep)[KEPT], const T *row,
                                         int cols, int at, F use)
{
    constexpr int W = axl_width<T>;

#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        const int c = (k * P + at) * W;
        if (c < cols)
            use(keep[k], c);
    }
    if constexpr (P == AXL_THREADS) // the others have short rows only
        for (int c = (KEPT * P + at) * W; c < cols; c += P * W)
            use(axl_fetch<wide, W>(row + c, cols - c), c);
}

template <int P, bool wide, class T, int K>
__device__ __forceinline__ void keep_row(axl_raw<T, axl_width<T>> (&keep)[K], const T *row,
                                         int cols, int at)
{
    constexpr int W = axl_width<T>;

#pragma unroll
    for (int k = 0; k < K; k++) {
        const int c = (k * P + at) * W;
        if (c < cols)
            keep[k] = axl_fetch<wide, W>(row + c, cols - c);
    }
}

// The factors of the normalised values from column c on: w, 1 + w, or 1 without a weight.
template <bool wide, class T, int W>
__device__ __forceinline__ void load_weights(const void *w, axl_norm_kind kind, int64_t c, int cols,
                                             float (&out)[W])
{
    const float plus = kind == AXL_NORM_RMS1P ? 1.0f : 0.0f;

    if (w == nullptr) {
#pragma unroll
        for (int e = 0; e < W; e++)
            out[e] = 1.0f;
        return;
    }
    axl_load<wide>((const T *)w + c, cols - c, out);
#pragma unroll
    for (int e = 0; e < W; e++)
        out[e] += plus;
}

template <class T, int P, bool wide>
__global__ void __launch_bounds__(AXL_THREADS) norm_fwd(axl_norm_args a)
{
    constexpr int W = axl_width<T>;
    AXL_SHARED_ARRAY(float, scratch, AXL_ROW_SCRATCH);
    const int at = (int)threadIdx.x % P;
    const int64_t r = (int64_t)blockIdx.x * (AXL_THREADS / P) + (int)threadIdx.x / P;
    const bool live = r < a.rows;            // all lanes take part in the sums
    const int cols = live ? (int)a.cols : 0; // the others read nothing: out may be x
    const T *x = (const T *)a.x + r * cols;
    T *out = (T *)a.out + r * cols;
    axl_raw<T, W> keep[KEPT];
    float mean = 0.0f, square = 0.0f, none = 0.0f;

    keep_row<P, wide>(keep, x, cols, at);
    if (a.kind == AXL_NORM_LAYER) {
        over_row<P, wide>(keep, x, cols, at, [&](const axl_raw<T, W> &v, int) {
#pragma unroll
            for (int e = 0; e < W; e++) // zeros stand beyond the row
                mean += axl_to_float(v.v[e]);
        });
        axl_row_sums<P>(&mean, &none, scratch, 0);
        mean /= (float)cols;
    }
    over_row<P, wide>(keep, x, cols, at, [&](const axl_raw<T, W> &v, int c) {
#pragma unroll
        for (int e = 0; e < W; e++) {
            const float d = axl_to_float(v.v[e]) - mean;
            square += wide || c + e < cols ? d * d : 0.0f;
        }
    });
    axl_row_sums<P>(&square, &none, scratch, 1);
    const float rstd = 1.0f / sqrtf(square / (float)cols + a.eps);
    if (!live)
        return; // no barrier follows
    over_row<P, wide>(keep, x, cols, at, [&](const axl_raw<T, W> &v, int c) {
        float w[W], b[W] = {}, y[W];
        load_weights<wide, T>(a.w, a.kind, c, cols, w);
        if (a.b != nullptr && a.kind == AXL_NORM_LAYER)
            axl_load<wide>((const T *)a.b + c, cols - c, b);
#pragma unroll
        for (int e = 0; e < W; e++) {
            float hat = (axl_to_float(v.v[e]) - mean) * rstd;
            if (a.kind == AXL_NORM_RMS)
                hat = axl_to_float(axl_from_float<T>(hat)); // as Llama rounds
            y[e] = w[e] * hat + b[e];
        }
        axl_store<wide>(out + c, cols - c, y);
    });
    if (at == 0) {
        ((float *)a.rstd)[r] = rstd;
        if (a.mean != nullptr)
            ((float *)a.mean)[r] = mean;
    }
}

template <class T, int P> axl_status launch_fwd(axl_stream *s, const axl_norm_args *a, bool wide)
{
    return axl_cuda_launch(s, "norm_fwd", wide ? norm_fwd<T, P, true> : norm_fwd<T, P, false>,
                           dim3(axl_cuda_blocks(a->rows, AXL_THREADS / P)), dim3(AXL_THREADS), 0,
                           *a);
}

template <class T> axl_status run_fwd(axl_stream *s, const axl_norm_args *a)
{
    const bool wide = a->cols % axl_width<T> == 0 && axl_is_aligned(a->x) && axl_is_aligned(a->w) &&
                      axl_is_aligned(a->b) && axl_is_aligned(a->out);
    const int64_t vectors = (a->cols + axl_width<T> - 1) / axl_width<T>;

    return vectors <= 8 * KEPT    ? launch_fwd<T, 8>(s, a, wide)
           : vectors <= 32 * KEPT ? launch_fwd<T, 32>(s, a, wide)
                                  : launch_fwd<T, AXL_THREADS>(s, a, wide);
}

// ---- the gradient: a block takes a chunk of rows, and keeps the sums of its columns in registers

constexpr int LONG_ROW = 512; // threads of the longest rows; a thread keeps 16 columns

// Where a block puts the sums of its columns that no register holds, and at the end those of the others.
struct norm_partial {
    float *dw, *db; // [chunks, cols]; NULL: not wanted
    int rows;       // of a chunk; a multiple of the rows that a block takes at once
};

// Sums columns over the rows that a block took at once, in their order, into part. shared: [AXL_THREADS * K * W].
template <class T, int P>
__device__ __forceinline__ void put_columns(const float (&sum)[KEPT_BWD<T>][axl_width<T>],
                                            float *part, int cols, int at, float *shared)
{
    constexpr int W = axl_width<T>, K = KEPT_BWD<T>, R = P < AXL_THREADS ? AXL_THREADS / P : 1,
                  LINE = P * K * W;

    if (part == nullptr)
        return;
    if constexpr (R == 1) {
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int e = 0; e < W; e++)
                if ((k * P + at) * W + e < cols)
                    part[(k * P + at) * W + e] = sum[k][e];
    } else {
        __syncthreads(); // the sums before may still be read
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int e = 0; e < W; e++)
                shared[(int)threadIdx.x / P * LINE + (k * P + at) * W + e] = sum[k][e];
        __syncthreads();
        for (int c = (int)threadIdx.x; c < cols; c += AXL_THREADS) {
            float all = 0.0f;
            for (int g = 0; g < R; g++)
                all += shared[g * LINE + c];
            part[c] = all;
        }
    }
}

template <class T> struct bwd_row {
    const T *x, *dout;
    T *dx;
    float rstd, mean;
    float *dw, *db; // [cols] sums of the columns that no register holds; NULL: not wanted
};

// One row: its two sums, dx, and its part of the column sums.
template <class T, int P, bool wide, bool shift>
__device__ __forceinline__ void bwd_one(const axl_norm_bwd_args &a, const bwd_row<T> &row,
                                        bool live, float (&dw)[KEPT_BWD<T>][axl_width<T>],
                                        float (&db)[KEPT_BWD<T>][axl_width<T>], float *scratch,
                                        int turn)
{
    constexpr int W = axl_width<T>, K = KEPT_BWD<T>;
    const int at = (int)threadIdx.x % P, cols = (int)a.cols;
    axl_raw<T, W> x[K], g[K];
    float g_hat = 0.0f, g_sum = 0.0f;

    keep_row<P, wide>(x, row.x, cols, at);
    keep_row<P, wide>(g, row.dout, cols, at);
    auto sum = [&](const axl_raw<T, W> &xv, const axl_raw<T, W> &gv, int c, float *to_dw,
                   float *to_db) {
        float w[W];
        load_weights<wide, T>(a.w, a.kind, c, cols, w);
#pragma unroll
        for (int e = 0; e < W; e++) {
            const float d = axl_to_float(gv.v[e]);
            const float hat = (axl_to_float(xv.v[e]) - row.mean) * row.rstd;
            g_hat += w[e] * d * hat;
            g_sum += w[e] * d;
            if (live && (wide || c + e < cols)) {
                if (to_dw != nullptr)
                    to_dw[e] += d * hat;
                if (shift && to_db != nullptr)
                    to_db[e] += d;
            }
        }
    };
#pragma unroll
    for (int k = 0; k < K; k++)
        if ((k * P + at) * W < cols)
            sum(x[k], g[k], (k * P + at) * W, dw[k], db[k]);
    if constexpr (P == LONG_ROW)
        for (int c = (K * P + at) * W; c < cols; c += P * W)
            sum(axl_fetch<wide, W>(row.x + c, cols - c), axl_fetch<wide, W>(row.dout + c, cols - c),
                c, row.dw != nullptr ? row.dw + c : nullptr,
                row.db != nullptr ? row.db + c : nullptr);
    axl_row_sums<P>(&g_hat, &g_sum, scratch, turn);
    if (!live)
        return;
    if (a.kind != AXL_NORM_LAYER)
        g_sum = 0.0f; // the mean of x is not taken away
    auto slope = [&](const axl_raw<T, W> &xv, const axl_raw<T, W> &gv, int c) {
        float w[W], d[W], before[W];
        load_weights<wide, T>(a.w, a.kind, c, cols, w);
        if (a.accumulate_dx)
            axl_load<wide>(row.dx + c, cols - c, before);
#pragma unroll
        for (int e = 0; e < W; e++) {
            const float hat = (axl_to_float(xv.v[e]) - row.mean) * row.rstd;
            d[e] = row.rstd * (w[e] * axl_to_float(gv.v[e]) - (g_sum + hat * g_hat) / (float)cols);
            d[e] = a.accumulate_dx ? before[e] + d[e] : d[e];
        }
        axl_store<wide>(row.dx + c, cols - c, d);
    };
#pragma unroll
    for (int k = 0; k < K; k++)
        if ((k * P + at) * W < cols)
            slope(x[k], g[k], (k * P + at) * W);
    if constexpr (P == LONG_ROW)
        for (int c = (K * P + at) * W; c < cols; c += P * W)
            slope(axl_fetch<wide, W>(row.x + c, cols - c),
                  axl_fetch<wide, W>(row.dout + c, cols - c), c);
}

template <class T, int P, bool wide, bool shift>
__global__ void __launch_bounds__(P < AXL_THREADS ? AXL_THREADS : P)
    norm_bwd(axl_norm_bwd_args a, norm_partial part)
{
    constexpr int W = axl_width<T>, K = KEPT_BWD<T>, R = P < AXL_THREADS ? AXL_THREADS / P : 1;
    AXL_SHARED_ARRAY(float, scratch, AXL_ROW_SCRATCH);
    AXL_SHARED_ARRAY(float, columns, R == 1 ? 1 : AXL_THREADS * K * W);
    const int at = (int)threadIdx.x % P, group = (int)threadIdx.x / P, cols = (int)a.cols;
    const int64_t first = (int64_t)blockIdx.x * part.rows;
    const int64_t end = first + part.rows < a.rows ? first + part.rows : a.rows;
    float *part_dw = part.dw != nullptr ? part.dw + (int64_t)blockIdx.x * cols : nullptr;
    float *part_db = part.db != nullptr ? part.db + (int64_t)blockIdx.x * cols : nullptr;
    float dw[K][W] = {}, db[K][W] = {};

    for (int c = (K * P + at) * W; c < cols; c += P * W)
        for (int e = 0; e < W && c + e < cols; e++) {
            if (part_dw != nullptr)
                part_dw[c + e] = 0.0f;
            if (part_db != nullptr)
                part_db[c + e] = 0.0f;
        }
    for (int64_t i = 0; first + i < end; i += R) { // each thread goes round equally often
        const bool live = first + i + group < end;
        const int64_t r = live ? first + i + group : first;
        const bwd_row<T> row = {(const T *)a.x + r * cols,
                                (const T *)a.dout + r * cols,
                                (T *)a.dx + r * cols,
                                ((const float *)a.rstd)[r],
                                a.kind == AXL_NORM_LAYER ? ((const float *)a.mean)[r] : 0.0f,
                                part_dw,
                                part_db};
        bwd_one<T, P, wide, shift>(a, row, live, dw, db, scratch, (int)(i / R));
    }
    put_columns<T, P>(dw, part_dw, cols, at, columns);
    if constexpr (shift)
        put_columns<T, P>(db, part_db, cols, at, columns);
}

template <class T, int P>
axl_status launch_bwd(axl_stream *s, const axl_norm_bwd_args *a, bool wide, unsigned chunks,
                      const norm_partial *part)
{
    auto kernel = part->db != nullptr
                      ? (wide ? norm_bwd<T, P, true, true> : norm_bwd<T, P, false, true>)
                      : (wide ? norm_bwd<T, P, true, false> : norm_bwd<T, P, false, false>);

    return axl_cuda_launch(s, "norm_bwd", kernel, dim3(chunks),
                           dim3(P < AXL_THREADS ? AXL_THREADS : P), 0, *a, *part);
}

template <class T> axl_status run_bwd(axl_stream *s, const axl_norm_bwd_args *a)
{
    axl_status status = AXL_OK;
    const bool wide = a->cols % axl_width<T> == 0 && axl_is_aligned(a->x) && axl_is_aligned(a->w) &&
                      axl_is_aligned(a->dout) && axl_is_aligned(a->dx);
    const int P = a->cols <= 16 * 16    ? 16
                  : a->cols <= 64 * 16  ? 64
                  : a->cols <= 256 * 16 ? 256
                                        : LONG_ROW;
    const int at_once = P < AXL_THREADS ? AXL_THREADS / P : 1;
    const int n = axl_chunks(s, a->rows, a->cols, 2);
    const int64_t rows = n > 0 ? (a->rows + n - 1) / n : 1;
    float *work = (float *)s->device->workspace;
    norm_partial part = {nullptr, nullptr, (int)((rows + at_once - 1) / at_once * at_once)};
    const unsigned chunks = axl_cuda_blocks(a->rows, part.rows);

    if (a->dw != nullptr)
        part.dw = work;
    if (a->db != nullptr)
        part.db = work + (int64_t)chunks * a->cols;
    status = P == 16    ? launch_bwd<T, 16>(s, a, wide, chunks, &part)
             : P == 64  ? launch_bwd<T, 64>(s, a, wide, chunks, &part)
             : P == 256 ? launch_bwd<T, 256>(s, a, wide, chunks, &part)
                        : launch_bwd<T, LONG_ROW>(s, a, wide, chunks, &part);
    if (status == AXL_OK && a->dw != nullptr)
        status = axl_sum_chunks(s, part.dw, (int)chunks, a->cols, a->dw, a->accumulate_dw);
    if (status == AXL_OK && a->db != nullptr)
        status = axl_sum_chunks(s, part.db, (int)chunks, a->cols, a->db, a->accumulate_dw);
    return status;
}

} // namespace

extern "C" axl_status axl_cuda_norm_fwd(axl_stream *s, const axl_norm_args *a)
{
    return a->dtype == AXL_BF16  ? run_fwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_fwd<float>(s, a)
                                 : axl_cuda_no_dtype("norm_fwd", a->dtype);
}

extern "C" axl_status axl_cuda_norm_bwd(axl_stream *s, const axl_norm_bwd_args *a)
{
    return a->dtype == AXL_BF16  ? run_bwd<bf16>(s, a)
           : a->dtype == AXL_F32 ? run_bwd<float>(s, a)
                                 : axl_cuda_no_dtype("norm_bwd", a->dtype);
}
