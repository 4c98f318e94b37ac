// Rates of every kernel at the sizes of a small model, as CSV: name,variant,metric,value,unit.
//
//   benchmarks/kernels [--backend NAME] [--threads N] [--dtype f32|bf16] [--only KERNEL]
//
// Products are compared with the fastest large product of the same dtype, passes over memory with a plain
// copy of an array far larger than the caches. Each figure is the fastest of several calls.
#include "tests/kernels/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    const char *backend, *only;
    int n_threads;
    axl_dtype dtype;
} options;

static const char usage[] =
    "usage: kernels [--backend NAME] [--threads N] [--dtype f32|bf16] [--only KERNEL]\n";

static bool read_options(int argc, char **argv, options *o)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return false;
        if (strcmp(argv[i], "--backend") == 0)
            o->backend = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0)
            o->n_threads = (int)strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0)
            o->only = argv[i + 1];
        else if (strcmp(argv[i], "--dtype") == 0)
            o->dtype = strcmp(argv[i + 1], "bf16") == 0 ? AXL_BF16 : AXL_F32;
        else
            return false;
    }
    return true;
}

// Bytes a second that add moves when it only copies.
static double copy_rate(axl_device *d)
{
    const int64_t n = (int64_t)1 << 26;
    kt_run r = {.device = d, .dtype = AXL_F32, .grid = AXL_F32, .timed = true};
    axl_add_args a = {.alpha = 1.0f, .n = n, .dtype = AXL_F32};

    a.a = kt_in(&r, "a", 1, n, n, AXL_F32, 1.0);
    a.out = kt_out(&r, "out", 1, n, n, AXL_F32, 1);
    KT_CALL(&r, add, &a, 0, 8.0 * (double)n);
    double rate = r.rates[0].bytes / r.rates[0].seconds;
    kt_run_fini(&r);
    return rate;
}

// Operations a second of a large product.
static double product_rate(axl_device *d, axl_dtype dtype)
{
    const int64_t n = 2048;
    kt_run r = {.device = d, .dtype = dtype, .grid = dtype, .timed = true};
    axl_gemm_args g = {.m = n,
                       .n = n,
                       .k = n,
                       .lda = n,
                       .ldb = n,
                       .ldc = n,
                       .alpha = 1.0f,
                       .dtype = dtype,
                       .dtype_c = AXL_F32};

    g.a = kt_in(&r, "a", n, n, n, dtype, 1.0);
    g.b = kt_in(&r, "b", n, n, n, dtype, 1.0);
    g.c = kt_out(&r, "c", n, n, n, AXL_F32, n);
    KT_CALL(&r, gemm, &g, 2.0 * (double)n * (double)n * (double)n, 0);
    double rate = r.rates[0].flops / r.rates[0].seconds;
    kt_run_fini(&r);
    return rate;
}

static void print_rates(const kt_run *r, const kt_kernel *k, const kt_head *c, const char *variant,
                        double copy, double product)
{
    for (int i = 0; i < r->n_rates; i++) {
        const kt_rate *x = &r->rates[i];
        printf("%s.%s.%s,%s,time,%.1f,us\n", k->name, c->name, x->entry, variant, x->seconds * 1e6);
        if (x->flops > 0) {
            printf("%s.%s.%s,%s,rate,%.1f,GFLOP/s\n", k->name, c->name, x->entry, variant,
                   x->flops / x->seconds * 1e-9);
            printf("%s.%s.%s,%s,of_gemm,%.3f,ratio\n", k->name, c->name, x->entry, variant,
                   x->flops / x->seconds / product);
        }
        if (x->bytes > 0) {
            printf("%s.%s.%s,%s,rate,%.1f,GB/s\n", k->name, c->name, x->entry, variant,
                   x->bytes / x->seconds * 1e-9);
            printf("%s.%s.%s,%s,of_copy,%.3f,ratio\n", k->name, c->name, x->entry, variant,
                   x->bytes / x->seconds / copy);
        }
    }
}

static void run_all(axl_device *d, const options *o)
{
    char variant[96];
    const double copy = copy_rate(d), product = product_rate(d, o->dtype);

    (void)snprintf(variant, sizeof variant, "%s/%s/%d", d->kernels->name, axl_dtype_name(o->dtype),
                   d->n_threads);
    printf("name,variant,metric,value,unit\n");
    printf("copy,%s,rate,%.1f,GB/s\n", variant, copy * 1e-9);
    printf("gemm.2048,%s,rate,%.1f,GFLOP/s\n", variant, product * 1e-9);
    for (int i = 0; i < kt_n_kernels; i++) {
        const kt_kernel *k = kt_kernels[i];
        for (int j = 0; j < k->n_cases; j++) {
            const kt_head *c =
                (const kt_head *)((const char *)k->cases + (size_t)j * k->case_bytes);
            kt_run r = {.device = d, .dtype = o->dtype, .grid = o->dtype, .timed = true};
            if (!(c->flags & KT_BENCH) || (o->dtype == AXL_BF16 && (c->flags & KT_F32)) ||
                (o->only != NULL && strcmp(o->only, k->name) != 0))
                continue;
            k->run(&r, c);
            if (r.status != AXL_OK)
                (void)fprintf(stderr, "%s.%s: %s\n", k->name, c->name, axl_error_message());
            print_rates(&r, k, c, variant, copy, product);
            kt_run_fini(&r);
        }
    }
}

int main(int argc, char **argv)
{
    options o = {.backend = "auto", .dtype = AXL_F32};
    axl_device *d = NULL;

    if (!read_options(argc, argv, &o)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    axl_status status = axl_device_create(
        &(axl_device_options){.backend = o.backend, .n_threads = o.n_threads}, &d);
    if (status != AXL_OK) {
        (void)fprintf(stderr, "%s\n", axl_error_message());
        return axl_status_exit_code(status);
    }
    run_all(d, &o);
    axl_device_destroy(d);
    return 0;
}
