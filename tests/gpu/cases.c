// The kernels' case lists on a GPU against ref. Arrays lie in managed memory, which both sides reach. Each case, in each dtype,
// is a test that cannot take others with it (isolate.h); a list whose entries are not all there is skipped.
// With --alone they run on the GPU, in this process, and nothing is compared: for a tool that watches them, and makes them
// slow. They run in turn then, one case of every list after the other, and with --seconds S none begins after so long. With
// --backend cpu the CPU is compared instead, for a look at this program without a GPU.
#include "tests/gpu/isolate.h"
#include "tests/gpu/tool.h"
#include "tests/kernels/compare.h"

#ifdef GPU_TOOL_CUDA
#include "kernels/cuda/attention_mma.h"
#include "kernels/cuda/cuda_entries.h"

#include <cuda_runtime.h>
#endif
#include "src/base/log.h"

#include <stdlib.h>

enum { MOST = 4096, OUT_OF_TIME = 124 }; // the latter as timeout(1) says it

// OWN: products by our own kernels, which the library else keeps to itself. MMA: attention by mma where the chip has better.
// LIBRARY: attention by cuDNN where it takes it.
typedef enum way { F32, BF16, OWN, MMA, LIBRARY, N_WAYS } way;
static const char *const way_names[N_WAYS] = {"f32", "bf16", "bf16", "bf16", "bf16"};

typedef struct unit {
    const kt_kernel *k;
    int i; // of the case
    way way;
} unit;

typedef struct cases {
    const char *backend;
    unit units[MOST];
    int n;
    axl_device *gpu, *ref;
    bool missing; // an entry, of the last case
} cases;

#ifdef GPU_TOOL_CUDA
static void *take(size_t bytes)
{
    void *p = NULL;

    if (cudaMallocManaged(&p, bytes + 64, cudaMemAttachGlobal) != cudaSuccess) {
        (void)cudaGetLastError();
        if (cudaMallocHost(&p, bytes + 64) != cudaSuccess) // slow, and not known to every checker
            return NULL;
    }
    if (cudaMemset(p, 0xff, bytes + 64) != cudaSuccess || // initcheck does not see the host write
        cudaDeviceSynchronize() != cudaSuccess)
        return NULL;
    return p;
}

static void give(void *p)
{
    struct cudaPointerAttributes a;

    if (cudaPointerGetAttributes(&a, p) == cudaSuccess && a.type == cudaMemoryTypeHost)
        (void)cudaFreeHost(p);
    else
        (void)cudaFree(p);
}

static bool usable(void *data)
{
    const cases *c = data;

    (void)cudaGetLastError();
    return c->gpu->host_memory || cudaDeviceSynchronize() == cudaSuccess;
}

static void use_gpu_memory(void)
{
    kt_arrays = (kt_memory){take, give};
}

static axl_status no_mma(void)
{
    return axl_error_set(AXL_E_UNSUPPORTED, __FILE__, __LINE__, "no entry by mma alone");
}

static axl_status mma_fwd(axl_stream *s, const axl_attn_args *a)
{
    const bool takes = axl_cuda_arch(s->device) == 90 && axl_cuda_attn_is_tiled(s, a);

    return takes ? axl_cuda_attn_fwd_tiled(s, a) : no_mma();
}

static axl_status mma_bwd(axl_stream *s, const axl_attn_bwd_args *b)
{
    const bool takes = axl_cuda_arch(s->device) == 90 && axl_cuda_attn_bwd_is_tiled(s, b);

    return takes ? axl_cuda_attn_bwd_tiled(s, b) : no_mma();
}

static const axl_kernels *table_of(const axl_kernels *all, way w, axl_kernels *own)
{
    if (strcmp(all->name, "cuda") != 0 || (w != OWN && w != MMA))
        return all;
    *own = *all;
    if (w == OWN) {
        own->gemm = axl_cuda_gemm;
        own->gemm_fp8 = axl_cuda_gemm_fp8;
    } else {
        own->attn_fwd = mma_fwd;
        own->attn_bwd = mma_bwd;
    }
    return own;
}
#else
static bool usable(void *data)
{
    (void)data;
    return true;
}

