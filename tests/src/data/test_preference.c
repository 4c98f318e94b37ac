// RUN: np=1
// Pairs, kto completions, ranked pairs and steps: the tokens and labels of a row, the length rules, what the loader
// makes of them, and what is said about a bad row.
#include "src/data/dump.h"
#include "src/data/format.h"
#include "src/data/loader.h"
#include "tests/src/data/data_check.h"

// What one row of a type gives.
typedef struct trial {
    axl_tokenizer *t;
    axl_encoder *e;
    axl_samples samples;
    axl_status status;
} trial;

static void trial_run(trial *x, const axl_dataset_spec *spec, const axl_data_options *options,
                      const char *row)
{
    axl_json *json = NULL;

    *x = (trial){0};
    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/data/tokenizer", &x->t));
    CHECK_OK(axl_json_parse(row, strlen(row), "row", &json));
    x->status = axl_encoder_open(spec, options, x->t, &x->e);
    if (x->status == AXL_OK)
        x->status = axl_encoder_row(x->e, json, 0, 1, "data.jsonl:12", &x->samples);
    axl_json_free(json);
}

static void trial_end(trial *x)
{
    axl_encoder_close(x->e);
    axl_samples_fini(&x->samples);
    axl_tokenizer_destroy(x->t);
}

static axl_dataset_spec spec_of(const char *rl, const char *type)
{
    return (axl_dataset_spec){.path = "data.jsonl", .rl = rl, .type = type, .place = "test.yaml:7"};
}

static const axl_data_options wide = {.sequence_len = 512};

// The first n labels are masked, the others are the ids themselves.
static void check_labels(const axl_samples *s, int64_t from, int64_t prompt, int64_t to)
{
    for (int64_t t = from; t < to; t++)
        assert_int_equal(s->labels[t], t < from + prompt ? AXL_IGNORE : s->ids[t]);
}

static int64_t prompt_tokens(const trial *x, const char *prompt)
{
    axl_token_buffer b = {0};

    CHECK_OK(axl_tokenizer_encode(x->t, prompt, strlen(prompt), true, &b));
    int64_t n = (int64_t)b.n;
    axl_token_buffer_fini(&b);
    return n;
}

static void a_pair_is_the_chosen_document_then_the_rejected_one(void **state)
{
    (void)state;
    static const char *const methods[] = {"dpo", "ipo", "orpo", "simpo"};
    trial x;

    for (int m = 0; m < 4; m++) {
        const axl_dataset_spec spec = spec_of(methods[m], NULL);
        trial_run(
            &x, &spec, &wide,
            "{\"prompt\": \"Say one.\\n\", \"chosen\": \"One.\", \"rejected\": \"Two or more.\"}");
        CHECK_OK(x.status);
        assert_int_equal(x.samples.n, 1);
        const axl_sample_info *info = &x.samples.info[0];
        assert_int_equal(info->role, AXL_SAMPLE_PAIR);
        int64_t prompt = prompt_tokens(&x, "Say one.\n");
        assert_true(info->second > prompt && info->end > info->second + prompt);
        check_labels(&x.samples, 0, prompt, info->second);
        check_labels(&x.samples, info->second, prompt, info->end);
        assert_memory_equal(x.samples.ids, x.samples.ids + info->second,
                            (size_t)prompt * sizeof *x.samples.ids);
        assert_int_equal(x.samples.ids[info->second - 1], x.e->eos);
        assert_int_equal(x.samples.ids[info->end - 1], x.e->eos);
        assert_int_equal(info->trained, info->end - 2 * prompt);
        trial_end(&x);
    }
}

static void a_completion_that_ends_with_eos_gets_no_other(void **state)
{
    (void)state;
    const axl_dataset_spec spec = spec_of("kto", NULL);
    trial x, y;
    axl_str row = {0};

    trial_run(&x, &spec, &wide, "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": false}");
    CHECK_OK(x.status);
    assert_int_equal(x.samples.info[0].role, AXL_SAMPLE_UNDESIRABLE);
    assert_int_equal(x.samples.info[0].second, 0);
    CHECK_OK(axl_str_printf(&row, "{\"prompt\": \"a\", \"completion\": \"b%s\", \"label\": 1}",
                            axl_tokenizer_special(x.t, "eos_token")));
    trial_run(&y, &spec, &wide, row.data);
    CHECK_OK(y.status);
    assert_int_equal(y.samples.info[0].role, AXL_SAMPLE_DESIRABLE);
    assert_int_equal(x.samples.n_tokens, y.samples.n_tokens);
    assert_memory_equal(x.samples.ids, y.samples.ids, (size_t)x.samples.n_tokens * sizeof(int32_t));
    axl_str_fini(&row);
    trial_end(&x);
    trial_end(&y);
}

