// config.json from GGUF metadata. The hard part is what the metadata does not say: Llama 3's rope scaling
// stands there only as a table of factors, from which its parameters are found again.
#include "src/io/gguf_parts.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const axl_gguf_arch archs[] = {
    {"llama", "llama", "LlamaForCausalLM", true}, // Mistral's files name this one, too
    {"qwen2", "qwen2", "Qwen2ForCausalLM", false},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", false},
};

#define N_ARCHS (sizeof archs / sizeof *archs)

// The value of "ARCH.suffix", or NULL.
static const axl_gguf_value *find_value(const axl_gguf *g, const char *arch, const char *suffix)
{
    char key[256];

    (void)snprintf(key, sizeof key, "%s.%s", arch, suffix);
    return axl_gguf_find(g, key);
}

// A count of 1 or more. An array (one number a layer) must hold one number everywhere.
//   otherwise   for a missing key; 0: the key is needed
static axl_status read_count(const axl_gguf *g, const char *arch, const char *suffix,
                             int64_t otherwise, int64_t *out)
{
    axl_status status = AXL_OK;
    const axl_gguf_value *v = find_value(g, arch, suffix);

    AXL_REQUIRE(v != NULL || otherwise > 0, AXL_E_INPUT, "%s: the metadata lacks %s.%s",
                axl_gguf_path(g), arch, suffix);
    if (v == NULL) {
        *out = otherwise;
        goto out;
    }
    int64_t n = axl_gguf_int(v, 0, 0);
    AXL_REQUIRE(n >= 1 && n <= INT32_MAX, AXL_E_INPUT, "%s: %s.%s is no count", axl_gguf_path(g),
                arch, suffix);
    for (uint64_t i = 1; i < v->count; i++)
        AXL_REQUIRE(axl_gguf_int(v, i, 0) == n, AXL_E_UNSUPPORTED,
                    "%s: %s.%s differs between layers, which is not supported", axl_gguf_path(g),
                    arch, suffix);
    *out = n;
out:
    return status;
}

static axl_status find_arch(const axl_gguf *g, const axl_gguf_arch **out)
{
    axl_status status = AXL_OK;
    const char *text = "";
    size_t at = 0, n = 0;

    (void)axl_gguf_next_string(axl_gguf_find(g, "general.architecture"), &at, &text, &n);
    for (size_t i = 0; i < N_ARCHS; i++) {
        if (strlen(archs[i].name) != n || memcmp(archs[i].name, text, n) != 0)
            continue;
        *out = &archs[i];
        goto out;
    }
    AXL_FAIL(AXL_E_UNSUPPORTED,
             "%s: the architecture \"%.*s\" cannot be imported; known are llama, "
             "qwen2 and qwen3",
             axl_gguf_path(g), (int)(n < 64 ? n : 64), text);
out:
    return status;
}

// The factor by which Llama 3's rule divides frequency i (see spec of rope_type llama3).
static double llama3_factor(const axl_gguf_model *m, int64_t i, double factor, double original)
{
    double frequency = pow(m->rope_theta, -2.0 * (double)i / (double)m->head_dim);
    double wavelength = 2.0 * acos(-1.0) / frequency;
    double u = (original / wavelength - 1.0) / 3.0; // low_freq_factor 1, high_freq_factor 4

    u = fmin(fmax(u, 0.0), 1.0);
    return 1.0 / ((1.0 - u) / factor + u);
}

