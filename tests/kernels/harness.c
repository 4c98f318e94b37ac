// Arrays of a case, and the clock of the benchmark.
#include "tests/kernels/harness.h"

#include "kernels/low.h"
#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *take_aligned(size_t bytes)
{
    return aligned_alloc(64, (bytes + 127) / 64 * 64);
}

kt_memory kt_arrays = {take_aligned, free};
bool kt_library = false;

void kt_run_fini(kt_run *r)
{
    for (int i = 0; i < r->n_buffers; i++)
        kt_arrays.give(r->buffers[i].data);
    r->n_buffers = 0;
    for (int i = 0; i < r->n_rooms; i++)
        kt_arrays.give(r->rooms[i]);
    r->n_rooms = 0;
}

void *kt_room(kt_run *r, size_t bytes)
{
    void *p = kt_arrays.take(bytes);

    AXL_ASSERT(p != NULL && r->n_rooms < KT_MAX_ROOMS);
    memset(p, 0, bytes);
    r->rooms[r->n_rooms++] = p;
    return p;
}

axl_dtype kt_stat(const kt_run *r)
{
    return r->dtype == AXL_F64 ? AXL_F64 : AXL_F32;
}

static void put(void *data, axl_dtype dtype, int64_t i, double value)
{
    if (dtype == AXL_F64)
        ((double *)data)[i] = value;
    else if (dtype == AXL_BF16)
        ((axl_bf16 *)data)[i] = axl_f32_to_bf16((float)value);
    else if (dtype == AXL_I32)
        ((int32_t *)data)[i] = isnan(value) ? INT32_MIN : (int32_t)value;
    else if (dtype == AXL_F8_E4M3)
        ((uint8_t *)data)[i] = axl_e4m3_from_f32((float)value);
    else
        ((float *)data)[i] = (float)value;
}

double kt_get(const kt_buffer *b, int64_t i)
{
    if (b->dtype == AXL_F64)
        return ((const double *)b->data)[i];
    if (b->dtype == AXL_BF16)
        return (double)axl_bf16_to_f32(((const axl_bf16 *)b->data)[i]);
    if (b->dtype == AXL_I32)
        return (double)((const int32_t *)b->data)[i];
    if (b->dtype == AXL_F8_E4M3)
        return (double)axl_e4m3_to_f32(((const uint8_t *)b->data)[i]);
    return (double)((const float *)b->data)[i];
}

void kt_set(kt_run *r, int64_t i, double value)
{
    const kt_buffer *b = &r->buffers[r->n_buffers - 1];

    put(b->data, b->dtype, i, value);
}

static double on_grid(double x, axl_dtype grid)
{
    if (grid == AXL_BF16)
        return (double)axl_bf16_to_f32(axl_f32_to_bf16((float)x));
    return grid == AXL_F32 ? (double)(float)x : x;
}

// Large arrays are for the benchmark: there a cheap sequence will do.
static double random_at(uint64_t name, int64_t i, int64_t n)
{
    if (n < 1 << 18)
        return axl_random_normal(name, AXL_RANDOM_TEST, (uint64_t)i);
    uint64_t x = (uint64_t)i * 0x9e3779b97f4a7c15u + name;
    x ^= x >> 29;
    return (double)(x * 0xbf58476d1ce4e5b9u >> 40) * 0x1p-24 * 3.4 - 1.7;
}

static kt_buffer *new_buffer(kt_run *r, const char *name, int64_t rows, int64_t cols, int64_t ld,
                             axl_dtype dtype)
{
    kt_buffer *b = &r->buffers[r->n_buffers++];
    const size_t bytes = (size_t)(rows * ld) * axl_dtype_size(dtype);

    AXL_ASSERT(r->n_buffers <= KT_MAX_BUFFERS);
    *b = (kt_buffer){
        .name = name, .dtype = dtype, .rows = rows, .cols = cols, .ld = ld, .roundings = 1};
    b->data = kt_arrays.take(bytes);
    AXL_ASSERT(b->data != NULL);
    return b;
}

static void fill_random(kt_run *r, const kt_buffer *b, double scale)
{
    const uint64_t hash = axl_hash64(b->name, strlen(b->name), 0);
    const int64_t n = b->rows * b->ld;

    for (int64_t i = 0; i < n; i++) {
        double x = on_grid(scale * random_at(hash, i, n), r->grid);
        if (r->nudged != NULL && i == r->nudged_index && strcmp(b->name, r->nudged) == 0)
            x += r->nudge;
        put(b->data, b->dtype, i, x);
    }
}

void *kt_in(kt_run *r, const char *name, int64_t rows, int64_t cols, int64_t ld, axl_dtype dtype,
            double scale)
{
    kt_buffer *b = new_buffer(r, name, rows, cols, ld, dtype);

    fill_random(r, b, scale);
    return b->data;
}

void *kt_out(kt_run *r, const char *name, int64_t rows, int64_t cols, int64_t ld, axl_dtype dtype,
             int64_t reduction)
{
    kt_buffer *b = new_buffer(r, name, rows, cols, ld, dtype);

    b->output = true;
    b->reduction = reduction;
    b->precision = dtype;
    for (int64_t i = 0; i < rows * ld; i++)
        put(b->data, dtype, i, (double)NAN);
    return b->data;
}

void *kt_inout(kt_run *r, const char *name, int64_t rows, int64_t cols, int64_t ld, axl_dtype dtype,
               double scale, int64_t reduction)
{
    kt_buffer *b = new_buffer(r, name, rows, cols, ld, dtype);

    b->output = true;
    b->reduction = reduction;
    b->precision = dtype;
    fill_random(r, b, scale);
    for (int64_t t = 0; t < rows; t++)
        for (int64_t c = cols; c < ld; c++)
            put(b->data, dtype, t * ld + c, (double)NAN);
    return b->data;
}

void *kt_sum(kt_run *r, bool add, const char *name, int64_t rows, int64_t cols, int64_t ld,
             axl_dtype dtype, int64_t reduction)
{
    if (add)
        return kt_inout(r, name, rows, cols, ld, dtype, 1.0, reduction);
    return kt_out(r, name, rows, cols, ld, dtype, reduction);
}

void kt_rounds(kt_run *r, int roundings)
{
    r->buffers[r->n_buffers - 1].roundings = roundings;
    if (r->dtype == AXL_BF16)
        r->buffers[r->n_buffers - 1].precision = AXL_BF16;
}

void kt_terms(kt_run *r, double size)
{
    r->buffers[r->n_buffers - 1].terms = size;
}

const kt_buffer *kt_find(const kt_run *r, const char *name)
{
    for (int i = 0; i < r->n_buffers; i++)
        if (strcmp(r->buffers[i].name, name) == 0)
            return &r->buffers[i];
    return NULL;
}

bool kt_again(kt_run *r, kt_clock *c)
{
    const double now = axl_now();

    if (r->status != AXL_OK) // the message is that of the first failure
        return false;
    if (c->calls > 0) {
        const double took = now - c->begin;
        c->spent += took;
        if (c->calls > 1 && (c->calls == 2 || took < c->best)) // the first call warms up
            c->best = took;
    }
    if (c->calls > 0 && (!r->timed || (c->calls > 4 && (c->spent > 0.25 || c->calls > 200))))
        return false;
    c->calls++;
    c->begin = axl_now();
    return true;
}

void kt_note(kt_run *r, const kt_clock *c, const char *entry, double flops, double bytes)
{
    if (r->timed && r->n_rates < KT_MAX_RATES)
        r->rates[r->n_rates++] = (kt_rate){entry, c->best, flops, bytes};
}
