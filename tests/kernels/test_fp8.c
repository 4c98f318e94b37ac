// RUN: np=1
// e4m3 and its scales by their definition: every code, the nearest number, powers of two, zeros, infinities - on ref and
// on each CPU level.
#include "kernels/low.h"
#include "tests/check.h"
#include "tests/kernels/compare.h"

static const char *const backends[] = {"ref", "cpu-avx2", "cpu-avx512", "cpu-avx512-bf16"};
#define N_BACKENDS ((int)(sizeof backends / sizeof backends[0]))

// The value of a code, from the format's definition.
static double value_of(int code)
{
    const int e = code >> 3 & 15, m = code & 7;
    const double size = e == 0 ? ldexp(m, -9) : ldexp(8 + m, e - 10);

    return (code & 0x80) != 0 ? -size : size;
}

static void codes_are_those_of_the_format(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++) {
        const float x = axl_e4m3_to_f32((uint8_t)code);
        if ((code & 0x7f) == 0x7f) {
            assert_true(isnan(x));
            continue;
        }
        assert_true((double)x == value_of(code));
        assert_int_equal(axl_e4m3_from_f32(x), code);
    }
}

// Ties go to the even mantissa; what is beyond 448 becomes 448.
static void the_nearest_number_is_taken(void **state)
{
    (void)state;
    for (int code = 0; code < 0x7e; code++) {
        const double low = value_of(code), high = value_of(code + 1), middle = (low + high) / 2;
        assert_int_equal(axl_e4m3_from_f32((float)middle), (code & 1) == 0 ? code : code + 1);
        assert_int_equal(axl_e4m3_from_f32(nextafterf((float)middle, 0.0f)), code);
        assert_int_equal(axl_e4m3_from_f32(nextafterf((float)middle, 1e9f)), code + 1);
        assert_int_equal(axl_e4m3_from_f32(nextafterf(-(float)middle, -1e9f)), 0x80 | (code + 1));
    }
    assert_int_equal(axl_e4m3_from_f32(1e9f), 0x7e);
    assert_int_equal(axl_e4m3_from_f32(NAN), 0x7f);
}

static void the_scale_is_the_least_power_of_two(void **state)
{
    (void)state;
    for (int e = -30; e < 100; e++) {
        const float edge = ldexpf(1.75f, e);
        assert_true(axl_fp8_scale(edge) == ldexpf(1.0f, e - 8));
        assert_true(axl_fp8_scale(nextafterf(edge, INFINITY)) == ldexpf(1.0f, e - 7));
        assert_true(axl_fp8_scale(ldexpf(1.0f, e)) == ldexpf(1.0f, e - 8));
    }
    assert_true(axl_fp8_scale(0.0f) > 0.0f && axl_fp8_scale(0.0f) == axl_fp8_scale(1e-12f));
    assert_true(isnan(axl_fp8_scale(INFINITY)) && isnan(axl_fp8_scale(NAN)));
}

enum { ROWS = 4, COLS = 35 };

// A row of zeros gives zeros; a row with an infinity or a NaN gives NaN, and no other row does.
static void only_rows_with_infinities_are_lost(axl_device *d, axl_dtype dtype)
{
    const float bad[ROWS] = {1.0f, 0.0f, INFINITY, NAN};
    float x[ROWS * COLS] = {0}, scale[ROWS], one = 1.0f, c[ROWS * COLS];
    axl_bf16 h[ROWS * COLS], ch[ROWS * COLS];
    uint8_t q[ROWS * COLS], w[COLS * COLS];
    const bool bf16 = dtype == AXL_BF16;

    for (int r = 0; r < ROWS; r++) {
        x[r * COLS + 33] = bad[r];
        x[r * COLS + 2] = r == 1 ? 0.0f : -0.5f;
    }
    assert_int_equal(axl_convert_from_f32(x, h, AXL_BF16, ROWS * COLS), 0);
    memset(w, axl_e4m3_from_f32(2.0f), sizeof w);
    const axl_cast_fp8_args a = {.src = bf16 ? (void *)h : (void *)x,
                                 .rows = ROWS,
                                 .cols = COLS,
                                 .dtype = dtype,
                                 .dst = q,
                                 .scale = scale};
    const axl_gemm_fp8_args g = {.m = ROWS,
                                 .n = COLS,
                                 .k = COLS,
                                 .a = q,
                                 .b = w,
                                 .scale_a = scale,
                                 .scale_b = &one,
                                 .trans_b = true,
                                 .dtype = dtype,
                                 .c = bf16 ? (void *)ch : (void *)c};
    CHECK_OK(d->kernels->cast_fp8(d->compute, &a));
    CHECK_OK(d->kernels->gemm_fp8(d->compute, &g));
    if (bf16)
        assert_int_equal(axl_convert_to_f32(ch, AXL_BF16, c, ROWS * COLS), 0);
    for (int i = 0; i < COLS; i++) {
        assert_true(c[i] == 1.0f && c[COLS + i] == 0.0f);
        assert_true(isnan(c[2 * COLS + i]) && isnan(c[3 * COLS + i]));
    }
}

