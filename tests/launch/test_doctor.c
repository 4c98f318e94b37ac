// RUN: np=1,2
// What axl-dist doctor says about machines that are made up here, and clocks that are the same.
#include "launch/doctor.h"
#include "tests/check.h"

#include <stdlib.h>

static axl_comm *world;

// Four healthy ranks on two hosts of two processors.
static void make_ranks(axl_doctor *d, axl_doctor_rank ranks[4])
{
    *d = (axl_doctor){.n_ranks = 4, .ranks = ranks};
    for (int i = 0; i < 4; i++) {
        ranks[i] = (axl_doctor_rank){.processor = "a processor",
                                     .kernels = "cpu-avx512",
                                     .version = "1",
                                     .local_rank = i % 2,
                                     .local_size = 2,
                                     .threads = 1,
                                     .n_cpus = 2,
                                     .cpus = {3},
                                     .memory = (int64_t)16 << 30,
                                     .gemm_f32 = 1e11,
                                     .gemm_bf16 = 2e11};
        (void)snprintf(ranks[i].host, sizeof ranks[i].host, "node%d", i / 2);
        (void)snprintf(ranks[i].boot, sizeof ranks[i].boot, "boot%d", i / 2);
    }
}

// Judges and wants exactly one finding of this severity with these words, or none for words NULL.
static void check_says(axl_doctor *d, axl_severity severity, const char *words)
{
    axl_str text = {0};

    axl_doctor_judge(d);
    CHECK_OK(axl_diagnostics_text(&d->findings, AXL_NOTE, &text));
    if (d->findings.n != (words != NULL))
        fail_msg("%zu findings: %s", d->findings.n, text.len > 0 ? text.data : "");
    if (words != NULL && strstr(text.data, words) == NULL)
        fail_msg("no \"%s\" in %s", words, text.data);
    if (words != NULL)
        assert_int_equal(d->findings.items[0].severity, severity);
    axl_str_fini(&text);
    axl_diagnostics_fini(&d->findings);
}

static void healthy_ranks_give_no_finding(void **state)
{
    axl_doctor d;
    axl_doctor_rank r[4];
    (void)state;

    make_ranks(&d, r);
    check_says(&d, AXL_NOTE, NULL);
    d.n_unmeasured = 3;
    check_says(&d, AXL_WARNING, "3 more operations were not measured");
}

static void cores_are_judged_by_host(void **state)
{
    axl_doctor d;
    axl_doctor_rank r[4];
    (void)state;

    make_ranks(&d, r);
    r[2].n_cpus = r[3].n_cpus = 64; // bound to one each
    r[2].cpus[0] = 1;
    r[3].cpus[0] = 2;
    check_says(&d, AXL_WARNING, "node1: every rank is bound to one processor and 62 of 64");
    r[2].n_cpus = r[3].n_cpus = 2; // both on the same
    r[3].cpus[0] = 1;
    check_says(&d, AXL_WARNING, "node1: 2 ranks are bound to the same 1 processor; give mpirun");
    make_ranks(&d, r);
    r[0].n_cpus = r[1].n_cpus = 1;
    check_says(&d, AXL_WARNING, "node0: 2 ranks share 1 processors");
    make_ranks(&d, r);
    r[0].threads = r[1].threads = 2;
    check_says(&d, AXL_WARNING, "node0: 4 threads run on 2 processors; set OMP_NUM_THREADS=1");
    make_ranks(&d, r);
    r[0].n_cpus = r[1].n_cpus = 8;
    r[0].cpus[0] = r[1].cpus[0] = 255;
    check_says(&d, AXL_WARNING, "node0: 6 of 8 processors stay idle; set OMP_NUM_THREADS=4");
    r[0].cpu_quota = 2.0;
    r[1].cpu_quota = 2.0;
    check_says(&d, AXL_WARNING, "allows 2.0 of 8 processors");
}

