// axl-dist doctor: what this machine and this set of ranks can do, measured in seconds.
#include "kernels/kernels.h"
#include "launch/bringup.h"
#include "launch/commands.h"
#include "src/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "axl-dist doctor\n"
    "  Processor, kernels, ranks, and a short measurement of arithmetic and of communication.\n"
    "    mpirun -np 4 axl-dist doctor\n";

static void print_processor(void)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':') != NULL) {
            (void)printf("processor   %s", strchr(line, ':') + 2);
            break;
        }
    }
    if (file != NULL)
        (void)fclose(file);
    (void)printf("features    avx2 %s, avx512 %s, avx512-bf16 %s; %ld processors\n",
                 __builtin_cpu_supports("avx2") != 0 ? "yes" : "no",
                 __builtin_cpu_supports("avx512f") != 0 ? "yes" : "no",
                 __builtin_cpu_supports("avx512bf16") != 0 ? "yes" : "no",
                 sysconf(_SC_NPROCESSORS_ONLN));
    (void)printf("gpu         %s\n", access("/dev/nvidiactl", F_OK) == 0
                                         ? "a driver is present; this build uses the processor only"
                                         : "no driver found");
}

// GFLOP/s of one square product on every rank at once; the slowest rank's.
static axl_status measure_gemm(const axl_bringup *b, axl_dtype dtype, double *rate)
{
    axl_status status = AXL_OK;
    const int64_t n = 1024;
    size_t bytes = (size_t)(n * n) * sizeof(float);
    const axl_device_ops *ops = b->device->ops;
    void *m[3] = {NULL};

    for (int i = 0; i < 3; i++)
        AXL_TRY(ops->alloc(b->device, bytes, "a test matrix", &m[i]));
    const axl_gemm_args a = {.m = n,
                             .n = n,
                             .k = n,
                             .a = m[0],
                             .b = m[1],
                             .c = m[2],
                             .lda = n,
                             .ldb = n,
                             .ldc = n,
                             .alpha = 1.0f,
                             .dtype = dtype,
                             .dtype_c = AXL_F32};
    double best = 1e30;
    for (int i = 0; i < 5; i++) {
        double start = axl_now();
        AXL_TRY(b->device->kernels->gemm(b->device->compute, &a));
        double seconds = axl_now() - start;
        best = seconds < best ? seconds : best;
    }
    *rate = 2e-9 * (double)(n * n * n) / best;
    AXL_TRY(axl_comm_all_reduce_f64(b->world, rate, 1, AXL_REDUCE_MIN));
out:
    for (int i = 0; i < 3; i++)
        ops->free(b->device, m[i], bytes);
    return status;
}

// Seconds of an all_reduce of count floats, the best of some.
static axl_status measure_all_reduce(const axl_bringup *b, float *buffer, int64_t count,
                                     double *seconds)
{
    axl_status status = AXL_OK;

    *seconds = 1e30;
    for (int i = 0; i < 5; i++) {
        AXL_TRY(axl_comm_barrier(b->world));
        double start = axl_now();
        AXL_TRY(axl_comm_all_reduce(b->world, buffer, count, AXL_F32, AXL_REDUCE_SUM, NULL));
        double t = axl_now() - start;
        *seconds = t < *seconds ? t : *seconds;
    }
out:
    return status;
}

static axl_status measure_ranks(const axl_bringup *b, bool first)
{
    axl_status status = AXL_OK;
    const int64_t large = (int64_t)4 << 20;
    int n = axl_comm_size(b->world);
    double small_time = 0.0;
    double large_time = 0.0;
    float *buffer = calloc((size_t)large, sizeof *buffer);

    AXL_REQUIRE(buffer != NULL, AXL_E_MEMORY, "no memory for the communication test");
    AXL_TRY(measure_all_reduce(b, buffer, 256, &small_time));
    AXL_TRY(measure_all_reduce(b, buffer, large, &large_time));
    if (first)
        (void)printf("all_reduce  1 KiB %.1f us; 16 MiB %.2f GB/s a rank\n", small_time * 1e6,
                     2.0 * (n - 1) / n * (double)large * sizeof(float) / large_time * 1e-9);
out:
    free(buffer);
    return status;
}

int axl_cmd_doctor(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_bringup b = {0};
    axl_device_options d = {0};
    double f32 = 0.0;
    double bf16 = 0.0;

    if (argc > 1) {
        (void)fputs(help, strcmp(argv[1], "--help") == 0 ? stdout : stderr);
        return strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    AXL_TRY(axl_bringup_world(&b));
    bool first = axl_comm_rank(b.world) == 0;
    d.n_threads = axl_bringup_threads(b.world);
    AXL_TRY(axl_comm_agree(b.world, axl_device_create(&d, &b.device)));
    if (first) {
        print_processor();
        (void)printf("ranks       %d over %s, %d on this host, %d thread%s each\n",
                     axl_comm_size(b.world), axl_comm_transport(b.world),
                     axl_comm_local_size(b.world), b.device->n_threads,
                     b.device->n_threads == 1 ? "" : "s");
        (void)printf("kernels     %s\n", b.device->kernels->name);
    }
    AXL_TRY(measure_gemm(&b, AXL_F32, &f32));
    AXL_TRY(measure_gemm(&b, AXL_BF16, &bf16));
    if (first)
        (void)printf("gemm        %.0f GFLOP/s fp32, %.0f GFLOP/s bf16 a rank\n", f32, bf16);
    if (axl_comm_size(b.world) > 1)
        AXL_TRY(measure_ranks(&b, first));
    if (first)
        (void)printf("ready after %.2f s\n", axl_now() - b.start);
out:;
    int code = axl_bringup_report(&b, "doctor", status);
    axl_bringup_stop(&b);
    return code;
}
