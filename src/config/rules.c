// The validation rules: the helpers their conditions use, the table, the walk over it.
//
// Each row of rules.def becomes one small function and one entry. A condition looks at typed keys only, so
// rules do not care how a value was spelled; where a message needs values, a helper composes it.
#include "src/config/rules.h"

#include "kernels/attention_impl.h"
#include "src/config/key.h"
#include "src/io/file.h"
#include "src/io/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct context {
    const axl_config *c;
    const axl_config_options *options;
    char detail[512]; // the message, when the condition composes it
    axl_place place;  // when it is not that of the row's key
    size_t n_seen;    // data sets that a row is done with; it is asked again for those behind
    const char *key;  // likewise
} context;

__attribute__((format(printf, 2, 3))) static bool say(context *x, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start stands in the line before
    (void)vsnprintf(x->detail, sizeof x->detail, fmt, args);
    va_end(args);
    return true;
}

static bool is(const char *value, const char *word)
{
    return value != NULL && strcmp(value, word) == 0;
}

static bool starts(const char *value, const char *word)
{
    return value != NULL && strncmp(value, word, strlen(word)) == 0;
}

// A choice that is on: given and not "false".
static bool wants(const char *value)
{
    return value != NULL && strcmp(value, "false") != 0;
}

// Written by the user, not taken over from a deprecated key.
static bool is_given(uint8_t origin)
{
    return origin == AXL_SET_FILE || origin == AXL_SET_OVERRIDE;
}

static bool list_has(const axl_str_list *list, const char *word)
{
    for (int64_t i = 0; i < list->n; i++)
        if (is(list->items[i], word))
            return true;
    return false;
}

// The first item that is none of the words "a|b|c".
static bool bad_item(context *x, const axl_str_list *list, const char *words)
{
    bool supported = true;
    axl_str text = {0};

    for (int64_t i = 0; i < list->n; i++) {
        if (axl_choice_find(words, list->items[i], &supported))
            continue;
        (void)axl_choice_text(words, true, &text);
        (void)say(x, "\"%.40s\" is none of its values; use %s", list->items[i],
                  text.len > 0 ? text.data : "another");
        axl_str_fini(&text);
        return true;
    }
    return false;
}

// ---- data sets ----

typedef bool dataset_check(context *x, const axl_dataset_config *ds);

// Applies a check to each data set not seen yet; the first that it holds for is reported with its place, and the
// row is asked again.
static bool any_dataset(context *x, dataset_check *check)
{
    const axl_dataset_list *lists[] = {&x->c->datasets, &x->c->test_datasets,
                                       &x->c->pretraining_dataset};
    size_t n = 0;

    for (size_t which = 0; which < 3; which++) {
        for (int64_t i = 0; i < lists[which]->n; i++) {
            const axl_dataset_config *ds = &lists[which]->items[i];
            if (n++ < x->n_seen || ds->node == NULL || !check(x, ds))
                continue;
            x->place = ds->node->place;
            x->n_seen = n;
            return true;
        }
    }
    return false;
}

static bool no_path(context *x, const axl_dataset_config *ds)
{
    (void)x;
    return !ds->set.path;
}

static bool sharegpt(context *x, const axl_dataset_config *ds)
{
    (void)x;
    return starts(ds->type.text, "sharegpt");
}

static bool has_train_on_split(context *x, const axl_dataset_config *ds)
{
    (void)x;
    return ds->set.train_on_split;
}

static bool jinja_without_text(context *x, const axl_dataset_config *ds)
{
    (void)x;
    return is(ds->chat_template, "jinja") && ds->chat_template_jinja == NULL;
}

static bool shard_index(context *x, const axl_dataset_config *ds)
{
    return ds->set.shards && ds->shards_idx >= ds->shards &&
           say(x, "shards_idx %lld is not below shards %lld", (long long)ds->shards_idx,
               (long long)ds->shards);
}

