// The hard part is order: records are read under one lock, encoded by many threads, and merged by ticket.
#include "src/data/prepare.h"

#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/data/dedup.h"
#include "src/data/format.h"
#include "src/data/rows.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_ROWS  64
#define BATCH_BYTES ((size_t)1 << 18)
#define MAX_THREADS 64
#define KEY_VERSION 1 // raise when the same input gives other samples

typedef struct source_file {
    const char *path; // borrowed from the lists
    int spec;         // index of the entry
    axl_rows_kind kind;
    int64_t rows;
} source_file;

typedef struct job {
    const axl_dataset_spec *specs;
    const axl_data_options *options;
    const axl_tokenizer *tokenizer;
    axl_file_list *lists; // [n_specs], owned
    int n_specs;
    source_file *files; // [n_files], owned
    const char **paths; // [n_files], owned array
    int64_t n_files;
    pthread_mutex_t read_lock;
    axl_rows *rows; // of the file being read, owned
    int64_t file;   // index of that file
    int64_t tickets;
    pthread_mutex_t merge_lock;
    pthread_cond_t merged_one;
    int64_t merged;    // batches merged so far
    axl_samples store; // owned
    axl_dedup *dedup;  // owned; NULL: not asked for
    axl_prepare_counts counts;
    axl_status status; // of the first failure
    axl_str message;   // its words, owned
} job;

typedef struct batch {
    axl_str text; // the records, one behind the other
    size_t at[BATCH_ROWS], n[BATCH_ROWS];
    int64_t line[BATCH_ROWS];
    int n_rows;
    int64_t file, ticket;
} batch;

typedef struct worker {
    job *job;
    pthread_t thread;
    axl_encoder *encoder; // owned; for entry `spec`
    int spec;
    batch batch;
    axl_samples one, samples; // of a row; of the batch
    axl_prepare_counts counts;
} worker;

static axl_status open_next_file(job *j)
{
    axl_status status = AXL_OK;

    if (j->rows == NULL && j->file < j->n_files)
        AXL_TRY(axl_rows_open(j->files[j->file].path, j->files[j->file].kind, &j->rows));

out:
    return status;
}

// Reads records of one file into b, under read_lock. n_rows 0: there are no more.
static axl_status read_batch(job *j, batch *b)
{
    axl_status status = AXL_OK;
    axl_row_text row;
    bool more = true;

    b->n_rows = 0;
    axl_str_clear(&b->text);
    while (b->n_rows == 0 && j->file < j->n_files) {
        AXL_TRY(open_next_file(j));
        b->file = j->file;
        while (b->n_rows < BATCH_ROWS && b->text.len < BATCH_BYTES) {
            AXL_TRY(axl_rows_next(j->rows, &row, &more));
            if (!more)
                break;
            b->at[b->n_rows] = b->text.len;
            b->n[b->n_rows] = row.n;
            b->line[b->n_rows++] = row.line;
            AXL_TRY(axl_str_append(&b->text, row.text, row.n));
        }
        j->files[j->file].rows += b->n_rows;
        if (!more) {
            axl_rows_close(j->rows);
            j->rows = NULL;
            j->file++;
        }
    }

out:
    b->ticket = j->tickets++;
    return status;
}

// Applies the length rules of datasets.md 8.1 and 8.2 to the samples of one row.
static axl_status keep_samples(worker *w, const char *where)
{
    axl_status status = AXL_OK;
    const axl_data_options *o = w->job->options;

    for (int64_t i = 0; i < w->one.n; i++) {
        int64_t begin = axl_samples_begin(&w->one, i), n = axl_samples_length(&w->one, i);
        const axl_sample_info *info = &w->one.info[i];
        bool excess = n > o->sequence_len;

        AXL_REQUIRE(!excess || o->excess != AXL_EXCESS_RAISE, AXL_E_INPUT,
                    "%s: the sample has %lld tokens, sequence_len is %lld; raise it, or set "
                    "excess_length_strategy to drop or truncate",
                    where, (long long)n, (long long)o->sequence_len);
        if (n < o->min_sample_len || n < 1) {
            w->counts.too_short++;
            continue;
        }
        if (excess && o->excess == AXL_EXCESS_DROP) {
            w->counts.too_long++;
            continue;
        }
        AXL_TRY(axl_samples_put(&w->samples, w->one.ids + begin, w->one.labels + begin,
                                excess ? o->sequence_len : n, true));
        AXL_TRY(axl_samples_end(&w->samples, info->file, info->line));
        w->counts.truncated += excess;
        if (o->drop_untrained && w->samples.info[w->samples.n - 1].trained == 0) {
            w->samples.n--;
            axl_samples_drop_open(&w->samples);
            w->counts.untrained++;
        }
    }

out:
    return status;
}

