// RUN: np=1
// The same records from every kind of file, and what is said about damaged ones.
#include "src/data/rows.h"
#include "tests/src/data/data_check.h"

#include <zlib.h>

#define FILES AXL_TEST_DATA "/data/files/"

// All records of a file, parsed and written again, a line each, behind their place when asked for.
static axl_status read_rows(const char *path, const char *ds_type, bool places, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_rows *r = NULL;
    axl_rows_kind kind = NULL;
    axl_row_text text;
    axl_json *row = NULL;
    axl_str where = {0};
    bool more = true;

    axl_str_clear(out);
    AXL_TRY(axl_str_puts(out, ""));
    AXL_TRY(axl_rows_kind_of(path, ds_type, &kind));
    AXL_TRY(axl_rows_open(path, kind, &r));
    while (true) {
        AXL_TRY(axl_rows_next(r, &text, &more));
        if (!more)
            break;
        axl_str_clear(&where);
        AXL_TRY(axl_str_printf(&where, "%s:%lld", path, (long long)text.line));
        AXL_TRY(axl_row_parse(kind, text.text, text.n, where.data, &row));
        if (places)
            AXL_TRY(axl_str_printf(out, "%lld ", (long long)text.line));
        AXL_TRY(axl_json_dump(row, 0, out));
        AXL_TRY(axl_str_putc(out, '\n'));
        axl_json_free(row);
        row = NULL;
    }

out:
    axl_json_free(row);
    axl_rows_close(r);
    axl_str_fini(&where);
    return status;
}

static bool has_arrow(void)
{
    axl_str out = {0};
    axl_status status = read_rows(FILES "rows.parquet", NULL, false, &out);

    axl_str_fini(&out);
    return status != AXL_E_UNSUPPORTED;
}

static void check_same(const char *path, const char *as)
{
    axl_str got = {0}, want = {0};

    CHECK_OK(read_rows(as, NULL, false, &want));
    CHECK_OK(read_rows(path, NULL, false, &got));
    assert_string_equal(got.data, want.data);
    axl_str_fini(&got);
    axl_str_fini(&want);
}

static void arrow_and_parquet_read_as_jsonl(void **state)
{
    (void)state;
    if (!has_arrow())
        skip();
    check_same(FILES "rows.parquet", FILES "rows.jsonl");
    check_same(FILES "rows-zstd.parquet", FILES "rows.jsonl");
    check_same(FILES "rows.arrow", FILES "rows.jsonl");
    check_same(FILES "rows-file.arrow", FILES "rows.jsonl");
}

static void every_column_type_has_its_json(void **state)
{
    (void)state;
    if (!has_arrow())
        skip();
    check_same(FILES "types.arrow", FILES "types.jsonl");
    check_same(FILES "types.parquet", FILES "types.jsonl");
    check_same(FILES "views.arrow", FILES "views.jsonl");
}

static void csv_reads_as_text(void **state)
{
    (void)state;
    check_same(FILES "notes.csv", FILES "notes.jsonl");
}

// The rows of a text, or the message when it cannot be read.
static void check_text(const folder *f, const char *name, const char *text, const char *want)
{
    char path[256];
    axl_str got = {0};

    folder_write(f, name, text);
    axl_status status = read_rows(folder_file(f, name, path), NULL, true, &got);
    if (status == AXL_OK) {
        assert_string_equal(got.data, want);
    } else {
        assert_int_equal(status, AXL_E_INPUT);
        if (strstr(axl_error_message(), want) == NULL)
            fail_msg("%s instead of %s", axl_error_message(), want);
    }
    axl_str_fini(&got);
}

