// What the commands that look at data have in common: ranks, configuration, prepared sets.
#ifndef AXL_LAUNCH_DATA_COMMAND_H
#define AXL_LAUNCH_DATA_COMMAND_H

#include "src/train/data_setup.h"

// An option of a command: `--name` (sets *flag) or `--name VALUE` (sets *value).
typedef struct axl_command_option {
    const char *name; // with its dashes
    bool *flag;
    const char **value;
} axl_command_option;

// Splits arguments into the configuration file, the command's own options and overrides of keys.
typedef struct axl_command_line {
    const char *path;  // borrowed from argv
    const char **rest; // [n_rest], owned array: overrides
    int n_rest;
    bool help;
} axl_command_line;

axl_status axl_command_line_parse(int argc, char **argv, const axl_command_option *options,
                                  int n_options, axl_command_line *out);
void axl_command_line_fini(axl_command_line *l);

typedef struct axl_data_command {
    axl_comm *world;     // owned
    axl_config *config;  // owned
    axl_data_setup data; // owned
} axl_data_command;

// Starts the ranks, reads the configuration and prepares the data. Warnings are printed once. Collective on the
// world.
axl_status axl_data_command_begin(const axl_command_line *l, bool refresh, axl_data_command *d);
// Prints the failure, if there was one, and returns the exit code.
int axl_data_command_end(axl_data_command *d, const char *name, axl_status status);

#endif
