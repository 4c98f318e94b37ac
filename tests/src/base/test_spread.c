// RUN: np=1
// Standard deviations of floats, against sums in long double and against numbers that are known exactly.
#include "src/base/philox.h"
#include "src/base/spread.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

static double std_of(const float *x, int64_t n)
{
    axl_spread s = {0};

    axl_spread_add(&s, x, n);
    return axl_spread_std(&s);
}

// In two passes, as it is defined.
static double defined(const float *x, int64_t n)
{
    long double mean = 0.0L, sum = 0.0L;

    for (int64_t i = 0; i < n; i++)
        mean += (long double)x[i];
    mean /= (long double)n;
    for (int64_t i = 0; i < n; i++)
        sum += ((long double)x[i] - mean) * ((long double)x[i] - mean);
    return (double)sqrtl(sum / (long double)(n - 1));
}

static void agrees_with_the_definition(void **state)
{
    (void)state;
    static const double means[] = {0.0, 1.0, -3e-6, 4000.0}, scales[] = {0.02, 1e-7, 3.0, 1e-20};
    enum { N = 40000 };
    float *x = malloc(N * sizeof *x);

    for (int k = 0; k < 16; k++) {
        for (int i = 0; i < N; i++)
            x[i] = (float)(means[k / 4] +
                           scales[k % 4] * axl_random_normal(7, AXL_RANDOM_INIT, (uint64_t)i));
        const double want = defined(x, N), got = std_of(x, N);
        if (!(fabs(got - want) <= 1e-11 * want))
            fail_msg("mean %g, scale %g: %.17g, expected %.17g", means[k / 4], scales[k % 4], got,
                     want);
    }
    free(x);
}

static void small_cases_are_exact(void **state)
{
    (void)state;
    const float two[] = {-1.0f, 1.0f}, four[] = {2.0f, 4.0f, 4.0f, 6.0f}, one[] = {5.0f};
    const float tiny[] = {0x1p-149f, -0x1p-149f}, huge[] = {0x1.fffffep127f, -0x1.fffffep127f};
    float equal[1000];

    for (int i = 0; i < 1000; i++)
        equal[i] = -0.1f;
    assert_true(std_of(two, 2) == sqrt(2.0));
    assert_true(std_of(four, 4) == sqrt(8.0 / 3.0));
    assert_true(std_of(one, 1) == 0.0 && std_of(one, 0) == 0.0);
    assert_true(std_of(tiny, 2) == sqrt(2.0) * 0x1p-149);
    assert_true(fabs(std_of(huge, 2) / (sqrt(2.0) * 0x1.fffffep127) - 1.0) < 4e-16);
    assert_true(std_of(equal, 1000) == 0.0);
}

// Numbers of all sizes beside each other: the small ones are lost in no sum.
static void any_order_and_any_parts_give_the_same_bits(void **state)
{
    (void)state;
    enum { N = 50000 };
    float *x = malloc(N * sizeof *x), *back = malloc(N * sizeof *x);
    axl_spread whole = {0}, parts = {0};

    for (int i = 0; i < N; i++) {
        const int exponent = (int)(250 * axl_random_uniform(3, AXL_RANDOM_INIT, (uint64_t)i)) - 140;
        x[i] = (float)ldexp(axl_random_normal(5, AXL_RANDOM_INIT, (uint64_t)i), exponent);
        back[N - 1 - i] = x[i];
    }
    axl_spread_add(&whole, x, N);
    for (int64_t at = 0, n = 1; at < N; at += n, n = n * 3 % 7919) {
        axl_spread one = {0};
        axl_spread_add(&one, back + at, n < N - at ? n : N - at);
        for (int w = 0; w < AXL_SPREAD_WORDS; w++)
            parts.words[w] += one.words[w];
    }
    assert_true(axl_spread_std(&whole) == axl_spread_std(&parts));
    assert_true(axl_spread_std(&whole) == std_of(back, N));
    free(x);
    free(back);
}

static void numbers_that_are_not_finite_are_told(void **state)
{
    (void)state;
    const float bad[] = {1.0f, INFINITY, 2.0f, NAN};
    axl_spread s = {0};

    axl_spread_add(&s, bad, 1);
    assert_true(axl_spread_finite(&s));
    axl_spread_add(&s, bad + 1, 3);
    assert_false(axl_spread_finite(&s));
    assert_true(isnan(axl_spread_std(&s)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_definition),
        cmocka_unit_test(small_cases_are_exact),
        cmocka_unit_test(any_order_and_any_parts_give_the_same_bits),
        cmocka_unit_test(numbers_that_are_not_finite_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
