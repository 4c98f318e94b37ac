// The lock is what is subtle: it is taken after the file was made, and a sweeper may come between. So the maker looks
// whether the file still has its name once it holds the lock, and otherwise makes another.
#include "src/io/spill.h"

#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)1 << 18)
#define MAX_NAMES    1000 // tries for a free name
#define OLD_SECONDS  86400

struct axl_spill {
    char *target; // owned
    char *path;   // owned; NULL: nameless, or published
    int fd;
    unsigned char *buffer; // [BUFFER_BYTES], owned: the last bytes, not yet in the file
    size_t n_buffer;
    int64_t written; // bytes in the file
};

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

// Locks a file just made. False: a sweeper was faster and it has no name any more.
static bool lock_new(int fd)
{
    struct stat info;

    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno != EWOULDBLOCK; // a file system without locks: it will do without
    return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

static axl_status open_new(axl_spill *s, bool named)
{
    axl_status status = AXL_OK;
    axl_str name = {0}, base = {0};

    for (int k = 0; s->fd < 0 && k < MAX_NAMES; k++) {
        axl_str_clear(&base);
        axl_str_clear(&name);
        AXL_TRY(axl_temporary_name(s->target, &base)); // ends with .tmp
        AXL_TRY(axl_str_printf(&name, "%.*s.%d.tmp", (int)base.len - 4, base.data, k));
        s->fd = open(name.data, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        AXL_REQUIRE(s->fd >= 0 || errno == EEXIST, AXL_E_IO,
                    "%s: cannot be written: %s; set dataset_prepared_path to a folder that can",
                    name.data, strerror(errno));
        if (s->fd >= 0 && named && !lock_new(s->fd)) {
            (void)close(s->fd);
            s->fd = -1;
        }
    }
    AXL_REQUIRE(s->fd >= 0, AXL_E_IO, "%s: no free name for a temporary file beside it", s->target);
    if (named)
        AXL_TRY(axl_strdup(name.data, &s->path));
    else
        (void)unlink(name.data);

out:
    axl_str_fini(&name);
    axl_str_fini(&base);
    return status;
}

axl_status axl_spill_create(const char *target, bool named, axl_spill **out)
{
    axl_status status = AXL_OK;
    axl_spill *s = NULL;

    AXL_TRY(axl_calloc(1, sizeof *s, "temporary file", &s));
    s->fd = -1;
    AXL_TRY(axl_strdup(target, &s->target));
    AXL_TRY(axl_calloc(BUFFER_BYTES, 1, "temporary file", &s->buffer));
    AXL_TRY(make_folder_of(target));
    AXL_TRY(open_new(s, named));
    *out = s;
    s = NULL;

out:
    axl_spill_destroy(s);
    return status;
}

void axl_spill_destroy(axl_spill *s)
{
    if (s == NULL)
        return;
    if (s->path != NULL)
        (void)unlink(s->path);
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s->buffer);
    free(s->path);
    free(s->target);
    free(s);
}

int64_t axl_spill_size(const axl_spill *s)
{
    return s->written + (int64_t)s->n_buffer;
}

// What errno says of a write, and how to mend it. Never AXL_OK.
static axl_status write_failed(const axl_spill *s)
{
    const bool full = errno == ENOSPC || errno == EDQUOT;

    return axl_error_set(
        AXL_E_IO, __FILE__, __LINE__, "%s: cannot be written: %s%s", s->target, strerror(errno),
        full ? "; the set and its temporary files need about 1.5 times its size: free "
               "space there, or set dataset_prepared_path to another folder"
             : axl_write_hint(errno));
}

static axl_status write_at(const axl_spill *s, int64_t at, const void *bytes, size_t n)
{
    axl_status status = AXL_OK;
    const char *p = bytes;

    while (n > 0) {
        ssize_t put = pwrite(s->fd, p, n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            AXL_TRY(write_failed(s));
        p += put;
        at += put;
        n -= (size_t)put;
    }

out:
    return status;
}

static axl_status flush(axl_spill *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(write_at(s, s->written, s->buffer, s->n_buffer));
    s->written += (int64_t)s->n_buffer;
    s->n_buffer = 0;

out:
    return status;
}

axl_status axl_spill_put(axl_spill *s, const void *bytes, size_t n)
{
    axl_status status = AXL_OK;

    if (s->n_buffer + n > BUFFER_BYTES)
        AXL_TRY(flush(s));
    if (n > BUFFER_BYTES) {
        AXL_TRY(write_at(s, s->written, bytes, n));
        s->written += (int64_t)n;
    } else if (n > 0) {
        memcpy(s->buffer + s->n_buffer, bytes, n);
        s->n_buffer += n;
    }

out:
    return status;
}

axl_status axl_spill_read(axl_spill *s, int64_t at, void *bytes, size_t n)
{
    axl_status status = AXL_OK;
    char *p = bytes;

    if (at + (int64_t)n > s->written)
        AXL_TRY(flush(s));
    while (n > 0) {
        ssize_t got = pread(s->fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        AXL_REQUIRE(got > 0, AXL_E_IO, "%s: a temporary file of it cannot be read: %s", s->target,
                    got < 0 ? strerror(errno) : "it was cut");
        p += got;
        at += got;
        n -= (size_t)got;
    }

out:
    return status;
}

axl_status axl_spill_write(axl_spill *s, int64_t at, const void *bytes, size_t n)
{
    axl_status status = AXL_OK;

    AXL_ASSERT(at + (int64_t)n <= axl_spill_size(s));
    if (at + (int64_t)n > s->written)
        AXL_TRY(flush(s));
    AXL_TRY(write_at(s, at, bytes, n));

out:
    return status;
}

axl_status axl_spill_copy(axl_spill *s, int64_t at, axl_spill *from, int64_t from_at, int64_t n)
{
    axl_status status = AXL_OK;
    unsigned char *piece = NULL;

    if (n == 0 || (s == from && at == from_at))
        goto out;
    AXL_ASSERT(at <= axl_spill_size(s) && (s != from || at <= from_at));
    AXL_TRY(flush(s));
    AXL_TRY(axl_calloc(BUFFER_BYTES, 1, "temporary file", &piece));
    while (n > 0) {
        size_t k = n < (int64_t)BUFFER_BYTES ? (size_t)n : BUFFER_BYTES;
        AXL_TRY(axl_spill_read(from, from_at, piece, k));
        AXL_TRY(write_at(s, at, piece, k));
        at += (int64_t)k;
        from_at += (int64_t)k;
        n -= (int64_t)k;
        s->written = at > s->written ? at : s->written;
    }

out:
    free(piece);
    return status;
}

axl_status axl_spill_resize(axl_spill *s, int64_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(flush(s));
    if (ftruncate(s->fd, (off_t)n) != 0)
        AXL_TRY(write_failed(s));
    s->written = n;

out:
    return status;
}

axl_status axl_spill_fd(axl_spill *s, int *fd)
{
    *fd = s->fd;
    return flush(s);
}

axl_status axl_spill_publish(axl_spill *s)
{
    axl_status status = AXL_OK;

    AXL_ASSERT(s->path != NULL);
    AXL_TRY(flush(s));
    if (fsync(s->fd) != 0)
        AXL_TRY(write_failed(s));
    AXL_REQUIRE(rename(s->path, s->target) == 0, AXL_E_IO, "%s: cannot be written: %s", s->target,
                strerror(errno));
    free(s->path);
    s->path = NULL;
    char *slash = strrchr(s->target, '/');
    if (slash != NULL && slash != s->target) { // the name itself must survive a crash too
        *slash = '\0';
        status = axl_path_sync(s->target);
        *slash = '/';
    }

out:
    return status;
}

// Whether nobody writes the file any more. Without locks only age tells.
static bool is_abandoned(int fd)
{
    struct stat info;

    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    return errno != EWOULDBLOCK && fstat(fd, &info) == 0 &&
           info.st_mtime + OLD_SECONDS < time(NULL);
}

void axl_spill_sweep(const char *folder, const char *suffix)
{
    DIR *dir = opendir(folder);
    axl_str path = {0};

    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        size_t n = strlen(e->d_name);
        const char *end = strstr(e->d_name, suffix);
        if (n < 4 || strcmp(e->d_name + n - 4, ".tmp") != 0 || end == NULL ||
            end[strlen(suffix)] != '.')
            continue;
        axl_str_clear(&path);
        if (axl_str_printf(&path, "%s/%s", folder, e->d_name) != AXL_OK)
            break;
        int fd = open(path.data, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (is_abandoned(fd))
            (void)unlink(path.data);
        (void)close(fd);
    }
    if (dir != NULL)
        (void)closedir(dir);
    axl_str_fini(&path);
}
