// RUN: np=1
// JSON reading, bounds and writing.
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

static void errors_name_line_and_column(void **state)
{
    (void)state;
    axl_json *v = NULL;
    CHECK_FAILS(axl_json_parse("{\n \"a\": }", 9, "x.json", &v), AXL_E_INPUT,
                "x.json: line 2 column");
    CHECK_FAILS(axl_json_parse("\"\xff\"", 3, "x.json", &v), AXL_E_INPUT,
                "unable to decode byte 0xff");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    axl_json *v = NULL;
    char deep[20000];
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    CHECK_FAILS(axl_json_parse(deep, sizeof deep, "deep.json", &v), AXL_E_INPUT, "deep.json");
}

static void bare_infinity_is_read_as_text(void **state)
{
    (void)state;
    axl_json *v = NULL;
    static const char text[] = "{\"a\": [Infinity, -Infinity, NaN], \"b\": \"NaN \\\" Infinity\"}";
    CHECK_OK(axl_file_write("json_test.tmp", text, sizeof text - 1));
    CHECK_OK(axl_json_read("json_test.tmp", &v));
    assert_string_equal(axl_json_string(axl_json_at(axl_json_get(v, "a"), 1), ""), "-Infinity");
    assert_string_equal(axl_json_string(axl_json_get(v, "b"), ""), "NaN \" Infinity");
    axl_json_free(v);
    CHECK_OK(axl_path_remove("json_test.tmp"));
}

// The quick way and jansson's own (which the strict one takes) must agree on values, and on what is refused.
static void both_ways_of_parsing_agree(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        " [ ] ",
        "{\"a\": 1, \"b\": [true, false, null, -5, 0, 123456789012345678]}",
        "{\"\": \"\", \"\xc3\xa9\": \"\xe2\x82\xac and \xf0\x9f\x98\x80\"}",
        "\"twelve bytes, then \\\"quotes\\\" and \\\\ \\/ \\b\\f\\n\\r\\t\"",
        "\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00 \\uFFFF\"",
        "\"\\u0000 inside\"",
        "{\"k\\n\": 1}",
        "[1.5, -2e3, 1E400, 12345678901234567890, -0, 0.0]",
        "[01]",
        "[-]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\" 1}",
        "{\"a\": }",
        "{\"a\": 1,}",
        "{\"a\": 1",
        "{a: 1}",
        "[1",
        "[truex]",
        "tru",
        "\"open",
        "\"tab\there\"",
        "\"line\nend in a long enough string\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\ud800 alone\"",
        "\"\\ud83dx\"",
        "\"\\ude00\"",
        "\"\xff\"",
        "\"\xc3(\"",
        "{} x",
        "",
        "  "};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        axl_json *quick = NULL, *strict = NULL;
        axl_str a = {0}, b = {0};
        axl_status status = axl_json_parse(texts[i], strlen(texts[i]), "text", &quick);
        assert_int_equal(status,
                         axl_json_parse_strict(texts[i], strlen(texts[i]), "text", &strict));
        if (status == AXL_OK) {
            CHECK_OK(axl_json_dump(quick, 0, &a));
            CHECK_OK(axl_json_dump(strict, 0, &b));
            assert_string_equal(a.data, b.data);
            assert_int_equal(axl_json_string_length(quick), axl_json_string_length(strict));
        }
        axl_json_free(quick);
        axl_json_free(strict);
        axl_str_fini(&a);
        axl_str_fini(&b);
    }
}

static void an_integer_beyond_int64_is_read_as_a_real(void **state)
{
    (void)state;
    axl_json *v = NULL;
    static const char text[] =
        "{\"model_max_length\": 1000000000000000019884624838656, \"x\": 7, "
        "\"s\": \"1000000000000000019884624838656\", \"y\": 0.1234567890123456789}";
    CHECK_OK(axl_file_write("json_test.tmp", text, sizeof text - 1));
    CHECK_OK(axl_json_read("json_test.tmp", &v));
    assert_true(axl_json_real(axl_json_get(v, "model_max_length"), 0.0) == 1e30);
    assert_int_equal(axl_json_int(axl_json_get(v, "x"), 0), 7);
    assert_true(axl_json_real(axl_json_get(v, "y"), 0.0) == 0.1234567890123456789);
    assert_string_equal(axl_json_string(axl_json_get(v, "s"), ""),
                        "1000000000000000019884624838656");
    axl_json_free(v);
    CHECK_OK(axl_path_remove("json_test.tmp"));
}

static void members_keep_their_order(void **state)
{
    (void)state;
    axl_json *v = NULL;
    axl_str s = {0};
    static const char text[] = "{\"z\": 1, \"a\": [true, null, 0.5], \"m\": \"\xc3\xa9\"}";
    CHECK_OK(axl_json_parse(text, sizeof text - 1, "t", &v));
    CHECK_OK(axl_json_dump(v, 0, &s));
    assert_string_equal(s.data, text);
    axl_str_fini(&s);
    axl_json_free(v);
}

