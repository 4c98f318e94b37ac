// From libyaml's events to a tree of nodes with places.
//
// The hard part is that a YAML text may be hostile or merely broken in ways that libyaml 0.2.5 takes
// badly: it stops at the first syntax fault, it reports the place of bad bytes as an offset only, it
// keeps the last of two equal keys silently and it sets no bound on aliases. So bytes are checked
// before it sees them, keys and aliases after, and everything is bounded.
#include "src/io/yaml_memory.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_TEXT    ((size_t)4 << 20)
#define MAX_DEPTH   64
#define MAX_ANCHORS 1000

// ---- the builder ----

typedef struct frame { // a list or a map that is still open
    axl_yaml_node *node;
    const axl_yaml_node *key; // the key that waits for its value
    const char *anchor;       // of this collection, or NULL
    axl_yaml_entry *entries;  // owned while open
    size_t n, capacity;
} frame;

typedef struct anchor {
    const char *name;
    const axl_yaml_node *node; // NULL while it is open
} anchor;

typedef struct builder {
    axl_yaml *y;
    axl_diagnostics *diagnostics;
    frame stack[MAX_DEPTH];
    size_t depth;
    anchor *anchors; // owned
    size_t n_anchors, anchor_capacity;
    int64_t n_nodes; // entries stored so far, merged ones included
    bool stop;       // a fault after which going on makes no sense
} builder;

#define FINDING(b, place, ...)                                                                     \
    axl_diagnostics_add((b)->diagnostics, AXL_ERROR, (place), NULL, __VA_ARGS__)

static axl_place place_of(const builder *b, yaml_mark_t mark)
{
    return (axl_place){b->y->name, (int32_t)mark.line + 1, (int32_t)mark.column + 1};
}

static bool has_key(const frame *f, const char *key)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->entries[i].key->text, key) == 0)
            return true;
    return false;
}

static axl_status push_entry(builder *b, frame *f, axl_yaml_entry entry)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&f->entries, &f->capacity, f->n + 1, sizeof *f->entries, "YAML entries"));
    f->entries[f->n++] = entry;
    f->node->weight = axl_yaml_add_weight(f->node->weight, entry.value->weight);
    if (++b->n_nodes > AXL_YAML_MAX_NODES || f->node->weight > AXL_YAML_MAX_NODES) {
        FINDING(b, entry.value->place,
                "the document expands to more than %d nodes; are its aliases meant?",
                AXL_YAML_MAX_NODES);
        b->stop = true;
    }
out:
    return status;
}

// A finished node goes into the collection that is open, or becomes the root.
static axl_status attach(builder *b, axl_yaml_node *node)
{
    axl_status status = AXL_OK;

    if (b->depth == 0) {
        b->y->root = node;
        goto out;
    }
    frame *f = &b->stack[b->depth - 1];
    if (f->node->kind == AXL_YAML_LIST) {
        AXL_TRY(push_entry(b, f, (axl_yaml_entry){NULL, node}));
    } else if (f->key == NULL) {
        if (node->kind == AXL_YAML_LIST || node->kind == AXL_YAML_MAP) {
            FINDING(b, node->place, "a key of a map must be a word, not %s",
                    axl_yaml_kind_name(node->kind));
            b->stop = true; // keys and values would be paired wrongly from here on
        }
        f->key = node;
    } else {
        AXL_TRY(push_entry(b, f, (axl_yaml_entry){f->key, node}));
        f->key = NULL;
    }
out:
    return status;
}

static axl_status set_anchor(builder *b, const char *name, const axl_yaml_node *node,
                             axl_place place)
{
    axl_status status = AXL_OK;

    if (name == NULL)
        goto out;
    for (size_t i = b->n_anchors; i > 0; i--) {
        if (strcmp(b->anchors[i - 1].name, name) == 0) {
            b->anchors[i - 1].node = node; // a later anchor of the same name wins
            goto out;
        }
    }
    if (b->n_anchors >= MAX_ANCHORS) {
        FINDING(b, place, "more than %d anchors", MAX_ANCHORS);
        b->stop = true;
        goto out;
    }
    AXL_TRY(axl_grow(&b->anchors, &b->anchor_capacity, b->n_anchors + 1, sizeof *b->anchors,
                     "YAML anchors"));
    b->anchors[b->n_anchors++] = (anchor){name, node};
out:
    return status;
}

