// RUN: np=1,2,3
// From a YAML to loaders: every rank has the same data, whoever prepared them.
#include "src/io/file.h"
#include "src/io/json.h"
#include "src/train/data_setup.h"
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

static axl_comm *world;
static char folder[256];

static void write_text(const char *name, const char *text)
{
    char path[512];

    if (axl_comm_rank(world) == 0) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        CHECK_OK(axl_file_write(path, text, strlen(text)));
    }
}

// A model directory with the tiny tokenizer, and 40 rows of text.
static int make_folder(void **state)
{
    (void)state;
    axl_str text = {0};
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json"};
    char path[512];

    (void)snprintf(folder, sizeof folder, "/tmp/axl_setup_XXXXXX");
    if (axl_comm_rank(world) == 0 && mkdtemp(folder) == NULL)
        return -1;
    CHECK_OK(axl_comm_bcast_bytes(world, folder, sizeof folder, 0));
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/data/tokenizer/%s", AXL_TEST_DATA, files[i]);
        CHECK_OK(axl_file_read(path, &text));
        write_text(files[i], text.data);
        axl_str_clear(&text);
    }
    write_text("config.json", "{\"vocab_size\": 700}");
    for (int i = 0; i < 40; i++)
        CHECK_OK(axl_str_printf(&text, "{\"instruction\": \"Say %d.\", \"output\": \"%d %d\"}\n", i,
                                i, i));
    write_text("rows.jsonl", text.data);
    write_text("test.jsonl", "{\"instruction\": \"Test.\", \"output\": \"Done.\"}\n");
    axl_str_fini(&text);
    CHECK_OK(axl_comm_barrier(world));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    CHECK_OK(axl_comm_barrier(world));
    return axl_comm_rank(world) == 0 && axl_path_remove(folder) != AXL_OK ? -1 : 0;
}

static axl_config *parse_entry(const char *entry, const char *more)
{
    axl_diagnostics findings = {0};
    axl_config_options o = {.has_bf16 = true};
    axl_config *c = NULL;
    axl_str text = {0};

    CHECK_OK(axl_str_printf(&text,
                            "base_model: %s\ndatasets:\n  - path: %s/%s\n"
                            "dataset_prepared_path: %s/prepared\noutput_dir: %s/out\n"
                            "learning_rate: 1e-4\nmicro_batch_size: 1\n"
                            "gradient_accumulation_steps: 2\nsequence_len: 256\n%s",
                            folder, folder, entry, folder, folder, more));
    CHECK_OK(axl_config_parse(text.data, text.len, "run.yaml", &o, &findings, &c));
    axl_diagnostics_fini(&findings);
    axl_str_fini(&text);
    return c;
}

static axl_config *parse(const char *more)
{
    return parse_entry("rows.jsonl\n    type: alpaca", more);
}

static void all_ranks_share_the_prepared_data(void **state)
{
    (void)state;
    axl_config *c = parse("sample_packing: true\nval_set_size: 0.1\nnum_epochs: 1\n");
    axl_data_setup d = {0};
    axl_loader *train = NULL, *eval = NULL;
    axl_step_info info;
    const axl_batch *b = NULL;
    int64_t sums[3] = {0}; // tokens by the batches, by the steps, samples
    axl_mesh mesh;

    CHECK_OK(axl_data_setup_make(c, world, &d));
    assert_int_equal(d.set->n, 40);
    assert_int_equal(d.train.n, 36);
    assert_int_equal(d.eval.n, 4);
    axl_mesh_imagine((const int[AXL_N_AXES]){1, axl_comm_size(world), 1, 1, 1},
                     axl_comm_rank(world), &mesh);
    CHECK_OK(axl_data_setup_loader(&d, c, &mesh, &train));
    CHECK_OK(axl_data_setup_eval_loader(&d, c, &mesh, &eval));
    for (int64_t n = axl_loader_steps_left(train); n > 0; n--) {
        CHECK_OK(axl_loader_begin_step(train, &info));
        for (int64_t m = 0; m < info.n_micro; m++) {
            CHECK_OK(axl_loader_next(train, &b));
            sums[0] += b->n_tokens;
            sums[2] += b->n_seqs;
        }
        sums[1] += axl_comm_rank(world) == 0 ? info.n_tokens : 0;
    }
    CHECK_OK(axl_comm_all_reduce_i64(world, sums, 3, AXL_REDUCE_SUM));
    assert_int_equal(sums[0], sums[1]);
    assert_int_equal(sums[2], 36);
    assert_true(axl_loader_steps_left(eval) >= 1);
    axl_loader_destroy(train);
    axl_loader_destroy(eval);
    axl_data_setup_fini(&d);
    axl_config_destroy(c);
}

