// RUN: np=1
// Model directories: shards, rows, conversions, and directories written back.
#include "src/io/file.h"
#include "src/io/hfdir.h"
#include "tests/check.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

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
            CHECK_OK(axl_hfdir_write_block(w[row % 2], i, &(axl_block){.row0 = row, .n_rows = 1},
                                           e->data + (size_t)row * row_bytes, AXL_BF16));
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
        CHECK_OK(axl_hfdir_write_block(w, i, &(axl_block){.row0 = 2, .n_rows = 2}, x + 6, AXL_F32));
        CHECK_OK(axl_hfdir_write_block(w, i, &(axl_block){.row0 = 0, .n_rows = 2}, x, AXL_F32));
    }
    CHECK_OK(axl_hfdir_write_block(w, 2, &(axl_block){.row0 = 0, .n_rows = 12}, x, AXL_F32));
    CHECK_OK(axl_hfdir_write_block(w, 3, &(axl_block){.row0 = 0, .n_rows = 1}, x, AXL_F32));
    CHECK_OK(axl_hfdir_writer_flush(w));
    CHECK_OK(axl_hfdir_writer_publish(w));
    axl_hfdir_writer_destroy(w);
    axl_hfdir_plan_fini(&plan);

    CHECK_OK(axl_hfdir_open(SCRATCH, &d));
    CHECK_OK(axl_hfdir_read_block(d, &specs[0], &(axl_block){.row0 = 1, .n_rows = 3}, y));
    CHECK_CLOSE(y, x + 3, 9, 0.0, 0.0);
    specs[0].dtype = AXL_BF16;
    CHECK_OK(axl_hfdir_read_block(d, &specs[0], &(axl_block){.row0 = 3, .n_rows = 1}, h));
    assert_int_equal(h[2], axl_f32_to_bf16(x[11]));
    specs[1].dtype = AXL_F32;
    CHECK_OK(axl_hfdir_read_block(d, &specs[1], &(axl_block){.row0 = 0, .n_rows = 4}, y));
    CHECK_CLOSE(y, x, 12, 0.0, 0x1p-8);
    assert_true(y[11] == axl_bf16_to_f32(h[2]));
    specs[2].dtype = AXL_BF16;
    CHECK_OK(axl_hfdir_read_block(d, &specs[2], &(axl_block){.row0 = 11, .n_rows = 1}, h));
    assert_int_equal(h[0], axl_f32_to_bf16(axl_f16_to_f32(axl_f32_to_f16(x[11]))));
    CHECK_OK(axl_hfdir_read_block(d, &specs[3], &(axl_block){.row0 = 0, .n_rows = 1}, y));
    assert_true(y[0] == x[0]);

    specs[0].dims[1] = 4;
    CHECK_FAILS(axl_hfdir_read_block(d, &specs[0], &(axl_block){.row0 = 0, .n_rows = 1}, y),
                AXL_E_INPUT, "model.safetensors: a is [4, 3], config.json says [4, 4]");
    specs[0].name = "z";
    CHECK_FAILS(axl_hfdir_read_block(d, &specs[0], &(axl_block){.row0 = 0, .n_rows = 1}, y),
                AXL_E_INPUT, "tensor z is missing");
    axl_hfdir_close(d);

    CHECK_OK(axl_dir_make(SCRATCH "/copy"));
    CHECK_OK(axl_hfdir_copy_side_files(SCRATCH, SCRATCH "/copy", "bfloat16"));
    axl_str text = {0};
    CHECK_OK(axl_file_read(SCRATCH "/copy/config.json", &text));
    assert_string_equal(text.data,
                        "{\"a\": [1, \"dtype\"], \"torch_dtype\" : \"bfloat16\", \"dtype\":null}");
    axl_str_fini(&text);
}

