// Saving and restoring a run. The state is small: the step, the place in the data, and rows of weights and
// moments by name; it says nothing of ranks, so any rank count goes on from it.
#include "src/train/train.h"

#include "comm/watch.h"
#include "sharding/ckpt.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/io/json.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

static const char *const groups[] = {"model", "exp_avg", "exp_avg_sq"};

static float *group_data(const axl_param *p, int group)
{
    return group == 0 ? p->master : p->moment[group - 1];
}

// How many groups a checkpoint of this run holds.
static int n_groups(const axl_trainer *t)
{
    return t->env.config->save_only_model ? 1 : 1 + t->optimizer->n_moments;
}

static axl_status list_tensors(const axl_trainer *t, axl_ckpt_tensor **out, int64_t *n)
{
    axl_status status = AXL_OK;
    const axl_model *m = t->model;
    axl_ckpt_tensor *list = NULL;

    *n = 0;
    AXL_TRY(axl_calloc((size_t)(3 * m->n_tensors), sizeof *list, "the list of tensors", &list));
    for (int g = 0; g < n_groups(t); g++) {
        for (int i = 0; i < m->n_tensors; i++) {
            const axl_param *p = m->tensors[i].param;
            const axl_param_rect r = axl_param_rect_of(p, m->tensors[i].mat);
            list[(*n)++] = (axl_ckpt_tensor){.group = groups[g],
                                             .name = m->tensors[i].key,
                                             .dtype = AXL_F32,
                                             .n_dims = p->n_dims,
                                             .dims = {p->file_rows, p->file_cols},
                                             .row0 = r.block.row0,
                                             .n_rows = p->owner ? r.block.n_rows : 0,
                                             .col0 = r.block.col0,
                                             .n_cols = r.block.n_cols,
                                             .ld = r.block.ld,
                                             .device = p->state,
                                             .data = group_data(p, g) + r.at};
        }
    }
    *out = list;
out:
    return status;
}

static const char *dtype_word(axl_dtype dtype)
{
    return dtype == AXL_BF16 ? "bfloat16" : dtype == AXL_F16 ? "float16" : "float32";
}

// The place in the data, key by key.
static const struct {
    const char *name;
    size_t offset;
} place_keys[] = {
    {"data_epoch", offsetof(axl_data_place, epoch)},
    {"data_group", offsetof(axl_data_place, group)},
    {"data_bin", offsetof(axl_data_place, bin)},
    {"data_bins_done", offsetof(axl_data_place, n_done)},
    {"data_file", offsetof(axl_data_place, file)},
    {"data_row", offsetof(axl_data_place, row)},
    {"data_entry_row", offsetof(axl_data_place, entry_row)},
    {"data_offset", offsetof(axl_data_place, offset)},
    {"data_line", offsetof(axl_data_place, line)},
};
#define N_PLACE_KEYS (sizeof place_keys / sizeof *place_keys)
_Static_assert(sizeof(axl_data_place) == N_PLACE_KEYS * sizeof(int64_t), "each field has its key");

static int64_t *place_field(axl_data_place *place, size_t key)
{
    return (int64_t *)(void *)((char *)place + place_keys[key].offset);
}

static axl_status make_meta(const axl_trainer *t, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_loader_state place = axl_loader_get_state(t->loader);

    AXL_TRY(
        axl_str_printf(out,
                       "{\n  \"global_step\": %lld,\n  \"max_steps\": %lld,\n  \"epoch\": %.9g,\n"
                       "  \"seed\": %lld,\n  \"num_input_tokens_seen\": %lld",
                       (long long)t->step, (long long)t->total_steps,
                       t->steps_per_epoch > 0 ? (double)t->step / (double)t->steps_per_epoch : 0.0,
                       (long long)t->env.config->seed, (long long)t->total_tokens));
    AXL_TRY(axl_steer_put(t, out));
    // the plan hash has 64 bits, more than a JSON number keeps everywhere
    AXL_TRY(axl_str_printf(out, ",\n  \"data_plan\": \"%016llx\",\n  \"dtype\": \"%s\"",
                           (unsigned long long)place.plan_hash,
                           dtype_word(t->model->arch.file_dtype)));
    for (size_t i = 0; i < N_PLACE_KEYS; i++)
        AXL_TRY(axl_str_printf(out, ",\n  \"%s\": %lld", place_keys[i].name,
                               (long long)*place_field(&place.place, i)));
    AXL_TRY(axl_str_puts(out, "\n}\n"));
out:
    return status;
}

static const char *const side_files[] = {
    "config.json",         "generation_config.json",  "tokenizer.json",    "tokenizer_config.json",
    "chat_template.jinja", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",          "tokenizer.model",         "tekken.json"};
#define N_SIDE_FILES (sizeof side_files / sizeof *side_files)

static axl_status read_side_files(const axl_trainer *t, axl_str *texts, axl_ckpt_file *files,
                                  int *n)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    *n = 0;
    for (size_t i = 0; i < N_SIDE_FILES; i++) {
        const axl_tok_file *changed = axl_tok_files_find(&t->data.vocabulary.files, side_files[i]);
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", axl_hfdir_path(t->source), side_files[i]));
        if (changed != NULL ? changed->absent : !axl_path_exists(path.data))
            continue;
        if (changed != NULL)
            AXL_TRY(axl_str_append(&texts[i], changed->text.data, changed->text.len));
        else
            AXL_TRY(axl_file_read(path.data, &texts[i]));
        files[(*n)++] =
            (axl_ckpt_file){.name = side_files[i], .bytes = texts[i].data, .n = texts[i].len};
    }
out:
    axl_str_fini(&path);
    return status;
}

