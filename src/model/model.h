// A model: its programs, and its units of weights over the ranks.
//
// Units in order: the embedding, the decoder layers, then the final norm with the output head. Layers of one kind
// share one program. A tied head borrows the embedding's matrix.
#ifndef AXL_MODEL_MODEL_H
#define AXL_MODEL_MODEL_H

#include "sharding/unit.h"
#include "src/io/hfdir.h"
#include "src/model/arch.h"
#include "src/model/program.h"

typedef struct axl_model {
    axl_arch arch;         // owned
    axl_program *programs; // [n_programs], owned: embedding, head, then the kinds of layers
    int n_programs;
    axl_unit *units;    // [n_units], owned
    int n_units;        // n_layers + 2
    axl_param *lm_head; // borrowed: the matrix [V, D] of the output head, tied or its own
    int64_t n_elements; // of all weights, a tied matrix once
} axl_model;

#define AXL_PROGRAM_EMBEDDING 0
#define AXL_PROGRAM_HEAD      1

// Builds programs and units for arch (taken over, also on failure) and cuts every weight over comm. No memory
// for weights is taken here (axl_sharder_init does). Local.
axl_status axl_model_create(axl_arch *arch, axl_comm *comm, axl_model **out);
void axl_model_destroy(axl_model *m); // NULL-safe

// The program of a unit, and its index for tables by program.
static inline const axl_program *axl_model_program(const axl_model *m, const axl_unit *u)
{
    return &m->programs[u->program];
}

// All weights in the order of units; i in [0, axl_model_n_params).
int axl_model_n_params(const axl_model *m);
axl_param *axl_model_param(const axl_model *m, int i);

// Reads this rank's rows of every weight from a Hugging Face directory into the masters. Fails with AXL_E_INPUT
// naming the tensor that is missing or has another shape than config.json says. Local.
axl_status axl_model_load(axl_model *m, const axl_hfdir *dir);

// Writes the masters as a Hugging Face directory: every rank its rows, streaming; dir must exist. source is the
// directory the model came from (side files are copied from it; an untouched model comes out byte-equal).
// Collective on comm. AXL_E_IO.
axl_status axl_model_save(const axl_model *m, axl_comm *comm, const axl_hfdir *source,
                          const char *dir);

#endif
