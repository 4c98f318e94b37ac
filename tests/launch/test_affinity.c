// Ranks and the processors near their GPUs, on a made-up host of two packages with a processor, a GPU and a network
// card each.
#include "launch/affinity.h"
#include "tests/check.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static void use_host(bool is_this)
{
    assert_int_equal(setenv("HWLOC_XMLFILE", AXL_TEST_DATA "/topology_two_gpus.xml", 1), 0);
    assert_int_equal(setenv("HWLOC_THISSYSTEM", is_this ? "1" : "0", 1), 0);
}

static void a_gpu_is_near_the_processors_of_its_package(void **state)
{
    axl_affinity a;
    axl_str text = {0};

    (void)state;
    use_host(false);
    axl_affinity_find("0000:3b:00.0", &a);
    assert_string_equal(a.cpus, "0");
    assert_int_equal(a.node, 0);
    axl_affinity_find("0000:D8:00.0", &a); // as CUDA writes it
    assert_string_equal(a.cpus, "1");
    assert_int_equal(a.n_cpus, 1);
    assert_int_equal(a.node, 1);
    assert_string_equal(a.network, "ib1, mlx5_1");
    CHECK_OK(axl_affinity_text(&a, &text));
    assert_string_equal(text.data,
                        "0000:D8:00.0 near processors 1 (NUMA node 1), network ib1, mlx5_1");
    axl_str_fini(&text);
}

static void an_unknown_device_is_near_nothing_in_particular(void **state)
{
    axl_affinity a;
    axl_str text = {0};

    (void)state;
    use_host(false);
    axl_affinity_find("0000:01:00.0", &a);
    assert_string_equal(a.cpus, "");
    assert_int_equal(a.node, -1);
    assert_int_equal(axl_affinity_bind("not a bus", &a), AXL_AFFINITY_ALL);
    CHECK_OK(axl_affinity_text(&a, &text));
    assert_string_equal(text.data, "not a bus as near to all processors");
    axl_str_fini(&text);
}

static void gpus_are_found_without_a_driver(void **state)
{
    axl_affinity list[4];

    (void)state;
    use_host(false);
    assert_int_equal(axl_affinity_gpus(list, 4), 2);
    assert_string_equal(list[0].bus, "0000:3b:00.0");
    assert_string_equal(list[1].bus, "0000:d8:00.0");
    assert_string_equal(list[1].cpus, "1");
    assert_int_equal(axl_affinity_gpus(list, 1), 2);
}

// The made-up host's processors 0 and 1 are those of this one, if it has them.
static void a_rank_is_bound_once_and_a_launchers_binding_stays(void **state)
{
    axl_affinity a;
    cpu_set_t all, now;

    (void)state;
    use_host(true);
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    if (!CPU_ISSET(0, &all) || !CPU_ISSET(1, &all))
        skip();
    assert_int_equal(axl_affinity_bind("0000:d8:00.0", &a), AXL_AFFINITY_BOUND);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_COUNT(&now) == 1 && CPU_ISSET(1, &now));
    assert_int_equal(axl_affinity_bind("0000:3b:00.0", &a), AXL_AFFINITY_GIVEN);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_COUNT(&now) == 1 && CPU_ISSET(1, &now));
    assert_string_equal(a.cpus, "0");
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gpu_is_near_the_processors_of_its_package),
        cmocka_unit_test(an_unknown_device_is_near_nothing_in_particular),
        cmocka_unit_test(gpus_are_found_without_a_driver),
        cmocka_unit_test(a_rank_is_bound_once_and_a_launchers_binding_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
