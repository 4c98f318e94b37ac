// RUN: np=1
// The device: memory, the order of its streams, and what a failing task does.
#include "kernels/kernels.h"
#include "tests/check.h"

#include <stdlib.h>

// A task that is done after a number of polls, then appends its name to a log.
typedef struct slow_task {
    axl_task task;
    int polls_left;
    char name;
    char *log;
    axl_status fails;
} slow_task;

static axl_status poll_slow(axl_task *t, bool *done)
{
    slow_task *m = (slow_task *)t;

    if (m->fails != AXL_OK)
        return axl_error_set(m->fails, __FILE__, __LINE__, "task %c broke", m->name);
    *done = m->polls_left-- <= 0;
    if (*done)
        m->log[strlen(m->log)] = m->name;
    return AXL_OK;
}

static void destroy_slow(axl_task *t)
{
    free(t);
}

static axl_status push(axl_stream *s, char *log, char name, int polls, axl_status fails)
{
    slow_task *m = calloc(1, sizeof *m);

    assert_non_null(m);
    *m = (slow_task){{.poll = poll_slow, .destroy = destroy_slow}, polls, name, log, fails};
    return axl_stream_push(s, &m->task);
}

static axl_device *make_device(void)
{
    axl_device *d = NULL;
    CHECK_OK(axl_device_create(&(axl_device_options){.backend = "ref", .n_threads = 1}, &d));
    return d;
}

static void memory_is_zero_aligned_and_counted(void **state)
{
    axl_device *d = make_device();
    const size_t sizes[] = {1, 100, 4097, (size_t)5 << 20};
    size_t before, used, total;

    (void)state;
    for (int i = 0; i < 4; i++) {
        unsigned char *p = NULL;
        void *out;
        d->ops->mem_info(d, &before, &total);
        CHECK_OK(d->ops->alloc(d, sizes[i], "a test buffer", &out));
        p = out;
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_int_equal(p[0], 0);
        assert_int_equal(p[sizes[i] - 1], 0);
        p[sizes[i] - 1] = 1;
        d->ops->mem_info(d, &used, &total);
        assert_int_equal(used, before + sizes[i]);
        assert_true(total > used);
        d->ops->free(d, p, sizes[i]);
        d->ops->mem_info(d, &used, &total);
        assert_int_equal(used, before);
    }
    void *out;
    CHECK_FAILS(d->ops->alloc(d, (size_t)1 << 60, "a huge buffer", &out), AXL_E_MEMORY,
                "a huge buffer");
    d->ops->free(d, NULL, 0);
    axl_device_destroy(d);
    axl_device_destroy(NULL);
}

static void queue_keeps_its_order_and_events_wait_for_their_place(void **state)
{
    axl_device *d = make_device();
    char log[16] = "";
    axl_event e;

    (void)state;
    CHECK_OK(push(d->gather, log, 'a', 3, AXL_OK));
    CHECK_OK(push(d->gather, log, 'b', 0, AXL_OK));
    CHECK_OK(d->ops->record(d->gather, &e));
    CHECK_OK(push(d->gather, log, 'c', 2, AXL_OK));
    assert_string_equal(log, ""); // b may not pass a
    CHECK_OK(d->ops->wait(d->compute, &e));
    assert_true(strncmp(log, "ab", 2) == 0);
    CHECK_OK(d->ops->synchronize(d->gather));
    assert_string_equal(log, "abc");
    CHECK_OK(d->ops->wait(d->compute, &(axl_event){0}));
    axl_device_destroy(d);
}

static void one_stream_waits_for_another(void **state)
{
    axl_device *d = make_device();
    char log[16] = "";
    axl_event e;
    int from = 7, to = 0;

    (void)state;
    CHECK_OK(push(d->reduce, log, 'r', 5, AXL_OK));
    CHECK_OK(d->ops->record(d->reduce, &e));
    CHECK_OK(d->ops->wait(d->gather, &e));
    CHECK_OK(push(d->gather, log, 'g', 0, AXL_OK));
    CHECK_OK(d->ops->copy(d->gather, &to, &from, sizeof to));
    assert_int_equal(to, 0);
    for (int i = 0; i < 20; i++)
        CHECK_OK(axl_device_progress(d));
    assert_string_equal(log, "rg");
    assert_int_equal(to, 7);
    axl_device_destroy(d);
}

static void a_failed_task_fails_every_later_wait(void **state)
{
    axl_device *d = make_device();
    char log[16] = "";
    axl_event e;

    (void)state;
    CHECK_OK(push(d->gather, log, 'a', 5, AXL_OK));
    CHECK_OK(push(d->gather, log, 'b', 0, AXL_E_COMM));
    CHECK_OK(push(d->gather, log, 'c', 0, AXL_OK));
    CHECK_OK(d->ops->record(d->gather, &e));
    CHECK_FAILS(d->ops->wait(d->compute, &e), AXL_E_COMM, "task b broke");
    CHECK_FAILS(d->ops->synchronize(d->gather), AXL_E_COMM, "task b broke");
    CHECK_OK(d->ops->synchronize(d->reduce));
    assert_string_equal(log, "a");
    axl_device_destroy(d);
}

static void large_copies_and_fills_are_whole(void **state)
{
    axl_device *d = NULL;
    const size_t bytes = ((size_t)3 << 20) + 13;
    void *a, *b;

    (void)state;
    CHECK_OK(axl_device_create(&(axl_device_options){.backend = "ref", .n_threads = 2}, &d));
    CHECK_OK(d->ops->alloc(d, bytes, "a", &a));
    CHECK_OK(d->ops->alloc(d, bytes, "b", &b));
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)a)[i] = (unsigned char)(i * 31 + (i >> 12));
    CHECK_OK(d->ops->copy(d->compute, b, a, bytes));
    assert_memory_equal(a, b, bytes);
    CHECK_OK(d->ops->zero(d->compute, b, bytes - 1));
    for (size_t i = 0; i + 1 < bytes; i++)
        assert_true(((unsigned char *)b)[i] == 0);
    assert_int_equal(((unsigned char *)b)[bytes - 1], ((unsigned char *)a)[bytes - 1]);
    d->ops->free(d, a, bytes);
    d->ops->free(d, b, bytes);
    axl_device_destroy(d);
}

static void unknown_backend_is_refused(void **state)
{
    axl_device *d = NULL;

    (void)state;
    CHECK_FAILS(axl_device_create(&(axl_device_options){.backend = "abacus"}, &d),
                AXL_E_UNSUPPORTED, "abacus");
    CHECK_OK(axl_device_create(&(axl_device_options){0}, &d));
    assert_true(d->n_threads >= 1 && d->workspace_bytes >= AXL_WORKSPACE_BYTES);
    axl_device_destroy(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zero_aligned_and_counted),
        cmocka_unit_test(queue_keeps_its_order_and_events_wait_for_their_place),
        cmocka_unit_test(one_stream_waits_for_another),
        cmocka_unit_test(a_failed_task_fails_every_later_wait),
        cmocka_unit_test(large_copies_and_fills_are_whole),
        cmocka_unit_test(unknown_backend_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
