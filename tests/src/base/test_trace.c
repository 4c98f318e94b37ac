// RUN: np=1
// Spans come out as they went in, within their memory.
#include "src/base/trace.h"
#include "tests/check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void spans_are_written_as_chrome_events(void **state)
{
    char path[] = "/tmp/axl_trace_XXXXXX", text[2048] = "";
    axl_trace *t = NULL;
    (void)state;

    assert_true(mkstemp(path) >= 0);
    CHECK_OK(axl_trace_create(2, &t));
    const double begin = axl_trace_begin(t);
    axl_trace_end(t, "self_attn.q_proj", "forward", 3,
                  begin + 0.5); // ends before it begins: any time is taken
    axl_trace_end(t, "step", "train", -1, begin);
    axl_trace_end(t, "dropped", "train", -1, begin);
    assert_int_equal(axl_trace_n(t), 3);
    CHECK_OK(axl_trace_write(t, path, 7));
    axl_trace_destroy(t);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    (void)fclose(file);
    assert_non_null(strstr(text, "\"dropped\": 1, \"traceEvents\": ["));
    assert_non_null(strstr(text, "{\"name\": \"rank 7\"}"));
    assert_non_null(strstr(
        text, "{\"name\": \"self_attn.q_proj\", \"cat\": \"forward\", \"ph\": \"X\", \"pid\": 7, "
              "\"tid\": 0, \"ts\": 500000.000"));
    assert_non_null(strstr(text, "\"args\": {\"number\": 3}}"));
    assert_non_null(strstr(
        text,
        "\"name\": \"step\", \"cat\": \"train\", \"ph\": \"X\", \"pid\": 7, \"tid\": 0, \"ts\": "
        "0.000"));
    assert_null(strstr(text, "\"name\": \"dropped\""));
    (void)unlink(path);
}

static void no_trace_costs_nothing_and_bad_paths_are_named(void **state)
{
    axl_trace *t = NULL;
    (void)state;

    assert_true(axl_trace_begin(NULL) == 0.0);
    axl_trace_end(NULL, "a", "b", 0, 0.0);
    axl_trace_destroy(NULL);
    CHECK_OK(axl_trace_create(1, &t));
    CHECK_FAILS(axl_trace_write(t, "/nonexistent/trace.json", 0), AXL_E_IO,
                "/nonexistent/trace.json");
    axl_trace_destroy(t);
}

static void half_a_trace_is_removed(void **state)
{
    char path[] = "/tmp/axl_trace_XXXXXX";
    axl_trace *t = NULL;
    struct rlimit before, small;
    (void)state;

    assert_true(mkstemp(path) >= 0);
    CHECK_OK(axl_trace_create(1, &t));
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    CHECK_FAILS(axl_trace_write(t, path, 0), AXL_E_IO, "cannot be written: File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(access(path, F_OK), -1);
    axl_trace_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_written_as_chrome_events),
        cmocka_unit_test(no_trace_costs_nothing_and_bad_paths_are_named),
        cmocka_unit_test(half_a_trace_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
