// Pieces are handed out by a counter; the list of their hashes, 8 bytes for 4 MiB, is all that grows with the file.
#include "src/io/tree_hash.h"

#include "src/base/hash.h"
#include "src/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES ((int64_t)4 << 20)
#define READ_BYTES  ((size_t)1 << 18)
#define MAX_THREADS 64

typedef struct hashing {
    int fd;
    int64_t from, size, n_pieces; // bytes [from, size) are hashed
    atomic_int_fast64_t next, done;
    atomic_int error;
    uint64_t *piece; // [n_pieces], owned
    const axl_tree_hash_options *options;
} hashing;

// Hashes piece i through the buffer; errno's value on failure, EIO when the file was cut meanwhile.
static int hash_piece(hashing *h, int64_t i, unsigned char *buffer)
{
    int64_t at = h->from + i * PIECE_BYTES, end = at + PIECE_BYTES;
    axl_hash hash;

    end = end < h->size ? end : h->size;
    axl_hash_init(&hash, 0);
    while (at < end) {
        size_t want = end - at < (int64_t)READ_BYTES ? (size_t)(end - at) : READ_BYTES;
        ssize_t got = pread(h->fd, buffer, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO;
        axl_hash_update(&hash, buffer, (size_t)got);
        at += got;
    }
    h->piece[i] = axl_hash_value(&hash);
    return 0;
}

static void run(hashing *h, bool asks)
{
    unsigned char *buffer = malloc(READ_BYTES);

    if (buffer == NULL)
        atomic_store(&h->error, ENOMEM);
    while (buffer != NULL && atomic_load(&h->error) == 0) {
        int64_t i = atomic_fetch_add(&h->next, 1);
        if (i >= h->n_pieces)
            break;
        int error = hash_piece(h, i, buffer);
        if (error != 0)
            atomic_store(&h->error, error);
        int64_t done = atomic_fetch_add(&h->done, 1) + 1;
        if (asks && h->options->progress != NULL)
            h->options->progress(h->options->context, done * PIECE_BYTES);
    }
    free(buffer);
}

static void *work(void *arg)
{
    run(arg, false);
    return NULL;
}

axl_status axl_tree_hash_fd(int fd, int64_t from, const char *name,
                            const axl_tree_hash_options *options, uint64_t *out)
{
    axl_status status = AXL_OK;
    pthread_t threads[MAX_THREADS];
    int started = 1;
    struct stat info;
    hashing h = {.fd = fd, .from = from, .options = options};

    AXL_REQUIRE(fstat(fd, &info) == 0 && S_ISREG(info.st_mode), AXL_E_INPUT,
                "%s: is not a plain file", name);
    h.size = (int64_t)info.st_size;
    AXL_REQUIRE(h.size >= from, AXL_E_INPUT, "%s: is cut short", name);
    h.n_pieces = (h.size - from + PIECE_BYTES - 1) / PIECE_BYTES;
    AXL_TRY(axl_calloc((size_t)h.n_pieces, sizeof *h.piece, "hashes of a file", &h.piece));
    while (started < options->n_threads && started < MAX_THREADS && started < h.n_pieces &&
           pthread_create(&threads[started], NULL, work, &h) == 0)
        started++; // fewer do as well
    run(&h, true);
    for (int i = 1; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    int error = atomic_load(&h.error);
    AXL_REQUIRE(error == 0, AXL_E_INPUT, "%s: cannot be read: %s", name, strerror(error));
    *out = axl_hash64(h.piece, (size_t)h.n_pieces * sizeof *h.piece, (uint64_t)(h.size - from));

out:
    free(h.piece);
    return status;
}

axl_status axl_tree_hash_file(const char *path, const axl_tree_hash_options *options,
                              int64_t *n_bytes, uint64_t *out)
{
    axl_status status = AXL_OK;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    AXL_REQUIRE(fd >= 0 && fstat(fd, &info) == 0, AXL_E_INPUT, "%s: cannot be read: %s", path,
                strerror(errno));
    AXL_TRY(axl_tree_hash_fd(fd, 0, path, options, out));
    *n_bytes = (int64_t)info.st_size;

out:
    if (fd >= 0)
        (void)close(fd);
    return status;
}
