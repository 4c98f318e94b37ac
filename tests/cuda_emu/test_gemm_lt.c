// gemm through an emulated cuBLASLt, against ref: every case of the case list, and what is kept between calls.
#include "kernels/cuda/cuda_entries.h"
#include "kernels/cuda/gemm_lt.h"
#include "src/base/log.h"
#include "tests/cuda_emu/emu_test.h"
#include "tests/cuda_emu/lt_emulated.h"
#include "tests/kernels/compare.h"

#include <stdlib.h>
#include <unistd.h>

void emu_push_work(cudaStream_t s, void (*work)(void *), void *data);

static axl_device *ref;
static int64_t n_plain; // products that the library did not get
const axl_kernels axl_kernels_cuda = {
    .name = "cuda", .gemm = axl_cuda_gemm_lt, .gemm_fp8 = axl_cuda_gemm_fp8_lt};

// Stands in for the plain kernel.
static void plain(void *args)
{
    CHECK_OK(ref->kernels->gemm(ref->compute, args));
    free(args);
}

axl_status axl_cuda_gemm(axl_stream *s, const axl_gemm_args *a)
{
    axl_gemm_args *copy = malloc(sizeof *copy);

    *copy = *a;
    n_plain++;
    emu_push_work(axl_cuda_stream(s), plain, copy);
    return AXL_OK;
}

static axl_device *open_cuda(void)
{
    axl_device *d = NULL;

    lt_seen = (lt_counts){0};
    n_plain = 0;
    CHECK_OK(axl_cuda_device_create(0, &d));
    return d;
}

static void close_cuda(axl_device *d)
{
    d->ops->destroy(d);
    assert_int_equal(lt_seen.objects, 0); // nothing is left over
}

static const kt_kernel *cases_of(const char *name)
{
    for (int i = 0; i < kt_n_kernels; i++)
        if (strcmp(kt_kernels[i]->name, name) == 0)
            return kt_kernels[i];
    fail_msg("no cases");
    return NULL;
}

static const kt_kernel *gemm_cases(void)
{
    return cases_of("gemm");
}

static void all_cases_agree_with_ref(void **state)
{
    (void)state;
    axl_device *d = open_cuda();

    kt_compare_kernel(gemm_cases(), ref, AXL_F32, &d, 1, AXL_F32);
    assert_int_equal(n_plain, 2); // no rows, no sums
    assert_int_equal(lt_seen.products, lt_seen.searches);
    kt_compare_kernel(gemm_cases(), ref, AXL_BF16, &d, 1, AXL_BF16);
    assert_int_equal(n_plain, 7); // the same, and three f32 results with a bf16 bias
    close_cuda(d);
}

static void without_the_library_the_plain_kernel_is_used(void **state)
{
    (void)state;
    axl_device *d = open_cuda();

    lt_seen.absent = true;
    kt_compare_kernel(gemm_cases(), ref, AXL_F32, &d, 1, AXL_F32);
    assert_true(n_plain > 5);
    assert_int_equal(lt_seen.products, 0);
    close_cuda(d);
}

static void what_it_refuses_goes_to_the_plain_kernel(void **state)
{
    (void)state;
    axl_device *d = open_cuda();

    lt_seen.refuse = true;
    kt_compare_kernel(gemm_cases(), ref, AXL_BF16, &d, 1, AXL_BF16);
    assert_int_equal(lt_seen.products, 0);
    assert_true(n_plain > 5);
    close_cuda(d);
}

static void open_log(char *path)
{
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    CHECK_OK(axl_log_open(path));
}

// How many lines of the log have the text; closes it.
static int said(const char *path, const char *text)
{
    char line[512];
    int n = 0;

    axl_log_close();
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        n += strstr(line, text) != NULL;
    (void)fclose(f);
    (void)unlink(path);
    return n;
}

static void a_large_product_that_it_refuses_is_said_once(void **state)
{
    enum { N = 256 };
    static float a[N * N] __attribute__((aligned(256))), c[N * N] __attribute__((aligned(256)));
    char path[] = "/tmp/axl_lt_XXXXXX";
    axl_gemm_args g = {.m = N,
                       .n = N,
                       .k = N,
                       .a = a,
                       .b = a,
                       .c = c,
                       .lda = N,
                       .ldb = N,
                       .ldc = N,
                       .alpha = 1.0f,
                       .dtype = AXL_F32,
                       .dtype_c = AXL_F32};

    (void)state;
    open_log(path);
    axl_device *d = open_cuda();
    lt_seen.refuse = true;
    CHECK_OK(axl_cuda_gemm_lt(d->compute, &g));
    g.trans_a = true;
    CHECK_OK(axl_cuda_gemm_lt(d->compute, &g));
    close_cuda(d);
    assert_int_equal(said(path, "has no algorithm for a product of 256 x 256 x 256"), 1);
}

