// RUN: np=1
// Every format against recorded rows: ids and labels must be equal one by one.
//
// formats.jsonl goes with the tiny tokenizer beside it. strategies.jsonl, recorded from Axolotl, needs the
// real tokenizers: AXL_TEST_TOKENIZERS (or build/tokenizers) names their folder; without it they are skipped.
#include "src/data/format.h"
#include "src/io/file.h"
#include "tests/check.h"

#include <stdlib.h>

typedef struct context {
    const char *dir;  // of tokenizers, by name; NULL: one for all
    char name[64];    // of the loaded one
    axl_tokenizer *t; // owned
    int n, n_wrong;
} context;

static const char *text_of(const axl_json *v, const char *key)
{
    return axl_json_string(axl_json_get(v, key), NULL);
}

static bool same_list(const axl_json *want, const int32_t *got, int64_t n)
{
    if ((int64_t)axl_json_count(want) != n)
        return false;
    for (int64_t i = 0; i < n; i++) {
        if (axl_json_int(axl_json_at(want, (size_t)i), -1) != got[i])
            return false;
    }
    return true;
}

static bool same_samples(const axl_json *output, const axl_samples *s)
{
    if ((int64_t)axl_json_count(output) != s->n)
        return false;
    for (int64_t i = 0; i < s->n; i++) {
        const axl_json *want = axl_json_at(output, (size_t)i);
        int64_t at = axl_samples_begin(s, i), n = axl_samples_length(s, i);
        if (!same_list(axl_json_get(want, "input_ids"), s->ids + at, n) ||
            !same_list(axl_json_get(want, "labels"), s->labels + at, n))
            return false;
    }
    return true;
}

static void check_record(context *c, const axl_json *record)
{
    const axl_json *dataset = axl_json_get(record, "dataset"), *cfg = axl_json_get(record, "cfg");
    const axl_json *map = axl_json_get(dataset, "type");
    const axl_user_format format = {.system_prompt = text_of(map, "system_prompt"),
                                    .field_system = text_of(map, "field_system"),
                                    .field_instruction = text_of(map, "field_instruction"),
                                    .field_input = text_of(map, "field_input"),
                                    .field_output = text_of(map, "field_output"),
                                    .format = text_of(map, "format"),
                                    .no_input_format = text_of(map, "no_input_format"),
                                    .system_format = text_of(map, "system_format")};
    const axl_dataset_spec spec = {.path = "data.jsonl",
                                   .type = text_of(dataset, "type"),
                                   .user_format =
                                       axl_json_is(map, AXL_JSON_OBJECT) ? &format : NULL,
                                   .field = text_of(dataset, "field"),
                                   .conversation = text_of(dataset, "conversation"),
                                   .place = "test.yaml:1"};
    const axl_data_options options = {
        .sequence_len = axl_json_int(axl_json_get(cfg, "sequence_len"), 2048),
        .train_on_inputs = axl_json_bool(axl_json_get(cfg, "train_on_inputs"), false)};
    axl_encoder *e = NULL;
    axl_samples samples = {0};

    axl_status status = axl_encoder_open(&spec, &options, c->t, &e);
    if (status == AXL_OK)
        status = axl_encoder_row(e, axl_json_get(record, "row"), 0, 1, "data.jsonl:1", &samples);
    bool right = axl_json_get(record, "error") != NULL
                     ? status == AXL_E_INPUT || status == AXL_E_CONFIG
                     : status == AXL_OK && same_samples(axl_json_get(record, "output"), &samples);
    if (!right && c->n_wrong++ < 20)
        print_error("%s %s: %s\n", c->name, text_of(record, "id"),
                    status == AXL_OK ? "differs" : axl_error_message());
    c->n++;
    axl_encoder_close(e);
    axl_samples_fini(&samples);
}

static void take_tokenizer(context *c, const char *name)
{
    char path[512];

    if (c->dir == NULL || strcmp(c->name, name) == 0)
        return;
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    (void)snprintf(path, sizeof path, "%s/%s", c->dir, name);
    axl_tokenizer_destroy(c->t);
    c->t = NULL;
    CHECK_OK(axl_tokenizer_load(path, &c->t));
}

// Records whose type needs no more than this test sets up; tests/cli/test_strategies.c runs all of them.
static bool is_built(const axl_json *record)
{
    static const char *const other[] = {"chat_template", "llama2_chat", "stepwise",
                                        "bradley_terry", "orpo.",       "sharegpt"};
    static const char *const tokenizers[] = {"smollm2",    "llama3",        "llama4",
                                             "qwen3",      "deepseek",      "mistral-v1",
                                             "mistral-v3", "mistral-tekken"};
    const char *type = axl_json_string(axl_json_get(axl_json_get(record, "dataset"), "type"), "");
    const axl_json *cfg = axl_json_get(record, "cfg");
    bool known = false;

    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        if (strncmp(type, other[i], strlen(other[i])) == 0)
            return false;
    }
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
        known |= strcmp(axl_json_string(axl_json_get(record, "tokenizer"), ""), tokenizers[i]) == 0;
    return known && strcmp(axl_json_string(axl_json_get(record, "kind"), ""), "sft") == 0 &&
           axl_json_get(cfg, "special_tokens") == NULL && axl_json_get(cfg, "tokens") == NULL;
}

