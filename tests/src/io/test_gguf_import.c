// RUN: np=1
// GGUF files become Hugging Face directories: config, weights, tokenizer, cache.
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/gguf.h"
#include "src/io/gguf_import.h"
#include "src/io/hfdir.h"
#include "tests/check.h"

#include <stdlib.h>

#define LLAMA   AXL_TEST_DATA "/io/tiny_llama.gguf"
#define QWEN2   AXL_TEST_DATA "/io/tiny_qwen2.gguf"
#define SCRATCH "test_gguf_import.tmp"

static int clean(void **state)
{
    (void)state;
    CHECK_OK(axl_path_remove(SCRATCH));
    return 0;
}

// The tensor of the directory equals the one of the file, row r being row map(r) of the file.
static void check_rows(const axl_hfdir *d, const char *key, const axl_gguf *g, const char *name,
                       int64_t head_dim)
{
    const axl_gguf_tensor *t = axl_gguf_find_tensor(g, name);
    const axl_tensor_entry *e = axl_hfdir_find(d, key);
    assert_non_null(t);
    assert_non_null(e);
    axl_tensor_spec want = e->spec;
    want.dtype = AXL_F32;
    int64_t rows = e->spec.dims[0], cols = t->rows * t->cols / rows;
    float *all = calloc((size_t)(rows * cols), sizeof *all);
    float *row = calloc((size_t)cols, sizeof *row);
    axl_gguf_read_rows(t, 0, t->rows, all);
    for (int64_t r = 0; r < rows; r++) {
        // the file has x0, y0, x1, y1, ... where the model has x0, x1, ..., y0, y1, ...
        int64_t from = r;
        if (head_dim > 0) {
            int64_t i = r % head_dim, half = head_dim / 2;
            from = r - i + (i < half ? 2 * i : 2 * (i - half) + 1);
        }
        CHECK_OK(axl_hfdir_read_block(d, &want, &(axl_block){.row0 = r, .n_rows = 1}, row));
        assert_memory_equal(row, all + from * cols, (size_t)cols * sizeof *row);
    }
    free(all);
    free(row);
}

static int64_t config_int(const axl_hfdir *d, const char *key)
{
    return axl_json_int(axl_json_get(axl_hfdir_config(d), key), -1);
}

static void llama_is_imported_bit_for_bit(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    axl_gguf *g = NULL;
    CHECK_OK(axl_gguf_import(LLAMA, SCRATCH, NULL));
    CHECK_OK(axl_hfdir_open(SCRATCH, &d));
    CHECK_OK(axl_gguf_open(LLAMA, &g));
    axl_json *config = axl_hfdir_config(d);
    assert_string_equal(axl_json_string(axl_json_get(config, "model_type"), ""), "llama");
    assert_string_equal(axl_json_string(axl_json_get(config, "torch_dtype"), ""), "float32");
    assert_int_equal(config_int(d, "num_attention_heads"), 4);
    assert_int_equal(config_int(d, "num_key_value_heads"), 2);
    assert_int_equal(config_int(d, "head_dim"), 16);
    assert_int_equal(config_int(d, "vocab_size"), 265);
    assert_int_equal(config_int(d, "max_position_embeddings"), 128);
    assert_int_equal(config_int(d, "eos_token_id"), 2);
    assert_true(axl_json_real(axl_json_get(config, "rope_theta"), 0.0) == 50000.0);
    assert_true(axl_json_real(axl_json_get(config, "rms_norm_eps"), 0.0) == 1e-6);
    assert_true(axl_json_bool(axl_json_get(config, "tie_word_embeddings"), false));
    axl_json *rope = axl_json_get(config, "rope_scaling");
    assert_string_equal(axl_json_string(axl_json_get(rope, "rope_type"), ""), "linear");
    assert_true(axl_json_real(axl_json_get(rope, "factor"), 0.0) == 2.0);

    assert_int_equal(axl_hfdir_count(d), 2 + 2 * 9);
    check_rows(d, "model.embed_tokens.weight", g, "token_embd.weight", 0);
    check_rows(d, "model.norm.weight", g, "output_norm.weight", 0);
    check_rows(d, "model.layers.0.self_attn.q_proj.weight", g, "blk.0.attn_q.weight", 16);
    check_rows(d, "model.layers.1.self_attn.k_proj.weight", g, "blk.1.attn_k.weight", 16);
    check_rows(d, "model.layers.1.self_attn.v_proj.weight", g, "blk.1.attn_v.weight", 0);
    check_rows(d, "model.layers.1.self_attn.o_proj.weight", g, "blk.1.attn_output.weight", 0);
    check_rows(d, "model.layers.0.input_layernorm.weight", g, "blk.0.attn_norm.weight", 0);
    check_rows(d, "model.layers.0.post_attention_layernorm.weight", g, "blk.0.ffn_norm.weight", 0);
    check_rows(d, "model.layers.0.mlp.gate_proj.weight", g, "blk.0.ffn_gate.weight", 0);
    check_rows(d, "model.layers.0.mlp.up_proj.weight", g, "blk.0.ffn_up.weight", 0);
    check_rows(d, "model.layers.0.mlp.down_proj.weight", g, "blk.0.ffn_down.weight", 0);
    axl_gguf_close(g);
    axl_hfdir_close(d);
}

