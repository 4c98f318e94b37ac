// From a row of the data set to the messages that the template sees, and what is trained of each.
#include "src/text/chat_internal.h"

#include "src/base/mem.h"

#include <string.h>

// A copy without members that are null, at any depth; elements of arrays stay.
static axl_status without_nulls(const axl_json *v, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_json *copy = NULL, *child, *child_copy;
    const char *key;
    void *it = NULL;

    if (axl_json_is(v, AXL_JSON_OBJECT)) {
        copy = axl_json_new_object();
        AXL_REQUIRE(copy != NULL, AXL_E_MEMORY, "no memory for a message");
        while (axl_json_next((axl_json *)(uintptr_t)v, &it, &key, &child)) {
            if (axl_json_is(child, AXL_JSON_NULL))
                continue;
            AXL_TRY(without_nulls(child, &child_copy));
            AXL_TRY(axl_json_set(copy, key, child_copy));
        }
    } else if (axl_json_is(v, AXL_JSON_ARRAY)) {
        copy = axl_json_new_array();
        AXL_REQUIRE(copy != NULL, AXL_E_MEMORY, "no memory for a message");
        for (size_t i = 0; i < axl_json_count(v); i++) {
            AXL_TRY(without_nulls(axl_json_at(v, i), &child_copy));
            AXL_TRY(axl_json_append(copy, child_copy));
        }
    } else {
        copy = axl_json_ref((axl_json *)(uintptr_t)v);
    }
    *out = copy;
    copy = NULL;
out:
    axl_json_free(copy);
    return status;
}

static axl_status set_string(axl_json *object, const char *key, const char *text, size_t n)
{
    axl_status status = AXL_OK;
    axl_json *v = axl_json_new_string(n > 0 ? text : "", n);

    AXL_REQUIRE(v != NULL, AXL_E_MEMORY, "no memory for a message");
    AXL_TRY(axl_json_set(object, key, v));
out:
    return status;
}

// v itself, or what a string parses to; null-free. *out is owned by the caller.
static axl_status parsed(const axl_json *v, const char *what, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_json *p = NULL;

    if (axl_json_is(v, AXL_JSON_STRING)) {
        AXL_TRY(
            axl_jinja_context_parse(axl_json_string(v, ""), axl_json_string_length(v), what, &p));
        *out = p;
        p = NULL;
    } else {
        AXL_TRY(without_nulls(v, out));
    }
out:
    axl_json_free(p);
    return status;
}

// ---- masks ----

static size_t count_chars(const char *p, size_t n)
{
    size_t chars = 0;

    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)p[i] & 0xc0) != 0x80;
    return chars;
}

static axl_status mask_append(axl_chat_scratch *s, chat_mask *m, size_t n, bool trained)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_grow(&s->mask, &s->mask_capacity, s->n_mask + n + 1, 1, "a training mask"));
    memset(s->mask + s->n_mask, trained, n);
    s->n_mask += n;
    m->n += n;
out:
    return status;
}

// A flag of the data: whether something is trained. null is false.
static axl_status read_flag(const axl_json *v, const char *key, bool *out)
{
    axl_status status = AXL_OK;
    bool on = false;

    AXL_REQUIRE(axl_json_is(v, AXL_JSON_NULL) || axl_json_weight(v, &on), AXL_E_INPUT,
                "%s must be true or false, not %s", key,
                axl_json_is(v, AXL_JSON_STRING) ? "another text"
                                                : axl_json_kind_name(axl_json_type(v)));
    *out = on;
out:
    return status;
}

static const axl_json *part_text(const axl_json *part)
{
    static const char *const keys[] = {"text", "content", "value"};

    if (strcmp(axl_json_string(axl_json_get(part, "type"), ""), "text") != 0)
        return NULL;
    for (int i = 0; i < 3; i++)
        if (axl_json_is(axl_json_get(part, keys[i]), AXL_JSON_STRING))
            return axl_json_get(part, keys[i]);
    return NULL;
}

