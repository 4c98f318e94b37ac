// RUN: np=1,2
// What a step asks of the device's runtime: how often the host waits, that it takes no memory, and what a message says
// of work that failed long after it was queued. On the late device (engine.c).
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/driver.h"
#include "tests/cuda_emu/emu_test.h"
#include "tests/families/trial.h"

#include <stdlib.h>

static axl_comm *world;

// Waits and allocations of one step: forward, backward, norm and update.
static emu_calls step(trial *t)
{
    const emu_calls before = emu_read_calls();
    double norm = 0.0;

    trial_run(t);
    CHECK_OK(axl_grad_norm(&t->sharder, &norm));
    CHECK_OK(axl_sharder_begin_update(&t->sharder));
    assert_true(norm > 0.0);
    const axl_optimizer *opt = axl_optimizer_find("adamw_torch");
    const axl_hyper h = {.lr = 1e-4,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .eps = 1e-8,
                         .t = 1,
                         .grad_scale = axl_clip_scale(norm, 1.0)};
    CHECK_OK(axl_optimizer_update(opt, &t->sharder, &h));
    const emu_calls after = emu_read_calls();
    return (emu_calls){.waits = after.waits - before.waits,
                       .allocations = after.allocations - before.allocations,
                       .queued = after.queued - before.queued};
}

// Models of different numbers of weights.
static const char *const models[] = {"llama", "qwen3_bias", "qwen2", "llama_dynamic"};

// logp of each micro-step, and the norm of the gradients.
static void the_host_waits_once_a_micro_step_and_once_for_the_norm(void **state)
{
    (void)state;
    if (axl_comm_size(world) > 1)
        skip(); // collectives of this device go through the host
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        for (int micro_steps = 1; micro_steps <= 3; micro_steps += 2) {
            for (int64_t invariant = 0; invariant <= 5; invariant += 5) {
                trial t;
                const trial_options o = {.backend = "cuda",
                                         .reshard = true,
                                         .micro_steps = micro_steps,
                                         .invariant = invariant};
                trial_begin(&t, models[i], world, &o);
                for (int k = 0; k < 3; k++)
                    assert_int_equal(step(&t).waits, micro_steps + 1);
                trial_end(&t);
            }
        }
    }
}

// Forward of each layer of experts waits for its counts, backward knows them; the auxiliary loss waits for the load.
static void experts_wait_once_a_layer(void **state)
{
    static const char *const experts[] = {"mixtral", "mixtral_aux"};

    (void)state;
    if (axl_comm_size(world) > 1)
        skip(); // collectives of this device go through the host
    for (int i = 0; i < 2; i++) {
        trial t;
        trial_begin(&t, experts[i], world,
                    &(trial_options){.backend = "cuda", .micro_steps = 2, .n_layers = 3});
        assert_int_equal(t.work.run.load != NULL, i);
        for (int k = 0; k < 2; k++)
            assert_int_equal(step(&t).waits, 2 * (1 + 3 + i) + 1);
        trial_end(&t);
    }
}

// However many weights there are.
static void a_norm_and_an_update_are_a_few_calls(void **state)
{
    (void)state;
    for (int layers = 2; layers <= 9; layers += 7) {
        for (int64_t invariant = 0; invariant <= 5; invariant += 5) {
            trial t;
            double norm = 0.0;
            trial_begin(
                &t, "llama", world,
                &(trial_options){.backend = "cuda", .invariant = invariant, .n_layers = layers});
            trial_run(&t);
            long long before = emu_read_calls().queued;
            CHECK_OK(axl_grad_norm(&t.sharder, &norm));
            // zeroing, a sum and a copy; a sum a row is a call for each length of rows: 64, 96 and 1
            assert_int_equal(emu_read_calls().queued - before, invariant > 0 ? 5 : 3);
            before = emu_read_calls().queued;
            CHECK_OK(axl_optimizer_update(axl_optimizer_find("adamw_torch"), &t.sharder,
                                          &(axl_hyper){.t = 1, .eps = 1.0}));
            assert_int_equal(emu_read_calls().queued - before, 2);
            trial_end(&t);
        }
    }
}

static void the_weights_of_a_unit_are_rounded_in_one_call(void **state)
{
    long long queued[2];
    int n_units = 0;

    (void)state;
    if (axl_comm_size(world) > 1)
        skip(); // collectives of this device go through the host
    for (int bf16 = 0; bf16 < 2; bf16++) {
        trial t;
        trial_begin(&t, "llama", world, &(trial_options){.backend = "cuda", .bf16 = bf16 == 1});
        const long long before = emu_read_calls().queued;
        trial_run(&t);
        queued[bf16] = emu_read_calls().queued - before;
        n_units = t.model->n_units;
        trial_end(&t);
    }
    assert_int_equal(queued[1] - queued[0], n_units);
}

