// The gemm library: MKL when the build found it, else oneDNN. Nothing else calls it.
//
// MKL is far ahead where there is AMX. On an AMD EPYC without (2 cores, AVX512_BF16) it is not: a step of SmolLM2-135M, 512 tokens,
// medians of 3 in turn: f32 2.36 s by oneDNN 2.6.3, 2.65 s by MKL; bf16 2.76 and 2.72; two ranks, f32 4.64 and 4.95, bf16
// 4.51 and 4.97. So the build's choice would better be one of the processor.
#include "kernels/cpu/gemm_library.h"

#include "kernels/cpu/features.h"

#ifdef AXL_GEMM_MKL
#include <mkl_cblas.h>
#include <mkl_service.h>
#else
#include <dnnl.h>
#include <omp.h>
#endif

#ifdef AXL_GEMM_MKL

axl_status axl_kernels_library(axl_str *out)
{
    char text[256] = "MKL";

    mkl_get_version_string(text, (int)sizeof text - 1);
    return axl_str_puts(out, text);
}

axl_status axl_cpu_library_f32(const axl_gemm_args *g, int n_threads)
{
    const int before = mkl_set_num_threads_local(n_threads);

    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans,
                g->trans_b ? CblasTrans : CblasNoTrans, (MKL_INT)g->m, (MKL_INT)g->n, (MKL_INT)g->k,
                g->alpha, g->a, (MKL_INT)g->lda, g->b, (MKL_INT)g->ldb, g->accumulate ? 1.0f : 0.0f,
                g->c, (MKL_INT)g->ldc);
    (void)mkl_set_num_threads_local(before);
    return AXL_OK;
}

axl_status axl_cpu_library_bf16(const axl_gemm_args *g, int n_threads)
{
    const int before = mkl_set_num_threads_local(n_threads);

    cblas_gemm_bf16bf16f32(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans,
                           g->trans_b ? CblasTrans : CblasNoTrans, (MKL_INT)g->m, (MKL_INT)g->n,
                           (MKL_INT)g->k, g->alpha, g->a, (MKL_INT)g->lda, g->b, (MKL_INT)g->ldb,
                           g->accumulate ? 1.0f : 0.0f, g->c, (MKL_INT)g->ldc);
    (void)mkl_set_num_threads_local(before);
    return AXL_OK;
}

// With AMX the bf16 product is several times faster than f32. Without, AVX512_BF16 gives 220 GFLOP/s where
// f32 gives 420 (two cores): conversion pays when every converted element is used often enough.
bool axl_cpu_library_prefers_bf16(const axl_gemm_args *g)
{
    const axl_cpu_features *f = axl_cpu_features_get();

    return f->amx_bf16 || (f->avx512_bf16 && (g->m < 64 || g->n < 64));
}

#else

axl_status axl_kernels_library(axl_str *out)
{
    const dnnl_version_t *v = dnnl_version();

    return axl_str_printf(out, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

axl_status axl_cpu_library_f32(const axl_gemm_args *g, int n_threads)
{
    axl_status status = AXL_OK;
    const int before = omp_get_max_threads();

    // A processor may show AMX and not have it: without this oneDNN would use it and die.
    if (axl_cpu_features_get()->amx_bf16 && !axl_cpu_features_get()->amx_tiles)
        (void)dnnl_set_max_cpu_isa(
            dnnl_cpu_isa_avx512_core_bf16); // refused once a product ran: harmless
    omp_set_num_threads(n_threads);
    dnnl_status_t done =
        dnnl_sgemm(g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N', g->m, g->n, g->k, g->alpha, g->a,
                   g->lda, g->b, g->ldb, g->accumulate ? 1.0f : 0.0f, g->c, g->ldc);
    omp_set_num_threads(before);
    AXL_REQUIRE(done == dnnl_success, AXL_E_DEVICE, "oneDNN sgemm failed with status %d",
                (int)done);

out:
    return status;
}

axl_status axl_cpu_library_bf16(const axl_gemm_args *g, int n_threads)
{
    (void)g;
    (void)n_threads;
    return axl_error_set(AXL_E_BUG, __FILE__, __LINE__, "bf16 products go through f32 here");
}

// oneDNN 2.6 is slower in bf16 than in f32 wherever its bf16 is safe to use.
bool axl_cpu_library_prefers_bf16(const axl_gemm_args *g)
{
    (void)g;
    return false;
}

#endif
