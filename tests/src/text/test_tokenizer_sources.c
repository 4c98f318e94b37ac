// RUN: np=1
// Tokenizers from other files than tokenizer.json: sentencepiece models, tiktoken ranks, tekken.json.
// tests/data/spm holds small ones and what other libraries answer; tests/goldens/make_spm.py made both.
#include "src/io/file.h"
#include "src/io/json.h"
#include "src/text/tokenizer.h"
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct context {
    char name[64];
    axl_tokenizer *t;
    axl_token_buffer ids;
    int n_models, n_records, n_wrong;
} context;

static bool same_ids(const axl_json *want, const axl_token_buffer *b)
{
    if (axl_json_count(want) != b->n)
        return false;
    for (size_t i = 0; i < b->n; i++)
        if (axl_json_int(axl_json_at(want, i), -1) != b->ids[i])
            return false;
    return true;
}

static void check_record(context *c, const axl_json *record)
{
    const axl_json *text = axl_json_get(record, "text"), *decoded = axl_json_get(record, "decoded");
    const char *s = axl_json_string(text, "");
    size_t n = axl_json_string_length(text);
    axl_str back = {0};
    bool right;

    CHECK_OK(axl_tokenizer_encode(c->t, s, n, false, &c->ids));
    right = same_ids(axl_json_get(record, "ids"), &c->ids);
    CHECK_OK(axl_tokenizer_decode(c->t, c->ids.ids, c->ids.n, false, &back));
    right = right && back.len == axl_json_string_length(decoded) &&
            (back.len == 0 || memcmp(back.data, axl_json_string(decoded, ""), back.len) == 0);
    if (axl_json_get(record, "ids_special") != NULL) {
        CHECK_OK(axl_tokenizer_encode(c->t, s, n, true, &c->ids));
        right = right && same_ids(axl_json_get(record, "ids_special"), &c->ids);
    }
    c->n_records++;
    if (!right && c->n_wrong++ < 20)
        print_error("%s differs on \"%s\"\n", c->name, s);
    axl_str_fini(&back);
}

static void small_models_equal_other_libraries(void **state)
{
    (void)state;
    context c = {.name = ""};
    axl_str all = {0};
    char path[512];

    CHECK_OK(axl_file_read(AXL_TEST_DATA "/spm/goldens.jsonl", &all));
    for (char *line = all.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        axl_json *record = NULL;
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), "goldens.jsonl", &record));
        const char *name = axl_json_string(axl_json_get(record, "model"), "");
        if (strcmp(name, c.name) != 0) {
            (void)snprintf(c.name, sizeof c.name, "%s", name);
            (void)snprintf(path, sizeof path, AXL_TEST_DATA "/spm/%s", name);
            axl_tokenizer_destroy(c.t);
            c.t = NULL;
            CHECK_OK(axl_tokenizer_load(path, &c.t));
            c.n_models++;
        }
        check_record(&c, record);
        axl_json_free(record);
    }
    assert_int_equal(c.n_models, 13);
    assert_true(c.n_records > 1000);
    assert_int_equal(c.n_wrong, 0);
    axl_tokenizer_destroy(c.t);
    axl_token_buffer_fini(&c.ids);
    axl_str_fini(&all);
}

static void read_data(const char *name, axl_str *out)
{
    char path[512];
    (void)snprintf(path, sizeof path, AXL_TEST_DATA "/spm/%s", name);
    CHECK_OK(axl_file_read(path, out));
}

static size_t count_ids(const axl_tokenizer *t, const char *text, bool special)
{
    axl_token_buffer b = {0};
    CHECK_OK(axl_tokenizer_encode(t, text, strlen(text), special, &b));
    size_t n = b.n;
    axl_token_buffer_fini(&b);
    return n;
}

static void the_run_overrides_legacy(void **state)
{
    (void)state;
    axl_tokenizer *t[2] = {NULL, NULL};
    axl_str file = {0};
    axl_json *config = NULL;

    read_data("bpe-llama/tokenizer.model", &file);
    CHECK_OK(axl_json_parse("{\"tokenizer_class\": \"LlamaTokenizer\", \"legacy\": false}", 54,
                            "config", &config));
    for (int legacy = 0; legacy < 2; legacy++)
        CHECK_OK(axl_tokenizer_parse_any(file.data, file.len, config, NULL, legacy, &t[legacy]));
    // "the" after a token that was added begins a word of its own only in the legacy way.
    axl_token_buffer b = {0};
    CHECK_OK(axl_tokenizer_encode(t[0], "<s>the", 6, false, &b));
    assert_string_equal(axl_tokenizer_token(t[0], b.ids[1]), "th");
    CHECK_OK(axl_tokenizer_encode(t[1], "<s>the", 6, false, &b));
    assert_string_equal(axl_tokenizer_token(t[1], b.ids[1]), "\xe2\x96\x81the");
    assert_true(axl_tokenizer_hash(t[0]) != axl_tokenizer_hash(t[1]));
    axl_token_buffer_fini(&b);
    axl_tokenizer_destroy(t[0]);
    axl_tokenizer_destroy(t[1]);
    axl_json_free(config);
    axl_str_fini(&file);
}