static void zeros_and_infinities(void **state)
{
    (void)state;
    for (int i = 0; i < N_BACKENDS; i++) {
        axl_device *d = kt_open_device(backends[i], 1);
        if (d == NULL)
            continue;
        only_rows_with_infinities_are_lost(d, AXL_F32);
        only_rows_with_infinities_are_lost(d, AXL_BF16);
        axl_device_destroy(d);
    }
}

static void the_largest_may_be_infinite_or_none(void **state)
{
    enum { N = 45 };

    (void)state;
    for (int i = 0; i < N_BACKENDS; i++) {
        axl_device *d = kt_open_device(backends[i], 1);
        float x[N], most = 0.0f;
        const axl_amax_args a = {.x = x, .n = N, .dtype = AXL_F32, .out = &most};
        if (d == NULL)
            continue;
        for (int k = 0; k < N; k++)
            x[k] = -(float)k;
        CHECK_OK(d->kernels->amax(d->compute, &a));
        assert_true(most == N - 1);
        x[3] = -INFINITY;
        CHECK_OK(d->kernels->amax(d->compute, &a));
        assert_true(most == INFINITY);
        x[N - 2] = NAN;
        CHECK_OK(d->kernels->amax(d->compute, &a));
        assert_true(isnan(most));
        x[N - 2] = 0.0f;
        CHECK_OK(d->kernels->amax(d->compute, &a)); // it stays
        assert_true(isnan(most));
        axl_device_destroy(d);
    }
}

// What a smaller tensor gives is what a larger one gives, but for numbers below 2^-14 of the largest.
static void another_scale_changes_only_the_smallest(void **state)
{
    enum { N = 4096 };
    static float x[N];
    static uint8_t q[2][N];
    float scale[2], amax[2] = {8.0f, 16.0f};
    axl_device *d = kt_open_device("cpu", 1);
    int changed = 0;

    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = ldexpf(1.0f + (float)(i * 61 % 997) / 1000.0f, 2 - i % 24);
    for (int k = 0; k < 2; k++) {
        const axl_cast_fp8_args a = {.src = x,
                                     .rows = 1,
                                     .cols = N,
                                     .dtype = AXL_F32,
                                     .amax = &amax[k],
                                     .dst = q[k],
                                     .scale = &scale[k]};
        CHECK_OK(d->kernels->cast_fp8(d->compute, &a));
    }
    for (int i = 0; i < N; i++) {
        const float a = axl_e4m3_to_f32(q[0][i]) * scale[0],
                    b = axl_e4m3_to_f32(q[1][i]) * scale[1];
        if (x[i] >= ldexpf(amax[1], -14))
            assert_true(a == b);
        changed += a != b;
    }
    assert_true(scale[1] == 2.0f * scale[0] && changed > 0);
    axl_device_destroy(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_the_format),
        cmocka_unit_test(the_nearest_number_is_taken),
        cmocka_unit_test(the_scale_is_the_least_power_of_two),
        cmocka_unit_test(zeros_and_infinities),
        cmocka_unit_test(the_largest_may_be_infinite_or_none),
        cmocka_unit_test(another_scale_changes_only_the_smallest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