// A grid over a matrix: n_row_cuts + 1 by n_col_cuts + 1 cells, some of them empty.
typedef struct grid {
    int64_t row[6], col[6]; // ascending, from 0 to the size
    int n_rows, n_cols;     // cells
} grid;

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static int draw_cuts(uint64_t *state, int64_t size, int64_t *cuts)
{
    int n = 1 + (int)(next_random(state) % 5);

    cuts[0] = 0;
    cuts[n] = size;
    for (int i = 1; i < n; i++) { // sorted in
        int64_t cut = (int64_t)(next_random(state) % (uint64_t)(size + 1));
        int k = i;
        for (; k > 1 && cuts[k - 1] > cut; k--)
            cuts[k] = cuts[k - 1];
        cuts[k] = cut;
    }
    return n;
}

static grid draw_grid(uint64_t *state, int64_t rows, int64_t cols)
{
    grid g = {0};
    g.n_rows = draw_cuts(state, rows, g.row);
    g.n_cols = draw_cuts(state, cols, g.col);
    return g;
}

// Cell k of a grid; one without columns is said by no rows.
static axl_block cell_of(const grid *g, int k, int64_t ld)
{
    int i = k / g->n_cols, j = k % g->n_cols;
    axl_block b = {.row0 = g->row[i],
                   .n_rows = g->row[i + 1] - g->row[i],
                   .col0 = g->col[j],
                   .n_cols = g->col[j + 1] - g->col[j],
                   .ld = ld};
    if (b.n_cols == 0)
        b = (axl_block){0};
    return b;
}

// Long rows and short ones, odd places, more than two dims, vectors, one element, nothing at all.
static const axl_tensor_spec grid_specs[] = {
    {.name = "a", .dtype = AXL_BF16, .n_dims = 2, .dims = {61, 67}},
    {.name = "b", .dtype = AXL_F32, .n_dims = 3, .dims = {9, 4, 5}},
    {.name = "c", .dtype = AXL_F16, .n_dims = 2, .dims = {3, 40001}},
    {.name = "d", .dtype = AXL_BF16, .n_dims = 1, .dims = {19}},
    {.name = "e", .dtype = AXL_F32},
    {.name = "f", .dtype = AXL_BF16, .n_dims = 2, .dims = {700, 600}},
    {.name = "g", .dtype = AXL_BF16, .n_dims = 2, .dims = {5, 0}},
};
enum { N_GRID_SPECS = sizeof grid_specs / sizeof *grid_specs, N_WRITERS = 4 };

static void shape_of(const axl_tensor_spec *spec, int64_t *rows, int64_t *cols)
{
    *rows = spec->n_dims > 0 ? spec->dims[0] : 1;
    *cols = axl_tensor_count(spec) / *rows;
}

// Writer r's cells of every tensor, of the dtype of the file or rounded to it.
static void write_cells(const axl_hfdir_plan *plan, uint64_t seed, int r, const float *x)
{
    axl_hfdir_writer *w = NULL;
    axl_bf16 *narrow = calloc(450000, sizeof *narrow);

    for (int64_t i = 0; i < 450000; i++)
        narrow[i] = axl_f32_to_bf16(x[i]);
    CHECK_OK(axl_hfdir_writer_open(SCRATCH, plan, false, &w));
    for (int i = 0; i < N_GRID_SPECS; i++) {
        int64_t rows, cols;
        shape_of(&grid_specs[i], &rows, &cols);
        grid g = draw_grid(&seed, rows, cols);
        for (int k = 0; k < g.n_rows * g.n_cols; k++) {
            axl_block b = cell_of(&g, k, cols + i % 2);
            int64_t at = b.row0 * b.ld + b.col0;
            bool same = grid_specs[i].dtype == AXL_BF16 && next_random(&seed) % 2 == 0;
            if (k % N_WRITERS == r)
                CHECK_OK(same ? axl_hfdir_write_block(w, i, &b, narrow + at, AXL_BF16)
                              : axl_hfdir_write_block(w, i, &b, x + at, AXL_F32));
        }
    }
    CHECK_OK(axl_hfdir_writer_flush(w));
    free(narrow);
    axl_hfdir_writer_destroy(w);
}

