// The registry of formats and what they share.
#include "src/data/format.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define AXL_FORMAT(name) extern const axl_format axl_format_##name;
#include "src/data/formats.def"
#undef AXL_FORMAT

static const axl_format *const formats[] = {
#define AXL_FORMAT(name) &axl_format_##name,
#include "src/data/formats.def"
#undef AXL_FORMAT
};

enum {
#define AXL_FORMAT(name) FORMAT_##name,
#include "src/data/formats.def"
#undef AXL_FORMAT
    N_FORMATS
};

#define MAX_TYPES 128

// The methods that read preference data, and the names of their types.
static const struct {
    const char *rl;
    int method;
} methods[] = {{"dpo", AXL_FOR_DPO},
               {"ipo", AXL_FOR_DPO},
               {"simpo", AXL_FOR_DPO},
               {"kto", AXL_FOR_KTO},
               {"orpo", AXL_FOR_ORPO}};

#define N_METHODS (sizeof methods / sizeof *methods)

// Types that are known upstream and not read here, with the reason.
static const struct {
    const char *type, *why;
} refused[] = {
    {"sharegpt", "was removed; write type: chat_template, field_messages: conversations, "
                 "message_property_mappings: {role: from, content: value}"},
    {"axolotl.integrations.kd.chat_template", "(knowledge distillation) is not there yet"},
    {"axolotl.integrations.kd.chat_template.load", "(knowledge distillation) is not there yet"},
    {"axolotl.integrations.kd.chat_template.load_legacy",
     "(knowledge distillation) is not there yet"},
    {"creative_acr", "needs its variant: creative_acr.load_answer"},
    {"creative_acr.load_critique", "is not read; give its text as type: alpaca or completion"},
    {"creative_acr.load_revise", "is not read; give its text as type: alpaca or completion"},
    {"bradley_terry", "needs its variant: bradley_terry.chat_template"},
};

static bool serves(const axl_format *f, int method)
{
    return method == AXL_FOR_SFT ? f->methods == AXL_FOR_SFT : (f->methods & method) != 0;
}

static const axl_format *find_type(const char *base, int method)
{
    for (int f = 0; f < N_FORMATS; f++) {
        for (const char *const *type = formats[f]->types; *type != NULL; type++) {
            if (serves(formats[f], method) && strcmp(*type, base) == 0)
                return formats[f];
        }
    }
    return NULL;
}

// What to write instead when another method knows a type of this name; NULL: none does.
static const char *other_method(const char *base)
{
    if (find_type(base, AXL_FOR_SFT) != NULL)
        return "fine-tuning without rl";
    if (find_type(base, AXL_FOR_DPO) != NULL)
        return "rl: dpo, ipo, simpo and orpo";
    if (find_type(base, AXL_FOR_KTO) != NULL)
        return "rl: kto";
    return find_type(base, AXL_FOR_ORPO) != NULL ? "rl: orpo" : NULL;
}

static axl_status unknown_type(const axl_dataset_spec *spec, const char *base, int method)
{
    axl_status status = AXL_OK;
    const char *names[MAX_TYPES];
    const char *rl = spec->rl != NULL ? spec->rl : "", *of = spec->rl != NULL ? " of rl: " : "";
    const char *other = other_method(base);
    size_t n = 0;

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        AXL_REQUIRE(strcmp(refused[i].type, base) != 0, AXL_E_CONFIG, "%s: data set type %s %s",
                    spec->place, base, refused[i].why);
    AXL_REQUIRE(other == NULL, AXL_E_CONFIG,
                "%s: data set type %s%s%s is not known; it is a type of %s", spec->place, base, of,
                rl, other);
    for (int f = 0; f < N_FORMATS; f++) {
        for (const char *const *type = formats[f]->types; *type != NULL && n < MAX_TYPES; type++) {
            if (serves(formats[f], method))
                names[n++] = *type;
        }
    }
    const char *near = axl_nearest_name(base, names, n);
    AXL_REQUIRE(near != NULL, AXL_E_CONFIG,
                "%s: data set type %s%s%s is not known; docs/data.md lists the types", spec->place,
                base, of, rl);
    AXL_FAIL(AXL_E_CONFIG, "%s: data set type %s%s%s is not known; did you mean %s?", spec->place,
             base, of, rl, near);

out:
    return status;
}

static axl_status find_method(const axl_dataset_spec *spec, int *method)
{
    axl_status status = AXL_OK;

    *method = AXL_FOR_SFT;
    for (size_t i = 0; i < N_METHODS && spec->rl != NULL; i++) {
        if (strcmp(methods[i].rl, spec->rl) == 0)
            *method = methods[i].method;
    }
    AXL_REQUIRE(spec->rl == NULL || *method != AXL_FOR_SFT, AXL_E_CONFIG,
                "%s: data for rl: %s are not read yet; dpo, ipo, simpo, kto and orpo are",
                spec->place, spec->rl);

out:
    return status;
}

