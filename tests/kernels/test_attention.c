// RUN: np=1
// What the forwards of attention promise beyond their cases: no number of one sequence reaches another, on the fast
// kernels too; how far the rounded ones are from exact attention; and rounding to narrow formats itself.
#include "kernels/attention_impl.h"
#include "kernels/low.h"
#include "src/base/philox.h"
#include "tests/check.h"
#include "tests/kernels/compare.h"

#include <stdlib.h>

enum { H = 4, HK = 2, D = 40, SEQS = 3, T = 303, LD_PROBS = 208 };

static const int32_t cu[SEQS + 1] = {0, 70, 270, T};

typedef struct arrays {
    void *q, *k, *v, *dout, *out, *lse, *delta, *dq, *dk, *dv, *probs;
} arrays;

static void *numbers(int64_t n, axl_dtype dtype, uint64_t seed, double spread)
{
    char *p = malloc((size_t)n * axl_dtype_size(dtype));

    assert_non_null(p);
    for (int64_t i = 0; i < n; i++) {
        const float x = (float)(spread * axl_random_normal(seed, AXL_RANDOM_TEST, (uint64_t)i));
        if (dtype == AXL_BF16)
            ((axl_bf16 *)(void *)p)[i] = axl_f32_to_bf16(x);
        else
            ((float *)(void *)p)[i] = x;
    }
    return p;
}

static void arrays_init(arrays *x, axl_dtype dtype)
{
    *x = (arrays){.q = numbers(T * H * D, dtype, 1, 1.0),
                  .k = numbers(T * HK * D, dtype, 2, 1.0),
                  .v = numbers(T * HK * D, dtype, 3, 1.0),
                  .dout = numbers(T * H * D, dtype, 4, 1.0),
                  .out = numbers(T * H * D, dtype, 5, 0.0),
                  .lse = numbers(T * H, AXL_F32, 6, 0.0),
                  .delta = numbers(T * H, AXL_F32, 7, 0.0),
                  .dq = numbers(T * H * D, dtype, 8, 0.0),
                  .dk = numbers(T * HK * D, dtype, 9, 0.0),
                  .dv = numbers(T * HK * D, dtype, 10, 0.0),
                  .probs = numbers((int64_t)T * H * LD_PROBS, AXL_F32, 11, 0.0)};
}

