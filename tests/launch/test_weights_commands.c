// RUN: np=1
// The commands import, inspect and merge, as a user types them: exit codes and what they print.
#include "comm/comm.h"
#include "launch/commands.h"
#include "sharding/ckpt.h"
#include "src/io/file.h"
#include "src/io/hfdir.h"
#include "tests/check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define DATA    AXL_TEST_DATA "/io"
#define SCRATCH "test_weights_commands.tmp"

typedef int command(int argc, char **argv);

// Runs a command with up to 5 arguments (the rest NULL); what it prints on both streams goes to *out.
static int run_command(command *f, const char *const *words, axl_str *out)
{
    char *argv[7] = {0};
    int argc = 0, saved[2];
    for (; argc < 6 && words[argc] != NULL; argc++)
        argv[argc] = strdup(words[argc]);
    (void)fflush(NULL);
    int fd = open(SCRATCH ".txt", O_RDWR | O_CREAT | O_TRUNC, 0666);
    assert_true(fd >= 0);
    for (int i = 0; i < 2; i++) {
        saved[i] = dup(i + 1);
        assert_true(dup2(fd, i + 1) >= 0);
    }
    int code = f(argc, argv);
    (void)fflush(NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(dup2(saved[i], i + 1) >= 0);
        (void)close(saved[i]);
    }
    (void)close(fd);
    axl_str_clear(out);
    CHECK_OK(axl_file_read(SCRATCH ".txt", out));
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return code;
}

static void check_run(command *f, int code, const char *text, const char *const *words)
{
    axl_str out = {0};
    int got = run_command(f, words, &out);
    if (got != code || strstr(out.data, text) == NULL)
        fail_msg("%s %s: exit %d instead of %d, \"%s\" expected in:\n%s", words[0],
                 words[1] != NULL ? words[1] : "", got, code, text, out.data);
    axl_str_fini(&out);
}

#define RUN(f, code, text, ...) check_run(f, code, text, (const char *const[]){__VA_ARGS__, NULL})

static int clean(void **state)
{
    (void)state;
    CHECK_OK(axl_path_remove(SCRATCH));
    CHECK_OK(axl_path_remove(SCRATCH "2"));
    CHECK_OK(axl_path_remove(SCRATCH ".txt"));
    return 0;
}

static void bad_usage_exits_2(void **state)
{
    (void)state;
    RUN(axl_cmd_import, 0, "example:", "import", "--help");
    RUN(axl_cmd_import, 2, "--help", "import");
    RUN(axl_cmd_import, 2, "--help", "import", DATA "/tiny_llama.gguf");
    RUN(axl_cmd_import, 2, "--frob", "import", "--frob");
    RUN(axl_cmd_import, 2, "--dtype int8", "import", "x.gguf", "-o", SCRATCH, "--dtype=int8");
    RUN(axl_cmd_import, 2, "x.gguf: cannot be read", "import", "x.gguf", "-o", SCRATCH);
    RUN(axl_cmd_import, 2, "is not a GGUF file", "import", DATA "/sharded/config.json", "-o",
        SCRATCH);
    RUN(axl_cmd_inspect, 0, "example:", "inspect", "--help");
    RUN(axl_cmd_inspect, 2, "--help", "inspect");
    RUN(axl_cmd_inspect, 2, "--frob", "inspect", "--frob");
    RUN(axl_cmd_inspect, 2, "no such file", "inspect", "no/such");
    RUN(axl_cmd_inspect, 2, "none of what can be inspected", "inspect",
        DATA "/sharded/config.json");
}

static void imported_models_are_inspected(void **state)
{
    (void)state;
    RUN(axl_cmd_import, 0, "imported", "import", DATA "/tiny_llama.gguf", "-o", SCRATCH);
    RUN(axl_cmd_import, 2, "would be overwritten", "import", DATA "/tiny_llama.gguf", "-o",
        SCRATCH);
    RUN(axl_cmd_inspect, 0, "model_type: \"llama\"", "inspect", SCRATCH);
    RUN(axl_cmd_inspect, 0, "BPE, 265 tokens, 5 merges, 4 added", "inspect", SCRATCH);
    RUN(axl_cmd_inspect, 0, "Q8_0    [265, 64]", "inspect", DATA "/tiny_llama.gguf", "--no-stats");
    RUN(axl_cmd_inspect, 0, "kind.array.string: \"a\", \"\", \"ccc\"", "inspect",
        DATA "/quants.gguf");
    RUN(axl_cmd_inspect, 0, "F8_E4M3", "inspect", DATA "/every_dtype.safetensors");
    RUN(axl_cmd_inspect, 0, "20 tensors are equal, 0 differ, 0 are", "inspect", SCRATCH, SCRATCH);
    RUN(axl_cmd_import, 0, "imported", "import", DATA "/tiny_llama.gguf", "-o", SCRATCH "2",
        "--dtype=bf16");
    RUN(axl_cmd_inspect, 0, "dtype F32, other BF16", "inspect", SCRATCH, SCRATCH "2");
    RUN(axl_cmd_inspect, 0, "0 tensors are equal, 20 differ, 0 are", "inspect", SCRATCH,
        SCRATCH "2");
    RUN(axl_cmd_inspect, 0, "only in the second", "inspect", SCRATCH, DATA "/tiny_llama.gguf");
}

