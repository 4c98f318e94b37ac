// normalize_weight_scales: before the first step, tensors whose standard deviation is far from that of their like are
// multiplied to the median of them.
#ifndef AXL_TRAIN_WEIGHT_SCALES_H
#define AXL_TRAIN_WEIGHT_SCALES_H

#include "src/config/config.h"
#include "src/model/model.h"

// The first name_pattern that is not a regular expression: AXL_E_CONFIG, *node (may be NULL) is where it stands. Local.
axl_status axl_weight_scales_check(const axl_config *c, const axl_yaml_node **node);

// Applies the rules one after the other to the masters, and says what was found: a line a rule, and one an outlier.
// Every rank comes to the same. Collective on the mesh's world. AXL_E_INPUT for weights that are not finite.
axl_status axl_weight_scales_apply(const axl_config *c, axl_model *m);

#endif
