// RUN: np=1,2,3,4
// Checkpoints: what any number of ranks wrote, any other number reads; what is damaged is named; what
// is interrupted leaves the older one whole.
#include "tests/check.h"

#include "comm/comm.h"
#include "sharding/ckpt.h"
#include "sharding/h5.h"
#include "src/io/file.h"
#include "src/io/hfdir.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static axl_comm *world;
static char root[512]; // a folder of this run, the same on all ranks

// Every way to be cut: more rows than ranks, fewer, none; several chunks, a row larger than a chunk.
static const axl_ckpt_tensor shapes[] = {
    {.group = "model",
     .name = "model.embed.weight",
     .dtype = AXL_F32,
     .n_dims = 2,
     .dims = {1001, 577}},
    {.group = "model",
     .name = "model.layers.0.norm.weight",
     .dtype = AXL_F32,
     .n_dims = 1,
     .dims = {10}},
    {.group = "model", .name = "two.rows", .dtype = AXL_F32, .n_dims = 2, .dims = {2, 3}},
    {.group = "model", .name = "experts", .dtype = AXL_F32, .n_dims = 3, .dims = {3, 1200, 300}},
    {.group = "exp_avg",
     .name = "model.embed.weight",
     .dtype = AXL_F32,
     .n_dims = 2,
     .dims = {1001, 577}},
    {.group = "state", .name = "half", .dtype = AXL_BF16, .n_dims = 1, .dims = {77}},
    {.group = "state", .name = "codes", .dtype = AXL_U8, .n_dims = 4, .dims = {5, 2, 3, 7}},
    {.group = "state", .name = "steps", .dtype = AXL_I64, .n_dims = 1, .dims = {5}},
    {.group = "state", .name = "empty", .dtype = AXL_F32, .n_dims = 2, .dims = {0, 4}},
};
enum { N_TENSORS = sizeof shapes / sizeof *shapes };

static int64_t row_elements(int k)
{
    int64_t n = 1;
    for (int d = 1; d < shapes[k].n_dims; d++)
        n *= shapes[k].dims[d];
    return n;
}

// Element i of tensor k, known to check_h5py.py too. Exactly representable as float.
static float value(int k, int64_t i)
{
    const uint32_t x = (uint32_t)(((uint64_t)i + (uint64_t)k * 1000003u) * 2654435761u);
    return (float)(x >> 8) / 16777216.0F - 0.5F;
}

static void put(void *data, int k, int64_t at, int64_t i)
{
    const float x = value(k, i);

    if (shapes[k].dtype == AXL_F32)
        ((float *)data)[at] = x;
    else if (shapes[k].dtype == AXL_BF16)
        ((axl_bf16 *)data)[at] = axl_f32_to_bf16(x);
    else if (shapes[k].dtype == AXL_I64)
        ((int64_t *)data)[at] = (int64_t)(1e15F * x);
    else
        ((uint8_t *)data)[at] = (uint8_t)(100.0F * (x + 0.5F));
}

static bool is_value(const void *data, int k, int64_t at, int64_t i)
{
    const size_t elem = axl_dtype_size(shapes[k].dtype);
    int64_t want = 0; // of the widest dtype

    put(&want, k, 0, i);
    return memcmp((const char *)data + (size_t)at * elem, &want, elem) == 0;
}

static void *make_rows(int k, int64_t row0, int64_t n_rows)
{
    const int64_t row = row_elements(k);
    void *data = calloc((size_t)(n_rows * row) + 1, axl_dtype_size(shapes[k].dtype));

    for (int64_t i = 0; i < n_rows * row; i++)
        put(data, k, i, row0 * row + i);
    return data;
}

// Rows of rank r of n: equal parts, or (uneven) none for the first rank.
static void rows_of(int64_t rows, int r, int n, bool uneven, int64_t *row0, int64_t *n_rows)
{
    if (uneven && n > 1) {
        *row0 = *n_rows = 0;
        if (r == 0)
            return;
        r--;
        n--;
    }
    const int64_t each = (rows + n - 1) / n;
    *row0 = r * each < rows ? r * each : rows;
    *n_rows = rows - *row0 < each ? rows - *row0 : each;
}

