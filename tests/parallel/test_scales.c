// RUN: np=1,2,4
// Standard deviations of sharded tensors: those of plain Python (tests/goldens/weight_scales.py), the same bits on every
// layout; and scaling reaches every copy of a tensor.
#include "src/io/hfdir.h"
#include "src/io/json.h"
#include "src/model/scales.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

static axl_comm *world;

typedef struct loaded {
    axl_device *device;
    axl_mesh *mesh;
    axl_hfdir *hf;
    axl_model *model;
    axl_sharder sharder;
    int *all;    // [n_tensors], owned: every tensor
    double *std; // [n_tensors], owned
} loaded;

static void load(loaded *l, const char *name, const int mesh[AXL_N_AXES])
{
    char path[600];
    axl_arch arch;
    const axl_device_options d = {.n_threads = 1};
    const axl_sharder_options so = {.dtype = AXL_F32, .reshard_after_forward = true};

    *l = (loaded){0};
    (void)snprintf(path, sizeof path, "%s/families/%s", AXL_TEST_DATA, name);
    CHECK_OK(axl_device_create(&d, &l->device));
    CHECK_OK(axl_hfdir_open(path, &l->hf));
    CHECK_OK(axl_arch_read(path, &arch));
    CHECK_OK(axl_mesh_create(world, mesh, &l->mesh));
    CHECK_OK(axl_model_create(&arch, l->mesh, &l->model));
    CHECK_OK(
        axl_sharder_init(&l->sharder, l->device, l->mesh, l->model->units, l->model->n_units, &so));
    CHECK_OK(axl_model_load(l->model, l->hf));
    l->all = calloc((size_t)l->model->n_tensors, sizeof *l->all);
    l->std = calloc((size_t)l->model->n_tensors, sizeof *l->std);
    for (int i = 0; i < l->model->n_tensors; i++)
        l->all[i] = i;
}

static void unload(loaded *l)
{
    free(l->all);
    free(l->std);
    axl_sharder_fini(&l->sharder);
    axl_model_destroy(l->model);
    axl_mesh_destroy(l->mesh);
    axl_hfdir_close(l->hf);
    axl_device_destroy(l->device);
}

// Layouts of 1, 2 and 4 ranks; dp_replicate, dp_shard, ep, cp, tp.
static const int meshes[][AXL_N_AXES] = {
    {1, 1, 1, 1, 1}, {1, 2, 1, 1, 1}, {2, 1, 1, 1, 1}, {1, 1, 2, 1, 1}, {1, 1, 1, 2, 1},
    {1, 1, 1, 1, 2}, {1, 4, 1, 1, 1}, {2, 2, 1, 1, 1}, {1, 2, 2, 1, 1}, {1, 1, 2, 1, 2},
    {1, 2, 1, 1, 2}, {2, 1, 1, 1, 2}, {1, 1, 1, 1, 4}, {1, 1, 4, 1, 1}, {1, 1, 1, 2, 2}};
#define N_MESHES (sizeof meshes / sizeof *meshes)

static const char *const cases[] = {"llama", "qwen2", "qwen3_moe", "mixtral"};
#define N_CASES (sizeof cases / sizeof *cases)

static bool suits(const int mesh[AXL_N_AXES], const char *name)
{
    int n = 1;

    for (int a = 0; a < AXL_N_AXES; a++)
        n *= mesh[a];
    return n == axl_comm_size(world) &&
           (mesh[AXL_EP] == 1 || strcmp(name, "qwen3_moe") == 0 || strcmp(name, "mixtral") == 0);
}

static void check_std(const loaded *l, const char *name, const axl_json *want, const double *first)
{
    for (int i = 0; i < l->model->n_tensors; i++) {
        const char *key = l->model->tensors[i].key;
        const double w = axl_json_real(axl_json_get(axl_json_get(want, name), key), -1.0);
        if (!(fabs(l->std[i] - w) <= 1e-15 * w))
            fail_msg("%s: %s: %.17g, expected %.17g", name, key, l->std[i], w);
        assert_true(l->std[i] == first[i]);
    }
}

