// RUN: np=1
// Reading config.json: both dialects mean the same, faults are named with the key, and no bytes crash it.
#include "src/model/arch.h"
#include "tests/check.h"

#include <stdlib.h>

static const char *const known[] = {"llama",         "llama_bias_headdim",
                                    "llama_dynamic", "llama_linear",
                                    "llama_llama3",  "llama_yarn",
                                    "mistral",       "qwen2",
                                    "qwen2_tied",    "qwen3",
                                    "qwen3_bias",    "smollm3",
                                    "mixtral",       "mixtral_aux",
                                    "qwen3_moe",     "qwen3_moe_dense"};

static axl_status read_file(const char *model, const char *file, axl_arch *arch)
{
    axl_status status = AXL_OK;
    char path[600];
    axl_json *json = NULL;

    (void)snprintf(path, sizeof path, "%s/families/%s/%s", AXL_TEST_DATA, model, file);
    AXL_TRY(axl_json_read(path, &json));
    AXL_TRY(axl_arch_from_json(json, path, arch));
out:
    axl_json_free(json);
    return status;
}

#define SAME(field) CHECK_CLOSE(&a->field, &b->field, 1, 0.0, 0.0)

static void check_same_rope(const axl_rope *a, const axl_rope *b)
{
    SAME(type);
    SAME(pairing);
    SAME(rotary_dim);
    SAME(theta);
    SAME(factor);
    SAME(low_freq_factor);
    SAME(high_freq_factor);
    SAME(beta_fast);
    SAME(beta_slow);
    SAME(mscale);
    SAME(mscale_all_dim);
    SAME(attention_factor);
    SAME(truncate);
    SAME(original_max_position);
    SAME(max_position);
}

static void check_same(const axl_arch *a, const axl_arch *b)
{
    assert_string_equal(a->family, b->family);
    SAME(hidden);
    SAME(ffn);
    SAME(vocab);
    SAME(n_layers);
    SAME(n_heads);
    SAME(n_kv_heads);
    SAME(head_dim);
    SAME(max_position);
    SAME(norm.kind);
    SAME(norm.eps);
    SAME(qk_norm);
    SAME(act);
    SAME(q_bias);
    SAME(k_bias);
    SAME(v_bias);
    SAME(o_bias);
    SAME(mlp_bias);
    SAME(tied);
    SAME(attention_scale);
    SAME(embed_scale);
    SAME(n_ropes);
    SAME(file_dtype);
    SAME(bos_id);
    SAME(n_eos);
    for (int i = 0; i < a->n_eos; i++)
        SAME(eos_id[i]);
    for (int i = 0; i < a->n_ropes; i++)
        check_same_rope(&a->ropes[i], &b->ropes[i]);
    for (int i = 0; i < a->n_layers; i++) {
        SAME(layers[i].window);
        SAME(layers[i].rope);
        SAME(layers[i].sparse);
    }
}

static void both_dialects_give_the_same_architecture(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        axl_arch a;
        axl_arch b;
        CHECK_OK(read_file(known[i], "config.json", &a));
        CHECK_OK(read_file(known[i], "config_v4.json", &b));
        check_same(&a, &b);
        axl_arch_fini(&a);
        axl_arch_fini(&b);
    }
}

static void families_set_their_switches(void **state)
{
    axl_arch a;

    (void)state;
    CHECK_OK(read_file("mistral", "config.json", &a));
    assert_int_equal(a.layers[0].window, 8);
    assert_int_equal(a.layers[1].window, 8);
    axl_arch_fini(&a);
    CHECK_OK(read_file("qwen2", "config.json", &a));
    assert_true(a.q_bias && a.k_bias && a.v_bias && !a.o_bias && !a.mlp_bias);
    assert_int_equal(a.layers[0].window, 0);
    assert_true(a.layers[a.n_layers - 1].window > 0);
    axl_arch_fini(&a);
    CHECK_OK(read_file("qwen3", "config.json", &a));
    assert_true(a.qk_norm == AXL_QK_NORM_HEAD && !a.q_bias);
    axl_arch_fini(&a);
    CHECK_OK(read_file("smollm3", "config.json", &a));
    assert_true(a.layers[0].rope == 0 && a.layers[1].rope == -1);
    axl_arch_fini(&a);
    CHECK_OK(read_file("mixtral_aux", "config.json", &a));
    assert_true(a.moe.n_experts == 6 && a.moe.top_k == 2 && a.moe.renormalize);
    assert_true(a.moe.width == a.ffn && a.moe.aux_coef == 0.5 && a.layers[1].sparse);
    axl_arch_fini(&a);
    CHECK_OK(read_file("qwen3_moe_dense", "config_v4.json", &a));
    assert_true(a.moe.n_experts == 8 && a.moe.top_k == 3 && !a.moe.renormalize);
    assert_true(a.moe.width == 16 && a.moe.aux_coef == 0.25);
    assert_true(a.layers[0].sparse && !a.layers[1].sparse && a.layers[2].sparse);
    axl_arch_fini(&a);
    CHECK_OK(read_file("llama_yarn", "config_v4.json", &a));
    assert_true(a.ropes[0].type == AXL_ROPE_YARN && a.ropes[0].theta == 1000.0);
    axl_arch_fini(&a);
}

