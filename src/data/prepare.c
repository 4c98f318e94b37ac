// The hard part is order: records are read under one lock, encoded by many threads, and merged by ticket.
//
// Memory: a byte of a record costs up to EXPANSION bytes on its way (text, parsed row, rendered text, tokens with
// offsets, labels, samples). So the text of all batches that are read but not merged is kept below a share of the
// limit, and who reads waits. It cannot wait for ever: those before it in the order of the data are being encoded.
#include "src/data/prepare.h"

#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/data/format.h"
#include "src/data/keep.h"
#include "src/data/prepared_write.h"
#include "src/data/progress.h"
#include "src/data/sources.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_ROWS     64
#define BATCH_BYTES    ((size_t)1 << 18)
#define MAX_THREADS    256
#define MAX_REPORTS    20 // of malformed records that are skipped
#define EXPANSION      24
#define DEFAULT_MEMORY ((int64_t)1 << 30)
#define KEY_VERSION    3 // raise when the same input gives other samples

typedef struct job {
    const axl_data_options *options;
    const axl_tokenizer *tokenizer;
    pthread_mutex_t read_lock;
    axl_sources sources; // owned
    int64_t tickets;
    _Atomic int64_t bad; // rows found malformed so far
    pthread_mutex_t merge_lock;
    pthread_cond_t merged_one;
    int64_t merged;              // batches merged so far
    size_t text_limit;           // bytes of the records that may be under way
    size_t text_bytes;           // that are
    axl_prepared_writer *writer; // owned
    axl_prepare_counts *counts;  // [n_specs] of each entry, owned
    int64_t n_rows;              // merged
    axl_progress progress;
    axl_status status; // of the first failure
    axl_str message;   // its words, owned
} job;

typedef struct batch {
    axl_str text; // the records, one behind the other
    size_t at[BATCH_ROWS], n[BATCH_ROWS];
    int64_t line[BATCH_ROWS], file[BATCH_ROWS];
    int n_rows;
    int64_t ticket;
    int64_t bytes_read; // of all files, behind this batch
} batch;

typedef struct worker {
    job *job;
    pthread_t thread;
    axl_encoder *encoder; // owned; of the entry at hand
    batch batch;
    axl_samples one, samples;   // of a row; of the batch
    axl_prepare_counts *all;    // [n_specs] of the batch, owned
    axl_prepare_counts *counts; // in all: of the entry at hand
} worker;

static int64_t memory_limit(const axl_data_options *o)
{
    return o->memory_limit > 0 ? o->memory_limit : DEFAULT_MEMORY;
}

// Reads records into b, under read_lock. n_rows 0: there are no more.
static axl_status read_batch(job *j, batch *b)
{
    axl_status status = AXL_OK;
    axl_row_text row;
    bool more = true;

    b->n_rows = 0;
    axl_str_clear(&b->text);
    while (b->n_rows < BATCH_ROWS && b->text.len < BATCH_BYTES) {
        AXL_TRY(axl_sources_next(&j->sources, &row, &b->file[b->n_rows], &more));
        if (!more)
            break;
        AXL_REQUIRE(row.n <= j->text_limit, AXL_E_CONFIG,
                    "%s:%lld: the record has %zu bytes; with a dataset_memory_limit of %lld MiB it "
                    "may have %zu: raise it",
                    j->sources.files[b->file[b->n_rows]].path, (long long)row.line, row.n,
                    (long long)(memory_limit(j->options) >> 20), j->text_limit);
        b->at[b->n_rows] = b->text.len;
        b->n[b->n_rows] = row.n;
        b->line[b->n_rows++] = row.line;
        AXL_TRY(axl_str_append(&b->text, row.text, row.n));
    }

out:
    b->ticket = j->tickets++;
    b->bytes_read = axl_sources_at(&j->sources);
    return status;
}

// Holds the batch back while too much text is under way; still under read_lock, so that nobody reads on.
static void wait_for_room(job *j, const batch *b)
{
    (void)pthread_mutex_lock(&j->merge_lock);
    while (j->status == AXL_OK && j->text_bytes > 0 && j->text_bytes + b->text.len > j->text_limit)
        (void)pthread_cond_wait(&j->merged_one, &j->merge_lock);
    j->text_bytes += b->text.len;
    (void)pthread_mutex_unlock(&j->merge_lock);
}