static void arrays_fini(arrays *x)
{
    void *all[] = {x->q,  x->k,  x->v,  x->dout,  x->out,  x->lse,
                   x->dq, x->dk, x->dv, x->probs, x->delta};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void attend(axl_device *d, const arrays *x, axl_dtype dtype, axl_attn_numerics numerics,
                   axl_mask mask)
{
    static const int32_t prefix[SEQS] = {20, 90, 5};
    const axl_attn_args a = {.q = x->q,
                             .k = x->k,
                             .v = x->v,
                             .ldq = H * D,
                             .ldk = HK * D,
                             .ldv = HK * D,
                             .ldo = H * D,
                             .cu_seqlens_q = cu,
                             .cu_seqlens_k = cu,
                             .n_seqs = SEQS,
                             .max_seqlen_q = 200,
                             .max_seqlen_k = 200,
                             .n_heads = H,
                             .n_kv_heads = HK,
                             .head_dim = D,
                             .v_head_dim = D,
                             .scale = 0.158113883f,
                             .mask = mask,
                             .prefix = prefix,
                             .dtype = dtype,
                             .out = x->out,
                             .lse = x->lse};
    const axl_attn_bwd_args b = {.fwd = a,
                                 .dout = x->dout,
                                 .delta = x->delta,
                                 .dq = x->dq,
                                 .dk = x->dk,
                                 .dv = x->dv,
                                 .dtype_grad = dtype};
    const axl_attn_delta_args delta = {.out = x->out,
                                       .dout = x->dout,
                                       .delta = x->delta,
                                       .n_tokens = T,
                                       .ldo = H * D,
                                       .n_heads = H,
                                       .v_head_dim = D,
                                       .dtype = dtype};

    if (numerics == AXL_ATTN_EAGER) {
        CHECK_OK(
            d->kernels->attn_eager_fwd(d->compute, &(axl_attn_eager_args){a, x->probs, LD_PROBS}));
        CHECK_OK(d->kernels->attn_eager_bwd(
            d->compute, &(axl_attn_eager_bwd_args){b, x->probs, LD_PROBS, x->delta}));
        return;
    }
    CHECK_OK(axl_attn_forward(d->kernels, d->compute, numerics, &a));
    if (axl_attn_repeats(numerics)) // its gradient is that of exact attention
        return;
    CHECK_OK(d->kernels->attn_delta(d->compute, &delta));
    CHECK_OK(d->kernels->attn_bwd(d->compute, &b));
}

// The middle sequence gets other, much larger numbers.
static void change_middle(const arrays *x, axl_dtype dtype)
{
    void *const all[] = {x->q, x->k, x->v, x->dout};
    const int64_t widths[] = {H * D, HK * D, HK * D, H * D};
    const size_t e = axl_dtype_size(dtype);

    for (int i = 0; i < 4; i++) {
        const int64_t n = (cu[2] - cu[1]) * widths[i];
        void *other = numbers(n, dtype, 20 + (uint64_t)i, 50.0);
        memcpy((char *)all[i] + (size_t)(cu[1] * widths[i]) * e, other, (size_t)n * e);
        free(other);
    }
}

static bool same_outside(const void *a, const void *b, int64_t width, size_t e)
{
    const size_t row = (size_t)width * e, from = (size_t)cu[1] * row, to = (size_t)cu[2] * row;

    return memcmp(a, b, from) == 0 &&
           memcmp((const char *)a + to, (const char *)b + to, (size_t)T * row - to) == 0;
}

static void check_leak(axl_device *d, axl_dtype dtype, axl_attn_numerics numerics, axl_mask mask)
{
    const size_t e = axl_dtype_size(dtype);
    arrays x, y;
    bool lse = true;

    arrays_init(&x, dtype);
    arrays_init(&y, dtype);
    change_middle(&y, dtype);
    attend(d, &x, dtype, numerics, mask);
    attend(d, &y, dtype, numerics, mask);
    for (int h = 0; h < H; h++)
        lse = lse && same_outside((const float *)x.lse + h * T, (const float *)y.lse + h * T, 1, 4);
    if (!lse || !same_outside(x.out, y.out, H * D, e) || !same_outside(x.dq, y.dq, H * D, e) ||
        !same_outside(x.dk, y.dk, HK * D, e) || !same_outside(x.dv, y.dv, HK * D, e))
        fail_msg("%s, %s, numerics %d, mask %d: a sequence reaches another", d->kernels->name,
                 axl_dtype_name(dtype), (int)numerics, (int)mask);
    assert_false(memcmp(x.out, y.out, (size_t)(T * H * D) * e) == 0);
    arrays_fini(&x);
    arrays_fini(&y);
}

static void no_forward_and_backward_leak_across_sequences(void **state)
{
    static const char *const levels[] = {"ref", "cpu-avx2", "cpu-avx512", "cpu-avx512-bf16"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        axl_device *d = kt_open_device(levels[i], i == 0 ? 1 : 2);
        for (int n = AXL_ATTN_EXACT; n <= AXL_ATTN_EAGER && d != NULL; n++) {
            check_leak(d, AXL_F32, (axl_attn_numerics)n, AXL_MASK_CAUSAL);
            check_leak(d, AXL_BF16, (axl_attn_numerics)n, AXL_MASK_CAUSAL);
            check_leak(d, AXL_F32, (axl_attn_numerics)n, AXL_MASK_PREFIX);
            check_leak(d, AXL_BF16, (axl_attn_numerics)n, AXL_MASK_FULL);
        }
        axl_device_destroy(d);
    }
}

// The root mean square of the difference of two arrays over that of the second.
static double distance(const float *a, const float *b, int64_t n)
{
    double off = 0, size = 0;

    for (int64_t i = 0; i < n; i++) {
        off += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(off / size);
}

// Keys whose channels have a large mean of their own: what SageAttention's smoothing is for.
static void shift_keys(const arrays *x)
{
    for (int64_t i = 0; i < (int64_t)T * HK * D; i++)
        ((float *)x->k)[i] += 20.0f * (float)sin((double)(i % D));
}

static void rounded_attention_stays_near_exact(void **state)
{
    static const struct {
        axl_attn_numerics numerics;
        bool shifted;
        double out, lse; // the most that may be off
    } rows[] = {
        {AXL_ATTN_SAGE, false, 0.02, 2e-3},
        {AXL_ATTN_SAGE, true, 0.02, 2e-3},
        {AXL_ATTN_FP8, false, 0.06, 1e-2},
    };
    axl_device *d = kt_open_device("cpu", 2);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        arrays x, y;
        arrays_init(&x, AXL_F32);
        arrays_init(&y, AXL_F32);
        if (rows[i].shifted) {
            shift_keys(&x);
            shift_keys(&y);
        }
        attend(d, &x, AXL_F32, AXL_ATTN_EXACT, AXL_MASK_CAUSAL);
        attend(d, &y, AXL_F32, rows[i].numerics, AXL_MASK_CAUSAL);
        const double out = distance(y.out, x.out, T * H * D), lse = distance(y.lse, x.lse, T * H);
        print_message("numerics %d, keys %s: out %.4f, lse %.5f off\n", (int)rows[i].numerics,
                      rows[i].shifted ? "shifted" : "plain", out, lse);
        assert_true(out > 1e-4 && out < rows[i].out);
        assert_true(lse < rows[i].lse);
        arrays_fini(&x);
        arrays_fini(&y);
    }
    axl_device_destroy(d);
}

static void fp16_rounding_is_that_of_the_library(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1u << 20; i++) {
        const uint32_t bits = i * 4096u + (i * 2654435761u >> 20);
        float x;
        memcpy(&x, &bits, sizeof x);
        if (!(fabsf(x) <= 65504.0f))
            continue;
        const float want = axl_f16_to_f32(axl_f32_to_f16(x));
        if (axl_low_round(x, AXL_LOW_FP16) != want)
            fail_msg("%.9g is rounded to %.9g, not %.9g", (double)x,
                     (double)axl_low_round(x, AXL_LOW_FP16), (double)want);
    }
    assert_true(axl_low_round(1e30f, AXL_LOW_FP16) == 65504.0f);
    assert_true(isnan(axl_low_round(NAN, AXL_LOW_FP16)));
}

