// Checked allocation and the bump arena. Nothing here is hard; the arena uses mmap so that its size
// costs nothing until pages are touched.
#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

axl_status axl_calloc(size_t count, size_t size, const char *what, void *out)
{
    axl_status status = AXL_OK;
    void *p = NULL;

    if (count > 0 && size > 0) {
        p = calloc(count, size);
        AXL_REQUIRE(p != NULL, AXL_E_MEMORY, "no memory for %s (%zu x %zu bytes)", what, count,
                    size);
    }
    memcpy(out, &p, sizeof p);
out:
    return status;
}

axl_status axl_grow(void *array, size_t *capacity, size_t need, size_t size, const char *what)
{
    axl_status status = AXL_OK;
    void *p = NULL;
    size_t n = *capacity;

    if (need <= n)
        goto out;
    while (n < need) {
        AXL_REQUIRE(n <= SIZE_MAX / 2, AXL_E_MEMORY, "%s: too many items", what);
        n = n == 0 ? 16 : n * 2;
    }
    AXL_REQUIRE(n <= SIZE_MAX / size, AXL_E_MEMORY, "%s: too many items", what);
    memcpy(&p, array, sizeof p);
    p = realloc(p, n * size);
    AXL_REQUIRE(p != NULL, AXL_E_MEMORY, "no memory for %s (%zu bytes)", what, n * size);
    memcpy(array, &p, sizeof p);
    *capacity = n;
out:
    return status;
}

axl_status axl_strdup(const char *s, char **out)
{
    axl_status status = AXL_OK;
    char *copy = strdup(s);

    AXL_REQUIRE(copy != NULL, AXL_E_MEMORY, "no memory for a string of %zu bytes", strlen(s));
    *out = copy;
out:
    return status;
}

axl_status axl_to_i32(int64_t value, const char *what, int32_t *out)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(value >= INT32_MIN && value <= INT32_MAX, AXL_E_INPUT,
                "%s: %lld does not fit in 32 bits", what, (long long)value);
    *out = (int32_t)value;
out:
    return status;
}

size_t axl_align_up(size_t bytes)
{
    return (bytes + (AXL_ALIGN - 1)) & ~(size_t)(AXL_ALIGN - 1);
}

axl_status axl_arena_init(axl_arena *a, size_t capacity, const char *what)
{
    axl_status status = AXL_OK;
    void *p = NULL;

    *a = (axl_arena){.capacity = axl_align_up(capacity)};
    if (a->capacity == 0)
        goto out;
    p = mmap(NULL, a->capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
    AXL_REQUIRE(p != MAP_FAILED, AXL_E_MEMORY, "no memory for %s (%zu bytes)", what, a->capacity);
    (void)madvise(p, a->capacity, MADV_HUGEPAGE); // a hint: gemm over 4 KiB pages misses the TLB
    a->base = p;
out:
    return status;
}

void axl_arena_fini(axl_arena *a)
{
    if (a->base != NULL)
        (void)munmap(a->base, a->capacity);
    *a = (axl_arena){0};
}

void *axl_arena_take(axl_arena *a, size_t bytes)
{
    size_t need = axl_align_up(bytes);

    if (need > a->capacity - a->used)
        return NULL;
    void *p = a->base + a->used;
    a->used += need;
    if (a->used > a->peak)
        a->peak = a->used;
    return p;
}
