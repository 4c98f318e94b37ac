// Template text to tokens, with jinja2's white space rules: trim_blocks (the newline after a block or
// comment tag goes), lstrip_blocks (blanks before one on its line go), `-` and `+` at tag edges.
//
// The hard thing is that a tag's beginning changes the text before it and its end the text after it;
// both are settled when the tag is met.
#include "src/text/jinja_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct lexer {
    j_env *e;
    const char *s;
    size_t n, at;
    int line;
    bool line_starting; // the last match ended in a newline
    j_tokens *out;
    size_t open_capacity;
    char *open; // brackets not yet closed
    size_t n_open;
} lexer;

static axl_status add_token(lexer *x, j_token_type type, size_t from, size_t to)
{
    axl_status status = AXL_OK;
    j_tokens *t = x->out;

    if (t->n == t->capacity) {
        int64_t capacity = t->capacity < 64 ? 64 : t->capacity * 2;
        j_token *grown;

        AXL_TRY(axl_j_take(x->e, (size_t)capacity * sizeof *grown, &grown));
        if (t->n > 0)
            memcpy(grown, t->items, (size_t)t->n * sizeof *grown);
        t->items = grown;
        t->capacity = capacity;
    }
    t->items[t->n++] = (j_token){.type = type, .line = x->line, .p = x->s + from, .n = to - from};
out:
    return status;
}

static void advance(lexer *x, size_t to)
{
    for (size_t i = x->at; i < to; i++)
        x->line += x->s[i] == '\n';
    x->at = to;
    x->e->line = x->line;
}

static bool starts(const lexer *x, size_t at, const char *word)
{
    size_t n = strlen(word);

    return at + n <= x->n && memcmp(x->s + at, word, n) == 0;
}

static size_t skip_space(const lexer *x, size_t at)
{
    uint32_t cp;

    while (at < x->n) {
        size_t k = axl_j_cp(x->s + at, x->n - at, &cp);

        if (!axl_j_is_space(cp))
            break;
        at += k;
    }
    return at;
}

// The text before a tag at x->at .. tag, whose sign ('-', '+' or 0) and kind shorten it.
static axl_status add_data(lexer *x, size_t tag, char sign, bool is_block)
{
    axl_status status = AXL_OK;
    size_t end = tag, line = tag;
    j_str text = {.p = x->s + x->at, .n = tag - x->at, .n_chars = -1};

    if (sign == '-') {
        end = x->at + axl_j_strip(&text, NULL, 2).n;
    } else if (sign != '+' && is_block) {
        while (line > x->at && x->s[line - 1] != '\n')
            line--;
        if ((line > x->at || x->line_starting) && skip_space(x, line) >= tag)
            end = line;
    }
    if (end > x->at) {
        AXL_TRY(add_token(x, JT_DATA, x->at, end));
        x->out->items[x->out->n - 1].value.kind = J_STR;
    }
    advance(x, tag);
out:
    return status;
}

// Where the end tag at `at` ends (its white space rules included), or 0 when none stands there.
// closing is "%}", "}}" or "#}".
static size_t tag_end(const lexer *x, size_t at, const char *closing)
{
    bool is_var = closing[0] == '}';

    if (x->s[at] == '-' && starts(x, at + 1, closing))
        return skip_space(x, at + 3);
    if (!is_var && x->s[at] == '+' && starts(x, at + 1, closing))
        return at + 3;
    if (!starts(x, at, closing))
        return 0;
    return at + 2 + (!is_var && at + 2 < x->n && x->s[at + 2] == '\n');
}

static void close_tag(lexer *x, size_t to)
{
    advance(x, to);
    x->line_starting = x->s[to - 1] == '\n';
}

static axl_status lex_comment(lexer *x, size_t from)
{
    axl_status status = AXL_OK;
    size_t end = 0;

    for (size_t i = from; i < x->n && end == 0; i++)
        if (x->s[i] == '#' || x->s[i] == '-' || x->s[i] == '+')
            end = tag_end(x, i, "#}");
    J_REQUIRE(x->e, end != 0, "Missing end of comment tag");
    close_tag(x, end);
out:
    return status;
}

// At "{%": the end of a raw tag (its -%} rule included), or 0.
static size_t raw_begin(const lexer *x, size_t at)
{
    size_t i = at + 2;

    if (i < x->n && (x->s[i] == '-' || x->s[i] == '+'))
        i++;
    i = skip_space(x, i);
    if (!starts(x, i, "raw"))
        return 0;
    i = skip_space(x, i + 3);
    if (starts(x, i, "-%}"))
        return skip_space(x, i + 3);
    return starts(x, i, "%}") ? i + 2 : 0;
}