static void qwen2_keeps_its_rows_and_its_head(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    axl_gguf *g = NULL;
    CHECK_OK(axl_gguf_import(QWEN2, SCRATCH, NULL));
    CHECK_OK(axl_hfdir_open(SCRATCH, &d));
    CHECK_OK(axl_gguf_open(QWEN2, &g));
    assert_false(axl_json_bool(axl_json_get(axl_hfdir_config(d), "tie_word_embeddings"), true));
    check_rows(d, "lm_head.weight", g, "output.weight", 0);
    check_rows(d, "model.layers.0.self_attn.q_proj.weight", g, "blk.0.attn_q.weight", 0);
    check_rows(d, "model.layers.0.self_attn.q_proj.bias", g, "blk.0.attn_q.bias", 0);
    axl_gguf_close(g);
    axl_hfdir_close(d);
}

static void a_dtype_can_be_asked_for(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    axl_gguf *g = NULL;
    axl_gguf_import_options options = {.dtype = AXL_BF16};
    float x[64];
    axl_bf16 h[64];
    CHECK_OK(axl_gguf_import(LLAMA, SCRATCH, &options));
    CHECK_FAILS(axl_gguf_import(LLAMA, SCRATCH, &options), AXL_E_INPUT, "would be overwritten");
    CHECK_OK(axl_hfdir_open(SCRATCH, &d));
    CHECK_OK(axl_gguf_open(LLAMA, &g));
    for (int64_t i = 0; i < axl_hfdir_count(d); i++)
        assert_int_equal(axl_hfdir_at(d, i)->spec.dtype, AXL_BF16);
    assert_string_equal(axl_json_string(axl_json_get(axl_hfdir_config(d), "torch_dtype"), ""),
                        "bfloat16");
    axl_gguf_read_rows(axl_gguf_find_tensor(g, "token_embd.weight"), 7, 1, x);
    axl_tensor_spec want = axl_hfdir_find(d, "model.embed_tokens.weight")->spec;
    CHECK_OK(axl_hfdir_read_block(d, &want, &(axl_block){.row0 = 7, .n_rows = 1}, h));
    for (int i = 0; i < 64; i++)
        assert_int_equal(h[i], axl_f32_to_bf16(x[i]));
    axl_gguf_close(g);
    axl_hfdir_close(d);
}

