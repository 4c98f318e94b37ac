// Speed of saving and loading: mpirun -np N bench_checkpoint DIR [MIB [columns]].
//
// Writes MIB (default 512) of f32 weights and both moments, drawn as training leaves them (normal
// weights, moments over several magnitudes), into DIR, reads them back, and removes them. Each rank has some rows, or some columns. Output:
// name,variant,metric,value,unit.
#include "comm/comm.h"
#include "sharding/ckpt.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/base/philox.h"
#include "src/io/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLS = 1024, N_GROUPS = 3 };

static const char *const groups[N_GROUPS] = {"model", "exp_avg", "exp_avg_sq"};

// A short sequence is repeated with its last bits changed: drawing all numbers would take minutes.
static void draw(float *x, int64_t n, int group)
{
    enum { DRAWN = 65536 };

    for (int64_t i = 0; i < n && i < DRAWN; i++) {
        const double a = axl_random_normal(1, AXL_RANDOM_TEST, (uint64_t)i);
        const double b = axl_random_normal(2, AXL_RANDOM_TEST, (uint64_t)i);
        x[i] = (float)(group == 0   ? 0.05 * a
                       : group == 1 ? 1e-5 * a * exp(b)
                                    : 1e-10 * a * a * exp(2.0 * b));
    }
    for (int64_t i = DRAWN; i < n; i++)
        x[i] = x[(i * 40503) % DRAWN] * (1.0F + (float)(i % 1021) * 1e-4F);
}

static axl_status read_back(axl_comm *world, const char *path, const axl_ckpt_tensor *tensors,
                            float *buffer)
{
    axl_status status = AXL_OK;
    axl_ckpt *k = NULL;

    AXL_TRY(axl_comm_agree(world, axl_ckpt_open(path, &k)));
    for (int g = 0; g < N_GROUPS; g++) {
        const axl_block block = {.row0 = tensors[g].row0,
                                 .n_rows = tensors[g].n_rows,
                                 .col0 = tensors[g].col0,
                                 .n_cols = tensors[g].n_cols};
        AXL_TRY(axl_ckpt_read_block(k, groups[g], "weight", &block, buffer));
    }
    AXL_TRY(axl_comm_barrier(world));

out:
    axl_ckpt_close(k);
    return status;
}

static axl_status measure(axl_comm *world, const char *dir, const char *path, int64_t mib,
                          bool columns)
{
    axl_status status = AXL_OK;
    const int64_t rank = axl_comm_rank(world), size = axl_comm_size(world);
    const int64_t rows = (mib << 20) / N_GROUPS / COLS / (int64_t)sizeof(float);
    const int64_t whole = columns ? COLS : rows, begin = whole * rank / size;
    const int64_t n = whole * (rank + 1) / size - begin, count = n * (columns ? rows : COLS);
    const char *way = columns ? "columns" : "rows";
    axl_ckpt_tensor tensors[N_GROUPS];
    axl_ckpt_report report;
    float *data[N_GROUPS] = {NULL}, *buffer = NULL;

    AXL_TRY(axl_calloc((size_t)count, sizeof *buffer, "rows", &buffer));
    for (int g = 0; g < N_GROUPS; g++) {
        AXL_TRY(axl_calloc((size_t)count, sizeof **data, "rows", &data[g]));
        draw(data[g], count, g);
        tensors[g] = (axl_ckpt_tensor){.group = groups[g],
                                       .name = "weight",
                                       .dtype = AXL_F32,
                                       .n_dims = 2,
                                       .dims = {rows, COLS},
                                       .row0 = columns ? 0 : begin,
                                       .n_rows = columns ? rows : n,
                                       .col0 = columns ? begin : 0,
                                       .n_cols = columns ? n : COLS,
                                       .data = data[g]};
    }
    const axl_ckpt_options o = {
        .dir = dir, .step = 1, .tensors = tensors, .n_tensors = N_GROUPS, .meta_json = "{}"};
    AXL_TRY(axl_ckpt_write(world, &o, &report));
    const double start = axl_now();
    AXL_TRY(read_back(world, path, tensors, buffer));
    const double loading = axl_now() - start;
    if (rank == 0) {
        const double gb = (double)report.raw_bytes * 1e-9;
        printf("save_np%lld,%s,speed,%.3f,GB/s\n", (long long)size, way, gb / report.seconds);
        printf("save_np%lld,%s,stored,%.3f,of raw\n", (long long)size, way,
               (double)report.stored_bytes / (double)report.raw_bytes);
        printf("load_np%lld,%s,speed,%.3f,GB/s\n", (long long)size, way, gb / loading);
    }

out:
    for (int g = 0; g < N_GROUPS; g++)
        free(data[g]);
    free(buffer);
    return status;
}

int main(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_comm *world = NULL;
    axl_str path = {0};

    AXL_TRY(axl_comm_init(&argc, &argv, &world));
    AXL_REQUIRE(argc >= 2, AXL_E_CONFIG, "a folder to write to is needed");
    const int64_t mib = argc > 2 ? strtol(argv[2], NULL, 10) : 512;
    AXL_REQUIRE(mib > 0, AXL_E_CONFIG, "%s MiB is no size", argv[2]);
    AXL_TRY(axl_str_printf(&path, "%s/checkpoint-1", argv[1]));
    AXL_TRY(measure(world, argv[1], path.data, mib, argc > 3 && strcmp(argv[3], "columns") == 0));
    AXL_TRY(axl_comm_barrier(world));
    if (axl_comm_rank(world) == 0)
        AXL_TRY(axl_path_remove(path.data));

out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "bench_checkpoint: %s\n", axl_error_message());
    axl_str_fini(&path);
    axl_comm_finalize(world);
    return axl_status_exit_code(status);
}
