// messages: turns built from parts with weights, for chatml and llama3 (datasets.md 5.9). Each turn is tokenized
// alone; a part's tokens are those that the text gains by it.
#include "src/data/format.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    const char *first;              // before the whole conversation
    const char *open, *close, *end; // {role} stands between open and close
    const char *behind;             // never trained
    const char *tool;               // the name of that role
} layouts[] = {
    {"chatml", "", "<|im_start|>", "\n", "<|im_end|>", "\n", "tool"},
    {"llama3", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>",
     "", "ipython"},
};

static const struct {
    const char *name, *role;
    bool trained;
} roles[] = {{"system", "system", false},      {"user", "user", false},    {"human", "user", false},
             {"assistant", "assistant", true}, {"gpt", "assistant", true}, {"tool", "tool", false},
             {"ipython", "ipython", false}};

typedef struct messages_state {
    int layout;
    const char *role, *content, *weight; // keys of a message; NULL: the first of the usual ones
} messages_state;

static axl_status messages_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    messages_state *s = NULL;
    const char *name = e->spec->chat_template != NULL ? e->spec->chat_template : "chatml";

    AXL_TRY(axl_calloc(1, sizeof *s, "format", &s));
    e->state = s;
    while (s->layout < 2 &&
           strncmp(layouts[s->layout].name, name, strlen(layouts[s->layout].name)) != 0)
        s->layout++;
    AXL_REQUIRE(
        s->layout < 2, AXL_E_CONFIG,
        "it knows the layouts chatml and llama3, not chat_template %s; write type: chat_template",
        name);

out:
    return status;
}

static void messages_close(axl_encoder *e)
{
    free(e->state);
}

// The first of the keys that the conversation's first message has.
static const char *usual(const axl_json *message, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        if (axl_json_get(message, *keys) != NULL)
            return *keys;
    }
    return NULL;
}

static axl_status choose_keys(axl_encoder *e, const axl_json *first)
{
    axl_status status = AXL_OK;
    messages_state *s = e->state;
    static const char *const role[] = {"role", "from", NULL};
    static const char *const content[] = {"value", "text", "content", NULL};
    static const char *const weight[] = {"train", "weight", NULL};

    s->role = usual(first, role);
    s->content = usual(first, content);
    s->weight = e->spec->field_training != NULL ? e->spec->field_training : usual(first, weight);
    AXL_REQUIRE(s->role != NULL && s->content != NULL, AXL_E_INPUT,
                "a message must have role (or from) and content (or value, text)");

out:
    return status;
}

// Grows the turn's text by a part and labels the tokens that it gained; *done is how many have a label.
static axl_status put_part(axl_encoder *e, const char *text, size_t n, bool trained, int64_t *done,
                           axl_samples *out)
{
    axl_status status = AXL_OK;
    axl_token_buffer *b = &e->tokens;

    AXL_TRY(axl_str_append(&e->text, text, n));
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, e->text.len > 0 ? e->text.data : "", e->text.len,
                                 false, b));
    int64_t from = out->n_tokens - *done, all = (int64_t)b->n, kept = all < *done ? all : *done;
    for (int64_t t = 0; t < kept; t++) { // what stands there may have been merged anew
        if (out->labels[from + t] != AXL_IGNORE)
            out->labels[from + t] = b->ids[t];
        out->ids[from + t] = b->ids[t];
    }
    out->n_tokens = from + kept;
    AXL_TRY(axl_samples_put(out, b->ids + kept, NULL, all - kept, trained));
    *done = all;

out:
    return status;
}

// *trained is left as it is when v is missing.
static axl_status weighs(const axl_json *v, const char *key, bool *trained)
{
    axl_status status = AXL_OK;

    AXL_REQUIRE(v == NULL || axl_json_weight(v, trained), AXL_E_INPUT,
                "\"%s\" of a message must be true, false or a number", key);

out:
    return status;
}

static axl_status put_content(axl_encoder *e, const axl_json *content, bool trained, int64_t *done,
                              axl_samples *out)
{
    axl_status status = AXL_OK;

    if (axl_json_is(content, AXL_JSON_STRING)) {
        AXL_TRY(put_part(e, axl_json_string(content, ""), axl_json_string_length(content), trained,
                         done, out));
        goto out;
    }
    AXL_REQUIRE(axl_json_is(content, AXL_JSON_ARRAY), AXL_E_INPUT,
                "the content of a message must be a string or a list of parts");
    for (size_t i = 0; i < axl_json_count(content); i++) {
        const axl_json *part = axl_json_at(content, i), *text = axl_json_get(part, "value");
        bool weight = true;
        AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING) &&
                        strcmp(axl_json_string(axl_json_get(part, "type"), "text"), "text") == 0,
                    AXL_E_INPUT,
                    "part %zu of a message must be {\"type\": \"text\", \"value\": string}", i);
        AXL_TRY(weighs(axl_json_get(part, "weight"), "weight", &weight));
        AXL_TRY(put_part(e, axl_json_string(text, ""), axl_json_string_length(text),
                         trained && weight, done, out));
    }

out:
    return status;
}

static axl_status put_message(axl_encoder *e, const axl_json *message, bool first, axl_samples *out)
{
    axl_status status = AXL_OK;
    const messages_state *s = e->state;
    const char *name = axl_json_string(axl_json_get(message, s->role), "");
    size_t r = 0;
    int64_t done = 0;

    while (r < sizeof roles / sizeof *roles && strcmp(roles[r].name, name) != 0)
        r++;
    AXL_REQUIRE(r < sizeof roles / sizeof *roles, AXL_E_INPUT,
                "the role \"%s\" is not known; it is system, user, assistant, tool or ipython",
                name);
    bool trained = s->weight == NULL && roles[r].trained;
    if (s->weight != NULL)
        AXL_TRY(weighs(axl_json_get(message, s->weight), s->weight, &trained));
    trained = trained || e->options->train_on_inputs;
    const char *role = strcmp(roles[r].role, "tool") == 0 ? layouts[s->layout].tool : roles[r].role;
    axl_str_clear(&e->text2);
    AXL_TRY(axl_str_printf(&e->text2, "%s%s%s%s", first ? layouts[s->layout].first : "",
                           layouts[s->layout].open, role, layouts[s->layout].close));
    axl_str_clear(&e->text);
    AXL_TRY(put_part(e, e->text2.data, e->text2.len, false, &done, out));
    AXL_TRY(put_content(e, axl_json_get(message, s->content), trained, &done, out));
    AXL_TRY(
        put_part(e, layouts[s->layout].end, strlen(layouts[s->layout].end), trained, &done, out));
    AXL_TRY(put_part(e, layouts[s->layout].behind, strlen(layouts[s->layout].behind), false, &done,
                     out));

out:
    return status;
}

static axl_status messages_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const char *column = e->spec->field_messages != NULL ? e->spec->field_messages : "messages";
    const axl_json *list = axl_json_get(row, column);

    AXL_REQUIRE(axl_json_is(list, AXL_JSON_ARRAY) && axl_json_count(list) > 0, AXL_E_INPUT,
                "the column \"%s\" must be a list of messages; field_messages names it", column);
    AXL_TRY(choose_keys(e, axl_json_at(list, 0)));
    for (size_t i = 0; i < axl_json_count(list); i++)
        AXL_TRY(put_message(e, axl_json_at(list, i), i == 0, out));
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static const char *const type_names[] = {"messages", NULL};

const axl_format axl_format_messages = {.name = "messages",
                                        .types = type_names,
                                        .needs_tokenizer = true,
                                        .open = messages_open,
                                        .encode = messages_encode,
                                        .close = messages_close};