static axl_status encode_row(worker *w, int i)
{
    axl_status status = AXL_OK;
    const job *j = w->job;
    const batch *b = &w->batch;
    const source_file *file = &j->files[b->file];
    axl_json *row = NULL;
    axl_str where = {0};

    AXL_TRY(axl_str_printf(&where, "%s:%lld", file->path, (long long)b->line[i]));
    axl_samples_clear(&w->one);
    status = axl_row_parse(file->kind, b->text.data + b->at[i], b->n[i], where.data, &row);
    if (status == AXL_OK)
        status =
            axl_encoder_row(w->encoder, row, (int32_t)b->file, b->line[i], where.data, &w->one);
    if (status == AXL_E_INPUT && j->options->skip_bad_rows) {
        w->counts.bad++;
        axl_warn("skipped: %s", axl_error_message());
        status = AXL_OK;
        goto out;
    }
    AXL_TRY(status);
    AXL_TRY(keep_samples(w, where.data));

out:
    axl_json_free(row);
    axl_str_fini(&where);
    return status;
}

static axl_status encode_batch(worker *w)
{
    axl_status status = AXL_OK;
    job *j = w->job;
    int spec = j->files[w->batch.file].spec;

    w->counts.rows = w->batch.n_rows;
    if (w->encoder == NULL || spec != w->spec) {
        axl_encoder_close(w->encoder);
        w->encoder = NULL;
        AXL_TRY(axl_encoder_open(&j->specs[spec], j->options, j->tokenizer, &w->encoder));
        w->spec = spec;
    }
    for (int i = 0; i < w->batch.n_rows; i++)
        AXL_TRY(encode_row(w, i));

out:
    return status;
}

static axl_status merge_samples(job *j, const worker *w)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < w->samples.n; i++) {
        bool fresh = true;
        AXL_TRY(axl_samples_copy(&j->store, &w->samples, i));
        if (j->dedup != NULL)
            AXL_TRY(axl_dedup_last(j->dedup, &j->store, &fresh));
        if (!fresh) {
            j->store.n--;
            axl_samples_drop_open(&j->store);
            j->counts.duplicates++;
        }
    }
    j->counts.rows += w->counts.rows;
    j->counts.bad += w->counts.bad;
    j->counts.too_short += w->counts.too_short;
    j->counts.too_long += w->counts.too_long;
    j->counts.truncated += w->counts.truncated;
    j->counts.untrained += w->counts.untrained;

out:
    return status;
}

// Waits for this batch's turn and hands its samples, or its failure, over. False: stop.
static bool merge_batch(worker *w, axl_status status)
{
    job *j = w->job;
    bool more = false;

    (void)pthread_mutex_lock(&j->merge_lock);
    while (j->status == AXL_OK && j->merged != w->batch.ticket)
        (void)pthread_cond_wait(&j->merged_one, &j->merge_lock);
    if (j->status == AXL_OK) {
        if (status == AXL_OK)
            status = merge_samples(j, w);
        if (status != AXL_OK) {
            j->status = status;
            (void)axl_str_puts(&j->message, axl_error_message()); // this thread's own
        }
        j->merged++;
        more = j->status == AXL_OK && w->batch.n_rows > 0;
        (void)pthread_cond_broadcast(&j->merged_one);
    }
    (void)pthread_mutex_unlock(&j->merge_lock);
    return more;
}

