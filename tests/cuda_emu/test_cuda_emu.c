// Every case of the kernels that the CUDA backend has, emulated, against ref: in f32 and bf16, with the threads of a
// block run in several orders.
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/cuda_entries.h"
#include "kernels/cuda/gemm_lt.h"
#include "tests/cuda_emu/emu_test.h"
#include "tests/cuda_emu/far.h"
#include "tests/cuda_emu/faults.h"
#include "tests/kernels/compare.h"

#include <sys/wait.h>
#include <unistd.h>

void emu_set_order(unsigned order);
long long emu_launches(void);

// The products without the library; test_gemm_lt.c tests those with it.
axl_status axl_cuda_gemm_lt(axl_stream *s, const axl_gemm_args *a)
{
    return axl_cuda_gemm(s, a);
}

axl_status axl_cuda_gemm_fp8_lt(axl_stream *s, const axl_gemm_fp8_args *a)
{
    return axl_cuda_gemm_fp8(s, a);
}

// Attention without the library; test_attention_cudnn.c tests it with one.
axl_status axl_cuda_attn_cudnn_fwd(axl_stream *s, const axl_attn_args *a, bool *done)
{
    (void)s;
    (void)a;
    *done = false;
    return AXL_OK;
}

axl_status axl_cuda_attn_cudnn_bwd(axl_stream *s, const axl_attn_bwd_args *b, bool *done)
{
    (void)s;
    (void)b;
    *done = false;
    return AXL_OK;
}

// The case lists (tests/kernels/cases.c) whose entries are all there.
static const char *const names[] = {
    "adamw",      "add",       "amax",  "attn", "attn_eager", "attn_fp8",     "attn_half",
    "attn_merge", "attn_sage", "bias",  "cast", "cast_fp8",   "cast_list",    "ce",
    "ce_merge",   "combine",   "embed", "gemm", "gemm_fp8",   "gemm_grouped", "glu",
    "norm",       "rope",      "route", "rows", "sum_parts",  "sumsq",        NULL};

static bool is_there(const kt_kernel *k)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], k->name) == 0)
            return true;
    return false;
}

// A device whose kernels run in an order of emu_set_order, on a chip of compute capability arch / 10.
static axl_device *open_cuda(unsigned order, int arch)
{
    axl_device *d = NULL;

    emu_set_order(order);
    emu_set_arch(arch);
    CHECK_OK(axl_cuda_device_create(0, &d));
    return d;
}

static void agrees_with_ref(void **state)
{
    const kt_kernel *k = *state;
    axl_device *ref = kt_open_device("ref", 1), *cuda[3] = {NULL};

#ifdef AXL_EMU_RACES
    cuda[0] = open_cuda(7, 90);           // a race shows in any order
    if (strncmp(k->name, "gemm", 4) == 0) // races without warpgroups, too: attention has 96, 256
        cuda[1] = open_cuda(7, 89);
#else
    cuda[0] = open_cuda(0, 90);
    // 8.9 has the least shared memory, and runs the code for 8.0, which has no products of e4m3
    cuda[1] = open_cuda(1, 89);
    cuda[2] = open_cuda(7, 90);
#endif
    kt_compare_kernel(k, ref, AXL_F32, cuda, 3, AXL_F32);
    kt_compare_kernel(k, ref, AXL_BF16, cuda, 3, AXL_BF16);
    for (int i = 0; i < 3; i++)
        axl_cuda_device_destroy(cuda[i]);
    axl_device_destroy(ref);
}

// A workspace that holds the rounded keys of some heads, or of none.
static void rounded_keys_come_in_passes(void **state)
{
    static const size_t sizes[] = {48 << 10, 24 << 10};
    axl_device *ref = kt_open_device("ref", 1), *cuda = NULL;
    size_t all = 0;

    (void)state;
    emu_set_order(0);
    emu_set_arch(90);
    CHECK_OK(axl_cuda_device_create(0, &cuda));
    all = cuda->workspace_bytes;
    for (int i = 0; i < kt_n_kernels; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            cuda->workspace_bytes = sizes[j];
            if (strcmp(kt_kernels[i]->name, "attn_sage") == 0 ||
                strcmp(kt_kernels[i]->name, "attn_fp8") == 0)
                kt_compare_kernel(kt_kernels[i], ref, AXL_BF16, &cuda, 1, AXL_BF16);
        }
    cuda->workspace_bytes = all;
    axl_cuda_device_destroy(cuda);
    axl_device_destroy(ref);
}

