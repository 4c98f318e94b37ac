// The parser: one function a type word, and a walk over the rows of a block.
//
// The hard part is leniency that users rely on and that must not grow: numbers in quotes are numbers,
// 0 and 1 are booleans, but a string is never made from a number or a boolean, because `no` and `123`
// without quotes are the commonest silent mistakes.
#include "src/config/parse.h"

#include "src/base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_PATH 256
#define MAX_KEYS 1024 // rows of the largest block

#define FAULT(r, place, key, ...)                                                                  \
    axl_diagnostics_add((r)->diagnostics, AXL_ERROR, (place), (key), __VA_ARGS__)

// ---- scalars ----

static bool word_to_bool(const char *text, bool *value)
{
    static const char *const trues[] = {"true", "yes", "on", "1"};
    static const char *const falses[] = {"false", "no", "off", "0"};

    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(text, trues[i]) == 0 || strcasecmp(text, falses[i]) == 0) {
            *value = strcasecmp(text, trues[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool node_to_bool(const axl_yaml_node *node, bool *value)
{
    if (node->kind == AXL_YAML_BOOL) {
        *value = node->boolean;
        return true;
    }
    if (node->kind == AXL_YAML_INT && (node->integer == 0 || node->integer == 1)) {
        *value = node->integer == 1;
        return true;
    }
    return node->kind == AXL_YAML_STRING && word_to_bool(node->text, value);
}

static bool text_to_real(const char *text, double *value)
{
    char *end = NULL;

    if (text[0] == '\0' || strpbrk(text, "xXpPnN ") != NULL) // no hexadecimal, nan, inf
        return false;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

static bool node_to_real(const axl_yaml_node *node, double *value)
{
    switch (node->kind) {
    case AXL_YAML_BOOL:
        *value = node->boolean ? 1.0 : 0.0;
        return true;
    case AXL_YAML_INT:
        *value = (double)node->integer;
        return true;
    case AXL_YAML_REAL:
        *value = node->real;
        return isfinite(node->real);
    case AXL_YAML_STRING:
        return text_to_real(node->text, value);
    default:
        return false;
    }
}

#define EXACT_INTEGERS 9007199254740992.0 // 2^53: above it a double may have been rounded

static bool node_to_int(const axl_yaml_node *node, int64_t *value)
{
    double real = 0.0;

    if (node->kind == AXL_YAML_INT) {
        *value = node->integer;
        return true;
    }
    if (node->kind == AXL_YAML_STRING) {
        char *end = NULL;
        errno = 0;
        long long n = strtoll(node->text, &end, 10);
        if (node->text[0] != '\0' && node->text[0] != ' ' && *end == '\0' && errno == 0) {
            *value = n;
            return true;
        }
    }
    if (!node_to_real(node, &real) || floor(real) != real || fabs(real) > EXACT_INTEGERS)
        return false;
    *value = (int64_t)real;
    return true;
}

static bool in_range(axl_config_reader *r, const axl_key *key, const char *path,
                     const axl_yaml_node *node, double value)
{
    axl_interval i = axl_interval_parse(key->range);
    bool above = i.low_open ? value > i.low : value >= i.low;
    bool below = i.high_open && isfinite(i.high) ? value < i.high : value <= i.high;

    if (above && below)
        return true;
    if (!above)
        FAULT(r, node->place, path, "%s is too small; it must be %s %.15g", node->text,
              i.low_open ? "more than" : "at least", i.low);
    else
        FAULT(r, node->place, path, "%s is too large; it must be %s %.15g", node->text,
              i.high_open ? "less than" : "at most", i.high);
    return false;
}

// A scalar as it stands in the file, for messages; long ones are cut.
static const char *shown(const axl_yaml_node *node, char buffer[static 64])
{
    if (node->kind == AXL_YAML_LIST || node->kind == AXL_YAML_MAP)
        return axl_yaml_kind_name(node->kind);
    (void)snprintf(buffer, 64, node->quoted ? "\"%.50s\"%s" : "%.50s%s", node->text,
                   node->n_text > 50 ? "..." : "");
    return buffer;
}

static void wrong_type(axl_config_reader *r, const axl_key *key, const char *path,
                       const axl_yaml_node *node)
{
    char buffer[64];
    bool wants_text = key->type == AXL_T_STR || key->type == AXL_T_STR_LIST ||
                      key->type == AXL_T_STR_OR_LIST || key->type == AXL_T_BLOCK_OR_STR;

    if (wants_text && node->kind >= AXL_YAML_BOOL && node->kind <= AXL_YAML_REAL)
        FAULT(r, node->place, path, "%s without quotes is %s; write \"%s\"", node->text,
              axl_yaml_kind_name(node->kind), node->text);
    else
        FAULT(r, node->place, path, "%s was expected here, not %s%s", axl_key_type_name(key->type),
              shown(node, buffer),
              node->kind == AXL_YAML_STRING && key->type == AXL_T_STR_LIST
                  ? "; write it as a list: [...]"
              : strcmp(key->name, "warmup_steps") == 0 ? "; a fraction of the run is warmup_ratio"
                                                       : "");
}

static bool node_to_string(const axl_yaml_node *node, const char **value)
{
    *value = node->text;
    return node->kind == AXL_YAML_STRING;
}

// *value is the word, or NULL when it is none of them; false when it was reported. Booleans stand for the words true and false where those are among the choices.
static bool node_to_choice(axl_config_reader *r, const axl_key *key, const char *path,
                           const axl_yaml_node *node, const char **value)
{
    axl_str words = {0};
    bool supported = true, truth = false;
    const char *text = node->text;
    char buffer[64];
    bool is_word = node->kind == AXL_YAML_STRING;

    if (!(is_word && axl_choice_find(key->range, text, &supported)) && node_to_bool(node, &truth)) {
        text = truth ? "true" : "false";
        is_word = true;
    }
    is_word = is_word && axl_choice_find(key->range, text, &supported);
    *value = is_word ? text : NULL;
    if (is_word && (supported || key->support != AXL_SUPPORT_WORKS))
        return true;
    (void)axl_choice_text(key->range, !supported || key->support != AXL_SUPPORT_WORKS, &words);
    if (is_word) {
        axl_str_clear(&words);
        (void)axl_choice_text(key->range, false, &words);
        FAULT(r, node->place, path,
              "%s is understood, but this version does not support it; use %s", shown(node, buffer),
              words.len > 0 ? words.data : "another");
    } else if (node->kind == AXL_YAML_BOOL && axl_choice_find(key->range, node->text, &supported)) {
        FAULT(r, node->place, path, "%s without quotes is a boolean; write \"%s\"", node->text,
              node->text);
    } else {
        FAULT(r, node->place, path, "%s is none of its values; use %s", shown(node, buffer),
              words.len > 0 ? words.data : "another");
    }
    axl_str_fini(&words);
    return false;
}

// ---- lists ----

static size_t item_size(axl_key_type type)
{
    if (type == AXL_T_STR_LIST || type == AXL_T_STR_OR_LIST)
        return sizeof(const char *);
    return type == AXL_T_REAL_LIST ? sizeof(double) : sizeof(int64_t);
}

static bool read_item(const axl_key *key, const axl_yaml_node *node, void *item)
{
    const char *text = NULL;
    bool good;

    switch (key->type) {
    case AXL_T_STR_LIST:
    case AXL_T_STR_OR_LIST:
        good = node_to_string(node, &text);
        memcpy(item, &text, sizeof text);
        return good;
    case AXL_T_REAL_LIST:
        return node_to_real(node, item);
    default:
        return node_to_int(node, item);
    }
}

// Lists of the three item types have the same layout: a pointer, then a count.
static axl_status read_list(axl_config_reader *r, const axl_key *key, const char *path,
                            const axl_yaml_node *node, void *field, bool *good)
{
    axl_status status = AXL_OK;
    bool scalar_too = key->type == AXL_T_STR_OR_LIST || key->type == AXL_T_INT_OR_LIST;
    axl_yaml_entry single = {NULL, node};
    const axl_yaml_entry *entries = node->entries;
    size_t n = node->n_entries;
    size_t size = item_size(key->type);
    char *items = NULL;

    *good = node->kind == AXL_YAML_LIST || (scalar_too && node->kind <= AXL_YAML_STRING);
    if (!*good) {
        wrong_type(r, key, path, node);
        goto out;
    }
    if (node->kind != AXL_YAML_LIST) {
        entries = &single;
        n = 1;
    }
    AXL_TRY(axl_yaml_take(r->scratch, n * size + 1, &items));
    for (size_t i = 0; i < n; i++) {
        if (!read_item(key, entries[i].value, items + i * size)) {
            wrong_type(r, key, path, entries[i].value);
            *good = false;
        }
    }
    if (*good) {
        axl_str_list list = {0};
        int64_t count = (int64_t)n;
        memcpy(field, &items, sizeof items);
        memcpy((char *)field + offsetof(axl_str_list, n), &count, sizeof list.n);
    }
out:
    return status;
}

// ---- one value ----

static axl_status read_scalar(axl_config_reader *r, const axl_key *key, const char *path,
                              const axl_yaml_node *node, void *field, bool *good)
{
    bool truth = false;
    int64_t integer = 0;
    double real = 0.0;
    const char *text = NULL;

    switch (key->type) {
    case AXL_T_BOOL:
        *good = node_to_bool(node, &truth);
        if (*good)
            memcpy(field, &truth, sizeof truth);
        break;
    case AXL_T_INT:
        *good = node_to_int(node, &integer);
        if (*good && !in_range(r, key, path, node, (double)integer))
            goto reported;
        if (*good)
            memcpy(field, &integer, sizeof integer);
        break;
    case AXL_T_REAL:
        *good = node_to_real(node, &real);
        if (*good && !in_range(r, key, path, node, real))
            goto reported;
        if (*good)
            memcpy(field, &real, sizeof real);
        break;
    case AXL_T_CHOICE:
        *good = node_to_choice(r, key, path, node, &text);
        if (text != NULL) // also a word that is not supported yet: rules may have more to say
            memcpy(field, &text, sizeof text);
        if (!*good)
            goto reported;
        break;
    case AXL_T_BOOL_OR_STR:
        *good = node->kind == AXL_YAML_BOOL || node->kind == AXL_YAML_STRING;
        text = node->kind != AXL_YAML_BOOL ? node->text : node->boolean ? "true" : "false";
        if (*good)
            memcpy(field, &text, sizeof text);
        break;
    default:
        *good = node_to_string(node, &text);
        if (*good)
            memcpy(field, &text, sizeof text);
        break;
    }
    if (!*good)
        wrong_type(r, key, path, node);
    return AXL_OK;

reported:
    *good = false;
    return AXL_OK;
}

static axl_status read_node(axl_config_reader *r, const axl_key *key, const char *path,
                            const axl_yaml_node *node, void *field, bool *good)
{
    *good = key->type == AXL_T_ANY || (key->type == AXL_T_MAP && node->kind == AXL_YAML_MAP) ||
            (key->type == AXL_T_LIST && node->kind == AXL_YAML_LIST);
    if (*good)
        memcpy(field, &node, sizeof(const axl_yaml_node *));
    else
        wrong_type(r, key, path, node);
    return AXL_OK;
}

static axl_status read_block_list(axl_config_reader *r, const axl_key *key, const char *path,
                                  const axl_yaml_node *node, void *field, bool *good)
{
    axl_status status = AXL_OK;
    axl_yaml_entry single = {NULL, node};
    bool is_single = node->kind == AXL_YAML_MAP && key->type == AXL_T_BLOCK_OR_LIST;
    const axl_yaml_entry *entries = is_single ? &single : node->entries;
    int64_t n = is_single ? 1 : (int64_t)node->n_entries;
    char *items = NULL;
    bool quiet = key->support != AXL_SUPPORT_WORKS;

    *good = is_single || node->kind == AXL_YAML_LIST;
    if (!*good) {
        wrong_type(r, key, path, node);
        goto out;
    }
    AXL_TRY(axl_yaml_take(r->scratch, (size_t)n * key->child->size + 1, &items));
    for (int64_t i = 0; i < n; i++) {
        char item_path[MAX_PATH];
        const axl_yaml_node *item = entries[i].value;
        (void)snprintf(item_path, sizeof item_path, "%.200s[%lld]", path, (long long)i);
        if (item->kind != AXL_YAML_MAP) {
            FAULT(r, item->place, item_path, "a map of keys was expected here, not %s",
                  axl_yaml_kind_name(item->kind));
            item = NULL;
        }
        AXL_TRY(axl_config_read_block(r, key->child, items + (size_t)i * key->child->size, item,
                                      item_path, quiet));
    }
    memcpy(field, &items, sizeof items);
    memcpy((char *)field + offsetof(axl_dataset_list, n), &n, sizeof n);
out:
    return status;
}

typedef struct block_head {
    AXL_BLOCK_HEAD;
} block_head;

static axl_status read_block_value(axl_config_reader *r, const axl_key *key, const char *path,
                                   const axl_yaml_node *node, void *field, bool *good)
{
    axl_status status = AXL_OK;
    block_head head = {0};

    *good = true;
    if (node->kind == AXL_YAML_MAP) {
        bool quiet = key->support != AXL_SUPPORT_WORKS;
        AXL_TRY(axl_config_read_block(r, key->child, field, node, path, quiet));
        goto out;
    }
    if (key->type == AXL_T_BLOCK_OR_BOOL && node_to_bool(node, &head.given)) {
        memcpy(field, &head, sizeof head);
    } else if (key->type == AXL_T_BLOCK_OR_STR && node->kind == AXL_YAML_STRING) {
        head = (block_head){.given = true, .text = node->text};
        memcpy(field, &head, sizeof head);
    } else {
        *good = false;
        wrong_type(r, key, path, node);
    }
out:
    return status;
}

static axl_status read_value(axl_config_reader *r, const axl_key *key, const char *path,
                             const axl_yaml_node *node, void *field, bool *good)
{
    switch (key->type) {
    case AXL_T_STR_LIST:
    case AXL_T_STR_OR_LIST:
    case AXL_T_INT_LIST:
    case AXL_T_INT_OR_LIST:
    case AXL_T_REAL_LIST:
        return read_list(r, key, path, node, field, good);
    case AXL_T_MAP:
    case AXL_T_LIST:
    case AXL_T_ANY:
        return read_node(r, key, path, node, field, good);
    case AXL_T_BLOCK:
    case AXL_T_BLOCK_OR_BOOL:
    case AXL_T_BLOCK_OR_STR:
        return read_block_value(r, key, path, node, field, good);
    case AXL_T_BLOCK_LIST:
    case AXL_T_BLOCK_OR_LIST:
        return read_block_list(r, key, path, node, field, good);
    default:
        return read_scalar(r, key, path, node, field, good);
    }
}

// ---- defaults ----

static axl_status default_node(axl_config_reader *r, const axl_key *key, axl_yaml_node **out)
{
    axl_status status = AXL_OK;
    const char *text = key->otherwise;
    axl_yaml_node *list = NULL, *item = NULL;
    axl_place nowhere = {0};

    AXL_TRY(axl_yaml_new_scalar(r->scratch, text, strlen(text), nowhere, &list));
    if (key->type == AXL_T_STR || key->type == AXL_T_CHOICE)
        list->kind = AXL_YAML_STRING;
    if (text[0] != '[')
        goto done;
    list->kind = AXL_YAML_LIST; // "[a, b]": plain words without commas inside
    AXL_TRY(axl_yaml_take(r->scratch, strlen(text) * sizeof *list->entries, &list->entries));
    for (const char *p = text + 1; *p != ']';) {
        size_t n = strcspn(p, ",]");
        AXL_TRY(axl_yaml_new_scalar(r->scratch, p, n, nowhere, &item));
        list->entries[list->n_entries++] = (axl_yaml_entry){NULL, item};
        p += n;
        p += strspn(p, ", ");
    }
done:
    *out = list;
out:
    return status;
}

static axl_status fill_defaults(axl_config_reader *r, const axl_block *block, void *base)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < block->n_keys; i++) {
        const axl_key *key = &block->keys[i];
        axl_yaml_node *node = NULL;
        bool good = true;
        if (key->type >= AXL_T_BLOCK && key->type <= AXL_T_BLOCK_OR_STR)
            AXL_TRY(fill_defaults(r, key->child, (char *)base + key->offset));
        if (key->otherwise[0] == '\0')
            continue;
        AXL_TRY(default_node(r, key, &node));
        AXL_TRY(read_value(r, key, key->name, node, (char *)base + key->offset, &good));
        AXL_ASSERT(good);
    }
out:
    return status;
}

// ---- support ----

static bool same_text(const char *a, const char *b)
{
    a = a == NULL || strcmp(a, "false") == 0 ? "" : a;
    b = b == NULL || strcmp(b, "false") == 0 ? "" : b;
    return strcmp(a, b) == 0;
}

static bool is_list_type(axl_key_type type)
{
    return type >= AXL_T_STR_LIST && type <= AXL_T_REAL_LIST;
}

static bool same_list(const axl_key *key, const void *a, const void *b)
{
    axl_str_list x, y; // lists of the three item types have one layout
    size_t size = item_size(key->type);
    bool same;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    same = x.n == y.n;
    for (int64_t i = 0; same && i < x.n; i++) {
        if (key->type <= AXL_T_STR_OR_LIST)
            same = strcmp(x.items[i], y.items[i]) == 0;
        else
            same = memcmp((const char *)x.items + (size_t)i * size,
                          (const char *)y.items + (size_t)i * size, size) == 0;
    }
    return same;
}

// Whether the value just read (in now) would change anything against the default (in before).
static bool differs(const axl_key *key, const axl_yaml_node *node, const void *before,
                    const void *now)
{
    const char *a = NULL, *b = NULL;

    if (is_list_type(key->type))
        return !same_list(key, before, now);
    switch (key->type) {
    case AXL_T_BOOL:
        return memcmp(before, now, sizeof(bool)) != 0;
    case AXL_T_INT:
    case AXL_T_REAL:
        // what is planned is not asked for by a 0
        return (key->otherwise[0] == '\0' && key->support != AXL_SUPPORT_PLANNED) ||
               memcmp(before, now, 8) != 0;
    case AXL_T_STR:
    case AXL_T_CHOICE:
    case AXL_T_BOOL_OR_STR:
        memcpy(&a, before, sizeof a);
        memcpy(&b, now, sizeof b);
        return !same_text(a, b);
    case AXL_T_ANY:
        if (strcmp(key->range, "non-null") == 0)
            return true;
        break;
    default:
        break;
    }
    if (node->kind == AXL_YAML_LIST || node->kind == AXL_YAML_MAP)
        return node->n_entries > 0;
    return node->kind != AXL_YAML_BOOL || node->boolean != (strcmp(key->otherwise, "true") == 0);
}

// Memory that is lacking here costs a name in a note, no more.
static void add_to_group(axl_key_group *group, const char *name, axl_place place)
{
    if (group->names.len == 0)
        group->place = place;
    (void)axl_str_puts(&group->names, group->names.len == 0 ? "" : ", ");
    (void)axl_str_puts(&group->names, name);
}

// DeepSpeed's files hold many keys that say nothing here: those of one reason share a line.
static bool is_grouped(axl_config_reader *r, const axl_key *key, const char *path, axl_place place)
{
    size_t i = 0;

    if (strncmp(path, "deepspeed.", 10) != 0)
        return false;
    while (i < r->n_groups && strcmp(r->groups[i].reason, key->reason) != 0)
        i++;
    if (i == AXL_MAX_KEY_GROUPS)
        return false;
    if (i == r->n_groups)
        r->groups[r->n_groups++].reason = key->reason;
    add_to_group(&r->groups[i], path + 10, place);
    return true;
}

void axl_config_reader_end(axl_config_reader *r)
{
    for (size_t i = 0; i < r->n_groups; i++) {
        if (r->groups[i].names.len > 0)
            axl_diagnostics_add(r->diagnostics, AXL_NOTE, r->groups[i].place, "deepspeed",
                                "without effect here: %s: %s", r->groups[i].names.data,
                                r->groups[i].reason);
        axl_str_fini(&r->groups[i].names);
    }
    r->n_groups = 0;
    if (r->prefixed.names.len > 0)
        axl_diagnostics_add(r->diagnostics, AXL_WARNING, r->prefixed.place, "fsdp_config",
                            "the prefix fsdp_ is deprecated inside fsdp_config; write %s",
                            r->prefixed.names.data);
    axl_str_fini(&r->prefixed.names);
}

static void report_support(axl_config_reader *r, const axl_key *key, const char *path,
                           axl_place place)
{
    switch (key->support) {
    case AXL_SUPPORT_IGNORED:
        if (is_grouped(r, key, path, place))
            break;
        axl_diagnostics_add(r->diagnostics, AXL_NOTE, place, path, "has no effect here: %s",
                            key->reason);
        break;
    case AXL_SUPPORT_REFUSED:
        FAULT(r, place, path, "not accepted: %s", key->reason);
        break;
    case AXL_SUPPORT_PLANNED:
        FAULT(r, place, path, "understood, but not supported by this version%s%s; leave it out",
              key->reason[0] != '\0' ? ": " : "", key->reason);
        break;
    default:
        break;
    }
}

// ---- a block ----

// What other programs call our keys.
static const char *name_elsewhere(const axl_block *block, const char *name)
{
    static const char *const names[][2] = {
        {"lr", "learning_rate"},
        {"model", "base_model"},
        {"model_name_or_path", "base_model"},
        {"dataset", "datasets"},
        {"epochs", "num_epochs"},
        {"num_train_epochs", "num_epochs"},
        {"steps", "max_steps"},
        {"per_device_train_batch_size", "micro_batch_size"},
        {"per_device_eval_batch_size", "eval_batch_size"},
        {"max_seq_length", "sequence_len"},
        {"max_seq_len", "sequence_len"},
        {"max_length", "sequence_len"},
        {"cutoff_len", "sequence_len"},
        {"seq_len", "sequence_len"},
        {"packing", "sample_packing"},
        {"optim", "optimizer"},
        {"lr_scheduler_type", "lr_scheduler"},
        {"report_to", "use_tensorboard"},
        {"train_test_split", "val_set_size"},
        {"context_parallel", "context_parallel_size"},
        {"tensor_parallel", "tensor_parallel_size"},
        {"tp", "tensor_parallel_size"},
        {"cp", "context_parallel_size"},
    };

    for (size_t i = 0; block == &axl_top_block && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i][0], name) == 0)
            return names[i][1];
    return NULL;
}

