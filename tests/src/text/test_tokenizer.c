// RUN: np=1
// What the goldens do not say: messages for malformed files, named special tokens, the scanners, and
// that caches and memory kept between calls change nothing.
#include "src/text/tokenizer.h"

#include "src/base/philox.h"
#include "src/io/file.h"
#include "src/text/tokenizer_private.h"
#include "tests/check.h"

#include <stdlib.h>

#define DIR AXL_TEST_DATA "/tokenizers/"

static void parse_fails(const char *json, const char *message)
{
    axl_tokenizer *t = NULL;
    CHECK_FAILS(axl_tokenizer_parse(json, strlen(json), &t), AXL_E_INPUT, message);
    assert_null(t);
}

static void a_malformed_file_is_refused_with_its_place(void **state)
{
    (void)state;
#define BPE(vocab, merges)                                                                         \
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {" vocab "}, \"merges\": [" merges "]}}"
    parse_fails("{", "tokenizer.json: line 1 column");
    parse_fails("[]", "tokenizer.json: must be an object");
    parse_fails("{}", "tokenizer.json: model: missing");
    parse_fails("{\"model\": {}}", "model.type: missing");
    parse_fails("{\"model\": {\"type\": \"Markov\"}}", "\"Markov\" is not known");
    parse_fails("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}", "model.merges: missing");
    parse_fails("{\"model\": {\"type\": \"BPE\", \"merges\": []}}",
                "model.vocab: must be an object");
    parse_fails(BPE("\"a\": 0, \"b\": 1", "\"a b\""),
                "tokenizer.json: model.merges[0]: \"ab\" is not in model.vocab");
    parse_fails(BPE("\"a\": 0, \"aa\": 1", "\"a a\", \"a c\""),
                "model.merges[1]: \"c\" is not in model.vocab");
    parse_fails(BPE("\"a\": 0", "\"a\""), "model.merges[0]: \"a\" must be two tokens");
    parse_fails(BPE("\"a\": 0", "[\"a\"]"), "model.merges[0]: must be \"a b\" or");
    parse_fails(BPE("\"a\": 0, \"b\": 0", ""), "id 0 belongs to \"a\" and to \"b\"");
    parse_fails(BPE("\"a\": -1", ""), "id -1 is not in 0 ..");
    parse_fails(BPE("\"a\": 99999999999", ""), "id 99999999999 is not in");
    parse_fails(BPE("\"a\": \"0\"", ""), "the id must be an integer");
#define PART(part)                                                                                 \
    "{" part ", \"model\": {\"type\": \"WordLevel\", \"vocab\": {\"a\": 0}, \"unk_token\": "       \
    "\"a\"}}"
    parse_fails(PART("\"pre_tokenizer\": {\"type\": \"Digit\"}"), "did you mean Digits");
    parse_fails(
        PART("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, 3]}"),
        "normalizer.normalizers[1]: must be an object with a type");
    parse_fails(PART("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(\"}, "
                     "\"content\": \"\"}"),
                "the regular expression \"(\" is not valid");
    parse_fails(
        PART("\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"/////w==\"}"),
        "is longer than the whole");
    parse_fails(PART("\"added_tokens\": [{\"content\": \"x\", \"id\": 0}]"),
                "added_tokens[0]: \"x\" has id 0, which belongs to \"a\"");
    parse_fails(PART("\"added_tokens\": [{\"content\": \"a\", \"id\": 5}]"),
                "\"a\" has id 5, in model.vocab it has 0");
    parse_fails(PART("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
                     "[{\"SpecialToken\": {\"id\": \"q\"}}]}"),
                "\"q\" is not in special_tokens");
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    axl_tokenizer *t = NULL;
    CHECK_FAILS(axl_tokenizer_load("no/such/dir", &t), AXL_E_INPUT, "no/such/dir/tokenizer.json");
}

static void bad_text_is_refused(void **state)
{
    (void)state;
    axl_tokenizer *t = NULL;
    axl_token_buffer b = {0};
    CHECK_OK(axl_tokenizer_load(DIR "tiny-bpe-gpt2", &t));
    CHECK_FAILS(axl_tokenizer_encode(t, "ab\xff", 3, false, &b), AXL_E_INPUT, "at byte 2");
    axl_token_buffer_fini(&b);
    axl_tokenizer_destroy(t);
}

static void special_tokens_have_names(void **state)
{
    (void)state;
    axl_tokenizer *t = NULL;
    CHECK_OK(axl_tokenizer_load(DIR "tiny-bpe-roberta", &t));
    assert_string_equal(axl_tokenizer_special(t, "bos_token"), "<s>");
    assert_int_equal(axl_tokenizer_special_id(t, "eos_token"), 2);
    assert_null(axl_tokenizer_special(t, "mask_token"));
    assert_int_equal(axl_tokenizer_special_id(t, "mask_token"), -1);
    assert_true(axl_tokenizer_is_special(t, 2));
    assert_false(axl_tokenizer_is_special(t, 100));
    uint64_t before = axl_tokenizer_hash(t);
    CHECK_OK(axl_tokenizer_set_special(t, "pad_token", "<mask>"));
    assert_int_equal(axl_tokenizer_special_id(t, "pad_token"), axl_tokenizer_id(t, "<mask>"));
    assert_true(axl_tokenizer_hash(t) != before);
    CHECK_FAILS(axl_tokenizer_set_special(t, "pad_token", "<nothing>"), AXL_E_CONFIG,
                "special_tokens.pad_token: \"<nothing>\" is not a token");
    axl_tokenizer_destroy(t);
}

static void the_chat_template_comes_from_its_file_or_the_config(void **state)
{
    (void)state;
    static const char json[] = "{\"model\": {\"type\": \"WordLevel\", \"vocab\": {\"a\": 0}}}";
    static const char config[] =
        "{\"chat_template\": [{\"name\": \"tools\", \"template\": \"T\"}, {\"name\": \"default\", "
        "\"template\": \"D\"}], \"eos_token\": {\"content\": \"a\"}, \"model_max_length\": "
        "Infinity}";
    axl_tokenizer *t = NULL;

    CHECK_OK(axl_dir_make("tokenizer_test.tmp"));
    CHECK_OK(axl_file_write("tokenizer_test.tmp/tokenizer.json", json, sizeof json - 1));
    CHECK_OK(axl_file_write("tokenizer_test.tmp/tokenizer_config.json", config, sizeof config - 1));
    CHECK_OK(axl_tokenizer_load("tokenizer_test.tmp", &t));
    assert_string_equal(axl_tokenizer_chat_template(t), "D");
    assert_int_equal(axl_tokenizer_special_id(t, "eos_token"), 0);
    axl_tokenizer_destroy(t);
    CHECK_OK(axl_file_write("tokenizer_test.tmp/chat_template.jinja", "J\n", 2));
    CHECK_OK(axl_tokenizer_load("tokenizer_test.tmp", &t));
    assert_string_equal(axl_tokenizer_chat_template(t), "J\n");
    axl_tokenizer_destroy(t);
    CHECK_OK(axl_path_remove("tokenizer_test.tmp"));
}

// Texts of the characters on which the alternatives of the expressions turn.
static size_t random_text(uint64_t round, char *out, size_t n_max)
{
    static const char *const parts[] = {" ",
                                        "  ",
                                        "\n",
                                        "\r",
                                        "\t",
                                        "'",
                                        "s",
                                        "S",
                                        "t",
                                        "re",
                                        "lL",
                                        "VE",
                                        "m",
                                        "d",
                                        "x",
                                        "7",
                                        "42",
                                        ".",
                                        "_",
                                        "\xc3\xa9",
                                        "\xc5\xbf",
                                        "\xc2\xb2",
                                        "\xe2\x80\xa8",
                                        "\xe4\xb8\xad",
                                        "\xf0\x9f\x98\x80",
                                        "\xcc\x81",
                                        "\xc2\xa0",
                                        "\xe1\xa0\x8e"};
    const size_t n_parts = sizeof parts / sizeof *parts;
    uint32_t bits[4];
    size_t n = 0;

    for (uint64_t i = 0; n + 8 < n_max; i++) {
        axl_philox(1, i, round, bits);
        if (i > 3 && bits[1] % 24 == 0)
            break;
        const char *p = parts[bits[0] % n_parts];
        memcpy(out + n, p, strlen(p));
        n += strlen(p);
    }
    return n;
}

static void scanners_equal_their_expressions(void **state)
{
    (void)state;
    static const char *const regexes[] = {
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    };
    axl_tok_work w = {0};
    uint8_t *classes = malloc(AXL_CLASS_TABLE);
    char text[256];

    assert_non_null(classes);
    axl_uni_fill_classes(classes);
    for (size_t r = 0; r < 3; r++) {
        axl_pattern p = {0};
        axl_scan_fn scan = axl_scan_find(regexes[r], strlen(regexes[r]));
        assert_non_null(scan);
        CHECK_OK(axl_pattern_regex(regexes[r], strlen(regexes[r]), "test", false, &p));
        for (uint64_t round = 0; round < 5000; round++) {
            size_t n = random_text(round, text, sizeof text);
            axl_match_state at = {0};
            for (size_t i = 0; i < n;) {
                axl_span match;
                bool found;
                CHECK_OK(axl_pattern_next(&p, &w, text, n, &at, &match, &found));
                size_t end = scan(classes, text, n, i);
                if (!found || match.begin != i || match.end != end)
                    fail_msg("expression %zu, text \"%.*s\", byte %zu: %u .. %u instead of %zu", r,
                             (int)n, text, i, match.begin, match.end, end);
                i = end;
            }
        }
        axl_pattern_fini(&p);
    }
    axl_tok_work_fini(&w);
    free(classes);
}

// One buffer used for many texts and two tokenizers gives what a fresh one gives.
static void a_used_buffer_gives_what_a_fresh_one_gives(void **state)
{
    (void)state;
    axl_tokenizer *t[2] = {NULL, NULL};
    axl_token_buffer used = {0};
    char text[256];

    CHECK_OK(axl_tokenizer_load(DIR "tiny-bpe-gpt2", &t[0]));
    CHECK_OK(axl_tokenizer_load(DIR "tiny-bpe-roberta", &t[1]));
    for (uint64_t round = 0; round < 600; round++) {
        axl_token_buffer fresh = {.want_offsets = round % 3 == 0};
        size_t n = random_text(round % 200, text, sizeof text);
        used.want_offsets = fresh.want_offsets;
        CHECK_OK(axl_tokenizer_encode(t[round / 50 % 2], text, n, true, &used));
        CHECK_OK(axl_tokenizer_encode(t[round / 50 % 2], text, n, true, &fresh));
        assert_int_equal(used.n, fresh.n);
        for (size_t i = 0; i < used.n; i++) {
            assert_int_equal(used.ids[i], fresh.ids[i]);
            if (fresh.want_offsets)
                assert_true(used.begin[i] == fresh.begin[i] && used.end[i] == fresh.end[i]);
        }
        axl_token_buffer_fini(&fresh);
    }
    axl_token_buffer_fini(&used);
    axl_tokenizer_destroy(t[0]);
    axl_tokenizer_destroy(t[1]);
}

static void offsets_in_bytes_are_those_of_the_characters(void **state)
{
    (void)state;
    axl_tokenizer *t = NULL;
    axl_token_buffer b = {.want_offsets = true};
    char text[256];
    size_t at[257];
    int n_many = 0;

    CHECK_OK(axl_tokenizer_load(DIR "tiny-bpe-gpt2", &t));
    for (uint64_t round = 0; round < 200; round++) {
        axl_token_buffer bytes = {.want_offsets = true};
        size_t n = random_text(round, text, sizeof text), n_cp = 0;
        for (size_t i = 0; i < n; i++)
            if (((unsigned char)text[i] & 0xc0) != 0x80)
                at[n_cp++] = i;
        at[n_cp] = n;
        n_many += n_cp < n;
        CHECK_OK(axl_tokenizer_encode(t, text, n, true, &b));
        CHECK_OK(axl_tokenizer_encode(t, text, n, true, &bytes));
        axl_token_buffer_to_bytes(&bytes, text, n);
        for (size_t i = 0; i < b.n; i++) {
            assert_int_equal(bytes.begin[i], b.begin[i] < 0 ? -1 : (int)at[b.begin[i]]);
            assert_int_equal(bytes.end[i], b.end[i] < 0 ? -1 : (int)at[b.end[i]]);
        }
        axl_token_buffer_fini(&bytes);
    }
    assert_true(n_many > 20); // texts of more bytes than characters
    axl_token_buffer_fini(&b);
    axl_tokenizer_destroy(t);
}

// A file that the quick reader leaves alone (a key stands twice) gives what it gives.
static void the_quick_reader_equals_the_general_one(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "clip", "metaspace", "ignore-merges", "unfused"};
    static const char once[] = "\"type\":\"BPE\"", twice[] = "\"type\":\"BPE\",\"type\":\"BPE\"";
    char text[256];

    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        axl_tokenizer *t[2] = {NULL, NULL};
        axl_token_buffer b[2] = {{0}, {0}};
        axl_str file = {0}, changed = {0};
        char path[512];
        (void)snprintf(path, sizeof path, DIR "tiny-bpe-%s/tokenizer.json", names[k]);
        CHECK_OK(axl_file_read(path, &file));
        const char *at = strstr(file.data, once);
        assert_non_null(at);
        CHECK_OK(axl_str_append(&changed, file.data, (size_t)(at - file.data)));
        CHECK_OK(axl_str_puts(&changed, twice));
        CHECK_OK(axl_str_puts(&changed, at + sizeof once - 1));
        CHECK_OK(axl_tokenizer_parse(file.data, file.len, &t[0]));
        CHECK_OK(axl_tokenizer_parse(changed.data, changed.len, &t[1]));
        assert_int_equal(axl_tokenizer_size(t[0]), axl_tokenizer_size(t[1]));
        for (uint64_t round = 0; round < 100; round++) {
            size_t n = random_text(round, text, sizeof text);
            for (int i = 0; i < 2; i++)
                CHECK_OK(axl_tokenizer_encode(t[i], text, n, true, &b[i]));
            assert_int_equal(b[0].n, b[1].n);
            assert_memory_equal(b[0].ids, b[1].ids, b[0].n * sizeof *b[0].ids);
        }
        for (int i = 0; i < 2; i++) {
            axl_token_buffer_fini(&b[i]);
            axl_tokenizer_destroy(t[i]);
        }
        axl_str_fini(&file);
        axl_str_fini(&changed);
    }
}

