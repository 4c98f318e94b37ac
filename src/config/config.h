// The configuration of a run: a YAML file in Axolotl's words, understood, checked and typed.
//
// One idea: a key is a row of a table (keys.def, keys_nested.def, keys_dataset.def). From the rows come
// the structures below, the parser, resolved_config.json, the key pages and the JSON Schema. A
// structure has one field a key, of the key's name:
//
//   column   what it says
//   type     BOOL bool; INT int64_t; REAL double; STR const char *, NULL when absent;
//            CHOICE const char *, one of the range's words (booleans become "true" and "false");
//            BOOL_OR_STR const char *, any text, booleans as above;
//            STR_LIST, STR_OR_LIST axl_str_list; INT_LIST, INT_OR_LIST axl_int_list; REAL_LIST;
//            MAP, LIST, ANY const axl_yaml_node *, NULL when absent
//   form     BLOCK axl_<child>_config; BLOCK_OR_BOOL, BLOCK_OR_STR the same (true, or the text, is in
//            its head); BLOCK_LIST, BLOCK_OR_LIST axl_<child>_list
//   default  YAML text of the value when the key is absent or null; "" means absent (0, false, NULL)
//   range    numbers: an interval, "[1,)" is 1 and more, "[1,) 0 is none" where 0 stands for an absent key;
//            CHOICE: "a|b;c" where words after the semicolon are understood but not supported yet; ANY: "non-null" where false counts as a value
//   support  WORKS; IGNORED(reason): no meaning here, a note is given; REFUSED(reason): an error;
//            PLANNED(what): understood, an error in this version unless it equals the default
//
// `set` in each structure tells, key by key, where a value comes from (axl_origin); 0 means default.
#ifndef AXL_CONFIG_CONFIG_H
#define AXL_CONFIG_CONFIG_H

#include "src/base/dtype.h"
#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/diagnostics.h"
#include "src/io/yaml.h"

#include <stddef.h>
#include <stdint.h>

typedef enum axl_origin {
    AXL_SET_DEFAULT, // 0: the key is absent or null
    AXL_SET_FILE,
    AXL_SET_OVERRIDE, // the command line
    AXL_SET_DERIVED   // computed from other keys
} axl_origin;

// Lists are [n], owned by the configuration.
typedef struct axl_str_list {
    const char *const *items;
    int64_t n;
} axl_str_list;
typedef struct axl_int_list {
    const int64_t *items;
    int64_t n;
} axl_int_list;
typedef struct axl_real_list {
    const double *items;
    int64_t n;
} axl_real_list;

// Every block begins so.
#define AXL_BLOCK_HEAD                                                                             \
    bool given;               /* the block stands in the file (and is not false) */                \
    const char *text;         /* BLOCK_OR_STR: the text form; else NULL */                         \
    const axl_yaml_node *node /* the block's map; NULL when absent */

// The C type of each type word.
#define AXL_C_BOOL        bool
#define AXL_C_INT         int64_t
#define AXL_C_REAL        double
#define AXL_C_STR         const char *
#define AXL_C_CHOICE      const char *
#define AXL_C_BOOL_OR_STR const char *
#define AXL_C_STR_LIST    axl_str_list
#define AXL_C_STR_OR_LIST axl_str_list
#define AXL_C_INT_LIST    axl_int_list
#define AXL_C_INT_OR_LIST axl_int_list
#define AXL_C_REAL_LIST   axl_real_list
#define AXL_C_MAP         const axl_yaml_node *
#define AXL_C_LIST        const axl_yaml_node *
#define AXL_C_ANY         const axl_yaml_node *

#define AXL_C_BLOCK(child)         axl_##child##_config
#define AXL_C_BLOCK_OR_BOOL(child) axl_##child##_config
#define AXL_C_BLOCK_OR_STR(child)  axl_##child##_config
#define AXL_C_BLOCK_LIST(child)    axl_##child##_list
#define AXL_C_BLOCK_OR_LIST(child) axl_##child##_list

