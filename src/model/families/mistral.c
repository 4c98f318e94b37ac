// Mistral: Llama without biases; one sliding window for all layers when sliding_window is given.
#include "src/model/arch_private.h"

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    int32_t window = 0;

    AXL_TRY(axl_config_window(config, &window));
    for (int i = 0; i < arch->n_layers; i++)
        arch->layers[i].window = window;
out:
    return status;
}

const axl_family axl_family_mistral = {.model_type = "mistral", .read_config = read_config};
