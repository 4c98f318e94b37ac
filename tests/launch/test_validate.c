// RUN: np=1
// axl-dist validate and config-schema as a user meets them: exit codes, what is printed, and how fast.
#include "launch/commands.h"
#include "src/base/log.h"
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/axl-validate-XXXXXX";

static const char *write_file(const char *text)
{
    static char path[64];

    (void)snprintf(path, sizeof path, "%s/run.yaml", folder);
    CHECK_OK(axl_file_write(path, text, strlen(text)));
    return path;
}

// Runs a command with its output in *out.
static int run(int (*command)(int, char **), char **arguments, axl_str *out)
{
    char path[64];
    int argc = 0, saved = dup(STDOUT_FILENO);

    (void)snprintf(path, sizeof path, "%s/out", folder);
    while (arguments[argc] != NULL)
        argc++;
    (void)fflush(stdout);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)dup2(fileno(file), STDOUT_FILENO);
    int code = command(argc, arguments);
    (void)fflush(stdout);
    (void)dup2(saved, STDOUT_FILENO);
    (void)fclose(file);
    (void)close(saved);
    axl_str_clear(out);
    CHECK_OK(axl_file_read(path, out));
    return code;
}

#define ARGUMENTS(...) ((char *[]){__VA_ARGS__, NULL})

static char validate[] = "validate", json[] = "--json", schema[] = "config-schema";
static char good[] = "base_model: m\nlearning_rate: 1e-4\ndatasets: [{path: d}]\n"
                     "micro_batch_size: 1\ngradient_accumulation_steps: 1\n";

static void a_broken_file_is_2_with_every_error(void **state)
{
    axl_str out = {0};
    axl_json *v = NULL;
    char *path = strdup(write_file("base_model: 3\nlerning_rate: 1\n"));
    (void)state;

    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path), &out), 2);
    assert_non_null(strstr(out.data, "run.yaml:1:13: error: base_model: 3 without quotes"));
    assert_non_null(
        strstr(out.data, "run.yaml:2:1: error: lerning_rate: unknown key; did you mean"));
    assert_non_null(strstr(out.data, "run.yaml: 5 errors"));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, json), &out), 2);
    CHECK_OK(axl_json_parse(out.data, out.len, "out", &v));
    assert_false(axl_json_bool(axl_json_get(v, "ok"), true));
    const axl_json *findings = axl_json_get(v, "findings");
    static const char *const members[] = {"severity", "file", "line",   "column",
                                          "key",      "rule", "message"};
    assert_int_equal(axl_json_count(findings), 5);
    for (size_t i = 0; i < axl_json_count(findings); i++)
        for (size_t k = 0; k < sizeof members / sizeof members[0]; k++)
            assert_non_null(axl_json_get(axl_json_at(findings, i), members[k]));
    const axl_json *last = axl_json_at(findings, 4);
    assert_int_equal(axl_json_int(axl_json_get(last, "line"), 0), 2);
    assert_string_equal(axl_json_string(axl_json_get(last, "key"), ""), "lerning_rate");
    assert_string_equal(axl_json_string(axl_json_get(last, "severity"), ""), "error");
    axl_json_free(v);
    axl_str_fini(&out);
    free(path);
}

static void a_good_file_is_0(void **state)
{
    axl_str out = {0};
    char *path = strdup(write_file(good));
    char option[] = "--max_grad_norm", value[] = "-1";
    (void)state;

    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path), &out), 0);
    assert_non_null(strstr(out.data, "can be run"));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, option, value), &out), 2);
    assert_non_null(strstr(out.data, "command line: error: max_grad_norm: -1 is too small"));
    axl_str_fini(&out);
    free(path);
}

static void the_mesh_is_checked_against_ranks(void **state)
{
    axl_str out = {0};
    char *path = strdup(write_file(good));
    char ranks[] = "--ranks", six[] = "6", four[] = "--ranks=4", none[] = "--ranks=0";
    char tp[] = "--tensor_parallel_size=4", bf16[] = "--bf16=false";
    (void)state;

    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, tp), &out), 0);
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, tp, four), &out), 0);
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, tp, ranks, six), &out), 2);
    assert_non_null(strstr(out.data, "error: tensor_parallel_size: 4 does not divide 6 ranks; set "
                                     "tensor_parallel_size: 3, or"));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, tp, none), &out), 2);
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, tp, ranks), &out), 2);
    // nothing is said about the machine that validates
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path, bf16, ranks, six), &out), 0);
    assert_null(strstr(out.data, "processor"));
    axl_str_fini(&out);
    free(path);
}

static void a_missing_file_is_2(void **state)
{
    axl_str out = {0};
    char path[] = "/nonexistent/run.yaml";
    (void)state;

    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path), &out), 2);
    assert_non_null(strstr(out.data, "/nonexistent/run.yaml"));
    axl_str_fini(&out);
}

