// Reads normalizers, pre-tokenizers, post-processors and decoders by their tables of kinds.
#include "src/text/tokenizer_private.h"

#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 16

static void step_fini(axl_step *s)
{
    axl_pattern_fini(&s->pattern);
    axl_str_fini(&s->content);
    axl_str_fini(&s->extra);
    for (size_t i = 0; i < s->n_pieces; i++)
        free(s->pieces[i].ids);
    free(s->pieces);
    free(s->data);
}

void axl_steps_fini(axl_steps *s)
{
    for (size_t i = 0; i < s->n; i++)
        step_fini(&s->at[i]);
    free(s->at);
    *s = (axl_steps){0};
}

typedef struct step_reader {
    const char *children;
    const axl_step_kind *kinds;
    size_t n_kinds;
    axl_steps *out;
    int depth;
} step_reader;

static axl_status unknown_kind(const step_reader *r, const char *what, const char *type)
{
    axl_status status = AXL_OK;
    const char *names[32];
    axl_str list = {0};
    size_t n = 0;

    for (; n < r->n_kinds && n < 31; n++) {
        names[n] = r->kinds[n].name;
        AXL_TRY(axl_str_printf(&list, "%s, ", names[n]));
    }
    names[n++] = "Sequence";
    const char *near = axl_nearest_name(type, names, n);
    AXL_FAIL(AXL_E_INPUT, "%s.type: \"%.60s\" is not known%s%s; known are %sSequence", what, type,
             near == NULL ? "" : ", did you mean ", near == NULL ? "" : near, list.data);
out:
    axl_str_fini(&list);
    return status;
}

static axl_status read_step(step_reader *r, const axl_json *v, const char *what)
{
    axl_status status = AXL_OK;
    const char *type = axl_json_string(axl_json_get(v, "type"), NULL);
    char place[160];

    AXL_REQUIRE(r->depth < MAX_DEPTH, AXL_E_INPUT, "%.80s: nested deeper than %d", what, MAX_DEPTH);
    AXL_REQUIRE(type != NULL, AXL_E_INPUT, "%s: must be an object with a type", what);
    if (strcmp(type, "Sequence") == 0) {
        const axl_json *list = axl_json_get(v, r->children);
        AXL_REQUIRE(axl_json_is(list, AXL_JSON_ARRAY), AXL_E_INPUT, "%s.%s: must be an array", what,
                    r->children);
        r->depth++;
        for (size_t i = 0; i < axl_json_count(list); i++) {
            (void)snprintf(place, sizeof place, "%.100s.%s[%zu]", what, r->children, i);
            AXL_TRY(read_step(r, axl_json_at(list, i), place));
        }
        r->depth--;
        goto out;
    }
    for (size_t i = 0; i < r->n_kinds; i++) {
        const axl_step_kind *kind = &r->kinds[i];
        if (strcmp(kind->name, type) != 0)
            continue;
        AXL_TRY(axl_grow(&r->out->at, &r->out->capacity, r->out->n + 1, sizeof *r->out->at, what));
        axl_step *s = &r->out->at[r->out->n++];
        *s = (axl_step){.kind = kind};
        if (kind->parse != NULL)
            AXL_TRY(kind->parse(v, what, s));
        goto out;
    }
    AXL_TRY(unknown_kind(r, what, type));
out:
    return status;
}

axl_status axl_steps_parse(const axl_json *v, const char *what, const char *children,
                           const axl_step_kind *kinds, size_t n_kinds, axl_steps *out)
{
    step_reader r = {children, kinds, n_kinds, out, 0};

    if (v == NULL || axl_json_is(v, AXL_JSON_NULL))
        return AXL_OK;
    return read_step(&r, v, what);
}