static axl_status lex_raw(lexer *x, size_t begin_end)
{
    axl_status status = AXL_OK;

    close_tag(x, begin_end);
    for (size_t i = x->at; i + 1 < x->n; i++) {
        size_t k = i + 2, end;
        char sign = k < x->n ? x->s[k] : '\0';

        if (x->s[i] != '{' || x->s[i + 1] != '%')
            continue;
        sign = sign == '-' || sign == '+' ? sign : '\0';
        k = skip_space(x, k + (sign != '\0'));
        if (!starts(x, k, "endraw"))
            continue;
        k = skip_space(x, k + 6);
        end = k < x->n ? tag_end(x, k, "%}") : 0;
        if (end == 0)
            continue;
        AXL_TRY(add_data(x, i, sign, true));
        close_tag(x, end);
        goto out;
    }
    J_FAIL(x->e, "Missing end of raw directive");
out:
    return status;
}

// ---- inside a tag ----

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits(const lexer *x, size_t at)
{
    while (at < x->n &&
           (is_digit(x->s[at]) || (x->s[at] == '_' && at + 1 < x->n && is_digit(x->s[at + 1]))))
        at++;
    return at;
}

static size_t based_digits(const lexer *x, size_t at, int base)
{
    static const char all[] = "0123456789abcdefABCDEF";
    size_t from = at;

    while (at < x->n && x->s[at] != '\0') {
        const char *d = strchr(all, x->s[at]);

        if (x->s[at] != '_' && (d == NULL || (base < 16 && d - all >= base)))
            break;
        at++;
    }
    return at == from ? 0 : at;
}

// Kept as its digits, without leading zeros.
static axl_status big_integer(j_env *e, const char *text, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};

    AXL_TRY(axl_j_puts(e, &b, text + strspn(text, "0")));
    AXL_TRY(axl_j_buf_value(e, &b, res));
    res->kind = J_BIG;
out:
    return status;
}

static axl_status lex_number(lexer *x)
{
    axl_status status = AXL_OK;
    char text[128];
    size_t n = 0, end = digits(x, x->at), k;
    bool real = false;
    int base = 10;
    char *stop;
    j_value v;

    if (x->s[x->at] == '0' && x->at + 1 < x->n) {
        char c = (char)(x->s[x->at + 1] | 32);
        int b = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;

        if (b != 10 && (k = based_digits(x, x->at + 2, b)) != 0) {
            end = k;
            base = b;
        }
    }
    if (base == 10 && end + 1 < x->n && x->s[end] == '.' && is_digit(x->s[end + 1])) {
        end = digits(x, end + 1);
        real = true;
    }
    if (base == 10 && end + 1 < x->n && (x->s[end] | 32) == 'e') {
        k = end + 1 + (x->s[end + 1] == '+' || x->s[end + 1] == '-');
        if (k < x->n && is_digit(x->s[k])) {
            end = digits(x, k);
            real = true;
        }
    }
    for (size_t i = x->at + (base != 10 ? 2 : 0); i < end; i++)
        if (x->s[i] != '_') {
            J_REQUIRE(x->e, n + 1 < sizeof text, "a number of more than 126 digits");
            text[n++] = x->s[i];
        }
    text[n] = '\0';
    if (real) {
        v = axl_j_float(strtod(text, NULL));
    } else {
        unsigned long long u = strtoull(text, &stop, base);

        v = axl_j_int((int64_t)u);
        if (u > INT64_MAX) {
            J_REQUIRE(x->e, base == 10, "the integer %s is beyond 64 bits", text);
            AXL_TRY(big_integer(x->e, text, &v));
        }
    }
    AXL_TRY(add_token(x, real ? JT_FLOAT : JT_INT, x->at, end));
    x->out->items[x->out->n - 1].value = v;
    advance(x, end);
out:
    return status;
}

