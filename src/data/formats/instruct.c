// The alpaca family: many names for one idea, a system text, an instruction with or without input, and a
// response. All that differs stands in two tables.
//
// The patterns of a type read columns of the record: {column}; {column?} may be missing; {a|b} is the first
// that is there; a list is written as lines of - "item".
#include "src/data/formats/instruct.h"

#include "src/base/mem.h"
#include "src/data/formats/fill.h"

#include <stdlib.h>
#include <string.h>

typedef struct instruct_style {
    const char *name;
    const char *system;     // {system}
    const char *with_input; // {instruction} {input}
    const char *without;
    bool keep_empty_system; // the system part stands even when its text is empty
} instruct_style;

typedef struct instruct_type {
    const char *name;
    const char *style;  // default
    const char *system; // text when there is an input; NULL: none
    const char *system_without;
    const char *instruction, *input, *output; // column patterns; input NULL: none
    const char *system_format; // replaces the style's while no other style is asked for
    int extra_eos;
} instruct_type;

#define CHAT_INPUT   "USER: {instruction}\n{input}\nASSISTANT:"
#define CHAT_PLAIN   "USER: {instruction}\nASSISTANT:"
#define CHATML_INPUT "<|im_start|>user\n{instruction}\n{input}<|im_end|>\n<|im_start|>assistant\n"
#define CHATML_PLAIN "<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n"

static const instruct_style styles[] = {
    {.name = "instruct",
     .system = "{system}\n\n",
     .with_input = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
     .without = "### Instruction:\n{instruction}\n\n### Response:\n"},
    {.name = "chat",
     .system = "SYSTEM: {system}\n",
     .with_input = CHAT_INPUT,
     .without = CHAT_PLAIN},
    {.name = "chatml",
     .system = "<|im_start|>system\n{system}<|im_end|>\n",
     .with_input = CHATML_INPUT,
     .without = CHATML_PLAIN},
    {.name = "phi",
     .system = "<|system|>\n{system}<|end|>\n",
     .with_input = "<|user|>\n{instruction}<|end|>{input}<|assistant|>",
     .without = "<|user|>\n{instruction}<|end|>\n<|assistant|>\n"},
    {.name = "open_orca",
     .system = "### System:\n{system}\n",
     .with_input = "### Human:\n{instruction}\n### Additional Context:\n{input}\n### Assistant:\n",
     .without = "### Human:\n{instruction}\n### Assistant:\n"},
    {.name = "orcamini",
     .system = "### System:\n{system}\n\n",
     .with_input = "### User:\n{instruction}\n\n### Response:\n",
     .without = "### User:\n{instruction}\n\n### Response:\n",
     .keep_empty_system = true},
    {.name = "plain",
     .system = "{system}",
     .with_input = "{instruction}",
     .without = "{instruction}"},
};

#define N_STYLES      (sizeof styles / sizeof *styles)
#define N_USER_STYLES 4 // the first ones may be asked for by name

#define ALPACA_INPUT                                                                               \
    "Below is an instruction that describes a task, paired with an input that provides further "   \
    "context. Write a response that appropriately completes the request."
#define ALPACA_PLAIN                                                                               \
    "Below is an instruction that describes a task. Write a response that appropriately "          \
    "completes the request."
#define CONCISE_INPUT                                                                              \
    "Below is an instruction from a USER that describes a task, paired with an input that "        \
    "provides further context. The ASSISTANT writes a response that concisely and appropriately "  \
    "completes the request.\n\n"
#define CONCISE_PLAIN                                                                              \
    "Below is an instruction from a USER that describes a task. The ASSISTANT writes a response "  \
    "that appropriately and concisely completes the request.\n\n"
#define EXPLAIN "Choose the answer that best answers the question. Explain your reasoning.\n"
#define CONCISE "Choose the answer that best answers the question. Be concise in your response.\n\n"
#define CONTEXT "Use the following contextual information to concisely answer the question.\n"
#define UNKNOWN                                                                                    \
    "The context provided does not contain any information about your inquiry. Therefore, I'm "    \
    "unable to answer your question based on the given context."

#define CREATIVE                                                                                   \
    "Answer the following question in a comprehensive, in-depth, and creative way. Additionally "  \
    "your response should be relevant, accurate, and free of any ambiguity."

#define ALPACA_COLUMNS .instruction = "{instruction}", .input = "{input?}", .output = "{output}"
#define ALPACA_TEXTS   .system = ALPACA_INPUT, .system_without = ALPACA_PLAIN
#define CONCISE_TEXTS  .system = CONCISE_INPUT, .system_without = CONCISE_PLAIN
#define ROW_SYSTEM     .system = "{system?}", .system_without = "{system?}"
#define ORCA_COLUMNS                                                                               \
    .system = "{system_prompt?}", .system_without = "{system_prompt?}",                            \
    .instruction = "{question}", .output = "{response}"
#define CHOICE_COLUMNS                                                                             \
    .instruction = "{question}", .input = "{choices}", .output = "{solution|explanation}"