// bf16 results with and without a bias, f32 results without; B as it lies, and turned.
static void products_of_e4m3_agree_with_ref(void **state)
{
    (void)state;
    emu_set_arch(90);
    axl_device *d = open_cuda();

    kt_compare_kernel(cases_of("gemm_fp8"), ref, AXL_BF16, &d, 1, AXL_BF16);
    assert_int_equal(lt_seen.fp8, 6);
    kt_compare_kernel(cases_of("gemm_fp8"), ref, AXL_F32, &d, 1, AXL_F32);
    assert_int_equal(lt_seen.fp8, 9);
    close_cuda(d);
}

// Columns of B are turned as the workspace holds them; the library's part of it is its own meanwhile.
static void little_workspace_turns_b_in_parts(void **state)
{
    (void)state;
    emu_set_arch(90);
    axl_device *d = open_cuda();
    const size_t all = d->workspace_bytes;

    d->workspace_bytes = 24 << 10;
    kt_compare_kernel(cases_of("gemm_fp8"), ref, AXL_BF16, &d, 1, AXL_BF16);
    assert_int_equal(lt_seen.fp8, 8); // one of them in three parts
    d->workspace_bytes = all;
    close_cuda(d);
}

static void without_scales_of_rows_our_own_kernel_is_used(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        emu_set_arch(k == 0 ? 100 : 90);
        axl_device *d = open_cuda();
        lt_seen.old = k == 1;
        lt_seen.refuse = k == 2;
        char path[] = "/tmp/axl_gemm_lt_XXXXXX";
        open_log(path);
        kt_compare_kernel(cases_of("gemm_fp8"), ref, AXL_BF16, &d, 1, AXL_BF16);
        assert_int_equal(lt_seen.fp8, 0);
        close_cuda(d);
        assert_int_equal(said(path, k == 0 ? "9.0 alone" : "before 12.9"), k < 2);
    }
}

static void multiply(axl_device *d, int64_t m, int64_t offset)
{
    enum { MOST = 2000, K = 8, N = 4 };
    static float a[MOST * K + 8] __attribute__((aligned(256))), b[K * N], c[MOST * N];
    const axl_gemm_args g = {.m = m,
                             .n = N,
                             .k = K,
                             .a = a + offset,
                             .b = b,
                             .c = c,
                             .lda = K,
                             .ldb = N,
                             .ldc = N,
                             .alpha = 1.0f,
                             .dtype = AXL_F32,
                             .dtype_c = AXL_F32};

    CHECK_OK(axl_cuda_gemm_lt(d->compute, &g));
    CHECK_OK(d->ops->synchronize(d->compute));
}

static void a_shape_is_searched_once(void **state)
{
    (void)state;
    axl_device *d = open_cuda();

    for (int round = 0; round < 3; round++)
        for (int64_t m = 1; m <= 20; m++)
            multiply(d, m, 0);
    assert_int_equal(lt_seen.searches, 20);
    assert_int_equal(lt_seen.products, 60);
    multiply(d, 1, 1); // less alignment is another shape
    assert_int_equal(lt_seen.searches, 21);
    close_cuda(d);
}

static void tf32_is_for_f32_and_only_if_asked(void **state)
{
    (void)state;
    axl_device *d = open_cuda();

    multiply(d, 5, 0);
    assert_int_equal(lt_seen.tf32, 0);
    d->tf32 = true;
    multiply(d, 5, 0); // another algorithm
    assert_int_equal(lt_seen.searches, 2);
    assert_int_equal(lt_seen.tf32, 1);
    kt_compare_kernel(gemm_cases(), ref, AXL_BF16, &d, 1, AXL_BF16);
    assert_int_equal(lt_seen.tf32, 1);
    close_cuda(d);
}

static void more_shapes_than_fit_are_forgotten(void **state)
{
    (void)state;
    axl_device *d = open_cuda();

    for (int64_t m = 1; m <= 1500; m++)
        multiply(d, m, 0);
    assert_int_equal(lt_seen.searches, 1500);
    assert_true(lt_seen.objects <= 1 + 4 * 512); // the handle, and four of each shape kept
    multiply(d, 1500, 0);
    assert_int_equal(lt_seen.searches, 1500);
    close_cuda(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_cases_agree_with_ref),
        cmocka_unit_test(products_of_e4m3_agree_with_ref),
        cmocka_unit_test(little_workspace_turns_b_in_parts),
        cmocka_unit_test(without_scales_of_rows_our_own_kernel_is_used),
        cmocka_unit_test(without_the_library_the_plain_kernel_is_used),
        cmocka_unit_test(what_it_refuses_goes_to_the_plain_kernel),
        cmocka_unit_test(a_large_product_that_it_refuses_is_said_once),
        cmocka_unit_test(a_shape_is_searched_once),
        cmocka_unit_test(tf32_is_for_f32_and_only_if_asked),
        cmocka_unit_test(more_shapes_than_fit_are_forgotten),
    };
    ref = kt_open_device("ref", 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_device_destroy(ref);
    return failed;
}
