// RUN: np=1
// DeepSpeed's settings and FSDP1's words: what each becomes, what is refused by name, and that two files that
// contradict each other are refused. The common JSON files stand in tests/data/deepspeed, in own words.
#include "src/config/config.h"
#include "tests/check.h"

#include <stdlib.h>

#define NAMES                                                                                      \
    "base_model: m\nlearning_rate: 1e-4\ndatasets:\n  - path: d.jsonl\n    type: completion\n"
#define BASE    NAMES "micro_batch_size: 2\ngradient_accumulation_steps: 4\n"
#define JSON(x) BASE "deepspeed: " AXL_TEST_DATA "/deepspeed/" x "\n"
// a good block to add to
#define WITH(x) BASE "deepspeed: {gradient_clipping: auto, " x "}\n"

static axl_config *load_on(int n_ranks, const char *text, axl_diagnostics *d)
{
    axl_config_options options = {.has_bf16 = true, .n_ranks = n_ranks};
    axl_config *c = NULL;

    axl_status status = axl_config_parse(text, strlen(text), "run.yaml", &options, d, &c);
    if (status != AXL_OK)
        fail_msg("%s", axl_error_message());
    return c;
}

// The whole of the findings, a line each.
static axl_str findings(const char *text)
{
    axl_config_options options = {.has_bf16 = true, .n_ranks = 4};
    axl_diagnostics d = {0};
    axl_config *c = NULL;
    axl_str out = {0};

    (void)axl_config_parse(text, strlen(text), "run.yaml", &options, &d, &c);
    CHECK_OK(axl_diagnostics_text(&d, AXL_NOTE, &out));
    CHECK_OK(axl_str_puts(&out, ""));
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
    return out;
}

static void check_says(const char *text, const char *part)
{
    axl_str out = findings(text);

    if (out.data == NULL || strstr(out.data, part) == NULL)
        fail_msg("\"%s\" is not said about\n%s\nbut\n%s", part, text,
                 out.data == NULL ? "" : out.data);
    axl_str_fini(&out);
}

