// What follows from the keys once they are known to be good, and the counts that need the length of the
// run. Each value that is computed is marked AXL_SET_DERIVED, so that resolved_config.json can say so.
#include "src/config/rules.h"

#include <math.h>
#include <string.h>

#define DERIVE(block, key, value)                                                                  \
    do {                                                                                           \
        (block)->key = (value);                                                                    \
        (block)->set.key = AXL_SET_DERIVED;                                                        \
    } while (0)

static void derive_batch(axl_config *c)
{
    if (c->set.batch_size && !c->set.gradient_accumulation_steps)
        DERIVE(c, gradient_accumulation_steps,
               c->batch_size / c->micro_batch_size > 1 ? c->batch_size / c->micro_batch_size : 1);
    if (!c->set.batch_size)
        DERIVE(c, batch_size, c->micro_batch_size * c->gradient_accumulation_steps);
    if (!c->set.eval_batch_size)
        DERIVE(c, eval_batch_size, c->micro_batch_size);
}

static void derive_paths(axl_config *c)
{
    if (!c->set.base_model_config)
        DERIVE(c, base_model_config, c->base_model);
    if (!c->set.tokenizer_config)
        DERIVE(c, tokenizer_config, c->base_model_config);
    if (!c->set.dataset_prepared_path)
        DERIVE(c, dataset_prepared_path, "last_run_prepared");
}

static void derive_precision(axl_config *c, const axl_config_options *options)
{
    bool bf16 = strcmp(c->bf16, "true") == 0 || strcmp(c->bf16, "full") == 0 || c->bfloat16;

    if (strcmp(c->device, "auto") == 0)
        DERIVE(c, device, options->has_cuda ? "cuda" : "cpu");
    if (strcmp(c->bf16, "auto") == 0) {
        const bool has_bf16 = options->has_bf16 || strcmp(c->device, "cuda") == 0;
        bf16 = !c->float32 && (c->bfloat16 || has_bf16);
        DERIVE(c, bf16, bf16 ? "true" : "false");
    }
    c->derived.compute_dtype = bf16 && !c->float32 ? AXL_BF16 : AXL_F32;
}

static void derive_mesh(axl_config *c, const axl_config_options *options)
{
    axl_derived *d = &c->derived;
    axl_mesh_fault fault;

    if (!axl_config_mesh(c, options->n_ranks, &d->mesh, &fault))
        AXL_ASSERT(false); // rule 122 refused it
    if (!c->set.dp_shard_size && options->n_ranks > 0)
        DERIVE(c, dp_shard_size, d->mesh.dp_shard);
    if (!c->set.dp_replicate_size && options->n_ranks > 0)
        DERIVE(c, dp_replicate_size, d->mesh.dp_replicate);
    d->n_batches = d->mesh.dp_replicate * d->mesh.dp_shard * d->mesh.ep;
    d->global_batch_size = c->batch_size * d->n_batches;
    d->reduce_dtype = strcmp(c->reduce_dtype, "bf16") == 0 ? AXL_BF16 : AXL_F32;
    if (c->world_invariant && !c->deterministic)
        DERIVE(c, deterministic, true);
}

static void derive_memory(axl_config *c)
{
    bool full =
        strcmp(c->gradient_checkpointing, "false") != 0 || c->fsdp_config.activation_checkpointing;

    c->derived.recompute = !full                              ? AXL_RECOMPUTE_NONE
                           : c->selective_checkpointing.given ? AXL_RECOMPUTE_SELECTIVE
                                                              : AXL_RECOMPUTE_FULL;
}

static axl_when when_of(const char *strategy, axl_when otherwise)
{
    if (strategy == NULL)
        return otherwise;
    if (strcmp(strategy, "no") == 0)
        return AXL_WHEN_NEVER;
    if (strcmp(strategy, "best") == 0)
        return AXL_WHEN_BEST;
    return strcmp(strategy, "epoch") == 0 ? AXL_WHEN_EPOCH : AXL_WHEN_STEPS;
}

#define DEFAULT_STEPS 500.0 // of the Hugging Face trainer, for a strategy of steps without a number

static void find_saving(const axl_config *c, axl_derived *d)
{
    d->save_when = when_of(c->save_strategy, AXL_WHEN_EPOCH);
    d->save_every = DEFAULT_STEPS;
    if (c->set.save_steps) {
        d->save_when = AXL_WHEN_STEPS;
        d->save_every = c->save_steps;
    } else if (c->set.saves_per_epoch) {
        // One save an epoch is what AXL_WHEN_EPOCH does; less than one a run: only at the end.
        double f = 1.0 / ((double)c->saves_per_epoch * c->num_epochs);
        if (f < 1.0) {
            d->save_when = AXL_WHEN_STEPS;
            d->save_every = f;
        } else if (f > 1.0) {
            d->save_when = AXL_WHEN_NEVER;
        }
    }
}

static void find_evaluation(const axl_config *c, axl_derived *d)
{
    bool has_set = c->test_datasets.n > 0 || c->val_set_size > 0.0;

    d->eval_when = AXL_WHEN_NEVER;
    d->eval_every = DEFAULT_STEPS;
    if (!has_set)
        return;
    if (c->set.eval_steps) {
        d->eval_when = AXL_WHEN_STEPS;
        d->eval_every = c->eval_steps;
    } else if (c->set.evals_per_epoch) {
        double f = 1.0 / ((double)c->evals_per_epoch * c->num_epochs);
        if (f < 1.0) {
            d->eval_when = AXL_WHEN_STEPS;
            d->eval_every = f;
        }
    } else if (c->set.eval_strategy) {
        d->eval_when = when_of(c->eval_strategy, AXL_WHEN_NEVER);
    }
}