static const instruct_type types[] = {
    {"alpaca", "instruct", ALPACA_TEXTS, ALPACA_COLUMNS},
    {"alpaca_instruct", "instruct", ALPACA_TEXTS, ALPACA_COLUMNS},
    {"alpaca_instruct.load_no_prompt", "instruct", ALPACA_COLUMNS},
    {"alpaca_chat", "chat", ALPACA_TEXTS, ALPACA_COLUMNS},
    {"alpaca_chat.load_concise", "chat", CONCISE_TEXTS, ALPACA_COLUMNS},
    {"alpaca_chat.load_qa", "chat", CONCISE_TEXTS, .instruction = "{question}",
     .output = "{answer}"},
    {"alpaca_chat.load_camel_ai", "chat", CONCISE_TEXTS, .instruction = "{message_1}",
     .output = "{message_2}"},
    {"alpaca_chat.load_no_prompt", "chat", ALPACA_COLUMNS},
    {"alpaca_w_system", "chat", ROW_SYSTEM, ALPACA_COLUMNS},
    {"alpaca_w_system.load_chat", "chat", ROW_SYSTEM, ALPACA_COLUMNS},
    {"alpaca_w_system.load_instruct", "instruct", ROW_SYSTEM, ALPACA_COLUMNS},
    {"alpaca_w_system.load_open_orca", "open_orca", ORCA_COLUMNS},
    {"alpaca_w_system.load_open_orca_chatml", "chatml", ORCA_COLUMNS},
    {"orcamini", "orcamini", ORCA_COLUMNS},
    {"gpteacher", "instruct", ALPACA_TEXTS, .instruction = "{instruction}", .input = "{input?}",
     .output = "{response}"},
    {"oasst", "instruct", ALPACA_TEXTS, .instruction = "{INSTRUCTION}", .output = "{RESPONSE}"},
    {"jeopardy", "instruct", ALPACA_TEXTS, .instruction = "{question}", .input = "{category}",
     .output = "what is {answer}"},
    {"explainchoice", "instruct", .system = EXPLAIN, .system_without = EXPLAIN, CHOICE_COLUMNS},
    {"concisechoice", "chat", .system = CONCISE, .system_without = CONCISE, CHOICE_COLUMNS,
     .system_format = "{system}"},
    {"summarizetldr", "chat",
     .instruction = "Summarize the following article as a TL;DR.\n{article}",
     .output = "{summary}"},
    {"context_qa", "chat", .system = CONTEXT, .system_without = CONTEXT,
     .instruction = "{article}\n===\n{question}", .output = "{answer}"},
    {"context_qa.load_404", "chat", .system = CONTEXT, .system_without = CONTEXT,
     .instruction = "{article}\n===\n{unanswerable_question}", .output = UNKNOWN},
    {"context_qa.load_v2", "plain", .instruction = "Context: {context}\nQuestion: {question}\n",
     .output = "Answer: {answer}"},
    {"creative_acr.load_answer", "chat", .system = CREATIVE, .system_without = CREATIVE,
     .instruction = "{instruction}", .output = "{revision}", .system_format = "{system}\n"},
    {"metharme", "plain", .instruction = "{prompt}", .output = "{generation}", .extra_eos = 2},
};

#define N_TYPES (sizeof types / sizeof *types)

typedef struct instruct_state {
    const instruct_type *type;
    const instruct_style *style;
    const char *system_format;
    axl_str system, instruction, input, prompt, response; // owned scratch
} instruct_state;

static axl_status find_style(const char *name, const instruct_style **out)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < N_USER_STYLES; i++) {
        if (strcmp(styles[i].name, name) == 0) {
            *out = &styles[i];
            goto out;
        }
    }
    AXL_FAIL(AXL_E_CONFIG, "prompt style %s is not known; use instruct, chat, chatml or phi", name);

out:
    return status;
}

static axl_status instruct_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    instruct_state *s = NULL;
    const char *asked = e->style;

    AXL_TRY(axl_calloc(1, sizeof *s, "format", &s));
    e->state = s;
    for (size_t i = 0; i < N_TYPES; i++) {
        if (strcmp(types[i].name, e->base) == 0)
            s->type = &types[i];
    }
    AXL_ASSERT(s->type != NULL);
    for (size_t i = 0; i < N_STYLES; i++) {
        if (strcmp(styles[i].name, s->type->style) == 0)
            s->style = &styles[i];
    }
    if (asked == NULL && strncmp(e->base, "alpaca_chat", 11) == 0)
        asked = e->spec->conversation;
    if (asked != NULL)
        AXL_TRY(find_style(asked, &s->style));
    s->system_format =
        asked == NULL && s->type->system_format != NULL ? s->type->system_format : s->style->system;

out:
    return status;
}

static void instruct_close(axl_encoder *e)
{
    instruct_state *s = e->state;

    if (s == NULL)
        return;
    axl_str_fini(&s->system);
    axl_str_fini(&s->instruction);
    axl_str_fini(&s->input);
    axl_str_fini(&s->prompt);
    axl_str_fini(&s->response);
    free(s);
}