static void nothing_is_taken_or_made_after_the_first_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        trial t;
        trial_begin(&t, models[i], world,
                    &(trial_options){.backend = "cuda", .reshard = true, .micro_steps = 2});
        assert_true(emu_read_calls().allocations > 0);
        (void)step(&t);
        for (int k = 0; k < 3; k++)
            assert_int_equal(step(&t).allocations, 0);
        trial_end(&t);
    }
}

// ---- graphs

enum { TOKENS = 28, MAX_DOCS = 4, STEPS = 24 };

// Rows of a run in turn: as many tokens in other documents, and fewer tokens.
static const int32_t rows[][MAX_DOCS] = {{9, 14, 5}, {5, 9, 14},   {20, 8},
                                         {28},       {7, 7, 7, 7}, {9, 14, 4}};

#define N_ROWS (int)(sizeof rows / sizeof *rows)

typedef struct run {
    double losses[STEPS];
    float *weights; // owned
    size_t bytes;
    int n_steps;
    emu_calls calls;     // of all steps
    size_t device, host; // bytes of activations
} run;

static void set_row(trial *t, const int32_t *lengths)
{
    int32_t *cu = t->made + 2 * TOKENS;

    t->n_docs = 0;
    for (int i = 0; i < MAX_DOCS && lengths[i] > 0; i++) {
        cu[i + 1] = cu[i] + lengths[i];
        t->n_docs++;
    }
}

static void train(const char *model, const trial_options *options, run *r)
{
    static const int32_t lengths[MAX_DOCS] = {7, 7, 7, 7};
    trial t;
    trial_options o = *options;

    o.lengths = lengths;
    o.n_lengths = MAX_DOCS;
    trial_begin(&t, model, world, &o);
    const emu_calls before = emu_read_calls();
    // ranks that share two processors pass each collective by a switch of processes
    r->n_steps = axl_comm_size(world) > 1 ? STEPS / 4 : STEPS;
    for (int k = 0; k < r->n_steps; k++) {
        set_row(&t, rows[k % (axl_comm_size(world) > 1 ? 2 : N_ROWS)]);
        trial_train(&t, 1, &r->losses[k]);
    }
    const emu_calls after = emu_read_calls();
    r->calls = (emu_calls){.queued = after.queued - before.queued,
                           .graphs = after.graphs - before.graphs,
                           .captures = after.captures - before.captures,
                           .refused = after.refused - before.refused};
    r->device = axl_work_total(&t.work.bytes);
    r->host = t.work.bytes.host;
    r->device += axl_sharder_total(&t.sharder.bytes);
    r->host += t.sharder.bytes.host;
    r->bytes = t.sharder.bytes.shard;
    r->weights = malloc(r->bytes);
    if (o.offload_state)
        memcpy(r->weights, t.sharder.master, r->bytes);
    else
        CHECK_OK(axl_device_read(t.device, r->weights, t.sharder.master, r->bytes));
    trial_end(&t);
}

static void assert_same_run(const run *a, const run *b)
{
    assert_true(isfinite(a->losses[a->n_steps - 1]) && a->losses[0] != a->losses[a->n_steps - 1]);
    assert_memory_equal(a->losses, b->losses, (size_t)a->n_steps * sizeof *a->losses);
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->weights, b->weights, a->bytes);
}

static void graphs_change_no_bit_and_save_calls(void **state)
{
    static const axl_checkpointing modes[] = {AXL_CHECKPOINT_NONE, AXL_CHECKPOINT_FULL};

    (void)state;
    for (size_t i = 0; i < (axl_comm_size(world) > 1 ? 1 : sizeof models / sizeof *models); i++) {
        trial_options o = {.backend = "cuda",
                           .reshard = true,
                           .mode = modes[i % 2],
                           .micro_steps = 1 + (int)(i % 2)};
        run plain, graphs;
        train(models[i], &o, &plain);
        o.graphs = AXL_GRAPHS_ON;
        train(models[i], &o, &graphs);
        assert_same_run(&plain, &graphs);
        assert_int_equal(plain.calls.graphs, 0);
        assert_int_equal(graphs.calls.refused, 0);
        assert_true(graphs.calls.captures > 0 && graphs.calls.captures < graphs.calls.graphs);
        // what came twice is launched from then on
        print_message("%s: %lld calls without graphs, %lld with %lld graphs\n", models[i],
                      plain.calls.queued, graphs.calls.queued, graphs.calls.graphs);
        assert_true(graphs.calls.queued < plain.calls.queued);
        free(plain.weights);
        free(graphs.weights);
    }
}

