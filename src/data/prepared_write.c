// A duplicate is marked by a role of -1 in its spilled info. Joining then copies runs of kept samples; without
// duplicates the run is the whole set, and the ids stay where they are.
#include "src/data/prepared_write.h"

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/data/dedup.h"
#include "src/data/prepared_layout.h"
#include "src/io/spill.h"
#include "src/io/tree_hash.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DROPPED     (-1)
#define BLOCK       1024  // infos looked at in one go
#define COMPARE_IDS 16384 // ids compared in one go

struct axl_prepared_writer {
    axl_spill *file;   // header, ids; later all; owned
    axl_spill *labels; // owned
    axl_spill *infos;  // with ends as if nothing were dropped; owned
    axl_dedup *dedup;  // owned; NULL: not asked for
    char *path;        // owned
    axl_prepared_header header;
    int64_t n, n_tokens;      // put so far
    axl_sample_info *block;   // [BLOCK], owned
    axl_sample_info *shifted; // [BLOCK], owned
    int32_t *ids[2];          // [COMPARE_IDS], owned
    const axl_prepared_origin *origin;
};

static axl_status sweep_folder(const char *path)
{
    axl_status status = AXL_OK;
    const char *slash = strrchr(path, '/');
    axl_str folder = {0};

    AXL_TRY(axl_str_append(&folder, slash != NULL ? path : ".",
                           slash != NULL ? (size_t)(slash - path) : 1));
    axl_spill_sweep(folder.data, ".axl");

out:
    axl_str_fini(&folder);
    return status;
}

axl_status axl_prepared_writer_create(const char *path, uint64_t key, bool deduplicate,
                                      size_t memory, axl_prepared_writer **out)
{
    axl_status status = AXL_OK;
    axl_prepared_writer *w = NULL;

    AXL_TRY(axl_calloc(1, sizeof *w, "prepared data set", &w));
    w->header = (axl_prepared_header){
        .magic = AXL_PREPARED_MAGIC, .version = AXL_PREPARED_VERSION, .key = key};
    AXL_TRY(axl_calloc(BLOCK, sizeof *w->block, "samples", &w->block));
    AXL_TRY(axl_calloc(BLOCK, sizeof *w->shifted, "samples", &w->shifted));
    AXL_TRY(axl_strdup(path, &w->path));
    AXL_TRY(sweep_folder(path));
    AXL_TRY(axl_spill_create(path, true, &w->file));
    AXL_TRY(axl_spill_create(path, false, &w->labels));
    AXL_TRY(axl_spill_create(path, false, &w->infos));
    if (deduplicate) {
        for (int i = 0; i < 2; i++)
            AXL_TRY(axl_calloc(COMPARE_IDS, sizeof *w->ids[i], "samples", &w->ids[i]));
        AXL_TRY(axl_dedup_create(path, memory, &w->dedup));
    }
    AXL_TRY(axl_spill_put(w->file, &w->header, sizeof w->header)); // its place
    *out = w;
    w = NULL;

out:
    axl_prepared_writer_destroy(w);
    return status;
}

void axl_prepared_writer_destroy(axl_prepared_writer *w)
{
    if (w == NULL)
        return;
    axl_spill_destroy(w->file);
    axl_spill_destroy(w->labels);
    axl_spill_destroy(w->infos);
    axl_dedup_destroy(w->dedup);
    free(w->path);
    free(w->block);
    free(w->shifted);
    free(w->ids[0]);
    free(w->ids[1]);
    free(w);
}

axl_status axl_prepared_writer_put(axl_prepared_writer *w, const axl_samples *s)
{
    axl_status status = AXL_OK;
    int64_t n_tokens = s->n == 0 ? 0 : s->info[s->n - 1].end;
    size_t bytes = (size_t)n_tokens * sizeof *s->ids;

    AXL_TRY(axl_spill_put(w->file, s->ids, bytes));
    AXL_TRY(axl_spill_put(w->labels, s->labels, bytes));
    for (int64_t i = 0; i < s->n; i++) {
        axl_sample_info info = s->info[i];
        if (w->dedup != NULL) {
            int64_t at = axl_samples_begin(s, i);
            bytes = (size_t)(info.end - at) * sizeof *s->ids;
            uint64_t hash =
                axl_hash64(s->ids + at, bytes, (uint64_t)info.second << 8 | (uint64_t)info.role);
            AXL_TRY(axl_dedup_put(w->dedup, axl_hash64(s->labels + at, bytes, hash)));
        }
        info.end += w->n_tokens;
        AXL_TRY(axl_spill_put(w->infos, &info, sizeof info));
    }
    w->n += s->n;
    w->n_tokens += n_tokens;

out:
    return status;
}

