// The file: header, infos, ids, labels, entry and name of each source file. The header repeats every size, so that a
// cut or foreign file is found before anything in it is used.
#include "src/data/prepared.h"

#include "src/base/hash.h"
#include "src/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC   0x3173646c7861ull // "axlds1"
#define VERSION 3

typedef struct prepared_header {
    uint64_t magic, version, key;
    int64_t n, n_tokens, n_trained, max_length, n_files, names_bytes;
    axl_prepare_counts counts;
    uint64_t payload_hash, header_hash; // header_hash: of all before it
} prepared_header;
_Static_assert(sizeof(prepared_header) == 19 * sizeof(int64_t), "the header has no holes");
_Static_assert(sizeof(axl_sample_info) == 32, "the infos have no holes");

axl_status axl_prepared_path(const axl_data_options *options, uint64_t key, axl_str *out)
{
    return axl_str_printf(
        out, "%s/%016" PRIx64 ".axl",
        options->prepared_path != NULL ? options->prepared_path : "last_run_prepared", key);
}

typedef struct writer {
    int fd;
    const char *path;
    axl_hash hash;
} writer;

static axl_status write_bytes(writer *w, const void *bytes, size_t n)
{
    axl_status status = AXL_OK;
    const char *p = bytes;

    axl_hash_update(&w->hash, bytes, n);
    while (n > 0) {
        ssize_t put = write(w->fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        AXL_REQUIRE(put > 0, AXL_E_IO, "%s: cannot be written: %s", w->path, strerror(errno));
        p += put;
        n -= (size_t)put;
    }

out:
    return status;
}

static axl_status make_folder_of(const char *path)
{
    axl_status status = AXL_OK;
    const char *slash = strrchr(path, '/');
    axl_str folder = {0};

    if (slash != NULL && slash != path) {
        AXL_TRY(axl_str_append(&folder, path, (size_t)(slash - path)));
        AXL_TRY(axl_dir_make(folder.data));
    }

out:
    axl_str_fini(&folder);
    return status;
}

static void fill_header(prepared_header *h, const axl_samples *s)
{
    h->magic = MAGIC;
    h->version = VERSION;
    h->n = s->n;
    h->n_tokens = s->n == 0 ? 0 : s->info[s->n - 1].end;
    for (int64_t i = 0; i < s->n; i++) {
        int64_t len = axl_samples_length(s, i);
        h->n_trained += s->info[i].trained;
        h->max_length = len > h->max_length ? len : h->max_length;
    }
}

static axl_status write_all(writer *w, prepared_header *h, const axl_samples *s,
                            const axl_str *names)
{
    axl_status status = AXL_OK;
    size_t token_bytes = (size_t)h->n_tokens * sizeof *s->ids;

    AXL_TRY(write_bytes(w, h, sizeof *h));
    axl_hash_init(&w->hash, h->key); // the payload alone
    AXL_TRY(write_bytes(w, s->info, (size_t)s->n * sizeof *s->info));
    AXL_TRY(write_bytes(w, s->ids, token_bytes));
    AXL_TRY(write_bytes(w, s->labels, token_bytes));
    AXL_TRY(write_bytes(w, names->data, names->len));
    h->payload_hash = axl_hash_value(&w->hash);
    h->header_hash = axl_hash64(h, offsetof(prepared_header, header_hash), 0);
    AXL_REQUIRE(lseek(w->fd, 0, SEEK_SET) == 0, AXL_E_IO, "%s: %s", w->path, strerror(errno));
    AXL_TRY(write_bytes(w, h, sizeof *h));
    AXL_REQUIRE(fsync(w->fd) == 0, AXL_E_IO, "%s: cannot be written: %s", w->path, strerror(errno));

out:
    return status;
}

axl_status axl_prepared_write(const char *path, uint64_t key, const axl_samples *samples,
                              const axl_prepared_file *files, int64_t n_files,
                              const axl_prepare_counts *counts)
{
    axl_status status = AXL_OK;
    prepared_header h = {.key = key, .n_files = n_files, .counts = *counts};
    axl_str names = {0}, temporary = {0};
    writer w = {.fd = -1, .path = path};

    fill_header(&h, samples);
    for (int64_t i = 0; i < n_files; i++) {
        AXL_TRY(axl_str_append(&names, &files[i].entry, sizeof files[i].entry));
        AXL_TRY(axl_str_append(&names, files[i].path, strlen(files[i].path) + 1));
    }
    h.names_bytes = (int64_t)names.len;
    AXL_TRY(make_folder_of(path));
    AXL_TRY(axl_temporary_name(path, &temporary));
    axl_hash_init(&w.hash, key);
    w.fd = open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    AXL_REQUIRE(w.fd >= 0, AXL_E_IO,
                "%s: cannot be written: %s; set dataset_prepared_path to a "
                "folder that can",
                temporary.data, strerror(errno));
    AXL_TRY(write_all(&w, &h, samples, &names));
    AXL_REQUIRE(rename(temporary.data, path) == 0, AXL_E_IO, "%s: cannot be written: %s", path,
                strerror(errno));

out:
    if (w.fd >= 0)
        (void)close(w.fd);
    if (status != AXL_OK && w.fd >= 0)
        (void)unlink(temporary.data);
    axl_str_fini(&names);
    axl_str_fini(&temporary);
    return status;
}

// The sizes of the header against the file. The products cannot overflow: each count is first checked
// against the bytes there are.
static bool sizes_fit(const prepared_header *h, size_t file_bytes)
{
    int64_t left = (int64_t)(file_bytes - sizeof *h);

    if (h->n < 0 || h->n_tokens < 0 || h->names_bytes < 0 || h->n_files < 0 || h->n > left ||
        h->n_tokens > left || h->names_bytes > left || h->n_files > left)
        return false;
    return h->n * (int64_t)sizeof(axl_sample_info) + h->n_tokens * 8 + h->names_bytes == left;
}

static axl_status check_header(const prepared_header *h, const axl_prepared *p, uint64_t key,
                               bool verify)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(h->magic == MAGIC && h->version == VERSION, AXL_E_INPUT,
                "%s: is not a prepared data set of this program", p->path);
    AXL_REQUIRE(h->header_hash == axl_hash64(h, offsetof(prepared_header, header_hash), 0) &&
                    sizes_fit(h, p->mapping.size),
                AXL_E_INPUT, "%s: the prepared data set is damaged; remove it", p->path);
    AXL_REQUIRE(h->key == key, AXL_E_INPUT, "%s: holds other data than its name says; remove it",
                p->path);
    AXL_REQUIRE(!verify || axl_hash64(p->mapping.data + sizeof *h, p->mapping.size - sizeof *h,
                                      key) == h->payload_hash,
                AXL_E_INPUT, "%s: the prepared data set is damaged (checksum); remove it", p->path);

out:
    return status;
}

