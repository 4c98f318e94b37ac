// HDF5 behind a small face. The hard part is speed: HDF5's own filter pipeline runs one chunk at a time
// with a copy between filters and needs a selection a call, so chunks are shuffled, compressed and
// summed here and handed over finished (H5Dwrite_chunk). They are what the pipeline would have made, so
// any reader with the zstd filter undoes them.
#include "sharding/h5.h"

#include "sharding/ckpt.h"

#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define CHUNK_BYTES   ((size_t)1 << 20)
#define DECODED_LIMIT ((unsigned long long)1 << 30) // a frame that claims more is broken
#define SUM_BYTES     4                             // of the checksum behind a chunk

// The place of zstd in the pipeline, for the mask of filters that a chunk skips.
#define MASK_ZSTD 2u

// ---- errors

static herr_t keep_innermost(unsigned n, const H5E_error2_t *e, void *text)
{
    (void)n;
    if (e->desc != NULL && e->desc[0] != '\0')
        (void)snprintf(text, 400, "%s", e->desc);
    return 0;
}

axl_status axl_h5_error(axl_status code, const char *where, const char *call)
{
    static const char system_error[] =
        "error message = '"; // "..., errno = 28, error message = 'No space..."
    static const char number[] = "errno = ";
    const char *hint = "";
    char text[400] = "no reason given";
    const char *why = text;

    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, text);
    (void)H5Eclear2(H5E_DEFAULT);
    char *reason = strstr(text, system_error);
    if (reason != NULL) {
        const char *error = strstr(text, number);
        hint = error != NULL ? axl_write_hint(atoi(error + strlen(number))) : "";
        why = reason + strlen(system_error);
        reason[strlen(system_error) + strcspn(why, "'")] = '\0';
    }
    return axl_error_set(code, __FILE__, __LINE__, "%s: %.*s: %s%s", where, (int)strcspn(call, "("),
                         call, why, hint);
}

// ---- the filter

static size_t replace(void **buf, size_t *buf_size, void *made, size_t room, size_t n)
{
    free(*buf);
    *buf = made;
    *buf_size = room;
    return n;
}

// H5Z_func_t: the number of valid bytes, 0 on failure. HDF5 owns *buf and frees it with free().
static size_t zstd_filter(unsigned flags, size_t n_values, const unsigned values[], size_t n,
                          size_t *buf_size, void **buf)
{
    void *made = NULL;

    if ((flags & H5Z_FLAG_REVERSE) != 0) {
        const unsigned long long size = ZSTD_getFrameContentSize(*buf, n);
        if (size == 0 || size > DECODED_LIMIT || (made = malloc((size_t)size)) == NULL)
            return 0;
        const size_t got = ZSTD_decompress(made, (size_t)size, *buf, n);
        if (ZSTD_isError(got) == 0 && got == size)
            return replace(buf, buf_size, made, got, got);
    } else {
        const size_t room = ZSTD_compressBound(n);
        const int level = n_values > 0 ? (int)values[0] : 1;
        if ((made = malloc(room)) == NULL)
            return 0;
        const size_t got = ZSTD_compress(made, room, *buf, n, level);
        if (ZSTD_isError(got) == 0)
            return replace(buf, buf_size, made, room, got);
    }
    free(made);
    return 0;
}

static const H5Z_class2_t zstd_class = {
    .version = H5Z_CLASS_T_VERS,
    .id = AXL_H5_ZSTD,
    .encoder_present = 1,
    .decoder_present = 1,
    .name = "zstd",
    .filter = zstd_filter,
};

axl_status axl_h5_begin(void)
{
    axl_status status = AXL_OK;
    herr_t rc = 0;

    (void)H5dont_atexit(); // of use the first time only; see axl_h5_abandon
    AXL_H5(rc, H5Eset_auto2(H5E_DEFAULT, NULL, NULL), AXL_E_BUG, "HDF5");
    AXL_H5(rc, H5Zregister(&zstd_class), AXL_E_BUG, "HDF5");

out:
    return status;
}

