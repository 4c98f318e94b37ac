// config.json -> axl_arch: the keys that all families share, and the two dialects of rope settings.
//
// What is hard is history: transformers 5 writes rope_parameters, older files rope_theta and rope_scaling;
// both are read, and what a family does not use is ignored.
#include "src/model/arch.h"

#include "src/base/mem.h"
#include "src/model/arch_private.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const axl_family *const families[] = {
#define AXL_FAMILY(name) &axl_family_##name,
#include "src/model/families/families.def"
#undef AXL_FAMILY
};
#define N_FAMILIES (sizeof families / sizeof *families)

axl_status axl_config_int(const axl_json *config, const char *key, int64_t otherwise, int64_t *out)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(config, key);
    axl_json_kind kind = axl_json_type(v);
    double real = axl_json_real(v, 0.0);

    AXL_REQUIRE(kind == AXL_JSON_NULL || kind == AXL_JSON_INT ||
                    (kind == AXL_JSON_REAL && real == floor(real) && fabs(real) < 1e15),
                AXL_E_INPUT, "%s is %s, an integer is needed", key, axl_json_kind_name(kind));
    *out = kind == AXL_JSON_NULL  ? otherwise
           : kind == AXL_JSON_INT ? axl_json_int(v, 0)
                                  : (int64_t)real;
out:
    return status;
}

axl_status axl_config_real(const axl_json *config, const char *key, double otherwise, double *out)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(config, key);
    axl_json_kind kind = axl_json_type(v);

    AXL_REQUIRE(kind == AXL_JSON_NULL || kind == AXL_JSON_INT || kind == AXL_JSON_REAL, AXL_E_INPUT,
                "%s is %s, a number is needed", key, axl_json_kind_name(kind));
    *out = axl_json_real(v, otherwise);
out:
    return status;
}

axl_status axl_config_flag(const axl_json *config, const char *key, bool otherwise, bool *out)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(config, key);
    axl_json_kind kind = axl_json_type(v);

    AXL_REQUIRE(kind == AXL_JSON_NULL || kind == AXL_JSON_BOOL, AXL_E_INPUT,
                "%s is %s, true or false is needed", key, axl_json_kind_name(kind));
    *out = axl_json_bool(v, otherwise);
out:
    return status;
}

bool axl_config_layer_is_sliding(const axl_json *config, int i, bool *sliding)
{
    const axl_json *types = axl_json_get(config, "layer_types");
    const char *name = axl_json_string(axl_json_at(types, (size_t)i), NULL);

    if (name == NULL)
        return false;
    *sliding = strcmp(name, "sliding_attention") == 0;
    return true;
}

axl_status axl_config_window(const axl_json *config, int32_t *out)
{
    axl_status status = AXL_OK;
    int64_t window = 0;

    AXL_TRY(axl_config_int(config, "sliding_window", 0, &window));
    AXL_REQUIRE(window >= 0 && window <= INT32_MAX, AXL_E_INPUT,
                "sliding_window %lld is out of range (0 to %d)", (long long)window, INT32_MAX);
    *out = (int32_t)window;
out:
    return status;
}

axl_status axl_config_qwen_windows(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    bool use = false;
    int32_t window = 0;
    int64_t first = 0;

    AXL_TRY(axl_config_flag(config, "use_sliding_window", false, &use));
    AXL_TRY(axl_config_window(config, &window));
    AXL_TRY(axl_config_int(config, "max_window_layers", 28, &first));
    for (int i = 0; i < arch->n_layers; i++) {
        bool sliding = use && i >= first;
        if (use)
            (void)axl_config_layer_is_sliding(config, i, &sliding);
        arch->layers[i].window = sliding ? window : 0;
    }
out:
    return status;
}