static bool has_eval_set(const axl_config *c)
{
    return c->test_datasets.n > 0 || c->val_set_size > 0.0;
}

static bool wants_evaluation(const axl_config *c)
{
    return c->set.eval_steps || c->set.evals_per_epoch || c->eval_strategy != NULL;
}

static bool is_streaming(const axl_config *c)
{
    return c->streaming || c->set.pretraining_dataset;
}

static bool skips_prepared(context *x, const axl_dataset_config *ds)
{
    return ds->skip > 0 && !is_streaming(x->c);
}

static bool names_magistral(const char *name)
{
    return name != NULL && strcasestr(name, "magistral") != NULL;
}

static bool wants_mistral_common(const axl_config *c)
{
    return c->tokenizer_use_mistral_common ||
           (!c->set.tokenizer_use_mistral_common &&
            (names_magistral(c->base_model) || names_magistral(c->base_model_config) ||
             names_magistral(c->tokenizer_config)));
}

// Each of the keys that Mistral's own tokenizer does not take.
static bool breaks_mistral_common(context *x)
{
    const axl_config *c = x->c;
    const struct {
        const char *key;
        bool given;
    } keys[] = {
        {"added_tokens_overrides", c->added_tokens_overrides != NULL},
        {"special_tokens", c->special_tokens.given},
        {"tokens", c->tokens.n > 0},
        {"chat_template", c->chat_template != NULL},
        {"processor_kwargs", c->processor_kwargs != NULL},
    };

    for (size_t i = x->n_seen; i < sizeof keys / sizeof keys[0]; i++) {
        if (!keys[i].given)
            continue;
        x->n_seen = i + 1;
        x->key = keys[i].key;
        return say(x, "Mistral's own tokenizer does not work with %s", keys[i].key);
    }
    return false;
}

// ---- training ----

static bool batch_not_multiple(context *x)
{
    long long batch = (long long)x->c->batch_size, rows = (long long)x->c->micro_batch_size;

    return x->c->set.batch_size && x->c->set.micro_batch_size && batch % rows != 0 &&
           say(x, "%lld is no multiple of micro_batch_size %lld; write %lld", batch, rows,
               (batch / rows + 1) * rows);
}

// A number of steps: whole, or a fraction below 1.
static bool is_count(double steps)
{
    return steps <= 1.0 || floor(steps) == steps;
}

static bool not_multiple(double steps, double of)
{
    return steps > 0.0 && of > 0.0 && fabs(remainder(steps, of)) > 1e-9;
}

static bool evaluates(const axl_config *c)
{
    axl_derived d = {0};

    axl_config_when(c, &d);
    return d.eval_when != AXL_WHEN_NEVER;
}

// Whether a best evaluation would have no checkpoint to load. A count beside a fraction is left to the trainer,
// which knows the length of the run.
static bool no_best_checkpoint(context *x)
{
    const axl_config *c = x->c;
    axl_derived d = {0};

    axl_config_when(c, &d);
    if (d.eval_when == AXL_WHEN_NEVER)
        return say(x, "there are no evaluations to choose by; give val_set_size or test_datasets, "
                      "and eval_steps, evals_per_epoch or eval_strategy");
    if (d.save_when == AXL_WHEN_NEVER)
        return say(x, "no checkpoint is saved that could be loaded; give save_steps, "
                      "saves_per_epoch or save_strategy");
    if (d.save_when == AXL_WHEN_BEST || (d.save_when == AXL_WHEN_EPOCH && c->num_epochs <= 1.0))
        return false; // in one epoch there is one save, at the end, which is evaluated
    if (d.save_when != d.eval_when)
        return say(x, "saves and evaluations do not match, one goes by steps and one by epochs; "
                      "give save_steps and eval_steps, saves_per_epoch and evals_per_epoch (with "
                      "more than one evaluation in the run), or epoch for both strategies");
    return d.save_when == AXL_WHEN_STEPS && (d.save_every < 1.0) == (d.eval_every < 1.0) &&
           not_multiple(d.save_every, d.eval_every) &&
           say(x,
               "a checkpoint every %.6g and an evaluation every %.6g do not match: the first "
               "must be a multiple of the second",
               d.save_every, d.eval_every);
}

