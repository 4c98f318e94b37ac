// Attention through an emulated cuDNN, against ref: every case of the case list, which of them the library gets, and
// what is kept between calls. What it does not get goes to this program's own kernels, for which ref stands.
#include "kernels/cuda/cuda_entries.h"
#include "tests/cuda_emu/cudnn_emulated.h"
#include "tests/cuda_emu/emu_test.h"
#include "tests/kernels/compare.h"

#include <stdlib.h>

axl_device *own_device; // ref
int64_t own_calls;
const axl_kernels axl_kernels_cuda = {.name = "cuda",
                                      .attn_bwd = axl_cuda_attn_bwd,
                                      .attn_delta = axl_cuda_attn_delta,
                                      .attn_fwd = axl_cuda_attn_fwd,
                                      .attn_merge = axl_cuda_attn_merge,
                                      .attn_sinks_bwd = axl_cuda_attn_sinks_bwd,
                                      .attn_sinks_fwd = axl_cuda_attn_sinks_fwd};

static axl_device *open_cuda(int chip)
{
    axl_device *d = NULL;

    dnn_seen = (dnn_counts){0};
    emu_set_arch(chip * 10);
    CHECK_OK(axl_cuda_device_create(0, &d));
    return d;
}

static void close_cuda(axl_device *d)
{
    d->ops->destroy(d);
    assert_int_equal(dnn_seen.objects, 0); // nothing is left over
}

static const kt_kernel *cases(void)
{
    for (int i = 0; i < kt_n_kernels; i++)
        if (strcmp(kt_kernels[i]->name, "attn") == 0)
            return kt_kernels[i];
    fail_msg("no cases");
    return NULL;
}

// The cases that the library gets: forward, and on sm_100 the gradient, unless it is added or F32.
static const struct {
    const char *name;
    bool backward;
} taken[] = {{"tiny", true},
             {"one_token", true},
             {"many_short", true},
             {"grouped_64", true},
             {"grouped_two_kv", true},
             {"wide_group_24", false},
             {"head_80", true},
             {"head_96", false},
             {"narrow_values", true},
             {"full_mask", true},
             {"window", true},
             {"window_one", true},
             {"window_long", true},
             {"sinks", true},
             {"tile_borders", true},
             {"tile_128", false},
             {"tile_96_grouped", false},
             {"tile_256", true}};
enum { N_TAKEN = sizeof taken / sizeof taken[0] };

static int64_t expected(const char *name, bool with_backward)
{
    for (int i = 0; i < N_TAKEN; i++)
        if (strcmp(taken[i].name, name) == 0)
            return with_backward && taken[i].backward ? 2 : 1;
    return 0;
}

static void compare_case(axl_device *d, const kt_head *c, int64_t calls)
{
    const int64_t before = dnn_seen.executions;
    kt_run a = {0}, b = {0};

    kt_run_case(&a, cases(), c, own_device, AXL_F32, AXL_BF16);
    kt_run_case(&b, cases(), c, d, AXL_BF16, AXL_BF16);
    kt_compare_runs(cases(), c, &a, &b);
    if (dnn_seen.executions - before != calls)
        fail_msg("%s: %d calls of the library, not %d", c->name,
                 (int)(dnn_seen.executions - before), (int)calls);
    kt_run_fini(&a);
    kt_run_fini(&b);
}

static void every_case_agrees_with_ref_on_sm_100(void **state)
{
    (void)state;
    axl_device *d = open_cuda(10);

    for (int i = 0; i < cases()->n_cases; i++) {
        const kt_head *c = kt_case_at(cases(), i);
        if ((c->flags & KT_BENCH) == 0)
            compare_case(d, c, expected(c->name, true));
    }
    assert_true(own_calls > 40);
    close_cuda(d);
}

static const kt_head *case_named(const char *name)
{
    for (int i = 0; i < cases()->n_cases; i++)
        if (strcmp(kt_case_at(cases(), i)->name, name) == 0)
            return kt_case_at(cases(), i);
    fail_msg("no case %s", name);
    return NULL;
}

static void on_sm_90_the_gradient_is_this_programs_own(void **state)
{
    (void)state;
    axl_device *d = open_cuda(9);

    compare_case(d, case_named("tiny"), 1);
    compare_case(d, case_named("grouped_64"), 1);
    compare_case(d, case_named("full_mask"), 1);
    close_cuda(d);
}

static void on_sm_80_the_library_is_not_opened(void **state)
{
    (void)state;
    axl_device *d = open_cuda(8);

    compare_case(d, case_named("tiny"), 0);
    assert_int_equal(dnn_seen.objects, 0);
    close_cuda(d);
}

static void without_the_library_the_own_kernels_are_used(void **state)
{
    (void)state;
    axl_device *d = open_cuda(10);

    dnn_seen.absent = true;
    compare_case(d, case_named("tiny"), 0);
    close_cuda(d);
}

