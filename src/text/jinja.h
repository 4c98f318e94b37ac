// Jinja templates as Hugging Face models carry them: compiled once, rendered many times.
//
// The language is that of jinja2 3.1 in the sandbox which transformers sets up: trim_blocks,
// lstrip_blocks, break and continue, the `generation` tag, a tojson without HTML escaping,
// raise_exception and strftime_now. Undefined values print as nothing and fail when used further.
// There is no autoescape and no loader: include, import and extends are refused.
//
// A compiled axl_jinja is immutable and may be rendered by many threads at once. A template comes
// from a stranger, so each rendering is bounded in steps, nesting, memory and output.
#ifndef AXL_TEXT_JINJA_H
#define AXL_TEXT_JINJA_H

#include "src/base/status.h"
#include "src/base/str.h"
#include "src/io/json.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef struct axl_jinja axl_jinja;

// A part of the output written inside a `generation` tag.
typedef struct axl_jinja_span {
    int64_t begin, end; // code points of the text rendered by this call, end exclusive
} axl_jinja_span;

// The `generation` parts of one rendering. {0} is empty; memory is kept between calls.
typedef struct axl_jinja_spans {
    axl_jinja_span *items; // [n], owned
    size_t n, capacity;
} axl_jinja_spans;

void axl_jinja_spans_fini(axl_jinja_spans *s);

// What went wrong, in parts, for callers that print it in their own form.
typedef struct axl_jinja_fault {
    axl_str message; // owned; without template name and line
    int line;        // 1-based line of the template; 0 when unknown
    bool raised;     // the template itself called raise_exception
} axl_jinja_fault;

void axl_jinja_fault_fini(axl_jinja_fault *f);

// Memory that renderings of one thread hand on to each other. {0} is empty.
typedef struct axl_jinja_memory {
    void *chunk; // owned; NULL while a rendering uses it
} axl_jinja_memory;

void axl_jinja_memory_fini(axl_jinja_memory *m);

// How to render. {0} (or a NULL pointer) is: the present local time, default limits, no extra outputs.
typedef struct axl_jinja_options {
    const struct tm *now;     // what strftime_now formats; NULL: the clock
    int64_t max_steps;        // nodes evaluated, and 8 bytes of text walked; 0: 10 million
    size_t max_output;        // bytes of text; 0: 64 MiB
    size_t max_memory;        // bytes of values alive or dead; 0: 256 MiB
    axl_jinja_memory *memory; // used and filled again; NULL: memory of its own
    axl_jinja_spans *spans;   // filled on success when not NULL
    axl_jinja_fault *fault;   // filled on failure when not NULL
} axl_jinja_options;

// Compiles source[0 .. n). name stands for it in messages ("tokenizer_config.json").
//   AXL_E_INPUT "name:line: what" for a syntax error, an unknown filter or test, or invalid UTF-8.
axl_status axl_jinja_compile(const char *source, size_t n, const char *name, axl_jinja **out);
void axl_jinja_destroy(axl_jinja *t); // NULL-safe

// Appends to *out the text of t with the members of context (a JSON object) as its variables. The
// context is only read; integers beyond 64 bits may stand in it as axl_jinja_context_parse left them.
//   AXL_E_INPUT "name:line: what" when the template fails; *out is then unchanged.
axl_status axl_jinja_render(const axl_jinja *t, const axl_json *context,
                            const axl_jinja_options *options, axl_str *out);

// As axl_json_parse, but integers too large for int64 are kept (in a form that only axl_jinja_render
// understands) instead of refused, so that they print as they stand.
axl_status axl_jinja_context_parse(const char *text, size_t n, const char *name, axl_json **out);

// Whether the source, before compilation, contains this text.
bool axl_jinja_mentions(const axl_jinja *t, const char *text);

#endif
