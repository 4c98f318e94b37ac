// Building a run from its configuration, and its outer loop. The order of building is the order of cost: what can
// be refused is refused before the weights are read, and nothing is written before all ranks agree.
#include "src/train/train.h"

#include "comm/watch.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/train/settings.h"
#include "src/train/weight_scales.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What is to be done about rows of the vocabulary. fix_untrained_tokens: a number is true or the id of a token, a
// list holds ids; rows that are zero are fixed in any case.
static axl_resize resize_of(const axl_trainer *t)
{
    const axl_config *c = t->env.config;
    const axl_int_list *fix = &c->fix_untrained_tokens;
    const axl_yaml_node *node = axl_yaml_get(axl_yaml_root(c->yaml), "fix_untrained_tokens");
    const bool flag = fix->n == 1 && fix->items[0] <= 1 && node != NULL && node->n_entries == 0;
    const axl_tokenizer *tokenizer = t->data.tokenizer;

    return (axl_resize){.mean = c->mean_resizing_embeddings,
                        .std = t->data.vocabulary.initializer_range,
                        .seed = (uint64_t)c->seed,
                        .untrained = fix->n > 0 && !(flag && fix->items[0] == 0),
                        .fix = fix->items,
                        .n_fix = flag ? 0 : fix->n,
                        .keep = tokenizer != NULL ? axl_tokenizer_special_id(tokenizer, "pad_token")
                                                  : -1};
}

static axl_status open_model(axl_trainer *t, bool train)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    axl_arch arch = {0};
    const axl_resize resize = resize_of(t);
    axl_sharder_options so = axl_settings_sharder(c, train);

    so.offload = so.offload && !t->env.device->host_memory;
    so.host_threads = t->env.device->n_threads;
    AXL_TRY(axl_hfdir_open(t->data.model_dir, &t->source));
    AXL_TRY(axl_arch_read(t->data.model_dir, &arch));
    arch.vocab = t->data.vocabulary.rows;
    arch.max_position = t->data.vocabulary.max_position > arch.max_position
                            ? t->data.vocabulary.max_position
                            : arch.max_position;
    AXL_TRY(axl_settings_check(c, &arch, t->mesh->size[AXL_CP], t->mesh->size[AXL_TP]));
    AXL_TRY(axl_settings_attention(c, t->mesh->size[AXL_CP], &arch));
    AXL_TRY(axl_model_create(&arch, t->mesh, &t->model));
    AXL_TRY(axl_sharder_init(&t->sharder, t->env.device, t->mesh, t->model->units,
                             t->model->n_units, &so));
    if (t->env.config->reinit_weights) {
        AXL_TRY(axl_model_reinit(t->model, resize.std, resize.seed));
    } else {
        AXL_TRY(axl_model_load(t->model, t->source));
        AXL_TRY(axl_model_resize(t->model, t->source, &resize));
    }
out:
    axl_arch_fini(&arch);
    return status;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static axl_status take_memory(axl_trainer *t, bool train)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    axl_work_options o = axl_settings_work(c, train);

    if (t->env.device->host_memory)
        o.offload = AXL_OFFLOAD_NONE;
    if (t->loader != NULL) {
        o.n_tokens = axl_loader_max_tokens(t->loader);
        o.whole_tokens = axl_loader_whole_tokens(t->loader);
        o.n_seqs = axl_loader_max_seqs(t->loader);
    }
    if (t->eval_loader != NULL) {
        o.n_tokens = larger(o.n_tokens, axl_loader_max_tokens(t->eval_loader));
        o.whole_tokens = larger(o.whole_tokens, axl_loader_whole_tokens(t->eval_loader));
        o.n_seqs = larger(o.n_seqs, axl_loader_max_seqs(t->eval_loader));
    }
    AXL_TRY(axl_work_init(&t->work, t->model, t->env.device, &o));
    AXL_TRY(axl_calloc((size_t)o.n_tokens, sizeof *t->grad, "gradients of logp", &t->grad));
    AXL_TRY(axl_calloc((size_t)o.n_tokens, sizeof *t->logp, "logp", &t->logp));
    AXL_TRY(axl_calloc((size_t)(c->gradient_accumulation_steps * axl_mesh_n_batches(t->mesh)),
                       sizeof *t->losses, "losses", &t->losses));