static void csv_cells_are_cut_by_rfc_4180(void **state)
{
    const folder *f = *state;

    check_text(
        f, "a.csv",
        "\xef\xbb\xbf"
        "a,b\r\n1,2\r\n\r\n\"x,\r\ny\",\"say \"\"hi\"\"\"\r\n,z\n\"\",\"\"",
        "2 {\"a\": \"1\", \"b\": \"2\"}\n4 {\"a\": \"x,\\r\\ny\", \"b\": \"say \\\"hi\\\"\"}\n"
        "6 {\"b\": \"z\"}\n7 {}\n");
    check_text(f, "short.csv", "a,b,c\n1\n5\" pipe,2\n",
               "2 {\"a\": \"1\"}\n3 {\"a\": \"5\\\" pipe\", \"b\": \"2\"}\n");
    check_text(f, "unnamed.csv", ",b\n0,1\n", "2 {\"Unnamed: 0\": \"0\", \"b\": \"1\"}\n");
    check_text(f, "empty.csv", "", "");
    check_text(f, "header.csv", "a,b", "");
    check_text(f, "end.csv", "a\n\"1\"", "2 {\"a\": \"1\"}\n");
}

static void bad_csv_names_the_line_its_record_begins_at(void **state)
{
    const folder *f = *state;

    check_text(f, "wide.csv", "a,b\n\"1\n\",2\n1,2,3\n",
               "wide.csv:4: 3 cells, but the header names 2");
    check_text(f, "open.csv", "a,b\n1,2\n3,\"4\n5,6\n",
               "open.csv:3: a quote of this record is not closed");
    check_text(f, "behind.csv", "a,b\n1,\"2\" 3\n",
               "behind.csv:2: there is text behind a closing quote");
    check_text(f, "twice.csv", "a,b,a\n", "twice.csv:1: the column \"a\" stands twice");
    check_text(f, "quote.csv", "a,\"b\n", "quote.csv:1: a quote in the header");
    check_text(f, "bytes.csv", "a,b\n1,\xff\n", "bytes.csv:2: the record is not UTF-8");
}

static void a_bad_csv_record_does_not_end_the_file(void **state)
{
    const folder *f = *state;
    char path[256];
    axl_rows *r = NULL;
    axl_rows_kind kind = NULL;
    axl_row_text text;
    axl_json *row = NULL;
    bool more = false;

    folder_write(f, "goes-on.csv", "a\n1,2\n3\n");
    CHECK_OK(axl_rows_kind_of("goes-on.csv", NULL, &kind));
    CHECK_OK(axl_rows_open(folder_file(f, "goes-on.csv", path), kind, &r));
    CHECK_OK(axl_rows_next(r, &text, &more));
    CHECK_FAILS(axl_row_parse(kind, text.text, text.n, "x:2", &row), AXL_E_INPUT, "x:2: 2 cells");
    CHECK_OK(axl_rows_next(r, &text, &more));
    assert_true(more);
    CHECK_OK(axl_row_parse(kind, text.text, text.n, "x:3", &row));
    assert_string_equal(axl_json_string(axl_json_get(row, "a"), ""), "3");
    axl_json_free(row);
    axl_rows_close(r);
}

static void json_is_cut_without_its_parser(void **state)
{
    const folder *f = *state;

    check_text(f, "a.json", " [ {\"a\": \"]},\\\"\"},\n\n{\"b\": [1, {}]} ]\n",
               "1 {\"a\": \"]},\\\"\"}\n3 {\"b\": [1, {}]}\n");
    check_text(f, "b.json", "{\"a\": 1}\n{\"a\":\n2} {\"a\": 3}{\"a\": 4}",
               "1 {\"a\": 1}\n2 {\"a\": 2}\n3 {\"a\": 3}\n3 {\"a\": 4}\n");
    check_text(f, "c.json", "[]", "");
    check_text(f, "d.json", "", "");
    check_text(f, "e.json", "[{\"a\": \"\\", "e.json:1: ");
    check_text(f, "f.json", "[{}] {}", "f.json:1: text after the array");
    check_text(f, "g.json", "[{}\n{}]", "g.json:2: a comma");
}

static size_t resident_kib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    size_t kib = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtoull(line + 6, NULL, 10);
    }
    if (file != NULL)
        (void)fclose(file);
    return kib;
}