static void *work(void *arg)
{
    worker *w = arg;
    axl_status status = AXL_OK;

    do {
        (void)pthread_mutex_lock(&w->job->read_lock);
        status = read_batch(w->job, &w->batch);
        (void)pthread_mutex_unlock(&w->job->read_lock);
        w->counts = (axl_prepare_counts){0};
        axl_samples_clear(&w->samples);
        if (status == AXL_OK && w->batch.n_rows > 0)
            status = encode_batch(w);
    } while (merge_batch(w, status));
    return NULL;
}

static void worker_fini(worker *w)
{
    axl_encoder_close(w->encoder);
    axl_str_fini(&w->batch.text);
    axl_samples_fini(&w->one);
    axl_samples_fini(&w->samples);
}

static int n_workers(const axl_data_options *options)
{
    long n = options->n_threads > 0 ? options->n_threads : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

static axl_status run_workers(job *j)
{
    axl_status status = AXL_OK;
    worker *workers = NULL;
    int n = n_workers(j->options), started = 0;

    AXL_TRY(axl_calloc((size_t)n, sizeof *workers, "workers", &workers));
    for (int i = 0; i < n; i++)
        workers[i].job = j;
    for (started = 1; started < n; started++) {
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0)
            break; // fewer do as well
    }
    (void)work(&workers[0]);
    for (int i = 1; i < started; i++)
        (void)pthread_join(workers[i].thread, NULL);
    if (j->status != AXL_OK)
        AXL_FAIL(j->status, "%s", j->message.data != NULL ? j->message.data : "no memory");

out:
    for (int i = 0; workers != NULL && i < n; i++)
        worker_fini(&workers[i]);
    free(workers);
    return status;
}

// Lists the files of all entries.
static axl_status job_files(job *j)
{
    axl_status status = AXL_OK;
    int64_t at = 0;

    AXL_REQUIRE(j->n_specs > 0, AXL_E_CONFIG, "datasets is empty; name at least one data set");
    AXL_TRY(axl_calloc((size_t)j->n_specs, sizeof *j->lists, "files", &j->lists));
    for (int s = 0; s < j->n_specs; s++) {
        AXL_TRY(axl_file_list_make(&j->specs[s], &j->lists[s]));
        j->n_files += j->lists[s].n;
    }
    AXL_TRY(axl_calloc((size_t)j->n_files, sizeof *j->files, "files", &j->files));
    AXL_TRY(axl_calloc((size_t)j->n_files, sizeof *j->paths, "files", &j->paths));
    for (int s = 0; s < j->n_specs; s++) {
        for (int64_t i = 0; i < j->lists[s].n; i++, at++) {
            source_file *f = &j->files[at];
            f->path = j->paths[at] = j->lists[s].path[i];
            f->spec = s;
            AXL_TRY(axl_rows_kind_of(f->path, j->specs[s].ds_type, &f->kind));
        }
    }

out:
    return status;
}