static void put_file(const char *dir, const char *name, const char *text, size_t n)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    CHECK_OK(axl_file_write(path, text, n));
}

static void the_first_file_of_the_order_counts(void **state)
{
    (void)state;
    char dir[] = "/tmp/axl_test_sources_XXXXXX";
    axl_tokenizer *t = NULL;
    axl_str spm = {0}, tekken = {0}, json = {0};

    assert_non_null(mkdtemp(dir));
    assert_false(axl_tokenizer_found(dir));
    CHECK_FAILS(axl_tokenizer_load(dir, &t), AXL_E_INPUT, "needs a tokenizer.json");
    read_data("bpe-own/tokenizer.model", &spm);
    read_data("byte-tekken-v11/tekken.json", &tekken);
    CHECK_OK(axl_file_read(AXL_TEST_DATA "/tokenizers/tiny-wordlevel/tokenizer.json", &json));

    put_file(dir, "tokenizer.model", spm.data, spm.len);
    assert_true(axl_tokenizer_found(dir));
    CHECK_OK(axl_tokenizer_load(dir, &t));
    assert_int_equal(axl_tokenizer_id(t, "[CTL]"), 3);
    axl_tokenizer_destroy(t);
    put_file(dir, "tekken.json", tekken.data, tekken.len);
    CHECK_OK(axl_tokenizer_load(dir, &t));
    assert_int_equal(axl_tokenizer_id(t, "[THINK]"), 5);
    assert_string_equal(axl_tokenizer_special(t, "bos_token"), "<s>");
    assert_int_equal(count_ids(t, "a", true), 2); // BOS
    axl_tokenizer_destroy(t);
    put_file(dir, "tokenizer.json", json.data, json.len);
    CHECK_OK(axl_tokenizer_load(dir, &t));
    assert_int_equal(axl_tokenizer_id(t, "[THINK]"), -1);
    axl_tokenizer_destroy(t);
    CHECK_OK(axl_tokenizer_load_with(dir, &(axl_tokenizer_options){-1, true}, &t));
    assert_int_equal(axl_tokenizer_id(t, "[THINK]"), 5);
    axl_tokenizer_destroy(t);
    // The content counts, not the name.
    put_file(dir, "tokenizer.json", spm.data, spm.len);
    CHECK_OK(axl_tokenizer_load(dir, &t));
    assert_int_equal(axl_tokenizer_id(t, "[CTL]"), 3);
    axl_tokenizer_destroy(t);
    CHECK_OK(axl_path_remove(dir));
    axl_str_fini(&spm);
    axl_str_fini(&tekken);
    axl_str_fini(&json);
}

static void fails(const char *bytes, size_t n, const char *config, axl_status code,
                  const char *message)
{
    axl_tokenizer *t = NULL;
    axl_json *v = NULL;

    if (config != NULL)
        CHECK_OK(axl_json_parse(config, strlen(config), "config", &v));
    CHECK_FAILS(axl_tokenizer_parse_any(bytes, n, v, NULL, -1, &t), code, message);
    axl_json_free(v);
}

#define FAILS(text, message) fails(text, sizeof(text) - 1, NULL, AXL_E_INPUT, message)

