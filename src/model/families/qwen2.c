// Qwen 2 and 2.5: biases on q, k, v; sliding windows on the layers from max_window_layers on.
#include "src/model/arch_private.h"

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    arch->q_bias = arch->k_bias = arch->v_bias = true;
    return axl_config_qwen_windows(config, arch);
}

const axl_family axl_family_qwen2 = {.model_type = "qwen2", .read_config = read_config};