static void job_fini(job *j)
{
    for (int s = 0; j->lists != NULL && s < j->n_specs; s++)
        axl_file_list_fini(&j->lists[s]);
    free(j->lists);
    free(j->files);
    free(j->paths);
    axl_rows_close(j->rows);
    axl_samples_fini(&j->store);
    axl_dedup_destroy(j->dedup);
    axl_str_fini(&j->message);
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

static axl_status job_key(const job *j, uint64_t *key)
{
    axl_status status = AXL_OK;
    const axl_data_options *o = j->options;
    const axl_tokenizer *t = j->tokenizer;
    static const char *const special[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    axl_mapping map = {0};
    axl_hash h;

    axl_hash_init(&h, KEY_VERSION);
    hash_int(&h, (int64_t)(t != NULL ? axl_tokenizer_hash(t) : 0));
    for (int i = 0; i < 4 && t != NULL; i++) // the YAML may have changed them
        hash_int(&h, axl_tokenizer_special_id(t, special[i]));
    hash_int(&h, o->sequence_len);
    hash_int(&h, o->min_sample_len);
    hash_int(&h, o->vocab_size);
    hash_int(&h, o->excess);
    hash_int(&h, o->train_on_inputs);
    hash_int(&h, o->drop_untrained);
    hash_int(&h, o->deduplicate);
    hash_int(&h, o->skip_bad_rows);
    for (int64_t i = 0; i < j->n_files; i++) {
        hash_spec(&h, &j->specs[j->files[i].spec]);
        hash_text(&h, j->files[i].path);
        hash_int(&h, j->files[i].kind);
        AXL_TRY(axl_file_map(j->files[i].path, &map));
        hash_int(&h, (int64_t)map.size);
        axl_hash_update(&h, map.data, map.size);
        axl_file_unmap(&map);
        map = (axl_mapping){0};
    }
    *key = axl_hash_value(&h);

out:
    return status;
}

static axl_status check_result(const job *j)
{
    axl_status status = AXL_OK;
    const axl_prepare_counts *c = &j->counts;

    for (int64_t i = 0; i < j->n_files; i++)
        AXL_REQUIRE(j->files[i].rows > 0, AXL_E_INPUT, "%s: the data set is empty: no record in it",
                    j->files[i].path);
    AXL_REQUIRE(
        j->store.n > 0, AXL_E_INPUT,
        "%s: no sample is left of %lld rows: %lld malformed, %lld shorter than min_sample_len "
        "%lld, %lld longer than sequence_len %lld, %lld without a trained token",
        j->files[0].path, (long long)c->rows, (long long)c->bad, (long long)c->too_short,
        (long long)j->options->min_sample_len, (long long)c->too_long,
        (long long)j->options->sequence_len, (long long)c->untrained);

out:
    return status;
}

static axl_status make(job *j, const char *path, uint64_t key)
{
    axl_status status = AXL_OK;

    if (j->options->deduplicate)
        AXL_TRY(axl_dedup_create(&j->dedup));
    AXL_TRY(run_workers(j));
    AXL_TRY(check_result(j));
    AXL_TRY(axl_prepared_write(path, key, &j->store, j->paths, j->n_files, &j->counts));

out:
    return status;
}

axl_status axl_prepare_key(const axl_dataset_spec *specs, int n_specs,
                           const axl_data_options *options, const axl_tokenizer *tokenizer,
                           uint64_t *key)
{
    axl_status status = AXL_OK;
    job j = {.specs = specs, .n_specs = n_specs, .options = options, .tokenizer = tokenizer};

    AXL_TRY(job_files(&j));
    AXL_TRY(job_key(&j, key));

out:
    job_fini(&j);
    return status;
}

axl_status axl_prepare(const axl_dataset_spec *specs, int n_specs, const axl_data_options *options,
                       const axl_tokenizer *tokenizer, bool refresh, bool *made, axl_prepared **out)
{
    axl_status status = AXL_OK;
    job j = {.specs = specs,
             .n_specs = n_specs,
             .options = options,
             .tokenizer = tokenizer,
             .read_lock = PTHREAD_MUTEX_INITIALIZER,
             .merge_lock = PTHREAD_MUTEX_INITIALIZER,
             .merged_one = PTHREAD_COND_INITIALIZER};
    axl_str path = {0};
    uint64_t key = 0;
    bool found = false;

    AXL_TRY(job_files(&j));
    AXL_TRY(job_key(&j, &key));
    AXL_TRY(axl_prepared_path(options, key, &path));
    if (!refresh && axl_path_exists(path.data)) {
        found = axl_prepared_open(path.data, key, true, out) == AXL_OK;
        if (!found)
            axl_warn("%s; it is made again", axl_error_message());
    }
    if (!found) {
        AXL_TRY(make(&j, path.data, key));
        AXL_TRY(axl_prepared_open(path.data, key, false, out));
    }
    if (made != NULL)
        *made = !found;

out:
    job_fini(&j);
    axl_str_fini(&path);
    return status;
}
