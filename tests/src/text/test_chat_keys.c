// RUN: np=1
// Each key of a data set entry of type chat_template: what the template sees, and what is trained.
#include "src/base/log.h"
#include "src/io/file.h"
#include "src/text/chat.h"
#include "tests/check.h"

static axl_tokenizer *tokenizer;
static axl_chat_scratch *scratch;

static int load(void **state)
{
    (void)state;
    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/chat/smollm2", &tokenizer));
    CHECK_OK(axl_chat_scratch_create(&scratch));
    return 0;
}

static int unload(void **state)
{
    (void)state;
    axl_chat_scratch_destroy(scratch);
    axl_tokenizer_destroy(tokenizer);
    return 0;
}

// The text of the ids, and of the trained ones, with a bar where tokens between are not trained.
static void decode(const axl_chat_sample *s, axl_str *all, axl_str *trained)
{
    CHECK_OK(axl_tokenizer_decode(tokenizer, s->ids, s->n, false, all));
    CHECK_OK(axl_str_puts(trained, ""));
    for (size_t i = 0, end; i < s->n; i = end + 1) {
        end = i;
        while (end < s->n && s->labels[end] != AXL_CHAT_IGNORE)
            end++;
        if (end == i)
            continue;
        if (trained->len > 0)
            CHECK_OK(axl_str_puts(trained, "|"));
        CHECK_OK(axl_tokenizer_decode(tokenizer, s->ids + i, end - i, false, trained));
    }
}

static axl_status encode(const axl_chat_options *o, const char *row_text, axl_chat_sample *out)
{
    axl_status status = AXL_OK;
    axl_chat_encoder *c = NULL;
    axl_json *row = NULL;

    AXL_TRY(axl_json_parse(row_text, strlen(row_text), "row", &row));
    AXL_TRY(axl_chat_encoder_create(o, tokenizer, &c));
    AXL_TRY(axl_chat_encode(c, scratch, row, out));
out:
    axl_json_free(row);
    axl_chat_encoder_destroy(c);
    return status;
}

static void check(const axl_chat_options *o, const char *row, const char *all, const char *trained)
{
    axl_chat_sample s;
    axl_str got = {0}, got_trained = {0};

    CHECK_OK(encode(o, row, &s));
    decode(&s, &got, &got_trained);
    if (all != NULL)
        assert_string_equal(got.data, all);
    if (trained != NULL)
        assert_string_equal(got_trained.data != NULL ? got_trained.data : "", trained);
    axl_str_fini(&got);
    axl_str_fini(&got_trained);
}

static void refused(const axl_chat_options *o, const char *row, axl_status code, const char *words)
{
    axl_chat_sample s;

    CHECK_FAILS(encode(o, row, &s), code, words);
}

// Shows the role, the reasoning, the content of every turn.
static const char shows_all[] =
    "{% for m in messages %}{{ m.role }}/{{ m.reasoning_content }}/{{ m.content }};{% endfor %}";

#define ROW(turns)       "{\"messages\": [" turns "]}"
#define TURN(role, text) "{\"role\": \"" role "\", \"content\": \"" text "\"}"
#define U                TURN("user", "u")
#define A                TURN("assistant", "a")
#define CHATML_U         "<|im_start|>user\nu<|im_end|>\n"
#define CHATML_A         "<|im_start|>assistant\na<|im_end|>\n"

static void split_thinking_moves_thoughts_to_their_key(void **state)
{
    static const char *const cases[][2] = {
        {"<think>\\n a \\n</think>\\n\\n b ", "assistant/a/b ;"},
        {"<reasoning>a</reasoning> b", "assistant/a/b;"},
        {"<|begin_of_thought|> a <|end_of_thought|> <|begin_of_solution|> b <|end_of_solution|>",
         "assistant/a/b;"},
        {"</think> a <think>", "assistant//</think> a <think>;"},
        {"plain", "assistant//plain;"},
    };
    axl_chat_options o = {.chat_template_jinja = shows_all, .split_thinking = true};
    char row[300];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(row, sizeof row, ROW(TURN("assistant", "%s")), cases[i][0]);
        check(&o, row, cases[i][1], NULL);
    }
    check(&o, ROW(TURN("user", "<think>a</think>b")), "user//<think>a</think>b;", NULL);
}

