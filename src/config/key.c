// The key tables, and the small languages of their columns.
//
// The hard part is only that the order of definition matters: a nested block's table stands before the
// table that names it, as the .def files do.
#include "src/config/key.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AXL_SUPPORT_COLUMNS_WORKS            .support = AXL_SUPPORT_WORKS, .reason = ""
#define AXL_SUPPORT_COLUMNS_IGNORED(reason_) .support = AXL_SUPPORT_IGNORED, .reason = (reason_)
#define AXL_SUPPORT_COLUMNS_REFUSED(reason_) .support = AXL_SUPPORT_REFUSED, .reason = (reason_)
#define AXL_SUPPORT_COLUMNS_PLANNED(reason_) .support = AXL_SUPPORT_PLANNED, .reason = (reason_)

#define AXL_BLOCK(block) static const axl_key block##_keys[] = {
#define AXL_BLOCK_END(block)                                                                       \
    }                                                                                              \
    ;                                                                                              \
    const axl_block axl_##block##_block;                                                           \
    const axl_block axl_##block##_block = {#block, block##_keys,                                   \
                                           sizeof block##_keys / sizeof block##_keys[0],           \
                                           sizeof(axl_##block##_config)};
#define AXL_KEY(block, name_, type_, otherwise_, range_, group_, support_, doc_)                   \
    {.name = #name_,                                                                               \
     .type = AXL_T_##type_,                                                                        \
     .otherwise = (otherwise_),                                                                    \
     .range = (range_),                                                                            \
     .group = (group_),                                                                            \
     AXL_SUPPORT_COLUMNS_##support_,                                                               \
     .doc = (doc_),                                                                                \
     .offset = (uint32_t)offsetof(axl_##block##_config, name_),                                    \
     .mark_offset = (uint32_t)offsetof(axl_##block##_config, set.name_)},
#define AXL_SUB(block, name_, form_, child_, group_, support_, doc_)                               \
    {.name = #name_,                                                                               \
     .type = AXL_T_##form_,                                                                        \
     .otherwise = "",                                                                              \
     .range = "",                                                                                  \
     .group = (group_),                                                                            \
     AXL_SUPPORT_COLUMNS_##support_,                                                               \
     .doc = (doc_),                                                                                \
     .offset = (uint32_t)offsetof(axl_##block##_config, name_),                                    \
     .mark_offset = (uint32_t)offsetof(axl_##block##_config, set.name_),                           \
     .child = &axl_##child_##_block},
// clang-format off
#include "src/config/keys_dataset.def"
#include "src/config/keys_nested.def"
#include "src/config/keys_deepspeed.def"
AXL_BLOCK(top)
#include "src/config/keys.def"
AXL_BLOCK_END(top)
// clang-format on

// Names that users' files may hold for the same key.
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"type_of_model", "model_type"},
    {"revision_of_model", "model_revision"},
    {"overrides_of_model_config", "model_config"},
    {"overrides_of_model_kwargs", "model_kwargs"},
};

const char *axl_key_alias(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcmp(aliases[i].name, name) == 0)
            return aliases[i].alias;
    return NULL;
}

static const axl_key *find_row(const axl_block *block, const char *name)
{
    for (size_t i = 0; i < block->n_keys; i++)
        if (strcmp(block->keys[i].name, name) == 0)
            return &block->keys[i];
    return NULL;
}

const axl_key *axl_block_find(const axl_block *block, const char *name)
{
    const axl_key *key = find_row(block, name);

    if (key != NULL || block != &axl_top_block)
        return key;
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcmp(aliases[i].alias, name) == 0)
            return find_row(block, aliases[i].name);
    return NULL;
}

bool axl_block_is_deepspeed(const axl_block *block)
{
    return strncmp(block->name, "deepspeed", 9) == 0;
}

const char *axl_key_type_name(axl_key_type type)
{
    static const char *const names[] = {
        [AXL_T_BOOL] = "true or false",
        [AXL_T_INT] = "an integer",
        [AXL_T_REAL] = "a number",
        [AXL_T_STR] = "a string",
        [AXL_T_CHOICE] = "one of its words",
        [AXL_T_BOOL_OR_STR] = "true, false or a string",
        [AXL_T_STR_LIST] = "a list of strings",
        [AXL_T_STR_OR_LIST] = "a string or a list of strings",
        [AXL_T_INT_LIST] = "a list of integers",
        [AXL_T_INT_OR_LIST] = "an integer or a list of integers",
        [AXL_T_REAL_LIST] = "a list of numbers",
        [AXL_T_MAP] = "a map",
        [AXL_T_LIST] = "a list",
        [AXL_T_ANY] = "any value",
        [AXL_T_BLOCK] = "a map",
        [AXL_T_BLOCK_OR_BOOL] = "true, false or a map",
        [AXL_T_BLOCK_OR_STR] = "a string or a map",
        [AXL_T_BLOCK_LIST] = "a list of maps",
        [AXL_T_BLOCK_OR_LIST] = "a map or a list of maps",
    };

    return names[type];
}

bool axl_choice_find(const char *range, const char *word, bool *supported)
{
    size_t n = strlen(word);

    *supported = true;
    for (const char *p = range; *p != '\0';) {
        size_t k = strcspn(p, "|;");
        if (k == n && n > 0 && strncmp(p, word, n) == 0)
            return true;
        p += k;
        *supported = *supported && *p != ';';
        p += *p != '\0';
    }
    return false;
}

axl_status axl_choice_text(const char *range, bool all, axl_str *out)
{
    axl_status status = AXL_OK;
    size_t end = all ? strlen(range) : strcspn(range, ";");
    bool first = true;

    for (size_t i = 0; i < end;) {
        size_t k = strcspn(range + i, "|;");
        bool last = i + k >= end;
        if (k > 0) {
            AXL_TRY(axl_str_puts(out, first ? "" : last ? " or " : ", "));
            AXL_TRY(axl_str_append(out, range + i, k));
            first = false;
        }
        i += k + 1;
    }
out:
    return status;
}

bool axl_key_zero_is_none(const axl_key *key)
{
    return strstr(key->range, " 0 is none") != NULL;
}

axl_interval axl_interval_parse(const char *range)
{
    axl_interval i = {-(double)INFINITY, (double)INFINITY, false, false};
    const char *comma = strchr(range, ',');

    if (comma == NULL)
        return i;
    i.low_open = range[0] == '(';
    if (comma > range + 1)
        i.low = strtod(range + 1, NULL);
    i.high_open = comma[strcspn(comma, ")]")] == ')';
    if (comma[1] != ')' && comma[1] != ']')
        i.high = strtod(comma + 1, NULL);
    return i;
}
