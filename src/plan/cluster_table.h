// The table that the build makes from configs/clusters/*.yaml; used by cluster.c alone.
#ifndef AXL_PLAN_CLUSTER_TABLE_H
#define AXL_PLAN_CLUSTER_TABLE_H

typedef struct axl_cluster_row {
    const char *name;
    const unsigned char *text; // NUL-terminated
} axl_cluster_row;

extern const axl_cluster_row axl_cluster_rows[]; // ends with a NULL name

#endif
