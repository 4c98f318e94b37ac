// The validation rules, a row each: number, severity, key, condition, message.
//
// The numbers are those users find in the documentation. A condition looks at typed keys only; where the
// message needs values, the condition composes it. Rules about keys that this version does not support
// yet are not needed: such a key is an error by itself.
#include "src/config/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct context {
    axl_config *c;
    const axl_config_options *options;
    axl_diagnostics *diagnostics;
    char detail[512]; // the message, when the condition composes it
    axl_place place;  // when it is not that of the row's key
} context;

typedef struct rule {
    int number; // 0: a rule of this program alone
    axl_severity severity;
    const char *key;
    bool (*applies)(context *x);
    const char *text; // NULL: a silent adjustment, or the condition composes the message
} rule;

__attribute__((format(printf, 2, 3))) static bool say(context *x, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(x->detail, sizeof x->detail, fmt, args);
    va_end(args);
    return true;
}

static bool is(const char *value, const char *word)
{
    return value != NULL && strcmp(value, word) == 0;
}

// ---- what must be there ----

static bool no_base_model(context *x)
{
    return !x->c->set.base_model;
}

static bool no_learning_rate(context *x)
{
    return !x->c->set.learning_rate;
}

static bool no_datasets(context *x)
{
    return !x->c->set.datasets && !x->c->set.pretraining_dataset;
}

// ---- datasets ----

static const axl_dataset_list *list_of(const axl_config *c, int which)
{
    const axl_dataset_list *lists[] = {&c->datasets, &c->test_datasets, &c->pretraining_dataset};

    return lists[which];
}

typedef bool (*dataset_check)(context *x, axl_dataset_config *ds);

// Applies a check to each data set; the first that applies is reported with its place.
static bool any_dataset(context *x, dataset_check check)
{
    for (int which = 0; which < 3; which++) {
        const axl_dataset_list *list = list_of(x->c, which);
        for (int64_t i = 0; i < list->n; i++) {
            if (!check(x, &list->items[i]))
                continue;
            if (list->items[i].node != NULL)
                x->place = list->items[i].node->place;
            return true;
        }
    }
    return false;
}

static bool dataset_sharegpt(context *x, axl_dataset_config *ds)
{
    (void)x;
    return ds->type.text != NULL && strncmp(ds->type.text, "sharegpt", 8) == 0;
}

static bool sharegpt(context *x)
{
    return any_dataset(x, dataset_sharegpt);
}

static bool dataset_no_path(context *x, axl_dataset_config *ds)
{
    (void)x;
    return !ds->set.path;
}

static bool no_path(context *x)
{
    return any_dataset(x, dataset_no_path);
}

static bool test_and_val(context *x)
{
    return x->c->set.test_datasets && x->c->val_set_size > 0.0;
}

static bool empty_datasets(context *x)
{
    return x->c->set.datasets && x->c->datasets.n == 0;
}

static bool empty_test_datasets(context *x)
{
    return x->c->set.test_datasets && x->c->test_datasets.n == 0;
}

static bool jinja_without_text(context *x)
{
    return is(x->c->chat_template, "jinja") && x->c->chat_template_jinja == NULL;
}

static bool dataset_jinja_without_text(context *x, axl_dataset_config *ds)
{
    (void)x;
    return is(ds->chat_template, "jinja") && ds->chat_template_jinja == NULL;
}

static bool any_jinja_without_text(context *x)
{
    return any_dataset(x, dataset_jinja_without_text);
}

static bool dataset_shard_index(context *x, axl_dataset_config *ds)
{
    if (!ds->set.shards || ds->shards_idx < ds->shards)
        return false;
    return say(x, "shards_idx %lld is not below shards %lld", (long long)ds->shards_idx,
               (long long)ds->shards);
}

static bool shard_index(context *x)
{
    return any_dataset(x, dataset_shard_index);
}

// ---- batch, steps ----

static bool two_of_three(context *x)
{
    const axl_config *c = x->c;

    return (c->set.micro_batch_size != 0) + (c->set.gradient_accumulation_steps != 0) +
               (c->set.batch_size != 0) <
           2;
}

