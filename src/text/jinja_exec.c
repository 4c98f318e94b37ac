// Runs statements: output, scopes, loops, macros; and the rendering as a whole.
//
// A scope is a frame of names; looking up walks the frames outwards and ends at the context. A loop
// makes a new frame for each turn, which is why assignments inside a loop are gone afterwards.
#include "src/base/mem.h"
#include "src/text/jinja_internal.h"

#include <stdlib.h>
#include <string.h>

axl_status axl_j_frame(j_env *e, j_frame *parent, j_frame **out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_take(e, sizeof **out, out));
    (*out)->parent = parent;
out:
    return status;
}

axl_status axl_j_bind(j_env *e, j_frame *f, int name, j_value value)
{
    axl_status status = AXL_OK;

    for (int i = 0; i < f->n; i++)
        if (f->slots[i].name == name) {
            f->slots[i].value = value;
            goto out;
        }
    if (f->n == f->capacity) {
        int capacity = f->capacity * 2 + 4;
        j_slot *grown;

        AXL_TRY(axl_j_take(e, (size_t)capacity * sizeof *grown, &grown));
        if (f->n > 0)
            memcpy(grown, f->slots, (size_t)f->n * sizeof *grown);
        f->slots = grown;
        f->capacity = capacity;
    }
    f->slots[f->n++] = (j_slot){.name = name, .value = value};
out:
    return status;
}

j_value axl_j_lookup(const j_env *e, const j_frame *f, int name)
{
    for (; f != NULL; f = f->parent)
        for (int i = 0; i < f->n; i++)
            if (f->slots[i].name == name)
                return f->slots[i].value;
    return e->globals[name];
}

static axl_status assign(j_env *e, j_frame *f, const j_node *target, const j_value *v)
{
    axl_status status = AXL_OK;
    j_value ns, key;
    j_list *l;

    if (target->type == JN_NAME) {
        AXL_TRY(axl_j_bind(e, f, target->name, *v));
    } else if (target->type == JN_NSREF) {
        ns = axl_j_lookup(e, f, target->name);
        J_REQUIRE(e, ns.kind == J_NS, "cannot assign attribute on non-namespace object");
        key = (j_value){.kind = J_STR, .s = e->t->names[target->attr]};
        AXL_TRY(axl_j_dict_set(e, ns.d, key, *v));
    } else {
        AXL_TRY(axl_j_items(e, v, &l));
        J_REQUIRE(e, l->n >= target->n_items,
                  "ValueError: not enough values to unpack (expected %d, got %lld)",
                  target->n_items, (long long)l->n);
        J_REQUIRE(e, l->n == target->n_items, "ValueError: too many values to unpack (expected %d)",
                  target->n_items);
        for (int i = 0; i < target->n_items; i++)
            AXL_TRY(assign(e, f, target->items[i], &l->v[i]));
    }
out:
    return status;
}

// Runs n with its output caught as a string.
static axl_status capture(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0}, *outer = e->out;

    e->out = &b;
    status = axl_j_exec(e, f, n);
    e->out = outer;
    AXL_TRY(status);
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

// ---- loops ----

static axl_status filter_items(j_env *e, j_frame *f, const j_node *n, j_list **items)
{
    axl_status status = AXL_OK;
    j_value kept, test;
    j_frame *inner;

    AXL_TRY(axl_j_list(e, J_LIST, 0, &kept));
    for (int64_t i = 0; i < (*items)->n; i++) {
        AXL_TRY(axl_j_frame(e, f, &inner));
        AXL_TRY(assign(e, inner, n->a, &(*items)->v[i]));
        AXL_TRY(axl_j_eval(e, inner, n->c, &test));
        if (axl_j_truth(&test))
            AXL_TRY(axl_j_append(e, kept.l, (*items)->v[i]));
    }
    *items = kept.l;
out:
    return status;
}

