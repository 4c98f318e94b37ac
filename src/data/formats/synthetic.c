// _synthetic: random ids, all trained, for timing and for trying a layout out. The caller gives rows {"n": i}; ids
// depend on the seed and i alone.
#include "src/data/format.h"

#include "src/base/philox.h"

static axl_status synthetic_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const axl_dataset_spec *s = e->spec;
    int64_t i = axl_json_int(axl_json_get(row, "n"), -1), low = s->min_input_id;
    int64_t n = s->synthetic_length > 0 ? s->synthetic_length : e->options->sequence_len;
    int64_t high = s->max_input_id > 0 ? s->max_input_id : e->options->vocab_size;

    AXL_REQUIRE(i >= 0, AXL_E_INPUT, "type _synthetic makes its own rows; write path: synthetic");
    AXL_REQUIRE(
        high > low, AXL_E_CONFIG,
        "%s: max_input_id %lld must be above min_input_id %lld (the vocabulary has %lld tokens)",
        s->place, (long long)high, (long long)low, (long long)e->options->vocab_size);
    for (int64_t t = 0; t < n; t++) {
        double u = axl_random_uniform(s->synthetic_seed, AXL_RANDOM_SAMPLE, (uint64_t)(i * n + t));
        int32_t id = (int32_t)(low + (int64_t)(u * (double)(high - low)));
        AXL_TRY(axl_samples_put(out, &id, NULL, 1, true));
    }
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static const char *const type_names[] = {"_synthetic", NULL};

const axl_format axl_format_synthetic = {
    .name = "synthetic", .types = type_names, .encode = synthetic_encode};
