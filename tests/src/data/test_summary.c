// RUN: np=1
// The summary against counts made by hand, for the whole and for each entry.
#include "src/data/summary.h"
#include "tests/src/data/data_check.h"

static int64_t number(const axl_json *v, const char *key)
{
    const axl_json *n = axl_json_get(v, key);

    assert_true(axl_json_is(n, AXL_JSON_INT));
    return axl_json_int(n, -1);
}

static axl_prepared *prepare_two(const folder *f, axl_json **json, axl_str *text)
{
    static const int32_t first[] = {40, 1, 10, 70, 30}, second[] = {64, 65, 100};
    char data[2][256], prepared[256];
    axl_prepared *p = NULL;
    axl_str out = {0};

    folder_write_rows(f, "a.jsonl", first, 5);
    folder_write_rows(f, "b.jsonl", second, 3);
    const axl_dataset_spec specs[] = {
        {.place = "run.yaml:3", .path = folder_file(f, "a.jsonl", data[0])},
        {.place = "run.yaml:4", .path = folder_file(f, "b.jsonl", data[1])}};
    const axl_data_options o = {.sequence_len = 64,
                                .min_sample_len = 2,
                                .excess = AXL_EXCESS_TRUNCATE,
                                .prepared_path = folder_file(f, "prepared", prepared)};
    CHECK_OK(axl_prepare(specs, 2, &o, NULL, false, NULL, &p));
    CHECK_OK(axl_summary_json(p, &out));
    CHECK_OK(axl_json_parse(out.data, out.len, "summary", json));
    CHECK_OK(axl_summary_text(p, text));
    axl_str_fini(&out);
    return p;
}

static void lengths_and_drops_are_those_of_the_rows(void **state)
{
    axl_json *all = NULL;
    axl_str text = {0};
    axl_prepared *p = prepare_two(*state, &all, &text);

    assert_int_equal(number(all, "rows"), 8);
    assert_int_equal(number(all, "samples"), 7); // 40 10 64 30, 64 64 64
    assert_int_equal(number(all, "too_short"), 1);
    assert_int_equal(number(all, "truncated"), 3);
    assert_int_equal(number(all, "tokens"), 336);
    assert_int_equal(number(all, "trained_tokens"), 168);
    const axl_json *lengths = axl_json_get(all, "lengths");
    assert_int_equal(number(lengths, "p50"), 64); // the fourth of 10 30 40 64 64 64 64
    assert_int_equal(number(lengths, "p90"), 64);
    assert_int_equal(number(lengths, "max"), 64);
    assert_true(axl_json_real(axl_json_get(lengths, "mean"), 0.0) == 48.0);
    const axl_json *bins = axl_json_get(all, "histogram");
    assert_int_equal(axl_json_count(bins), 2);
    assert_int_equal(number(axl_json_at(bins, 0), "up_to"), 32);
    assert_int_equal(number(axl_json_at(bins, 0), "samples"), 2);
    assert_int_equal(number(axl_json_at(bins, 1), "samples"), 5);
    assert_non_null(strstr(text.data, "8 rows gave 7 samples, 336 tokens, 168 trained (50.0 %)"));
    assert_non_null(strstr(text.data, "3 samples cut to sequence_len"));
    axl_json_free(all);
    axl_str_fini(&text);
    axl_prepared_close(p);
}

static void each_entry_is_counted_by_itself(void **state)
{
    axl_json *all = NULL;
    axl_str text = {0};
    axl_prepared *p = prepare_two(*state, &all, &text);
    const axl_json *entries = axl_json_get(all, "entries");

    assert_int_equal(axl_json_count(entries), 2);
    const axl_json *a = axl_json_at(entries, 0), *b = axl_json_at(entries, 1);
    assert_int_equal(number(a, "rows"), 5);
    assert_int_equal(number(a, "samples"), 4);
    assert_int_equal(number(a, "truncated"), 1);
    assert_int_equal(number(axl_json_get(a, "lengths"), "p50"), 30);
    assert_int_equal(number(axl_json_get(a, "lengths"), "p90"), 64);
    assert_int_equal(number(b, "rows"), 3);
    assert_int_equal(number(b, "truncated"), 2);
    assert_int_equal(number(b, "too_short"), 0);
    assert_int_equal(number(b, "tokens"), 192);
    assert_non_null(strstr(axl_json_string(axl_json_get(b, "first_file"), ""), "b.jsonl"));
    assert_non_null(strstr(text.data, "b.jsonl: 3 rows gave 3 samples"));
    axl_json_free(all);
    axl_str_fini(&text);
    axl_prepared_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_and_drops_are_those_of_the_rows),
        cmocka_unit_test(each_entry_is_counted_by_itself),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
