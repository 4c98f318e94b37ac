// Segments of text, each trained or not, with nothing added between (datasets.md 4.6).
#include "src/data/format.h"

static axl_status input_output_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_json *segments = axl_json_get(row, "segments");

    AXL_REQUIRE(axl_json_is(segments, AXL_JSON_ARRAY), AXL_E_INPUT,
                "the column \"segments\" must be a list of {\"label\": bool, \"text\": string}");
    for (size_t i = 0; i < axl_json_count(segments); i++) {
        const axl_json *segment = axl_json_at(segments, i);
        const axl_json *text = axl_json_get(segment, "text");
        bool trained = false;
        AXL_REQUIRE(axl_json_is(text, AXL_JSON_STRING) &&
                        axl_json_truth(axl_json_get(segment, "label"), &trained),
                    AXL_E_INPUT, "segment %zu must be {\"label\": bool, \"text\": string}", i);
        AXL_TRY(axl_tokenizer_encode(e->tokenizer, axl_json_string(text, ""),
                                     axl_json_string_length(text), false, &e->tokens));
        trained = trained || e->options->train_on_inputs;
        AXL_TRY(axl_samples_put(out, e->tokens.ids, NULL, (int64_t)e->tokens.n, trained));
    }
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static const char *const type_names[] = {"input_output", NULL};

const axl_format axl_format_input_output = {.name = "input_output",
                                            .types = type_names,
                                            .needs_tokenizer = true,
                                            .encode = input_output_encode};