// One escape after a backslash at p[0 .. n); *used counts what follows the backslash.
static axl_status unescape(j_env *e, const char *p, size_t n, j_buf *b, size_t *used)
{
    axl_status status = AXL_OK;
    static const char names[] = "nrtabfv\\'\"";
    static const char values[] = "\n\r\t\a\b\f\v\\'\"";
    const char *at = n > 0 && p[0] != '\0' ? strchr(names, p[0]) : NULL;
    size_t width = n == 0 ? 0 : p[0] == 'x' ? 2 : p[0] == 'u' ? 4 : p[0] == 'U' ? 8 : 0;
    uint32_t cp = 0;

    *used = 1;
    if (at != NULL) {
        AXL_TRY(axl_j_put(e, b, &values[at - names], 1));
    } else if (n > 0 && p[0] == '\n') {
        // a newline after a backslash is no text
    } else if (width > 0) {
        char hex[9] = {0};

        J_REQUIRE(e, n > width, "truncated \\%c escape in a string", p[0]);
        memcpy(hex, p + 1, width);
        J_REQUIRE(e, strspn(hex, "0123456789abcdefABCDEF") == width,
                  "truncated \\%c escape in a string", p[0]);
        AXL_TRY(axl_j_put_cp(e, b, (uint32_t)strtoul(hex, NULL, 16)));
        *used = 1 + width;
    } else if (n > 0 && p[0] >= '0' && p[0] <= '7') {
        for (*used = 0; *used < 3 && *used < n && p[*used] >= '0' && p[*used] <= '7'; (*used)++)
            cp = cp * 8 + (uint32_t)(p[*used] - '0');
        AXL_TRY(axl_j_put_cp(e, b, cp));
    } else if (n > 0 && p[0] == 'N') {
        J_FAIL(e, "characters by name (\\N) are not supported in a string");
    } else { // unknown escapes stay as they are
        AXL_TRY(axl_j_put(e, b, "\\", 1));
        *used = 0;
    }
out:
    return status;
}

static axl_status lex_string(lexer *x)
{
    axl_status status = AXL_OK;
    char quote = x->s[x->at];
    size_t end = x->at + 1;
    j_buf b = {0};
    j_value v;

    while (end < x->n && x->s[end] != quote)
        end += x->s[end] == '\\' ? 2 : 1;
    J_REQUIRE(x->e, end < x->n, "unexpected char '%c': the string has no end", quote);
    for (size_t i = x->at + 1, used; i < end; i += used) {
        used = 1;
        if (x->s[i] != '\\') {
            AXL_TRY(axl_j_put(x->e, &b, x->s + i, 1));
            continue;
        }
        AXL_TRY(unescape(x->e, x->s + i + 1, end - i - 1, &b, &used));
        used++;
    }
    AXL_TRY(axl_j_buf_value(x->e, &b, &v));
    v.s->n_chars = axl_j_chars(v.s);
    AXL_TRY(add_token(x, JT_STRING, x->at, end + 1));
    x->out->items[x->out->n - 1].value = v;
    advance(x, end + 1);
out:
    return status;
}

typedef struct symbol {
    const char *text;
    j_token_type type;
} symbol;

static const symbol symbols[] = {
    {"//", JT_FLOORDIV}, {"**", JT_POW},   {"==", JT_EQ},      {"!=", JT_NE},      {">=", JT_GE},
    {"<=", JT_LE},       {"+", JT_ADD},    {"-", JT_SUB},      {"*", JT_MUL},      {"/", JT_DIV},
    {"%", JT_MOD},       {"~", JT_TILDE},  {"[", JT_LBRACKET}, {"]", JT_RBRACKET}, {"(", JT_LPAREN},
    {")", JT_RPAREN},    {"{", JT_LBRACE}, {"}", JT_RBRACE},   {">", JT_GT},       {"<", JT_LT},
    {"=", JT_ASSIGN},    {".", JT_DOT},    {":", JT_COLON},    {"|", JT_PIPE},     {",", JT_COMMA},
    {";", JT_SEMICOLON},
};

static axl_status track_bracket(lexer *x, char c)
{
    axl_status status = AXL_OK;
    const char *close = strchr(")]}", c), *open = strchr("([{", c);

    if (open != NULL) {
        if (x->n_open == x->open_capacity) {
            size_t capacity = x->open_capacity * 2 + 16;
            char *grown;

            AXL_TRY(axl_j_take(x->e, capacity, &grown));
            if (x->n_open > 0)
                memcpy(grown, x->open, x->n_open);
            x->open = grown;
            x->open_capacity = capacity;
        }
        x->open[x->n_open++] = ")]}"[open - "([{"];
    } else if (close != NULL) {
        J_REQUIRE(x->e, x->n_open > 0, "unexpected '%c'", c);
        x->n_open--;
        J_REQUIRE(x->e, x->open[x->n_open] == c, "unexpected '%c', expected '%c'", c,
                  x->open[x->n_open]);
    }
out:
    return status;
}

