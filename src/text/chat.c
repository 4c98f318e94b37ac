// The encoder of conversations: template and terminators at its creation, labels for each row.
#include "src/text/chat.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"
#include "src/text/chat_internal.h"
#include "src/text/chat_templates.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const axl_chat_pair default_mappings[] = {{"role", "role"}, {"content", "content"}};
static const axl_chat_pair default_roles[] = {
    {"human", "user"},          {"user", "user"},     {"gpt", "assistant"},
    {"assistant", "assistant"}, {"system", "system"}, {"tool", "tool"},
};
static const char *const default_roles_to_train[] = {"assistant"};

static void fill_defaults(axl_chat_options *o)
{
    static const char thinking[] = "reasoning_content";

    o->field_messages = o->field_messages != NULL ? o->field_messages : "messages";
    o->field_tools = o->field_tools != NULL ? o->field_tools : "tools";
    o->field_thinking = o->field_thinking != NULL ? o->field_thinking : thinking;
    o->template_thinking_key =
        o->template_thinking_key != NULL ? o->template_thinking_key : thinking;
    if (o->mappings == NULL) {
        o->mappings = default_mappings;
        o->n_mappings = 2;
    }
    if (o->roles == NULL) {
        o->roles = default_roles;
        o->n_roles = sizeof default_roles / sizeof *default_roles;
    }
    if (o->roles_to_train == NULL) {
        o->roles_to_train = default_roles_to_train;
        o->n_roles_to_train = 1;
    }
    if (o->train_on_eos == AXL_CHAT_TRAIN_DEFAULT)
        o->train_on_eos = AXL_CHAT_TRAIN_TURN;
    if (o->train_on_eot == AXL_CHAT_TRAIN_DEFAULT)
        o->train_on_eot = o->train_on_eos;
}

// ---- the template ----

static axl_status compile_jinja(const axl_chat_options *o, axl_jinja **out)
{
    axl_status status = AXL_OK;
    const char *source = o->chat_template_jinja;
    axl_str file = {0};

    AXL_REQUIRE(source != NULL, AXL_E_CONFIG,
                "chat_template: jinja needs the template in chat_template_jinja");
    if (strpbrk(source, "{\n") != NULL && !(axl_path_exists(source) && !axl_path_is_dir(source))) {
        AXL_TRY(axl_jinja_compile(source, strlen(source), "chat_template_jinja", out));
        goto out;
    }
    AXL_REQUIRE(axl_path_exists(source), AXL_E_CONFIG,
                "chat_template_jinja: there is no file %s; paths are relative to the working "
                "directory, and the text of a template has {{ or {%% in it",
                source);
    AXL_TRY(axl_file_read(source, &file));
    AXL_TRY(axl_jinja_compile(file.len > 0 ? file.data : "", file.len, source, out));
out:
    axl_str_fini(&file);
    return status;
}

static axl_status compile_template(const axl_chat_options *o, const axl_tokenizer *t,
                                   axl_jinja **out)
{
    axl_status status = AXL_OK;
    static const char fallback[] = "tokenizer_default_fallback_";
    const char *name = o->chat_template, *own = axl_tokenizer_chat_template(t), *source = NULL;

    if (name == NULL)
        name = o->chat_template_jinja != NULL ? "jinja" : "tokenizer_default";
    if (strcmp(name, "jinja") == 0) {
        AXL_TRY(compile_jinja(o, out));
        goto out;
    }
    if (strcmp(name, "tokenizer_default") == 0) {
        AXL_REQUIRE(
            own != NULL, AXL_E_CONFIG,
            "chat_template is tokenizer_default, but the tokenizer has no chat template; set "
            "chat_template to a built-in name or put a chat_template.jinja beside the "
            "tokenizer");
        source = own;
    } else if (strncmp(name, fallback, sizeof fallback - 1) == 0) {
        source = own;
        if (own == NULL) {
            name += sizeof fallback - 1;
            axl_warn("the tokenizer has no chat template; using the built-in %s", name);
        }
    }
    if (source == NULL)
        AXL_TRY(axl_chat_template_find(name, &source));
    AXL_TRY(axl_jinja_compile(source, strlen(source), name, out));
out:
    return status;
}

// ---- terminators ----

