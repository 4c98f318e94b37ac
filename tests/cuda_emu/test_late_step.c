// RUN: np=1
// What a step asks of the device's runtime: how often the host waits, that it takes no memory, and what a message says
// of work that failed long after it was queued. On the late device (engine.c).
#include "tests/cuda_emu/emu_test.h"
#include "tests/families/trial.h"

static axl_comm *world;

// Waits and allocations of one step: forward, backward, norm and update.
static emu_calls step(trial *t)
{
    const emu_calls before = emu_read_calls();
    double norm = 0.0;

    trial_run(t);
    CHECK_OK(axl_grad_norm(&t->sharder, &norm));
    assert_true(norm > 0.0);
    const axl_optimizer *opt = axl_optimizer_find("adamw_torch");
    const axl_hyper h = {.lr = 1e-4,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .eps = 1e-8,
                         .t = 1,
                         .grad_scale = axl_clip_scale(norm, 1.0)};
    for (int i = 0; i < axl_model_n_params(t->model); i++)
        CHECK_OK(opt->step(t->device, axl_model_param(t->model, i), &h));
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
    emu_fail_after(-1, cudaSuccess);
    d->ops->free(d, x, sizeof host);
    axl_device_destroy(d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_waits_once_a_micro_step_and_once_for_the_norm),
        cmocka_unit_test(nothing_is_taken_or_made_after_the_first_step),
        cmocka_unit_test(a_late_failure_names_what_was_queued_last),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
