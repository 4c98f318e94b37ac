// Keys to structs, and who prepares. Nothing here knows a format.
#include "src/train/data_setup.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/data/data_stream.h"
#include "src/data/dump.h"
#include "src/data/summary.h"
#include "src/io/file.h"
#include "src/io/gguf_import.h"
#include "src/train/chat_setup.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

// ---- the keys

// The entries of one list as specs, with what their pointers point to.
typedef struct spec_list {
    axl_dataset_spec *specs;  // [n], owned
    axl_user_format *formats; // [n], owned
    axl_str *places;          // [n], owned
    axl_chat_setup *chats;    // [n], owned; empty where the type is another
    axl_str *made;            // [n], owned; path of the rows made for a synthetic entry
    int n;
} spec_list;

static void spec_list_fini(spec_list *l)
{
    for (int i = 0; l->places != NULL && i < l->n; i++)
        axl_str_fini(&l->places[i]);
    for (int i = 0; l->chats != NULL && i < l->n; i++)
        axl_chat_setup_fini(&l->chats[i]);
    for (int i = 0; l->made != NULL && i < l->n; i++)
        axl_str_fini(&l->made[i]);
    free(l->made);
    free(l->places);
    free(l->chats);
    free(l->specs);
    free(l->formats);
    *l = (spec_list){0};
}

static axl_user_format user_format_of(const axl_prompt_config *p)
{
    return (axl_user_format){.system_prompt = p->system_prompt,
                             .field_system = p->field_system,
                             .field_instruction = p->field_instruction,
                             .field_input = p->field_input,
                             .field_output = p->field_output,
                             .format = p->format,
                             .no_input_format = p->no_input_format,
                             .system_format = p->system_format,
                             .field_prompt = p->field_prompt,
                             .field_chosen = p->field_chosen,
                             .field_rejected = p->field_rejected,
                             .field_completion = p->field_completion,
                             .field_label = p->field_label,
                             .prompt_format = p->prompt_format,
                             .chosen_format = p->chosen_format,
                             .rejected_format = p->rejected_format,
                             .completion_format = p->completion_format};
}

// The types whose texts a chat template writes.
static bool needs_chat(const char *type)
{
    static const char *const names[] = {"chat_template", "bradley_terry.chat_template",
                                        "orpo.chat_template"};
    size_t n = type != NULL ? strlen(type) : 0;

    for (int i = 0; i < 3; i++) {
        size_t k = strlen(names[i]);
        if (n >= k && memcmp(names[i], type, k) == 0 && (type[k] == '\0' || type[k] == '.'))
            return true;
    }
    return false;
}

// Preference, reward and process-reward data: columns and settings. Whatever the method and the entry's own map
// say goes into the key.
static axl_status read_preference(const axl_config *c, const axl_dataset_config *d,
                                  axl_dataset_spec *s, axl_str *key)
{
    axl_status status = AXL_OK;

    s->rl = c->rl;
    s->field_messages = d->set.field_messages ? d->field_messages : NULL;
    s->field_training = d->message_field_training;
    s->field_chosen = d->field_chosen;
    s->field_rejected = d->field_rejected;
    s->chat_template = d->chat_template != NULL ? d->chat_template : c->chat_template;
    if (s->chat_template != NULL && strcmp(s->chat_template, "tokenizer_default") == 0)
        s->chat_template = NULL; // what the key stands for when it is absent
    s->step_separator = d->step_separator;
    s->max_completion_length = d->max_completion_length;
    s->train_on_last_step_only = d->train_on_last_step_only;
    if (s->rl != NULL || (s->type != NULL && strcmp(s->type, "stepwise_supervised") == 0) ||
        (s->type != NULL && strcmp(s->type, "messages") == 0)) {
        AXL_TRY(axl_str_printf(key, "\x1frl=%s", s->rl != NULL ? s->rl : ""));
        if (d->node != NULL)
            AXL_TRY(axl_yaml_put_json(d->node, key));
        AXL_TRY(axl_str_printf(key, "\x1f%s", s->chat_template != NULL ? s->chat_template : ""));
    }

out:
    return status;
}

