// Finds the tokens of a turn: renders the conversation with a dummy in the turn's place and compares.
//
// The comparison is by token, from both ends, as if both texts were tokenized whole. Special tokens cut
// a text before anything else is split, so only the stretch between the special tokens around the
// difference needs the tokenizer again; the rest of the dummy's tokens are those of the conversation.
#include "src/text/chat_internal.h"

#include <string.h>

static const char dummy_content[] = "[[dummy_message]]";
static const char dummy_thinking[] = "[[dummy_reasoning]]";

static axl_json *shallow_copy(axl_json *object)
{
    axl_json *copy = axl_json_new_object(), *v;
    const char *key;
    void *it = NULL;

    while (copy != NULL && axl_json_next(object, &it, &key, &v))
        if (axl_json_set(copy, key, axl_json_ref(v)) != AXL_OK) {
            axl_json_free(copy);
            return NULL;
        }
    return copy;
}

// Renders the first n turns, turn i replaced (NULL: none is), into out. Borrows replacement.
static axl_status render_with(const axl_chat_encoder *c, const axl_chat_scratch *s, size_t n,
                              size_t i, axl_json *replacement, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_json *messages = axl_json_new_array();
    chat_rendering r = {.messages = messages, .tools = s->tools};

    AXL_REQUIRE(messages != NULL, AXL_E_MEMORY, "no memory for messages");
    for (size_t k = 0; k < n; k++) {
        bool other = k == i && replacement != NULL;

        AXL_TRY(axl_json_append(messages, axl_json_ref(other ? replacement : s->turns[k].message)));
    }
    r.last_turn = n < s->n_turns ? s->n_turns - 1 : 0;
    axl_str_clear(out);
    AXL_TRY(axl_chat_render_into(c, &r, out));
out:
    axl_json_free(messages);
    return status;
}

// ---- comparing texts ----

// A text and where it differs from another: bytes in common at both ends, never overlapping.
typedef struct difference {
    size_t prefix, suffix;
} difference;

static bool inside_char(const axl_str *s, size_t at)
{
    return at < s->len && ((unsigned char)s->data[at] & 0xc0) == 0x80;
}

static difference compare_texts(const axl_str *x, const axl_str *y)
{
    size_t n = x->len < y->len ? x->len : y->len;
    difference d = {0};

    while (d.prefix < n && x->data[d.prefix] == y->data[d.prefix])
        d.prefix++;
    while (d.prefix > 0 && (inside_char(x, d.prefix) || inside_char(y, d.prefix)))
        d.prefix--;
    while (d.suffix < n - d.prefix &&
           x->data[x->len - 1 - d.suffix] == y->data[y->len - 1 - d.suffix])
        d.suffix++;
    while (d.suffix > 0 && inside_char(x, x->len - d.suffix))
        d.suffix--;
    return d;
}

static int64_t count_chars(const char *p, size_t n)
{
    int64_t chars = 0;

    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)p[i] & 0xc0) != 0x80;
    return chars;
}

// The byte offset of code point `at`, counted from the byte `from`, which is code point `from_char`.
static size_t byte_of(const axl_str *s, int64_t at)
{
    size_t i = 0;

    for (; i < s->len; i++)
        if (((unsigned char)s->data[i] & 0xc0) != 0x80 && at-- == 0)
            break;
    return i;
}

// ---- comparing tokens ----

// The dummy's tokens: those of the conversation with [i0, i1) replaced by the window's.
typedef struct dummy_tokens {
    const axl_token_buffer *ids, *window;
    size_t i0, i1;
} dummy_tokens;

static size_t dummy_count(const dummy_tokens *d)
{
    return d->ids->n - (d->i1 - d->i0) + d->window->n;
}

static int32_t dummy_id(const dummy_tokens *d, size_t at)
{
    if (at < d->i0)
        return d->ids->ids[at];
    if (at < d->i0 + d->window->n)
        return d->window->ids[at - d->i0];
    return d->ids->ids[at - d->window->n - d->i0 + d->i1];
}

