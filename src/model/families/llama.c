// Llama 2 and 3.x: the base row.
#include "src/model/arch_private.h"

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    bool bias = false;

    AXL_TRY(axl_config_flag(config, "attention_bias", false, &bias));
    arch->q_bias = arch->k_bias = arch->v_bias = arch->o_bias = bias;
    AXL_TRY(axl_config_flag(config, "mlp_bias", false, &arch->mlp_bias));
out:
    return status;
}

const axl_family axl_family_llama = {.model_type = "llama", .read_config = read_config};