// Random data come from rows that only count; they are written once beside the prepared sets.
static axl_status make_synthetic(const axl_config *c, const axl_dataset_config *d,
                                 axl_dataset_spec *s, axl_str *path, axl_str *key)
{
    axl_status status = AXL_OK;
    const char *root =
        c->dataset_prepared_path != NULL ? c->dataset_prepared_path : "last_run_prepared";
    axl_str rows = {0};

    s->min_input_id = d->min_input_id;
    s->max_input_id = d->max_input_id;
    s->synthetic_length = d->sequence_length;
    s->synthetic_seed = (uint64_t)(d->set.seed ? d->seed : c->seed);
    AXL_TRY(axl_str_printf(path, "%s/synthetic-%lld.jsonl", root, (long long)d->length));
    AXL_TRY(axl_str_printf(key, "\x1f%lld %lld %lld %llu", (long long)s->min_input_id,
                           (long long)s->max_input_id, (long long)s->synthetic_length,
                           (unsigned long long)s->synthetic_seed));
    for (int64_t i = 0; i < d->length; i++)
        AXL_TRY(axl_str_printf(&rows, "{\"n\": %lld}\n", (long long)i));
    AXL_TRY(axl_dir_make(root));
    AXL_TRY(axl_file_write(path->data, rows.data, rows.len));
    s->path = path->data;
    s->ds_type = NULL;

out:
    axl_str_fini(&rows);
    return status;
}

static axl_status make_spec(const axl_config *c, const axl_dataset_list *list,
                            const axl_tokenizer *tokenizer, spec_list *l, int i)
{
    axl_status status = AXL_OK;
    const axl_dataset_config *d = &list->items[i];
    axl_dataset_spec *s = &l->specs[i];
    const axl_place *at = d->node != NULL ? &d->node->place : NULL;

    AXL_TRY(axl_str_printf(&l->places[i], "%s:%d",
                           at != NULL && at->file != NULL ? at->file : c->path,
                           at != NULL ? at->line : 0));
    s->place = l->places[i].data;
    AXL_REQUIRE(d->path != NULL, AXL_E_CONFIG, "%s: the data set has no path", s->place);
    s->path = d->path;
    s->data_files = d->data_files.items;
    s->n_data_files = (int)d->data_files.n;
    s->ds_type = d->ds_type;
    s->split = d->split;
    s->names = d->name.items;
    s->n_names = (int)d->name.n;
    s->is_test = list == &c->test_datasets;
    s->revision = d->revision;
    s->hub_folder = c->hub_folder;
    s->shards = d->shards;
    s->shards_idx = d->shards_idx;
    s->shard_seed = (uint64_t)c->seed;
    s->type = d->type.text;
    if (d->type.text == NULL && d->type.node != NULL) {
        l->formats[i] = user_format_of(&d->type);
        s->user_format = &l->formats[i];
    }
    s->field = d->field;
    s->skip = d->skip;
    s->conversation = d->conversation;
    if (needs_chat(s->type) && tokenizer != NULL) {
        AXL_TRY_CTX(axl_chat_setup_init(&l->chats[i], c, d, tokenizer), "%s", s->place);
        s->chat = l->chats[i].encoder;
        s->chat_options = &l->chats[i].options;
    }
    AXL_TRY(read_preference(c, d, s, &l->chats[i].key));
    if (s->type != NULL && strcmp(s->type, "_synthetic") == 0)
        AXL_TRY(make_synthetic(c, d, s, &l->made[i], &l->chats[i].key));
    s->chat_key = l->chats[i].key.data;

out:
    return status;
}

