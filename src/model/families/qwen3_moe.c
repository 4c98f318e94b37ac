// Qwen 3 MoE: Qwen 3 with a mixture of experts in the layers that decoder_sparse_step and mlp_only_layers leave to
// it; the others have an mlp of intermediate_size.
#include "src/model/arch_private.h"

static const axl_moe_names names = {.gate = "mlp.gate",
                                    .gate_proj = "mlp.experts.%d.gate_proj",
                                    .up_proj = "mlp.experts.%d.up_proj",
                                    .down_proj = "mlp.experts.%d.down_proj"};

static axl_status read_sparse_layers(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    const axl_json *dense = axl_json_get(config, "mlp_only_layers");
    int64_t step = 1;

    AXL_TRY(axl_config_int(config, "decoder_sparse_step", 1, &step));
    AXL_REQUIRE(step > 0, AXL_E_INPUT, "decoder_sparse_step must be positive");
    for (int i = 0; i < arch->n_layers; i++)
        arch->layers[i].sparse = (i + 1) % step == 0;
    for (size_t k = 0; axl_json_is(dense, AXL_JSON_ARRAY) && k < axl_json_count(dense); k++) {
        const int64_t layer = axl_json_int(axl_json_at(dense, k), -1);
        if (layer >= 0 && layer < arch->n_layers)
            arch->layers[layer].sparse = false;
    }
out:
    return status;
}

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    bool bias = false;
    bool use_window = false;
    int32_t window = 0;

    arch->qk_norm = AXL_QK_NORM_HEAD;
    AXL_TRY(axl_config_flag(config, "attention_bias", false, &bias));
    arch->q_bias = arch->k_bias = arch->v_bias = arch->o_bias = bias;
    AXL_TRY(axl_config_flag(config, "use_sliding_window", false, &use_window));
    AXL_TRY(axl_config_window(config, &window));
    for (int i = 0; i < arch->n_layers; i++)
        arch->layers[i].window = use_window ? window : 0;
    AXL_TRY(axl_config_moe(config, 128, 8, arch));
    AXL_TRY(axl_config_int(config, "moe_intermediate_size", 768, &arch->moe.width));
    AXL_REQUIRE(arch->moe.width > 0 && arch->moe.width <= 1 << 24, AXL_E_INPUT,
                "moe_intermediate_size is out of range (1 to %d)", 1 << 24);
    AXL_TRY(axl_config_flag(config, "norm_topk_prob", false, &arch->moe.renormalize));
    arch->moe.names = &names;
    AXL_TRY(read_sparse_layers(config, arch));
out:
    return status;
}

const axl_family axl_family_qwen3_moe = {.model_type = "qwen3_moe", .read_config = read_config};
