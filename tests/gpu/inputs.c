// Models and data to try a program with, where nothing can be downloaded:
//   gpu_tool inputs model DIR [SEED]              DIR/config.json -> DIR/model.safetensors, random weights
//   gpu_tool inputs rows FILE IDS SEED LENGTH...    a row of random tokens for each length, as JSON lines
// The tensors are those that the trainer would look for, so every family that it knows can be made. A weight is normal
// with initializer_range; norms are near what leaves a row as it is, so that their gradients are not of one size.
//
// Large models must be made in seconds: one pool of numbers is made, and every tensor reads it from a place of its
// own. Its length is odd, so rows of a matrix are not alike.
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/base/philox.h"
#include "src/io/json.h"
#include "src/model/model.h"
#include "tests/gpu/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL 4194301

typedef struct pool {
    float *normal;    // [POOL], owned
    axl_bf16 *scaled; // [POOL], owned: what is written of matrices in BF16
    double std;
} pool;

static axl_status fill_pool(pool *p, double std, uint64_t seed)
{
    axl_status status = AXL_OK;

    p->std = std;
    AXL_TRY(axl_calloc(POOL, sizeof *p->normal, "random numbers", &p->normal));
    AXL_TRY(axl_calloc(POOL, sizeof *p->scaled, "random numbers", &p->scaled));
    for (int64_t i = 0; i < POOL; i++) {
        p->normal[i] = (float)axl_random_normal(seed, AXL_RANDOM_TEST, (uint64_t)i);
        p->scaled[i] = axl_f32_to_bf16((float)(std * (double)p->normal[i]));
    }
out:
    return status;
}

// The mean of a tensor's elements: a norm's is what leaves a row as it is.
static double mean_of(const axl_model *m, const axl_model_tensor *t)
{
    const size_t n = strlen(t->key);
    const bool bias = n >= 5 && strcmp(t->key + n - 5, ".bias") == 0;

    return t->param->n_dims == 2 || bias || m->arch.norm.kind == AXL_NORM_RMS1P ? 0.0 : 1.0;
}

// Elements at .. at + n of a tensor.
static axl_status write_part(FILE *f, const pool *p, uint64_t at, size_t n, axl_dtype dtype,
                             double mean, double std)
{
    axl_status status = AXL_OK;
    float wide[4096];
    axl_bf16 narrow[4096];

    if (dtype == AXL_BF16 && mean == 0.0 && std == p->std) {
        AXL_REQUIRE(fwrite(p->scaled + at, sizeof *p->scaled, n, f) == n, AXL_E_IO,
                    "the weights cannot be written: %s", strerror(errno));
        goto out;
    }
    for (size_t i = 0; i < n; i += 4096) {
        const size_t k = n - i < 4096 ? n - i : 4096;
        for (size_t j = 0; j < k; j++) {
            wide[j] = (float)(mean + std * (double)p->normal[at + i + j]);
            narrow[j] = axl_f32_to_bf16(wide[j]);
        }
        const bool is_bf16 = dtype == AXL_BF16;
        AXL_REQUIRE(fwrite(is_bf16 ? (void *)narrow : wide, is_bf16 ? 2 : 4, k, f) == k, AXL_E_IO,
                    "the weights cannot be written: %s", strerror(errno));
    }
out:
    return status;
}

static axl_status write_tensor(FILE *f, const axl_model *m, const axl_model_tensor *t,
                               const axl_tensor_spec *spec, const pool *p)
{
    axl_status status = AXL_OK;
    const double mean = mean_of(m, t), std = t->param->n_dims == 2 ? p->std : 0.1;
    uint64_t at = axl_hash64(t->key, strlen(t->key), 1) % POOL;
    size_t left = (size_t)axl_tensor_count(spec);

    while (left > 0) {
        const size_t n = left < POOL - at ? left : POOL - at;
        AXL_TRY(write_part(f, p, at, n, spec->dtype, mean, std));
        left -= n;
        at = 0;
    }
out:
    return status;
}

static axl_status write_weights(const axl_model *m, const char *path, const pool *p)
{
    axl_status status = AXL_OK;
    axl_tensor_spec *specs = NULL;
    axl_safetensors_plan plan = {0};
    FILE *f = NULL;

    AXL_TRY(axl_calloc((size_t)m->n_tensors, sizeof *specs, "the tensors", &specs));
    for (int i = 0; i < m->n_tensors; i++) {
        const axl_param *w = m->tensors[i].param;
        specs[i] = (axl_tensor_spec){.name = m->tensors[i].key,
                                     .dtype = m->arch.file_dtype == AXL_BF16 ? AXL_BF16 : AXL_F32,
                                     .n_dims = w->n_dims,
                                     .dims = {w->file_rows, w->file_cols}};
    }
    AXL_TRY(axl_safetensors_plan_make(specs, m->n_tensors, NULL, &plan));
    f = fopen(path, "wb");
    AXL_REQUIRE(f != NULL && fwrite(plan.header.data, 1, plan.header.len, f) == plan.header.len,
                AXL_E_IO, "%s: cannot be written: %s", path, strerror(errno));
    for (int i = 0; i < m->n_tensors; i++) {
        AXL_REQUIRE(fseeko(f, (off_t)plan.offset[i], SEEK_SET) == 0, AXL_E_IO, "%s: %s", path,
                    strerror(errno));
        AXL_TRY(write_tensor(f, m, &m->tensors[i], &specs[i], p));
    }
out:
    if (f != NULL && fclose(f) != 0 && status == AXL_OK)
        status = axl_error_set(AXL_E_IO, __FILE__, __LINE__, "%s: %s", path, strerror(errno));
    axl_safetensors_plan_fini(&plan);
    free(specs);
    return status;
}