// ---- activations on the host

// In both orders in which streams may run apart: the copies as late as they can, and as soon as they can.
static void activations_on_the_host_change_no_bit(void **state)
{
    static const axl_checkpointing modes[] = {AXL_CHECKPOINT_NONE, AXL_CHECKPOINT_SELECTIVE,
                                              AXL_CHECKPOINT_FULL};
    static const char *const deep[] = {"llama_llama3", "qwen3_moe", "mixtral_aux"};

    (void)state;
    for (size_t i = 0; i < (axl_comm_size(world) > 1 ? 1 : 3); i++) {
        for (axl_offload_what what = AXL_OFFLOAD_INPUTS; what <= AXL_OFFLOAD_ALL; what++) {
            trial_options o = {.backend = "cuda",
                               .reshard = true,
                               .mode = modes[i],
                               .micro_steps = 2,
                               .n_layers = 5};
            run plain, offloaded;
            train(deep[i], &o, &plain);
            o.offload = what;
            o.graphs = what == AXL_OFFLOAD_ALL ? AXL_GRAPHS_ON : AXL_GRAPHS_OFF;
            for (int how = 0; how < 2; how++) {
                emu_set_early(how == 1);
                train(deep[i], &o, &offloaded);
                emu_set_early(false);
                assert_same_run(&plain, &offloaded);
                assert_true(offloaded.host > 0 && plain.host == 0);
                assert_true(offloaded.device < plain.device);
                free(offloaded.weights);
            }
            free(plain.weights);
        }
    }
}

// ---- masters and moments on the host

static void weights_on_the_host_change_no_bit(void **state)
{
    (void)state;
    for (int i = 0; i<8; i += axl_comm_size(world)> 1 ? 3 : 1) {
        trial_options o = {.backend = "cuda",
                           .reshard = (i & 1) != 0,
                           .bf16 = (i & 2) != 0,
                           .micro_steps = 2,
                           .invariant = (i & 4) != 0 ? 5 : 0,
                           .n_layers = 5};
        run plain, offloaded;
        train("qwen2_tied", &o, &plain);
        o.offload_state = true;
        for (int how = 0; how < 2; how++) {
            emu_set_early(how == 1);
            train("qwen2_tied", &o, &offloaded);
            emu_set_early(false);
            assert_same_run(&plain, &offloaded);
            assert_true(plain.host == 0 && offloaded.host >= 4 * offloaded.bytes);
            assert_true(offloaded.device < plain.device);
            free(offloaded.weights);
        }
        free(plain.weights);
    }
}

static void layers_of_experts_are_not_graphs(void **state)
{
    run plain, graphs;
    trial_options o = {.backend = "cuda", .reshard = true};

    (void)state;
    train("mixtral", &o, &plain);
    o.graphs = AXL_GRAPHS_ON;
    train("mixtral", &o, &graphs);
    assert_same_run(&plain, &graphs);
    assert_int_equal(graphs.calls.graphs, 0);
    free(plain.weights);
    free(graphs.weights);
}

static void what_a_capture_forbids_ends_it_and_nothing_has_run(void **state)
{
    axl_device *d = NULL;
    axl_graph *g = NULL;
    void *x = NULL, *more = NULL;
    float host[64] = {0.0f};

    (void)state;
    CHECK_OK(axl_device_create(&(axl_device_options){.backend = "cuda"}, &d));
    const axl_device_ops *ops = d->ops;
    CHECK_OK(ops->alloc(d, sizeof host, "x", &x));
    const axl_add_args add = {
        .a = x, .b = x, .alpha = 1.0f, .beta = 1.0f, .n = 64, .dtype = AXL_F32, .out = x};
    host[3] = 1.0f;
    for (int forbidden = 0; forbidden < 4; forbidden++) {
        CHECK_OK(axl_device_write(d, x, host, sizeof host));
        CHECK_OK(ops->begin_capture(d->compute));
        CHECK_OK(d->kernels->add(d->compute, &add));
        if (forbidden == 1)
            assert_int_equal(ops->synchronize(d->compute), AXL_E_DEVICE);
        else if (forbidden == 2)
            assert_int_equal(ops->alloc(d, 64, "more", &more), AXL_E_DEVICE);
        else if (forbidden == 3)
            assert_int_equal(ops->copy(d->compute, x, host, 4), AXL_E_DEVICE);
        CHECK_OK(ops->end_capture(d->compute, "a test's graph", &g));
        assert_int_equal(g == NULL, forbidden > 0);
        ops->graph_destroy(d, g);
        CHECK_OK(axl_device_read(d, host, x, sizeof host));
        assert_true(host[3] == 1.0f);
    }
    CHECK_OK(ops->begin_capture(d->compute));
    CHECK_OK(d->kernels->add(d->compute, &add));
    CHECK_OK(ops->end_capture(d->compute, "a test's graph", &g));
    for (int i = 0; i < 3; i++)
        CHECK_OK(ops->launch(d->compute, g));
    CHECK_OK(axl_device_read(d, host, x, sizeof host));
    assert_true(host[3] == 8.0f);
    ops->graph_destroy(d, g);
    ops->free(d, x, sizeof host);
    axl_device_destroy(d);
}

