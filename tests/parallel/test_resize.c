// RUN: np=1,2,4
// Rows of the vocabulary that the files lack: their values, and the same bits on every layout.
#include "src/base/philox.h"
#include "src/model/resize.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

static axl_comm *world;

#define MORE 7 // rows beyond those on disk

// A model of tests/data/families with MORE further rows, spread over mesh.
typedef struct resized {
    axl_device *device;
    axl_mesh *mesh;
    axl_hfdir *hf;
    axl_model *model;
    axl_sharder sharder;
    int64_t n_old, n_new, cols;
    double *matrix[2]; // [n_new, cols], owned: embedding and head, the same on all ranks
} resized;

static void open_resized(resized *z, const char *name, const int mesh[AXL_N_AXES], int64_t change,
                         const axl_resize *r)
{
    char path[600];
    axl_arch arch;
    const axl_device_options d = {.n_threads = 1};
    const axl_sharder_options so = {.dtype = AXL_F32, .train = true, .reshard_after_forward = true};

    *z = (resized){0};
    (void)snprintf(path, sizeof path, "%s/families/%s", AXL_TEST_DATA, name);
    CHECK_OK(axl_device_create(&d, &z->device));
    CHECK_OK(axl_comm_use_device(world, z->device));
    CHECK_OK(axl_hfdir_open(path, &z->hf));
    CHECK_OK(axl_arch_read(path, &arch));
    arch.vocab += change;
    CHECK_OK(axl_mesh_create(world, mesh, &z->mesh));
    CHECK_OK(axl_model_create(&arch, z->mesh, &z->model));
    CHECK_OK(
        axl_sharder_init(&z->sharder, z->device, z->mesh, z->model->units, z->model->n_units, &so));
    CHECK_OK(axl_model_load(z->model, z->hf));
    CHECK_OK(axl_model_resize(z->model, z->hf, r));
    z->n_old = z->model->arch.file_vocab;
    z->n_new = z->model->arch.vocab;
    z->cols = z->model->arch.hidden;
}

// Everyone's rows, added up: each row has one owner.
static void gather(resized *z)
{
    const axl_param *p[2] = {&z->model->units[0].params[0], z->model->lm_head};
    const size_t n = (size_t)(z->n_new * z->cols);

    for (int k = 0; k < 2; k++) {
        const axl_param_rect r = axl_param_rect_of(p[k], 0);
        z->matrix[k] = calloc(n, sizeof(double));
        axl_host_view view;
        CHECK_OK(axl_param_map(p[k], p[k]->master, &r, true, &view));
        const float *rows = view.host;
        for (int64_t i = 0; p[k]->owner && i < r.block.n_rows * z->cols; i++)
            z->matrix[k][r.block.row0 * z->cols + i] = (double)rows[i];
        CHECK_OK(axl_device_unmap(&view, false));
        CHECK_OK(axl_comm_all_reduce_f64(world, z->matrix[k], (int)n, AXL_REDUCE_SUM));
    }
}

static void close_resized(resized *z)
{
    free(z->matrix[0]);
    free(z->matrix[1]);
    axl_sharder_fini(&z->sharder);
    axl_model_destroy(z->model);
    axl_mesh_destroy(z->mesh);
    axl_hfdir_close(z->hf);
    axl_device_destroy(z->device);
}

static void layouts(int meshes[3][AXL_N_AXES])
{
    const int n = axl_comm_size(world);
    const int all[3][AXL_N_AXES] = {
        {1, n, 1, 1, 1}, {1, 1, 1, 1, n}, {n > 1 ? 2 : 1, n > 2 ? n / 2 : 1, 1, 1, 1}};

    memcpy(meshes, all, sizeof all);
}

// Both matrices on the layouts, which must be the same; *out has those of the first.
static void on_all_layouts(const char *name, int64_t change, const axl_resize *r, resized *out)
{
    int meshes[3][AXL_N_AXES];

    layouts(meshes);
    open_resized(out, name, meshes[0], change, r);
    gather(out);
    for (int k = 1; k < 3; k++) {
        resized other;
        open_resized(&other, name, meshes[k], change, r);
        gather(&other);
        for (int m = 0; m < 2; m++)
            assert_memory_equal(out->matrix[m], other.matrix[m],
                                (size_t)(out->n_new * out->cols) * sizeof(double));
        close_resized(&other);
    }
}