void axl_config_when(const axl_config *c, axl_derived *out)
{
    // a run that stops early has gone past its best evaluation
    const bool early = c->set.early_stopping_patience && !c->set.load_best_model_at_end;

    find_saving(c, out);
    find_evaluation(c, out);
    out->eval_at_start = out->eval_when != AXL_WHEN_NEVER;
    out->load_best = (c->load_best_model_at_end || early) && out->eval_when != AXL_WHEN_NEVER &&
                     out->save_when != AXL_WHEN_NEVER;
}

// A template given at the top holds for every chat set that has none of its own. It also takes the place
// of the tokenizer's.
static void derive_dataset(axl_config *c, axl_dataset_config *ds)
{
    static const char own[] = "tokenizer_default";
    bool is_chat = ds->type.text != NULL && strstr(ds->type.text, "chat_template") != NULL;
    bool is_own = c->chat_template != NULL && ds->chat_template != NULL &&
                  strncmp(ds->chat_template, own, sizeof own - 1) == 0;

    if (ds->set.chat_template_jinja && !ds->set.chat_template)
        DERIVE(ds, chat_template, "jinja");
    if (is_chat && (!ds->set.chat_template || is_own)) {
        DERIVE(ds, chat_template,
               c->chat_template != NULL ? c->chat_template : "tokenizer_default");
        if (c->chat_template_jinja != NULL)
            DERIVE(ds, chat_template_jinja, c->chat_template_jinja);
    }
    if (!ds->set.train_on_eot)
        DERIVE(ds, train_on_eot, ds->train_on_eos);
}

static void derive_data(axl_config *c)
{
    if (c->chat_template_jinja != NULL && !c->set.chat_template)
        DERIVE(c, chat_template, "jinja");
    if (!c->set.eval_sample_packing)
        DERIVE(c, eval_sample_packing, c->sample_packing);
    for (int64_t i = 0; i < c->datasets.n; i++)
        derive_dataset(c, &c->datasets.items[i]);
    for (int64_t i = 0; i < c->test_datasets.n; i++)
        derive_dataset(c, &c->test_datasets.items[i]);
}

// Reward models carry a small head instead of the vocabulary. (rules 32, 33)
static void derive_reward(axl_config *c)
{
    if (!c->reward_model && !c->process_reward_model)
        return;
    if (!c->set.num_labels)
        DERIVE(c, num_labels, c->reward_model ? 1 : 2);
    if (!c->set.model_type)
        DERIVE(c, model_type,
               c->reward_model ? "AutoModelForSequenceClassification"
                               : "AutoModelForTokenClassification");
}

void axl_config_derive(axl_config *c, const axl_config_options *options)
{
    if (!axl_attn_impl_find(c->attn_implementation == NULL ? "sdpa" : c->attn_implementation,
                            &c->derived.attn))
        AXL_ASSERT(false); // rule 102 refused it
    if (c->attn_implementation == NULL)
        c->derived.attn.needs_dtype_cast = false;
    derive_batch(c);
    derive_mesh(c, options); // after the batch, whose size it multiplies
    derive_paths(c);
    derive_precision(c, options);
    derive_memory(c);
    axl_config_when(c, &c->derived);
    derive_data(c);
    derive_reward(c);
}

// ---- counts that need the length of the run ----

int64_t axl_config_warmup_steps(const axl_config *c, int64_t n_steps)
{
    int64_t steps;

    if (c->warmup_steps > 0)
        steps = c->warmup_steps;
    else if (c->warmup_ratio > 0.0)
        steps = (int64_t)(c->warmup_ratio * (double)n_steps);
    else if (c->set.warmup_steps || c->set.warmup_ratio)
        steps = 0; // an explicit 0 means none
    else
        steps = n_steps * 3 / 100 < 100 ? n_steps * 3 / 100 : 100;
    return steps == 1 ? 2 : steps;
}

// Fractions are of n_steps, rounded up.
static int64_t steps_of(double steps, int64_t n_steps)
{
    double n = steps < 1.0 ? ceil((double)n_steps * steps) : floor(steps);

    return n < 1.0 ? 1 : (int64_t)n;
}

int64_t axl_config_logging_steps(const axl_config *c, int64_t n_steps)
{
    int64_t steps = n_steps / 200;

    if (c->set.logging_steps)
        return steps_of(c->logging_steps, n_steps);
    return steps < 1 ? 1 : steps > 10 ? 10 : steps;
}

int64_t axl_config_eval_every(const axl_config *c, int64_t n_steps)
{
    return c->derived.eval_when == AXL_WHEN_STEPS ? steps_of(c->derived.eval_every, n_steps) : 0;
}

int64_t axl_config_save_every(const axl_config *c, int64_t n_steps)
{
    const axl_derived *d = &c->derived;
    const bool fractions = d->save_every < 1.0 && d->eval_every < 1.0;

    if (d->save_when != AXL_WHEN_STEPS)
        return 0;
    // each rounded up alone, a checkpoint could miss its evaluation
    if (d->load_best && d->eval_when == AXL_WHEN_STEPS && fractions)
        return axl_config_eval_every(c, n_steps) * (int64_t)round(d->save_every / d->eval_every);
    return steps_of(d->save_every, n_steps);
}
