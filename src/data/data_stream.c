// A producer of chunks behind a producer of bins. The reading state (sources, encoder, epoch) belongs to whoever fills
// a chunk, and only one fills at a time: the thread while it is in flight, else the caller.
#include "src/data/data_stream.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/data/format.h"
#include "src/data/keep.h"
#include "src/data/sources.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HASH_VERSION 1
#define CHUNK_STREAM 0x43484bull // "CHK": streams of AXL_RANDOM_SHUFFLE for the order in a chunk
#define BINS_STREAM  0x424e53ull // "BNS": and for the order of its bins

typedef struct chunk {
    axl_prepared set;    // a view of samples
    axl_samples samples; // owned
    int64_t number;      // from the start of the run
    axl_sources_place begin;
    int64_t epoch;
    double from, to; // parts of the epoch that lie before and up to its end
    axl_status status;
    char *message; // owned; of a failure
    struct chunk *next;
} chunk;

typedef struct data_stream {
    axl_feed feed;
    axl_data_stream_options options;
    const axl_data_options *data;   // borrowed
    const axl_tokenizer *tokenizer; // borrowed
    int64_t *skip;                  // [n_specs], owned
    axl_prepared_file *files;       // [n_files], owned
    double *bytes_before;           // [n_files + 1] of all files before each, owned
    // reading
    axl_sources sources;   // owned
    axl_encoder *encoder;  // owned; of the entry at hand
    int64_t epoch, number; // of the next chunk
    int64_t n_kept;        // samples since the data last began
    bool whole;            // they were read from their beginning
    axl_samples one;       // of a record
    pthread_t thread;
    bool in_flight;
    atomic_bool stop;
    // bins
    chunk *filling, *present, *used, *spare; // owned; used: the present step may look at them
    axl_bins bins;                           // of places in the order of `present`
    axl_permuter order, bin_order;
    int64_t start_bin;  // of the first chunk after axl_feed_go
    axl_packer *packer; // owned; for chunks of up to packer_samples
    int64_t packer_samples;
    int32_t *lengths; // [packer_samples], owned
    int64_t *items;   // of the bin handed out, owned
    size_t items_capacity;
} data_stream;

// ---- reading a chunk

static double part_done(const data_stream *s, const axl_sources_place *at)
{
    const double all = s->bytes_before[s->sources.n_files];
    double done = all;

    if (at->file < s->sources.n_files) {
        double end = s->bytes_before[at->file + 1];
        done = s->bytes_before[at->file] + (double)at->in_file.offset;
        done = done < end ? done : end; // a compressed file has more text than bytes
    }
    return all > 0.0 ? done / all : 1.0;
}

static axl_status encode_record(data_stream *s, const axl_row_text *text, int64_t file,
                                axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_source_file *f = &s->sources.files[file];
    axl_json *row = NULL;
    axl_str where = {0};
    axl_prepare_counts counts = {0}; // a stream has no summary

    AXL_TRY(axl_encoder_take(&s->sources.specs[f->entry], s->data, s->tokenizer, &s->encoder));
    AXL_TRY(axl_str_printf(&where, "%s:%lld", f->path, (long long)text->line));
    axl_samples_clear(&s->one);
    status = axl_row_parse(f->kind, text->text, text->n, where.data, &row);
    if (status == AXL_OK)
        status = axl_encoder_row(s->encoder, row, (int32_t)file, text->line, where.data, &s->one);
    if (status == AXL_E_INPUT && s->data->skip_bad_rows) {
        axl_warn("skipped: %s", axl_error_message());
        status = AXL_OK;
        goto out;
    }
    AXL_TRY(status);
    AXL_TRY(axl_samples_keep(out, &s->one, s->data, where.data, &counts));

out:
    axl_json_free(row);
    axl_str_fini(&where);
    return status;
}

// Begins the data anew.
static axl_status wrap(data_stream *s)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(!s->whole || s->n_kept > 0, AXL_E_INPUT,
                "%s: no sample is left of the stream: its records are malformed, shorter than "
                "min_sample_len %lld, longer than sequence_len %lld, skipped or without a trained "
                "token",
                s->files[0].path, (long long)s->data->min_sample_len,
                (long long)s->data->sequence_len);
    AXL_TRY(axl_sources_go(&s->sources, &(axl_sources_place){0}));
    s->whole = true;
    s->n_kept = 0;
    s->epoch++;

out:
    return status;
}

static int64_t sample_in_order(const data_stream *s, const axl_permuter *order, int64_t i)
{
    return s->options.plan.shuffle ? axl_permute(order, i) : i;
}

