// The entries of the kernel table that the CUDA backend has, a line each; each stands in the .cu file of its name.
#ifndef AXL_KERNELS_CUDA_CUDA_ENTRIES_H
#define AXL_KERNELS_CUDA_CUDA_ENTRIES_H

#include "kernels/cuda/cuda_backend.h"

axl_status axl_cuda_adamw(axl_stream *s, const axl_adamw_args *a);
axl_status axl_cuda_add(axl_stream *s, const axl_add_args *a);
axl_status axl_cuda_amax(axl_stream *s, const axl_amax_args *a);
axl_status axl_cuda_attn_bwd(axl_stream *s, const axl_attn_bwd_args *b);
axl_status axl_cuda_attn_delta(axl_stream *s, const axl_attn_delta_args *a);
axl_status axl_cuda_attn_eager_bwd(axl_stream *s, const axl_attn_eager_bwd_args *e);
axl_status axl_cuda_attn_eager_fwd(axl_stream *s, const axl_attn_eager_args *e);
axl_status axl_cuda_attn_fp8_fwd(axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_fwd(axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_half_fwd(axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_merge(axl_stream *s, const axl_attn_merge_args *a);
axl_status axl_cuda_attn_sage_fwd(axl_stream *s, const axl_attn_args *a);
axl_status axl_cuda_attn_sinks_bwd(axl_stream *s, const axl_attn_sinks_bwd_args *a);
axl_status axl_cuda_attn_sinks_fwd(axl_stream *s, const axl_attn_sinks_args *a);
axl_status axl_cuda_bias_bwd(axl_stream *s, const axl_bias_bwd_args *a);
axl_status axl_cuda_cast(axl_stream *s, const axl_cast_args *a);
axl_status axl_cuda_cast_fp8(axl_stream *s, const axl_cast_fp8_args *a);
axl_status axl_cuda_cast_list(axl_stream *s, const axl_cast_list_args *a);
axl_status axl_cuda_ce_bwd(axl_stream *s, const axl_ce_bwd_args *a);
axl_status axl_cuda_ce_fwd(axl_stream *s, const axl_ce_args *a);
axl_status axl_cuda_ce_merge(axl_stream *s, const axl_ce_merge_args *a);
axl_status axl_cuda_combine(axl_stream *s, const axl_combine_args *a);
axl_status axl_cuda_combine_bwd(axl_stream *s, const axl_combine_bwd_args *a);
axl_status axl_cuda_embed_bwd(axl_stream *s, const axl_embed_bwd_args *a);
axl_status axl_cuda_embed_fwd(axl_stream *s, const axl_embed_args *a);
axl_status axl_cuda_gemm(axl_stream *s, const axl_gemm_args *a);
axl_status axl_cuda_gemm_fp8(axl_stream *s, const axl_gemm_fp8_args *a);
axl_status axl_cuda_gemm_grouped(axl_stream *s, const axl_gemm_grouped_args *a);
axl_status axl_cuda_glu_bwd(axl_stream *s, const axl_glu_bwd_args *a);
axl_status axl_cuda_glu_fwd(axl_stream *s, const axl_glu_args *a);
axl_status axl_cuda_norm_bwd(axl_stream *s, const axl_norm_bwd_args *a);
axl_status axl_cuda_norm_fwd(axl_stream *s, const axl_norm_args *a);
axl_status axl_cuda_rope(axl_stream *s, const axl_rope_args *a);
axl_status axl_cuda_rope_table(axl_stream *s, const axl_rope_table_args *a);
axl_status axl_cuda_route_bwd(axl_stream *s, const axl_route_bwd_args *a);
axl_status axl_cuda_route_fwd(axl_stream *s, const axl_route_args *a);
axl_status axl_cuda_route_sort(axl_stream *s, const axl_route_sort_args *a);
axl_status axl_cuda_rows_add(axl_stream *s, const axl_rows_args *a);
axl_status axl_cuda_rows_gather(axl_stream *s, const axl_rows_args *a);
axl_status axl_cuda_sum_parts(axl_stream *s, const axl_sum_parts_args *a);
axl_status axl_cuda_sumsq(axl_stream *s, const axl_sumsq_args *a);

#endif
