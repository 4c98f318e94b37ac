// RUN: np=1
// Every case of every kernel: ref in f32 and bf16 against ref in f64, ref's gradients against finite
// differences of its forward pass in f64, each CPU level of this machine against ref, and one thread
// against two.
#include "tests/check.h"
#include "tests/kernels/compare.h"

#include <stdlib.h>

static void ref_f32_agrees_with_f64(void **state)
{
    axl_device *ref = kt_open_device("ref", 1);

    (void)state;
    kt_compare_devices(ref, AXL_F64, &ref, 1, AXL_F32);
    axl_device_destroy(ref);
}

static void ref_bf16_agrees_with_f64(void **state)
{
    axl_device *ref = kt_open_device("ref", 1);

    (void)state;
    kt_compare_devices(ref, AXL_F64, &ref, 1, AXL_BF16);
    axl_device_destroy(ref);
}

// The loss of a run: the sum over the listed pairs of output times weight.
static double loss_of(const kt_kernel *k, const kt_run *r)
{
    double loss = 0;

    for (int p = 0; p < 2 && k->sums[p][0] != NULL; p++) {
        const kt_buffer *out = kt_find(r, k->sums[p][0]), *weight = kt_find(r, k->sums[p][1]);
        if (out == NULL) // this case does without
            continue;
        for (int64_t t = 0; t < out->rows; t++)
            for (int64_t c = 0; c < out->cols; c++)
                loss += kt_get(out, t * out->ld + c) * kt_get(weight, t * weight->ld + c);
    }
    return loss;
}

static double nudged_loss(const kt_kernel *k, const kt_head *c, axl_device *d, const char *input,
                          int64_t index, double nudge)
{
    kt_run r = {.nudged = input, .nudged_index = index, .nudge = nudge};

    kt_run_case(&r, k, c, d, AXL_F64, AXL_F32);
    double loss = loss_of(k, &r);
    kt_run_fini(&r);
    return loss;
}

static void check_gradients(const kt_kernel *k, const kt_head *c, axl_device *d)
{
    const double h = 1e-5;
    kt_run r = {0};

    kt_run_case(&r, k, c, d, AXL_F64, AXL_F32);
    for (int p = 0; p < 4 && k->grads[p][0] != NULL; p++) {
        const kt_buffer *x = kt_find(&r, k->grads[p][0]), *dx = kt_find(&r, k->grads[p][1]);
        if (x == NULL || dx == NULL || x->rows * x->cols == 0)
            continue;
        const double scale = kt_root_mean_square(dx);
        for (int64_t s = 0; s < 4; s++) {
            const int64_t row = s * 7 % x->rows, col = s * 13 % x->cols, at = row * x->ld + col;
            const double up = nudged_loss(k, c, d, x->name, at, h);
            const double down = nudged_loss(k, c, d, x->name, at, -h);
            const double slope = (up - down) / (2 * h), given = kt_get(dx, row * dx->ld + col);
            if (!(fabs(slope - given) <= 1e-6 * (fabs(given) + scale)))
                fail_msg("%s.%s: d loss / d %s[%lld] is %.9g, finite differences give %.9g",
                         k->name, c->name, x->name, (long long)at, given, slope);
        }
    }
    kt_run_fini(&r);
}

static void ref_gradients_agree_with_finite_differences(void **state)
{
    axl_device *ref = kt_open_device("ref", 1);

    (void)state;
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases; j++)
            if (kt_case_at(kt_kernels[i], j)->flags & KT_GRAD)
                check_gradients(kt_kernels[i], kt_case_at(kt_kernels[i], j), ref);
    axl_device_destroy(ref);
}

