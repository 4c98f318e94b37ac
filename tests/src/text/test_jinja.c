// RUN: np=1
// Templates against jinja2: the texts, the errors and the generation spans that transformers'
// environment gives. snippets.json and more.json share one context.
#include "src/io/file.h"
#include "src/text/jinja.h"
#include "tests/check.h"

#include <stdlib.h>

static const struct tm clock_2025 = {.tm_year = 125,
                                     .tm_mon = 2,
                                     .tm_mday = 9,
                                     .tm_hour = 14,
                                     .tm_min = 5,
                                     .tm_wday = 0,
                                     .tm_yday = 67};

// Compiles and renders; the text or the error message.
static axl_status render(const char *source, const axl_json *context, axl_jinja_spans *spans,
                         axl_jinja_fault *fault, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_jinja_options options = {.now = &clock_2025, .spans = spans, .fault = fault};
    axl_jinja *t = NULL;

    AXL_TRY(axl_jinja_compile(source, strlen(source), "t", &t));
    AXL_TRY(axl_jinja_render(t, context, &options, out));
out:
    axl_jinja_destroy(t);
    return status;
}

static bool same_spans(const axl_json *want, const axl_jinja_spans *got)
{
    if (axl_json_count(want) != got->n)
        return false;
    for (size_t i = 0; i < got->n; i++) {
        const axl_json *pair = axl_json_at(want, i);

        if (axl_json_int(axl_json_at(pair, 0), -1) != got->items[i].begin ||
            axl_json_int(axl_json_at(pair, 1), -1) != got->items[i].end)
            return false;
    }
    return true;
}

// Prints what differs; 1 if something does.
static int check_snippet(size_t i, const axl_json *s, const axl_json *context)
{
    const char *source = axl_json_string(axl_json_get(s, "source"), "");
    const axl_json *error = axl_json_get(s, "error"), *want = axl_json_get(s, "output");
    bool raises = error != NULL &&
                  strcmp(axl_json_string(axl_json_get(error, "type"), ""), "TemplateError") == 0;
    axl_jinja_spans spans = {0};
    axl_jinja_fault fault = {0};
    axl_str out = {0};
    axl_status status = render(source, context, &spans, &fault, &out);
    const char *got = status != AXL_OK ? axl_error_message() : out.data != NULL ? out.data : "";
    bool fine;

    if (error == NULL)
        fine = status == AXL_OK && out.len == axl_json_string_length(want) &&
               memcmp(got, axl_json_string(want, ""), out.len) == 0;
    else if (raises)
        fine = status == AXL_E_INPUT && fault.raised &&
               strcmp(fault.message.data, axl_json_string(axl_json_get(error, "message"), "")) == 0;
    else
        fine = status == AXL_E_INPUT && !fault.raised;
    if (fine && axl_json_get(s, "generation_spans") != NULL)
        fine = same_spans(axl_json_get(s, "generation_spans"), &spans);
    if (!fine)
        print_message("%zu: %s\n  want %s\n  got  %s\n", i, source,
                      error != NULL ? axl_json_string(axl_json_get(error, "message"), "")
                                    : axl_json_string(want, ""),
                      got);
    axl_jinja_spans_fini(&spans);
    axl_jinja_fault_fini(&fault);
    axl_str_fini(&out);
    return !fine;
}

static void check_file(const char *name)
{
    char path[512];
    axl_str text = {0};
    axl_json *root = NULL;
    axl_json *list;
    int wrong = 0;

    (void)snprintf(path, sizeof path, "%s/jinja/%s", AXL_TEST_DATA, name);
    CHECK_OK(axl_file_read(path, &text));
    CHECK_OK(axl_jinja_context_parse(text.data, text.len, path, &root));
    list = axl_json_get(root, "snippets");
    assert_true(axl_json_count(list) > 100);
    for (size_t i = 0; i < axl_json_count(list); i++)
        wrong += check_snippet(i, axl_json_at(list, i), axl_json_get(root, "context"));
    axl_json_free(root);
    axl_str_fini(&text);
    assert_int_equal(wrong, 0);
}

static void snippets_equal_jinja2(void **state)
{
    (void)state;
    check_file("snippets.json");
}

static void more_templates_equal_jinja2(void **state)
{
    (void)state;
    check_file("more.json");
}

// Templates that would take for ever, or all memory, or all of the stack.
static void hostile_templates_end_with_an_error(void **state)
{
    static const char *const sources[] = {
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10 ** 9 }}",
        "{% set ns = namespace(s='xxxxxxxx') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}",
        "{% set ns = namespace(x=[], y=[]) %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
        "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for a in range(90000) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}"
        "{{ ns.x == [ns.x] }}{{ ns.x }}",
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
        "{% set ns = namespace(x=[1]) %}{% for a in range(99) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ 'x'.center(10 ** 12) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ range(10 ** 15) }}",
        "{{ 2 ** 10000 }}",
        "{% macro m(n) %}{% if n > 0 %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(40) "
        "}}",
        "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{{ 'aaaaaaab' in s }}{% endfor %}",
        "{% set s = 'a b ' * 1000000 %}{% for i in range(1000) %}{{ s | wordcount }}{% endfor %}",
        "{% set s = '\u00e9' * 1000000 %}{% for i in range(99999) %}{{ s[i] }}{% endfor %}",
        "{% for i in range(1000) %}{% set _ = range(99999) | sort %}{% endfor %}",
        "{{ range(99999) | join('x' * 100000) }}",
        "{{ ('a\\n' * 100000) | indent(100000) }}",
    };
    axl_str out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        CHECK_FAILS(render(sources[i], NULL, NULL, NULL, &out), AXL_E_INPUT, "t:1: ");
    assert_int_equal(out.len, 0);
    axl_str_fini(&out);
}