static void thoughts_are_read_and_written_under_the_keys_named(void **state)
{
    axl_chat_options o = {.chat_template_jinja = "{% for m in messages %}{{ m.why }}/{{ m.content "
                                                 "}}{% endfor %}",
                          .field_thinking = "thoughts",
                          .template_thinking_key = "why"};

    (void)state;
    check(&o, ROW("{\"role\": \"assistant\", \"content\": \"a\", \"thoughts\": \"t\"}"), "t/a",
          "t/a");
}

static void tools_come_as_a_list_or_as_its_text(void **state)
{
    static const char text[] = "{{ tools | map(attribute='function') | map(attribute='parameters') "
                               "| list | tojson }}{{ messages[0].content }}";
    axl_chat_options o = {.chat_template_jinja = text};

    (void)state;
    check(&o, "{\"messages\": [" U "], \"tools\": [{\"function\": {\"parameters\": {\"x\": 1}}}]}",
          "[{\"x\": 1}]u", "");
    check(&o,
          "{\"messages\": [" U "], \"tools\": \"[{\\\"function\\\": {\\\"parameters\\\": "
          "\\\"{\\\\\\\"x\\\\\\\": 1}\\\"}}]\"}",
          "[{\"x\": 1}]u", "");
    refused(&o, "{\"messages\": [" U "], \"tools\": \"{}\"}", AXL_E_INPUT, "tools must be a list");
    o.field_tools = "functions";
    check(&o, "{\"messages\": [" U "], \"functions\": [{\"function\": {\"parameters\": 2}}]}",
          "[2]u", "");
}

static void arguments_of_calls_are_parsed_from_text(void **state)
{
    axl_chat_options o = {.chat_template_jinja =
                              "<|im_start|>{% for m in messages if m.tool_calls %}"
                              "{{ m.tool_calls[0].function.arguments.x }}{% endfor %}<|im_end|>"};

    (void)state;
    check(&o,
          ROW("{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": "
              "{\"arguments\": \"{\\\"x\\\": 7}\"}}]}"),
          "<|im_start|>7<|im_end|>", "7<|im_end|>");
    refused(&o,
            ROW("{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": "
                "{\"arguments\": \"{x\"}}]}"),
            AXL_E_INPUT, "messages[0]: arguments of a tool call");
}

static void a_system_column_opens_the_conversation(void **state)
{
    static const char with_column[] = "{\"system\": \"S\", \"messages\": [" U "]}";
    static const char with_both[] =
        "{\"system\": \"S\", \"messages\": [" TURN("system", "T") ", " U "]}";
    axl_chat_options o = {.chat_template = "chatml"};

    (void)state;
    check(&o, with_column, "<|im_start|>system\nS<|im_end|>\n" CHATML_U, "");
    check(&o, with_both, "<|im_start|>system\nT<|im_end|>\n" CHATML_U, "");
    o.drop_system_message = true;
    check(&o, with_column, CHATML_U, "");
    check(&o, with_both, CHATML_U, "");
}

static void default_system_message_stands_where_there_is_none(void **state)
{
    axl_chat_options o = {
        .chat_template = "chatml", .default_system_message = "D", .train_on_inputs = true};

    (void)state;
    check(&o, ROW(U), "<|im_start|>system\nD<|im_end|>\n" CHATML_U, "u<|im_end|>");
    check(&o, ROW(TURN("system", "T") ", " U), "<|im_start|>system\nT<|im_end|>\n" CHATML_U,
          "T<|im_end|>|u<|im_end|>");
}

static void roles_are_mapped_and_chosen(void **state)
{
    static const axl_chat_pair roles[] = {{"bot", "assistant"}, {"me", "user"}};
    static const axl_chat_pair mappings[] = {{"role", "from"}, {"content", "value"}};
    static const char *const train[] = {"bot", "judge"};
    static const char row[] = ROW("{\"from\": \"me\", \"value\": \"x\"}, {\"from\": \"bot\", "
                                  "\"value\": \"y\"}, {\"from\": \"judge\", \"value\": \"z\"}");
    axl_chat_options o = {.chat_template = "chatml",
                          .roles = roles,
                          .n_roles = 2,
                          .mappings = mappings,
                          .n_mappings = 2,
                          .roles_to_train = train,
                          .n_roles_to_train = 2};

    (void)state;
    check(&o, row,
          "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\ny<|im_end|>\n"
          "<|im_start|>judge\nz<|im_end|>\n",
          "y<|im_end|>|z<|im_end|>");
    o.n_roles_to_train = 0;
    check(&o, row, NULL, "");
}

