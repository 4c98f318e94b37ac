// RUN: np=1
// Patterns of configurations, searched in names of weights.
#include "src/text/regex.h"
#include "tests/check.h"

static bool finds(const char *pattern, const char *text)
{
    axl_regex *r = NULL;
    bool found = false;

    CHECK_OK(axl_regex_create(pattern, &r));
    CHECK_OK(axl_regex_search(r, text, &found));
    axl_regex_destroy(r);
    return found;
}

static void a_pattern_is_searched_anywhere(void **state)
{
    (void)state;
    const char *name = "model.layers.13.mlp.up_proj.weight";

    assert_true(finds("up_proj", name));
    assert_true(finds("layers\\.\\d+\\.mlp\\.(?:up|gate)_proj", name));
    assert_true(finds("", name));
    assert_true(finds("^model.*weight$", name));
    assert_true(finds("(?i)UP_PROJ", name));
    assert_true(finds("(?P<n>1)3", name));
    assert_false(finds("^up_proj", name));
    assert_false(finds("layers\\.1\\.", name));
    assert_false(finds("UP_PROJ", name));
}

static void a_broken_pattern_is_told_with_its_place(void **state)
{
    (void)state;
    axl_regex *r = NULL;

    assert_int_equal(axl_regex_create("mlp.(up", &r), AXL_E_CONFIG);
    assert_non_null(strstr(axl_error_message(), "'mlp.(up' is not a regular expression"));
    assert_non_null(strstr(axl_error_message(), "at character 8"));
    assert_null(r);
}

static void a_pattern_that_blows_up_is_an_error(void **state)
{
    (void)state;
    axl_regex *r = NULL;
    bool found = false;

    CHECK_OK(axl_regex_create("^(a|aa|a?)+$", &r));
    assert_int_equal(axl_regex_search(r, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", &found),
                     AXL_E_CONFIG);
    axl_regex_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_is_searched_anywhere),
        cmocka_unit_test(a_broken_pattern_is_told_with_its_place),
        cmocka_unit_test(a_pattern_that_blows_up_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
