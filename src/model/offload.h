// Activations of layers on the host between forward and backward, for devices with memory of their own.
//
// What a layer keeps for backward - its input, and what the save set keeps - lies in one of AXL_OFFLOAD_PLACES places on
// the device that units take in turn. After its forward it is copied to pinned host memory on a stream of its own; in
// backward it comes back to the same place while the units after it compute. The last units stay where they are.
// Nothing is computed differently, so nothing changes in a result.
#ifndef AXL_MODEL_OFFLOAD_H
#define AXL_MODEL_OFFLOAD_H

#include "src/model/work.h"

// Bytes of host memory for what w's units keep; w needs its plans and options only.
size_t axl_offload_bytes(const axl_work *w);

// *out is NULL when the options do not ask for it. AXL_E_MEMORY.
axl_status axl_offload_create(axl_work *w, axl_offload **out);
void axl_offload_destroy(axl_offload *o); // NULL-safe; waits for its copies

// Around forward and backward of unit u, in their order; w->offload may be NULL. Local, host does not wait.
axl_status axl_offload_before_forward(axl_work *w, int u);
axl_status axl_offload_after_forward(axl_work *w, int u);
axl_status axl_offload_before_backward(axl_work *w, int u);
axl_status axl_offload_after_backward(axl_work *w, int u);

#endif
