// RUN: np=1
// Random small pipelines against the reference: ids, offsets and decoded text. AXL_TEST_PIPELINES names
// another file that tests/goldens/make_pipelines.py made, for a run over thousands.
#include "src/io/file.h"
#include "src/io/json.h"
#include "src/text/tokenizer.h"
#include "tests/check.h"

#include <stdlib.h>

typedef struct counts {
    int n_pipelines, n_cases, n_wrong;
} counts;

static bool same_ids(const axl_json *want, const axl_token_buffer *b)
{
    bool same = axl_json_count(want) == b->n;
    for (size_t i = 0; same && i < b->n; i++)
        same = axl_json_int(axl_json_at(want, i), -1) == b->ids[i];
    return same;
}

static bool same_offsets(const axl_json *want, const axl_token_buffer *b)
{
    bool same = axl_json_count(want) == 2 * b->n;
    for (size_t i = 0; same && i < 2 * b->n; i++) {
        int got = (i % 2 ? b->end : b->begin)[i / 2];
        same = axl_json_int(axl_json_at(want, i), -1) == (got < 0 ? 0 : got);
    }
    return same;
}

static bool same_text(const axl_tokenizer *t, const axl_json *want, const axl_token_buffer *b,
                      bool skip)
{
    axl_str text = {0};
    CHECK_OK(axl_tokenizer_decode(t, b->ids, b->n, skip, &text));
    bool same = text.len == axl_json_string_length(want) &&
                (text.len == 0 || memcmp(text.data, axl_json_string(want, ""), text.len) == 0);
    axl_str_fini(&text);
    return same;
}

static const char *check_case(const axl_tokenizer *t, const axl_json *record)
{
    const axl_json *text = axl_json_at(record, 0);
    axl_token_buffer b = {.want_offsets = true}, full = {0};
    const char *wrong = NULL;

    if (axl_tokenizer_encode(t, axl_json_string(text, ""), axl_json_string_length(text), false,
                             &b) != AXL_OK)
        wrong = axl_error_message();
    else if (!same_ids(axl_json_at(record, 1), &b))
        wrong = "ids";
    else if (!same_offsets(axl_json_at(record, 3), &b))
        wrong = "offsets";
    else {
        CHECK_OK(axl_tokenizer_encode(t, axl_json_string(text, ""), axl_json_string_length(text),
                                      true, &full));
        if (!same_ids(axl_json_at(record, 2), &full))
            wrong = "ids_special";
        else if (!same_text(t, axl_json_at(record, 4), &full, false))
            wrong = "decoded";
        else if (!same_text(t, axl_json_at(record, 5), &full, true))
            wrong = "decoded_skip_special";
    }
    axl_token_buffer_fini(&b);
    axl_token_buffer_fini(&full);
    return wrong;
}

static void check_line(const axl_json *line, counts *c)
{
    const axl_json *cases = axl_json_get(line, "cases");
    axl_tokenizer *t = NULL;
    axl_str json = {0};

    c->n_pipelines++;
    CHECK_OK(axl_json_dump(axl_json_get(line, "json"), 0, &json));
    if (axl_tokenizer_parse(json.data, json.len, &t) != AXL_OK) {
        print_error("line %d: %s\n", c->n_pipelines, axl_error_message());
        c->n_wrong++;
    }
    for (size_t i = 0; t != NULL && i < axl_json_count(cases); i++) {
        const char *wrong = check_case(t, axl_json_at(cases, i));
        c->n_cases++;
        if (wrong != NULL && c->n_wrong++ < 200)
            print_error("line %d case %zu: %s\n", c->n_pipelines, i, wrong);
    }
    axl_tokenizer_destroy(t);
    axl_str_fini(&json);
}

static void random_pipelines_equal_the_reference(void **state)
{
    (void)state;
    const char *path = getenv("AXL_TEST_PIPELINES");
    axl_str all = {0};
    counts c = {0, 0, 0};

    if (path == NULL)
        path = AXL_TEST_DATA "/pipelines.jsonl";
    CHECK_OK(axl_file_read(path, &all));
    for (char *line = all.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        axl_json *v = NULL;
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), path, &v));
        check_line(v, &c);
        axl_json_free(v);
    }
    print_message("%d pipelines, %d texts, %d wrong\n", c.n_pipelines, c.n_cases, c.n_wrong);
    assert_true(c.n_cases > 100);
    assert_int_equal(c.n_wrong, 0);
    axl_str_fini(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_pipelines_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
