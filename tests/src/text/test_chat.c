// RUN: np=1
// Labels of chat_template rows against the records of data/chat: token for token, with a tokenizer cut
// down to what these rows need. Other records and tokenizers can be given: test_chat RECORDS DIR.
#include "src/base/log.h"
#include "src/io/file.h"
#include "src/text/chat.h"
#include "tests/check.h"

#include <stdlib.h>

static const char *records_path = AXL_TEST_DATA "/chat/records.jsonl";
static const char *tokenizers_dir = AXL_TEST_DATA "/chat";

#define MAX_PAIRS 16

// The entry's keys as a caller would read them from the configuration.
typedef struct entry {
    axl_chat_options o;
    axl_chat_pair mappings[MAX_PAIRS], roles[MAX_PAIRS];
    const char *train[MAX_PAIRS], *eot[MAX_PAIRS];
} entry;

static const char *word(const axl_json *v, const char *key)
{
    return axl_json_string(axl_json_get(v, key), NULL);
}

static axl_chat_train train_option(const axl_json *v, const char *key)
{
    static const char *const names[] = {"", "turn", "all", "last", "none"};
    const char *name = word(v, key);

    for (int i = 1; name != NULL && i < 5; i++)
        if (strcmp(names[i], name) == 0)
            return (axl_chat_train)i;
    return AXL_CHAT_TRAIN_DEFAULT;
}

static const char *const *read_list(const axl_json *list, const char **out, int *n)
{
    if (!axl_json_is(list, AXL_JSON_ARRAY))
        return NULL;
    for (*n = 0; *n < (int)axl_json_count(list); (*n)++)
        out[*n] = axl_json_string(axl_json_at(list, (size_t)*n), "");
    return out;
}

static void read_maps(const axl_json *d, entry *e)
{
    axl_json *map = axl_json_get(d, "message_property_mappings"), *v;
    const char *key;
    void *it = NULL;

    while (map != NULL && axl_json_next(map, &it, &key, &v))
        e->mappings[e->o.n_mappings++] = (axl_chat_pair){key, axl_json_string(v, "")};
    if (word(d, "message_field_role") != NULL) {
        e->mappings[e->o.n_mappings++] = (axl_chat_pair){"role", word(d, "message_field_role")};
        e->mappings[e->o.n_mappings++] =
            (axl_chat_pair){"content", word(d, "message_field_content")};
    }
    e->o.mappings = e->o.n_mappings > 0 ? e->mappings : NULL;
    map = axl_json_get(d, "roles");
    it = NULL;
    while (map != NULL && axl_json_next(map, &it, &key, &v))
        for (size_t i = 0; i < axl_json_count(v); i++)
            e->roles[e->o.n_roles++] = (axl_chat_pair){axl_json_string(axl_json_at(v, i), ""), key};
    e->o.roles = e->o.n_roles > 0 ? e->roles : NULL;
}

static void read_entry(const axl_json *record, entry *e)
{
    const axl_json *cfg = axl_json_get(record, "cfg"), *d = axl_json_get(record, "dataset");
    bool own = word(d, "chat_template") != NULL || word(d, "chat_template_jinja") != NULL;

    memset(e, 0, sizeof *e);
    e->o.chat_template = word(own ? d : cfg, "chat_template");
    e->o.chat_template_jinja = word(own ? d : cfg, "chat_template_jinja");
    e->o.template_kwargs = axl_json_get(cfg, "chat_template_kwargs");
    e->o.tokenizer_name = word(record, "tokenizer");
    e->o.field_messages = word(d, "field_messages");
    e->o.field_tools = word(d, "field_tools");
    e->o.field_thinking = word(d, "field_thinking");
    e->o.field_training = word(d, "message_field_training");
    e->o.field_training_detail = word(d, "message_field_training_detail");
    read_maps(d, e);
    e->o.roles_to_train =
        read_list(axl_json_get(d, "roles_to_train"), e->train, &e->o.n_roles_to_train);
    e->o.eot_tokens = read_list(axl_json_get(cfg, "eot_tokens"), e->eot, &e->o.n_eot_tokens);
    e->o.train_on_eos = train_option(d, "train_on_eos");
    e->o.train_on_eot = train_option(d, "train_on_eot");
    e->o.train_on_inputs = axl_json_bool(axl_json_get(cfg, "train_on_inputs"), false);
    e->o.drop_system_message = axl_json_bool(axl_json_get(d, "drop_system_message"), false);
    e->o.split_thinking = axl_json_bool(axl_json_get(d, "split_thinking"), false);
}

