// Statements of a template to syntax trees, and compilation.
#include "src/text/jinja_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BLOCK_DEPTH 100 // nested statements
#define MAX_SOURCE      (16u << 20)

static axl_status parse_body(j_parser *p, const char *const *ends, const char *opener,
                             j_node **out);

static const char *const END_FOR[] = {"endfor", "else", NULL};
static const char *const END_FOR_ELSE[] = {"endfor", NULL};
static const char *const END_IF[] = {"elif", "else", "endif", NULL};
static const char *const END_ELSE[] = {"endif", NULL};
static const char *const END_SET[] = {"endset", NULL};
static const char *const END_MACRO[] = {"endmacro", NULL};
static const char *const END_CALL[] = {"endcall", NULL};
static const char *const END_FILTER[] = {"endfilter", NULL};
static const char *const END_WITH[] = {"endwith", NULL};
static const char *const END_BLOCK[] = {"endblock", NULL};
static const char *const END_GENERATION[] = {"endgeneration", NULL};

static void next(j_parser *p)
{
    if (axl_j_cur(p)->type != JT_EOF)
        p->at++;
    p->e->line = axl_j_cur(p)->line;
}

// The statements of a tag up to one of its end words, which is left as the current token.
static axl_status parse_until(j_parser *p, const char *const *ends, const char *opener,
                              j_node **out)
{
    axl_status status = AXL_OK;

    if (axl_j_cur(p)->type == JT_COLON)
        next(p);
    AXL_TRY(axl_j_expect(p, JT_BLOCK_END, "end of statement block"));
    AXL_TRY(parse_body(p, ends, opener, out));
out:
    return status;
}

// As parse_until for a tag with one end word, which is consumed.
static axl_status parse_inside(j_parser *p, const char *const *ends, const char *opener,
                               j_node **out)
{
    axl_status status = AXL_OK;

    AXL_TRY(parse_until(p, ends, opener, out));
    next(p);
out:
    return status;
}

// a: target, b: what to walk, c: the filter or NULL; items: body and else (NULL: none).
static axl_status parse_for(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;

    n->type = JN_FOR;
    AXL_TRY(axl_j_parse_target(p, "in", false, &n->a));
    J_REQUIRE(p->e, axl_j_skip_name(p, "in"), "expected token 'in', got '%s'",
              axl_j_describe(p->e, axl_j_cur(p)));
    AXL_TRY(axl_j_parse_tuple(p, false, "recursive", &n->b));
    if (axl_j_skip_name(p, "if"))
        AXL_TRY(axl_j_parse_expression(p, true, &n->c));
    if (axl_j_skip_name(p, "recursive"))
        n->flags |= JF_RECURSIVE;
    AXL_TRY(axl_j_take(p->e, 2 * sizeof *n->items, &n->items));
    n->n_items = 2;
    p->n_loops++;
    AXL_TRY(parse_until(p, END_FOR, "for", &n->items[0]));
    p->n_loops--;
    if (axl_j_is_name(p, "else")) {
        next(p);
        AXL_TRY(parse_until(p, END_FOR_ELSE, "for", &n->items[1]));
    }
    next(p);
out:
    return status;
}

