// RUN: np=1
// Model directories: shards, rows, conversions, and directories written back.
#include "src/io/file.h"
#include "src/io/hfdir.h"
#include "tests/check.h"

#include <stdlib.h>

#define SHARDED AXL_TEST_DATA "/io/sharded"
#define SCRATCH "test_hfdir.tmp"

static void put(const char *name, const char *text)
{
    axl_str path = {0};
    CHECK_OK(axl_dir_make(SCRATCH));
    CHECK_OK(axl_str_printf(&path, SCRATCH "/%s", name));
    CHECK_OK(axl_file_write(path.data, text, strlen(text)));
    axl_str_fini(&path);
}

static void copy_into_scratch(const char *from, const char *name)
{
    axl_str path = {0}, text = {0};
    CHECK_OK(axl_dir_make(SCRATCH));
    CHECK_OK(axl_file_read(from, &text));
    CHECK_OK(axl_str_printf(&path, SCRATCH "/%s", name));
    CHECK_OK(axl_file_write(path.data, text.data, text.len));
    axl_str_fini(&path);
    axl_str_fini(&text);
}

static void check_equal_files(const char *name)
{
    axl_str a = {0}, b = {0}, x = {0}, y = {0};
    CHECK_OK(axl_str_printf(&a, SHARDED "/%s", name));
    CHECK_OK(axl_str_printf(&b, SCRATCH "/%s", name));
    CHECK_OK(axl_file_read(a.data, &x));
    CHECK_OK(axl_file_read(b.data, &y));
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    axl_str_fini(&a);
    axl_str_fini(&b);
    axl_str_fini(&x);
    axl_str_fini(&y);
}

static int clean(void **state)
{
    (void)state;
    CHECK_OK(axl_path_remove(SCRATCH));
    return 0;
}

static void a_directory_is_written_back_byte_equal(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    CHECK_OK(axl_hfdir_open(SHARDED, &d));
    assert_int_equal(axl_hfdir_count(d), 8);
    assert_string_equal(axl_json_string(axl_json_get(axl_hfdir_config(d), "model_type"), ""),
                        "llama");
    put("model.safetensors", "of an earlier save");
    put("model-00003-of-00003.safetensors", "of an earlier save");
    CHECK_OK(axl_hfdir_copy(d, SCRATCH));
    axl_hfdir_close(d);
    check_equal_files("config.json");
    check_equal_files("generation_config.json");
    check_equal_files("model-00001-of-00002.safetensors");
    check_equal_files("model-00002-of-00002.safetensors");
    check_equal_files("model.safetensors.index.json");
    assert_false(axl_path_exists(SCRATCH "/model.safetensors"));
    assert_false(axl_path_exists(SCRATCH "/model-00003-of-00003.safetensors"));
}

// The split and the index are those that huggingface_hub makes for this order and limit.
static void files_are_filled_in_the_order_of_the_model(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    axl_hfdir_plan plan = {0};
    axl_hfdir_writer *w[2] = {0};
    axl_tensor_spec specs[8];
    static const int layers[] = {0, 1, 2, 10};
    char names[8][64];
    CHECK_OK(axl_hfdir_open(SHARDED, &d));
    for (int i = 0; i < 8; i++) {
        (void)snprintf(names[i], sizeof names[i], "model.layers.%d.%s.weight", layers[i / 2],
                       i % 2 == 0 ? "self_attn.q_proj" : "mlp.down_proj");
        specs[i] = axl_hfdir_find(d, names[i])->spec;
    }
    // 48 + 40 bytes a layer: the first file takes 48 + 40 + 48 + 40 + 48 = 224
    CHECK_OK(axl_hfdir_plan_make(specs, 8, 230, NULL, &plan));
    assert_int_equal(plan.n_files, 2);
    CHECK_OK(axl_dir_make(SCRATCH));
    for (int r = 0; r < 2; r++)
        CHECK_OK(axl_hfdir_writer_open(SCRATCH, &plan, r == 0, &w[r]));
    for (int i = 0; i < 8; i++) {
        const axl_tensor_entry *e = axl_hfdir_find(d, names[i]);
        size_t row_bytes = e->bytes / (size_t)e->spec.dims[0];
        for (int64_t row = 0; row < e->spec.dims[0]; row++) // the ranks take rows in turn
            CHECK_OK(axl_hfdir_write_rows(w[row % 2], i, row, 1, e->data + (size_t)row * row_bytes,
                                          AXL_BF16));
    }
    for (int r = 1; r >= 0; r--)
        CHECK_OK(axl_hfdir_writer_flush(w[r]));
    CHECK_OK(axl_hfdir_writer_publish(w[0]));
    for (int r = 0; r < 2; r++)
        axl_hfdir_writer_destroy(w[r]);
    check_equal_files("model-00001-of-00002.safetensors");
    check_equal_files("model-00002-of-00002.safetensors");
    check_equal_files("model.safetensors.index.json");
    axl_hfdir_plan_fini(&plan);
    axl_hfdir_close(d);
}