static void the_tokenizer_is_rebuilt(void **state)
{
    (void)state;
    axl_json *t = NULL, *settings = NULL;
    axl_str chat = {0};
    CHECK_OK(axl_gguf_import(LLAMA, SCRATCH, NULL));
    CHECK_OK(axl_json_read(SCRATCH "/tokenizer.json", &t));
    CHECK_OK(axl_json_read(SCRATCH "/tokenizer_config.json", &settings));
    CHECK_OK(axl_file_read(SCRATCH "/chat_template.jinja", &chat));
    assert_string_equal(chat.data, "{% for m in messages %}{{ m['content'] }}{% endfor %}");
    axl_json *added = axl_json_get(t, "added_tokens");
    assert_int_equal(axl_json_count(added), 4);
    assert_true(axl_json_bool(axl_json_get(axl_json_at(added, 1), "special"), false));
    assert_string_equal(axl_json_string(axl_json_get(axl_json_at(added, 3), "content"), ""),
                        "<think>");
    assert_false(axl_json_bool(axl_json_get(axl_json_at(added, 3), "special"), true));
    axl_json *steps = axl_json_get(axl_json_get(t, "pre_tokenizer"), "pretokenizers");
    assert_string_equal(axl_json_string(axl_json_get(axl_json_at(steps, 0), "type"), ""), "Digits");
    axl_json *model = axl_json_get(t, "model");
    assert_int_equal(axl_json_count(axl_json_get(model, "vocab")), 265);
    assert_int_equal(axl_json_count(axl_json_get(model, "merges")), 5);
    assert_string_equal(
        axl_json_string(axl_json_at(axl_json_at(axl_json_get(model, "merges"), 1), 0), ""), "th");
    axl_json *post = axl_json_get(t, "post_processor");
    assert_int_equal(axl_json_count(axl_json_get(post, "single")), 2);
    assert_string_equal(axl_json_string(axl_json_get(settings, "eos_token"), ""), "<|im_end|>");
    assert_true(axl_json_bool(axl_json_get(settings, "add_bos_token"), false));
    axl_json_free(t);
    axl_json_free(settings);
    axl_str_fini(&chat);
}

// A sentencepiece vocabulary has scores; the merges are found again, ties in a fixed order.
static void pieces_get_their_merges_back(void **state)
{
    (void)state;
    static const char *const merges[][2] = {{"b", "c"},      {"a", "b"},  {"\u2581", "a"},
                                            {"ab", "c"},     {"a", "bc"}, {"\u2581a", "b"},
                                            {"\u2581", "ab"}};
    axl_json *t = NULL;
    CHECK_OK(axl_gguf_import(AXL_TEST_DATA "/io/tiny_spm.gguf", SCRATCH, NULL));
    CHECK_OK(axl_json_read(SCRATCH "/tokenizer.json", &t));
    axl_json *model = axl_json_get(t, "model"), *list = axl_json_get(model, "merges");
    assert_int_equal(axl_json_count(list), 7);
    for (size_t i = 0; i < 7; i++)
        for (size_t k = 0; k < 2; k++)
            assert_string_equal(axl_json_string(axl_json_at(axl_json_at(list, i), k), ""),
                                merges[i][k]);
    assert_true(axl_json_bool(axl_json_get(model, "byte_fallback"), false));
    assert_string_equal(axl_json_string(axl_json_get(model, "unk_token"), ""), "<unk>");
    assert_int_equal(axl_json_count(axl_json_get(t, "added_tokens")), 4);
    axl_json *normalizers = axl_json_get(axl_json_get(t, "normalizer"), "normalizers");
    assert_int_equal(axl_json_count(normalizers), 2);
    assert_int_equal(axl_json_count(axl_json_get(axl_json_get(t, "post_processor"), "single")), 2);
    axl_json_free(t);
}

// Writes LLAMA with `from` (its first occurrence) replaced by `to` of the same length.
static void put_changed(const char *from, const char *to)
{
    axl_str s = {0};
    assert_int_equal(strlen(from), strlen(to));
    CHECK_OK(axl_file_read(LLAMA, &s));
    char *p = memmem(s.data, s.len, from, strlen(from));
    assert_non_null(p);
    memcpy(p, to, strlen(to));
    CHECK_OK(axl_dir_make(SCRATCH));
    CHECK_OK(axl_file_write(SCRATCH "/x.gguf", s.data, s.len));
    axl_str_fini(&s);
}