static axl_status spec_list_make(const axl_config *c, const axl_dataset_list *list,
                                 const axl_tokenizer *tokenizer, spec_list *out)
{
    axl_status status = AXL_OK;
    spec_list l = {.n = (int)list->n};

    AXL_TRY(axl_calloc((size_t)l.n, sizeof *l.specs, "data sets", &l.specs));
    AXL_TRY(axl_calloc((size_t)l.n, sizeof *l.formats, "data sets", &l.formats));
    AXL_TRY(axl_calloc((size_t)l.n, sizeof *l.places, "data sets", &l.places));
    AXL_TRY(axl_calloc((size_t)l.n, sizeof *l.chats, "data sets", &l.chats));
    AXL_TRY(axl_calloc((size_t)l.n, sizeof *l.made, "data sets", &l.made));
    for (int i = 0; i < l.n; i++)
        AXL_TRY(make_spec(c, list, tokenizer, &l, i));
    *out = l;
    l = (spec_list){0};

out:
    spec_list_fini(&l);
    return status;
}

// Entries of pretraining_dataset are named in their own way.
static void make_pretraining(const axl_config *c, const axl_dataset_list *list, spec_list *l)
{
    for (int i = 0; i < l->n; i++) {
        axl_dataset_spec *s = &l->specs[i];
        const axl_dataset_config *d = &list->items[i];
        if (!d->set.field)
            s->field = d->text_column;
        if (s->user_format == NULL && (s->type == NULL || strcmp(s->type, "pretrain") == 0))
            s->type = c->sample_packing ? "pretrain" : "pretrain:rows";
    }
}

static axl_excess excess_of(const char *word)
{
    if (word != NULL && strcmp(word, "truncate") == 0)
        return AXL_EXCESS_TRUNCATE;
    return word != NULL && strcmp(word, "raise") == 0 ? AXL_EXCESS_RAISE : AXL_EXCESS_DROP;
}

// The limit of test_datasets may be another; a validation part comes from the training set.
static int64_t sequence_len_of(const axl_config *c, bool eval)
{
    bool own = eval && c->test_datasets.n > 0 && c->set.eval_sequence_len;

    return own ? c->eval_sequence_len : c->sequence_len;
}

static bool eval_packing(const axl_config *c)
{
    return c->set.eval_sample_packing ? c->eval_sample_packing : c->sample_packing;
}

// The key decides; else what the launcher gave all ranks of the host, on the processors this rank may use.
static int threads_of(const axl_config *c, int given)
{
    cpu_set_t set;
    int own = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    if (c->set.dataset_num_proc)
        return (int)c->dataset_num_proc;
    if (c->set.dataset_processes)
        return (int)c->dataset_processes;
    return given > 0 && given < own ? given : own;
}

static axl_data_options options_of(const axl_config *c, int64_t vocab_size, bool eval)
{
    return (axl_data_options){.sequence_len = sequence_len_of(c, eval),
                              .min_sample_len = c->min_sample_len,
                              .vocab_size = vocab_size,
                              .excess = excess_of(c->excess_length_strategy),
                              .train_on_inputs = c->train_on_inputs,
                              .drop_untrained = eval ? eval_packing(c) : c->sample_packing,
                              .deduplicate = c->dataset_exact_deduplication,
                              .skip_bad_rows = strcmp(c->bad_records, "skip") == 0,
                              .memory_limit = c->dataset_memory_limit << 20,
                              .prepared_path = c->dataset_prepared_path};
}

static axl_pack_kind pack_kind_of(const axl_config *c)
{
    if (c->sample_packing_sequentially)
        return AXL_PACK_SEQUENTIAL;
    return strcmp(c->sample_packing_algorithm, "best_fit") == 0 ? AXL_PACK_BEST_FIT
                                                                : AXL_PACK_FIRST_FIT;
}

axl_plan_options axl_data_setup_plan(const axl_config *c, bool eval)
{
    return (axl_plan_options){.sequence_len = sequence_len_of(c, eval),
                              .micro_batch_size = eval ? c->eval_batch_size : c->micro_batch_size,
                              .packing = eval ? eval_packing(c) : c->sample_packing,
                              .real_batches = c->multipack_real_batches,
                              .kind = pack_kind_of(c),
                              .group_size = c->sample_packing_group_size,
                              .bin_size = c->sample_packing_bin_size,
                              .seed = (uint64_t)c->seed,
                              .shuffle = !eval && !c->curriculum_sampling};
}

