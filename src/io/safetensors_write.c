// Writing safetensors. The hard part is the order of tensors: it has to be that of the safetensors
// library, so that a model that was read and written back is the same file to the byte.
#include "src/io/safetensors.h"

#include "src/base/mem.h"
#include "src/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SHORT_RUN_BYTES ((size_t)4096)     // longer runs are written as fast by system calls
#define WINDOW_BYTES    ((size_t)64 << 20) // of a file mapped at a time

// The library sorts by its own list of dtypes, from last to first; then by the bytes of the name.
static int dtype_rank(axl_dtype dtype)
{
    static const int rank[AXL_N_DTYPES] = {
        [AXL_I64] = 0,  [AXL_F64] = 1,     [AXL_F32] = 2, [AXL_I32] = 3,
        [AXL_BF16] = 4, [AXL_F16] = 5,     [AXL_I16] = 6, [AXL_F8_E4M3] = 7,
        [AXL_I8] = 9,   [AXL_F8_E5M2] = 8, [AXL_U8] = 10, [AXL_BOOL] = 11,
    };
    return rank[dtype];
}

static int compare_spec(const void *a, const void *b, void *context)
{
    const axl_tensor_spec *specs = context;
    const axl_tensor_spec *x = &specs[*(const int64_t *)a], *y = &specs[*(const int64_t *)b];
    int order = dtype_rank(x->dtype) - dtype_rank(y->dtype);
    return order != 0 ? order : strcmp(x->name, y->name);
}

static axl_status put_metadata(axl_json *metadata, axl_str *out)
{
    axl_status status = AXL_OK;
    void *it = NULL;
    const char *key;
    axl_json *v;
    bool first = true;

    if (metadata == NULL) {
        AXL_TRY(axl_str_puts(out, "{\"__metadata__\":{\"format\":\"pt\"}"));
        goto out;
    }
    AXL_TRY(axl_str_puts(out, "{\"__metadata__\":{"));
    while (axl_json_next(metadata, &it, &key, &v)) {
        AXL_REQUIRE(axl_json_is(v, AXL_JSON_STRING), AXL_E_BUG,
                    "metadata %s of a safetensors file is not a string", key);
        if (!first)
            AXL_TRY(axl_str_putc(out, ','));
        first = false;
        AXL_TRY(axl_str_put_json(out, key, strlen(key)));
        AXL_TRY(axl_str_putc(out, ':'));
        AXL_TRY(axl_str_put_json(out, axl_json_string(v, ""), axl_json_string_length(v)));
    }
    AXL_TRY(axl_str_putc(out, '}'));
out:
    return status;
}

static axl_status put_tensor(const axl_tensor_spec *spec, size_t begin, size_t bytes, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_putc(out, ','));
    AXL_TRY(axl_str_put_json(out, spec->name, strlen(spec->name)));
    AXL_TRY(axl_str_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", axl_dtype_name(spec->dtype)));
    for (int d = 0; d < spec->n_dims; d++)
        AXL_TRY(axl_str_printf(out, "%s%lld", d > 0 ? "," : "", (long long)spec->dims[d]));
    AXL_TRY(axl_str_printf(out, "],\"data_offsets\":[%zu,%zu]}", begin, begin + bytes));
out:
    return status;
}