static bool accumulation_and_batch(context *x)
{
    return x->c->set.gradient_accumulation_steps && x->c->set.batch_size;
}

static bool has_batch_size(context *x)
{
    return x->c->set.batch_size;
}

static bool batch_not_multiple(context *x)
{
    const axl_config *c = x->c;

    if (!c->set.batch_size || !c->set.micro_batch_size || c->batch_size % c->micro_batch_size == 0)
        return false;
    return say(x, "%lld is no multiple of micro_batch_size %lld; write %lld",
               (long long)c->batch_size, (long long)c->micro_batch_size,
               (long long)((c->batch_size / c->micro_batch_size + 1) * c->micro_batch_size));
}

static bool eval_batch_differs(context *x)
{
    const axl_config *c = x->c;

    return c->set.eval_batch_size && c->set.micro_batch_size &&
           c->eval_batch_size != c->micro_batch_size;
}

static bool two_warmups(context *x)
{
    return x->c->warmup_steps > 0 && x->c->warmup_ratio > 0.0;
}

static bool save_strategy_and_steps(context *x)
{
    return x->c->save_strategy != NULL && x->c->set.save_steps && !is(x->c->save_strategy, "steps");
}

static bool saves_twice(context *x)
{
    return x->c->set.saves_per_epoch && x->c->set.save_steps;
}

static bool eval_strategy_and_steps(context *x)
{
    return x->c->eval_strategy != NULL && x->c->set.eval_steps && !is(x->c->eval_strategy, "steps");
}

static bool evals_twice(context *x)
{
    return x->c->set.evals_per_epoch && x->c->set.eval_steps;
}

static bool evals_per_epoch_strategy(context *x)
{
    return x->c->set.evals_per_epoch && x->c->eval_strategy != NULL &&
           !is(x->c->eval_strategy, "steps");
}

static bool eval_without_set(context *x)
{
    const axl_config *c = x->c;

    return c->set.val_set_size && !(c->val_set_size > 0.0) && c->test_datasets.n == 0 &&
           (c->set.eval_steps || (c->eval_strategy != NULL && !is(c->eval_strategy, "no")));
}

static bool eval_never(context *x)
{
    const axl_config *c = x->c;

    return (c->test_datasets.n > 0 || c->val_set_size > 0.0) && !c->set.eval_steps &&
           !c->set.evals_per_epoch && c->eval_strategy == NULL;
}

static bool steps_not_whole(context *x)
{
    const axl_config *c = x->c;
    bool save = c->save_steps > 1.0 && c->save_steps != (double)(int64_t)c->save_steps;
    bool eval = c->eval_steps > 1.0 && c->eval_steps != (double)(int64_t)c->eval_steps;

    if (!save && !eval)
        return false;
    return say(x, "%s %g is neither a whole number of steps nor a fraction below 1",
               save ? "save_steps" : "eval_steps", save ? c->save_steps : c->eval_steps);
}

static bool saves_never(context *x)
{
    const axl_config *c = x->c;

    return c->set.saves_per_epoch && !c->set.save_steps &&
           (double)c->saves_per_epoch * c->num_epochs < 1.0;
}

// ---- optimizer, precision, memory ----

static bool two_dtypes(context *x)
{
    const axl_config *c = x->c;

    return c->float32 && (is(c->bf16, "true") || is(c->bf16, "full") || c->bfloat16);
}

static bool no_bf16_hardware(context *x)
{
    const axl_config *c = x->c;
    bool wanted = is(c->bf16, "true") || is(c->bf16, "full") || c->bfloat16;

    return wanted && !c->float32 && !x->options->has_bf16 && x->options->n_ranks > 0;
}

static bool selective_alone(context *x)
{
    const axl_config *c = x->c;

    return c->selective_checkpointing.given && !is(c->gradient_checkpointing, "true") &&
           !c->fsdp_config.activation_checkpointing;
}

static bool selective_saves(context *x)
{
    const axl_str_list *save = &x->c->selective_checkpointing.save;

    for (int64_t i = 0; x->c->selective_checkpointing.given && i < save->n; i++)
        if (!is(save->items[i], "attention"))
            return say(x, "\"%.40s\" cannot be kept by this version; use [attention]",
                       save->items[i]);
    return false;
}