static axl_status check_eot(axl_chat_encoder *c, const char *eot)
{
    axl_status status = AXL_OK;
    const char *eos = axl_tokenizer_special(c->tokenizer, "eos_token");
    bool is_eos = eos != NULL && strcmp(eot, eos) == 0;
    bool in_template = axl_jinja_mentions(c->jinja, eot);
    axl_token_buffer ids = {0};

    if (is_eos && !in_template && c->o.n_eot_tokens <= 1) {
        if (!axl_jinja_mentions(c->jinja, "eos_token"))
            axl_warn("the EOS token %s does not occur in the chat template: no end of a turn is "
                     "trained; set eot_tokens or special_tokens",
                     eot);
    } else if (!in_template) {
        axl_warn("the EOT token %s does not occur in the chat template and is left out", eot);
        goto out;
    }
    AXL_TRY(axl_tokenizer_encode(c->tokenizer, eot, strlen(eot), false, &ids));
    AXL_REQUIRE(ids.n == 1, AXL_E_CONFIG,
                "the EOT token %s is encoded as %zu tokens; make it one under tokens: or "
                "added_tokens_overrides:",
                eot, ids.n);
    AXL_REQUIRE(
        !is_eos || c->o.train_on_eos == c->o.train_on_eot, AXL_E_CONFIG,
        "the EOS token %s is one of the eot_tokens, but train_on_eos and train_on_eot differ; "
        "give both the same value",
        eot);
    c->eot[c->n_eot++] = ids.ids[0];
out:
    axl_token_buffer_fini(&ids);
    return status;
}

static axl_status check_terminators(axl_chat_encoder *c)
{
    axl_status status = AXL_OK;
    const char *eos = axl_tokenizer_special(c->tokenizer, "eos_token");
    int n = c->o.eot_tokens != NULL ? c->o.n_eot_tokens : 1;

    c->eos = axl_tokenizer_special_id(c->tokenizer, "eos_token");
    AXL_TRY(axl_calloc((size_t)n + 1, sizeof *c->eot, "EOT tokens", &c->eot));
    if (c->o.eot_tokens == NULL && eos != NULL)
        AXL_TRY(check_eot(c, eos));
    for (int i = 0; c->o.eot_tokens != NULL && i < n; i++)
        AXL_TRY(check_eot(c, c->o.eot_tokens[i]));
out:
    return status;
}

axl_status axl_chat_encoder_create(const axl_chat_options *options, const axl_tokenizer *tokenizer,
                                   axl_chat_encoder **out)
{
    axl_status status = AXL_OK;
    axl_chat_encoder *c = NULL;

    AXL_TRY(axl_calloc(1, sizeof *c, "a chat encoder", &c));
    c->o = *options;
    fill_defaults(&c->o);
    c->tokenizer = tokenizer;
    AXL_REQUIRE(localtime_r(&(time_t){time(NULL)}, &c->now) != NULL, AXL_E_IO,
                "the clock has no local time");
    AXL_TRY(axl_calloc(1, sizeof *c->warned, "a chat encoder", &c->warned));
    c->mistral =
        options->tokenizer_name != NULL && strcasestr(options->tokenizer_name, "mistral") != NULL;
    AXL_TRY(compile_template(&c->o, tokenizer, &c->jinja));
    AXL_TRY(check_terminators(c));
    if (c->o.default_system_message != NULL &&
        !axl_jinja_mentions(c->jinja, "default_system_message"))
        axl_warn("default_system_message has no effect: the chat template does not read this "
                 "variable; chatml does");
    *out = c;
    c = NULL;
out:
    axl_chat_encoder_destroy(c);
    return status;
}

void axl_chat_encoder_destroy(axl_chat_encoder *c)
{
    if (c == NULL)
        return;
    axl_jinja_destroy(c->jinja);
    free(c->eot);
    free(c->warned);
    free(c);
}

axl_status axl_chat_scratch_create(axl_chat_scratch **out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_calloc(1, sizeof **out, "chat scratch", out));
    (*out)->ids.want_offsets = true;
out:
    return status;
}

