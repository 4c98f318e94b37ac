// Preference data through a chat template: a conversation and two replies to it.
//
// The hard part is where a reply begins in the rendered text. It is rendered behind a dummy turn once as it is and
// once as a marker that no text holds: the reply begins where the marker stands, whatever the template writes
// before it and whether or not it trims.
#include "src/data/formats/preference.h"
#include "src/data/formats/turns.h"
#include "src/text/chat.h"

#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DUMMY  "[[dummy_message]]"
#define MARKER "[[\x02the reply\x03]]"

typedef struct chat_state {
    const char *messages, *chosen, *rejected; // columns
    const char *role, *content;               // keys of a message
    axl_str marked; // owned; the rendering of the marker as a reply of marked_role
    char marked_role[16];
} chat_state;

static const char *or_else(const char *given, const char *otherwise)
{
    return given != NULL && given[0] != '\0' ? given : otherwise;
}

static axl_status chat_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    chat_state *s = NULL;
    const axl_chat_options *o = e->spec->chat_options;

    AXL_REQUIRE(e->spec->chat != NULL, AXL_E_BUG, "no chat template was set up for the entry");
    AXL_TRY(axl_calloc(1, sizeof *s, "format", &s));
    e->state = s;
    s->messages = or_else(e->spec->field_messages, "messages");
    s->chosen = or_else(e->spec->field_chosen, "chosen");
    s->rejected = or_else(e->spec->field_rejected, "rejected");
    s->role = "role";
    s->content = "content";
    for (int i = 0; o != NULL && i < o->n_mappings; i++) {
        if (strcmp(o->mappings[i].key, "role") == 0)
            s->role = o->mappings[i].value;
        if (strcmp(o->mappings[i].key, "content") == 0)
            s->content = o->mappings[i].value;
    }

out:
    return status;
}

static void chat_close(axl_encoder *e)
{
    chat_state *s = e->state;

    if (s == NULL)
        return;
    axl_str_fini(&s->marked);
    free(s);
}

// The template's role for one of the data; AXL_E_INPUT when no role is mapped from it.
static axl_status map_role(const axl_encoder *e, const char *role, const char **out)
{
    axl_status status = AXL_OK;
    static const char *const own[] = {"user", "assistant", "system", "tool"};
    const axl_chat_options *o = e->spec->chat_options;
    bool given = o != NULL && o->n_roles > 0;

    *out = NULL;
    for (int i = 0; given && i < o->n_roles; i++) {
        if (strcmp(o->roles[i].key, role) == 0)
            *out = o->roles[i].value;
    }
    for (int i = 0; !given && i < 4; i++) {
        if (strcmp(own[i], role) == 0)
            *out = own[i];
    }
    AXL_REQUIRE(
        *out != NULL, AXL_E_INPUT,
        "a message has the role \"%s\"; `roles` of the entry says which names stand for user, "
        "assistant, system and tool",
        role);

out:
    return status;
}

// Appends one message of the column, with the template's keys.
static axl_status add_message(const axl_encoder *e, const axl_json *message, const char *column,
                              axl_json *turns)
{
    axl_status status = AXL_OK;
    const chat_state *s = e->state;
    const axl_json *role = axl_json_get(message, s->role),
                   *text = axl_json_get(message, s->content);
    const char *mapped = NULL;

    AXL_REQUIRE(
        axl_json_is(role, AXL_JSON_STRING), AXL_E_INPUT,
        "a message of the column \"%s\" has no \"%s\"; message_property_mappings names the keys",
        column, s->role);
    AXL_REQUIRE(
        axl_json_is(text, AXL_JSON_STRING), AXL_E_INPUT,
        "a message of the column \"%s\" has no text in \"%s\"; message_property_mappings names "
        "the keys",
        column, s->content);
    AXL_TRY(map_role(e, axl_json_string(role, ""), &mapped));
    AXL_TRY(axl_turns_add(turns, mapped, axl_json_string(text, ""), axl_json_string_length(text)));

out:
    return status;
}

// The messages of a column, the last `without` ones left out; a string is one turn of the user.
static axl_status read_messages(const axl_encoder *e, const axl_json *row, const char *column,
                                size_t without, axl_json *turns)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(row, column);

    if (without == 0 && axl_json_is(v, AXL_JSON_STRING)) {
        AXL_TRY(axl_turns_add(turns, "user", axl_json_string(v, ""), axl_json_string_length(v)));
        goto out;
    }
    AXL_REQUIRE(axl_json_is(v, AXL_JSON_ARRAY) && axl_json_count(v) > without, AXL_E_INPUT,
                "the column \"%s\" must be a list of messages%s; field_messages, field_chosen and "
                "field_rejected name the columns",
                column, without > 0 ? ", the last one the reply" : "");
    for (size_t i = 0; i + without < axl_json_count(v); i++)
        AXL_TRY(add_message(e, axl_json_at(v, i), column, turns));

out:
    return status;
}