// Sums over ranks are the same to the bit wherever they are made, for any number of ranks.
static void sums_of_parts_are_the_tree(void **state)
{
    enum { N = 19, MOST = 70 };
    axl_device *ref = kt_open_device("ref", 1), *cuda = NULL;
    float parts[MOST * N], want[N], got[N];

    (void)state;
    CHECK_OK(axl_cuda_device_create(0, &cuda));
    for (int i = 0; i < MOST * N; i++)
        parts[i] = (float)(i * 7919 % 1009) * 1.1f + 1.0f / (float)(i + 1);
    for (int n_parts = 1; n_parts <= MOST; n_parts += n_parts < 18 ? 1 : 13) {
        axl_sum_parts_item item = {.parts = parts, .stride = N, .n = N, .out = want};
        const axl_sum_parts_args a = {.items = &item,
                                      .n_items = 1,
                                      .n_parts = n_parts,
                                      .op = (axl_reduce_op)(n_parts % 4 == 3 ? n_parts % 3 : 0),
                                      .dtype = AXL_F32,
                                      .out_dtype = AXL_F32};
        CHECK_OK(ref->kernels->sum_parts(ref->compute, &a));
        item.out = got;
        CHECK_OK(cuda->kernels->sum_parts(cuda->compute, &a));
        CHECK_OK(cuda->ops->synchronize(cuda->compute));
        assert_memory_equal(got, want, sizeof want);
    }
    axl_cuda_device_destroy(cuda);
    axl_device_destroy(ref);
}

// One run of a case by a device of n multiprocessors, which has so many blocks or some more.
static void run_on(kt_run *r, const kt_kernel *k, const kt_head *c, int n)
{
    axl_device *cuda = NULL;

    emu_set_order(n == 1 ? 0 : 7);
    emu_set_arch(90);
    emu_set_multiprocessors(n);
    CHECK_OK(axl_cuda_device_create(0, &cuda));
    kt_run_case(r, k, c, cuda, AXL_BF16, AXL_BF16);
    axl_cuda_device_destroy(cuda);
    emu_set_multiprocessors(4);
}

static void bits_of_attention_do_not_depend_on_multiprocessors(void **state)
{
    int n_outputs = 0;

    (void)state;
    for (int i = 0; i < kt_n_kernels; i++)
        for (int j = 0; j < kt_kernels[i]->n_cases && strcmp(kt_kernels[i]->name, "attn") == 0;
             j++) {
            const kt_head *c = kt_case_at(kt_kernels[i], j);
            kt_run one = {0}, many = {0};
            if (strcmp(c->name, "grouped_two_kv") != 0 && strcmp(c->name, "tile_128_window") != 0)
                continue;
            run_on(&one, kt_kernels[i], c, 1);
            run_on(&many, kt_kernels[i], c, 30);
            for (int k = 0; k < one.n_buffers; k++) {
                const kt_buffer *b = &one.buffers[k];
                if (!b->output)
                    continue;
                assert_memory_equal(b->data, many.buffers[k].data,
                                    (size_t)(b->rows * b->ld) * axl_dtype_size(b->dtype));
                n_outputs++;
            }
            kt_run_fini(&one);
            kt_run_fini(&many);
        }
    assert_true(n_outputs >= 2 * 4); // out, dq, dk, dv
}

