// Preference data whose columns and patterns are keys of the entry (`type` as a map).
#include "src/data/formats/fill.h"
#include "src/data/formats/preference.h"

#include "src/base/mem.h"

#include <stdlib.h>

typedef struct user_state {
    axl_user_format f;     // with its defaults filled in
    axl_str value, value2; // owned scratch
} user_state;

static const char *or_else(const char *given, const char *otherwise)
{
    return given != NULL && given[0] != '\0' ? given : otherwise;
}

static axl_status user_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    user_state *s = NULL;
    const axl_user_format *f = e->spec->user_format;
    static const axl_fill_value prompt[] = {{.name = "prompt"}, {.name = "system"}};
    static const axl_fill_value texts[] = {
        {.name = "chosen"}, {.name = "rejected"}, {.name = "completion"}};

    AXL_REQUIRE(f != NULL, AXL_E_CONFIG, "give `type` as a map of keys for a format of your own");
    AXL_TRY(axl_calloc(1, sizeof *s, "format", &s));
    e->state = s;
    s->f.field_prompt = or_else(f->field_prompt, "prompt");
    s->f.field_system = or_else(f->field_system, "system");
    s->f.field_chosen = or_else(f->field_chosen, "chosen");
    s->f.field_rejected = or_else(f->field_rejected, "rejected");
    s->f.field_completion = or_else(f->field_completion, "completion");
    s->f.field_label = or_else(f->field_label, "label");
    s->f.prompt_format = or_else(f->prompt_format, "{prompt}");
    s->f.chosen_format = or_else(f->chosen_format, "{chosen}");
    s->f.rejected_format = or_else(f->rejected_format, "{rejected}");
    s->f.completion_format = or_else(f->completion_format, "{completion}");
    // filled once with nothing, so that a misspelt place is found before any data are read
    AXL_TRY(axl_fill(&s->value, s->f.prompt_format, prompt, 2));
    AXL_TRY(axl_fill(&s->value, s->f.chosen_format, &texts[0], 1));
    AXL_TRY(axl_fill(&s->value, s->f.rejected_format, &texts[1], 1));
    AXL_TRY(axl_fill(&s->value, s->f.completion_format, &texts[2], 1));

out:
    return status;
}

static void user_close(axl_encoder *e)
{
    user_state *s = e->state;

    if (s == NULL)
        return;
    axl_str_fini(&s->value);
    axl_str_fini(&s->value2);
    free(s);
}

// Fills the column into its pattern, under the name of its place.
static axl_status put_text(user_state *s, const axl_json *row, const char *column,
                           const char *place, const char *pattern, axl_str *out)
{
    axl_status status = AXL_OK;

    axl_str_clear(&s->value);
    AXL_TRY(axl_row_column(row, column, false, &s->value));
    const axl_fill_value value = {place, s->value.data, s->value.len};
    AXL_TRY(axl_fill(out, pattern, &value, 1));

out:
    return status;
}

static axl_status put_prompt(axl_encoder *e, const axl_json *row)
{
    axl_status status = AXL_OK;
    user_state *s = e->state;

    axl_preference_begin(e);
    axl_str_clear(&s->value);
    axl_str_clear(&s->value2);
    AXL_TRY(axl_row_column(row, s->f.field_prompt, false, &s->value));
    AXL_TRY(axl_row_column(row, s->f.field_system, true, &s->value2));
    const axl_fill_value places[] = {{"prompt", s->value.data, s->value.len},
                                     {"system", s->value2.data, s->value2.len}};
    AXL_TRY(axl_fill(&e->texts[AXL_TEXT_PROMPT], s->f.prompt_format, places, 2));

out:
    return status;
}

static axl_status pairs_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    user_state *s = e->state;

    AXL_TRY(put_prompt(e, row));
    AXL_TRY(put_text(s, row, s->f.field_chosen, "chosen", s->f.chosen_format,
                     &e->texts[AXL_TEXT_CHOSEN]));
    AXL_TRY(put_text(s, row, s->f.field_rejected, "rejected", s->f.rejected_format,
                     &e->texts[AXL_TEXT_REJECTED]));
    AXL_TRY(axl_preference_put_pair(e, out));

out:
    return status;
}

static axl_status kto_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    user_state *s = e->state;
    bool desirable = false;

    AXL_TRY(put_prompt(e, row));
    AXL_TRY(put_text(s, row, s->f.field_completion, "completion", s->f.completion_format,
                     &e->texts[AXL_TEXT_CHOSEN]));
    AXL_TRY(axl_preference_label(row, s->f.field_label, &desirable));
    AXL_TRY(axl_preference_put_single(e, desirable, out));

out:
    return status;
}

static const char *const type_names[] = {"user_defined", "user_defined.default", NULL};

const axl_format axl_format_pairs_user = {.name = "pairs_user",
                                          .types = type_names,
                                          .methods = AXL_FOR_DPO | AXL_FOR_ORPO,
                                          .needs_tokenizer = true,
                                          .open = user_open,
                                          .encode = pairs_encode,
                                          .close = user_close};

const axl_format axl_format_kto_user = {.name = "kto_user",
                                        .types = type_names,
                                        .methods = AXL_FOR_KTO,
                                        .needs_tokenizer = true,
                                        .open = user_open,
                                        .encode = kto_encode,
                                        .close = user_close};