// 64 MiB of records in one array and one CSV, gzipped: memory stays at buffers and the longest record.
static void memory_is_bounded_by_the_longest_record(void **state)
{
    const folder *f = *state;
    static const char *const names[] = {"big.json.gz", "big.csv.gz"};
    char path[256];
    axl_rows *r = NULL;
    axl_rows_kind kind = NULL;
    axl_row_text text;

    for (int k = 0; k < 2; k++) {
        gzFile out = gzopen(folder_file(f, names[k], path), "wb1");
        int64_t n = 0;
        bool more = true;
        (void)gzputs(out, k == 0 ? "[" : "text\n");
        for (int i = 0; i < 1 << 16; i++) {
            (void)gzprintf(out, "%s%s%01000d%s", k == 0 && i > 0 ? "," : "",
                           k == 0 ? "{\"text\": \"" : "\"", i, k == 0 ? "\"}" : "\n\"\n");
        }
        (void)gzputs(out, k == 0 ? "]" : "");
        assert_int_equal(gzclose(out), Z_OK);
        size_t before = resident_kib();
        CHECK_OK(axl_rows_kind_of(path, NULL, &kind));
        CHECK_OK(axl_rows_open(path, kind, &r));
        for (more = true, n = -1; more; n++)
            CHECK_OK(axl_rows_next(r, &text, &more));
        assert_true(resident_kib() < before + 8192);
        axl_rows_close(r);
        assert_int_equal(n, 1 << 16);
    }
}

static void damaged_arrow_files_are_errors(void **state)
{
    const folder *f = *state;
    static const char *const names[] = {"rows.parquet", "rows.arrow", "rows-file.arrow"};
    char path[256], from[256];
    axl_str bytes = {0}, out = {0};

    if (!has_arrow())
        skip();
    for (int k = 0; k < 3; k++) {
        axl_str_clear(&bytes);
        (void)snprintf(from, sizeof from, "%s%s", FILES, names[k]);
        CHECK_OK(axl_file_read(from, &bytes));
        folder_file(f, names[k], path);
        CHECK_OK(axl_file_write(path, bytes.data, bytes.len / 2));
        CHECK_FAILS(read_rows(path, NULL, false, &out), AXL_E_INPUT, path);
    }
    folder_write(f, "words.parquet", "these are no columns");
    CHECK_FAILS(read_rows(folder_file(f, "words.parquet", path), NULL, false, &out), AXL_E_INPUT,
                "it is no parquet file");
    folder_write(f, "none.arrow", "");
    CHECK_FAILS(read_rows(folder_file(f, "none.arrow", path), NULL, false, &out), AXL_E_INPUT,
                "it is no arrow file");
    axl_str_fini(&bytes);
    axl_str_fini(&out);
}

static void the_kind_is_told_by_ds_type_then_by_name(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"a.jsonl", NULL, "json"},   {"a.JSON.gz", NULL, "json"},    {"a.csv.zst", NULL, "csv"},
        {"a.txt.xz", NULL, "text"},  {"a.parquet", NULL, "parquet"}, {"a.arrow", NULL, "arrow"},
        {"a.data", NULL, "json"},    {"a.data", "csv", "csv"},       {"a.csv", "text", "text"},
        {"a.jsonl", "json", "json"},
    };
    axl_rows_kind kind = NULL, lines = NULL, whole = NULL;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(axl_rows_kind_of(cases[i][0], cases[i][1], &kind));
        assert_string_equal(axl_rows_kind_name(kind), cases[i][2]);
    }
    CHECK_OK(axl_rows_kind_of("a.jsonl.bz2", "json", &lines));
    CHECK_OK(axl_rows_kind_of("a", "json", &whole));
    assert_true(lines != whole);
    CHECK_FAILS(axl_rows_kind_of("a", "xml", &kind), AXL_E_CONFIG,
                "ds_type xml is not known; use one of json, text, csv, parquet, arrow");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrow_and_parquet_read_as_jsonl),
        cmocka_unit_test(every_column_type_has_its_json),
        cmocka_unit_test(csv_reads_as_text),
        cmocka_unit_test(csv_cells_are_cut_by_rfc_4180),
        cmocka_unit_test(bad_csv_names_the_line_its_record_begins_at),
        cmocka_unit_test(a_bad_csv_record_does_not_end_the_file),
        cmocka_unit_test(json_is_cut_without_its_parser),
        cmocka_unit_test(memory_is_bounded_by_the_longest_record),
        cmocka_unit_test(damaged_arrow_files_are_errors),
        cmocka_unit_test(the_kind_is_told_by_ds_type_then_by_name),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
