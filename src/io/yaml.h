// YAML documents as a tree of nodes that know where they stand. A thin face over libyaml's events, so
// that yaml.h stays in this module.
//
// Scalars are resolved by the rules of YAML 1.1 as Python's SafeLoader has them, because that is what
// users' files were written for: yes/no/on/off are booleans, 017 is 15, 1:30 is 90, 1e-5 (no dot, or an
// unsigned exponent) is a string. Aliases share nodes, so a document is a graph without cycles; what it
// would expand to is bounded. Merge keys (<<) are resolved: a map's own keys win, then earlier sources.
//
// Bounds: 4 MiB of text, nesting 64, 1,000 anchors, 200,000 nodes after expansion.
#ifndef AXL_IO_YAML_H
#define AXL_IO_YAML_H

#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/diagnostics.h"

#include <stddef.h>
#include <stdint.h>

typedef enum axl_yaml_kind {
    AXL_YAML_NULL,
    AXL_YAML_BOOL,
    AXL_YAML_INT,
    AXL_YAML_REAL,
    AXL_YAML_STRING,
    AXL_YAML_LIST,
    AXL_YAML_MAP
} axl_yaml_kind;

typedef struct axl_yaml_node axl_yaml_node;

typedef struct axl_yaml_entry {
    const axl_yaml_node *key;   // a scalar; NULL for the items of a list
    const axl_yaml_node *value; // never NULL
} axl_yaml_entry;

struct axl_yaml_node {
    axl_yaml_kind kind;
    bool quoted;      // a scalar in quotes or a block scalar: always a string
    const char *text; // scalars: the text, NUL-terminated, without NUL inside; else ""
    size_t n_text;    // bytes
    union {
        bool boolean;    // AXL_YAML_BOOL
        int64_t integer; // AXL_YAML_INT; larger integers become AXL_YAML_REAL
        double real;     // AXL_YAML_REAL
    };
    axl_place place;         // where it starts; for an alias: where the anchored node stands
    axl_yaml_entry *entries; // lists and maps: [n_entries], in order, merged keys first
    size_t n_entries;
    int64_t weight; // nodes that it expands to, itself included
};

typedef struct axl_yaml axl_yaml; // a document; owns its nodes

// Parses text[0 .. n); name stands for it in messages and is copied. Every fault found is added to
// `diagnostics` (syntax faults end the parse, so there is at most one of them). *out is owned by the
// caller; it is NULL when there was an error. Fails with AXL_E_CONFIG, or AXL_E_MEMORY.
axl_status axl_yaml_parse(const char *text, size_t n, const char *name,
                          axl_diagnostics *diagnostics, axl_yaml **out);

// Reads and parses a file. A missing or unreadable one is a finding too.
axl_status axl_yaml_load(const char *path, axl_diagnostics *diagnostics, axl_yaml **out);

void axl_yaml_destroy(axl_yaml *y); // NULL-safe; all nodes die with it

// The top node; an empty document is a null scalar. Borrowed.
const axl_yaml_node *axl_yaml_root(const axl_yaml *y);

// The value of a map's key; NULL when node is NULL, no map, or lacks it. Borrowed.
const axl_yaml_node *axl_yaml_get(const axl_yaml_node *node, const char *key);

// The entry of a map's key (for the place of the key); NULL as above. Borrowed.
const axl_yaml_entry *axl_yaml_entry_of(const axl_yaml_node *node, const char *key);

// "null", "a boolean", "an integer", "a number", "a string", "a list", "a map"; for messages.
const char *axl_yaml_kind_name(axl_yaml_kind kind);

// Resolves the text of a plain scalar into kind and value of *node (text, n_text must be set).
void axl_yaml_resolve(axl_yaml_node *node);

// New nodes in the document y, for overrides and tests. They live as long as y. text is copied.
axl_status axl_yaml_new_scalar(axl_yaml *y, const char *text, size_t n, axl_place place,
                               axl_yaml_node **out);
axl_status axl_yaml_new_map(axl_yaml *y, axl_place place, axl_yaml_node **out);
// An empty document with a map as its root.
axl_status axl_yaml_new(const char *name, axl_yaml **out);
// Parses text into the document y (a value of the command line): all nodes get `place`. Faults become
// findings and leave *out NULL.
axl_status axl_yaml_graft(axl_yaml *y, const char *text, axl_place place,
                          axl_diagnostics *diagnostics, axl_yaml_node **out);
// Sets a key of a map: the value of an existing key is replaced, a new key is added at the end.
axl_status axl_yaml_set(axl_yaml *y, axl_yaml_node *map, axl_yaml_node *key, axl_yaml_node *value);
// The root for changing; nodes shared by aliases are shared for changes too.
axl_yaml_node *axl_yaml_root_mutable(axl_yaml *y);
// A copy of a list or map node that shares the children: change it without touching other aliases.
axl_status axl_yaml_copy(axl_yaml *y, const axl_yaml_node *node, axl_yaml_node **out);

// Zeroed memory that lives as long as the document. *out_memory is a pointer.
axl_status axl_yaml_take(axl_yaml *y, size_t bytes, void *out_memory);

// Appends the node as JSON (one line, ", " and ": "). NaN and infinities become strings.
axl_status axl_yaml_put_json(const axl_yaml_node *node, axl_str *out);

#endif
