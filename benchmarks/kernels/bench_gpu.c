// Speed of the kernels at the sizes of a step on a GPU: gpu_tool bench [options] [NAME...], as CSV lines
// name,variant,metric,value,unit. Sizes are those of Llama 3.1 8B with 8,192 packed tokens; s_ are SmolLM2-135M's.
//   --backend NAME   cuda; cpu runs the same, for a look at this program without a GPU
//   --tokens N       8192
//   --window S       seconds of one timing, 0.1; 0: a look at this program, each call a few times
//   --serve          reads names on stdin, one a line, and answers each with a line
//                    NAME seconds flops bytes: so a peer in another process can be measured in turn. Zeros:
//                    it cannot be measured, and why stands behind them
//
// A call's time is that of many calls queued behind each other by the host's clock: a GPU never waits for the host then.
// Calls take several sets of arrays in turn, so that together they are larger than any cache. Of five such timings the
// median is given. Products are compared with the largest one and with the chip's data sheet, passes over memory with
// a plain copy in the same process; the causal half of attention is counted, no more.
#include "benchmarks/kernels/bench_gpu.h"

#include "kernels/chip.h"
#include "src/base/log.h"
#include "tests/gpu/isolate.h"
#include "tests/gpu/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SETS = 8, WINDOWS = 5 };
#define CACHES                                                                                     \
    ((size_t)512 << 20) // a call finds nothing of an earlier one in caches smaller than this

// ---- timing

static axl_status wait_all(bench_gpu *b)
{
    axl_status status = AXL_OK;

    AXL_TRY(b->d->ops->synchronize(b->d->gather));
    AXL_TRY(b->d->ops->synchronize(b->d->compute));
out:
    return status;
}