static double e4m3(int code)
{
    const int exponent = code >> 3, mantissa = code & 7;

    return exponent == 0 ? ldexp(mantissa, -9) : ldexp(8 + mantissa, exponent - 10);
}

// All 127 numbers of either sign (OCP 8-bit floats: 448 is the largest), and the nearest of them for others; halves go
// to the even code.
static void e4m3_rounding_finds_the_nearest(void **state)
{
    (void)state;
    for (int c = 0; c < 126; c++) {
        const double low = e4m3(c), high = e4m3(c + 1), half = (low + high) / 2;
        assert_true((double)axl_low_round((float)low, AXL_LOW_E4M3) == low);
        assert_true((double)axl_low_round((float)-high, AXL_LOW_E4M3) == -high);
        assert_true((double)axl_low_round((float)half, AXL_LOW_E4M3) == (c % 2 == 0 ? low : high));
        assert_true((double)axl_low_round((float)(half * 0.999), AXL_LOW_E4M3) == low);
        assert_true((double)axl_low_round((float)(half * 1.001), AXL_LOW_E4M3) == high);
    }
    assert_true(axl_low_round(1e9f, AXL_LOW_E4M3) == 448.0f);
}

static void requirements_are_refused_by_name(void **state)
{
    static const struct {
        const char *name;
        axl_attn_needs needs;
        const char *says; // NULL: it serves
    } rows[] = {
        {"eager", {"llama", 2, 2, .packed = true}, "eager cannot join what 2 ranks"},
        {"eager", {"llama", 1, 2, .sinks = true}, "eager has no attention sinks"},
        {"sage",
         {"gemma2", 1, 2, .softcap = true},
         "sage has no softcap of scores, and gemma2 has"},
        {"s2", {"qwen2", 1, 2, .window = false}, "s2 is for llama models, not qwen2"},
        {"s2", {"llama", 1, 3, .window = false}, "even number of key-value heads, not 3"},
        {"s2", {"llama", 1, 2, .packed = true}, "s2 cannot be packed"},
        {"s2", {"llama", 4, 2, .window = false}, "s2 cannot join what 4 ranks"},
        {"s2", {"llama", 1, 2, .window = true}, "s2 has no sliding window"},
        {"s2", {"llama", 1, 2, .window = false}, NULL},
        {"fp8", {"gemma2", 4, 3, true, true, true, true}, NULL},
        {"xformers", {"gemma2", 4, 3, true, true, true, true}, NULL},
        {"flash_attention_2", {"gemma2", 4, 3, true, true, true, true}, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const axl_attn_impl *impl = axl_attn_impl_named(rows[i].name);
        assert_non_null(impl);
        const axl_status status = axl_attn_impl_check(impl, &rows[i].needs);
        assert_int_equal(status, rows[i].says == NULL ? AXL_OK : AXL_E_CONFIG);
        if (rows[i].says != NULL && strstr(axl_error_message(), rows[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", axl_error_message(), rows[i].says);
    }
}

// docs/attention.md holds the table as the rows make it.
static void the_page_follows_the_rows(void **state)
{
    axl_str table = {0};
    char text[1 << 15];
    FILE *f = fopen(AXL_SOURCE_DIR "/docs/attention.md", "r");

    (void)state;
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    (void)fclose(f);
    CHECK_OK(axl_attn_impl_markdown(&table));
    if (strstr(text, table.data) == NULL)
        fail_msg("docs/attention.md lacks this table:\n%s", table.data);
    axl_str_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_forward_and_backward_leak_across_sequences),
        cmocka_unit_test(rounded_attention_stays_near_exact),
        cmocka_unit_test(fp16_rounding_is_that_of_the_library),
        cmocka_unit_test(e4m3_rounding_finds_the_nearest),
        cmocka_unit_test(requirements_are_refused_by_name),
        cmocka_unit_test(the_page_follows_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
