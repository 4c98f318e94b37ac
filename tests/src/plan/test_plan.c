// RUN: np=1
// Clusters, links, the pipeline of a step and the search, by cases that can be reckoned by hand.
#include "comm/cp_layout.h"
#include "kernels/chip.h"
#include "src/io/file.h"
#include "src/plan/network.h"
#include "src/plan/pipeline.h"
#include "src/plan/search.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>

static void near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b))))
        fail_msg("%.12g is not %.12g", a, b);
}

// ---- clusters

static void ready_made_clusters_are_read_by_name(void **state)
{
    static const char *const names[] = {"a100", "cpu", "h100", "h200", "tcp"};
    axl_cluster c;
    (void)state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_OK(axl_cluster_read(names[i], &c));
        assert_string_equal(c.name, names[i]);
        assert_true(c.memory > c.process && c.peak_bf16 > 0.0 && c.node_ranks >= 1.0);
    }
    CHECK_OK(axl_cluster_read("h100", &c));
    near(c.peak_bf16, 989.4e12);
    near(c.between.latency, 8e-6);
    near(c.elementwise_passes, 1.0); // what is not given
    assert_int_equal(axl_cluster_read("h10O", &c), AXL_E_CONFIG);
    assert_non_null(strstr(axl_error_message(), "did you mean h100"));
}

static void every_fault_of_a_cluster_is_named(void **state)
{
    static const char text[] = "name: x\n"
                               "device:\n"
                               "  memory_gib: lots\n"
                               "  achievable: {gemm: 1.5}\n"
                               "  kernel_uz: 3\n"
                               "nodes: {ranks: 8}\n";
    axl_cluster c;
    (void)state;

    assert_int_equal(axl_cluster_parse(text, sizeof text - 1, "x.yaml", &c), AXL_E_CONFIG);
    const char *m = axl_error_message();
    assert_non_null(strstr(m, "x.yaml:3:15: error: device.memory_gib: a number was expected"));
    assert_non_null(strstr(m, "x.yaml:4:22: error: device.achievable.gemm: 1.5 is not between"));
    assert_non_null(strstr(m, "x.yaml:5:3: error: device.kernel_uz: unknown key; did you mean "
                              "device.kernel_us?"));
    assert_non_null(strstr(m, "x.yaml:6:1: error: nodes: unknown key"));
    assert_non_null(strstr(m, "node.ranks: is missing"));
    assert_int_equal(axl_cluster_parse("3", 1, "x.yaml", &c), AXL_E_CONFIG);
    assert_int_equal(axl_cluster_parse("a: [", 4, "x.yaml", &c), AXL_E_CONFIG);
}

static void a_chip_brings_its_data_sheet(void **state)
{
    static const char unknown[] = "name: x\ndevice: {chip: Z9}\n";
    axl_cluster c;
    axl_str text = {0};
    (void)state;

    CHECK_OK(axl_cluster_read("h200", &c));
    near(c.peak_fp8, 1978.9e12);
    assert_true(c.library_fp8);
    near(c.memory_rate, 4800e9);
    near(axl_cluster_peak(&c, AXL_BF16, true), 989.4e12);
    near(axl_cluster_peak(&c, AXL_F32, false), 66.9e12);
    near(axl_cluster_peak(&c, AXL_F32, true), 494.7e12);
    CHECK_OK(axl_cluster_read("cpu", &c));
    near(axl_cluster_peak(&c, AXL_F32, true), 0.19e12); // no TF32 there
    CHECK_OK(axl_file_read(AXL_SOURCE_DIR "/configs/clusters/h100.yaml", &text));
    char *chip = strstr(text.data, "chip: H100 #");
    assert_non_null(chip); // a number of the file wins
    memcpy(chip, "memory_gb_per_s: 7 #", 20);
    memcpy(chip + 20, "\n  chip: H100\n#", 15);
    CHECK_OK(axl_cluster_parse(text.data, text.len, "x.yaml", &c));
    near(c.memory_rate, 7e9);
    near(c.peak_bf16, 989.4e12);
    axl_str_fini(&text);
    assert_int_equal(axl_cluster_parse(unknown, sizeof unknown - 1, "x.yaml", &c), AXL_E_CONFIG);
    assert_non_null(strstr(axl_error_message(), "x.yaml:2:16: error: device.chip: no data sheet"));
    assert_string_equal(axl_chip_find("NVIDIA H100 80GB HBM3")->cluster, "h100");
    assert_string_equal(axl_chip_find("NVIDIA H100 PCIe")->name, "H100 PCIe");
    assert_string_equal(axl_chip_find("NVIDIA GB200")->name, "GB200");
    assert_false(axl_chip_find("NVIDIA GB200")->library_fp8);
    near(axl_chip_peak(axl_chip_find("NVIDIA H200"), AXL_F8_E4M3, false), 1978.9e12);
    assert_null(axl_chip_find("NVIDIA H100 80GB HBM3 MIG 1g.10gb")); // a part of one
    assert_null(axl_chip_find("NVIDIA H20"));
}