static void machines_are_judged(void **state)
{
    axl_doctor d;
    axl_doctor_rank r[4];
    (void)state;

    make_ranks(&d, r);
    r[2].memory_limit = (int64_t)8 << 30;
    check_says(&d, AXL_WARNING, "node1: memory is limited to 8.0 of 16.0 GiB");
    make_ranks(&d, r);
    r[0].amx_bf16 = true;
    check_says(&d, AXL_WARNING, "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16");
    r[0].amx_tiles = true;
    check_says(&d, AXL_WARNING, NULL);
    r[2].clock_offset = -0.25;
    check_says(&d, AXL_WARNING, "node1: the clock is -0.250 s off");
}

static void ranks_are_compared(void **state)
{
    axl_doctor d;
    axl_doctor_rank r[4];
    (void)state;

    make_ranks(&d, r);
    (void)snprintf(r[3].kernels, sizeof r[3].kernels, "cpu-avx2");
    check_says(&d, AXL_WARNING, "rank 3 (node1) runs cpu-avx2, rank 0 (node0) cpu-avx512");
    make_ranks(&d, r);
    (void)snprintf(r[3].version, sizeof r[3].version, "2");
    check_says(&d, AXL_ERROR, "install one version");
    make_ranks(&d, r);
    r[1].gemm_f32 = 0.81e11;
    check_says(&d, AXL_WARNING, NULL);
    r[1].gemm_f32 = 0.79e11;
    r[2].gemm_bf16 = 1e11; // slow once is slow enough: told for fp32 only
    check_says(&d, AXL_WARNING, "rank 1 (node0) computes 79 GFLOP/s");
}

static void hosts_of_one_machine_and_of_one_name_are_found(void **state)
{
    axl_doctor d;
    axl_doctor_rank r[4];
    (void)state;

    make_ranks(&d, r);
    (void)strcpy(r[2].boot, r[0].boot);
    (void)strcpy(r[3].boot, r[0].boot);
    check_says(&d, AXL_WARNING, "2 hosts are on 1 machine: ranks of one machine talk TCP");
    make_ranks(&d, r);
    (void)strcpy(r[2].host, r[0].host);
    (void)strcpy(r[3].host, r[0].host);
    check_says(&d, AXL_ERROR, "two machines are called node0");
}

static void a_folder_that_a_host_does_not_share_is_an_error(void **state)
{
    axl_doctor d;
    axl_doctor_rank r[4];
    axl_config c = {.base_model = "/models/m"};
    (void)state;

    make_ranks(&d, r);
    for (int i = 0; i < 4; i++)
        r[i].folder_seen = r[i].folder_writable = r[i].model_seen = true;
    d.up.config = &c;
    d.folder_free = (int64_t)100 << 30;
    (void)snprintf(d.folder, sizeof d.folder, "/runs");
    check_says(&d, AXL_ERROR, NULL);
    r[2].folder_seen = false;
    check_says(&d, AXL_ERROR, "rank 2 (node1) does not see in /runs");
    r[2].folder_seen = true;
    r[3].model_seen = false;
    check_says(&d, AXL_ERROR, "rank 3 (node1) does not find /models/m");
    r[3].model_seen = true;
    d.folder_free = 1 << 30;
    check_says(&d, AXL_WARNING, "/runs has 1.0 GiB free");
}

// Ranks of one machine read one clock: the offset found must be explained by its error.
static void one_clock_is_found_equal(void **state)
{
    double offset = 0.0, error = 0.0;
    (void)state;

    CHECK_OK(axl_doctor_clock(world, &offset, &error));
    assert_true(fabs(offset) <= error + 1e-6);
    assert_true(error < 1.0);
    assert_true((error > 0.0) == (axl_comm_rank(world) > 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy_ranks_give_no_finding),
        cmocka_unit_test(cores_are_judged_by_host),
        cmocka_unit_test(machines_are_judged),
        cmocka_unit_test(ranks_are_compared),
        cmocka_unit_test(hosts_of_one_machine_and_of_one_name_are_found),
        cmocka_unit_test(a_folder_that_a_host_does_not_share_is_an_error),
        cmocka_unit_test(one_clock_is_found_equal),
    };

    CHECK_OK(axl_comm_init(NULL, NULL, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
