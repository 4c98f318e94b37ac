// Validation rules over the typed keys, and what follows from them. Internal to src/config.
#ifndef AXL_CONFIG_RULES_H
#define AXL_CONFIG_RULES_H

#include "src/config/config.h"

// Runs every rule in order. Findings go to `diagnostics`.
void axl_config_check(const axl_config *c, const axl_config_options *options,
                      axl_diagnostics *diagnostics);

// Fills c->derived and the keys whose default depends on others. After axl_config_check, without errors.
void axl_config_derive(axl_config *c, const axl_config_options *options);

// When the run saves and evaluates, as far as the keys tell: save_when, save_every, eval_when, eval_every,
// eval_at_start and load_best of *out. Of any keys, good or not.
void axl_config_when(const axl_config *c, axl_derived *out);

// The place of a key in the file, "rl" or "trl.beta"; of its block, or of the file alone, when it is absent.
axl_place axl_config_place(const axl_config *c, const char *key);

// ---- attn_impl.c ----

// Of a canonical name, or of org/name when some kernel here is near to it; false for anything else.
bool axl_attn_impl_find(const char *name, axl_attn_named *out);
// The canonical spelling of a short alias ("flash", "fa2", ...), or NULL.
const char *axl_attn_impl_alias(const char *name);
// The names as "eager, sdpa, ... or fp8".
axl_status axl_attn_impl_names(axl_str *out);

// ---- mesh.c ----

typedef struct axl_mesh_fault {
    const char *key; // that should be changed; borrowed
    char text[480];  // what does not fit, and what would
} axl_mesh_fault;

// Solves the mesh: sizes that are given hold, dp_shard takes the rest; when it is given, dp_replicate does.
// False, with the fault, when they do not multiply to n_ranks. n_ranks 0: not known, the rest is 1.
bool axl_config_mesh(const axl_config *c, int n_ranks, axl_mesh_sizes *out, axl_mesh_fault *fault);

// ---- deprecated.c ----

// Maps deprecated keys onto their successors, one warning each. Fails with AXL_E_MEMORY only.
axl_status axl_config_modernise(axl_config *c, axl_diagnostics *diagnostics);

#endif