static axl_permuter chunk_order(const data_stream *s, const chunk *c, int64_t n)
{
    return axl_permuter_make(s->options.plan.seed, AXL_RANDOM_SHUFFLE,
                             (CHUNK_STREAM << 32) + (uint64_t)c->number, n > 0 ? n : 1);
}

// Rows of sequence_len from the samples in their order: EOS behind each, PAD between them.
static axl_status concatenate(data_stream *s, chunk *c)
{
    axl_status status = AXL_OK;
    const int32_t eos = axl_tokenizer_special_id(s->tokenizer, "eos_token");
    const int32_t pad = axl_tokenizer_special_id(s->tokenizer, "pad_token");
    const axl_permuter order = chunk_order(s, c, c->samples.n);
    axl_samples rows = {0};
    int64_t used = 0;

    for (int64_t k = 0; k < c->samples.n; k++) {
        const int64_t i = sample_in_order(s, &order, k), n = axl_samples_length(&c->samples, i);
        const axl_sample_info *info = &c->samples.info[i];
        const int64_t begin = axl_samples_begin(&c->samples, i);
        if (used > 0 && used + n + 2 > s->data->sequence_len) {
            AXL_TRY(axl_samples_end(&rows, info->file, info->line));
            used = 0;
        }
        if (used > 0 && pad >= 0)
            AXL_TRY(axl_samples_put(&rows, &pad, NULL, 1, false));
        AXL_TRY(axl_samples_put(&rows, c->samples.ids + begin, c->samples.labels + begin, n, true));
        if (eos >= 0)
            AXL_TRY(axl_samples_put(&rows, &eos, NULL, 1, true));
        used += n + 2;
    }
    if (used > 0)
        AXL_TRY(axl_samples_end(&rows, c->samples.info[0].file, c->samples.info[0].line));
    axl_samples_fini(&c->samples);
    c->samples = rows;
    rows = (axl_samples){0};

out:
    axl_samples_fini(&rows);
    return status;
}

static void set_view(const data_stream *s, chunk *c)
{
    const axl_samples *m = &c->samples;

    c->set = (axl_prepared){.n = m->n,
                            .n_tokens = m->n > 0 ? m->info[m->n - 1].end : 0,
                            .info = m->info,
                            .ids = m->ids,
                            .labels = m->labels,
                            .files = s->files,
                            .n_files = s->sources.n_files};
    for (int64_t i = 0; i < m->n; i++) {
        int64_t n = axl_samples_length(m, i);
        c->set.n_trained += m->info[i].trained;
        c->set.max_length = n > c->set.max_length ? n : c->set.max_length;
    }
}

// Reads the next chunk. One ends where the data end, so that an epoch is made of whole chunks.
static axl_status read_chunk(data_stream *s, chunk *c)
{
    axl_status status = AXL_OK;
    axl_row_text row;
    int64_t file = 0, rows = 0;
    bool more = true;

    axl_samples_clear(&c->samples);
    axl_sources_tell(&s->sources, &c->begin);
    c->epoch = s->epoch;
    c->number = s->number++;
    c->from = part_done(s, &c->begin);
    while (rows < s->options.buffer_rows && more && !atomic_load(&s->stop)) {
        AXL_TRY(axl_sources_next(&s->sources, &row, &file, &more));
        if (!more || s->sources.row <= s->skip[s->sources.files[file].entry])
            continue;
        rows++;
        AXL_TRY(encode_record(s, &row, file, &c->samples));
    }
    s->n_kept += c->samples.n;
    c->to = 1.0;
    if (more) {
        axl_sources_place end;
        axl_sources_tell(&s->sources, &end);
        c->to = part_done(s, &end);
    } else {
        AXL_TRY(wrap(s));
    }
    if (s->options.concatenate && c->samples.n > 0)
        AXL_TRY(concatenate(s, c));
    set_view(s, c);

out:
    return status;
}

static void *fill(void *arg)
{
    data_stream *s = arg;
    chunk *c = s->filling;

    c->status = read_chunk(s, c);
    free(c->message);
    c->message = NULL;
    if (c->status != AXL_OK && axl_strdup(axl_error_message(), &c->message) != AXL_OK)
        c->message = NULL;
    return NULL;
}

// ---- chunks

static void chunk_destroy(chunk *c)
{
    while (c != NULL) {
        chunk *next = c->next;
        axl_samples_fini(&c->samples);
        free(c->message);
        free(c);
        c = next;
    }
}

static void put_chunk(chunk **list, chunk *c)
{
    c->next = *list;
    *list = c;
}

