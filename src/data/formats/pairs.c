// Preference data whose prompts are fixed patterns: chatml and llama3 in many layouts of columns, zephyr, and
// columns that are the texts already. Layouts and patterns are rows of tables; the type is PATTERN.LAYOUT.
#include "src/data/formats/fill.h"
#include "src/data/formats/preference.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct pattern {
    const char *name;
    const char *system; // {system}; left out when the text is empty
    const char *prompt; // {prompt}
    const char *end;    // behind a completion
} pattern;

static const pattern patterns[] = {
    {"chatml", "<|im_start|>system\n{system}<|im_end|>\n",
     "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"},
    {"llama3", "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>",
     "<|start_header_id|>user<|end_header_id|>\n\n{prompt}<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     "<|eot_id|>"},
    {"zephyr", "", "<|system|>\n</s>\n<|user|>\n{prompt}</s>\n<|assistant|>\n", ""},
    {"passthrough", "", "{prompt}", ""},
};

#define MAX_NAMES 4

// Columns by preference: the first that a row has.
typedef struct layout {
    const char *name;
    const char *prompt[MAX_NAMES + 1]; // [0] NULL: the first turn of the first completion
    const char *chosen[3], *rejected[3];
    bool turns;  // completions are conversations: the text is that of their second turn
    bool ranked; // "answers": a list of texts with ranks
} layout;

#define PAIR_COLUMNS .chosen = {"chosen"}, .rejected = {"rejected"}

static const layout pair_layouts[] = {
    {"default",
     {"prompt", "input", "question", "instruction"},
     .chosen = {"chosen", "chosen_response"},
     .rejected = {"rejected", "rejected_response"}},
    {"icr", {"input"}, PAIR_COLUMNS},
    {"intel", {"question"}, PAIR_COLUMNS},
    {"prompt_pairs", {"prompt"}, PAIR_COLUMNS},
    {"ultra", {"prompt"}, PAIR_COLUMNS, .turns = true},
    {"argilla_chat", {NULL}, PAIR_COLUMNS, .turns = true},
    {"nectar", {"prompt"}, .ranked = true},
    {"columns", {"prompt"}, PAIR_COLUMNS},
};

static const layout kto_layouts[] = {
    {"argilla", {"instruction"}, .chosen = {"completion"}},
    {"argilla_chat", {NULL}, .chosen = {"completion"}, .turns = true},
    {"intel", {"question"}, .chosen = {"completion"}},
    {"prompt_pairs", {"prompt"}, .chosen = {"completion"}},
    {"ultra", {"prompt"}, .chosen = {"completion"}},
    {"columns", {"prompt"}, .chosen = {"completion"}},
};

typedef struct pairs_state {
    const pattern *pattern;
    const layout *layout;
    axl_str system, prompt; // owned scratch
} pairs_state;

static const pattern *find_pattern(const char *type)
{
    size_t n = strcspn(type, ".");

    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        if (strlen(patterns[i].name) == n && memcmp(patterns[i].name, type, n) == 0)
            return &patterns[i];
    }
    return NULL;
}

static const layout *find_layout(const layout *layouts, size_t n, const char *type)
{
    const char *dot = strchr(type, '.');
    bool plain = strncmp(type, "passthrough", 11) == 0; // its only layout
    const char *name = plain ? "columns" : dot != NULL ? dot + 1 : "default";

    for (size_t i = 0; i < n; i++) {
        if (strcmp(layouts[i].name, name) == 0)
            return &layouts[i];
    }
    return NULL;
}

static axl_status open_layouts(axl_encoder *e, const layout *layouts, size_t n)
{
    axl_status status = AXL_OK;
    pairs_state *s = NULL;

    AXL_TRY(axl_calloc(1, sizeof *s, "format", &s));
    e->state = s;
    s->pattern = find_pattern(e->base);
    s->layout = find_layout(layouts, n, e->base);
    AXL_ASSERT(s->pattern != NULL && s->layout != NULL); // the names of the types are made of them

out:
    return status;
}

static axl_status pairs_open(axl_encoder *e)
{
    return open_layouts(e, pair_layouts, sizeof pair_layouts / sizeof *pair_layouts);
}

static axl_status kto_open(axl_encoder *e)
{
    return open_layouts(e, kto_layouts, sizeof kto_layouts / sizeof *kto_layouts);
}

static void pairs_close(axl_encoder *e)
{
    pairs_state *s = e->state;

    if (s == NULL)
        return;
    axl_str_fini(&s->system);
    axl_str_fini(&s->prompt);
    free(s);
}

static const char *present(const axl_json *row, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (axl_json_get(row, names[i]) != NULL)
            return names[i];
    }
    return names[0]; // it is missed by this name
}

// The content of turn i of a column that holds a conversation.
static axl_status put_turn(const axl_json *row, const char *column, size_t i, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_json *text = axl_json_get(axl_json_at(axl_json_get(row, column), i), "content");

    AXL_REQUIRE(
        axl_json_is(text, AXL_JSON_STRING), AXL_E_INPUT,
        "the column \"%s\" must be a list of {\"role\", \"content\"}; turn %zu has no content",
        column, i);
    AXL_TRY(axl_str_append(out, axl_json_string(text, ""), axl_json_string_length(text)));

out:
    return status;
}