static axl_status read_names(axl_prepared *p, const char *names, size_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_calloc((size_t)p->n_files, sizeof *p->files, "file names", &p->files));
    for (int64_t i = 0; i < p->n_files; i++) {
        const size_t head = sizeof p->files[i].entry;
        const char *end = n > head ? memchr(names + head, '\0', n - head) : NULL;
        AXL_REQUIRE(end != NULL, AXL_E_INPUT, "%s: the prepared data set is damaged; remove it",
                    p->path);
        memcpy(&p->files[i].entry, names, head);
        p->files[i].path = names + head;
        n -= (size_t)(end + 1 - names);
        names = end + 1;
    }

out:
    return status;
}

axl_status axl_prepared_open(const char *path, uint64_t key, bool verify, axl_prepared **out)
{
    axl_status status = AXL_OK;
    axl_prepared *p = NULL;
    prepared_header h;

    AXL_TRY(axl_calloc(1, sizeof *p, "prepared data set", &p));
    AXL_TRY(axl_strdup(path, &p->path));
    AXL_TRY(axl_file_map(path, &p->mapping));
    AXL_REQUIRE(p->mapping.size >= sizeof h, AXL_E_INPUT,
                "%s: the prepared data set is cut short; remove it", path);
    memcpy(&h, p->mapping.data, sizeof h);
    AXL_TRY(check_header(&h, p, key, verify));
    p->n = h.n;
    p->n_tokens = h.n_tokens;
    p->n_trained = h.n_trained;
    p->max_length = h.max_length;
    p->n_files = h.n_files;
    p->counts = h.counts;
    p->key = key;
    // the mapping is page aligned and the parts before the ids are multiples of 8 bytes
    p->info = (const void *)(p->mapping.data + sizeof h);
    p->ids = (const void *)(p->info + p->n);
    p->labels = p->ids + p->n_tokens;
    AXL_TRY(read_names(p, (const char *)(p->labels + p->n_tokens), (size_t)h.names_bytes));
    *out = p;
    p = NULL;

out:
    axl_prepared_close(p);
    return status;
}

void axl_prepared_close(axl_prepared *p)
{
    if (p == NULL)
        return;
    axl_file_unmap(&p->mapping);
    free(p->files);
    free(p->path);
    free(p);
}

// Lengths in buckets that double; each bar is a share of the samples.
static axl_status put_histogram(const axl_prepared *p, axl_str *out)
{
    axl_status status = AXL_OK;
    int64_t count[40] = {0};
    static const char bar[] = "########################################";

    for (int64_t i = 0; i < p->n; i++) {
        int b = 0;
        for (int64_t len = axl_prepared_length(p, i); len > 32; len = (len + 1) / 2)
            b++;
        count[b]++;
    }
    for (int b = 0; b < 40; b++) {
        if (count[b] == 0)
            continue;
        int stars = (int)((count[b] * 40 + p->n - 1) / p->n);
        AXL_TRY(axl_str_printf(out, "  up to %8lld tokens: %9lld %.*s\n", 32ll << b,
                               (long long)count[b], stars, bar));
    }

out:
    return status;
}

axl_status axl_prepared_summary(const axl_prepared *p, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_prepare_counts *c = &p->counts;
    const struct {
        int64_t n;
        const char *text;
    } parts[] = {{c->bad, "malformed rows skipped"},
                 {c->too_short, "samples dropped: shorter than min_sample_len"},
                 {c->too_long, "samples dropped: longer than sequence_len"},
                 {c->truncated, "samples cut to sequence_len"},
                 {c->untrained, "samples dropped: no token is trained"},
                 {c->duplicates, "samples dropped: duplicates"},
                 {c->lost_turns, "turns not trained: their tokens were not found in the text"}};

    AXL_TRY(axl_str_printf(
        out, "%lld rows gave %lld samples, %lld tokens, %lld trained (%.1f %%)\n",
        (long long)c->rows, (long long)p->n, (long long)p->n_tokens, (long long)p->n_trained,
        100.0 * (double)p->n_trained / (double)(p->n_tokens + !p->n_tokens)));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].n > 0)
            AXL_TRY(axl_str_printf(out, "  %lld %s\n", (long long)parts[i].n, parts[i].text));
    }
    AXL_TRY(put_histogram(p, out));

out:
    return status;
}