// ---- files and types

static hid_t access_properties(void)
{
    const hid_t list = H5Pcreate(H5P_FILE_ACCESS);

    if (list >= 0) {
        (void)H5Pset_libver_bounds(list, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
        (void)H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
        // A checkpoint is written once and renamed; parallel file systems often have no locks.
        (void)H5Pset_file_locking(list, 0, 1);
    }
    return list;
}

axl_status axl_h5_create(const char *path, hid_t *out)
{
    axl_status status = AXL_OK;
    const hid_t access = access_properties();
    hid_t file = -1;

    AXL_H5(file, H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access), AXL_E_IO, path);
    *out = file;

out:
    (void)H5Pclose(access);
    return status;
}

axl_status axl_h5_open(const char *path, hid_t *out)
{
    axl_status status = AXL_OK;
    const hid_t access = access_properties();
    hid_t file = -1;

    AXL_H5(file, H5Fopen(path, H5F_ACC_RDONLY, access), AXL_E_INPUT, path);
    *out = file;

out:
    (void)H5Pclose(access);
    return status;
}

axl_status axl_h5_close(hid_t file, const char *path)
{
    axl_status status = AXL_OK;
    herr_t rc = 0;

    AXL_H5(rc, H5Fclose(file), AXL_E_IO, path);

out:
    return status;
}

void axl_h5_abandon(const char *path)
{
    if (truncate(path, 0) != 0)
        axl_warn("%s: cannot be emptied: %s", path, strerror(errno));
}

// A little-endian IEEE-like float of 16 bits.
static hid_t half_type(size_t n_exponent, size_t n_mantissa, size_t bias)
{
    const hid_t type = H5Tcopy(H5T_IEEE_F32LE);

    if (type >= 0 && (H5Tset_fields(type, 15, n_mantissa, n_exponent, 0, n_mantissa) < 0 ||
                      H5Tset_ebias(type, bias) < 0 || H5Tset_precision(type, 16) < 0 ||
                      H5Tset_size(type, 2) < 0)) {
        (void)H5Tclose(type);
        return -1;
    }
    return type;
}

hid_t axl_h5_type(axl_dtype dtype)
{
    switch (dtype) {
    case AXL_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case AXL_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case AXL_BF16:
        return half_type(8, 7, 127);
    case AXL_F16:
        return half_type(5, 10, 15);
    case AXL_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case AXL_I32:
        return H5Tcopy(H5T_STD_I32LE);
    case AXL_I16:
        return H5Tcopy(H5T_STD_I16LE);
    case AXL_I8:
        return H5Tcopy(H5T_STD_I8LE);
    default:
        return H5Tcopy(H5T_STD_U8LE);
    }
}

hid_t axl_h5_link_properties(void)
{
    const hid_t list = H5Pcreate(H5P_LINK_CREATE);

    if (list >= 0)
        (void)H5Pset_create_intermediate_group(list, 1);
    return list;
}

// ---- chunks

axl_status axl_h5_packer_init(axl_h5_packer *p, int level)
{
    axl_status status = AXL_OK;

    *p = (axl_h5_packer){.level = level, .packed_bytes = ZSTD_compressBound(CHUNK_BYTES)};
    AXL_TRY(axl_calloc(CHUNK_BYTES, 1, "checkpoint chunks", &p->gathered));
    AXL_TRY(axl_calloc(CHUNK_BYTES + SUM_BYTES, 1, "checkpoint chunks", &p->shuffled));
    AXL_TRY(axl_calloc(p->packed_bytes + SUM_BYTES, 1, "checkpoint chunks", &p->packed));
    p->zstd = ZSTD_createCCtx();
    AXL_REQUIRE(p->zstd != NULL, AXL_E_MEMORY, "no memory to compress a checkpoint");

out:
    return status;
}

