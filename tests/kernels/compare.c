// Cases on two devices, element by element.
#include "tests/kernels/compare.h"

#include "tests/kernels/tolerance.h"

axl_device *kt_open_device(const char *backend, int n_threads)
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

const kt_head *kt_case_at(const kt_kernel *k, int i)
{
    return (const kt_head *)((const char *)k->cases + (size_t)i * k->case_bytes);
}

void kt_run_case(kt_run *r, const kt_kernel *k, const kt_head *c, axl_device *d, axl_dtype dtype,
                 axl_dtype grid)
{
    r->device = d;
    r->dtype = dtype;
    r->grid = grid;
    k->run(r, c);
    if (r->status != AXL_OK)
        fail_msg("%s.%s on %s: %s", k->name, c->name, d->kernels->name, axl_error_message());
}

double kt_root_mean_square(const kt_buffer *b)
{
    double sum = 0;

    for (int64_t t = 0; t < b->rows; t++)
        for (int64_t c = 0; c < b->cols; c++) {
            double x = kt_get(b, t * b->ld + c);
            sum += isfinite(x) ? x * x : 0;
        }
    return sqrt(sum / (double)(b->rows * b->cols + 1));
}

// How many elements of b are off, in words: how a kernel is wrong, for who cannot run it again.
static void describe(const kt_buffer *a, const kt_buffer *b, double tolerance, double scale,
                     char *text, size_t bytes)
{
    long long off = 0, no_number = 0, untouched = 0;
    int64_t first[2] = {a->rows, a->cols}, last[2] = {0, 0};

    for (int64_t t = 0; t < a->rows; t++)
        for (int64_t i = 0; i < a->cols; i++) {
            const double x = kt_get(a, t * a->ld + i), y = kt_get(b, t * a->ld + i);
            if (x == y || fabs(x - y) <= tolerance * (fabs(x) + scale))
                continue;
            off++;
            no_number += !isfinite(y);
            untouched += isnan(y); // outputs begin as NaN
            first[0] = t < first[0] ? t : first[0];
            first[1] = i < first[1] ? i : first[1];
            last[0] = t > last[0] ? t : last[0];
            last[1] = i > last[1] ? i : last[1];
        }
    (void)snprintf(text, bytes,
                   "%lld of %lld x %lld are off, %lld no numbers (%lld nan), rows %lld-%lld, "
                   "columns %lld-%lld",
                   off, (long long)a->rows, (long long)a->cols, no_number, untouched,
                   (long long)first[0], (long long)last[0], (long long)first[1],
                   (long long)last[1]);
}

// Every element of b is that of a within b's tolerance; what lies between the rows was not touched.
static void compare(const kt_kernel *k, const kt_head *c, const char *who, const kt_buffer *a,
                    const kt_buffer *b)
{
    const double tolerance = kt_tolerance(b->precision, b->reduction, b->roundings);
    const double scale = fmax(kt_root_mean_square(a), b->terms);

    char more[160];

    assert_string_equal(a->name, b->name);
    for (int64_t t = 0; t < a->rows; t++) {
        for (int64_t i = t * a->ld; i < t * a->ld + a->cols; i++) {
            const double x = kt_get(a, i), y = kt_get(b, i);
            if (x == y || fabs(x - y) <= tolerance * (fabs(x) + scale))
                continue;
            describe(a, b, tolerance, scale, more, sizeof more);
            fail_msg("%s.%s on %s: %s[%lld, %lld] is %.9g, expected %.9g: off by %.3g of the "
                     "scale, %.3g allowed; %s",
                     k->name, c->name, who, b->name, (long long)t, (long long)(i - t * a->ld), y, x,
                     fabs(x - y) / (fabs(x) + scale), tolerance, more);
        }
        for (int64_t i = t * a->ld + a->cols; i < (t + 1) * a->ld; i++)
            if (!isnan(kt_get(b, i)))
                fail_msg("%s.%s on %s: %s wrote between its rows", k->name, c->name, who, b->name);
    }
}

void kt_compare_runs(const kt_kernel *k, const kt_head *c, const kt_run *a, const kt_run *b)
{
    char who[64];

    (void)snprintf(who, sizeof who, "%s, %s, %d threads", b->device->kernels->name,
                   axl_dtype_name(b->dtype), b->device->n_threads);
    assert_int_equal(a->n_buffers, b->n_buffers);
    for (int i = 0; i < a->n_buffers; i++)
        if (b->buffers[i].output)
            compare(k, c, who, &a->buffers[i], &b->buffers[i]);
}

void kt_compare_kernel(const kt_kernel *k, axl_device *a, axl_dtype dtype_a,
                       axl_device *const *others, int n_others, axl_dtype dtype)
{
    for (int j = 0; j < k->n_cases; j++) {
        const kt_head *c = kt_case_at(k, j);
        if ((c->flags & KT_BENCH) || (dtype == AXL_BF16 && (c->flags & KT_F32)))
            continue;
        kt_run left = {0};
        kt_run_case(&left, k, c, a, dtype_a, dtype);
        for (int n = 0; n < n_others; n++) {
            kt_run right = {0};
            if (others[n] == NULL)
                continue;
            kt_run_case(&right, k, c, others[n], dtype, dtype);
            kt_compare_runs(k, c, &left, &right);
            kt_run_fini(&right);
        }
        kt_run_fini(&left);
    }
}

void kt_compare_devices(axl_device *a, axl_dtype dtype_a, axl_device *const *others, int n_others,
                        axl_dtype dtype)
{
    for (int i = 0; i < kt_n_kernels; i++)
        kt_compare_kernel(kt_kernels[i], a, dtype_a, others, n_others, dtype);
}
