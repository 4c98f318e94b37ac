// RUN: np=1
// preprocess and explain as a user calls them: files, standard output and exit codes.
#include "launch/commands.h"
#include "src/base/log.h"
#include "src/io/file.h"
#include "src/io/json.h"
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[64];

static char *in_folder(const char *name, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    char path[256];

    CHECK_OK(axl_file_write(in_folder(name, path), text, strlen(text)));
}

static int make_folder(void **state)
{
    (void)state;
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json"};
    axl_str text = {0};

    (void)snprintf(folder, sizeof folder, "/tmp/axl_cli_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    for (int i = 0; i < 2; i++) {
        axl_str_clear(&text);
        CHECK_OK(axl_str_printf(&text, "%s/data/tokenizer/%s", AXL_TEST_DATA, files[i]));
        char *path = strdup(text.data);
        axl_str_clear(&text);
        CHECK_OK(axl_file_read(path, &text));
        put(files[i], text.data);
        free(path);
    }
    put("config.json", "{\"vocab_size\": 1000}");
    put("rows.jsonl",
        "{\"instruction\": \"Say one.\", \"output\": \"One.\"}\n\n"
        "{\"instruction\": \"Say two.\", \"input\": \"loudly\", \"output\": \"Two!\"}\n");
    axl_str_clear(&text);
    CHECK_OK(
        axl_str_printf(&text,
                       "base_model: %s\ndatasets:\n  - path: %s/rows.jsonl\n    type: alpaca\n"
                       "dataset_prepared_path: %s/prepared\noutput_dir: %s/out\n"
                       "learning_rate: 1e-4\nmicro_batch_size: 1\n"
                       "gradient_accumulation_steps: 1\nsequence_len: 512\nsample_packing: true\n",
                       folder, folder, folder, folder));
    put("run.yaml", text.data);
    axl_str_fini(&text);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return axl_path_remove(folder) == AXL_OK ? 0 : -1;
}

// Runs a command with standard output in a file; returns its exit code.
static int run(int (*command)(int, char **), int argc, char **argv, axl_str *output)
{
    char path[256];
    int terminal = dup(STDOUT_FILENO);

    axl_log_set_terminal_level(AXL_LOG_INFO); // a command before may have asked for silence
    (void)fflush(stdout);
    assert_non_null(freopen(in_folder("stdout", path), "w", stdout));
    int code = command(argc, argv);
    (void)fflush(stdout);
    assert_true(dup2(terminal, STDOUT_FILENO) >= 0);
    (void)close(terminal);
    axl_str_clear(output);
    CHECK_OK(axl_file_read(path, output));
    return code;
}

static void preprocess_writes_a_line_a_sample(void **state)
{
    (void)state;
    char config[256], dump[256], name[] = "preprocess", flag[] = "--dump", debug[] = "--debug";
    char *argv[] = {name, in_folder("run.yaml", config), flag, in_folder("dump.jsonl", dump),
                    debug};
    axl_str out = {0}, lines = {0};
    axl_json *row = NULL;

    assert_int_equal(run(axl_cmd_preprocess, 5, argv, &out), 0);
    assert_non_null(strstr(out.data, "2 rows gave 2 samples"));
    assert_non_null(strstr(out.data, "1 steps on 1 rank"));
    assert_non_null(strstr(out.data, "rows.jsonl:3: "));
    CHECK_OK(axl_file_read(dump, &lines));
    char *second = strchr(lines.data, '\n') + 1;
    CHECK_OK(axl_json_parse(second, strlen(second) - 1, "dump", &row));
    int64_t n = axl_json_int(axl_json_get(row, "length"), -1);
    assert_int_equal(n, axl_json_count(axl_json_get(row, "input_ids")));
    assert_int_equal(n, axl_json_count(axl_json_get(row, "labels")));
    const char *source = axl_json_string(axl_json_get(row, "source"), "");
    assert_string_equal(source + strlen(source) - strlen("rows.jsonl:3"), "rows.jsonl:3");
    axl_json_free(row);
    axl_str_fini(&out);
    axl_str_fini(&lines);
}