static void a_report_of_doctor_is_a_cluster(void **state)
{
    static const char text[] =
        "{\"ranks\": [{\"host\": \"a\", \"ranks_on_host\": 2, \"fp32_gflops\": 160.0,"
        " \"bf16_gflops\": 180.0, \"memory_gb_per_s\": 9.0, \"memory_bytes\": 8000000000,"
        " \"memory_limit_bytes\": 0}, {\"host\": \"a\", \"ranks_on_host\": 2, \"fp32_gflops\": "
        "150.0,"
        " \"bf16_gflops\": 190.0, \"memory_gb_per_s\": 8.0, \"memory_bytes\": 8000000000,"
        " \"memory_limit_bytes\": 6000000000}], \"axes\": [{\"axis\": \"dp_shard\", \"ranks\": 2,"
        " \"operation\": \"all_gather\", \"latency_us\": 3.0, \"busbw_gb_per_s\": 5.0}]}";
    axl_cluster c;
    (void)state;

    CHECK_OK(axl_cluster_from_doctor(text, sizeof text - 1, "here.json", &c));
    near(c.peak_f32 * c.gemm, 150e9); // the slowest
    near(c.peak_bf16 * c.gemm, 180e9);
    near(c.memory_rate * c.memory_achievable, 8e9);
    near(c.memory, 3e9);
    near(c.node_ranks, 2.0);
    near(c.inside.bytes_per_second * c.inside.achievable, 5e9);
    near(c.inside.latency, 3e-6);
    assert_true(c.is_host);
    assert_int_equal(axl_cluster_from_doctor("{}", 2, "x", &c), AXL_E_INPUT);

    // of GPUs: nodes and links
    static const char gpus[] =
        "{\"ranks\": [{\"host\": \"a\", \"chip\": \"NVIDIA H200\", \"ranks_on_host\": 4}],"
        " \"axes\": [{\"axis\": \"dp_shard\", \"ranks\": 4, \"operation\": \"all_gather\","
        " \"latency_us\": 30.0, \"busbw_gb_per_s\": 300.0}]}";
    CHECK_OK(axl_cluster_from_doctor(gpus, sizeof gpus - 1, "here.json", &c));
    assert_false(c.is_host);
    near(c.peak_bf16, 989.4e12);
    near(c.node_ranks, 4.0);
    near(c.inside.bytes_per_second * c.inside.achievable, 300e9);
    static const char other[] = "{\"ranks\": [{\"chip\": \"NVIDIA L4\"}]}";
    assert_int_equal(axl_cluster_from_doctor(other, sizeof other - 1, "x", &c), AXL_E_INPUT);
    assert_non_null(strstr(axl_error_message(), "ready-made for NVIDIA L4"));
}

// ---- links

