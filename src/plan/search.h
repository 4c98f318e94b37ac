// The layouts that a number of ranks could have, ranked by predicted time: every way to share the ranks among the axes
// that the model allows, with every micro-batch size that keeps the rows of a step, every checkpointing mode, and
// weights kept or gathered again. And the cheapest mend of a layout that does not fit.
#ifndef AXL_PLAN_SEARCH_H
#define AXL_PLAN_SEARCH_H

#include "src/plan/forecast.h"

enum { AXL_SEARCH_ROWS = 8 };

typedef struct axl_search_row {
    int mesh[AXL_N_AXES];
    int64_t micro_batch_size, accumulation;
    axl_checkpointing mode;
    bool reshard;
    axl_offload_what offload; // of activations
    bool offload_state;       // weights and moments are the host's
    int n_changes; // keys that differ from those asked for, dp_shard_size apart, which takes the rest
    axl_forecast forecast;
    char why[160]; // what its time goes to, beside the layout asked for
} axl_search_row;

typedef struct axl_search {
    axl_search_row best[AXL_SEARCH_ROWS]; // [n_best], fastest first, one for each mesh
    int n_best;
    int64_t n_tried, n_fit; // jobs
    // Found among layouts that keep what asked keeps on the host, and among those that keep nothing there; when nothing fits
    // and the device has memory of its own, also among those that do.
    axl_search_row
        mend; // the fastest that fits, where each key that changes costs a tenth of the time
    bool has_mend;
    int64_t ranks_needed; // nothing fits: ranks with which something does; 0: not found either
    int tp_needed;        // and along tp
} axl_search;

// Rows of a step stay those of data and asked. Layouts with tp over several nodes are left out: two sums a layer
// over the network are never the best; so are those with cp above 1024 that nobody asked for. AXL_E_MEMORY. Local.
axl_status axl_search_run(const axl_arch *arch, const axl_cluster *cluster,
                          const axl_forecast_data *data, const axl_forecast_job *asked,
                          axl_search *out);

#endif
