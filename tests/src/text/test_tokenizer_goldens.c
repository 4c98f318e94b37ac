// RUN: np=1
// Tokenizers against the reference: ids, offsets and both decodings of every recorded text.
//
// tests/data/tokenizers holds tiny tokenizers that use every part of tokenizer.json once. Large real
// ones are not committed: AXL_TEST_TOKENIZERS (or build/tokenizers) names a directory of the same
// form, made by tests/goldens/make_tokenizer_goldens.py; without it they are skipped.
#include "src/io/file.h"
#include "src/io/json.h"
#include "src/text/tokenizer.h"
#include "tests/check.h"

#include <stdlib.h>

typedef struct context {
    const char *dir;
    char name[64]; // of the loaded tokenizer
    axl_tokenizer *t;
    axl_token_buffer plain, special;
    int n_records, n_wrong, n_tokenizers;
    axl_json *texts; // by id
} context;

static void complain(context *c, const axl_json *record, const char *what, const char *detail)
{
    if (c->n_wrong++ < 20)
        print_error("%s record %lld: %s %s\n", c->name,
                    (long long)axl_json_int(axl_json_get(record, "id"), -1), what, detail);
}

static bool same_ids(const axl_json *want, const int32_t *ids, size_t n)
{
    if (axl_json_count(want) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (axl_json_int(axl_json_at(want, i), -1) != ids[i])
            return false;
    return true;
}

static bool same_offsets(const axl_json *want, const axl_token_buffer *b)
{
    if (axl_json_count(want) != 2 * b->n)
        return false;
    for (size_t i = 0; i < 2 * b->n; i++)
        if (axl_json_int(axl_json_at(want, i), -1) != (i % 2 ? b->end : b->begin)[i / 2])
            return false;
    return true;
}

// The value of the first of the keys that the record has, else its text.
static const axl_json *first_of(const context *c, const axl_json *record, const char *key,
                                const char *second)
{
    const axl_json *v = axl_json_get(record, key);

    if (v == NULL)
        v = axl_json_get(record, second);
    if (v == NULL)
        v = axl_json_get(record, "text");
    if (v == NULL)
        v = axl_json_at(c->texts, (size_t)axl_json_int(axl_json_get(record, "id"), 0));
    return v;
}

static void check_decoding(context *c, const axl_json *record, const char *key, bool skip)
{
    const axl_json *want = first_of(c, record, key, "decoded");
    axl_str text = {0};

    CHECK_OK(axl_tokenizer_decode(c->t, c->special.ids, c->special.n, skip, &text));
    if (axl_json_string_length(want) != text.len ||
        memcmp(axl_json_string(want, ""), text.len > 0 ? text.data : "", text.len) != 0)
        complain(c, record, key, text.len > 0 ? text.data : "");
    axl_str_fini(&text);
}

static void check_record(context *c, const axl_json *record)
{
    const axl_json *text = first_of(c, record, "text", "text");
    const char *s = axl_json_string(text, "");
    size_t n = axl_json_string_length(text);

    c->n_records++;
    c->plain.want_offsets = true;
    CHECK_OK(axl_tokenizer_encode(c->t, s, n, false, &c->plain));
    if (!same_ids(axl_json_get(record, "ids"), c->plain.ids, c->plain.n))
        complain(c, record, "ids", s);
    else if (!same_offsets(axl_json_get(record, "offsets"), &c->plain))
        complain(c, record, "offsets", s);
    CHECK_OK(axl_tokenizer_encode(c->t, s, n, true, &c->special));
    if (!same_ids(first_of(c, record, "ids_special", "ids"), c->special.ids, c->special.n))
        complain(c, record, "ids_special", s);
    check_decoding(c, record, "decoded", false);
    check_decoding(c, record, "decoded_skip_special", true);
}

// Loads the tokenizer of the record when it is not the one at hand. Records are grouped by it.
static void take_tokenizer(context *c, const char *name)
{
    char path[512];

    if (strcmp(c->name, name) == 0)
        return;
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    (void)snprintf(path, sizeof path, "%s/%s", c->dir, name);
    axl_tokenizer_destroy(c->t);
    c->t = NULL;
    CHECK_OK(axl_tokenizer_load(path, &c->t));
    c->n_tokenizers++;
}

static void check_directory(const char *dir)
{
    context c = {.dir = dir};
    axl_str all = {0};
    char path[512];

    CHECK_OK(axl_json_read(AXL_TEST_DATA "/tokenizers/texts.json", &c.texts));
    (void)snprintf(path, sizeof path, "%s/tokenizer_goldens.jsonl", dir);
    CHECK_OK(axl_file_read(path, &all));
    for (char *line = all.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        axl_json *record = NULL;
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), path, &record));
        take_tokenizer(&c, axl_json_string(axl_json_get(record, "tokenizer"), ""));
        check_record(&c, record);
        axl_json_free(record);
    }
    print_message("%d records of %d tokenizers\n", c.n_records, c.n_tokenizers);
    assert_true(c.n_records > 0);
    assert_int_equal(c.n_wrong, 0);
    axl_tokenizer_destroy(c.t);
    axl_token_buffer_fini(&c.plain);
    axl_token_buffer_fini(&c.special);
    axl_json_free(c.texts);
    axl_str_fini(&all);
}

static void committed_tokenizers_equal_the_reference(void **state)
{
    (void)state;
    check_directory(AXL_TEST_DATA "/tokenizers");
}

static void real_tokenizers_equal_the_reference(void **state)
{
    (void)state;
    const char *dir = getenv("AXL_TEST_TOKENIZERS");
    if (dir == NULL)
        dir = AXL_SOURCE_DIR "/build/tokenizers";
    if (!axl_path_is_dir(dir)) {
        print_message("skipped: %s is missing; see tests/goldens/make_tokenizer_goldens.py\n", dir);
        skip();
    }
    check_directory(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_tokenizers_equal_the_reference),
        cmocka_unit_test(real_tokenizers_equal_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