static void use_gpu_memory(void) {}

static const axl_kernels *table_of(const axl_kernels *all, way w, axl_kernels *own)
{
    (void)w;
    (void)own;
    return all;
}
#endif

static bool begin(void *data, int first)
{
    cases *c = data;

    (void)first;
    if (gpu_open(c->backend, &c->gpu) != AXL_OK ||
        axl_device_create(&(axl_device_options){.backend = "ref", .n_threads = 1}, &c->ref) !=
            AXL_OK) {
        (void)printf("skipped: %s\n", axl_error_message());
        return false;
    }
    if (!c->gpu->host_memory)
        use_gpu_memory();
    return true;
}

// Whether a run ended because the table has no such entry (KT_CALL says so).
static bool is_missing(const kt_run *r)
{
    return r->status == AXL_E_UNSUPPORTED && strstr(axl_error_message(), "no entry ") != NULL;
}

static bool is_product(const kt_kernel *k)
{
    return strcmp(k->name, "gemm") == 0 || strcmp(k->name, "gemm_fp8") == 0;
}

static const char *group_of(const kt_kernel *k, way w)
{
    const bool fp8 = strcmp(k->name, "gemm_fp8") == 0;

    return w == OWN       ? (fp8 ? "gemm_fp8_own" : "gemm_own")
           : w == MMA     ? "attn_mma"
           : w == LIBRARY ? "attn_cudnn"
                          : k->name;
}

static void put_name(void *data, int i, const char **group, char *test, size_t bytes)
{
    const unit *u = &((const cases *)data)->units[i];

    *group = group_of(u->k, u->way);
    (void)snprintf(test, bytes, "%s, %s", kt_case_at(u->k, u->i)->name, way_names[u->way]);
}

static cases *current; // cmocka's state is the unit

static void agrees_with_ref(void **state)
{
    const unit *u = *state;
    const kt_head *head = kt_case_at(u->k, u->i);
    const axl_dtype dtype = u->way == F32 ? AXL_F32 : AXL_BF16;
    kt_run want = {0}, got = {.device = current->gpu, .dtype = dtype, .grid = dtype};

    u->k->run(&got, head);
    current->missing = is_missing(&got);
    if (current->missing)
        return;
    if (got.status != AXL_OK)
        fail_msg("%s", axl_error_message());
    kt_run_case(&want, u->k, head, current->ref,
                u->way == F32 || u->way == LIBRARY ? AXL_F32 : AXL_BF16, dtype);
    if (getenv("AXL_GPU_WRONG") != NULL && got.n_buffers > 0) // for tests of this file
        memset(got.buffers[got.n_buffers - 1].data, 0xff, 4);
    kt_compare_runs(u->k, head, &want, &got);
    kt_run_fini(&got);
    kt_run_fini(&want);
}

static gpu_verdict run(void *data, int i)
{
    cases *c = data;
    unit *u = &c->units[i];
    const axl_kernels *all = c->gpu->kernels;
    axl_kernels own;
    char name[200];
    const char *group = NULL;

    put_name(c, i, &group, name, sizeof name);
    current = c;
    c->missing = false;
    c->gpu->kernels = table_of(all, u->way, &own);
    kt_library = u->way == LIBRARY;
    const gpu_verdict verdict = gpu_run_one(
        &(struct CMUnitTest){.name = name, .test_func = agrees_with_ref, .initial_state = u});
    c->gpu->kernels = all;
    return c->missing ? GPU_LEFT_OUT : verdict;
}

// The tests of a list in one way.
static void add(cases *c, const kt_kernel *k, way w)
{
    const bool attention = strcmp(k->name, "attn") == 0;

    if ((w == OWN && !is_product(k)) || ((w == LIBRARY || w == MMA) && !attention))
        return;
    for (int i = 0; i < k->n_cases && c->n < MOST; i++) {
        const unsigned flags = kt_case_at(k, i)->flags;
        if ((flags & KT_BENCH) == 0 && (w == F32 || w == LIBRARY || (flags & KT_F32) == 0))
            c->units[c->n++] = (unit){k, i, w};
    }
}