// All writers at the same time, each a process. The first makes the file beforehand and names it last.
static void write_grid(const axl_hfdir_plan *plan, uint64_t seed, const float *x)
{
    axl_hfdir_writer *first = NULL;
    pid_t child[N_WRITERS];

    CHECK_OK(axl_hfdir_writer_open(SCRATCH, plan, true, &first));
    for (int r = 0; r < N_WRITERS; r++) {
        child[r] = fork();
        assert_true(child[r] >= 0);
        if (child[r] == 0) {
            write_cells(plan, seed, r, x);
            _exit(0);
        }
    }
    for (int r = 0; r < N_WRITERS; r++) {
        int code = 1;
        assert_int_equal(waitpid(child[r], &code, 0), child[r]);
        assert_int_equal(code, 0);
    }
    CHECK_OK(axl_hfdir_writer_flush(first));
    CHECK_OK(axl_hfdir_writer_publish(first));
    axl_hfdir_writer_destroy(first);
}

// Reads tensor i by another grid, some cells side by side and some into their place of the whole.
static void check_read(const axl_hfdir *d, int i, uint64_t *seed, const float *x)
{
    axl_tensor_spec want = grid_specs[i];
    int64_t rows, cols, ld;
    want.dtype = AXL_F32;
    shape_of(&want, &rows, &cols);
    grid g = draw_grid(seed, rows, cols);
    ld = cols + i % 2;
    float *whole = calloc((size_t)(rows * ld) + 1, sizeof *whole);
    float *part = calloc((size_t)(rows * cols) + 1, sizeof *part);

    for (int64_t k = 0; k < rows * ld; k++)
        whole[k] = -1.0F;
    for (int k = 0; k < g.n_rows * g.n_cols; k++) {
        axl_block b = cell_of(&g, k, ld);
        CHECK_OK(axl_hfdir_read_block(d, &want, &b, whole + b.row0 * ld + b.col0));
        b.ld = 0;
        CHECK_OK(axl_hfdir_read_block(d, &want, &b, part));
        for (int64_t r = 0; r < b.n_rows; r++)
            assert_memory_equal(part + r * b.n_cols, whole + (b.row0 + r) * ld + b.col0,
                                (size_t)b.n_cols * sizeof *part);
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < cols; c++)
            assert_true(whole[r * ld + c] == x[r * ld + c]);
        if (ld > cols)
            assert_true(whole[r * ld + cols] == -1.0F); // what lies between rows is left alone
    }
    free(whole);
    free(part);
}

static void blocks_of_any_grid_make_the_same_files(void **state)
{
    (void)state;
    axl_hfdir *d = NULL;
    axl_hfdir_plan plan = {0};
    axl_str files[2] = {{0}};
    float *x = calloc(450000, sizeof *x);
    uint64_t seed = 1;

    for (int64_t i = 0; i < 450000; i++)
        x[i] = (float)((i * 37 + i / 251) % 251); // exact in every dtype
    put("config.json", "{}");
    CHECK_OK(axl_hfdir_plan_make(grid_specs, N_GRID_SPECS, AXL_HFDIR_SHARD_BYTES, NULL, &plan));
    for (int round = 0; round < 12; round++) {
        write_grid(&plan, seed + (uint64_t)round, x);
        axl_str_clear(&files[1]);
        CHECK_OK(axl_file_read(SCRATCH "/model.safetensors", &files[round > 0]));
        if (round > 0) {
            assert_int_equal(files[0].len, files[1].len);
            assert_memory_equal(files[0].data, files[1].data, files[0].len);
        }
        CHECK_OK(axl_hfdir_open(SCRATCH, &d));
        for (int i = 0; i < N_GRID_SPECS; i++)
            check_read(d, i, &seed, x);
        axl_hfdir_close(d);
    }
    free(x);
    axl_str_fini(&files[0]);
    axl_str_fini(&files[1]);
    axl_hfdir_plan_fini(&plan);
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
        cmocka_unit_test_teardown(blocks_of_any_grid_make_the_same_files, clean),
        cmocka_unit_test_teardown(unfit_directories_are_refused, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
