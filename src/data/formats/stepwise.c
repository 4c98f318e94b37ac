// Process reward models: a prompt and steps, each with a verdict (datasets.md 4.8). The class of a step, 0 or 1,
// is the label of its last token, the end of the separator.
#include "src/data/format.h"

#include <string.h>

static axl_status put_text(axl_encoder *e, const char *text, size_t n, axl_samples *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_tokenizer_encode(e->tokenizer, text, n, false, &e->tokens));
    AXL_TRY(axl_samples_put(out, e->tokens.ids, NULL, (int64_t)e->tokens.n, false));

out:
    return status;
}

static axl_status step_label(const axl_json *labels, size_t i, int32_t *label)
{
    axl_status status = AXL_OK;
    bool good = false;

    AXL_REQUIRE(axl_json_truth(axl_json_at(labels, i), &good), AXL_E_INPUT,
                "the column \"labels\": item %zu must be true, false, 1 or 0", i);
    *label = good;

out:
    return status;
}

static axl_status put_step(axl_encoder *e, const axl_json *row, size_t i, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_json *text = axl_json_at(axl_json_get(row, "completions"), i);
    const axl_json *labels = axl_json_get(row, "labels");
    const char *separator = e->spec->step_separator != NULL ? e->spec->step_separator : "\n";
    int64_t before = out->n_tokens;
    int32_t label = AXL_IGNORE;

    AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING), AXL_E_INPUT,
                "the column \"completions\": item %zu is not a string", i);
    AXL_TRY(step_label(labels, i, &label));
    AXL_TRY(put_text(e, axl_json_string(text, ""), axl_json_string_length(text), out));
    AXL_TRY(put_text(e, separator, strlen(separator), out));
    bool last = i + 1 == axl_json_count(labels);
    if (out->n_tokens > before && (last || !e->spec->train_on_last_step_only))
        out->labels[out->n_tokens - 1] = label;

out:
    return status;
}

static axl_status stepwise_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_json *steps = axl_json_get(row, "completions"), *labels = axl_json_get(row, "labels");
    int64_t limit = e->spec->max_completion_length;

    AXL_REQUIRE(
        axl_json_is(steps, AXL_JSON_ARRAY) && axl_json_is(labels, AXL_JSON_ARRAY), AXL_E_INPUT,
        "the columns \"completions\" (strings) and \"labels\" (true or false) must be lists");
    AXL_REQUIRE(axl_json_count(steps) == axl_json_count(labels), AXL_E_INPUT,
                "%zu completions but %zu labels", axl_json_count(steps), axl_json_count(labels));
    axl_str_clear(&e->text);
    AXL_TRY(axl_row_column(row, "prompt", false, &e->text));
    if (e->bos >= 0)
        AXL_TRY(axl_samples_put(out, &e->bos, NULL, 1, false));
    AXL_TRY(put_text(e, e->text.len > 0 ? e->text.data : "", e->text.len, out));
    int64_t prompt = out->n_tokens;
    for (size_t i = 0; i < axl_json_count(steps); i++)
        AXL_TRY(put_step(e, row, i, out));
    if (limit > 0 && out->n_tokens - prompt > limit)
        out->n_tokens = prompt + limit;
    if (axl_samples_open_length(out) > e->options->sequence_len)
        out->n_tokens = axl_samples_open_begin(out) + e->options->sequence_len;
    AXL_TRY(axl_samples_end_as(out, AXL_SAMPLE_STEPS, 0, 0, 0));

out:
    return status;
}

static const char *const type_names[] = {"stepwise_supervised", NULL};

const axl_format axl_format_stepwise = {
    .name = "stepwise", .types = type_names, .needs_tokenizer = true, .encode = stepwise_encode};
