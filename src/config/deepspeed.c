// DeepSpeed's settings, turned into the keys of this program that mean the same.
//
// The file is read as what it is to the parser: one more block of keys, with places of its own. The hard part is
// that a setting may stand in two files. Where the YAML says it too, both must agree, as upstream demands; a value
// that only one of them has counts.
#include "src/config/rules.h"

#include "src/config/key.h"
#include "src/config/parse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct mapping {
    axl_config *c;
    axl_diagnostics *diagnostics;
    axl_str became; // "key: value, ..."; owned
} mapping;

// A setting that is looked at: the block it stands in, and its name there.
typedef struct setting {
    const axl_yaml_node *block; // NULL when the block is absent
    const char *path;           // of the block, "deepspeed.optimizer.params"
    const char *name;
} setting;

typedef union value {
    bool truth;
    int64_t integer;
    double real;
    const char *text;
} value;

static axl_place place_of(const setting *s)
{
    const axl_yaml_entry *entry = axl_yaml_entry_of(s->block, s->name);

    if (entry != NULL)
        return entry->key->place;
    return s->block != NULL ? s->block->place : (axl_place){0};
}

#define REPORT(m, severity, s, ...)                                                                \
    do {                                                                                           \
        char path_[128];                                                                           \
        (void)snprintf(path_, sizeof path_, "%s.%s", (s)->path, (s)->name);                        \
        axl_diagnostics_add((m)->diagnostics, (severity), place_of(s), path_, __VA_ARGS__);        \
    } while (0)
#define FAULT(m, s, ...) REPORT(m, AXL_ERROR, s, __VA_ARGS__)

static void show(const axl_key *key, value v, char out[static 64])
{
    switch (key->type) {
    case AXL_T_BOOL:
        (void)snprintf(out, 64, "%s", v.truth ? "true" : "false");
        break;
    case AXL_T_INT:
        (void)snprintf(out, 64, "%lld", (long long)v.integer);
        break;
    case AXL_T_REAL:
        (void)snprintf(out, 64, "%.10g", v.real);
        break;
    default:
        (void)snprintf(out, 64, "%.60s", v.text);
        break;
    }
}

static bool same_value(const axl_key *key, value a, value b)
{
    switch (key->type) {
    case AXL_T_BOOL:
        return a.truth == b.truth;
    case AXL_T_INT:
        return a.integer == b.integer;
    case AXL_T_REAL:
        return fabs(a.real - b.real) <= 1e-9 * fabs(a.real);
    default:
        return strcmp(a.text, b.text) == 0;
    }
}

// The key of a block takes the value, or must have it.
static void take(mapping *m, const setting *s, const axl_block *block, void *base, const char *name,
                 value v)
{
    const axl_key *key = axl_block_find(block, name);
    char ours[64], theirs[64];
    value old = {0};
    size_t size = key->type == AXL_T_BOOL ? sizeof(bool) : sizeof(value);
    uint8_t *mark = (uint8_t *)base + key->mark_offset;
    const char *prefix = block == &axl_top_block ? "" : "fsdp_config.";

    memcpy(&old, (char *)base + key->offset, size);
    show(key, v, theirs);
    if (*mark != AXL_SET_DEFAULT) {
        show(key, old, ours);
        if (!same_value(key, old, v))
            FAULT(m, s, "%s here, but %s%s is %s; make them agree, or write \"auto\" here", theirs,
                  prefix, name, ours);
        return;
    }
    memcpy((char *)base + key->offset, &v, size);
    *mark = AXL_SET_DERIVED;
    (void)axl_str_printf(&m->became, "%s%s%s: %s", m->became.len > 0 ? ", " : "", prefix, name,
                         theirs);
}

static void take_int(mapping *m, const setting *s, const char *name, int64_t n)
{
    take(m, s, &axl_top_block, m->c, name, (value){.integer = n});
}

static void take_real(mapping *m, const setting *s, const char *name, double x)
{
    take(m, s, &axl_top_block, m->c, name, (value){.real = x});
}

static void take_text(mapping *m, const setting *s, const char *name, const char *text)
{
    take(m, s, &axl_top_block, m->c, name, (value){.text = text});
}