// ---- rectangles

static int64_t next_random(uint64_t *state, int64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((*state >> 33) % (uint64_t)below);
}

// Part i of n of a random, possibly empty cut of `size`.
static void cut_of(uint64_t seed, int64_t size, int i, int n, int64_t *begin, int64_t *length)
{
    int64_t cuts[16] = {0};

    cuts[n] = size;
    for (int c = 1; c < n; c++) { // sorted in
        const int64_t cut = next_random(&seed, size + 1);
        int at = c;
        for (; at > 1 && cuts[at - 1] > cut; at--)
            cuts[at] = cuts[at - 1];
        cuts[at] = cut;
    }
    *begin = cuts[i];
    *length = cuts[i + 1] - cuts[i];
}

// Rank r's rectangle of tensor k among n ranks: strips of rows, each cut into columns on its own.
static axl_block rectangle_of(uint64_t seed, int k, int r, int n)
{
    uint64_t state = seed * 1000 + (uint64_t)k;
    axl_block b = {0};
    const int n_strips = 1 + (int)next_random(&state, n);
    const int turned = (r + (int)next_random(&state, n)) % n, strip = turned % n_strips;
    const int in_strip = (n - strip + n_strips - 1) / n_strips; // ranks

    cut_of(state, shapes[k].dims[0], strip, n_strips, &b.row0, &b.n_rows);
    cut_of(state + (uint64_t)strip + 1, row_elements(k), turned / n_strips, in_strip, &b.col0,
           &b.n_cols);
    b.ld = b.n_cols + next_random(&state, 3);
    if (b.n_cols == 0 || b.n_rows == 0)
        b = (axl_block){0};
    return b;
}

static size_t block_bytes(const axl_block *b, int k)
{
    return (size_t)(b->n_rows * b->ld) * axl_dtype_size(shapes[k].dtype);
}

static void *make_block(int k, const axl_block *b)
{
    void *data = calloc(block_bytes(b, k) + 1, 1);

    for (int64_t r = 0; r < b->n_rows; r++)
        for (int64_t c = 0; c < b->n_cols; c++)
            put(data, k, r * b->ld + c, (b->row0 + r) * row_elements(k) + b->col0 + c);
    return data;
}

typedef struct save {
    axl_ckpt_tensor tensors[N_TENSORS];
    axl_ckpt_options o;
} save;

static const char meta[] = "{\"global_step\": 7, \"epoch\": 0.5}\n";
static const char config[] = "{\"model_type\": \"llama\", \"torch_dtype\": \"bfloat16\"}\n";
static const axl_ckpt_file files[] = {{"config.json", config, sizeof config - 1},
                                      {"empty.txt", "", 0}};

static void fill(save *s, const axl_comm *c, int64_t step, bool uneven)
{
    for (int k = 0; k < N_TENSORS; k++) {
        axl_ckpt_tensor *t = &s->tensors[k];
        *t = shapes[k];
        rows_of(t->dims[0], axl_comm_rank(c), axl_comm_size(c), uneven, &t->row0, &t->n_rows);
        t->data = make_rows(k, t->row0, t->n_rows);
    }
    s->o = (axl_ckpt_options){.dir = root,
                              .step = step,
                              .tensors = s->tensors,
                              .n_tensors = N_TENSORS,
                              .meta_json = meta,
                              .files = files,
                              .n_files = 2};
}

// The same tensors by rectangles.
static void fill_rectangles(save *s, const axl_comm *c, int64_t step, uint64_t seed)
{
    fill(s, c, step, false);
    for (int k = 0; k < N_TENSORS; k++) {
        axl_ckpt_tensor *t = &s->tensors[k];
        const axl_block b = rectangle_of(seed, k, axl_comm_rank(c), axl_comm_size(c));
        free((void *)(uintptr_t)t->data);
        t->row0 = b.row0;
        t->n_rows = b.n_rows;
        t->col0 = b.col0;
        t->n_cols = b.n_cols;
        t->ld = b.ld;
        t->data = make_block(k, &b);
    }
}

