// The part of the kernel table (kernels.h) that sums over ranks are made with, where a device adds by itself.
//
// The order is one fixed binary tree in the order of parts, ((0+1)+(2+3))+((4+5)+(6+7)); for a number that is no power of
// two the largest aligned blocks of a power of two are joined from the small end (comm/transport.h says why).
#ifndef AXL_KERNELS_SUM_PARTS_H
#define AXL_KERNELS_SUM_PARTS_H

#include "src/base/dtype.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum axl_reduce_op { AXL_REDUCE_SUM, AXL_REDUCE_MAX, AXL_REDUCE_MIN } axl_reduce_op;

// Of one array: out[i] = the tree of part 0 [i], part 1 [i], ... Part k lies at parts + k * stride, but for the one that lies
// elsewhere; those behind it then come one place earlier.
typedef struct axl_sum_parts_item {
    const void *parts; // [n_parts or n_parts - 1, n] dtype
    int64_t stride;    // elements from part to part
    const void *own;   // [n] dtype: part number own_index; NULL: all are in parts
    int64_t n;
    void *out;       // [n] out_dtype; may be own
    bool accumulate; // F32 sums: out = old out + the sum, rounded once more
} axl_sum_parts_item;

// Several arrays, none of which is read as another is written, in as few launches as there can be. A NaN stays. Runs on
// any stream, without the workspace.
typedef struct axl_sum_parts_args {
    const axl_sum_parts_item *items; // [n_items] host memory, the caller's again after the call
    int n_items;
    int n_parts; // >= 1
    int own_index;
    axl_reduce_op op;
    axl_dtype dtype;     // F32, F64, I64, BF16
    axl_dtype out_dtype; // dtype, or F32 for BF16; a BF16 result is rounded once
} axl_sum_parts_args;

#endif
