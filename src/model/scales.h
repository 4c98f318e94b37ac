// Standard deviations of whole tensors whose parts lie on many ranks, and their scaling.
#ifndef AXL_MODEL_SCALES_H
#define AXL_MODEL_SCALES_H

#include "src/model/model.h"

// std [n]: the unbiased standard deviation of each tensor chosen [n] (indices of m->tensors) as the masters are now,
// 0 for one of equal numbers. Every element counts once, wherever it lies and however often; sums are exact, so any
// layout gets the same bits. AXL_E_INPUT when a tensor holds NaN or infinity. Collective on the mesh's world.
axl_status axl_model_stds(const axl_model *m, const int *chosen, int n, double *std);

// Multiplies this rank's part of a tensor, also where it is a copy of another's. Local. AXL_E_MEMORY, AXL_E_DEVICE.
axl_status axl_model_scale(axl_model *m, int tensor, float factor);

#endif