void axl_h5_packer_fini(axl_h5_packer *p)
{
    free(p->gathered);
    free(p->shuffled);
    free(p->packed);
    (void)ZSTD_freeCCtx(p->zstd);
    *p = (axl_h5_packer){0};
}

// Byte b of all elements, then byte b + 1: bytes of one significance resemble each other. to holds
// n elements of room; elements from n_real on are zero.
static void shuffle(const void *from, uint8_t *to, int64_t n_real, int64_t n, size_t elem)
{
    const uint8_t *bytes = from;

    for (size_t b = 0; b < elem; b++) {
        uint8_t *plane = to + b * (size_t)n;
        if (elem == 4) {
            const uint32_t *words = from;
            for (int64_t i = 0; i < n_real; i++)
                plane[i] = (uint8_t)(words[i] >> (8 * b));
        } else {
            for (int64_t i = 0; i < n_real; i++)
                plane[i] = bytes[(size_t)i * elem + b];
        }
        memset(plane + n_real, 0, (size_t)(n - n_real));
    }
}

// Fletcher's checksum over 16-bit words, most significant byte first, modulo 65535, as HDF5 has it.
static uint32_t fletcher32(const uint8_t *p, size_t n)
{
    uint32_t a = 0, b = 0;
    size_t words = n / 2;

    while (words > 0) {
        size_t run = words < 360 ? words : 360; // sums fit 32 bits that long
        words -= run;
        for (; run > 0; run--, p += 2) {
            a += (uint32_t)(p[0] << 8 | p[1]);
            b += a;
        }
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    if (n % 2 == 1) {
        a += (uint32_t)p[0] << 8;
        b += a;
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    a = (a & 0xffff) + (a >> 16);
    b = (b & 0xffff) + (b >> 16);
    return b << 16 | a;
}

// How a data set is cut: dims before `cut` one by one, dim `cut` in parts, later ones whole. So every
// chunk is a run of consecutive elements.
typedef struct grid {
    hsize_t chunk[AXL_H5_MAX_DIMS];
    int cut;
    int64_t outer;   // indices before cut
    int64_t n_parts; // of dim cut
    int64_t inner;   // elements of one index of dim cut
} grid;

static grid make_grid(const axl_h5_array *a)
{
    grid g = {.outer = 1, .inner = 1};
    int64_t room = (int64_t)(CHUNK_BYTES / axl_dtype_size(a->dtype));
    int d = a->n_dims - 1;

    for (; d > 0 && a->dims[d] <= room; d--) {
        g.chunk[d] = (hsize_t)a->dims[d];
        g.inner *= a->dims[d];
        room /= a->dims[d];
    }
    g.cut = d;
    room = room > a->dims[d] ? a->dims[d] : room;
    g.n_parts = (a->dims[d] + room - 1) / room;
    g.chunk[d] = (hsize_t)((a->dims[d] + g.n_parts - 1) / g.n_parts); // even parts pad little
    g.n_parts = (a->dims[d] + (int64_t)g.chunk[d] - 1) / (int64_t)g.chunk[d];
    while (--d >= 0) {
        g.chunk[d] = 1;
        g.outer *= a->dims[d];
    }
    return g;
}

// Packs n_real of n elements; returns the bytes to store and the mask of skipped filters.
static axl_status pack(axl_h5_packer *p, const void *from, int64_t n_real, int64_t n, size_t elem,
                       const void **out, size_t *n_out, uint32_t *mask)
{
    axl_status status = AXL_OK;
    const size_t raw = (size_t)n * elem;
    uint8_t *bytes = p->shuffled;
    uint32_t sum = 0;

    shuffle(from, bytes, n_real, n, elem);
    *n_out = raw;
    *mask = 0;
    if (p->level >= 0) {
        const size_t got =
            ZSTD_compressCCtx(p->zstd, p->packed, p->packed_bytes, bytes, raw, p->level);
        AXL_REQUIRE(ZSTD_isError(got) == 0, AXL_E_BUG, "zstd: %s", ZSTD_getErrorName(got));
        if (got < raw) {
            bytes = p->packed;
            *n_out = got;
        } else {
            *mask = MASK_ZSTD;
        }
    }
    sum = fletcher32(bytes, *n_out);
    for (size_t i = 0; i < SUM_BYTES; i++)
        bytes[*n_out + i] = (uint8_t)(sum >> (8 * i));
    *n_out += SUM_BYTES;
    *out = bytes;

out:
    return status;
}

// Elements at .. at + n of the array side by side: as they lie, or gathered from its rows.
static const void *gather(const axl_h5_array *a, int64_t row, int64_t at, int64_t n, void *room)
{
    const size_t elem = axl_dtype_size(a->dtype);
    const char *data = a->data;
    char *to = room;

    if (a->ld == row || at % row + n <= row)
        return data + (size_t)(at / row * a->ld + at % row) * elem;
    while (n > 0) {
        const int64_t rest = row - at % row, k = n < rest ? n : rest;
        memcpy(to, data + (size_t)(at / row * a->ld + at % row) * elem, (size_t)k * elem);
        to += (size_t)k * elem;
        at += k;
        n -= k;
    }
    return room;
}

// Chunks come in the order of their elements, so the hash of all is taken on the way.
static axl_status write_chunks(hid_t set, const char *where, const axl_h5_array *a, const grid *g,
                               axl_h5_packer *p, axl_hash *hash)
{
    axl_status status = AXL_OK;
    const size_t elem = axl_dtype_size(a->dtype);
    const int64_t width = (int64_t)g->chunk[g->cut], n = width * g->inner;
    int64_t row = 1;
    herr_t rc = 0;

    for (int d = 1; d < a->n_dims; d++)
        row *= a->dims[d];
    for (int64_t i = 0; i < g->outer * g->n_parts; i++) {
        const int64_t first = i % g->n_parts * width;
        const int64_t rest = a->dims[g->cut] - first;
        const int64_t at = (i / g->n_parts * a->dims[g->cut] + first) * g->inner;
        const int64_t n_real = (rest < width ? rest : width) * g->inner;
        const void *from = gather(a, row, at, n_real, p->gathered), *bytes = NULL;
        size_t n_bytes = 0;
        uint32_t mask = 0;
        hsize_t place[AXL_H5_MAX_DIMS] = {0};
        int64_t outer = i / g->n_parts;

        place[g->cut] = (hsize_t)first;
        for (int d = g->cut - 1; d >= 0; outer /= a->dims[d--])
            place[d] = (hsize_t)(outer % a->dims[d]);
        axl_hash_update(hash, from, (size_t)n_real * elem);
        AXL_TRY(pack(p, from, n_real, n, elem, &bytes, &n_bytes, &mask));
        AXL_H5(rc, H5Dwrite_chunk(set, H5P_DEFAULT, mask, place, n_bytes, bytes), AXL_E_IO, where);
    }

out:
    return status;
}

static hid_t chunk_properties(const axl_h5_array *a, const grid *g, const axl_h5_packer *p)
{
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    const unsigned level = (unsigned)(p->level > 0 ? p->level : 1);

    if (list < 0)
        return list;
    (void)H5Pset_chunk(list, a->n_dims, g->chunk);
    (void)H5Pset_shuffle(list);
    if (p->level >= 0)
        (void)H5Pset_filter(list, AXL_H5_ZSTD, H5Z_FLAG_OPTIONAL, 1, &level);
    (void)H5Pset_fletcher32(list);
    return list;
}

axl_status axl_h5_write(hid_t file, const char *where, const axl_h5_array *a, axl_h5_packer *p,
                        uint64_t *hash)
{
    axl_status status = AXL_OK;
    const grid g = make_grid(a);
    hsize_t dims[AXL_H5_MAX_DIMS];
    hid_t space = -1, type = -1, create = -1, link = -1, set = -1;
    axl_hash sum;

    axl_hash_init(&sum, 0);
    for (int d = 0; d < a->n_dims; d++)
        dims[d] = (hsize_t)a->dims[d];
    AXL_H5(space, H5Screate_simple(a->n_dims, dims, NULL), AXL_E_BUG, where);
    AXL_H5(type, axl_h5_type(a->dtype), AXL_E_BUG, where);
    AXL_H5(create, chunk_properties(a, &g, p), AXL_E_BUG, where);
    AXL_H5(link, axl_h5_link_properties(), AXL_E_BUG, where);
    AXL_H5(set, H5Dcreate2(file, a->name, type, space, link, create, H5P_DEFAULT), AXL_E_IO, where);
    AXL_TRY(write_chunks(set, where, a, &g, p, &sum));
    if (hash != NULL)
        *hash = axl_hash_value(&sum);

out:
    (void)H5Dclose(set);
    (void)H5Pclose(link);
    (void)H5Pclose(create);
    (void)H5Tclose(type);
    (void)H5Sclose(space);
    return status;
}

// ---- bytes

axl_status axl_h5_write_bytes(hid_t file, const char *where, const char *name, const void *bytes,
                              size_t n, axl_h5_packer *p)
{
    axl_status status = AXL_OK;
    const axl_h5_array a = {
        .name = name, .dtype = AXL_U8, .n_dims = 1, .dims = {(int64_t)n}, .ld = 1, .data = bytes};
    const hsize_t none = 0;
    hid_t space = -1, link = -1, set = -1;

    if (n > 0)
        return axl_h5_write(file, where, &a, p, NULL);
    AXL_H5(space, H5Screate_simple(1, &none, NULL), AXL_E_BUG, where);
    AXL_H5(link, axl_h5_link_properties(), AXL_E_BUG, where);
    AXL_H5(set, H5Dcreate2(file, name, H5T_STD_U8LE, space, link, H5P_DEFAULT, H5P_DEFAULT),
           AXL_E_IO, where);

out:
    (void)H5Dclose(set);
    (void)H5Pclose(link);
    (void)H5Sclose(space);
    return status;
}

axl_status axl_h5_read_bytes(hid_t file, const char *where, const char *name, axl_str *out)
{
    axl_status status = AXL_OK;
    hid_t set = -1, space = -1;
    hsize_t n = 0;
    void *bytes = NULL;
    herr_t rc = 0;
    int n_dims = 0;

    AXL_H5(set, H5Dopen2(file, name, H5P_DEFAULT), AXL_E_INPUT, where);
    AXL_H5(space, H5Dget_space(set), AXL_E_INPUT, where);
    AXL_H5(n_dims, H5Sget_simple_extent_ndims(space), AXL_E_INPUT, where);
    AXL_REQUIRE(n_dims == 1, AXL_E_INPUT, "%s: %s is no string of bytes", where, name);
    AXL_H5(rc, H5Sget_simple_extent_dims(space, &n, NULL), AXL_E_INPUT, where);
    AXL_REQUIRE(n < DECODED_LIMIT, AXL_E_INPUT, "%s: %s claims %llu bytes", where, name,
                (unsigned long long)n);
    AXL_TRY(axl_calloc((size_t)n, 1, name, &bytes));
    if (n > 0)
        AXL_H5(rc, H5Dread(set, H5T_STD_U8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes), AXL_E_INPUT,
               where);
    AXL_TRY(axl_str_append(out, bytes, (size_t)n));

out:
    free(bytes);
    (void)H5Sclose(space);
    (void)H5Dclose(set);
    return status;
}

axl_status axl_ckpt_libraries(axl_str *out)
{
    axl_status status = AXL_OK;
    unsigned major = 0, minor = 0, release = 0;

    AXL_TRY(axl_h5_begin()); // before any other call of HDF5
    (void)H5get_libversion(&major, &minor, &release);
    AXL_TRY(axl_str_printf(out, "HDF5\t%u.%u.%u\nzstd\t%s\n", major, minor, release,
                           ZSTD_versionString()));

out:
    return status;
}