axl_status axl_config_moe(const axl_json *config, int64_t default_experts, int64_t default_k,
                          axl_arch *arch)
{
    axl_status status = AXL_OK;
    int64_t n_experts = 0, top_k = 0;
    bool aux = false;
    double coef = 0.0;

    AXL_TRY(axl_config_int(config, "num_local_experts", default_experts, &n_experts));
    AXL_TRY(axl_config_int(config, "num_experts", n_experts, &n_experts));
    AXL_TRY(axl_config_int(config, "num_experts_per_tok", default_k, &top_k));
    AXL_REQUIRE(n_experts > 0 && n_experts <= 4096, AXL_E_INPUT,
                "num_local_experts %lld is out of range (1 to 4096)", (long long)n_experts);
    AXL_REQUIRE(top_k > 0 && top_k <= n_experts && top_k <= AXL_MAX_TOP_K, AXL_E_INPUT,
                "num_experts_per_tok %lld is out of range (1 to %lld)", (long long)top_k,
                (long long)(n_experts < AXL_MAX_TOP_K ? n_experts : AXL_MAX_TOP_K));
    AXL_TRY(axl_config_flag(config, "output_router_logits", false, &aux));
    AXL_TRY(axl_config_real(config, "router_aux_loss_coef", 0.001, &coef));
    AXL_REQUIRE(coef >= 0.0 && coef <= 1e6, AXL_E_INPUT,
                "router_aux_loss_coef %g is out of range (0 to 1e6)", coef);
    arch->moe.n_experts = (int32_t)n_experts;
    arch->moe.top_k = (int32_t)top_k;
    arch->moe.aux_coef = aux ? coef : 0.0;
out:
    return status;
}

// A positive integer key that must be there and must fit.
static axl_status need_size(const axl_json *config, const char *key, int64_t limit, int64_t *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_config_int(config, key, 0, out));
    AXL_REQUIRE(*out > 0 && *out <= limit, AXL_E_INPUT, "%s is missing or out of range (1 to %lld)",
                key, (long long)limit);
out:
    return status;
}

static axl_status rope_type_from_name(const char *name, axl_rope_type *out)
{
    static const struct {
        const char *name;
        axl_rope_type type;
    } types[] = {{"default", AXL_ROPE_DEFAULT},
                 {"linear", AXL_ROPE_LINEAR},
                 {"dynamic", AXL_ROPE_DYNAMIC},
                 {"llama3", AXL_ROPE_LLAMA3},
                 {"yarn", AXL_ROPE_YARN}};
    axl_status status = AXL_OK;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *out = types[i].type;
            goto out;
        }
    }
    AXL_FAIL(AXL_E_UNSUPPORTED,
             "rope type %s is not supported; known are default, linear, dynamic, llama3, yarn",
             name);
out:
    return status;
}

// Reads one dictionary of rope settings (either dialect); top holds keys that may stand outside of it.
static axl_status read_rope(const axl_json *top, const axl_json *dict, const axl_arch *arch,
                            axl_rope *rope)
{
    axl_status status = AXL_OK;
    double theta = 0.0;
    double partial = 1.0;
    const char *type = axl_json_string(axl_json_get(dict, "rope_type"),
                                       axl_json_string(axl_json_get(dict, "type"), "default"));

    *rope = (axl_rope){.pairing = AXL_ROPE_HALF};
    AXL_TRY(rope_type_from_name(type, &rope->type));
    AXL_TRY(axl_config_real(top, "rope_theta", 10000.0, &theta));
    AXL_TRY(axl_config_real(dict, "rope_theta", theta, &rope->theta));
    AXL_TRY(axl_config_real(top, "partial_rotary_factor", 1.0, &partial));
    AXL_TRY(axl_config_real(dict, "partial_rotary_factor", partial, &partial));
    AXL_TRY(axl_config_real(dict, "factor", 1.0, &rope->factor));
    AXL_TRY(axl_config_real(dict, "low_freq_factor", 1.0, &rope->low_freq_factor));
    AXL_TRY(axl_config_real(dict, "high_freq_factor", 4.0, &rope->high_freq_factor));
    AXL_TRY(axl_config_real(dict, "beta_fast", 32.0, &rope->beta_fast));
    AXL_TRY(axl_config_real(dict, "beta_slow", 1.0, &rope->beta_slow));
    AXL_TRY(axl_config_real(dict, "mscale", 0.0, &rope->mscale));
    AXL_TRY(axl_config_real(dict, "mscale_all_dim", 0.0, &rope->mscale_all_dim));
    AXL_TRY(axl_config_real(dict, "attention_factor", 0.0, &rope->attention_factor));
    AXL_TRY(axl_config_flag(dict, "truncate", true, &rope->truncate));
    AXL_TRY(axl_config_int(dict, "original_max_position_embeddings", arch->max_position,
                           &rope->original_max_position));
    AXL_TRY(axl_config_int(top, "original_max_position_embeddings", rope->original_max_position,
                           &rope->original_max_position));
    rope->max_position = arch->max_position;
    if (partial > 0.0 && partial <= 1.0) // else the width stays 0, which is out of range
        rope->rotary_dim = (int)(arch->head_dim * partial) / 2 * 2;
    AXL_REQUIRE(
        rope->theta > 1.0 && rope->factor > 0.0 && rope->rotary_dim >= 2 &&
            rope->rotary_dim <= arch->head_dim && rope->rotary_dim <= 2 * AXL_MAX_ROPE_PAIRS &&
            rope->original_max_position > 0 && rope->high_freq_factor > rope->low_freq_factor,
        AXL_E_INPUT, "the rope settings are out of range (theta %g, factor %g, rotary width %d)",
        rope->theta, rope->factor, rope->rotary_dim);
out:
    return status;
}

