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

static const axl_format *find_type(const char *base)
{
    for (int f = 0; f < N_FORMATS; f++) {
        for (const char *const *type = formats[f]->types; *type != NULL; type++) {
            if (strcmp(*type, base) == 0)
                return formats[f];
        }
    }
    return NULL;
}

static axl_status unknown_type(const axl_dataset_spec *spec, const char *base)
{
    const char *names[MAX_TYPES];
    size_t n = 0;

    for (int f = 0; f < N_FORMATS; f++) {
        for (const char *const *type = formats[f]->types; *type != NULL && n < MAX_TYPES; type++)
            names[n++] = *type;
    }
    const char *near = axl_nearest_name(base, names, n);
    return axl_error_set(AXL_E_CONFIG, __FILE__, __LINE__,
                         "%s: data set type %s is not known%s%s%s", spec->place, base,
                         near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                         near != NULL ? "?" : "");
}

static axl_status find_format(axl_encoder *e)
{
    axl_status status = AXL_OK;
    const axl_dataset_spec *spec = e->spec;
    const char *name = spec->user_format != NULL ? "user_defined" : "pretokenized";
    char *colon = NULL;

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
    e->format = find_type(e->base);
    if (e->format == NULL)
        status = unknown_type(spec, e->base);

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
    free(e->type_copy);
    free(e);
}

axl_status axl_encoder_row(axl_encoder *e, const axl_json *row, int32_t file, int64_t line,
                           const char *where, axl_samples *out)
{
    axl_status status = AXL_OK;
    int64_t n = out->n;

    axl_samples_drop_open(out);
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