static void a_folder_stands_for_the_one_file_in_it(void **state)
{
    axl_str out = {0};
    char *path = strdup(write_file(good)); // run.yaml
    char other[64], url[] = "https://example.org/run.yaml";
    (void)state;

    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, folder), &out), 0);
    assert_non_null(strstr(out.data, "can be run"));
    (void)snprintf(other, sizeof other, "%s/b.yml", folder);
    CHECK_OK(axl_file_write(other, good, strlen(good)));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, folder), &out), 2);
    assert_non_null(strstr(out.data, "several files could be meant; name one of"));
    CHECK_OK(axl_path_remove(path));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, folder), &out), 0); // .yml too
    CHECK_OK(axl_path_remove(other));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, folder), &out), 2);
    assert_non_null(strstr(out.data, "no .yaml or .yml file in this folder"));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, url), &out), 2);
    assert_non_null(strstr(out.data, "nothing is downloaded"));
    axl_str_fini(&out);
    free(path);
}

// The JSON is looked for where the program runs and beside the YAML; its faults have places of their own.
static void deepspeed_files_lie_beside_the_yaml(void **state)
{
    static const char json_text[] =
        "{\n \"zero_optimization\": {\"stage\": 3,\n  \"overlap_com\": true}\n}\n";
    axl_str out = {0}, text = {0};
    char other[64];
    (void)state;

    CHECK_OK(axl_str_printf(&text, "%sdeepspeed: z3.json\n", good));
    char *path = strdup(write_file(text.data));
    (void)snprintf(other, sizeof other, "%s/z3.json", folder);
    CHECK_OK(axl_file_write(other, json_text, strlen(json_text)));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path), &out), 2);
    assert_non_null(strstr(out.data, "z3.json:3:3: error: deepspeed.zero_optimization.overlap_com: "
                                     "unknown key; did you mean overlap_comm?"));
    CHECK_OK(axl_file_write(other, "{\"zero_optimization\": ", 22));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path), &out), 2);
    assert_non_null(strstr(out.data, "z3.json:"));
    CHECK_OK(axl_file_write(other, "[]", 2));
    assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path), &out), 2);
    assert_non_null(strstr(out.data, "an object of settings was expected here, not a list"));
    CHECK_OK(axl_path_remove(other));
    axl_str_fini(&out);
    axl_str_fini(&text);
    free(path);
}

static void the_schema_is_json(void **state)
{
    axl_str out = {0};
    axl_json *v = NULL;
    (void)state;

    assert_int_equal(run(axl_cmd_config_schema, ARGUMENTS(schema), &out), 0);
    CHECK_OK(axl_json_parse(out.data, out.len, "schema", &v));
    assert_non_null(axl_json_get(axl_json_get(v, "properties"), "micro_batch_size"));
    axl_json_free(v);
    char field[] = "--field", nested[] = "fsdp_config.offload_params", none[] = "fsdp_config.x";
    assert_int_equal(run(axl_cmd_config_schema, ARGUMENTS(schema, field, nested), &out), 0);
    CHECK_OK(axl_json_parse(out.data, out.len, "schema", &v));
    assert_non_null(axl_json_get(axl_json_get(v, "offload_params"), "description"));
    axl_json_free(v);
    assert_int_equal(run(axl_cmd_config_schema, ARGUMENTS(schema, field, none), &out), 2);
    axl_str_fini(&out);
}

// 20 ms is promised for a large file; the best of five, because the machine may be busy.
static void a_large_file_is_fast(void **state)
{
    axl_str text = {0}, out = {0};
    double best = 1e9;
    (void)state;

    CHECK_OK(axl_str_puts(&text, "base_model: m\nlearning_rate: 1e-4\nmicro_batch_size: 1\n"
                                 "gradient_accumulation_steps: 1\ndatasets:\n"));
    for (int i = 0; i < 100; i++)
        CHECK_OK(axl_str_printf(&text,
                                "  - path: d%d.jsonl\n    type: chat_template\n"
                                "    field_messages: turns\n    roles_to_train: [assistant]\n",
                                i));
    char *path = strdup(write_file(text.data));
    for (int i = 0; i < 5; i++) {
        double start = axl_now();
        assert_int_equal(run(axl_cmd_validate, ARGUMENTS(validate, path), &out), 0);
        best = fmin(best, axl_now() - start);
    }
    (void)printf("a file with 100 data sets takes %.1f ms\n", best * 1e3);
#if !defined(AXL_DEBUG)
    assert_true(best < 0.020);
#endif
    axl_str_fini(&text);
    axl_str_fini(&out);
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
        cmocka_unit_test(a_broken_file_is_2_with_every_error),
        cmocka_unit_test(a_good_file_is_0),
        cmocka_unit_test(the_mesh_is_checked_against_ranks),
        cmocka_unit_test(a_missing_file_is_2),
        cmocka_unit_test(a_folder_stands_for_the_one_file_in_it),
        cmocka_unit_test(deepspeed_files_lie_beside_the_yaml),
        cmocka_unit_test(the_schema_is_json),
        cmocka_unit_test(a_large_file_is_fast),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
