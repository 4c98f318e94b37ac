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
static axl_status render_with(const axl_chat_encoder *c, axl_chat_scratch *s, size_t n, size_t i,
                              axl_json *replacement, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_json *messages = axl_json_new_array();
    chat_rendering r = {.messages = messages};

    AXL_REQUIRE(messages != NULL, AXL_E_MEMORY, "no memory for messages");
    for (size_t k = 0; k < n; k++) {
        bool other = k == i && replacement != NULL;

        AXL_TRY(axl_json_append(messages, axl_json_ref(other ? replacement : s->turns[k].message)));
    }
    r.last_turn = n < s->n_turns ? s->n_turns - 1 : 0;
    axl_str_clear(out);
    AXL_TRY(axl_chat_render_into(c, s, &r, out));
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

// common: bytes at both ends that are known to be the same; they do not overlap.
static difference compare_texts(const axl_str *x, const axl_str *y, difference common)
{
    size_t n = x->len < y->len ? x->len : y->len;
    difference d = {.prefix = common.prefix};

    while (d.prefix < n && x->data[d.prefix] == y->data[d.prefix])
        d.prefix++;
    while (d.prefix > 0 && (inside_char(x, d.prefix) || inside_char(y, d.prefix)))
        d.prefix--;
    d.suffix = common.suffix < n - d.prefix ? common.suffix : n - d.prefix;
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

// The code points of the conversation before a byte. Turns are asked for in order, so the count goes
// on from the last place.
static int64_t chars_before(axl_chat_scratch *s, size_t byte)
{
    if (byte < s->at_byte)
        s->at_byte = 0;
    if (s->at_byte == 0)
        s->at_char = 0;
    s->at_char += count_chars(s->text.data + s->at_byte, byte - s->at_byte);
    s->at_byte = byte;
    return s->at_char;
}

// The byte n code points behind (n < 0: before) the byte `at`.
static size_t move_chars(const axl_str *s, size_t at, int64_t n)
{
    for (; n < 0 && at > 0; n++) {
        at--;
        while (at > 0 && inside_char(s, at))
            at--;
    }
    for (; n > 0 && at < s->len; n--) {
        at++;
        while (inside_char(s, at))
            at++;
    }
    return at;
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
    size_t a = d->i0, k = n - d->i1; // what is behind the window is the same

    while (a < least && d->ids->ids[a] == dummy_id(d, a))
        a++;
    if (a == least && n == m)
        return (chat_span){.a = -1};
    if (k > least)
        k = least;
    while (k < least && d->ids->ids[n - 1 - k] == dummy_id(d, m - 1 - k))
        k++;
    if (k == least || n - k <= a)
        return (chat_span){.a = -1};
    return (chat_span){.a = (int64_t)a, .b = (int64_t)(n - k)};
}

// The first token whose end is above `at`, or whose begin is at least `at`.
static size_t lower_bound(const int32_t *offsets, size_t n, int64_t at)
{
    size_t low = 0;

    while (low < n) {
        size_t middle = low + (n - low) / 2;

        if (offsets[middle] < at)
            low = middle + 1;
        else
            n = middle;
    }
    return low;
}

// The ids of a text, from an earlier turn if it had the same.
static axl_status window_ids(const axl_chat_encoder *c, axl_chat_scratch *s, const char *p,
                             size_t n, const axl_token_buffer **out)
{
    axl_status status = AXL_OK;
    chat_window *w;

    for (size_t i = 0; i < CHAT_N_WINDOWS && i < s->n_windows; i++) {
        w = &s->windows[i];
        if (w->text.len == n && (n == 0 || memcmp(w->text.data, p, n) == 0)) {
            *out = &w->ids;
            goto out;
        }
    }
    w = &s->windows[s->n_windows % CHAT_N_WINDOWS];
    axl_str_clear(&w->text);
    AXL_TRY(axl_tokenizer_encode(c->tokenizer, p, n, false, &w->ids));
    AXL_TRY(axl_str_append(&w->text, p, n));
    s->n_windows++;
    *out = &w->ids;
out:
    return status;
}

// The stretch of tokens around the difference that special tokens bound, and its text in the dummy.
static axl_status tokenize_window(const axl_chat_encoder *c, axl_chat_scratch *s, difference d,
                                  dummy_tokens *out)
{
    axl_status status = AXL_OK;
    const axl_token_buffer *t = &s->ids;
    int64_t first = chars_before(s, d.prefix);
    int64_t last = chars_before(s, s->text.len - d.suffix);
    size_t i0 = lower_bound(t->end, t->n, first + 1), i1, from = 0, to = s->text.len, cut;

    while (i0 > 0 && !(t->begin[i0 - 1] < t->end[i0 - 1] &&
                       axl_tokenizer_is_special(c->tokenizer, t->ids[i0 - 1])))
        i0--;
    i0 -= i0 > 0; // the special token belongs to the window
    i1 = lower_bound(t->begin, t->n, last);
    i1 = i1 > i0 ? i1 : i0 + 1;
    while (i1 < t->n && !axl_tokenizer_is_special(c->tokenizer, t->ids[i1]))
        i1++;
    i1 = i1 < t->n ? i1 : t->n;
    if (i0 > 0)
        from = move_chars(&s->text, d.prefix, t->begin[i0] - first);
    if (i1 < t->n)
        to = move_chars(&s->text, s->text.len - d.suffix, t->begin[i1] - last);
    cut = s->text.len - to; // bytes behind the window, the same in both texts
    *out = (dummy_tokens){.ids = t, .i0 = i0, .i1 = i1};
    AXL_TRY(window_ids(c, s, s->dummy.data + from, s->dummy.len - cut - from, &out->window));
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

bool axl_chat_is_searched(const axl_chat_encoder *c, const axl_chat_scratch *s, size_t i)
{
    bool every = c->o.train_on_eos == AXL_CHAT_TRAIN_ALL || c->o.train_on_eot == AXL_CHAT_TRAIN_ALL;
    const axl_json *role = axl_json_get(s->turns[i].message, "role");

    if (c->mistral && i == 0 && strcmp(axl_json_string(role, ""), "system") == 0)
        return false;
    return s->turns[i].trained || every;
}

// The conversation with turn i replaced by a dummy, to s->dummy; AXL_E_INPUT when it does not render.
static axl_status make_dummy(const axl_chat_encoder *c, axl_chat_scratch *s, size_t i,
                             axl_json *dummy, difference *common)
{
    axl_status status = AXL_OK;
    const chat_turn *t = &s->turns[i];

    *common = (difference){0};
    if (!t->placed) {
        AXL_TRY(render_with(c, s, s->n_turns, i, dummy, &s->dummy));
        goto out;
    }
    axl_str_clear(&s->dummy);
    AXL_TRY(axl_str_append(&s->dummy, s->text.data, t->begin));
    AXL_TRY(axl_str_append(&s->dummy, dummy_content, sizeof dummy_content - 1));
    AXL_TRY(axl_str_append(&s->dummy, s->text.data + t->end, s->text.len - t->end));
    *common = (difference){t->begin, s->text.len - t->end};
out:
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
    AXL_TRY(axl_json_set(dummy, "role", axl_json_ref(role)));
    AXL_TRY(axl_json_set(dummy, "content",
                         axl_json_new_string(dummy_content, sizeof dummy_content - 1)));
    status = make_dummy(c, s, i, dummy, &d);
    if (status == AXL_E_INPUT) {
        AXL_TRY(find_in_prefix(c, s, i, dummy, out));
        goto out;
    }
    AXL_TRY(status);
    if (s->dummy.len == 0 || s->text.len == 0)
        goto out;
    d = compare_texts(&s->text, &s->dummy, d);
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
    difference d = compare_texts(&s->text, &s->dummy, (difference){0});
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