// ---- duplicates

// Reads the info of sample i and where its tokens begin.
static axl_status read_info(axl_prepared_writer *w, int64_t i, axl_sample_info *info,
                            int64_t *begin)
{
    axl_status status = AXL_OK;
    axl_sample_info two[2] = {{0}};
    int64_t first = i > 0 ? i - 1 : 0;

    AXL_TRY(axl_spill_read(w->infos, first * (int64_t)sizeof *two, two,
                           (size_t)(i - first + 1) * sizeof *two));
    *info = two[i - first];
    *begin = i > 0 ? two[0].end : 0;

out:
    return status;
}

static axl_status same_tokens(axl_prepared_writer *w, axl_spill *s, int64_t at, int64_t bt,
                              int64_t n, bool *equal)
{
    axl_status status = AXL_OK;
    int64_t size = (int64_t)sizeof **w->ids, head = s == w->file ? (int64_t)sizeof w->header : 0;

    while (*equal && n > 0) {
        int64_t k = n < COMPARE_IDS ? n : COMPARE_IDS;
        AXL_TRY(axl_spill_read(s, head + at * size, w->ids[0], (size_t)(k * size)));
        AXL_TRY(axl_spill_read(s, head + bt * size, w->ids[1], (size_t)(k * size)));
        *equal = memcmp(w->ids[0], w->ids[1], (size_t)(k * size)) == 0;
        at += k;
        bt += k;
        n -= k;
    }

out:
    return status;
}

static axl_status samples_equal(void *context, int64_t earlier, int64_t later, bool *equal)
{
    axl_status status = AXL_OK;
    axl_prepared_writer *w = context;
    axl_sample_info a, b;
    int64_t at, bt;

    AXL_TRY(read_info(w, earlier, &a, &at));
    AXL_TRY(read_info(w, later, &b, &bt));
    *equal = a.end - at == b.end - bt && a.second == b.second && a.role == b.role;
    AXL_TRY(same_tokens(w, w->file, at, bt, a.end - at, equal));
    AXL_TRY(same_tokens(w, w->labels, at, bt, a.end - at, equal));

out:
    return status;
}

static axl_status drop_sample(void *context, int64_t later)
{
    axl_status status = AXL_OK;
    axl_prepared_writer *w = context;
    axl_sample_info info;
    int64_t begin;

    AXL_TRY(read_info(w, later, &info, &begin));
    info.role = DROPPED;
    w->origin->entries[w->origin->files[info.file].entry].duplicates++;
    AXL_TRY(axl_spill_write(w->infos, later * (int64_t)sizeof info, &info, sizeof info));

out:
    return status;
}

// ---- joining

// Copies the tokens [from, to) of a section to token `at` of the section that begins at byte `base`.
static axl_status copy_run(const axl_prepared_writer *w, axl_spill *from_file, int64_t base,
                           int64_t at, int64_t from, int64_t to)
{
    int64_t size = (int64_t)sizeof(int32_t);
    int64_t head = from_file == w->file ? (int64_t)sizeof w->header : 0;

    return axl_spill_copy(w->file, base + at * size, from_file, head + from * size,
                          (to - from) * size);
}

// Copies ids or labels of the kept samples to the section at byte `base` and ends the file there. Runs are as long as
// they can be.
static axl_status join_tokens(axl_prepared_writer *w, axl_spill *from_file, int64_t base)
{
    axl_status status = AXL_OK;
    int64_t at = 0, from = 0, to = 0; // the present run, and where it goes

    for (int64_t i = 0; i < w->n; i++) {
        if (i % BLOCK == 0)
            AXL_TRY(
                axl_spill_read(w->infos, i * (int64_t)sizeof *w->block, w->block,
                               (size_t)(w->n - i < BLOCK ? w->n - i : BLOCK) * sizeof *w->block));
        const axl_sample_info *info = &w->block[i % BLOCK];
        if (info->role == DROPPED) {
            AXL_TRY(copy_run(w, from_file, base, at, from, to));
            at += to - from;
            from = info->end;
        }
        to = info->end;
    }
    AXL_TRY(copy_run(w, from_file, base, at, from, to));
    AXL_TRY(axl_spill_resize(w->file, base + (at + to - from) * (int64_t)sizeof(int32_t)));

out:
    return status;
}