static void preprocess_prints_one_object(void **state)
{
    (void)state;
    char config[256], name[] = "preprocess", flag[] = "--json", debug[] = "--debug";
    char *argv[] = {name, in_folder("run.yaml", config), flag, debug};
    axl_str out = {0};
    axl_json *json = NULL;

    assert_int_equal(run(axl_cmd_preprocess, 3, argv, &out), 0);
    CHECK_OK(axl_json_parse(out.data, out.len, "preprocess", &json));
    const axl_json *set = axl_json_get(json, "datasets");
    assert_int_equal(axl_json_int(axl_json_get(set, "rows"), -1), 2);
    assert_int_equal(axl_json_int(axl_json_get(set, "samples"), -1), 2);
    assert_int_equal(axl_json_count(axl_json_get(set, "entries")), 1);
    assert_int_equal(axl_json_int(axl_json_get(json, "steps"), -1), 1);
    assert_true(axl_json_is(axl_json_get(json, "test_datasets"), AXL_JSON_NULL));
    axl_json_free(json);
    assert_int_equal(run(axl_cmd_preprocess, 4, argv, &out), 2);
    axl_str_fini(&out);
}

// The same records as csv, gzip or not, one of them malformed: the key says whether it stops.
static void bad_records_stop_or_are_counted(void **state)
{
    (void)state;
    char config[256], name[] = "preprocess", key[] = "--bad_records", skip_it[] = "skip";
    char *argv[] = {name, in_folder("csv.yaml", config), key, skip_it};
    axl_str text = {0}, out = {0};

    put("rows.csv", "instruction,output\nSay one.,One.\nSay two.,Two!,3\n\"Say, three.\",Three.\n");
    CHECK_OK(axl_file_read(in_folder("run.yaml", config), &text));
    char *rows = strstr(text.data, "rows.jsonl");
    memcpy(rows, "rows.csv  ", 10);
    put("csv.yaml", text.data);
    (void)in_folder("csv.yaml", config);
    assert_int_equal(run(axl_cmd_preprocess, 2, argv, &out), 2);
    assert_int_equal(run(axl_cmd_preprocess, 4, argv, &out), 0);
    assert_non_null(strstr(out.data, "3 rows gave 2 samples"));
    assert_non_null(strstr(out.data, "1 malformed rows skipped"));
    axl_str_fini(&text);
    axl_str_fini(&out);
}

static void explain_shows_one_sample(void **state)
{
    (void)state;
    char config[256], name[] = "explain", row[] = "--row", n[] = "1", json[] = "--json";
    char *argv[] = {name, in_folder("run.yaml", config), row, n, json};
    axl_str out = {0};
    axl_json *sample = NULL;
    int64_t weight = 0;

    assert_int_equal(run(axl_cmd_explain, 5, argv, &out), 0);
    CHECK_OK(axl_json_parse(out.data, out.len, "explain", &sample));
    const axl_json *tokens = axl_json_get(sample, "tokens");
    for (size_t i = 0; i < axl_json_count(tokens); i++)
        weight += axl_json_int(axl_json_get(axl_json_at(tokens, i), "weight"), 0);
    assert_int_equal(weight, axl_json_int(axl_json_get(sample, "trained"), -1));
    assert_true(weight > 0);
    assert_int_equal(axl_json_int(axl_json_get(sample, "bin"), -1), 0);
    axl_json_free(sample);
    axl_str_fini(&out);
}