static axl_status run_loop(j_env *e, j_frame *f, const j_node *n, const j_value *over,
                           int64_t depth0)
{
    axl_status status = AXL_OK;
    j_value object = {.kind = J_LOOP};
    j_frame *inner;
    j_list *items;

    AXL_TRY(axl_j_items(e, over, &items));
    if (n->c != NULL)
        AXL_TRY(filter_items(e, f, n, &items));
    if (items->n == 0 && n->items[1] != NULL) {
        AXL_TRY(axl_j_frame(e, f, &inner));
        AXL_TRY(axl_j_exec(e, inner, n->items[1]));
        goto out;
    }
    AXL_TRY(axl_j_take(e, sizeof *object.loop, &object.loop));
    *object.loop = (j_loop){.items = items, .depth0 = depth0, .node = n, .frame = f};
    for (int64_t i = 0; i < items->n; i++) {
        object.loop->at = i;
        AXL_TRY(axl_j_frame(e, f, &inner));
        AXL_TRY(axl_j_bind(e, inner, e->t->loop_name, object));
        AXL_TRY(assign(e, inner, n->a, &items->v[i]));
        AXL_TRY(axl_j_exec(e, inner, n->items[0]));
        if (e->flow == J_BREAK) {
            e->flow = J_RUN;
            break;
        }
        e->flow = J_RUN;
    }
out:
    return status;
}

