// axl-dist render: conversations to text through a chat template, a line at a time.
#include "launch/commands.h"

#include "src/io/file.h"
#include "src/text/chat_templates.h"
#include "src/text/jinja.h"
#include "src/text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: axl-dist render DIR or TEMPLATE.jinja or NAME [--now YYYY-MM-DDTHH:MM:SS]\n"
    "\n"
    "Reads JSON objects, one a line, from standard input: messages, tools, add_generation_prompt "
    "and\n"
    "any other variable of the template. Prints {\"text\": ...} or {\"error\": ...} a line.\n"
    "DIR is a model directory with a tokenizer; its special tokens are variables too, unless the "
    "line\n"
    "sets them. NAME is a built-in template such as chatml. --now is the time for templates that "
    "write\n"
    "the date (strftime_now); without it, the clock.\n"
    "\n"
    "example: echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' |\n"
    "         axl-dist render models/SmolLM2-135M\n";

// A model directory's template is that of its tokenizer; special tokens are copied into the context.
typedef struct renderer {
    axl_tokenizer *tokenizer; // owned; NULL without a directory
    axl_jinja *jinja;         // owned
    axl_jinja_fault fault;
    const struct tm *now; // NULL: the clock
    axl_str unreadable;   // owned; why the template could not be compiled
} renderer;

static axl_status open_template(const char *where, renderer *r)
{
    axl_status status = AXL_OK;
    axl_str source = {0};
    const char *text = NULL;

    if (axl_path_is_dir(where)) {
        AXL_TRY(axl_tokenizer_load(where, &r->tokenizer));
        text = axl_tokenizer_chat_template(r->tokenizer);
        AXL_REQUIRE(text != NULL, AXL_E_INPUT,
                    "%s: the tokenizer has no chat template; give a .jinja file or a name", where);
    } else if (axl_path_exists(where)) {
        AXL_TRY(axl_file_read(where, &source));
        text = source.data != NULL ? source.data : "";
        AXL_REQUIRE(strlen(text) == source.len, AXL_E_INPUT, "%s: the template holds a NUL byte",
                    where);
    } else {
        AXL_TRY(axl_chat_template_find(where, &text));
    }
    AXL_TRY(axl_jinja_compile(text, strlen(text), where, &r->jinja));
out:
    axl_str_fini(&source);
    return status;
}

// Variables that a template expects and a line may leave out.
static axl_status add_defaults(const renderer *r, axl_json *context)
{
    axl_status status = AXL_OK;
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                        "sep_token", "cls_token", "mask_token"};

    if (axl_json_get(context, "add_generation_prompt") == NULL)
        AXL_TRY(axl_json_set(context, "add_generation_prompt", axl_json_new_bool(false)));
    for (size_t i = 0; r->tokenizer != NULL && i < sizeof names / sizeof *names; i++) {
        const char *token = axl_tokenizer_special(r->tokenizer, names[i]);

        if (token != NULL && axl_json_get(context, names[i]) == NULL)
            AXL_TRY(axl_json_set(context, names[i], axl_json_new_string(token, strlen(token))));
    }
out:
    return status;
}

static axl_status run_line(renderer *r, const char *line, size_t n, axl_str *text)
{
    axl_status status = AXL_OK;
    axl_jinja_options options = {.fault = &r->fault, .now = r->now};
    axl_json *context = NULL;

    axl_str_clear(&r->fault.message);
    AXL_TRY(axl_jinja_context_parse(line, n, "the line", &context));
    AXL_REQUIRE(axl_json_is(context, AXL_JSON_OBJECT), AXL_E_INPUT,
                "the line must be a JSON object, not %s",
                axl_json_kind_name(axl_json_type(context)));
    AXL_TRY(add_defaults(r, context));
    AXL_TRY(axl_jinja_render(r->jinja, context, &options, text));
out:
    axl_json_free(context);
    return status;
}

// {"text": ...} or {"error": ...}; what raise_exception said stands alone, other errors have their place.
static axl_status put_answer(const renderer *r, axl_status answer, const axl_str *text,
                             axl_str *out)
{
    axl_status status = AXL_OK;
    const char *message = axl_error_message();
    size_t n = strlen(message);

    if (answer == AXL_OK) {
        AXL_TRY(axl_str_puts(out, "{\"text\": "));
        AXL_TRY(axl_str_put_json(out, text->len > 0 ? text->data : "", text->len));
    } else {
        if (r->fault.raised && r->fault.message.len > 0) {
            message = r->fault.message.data;
            n = r->fault.message.len;
        }
        AXL_TRY(axl_str_puts(out, "{\"error\": "));
        AXL_TRY(axl_str_put_json(out, message, n));
    }
    AXL_TRY(axl_str_puts(out, "}\n"));
out:
    return status;
}

// Answers one line of JSON with one line.
static axl_status answer(renderer *r, const char *line, size_t n, axl_str *text, axl_str *out)
{
    axl_status status = AXL_OK, got = AXL_E_INPUT;

    axl_str_clear(text);
    axl_str_clear(out);
    if (r->jinja != NULL)
        got = run_line(r, line, n, text);
    else // the template could not be read: that is the answer to every line
        (void)axl_error_set(AXL_E_INPUT, __FILE__, __LINE__, "%s", r->unreadable.data);
    AXL_TRY(put_answer(r, got, text, out));
    AXL_REQUIRE(fwrite(out->data, 1, out->len, stdout) == out->len && fflush(stdout) == 0, AXL_E_IO,
                "standard output cannot be written");
out:
    return status;
}

static axl_status run(const char *where, const struct tm *now)
{
    axl_status status = AXL_OK, opened;
    renderer r = {.now = now};
    axl_str text = {0}, out = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;

    opened = open_template(where, &r);
    if (opened != AXL_OK)
        AXL_TRY(axl_str_puts(&r.unreadable, axl_error_message()));
    if (opened != AXL_OK && (opened != AXL_E_INPUT || isatty(STDIN_FILENO)))
        AXL_FAIL(opened, "%s", r.unreadable.data);
    while ((n = getline(&line, &capacity, stdin)) >= 0)
        if (strspn(line, " \t\r\n") != (size_t)n)
            AXL_TRY(answer(&r, line, (size_t)n, &text, &out));
    if (opened != AXL_OK)
        AXL_FAIL(opened, "%s", r.unreadable.data);
out:
    axl_jinja_destroy(r.jinja);
    axl_jinja_fault_fini(&r.fault);
    axl_tokenizer_destroy(r.tokenizer);
    axl_str_fini(&r.unreadable);
    axl_str_fini(&text);
    axl_str_fini(&out);
    free(line);
    return status;
}

static axl_status read_time(const char *text, struct tm *now)
{
    axl_status status = AXL_OK;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", now);

    AXL_REQUIRE(end != NULL && *end == '\0', AXL_E_CONFIG,
                "--now is %s; write it as 2025-03-09T14:05:00", text);
    now->tm_isdst = -1;
out:
    return status;
}

int axl_cmd_render(int argc, char **argv)
{
    axl_status status = AXL_OK;
    struct tm now = {0};
    bool has_now = argc == 4 && strcmp(argv[2], "--now") == 0;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        (void)fputs(usage, stdout);
        goto out;
    }
    AXL_REQUIRE((argc == 2 || has_now) && argv[1][0] != '-', AXL_E_CONFIG,
                "one template is expected: a directory, a .jinja file or a name; see --help");
    if (has_now)
        AXL_TRY(read_time(argv[3], &now));
    AXL_TRY(run(argv[1], has_now ? &now : NULL));
out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist render: %s\n", axl_error_message());
    return axl_status_exit_code(status);
}
