// Global functions: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
#include "src/text/jinja_internal.h"

#include <stdio.h>
#include <string.h>

#define COUNT(t)  (sizeof(t) / sizeof *(t))
#define MAX_RANGE 100000 // as jinja2's sandbox

static axl_status g_range(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    int64_t part[3] = {0, 0, 1}, n;
    uint64_t count = 0, gap, stride;

    (void)self;
    for (int i = 0; i < 3; i++) {
        if (a[i].kind == J_UNDEF)
            AXL_TRY(axl_j_fail_undefined(e, &a[i]));
        J_REQUIRE(e, a[i].kind == J_ABSENT || a[i].kind == J_INT || a[i].kind == J_BOOL,
                  "TypeError: '%s' object cannot be interpreted as an integer",
                  axl_j_type_name(&a[i]));
        if (a[i].kind != J_ABSENT)
            part[i] = a[i].kind == J_INT ? a[i].i : a[i].b;
    }
    if (a[1].kind == J_ABSENT) {
        part[1] = part[0];
        part[0] = 0;
    }
    J_REQUIRE(e, part[2] != 0, "ValueError: range() arg 3 must not be zero");
    // Differences and strides as unsigned numbers: no int64 arithmetic that could overflow.
    gap =
        part[2] > 0 ? (uint64_t)part[1] - (uint64_t)part[0] : (uint64_t)part[0] - (uint64_t)part[1];
    stride = part[2] > 0 ? (uint64_t)part[2] : 0 - (uint64_t)part[2];
    if (part[2] > 0 ? part[0] < part[1] : part[0] > part[1])
        count = (gap - 1) / stride + 1;
    J_REQUIRE(e, count <= MAX_RANGE,
              "OverflowError: Range too big. The sandbox blocks ranges larger "
              "than MAX_RANGE (%d).",
              MAX_RANGE);
    n = (int64_t)count;
    AXL_TRY(axl_j_list(e, J_LIST, n, res));
    res->l->view = J_RANGE;
    res->l->start = part[0];
    res->l->stop = part[1];
    res->l->step = part[2];
    for (int64_t i = 0; i < n; i++)
        res->l->v[i] = axl_j_int(part[0] + i * part[2]);
    res->l->n = n;
out:
    return status;
}

static axl_status fill_dict(j_env *e, const j_args *args, j_dict *d)
{
    axl_status status = AXL_OK;
    j_value key;

    J_REQUIRE(e, args->n_pos <= 1, "TypeError: dict expected at most 1 argument, got %d",
              args->n_pos);
    if (args->n_pos == 1 && args->pos[0].kind == J_DICT) {
        const j_dict *from = args->pos[0].d;

        for (int64_t i = 0; i < from->n; i++)
            AXL_TRY(axl_j_dict_set(e, d, from->keys[i], from->values[i]));
    } else if (args->n_pos == 1) {
        j_list *pairs, *pair;

        AXL_TRY(axl_j_items(e, &args->pos[0], &pairs));
        for (int64_t i = 0; i < pairs->n; i++) {
            AXL_TRY(axl_j_items(e, &pairs->v[i], &pair));
            J_REQUIRE(e, pair->n == 2, "ValueError: dict() needs pairs");
            AXL_TRY(axl_j_dict_set(e, d, pair->v[0], pair->v[1]));
        }
    }
    for (int i = 0; i < args->n_kw; i++) {
        AXL_TRY(axl_j_text(e, args->kw_names[i]->p, args->kw_names[i]->n, &key));
        AXL_TRY(axl_j_dict_set(e, d, key, args->kw[i]));
    }
out:
    return status;
}

static axl_status g_dict(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;

    (void)self;
    AXL_TRY(axl_j_dict(e, res));
    AXL_TRY(fill_dict(e, args, res->d));
out:
    return status;
}

static axl_status g_namespace(j_env *e, const j_value *self, const j_args *args, j_value *res)
{
    axl_status status = AXL_OK;

    AXL_TRY(g_dict(e, self, args, res));
    res->kind = J_NS;
out:
    return status;
}

