// RUN: np=1
// The built-in chat templates against the reference's renderings of many conversations: with tools,
// thoughts, parts, images, odd roles and blanks. A text is compared by its hash.
#include "src/io/file.h"
#include "src/text/chat_templates.h"
#include "src/text/jinja.h"
#include "tests/check.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct tm clock_2025 = {.tm_year = 125,
                                     .tm_mon = 2,
                                     .tm_mday = 9,
                                     .tm_hour = 14,
                                     .tm_min = 5,
                                     .tm_wday = 0,
                                     .tm_yday = 67};

static void add_all(axl_json *to, axl_json *from)
{
    const char *key;
    axl_json *v;
    void *it = NULL;

    while (axl_json_next(from, &it, &key, &v))
        CHECK_OK(axl_json_set(to, key, axl_json_ref(v)));
}

static axl_json *make_context(axl_json *root, const axl_json *c)
{
    axl_json *context = axl_json_new_object();

    CHECK_OK(axl_json_set(context, "add_generation_prompt", axl_json_new_bool(false)));
    add_all(context, axl_json_get(root, "special_tokens"));
    add_all(context, axl_json_get(axl_json_get(root, "conversations"),
                                  axl_json_string(axl_json_at(c, 0), "")));
    add_all(context, axl_json_at(c, 1));
    return context;
}

static bool same_text(const axl_str *text, const char *want)
{
    uint64_t h = 0xcbf29ce484222325u;
    char hex[20];

    for (size_t i = 0; i < text->len; i++)
        h = (h ^ (unsigned char)text->data[i]) * 0x100000001b3u;
    (void)snprintf(hex, sizeof hex, "%016" PRIx64, h);
    return strcmp(hex, want) == 0;
}

static int check_case(const axl_jinja *t, const char *name, axl_json *context, const axl_json *want)
{
    axl_jinja_fault fault = {0};
    axl_jinja_options options = {.now = &clock_2025, .fault = &fault};
    const char *raised = axl_json_string(axl_json_get(want, "raised"), NULL);
    const char *hash = axl_json_string(axl_json_get(want, "hash"), NULL);
    axl_str text = {0};
    axl_status status = axl_jinja_render(t, context, &options, &text);
    bool fine;

    if (hash != NULL)
        fine = status == AXL_OK && same_text(&text, hash);
    else if (raised != NULL)
        fine = status == AXL_E_INPUT && fault.raised && strcmp(fault.message.data, raised) == 0;
    else
        fine = status == AXL_E_INPUT;
    if (!fine)
        print_message("%s: %s\n", name, status == AXL_OK ? text.data : axl_error_message());
    axl_str_fini(&text);
    axl_jinja_fault_fini(&fault);
    return !fine;
}

static void built_in_templates_render_as_the_reference(void **state)
{
    axl_str file = {0};
    axl_json *root = NULL, *answers, *cases, *list;
    const char *name, *source;
    void *it = NULL;
    int wrong = 0, n = 0;

    (void)state;
    CHECK_OK(axl_file_read(AXL_TEST_DATA "/chat/renders.json", &file));
    CHECK_OK(axl_json_parse(file.data, file.len, "renders.json", &root));
    answers = axl_json_get(root, "answers");
    cases = axl_json_get(root, "cases");
    while (axl_json_next(answers, &it, &name, &list)) {
        axl_jinja *t = NULL;

        CHECK_OK(axl_chat_template_find(name, &source));
        CHECK_OK(axl_jinja_compile(source, strlen(source), name, &t));
        for (size_t i = 0; i < axl_json_count(cases); i++, n++) {
            axl_json *context = make_context(root, axl_json_at(cases, i));

            wrong += check_case(t, name, context, axl_json_at(list, i));
            axl_json_free(context);
        }
        axl_jinja_destroy(t);
    }
    axl_json_free(root);
    axl_str_fini(&file);
    print_message("%d renderings, %d wrong\n", n, wrong);
    assert_true(n == 36 * 33);
    assert_int_equal(wrong, 0);
}

static void an_unknown_name_is_answered_with_the_nearest(void **state)
{
    const char *source;

    (void)state;
    CHECK_FAILS(axl_chat_template_find("chatm", &source), AXL_E_CONFIG,
                "did you mean chatml; there are alpaca, aya, ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_templates_render_as_the_reference),
        cmocka_unit_test(an_unknown_name_is_answered_with_the_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