// Each of these parts stands 10,000 times in a row: an error or a text, but no fall.
static void long_chains_and_nests_end_soon(void **state)
{
    static const char *const parts[][3] = {
        {"", "{% for a in [1] %}", ""},
        {"", "{% set a %}", ""},
        {"", "{% macro a() %}", ""},
        {"", "{% with %}", ""},
        {"", "{% filter trim %}", ""},
        {"", "{% call a() %}", ""},
        {"", "{% generation %}", ""},
        {"{{ ", "{1:", "}}"},
        {"{{ ", "not ", "1 }}"},
        {"{{ ", "-", "1 }}"},
        {"{{ 1", " ~ 1", " }}"},
        {"{{ 'a'", " | trim", " }}"},
        {"{{ x", ".a", " }}"},
        {"{{ x", "[0]", " }}"},
        {"{{ x", "()", " }}"},
        {"{{ 1", " < 2", " }}"},
        {"{{ 1", " and 1", " }}"},
        {"{{ 1", " ** 1", " }}"},
        {"{{ 1", " if 1 else 1", " }}"},
        {"{% if 0 %}", "{% elif 0 %}", "{% endif %}"},
        {"", "{#", ""},
        {"", "{% raw %}", ""},
    };
    axl_str source = {0}, out = {0};
    clock_t start = clock();

    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        axl_str_clear(&source);
        axl_str_clear(&out);
        CHECK_OK(axl_str_puts(&source, parts[i][0]));
        for (int k = 0; k < 10000; k++)
            CHECK_OK(axl_str_puts(&source, parts[i][1]));
        CHECK_OK(axl_str_puts(&source, parts[i][2]));
        axl_status status = render(source.data, NULL, NULL, NULL, &out);
        assert_true(status == AXL_OK || status == AXL_E_INPUT);
    }
    assert_true(clock() - start < 20 * CLOCKS_PER_SEC); // 0.2 s, with room for sanitizers
    axl_str_fini(&source);
    axl_str_fini(&out);
}

static void brackets_nested_too_deeply_are_refused(void **state)
{
    axl_str source = {0}, out = {0};

    (void)state;
    CHECK_OK(axl_str_puts(&source, "{{ "));
    for (int i = 0; i < 100000; i++)
        CHECK_OK(axl_str_puts(&source, "[("));
    CHECK_FAILS(render(source.data, NULL, NULL, NULL, &out), AXL_E_INPUT, "too deeply");
    axl_str_clear(&source);
    for (int i = 0; i < 10000; i++)
        CHECK_OK(axl_str_puts(&source, "{% if 1 %}"));
    CHECK_FAILS(render(source.data, NULL, NULL, NULL, &out), AXL_E_INPUT, "too deeply");
    axl_str_clear(&source);
    CHECK_OK(axl_str_puts(&source, "{{ 1"));
    for (int i = 0; i < 10000; i++)
        CHECK_OK(axl_str_puts(&source, " + 1"));
    CHECK_OK(axl_str_puts(&source, " }}"));
    CHECK_FAILS(render(source.data, NULL, NULL, NULL, &out), AXL_E_INPUT, "nests deeper");
    axl_str_fini(&source);
    axl_str_fini(&out);
}

static void errors_name_template_and_line(void **state)
{
    axl_str out = {0};

    (void)state;
    CHECK_FAILS(render("a\n\n{{ x.y }}", NULL, NULL, NULL, &out), AXL_E_INPUT,
                "t:3: 'x' is undefined");
    CHECK_FAILS(render("a\n\n  {{ x.y }} \nb", NULL, NULL, NULL, &out), AXL_E_INPUT,
                "t:3: 'x' is undefined; in: {{ x.y }}");
    CHECK_FAILS(render("a\n{% if %}", NULL, NULL, NULL, &out), AXL_E_INPUT, "t:2: ");
    CHECK_FAILS(render("\xff", NULL, NULL, NULL, &out), AXL_E_INPUT, "invalid UTF-8");
    axl_str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snippets_equal_jinja2),
        cmocka_unit_test(more_templates_equal_jinja2),
        cmocka_unit_test(hostile_templates_end_with_an_error),
        cmocka_unit_test(long_chains_and_nests_end_soon),
        cmocka_unit_test(brackets_nested_too_deeply_are_refused),
        cmocka_unit_test(errors_name_template_and_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
