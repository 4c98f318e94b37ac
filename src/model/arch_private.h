// Helpers that families share for reading config.json. Messages name the key.
#ifndef AXL_MODEL_ARCH_PRIVATE_H
#define AXL_MODEL_ARCH_PRIVATE_H

#include "src/model/arch.h"

#define AXL_FAMILY(name) extern const axl_family axl_family_##name;
#include "src/model/families/families.def"
#undef AXL_FAMILY

// A key's value; a missing or null key gives `otherwise`; another kind is AXL_E_INPUT.
axl_status axl_config_int(const axl_json *config, const char *key, int64_t otherwise, int64_t *out);
axl_status axl_config_real(const axl_json *config, const char *key, double otherwise, double *out);
axl_status axl_config_flag(const axl_json *config, const char *key, bool otherwise, bool *out);

// Whether layer_types names layer i; the answer is in *sliding. Returns false when the key is absent.
bool axl_config_layer_is_sliding(const axl_json *config, int i, bool *sliding);

// sliding_window as it stands; 0 when it is absent. AXL_E_INPUT when it is negative or too large.
axl_status axl_config_window(const axl_json *config, int32_t *out);

// Qwen's rule: layers from max_window_layers on slide when use_sliding_window is true; layer_types wins.
axl_status axl_config_qwen_windows(const axl_json *config, axl_arch *arch);

// The keys that mixtures share: experts, those of a token (default_k), auxiliary loss. width, renormalize, names and
// the sparse layers are the family's. AXL_E_INPUT, AXL_E_UNSUPPORTED.
axl_status axl_config_moe(const axl_json *config, int64_t default_experts, int64_t default_k,
                          axl_arch *arch);

#endif