static void drop(save *s)
{
    for (int k = 0; k < N_TENSORS; k++)
        free((void *)(uintptr_t)s->tensors[k].data);
}

static void write_step(axl_comm *c, int64_t step, bool uneven)
{
    save s;

    fill(&s, c, step, uneven);
    CHECK_OK(axl_ckpt_write(c, &s.o, NULL));
    drop(&s);
}

static void write_rectangles(axl_comm *c, int64_t step, uint64_t seed)
{
    save s;

    fill_rectangles(&s, c, step, seed);
    CHECK_OK(axl_ckpt_write(c, &s.o, NULL));
    drop(&s);
}

static const char *path_of(int64_t step, const char *rest)
{
    static char path[600];
    (void)snprintf(path, sizeof path, "%s/checkpoint-%lld%s", root, (long long)step, rest);
    return path;
}

static void begin_case(void)
{
    CHECK_OK(axl_comm_barrier(world));
    if (axl_comm_rank(world) == 0) {
        CHECK_OK(axl_path_remove(root));
        CHECK_OK(axl_dir_make(root));
    }
    CHECK_OK(axl_comm_barrier(world));
}

// Reads rank r's rows of n of every tensor; the first failure is the answer.
static axl_status read_as(axl_ckpt *k, int r, int n, bool compare)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < N_TENSORS && status == AXL_OK; i++) {
        int64_t row0 = 0, n_rows = 0;
        rows_of(shapes[i].dims[0], r, n, false, &row0, &n_rows);
        const size_t bytes = (size_t)(n_rows * row_elements(i)) * axl_dtype_size(shapes[i].dtype);
        void *got = calloc(bytes + 1, 1), *want = make_rows(i, row0, n_rows);
        status = axl_ckpt_read_block(k, shapes[i].group, shapes[i].name,
                                     &(axl_block){.row0 = row0, .n_rows = n_rows}, got);
        if (compare && status == AXL_OK)
            assert_memory_equal(got, want, bytes);
        free(got);
        free(want);
    }
    return status;
}

static void any_count_of_ranks_reads_any_other(void **state)
{
    const int size = axl_comm_size(world), rank = axl_comm_rank(world);

    (void)state;
    begin_case();
    for (int n = 1; n <= size; n++) {
        axl_comm *part = NULL;
        CHECK_OK(axl_comm_split(world, rank < n ? 0 : -1, rank, "part", &part));
        if (part != NULL)
            write_step(part, n, n % 2 == 0);
        axl_comm_destroy(part);
    }
    CHECK_OK(axl_comm_barrier(world));
    for (int n = 1; n <= size; n++) {
        axl_ckpt *k = NULL;
        CHECK_OK(axl_ckpt_open(path_of(n, ""), &k));
        assert_int_equal(axl_ckpt_world(k), n);
        for (int readers = 1; readers <= 5; readers++)
            CHECK_OK(read_as(k, rank % readers, readers, true));
        axl_ckpt_close(k);
    }
}

// Reads rank r's rectangle of n of tensor i, between bytes that must stay.
static void check_rectangle(axl_ckpt *k, int i, uint64_t seed, int r, int n)
{
    const axl_block b = rectangle_of(seed, i, r, n);
    const size_t bytes = block_bytes(&b, i), elem = axl_dtype_size(shapes[i].dtype);
    unsigned char *got = malloc(bytes + 1);
    static const unsigned char before[8] = {0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5};
    int64_t n_wrong = 0;

    memset(got, 0xa5, bytes + 1);
    CHECK_OK(axl_ckpt_read_block(k, shapes[i].group, shapes[i].name, &b, got));
    for (int64_t row = 0; row < b.n_rows; row++) {
        for (int64_t c = 0; c < b.n_cols; c++)
            n_wrong +=
                !is_value(got, i, row * b.ld + c, (b.row0 + row) * row_elements(i) + b.col0 + c);
        for (int64_t c = b.n_cols; c < b.ld; c++)
            n_wrong += memcmp(got + (size_t)(row * b.ld + c) * elem, before, elem) != 0;
    }
    if (n_wrong > 0)
        fail_msg("%s by seed %llu, reader %d of %d: %lld wrong", shapes[i].name,
                 (unsigned long long)seed, r, n, (long long)n_wrong);
    free(got);
}

