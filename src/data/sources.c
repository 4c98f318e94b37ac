// Files of one entry follow one another, so rows of an entry are counted across its files.
#include "src/data/sources.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>

axl_status axl_sources_init(axl_sources *s, const axl_dataset_spec *specs, int n_specs)
{
    axl_status status = AXL_OK;
    int64_t at = 0;

    *s = (axl_sources){.specs = specs, .n_specs = n_specs};
    AXL_REQUIRE(n_specs > 0, AXL_E_CONFIG, "datasets is empty; name at least one data set");
    AXL_TRY(axl_calloc((size_t)n_specs, sizeof *s->lists, "files", &s->lists));
    AXL_TRY(axl_calloc((size_t)n_specs, sizeof *s->selects, "files", &s->selects));
    for (int e = 0; e < n_specs; e++) {
        AXL_TRY(axl_file_list_make(&specs[e], &s->lists[e]));
        s->n_files += s->lists[e].n;
    }
    AXL_TRY(axl_calloc((size_t)s->n_files, sizeof *s->files, "files", &s->files));
    for (int e = 0; e < n_specs; e++) {
        s->selects[e].all = true;
        for (int64_t i = 0; i < s->lists[e].n; i++, at++) {
            axl_source_file *f = &s->files[at];
            f->path = s->lists[e].path[i];
            f->entry = e;
            AXL_TRY(axl_rows_kind_of(f->path, specs[e].ds_type, &f->kind));
            AXL_TRY(axl_file_bytes(f->path, &f->bytes));
        }
    }

out:
    return status;
}

void axl_sources_fini(axl_sources *s)
{
    for (int e = 0; s->lists != NULL && e < s->n_specs; e++)
        axl_file_list_fini(&s->lists[e]);
    free(s->lists);
    free(s->selects);
    free(s->files);
    axl_rows_close(s->rows);
    *s = (axl_sources){0};
}

static void hash_text(axl_hash *h, const char *text)
{
    uint64_t n = text != NULL ? strlen(text) : UINT64_MAX; // a missing text is not an empty one

    axl_hash_update(h, &n, sizeof n);
    if (text != NULL)
        axl_hash_update(h, text, (size_t)n);
}

static void hash_int(axl_hash *h, int64_t i)
{
    axl_hash_update(h, &i, sizeof i);
}

static void hash_spec(axl_hash *h, const axl_dataset_spec *s)
{
    const axl_user_format *f = s->user_format;

    hash_text(h, s->ds_type);
    hash_text(h, s->split);
    hash_int(h, s->shards);
    hash_int(h, s->shards_idx);
    hash_int(h, s->shards > 1 ? (int64_t)s->shard_seed : 0);
    hash_text(h, s->type);
    hash_text(h, s->field);
    hash_text(h, s->conversation);
    hash_text(h, s->chat_key);
    hash_int(h, f != NULL);
    if (f != NULL) {
        const char *const texts[] = {f->system_prompt,   f->field_system, f->field_instruction,
                                     f->field_input,     f->field_output, f->format,
                                     f->no_input_format, f->system_format};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            hash_text(h, texts[i]);
    }
}

// Bytes of one file become bytes of all.
typedef struct hash_progress {
    const axl_tree_hash_options *options;
    int64_t before;
} hash_progress;

static void tell_progress(void *context, int64_t n_bytes)
{
    const hash_progress *p = context;

    if (p->options->progress != NULL)
        p->options->progress(p->options->context, p->before + n_bytes);
}

axl_status axl_sources_hash(const axl_sources *s, const axl_tree_hash_options *options, axl_hash *h)
{
    axl_status status = AXL_OK;
    hash_progress progress = {.options = options};
    const axl_tree_hash_options own = {
        .n_threads = options->n_threads, .progress = tell_progress, .context = &progress};

    for (int64_t i = 0; i < s->n_files; i++) {
        const axl_source_file *f = &s->files[i];
        hash_int(h, f->entry);
        hash_spec(h, &s->specs[f->entry]);
        hash_text(h, f->path);
        hash_text(h, axl_rows_kind_name(f->kind));
        uint64_t contents = 0;
        int64_t bytes = 0;
        AXL_TRY(axl_tree_hash_file(f->path, &own, &bytes, &contents));
        hash_int(h, bytes);
        axl_hash_update(h, &contents, sizeof contents);
        progress.before += bytes;
    }

out:
    return status;
}