static void take_fsdp(mapping *m, const setting *s, const char *name, bool truth)
{
    take(m, s, &axl_fsdp_block, &m->c->fsdp_config, name, (value){.truth = truth});
}

// ---- what is sharded ----

static void map_offload(mapping *m, const axl_deepspeed_offload_config *o, const char *name,
                        int64_t least_stage)
{
    const axl_deepspeed_zero_config *z = &m->c->deepspeed.zero_optimization;
    setting s = {z->node, "deepspeed.zero_optimization", name};

    if (!o->given || strcmp(o->device, "cpu") != 0)
        return;
    if (z->stage < least_stage)
        FAULT(m, &s, "needs stage %lld or more, not %lld", (long long)least_stage,
              (long long)z->stage);
    else
        take_fsdp(m, &s, "offload_params", true);
}

static void map_partition(mapping *m, const char *name, int64_t n)
{
    const axl_deepspeed_zero_config *z = &m->c->deepspeed.zero_optimization;
    setting s = {z->node, "deepspeed.zero_optimization", name};

    if (z->stage != 3)
        FAULT(m, &s, "needs stage 3, not %lld", (long long)z->stage);
    else
        take_int(m, &s, "dp_shard_size", n);
}

static void map_zero(mapping *m)
{
    axl_config *c = m->c;
    const axl_deepspeed_zero_config *z = &c->deepspeed.zero_optimization;
    setting s = {z->node, "deepspeed.zero_optimization", "stage"};

    if (c->fsdp_config.given || c->fsdp.n > 0)
        return; // rule 110 refuses both together
    take_int(m, &s, "fsdp_version", 2);
    if (z->stage == 0) {
        if (!z->given)
            s = (setting){c->deepspeed.node, "deepspeed", "zero_optimization"};
        take_int(m, &s, "dp_shard_size", 1);
    } else {
        take_fsdp(m, &s, "reshard_after_forward", z->stage == 3);
    }
    map_offload(m, &z->offload_optimizer, "offload_optimizer", 1);
    map_offload(m, &z->offload_param, "offload_param", 3);
    if (z->zero_hpz_partition_size > 1) {
        map_partition(m, "zero_hpz_partition_size", z->zero_hpz_partition_size);
        s.name = "zero_hpz_partition_size";
        REPORT(m, AXL_NOTE, &s,
               "masters and moments too are sharded over these %lld ranks only, and kept once for "
               "each such group",
               (long long)z->zero_hpz_partition_size);
    }
    if (z->mics_shard_size > 0)
        map_partition(m, "mics_shard_size", z->mics_shard_size);
}

// ---- numbers ----

static void map_bf16(mapping *m, const axl_deepspeed_bf16_config *b, const char *path)
{
    axl_config *c = m->c;
    setting s = {b->node, path, "enabled"};
    bool is_auto = strcmp(c->bf16, "auto") == 0;
    bool is_on = c->bfloat16 || strcmp(c->bf16, "true") == 0 || strcmp(c->bf16, "full") == 0;

    if (!b->set.enabled)
        return;
    if (is_auto && !c->bfloat16 && !(c->float32 && !b->enabled)) {
        c->set.bf16 = AXL_SET_DEFAULT; // auto stands back for a definite word
        take_text(m, &s, "bf16", b->enabled ? "true" : "false");
    } else if (is_on != b->enabled) {
        FAULT(m, &s, "%s here, but the run is to be in %s; make them agree, or write \"auto\" here",
              b->enabled ? "true" : "false", is_on ? "bf16" : "fp32");
    }
}

static void map_batch(mapping *m)
{
    const axl_deepspeed_config *d = &m->c->deepspeed;
    setting s = {d->node, "deepspeed", ""};

    if (d->set.gradient_accumulation_steps) {
        s.name = "gradient_accumulation_steps";
        take_int(m, &s, s.name, d->gradient_accumulation_steps);
    }
    if (d->set.train_micro_batch_size_per_gpu) {
        s.name = "train_micro_batch_size_per_gpu";
        take_int(m, &s, "micro_batch_size", d->train_micro_batch_size_per_gpu);
    }
    s.name = "gradient_clipping";
    if (d->set.gradient_clipping)
        take_real(m, &s, "max_grad_norm", d->gradient_clipping);
    else if (axl_yaml_get(d->node, s.name) == NULL && m->c->max_grad_norm > 0.0)
        REPORT(m, AXL_NOTE, &s,
               "absent: upstream does not clip then; here max_grad_norm: %.10g counts",
               m->c->max_grad_norm);
    if (d->set.communication_data_type) {
        s.name = "communication_data_type";
        take_text(m, &s, "reduce_dtype",
                  strcmp(d->communication_data_type, "fp32") == 0 ? "fp32" : "bf16");
    }
}