static axl_status begin_fill(data_stream *s)
{
    axl_status status = AXL_OK;
    sigset_t all, before;

    if (s->spare == NULL)
        AXL_TRY(axl_calloc(1, sizeof *s->spare, "chunk", &s->spare));
    s->filling = s->spare;
    s->spare = s->filling->next;
    s->filling->next = NULL;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); // signals belong to the main thread
    s->in_flight = pthread_create(&s->thread, NULL, fill, s) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->in_flight)
        (void)fill(s); // no thread to be had: it is done here

out:
    return status;
}

// Waits for the chunk being filled; NULL: none was.
static chunk *end_fill(data_stream *s)
{
    chunk *c = s->filling;

    if (s->in_flight)
        (void)pthread_join(s->thread, NULL);
    s->in_flight = false;
    s->filling = NULL;
    return c;
}

static axl_status fit_packer(data_stream *s, int64_t n)
{
    axl_status status = AXL_OK;
    const axl_plan_options *o = &s->options.plan;
    const axl_pack_options pack = {
        .capacity = axl_plan_capacity(o), .bin_size = o->bin_size, .kind = o->kind};

    if (n <= s->packer_samples)
        goto out;
    axl_packer_destroy(s->packer);
    s->packer = NULL;
    free(s->lengths);
    s->lengths = NULL;
    s->packer_samples = 0;
    AXL_TRY(axl_calloc((size_t)(n + n / 4), sizeof *s->lengths, "lengths", &s->lengths));
    AXL_TRY(axl_packer_create(n + n / 4, &pack, &s->packer));
    s->packer_samples = n + n / 4;

out:
    return status;
}

static axl_status pack_present(data_stream *s)
{
    axl_status status = AXL_OK;
    const axl_plan_options *o = &s->options.plan;
    const chunk *c = s->present;
    const int64_t n = c->samples.n;

    s->order = chunk_order(s, c, n);
    s->bins = (axl_bins){.n_bins = n};
    if (o->packing && n > 0) {
        AXL_TRY(fit_packer(s, n));
        for (int64_t i = 0; i < n; i++)
            s->lengths[i] =
                (int32_t)axl_samples_length(&c->samples, sample_in_order(s, &s->order, i));
        s->bins = axl_packer_run(s->packer, s->lengths, n);
        s->bin_order = axl_permuter_make(o->seed, AXL_RANDOM_SHUFFLE,
                                         (BINS_STREAM << 32) + (uint64_t)c->number, s->bins.n_bins);
    }

out:
    return status;
}

// Makes the next chunk the present one, and has the one behind it filled.
static axl_status take_chunk(data_stream *s)
{
    axl_status status = AXL_OK;
    axl_data_place *at = &s->feed.place;

    if (s->present != NULL)
        put_chunk(&s->used, s->present);
    s->present = NULL;
    if (s->filling == NULL)
        AXL_TRY(begin_fill(s));
    chunk *c = end_fill(s);
    if (c->status != AXL_OK) {
        status = axl_error_set(c->status, __FILE__, __LINE__, "%s",
                               c->message != NULL ? c->message : "no memory for a chunk");
        put_chunk(&s->spare, c);
        goto out;
    }
    s->present = c;
    *at = (axl_data_place){.epoch = c->epoch,
                           .group = c->number,
                           .bin = s->start_bin,
                           .n_done = at->n_done,
                           .file = c->begin.file,
                           .row = c->begin.in_file.row,
                           .entry_row = c->begin.entry_row,
                           .offset = c->begin.in_file.offset,
                           .line = c->begin.in_file.line};
    AXL_TRY(pack_present(s));
    AXL_REQUIRE(s->start_bin <= s->bins.n_bins, AXL_E_INPUT,
                "the checkpoint holds no valid place in the data: bin %lld of chunk %lld, which "
                "has %lld; the files were changed",
                (long long)s->start_bin, (long long)c->number, (long long)s->bins.n_bins);
    s->start_bin = 0;
    AXL_TRY(begin_fill(s));

out:
    return status;
}

// ---- the feed

static axl_status put_item(data_stream *s, int64_t n, int64_t sample)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&s->items, &s->items_capacity, (size_t)n + 1, sizeof *s->items,
                     "samples of a bin"));
    s->items[n] = sample;

out:
    return status;
}