static axl_status find_format(axl_encoder *e)
{
    axl_status status = AXL_OK;
    const axl_dataset_spec *spec = e->spec;
    int method = AXL_FOR_SFT;
    char *colon = NULL;

    AXL_TRY(find_method(spec, &method));
    const char *name = spec->user_format != NULL ? "user_defined"
                       : method == AXL_FOR_SFT   ? "pretokenized"
                                                 : "passthrough";
    if (spec->user_format != NULL || spec->type == NULL || spec->type[0] == '\0') {
        AXL_TRY(axl_strdup(name, &e->type_copy));
    } else {
        AXL_TRY(axl_strdup(spec->type, &e->type_copy));
        colon = strchr(e->type_copy, ':');
        if (colon != NULL) {
            *colon = '\0';
            e->style = colon + 1;
        }
    }
    e->base = e->type_copy;
    AXL_REQUIRE(e->style == NULL || strncmp(e->style, "load_", 5) != 0, AXL_E_CONFIG,
                "%s: data set type %s: a loader is chosen with a dot: %s.%s", spec->place,
                spec->type, e->base, e->style);
    e->format = find_type(e->base, method);
    if (e->format == NULL)
        status = unknown_type(spec, e->base, method);

out:
    return status;
}

axl_status axl_encoder_open(const axl_dataset_spec *spec, const axl_data_options *options,
                            const axl_tokenizer *tokenizer, axl_encoder **out)
{
    axl_status status = AXL_OK;
    axl_encoder *e = NULL;

    AXL_TRY(axl_calloc(1, sizeof *e, "encoder", &e));
    *e = (axl_encoder){
        .spec = spec, .options = options, .tokenizer = tokenizer, .bos = -1, .eos = -1};
    AXL_TRY(find_format(e));
    AXL_REQUIRE(tokenizer != NULL || !e->format->needs_tokenizer, AXL_E_INPUT,
                "%s: data set type %s needs a tokenizer, and the model directory has none",
                spec->place, e->base);
    if (tokenizer != NULL) {
        e->bos = axl_tokenizer_special_id(tokenizer, "bos_token");
        e->eos = axl_tokenizer_special_id(tokenizer, "eos_token");
    }
    if (e->format->open != NULL)
        AXL_TRY_CTX(e->format->open(e), "%s: data set type %s", spec->place, e->base);
    *out = e;
    e = NULL;

out:
    axl_encoder_close(e);
    return status;
}

void axl_encoder_close(axl_encoder *e)
{
    if (e == NULL)
        return;
    if (e->format != NULL && e->format->close != NULL)
        e->format->close(e);
    axl_token_buffer_fini(&e->tokens);
    axl_str_fini(&e->text);
    axl_str_fini(&e->text2);
    for (int i = 0; i < AXL_MAX_TEXTS; i++)
        axl_str_fini(&e->texts[i]);
    free(e->type_copy);
    free(e);
}

axl_status axl_encoder_take(const axl_dataset_spec *spec, const axl_data_options *options,
                            const axl_tokenizer *tokenizer, axl_encoder **e)
{
    axl_status status = AXL_OK;

    if (*e != NULL && (*e)->spec == spec)
        goto out;
    axl_encoder_close(*e);
    *e = NULL;
    AXL_TRY(axl_encoder_open(spec, options, tokenizer, e));

out:
    return status;
}

axl_status axl_encoder_row(axl_encoder *e, const axl_json *row, int32_t file, int64_t line,
                           const char *where, axl_samples *out)
{
    axl_status status = AXL_OK;
    int64_t n = out->n;

    axl_samples_drop_open(out);
    e->n_texts = 0;
    status = e->format->encode(e, row, out);
    if (status != AXL_OK) {
        out->n = n;
        (void)axl_error_context(status, "%s", where);
    }
    axl_samples_drop_open(out);
    for (int64_t i = n; i < out->n; i++) {
        out->info[i].file = file;
        out->info[i].line = line;
    }
    return status;
}

axl_status axl_encoder_end(axl_samples *out)
{
    return axl_samples_end(out, 0, 0);
}

axl_status axl_encoder_text(axl_encoder *e, const char *text, size_t n, bool add_eos,
                            bool strip_bos)
{
    axl_status status = AXL_OK;
    axl_token_buffer *b = &e->tokens;
    size_t limit = (size_t)e->options->sequence_len;

    b->n = 0;
    if (n == 0)
        goto out;
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, text, n, true, b));
    if (b->n > limit)
        b->n = limit;
    if (add_eos && e->eos >= 0 && b->n < limit && (b->n == 0 || b->ids[b->n - 1] != e->eos)) {
        AXL_TRY(axl_grow(&b->ids, &b->capacity, b->n + 1, sizeof *b->ids, "token ids"));
        b->ids[b->n++] = e->eos;
    }
    if (strip_bos && e->bos >= 0 && b->n > 0 && b->ids[0] == e->bos) {
        memmove(b->ids, b->ids + 1, (b->n - 1) * sizeof *b->ids);
        b->n--;
    }

out:
    return status;
}

axl_status axl_row_column(const axl_json *row, const char *column, bool optional, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(row, column);
    axl_json_kind kind = axl_json_type(v);

    if (v == NULL || kind == AXL_JSON_NULL) {
        AXL_REQUIRE(optional, AXL_E_INPUT,
                    "the column \"%s\" is missing; the type of the data set decides the columns",
                    column);
    } else if (kind == AXL_JSON_STRING) {
        AXL_TRY(axl_str_append(out, axl_json_string(v, ""), axl_json_string_length(v)));
    } else {
        AXL_REQUIRE(kind != AXL_JSON_ARRAY && kind != AXL_JSON_OBJECT, AXL_E_INPUT,
                    "the column \"%s\" is %s, a string is needed", column,
                    axl_json_kind_name(kind));
        AXL_TRY(axl_json_dump(v, 0, out));
    }

out:
    return status;
}
