// Running one unit of a pass, and repeating it as a graph where the device can (device.h): then a unit's forward or
// backward is one launch for the host instead of one for each of its kernels.
//
// A graph is a unit's: collectives stand between units, on other streams, and stay outside. What changes from batch to
// batch is read on the device, so a graph is good for every batch of the same number of tokens; the number of
// documents and the longest of them, which size launches, are rounded up (axl_graphs_round). Units that exchange rows
// or wait in their middle (experts, tensor and context parallelism) are queued kernel by kernel as ever.
#ifndef AXL_MODEL_GRAPHS_H
#define AXL_MODEL_GRAPHS_H

#include "src/model/work.h"

// The graphs of w's units; *out is NULL where the device has none, no unit repeats, or the options say no. The model's
// sharder must be the only one that w's units get weights from. AXL_E_MEMORY.
axl_status axl_graphs_create(const axl_work *w, axl_graphs **out);
void axl_graphs_destroy(axl_graphs *g); // NULL-safe; waits for the compute stream

// Kernels of all graphs that w's units may hold at once, roughly and at most; 0: they are not repeated. Of a w that is
// imagined, as a device that can repeat them would hold them.
int64_t axl_graphs_most_kernels(const axl_work *w);

// Rounds what sizes launches up to powers of two, at most n_seqs and max_seqlen of the plan. g may be NULL: it leaves
// them alone.
void axl_graphs_round(const axl_graphs *g, int32_t *n_seqs, int32_t *max_seqlen);

// Forward or backward of unit u, [0, n_units - 1), whose weights are gathered, on the batch of w.
axl_status axl_graphs_run(axl_work *w, int u, bool backward);

#endif