static axl_status read_ropes(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    const axl_json *dict = axl_json_get(config, "rope_parameters");

    if (!axl_json_is(dict, AXL_JSON_OBJECT))
        dict = axl_json_get(config, "rope_scaling");
    AXL_TRY(read_rope(config, dict, arch, &arch->ropes[0]));
    arch->n_ropes = 1;
out:
    return status;
}

static axl_status read_act(const axl_json *config, axl_act *act)
{
    static const struct {
        const char *name;
        axl_act act;
    } acts[] = {{"silu", AXL_ACT_SILU},
                {"gelu", AXL_ACT_GELU},
                {"gelu_new", AXL_ACT_GELU_TANH},
                {"gelu_pytorch_tanh", AXL_ACT_GELU_TANH},
                {"relu2", AXL_ACT_RELU2}};
    axl_status status = AXL_OK;
    const char *name = axl_json_string(axl_json_get(config, "hidden_act"), "silu");

    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (strcmp(acts[i].name, name) == 0) {
            *act = acts[i].act;
            goto out;
        }
    }
    AXL_FAIL(AXL_E_UNSUPPORTED, "hidden_act %s is not supported", name);
out:
    return status;
}

static axl_status read_dtype(const axl_json *config, axl_dtype *dtype)
{
    axl_status status = AXL_OK;
    const char *name =
        axl_json_string(axl_json_get(config, "dtype"),
                        axl_json_string(axl_json_get(config, "torch_dtype"), "float32"));

    if (strcmp(name, "float32") == 0)
        *dtype = AXL_F32;
    else if (strcmp(name, "bfloat16") == 0)
        *dtype = AXL_BF16;
    else if (strcmp(name, "float16") == 0)
        *dtype = AXL_F16;
    else
        AXL_FAIL(AXL_E_UNSUPPORTED, "dtype %s is not supported; float32, bfloat16 and float16 are",
                 name);
out:
    return status;
}

// -1 says that there is none.
static axl_status check_id(const char *key, int64_t id)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(id >= -1 && id <= INT32_MAX, AXL_E_INPUT, "%s is not a token id (0 to %d)", key,
                INT32_MAX);
out:
    return status;
}

static axl_status read_ids(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    const axl_json *eos = axl_json_get(config, "eos_token_id");
    int64_t id = -1;

    if (!axl_json_is(axl_json_get(config, "bos_token_id"), AXL_JSON_ARRAY))
        AXL_TRY(axl_config_int(config, "bos_token_id", -1, &id));
    AXL_TRY(check_id("bos_token_id", id));
    arch->bos_id = (int32_t)id;
    if (!axl_json_is(eos, AXL_JSON_ARRAY)) {
        AXL_TRY(axl_config_int(config, "eos_token_id", -1, &id));
        AXL_TRY(check_id("eos_token_id", id));
        if (id >= 0)
            arch->eos_id[arch->n_eos++] = (int32_t)id;
    }
    for (size_t i = 0; axl_json_is(eos, AXL_JSON_ARRAY) && i < axl_json_count(eos) && i < 8; i++) {
        id = axl_json_int(axl_json_at(eos, i), INT64_MIN);
        AXL_TRY(check_id("eos_token_id", id));
        arch->eos_id[arch->n_eos++] = (int32_t)id;
    }
out:
    return status;
}