static chat_span compare_tokens(const dummy_tokens *d)
{
    size_t n = d->ids->n, m = dummy_count(d), least = n < m ? n : m;
    size_t a = d->i0, k = 0;

    while (a < least && d->ids->ids[a] == dummy_id(d, a))
        a++;
    if (a == least && n == m)
        return (chat_span){.a = -1};
    while (k < least && d->ids->ids[n - 1 - k] == dummy_id(d, m - 1 - k))
        k++;
    if (k == least || n - k <= a)
        return (chat_span){.a = -1};
    return (chat_span){.a = (int64_t)a, .b = (int64_t)(n - k)};
}

// The stretch of tokens around the difference that special tokens bound, and its text in the dummy.
static axl_status tokenize_window(const axl_chat_encoder *c, axl_chat_scratch *s, difference d,
                                  dummy_tokens *out)
{
    axl_status status = AXL_OK;
    const axl_token_buffer *t = &s->ids;
    int64_t first = count_chars(s->text.data, d.prefix);
    int64_t last = count_chars(s->text.data, s->text.len - d.suffix);
    size_t i0 = 0, i1 = t->n, from = 0, to = s->text.len, cut;

    for (size_t i = 0; i < t->n && t->end[i] <= first; i++)
        if (t->begin[i] < t->end[i] && axl_tokenizer_is_special(c->tokenizer, t->ids[i]))
            i0 = i;
    for (size_t i = t->n; i-- > i0 + 1 && t->begin[i] >= last;)
        if (axl_tokenizer_is_special(c->tokenizer, t->ids[i]))
            i1 = i;
    if (i0 > 0)
        from = byte_of(&s->text, t->begin[i0]);
    if (i1 < t->n)
        to = byte_of(&s->text, t->begin[i1]);
    cut = s->text.len - to; // bytes behind the window, the same in both texts
    AXL_TRY(axl_tokenizer_encode(c->tokenizer, s->dummy.data + from, s->dummy.len - cut - from,
                                 false, &s->window));
    *out = (dummy_tokens){.ids = t, .window = &s->window, .i0 = i0, .i1 = i1};
out:
    return status;
}

// The same by the turns up to i alone, for templates that cannot do without what the turn holds once
// others follow (a tool's answer without its call). The tokens found must be those of the whole.
static axl_status find_in_prefix(const axl_chat_encoder *c, axl_chat_scratch *s, size_t i,
                                 axl_json *dummy, chat_span *out)
{
    axl_status status = AXL_OK;
    dummy_tokens tokens = {.ids = &s->prefix_ids, .window = &s->window, .i1 = 0};

    AXL_TRY(render_with(c, s, i + 1, i, NULL, &s->prefix));
    AXL_TRY(render_with(c, s, i + 1, i, dummy, &s->dummy));
    if (s->prefix.len == 0 || s->dummy.len == 0)
        goto out;
    AXL_TRY(
        axl_tokenizer_encode(c->tokenizer, s->prefix.data, s->prefix.len, false, &s->prefix_ids));
    AXL_TRY(axl_tokenizer_encode(c->tokenizer, s->dummy.data, s->dummy.len, false, &s->window));
    tokens.i1 = s->prefix_ids.n;
    *out = compare_tokens(&tokens);
    if (out->a >= 0 &&
        ((size_t)out->b > s->ids.n ||
         memcmp(s->ids.ids, s->prefix_ids.ids, (size_t)out->b * sizeof *s->ids.ids) != 0))
        out->a = -1;
out:
    if (status == AXL_E_INPUT) { // not in this way either
        out->a = -1;
        status = AXL_OK;
    }
    return status;
}