// Metrics that compare generated answers with references.
static bool needs_answers(context *x)
{
    const axl_str_list *list = &x->c->eval_causal_lm_metrics;

    if (list->n == 0)
        return say(x, "would mean sacrebleu, comet, ter and chrf, which need generated answers and "
                      "are not there; write eval_causal_lm_metrics: [perplexity]");
    for (int64_t i = 0; i < list->n; i++)
        if (!is(list->items[i], "perplexity"))
            return say(x, "%.40s needs generated answers and is not there; perplexity is",
                       list->items[i]);
    return false;
}

static bool bad_compile_option(context *x)
{
    static const char allowed[] =
        "coordinate_descent_tuning|coordinate_descent_check_all_directions|shape_padding|"
        "epilogue_fusion|max_autotune_gemm|fx_graph_cache|assume_aligned_inputs|"
        "comprehensive_padding|decompose_mem_bound_mm|triton.cudagraphs";
    const axl_yaml_node *map = x->c->torch_compile_options;
    bool supported = true;

    for (size_t i = 0; map != NULL && i < map->n_entries; i++)
        if (!axl_choice_find(allowed, map->entries[i].key->text, &supported))
            return say(x, "%.60s is not among its options", map->entries[i].key->text);
    return false;
}

// ---- adapters and quantization ----

static bool is_quantized(const axl_config *c)
{
    return c->load_in_4bit || c->load_in_8bit;
}

static bool is_lora(const axl_config *c)
{
    return is(c->adapter, "lora") || is(c->adapter, "qlora");
}

static bool has_lora_kernel(const axl_config *c)
{
    return c->lora_mlp_kernel || c->lora_qkv_kernel || c->lora_o_kernel;
}

// Both ends of the model, by the names that families use.
static bool saves_embeddings(const axl_config *c)
{
    static const char *const pairs[][2] = {{"embed_tokens", "lm_head"},
                                           {"embed_in", "embed_out"},
                                           {"word_embeddings", "lm_head"},
                                           {"embeddings", "lm_head"}};

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (list_has(&c->lora_modules_to_save, pairs[i][0]) &&
            list_has(&c->lora_modules_to_save, pairs[i][1]))
            return true;
    return false;
}

// Faults that every dialect of regular expressions has: unbalanced groups, nothing to repeat. Groups
// inside a character class do not count.
static const char *pattern_fault(const char *p)
{
    int depth = 0;

    if (strchr("*+?", *p) != NULL && *p != '\0')
        return "begins with a repetition";
    for (; *p != '\0'; p++) {
        if (*p == '\\') {
            if (*++p == '\0')
                return "ends with a backslash";
        } else if (*p == '[') {
            p += p[1] == '^' ? 2 : 1;
            p += *p == ']';
            p += strcspn(p, "]");
            if (*p == '\0')
                return "lacks a ]";
        } else if (*p == '(') {
            depth++;
        } else if (*p == ')' && --depth < 0) {
            return "has a ) too many";
        }
    }
    return depth > 0 ? "lacks a )" : NULL;
}

static bool bad_pattern(context *x)
{
    const axl_str_list *list = &x->c->lora_target_modules;

    for (int64_t i = 0; i < list->n; i++) {
        const char *fault = pattern_fault(list->items[i]);
        if (fault != NULL)
            return say(x, "\"%.60s\" is no regular expression: it %s", list->items[i], fault);
    }
    return false;
}

static bool says_not_reentrant(const axl_config *c)
{
    return c->gradient_checkpointing_kwargs.set.use_reentrant &&
           !c->gradient_checkpointing_kwargs.use_reentrant;
}

