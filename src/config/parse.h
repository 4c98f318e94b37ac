// From YAML nodes to typed fields by the key tables. Internal to src/config.
#ifndef AXL_CONFIG_PARSE_H
#define AXL_CONFIG_PARSE_H

#include "src/config/config.h"
#include "src/config/key.h"

// Keys without effect for one reason, told in one line.
typedef struct axl_key_group {
    const char *reason; // of the table
    axl_place place;    // of the first
    axl_str names;      // "a, b, c"; owned
} axl_key_group;
#define AXL_MAX_KEY_GROUPS 16

// {scratch, diagnostics} with the rest 0 is a reader; axl_config_reader_end gives its memory back.
typedef struct axl_config_reader {
    axl_yaml *scratch;                        // lists and default values are taken from it
    axl_diagnostics *diagnostics;             // findings go here
    axl_key_group groups[AXL_MAX_KEY_GROUPS]; // [n_groups]: of DeepSpeed's keys
    size_t n_groups;
    axl_key_group prefixed; // keys of fsdp_config with the old prefix, by their new names
} axl_config_reader;

// Tells the groups, a line each, and empties them.
void axl_config_reader_end(axl_config_reader *r);

// Fills *base (a structure of the block) with defaults and then with the keys of map (NULL: only defaults).
//   path  "" or the name of the block in messages, "datasets[0]"
//   quiet the block itself was reported as not supported: do not report its keys again
// Faults of the input become findings; fails with AXL_E_MEMORY only.
axl_status axl_config_read_block(axl_config_reader *r, const axl_block *block, void *base,
                                 const axl_yaml_node *map, const char *path, bool quiet);

// Reads the file that `deepspeed` names and puts its settings into the keys that mean the same; one line says
// which. Conflicts and what cannot be honoured become findings. Fails with AXL_E_MEMORY only.
axl_status axl_config_deepspeed(axl_config *c, axl_diagnostics *diagnostics);

// Puts the command line's overrides into the document. Faults become findings.
axl_status axl_config_override(axl_yaml *y, const char *const *arguments, int n, bool strict,
                               axl_diagnostics *diagnostics);

#endif
