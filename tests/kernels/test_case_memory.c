// RUN: np=1
// Cases hand kernels nothing but memory of kt_arrays: a GPU could not follow another pointer.
#include "tests/kernels/compare.h"

#include <stdlib.h>
#include <sys/mman.h>

#define REGION ((size_t)1 << 32) // of addresses; pages come when they are touched

static char *region;
static size_t used;
static int n_live;
static axl_device *ref;
static char found[200]; // the first pointer that is not ours

static void *take(size_t bytes)
{
    void *p = region + used;

    used += (bytes + 127) / 64 * 64;
    n_live++;
    return used <= REGION ? p : NULL;
}

static void give(void *p)
{
    n_live -= p != NULL;
    if (n_live == 0)
        used = 0;
}

// Programs and heaps lie at 0x55.. and 0x56.., stacks and maps at 0x7e.. and 0x7f..; no size in the cases comes near.
// A small lower half is a number whose padding holds what lay there.
static bool is_other_pointer(uint64_t word)
{
    const uint64_t top = word >> 40, begin = (uint64_t)(uintptr_t)region;

    if (word << 32 >> 52 == 0 || (top != 0x55 && top != 0x56 && top != 0x7f && top != 0x7e))
        return false;
    return word < begin || word >= begin + REGION;
}

static void look(const char *entry, const void *args, size_t bytes)
{
    for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, (const char *)args + at, sizeof word);
        if (is_other_pointer(word) && found[0] == '\0')
            (void)snprintf(found, sizeof found, "%s: byte %zu of the arguments", entry, at);
    }
}

// NOLINTBEGIN(bugprone-macro-parentheses): args is a type
#define ENTRY(entry, args)                                                                         \
    static axl_status watched_##entry(axl_stream *s, const args *a)                                \
    {                                                                                              \
        if (strcmp(#entry, "gemm_grouped") != 0 && strcmp(#entry, "sumsq") != 0 &&                 \
            strcmp(#entry, "cast_list") != 0 &&                                                    \
            strcmp(#entry, "sum_parts") != 0) /* host memory */                                    \
            look(#entry, a, sizeof *a);                                                            \
        return ref->kernels->entry(s, a);                                                          \
    }
AXL_KERNEL_LIST(ENTRY)
// NOLINTEND(bugprone-macro-parentheses)

#define FIELD(entry, args) .entry = watched_##entry,
static const axl_kernels watched = {.name = "watched", AXL_KERNEL_LIST(FIELD)};

static void cases_hand_over_their_own_arrays_alone(void **state)
{
    const kt_kernel *k = *state;
    axl_device d = *ref;

    d.kernels = &watched;
    for (int i = 0; i < k->n_cases; i++) {
        const kt_head *c = kt_case_at(k, i);
        kt_run r = {0};
        if (c->flags & KT_BENCH)
            continue;
        kt_run_case(&r, k, c, &d, AXL_F32, AXL_F32);
        kt_run_fini(&r);
        if (found[0] != '\0')
            fail_msg("%s.%s hands over memory that is not of kt_arrays: %s", k->name, c->name,
                     found);
    }
    assert_int_equal(n_live, 0);
}

int main(void)
{
    struct CMUnitTest tests[64];
    int n = 0;

    region = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    assert_true(region != MAP_FAILED);
    CHECK_OK(axl_device_create(&(axl_device_options){.backend = "ref", .n_threads = 1}, &ref));
    kt_arrays = (kt_memory){take, give};
    for (; n < kt_n_kernels && n < 64; n++)
        tests[n] = (struct CMUnitTest){.name = kt_kernels[n]->name,
                                       .test_func = cases_hand_over_their_own_arrays_alone,
                                       .initial_state = (void *)(uintptr_t)kt_kernels[n]};
    const int failed = _cmocka_run_group_tests("memory of cases", tests, (size_t)n, NULL, NULL);
    axl_device_destroy(ref);
    return failed;
}