int64_t axl_sources_bytes(const axl_sources *s)
{
    int64_t bytes = 0;

    for (int64_t i = 0; i < s->n_files; i++)
        bytes += s->files[i].bytes;
    return bytes;
}

int64_t axl_sources_at(const axl_sources *s)
{
    double bytes = 0.0;

    for (int64_t i = 0; i < s->file && i < s->n_files; i++)
        bytes += (double)s->files[i].bytes;
    if (s->rows != NULL)
        bytes += (double)s->files[s->file].bytes * axl_rows_share(s->rows);
    return (int64_t)bytes;
}

// Moves on to the next row of any file, taken or not.
static axl_status next_row(axl_sources *s, axl_row_text *row, int64_t *file, bool *more)
{
    axl_status status = AXL_OK;

    *more = false;
    while (!*more && s->file < s->n_files) {
        const axl_source_file *f = &s->files[s->file];
        if (s->rows == NULL)
            AXL_TRY(axl_rows_open(f->path, f->kind, &s->rows));
        AXL_TRY(axl_rows_next(s->rows, row, more));
        *file = s->file;
        if (*more)
            break;
        axl_rows_close(s->rows);
        s->rows = NULL;
        s->file++;
        if (s->file < s->n_files && s->files[s->file].entry != f->entry)
            s->row = 0;
    }
    s->row += *more;

out:
    return status;
}

axl_status axl_sources_next(axl_sources *s, axl_row_text *row, int64_t *file, bool *more)
{
    axl_status status = AXL_OK;
    bool taken = false;

    do {
        AXL_TRY(next_row(s, row, file, more));
        if (!*more)
            break;
        const axl_row_select *select = &s->selects[s->files[*file].entry];
        taken = select->all || axl_row_select_takes(select, s->row - 1);
        s->files[*file].rows += taken;
    } while (!taken);

out:
    return status;
}

axl_status axl_sources_select(axl_sources *s)
{
    axl_status status = AXL_OK;
    axl_sources counting = {0};
    axl_row_text row;
    int64_t file = 0, n = 0;
    bool more = true;

    for (int e = 0; e < s->n_specs; e++) {
        if (!axl_row_select_needed(&s->specs[e]))
            continue;
        AXL_TRY(axl_sources_init(&counting, &s->specs[e], 1));
        for (n = -1, more = true; more; n++)
            AXL_TRY(next_row(&counting, &row, &file, &more));
        axl_sources_fini(&counting);
        AXL_TRY(axl_row_select_make(&s->specs[e], n, &s->selects[e]));
    }

out:
    axl_sources_fini(&counting);
    return status;
}

void axl_sources_tell(const axl_sources *s, axl_sources_place *out)
{
    *out = (axl_sources_place){.file = s->file, .entry_row = s->row};
    if (s->rows != NULL)
        axl_rows_tell(s->rows, &out->in_file);
}

axl_status axl_sources_go(axl_sources *s, const axl_sources_place *place)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(place->file >= 0 && place->file <= s->n_files && place->in_file.row >= 0 &&
                    place->in_file.offset >= 0,
                AXL_E_INPUT, "there is no file %lld in the data, which has %lld",
                (long long)place->file, (long long)s->n_files);
    axl_rows_close(s->rows);
    s->rows = NULL;
    s->file = place->file;
    s->row = place->entry_row;
    if (place->in_file.row == 0)
        goto out;
    AXL_REQUIRE(place->file < s->n_files, AXL_E_INPUT, "there is no record behind the last file");
    const axl_source_file *f = &s->files[place->file];
    AXL_TRY(axl_rows_open(f->path, f->kind, &s->rows));
    AXL_TRY(axl_rows_go(s->rows, &place->in_file));

out:
    return status;
}