static axl_status put_completion(const pairs_state *s, const axl_json *row,
                                 const char *const *names, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *column = present(row, names);

    if (s->layout->turns)
        AXL_TRY(put_turn(row, column, 1, out));
    else
        AXL_TRY(axl_row_column(row, column, false, out));
    AXL_TRY(axl_str_puts(out, s->pattern->end));

out:
    return status;
}

// The texts of the highest and the second highest rank; of equal ranks the later one counts as higher.
static axl_status put_ranked(const axl_json *row, axl_str *chosen, axl_str *rejected)
{
    axl_status status = AXL_OK;
    const axl_json *list = axl_json_get(row, "answers");
    size_t n = axl_json_count(list), best[2] = {0, 0};
    double rank[2] = {-1e300, -1e300};

    AXL_REQUIRE(axl_json_is(list, AXL_JSON_ARRAY) && n >= 2, AXL_E_INPUT,
                "the column \"answers\" must be a list of two or more {\"answer\", \"rank\"}");
    for (size_t i = 0; i < n; i++) {
        double r = -1e300;
        AXL_REQUIRE(axl_json_number(axl_json_get(axl_json_at(list, i), "rank"), &r) && r > -1e300,
                    AXL_E_INPUT, "answers[%zu] has no number \"rank\"", i);
        int at = r >= rank[0] ? 0 : r >= rank[1] ? 1 : 2;
        if (at == 0) {
            rank[1] = rank[0];
            best[1] = best[0];
        }
        if (at < 2) {
            rank[at] = r;
            best[at] = i;
        }
    }
    AXL_TRY(axl_row_column(axl_json_at(list, best[0]), "answer", false, chosen));
    AXL_TRY(axl_row_column(axl_json_at(list, best[1]), "answer", false, rejected));

out:
    return status;
}

static axl_status put_prompt(axl_encoder *e, const axl_json *row)
{
    axl_status status = AXL_OK;
    pairs_state *s = e->state;
    const layout *l = s->layout;
    axl_str *out = &e->texts[AXL_TEXT_PROMPT];

    axl_str_clear(&s->system);
    axl_str_clear(&s->prompt);
    if (l->prompt[0] == NULL) {
        AXL_TRY(put_turn(row, l->chosen[0], 0, &s->prompt));
    } else {
        if (s->pattern->system[0] != '\0')
            AXL_TRY(axl_row_column(row, "system", true, &s->system));
        AXL_TRY(axl_row_column(row, present(row, l->prompt), false, &s->prompt));
    }
    const axl_fill_value system = {"system", s->system.data, s->system.len};
    const axl_fill_value prompt = {"prompt", s->prompt.data, s->prompt.len};
    if (s->system.len > 0)
        AXL_TRY(axl_fill(out, s->pattern->system, &system, 1));
    AXL_TRY(axl_fill(out, s->pattern->prompt, &prompt, 1));

out:
    return status;
}

static axl_status pairs_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const pairs_state *s = e->state;
    axl_str *chosen = &e->texts[AXL_TEXT_CHOSEN], *rejected = &e->texts[AXL_TEXT_REJECTED];

    axl_preference_begin(e);
    AXL_TRY(put_prompt(e, row));
    if (s->layout->ranked) {
        AXL_TRY(put_ranked(row, chosen, rejected));
    } else {
        AXL_TRY(put_completion(s, row, s->layout->chosen, chosen));
        AXL_TRY(put_completion(s, row, s->layout->rejected, rejected));
    }
    AXL_TRY(axl_preference_put_pair(e, out));

out:
    return status;
}

static axl_status kto_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const pairs_state *s = e->state;
    bool desirable = false;

    axl_preference_begin(e);
    AXL_TRY(put_prompt(e, row));
    AXL_TRY(put_completion(s, row, s->layout->chosen, &e->texts[AXL_TEXT_CHOSEN]));
    AXL_TRY(axl_preference_label(row, "label", &desirable));
    AXL_TRY(axl_preference_put_single(e, desirable, out));

out:
    return status;
}

static const char *const pair_types[] = {"chatml",
                                         "chatml.default",
                                         "chatml.icr",
                                         "chatml.intel",
                                         "chatml.prompt_pairs",
                                         "chatml.ultra",
                                         "chatml.argilla_chat",
                                         "llama3",
                                         "llama3.default",
                                         "llama3.icr",
                                         "llama3.intel",
                                         "llama3.prompt_pairs",
                                         "llama3.ultra",
                                         "llama3.argilla_chat",
                                         "zephyr.nectar",
                                         "passthrough",
                                         "passthrough.default",
                                         NULL};

static const char *const kto_types[] = {
    "chatml.argilla",      "chatml.argilla_chat", "chatml.intel",        "chatml.prompt_pairs",
    "chatml.ultra",        "llama3.argilla",      "llama3.argilla_chat", "llama3.intel",
    "llama3.prompt_pairs", "llama3.ultra",        "passthrough",         NULL};

const axl_format axl_format_pairs = {.name = "pairs",
                                     .types = pair_types,
                                     .methods = AXL_FOR_DPO | AXL_FOR_ORPO,
                                     .needs_tokenizer = true,
                                     .open = pairs_open,
                                     .encode = pairs_encode,
                                     .close = pairs_close};

const axl_format axl_format_kto = {.name = "kto",
                                   .types = kto_types,
                                   .methods = AXL_FOR_KTO,
                                   .needs_tokenizer = true,
                                   .open = kto_open,
                                   .encode = kto_encode,
                                   .close = pairs_close};