static void report_unknown(axl_config_reader *r, const axl_block *block, const char *path,
                           const axl_yaml_node *name)
{
    const char *names[MAX_KEYS];
    size_t n = 0;

    for (size_t i = 0; i < block->n_keys && n < MAX_KEYS; i++)
        names[n++] = block->keys[i].name;
    if (block != &axl_top_block && !axl_block_is_deepspeed(block) &&
        axl_block_find(&axl_top_block, name->text) != NULL) {
        FAULT(r, name->place, path, "unknown key here; it belongs at the top level of the file");
        return;
    }
    const char *nearest = name_elsewhere(block, name->text);
    if (nearest == NULL)
        nearest = axl_nearest_name(name->text, names, n);
    for (size_t i = 0;
         nearest == NULL && !axl_block_is_deepspeed(block) && i < axl_top_block.n_keys; i++) {
        const axl_key *key = &axl_top_block.keys[i];
        if (key->child != NULL && key->child != block &&
            axl_block_find(key->child, name->text) != NULL) {
            FAULT(r, name->place, path, "unknown key here; it belongs inside %s", key->name);
            return;
        }
    }
    if (nearest != NULL)
        FAULT(r, name->place, path, "unknown key; did you mean %s?", nearest);
    else
        FAULT(r, name->place, path, "unknown key; `axl-dist config-schema` lists them all");
}

