// What the checkpoint needs of HDF5: errors in our idiom, the zstd filter, element types, and a writer
// of whole data sets by chunks. Private to sharding/.
#ifndef AXL_SHARDING_H5_H
#define AXL_SHARDING_H5_H

#include "src/base/dtype.h"
#include "src/base/status.h"
#include "src/base/str.h"

#include <hdf5.h>
#include <stdint.h>

#define AXL_H5_MAX_DIMS 4
#define AXL_H5_ZSTD     32015 // the registered filter id

// Before any other call, as often as one likes: registers the filter, stops HDF5 from printing.
axl_status axl_h5_begin(void);

// Fails with the innermost description of the HDF5 error stack: "where: H5Dwrite: why".
axl_status axl_h5_error(axl_status code, const char *where, const char *call);

// result = call; a negative result goes to `out`.
#define AXL_H5(result, call, code, where)                                                          \
    do {                                                                                           \
        (result) = (call);                                                                         \
        if ((result) < 0) {                                                                        \
            status = axl_h5_error((code), (where), #call);                                         \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

// Makes (AXL_E_IO) or opens for reading (AXL_E_INPUT) a file; close with axl_h5_close. The newest file
// format of HDF5 1.10 is used, because there the structures of the file itself carry checksums.
axl_status axl_h5_create(const char *path, hid_t *out);
axl_status axl_h5_open(const char *path, hid_t *out);
axl_status axl_h5_close(hid_t file, const char *path); // flushes; AXL_E_IO

// Gives up a created file after a failed write: closing it would make HDF5 1.10 write again, fail half
// way, and trip over the rest at exit. The file is emptied, so that its space is free at once; what
// HDF5 holds of it stays until the process ends.
void axl_h5_abandon(const char *path);

// The element type in the file; BF16 is a float of 8 exponent bits, which HDF5 tools convert, FP8 is
// bytes. Owned by the caller (H5Tclose). Negative on failure.
hid_t axl_h5_type(axl_dtype dtype);

// Creation properties of data sets: missing groups are made. Owned by the caller (H5Pclose).
hid_t axl_h5_link_properties(void);

// Buffers of the chunk writer, taken once a file.
typedef struct axl_h5_packer {
    void *gathered, *shuffled, *packed; // owned
    void *zstd;                         // owned compression context
    size_t packed_bytes;
    int level; // zstd; negative: none
} axl_h5_packer;
axl_status axl_h5_packer_init(axl_h5_packer *p, int level);
void axl_h5_packer_fini(axl_h5_packer *p);

typedef struct axl_h5_array {
    const char *name; // path in the file
    axl_dtype dtype;
    int n_dims;
    int64_t dims[AXL_H5_MAX_DIMS]; // all positive
    int64_t ld;                    // elements from one index of the first dim to the next in memory
    const void *data;              // else dense
} axl_h5_array;

// Writes one data set; *hash (may be NULL) becomes the XXH64 of its bytes, as if dense. where names the file.
axl_status axl_h5_write(hid_t file, const char *where, const axl_h5_array *a, axl_h5_packer *p,
                        uint64_t *hash);

// Writes and reads bytes as a data set [n] of U8; reading appends to *out. Empty ones are not stored
// by HDF5 filters and become a data set without chunks.
axl_status axl_h5_write_bytes(hid_t file, const char *where, const char *name, const void *bytes,
                              size_t n, axl_h5_packer *p);
axl_status axl_h5_read_bytes(hid_t file, const char *where, const char *name, axl_str *out);

#endif