static axl_status encode_row(worker *w, int i)
{
    axl_status status = AXL_OK;
    const batch *b = &w->batch;
    const axl_source_file *file = &w->job->sources.files[b->file[i]];
    axl_json *row = NULL;
    axl_str where = {0};

    AXL_TRY(axl_encoder_take(&w->job->sources.specs[file->entry], w->job->options,
                             w->job->tokenizer, &w->encoder));
    w->encoder->n_lost = w->encoder->n_too_long = w->encoder->n_truncated = 0;
    w->counts = &w->all[file->entry];
    w->counts->rows++;
    AXL_TRY(axl_str_printf(&where, "%s:%lld", file->path, (long long)b->line[i]));
    axl_samples_clear(&w->one);
    status = axl_row_parse(file->kind, b->text.data + b->at[i], b->n[i], where.data, &row);
    if (status == AXL_OK)
        status =
            axl_encoder_row(w->encoder, row, (int32_t)b->file[i], b->line[i], where.data, &w->one);
    if (status == AXL_E_INPUT && w->job->options->skip_bad_rows) {
        w->counts->bad++;
        if (w->job->bad++ < MAX_REPORTS)
            axl_warn("skipped: %s", axl_error_message());
        status = AXL_OK;
        goto out;
    }
    AXL_TRY(status);
    w->counts->lost_turns += w->encoder->n_lost;
    w->counts->too_long += w->encoder->n_too_long;
    w->counts->truncated += w->encoder->n_truncated;
    AXL_TRY(axl_samples_keep(&w->samples, &w->one, w->job->options, where.data, w->counts));

out:
    axl_json_free(row);
    axl_str_fini(&where);
    return status;
}

static axl_status encode_batch(worker *w)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < w->batch.n_rows; i++)
        AXL_TRY(encode_row(w, i));

out:
    return status;
}

static axl_status merge_samples(job *j, const worker *w)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_prepared_writer_put(j->writer, &w->samples));
    for (int e = 0; e < j->sources.n_specs; e++)
        axl_prepare_counts_add(&j->counts[e], &w->all[e]);
    j->n_rows += w->batch.n_rows;
    axl_progress_show(&j->progress, j->n_rows, w->batch.bytes_read);

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
        j->text_bytes -= w->batch.text.len;
        more = j->status == AXL_OK && w->batch.n_rows > 0;
        (void)pthread_cond_broadcast(&j->merged_one);
    }
    (void)pthread_mutex_unlock(&j->merge_lock);
    return more;
}

static void free_buffers(worker *w)
{
    axl_encoder_close(w->encoder);
    w->encoder = NULL;
    axl_str_fini(&w->batch.text);
    axl_samples_fini(&w->one);
    axl_samples_fini(&w->samples);
}

static void *work(void *arg)
{
    worker *w = arg;
    axl_status status = AXL_OK;
    bool more = true;

    do {
        (void)pthread_mutex_lock(&w->job->read_lock);
        status = read_batch(w->job, &w->batch);
        wait_for_room(w->job, &w->batch);
        (void)pthread_mutex_unlock(&w->job->read_lock);
        memset(w->all, 0, (size_t)w->job->sources.n_specs * sizeof *w->all);
        axl_samples_clear(&w->samples);
        if (status == AXL_OK && w->batch.n_rows > 0)
            status = encode_batch(w);
        more = merge_batch(w, status);
        if (w->batch.text.len > 4 * BATCH_BYTES)
            free_buffers(w); // made for a long record; many threads must not each keep such ones
    } while (more);
    return NULL;
}

static void worker_fini(worker *w)
{
    free_buffers(w);
    free(w->all);
}

static int n_workers(const axl_data_options *options)
{
    cpu_set_t set;
    int n = options->n_threads;

    if (n <= 0)
        n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > MAX_THREADS ? MAX_THREADS : n;
}

static axl_status run_workers(job *j)
{
    axl_status status = AXL_OK;
    worker *workers = NULL;
    int n = n_workers(j->options), started = 0;

    AXL_TRY(axl_calloc((size_t)n, sizeof *workers, "workers", &workers));
    for (int i = 0; i < n; i++) {
        workers[i].job = j;
        AXL_TRY(axl_calloc((size_t)j->sources.n_specs, sizeof *workers[i].all, "workers",
                           &workers[i].all));
    }
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

static void job_fini(job *j)
{
    axl_sources_fini(&j->sources);
    axl_prepared_writer_destroy(j->writer);
    free(j->counts);
    axl_str_fini(&j->message);
}

static void show_hashing(void *context, int64_t bytes)
{
    axl_progress_show(context, -1, bytes);
}

static axl_status job_key(job *j, uint64_t *key)
{
    axl_status status = AXL_OK;
    const axl_data_options *o = j->options;
    const axl_tokenizer *t = j->tokenizer;
    static const char *const special[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    int64_t parts[] = {t != NULL ? (int64_t)axl_tokenizer_hash(t) : 0,
                       o->sequence_len,
                       o->min_sample_len,
                       o->vocab_size,
                       o->excess,
                       o->train_on_inputs,
                       o->drop_untrained,
                       o->deduplicate,
                       o->skip_bad_rows};
    axl_hash h;

    axl_hash_init(&h, KEY_VERSION);
    axl_hash_update(&h, parts, sizeof parts);
    for (int i = 0; i < 4 && t != NULL; i++) { // the YAML may have changed them
        int32_t id = axl_tokenizer_special_id(t, special[i]);
        axl_hash_update(&h, &id, sizeof id);
    }
    const axl_tree_hash_options hashing = {
        .n_threads = n_workers(o), .progress = show_hashing, .context = &j->progress};
    axl_progress_begin(&j->progress, "hash", axl_sources_bytes(&j->sources));
    AXL_TRY(axl_sources_hash(&j->sources, &hashing, &h));
    axl_progress_end(&j->progress, -1, axl_sources_bytes(&j->sources));
    *key = axl_hash_value(&h);

out:
    return status;
}

static axl_status check_files(const job *j)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < j->sources.n_files; i++)
        AXL_REQUIRE(j->sources.files[i].rows > 0 ||
                        axl_row_select_needed(&j->sources.specs[j->sources.files[i].entry]),
                    AXL_E_INPUT, "%s: the data set is empty: no record in it",
                    j->sources.files[i].path);

out:
    return status;
}