static axl_status make_model(const char *dir, uint64_t seed)
{
    axl_status status = AXL_OK;
    const int sizes[AXL_N_AXES] = {1, 1, 1, 1, 1};
    axl_arch arch = {0};
    axl_comm *world = NULL;
    axl_mesh *mesh = NULL;
    axl_model *model = NULL;
    axl_json *config = NULL;
    axl_str path = {0};
    pool p = {0};

    AXL_TRY(axl_str_printf(&path, "%s/config.json", dir));
    AXL_TRY(axl_json_read(path.data, &config));
    AXL_TRY(axl_arch_read(dir, &arch));
    AXL_TRY(axl_comm_init(NULL, NULL, &world)); // no launcher: one rank
    AXL_TRY(axl_mesh_create(world, sizes, &mesh));
    AXL_TRY(axl_model_create(&arch, mesh, &model));
    AXL_TRY(fill_pool(&p, axl_json_real(axl_json_get(config, "initializer_range"), 0.02), seed));
    axl_str_clear(&path);
    AXL_TRY(axl_str_printf(&path, "%s/model.safetensors", dir));
    AXL_TRY(write_weights(model, path.data, &p));
    (void)printf("%s: %lld parameters\n", dir, (long long)model->n_elements);
out:
    axl_str_fini(&path);
    axl_json_free(config);
    axl_model_destroy(model);
    axl_mesh_destroy(mesh);
    axl_comm_finalize(world);
    free(p.normal);
    free(p.scaled);
    return status;
}

// Ids are 3 .. 3 + IDS. The first third of a row is not trained.
static axl_status make_rows(const char *path, int n, char **numbers)
{
    axl_status status = AXL_OK;
    const int64_t vocab = strtoll(numbers[0], NULL, 10);
    const uint64_t seed = strtoull(numbers[1], NULL, 10);
    uint64_t drawn = 0;
    FILE *f = fopen(path, "w");

    AXL_REQUIRE(f != NULL, AXL_E_IO, "%s: %s", path, strerror(errno));
    AXL_REQUIRE(vocab > 0, AXL_E_INPUT, "%s ids are too few", numbers[0]);
    for (int r = 2; r < n; r++) {
        const int64_t length = strtoll(numbers[r], NULL, 10);
        const char *const keys[] = {"{\"input_ids\": [", "], \"attention_mask\": [",
                                    "], \"labels\": ["};
        for (int k = 0; k < 3; k++) {
            (void)fputs(keys[k], f);
            for (int64_t i = 0; i < length; i++) {
                const double u = axl_random_uniform(seed, AXL_RANDOM_TEST, drawn + (uint64_t)i);
                const int64_t id = 3 + (int64_t)(u * (double)vocab);
                (void)fprintf(f, "%s%lld", i > 0 ? ", " : "",
                              (long long)(k == 1                     ? 1
                                          : k == 2 && i < length / 3 ? -100
                                                                     : id));
            }
        }
        drawn += (uint64_t)length;
        (void)fputs("]}\n", f);
    }
out:
    if (f != NULL && fclose(f) != 0 && status == AXL_OK)
        status = axl_error_set(AXL_E_IO, __FILE__, __LINE__, "%s: %s", path, strerror(errno));
    return status;
}

int gpu_inputs_main(int argc, char **argv)
{
    axl_status status = AXL_OK;

    if (argc >= 3 && argc <= 4 && strcmp(argv[1], "model") == 0) {
        status = make_model(argv[2], argc == 4 ? strtoull(argv[3], NULL, 10) : 1);
    } else if (argc >= 6 && strcmp(argv[1], "rows") == 0) {
        status = make_rows(argv[2], argc - 3, argv + 3);
    } else {
        (void)fputs("usage: gpu_tool inputs model DIR [SEED]\n"
                    "       gpu_tool inputs rows FILE IDS SEED LENGTH...\n",
                    stderr);
        return 2;
    }
    if (status != AXL_OK)
        (void)fprintf(stderr, "gpu_tool inputs: %s\n", axl_error_message());
    return axl_status_exit_code(status);
}
