// The reference kernels: plain loops, one file a kernel, each file its own template.
//
// A file x.c includes itself through each_dtype.h: the part under #ifdef AXL_REF is compiled for f32, bf16
// and f64, the rest once. Only ref/ includes this.
#ifndef AXL_KERNELS_REF_REF_H
#define AXL_KERNELS_REF_REF_H

#include "kernels/kernels.h"

#include <math.h>

// NOLINTNEXTLINE(bugprone-macro-parentheses): args is a type
#define AXL_REF_PROTOTYPE(entry, args) axl_status axl_ref_##entry(axl_stream *s, const args *a);
AXL_KERNEL_LIST(AXL_REF_PROTOTYPE)
#undef AXL_REF_PROTOTYPE

typedef axl_status (*axl_gemm_fn)(axl_stream *s, const axl_gemm_args *a);
// gemm_grouped by one call of gemm a group.
// cast_list by one cast after the other.
axl_status axl_ref_cast_each(axl_stream *s, const axl_cast_list_args *a,
                             axl_status (*cast)(axl_stream *s, const axl_cast_args *item));
axl_status axl_ref_gemm_each(axl_stream *s, const axl_gemm_grouped_args *a, axl_gemm_fn gemm);

// The widest head that ref's local sums hold.
#define AXL_REF_HEAD_DIM 1024

// AXL_E_UNSUPPORTED with the entry and the dtype in the message.
axl_status axl_ref_no_dtype(const char *entry, axl_dtype dtype);

// Element i of an array whose dtype is known at run time; put rounds, and adds when asked.
double axl_ref_get(const void *p, int64_t i, axl_dtype dtype);
void axl_ref_put(void *p, int64_t i, axl_dtype dtype, double value, bool add);

// The body of an entry: calls the copy for the dtype.
#define AXL_REF_DISPATCH(entry, dtype_)                                                            \
    do {                                                                                           \
        (void)s;                                                                                   \
        switch (dtype_) {                                                                          \
        case AXL_F32:                                                                              \
            entry##_f32(a);                                                                        \
            return AXL_OK;                                                                         \
        case AXL_BF16:                                                                             \
            entry##_bf16(a);                                                                       \
            return AXL_OK;                                                                         \
        case AXL_F64:                                                                              \
            entry##_f64(a);                                                                        \
            return AXL_OK;                                                                         \
        default:                                                                                   \
            return axl_ref_no_dtype(#entry, dtype_);                                               \
        }                                                                                          \
    } while (0)

#endif
