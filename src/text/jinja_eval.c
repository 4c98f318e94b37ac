// Evaluates expressions. Each node counts as a step and each level of nesting as depth, so that a
// hostile template ends with an error.
#include "src/text/jinja_internal.h"

#include <string.h>

axl_status axl_j_enter(j_env *e)
{
    axl_status status = AXL_OK;

    J_REQUIRE(e, ++e->steps <= e->max_steps, "the template takes more than %lld steps",
              (long long)e->max_steps);
    J_REQUIRE(e, ++e->depth <= J_MAX_DEPTH, "RecursionError: the template nests deeper than %d",
              J_MAX_DEPTH);
out:
    return status;
}

// ---- calls ----

static axl_status spread_list(j_env *e, j_frame *f, const j_node *n, j_args *out)
{
    axl_status status = AXL_OK;
    j_value v, *grown;
    j_list *l;

    AXL_TRY(axl_j_eval(e, f, n, &v));
    AXL_TRY(axl_j_items(e, &v, &l));
    J_REQUIRE(e, l->n < 100000, "too many arguments");
    AXL_TRY(axl_j_take(e, ((size_t)out->n_pos + (size_t)l->n) * sizeof *grown, &grown));
    if (out->n_pos > 0)
        memcpy(grown, out->pos, (size_t)out->n_pos * sizeof *grown);
    if (l->n > 0)
        memcpy(grown + out->n_pos, l->v, (size_t)l->n * sizeof *grown);
    out->pos = grown;
    out->n_pos += (int)l->n;
out:
    return status;
}

static axl_status spread_dict(j_env *e, j_frame *f, const j_node *n, j_args *out)
{
    axl_status status = AXL_OK;
    j_value v, *values;
    const j_str **names;

    AXL_TRY(axl_j_eval(e, f, n, &v));
    J_REQUIRE(e, v.kind == J_DICT, "TypeError: argument after ** must be a mapping, not %s",
              axl_j_type_name(&v));
    J_REQUIRE(e, v.d->n < 100000, "too many arguments");
    AXL_TRY(axl_j_take(e, ((size_t)out->n_kw + (size_t)v.d->n) * sizeof *values, &values));
    AXL_TRY(axl_j_take(e, ((size_t)out->n_kw + (size_t)v.d->n) * sizeof *names, &names));
    for (int i = 0; i < out->n_kw; i++) {
        values[i] = out->kw[i];
        names[i] = out->kw_names[i];
    }
    for (int64_t i = 0; i < v.d->n; i++) {
        J_REQUIRE(e, v.d->keys[i].kind == J_STR, "TypeError: keywords must be strings");
        values[out->n_kw] = v.d->values[i];
        names[out->n_kw++] = v.d->keys[i].s;
    }
    out->kw = values;
    out->kw_names = names;
out:
    return status;
}

axl_status axl_j_args_eval(j_env *e, j_frame *f, const j_call *call, j_args *out)
{
    axl_status status = AXL_OK;

    *out = (j_args){0};
    if (call == NULL)
        goto out;
    if (call->n_pos > 0)
        AXL_TRY(axl_j_take(e, (size_t)call->n_pos * sizeof *out->pos, &out->pos));
    for (int i = 0; i < call->n_pos; i++)
        AXL_TRY(axl_j_eval(e, f, call->pos[i], &out->pos[i]));
    out->n_pos = call->n_pos;
    if (call->n_kw > 0) {
        AXL_TRY(axl_j_take(e, (size_t)call->n_kw * sizeof *out->kw, &out->kw));
        AXL_TRY(axl_j_take(e, (size_t)call->n_kw * sizeof *out->kw_names, &out->kw_names));
    }
    for (int i = 0; i < call->n_kw; i++) {
        AXL_TRY(axl_j_eval(e, f, call->kw[i], &out->kw[i]));
        out->kw_names[i] = e->t->names[call->kw_names[i]];
    }
    out->n_kw = call->n_kw;
    if (call->star != NULL)
        AXL_TRY(spread_list(e, f, call->star, out));
    if (call->star_kw != NULL)
        AXL_TRY(spread_dict(e, f, call->star_kw, out));
out:
    return status;
}

// The place of a name in "old new count"; -1 when it is not there. *n_params counts them.
static int param_index(const char *params, const j_str *name, int *n_params)
{
    int at = 0, found = -1;

    for (const char *p = params; *p != '\0'; at++) {
        size_t n = strcspn(p, " ");

        if (name != NULL && name->n == n && memcmp(p, name->p, n) == 0)
            found = at;
        p += n + (p[n] == ' ');
    }
    *n_params = at;
    return found;
}