static void rows_are_read_and_rounded(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    axl_hfdir_plan plan = {0};
    axl_hfdir_writer *w = NULL;
    float x[12], y[12];
    axl_bf16 h[12];
    axl_tensor_spec specs[] = {
        {.name = "a", .dtype = AXL_F32, .n_dims = 2, .dims = {4, 3}},
        {.name = "b", .dtype = AXL_BF16, .n_dims = 2, .dims = {4, 3}},
        {.name = "c", .dtype = AXL_F16, .n_dims = 1, .dims = {12}},
        {.name = "scalar", .dtype = AXL_F32},
    };
    for (int i = 0; i < 12; i++)
        x[i] = 1.0f + (float)i * 0.001f;
    put("config.json", "{\"a\": [1, \"dtype\"], \"torch_dtype\" : \"float32\", \"dtype\":null}");
    CHECK_OK(axl_hfdir_plan_make(specs, 4, AXL_HFDIR_SHARD_BYTES, NULL, &plan));
    CHECK_OK(axl_hfdir_writer_open(SCRATCH, &plan, true, &w));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(axl_hfdir_write_rows(w, i, 2, 2, x + 6, AXL_F32));
        CHECK_OK(axl_hfdir_write_rows(w, i, 0, 2, x, AXL_F32));
    }
    CHECK_OK(axl_hfdir_write_rows(w, 2, 0, 12, x, AXL_F32));
    CHECK_OK(axl_hfdir_write_rows(w, 3, 0, 1, x, AXL_F32));
    CHECK_OK(axl_hfdir_writer_flush(w));
    CHECK_OK(axl_hfdir_writer_publish(w));
    axl_hfdir_writer_destroy(w);
    axl_hfdir_plan_fini(&plan);

    CHECK_OK(axl_hfdir_open(SCRATCH, &d));
    CHECK_OK(axl_hfdir_read_rows(d, &specs[0], 1, 3, y));
    CHECK_CLOSE(y, x + 3, 9, 0.0, 0.0);
    specs[0].dtype = AXL_BF16;
    CHECK_OK(axl_hfdir_read_rows(d, &specs[0], 3, 1, h));
    assert_int_equal(h[2], axl_f32_to_bf16(x[11]));
    specs[1].dtype = AXL_F32;
    CHECK_OK(axl_hfdir_read_rows(d, &specs[1], 0, 4, y));
    CHECK_CLOSE(y, x, 12, 0.0, 0x1p-8);
    assert_true(y[11] == axl_bf16_to_f32(h[2]));
    specs[2].dtype = AXL_BF16;
    CHECK_OK(axl_hfdir_read_rows(d, &specs[2], 11, 1, h));
    assert_int_equal(h[0], axl_f32_to_bf16(axl_f16_to_f32(axl_f32_to_f16(x[11]))));
    CHECK_OK(axl_hfdir_read_rows(d, &specs[3], 0, 1, y));
    assert_true(y[0] == x[0]);

    specs[0].dims[1] = 4;
    CHECK_FAILS(axl_hfdir_read_rows(d, &specs[0], 0, 1, y), AXL_E_INPUT,
                "model.safetensors: a is [4, 3], config.json says [4, 4]");
    specs[0].name = "z";
    CHECK_FAILS(axl_hfdir_read_rows(d, &specs[0], 0, 1, y), AXL_E_INPUT, "tensor z is missing");
    axl_hfdir_close(d);

    CHECK_OK(axl_dir_make(SCRATCH "/copy"));
    CHECK_OK(axl_hfdir_copy_side_files(SCRATCH, SCRATCH "/copy", "bfloat16"));
    axl_str text = {0};
    CHECK_OK(axl_file_read(SCRATCH "/copy/config.json", &text));
    assert_string_equal(text.data,
                        "{\"a\": [1, \"dtype\"], \"torch_dtype\" : \"bfloat16\", \"dtype\":null}");
    axl_str_fini(&text);
}

static void unfit_directories_are_refused(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    CHECK_FAILS(axl_hfdir_open("no/such/dir", &d), AXL_E_INPUT, "no such model directory");
    CHECK_FAILS(axl_hfdir_open(SHARDED "/config.json", &d), AXL_E_INPUT, "is a file");
    CHECK_OK(axl_dir_make(SCRATCH));
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "config.json: cannot be read");
    put("config.json", "[1]");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "config.json: is an array");
    put("config.json", "{}");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "neither model.safetensors");
    put("m.gguf", "");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "name that file itself");
    put("pytorch_model.bin", "");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "pickle (pytorch_model.bin)");

    put("model.safetensors.index.json", "{\"weight_map\": 5}");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "weight_map is an integer");
    put("model.safetensors.index.json", "{\"weight_map\": {\"a\": \"../x.safetensors\"}}");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "beside the index");
    put("model.safetensors.index.json", "{\"weight_map\": {\"a\": \"x.bin\"}}");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "beside the index");
    put("model.safetensors.index.json", "{\"weight_map\": {\"a\": \"x.safetensors\"}}");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT, "tensor a: " SCRATCH "/x.safetensors");

    copy_into_scratch(SHARDED "/model-00001-of-00002.safetensors", "x.safetensors");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT,
                "tensor a is said to be in x.safetensors, it is in no file");
    copy_into_scratch(SHARDED "/model-00001-of-00002.safetensors", "y.safetensors");
    put("model.safetensors.index.json",
        "{\"weight_map\": {\"a\": \"x.safetensors\", \"b\": \"y.safetensors\"}}");
    CHECK_FAILS(axl_hfdir_open(SCRATCH, &d), AXL_E_INPUT,
                "is in x.safetensors and in y.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_directory_is_written_back_byte_equal, clean),
        cmocka_unit_test_teardown(files_are_filled_in_the_order_of_the_model, clean),
        cmocka_unit_test_teardown(rows_are_read_and_rounded, clean),
        cmocka_unit_test_teardown(unfit_directories_are_refused, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
