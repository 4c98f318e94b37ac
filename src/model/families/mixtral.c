// Mixtral: Mistral with a mixture of experts in every layer; the chosen experts' weights add up to 1.
#include "src/model/arch_private.h"

static const axl_moe_names names = {.gate = "block_sparse_moe.gate",
                                    .gate_proj = "block_sparse_moe.experts.%d.w1",
                                    .up_proj = "block_sparse_moe.experts.%d.w3",
                                    .down_proj = "block_sparse_moe.experts.%d.w2"};

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    int32_t window = 0;
    double jitter = 0.0;

    AXL_TRY(axl_config_window(config, &window));
    AXL_TRY(axl_config_moe(config, 8, 2, arch));
    AXL_TRY(axl_config_real(config, "router_jitter_noise", 0.0, &jitter));
    AXL_REQUIRE(jitter == 0.0, AXL_E_UNSUPPORTED, "router_jitter_noise %g is not supported; use 0",
                jitter);
    arch->moe.width = arch->ffn;
    arch->moe.renormalize = true;
    arch->moe.names = &names;
    for (int i = 0; i < arch->n_layers; i++) {
        arch->layers[i].window = window;
        arch->layers[i].sparse = true;
    }
out:
    return status;
}

const axl_family axl_family_mixtral = {.model_type = "mixtral", .read_config = read_config};
