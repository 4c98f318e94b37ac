// Places the contents of many turns in the conversation's text with one more rendering.
//
// All turns in question get a dummy at once, each its own. What stands between the dummies must stand
// between the contents too; then each content is exactly where its dummy is, and the conversation with
// one dummy, which the search compares, need not be rendered. A turn that holds more than a content, or
// a template whose words depend on the content, is left to the search.
#include "src/text/chat_internal.h"

#include <stdio.h>
#include <string.h>

// Room for "[[dummy_message_" and a number and "]]".
typedef struct joint_dummy {
    char text[48];
    size_t n;
} joint_dummy;

static joint_dummy dummy_of(size_t i)
{
    joint_dummy d;

    d.n = (size_t)snprintf(d.text, sizeof d.text, "[[dummy_message_%zu]]", i);
    return d;
}

// Whether the message holds nothing besides its content that most templates write. Another key that the
// template writes makes the texts differ, and then all turns are searched.
static bool is_plain(const axl_chat_encoder *c, const chat_turn *t)
{
    return axl_json_is(axl_json_get(t->message, "content"), AXL_JSON_STRING) &&
           (axl_json_count(t->message) == 2 ||
            (axl_json_get(t->message, "tool_calls") == NULL &&
             axl_json_get(t->message, c->o.template_thinking_key) == NULL));
}

static axl_status add_dummy(axl_json *messages, const chat_turn *t, size_t i)
{
    axl_status status = AXL_OK;
    axl_json *message = axl_json_new_object();
    joint_dummy d = dummy_of(i);

    AXL_REQUIRE(message != NULL, AXL_E_MEMORY, "no memory for a message");
    AXL_TRY(axl_json_set(message, "role", axl_json_ref(axl_json_get(t->message, "role"))));
    AXL_TRY(axl_json_set(message, "content", axl_json_new_string(d.text, d.n)));
    AXL_TRY(axl_json_append(messages, axl_json_ref(message)));
out:
    axl_json_free(message);
    return status;
}

static axl_status render_dummies(const axl_chat_encoder *c, axl_chat_scratch *s)
{
    axl_status status = AXL_OK;
    axl_json *messages = axl_json_new_array();
    chat_rendering r = {.messages = messages};

    AXL_REQUIRE(messages != NULL, AXL_E_MEMORY, "no memory for messages");
    for (size_t i = 0; i < s->n_turns; i++) {
        if (s->turns[i].placed)
            AXL_TRY(add_dummy(messages, &s->turns[i], i));
        else
            AXL_TRY(axl_json_append(messages, axl_json_ref(s->turns[i].message)));
    }
    axl_str_clear(&s->dummy);
    AXL_TRY(axl_chat_render_into(c, s, &r, &s->dummy));
out:
    axl_json_free(messages);
    return status;
}

// Two texts, and how far both are walked.
typedef struct walk {
    const char *text, *text_end;   // the conversation
    const char *dummy, *dummy_end; // with the dummies
} walk;

// Walks over the next n bytes of the dummies' text if they stand in the conversation as well.
static bool step(walk *w, size_t n)
{
    if ((size_t)(w->text_end - w->text) < n || memcmp(w->text, w->dummy, n) != 0)
        return false;
    w->text += n;
    w->dummy += n;
    return true;
}

// Walks over the content of turn t, which stands where the dummy does: as it is, or stripped.
static bool step_content(walk *w, chat_turn *t, const joint_dummy *d, size_t next, const char *text)
{
    const axl_json *content = axl_json_get(t->message, "content");
    const char *p = axl_json_string(content, "");
    size_t n = axl_json_string_length(content);

    for (int stripped = 0; stripped < 2; stripped++) {
        walk after = *w;

        if (stripped)
            axl_chat_strip(&p, &n);
        if ((size_t)(w->text_end - w->text) < n || memcmp(w->text, p, n) != 0)
            continue;
        after.text += n;
        after.dummy += d->n;
        if (!step(&after, next))
            continue;
        t->begin = (size_t)(w->text - text);
        t->end = t->begin + n;
        *w = after;
        return true;
    }
    return false;
}

// Whether the dummies stand in the order of their turns and what is between them in both texts.
static bool place_all(axl_chat_scratch *s)
{
    walk w = {s->text.data, s->text.data + s->text.len, s->dummy.data,
              s->dummy.data + s->dummy.len};
    const char *at = w.dummy, *next;
    chat_turn *turn = NULL;
    joint_dummy d = {.n = 0};

    for (size_t i = 0; i <= s->n_turns; i++) {
        joint_dummy other = {.n = 0};

        next = w.dummy_end;
        if (i < s->n_turns) {
            if (!s->turns[i].placed)
                continue;
            other = dummy_of(i);
            next = memmem(at, (size_t)(w.dummy_end - at), other.text, other.n);
            if (next == NULL)
                return false;
        }
        if (turn == NULL ? !step(&w, (size_t)(next - at))
                         : !step_content(&w, turn, &d, (size_t)(next - at), s->text.data))
            return false;
        turn = i < s->n_turns ? &s->turns[i] : NULL;
        d = other;
        at = next + d.n;
    }
    return w.text == w.text_end;
}

// A dummy that stands twice is printed twice by the template.
static bool any_twice(const axl_chat_scratch *s, size_t n_placed)
{
    static const char head[] = "[[dummy_message_";
    const char *p = s->dummy.data, *end = p + s->dummy.len;
    size_t n = 0;

    while ((p = memmem(p, (size_t)(end - p), head, sizeof head - 1)) != NULL) {
        p += sizeof head - 1;
        n++;
    }
    return n != n_placed;
}

axl_status axl_chat_place_turns(const axl_chat_encoder *c, axl_chat_scratch *s)
{
    axl_status status = AXL_OK;
    size_t n = 0;
    bool fine;

    for (size_t i = 0; i < s->n_turns; i++) {
        s->turns[i].placed = axl_chat_is_searched(c, s, i) && is_plain(c, &s->turns[i]);
        n += s->turns[i].placed;
    }
    if (n == 0)
        goto out;
    status = render_dummies(c, s);
    if (status != AXL_OK && status != AXL_E_INPUT)
        goto out;
    fine =
        status == AXL_OK && s->text.len > 0 && s->dummy.len > 0 && !any_twice(s, n) && place_all(s);
    status = AXL_OK;
    for (size_t i = 0; i < s->n_turns && !fine; i++)
        s->turns[i].placed = false;
out:
    return status;
}
