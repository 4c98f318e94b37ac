// RUN: np=1
// The plan against the world: tokens a second of one GPU, as torchtitan published them (benchmarks/
// llama3_h100_202412_torchtitan.md and asyncTP_llama3_h100_2025-06_torchtitan.md of pytorch/torchtitan). Clock and
// elementwise passes are fitted on the first two rows; every other row is a prediction, and one that is more than 15 %
// off stands here with how far it is off, so that a change for the worse and for the better both show.
#include "src/io/file.h"
#include "src/plan/forecast.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>

enum { COMPILED = 0, EAGER = 1, FP8 = 2, ASYNC_TP = 4 };

typedef struct row {
    const char *what, *model;
    int mesh[AXL_N_AXES];
    int64_t sequence_len, batch;
    axl_checkpointing mode;
    unsigned software;
    double low, high;  // published
    double known_miss; // predicted / published where that is more than 15 % off; 0: it is not
    bool fitted,
        asked; // asked: a row that the plan must know; the others are further ones of the same pages
} row;

static const row rows[] = {
    {.what = "8B, 8 GPUs, eager",
     .model = "8b",
     .mesh = {1, 8, 1, 1, 1},
     .sequence_len = 8192,
     .batch = 2,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .software = EAGER,
     .low = 5762,
     .high = 5762,
     .fitted = true,
     .asked = true},
    {.what = "8B, 8 GPUs, compiled",
     .model = "8b",
     .mesh = {1, 8, 1, 1, 1},
     .sequence_len = 8192,
     .batch = 2,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .low = 6667,
     .high = 6667,
     .fitted = true,
     .asked = true},
    {.what = "8B, 128 GPUs, eager",
     .model = "8b",
     .mesh = {1, 128, 1, 1, 1},
     .sequence_len = 8192,
     .batch = 2,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .software = EAGER,
     .low = 5605,
     .high = 5605,
     .asked = true},
    {.what = "8B, 128 GPUs, compiled",
     .model = "8b",
     .mesh = {1, 128, 1, 1, 1},
     .sequence_len = 8192,
     .batch = 2,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .low = 6514,
     .high = 6514,
     .asked = true},
    {.what = "70B, 256 GPUs, FSDP 32 x TP 8",
     .model = "70b",
     .mesh = {1, 32, 1, 1, 8},
     .sequence_len = 8192,
     .batch = 16,
     .mode = AXL_CHECKPOINT_FULL,
     .low = 597.3,
     .high = 597.3,
     .asked = true},
    {.what = "70B, the same, async TP",
     .model = "70b",
     .mesh = {1, 32, 1, 1, 8},
     .sequence_len = 8192,
     .batch = 16,
     .mode = AXL_CHECKPOINT_FULL,
     .software = ASYNC_TP,
     .low = 652.4,
     .high = 652.4,
     .asked = true},
    {.what = "8B, fp8, 32 k tokens, CP 1",
     .model = "8b",
     .mesh = {1, 8, 1, 1, 1},
     .sequence_len = 32768,
     .batch = 1,
     .mode = AXL_CHECKPOINT_FULL,
     .software = FP8,
     .low = 3890,
     .high = 3890,
     .asked = true},
    {.what = "8B, fp8, 64 k tokens, CP 2",
     .model = "8b",
     .mesh = {1, 4, 1, 2, 1},
     .sequence_len = 65536,
     .batch = 1,
     .mode = AXL_CHECKPOINT_FULL,
     .software = FP8,
     .low = 2540,
     .high = 2540,
     .asked = true},
    {.what = "8B, fp8, 128 k tokens, CP 4",
     .model = "8b",
     .mesh = {1, 2, 1, 4, 1},
     .sequence_len = 131072,
     .batch = 1,
     .mode = AXL_CHECKPOINT_FULL,
     .software = FP8,
     .low = 1071,
     .high = 1071,
     .asked = true,
     .known_miss = 1.215},
    {.what = "8B, fp8, 256 k tokens, CP 8",
     .model = "8b",
     .mesh = {1, 1, 1, 8, 1},
     .sequence_len = 262144,
     .batch = 1,
     .mode = AXL_CHECKPOINT_FULL,
     .software = FP8,
     .low = 548,
     .high = 548,
     .asked = true,
     .known_miss = 1.266},
    {.what = "8B, 8 GPUs, fp8",
     .model = "8b",
     .mesh = {1, 8, 1, 1, 1},
     .sequence_len = 8192,
     .batch = 2,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .software = FP8,
     .low = 8532,
     .high = 8532},
    {.what = "8B, 128 GPUs, fp8",
     .model = "8b",
     .mesh = {1, 128, 1, 1, 1},
     .sequence_len = 8192,
     .batch = 2,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .software = FP8,
     .low = 8380,
     .high = 8380},
    {.what = "70B, FSDP 32 x TP 8, fp8",
     .model = "70b",
     .mesh = {1, 32, 1, 1, 8},
     .sequence_len = 8192,
     .batch = 16,
     .mode = AXL_CHECKPOINT_FULL,
     .software = FP8,
     .low = 809.8,
     .high = 829,
     .known_miss = 0.849},
    {.what = "70B, the same, fp8, async TP",
     .model = "70b",
     .mesh = {1, 32, 1, 1, 8},
     .sequence_len = 8192,
     .batch = 16,
     .mode = AXL_CHECKPOINT_FULL,
     .software = FP8 | ASYNC_TP,
     .low = 876,
     .high = 942.4},
    {.what = "8B, 64 GPUs, FSDP 8 x TP 8",
     .model = "8b",
     .mesh = {1, 8, 1, 1, 8},
     .sequence_len = 8192,
     .batch = 12,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .low = 4378,
     .high = 4378,
     .known_miss = 1.170},
    {.what = "8B, the same, async TP",
     .model = "8b",
     .mesh = {1, 8, 1, 1, 8},
     .sequence_len = 8192,
     .batch = 12,
     .mode = AXL_CHECKPOINT_SELECTIVE,
     .software = ASYNC_TP,
     .low = 4809,
     .high = 4809,
     .known_miss = 1.310},
};

