// From the keys of the configuration to the options that decide memory and traffic; shared by the trainer, which takes
// what they say, and by the plan, which only says it.
#ifndef AXL_TRAIN_SETTINGS_H
#define AXL_TRAIN_SETTINGS_H

#include "sharding/unit.h"
#include "src/config/config.h"
#include "src/model/work.h"

axl_sharder_options axl_settings_sharder(const axl_config *c, bool train);

// All but the capacities (n_tokens, whole_tokens, n_seqs), which follow from the data. offload, here and of the sharder, is
// what the keys say: it is of no use where the device's memory is the host's.
axl_work_options axl_settings_work(const axl_config *c, bool train);

// Puts what the run chooses into the arch: products in 8 bits, attention's kernel, mask, and the longest document. AXL_E_CONFIG names the
// implementation when it cannot serve this model or these axes.
axl_status axl_settings_attention(const axl_config *c, int n_cp, axl_arch *arch);

// What the mesh asks of the model, beyond what places its weights (axl_model_create). AXL_E_CONFIG.
axl_status axl_settings_check(const axl_config *c, const axl_arch *arch, int n_cp, int n_tp);

#endif