bool axl_data_setup_streams(const axl_config *c)
{
    return c->streaming || c->pretraining_dataset.n > 0;
}

// ---- model directory

static axl_status find_model(const axl_config *c, bool first, char **out)
{
    axl_status status = AXL_OK;
    const char *path = c->base_model;
    size_t n = strlen(path);
    axl_str root = {0}, dir = {0};

    if (n < 5 || strcmp(path + n - 5, ".gguf") != 0) {
        if (!axl_path_is_dir(path)) {
            AXL_TRY(axl_config_where(c, "base_model", &root));
            if (axl_path_is_hub_name(path))
                AXL_TRY(axl_str_printf(&dir, " (hf download %s --local-dir %s)", path, path));
            AXL_FAIL(AXL_E_INPUT,
                     "%s: base_model %s is not a folder; models are not downloaded: put the "
                     "Hugging Face directory there%s, or give its path",
                     root.data, path, dir.len > 0 ? dir.data : "");
        }
        AXL_TRY(axl_strdup(path, out));
        goto out;
    }
    AXL_TRY(axl_str_printf(&root, "%s/models",
                           c->dataset_prepared_path != NULL ? c->dataset_prepared_path
                                                            : "last_run_prepared"));
    AXL_TRY(first ? axl_gguf_import_cached(path, root.data, NULL, &dir)
                  : axl_gguf_cache_dir(path, root.data, NULL, &dir));
    *out = dir.data;
    dir = (axl_str){0};

out:
    axl_str_fini(&root);
    axl_str_fini(&dir);
    return status;
}

// ---- the sets

static axl_status prepare_list(const axl_config *c, const axl_dataset_list *list, bool eval,
                               const axl_data_setup_options *options, axl_data_setup *d)
{
    axl_status status = AXL_OK;
    spec_list specs = {0};
    axl_data_options o = options_of(c, d->vocabulary.rows, eval);

    o.n_threads = threads_of(c, options->n_threads);
    AXL_TRY(spec_list_make(c, list, d->tokenizer, &specs));
    AXL_TRY(axl_prepare(specs.specs, specs.n, &o, d->tokenizer, options->refresh,
                        eval ? NULL : &d->made, eval ? &d->test_set : &d->set));

out:
    spec_list_fini(&specs);
    return status;
}

// What a stream reads, for as long as it is read.
typedef struct axl_stream_setup {
    spec_list specs;
    axl_data_options options;
} axl_stream_setup;

static void stream_setup_destroy(axl_stream_setup *s)
{
    if (s == NULL)
        return;
    spec_list_fini(&s->specs);
    free(s);
}

static axl_status make_stream(const axl_config *c, axl_data_setup *d)
{
    axl_status status = AXL_OK;
    axl_stream_setup *s = NULL;
    const bool corpus = c->pretraining_dataset.n > 0;
    const axl_dataset_list *list = corpus ? &c->pretraining_dataset : &c->datasets;

    AXL_TRY(axl_calloc(1, sizeof *s, "stream", &s));
    AXL_TRY(spec_list_make(c, list, d->tokenizer, &s->specs));
    if (corpus)
        make_pretraining(c, list, &s->specs);
    s->options = options_of(c, d->vocabulary.rows, false);
    d->stream = s;
    s = NULL;

out:
    stream_setup_destroy(s);
    return status;
}

axl_status axl_data_setup_dump(const axl_data_setup *d, const axl_config *c, const char *path)
{
    axl_status status = AXL_OK;
    spec_list specs = {0};
    axl_data_options o = options_of(c, d->vocabulary.rows, false);

    AXL_TRY(spec_list_make(c, &c->datasets, d->tokenizer, &specs));
    const axl_dump_source from = {specs.specs, specs.n, &o, d->tokenizer};
    AXL_TRY(axl_dump_all(d->set, &from, path));

out:
    spec_list_fini(&specs);
    return status;
}