static void predict(const row *r, axl_forecast *f)
{
    char path[512];
    axl_arch arch;
    axl_cluster c;
    const axl_forecast_data data = {.sequence_len = r->sequence_len,
                                    .micro_batch_size = r->batch,
                                    .accumulation = 1,
                                    .packing = true,
                                    .document_len = r->sequence_len};
    axl_forecast_job job = {
        .sharder = {.dtype = AXL_BF16, .train = true, .reshard_after_forward = true},
        .work = {.dtype = AXL_BF16,
                 .checkpointing = r->mode,
                 .train = true,
                 .ring = AXL_RING_VARLEN_ZIGZAG,
                 .heads_k_stride = 1}};

    memcpy(job.mesh, r->mesh, sizeof job.mesh);
    (void)snprintf(path, sizeof path, "%s/plan/llama-3.1-%s", AXL_TEST_DATA, r->model);
    CHECK_OK(axl_arch_read(path, &arch));
    (void)snprintf(path, sizeof path, "%s/plan/torchtitan%s.yaml", AXL_TEST_DATA,
                   (r->software & EAGER) != 0 ? "-eager" : "");
    CHECK_OK(axl_cluster_read(path, &c));
    c.fp8_products = (r->software & FP8) != 0 ? 1.0 : 0.0;
    c.async_tp = (r->software & ASYNC_TP) != 0 ? 1.0 : 0.0;
    axl_forecast_fill(&data, &job);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, f));
    axl_arch_fini(&arch);
}

static void every_row_is_within_15_percent_or_a_known_miss(void **state)
{
    (void)state;
    print_message("%-32s %17s %9s\n", "", "published", "predicted");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        axl_forecast f;
        predict(r, &f);
        const double p = f.tokens_per_second_rank;
        const double ratio = p < r->low ? p / r->low : p > r->high ? p / r->high : 1.0;
        print_message("%-32s %8.1f %8.1f %9.1f  %+5.1f %% %s\n", r->what, r->low, r->high, p,
                      100.0 * (ratio - 1.0),
                      r->fitted  ? "fitted"
                      : r->asked ? ""
                                 : "further");
        if (r->known_miss == 0.0 && !(fabs(ratio - 1.0) <= 0.15))
            fail_msg("%s: predicted %.1f, published %.1f", r->what, p, r->low);
        if (r->known_miss > 0.0 && !(fabs(ratio - r->known_miss) <= 0.01))
            fail_msg("%s: predicted / published is %.3f, known as %.3f: say so here and in "
                     "docs/plan.md",
                     r->what, ratio, r->known_miss);
        // the classes make up the step
        assert_true(fabs(axl_seconds_sum(&f.time) - f.step) <= 1e-9 * f.step);
    }
}

static void read_cluster(const char *name, axl_cluster *c)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/plan/%s.yaml", AXL_TEST_DATA, name);
    CHECK_OK(axl_cluster_read(path, c));
}

static void fitted_constants_lie_in_published_ranges(void **state)
{
    axl_cluster eager, compiled;
    (void)state;

    read_cluster("torchtitan-eager", &eager);
    read_cluster("torchtitan", &compiled);
    print_message(
        "clock %.3f, range 0.60 to 1.00: base clock of the 350 W card (1,095 MHz) over the "
        "boost clock that the peak stands for (1,830 MHz); 700 W (NVIDIA H100 data sheets)\n",
        compiled.clock);
    assert_true(compiled.clock >= 0.60 && compiled.clock <= 1.0);
    assert_true(eager.clock == compiled.clock);
    print_message("elementwise passes %.2f eager, range 1.5 to 4; 1 compiled\n",
                  eager.elementwise_passes);
    assert_true(eager.elementwise_passes >= 1.5 && eager.elementwise_passes <= 4.0);
    assert_true(compiled.elementwise_passes == 1.0);
    eager.elementwise_passes = 1.0;
    (void)snprintf(eager.name, sizeof eager.name, "%s", compiled.name);
    assert_memory_equal(&eager.memory, &compiled.memory,
                        sizeof eager - offsetof(axl_cluster, memory)); // nothing else differs
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_within_15_percent_or_a_known_miss),
        cmocka_unit_test(fitted_constants_lie_in_published_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
