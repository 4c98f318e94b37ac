// Speed of turning conversations into ids and labels on one thread: bench_chat NAME DIR TEMPLATE CORPUS [N]
//   NAME      what to call it in the output, "smollm2.chatml"
//   DIR       a folder with tokenizer.json
//   TEMPLATE  a built-in name or tokenizer_default
//   CORPUS    any text; conversations of 2 to 12 turns are made of stretches of it
//   N         conversations (4,000)
// Prints conversations per second of processor time: encoding as a whole, and for comparison rendering
// alone and tokenizing alone, once a conversation. check is as in bench_tokenizer, over ids and labels.
#include "src/text/chat.h"
#include "src/base/log.h"
#include "src/io/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// Appends some words of the corpus that begin anywhere, as a JSON string.
static axl_status put_text(axl_str *row, const axl_str *corpus, size_t n, uint64_t *state)
{
    axl_status status = AXL_OK;
    size_t at = (size_t)(next_random(state) % (corpus->len - n - 1)), end = at + n;

    while (at < end && corpus->data[at] != ' ')
        at++;
    while (end > at && corpus->data[end] != ' ')
        end--;
    at += at < end;
    AXL_TRY(axl_str_put_json(row, corpus->data + at, end - at));
out:
    return status;
}

static axl_status make_row(const axl_str *corpus, uint64_t *state, axl_json **out)
{
    axl_status status = AXL_OK;
    axl_str row = {0};
    int n = 2 + 2 * (int)(next_random(state) % 6);

    AXL_TRY(axl_str_puts(&row, "{\"messages\": ["));
    for (int i = 0; i < n; i++) {
        size_t length = 20 + (size_t)(next_random(state) % (i % 2 ? 700 : 200));

        AXL_TRY(axl_str_printf(&row, "%s{\"role\": \"%s\", \"content\": ", i > 0 ? ", " : "",
                               i % 2 ? "assistant" : "user"));
        AXL_TRY(put_text(&row, corpus, length, state));
        AXL_TRY(axl_str_puts(&row, "}"));
    }
    AXL_TRY(axl_str_puts(&row, "]}"));
    AXL_TRY(axl_json_parse(row.data, row.len, "row", out));
out:
    axl_str_fini(&row);
    return status;
}

static double processor_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

typedef struct bench {
    axl_tokenizer *tokenizer;
    axl_chat_encoder *encoder;
    axl_chat_scratch *scratch;
    axl_json **rows; // [n]
    size_t n;
} bench;

static axl_status encode_all(const bench *b, uint64_t *check, uint64_t *tokens)
{
    axl_status status = AXL_OK;
    axl_chat_sample s;

    for (size_t i = 0; i < b->n; i++) {
        AXL_TRY(axl_chat_encode(b->encoder, b->scratch, b->rows[i], &s));
        for (size_t k = 0; k < s.n; k++)
            *check += ((uint64_t)s.ids[k] + 3 * (uint64_t)(uint32_t)s.labels[k]) * ++*tokens;
    }
out:
    return status;
}

static axl_status render_all(const bench *b, axl_str *texts)
{
    axl_status status = AXL_OK;

    for (size_t i = 0; i < b->n; i++) {
        AXL_TRY(
            axl_chat_render(b->encoder, axl_json_get(b->rows[i], "messages"), NULL, false, texts));
        AXL_TRY(axl_str_append(texts, "", 1));
    }
out:
    return status;
}

static axl_status tokenize_all(const bench *b, const axl_str *texts)
{
    axl_status status = AXL_OK;
    axl_token_buffer ids = {.want_offsets = true};

    for (size_t at = 0; at < texts->len; at += strlen(texts->data + at) + 1)
        AXL_TRY(axl_tokenizer_encode(b->tokenizer, texts->data + at, strlen(texts->data + at),
                                     false, &ids));
out:
    axl_token_buffer_fini(&ids);
    return status;
}

static axl_status measure(const bench *b, const char *name)
{
    axl_status status = AXL_OK;
    uint64_t check = 0, tokens = 0;
    axl_str texts = {0};
    double start, seconds[3];

    start = processor_seconds();
    AXL_TRY(encode_all(b, &check, &tokens));
    seconds[0] = processor_seconds() - start;
    start = processor_seconds();
    AXL_TRY(render_all(b, &texts));
    seconds[1] = processor_seconds() - start;
    start = processor_seconds();
    AXL_TRY(tokenize_all(b, &texts));
    seconds[2] = processor_seconds() - start;
    for (int i = 0; i < 3; i++) {
        static const char *const what[] = {"encode", "render", "tokenize"};

        (void)printf("chat,%s,%s,%.0f,conversations/s\n", name, what[i], (double)b->n / seconds[i]);
    }
    (void)printf("chat,%s,tokens,%" PRIu64 ",count\n", name, tokens);
    (void)printf("chat,%s,check,%" PRIu64 ",sum\n", name, check);
out:
    axl_str_fini(&texts);
    return status;
}

static axl_status run(char **argv, size_t n)
{
    axl_status status = AXL_OK;
    bench b = {.n = n};
    axl_chat_options options = {.chat_template = argv[3]};
    axl_str corpus = {0};
    uint64_t state = 7;

    AXL_TRY(axl_file_read(argv[4], &corpus));
    AXL_REQUIRE(corpus.len > 1000, AXL_E_INPUT, "%s: too short", argv[4]);
    AXL_TRY(axl_tokenizer_load(argv[2], &b.tokenizer));
    AXL_TRY(axl_chat_encoder_create(&options, b.tokenizer, &b.encoder));
    AXL_TRY(axl_chat_scratch_create(&b.scratch));
    b.rows = calloc(n, sizeof *b.rows);
    AXL_REQUIRE(b.rows != NULL, AXL_E_MEMORY, "no memory for rows");
    for (size_t i = 0; i < n; i++)
        AXL_TRY(make_row(&corpus, &state, &b.rows[i]));
    AXL_TRY(measure(&b, argv[1]));
out:
    for (size_t i = 0; b.rows != NULL && i < n; i++)
        axl_json_free(b.rows[i]);
    free(b.rows);
    axl_chat_scratch_destroy(b.scratch);
    axl_chat_encoder_destroy(b.encoder);
    axl_tokenizer_destroy(b.tokenizer);
    axl_str_fini(&corpus);
    return status;
}

int main(int argc, char **argv)
{
    axl_status status;

    if (argc < 5) {
        (void)fprintf(stderr, "usage: bench_chat NAME DIR TEMPLATE CORPUS [N]\n");
        return 2;
    }
    status = run(argv, argc > 5 ? (size_t)strtoul(argv[5], NULL, 10) : 4000);
    if (status != AXL_OK)
        (void)fprintf(stderr, "bench_chat: %s\n", axl_error_message());
    return axl_status_exit_code(status);
}