static bool is_zero3(const axl_config *c)
{
    return c->deepspeed.zero_optimization.stage == 3 ||
           (c->deepspeed.text != NULL && strstr(c->deepspeed.text, "zero3") != NULL);
}

static bool untrained_not_trainable(const axl_config *c)
{
    const axl_yaml_node *list = c->peft_trainable_token_indices;

    if (list == NULL || list->kind != AXL_YAML_LIST)
        return false;
    for (int64_t i = 0; i < c->fix_untrained_tokens.n; i++) {
        bool found = false;
        for (size_t k = 0; k < list->n_entries; k++) {
            const axl_yaml_node *id = list->entries[k].value;
            found = found ||
                    (id->kind == AXL_YAML_INT && id->integer == c->fix_untrained_tokens.items[i]);
        }
        if (!found)
            return true;
    }
    return false;
}

// ---- preference tuning ----

// Ranks that differ in data; 0 when that is not known.
static long long n_batches(const context *x)
{
    axl_mesh_sizes m;
    axl_mesh_fault fault;

    if (x->options->n_ranks == 0 || !axl_config_mesh(x->c, x->options->n_ranks, &m, &fault))
        return 0;
    return (long long)m.dp_replicate * m.dp_shard * m.ep;
}

static bool bad_generation_batch(context *x)
{
    const axl_config *c = x->c;
    long long n = (long long)c->trl.num_generations;
    long long batch =
        c->trl.set.generation_batch_size
            ? (long long)c->trl.generation_batch_size
            : (long long)c->micro_batch_size * (long long)c->gradient_accumulation_steps;
    long long ranks = n_batches(x);

    if (!is(c->rl, "grpo") || !c->trl.set.num_generations || n < 2)
        return false;
    if (batch % n != 0)
        return say(x,
                   "%lld completions a step are no multiple of num_generations %lld; write "
                   "gradient_accumulation_steps: %lld",
                   batch, n, n);
    return ranks > 1 && batch < n * ranks &&
           say(x,
               "%lld completions a step are too few for num_generations %lld on %lld ranks with "
               "data of their own",
               batch, n, ranks);
}

static bool is_strided(const axl_config *c)
{
    return is(c->rl, "ebft") && c->ebft.given && is(c->ebft.mode, "strided");
}

// ---- optimizer, precision, memory ----

static bool gives_adam(const axl_config *c)
{
    return c->set.adam_beta1 || c->set.adam_beta2 || c->set.adam_epsilon;
}

static bool is_flash_or_galore(const axl_config *c)
{
    return starts(c->optimizer, "flash_") || starts(c->optimizer, "q_galore");
}

static bool on_gpu(const context *x)
{
    return is(x->c->device, "cuda") || (is(x->c->device, "auto") && x->options->has_cuda);
}

// Every GPU that we take has it.
static bool has_bf16(const context *x)
{
    return x->options->has_bf16 || on_gpu(x);
}

static bool wants_bf16(const context *x)
{
    const axl_config *c = x->c;

    return is(c->bf16, "true") || is(c->bf16, "full") || c->bfloat16 ||
           (is(c->bf16, "auto") && has_bf16(x));
}

// Whether something can be said about the processor of the run.
static bool knows_machine(const context *x)
{
    return x->options->n_ranks > 0 && !x->options->elsewhere;
}

static bool maybe_half(const axl_config *c)
{
    return !is(c->bf16, "false") || c->bfloat16 || wants(c->fp16) || c->float16;
}

static bool checkpoints(const axl_config *c)
{
    return wants(c->gradient_checkpointing) || c->fsdp_config.activation_checkpointing;
}

// ---- attention ----

static bool uses_flash_lib(const axl_config *c)
{
    axl_attn_named impl;

    return c->attn_implementation != NULL && axl_attn_impl_find(c->attn_implementation, &impl) &&
           impl.uses_flash_lib;
}