static void verdicts_may_be_text_as_csv_has_them(void **state)
{
    (void)state;
    static const char *const verdicts[] = {"\"True\"", "\"true\"", "\"1\"", "1.0"};
    static const char *const against[] = {"\"False\"", "\"false\"", "\"0\"", "0.0"};
    const axl_dataset_spec spec = spec_of("kto", NULL);
    const axl_dataset_spec steps = spec_of(NULL, "stepwise_supervised");
    char row[200];
    trial x;

    for (int i = 0; i < 8; i++) {
        const char *verdict = i < 4 ? verdicts[i] : against[i - 4];
        (void)snprintf(row, sizeof row, "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": %s}",
                       verdict);
        trial_run(&x, &spec, &wide, row);
        CHECK_OK(x.status);
        assert_int_equal(x.samples.info[0].role,
                         i < 4 ? AXL_SAMPLE_DESIRABLE : AXL_SAMPLE_UNDESIRABLE);
        trial_end(&x);
        (void)snprintf(row, sizeof row,
                       "{\"prompt\": \"a\", \"completions\": [\"b\"], \"labels\": [%s]}", verdict);
        trial_run(&x, &steps, &wide, row);
        CHECK_OK(x.status);
        assert_int_equal(x.samples.labels[x.samples.n_tokens - 1], i < 4);
        trial_end(&x);
    }
}

// Tokens of a text alone.
static int64_t tokens_of(const char *text)
{
    const axl_dataset_spec spec = spec_of(NULL, "completion");
    trial x;

    trial_run(&x, &spec, &wide, "{\"text\": \"x\"}");
    axl_token_buffer b = {0};
    CHECK_OK(axl_tokenizer_encode(x.t, text, strlen(text), false, &b));
    int64_t n = (int64_t)b.n;
    axl_token_buffer_fini(&b);
    trial_end(&x);
    return n;
}

static void the_length_rules_count_each_text_alone(void **state)
{
    (void)state;
    static const char row[] =
        "{\"prompt\": \"How many are there?\", \"chosen\": \"There are many of "
        "them, as far as I can see.\", \"rejected\": \"Two.\"}";
    const axl_dataset_spec spec = spec_of("dpo", NULL);
    int64_t prompt = tokens_of("How many are there?");
    int64_t chosen = tokens_of("There are many of them, as far as I can see.");
    axl_data_options o = {.sequence_len = prompt + chosen, .excess = AXL_EXCESS_RAISE};
    trial x;

    trial_run(&x, &spec, &o, row); // fits to the token; EOS is cut off again
    CHECK_OK(x.status);
    assert_true(x.samples.info[0].second <= o.sequence_len);
    trial_end(&x);

    o.sequence_len--;
    trial_run(&x, &spec, &o, row);
    CHECK_FAILS(x.status, AXL_E_INPUT, "data.jsonl:12: the prompt has");
    trial_end(&x);

    o.excess = AXL_EXCESS_DROP;
    trial_run(&x, &spec, &o, row);
    CHECK_OK(x.status);
    assert_int_equal(x.samples.n, 0);
    assert_int_equal(x.e->n_too_long, 1);
    trial_end(&x);

    o.excess = AXL_EXCESS_TRUNCATE;
    trial_run(&x, &spec, &o, row);
    CHECK_OK(x.status);
    assert_int_equal(x.samples.n, 1);
    assert_int_equal(x.e->n_truncated, 1);
    assert_true(x.e->texts[1].len < strlen("There are many of them, as far as I can see."));
    trial_end(&x);

    o.sequence_len = prompt; // nothing of a completion fits
    trial_run(&x, &spec, &o, row);
    CHECK_OK(x.status);
    assert_int_equal(x.samples.n, 0);
    assert_int_equal(x.e->n_too_long, 1);
    trial_end(&x);
}

static void a_step_is_labelled_where_it_ends_and_never_shifted(void **state)
{
    (void)state;
    axl_dataset_spec spec = spec_of(NULL, "stepwise_supervised");
    static const char row[] =
        "{\"prompt\": \"p\", \"completions\": [\"a b\", \"c\"], \"labels\": [true, 0]}";
    trial x;

    trial_run(&x, &spec, &wide, row);
    CHECK_OK(x.status);
    const axl_samples *s = &x.samples;
    assert_int_equal(s->info[0].role, AXL_SAMPLE_STEPS);
    assert_int_equal(s->info[0].trained, 2);
    assert_int_equal(s->labels[s->n_tokens - 1], 0);
    int ones = 0;
    for (int64_t t = 0; t + 1 < s->n_tokens; t++)
        ones += s->labels[t] == 1;
    assert_int_equal(ones, 1);
    trial_end(&x);

    spec.train_on_last_step_only = true;
    trial_run(&x, &spec, &wide, row);
    assert_int_equal(x.samples.info[0].trained, 1);
    trial_end(&x);
}

