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

// One tensor on disk: a param, or one matrix of a stack of experts.
typedef struct axl_model_tensor {
    axl_param *param; // borrowed
    int mat;
    char *key; // owned
} axl_model_tensor;

typedef struct axl_model {
    axl_arch arch;         // owned
    axl_program *programs; // [n_programs], owned: embedding, head, then the kinds of layers
    int n_programs;
    axl_unit *units; // [n_units], owned
    int n_units;     // n_layers + 2
    axl_param
        *lm_head;   // borrowed: this rank's words [V / tp, D] of the output head, tied or its own
    axl_mesh *mesh; // borrowed
    int64_t n_elements; // of all weights, a tied matrix once
    axl_param **params; // [n_params], owned array: of all units, in order
    int n_params;
    axl_model_tensor
        *tensors; // [n_tensors], owned: what the params are on disk, in the same order; none on an
                  // imagined mesh
    int n_tensors;
} axl_model;

#define AXL_PROGRAM_EMBEDDING 0
#define AXL_PROGRAM_HEAD      1

// Whether tp and ep divide the model; axl_model_create says why they do not.
bool axl_model_fits(const axl_arch *a, int tp, int ep);

// Builds programs and units for arch (taken over, also on failure) and places every weight on mesh, which may be
// imagined. No memory for weights is taken here (axl_sharder_init does). AXL_E_CONFIG when an axis does not
// divide the model. Collective on mesh.
axl_status axl_model_create(axl_arch *arch, axl_mesh *mesh, axl_model **out);
// Places every weight anew when the sizes of the model's imagined mesh have changed in other axes than tp and ep.
// As axl_param_place. Local.
axl_status axl_model_place(axl_model *m);

void axl_model_destroy(axl_model *m); // NULL-safe

// The program of a unit, and its index for tables by program.
static inline const axl_program *axl_model_program(const axl_model *m, const axl_unit *u)
{
    return &m->programs[u->program];
}

// All weights in the order of units; i in [0, axl_model_n_params).
static inline int axl_model_n_params(const axl_model *m)
{
    return m->n_params;
}
static inline axl_param *axl_model_param(const axl_model *m, int i)
{
    return m->params[i];
}

// Reads this rank's rows of every weight from a Hugging Face directory into the masters. Fails with AXL_E_INPUT
// naming the tensor that is missing or has another shape than config.json says. Rows of the vocabulary beyond
// arch.file_vocab are left alone (resize.h). Local.
axl_status axl_model_load(axl_model *m, const axl_hfdir *dir);

// Writes the masters as a Hugging Face directory: every rank its rows, streaming; dir must exist. source is the
// directory the model came from (side files are copied from it; an untouched model comes out byte-equal).
// Collective on the mesh's world. AXL_E_IO.
axl_status axl_model_save(const axl_model *m, const axl_hfdir *source, const char *dir);

#endif
