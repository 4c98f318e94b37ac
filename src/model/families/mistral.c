// Mistral: Llama without biases; one sliding window for all layers when sliding_window is given.
#include "src/model/arch_private.h"

static axl_status read_config(const axl_json *config, axl_arch *arch)
{
    axl_status status = AXL_OK;
    int64_t window = 0;

    AXL_TRY(axl_config_int(config, "sliding_window", 0, &window));
    AXL_REQUIRE(window >= 0 && window <= INT32_MAX, AXL_E_INPUT, "sliding_window is out of range");
    for (int i = 0; i < arch->n_layers; i++)
        arch->layers[i].window = (int32_t)window;
out:
    return status;
}

const axl_family axl_family_mistral = {.model_type = "mistral", .read_config = read_config};
