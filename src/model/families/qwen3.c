// Qwen 3: an RMS norm over each query and key head before rope; head_dim is a key of its own.
#include "src/model/arch_private.h"

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    bool bias = false;
    int64_t head_dim = 0;

    arch->qk_norm = AXL_QK_NORM_HEAD;
    AXL_TRY(axl_config_flag(config, "attention_bias", false, &bias));
    arch->q_bias = arch->k_bias = arch->v_bias = arch->o_bias = bias;
    AXL_TRY(axl_config_int(config, "head_dim", 0, &head_dim));
    AXL_REQUIRE(head_dim > 0, AXL_E_INPUT, "head_dim is missing");
    AXL_TRY(axl_config_qwen_windows(config, arch));
out:
    return status;
}

const axl_family axl_family_qwen3 = {.model_type = "qwen3", .read_config = read_config};