static bool packing_leaks_upstream(context *x)
{
    const char *name = x->c->attn_implementation;
    axl_attn_named impl;

    if (!x->c->sample_packing || name == NULL || !axl_attn_impl_find(name, &impl))
        return false;
    return !impl.supports_packing && !is(name, "sdpa") && !is(name, "eager") &&
           say(x, "%s does not isolate packed documents upstream; here it does", name);
}

static bool attn_unknown(context *x)
{
    const char *name = x->c->attn_implementation;
    axl_attn_named impl;
    axl_str names = {0};

    if (name == NULL || axl_attn_impl_find(name, &impl))
        return false;
    const char *alias = axl_attn_impl_alias(name);
    if (strchr(name, '/') != NULL)
        return say(x, "\"%.60s\" is a kernel of the hub that nothing here is near to; use sdpa",
                   name);
    if (alias != NULL)
        return say(x, "\"%.40s\" is a short form; write %s", name, alias);
    (void)axl_attn_impl_names(&names);
    (void)say(x, "\"%.40s\" is none of its values; use %s", name,
              names.data == NULL ? "sdpa" : names.data);
    axl_str_fini(&names);
    return true;
}

// A kernel of the hub is the nearest one here.
static bool attn_from_hub(context *x)
{
    const char *name = x->c->attn_implementation;
    axl_attn_named impl;

    return name != NULL && strchr(name, '/') != NULL && axl_attn_impl_find(name, &impl) &&
           say(x, "%.60s is not fetched: %s is the kernel here", name, impl.kernel->name);
}

static bool attn_is(const axl_config *c, axl_attn_numerics numerics)
{
    axl_attn_named impl;

    return c->attn_implementation != NULL && axl_attn_impl_find(c->attn_implementation, &impl) &&
           impl.kernel->numerics == numerics;
}

// What needs no model: the rest is checked when it is known (axl_attn_impl_check).
static bool attn_does_not_merge(context *x)
{
    const axl_config *c = x->c;
    axl_attn_named impl;

    if (c->context_parallel_size <= 1 || c->attn_implementation == NULL ||
        !axl_attn_impl_find(c->attn_implementation, &impl))
        return false;
    if (!impl.kernel->merges)
        return say(x,
                   "%s cannot join what the ranks of context_parallel_size %lld compute; use sdpa",
                   impl.kernel->name, (long long)c->context_parallel_size);
    return impl.kernel->rules && (is(c->flex_mask, "document") || is(c->flex_mask, "prefix")) &&
           say(x, "flex_mask %s does not work with context_parallel_size: ranks meet causal keys",
               c->flex_mask);
}

static bool takes_rules(const axl_config *c)
{
    axl_attn_named impl;

    return c->attn_implementation != NULL && axl_attn_impl_find(c->attn_implementation, &impl) &&
           impl.kernel->rules;
}

// ---- distributed ----

static bool no_pinning(const axl_config *c)
{
    return c->fsdp_config.set.cpu_offload_pin_memory && !c->fsdp_config.cpu_offload_pin_memory;
}

static bool mesh_mismatch(context *x)
{
    axl_mesh_sizes sizes;
    axl_mesh_fault fault;

    if (axl_config_mesh(x->c, x->options->n_ranks, &sizes, &fault))
        return false;
    x->key = fault.key;
    return say(x, "%s", fault.text);
}

// What the mesh is where the file does not say it.
static bool shards_unasked(context *x)
{
    const axl_config *c = x->c;
    axl_mesh_sizes m;
    axl_mesh_fault fault;

    if (c->fsdp_config.given || c->fsdp.n > 0 || c->deepspeed.given || c->set.dp_shard_size ||
        x->options->n_ranks < 2 || !axl_config_mesh(c, x->options->n_ranks, &m, &fault) ||
        m.dp_shard == 1)
        return false;
    return say(x,
               "absent: parameters are sharded in any case, here with dp_shard_size: %d and "
               "reshard_after_forward: true",
               m.dp_shard);
}