// The row of an entry's key. In fsdp_config a leading fsdp_ is accepted, deprecated.
static const axl_key *find_key(axl_config_reader *r, const axl_block *block, const char *path,
                               const axl_yaml_node *name)
{
    const axl_key *key = axl_block_find(block, name->text);

    if (key == NULL && block == &axl_fsdp_block && strncmp(name->text, "fsdp_", 5) == 0) {
        key = axl_block_find(block, name->text + 5);
        if (key != NULL)
            add_to_group(&r->prefixed, key->name, name->place);
    }
    if (key == NULL)
        report_unknown(r, block, path, name);
    return key;
}

static bool is_auto(const axl_yaml_node *node)
{
    return node->kind == AXL_YAML_STRING && strcmp(node->text, "auto") == 0;
}

// What stands for an absent key: null, and where the row says so a zero or DeepSpeed's "auto".
static bool is_none(const axl_block *block, const axl_key *key, const axl_yaml_node *node)
{
    double value = 1.0;

    return node->kind == AXL_YAML_NULL || (axl_block_is_deepspeed(block) && is_auto(node)) ||
           (axl_key_zero_is_none(key) && node_to_real(node, &value) && value == 0.0);
}

static axl_status read_entry(axl_config_reader *r, const axl_block *block, void *base,
                             const axl_yaml_entry *entry, const char *path, bool quiet)
{
    axl_status status = AXL_OK;
    char key_path[MAX_PATH];
    bool good = true;
    char before[sizeof(axl_str_list)] = {0};
    uint8_t origin = entry->value->place.line > 0 ? AXL_SET_FILE : AXL_SET_OVERRIDE;

    (void)snprintf(key_path, sizeof key_path, "%.180s%s%.60s", path, path[0] != '\0' ? "." : "",
                   entry->key->text);
    const axl_key *key = find_key(r, block, key_path, entry->key);
    if (key == NULL || is_none(block, key, entry->value))
        goto out;
    uint8_t *mark = (uint8_t *)base + key->mark_offset;
    void *field = (char *)base + key->offset;
    if (*mark != AXL_SET_DEFAULT) {
        FAULT(r, entry->key->place, key_path, "this key is given twice, here as %s",
              entry->key->text);
        goto out;
    }
    memcpy(before, field,
           key->type == AXL_T_BOOL   ? sizeof(bool)
           : is_list_type(key->type) ? sizeof before
                                     : 8);
    AXL_TRY(read_value(r, key, key_path, entry->value, field, &good));
    // A key with a bad value counts as given, so that it is not called missing too. What DeepSpeed's keys become is
    // compared with other keys, and that takes a good value.
    if (good || !axl_block_is_deepspeed(block))
        *mark = origin;
    if (good && !quiet && key->support != AXL_SUPPORT_WORKS &&
        differs(key, entry->value, before, field))
        report_support(r, key, key_path, entry->key->place);
out:
    return status;
}

axl_status axl_config_read_block(axl_config_reader *r, const axl_block *block, void *base,
                                 const axl_yaml_node *map, const char *path, bool quiet)
{
    axl_status status = AXL_OK;
    block_head head = {.given = map != NULL, .node = map};

    AXL_TRY(fill_defaults(r, block, base));
    memcpy(base, &head, sizeof head);
    for (size_t i = 0; map != NULL && i < map->n_entries; i++)
        AXL_TRY(read_entry(r, block, base, &map->entries[i], path, quiet));
out:
    return status;
}