static void map_parallel(mapping *m)
{
    const axl_deepspeed_config *d = &m->c->deepspeed;
    setting s = {d->node, "deepspeed", "sequence_parallel_size"};

    if (d->set.sequence_parallel_size)
        take_int(m, &s, "context_parallel_size", d->sequence_parallel_size);
    s = (setting){d->tensor_parallel.node, "deepspeed.tensor_parallel", "autotp_size"};
    if (d->tensor_parallel.autotp_size > 0)
        take_int(m, &s, "tensor_parallel_size", d->tensor_parallel.autotp_size);
    s.name = "tp_size";
    if (d->tensor_parallel.tp_size > 0)
        take_int(m, &s, "tensor_parallel_size", d->tensor_parallel.tp_size);
}

// ---- optimizer and schedule ----

static void map_optimizer(mapping *m)
{
    axl_config *c = m->c;
    const axl_deepspeed_optimizer_config *o = &c->deepspeed.optimizer;
    const axl_deepspeed_adam_config *p = &o->params;
    setting s = {o->node, "deepspeed.optimizer", "type"};

    if (!o->given)
        return;
    if (o->type == NULL)
        FAULT(m, &s, "missing; AdamW is usual");
    else if (!c->set.optimizer)
        take_text(m, &s, "optimizer", "adamw_torch");
    else if (strncmp(c->optimizer, "adamw_torch", 11) != 0)
        FAULT(m, &s, "%s here, but optimizer is %s; keep one", o->type, c->optimizer);
    s = (setting){p->node, "deepspeed.optimizer.params", "lr"};
    if (p->set.lr)
        take_real(m, &s, "learning_rate", p->lr);
    s.name = "betas";
    if (p->set.betas && p->betas.n != 2) {
        FAULT(m, &s, "two numbers were expected here, not %lld", (long long)p->betas.n);
    } else if (p->set.betas) {
        take_real(m, &s, "adam_beta1", p->betas.items[0]);
        take_real(m, &s, "adam_beta2", p->betas.items[1]);
    }
    s.name = "eps";
    if (p->set.eps)
        take_real(m, &s, "adam_epsilon", p->eps);
    s.name = "weight_decay";
    if (p->set.weight_decay)
        take_real(m, &s, s.name, p->weight_decay);
}

static const struct {
    const char *type, *scheduler;
} schedules[] = {{"WarmupLR", "constant_with_warmup"},
                 {"WarmupDecayLR", "linear"},
                 {"WarmupCosineLR", "cosine"}};

static void map_scheduler(mapping *m)
{
    axl_config *c = m->c;
    const axl_deepspeed_scheduler_config *d = &c->deepspeed.scheduler;
    const axl_deepspeed_warmup_config *p = &d->params;
    setting s = {d->node, "deepspeed.scheduler", "type"};

    if (!d->given)
        return;
    if (d->type == NULL)
        FAULT(m, &s, "missing; WarmupDecayLR is usual");
    for (size_t i = 0; d->type != NULL && i < sizeof schedules / sizeof schedules[0]; i++)
        if (strcmp(d->type, schedules[i].type) == 0)
            take_text(m, &s, "lr_scheduler", schedules[i].scheduler);
    s = (setting){p->node != NULL ? p->node : d->node, "deepspeed.scheduler.params", "warmup_type"};
    if (strcmp(p->warmup_type, "log") == 0)
        FAULT(m, &s, "%s, and only linear is supported; write \"warmup_type\": \"linear\"",
              p->set.warmup_type ? "log" : "absent means log");
    s.name = p->warmup_min_ratio > 0.0 ? "warmup_min_ratio" : "warmup_min_lr";
    if (p->warmup_min_lr > 0.0 || p->warmup_min_ratio > 0.0)
        FAULT(m, &s, "the warm-up begins at 0 here; write 0 or \"auto\"");
    s.name = "warmup_max_lr";
    if (p->set.warmup_max_lr)
        take_real(m, &s, "learning_rate", p->warmup_max_lr);
    s.name = "warmup_num_steps";
    if (p->set.warmup_num_steps)
        take_int(m, &s, "warmup_steps", p->warmup_num_steps);
    s.name = "total_num_steps";
    if (p->set.total_num_steps && p->total_num_steps != c->max_steps)
        FAULT(m, &s,
              "%lld here, but the length of the run is that of max_steps or num_epochs; "
              "write \"auto\"",
              (long long)p->total_num_steps);
    s.name = "cos_min_ratio";
    if (d->type != NULL && strcmp(d->type, "WarmupCosineLR") == 0)
        take_real(m, &s, "cosine_min_lr_ratio", p->cos_min_ratio);
}

