// Whole files. A write goes to a temporary name first and is renamed when it is on the disk, so a
// crash or a full disk leaves the old file as it was.
#include "src/io/file.h"

#include "src/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

axl_status axl_file_read(const char *path, axl_str *out)
{
    axl_status status = AXL_OK;
    struct stat info;
    char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    AXL_REQUIRE(fd >= 0, AXL_E_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    AXL_REQUIRE(fstat(fd, &info) == 0 && !S_ISDIR(info.st_mode), AXL_E_INPUT,
                "%s: is a directory, a file is needed", path);
    AXL_TRY(axl_grow(&out->data, &out->capacity, out->len + (size_t)info.st_size + 1, 1, path));
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        AXL_REQUIRE(n >= 0, AXL_E_INPUT, "%s: cannot be read: %s", path, strerror(errno));
        if (n == 0)
            break;
        AXL_TRY(axl_str_append(out, buffer, (size_t)n));
    }
    AXL_TRY(axl_str_append(out, "", 0)); // an empty file still gives a terminated string
out:
    if (fd >= 0)
        (void)close(fd);
    return status;
}

const char *axl_write_hint(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return "; free space there, or choose another folder";
    case EFBIG:
        return "; the limit on the size of files (ulimit -f) is too low";
    default:
        return "";
    }
}

axl_status axl_write_failed(const char *path)
{
    return axl_error_set(AXL_E_IO, __FILE__, __LINE__, "%s: cannot be written: %s%s", path,
                         strerror(errno), axl_write_hint(errno));
}

axl_status axl_file_write(const char *path, const void *bytes, size_t n)
{
    axl_status status = AXL_OK;
    axl_str temporary = {0};
    const char *p = bytes;
    int fd = -1;

    AXL_TRY(axl_str_printf(&temporary, "%s.tmp", path));
    fd = open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        AXL_TRY(axl_write_failed(path));
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            AXL_TRY(axl_write_failed(path));
        p += k;
        n -= (size_t)k;
    }
    if (fsync(fd) != 0)
        AXL_TRY(axl_write_failed(path));
    int closed = close(fd);
    fd = -1;
    if (closed != 0)
        AXL_TRY(axl_write_failed(path));
    AXL_REQUIRE(rename(temporary.data, path) == 0, AXL_E_IO, "%s: cannot be replaced: %s", path,
                strerror(errno));
out:
    if (fd >= 0)
        (void)close(fd);
    if (status != AXL_OK && temporary.data != NULL)
        (void)unlink(temporary.data);
    axl_str_fini(&temporary);
    return status;
}

axl_status axl_print(const axl_str *text)
{
    if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0)
        return axl_write_failed("standard output");
    return AXL_OK;
}

axl_status axl_temporary_name(const char *path, axl_str *out)
{
    char host[64] = "";

    (void)gethostname(host, sizeof host - 1);
    return axl_str_printf(out, "%s.%s.%ld.tmp", path, host, (long)getpid());
}

axl_status axl_dir_make(const char *path)
{
    axl_status status = AXL_OK;
    char *copy = NULL;

    AXL_TRY(axl_strdup(path, &copy));
    for (char *p = copy + 1; copy[0] != '\0' && *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        (void)mkdir(copy, 0777); // an existing parent is fine; a real failure shows at the last one
        *p = '/';
    }
    (void)mkdir(copy, 0777);
    AXL_REQUIRE(axl_path_is_dir(path), AXL_E_IO, "%s: cannot be made: %s", path, strerror(errno));
out:
    free(copy);
    return status;
}

bool axl_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool axl_path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool axl_path_is_hub_name(const char *path)
{
    const char *slash = strchr(path, '/');

    return slash != NULL && slash > path && slash[1] != '\0' && path[0] != '.' && path[0] != '~' &&
           strchr(slash + 1, '/') == NULL;
}

axl_status axl_file_bytes(const char *path, int64_t *bytes)
{
    axl_status status = AXL_OK;
    struct stat info;

    AXL_REQUIRE(stat(path, &info) == 0, AXL_E_INPUT, "%s: cannot be read: %s", path,
                strerror(errno));
    *bytes = (int64_t)info.st_size;
out:
    return status;
}

axl_status axl_path_sync(const char *path)
{
    axl_status status = AXL_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    AXL_REQUIRE(fd >= 0, AXL_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
    // some file systems cannot sync a directory (EINVAL); there the rename is all one can have
    AXL_REQUIRE(fsync(fd) == 0 || errno == EINVAL, AXL_E_IO, "%s: cannot be synced: %s", path,
                strerror(errno));
out:
    if (fd >= 0)
        (void)close(fd);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

axl_status axl_path_remove(const char *path)
{
    axl_status status = AXL_OK;

    if (!axl_path_exists(path))
        goto out;
    AXL_REQUIRE(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, AXL_E_IO,
                "%s: cannot be removed: %s", path, strerror(errno));
out:
    return status;
}

axl_status axl_file_map(const char *path, axl_mapping *out)
{
    axl_status status = AXL_OK;
    struct stat info;
    void *p = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    AXL_REQUIRE(fd >= 0, AXL_E_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    AXL_REQUIRE(fstat(fd, &info) == 0 && S_ISREG(info.st_mode), AXL_E_INPUT,
                "%s: is not a plain file", path);
    if (info.st_size > 0) {
        p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        AXL_REQUIRE(p != MAP_FAILED, AXL_E_INPUT, "%s: cannot be mapped: %s", path,
                    strerror(errno));
    }
    *out = (axl_mapping){.data = p, .size = (size_t)info.st_size};
out:
    if (fd >= 0)
        (void)close(fd);
    return status;
}

void axl_file_unmap(axl_mapping *m)
{
    union {
        const unsigned char *in;
        void *out;
    } p = {.in = m->data}; // munmap wants a pointer without const

    if (m->data != NULL)
        (void)munmap(p.out, m->size);
    *m = (axl_mapping){0};
}

void axl_mapping_release(const axl_mapping *m, const void *from, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t at = (size_t)((const unsigned char *)from - m->data), end = at + n;
    union {
        const unsigned char *in;
        void *out;
    } p = {.in = m->data}; // madvise wants a pointer without const

    at = at / page * page; // also the page that the part before it has left
    end = end / page * page;
    if (m->data != NULL && at < end)
        (void)madvise((unsigned char *)p.out + at, end - at, MADV_DONTNEED);
}
