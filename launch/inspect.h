// What `axl-dist inspect` can look into. A kind of thing is a row of axl_inspect_kinds[]: it knows a
// path of its kind, opens it, and reads rows of its tensors as doubles; counting, statistics and
// differences are the same for all.
#ifndef AXL_LAUNCH_INSPECT_H
#define AXL_LAUNCH_INSPECT_H

#include "src/base/dtype.h"
#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/safetensors.h"

typedef struct axl_inspected_tensor {
    const char *name;  // borrowed from the handle
    const char *dtype; // "F32", "Q4_1", ...
    int n_dims;
    int64_t dims[AXL_MAX_DIMS]; // slowest first
    int64_t rows, cols;         // rows * cols elements; what read() counts in
    size_t bytes;               // as stored
} axl_inspected_tensor;

struct axl_inspect_kind;

typedef struct axl_inspected {
    const struct axl_inspect_kind *kind;
    void *handle;                  // owned; of the kind
    axl_inspected_tensor *tensors; // [n], owned; sorted by name
    int64_t n;
    axl_str about; // lines of "key: value" that are no tensors
} axl_inspected;

typedef struct axl_inspect_kind {
    const char *name; // "a GGUF file"
    bool (*is)(const char *path);
    // Fills handle, tensors (in any order), n and about.
    axl_status (*open)(const char *path, axl_inspected *out);
    // Rows row0 .. row0 + n_rows - 1 of tensor t to dst [n_rows, cols].
    axl_status (*read)(const axl_inspected *x, const axl_inspected_tensor *t, int64_t row0,
                       int64_t n_rows, double *dst);
    void (*close)(void *handle); // NULL-safe
} axl_inspect_kind;

extern const axl_inspect_kind *const axl_inspect_kinds[];
extern const int axl_n_inspect_kinds;

extern const axl_inspect_kind axl_inspect_checkpoint; // inspect_checkpoint.c

// Element i of an array of any dtype.
double axl_inspect_element(const unsigned char *data, axl_dtype dtype, int64_t i);

// Opens a path as the first kind that knows it. AXL_E_INPUT when none does.
axl_status axl_inspected_open(const char *path, axl_inspected *out);
void axl_inspected_close(axl_inspected *x); // NULL-safe on members
// The tensor of a name, or NULL.
const axl_inspected_tensor *axl_inspected_find(const axl_inspected *x, const char *name);

#endif