static void assert_message(const char *part)
{
    if (strstr(axl_error_message(), part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", axl_error_message(), part);
}

static void a_late_failure_names_what_was_queued_last(void **state)
{
    axl_device *d = NULL;
    void *x = NULL;
    float host[64] = {0.0f};

    (void)state;
    CHECK_OK(axl_device_create(&(axl_device_options){.backend = "cuda"}, &d));
    CHECK_OK(d->ops->alloc(d, sizeof host, "x", &x));
    const axl_add_args add = {.a = x, .alpha = 2.0f, .n = 64, .dtype = AXL_F32, .out = x};
    const axl_cast_args cast = {
        .src = x, .src_dtype = AXL_F32, .dst = x, .dst_dtype = AXL_F32, .n = 64};
    emu_fail_after(1, cudaErrorIllegalAddress);
    CHECK_OK(d->ops->zero(d->compute, x, sizeof host));
    CHECK_OK(d->kernels->add(d->compute, &add));
    CHECK_OK(d->kernels->cast(d->compute, &cast));
    assert_int_equal(d->ops->synchronize(d->compute), AXL_E_DEVICE);
    assert_message("stream compute");
    assert_message("newest first: cast of 1 x 1 x 1 blocks");
    assert_message(", add of");
    assert_message(", zeroing of 256 bytes");
    // every later call fails, and says the same
    assert_int_equal(axl_device_read(d, host, x, sizeof host), AXL_E_DEVICE);
    assert_message("a copy of 256 bytes on stream compute");
    assert_message("cast of");
    void *more = NULL; // it is not memory that lacks
    assert_int_equal(d->ops->alloc(d, 64, "more", &more), AXL_E_DEVICE);
    assert_message("taking memory of 64 bytes on stream compute: emulated error 700");
    emu_fail_after(-1, cudaSuccess);
    d->ops->free(d, x, sizeof host);
    axl_device_destroy(d);
}

static void old_chips_are_not_taken_and_missing_code_is_said(void **state)
{
    axl_device *d = NULL;

    (void)state;
    CHECK_OK(axl_device_create(&(axl_device_options){.backend = "cuda"}, &d));
    assert_int_equal(axl_cuda_launch_failed(d->compute, 209, "add", 1, 1, 1, 32, 0), AXL_E_DEVICE);
    assert_message("this build has none for compute capability 9.0");
    axl_device_destroy(d);
    assert_true(axl_cuda_gpus_fit());
    emu_set_arch(75);
    assert_false(axl_cuda_gpus_fit());
    assert_int_equal(axl_device_create(&(axl_device_options){.backend = "cuda"}, &d),
                     AXL_E_UNSUPPORTED);
    assert_message("GPU 0 has compute capability 7.5; 8.0 (A100) or later is needed");
    emu_set_arch(90);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_waits_once_a_micro_step_and_once_for_the_norm),
        cmocka_unit_test(experts_wait_once_a_layer),
        cmocka_unit_test(a_norm_and_an_update_are_a_few_calls),
        cmocka_unit_test(the_weights_of_a_unit_are_rounded_in_one_call),
        cmocka_unit_test(nothing_is_taken_or_made_after_the_first_step),
        cmocka_unit_test(graphs_change_no_bit_and_save_calls),
        cmocka_unit_test(activations_on_the_host_change_no_bit),
        cmocka_unit_test(weights_on_the_host_change_no_bit),
        cmocka_unit_test(layers_of_experts_are_not_graphs),
        cmocka_unit_test(what_a_capture_forbids_ends_it_and_nothing_has_run),
        cmocka_unit_test(a_late_failure_names_what_was_queued_last),
        cmocka_unit_test(old_chips_are_not_taken_and_missing_code_is_said),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
