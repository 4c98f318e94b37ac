// A tiny model of tests/data/families set up for training, and its comparison with the reference.
#ifndef AXL_TESTS_TRIAL_H
#define AXL_TESTS_TRIAL_H

#include "src/io/hfdir.h"
#include "src/io/json.h"
#include "src/model/pass.h"
#include "src/model/router.h"
#include "src/model/traffic.h"
#include "src/optim/optim.h"
#include "tests/check.h"

typedef struct trial_options {
    const char *backend; // of axl_device_options
    axl_checkpointing mode;
    bool reshard;
    int micro_steps; // documents are dealt over the ranks with data of their own and micro-steps
    int mesh[AXL_N_AXES]; // zeros: all ranks along dp_shard
    bool reduce_bf16;
    int64_t invariant;
    double aux_coef; // of the router's loss, instead of the configuration's; 0: that one
    axl_ring_schedule ring;
    const axl_attn_choice *attention; // NULL: exact and causal
    const int32_t
        *lengths; // [n_lengths] of made-up documents instead of the reference's row; NULL: that row
    int n_lengths;
    int n_layers; // instead of the case's, with random weights; 0: as they are
    axl_graph_use graphs;
    axl_offload_what offload;
    bool offload_state, bf16, fp8;
    bool all_trained; // of made-up documents: every token that can be
} trial_options;

typedef struct trial {
    char dir[512];
    char where[600]; // the case, for messages
    trial_options options;
    axl_comm *comm; // borrowed
    axl_mesh *mesh;
    axl_device *device;
    axl_hfdir *hf;
    axl_model *model;
    axl_sharder sharder;
    axl_work work;
    axl_safetensors *golden;
    axl_json *meta;
    int32_t *ids, *labels, *positions, *cu; // of one micro-batch
    int32_t *part[3];                       // ids, labels and positions of this rank's tokens of it
    axl_cp_layout layout;
    void *layout_memory;
    const int32_t *row_ids, *row_labels, *row_cu; // the whole row
    int64_t n_tokens, n_docs;
    int32_t *made;       // owned: a made-up row
    int64_t n_trained;   // of the whole row
    axl_traffic traffic; // what the last run should have sent
} trial;

// Opens case `name` on comm (borrowed) and loads it; every rank calls it.
void trial_begin(trial *t, const char *name, axl_comm *comm, const trial_options *o);
void trial_end(trial *t);

// One step's forward and backward over all micro-steps; returns the mean loss over all ranks.
double trial_run(trial *t);

// This rank's rows of every gradient against the reference; and of the parameters against "<what>/<tensor>".
void trial_check_gradients(const trial *t);
void trial_check_params(const trial *t, const char *what);

// The bytes that this rank counted in the last run are those of the formulas.
void trial_check_traffic(const trial *t);

// n AdamW steps with the reference's settings; losses [n] gets that before each.
void trial_train(trial *t, int n, double *losses);

// Every tensor of t within 1e-4 of its norm of that of solo, the same model on one rank.
void trial_check_same(const trial *t, const trial *solo);

// Five AdamW steps as the reference took them, checking losses and parameters.
void trial_check_steps(trial *t);

// A number of golden.json, also inside "adamw".
double trial_meta(const trial *t, const char *key);

#endif
