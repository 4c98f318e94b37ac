// What unit.c and unit_grads.c share; private to sharding/.
#ifndef AXL_SHARDING_UNIT_IMPL_H
#define AXL_SHARDING_UNIT_IMPL_H

#include "kernels/kernels.h"
#include "sharding/unit.h"
#include "src/base/mem.h"

enum { AXL_UNIT_MAX_USES = 64 };

static inline int axl_unit_region(const axl_unit *u)
{
    return u->layer < 0 ? 0 : 1 + u->layer % 2;
}

// Whether backward writes into the shard itself.
static inline bool axl_unit_writes_shard(const axl_param *p)
{
    return p->n_shards == 1;
}

static inline bool axl_unit_owns(const axl_unit *u, const axl_param *p)
{
    return u->n_params > 0 && p >= u->params && p < u->params + u->n_params;
}

static inline size_t axl_unit_full_bytes(const axl_param *p, size_t element)
{
    return axl_align_up((size_t)axl_param_full_count(p) * element);
}

// Whether use j lies before use k in the unit's region: a tied matrix comes first, so that embedding and head
// agree on its place.
static inline bool axl_unit_lies_before(const axl_unit *u, int j, int k)
{
    return u->uses[j]->tied != u->uses[k]->tied ? u->uses[j]->tied : j < k;
}

// ---- conversions that go together

typedef struct axl_unit_casts {
    axl_cast_args items[32];
    int n, n_blocks; // axl_cast_list_args
    int64_t dst_stride;
} axl_unit_casts;

axl_status axl_unit_add_cast(axl_sharder *s, axl_unit_casts *c, const axl_cast_args *a);
axl_status axl_unit_flush_casts(axl_sharder *s, axl_unit_casts *c);

// ---- a grouped collective over the comms of several params

// What s gets next comes after what compute has been given.
axl_status axl_unit_after_compute(axl_stream *s);

// Opens and closes groups so that neighbours of one comm travel together, on stream s. NULL closes the last. What a
// group sends has been made by compute, which also has read what lay where it arrives.
axl_status axl_unit_switch_group(axl_stream *s, axl_comm **open, axl_comm *next);

// ---- gradients (unit_grads.c)

// The sizes of the three regions of full gradients in f32, and of the copies that are sent. [3] is 0.
void axl_unit_grad_sizes(const axl_unit *units, int n_units, size_t size[4]);
void axl_unit_send_sizes(const axl_unit *units, int n_units, const axl_sharder_options *o,
                         size_t size[4]);

// A shard that nothing was added to must read as zero.
axl_status axl_unit_clear_unwritten(axl_sharder *s, axl_param *p);

#endif