out:
    return status;
}

static axl_status set_schedule(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;

    t->optimizer = axl_optimizer_find(c->optimizer);
    AXL_REQUIRE(t->optimizer != NULL, AXL_E_CONFIG, "optimizer %s is not known to the trainer",
                c->optimizer);
    AXL_REQUIRE(axl_schedule_find(c->lr_scheduler, &t->schedule), AXL_E_CONFIG,
                "lr_scheduler %s is not known to the trainer", c->lr_scheduler);
    t->total_steps = axl_loader_steps_left(t->loader);
    if (t->total_steps == AXL_ENDLESS)
        t->steps_per_epoch = c->max_steps; // of a stream the run is the only measure
    else
        t->steps_per_epoch = (int64_t)ceil((double)t->total_steps / c->num_epochs);
    if (c->set.max_steps)
        t->total_steps = c->max_steps;
    t->schedule.total = t->total_steps;
    t->schedule.warmup = axl_config_warmup_steps(c, t->total_steps);
    t->schedule.min_ratio = c->cosine_min_lr_ratio;
    t->hyper = (axl_hyper){.beta1 = c->adam_beta1,
                           .beta2 = c->adam_beta2,
                           .eps = c->adam_epsilon,
                           .weight_decay = c->weight_decay};
    t->log_every = axl_config_logging_steps(c, t->total_steps);
    AXL_TRY(axl_steer_init(t));
out:
    return status;
}

// The folder must be there and take files; nothing in it is changed yet.
static axl_status check_output_dir(const axl_trainer *t)
{
    axl_status status = AXL_OK;
    const char *dir = t->env.config->output_dir;

    if (axl_comm_rank(t->env.world) != 0)
        goto out;
    if (axl_dir_make(dir) != AXL_OK || access(dir, W_OK) != 0)
        AXL_FAIL(AXL_E_CONFIG, "output_dir %s cannot be written: %s; choose a folder of yours", dir,
                 strerror(errno));
out:
    return status;
}

static axl_status look_for(const char *path, const char *dir)
{
    axl_status status = AXL_OK;
    char host[64] = "";

    (void)gethostname(host, sizeof host - 1);
    AXL_REQUIRE(axl_path_exists(path), AXL_E_CONFIG,
                "output_dir %s on host %s is not the folder that rank 0 has; choose one on a file "
                "system that all hosts share",
                dir, host);
out:
    return status;
}

// A folder of that name on each host is not enough: all ranks write a checkpoint together. So rank 0
// leaves a file there under a name that no earlier run has used, and every rank looks for it.
static axl_status check_shared(const axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_comm *world = t->env.world;
    const char *dir = t->env.config->output_dir;
    bool first = axl_comm_rank(world) == 0;
    axl_str path = {0};
    int64_t number = (int64_t)getpid() << 32 ^ (int64_t)(axl_now() * 1e6);

    AXL_TRY(axl_comm_bcast_bytes(world, &number, sizeof number, 0));
    AXL_TRY(axl_str_printf(&path, "%s/.all-hosts-%016llx", dir, (unsigned long long)number));
    AXL_TRY(axl_comm_agree(world, first ? axl_file_write(path.data, "", 0) : AXL_OK));
    AXL_TRY(axl_comm_agree(world, look_for(path.data, dir)));
out:
    if (first && path.data != NULL)
        (void)unlink(path.data);
    axl_str_fini(&path);
    return status;
}

static axl_status write_resolved(const axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_str text = {0};
    axl_str path = {0};

    if (axl_comm_rank(t->env.world) != 0)
        goto out;
    AXL_TRY(axl_vocabulary_write_tokenizer(t->env.config, &t->data.vocabulary, t->data.model_dir));
    AXL_TRY(axl_config_resolved(t->env.config, &text));
    AXL_TRY(axl_str_printf(&path, "%s/resolved_config.json", t->env.config->output_dir));
    AXL_TRY(axl_file_write(path.data, text.data, text.len));
out:
    axl_str_fini(&text);
    axl_str_fini(&path);
    return status;
}