// Only the tags of the plain YAML types mean something in a configuration.
static void apply_tag(builder *b, axl_yaml_node *node, const char *tag)
{
    const char *type = tag;

    if (strncmp(tag, "tag:yaml.org,2002:", 18) == 0)
        type = tag + 18;
    if (strcmp(type, "str") == 0 || strcmp(type, "!") == 0) {
        node->kind = AXL_YAML_STRING;
        node->quoted = true;
        return;
    }
    axl_yaml_resolve(node);
    bool fits = (strcmp(type, "int") == 0 && node->kind == AXL_YAML_INT) ||
                (strcmp(type, "float") == 0 &&
                 (node->kind == AXL_YAML_REAL || node->kind == AXL_YAML_INT)) ||
                (strcmp(type, "bool") == 0 && node->kind == AXL_YAML_BOOL) ||
                (strcmp(type, "null") == 0 && node->kind == AXL_YAML_NULL);
    if (!fits)
        FINDING(b, node->place, "the tag %s does not fit here; leave it out", tag);
}

static axl_status on_scalar(builder *b, const yaml_event_t *event)
{
    axl_status status = AXL_OK;
    axl_yaml_node *node = NULL;
    const char *anchor_name = NULL;
    const char *text = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length;

    AXL_TRY(axl_yaml_take_node(b->y, AXL_YAML_STRING, place_of(b, event->start_mark), &node));
    AXL_TRY(axl_yaml_take_text(b->y, text, n, &node->text));
    node->n_text = n;
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strlen(node->text) != n) // "\0" in double quotes
        FINDING(b, node->place, "a NUL character in a text");
    if (event->data.scalar.tag != NULL)
        apply_tag(b, node, (const char *)event->data.scalar.tag);
    else if (!node->quoted)
        axl_yaml_resolve(node);
    if (event->data.scalar.anchor != NULL) {
        const char *name = (const char *)event->data.scalar.anchor;
        AXL_TRY(axl_yaml_take_text(b->y, name, strlen(name), &anchor_name));
        AXL_TRY(set_anchor(b, anchor_name, node, node->place));
    }
    AXL_TRY(attach(b, node));
out:
    return status;
}

static axl_status on_alias(builder *b, const yaml_event_t *event)
{
    axl_status status = AXL_OK;
    const char *name = (const char *)event->data.alias.anchor;
    axl_place place = place_of(b, event->start_mark);
    const axl_yaml_node *found = NULL;
    axl_yaml_node *node = NULL;

    for (size_t i = 0; i < b->n_anchors; i++)
        if (strcmp(b->anchors[i].name, name) == 0)
            found = b->anchors[i].node;
    if (found == NULL) {
        bool open = false;
        for (size_t i = 0; i < b->depth; i++)
            open = open || (b->stack[i].anchor != NULL && strcmp(b->stack[i].anchor, name) == 0);
        FINDING(b, place,
                open ? "the alias *%s stands inside its own anchor"
                     : "no anchor &%s before this alias",
                name);
        AXL_TRY(axl_yaml_take_node(b->y, AXL_YAML_NULL, place, &node));
    } else {
        // A shallow copy: it shares the children, so a change at one place stays there.
        AXL_TRY(axl_yaml_take_node(b->y, found->kind, found->place, &node));
        *node = *found;
    }
    AXL_TRY(attach(b, node));
out:
    return status;
}

static axl_status open_collection(builder *b, axl_yaml_kind kind, const yaml_event_t *event,
                                  const yaml_char_t *anchor_name, const yaml_char_t *tag)
{
    axl_status status = AXL_OK;
    axl_place place = place_of(b, event->start_mark);
    const char *standard = kind == AXL_YAML_MAP ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq";
    frame f = {0};

    if (tag != NULL && strcmp((const char *)tag, standard) != 0 &&
        strcmp((const char *)tag, "!") != 0)
        FINDING(b, place, "the tag %s does not fit here; leave it out", (const char *)tag);
    if (b->depth >= MAX_DEPTH) {
        FINDING(b, place, "nested deeper than %d levels", MAX_DEPTH);
        b->stop = true;
        goto out;
    }
    AXL_TRY(axl_yaml_take_node(b->y, kind, place, &f.node));
    if (anchor_name != NULL) {
        const char *name = (const char *)anchor_name;
        AXL_TRY(axl_yaml_take_text(b->y, name, strlen(name), &f.anchor));
        // An alias inside means this anchor, not an older one of the same name.
        AXL_TRY(set_anchor(b, f.anchor, NULL, place));
    }
    b->stack[b->depth++] = f;
out:
    return status;
}

static int compare_keys(const void *a, const void *b)
{
    const axl_yaml_node *x = *(const axl_yaml_node *const *)a;
    const axl_yaml_node *y = *(const axl_yaml_node *const *)b;
    int order = strcmp(x->text, y->text);

    if (order != 0)
        return order;
    if (x->place.line != y->place.line)
        return x->place.line < y->place.line ? -1 : 1;
    return x->place.column < y->place.column ? -1 : x->place.column > y->place.column;
}

