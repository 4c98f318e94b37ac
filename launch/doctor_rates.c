// Arithmetic, memory and clocks. Ranks measure at the same time, as they will work at the same time.
#include "launch/doctor.h"

#include "kernels/kernels.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/plan/arithmetic.h"

#include <stdlib.h>
#include <time.h>

#define GEMM_SECONDS   0.2
#define MEMORY_SECONDS 0.2
#define HOST_BYTES                                                                                 \
    ((int64_t)384 << 20) // of three arrays, over the ranks of a host: more than caches hold
#define ROUND_TRIPS 10

// Bytes/s of c = a + b: two arrays read, one written. It is timed until the last rank is done, so that the sum
// over the ranks of a host is what the host does, also when they take turns. m: three arrays of n f32.
static axl_status measure_memory(const axl_bringup *b, void *const m[3], int64_t n, double *rate)
{
    axl_status status = AXL_OK;
    const axl_add_args a = {
        .a = m[0], .b = m[1], .alpha = 1.0f, .beta = 0.5f, .n = n, .dtype = AXL_F32, .out = m[2]};
    double seconds = 0.0;
    int passes = 1;

    for (int round = 0; round < 2; round++) {
        AXL_TRY(axl_comm_barrier(b->world));
        double start = axl_now();
        for (int i = 0; i < passes; i++)
            AXL_TRY(b->device->kernels->add(b->device->compute, &a));
        AXL_TRY(b->device->ops->synchronize(b->device->compute));
        AXL_TRY(axl_comm_barrier(b->world));
        seconds = (axl_now() - start) / passes;
        double slowest = seconds;
        AXL_TRY(axl_comm_all_reduce_f64(b->world, &slowest, 1, AXL_REDUCE_MAX));
        const double fit = MEMORY_SECONDS / slowest;
        passes = fit < 1.0 ? 1 : fit > 20.0 ? 20 : (int)fit;
    }
    *rate = 3.0 * (double)n * (double)sizeof(float) / seconds;

out:
    return status;
}

static axl_status take(const axl_bringup *b, size_t bytes, void *m[3])
{
    axl_status status = AXL_OK;

    for (int i = 0; i < 3; i++) {
        AXL_TRY(b->device->ops->alloc(b->device, bytes, "a test array", &m[i]));
        AXL_TRY(b->device->ops->zero(b->device->compute, m[i], bytes)); // touches the pages
    }

out:
    return status;
}

axl_status axl_doctor_rates(const axl_bringup *b, axl_doctor_rank *r)
{
    axl_status status = AXL_OK;
    const int64_t least = AXL_RATE_WIDTH * AXL_RATE_WIDTH; // a matrix for products
    int64_t n = HOST_BYTES / axl_comm_local_size(b->world) / 3 / (int64_t)sizeof(float);
    void *m[3] = {NULL};

    n = n > least ? n : least;
    AXL_TRY(axl_comm_agree(b->world, take(b, (size_t)n * sizeof(float), m)));
    AXL_TRY(axl_products_rate(b->device, b->world, m, AXL_F32, GEMM_SECONDS, &r->gemm_f32));
    AXL_TRY(axl_products_rate(b->device, b->world, m, AXL_BF16, GEMM_SECONDS, &r->gemm_bf16));
    AXL_TRY(measure_memory(b, m, n, &r->memory_rate));

out:
    for (int i = 0; i < 3; i++)
        b->device->ops->free(b->device, m[i], (size_t)n * sizeof(float));
    return status;
}

// Time of day: the clock that stamps log lines and files.
static double wall_clock(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// One question from rank 0 to rank `to`. Those of neither side take part with nothing.
static axl_status round_trip(axl_comm *c, int to, double *offset, double *seconds)
{
    axl_status status = AXL_OK;
    const int rank = axl_comm_rank(c);
    const int64_t out = rank == 0 ? (int64_t)sizeof(double) : 0;
    const int64_t back = rank == to ? (int64_t)sizeof(double) : 0;
    double there = 0.0, question = 0.0;
    double start =
        axl_now(); // before `asked`: a pause between the two must not hide from the error
    double asked = wall_clock();

    AXL_TRY(axl_comm_send_recv(c, &asked, out, to, &question, back, 0, NULL));
    double now = wall_clock();
    AXL_TRY(axl_comm_send_recv(c, &now, back, 0, &there, out, to, NULL));
    *seconds = axl_now() - start;
    *offset = there - (asked + *seconds / 2.0); // as if both ways took equally long

out:
    return status;
}

axl_status axl_doctor_clock(axl_comm *c, double *offset, double *error)
{
    axl_status status = AXL_OK;
    const int n = axl_comm_size(c);
    double *found = NULL; // [2 * n]: offset and error, of rank 0; zero elsewhere

    AXL_TRY(axl_calloc((size_t)(2 * n), sizeof *found, "clock offsets", &found));
    for (int to = 1; to < n; to++) {
        double best = 1e30;
        for (int i = 0; i < ROUND_TRIPS; i++) {
            double ahead = 0.0, seconds = 0.0;
            AXL_TRY(round_trip(c, to, &ahead, &seconds));
            if (axl_comm_rank(c) == 0 && seconds < best) {
                best = seconds;
                found[2 * to] = ahead;
                found[2 * to + 1] = seconds / 2.0;
            }
        }
    }
    AXL_TRY(axl_comm_all_reduce_f64(c, found, 2 * n, AXL_REDUCE_SUM));
    *offset = found[2 * axl_comm_rank(c)];
    *error = found[2 * axl_comm_rank(c) + 1];

out:
    free(found);
    return status;
}
