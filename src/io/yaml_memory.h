// The memory of a YAML document, shared by the parser and the builders. Internal to src/io.
#ifndef AXL_IO_YAML_MEMORY_H
#define AXL_IO_YAML_MEMORY_H

#include "src/io/yaml.h"

typedef struct axl_yaml_chunk axl_yaml_chunk;

struct axl_yaml {
    axl_yaml_chunk *chunks; // owned: everything of the document lives in them
    axl_yaml_node *root;    // NULL until the first node is complete
    const char *name;       // in the chunks
};

#define AXL_YAML_MAX_NODES 200000 // after expansion of aliases

// An empty document without a root.
axl_status axl_yaml_create(const char *name, axl_yaml **out);

// A copy of n bytes and a NUL.
axl_status axl_yaml_take_text(axl_yaml *y, const char *text, size_t n, const char **out);

// A node without text and entries.
axl_status axl_yaml_take_node(axl_yaml *y, axl_yaml_kind kind, axl_place place,
                              axl_yaml_node **out);

// Zeroed room for n entries.
axl_status axl_yaml_take_entries(axl_yaml *y, size_t n, axl_yaml_entry **out);

// a + b, but never more than one above the bound.
int64_t axl_yaml_add_weight(int64_t a, int64_t b);

#endif
