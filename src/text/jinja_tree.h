// Tokens, the syntax tree and the parser's state. For the jinja_*.c files only.
#ifndef AXL_TEXT_JINJA_TREE_H
#define AXL_TEXT_JINJA_TREE_H

#include "src/text/jinja_value.h"

typedef enum j_type {
    JN_CONST,
    JN_NAME,
    JN_NSREF,
    JN_TUPLE,
    JN_LIST,
    JN_DICT,
    JN_NEG,
    JN_POS,
    JN_NOT,
    JN_AND,
    JN_OR,
    JN_ADD,
    JN_SUB,
    JN_MUL,
    JN_DIV,
    JN_FLOORDIV,
    JN_MOD,
    JN_POW,
    JN_CONCAT,
    JN_COMPARE,
    JN_COND,
    JN_GETATTR,
    JN_GETITEM,
    JN_SLICE,
    JN_CALL,
    JN_FILTER,
    JN_TEST,
    JN_BODY,
    JN_TEXT,
    JN_OUTPUT,
    JN_FOR,
    JN_IF,
    JN_SET,
    JN_SETBLOCK,
    JN_MACRO,
    JN_CALLBLOCK,
    JN_FILTERBLOCK,
    JN_WITH,
    JN_SCOPE,
    JN_GENERATION,
    JN_BREAK,
    JN_CONTINUE
} j_type;

// jinja_ops.c: the operators JN_ADD ... JN_POW and JN_NEG, JN_POS, JN_NOT
axl_status axl_j_binary(j_env *e, j_type op, const j_value *a, const j_value *b, j_value *res);
axl_status axl_j_unary(j_env *e, j_type op, const j_value *a, j_value *res);

typedef enum { JC_EQ, JC_NE, JC_LT, JC_LE, JC_GT, JC_GE, JC_IN, JC_NOTIN } j_compare;

typedef struct j_node j_node;
typedef struct j_call {
    j_node **pos; // [n_pos]
    j_node **kw;  // [n_kw] with names kw_names
    int *kw_names;
    int n_pos, n_kw;
    j_node *star, *star_kw; // *args, **kwargs; NULL: none
} j_call;

// One shape for all nodes; what the fields hold is said at each parser function.
struct j_node {
    j_type type;
    int line;
    int name;          // interned name, -1: none
    int attr;          // interned second name
    uint32_t flags;    // JF_*
    j_node *a, *b, *c; // operands
    j_node **items;    // [n_items]
    int n_items;
    uint8_t *ops;    // [n_items] j_compare of JN_COMPARE
    j_call *call;    // JN_CALL, JN_FILTER, JN_TEST
    j_value value;   // JN_CONST, JN_TEXT
    const void *def; // j_filter or j_test; NULL: unknown, which fails when reached
};
enum { JF_RECURSIVE = 1, JF_VARARGS = 2, JF_KWARGS = 4, JF_CALLER = 8 };

struct axl_jinja {
    j_arena arena;
    char *name; // in the arena
    j_node *body;
    j_str **names; // [n_names] interned
    int n_names;
    int loop_name, caller_name, varargs_name, kwargs_name;
    const char *source; // normalised, in the arena
    size_t source_n;
};

// jinja_lex.c, jinja_parse.c
typedef enum j_token_type {
    JT_EOF,
    JT_DATA,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_VAR_BEGIN,
    JT_VAR_END,
    JT_NAME,
    JT_STRING,
    JT_INT,
    JT_FLOAT,
    JT_ADD,
    JT_SUB,
    JT_MUL,
    JT_DIV,
    JT_FLOORDIV,
    JT_MOD,
    JT_POW,
    JT_TILDE,
    JT_LBRACKET,
    JT_RBRACKET,
    JT_LPAREN,
    JT_RPAREN,
    JT_LBRACE,
    JT_RBRACE,
    JT_EQ,
    JT_NE,
    JT_GT,
    JT_GE,
    JT_LT,
    JT_LE,
    JT_ASSIGN,
    JT_DOT,
    JT_COLON,
    JT_PIPE,
    JT_COMMA,
    JT_SEMICOLON
} j_token_type;

typedef struct j_token {
    j_token_type type;
    int line;
    const char *p; // text
    size_t n;
    j_value value; // of strings and numbers
} j_token;

typedef struct j_tokens {
    j_token *items; // [n], the last is JT_EOF
    int64_t n, capacity;
} j_tokens;

axl_status axl_j_lex(j_env *e, const char *source, size_t n, j_tokens *out);
const char *axl_j_describe(j_env *e, const j_token *t);

typedef struct j_parser {
    j_env *e;
    axl_jinja *t;
    const j_token *tokens;
    int64_t at;
    int depth, n_blocks, n_loops;
    int n_soft;            // inside an if: unknown filters fail only when reached
    bool conditional;      // the expression at work has an inline if
    const j_node *unknown; // the first unknown filter or test of the expression at work
    uint32_t uses;         // JF_VARARGS ... seen since the innermost macro began
    size_t names_capacity;
} j_parser;

axl_status axl_j_node(j_parser *p, j_type type, j_node **out);
axl_status axl_j_intern(j_parser *p, const char *s, size_t n, int *out);
const j_token *axl_j_cur(const j_parser *p);
bool axl_j_is_name(const j_parser *p, const char *word);
bool axl_j_skip_name(j_parser *p, const char *word);
axl_status axl_j_expect(j_parser *p, j_token_type type, const char *what);
axl_status axl_j_push(j_parser *p, j_node *list, j_node *item, int *capacity);
axl_status axl_j_parse_expression(j_parser *p, bool with_cond, j_node **out);
axl_status axl_j_parse_tuple(j_parser *p, bool with_cond, const char *end_word, j_node **out);
axl_status axl_j_parse_target(j_parser *p, const char *end_word, bool with_ns, j_node **out);
axl_status axl_j_parse_filters(j_parser *p, j_node *input, bool start_inline, j_node **out);
axl_status axl_j_parse_template(j_parser *p, j_node **out);
axl_status axl_j_unknown(j_env *e, const axl_jinja *t, const j_node *n); // raises

#endif
