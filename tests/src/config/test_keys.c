// RUN: np=1
// Every key of every block, from the table itself: its default parses and is no fault, a good value is taken or
// reported as the table says, a wrong type is refused at its place. Then the files made from the table.
#include "src/config/key.h"
#include "src/config/parse.h"
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

#include <stdlib.h>

#define MAX_BLOCKS 64

typedef struct blocks {
    const axl_block *list[MAX_BLOCKS];
    size_t n;
} blocks;

static void collect(const axl_block *block, blocks *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->list[i] == block)
            return;
    assert_true(b->n < MAX_BLOCKS);
    b->list[b->n++] = block;
    for (size_t i = 0; i < block->n_keys; i++)
        if (block->keys[i].child != NULL)
            collect(block->keys[i].child, b);
}

// Reads one line `key: value` as a block; returns what was found about it.
static axl_diagnostics read_line(const axl_block *block, const char *line, uint8_t *mark,
                                 const axl_key *key)
{
    axl_diagnostics d = {0};
    axl_yaml *y = NULL, *scratch = NULL;
    void *base = calloc(1, block->size);

    CHECK_OK(axl_yaml_parse(line, strlen(line), "k.yaml", &d, &y));
    CHECK_OK(axl_yaml_new("default", &scratch));
    axl_config_reader r = {.scratch = scratch, .diagnostics = &d};
    CHECK_OK(axl_config_read_block(&r, block, base, axl_yaml_root(y), "", false));
    axl_config_reader_end(&r);
    if (mark != NULL)
        *mark = ((const uint8_t *)base)[key->mark_offset];
    free(base);
    axl_yaml_destroy(y);
    axl_yaml_destroy(scratch);
    return d;
}

// A value of the type that differs from the default.
static void good_value(const axl_key *key, char *out, size_t n)
{
    static const char *const values[] = {
        [AXL_T_BOOL] = "true",          [AXL_T_STR] = "some text",
        [AXL_T_BOOL_OR_STR] = "pissa",  [AXL_T_STR_LIST] = "[p]",
        [AXL_T_STR_OR_LIST] = "p",      [AXL_T_INT_LIST] = "[3, 4]",
        [AXL_T_INT_OR_LIST] = "3",      [AXL_T_REAL_LIST] = "[0.5]",
        [AXL_T_MAP] = "{p: 1}",         [AXL_T_LIST] = "[[1, 2]]",
        [AXL_T_ANY] = "word",           [AXL_T_BLOCK] = "{}",
        [AXL_T_BLOCK_OR_BOOL] = "true", [AXL_T_BLOCK_OR_STR] = "word",
        [AXL_T_BLOCK_LIST] = "[{}]",    [AXL_T_BLOCK_OR_LIST] = "{}",
    };
    axl_interval i = axl_interval_parse(key->range);

    if (key->type == AXL_T_BOOL && strcmp(key->otherwise, "true") == 0) {
        (void)snprintf(out, n, "false");
    } else if (key->type == AXL_T_INT) {
        long long low = i.low > -1e9 ? (long long)i.low + 1 : 7;
        low += low == strtoll(key->otherwise, NULL, 10);
        (void)snprintf(out, n, "%lld", (double)low <= i.high ? low : (long long)i.high);
    } else if (key->type == AXL_T_REAL) {
        double high = i.high < 1e9 ? i.high : i.low > -1e9 ? i.low + 8 : 8;
        double low = i.low > -1e9 ? i.low : high - 1;
        (void)snprintf(out, n, "%.6f", low + (high - low) * 0.37);
    } else if (key->type == AXL_T_CHOICE) {
        size_t skip = key->range[0] == ';';
        size_t k = strcspn(key->range + skip, "|;");
        (void)snprintf(out, n, "\"%.*s\"", (int)k, key->range + skip);
    } else {
        (void)snprintf(out, n, "%s", values[key->type]);
    }
}