// items: test, body, test, body ...; a: else or NULL.
static axl_status parse_if(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;
    int capacity = 0;
    j_node *item;

    n->type = JN_IF;
    p->n_soft++;
    for (;;) {
        AXL_TRY(axl_j_parse_tuple(p, false, NULL, &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
        AXL_TRY(parse_until(p, END_IF, "if", &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
        if (!axl_j_skip_name(p, "elif"))
            break;
    }
    if (axl_j_skip_name(p, "else"))
        AXL_TRY(parse_until(p, END_ELSE, "if", &n->a));
    p->n_soft--;
    next(p);
out:
    return status;
}

// a: target; b: value, or of JN_SETBLOCK the body and c the filter chain (NULL: none).
static axl_status parse_set(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;

    n->type = JN_SET;
    AXL_TRY(axl_j_parse_target(p, NULL, true, &n->a));
    if (axl_j_cur(p)->type == JT_ASSIGN) {
        next(p);
        AXL_TRY(axl_j_parse_tuple(p, true, NULL, &n->b));
        goto out;
    }
    n->type = JN_SETBLOCK;
    AXL_TRY(axl_j_parse_filters(p, NULL, false, &n->c));
    AXL_TRY(parse_inside(p, END_SET, "set", &n->b));
out:
    return status;
}

// (a, b=1): items are the names, b a JN_TUPLE with the values of the last ones.
static axl_status parse_signature(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;
    int capacity = 0, defaults_capacity = 0;
    j_node *item;

    AXL_TRY(axl_j_expect(p, JT_LPAREN, "("));
    while (axl_j_cur(p)->type != JT_RPAREN) {
        const j_token *t;

        if (n->n_items > 0)
            AXL_TRY(axl_j_expect(p, JT_COMMA, ","));
        t = axl_j_cur(p);
        AXL_TRY(axl_j_expect(p, JT_NAME, "name"));
        AXL_TRY(axl_j_node(p, JN_NAME, &item));
        AXL_TRY(axl_j_intern(p, t->p, t->n, &item->name));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
        if (axl_j_cur(p)->type == JT_ASSIGN) {
            next(p);
            AXL_TRY(axl_j_parse_expression(p, true, &item));
            AXL_TRY(axl_j_push(p, n->b, item, &defaults_capacity));
        } else {
            J_REQUIRE(p->e, n->b->n_items == 0, "non-default argument follows default argument");
        }
    }
    next(p);
out:
    return status;
}

// The body of a macro or call block: a; the flags say which special names it reads.
static axl_status parse_macro_body(j_parser *p, j_node *n, const char *const *ends,
                                   const char *opener)
{
    axl_status status = AXL_OK;
    uint32_t outer = p->uses;
    int loops = p->n_loops;

    p->uses = 0;
    p->n_loops = 0; // break cannot leave a macro
    AXL_TRY(parse_inside(p, ends, opener, &n->a));
    n->flags |= p->uses;
    p->uses |= outer;
    p->n_loops = loops;
out:
    return status;
}

static axl_status parse_macro(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;
    const j_token *t = axl_j_cur(p);

    n->type = JN_MACRO;
    AXL_TRY(axl_j_expect(p, JT_NAME, "name"));
    AXL_TRY(axl_j_intern(p, t->p, t->n, &n->name));
    AXL_TRY(axl_j_node(p, JN_TUPLE, &n->b));
    AXL_TRY(parse_signature(p, n));
    AXL_TRY(parse_macro_body(p, n, END_MACRO, "macro"));
out:
    return status;
}

// c: the call; the rest as a macro without a name.
static axl_status parse_call_block(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;

    n->type = JN_CALLBLOCK;
    AXL_TRY(axl_j_node(p, JN_TUPLE, &n->b));
    if (axl_j_cur(p)->type == JT_LPAREN)
        AXL_TRY(parse_signature(p, n));
    AXL_TRY(axl_j_parse_expression(p, true, &n->c));
    J_REQUIRE(p->e, n->c->type == JN_CALL, "expected call");
    AXL_TRY(parse_macro_body(p, n, END_CALL, "call"));
out:
    return status;
}

// items: targets, then as many values; a: body.
static axl_status parse_with(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;
    int capacity = 0, values_capacity = 0;
    j_node *item, *values;

    n->type = JN_WITH;
    AXL_TRY(axl_j_node(p, JN_TUPLE, &values));
    while (axl_j_cur(p)->type != JT_BLOCK_END) {
        if (n->n_items > 0)
            AXL_TRY(axl_j_expect(p, JT_COMMA, ","));
        AXL_TRY(axl_j_parse_target(p, NULL, false, &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
        AXL_TRY(axl_j_expect(p, JT_ASSIGN, "="));
        AXL_TRY(axl_j_parse_expression(p, true, &item));
        AXL_TRY(axl_j_push(p, values, item, &values_capacity));
    }
    for (int i = 0; i < values->n_items; i++)
        AXL_TRY(axl_j_push(p, n, values->items[i], &capacity));
    AXL_TRY(parse_inside(p, END_WITH, "with", &n->a));
out:
    return status;
}

static axl_status parse_filter_block(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;

    n->type = JN_FILTERBLOCK;
    AXL_TRY(axl_j_parse_filters(p, NULL, true, &n->c));
    AXL_TRY(parse_inside(p, END_FILTER, "filter", &n->a));
out:
    return status;
}

// A block has no meaning of its own without inheritance: it is a scope.
static axl_status parse_block(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;

    n->type = JN_SCOPE;
    AXL_TRY(axl_j_expect(p, JT_NAME, "name"));
    (void)axl_j_skip_name(p, "scoped");
    (void)axl_j_skip_name(p, "required");
    AXL_TRY(parse_inside(p, END_BLOCK, "block", &n->a));
    if (axl_j_cur(p)->type == JT_NAME)
        next(p);
out:
    return status;
}

static axl_status parse_generation(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;

    n->type = JN_GENERATION;
    AXL_TRY(parse_inside(p, END_GENERATION, "generation", &n->a));
out:
    return status;
}

static axl_status parse_flow(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;

    J_REQUIRE(p->e, p->n_loops > 0, "break and continue stand only inside a for loop");
    n->type = p->tokens[p->at - 1].p[0] == 'b' ? JN_BREAK : JN_CONTINUE;
out:
    return status;
}

// items: one JN_OUTPUT for each expression.
static axl_status parse_print(j_parser *p, j_node *n)
{
    axl_status status = AXL_OK;
    int capacity = 0;
    j_node *item;

    n->type = JN_BODY;
    while (axl_j_cur(p)->type != JT_BLOCK_END) {
        if (n->n_items > 0)
            AXL_TRY(axl_j_expect(p, JT_COMMA, ","));
        AXL_TRY(axl_j_node(p, JN_OUTPUT, &item));
        AXL_TRY(axl_j_parse_expression(p, true, &item->a));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
    }
out:
    return status;
}

typedef struct statement {
    const char *word;
    axl_status (*parse)(j_parser *p, j_node *n); // called behind the word
} statement;

static const statement statements[] = {
    {"for", parse_for},
    {"if", parse_if},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"with", parse_with},
    {"filter", parse_filter_block},
    {"block", parse_block},
    {"generation", parse_generation},
    {"break", parse_flow},
    {"continue", parse_flow},
    {"print", parse_print},
};

static axl_status parse_statement(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    const j_token *t = axl_j_cur(p);

    J_REQUIRE(p->e, t->type == JT_NAME, "tag name expected");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!axl_j_is_name(p, statements[i].word))
            continue;
        AXL_TRY(axl_j_node(p, JN_BODY, out));
        next(p);
        AXL_TRY(statements[i].parse(p, *out));
        goto out;
    }
    J_REQUIRE(p->e,
              !axl_j_is_name(p, "include") && !axl_j_is_name(p, "import") &&
                  !axl_j_is_name(p, "from") && !axl_j_is_name(p, "extends"),
              "'%.*s' needs other template files, which a chat template has not", (int)t->n, t->p);
    J_FAIL(p->e, "Encountered unknown tag '%.*s'.", (int)t->n, t->p);
out:
    return status;
}

static axl_status fail_open(j_parser *p, const char *const *ends, const char *opener)
{
    axl_status status = AXL_OK;
    char tags[64] = "";

    for (size_t i = 0; ends[i] != NULL; i++) {
        size_t n = strlen(tags);

        (void)snprintf(tags + n, sizeof tags - n, "%s'%s'", i > 0 ? " or " : "", ends[i]);
    }
    J_FAIL(
        p->e,
        "Unexpected end of template. Jinja was looking for the following tags: %s. The innermost "
        "block that needs to be closed is '%s'.",
        tags, opener);
out:
    return status;
}

static bool at_end(const j_parser *p, const char *const *ends)
{
    for (size_t i = 0; ends != NULL && ends[i] != NULL; i++)
        if (axl_j_is_name(p, ends[i]))
            return true;
    return false;
}

// The body of `opener`, or of the whole template when ends is NULL; stops at an end word, behind "{%".
static axl_status parse_body(j_parser *p, const char *const *ends, const char *opener, j_node **out)
{
    axl_status status = AXL_OK;
    int capacity = 0;
    j_node *body, *n;

    J_REQUIRE(p->e, ++p->n_blocks <= MAX_BLOCK_DEPTH, "statements are nested too deeply");
    AXL_TRY(axl_j_node(p, JN_BODY, &body));
    for (;;) {
        const j_token *t = axl_j_cur(p);

        p->e->line = t->line;
        if (t->type == JT_EOF)
            break;
        next(p);
        if (t->type == JT_DATA) {
            AXL_TRY(axl_j_node(p, JN_TEXT, &n));
            AXL_TRY(axl_j_text(p->e, t->p, t->n, &n->value));
        } else if (t->type == JT_VAR_BEGIN) {
            AXL_TRY(axl_j_node(p, JN_OUTPUT, &n));
            n->line = t->line;
            AXL_TRY(axl_j_parse_tuple(p, true, NULL, &n->a));
            AXL_TRY(axl_j_expect(p, JT_VAR_END, "end of print statement"));
        } else {
            if (at_end(p, ends))
                break;
            AXL_TRY(parse_statement(p, &n));
            n->line = t->line;
            AXL_TRY(axl_j_expect(p, JT_BLOCK_END, "end of statement block"));
        }
        AXL_TRY(axl_j_push(p, body, n, &capacity));
    }
    if (ends != NULL && axl_j_cur(p)->type == JT_EOF)
        AXL_TRY(fail_open(p, ends, opener));
    p->n_blocks--;
    *out = body;
out:
    return status;
}

axl_status axl_j_parse_template(j_parser *p, j_node **out)
{
    return parse_body(p, NULL, NULL, out);
}

// ---- compilation ----

// A copy with \r\n and \r made \n and one newline at the end dropped.
static axl_status normalise(j_env *e, const char *source, size_t n, axl_jinja *t)
{
    axl_status status = AXL_OK;
    char *copy;
    size_t k = 0;

    AXL_TRY(axl_j_take(e, n + 1, &copy));
    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r') {
            copy[k++] = '\n';
            i += i + 1 < n && source[i + 1] == '\n';
        } else {
            copy[k++] = source[i];
        }
    }
    if (k > 0 && copy[k - 1] == '\n')
        copy[--k] = '\0';
    t->source = copy;
    t->source_n = k;
out:
    return status;
}

static axl_status parse_source(j_env *e, axl_jinja *t)
{
    axl_status status = AXL_OK;
    j_tokens tokens = {0};
    j_parser p = {.e = e, .t = t};

    AXL_TRY(axl_j_lex(e, t->source, t->source_n, &tokens));
    p.tokens = tokens.items;
    AXL_TRY(axl_j_intern(&p, "loop", 4, &t->loop_name));
    AXL_TRY(axl_j_intern(&p, "caller", 6, &t->caller_name));
    AXL_TRY(axl_j_intern(&p, "varargs", 7, &t->varargs_name));
    AXL_TRY(axl_j_intern(&p, "kwargs", 6, &t->kwargs_name));
    AXL_TRY(axl_j_parse_template(&p, &t->body));
    for (int i = 0; i < t->n_names; i++) // counted now: the template is shared by threads later
        t->names[i]->n_chars = axl_j_chars(t->names[i]);
out:
    return status;
}

axl_status axl_jinja_compile(const char *source, size_t n, const char *name, axl_jinja **out)
{
    axl_status status = AXL_OK;
    axl_jinja *t = calloc(1, sizeof *t);
    j_env e = {.name = name, .line = 1, .max_output = MAX_SOURCE};
    size_t bad;

    AXL_REQUIRE(t != NULL, AXL_E_MEMORY, "no memory for a template");
    t->arena.limit = (size_t)1 << 30;
    e.arena = &t->arena;
    e.t = t;
    J_REQUIRE(&e, n <= MAX_SOURCE, "the template is longer than %u bytes", MAX_SOURCE);
    bad = axl_utf8_invalid_at(source, n);
    J_REQUIRE(&e, bad == n, "invalid UTF-8 at byte %zu of the template", bad);
    AXL_TRY(axl_j_take(&e, strlen(name) + 1, &t->name));
    memcpy(t->name, name, strlen(name));
    AXL_TRY(normalise(&e, source, n, t));
    AXL_TRY(parse_source(&e, t));
    *out = t;
    t = NULL;
out:
    axl_jinja_destroy(t);
    return status;
}

void axl_jinja_destroy(axl_jinja *t)
{
    if (t == NULL)
        return;
    axl_j_arena_fini(&t->arena);
    free(t);
}

bool axl_jinja_mentions(const axl_jinja *t, const char *text)
{
    return memmem(t->source, t->source_n, text, strlen(text)) != NULL;
}

// The line of the template without blanks around it, cut to a length that a message can hold.
static j_str line_of(const j_env *e)
{
    const char *p = e->t != NULL && e->t->source != NULL ? e->t->source : "";
    const char *end = p + (e->t != NULL && e->t->source != NULL ? e->t->source_n : 0), *next;
    j_str line;
    size_t most = 100;

    for (int i = 1; i < e->line; i++) {
        next = memchr(p, '\n', (size_t)(end - p));
        if (next == NULL)
            return (j_str){.p = ""};
        p = next + 1;
    }
    next = memchr(p, '\n', (size_t)(end - p));
    line = (j_str){.p = p, .n = (size_t)((next != NULL ? next : end) - p), .n_chars = -1};
    line = axl_j_strip(&line, NULL, 3);
    if (line.n > most) {
        while (most > 0 && ((unsigned char)line.p[most] & 0xc0) == 0x80)
            most--;
        line.n = most;
    }
    return line;
}

axl_status axl_j_raise(j_env *e, const char *fmt, ...)
{
    axl_status status;
    char *text = NULL;
    j_str line = line_of(e);
    va_list args;
    int n;

    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        return axl_error_set(AXL_E_MEMORY, __FILE__, __LINE__, "no memory for a message");
    if (e->fault != NULL) {
        axl_str_clear(&e->fault->message);
        (void)axl_str_append(&e->fault->message, text, (size_t)n);
        e->fault->line = e->line;
    }
    if (line.n > 0)
        status = axl_error_set(AXL_E_INPUT, __FILE__, __LINE__, "%s:%d: %s; in: %.*s", e->name,
                               e->line, text, (int)line.n, line.p);
    else
        status =
            axl_error_set(AXL_E_INPUT, __FILE__, __LINE__, "%s:%d: %s", e->name, e->line, text);
    free(text);
    return status;
}