static const axl_cluster simple = {.name = "simple",
                                   .node_ranks = 8.0,
                                   .inside = {100e9, 1.0, 1e-6},
                                   .between = {80e9, 1.0, 10e-6}};

static void a_group_has_the_link_of_its_ranks(void **state)
{
    axl_mesh m;
    const unsigned shard = AXL_AXIS_BIT(AXL_DP_SHARD), cp = AXL_AXIS_BIT(AXL_CP),
                   tp = AXL_AXIS_BIT(AXL_TP);
    (void)state;

    axl_mesh_imagine((const int[AXL_N_AXES]){1, 16, 1, 2, 4}, 0, &m); // cp x tp fill a node
    assert_int_equal(axl_network_ranks(&m, shard | cp), 32);
    assert_int_equal(axl_network_local(&simple, &m, tp), 4);
    assert_int_equal(axl_network_local(&simple, &m, cp), 2);
    assert_int_equal(axl_network_local(&simple, &m, shard), 1);
    assert_int_equal(axl_network_local(&simple, &m, shard | cp), 2);
    // inside: 3/4 of 4 GB at 100 GB/s
    near(axl_network_seconds(&simple, &m, tp, AXL_COMM_ALL_GATHER, 4e9), 3e9 / 100e9 + 3e-6);
    // one rank a node: an eighth of the adapters; 15/16 of 16 GB
    near(axl_network_seconds(&simple, &m, shard, AXL_COMM_ALL_GATHER, 16e9),
         15e9 / 10e9 + 15.0 * 10e-6);
    // two a node: a quarter
    near(axl_network_seconds(&simple, &m, shard | cp, AXL_COMM_REDUCE_SCATTER, 32e9),
         31e9 / 20e9 + 1e-6 + 15.0 * 10e-6);
    // sums go twice, up and down a tree
    near(axl_network_seconds(&simple, &m, shard, AXL_COMM_ALL_REDUCE, 16e9),
         30e9 / 10e9 + 2.0 * 4.0 * 10e-6);
    axl_mesh_imagine((const int[AXL_N_AXES]){1, 1, 1, 1, 1}, 0, &m);
    near(axl_network_seconds(&simple, &m, shard, AXL_COMM_ALL_GATHER, 1e9), 0.0);
}

// ---- the pipeline

static double run(const axl_unit_seconds *units, int n, int64_t n_micro, axl_seconds *waits)
{
    double hidden = 0.0;
    const axl_pipeline p = {.units = units, .n_units = n, .n_micro = n_micro, .overlap = 1.0};

    *waits = (axl_seconds){{0.0}};
    return axl_pipeline_run(&p, waits, &hidden);
}

static void fill(axl_unit_seconds *units, int n, double gather, double reduce)
{
    for (int i = 0; i < n; i++)
        units[i] = (axl_unit_seconds){.forward = 1.0,
                                      .backward = 2.0,
                                      .gather = gather,
                                      .gather_again = i > 0 && i < n - 1 ? gather : 0.0,
                                      .reduce = reduce};
    units[n - 1].backward = 0.0;
}

static void traffic_shorter_than_kernels_is_hidden_but_at_the_ends(void **state)
{
    axl_unit_seconds u[6];
    axl_seconds w;
    (void)state;

    fill(u, 6, 0.25, 0.5);
    // six forward, five backward; the first gather has nothing before it, the last reduction nothing behind it
    near(run(u, 6, 1, &w), 6.0 + 10.0 + 0.25 + 0.5 + 0.25);
    // (the first layer of backward waits for its gather while nothing else runs)
    near(w.s[AXL_TIME_GATHER], 0.5);
    near(w.s[AXL_TIME_REDUCE], 0.5);
}

static void traffic_longer_than_kernels_sets_the_pace(void **state)
{
    axl_unit_seconds u[10];
    axl_seconds w;
    (void)state;

    fill(u, 10, 3.0, 0.0);
    const double t = run(u, 10, 1, &w);
    // ten gathers forward and eight backward, one after the other; the last two kernels have none behind them
    assert_true(t >= 18.0 * 3.0 && t <= 18.0 * 3.0 + 8.0);
    near(t, 10.0 + 18.0 + w.s[AXL_TIME_GATHER] + w.s[AXL_TIME_REDUCE]);
}