static void fails(const char *rl, const char *type, const char *row, axl_status code,
                  const char *message)
{
    const axl_dataset_spec spec = spec_of(rl, type);
    trial x;

    trial_run(&x, &spec, &wide, row);
    CHECK_FAILS(x.status, code, message);
    assert_int_equal(x.samples.n, 0);
    trial_end(&x);
}

static void bad_rows_and_types_are_named(void **state)
{
    (void)state;
    fails("dpo", NULL, "{\"prompt\": \"p\", \"chosen\": \"c\"}", AXL_E_INPUT,
          "data.jsonl:12: the column \"rejected\" is missing");
    fails("dpo", NULL, "{\"prompt\": \"\", \"chosen\": \"c\", \"rejected\": \"r\"}", AXL_E_INPUT,
          "data.jsonl:12: the prompt is empty");
    fails("dpo", "chatml.ultra", "{\"prompt\": \"p\", \"chosen\": [{}], \"rejected\": []}",
          AXL_E_INPUT, "\"chosen\" must be a list");
    fails("dpo", "zephyr.nectar", "{\"prompt\": \"p\", \"answers\": [{\"answer\": \"a\"}]}",
          AXL_E_INPUT, "\"answers\" must be a list of two or more");
    fails("kto", NULL, "{\"prompt\": \"p\", \"completion\": \"c\", \"label\": \"yes\"}",
          AXL_E_INPUT, "\"label\" must be true or false");
    fails("kto", NULL, "{\"prompt\": \"p\", \"completion\": \"c\", \"label\": 5}", AXL_E_INPUT,
          "\"label\" must be true or false");
    fails("kto", "chatml.intel", "{\"question\": \"p\", \"completion\": \"c\"}", AXL_E_INPUT,
          "\"label\" must be");
    fails("kto", "chatml.argila", "{}", AXL_E_CONFIG, "did you mean chatml.argilla?");
    fails("kto", "chatml.icr", "{}", AXL_E_CONFIG, "it is a type of rl: dpo");
    fails("dpo", "alpaca", "{}", AXL_E_CONFIG, "it is a type of fine-tuning without rl");
    fails(NULL, "chatml.intel", "{}", AXL_E_CONFIG, "it is a type of rl: dpo");
    fails("dpo", "chat_template.argilla", "{}", AXL_E_CONFIG, "it is a type of rl: orpo");
    fails("dpo", "chatml.intle", "{}", AXL_E_CONFIG, "did you mean chatml.intel?");
    fails("grpo", NULL, "{}", AXL_E_CONFIG, "rl: grpo are not read yet");
    fails(NULL, "sharegpt", "{}", AXL_E_CONFIG, "field_messages: conversations");
    fails(NULL, "axolotl.integrations.kd.chat_template", "{}", AXL_E_CONFIG, "distillation");
    fails(NULL, "stepwise_supervised",
          "{\"prompt\": \"p\", \"completions\": [\"a\"], \"labels\": []}", AXL_E_INPUT,
          "1 completions but 0 labels");
    fails(NULL, "pygmalion", "{\"conversations\": [{\"role\": \"x\", \"value\": \"y\"}]}",
          AXL_E_INPUT, "data.jsonl:12: the column \"conversations\": turn 0");
    fails(NULL, "llama2_chat", "{\"conversations\": [{\"from\": \"human\", \"value\": \"y\"}]}",
          AXL_E_INPUT, "fewer than two turns");
    fails(NULL, "messages", "{\"messages\": [{\"role\": \"nobody\", \"content\": \"y\"}]}",
          AXL_E_INPUT, "the role \"nobody\"");
    fails(NULL, "reflection:chatml", "{}", AXL_E_CONFIG, "instruct or chat");
}

// ---- through the whole pipeline

#define PAIRS 7

static void prepare_pairs(const folder *f, axl_prepared **set, axl_tokenizer **t,
                          axl_dataset_spec *spec, axl_data_options *o, char paths[2][256])
{
    axl_str text = {0};

    for (int i = 0; i < PAIRS; i++)
        CHECK_OK(axl_str_printf(&text,
                                "{\"prompt\": \"Say %d.\", \"chosen\": \"It is %d of %d.\", "
                                "\"rejected\": \"No %d\"}\n",
                                i, i, i + 2, i));
    folder_write(f, "d.jsonl", text.data);
    axl_str_fini(&text);
    *spec = spec_of("dpo", NULL);
    spec->path = folder_file(f, "d.jsonl", paths[0]);
    *o = (axl_data_options){.sequence_len = 64,
                            .min_sample_len = 2,
                            .deduplicate = true,
                            .prepared_path = folder_file(f, "p", paths[1])};
    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/data/tokenizer", t));
    CHECK_OK(axl_prepare(spec, 1, o, *t, false, NULL, set));
    assert_int_equal((*set)->n, PAIRS);
}

