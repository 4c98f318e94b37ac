// Expressions of a template to syntax trees, by recursive descent in jinja2's order of precedence:
// inline if, or, and, not, comparison, + -, ~, * / // %, **, unary and postfix, filters and tests.
#include "src/text/jinja_internal.h"

#include <string.h>

#define MAX_NAMES       4000 // each is looked for among those before it
#define MAX_PARSE_DEPTH 200  // nested brackets, inline ifs and unary operators

const j_token *axl_j_cur(const j_parser *p)
{
    return &p->tokens[p->at];
}

static void next(j_parser *p)
{
    if (p->tokens[p->at].type != JT_EOF)
        p->at++;
    p->e->line = p->tokens[p->at].line;
}

static const j_token *look(const j_parser *p)
{
    return &p->tokens[p->tokens[p->at].type == JT_EOF ? p->at : p->at + 1];
}

static bool token_is(const j_token *t, const char *word)
{
    return t->type == JT_NAME && t->n == strlen(word) && memcmp(t->p, word, t->n) == 0;
}

bool axl_j_is_name(const j_parser *p, const char *word)
{
    return token_is(axl_j_cur(p), word);
}

static bool skip(j_parser *p, j_token_type type)
{
    if (axl_j_cur(p)->type != type)
        return false;
    next(p);
    return true;
}

bool axl_j_skip_name(j_parser *p, const char *word)
{
    if (!axl_j_is_name(p, word))
        return false;
    next(p);
    return true;
}

axl_status axl_j_expect(j_parser *p, j_token_type type, const char *what)
{
    axl_status status = AXL_OK;
    const j_token *t = axl_j_cur(p);

    J_REQUIRE(p->e, t->type == type, "expected token '%s', got '%s'", what,
              axl_j_describe(p->e, t));
    next(p);
out:
    return status;
}

axl_status axl_j_node(j_parser *p, j_type type, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *n;

    AXL_TRY(axl_j_take(p->e, sizeof *n, &n));
    n->type = type;
    n->line = axl_j_cur(p)->line;
    n->name = n->attr = -1;
    *out = n;
out:
    return status;
}

axl_status axl_j_intern(j_parser *p, const char *s, size_t n, int *out)
{
    axl_status status = AXL_OK;
    axl_jinja *t = p->t;
    j_value v;

    for (int i = 0; i < t->n_names; i++)
        if (t->names[i]->n == n && memcmp(t->names[i]->p, s, n) == 0) {
            *out = i;
            goto out;
        }
    J_REQUIRE(p->e, t->n_names < MAX_NAMES, "more than %d different names", MAX_NAMES);
    if ((size_t)t->n_names == p->names_capacity) {
        size_t capacity = p->names_capacity * 2 + 32;
        j_str **grown;

        AXL_TRY(axl_j_take(p->e, capacity * sizeof *grown, &grown));
        if (t->n_names > 0)
            memcpy(grown, t->names, (size_t)t->n_names * sizeof *grown);
        t->names = grown;
        p->names_capacity = capacity;
    }
    AXL_TRY(axl_j_text(p->e, s, n, &v));
    t->names[t->n_names] = v.s;
    *out = t->n_names++;
out:
    return status;
}

axl_status axl_j_push(j_parser *p, j_node *list, j_node *item, int *capacity)
{
    axl_status status = AXL_OK;

    if (list->n_items == *capacity) {
        int grown_capacity = *capacity * 2 + 4;
        j_node **grown;

        AXL_TRY(axl_j_take(p->e, (size_t)grown_capacity * sizeof *grown, &grown));
        if (list->n_items > 0)
            memcpy(grown, list->items, (size_t)list->n_items * sizeof *grown);
        list->items = grown;
        *capacity = grown_capacity;
    }
    list->items[list->n_items++] = item;
out:
    return status;
}

static axl_status expression(j_parser *p, j_node **out)
{
    return axl_j_parse_expression(p, true, out);
}

