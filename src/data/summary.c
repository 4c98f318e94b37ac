// Percentiles are exact: lengths are counted one by one, in an array as long as the longest sample. The samples of an
// entry stand together, so one pass is enough, and the pages behind it are let go.
#include "src/data/summary.h"

#include "src/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define N_BUCKETS 48
#define BLOCK     65536 // samples between two releases

typedef struct part {
    axl_prepare_counts counts;
    int64_t n, n_tokens, n_trained, longest;
    int64_t file, n_files; // the first of the entry's files, and how many
    int64_t p50, p90, p99;
    int64_t bucket[N_BUCKETS]; // up to 32, 64, 128, ...
} part;

// All of the set, then each entry.
typedef struct summary {
    part *parts; // [1 + n_entries], owned
    int64_t n_parts;
} summary;

static int64_t percentile(const int64_t *count, int64_t n, int64_t percent)
{
    int64_t rank = (n * percent + 99) / 100, below = 0, length = 0;

    while (n > 0 && below + count[length] < rank)
        below += count[length++];
    return length;
}

static void close_part(part *s, int64_t *count)
{
    s->p50 = percentile(count, s->n, 50);
    s->p90 = percentile(count, s->n, 90);
    s->p99 = percentile(count, s->n, 99);
    for (int64_t length = 0; length <= s->longest; length++) {
        int b = 0;
        for (int64_t rest = length; rest > 32; rest = (rest + 1) / 2)
            b++;
        s->bucket[b] += count[length];
        count[length] = 0;
    }
}

static void add_sample(part *s, int64_t *count, int64_t length, int32_t trained)
{
    s->n++;
    s->n_tokens += length;
    s->n_trained += trained;
    s->longest = length > s->longest ? length : s->longest;
    count[length]++;
}

static axl_status count_samples(const axl_prepared *p, summary *s)
{
    axl_status status = AXL_OK;
    int64_t *all = NULL, *one = NULL; // [max_length + 1] samples of that length
    int64_t present = -1;             // entry

    AXL_TRY(axl_calloc((size_t)p->max_length + 1, sizeof *all, "lengths", &all));
    AXL_TRY(axl_calloc((size_t)p->max_length + 1, sizeof *one, "lengths", &one));
    for (int64_t i = 0; i < p->n; i++) {
        int64_t length = axl_prepared_length(p, i), entry = p->files[p->info[i].file].entry;
        if (entry != present && present >= 0)
            close_part(&s->parts[1 + present], one);
        present = entry;
        add_sample(&s->parts[1 + entry], one, length, p->info[i].trained);
        add_sample(&s->parts[0], all, length, p->info[i].trained);
        if (i % BLOCK == BLOCK - 1)
            axl_prepared_release(p, i + 1 - BLOCK, i);
    }
    if (present >= 0)
        close_part(&s->parts[1 + present], one);
    close_part(&s->parts[0], all);

out:
    free(all);
    free(one);
    return status;
}

static axl_status make(const axl_prepared *p, summary *out)
{
    axl_status status = AXL_OK;
    summary s = {.n_parts = 1 + p->n_entries};

    AXL_TRY(axl_calloc((size_t)s.n_parts, sizeof *s.parts, "summary", &s.parts));
    s.parts[0].counts = p->counts;
    for (int64_t e = 0; e < p->n_entries; e++)
        s.parts[1 + e].counts = p->entries[e];
    for (int64_t f = p->n_files; f-- > 0;) {
        part *entry = &s.parts[1 + p->files[f].entry];
        entry->file = f;
        entry->n_files++;
        s.parts[0].n_files++;
    }
    AXL_TRY(count_samples(p, &s));
    *out = s;
    s = (summary){0};

out:
    free(s.parts);
    return status;
}

static double share(int64_t n, int64_t of)
{
    return of > 0 ? 100.0 * (double)n / (double)of : 0.0;
}

// ---- text

static axl_status put_drops(const part *s, const char *indent, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_prepare_counts *c = &s->counts;
    int64_t samples = s->n + c->too_short + c->too_long + c->untrained + c->duplicates;
    const struct {
        int64_t n, of;
        const char *text;
    } lines[] = {{c->bad, c->rows, "malformed rows skipped"},
                 {c->too_short, samples, "samples dropped: shorter than min_sample_len"},
                 {c->too_long, samples, "samples dropped: longer than sequence_len"},
                 {c->truncated, samples, "samples cut to sequence_len"},
                 {c->untrained, samples, "samples dropped: no token is trained"},
                 {c->duplicates, samples, "samples dropped: duplicates"},
                 {c->lost_turns, 0, "turns not trained: their tokens were not found in the text"}};

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (lines[i].n == 0)
            continue;
        AXL_TRY(axl_str_printf(out, "%s%lld %s", indent, (long long)lines[i].n, lines[i].text));
        if (lines[i].of > 0)
            AXL_TRY(axl_str_printf(out, " (%.2g %%)", share(lines[i].n, lines[i].of)));
        AXL_TRY(axl_str_putc(out, '\n'));
    }

out:
    return status;
}

static axl_status put_head(const part *s, axl_str *out)
{
    return axl_str_printf(out, "%lld rows gave %lld samples, %lld tokens, %lld trained (%.1f %%)\n",
                          (long long)s->counts.rows, (long long)s->n, (long long)s->n_tokens,
                          (long long)s->n_trained, share(s->n_trained, s->n_tokens));
}