// Recognises the table rope_freqs.weight as Llama 3's scaling.
static axl_status read_rope_table(const axl_gguf *g, axl_gguf_model *m)
{
    axl_status status = AXL_OK;
    const axl_gguf_tensor *t = axl_gguf_find_tensor(g, "rope_freqs.weight");
    const double original = 8192.0;
    float *table = NULL;
    double factor = 1.0;

    if (t == NULL)
        goto out;
    AXL_REQUIRE(t->rows * t->cols == m->head_dim / 2, AXL_E_INPUT,
                "%s: tensor rope_freqs.weight has %lld values, half the head dimension is %lld",
                axl_gguf_path(g), (long long)(t->rows * t->cols), (long long)(m->head_dim / 2));
    AXL_TRY(axl_calloc((size_t)m->head_dim, sizeof *table, "rope factors", &table));
    axl_gguf_read_rows(t, 0, t->rows, table);
    for (int64_t i = 0; i < m->head_dim / 2; i++)
        factor = fmax(factor, (double)table[i]);
    for (int64_t i = 0; i < m->head_dim / 2; i++) {
        double want = llama3_factor(m, i, factor, original);
        AXL_REQUIRE(
            fabs((double)table[i] - want) <= 1e-4 * want, AXL_E_UNSUPPORTED,
            "%s: rope_freqs.weight[%lld] is %g, Llama 3's scaling by %g has %g there; other "
            "tables are not supported",
            axl_gguf_path(g), (long long)i, (double)table[i], factor, want);
    }
    if (factor > 1.0)
        m->rope = (axl_gguf_rope){.type = "llama3", .factor = factor, .original_context = 8192};
out:
    free(table);
    return status;
}

static axl_status read_rope(const axl_gguf *g, axl_gguf_model *m)
{
    axl_status status = AXL_OK;
    const char *arch = m->arch->name, *type = "none";
    size_t at = 0, n = 4;

    (void)axl_gguf_next_string(find_value(g, arch, "rope.scaling.type"), &at, &type, &n);
    double factor = axl_gguf_real(find_value(g, arch, "rope.scaling.factor"), 0, 1.0);
    const axl_gguf_value *old = find_value(g, arch, "rope.scale_linear");
    if (n == 6 && memcmp(type, "linear", n) == 0)
        m->rope.type = "linear";
    else if (n == 4 && memcmp(type, "yarn", n) == 0)
        m->rope.type = "yarn";
    else
        AXL_REQUIRE(n == 4 && memcmp(type, "none", n) == 0, AXL_E_UNSUPPORTED,
                    "%s: rope scaling of type \"%.*s\" is not supported", axl_gguf_path(g),
                    (int)(n < 64 ? n : 64), type);
    m->rope.factor = factor;
    if (m->rope.type == NULL && old != NULL && axl_gguf_real(old, 0, 1.0) != 1.0)
        m->rope = (axl_gguf_rope){.type = "linear", .factor = axl_gguf_real(old, 0, 1.0)};
    AXL_REQUIRE(m->rope.type == NULL || (isfinite(m->rope.factor) && m->rope.factor >= 1.0),
                AXL_E_INPUT, "%s: the factor of rope scaling is %g; it must be 1 or more",
                axl_gguf_path(g), m->rope.factor);
    m->rope.original_context =
        axl_gguf_int(find_value(g, arch, "rope.scaling.original_context_length"), 0, 0);
    AXL_TRY(read_rope_table(g, m));
out:
    return status;
}

