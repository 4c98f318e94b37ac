// The quick way into a large BPE tokenizer.json: its vocabulary and merges, nearly all of the file, are
// read straight from the text into the tables, and only what is left is parsed as JSON. Whatever looks
// unusual here is left to the general way, which also gives the messages.
#include "src/text/tok_source.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
    const char *at, *end; // borrowed
    axl_str text;         // the string read last, when it had escapes
    bool bad;
} reader;

typedef struct piece {
    const char *s; // borrowed
    size_t n;
} piece;

static void skip_space(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

// Whether the next character is c; if so it is taken.
static bool take(reader *r, char c)
{
    skip_space(r);
    if (r->at >= r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static void expect(reader *r, char c)
{
    r->bad = r->bad || !take(r, c);
}

// The four digits of \uXXXX at p, or a value no code point has.
static uint32_t read_hex(const reader *r, const char *p)
{
    uint32_t value = 0;

    if (r->end - p < 4)
        return UINT32_MAX;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                : UINT32_MAX;
        if (digit == UINT32_MAX)
            return UINT32_MAX;
        value = value << 4 | digit;
    }
    return value;
}

// One escape sequence behind its backslash.
static void read_escape(reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *known = r->at < r->end && *r->at != '\0' ? strchr(from, *r->at) : NULL;

    if (known != NULL) {
        r->at++;
        r->bad = r->bad || axl_str_putc(&r->text, to[known - from]) != AXL_OK;
        return;
    }
    uint32_t cp = r->at < r->end && *r->at == 'u' ? read_hex(r, r->at + 1) : UINT32_MAX;
    if (cp >= 0xd800 && cp < 0xdc00 && r->end - r->at >= 11 && r->at[5] == '\\' &&
        r->at[6] == 'u') {
        uint32_t low = read_hex(r, r->at + 7);
        cp = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00)
                                           : UINT32_MAX;
        r->at += 6;
    }
    if (cp == 0 || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) {
        r->bad = true;
        return;
    }
    r->at += 5;
    r->bad = r->bad || axl_str_put_utf8(&r->text, cp) != AXL_OK;
}

// A string; without escapes it is a view of the file.
static piece read_string(reader *r)
{
    piece p = {"", 0};

    expect(r, '"');
    const char *begin = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 0x20)
        r->at++;
    if (r->at < r->end && *r->at == '"') {
        p = (piece){begin, (size_t)(r->at++ - begin)};
        return p;
    }
    axl_str_clear(&r->text);
    r->at = begin;
    while (!r->bad && r->at < r->end && *r->at != '"' && (unsigned char)*r->at >= 0x20) {
        if (*r->at == '\\') {
            r->at++;
            read_escape(r);
            continue;
        }
        r->bad = axl_str_putc(&r->text, *r->at++) != AXL_OK;
    }
    expect(r, '"');
    if (r->text.len > 0)
        p = (piece){r->text.data, r->text.len};
    return p;
}

// From the opening quote behind the closing one: the first that an even number of backslashes precedes.
static void skip_string(reader *r)
{
    const char *begin = ++r->at;

    while (r->at < r->end) {
        while (r->at < r->end && *r->at != '"')
            r->at++;
        const char *back = r->at;
        while (back > begin && back[-1] == '\\')
            back--;
        r->at++;
        if ((r->at - 1 - back) % 2 == 0)
            return;
    }
    r->at = r->end + 1; // noticed as bad
}

// Steps over any value without looking into it.
static void skip_value(reader *r)
{
    int depth = 0;

    do {
        skip_space(r);
        if (r->at >= r->end) {
            r->bad = true;
            return;
        }
        char c = *r->at;
        if (c == '"') {
            skip_string(r);
            continue;
        }
        depth += (c == '{') + (c == '[') - (c == '}') - (c == ']');
        r->at++;
        if (c != '{' && c != '[' && c != '}' && c != ']' && c != ',' && c != ':')
            while (r->at < r->end && memchr(",:]}[{\" \n\r\t", *r->at, 11) == NULL)
                r->at++;
    } while (depth > 0 && r->at < r->end);
    r->bad = r->bad || depth != 0 || r->at > r->end;
}

