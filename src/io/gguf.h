// GGUF files: metadata, tensors, and quantised rows as plain floats.
//
// A GGUF file is a list of typed key-value pairs, a list of tensors, and their bytes. It is mapped and
// checked completely when it is opened: every string, array and tensor that is handed out lies inside
// the file. Dequantisation gives the same bits as the PyPI package `gguf`.
// The format: github.com/ggml-org/ggml, docs/gguf.md; versions 2 and 3, little endian.
#ifndef AXL_IO_GGUF_H
#define AXL_IO_GGUF_H

#include "src/base/status.h"
#include "src/io/safetensors.h"

#include <stddef.h>
#include <stdint.h>

typedef enum axl_gguf_kind { // the numbers of the format
    AXL_GGUF_U8,
    AXL_GGUF_I8,
    AXL_GGUF_U16,
    AXL_GGUF_I16,
    AXL_GGUF_U32,
    AXL_GGUF_I32,
    AXL_GGUF_F32,
    AXL_GGUF_BOOL,
    AXL_GGUF_STRING,
    AXL_GGUF_ARRAY,
    AXL_GGUF_U64,
    AXL_GGUF_I64,
    AXL_GGUF_F64,
    AXL_GGUF_N_KINDS
} axl_gguf_kind;

typedef struct axl_gguf_value {
    char *key;                 // owned by the file
    axl_gguf_kind kind;        // AXL_GGUF_ARRAY for arrays
    axl_gguf_kind item_kind;   // of the items; kind itself when no array
    uint64_t count;            // items; 1 when no array
    const unsigned char *data; // first item, mapped, not aligned
    size_t bytes;              // of all items
} axl_gguf_value;

typedef struct axl_gguf_quant axl_gguf_quant; // a storage type: "Q4_1", ...

typedef struct axl_gguf_tensor {
    char *name;                  // owned by the file
    const axl_gguf_quant *quant; // how the elements are stored
    int n_dims;
    int64_t
        dims[AXL_MAX_DIMS];    // slowest first, as in safetensors (the file has them the other way)
    uint64_t offset;           // from the start of the data section, as the file says
    int64_t rows, cols;        // cols is the last dimension, rows all others together
    const unsigned char *data; // mapped, not aligned
    size_t bytes;
} axl_gguf_tensor;

typedef struct axl_gguf axl_gguf;

// Opens and checks a file. AXL_E_INPUT with the key or tensor; AXL_E_UNSUPPORTED for a storage type
// that is not one of F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K.
axl_status axl_gguf_open(const char *path, axl_gguf **out);
void axl_gguf_close(axl_gguf *g); // NULL-safe

const char *axl_gguf_path(const axl_gguf *g);
int64_t axl_gguf_n_values(const axl_gguf *g);
int64_t axl_gguf_n_tensors(const axl_gguf *g);
const axl_gguf_value *axl_gguf_value_at(const axl_gguf *g, int64_t i); // in the order of the file
const axl_gguf_tensor *axl_gguf_tensor_at(const axl_gguf *g, int64_t i);
// By name; NULL when there is none.
const axl_gguf_value *axl_gguf_find(const axl_gguf *g, const char *key);
const axl_gguf_tensor *axl_gguf_find_tensor(const axl_gguf *g, const char *name);

// Item i of a value as a number; `otherwise` when v is NULL, i is outside, or the item is none. Whole
// numbers convert to real; U64 beyond int64 count as none.
int64_t axl_gguf_int(const axl_gguf_value *v, uint64_t i, int64_t otherwise);
double axl_gguf_real(const axl_gguf_value *v, uint64_t i, double otherwise);
bool axl_gguf_bool(const axl_gguf_value *v, bool otherwise);

// Walks strings: `size_t at = 0; while (axl_gguf_next_string(v, &at, &text, &n))`. text is mapped: n
// bytes without terminator, not checked to be UTF-8. Nothing when v is NULL or has no strings.
bool axl_gguf_next_string(const axl_gguf_value *v, size_t *at, const char **text, size_t *n);

const char *axl_gguf_quant_name(const axl_gguf_quant *quant);
bool axl_gguf_is_quantised(const axl_gguf_quant *quant); // false for F32, F16, BF16
axl_dtype axl_gguf_dtype(const axl_gguf_quant *quant);   // F32, F16, BF16; F32 for quantised ones

// The storage type of a number of the format; NULL when it is not supported.
const axl_gguf_quant *axl_gguf_quant_of(uint32_t type);
// Bytes of n elements (a multiple of the block size); -1 when n is none or too large.
int64_t axl_gguf_quant_bytes(const axl_gguf_quant *quant, int64_t n);
// Converts n stored elements (a multiple of the block size) to dst [n].
void axl_gguf_dequantise(const axl_gguf_quant *quant, const unsigned char *src, int64_t n,
                         float *dst);
// Rows row0 .. row0 + n_rows - 1 of a tensor to dst [n_rows, cols].
void axl_gguf_read_rows(const axl_gguf_tensor *t, int64_t row0, int64_t n_rows, float *dst);

#endif