static bool replicates_unasked(context *x)
{
    const axl_config *c = x->c;
    axl_mesh_sizes m;
    axl_mesh_fault fault;

    if (c->set.dp_replicate_size || x->options->n_ranks < 2 ||
        !axl_config_mesh(c, x->options->n_ranks, &m, &fault) || m.dp_replicate == 1)
        return false;
    return say(x, "with %d ranks this means dp_replicate_size: %d", x->options->n_ranks,
               m.dp_replicate);
}

static bool offloads_activations_on_cpu(context *x)
{
    const axl_config *c = x->c;

    return (wants(c->activation_offloading) || is(c->gradient_checkpointing, "offload")) &&
           !on_gpu(x) && say(x, "activations of CPU ranks are on the host already");
}

static bool offloads_on_cpu(context *x)
{
    const axl_config *c = x->c;

    return c->fsdp_config.offload_params && !on_gpu(x) &&
           say(x,
               "parameters, gradients and optimizer state of CPU ranks are on the host already, "
               "offload_params or not%s",
               c->fsdp_config.set.cpu_offload_pin_memory ? "; there is nothing to pin" : "");
}

// One line for all of FSDP1: what to write instead.
static bool is_fsdp1(context *x)
{
    const axl_config *c = x->c;
    const axl_fsdp_config *f = &c->fsdp_config;

    if (c->fsdp.n == 0 && (!f->given || c->fsdp_version == 2))
        return false;
    return say(x,
               "FSDP1 is deprecated and runs as FSDP2 here; write fsdp_version: 2 and fsdp_config: "
               "{reshard_after_forward: %s%s}%s",
               f->reshard_after_forward ? "true" : "false",
               f->offload_params ? ", offload_params: true" : "",
               c->set.dp_shard_size == AXL_SET_DERIVED ? " and dp_shard_size: 1" : "");
}

#define CAUSAL_LM "ForCausalLM"

// Upstream finds the units by the class name of the layers: LlamaForCausalLM has LlamaDecoderLayer. A unit
// is a decoder layer here whatever is written, so a wrong name is only worth a warning.
static bool wrong_layer_class(context *x)
{
    const axl_str_list *names = &x->c->fsdp_config.transformer_layer_cls_to_wrap;
    const char *folder =
        x->c->base_model_config != NULL ? x->c->base_model_config : x->c->base_model;
    char path[4096], layer[128] = "";
    axl_json *config = NULL;
    bool found = names->n == 0 || folder == NULL;

    if (found || snprintf(path, sizeof path, "%s/config.json", folder) >= (int)sizeof path ||
        !axl_path_exists(path) || axl_json_read(path, &config) != AXL_OK)
        return false;
    const char *model = axl_json_string(axl_json_at(axl_json_get(config, "architectures"), 0), "");
    const char *tail = strstr(model, CAUSAL_LM);
    if (tail != NULL)
        (void)snprintf(layer, sizeof layer, "%.*sDecoderLayer", (int)(tail - model), model);
    for (int64_t i = 0; i < names->n; i++)
        found = found || strstr(names->items[i], layer) != NULL; // "A, B" names two
    axl_json_free(config);
    return !found && say(x,
                         "the layers of this model are %s, not %.100s; a unit is one of them in "
                         "any case, so write %s",
                         layer, names->items[0], layer);
}

// DeepSpeed wants the product; it is known only with the number of ranks.
static bool bad_train_batch(context *x)
{
    const axl_config *c = x->c;
    long long want = (long long)c->deepspeed.train_batch_size, ranks = n_batches(x);
    long long rows = c->set.batch_size
                         ? (long long)c->batch_size
                         : (long long)(c->micro_batch_size * c->gradient_accumulation_steps);

    return c->deepspeed.set.train_batch_size && ranks > 0 && rows * ranks != want &&
           say(x,
               "%lld, but %lld rows on %lld ranks with data of their own "
               "make %lld; write \"auto\"",
               want, rows, ranks, rows * ranks);
}