// The text after one change; object as in axl_json_edit.
static void edited(const char *text, const char *object, const char *key, const char *value,
                   const char *want)
{
    axl_str s = {0};
    axl_json *v = NULL;

    CHECK_OK(axl_str_puts(&s, text));
    CHECK_OK(axl_json_edit(&s, object, key, value));
    assert_string_equal(s.data, want);
    CHECK_OK(axl_json_parse(s.data, s.len, "edited", &v));
    axl_json_free(v);
    axl_str_fini(&s);
}

static void an_edit_changes_one_member_and_no_other_byte(void **state)
{
    (void)state;
    static const char text[] =
        "{\n  \"a\": 1e-5,\n  \"b\\\"\": [1, {\"c\": \"}\"}],\n  \"c\" : null}\n";
    axl_str s = {0};

    edited(text, NULL, "c", "\"x\"",
           "{\n  \"a\": 1e-5,\n  \"b\\\"\": [1, {\"c\": \"}\"}],\n  \"c\" : \"x\"}\n");
    edited(text, NULL, "a", "[2]",
           "{\n  \"a\": [2],\n  \"b\\\"\": [1, {\"c\": \"}\"}],\n  \"c\" : null}\n");
    edited(text, NULL, "d", "3",
           "{\n  \"a\": 1e-5,\n  \"b\\\"\": [1, {\"c\": \"}\"}],\n  \"c\" : null,\n  \"d\": 3}\n");
    edited(text, NULL, "a", NULL, "{\n  \"b\\\"\": [1, {\"c\": \"}\"}],\n  \"c\" : null}\n");
    edited(text, NULL, "c", NULL, "{\n  \"a\": 1e-5,\n  \"b\\\"\": [1, {\"c\": \"}\"}]}\n");
    edited(text, NULL, "none", NULL, text);
    edited("{}", NULL, "k", "true", "{\"k\": true}");
    edited("{ \"k\": true }", NULL, "k", NULL, "{ }");
    edited("{\"o\": {\"x\": 1}, \"x\": 2}", "o", "x", "3", "{\"o\": {\"x\": 3}, \"x\": 2}");
    edited("{\"o\": {\"x\": 1}, \"x\": 2}", "o", "y", "0",
           "{\"o\": {\"x\": 1,\"y\": 0}, \"x\": 2}");
    CHECK_OK(axl_str_puts(&s, "{\"o\": 1}"));
    CHECK_FAILS(axl_json_edit(&s, "o", "x", "1"), AXL_E_INPUT, "there is no JSON object o");
    CHECK_FAILS(axl_json_edit(&s, "p", "x", "1"), AXL_E_INPUT, "there is no JSON object p");
    axl_str_fini(&s);
}

static void scalars_of_csv_count_as_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int truth, weight; // -1: it is none
        double number;     // NAN: it is none
    } cases[] = {
        {"true", 1, 1, NAN},        {"false", 0, 0, NAN},
        {"1", 1, 1, 1.0},           {"0", 0, 0, 0.0},
        {"1.0", 1, 1, 1.0},         {"2", -1, 1, 2.0},
        {"0.5", -1, 1, 0.5},        {"\"True\"", 1, 1, NAN},
        {"\"FALSE\"", 0, 0, NAN},   {"\"1\"", 1, 1, 1.0},
        {"\"0.0\"", 0, 0, 0.0},     {"\"-2.5e1\"", -1, 1, -25.0},
        {"\"yes\"", -1, -1, NAN},   {"\"\"", -1, -1, NAN},
        {"\" 1\"", -1, -1, NAN},    {"\"1 \"", -1, -1, NAN},
        {"\"0x1\"", -1, -1, NAN},   {"\"nan\"", -1, -1, NAN},
        {"\"1e999\"", -1, -1, NAN}, {"\"1\\u0000\"", -1, -1, NAN},
        {"null", -1, -1, NAN},      {"[1]", -1, -1, NAN},
        {"{}", -1, -1, NAN},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        axl_json *v = NULL;
        bool b = false;
        double x = 0.0;
        CHECK_OK(axl_json_parse(cases[i].text, strlen(cases[i].text), "case", &v));
        assert_int_equal(axl_json_truth(v, &b) ? b : -1, cases[i].truth);
        assert_int_equal(axl_json_weight(v, &b) ? b : -1, cases[i].weight);
        assert_int_equal(axl_json_number(v, &x), !isnan(cases[i].number));
        assert_true(isnan(cases[i].number) || x == cases[i].number);
        axl_json_free(v);
    }
    assert_false(axl_json_truth(NULL, &(bool){false}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_of_csv_count_as_what_they_say),
        cmocka_unit_test(errors_name_line_and_column),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(bare_infinity_is_read_as_text),
        cmocka_unit_test(an_integer_beyond_int64_is_read_as_a_real),
        cmocka_unit_test(an_edit_changes_one_member_and_no_other_byte),
        cmocka_unit_test(members_keep_their_order),
        cmocka_unit_test(both_ways_of_parsing_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
