// generate_samples: after an evaluation the model goes on with the beginnings of some of its samples, for a reader to
// see what it has learned.
//
// What is hard is that every rank must ask for the same weights at the same time: all of them generate the same text, and
// each token is the one that rank 0 drew.
#include "src/train/train.h"

#include "comm/watch.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/generate/generate.h"

#include <stdlib.h>

enum { LEAST_TOKENS = 5 }; // of a sample that is gone on with

typedef struct generation {
    const int32_t *prompt; // [n_prompt], borrowed
    int64_t n_prompt;
    int32_t *ids; // [n], owned
    int64_t n, most;
} generation;

static axl_sampling sampling_of(const axl_config *c)
{
    return (axl_sampling){.temperature = c->generation_do_sample ? c->generation_temperature : 0.0,
                          .top_k = c->generation_top_k,
                          .top_p = c->set.generation_top_p ? c->generation_top_p : 1.0,
                          .seed = (uint64_t)c->seed};
}

static bool is_end(const axl_trainer *t, int32_t token)
{
    const axl_arch *a = &t->model->arch;

    for (int i = 0; i < a->n_eos; i++)
        if (a->eos_id[i] == token)
            return true;
    return token == axl_tokenizer_special_id(t->data.tokenizer, "eos_token");
}

// Generates with a cache that lives as long as this: evaluations are rare. number: of the draw, so that no two of a run
// share random numbers.
static axl_status go_on(axl_trainer *t, uint64_t number, generation *g)
{
    axl_status status = AXL_OK;
    const axl_sampling s = sampling_of(t->env.config);
    axl_generator generator = {0};
    int32_t token = 0;

    AXL_TRY(axl_generator_init(&generator, t->model, &t->sharder, t->env.device,
                               t->env.config->derived.compute_dtype, g->n_prompt + g->most));
    generator.n_drawn = number << 32;
    AXL_TRY(axl_generator_read(&generator, g->prompt, g->n_prompt));
    while (g->n < g->most) {
        AXL_TRY(axl_generator_next(&generator, &s, &token));
        AXL_TRY(axl_comm_bcast_bytes(t->env.world, &token, sizeof token, 0));
        if (is_end(t, token))
            break;
        g->ids[g->n++] = token;
        if (g->n < g->most)
            AXL_TRY(axl_generator_read(&generator, &token, 1));
    }
out:
    axl_generator_fini(&generator);
    return status;
}

// A line of samples.jsonl, and the text for the reader.
static axl_status tell(const axl_trainer *t, int64_t number, const generation *g)
{
    axl_status status = AXL_OK;
    const axl_tokenizer *tokenizer = t->data.tokenizer;
    axl_str prompt = {0}, text = {0}, line = {0};

    AXL_TRY(axl_tokenizer_decode(tokenizer, g->prompt, (size_t)g->n_prompt, true, &prompt));
    AXL_TRY(axl_tokenizer_decode(tokenizer, g->ids, (size_t)g->n, true, &text));
    AXL_TRY(axl_str_printf(&line, "{\"step\": %lld, \"sample\": %lld, \"prompt\": ",
                           (long long)t->step, (long long)number));
    AXL_TRY(axl_str_put_json(&line, prompt.data, prompt.len));
    AXL_TRY(axl_str_puts(&line, ", \"generated\": "));
    AXL_TRY(axl_str_put_json(&line, text.data, text.len));
    AXL_TRY(axl_str_puts(&line, "}\n"));
    axl_append_put(t->samples, line.data, line.len);
    axl_info("sample %lld after step %lld: %s >>> %s", (long long)number, (long long)t->step,
             prompt.data != NULL ? prompt.data : "", text.data != NULL ? text.data : "");
out:
    axl_str_fini(&prompt);
    axl_str_fini(&text);
    axl_str_fini(&line);
    return status;
}

// The beginning of the sample at place i of the list; n_prompt 0: it is too short, or leaves no room for a token.
static void cut(const axl_trainer *t, int64_t i, generation *g)
{
    const axl_config *c = t->env.config;
    const axl_prepared *set = t->data.eval.set;
    const int64_t sample = axl_sample_list_at(&t->data.eval, i);
    const int64_t n = axl_prepared_length(set, sample);
    const int64_t part = (int64_t)((double)n * c->generation_prompt_ratio);
    const int64_t room = t->model->arch.max_position;

    g->prompt = set->ids + axl_prepared_begin(set, sample);
    g->n_prompt = n < LEAST_TOKENS ? 0 : part < 1 ? 1 : part;
    g->n = 0;
    g->most = c->generation_max_new_tokens;
    if (g->n_prompt + g->most > room)
        g->most = room - g->n_prompt;
    g->n_prompt = g->most < 1 ? 0 : g->n_prompt;
}

axl_status axl_train_samples(axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    generation g = {0};
    int64_t number = 0;

    if (!c->generate_samples || t->data.tokenizer == NULL)
        goto out;
    axl_watch_phase(t->env.world, AXL_PHASE_EVALUATING, t->step);
    AXL_TRY(axl_calloc((size_t)c->generation_max_new_tokens, sizeof *g.ids, "a sample", &g.ids));
    for (int64_t i = 0; i < t->data.eval.n && number < c->num_generation_samples; i++) {
        cut(t, i, &g);
        if (g.n_prompt == 0)
            continue;
        number++;
        AXL_TRY(go_on(t, (uint64_t)t->step << 10 ^ (uint64_t)number, &g));
        AXL_TRY(axl_comm_agree(t->env.world,
                               axl_comm_rank(t->env.world) == 0 ? tell(t, number, &g) : AXL_OK));
    }
out:
    free(g.ids);
    return status;
}
