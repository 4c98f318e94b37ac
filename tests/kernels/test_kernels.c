// RUN: np=1
// Every case of every kernel: ref in f32 and bf16 against ref in f64, ref's gradients against finite
// differences of its forward pass in f64, each CPU level of this machine against ref, and one thread
// against two.
#include "tests/check.h"
#include "tests/kernels/harness.h"
#include "tests/kernels/tolerance.h"

#include <stdlib.h>

static axl_device *open_device(const char *backend, int n_threads)
{
    axl_device *d = NULL;
    const axl_device_options o = {.backend = backend, .n_threads = n_threads};

    axl_status status = axl_device_create(&o, &d);
    if (status == AXL_E_UNSUPPORTED)
        print_message("%s: skipped, %s\n", backend, axl_error_message());
    else
        CHECK_OK(status);
    return d;
}

static const kt_head *case_at(const kt_kernel *k, int i)
{
    return (const kt_head *)((const char *)k->cases + (size_t)i * k->case_bytes);
}

static void run_case(kt_run *r, const kt_kernel *k, const kt_head *c, axl_device *d,
                     axl_dtype dtype, axl_dtype grid)
{
    r->device = d;
    r->dtype = dtype;
    r->grid = grid;
    k->run(r, c);
    if (r->status != AXL_OK)
        fail_msg("%s.%s on %s: %s", k->name, c->name, d->kernels->name, axl_error_message());
}

static double root_mean_square(const kt_buffer *b)
{
    double sum = 0;

    for (int64_t t = 0; t < b->rows; t++)
        for (int64_t c = 0; c < b->cols; c++) {
            double x = kt_get(b, t * b->ld + c);
            sum += isfinite(x) ? x * x : 0;
        }
    return sqrt(sum / (double)(b->rows * b->cols + 1));
}

// Every element of b is that of a within b's tolerance; what lies between the rows was not touched.
static void compare(const kt_kernel *k, const kt_head *c, const char *who, const kt_buffer *a,
                    const kt_buffer *b)
{
    const double tolerance = kt_tolerance(b->precision, b->reduction, b->roundings);
    const double scale = fmax(root_mean_square(a), b->terms);

    assert_string_equal(a->name, b->name);
    for (int64_t t = 0; t < a->rows; t++) {
        for (int64_t i = t * a->ld; i < t * a->ld + a->cols; i++) {
            const double x = kt_get(a, i), y = kt_get(b, i);
            if (x == y || fabs(x - y) <= tolerance * (fabs(x) + scale))
                continue;
            fail_msg("%s.%s on %s: %s[%lld, %lld] is %.9g, expected %.9g: off by %.3g of the "
                     "scale, %.3g allowed",
                     k->name, c->name, who, b->name, (long long)t, (long long)(i - t * a->ld), y, x,
                     fabs(x - y) / (fabs(x) + scale), tolerance);
        }
        for (int64_t i = t * a->ld + a->cols; i < (t + 1) * a->ld; i++)
            if (!isnan(kt_get(b, i)))
                fail_msg("%s.%s on %s: %s wrote between its rows", k->name, c->name, who, b->name);
    }
}

static void compare_runs(const kt_kernel *k, const kt_head *c, const kt_run *a, const kt_run *b)
{
    char who[64];

    (void)snprintf(who, sizeof who, "%s, %s, %d threads", b->device->kernels->name,
                   axl_dtype_name(b->dtype), b->device->n_threads);
    assert_int_equal(a->n_buffers, b->n_buffers);
    for (int i = 0; i < a->n_buffers; i++)
        if (b->buffers[i].output)
            compare(k, c, who, &a->buffers[i], &b->buffers[i]);
}

// Runs all test cases on a in dtype_a, on others in dtype, and compares each with a. NULL devices are skipped.
static void compare_devices(axl_device *a, axl_dtype dtype_a, axl_device *const *others,
                            int n_others, axl_dtype dtype)
{
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases; j++) {
            const kt_head *c = case_at(kt_kernels[i], j);
            if ((c->flags & KT_BENCH) || (dtype == AXL_BF16 && (c->flags & KT_F32)))
                continue;
            kt_run left = {0};
            run_case(&left, kt_kernels[i], c, a, dtype_a, dtype);
            for (int n = 0; n < n_others; n++) {
                kt_run right = {0};
                if (others[n] == NULL)
                    continue;
                run_case(&right, kt_kernels[i], c, others[n], dtype, dtype);
                compare_runs(kt_kernels[i], c, &left, &right);
                kt_run_fini(&right);
            }
            kt_run_fini(&left);
        }
}

static void ref_f32_agrees_with_f64(void **state)
{
    axl_device *ref = open_device("ref", 1);

    (void)state;
    compare_devices(ref, AXL_F64, &ref, 1, AXL_F32);
    axl_device_destroy(ref);
}

static void ref_bf16_agrees_with_f64(void **state)
{
    axl_device *ref = open_device("ref", 1);

    (void)state;
    compare_devices(ref, AXL_F64, &ref, 1, AXL_BF16);
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

    run_case(&r, k, c, d, AXL_F64, AXL_F32);
    double loss = loss_of(k, &r);
    kt_run_fini(&r);
    return loss;
}

static void check_gradients(const kt_kernel *k, const kt_head *c, axl_device *d)
{
    const double h = 1e-5;
    kt_run r = {0};

    run_case(&r, k, c, d, AXL_F64, AXL_F32);
    for (int p = 0; p < 4 && k->grads[p][0] != NULL; p++) {
        const kt_buffer *x = kt_find(&r, k->grads[p][0]), *dx = kt_find(&r, k->grads[p][1]);
        if (x == NULL || dx == NULL || x->rows * x->cols == 0)
            continue;
        const double scale = root_mean_square(dx);
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
    axl_device *ref = open_device("ref", 1);

    (void)state;
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases; j++)
            if (case_at(kt_kernels[i], j)->flags & KT_GRAD)
                check_gradients(kt_kernels[i], case_at(kt_kernels[i], j), ref);
    axl_device_destroy(ref);
}

static void each_level_agrees_with_ref(void **state)
{
    static const char *const levels[] = {"cpu-avx2", "cpu-avx512", "cpu-avx512-bf16"};
    axl_device *ref = open_device("ref", 1), *devices[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        devices[i] = open_device(levels[i], 2);
    compare_devices(ref, AXL_F32, devices, 3, AXL_F32);
    compare_devices(ref, AXL_BF16, devices, 3, AXL_BF16);
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
    axl_device *ref = open_device("ref", 1), *d = open_device("cpu", 2);
    const size_t whole = d->workspace_bytes;

    (void)state;
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases && strcmp(kt_kernels[i]->name, "attn") == 0;
             j++) {
            const kt_head *c = case_at(kt_kernels[i], j);
            kt_run left = {0}, right = {0};
            if (c->flags & KT_BENCH)
                continue;
            d->workspace_bytes = least_workspace(kt_kernels[i], c, d);
            run_case(&left, kt_kernels[i], c, ref, AXL_BF16, AXL_BF16);
            run_case(&right, kt_kernels[i], c, d, AXL_BF16, AXL_BF16);
            compare_runs(kt_kernels[i], c, &left, &right);
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

    run_case(&a, k, c, one, dtype, dtype);
    run_case(&b, k, c, many, dtype, dtype);
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
    axl_device *one = open_device("cpu", 1), *two = open_device("cpu", 2),
               *three = open_device("cpu", 3);

    (void)state;
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases; j++) {
            const kt_head *c = case_at(kt_kernels[i], j);
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