static void terminators_are_trained_as_their_keys_say(void **state)
{
    static const struct {
        axl_chat_train eos;
        const char *trained;
    } cases[] = {{AXL_CHAT_TRAIN_TURN, "a<|im_end|>|a<|im_end|>"},
                 {AXL_CHAT_TRAIN_ALL, "<|im_end|>|a<|im_end|>|<|im_end|>|a<|im_end|>|<|im_end|>"},
                 {AXL_CHAT_TRAIN_LAST, "a|a<|im_end|>"}, // of the turns that are trained
                 {AXL_CHAT_TRAIN_NONE, "a|a"}};
    axl_chat_options o = {.chat_template = "chatml"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.train_on_eos = cases[i].eos;
        check(&o, ROW(U ", " A ", " U ", " A ", " U), NULL, cases[i].trained);
    }
}

static void terminators_are_checked_at_the_start(void **state)
{
    static const char *const two[] = {"<|im_end|>", "<|endoftext|>"};
    static const char *const many[] = {"such words"};
    static const char with_both[] =
        "{% for m in messages %}<|im_start|>{{ m.content }}<|endoftext|><|im_end|>{% endfor %}";
    axl_chat_options o = {.chat_template_jinja = with_both, .eot_tokens = two, .n_eot_tokens = 2};

    (void)state;
    check(&o, ROW(A), NULL, "a<|endoftext|><|im_end|>");
    o.train_on_eos = AXL_CHAT_TRAIN_TURN;
    o.train_on_eot = AXL_CHAT_TRAIN_NONE;
    refused(&o, ROW(A), AXL_E_CONFIG, "train_on_eos and train_on_eot differ");
    o = (axl_chat_options){.chat_template_jinja = "such words{{ messages[0].content }}",
                           .eot_tokens = many,
                           .n_eot_tokens = 1};
    refused(&o, ROW(A), AXL_E_CONFIG, "make it one under tokens:");
    o.chat_template_jinja = "{{ messages[0].content }}"; // it does not occur: left out
    check(&o, ROW(A), NULL, "a");
}

static void a_mistral_tokenizer_never_trains_the_system_turn(void **state)
{
    axl_chat_options o = {.chat_template = "chatml", .train_on_inputs = true};

    (void)state;
    check(&o, ROW(TURN("system", "s") ", " U), NULL, "s<|im_end|>|u<|im_end|>");
    o.tokenizer_name = "models/Mistral-7B";
    check(&o, ROW(TURN("system", "s") ", " U), NULL, "u<|im_end|>");
}

static void parts_are_trained_by_their_flags(void **state)
{
    static const char parts[] =
        ROW("{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": "
            "\"one.%s\", \"weight\": 0}, {\"type\": \"text\", \"text\": \"%stwo\"}]%s}");
    axl_chat_options o = {.chat_template = "chatml", .field_training = "learn"};
    axl_chat_sample s;
    char row[300];

    (void)state;
    (void)snprintf(row, sizeof row, parts, "", " ", "");
    check(&o, row, "<|im_start|>assistant\none. two<|im_end|>\n", " two<|im_end|>");
    CHECK_OK(encode(&o, row, &s));
    assert_false(s.blank_edge);
    (void)snprintf(row, sizeof row, parts, " ", "", "");
    CHECK_OK(encode(&o, row, &s));
    assert_true(s.blank_edge);
    (void)snprintf(row, sizeof row, parts, "", " ", ", \"learn\": false");
    check(&o, row, NULL, "");
    (void)snprintf(row, sizeof row, parts, "", " ", ", \"learn\": \"False\"");
    check(&o, row, NULL, "");
    (void)snprintf(row, sizeof row, parts, "", " ", ", \"learn\": \"no\"");
    refused(&o, row, AXL_E_INPUT, "learn must be true or false, not another text");
}

