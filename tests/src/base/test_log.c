// RUN: np=1
// Where the lines of a log go, and that a full disk is said once.
#include "src/base/log.h"
#include "tests/check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

// What a call writes to standard error.
static void record(void (*call)(void), char *text, size_t size)
{
    char path[] = "/tmp/axl_log_XXXXXX";
    const int file = mkstemp(path), before = dup(STDERR_FILENO);

    assert_true(file >= 0 && before >= 0);
    (void)unlink(path);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    call();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    const ssize_t n = pread(file, text, size - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    (void)close(file);
    (void)close(before);
}

static void warn_twice(void)
{
    axl_warn("one");
    axl_warn("two");
}

static void a_full_disk_is_said_once(void **state)
{
    char text[1024];
    (void)state;

    CHECK_OK(axl_log_open("/dev/full"));
    record(warn_twice, text, sizeof text);
    axl_log_close();
    assert_string_equal(text, "warning: debug.log: cannot be written: No space left on device; "
                              "lines are missing from it\nwarning: one\nwarning: two\n");
}

static void a_file_takes_what_the_terminal_does_not(void **state)
{
    char path[] = "/tmp/axl_log_XXXXXX", text[4352 * 2] = "", wide[8192];
    const int file = mkstemp(path);
    (void)state;

    assert_true(file >= 0);
    memset(wide, 'w', sizeof wide);
    CHECK_OK(axl_log_open(path));
    axl_debug("for the file");
    axl_debug("%.*s", (int)sizeof wide, wide); // is cut, but ends
    axl_log_close();
    axl_debug("nowhere");
    assert_true(read(file, text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, " [0/1] debug: for the file\n"));
    assert_non_null(strstr(text, " [0/1] debug: www"));
    assert_string_equal(text + strlen(text) - 2, "w\n");
    assert_null(strstr(text, "nowhere"));
    CHECK_FAILS(axl_log_open("/nonexistent/debug.log"), AXL_E_IO, "/nonexistent/debug.log");
    (void)unlink(path);
    (void)close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_said_once),
        cmocka_unit_test(a_file_takes_what_the_terminal_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