static axl_status stream_next(axl_feed *f, axl_bin *out, bool *more)
{
    axl_status status = AXL_OK;
    data_stream *s = (data_stream *)f;
    const axl_plan_options *o = &s->options.plan;
    int64_t from = 0, to = 1, b = 0;

    while (s->present == NULL || f->place.bin == s->bins.n_bins)
        AXL_TRY(take_chunk(s));
    b = from = f->place.bin;
    to = from + 1;
    if (o->packing) {
        if (o->kind == AXL_PACK_BEST_FIT && o->shuffle)
            b = axl_permute(&s->bin_order, b);
        from = s->bins.start[b];
        to = s->bins.start[b + 1];
    }
    for (out->n = 0; out->n < to - from; out->n++) {
        int64_t k = o->packing ? s->bins.items[from + out->n] : from;
        bool in_order = s->options.concatenate; // shuffled before
        AXL_TRY(put_item(s, out->n, in_order ? k : sample_in_order(s, &s->order, k)));
    }
    out->set = &s->present->set;
    out->items = s->items;
    *more = true;
    f->place.bin++;
    f->place.n_done++;
    f->progress = s->present->from + (s->present->to - s->present->from) * (double)f->place.bin /
                                         (double)s->bins.n_bins;

out:
    return status;
}

static void stream_release(axl_feed *f)
{
    data_stream *s = (data_stream *)f;

    while (s->used != NULL) {
        chunk *c = s->used;
        s->used = c->next;
        put_chunk(&s->spare, c);
    }
}

static void drop_all(data_stream *s)
{
    atomic_store(&s->stop, true);
    chunk *c = end_fill(s);
    atomic_store(&s->stop, false);
    if (c != NULL)
        put_chunk(&s->spare, c);
    if (s->present != NULL)
        put_chunk(&s->spare, s->present);
    s->present = NULL;
    stream_release(&s->feed);
}

static axl_status stream_go(axl_feed *f, const axl_data_place *place)
{
    axl_status status = AXL_OK;
    data_stream *s = (data_stream *)f;
    const axl_sources_place at = {
        .file = place->file,
        .entry_row = place->entry_row,
        .in_file = {.row = place->row, .offset = place->offset, .line = place->line}};

    AXL_REQUIRE(place->epoch >= 0 && place->group >= 0 && place->bin >= 0 && place->n_done >= 0,
                AXL_E_INPUT,
                "the checkpoint holds no valid place in the data: epoch %lld, chunk %lld, bin %lld",
                (long long)place->epoch, (long long)place->group, (long long)place->bin);
    drop_all(s);
    AXL_TRY(axl_sources_go(&s->sources, &at));
    s->epoch = place->epoch;
    s->number = place->group;
    s->whole = place->file == 0 && place->row == 0;
    s->n_kept = 0;
    s->start_bin = place->bin;
    f->place = *place;
    f->progress = part_done(s, &at);

out:
    return status;
}

static void stream_destroy(axl_feed *f)
{
    data_stream *s = (data_stream *)f;

    drop_all(s);
    chunk_destroy(s->spare);
    axl_encoder_close(s->encoder);
    axl_sources_fini(&s->sources);
    axl_samples_fini(&s->one);
    axl_packer_destroy(s->packer);
    free(s->lengths);
    free(s->items);
    free(s->skip);
    free(s->files);
    free(s->bytes_before);
    free(s);
}

static const axl_feed_ops stream_ops = {
    .go = stream_go, .next = stream_next, .release = stream_release, .destroy = stream_destroy};

// ---- making it

static void hash_text(axl_hash *h, const char *text)
{
    const char *t = text != NULL ? text : "";

    axl_hash_update(h, t, strlen(t) + 1);
}

// The contents of the files may be more than can be read, so their names and sizes stand for them.
static axl_status list_files(data_stream *s, axl_hash *h)
{
    axl_status status = AXL_OK;
    const size_t n = (size_t)s->sources.n_files;

    AXL_TRY(axl_calloc(n, sizeof *s->files, "files", &s->files));
    AXL_TRY(axl_calloc(n + 1, sizeof *s->bytes_before, "files", &s->bytes_before));
    for (size_t i = 0; i < n; i++) {
        const axl_source_file *f = &s->sources.files[i];
        struct stat info;
        AXL_REQUIRE(stat(f->path, &info) == 0, AXL_E_INPUT, "%s: cannot be read", f->path);
        const int64_t bytes = (int64_t)info.st_size;
        s->files[i] = (axl_prepared_file){f->path, f->entry};
        s->bytes_before[i + 1] = s->bytes_before[i] + (double)bytes;
        hash_text(h, f->path);
        axl_hash_update(h, &bytes, sizeof bytes);
    }

out:
    return status;
}

