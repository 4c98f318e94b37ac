// An array of spans, and the writer. Spans nest by their times, which is all that readers ask for.
#include "src/base/trace.h"

#include "src/base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct span {
    const char *name, *category; // borrowed
    int64_t number;
    double begin, end;
} span;

struct axl_trace {
    span *spans; // [capacity], owned
    int64_t n, capacity, n_dropped;
};

axl_status axl_trace_create(int64_t capacity, axl_trace **out)
{
    axl_status status = AXL_OK;
    axl_trace *t = NULL;

    AXL_TRY(axl_calloc(1, sizeof *t, "a trace", &t));
    AXL_TRY(axl_calloc((size_t)capacity, sizeof *t->spans, "the spans of a trace", &t->spans));
    t->capacity = capacity;
    *out = t;
    t = NULL; // handed to the caller
out:
    axl_trace_destroy(t);
    return status;
}

void axl_trace_destroy(axl_trace *t)
{
    if (t == NULL)
        return;
    free(t->spans);
    free(t);
}

void axl_trace_add(axl_trace *t, const char *name, const char *category, int64_t number,
                   double begin)
{
    if (t->n < t->capacity)
        t->spans[t->n++] = (span){name, category, number, begin, axl_now()};
    else
        t->n_dropped++;
}

int64_t axl_trace_n(const axl_trace *t)
{
    return t->n + t->n_dropped;
}

// Names are those of the program: letters, digits, dots and dashes, nothing to escape.
static int put_span(FILE *file, const span *s, int rank, double zero)
{
    int n = fprintf(file,
                    ",\n{\"name\": \"%s\", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": %d, \"tid\": "
                    "0, \"ts\": %.3f, \"dur\": %.3f",
                    s->name, s->category, rank, 1e6 * (s->begin - zero), 1e6 * (s->end - s->begin));

    if (n > 0 && s->number >= 0)
        n = fprintf(file, ", \"args\": {\"number\": %lld}", (long long)s->number);
    return n > 0 ? fputs("}", file) : n;
}

axl_status axl_trace_write(const axl_trace *t, const char *path, int rank)
{
    axl_status status = AXL_OK;
    double zero = (double)INFINITY;
    FILE *file = fopen(path, "w");

    AXL_REQUIRE(file != NULL, AXL_E_IO, "%s: cannot be written: %s", path, strerror(errno));
    for (int64_t i = 0; i < t->n; i++)
        zero = t->spans[i].begin < zero ? t->spans[i].begin : zero;
    int n = fprintf(file,
                    "{\"displayTimeUnit\": \"ms\", \"dropped\": %lld, \"traceEvents\": [\n"
                    "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": %d, \"args\": "
                    "{\"name\": \"rank %d\"}}",
                    (long long)t->n_dropped, rank, rank);
    for (int64_t i = 0; n > 0 && i < t->n; i++)
        n = put_span(file, &t->spans[i], rank, zero);
    n = n > 0 ? fputs("\n]}\n", file) : n;
    const bool closed = fclose(file) == 0;
    file = NULL;
    if (n < 0 || !closed) {
        const int error = errno;
        (void)remove(path); // half of one cannot be read
        AXL_FAIL(AXL_E_IO, "%s: cannot be written: %s", path, strerror(error));
    }
out:
    if (file != NULL)
        (void)fclose(file);
    return status;
}
