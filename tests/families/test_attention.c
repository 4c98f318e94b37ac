// RUN: np=1,2
// Implementations of attention in whole models: those that are exact in f32 give the reference's losses and gradients,
// a prefix is the prompt of each document, and what merges gives one result on one rank and on two.
#include "tests/families/trial.h"

static axl_comm *world;

static double loss_of(const char *model, const axl_attn_choice *choice, int n_cp, trial *t)
{
    const trial_options o = {.backend = "cpu", .mesh = {1, 1, 1, n_cp, 1}, .attention = choice};

    trial_begin(t, model, world, &o);
    return trial_run(t);
}

static void exact_implementations_give_the_reference(void **state)
{
    static const char *const models[] = {"llama", "mistral", "qwen2"};

    (void)state;
    for (int m = 0; m < 3; m++)
        for (int i = 0; axl_attn_impl_at(i) != NULL; i++) {
            const axl_attn_impl *impl = axl_attn_impl_at(i);
            const axl_attn_choice choice = {.numerics = impl->numerics, .max_keys = 512};
            trial t;
            if (impl->numerics == AXL_ATTN_SHIFTED || axl_attn_repeats(impl->numerics) ||
                (axl_comm_size(world) > 1 && !axl_attention_splits(&choice)))
                continue;
            const double loss = loss_of(models[m], &choice, axl_comm_size(world), &t);
            assert_true(fabs(loss - trial_meta(&t, "loss")) <= 1e-5);
            trial_check_gradients(&t);
            trial_end(&t);
        }
}

static void rounded_implementations_stay_near(void **state)
{
    static const struct {
        axl_attn_numerics numerics;
        double far;
    } rows[] = {{AXL_ATTN_SAGE, 2e-3}, {AXL_ATTN_FP8, 2e-2}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const axl_attn_choice choice = {.numerics = rows[i].numerics};
        trial t;
        const double loss = loss_of("llama", &choice, axl_comm_size(world), &t);
        const double off = fabs(loss - trial_meta(&t, "loss"));
        assert_true(off > 0.0 && off < rows[i].far);
        trial_check_traffic(&t); // the second forward of backward is counted
        trial_end(&t);
    }
}

static void a_prefix_ends_where_labels_begin(void **state)
{
    static const axl_attn_choice choice = {.rule = AXL_RULE_PREFIX};
    static const int32_t ids[] = {5, 6, 7, 8, 9, 10, 11, 12, 13},
                         positions[] = {0, 1, 2, 3, 0, 1, 0, 1, 2};
    static const int32_t cu[] = {0, 4, 6, 9},
                         labels[] = {-100, -100, 8, -100, -100, -100, 12, 13, -100};
    const axl_batch batch = {.n_tokens = 9,
                             .n_seqs = 3,
                             .max_seqlen = 4,
                             .input_ids = ids,
                             .labels = labels,
                             .position_ids = positions,
                             .cu_seqlens = cu};
    trial t;

    (void)state;
    if (axl_comm_size(world) > 1)
        return; // ranks of a document are refused
    (void)loss_of("llama", &choice, 1, &t);
    CHECK_OK(axl_work_set_batch(&t.work, &batch));
    assert_int_equal(t.work.run.prefix[0],
                     3); // the token that predicts 8 is the last of the prompt
    assert_int_equal(t.work.run.prefix[1], 0); // nothing is predicted: causal
    assert_int_equal(t.work.run.prefix[2], 1);
    trial_end(&t);
}

// Which heads are shifted is a matter of the model, not of the ranks that hold them.
static void shifted_heads_do_not_depend_on_tp(void **state)
{
    static const axl_attn_choice choice = {.numerics = AXL_ATTN_SHIFTED};
    const int n = axl_comm_size(world);
    const trial_options by_data = {.backend = "cpu", .attention = &choice};
    const trial_options by_heads = {
        .backend = "cpu", .mesh = {1, 1, 1, 1, n}, .attention = &choice};
    trial t;

    (void)state;
    trial_begin(&t, "llama", world, &by_data);
    const double want = trial_run(&t), exact = trial_meta(&t, "loss");
    trial_end(&t);
    trial_begin(&t, "llama", world, &by_heads);
    const double loss = trial_run(&t);
    trial_end(&t);
    assert_true(fabs(loss - want) <= 1e-5 && fabs(want - exact) > 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_implementations_give_the_reference),
        cmocka_unit_test(rounded_implementations_stay_near),
        cmocka_unit_test(shifted_heads_do_not_depend_on_tp),
        cmocka_unit_test(a_prefix_ends_where_labels_begin),
    };

    CHECK_OK(axl_comm_init(NULL, NULL, &world));
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
