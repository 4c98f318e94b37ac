// RUN: np=1
// The order in which arrays of several ranks are added: a tree whose aligned blocks can be added alone.
#include "tests/check.h"

#include "comm/transport.h"
#include "src/base/philox.h"

#include <math.h>
#include <stdlib.h>

enum { N = 1100, RANKS = 16 }; // more than a block of elements, and a part of one

typedef struct arrays {
    float f32[RANKS][N], f32_sum[RANKS][N], f32_root[N];
    double f64[RANKS][N], f64_sum[RANKS][N], f64_root[N];
    axl_bf16 bf16[RANKS][N];
} arrays;

static arrays *make(void)
{
    arrays *a = calloc(1, sizeof *a);

    for (int r = 0; r < RANKS; r++) {
        for (int i = 0; i < N; i++) {
            const double x = axl_random_normal((uint64_t)r, AXL_RANDOM_TEST, (uint64_t)i);
            a->f64[r][i] = x * exp(3.0 * axl_random_normal(77, AXL_RANDOM_TEST, (uint64_t)(r * i)));
            a->f32[r][i] = (float)a->f64[r][i];
            a->bf16[r][i] = axl_f32_to_bf16(a->f32[r][i]);
        }
    }
    return a;
}

// src[k] = row k of a [][N] array of elements of this size.
static void rows_of(const void *array, size_t element, int first, int n, const void **src)
{
    for (int k = 0; k < n; k++)
        src[k] = (const char *)array + (size_t)(first + k) * N * element;
}

static void a_sum_of_16_is_the_sum_of_sums_of_blocks(void **state)
{
    arrays *a = make();
    const void *src[RANKS];

    (void)state;
    for (int k = 0; k < 2 * 3; k++) {
        const axl_dtype dtype = k % 2 == 0 ? AXL_F32 : AXL_BF16;
        const void *leaves = k % 2 == 0 ? (const void *)a->f32 : (const void *)a->bf16;
        const int block = 2 << k / 2;
        rows_of(leaves, axl_dtype_size(dtype), 0, RANKS, src);
        axl_reduce_sum(src, RANKS, dtype, N, a->f32_root, false);
        for (int b = 0; b < RANKS / block; b++) {
            rows_of(leaves, axl_dtype_size(dtype), b * block, block, src);
            axl_reduce_sum(src, block, dtype, N, a->f32_sum[b], false);
        }
        rows_of(a->f32_sum, sizeof(float), 0, RANKS / block, src);
        axl_reduce_sum(src, RANKS / block, AXL_F32, N, a->f32_sum[0], false); // over a summand
        assert_memory_equal(a->f32_sum[0], a->f32_root, sizeof a->f32_root);
    }
    for (int block = 2; block < RANKS; block *= 2) {
        rows_of(a->f64, sizeof(double), 0, RANKS, src);
        axl_reduce_any(src, RANKS, AXL_F64, AXL_REDUCE_SUM, N, a->f64_root);
        for (int b = 0; b < RANKS / block; b++) {
            rows_of(a->f64, sizeof(double), b * block, block, src);
            axl_reduce_any(src, block, AXL_F64, AXL_REDUCE_SUM, N, a->f64_sum[b]);
        }
        rows_of(a->f64_sum, sizeof(double), 0, RANKS / block, src);
        axl_reduce_any(src, RANKS / block, AXL_F64, AXL_REDUCE_SUM, N, a->f64_sum[0]);
        assert_memory_equal(a->f64_sum[0], a->f64_root, sizeof a->f64_root);
    }
    free(a);
}

// The tree as a formula: the largest power of two below n stands on the left.
static float by_formula(const arrays *a, int first, int n, int i)
{
    int left = 1;

    if (n == 1)
        return a->f32[first][i];
    while (left * 2 < n)
        left *= 2;
    return by_formula(a, first, left, i) + by_formula(a, first + left, n - left, i);
}

static void any_number_of_ranks_is_joined_from_the_small_end(void **state)
{
    arrays *a = make();
    const void *src[RANKS];

    (void)state;
    rows_of(a->f32, sizeof(float), 0, RANKS, src);
    for (int n = 1; n <= RANKS; n++) {
        axl_reduce_sum(src, n, AXL_F32, N, a->f32_root, false);
        for (int i = 0; i < N; i++)
            assert_true(a->f32_root[i] == by_formula(a, 0, n, i));
        axl_reduce_any(src, n, AXL_F32, AXL_REDUCE_SUM, N, a->f32_sum[0]);
        assert_memory_equal(a->f32_sum[0], a->f32_root, sizeof a->f32_root);
    }
    free(a);
}

static void accumulate_adds_the_whole_sum_to_the_old_value(void **state)
{
    arrays *a = make();
    const void *src[RANKS];

    (void)state;
    for (int n = 1; n <= 5; n++) {
        rows_of(a->f32, sizeof(float), 1, n, src);
        axl_reduce_sum(src, n, AXL_F32, N, a->f32_root, false);
        memcpy(a->f32_sum[0], a->f32[0], sizeof a->f32[0]);
        axl_reduce_sum(src, n, AXL_F32, N, a->f32_sum[0], true);
        for (int i = 0; i < N; i++)
            assert_true(a->f32_sum[0][i] == a->f32[0][i] + a->f32_root[i]);
    }
    free(a);
}

static void a_nan_wins_every_maximum(void **state)
{
    float x[3][2] = {{1.0F, 5.0F}, {NAN, -2.0F}, {4.0F, 3.0F}};
    const void *src[] = {x[0], x[1], x[2]};
    float out[2];

    (void)state;
    axl_reduce_any(src, 3, AXL_F32, AXL_REDUCE_MAX, 2, out);
    assert_true(isnan(out[0]) && out[1] == 5.0F);
    axl_reduce_any(src, 3, AXL_F32, AXL_REDUCE_MIN, 2, out);
    assert_true(isnan(out[0]) && out[1] == -2.0F);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_of_16_is_the_sum_of_sums_of_blocks),
        cmocka_unit_test(any_number_of_ranks_is_joined_from_the_small_end),
        cmocka_unit_test(accumulate_adds_the_whole_sum_to_the_old_value),
        cmocka_unit_test(a_nan_wins_every_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
