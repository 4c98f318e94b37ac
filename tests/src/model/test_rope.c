// RUN: np=1
// Rotation frequencies of every rope type, with settings of published models, against transformers
// (tests/goldens/make_rope.py).
#include "src/model/arch.h"
#include "tests/check.h"

static axl_json *golden;

static void check_case(const axl_json *c)
{
    axl_arch arch;
    float inv_freq[AXL_MAX_ROPE_PAIRS];
    float factor;
    const char *name = axl_json_string(axl_json_get(c, "name"), "?");
    const axl_json *want = axl_json_get(c, "inv_freq");

    CHECK_OK(axl_arch_from_json(axl_json_get(c, "config"), name, &arch));
    const axl_rope *rope = &arch.ropes[0];
    axl_rope_frequencies(rope, axl_json_int(axl_json_get(c, "length"), 0), inv_freq, &factor);
    assert_int_equal(axl_json_count(want) * 4, rope->rotary_dim / 2);
    for (size_t i = 0; i < axl_json_count(want); i++) {
        double w = axl_json_real(axl_json_at(want, i), NAN);
        // two steps of f32: powf of the C library and that of the reference round differently
        if (!(fabs((double)inv_freq[4 * i] - w) <= 2.4e-7 * w))
            fail_msg("%s: frequency %zu is %.9g, expected %.9g", name, 4 * i,
                     (double)inv_freq[4 * i], w);
    }
    double f = axl_json_real(axl_json_get(c, "factor"), NAN);
    if (!(fabs((double)factor - f) <= 1.2e-7 * f))
        fail_msg("%s: the factor is %.9g, expected %.9g", name, (double)factor, f);
    axl_arch_fini(&arch);
}

static void frequencies_agree_with_transformers(void **state)
{
    const axl_json *cases = axl_json_get(golden, "cases");

    (void)state;
    assert_true(axl_json_count(cases) >= 11);
    for (size_t i = 0; i < axl_json_count(cases); i++)
        check_case(axl_json_at(cases, i));
}

static void only_dynamic_depends_on_the_length(void **state)
{
    const axl_json *cases = axl_json_get(golden, "cases");

    (void)state;
    for (size_t i = 0; i < axl_json_count(cases); i++) {
        axl_arch arch;
        float a[AXL_MAX_ROPE_PAIRS];
        float b[AXL_MAX_ROPE_PAIRS];
        float factor;
        CHECK_OK(axl_arch_from_json(axl_json_get(axl_json_at(cases, i), "config"), "x", &arch));
        const axl_rope *rope = &arch.ropes[0];
        size_t bytes = (size_t)(rope->rotary_dim / 2) * sizeof *a;
        axl_rope_frequencies(rope, 1, a, &factor);
        axl_rope_frequencies(rope, 4 * rope->max_position, b, &factor);
        assert_int_equal(memcmp(a, b, bytes) != 0, rope->type == AXL_ROPE_DYNAMIC);
        axl_arch_fini(&arch);
    }
}

static int open_golden(void **state)
{
    (void)state;
    return axl_json_read(AXL_TEST_DATA "/model/rope.json", &golden) != AXL_OK;
}

static int close_golden(void **state)
{
    (void)state;
    axl_json_free(golden);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequencies_agree_with_transformers),
        cmocka_unit_test(only_dynamic_depends_on_the_length),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
