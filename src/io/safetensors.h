// safetensors files: reading by mmap, and writing by many hands at once.
//
// A file is 8 bytes of header length, a JSON header that names every tensor with its dtype, shape and
// byte range, and the bytes. The one idea of this module: nothing is trusted and nothing is copied. A
// file is checked completely when it is opened (so every pointer handed out later is inside it), and
// only the pages that a caller reads are ever loaded.
//
// Writing starts from a plan, which fixes every byte's place before the first is written. So ranks that
// made the same plan may write parts of the same file in any order, without talking to each other.
#ifndef AXL_IO_SAFETENSORS_H
#define AXL_IO_SAFETENSORS_H

#include "src/base/dtype.h"
#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/json.h"

#include <stddef.h>
#include <stdint.h>

#define AXL_MAX_DIMS 8

// What a tensor is, without its bytes.
typedef struct axl_tensor_spec {
    const char *name; // borrowed
    axl_dtype dtype;
    int n_dims;                 // 0 .. AXL_MAX_DIMS; 0: one element
    int64_t dims[AXL_MAX_DIMS]; // slowest first
} axl_tensor_spec;

typedef struct axl_tensor_entry {
    axl_tensor_spec spec;      // the name lives as long as the file is open
    const unsigned char *data; // mapped bytes, possibly not aligned; never NULL for bytes > 0
    size_t bytes;
} axl_tensor_entry;

// Elements of a shape, or -1 when the product overflows or a dimension is negative.
int64_t axl_tensor_count(const axl_tensor_spec *spec);
// "[4096, 11008]", for messages; appended to *out.
axl_status axl_tensor_put_dims(axl_str *out, const int64_t *dims, int n_dims);

typedef struct axl_safetensors axl_safetensors;

// Opens and checks a file: header inside the file and an object; dtypes known; byte ranges equal to
// the shapes, without overlap or gap, up to the end of the file; no name twice.
//   AXL_E_INPUT: "path: tensor NAME: why".
axl_status axl_safetensors_open(const char *path, axl_safetensors **out);
void axl_safetensors_close(axl_safetensors *file); // NULL-safe; entries become invalid

const char *axl_safetensors_path(const axl_safetensors *file);
int64_t axl_safetensors_count(const axl_safetensors *file);
// Entry i in the order of the bytes in the file.
const axl_tensor_entry *axl_safetensors_at(const axl_safetensors *file, int64_t i);
// The entry of a name, or NULL.
const axl_tensor_entry *axl_safetensors_find(const axl_safetensors *file, const char *name);
// The "__metadata__" object, borrowed; NULL when there is none.
axl_json *axl_safetensors_metadata(const axl_safetensors *file);

// Where every byte of a file to be written goes.
typedef struct axl_safetensors_plan {
    axl_str header; // owned; length, JSON and padding: the first bytes of the file
    size_t *offset; // [n], owned: of tensor i, in bytes from the start of the file
    size_t *bytes;  // [n], owned: of tensor i
    int64_t n;      // tensors
    size_t total;   // bytes of the whole file
} axl_safetensors_plan;

// The layout that the safetensors library writes: tensors by dtype (widest first), then by name;
// metadata in front; the header padded with spaces to 8 bytes. Index i of the plan is specs[i].
//   metadata   an object of strings, or NULL for {"format": "pt"} as transformers writes it
axl_status axl_safetensors_plan_make(const axl_tensor_spec *specs, int64_t n, axl_json *metadata,
                                     axl_safetensors_plan *plan);
// The layout of an existing file, its header byte for byte. Index i is axl_safetensors_at(source, i).
axl_status axl_safetensors_plan_copy(const axl_safetensors *source, axl_safetensors_plan *plan);
void axl_safetensors_plan_fini(axl_safetensors_plan *plan); // NULL-safe on members

typedef struct axl_safetensors_writer axl_safetensors_writer;

// Opens path.tmp for writing. Local; when several ranks write one file, exactly one passes first =
// true (it makes the file, takes its space on the disk and writes the header), and the others open
// after it. plan is borrowed and must outlive the writer. AXL_E_IO, also when the disk is full.
axl_status axl_safetensors_writer_open(const char *path, const axl_safetensors_plan *plan,
                                       bool first, axl_safetensors_writer **out);

// Runs of bytes, equally far apart: a rectangle of a tensor.
typedef struct axl_runs {
    size_t at;                 // byte of the tensor where the first run goes
    size_t bytes;              // of a run
    int64_t n;                 // runs
    size_t stride, src_stride; // bytes from one run to the next in the tensor, and in the source
} axl_runs;

// Writes the runs of tensor i, in any order of calls, and no byte between them: those may be other
// writers' at the same time. AXL_E_IO, also when the disk is full.
axl_status axl_safetensors_write_runs(axl_safetensors_writer *w, int64_t i, const axl_runs *runs,
                                      const void *src);

// What this writer wrote is on the disk. Every rank calls it before the first one publishes.
axl_status axl_safetensors_writer_flush(axl_safetensors_writer *w);

// Gives the flushed file its name; by the first writer only, when all have flushed. AXL_E_IO.
axl_status axl_safetensors_writer_publish(axl_safetensors_writer *w);

// Closes. A file that its first writer did not publish is removed. NULL-safe.
void axl_safetensors_writer_destroy(axl_safetensors_writer *w);

#endif