static axl_status put_list(const axl_json *list, axl_str *out)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < axl_json_count(list); i++) {
        const char *item = axl_json_string(axl_json_at(list, i), NULL);
        AXL_REQUIRE(item != NULL, AXL_E_INPUT, "item %zu of a list of strings is not a string", i);
        AXL_TRY(axl_str_printf(out, "%s- \"%s\"", i > 0 ? "\n" : "", item));
    }

out:
    return status;
}

// One {...} of a column pattern: names[0 .. n) without the braces.
static axl_status put_columns(const axl_json *row, const char *names, size_t n, axl_str *out)
{
    axl_status status = AXL_OK;
    char column[64];
    bool optional = n > 0 && names[n - 1] == '?';
    const char *end = names + n - optional;

    while (true) {
        const char *bar = memchr(names, '|', (size_t)(end - names));
        size_t len = (size_t)((bar != NULL ? bar : end) - names);
        AXL_ASSERT(len < sizeof column);
        memcpy(column, names, len);
        column[len] = '\0';
        if (bar == NULL || axl_json_get(row, column) != NULL)
            break;
        names = bar + 1;
    }
    const axl_json *v = axl_json_get(row, column);
    if (axl_json_is(v, AXL_JSON_ARRAY))
        AXL_TRY(put_list(v, out));
    else
        AXL_TRY(axl_row_column(row, column, optional, out));

out:
    return status;
}

static axl_status put_pattern(const axl_json *row, const char *pattern, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *p = pattern;

    axl_str_clear(out);
    while (p != NULL && *p != '\0') {
        size_t plain = strcspn(p, "{");
        AXL_TRY(axl_str_append(out, p, plain));
        p += plain;
        if (*p == '\0')
            break;
        size_t inside = strcspn(p + 1, "}");
        AXL_TRY(put_columns(row, p + 1, inside, out));
        p += inside + 2;
    }

out:
    return status;
}

axl_status axl_instruct_put(axl_encoder *e, const axl_str *prompt, const axl_str *response,
                            int extra_eos, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_token_buffer *b = &e->tokens;

    AXL_TRY(axl_encoder_text(e, prompt->data, prompt->len, false, false));
    AXL_TRY(axl_samples_put(out, b->ids, NULL, (int64_t)b->n, e->options->train_on_inputs));
    AXL_TRY(axl_encoder_text(e, response->data, response->len, true, true));
    AXL_TRY(axl_samples_put(out, b->ids, NULL, (int64_t)b->n, true));
    int64_t room = e->options->sequence_len - (int64_t)b->n;
    for (int i = 0; i < extra_eos && i < room && b->n > 0 && e->eos >= 0; i++)
        AXL_TRY(axl_samples_put(out, &e->eos, NULL, 1, true));
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static axl_status instruct_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    instruct_state *s = e->state;
    const instruct_type *t = s->type;

    AXL_TRY(put_pattern(row, t->instruction, &s->instruction));
    AXL_TRY(put_pattern(row, t->input, &s->input));
    AXL_TRY(put_pattern(row, t->output, &s->response));
    bool with = s->input.len > 0;
    AXL_TRY(put_pattern(row, with ? t->system : t->system_without, &s->system));
    axl_fill_value places[] = {{"instruction", s->instruction.data, s->instruction.len},
                               {"input", s->input.data, s->input.len},
                               {"system", s->system.data, s->system.len}};
    axl_str_clear(&s->prompt);
    if (s->system.len > 0 || s->style->keep_empty_system)
        AXL_TRY(axl_fill(&s->prompt, s->system_format, places, 3));
    AXL_TRY(axl_fill(&s->prompt, with ? s->style->with_input : s->style->without, places, 3));
    AXL_TRY(axl_instruct_put(e, &s->prompt, &s->response, t->extra_eos, out));

out:
    return status;
}

static const char *const type_names[] = {"alpaca",
                                         "alpaca_instruct",
                                         "alpaca_instruct.load_no_prompt",
                                         "alpaca_chat",
                                         "alpaca_chat.load_concise",
                                         "alpaca_chat.load_qa",
                                         "alpaca_chat.load_camel_ai",
                                         "alpaca_chat.load_no_prompt",
                                         "alpaca_w_system",
                                         "alpaca_w_system.load_chat",
                                         "alpaca_w_system.load_instruct",
                                         "alpaca_w_system.load_open_orca",
                                         "alpaca_w_system.load_open_orca_chatml",
                                         "orcamini",
                                         "gpteacher",
                                         "oasst",
                                         "jeopardy",
                                         "explainchoice",
                                         "concisechoice",
                                         "summarizetldr",
                                         "context_qa",
                                         "context_qa.load_404",
                                         "context_qa.load_v2",
                                         "creative_acr.load_answer",
                                         "metharme",
                                         NULL};
_Static_assert(sizeof type_names / sizeof *type_names == N_TYPES + 1, "a name a type");

const axl_format axl_format_instruct = {.name = "instruct",
                                        .types = type_names,
                                        .needs_tokenizer = true,
                                        .open = instruct_open,
                                        .encode = instruct_encode,
                                        .close = instruct_close};