static void every_layout_agrees_with_plain_python(void **state)
{
    (void)state;
    axl_json *want = NULL;

    CHECK_OK(axl_json_read(AXL_TEST_DATA "/model/scales.json", &want));
    for (size_t k = 0; k < N_CASES; k++) {
        double *first = NULL;
        for (size_t i = 0; i < N_MESHES; i++) {
            if (!suits(meshes[i], cases[k]))
                continue;
            loaded l;
            load(&l, cases[k], meshes[i]);
            CHECK_OK(axl_model_stds(l.model, l.all, l.model->n_tensors, l.std));
            if (first == NULL) {
                first = calloc((size_t)l.model->n_tensors, sizeof *first);
                memcpy(first, l.std, (size_t)l.model->n_tensors * sizeof *first);
            }
            check_std(&l, cases[k], want, first);
            unload(&l);
        }
        assert_non_null(first);
        free(first);
    }
    axl_json_free(want);
}

// What a rank holds of a tensor, as owner or as a copy, against the file.
static void check_part(const loaded *l, int tensor, float factor)
{
    const axl_model_tensor *t = &l->model->tensors[tensor];
    const axl_param *p = t->param;
    const axl_param_rect r = axl_param_rect_of(p, t->mat);
    const int64_t n = r.block.n_rows * r.block.n_cols;
    axl_tensor_spec want = {
        .name = t->key, .dtype = AXL_F32, .n_dims = p->n_dims, .dims = {p->file_rows}};
    float *file = calloc((size_t)n + 1, sizeof *file);

    axl_host_view part = {0};

    if (p->n_dims == 2)
        want.dims[1] = p->file_cols;
    CHECK_OK(axl_param_map(p, p->master, &r, true, &part));
    if (n > 0)
        CHECK_OK(axl_hfdir_read_block(l->hf, &want, &r.block, file));
    for (int64_t i = 0; i < n; i++)
        assert_true(((const float *)part.host)[i] == file[i] * factor);
    CHECK_OK(axl_device_unmap(&part, false));
    free(file);
}

static void a_scaled_tensor_is_scaled_wherever_it_lies(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MESHES; i++) {
        loaded l;
        if (!suits(meshes[i], "qwen3_moe"))
            continue;
        load(&l, "qwen3_moe", meshes[i]);
        for (int k = 0; k < l.model->n_tensors; k += 3)
            CHECK_OK(axl_model_scale(l.model, k, 1.7f));
        for (int k = 0; k < l.model->n_tensors; k++)
            check_part(&l, k, k % 3 == 0 ? 1.7f : 1.0f);
        unload(&l);
    }
}

static void weights_that_are_not_finite_are_named(void **state)
{
    (void)state;
    const int mesh[AXL_N_AXES] = {1, axl_comm_size(world), 1, 1, 1};
    loaded l;

    load(&l, "llama", mesh);
    const axl_param_rect r = axl_param_rect_of(l.model->tensors[2].param, 0);
    if (r.block.row0 == 0 && r.block.n_rows > 0) { // one rank alone has it
        axl_host_view part;
        CHECK_OK(axl_param_map(l.model->tensors[2].param, l.model->tensors[2].param->master, &r,
                               true, &part));
        *(float *)part.host = NAN;
        CHECK_OK(axl_device_unmap(&part, true));
    }
    assert_int_equal(axl_model_stds(l.model, l.all, l.model->n_tensors, l.std), AXL_E_INPUT);
    assert_non_null(strstr(axl_error_message(), l.model->tensors[2].key));
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_agrees_with_plain_python),
        cmocka_unit_test(a_scaled_tensor_is_scaled_wherever_it_lies),
        cmocka_unit_test(weights_that_are_not_finite_are_named),
    };
    CHECK_OK(axl_comm_init(NULL, NULL, &world));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    axl_comm_finalize(world);
    return failed;
}
