// Speed of encoding on one thread: bench_tokenizer NAME DIR CORPUS [ROUNDS]
//   NAME    what to call it in the output, "smollm2.prose"
//   DIR     a folder with tokenizer.json
//   CORPUS  documents, each ended by a NUL byte
// Times are processor time of the process, so that a busy machine does not count.
// The first round starts with cold caches. check is sum of id x (place + 1) over all tokens, modulo
// 2^64, for comparison with the peer. run.sh runs both.
#include "src/text/tokenizer.h"
#include "src/io/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double cpu_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct total {
    uint64_t tokens, check;
} total;

static axl_status encode_all(const axl_tokenizer *t, const axl_str *corpus, axl_token_buffer *b,
                             total *sum)
{
    axl_status status = AXL_OK;

    *sum = (total){0, 0};
    for (size_t at = 0; at < corpus->len;) {
        size_t n = strnlen(corpus->data + at, corpus->len - at);
        AXL_TRY(axl_tokenizer_encode(t, corpus->data + at, n, false, b));
        for (size_t i = 0; i < b->n; i++)
            sum->check += (uint64_t)b->ids[i] * ++sum->tokens;
        at += n + 1;
    }
out:
    return status;
}

static axl_status run(const char *name, const char *dir, const char *path, int rounds)
{
    axl_status status = AXL_OK;
    axl_tokenizer *t = NULL;
    axl_token_buffer b = {0};
    axl_str corpus = {0};
    total sum = {0, 0};

    AXL_TRY(axl_file_read(path, &corpus));
    double start = cpu_now();
    AXL_TRY(axl_tokenizer_load(dir, &t));
    (void)printf("tokenizer,%s.ours,load,%.6g,s\n", name, cpu_now() - start);
    for (int i = 0; i < rounds; i++) {
        start = cpu_now();
        AXL_TRY(encode_all(t, &corpus, &b, &sum));
        (void)printf("tokenizer,%s.ours,encode,%.6g,MB/s\n", name,
                     (double)corpus.len / 1e6 / (cpu_now() - start));
    }
    (void)printf("tokenizer,%s.ours,tokens,%" PRIu64 ",count\n", name, sum.tokens);
    (void)printf("tokenizer,%s.ours,check,%" PRIu64 ",sum\n", name, sum.check);
out:
    axl_tokenizer_destroy(t);
    axl_token_buffer_fini(&b);
    axl_str_fini(&corpus);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: %s NAME DIR CORPUS [ROUNDS]\n", argv[0]);
        return 2;
    }
    axl_status status = run(argv[1], argv[2], argv[3], argc > 4 ? atoi(argv[4]) : 1);
    if (status != AXL_OK)
        (void)fprintf(stderr, "%s\n", axl_error_message());
    return axl_status_exit_code(status);
}
