// Bandwidth of the collectives beside plain MPI calls: mpirun -np N collectives [--max-mib M].
//
// Each case is the median of 9 interleaved pairs (ours, MPI's). A time of a pair is the best of 3 to 16
// short batches, taken in turn, each as its slowest rank after a barrier: with other programs on the same
// cores some batch is left alone. busbw is the buffer times the ring factor over the time, as
// nccl-tests define it. Output: name,variant,metric,value,unit, then a table; the ratio is ours over MPI's.
// MPI does not add bf16, so that line has no peer.
#include "comm/comm.h"
#include "src/base/log.h"

#include <mpi.h> // the peer

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_PAIRS = 9, MAX_RANKS = 256, MAX_ROWS = 64 };

typedef struct bench {
    axl_comm *world;
    int rank, size;
    float *full, *other; // [max_mib] each
} bench;

typedef axl_status (*call)(const bench *b, int64_t count); // count: elements of a rank's part

static axl_status our_all_gather(const bench *b, int64_t count)
{
    return axl_comm_all_gather(b->world, b->full + b->rank * count, b->full, count, AXL_F32, NULL);
}

static axl_status mpi_all_gather(const bench *b, int64_t count)
{
    (void)MPI_Allgather(MPI_IN_PLACE, 0, MPI_FLOAT, b->full, (int)count, MPI_FLOAT, MPI_COMM_WORLD);
    return AXL_OK;
}

static axl_status our_reduce_scatter(const bench *b, int64_t count)
{
    return axl_comm_reduce_scatter(b->world, b->full, b->other, count, AXL_F32, false, NULL);
}

static axl_status mpi_reduce_scatter(const bench *b, int64_t count)
{
    (void)MPI_Reduce_scatter_block(b->full, b->other, (int)count, MPI_FLOAT, MPI_SUM,
                                   MPI_COMM_WORLD);
    return AXL_OK;
}

static axl_status our_reduce_scatter_bf16(const bench *b, int64_t count)
{
    return axl_comm_reduce_scatter(b->world, b->full, b->other, 2 * count, AXL_BF16, false, NULL);
}

static axl_status our_all_reduce(const bench *b, int64_t count)
{
    return axl_comm_all_reduce(b->world, b->full, count * b->size, AXL_F32, AXL_REDUCE_SUM, NULL);
}

static axl_status mpi_all_reduce(const bench *b, int64_t count)
{
    (void)MPI_Allreduce(MPI_IN_PLACE, b->full, (int)count * b->size, MPI_FLOAT, MPI_SUM,
                        MPI_COMM_WORLD);
    return AXL_OK;
}

static axl_status our_all_to_all(const bench *b, int64_t count)
{
    int64_t n[MAX_RANKS], at[MAX_RANKS];

    for (int r = 0; r < b->size; r++) {
        n[r] = count;
        at[r] = r * count;
    }
    return axl_comm_all_to_all(b->world, b->full, n, at, b->other, n, at, sizeof(float), NULL);
}

static axl_status mpi_all_to_all(const bench *b, int64_t count)
{
    (void)MPI_Alltoall(b->full, (int)count, MPI_FLOAT, b->other, (int)count, MPI_FLOAT,
                       MPI_COMM_WORLD);
    return AXL_OK;
}

static const struct op {
    const char *name;
    double factor; // of (n - 1) / n
    call ours, mpi;
} ops[] = {
    {"all_gather", 1.0, our_all_gather, mpi_all_gather},
    {"reduce_scatter", 1.0, our_reduce_scatter, mpi_reduce_scatter},
    {"reduce_scatter_bf16", 1.0, our_reduce_scatter_bf16, NULL},
    {"all_reduce", 2.0, our_all_reduce, mpi_all_reduce},
    {"all_to_all", 1.0, our_all_to_all, mpi_all_to_all},
};

typedef struct row {
    char name[64];
    double ours, mpi, ratio; // GB/s; 0 without a peer
} row;