static void test_datasets_replace_the_validation_part(void **state)
{
    (void)state;
    char more[1024];
    axl_data_setup d = {0};

    (void)snprintf(more, sizeof more,
                   "test_datasets:\n  - path: %s/test.jsonl\n    type: alpaca\n"
                   "special_tokens:\n  pad_token: <s>\n",
                   folder);
    axl_config *c = parse(more);
    CHECK_OK(axl_data_setup_make(c, world, &d));
    assert_int_equal(d.train.n, 40);
    assert_int_equal(d.eval.n, 1);
    assert_ptr_equal(d.eval.set, d.test_set);
    assert_string_equal(axl_tokenizer_special(d.tokenizer, "pad_token"), "<s>");
    axl_data_setup_fini(&d);
    axl_config_destroy(c);
}

static uint64_t key_of(axl_config *c)
{
    axl_data_setup d = {0};

    CHECK_OK(axl_data_setup_make(c, world, &d));
    uint64_t key = d.set->key;
    axl_data_setup_fini(&d);
    axl_config_destroy(c);
    return key;
}

static uint64_t chat_key(const char *entry)
{
    return key_of(parse_entry(entry, ""));
}

static void conversations_are_masked_by_their_template(void **state)
{
    (void)state;
    axl_data_setup d = {0};
    axl_str text = {0};

    write_text("chat.jsonl", "{\"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}, "
                             "{\"from\": \"gpt\", \"value\": \"Hello there\"}]}\n");
    CHECK_OK(axl_comm_barrier(world));
    axl_config *c = parse_entry("chat.jsonl\n    type: chat_template\n    chat_template: chatml\n"
                                "    field_messages: conversations\n"
                                "    message_property_mappings: {role: from, content: value}",
                                "");
    CHECK_OK(axl_data_setup_make(c, world, &d));
    assert_int_equal(d.set->n, 1);
    CHECK_OK(axl_tokenizer_decode(d.tokenizer, d.set->ids, (size_t)d.set->n_tokens, false, &text));
    assert_string_equal(text.data, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
                                   "Hello there<|im_end|>\n");
    axl_str_clear(&text);
    for (int64_t t = 0; t < d.set->n_tokens; t++) {
        if (d.set->labels[t] != AXL_IGNORE)
            CHECK_OK(axl_tokenizer_decode(d.tokenizer, &d.set->labels[t], 1, false, &text));
    }
    assert_string_equal(text.data, "Hello there<|im_end|>");
    axl_str_fini(&text);
    axl_data_setup_fini(&d);
    axl_config_destroy(c);
}

static void an_edited_template_gives_other_data(void **state)
{
    (void)state;
    char entry[1024];
    uint64_t keys[4];

    write_text("turns.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, "
                              "{\"role\": \"assistant\", \"content\": \"Hello\"}]}\n");
    write_text("t.jinja", "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}");
    CHECK_OK(axl_comm_barrier(world));
    (void)snprintf(entry, sizeof entry,
                   "turns.jsonl\n    type: chat_template\n"
                   "    chat_template_jinja: %s/t.jinja",
                   folder);
    keys[0] = chat_key(entry);
    keys[1] = chat_key(entry);
    CHECK_OK(axl_comm_barrier(world));
    write_text("t.jinja", "{% for m in messages %}{{ m.content }}<|im_end|>\n{% endfor %}");
    CHECK_OK(axl_comm_barrier(world));
    keys[2] = chat_key(entry);
    keys[3] = chat_key("turns.jsonl\n    type: chat_template\n    chat_template: chatml\n"
                       "    train_on_eos: none");
    assert_true(keys[0] == keys[1] && keys[1] != keys[2] && keys[2] != keys[3]);
}