static double mean_of(const resized *z, int m, int64_t d, int64_t skip)
{
    double sum = 0.0;

    for (int64_t i = 0; i < z->n_old; i++)
        sum += i == skip ? 0.0 : z->matrix[m][i * z->cols + d];
    return sum / (double)(z->n_old - (skip >= 0));
}

static void new_rows_are_normal_numbers_of_the_range(void **state)
{
    (void)state;
    const axl_resize r = {.std = 0.02, .seed = 42, .keep = -1};
    resized z;

    on_all_layouts("llama", MORE, &r, &z);
    for (int m = 0; m < 2; m++) {
        double squares = 0.0;
        for (int64_t i = z.n_old; i < z.n_new; i++) {
            for (int64_t d = 0; d < z.cols; d++) {
                const double x = z.matrix[m][i * z.cols + d];
                const uint64_t at = (uint64_t)m << 62 | (uint64_t)i << 31 | (uint64_t)d;
                assert_true(x ==
                            (double)(float)(0.02 * axl_random_normal(42, AXL_RANDOM_INIT, at)));
                squares += x * x;
            }
        }
        const double rms = sqrt(squares / (double)(MORE * z.cols));
        assert_true(rms > 0.015 && rms < 0.025);
    }
    close_resized(&z);
}

// The variance of the draws along each column against 1e-9 of the matrix' own.
static void new_rows_lie_around_the_mean(void **state)
{
    (void)state;
    const axl_resize r = {.mean = true, .std = 0.02, .seed = 1, .keep = -1};
    resized z;
    const int64_t many = 200;

    on_all_layouts("llama", many, &r, &z);
    for (int m = 0; m < 2; m++) {
        double got = 0.0, want = 0.0, drift = 0.0;
        for (int64_t d = 0; d < z.cols; d++) {
            const double mean = mean_of(&z, m, d, -1);
            for (int64_t i = 0; i < z.n_old; i++)
                want += 1e-9 * pow(z.matrix[m][i * z.cols + d] - mean, 2) / (double)z.n_old;
            for (int64_t i = z.n_old; i < z.n_new; i++) {
                got += pow(z.matrix[m][i * z.cols + d] - mean, 2) / (double)many;
                drift = fmax(drift, fabs(z.matrix[m][i * z.cols + d] - mean));
            }
        }
        assert_true(drift < 1e-3);
        assert_true(drift > 0.0);
        assert_true(got > 0.8 * want && got < 1.2 * want);
    }
    close_resized(&z);
}

static void rows_to_fix_become_the_mean_of_the_others(void **state)
{
    (void)state;
    const int64_t fix[] = {5};
    const axl_resize r = {
        .std = 0.02, .seed = 42, .keep = -1, .untrained = true, .fix = fix, .n_fix = 1};
    const int64_t beyond[] = {100000};
    const axl_resize wrong = {.keep = -1, .fix = beyond, .n_fix = 1};
    resized z;

    on_all_layouts("qwen2_tied", 0, &r, &z);
    assert_ptr_equal(z.model->lm_head, &z.model->units[0].params[0]);
    for (int64_t d = 0; d < z.cols; d++)
        assert_true(fabs(z.matrix[0][5 * z.cols + d] - mean_of(&z, 0, d, 5)) < 1e-7);
    CHECK_FAILS(axl_model_resize(z.model, z.hf, &wrong), AXL_E_CONFIG,
                "fix_untrained_tokens: 100000 is no token of the model");
    close_resized(&z);
}

static void a_smaller_vocabulary_keeps_the_first_rows(void **state)
{
    (void)state;
    const axl_resize r = {.std = 0.02, .keep = -1};
    resized whole, part;

    on_all_layouts("llama", 0, &r, &whole);
    on_all_layouts("llama", -9, &r, &part);
    assert_int_equal(part.n_new, whole.n_new - 9);
    for (int m = 0; m < 2; m++)
        assert_memory_equal(whole.matrix[m], part.matrix[m],
                            (size_t)(part.n_new * part.cols) * sizeof(double));
    close_resized(&part);
    close_resized(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_rows_are_normal_numbers_of_the_range),
        cmocka_unit_test(new_rows_lie_around_the_mean),
        cmocka_unit_test(rows_to_fix_become_the_mean_of_the_others),
        cmocka_unit_test(a_smaller_vocabulary_keeps_the_first_rows),
    };

    if (axl_comm_init(NULL, NULL, &world) != AXL_OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