static void many_micro_steps_are_the_middle_one_repeated(void **state)
{
    axl_unit_seconds u[7];
    axl_seconds w;
    double t[8];
    (void)state;

    fill(u, 7, 1.5, 1.25);
    for (int n = 1; n < 8; n++)
        t[n] = run(u, 7, n, &w);
    near(t[7] - t[6], t[4] - t[3]);
    near(t[6] - t[5], t[4] - t[3]);
    near(t[7], 7.0 * 7.0 + 7.0 * 12.0 + axl_seconds_sum(&w));
}

static void what_does_not_overlap_costs_kernels_time(void **state)
{
    axl_unit_seconds u[6];
    axl_seconds w = {{0.0}};
    double hidden = 0.0;
    (void)state;

    fill(u, 6, 0.25, 0.5);
    const axl_pipeline p = {.units = u, .n_units = 6, .n_micro = 1, .overlap = 0.0};
    // all traffic, ten gathers and six reductions, stands beside nothing
    assert_true(axl_pipeline_run(&p, &w, &hidden) >= 16.0 + 10.0 * 0.25 + 6.0 * 0.5);
}

// ---- forecasts

static const axl_forecast_data rows_8k = {.sequence_len = 8192,
                                          .micro_batch_size = 2,
                                          .accumulation = 1,
                                          .packing = true,
                                          .document_len = 8192};

static axl_forecast_job job_of(const int mesh[AXL_N_AXES], const axl_forecast_data *d)
{
    axl_forecast_job job = {
        .sharder = {.dtype = AXL_BF16, .train = true, .reshard_after_forward = true},
        .work = {.dtype = AXL_BF16,
                 .checkpointing = AXL_CHECKPOINT_FULL,
                 .train = true,
                 .heads_k_stride = 1}};

    memcpy(job.mesh, mesh, sizeof job.mesh);
    axl_forecast_fill(d, &job);
    return job;
}

static void read_arch(const char *name, axl_arch *arch)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", AXL_TEST_DATA, name);
    CHECK_OK(axl_arch_read(path, arch));
}

static void arithmetic_is_that_of_the_formula(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_forecast f;
    const axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &rows_8k);
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-8b", &arch);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.n_params, 8030261248);
    near(f.flops_attention, 6.0 * 32 * 32 * 256 * 8192.0);
    near(f.flops_token, 6.0 * (8030261248.0 - 128256.0 * 4096.0) + f.flops_attention);
    near(f.flops_causal, f.flops_token - f.flops_attention * 8191.0 / 16384.0);
    near(f.mfu, f.flops_token * f.tokens_per_second_rank / 989.4e12);
    near(f.tokens_step, 8.0 * 16384.0);
    near(axl_seconds_sum(&f.time), f.step);
    axl_arch_fini(&arch);
    read_arch("families/mixtral", &arch); // of its experts a token meets some
    const axl_forecast_job small = job_of((const int[AXL_N_AXES]){1, 1, 1, 1, 1}, &rows_8k);
    CHECK_OK(axl_forecast_make(&arch, &c, &small, &f));
    const int64_t expert = 3 * arch.moe.width * arch.hidden;
    assert_int_equal(f.n_params - f.n_active,
                     (int64_t)arch.n_layers * expert * (arch.moe.n_experts - arch.moe.top_k));
    axl_arch_fini(&arch);
}

static void documents_shorten_attention(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_forecast whole, docs;
    axl_forecast_data d = rows_8k;
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-8b", &arch);
    axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &whole));
    d.document_len = 512;
    job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d);
    assert_int_equal(job.n_docs, 32);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &docs));
    near(docs.flops_attention, whole.flops_attention / 16.0);
    assert_true(docs.step < whole.step);
    assert_int_equal(docs.total, whole.total); // memory is planned for any lengths
    axl_arch_fini(&arch);
}