// ---- faults

static const char base[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 16, \"hidden_size\": 8, \"intermediate_size\": 12,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1,"
    " \"rope_theta\": 10000.0, \"bos_token_id\": 1, \"eos_token_id\": [2, 3]}";

// Reads base with one key set to a JSON text; value NULL: without the key.
static axl_status read_with(const char *key, const char *value, axl_arch *arch)
{
    axl_status status = AXL_OK;
    axl_json *json = NULL;
    axl_json *changed = NULL;
    axl_json *one = NULL;
    const char *k;
    axl_json *child;
    void *it = NULL;

    AXL_TRY(axl_json_parse(base, strlen(base), "base", &json));
    changed = axl_json_new_object();
    while (axl_json_next(json, &it, &k, &child))
        if (strcmp(k, key) != 0)
            AXL_TRY(axl_json_set(changed, k, axl_json_ref(child)));
    if (value != NULL) {
        char text[200];
        (void)snprintf(text, sizeof text, "[%s]", value);
        AXL_TRY(axl_json_parse(text, strlen(text), "value", &one));
        AXL_TRY(axl_json_set(changed, key, axl_json_ref(axl_json_at(one, 0))));
    }
    AXL_TRY(axl_arch_from_json(changed, "config.json", arch));
out:
    axl_json_free(json);
    axl_json_free(changed);
    axl_json_free(one);
    return status;
}

static void unknown_families_are_refused_with_the_known_ones(void **state)
{
    axl_arch a;

    (void)state;
    CHECK_FAILS(read_with("model_type", "\"no_such\"", &a), AXL_E_UNSUPPORTED,
                "model_type no_such is not supported; known are llama");
    CHECK_FAILS(read_with("model_type", "\"no_such\"", &a), AXL_E_UNSUPPORTED, "qwen3_moe");
}

static void faults_are_named(void **state)
{
    static const struct {
        const char *key, *value;
        axl_status code;
        const char *text;
    } faults[] = {
        {"model_type", NULL, AXL_E_INPUT, "config.json: model_type is missing"},
        {"model_type", "3", AXL_E_INPUT, "model_type is missing"},
        {"model_type", "\"llama4\"", AXL_E_UNSUPPORTED, "model_type llama4 is not supported"},
        {"vocab_size", NULL, AXL_E_INPUT, "vocab_size is missing"},
        {"vocab_size", "0", AXL_E_INPUT, "vocab_size is missing or out of range"},
        {"vocab_size", "2147483648", AXL_E_INPUT, "vocab_size is missing or out of range"},
        {"vocab_size", "\"16\"", AXL_E_INPUT, "vocab_size is a string, an integer is needed"},
        {"hidden_size", NULL, AXL_E_INPUT, "hidden_size"},
        {"hidden_size", "1048577", AXL_E_INPUT, "hidden_size"},
        {"hidden_size", "8.5", AXL_E_INPUT, "hidden_size is a"},
        {"intermediate_size", "-4", AXL_E_INPUT, "intermediate_size"},
        {"num_hidden_layers", "4097", AXL_E_INPUT, "num_hidden_layers"},
        {"num_hidden_layers", "[2]", AXL_E_INPUT, "num_hidden_layers is an array"},
        {"num_attention_heads", "0", AXL_E_INPUT, "num_attention_heads"},
        {"num_attention_heads", "9", AXL_E_INPUT, "head_dim 0 is out of range"},
        {"num_key_value_heads", "3", AXL_E_INPUT,
         "num_key_value_heads 3 does not divide num_attention_heads 2"},
        {"num_key_value_heads", "0", AXL_E_INPUT, "num_key_value_heads 0"},
        {"num_key_value_heads", "-1", AXL_E_INPUT, "num_key_value_heads -1"},
        {"head_dim", "513", AXL_E_INPUT, "head_dim 513 is out of range (1 to 512)"},
        {"head_dim", "-2", AXL_E_INPUT, "head_dim -2"},
        {"head_dim", "1", AXL_E_INPUT, "rope settings are out of range"},
        {"max_position_embeddings", "0", AXL_E_INPUT, "max_position_embeddings"},
        {"rms_norm_eps", "\"small\"", AXL_E_INPUT, "rms_norm_eps is a string, a number is needed"},
        {"rms_norm_eps", "-1e-6", AXL_E_INPUT, "rms_norm_eps"},
        {"rope_theta", "0.5", AXL_E_INPUT, "rope settings are out of range"},
        {"rope_theta", "true", AXL_E_INPUT, "rope_theta"},
        {"partial_rotary_factor", "1e300", AXL_E_INPUT, "rope settings are out of range"},
        {"partial_rotary_factor", "-1e300", AXL_E_INPUT, "rope settings are out of range"},
        {"partial_rotary_factor", "0.0", AXL_E_INPUT, "rope settings are out of range"},
        {"rope_scaling", "{\"type\": \"longrope\"}", AXL_E_UNSUPPORTED,
         "rope type longrope is not supported; known are default, linear, dynamic, llama3, yarn"},
        {"rope_scaling", "{\"type\": \"linear\", \"factor\": 0}", AXL_E_INPUT, "factor 0"},
        {"rope_scaling", "{\"type\": \"linear\", \"factor\": \"two\"}", AXL_E_INPUT,
         "factor is a string"},
        {"rope_scaling", "{\"rope_type\": \"llama3\", \"high_freq_factor\": 1}", AXL_E_INPUT,
         "rope settings are out of range"},
        {"hidden_act", "\"tanh\"", AXL_E_UNSUPPORTED, "hidden_act tanh is not supported"},
        {"dtype", "\"float8\"", AXL_E_UNSUPPORTED, "dtype float8 is not supported"},
        {"attention_bias", "1", AXL_E_INPUT, "attention_bias is an integer, true or false"},
        {"tie_word_embeddings", "\"yes\"", AXL_E_INPUT, "tie_word_embeddings is a string"},
        {"bos_token_id", "\"<s>\"", AXL_E_INPUT, "bos_token_id is a string"},
        {"bos_token_id", "4294967297", AXL_E_INPUT, "bos_token_id"},
        {"eos_token_id", "4294967298", AXL_E_INPUT, "eos_token_id"},
        {"eos_token_id", "[2, -7]", AXL_E_INPUT, "eos_token_id"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        axl_arch a;
        axl_status got = read_with(faults[i].key, faults[i].value, &a);
        if (got != faults[i].code || strstr(axl_error_message(), faults[i].text) == NULL)
            fail_msg("%s: %s: %s: %s", faults[i].key,
                     faults[i].value != NULL ? faults[i].value : "(absent)", axl_status_name(got),
                     got != AXL_OK ? axl_error_message() : "");
        assert_null(a.layers);
    }
}

static void faults_of_mixtures_are_named(void **state)
{
    static const struct {
        const char *config, *text;
    } faults[] = {
        {"\"mixtral\", \"num_local_experts\": 0",
         "num_local_experts 0 is out of range (1 to 4096)"},
        {"\"mixtral\", \"num_experts_per_tok\": 9",
         "num_experts_per_tok 9 is out of range (1 to 8)"},
        {"\"mixtral\", \"router_aux_loss_coef\": -1", "router_aux_loss_coef -1 is out of range"},
        {"\"mixtral\", \"router_jitter_noise\": 0.25", "router_jitter_noise 0.25"},
        {"\"mixtral\", \"sliding_window\": -1", "sliding_window -1"},
        {"\"qwen3_moe\", \"num_experts_per_tok\": 65", "num_experts_per_tok 65"},
        {"\"qwen3_moe\", \"moe_intermediate_size\": 0", "moe_intermediate_size is out of range"},
        {"\"qwen3_moe\", \"decoder_sparse_step\": 0", "decoder_sparse_step must be positive"},
        {"\"qwen3_moe\", \"norm_topk_prob\": 1", "norm_topk_prob is an integer"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char text[600];
        axl_json *json;
        axl_arch a;
        (void)snprintf(text, sizeof text, "{\"model_type\": %s, %s", faults[i].config,
                       strstr(base, "\"vocab_size\""));
        CHECK_OK(axl_json_parse(text, strlen(text), "text", &json));
        const axl_status got = axl_arch_from_json(json, "config.json", &a);
        assert_true(got == AXL_E_INPUT || got == AXL_E_UNSUPPORTED);
        if (strstr(axl_error_message(), faults[i].text) == NULL)
            fail_msg("%s: %s", faults[i].config, axl_error_message());
        axl_json_free(json);
    }
}

static void windows_must_fit(void **state)
{
    static const char *const configs[] = {
        "\"mistral\", \"sliding_window\": 4294967304",
        "\"mistral\", \"sliding_window\": -1",
        "\"qwen2\", \"use_sliding_window\": true, \"sliding_window\": 4294967304",
        "\"qwen3\", \"head_dim\": 4, \"use_sliding_window\": true, \"sliding_window\": -3",
        "\"smollm3\", \"use_sliding_window\": true, \"sliding_window\": 4294967304",
        "\"smollm3\", \"no_rope_layer_interval\": 0"};
    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        char text[600];
        axl_json *json;
        axl_arch a;
        (void)snprintf(text, sizeof text, "{\"model_type\": %s, %s", configs[i],
                       strstr(base, "\"vocab_size\""));
        CHECK_OK(axl_json_parse(text, strlen(text), "text", &json));
        CHECK_FAILS(axl_arch_from_json(json, "config.json", &a), AXL_E_INPUT,
                    i < 5 ? "sliding_window" : "no_rope_layer_interval");
        axl_json_free(json);
    }
}

static void absent_keys_have_the_values_of_transformers(void **state)
{
    axl_arch a;

    (void)state;
    CHECK_OK(read_with("num_key_value_heads", NULL, &a));
    assert_int_equal(a.n_kv_heads, 2);
    assert_int_equal(a.head_dim, 4);
    assert_int_equal(a.max_position, 2048);
    assert_true(a.norm.eps == 1e-6f && !a.tied && a.act == AXL_ACT_SILU);
    assert_true(a.bos_id == 1 && a.n_eos == 2 && a.eos_id[1] == 3);
    axl_arch_fini(&a);
    CHECK_OK(read_with("hidden_size", "8.0", &a)); // written by a tool without integers
    assert_int_equal(a.hidden, 8);
    axl_arch_fini(&a);
    CHECK_OK(read_with("eos_token_id", "null", &a));
    assert_int_equal(a.n_eos, 0);
    axl_arch_fini(&a);
}

// Every byte of every file changed to a few others: an answer or an error, never a crash.
static void no_change_of_a_byte_crashes(void **state)
{
    static const char others[] = "\"0-}9";

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char path[600];
        char text[4096];
        (void)snprintf(path, sizeof path, "%s/families/%s/config_v4.json", AXL_TEST_DATA, known[i]);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof text, f);
        (void)fclose(f);
        for (size_t at = 0; at < n * (sizeof others - 1); at++) {
            char *byte = &text[at / (sizeof others - 1)];
            char keep = *byte;
            axl_json *json = NULL;
            axl_arch a;
            *byte = others[at % (sizeof others - 1)];
            if (axl_json_parse(text, n, "changed", &json) == AXL_OK &&
                axl_arch_from_json(json, "changed", &a) == AXL_OK)
                axl_arch_fini(&a);
            axl_json_free(json);
            *byte = keep;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_dialects_give_the_same_architecture),
        cmocka_unit_test(families_set_their_switches),
        cmocka_unit_test(unknown_families_are_refused_with_the_known_ones),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(faults_of_mixtures_are_named),
        cmocka_unit_test(windows_must_fit),
        cmocka_unit_test(absent_keys_have_the_values_of_transformers),
        cmocka_unit_test(no_change_of_a_byte_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