static void each_level_agrees_with_ref(void **state)
{
    static const char *const levels[] = {"cpu-avx2", "cpu-avx512", "cpu-avx512-bf16"};
    axl_device *ref = kt_open_device("ref", 1), *devices[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        devices[i] = kt_open_device(levels[i], 2);
    kt_compare_devices(ref, AXL_F32, devices, 3, AXL_F32);
    kt_compare_devices(ref, AXL_BF16, devices, 3, AXL_BF16);
    for (int i = 0; i < 3; i++)
        axl_device_destroy(devices[i]);
    axl_device_destroy(ref);
}

// The least workspace that a case runs in: attention then has no room for the sums of bf16 gradients and goes
// another way.
static size_t least_workspace(const kt_kernel *k, const kt_head *c, axl_device *d)
{
    size_t low = 0, high = AXL_WORKSPACE_BYTES;

    while (high - low > 4096) {
        kt_run r = {.device = d, .dtype = AXL_BF16, .grid = AXL_BF16};
        d->workspace_bytes = low + (high - low) / 2;
        k->run(&r, c);
        if (r.status == AXL_OK)
            high = d->workspace_bytes;
        else
            low = d->workspace_bytes;
        kt_run_fini(&r);
    }
    return high;
}

static void attention_needs_little_workspace(void **state)
{
    axl_device *ref = kt_open_device("ref", 1), *d = kt_open_device("cpu", 2);
    const size_t whole = d->workspace_bytes;

    (void)state;
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases && strcmp(kt_kernels[i]->name, "attn") == 0;
             j++) {
            const kt_head *c = kt_case_at(kt_kernels[i], j);
            kt_run left = {0}, right = {0};
            if (c->flags & KT_BENCH)
                continue;
            d->workspace_bytes = least_workspace(kt_kernels[i], c, d);
            kt_run_case(&left, kt_kernels[i], c, ref, AXL_BF16, AXL_BF16);
            kt_run_case(&right, kt_kernels[i], c, d, AXL_BF16, AXL_BF16);
            kt_compare_runs(kt_kernels[i], c, &left, &right);
            kt_run_fini(&left);
            kt_run_fini(&right);
        }
    d->workspace_bytes = whole;
    axl_device_destroy(d);
    axl_device_destroy(ref);
}

static void expect_equal_bits(const kt_kernel *k, const kt_head *c, axl_device *one,
                              axl_device *many, axl_dtype dtype)
{
    kt_run a = {0}, b = {0};

    kt_run_case(&a, k, c, one, dtype, dtype);
    kt_run_case(&b, k, c, many, dtype, dtype);
    for (int i = 0; i < a.n_buffers; i++) {
        const kt_buffer *x = &a.buffers[i], *y = &b.buffers[i];
        const size_t bytes = (size_t)(x->rows * x->ld) * axl_dtype_size(x->dtype);
        if (memcmp(x->data, y->data, bytes) != 0)
            fail_msg("%s.%s: %s differs between 1 and %d threads", k->name, c->name, x->name,
                     many->n_threads);
    }
    kt_run_fini(&a);
    kt_run_fini(&b);
}

// Bit for bit, but for the gemm library.
static void threads_do_not_change_results(void **state)
{
    axl_device *one = kt_open_device("cpu", 1), *two = kt_open_device("cpu", 2),
               *three = kt_open_device("cpu", 3);

    (void)state;
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases; j++) {
            const kt_head *c = kt_case_at(kt_kernels[i], j);
            if (c->flags & (KT_BENCH | KT_LOOSE))
                continue;
            expect_equal_bits(kt_kernels[i], c, one, two, AXL_F32);
            expect_equal_bits(kt_kernels[i], c, one, three, AXL_F32);
            if (!(c->flags & KT_F32))
                expect_equal_bits(kt_kernels[i], c, one, two, AXL_BF16);
        }
    axl_device_destroy(one);
    axl_device_destroy(two);
    axl_device_destroy(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_f32_agrees_with_f64),
        cmocka_unit_test(ref_bf16_agrees_with_f64),
        cmocka_unit_test(ref_gradients_agree_with_finite_differences),
        cmocka_unit_test(each_level_agrees_with_ref),
        cmocka_unit_test(attention_needs_little_workspace),
        cmocka_unit_test(threads_do_not_change_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