// A file whose statistics are known.
static void statistics_are_right(void **state)
{
    (void)state;
    static const float x[] = {1e6f + 1, 1e6f + 2, 1e6f + 3, 1e6f + 4, NAN, 1e6f + 5};
    axl_safetensors_plan plan = {0};
    axl_safetensors_writer *w = NULL;
    axl_tensor_spec spec = {.name = "t", .dtype = AXL_F32, .n_dims = 2, .dims = {3, 2}};
    CHECK_OK(axl_dir_make(SCRATCH));
    CHECK_OK(axl_safetensors_plan_make(&spec, 1, NULL, &plan));
    CHECK_OK(axl_safetensors_writer_open(SCRATCH "/x.safetensors", &plan, true, &w));
    CHECK_OK(axl_safetensors_write_runs(w, 0, &(axl_runs){.bytes = sizeof x, .n = 1}, x));
    CHECK_OK(axl_safetensors_writer_publish(w));
    axl_safetensors_writer_destroy(w);
    axl_safetensors_plan_fini(&plan);
    RUN(axl_cmd_inspect, 0,
        "F32     [3, 2]                    1e+06        1e+06        1e+06       1.4142    1",
        "inspect", SCRATCH "/x.safetensors");
}

// A checkpoint of one tensor and a config.json, as the trainer would leave it.
static void save_checkpoint(void)
{
    static const float x[] = {1, 2, 3, 4.5f};
    static const char config[] = "{\"model_type\": \"llama\", \"dtype\": \"bfloat16\"}";
    const axl_ckpt_tensor tensor = {.group = "model",
                                    .name = "a.weight",
                                    .dtype = AXL_F32,
                                    .n_dims = 2,
                                    .dims = {2, 2},
                                    .n_rows = 2,
                                    .data = x};
    const axl_ckpt_file file = {"config.json", config, sizeof config - 1};
    const axl_ckpt_options o = {.dir = SCRATCH,
                                .step = 5,
                                .tensors = &tensor,
                                .n_tensors = 1,
                                .meta_json = "{}",
                                .files = &file,
                                .n_files = 1};
    axl_comm *world = NULL;
    CHECK_OK(axl_comm_init(NULL, NULL, &world));
    CHECK_OK(axl_ckpt_write(world, &o, NULL));
    axl_comm_finalize(world);
}

static void checkpoints_are_inspected_and_merged(void **state)
{
    (void)state;
    save_checkpoint();
    RUN(axl_cmd_inspect, 0, "model/a.weight F32     [2, 2]", "inspect", SCRATCH "/checkpoint-5");
    RUN(axl_cmd_inspect, 0, "embedded: config.json", "inspect", SCRATCH "/checkpoint-5");
    RUN(axl_cmd_merge, 0, "example:", "merge", "--help");
    RUN(axl_cmd_merge, 2, "--help", "merge", SCRATCH "/checkpoint-5");
    RUN(axl_cmd_merge, 2, "index.h5", "merge", "no/such", "-o", SCRATCH "2");
    RUN(axl_cmd_merge, 2, "bfloat16", "merge", SCRATCH, "-o", SCRATCH "2", "--dtype=bf17");
    RUN(axl_cmd_merge, 0, "checkpoint-5: merged", "merge", SCRATCH, "-o", SCRATCH "2");
    RUN(axl_cmd_merge, 2, "would be overwritten", "merge", SCRATCH, "-o", SCRATCH "2");
    RUN(axl_cmd_inspect, 0, "a.weight BF16    [2, 2]                        1          4.5",
        "inspect", SCRATCH "2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(bad_usage_exits_2, clean),
        cmocka_unit_test_teardown(imported_models_are_inspected, clean),
        cmocka_unit_test_teardown(statistics_are_right, clean),
        cmocka_unit_test_teardown(checkpoints_are_inspected_and_merged, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
