// RUN: np=1
// YAML: scalar resolution, places, aliases and merge keys, bounds, and the words of its errors.
#include "src/io/yaml.h"
#include "tests/check.h"

#include <stdlib.h>

static axl_yaml *parse(const char *text)
{
    axl_diagnostics d = {0};
    axl_yaml *y = NULL;

    CHECK_OK(axl_yaml_parse(text, strlen(text), "t.yaml", &d, &y));
    assert_int_equal(d.n, 0);
    axl_diagnostics_fini(&d);
    return y;
}

static void check_json(const char *text, const char *json)
{
    axl_yaml *y = parse(text);
    axl_str out = {0};

    CHECK_OK(axl_yaml_put_json(axl_yaml_root(y), &out));
    assert_string_equal(out.data, json);
    axl_str_fini(&out);
    axl_yaml_destroy(y);
}

// Each expected text must be in the finding of the same index: "line:column: text".
static void check_faults(const char *text, size_t n_bytes, const char *const *expected, size_t n)
{
    axl_diagnostics d = {0};
    axl_yaml *y = NULL;
    char line[512];

    if (axl_yaml_parse(text, n_bytes, "t.yaml", &d, &y) != AXL_E_CONFIG)
        fail_msg("no error for: %s", text);
    assert_null(y);
    for (size_t i = 0; i < d.n || i < n; i++) {
        if (i >= d.n)
            fail_msg("no finding \"%s\" in: %s", expected[i], text);
        (void)snprintf(line, sizeof line, "%d:%d: %s", (int)d.items[i].line, (int)d.items[i].column,
                       d.items[i].text);
        if (i >= n || strstr(line, expected[i]) == NULL)
            fail_msg("finding \"%s\" instead of \"%s\"", line, i < n ? expected[i] : "none");
    }
    axl_diagnostics_fini(&d);
}

#define FAULTS(text, ...)                                                                          \
    do {                                                                                           \
        const char *const expected_[] = {__VA_ARGS__};                                             \
        check_faults(text, sizeof(text) - 1, expected_, sizeof expected_ / sizeof expected_[0]);   \
    } while (0)

static void plain_scalars_follow_yaml_1_1(void **state)
{
    static const struct {
        const char *text;
        axl_yaml_kind kind;
        double value;
    } cases[] = {
        {"yes", AXL_YAML_BOOL, 1},
        {"No", AXL_YAML_BOOL, 0},
        {"ON", AXL_YAML_BOOL, 1},
        {"off", AXL_YAML_BOOL, 0},
        {"True", AXL_YAML_BOOL, 1},
        {"FALSE", AXL_YAML_BOOL, 0},
        {"y", AXL_YAML_STRING, 0},
        {"tRue", AXL_YAML_STRING, 0},
        {"null", AXL_YAML_NULL, 0},
        {"~", AXL_YAML_NULL, 0},
        {"NULL", AXL_YAML_NULL, 0},
        {"nUll", AXL_YAML_STRING, 0},
        {"0", AXL_YAML_INT, 0},
        {"-12", AXL_YAML_INT, -12},
        {"+7", AXL_YAML_INT, 7},
        {"1_000", AXL_YAML_INT, 1000},
        {"017", AXL_YAML_INT, 15},
        {"-017", AXL_YAML_INT, -15},
        {"08", AXL_YAML_STRING, 0},
        {"0o17", AXL_YAML_STRING, 0},
        {"0x1F", AXL_YAML_INT, 31},
        {"0b101", AXL_YAML_INT, 5},
        {"1:30", AXL_YAML_INT, 90},
        {"190:20:30", AXL_YAML_INT, 685230},
        {"-1:30", AXL_YAML_INT, -90},
        {"1:60", AXL_YAML_STRING, 0},
        {"01:30", AXL_YAML_STRING, 0},
        {"1e-5", AXL_YAML_STRING, 0},
        {"1.0e-5", AXL_YAML_REAL, 1e-5},
        {"1.e+3", AXL_YAML_REAL, 1000},
        {"1.0e5", AXL_YAML_STRING, 0},
        {"1.5", AXL_YAML_REAL, 1.5},
        {".5", AXL_YAML_REAL, 0.5},
        {"-.5", AXL_YAML_STRING, 0},
        {"1_0.2_5", AXL_YAML_REAL, 10.25},
        {"1.", AXL_YAML_REAL, 1},
        {".", AXL_YAML_STRING, 0},
        {"1.2.3", AXL_YAML_STRING, 0},
        {"9223372036854775807", AXL_YAML_INT, 9223372036854775807.0},
        {"9223372036854775808", AXL_YAML_REAL, 9223372036854775808.0},
        {"-", AXL_YAML_STRING, 0},
        {"+", AXL_YAML_STRING, 0},
        {"0x", AXL_YAML_STRING, 0},
        {"12a", AXL_YAML_STRING, 0},
        {"2020-01-01", AXL_YAML_STRING, 0},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        axl_yaml_node node = {.text = cases[i].text, .n_text = strlen(cases[i].text)};
        axl_yaml_resolve(&node);
        if (node.kind != cases[i].kind)
            fail_msg("%s is %s", cases[i].text, axl_yaml_kind_name(node.kind));
        double value = node.kind == AXL_YAML_BOOL   ? node.boolean
                       : node.kind == AXL_YAML_INT  ? (double)node.integer
                       : node.kind == AXL_YAML_REAL ? node.real
                                                    : 0.0;
        if (value != cases[i].value)
            fail_msg("%s is %.17g", cases[i].text, value);
    }
}