static void a_batch_is_as_full_as_its_documents_make_it(void **state)
{
    axl_forecast_data d = {.sequence_len = 1000,
                           .micro_batch_size = 4,
                           .accumulation = 3,
                           .packing = true,
                           .row_docs = 200,
                           .document_len = 100};
    axl_forecast_job job = {.mesh = {1, 2, 1, 2, 1}};
    (void)state;

    axl_forecast_fill(&d, &job); // one packed row of 4,000
    assert_int_equal(job.work.whole_tokens, 4000);
    assert_int_equal(job.work.n_tokens, axl_cp_most_rows(4000, 2));
    assert_int_equal(job.work.n_seqs, 200);
    assert_int_equal(job.n_tokens, 4000);
    assert_int_equal(job.n_docs, 40);
    assert_int_equal(job.n_micro, 3);
    d.real_batches = true; // four rows
    axl_forecast_fill(&d, &job);
    assert_int_equal(job.work.n_seqs, 800);
    d.packing = false; // four documents, which are not padded
    axl_forecast_fill(&d, &job);
    assert_int_equal(job.work.whole_tokens, 4000);
    assert_int_equal(job.work.n_seqs, 4);
    assert_int_equal(job.n_tokens, 400);
    assert_int_equal(job.n_docs, 4);
    d.document_len = 5000; // longer ones are cut or dropped
    d.eval_tokens = 9000;
    d.eval_docs = 7;
    axl_forecast_fill(&d, &job);
    assert_int_equal(job.n_tokens, 4000);
    assert_int_equal(job.work.whole_tokens, 9000); // memory serves both
    assert_int_equal(job.work.n_seqs, 7);
}

static void a_rank_of_a_hundred_thousand_has_a_plan(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_forecast f;
    const axl_forecast_job job = job_of((const int[AXL_N_AXES]){125, 100, 1, 1, 8}, &rows_8k);
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-405b", &arch);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_true(f.n_params > 405000000000 && f.n_params < 406000000000);
    // weights, gradients and moments of 1 / 800 of the model, in f32
    const double state_bytes = (double)(f.sharder.master + f.sharder.grads + f.sharder.moments);
    assert_true(state_bytes > 16.0 / 800.0 * (double)f.n_params);
    assert_true(state_bytes < 1.05 * 16.0 / 800.0 * (double)f.n_params); // 100 does not divide
    assert_true(f.expected.sent[AXL_GROUP_AXIS + AXL_DP_REPLICATE][AXL_COMM_ALL_REDUCE] > 0);
    axl_arch_fini(&arch);
}

// ---- memory beside tensors

static void read_b200(axl_cluster *c)
{
    axl_str text = {0};

    CHECK_OK(axl_file_read(AXL_SOURCE_DIR "/configs/clusters/h100.yaml", &text));
    memcpy(strstr(text.data, "chip: H100"), "chip: B200", 10);
    CHECK_OK(axl_cluster_parse(text.data, text.len, "b200.yaml", c));
    axl_str_fini(&text);
}

// Two of a layer's three products are made in 8 bits: at that rate where the library makes them, else at the rate of fp16.
static void products_in_8_bits_have_the_rate_of_who_makes_them(void **state)
{
    axl_arch arch;
    axl_cluster c[2];
    axl_forecast f[2]; // without and with
    const axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &rows_8k);
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c[0]));
    read_b200(&c[1]);
    read_arch("plan/llama-3.1-8b", &arch);
    for (int chip = 0; chip < 2; chip++) {
        for (int k = 0; k < 2; k++) {
            arch.fp8 = k == 1;
            CHECK_OK(axl_forecast_make(&arch, &c[chip], &job, &f[k]));
        }
        const double part = f[1].time.s[AXL_TIME_PRODUCTS] / f[0].time.s[AXL_TIME_PRODUCTS];
        assert_true(chip == 0 ? part > 0.7 && part < 0.8 : part > 1.0 && part < 1.1);
        near(f[1].flops_token, f[0].flops_token);
        near(f[1].mfu, f[1].flops_token * f[1].tokens_per_second_rank / c[chip].peak_bf16);
    }
    axl_arch_fini(&arch);
}