void axl_chat_scratch_destroy(axl_chat_scratch *s)
{
    if (s == NULL)
        return;
    axl_json_free(s->messages);
    axl_json_free(s->tools);
    axl_str_fini(&s->text);
    axl_str_fini(&s->dummy);
    axl_str_fini(&s->prefix);
    axl_token_buffer_fini(&s->prefix_ids);
    axl_token_buffer_fini(&s->ids);
    axl_token_buffer_fini(&s->window);
    for (int i = 0; i < CHAT_N_WINDOWS; i++) {
        axl_str_fini(&s->windows[i].text);
        axl_token_buffer_fini(&s->windows[i].ids);
    }
    axl_json_free(s->context);
    axl_jinja_memory_fini(&s->memory);
    free(s->turns);
    free(s->mask);
    free(s->labels);
    free(s);
}

// ---- rendering ----

static axl_status add_variables(const axl_chat_encoder *c, axl_json *context)
{
    axl_status status = AXL_OK;
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                        "sep_token", "cls_token", "mask_token"};
    const char *key;
    axl_json *v;
    void *it = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *token = axl_tokenizer_special(c->tokenizer, names[i]);

        if (token != NULL)
            AXL_TRY(axl_json_set(context, names[i], axl_json_new_string(token, strlen(token))));
    }
    if (c->o.default_system_message != NULL)
        AXL_TRY(axl_json_set(
            context, "default_system_message",
            axl_json_new_string(c->o.default_system_message, strlen(c->o.default_system_message))));
    while (axl_json_is(c->o.template_kwargs, AXL_JSON_OBJECT) &&
           axl_json_next((axl_json *)(uintptr_t)c->o.template_kwargs, &it, &key, &v))
        AXL_TRY(axl_json_set(context, key, axl_json_ref(v)));
out:
    return status;
}

// The variables that all renderings of a conversation share.
static axl_status make_context(const axl_chat_encoder *c, const axl_json *tools, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_json *context = axl_json_new_object();

    AXL_REQUIRE(context != NULL, AXL_E_MEMORY, "no memory for the template's variables");
    AXL_TRY(axl_json_set(context, "add_generation_prompt", axl_json_new_bool(false)));
    AXL_TRY(add_variables(c, context));
    if (tools != NULL)
        AXL_TRY(axl_json_set(context, "tools", axl_json_ref((axl_json *)(uintptr_t)tools)));
    *out = context;
    context = NULL;
out:
    axl_json_free(context);
    return status;
}

axl_status axl_chat_render_into(const axl_chat_encoder *c, axl_chat_scratch *s,
                                const chat_rendering *r, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_jinja_options options = {.memory = &s->memory, .now = &c->now};
    axl_json *context = axl_json_ref(s->context);

    if (r->last_turn > 0) {
        axl_json_free(context);
        context = NULL;
        AXL_TRY(make_context(c, s->tools, &context));
        AXL_TRY(axl_json_set(context, "real_last_index", axl_json_new_int((int64_t)r->last_turn)));
    }
    AXL_TRY(axl_json_set(context, "messages", axl_json_ref(r->messages)));
    AXL_TRY(axl_jinja_render(c->jinja, context, &options, out));
out:
    axl_json_free(context);
    return status;
}

axl_status axl_chat_render(const axl_chat_encoder *c, const axl_json *messages,
                           const axl_json *tools, bool add_generation_prompt, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_jinja_options options = {.now = &c->now};
    axl_json *context = NULL;

    AXL_TRY(make_context(c, tools, &context));
    AXL_TRY(
        axl_json_set(context, "add_generation_prompt", axl_json_new_bool(add_generation_prompt)));
    AXL_TRY(axl_json_set(context, "messages", axl_json_ref((axl_json *)(uintptr_t)messages)));
    AXL_TRY(axl_jinja_render(c->jinja, context, &options, out));
out:
    axl_json_free(context);
    return status;
}

// ---- labels ----

static bool is_eot(const axl_chat_encoder *c, int32_t id)
{
    for (int i = 0; i < c->n_eot; i++)
        if (c->eot[i] == id)
            return true;
    return false;
}

bool axl_chat_is_end(const axl_chat_encoder *c, int32_t id)
{
    return id == c->eos || is_eot(c, id);
}

// The terminator seen last, for the option `last`; -1: none.
typedef struct terminators {
    int64_t eot, eos;
} terminators;

#define REACH 3 // tokens between a turn and its terminator