// Seconds a call of n calls in a row.
static axl_status time_calls(bench_gpu *b, const bench_row *r, const bench_call *calls, int n_sets,
                             int n, double *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(wait_all(b));
    const double begin = axl_now();
    for (int i = 0; i < n; i++)
        AXL_TRY(r->run(b, &calls[i % n_sets]));
    AXL_TRY(wait_all(b));
    *out = (axl_now() - begin) / n;
out:
    return status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

// One row: its arrays, a warm-up over all sets, and the median of the timings.
static axl_status measure(bench_gpu *b, const bench_row *r, bench_call *first, double *seconds)
{
    axl_status status = AXL_OK;
    bench_call calls[MOST_SETS] = {{.flops = 0}};
    double times[WINDOWS], once = 0;
    int n_sets = 1;

    b->status = AXL_OK;
    for (int i = 0; i < n_sets && b->status == AXL_OK; i++) {
        b->set_bytes = 0;
        r->make(b, r, &calls[i]);
        if (i == 0 && !b->d->host_memory && b->set_bytes > 0 && b->window > 0) {
            const size_t sets = 1 + CACHES / b->set_bytes;
            n_sets = sets < MOST_SETS ? (int)sets : MOST_SETS;
        }
    }
    AXL_TRY(b->status);
    AXL_TRY(time_calls(b, r, calls, n_sets, n_sets, &once));
    AXL_TRY(time_calls(b, r, calls, n_sets, n_sets, &once));
    const double fit = b->window / once;
    const int n = fit > 2000.0 ? 2000 : fit > 1.0 ? (int)fit : 1;
    const int n_windows = b->window > 0 ? WINDOWS : 1;
    for (int i = 0; i < n_windows; i++)
        AXL_TRY(time_calls(b, r, calls, n_sets, n, &times[i]));
    qsort(times, (size_t)n_windows, sizeof *times, by_value);
    *seconds = times[n_windows / 2];
    *first = calls[0];
out:
    bench_release(b);
    return status;
}

static void print_row(bench_gpu *b, const bench_row *r, const char *variant, const bench_call *c,
                      double seconds, const axl_chip *chip)
{
    const double peak = chip != NULL ? axl_chip_peak(chip, r->dtype, false) : 0;

    printf("%s,%s,time,%.2f,us\n", r->name, variant, seconds * 1e6);
    if (c->flops > 0) {
        const double rate = c->flops / seconds;
        if (strcmp(r->name, "gemm/square") == 0)
            b->product = rate;
        printf("%s,%s,rate,%.5g,TFLOP/s\n", r->name, variant, rate * 1e-12);
        if (peak > 0 && r->dtype != AXL_F32)
            printf("%s,%s,of_peak,%.3f,ratio\n", r->name, variant, rate / peak);
        if (b->product > 0)
            printf("%s,%s,of_gemm,%.3f,ratio\n", r->name, variant, rate / b->product);
    } else {
        const double rate = c->bytes / seconds;
        if (strcmp(r->name, "copy") == 0)
            b->copy = rate;
        printf("%s,%s,rate,%.5g,GB/s\n", r->name, variant, rate * 1e-9);
        if (b->copy > 0)
            printf("%s,%s,of_copy,%.3f,ratio\n", r->name, variant, rate / b->copy);
    }
    (void)fflush(stdout);
}

// A kernel that is not there is said, too.
static axl_status one(bench_gpu *b, const bench_row *r, const char *variant, const axl_chip *chip)
{
    bench_call c = {.flops = 0};
    double seconds = 0;
    const axl_status status = measure(b, r, &c, &seconds);

    if (status != AXL_OK) {
        if (b->serve)
            printf("%s 0 0 0 %s\n", r->name, axl_error_message());
        else
            (void)fprintf(stderr, "%s\n", axl_error_message());
    } else if (b->serve) {
        printf("%s %.9g %.9g %.9g\n", r->name, seconds, c.flops, c.bytes);
    } else {
        print_row(b, r, variant, &c, seconds, chip);
    }
    (void)fflush(stdout);
    return status;
}

static const bench_row *find(const char *name)
{
    for (int i = 0; i < bench_n_rows; i++)
        if (strcmp(bench_rows[i].name, name) == 0)
            return &bench_rows[i];
    (void)fprintf(stderr, "%s: nothing of that name is measured\n", name);
    return NULL;
}

static int serve(bench_gpu *b)
{
    char line[128];
    int failed = 0;

    while (failed == 0 &&
           fgets(line, sizeof line, stdin) != NULL) { // a GPU that failed is of no use

        line[strcspn(line, "\r\n")] = '\0';
        const bench_row *r = find(line);
        if (r != NULL) {
            const axl_status status = one(b, r, "", NULL);
            failed = status != AXL_OK && status != AXL_E_UNSUPPORTED;
        } else {
            printf("%s 0 0 0\n", line);
        }
        (void)fflush(stdout);
    }
    return failed;
}

// What the data sheet says of this device, also as CSV; NULL: no row knows it.
static const axl_chip *print_chip(const char *description, const char *variant, bool print)
{
    const axl_chip *chip = axl_chip_find(description);

    if (print)
        printf("chip,%s,\"%s\",1,name\n", variant, description);
    if (chip != NULL && print)
        printf("chip,%s,peak,%.5g,TFLOP/s\nchip,%s,peak_fp8,%.5g,TFLOP/s\n"
               "chip,%s,memory,%.5g,GB/s\n",
               variant, chip->bf16, variant, chip->fp8, variant, chip->gb_per_s);
    return chip;
}

// ---- all rows, each so that it cannot take others with it

typedef struct rows {
    bench_gpu *b;
    const char *backend;
    char variant[64];
    const axl_chip *chip;        // NULL: not known
    const bench_row *named[256]; // borrowed
    char groups[256][24];
    int n;
} rows;

static void put_name(void *data, int i, const char **group, char *test, size_t bytes)
{
    const rows *r = data;

    const char *slash = strchr(r->named[i]->name, '/');

    *group = r->groups[i];
    (void)snprintf(test, bytes, "%s", slash != NULL ? slash + 1 : r->named[i]->name);
}

// What others are compared with, once more, when the process that knew it was lost.
static void measure_again(bench_gpu *b, const char *name, double *rate)
{
    bench_call c = {.flops = 0};
    double seconds = 0;
    const bench_row *r = find(name);

    if (r != NULL && measure(b, r, &c, &seconds) == AXL_OK)
        *rate = (c.flops > 0 ? c.flops : c.bytes) / seconds;
}

static bool begin(void *data, int first)
{
    rows *r = data;
    axl_str chip = {0};

    if (gpu_open(r->backend, &r->b->d) != AXL_OK || bench_pools_make(r->b) != AXL_OK ||
        axl_kernels_accelerators(&chip) != AXL_OK) {
        (void)printf("skipped: %s\n", axl_error_message());
        return false;
    }
    (void)snprintf(r->variant, sizeof r->variant, "%s/%lld", r->b->d->kernels->name,
                   (long long)r->b->tokens);
    if (first == 0)
        printf("name,variant,metric,value,unit\n");
    r->chip = print_chip(r->b->d->host_memory ? "a CPU" : chip.data, r->variant, first == 0);
    axl_str_fini(&chip);
    for (int i = 0; i < first; i++) {
        if (strcmp(r->named[i]->name, "copy") == 0)
            measure_again(r->b, "copy", &r->b->copy);
        if (strcmp(r->named[i]->name, "gemm/square") == 0)
            measure_again(r->b, "gemm/square", &r->b->product);
    }
    return true;
}

static gpu_verdict run(void *data, int i)
{
    const rows *r = data;
    const axl_status status = one(r->b, r->named[i], r->variant, r->chip);

    return status == AXL_OK ? GPU_PASSED : status == AXL_E_UNSUPPORTED ? GPU_LEFT_OUT : GPU_FAILED;
}

static bool usable(void *data)
{
    const rows *r = data;

    return wait_all(r->b) == AXL_OK;
}

static int run_names(bench_gpu *b, const char *backend, int n, char **names)
{
    rows r = {.b = b, .backend = backend};

    for (int i = 0; i < bench_n_rows && r.n < 256; i++) {
        bool wanted = n == 0;
        for (int k = 0; k < n; k++)
            wanted = wanted || strncmp(bench_rows[i].name, names[k], strlen(names[k])) == 0;
        if (!wanted)
            continue;
        (void)snprintf(r.groups[r.n], sizeof r.groups[r.n], "%.*s",
                       (int)strcspn(bench_rows[i].name, "/"), bench_rows[i].name);
        r.named[r.n++] = &bench_rows[i];
    }
    return gpu_isolate(&(gpu_tests){.what = "rows",
                                    .n = r.n,
                                    .seconds = strncmp(backend, "cpu", 3) == 0 ? 600 : 0,
                                    .data = &r,
                                    .name = put_name,
                                    .begin = begin,
                                    .run = run,
                                    .usable = usable,
                                    .prints = true});
}

static int serve_names(bench_gpu *b, const char *backend)
{
    int failed = 1;

    if (gpu_open(backend, &b->d) != AXL_OK) {
        (void)printf("skipped: %s\n", axl_error_message());
        return GPU_SKIPPED;
    }
    if (bench_pools_make(b) == AXL_OK)
        failed = serve(b);
    bench_pools_free(b);
    axl_device_destroy(b->d);
    return failed;
}

int gpu_bench_main(int argc, char **argv)
{
    bench_gpu b = {.tokens = 8192, .window = 0.1};
    const char *backend = "cuda";
    int i = 1;

    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--serve") == 0)
            b.serve = true;
        else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc)
            backend = argv[++i];
        else if (strcmp(argv[i], "--tokens") == 0 && i + 1 < argc)
            b.tokens = strtoll(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--window") == 0 && i + 1 < argc)
            b.window = strtod(argv[++i], NULL);
        else
            return 2;
    }
    return b.serve ? serve_names(&b, backend) : run_names(&b, backend, argc - i, argv + i);
}