static void any_rectangles_are_read_from_any_others(void **state)
{
    const int rank = axl_comm_rank(world);
    axl_ckpt *k = NULL;

    (void)state;
    begin_case();
    for (uint64_t seed = 1; seed <= 6; seed++) {
        write_rectangles(world, (int64_t)seed, seed);
        CHECK_OK(axl_comm_barrier(world));
        CHECK_OK(axl_ckpt_open(path_of((int64_t)seed, ""), &k));
        const int readers = 1 + (int)(seed % 3);
        CHECK_OK(read_as(k, rank % readers, readers, true));
        for (int i = 0; i < N_TENSORS; i++)
            check_rectangle(k, i, seed + 100, rank % readers, readers);
        axl_ckpt_close(k);
    }
}

static void checkpoints_of_format_1_load(void **state)
{
    static const char *const names[] = {"matrix", "vector", "experts"};
    static const int64_t sizes[3][2] = {{7, 5}, {2, 1}, {4, 6}};
    const axl_block middle = {.row0 = 1, .n_rows = 3, .col0 = 2, .n_cols = 3};
    float x[35];
    axl_ckpt *k = NULL;

    (void)state;
    CHECK_OK(axl_ckpt_open(AXL_TEST_DATA "/sharding/checkpoint-5", &k));
    assert_int_equal(axl_ckpt_world(k), 3);
    for (int t = 0; t < 3; t++) {
        const int64_t n = sizes[t][0] * sizes[t][1];
        CHECK_OK(axl_ckpt_read_block(k, "model", names[t], &(axl_block){.n_rows = sizes[t][0]}, x));
        for (int64_t i = 0; i < n; i++)
            assert_true(x[i] == (float)t + (float)i * 0.125F);
        if (t == 1)
            continue;
        CHECK_OK(axl_ckpt_read_block(k, "model", names[t], &middle, x));
        for (int64_t i = 0; i < 9; i++)
            assert_true(x[i] == (float)t + (float)((1 + i / 3) * sizes[t][1] + 2 + i % 3) * 0.125F);
    }
    axl_ckpt_close(k);
}

static void entries_meta_and_files_come_back(void **state)
{
    axl_ckpt *k = NULL;
    axl_str text = {0};
    float row[3];

    (void)state;
    begin_case();
    write_step(world, 7, false);
    CHECK_OK(axl_ckpt_open(path_of(7, ""), &k));
    assert_int_equal(axl_ckpt_step(k), 7);
    assert_int_equal(axl_ckpt_count(k), N_TENSORS);
    assert_true(axl_ckpt_stored_bytes(k) > 1000000);
    assert_string_equal(axl_ckpt_meta(k), meta);
    for (int i = 0; i < N_TENSORS; i++) {
        const axl_ckpt_entry *e = axl_ckpt_at(k, i);
        assert_string_equal(e->name, shapes[i].name);
        assert_ptr_equal(axl_ckpt_find(k, e->group, e->name), e);
        assert_int_equal(e->dtype, shapes[i].dtype);
        assert_int_equal(e->n_dims, shapes[i].n_dims);
        assert_memory_equal(e->dims, shapes[i].dims, sizeof e->dims);
    }
    assert_null(axl_ckpt_find(k, "model", "nothing"));
    CHECK_FAILS(
        axl_ckpt_read_block(k, "model", "nothing", &(axl_block){.row0 = 0, .n_rows = 1}, row),
        AXL_E_INPUT, "model/nothing");
    CHECK_FAILS(
        axl_ckpt_read_block(k, "model", "two.rows", &(axl_block){.row0 = 1, .n_rows = 2}, row),
        AXL_E_INPUT, "two.rows");
    CHECK_OK(
        axl_ckpt_read_block(k, "model", "two.rows", &(axl_block){.row0 = 1, .n_rows = 1}, row));
    assert_true(row[2] == value(2, 5));
    assert_int_equal(axl_ckpt_n_files(k), 2);
    CHECK_OK(axl_ckpt_read_file(k, "config.json", &text));
    assert_string_equal(text.data, config);
    CHECK_OK(axl_ckpt_read_file(k, axl_ckpt_file_name(k, 1), &text));
    assert_int_equal(text.len, sizeof config - 1);
    axl_str_fini(&text);
    axl_ckpt_close(k);
    CHECK_OK(axl_file_read(path_of(7, "/trainer_state.json"), &text));
    assert_string_equal(text.data, meta);
    axl_str_fini(&text);
}

