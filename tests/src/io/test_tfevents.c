// RUN: np=1
// Event files: the checksum by its published values, every byte of a small file by the field numbers of the format.
#include "src/io/file.h"
#include "src/io/tfevents.h"
#include "tests/check.h"

#include <dirent.h>
#include <stdlib.h>

static uint32_t unmask(uint32_t masked)
{
    const uint32_t rotated = masked - 0xa282ead8;

    return rotated >> 17 | rotated << 15;
}

// RFC 3720, B.4.
static void the_checksum_is_that_of_the_rfc(void **state)
{
    uint8_t zeros[32] = {0}, ones[32], rising[32];
    (void)state;

    for (int i = 0; i < 32; i++) {
        ones[i] = 0xff;
        rising[i] = (uint8_t)i;
    }
    assert_int_equal(unmask(axl_tfevents_checksum(zeros, 32)), 0x8a9136aa);
    assert_int_equal(unmask(axl_tfevents_checksum(ones, 32)), 0x62a8ab43);
    assert_int_equal(unmask(axl_tfevents_checksum(rising, 32)), 0x46dd794e);
    assert_int_equal(unmask(axl_tfevents_checksum("123456789", 9)), 0xe3069283);
}

static uint64_t little(const char *p, int n)
{
    uint64_t value = 0;

    for (int i = n; i-- > 0;)
        value = value << 8 | (uint8_t)p[i];
    return value;
}

// The bytes of the record at *at, without the time, which every event begins with.
static const char *next_record(const axl_str *file, size_t *at, size_t *n)
{
    const char *head = file->data + *at;

    assert_true(*at + 16 <= file->len);
    *n = little(head, 8);
    assert_true(*at + 16 + *n <= file->len);
    assert_int_equal(little(head + 8, 4), axl_tfevents_checksum(head, 8));
    assert_int_equal(little(head + 12 + *n, 4), axl_tfevents_checksum(head + 12, *n));
    *at += 16 + *n;
    assert_int_equal(head[12], 1 << 3 | 1); // wall_time, 8 bytes
    *n -= 9;
    return head + 12 + 9;
}

static void a_file_holds_what_was_put(void **state)
{
    char dir[] = "/tmp/axl_events_XXXXXX";
    axl_tfevents *e = NULL;
    axl_str file = {0}, path = {0};
    size_t at = 0, n = 0;
    (void)state;

    assert_non_null(mkdtemp(dir));
    CHECK_OK(axl_tfevents_open(dir, 7, &e));
    CHECK_OK(axl_tfevents_put(e, 300,
                              (const axl_tfevents_scalar[]){{"train/loss", 1.5}, {"b", -2.0}}, 2));
    CHECK_OK(axl_tfevents_close(e));
    DIR *folder = opendir(dir);
    const struct dirent *entry = NULL;
    while ((entry = readdir(folder)) != NULL)
        if (strncmp(entry->d_name, "events.out.tfevents.", 20) == 0)
            CHECK_OK(axl_str_printf(&path, "%s/%s", dir, entry->d_name));
    (void)closedir(folder);
    CHECK_OK(axl_file_read(path.data, &file));

    const char *p = next_record(&file, &at, &n);
    assert_int_equal(n, 15);
    assert_memory_equal(p,
                        "\x1a\x0d"
                        "brain.Event:2",
                        15);
    p = next_record(&file, &at, &n);
    assert_int_equal(n, 6);
    assert_memory_equal(p, "\x10\x07\x3a\x02\x08\x01", 6); // step 7, session_log, START
    p = next_record(&file, &at, &n);
    static const char wanted[] = "\x10\xac\x02"                               // step 300
                                 "\x2a\x1d"                                   // summary
                                 "\x0a\x11\x0a\x0atrain/loss\x15\0\0\xc0\x3f" // tag, 1.5
                                 "\x0a\x08\x0a\x01"
                                 "b\x15\0\0\0\xc0"; // tag, -2
    assert_int_equal(n, sizeof wanted - 1);
    assert_memory_equal(p, wanted, n);
    assert_int_equal(at, file.len);
    axl_str_fini(&file);
    axl_str_fini(&path);
    CHECK_OK(axl_path_remove(dir));
}

static void a_folder_that_cannot_be_written_is_named(void **state)
{
    axl_tfevents *e = NULL;
    (void)state;

    CHECK_FAILS(axl_tfevents_open("/nonexistent", 1, &e), AXL_E_IO, "/nonexistent/events.out");
    assert_null(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_that_of_the_rfc),
        cmocka_unit_test(a_file_holds_what_was_put),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