// The first terminator at or behind b, if it is near enough to belong to the turn; else -1.
static int64_t find_end(const axl_chat_encoder *c, const axl_chat_scratch *s, int64_t b, bool eot)
{
    for (int64_t i = b; i < (int64_t)s->ids.n && i - b <= REACH; i++)
        if (eot ? is_eot(c, s->ids.ids[i]) : s->ids.ids[i] == c->eos)
            return i;
    return -1;
}

static void label_end(axl_chat_scratch *s, int64_t at, axl_chat_train when, bool trained)
{
    if (at >= 0 && (when == AXL_CHAT_TRAIN_ALL || (when == AXL_CHAT_TRAIN_TURN && trained)))
        s->labels[at] = s->ids.ids[at];
}

static axl_status label_turn(const axl_chat_encoder *c, axl_chat_scratch *s, size_t i,
                             terminators *last, int *n_lost)
{
    axl_status status = AXL_OK;
    const chat_turn *t = &s->turns[i];
    chat_span span = {.a = -1};
    int64_t at;

    if (axl_chat_is_searched(c, s, i))
        AXL_TRY(axl_chat_find_turn(c, s, i, &span));
    if (span.a < 0) {
        *n_lost += t->trained;
        goto out;
    }
    if (t->trained && (t->mask[CHAT_CONTENT].given || t->mask[CHAT_THINKING].given)) {
        for (int f = 0; f < CHAT_N_FIELDS; f++)
            if (t->mask[f].given)
                AXL_TRY(axl_chat_label_field(c, s, i, f));
    } else if (t->trained) {
        for (int64_t k = span.a; k < span.b; k++)
            s->labels[k] = s->ids.ids[k];
    }
    at = find_end(c, s, span.b, true);
    label_end(s, at, c->o.train_on_eot, t->trained);
    last->eot = at >= 0 ? at : last->eot;
    at = c->eos >= 0 ? find_end(c, s, span.b, false) : -1;
    label_end(s, at, c->o.train_on_eos, t->trained);
    last->eos = at >= 0 ? at : last->eos;
out:
    return status;
}

axl_status axl_chat_encode(const axl_chat_encoder *c, axl_chat_scratch *s, const axl_json *row,
                           axl_chat_sample *out)
{
    axl_status status = AXL_OK;
    terminators last = {.eot = -1, .eos = -1};
    chat_rendering r;
    int n_lost = 0;

    AXL_TRY(axl_chat_read_row(c, s, row));
    if (s->blank_edge && !atomic_flag_test_and_set(c->warned))
        axl_warn("a part of a message ends in a blank and the next has another training flag: the "
                 "tokenizer joins the blank to the next word, which is then not trained; begin the "
                 "next part with the blank (said once)");
    axl_json_free(s->context);
    s->context = NULL;
    AXL_TRY(make_context(c, s->tools, &s->context));
    axl_str_clear(&s->text);
    r = (chat_rendering){.messages = s->messages};
    AXL_TRY(axl_chat_render_into(c, s, &r, &s->text));
    AXL_TRY(axl_tokenizer_encode(c->tokenizer, s->text.len > 0 ? s->text.data : "", s->text.len,
                                 false, &s->ids));
    AXL_TRY(axl_grow(&s->labels, &s->labels_capacity, s->ids.n + 1, sizeof *s->labels, "labels"));
    for (size_t i = 0; i < s->ids.n; i++)
        s->labels[i] = AXL_CHAT_IGNORE;
    s->n_windows = 0;
    s->at_byte = 0;
    AXL_TRY(axl_chat_place_turns(c, s));
    for (size_t i = 0; i < s->n_turns; i++)
        AXL_TRY(label_turn(c, s, i, &last, &n_lost));
    if (last.eot >= 0 && c->o.train_on_eot == AXL_CHAT_TRAIN_LAST)
        s->labels[last.eot] = s->ids.ids[last.eot];
    if (last.eos >= 0 && c->o.train_on_eos == AXL_CHAT_TRAIN_LAST)
        s->labels[last.eos] = s->ids.ids[last.eos];
    *out = (axl_chat_sample){.ids = s->ids.ids,
                             .labels = s->labels,
                             .n = s->ids.n,
                             .n_lost = n_lost,
                             .blank_edge = s->blank_edge};
out:
    return status;
}