// Appends the infos of the kept samples, their ends moved up, and adds them up in the header.
static axl_status join_infos(axl_prepared_writer *w)
{
    axl_status status = AXL_OK;
    axl_prepared_header *h = &w->header;
    int64_t end = 0; // of the sample before, as it was spilled

    for (int64_t i = 0; i < w->n; i += BLOCK) {
        int64_t n = w->n - i < BLOCK ? w->n - i : BLOCK, kept = 0;
        AXL_TRY(axl_spill_read(w->infos, i * (int64_t)sizeof *w->block, w->block,
                               (size_t)n * sizeof *w->block));
        for (int64_t k = 0; k < n; k++) {
            int64_t length = w->block[k].end - end;
            end = w->block[k].end;
            if (w->block[k].role == DROPPED)
                continue;
            h->n_tokens += length;
            h->n_trained += w->block[k].trained;
            h->max_length = length > h->max_length ? length : h->max_length;
            w->shifted[kept] = w->block[k];
            w->shifted[kept++].end = h->n_tokens;
        }
        h->n += kept;
        AXL_TRY(axl_spill_put(w->file, w->shifted, (size_t)kept * sizeof *w->shifted));
    }

out:
    return status;
}

static axl_status put_origin(axl_prepared_writer *w)
{
    axl_status status = AXL_OK;
    const axl_prepared_origin *o = w->origin;
    int64_t before = 0;

    AXL_TRY(axl_spill_put(w->file, o->entries, (size_t)o->n_entries * sizeof *o->entries));
    before = axl_spill_size(w->file);
    for (int64_t i = 0; i < o->n_files; i++) {
        AXL_TRY(axl_spill_put(w->file, &o->files[i].entry, sizeof o->files[i].entry));
        AXL_TRY(axl_spill_put(w->file, o->files[i].path, strlen(o->files[i].path) + 1));
    }
    w->header.n_entries = o->n_entries;
    w->header.n_files = o->n_files;
    w->header.names_bytes = axl_spill_size(w->file) - before;

out:
    return status;
}

static axl_status put_header(axl_prepared_writer *w)
{
    axl_status status = AXL_OK;
    axl_prepared_header *h = &w->header;
    const axl_tree_hash_options o = {.n_threads = w->origin->n_threads};
    int fd = -1;

    AXL_TRY(axl_spill_fd(w->file, &fd));
    AXL_TRY(axl_tree_hash_fd(fd, (int64_t)sizeof *h, w->path, &o, &h->payload_hash));
    h->header_hash = axl_hash64(h, offsetof(axl_prepared_header, header_hash), 0);
    AXL_TRY(axl_spill_write(w->file, 0, h, sizeof *h));

out:
    return status;
}

axl_status axl_prepared_writer_finish(axl_prepared_writer *w, const axl_prepared_origin *origin,
                                      int64_t *n)
{
    axl_status status = AXL_OK;
    const axl_dedup_owner owner = {w, samples_equal, drop_sample};

    w->origin = origin;
    *n = w->n;
    if (w->n == 0)
        goto out;
    if (w->dedup != NULL) {
        AXL_TRY(axl_dedup_run(w->dedup, &owner));
        axl_dedup_destroy(w->dedup); // its temporaries make room
        w->dedup = NULL;
    }
    AXL_TRY(join_tokens(w, w->file, (int64_t)sizeof w->header));
    AXL_TRY(join_tokens(w, w->labels, axl_spill_size(w->file)));
    AXL_TRY(join_infos(w));
    AXL_TRY(put_origin(w));
    AXL_TRY(put_header(w));
    AXL_TRY(axl_spill_publish(w->file));
    *n = w->header.n;

out:
    return status;
}