static void what_cannot_be_imported_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        axl_status code;
        const char *message;
    } cases[] = {
        {"smollm", "smollx", AXL_E_UNSUPPORTED, "tokenizer.ggml.pre is \"smollx\""},
        {"gpt2", "t5xx", AXL_E_UNSUPPORTED, "tokenizer.ggml.model is \"t5xx\""},
        {"tokenizer.ggml.merges", "tokenizer.ggml.merged", AXL_E_INPUT,
         "lacks tokenizer.ggml.merges"},
        {"gpt2", "bert", AXL_E_UNSUPPORTED, "tokenizer.ggml.model is \"bert\""},
        {"tokenizer.ggml.tokens", "tokenizer.ggml.tokenz", AXL_E_INPUT,
         "lacks tokenizer.ggml.tokens"},
        {"llama.block_count", "llama.block_cownt", AXL_E_INPUT, "lacks llama.block_count"},
        {"rms_epsilon", "rms_epsilom", AXL_E_INPUT, "layer_norm_rms_epsilon"},
        {"linear", "lineal", AXL_E_UNSUPPORTED, "\"lineal\""},
        {"token_embd.weight", "token_embx.weight", AXL_E_INPUT, "token_embd.weight is missing"},
        {"blk.1.attn_q.weight", "blk.2.attn_q.weight", AXL_E_UNSUPPORTED, "blk.2.attn_q.weight"},
        {"blk.1.attn_q.weight", "blk.1.attn_z.weight", AXL_E_UNSUPPORTED, "blk.1.attn_z.weight"},
        {"th e", "thee", AXL_E_INPUT, "merge 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_changed(cases[i].from, cases[i].to);
        CHECK_FAILS(axl_gguf_import(SCRATCH "/x.gguf", SCRATCH "/out", NULL), cases[i].code,
                    cases[i].message);
        assert_false(axl_path_exists(SCRATCH "/out/config.json"));
        assert_false(axl_path_exists(SCRATCH "/out/model.safetensors.tmp"));
    }
    CHECK_FAILS(axl_gguf_import(AXL_TEST_DATA "/io/quants.gguf", SCRATCH "/out", NULL),
                AXL_E_UNSUPPORTED, "architecture \"test\"");
    CHECK_FAILS(axl_gguf_import(SCRATCH "/none.gguf", SCRATCH "/out", NULL), AXL_E_INPUT,
                "none.gguf");
}

static void the_cache_is_filled_once(void **state)
{
    (void)state;
    axl_str a = {0}, b = {0}, c = {0}, file = {0};
    axl_gguf_import_options options = {.dtype = AXL_BF16};
    CHECK_OK(axl_gguf_cache_dir(LLAMA, SCRATCH, NULL, &a));
    assert_false(axl_path_exists(a.data));
    CHECK_OK(axl_gguf_import_cached(LLAMA, SCRATCH, NULL, &b));
    assert_string_equal(a.data, b.data);
    CHECK_OK(axl_str_printf(&file, "%s/mark", b.data));
    CHECK_OK(axl_file_write(file.data, "x", 1));
    axl_str_clear(&b);
    CHECK_OK(axl_gguf_import_cached(LLAMA, SCRATCH, NULL, &b));
    assert_true(axl_path_exists(file.data)); // nothing was written again
    CHECK_OK(axl_gguf_import_cached(LLAMA, SCRATCH, &options, &c));
    assert_string_not_equal(a.data, c.data);
    axl_str_fini(&a);
    axl_str_fini(&b);
    axl_str_fini(&c);
    axl_str_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(llama_is_imported_bit_for_bit, clean),
        cmocka_unit_test_teardown(qwen2_keeps_its_rows_and_its_head, clean),
        cmocka_unit_test_teardown(a_dtype_can_be_asked_for, clean),
        cmocka_unit_test_teardown(the_tokenizer_is_rebuilt, clean),
        cmocka_unit_test_teardown(pieces_get_their_merges_back, clean),
        cmocka_unit_test_teardown(what_cannot_be_imported_is_named, clean),
        cmocka_unit_test_teardown(the_cache_is_filled_once, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