static bool is_gathering(const axl_config *c)
{
    return c->context_parallel_size > 1 && is(c->ring_attn_func, "varlen_llama3");
}

// ---- the table ----

#define JOIN(a, b) a##b
#define NAME(line) JOIN(rule_of_line_, line)
#define KEY(line)  JOIN(key_of_line_, line)

#define AXL_RULE(number, severity, key, condition, message)                                        \
    static bool NAME(__LINE__)(context * x)                                                        \
    {                                                                                              \
        const axl_config *c = x->c;                                                                \
        (void)c;                                                                                   \
        return (condition);                                                                        \
    }                                                                                              \
    static const char *KEY(__LINE__)(const axl_config *c)                                          \
    {                                                                                              \
        (void)c;                                                                                   \
        return (key);                                                                              \
    }
#define AXL_RULE_ELSEWHERE(number, reason)
// clang-format off
#include "src/config/rules.def"
// clang-format on
#undef AXL_RULE
#undef AXL_RULE_ELSEWHERE

typedef struct rule {
    int number; // 0: a rule of this program alone
    axl_severity severity;
    const char *(*key)(const axl_config *c);
    bool (*applies)(context *x);
    const char *text; // NULL: the condition composes it
} rule;

static const rule rules[] = {
#define AXL_RULE(number, severity, key, condition, message)                                        \
    {number, AXL_##severity, KEY(__LINE__), NAME(__LINE__), message},
#define AXL_RULE_ELSEWHERE(number, reason)
// clang-format off
#include "src/config/rules.def"
// clang-format on
#undef AXL_RULE
#undef AXL_RULE_ELSEWHERE
};

// The entry of a key of a block, also under its deprecated prefix.
static const axl_yaml_entry *entry_of(const axl_yaml_node *node, const char *block, const char *key)
{
    const axl_yaml_entry *entry = axl_yaml_entry_of(node, key);
    char name[128];

    if (entry == NULL && strcmp(block, "fsdp_config") == 0) {
        (void)snprintf(name, sizeof name, "fsdp_%s", key);
        entry = axl_yaml_entry_of(node, name);
    }
    return entry;
}

axl_place axl_config_place(const axl_config *c, const char *key)
{
    const char *dot = strchr(key, '.');
    char block[64] = "";

    if (dot != NULL)
        (void)snprintf(block, sizeof block, "%.*s", (int)(dot - key), key);
    const axl_yaml_entry *entry = axl_yaml_entry_of(c->node, dot != NULL ? block : key);
    const axl_yaml_entry *inner =
        dot != NULL && entry != NULL ? entry_of(entry->value, block, dot + 1) : NULL;
    if (inner != NULL && inner->key->place.line > 0)
        return inner->key->place;
    if (entry != NULL)
        return entry->key->place;
    return (axl_place){.file = c->path};
}

static void report(const rule *row, const context *x, axl_diagnostics *diagnostics)
{
    size_t n = diagnostics->n;
    const char *key = x->key != NULL ? x->key : row->key(x->c);

    axl_diagnostics_add(diagnostics, row->severity,
                        x->place.file != NULL ? x->place : axl_config_place(x->c, key), key, "%s",
                        row->text != NULL ? row->text : x->detail);
    if (diagnostics->n > n)
        diagnostics->items[n].rule = row->number;
}

void axl_config_check(const axl_config *c, const axl_config_options *options,
                      axl_diagnostics *diagnostics)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        context x = {.c = c, .options = options};
        size_t n_seen;
        bool found;
        do {
            n_seen = x.n_seen;
            found = rules[i].applies(&x);
            if (found)
                report(&rules[i], &x, diagnostics);
        } while (found && x.n_seen > n_seen);
    }
}