static axl_status check_samples(const job *j, int64_t n)
{
    axl_status status = AXL_OK;
    axl_prepare_counts c = {0};

    for (int e = 0; e < j->sources.n_specs; e++)
        axl_prepare_counts_add(&c, &j->counts[e]);
    AXL_REQUIRE(
        n > 0, AXL_E_INPUT,
        "%s: no sample is left of %lld rows: %lld malformed, %lld shorter than min_sample_len "
        "%lld, %lld longer than sequence_len %lld, %lld without a trained token",
        j->sources.files[0].path, (long long)c.rows, (long long)c.bad, (long long)c.too_short,
        (long long)j->options->min_sample_len, (long long)c.too_long,
        (long long)j->options->sequence_len, (long long)c.untrained);

out:
    return status;
}

static axl_status finish(job *j)
{
    axl_status status = AXL_OK;
    axl_prepared_file *files = NULL;
    int64_t n = 0;
    axl_prepared_origin origin = {.n_files = j->sources.n_files,
                                  .entries = j->counts,
                                  .n_entries = j->sources.n_specs,
                                  .n_threads = n_workers(j->options)};

    AXL_TRY(axl_calloc((size_t)j->sources.n_files, sizeof *files, "files", &files));
    for (int64_t i = 0; i < j->sources.n_files; i++)
        files[i] = (axl_prepared_file){j->sources.files[i].path, j->sources.files[i].entry};
    origin.files = files;
    AXL_TRY(axl_prepared_writer_finish(j->writer, &origin, &n));
    AXL_TRY(check_samples(j, n));

out:
    free(files);
    return status;
}

static axl_status make(job *j, const char *path, uint64_t key)
{
    axl_status status = AXL_OK;
    const axl_data_options *o = j->options;
    int64_t limit = memory_limit(o);

    j->text_limit = (size_t)(limit / 4 * 3 / EXPANSION);
    AXL_TRY(axl_calloc((size_t)j->sources.n_specs, sizeof *j->counts, "counts", &j->counts));
    AXL_TRY(axl_prepared_writer_create(path, key, o->deduplicate, (size_t)limit / 2, &j->writer));
    AXL_TRY(axl_sources_select(&j->sources));
    axl_progress_begin(&j->progress, "prepare", axl_sources_bytes(&j->sources));
    AXL_TRY(run_workers(j));
    if (j->bad > 0)
        axl_warn("%lld of %lld records are malformed and were skipped%s", (long long)j->bad,
                 (long long)j->n_rows,
                 j->bad > MAX_REPORTS ? "; the first ones are listed above" : "");
    AXL_TRY(check_files(j));
    AXL_TRY(finish(j));
    axl_progress_end(&j->progress, j->n_rows, axl_sources_at(&j->sources));

out:
    return status;
}

axl_status axl_prepare_key(const axl_dataset_spec *specs, int n_specs,
                           const axl_data_options *options, const axl_tokenizer *tokenizer,
                           uint64_t *key)
{
    axl_status status = AXL_OK;
    job j = {.options = options, .tokenizer = tokenizer};

    AXL_TRY(axl_sources_init(&j.sources, specs, n_specs));
    AXL_TRY(job_key(&j, key));

out:
    job_fini(&j);
    return status;
}

axl_status axl_prepare(const axl_dataset_spec *specs, int n_specs, const axl_data_options *options,
                       const axl_tokenizer *tokenizer, bool refresh, bool *made, axl_prepared **out)
{
    axl_status status = AXL_OK;
    job j = {.options = options,
             .tokenizer = tokenizer,
             .read_lock = PTHREAD_MUTEX_INITIALIZER,
             .merge_lock = PTHREAD_MUTEX_INITIALIZER,
             .merged_one = PTHREAD_COND_INITIALIZER};
    axl_str path = {0};
    uint64_t key = 0;
    bool found = false;

    AXL_TRY(axl_sources_init(&j.sources, specs, n_specs));
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