axl_status axl_gguf_read_model(const axl_gguf *g, axl_gguf_model *model)
{
    axl_status status = AXL_OK;
    axl_gguf_model m = {0};
    int64_t value_dim, rotary;
    const axl_gguf_tensor *embedding = axl_gguf_find_tensor(g, "token_embd.weight");

    AXL_TRY(find_arch(g, &m.arch));
    AXL_ASSERT(m.arch != NULL);
    const char *arch = m.arch->name;
    AXL_TRY(read_count(g, arch, "block_count", 0, &m.n_layers));
    AXL_TRY(read_count(g, arch, "context_length", 0, &m.context));
    AXL_TRY(read_count(g, arch, "embedding_length", 0, &m.width));
    AXL_TRY(read_count(g, arch, "feed_forward_length", 0, &m.hidden));
    AXL_TRY(read_count(g, arch, "attention.head_count", 0, &m.n_heads));
    AXL_TRY(read_count(g, arch, "attention.head_count_kv", m.n_heads, &m.n_kv_heads));
    AXL_ASSERT(m.n_heads > 0 && m.n_kv_heads > 0);
    int64_t even = m.width / m.n_heads > 0 ? m.width / m.n_heads : 1;
    AXL_TRY(read_count(g, arch, "attention.key_length", even, &m.head_dim));
    AXL_TRY(read_count(g, arch, "attention.value_length", m.head_dim, &value_dim));
    AXL_TRY(read_count(g, arch, "rope.dimension_count", m.head_dim, &rotary));
    AXL_REQUIRE(value_dim == m.head_dim && m.head_dim % 2 == 0 && rotary <= m.head_dim &&
                    m.n_heads % m.n_kv_heads == 0,
                AXL_E_UNSUPPORTED,
                "%s: %lld query and %lld key/value heads of %lld and %lld elements, %lld of them "
                "rotated: such attention is not supported",
                axl_gguf_path(g), (long long)m.n_heads, (long long)m.n_kv_heads,
                (long long)m.head_dim, (long long)value_dim, (long long)rotary);
    AXL_REQUIRE(embedding != NULL && embedding->n_dims == 2 && embedding->cols == m.width,
                AXL_E_INPUT, "%s: tensor token_embd.weight is missing or not [vocabulary, %lld]",
                axl_gguf_path(g), (long long)m.width);
    m.vocab = embedding->rows;
    const axl_gguf_value *tokens = axl_gguf_find(g, "tokenizer.ggml.tokens");
    AXL_REQUIRE(tokens == NULL || tokens->count <= (uint64_t)m.vocab, AXL_E_INPUT,
                "%s: there are %llu tokens, token_embd.weight has rows for %lld", axl_gguf_path(g),
                tokens != NULL ? (unsigned long long)tokens->count : 0ULL, (long long)m.vocab);
    m.partial_rotary = (double)rotary / (double)m.head_dim;
    m.norm_eps = axl_gguf_real(find_value(g, arch, "attention.layer_norm_rms_epsilon"), 0, -1.0);
    AXL_REQUIRE(m.norm_eps > 0.0 && m.norm_eps < 1.0, AXL_E_INPUT,
                "%s: the metadata lacks %s.attention.layer_norm_rms_epsilon", axl_gguf_path(g),
                arch);
    m.rope_theta = axl_gguf_real(find_value(g, arch, "rope.freq_base"), 0, 10000.0);
    AXL_REQUIRE(isfinite(m.rope_theta) && m.rope_theta > 1.0, AXL_E_INPUT,
                "%s: %s.rope.freq_base is %g; it must be above 1", axl_gguf_path(g), arch,
                m.rope_theta);
    m.tied = axl_gguf_find_tensor(g, "output.weight") == NULL;
    m.attention_bias = axl_gguf_find_tensor(g, "blk.0.attn_q.bias") != NULL;
    AXL_TRY(read_rope(g, &m));
    *model = m;
out:
    return status;
}

axl_status axl_put_float(axl_str *out, double x)
{
    axl_status status = AXL_OK;
    char text[40];

    AXL_ASSERT(isfinite(x));
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, x);
        if ((float)strtod(text, NULL) == (float)x)
            break;
    }
    AXL_TRY(axl_str_puts(out, text));
    if (strpbrk(text, ".e") == NULL)
        AXL_TRY(axl_str_puts(out, ".0"));
out:
    return status;
}

axl_status axl_write_into(const char *dir, const char *name, const axl_str *text)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    AXL_TRY(axl_str_printf(&path, "%s/%s", dir, name));
    AXL_TRY(axl_file_write(path.data, text->data, text->len));
out:
    axl_str_fini(&path);
    return status;
}

static const char *dtype_word(axl_dtype dtype)
{
    return dtype == AXL_BF16 ? "bfloat16" : dtype == AXL_F16 ? "float16" : "float32";
}

// "rope_scaling" as transformers 4 and 5 read it.
static axl_status put_rope(const axl_gguf_model *m, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(out, "  \"rope_scaling\": "));
    if (m->rope.type == NULL) {
        AXL_TRY(axl_str_puts(out, "null,\n"));
        goto out;
    }
    AXL_TRY(axl_str_puts(out, "{\n    \"factor\": "));
    AXL_TRY(axl_put_float(out, m->rope.factor));
    if (strcmp(m->rope.type, "llama3") == 0)
        AXL_TRY(
            axl_str_puts(out, ",\n    \"high_freq_factor\": 4.0,\n    \"low_freq_factor\": 1.0"));
    if (m->rope.original_context > 0)
        AXL_TRY(axl_str_printf(out, ",\n    \"original_max_position_embeddings\": %lld",
                               (long long)m->rope.original_context));
    AXL_TRY(axl_str_printf(out, ",\n    \"rope_type\": \"%s\"\n  },\n", m->rope.type));
