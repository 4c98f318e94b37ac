// RUN: np=1
// axl-dist plan as a user meets it: exit codes, tables, the object, and how long it takes.
#include "launch/commands.h"
#include "src/base/log.h"
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/axl-plan-XXXXXX";

static char *write_config(const char *model, const char *more)
{
    axl_str text = {0};
    char path[64];

    (void)snprintf(path, sizeof path, "%s/run.yaml", folder);
    CHECK_OK(axl_str_printf(&text,
                            "base_model: %s/%s\nlearning_rate: 1e-4\ndatasets: [{path: d}]\n"
                            "sequence_len: 8192\nsample_packing: true\n%s",
                            AXL_TEST_DATA, model, more));
    CHECK_OK(axl_file_write(path, text.data, text.len));
    axl_str_fini(&text);
    return strdup(path);
}

// Runs the command with these words behind "plan"; its output in *out. what: STDOUT_FILENO or STDERR_FILENO.
static int run(const char *const *words, int what, axl_str *out)
{
    char path[64], *argv[32] = {strdup("plan")};
    FILE *stream = what == STDOUT_FILENO ? stdout : stderr;
    int argc = 1, saved = dup(what);

    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = strdup(words[argc - 1]);
    (void)snprintf(path, sizeof path, "%s/out", folder);
    (void)fflush(stream);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)dup2(fileno(file), what);
    int code = axl_cmd_plan(argc, argv);
    (void)fflush(stream);
    (void)dup2(saved, what);
    (void)fclose(file);
    (void)close(saved);
    axl_str_clear(out);
    CHECK_OK(axl_file_read(path, out));
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return code;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char small[] = "micro_batch_size: 1\ngradient_accumulation_steps: 2\n"
                            "gradient_checkpointing: true\n";

static void tables_say_memory_time_and_bytes(void **state)
{
    axl_str out = {0};
    char *path = write_config("plan/llama-3.1-8b", small);
    static const char *const wanted[] = {
        "llama of 8.03 G parameters in BF16 on 16 ranks, 2 nodes of h100",
        "dp_shard 16",
        "step of 32 rows, 262 k tokens",
        "weights, fp32",
        "workspace of kernels",
        "about: NCCL's buffers",
        "about: CUDA's context",
        "h100: assumed, for this machine has no GPU",
        "\nfits, ",
        "GFLOP a token: 57.9",
        "exposed: gathers of weights",
        "tokens/s",
        "MFU",
        "dense.all_gather",
        "dense.reduce_scatter"};
    (void)state;

    assert_int_equal(run(WORDS(path, "--ranks", "16"), STDOUT_FILENO, &out), 0);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (strstr(out.data, wanted[i]) == NULL)
            fail_msg("%s is missing in\n%s", wanted[i], out.data);
    assert_null(strstr(out.data, "fastest of")); // nobody asked
    assert_null(strstr(out.data, "mend"));
    assert_non_null(strstr(out.data, "\nfaster: ")); // nothing needs to be run again
    assert_int_equal(
        run(WORDS(path, "--ranks=16", "--nodes=16", "--cluster=a100"), STDOUT_FILENO, &out), 0);
    assert_non_null(strstr(out.data, "16 nodes of a100"));
    axl_str_fini(&out);
    free(path);
}

static int64_t bytes_of(const axl_json *v, const char *key)
{
    return axl_json_int(axl_json_get(axl_json_get(v, "memory_bytes"), key), -1);
}