// ---- the file ----

// Not a folder, and nothing that could be read without end.
static bool is_file(const char *path)
{
    struct stat s;

    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

// The file as named, else beside the YAML; *out is owned by the configuration, NULL when there is none.
static axl_status find_file(axl_config *c, const char **out)
{
    axl_status status = AXL_OK;
    const char *name = c->deepspeed.text;
    const char *slash = strrchr(c->path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - c->path) + 1;
    char *path = NULL;

    *out = NULL;
    AXL_TRY(axl_yaml_take(c->scratch, n + strlen(name) + 1, &path));
    if (!is_file(name) && name[0] != '/')
        memcpy(path, c->path, n);
    (void)strcat(path, name);
    if (is_file(path))
        *out = path;
out:
    return status;
}

static axl_status read_file(axl_config *c, axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;
    axl_config_reader r = {.scratch = c->scratch, .diagnostics = diagnostics};
    const char *path = NULL;

    AXL_TRY(find_file(c, &path));
    if (path == NULL) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, axl_config_place(c, "deepspeed"), "deepspeed",
                            "%.200s: there is no such file, neither here nor beside the YAML; a "
                            "map of its keys may stand here instead",
                            c->deepspeed.text);
        goto out;
    }
    axl_status read = axl_yaml_load(path, diagnostics, &c->deepspeed_file); // JSON is YAML
    AXL_REQUIRE(read != AXL_E_MEMORY, read, "%s: no memory to read it", path);
    if (read != AXL_OK)
        goto out;
    const axl_yaml_node *root = axl_yaml_root(c->deepspeed_file);
    if (root->kind != AXL_YAML_MAP) {
        axl_diagnostics_add(diagnostics, AXL_ERROR, root->place, "deepspeed",
                            "an object of settings was expected here, not %s",
                            axl_yaml_kind_name(root->kind));
        goto out;
    }
    AXL_TRY(
        axl_config_read_block(&r, &axl_deepspeed_block, &c->deepspeed, root, "deepspeed", false));
    c->deepspeed.text = path; // so that resolved_config.json names what was read
out:
    axl_config_reader_end(&r);
    return status;
}

axl_status axl_config_deepspeed(axl_config *c, axl_diagnostics *diagnostics)
{
    axl_status status = AXL_OK;
    mapping m = {.c = c, .diagnostics = diagnostics};

    if (!c->deepspeed.given)
        goto out;
    if (c->deepspeed.text != NULL)
        AXL_TRY(read_file(c, diagnostics));
    if (c->deepspeed.node == NULL)
        goto out;
    map_zero(&m);
    map_bf16(&m, &c->deepspeed.bf16, "deepspeed.bf16");
    map_bf16(&m, &c->deepspeed.bfloat16, "deepspeed.bfloat16");
    map_batch(&m);
    map_parallel(&m);
    map_optimizer(&m);
    map_scheduler(&m);
    axl_diagnostics_add(diagnostics, AXL_NOTE, axl_config_place(c, "deepspeed"), "deepspeed",
                        "became %s",
                        m.became.len > 0 ? m.became.data : "nothing that the YAML does not say");
out:
    axl_str_fini(&m.became);
    return status;
}
