// RUN: np=1
// Tiny models of every switch against transformers: loss, every gradient, and parameters after 1 and 5 AdamW
// steps; on the reference kernels and on the best of this machine; the three save sets agree bit for bit.
#include "tests/families/trial.h"

static const char *const cases[] = {"llama",          "llama_llama3",  "llama_bias_headdim",
                                    "llama_linear",   "llama_dynamic", "llama_yarn",
                                    "mistral",        "qwen2",         "qwen2_tied",
                                    "qwen3",          "qwen3_bias",    "smollm3",
                                    "mixtral",        "mixtral_aux",   "qwen3_moe",
                                    "qwen3_moe_dense"};

static axl_comm *world;

static void check_case(const char *name, const char *backend)
{
    trial t;

    trial_begin(&t, name, world, &(trial_options){.backend = backend});
    double want = trial_meta(&t, "loss");
    double loss = trial_run(&t);
    if (!(fabs(loss - want) <= 1e-5 * want))
        fail_msg("%s: loss is %.8f, expected %.8f", name, loss, want);
    trial_check_gradients(&t);
    trial_check_steps(&t);
    trial_end(&t);
}

static void reference_kernels_agree_with_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(cases[i], "ref");
}

static void best_kernels_agree_with_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(cases[i], "cpu");
}

static void check_equal_grads(const trial *a, const trial *b)
{
    const size_t bytes = a->sharder.bytes.grads;
    axl_host_view x, y;

    CHECK_OK(axl_device_map(a->device, a->sharder.grads, bytes, true, &x));
    CHECK_OK(axl_device_map(b->device, b->sharder.grads, bytes, true, &y));
    assert_memory_equal(x.host, y.host, bytes);
    CHECK_OK(axl_device_unmap(&x, false));
    CHECK_OK(axl_device_unmap(&y, false));
}

static void save_sets_agree_bit_for_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trial a;
        trial_begin(&a, cases[i], world, &(trial_options){.backend = "cpu"});
        double loss = trial_run(&a);
        for (axl_checkpointing m = AXL_CHECKPOINT_SELECTIVE; m <= AXL_CHECKPOINT_FULL; m++) {
            trial b;
            trial_begin(&b, cases[i], world, &(trial_options){.backend = "cpu", .mode = m});
            assert_true(trial_run(&b) == loss);
            check_equal_grads(&a, &b);
            assert_true(b.work.bytes.saved < a.work.bytes.saved);
            trial_end(&b);
        }
        trial_end(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_kernels_agree_with_transformers),
        cmocka_unit_test(best_kernels_agree_with_transformers),
        cmocka_unit_test(save_sets_agree_bit_for_bit),
    };
    CHECK_OK(axl_comm_init(NULL, NULL, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
