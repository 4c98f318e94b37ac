// Texts of single tokens may be parts of a character; they print as U+FFFD, the id beside them is exact.
#include "src/data/dump.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define GREEN "\033[32m"
#define RED   "\033[31m"
#define PLAIN "\033[0m"

#define LINE_END "\xe2\x86\xb5" // an arrow, down and to the left

#define RELEASE 1024 // samples dumped before their memory is let go

static axl_status put_ids(axl_str *out, const char *name, const int32_t *ids, int64_t n)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "\"%s\": [", name));
    for (int64_t t = 0; t < n; t++)
        AXL_TRY(axl_str_printf(out, "%s%d", t > 0 ? ", " : "", ids[t]));
    AXL_TRY(axl_str_puts(out, "], "));

out:
    return status;
}

// "file:line" as a JSON string.
static axl_status put_source(const axl_prepared *set, int64_t sample, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_sample_info *info = &set->info[sample];
    axl_str source = {0};

    AXL_TRY(axl_str_printf(&source, "%s:%lld", set->files[info->file].path, (long long)info->line));
    AXL_TRY(axl_str_put_json(out, source.data, source.len));

out:
    axl_str_fini(&source);
    return status;
}

axl_status axl_dump_sample(const axl_prepared *set, int64_t sample, axl_str *out)
{
    axl_status status = AXL_OK;
    int64_t at = axl_prepared_begin(set, sample), n = axl_prepared_length(set, sample);

    AXL_TRY(axl_str_putc(out, '{'));
    AXL_TRY(put_ids(out, "input_ids", set->ids + at, n));
    AXL_TRY(put_ids(out, "labels", set->labels + at, n));
    AXL_TRY(axl_str_printf(out, "\"length\": %lld, \"source\": ", (long long)n));
    AXL_TRY(put_source(set, sample, out));
    AXL_TRY(axl_str_puts(out, "}\n"));

out:
    return status;
}

axl_status axl_dump_all(const axl_prepared *set, const char *path)
{
    axl_status status = AXL_OK;
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *file = to_stdout ? stdout : fopen(path, "w");
    axl_str line = {0};

    AXL_REQUIRE(file != NULL, AXL_E_IO, "%s: cannot be written: %s", path, strerror(errno));
    for (int64_t i = 0; i < set->n; i++) {
        axl_str_clear(&line);
        AXL_TRY(axl_dump_sample(set, i, &line));
        AXL_REQUIRE(fwrite(line.data, 1, line.len, file) == line.len, AXL_E_IO,
                    "%s: cannot be written: %s", path, strerror(errno));
        if (i % RELEASE == RELEASE - 1)
            axl_prepared_release(set, i + 1 - RELEASE, i);
    }
    AXL_REQUIRE(fflush(file) == 0, AXL_E_IO, "%s: cannot be written: %s", path, strerror(errno));

out:
    if (file != NULL && !to_stdout)
        (void)fclose(file);
    axl_str_fini(&line);
    return status;
}

// The text of one token; without a tokenizer nothing.
static axl_status put_token(const axl_tokenizer *t, int32_t id, axl_str *out)
{
    return t == NULL ? AXL_OK : axl_tokenizer_decode(t, &id, 1, false, out);
}

// A run of tokens that are all trained, or all masked, in one colour and decoded as one, so that characters of several
// tokens are whole. A line end is made visible: whether it is trained matters.
static axl_status put_coloured(const axl_tokenizer *tokenizer, const int32_t *ids, int64_t n,
                               bool trained, axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str text = {0};

    AXL_TRY(axl_tokenizer_decode(tokenizer, ids, (size_t)n, false, &text));
    AXL_TRY(axl_str_puts(out, trained ? GREEN : RED));
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n') // the colour ends with the line: pagers colour line by line
            AXL_TRY(axl_str_printf(out, "%s%s\n%s", LINE_END, PLAIN, trained ? GREEN : RED));
        else
            AXL_TRY(axl_str_putc(out, text.data[i]));
    }
    AXL_TRY(axl_str_puts(out, PLAIN));

out:
    axl_str_fini(&text);
    return status;
}

axl_status axl_debug_sample(const axl_prepared *set, int64_t sample, const axl_tokenizer *tokenizer,
                            bool colour, axl_str *out)
{
    axl_status status = AXL_OK;
    int64_t at = axl_prepared_begin(set, sample), n = axl_prepared_length(set, sample);
    const axl_sample_info *info = &set->info[sample];

    AXL_TRY(axl_str_printf(out, "%s:%lld: %lld tokens, %d trained\n", set->files[info->file].path,
                           (long long)info->line, (long long)n, info->trained));
    colour = colour && tokenizer != NULL;
    for (int64_t t = at, next; t < at + n; t = next) {
        bool trained = set->labels[t] != AXL_IGNORE;
        next = t + 1;
        while (colour && next < at + n && (set->labels[next] != AXL_IGNORE) == trained)
            next++;
        if (colour) {
            AXL_TRY(put_coloured(tokenizer, set->ids + t, next - t, trained, out));
            continue;
        }
        AXL_TRY(put_token(tokenizer, set->ids[t], out));
        AXL_TRY(axl_str_printf(out, "(%d, %d) ", set->labels[t], set->ids[t]));
    }
    AXL_TRY(axl_str_puts(out, "\n"));

out:
    return status;
}

