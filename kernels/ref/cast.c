// Conversion between element types.
#include "kernels/ref/ref.h"

axl_status axl_ref_cast(axl_stream *s, const axl_cast_args *a)
{
    axl_status status = AXL_OK;

    (void)s;
    for (int i = 0; i < 2; i++) {
        axl_dtype dtype = i == 0 ? a->src_dtype : a->dst_dtype;
        if (dtype != AXL_F32 && dtype != AXL_BF16 && dtype != AXL_F64)
            AXL_TRY(axl_ref_no_dtype("cast", dtype));
    }
    for (int64_t i = 0; i < a->n; i++)
        axl_ref_put(a->dst, i, a->dst_dtype, axl_ref_get(a->src, i, a->src_dtype), false);

out:
    return status;
}

axl_status axl_ref_cast_each(axl_stream *s, const axl_cast_list_args *a,
                             axl_status (*cast)(axl_stream *s, const axl_cast_args *item))
{
    axl_status status = AXL_OK;

    for (int i = 0; i < a->n_items; i++) {
        axl_cast_args item = a->items[i];
        const size_t from = (size_t)item.n * axl_dtype_size(item.src_dtype),
                     to = (size_t)a->dst_stride * axl_dtype_size(item.dst_dtype);
        for (int b = 0; b < (a->n_blocks > 0 ? a->n_blocks : 1); b++) {
            AXL_TRY(cast(s, &item));
            item.src = (const char *)item.src + from;
            item.dst = (char *)item.dst + to;
        }
    }

out:
    return status;
}

axl_status axl_ref_cast_list(axl_stream *s, const axl_cast_list_args *a)
{
    return axl_ref_cast_each(s, a, axl_ref_cast);
}