static void what_it_refuses_goes_to_the_own_kernels(void **state)
{
    (void)state;
    axl_device *d = open_cuda(10);

    dnn_seen.refuse = true;
    compare_case(d, case_named("tiny"), 0);
    compare_case(d, case_named("tiny"), 0);
    assert_int_equal(dnn_seen.plans,
                     2); // two proposals of the forward pass, asked for once; one is not repeatable
    close_cuda(d);
}

// One forward call of n sequences of the given length, with what change makes of it (NULL: nothing).
static axl_status attend(axl_device *d, int32_t n_seqs, int32_t length, int32_t window,
                         void (*change)(axl_attn_args *))
{
    enum { MOST = 4096, D = 8 };
    static axl_bf16 q[MOST * D] __attribute__((aligned(16))),
        out[MOST * D] __attribute__((aligned(16)));
    static float lse[MOST];
    static int32_t cu[64];

    for (int32_t i = 0; i <= n_seqs; i++)
        cu[i] = i * length;
    axl_attn_args a = {.q = q,
                       .k = q,
                       .v = q,
                       .ldq = D,
                       .ldk = D,
                       .ldv = D,
                       .ldo = D,
                       .cu_seqlens_q = cu,
                       .cu_seqlens_k = cu,
                       .n_seqs = n_seqs,
                       .max_seqlen_q = length,
                       .max_seqlen_k = length,
                       .n_heads = 1,
                       .n_kv_heads = 1,
                       .head_dim = D,
                       .v_head_dim = D,
                       .scale = 1.0f,
                       .window = window,
                       .mask = AXL_MASK_CAUSAL,
                       .dtype = AXL_BF16,
                       .library = true,
                       .n_rows = n_seqs * length,
                       .out = out,
                       .lse = lse};

    if (change != NULL)
        change(&a);
    axl_status status = axl_cuda_attn_fwd(d->compute, &a);
    CHECK_OK(d->ops->synchronize(d->compute));
    return status;
}

static void one_plan_serves_the_packings_below_its_bounds(void **state)
{
    (void)state;
    axl_device *d = open_cuda(9);

    for (int32_t length = 1; length <= 128; length += 9)
        CHECK_OK(attend(d, 2, length, 0, NULL));
    assert_int_equal(dnn_seen.plans, 1);
    CHECK_OK(attend(d, 2, 129, 0, NULL));
    assert_int_equal(dnn_seen.plans, 2);
    CHECK_OK(attend(d, 2, 100, 128, NULL)); // a window that hides nothing
    assert_int_equal(dnn_seen.plans, 2);
    CHECK_OK(attend(d, 2, 100, 99, NULL));
    assert_int_equal(dnn_seen.plans, 3);
    CHECK_OK(attend(d, 3, 100, 0, NULL));
    assert_int_equal(dnn_seen.plans, 4);
    close_cuda(d);
}

static const int32_t numbers[4096], one_cu[] = {0, 40, 80};

static void not_asked_for(axl_attn_args *a)
{
    a->library = false;
}
static void rows_not_said(axl_attn_args *a)
{
    a->n_rows = 0;
}
static void too_many_rows_for_an_offset(axl_attn_args *a)
{
    a->n_rows = INT32_MAX / 8 + 1;
}
static void first_positions(axl_attn_args *a)
{
    a->pos_q = a->pos_k = numbers;
}
static void positions_of_queries(axl_attn_args *a)
{
    a->positions_q = numbers;
}
static void positions_of_keys(axl_attn_args *a)
{
    a->positions_k = numbers;
}
static void another_packing_of_keys(axl_attn_args *a)
{
    a->cu_seqlens_k = one_cu;
}
static void a_prefix(axl_attn_args *a)
{
    a->mask = AXL_MASK_PREFIX;
    a->prefix = numbers;
}
static void a_window_of_the_full_mask(axl_attn_args *a)
{
    a->mask = AXL_MASK_FULL;
    a->window = 3;
}
static void a_softcap(axl_attn_args *a)
{
    a->softcap = 5.0f;
}
static void rows_between_pieces(axl_attn_args *a)
{
    a->k = (const axl_bf16 *)a->k + 1;
}

static void other_calls_go_to_the_own_kernels(void **state)
{
    static void (*const changes[])(axl_attn_args *) = {not_asked_for,
                                                       rows_not_said,
                                                       first_positions,
                                                       positions_of_queries,
                                                       positions_of_keys,
                                                       another_packing_of_keys,
                                                       a_prefix,
                                                       a_window_of_the_full_mask,
                                                       a_softcap,
                                                       rows_between_pieces,
                                                       too_many_rows_for_an_offset};

    (void)state;
    axl_device *d = open_cuda(9);

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const int64_t before = own_calls;
        CHECK_OK(attend(d, 2, 40, 0, changes[i]));
        assert_int_equal(own_calls, before + 1);
        assert_int_equal(dnn_seen.executions, 0);
    }
    CHECK_OK(attend(d, 2, 40, 0, NULL));
    assert_int_equal(dnn_seen.executions, 1);
    close_cuda(d);
}