static bool min_lr_without_cosine(context *x)
{
    return x->c->set.cosine_min_lr_ratio && !is(x->c->lr_scheduler, "cosine");
}

// ---- packing, attention ----

static bool packing_leaks_upstream(context *x)
{
    axl_attn_impl impl;
    const char *name = x->c->attn_implementation;

    if (!x->c->sample_packing || name == NULL || !axl_attn_impl_find(name, &impl))
        return false;
    return !impl.supports_packing && !is(name, "sdpa") && !is(name, "eager") &&
           say(x, "%s does not isolate packed documents upstream; here it does", name);
}

static bool attn_unknown(context *x)
{
    axl_attn_impl impl;
    const char *name = x->c->attn_implementation;
    axl_str names = {0};

    if (name == NULL || axl_attn_impl_find(name, &impl))
        return false;
    const char *alias = axl_attn_impl_alias(name);
    if (alias != NULL)
        return say(x, "\"%.40s\" is a short form; write %s", name, alias);
    (void)axl_attn_impl_names(&names);
    (void)say(x, "\"%.40s\" is none of its values; use %s", name,
              names.data == NULL ? "sdpa" : names.data);
    axl_str_fini(&names);
    return true;
}

static bool attn_one_kernel(context *x)
{
    const char *name = x->c->attn_implementation;

    if (name == NULL || is(name, "sdpa") || is(name, "flash_attention_2"))
        return false;
    if (is(name, "s2") || is(name, "sage") || is(name, "fp8") || strstr(name, "sage") != NULL)
        return false;
    axl_attn_impl impl;
    return axl_attn_impl_find(name, &impl) &&
           say(x, "%s runs on the one variable-length kernel of this version", name);
}

static bool attn_numerics(context *x)
{
    const char *name = x->c->attn_implementation;

    if (name == NULL ||
        !(is(name, "s2") || is(name, "sage") || is(name, "fp8") || strstr(name, "/sage") != NULL))
        return false;
    return say(x,
               "%s computes other values than plain attention and is not supported by this "
               "version; use sdpa or flash_attention_2",
               name);
}

// ---- distributed ----

static bool fsdp_version_1(context *x)
{
    return x->c->fsdp_config.given && x->c->fsdp_version != 2;
}

static bool shard_size_world(context *x)
{
    const axl_config *c = x->c;

    if (!c->set.dp_shard_size || x->options->n_ranks == 0 ||
        c->dp_shard_size == x->options->n_ranks)
        return false;
    return say(x, "%lld is not the number of ranks, %d; leave it out or start %lld ranks",
               (long long)c->dp_shard_size, x->options->n_ranks, (long long)c->dp_shard_size);
}

static bool two_resumes(context *x)
{
    return x->c->resume_from_checkpoint != NULL && x->c->auto_resume_from_checkpoints;
}