// The small kernels around a library's attention (attention_packed.cu), where no library calls them.
static void packed_rows_are_placed_and_turned(void **state)
{
    enum { N = 3, BOUND = 5, T = 71, H = 37 };
    static const int32_t cu[N + 1] = {0, 40, 40, T};
    static const int32_t lengths[BOUND] = {40, 0, 31, 0, 0};
    static int32_t len[BOUND], at[AXL_ATTN_LAYOUTS][BOUND + 1];
    static float heads[H * T], tokens[T * H], again[H * T];
    axl_attn_places p = {.len = len};
    axl_device *d = NULL;

    (void)state;
    for (int i = 0; i < AXL_ATTN_LAYOUTS; i++) {
        p.at[i] = at[i];
        p.ld[i] = 10 + i;
    }
    for (int i = 0; i < H * T; i++)
        heads[i] = (float)i;
    CHECK_OK(axl_cuda_device_create(0, &d));
    CHECK_OK(axl_cuda_attn_place(d->compute, cu, N, BOUND, &p));
    CHECK_OK(axl_cuda_attn_turn(d->compute, cu, N, T + 40, H, true, heads, tokens));
    CHECK_OK(axl_cuda_attn_turn(d->compute, cu, N, T, H, false, tokens, again));
    CHECK_OK(d->ops->synchronize(d->compute));
    assert_memory_equal(len, lengths, sizeof len);
    for (int i = 0; i < AXL_ATTN_LAYOUTS; i++)
        for (int j = 0; j <= BOUND; j++)
            assert_int_equal(at[i][j], cu[j < N ? j : N] * (10 + i));
    for (int h = 0; h < H; h++)
        for (int t = 0; t < T; t++)
            assert_true(tokens[t * H + h] == heads[h * T + t]);
    assert_memory_equal(again, heads, sizeof heads);
    axl_cuda_device_destroy(d);
}

// Runs a faulty kernel in a process of its own. What that says goes to text. Returns whether it ended well.
static bool run_fault(const emu_fault *f, char *text, size_t bytes)
{
    cudaStream_t s = NULL;
    int ends[2] = {-1, -1}, how = 0;
    size_t n = 0;

    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)cudaStreamCreateWithFlags(&s, 0);
        f->run(s);
        _exit(0);
    }
    (void)close(ends[1]);
    for (ssize_t got = 1; got > 0 && n + 1 < bytes; n += got > 0 ? (size_t)got : 0)
        got = read(ends[0], text + n, bytes - 1 - n);
    text[n] = '\0';
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

// The faults that this build looks for end the program with the place; nothing else does.
static void faults_are_found(void **state)
{
#ifdef AXL_EMU_RACES
    const emu_fault_kind sought = EMU_RACE;
    const char *message = "a race: no ";
#else
    const emu_fault_kind sought = EMU_OVERRUN;
    const char *message = "AddressSanitizer";
#endif
    static char text[1 << 16];

    (void)state;
    for (unsigned order = 0; order < 3; order++)
        for (const emu_fault *f = emu_faults; f->name != NULL; f++) {
            emu_set_order(order);
            if (f->kind != sought && (f->kind == EMU_RACE || f->kind == EMU_OVERRUN))
                continue;
            const bool well = run_fault(f, text, sizeof text);
            if (well != (f->kind == EMU_NONE))
                fail_msg("%s: %s", f->name, well ? "was not found" : text);
            if (f->kind == sought && (!strstr(text, message) || !strstr(text, "faults.cu:")))
                fail_msg("%s: said %s", f->name, text);
            if (f->kind == EMU_REFUSED && strstr(text, f->says) == NULL)
                fail_msg("%s: said %s", f->name, text);
            if (f->kind == EMU_STUCK && strstr(text, "no thread can go on") == NULL)
                fail_msg("%s: said %s", f->name, text);
        }
}

