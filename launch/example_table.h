// The table that the build makes from configs/examples/*.yaml; used by cmd_fetch.c alone.
#ifndef AXL_LAUNCH_EXAMPLE_TABLE_H
#define AXL_LAUNCH_EXAMPLE_TABLE_H

typedef struct axl_example_row {
    const char *name;          // without .yaml
    const unsigned char *text; // NUL-terminated
} axl_example_row;

extern const axl_example_row axl_example_rows[]; // ends with a NULL name

#endif