static const char *bad_value(const axl_key *key)
{
    switch (key->type) {
    case AXL_T_STR:
        return "123";
    case AXL_T_CHOICE:
        return "no_such_word";
    case AXL_T_MAP:
    case AXL_T_LIST:
    case AXL_T_STR_LIST:
    case AXL_T_BLOCK:
    case AXL_T_BLOCK_LIST:
    case AXL_T_BLOCK_OR_LIST:
        return "5";
    case AXL_T_STR_OR_LIST:
    case AXL_T_BLOCK_OR_STR:
        return "1.5";
    case AXL_T_BLOCK_OR_BOOL:
        return "word";
    case AXL_T_ANY:
        return NULL;
    default:
        return "{a: 1}";
    }
}

static void check_default(const axl_block *block, const axl_key *key)
{
    char line[256];

    if (key->otherwise[0] == '\0')
        return;
    bool quote = key->type == AXL_T_STR;
    if (quote && strchr(key->otherwise, '\n') != NULL)
        return;
    (void)snprintf(line, sizeof line, quote ? "%s: \"%s\"\n" : "%s: %s\n", key->name,
                   key->otherwise);
    axl_diagnostics d = read_line(block, line, NULL, key);
    if (d.n > 0)
        fail_msg("%s.%s: the default is reported: %s", block->name, line, d.items[0].text);
    axl_diagnostics_fini(&d);
}

static void check_good(const axl_block *block, const axl_key *key)
{
    static const char *const expected[] = {"", "has no effect here", "not accepted",
                                           "not supported by this version"};
    char line[256], value[128];
    uint8_t mark = AXL_SET_DEFAULT;
    // An empty nested block changes nothing, so nothing is said about it.
    bool silent = key->support == AXL_SUPPORT_WORKS || key->type == AXL_T_BLOCK ||
                  key->type == AXL_T_BLOCK_OR_LIST;

    good_value(key, value, sizeof value);
    (void)snprintf(line, sizeof line, "%s: %s\n", key->name, value);
    axl_diagnostics d = read_line(block, line, &mark, key);
    bool same = key->type == AXL_T_CHOICE && value[0] == '"' &&
                strncmp(value + 1, key->otherwise, strlen(value) - 2) == 0;
    same = same || strcmp(value, "\"false\"") == 0;
    if (mark != AXL_SET_FILE)
        fail_msg("%s.%s is not marked as given", block->name, line);
    if (!silent && !same && (d.n != 1 || strstr(d.items[0].text, expected[key->support]) == NULL))
        fail_msg("%s.%s: %zu findings, %s", block->name, line, d.n,
                 d.n > 0 ? d.items[0].text : "nothing");
    if (silent && d.n > 0)
        fail_msg("%s.%s is reported: %s", block->name, line, d.items[0].text);
    axl_diagnostics_fini(&d);
}

static void check_bad(const axl_block *block, const axl_key *key)
{
    char line[256];
    const char *value = bad_value(key);

    if (value == NULL)
        return;
    (void)snprintf(line, sizeof line, "%s: %s\n", key->name, value);
    axl_diagnostics d = read_line(block, line, NULL, key);
    if (d.n_errors == 0)
        fail_msg("%s.%s is taken", block->name, line);
    if (d.items[0].line != 1 || d.items[0].column != (int)strlen(key->name) + 3)
        fail_msg("%s.%s is reported at %d:%d", block->name, line, (int)d.items[0].line,
                 (int)d.items[0].column);
    axl_diagnostics_fini(&d);
}

static void every_key_parses_and_refuses(void **state)
{
    blocks b = {0};
    size_t n_keys = 0;
    (void)state;

    collect(&axl_top_block, &b);
    for (size_t i = 0; i < b.n; i++) {
        for (size_t k = 0; k < b.list[i]->n_keys; k++) {
            const axl_key *key = &b.list[i]->keys[k];
            check_default(b.list[i], key);
            check_good(b.list[i], key);
            check_bad(b.list[i], key);
            n_keys++;
        }
    }
    assert_true(n_keys > 600);
}