// A NaN in a row of queries is in that row's results, and in no other's: it does not become a row that sees nothing.
static void nan_stays_in_attention(void **state)
{
    enum { T = 5, D = 64, BAD = 2 };
    static float q[T * D], out[T * D], lse[T], probs[T * 16];
    static axl_bf16 q16[T * D], out16[T * D];
    const int32_t cu[] = {0, T};
    axl_device *d = NULL;

    (void)state;
    for (int i = 0; i < T * D; i++) {
        q[i] = (float)(i % 13 - 6) / 6.0f;
        q16[i] = axl_f32_to_bf16(q[i]);
    }
    q[BAD * D + 3] = NAN;
    q16[BAD * D + 3] = axl_f32_to_bf16(NAN);
    CHECK_OK(axl_cuda_device_create(0, &d));
    for (int form = 0; form < 6; form++) { // attn_fwd, half, eager; plain and tiled
        const bool tiled = form % 2 != 0;
        axl_attn_args a = {.q = tiled ? (void *)q16 : q, .ldq = D, .ldk = D, .ldv = D, .ldo = D};
        float keys[T * D];
        axl_bf16 keys16[T * D];
        memcpy(keys, q, sizeof keys);
        memcpy(keys16, q16, sizeof keys16);
        keys[BAD * D + 3] = 1.0f;
        keys16[BAD * D + 3] = axl_f32_to_bf16(1.0f);
        a.k = a.v = tiled ? (void *)keys16 : keys;
        a.cu_seqlens_q = a.cu_seqlens_k = cu;
        a.n_seqs = a.n_heads = a.n_kv_heads = 1;
        a.max_seqlen_q = a.max_seqlen_k = T;
        a.head_dim = a.v_head_dim = D;
        a.scale = 0.125f;
        a.mask = AXL_MASK_CAUSAL;
        a.dtype = tiled ? AXL_BF16 : AXL_F32;
        a.out = tiled ? (void *)out16 : out;
        a.lse = lse;
        const axl_attn_eager_args e = {.fwd = a, .probs = probs, .ld_probs = 16};
        CHECK_OK(form < 2   ? d->kernels->attn_fwd(d->compute, &a)
                 : form < 4 ? d->kernels->attn_half_fwd(d->compute, &a)
                            : d->kernels->attn_eager_fwd(d->compute, &e));
        CHECK_OK(d->ops->synchronize(d->compute));
        for (int t = 0; t < T; t++) {
            const float x = tiled ? axl_bf16_to_f32(out16[t * D]) : out[t * D];
            assert_int_equal(isnan(x), t == BAD);
            assert_int_equal(isnan(lse[t]), t == BAD);
        }
    }
    axl_cuda_device_destroy(d);
}

// A grid that CUDA does not take is an error; it does not become a smaller one. Bounds that are far from what there is
// hide no work.
static void grids_do_not_wrap(void **state)
{
    enum { SEQS = 4096, H = 32, D = 8 };
    static int32_t cu[SEQS + 1];
    static float q[2 * H * D], out[2 * H * D], lse[2 * H];
    axl_device *d = NULL;

    (void)state;
    CHECK_OK(axl_cuda_device_create(0, &d));
    axl_ce_bwd_args ce = {
        .rows = (int64_t)1 << 30, .vocab = 40000, .dtype = AXL_F32, .dtype_out = AXL_BF16};
    CHECK_FAILS(d->kernels->ce_bwd(d->compute, &ce), AXL_E_DEVICE, "ce_bwd");
    (void)cudaGetLastError();
    for (int i = 1; i <= SEQS; i++)
        cu[i] = 2;
    for (int i = 0; i < 2 * H * D; i++)
        q[i] = 1.0f;
    axl_attn_args a = {
        .q = q, .k = q, .v = q, .ldq = H * D, .ldk = H * D, .ldv = H * D, .ldo = H * D};
    a.cu_seqlens_q = a.cu_seqlens_k = cu;
    a.n_seqs = SEQS;
    a.n_heads = a.n_kv_heads = H;
    a.max_seqlen_q = a.max_seqlen_k = 131072;
    a.head_dim = a.v_head_dim = D;
    a.scale = 1.0f;
    a.mask = AXL_MASK_CAUSAL;
    a.dtype = AXL_F32;
    a.out = out;
    a.lse = lse;
    CHECK_OK(d->kernels->attn_fwd(d->compute, &a));
    CHECK_OK(d->ops->synchronize(d->compute));
    CHECK_CLOSE(out, q, 2 * H * D, 1e-6, 1e-6);
    axl_cuda_device_destroy(d);
}

// How many launches a forward took.
static long long launches_of(axl_device *d, const axl_attn_args *a)
{
    const long long before = emu_launches();

    CHECK_OK(d->kernels->attn_fwd(d->compute, a));
    CHECK_OK(d->ops->synchronize(d->compute));
    return emu_launches() - before;
}