// A value that is looked for by its key, and maybe values inside of it.
typedef struct wanted {
    const char *key;
    const char *begin, *end; // of the value; NULL: not there
    struct wanted *inside;   // [n_inside]; the value must be an object then
    size_t n_inside;
} wanted;

static void find_values(reader *r, wanted *list, size_t n);

static void note_value(reader *r, wanted *w)
{
    r->bad = r->bad || w->begin != NULL; // a key that stands twice
    w->begin = r->at;
    if (r->bad)
        return;
    if (w->n_inside > 0)
        find_values(r, w->inside, w->n_inside);
    else
        skip_value(r);
    w->end = r->at;
}

// Walks the object at r and leaves r behind it.
static void find_values(reader *r, wanted *list, size_t n)
{
    expect(r, '{');
    if (take(r, '}'))
        return;
    do {
        piece key = read_string(r);
        wanted *w = NULL;
        for (size_t i = 0; i < n; i++)
            if (strlen(list[i].key) == key.n && memcmp(list[i].key, key.s, key.n) == 0)
                w = &list[i];
        expect(r, ':');
        skip_space(r);
        if (w != NULL)
            note_value(r, w);
        else if (!r->bad)
            skip_value(r);
    } while (!r->bad && take(r, ','));
    expect(r, '}');
}

static void read_vocab(reader *r, axl_tokenizer *t)
{
    expect(r, '{');
    while (!r->bad) {
        int64_t id = 0;
        piece key = read_string(r);
        expect(r, ':');
        skip_space(r);
        const char *digits = r->at;
        for (; r->at < r->end && *r->at >= '0' && *r->at <= '9' && id < AXL_TOK_MAX_ID; r->at++)
            id = 10 * id + (*r->at - '0');
        r->bad = r->bad || r->at == digits || (*digits == '0' && r->at - digits > 1) ||
                 axl_vocab_add(&t->vocab, key.s, key.n, id) != AXL_OK;
        if (!take(r, ','))
            break;
    }
    expect(r, '}');
}

#define AHEAD 32 // merges looked up together, so that waits for memory overlap

typedef struct merge {
    size_t begin, n[2]; // in text: left, right
    uint64_t hash[3];   // left, right, joined
    int32_t id[3];
} merge;

// One merge, "a b" or ["a", "b"], appended to text.
static void read_merge(reader *r, axl_str *text, merge *m)
{
    m->begin = text->len;
    if (take(r, '[')) {
        for (int i = 0; i < 2; i++) {
            piece p = read_string(r);
            m->n[i] = p.n;
            r->bad = r->bad || axl_str_append(text, p.s, p.n) != AXL_OK;
            if (i == 0)
                expect(r, ',');
        }
        expect(r, ']');
        return;
    }
    piece p = read_string(r);
    const char *space = memchr(p.s, ' ', p.n);
    if (space == NULL || memchr(space + 1, ' ', p.n - (size_t)(space + 1 - p.s)) != NULL) {
        r->bad = true;
        return;
    }
    m->n[0] = (size_t)(space - p.s);
    m->n[1] = p.n - m->n[0] - 1;
    r->bad = r->bad || axl_str_append(text, p.s, m->n[0]) != AXL_OK ||
             axl_str_append(text, space + 1, m->n[1]) != AXL_OK;
}

static uint64_t pair_of(const merge *m)
{
    return (uint64_t)(uint32_t)m->id[0] << 32 | (uint32_t)m->id[1];
}

