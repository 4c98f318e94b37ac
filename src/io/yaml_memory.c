// The memory of a document: everything is taken from chunks that die with it, so that nothing is freed one
// by one and every pointer into a document is good as long as the document.
#include "src/io/yaml_memory.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct axl_yaml_chunk {
    struct axl_yaml_chunk *next;
    size_t used, capacity;
    max_align_t data[];
};

static const char no_memory[] = "no memory for a YAML document";

// Zeroed memory, or NULL when there is none.
static void *take(axl_yaml *y, size_t bytes)
{
    size_t need = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);

    if (y->chunks == NULL || y->chunks->capacity - y->chunks->used < need) {
        size_t capacity = need > 16384 ? need : 16384;
        axl_yaml_chunk *c = calloc(1, sizeof *c + capacity);
        if (c == NULL)
            return NULL;
        c->capacity = capacity;
        c->next = y->chunks;
        y->chunks = c;
    }
    void *p = (char *)y->chunks->data + y->chunks->used;
    y->chunks->used += need;
    return p;
}

axl_status axl_yaml_take_text(axl_yaml *y, const char *text, size_t n, const char **out)
{
    axl_status status = AXL_OK;
    char *copy = take(y, n + 1);

    AXL_REQUIRE(copy != NULL, AXL_E_MEMORY, "%s", no_memory);
    if (n > 0)
        memcpy(copy, text, n);
    copy[n] = '\0';
    *out = copy;
out:
    return status;
}

axl_status axl_yaml_take_node(axl_yaml *y, axl_yaml_kind kind, axl_place place, axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    axl_yaml_node *node = take(y, sizeof *node);

    AXL_REQUIRE(node != NULL, AXL_E_MEMORY, "%s", no_memory);
    *node = (axl_yaml_node){.kind = kind, .text = "", .place = place, .weight = 1};
    *out = node;
out:
    return status;
}

void axl_yaml_destroy(axl_yaml *y)
{
    if (y == NULL)
        return;
    while (y->chunks != NULL) {
        axl_yaml_chunk *next = y->chunks->next;
        free(y->chunks);
        y->chunks = next;
    }
    free(y);
}

axl_status axl_yaml_create(const char *name, axl_yaml **out)
{
    axl_status status = AXL_OK;
    axl_yaml *y = NULL;

    AXL_TRY(axl_calloc(1, sizeof *y, "a YAML document", &y));
    AXL_TRY(axl_yaml_take_text(y, name, strlen(name), &y->name));
    *out = y;
    y = NULL;
out:
    axl_yaml_destroy(y);
    return status;
}

axl_status axl_yaml_take(axl_yaml *y, size_t bytes, void *out_memory)
{
    axl_status status = AXL_OK;
    void *p = take(y, bytes);

    AXL_REQUIRE(p != NULL, AXL_E_MEMORY, "%s", no_memory);
    memcpy(out_memory, &p, sizeof p);
out:
    return status;
}

axl_status axl_yaml_take_entries(axl_yaml *y, size_t n, axl_yaml_entry **out)
{
    return axl_yaml_take(y, n * sizeof **out, out);
}

int64_t axl_yaml_add_weight(int64_t a, int64_t b)
{
    return a + b > AXL_YAML_MAX_NODES ? AXL_YAML_MAX_NODES + 1 : a + b;
}