static void documents(void **state)
{
    (void)state;
    check_json("", "null");
    check_json("# only a comment\n", "null");
    check_json("a: 1\nb: [x, 'yes', yes]\nc: {d: ~, e: \"1\"}\n",
               "{\"a\": 1, \"b\": [\"x\", \"yes\", true], \"c\": {\"d\": null, \"e\": \"1\"}}");
    check_json("\xef\xbb\xbf"
               "a: 1",
               "{\"a\": 1}");
    check_json("%YAML 1.1\n---\na: b\n...\n", "{\"a\": \"b\"}");
    check_json("a: |\n  x\n  y\nb: >-\n  p\n  q\n", "{\"a\": \"x\\ny\\n\", \"b\": \"p q\"}");
    check_json("a: !!str 12\nb: !!float 1\n", "{\"a\": \"12\", \"b\": 1}");
    check_json("a:\nb: .inf\n", "{\"a\": null, \"b\": \"Infinity\"}");
    check_json("a: \t1\n", "{\"a\": 1}");
}

static void aliases_and_merges(void **state)
{
    (void)state;
    check_json("a: &x {p: 1, q: 2}\nb: *x\n",
               "{\"a\": {\"p\": 1, \"q\": 2}, \"b\": {\"p\": 1, \"q\": 2}}");
    check_json("a: &x {p: 1, q: 2}\nb: {q: 3, <<: *x}\n",
               "{\"a\": {\"p\": 1, \"q\": 2}, \"b\": {\"p\": 1, \"q\": 3}}");
    check_json("a: &x {p: 1}\nb: &y {p: 2, r: 3}\nc: {<<: [*x, *y], s: 4}\n",
               "{\"a\": {\"p\": 1}, \"b\": {\"p\": 2, \"r\": 3}, "
               "\"c\": {\"p\": 1, \"r\": 3, \"s\": 4}}");
    check_json("a: &x 1\nb: &x 2\nc: *x\n", "{\"a\": 1, \"b\": 2, \"c\": 2}");
}

static void places_are_those_of_the_file(void **state)
{
    axl_yaml *y = parse("a: 1\nb:\n  - x\n  - \xc3\xa4: \"q\"\n");
    const axl_yaml_node *list = axl_yaml_get(axl_yaml_root(y), "b");
    const axl_yaml_entry *entry = &list->entries[1].value->entries[0];
    (void)state;

    assert_string_equal(entry->key->place.file, "t.yaml");
    assert_int_equal(entry->key->place.line, 4);
    assert_int_equal(entry->key->place.column, 5);
    assert_int_equal(entry->value->place.column, 8); // columns count characters
    assert_true(entry->value->quoted);
    axl_yaml_destroy(y);
}

static void faults_have_places(void **state)
{
    (void)state;
    FAULTS("a: 1\na: 2\nb: 3\nb: 4\n", "2:1: this key stands already on line 1",
           "4:1: this key stands already on line 3");
    FAULTS("a: b: c\n", "1:5: YAML syntax: a second ': ' on this line");
    FAULTS("a:\n\tb: 1\n", "2:1: a tab cannot indent");
    FAULTS("a: [1, 2\nb: 3\n", "YAML syntax");
    FAULTS("a: \"x\n", "YAML syntax");
    FAULTS("a: *x\n", "1:4: no anchor &x before this alias");
    FAULTS("a: &x [*x]\n", "1:8: the alias *x stands inside its own anchor");
    FAULTS("a: 1\n---\nb: 2\n", "2:1: a second document");
    FAULTS("? [a, b]\n: 1\n", "a key of a map must be a word, not a list");
    FAULTS("a: !!python/object:os.system x\n", "1:4: the tag");
    FAULTS("a: !!int x\n", "1:4: the tag");
    FAULTS("<<: 3\na: 1\n", "1:5: the merge key << needs a map");
    FAULTS("a: 1\nb: \xff\xfe\n", "2:4: the byte 0xff is not valid UTF-8",
           "2:5: the byte 0xfe is not valid UTF-8");
    FAULTS("a: x\0y\n", "1:5: the control character U+0000");
    FAULTS("a: \"x\\0y\"\n", "1:4: a NUL character");
    FAULTS("\xff\xfe"
           "a\0",
           "1:1: the byte 0xff", "1:2: the byte 0xfe", "1:4: the control character");
}

static void bounds_hold(void **state)
{
    axl_str text = {0};
    const char *const deep[] = {"nested deeper than 64 levels"};
    const char *const bomb[] = {"expands to more than 200000 nodes"};
    const char *const large[] = {"larger than 4 MiB"};
    (void)state;

    for (int i = 0; i < 10000; i++)
        CHECK_OK(axl_str_putc(&text, '['));
    check_faults(text.data, text.len, deep, 1);
    axl_str_clear(&text);
    CHECK_OK(axl_str_puts(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"));
    for (int i = 1; i < 12; i++)
        CHECK_OK(axl_str_printf(&text, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i,
                                i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1));
    check_faults(text.data, text.len, bomb, 1);
    axl_str_clear(&text);
    for (int i = 0; i < 5 << 20; i++)
        CHECK_OK(axl_str_putc(&text, 'x'));
    check_faults(text.data, text.len, large, 1);
    axl_str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_scalars_follow_yaml_1_1),
        cmocka_unit_test(documents),
        cmocka_unit_test(aliases_and_merges),
        cmocka_unit_test(places_are_those_of_the_file),
        cmocka_unit_test(faults_have_places),
        cmocka_unit_test(bounds_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
