// Texts of single tokens may be parts of a character; they print as U+FFFD, the id beside them is exact.
#include "src/data/dump.h"

#include "src/data/format.h"
#include "src/data/sources.h"
#include "src/io/file.h"

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

// [from, from + n) of values as a list.
static axl_status put_part(const axl_prepared *set, const char *name, const int32_t *values,
                           int64_t sample, int64_t from, int64_t n, axl_str *out)
{
    return put_ids(out, name, values + axl_prepared_begin(set, sample) + from, n);
}

// Tokens of the document [from, from + n) before the first with a label: its prompt.
static int64_t prompt_length(const axl_prepared *set, int64_t sample, int64_t from, int64_t n)
{
    const int32_t *labels = set->labels + axl_prepared_begin(set, sample) + from;
    int64_t t = 0;

    while (t < n && labels[t] == AXL_IGNORE)
        t++;
    return t;
}

static axl_status put_text(const char *name, const axl_str *text, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "\"%s\": ", name));
    AXL_TRY(axl_str_put_json(out, text->len > 0 ? text->data : "", text->len));
    AXL_TRY(axl_str_puts(out, ", "));

out:
    return status;
}

// A completion and its verdict, or a pair, with their texts: the columns of TRL.
static axl_status put_preference(const axl_prepared *set, int64_t sample, const axl_encoder *e,
                                 axl_str *out)
{
    axl_status status = AXL_OK;
    const axl_sample_info *info = &set->info[sample];
    int64_t n = axl_prepared_length(set, sample), first = info->second > 0 ? info->second : n;
    bool pair = info->second > 0;

    AXL_TRY(put_text("prompt", &e->texts[0], out));
    AXL_TRY(put_text(pair ? "chosen" : "completion", &e->texts[1], out));
    if (pair)
        AXL_TRY(put_text("rejected", &e->texts[2], out));
    else
        AXL_TRY(axl_str_printf(out, "\"label\": %s, ",
                               info->role == AXL_SAMPLE_DESIRABLE ? "true" : "false"));
    int64_t prompt = prompt_length(set, sample, 0, first);
    AXL_TRY(put_part(set, "prompt_input_ids", set->ids, sample, 0, prompt, out));
    AXL_TRY(put_part(set, pair ? "chosen_input_ids" : "completion_input_ids", set->ids, sample,
                     prompt, first - prompt, out));
    if (pair) {
        prompt = prompt_length(set, sample, first, n - first);
        AXL_TRY(put_part(set, "rejected_input_ids", set->ids, sample, first + prompt,
                         n - first - prompt, out));
    }

out:
    return status;
}

// n times the same number.
static axl_status put_mask(const char *name, int64_t n_ones, int64_t n_zeros, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "\"%s\": [", name));
    for (int64_t t = 0; t < n_ones + n_zeros; t++)
        AXL_TRY(axl_str_printf(out, "%s%d", t > 0 ? ", " : "", t < n_ones));
    AXL_TRY(axl_str_puts(out, "], "));

out:
    return status;
}

static axl_status put_ranked(const axl_prepared *set, int64_t sample, axl_str *out)
{
    axl_status status = AXL_OK;
    int64_t n = axl_prepared_length(set, sample), first = set->info[sample].second;

    AXL_TRY(put_part(set, "chosen_ids", set->ids, sample, 0, first, out));
    AXL_TRY(put_mask("attention_mask_chosen", first, 0, out));
    AXL_TRY(axl_str_puts(out, "\"labels_chosen\": 1.0, "));
    AXL_TRY(put_part(set, "rejected_ids", set->ids, sample, first, n - first, out));
    AXL_TRY(put_mask("attention_mask_rejected", n - first, 0, out));
    AXL_TRY(axl_str_puts(out, "\"labels_rejected\": 0.0, "));

out:
    return status;
}

// A pair that was given as conversations, not as texts: the columns of orpo.chat_template.
static axl_status put_token_pair(const axl_prepared *set, int64_t sample, axl_str *out)
{
    axl_status status = AXL_OK;
    int64_t n = axl_prepared_length(set, sample), first = set->info[sample].second;
    int64_t prompt = prompt_length(set, sample, first, n - first);

    prompt = prompt < first ? prompt : first;
    AXL_TRY(put_part(set, "input_ids", set->ids, sample, 0, first, out));
    AXL_TRY(put_part(set, "labels", set->labels, sample, 0, first, out));
    AXL_TRY(put_mask("prompt_attention_mask", prompt, first - prompt, out));
    AXL_TRY(put_part(set, "rejected_ids", set->ids, sample, first, n - first, out));
    AXL_TRY(put_part(set, "rejected_labels", set->labels, sample, first, n - first, out));
    AXL_TRY(put_mask("rejected_attention_mask", n - first, 0, out));

out:
    return status;
}

