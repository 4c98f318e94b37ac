// RUN: np=1
// Changed vocabularies against transformers: length, ids and encodings; and that what is saved loads the same.
//
// tests/data/tokenizers/vocabulary.jsonl is made by tests/goldens/make_vocabulary.py. AXL_TEST_VOCABULARY names a
// further file of that form, of the tokenizers below AXL_TEST_TOKENIZERS.
#include "src/io/file.h"
#include "src/io/json.h"
#include "src/text/tok_extend.h"
#include "tests/check.h"

#include <stdlib.h>

#define DIR     AXL_TEST_DATA "/tokenizers/"
#define SCRATCH "tok_extend_test.tmp"
#define MOST    16

typedef struct asked {
    axl_tok_change change;
    const char *tokens[MOST], *additional[MOST];
    axl_tok_override overrides[MOST];
} asked;

static void read_change(axl_json *record, asked *a)
{
    axl_json *special = axl_json_get(record, "special_tokens"), *v;
    const axl_json *more = axl_json_get(special, "additional_special_tokens");
    const axl_json *tokens = axl_json_get(record, "tokens");
    void *it = NULL;
    const char *key;

    *a = (asked){.change = {.tokens = a->tokens,
                            .additional = a->additional,
                            .overrides = a->overrides,
                            .load = {.legacy = -1},
                            .quiet = true}};
    a->change.bos = axl_json_string(axl_json_get(special, "bos_token"), NULL);
    a->change.eos = axl_json_string(axl_json_get(special, "eos_token"), NULL);
    a->change.pad = axl_json_string(axl_json_get(special, "pad_token"), NULL);
    a->change.unk = axl_json_string(axl_json_get(special, "unk_token"), NULL);
    for (size_t i = 0; i < axl_json_count(more); i++)
        a->additional[a->change.n_additional++] = axl_json_string(axl_json_at(more, i), "");
    for (size_t i = 0; i < axl_json_count(tokens); i++)
        a->tokens[a->change.n_tokens++] = axl_json_string(axl_json_at(tokens, i), "");
    while (axl_json_next(axl_json_get(record, "overrides"), &it, &key, &v))
        a->overrides[a->change.n_overrides++] =
            (axl_tok_override){strtoll(key, NULL, 10), axl_json_string(v, "")};
}

// Compares a tokenizer with a record; returns the number of differences.
static int differences(axl_json *record, const axl_tokenizer *t, const char *which)
{
    const axl_json *texts = axl_json_get(record, "texts");
    axl_json *named = axl_json_get(record, "named"), *v;
    axl_token_buffer b = {0};
    void *it = NULL;
    const char *key, *name = axl_json_string(axl_json_get(record, "tokenizer"), "");
    const int number = (int)axl_json_int(axl_json_get(record, "case"), -1);
    int wrong = 0;

    if (axl_tokenizer_size(t) != axl_json_int(axl_json_get(record, "length"), -1)) {
        print_error("%s case %d, %s: %lld tokens\n", name, number, which,
                    (long long)axl_tokenizer_size(t));
        wrong++;
    }
    while (axl_json_next(named, &it, &key, &v)) {
        const char *text = axl_tokenizer_special(t, key);
        if (text == NULL || strcmp(text, axl_json_string(axl_json_at(v, 0), "")) != 0 ||
            axl_tokenizer_special_id(t, key) != axl_json_int(axl_json_at(v, 1), -1)) {
            print_error("%s case %d, %s: %s is %s\n", name, number, which, key,
                        text != NULL ? text : "absent");
            wrong++;
        }
    }
    for (size_t i = 0; i < axl_json_count(texts); i++) {
        const axl_json *text = axl_json_at(axl_json_at(texts, i), 0);
        const axl_json *ids = axl_json_at(axl_json_at(texts, i), 1);
        CHECK_OK(axl_tokenizer_encode(t, axl_json_string(text, ""), axl_json_string_length(text),
                                      true, &b));
        bool same = b.n == axl_json_count(ids);
        for (size_t k = 0; same && k < b.n; k++)
            same = b.ids[k] == axl_json_int(axl_json_at(ids, k), -1);
        if (!same) {
            print_error("%s case %d, %s: text %zu\n", name, number, which, i);
            wrong++;
        }
    }
    axl_token_buffer_fini(&b);
    return wrong;
}

