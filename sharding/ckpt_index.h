// index.h5: writing it and reading its manifest. Private to sharding/.
#ifndef AXL_SHARDING_CKPT_INDEX_H
#define AXL_SHARDING_CKPT_INDEX_H

#include "sharding/ckpt_impl.h"
#include "src/io/json.h"

// Writes path from what all ranks told: parts [world][o->n_tensors]. AXL_E_BUG when those of a
// tensor do not cover it once.
axl_status axl_ckpt_write_index(const char *path, const axl_ckpt_options *o, int world,
                                const int64_t *shard_bytes, const axl_ckpt_part *parts);

#endif
