// The tensor core products beyond their case lists: which products they take, and what their bits depend on.
#include "kernels/cuda/cuda_entries.h"
#include "kernels/cuda/gemm_tensor.h"
#include "tests/cuda_emu/emu_test.h"
#include "tests/kernels/compare.h"

#include <stdlib.h>

const axl_kernels axl_kernels_cuda = {
    .name = "cuda", .gemm = axl_cuda_gemm, .gemm_grouped = axl_cuda_gemm_grouped};

enum { M = 200, N = 144, K = 104, MOST = 320 * 160 };
static axl_bf16 a[MOST] __attribute__((aligned(16))), b[MOST] __attribute__((aligned(16)));
static axl_bf16 c[MOST] __attribute__((aligned(16))), other[MOST] __attribute__((aligned(16)));
static float sums[MOST] __attribute__((aligned(16)));

static void fill(axl_bf16 *x, uint32_t seed)
{
    for (int i = 0; i < MOST; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = axl_f32_to_bf16((float)(int32_t)seed * 0x1p-31f);
    }
}

static axl_device *open_cuda(void)
{
    axl_device *d = NULL;

    fill(a, 1);
    fill(b, 2);
    CHECK_OK(axl_cuda_device_create(0, &d));
    return d;
}

static axl_gemm_args forward(int64_t m, const axl_bf16 *x, axl_bf16 *y)
{
    return (axl_gemm_args){.m = m,
                           .n = N,
                           .k = K,
                           .a = x,
                           .b = b,
                           .c = y,
                           .lda = K,
                           .ldb = K,
                           .ldc = N,
                           .trans_b = true,
                           .alpha = 1.0f,
                           .dtype = AXL_BF16,
                           .dtype_c = AXL_BF16};
}

static void multiply(axl_device *d, const axl_gemm_args *g)
{
    CHECK_OK(d->kernels->gemm(d->compute, g));
    CHECK_OK(d->ops->synchronize(d->compute));
}

static void aligned_rows_of_bf16_are_taken(void **state)
{
    (void)state;
    const axl_gemm_args taken = forward(M, a, c);
    axl_gemm_args g = taken;

    assert_true(axl_cuda_gemm_is_tensor(&g));
    g.c = c + 1; // results may lie anywhere
    g.ldc = N + 1;
    g.n = 27;
    g.k = 61;
    assert_true(axl_cuda_gemm_is_tensor(&g));
    g = taken;
    g.a = a + 1;
    assert_false(axl_cuda_gemm_is_tensor(&g));
    g = taken;
    g.b = b + 4;
    assert_false(axl_cuda_gemm_is_tensor(&g));
    g = taken;
    g.lda = K + 4;
    assert_false(axl_cuda_gemm_is_tensor(&g));
    g = taken;
    g.trans_a = true;
    assert_false(axl_cuda_gemm_is_tensor(&g));
    g = taken;
    g.dtype = g.dtype_c = AXL_F32;
    assert_false(axl_cuda_gemm_is_tensor(&g));
}

static void operands_between_vectors_are_multiplied_too(void **state)
{
    (void)state;
    axl_device *d = open_cuda(), *ref = kt_open_device("ref", 1);

    for (int64_t at = 0; at < 4; at++) { // of A and B; C lies elsewhere each time
        axl_gemm_args g = forward(M, a + at, c + at % 3);
        g.b = b + at / 2;
        multiply(d, &g);
        g.c = other;
        multiply(ref, &g);
        for (int64_t i = 0; i < (int64_t)M * N; i++) {
            const float x = axl_bf16_to_f32(c[at % 3 + i]), y = axl_bf16_to_f32(other[i]);
            assert_true(x - y <= 0.02f * (1.0f + (y < 0 ? -y : y)) &&
                        y - x <= 0.02f * (1.0f + (y < 0 ? -y : y)));
        }
    }
    axl_device_destroy(ref);
    d->ops->destroy(d);
}

// By a chip of this capability.
static void check_rows(int major)
{
    emu_set_arch(major * 10);
    axl_device *d = open_cuda();
    axl_gemm_args g = forward(M, a, c);
    const int64_t begin[] = {0, 130, 130, 199, M};
    const int32_t matrix[] = {0, 0, 0, 0};
    const axl_gemm_grouped_args rows = {.product = AXL_GROUPED_Y,
                                        .begin = begin,
                                        .matrix = matrix,
                                        .n_groups = 4,
                                        .n_mats = 1,
                                        .out = N,
                                        .in = K,
                                        .a = a,
                                        .b = b,
                                        .c = other,
                                        .dtype = AXL_BF16};

    multiply(d, &g);
    g = forward(3, a + 77 * K, other); // some other tile, and place in it
    multiply(d, &g);
    assert_memory_equal(other, c + 77 * N, 3 * N * sizeof *c);
    CHECK_OK(d->kernels->gemm_grouped(d->compute, &rows));
    CHECK_OK(d->ops->synchronize(d->compute));
    assert_memory_equal(other, c, (size_t)M * N * sizeof *c);
    d->ops->destroy(d);
}

static void a_row_does_not_depend_on_other_rows(void **state)
{
    (void)state;
    for (int major = 8; major < 10; major++)
        check_rows(major);
    emu_set_arch(90);
}

// A gradient of three matrices, one without rows, by a device of n multiprocessors.
static void gradients(int n, int major, float *out)
{
    const int64_t begin[] = {0, 33, 34, 150, 150, M};
    const int32_t matrix[] = {0, 2, 0, 1, 2};
    const axl_gemm_grouped_args g = {.product = AXL_GROUPED_DW,
                                     .begin = begin,
                                     .matrix = matrix,
                                     .n_groups = 5,
                                     .n_mats = 3,
                                     .out = 136,
                                     .in = 72,
                                     .a = a,
                                     .b = b,
                                     .c = sums,
                                     .dtype = AXL_BF16};

    emu_set_multiprocessors(n);
    emu_set_arch(major * 10);
    axl_device *d = open_cuda();
    CHECK_OK(d->kernels->gemm_grouped(d->compute, &g));
    CHECK_OK(d->ops->synchronize(d->compute));
    memcpy(out, sums, sizeof(float) * 3 * 136 * 72);
    d->ops->destroy(d);
}

static void bits_do_not_depend_on_multiprocessors(void **state)
{
    (void)state;
    static float first[3 * 136 * 72], second[3 * 136 * 72];

    for (int major = 8; major < 10; major++) {
        gradients(1, major, first);
        gradients(30, major, second);
        assert_memory_equal(first, second, sizeof first);
    }
    emu_set_multiprocessors(4);
}

static void reads_of_shared_memory_meet_no_bank_twice(void **state)
{
    (void)state;
    emu_set_arch(80);
    axl_device *d = open_cuda();
    axl_gemm_args g = forward(M, a, c);
    const long long before = emu_bank_conflicts();

    multiply(d, &g); // both along k
    g.trans_b = false;
    g.ldb = N;
    multiply(d, &g);
    g.trans_a = true;
    g.lda = M;
    multiply(d, &g);
    assert_true(emu_bank_conflicts() == before);
    d->ops->destroy(d);
    emu_set_arch(90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_rows_of_bf16_are_taken),
        cmocka_unit_test(operands_between_vectors_are_multiplied_too),
        cmocka_unit_test(a_row_does_not_depend_on_other_rows),
        cmocka_unit_test(bits_do_not_depend_on_multiprocessors),
        cmocka_unit_test(reads_of_shared_memory_meet_no_bank_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