static axl_status lex_symbol(lexer *x)
{
    axl_status status = AXL_OK;
    uint32_t cp;
    size_t k;

    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        if (!starts(x, x->at, symbols[i].text))
            continue;
        k = strlen(symbols[i].text);
        if (k == 1)
            AXL_TRY(track_bracket(x, symbols[i].text[0]));
        AXL_TRY(add_token(x, symbols[i].type, x->at, x->at + k));
        advance(x, x->at + k);
        goto out;
    }
    k = axl_j_cp(x->s + x->at, x->n - x->at, &cp);
    J_FAIL(x->e, "unexpected char '%.*s'", (int)k, x->s + x->at);
out:
    return status;
}

static axl_status lex_tag(lexer *x, const char *closing, j_token_type end_type)
{
    axl_status status = AXL_OK;
    uint32_t cp;

    x->n_open = 0;
    for (;;) {
        size_t end;

        advance(x, skip_space(x, x->at));
        if (x->at >= x->n)
            goto out;
        end = x->n_open == 0 ? tag_end(x, x->at, closing) : 0;
        if (end != 0) {
            AXL_TRY(add_token(x, end_type, x->at, x->at + 2));
            close_tag(x, end);
            goto out;
        }
        (void)axl_j_cp(x->s + x->at, x->n - x->at, &cp);
        if (cp < 0x80 && is_digit((char)cp)) {
            AXL_TRY(lex_number(x));
        } else if (axl_j_is_word(cp)) {
            for (end = x->at; end < x->n && axl_j_is_word(cp);) {
                size_t k = axl_j_cp(x->s + end, x->n - end, &cp);
                end += axl_j_is_word(cp) ? k : 0;
            }
            AXL_TRY(add_token(x, JT_NAME, x->at, end));
            advance(x, end);
        } else if (cp == '\'' || cp == '"') {
            AXL_TRY(lex_string(x));
        } else {
            AXL_TRY(lex_symbol(x));
        }
    }
out:
    return status;
}

// The next place of "{{", "{%" or "{#" at or after at; x->n when none.
static size_t next_tag(const lexer *x, size_t at)
{
    while (at + 1 < x->n) {
        const char *brace = memchr(x->s + at, '{', x->n - at - 1);

        if (brace == NULL)
            break;
        at = (size_t)(brace - x->s);
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#')
            return at;
        at++;
    }
    return x->n;
}

axl_status axl_j_lex(j_env *e, const char *source, size_t n, j_tokens *out)
{
    axl_status status = AXL_OK;
    lexer x = {.e = e, .s = source, .n = n, .line = 1, .line_starting = true, .out = out};

    while (x.at < n) {
        size_t tag = next_tag(&x, x.at), raw;
        char kind, sign;

        if (tag == n) {
            AXL_TRY(add_token(&x, JT_DATA, x.at, n));
            advance(&x, n);
            break;
        }
        kind = source[tag + 1];
        sign = tag + 2 < n ? source[tag + 2] : '\0';
        sign = sign == '-' || sign == '+' ? sign : '\0';
        AXL_TRY(add_data(&x, tag, sign, kind != '{'));
        raw = kind == '%' ? raw_begin(&x, tag) : 0;
        if (raw != 0) {
            AXL_TRY(lex_raw(&x, raw));
            continue;
        }
        x.line_starting = false;
        if (kind == '#') {
            AXL_TRY(lex_comment(&x, tag + 2 + (sign != '\0')));
            continue;
        }
        AXL_TRY(add_token(&x, kind == '{' ? JT_VAR_BEGIN : JT_BLOCK_BEGIN, tag, tag + 2));
        advance(&x, tag + 2 + (sign != '\0'));
        AXL_TRY(kind == '{' ? lex_tag(&x, "}}", JT_VAR_END) : lex_tag(&x, "%}", JT_BLOCK_END));
    }
    AXL_TRY(add_token(&x, JT_EOF, n, n));
out:
    return status;
}

const char *axl_j_describe(j_env *e, const j_token *t)
{
    char *text = NULL;

    switch (t->type) {
    case JT_EOF:
        return "end of template";
    case JT_DATA:
        return "template data / text";
    case JT_BLOCK_BEGIN:
        return "begin of statement block";
    case JT_BLOCK_END:
        return "end of statement block";
    case JT_VAR_BEGIN:
        return "begin of print statement";
    case JT_VAR_END:
        return "end of print statement";
    case JT_STRING:
        return "string";
    case JT_INT:
        return "integer";
    case JT_FLOAT:
        return "float";
    default:
        if (axl_j_take(e, t->n + 1, &text) != AXL_OK)
            return "?";
        memcpy(text, t->p, t->n);
        return text;
    }
}
