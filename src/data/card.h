// The card of a data set of the hub: the YAML at the head of its README.md, which names configurations and the
// files of their splits.
#ifndef AXL_DATA_CARD_H
#define AXL_DATA_CARD_H

#include "src/data/folder.h"

// Adds the files that the card in folder names for a configuration; name NULL: the only one, or the default
// one. *found is false when there is no card, or it names no files or not this configuration.
// AXL_E_INPUT: it names several and none is the default, or files that are not there.
axl_status axl_card_files(const char *folder, const char *name, axl_split_files *f, bool *found);

#endif