static void memory_beside_tensors_is_counted(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_forecast f;
    axl_forecast_data d = rows_8k;
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-8b", &arch);
    arch.attention.library = true;
    axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 1, 1, 1, 1}, &d);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.beside.bytes[AXL_BESIDE_WORKSPACE], (size_t)64 << 20);
    assert_int_equal(axl_beside_total(&f.beside), (size_t)64 << 20); // one rank alone, a long row
    job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.beside.bytes[AXL_BESIDE_SUMS], (size_t)64 << 20);
    assert_int_equal(f.beside.n_communicators, 1); // with seven others of the node
    assert_int_equal(f.beside.bytes[AXL_BESIDE_NCCL], (size_t)(300 + 7 * 450) << 20);
    assert_int_equal(f.total, f.tensors + axl_beside_total(&f.beside) + f.process);
    job = job_of((const int[AXL_N_AXES]){2, 4, 1, 1, 16},
                 &d); // tp over two nodes, in pairs of a key head
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.beside.n_communicators, 4);
    assert_int_equal(f.beside.n_peers, 7 + 1);
    assert_int_equal(f.beside.n_between, 3);
    // cuDNN makes the gradient on sm_100: two statistics and two wide rows of every head
    read_b200(&c);
    job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.beside.bytes[AXL_BESIDE_CUDNN], (size_t)16384 * 32 * 4 * (2 + 2 * 128));
    d.micro_batch_size = 4; // more than it gets
    job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.beside.bytes[AXL_BESIDE_CUDNN], 0);
    // graphs only of short rows, and of layers that nobody is waited for in
    d = (axl_forecast_data){.sequence_len = 512,
                            .micro_batch_size = 1,
                            .accumulation = 1,
                            .packing = true,
                            .document_len = 512};
    job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d);
    job.work.graphs = AXL_GRAPHS_AUTO;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_true(f.beside.n_kernels > 0);
    assert_int_equal(f.beside.bytes[AXL_BESIDE_GRAPHS], (size_t)f.beside.n_kernels * 10240);
    job = job_of((const int[AXL_N_AXES]){1, 4, 1, 1, 2}, &d);
    job.work.graphs = AXL_GRAPHS_ON;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.beside.n_kernels, 0);
    axl_arch_fini(&arch);
}

static void what_the_host_must_pin_has_to_fit_too(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_forecast f;
    axl_search s;
    axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &rows_8k);
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-8b", &arch);
    job.sharder.offload = true;
    job.work.offload = AXL_OFFLOAD_ALL;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_int_equal(f.pinned, 8 * (f.work.host + f.sharder.host));
    assert_true(axl_forecast_fits(&f));
    c.host_memory = (double)f.pinned - 1.0;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_true(f.total <= f.limit && !axl_forecast_fits(&f));
    CHECK_OK(axl_search_run(&arch, &c, &rows_8k, &job, &s));
    assert_true(s.n_best > 0);
    for (int i = 0; i < s.n_best; i++) {
        assert_true(axl_forecast_fits(&s.best[i].forecast));
        assert_true(s.best[i].mode != AXL_CHECKPOINT_NONE); // which activation_offloading needs
    }
    axl_arch_fini(&arch);
}

