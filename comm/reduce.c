// Sums, maxima and minima of arrays from several ranks, in the order of a fixed binary tree (transport.h).
// The hard part is that the tree must cost no more than adding one after the other and that the result
// may overwrite a summand. So work goes block by block: a block is read from all ranks, the sums that
// wait for their partner lie in one small buffer a level, as a binary counter has one digit a power of
// two, and all of it stays in the first-level cache.
#include "comm/transport.h"

#include <string.h>

enum { BLOCK = 1024, MAX_LEVELS = 20 }; // elements; halvings of a number of ranks

// What depends on the type of the elements and on the operation. A leaf is a block as a rank sent it; an
// acc is a block of the type that is computed in.
typedef struct rule {
    size_t leaf, acc;                                                 // bytes of an element
    void (*load)(void *acc, const void *leaf, int64_t n);             // the one leaf
    void (*pair)(void *acc, const void *a, const void *b, int64_t n); // two leaves
    void (*join)(void *acc, const void *a, const void *b,
                 int64_t n); // two accs; acc may be one of them
    void (*store)(void *leaf, const void *acc, int64_t n);
} rule;

#define SUM(a, b) ((a) + (b))
#define MAX(a, b) ((b) > (a) || (b) != (b) ? (b) : (a)) // a NaN stays
#define MIN(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))

// out = a op b. The arrays are equal or apart, so elements may be taken in any order.
#define JOIN(name, type, op)                                                                       \
    static void name(void *out, const void *a, const void *b, int64_t n)                           \
    {                                                                                              \
        const type *x = a, *y = b;                                                                 \
        /* NOLINTNEXTLINE(bugprone-macro-parentheses): a type stands bare */                       \
        type *z = out;                                                                             \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) z[i] = op(x[i], y[i]);                \
    }

JOIN(sum_f32, float, SUM)
JOIN(max_f32, float, MAX)
JOIN(min_f32, float, MIN)
JOIN(sum_f64, double, SUM)
JOIN(max_f64, double, MAX)
JOIN(min_f64, double, MIN)
JOIN(sum_i64, uint64_t, SUM) // unsigned: a sum too large wraps
JOIN(max_i64, int64_t, MAX)
JOIN(min_i64, int64_t, MIN)

// The same for leaves of bf16.
#define JOIN_BF16(name, op)                                                                        \
    static void name(void *out, const void *a, const void *b, int64_t n)                           \
    {                                                                                              \
        const axl_bf16 *x = a, *y = b;                                                             \
        float *restrict z = out; /* a level is never a leaf */                                     \
        for (int64_t i = 0; i < n; i++)                                                            \
            z[i] = op(axl_bf16_to_f32(x[i]), axl_bf16_to_f32(y[i]));                               \
    }

JOIN_BF16(sum_bf16, SUM)
JOIN_BF16(max_bf16, MAX)
JOIN_BF16(min_bf16, MIN)

static void copy_4(void *out, const void *a, int64_t n)
{
    memcpy(out, a, (size_t)n * 4);
}

static void copy_8(void *out, const void *a, int64_t n)
{
    memcpy(out, a, (size_t)n * 8);
}

static void widen(void *out, const void *a, int64_t n)
{
    const axl_bf16 *x = a;
    float *z = out;

    for (int64_t i = 0; i < n; i++)
        z[i] = axl_bf16_to_f32(x[i]);
}

static void narrow(void *out, const void *a, int64_t n)
{
    const float *x = a;
    axl_bf16 *z = out;

    for (int64_t i = 0; i < n; i++)
        z[i] = axl_f32_to_bf16(x[i]);
}

