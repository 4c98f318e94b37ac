// RUN: np=1
// A computed permutation: each number once, and no place that a number prefers.
#include "src/base/permute.h"
#include "tests/check.h"

#include <stdlib.h>

static void each_number_stands_at_one_place(void **state)
{
    (void)state;
    const int64_t sizes[] = {1, 2, 3, 5, 63, 64, 65, 1000, 4096, 4097, 99999, 1 << 20};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int64_t n = sizes[k];
        unsigned char *seen = calloc((size_t)n, 1);
        const axl_permuter p = axl_permuter_make(7, AXL_RANDOM_SHUFFLE, k, n);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = axl_permute(&p, i);
            assert_true(at >= 0 && at < n);
            assert_int_equal(seen[at], 0);
            seen[at] = 1;
        }
        free(seen);
    }
}

// Pearson's statistic of n equally likely cells; its mean is n - 1, its standard deviation sqrt(2 (n - 1)).
static double chi_square(const int64_t *count, int64_t n, int64_t draws)
{
    double sum = 0.0, expected = (double)draws / (double)n;

    for (int64_t i = 0; i < n; i++)
        sum += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    return sum;
}

static void every_order_of_four_is_equally_likely(void **state)
{
    (void)state;
    int64_t count[256] = {0}, dense[24] = {0}, n = 0;

    for (uint64_t s = 0; s < 48000; s++) {
        const axl_permuter p = axl_permuter_make(s, AXL_RANDOM_SHUFFLE, 1, 4);
        int code = 0;
        for (int64_t i = 0; i < 4; i++)
            code = 4 * code + (int)axl_permute(&p, i);
        count[code]++;
    }
    for (int c = 0; c < 256; c++) {
        if (count[c] > 0)
            dense[n < 24 ? n : 23] = count[c];
        n += count[c] > 0;
    }
    assert_int_equal(n, 24);
    assert_true(chi_square(dense, 24, 48000) < 23 + 5 * 6.8); // five standard deviations
}

// Over many streams: where does a number land, and how far from its neighbour?
static void places_and_distances_are_uniform(void **state)
{
    (void)state;
    enum { N = 100, DRAWS = 100000 };
    static int64_t place[N], distance[N];

    for (int64_t at = 0; at < N; at += 33) {
        for (int64_t i = 0; i < N; i++)
            place[i] = distance[i] = 0;
        for (uint64_t s = 0; s < DRAWS; s++) {
            const axl_permuter p = axl_permuter_make(42, AXL_RANDOM_SHUFFLE, s, N);
            int64_t a = axl_permute(&p, at), b = axl_permute(&p, (at + 1) % N);
            place[a]++;
            distance[(b - a + N) % N]++;
        }
        assert_true(chi_square(place, N, DRAWS) < 99 + 5 * 14.1);
        assert_int_equal(distance[0], 0);
        assert_true(chi_square(distance + 1, N - 1, DRAWS) < 98 + 5 * 14.0);
    }
}

// A long permutation moves its numbers as a random one does: one fixed point on average, and pairs of
// neighbours in either order.
static void a_long_permutation_looks_random(void **state)
{
    (void)state;
    enum { N = 300000, BLOCKS = 64 };
    static int64_t count[BLOCKS * BLOCKS];
    int64_t fixed = 0, rising = 0, before = -1;
    const axl_permuter p = axl_permuter_make(3, AXL_RANDOM_SHUFFLE, 1, N);

    for (int64_t i = 0; i < N; i++) {
        int64_t at = axl_permute(&p, i);
        fixed += at == i;
        rising += at > before;
        before = at;
        count[i * BLOCKS / N * BLOCKS + at * BLOCKS / N]++;
    }
    assert_true(fixed < 10);
    assert_true(labs((long)(rising - N / 2)) < 5 * 158); // the standard deviation is sqrt(n / 12)
    // rows and columns of the table are full, so it has (BLOCKS - 1)^2 degrees of freedom
    double x = chi_square(count, (int64_t)BLOCKS * BLOCKS, N);
    assert_true(x > 3969 - 5 * 89.1 && x < 3969 + 5 * 89.1);
}

static void another_seed_or_stream_is_another_order(void **state)
{
    (void)state;
    const axl_permuter a = axl_permuter_make(1, AXL_RANDOM_SHUFFLE, 1, 1000);
    const axl_permuter b = axl_permuter_make(2, AXL_RANDOM_SHUFFLE, 1, 1000);
    const axl_permuter c = axl_permuter_make(1, AXL_RANDOM_SHUFFLE, 2, 1000);
    int ab = 0, ac = 0;

    for (int64_t i = 0; i < 1000; i++) {
        ab += axl_permute(&a, i) == axl_permute(&b, i);
        ac += axl_permute(&a, i) == axl_permute(&c, i);
    }
    assert_true(ab < 12 && ac < 12);
    // also where no table would fit
    const int64_t n = (int64_t)1 << 40;
    const axl_permuter d = axl_permuter_make(1, AXL_RANDOM_SHUFFLE, 1, n);
    const axl_permuter e = axl_permuter_make(2, AXL_RANDOM_SHUFFLE, 1, n);
    assert_in_range(axl_permute(&d, 77), 0, n - 1);
    assert_true(axl_permute(&d, 77) != axl_permute(&e, 77));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_stands_at_one_place),
        cmocka_unit_test(every_order_of_four_is_equally_likely),
        cmocka_unit_test(places_and_distances_are_uniform),
        cmocka_unit_test(a_long_permutation_looks_random),
        cmocka_unit_test(another_seed_or_stream_is_another_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