static void flip(const char *path, off_t at)
{
    unsigned char byte = 0;
    const int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(pread(fd, &byte, 1, at) == 1);
    byte ^= 0x40;
    assert_true(pwrite(fd, &byte, 1, at) == 1);
    (void)close(fd);
}

static off_t size_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

// Whatever byte of a file is flipped, data are right or the damage is named.
static void check_flips(const char *path, const char *name, int n_places, int at_least)
{
    const off_t size = size_of(path);
    int n_found = 0;

    for (int i = 0; i < n_places; i++) {
        const off_t at = (size - 1) * i / (n_places - 1);
        axl_ckpt *k = NULL;
        flip(path, at);
        axl_status status = axl_ckpt_open(path_of(3, ""), &k);
        if (status == AXL_OK)
            status = read_as(k, 0, 1, true);
        if (status != AXL_OK) {
            assert_int_equal(status, AXL_E_INPUT);
            if (strstr(axl_error_message(), name) == NULL)
                fail_msg("byte %lld: \"%s\" lacks %s", (long long)at, axl_error_message(), name);
            n_found++;
        }
        axl_ckpt_close(k);
        flip(path, at);
    }
    assert_true(n_found >= at_least);
}

static void damage_is_named(void **state)
{
    char shard[600], index[600], name[64];
    axl_ckpt *k = NULL;

    (void)state;
    begin_case();
    write_step(world, 3, false);
    if (axl_comm_rank(world) != 0)
        return;
    (void)snprintf(name, sizeof name, "/shard-%05d-of-%05d.h5", 0, axl_comm_size(world));
    (void)snprintf(shard, sizeof shard, "%s", path_of(3, name));
    check_flips(shard, name + 1, 40, 30);
    (void)snprintf(index, sizeof index, "%s", path_of(3, "/index.h5"));
    check_flips(index, "index.h5", 40, 4); // it has gaps, and parts for others only
    CHECK_OK(axl_ckpt_open(path_of(3, ""), &k));
    flip(shard, size_of(shard) / 2);
    CHECK_FAILS(read_as(k, 0, 1, false), AXL_E_INPUT, "data set /");
    flip(shard, size_of(shard) / 2);
    axl_ckpt_close(k);

    const off_t size = size_of(shard);
    assert_int_equal(truncate(shard, size - 1), 0);
    CHECK_FAILS(axl_ckpt_open(path_of(3, ""), &k), AXL_E_INPUT, name + 1);
    assert_int_equal(unlink(shard), 0);
    CHECK_FAILS(axl_ckpt_open(path_of(3, ""), &k), AXL_E_INPUT, "missing");
    assert_int_equal(truncate(path_of(3, "/index.h5"), 1000), 0);
    CHECK_FAILS(axl_ckpt_open(path_of(3, ""), &k), AXL_E_INPUT, "index.h5");
    assert_int_equal(unlink(path_of(3, "/index.h5")), 0);
    CHECK_FAILS(axl_ckpt_open(path_of(3, ""), &k), AXL_E_INPUT, "no index.h5");
}