static axl_status g_raise(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value text;

    (void)self;
    (void)res;
    AXL_TRY(axl_j_to_str(e, &a[0], &text));
    if (e->fault != NULL)
        e->fault->raised = true;
    J_FAIL(e, "%.*s", (int)text.s->n, text.s->p);
out:
    return status;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static size_t format_part(char *part, size_t n, const char *spec, const struct tm *now)
{
    return strftime(part, n, spec, now);
}
#pragma GCC diagnostic pop

axl_status axl_j_strftime(j_env *e, const j_str *fmt, j_value *res)
{
    axl_status status = AXL_OK;
    struct tm now = {0};
    time_t t = time(NULL);
    char part[256], spec[3] = "%?";
    j_buf b = {0};

    if (e->now != NULL)
        now = *e->now;
    else
        (void)localtime_r(&t, &now);
    for (size_t i = 0; i < fmt->n; i++) {
        size_t n;

        if (fmt->p[i] != '%' || i + 1 == fmt->n) {
            AXL_TRY(axl_j_put(e, &b, fmt->p + i, 1));
            continue;
        }
        spec[1] = fmt->p[++i];
        if (strchr("aAbBcCdDeFgGhHIjklmMnprRsStTuUVwWxXyYZz%", spec[1]) == NULL ||
            spec[1] == '\0') {
            if (spec[1] == 'f')
                AXL_TRY(axl_j_puts(e, &b, "000000"));
            else if (spec[1] != '-')
                AXL_TRY(axl_j_put(e, &b, spec, 2));
            else if (i + 1 < fmt->n) { // %-d: without padding
                const char wide[] = {'%', '-', fmt->p[++i], '\0'};

                if (strchr("dmHIMSjye", wide[2]) != NULL && wide[2] != '\0')
                    n = format_part(part, sizeof part, wide, &now);
                else
                    n = 0;
                AXL_TRY(axl_j_put(e, &b, part, n));
            }
            continue;
        }
        n = format_part(part, sizeof part, spec, &now);
        AXL_TRY(axl_j_put(e, &b, part, n));
    }
    AXL_TRY(axl_j_buf_value(e, &b, res));
out:
    return status;
}

static axl_status g_strftime(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_value text;

    (void)self;
    AXL_TRY(axl_j_to_str(e, &a[0], &text));
    AXL_TRY(axl_j_strftime(e, text.s, res));
out:
    return status;
}

// joiner(", "): empty when first called, the separator afterwards. State: a list of separator, used.
static axl_status joiner_call(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    j_list *state = self->l;

    (void)a;
    AXL_TRY(axl_j_word(e, "", res));
    if (state->v[1].b)
        *res = state->v[0];
    state->v[1] = axl_j_bool(true);
out:
    return status;
}

static axl_status g_joiner(j_env *e, const j_value *self, j_value *a, j_value *res)
{
    axl_status status = AXL_OK;
    static const j_def def = {"joiner", "", 0, joiner_call, NULL, false};

    (void)self;
    *res = (j_value){.kind = J_FUNC};
    AXL_TRY(axl_j_take(e, sizeof *res->func, &res->func));
    res->func->def = &def;
    AXL_TRY(axl_j_list(e, J_LIST, 2, &res->func->state));
    if (a[0].kind == J_ABSENT)
        AXL_TRY(axl_j_word(e, ", ", &a[0]));
    AXL_TRY(axl_j_append(e, res->func->state.l, a[0]));
    AXL_TRY(axl_j_append(e, res->func->state.l, axl_j_bool(false)));
out:
    return status;
}

static const j_def functions[] = {
    {"range", "start stop step", 1, g_range, NULL, false},
    {"dict", "", 0, NULL, g_dict, false},
    {"namespace", "", 0, NULL, g_namespace, false},
    {"joiner", "sep", 0, g_joiner, NULL, false},
    {"raise_exception", "message", 1, g_raise, NULL, false},
    {"strftime_now", "format", 1, g_strftime, NULL, false},
};

axl_status axl_j_global(j_env *e, const j_str *name, j_value *res)
{
    axl_status status = AXL_OK;
    const j_def *def = axl_j_find_def(functions, COUNT(functions), name->p, name->n);

    res->kind = J_ABSENT;
    if (def == NULL)
        goto out;
    *res = (j_value){.kind = J_FUNC};
    AXL_TRY(axl_j_take(e, sizeof *res->func, &res->func));
    res->func->def = def;
out:
    return status;
}