static void numbers_out_of_range_are_refused(void **state)
{
    blocks b = {0};
    (void)state;

    collect(&axl_top_block, &b);
    for (size_t i = 0; i < b.n; i++) {
        for (size_t k = 0; k < b.list[i]->n_keys; k++) {
            const axl_key *key = &b.list[i]->keys[k];
            axl_interval range = axl_interval_parse(key->range);
            char line[256];
            if ((key->type != AXL_T_INT && key->type != AXL_T_REAL) || !(range.low > -1e9))
                continue;
            const double under = range.low - (axl_key_zero_is_none(key) ? 2 : 1);
            (void)snprintf(line, sizeof line, "%s: %.6f\n", key->name, under);
            axl_diagnostics d = read_line(b.list[i], line, NULL, key);
            if (d.n_errors == 0 || strstr(d.items[0].text, "too small") == NULL)
                fail_msg("%s.%s is taken", b.list[i]->name, line);
            axl_diagnostics_fini(&d);
        }
    }
}

static void numbers_above_range_are_refused(void **state)
{
    blocks b = {0};
    size_t n = 0;
    (void)state;

    collect(&axl_top_block, &b);
    for (size_t i = 0; i < b.n; i++) {
        for (size_t k = 0; k < b.list[i]->n_keys; k++) {
            const axl_key *key = &b.list[i]->keys[k];
            axl_interval range = axl_interval_parse(key->range);
            char line[256];
            if ((key->type != AXL_T_INT && key->type != AXL_T_REAL) || !(range.high < 1e15))
                continue;
            (void)snprintf(line, sizeof line, "%s: %.6f\n", key->name, range.high + 1);
            axl_diagnostics d = read_line(b.list[i], line, NULL, key);
            if (d.n_errors == 0 || strstr(d.items[0].text, "too large") == NULL)
                fail_msg("%s.%s is taken", b.list[i]->name, line);
            axl_diagnostics_fini(&d);
            n++;
        }
    }
    assert_true(n > 30);
}

// A word is taken, or it stands behind the semicolon and is refused as understood.
static void check_word(const axl_block *block, const axl_key *key, const char *word, size_t n)
{
    char line[256], text[128];
    bool supported = true;

    (void)snprintf(text, sizeof text, "%.*s", (int)n, word);
    assert_true(axl_choice_find(key->range, text, &supported));
    (void)snprintf(line, sizeof line, "%s: \"%s\"\n", key->name, text);
    axl_diagnostics d = read_line(block, line, NULL, key);
    const char *said = d.n > 0 ? d.items[0].text : "";
    if (strstr(said, "none of its values") != NULL)
        fail_msg("%s.%s is not among its words", block->name, line);
    if (key->support == AXL_SUPPORT_WORKS && supported && d.n_errors > 0)
        fail_msg("%s.%s: %s", block->name, line, said);
    if (key->support == AXL_SUPPORT_WORKS && !supported &&
        strstr(said, "is understood, but this version does not support it") == NULL)
        fail_msg("%s.%s is taken", block->name, line);
    axl_diagnostics_fini(&d);
}

static void every_word_of_a_choice_is_known(void **state)
{
    blocks b = {0};
    (void)state;

    collect(&axl_top_block, &b);
    for (size_t i = 0; i < b.n; i++) {
        for (size_t k = 0; k < b.list[i]->n_keys; k++) {
            const axl_key *key = &b.list[i]->keys[k];
            for (const char *p = key->range; key->type == AXL_T_CHOICE && *p != '\0';) {
                size_t n = strcspn(p, "|;");
                if (n > 0)
                    check_word(b.list[i], key, p, n);
                p += n;
                p += *p != '\0';
            }
        }
    }
}

// A letter too many: the name is found again, at the place of the key.
static void every_typo_gets_the_nearest_name(void **state)
{
    blocks b = {0};
    (void)state;

    collect(&axl_top_block, &b);
    for (size_t i = 0; i < b.n; i++) {
        for (size_t k = 0; k < b.list[i]->n_keys; k++) {
            const char *name = b.list[i]->keys[k].name;
            char line[256], expected[256];
            int half = (int)strlen(name) / 2;
            (void)snprintf(line, sizeof line, "  %.*sq%s: 1\n", half, name, name + half);
            (void)snprintf(expected, sizeof expected, "unknown key; did you mean %s?", name);
            axl_diagnostics d = read_line(b.list[i], line, NULL, NULL);
            if (d.n_errors != 1 || strcmp(d.items[0].text, expected) != 0)
                fail_msg("%s.%s: %s", b.list[i]->name, line, d.n > 0 ? d.items[0].text : "taken");
            assert_string_equal(d.items[0].file, "k.yaml");
            assert_int_equal(d.items[0].line, 1);
            assert_int_equal(d.items[0].column, 3);
            axl_diagnostics_fini(&d);
        }
    }
}