// A list of text parts becomes a string, and a mask when a part has train or weight. Lists with other
// parts (images) stay for the template.
static axl_status join_parts(axl_chat_scratch *s, axl_json *message, const char *key, chat_mask *m)
{
    axl_status status = AXL_OK;
    const axl_json *list = axl_json_get(message, key);
    axl_str text = {0};
    bool flagged = false, before = true;
    size_t n = axl_json_count(list);

    if (!axl_json_is(list, AXL_JSON_ARRAY))
        goto out;
    for (size_t i = 0; i < n; i++)
        if (part_text(axl_json_at(list, i)) == NULL)
            goto out;
    m->begin = s->n_mask;
    for (size_t i = 0; i < n; i++) {
        const axl_json *part = axl_json_at(list, i), *t = part_text(part);
        const axl_json *train = axl_json_get(part, "train"), *weight = axl_json_get(part, "weight");
        size_t k = axl_json_string_length(t);
        bool on = true;

        flagged = flagged || train != NULL || weight != NULL;
        if (train != NULL)
            AXL_TRY_CTX(read_flag(train, "train", &on), "part %zu of %s", i, key);
        else if (weight != NULL)
            AXL_TRY_CTX(read_flag(weight, "weight", &on), "part %zu of %s", i, key);
        // A tokenizer joins the blank to the next word; that token is masked, as it is in both parts.
        if (text.len > 0 && k > 0 && on != before &&
            (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
            s->blank_edge = true;
        before = k > 0 ? on : before;
        AXL_TRY(axl_str_append(&text, axl_json_string(t, ""), k));
        AXL_TRY(mask_append(s, m, count_chars(axl_json_string(t, ""), k), on));
    }
    m->given = flagged;
    AXL_TRY(set_string(message, key, text.data, text.len));
out:
    axl_str_fini(&text);
    return status;
}

// Spans {begin_offset, end_offset (inclusive), train} over the content; what none covers is masked.
static axl_status read_spans(axl_chat_scratch *s, const axl_json *list, const axl_json *content,
                             const char *key, chat_mask *m)
{
    axl_status status = AXL_OK;
    int64_t n;

    AXL_REQUIRE(axl_json_is(list, AXL_JSON_ARRAY), AXL_E_INPUT,
                "%s must be a list of spans, not %s", key, axl_json_kind_name(axl_json_type(list)));
    *m = (chat_mask){.given = true, .begin = s->n_mask};
    AXL_TRY(mask_append(
        s, m, count_chars(axl_json_string(content, ""), axl_json_string_length(content)), false));
    n = (int64_t)m->n;
    if (axl_json_count(list) == 0)
        m->n = 0; // an empty list: nothing of this turn is trained
    for (size_t i = 0; i < axl_json_count(list); i++) {
        const axl_json *span = axl_json_at(list, i);
        int64_t begin = axl_json_int(axl_json_get(span, "begin_offset"), -1);
        int64_t end = axl_json_int(axl_json_get(span, "end_offset"), -1);

        bool on = false;

        AXL_REQUIRE(begin >= 0 && end >= begin, AXL_E_INPUT,
                    "%s: span %zu needs 0 <= begin_offset <= end_offset", key, i);
        AXL_TRY_CTX(read_flag(axl_json_get(span, "train"), "train", &on), "%s: span %zu", key, i);
        for (int64_t k = begin; k <= end && k < n; k++)
            s->mask[m->begin + (size_t)k] = on;
    }
out:
    return status;
}

// ---- one message ----

static const char *map_role(const axl_chat_options *o, const char *role)
{
    for (int i = 0; i < o->n_roles; i++)
        if (strcmp(o->roles[i].key, role) == 0)
            return o->roles[i].value;
    return role;
}

// Whether the data set's key feeds a key of the template, and so is not copied under its own name.
static bool is_source(const axl_chat_options *o, const char *key)
{
    for (int i = 0; i < o->n_mappings; i++)
        if (strcmp(o->mappings[i].value, key) == 0)
            return true;
    return strcmp(o->field_thinking, key) == 0;
}

static axl_status copy_key(axl_json *to, const char *key, axl_json *v)
{
    return axl_json_set(to, key, axl_json_ref(v));
}

// The message with the template's keys: mapped ones, then all others.
static axl_status map_keys(const axl_chat_options *o, axl_json *from, axl_json *to)
{
    axl_status status = AXL_OK;
    axl_json *v;
    const char *key;
    void *it = NULL;

    for (int i = 0; i < o->n_mappings; i++) {
        v = axl_json_get(from, o->mappings[i].value);
        if (v != NULL)
            AXL_TRY(copy_key(to, o->mappings[i].key, v));
    }
    v = axl_json_get(from, o->field_thinking);
    if (v != NULL && axl_json_get(to, o->template_thinking_key) == NULL)
        AXL_TRY(copy_key(to, o->template_thinking_key, v));
    while (axl_json_next(from, &it, &key, &v))
        if (!is_source(o, key) && axl_json_get(to, key) == NULL)
            AXL_TRY(copy_key(to, key, v));
    v = axl_json_get(to, "role");
    AXL_REQUIRE(axl_json_is(v, AXL_JSON_STRING), AXL_E_INPUT,
                "a message has no role; message_property_mappings says which key holds it");
    key = map_role(o, axl_json_string(v, ""));
    AXL_TRY(set_string(to, "role", key, strlen(key)));
out:
    return status;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void strip(const char **p, size_t *n, bool both)
{
    while (*n > 0 && is_blank(**p)) {
        (*p)++;
        (*n)--;
    }
    while (both && *n > 0 && is_blank((*p)[*n - 1]))
        (*n)--;
}

void axl_chat_strip(const char **p, size_t *n)
{
    strip(p, n, true);
}

static const char *find(const char *p, size_t n, const char *what)
{
    return memmem(p, n, what, strlen(what));
}

// An assistant's content with thoughts in it: they go to the thinking key, the rest stays.
static axl_status split_thinking(const axl_chat_options *o, axl_json *message)
{
    axl_status status = AXL_OK;
    static const char *const pairs[][2] = {{"<think>", "</think>"},
                                           {"<reasoning>", "</reasoning>"},
                                           {"<|begin_of_thought|>", "<|end_of_thought|>"}};
    static const char begin[] = "<|begin_of_solution|>", end[] = "<|end_of_solution|>";
    const axl_json *content = axl_json_get(message, "content");
    const char *p = axl_json_string(content, ""), *open = NULL, *close = NULL;
    size_t n = axl_json_string_length(content), k = 0, n_inner, n_rest;
    const char *inner, *rest;

    if (strcmp(axl_json_string(axl_json_get(message, "role"), ""), "assistant") != 0 || n == 0)
        goto out;
    for (; k < 3; k++) {
        open = find(p, n, pairs[k][0]);
        close = find(p, n, pairs[k][1]);
        if (open != NULL && close != NULL)
            break;
    }
    if (k == 3 || close < open)
        goto out;
    inner = open + strlen(pairs[k][0]);
    n_inner = (size_t)(close - inner);
    strip(&inner, &n_inner, true);
    rest = close + strlen(pairs[k][1]);
    n_rest = n - (size_t)(rest - p); // what stands before the thoughts is dropped
    strip(&rest, &n_rest, false);
    open = find(rest, n_rest, begin);
    close = find(rest, n_rest, end);
    if (open != NULL && close != NULL && close >= open + sizeof begin - 1) {
        rest = open + sizeof begin - 1;
        n_rest = (size_t)(close - rest);
        strip(&rest, &n_rest, true);
    }
    // The content goes last: the other strings lie in it.
    AXL_TRY(set_string(message, o->template_thinking_key, inner, n_inner));
    AXL_TRY(set_string(message, "content", rest, n_rest));
out:
    return status;
}

// The arguments of tool calls may stand as JSON text; the template wants the object.
static axl_status parse_calls(axl_json *message)
{
    axl_status status = AXL_OK;
    axl_json *calls = axl_json_get(message, "tool_calls");

    for (size_t i = 0; axl_json_is(calls, AXL_JSON_ARRAY) && i < axl_json_count(calls); i++) {
        axl_json *function = axl_json_get(axl_json_at(calls, i), "function"), *p;

        if (!axl_json_is(axl_json_get(function, "arguments"), AXL_JSON_STRING))
            continue;
        AXL_TRY(parsed(axl_json_get(function, "arguments"), "arguments of a tool call", &p));
        AXL_TRY(axl_json_set(function, "arguments", p));
    }
out:
    return status;
}

static bool role_is_trained(const axl_chat_options *o, const char *role)
{
    for (int i = 0; i < o->n_roles_to_train; i++)
        if (strcmp(map_role(o, o->roles_to_train[i]), role) == 0)
            return true;
    return o->train_on_inputs;
}

static axl_status decide(const axl_chat_options *o, const axl_json *from, chat_turn *t)
{
    axl_status status = AXL_OK;
    const axl_json *flag = o->field_training != NULL ? axl_json_get(from, o->field_training) : NULL;

    if (flag != NULL)
        AXL_TRY(read_flag(flag, o->field_training, &t->trained));
    else if (t->mask[CHAT_CONTENT].given || t->mask[CHAT_THINKING].given)
        t->trained = t->mask[CHAT_CONTENT].n > 0 || t->mask[CHAT_THINKING].n > 0;
    else
        t->trained = role_is_trained(o, axl_json_string(axl_json_get(t->message, "role"), ""));
out:
    return status;
}

static axl_status add_turn(const axl_chat_encoder *c, axl_chat_scratch *s, axl_json *from)
{
    axl_status status = AXL_OK;
    const axl_chat_options *o = &c->o;
    axl_json *message = NULL, *spans;
    chat_turn t = {0};

    AXL_REQUIRE(axl_json_is(from, AXL_JSON_OBJECT), AXL_E_INPUT,
                "a message must be an object, not %s", axl_json_kind_name(axl_json_type(from)));
    message = axl_json_new_object();
    AXL_REQUIRE(message != NULL, AXL_E_MEMORY, "no memory for a message");
    AXL_TRY(map_keys(o, from, message));
    if (o->split_thinking)
        AXL_TRY(split_thinking(o, message));
    AXL_TRY(parse_calls(message));
    AXL_TRY(join_parts(s, message, "content", &t.mask[CHAT_CONTENT]));
    AXL_TRY(join_parts(s, message, o->template_thinking_key, &t.mask[CHAT_THINKING]));
    spans = o->field_training_detail != NULL ? axl_json_get(from, o->field_training_detail) : NULL;
    if (spans != NULL && !t.mask[CHAT_CONTENT].given)
        AXL_TRY(read_spans(s, spans, axl_json_get(message, "content"), o->field_training_detail,
                           &t.mask[CHAT_CONTENT]));
    t.message = message;
    AXL_TRY(decide(o, from, &t));
    AXL_TRY(axl_grow(&s->turns, &s->turns_capacity, s->n_turns + 1, sizeof *s->turns, "turns"));
    s->turns[s->n_turns++] = t;
    AXL_TRY(axl_json_append(s->messages, axl_json_ref(message)));
out:
    axl_json_free(message);
    return status;
}

// ---- the row ----

static axl_status read_tools(const axl_chat_encoder *c, axl_chat_scratch *s, const axl_json *row)
{
    axl_status status = AXL_OK;
    const axl_json *tools = axl_json_get(row, c->o.field_tools);

    if (axl_json_is(tools, AXL_JSON_NULL))
        goto out;
    AXL_TRY(parsed(tools, c->o.field_tools, &s->tools));
    AXL_REQUIRE(axl_json_is(s->tools, AXL_JSON_ARRAY), AXL_E_INPUT, "%s must be a list, not %s",
                c->o.field_tools, axl_json_kind_name(axl_json_type(s->tools)));
    for (size_t i = 0; i < axl_json_count(s->tools); i++) {
        axl_json *function = axl_json_get(axl_json_at(s->tools, i), "function"), *p;

        if (!axl_json_is(axl_json_get(function, "parameters"), AXL_JSON_STRING))
            continue;
        AXL_TRY(parsed(axl_json_get(function, "parameters"), "parameters of a tool", &p));
        AXL_TRY(axl_json_set(function, "parameters", p));
    }
out:
    return status;
}

static bool is_system(const axl_json *message)
{
    return strcmp(axl_json_string(axl_json_get(message, "role"), ""), "system") == 0;
}

// A column named system becomes the first turn unless the conversation begins with one.
static axl_status add_system(const axl_chat_encoder *c, axl_chat_scratch *s, const axl_json *row,
                             const axl_json *first)
{
    axl_status status = AXL_OK;
    axl_json *system = axl_json_get(row, "system"), *message = NULL, *mapped = NULL;
    const char *role = NULL;

    for (int i = 0; i < c->o.n_mappings; i++)
        if (strcmp(c->o.mappings[i].key, "role") == 0)
            role = axl_json_string(axl_json_get(first, c->o.mappings[i].value), NULL);
    if (!axl_json_is(system, AXL_JSON_STRING) || c->o.drop_system_message || role == NULL ||
        strcmp(map_role(&c->o, role), "system") == 0)
        goto out;
    message = axl_json_new_object();
    AXL_REQUIRE(message != NULL, AXL_E_MEMORY, "no memory for a message");
    for (int i = 0; i < c->o.n_mappings; i++) {
        if (strcmp(c->o.mappings[i].key, "role") == 0)
            AXL_TRY(set_string(message, c->o.mappings[i].value, "system", 6));
        else if (strcmp(c->o.mappings[i].key, "content") == 0)
            AXL_TRY(copy_key(message, c->o.mappings[i].value, system));
    }
    AXL_TRY(add_turn(c, s, message));
out:
    axl_json_free(message);
    axl_json_free(mapped);
    return status;
}

static axl_status read_messages(const axl_chat_encoder *c, axl_chat_scratch *s, const axl_json *row,
                                axl_json **out)
{
    axl_status status = AXL_OK;
    const axl_json *list = axl_json_get(row, c->o.field_messages);
    axl_json *p = NULL;

    AXL_REQUIRE(list != NULL, AXL_E_INPUT,
                "the row has no %s; field_messages says which column holds the conversation",
                c->o.field_messages);
    AXL_TRY(parsed(list, c->o.field_messages, &p));
    if (axl_json_is(list, AXL_JSON_STRING)) { // its nulls count as missing too
        axl_json_free(s->messages);
        s->messages = p;
        p = NULL;
        AXL_TRY(without_nulls(s->messages, &p));
    }
    AXL_REQUIRE(axl_json_is(p, AXL_JSON_ARRAY), AXL_E_INPUT, "%s must be a list, not %s",
                c->o.field_messages, axl_json_kind_name(axl_json_type(p)));
    AXL_REQUIRE(axl_json_count(p) > 0, AXL_E_INPUT, "%s is empty", c->o.field_messages);
    *out = p;
    p = NULL;
out:
    axl_json_free(p);
    return status;
}

axl_status axl_chat_read_row(const axl_chat_encoder *c, axl_chat_scratch *s, const axl_json *row)
{
    axl_status status = AXL_OK;
    axl_json *list = NULL;
    size_t first = 0;

    AXL_REQUIRE(axl_json_is(row, AXL_JSON_OBJECT), AXL_E_INPUT, "a row must be an object, not %s",
                axl_json_kind_name(axl_json_type(row)));
    s->n_turns = 0;
    s->n_mask = 0;
    s->blank_edge = false;
    axl_json_free(s->tools);
    s->tools = NULL;
    AXL_TRY(read_messages(c, s, row, &list));
    axl_json_free(s->messages);
    s->messages = axl_json_new_array();
    AXL_REQUIRE(s->messages != NULL, AXL_E_MEMORY, "no memory for messages");
    AXL_TRY(read_tools(c, s, row));
    AXL_TRY(add_system(c, s, row, axl_json_at(list, 0)));
    for (size_t i = first; i < axl_json_count(list); i++) {
        AXL_TRY_CTX(add_turn(c, s, axl_json_at(list, i)), "%s[%zu]", c->o.field_messages, i);
        if (i == 0 && c->o.drop_system_message && is_system(s->turns[0].message)) {
            s->n_turns = 0;
            axl_json_free(s->messages);
            s->messages = axl_json_new_array();
            AXL_REQUIRE(s->messages != NULL, AXL_E_MEMORY, "no memory for messages");
        }
    }
out:
    axl_json_free(list);
    return status;
}
