// The hard part is order: records are read under one lock, encoded by many threads, and merged by ticket.
#include "src/data/prepare.h"

#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/data/dedup.h"
#include "src/data/format.h"
#include "src/data/sources.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_ROWS  64
#define BATCH_BYTES ((size_t)1 << 18)
#define MAX_THREADS 64
#define MAX_REPORTS 20 // of malformed records that are skipped
#define KEY_VERSION 1  // raise when the same input gives other samples

typedef struct job {
    const axl_data_options *options;
    const axl_tokenizer *tokenizer;
    pthread_mutex_t read_lock;
    axl_sources sources; // owned
    int64_t tickets;
    _Atomic int64_t bad; // rows found malformed so far
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
    int64_t line[BATCH_ROWS], file[BATCH_ROWS];
    int n_rows;
    int64_t ticket;
} batch;

typedef struct worker {
    job *job;
    pthread_t thread;
    axl_encoder *encoder; // owned; for entry `entry`
    int32_t entry;
    batch batch;
    axl_samples one, samples; // of a row; of the batch
    axl_prepare_counts counts;
} worker;

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
        b->at[b->n_rows] = b->text.len;
        b->n[b->n_rows] = row.n;
        b->line[b->n_rows++] = row.line;
        AXL_TRY(axl_str_append(&b->text, row.text, row.n));
    }

out:
    b->ticket = j->tickets++;
    return status;
}

// The tokenizer may know more tokens than the model has rows for.
static axl_status check_ids(const worker *w, const int32_t *ids, int64_t n, const char *where)
{
    axl_status status = AXL_OK;
    int64_t limit = w->job->options->vocab_size;

    for (int64_t t = 0; limit > 0 && t < n; t++)
        AXL_REQUIRE(
            ids[t] < limit, AXL_E_INPUT,
            "%s: token %d is beyond the %lld tokens of the model (vocab_size of config.json); "
            "tokenizer and model do not belong together",
            where, ids[t], (long long)limit);

out:
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
        AXL_TRY(check_ids(w, w->one.ids + begin, n, where));
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

// The encoder of the entry a record belongs to.
static axl_status take_encoder(worker *w, int32_t entry)
{
    axl_status status = AXL_OK;
    const job *j = w->job;

    if (w->encoder != NULL && w->entry == entry)
        goto out;
    axl_encoder_close(w->encoder);
    w->encoder = NULL;
    AXL_TRY(axl_encoder_open(&j->sources.specs[entry], j->options, j->tokenizer, &w->encoder));
    w->entry = entry;

out:
    return status;
}

static axl_status encode_row(worker *w, int i)
{
    axl_status status = AXL_OK;
    const batch *b = &w->batch;
    const axl_source_file *file = &w->job->sources.files[b->file[i]];
    axl_json *row = NULL;
    axl_str where = {0};

    AXL_TRY(take_encoder(w, file->entry));
    w->encoder->n_lost = 0;
    AXL_TRY(axl_str_printf(&where, "%s:%lld", file->path, (long long)b->line[i]));
    axl_samples_clear(&w->one);
    status = axl_row_parse(file->kind, b->text.data + b->at[i], b->n[i], where.data, &row);
    if (status == AXL_OK)
        status =
            axl_encoder_row(w->encoder, row, (int32_t)b->file[i], b->line[i], where.data, &w->one);
    if (status == AXL_E_INPUT && w->job->options->skip_bad_rows) {
        w->counts.bad++;
        if (w->job->bad++ < MAX_REPORTS)
            axl_warn("skipped: %s", axl_error_message());
        status = AXL_OK;
        goto out;
    }
    AXL_TRY(status);
    w->counts.lost_turns += w->encoder->n_lost;
    AXL_TRY(keep_samples(w, where.data));

out:
    axl_json_free(row);
    axl_str_fini(&where);
    return status;
}

static axl_status encode_batch(worker *w)
{
    axl_status status = AXL_OK;

    w->counts.rows = w->batch.n_rows;
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
    j->counts.lost_turns += w->counts.lost_turns;

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

static void job_fini(job *j)
{
    axl_sources_fini(&j->sources);
    axl_samples_fini(&j->store);
    axl_dedup_destroy(j->dedup);
    axl_str_fini(&j->message);
}

static axl_status job_key(const job *j, uint64_t *key)
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
    AXL_TRY(axl_sources_hash(&j->sources, &h));
    *key = axl_hash_value(&h);

out:
    return status;
}

static axl_status check_result(const job *j)
{
    axl_status status = AXL_OK;
    const axl_prepare_counts *c = &j->counts;

    for (int64_t i = 0; i < j->sources.n_files; i++)
        AXL_REQUIRE(j->sources.files[i].rows > 0 ||
                        axl_row_select_needed(&j->sources.specs[j->sources.files[i].entry]),
                    AXL_E_INPUT, "%s: the data set is empty: no record in it",
                    j->sources.files[i].path);
    AXL_REQUIRE(
        j->store.n > 0, AXL_E_INPUT,
        "%s: no sample is left of %lld rows: %lld malformed, %lld shorter than min_sample_len "
        "%lld, %lld longer than sequence_len %lld, %lld without a trained token",
        j->sources.files[0].path, (long long)c->rows, (long long)c->bad, (long long)c->too_short,
        (long long)j->options->min_sample_len, (long long)c->too_long,
        (long long)j->options->sequence_len, (long long)c->untrained);

out:
    return status;
}

static axl_status make(job *j, const char *path, uint64_t key)
{
    axl_status status = AXL_OK;
    axl_prepared_file *files = NULL;

    if (j->options->deduplicate)
        AXL_TRY(axl_dedup_create(&j->dedup));
    AXL_TRY(axl_sources_select(&j->sources));
    AXL_TRY(run_workers(j));
    if (j->counts.bad > 0)
        axl_warn("%lld of %lld records are malformed and were skipped%s", (long long)j->counts.bad,
                 (long long)j->counts.rows,
                 j->counts.bad > MAX_REPORTS ? "; the first ones are listed above" : "");
    AXL_TRY(check_result(j));
    AXL_TRY(axl_calloc((size_t)j->sources.n_files, sizeof *files, "files", &files));
    for (int64_t i = 0; i < j->sources.n_files; i++)
        files[i] = (axl_prepared_file){j->sources.files[i].path, j->sources.files[i].entry};
    AXL_TRY(axl_prepared_write(path, key, &j->store, files, j->sources.n_files, &j->counts));

out:
    free(files);
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