static void hash_options(const data_stream *s, axl_hash *h)
{
    const axl_plan_options *o = &s->options.plan;
    const axl_data_options *d = s->data;
    const int64_t parts[] = {s->options.buffer_rows,
                             s->options.joined,
                             s->options.concatenate,
                             o->packing,
                             o->packing ? axl_plan_capacity(o) : 0,
                             o->packing ? (int64_t)o->kind : 0,
                             o->packing ? o->bin_size : 0,
                             o->shuffle,
                             o->shuffle ? (int64_t)o->seed : 0,
                             d->sequence_len,
                             d->min_sample_len,
                             (int64_t)d->excess,
                             d->train_on_inputs,
                             d->drop_untrained,
                             d->skip_bad_rows,
                             s->tokenizer != NULL ? (int64_t)axl_tokenizer_hash(s->tokenizer) : 0};

    axl_hash_update(h, parts, sizeof parts);
    for (int e = 0; e < s->sources.n_specs; e++) {
        const axl_dataset_spec *spec = &s->sources.specs[e];
        hash_text(h, spec->type);
        hash_text(h, spec->field);
        hash_text(h, spec->chat_key);
        axl_hash_update(h, &spec->skip, sizeof spec->skip);
    }
}

static void set_limits(data_stream *s)
{
    const axl_plan_options *o = &s->options.plan;
    axl_feed *f = &s->feed;
    int64_t docs = !o->packing || s->options.joined ? 1
                   : o->kind == AXL_PACK_SEQUENTIAL ? axl_plan_capacity(o)
                                                    : o->bin_size;

    f->bins_per_micro = axl_plan_bins_per_micro(o);
    f->max_tokens = f->bins_per_micro * axl_plan_capacity(o);
    f->max_seqs =
        f->bins_per_micro * docs < f->max_tokens ? f->bins_per_micro * docs : f->max_tokens;
    f->joined = s->options.joined;
}

axl_status axl_data_stream_create(const axl_dataset_spec *specs, int n_specs,
                                  const axl_data_options *data, const axl_tokenizer *tokenizer,
                                  const axl_data_stream_options *options, axl_feed **out)
{
    axl_status status = AXL_OK;
    data_stream *s = NULL;
    axl_hash h;

    AXL_REQUIRE(options->plan.micro_batch_size >= 1 && options->plan.sequence_len >= 1 &&
                    options->buffer_rows >= 1,
                AXL_E_CONFIG,
                "micro_batch_size, sequence_len and streaming_multipack_buffer_size must be at "
                "least 1");
    AXL_TRY(axl_calloc(1, sizeof *s, "data stream", &s));
    s->feed.ops = &stream_ops;
    s->options = *options;
    s->data = data;
    s->tokenizer = tokenizer;
    s->options.joined = options->joined && options->plan.packing;
    s->options.concatenate = options->concatenate && !options->plan.packing && tokenizer != NULL;
    AXL_TRY(axl_sources_init(&s->sources, specs, n_specs));
    AXL_TRY(axl_calloc((size_t)n_specs, sizeof *s->skip, "entries", &s->skip));
    for (int e = 0; e < n_specs; e++) {
        s->skip[e] = specs[e].skip;
        AXL_REQUIRE(!axl_row_select_needed(&specs[e]), AXL_E_CONFIG,
                    "%s: a stream takes all records of its files: remove the slice of split and "
                    "shards; skip leaves out the first records",
                    specs[e].place);
    }
    set_limits(s);
    AXL_REQUIRE(s->feed.max_tokens <= INT32_MAX, AXL_E_CONFIG,
                "a micro-batch may have %lld tokens, more than 2^31 - 1; lower sequence_len or "
                "micro_batch_size",
                (long long)s->feed.max_tokens);
    AXL_TRY(axl_encoder_take(&s->sources.specs[0], s->data, s->tokenizer,
                             &s->encoder)); // a type that is not known is found before the run
    axl_hash_init(&h, HASH_VERSION);
    AXL_TRY(list_files(s, &h));
    hash_options(s, &h);
    s->feed.hash = axl_hash_value(&h);
    *out = &s->feed;
    s = NULL;

out:
    if (s != NULL)
        stream_destroy(&s->feed);
    return status;
}

axl_status axl_data_stream_first(axl_feed *feed, const axl_prepared **out)
{
    axl_status status = AXL_OK;
    data_stream *s = (data_stream *)feed;

    AXL_TRY(stream_go(feed, &(axl_data_place){0}));
    do
        AXL_TRY(take_chunk(s));
    while (s->present->samples.n == 0);
    *out = &s->present->set;

out:
    return status;
}