static void check_file(context *c, const char *path, bool all_kinds)
{
    axl_str all = {0};

    CHECK_OK(axl_file_read(path, &all));
    for (char *line = all.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        axl_json *record = NULL;
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), path, &record));
        if (all_kinds || is_built(record)) {
            take_tokenizer(c, axl_json_string(axl_json_get(record, "tokenizer"), "tiny"));
            check_record(c, record);
        }
        axl_json_free(record);
    }
    axl_str_fini(&all);
    print_message("%d rows\n", c->n);
    assert_true(c->n > 0);
    assert_int_equal(c->n_wrong, 0);
    axl_tokenizer_destroy(c->t);
}

static void rows_equal_the_reference_with_a_tiny_tokenizer(void **state)
{
    (void)state;
    context c = {.name = "tiny"};

    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/data/tokenizer", &c.t));
    check_file(&c, AXL_TEST_DATA "/data/formats.jsonl", true);
}

static void rows_equal_axolotl(void **state)
{
    (void)state;
    context c = {.dir = getenv("AXL_TEST_TOKENIZERS")};

    if (c.dir == NULL)
        c.dir = AXL_SOURCE_DIR "/build/tokenizers";
    if (!axl_path_is_dir(c.dir)) {
        print_message("skipped: %s is missing; see tests/goldens/make_tokenizer_goldens.py\n",
                      c.dir);
        skip();
    }
    check_file(&c, AXL_TEST_DATA "/data/strategies.jsonl", false);
}

static void encode_one(const char *type, const char *row, axl_status code, const char *message)
{
    const axl_dataset_spec spec = {.path = "data.jsonl", .type = type, .place = "test.yaml:7"};
    const axl_data_options options = {.sequence_len = 64, .vocab_size = 600};
    axl_tokenizer *t = NULL;
    axl_encoder *e = NULL;
    axl_json *json = NULL;
    axl_samples samples = {0};

    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/data/tokenizer", &t));
    CHECK_OK(axl_json_parse(row, strlen(row), "row", &json));
    axl_status status = axl_encoder_open(&spec, &options, t, &e);
    if (status == AXL_OK)
        status = axl_encoder_row(e, json, 0, 1, "data.jsonl:12", &samples);
    CHECK_FAILS(status, code, message);
    assert_int_equal(samples.n, 0);
    axl_encoder_close(e);
    axl_json_free(json);
    axl_samples_fini(&samples);
    axl_tokenizer_destroy(t);
}

static void bad_rows_are_named_with_their_place(void **state)
{
    (void)state;
    encode_one("alpaca", "{\"instruction\": \"x\"}", AXL_E_INPUT,
               "data.jsonl:12: the column \"output\"");
    encode_one("alpaca", "{\"instruction\": [1], \"output\": \"y\"}", AXL_E_INPUT, "data.jsonl:12");
    encode_one("completion", "{\"body\": \"x\"}", AXL_E_INPUT, "\"text\" is missing");
    encode_one("completion", "{\"text\": {}}", AXL_E_INPUT, "is an object");
    encode_one("input_output", "{\"segments\": [{\"label\": 1}]}", AXL_E_INPUT, "segment 0");
    encode_one(NULL, "{\"input_ids\": [1, 2]}", AXL_E_INPUT, "labels");
    encode_one(NULL, "{\"input_ids\": [1, 2], \"labels\": [1]}", AXL_E_INPUT, "2 input_ids but 1");
    encode_one(NULL, "{\"input_ids\": [600], \"labels\": [1]}", AXL_E_INPUT, "0 to 599");
    encode_one(NULL, "{\"input_ids\": [5], \"labels\": [-7]}", AXL_E_INPUT, "labels[0]");
    encode_one("alpacca", "{}", AXL_E_CONFIG, "did you mean alpaca?");
    encode_one("alpaca:load_x", "{}", AXL_E_CONFIG, "alpaca.load_x");
    encode_one("alpaca:chattml", "{}", AXL_E_CONFIG, "test.yaml:7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_equal_the_reference_with_a_tiny_tokenizer),
        cmocka_unit_test(rows_equal_axolotl),
        cmocka_unit_test(bad_rows_are_named_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