static void every_limit_has_a_reason(void **state)
{
    blocks b = {0};
    (void)state;

    collect(&axl_top_block, &b);
    for (size_t i = 0; i < b.n; i++)
        for (size_t k = 0; k < b.list[i]->n_keys; k++)
            if ((b.list[i]->keys[k].support != AXL_SUPPORT_WORKS) !=
                (b.list[i]->keys[k].reason[0] != '\0'))
                fail_msg("%s.%s: no reason", b.list[i]->name, b.list[i]->keys[k].name);
}

static const char rich[] =
    "base_model: m\nlearning_rate: 1e-4\nmicro_batch_size: \"2\"\ngradient_accumulation_steps: 4\n"
    "datasets:\n  - path: a.jsonl\n    type: chat_template\n    roles: {assistant: [gpt, model]}\n"
    "    roles_to_train: [assistant, tool]\n    message_property_mappings: {role: from}\n"
    "  - path: b.jsonl\n    type: {field_output: out, format: '{instruction}'}\n"
    "eot_tokens: ['<|x|>']\nchat_template_kwargs: {a: [1, 2.5, ~], b: \"no\"}\n"
    "selective_checkpointing: true\ngradient_checkpointing: true\nbf16: false\nfsdp_version: 2\n"
    "fsdp_config: {reshard_after_forward: false}\nsave_strategy: \"no\"\nwarmup_ratio: 0.1\n"
    "special_tokens: {pad_token: '<pad>'}\nval_set_size: 0.05\neval_steps: 0.25\n"
    "accelerator_config: {x: 1.0e-05, y: 2.0, z: [{value: 1}]}\nadam_epsilon: 1e-9\n";

static axl_config *load(const char *text)
{
    static const axl_config_options options = {.has_bf16 = true};
    axl_diagnostics d = {0};
    axl_config *c = NULL;

    CHECK_OK(axl_config_parse(text, strlen(text), "run.yaml", &options, &d, &c));
    axl_diagnostics_fini(&d);
    return c;
}

static bool from_file(const axl_json *entry)
{
    const char *from = axl_json_string(axl_json_get(entry, "from"), "");

    return from[0] >= '0' && from[0] <= '9';
}

static axl_json *plain_value(axl_json *value);

// {key: {"value", "from"}} without those that are not from the file, as {key: value}.
static axl_json *plain_block(axl_json *block)
{
    axl_json *out = axl_json_new_object();
    void *it = NULL;
    const char *key;
    axl_json *entry;

    while (axl_json_next(block, &it, &key, &entry))
        if (from_file(entry))
            CHECK_OK(axl_json_set(out, key, plain_value(axl_json_get(entry, "value"))));
    return out;
}

static bool is_block(axl_json *value)
{
    void *it = NULL;
    const char *key;
    axl_json *entry;

    return axl_json_is(value, AXL_JSON_OBJECT) && axl_json_next(value, &it, &key, &entry) &&
           axl_json_get(entry, "from") != NULL;
}

static axl_json *plain_value(axl_json *value)
{
    if (is_block(value))
        return plain_block(value);
    if (!axl_json_is(value, AXL_JSON_ARRAY) || !is_block(axl_json_at(value, 0)))
        return axl_json_ref(value);
    axl_json *list = axl_json_new_array();
    for (size_t i = 0; i < axl_json_count(value); i++)
        CHECK_OK(axl_json_append(list, plain_block(axl_json_at(value, i))));
    return list;
}