static axl_status find_duplicates(builder *b, const frame *f)
{
    axl_status status = AXL_OK;
    const axl_yaml_node **keys = NULL;

    if (f->n < 2)
        goto out;
    AXL_TRY(axl_calloc(f->n, sizeof(void *), "YAML keys", &keys));
    for (size_t i = 0; i < f->n; i++)
        keys[i] = f->entries[i].key;
    qsort(keys, f->n, sizeof(void *), compare_keys);
    for (size_t i = 1; i < f->n; i++) {
        if (strcmp(keys[i]->text, keys[i - 1]->text) == 0 && strcmp(keys[i]->text, "<<") != 0)
            axl_diagnostics_add(b->diagnostics, AXL_ERROR, keys[i]->place, keys[i]->text,
                                "this key stands already on line %d; keep one of the two",
                                (int)keys[i - 1]->place.line);
    }
out:
    free(keys);
    return status;
}

static bool is_merge_key(const axl_yaml_node *key)
{
    return !key->quoted && strcmp(key->text, "<<") == 0;
}

// Adds what `source` has and *merged and the own keys lack.
static axl_status merge_map(builder *b, const frame *own, frame *merged,
                            const axl_yaml_node *source)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < source->n_entries && !b->stop; i++) {
        const char *key = source->entries[i].key->text;
        if (!has_key(own, key) && !has_key(merged, key))
            AXL_TRY(push_entry(b, merged, source->entries[i]));
    }
out:
    return status;
}

static axl_status merge_value(builder *b, const frame *own, frame *merged,
                              const axl_yaml_node *value)
{
    axl_status status = AXL_OK;

    if (value->kind == AXL_YAML_MAP) {
        AXL_TRY(merge_map(b, own, merged, value));
        goto out;
    }
    bool good = value->kind == AXL_YAML_LIST;
    for (size_t i = 0; good && i < value->n_entries; i++) {
        good = value->entries[i].value->kind == AXL_YAML_MAP;
        if (good)
            AXL_TRY(merge_map(b, own, merged, value->entries[i].value));
    }
    if (!good)
        FINDING(b, value->place, "the merge key << needs a map or a list of maps");
out:
    return status;
}

static axl_status resolve_merges(builder *b, frame *f)
{
    axl_status status = AXL_OK;
    frame merged = {.node = f->node};
    bool any = false;

    for (size_t i = 0; i < f->n; i++)
        any = any || is_merge_key(f->entries[i].key);
    if (!any)
        goto out;
    // Comparing keys is quadratic; a map of settings is small, anything else is an attack.
    if (f->n > 1024) {
        FINDING(b, f->node->place, "a map with a merge key has more than 1,024 keys");
        b->stop = true;
        goto out;
    }
    for (size_t i = 0; i < f->n && !b->stop; i++)
        if (is_merge_key(f->entries[i].key))
            AXL_TRY(merge_value(b, f, &merged, f->entries[i].value));
    if (merged.n > 1024)
        b->stop = true;
    for (size_t i = 0; i < f->n && !b->stop; i++)
        if (!is_merge_key(f->entries[i].key))
            AXL_TRY(push_entry(b, &merged, f->entries[i]));
    if (b->stop && b->diagnostics->n_errors == 0)
        FINDING(b, f->node->place, "a map with a merge key has more than 1,024 keys");
    free(f->entries);
    f->entries = merged.entries;
    f->n = merged.n;
    f->capacity = merged.capacity;
    merged.entries = NULL;
out:
    free(merged.entries);
    return status;
}

static axl_status close_collection(builder *b)
{
    axl_status status = AXL_OK;
    frame *f = &b->stack[b->depth - 1];

    if (f->node->kind == AXL_YAML_MAP) {
        AXL_TRY(find_duplicates(b, f));
        AXL_TRY(resolve_merges(b, f));
    }
    if (f->n > 0) {
        AXL_TRY(axl_yaml_take_entries(b->y, f->n, &f->node->entries));
        memcpy(f->node->entries, f->entries, f->n * sizeof *f->entries);
    }
    f->node->n_entries = f->n;
    axl_yaml_node *node = f->node;
    const char *name = f->anchor;
    free(f->entries);
    f->entries = NULL;
    b->depth--;
    AXL_TRY(set_anchor(b, name, node, node->place));
    AXL_TRY(attach(b, node));
out:
    return status;
}

static axl_status on_event(builder *b, const yaml_event_t *event)
{
    axl_status status = AXL_OK;

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        AXL_TRY(on_scalar(b, event));
        break;
    case YAML_ALIAS_EVENT:
        AXL_TRY(on_alias(b, event));
        break;
    case YAML_SEQUENCE_START_EVENT:
        AXL_TRY(open_collection(b, AXL_YAML_LIST, event, event->data.sequence_start.anchor,
                                event->data.sequence_start.tag));
        break;
    case YAML_MAPPING_START_EVENT:
        AXL_TRY(open_collection(b, AXL_YAML_MAP, event, event->data.mapping_start.anchor,
                                event->data.mapping_start.tag));
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        AXL_TRY(close_collection(b));
        break;
    case YAML_DOCUMENT_START_EVENT:
        if (b->y->root != NULL) {
            FINDING(b, place_of(b, event->start_mark),
                    "a second document (---) begins; a configuration is one document");
            b->stop = true;
        }
        break;
    default:
        break;
    }