static axl_status open_log(const axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    AXL_TRY(axl_str_printf(&path, "%s/debug.log", t->env.config->output_dir));
    AXL_TRY(axl_log_open(path.data));
out:
    axl_str_fini(&path);
    return status;
}

static axl_status build(axl_trainer *t, bool train)
{
    axl_status status = AXL_OK;
    axl_comm *world = t->env.world;
    const axl_config *c = t->env.config;
    const axl_mesh_sizes *mesh = &c->derived.mesh;

    if (train)
        AXL_TRY(axl_comm_agree(world, check_output_dir(t)));
    if (train && axl_comm_n_hosts(world) > 1)
        AXL_TRY(check_shared(t));
    AXL_TRY(axl_mesh_create(
        world,
        (const int[AXL_N_AXES]){mesh->dp_replicate, mesh->dp_shard, mesh->ep, mesh->cp, mesh->tp},
        &t->mesh));
    axl_comm_fix_order(world, c->world_invariant);
    AXL_TRY(
        axl_data_setup_make_with(c, world,
                                 &(axl_data_setup_options){.n_threads = t->env.device->n_threads *
                                                                        axl_comm_local_size(world)},
                                 &t->data));
    if (train)
        AXL_TRY(axl_comm_agree(world, axl_data_setup_loader(&t->data, c, t->mesh, &t->loader)));
    AXL_TRY(
        axl_comm_agree(world, axl_data_setup_eval_loader(&t->data, c, t->mesh, &t->eval_loader)));
    if (train)
        AXL_TRY(axl_comm_agree(world, set_schedule(t)));
    status = open_model(t, train);
    if (status == AXL_OK)
        status = take_memory(t, train);
    AXL_TRY(axl_comm_agree(world, status));
    if (axl_comm_progress_pays(world, t->env.device))
        AXL_TRY(axl_comm_progress_start(world, t->env.device, &t->progress));
    if (!train)
        goto out;
    AXL_TRY(axl_resume(t));
    status = open_log(t);
    if (status == AXL_OK)
        status = write_resolved(t);
    if (status == AXL_OK)
        status = axl_metrics_open(t);
    AXL_TRY(axl_comm_agree(world, status));
    axl_save_warn(t);
    if (t->step == 0) // a checkpoint has them scaled already
        AXL_TRY(axl_weight_scales_apply(c, t->model));
out:
    return status;
}

const axl_method *axl_trainer_method(const axl_config *c, const char **name)
{
    *name = c->rl != NULL             ? c->rl
            : c->reward_model         ? "reward_model"
            : c->process_reward_model ? "process_reward_model"
                                      : "sft";
    return axl_method_find(*name);
}

// Every rank finds the same.
static axl_status find_method(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    const char *name = NULL;
    axl_str place = {0};

    t->method = axl_trainer_method(c, &name);
    if (t->method != NULL)
        goto out;
    AXL_TRY(axl_config_where(c, c->rl != NULL ? "rl" : name, &place));
    AXL_FAIL(AXL_E_CONFIG,
             "%s: %s%s: training by this method is not there yet; its data can be prepared and "
             "looked at with axl-dist preprocess and explain",
             place.data, c->rl != NULL ? "rl: " : "", name);
out:
    axl_str_fini(&place);
    return status;
}

static axl_status create(const axl_train_env *env, bool train, axl_trainer **out)
{
    axl_status status = AXL_OK;
    axl_trainer *t = NULL;
    const axl_yaml_node *node = NULL;

    AXL_TRY(axl_calloc(1, sizeof *t, "the trainer", &t));
    t->env = *env;
    AXL_TRY(find_method(t)); // before anything is opened or written
    AXL_TRY_CTX(axl_weight_scales_check(env->config, &node), "%s:%d", env->config->path,
                node != NULL ? (int)node->place.line : 0);
    AXL_TRY(build(t, train));
    *out = t;
    t = NULL; // handed to the caller
out:
    axl_trainer_destroy(t);
    return status;
}

axl_status axl_trainer_create(const axl_train_env *env, axl_trainer **out)
{
    return create(env, true, out);
}

