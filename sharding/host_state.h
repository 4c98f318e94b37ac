// Masters and moments in host memory, beside a device with memory of its own (option offload of unit.h).
//
// A second, host axl_device updates them. What a gather sends - the shard in the compute dtype - is made on the host once
// a step and copied up on the gather stream as often as its unit is gathered. Gradients are summed on the device and come
// down once, for the update.
#ifndef AXL_SHARDING_HOST_STATE_H
#define AXL_SHARDING_HOST_STATE_H

#include "sharding/unit.h"

// Bytes of host memory for shards of `shard` bytes in f32.
size_t axl_host_state_bytes(const axl_sharder_options *o, size_t shard);

// Makes the host device and takes its memory; masters and moments are zeros. AXL_E_MEMORY. Local.
axl_status axl_host_state_take(axl_sharder *s);
void axl_host_state_free(axl_sharder *s); // nothing may be on its way

// Points p at element e of the host's arrays.
void axl_host_state_point(const axl_sharder *s, axl_param *p, int64_t e);

// Queues on the gather stream what p's shard is in the compute dtype, to `own` on the device.
axl_status axl_host_state_send(axl_sharder *s, axl_param *p, void *own);

#endif