// Each line is added to the same configuration; none may give the set of another.
static void each_key_gives_other_data(void **state)
{
    (void)state;
    static const char *const entries[] = {
        "",
        "chat_template: llama3",
        "train_on_eos: none",
        "train_on_eos: all",
        "roles_to_train: [user]",
        "roles_to_train: [user, assistant]",
        "roles: {user: [user, human], assistant: [assistant]}",
        "drop_system_message: true",
        "split_thinking: true",
        "message_field_training: train",
        "message_field_training_detail: detail",
        "message_property_mappings: {role: role, content: text}",
        "field_tools: functions",
        "field_thinking: thoughts",
        "template_thinking_key: thoughts",
        "ds_type: json",
        "split: train[:1]",
    };
    static const char *const tops[] = {"min_sample_len: 1\n",
                                       "excess_length_strategy: truncate\n",
                                       "train_on_inputs: true\n",
                                       "sample_packing: true\n",
                                       "dataset_exact_deduplication: true\n",
                                       "eot_tokens: ['<|im_end|>', '<s>']\n",
                                       "chat_template_kwargs: {x: 1}\n",
                                       "special_tokens: {eos_token: '<s>'}\n"};
    enum {
        N_ENTRIES = sizeof entries / sizeof *entries,
        N = N_ENTRIES + sizeof tops / sizeof *tops
    };
    uint64_t keys[N];
    char entry[512];

    write_text("turns.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\", \"text\": "
                              "\"Ho\"}, {\"role\": \"assistant\", \"content\": \"Hello\", "
                              "\"text\": \"Oh\"}]}\n");
    CHECK_OK(axl_comm_barrier(world));
    for (int i = 0; i < N; i++) {
        bool own = i < N_ENTRIES && strstr(entries[i], "chat_template:") != NULL;
        (void)snprintf(entry, sizeof entry, "turns.jsonl\n    type: chat_template\n%s%s%s",
                       own ? "" : "    chat_template: chatml\n", i < N_ENTRIES ? "    " : "",
                       i < N_ENTRIES ? entries[i] : "");
        keys[i] = key_of(parse_entry(entry, i < N_ENTRIES ? "" : tops[i - N_ENTRIES]));
        for (int k = 0; k < i; k++) {
            if (keys[k] == keys[i])
                fail_msg("%s gives the same set as %s",
                         i < N_ENTRIES ? entries[i] : tops[i - N_ENTRIES],
                         k < N_ENTRIES ? entries[k] : tops[k - N_ENTRIES]);
        }
    }
    // threads and memory do not
    (void)snprintf(entry, sizeof entry,
                   "turns.jsonl\n    type: chat_template\n    chat_template: chatml\n");
    assert_true(key_of(parse_entry(entry, "dataset_num_proc: 3\ndataset_memory_limit: 64\n")) ==
                keys[0]);
}

static void an_edited_tokenizer_gives_other_data(void **state)
{
    (void)state;
    axl_str text = {0};
    char path[512];
    uint64_t before = key_of(parse(""));

    (void)snprintf(path, sizeof path, "%s/data/tokenizer/tokenizer.json", AXL_TEST_DATA);
    CHECK_OK(axl_file_read(path, &text));
    char *at = strstr(text.data, "\"normalized\":false");
    assert_non_null(at);
    memcpy(strchr(at, ':'), ":true ", 6);
    CHECK_OK(axl_comm_barrier(world));
    write_text("tokenizer.json", text.data);
    CHECK_OK(axl_comm_barrier(world));
    assert_true(key_of(parse("")) != before);
    axl_str_fini(&text);
}

static void failures_of_rank_0_reach_all(void **state)
{
    (void)state;
    axl_data_setup d = {0};
    axl_config *c = NULL;

    write_text("rows.jsonl", "{\"instruction\": \"x\", \"output\": \"y\"}\n{}\n");
    CHECK_OK(axl_comm_barrier(world));
    c = parse("");
    CHECK_FAILS(axl_data_setup_make(c, world, &d), AXL_E_INPUT, "rows.jsonl:2");
    axl_config_destroy(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ranks_share_the_prepared_data),
        cmocka_unit_test(test_datasets_replace_the_validation_part),
        cmocka_unit_test(conversations_are_masked_by_their_template),
        cmocka_unit_test(an_edited_template_gives_other_data),
        cmocka_unit_test(each_key_gives_other_data),
        cmocka_unit_test(an_edited_tokenizer_gives_other_data),
        cmocka_unit_test(failures_of_rank_0_reach_all),
    };
    if (axl_comm_init(&argc, &argv, &world) != AXL_OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, make_folder, remove_folder);
    axl_comm_finalize(world);
    return failed;
}