// texts: the encoder that just encoded the record of the sample; NULL where none of them has texts.
static axl_status put_sample(const axl_prepared *set, int64_t sample, const axl_encoder *texts,
                             axl_str *out)
{
    axl_status status = AXL_OK;
    int64_t n = axl_prepared_length(set, sample);
    int32_t role = set->info[sample].role;

    AXL_TRY(axl_str_putc(out, '{'));
    if (role == AXL_SAMPLE_RANKED) {
        AXL_TRY(put_ranked(set, sample, out));
    } else if (texts != NULL && texts->n_texts > 0) {
        AXL_TRY(put_preference(set, sample, texts, out));
    } else if (role == AXL_SAMPLE_PAIR) {
        AXL_TRY(put_token_pair(set, sample, out));
    } else {
        AXL_TRY(put_part(set, "input_ids", set->ids, sample, 0, n, out));
        AXL_TRY(put_part(set, "labels", set->labels, sample, 0, n, out));
    }
    AXL_TRY(axl_str_printf(out, "\"length\": %lld, \"source\": ", (long long)n));
    AXL_TRY(put_source(set, sample, out));
    AXL_TRY(axl_str_puts(out, "}\n"));

out:
    return status;
}

axl_status axl_dump_sample(const axl_prepared *set, int64_t sample, axl_str *out)
{
    return put_sample(set, sample, NULL, out);
}

typedef struct dumping {
    const axl_prepared *set;
    const axl_dump_source *from;
    FILE *file;
    const char *path;
    int64_t next; // sample to write
    axl_str line;
    axl_encoder *encoder; // owned; of the entry at hand
    axl_samples scratch;
} dumping;

static axl_status write_sample(dumping *d, const axl_encoder *texts)
{
    axl_status status = AXL_OK;

    axl_str_clear(&d->line);
    AXL_TRY(put_sample(d->set, d->next++, texts, &d->line));
    if (fwrite(d->line.data, 1, d->line.len, d->file) != d->line.len)
        AXL_TRY(axl_write_failed(d->path));
    if (d->next % RELEASE == 0)
        axl_prepared_release(d->set, d->next - RELEASE, d->next - 1);

out:
    return status;
}

// Writes the samples of one record, which is encoded again for its texts: they are not kept with the tokens.
static axl_status write_record(dumping *d, const axl_source_file *file, int64_t index,
                               const axl_row_text *row)
{
    axl_status status = AXL_OK;
    const axl_prepared *set = d->set;
    axl_json *json = NULL;
    axl_str where = {0};

    AXL_TRY(axl_encoder_take(&d->from->specs[file->entry], d->from->options, d->from->tokenizer,
                             &d->encoder));
    AXL_TRY(axl_str_printf(&where, "%s:%lld", file->path, (long long)row->line));
    AXL_TRY(axl_row_parse(file->kind, row->text, row->n, where.data, &json));
    axl_samples_clear(&d->scratch);
    AXL_TRY(axl_encoder_row(d->encoder, json, (int32_t)index, row->line, where.data, &d->scratch));
    while (d->next < set->n && set->info[d->next].file == index &&
           set->info[d->next].line == row->line)
        AXL_TRY(write_sample(d, d->encoder));

out:
    axl_json_free(json);
    axl_str_fini(&where);
    return status;
}

static axl_status write_with_texts(dumping *d)
{
    axl_status status = AXL_OK;
    const axl_prepared *set = d->set;
    axl_sources sources = {0};
    axl_row_text row;
    int64_t file = 0;
    bool more = true;

    AXL_TRY(axl_sources_init(&sources, d->from->specs, d->from->n_specs));
    AXL_TRY(axl_sources_select(&sources));
    while (d->next < set->n) {
        AXL_TRY(axl_sources_next(&sources, &row, &file, &more));
        AXL_REQUIRE(more, AXL_E_INPUT,
                    "%s: the data changed since they were prepared; run preprocess --refresh",
                    set->files[set->info[d->next].file].path);
        if (set->info[d->next].file == file && set->info[d->next].line == row.line)
            AXL_TRY(write_record(d, &sources.files[file], file, &row));
    }

out:
    axl_sources_fini(&sources);
    return status;
}

static bool has_texts(const axl_prepared *set)
{
    for (int64_t i = 0; i < set->n; i++) {
        int32_t role = set->info[i].role;
        if (role == AXL_SAMPLE_PAIR || role == AXL_SAMPLE_DESIRABLE ||
            role == AXL_SAMPLE_UNDESIRABLE)
            return true;
    }
    return false;
}

