// From the data keys of the configuration to tokenizer, prepared sets, sample lists and loaders; shared by the
// trainer and by the commands that look at data.
//
// Rank 0 prepares; the others wait and map the same files, so the folder of prepared sets must be visible to all
// of them.
#ifndef AXL_TRAIN_DATA_SETUP_H
#define AXL_TRAIN_DATA_SETUP_H

#include "comm/mesh.h"
#include "comm/ring_attention.h"
#include "src/config/config.h"
#include "src/data/loader.h"
#include "src/data/prepare.h"
#include "src/text/tokenizer.h"
#include "src/train/vocabulary.h"

typedef struct axl_data_setup {
    char *model_dir;           // owned; base_model, or the folder a .gguf was imported to
    axl_tokenizer *tokenizer;  // owned; NULL when the model directory has none
    axl_vocabulary vocabulary; // owned; what the tokenizer makes of the model
    axl_prepared *set;         // owned; datasets
    axl_prepared *test_set;    // owned; test_datasets; NULL without them
    axl_sample_list train;     // owned
    axl_sample_list eval; // owned; of test_set, or the validation part of set; n 0: no evaluation
    bool made;            // rank 0: set was made now, not found
    struct axl_stream_setup
        *stream; // owned; training data that are streamed; then set is NULL and train empty
} axl_data_setup;

typedef struct axl_data_setup_options {
    bool refresh;   // make the prepared sets again
    bool eval_only; // no training set is needed when test_datasets is given
    int n_threads; // of all ranks of a host: they may prepare while the others wait; 0: its processors
} axl_data_setup_options;

// Opens the model directory and its tokenizer, prepares or opens the sets, splits them. options may be NULL.
// Collective on world; on failure every rank has the same status and message.
axl_status axl_data_setup_make(const axl_config *c, axl_comm *world, axl_data_setup *out);
axl_status axl_data_setup_make_with(const axl_config *c, axl_comm *world,
                                    const axl_data_setup_options *options, axl_data_setup *out);
void axl_data_setup_fini(axl_data_setup *d); // NULL-safe on its members

// Whether the training data are streamed: streaming, or pretraining_dataset.
bool axl_data_setup_streams(const axl_config *c);

// How the bins of training (or evaluation) are formed.
axl_plan_options axl_data_setup_plan(const axl_config *c, bool eval);

// The schedule of ring attention that ring_attn_func names.
axl_ring_schedule axl_data_setup_ring(const axl_config *c);

// The bins of training, of the prepared set or the stream; d must outlive the feed. Local.
axl_status axl_data_setup_feed(const axl_data_setup *d, const axl_config *c, axl_feed **out);

// The loader of this rank of the mesh, which may be imagined. Local.
axl_status axl_data_setup_loader(const axl_data_setup *d, const axl_config *c, const axl_mesh *mesh,
                                 axl_loader **out);
// The same for evaluation: in order, once. *out is NULL when there is nothing to evaluate on.
axl_status axl_data_setup_eval_loader(const axl_data_setup *d, const axl_config *c,
                                      const axl_mesh *mesh, axl_loader **out);

// Writes the samples of the training set as JSON lines (axl_dump_all). Local; for rank 0.
axl_status axl_data_setup_dump(const axl_data_setup *d, const axl_config *c, const char *path);

// Logs what the sets hold. Local; for rank 0.
axl_status axl_data_setup_report(const axl_data_setup *d);

#endif
