// Rows picked by a list, and rows added to those of a list.
#ifdef AXL_REF

static void AXL_REF(rows_gather)(const axl_rows_args *a)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        const int64_t row = a->rows != NULL ? a->rows[i] : i;
        for (int64_t c = 0; c < a->cols; c++)
            ((elem *)a->dst)[i * a->ld_dst + c] = ((const elem *)a->src)[row * a->ld_src + c];
    }
}

static void AXL_REF(rows_add)(const axl_rows_args *a)
{
    for (int64_t i = 0; i < a->n_rows; i++) {
        const int64_t row = a->rows != NULL ? a->rows[i] : i;
        for (int64_t c = 0; c < a->cols; c++) {
            elem *to = (elem *)a->dst + row * a->ld_dst + c;
            *to = store(load(*to) + load(((const elem *)a->src)[i * a->ld_src + c]));
        }
    }
}

#else

#include "kernels/ref/ref.h"

#define AXL_REF_FILE "kernels/ref/rows.c"
#include "kernels/ref/each_dtype.h"

axl_status axl_ref_rows_gather(axl_stream *s, const axl_rows_args *a)
{
    AXL_REF_DISPATCH(rows_gather, a->dtype);
}

axl_status axl_ref_rows_add(axl_stream *s, const axl_rows_args *a)
{
    AXL_REF_DISPATCH(rows_add, a->dtype);
}

#endif