static axl_status new_binary(j_parser *p, j_type type, j_node *a, j_node *b, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *n;

    AXL_TRY(axl_j_node(p, type, &n));
    n->line = a->line;
    n->a = a;
    n->b = b;
    *out = n;
out:
    return status;
}

// ---- primary expressions ----

static axl_status parse_name(j_parser *p, bool with_ns, j_node **out)
{
    axl_status status = AXL_OK;
    const j_token *t = axl_j_cur(p);
    bool is_true = token_is(t, "true") || token_is(t, "True");
    j_node *n;

    AXL_TRY(axl_j_node(p, JN_CONST, &n));
    next(p);
    if (is_true || token_is(t, "false") || token_is(t, "False")) {
        n->value = axl_j_bool(is_true);
    } else if (token_is(t, "none") || token_is(t, "None")) {
        n->value = axl_j_none();
    } else {
        n->type = JN_NAME;
        AXL_TRY(axl_j_intern(p, t->p, t->n, &n->name));
        if (token_is(t, "varargs"))
            p->uses |= JF_VARARGS;
        else if (token_is(t, "kwargs"))
            p->uses |= JF_KWARGS;
        else if (token_is(t, "caller"))
            p->uses |= JF_CALLER;
        if (with_ns && skip(p, JT_DOT)) {
            n->type = JN_NSREF;
            t = axl_j_cur(p);
            AXL_TRY(axl_j_expect(p, JT_NAME, "name"));
            AXL_TRY(axl_j_intern(p, t->p, t->n, &n->attr));
        }
    }
    *out = n;
out:
    return status;
}

static axl_status parse_const(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    const j_token *t = axl_j_cur(p);
    j_buf b = {0};

    AXL_TRY(axl_j_node(p, JN_CONST, out));
    (*out)->value = t->value;
    next(p);
    if (t->type != JT_STRING || axl_j_cur(p)->type != JT_STRING)
        goto out;
    AXL_TRY(axl_j_put(p->e, &b, t->value.s->p, t->value.s->n));
    while ((t = axl_j_cur(p))->type == JT_STRING) {
        AXL_TRY(axl_j_put(p->e, &b, t->value.s->p, t->value.s->n));
        next(p);
    }
    AXL_TRY(axl_j_buf_value(p->e, &b, &(*out)->value));
    (*out)->value.s->n_chars = axl_j_chars((*out)->value.s);
out:
    return status;
}

