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

// A finding about a key of a block stands where that key does.
static void findings_inside_blocks_have_their_own_place(void **state)
{
    (void)state;
    FINDINGS(BASE "gradient_checkpointing: true\nselective_checkpointing:\n  save: [mlp]\n",
             "10:3: error: selective_checkpointing.save: \"mlp\" is none of its values; use "
             "attention");
    FINDINGS(BASE "fsdp_version: 2\nfsdp_config: {\n  fsdp_cpu_offload_pin_memory: false}\n",
             "10:3: warning: fsdp_config: the prefix fsdp_ is deprecated inside fsdp_config; write "
             "cpu_offload_pin_memory",
             "10:3: error: fsdp_config.cpu_offload_pin_memory: false needs offload_params: true");
}

// By its number, in lists of maps and of scalars; the number behind the end adds one.
static void items_of_lists_are_overridden(void **state)
{
    static const char *const arguments[] = {"--datasets.0.path",
                                            "x",
                                            "--datasets.1.path",
                                            "y",
                                            "--datasets.1.type",
                                            "completion",
                                            "--eot_tokens.1",
                                            "123",
                                            "--tokens.0",
                                            "no",
                                            "--tokens.1",
                                            "1e-5",
                                            "--test_datasets.0.path=z",
                                            "--fix_untrained_tokens.1",
                                            "9",
                                            "--datasets.2",
                                            "{path: w}",
                                            "--chat_template_kwargs.a",
                                            "5",
                                            "--chat_template_kwargs.b",
                                            "5"};
    const axl_config_options options = {.overrides = arguments,
                                        .n_overrides = sizeof arguments / sizeof *arguments};
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    (void)state;

    CHECK_OK(parse(BASE "eot_tokens: [a, b, c]\nfix_untrained_tokens: [5, 6]\n"
                        "chat_template_kwargs: {a: \"1\", b: 1}\n",
                   &options, &d, &c));
    assert_int_equal(c->datasets.n, 3);
    assert_string_equal(c->datasets.items[0].path, "x");
    assert_string_equal(c->datasets.items[1].path, "y");
    assert_string_equal(c->datasets.items[1].type.text, "completion");
    assert_string_equal(c->datasets.items[2].path, "w");
    assert_string_equal(c->test_datasets.items[0].path, "z");
    assert_int_equal(c->eot_tokens.n, 3);
    assert_string_equal(c->eot_tokens.items[0], "a");
    assert_string_equal(c->eot_tokens.items[1], "123");
    assert_int_equal(c->tokens.n, 2);
    assert_string_equal(c->tokens.items[0], "no");
    assert_string_equal(c->tokens.items[1], "1e-5");
    assert_int_equal(c->fix_untrained_tokens.items[1], 9);
    assert_int_equal(axl_yaml_get(c->chat_template_kwargs, "a")->kind, AXL_YAML_STRING);
    assert_int_equal(axl_yaml_get(c->chat_template_kwargs, "b")->kind, AXL_YAML_INT);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

// As upstream: an evaluation every 0 steps is none, a limit of 0 is that when absent.
static void a_zero_can_mean_that_the_key_is_absent(void **state)
{
    axl_config *c = load(BASE "evals_per_epoch: 0\nval_set_size: 0.1\nmax_steps: 0\n"
                              "save_total_limit: 0\nlogging_steps: 0\nsaves_per_epoch: 0\n");
    (void)state;

    assert_false(c->set.evals_per_epoch || c->set.max_steps || c->set.logging_steps);
    assert_int_equal(c->save_total_limit, 4);
    assert_int_equal(c->derived.eval_when, AXL_WHEN_NEVER);
    assert_int_equal(c->derived.save_when, AXL_WHEN_EPOCH);
    axl_config_destroy(c);
}

// One item of an alias is changed where it is named, not where it is anchored.
static void an_override_of_an_alias_leaves_the_anchor(void **state)
{
    static const char *const arguments[] = {"--test_datasets.0.split", "test"};
    const axl_config_options options = {.overrides = arguments, .n_overrides = 2};
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    (void)state;

    CHECK_OK(parse("base_model: m\nlearning_rate: 1e-4\nmicro_batch_size: 1\n"
                   "gradient_accumulation_steps: 1\ndatasets: &all [{path: a, split: train}]\n"
                   "test_datasets: *all\n",
                   &options, &d, &c));
    assert_string_equal(c->datasets.items[0].split, "train");
    assert_string_equal(c->test_datasets.items[0].split, "test");
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

// What users write for a number, a boolean, a string. NULL: taken.
static void spellings(void **state)
{
    static const struct {
        const char *line, *fault;
    } rows[] = {
        {"max_steps: \"4\"", NULL},
        {"max_steps: 4.0", NULL},
        {"max_steps: \"4.0\"", NULL},
        {"max_steps: true", NULL}, // 1
        {"max_steps: 1:30", NULL}, // 90
        {"max_steps: 1_000", NULL},
        {"max_steps: 4.5", "an integer was expected here, not 4.5"},
        {"max_steps: \"4.5\"", "an integer was expected here, not \"4.5\""},
        {"max_steps: 1e3", NULL}, // a string to YAML 1.1, a number to the key
        {"weight_decay: 1e-5", NULL},
        {"weight_decay: \"0.1\"", NULL},
        {"weight_decay: .inf", "a number was expected here"},
        {"weight_decay: 0x1p3", "a number was expected here"},
        {"sample_packing: yes", NULL},
        {"sample_packing: \"on\"", NULL},
        {"sample_packing: 1", NULL},
        {"sample_packing: \"0\"", NULL},
        {"sample_packing: 2", "true or false was expected here, not 2"},
        {"sample_packing: 1.0", "true or false was expected here, not 1.0"},
        {"chat_template: 3", "3 without quotes is an integer; write \"3\""},
        {"chat_template: off", "off without quotes is a boolean; write \"off\""},
        {"eot_tokens: x", "write it as a list"},
        {"eot_tokens: [no]", "no without quotes is a boolean"},
        {"fix_untrained_tokens: 5", NULL},
        {"warmup_steps: 0.1", "an integer was expected here, not 0.1; a fraction of the run is "
                              "warmup_ratio"},
        {"evals_per_epoch: 0\nsaves_per_epoch: 0\nsave_steps: 0\neval_steps: 0.0", NULL},
        {"max_steps: -1", "-1 is too small; it must be at least 1"},
        {"early_stopping_patience: \"0\"", NULL},
        {"cosine_constant_lr_ratio: 0", NULL}, // off
        {"cosine_constant_lr_ratio: 0.5", "not supported by this version"},
        {"lr: 1e-4", "unknown key; did you mean learning_rate?"},
        {"per_device_train_batch_size: 4", "did you mean micro_batch_size?"},
        {"memory: 4", "unknown key; `axl-dist config-schema` lists them all"}, // not relora
        {"max_steps: ~", NULL},
        {"max_steps: null", NULL},
        {"max_steps:", NULL},
        {"save_safetensors: true", NULL},
        {"save_safetensors: false", "not accepted: the result is always safetensors"},
        {"attn_supports_packing: false", "not accepted: it is computed"}, // any value is
        {"dpo_norm_loss: false", "not accepted: removed upstream"},
        {"dpo_norm_loss: null", NULL},
        {"unsloth_rope: false", NULL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        axl_diagnostics d = {0};
        axl_config *c = NULL;
        char text[512];
        (void)snprintf(text, sizeof text, BASE "%s\n", rows[i].line);
        bool taken = parse(text, &plain, &d, &c) == AXL_OK;
        if (taken != (rows[i].fault == NULL))
            fail_msg("%s: %s", rows[i].line, taken ? "taken" : axl_error_message());
        if (!taken && strstr(axl_error_message(), rows[i].fault) == NULL)
            fail_msg("%s: %s", rows[i].line, axl_error_message());
        axl_config_destroy(c);
        axl_diagnostics_fini(&d);
    }
}

static void spelled_values_are_the_numbers_meant(void **state)
{
    axl_config *c = load(BASE "max_steps: 1:30\nsave_total_limit: \"7.0\"\nseed: 017\n"
                              "adam_epsilon: 1e-7\nsave_first_step: \"yes\"\n");
    (void)state;

    assert_int_equal(c->max_steps, 90);
    assert_int_equal(c->save_total_limit, 7);
    assert_int_equal(c->seed, 15);
    assert_true(c->adam_epsilon == 1e-7 && c->save_first_step);
    axl_config_destroy(c);
}

static void secrets_are_not_written(void **state)
{
    axl_config *c = load(BASE "comet_api_key: abc123\nswanlab_lark_secret: abc1234\n");
    axl_str text = {0};
    (void)state;

    CHECK_OK(axl_config_resolved(c, &text));
    assert_null(strstr(text.data, "abc123"));
    assert_non_null(strstr(text.data, "\"comet_api_key\": {\"value\": \"not shown\""));
    axl_str_fini(&text);
    axl_config_destroy(c);
}

static void merge_keys_and_anchors(void **state)
{
    axl_config *c = load("base_model: m\nlearning_rate: 1e-4\nmicro_batch_size: 1\n"
                         "gradient_accumulation_steps: 1\ndatasets:\n"
                         "  - &d {path: a, type: completion, field: x}\n  - {<<: *d, path: b}\n");
    (void)state;

    assert_int_equal(c->datasets.n, 2);
    assert_string_equal(c->datasets.items[1].path, "b");
    assert_string_equal(c->datasets.items[1].field, "x");
    axl_config_destroy(c);
}

// Overrides that are refused, and what strict: true leaves of them.
static void overrides_that_are_refused(void **state)
{
    static const struct {
        const char *file, *option, *value, *fault; // NULL: taken
    } rows[] = {
        {BASE, "--max_steps", "ten", "command line: error: max_steps: an integer was expected"},
        {BASE, "--max_stepz", "10", "did you mean max_steps?"},
        {BASE, "--datasets.4.path", "x",
         "--datasets.4.path: there is no such place in the file: datasets is a list of 1 here; "
         "write the number of an item, 0 to 1, where 1 adds one"},
        {BASE, "--datasets.first.path", "x", "datasets is a list of 1 here"},
        {BASE, "--datasets.-1.path", "x", "datasets is a list of 1 here"},
        {BASE, "--datasets.00000000000000000001.path", "x", "datasets is a list of 1 here"},
        {BASE, "--datasets.0.path.x", "y", "datasets.0.path is a string here and has no part x"},
        {BASE, "--datasets.0", "x", "a map of keys was expected here, not a string"},
        {BASE, "--base_model.0", "x", "base_model is a string here and has no part 0"},
        {BASE "eot_tokens: [a, b]\n", "--eot_tokens.3", "x", "eot_tokens is a list of 2 here"},
        {BASE "eot_tokens: [a, b]\n", "--eot_tokens.2", "x", NULL},
        {BASE "strict: true\neot_tokens: [a, b]\n", "--eot_tokens.1", "x", NULL},
        {BASE "strict: true\neot_tokens: [a, b]\n", "--eot_tokens.2", "x", "with strict: true"},
        {BASE "special_tokens: null\n", "--special_tokens.pad_token", "x", NULL},
        {BASE "gradient_checkpointing: true\nselective_checkpointing: true\n",
         "--selective_checkpointing.save", "[attention]", NULL},
        {BASE, "--fsdp_config.offload_param", "true", "did you mean offload_params?"},
        {BASE, "--sample_packing", "yes", NULL},
        {BASE, "--sample_packing", "1", NULL},
        {BASE, "--sample_packing", "none", NULL},
        {BASE, "--eot_tokens", "<end>", NULL},
        {BASE, "--deepspeed.zero_optimization.stage", "2", NULL},
        {BASE "strict: true\n", "--max_steps", "10",
         "with strict: true only keys of the file may be overridden"},
        {BASE "strict: true\n", "--micro_batch_size", "4", NULL},
        {BASE "strict: true\n", "--datasets.0.path", "x", NULL},
        {BASE "strict: true\n", "--datasets.0.field", "x", "with strict: true"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const arguments[] = {rows[i].option, rows[i].value};
        axl_config_options options = {.overrides = arguments, .n_overrides = 2};
        axl_diagnostics d = {0};
        axl_config *c = NULL;
        bool taken = parse(rows[i].file, &options, &d, &c) == AXL_OK;
        if (taken != (rows[i].fault == NULL) ||
            (!taken && strstr(axl_error_message(), rows[i].fault) == NULL))
            fail_msg("%s %s: %s", rows[i].option, rows[i].value,
                     taken ? "taken" : axl_error_message());
        axl_config_destroy(c);
        axl_diagnostics_fini(&d);
    }
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

// A GPU multiplies bf16 whatever the processor does.
static void auto_takes_the_gpu_and_bf16_with_it(void **state)
{
    static const struct {
        const char *yaml, *device;
        bool has_bf16, has_cuda;
        axl_dtype dtype;
    } rows[] = {
        {"", "cuda", false, true, AXL_BF16},
        {"device: cpu\n", "cpu", false, true, AXL_F32},
        {"", "cpu", false, false, AXL_F32},
        {"", "cpu", true, false, AXL_BF16},
        {"device: cuda\n", "cuda", false, false, AXL_BF16},
        {"bf16: false\n", "cuda", true, true, AXL_F32},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512];
        const axl_config_options options = {.has_bf16 = rows[i].has_bf16,
                                            .has_cuda = rows[i].has_cuda};
        axl_diagnostics d = {0};
        axl_config *c = NULL;
        (void)snprintf(text, sizeof text,
                       "base_model: m\nlearning_rate: 1e-4\nmicro_batch_size: 1\n"
                       "gradient_accumulation_steps: 1\ndatasets:\n  - {path: a}\n%s",
                       rows[i].yaml);
        CHECK_OK(axl_config_parse(text, strlen(text), "run.yaml", &options, &d, &c));
        assert_string_equal(c->device, rows[i].device);
        assert_int_equal(c->derived.compute_dtype, rows[i].dtype);
        axl_config_destroy(c);
        axl_diagnostics_fini(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_defaults),
        cmocka_unit_test(auto_takes_the_gpu_and_bf16_with_it),
        cmocka_unit_test(unknown_keys_get_the_nearest_name),
        cmocka_unit_test(all_errors_are_listed),
        cmocka_unit_test(overrides),
        cmocka_unit_test(findings_inside_blocks_have_their_own_place),
        cmocka_unit_test(a_zero_can_mean_that_the_key_is_absent),
        cmocka_unit_test(items_of_lists_are_overridden),
        cmocka_unit_test(an_override_of_an_alias_leaves_the_anchor),
        cmocka_unit_test(fractions_of_steps_match_when_the_best_is_loaded),
        cmocka_unit_test(spellings),
        cmocka_unit_test(spelled_values_are_the_numbers_meant),
        cmocka_unit_test(secrets_are_not_written),
        cmocka_unit_test(merge_keys_and_anchors),
        cmocka_unit_test(overrides_that_are_refused),
        cmocka_unit_test(a_template_at_the_top_reaches_chat_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
