// The rows of the key tables as data, for the parser and the writers. Internal to src/config.
#ifndef AXL_CONFIG_KEY_H
#define AXL_CONFIG_KEY_H

#include "src/config/config.h"

typedef enum axl_key_type {
    AXL_T_BOOL,
    AXL_T_INT,
    AXL_T_REAL,
    AXL_T_STR,
    AXL_T_CHOICE,
    AXL_T_BOOL_OR_STR,
    AXL_T_STR_LIST,
    AXL_T_STR_OR_LIST,
    AXL_T_INT_LIST,
    AXL_T_INT_OR_LIST,
    AXL_T_REAL_LIST,
    AXL_T_MAP,
    AXL_T_LIST,
    AXL_T_ANY,
    AXL_T_BLOCK,
    AXL_T_BLOCK_OR_BOOL,
    AXL_T_BLOCK_OR_STR,
    AXL_T_BLOCK_LIST,
    AXL_T_BLOCK_OR_LIST
} axl_key_type;

typedef enum axl_support {
    AXL_SUPPORT_WORKS,
    AXL_SUPPORT_IGNORED,
    AXL_SUPPORT_REFUSED,
    AXL_SUPPORT_PLANNED
} axl_support;

typedef struct axl_key {
    const char *name;
    const char *otherwise; // YAML text of the default; "" for none
    const char *range;
    const char *group;
    const char *reason; // of IGNORED, REFUSED, PLANNED; "" otherwise
    const char *doc;
    const struct axl_block *child; // of nested blocks
    axl_key_type type;
    axl_support support;
    uint32_t offset;      // of the field in the block's structure
    uint32_t mark_offset; // of its origin
} axl_key;

typedef struct axl_block {
    const char *name;
    const axl_key *keys; // [n_keys]
    size_t n_keys;
    size_t size; // bytes of the block's structure
} axl_block;

extern const axl_block axl_top_block;     // the file itself
extern const axl_block axl_dataset_block; // one entry of datasets
extern const axl_block axl_fsdp_block;
extern const axl_block axl_deepspeed_block;

// Whether a block is DeepSpeed's or nests in it: "auto" stands for absent there.
bool axl_block_is_deepspeed(const axl_block *block);

// The row of a key, also under its other names; NULL when there is none.
const axl_key *axl_block_find(const axl_block *block, const char *name);

// The other name of a key of the file itself, by which it is found too; NULL when it has none.
const char *axl_key_alias(const char *name);

// "true or false", "an integer", ...; for messages.
const char *axl_key_type_name(axl_key_type type);

// Whether a word is among a CHOICE's; *supported tells on which side of the semicolon it stands.
bool axl_choice_find(const char *range, const char *word, bool *supported);
// The words as "a, b or c"; those not supported yet are left out unless `all`.
axl_status axl_choice_text(const char *range, bool all, axl_str *out);

// Whether 0 stands for an absent key: "[1,) 0 is none".
bool axl_key_zero_is_none(const axl_key *key);

// A numeric interval "[1,)": bounds, open or closed; infinite where left out.
typedef struct axl_interval {
    double low, high;
    bool low_open, high_open;
} axl_interval;
axl_interval axl_interval_parse(const char *range);

#endif
