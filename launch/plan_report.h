// What `axl-dist plan` prints: tables for people, an object for machines.
#ifndef AXL_LAUNCH_PLAN_REPORT_H
#define AXL_LAUNCH_PLAN_REPORT_H

#include "src/plan/search.h"

typedef struct axl_plan_report {
    const char *family; // borrowed
    int64_t n_ranks, n_nodes;
    const char *why_cluster; // borrowed; NULL: --cluster names it
    axl_cluster cluster;
    axl_forecast_data data;
    axl_forecast_job job;
    axl_forecast forecast;
    bool searched; // --search: best is shown; the mend always
    axl_search search;
} axl_plan_report;

axl_status axl_plan_text(const axl_plan_report *r, axl_str *out);
axl_status axl_plan_json(const axl_plan_report *r, axl_str *out);

// One class of memory, in the order of the table; false behind the last. bytes 0: not in this run.
typedef struct axl_plan_memory {
    const char *key, *what; // of the JSON; for people
    size_t bytes;
    bool estimated; // a library's or the driver's own; else what the run counts
} axl_plan_memory;
bool axl_plan_memory_at(const axl_plan_report *r, int i, axl_plan_memory *out);

// Whether the mend is worth a line: the plan does not fit, or changes of a few keys save AXL_PLAN_GAIN of its time.
#define AXL_PLAN_GAIN 0.03
bool axl_plan_mends(const axl_plan_report *r);

// "none", "selective", "full".
const char *axl_plan_mode_name(axl_checkpointing mode);

#endif