axl_status axl_dump_all(const axl_prepared *set, const axl_dump_source *from, const char *path)
{
    axl_status status = AXL_OK;
    bool to_stdout = strcmp(path, "-") == 0;
    dumping d = {.set = set, .from = from, .path = to_stdout ? "standard output" : path};

    d.file = to_stdout ? stdout : fopen(path, "w");
    if (d.file == NULL)
        AXL_TRY(axl_write_failed(path));
    if (from != NULL && has_texts(set))
        AXL_TRY(write_with_texts(&d));
    while (d.next < set->n)
        AXL_TRY(write_sample(&d, NULL));
    if (fflush(d.file) != 0)
        AXL_TRY(axl_write_failed(d.path));

out:
    if (d.file != NULL && !to_stdout)
        (void)fclose(d.file);
    axl_encoder_close(d.encoder);
    axl_samples_fini(&d.scratch);
    axl_str_fini(&d.line);
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

// What the document of token t is, for samples of preference data.
static const char *role_name(const axl_sample_info *info, int64_t t)
{
    static const char *const names[] = {[AXL_SAMPLE_PAIR] = "chosen",
                                        [AXL_SAMPLE_DESIRABLE] = "desirable",
                                        [AXL_SAMPLE_UNDESIRABLE] = "undesirable",
                                        [AXL_SAMPLE_RANKED] = "chosen",
                                        [AXL_SAMPLE_STEPS] = "steps"};

    return info->second > 0 && t >= info->second ? "rejected" : names[info->role];
}

// A line before each document of such a sample.
static axl_status put_role(const axl_sample_info *info, int64_t t, axl_str *out)
{
    bool begins = t == 0 || (info->second > 0 && t == info->second);

    return info->role == AXL_SAMPLE_PLAIN || !begins
               ? AXL_OK
               : axl_str_printf(out, "%s[%s]\n", t > 0 ? "\n" : "", role_name(info, t));
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
        while (colour && next < at + n && (set->labels[next] != AXL_IGNORE) == trained &&
               !(info->second > 0 && next == at + info->second))
            next++;
        AXL_TRY(put_role(info, t - at, out));
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
        int64_t offset = 0, document = 0;
        AXL_TRY(axl_feed_next(feed, &bin, &more));
        if (!more || (set != NULL && bin.set != set))
            break;
        set = bin.set;
        for (int64_t i = 0; i < bin.n; i++) {
            if (bin.items[i] == sample)
                *out = (axl_sample_place){feed->place.n_done - 1, document, offset};
            offset += axl_prepared_length(set, bin.items[i]);
            document += set->info[bin.items[i]].second > 0 ? 2 : 1;
        }
    }

out:
    return status;
}

typedef struct token_row {
    int32_t id, label;
    int64_t position;
    bool target; // the model is asked for this token
    int64_t document;
    const char *role; // NULL: plain data
    axl_str text;
} token_row;

static axl_status put_row(const token_row *r, const axl_sample_place *place, bool json,
                          axl_str *out)
{
    axl_status status = AXL_OK;
    axl_str quoted = {0};
    char document[24] = "-", bin[24] = "-"; // not in the training part: in none

    if (place->bin >= 0) {
        (void)snprintf(document, sizeof document, "%lld", (long long)r->document);
        (void)snprintf(bin, sizeof bin, "%lld", (long long)place->bin);
    }
    AXL_TRY(axl_str_put_json(&quoted, r->text.len > 0 ? r->text.data : "", r->text.len));
    if (json)
        AXL_TRY(axl_str_printf(out,
                               "{\"id\": %d, \"text\": %s, \"label\": %d, \"weight\": %d, "
                               "\"position\": %lld, \"document\": %lld, \"bin\": %lld%s%s%s}",
                               r->id, quoted.data, r->label, r->target, (long long)r->position,
                               (long long)r->document, (long long)place->bin,
                               r->role != NULL ? ", \"role\": \"" : "",
                               r->role != NULL ? r->role : "", r->role != NULL ? "\"" : ""));
    else
        AXL_TRY(axl_str_printf(out, "%8lld %8d %8d %6d %8s %8s  %s%s%s\n", (long long)r->position,
                               r->id, r->label, r->target, document, bin, quoted.data,
                               r->role != NULL ? "  " : "", r->role != NULL ? r->role : ""));

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
        int64_t second = set->info[sample].second;
        bool behind = second > 0 && t >= second, steps = set->info[sample].role == AXL_SAMPLE_STEPS;
        r.position = behind ? t - second : t;
        r.document = place->document < 0 ? -1 : place->document + behind;
        r.role = role_name(&set->info[sample], t);
        r.target = (steps || r.position > 0) && r.label != AXL_IGNORE;
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
