// The state of one rendering, scopes, and what its parts call in each other. For the jinja_*.c files
// only, which all include this header.
#ifndef AXL_TEXT_JINJA_INTERNAL_H
#define AXL_TEXT_JINJA_INTERNAL_H

#include "src/text/jinja_tree.h"
#include "src/text/jinja_value.h"

#define J_MAX_ARGS  8
#define J_MAX_DEPTH 1200

typedef struct j_slot {
    int name;
    j_value value;
} j_slot;

typedef struct j_frame { // names bound in one scope
    struct j_frame *parent;
    j_slot *slots; // [n]
    int n, capacity;
} j_frame;

typedef enum { J_RUN, J_BREAK, J_CONTINUE } j_flow;

// Of a compilation only the first fields count.
struct j_env {
    j_arena *arena;
    const char *name;       // of the template
    int line;               // of the node at work
    axl_jinja_fault *fault; // NULL: not asked for
    const axl_jinja *t;
    j_value *globals; // [t->n_names]
    j_buf *out, *root;
    j_flow flow;
    j_value block_text; // what the filters of a set or filter block work on
    int depth;
    int64_t steps, max_steps;
    size_t max_output;
    const struct tm *now;
    axl_jinja_spans *spans; // in bytes until the end
};

typedef struct j_macro {
    const j_node *node; // JN_MACRO or JN_CALLBLOCK: items are args, b the default values' list
    j_frame *frame;     // where it was defined
} j_macro;

typedef struct j_loop {
    const j_list *items;
    int64_t at, depth0;
    const j_node *node;
    j_frame *frame; // around the loop
    j_list *seen;   // last arguments of loop.changed
} j_loop;

// jinja_eval.c, jinja_exec.c
axl_status axl_j_eval(j_env *e, j_frame *f, const j_node *n, j_value *res);
axl_status axl_j_exec(j_env *e, j_frame *f, const j_node *n);
axl_status axl_j_frame(j_env *e, j_frame *parent, j_frame **out);
axl_status axl_j_bind(j_env *e, j_frame *f, int name, j_value value);
j_value axl_j_lookup(const j_env *e, const j_frame *f, int name);
axl_status axl_j_enter(j_env *e); // one step, one level; pair with e->depth--
axl_status axl_j_items(j_env *e, const j_value *v, j_list **out); // what iterating v gives
axl_status axl_j_getattr(j_env *e, const j_value *v, const j_str *name, j_value *res);
axl_status axl_j_getitem(j_env *e, const j_value *v, const j_value *key, j_value *res);
axl_status axl_j_slice(j_env *e, const j_value *v, const j_value part[3], j_value *res);
axl_status axl_j_args_eval(j_env *e, j_frame *f, const j_call *call, j_args *out);
axl_status axl_j_call_value(j_env *e, const j_value *fn, const j_args *args, j_value *res);
axl_status axl_j_call_macro(j_env *e, const j_macro *m, const j_args *args, j_value *res);
axl_status axl_j_call_loop(j_env *e, const j_loop *loop, const j_args *args, j_value *res);
axl_status axl_j_apply_def(j_env *e, const j_def *def, const j_value *self, const j_args *args,
                           j_value *res);

// Counts a walk over that many bytes of text as steps.
static inline void axl_j_work(j_env *e, size_t bytes)
{
    e->steps += (int64_t)(bytes / 8);
}

// Tables
const j_def *axl_j_find_filter(const char *name, size_t n);          // jinja_filters.c
const j_def *axl_j_find_sequence_filter(const char *name, size_t n); // jinja_sequences.c
const j_def *axl_j_find_test(const char *name, size_t n);            // jinja_tests.c
const j_def *axl_j_find_method(const j_value *v, const j_str *name); // jinja_methods.c
const j_def *axl_j_find_str_method(const char *name, size_t n);      // jinja_strings.c
const j_def *axl_j_find_def(const j_def *table, size_t count, const char *name, size_t n);
axl_status axl_j_global(j_env *e, const j_str *name,
                        j_value *res); // jinja_functions.c; J_ABSENT: none
axl_status axl_j_dict_entries(j_env *e, const j_dict *d, j_view view, j_value *res);

// jinja_format.c
axl_status axl_j_percent(j_env *e, const j_str *fmt, const j_value *arg, j_value *res);
axl_status axl_j_format(j_env *e, const j_str *fmt, const j_args *args, j_value *res);
// jinja_tojson.c
axl_status axl_j_tojson(j_env *e, const j_value *self, const j_args *args, j_value *res);
// jinja_functions.c
axl_status axl_j_strftime(j_env *e, const j_str *fmt, j_value *res);

#endif
