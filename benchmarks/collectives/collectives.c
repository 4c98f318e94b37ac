// Bandwidth of the collectives beside plain MPI calls: mpirun -np N collectives [--max-mib M].
//
// Each case is the median of 9 interleaved pairs (ours, MPI's), each timed as the slowest rank of a
// batch of calls after a barrier. busbw is the buffer times the ring factor over the time, as nccl-tests
// define it. Output: name,variant,metric,value,unit; the ratio is ours over MPI's.
#include "comm/comm.h"
#include "src/base/log.h"

#include <mpi.h> // the peer

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_PAIRS = 9 };

typedef struct bench {
    axl_comm *world;
    int rank, size;
    float *full, *shard;
} bench;

static axl_status ours(const bench *b, axl_comm_op op, int64_t count)
{
    if (op == AXL_COMM_ALL_GATHER)
        return axl_comm_all_gather(b->world, b->full + b->rank * count, b->full, count, AXL_F32,
                                   NULL);
    if (op == AXL_COMM_REDUCE_SCATTER)
        return axl_comm_reduce_scatter(b->world, b->full, b->shard, count, AXL_F32, false, NULL);
    return axl_comm_all_reduce(b->world, b->full, count * b->size, AXL_F32, AXL_REDUCE_SUM, NULL);
}

static axl_status plain(const bench *b, axl_comm_op op, int64_t count)
{
    const int n = (int)count;

    if (op == AXL_COMM_ALL_GATHER)
        (void)MPI_Allgather(MPI_IN_PLACE, 0, MPI_FLOAT, b->full, n, MPI_FLOAT, MPI_COMM_WORLD);
    else if (op == AXL_COMM_REDUCE_SCATTER)
        (void)MPI_Reduce_scatter_block(b->full, b->shard, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    else
        (void)MPI_Allreduce(MPI_IN_PLACE, b->full, n * b->size, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    return AXL_OK;
}

typedef axl_status (*variant)(const bench *b, axl_comm_op op, int64_t count);

static axl_status measure(const bench *b, variant v, axl_comm_op op, int64_t count, double *seconds)
{
    axl_status status = AXL_OK;
    const int n_calls = count > (1 << 20) ? 2 : 8;

    memset(b->full, 0, (size_t)(count * b->size) * sizeof(float)); // sums must not overflow
    AXL_TRY(axl_comm_barrier(b->world));
    const double begin = axl_now();
    for (int i = 0; i < n_calls; i++)
        AXL_TRY(v(b, op, count));
    *seconds = (axl_now() - begin) / n_calls;
    AXL_TRY(axl_comm_all_reduce_f64(b->world, seconds, 1, AXL_REDUCE_MAX));

out:
    return status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x)
{
    qsort(x, N_PAIRS, sizeof *x, by_value);
    return x[N_PAIRS / 2];
}

static axl_status run_case(const bench *b, axl_comm_op op, int64_t mib)
{
    axl_status status = AXL_OK;
    const int64_t count = (mib << 20) / (int64_t)sizeof(float) / b->size;
    const double bytes = (double)(count * b->size) * sizeof(float);
    const double factor = (op == AXL_COMM_ALL_REDUCE ? 2.0 : 1.0) * (b->size - 1) / b->size;
    double time[2][N_PAIRS], ratio[N_PAIRS], warm = 0.0;
    char name[64];

    AXL_TRY(measure(b, ours, op, count, &warm));
    AXL_TRY(measure(b, plain, op, count, &warm));
    for (int i = 0; i < N_PAIRS; i++) {
        AXL_TRY(measure(b, ours, op, count, &time[0][i]));
        AXL_TRY(measure(b, plain, op, count, &time[1][i]));
        ratio[i] = time[1][i] / time[0][i];
    }
    (void)snprintf(name, sizeof name, "%s_np%d_%lldMiB", axl_comm_op_name(op), b->size,
                   (long long)mib);
    if (b->rank == 0) {
        printf("%s,axl,busbw,%.3f,GB/s\n", name, bytes * factor / median(time[0]) * 1e-9);
        printf("%s,mpi,busbw,%.3f,GB/s\n", name, bytes * factor / median(time[1]) * 1e-9);
        printf("%s,axl/mpi,ratio,%.3f,\n", name, median(ratio));
        (void)fflush(stdout);
    }

out:
    return status;
}

static axl_status run(axl_comm *world, int64_t max_mib)
{
    axl_status status = AXL_OK;
    static const axl_comm_op ops[] = {AXL_COMM_ALL_GATHER, AXL_COMM_REDUCE_SCATTER,
                                      AXL_COMM_ALL_REDUCE};
    bench b = {.world = world, .rank = axl_comm_rank(world), .size = axl_comm_size(world)};

    b.full = calloc((size_t)max_mib << 20, 1);
    b.shard = calloc((size_t)max_mib << 20, 1);
    AXL_REQUIRE(b.full != NULL && b.shard != NULL, AXL_E_MEMORY, "no memory for %lld MiB",
                (long long)max_mib);
    if (b.rank == 0)
        printf("name,variant,metric,value,unit\n");
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
        for (int64_t mib = 1; mib <= max_mib; mib *= 4)
            AXL_TRY(run_case(&b, ops[k], mib));

out:
    free(b.full);
    free(b.shard);
    return status;
}

int main(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL;
    int64_t max_mib = 64;

    AXL_TRY(axl_comm_init(&argc, &argv, &world));
    if (argc == 3 && strcmp(argv[1], "--max-mib") == 0)
        max_mib = strtol(argv[2], NULL, 10);
    AXL_REQUIRE(axl_comm_size(world) > 1 && max_mib > 0, AXL_E_CONFIG,
                "start it with mpirun -np 2 or more; --max-mib is positive");
    AXL_TRY(run(world, max_mib));

out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "collectives: %s\n", axl_error_message());
    axl_comm_finalize(world);
    return axl_status_exit_code(status);
}