axl_status axl_trainer_create_for_eval(const axl_train_env *env, axl_trainer **out)
{
    return create(env, false, out);
}

void axl_trainer_destroy(axl_trainer *t)
{
    if (t == NULL)
        return;
    axl_comm_progress_stop(t->progress); // first: it uses the device and what is queued there
    // a run that ends well has closed them, and told what is missing
    (void)axl_append_close(t->metrics);
    (void)axl_append_close(t->samples);
    (void)axl_tfevents_close(t->events);
    axl_trace_destroy(t->trace);
    free(t->grad);
    free(t->logp);
    free(t->losses);
    axl_work_fini(&t->work);
    axl_loader_destroy(t->eval_loader);
    axl_loader_destroy(t->loader);
    axl_sharder_fini(&t->sharder);
    axl_model_destroy(t->model);
    axl_mesh_destroy(t->mesh);
    axl_data_setup_fini(&t->data);
    axl_steer_fini(&t->steer);
    axl_hfdir_close(t->source);
    axl_log_close();
    free(t);
}

static axl_status evaluate(axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_eval_report r;

    AXL_TRY(axl_train_eval(t, &r));
    axl_steer_evaluated(t, &r);
    AXL_TRY(axl_metrics_eval(t, &r));
    AXL_TRY(axl_train_samples(t));
out:
    return status;
}

#define FAILED 1000 // above all signal numbers

// Ranks tell each other about signals, and about a failure that one of them had alone. *signal: the largest.
static axl_status share_state(axl_trainer *t, axl_status own, int64_t *signal)
{
    axl_status status = AXL_OK;

    *signal = own != AXL_OK ? FAILED : *t->env.signal;
    AXL_TRY(axl_comm_all_reduce_i64(t->env.world, signal, 1, AXL_REDUCE_MAX));
    if (*signal == FAILED) {
        status = axl_comm_agree(t->env.world, own);
        t->agreed = true;
    }
out:
    return status;
}

// A save has been agreed on by all ranks, whatever its result.
static axl_status save(axl_trainer *t)
{
    axl_watch_phase(t->env.world, AXL_PHASE_SAVING, t->step);
    axl_status status = axl_save_hint(t, axl_save_checkpoint(t));

    t->agreed = status != AXL_OK;
    return status;
}

// dynamic_checkpoint: whether its file has appeared; it is taken away. Collective on world.
static axl_status was_asked_to_save(const axl_trainer *t, bool *asked)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    const char *name = c->dynamic_checkpoint.trigger_file_path;
    axl_str path = {0};
    int64_t there = 0;

    *asked = false;
    if (!c->dynamic_checkpoint.enabled || t->step % c->dynamic_checkpoint.check_interval != 0)
        goto out;
    if (name == NULL || name[0] == '\0')
        name = "axolotl_checkpoint.save";
    if (axl_comm_rank(t->env.world) == 0) {
        AXL_TRY(name[0] == '/' ? axl_str_puts(&path, name)
                               : axl_str_printf(&path, "%s/%s", c->output_dir, name));
        there = unlink(path.data) == 0;
        if (there)
            axl_info("%s was there: saving after step %lld", path.data, (long long)t->step);
    }
    AXL_TRY(axl_comm_bcast_bytes(t->env.world, &there, sizeof there, 0));
    *asked = there != 0;
out:
    axl_str_fini(&path);
    return status;
}

static axl_status after_step(axl_trainer *t, const axl_step_report *r)
{
    axl_status status = AXL_OK;
    int64_t signal = 0;
    bool last = t->step >= t->total_steps, asked = false;

    status = axl_metrics_step(t, r);
    AXL_TRY(share_state(t, status, &signal));
    if (axl_steer_evaluates(t, r->ends_epoch, last))
        AXL_TRY(evaluate(t));
    last = last || axl_steer_stops(t);
    bool stopping = signal != 0 && !last;
    AXL_TRY(was_asked_to_save(t, &asked));
    if (stopping || asked || axl_steer_saves(t, r->ends_epoch, last))
        AXL_TRY(save(t));
    t->agreed = true; // what follows is the same on all ranks
    AXL_REQUIRE(!stopping, AXL_E_SIGNAL,
                "stopped by signal %lld after step %lld, which is saved; start again to go on",
                (long long)signal, (long long)t->step);
    t->agreed = false;
out:
    return status;
}