axl_status axl_j_call_loop(j_env *e, const j_loop *loop, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;
    j_buf b = {0}, *outer = e->out;

    J_REQUIRE(e, loop->node->flags & JF_RECURSIVE,
              "TypeError: The loop must have the 'recursive' marker to be called recursively.");
    J_REQUIRE(e, args->n_pos == 1 && args->n_kw == 0, "TypeError: loop() takes one argument");
    e->out = &b;
    status = run_loop(e, loop->frame, loop->node, &args->pos[0], loop->depth0 + 1);
    e->out = outer;
    AXL_TRY(status);
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status exec_for(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_value over;

    AXL_TRY(axl_j_eval(e, f, n->b, &over));
    e->line = n->line;
    AXL_TRY(run_loop(e, f, n, &over, 0));
out:
    return status;
}

// ---- macros ----

static const char *macro_name(const j_env *e, const j_macro *m)
{
    return m->node->name >= 0 ? e->t->names[m->node->name]->p : "caller";
}

// The keyword arguments of a macro call that are no parameters; caller is taken apart.
static axl_status bind_keywords(j_env *e, const j_macro *m, const j_args *args, j_value *values,
                                j_value *kwargs)
{
    axl_status status = AXL_OK;
    const j_node *n = m->node;

    AXL_TRY(axl_j_dict(e, kwargs));
    for (int i = 0; i < args->n_kw; i++) {
        const j_str *name = args->kw_names[i];
        j_value key;
        int at = 0;

        while (at < n->n_items &&
               (e->t->names[n->items[at]->name]->n != name->n ||
                memcmp(e->t->names[n->items[at]->name]->p, name->p, name->n) != 0))
            at++;
        if (at < n->n_items) {
            J_REQUIRE(e, values[at].kind == J_ABSENT,
                      "TypeError: macro got multiple values for argument '%.*s'", (int)name->n,
                      name->p);
            values[at] = args->kw[i];
            continue;
        }
        AXL_TRY(axl_j_text(e, name->p, name->n, &key));
        AXL_TRY(axl_j_dict_set(e, kwargs->d, key, args->kw[i]));
    }
out:
    return status;
}

// Binds the parameters and what is left over: varargs, kwargs, caller.
static axl_status bind_macro(j_env *e, const j_macro *m, const j_args *args, j_frame *f)
{
    axl_status status = AXL_OK;
    const j_node *n = m->node;
    int first_default = n->n_items - n->b->n_items;
    j_value *values, kwargs, rest, caller = {.kind = J_ABSENT};
    const j_value *given;

    AXL_TRY(axl_j_take(e, ((size_t)n->n_items + 1) * sizeof *values, &values));
    for (int i = 0; i < args->n_pos && i < n->n_items; i++)
        values[i] = args->pos[i];
    AXL_TRY(bind_keywords(e, m, args, values, &kwargs));
    given = axl_j_dict_get_str(kwargs.d, "caller", 6);
    if ((n->flags & JF_CALLER) && given != NULL) {
        caller = *given;
        kwargs.d->n--; // a call block puts it last
    }
    J_REQUIRE(e, kwargs.d->n == 0 || (n->flags & JF_KWARGS),
              "TypeError: macro '%s' takes no keyword argument '%.*s'", macro_name(e, m),
              (int)kwargs.d->keys[0].s->n, kwargs.d->keys[0].s->p);
    J_REQUIRE(e, args->n_pos <= n->n_items || (n->flags & JF_VARARGS),
              "TypeError: macro '%s' takes not more than %d argument(s)", macro_name(e, m),
              n->n_items);
    for (int i = 0; i < n->n_items; i++) {
        j_value key = {.kind = J_STR, .s = e->t->names[n->items[i]->name]};

        if (values[i].kind == J_ABSENT && i >= first_default)
            AXL_TRY(axl_j_eval(e, f, n->b->items[i - first_default], &values[i]));
        else if (values[i].kind == J_ABSENT)
            AXL_TRY(axl_j_undefined(e, J_UNDEF_NAME, NULL, key, &values[i]));
        AXL_TRY(axl_j_bind(e, f, n->items[i]->name, values[i]));
    }
    if (n->flags & JF_VARARGS) {
        AXL_TRY(axl_j_list(e, J_TUPLE, 0, &rest));
        for (int i = n->n_items; i < args->n_pos; i++)
            AXL_TRY(axl_j_append(e, rest.l, args->pos[i]));
        AXL_TRY(axl_j_bind(e, f, e->t->varargs_name, rest));
    }
    if (n->flags & JF_KWARGS)
        AXL_TRY(axl_j_bind(e, f, e->t->kwargs_name, kwargs));
    if (n->flags & JF_CALLER) {
        j_value key = {.kind = J_STR, .s = e->t->names[e->t->caller_name]};

        if (caller.kind == J_ABSENT)
            AXL_TRY(axl_j_undefined(e, J_UNDEF_NAME, NULL, key, &caller));
        AXL_TRY(axl_j_bind(e, f, e->t->caller_name, caller));
    }
out:
    return status;
}

axl_status axl_j_call_macro(j_env *e, const j_macro *m, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;
    j_frame *f;

    AXL_TRY(axl_j_frame(e, m->frame, &f));
    AXL_TRY(bind_macro(e, m, args, f));
    AXL_TRY(capture(e, f, m->node->a, res));
out:
    return status;
}

static axl_status new_macro(j_env *e, j_frame *f, const j_node *n, j_value *res)
{
    axl_status status = AXL_OK;

    *res = (j_value){.kind = J_MACRO};
    AXL_TRY(axl_j_take(e, sizeof *res->macro, &res->macro));
    res->macro->node = n;
    res->macro->frame = f;
out:
    return status;
}

static axl_status exec_call_block(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_value fn, caller, res;
    j_args args;
    j_value *kw;
    const j_str **names;

    AXL_TRY(axl_j_eval(e, f, n->c->a, &fn));
    AXL_TRY(axl_j_args_eval(e, f, n->c->call, &args));
    AXL_TRY(new_macro(e, f, n, &caller));
    AXL_TRY(axl_j_take(e, ((size_t)args.n_kw + 1) * sizeof *kw, &kw));
    AXL_TRY(axl_j_take(e, ((size_t)args.n_kw + 1) * sizeof *names, &names));
    for (int i = 0; i < args.n_kw; i++) {
        kw[i] = args.kw[i];
        names[i] = args.kw_names[i];
    }
    kw[args.n_kw] = caller;
    names[args.n_kw++] = e->t->names[e->t->caller_name];
    args.kw = kw;
    args.kw_names = names;
    AXL_TRY(axl_j_call_value(e, &fn, &args, &res));
    AXL_TRY(axl_j_print(e, e->out, &res));
out:
    return status;
}

// ---- other statements ----

static axl_status exec_if(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_value test;

    for (int i = 0; i < n->n_items; i += 2) {
        AXL_TRY(axl_j_eval(e, f, n->items[i], &test));
        if (!axl_j_truth(&test))
            continue;
        AXL_TRY(axl_j_exec(e, f, n->items[i + 1]));
        goto out;
    }
    if (n->a != NULL)
        AXL_TRY(axl_j_exec(e, f, n->a));
out:
    return status;
}

static axl_status exec_set(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_frame *inner;
    j_value v;

    if (n->type == JN_SET) {
        AXL_TRY(axl_j_eval(e, f, n->b, &v));
        e->line = n->line;
    } else {
        AXL_TRY(axl_j_frame(e, f, &inner));
        AXL_TRY(capture(e, inner, n->b, &v));
        if (n->c != NULL) {
            e->block_text = v;
            AXL_TRY(axl_j_eval(e, f, n->c, &v));
        }
    }
    AXL_TRY(assign(e, f, n->a, &v));
out:
    return status;
}

static axl_status exec_with(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    int half = n->n_items / 2;
    j_frame *inner;
    j_value v;

    AXL_TRY(axl_j_frame(e, f, &inner));
    for (int i = 0; i < half; i++) {
        AXL_TRY(axl_j_eval(e, f, n->items[half + i], &v));
        AXL_TRY(assign(e, inner, n->items[i], &v));
    }
    AXL_TRY(axl_j_exec(e, inner, n->a));
out:
    return status;
}

static axl_status exec_filter_block(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_frame *inner;
    j_value v;

    AXL_TRY(axl_j_frame(e, f, &inner));
    AXL_TRY(capture(e, inner, n->a, &v));
    e->block_text = v;
    AXL_TRY(axl_j_eval(e, f, n->c, &v));
    AXL_TRY(axl_j_print(e, e->out, &v));
out:
    return status;
}

// Marks what its body writes to the text itself; inside a captured part there is no place to mark.
static axl_status exec_generation(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    axl_jinja_spans *s = e->out == e->root ? e->spans : NULL;
    int64_t begin = (int64_t)e->out->n;
    j_frame *inner;

    AXL_TRY(axl_j_frame(e, f, &inner));
    AXL_TRY(axl_j_exec(e, inner, n->a));
    if (s == NULL)
        goto out;
    AXL_TRY(axl_grow(&s->items, &s->capacity, s->n + 1, sizeof *s->items, "template spans"));
    s->items[s->n++] = (axl_jinja_span){.begin = begin, .end = (int64_t)e->out->n};
out:
    return status;
}

static axl_status exec_output(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_value v;

    AXL_TRY(axl_j_eval(e, f, n->a, &v));
    AXL_TRY(axl_j_print(e, e->out, &v));
out:
    return status;
}

static axl_status exec_scope(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_frame *inner;

    AXL_TRY(axl_j_frame(e, f, &inner));
    AXL_TRY(axl_j_exec(e, inner, n->a));
out:
    return status;
}

static axl_status exec_macro(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;
    j_value v;

    AXL_TRY(new_macro(e, f, n, &v));
    AXL_TRY(axl_j_bind(e, f, n->name, v));
out:
    return status;
}

static axl_status exec_statement(j_env *e, j_frame *f, const j_node *n)
{
    switch (n->type) {
    case JN_TEXT:
        return axl_j_put(e, e->out, n->value.s->p, n->value.s->n);
    case JN_OUTPUT:
        return exec_output(e, f, n);
    case JN_FOR:
        return exec_for(e, f, n);
    case JN_IF:
        return exec_if(e, f, n);
    case JN_SET:
    case JN_SETBLOCK:
        return exec_set(e, f, n);
    case JN_MACRO:
        return exec_macro(e, f, n);
    case JN_CALLBLOCK:
        return exec_call_block(e, f, n);
    case JN_FILTERBLOCK:
        return exec_filter_block(e, f, n);
    case JN_WITH:
        return exec_with(e, f, n);
    case JN_SCOPE:
        return exec_scope(e, f, n);
    case JN_GENERATION:
        return exec_generation(e, f, n);
    case JN_BODY:
        return axl_j_exec(e, f, n);
    default:
        e->flow = n->type == JN_BREAK ? J_BREAK : J_CONTINUE;
        return AXL_OK;
    }
}

axl_status axl_j_exec(j_env *e, j_frame *f, const j_node *n)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_enter(e));
    for (int i = 0; i < n->n_items && e->flow == J_RUN; i++) {
        J_REQUIRE(e, ++e->steps <= e->max_steps, "the template takes more than %lld steps",
                  (long long)e->max_steps);
        e->line = n->items[i]->line;
        AXL_TRY(exec_statement(e, f, n->items[i]));
    }
    e->depth--;