static void the_loader_gives_both_documents_of_a_pair(void **state)
{
    axl_prepared *set = NULL;
    axl_tokenizer *t = NULL;
    axl_dataset_spec spec;
    axl_data_options o;
    axl_sample_list list;
    axl_loader *loader = NULL;
    axl_step_info step;
    char paths[2][256];
    int n_documents = 0;

    prepare_pairs(*state, &set, &t, &spec, &o, paths);
    list = axl_sample_list_all(set);
    const axl_loader_options lo = {.plan = {.sequence_len = 64, .micro_batch_size = 2, .seed = 1},
                                   .dp_size = 1,
                                   .gradient_accumulation_steps = 2,
                                   .num_epochs = 1};
    CHECK_OK(axl_loader_create(&list, &lo, &loader));
    assert_int_equal(axl_loader_max_seqs(loader), 4);
    while (n_documents < 2 * PAIRS) {
        CHECK_OK(axl_loader_begin_step(loader, &step));
        for (int64_t m = 0; m < step.n_micro; m++) {
            const axl_batch *b = NULL;
            CHECK_OK(axl_loader_next(loader, &b));
            assert_non_null(b->seq_role);
            for (int32_t i = 0; i < b->n_seqs; i++, n_documents++) {
                assert_int_equal(b->seq_role[i], i % 2 ? AXL_SEQ_REJECTED : AXL_SEQ_CHOSEN);
                assert_int_equal(b->seq_sample[i], n_documents / 2);
                assert_int_equal(b->position_ids[b->cu_seqlens[i]], 0);
                assert_int_equal(b->labels[b->cu_seqlens[i + 1] - 1], AXL_IGNORE);
                assert_int_equal(b->labels[b->cu_seqlens[i + 1] - 2],
                                 axl_tokenizer_special_id(t, "eos_token"));
            }
        }
    }
    assert_int_equal(n_documents, 2 * PAIRS);
    axl_loader_destroy(loader);
    axl_prepared_close(set);
    axl_tokenizer_destroy(t);
}

static void a_dump_has_the_texts_and_the_tokens_of_completions(void **state)
{
    axl_prepared *set = NULL;
    axl_tokenizer *t = NULL;
    axl_dataset_spec spec;
    axl_data_options o;
    axl_str text = {0};
    char paths[2][256], dump[256];
    int n = 0;

    prepare_pairs(*state, &set, &t, &spec, &o, paths);
    const axl_dump_source from = {&spec, 1, &o, t};
    CHECK_OK(axl_dump_all(set, &from, folder_file(*state, "dump", dump)));
    CHECK_OK(axl_file_read(dump, &text));
    for (char *line = text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, n++) {
        axl_json *v = NULL;
        char want[32];
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), "dump", &v));
        (void)snprintf(want, sizeof want, "Say %d.", n);
        assert_string_equal(axl_json_string(axl_json_get(v, "prompt"), ""), want);
        (void)snprintf(want, sizeof want, "No %d", n);
        assert_string_equal(axl_json_string(axl_json_get(v, "rejected"), ""), want);
        size_t parts = 2 * axl_json_count(axl_json_get(v, "prompt_input_ids")) +
                       axl_json_count(axl_json_get(v, "chosen_input_ids")) +
                       axl_json_count(axl_json_get(v, "rejected_input_ids"));
        assert_int_equal(parts, axl_prepared_length(set, n));
        axl_json_free(v);
    }
    assert_int_equal(n, PAIRS);

    // records that are not there any more are missed, not left out
    folder_write(*state, "d.jsonl",
                 "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
    CHECK_FAILS(axl_dump_all(set, &from, dump), AXL_E_INPUT, "changed since");
    axl_str_fini(&text);
    axl_prepared_close(set);
    axl_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_the_chosen_document_then_the_rejected_one),
        cmocka_unit_test(a_completion_that_ends_with_eos_gets_no_other),
        cmocka_unit_test(the_length_rules_count_each_text_alone),
        cmocka_unit_test(verdicts_may_be_text_as_csv_has_them),
        cmocka_unit_test(a_step_is_labelled_where_it_ends_and_never_shifted),
        cmocka_unit_test(bad_rows_and_types_are_named),
        cmocka_unit_test_setup_teardown(the_loader_gives_both_documents_of_a_pair, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(a_dump_has_the_texts_and_the_tokens_of_completions,
                                        folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