static bool same(const axl_json *want, const int32_t *got, size_t n)
{
    if (want == NULL)
        return true;
    if (axl_json_count(want) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (axl_json_int(axl_json_at(want, i), -1) != got[i])
            return false;
    return true;
}

static void print_ids(const char *what, const int32_t *ids, size_t n)
{
    printf("  %s", what);
    for (size_t i = 0; i < n; i++)
        printf(" %d", ids[i]);
    printf("\n");
}

static axl_status encode(const axl_json *record, axl_tokenizer *t, axl_chat_scratch *s,
                         axl_chat_sample *out)
{
    axl_status status = AXL_OK;
    axl_json *special = axl_json_get(axl_json_get(record, "cfg"), "special_tokens"), *v;
    axl_chat_encoder *c = NULL;
    const char *key;
    void *it = NULL;
    entry e;

    while (special != NULL && axl_json_next(special, &it, &key, &v))
        AXL_TRY(axl_tokenizer_set_special(t, key, axl_json_string(v, "")));
    read_entry(record, &e);
    AXL_TRY(axl_chat_encoder_create(&e.o, t, &c));
    AXL_TRY(axl_chat_encode(c, s, axl_json_get(record, "row"), out));
out:
    axl_chat_encoder_destroy(c);
    return status;
}

static int check_record(const axl_json *record, axl_chat_scratch *s)
{
    axl_tokenizer *t = NULL;
    axl_chat_sample got = {0};
    char dir[600];
    axl_status status;
    bool fine;

    (void)snprintf(dir, sizeof dir, "%s/%s", tokenizers_dir, word(record, "tokenizer"));
    if (axl_tokenizer_load(dir, &t) != AXL_OK) {
        print_message("%s: not run: %s\n", word(record, "id"), axl_error_message());
        return 1;
    }
    status = encode(record, t, s, &got);
    if (axl_json_get(record, "error") != NULL)
        fine = status == AXL_E_INPUT || status == AXL_E_CONFIG;
    else
        fine = status == AXL_OK && same(axl_json_get(record, "ids"), got.ids, got.n) &&
               same(axl_json_get(record, "labels"), got.labels, got.n);
    if (!fine) {
        printf("%s: %s\n", word(record, "id"), status == AXL_OK ? "differs" : axl_error_message());
        print_ids("ids   ", got.ids, got.n);
        print_ids("labels", got.labels, got.n);
    }
    axl_tokenizer_destroy(t);
    return !fine;
}

static void rows_give_the_ids_and_labels_of_the_records(void **state)
{
    axl_chat_scratch *s = NULL;
    axl_str text = {0};
    int wrong = 0, n = 0;

    (void)state;
    CHECK_OK(axl_file_read(records_path, &text));
    CHECK_OK(axl_chat_scratch_create(&s));
    for (char *line = text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, n++) {
        axl_json *record = NULL;

        CHECK_OK(axl_json_parse(line, (size_t)(end - line), "records.jsonl", &record));
        wrong += check_record(record, s);
        axl_json_free(record);
    }
    axl_chat_scratch_destroy(s);
    axl_str_fini(&text);
    print_message("%d records, %d wrong\n", n, wrong);
    assert_true(n > 0);
    assert_int_equal(wrong, 0);
}

// A template that wants a call before each tool's answer cannot be rendered without the call; the turn
// is then found by the turns up to it.
static void a_turn_that_later_turns_need_is_found(void **state)
{
    static const char source[] =
        "{% for m in messages %}{% if m.role == 'tool' and not messages[loop.index0 - "
        "1].tool_calls %}"
        "{{ raise_exception('no call') }}{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{{ m.tool_calls | tojson if m.tool_calls }}<|im_end|>\n{% endfor %}";
    static const char row_text[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
        "\"content\": \"b\", \"tool_calls\": [1]}, {\"role\": \"tool\", \"content\": \"c\"}]}";
    axl_chat_options o = {.chat_template_jinja = source};
    axl_chat_encoder *c = NULL;
    axl_chat_scratch *s = NULL;
    axl_tokenizer *t = NULL;
    axl_json *row = NULL;
    axl_chat_sample got;
    axl_str text = {0};
    size_t n = 0;
    int32_t trained[32];

    (void)state;
    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/chat/smollm2", &t));
    CHECK_OK(axl_chat_encoder_create(&o, t, &c));
    CHECK_OK(axl_chat_scratch_create(&s));
    CHECK_OK(axl_json_parse(row_text, strlen(row_text), "row", &row));
    CHECK_OK(axl_chat_encode(c, s, row, &got));
    assert_int_equal(got.n_lost, 0);
    for (size_t i = 0; i < got.n && n < 32; i++)
        if (got.labels[i] != AXL_CHAT_IGNORE)
            trained[n++] = got.labels[i];
    CHECK_OK(axl_tokenizer_decode(t, trained, n, false, &text));
    assert_string_equal(text.data, "b[1]<|im_end|>");
    axl_str_fini(&text);
    axl_json_free(row);
    axl_chat_scratch_destroy(s);
    axl_chat_encoder_destroy(c);
    axl_tokenizer_destroy(t);
}

// Contents that can deceive a search: empty, blank, alike, with the dummy's own words or a template's.
static const char *const contents[] = {
    "",
    " ",
    "yes",
    "yes",
    " yes ",
    "[[dummy_message]]",
    "[[dummy_message_1]]",
    "[[",
    "\\u00e9\\n\\n\\n",
    "]]",
    "<|im_end|>",
    "<|im_start|>user",
    "a\\n",
    "### Response:",
    "The quick brown fox jumps over the lazy dog.",
    "<think>x</think>y",
    "user",
    "assistant",
};

// A row of a few turns; calls, though there are none, make them be searched one by one.
static axl_json *make_row(unsigned pick, bool one_by_one)
{
    axl_str text = {0};
    axl_json *row = NULL;
    size_t n = sizeof contents / sizeof *contents;

    CHECK_OK(axl_str_puts(&text, "{\"messages\": ["));
    for (unsigned i = 0; i < 6; i++) {
        CHECK_OK(axl_str_printf(&text, "%s{%s\"role\": \"%s\", \"content\": \"%s\"}",
                                i > 0 ? ", " : "", one_by_one ? "\"tool_calls\": [], " : "",
                                i % 2 ? "assistant" : "user", contents[pick % n]));
        pick = pick * 1103515245u + 12345u;
        pick ^= pick >> 13;
    }
    CHECK_OK(axl_str_puts(&text, "]}"));
    CHECK_OK(axl_json_parse(text.data, text.len, "row", &row));
    axl_str_fini(&text);
    return row;
}

static void placing_turns_together_equals_searching_them_one_by_one(void **state)
{
    static const char *const templates[] = {"chatml",       "llama3", "qwen3", "gemma",
                                            "alpaca",       "jamba",  "llava", "gemma4",
                                            "mistral_v2v3", "exaone4"};
    axl_chat_scratch *s = NULL;
    axl_tokenizer *t = NULL;
    int n_trained = 0;

    (void)state;
    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/chat/smollm2", &t));
    CHECK_OK(axl_chat_scratch_create(&s));
    for (unsigned i = 0; i < sizeof templates / sizeof *templates * 40; i++) {
        axl_chat_options o = {.chat_template = templates[i / 40], .train_on_inputs = i % 2};
        axl_chat_encoder *c = NULL;
        axl_chat_sample got;
        int32_t labels[2000];
        size_t n = 0;

        o.train_on_eos = i % 3 == 0 ? AXL_CHAT_TRAIN_ALL : AXL_CHAT_TRAIN_DEFAULT;
        CHECK_OK(axl_chat_encoder_create(&o, t, &c));
        for (int one = 0; one < 2; one++) {
            axl_json *row = make_row(i, one);

            CHECK_OK(axl_chat_encode(c, s, row, &got));
            axl_json_free(row);
            assert_true(got.n > 0 && got.n <= 2000);
            if (one)
                assert_int_equal(n, got.n);
            if (one)
                assert_memory_equal(labels, got.labels, n * sizeof *labels);
            n = got.n;
            memcpy(labels, got.labels, n * sizeof *labels);
            for (size_t k = 0; k < n; k++)
                n_trained += labels[k] != AXL_CHAT_IGNORE;
        }
        axl_chat_encoder_destroy(c);
    }
    assert_true(n_trained > 1000);
    axl_chat_scratch_destroy(s);
    axl_tokenizer_destroy(t);
}

static void rows_of_a_wrong_shape_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"[]", "must be an object"},
        {"{}", "has no messages"},
        {"{\"messages\": 3}", "must be a list"},
        {"{\"messages\": []}", "is empty"},
        {"{\"messages\": [3]}", "must be an object"},
        {"{\"messages\": [{\"content\": \"x\"}]}", "has no role"},
        {"{\"messages\": \"[{\"}", "not valid JSON"},
        {"{\"messages\": [{\"role\": \"user\"}]}", "no attribute 'content'"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"tools\": 3}",
         "tools must be a list"},
    };
    axl_chat_options o = {.chat_template = "chatml"};
    axl_chat_encoder *c = NULL;
    axl_chat_scratch *s = NULL;
    axl_tokenizer *t = NULL;
    axl_chat_sample got;

    (void)state;
    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/chat/smollm2", &t));
    CHECK_OK(axl_chat_encoder_create(&o, t, &c));
    CHECK_OK(axl_chat_scratch_create(&s));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        axl_json *row = NULL;

        CHECK_OK(axl_json_parse(rows[i][0], strlen(rows[i][0]), "row", &row));
        CHECK_FAILS(axl_chat_encode(c, s, row, &got), AXL_E_INPUT, rows[i][1]);
        axl_json_free(row);
    }
    axl_chat_scratch_destroy(s);
    axl_chat_encoder_destroy(c);
    axl_tokenizer_destroy(t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_give_the_ids_and_labels_of_the_records),
        cmocka_unit_test(a_turn_that_later_turns_need_is_found),
        cmocka_unit_test(placing_turns_together_equals_searching_them_one_by_one),
        cmocka_unit_test(rows_of_a_wrong_shape_are_refused),
    };

    if (argc == 3) {
        records_path = argv[1];
        tokenizers_dir = argv[2];
    }
    axl_log_set_terminal_level(AXL_LOG_ERROR); // many encoders are made: their warnings are long
    return cmocka_run_group_tests(tests, NULL, NULL);
}