static axl_status put_lengths(const part *s, const char *indent, axl_str *out)
{
    return axl_str_printf(out,
                          "%slengths: mean %.0f, half up to %lld, 90 %% up to %lld, 99 %% up to "
                          "%lld, longest %lld\n",
                          indent, s->n > 0 ? (double)s->n_tokens / (double)s->n : 0.0,
                          (long long)s->p50, (long long)s->p90, (long long)s->p99,
                          (long long)s->longest);
}

// Lengths in buckets that double; each bar is a share of the samples.
static axl_status put_histogram(const part *s, axl_str *out)
{
    axl_status status = AXL_OK;
    static const char bar[] = "########################################";

    for (int b = 0; b < N_BUCKETS; b++) {
        if (s->bucket[b] == 0)
            continue;
        int stars = (int)((s->bucket[b] * 40 + s->n - 1) / s->n);
        AXL_TRY(axl_str_printf(out, "  up to %8lld tokens: %9lld %.*s\n", 32ll << b,
                               (long long)s->bucket[b], stars, bar));
    }

out:
    return status;
}

axl_status axl_summary_text(const axl_prepared *p, axl_str *out)
{
    axl_status status = AXL_OK;
    summary s = {0};

    AXL_TRY(make(p, &s));
    AXL_TRY(put_head(s.parts, out));
    AXL_TRY(put_drops(s.parts, "  ", out));
    AXL_TRY(put_lengths(s.parts, "  ", out));
    AXL_TRY(put_histogram(s.parts, out));
    for (int64_t e = 1; s.n_parts > 2 && e < s.n_parts; e++) {
        const part *entry = &s.parts[e];
        AXL_TRY(axl_str_printf(out, "  entry %lld, %s", (long long)e,
                               entry->n_files > 0 ? p->files[entry->file].path : "no file"));
        if (entry->n_files > 1)
            AXL_TRY(axl_str_printf(out, " and %lld more", (long long)entry->n_files - 1));
        AXL_TRY(axl_str_puts(out, ": "));
        AXL_TRY(put_head(entry, out));
        AXL_TRY(put_drops(entry, "    ", out));
        AXL_TRY(put_lengths(entry, "    ", out));
    }

out:
    free(s.parts);
    return status;
}

// ---- JSON

static axl_status put_json(const part *s, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_prepare_counts *c = &s->counts;
    const struct {
        const char *name;
        int64_t n;
    } numbers[] = {{"rows", c->rows},
                   {"samples", s->n},
                   {"bad", c->bad},
                   {"too_short", c->too_short},
                   {"too_long", c->too_long},
                   {"truncated", c->truncated},
                   {"untrained", c->untrained},
                   {"duplicates", c->duplicates},
                   {"lost_turns", c->lost_turns},
                   {"tokens", s->n_tokens},
                   {"trained_tokens", s->n_trained}};
    bool first = true;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        AXL_TRY(axl_str_printf(out, "\"%s\": %lld, ", numbers[i].name, (long long)numbers[i].n));
    AXL_TRY(axl_str_printf(out,
                           "\"lengths\": {\"mean\": %.6g, \"p50\": %lld, \"p90\": %lld, \"p99\": "
                           "%lld, \"max\": %lld}, \"histogram\": [",
                           s->n > 0 ? (double)s->n_tokens / (double)s->n : 0.0, (long long)s->p50,
                           (long long)s->p90, (long long)s->p99, (long long)s->longest));
    for (int b = 0; b < N_BUCKETS; b++) {
        if (s->bucket[b] == 0)
            continue;
        AXL_TRY(axl_str_printf(out, "%s{\"up_to\": %lld, \"samples\": %lld}", first ? "" : ", ",
                               32ll << b, (long long)s->bucket[b]));
        first = false;
    }
    AXL_TRY(axl_str_putc(out, ']'));

out:
    return status;
}

static axl_status put_text(const char *text, axl_str *out)
{
    return axl_str_put_json(out, text, strlen(text));
}

axl_status axl_summary_json(const axl_prepared *p, axl_str *out)
{
    axl_status status = AXL_OK;
    summary s = {0};

    AXL_TRY(make(p, &s));
    AXL_TRY(axl_str_puts(out, "{\"path\": "));
    AXL_TRY(put_text(p->path, out));
    AXL_TRY(axl_str_puts(out, ", "));
    AXL_TRY(put_json(s.parts, out));
    AXL_TRY(axl_str_puts(out, ", \"entries\": ["));
    for (int64_t e = 1; e < s.n_parts; e++) {
        const part *entry = &s.parts[e];
        AXL_TRY(axl_str_printf(out, "%s{\"files\": %lld, \"first_file\": ", e > 1 ? ", " : "",
                               (long long)entry->n_files));
        AXL_TRY(put_text(entry->n_files > 0 ? p->files[entry->file].path : "", out));
        AXL_TRY(axl_str_puts(out, ", "));
        AXL_TRY(put_json(entry, out));
        AXL_TRY(axl_str_putc(out, '}'));
    }
    AXL_TRY(axl_str_puts(out, "]}"));

out:
    free(s.parts);
    return status;
}
