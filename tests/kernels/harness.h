// Runs a kernel on made-up numbers, so that one description of a case serves every check.
//
// A case list (x_cases.h) has one function that takes a case, asks for its arrays by name and calls the
// kernels of the device at hand, forward then backward. The same function is run on ref in f64 and in f32,
// with one input nudged (finite differences), on each CPU level, and in a loop with a clock. Numbers come
// from the array's name and the element's index alone.
#ifndef AXL_TESTS_KERNELS_HARNESS_H
#define AXL_TESTS_KERNELS_HARNESS_H

#include "kernels/kernels.h"

#define KT_GRAD  1u // gradients are also checked against finite differences
#define KT_BENCH 2u // for the benchmark only: too large for tests
#define KT_F32   4u // has no bf16 form
#define KT_LOOSE 8u // the library decides: thread counts may differ in the last bits

#define KT_MAX_BUFFERS 32
#define KT_MAX_RATES   8
#define KT_MAX_ROOMS   4

// Where arrays of cases lie: ordinary memory, or what a program puts here before its first case - memory that a GPU
// reaches as well. take returns NULL when there is none left.
typedef struct kt_memory {
    void *(*take)(size_t bytes);
    void (*give)(void *p);
} kt_memory;
extern kt_memory kt_arrays;

// Whether cases of attention may go to a vendor's kernels, where the backend has them. Compare those with ref in F32.
extern bool kt_library;

// The beginning of every case.
typedef struct kt_head {
    const char *name;
    unsigned flags;
} kt_head;

typedef struct kt_buffer {
    const char *name; // borrowed
    axl_dtype dtype;
    int64_t rows, cols, ld; // elements beyond cols of a row belong to nobody
    void *data;             // owned
    bool output;
    axl_dtype precision; // of the arithmetic behind an output
    int64_t reduction;   // the longest sum behind an element
    double terms;        // size of the terms behind an element, where they may cancel
    int roundings;       // to bf16, behind an element; 1 unless a case says more
} kt_buffer;

typedef struct kt_rate {
    const char *entry;
    double seconds, flops, bytes; // of one call, the fastest
} kt_rate;

typedef struct kt_run {
    axl_device *device; // borrowed
    axl_dtype dtype;    // of activations
    axl_dtype grid;     // inputs are rounded to this dtype: what is compared sees the same numbers
    kt_buffer buffers[KT_MAX_BUFFERS];
    int n_buffers;
    void *rooms[KT_MAX_ROOMS]; // owned
    int n_rooms;
    const char *nudged; // the input to change by nudge at one index; NULL: none
    int64_t nudged_index;
    double nudge;
    bool timed; // each call is repeated, and rates are kept
    kt_rate rates[KT_MAX_RATES];
    int n_rates;
    axl_status status; // the first failure of a kernel
} kt_run;

typedef struct kt_kernel {
    const char *name;
    void (*run)(kt_run *r, const void *c);
    const void *cases;
    size_t case_bytes;
    int n_cases;
    const char
        *sums[2]
             [2]; // pairs {output, weight}: the loss of the gradient check is their sum of products
    const char *grads[4][2]; // pairs {input, gradient}
} kt_kernel;

extern const kt_kernel *const kt_kernels[];
extern const int kt_n_kernels;

void kt_run_fini(kt_run *r); // frees the arrays

// Zeroed memory for what is neither compared nor random: lists of rows, beginnings of sequences. Kernels may read no
// other.
void *kt_room(kt_run *r, size_t bytes);

// The dtype of statistics and of parameters' gradients.
axl_dtype kt_stat(const kt_run *r);

// A normal random input of rows x cols elements, ld apart, with standard deviation scale.
void *kt_in(kt_run *r, const char *name, int64_t rows, int64_t cols, int64_t ld, axl_dtype dtype,
            double scale);
// An output full of NaN.
void *kt_out(kt_run *r, const char *name, int64_t rows, int64_t cols, int64_t ld, axl_dtype dtype,
             int64_t reduction);
// An output that begins as an input: for kernels that add, or work in place.
void *kt_inout(kt_run *r, const char *name, int64_t rows, int64_t cols, int64_t ld, axl_dtype dtype,
               double scale, int64_t reduction);
// kt_out, or kt_inout when the kernel adds.
void *kt_sum(kt_run *r, bool add, const char *name, int64_t rows, int64_t cols, int64_t ld,
             axl_dtype dtype, int64_t reduction);
// Of the output just made: roundings behind an element, in this precision in bf16 runs.
void kt_rounds(kt_run *r, int roundings);
// Of the output just made: the size of terms that may cancel.
void kt_terms(kt_run *r, double size);
// NULL when there is none of that name.
const kt_buffer *kt_find(const kt_run *r, const char *name);
double kt_get(const kt_buffer *b, int64_t i);
// Changes an element of the array just made.
void kt_set(kt_run *r, int64_t i, double value);

// The bookkeeping of KT_CALL.
typedef struct kt_clock {
    double begin, best, spent;
    int calls;
} kt_clock;
bool kt_again(kt_run *r, kt_clock *c); // whether to call the kernel (again)
void kt_note(kt_run *r, const kt_clock *c, const char *entry, double flops, double bytes);

// Calls an entry, repeatedly when timed. flops and bytes are those of one call.
#define KT_CALL(r, entry, args, flops, bytes)                                                      \
    do {                                                                                           \
        kt_clock kt_clock_ = {0};                                                                  \
        while (kt_again((r), &kt_clock_)) {                                                        \
            axl_status kt_status_ =                                                                \
                (r)->device->kernels->entry != NULL                                                \
                    ? (r)->device->kernels->entry((r)->device->compute, (args))                    \
                    : axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__, "no entry " #entry);    \
            if (kt_status_ == AXL_OK)                                                              \
                kt_status_ = (r)->device->ops->synchronize((r)->device->compute);                  \
            if ((r)->status == AXL_OK)                                                             \
                (r)->status = kt_status_;                                                          \
        }                                                                                          \
        kt_note((r), &kt_clock_, #entry, (double)(flops), (double)(bytes));                        \
    } while (0)

#endif