static void write_file(const char *name, const char *bytes, size_t n)
{
    axl_str path = {0};

    CHECK_OK(axl_str_printf(&path, SCRATCH "/%s", name));
    CHECK_OK(axl_file_write(path.data, bytes, n));
    axl_str_fini(&path);
}

// A directory with the files of dir, those of the list in their place.
static void save(const char *dir, const axl_tok_files *files)
{
    static const char *const names[] = {"tokenizer.json",        "tokenizer.model",
                                        "tokenizer_config.json", "special_tokens_map.json",
                                        "added_tokens.json",     "chat_template.jinja"};

    (void)axl_path_remove(SCRATCH);
    CHECK_OK(axl_dir_make(SCRATCH));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const axl_tok_file *f = axl_tok_files_find(files, names[i]);
        axl_str path = {0}, text = {0};
        CHECK_OK(axl_str_printf(&path, "%s/%s", dir, names[i]));
        if (f != NULL && !f->absent)
            write_file(names[i], f->text.data, f->text.len);
        else if (f == NULL && axl_path_exists(path.data)) {
            CHECK_OK(axl_file_read(path.data, &text));
            write_file(names[i], text.data, text.len);
        }
        axl_str_fini(&path);
        axl_str_fini(&text);
    }
}

// again: also as it is saved and loaded, which waits for the disk.
static int check_record(const char *root, axl_json *record, bool again)
{
    axl_str dir = {0};
    asked a;
    axl_tok_files files = {0};
    axl_tokenizer *t = NULL;
    int wrong;

    CHECK_OK(axl_str_printf(&dir, "%s/%s", root,
                            axl_json_string(axl_json_get(record, "tokenizer"), "")));
    read_change(record, &a);
    CHECK_OK(axl_tokenizer_load_changed(dir.data, &a.change, &files, &t));
    wrong = differences(record, t, "made");
    axl_tokenizer_destroy(t);
    if (again) {
        save(dir.data, &files);
        CHECK_OK(axl_tokenizer_load(SCRATCH, &t));
        wrong += differences(record, t, "saved");
        axl_tokenizer_destroy(t);
    }
    axl_tok_files_fini(&files);
    axl_str_fini(&dir);
    return wrong;
}

static int check_file(const char *root, const char *path)
{
    axl_str text = {0};
    int wrong = 0, n = 0;

    CHECK_OK(axl_file_read(path, &text));
    for (char *line = text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, n++) {
        axl_json *record = NULL;
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), path, &record));
        wrong += check_record(root, record, n % 5 == 0);
        axl_json_free(record);
    }
    axl_str_fini(&text);
    return wrong;
}

static void changed_vocabularies_equal_the_reference(void **state)
{
    (void)state;
    const char *more = getenv("AXL_TEST_VOCABULARY"), *root = getenv("AXL_TEST_TOKENIZERS");

    assert_int_equal(check_file(DIR, DIR "vocabulary.jsonl"), 0);
    assert_int_equal(check_file(AXL_TEST_DATA "/spm", AXL_TEST_DATA "/spm/vocabulary.jsonl"), 0);
    if (more != NULL && root != NULL)
        assert_int_equal(check_file(root, more), 0);
}

static axl_tokenizer *changed(const char *dir, const axl_tok_change *change, axl_tok_files *files)
{
    axl_tokenizer *t = NULL;

    axl_tok_files_fini(files);
    CHECK_OK(axl_tokenizer_load_changed(dir, change, files, &t));
    return t;
}

static void nothing_asked_changes_no_file(void **state)
{
    (void)state;
    const axl_tok_change none = {.load = {.legacy = -1}, .quiet = true};
    axl_tok_files files = {0};
    axl_tokenizer *plain = NULL, *t = changed(DIR "tiny-unigram-spm", &none, &files);

    assert_int_equal(files.n, 0);
    CHECK_OK(axl_tokenizer_load(DIR "tiny-unigram-spm", &plain));
    assert_true(axl_tokenizer_hash(t) == axl_tokenizer_hash(plain));
    axl_tokenizer_destroy(plain);
    axl_tokenizer_destroy(t);
    axl_tok_files_fini(&files);
}

