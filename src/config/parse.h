// From YAML nodes to typed fields by the key tables. Internal to src/config.
#ifndef AXL_CONFIG_PARSE_H
#define AXL_CONFIG_PARSE_H

#include "src/config/config.h"
#include "src/config/key.h"

typedef struct axl_config_reader {
    axl_yaml *scratch;            // lists and default values are taken from it
    axl_diagnostics *diagnostics; // findings go here
} axl_config_reader;

// Fills *base (a structure of the block) with defaults and then with the keys of map (NULL: only defaults).
//   path  "" or the name of the block in messages, "datasets[0]"
//   quiet the block itself was reported as not supported: do not report its keys again
// Faults of the input become findings; fails with AXL_E_MEMORY only.
axl_status axl_config_read_block(axl_config_reader *r, const axl_block *block, void *base,
                                 const axl_yaml_node *map, const char *path, bool quiet);

// Puts the command line's overrides into the document. Faults become findings.
axl_status axl_config_override(axl_yaml *y, const char *const *arguments, int n, bool strict,
                               axl_diagnostics *diagnostics);

#endif