// First the origins: axl_dataset_marks, axl_fsdp_marks, ... with one uint8_t (axl_origin) a key.
#define AXL_BLOCK(block) typedef struct axl_##block##_marks {
#define AXL_BLOCK_END(block)                                                                       \
    }                                                                                              \
    axl_##block##_marks;
#define AXL_KEY(block, name, ...) uint8_t name;
#define AXL_SUB(block, name, ...) uint8_t name;
// clang-format off
#include "src/config/keys_dataset.def"
#include "src/config/keys_nested.def"
#include "src/config/keys_deepspeed.def"
AXL_BLOCK(top)
#include "src/config/keys.def"
AXL_BLOCK_END(top)
// clang-format on
#undef AXL_BLOCK
#undef AXL_BLOCK_END
#undef AXL_KEY
#undef AXL_SUB

// Then the blocks: axl_dataset_config, axl_fsdp_config, axl_trl_config, ... and lists of them.
#define AXL_BLOCK(block)                                                                           \
    typedef struct axl_##block##_config {                                                          \
        AXL_BLOCK_HEAD;
#define AXL_BLOCK_END(block)                                                                       \
    axl_##block##_marks set;                                                                       \
    }                                                                                              \
    axl_##block##_config;                                                                          \
    typedef struct axl_##block##_list {                                                            \
        axl_##block##_config *items; /* [n], owned by the configuration */                         \
        int64_t n;                                                                                 \
    } axl_##block##_list;
#define AXL_KEY(block, name, type, ...)        AXL_C_##type name;
#define AXL_SUB(block, name, form, child, ...) AXL_C_##form(child) name;
// clang-format off
#include "src/config/keys_dataset.def"
#include "src/config/keys_nested.def"
#include "src/config/keys_deepspeed.def"
// clang-format on

// What is recomputed in the backward pass.
typedef enum axl_recompute {
    AXL_RECOMPUTE_NONE,      // all activations are kept
    AXL_RECOMPUTE_SELECTIVE, // attention outputs are kept, the rest is computed again
    AXL_RECOMPUTE_FULL       // only the inputs of the layers are kept
} axl_recompute;

typedef enum axl_when {
    AXL_WHEN_NEVER,
    AXL_WHEN_STEPS,
    AXL_WHEN_EPOCH, // at the end of each epoch
    AXL_WHEN_BEST   // saving: when an evaluation is the best so far
} axl_when;

struct axl_attn_impl; // kernels/attention_impl.h

// An attn_implementation: the three flags that follow from it, and the kernel that it is here.
typedef struct axl_attn_named {
    const char *name;      // as written, or canonical
    bool supports_packing; // drives validation only; here no kernel ever crosses documents
    bool uses_flash_lib;
    bool needs_dtype_cast;
    const struct axl_attn_impl *kernel; // borrowed; a constant row
} axl_attn_named;

// How many ranks each axis of the mesh has, slow to fast (comm/mesh.h); the product is the number of ranks.
typedef struct axl_mesh_sizes {
    int dp_replicate, dp_shard, ep, cp, tp; // each at least 1
} axl_mesh_sizes;

#define AXL_MAX_RANKS 1000000

// What follows from the keys; filled by axl_config_load after validation.
typedef struct axl_derived {
    axl_recompute recompute;
    axl_dtype compute_dtype; // AXL_BF16 or AXL_F32; masters and moments are AXL_F32 in both
    axl_dtype reduce_dtype;  // AXL_BF16 or AXL_F32: in which gradients travel; sums are AXL_F32
    axl_mesh_sizes mesh;     // n_ranks 0: the smallest mesh that the keys allow
    int n_batches; // dp_replicate x dp_shard x ep: ranks that differ in data; the others of a cp
                   // or tp group get the same rows
    int64_t global_batch_size; // rows of one update: batch_size x n_batches
    axl_attn_named attn;
    axl_when save_when, eval_when;
    double save_every,
        eval_every;     // AXL_WHEN_STEPS: below 1 a fraction of all updates, else a count
    bool eval_at_start; // an evaluation runs before the first update
    bool load_best;     // the model written at the end is that of the best checkpoint
} axl_derived;