axl_status axl_save_checkpoint(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    axl_str meta = {0};
    axl_str texts[N_SIDE_FILES] = {{0}};
    axl_ckpt_file files[N_SIDE_FILES];
    axl_ckpt_report report = {0};
    axl_ckpt_options o = {.dir = c->output_dir,
                          .step = t->step,
                          .files = files,
                          .save_total_limit = (int)c->save_total_limit};
    axl_ckpt_tensor *tensors = NULL;
    axl_str path = {0};

    status = axl_str_printf(&path, "%s/checkpoint-%lld", c->output_dir, (long long)t->step);
    if (status == AXL_OK)
        status = axl_steer_saving(t, path.data);
    if (status == AXL_OK)
        status = list_tensors(t, &tensors, &o.n_tensors);
    if (status == AXL_OK)
        status = make_meta(t, &meta);
    if (status == AXL_OK && axl_comm_rank(t->env.world) == 0)
        status = read_side_files(t, texts, files, &o.n_files);
    AXL_TRY(axl_comm_agree(t->env.world, status));
    o.tensors = tensors;
    o.meta_json = meta.data;
    o.keep = (const char *const *)&t->steer.saved_path;
    o.n_keep = t->steer.saved_path != NULL;
    AXL_TRY(axl_ckpt_write(t->env.world, &o, &report));
    if (!c->save_only_model) // else it cannot be gone on from
        axl_watch_checkpoint(t->env.world, path.data);
    axl_info("saved %s (%.1f MiB, %.1f s)", path.data, (double)report.stored_bytes / 1048576.0,
             report.seconds);
out:
    for (size_t i = 0; i < N_SIDE_FILES; i++)
        axl_str_fini(&texts[i]);
    axl_str_fini(&meta);
    axl_str_fini(&path);
    free(tensors);
    return status;
}

axl_status axl_save_hint(const axl_trainer *t, axl_status status)
{
    const axl_config *c = t->env.config;
    axl_str message = {0};
    char *path = NULL;

    if (status != AXL_E_IO || c->save_only_model || axl_comm_rank(t->env.world) != 0)
        return status;
    if (axl_str_puts(&message, axl_error_message()) == AXL_OK &&
        axl_ckpt_latest(c->output_dir, &path) == AXL_OK && path != NULL)
        (void)axl_error_set(status, __FILE__, __LINE__,
                            "%s; %s is whole: auto_resume_from_checkpoints: true goes on from it",
                            message.data, path);
    else if (message.len > 0)
        (void)axl_error_set(status, __FILE__, __LINE__, "%s; no checkpoint is there to go on from",
                            message.data);
    axl_str_fini(&message);
    free(path);
    return status;
}

void axl_save_warn(const axl_trainer *t)
{
    const axl_config *c = t->env.config;
    const double n = (double)t->model->n_elements, gib = 1073741824.0;
    const double model = n * (double)axl_dtype_size(t->model->arch.file_dtype) / gib;
    const double checkpoint =
        c->derived.save_when == AXL_WHEN_NEVER ? 0.0 : n * n_groups(t) * sizeof(float) / gib;
    struct statvfs system;

    if (axl_comm_rank(t->env.world) != 0 || statvfs(c->output_dir, &system) != 0)
        return;
    const double left = (double)system.f_bavail * (double)system.f_frsize / gib;
    if (left < model + checkpoint)
        axl_warn("%s has %.3g GiB left, but a checkpoint takes up to %.3g GiB and the model %.3g "
                 "GiB; free space there before they are saved",
                 c->output_dir, left, checkpoint, model);
}

static axl_status restore_meta(axl_trainer *t, axl_ckpt *k)
{
    axl_status status = AXL_OK;
    axl_json *meta = NULL;
    axl_loader_state place = {0};
    const char *text = axl_ckpt_meta(k);

    AXL_TRY(axl_json_parse(text, strlen(text), axl_ckpt_path(k), &meta));
    t->step = axl_json_int(axl_json_get(meta, "global_step"), -1);
    AXL_REQUIRE(t->step >= 0, AXL_E_INPUT, "%s: its trainer state has no global_step",
                axl_ckpt_path(k));
    t->total_tokens = axl_json_int(axl_json_get(meta, "num_input_tokens_seen"), 0);
    AXL_TRY(axl_steer_get(t, meta, axl_ckpt_path(k)));
    for (size_t i = 0; i < N_PLACE_KEYS; i++)
        *place_field(&place.place, i) = axl_json_int(axl_json_get(meta, place_keys[i].name), 0);
    place.plan_hash = strtoull(axl_json_string(axl_json_get(meta, "data_plan"), "0"), NULL, 16);
    int64_t seed = axl_json_int(axl_json_get(meta, "seed"), t->env.config->seed);
    AXL_REQUIRE(seed == t->env.config->seed, AXL_E_CONFIG,
                "%s was made with seed %lld, this run has seed %lld; use the same to go on",
                axl_ckpt_path(k), (long long)seed, (long long)t->env.config->seed);
    AXL_TRY_CTX(axl_loader_set_state(t->loader, &place), "%s", axl_ckpt_path(k));
out:
    axl_json_free(meta);
    return status;
}

