// RUN: np=1
// Loading a configuration: types, defaults, ranges, unknown keys, rules, overrides, derived values.
#include "src/config/config.h"
#include "tests/check.h"

#include <stdlib.h>

#define BASE                                                                                       \
    "base_model: m\nlearning_rate: 1e-4\ndatasets:\n  - path: d.jsonl\n    type: completion\n"     \
    "micro_batch_size: 2\ngradient_accumulation_steps: 4\n"

static const axl_config_options plain = {.has_bf16 = true};

static axl_status parse(const char *text, const axl_config_options *options, axl_diagnostics *d,
                        axl_config **c)
{
    *c = NULL;
    return axl_config_parse(text, strlen(text), "run.yaml", options, d, c);
}

static axl_config *load(const char *text)
{
    axl_diagnostics d = {0};
    axl_config *c = NULL;

    CHECK_OK(parse(text, &plain, &d, &c));
    axl_diagnostics_fini(&d);
    return c;
}

// Every line of the file's findings at least as severe must hold one of the expected texts, in order.
static void check_findings(const char *text, const char *const *expected, size_t n)
{
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    size_t found = 0;

    (void)parse(text, &plain, &d, &c);
    for (size_t i = 0; i < d.n; i++) {
        char line[1024];
        (void)snprintf(line, sizeof line, "%d:%d: %s: %s: %s", (int)d.items[i].line,
                       (int)d.items[i].column, axl_severity_name(d.items[i].severity),
                       d.items[i].key == NULL ? "" : d.items[i].key, d.items[i].text);
        if (found < n && strstr(line, expected[found]) != NULL)
            found++;
        else
            fail_msg("finding \"%s\" instead of \"%s\"", line,
                     found < n ? expected[found] : "nothing");
    }
    if (found < n)
        fail_msg("no finding \"%s\"", expected[found]);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

#define FINDINGS(text, ...)                                                                        \
    do {                                                                                           \
        const char *const expected_[] = {__VA_ARGS__};                                             \
        check_findings(text, expected_, sizeof expected_ / sizeof expected_[0]);                   \
    } while (0)

static void values_and_defaults(void **state)
{
    (void)state;
    axl_config *c = load(BASE "weight_decay: \"1e-2\"\nsave_steps: 10\nbf16: yes\n"
                              "chat_template_kwargs: {a: 1}\neot_tokens: ['<a>', '<b>']\n"
                              "fsdp_config:\n  reshard_after_forward: false\nfsdp_version: 2\n");

    assert_string_equal(c->base_model, "m");
    assert_string_equal(c->tokenizer_config, "m");
    assert_true(c->set.tokenizer_config == AXL_SET_DERIVED);
    assert_true(c->set.learning_rate == AXL_SET_FILE);
    assert_true(c->learning_rate == 1e-4 && c->weight_decay == 1e-2 && c->adam_epsilon == 1e-8);
    assert_int_equal(c->datasets.n, 1);
    assert_string_equal(c->datasets.items[0].path, "d.jsonl");
    assert_string_equal(c->datasets.items[0].type.text, "completion");
    assert_string_equal(c->datasets.items[0].field, "text");
    assert_int_equal(c->datasets.items[0].roles_to_train.n, 1);
    assert_string_equal(c->datasets.items[0].roles_to_train.items[0], "assistant");
    assert_int_equal(c->batch_size, 8);
    assert_int_equal(c->sequence_len, 512);
    assert_int_equal(c->seed, 42);
    assert_int_equal(c->eot_tokens.n, 2);
    assert_string_equal(c->eot_tokens.items[1], "<b>");
    assert_true(c->max_grad_norm == 1.0 && c->set.max_grad_norm == 0);
    assert_true(c->derived.compute_dtype == AXL_BF16);
    assert_true(c->derived.recompute == AXL_RECOMPUTE_NONE);
    assert_false(c->fsdp_config.reshard_after_forward);
    assert_true(c->derived.save_when == AXL_WHEN_STEPS && c->derived.save_every == 10.0);
    assert_true(axl_yaml_get(c->chat_template_kwargs, "a")->integer == 1);
    assert_int_equal(axl_config_warmup_steps(c, 1000), 30);
    assert_int_equal(axl_config_warmup_steps(c, 34), 2);
    assert_int_equal(axl_config_logging_steps(c, 1000), 5);
    assert_int_equal(axl_config_save_every(c, 1000), 10);
    axl_config_destroy(c);
}

static void unknown_keys_get_the_nearest_name(void **state)
{
    (void)state;
    FINDINGS(BASE "micro_bach_size: 2\nfsdp_config:\n  offload_param: true\nfsdp_version: 2\n",
             "8:1: error: micro_bach_size: unknown key; did you mean micro_batch_size?",
             "10:3: error: fsdp_config.offload_param: unknown key; did you mean offload_params?");
}

static void all_errors_are_listed(void **state)
{
    (void)state;
    FINDINGS(
        "base_model: 123\nsave_strategy: no\nmicro_batch_size: 0\nnum_epochs: x\n"
        "eot_tokens: a\nlora_r: 8\nlora_dropout: 0.0\nwandb_project: p\n",
        "error: learning_rate: missing", "error: datasets: missing",
        "1:13: error: base_model: 123 without quotes is an integer; write \"123\"",
        "2:16: error: save_strategy: no without quotes is a boolean; write \"no\"",
        "3:1: error: micro_batch_size: two of",
        "3:19: error: micro_batch_size: 0 is too small; it must be at least 1",
        "4:13: error: num_epochs: a number was expected here, not x",
        "5:13: error: eot_tokens: a list of strings was expected here, not a; write it as a list",
        "6:1: error: lora_r: understood, but not supported by this version",
        "8:1: note: wandb_project: has no effect here");
}

static void fractions_of_steps_match_when_the_best_is_loaded(void **state)
{
    (void)state;
    axl_config *c = load(BASE "val_set_size: 0.1\neval_steps: 0.1\nsave_steps: 0.2\n"
                              "logging_steps: 0.3\nload_best_model_at_end: true\n");

    assert_true(c->derived.load_best && c->derived.eval_at_start);
    assert_int_equal(axl_config_eval_every(c, 15), 2);
    assert_int_equal(axl_config_save_every(c, 15), 4); // 3 alone
    assert_int_equal(axl_config_logging_steps(c, 15), 5);
    axl_config_destroy(c);
    c = load(BASE "val_set_size: 0.1\neval_steps: 4\nsave_steps: 8\nearly_stopping_patience: 2\n");
    assert_true(c->derived.load_best); // what comes after the best evaluation was no better
    axl_config_destroy(c);
    c = load(BASE "val_set_size: 0.1\neval_steps: 4\nsave_steps: 8\nearly_stopping_patience: 2\n"
                  "load_best_model_at_end: false\n");
    assert_false(c->derived.load_best);
    axl_config_destroy(c);
    c = load(BASE "val_set_size: 0.1\neval_strategy: epoch\nsave_strategy: best\n"
                  "metric_for_best_model: loss\n");
    assert_true(c->derived.save_when == AXL_WHEN_BEST && c->derived.eval_when == AXL_WHEN_EPOCH);
    assert_int_equal(axl_config_save_every(c, 15) + axl_config_eval_every(c, 15), 0);
    axl_config_destroy(c);
    FINDINGS(BASE "metric_for_best_model: accuracy\n",
             "metric_for_best_model: accuracy is none of its values; use loss, eval_loss, "
             "perplexity, eval_perplexity, ppl or eval_ppl");
}

static void overrides(void **state)
{
    static const char *const arguments[] = {"--learning_rate",
                                            "1e-5",
                                            "--base_model=123",
                                            "--fsdp_config.reshard_after_forward",
                                            "false",
                                            "--datasets.0.path",
                                            "x.jsonl",
                                            "--eot_tokens",
                                            "[a, b]",
                                            "--save_strategy",
                                            "no"};
    axl_config_options options = {.overrides = arguments, .n_overrides = 11};
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    (void)state;

    CHECK_OK(parse(BASE "fsdp_version: 2\n", &options, &d, &c));
    assert_true(c->learning_rate == 1e-5 && c->set.learning_rate == AXL_SET_OVERRIDE);
    assert_string_equal(c->base_model, "123");
    assert_false(c->fsdp_config.reshard_after_forward);
    assert_string_equal(c->datasets.items[0].path, "x.jsonl");
    assert_int_equal(c->eot_tokens.n, 2);
    assert_true(c->derived.save_when == AXL_WHEN_NEVER);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

// The template at the top takes the place of the tokenizer's; one that a set names itself stays.
static void a_template_at_the_top_reaches_chat_sets(void **state)
{
    static const char text[] =
        "base_model: m\nlearning_rate: 1e-4\nmicro_batch_size: 1\n"
        "gradient_accumulation_steps: 1\nchat_template: chatml\ndatasets:\n"
        "  - {path: a, type: chat_template}\n"
        "  - {path: b, type: chat_template, chat_template: tokenizer_default}\n"
        "  - {path: c, type: chat_template, chat_template: llama3}\n"
        "  - {path: d, type: chat_template, chat_template_jinja: \"{{ x }}\"}\n";
    static const char *const names[] = {"chatml", "chatml", "llama3", "jinja"};
    axl_config_options options = {.has_bf16 = true};
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    (void)state;

    CHECK_OK(axl_config_parse(text, strlen(text), "run.yaml", &options, &d, &c));
    for (int i = 0; i < 4; i++)
        assert_string_equal(c->datasets.items[i].chat_template, names[i]);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_defaults),
        cmocka_unit_test(unknown_keys_get_the_nearest_name),
        cmocka_unit_test(all_errors_are_listed),
        cmocka_unit_test(overrides),
        cmocka_unit_test(fractions_of_steps_match_when_the_best_is_loaded),
        cmocka_unit_test(a_template_at_the_top_reaches_chat_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
