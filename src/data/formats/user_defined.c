// A prompt format of the user's own, by keys of the entry (datasets.md 4.3).
#include "src/data/formats/fill.h"
#include "src/data/formats/instruct.h"

#include "src/base/mem.h"

#include <stdlib.h>

typedef struct user_state {
    axl_user_format f;                                    // with its defaults filled in
    axl_str system, instruction, input, prompt, response; // owned scratch
} user_state;

static const char *or_else(const char *given, const char *otherwise)
{
    return given != NULL ? given : otherwise;
}

static axl_status user_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    user_state *s = NULL;
    const axl_user_format *f = e->spec->user_format;
    static const axl_fill_value turn[] = {{.name = "instruction"}, {.name = "input"}};
    static const axl_fill_value system[] = {{.name = "system"}};

    AXL_REQUIRE(f != NULL, AXL_E_CONFIG, "give `type` as a map of keys for a format of your own");
    AXL_TRY(axl_calloc(1, sizeof *s, "format", &s));
    e->state = s;
    s->f.system_prompt = or_else(f->system_prompt, "");
    s->f.field_system = or_else(f->field_system, "system");
    s->f.field_instruction = or_else(f->field_instruction, "instruction");
    s->f.field_input = or_else(f->field_input, "input");
    s->f.field_output = or_else(f->field_output, "output");
    s->f.format = or_else(f->format, "{instruction} {input} ");
    s->f.no_input_format = or_else(f->no_input_format, "{instruction} ");
    s->f.system_format = or_else(f->system_format, "{system}");
    // filled once with nothing, so that a misspelt place is found before any data are read
    AXL_TRY(axl_fill(&s->prompt, s->f.format, turn, 2));
    AXL_TRY(axl_fill(&s->prompt, s->f.no_input_format, turn, 2));
    AXL_TRY(axl_fill(&s->prompt, s->f.system_format, system, 1));

out:
    return status;
}

static void user_close(axl_encoder *e)
{
    user_state *s = e->state;

    if (s == NULL)
        return;
    axl_str_fini(&s->system);
    axl_str_fini(&s->instruction);
    axl_str_fini(&s->input);
    axl_str_fini(&s->prompt);
    axl_str_fini(&s->response);
    free(s);
}

static axl_status user_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    user_state *s = e->state;

    axl_str_clear(&s->system);
    axl_str_clear(&s->instruction);
    axl_str_clear(&s->input);
    axl_str_clear(&s->prompt);
    axl_str_clear(&s->response);
    AXL_TRY(axl_row_column(row, s->f.field_instruction, false, &s->instruction));
    AXL_TRY(axl_row_column(row, s->f.field_input, true, &s->input));
    AXL_TRY(axl_row_column(row, s->f.field_output, true, &s->response));
    if (axl_json_get(row, s->f.field_system) != NULL)
        AXL_TRY(axl_row_column(row, s->f.field_system, true, &s->system));
    else
        AXL_TRY(axl_str_puts(&s->system, s->f.system_prompt));
    axl_fill_value turn[] = {{"instruction", s->instruction.data, s->instruction.len},
                             {"input", s->input.data, s->input.len}};
    axl_fill_value system[] = {{"system", s->system.data, s->system.len}};
    if (s->system.len > 0)
        AXL_TRY(axl_fill(&s->prompt, s->f.system_format, system, 1));
    AXL_TRY(axl_fill(&s->prompt, s->input.len > 0 ? s->f.format : s->f.no_input_format, turn, 2));
    AXL_TRY(axl_instruct_put(e, &s->prompt, &s->response, 0, out));

out:
    return status;
}

static const char *const type_names[] = {"user_defined", NULL};

const axl_format axl_format_user_defined = {.name = "user_defined",
                                            .types = type_names,
                                            .needs_tokenizer = true,
                                            .open = user_open,
                                            .encode = user_encode,
                                            .close = user_close};
