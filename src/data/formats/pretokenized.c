// Records that hold token ids already: input_ids, labels and perhaps attention_mask (datasets.md 4.7).
// Rows are never padded here, so tokens that the mask hides at either end are left out.
#include "src/data/format.h"

static axl_status ids_column(const axl_json *row, const char *name, const axl_json **out)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(row, name);

    AXL_REQUIRE(
        axl_json_is(v, AXL_JSON_ARRAY), AXL_E_INPUT,
        "the column \"%s\" must be a list of integers; data without `type` must be tokenized "
        "already",
        name);
    *out = v;

out:
    return status;
}

static axl_status read_token(const axl_encoder *e, const axl_json *ids, const axl_json *labels,
                             size_t i, int32_t token[2])
{
    axl_status status = AXL_OK;
    int64_t limit = e->options->vocab_size > 0 ? e->options->vocab_size : INT32_MAX;
    int64_t id = axl_json_int(axl_json_at(ids, i), -1);
    int64_t label = axl_json_int(axl_json_at(labels, i), -1);

    AXL_REQUIRE(id >= 0 && id < limit, AXL_E_INPUT,
                "input_ids[%zu] is not an integer of 0 to %lld, the vocabulary of the model", i,
                (long long)limit - 1);
    AXL_REQUIRE(label == AXL_IGNORE || (label >= 0 && label < limit), AXL_E_INPUT,
                "labels[%zu] is neither -100 nor an integer of 0 to %lld", i, (long long)limit - 1);
    token[0] = (int32_t)id;
    token[1] = (int32_t)label;

out:
    return status;
}

static axl_status pretokenized_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_json *ids = NULL, *labels = NULL;
    const axl_json *mask = axl_json_get(row, "attention_mask");
    int32_t token[2];

    AXL_TRY(ids_column(row, "input_ids", &ids));
    AXL_TRY(ids_column(row, "labels", &labels));
    size_t n = axl_json_count(ids), first = 0, last = n;
    AXL_REQUIRE(axl_json_count(labels) == n, AXL_E_INPUT, "%zu input_ids but %zu labels", n,
                axl_json_count(labels));
    AXL_REQUIRE(mask == NULL || axl_json_count(mask) == n, AXL_E_INPUT,
                "%zu input_ids but %zu of attention_mask", n, axl_json_count(mask));
    while (mask != NULL && first < last && axl_json_int(axl_json_at(mask, first), 1) == 0)
        first++;
    while (mask != NULL && last > first && axl_json_int(axl_json_at(mask, last - 1), 1) == 0)
        last--;
    for (size_t i = first; i < last; i++) {
        AXL_REQUIRE(mask == NULL || axl_json_int(axl_json_at(mask, i), 1) != 0, AXL_E_INPUT,
                    "attention_mask[%zu] is 0 between tokens; it may be 0 only at the ends", i);
        AXL_TRY(read_token(e, ids, labels, i, token));
        AXL_TRY(axl_samples_put(out, &token[0], &token[1], 1, true));
    }
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static const char *const type_names[] = {"pretokenized", NULL};

const axl_format axl_format_pretokenized = {.name = "pretokenized",
                                            .types = type_names,
                                            .needs_tokenizer = false,
                                            .encode = pretokenized_encode};