static const rule rules_f32[] = {
    [AXL_REDUCE_SUM] = {4, 4, copy_4, sum_f32, sum_f32, copy_4},
    [AXL_REDUCE_MAX] = {4, 4, copy_4, max_f32, max_f32, copy_4},
    [AXL_REDUCE_MIN] = {4, 4, copy_4, min_f32, min_f32, copy_4},
};
static const rule rules_f64[] = {
    [AXL_REDUCE_SUM] = {8, 8, copy_8, sum_f64, sum_f64, copy_8},
    [AXL_REDUCE_MAX] = {8, 8, copy_8, max_f64, max_f64, copy_8},
    [AXL_REDUCE_MIN] = {8, 8, copy_8, min_f64, min_f64, copy_8},
};
static const rule rules_i64[] = {
    [AXL_REDUCE_SUM] = {8, 8, copy_8, sum_i64, sum_i64, copy_8},
    [AXL_REDUCE_MAX] = {8, 8, copy_8, max_i64, max_i64, copy_8},
    [AXL_REDUCE_MIN] = {8, 8, copy_8, min_i64, min_i64, copy_8},
};
static const rule rules_bf16[] = {
    [AXL_REDUCE_SUM] = {2, 4, widen, sum_bf16, sum_f32, narrow},
    [AXL_REDUCE_MAX] = {2, 4, widen, max_bf16, max_f32, narrow},
    [AXL_REDUCE_MIN] = {2, 4, widen, min_bf16, min_f32, narrow},
};

static const rule *find_rule(axl_dtype dtype, axl_reduce_op op)
{
    if (dtype == AXL_F32)
        return &rules_f32[op];
    if (dtype == AXL_F64)
        return &rules_f64[op];
    return dtype == AXL_I64 ? &rules_i64[op] : &rules_bf16[op];
}

typedef union level {
    float f32[BLOCK];
    double f64[BLOCK];
} level;

// Elements at .. at + n of all leaves become levels[0].
static void tree(const rule *r, const void *const *src, int n_src, int64_t at, int64_t n,
                 level *levels)
{
    const size_t from = (size_t)at * r->leaf;
    int top = 0; // levels in use

    for (int k = 0; k < n_src; k += 2) {
        const char *a = (const char *)src[k] + from;
        if (k + 1 < n_src)
            r->pair(&levels[top], a, (const char *)src[k + 1] + from, n);
        else
            r->load(&levels[top], a, n);
        top++;
        // as many carries as the number of pairs before this one ends in ones
        for (int pairs = k / 2; pairs % 2 == 1; pairs /= 2, top--)
            r->join(&levels[top - 2], &levels[top - 2], &levels[top - 1], n);
    }
    for (; top > 1; top--) // blocks without a partner, from the small end
        r->join(&levels[top - 2], &levels[top - 2], &levels[top - 1], n);
}

void axl_reduce_sum(const void *const *src, int n_src, axl_dtype dtype, int64_t n, float *dst,
                    bool accumulate)
{
    const rule *r = find_rule(dtype, AXL_REDUCE_SUM);
    level levels[MAX_LEVELS];

    AXL_ASSERT(n_src >> MAX_LEVELS == 0);
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t m = n - at < BLOCK ? n - at : BLOCK;
        tree(r, src, n_src, at, m, levels);
        if (accumulate)
            sum_f32(dst + at, dst + at, levels, m);
        else
            copy_4(dst + at, levels, m);
    }
}

void axl_reduce_any(const void *const *src, int n_src, axl_dtype dtype, axl_reduce_op op, int64_t n,
                    void *dst)
{
    const rule *r = find_rule(dtype, op);
    level levels[MAX_LEVELS];

    AXL_ASSERT(n_src >> MAX_LEVELS == 0);
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t m = n - at < BLOCK ? n - at : BLOCK;
        char *out = (char *)dst + (size_t)at * r->leaf;
        if (n_src == 2 && r->leaf == r->acc) { // the tree is one pair: straight into its place
            const size_t from = (size_t)at * r->leaf;
            r->pair(out, (const char *)src[0] + from, (const char *)src[1] + from, m);
            continue;
        }
        tree(r, src, n_src, at, m, levels);
        r->store(out, levels, m);
    }
}