static void put_merges(reader *r, axl_tokenizer *t, const axl_str *text, merge *list, size_t n,
                       uint64_t rank)
{
    const axl_vocab *v = &t->vocab;

    for (size_t i = 0; i < n; i++) {
        const char *s = text->data + list[i].begin;
        list[i].hash[0] = axl_tok_hash(s, list[i].n[0]);
        list[i].hash[1] = axl_tok_hash(s + list[i].n[0], list[i].n[1]);
        list[i].hash[2] = axl_tok_hash(s, list[i].n[0] + list[i].n[1]);
        for (int k = 0; k < 3; k++)
            __builtin_prefetch(&v->table[list[i].hash[k] & v->mask]);
    }
    for (size_t i = 0; i < n; i++) // the slots are here: now where they lead
        for (int k = 0; k < 3; k++)
            axl_vocab_prefetch(v, list[i].hash[k]);
    for (size_t i = 0; i < n; i++) {
        const char *s = text->data + list[i].begin;
        size_t n0 = list[i].n[0], n1 = list[i].n[1];
        list[i].id[0] = axl_vocab_find_hashed(v, s, n0, list[i].hash[0]);
        list[i].id[1] = axl_vocab_find_hashed(v, s + n0, n1, list[i].hash[1]);
        list[i].id[2] = axl_vocab_find_hashed(v, s, n0 + n1, list[i].hash[2]);
        r->bad = r->bad || list[i].id[0] < 0 || list[i].id[1] < 0 || list[i].id[2] < 0;
        axl_pairmap_prefetch(&t->bpe.merges, pair_of(&list[i]));
    }
    for (size_t i = 0; i < n && !r->bad; i++)
        r->bad = axl_pairmap_put(&t->bpe.merges, pair_of(&list[i]),
                                 (rank + i) << 32 | (uint32_t)list[i].id[2]) != AXL_OK;
}

static void read_merges(reader *r, axl_tokenizer *t)
{
    axl_str text = {0};
    merge list[AHEAD];
    uint64_t rank = 0;
    bool more = true;

    expect(r, '[');
    more = !take(r, ']');
    while (more && !r->bad) {
        size_t n = 0;
        axl_str_clear(&text);
        while (more && n < AHEAD && !r->bad) {
            read_merge(r, &text, &list[n++]);
            more = take(r, ',');
        }
        r->bad = r->bad || text.len == 0 || t->vocab.table == NULL || rank > INT32_MAX / 2;
        if (!r->bad)
            put_merges(r, t, &text, list, n, rank);
        rank += n;
        if (!more)
            expect(r, ']');
    }
    axl_str_fini(&text);
}

static size_t count_char(const char *s, const char *end, char c)
{
    size_t n = 0;
    for (; s < end; s++)
        n += *s == c;
    return n;
}

static bool is_text(const wanted *w, const char *text)
{
    size_t n = (size_t)(w->end - w->begin);
    return w->begin != NULL && n == strlen(text) && memcmp(w->begin, text, n) == 0;
}

axl_status axl_tok_fast_parse(const char *json, size_t n, axl_tokenizer *t, axl_str *rest)
{
    axl_status status = AXL_OK;
    reader r = {json, json + n, {0}, false};
    wanted in[] = {
        {.key = "vocab"}, {.key = "merges"}, {.key = "type"}, {.key = "continuing_subword_prefix"}};
    wanted model = {.key = "model", .inside = in, .n_inside = 4};

    if (axl_utf8_invalid_at(json, n) != n)
        goto out;
    find_values(&r, &model, 1);
    if (r.bad || in[0].begin == NULL || in[1].begin == NULL || !is_text(&in[2], "\"BPE\"") ||
        (in[3].begin != NULL && !is_text(&in[3], "null") && !is_text(&in[3], "\"\"")))
        goto out;
    AXL_TRY(axl_vocab_reserve(&t->vocab, count_char(in[0].begin, in[0].end, ',') + 1));
    AXL_TRY(axl_pairmap_reserve(&t->bpe.merges, count_char(in[1].begin, in[1].end, '"') / 4 + 2));
    r.at = in[0].begin;
    r.end = in[0].end;
    read_vocab(&r, t);
    r.bad = r.bad || r.at != r.end;
    r.at = in[1].begin;
    r.end = in[1].end;
    if (!r.bad)
        read_merges(&r, t);
    if (r.bad || r.at != r.end) {
        axl_vocab_fini(&t->vocab);
        axl_pairmap_fini(&t->bpe.merges);
        goto out;
    }
    const wanted *first = in[0].begin < in[1].begin ? &in[0] : &in[1];
    const wanted *second = first == &in[0] ? &in[1] : &in[0];
    AXL_TRY(axl_str_append(rest, json, (size_t)(first->begin - json)));
    AXL_TRY(axl_str_puts(rest, "null"));
    AXL_TRY(axl_str_append(rest, first->end, (size_t)(second->begin - first->end)));
    AXL_TRY(axl_str_puts(rest, "null"));
    AXL_TRY(axl_str_append(rest, second->end, (size_t)(json + n - second->end)));
    t->bpe.filled = true;
out:
    axl_str_fini(&r.text);
    return status;
}