static void old_ones_go_when_the_new_one_is_there(void **state)
{
    static const char *const keep[] = {"checkpoint-1"};
    char *latest = NULL;
    save s;

    (void)state;
    begin_case();
    CHECK_OK(axl_ckpt_latest(root, &latest));
    assert_null(latest);
    for (int64_t step = 1; step <= 12; step += step == 1 ? 8 : 1) { // 1, 9, 10, 11, 12
        fill(&s, world, step, false);
        s.o.save_total_limit = 3;
        s.o.keep = keep;
        s.o.n_keep = 1;
        CHECK_OK(axl_ckpt_write(world, &s.o, NULL));
        drop(&s);
    }
    write_step(world, 12, true); // again: replaced
    CHECK_OK(axl_comm_barrier(world));
    assert_true(axl_path_is_dir(path_of(1, "")) && axl_path_is_dir(path_of(11, "")));
    assert_false(axl_path_exists(path_of(9, "")) || axl_path_exists(path_of(10, "")));
    CHECK_OK(axl_ckpt_latest(root, &latest));
    assert_string_equal(latest, path_of(12, ""));
    free(latest);
    CHECK_OK(axl_comm_barrier(world));
    if (axl_comm_rank(world) ==
        0) { // a damaged newest one is passed over; leftovers are no checkpoints
        assert_int_equal(truncate(path_of(12, "/index.h5"), 100), 0);
        CHECK_OK(axl_dir_make(path_of(99, ".tmp")));
        CHECK_OK(axl_ckpt_latest(root, &latest));
        assert_string_equal(latest, path_of(11, ""));
        free(latest);
    }
    CHECK_OK(axl_comm_barrier(world));
    write_step(world, 13, false);
    assert_false(axl_path_exists(path_of(99, ".tmp")));
}

static void a_full_disk_leaves_the_old_one(void **state)
{
    const bool full = axl_comm_rank(world) == axl_comm_size(world) - 1;
    struct rlimit before, small;
    axl_ckpt *k = NULL;
    save s;

    (void)state;
    begin_case();
    write_step(world, 1, false);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 20000;
    fill(&s, world, 2, false);
    if (full)
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    CHECK_FAILS(axl_ckpt_write(world, &s.o, NULL), AXL_E_IO, "File too large; the limit on");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK_OK(axl_comm_barrier(world));
    assert_false(axl_path_exists(path_of(2, "")) || axl_path_exists(path_of(2, ".tmp")));
    CHECK_OK(axl_ckpt_open(path_of(1, ""), &k));
    CHECK_OK(read_as(k, 0, 1, true));
    axl_ckpt_close(k);
    CHECK_OK(axl_ckpt_write(world, &s.o, NULL)); // and there is room again
    drop(&s);
}

// Tensor 0 as given by rank; the rest fits.
static void check_cover(const axl_block *b, const char *message)
{
    save s;

    fill(&s, world, 5, false);
    s.tensors[0].row0 = b->row0;
    s.tensors[0].n_rows = b->n_rows;
    s.tensors[0].col0 = b->col0;
    s.tensors[0].n_cols = b->n_cols;
    free((void *)(uintptr_t)s.tensors[0].data);
    s.tensors[0].data = calloc(1001 * 577, sizeof(float));
    CHECK_FAILS(axl_ckpt_write(world, &s.o, NULL), AXL_E_BUG, message);
    assert_false(axl_path_exists(path_of(5, "")) || axl_path_exists(path_of(5, ".tmp")));
    drop(&s);
    CHECK_OK(axl_comm_barrier(world)); // all have looked
}

static void rectangles_must_cover_a_tensor_once(void **state)
{
    const int rank = axl_comm_rank(world), last = axl_comm_size(world) - 1;
    axl_block b = {0};

    (void)state;
    begin_case();
    if (rank == 0)
        b = (axl_block){.n_rows = 1001, .n_cols = 500};
    if (rank == last && last > 0)
        b = (axl_block){.n_rows = 1000, .col0 = 500, .n_cols = 77};
    check_cover(&b, last > 0 ? "embed.weight: 577500 of 577577 elements"
                             : "embed.weight: 500500 of 577577 elements");
    if (rank == last && last > 0) // the corner is there now, and something twice
        b = (axl_block){.row0 = 300, .n_rows = 701, .col0 = 499, .n_cols = 78};
    if (last > 0)
        check_cover(&b, "both hold row 300, column 499");
    b = (axl_block){.row0 = 1000, .n_rows = rank == last ? 2 : 0};
    check_cover(&b, "embed.weight: rows 1000 + 2");
    b = (axl_block){.col0 = 570, .n_rows = rank == last, .n_cols = 8};
    check_cover(&b, "columns 570 + 8 ");
}