// Escapes of a vocabulary's keys and merges mean what they mean in JSON.
static void escapes_in_tokens_are_read(void **state)
{
    (void)state;
    static const char json[] =
        "{ \"model\" : {\"merges\": [ \"\\u0061 \\\"\", [\"\\ud83d\\ude00\", \"a\"] ],\"type\": "
        "\"BPE\",\n"
        "\"vocab\": { \"a\" : 0, \"\\\"\": 1, \"\\u00e9\":2,\"\xf0\x9f\x98\x80\": 3, "
        "\"a\\u0022\": 4, \"\\uD83D\\uDE00a\": 5, \"\\n\": 6, \"\\\\\": 7 } } }";
    axl_tokenizer *t = NULL;
    axl_token_buffer b = {0};
    static const int32_t want[] = {4, 2, 5, 6, 7};

    CHECK_OK(axl_tokenizer_parse(json, sizeof json - 1, &t));
    CHECK_OK(axl_tokenizer_encode(t,
                                  "a\"\xc3\xa9\xf0\x9f\x98\x80"
                                  "a\n\\",
                                  11, false, &b));
    assert_int_equal(b.n, 5);
    assert_memory_equal(b.ids, want, sizeof want);
    axl_token_buffer_fini(&b);
    axl_tokenizer_destroy(t);
}

