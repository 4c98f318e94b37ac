// Every case list.
#include "tests/kernels/harness.h"

#include <math.h>
#include <string.h>

#include "tests/kernels/attention_cases.h"
#include "tests/kernels/attention_kind_cases.h"
#include "tests/kernels/ce_cases.h"
#include "tests/kernels/elementwise_cases.h"
#include "tests/kernels/embed_cases.h"
#include "tests/kernels/fp8_cases.h"
#include "tests/kernels/gemm_cases.h"
#include "tests/kernels/glu_cases.h"
#include "tests/kernels/merge_cases.h"
#include "tests/kernels/moe_cases.h"
#include "tests/kernels/norm_cases.h"
#include "tests/kernels/rope_cases.h"
#include "tests/kernels/rows_cases.h"
#include "tests/kernels/sum_parts_cases.h"

const kt_kernel *const kt_kernels[] = {
    &gemm_kernel,       &attn_kernel,     &merge_kernel,     &rows_kernel,      &norm_kernel,
    &rope_kernel,       &glu_kernel,      &embed_kernel,     &ce_kernel,        &ce_merge_kernel,
    &add_kernel,        &cast_kernel,     &attn_half_kernel, &attn_sage_kernel, &attn_fp8_kernel,
    &attn_eager_kernel, &bias_kernel,     &sumsq_kernel,     &adamw_kernel,     &route_kernel,
    &combine_kernel,    &grouped_kernel,  &sum_parts_kernel, &cast_list_kernel, &amax_kernel,
    &cast_fp8_kernel,   &gemm_fp8_kernel,
};
const int kt_n_kernels = (int)(sizeof kt_kernels / sizeof kt_kernels[0]);