axl_status axl_feed_find(axl_feed *feed, int64_t sample, axl_sample_place *out)
{
    axl_status status = AXL_OK;
    const axl_prepared *set = NULL;
    axl_bin bin;
    bool more = true;

    *out = (axl_sample_place){-1, -1, -1};
    AXL_TRY(axl_feed_go(feed, &(axl_data_place){0}));
    while (out->bin < 0) {
        int64_t offset = 0;
        AXL_TRY(axl_feed_next(feed, &bin, &more));
        if (!more || (set != NULL && bin.set != set))
            break;
        set = bin.set;
        for (int64_t i = 0; i < bin.n; i++) {
            if (bin.items[i] == sample)
                *out = (axl_sample_place){feed->place.n_done - 1, i, offset};
            offset += axl_prepared_length(set, bin.items[i]);
        }
    }

out:
    return status;
}

typedef struct token_row {
    int32_t id, label;
    int64_t position;
    bool target; // the model is asked for this token
    axl_str text;
} token_row;

static axl_status put_row(const token_row *r, const axl_sample_place *place, bool json,
                          axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str quoted = {0};

    AXL_TRY(axl_str_put_json(&quoted, r->text.len > 0 ? r->text.data : "", r->text.len));
    if (json)
        AXL_TRY(axl_str_printf(out,
                               "{\"id\": %d, \"text\": %s, \"label\": %d, \"weight\": %d, "
                               "\"position\": %lld, \"document\": %lld, \"bin\": %lld}",
                               r->id, quoted.data, r->label, r->target, (long long)r->position,
                               (long long)place->document, (long long)place->bin));
    else
        AXL_TRY(axl_str_printf(out, "%8lld %8d %8d %6d %8lld %8lld  %s\n", (long long)r->position,
                               r->id, r->label, r->target, (long long)place->document,
                               (long long)place->bin, quoted.data));

out:
    axl_str_fini(&quoted);
    return status;
}

static axl_status put_head(const axl_prepared *set, int64_t sample, const axl_sample_place *place,
                           bool json, axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_sample_info *info = &set->info[sample];
    long long n = axl_prepared_length(set, sample);

    if (json) {
        AXL_TRY(axl_str_printf(out, "{\"row\": %lld, \"source\": ", (long long)sample));
        AXL_TRY(put_source(set, sample, out));
        AXL_TRY(axl_str_printf(out,
                               ", \"length\": %lld, \"trained\": %d, \"document\": %lld, \"bin\": "
                               "%lld, \"offset\": %lld, \"tokens\": [",
                               n, info->trained, (long long)place->document, (long long)place->bin,
                               (long long)place->offset));
        goto out;
    }
    AXL_TRY(axl_str_printf(out, "row %lld, %s:%lld: %lld tokens, %d trained; ", (long long)sample,
                           set->files[info->file].path, (long long)info->line, n, info->trained));
    if (place->bin < 0)
        AXL_TRY(axl_str_puts(out, "not in the training part\n"));
    else
        AXL_TRY(axl_str_printf(
            out, "document %lld of bin %lld in the first epoch, from token %lld\n",
            (long long)place->document, (long long)place->bin, (long long)place->offset));
    AXL_TRY(axl_str_printf(out, "%8s %8s %8s %6s %8s %8s  %s\n", "position", "id", "label",
                           "weight", "document", "bin", "text"));

out:
    return status;
}

axl_status axl_explain_sample(const axl_prepared *set, int64_t sample,
                              const axl_tokenizer *tokenizer, const axl_sample_place *place,
                              bool json, axl_str *out)
{
    axl_status status = AXL_OK;
    token_row r = {0};

    AXL_REQUIRE(sample >= 0 && sample < set->n, AXL_E_CONFIG,
                "row %lld is not one of the %lld samples, counted from 0", (long long)sample,
                (long long)set->n);
    int64_t at = axl_prepared_begin(set, sample), n = axl_prepared_length(set, sample);
    AXL_TRY(put_head(set, sample, place, json, out));
    for (int64_t t = 0; t < n; t++) {
        r.id = set->ids[at + t];
        r.label = set->labels[at + t];
        r.position = t;
        r.target = t > 0 && r.label != AXL_IGNORE;
        axl_str_clear(&r.text);
        AXL_TRY(put_token(tokenizer, r.id, &r.text));
        if (json && t > 0)
            AXL_TRY(axl_str_puts(out, ", "));
        AXL_TRY(put_row(&r, place, json, out));
    }
    if (json)
        AXL_TRY(axl_str_puts(out, "]}\n"));

out:
    axl_str_fini(&r.text);
    return status;
}