static void merging_gives_a_hugging_face_directory(void **state)
{
    char out[600];
    axl_hfdir *dir = NULL;
    axl_str text = {0};

    (void)state;
    begin_case();
    write_step(world, 4, true);
    (void)snprintf(out, sizeof out, "%s/merged", root);
    CHECK_OK(axl_ckpt_merge(world, path_of(4, ""), out, &(axl_ckpt_merge_options){0}));
    CHECK_OK(axl_hfdir_open(out, &dir));
    assert_int_equal(axl_hfdir_count(dir), 4);
    for (int k = 0; k < 4; k++) {
        const axl_tensor_entry *e = axl_hfdir_find(dir, shapes[k].name);
        assert_non_null(e);
        assert_int_equal(e->spec.dtype, AXL_BF16); // as config.json says
        const int64_t n = shapes[k].dims[0] * row_elements(k);
        for (int64_t i = 0; i < n; i++) {
            axl_bf16 got;
            memcpy(&got, e->data + 2 * i, 2);
            assert_int_equal(got, axl_f32_to_bf16(value(k, i)));
        }
    }
    axl_hfdir_close(dir);
    axl_str_clear(&text);
    (void)snprintf(out + strlen(out), 20, "/config.json");
    CHECK_OK(axl_file_read(out, &text));
    assert_string_equal(text.data, config);
    axl_str_fini(&text);
    CHECK_FAILS(axl_ckpt_merge(world, path_of(8, ""), out, &(axl_ckpt_merge_options){0}),
                AXL_E_INPUT, "checkpoint-8");
}

static void read_merged(int64_t step, const char *dtype, axl_str *out)
{
    char to[600];

    (void)snprintf(to, sizeof to, "%s/merged-%lld", root, (long long)step);
    CHECK_OK(
        axl_ckpt_merge(world, path_of(step, ""), to, &(axl_ckpt_merge_options){.dtype = dtype}));
    CHECK_OK(axl_comm_barrier(world));
    (void)snprintf(to + strlen(to), 30, "/model.safetensors");
    CHECK_OK(axl_file_read(to, out));
}

static void merging_rectangles_gives_the_same_file_as_rows(void **state)
{
    (void)state;
    begin_case();
    write_step(world, 1, false);
    for (int64_t step = 2; step <= 3; step++) {
        axl_str rows = {0}, rectangles = {0};
        write_rectangles(world, step, (uint64_t)step);
        read_merged(1, step == 2 ? "float32" : NULL, &rows);
        read_merged(step, step == 2 ? "float32" : NULL, &rectangles);
        assert_int_equal(rows.len, rectangles.len);
        assert_memory_equal(rows.data, rectangles.data, rows.len);
        axl_str_fini(&rows);
        axl_str_fini(&rectangles);
        CHECK_OK(axl_comm_barrier(world));
    }
}

static void a_kill_leaves_a_whole_checkpoint(void **state)
{
    (void)state;
    if (axl_comm_size(world) > 1)
        skip(); // a process that runs MPI must not fork
    begin_case();
    write_step(world, 1, false);
    for (int round = 0; round < 8; round++) {
        const struct timespec pause = {.tv_nsec = 3000000 + round * 7000000};
        char *latest = NULL;
        axl_ckpt *k = NULL;
        const pid_t child = fork();
        if (child == 0) {
            for (int64_t step = 2;; step++)
                write_step(world, step, false);
        }
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        CHECK_OK(axl_ckpt_latest(root, &latest));
        assert_non_null(latest);
        CHECK_OK(axl_ckpt_open(latest, &k));
        CHECK_OK(read_as(k, 0, 1, true));
        axl_ckpt_close(k);
        free(latest);
    }
}

// Reads all of tensor k through the virtual data set.
static void read_virtual(const char *index, int k, void *out)
{
    char name[100];
    hid_t file = -1;

    (void)snprintf(name, sizeof name, "/%s/%s", shapes[k].group, shapes[k].name);
    CHECK_OK(axl_h5_open(index, &file));
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT), type = axl_h5_type(shapes[k].dtype);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0);
    (void)H5Tclose(type);
    (void)H5Dclose(set);
    CHECK_OK(axl_h5_close(file, index));
}

