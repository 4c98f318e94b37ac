// RUN: np=1,2,3,4
// Sharded over any number of ranks, with rows that do not divide and ranks without tokens, weights kept or
// gathered anew, and gradient accumulation: the same losses, gradients and parameters as the reference.
#include "tests/families/trial.h"

static const char *const cases[] = {"llama", "llama_llama3", "qwen2", "qwen3_bias", "mixtral"};

static axl_comm *world;

static void check_all(const trial_options *o)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trial t;
        trial_begin(&t, cases[i], world, o);
        double want = trial_meta(&t, "loss");
        double loss = trial_run(&t);
        if (!(fabs(loss - want) <= 1e-5 * want))
            fail_msg("%s: loss is %.8f, expected %.8f", cases[i], loss, want);
        trial_check_gradients(&t);
        trial_check_steps(&t);
        trial_end(&t);
    }
}

static void resharding_after_forward_agrees_with_the_reference(void **state)
{
    (void)state;
    check_all(&(trial_options){.backend = "cpu", .reshard = true});
}

static void keeping_weights_gathered_agrees_with_the_reference(void **state)
{
    (void)state;
    check_all(&(trial_options){.backend = "cpu", .reshard = false});
}

static void accumulation_equals_one_big_batch(void **state)
{
    (void)state;
    check_all(&(trial_options){.backend = "cpu", .reshard = true, .micro_steps = 2});
    check_all(&(trial_options){.backend = "cpu", .reshard = false, .micro_steps = 3});
}

static void recomputation_agrees_while_sharded(void **state)
{
    (void)state;
    check_all(&(trial_options){.backend = "cpu", .reshard = true, .mode = AXL_CHECKPOINT_FULL});
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resharding_after_forward_agrees_with_the_reference),
        cmocka_unit_test(keeping_weights_gathered_agrees_with_the_reference),
        cmocka_unit_test(accumulation_equals_one_big_batch),
        cmocka_unit_test(recomputation_agrees_while_sharded),
    };
    CHECK_OK(axl_comm_init(&argc, &argv, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