// Seconds of a call, if less than *best.
static axl_status measure(const bench *b, call f, int64_t count, double *best)
{
    axl_status status = AXL_OK;
    const int64_t bytes = count * b->size * (int64_t)sizeof(float);
    const int n_calls = bytes > (2 << 20) ? 1 : (int)((2 << 20) / bytes);
    double seconds = 0.0;

    AXL_TRY(axl_comm_barrier(b->world));
    const double begin = axl_now();
    for (int i = 0; i < n_calls; i++)
        AXL_TRY(f(b, count));
    seconds = (axl_now() - begin) / n_calls;
    AXL_TRY(axl_comm_all_reduce_f64(b->world, &seconds, 1, AXL_REDUCE_MAX));
    *best = seconds < *best ? seconds : *best;

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

static axl_status run_case(const bench *b, const struct op *op, int64_t mib, row *out)
{
    axl_status status = AXL_OK;
    const int64_t count = (mib << 20) / (int64_t)sizeof(float) / b->size;
    const double moved =
        (double)(count * b->size) * sizeof(float) * op->factor * (b->size - 1) / b->size * 1e-9;
    const int n_batches = mib >= 16 ? 3 : (int)(16 / mib);
    double ours[N_PAIRS], mpi[N_PAIRS], ratio[N_PAIRS];

    memset(b->full, 0, (size_t)(count * b->size) * sizeof(float)); // sums must not overflow
    for (int i = -1; i < N_PAIRS; i++) {                           // the first warms up
        double best[2] = {1e9, 1e9};
        for (int k = 0; k < (i < 0 ? 1 : n_batches); k++) {
            AXL_TRY(measure(b, op->ours, count, &best[0]));
            if (op->mpi != NULL)
                AXL_TRY(measure(b, op->mpi, count, &best[1]));
        }
        if (i >= 0) {
            ours[i] = best[0];
            mpi[i] = best[1];
            ratio[i] = best[1] / best[0];
        }
    }
    *out = (row){.ours = moved / median(ours)};
    (void)snprintf(out->name, sizeof out->name, "%s_np%d_%lldMiB", op->name, b->size,
                   (long long)mib);
    if (op->mpi != NULL) {
        out->mpi = moved / median(mpi);
        out->ratio = median(ratio);
    }

out:
    return status;
}

static void print_csv(const row *r)
{
    printf("%s,axl,busbw,%.3f,GB/s\n", r->name, r->ours);
    if (r->mpi > 0.0) {
        printf("%s,mpi,busbw,%.3f,GB/s\n", r->name, r->mpi);
        printf("%s,axl/mpi,ratio,%.3f,\n", r->name, r->ratio);
    }
    (void)fflush(stdout);
}

static void print_table(const row *rows, int n)
{
    printf("\n%-32s %10s %10s %8s\n", "busbw in GB/s", "axl-dist", "MPI", "ratio");
    for (int i = 0; i < n; i++) {
        if (rows[i].mpi > 0.0)
            printf("%-32s %10.2f %10.2f %8.2f%s\n", rows[i].name, rows[i].ours, rows[i].mpi,
                   rows[i].ratio, rows[i].ratio < 0.9 ? "  below 0.9" : "");
        else
            printf("%-32s %10.2f %10s %8s\n", rows[i].name, rows[i].ours, "-", "-");
    }
}

static axl_status run(axl_comm *world, int64_t max_mib)
{
    axl_status status = AXL_OK;
    bench b = {.world = world, .rank = axl_comm_rank(world), .size = axl_comm_size(world)};
    row rows[MAX_ROWS];
    int n = 0;

    b.full = calloc((size_t)max_mib << 20, 1);
    b.other = calloc((size_t)max_mib << 20, 1);
    AXL_REQUIRE(b.full != NULL && b.other != NULL, AXL_E_MEMORY, "no memory for %lld MiB",
                (long long)max_mib);
    memset(b.full, 0, (size_t)max_mib << 20); // pages are there before the clock runs
    memset(b.other, 0, (size_t)max_mib << 20);
    if (b.rank == 0)
        printf("name,variant,metric,value,unit\n");
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        for (int64_t mib = 1; mib <= max_mib && n < MAX_ROWS; mib *= 4, n++) {
            AXL_TRY(run_case(&b, &ops[k], mib, &rows[n]));
            if (b.rank == 0)
                print_csv(&rows[n]);
        }
    }
    if (b.rank == 0)
        print_table(rows, n);

out:
    free(b.full);
    free(b.other);
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
    AXL_REQUIRE(axl_comm_size(world) > 1 && axl_comm_size(world) <= MAX_RANKS && max_mib > 0,
                AXL_E_CONFIG, "start it with mpirun -np 2 to %d; --max-mib is positive", MAX_RANKS);
    AXL_TRY(run(world, max_mib));

out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "collectives: %s\n", axl_error_message());
    axl_comm_finalize(world);
    return axl_status_exit_code(status);
}