static bool is_named(const char *group, char **names, int n)
{
    bool found = n == 0;

    for (int i = 0; i < n; i++)
        found = found || strcmp(names[i], group) == 0;
    return found;
}

// A library that makes its plans takes seconds: it comes last.
static void add_all(cases *c, char **names, int n)
{
    for (int last = 0; last < 2; last++)
        for (int i = 0; i < kt_n_kernels; i++)
            for (way w = last ? LIBRARY : F32; w < (last ? N_WAYS : LIBRARY); w++)
                if (is_named(group_of(kt_kernels[i], w), names, n))
                    add(c, kt_kernels[i], w);
}

static bool same_list(const unit *a, const unit *b)
{
    return a->k == b->k && a->way == b->way;
}

// One case, by this program's own kernels: what a library does is not looked into.
static axl_status run_unit(cases *c, const unit *u)
{
    const axl_kernels *all = c->gpu->kernels;
    const axl_dtype dtype = u->way == F32 ? AXL_F32 : AXL_BF16;
    axl_kernels own;
    kt_run r = {.device = c->gpu, .dtype = dtype, .grid = dtype};

    c->gpu->kernels = table_of(all, u->way == MMA ? MMA : OWN, &own);
    u->k->run(&r, kt_case_at(u->k, u->i));
    c->gpu->kernels = all;
    const axl_status status = is_missing(&r) ? AXL_OK : r.status;
    kt_run_fini(&r);
    if (status != AXL_OK)
        (void)fprintf(stderr, "%s.%s, %s: %s\n", u->k->name, kt_case_at(u->k, u->i)->name,
                      way_names[u->way], axl_error_message());
    return status;
}

// Case number `round` of each list: in turn from its beginning and its end, where lists have cases of another kind.
static axl_status run_round(cases *c, int round, double end, int *ran)
{
    axl_status status = AXL_OK;

    for (int first = 0, n; first < c->n; first += n) {
        for (n = 1; first + n < c->n && same_list(&c->units[first], &c->units[first + n]);)
            n++;
        const unit *u = &c->units[first];
        const bool again = u->way == LIBRARY || (u->way == BF16 && is_product(u->k));
        if (round >= n || again || axl_now() > end)
            continue;
        AXL_TRY(run_unit(c, u + (round % 2 == 0 ? round / 2 : n - 1 - round / 2)));
        (*ran)++;
    }
out:
    return status;
}

static int run_alone(cases *c, double seconds)
{
    const double end = axl_now() + seconds;
    axl_status status = AXL_OK;
    int ran = 0;

    for (int round = 0, before = -1; before < ran && status == AXL_OK; round++) {
        before = ran;
        status = run_round(c, round, end, &ran);
    }
    printf("%d of %d cases were run%s\n", ran, c->n, axl_now() > end ? ", then time was up" : "");
    axl_device_destroy(c->gpu);
    axl_device_destroy(c->ref);
    return status != AXL_OK ? 1 : ran == 0 && c->n > 0 ? OUT_OF_TIME : 0;
}

int gpu_cases_main(int argc, char **argv)
{
    cases *c = calloc(1, sizeof *c);
    bool alone = false;
    double seconds = 1e9;
    int first = 1, code = 1;

    if (c == NULL)
        return 1;
    c->backend = "cuda";
    for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++) {
        if (strcmp(argv[first], "--alone") == 0)
            alone = true;
        else if (strcmp(argv[first], "--backend") == 0 && first + 1 < argc)
            c->backend = argv[++first];
        else if (strcmp(argv[first], "--seconds") == 0 && first + 1 < argc)
            seconds = strtod(argv[++first], NULL);
        else
            break; // no list of that name
    }
    add_all(c, argv + first, argc - first);
    if (alone)
        code = begin(c, 0) ? run_alone(c, seconds) : GPU_SKIPPED;
    else
        code = gpu_isolate(&(gpu_tests){.what = "cases",
                                        .n = c->n,
                                        .data = c,
                                        .name = put_name,
                                        .begin = begin,
                                        .run = run,
                                        .usable = usable});
    free(c);
    return code;
}