// A directory of the tiny GPT-2 tokenizer with other neighbours.
static void make_scratch(const char *config, const char *map)
{
    axl_str text = {0};

    (void)axl_path_remove(SCRATCH);
    CHECK_OK(axl_dir_make(SCRATCH));
    CHECK_OK(axl_file_read(DIR "tiny-bpe-gpt2/tokenizer.json", &text));
    write_file("tokenizer.json", text.data, text.len);
    write_file("tokenizer_config.json", config, strlen(config));
    if (map != NULL)
        write_file("special_tokens_map.json", map, strlen(map));
    axl_str_fini(&text);
}

static void all_files_that_name_a_token_follow(void **state)
{
    (void)state;
    const char *const additional[] = {"<a>"};
    const axl_tok_override over = {0, "<start>"};
    const axl_tok_change c = {.load = {.legacy = -1},
                              .eos = "<|stop|>",
                              .additional = additional,
                              .n_additional = 1,
                              .overrides = &over,
                              .n_overrides = 1};
    axl_tok_files files = {0};

    make_scratch(
        "{\"bos_token\": \"<|end|>\", \"eos_token\": {\"content\": \"<|end|>\"}, "
        "\"added_tokens_decoder\": {\"0\": {\"content\": \"<|end|>\"}}, \"model_max_length\": "
        "1000000000000000019884624838656}",
        "{\"eos_token\": \"<|end|>\"}");
    axl_tokenizer *t = changed(SCRATCH, &c, &files);
    assert_string_equal(axl_tokenizer_special(t, "bos_token"), "<start>");
    assert_int_equal(axl_tokenizer_special_id(t, "bos_token"), 0);
    assert_string_equal(
        axl_tok_files_find(&files, "tokenizer_config.json")->text.data,
        "{\"bos_token\": \"<start>\", \"eos_token\": \"<|stop|>\", \"added_tokens_decoder\": "
        "{\"0\": "
        "{\"content\": \"<start>\", \"lstrip\": false, \"normalized\": false, \"rstrip\": false, "
        "\"single_word\": false, \"special\": true},\"600\": {\"content\": \"<|stop|>\", "
        "\"lstrip\": "
        "false, \"normalized\": false, \"rstrip\": false, \"single_word\": false, \"special\": "
        "true},\"601\": {\"content\": \"<a>\", \"lstrip\": false, \"normalized\": false, "
        "\"rstrip\": "
        "false, \"single_word\": false, \"special\": true}}, \"model_max_length\": "
        "1000000000000000019884624838656,\"additional_special_tokens\": [\"<a>\"],\"pad_token\": "
        "\"<|stop|>\"}");
    assert_string_equal(axl_tok_files_find(&files, "special_tokens_map.json")->text.data,
                        "{\"eos_token\": \"<|stop|>\",\"bos_token\": \"<start>\","
                        "\"additional_special_tokens\": [\"<a>\"],\"pad_token\": \"<|stop|>\"}");
    axl_tokenizer_destroy(t);
    axl_tok_files_fini(&files);
}

static void pad_tokens_follow_the_class(void **state)
{
    (void)state;
    const axl_tok_change none = {.load = {.legacy = -1}, .quiet = true},
                         closed = {.eos = "</s>", .load = {.legacy = -1}, .quiet = true};
    static const char llama[] =
        "{\"tokenizer_class\": \"LlamaTokenizer\", \"eos_token\": \"<|end|>\"}";
    axl_tok_files files = {0};

    make_scratch("{\"tokenizer_class\": \"GPTNeoXTokenizerFast\", \"pad_token\": \"<|end|>\"}",
                 NULL);
    axl_tokenizer *t = changed(SCRATCH, &none, &files);
    assert_string_equal(axl_tokenizer_special(t, "pad_token"), "[PAD]");
    assert_int_equal(axl_tokenizer_special_id(t, "pad_token"), 600);
    axl_tokenizer_destroy(t);
    make_scratch("{\"eos_token\": \"<|end|>\"}", NULL);
    t = changed(SCRATCH, &none, &files);
    assert_string_equal(axl_tokenizer_special(t, "pad_token"), "<|end|>");
    axl_tokenizer_destroy(t);
    t = changed(SCRATCH, &closed, &files);
    save(SCRATCH, &files);
    axl_tokenizer_destroy(t);
    write_file("tokenizer_config.json", llama, sizeof llama - 1);
    t = changed(SCRATCH, &none, &files);
    assert_string_equal(axl_tokenizer_special(t, "pad_token"), "</s>");
    axl_tokenizer_destroy(t);
    axl_tok_files_fini(&files);
}