// Appends the reply of a column: a string, a message, or the last one of a list.
static axl_status read_reply(const axl_encoder *e, const axl_json *row, const char *column,
                             axl_json *turns)
{
    axl_status status = AXL_OK;
    const axl_json *v = axl_json_get(row, column);

    if (axl_json_is(v, AXL_JSON_STRING)) {
        AXL_TRY(
            axl_turns_add(turns, "assistant", axl_json_string(v, ""), axl_json_string_length(v)));
        goto out;
    }
    if (axl_json_is(v, AXL_JSON_ARRAY) && axl_json_count(v) > 0)
        v = axl_json_at(v, axl_json_count(v) - 1);
    AXL_REQUIRE(
        axl_json_is(v, AXL_JSON_OBJECT), AXL_E_INPUT,
        "the column \"%s\" must be a string, a message or a list of messages; field_chosen and "
        "field_rejected name the columns",
        column);
    AXL_TRY(add_message(e, v, column, turns));

out:
    return status;
}

static size_t without_space(const char *text, size_t n)
{
    while (n > 0 && (text[n - 1] == ' ' || (text[n - 1] >= '\t' && text[n - 1] <= '\r') ||
                     (text[n - 1] >= '\x1c' && text[n - 1] <= '\x1f')))
        n--;
    return n;
}

static axl_status render_turns(const axl_encoder *e, const axl_json *turns, axl_str *out)
{
    axl_str_clear(out);
    return axl_chat_render(e->spec->chat, turns, NULL, false, out);
}

// Renders a dummy turn and the reply to it into e->text, and the marker as that reply into marked. The latter is
// the same for all rows.
static axl_status render_reply(axl_encoder *e, const axl_json *row, const char *column)
{
    axl_status status = AXL_OK;
    chat_state *s = e->state;
    axl_json *turns = axl_json_new_array();

    AXL_REQUIRE(turns != NULL, AXL_E_MEMORY, "no memory for messages");
    AXL_TRY(axl_turns_add(turns, "user", DUMMY, sizeof DUMMY - 1));
    AXL_TRY(read_reply(e, row, column, turns));
    AXL_TRY(render_turns(e, turns, &e->text));
    axl_json *reply = axl_json_at(turns, 1);
    const char *role = axl_json_string(axl_json_get(reply, "role"), "");
    if (s->marked.len > 0 && strcmp(role, s->marked_role) == 0)
        goto out;
    AXL_TRY(axl_json_set(reply, "content", axl_json_new_string(MARKER, sizeof MARKER - 1)));
    AXL_TRY(render_turns(e, turns, &s->marked));
    (void)snprintf(s->marked_role, sizeof s->marked_role, "%s", role);

out:
    axl_json_free(turns);
    return status;
}

static axl_status put_reply(axl_encoder *e, const axl_json *row, const char *column, axl_str *out)
{
    axl_status status = AXL_OK;
    const chat_state *s = e->state;
    size_t at = 0;

    AXL_TRY(render_reply(e, row, column));
    const char *mark = s->marked.len > 0 ? strstr(s->marked.data, MARKER) : NULL;
    AXL_REQUIRE(mark != NULL && e->text.len > 0, AXL_E_INPUT,
                "the chat template does not show the reply of the column \"%s\"", column);
    size_t marked = (size_t)(mark - s->marked.data);
    // a template that looks into the reply (its thoughts, say) may differ before the marker: the reply is there
    while (at < marked && at < e->text.len && e->text.data[at] == s->marked.data[at])
        at++;
    size_t end = without_space(e->text.data, e->text.len);
    AXL_TRY(axl_str_append(out, e->text.data + at, end > at ? end - at : 0));

out:
    return status;
}

static axl_status chat_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const chat_state *s = e->state;
    bool whole =
        strcmp(e->base, "chat_template.argilla_chat") == 0; // the replies end conversations
    axl_json *turns = axl_json_new_array();

    AXL_REQUIRE(turns != NULL, AXL_E_MEMORY, "no memory for messages");
    axl_preference_begin(e);
    AXL_TRY(read_messages(e, row, whole ? s->chosen : s->messages, whole, turns));
    AXL_TRY(axl_chat_render(e->spec->chat, turns, NULL, true, &e->texts[AXL_TEXT_PROMPT]));
    AXL_TRY(put_reply(e, row, s->chosen, &e->texts[AXL_TEXT_CHOSEN]));
    AXL_TRY(put_reply(e, row, s->rejected, &e->texts[AXL_TEXT_REJECTED]));
    AXL_TRY(axl_preference_put_pair(e, out));

out:
    axl_json_free(turns);
    return status;
}

static const char *const type_names[] = {"chat_template", "chat_template.default",
                                         "chat_template.argilla_chat", NULL};

const axl_format axl_format_pairs_chat = {.name = "pairs_chat",
                                          .types = type_names,
                                          .methods = AXL_FOR_DPO | AXL_FOR_ORPO,
                                          .needs_tokenizer = true,
                                          .open = chat_open,
                                          .encode = chat_encode,
                                          .close = chat_close};
