// Parts of several ranks become one, in the order of a binary tree: a counter has one digit a power of two, and a
// digit holds the sum of so many parts.
#ifdef AXL_REF

static real AXL_REF(join)(axl_reduce_op op, real a, real b)
{
    if (op == AXL_REDUCE_SUM)
        return R_ADD(a, b);
    if (op == AXL_REDUCE_MAX)
        return b > a || R_NAN(b) ? b : a;
    return b < a || R_NAN(b) ? b : a;
}

static real AXL_REF(tree)(const axl_sum_parts_args *a, const axl_sum_parts_item *x, int64_t i)
{
    const elem *own = x->own, *parts = x->parts;
    real digits[32];
    int top = 0;

    for (int k = 0; k < a->n_parts; k++) {
        const int place = own != NULL && k > a->own_index ? k - 1 : k;
        const elem *part = own != NULL && k == a->own_index ? own : parts + place * x->stride;
        digits[top++] = (real)load(part[i]);
        for (int carry = k; carry % 2 == 1; carry /= 2, top--)
            digits[top - 2] = AXL_REF(join)(a->op, digits[top - 2], digits[top - 1]);
    }
    for (; top > 1; top--) // blocks without a partner, from the small end
        digits[top - 2] = AXL_REF(join)(a->op, digits[top - 2], digits[top - 1]);
    return digits[0];
}

static void AXL_REF(sum_item)(const axl_sum_parts_args *a, const axl_sum_parts_item *x)
{
    for (int64_t i = 0; i < x->n; i++) {
        const real sum = AXL_REF(tree)(a, x, i);
        if (a->out_dtype == AXL_REF_DTYPE && !x->accumulate)
            ((elem *)x->out)[i] = store(sum);
        else
            axl_ref_put(x->out, i, a->out_dtype, (double)sum, x->accumulate);
    }
}

static void AXL_REF(sum_parts)(const axl_sum_parts_args *a)
{
    for (int i = 0; i < a->n_items; i++)
        AXL_REF(sum_item)(a, &a->items[i]);
}

#else

#include "kernels/ref/ref.h"

#define R_ADD(a, b)  ((a) + (b))
#define R_NAN(x)     ((x) != (x)) // and stays
#define AXL_REF_FILE "kernels/ref/sum_parts.c"
#include "kernels/ref/each_dtype.h"

// Integers: a sum too large wraps.
#undef R_ADD
#undef R_NAN
#define R_ADD(a, b)   ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define R_NAN(x)      false
#define elem          int64_t
#define real          int64_t
#define load(x)       (x)
#define store(x)      (x)
#define AXL_REF(name) name##_i64
#define AXL_REF_DTYPE AXL_I64
#include AXL_REF_FILE // NOLINT(bugprone-suspicious-include): a kernel is its own template

axl_status axl_ref_sum_parts(axl_stream *s, const axl_sum_parts_args *a)
{
    if (a->dtype == AXL_I64) {
        sum_parts_i64(a);
        return AXL_OK;
    }
    AXL_REF_DISPATCH(sum_parts, a->dtype);
}

#endif