static const rule rules[] = {
    {0, AXL_ERROR, "base_model", no_base_model,
     "missing; it names a Hugging Face model directory or a .gguf file"},
    {0, AXL_ERROR, "learning_rate", no_learning_rate,
     "missing; 2.0e-5 is usual for a full fine-tune"},
    {1, AXL_ERROR, "datasets", no_datasets,
     "missing; it lists the training data: - path: data.jsonl"},
    {0, AXL_ERROR, "datasets", no_path, "this entry has no path"},
    {2, AXL_ERROR, "datasets", sharegpt,
     "type sharegpt was removed; write type: chat_template, field_messages: conversations, "
     "message_property_mappings: {role: from, content: value}"},
    {6, AXL_ERROR, "test_datasets", test_and_val, "not together with val_set_size; keep one"},
    {9, AXL_ERROR, "datasets", empty_datasets, "the list is empty"},
    {9, AXL_ERROR, "test_datasets", empty_test_datasets, "the list is empty"},
    {13, AXL_ERROR, "chat_template", jinja_without_text, "jinja needs chat_template_jinja"},
    {13, AXL_ERROR, "datasets", any_jinja_without_text,
     "chat_template: jinja needs chat_template_jinja in the same entry"},
    {0, AXL_ERROR, "datasets", shard_index, NULL},
    {22, AXL_NOTE, "sample_packing", packing_leaks_upstream, NULL},
    {34, AXL_ERROR, "micro_batch_size", two_of_three,
     "two of micro_batch_size, gradient_accumulation_steps and batch_size must be given"},
    {35, AXL_ERROR, "batch_size", accumulation_and_batch,
     "not together with gradient_accumulation_steps; keep one"},
    {36, AXL_WARNING, "batch_size", has_batch_size,
     "discouraged: it counts rows of one rank; write gradient_accumulation_steps"},
    {0, AXL_ERROR, "batch_size", batch_not_multiple, NULL},
    {37, AXL_WARNING, "eval_batch_size", eval_batch_differs,
     "differs from micro_batch_size; evaluation needs its own memory"},
    {38, AXL_ERROR, "warmup_ratio", two_warmups, "not together with warmup_steps; keep one"},
    {39, AXL_ERROR, "save_steps", save_strategy_and_steps, "needs save_strategy: steps"},
    {39, AXL_ERROR, "saves_per_epoch", saves_twice, "not together with save_steps; keep one"},
    {42, AXL_ERROR, "eval_steps", eval_strategy_and_steps, "needs eval_strategy: steps"},
    {42, AXL_ERROR, "evals_per_epoch", evals_twice, "not together with eval_steps; keep one"},
    {42, AXL_ERROR, "evals_per_epoch", evals_per_epoch_strategy, "needs eval_strategy: steps"},
    {43, AXL_ERROR, "val_set_size", eval_without_set,
     "is 0 and there are no test_datasets: there is nothing to evaluate on"},
    {0, AXL_NOTE, "val_set_size", eval_never,
     "there is an evaluation set, but no eval_steps, evals_per_epoch or eval_strategy: it is not "
     "used"},
    {0, AXL_ERROR, "save_steps", steps_not_whole, NULL},
    {0, AXL_WARNING, "saves_per_epoch", saves_never,
     "less than one save in the whole run: only the end is saved"},
    {0, AXL_ERROR, "float32", two_dtypes, "not together with bf16; keep one"},
    {94, AXL_WARNING, "bf16", no_bf16_hardware,
     "this processor has no bf16 instructions: it will be slow"},
    {98, AXL_ERROR, "selective_checkpointing", selective_alone,
     "needs gradient_checkpointing: true"},
    {0, AXL_ERROR, "selective_checkpointing", selective_saves, NULL},
    {0, AXL_WARNING, "cosine_min_lr_ratio", min_lr_without_cosine,
     "has no effect without lr_scheduler: cosine"},
    {102, AXL_ERROR, "attn_implementation", attn_unknown, NULL},
    {0, AXL_ERROR, "attn_implementation", attn_numerics, NULL},
    {0, AXL_NOTE, "attn_implementation", attn_one_kernel, NULL},
    {111, AXL_WARNING, "fsdp_config", fsdp_version_1,
     "FSDP1 is deprecated and runs as FSDP2 here; write fsdp_version: 2"},
    {122, AXL_ERROR, "dp_shard_size", shard_size_world, NULL},
    {0, AXL_WARNING, "auto_resume_from_checkpoints", two_resumes,
     "resume_from_checkpoint is given too: that one counts"},
};

axl_place axl_config_place(const axl_config *c, const char *key)
{
    const axl_yaml_entry *entry = axl_yaml_entry_of(c->node, key);

    if (entry != NULL)
        return entry->key->place;
    return (axl_place){.file = c->path};
}

void axl_config_check(axl_config *c, const axl_config_options *options,
                      axl_diagnostics *diagnostics)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const rule *row = &rules[i];
        context x = {.c = c, .options = options, .diagnostics = diagnostics};
        if (!row->applies(&x) || (row->text == NULL && x.detail[0] == '\0'))
            continue;
        size_t n = diagnostics->n;
        axl_diagnostics_add(diagnostics, row->severity,
                            x.place.file != NULL ? x.place : axl_config_place(c, row->key),
                            row->key, "%s", x.detail[0] != '\0' ? x.detail : row->text);
        if (diagnostics->n > n)
            diagnostics->items[n].rule = row->number;
    }
}