axl_status axl_safetensors_plan_make(const axl_tensor_spec *specs, int64_t n, axl_json *metadata,
                                     axl_safetensors_plan *plan)
{
    axl_status status = AXL_OK;
    axl_safetensors_plan p = {.n = n};
    int64_t *order = NULL; // [n]
    union {
        const axl_tensor_spec *in;
        void *out;
    } context = {.in = specs}; // qsort_r wants a pointer without const

    AXL_TRY(axl_calloc((size_t)n, sizeof *order, "a file plan", &order));
    AXL_TRY(axl_calloc((size_t)n, sizeof *p.offset, "a file plan", &p.offset));
    AXL_TRY(axl_calloc((size_t)n, sizeof *p.bytes, "a file plan", &p.bytes));
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    if (n > 0)
        qsort_r(order, (size_t)n, sizeof *order, compare_spec, context.out);
    AXL_TRY(axl_str_append(&p.header, "\0\0\0\0\0\0\0", 8));
    AXL_TRY(put_metadata(metadata, &p.header));
    for (int64_t k = 0; k < n; k++) {
        const axl_tensor_spec *spec = &specs[order[k]];
        int64_t count = axl_tensor_count(spec);
        AXL_REQUIRE(count >= 0, AXL_E_BUG, "tensor %s: its shape is too large to write",
                    spec->name);
        AXL_REQUIRE(k == 0 || strcmp(specs[order[k - 1]].name, spec->name) != 0, AXL_E_INPUT,
                    "tensor %s would be written twice", spec->name);
        p.bytes[order[k]] = (size_t)count * axl_dtype_size(spec->dtype);
        p.offset[order[k]] = p.total;
        AXL_TRY(put_tensor(spec, p.total, p.bytes[order[k]], &p.header));
        p.total += p.bytes[order[k]];
    }
    AXL_TRY(axl_str_putc(&p.header, '}'));
    while (p.header.len % 8 != 0)
        AXL_TRY(axl_str_putc(&p.header, ' '));
    for (int i = 0; i < 8; i++)
        p.header.data[i] = (char)(((p.header.len - 8) >> (8 * i)) & 0xff);
    for (int64_t i = 0; i < n; i++)
        p.offset[i] += p.header.len;
    p.total += p.header.len;
    *plan = p;
    p = (axl_safetensors_plan){0}; // handed to the caller
out:
    free(order);
    axl_safetensors_plan_fini(&p);
    return status;
}

void axl_safetensors_plan_fini(axl_safetensors_plan *plan)
{
    axl_str_fini(&plan->header);
    free(plan->offset);
    free(plan->bytes);
    *plan = (axl_safetensors_plan){0};
}

struct axl_safetensors_writer {
    const axl_safetensors_plan *plan; // borrowed
    char *path;                       // owned; the final name
    char *temporary;                  // owned; the name while writing
    int fd;
    bool first;    // this writer made the file and is to publish or remove it
    bool mappable; // parts may be written through a shared mapping; see may_map
};

// Writes all of bytes at an offset of the file.
static axl_status write_at(axl_safetensors_writer *w, size_t offset, const void *bytes, size_t n)
{
    axl_status status = AXL_OK;
    const char *p = bytes;

    while (n > 0) {
        ssize_t k = pwrite(w->fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            AXL_TRY(axl_write_failed(w->path));
        p += k;
        offset += (size_t)k;
        n -= (size_t)k;
    }
out:
    return status;
}

// Gives the new file its full size, so that a disk too small is known before the first tensor.
static axl_status take_space(axl_safetensors_writer *w)
{
    axl_status status = AXL_OK;
    off_t size = (off_t)w->plan->total;

    if (fallocate(w->fd, 0, 0, size) == 0)
        goto out;
    AXL_REQUIRE(errno != ENOSPC && errno != EFBIG && errno != EDQUOT, AXL_E_IO,
                "%s: cannot be written (%zu bytes): %s%s", w->path, w->plan->total, strerror(errno),
                axl_write_hint(errno));
    // not every file system can take space ahead; there the writes themselves will tell
    if (ftruncate(w->fd, size) != 0)
        AXL_TRY(axl_write_failed(w->path));
out:
    return status;
}

// Whether stores into a mapping are as safe as writes. Ranks store to different bytes of the same page:
// the page must be one and the same for all of them, so they are on this machine (a network file system
// would send whole pages back, with the neighbours' bytes as they were). And the space must be taken, for
// a store into a full disk is a signal and not an error.
static bool may_map(const axl_safetensors_writer *w)
{
    struct statfs system;
    struct stat info;

    return fstatfs(w->fd, &system) == 0 && fstat(w->fd, &info) == 0 &&
           (system.f_type == EXT4_SUPER_MAGIC || system.f_type == XFS_SUPER_MAGIC ||
            system.f_type == TMPFS_MAGIC) &&
           (size_t)info.st_blocks * 512 >= w->plan->total && (size_t)info.st_size == w->plan->total;
}

axl_status axl_safetensors_writer_open(const char *path, const axl_safetensors_plan *plan,
                                       bool first, axl_safetensors_writer **out)
{
    axl_status status = AXL_OK;
    axl_safetensors_writer *w = NULL;
    axl_str temporary = {0};

    AXL_TRY(axl_calloc(1, sizeof *w, "a safetensors writer", &w));
    w->fd = -1;
    w->plan = plan;
    AXL_TRY(axl_strdup(path, &w->path));
    AXL_TRY(axl_str_printf(&temporary, "%s.tmp", path));
    AXL_TRY(axl_strdup(temporary.data, &w->temporary));
    w->fd = open(w->temporary, O_RDWR | O_CLOEXEC | (first ? O_CREAT | O_TRUNC : 0), 0666);
    if (w->fd < 0)
        AXL_TRY(axl_write_failed(w->path));
    w->first = first;
    if (first) {
        AXL_TRY(take_space(w));
        AXL_TRY(write_at(w, 0, plan->header.data, plan->header.len));
    }
    w->mappable = may_map(w);
    *out = w;
    w = NULL; // handed to the caller
out:
    axl_str_fini(&temporary);
    axl_safetensors_writer_destroy(w);
    return status;
}

// Copies runs into mapped windows of the file: short runs would spend their time in system calls.
static axl_status write_mapped(axl_safetensors_writer *w, size_t at, const axl_runs *runs,
                               const char *src)
{
    axl_status status = AXL_OK;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int64_t n_window =
        runs->stride < WINDOW_BYTES ? (int64_t)(WINDOW_BYTES / runs->stride) : 1;

    for (int64_t k = 0; k < runs->n; k += n_window) {
        const int64_t n = runs->n - k < n_window ? runs->n - k : n_window;
        const size_t first = at + (size_t)k * runs->stride, begin = first - first % page;
        const size_t size = first - begin + (size_t)(n - 1) * runs->stride + runs->bytes;
        char *window = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, (off_t)begin);
        AXL_REQUIRE(window != MAP_FAILED, AXL_E_IO, "%s: cannot be mapped: %s", w->temporary,
                    strerror(errno));
        for (int64_t r = 0; r < n; r++)
            memcpy(window + (first - begin) + (size_t)r * runs->stride,
                   src + (size_t)(k + r) * runs->src_stride, runs->bytes);
        (void)munmap(window, size);
    }
out:
    return status;
}