// The others map what rank 0 made.
static axl_status open_key(const axl_config *c, uint64_t key, axl_prepared **out)
{
    axl_status status = AXL_OK;
    axl_data_options o = {.prepared_path = c->dataset_prepared_path};
    axl_str path = {0};

    if (key == 0)
        goto out;
    AXL_TRY(axl_prepared_path(&o, key, &path));
    AXL_TRY_CTX(
        axl_prepared_open(path.data, key, false, out),
        "rank 0 prepared the data, this rank cannot see them; dataset_prepared_path must lie on "
        "a file system that all hosts share");

out:
    axl_str_fini(&path);
    return status;
}

static axl_status prepare_all(const axl_config *c, const axl_data_setup_options *o,
                              axl_data_setup *d)
{
    axl_status status = AXL_OK;

    if (!axl_data_setup_streams(c) && (!o->eval_only || c->test_datasets.n == 0))
        AXL_TRY(prepare_list(c, &c->datasets, false, o, d));
    if (c->test_datasets.n > 0)
        AXL_TRY(prepare_list(c, &c->test_datasets, true, o, d));

out:
    return status;
}

static axl_status split_all(const axl_config *c, axl_data_setup *d)
{
    axl_status status = AXL_OK;
    axl_split_options o = {.seed = (uint64_t)c->seed,
                           .shuffle = c->shuffle_merged_datasets && !c->curriculum_sampling,
                           .shuffle_each = c->shuffle_before_merging_datasets,
                           .n_shards = c->dataset_shard_num,
                           .shard = c->dataset_shard_idx,
                           .val_set_size = d->test_set == NULL ? c->val_set_size : 0.0};

    if (d->set != NULL)
        AXL_TRY(axl_split_make(d->set, &o, &d->train, &d->eval));
    if (d->test_set != NULL) {
        axl_sample_list_fini(&d->eval);
        d->eval = axl_sample_list_all(d->test_set);
    }

out:
    return status;
}

axl_status axl_data_setup_make_with(const axl_config *c, axl_comm *world,
                                    const axl_data_setup_options *options, axl_data_setup *out)
{
    axl_status status = AXL_OK;
    axl_data_setup d = {0};
    bool first = axl_comm_rank(world) == 0;
    uint64_t keys[2] = {0, 0};

    status = first ? find_model(c, true, &d.model_dir) : AXL_OK;
    if (status == AXL_OK && first)
        status = axl_vocabulary_load(c, d.model_dir, true, &d.vocabulary, &d.tokenizer);
    if (status == AXL_OK && first)
        status = prepare_all(c, options, &d);
    AXL_TRY(axl_comm_agree(world, status));
    keys[0] = d.set != NULL ? d.set->key : 0;
    keys[1] = d.test_set != NULL ? d.test_set->key : 0;
    AXL_TRY(axl_comm_bcast_bytes(world, keys, sizeof keys, 0));
    if (!first) {
        status = find_model(c, false, &d.model_dir);
        if (status == AXL_OK)
            status = axl_vocabulary_load(c, d.model_dir, false, &d.vocabulary, &d.tokenizer);
        if (status == AXL_OK)
            status = open_key(c, keys[0], &d.set);
        if (status == AXL_OK)
            status = open_key(c, keys[1], &d.test_set);
    }
    if (status == AXL_OK && axl_data_setup_streams(c))
        status = make_stream(c, &d);
    if (status == AXL_OK)
        status = split_all(c, &d);
    AXL_TRY(axl_comm_agree(world, status));
    *out = d;
    d = (axl_data_setup){0};

out:
    axl_data_setup_fini(&d);
    return status;
}

axl_status axl_data_setup_make(const axl_config *c, axl_comm *world, axl_data_setup *out)
{
    return axl_data_setup_make_with(c, world, &(axl_data_setup_options){0}, out);
}

void axl_data_setup_fini(axl_data_setup *d)
{
    axl_sample_list_fini(&d->train);
    axl_sample_list_fini(&d->eval);
    stream_setup_destroy(d->stream);
    axl_prepared_close(d->set);
    axl_prepared_close(d->test_set);
    axl_tokenizer_destroy(d->tokenizer);
    axl_vocabulary_fini(&d->vocabulary);
    free(d->model_dir);
    *d = (axl_data_setup){0};
}

