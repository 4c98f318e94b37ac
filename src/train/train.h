// The trainer: everything a run owns, built from the configuration in order and torn down in reverse.
//
// axl_trainer is a plain struct that the files of this directory share: trainer.c builds it, step.c makes one
// optimizer step, eval.c measures, metrics.c reports, resume.c saves and restores.
#ifndef AXL_TRAIN_TRAIN_H
#define AXL_TRAIN_TRAIN_H

#include "sharding/unit.h"
#include "src/config/config.h"
#include "src/data/loader.h"
#include "src/methods/method.h"
#include "src/model/pass.h"
#include "src/model/resize.h"
#include "src/model/router.h"
#include "src/model/traffic.h"
#include "src/optim/optim.h"
#include "src/train/data_setup.h"

#include <signal.h>
#include <stdio.h>

// What the program hands to a run.
typedef struct axl_train_env {
    axl_comm *world;                     // borrowed
    axl_device *device;                  // borrowed
    const axl_config *config;            // borrowed
    const volatile sig_atomic_t *signal; // the last signal that asks for a stop; 0: none
    double start_seconds;                // axl_now() when the program began
} axl_train_env;

// What one optimizer step did, the same on all ranks.
typedef struct axl_step_report {
    int64_t step;     // 1-based
    double epoch;     // done after it, with its fraction
    double loss;      // mean over the trained tokens of the global batch
    double grad_norm; // before clipping
    double lr;        // used by it
    int64_t n_tokens, n_trained;
    double seconds;
    // the largest of all ranks:
    double exposed;      // seconds that it waited for communication
    int64_t rss_bytes;   // RssAnon + RssShmem
    axl_traffic traffic; // bytes that it sent
    double expert_load;  // copies of the busiest expert of any layer over the mean; 0: no experts
} axl_step_report;

typedef struct axl_trainer {
    axl_train_env env;
    axl_mesh *mesh;
    axl_comm_progress *progress; // NULL: none, progress is made between kernels
    axl_hfdir *source;           // the base model
    axl_data_setup data;         // tokenizer, prepared sets, sample lists
    axl_model *model;
    axl_sharder sharder;
    axl_work work;
    axl_loader *loader;
    axl_loader *eval_loader; // NULL: no evaluation set
    const axl_method *method;
    const axl_optimizer *optimizer;
    axl_schedule schedule;
    axl_hyper hyper;
    double *grad, *logp;       // [capacity of work], owned
    double *losses;            // [micro-batches of a step, of all ranks], owned
    int64_t step, total_steps; // done; of the whole run
    int64_t steps_per_epoch;
    int64_t total_tokens; // processed since the start of the first run
    int64_t save_every, eval_every, log_every;
    int watchdog_count; // log lines in a row above the threshold
    double best_eval;   // lowest eval_loss so far; infinity
    FILE *metrics;      // rank 0: metrics.jsonl
    double run_start;   // axl_now() at the first step
    int64_t first_step; // step at which this process began
    int64_t peak_rss;   // the largest RssAnon + RssShmem after any step, of all ranks
    bool agreed;        // a failure of axl_trainer_run is known to all ranks
} axl_trainer;

// The method that the configuration asks for, as `rl` or the key names it, and its name; NULL when it cannot be
// trained by yet: it has no row in methods.def. The one place that decides it.
const axl_method *axl_trainer_method(const axl_config *c, const char **name);

// Builds everything for training: checks output_dir, loads the model, prepares data, takes memory. Nothing is
// written before all checks have passed; a method that is not there fails first of all. Collective on world.
axl_status axl_trainer_create(const axl_train_env *env, axl_trainer **out);
void axl_trainer_destroy(axl_trainer *t); // NULL-safe

// Trains to the end (or to a signal: AXL_E_SIGNAL after a checkpoint), then writes the model to output_dir.
// Collective on world.
axl_status axl_trainer_run(axl_trainer *t);

// Builds model, data and memory for evaluation alone. Collective on world.
axl_status axl_trainer_create_for_eval(const axl_train_env *env, axl_trainer **out);

// ---- step.c

// One optimizer step over the next global batch. Collective on world.
axl_status axl_train_step(axl_trainer *t, axl_step_report *report);

// ---- eval.c

// Mean loss over the trained tokens of the whole evaluation set. Collective on world.
axl_status axl_train_eval(axl_trainer *t, double *loss, int64_t *n_trained);

// ---- metrics.c

axl_status axl_metrics_open(axl_trainer *t); // rank 0; drops a torn last line
// One object of metrics.jsonl, flushed, and a line for the reader.
axl_status axl_metrics_step(axl_trainer *t, const axl_step_report *r);
axl_status axl_metrics_eval(axl_trainer *t, double loss);
// Memory in place now: RssAnon + RssShmem of this process, bytes.
int64_t axl_rss_bytes(void);
// The table of planned bytes, before the first step; and what was measured beside it, at the end.
void axl_metrics_plan(const axl_trainer *t);
// What a step will send, expected and at most, before the first.
axl_status axl_metrics_traffic(const axl_trainer *t);
axl_status axl_metrics_memory(const axl_trainer *t);

// ---- watchdog.c

// AXL_E_NUMERIC when loss or norm is not finite, or the loss stayed above loss_watchdog_threshold. Local.
axl_status axl_watchdog(axl_trainer *t, const axl_step_report *r);

// ---- card.c

axl_status axl_write_card(const axl_trainer *t); // rank 0: README.md of output_dir

// ---- resume.c

// Looks at output_dir: refuses to train over old checkpoints without a resume key; restores the checkpoint that
// resume_from_checkpoint or auto_resume_from_checkpoints names. Collective on world.
axl_status axl_resume(axl_trainer *t);
axl_status axl_save_checkpoint(axl_trainer *t);

#endif