// Items up to the closing bracket; a dict's are key, value, key, value.
static axl_status parse_items(j_parser *p, j_type type, j_token_type closing, j_node **out)
{
    axl_status status = AXL_OK;
    int capacity = 0;
    j_node *n, *item;

    AXL_TRY(axl_j_node(p, type, &n));
    next(p);
    while (axl_j_cur(p)->type != closing) {
        if (n->n_items > 0)
            AXL_TRY(axl_j_expect(p, JT_COMMA, ","));
        if (axl_j_cur(p)->type == closing)
            break;
        AXL_TRY(expression(p, &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
        if (type != JN_DICT)
            continue;
        AXL_TRY(axl_j_expect(p, JT_COLON, ":"));
        AXL_TRY(expression(p, &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
    }
    next(p);
    *out = n;
out:
    return status;
}

static axl_status tuple(j_parser *p, bool simple, bool with_cond, const char *end_word,
                        bool parentheses, bool with_ns, j_node **out);

static axl_status parse_primary(j_parser *p, bool with_ns, j_node **out)
{
    axl_status status = AXL_OK;
    const j_token *t = axl_j_cur(p);

    switch (t->type) {
    case JT_NAME:
        AXL_TRY(parse_name(p, with_ns, out));
        break;
    case JT_STRING:
    case JT_INT:
    case JT_FLOAT:
        AXL_TRY(parse_const(p, out));
        break;
    case JT_LPAREN:
        next(p);
        AXL_TRY(tuple(p, false, true, NULL, true, false, out));
        AXL_TRY(axl_j_expect(p, JT_RPAREN, ")"));
        break;
    case JT_LBRACKET:
        AXL_TRY(parse_items(p, JN_LIST, JT_RBRACKET, out));
        break;
    case JT_LBRACE:
        AXL_TRY(parse_items(p, JN_DICT, JT_RBRACE, out));
        break;
    default:
        J_FAIL(p->e, "unexpected '%s'", axl_j_describe(p->e, t));
    }
out:
    return status;
}

static bool tuple_ends(const j_parser *p, const char *end_word)
{
    j_token_type t = axl_j_cur(p)->type;

    return t == JT_VAR_END || t == JT_BLOCK_END || t == JT_RPAREN ||
           (end_word != NULL && axl_j_is_name(p, end_word));
}

static axl_status tuple(j_parser *p, bool simple, bool with_cond, const char *end_word,
                        bool parentheses, bool with_ns, j_node **out)
{
    axl_status status = AXL_OK;
    bool is_tuple = false;
    int capacity = 0;
    j_node *n, *item;

    AXL_TRY(axl_j_node(p, JN_TUPLE, &n));
    for (;;) {
        if (n->n_items > 0)
            AXL_TRY(axl_j_expect(p, JT_COMMA, ","));
        if (tuple_ends(p, end_word))
            break;
        AXL_TRY(simple ? parse_primary(p, with_ns, &item)
                       : axl_j_parse_expression(p, with_cond, &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
        if (axl_j_cur(p)->type != JT_COMMA)
            break;
        is_tuple = true;
    }
    if (!is_tuple && n->n_items > 0) {
        *out = n->items[0];
        goto out;
    }
    J_REQUIRE(p->e, is_tuple || parentheses, "Expected an expression, got '%s'",
              axl_j_describe(p->e, axl_j_cur(p)));
    *out = n;
out:
    return status;
}

axl_status axl_j_parse_tuple(j_parser *p, bool with_cond, const char *end_word, j_node **out)
{
    return tuple(p, false, with_cond, end_word, false, false, out);
}

axl_status axl_j_parse_target(j_parser *p, const char *end_word, bool with_ns, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *n;
    bool fine;

    AXL_TRY(tuple(p, true, true, end_word, false, with_ns, &n));
    fine = n->type == JN_NAME || n->type == JN_NSREF || n->type == JN_TUPLE;
    for (int i = 0; fine && n->type == JN_TUPLE && i < n->n_items; i++)
        fine = n->items[i]->type == JN_NAME || n->items[i]->type == JN_NSREF ||
               n->items[i]->type == JN_TUPLE;
    J_REQUIRE(p->e, fine, "can't assign to this expression");
    *out = n;
out:
    return status;
}

// ---- postfix: subscripts, calls, filters, tests ----

// One subscript: an expression or start:stop:step with any part missing.
static axl_status parse_subscribed(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *slice, **parts[3];
    int at = 0;

    AXL_TRY(axl_j_node(p, JN_SLICE, &slice));
    parts[0] = &slice->a;
    parts[1] = &slice->b;
    parts[2] = &slice->c;
    for (;;) {
        j_token_type t = axl_j_cur(p)->type;

        if (t == JT_COLON && at < 2) {
            at++;
            next(p);
            continue;
        }
        if (t == JT_RBRACKET || t == JT_COMMA || *parts[at] != NULL)
            break;
        AXL_TRY(expression(p, parts[at]));
    }
    *out = at == 0 && slice->a != NULL ? slice->a : slice;
    J_REQUIRE(p->e, at > 0 || slice->a != NULL, "expected subscript expression");
out:
    return status;
}

static axl_status parse_subscript(j_parser *p, j_node *object, j_node **out)
{
    axl_status status = AXL_OK;
    const j_token *t;
    int capacity = 0;
    j_node *n, *args, *arg;

    AXL_TRY(axl_j_node(p, JN_GETITEM, &n));
    n->a = object;
    if (skip(p, JT_DOT)) {
        t = axl_j_cur(p);
        if (t->type == JT_NAME) {
            n->type = JN_GETATTR;
            AXL_TRY(axl_j_intern(p, t->p, t->n, &n->name));
            next(p);
        } else {
            J_REQUIRE(p->e, t->type == JT_INT, "expected name or number");
            AXL_TRY(parse_const(p, &n->b));
        }
        *out = n;
        goto out;
    }
    AXL_TRY(axl_j_node(p, JN_TUPLE, &args));
    next(p);
    while (axl_j_cur(p)->type != JT_RBRACKET) {
        if (args->n_items > 0)
            AXL_TRY(axl_j_expect(p, JT_COMMA, ","));
        AXL_TRY(parse_subscribed(p, &arg));
        AXL_TRY(axl_j_push(p, args, arg, &capacity));
    }
    next(p);
    n->b = args->n_items == 1 ? args->items[0] : args;
    *out = n;
out:
    return status;
}

static axl_status add_keyword(j_parser *p, j_call *c, int *capacity)
{
    axl_status status = AXL_OK;
    const j_token *t = axl_j_cur(p);

    if (c->n_kw == *capacity) {
        int grown = *capacity * 2 + 4;
        j_node **kw;
        int *names;

        AXL_TRY(axl_j_take(p->e, (size_t)grown * sizeof *kw, &kw));
        AXL_TRY(axl_j_take(p->e, (size_t)grown * sizeof *names, &names));
        if (c->n_kw > 0) {
            memcpy(kw, c->kw, (size_t)c->n_kw * sizeof *kw);
            memcpy(names, c->kw_names, (size_t)c->n_kw * sizeof *names);
        }
        c->kw = kw;
        c->kw_names = names;
        *capacity = grown;
    }
    AXL_TRY(axl_j_intern(p, t->p, t->n, &c->kw_names[c->n_kw]));
    next(p);
    next(p);
    AXL_TRY(expression(p, &c->kw[c->n_kw]));
    c->n_kw++;
out:
    return status;
}

// (a, b, name=c, *d, **e) with the parentheses.
static axl_status parse_args(j_parser *p, j_call **out)
{
    axl_status status = AXL_OK;
    int capacity = 0, kw_capacity = 0;
    bool comma = false, fine = true;
    j_node *list, *arg;
    j_call *c;

    AXL_TRY(axl_j_take(p->e, sizeof *c, &c));
    AXL_TRY(axl_j_node(p, JN_TUPLE, &list));
    AXL_TRY(axl_j_expect(p, JT_LPAREN, "("));
    while (axl_j_cur(p)->type != JT_RPAREN) {
        if (comma)
            AXL_TRY(axl_j_expect(p, JT_COMMA, ","));
        if (axl_j_cur(p)->type == JT_RPAREN)
            break;
        if (skip(p, JT_MUL)) {
            fine = c->star == NULL && c->star_kw == NULL;
            AXL_TRY(expression(p, &c->star));
        } else if (skip(p, JT_POW)) {
            fine = c->star_kw == NULL;
            AXL_TRY(expression(p, &c->star_kw));
        } else if (axl_j_cur(p)->type == JT_NAME && look(p)->type == JT_ASSIGN) {
            fine = c->star_kw == NULL;
            AXL_TRY(add_keyword(p, c, &kw_capacity));
        } else {
            fine = c->star == NULL && c->star_kw == NULL && c->n_kw == 0;
            AXL_TRY(expression(p, &arg));
            AXL_TRY(axl_j_push(p, list, arg, &capacity));
        }
        J_REQUIRE(p->e, fine, "invalid syntax for function call expression");
        comma = true;
    }
    next(p);
    c->pos = list->items;
    c->n_pos = list->n_items;
    *out = c;
out:
    return status;
}

static axl_status parse_call(j_parser *p, j_node *callee, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *n;

    AXL_TRY(axl_j_node(p, JN_CALL, &n));
    n->a = callee;
    AXL_TRY(parse_args(p, &n->call));
    *out = n;
out:
    return status;
}

static axl_status parse_postfix(j_parser *p, j_node *n, j_node **out)
{
    axl_status status = AXL_OK;

    for (;;) {
        j_token_type t = axl_j_cur(p)->type;

        if (t == JT_DOT || t == JT_LBRACKET)
            AXL_TRY(parse_subscript(p, n, &n));
        else if (t == JT_LPAREN)
            AXL_TRY(parse_call(p, n, &n));
        else
            break;
    }
    *out = n;
out:
    return status;
}

// name.name... of a filter or a test; no known one has a dot.
static axl_status parse_def_name(j_parser *p, const char **name, size_t *n)
{
    axl_status status = AXL_OK;

    *name = axl_j_cur(p)->p;
    AXL_TRY(axl_j_expect(p, JT_NAME, "name"));
    *n = p->tokens[p->at - 1].n;
    while (skip(p, JT_DOT)) {
        const j_token *t = axl_j_cur(p);

        AXL_TRY(axl_j_expect(p, JT_NAME, "name"));
        *n = (size_t)(t->p - *name) + t->n;
    }
out:
    return status;
}

axl_status axl_j_parse_filters(j_parser *p, j_node *input, bool start_inline, j_node **out)
{
    axl_status status = AXL_OK;

    while (axl_j_cur(p)->type == JT_PIPE || start_inline) {
        const char *name;
        size_t k;
        j_node *n;

        if (!start_inline)
            next(p);
        start_inline = false;
        AXL_TRY(axl_j_node(p, JN_FILTER, &n));
        AXL_TRY(parse_def_name(p, &name, &k));
        AXL_TRY(axl_j_intern(p, name, k, &n->name));
        n->a = input;
        n->def = axl_j_find_filter(name, k);
        if (n->def == NULL && p->unknown == NULL)
            p->unknown = n;
        if (axl_j_cur(p)->type == JT_LPAREN)
            AXL_TRY(parse_args(p, &n->call));
        input = n;
    }
    *out = input;
out:
    return status;
}

static bool starts_test_arg(const j_parser *p)
{
    switch (axl_j_cur(p)->type) {
    case JT_NAME:
        return !axl_j_is_name(p, "else") && !axl_j_is_name(p, "or") && !axl_j_is_name(p, "and");
    case JT_STRING:
    case JT_INT:
    case JT_FLOAT:
    case JT_LPAREN:
    case JT_LBRACKET:
    case JT_LBRACE:
        return true;
    default:
        return false;
    }
}

static axl_status parse_test(j_parser *p, j_node *input, j_node **out)
{
    axl_status status = AXL_OK;
    bool negated;
    const char *name;
    size_t k;
    j_node *n, *arg;

    next(p);
    negated = axl_j_skip_name(p, "not");
    AXL_TRY(axl_j_node(p, JN_TEST, &n));
    AXL_TRY(parse_def_name(p, &name, &k));
    AXL_TRY(axl_j_intern(p, name, k, &n->name));
    n->a = input;
    n->def = axl_j_find_test(name, k);
    if (n->def == NULL && p->unknown == NULL)
        p->unknown = n;
    if (axl_j_cur(p)->type == JT_LPAREN) {
        AXL_TRY(parse_args(p, &n->call));
    } else if (starts_test_arg(p)) {
        J_REQUIRE(p->e, !axl_j_is_name(p, "is"), "You cannot chain multiple tests with is");
        AXL_TRY(parse_primary(p, false, &arg));
        AXL_TRY(parse_postfix(p, arg, &arg));
        AXL_TRY(axl_j_take(p->e, sizeof *n->call, &n->call));
        AXL_TRY(axl_j_take(p->e, sizeof *n->call->pos, &n->call->pos));
        n->call->pos[0] = arg;
        n->call->n_pos = 1;
    }
    *out = n;
    if (negated)
        AXL_TRY(new_binary(p, JN_NOT, n, NULL, out));
out:
    return status;
}

static axl_status parse_filter_expr(j_parser *p, j_node *n, j_node **out)
{
    axl_status status = AXL_OK;

    for (;;) {
        if (axl_j_cur(p)->type == JT_PIPE)
            AXL_TRY(axl_j_parse_filters(p, n, false, &n));
        else if (axl_j_is_name(p, "is"))
            AXL_TRY(parse_test(p, n, &n));
        else if (axl_j_cur(p)->type == JT_LPAREN)
            AXL_TRY(parse_call(p, n, &n));
        else
            break;
    }
    *out = n;
out:
    return status;
}

// ---- operators ----

static axl_status parse_unary(j_parser *p, bool with_filter, j_node **out)
{
    axl_status status = AXL_OK;
    j_token_type t = axl_j_cur(p)->type;
    j_node *n;

    J_REQUIRE(p->e, ++p->depth <= MAX_PARSE_DEPTH, "the expression is nested too deeply");
    if (t == JT_SUB || t == JT_ADD) {
        next(p);
        AXL_TRY(parse_unary(p, false, &n));
        AXL_TRY(new_binary(p, t == JT_SUB ? JN_NEG : JN_POS, n, NULL, &n));
    } else {
        AXL_TRY(parse_primary(p, false, &n));
    }
    AXL_TRY(parse_postfix(p, n, &n));
    if (with_filter)
        AXL_TRY(parse_filter_expr(p, n, &n));
    p->depth--;
    *out = n;
out:
    return status;
}

static axl_status parse_pow(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *b = NULL;

    AXL_TRY(parse_unary(p, true, out));
    while (skip(p, JT_POW)) {
        AXL_TRY(parse_unary(p, true, &b));
        AXL_TRY(new_binary(p, JN_POW, *out, b, out));
    }
out:
    return status;
}

static axl_status parse_product(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *b = NULL;

    AXL_TRY(parse_pow(p, out));
    for (;;) {
        j_token_type t = axl_j_cur(p)->type;

        if (t < JT_MUL || t > JT_MOD)
            break;
        next(p);
        AXL_TRY(parse_pow(p, &b));
        AXL_TRY(new_binary(p, (j_type)(JN_MUL + (t - JT_MUL)), *out, b, out));
    }
out:
    return status;
}

static axl_status parse_concat(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    int capacity = 0;
    j_node *n, *item;

    AXL_TRY(parse_product(p, &item));
    *out = item;
    if (axl_j_cur(p)->type != JT_TILDE)
        goto out;
    AXL_TRY(axl_j_node(p, JN_CONCAT, &n));
    AXL_TRY(axl_j_push(p, n, item, &capacity));
    while (skip(p, JT_TILDE)) {
        AXL_TRY(parse_product(p, &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
    }
    *out = n;
out:
    return status;
}

static axl_status parse_sum(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *b = NULL;

    AXL_TRY(parse_concat(p, out));
    for (;;) {
        j_token_type t = axl_j_cur(p)->type;

        if (t != JT_ADD && t != JT_SUB)
            break;
        next(p);
        AXL_TRY(parse_concat(p, &b));
        AXL_TRY(new_binary(p, t == JT_ADD ? JN_ADD : JN_SUB, *out, b, out));
    }
out:
    return status;
}

static bool comparison(j_parser *p, j_compare *op)
{
    switch (axl_j_cur(p)->type) {
    case JT_EQ:
        *op = JC_EQ;
        break;
    case JT_NE:
        *op = JC_NE;
        break;
    case JT_LT:
        *op = JC_LT;
        break;
    case JT_LE:
        *op = JC_LE;
        break;
    case JT_GT:
        *op = JC_GT;
        break;
    case JT_GE:
        *op = JC_GE;
        break;
    default:
        if (axl_j_is_name(p, "in")) {
            *op = JC_IN;
            break;
        }
        if (!axl_j_is_name(p, "not") || !token_is(look(p), "in"))
            return false;
        next(p);
        *op = JC_NOTIN;
    }
    next(p);
    return true;
}

// a: the first operand; items and ops: the rest of a chain.
static axl_status parse_compare(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    int capacity = 0;
    j_compare op;
    j_node *n = NULL, *item;
    j_buf ops = {0};

    AXL_TRY(parse_sum(p, out));
    while (comparison(p, &op)) {
        char c = (char)op;

        if (n == NULL) {
            AXL_TRY(new_binary(p, JN_COMPARE, *out, NULL, &n));
            *out = n;
        }
        AXL_TRY(parse_sum(p, &item));
        AXL_TRY(axl_j_push(p, n, item, &capacity));
        AXL_TRY(axl_j_put(p->e, &ops, &c, 1));
    }
    if (n != NULL)
        n->ops = (uint8_t *)ops.p;
out:
    return status;
}

static axl_status parse_not(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    bool negated = false, any = false;

    while (axl_j_skip_name(p, "not")) {
        negated = !negated;
        any = true;
    }
    AXL_TRY(parse_compare(p, out));
    if (any)
        AXL_TRY(new_binary(p, JN_NOT, *out, NULL, out));
    if (any && !negated) // an even number of nots still gives a boolean
        AXL_TRY(new_binary(p, JN_NOT, *out, NULL, out));
out:
    return status;
}

static axl_status parse_and(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *b = NULL;

    AXL_TRY(parse_not(p, out));
    while (axl_j_skip_name(p, "and")) {
        AXL_TRY(parse_not(p, &b));
        AXL_TRY(new_binary(p, JN_AND, *out, b, out));
    }
out:
    return status;
}

static axl_status parse_or(j_parser *p, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *b = NULL;

    AXL_TRY(parse_and(p, out));
    while (axl_j_skip_name(p, "or")) {
        AXL_TRY(parse_and(p, &b));
        AXL_TRY(new_binary(p, JN_OR, *out, b, out));
    }
out:
    return status;
}

// JN_COND: a if b else c; c may be NULL. An unknown filter or test fails here, at compile time, unless
// the expression is conditional: then only when it is reached, as in jinja2.
axl_status axl_j_parse_expression(j_parser *p, bool with_cond, j_node **out)
{
    axl_status status = AXL_OK;
    j_node *n;

    J_REQUIRE(p->e, ++p->depth <= MAX_PARSE_DEPTH, "the expression is nested too deeply");
    AXL_TRY(parse_or(p, out));
    while (with_cond && axl_j_skip_name(p, "if")) {
        p->unknown = NULL;
        p->conditional = true;
        AXL_TRY(new_binary(p, JN_COND, *out, NULL, &n));
        AXL_TRY(parse_or(p, &n->b));
        if (axl_j_skip_name(p, "else"))
            AXL_TRY(axl_j_parse_expression(p, true, &n->c));
        *out = n;
    }
    if (--p->depth > 0)
        goto out;
    if (p->unknown != NULL && p->n_soft == 0 && !p->conditional)
        AXL_TRY(axl_j_unknown(p->e, p->t, p->unknown));
    p->unknown = NULL;
    p->conditional = false;
out:
    return status;
}

axl_status axl_j_unknown(j_env *e, const axl_jinja *t, const j_node *n)
{
    const j_str *name = t->names[n->name];

    e->line = n->line;
    return axl_j_raise(e, "No %s named '%.*s'.", n->type == JN_FILTER ? "filter" : "test",
                       (int)name->n, name->p);
}