static void what_is_kept_on_the_host_costs_time(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_forecast there, away;
    axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &rows_8k);
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-8b", &arch);
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &there));
    near(there.time.s[AXL_TIME_HOST], 0.0);
    job.work.offload = AXL_OFFLOAD_INPUTS; // 2 GiB there and back, beside a second of kernels
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &away));
    near(away.step, there.step);
    c.host_link /= 100.0;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &away));
    assert_true(away.step > there.step);
    near(away.step - there.step, away.time.s[AXL_TIME_HOST]);
    near(axl_seconds_sum(&away.time), away.step);
    c.host_link *= 100.0;
    job.work.offload = AXL_OFFLOAD_NONE;
    job.sharder.offload = true;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &away));
    const double elements = (double)away.sharder.shard / 4.0; // but for the rounding of vectors
    const double least = elements * 4.0 / c.host_link + 8.0 * elements * 34.0 / c.host_rate;
    assert_true(away.time.s[AXL_TIME_HOST] > 0.999 * least);
    assert_true(away.time.s[AXL_TIME_HOST] < 1.001 * least);
    assert_true(away.time.s[AXL_TIME_GATHER] > there.time.s[AXL_TIME_GATHER]);
    near(axl_seconds_sum(&away.time), away.step);
    axl_arch_fini(&arch);
}

// ---- the search

// What the search shares between layouts must not show.
static void check_found(const int mesh[AXL_N_AXES], const axl_forecast_data *d, const char *model)
{
    axl_arch arch;
    axl_cluster c;
    axl_search s;
    axl_forecast_job job = job_of(mesh, d);
    const int64_t n_ranks = (int64_t)mesh[0] * mesh[1] * mesh[2] * mesh[3] * mesh[4];
    const int64_t rows =
        (int64_t)mesh[0] * mesh[1] * mesh[2] * d->micro_batch_size * d->accumulation;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch(model, &arch);
    CHECK_OK(axl_search_run(&arch, &c, d, &job, &s));
    assert_int_equal(s.n_best, AXL_SEARCH_ROWS);
    for (int i = 0; i < s.n_best; i++) {
        const axl_search_row *r = &s.best[i];
        axl_forecast f;
        axl_forecast_data data = *d;
        int64_t ranks = 1;
        for (int a = 0; a < AXL_N_AXES; a++)
            ranks *= r->mesh[a];
        assert_int_equal(ranks, n_ranks);
        assert_int_equal(r->micro_batch_size * r->accumulation * r->mesh[0] * r->mesh[1] *
                             r->mesh[2],
                         rows); // of a step
        data.micro_batch_size = r->micro_batch_size;
        data.accumulation = r->accumulation;
        axl_forecast_job again = job_of(r->mesh, &data);
        again.work.checkpointing = r->mode;
        again.sharder.reshard_after_forward = r->reshard;
        CHECK_OK(axl_forecast_make(&arch, &c, &again, &f));
        near(f.step, r->forecast.step);
        near(f.mfu, r->forecast.mfu);
        assert_int_equal(f.total, r->forecast.total);
        assert_true(axl_forecast_fits(&f));
        assert_true(i == 0 || s.best[i - 1].forecast.step <= r->forecast.step);
        assert_true(r->why[0] != '\0');
    }
    axl_arch_fini(&arch);
}

static void found_layouts_are_what_a_plan_of_them_says(void **state)
{
    axl_forecast_data d = rows_8k;
    (void)state;

    check_found((const int[AXL_N_AXES]){1, 8, 1, 1, 2}, &d, "plan/llama-3.1-8b");
    check_found((const int[AXL_N_AXES]){4, 48, 1, 1, 4}, &d, "plan/llama-3.1-70b");
    d.sequence_len = 131072;
    d.document_len = 3000;
    check_found((const int[AXL_N_AXES]){1, 64, 1, 8, 1}, &d, "plan/llama-3.1-8b");
}

