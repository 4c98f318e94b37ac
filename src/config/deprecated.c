// Deprecated keys, mapped onto their successors with one warning each.
//
// The hard part is the attention flags: seven booleans whose combination meant something, replaced by
// one name; true ones are picked by the priority users know, false ones say nothing.
#include "src/config/rules.h"

#include "src/config/key.h"

#include <string.h>

#define WARN(key, ...)                                                                             \
    axl_diagnostics_add(diagnostics, AXL_WARNING, axl_config_place(c, (key)), (key), __VA_ARGS__)
#define FAULT(key, ...)                                                                            \
    axl_diagnostics_add(diagnostics, AXL_ERROR, axl_config_place(c, (key)), (key), __VA_ARGS__)

// Scalars that are simply renamed. Both must have the same type.
static const struct {
    const char *old_name, *new_name;
} renamed[] = {
    {"evaluation_strategy", "eval_strategy"},
    {"noisy_embedding_alpha", "neftune_noise_alpha"},
    {"dpo_beta", "rl_beta"},
    {"dataset_processes", "dataset_num_proc"},
    {"pretrain_multipack_buffer_size", "streaming_multipack_buffer_size"},
    {"sequence_parallel_degree", "context_parallel_size"},
    {"liger_swiglu", "liger_glu_activation"},
    {"gc_steps", "gc_collect_steps"},
    {"eval_table_size", "num_generation_samples"},
    {"eval_max_new_tokens", "generation_max_new_tokens"},
};

static void rename_key(axl_config *c, const axl_key *from, const axl_key *to,
                       axl_diagnostics *diagnostics)
{
    uint8_t *from_mark = (uint8_t *)c + from->mark_offset;
    uint8_t *to_mark = (uint8_t *)c + to->mark_offset;

    if (*from_mark == AXL_SET_DEFAULT)
        return;
    if (*to_mark != AXL_SET_DEFAULT) {
        WARN(from->name, "deprecated, and %s is given too: that one counts", to->name);
        return;
    }
    WARN(from->name, "deprecated; write %s", to->name);
    memcpy((char *)c + to->offset, (const char *)c + from->offset,
           from->type == AXL_T_BOOL ? sizeof(bool) : 8);
    *to_mark = AXL_SET_DERIVED;
}

// By priority: of several true flags the first here is meant.
static void attention_flags(axl_config *c, axl_diagnostics *diagnostics)
{
    const struct {
        const char *key;
        bool given;
        const char *name;
    } flags[] = {
        {"s2_attention", c->s2_attention, "s2"},
        {"sage_attention", c->sage_attention, "sage"},
        {"xformers_attention", c->xformers_attention, "xformers"},
        {"flex_attention", c->flex_attention, "flex_attention"},
        {"flash_attention", c->flash_attention, "flash_attention_2"},
        {"sdp_attention", c->sdp_attention, "sdpa"},
        {"eager_attention", c->eager_attention, "eager"},
    };
    const char *chosen = c->attn_implementation;

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (!flags[i].given)
            continue;
        if (c->set.attn_implementation == AXL_SET_FILE ||
            c->set.attn_implementation == AXL_SET_OVERRIDE) {
            FAULT(flags[i].key, "not together with attn_implementation; delete it");
            continue;
        }
        if (chosen == NULL)
            WARN(flags[i].key, "deprecated; write attn_implementation: %s", flags[i].name);
        else
            WARN(flags[i].key, "deprecated, and overruled by attn_implementation: %s", chosen);
        if (chosen == NULL)
            chosen = flags[i].name;
    }
    if (chosen != NULL && c->set.attn_implementation == AXL_SET_DEFAULT) {
        c->attn_implementation = chosen;
        c->set.attn_implementation = AXL_SET_DERIVED;
    }
}

// FSDP1's words for what is sharded, in its list and in sharding_strategy.
typedef struct strategy {
    const char *word, *name;
    bool reshards, is_hybrid, is_whole;
} strategy;
static const strategy strategies[] = {
    {.word = "full_shard", .name = "FULL_SHARD", .reshards = true},
    {.word = "shard_grad_op", .name = "SHARD_GRAD_OP"},
    {.word = "no_shard", .name = "NO_SHARD", .reshards = true, .is_whole = true},
    {.word = "hybrid_shard", .name = "HYBRID_SHARD", .reshards = true, .is_hybrid = true},
    {.word = "hybrid_shard_zero2", .name = "HYBRID_SHARD_ZERO2", .is_hybrid = true},
};
#define N_STRATEGIES (sizeof strategies / sizeof strategies[0])

static const strategy *find_strategy(const char *word)
{
    for (size_t i = 0; word != NULL && i < N_STRATEGIES; i++)
        if (strcmp(word, strategies[i].word) == 0 || strcmp(word, strategies[i].name) == 0)
            return &strategies[i];
    return NULL;
}

static void apply_strategy(axl_config *c, const char *key, const strategy *s,
                           axl_diagnostics *diagnostics)
{
    axl_fsdp_config *f = &c->fsdp_config;

    if (f->set.reshard_after_forward && !s->is_whole && f->reshard_after_forward != s->reshards)
        FAULT(key, "%s means reshard_after_forward: %s, but fsdp_config says %s; keep one", s->word,
              s->reshards ? "true" : "false", f->reshard_after_forward ? "true" : "false");
    if (s->is_hybrid && !c->set.dp_shard_size && !c->set.dp_replicate_size)
        FAULT(key, "%s shards inside a host; write dp_shard_size: the number of ranks of a host",
              s->word);
    if (s->is_whole && c->set.dp_shard_size && c->dp_shard_size != 1)
        FAULT(key, "%s means dp_shard_size: 1, not %lld", s->word, (long long)c->dp_shard_size);
    if (s->is_whole && !c->set.dp_shard_size) {
        c->dp_shard_size = 1;
        c->set.dp_shard_size = AXL_SET_DERIVED;
    }
    if (!f->set.reshard_after_forward) {
        f->reshard_after_forward = s->reshards;
        f->set.reshard_after_forward = AXL_SET_DERIVED;
    }
}