axl_status axl_j_apply_def(j_env *e, const j_def *def, const j_value *self, const j_args *args,
                           j_value *res)
{
    axl_status status = AXL_OK;
    j_value a[J_MAX_ARGS] = {0};
    int n_params;

    if (self->kind == J_STR) // most filters and methods walk the text
        axl_j_work(e, self->s->n);
    if (def->variadic != NULL) {
        AXL_TRY(def->variadic(e, self, args, res));
        goto out;
    }
    (void)param_index(def->params, NULL, &n_params);
    J_REQUIRE(e, args->n_pos <= n_params, "TypeError: %s() takes %d arguments but %d were given",
              def->name, n_params, args->n_pos);
    for (int i = 0; i < args->n_pos; i++)
        a[i] = args->pos[i];
    for (int i = 0; i < args->n_kw; i++) {
        const j_str *name = args->kw_names[i];
        int at = param_index(def->params, name, &n_params);

        J_REQUIRE(e, at >= 0, "TypeError: %s() got an unexpected keyword argument '%.*s'",
                  def->name, (int)name->n, name->p);
        J_REQUIRE(e, a[at].kind == J_ABSENT,
                  "TypeError: %s() got multiple values for argument '%.*s'", def->name,
                  (int)name->n, name->p);
        a[at] = args->kw[i];
    }
    for (int i = 0; i < def->n_required; i++)
        J_REQUIRE(e, a[i].kind != J_ABSENT, "TypeError: %s() misses its argument %d", def->name,
                  i + 1);
    AXL_TRY(def->apply(e, self, a, res));
out:
    return status;
}

axl_status axl_j_call_value(j_env *e, const j_value *fn, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;

    switch (fn->kind) {
    case J_METHOD:
        AXL_TRY(axl_j_apply_def(e, fn->bound->def, &fn->bound->self, args, res));
        break;
    case J_FUNC:
        AXL_TRY(axl_j_apply_def(e, fn->func->def, &fn->func->state, args, res));
        break;
    case J_MACRO:
        AXL_TRY(axl_j_call_macro(e, fn->macro, args, res));
        break;
    case J_LOOP:
        AXL_TRY(axl_j_call_loop(e, fn->loop, args, res));
        break;
    case J_UNDEF:
        AXL_TRY(axl_j_fail_undefined(e, fn));
        break;
    default:
        J_FAIL(e, "TypeError: '%s' object is not callable", axl_j_type_name(fn));
    }
out:
    return status;
}

static axl_status eval_call(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_value fn, self;
    const j_def *def = NULL;
    j_args args;

    if (n->a->type == JN_GETATTR) { // x.method(...) without a bound method in between
        AXL_TRY(axl_j_eval(e, f, n->a->a, &self));
        def = axl_j_find_method(&self, e->t->names[n->a->name]);
        if (def == NULL || def->unsafe) {
            def = NULL;
            AXL_TRY(axl_j_getattr(e, &self, e->t->names[n->a->name], &fn));
        }
    } else {
        AXL_TRY(axl_j_eval(e, f, n->a, &fn));
    }
    AXL_TRY(axl_j_args_eval(e, f, n->call, &args));
    e->line = n->line;
    if (def != NULL)
        AXL_TRY(axl_j_apply_def(e, def, &self, &args, res));
    else
        AXL_TRY(axl_j_call_value(e, &fn, &args, res));
out:
    return status;
}

static axl_status eval_filter(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_value self;
    j_args args;

    if (n->a == NULL) // of a set or filter block
        self = e->block_text;
    else
        AXL_TRY(axl_j_eval(e, f, n->a, &self));
    if (n->def == NULL)
        AXL_TRY(axl_j_unknown(e, e->t, n));
    AXL_TRY(axl_j_args_eval(e, f, n->call, &args));
    e->line = n->line;
    AXL_TRY(axl_j_apply_def(e, n->def, &self, &args, res));
out:
    return status;
}

// ---- operators ----

static axl_status compare(j_env *e, j_compare op, const j_value *a, const j_value *b, bool *res)
{
    axl_status status = AXL_OK;
    static const char *const names[] = {"==", "!=", "<", "<=", ">", ">="};
    int order = 0;

    if (op == JC_EQ || op == JC_NE) {
        *res = axl_j_equal(e, a, b) == (op == JC_EQ);
    } else if (op == JC_IN || op == JC_NOTIN) {
        AXL_TRY(axl_j_in(e, a, b, res));
        *res = *res == (op == JC_IN);
    } else {
        AXL_TRY(axl_j_order(e, a, b, names[op], &order));
        if ((a->kind == J_FLOAT && a->f != a->f) || (b->kind == J_FLOAT && b->f != b->f))
            *res = false;
        else
            *res = op == JC_LT   ? order < 0
                   : op == JC_LE ? order <= 0
                   : op == JC_GT ? order > 0
                                 : order >= 0;
    }
out:
    return status;
}

static axl_status eval_compare(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_value a, b;
    bool holds = true;

    AXL_TRY(axl_j_eval(e, f, n->a, &a));
    for (int i = 0; i < n->n_items && holds; i++) {
        AXL_TRY(axl_j_eval(e, f, n->items[i], &b));
        AXL_TRY(compare(e, (j_compare)n->ops[i], &a, &b, &holds));
        a = b;
    }
    *res = axl_j_bool(holds);
out:
    return status;
}

