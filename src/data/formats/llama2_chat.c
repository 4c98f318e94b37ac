// llama2_chat: the layout of Llama 2 in one text, padded to sequence_len (datasets.md 4.2). The replies, from
// behind [/INST] to their </s>, are trained; the reference counts tokens of the old tokenizer and loses them.
#include "src/data/format.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SYSTEM                                                                                     \
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, " \
    "while being safe. Your answers should not include any harmful, unethical, racist, sexist, "   \
    "toxic, dangerous, or illegal content. Please ensure that your responses are socially "        \
    "unbiased and positive in nature.\n\nIf a question does not make any sense, or is not "        \
    "factually coherent, explain why instead of answering something not correct. If you don't "    \
    "know the answer to a question, please don't share false information."

#define CLOSE     "[/INST]"
#define END       " </s><s>"
#define EOS_CHARS 5 // of END: the space and </s>

typedef struct reply {
    int64_t begin, end; // code points of the text
} reply;

typedef struct llama2_state {
    reply *replies; // [n], owned
    int64_t n;
    size_t capacity;
} llama2_state;

static axl_status llama2_open(axl_encoder *e)
{
    axl_status status = AXL_OK;
    llama2_state *s = NULL;

    AXL_TRY(axl_calloc(1, sizeof *s, "format", &s));
    e->state = s;
    e->tokens.want_offsets = true;

out:
    return status;
}

static void llama2_close(axl_encoder *e)
{
    llama2_state *s = e->state;

    if (s == NULL)
        return;
    free(s->replies);
    free(s);
}

static int64_t count_chars(const axl_str *s)
{
    int64_t chars = 0;

    for (size_t i = 0; i < s->len; i++)
        chars += ((unsigned char)s->data[i] & 0xc0) != 0x80;
    return chars;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f');
}

static axl_status put_stripped(const axl_json *value, axl_str *out)
{
    const char *text = axl_json_string(value, "");
    size_t n = axl_json_string_length(value);

    for (; n > 0 && is_blank(text[n - 1]); n--)
        ;
    for (; n > 0 && is_blank(*text); n--)
        text++;
    return axl_str_append(out, text, n);
}

static const char *from_of(const axl_json *turn)
{
    return axl_json_string(axl_json_get(turn, "from"), "");
}

static axl_status put_turn(axl_encoder *e, const axl_json *turn, int64_t k)
{
    axl_status status = AXL_OK;
    llama2_state *s = e->state;
    bool user = k % 2 == 0;

    if (k > 0)
        AXL_TRY(axl_str_puts(&e->text, user ? "[INST] " : CLOSE));
    int64_t begin = count_chars(&e->text);
    if (!user)
        AXL_TRY(axl_str_putc(&e->text, ' '));
    AXL_TRY(put_stripped(axl_json_get(turn, "value"), &e->text));
    if (user && k > 0)
        AXL_TRY(axl_str_putc(&e->text, ' '));
    if (user)
        goto out;
    AXL_TRY(axl_grow(&s->replies, &s->capacity, (size_t)s->n + 1, sizeof *s->replies, "replies"));
    s->replies[s->n++] = (reply){begin, count_chars(&e->text) + EOS_CHARS};
    AXL_TRY(axl_str_puts(&e->text, END));

out:
    return status;
}

static axl_status put_conversation(axl_encoder *e, const axl_json *row)
{
    axl_status status = AXL_OK;
    llama2_state *s = e->state;
    const axl_json *turns = axl_json_get(row, "conversations");
    size_t n = axl_json_count(turns), i = 0;
    int64_t k = 0;

    AXL_REQUIRE(axl_json_is(turns, AXL_JSON_ARRAY), AXL_E_INPUT,
                "the column \"conversations\" must be a list of {\"from\", \"value\"}");
    s->n = 0;
    axl_str_clear(&e->text);
    bool own = n > 0 && strcmp(from_of(axl_json_at(turns, 0)), "system") == 0;
    AXL_TRY(axl_str_printf(&e->text, "[INST] <<SYS>>\n%s\n<</SYS>>\n\n",
                           own ? axl_json_string(axl_json_get(axl_json_at(turns, 0), "value"), "")
                               : SYSTEM));
    i = own;
    AXL_REQUIRE(n - i >= 2, AXL_E_INPUT, "the conversation has fewer than two turns");
    if (strcmp(from_of(axl_json_at(turns, i)), "gpt") == 0)
        i++; // one that opens the conversation has nothing to answer
    if ((n - i) % 2 == 1)
        n--; // a last question without an answer
    for (; i < n; i++, k++) {
        const char *from = from_of(axl_json_at(turns, i));
        AXL_REQUIRE(
            strcmp(from, k % 2 == 0 ? "human" : "gpt") == 0, AXL_E_INPUT,
            "the column \"conversations\": turn %zu is from \"%s\"; human and gpt must take turns",
            i, from);
        AXL_TRY(put_turn(e, axl_json_at(turns, i), k));
    }

out:
    return status;
}

static axl_status put_padding(axl_encoder *e, axl_samples *out)
{
    axl_status status = AXL_OK;
    int32_t pad = axl_tokenizer_special_id(e->tokenizer, "pad_token");

    pad = pad >= 0 ? pad : e->eos;
    while (pad >= 0 && axl_samples_open_length(out) < e->options->sequence_len)
        AXL_TRY(axl_samples_put(out, &pad, NULL, 1, false));

out:
    return status;
}

static axl_status llama2_encode(axl_encoder *e, const axl_json *row, axl_samples *out)
{
    axl_status status = AXL_OK;
    const llama2_state *s = e->state;
    const axl_token_buffer *b = &e->tokens;
    int64_t limit = e->options->sequence_len, at = 0;

    AXL_TRY(put_conversation(e, row));
    AXL_TRY(axl_tokenizer_encode(e->tokenizer, e->text.data, e->text.len, true, &e->tokens));
    for (int64_t t = 0; t < (int64_t)b->n && t < limit; t++) {
        while (at < s->n && s->replies[at].end <= b->begin[t])
            at++;
        bool trained =
            at < s->n && b->begin[t] >= s->replies[at].begin && b->end[t] <= s->replies[at].end;
        AXL_TRY(axl_samples_put(out, &b->ids[t], NULL, 1, trained || e->options->train_on_inputs));
    }
    AXL_TRY(put_padding(e, out));
    AXL_TRY(axl_encoder_end(out));

out:
    return status;
}

static const char *const type_names[] = {"llama2_chat", NULL};

const axl_format axl_format_llama2_chat = {.name = "llama2_chat",
                                           .types = type_names,
                                           .needs_tokenizer = true,
                                           .open = llama2_open,
                                           .encode = llama2_encode,
                                           .close = llama2_close};