// What the list of FSDP1 says becomes keys of fsdp_config; rule 111 gives the one warning.
static void fsdp_list(axl_config *c, axl_diagnostics *diagnostics)
{
    axl_fsdp_config *f = &c->fsdp_config;
    const strategy *chosen = find_strategy(f->sharding_strategy);
    const char *key = chosen != NULL ? "fsdp_config" : "fsdp";

    for (int64_t i = 0; i < c->fsdp.n; i++) {
        const char *word = c->fsdp.items[i];
        const strategy *s = find_strategy(word);
        if (s != NULL && chosen != NULL && s != chosen)
            FAULT("fsdp", "%s contradicts %s; keep one", s->word, chosen->word);
        if (s != NULL && chosen == NULL)
            chosen = s;
        if (strcmp(word, "offload") == 0) {
            if (f->set.offload_params && !f->offload_params)
                FAULT("fsdp", "offload contradicts fsdp_config: {offload_params: false}; keep one");
            f->offload_params = true;
            f->set.offload_params = f->set.offload_params ? f->set.offload_params : AXL_SET_DERIVED;
        } else if (s == NULL && strcmp(word, "auto_wrap") != 0) {
            FAULT("fsdp",
                  "\"%.40s\" is none of its words; use full_shard, shard_grad_op, hybrid_shard, "
                  "hybrid_shard_zero2, no_shard, auto_wrap or offload",
                  word);
        }
    }
    if (chosen != NULL)
        apply_strategy(c, key, chosen, diagnostics);
}

static void fsdp_versions(axl_config *c)
{
    axl_fsdp_config *f = &c->fsdp_config;

    if (f->set.version != AXL_SET_DEFAULT && f->set.fsdp_version == AXL_SET_DEFAULT) {
        f->fsdp_version = f->version;
        f->set.fsdp_version = f->set.version;
    }
    if (c->set.fsdp_version == AXL_SET_DEFAULT && f->set.fsdp_version != AXL_SET_DEFAULT) {
        c->fsdp_version = f->fsdp_version;
        c->set.fsdp_version = AXL_SET_DERIVED;
    }
}

// message_field_role: from becomes message_property_mappings: {role: from}. (rule 16)
static axl_status fold_field(axl_config *c, axl_dataset_config *ds, const char *key,
                             const char *target, const char *value, axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;
    axl_yaml_node *map = NULL, *name = NULL, *node = NULL;
    axl_place place = {0};

    if (value == NULL)
        goto out;
    const axl_yaml_entry *entry = axl_yaml_entry_of(ds->node, key);
    const axl_yaml_node *old = axl_yaml_get(ds->message_property_mappings, target);
    if (entry != NULL)
        place = entry->key->place;
    axl_diagnostics_add(diagnostics, AXL_WARNING, place, key,
                        "deprecated; write message_property_mappings: {%s: %s}", target, value);
    if (old != NULL && strcmp(old->text, value) != 0) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, place, key,
                            "message_property_mappings says %s: %s; keep one", target, old->text);
        goto out;
    }
    if (ds->message_property_mappings != NULL)
        AXL_TRY(axl_yaml_copy(c->scratch, ds->message_property_mappings, &map));
    else
        AXL_TRY(axl_yaml_new_map(c->scratch, place, &map));
    AXL_TRY(axl_yaml_new_scalar(c->scratch, target, strlen(target), place, &name));
    AXL_TRY(axl_yaml_new_scalar(c->scratch, value, strlen(value), place, &node));
    node->kind = AXL_YAML_STRING;
    AXL_TRY(axl_yaml_set(c->scratch, map, name, node));
    ds->message_property_mappings = map;
    ds->set.message_property_mappings = AXL_SET_DERIVED;
out:
    return status;
}

static axl_status message_fields(axl_config *c, axl_dataset_list *list,
                                 axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < list->n; i++) {
        axl_dataset_config *ds = &list->items[i];
        AXL_TRY(
            fold_field(c, ds, "message_field_role", "role", ds->message_field_role, diagnostics));
        AXL_TRY(fold_field(c, ds, "message_field_content", "content", ds->message_field_content,
                           diagnostics));
    }
out:
    return status;
}

axl_status axl_config_modernise(axl_config *c, axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < sizeof renamed / sizeof renamed[0]; i++)
        rename_key(c, axl_block_find(&axl_top_block, renamed[i].old_name),
                   axl_block_find(&axl_top_block, renamed[i].new_name), diagnostics);
    if (c->eval_table_size > 0 && !c->set.generate_samples) { // it asked for them by their number
        c->generate_samples = true;
        c->set.generate_samples = AXL_SET_DERIVED;
    }
    attention_flags(c, diagnostics);
    fsdp_versions(c);
    fsdp_list(c, diagnostics);
    AXL_TRY(message_fields(c, &c->datasets, diagnostics));
    AXL_TRY(message_fields(c, &c->test_datasets, diagnostics));
out:
    return status;
}