// Training sets both anew on every call: what the file says is not applied.
static void truncation_and_padding_of_the_file_are_ignored(void **state)
{
    (void)state;
    static const char json[] =
        "{\"truncation\": {\"direction\": \"Right\", \"max_length\": 2, \"strategy\": "
        "\"LongestFirst\", \"stride\": 0}, \"padding\": {\"strategy\": {\"Fixed\": 9}, "
        "\"direction\": \"Right\", \"pad_to_multiple_of\": null, \"pad_id\": 0, \"pad_type_id\": "
        "0, \"pad_token\": \"a\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": "
        "1}, \"merges\": []}}";
    axl_tokenizer *t = NULL;
    axl_token_buffer b = {0};

    CHECK_OK(axl_tokenizer_parse(json, sizeof json - 1, &t));
    CHECK_OK(axl_tokenizer_encode(t, "abba", 4, true, &b));
    assert_int_equal(b.n, 4);
    axl_token_buffer_fini(&b);
    axl_tokenizer_destroy(t);
}

// Merging by walking and merging by heap are two ways to one result.
static void long_words_merge_as_short_ones(void **state)
{
    (void)state;
    static const char json[] =
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"aa\": 2, "
        "\"ab\": 3, \"aab\": 4, \"ba\": 5}, \"merges\": [\"a b\", \"a a\", \"a ab\", \"b a\"]}}";
    axl_tokenizer *t = NULL;
    axl_token_buffer whole = {0}, cut = {0};
    char text[41 * 60];

    CHECK_OK(axl_tokenizer_parse(json, sizeof json - 1, &t));
    // "b" after "b" never merges, so that pieces cut there merge alone.
    for (size_t i = 0; i < 60; i++)
        for (size_t k = 0; k < 41; k++)
            text[i * 41 + k] = k == 0 || k == 40                 ? 'b'
                               : (i * 7 + k * k + i / 3 * k) % 3 ? 'a'
                                                                 : 'b';
    CHECK_OK(axl_tokenizer_encode(t, text, sizeof text, false, &whole));
    for (size_t i = 0, at = 0; i < 60; i++) {
        CHECK_OK(axl_tokenizer_encode(t, text + i * 41, 41, false, &cut));
        for (size_t k = 0; k < cut.n; k++)
            assert_int_equal(whole.ids[at++], cut.ids[k]);
        if (i == 59)
            assert_int_equal(at, whole.n);
    }
    axl_token_buffer_fini(&whole);
    axl_token_buffer_fini(&cut);
    axl_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_malformed_file_is_refused_with_its_place),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(special_tokens_have_names),
        cmocka_unit_test(the_chat_template_comes_from_its_file_or_the_config),
        cmocka_unit_test(scanners_equal_their_expressions),
        cmocka_unit_test(a_used_buffer_gives_what_a_fresh_one_gives),
        cmocka_unit_test(the_quick_reader_equals_the_general_one),
        cmocka_unit_test(escapes_in_tokens_are_read),
        cmocka_unit_test(truncation_and_padding_of_the_file_are_ignored),
        cmocka_unit_test(offsets_in_bytes_are_those_of_the_characters),
        cmocka_unit_test(long_words_merge_as_short_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