static void mistakes_have_exit_code_2(void **state)
{
    (void)state;
    char config[256], name[] = "explain", row[] = "--row", n[] = "7", word[] = "many";
    char path[] = "--datasets.0.path", missing[] = "nowhere.jsonl";
    char *far[] = {name, in_folder("run.yaml", config), row, n};
    char *no_number[] = {name, config, row, word};
    char *no_row[] = {name, config};
    char *no_data[] = {name, config, row, n, path, missing};
    axl_str out = {0};

    assert_int_equal(run(axl_cmd_explain, 4, far, &out), 2);
    assert_int_equal(run(axl_cmd_explain, 4, no_number, &out), 2);
    assert_int_equal(run(axl_cmd_explain, 2, no_row, &out), 2);
    assert_int_equal(run(axl_cmd_explain, 6, no_data, &out), 2);
    assert_int_equal(run(axl_cmd_preprocess, 1, no_row, &out), 2);
    axl_str_fini(&out);
}

static void put_pairs(void)
{
    axl_str text = {0};

    put("pairs.jsonl", "{\"question\": \"Say one.\", \"chosen\": \"One.\", \"rejected\": \"1\"}\n"
                       "{\"question\": \"Say two.\", \"chosen\": \"Two!\", \"rejected\": \"2\"}\n");
    CHECK_OK(axl_str_printf(
        &text,
        "base_model: %s\nrl: dpo\nrl_beta: 0.2\ndatasets:\n  - path: %s/pairs.jsonl\n"
        "    type: chatml.intel\ndataset_prepared_path: %s/prepared\n"
        "output_dir: %s/out\nlearning_rate: 1e-4\nmicro_batch_size: 2\n"
        "gradient_accumulation_steps: 1\nsequence_len: 512\n",
        folder, folder, folder, folder));
    put("pairs.yaml", text.data);
    axl_str_fini(&text);
}

static void explain_shows_both_documents_of_a_pair(void **state)
{
    (void)state;
    char config[256], name[] = "explain", row[] = "--row", n[] = "1", json[] = "--json";
    char *argv[] = {name, in_folder("pairs.yaml", config), row, n, json};
    static const char *const roles[] = {"chosen", "rejected"};
    axl_str out = {0};
    axl_json *sample = NULL;
    int64_t begins = 0;

    put_pairs();
    assert_int_equal(run(axl_cmd_explain, 5, argv, &out), 0);
    CHECK_OK(axl_json_parse(out.data, out.len, "explain", &sample));
    const axl_json *tokens = axl_json_get(sample, "tokens");
    int64_t first = axl_json_int(axl_json_get(sample, "document"), -1);
    for (size_t i = 0; i < axl_json_count(tokens); i++) {
        const axl_json *token = axl_json_at(tokens, i);
        begins += axl_json_int(axl_json_get(token, "position"), -1) == 0;
        assert_true(begins >= 1 && begins <= 2);
        assert_string_equal(axl_json_string(axl_json_get(token, "role"), ""), roles[begins - 1]);
        assert_int_equal(axl_json_int(axl_json_get(token, "document"), -1), first + begins - 1);
    }
    assert_int_equal(begins, 2);
    axl_json_free(sample);
    axl_str_fini(&out);
}

static void a_method_that_is_not_there_is_refused_before_anything_is_written(void **state)
{
    (void)state;
    char config[256], out_dir[256], name[] = "train", validate[] = "validate";
    char *argv[] = {name, in_folder("pairs.yaml", config)};
    char *validating[] = {validate, config};
    axl_str out = {0};

    put_pairs();
    assert_int_equal(run(axl_cmd_validate, 2, validating, &out), 0);
    assert_non_null(strstr(out.data, "training by it is not there yet"));
    assert_non_null(strstr(out.data, "but it cannot be run yet"));
    assert_int_equal(run(axl_cmd_train, 2, argv, &out), 2);
    assert_false(axl_path_exists(in_folder("out", out_dir)));
    axl_str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preprocess_writes_a_line_a_sample),
        cmocka_unit_test(preprocess_prints_one_object),
        cmocka_unit_test(bad_records_stop_or_are_counted),
        cmocka_unit_test(explain_shows_one_sample),
        cmocka_unit_test(mistakes_have_exit_code_2),
        cmocka_unit_test(explain_shows_both_documents_of_a_pair),
        cmocka_unit_test(a_method_that_is_not_there_is_refused_before_anything_is_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
