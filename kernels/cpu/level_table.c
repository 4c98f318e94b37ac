// One level's table: a copy of ref with what this level does better.
#include "kernels/cpu/levels.h"
#include "kernels/ref/ref.h"

axl_status AXL_CPU(rope_table)(axl_stream *s, const axl_rope_table_args *a)
{
    return axl_kernels_ref.rope_table(
        s, a); // a few thousand cosines a step, as the C library rounds them
}

axl_status AXL_CPU(ce_merge)(axl_stream *s, const axl_ce_merge_args *a)
{
    return axl_kernels_ref.ce_merge(s, a); // a few numbers a token
}

axl_status AXL_CPU(route_sort)(axl_stream *s, const axl_route_sort_args *a)
{
    return axl_kernels_ref.route_sort(s, a); // four passes over a few thousand integers
}

axl_status AXL_CPU(sum_parts)(axl_stream *s, const axl_sum_parts_args *a)
{
    return axl_kernels_ref.sum_parts(s,
                                     a); // comm/ adds by itself where the host reaches the memory
}

axl_status AXL_CPU(cast_list)(axl_stream *s, const axl_cast_list_args *a)
{
    return axl_ref_cast_each(s, a, AXL_CPU(cast));
}

axl_status AXL_CPU(gemm_grouped)(axl_stream *s, const axl_gemm_grouped_args *a)
{
    return axl_ref_gemm_each(s, a, AXL_CPU(gemm));
}

const axl_kernels AXL_CPU(kernels) = {.name = AXL_CPU_LEVEL_NAME,
#define AXL_CPU_ROW(entry, args) .entry = AXL_CPU(entry),
                                      AXL_KERNEL_LIST(AXL_CPU_ROW)
#undef AXL_CPU_ROW
};
