// Data sets of the Hugging Face hub by name, in a local mirror: nothing is downloaded.
#ifndef AXL_DATA_HUB_H
#define AXL_DATA_HUB_H

#include "src/base/str.h"
#include "src/data/dataset.h"

// Appends the folder of the data set spec->path ("org/name"): M/datasets/org/name, or the snapshot of
// spec->revision (main when NULL) in M/hub/datasets--org--name, as `hf download` leaves it. M is
// spec->hub_folder, or .cache/huggingface in the home directory when that is NULL.
// AXL_E_INPUT with the folder to put it in.
axl_status axl_hub_find(const axl_dataset_spec *spec, axl_str *out);

#endif
