// The trainer: everything a run owns, built from the configuration in order and torn down in reverse.
//
// axl_trainer is a plain struct that the files of this directory share: trainer.c builds it, step.c makes one
// optimizer step, eval.c measures, steer.c decides, metrics.c reports, resume.c saves and restores.
#ifndef AXL_TRAIN_TRAIN_H
#define AXL_TRAIN_TRAIN_H

#include "sharding/unit.h"
#include "src/base/trace.h"
#include "src/config/config.h"
#include "src/data/loader.h"
#include "src/io/append.h"
#include "src/io/json.h"
#include "src/io/tfevents.h"
#include "src/methods/method.h"
#include "src/model/pass.h"
#include "src/model/resize.h"
#include "src/model/router.h"
#include "src/model/traffic.h"
#include "src/optim/optim.h"
#include "src/plan/arithmetic.h"
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
    bool ends_epoch;  // it was the last of its epoch
    double loss;      // mean over the trained tokens of the global batch
    double grad_norm; // before clipping
    double lr;        // used by it
    int64_t n_tokens, n_trained;
    double flops; // of the model itself for these tokens, all ranks (arithmetic.h)
    double seconds;
    // the largest of all ranks:
    double exposed;       // seconds that it waited for communication
    int64_t memory_bytes; // of the largest rank, see axl_memory_bytes
    axl_traffic traffic;  // bytes that it sent
    double expert_load;   // copies of the busiest expert of any layer over the mean; 0: no experts
} axl_step_report;

// What one evaluation gave, bit-equal on all ranks. metric_for_best_model chooses among its numbers (steer.c).
typedef struct axl_eval_report {
    double loss;       // mean over the trained tokens of the whole set
    double perplexity; // its exponential
    int64_t n_trained; // tokens
} axl_eval_report;

// What decides when to evaluate, save and stop. All but the first line is in the checkpoint.
typedef struct axl_steer {
    int64_t save_every, eval_every; // steps; 0: not by count
    double value;                   // of the latest evaluation, in metric_for_best_model
    int64_t value_step;             // after which it was made
    double best;                    // of all evaluations after step 0
    int64_t best_step;              // 0: none
    double saved;                   // of those whose weights are in a checkpoint
    int64_t saved_step;             // 0: none
    char *saved_path;               // owned; its folder; NULL: none
    int64_t n_worse;                // evaluations in a row without improvement
} axl_steer;

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
    int64_t log_every;
    axl_arithmetic arithmetic; // of the model
    double peak_flops;         // FLOP/s of all ranks that mfu counts against; 0: not known
    axl_steer steer;
    int watchdog_count;   // log lines in a row above the threshold
    axl_append *metrics;  // owned; rank 0: metrics.jsonl
    axl_append *samples;  // owned; rank 0 with generate_samples: samples.jsonl
    axl_tfevents *events; // owned; rank 0 with use_tensorboard
    axl_trace *trace;     // owned; rank 0 within profiler_steps, which is also in work.run
    double run_start;     // axl_now() at the first step
    int64_t first_step;   // step at which this process began
    int64_t peak_memory;  // the most memory_bytes of any step
    bool agreed;          // a failure of axl_trainer_run is known to all ranks
} axl_trainer;

// The method that the configuration asks for, as `rl` or the key names it, and its name; NULL when it cannot be
// trained by yet: it has no row in methods.def. The one place that decides it.
const axl_method *axl_trainer_method(const axl_config *c, const char **name);

// Builds everything for training: checks output_dir, loads the model, prepares data, takes memory. Nothing is
// written before all checks have passed; a method that is not there fails first of all. Collective on world.
axl_status axl_trainer_create(const axl_train_env *env, axl_trainer **out);
void axl_trainer_destroy(axl_trainer *t); // NULL-safe

// Trains to the end, or until patience is lost (or to a signal: AXL_E_SIGNAL after a checkpoint), then writes the
// model, or the best of its checkpoints, to output_dir.
// Collective on world.
axl_status axl_trainer_run(axl_trainer *t);

// Builds model, data and memory for evaluation alone. Collective on world.
axl_status axl_trainer_create_for_eval(const axl_train_env *env, axl_trainer **out);

