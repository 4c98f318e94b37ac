// RUN: np=1
// JSON reading, bounds and writing.
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_line_and_column),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(bare_infinity_is_read_as_text),
        cmocka_unit_test(members_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
