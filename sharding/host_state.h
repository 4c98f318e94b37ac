// Masters and moments in host memory, beside a device with memory of its own (option offload of unit.h).
//
// A second, host axl_device updates them. What a gather sends - the shard in the compute dtype - is made on the host once
// a step and copied up on the gather stream as often as its unit is gathered. Gradients are summed on the device and come
// down once, for the update.
#ifndef AXL_SHARDING_HOST_STATE_H
#define AXL_SHARDING_HOST_STATE_H

#include "sharding/unit.h"

// Bytes of host memory for shards of `shard` bytes in f32, n_fp8 of them of fp8 weights.
size_t axl_host_state_bytes(const axl_sharder_options *o, size_t shard, int n_fp8);

// Makes the host device and takes its memory; masters and moments are zeros. AXL_E_MEMORY. Local.
axl_status axl_host_state_take(axl_sharder *s);
void axl_host_state_free(axl_sharder *s); // nothing may be on its way

// Points p at element e of the host's arrays.
void axl_host_state_point(const axl_sharder *s, axl_param *p, int64_t e);

// Puts the largest magnitudes of this rank's shards of fp8 weights where the device has its own (amax).
axl_status axl_host_state_amax(axl_sharder *s);
// After those of all ranks were joined there: the host knows them, and the device the scales. Waits for compute.
axl_status axl_host_state_take_amax(axl_sharder *s);

// Queues on the gather stream what p's shard is in the compute dtype, to `own` on the device.
axl_status axl_host_state_send(axl_sharder *s, axl_param *p, void *own);

#endif