out:
    return status;
}

// ---- rendering ----

// Byte positions in the text to code points.
static void count_spans(axl_jinja_spans *s, const j_buf *text)
{
    int64_t chars = 0;
    size_t at = 0;

    // Spans are in order of their ends; nested ones begin earlier, so each begin is counted anew
    // from the last known place when it lies behind it.
    for (size_t i = 0; i < s->n; i++) {
        size_t begin = (size_t)s->items[i].begin, end = (size_t)s->items[i].end;

        if (begin < at) {
            at = 0;
            chars = 0;
        }
        for (; at < begin; at++)
            chars += ((unsigned char)text->p[at] & 0xc0) != 0x80;
        s->items[i].begin = chars;
        for (; at < end; at++)
            chars += ((unsigned char)text->p[at] & 0xc0) != 0x80;
        s->items[i].end = chars;
    }
}

static axl_status bind_globals(j_env *e, const axl_json *context)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_j_take(e, ((size_t)e->t->n_names + 1) * sizeof *e->globals, &e->globals));
    for (int i = 0; i < e->t->n_names; i++) {
        const j_str *name = e->t->names[i];
        char key[256];
        const axl_json *v = NULL;

        if (name->n < sizeof key) {
            memcpy(key, name->p, name->n);
            key[name->n] = '\0';
            v = axl_json_get(context, key);
        }
        if (v != NULL)
            AXL_TRY(axl_j_from_json(e, v, &e->globals[i]));
        else
            AXL_TRY(axl_j_global(e, name, &e->globals[i]));
    }