axl_status axl_safetensors_write_runs(axl_safetensors_writer *w, int64_t i, const axl_runs *runs,
                                      const void *src)
{
    axl_status status = AXL_OK;
    const char *from = src;

    AXL_ASSERT(i >= 0 && i < w->plan->n);
    if (runs->n == 0 || runs->bytes == 0)
        goto out;
    AXL_ASSERT(runs->bytes <= w->plan->bytes[i] &&
               runs->at + (size_t)(runs->n - 1) * runs->stride <= w->plan->bytes[i] - runs->bytes);
    const size_t at = w->plan->offset[i] + runs->at;
    if (w->mappable && runs->n > 1 && runs->bytes <= SHORT_RUN_BYTES) {
        AXL_TRY(write_mapped(w, at, runs, from));
        goto out;
    }
    for (int64_t k = 0; k < runs->n; k++)
        AXL_TRY(write_at(w, at + (size_t)k * runs->stride, from + (size_t)k * runs->src_stride,
                         runs->bytes));
out:
    return status;
}

axl_status axl_safetensors_writer_flush(axl_safetensors_writer *w)
{
    axl_status status = AXL_OK;

    if (fsync(w->fd) != 0)
        AXL_TRY(axl_write_failed(w->path));
out:
    return status;
}

axl_status axl_safetensors_writer_publish(axl_safetensors_writer *w)
{
    axl_status status = AXL_OK;

    AXL_ASSERT(w->first);
    int closed = close(w->fd);
    w->fd = -1;
    if (closed != 0)
        AXL_TRY(axl_write_failed(w->path));
    AXL_REQUIRE(rename(w->temporary, w->path) == 0, AXL_E_IO, "%s: cannot be replaced: %s", w->path,
                strerror(errno));
    w->first = false; // nothing is left to remove
out:
    return status;
}

void axl_safetensors_writer_destroy(axl_safetensors_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0)
        (void)close(w->fd);
    if (w->first)
        (void)unlink(w->temporary);
    free(w->path);
    free(w->temporary);
    free(w);
}