static void the_common_files_become_the_mesh(void **state)
{
    static const struct {
        const char *text, *became;
        bool reshards, offloads;
        const char *bf16;
    } rows[] = {
        {JSON("zero1.json"),
         "became fsdp_version: 2, fsdp_config.reshard_after_forward: false, bf16: true", false,
         false, "true"},
        {JSON("zero1_torch_compile.json"),
         "without effect here: compile: nothing is compiled at run time", false, false, "true"},
        {JSON("zero2.json"),
         "became fsdp_version: 2, fsdp_config.reshard_after_forward: false, "
         "fsdp_config.offload_params: true",
         false, true, "true"},
        {JSON("zero3.json"), "became fsdp_version: 2, fsdp_config.reshard_after_forward: true",
         true, false, "true"},
        {JSON("zero3_bf16.json"), "reshard_after_forward: true, bf16: true", true, false, "true"},
        {JSON("zero3_bf16_cpuoffload_params.json"), "offload_params: true, bf16: true", true, true,
         "true"},
        {JSON("zero3_bf16_cpuoffload_all.json"), "offload_params: true, bf16: true", true, true,
         "true"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        axl_diagnostics d = {0};
        axl_config *c = load_on(4, rows[i].text, &d);
        size_t n_warnings = 0;
        check_says(rows[i].text, rows[i].became);
        assert_int_equal(c->fsdp_config.reshard_after_forward, rows[i].reshards);
        assert_int_equal(c->fsdp_config.offload_params, rows[i].offloads);
        assert_string_equal(c->bf16, rows[i].bf16);
        assert_int_equal(c->fsdp_version, 2);
        assert_int_equal(c->derived.mesh.dp_shard, 4);
        for (size_t k = 0; k < d.n; k++)
            n_warnings += d.items[k].severity != AXL_NOTE;
        assert_int_equal(n_warnings, 0);
        axl_config_destroy(c);
        axl_diagnostics_fini(&d);
    }
}

static void keys_of_one_reason_share_a_line(void **state)
{
    (void)state;
    check_says(
        JSON("zero3.json"),
        "zero3.json:4:5: note: deepspeed: without effect here: zero_optimization.overlap_comm, "
        "zero_optimization.contiguous_gradients, zero_optimization.sub_group_size: buffers");
}

static void numbers_are_taken_over(void **state)
{
    static const char text[] =
        "base_model: m\ndatasets: [{path: d, type: completion}]\n"
        "deepspeed:\n  zero_optimization: {stage: 3, zero_hpz_partition_size: 2}\n"
        "  gradient_accumulation_steps: 4\n  train_micro_batch_size_per_gpu: 2\n"
        "  train_batch_size: 16\n  gradient_clipping: 0.5\n  communication_data_type: bf16\n"
        "  tensor_parallel: {autotp_size: 2}\n"
        "  optimizer: {type: AdamW, params: {lr: 2e-5, betas: [0.8, 0.9], eps: 1e-6, "
        "weight_decay: 0.1}}\n"
        "  scheduler: {type: WarmupDecayLR, params: {warmup_type: linear, warmup_num_steps: 7, "
        "warmup_min_lr: 0, warmup_max_lr: auto, total_num_steps: auto}}\n";
    axl_diagnostics d = {0};
    axl_config *c = load_on(4, text, &d);
    (void)state;

    assert_int_equal(c->micro_batch_size, 2);
    assert_int_equal(c->gradient_accumulation_steps, 4);
    assert_true(c->max_grad_norm == 0.5 && c->learning_rate == 2e-5 && c->adam_beta1 == 0.8);
    assert_true(c->adam_beta2 == 0.9 && c->adam_epsilon == 1e-6 && c->weight_decay == 0.1);
    assert_string_equal(c->lr_scheduler, "linear");
    assert_string_equal(c->optimizer, "adamw_torch");
    assert_int_equal(axl_config_warmup_steps(c, 1000), 7);
    assert_true(c->derived.reduce_dtype == AXL_BF16);
    assert_int_equal(c->derived.mesh.tp, 2);
    assert_int_equal(c->derived.mesh.dp_shard, 2);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
    d = (axl_diagnostics){0};
    c = load_on(4, WITH("sequence_parallel_size: 2, zero_optimization: {stage: 0}"), &d);
    assert_int_equal(c->derived.mesh.cp, 2);
    assert_int_equal(c->derived.mesh.dp_shard, 1);
    assert_int_equal(c->derived.mesh.dp_replicate, 2);
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

static void cosine_and_constant_schedules(void **state)
{
    axl_diagnostics d = {0};
    axl_config *c = load_on(1,
                            WITH("scheduler: {type: WarmupCosineLR, params: {warmup_type: linear, "
                                 "cos_min_ratio: 0.1}}"),
                            &d);
    (void)state;

    assert_string_equal(c->lr_scheduler, "cosine");
    assert_true(c->cosine_min_lr_ratio == 0.1);
    axl_config_destroy(c);
    c = load_on(1, WITH("scheduler: {type: WarmupLR, params: {warmup_type: linear}}"), &d);
    assert_string_equal(c->lr_scheduler, "constant_with_warmup");
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
}

static void what_cannot_be_honoured_is_refused_by_name(void **state)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {WITH("zero_optimization: {stage: 3, offload_param: {device: nvme}}"),
         "8:92: error: deepspeed.zero_optimization.offload_param.device: nvme is understood, but"},
        {WITH("zero_optimization: {stage: 4}"), "zero_optimization.stage: 4 is too large"},
        {WITH("zero_optimization: {stage: 3, zero_quantized_weights: true}"),
         "deepspeed.zero_optimization.zero_quantized_weights: not accepted"},
        {WITH("zero_optimization: {stage: 2, offload_param: {device: cpu}}"),
         "offload_param: needs stage 3 or more, not 2"},
        {WITH("zero_optimization: {stage: 2, zero_hpz_partition_size: 2}"), "needs stage 3, not 2"},
        {WITH("zero_optimization: {stag: 2}"), "unknown key; did you mean stage?"},
        {WITH("fp16: {enabled: true}"), "deepspeed.fp16.enabled: understood, but not supported"},
        {WITH("optimizer: {type: Lamb}"), "deepspeed.optimizer.type: Lamb is understood, but"},
        {WITH("optimizer: {type: AdamW, params: {adam_w_mode: false}}"),
         "weight decay is decoupled"},
        {WITH("optimizer: {type: AdamW, params: {betas: [0.9]}}"), "two numbers were expected"},
        {WITH("optimizer: {params: {lr: 1e-4}}"), "deepspeed.optimizer.type: missing"},
        {WITH("scheduler: {type: WarmupLR}"), "absent means log, and only linear is supported"},
        {WITH("scheduler: {type: OneCycle}"), "OneCycle is understood, but"},
        {WITH("scheduler: {params: {warmup_type: linear}}"), "deepspeed.scheduler.type: missing"},
        {WITH("scheduler: {type: WarmupLR, params: {warmup_type: linear, warmup_min_lr: 0.1}}"),
         "deepspeed.scheduler.params.warmup_min_lr: the warm-up begins at 0 here"},
        {WITH("scheduler: {type: WarmupLR, params: {warmup_type: linear, total_num_steps: 9}}"),
         "9 here, but the length of the run"},
        {WITH("elasticity: {enabled: true}"), "deepspeed.elasticity: not accepted"},
        {WITH("amp: {enabled: true}"), "deepspeed.amp.enabled: not accepted"},
        {WITH("data_types: {grad_accum_dtype: bf16}"), "bf16 is understood, but"},
        {BASE "deepspeed: nowhere.json\n", "8:1: error: deepspeed: nowhere.json: there is no such"},
        {BASE "deepspeed: 3\n", "3 without quotes is an integer"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_says(rows[i].text, rows[i].part);
}

static void contradictions_are_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } rows[] = {
        {WITH("gradient_accumulation_steps: 3"),
         "deepspeed.gradient_accumulation_steps: 3 here, but gradient_accumulation_steps is 4"},
        {WITH("train_micro_batch_size_per_gpu: 1"), "1 here, but micro_batch_size is 2"},
        {WITH("train_batch_size: 16"), "deepspeed.train_batch_size: 16, but 8 rows on 4 ranks"},
        {WITH("bf16: {enabled: true}") "bf16: false\n",
         "deepspeed.bf16.enabled: true here, but the run is to be in fp32"},
        {WITH("bf16: {enabled: false}") "bf16: true\n", "false here, but the run is to be in bf16"},
        {WITH("optimizer: {type: AdamW, params: {lr: 1}}"), "1 here, but learning_rate is 0.0001"},
        {WITH("optimizer: {type: AdamW}") "optimizer: adamw_bnb_8bit\n", "keep one"},
        {WITH("scheduler: {type: WarmupLR}") "lr_scheduler: cosine\n",
         "constant_with_warmup here, but lr_scheduler is cosine"},
        {WITH("zero_optimization: {stage: 0}") "dp_shard_size: 2\n",
         "1 here, but dp_shard_size is 2"},
        {WITH("zero_optimization: {stage: 3, mics_shard_size: 4}") "dp_shard_size: 2\n",
         "mics_shard_size: 4 here, but dp_shard_size is 2"},
        {WITH("sequence_parallel_size: 2") "context_parallel_size: 4\n",
         "context_parallel_size is 4"},
        {WITH("tensor_parallel: {tp_size: 2}") "tensor_parallel_size: 4\n",
         "tensor_parallel_size is 4"},
        {WITH("communication_data_type: bf16") "reduce_dtype: fp32\n", "reduce_dtype is fp32"},
        {BASE "max_grad_norm: 2\ndeepspeed: {gradient_clipping: 1}\n",
         "1 here, but max_grad_norm is 2"},
        {WITH("zero_optimization: {stage: 3}") "fsdp_config: {version: 2}\n",
         "not together with fsdp"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_says(rows[i].text, rows[i].part);
    check_says(BASE "deepspeed: {bf16: {enabled: true}}\n", "upstream does not clip then");
}

static void fsdp1_runs_as_fsdp2_with_one_warning(void **state)
{
    static const char text[] =
        BASE "fsdp: [full_shard, auto_wrap, offload]\nfsdp_config:\n  fsdp_offload_params: true\n"
             "  fsdp_state_dict_type: FULL_STATE_DICT\n  fsdp_cpu_ram_efficient_loading: true\n"
             "  fsdp_sync_module_states: true\n"
             "  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer\n"
             "  fsdp_activation_checkpointing: true\n  fsdp_sharding_strategy: FULL_SHARD\n";
    axl_diagnostics d = {0};
    axl_config *c = load_on(4, text, &d);
    (void)state;

    assert_true(c->fsdp_config.reshard_after_forward && c->fsdp_config.offload_params);
    assert_true(c->derived.recompute == AXL_RECOMPUTE_FULL);
    assert_int_equal(c->derived.mesh.dp_shard, 4);
    size_t n_warnings = 0;
    for (size_t i = 0; i < d.n; i++)
        n_warnings += d.items[i].severity == AXL_WARNING;
    assert_int_equal(n_warnings, 2); // one for FSDP1, one for the prefix of all its keys
    axl_config_destroy(c);
    axl_diagnostics_fini(&d);
    check_says(text, "8:1: warning: fsdp: FSDP1 is deprecated and runs as FSDP2 here; write "
                     "fsdp_version: 2 and fsdp_config: {reshard_after_forward: true, "
                     "offload_params: true}");
    check_says(text, "write offload_params, state_dict_type, cpu_ram_efficient_loading, "
                     "sync_module_states, transformer_layer_cls_to_wrap, activation_checkpointing, "
                     "sharding_strategy");
}

static void fsdp1_strategies(void **state)
{
    static const struct {
        const char *yaml;
        bool reshards;
        int replicate, shard;
    } rows[] = {
        {BASE "fsdp: [shard_grad_op]\n", false, 1, 4},
        {BASE "fsdp: [no_shard]\n", true, 4, 1},
        {BASE "fsdp: [hybrid_shard]\ndp_shard_size: 2\n", true, 2, 2},
        {BASE "fsdp_config: {fsdp_sharding_strategy: HYBRID_SHARD_ZERO2}\ndp_replicate_size: 2\n",
         false, 2, 2},
        {BASE "fsdp_config: {sharding_strategy: SHARD_GRAD_OP}\n", false, 1, 4},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        axl_diagnostics d = {0};
        axl_config *c = load_on(4, rows[i].yaml, &d);
        assert_int_equal(c->fsdp_config.reshard_after_forward, rows[i].reshards);
        assert_int_equal(c->derived.mesh.dp_replicate, rows[i].replicate);
        assert_int_equal(c->derived.mesh.dp_shard, rows[i].shard);
        axl_config_destroy(c);
        axl_diagnostics_fini(&d);
    }
    check_says(BASE "fsdp: [hybrid_shard]\n", "write dp_shard_size: the number of ranks of a host");
    check_says(BASE "fsdp: [no_shard]\ndp_shard_size: 2\n",
               "no_shard means dp_shard_size: 1, not 2");
    check_says(BASE "fsdp: [full_shared]\n", "\"full_shared\" is none of its words");
    check_says(BASE "fsdp: [full_shard]\nfsdp_config: {sharding_strategy: SHARD_GRAD_OP}\n",
               "full_shard contradicts shard_grad_op");
    check_says(BASE "fsdp: [shard_grad_op]\nfsdp_config: {reshard_after_forward: true}\n",
               "shard_grad_op means reshard_after_forward: false, but fsdp_config says true");
    check_says(BASE "fsdp: [offload]\nfsdp_config: {offload_params: false}\n",
               "offload contradicts fsdp_config");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_common_files_become_the_mesh),
        cmocka_unit_test(keys_of_one_reason_share_a_line),
        cmocka_unit_test(numbers_are_taken_over),
        cmocka_unit_test(cosine_and_constant_schedules),
        cmocka_unit_test(what_cannot_be_honoured_is_refused_by_name),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(fsdp1_runs_as_fsdp2_with_one_warning),
        cmocka_unit_test(fsdp1_strategies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