static void the_object_adds_up(void **state)
{
    static const char *const classes[] = {"weights",
                                          "gradients",
                                          "moments",
                                          "gathered_weights",
                                          "gradients_in_flight",
                                          "layer_inputs",
                                          "saved",
                                          "scratch",
                                          "residual_gradient",
                                          "batch",
                                          "head",
                                          "ring",
                                          "host",
                                          "micro_step_sums",
                                          "process",
                                          "kernels_workspace",
                                          "sums_over_ranks",
                                          "cudnn",
                                          "cuda_graphs",
                                          "nccl"};
    axl_str out = {0};
    axl_json *v = NULL;
    char *path = write_config("plan/llama-3.1-8b", small);
    int64_t sum = 0;
    double seconds = 0.0;
    (void)state;

    assert_int_equal(
        run(WORDS(path, "--ranks", "16", "--json", "--search", "--context_parallel_size", "2"),
            STDOUT_FILENO, &out),
        0);
    CHECK_OK(axl_json_parse(out.data, out.len, "out", &v));
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        assert_true(bytes_of(v, classes[i]) >= 0);
        sum += bytes_of(v, classes[i]);
    }
    assert_int_equal(sum, bytes_of(v, "sum"));
    assert_int_equal(axl_json_int(axl_json_get(v, "parameters"), 0), 8030261248);
    void *it = NULL;
    const char *key;
    axl_json *child;
    while (axl_json_next(axl_json_get(v, "time_seconds"), &it, &key, &child))
        seconds += axl_json_real(child, NAN);
    const double step = axl_json_real(axl_json_get(v, "step_seconds"), NAN);
    assert_true(fabs(seconds - step) <= 1e-9 * step);
    assert_true(axl_json_int(axl_json_get(axl_json_get(v, "comm_bytes"), "cp.send_recv"), 0) > 0);
    assert_true(axl_json_count(axl_json_get(v, "best")) > 0);
    const axl_json *best = axl_json_at(axl_json_get(v, "best"), 0);
    assert_true(axl_json_real(axl_json_get(best, "step_seconds"), NAN) <= step);
    axl_json_free(v);
    axl_str_fini(&out);
    free(path);
}

static void what_does_not_fit_is_mended(void **state)
{
    axl_str out = {0};
    char *path =
        write_config("plan/llama-3.1-8b", "micro_batch_size: 4\ngradient_accumulation_steps: 1\n");
    (void)state;

    assert_int_equal(run(WORDS(path, "--ranks", "8"), STDOUT_FILENO, &out), 0);
    assert_non_null(strstr(out.data, "does not fit, "));
    assert_non_null(strstr(out.data, "the cheapest mend: "));
    assert_non_null(strstr(out.data, "s a step instead of"));
    free(path);
    path = write_config("plan/llama-3.1-405b", small);
    assert_int_equal(run(WORDS(path, "--ranks", "8"), STDOUT_FILENO, &out), 0);
    assert_non_null(strstr(out.data, "no layout of 8 ranks fits; "));
    axl_str_fini(&out);
    free(path);
}

static void check_refused(const char *const *words, const char *why)
{
    axl_str out = {0};

    assert_int_equal(run(words, STDERR_FILENO, &out), 2);
    if (strstr(out.data, why) == NULL)
        fail_msg("%s is missing in\n%s", why, out.data);
    axl_str_fini(&out);
}

static void bad_input_is_2(void **state)
{
    char *path = write_config("plan/llama-3.1-8b", small);
    (void)state;

    check_refused(WORDS(path), "--ranks is missing");
    check_refused(WORDS("--ranks", "8"), "no configuration file given");
    check_refused(WORDS(path, "--ranks", "0"), "--ranks: a number from 1 to");
    check_refused(WORDS(path, "--ranks", "16", "--nodes", "3"), "3 nodes cannot share 16 ranks");
    check_refused(WORDS(path, "--ranks", "8", "--cluster", "h10"), "did you mean h100?");
    check_refused(WORDS(path, "--ranks", "6", "--tensor_parallel_size", "4"),
                  "4 does not divide 6 ranks");
    check_refused(WORDS(path, "--ranks", "48", "--tensor_parallel_size", "3"),
                  "tensor_parallel_size 3 does not fit 32 heads");
    check_refused(WORDS(path, "--ranks", "8", "--expert_parallel_size", "2"), "has no experts");
    check_refused(WORDS(path, "--ranks", "8", "--lerning_rate", "2"), "learning_rate");
    check_refused(WORDS("/nonexistent.yaml", "--ranks", "8"), "/nonexistent.yaml");
    free(path);
    path = write_config("plan/none", small);
    check_refused(WORDS(path, "--ranks", "8"), "put the model's config.json into one");
    free(path);
}