static void a_template_stands_where_it_is_asked_for(void **state)
{
    (void)state;
    const axl_tok_change file = {.load = {.legacy = -1}, .chat_template = "{{ 'a' }}\n"};
    const axl_tok_change config = {
        .load = {.legacy = -1}, .chat_template = "{{ 'a' }}\n", .template_in_config = true};
    const axl_tok_change move = {.load = {.legacy = -1}, .move_template = true};
    axl_tok_files files = {0};

    make_scratch("{\"pad_token\": \"<|end|>\", \"chat_template\": \"own\"}", NULL);
    axl_tokenizer *t = changed(SCRATCH, &file, &files);
    assert_string_equal(axl_tokenizer_chat_template(t), "{{ 'a' }}\n");
    assert_string_equal(axl_tok_files_find(&files, "chat_template.jinja")->text.data,
                        "{{ 'a' }}\n");
    assert_string_equal(axl_tok_files_find(&files, "tokenizer_config.json")->text.data,
                        "{\"pad_token\": \"<|end|>\"}");
    axl_tokenizer_destroy(t);
    t = changed(SCRATCH, &config, &files);
    assert_true(axl_tok_files_find(&files, "chat_template.jinja")->absent);
    assert_string_equal(axl_tok_files_find(&files, "tokenizer_config.json")->text.data,
                        "{\"pad_token\": \"<|end|>\", \"chat_template\": \"{{ 'a' }}\\n\"}");
    axl_tokenizer_destroy(t);
    t = changed(SCRATCH, &move, &files);
    assert_string_equal(axl_tok_files_find(&files, "chat_template.jinja")->text.data, "own");
    axl_tokenizer_destroy(t);
    axl_tok_files_fini(&files);
}

static void impossible_changes_are_refused(void **state)
{
    (void)state;
    const char *const empty[] = {""};
    axl_tok_override over = {3, "<x>"};
    const axl_tok_change one = {.load = {.legacy = -1}, .overrides = &over, .n_overrides = 1};
    const axl_tok_change nothing = {.load = {.legacy = -1}, .tokens = empty, .n_tokens = 1};
    axl_tok_files files = {0};
    axl_tokenizer *t = NULL;

    CHECK_FAILS(axl_tokenizer_load_changed(DIR "tiny-bpe-gpt2", &one, &files, &t), AXL_E_CONFIG,
                "added_tokens_overrides: 3 is not the id of an added token");
    over = (axl_tok_override){70000, "<x>"};
    CHECK_FAILS(axl_tokenizer_load_changed(DIR "tiny-bpe-gpt2", &one, &files, &t), AXL_E_CONFIG,
                "added_tokens_overrides: 70000 is not the id of an added token");
    over = (axl_tok_override){0, "e"};
    CHECK_FAILS(axl_tokenizer_load_changed(DIR "tiny-bpe-gpt2", &one, &files, &t), AXL_E_CONFIG,
                "added_tokens_overrides: 0: \"e\" is a token already");
    CHECK_FAILS(axl_tokenizer_load_changed(DIR "tiny-bpe-gpt2", &nothing, &files, &t), AXL_E_CONFIG,
                "tokens: a token cannot be empty");
    axl_tok_files_fini(&files);
}

static int remove_scratch(void **state)
{
    (void)state;
    (void)axl_path_remove(SCRATCH);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changed_vocabularies_equal_the_reference),
        cmocka_unit_test(nothing_asked_changes_no_file),
        cmocka_unit_test(all_files_that_name_a_token_follow),
        cmocka_unit_test(pad_tokens_follow_the_class),
        cmocka_unit_test(a_template_stands_where_it_is_asked_for),
        cmocka_unit_test(impossible_changes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, remove_scratch);
}
