// RUN: np=1
// Files that grow by records: no disk ends whoever writes them, and with room again each record is there, in its place.
#include "src/io/append.h"
#include "src/io/file.h"
#include "src/io/tfevents.h"
#include "tests/check.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char folder[32], path[128];

static int make_folder(void **state)
{
    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)snprintf(folder, sizeof folder, "/tmp/axl_append_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/lines", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return axl_path_remove(folder) == AXL_OK ? 0 : -1;
}

// A limit on the size of files stands for the disk: it may take a part of a record, too.
static void limit(rlim_t bytes)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void check_file(const char *want)
{
    axl_str text = {0};

    CHECK_OK(axl_file_read(path, &text));
    assert_string_equal(text.data, want);
    axl_str_fini(&text);
}

static void records_wait_for_room(void **state)
{
    axl_append *a = NULL;
    (void)state;

    CHECK_OK(axl_file_write(path, "before\n", 7));
    CHECK_OK(axl_append_open(path, &a));
    axl_append_put(a, "one\n", 4);
    check_file("before\none\n");
    limit(13);
    axl_append_put(a, "two\n", 4); // of which 2 bytes find room
    axl_append_put(a, "three\n", 6);
    limit(RLIM_INFINITY);
    assert_int_equal(axl_append_missing(a), 8);
    check_file("before\none\ntw");
    axl_append_put(a, "four\n", 5);
    assert_int_equal(axl_append_missing(a), 0);
    check_file("before\none\ntwo\nthree\nfour\n");
    limit(26);
    axl_append_put(a, "five\n", 5);
    limit(RLIM_INFINITY);
    CHECK_OK(axl_append_close(a)); // tries once more
    check_file("before\none\ntwo\nthree\nfour\nfive\n");
}

static void what_is_missing_in_the_end_is_an_error(void **state)
{
    axl_append *a = NULL;
    (void)state;

    CHECK_OK(axl_file_write(path, "", 0));
    CHECK_OK(axl_append_open(path, &a));
    limit(3);
    axl_append_put(a, "one\n", 4);
    CHECK_FAILS(axl_append_close(a), AXL_E_IO, "1 bytes could not be written: File too large; the");
    limit(RLIM_INFINITY);
    CHECK_OK(axl_append_open("/dev/full", &a));
    axl_append_put(a, "one\n", 4);
    CHECK_FAILS(axl_append_close(a), AXL_E_IO,
                "/dev/full: 4 bytes could not be written: No space left on device; free space");
    CHECK_FAILS(axl_append_open("/nonexistent/lines", &a), AXL_E_IO, "/nonexistent/lines");
    CHECK_OK(axl_append_close(NULL));
}

static void only_so_much_is_kept(void **state)
{
    axl_append *a = NULL;
    const size_t n = AXL_APPEND_KEPT_BYTES / 4;
    char *record = malloc(n);
    axl_str text = {0};
    (void)state;

    assert_non_null(record);
    CHECK_OK(axl_file_write(path, "", 0));
    CHECK_OK(axl_append_open(path, &a));
    limit(0);
    for (int i = 0; i < 6; i++) {
        memset(record, 'a' + i, n);
        axl_append_put(a, record, n);
    }
    assert_int_equal(axl_append_missing(a), 6 * n);
    limit(RLIM_INFINITY);
    axl_append_put(a, "end", 3);
    assert_int_equal(axl_append_missing(a), 2 * n); // the fifth and the sixth
    CHECK_FAILS(axl_append_close(a), AXL_E_IO, "could not be written");
    CHECK_OK(axl_file_read(path, &text));
    assert_int_equal(text.len, 4 * n + 3);
    assert_int_equal(text.data[4 * n - 1], 'd');
    assert_string_equal(text.data + 4 * n, "end");
    axl_str_fini(&text);
    free(record);
}

// Event files have no torn record in their middle: readers stop at one.
static void events_outlast_a_full_disk(void **state)
{
    axl_tfevents *e = NULL;
    axl_str text = {0};
    size_t at = 0, n_records = 0;
    (void)state;

    CHECK_OK(axl_path_remove(path));
    limit(100);
    CHECK_OK(axl_tfevents_open(folder, 1, &e));
    for (int64_t i = 1; i < 5; i++)
        CHECK_OK(axl_tfevents_put(e, i, &(axl_tfevents_scalar){"train/loss", 1.0}, 1));
    limit(RLIM_INFINITY);
    CHECK_OK(axl_tfevents_put(e, 5, &(axl_tfevents_scalar){"train/loss", 1.0}, 1));
    CHECK_OK(axl_tfevents_close(e));
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, "events.", 7) == 0)
            (void)snprintf(path, sizeof path, "%s/%.60s", folder, entry->d_name);
    (void)closedir(dir);
    CHECK_OK(axl_file_read(path, &text));
    for (; at + 16 <= text.len; n_records++) {
        const char *record = text.data + at;
        uint32_t sum = 0;
        size_t n = (uint8_t)record[0]; // all are short
        memcpy(&sum, record + 12 + n, sizeof sum);
        assert_int_equal(sum, axl_tfevents_checksum(record + 12, n));
        at += 16 + n;
    }
    assert_int_equal(at, text.len);
    assert_int_equal(n_records, 2 + 5);
    axl_str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_wait_for_room),
        cmocka_unit_test(what_is_missing_in_the_end_is_an_error),
        cmocka_unit_test(only_so_much_is_kept),
        cmocka_unit_test(events_outlast_a_full_disk),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