static axl_status restore_tensor(axl_ckpt *k, const axl_model_tensor *t, int group)
{
    axl_status status = AXL_OK;
    const axl_param *p = t->param;
    const axl_param_rect r = axl_param_rect_of(p, t->mat);
    const axl_ckpt_entry *e = axl_ckpt_find(k, groups[group], t->key);
    const char *path = axl_ckpt_path(k);
    axl_host_view rows = {0};

    AXL_REQUIRE(e != NULL, AXL_E_INPUT, "%s lacks %s of %s%s", path, groups[group], t->key,
                group > 0 ? "; it was saved with save_only_model and cannot be resumed" : "");
    AXL_REQUIRE(e->dims[0] == p->file_rows && (p->n_dims == 1 || e->dims[1] == p->file_cols) &&
                    e->dtype == AXL_F32,
                AXL_E_INPUT, "%s: %s has another shape than the model", path, t->key);
    AXL_TRY(axl_param_map(p, group_data(p, group), &r, false, &rows));
    AXL_TRY(axl_ckpt_read_block(k, groups[group], t->key, &r.block, rows.host));
    AXL_TRY(axl_device_unmap(&rows, true));
out:
    (void)axl_device_unmap(&rows, false);
    return status;
}

static axl_status restore(axl_trainer *t, const char *path)
{
    axl_status status = AXL_OK;
    axl_ckpt *k = NULL;

    AXL_TRY(axl_ckpt_open(path, &k));
    for (int g = 0; g < 1 + t->optimizer->n_moments; g++)
        for (int i = 0; i < t->model->n_tensors; i++)
            AXL_TRY(restore_tensor(k, &t->model->tensors[i], g));
    AXL_TRY(restore_meta(t, k));
out:
    axl_ckpt_close(k);
    return status;
}

static axl_status read_weights(const axl_trainer *t, const char *path)
{
    axl_status status = AXL_OK;
    axl_ckpt *k = NULL;

    AXL_TRY(axl_ckpt_open(path, &k));
    for (int i = 0; i < t->model->n_tensors; i++)
        AXL_TRY(restore_tensor(k, &t->model->tensors[i], 0));
out:
    axl_ckpt_close(k);
    return status;
}

axl_status axl_load_weights(axl_trainer *t, const char *path)
{
    return axl_comm_agree(t->env.world, read_weights(t, path));
}

static bool holds_checkpoints(const char *dir)
{
    DIR *d = opendir(dir);
    bool found = false;
    const struct dirent *e;

    while (d != NULL && !found && (e = readdir(d)) != NULL)
        found = strncmp(e->d_name, "checkpoint-", 11) == 0 && strstr(e->d_name, ".tmp") == NULL;
    if (d != NULL)
        (void)closedir(d);
    return found;
}

// The checkpoint to go on from, owned by the caller; NULL: start anew. Rank 0 looks and tells the others.
static axl_status choose(const axl_trainer *t, char **path)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;

    if (c->resume_from_checkpoint != NULL)
        AXL_TRY(axl_strdup(c->resume_from_checkpoint, path));
    else if (c->auto_resume_from_checkpoints)
        AXL_TRY(axl_ckpt_latest(c->output_dir, path));
    else
        AXL_REQUIRE(!holds_checkpoints(c->output_dir), AXL_E_CONFIG,
                    "%s already holds checkpoints of a run; set auto_resume_from_checkpoints: true "
                    "to go on, "
                    "or choose another output_dir",
                    c->output_dir);
out:
    return status;
}

axl_status axl_resume(axl_trainer *t)
{
    axl_status status = AXL_OK;
    char *path = NULL;
    int64_t length = 0;

    if (axl_comm_rank(t->env.world) == 0) {
        status = choose(t, &path);
        length = path != NULL ? (int64_t)strlen(path) + 1 : 0;
    }
    AXL_TRY(axl_comm_agree(t->env.world, status));
    AXL_TRY(axl_comm_bcast_bytes(t->env.world, &length, sizeof length, 0));
    if (length == 0)
        goto out;
    if (path == NULL)
        status = axl_calloc((size_t)length, 1, "a path", &path);
    AXL_TRY(axl_comm_agree(t->env.world, status));
    AXL_TRY(axl_comm_bcast_bytes(t->env.world, path, length, 0));
    AXL_TRY(axl_comm_agree(t->env.world, restore(t, path)));
    AXL_TRY(axl_steer_check(t));
    axl_watch_checkpoint(t->env.world, path);
    axl_info("going on from %s: step %lld", path, (long long)t->step);
out:
    free(path);
    return status;
}