static void plans_that_do_not_fit_are_forgotten(void **state)
{
    (void)state;
    axl_device *d = open_cuda(9);

    for (int32_t window = 1; window <= 100; window++)
        CHECK_OK(attend(d, 1, 8, window, NULL));
    assert_int_equal(dnn_seen.plans, 100);
    assert_true(dnn_seen.objects <= 1 + 64 * 120);
    CHECK_OK(attend(d, 1, 8, 100, NULL));
    CHECK_OK(attend(d, 1, 8, 37, NULL));
    assert_int_equal(dnn_seen.plans, 100);
    CHECK_OK(attend(d, 1, 8, 36, NULL));
    assert_int_equal(dnn_seen.plans, 101);
    close_cuda(d);
}

// The gradient of two sequences of 8 tokens by 64 query heads of one key head, when there may be as many rows.
static void go_back(axl_device *d, int64_t n_rows)
{
    enum { T = 16, H = 64, D = 8 };
    static axl_bf16 q[T * H * D] __attribute__((aligned(16))),
        dq[T * H * D] __attribute__((aligned(16)));
    static axl_bf16 k[T * D] __attribute__((aligned(16))), dk[T * D] __attribute__((aligned(16))),
        dv[T * D] __attribute__((aligned(16)));
    static float lse[H * T];
    static const int32_t cu[] = {0, T / 2, T};
    const axl_attn_bwd_args b = {.fwd = {.q = q,
                                         .k = k,
                                         .v = k,
                                         .ldq = H * D,
                                         .ldk = D,
                                         .ldv = D,
                                         .ldo = H * D,
                                         .cu_seqlens_q = cu,
                                         .cu_seqlens_k = cu,
                                         .n_seqs = 2,
                                         .max_seqlen_q = T / 2,
                                         .max_seqlen_k = T / 2,
                                         .n_heads = H,
                                         .n_kv_heads = 1,
                                         .head_dim = D,
                                         .v_head_dim = D,
                                         .scale = 1.0f,
                                         .mask = AXL_MASK_CAUSAL,
                                         .dtype = AXL_BF16,
                                         .library = true,
                                         .n_rows = n_rows,
                                         .out = q,
                                         .lse = lse},
                                 .dout = q,
                                 .delta = lse,
                                 .dq = dq,
                                 .dk = dk,
                                 .dv = dv,
                                 .dtype_grad = AXL_BF16};

    CHECK_OK(axl_cuda_attn_bwd(d->compute, &b));
    CHECK_OK(d->ops->synchronize(d->compute));
}

static size_t memory_used(axl_device *d)
{
    size_t used = 0, total = 0;

    d->ops->mem_info(d, &used, &total);
    return used;
}

static void larger_room_is_taken_once_and_kept(void **state)
{
    (void)state;
    axl_device *d = open_cuda(10);
    const size_t before = memory_used(d);

    go_back(d, 16);
    assert_int_equal(memory_used(d), before); // the workspace will do
    go_back(d, 1 << 15);
    const size_t larger = memory_used(d);
    assert_in_range(larger - before, (size_t)128 << 20, (size_t)160 << 20);
    go_back(d, 1 << 14);
    go_back(d, 1 << 15);
    assert_int_equal(memory_used(d), larger);
    assert_int_equal(dnn_seen.executions, 4);
    go_back(d, 1 << 19); // above 1 GiB
    assert_int_equal(dnn_seen.executions, 4);
    assert_int_equal(memory_used(d), larger);
    close_cuda(d);
}

static void a_failing_call_says_what_helps(void **state)
{
    (void)state;
    axl_device *d = open_cuda(9);

    dnn_seen.fails = true;
    assert_int_equal(attend(d, 2, 100, 0, NULL), AXL_E_DEVICE);
    assert_non_null(strstr(axl_error_message(), "EXECUTION_FAILED"));
    assert_non_null(strstr(axl_error_message(), "flash_attention_2"));
    close_cuda(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_agrees_with_ref_on_sm_100),
        cmocka_unit_test(on_sm_90_the_gradient_is_this_programs_own),
        cmocka_unit_test(on_sm_80_the_library_is_not_opened),
        cmocka_unit_test(without_the_library_the_own_kernels_are_used),
        cmocka_unit_test(what_it_refuses_goes_to_the_own_kernels),
        cmocka_unit_test(one_plan_serves_the_packings_below_its_bounds),
        cmocka_unit_test(other_calls_go_to_the_own_kernels),
        cmocka_unit_test(plans_that_do_not_fit_are_forgotten),
        cmocka_unit_test(larger_room_is_taken_once_and_kept),
        cmocka_unit_test(a_failing_call_says_what_helps),
    };
    kt_library = true;
    own_device = kt_open_device("ref", 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_device_destroy(own_device);
    return failed;
}