static axl_status eval_concat(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0};
    j_value v;

    for (int i = 0; i < n->n_items; i++) {
        AXL_TRY(axl_j_eval(e, f, n->items[i], &v));
        AXL_TRY(axl_j_print(e, &b, &v));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status eval_items(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;

    if (n->type == JN_DICT) {
        j_value k, v;

        AXL_TRY(axl_j_dict(e, res));
        for (int i = 0; i < n->n_items; i += 2) {
            AXL_TRY(axl_j_eval(e, f, n->items[i], &k));
            AXL_TRY(axl_j_eval(e, f, n->items[i + 1], &v));
            AXL_TRY(axl_j_dict_set(e, res->d, k, v));
        }
        goto out;
    }
    AXL_TRY(axl_j_list(e, n->type == JN_TUPLE ? J_TUPLE : J_LIST, n->n_items, res));
    for (int i = 0; i < n->n_items; i++)
        AXL_TRY(axl_j_eval(e, f, n->items[i], &res->l->v[i]));
    res->l->n = n->n_items;
out:
    return status;
}

static axl_status eval_getitem(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_value object, key, part[3] = {0};

    AXL_TRY(axl_j_eval(e, f, n->a, &object));
    e->line = n->line;
    if (n->type == JN_GETATTR) {
        AXL_TRY(axl_j_getattr(e, &object, e->t->names[n->name], res));
    } else if (n->b->type == JN_SLICE) {
        if (n->b->a != NULL)
            AXL_TRY(axl_j_eval(e, f, n->b->a, &part[0]));
        if (n->b->b != NULL)
            AXL_TRY(axl_j_eval(e, f, n->b->b, &part[1]));
        if (n->b->c != NULL)
            AXL_TRY(axl_j_eval(e, f, n->b->c, &part[2]));
        AXL_TRY(axl_j_slice(e, &object, part, res));
    } else {
        AXL_TRY(axl_j_eval(e, f, n->b, &key));
        AXL_TRY(axl_j_getitem(e, &object, &key, res));
    }
out:
    return status;
}

static axl_status eval_cond(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_value test, none = {.kind = J_NONE};

    AXL_TRY(axl_j_eval(e, f, n->b, &test));
    if (axl_j_truth(&test))
        AXL_TRY(axl_j_eval(e, f, n->a, res));
    else if (n->c != NULL)
        AXL_TRY(axl_j_eval(e, f, n->c, res));
    else
        AXL_TRY(axl_j_undefined(e, J_UNDEF_TEXT,
                                "the inline if-expression evaluated to false and no else section "
                                "was defined.",
                                none, res));
out:
    return status;
}

static axl_status eval_name(j_env *e, const j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_value key;

    *res = axl_j_lookup(e, f, n->name);
    if (res->kind == J_ABSENT) {
        key = (j_value){.kind = J_STR, .s = e->t->names[n->name]};
        AXL_TRY(axl_j_undefined(e, J_UNDEF_NAME, NULL, key, res));
    }
out:
    return status;
}

static axl_status eval_operator(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_value a, b;

    AXL_TRY(axl_j_eval(e, f, n->a, &a));
    if (n->type == JN_AND || n->type == JN_OR) {
        if (axl_j_truth(&a) == (n->type == JN_OR))
            *res = a;
        else
            AXL_TRY(axl_j_eval(e, f, n->b, res));
    } else if (n->type <= JN_NOT) {
        e->line = n->line;
        AXL_TRY(axl_j_unary(e, n->type, &a, res));
    } else {
        AXL_TRY(axl_j_eval(e, f, n->b, &b));
        e->line = n->line;
        AXL_TRY(axl_j_binary(e, n->type, &a, &b, res));
    }
out:
    return status;
}

axl_status axl_j_eval(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_enter(e));
    switch (n->type) {
    case JN_CONST:
        *res = n->value;
        break;
    case JN_NAME:
        AXL_TRY(eval_name(e, f, n, res));
        break;
    case JN_TUPLE:
    case JN_LIST:
    case JN_DICT:
        AXL_TRY(eval_items(e, f, n, res));
        break;
    case JN_CONCAT:
        AXL_TRY(eval_concat(e, f, n, res));
        break;
    case JN_COMPARE:
        AXL_TRY(eval_compare(e, f, n, res));
        break;
    case JN_COND:
        AXL_TRY(eval_cond(e, f, n, res));
        break;
    case JN_GETATTR:
    case JN_GETITEM:
        AXL_TRY(eval_getitem(e, f, n, res));
        break;
    case JN_SLICE: // one of several subscripts: nothing has such keys
        *res = axl_j_none();
        break;
    case JN_CALL:
        AXL_TRY(eval_call(e, f, n, res));
        break;
    case JN_FILTER:
    case JN_TEST:
        AXL_TRY(eval_filter(e, f, n, res));
        break;
    default:
        AXL_TRY(eval_operator(e, f, n, res));
    }
    e->depth--;
out:
    return status;
}