static double cpu_seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Processor time of the best of three; the machine may be busy.
static double best_of(const char *const *words)
{
    axl_str out = {0};
    double best = 1e9;

    for (int i = 0; i < 3; i++) {
        const double start = cpu_seconds();
        assert_int_equal(run(words, STDOUT_FILENO, &out), 0);
        best = fmin(best, cpu_seconds() - start);
    }
    axl_str_fini(&out);
    return best;
}

// Of any model, length and number of ranks that a user may ask for.
static void any_plan_and_any_search_is_quick(void **state)
{
    static const struct {
        double most; // seconds; a few times what a quiet machine takes
        const char *what, *words[8];
    } cases[] = {
        {0.1, "1,024 ranks", {"--ranks", "1024"}},
        {0.1, "1,024 ranks, --search", {"--ranks", "1024", "--search"}},
        {0.1,
         "1 M tokens over 128",
         {"--ranks", "1024", "--sequence_len=1048576", "--context_parallel_size=128"}},
        {0.1,
         "the same, --search",
         {"--ranks", "1024", "--sequence_len=1048576", "--context_parallel_size=128", "--search"}},
        {0.1,
         "the same in documents of 300",
         {"--ranks", "1024", "--sequence_len=1048576", "--context_parallel_size=128", "--search",
          "--document-tokens", "300"}},
        {0.2, "100,000 ranks, --search", {"--ranks", "100000", "--search"}},
        {0.2,
         "131,072 ranks, 1 M tokens over 128, --search",
         {"--ranks", "131072", "--sequence_len=1048576", "--context_parallel_size=128",
          "--search"}},
        {0.2, "1,000,000 ranks, --search", {"--ranks", "1000000", "--search"}},
    };
    char *path =
        write_config("plan/llama-3.1-405b", "micro_batch_size: 1\ngradient_accumulation_steps: 2\n"
                                            "gradient_checkpointing: true\n");
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *words[10] = {path};
        memcpy(words + 1, cases[i].words, sizeof cases[i].words);
        const double seconds = best_of(words);
        print_message("405B, %s: %.0f ms\n", cases[i].what, 1e3 * seconds);
#if !defined(AXL_DEBUG)
        assert_true(seconds < cases[i].most);
#endif
    }
    free(path);
}

static void a_large_file_is_read_and_planned_in_no_time(void **state)
{
    axl_str more = {0};
    (void)state;

    CHECK_OK(axl_str_puts(&more, "micro_batch_size: 1\ngradient_accumulation_steps: 1\n"
                                 "test_datasets:\n"));
    for (int i = 0; i < 200; i++)
        CHECK_OK(axl_str_printf(&more,
                                "  - path: d%d.jsonl\n    type: chat_template\n    split: train\n"
                                "    field_messages: turns\n    roles_to_train: [assistant]\n",
                                i));
    char *path = write_config("plan/llama-3.1-8b", more.data);
    const double seconds = best_of(WORDS(path, "--ranks", "16"));
    print_message("a file of 200 data sets, read, checked and planned: %.1f ms\n", 1e3 * seconds);
#if !defined(AXL_DEBUG)
    assert_true(seconds < 0.02);
#endif
    axl_str_fini(&more);
    free(path);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return axl_path_remove(folder) != AXL_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_say_memory_time_and_bytes),
        cmocka_unit_test(the_object_adds_up),
        cmocka_unit_test(what_does_not_fit_is_mended),
        cmocka_unit_test(bad_input_is_2),
        cmocka_unit_test(any_plan_and_any_search_is_quick),
        cmocka_unit_test(a_large_file_is_read_and_planned_in_no_time),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