// A turn that later turns need is found among the turns up to it, rendered as if it were not the last.
static void real_last_index_is_the_last_turn_of_the_whole(void **state)
{
    static const char text[] =
        "{% for m in messages %}"
        "{% if m.role == 'tool' and not messages[loop.index0 - 1].tool_calls %}"
        "{{ raise_exception('no call') }}{% endif %}<|im_start|>"
        "{{ 'last:' if loop.index0 == (real_last_index | default(messages | length - 1)) }}"
        "{{ m.content }}<|im_end|>{% endfor %}";
    static const char row[] = ROW("{\"role\": \"assistant\", \"content\": \"a\", \"tool_calls\": "
                                  "[1]}, " TURN("tool", "t"));
    axl_chat_options o = {.chat_template_jinja = text};

    (void)state;
    check(&o, row, "<|im_start|>a<|im_end|><|im_start|>last:t<|im_end|>", "a<|im_end|>");
}

static void kwargs_are_variables(void **state)
{
    axl_chat_options o = {.chat_template_jinja = "{{ style }}{{ messages[0].content }}"};
    axl_json *kwargs = NULL;

    (void)state;
    CHECK_OK(axl_json_parse("{\"style\": \"x\"}", 14, "kwargs", &kwargs));
    o.template_kwargs = kwargs;
    check(&o, ROW(A), "xa", "a");
    axl_json_free(kwargs);
}

static void a_template_file_that_is_missing_is_named(void **state)
{
    axl_chat_options o = {.chat_template_jinja = "no/such/file.jinja"};

    (void)state;
    refused(&o, ROW(A), AXL_E_CONFIG, "there is no file no/such/file.jinja");
    o = (axl_chat_options){.chat_template = "jinja"};
    refused(&o, ROW(A), AXL_E_CONFIG, "needs the template in chat_template_jinja");
}

static void the_tokenizer_s_template_is_taken_or_replaced(void **state)
{
    axl_chat_options o = {.chat_template = "tokenizer_default_fallback_chatml"};
    axl_tokenizer *own = tokenizer, *none = NULL;
    axl_str text = {0};

    (void)state;
    check(&o, ROW(TURN("system", "s") ", " A), "<|im_start|>system\ns<|im_end|>\n" CHATML_A,
          "a<|im_end|>");
    CHECK_OK(axl_file_read(AXL_TEST_DATA "/chat/smollm2/tokenizer.json", &text));
    CHECK_OK(axl_tokenizer_parse(text.data, text.len, &none)); // it has none of its own
    tokenizer = none;
    check(&o, ROW(A), CHATML_A, "a");
    o.chat_template = "tokenizer_default";
    refused(&o, ROW(A), AXL_E_CONFIG, "the tokenizer has no chat template");
    tokenizer = own;
    axl_tokenizer_destroy(none);
    axl_str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_thinking_moves_thoughts_to_their_key),
        cmocka_unit_test(thoughts_are_read_and_written_under_the_keys_named),
        cmocka_unit_test(tools_come_as_a_list_or_as_its_text),
        cmocka_unit_test(arguments_of_calls_are_parsed_from_text),
        cmocka_unit_test(a_system_column_opens_the_conversation),
        cmocka_unit_test(default_system_message_stands_where_there_is_none),
        cmocka_unit_test(roles_are_mapped_and_chosen),
        cmocka_unit_test(terminators_are_trained_as_their_keys_say),
        cmocka_unit_test(terminators_are_checked_at_the_start),
        cmocka_unit_test(a_mistral_tokenizer_never_trains_the_system_turn),
        cmocka_unit_test(parts_are_trained_by_their_flags),
        cmocka_unit_test(real_last_index_is_the_last_turn_of_the_whole),
        cmocka_unit_test(kwargs_are_variables),
        cmocka_unit_test(a_template_file_that_is_missing_is_named),
        cmocka_unit_test(the_tokenizer_s_template_is_taken_or_replaced),
    };

    axl_log_set_terminal_level(AXL_LOG_ERROR); // many encoders are made: their warnings are long
    return cmocka_run_group_tests(tests, load, unload);
}