// Many sequences and a bound far above their lengths: where the number of rows is known the list of tiles is bounded by it, and
// the tensor cores get the call. They take two launches, the list's and their own; the plain kernel takes one.
static void short_sequences_are_tiled_whatever_the_longest(void **state)
{
    enum { SEQS = 4096, EVERY = 40, ROWS = (SEQS + EVERY - 1) / EVERY, D = 64 };
    static int32_t cu[SEQS + 1];
    static axl_bf16 q[ROWS * D], out[ROWS * D], want[ROWS * D];
    static float lse[ROWS], want_lse[ROWS];
    axl_device *ref = kt_open_device("ref", 1), *d = NULL;

    (void)state;
    for (int i = 0; i < SEQS; i++)
        cu[i + 1] = cu[i] + (i % EVERY == 0);
    for (int i = 0; i < ROWS * D; i++)
        q[i] = axl_f32_to_bf16((float)(i * 7919 % 1009) / 1009.0f);
    axl_attn_args a = {.q = q, .k = q, .v = q, .ldq = D, .ldk = D, .ldv = D, .ldo = D};
    a.cu_seqlens_q = a.cu_seqlens_k = cu;
    a.n_seqs = SEQS;
    a.max_seqlen_q = a.max_seqlen_k = 131072;
    a.n_heads = a.n_kv_heads = 1;
    a.head_dim = a.v_head_dim = D;
    a.scale = 0.125f;
    a.mask = AXL_MASK_CAUSAL;
    a.dtype = AXL_BF16;
    a.out = want;
    a.lse = want_lse;
    CHECK_OK(ref->kernels->attn_fwd(ref->compute, &a));
    a.out = out;
    a.lse = lse;
    for (int arch = 89; arch <= 90; arch++) {
        emu_set_arch(arch);
        CHECK_OK(axl_cuda_device_create(0, &d));
        a.n_rows = a.n_rows_k = 0;
        assert_int_equal(launches_of(d, &a), 1);
        a.n_rows = a.n_rows_k = ROWS;
        memset(out, 0, sizeof out);
        assert_int_equal(launches_of(d, &a), 2);
        assert_memory_equal(out, want, sizeof out); // of one row each: their own values
        CHECK_CLOSE(lse, want_lse, ROWS, 1e-5, 1e-5);
        // as much as the bound asks for is enough, less is not
        const size_t all = d->workspace_bytes, tiles = (ROWS + (size_t)SEQS * 63) / 64;
        for (size_t less = 0; less < 2; less++) {
            d->workspace_bytes = tiles * 2 * 8 + 304 - less; // 304: their heads
            assert_int_equal(launches_of(d, &a), less == 0 ? 2 : 1);
        }
        d->workspace_bytes = all;
        axl_cuda_device_destroy(d);
    }
    axl_device_destroy(ref);
}

static void products_are_made_by_mma_on_request(void **state)
{
    (void)state;
    for (int arch = 89; arch <= 90; arch++) {
        axl_device *d = open_cuda(0, arch);
        assert_int_equal(axl_cuda_has_wgmma(d), arch == 90);
        d->mma = true; // axl_device_options.mma
        assert_false(axl_cuda_has_wgmma(d));
        axl_cuda_device_destroy(d);
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[75];
    int n = 0;

    if (argc < 2 || strcmp(argv[1], "faults") == 0)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(faults_are_found);
    if (argc < 2 || strcmp(argv[1], "packed") == 0)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(packed_rows_are_placed_and_turned);
    for (int i = 0; i < kt_n_kernels && n < 60; i++) {
        bool wanted = argc < 2 && is_there(kt_kernels[i]);
        for (int j = 1; j < argc; j++)
            wanted = wanted || strcmp(argv[j], kt_kernels[i]->name) == 0;
        if (wanted)
            tests[n++] = (struct CMUnitTest){.name = kt_kernels[i]->name,
                                             .test_func = agrees_with_ref,
                                             .initial_state = (void *)(uintptr_t)kt_kernels[i]};
    }
    if (argc < 2 || strcmp(argv[1], "special") == 0) {
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(rounded_keys_come_in_passes);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(sums_of_parts_are_the_tree);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(nan_stays_in_attention);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(grids_do_not_wrap);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(products_are_made_by_mma_on_request);
        tests[n++] =
            (struct CMUnitTest)cmocka_unit_test(short_sequences_are_tiled_whatever_the_longest);
        tests[n++] =
            (struct CMUnitTest)cmocka_unit_test(bits_of_attention_do_not_depend_on_multiprocessors);
    }
#ifndef AXL_EMU_RACES
    if (argc < 2 || strcmp(argv[1], "far") == 0) {
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(far_elements_are_reached);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(far_rows_are_reached);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(far_strides_are_kept);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(far_groups_are_reached);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(far_tokens_attend);
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(far_bytes_are_reached);
    }
#endif
    return _cmocka_run_group_tests("cuda_emu", tests, (size_t)n, NULL, NULL);
}