// Puts the best weights in place, when they are asked for and known. *step: whose weights there are then.
static axl_status load_best(axl_trainer *t, int64_t *step)
{
    axl_status status = AXL_OK;
    const axl_steer *s = &t->steer;

    *step = t->step;
    if (!t->env.config->derived.load_best)
        goto out;
    if (s->saved_step == 0)
        axl_warn("no evaluation has a checkpoint to load: the weights stay those of the last step");
    else if (s->saved_step != t->step)
        AXL_TRY(axl_load_weights(t, s->saved_path));
    *step = s->saved_step == 0 ? t->step : s->saved_step;
out:
    return status;
}

// The end of a run: the model, and what it is.
static axl_status finish(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    const axl_steer *s = &t->steer;
    int64_t step = 0;

    t->agreed = true; // saving agrees on its result
    axl_watch_phase(t->env.world, AXL_PHASE_SAVING, t->step);
    if (axl_steer_stops(t))
        axl_info("stopped after step %lld of %lld: %lld evaluations without improvement",
                 (long long)t->step, (long long)t->total_steps, (long long)s->n_worse);
    AXL_TRY(load_best(t, &step));
    AXL_TRY(axl_save_hint(t, axl_model_save(t->model, t->source, c->output_dir)));
    AXL_TRY(axl_comm_agree(t->env.world, axl_vocabulary_write(&t->data.vocabulary, c->output_dir)));
    AXL_TRY(axl_comm_agree(t->env.world, axl_write_card(t)));
    AXL_TRY(axl_metrics_memory(t));
    if (s->best_step > 0)
        axl_info("best evaluation: %s %.6g at step %lld", axl_steer_metric(c), s->best,
                 (long long)s->best_step);
    axl_info("wrote the model of step %lld to %s", (long long)step, c->output_dir);
    status = axl_metrics_close(t);
    if (status != AXL_OK)
        (void)axl_error_context(status, "the model is whole, but not the record of its making");
    AXL_TRY(axl_comm_agree(t->env.world, status));
out:
    return status;
}

static axl_status step(axl_trainer *t, axl_step_report *r)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_profile_begin(t));
    const double begin = axl_trace_begin(t->trace);
    AXL_TRY(axl_train_step(t, r));
    axl_trace_end(t->trace, "step", "train", t->step, begin);
    AXL_TRY(axl_profile_end(t, false));
out:
    return status;
}

axl_status axl_trainer_run(axl_trainer *t)
{
    axl_status status = AXL_OK;
    axl_step_report r;
    char hosts[32] = "";

    if (axl_comm_n_hosts(t->env.world) > 1)
        (void)snprintf(hosts, sizeof hosts, " on %d hosts", axl_comm_n_hosts(t->env.world));
    AXL_TRY(axl_find_peak(t));
    axl_metrics_plan(t);
    AXL_TRY(axl_metrics_traffic(t));
    t->run_start = axl_now();
    t->first_step = t->step;
    axl_info("%lld parameters, %d rank%s%s x %d thread%s, %s; %lld steps, %.1f s after the start",
             (long long)t->model->n_elements, axl_comm_size(t->env.world),
             axl_comm_size(t->env.world) == 1 ? "" : "s", hosts, t->env.device->n_threads,
             t->env.device->n_threads == 1 ? "" : "s", t->env.device->kernels->name,
             (long long)t->total_steps, t->run_start - t->env.start_seconds);
    if (t->eval_loader != NULL && t->env.config->derived.eval_at_start && t->step == 0)
        AXL_TRY(evaluate(t));
    while (t->step < t->total_steps && !axl_steer_stops(t)) {
        axl_watch_phase(t->env.world, AXL_PHASE_COMPUTING, t->step + 1);
        AXL_TRY(step(t, &r));
        AXL_TRY(after_step(t, &r));
    }
    AXL_TRY(axl_profile_end(t, true)); // it may have stopped early
    AXL_TRY(finish(t));
out:
    return status;
}
