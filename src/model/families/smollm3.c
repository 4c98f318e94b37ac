// SmolLM 3: Llama where some layers have no rope (no_rope_layers: 1 means "has rope").
#include "src/model/arch_private.h"

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    const axl_json *flags = axl_json_get(config, "no_rope_layers");
    int64_t interval = 4;
    int32_t window = 0;
    bool bias = false;
    bool use_window = false;

    AXL_TRY(axl_config_flag(config, "attention_bias", false, &bias));
    arch->q_bias = arch->k_bias = arch->v_bias = arch->o_bias = bias;
    AXL_TRY(axl_config_flag(config, "mlp_bias", false, &arch->mlp_bias));
    AXL_TRY(axl_config_int(config, "no_rope_layer_interval", 4, &interval));
    AXL_REQUIRE(interval > 0, AXL_E_INPUT, "no_rope_layer_interval must be positive");
    AXL_TRY(axl_config_flag(config, "use_sliding_window", false, &use_window));
    AXL_TRY(axl_config_window(config, &window));
    AXL_TRY(axl_config_flag(config, "tie_word_embeddings", true, &arch->tied));
    for (int i = 0; i < arch->n_layers; i++) {
        bool has_rope = (i + 1) % interval != 0;
        if (axl_json_is(flags, AXL_JSON_ARRAY))
            has_rope = axl_json_int(axl_json_at(flags, (size_t)i), 1) != 0;
        bool sliding = use_window && window > 0 && !has_rope;
        (void)axl_config_layer_is_sliding(config, i, &sliding);
        arch->layers[i].rope = has_rope ? 0 : -1;
        arch->layers[i].window = sliding ? window : 0;
    }
out:
    return status;
}

const axl_family axl_family_smollm3 = {.model_type = "smollm3", .read_config = read_config};
