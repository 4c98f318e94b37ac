// The ways behind an entry, each by itself: what the backend would choose is one row, and these stand beside it. A way that
// does not make the call says so; no other takes its place under its name.
#include "benchmarks/kernels/bench_gpu.h"

#ifdef GPU_TOOL_CUDA
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/attention_mma.h"
#include "kernels/cuda/cuda_entries.h"

#include <string.h>

static axl_status need_cuda(const bench_gpu *b)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(strcmp(b->d->kernels->name, "cuda") == 0, AXL_E_UNSUPPORTED, "there is none on %s",
                b->d->kernels->name);
out:
    return status;
}

// Where a chip has nothing better, what the entry chooses is mma, and measured as such.
static axl_status need_mma(const bench_gpu *b, bool takes)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(axl_cuda_arch(b->d) == 90, AXL_E_UNSUPPORTED,
                "the row without _mma is by mma on this chip");
    AXL_REQUIRE(takes, AXL_E_UNSUPPORTED, "mma does not take this call");
out:
    return status;
}

static axl_status need_done(bool done)
{
    axl_status status = AXL_OK;
    axl_str library = {0};

    if (!done) {
        AXL_TRY(axl_cuda_describe_cudnn(&library));
        AXL_FAIL(AXL_E_UNSUPPORTED, "%s: it is not used for this call on this chip", library.data);
    }
out:
    axl_str_fini(&library);
    return status;
}

axl_status bench_attn_fwd_cudnn(bench_gpu *b, const bench_call *c)
{
    axl_status status = AXL_OK;
    axl_attn_args a = c->a.attn;
    bool done = false;

    a.library = true;
    AXL_TRY(need_cuda(b));
    AXL_TRY(axl_cuda_attn_cudnn_fwd(b->d->compute, &a, &done));
    AXL_TRY(need_done(done));
out:
    return status;
}

axl_status bench_attn_fwd_mma(bench_gpu *b, const bench_call *c)
{
    axl_status status = AXL_OK;

    AXL_TRY(need_cuda(b));
    AXL_TRY(need_mma(b, axl_cuda_attn_is_tiled(b->d->compute, &c->a.attn)));
    AXL_TRY(axl_cuda_attn_fwd_tiled(b->d->compute, &c->a.attn));
out:
    return status;
}

axl_status bench_attn_bwd_cudnn(bench_gpu *b, const bench_call *c)
{
    axl_status status = AXL_OK;
    axl_attn_bwd_args a = c->a.attn_bwd.bwd;
    bool done = false;

    a.fwd.library = true;
    AXL_TRY(need_cuda(b));
    AXL_TRY(axl_cuda_attn_cudnn_bwd(b->d->compute, &a, &done)); // makes its own delta
    AXL_TRY(need_done(done));
out:
    return status;
}

axl_status bench_attn_bwd_mma(bench_gpu *b, const bench_call *c)
{
    axl_status status = AXL_OK;

    AXL_TRY(need_cuda(b));
    AXL_TRY(need_mma(b, axl_cuda_attn_bwd_is_tiled(b->d->compute, &c->a.attn_bwd.bwd)));
    AXL_TRY(b->d->kernels->attn_delta(b->d->compute, &c->a.attn_bwd.delta));
    AXL_TRY(axl_cuda_attn_bwd_tiled(b->d->compute, &c->a.attn_bwd.bwd));
out:
    return status;
}

axl_status bench_gemm_fp8_own(bench_gpu *b, const bench_call *c)
{
    axl_status status = AXL_OK;

    AXL_TRY(need_cuda(b));
    AXL_TRY(axl_cuda_gemm_fp8(b->d->compute, &c->a.gemm_fp8));
out:
    return status;
}
#else
static axl_status no_cuda(void)
{
    return axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__, "this build has no CUDA");
}

axl_status bench_attn_fwd_cudnn(bench_gpu *b, const bench_call *c)
{
    (void)b;
    (void)c;
    return no_cuda();
}

axl_status bench_attn_fwd_mma(bench_gpu *b, const bench_call *c)
{
    return bench_attn_fwd_cudnn(b, c);
}

axl_status bench_attn_bwd_cudnn(bench_gpu *b, const bench_call *c)
{
    return bench_attn_fwd_cudnn(b, c);
}

axl_status bench_attn_bwd_mma(bench_gpu *b, const bench_call *c)
{
    return bench_attn_fwd_cudnn(b, c);
}

axl_status bench_gemm_fp8_own(bench_gpu *b, const bench_call *c)
{
    return bench_attn_fwd_cudnn(b, c);
}
#endif
