// Speed of writing one weight by blocks: mpirun -np N bench_blocks DIR.
//
// N ranks write a bf16 matrix [4096, 4096] of a Hugging Face directory together, each its rows or each
// its columns, from bf16 and from f32. The two ways take turns, and the medians are given, with and
// without the flush to the disk. Output: name,variant,metric,value,unit.
#include "comm/comm.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/hfdir.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 4096, N_ROUNDS = 11 };

static axl_status write_once(axl_comm *world, const char *dir, const axl_hfdir_plan *plan,
                             const axl_block *b, const void *src, axl_dtype dtype,
                             double seconds[2])
{
    axl_status status = AXL_OK;
    axl_hfdir_writer *w = NULL;
    const bool first = axl_comm_rank(world) == 0;

    if (first)
        AXL_TRY(axl_hfdir_writer_open(dir, plan, true, &w));
    AXL_TRY(axl_comm_barrier(world));
    if (!first)
        AXL_TRY(axl_hfdir_writer_open(dir, plan, false, &w));
    AXL_TRY(axl_comm_barrier(world));
    const double begin = axl_now();
    AXL_TRY(axl_hfdir_write_block(w, 0, b, src, dtype));
    AXL_TRY(axl_comm_barrier(world));
    seconds[0] = axl_now() - begin;
    AXL_TRY(axl_hfdir_writer_flush(w));
    AXL_TRY(axl_comm_barrier(world));
    seconds[1] = axl_now() - begin;
out:
    axl_hfdir_writer_destroy(w);
    return status;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void print(const char *src, const char *way, const char *what, double *seconds, int n_ranks)
{
    qsort(seconds, N_ROUNDS, sizeof *seconds, compare);
    printf("%s_np%d,%s,%s,%.3f,GB/s\n", src, n_ranks, way, what,
           2e-9 * SIZE * SIZE / seconds[N_ROUNDS / 2]);
}

static axl_status measure(axl_comm *world, const char *dir, axl_dtype dtype, const void *src)
{
    axl_status status = AXL_OK;
    static const char *const ways[2] = {"rows", "columns"};
    const axl_tensor_spec spec = {
        .name = "w", .dtype = AXL_BF16, .n_dims = 2, .dims = {SIZE, SIZE}};
    const int64_t rank = axl_comm_rank(world), size = axl_comm_size(world);
    const int64_t begin = SIZE * rank / size, n = SIZE * (rank + 1) / size - begin;
    const axl_block blocks[2] = {{.row0 = begin, .n_rows = n},
                                 {.n_rows = SIZE, .col0 = begin, .n_cols = n}};
    axl_hfdir_plan plan = {0};
    double written[2][N_ROUNDS], flushed[2][N_ROUNDS];

    AXL_TRY(axl_hfdir_plan_make(&spec, 1, AXL_HFDIR_SHARD_BYTES, NULL, &plan));
    for (int i = 0; i < N_ROUNDS; i++) {
        for (int k = 0; k < 2; k++) {
            double seconds[2];
            AXL_TRY(write_once(world, dir, &plan, &blocks[k], src, dtype, seconds));
            written[k][i] = seconds[0];
            flushed[k][i] = seconds[1];
        }
    }
    for (int k = 0; rank == 0 && k < 2; k++) {
        print(axl_dtype_name(dtype), ways[k], "write", written[k], (int)size);
        print(axl_dtype_name(dtype), ways[k], "write_and_flush", flushed[k], (int)size);
    }
out:
    axl_hfdir_plan_fini(&plan);
    return status;
}

int main(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL;
    float *src = NULL;

    AXL_TRY(axl_comm_init(&argc, &argv, &world));
    AXL_REQUIRE(argc >= 2, AXL_E_CONFIG, "a folder to write to is needed");
    const int64_t share = (int64_t)SIZE * SIZE / axl_comm_size(world) + SIZE;
    AXL_TRY(axl_calloc((size_t)share, sizeof *src, "a block", &src));
    for (int64_t i = 0; i < share; i++)
        src[i] = (float)(i % 1000);
    AXL_TRY(measure(world, argv[1], AXL_BF16, src));
    AXL_TRY(measure(world, argv[1], AXL_F32, src));
out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "bench_blocks: %s\n", axl_error_message());
    free(src);
    axl_comm_finalize(world);
    return axl_status_exit_code(status);
}