// ---- loaders

axl_ring_schedule axl_data_setup_ring(const axl_config *c)
{
    int s = 0;

    while (s < AXL_RING_N_SCHEDULES &&
           strcmp(axl_ring_schedule_name((axl_ring_schedule)s), c->ring_attn_func) != 0)
        s++;
    AXL_ASSERT(s < AXL_RING_N_SCHEDULES); // the key takes only these names
    return (axl_ring_schedule)s;
}

axl_status axl_data_setup_feed(const axl_data_setup *d, const axl_config *c, axl_feed **out)
{
    const axl_plan_options plan = axl_data_setup_plan(c, false);
    axl_data_stream_options o = {.plan = plan, .buffer_rows = c->streaming_multipack_buffer_size};

    if (d->stream == NULL)
        return axl_plan_create(&d->train, &plan, out);
    o.plan.shuffle = plan.shuffle && c->shuffle_merged_datasets;
    if (c->pretraining_dataset.n > 0) { // instructions are always isolated, a row each
        o.joined = !c->pretrain_multipack_attn;
        o.concatenate = c->pretraining_sample_concatenation;
    }
    return axl_data_stream_create(d->stream->specs.specs, d->stream->specs.n, &d->stream->options,
                                  d->tokenizer, &o, out);
}

axl_status axl_data_setup_loader(const axl_data_setup *d, const axl_config *c, const axl_mesh *mesh,
                                 axl_loader **out)
{
    axl_status status = AXL_OK;
    axl_feed *feed = NULL;
    axl_loader_options o = {.dp_rank = axl_mesh_batch_rank(mesh),
                            .dp_size = axl_mesh_n_batches(mesh),
                            .cp_rank = mesh->coord[AXL_CP],
                            .cp_size = mesh->size[AXL_CP],
                            .cp_kind = axl_ring_layout(axl_data_setup_ring(c)),
                            .gradient_accumulation_steps = c->gradient_accumulation_steps,
                            .num_epochs = c->num_epochs,
                            .drop_last = c->dataloader_drop_last};

    AXL_TRY(axl_data_setup_feed(d, c, &feed));
    AXL_TRY(axl_loader_create_from(feed, &o, out));

out:
    return status;
}

axl_status axl_data_setup_eval_loader(const axl_data_setup *d, const axl_config *c,
                                      const axl_mesh *mesh, axl_loader **out)
{
    axl_loader_options o = {.plan = axl_data_setup_plan(c, true),
                            .dp_rank = axl_mesh_batch_rank(mesh),
                            .dp_size = axl_mesh_n_batches(mesh),
                            .cp_rank = mesh->coord[AXL_CP],
                            .cp_size = mesh->size[AXL_CP],
                            .cp_kind = axl_ring_layout(axl_data_setup_ring(c)),
                            .gradient_accumulation_steps = 1,
                            .num_epochs = 1.0};

    *out = NULL;
    return d->eval.n > 0 ? axl_loader_create(&d->eval, &o, out) : AXL_OK;
}

static axl_status report_set(const char *name, const axl_prepared *set)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    char *rest = NULL;

    AXL_TRY(axl_summary_text(set, &text));
    axl_info("%s: %s", name, set->path);
    for (char *line = strtok_r(text.data, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        axl_info("  %s", line);

out:
    axl_str_fini(&text);
    return status;
}

axl_status axl_data_setup_report(const axl_data_setup *d)
{
    axl_status status = AXL_OK;

    if (d->set != NULL)
        AXL_TRY(report_set("datasets", d->set));
    if (d->test_set != NULL)
        AXL_TRY(report_set("test_datasets", d->test_set));
    if (d->stream != NULL)
        axl_info("the training data are streamed: they are read and tokenized while the run "
                 "trains, nothing is prepared; %lld samples to evaluate",
                 (long long)d->eval.n);
    else
        axl_info("%lld samples to train, %lld to evaluate", (long long)d->train.n,
                 (long long)d->eval.n);

out:
    return status;
}