out:
    return status;
}

axl_status axl_jinja_render(const axl_jinja *t, const axl_json *context,
                            const axl_jinja_options *options, axl_str *out)
{
    axl_status status = AXL_OK;
    static const axl_jinja_options defaults;
    const axl_jinja_options *o = options != NULL ? options : &defaults;
    j_arena arena = {.limit = o->max_memory > 0 ? o->max_memory : (size_t)256 << 20};
    j_buf text = {0};
    j_env e = {.arena = &arena,
               .name = t->name,
               .fault = o->fault,
               .t = t,
               .out = &text,
               .root = &text,
               .now = o->now,
               .spans = o->spans};
    j_frame *root;

    if (o->memory != NULL) {
        arena.spare = o->memory->chunk;
        o->memory->chunk = NULL;
    }
    e.max_steps = o->max_steps > 0 ? o->max_steps : 10000000;
    e.max_output = o->max_output > 0 ? o->max_output : (size_t)64 << 20;
    if (o->spans != NULL)
        o->spans->n = 0;
    if (o->fault != NULL)
        o->fault->raised = false;
    J_REQUIRE(&e, context == NULL || axl_json_is(context, AXL_JSON_OBJECT),
              "the variables of a template are an object, not %s",
              axl_json_kind_name(axl_json_type(context)));
    AXL_TRY(bind_globals(&e, context));
    AXL_TRY(axl_j_frame(&e, NULL, &root));
    AXL_TRY(axl_j_exec(&e, root, t->body));
    if (o->spans != NULL)
        count_spans(o->spans, &text);
    if (text.n > 0)
        AXL_TRY(axl_str_append(out, text.p, text.n));
out:
    if (status != AXL_OK && o->spans != NULL)
        o->spans->n = 0;
    if (o->memory != NULL)
        o->memory->chunk = axl_j_arena_keep(&arena);
    else
        axl_j_arena_fini(&arena);
    return status;
}

void axl_jinja_memory_fini(axl_jinja_memory *m)
{
    free(m->chunk);
    m->chunk = NULL;
}

void axl_jinja_spans_fini(axl_jinja_spans *s)
{
    free(s->items);
    *s = (axl_jinja_spans){0};
}

void axl_jinja_fault_fini(axl_jinja_fault *f)
{
    axl_str_fini(&f->message);
}
