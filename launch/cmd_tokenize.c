// axl-dist tokenize: text to ids and back, a line at a time.
#include "launch/commands.h"

#include "src/io/file.h"
#include "src/io/json.h"
#include "src/text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: axl-dist tokenize DIR [--no-special] [--offsets | --byte-offsets] [--decode]\n"
    "\n"
    "Reads JSON, one value a line, from standard input:\n"
    "  a string       prints {\"ids\": [...]}\n"
    "  a list of ids  prints {\"text\": \"...\"}\n"
    "DIR holds a tokenizer.json, tekken.json, or tokenizer.model (sentencepiece or tiktoken).\n"
    "\n"
    "  --no-special   do not add BOS and the like; leave special tokens out of decoded text\n"
    "  --offsets      also print \"offsets\": [[start, end], ...], in characters of the string;\n"
    "                 [0, 0] for tokens that were added around it\n"
    "  --byte-offsets the same in bytes of the string's UTF-8\n"
    "  --decode       also print \"text\", the ids decoded again\n"
    "\n"
    "example: echo '\"Hello, world!\"' | axl-dist tokenize models/SmolLM2-135M --offsets\n";

typedef struct options {
    const char *dir;
    bool special, offsets, bytes, decode, help;
} options;

static axl_status parse_arguments(int argc, char **argv, options *o)
{
    axl_status status = AXL_OK;
    static const char *const names[] = {"--no-special", "--offsets", "--byte-offsets", "--decode",
                                        "--help"};

    *o = (options){.special = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-special") == 0)
            o->special = false;
        else if (strcmp(argv[i], "--offsets") == 0)
            o->offsets = true;
        else if (strcmp(argv[i], "--byte-offsets") == 0)
            o->offsets = o->bytes = true;
        else if (strcmp(argv[i], "--decode") == 0)
            o->decode = true;
        else if (strcmp(argv[i], "--help") == 0)
            o->help = true;
        else if (argv[i][0] != '-' && o->dir == NULL)
            o->dir = argv[i];
        else {
            const char *near = axl_nearest_name(argv[i], names, 5);
            AXL_FAIL(AXL_E_CONFIG, "%s is not an argument of tokenize%s%s; see --help", argv[i],
                     near == NULL ? "" : ", did you mean ", near == NULL ? "" : near);
        }
    }
    AXL_REQUIRE(o->dir != NULL || o->help, AXL_E_CONFIG, "no model directory given; see --help");
out:
    return status;
}

static axl_status put_text(const axl_tokenizer *t, const options *o, const int32_t *ids, size_t n,
                           axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    AXL_TRY(axl_tokenizer_decode(t, ids, n, !o->special, &text));
    AXL_TRY(axl_str_puts(out, "\"text\": "));
    AXL_TRY(axl_str_put_json(out, text.len > 0 ? text.data : "", text.len));
out:
    axl_str_fini(&text);
    return status;
}

static axl_status put_tokens(const axl_tokenizer *t, const options *o, const axl_token_buffer *b,
                             axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_puts(out, "\"ids\": ["));
    for (size_t i = 0; i < b->n; i++)
        AXL_TRY(axl_str_printf(out, "%s%d", i == 0 ? "" : ", ", b->ids[i]));
    AXL_TRY(axl_str_puts(out, "]"));
    if (o->offsets) {
        AXL_TRY(axl_str_puts(out, ", \"offsets\": ["));
        for (size_t i = 0; i < b->n; i++)
            AXL_TRY(axl_str_printf(out, "%s[%d, %d]", i == 0 ? "" : ", ",
                                   b->begin[i] < 0 ? 0 : b->begin[i],
                                   b->end[i] < 0 ? 0 : b->end[i]));
        AXL_TRY(axl_str_puts(out, "]"));
    }
    if (o->decode) {
        AXL_TRY(axl_str_puts(out, ", "));
        AXL_TRY(put_text(t, o, b->ids, b->n, out));
    }
out:
    return status;
}

static axl_status put_ids(const axl_tokenizer *t, const options *o, const axl_json *list,
                          axl_str *out)
{
    axl_status status = AXL_OK;
    int32_t *ids = NULL;
    size_t n = axl_json_count(list);

    ids = calloc(n + 1, sizeof *ids);
    AXL_REQUIRE(ids != NULL, AXL_E_MEMORY, "no memory for %zu ids", n);
    for (size_t i = 0; i < n; i++) {
        int64_t id = axl_json_int(axl_json_at(list, i), -1);
        AXL_REQUIRE(id >= 0 && id < axl_tokenizer_size(t), AXL_E_INPUT,
                    "element %zu is not an id of 0 .. %lld", i,
                    (long long)axl_tokenizer_size(t) - 1);
        ids[i] = (int32_t)id;
    }
    AXL_TRY(put_text(t, o, ids, n, out));
out:
    free(ids);
    return status;
}

// One line of input to one line of output.
static axl_status run_line(const axl_tokenizer *t, const options *o, const char *line, size_t n,
                           axl_token_buffer *b, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_json *v = NULL;

    AXL_TRY(axl_json_parse(line, n, "the line", &v));
    AXL_TRY(axl_str_putc(out, '{'));
    if (axl_json_is(v, AXL_JSON_ARRAY)) {
        AXL_TRY(put_ids(t, o, v, out));
    } else {
        AXL_REQUIRE(axl_json_is(v, AXL_JSON_STRING), AXL_E_INPUT,
                    "must be a JSON string or a list of ids, not %s",
                    axl_json_kind_name(axl_json_type(v)));
        AXL_TRY(axl_tokenizer_encode(t, axl_json_string(v, ""), axl_json_string_length(v),
                                     o->special, b));
        if (o->bytes)
            axl_token_buffer_to_bytes(b, axl_json_string(v, ""), axl_json_string_length(v));
        AXL_TRY(put_tokens(t, o, b, out));
    }
    AXL_TRY(axl_str_puts(out, "}\n"));
out:
    axl_json_free(v);
    return status;
}

static axl_status run(const options *o)
{
    axl_status status = AXL_OK;
    axl_tokenizer *t = NULL;
    axl_token_buffer b = {.want_offsets = o->offsets};
    axl_str out = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;

    AXL_TRY(axl_tokenizer_load(o->dir, &t));
    for (long long number = 1; (n = getline(&line, &capacity, stdin)) >= 0; number++) {
        if (strspn(line, " \t\r\n") == (size_t)n)
            continue;
        axl_str_clear(&out);
        AXL_TRY_CTX(run_line(t, o, line, (size_t)n, &b, &out), "stdin:%lld", number);
        if (fwrite(out.data, 1, out.len, stdout) != out.len)
            AXL_TRY(axl_write_failed("standard output"));
    }
out:
    axl_tokenizer_destroy(t);
    axl_token_buffer_fini(&b);
    axl_str_fini(&out);
    free(line);
    return status;
}

int axl_cmd_tokenize(int argc, char **argv)
{
    axl_status status = AXL_OK;
    options o;

    AXL_TRY(parse_arguments(argc, argv, &o));
    if (o.help)
        (void)fputs(usage, stdout);
    else
        AXL_TRY(run(&o));
out:
    if (status != AXL_OK)
        (void)fprintf(stderr, "axl-dist tokenize: %s\n", axl_error_message());
    return axl_status_exit_code(status);
}