axl_status axl_chat_find_turn(const axl_chat_encoder *c, axl_chat_scratch *s, size_t i,
                              chat_span *out)
{
    axl_status status = AXL_OK;
    axl_json *dummy = axl_json_new_object(), *role = axl_json_get(s->turns[i].message, "role");
    dummy_tokens tokens;
    difference d;

    out->a = -1;
    AXL_REQUIRE(dummy != NULL, AXL_E_MEMORY, "no memory for a message");
    if (c->mistral && i == 0 && strcmp(axl_json_string(role, ""), "system") == 0)
        goto out;
    AXL_TRY(axl_json_set(dummy, "role", axl_json_ref(role)));
    AXL_TRY(axl_json_set(dummy, "content",
                         axl_json_new_string(dummy_content, sizeof dummy_content - 1)));
    status = render_with(c, s, s->n_turns, i, dummy, &s->dummy);
    if (status == AXL_E_INPUT) {
        AXL_TRY(find_in_prefix(c, s, i, dummy, out));
        goto out;
    }
    AXL_TRY(status);
    if (s->dummy.len == 0 || s->text.len == 0)
        goto out;
    d = compare_texts(&s->text, &s->dummy);
    if (d.prefix == s->text.len && d.prefix == s->dummy.len)
        goto out;
    AXL_TRY(tokenize_window(c, s, d, &tokens));
    *out = compare_tokens(&tokens);
out:
    axl_json_free(dummy);
    return status;
}

// ---- parts of a field ----

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// Where the field's value stands in the conversation: the code point of value[*skipped], where a
// template that strips the value drops *skipped blanks. -1: it does not stand there as it is.
static int64_t find_value(const axl_chat_scratch *s, const char *value, size_t n, const char *dummy,
                          size_t *skipped)
{
    difference d = compare_texts(&s->text, &s->dummy);
    size_t blanks = 0, end = n;

    while (blanks < n && is_blank(value[blanks]))
        blanks++;
    while (end > blanks && is_blank(value[end - 1]))
        end--;
    for (int stripped = 0; stripped < 2; stripped++) {
        size_t from = stripped ? blanks : 0, k = 0, len = (stripped ? end : n) - from;

        while (k < len && value[from + k] == dummy[k])
            k++; // what value and dummy share belongs to the value
        if (k > d.prefix)
            continue;
        if (s->text.len - (d.prefix - k) < len ||
            memcmp(s->text.data + d.prefix - k, value + from, len) != 0)
            continue;
        *skipped = from;
        return count_chars(s->text.data, d.prefix - k);
    }
    return -1;
}

static bool all_trained(const unsigned char *mask, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++)
        if (!mask[i])
            return false;
    return true;
}

axl_status axl_chat_label_field(const axl_chat_encoder *c, axl_chat_scratch *s, size_t i, int field)
{
    axl_status status = AXL_OK;
    const char *key = field == CHAT_CONTENT ? "content" : c->o.template_thinking_key;
    const char *dummy = field == CHAT_CONTENT ? dummy_content : dummy_thinking;
    const axl_json *value = axl_json_get(s->turns[i].message, key);
    const char *text = axl_json_string(value, "");
    size_t n = axl_json_string_length(value), skipped = 0;
    chat_mask m = s->turns[i].mask[field];
    axl_json *replacement = NULL;
    int64_t start, chars;

    if (m.n == 0 || n == 0)
        goto out;
    replacement = shallow_copy(s->turns[i].message);
    AXL_REQUIRE(replacement != NULL, AXL_E_MEMORY, "no memory for a message");
    AXL_TRY(axl_json_set(replacement, key, axl_json_new_string(dummy, strlen(dummy))));
    AXL_TRY(render_with(c, s, s->n_turns, i, replacement, &s->dummy));
    start = find_value(s, text, n, dummy, &skipped);
    if (start < 0)
        goto out;
    start -= count_chars(text, skipped); // where the first character of the value would stand
    chars = (int64_t)m.n;
    for (size_t t = 0; t < s->ids.n; t++) {
        // Blanks that a tokenizer leaves out of its offsets belong to the token behind them.
        int64_t before = t > 0 ? s->ids.end[t - 1] : 0;
        int64_t begin = s->ids.begin[t] > before ? before : s->ids.begin[t], end = s->ids.end[t];

        begin -= start;
        end -= start;
        if (begin >= 0 && end <= chars && begin < end && all_trained(s->mask + m.begin, begin, end))
            s->labels[t] = s->ids.ids[t];
    }
out:
    axl_json_free(replacement);
    return status;
}