// What was resolved, written as a file again, resolves to the same.
static void resolved_config_round_trips(void **state)
{
    axl_config *c = load(rich);
    axl_str first = {0}, file = {0}, second = {0};
    axl_json *resolved = NULL, *again = NULL;
    (void)state;

    CHECK_OK(axl_config_resolved(c, &first));
    CHECK_OK(axl_json_parse(first.data, first.len, "resolved", &resolved));
    axl_json *plain = plain_block(axl_json_get(resolved, "keys"));
    CHECK_OK(axl_json_dump(plain, 0, &file)); // JSON is YAML
    axl_config_destroy(c);
    c = load(file.data);
    axl_str_clear(&first);
    CHECK_OK(axl_config_resolved(c, &first));
    CHECK_OK(axl_json_parse(first.data, first.len, "resolved", &again));
    axl_json *replain = plain_block(axl_json_get(again, "keys"));
    CHECK_OK(axl_json_dump(replain, 0, &second));
    assert_string_equal(file.data, second.data);
    axl_str_clear(&file);
    axl_str_clear(&second);
    CHECK_OK(axl_json_dump(axl_json_get(resolved, "derived"), 0, &file));
    CHECK_OK(axl_json_dump(axl_json_get(again, "derived"), 0, &second));
    assert_string_equal(file.data, second.data);
    axl_json_free(plain);
    axl_json_free(replain);
    axl_json_free(resolved);
    axl_json_free(again);
    axl_config_destroy(c);
    axl_str_fini(&first);
    axl_str_fini(&second);
    axl_str_fini(&file);
}

// The file itself can be trained with: it stands for what it was made from.
static void resolved_config_is_a_configuration(void **state)
{
    axl_config *c = load(rich), *again = NULL;
    axl_str first = {0}, second = {0};
    axl_json *a = NULL, *b = NULL;
    (void)state;

    CHECK_OK(axl_config_resolved(c, &first));
    again = load(first.data);
    CHECK_OK(axl_config_resolved(again, &second));
    CHECK_OK(axl_json_parse(first.data, first.len, "resolved", &a));
    CHECK_OK(axl_json_parse(second.data, second.len, "resolved", &b));
    for (int i = 0; i < 2; i++) {
        const char *part = i == 0 ? "keys" : "derived";
        axl_json *x = i == 0 ? plain_block(axl_json_get(a, part)) : axl_json_get(a, part);
        axl_json *y = i == 0 ? plain_block(axl_json_get(b, part)) : axl_json_get(b, part);
        axl_str_clear(&first);
        axl_str_clear(&second);
        CHECK_OK(axl_json_dump(x, 1, &first));
        CHECK_OK(axl_json_dump(y, 1, &second));
        assert_string_equal(first.data, second.data);
        assert_true(first.len > 100);
        if (i == 0) {
            axl_json_free(x);
            axl_json_free(y);
        }
    }
    axl_json_free(a);
    axl_json_free(b);
    axl_config_destroy(c);
    axl_config_destroy(again);
    axl_str_fini(&first);
    axl_str_fini(&second);
}

static void check_file(const char *path, const axl_str *expected, const char *command)
{
    axl_str text = {0};

    CHECK_OK(axl_file_read(path, &text));
    if (text.len != expected->len || memcmp(text.data, expected->data, text.len) != 0)
        fail_msg("%s is not what the table says; run: %s", path, command);
    axl_str_fini(&text);
}

static void committed_pages_follow_the_table(void **state)
{
    axl_str text = {0};
    axl_json *schema = NULL;
    (void)state;

    CHECK_OK(axl_config_schema(&text));
    CHECK_OK(axl_json_parse(text.data, text.len, "schema", &schema));
    axl_json *properties = axl_json_get(schema, "properties");
    for (size_t i = 0; i < axl_top_block.n_keys; i++)
        assert_non_null(axl_json_get(properties, axl_top_block.keys[i].name));
    axl_json_free(schema);
    check_file(AXL_SOURCE_DIR "/docs/config.schema.json", &text,
               "axl-dist config-schema > docs/config.schema.json");
    axl_str_clear(&text);
    CHECK_OK(axl_config_docs(&text));
    check_file(AXL_SOURCE_DIR "/docs/keys.md", &text,
               "axl-dist config-schema --markdown > docs/keys.md");
    axl_str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_parses_and_refuses),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(numbers_above_range_are_refused),
        cmocka_unit_test(every_word_of_a_choice_is_known),
        cmocka_unit_test(every_typo_gets_the_nearest_name),
        cmocka_unit_test(every_limit_has_a_reason),
        cmocka_unit_test(resolved_config_round_trips),
        cmocka_unit_test(resolved_config_is_a_configuration),
        cmocka_unit_test(committed_pages_follow_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
