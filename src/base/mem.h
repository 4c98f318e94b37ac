// Owned memory: checked allocation, and the bump arena that holds everything a step touches.
//
// The step allocates nothing: the plan adds up what is needed, an axl_arena of that size is taken
// once, and every buffer is an offset into it.
#ifndef AXL_BASE_MEM_H
#define AXL_BASE_MEM_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

#define AXL_ALIGN 64 // bytes; a cache line and an AVX-512 register

// Zeroed memory for count items of size bytes; *out is NULL for count 0. Release with free().
//   Fails with AXL_E_MEMORY, naming what, on overflow or when there is none.
axl_status axl_calloc(size_t count, size_t size, const char *what, void *out);

// Grows *array (may be NULL) to hold at least need items of size bytes, doubling *capacity.
// New items are not cleared. *array stays valid and unchanged on failure (AXL_E_MEMORY).
axl_status axl_grow(void *array, size_t *capacity, size_t need, size_t size, const char *what);

// A copy of s, owned by the caller; release with free().
axl_status axl_strdup(const char *s, char **out);

// A narrowing that cannot lose: fails with AXL_E_INPUT, naming what, when value is not an int32_t.
axl_status axl_to_i32(int64_t value, const char *what, int32_t *out);

// bytes rounded up to a multiple of AXL_ALIGN.
size_t axl_align_up(size_t bytes);

typedef struct axl_arena {
    uint8_t *base;   // owned; AXL_ALIGN aligned, zero pages until touched
    size_t capacity; // bytes
    size_t used;     // bytes handed out so far
    size_t peak;     // largest used since init
} axl_arena;

// Takes capacity bytes from the system (anonymous pages; asks for huge pages).
axl_status axl_arena_init(axl_arena *a, size_t capacity, const char *what);
void axl_arena_fini(axl_arena *a); // NULL-safe on base

// The next bytes of the arena, aligned; NULL when they do not fit (a planning mistake).
void *axl_arena_take(axl_arena *a, size_t bytes);

#endif
