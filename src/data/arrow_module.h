// The seam between the C++ libraries of Apache Arrow and the rest: a shared module, opened only when a
// parquet or arrow file is met, that hands out record batches by the Arrow C data interface.
//
// The two structs are that interface, which is fixed (arrow.apache.org/docs/format/CDataInterface.html);
// the guard is the one that its text asks for, so that Arrow's own copy may stand beside this one.
#ifndef AXL_DATA_ARROW_MODULE_H
#define AXL_DATA_ARROW_MODULE_H

#include <stddef.h>
#include <stdint.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE           2
#define ARROW_FLAG_MAP_KEYS_SORTED    4

struct ArrowSchema {
    const char *format;   // the type: "u" text, "l" int64, "+l" list, ...
    const char *name;     // of the column or member
    const char *metadata; // not used here
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;  // [n_children]
    struct ArrowSchema *dictionary; // of the values, for dictionary types
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;     // elements
    int64_t null_count; // -1: not counted
    int64_t offset;     // of the first element in the buffers
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;          // [n_buffers]; the first is the bitmap of what is not null
    struct ArrowArray **children;  // [n_children]
    struct ArrowArray *dictionary; // values, for dictionary types
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif // ARROW_C_DATA_INTERFACE

#define AXL_ARROW_VERSION 1
#define AXL_ARROW_SYMBOL  "axl_arrow_module_table"

typedef struct axl_arrow_file axl_arrow_file;

// What the module exports, as a const struct of the name AXL_ARROW_SYMBOL. Functions return 0, or something
// else and a message in error[0 .. n_error). Not for two threads at once.
typedef struct axl_arrow_module {
    int version; // AXL_ARROW_VERSION
    // Opens a parquet file, or an arrow file or stream; told by the first bytes.
    int (*open)(const char *path, axl_arrow_file **out, char *error, size_t n_error);
    // The columns as a struct type ("+s"); the caller releases it.
    int (*schema)(axl_arrow_file *file, struct ArrowSchema *out, char *error, size_t n_error);
    // The next batch, checked through and through; the caller releases it. out->release NULL: there is none.
    int (*next)(axl_arrow_file *file, struct ArrowArray *out, char *error, size_t n_error);
    void (*close)(axl_arrow_file *file);
} axl_arrow_module;

#endif