out:
    return status;
}

// Says libyaml's syntax fault in words that help.
static void report_syntax(builder *b, const yaml_parser_t *parser, const char *text, size_t n)
{
    axl_place place = place_of(b, parser->problem_mark);
    const char *problem = parser->problem == NULL ? "cannot be read" : parser->problem;
    size_t at = parser->problem_mark.index;

    // The marks count characters; offsets agree where the text before is ASCII, which is enough for a hint.
    if (strstr(problem, "cannot start any token") != NULL && at < n && text[at] == '\t')
        FINDING(b, place, "a tab cannot indent or begin a value; use spaces");
    else if (parser->context != NULL)
        FINDING(b, place, "YAML syntax: %s, %s that begins on line %d", problem, parser->context,
                (int)parser->context_mark.line + 1);
    else if (strstr(problem, "mapping values are not allowed") != NULL)
        FINDING(b, place,
                "YAML syntax: a second ': ' on this line, or wrong indentation before "
                "it; put the value in quotes if the colon belongs to it");
    else
        FINDING(b, place, "YAML syntax: %s", problem);
}

static axl_status run_parser(builder *b, const char *text, size_t n)
{
    axl_status status = AXL_OK;
    yaml_parser_t parser;
    yaml_event_t event;
    bool done = false;

    AXL_REQUIRE(yaml_parser_initialize(&parser), AXL_E_MEMORY, "no memory for a YAML parser");
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    while (!done && !b->stop && status == AXL_OK) {
        if (!yaml_parser_parse(&parser, &event)) {
            report_syntax(b, &parser, text, n);
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        status = on_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
out:
    return status;
}

// Bad bytes are reported by line and column, all of the first 20.
static bool check_bytes(builder *b, const char *text, size_t n)
{
    axl_place place = {b->y->name, 1, 1};
    int n_faults = 0;

    for (size_t i = 0; i < n && n_faults < 20;) {
        uint32_t c = 0;
        size_t k = axl_utf8_next(text + i, n - i, &c);
        bool allowed = c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7f) ||
                       c == 0x85 || (c >= 0xa0 && c != 0xfeff && c != 0xfffe && c != 0xffff);
        if (k == 0) {
            FINDING(b, place, "the byte 0x%02x is not valid UTF-8; save the file as UTF-8",
                    (unsigned)(unsigned char)text[i]);
            n_faults++;
        } else if (!allowed) {
            FINDING(b, place, "the control character U+%04X is not allowed", (unsigned)c);
            n_faults++;
        }
        i += k == 0 ? 1 : k;
        if (c == '\n' && k == 1) {
            place.line++;
            place.column = 1;
        } else {
            place.column++;
        }
    }
    return n_faults == 0;
}

axl_status axl_yaml_parse(const char *text, size_t n, const char *name,
                          axl_diagnostics *diagnostics, axl_yaml **out)
{
    axl_status status = AXL_OK;
    builder b = {.diagnostics = diagnostics};
    size_t n_errors = diagnostics->n_errors;

    AXL_TRY(axl_yaml_create(name, &b.y));
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { // a byte order mark says nothing in UTF-8
        text += 3;
        n -= 3;
    }
    if (n > MAX_TEXT)
        FINDING(&b, ((axl_place){b.y->name, 0, 0}), "larger than %zu MiB: not a configuration",
                MAX_TEXT >> 20);
    else if (check_bytes(&b, text, n))
        AXL_TRY(run_parser(&b, text, n));
    if (diagnostics->n_errors > n_errors)
        AXL_TRY(axl_diagnostics_status(diagnostics, AXL_E_CONFIG));
    if (b.y->root == NULL)
        AXL_TRY(axl_yaml_take_node(b.y, AXL_YAML_NULL, (axl_place){b.y->name, 1, 1}, &b.y->root));
    *out = b.y;
    b.y = NULL;
out:
    for (size_t i = 0; i < b.depth; i++)
        free(b.stack[i].entries);
    free(b.anchors);
    axl_yaml_destroy(b.y);
    return status;
}

axl_status axl_yaml_load(const char *path, axl_diagnostics *diagnostics, axl_yaml **out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    status = axl_file_read(path, &text);
    if (status != AXL_OK) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, (axl_place){0}, NULL, "%s",
                            axl_error_message());
        goto out;
    }
    AXL_TRY(axl_yaml_parse(text.data == NULL ? "" : text.data, text.len, path, diagnostics, out));
out:
    axl_str_fini(&text);
    return status;
}