out:
    return status;
}

// The special ids that the metadata names, as config.json has them.
static axl_status put_ids(const axl_gguf *g, bool generation, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char *const keys[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                          {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                          {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    int64_t turn_end = axl_gguf_int(axl_gguf_find(g, "tokenizer.ggml.eot_token_id"), 0, -1);

    for (size_t i = 0; i < 3; i++) {
        int64_t id = axl_gguf_int(axl_gguf_find(g, keys[i][1]), 0, -1);
        if (id < 0)
            continue;
        if (generation && i == 1 && turn_end >= 0 && turn_end != id) // generation stops at both
            AXL_TRY(axl_str_printf(out, "  \"%s\": [\n    %lld,\n    %lld\n  ],\n", keys[i][0],
                                   (long long)id, (long long)turn_end));
        else
            AXL_TRY(axl_str_printf(out, "  \"%s\": %lld,\n", keys[i][0], (long long)id));
    }
out:
    return status;
}

static axl_status put_config(const axl_gguf *g, const axl_gguf_model *m, axl_dtype dtype,
                             axl_str *out)
{
    axl_status status = AXL_OK;
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {{"head_dim", m->head_dim},
                  {"hidden_size", m->width},
                  {"intermediate_size", m->hidden},
                  {"max_position_embeddings", m->context},
                  {"num_attention_heads", m->n_heads},
                  {"num_hidden_layers", m->n_layers},
                  {"num_key_value_heads", m->n_kv_heads},
                  {"vocab_size", m->vocab}};

    AXL_TRY(
        axl_str_printf(out, "{\n  \"architectures\": [\n    \"%s\"\n  ],\n", m->arch->class_name));
    AXL_TRY(
        axl_str_printf(out, "  \"attention_bias\": %s,\n", m->attention_bias ? "true" : "false"));
    AXL_TRY(put_ids(g, false, out));
    AXL_TRY(axl_str_puts(out, "  \"hidden_act\": \"silu\",\n"));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        AXL_TRY(
            axl_str_printf(out, "  \"%s\": %lld,\n", counts[i].key, (long long)counts[i].value));
    AXL_TRY(axl_str_printf(out, "  \"model_type\": \"%s\",\n", m->arch->model_type));
    if (m->partial_rotary < 1.0) {
        AXL_TRY(axl_str_puts(out, "  \"partial_rotary_factor\": "));
        AXL_TRY(axl_put_float(out, m->partial_rotary));
        AXL_TRY(axl_str_puts(out, ",\n"));
    }
    AXL_TRY(axl_str_puts(out, "  \"rms_norm_eps\": "));
    AXL_TRY(axl_put_float(out, m->norm_eps));
    AXL_TRY(axl_str_puts(out, ",\n"));
    AXL_TRY(put_rope(m, out));
    AXL_TRY(axl_str_puts(out, "  \"rope_theta\": "));
    AXL_TRY(axl_put_float(out, m->rope_theta));
    AXL_TRY(axl_str_printf(out, ",\n  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"%s\"\n}\n",
                           m->tied ? "true" : "false", dtype_word(dtype)));
out:
    return status;
}

axl_status axl_gguf_write_config(const axl_gguf *g, const axl_gguf_model *model, axl_dtype dtype,
                                 const char *dir)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    AXL_TRY(axl_str_puts(&text, "{\n"));
    AXL_TRY(put_ids(g, true, &text));
    AXL_TRY(axl_str_puts(&text, "  \"do_sample\": false\n}\n"));
    AXL_TRY(axl_write_into(dir, "generation_config.json", &text));
    axl_str_clear(&text);
    AXL_TRY(put_config(g, model, dtype, &text));
    AXL_TRY(axl_write_into(dir, "config.json", &text));
out:
    axl_str_fini(&text);
    return status;
}