static void the_index_maps_rectangles(void **state)
{
    const int size = axl_comm_size(world);
    char shard[64];

    (void)state;
    begin_case();
    for (uint64_t seed = 1; seed <= 5; seed++)
        write_rectangles(world, (int64_t)seed, seed);
    if (axl_comm_rank(world) != 0)
        return;
    (void)snprintf(shard, sizeof shard, "/shard-%05d-of-%05d.h5", size - 1, size);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const axl_block lost = rectangle_of(seed, 3, size - 1, size);
        const int64_t row = row_elements(3);
        for (int k = 0; k < N_TENSORS; k++) {
            void *want = make_rows(k, 0, shapes[k].dims[0]);
            const size_t bytes =
                (size_t)(shapes[k].dims[0] * row_elements(k)) * axl_dtype_size(shapes[k].dtype);
            void *got = calloc(bytes + 1, 1);
            read_virtual(path_of((int64_t)seed, "/index.h5"), k, got);
            assert_memory_equal(got, want, bytes);
            free(want);
            free(got);
        }
        assert_int_equal(unlink(path_of((int64_t)seed, shard)), 0);
        float *got = calloc((size_t)(3 * row), sizeof *got);
        read_virtual(path_of((int64_t)seed, "/index.h5"), 3, got);
        for (int64_t i = 0; i < 3 * row; i++) // what is not there is seen
            assert_true((isnan(got[i]) != 0) ==
                        (i / row - lost.row0 >= 0 && i / row - lost.row0 < lost.n_rows &&
                         i % row - lost.col0 >= 0 && i % row - lost.col0 < lost.n_cols));
        free(got);
    }
}

static void other_tools_see_whole_tensors(void **state)
{
    static const char script[] = AXL_SOURCE_DIR "/tests/sharding/check_h5py.py";
    char command[1600];

    (void)state;
    begin_case();
    write_rectangles(world, 6, 3);
    if (axl_comm_rank(world) != 0)
        return;
    (void)snprintf(command, sizeof command, "python3 %s %s", script, path_of(6, "/index.h5"));
    const int code = system(command); // NOLINT(cert-env33-c): a fixed command
    if (WIFEXITED(code) && WEXITSTATUS(code) == 77)
        print_message("skipped: python3 has no h5py with hdf5plugin\n");
    else
        assert_int_equal(code, 0);
}

static void make_root(void)
{
    if (axl_comm_rank(world) == 0) {
        (void)snprintf(root, sizeof root, "%s/test-ckpt-XXXXXX", AXL_BUILD_DIR);
        if (mkdtemp(root) == NULL)
            axl_comm_abort(world, 1, "no temporary folder");
    }
    if (axl_comm_bcast_bytes(world, root, sizeof root, 0) != AXL_OK)
        axl_comm_abort(world, 1, axl_error_message());
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_count_of_ranks_reads_any_other),
        cmocka_unit_test(any_rectangles_are_read_from_any_others),
        cmocka_unit_test(checkpoints_of_format_1_load),
        cmocka_unit_test(entries_meta_and_files_come_back),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(old_ones_go_when_the_new_one_is_there),
        cmocka_unit_test(a_full_disk_leaves_the_old_one),
        cmocka_unit_test(rectangles_must_cover_a_tensor_once),
        cmocka_unit_test(merging_gives_a_hugging_face_directory),
        cmocka_unit_test(merging_rectangles_gives_the_same_file_as_rows),
        cmocka_unit_test(a_kill_leaves_a_whole_checkpoint),
        cmocka_unit_test(the_index_maps_rectangles),
        cmocka_unit_test(other_tools_see_whole_tensors),
    };

    if (axl_comm_init(&argc, &argv, &world) != AXL_OK) {
        (void)fprintf(stderr, "%s\n", axl_error_message());
        return 1;
    }
    make_root();
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)axl_comm_barrier(world);
    if (axl_comm_rank(world) == 0)
        (void)axl_path_remove(root);
    if (n_failed > 0)
        axl_comm_abort(world, 1, "a test failed");
    axl_comm_finalize(world);
    return 0;
}