// The whole configuration. All pointers in it are owned by it.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): fields stand in the order of the pages
typedef struct axl_config {
    AXL_BLOCK_HEAD;
#include "src/config/keys.def"
    axl_top_marks set;
    axl_derived derived;
    const char *path;         // of the file, as given
    axl_yaml *yaml;           // owned: the document with the overrides in it
    axl_yaml *scratch;        // owned: default nodes and lists
    axl_yaml *deepspeed_file; // owned: the document that `deepspeed` names; NULL when it names none
} axl_config;
typedef axl_config axl_top_config;
#undef AXL_BLOCK
#undef AXL_BLOCK_END
#undef AXL_KEY
#undef AXL_SUB

// What the caller knows about the machine and was told on the command line.
typedef struct axl_config_options {
    const char *const *overrides; // [n_overrides]: "--key", "value", "--parent.child=value", ...
    int n_overrides;
    bool has_bf16;  // the processor multiplies bf16 (AVX512-BF16 or AMX); decides `bf16: auto`
    bool has_cuda;  // a GPU is usable; decides `device: auto`, and with it `bf16: auto`
    int n_ranks;    // 0: not known; then only what does not depend on it is checked
    bool elsewhere; // the run is on another machine: nothing is said about this one
} axl_config_options;

// Reads, overrides, checks and derives. path is a YAML file, a folder with exactly one in it, or a
// resolved_config.json, which stands for the file and options that it was made from. Every finding is added to `diagnostics`, also when it succeeds
// (warnings, notes). *out is NULL when there is an error; destroy it with axl_config_destroy.
// Fails with AXL_E_CONFIG (all errors in the message), AXL_E_MEMORY. Local.
axl_status axl_config_load(const char *path, const axl_config_options *options,
                           axl_diagnostics *diagnostics, axl_config **out);

// The same from text; name stands for it in messages.
axl_status axl_config_parse(const char *text, size_t n, const char *name,
                            const axl_config_options *options, axl_diagnostics *diagnostics,
                            axl_config **out);

void axl_config_destroy(axl_config *c); // NULL-safe

// Appends resolved_config.json: {"keys": {name: {"value", "from", "place"?}}, "derived": {...}} with every
// key that works and every key that was given; from is "file", "command line", "default", "derived".
axl_status axl_config_resolved(const axl_config *c, axl_str *out);

// Updates with a rising learning rate in a run of n_steps updates: warmup_steps, or warmup_ratio, or
// 3 % up to 100; exactly 1 becomes 2, as the reference does.
int64_t axl_config_warmup_steps(const axl_config *c, int64_t n_steps);

// Updates between log lines in a run of n_steps: logging_steps, or 0.5 % of the run, 1 to 10.
int64_t axl_config_logging_steps(const axl_config *c, int64_t n_steps);

// Updates between checkpoints (evaluations) in a run of n_steps; 0 when it is not AXL_WHEN_STEPS. With load_best
// two fractions give multiples of each other.
int64_t axl_config_save_every(const axl_config *c, int64_t n_steps);
int64_t axl_config_eval_every(const axl_config *c, int64_t n_steps);

// Where a top-level key was set, for messages of others: "run.yaml:14:3", "default", or the option.
axl_status axl_config_where(const axl_config *c, const char *name, axl_str *out);

// Appends the JSON Schema (2020-12) of a configuration file.
axl_status axl_config_schema(axl_str *out);

// Appends the schema of one key, "fsdp_config.offload_params": {name: {...}}. AXL_E_CONFIG when there is none.
axl_status axl_config_schema_field(const char *name, axl_str *out);

// Appends the key pages as Markdown, one table a group.
axl_status axl_config_docs(axl_str *out);

#endif
