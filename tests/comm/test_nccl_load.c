// RUN: np=1
// The library itself, where it is installed; no driver is needed to open it.
#include "tests/check.h"

#include "comm/nccl_calls.h"

static void what_is_found_can_be_used(void **state)
{
    axl_nccl_calls calls;
    axl_nccl_id ids[2] = {{.bytes = {0}}, {.bytes = {0}}};
    const char *why = NULL;
    int version = 0;

    (void)state;
    if (!axl_nccl_load(&calls, &why)) {
        assert_true(strstr(why, "libnccl.so.2") != NULL);
        print_message("skipped: %s\n", why);
        skip();
    }
    assert_int_equal(calls.get_version(&version), AXL_NCCL_OK);
    assert_true(version >= AXL_NCCL_OLDEST);
    assert_true(version < 21900 || (calls.enrol != NULL && calls.release != NULL));
    for (int i = 0; i < 2; i++)
        assert_int_equal(calls.get_id(&ids[i]), AXL_NCCL_OK);
    assert_true(memcmp(&ids[0], &ids[1], sizeof ids[0]) != 0);
    assert_string_equal(calls.error_text(AXL_NCCL_OK), "no error");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found_can_be_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
