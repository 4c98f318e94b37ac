// Reading a prepared set. Nothing of the file is believed before its sizes fit; the checksum is made from bytes that are
// read, not mapped, so that checking a large set takes no memory.
#include "src/data/prepared.h"

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/data/prepared_layout.h"
#include "src/io/tree_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERIFY_THREADS 4

axl_status axl_prepared_path(const axl_data_options *options, uint64_t key, axl_str *out)
{
    return axl_str_printf(
        out, "%s/%016" PRIx64 ".axl",
        options->prepared_path != NULL ? options->prepared_path : "last_run_prepared", key);
}

void axl_prepare_counts_add(axl_prepare_counts *a, const axl_prepare_counts *b)
{
    a->rows += b->rows;
    a->bad += b->bad;
    a->too_short += b->too_short;
    a->too_long += b->too_long;
    a->truncated += b->truncated;
    a->untrained += b->untrained;
    a->duplicates += b->duplicates;
    a->lost_turns += b->lost_turns;
}

// The sizes of the header against the file. The products cannot overflow: each count is first checked
// against the bytes there are.
static bool sizes_fit(const axl_prepared_header *h, size_t file_bytes)
{
    int64_t left = (int64_t)(file_bytes - sizeof *h);

    if (h->n < 0 || h->n_tokens < 0 || h->names_bytes < 0 || h->n_files < 0 || h->n > left ||
        h->n_tokens > left || h->names_bytes > left || h->n_files > left || h->n_entries < 0 ||
        h->n_entries > left)
        return false;
    return h->n_tokens * 8 + h->n * (int64_t)sizeof(axl_sample_info) +
               h->n_entries * (int64_t)sizeof(axl_prepare_counts) + h->names_bytes ==
           left;
}

static axl_status check_payload(const axl_prepared_header *h, const char *path)
{
    axl_status status = AXL_OK;
    const axl_tree_hash_options o = {.n_threads = VERIFY_THREADS};
    uint64_t hash = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    AXL_REQUIRE(fd >= 0, AXL_E_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    AXL_TRY(axl_tree_hash_fd(fd, (int64_t)sizeof *h, path, &o, &hash));
    AXL_REQUIRE(hash == h->payload_hash, AXL_E_INPUT,
                "%s: the prepared data set is damaged (checksum); remove it", path);

out:
    if (fd >= 0)
        (void)close(fd);
    return status;
}

static axl_status check_header(const axl_prepared_header *h, const axl_prepared *p, uint64_t key,
                               bool verify)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(h->magic == AXL_PREPARED_MAGIC && h->version == AXL_PREPARED_VERSION, AXL_E_INPUT,
                "%s: is not a prepared data set of this program", p->path);
    AXL_REQUIRE(h->header_hash == axl_hash64(h, offsetof(axl_prepared_header, header_hash), 0) &&
                    sizes_fit(h, p->mapping.size),
                AXL_E_INPUT, "%s: the prepared data set is damaged; remove it", p->path);
    AXL_REQUIRE(h->key == key, AXL_E_INPUT, "%s: holds other data than its name says; remove it",
                p->path);
    if (verify)
        AXL_TRY(check_payload(h, p->path));

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
    axl_prepared_header h;

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
    p->n_entries = h.n_entries;
    p->key = key;
    // the mapping is page aligned and every part before the names is a multiple of 8 bytes
    p->ids = (const void *)(p->mapping.data + sizeof h);
    p->labels = p->ids + p->n_tokens;
    p->info = (const void *)(p->labels + p->n_tokens);
    p->entries = (const void *)(p->info + p->n);
    AXL_TRY(read_names(p, (const char *)(p->entries + p->n_entries), (size_t)h.names_bytes));
    for (int64_t e = 0; e < p->n_entries; e++)
        axl_prepare_counts_add(&p->counts, &p->entries[e]);
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

void axl_prepared_release(const axl_prepared *p, int64_t from, int64_t to)
{
    if (from >= to)
        return;
    int64_t at = axl_prepared_begin(p, from), end = p->info[to - 1].end;
    size_t bytes = (size_t)(end - at) * sizeof *p->ids;

    axl_mapping_release(&p->mapping, p->ids + at, bytes);
    axl_mapping_release(&p->mapping, p->labels + at, bytes);
    axl_mapping_release(&p->mapping, p->info + from, (size_t)(to - from) * sizeof *p->info);
}