static axl_status read_sizes(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    int64_t layers;
    int64_t heads;
    int64_t kv_heads;
    int64_t head_dim;
    double eps;

    AXL_TRY(need_size(config, "vocab_size", INT32_MAX, &arch->vocab));
    arch->file_vocab = arch->vocab;
    AXL_TRY(need_size(config, "hidden_size", 1 << 20, &arch->hidden));
    AXL_TRY(need_size(config, "intermediate_size", 1 << 24, &arch->ffn));
    AXL_TRY(need_size(config, "num_hidden_layers", 4096, &layers));
    AXL_TRY(need_size(config, "num_attention_heads", 4096, &heads));
    AXL_TRY(axl_config_int(config, "num_key_value_heads", heads, &kv_heads));
    AXL_REQUIRE(kv_heads > 0 && heads % kv_heads == 0, AXL_E_INPUT,
                "num_key_value_heads %lld does not divide num_attention_heads %lld",
                (long long)kv_heads, (long long)heads);
    AXL_TRY(axl_config_int(config, "head_dim", arch->hidden / heads, &head_dim));
    AXL_REQUIRE(head_dim > 0 && head_dim <= (int64_t)2 * AXL_MAX_ROPE_PAIRS, AXL_E_INPUT,
                "head_dim %lld is out of range (1 to %d)", (long long)head_dim,
                2 * AXL_MAX_ROPE_PAIRS);
    AXL_TRY(axl_config_int(config, "max_position_embeddings", 2048, &arch->max_position));
    AXL_REQUIRE(arch->max_position > 0, AXL_E_INPUT, "max_position_embeddings must be positive");
    AXL_TRY(axl_config_real(config, "rms_norm_eps", 1e-6, &eps));
    AXL_REQUIRE(eps >= 0.0 && eps < 1.0, AXL_E_INPUT, "rms_norm_eps %g is out of range (0 to 1)",
                eps);
    arch->norm = (axl_norm){.kind = AXL_NORM_RMS, .eps = (float)eps};
    arch->n_layers = (int32_t)layers;
    arch->n_heads = (int32_t)heads;
    arch->n_kv_heads = (int32_t)kv_heads;
    arch->head_dim = (int32_t)head_dim;
    arch->attention_scale = 1.0f / sqrtf((float)head_dim);
    arch->embed_scale = 1.0f;
    AXL_TRY(axl_calloc((size_t)layers, sizeof *arch->layers, "the layer table", &arch->layers));
out:
    return status;
}

static axl_status find_family(const axl_json *config, const axl_family **out)
{
    axl_status status = AXL_OK;
    axl_str known = {0};
    const char *type = axl_json_string(axl_json_get(config, "model_type"), NULL);

    AXL_REQUIRE(type != NULL, AXL_E_INPUT, "model_type is missing");
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (strcmp(families[i]->model_type, type) == 0) {
            *out = families[i];
            goto out;
        }
        AXL_TRY(axl_str_printf(&known, "%s%s", i > 0 ? ", " : "", families[i]->model_type));
    }
    AXL_FAIL(AXL_E_UNSUPPORTED, "model_type %s is not supported; known are %s", type, known.data);
out:
    axl_str_fini(&known);
    return status;
}

axl_status axl_arch_from_json(const axl_json *config, const char *name, axl_arch *arch)
{
    axl_status status = AXL_OK;
    const axl_family *family = NULL;

    *arch = (axl_arch){0};
    AXL_REQUIRE(axl_json_is(config, AXL_JSON_OBJECT), AXL_E_INPUT, "%s: is not a JSON object",
                name);
    AXL_TRY_CTX(find_family(config, &family), "%s", name);
    arch->family = family->model_type;
    AXL_TRY_CTX(read_sizes(config, arch), "%s", name);
    AXL_TRY_CTX(read_ropes(config, arch), "%s", name);
    AXL_TRY_CTX(read_act(config, &arch->act), "%s", name);
    AXL_TRY_CTX(read_dtype(config, &arch->file_dtype), "%s", name);
    AXL_TRY_CTX(read_ids(config, arch), "%s", name);
    AXL_TRY_CTX(axl_config_flag(config, "tie_word_embeddings", false, &arch->tied), "%s", name);
    AXL_TRY_CTX(family->read_config(config, arch), "%s", name);
out:
    if (status != AXL_OK)
        axl_arch_fini(arch);
    return status;
}

axl_status axl_arch_read(const char *dir, axl_arch *arch)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    axl_json *config = NULL;

    *arch = (axl_arch){0};
    AXL_TRY(axl_str_printf(&path, "%s/config.json", dir));
    AXL_TRY(axl_json_read(path.data, &config));
    AXL_TRY(axl_arch_from_json(config, path.data, arch));
out:
    axl_json_free(config);
    axl_str_fini(&path);
    return status;
}

void axl_arch_fini(axl_arch *arch)
{
    free(arch->layers);
    *arch = (axl_arch){0};
}