// ---- step.c

// One optimizer step over the next global batch. Collective on world.
axl_status axl_train_step(axl_trainer *t, axl_step_report *report);

// ---- eval.c

// Measures on the whole evaluation set; the report is rank 0's on all ranks. Collective on world.
axl_status axl_train_eval(axl_trainer *t, axl_eval_report *report);

// ---- samples.c

// generate_samples: goes on with the beginnings of samples of the evaluation set, tells the log and samples.jsonl.
// Collective on world.
axl_status axl_train_samples(axl_trainer *t);

// ---- profile.c; both Local, but for a failure

// Before each step: begins the trace where profiler_steps_start says so. After it: writes profiler_trace.json when the
// window, or the run, is over.
axl_status axl_profile_begin(axl_trainer *t);
axl_status axl_profile_end(axl_trainer *t, bool last);

// ---- steer.c; all Local, with the same result on every rank, where nothing else is said

// Finds the distances between evaluations and saves, once the length of the run is known. AXL_E_CONFIG when they
// do not match, AXL_E_INPUT when there is nothing to evaluate on.
axl_status axl_steer_init(axl_trainer *t);
void axl_steer_fini(axl_steer *s);
// Whether to evaluate, and to save, after the step that was just made. last: the run ends with it.
bool axl_steer_evaluates(const axl_trainer *t, bool ends_epoch, bool last);
bool axl_steer_saves(const axl_trainer *t, bool ends_epoch, bool last);
bool axl_steer_stops(const axl_trainer *t); // early_stopping_patience is used up
// Takes in an evaluation; and that the weights of this step go to a checkpoint at path.
void axl_steer_evaluated(axl_trainer *t, const axl_eval_report *r);
axl_status axl_steer_saving(axl_trainer *t, const char *path);
// The name of metric_for_best_model in metrics.jsonl.
const char *axl_steer_metric(const axl_config *c);
// Appends members to the checkpoint's state, each after a comma; takes them from that of the checkpoint `from`.
axl_status axl_steer_put(const axl_trainer *t, axl_str *meta);
axl_status axl_steer_get(axl_trainer *t, const axl_json *meta, const char *from);
// Forgets a best checkpoint that is no longer there. Collective on world.
axl_status axl_steer_check(axl_trainer *t);

// ---- metrics.c

// Files that grow with the run, of rank 0; drops torn last lines. Lines that cannot be written do not end the run
// (src/io/append.h). Closing them at its end warns of events and samples that are missing, and fails with AXL_E_IO when
// metrics are. Local.
axl_status axl_metrics_open(axl_trainer *t);
axl_status axl_metrics_close(axl_trainer *t);
// One object of metrics.jsonl and a line for the reader.
axl_status axl_metrics_step(axl_trainer *t, const axl_step_report *r);
axl_status axl_metrics_eval(axl_trainer *t, const axl_eval_report *r);
// Memory in place now, bytes: RssAnon + RssShmem of this process; of a device with memory of its own what this process
// has taken there (libraries' own memory is not seen).
int64_t axl_memory_bytes(axl_device *d);
// The table of planned bytes, before the first step; and what was measured beside it, at the end.
void axl_metrics_plan(const axl_trainer *t);
// What a step will send, expected and at most, before the first.
axl_status axl_metrics_traffic(const axl_trainer *t);
axl_status axl_metrics_memory(const axl_trainer *t);

// ---- peak.c

// Finds arithmetic and peak_flops: of an accelerator its data sheet's, of a processor what products of the run's dtype
// reach on it, measured while all ranks make them. Collective on world.
axl_status axl_find_peak(axl_trainer *t);

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
// Warns when output_dir has less room than the model and a checkpoint take. Local.
void axl_save_warn(const axl_trainer *t);
// Adds to the message of a failed save what there is to go on from; returns status. Local.
axl_status axl_save_hint(const axl_trainer *t, axl_status status);
// The weights of a checkpoint of this run, and nothing else of it. Collective on world.
axl_status axl_load_weights(axl_trainer *t, const char *path);

#endif