static void a_plan_that_does_not_fit_is_mended_with_few_keys(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_search s;
    axl_forecast f;
    axl_forecast_data d = rows_8k;
    (void)state;

    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-8b", &arch);
    axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d);
    job.work.checkpointing = AXL_CHECKPOINT_NONE; // 2 x 8192 tokens of activations: too many
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_false(axl_forecast_fits(&f));
    CHECK_OK(axl_search_run(&arch, &c, &d, &job, &s));
    assert_true(s.has_mend);
    assert_int_equal(s.mend.n_changes, 1);
    assert_true(axl_forecast_fits(&s.mend.forecast));
    axl_arch_fini(&arch);

    read_arch("plan/llama-3.1-405b", &arch);
    CHECK_OK(axl_search_run(&arch, &c, &d, &job, &s));
    assert_false(s.has_mend);
    assert_int_equal(s.n_best, 0);
    assert_true(s.ranks_needed > 8 && s.ranks_needed <= 1024);
    axl_arch_fini(&arch);
}

static void the_host_mends_what_does_not_fit_and_nothing_else(void **state)
{
    axl_arch arch;
    axl_cluster c;
    axl_search s;
    axl_forecast f;
    axl_forecast_data d = rows_8k;
    (void)state;

    d.micro_batch_size = 1;
    CHECK_OK(axl_cluster_read("h100", &c));
    read_arch("plan/llama-3.1-8b", &arch);
    axl_forecast_job job = job_of((const int[AXL_N_AXES]){1, 1, 1, 1, 1}, &d);
    CHECK_OK(axl_search_run(&arch, &c, &d, &job, &s)); // 16 bytes a parameter: 120 GiB
    assert_true(s.has_mend && s.mend.offload_state);
    assert_int_equal(s.n_best, 0); // --search ranks layouts as asked
    assert_int_equal(s.n_fit, 0);
    job.sharder.offload = true;
    job.work.offload = s.mend.offload;
    job.work.checkpointing = s.mend.mode;
    job.sharder.reshard_after_forward = s.mend.reshard;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    assert_true(axl_forecast_fits(&f));
    assert_int_equal(f.total, s.mend.forecast.total);
    near(f.step, s.mend.forecast.step);
    job = job_of((const int[AXL_N_AXES]){1, 8, 1, 1, 1}, &d); // there is room on eight
    job.sharder.offload = true;
    CHECK_OK(axl_forecast_make(&arch, &c, &job, &f));
    CHECK_OK(axl_search_run(&arch, &c, &d, &job, &s));
    assert_true(s.n_best > 0 && s.best[0].offload_state);
    assert_true(s.has_mend && !s.mend.offload_state);
    assert_true(s.mend.forecast.step < f.step);
    axl_arch_fini(&arch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_made_clusters_are_read_by_name),
        cmocka_unit_test(every_fault_of_a_cluster_is_named),
        cmocka_unit_test(a_chip_brings_its_data_sheet),
        cmocka_unit_test(a_report_of_doctor_is_a_cluster),
        cmocka_unit_test(a_group_has_the_link_of_its_ranks),
        cmocka_unit_test(traffic_shorter_than_kernels_is_hidden_but_at_the_ends),
        cmocka_unit_test(traffic_longer_than_kernels_sets_the_pace),
        cmocka_unit_test(many_micro_steps_are_the_middle_one_repeated),
        cmocka_unit_test(what_does_not_overlap_costs_kernels_time),
        cmocka_unit_test(arithmetic_is_that_of_the_formula),
        cmocka_unit_test(documents_shorten_attention),
        cmocka_unit_test(a_batch_is_as_full_as_its_documents_make_it),
        cmocka_unit_test(a_rank_of_a_hundred_thousand_has_a_plan),
        cmocka_unit_test(products_in_8_bits_have_the_rate_of_who_makes_them),
        cmocka_unit_test(memory_beside_tensors_is_counted),
        cmocka_unit_test(what_is_kept_on_the_host_costs_time),
        cmocka_unit_test(what_the_host_must_pin_has_to_fit_too),
        cmocka_unit_test(found_layouts_are_what_a_plan_of_them_says),
        cmocka_unit_test(the_host_mends_what_does_not_fit_and_nothing_else),
        cmocka_unit_test(a_plan_that_does_not_fit_is_mended_with_few_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