static void a_malformed_file_is_refused(void **state)
{
    (void)state;
    axl_str spm = {0};

    FAILS("", "is neither JSON nor");
    FAILS("GGUF....", "is neither JSON nor");
    FAILS("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull");
    FAILS("\x0a\x80\x80", "ends within a number");
    FAILS("\x0a\x20zz", "longer than the message");
    FAILS("\x0a\x00\x0a", "empty or not UTF-8");
    FAILS("\x0a\x03\x0a\x01\xff", "piece 0 of the sentencepiece model: its text is empty or not");
    FAILS("\x0a\x08\x0a\x01x\x15\x00\x00\xc0\x7f", "its score is no number");
    FAILS("\x0a\x03\x0a\x01x\x0a\x03\x0a\x01x", "is there twice");
    FAILS("\x0a\x03\x0a\x01x\x0f", "kind 7");
    fails("\x0a\x03\x0a\x01x\x12\x02\x18\x03", 9, NULL, AXL_E_UNSUPPORTED, "whole words");
    FAILS("YQ== 0\nYg==\n", "line 2: must be a base64 token");
    FAILS("YQ== 0\nYg== -1\n", "line 2: the rank is no number");
    FAILS("YQ== 0\nYg== 99999999999\n", "line 2: the rank is no number");
    FAILS("YQ== 0\nYQ== 1\n", "is there twice");
    FAILS("YQ== 0\n* 1\n", "line 2: token: is not base64");
    FAILS("{\"vocab\": [{\"token_bytes\": \"YQ==\"}]}", "needs config.pattern and vocab");
    FAILS("{\"config\": {\"pattern\": \"a\", \"default_vocab_size\": 9}, \"vocab\": "
          "[{\"token_bytes\": \"YQ==\"}]}",
          "there are 1");
    FAILS(
        "{\"config\": {\"pattern\": \"a\"}, \"vocab\": [{\"rank\": 1, \"token_bytes\": \"YQ==\"}]}",
        "vocab[0]: needs token_bytes and the rank 0");
    read_data("unigram-own/tokenizer.model", &spm);
    fails(spm.data, spm.len, "{\"tokenizer_class\": \"LlamaTokenizer\"}", AXL_E_INPUT,
          "says LlamaTokenizer, but the sentencepiece model is Unigram");
    fails(spm.data, spm.len, "{\"tokenizer_class\": \"XLMRobertaTokenizerFast\"}",
          AXL_E_UNSUPPORTED, "numbers its pieces in a way of its own");
    fails(spm.data, spm.len, "{\"added_tokens_decoder\": {\"x\": {\"content\": \"a\"}}}",
          AXL_E_INPUT, "added_tokens_decoder[\"x\"]");
    axl_str_fini(&spm);
}

// Every cut of a model is refused or read, never a fault; most of these are refused.
static void a_cut_model_is_no_fault(void **state)
{
    (void)state;
    static const char *const names[] = {"bpe-own/tokenizer.model", "unigram-own/tokenizer.model",
                                        "byte-tiktoken/tokenizer.model"};
    int refused = 0;

    for (size_t k = 0; k < 3; k++) {
        axl_str file = {0};
        read_data(names[k], &file);
        for (size_t n = 0; n < file.len; n += 37) {
            axl_tokenizer *t = NULL;
            refused += axl_tokenizer_parse_any(file.data, n, NULL, NULL, -1, &t) != AXL_OK;
            axl_tokenizer_destroy(t);
        }
        axl_str_fini(&file);
    }
    assert_true(refused > 50);
}

static void an_added_token_without_a_place_takes_the_next_id(void **state)
{
    (void)state;
    axl_tokenizer *t = NULL;
    axl_str file = {0};
    axl_json *config = NULL, *extra = NULL;
    static const char said[] = "{\"pad_token\": {\"content\": \"<pad>\"}, \"add_bos_token\": true}";

    read_data("bpe-llama/tokenizer.model", &file);
    CHECK_OK(axl_json_parse(said, sizeof said - 1, "config", &config));
    CHECK_OK(axl_json_parse("{\"<|x|>\": 480}", 14, "added", &extra));
    CHECK_OK(axl_tokenizer_parse_any(file.data, file.len, config, extra, -1, &t));
    assert_int_equal(axl_tokenizer_id(t, "<|x|>"), 480);
    assert_int_equal(axl_tokenizer_id(t, "<pad>"), 481);
    assert_int_equal(axl_tokenizer_size(t), 482);
    assert_true(axl_tokenizer_is_special(t, 481));
    assert_false(axl_tokenizer_is_special(t, 480));
    assert_int_equal(count_ids(t, "<|x|><pad>", false), 2);
    assert_int_equal(count_ids(t, "<|x|><pad>", true), 3);
    axl_tokenizer_destroy(t);
    axl_json_free(config);
    axl_json_free(extra);
    axl_str_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_models_equal_other_libraries),
        cmocka_unit_test(the_run_overrides_legacy),
        cmocka_unit_test(the_first_file_of_the_order_counts),
        cmocka_unit_test(a_malformed_file_is_refused),
        cmocka_unit_test(a_cut_model_is_no_fault),
        cmocka_unit_test(an_added_token_without_a_place_takes_the_next_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
