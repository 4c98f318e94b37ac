// RUN: np=1
// Prepared sets: what is kept, when a set on the disk is used again, and every kind of bad input.
#include "src/data/dump.h"
#include "src/data/prepared_write.h"
#include "tests/src/data/data_check.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>

typedef struct setup {
    axl_dataset_spec spec;
    axl_data_options options;
    char data[256], prepared[256];
} setup;

static void setup_init(setup *s, const folder *f, const char *name)
{
    *s = (setup){.spec = {.place = "run.yaml:3"},
                 .options = {.sequence_len = 64, .min_sample_len = 2, .n_threads = 3}};
    s->spec.path = folder_file(f, name, s->data);
    s->options.prepared_path = folder_file(f, "prepared", s->prepared);
}

static axl_prepared *prepare(const setup *s, const axl_tokenizer *t, bool *made)
{
    axl_prepared *p = NULL;

    CHECK_OK(axl_prepare(&s->spec, 1, &s->options, t, false, made, &p));
    return p;
}

static void samples_keep_the_order_and_places_of_the_rows(void **state)
{
    const folder *f = *state;
    enum { N = 700 };
    static int32_t lengths[N];
    setup s;

    for (int i = 0; i < N; i++)
        lengths[i] = 2 + i % 13;
    folder_write_rows(f, "order.jsonl", lengths, N);
    setup_init(&s, f, "order.jsonl");
    axl_prepared *p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, N);
    assert_int_equal(p->max_length, 14);
    assert_string_equal(p->files[0].path, s.data);
    for (int64_t i = 0; i < N; i++) {
        assert_int_equal(axl_prepared_length(p, i), lengths[i]);
        assert_int_equal(p->ids[axl_prepared_begin(p, i)], i + 1);
        assert_int_equal(p->info[i].line, i + 1);
        assert_int_equal(p->info[i].trained, lengths[i] / 2);
    }
    axl_prepared_close(p);
}

static void length_rules_drop_cut_or_raise(void **state)
{
    const folder *f = *state;
    const int32_t lengths[] = {1, 5, 70, 3, 90};
    setup s;

    folder_write_rows(f, "long.jsonl", lengths, 5);
    setup_init(&s, f, "long.jsonl");
    axl_prepared *p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 2);
    assert_int_equal(p->counts.too_long, 2);
    assert_int_equal(p->counts.too_short, 1);
    axl_prepared_close(p);
    s.options.excess = AXL_EXCESS_TRUNCATE;
    p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 4);
    assert_int_equal(p->counts.truncated, 2);
    assert_int_equal(axl_prepared_length(p, 1), 64);
    axl_prepared_close(p);
    s.options.excess = AXL_EXCESS_RAISE;
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_INPUT,
                "long.jsonl:3: the sample has 70 tokens");
}

static void untrained_and_equal_rows_are_dropped_when_asked(void **state)
{
    const folder *f = *state;
    setup s;

    folder_write(f, "same.jsonl",
                 "{\"input_ids\": [1, 2, 3], \"labels\": [1, -100, -100]}\n" // only nobody's target
                 "{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, 3]}\n"
                 "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}\n"
                 "{\"labels\": [-100, -100, 3], \"input_ids\": [1, 2, 3]}\n");
    setup_init(&s, f, "same.jsonl");
    axl_prepared *p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 4);
    axl_prepared_close(p);
    s.options.drop_untrained = s.options.deduplicate = true;
    p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 2);
    assert_int_equal(p->counts.untrained, 1);
    assert_int_equal(p->counts.duplicates, 1);
    axl_prepared_close(p);
}

static void hidden_ends_are_left_out(void **state)
{
    const folder *f = *state;
    setup s;

    folder_write(f, "mask.jsonl",
                 "{\"input_ids\": [0, 7, 8, 0], \"attention_mask\": [0, 1, 1, 0], "
                 "\"labels\": [-100, -100, 8, -100]}\n");
    setup_init(&s, f, "mask.jsonl");
    axl_prepared *p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n_tokens, 2);
    assert_int_equal(p->ids[0], 7);
    axl_prepared_close(p);
}

static uint64_t key_of(const setup *s, const axl_tokenizer *t)
{
    uint64_t key = 0;

    CHECK_OK(axl_prepare_key(&s->spec, 1, &s->options, t, &key));
    return key;
}

static void every_ingredient_changes_the_key(void **state)
{
    const folder *f = *state;
    axl_tokenizer *t = NULL, *other = NULL;
    setup s, base;
    int n = 0;
    uint64_t keys[32] = {0};

    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/data/tokenizer", &t));
    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/tokenizers/tiny-bpe-gpt2", &other));
    folder_write(f, "key.jsonl", "{\"text\": \"one\"}\n");
    setup_init(&base, f, "key.jsonl");
    base.spec.type = "completion";
    keys[n++] = key_of(&base, t);
    assert_int_equal(keys[0], key_of(&base, t));
    keys[n++] = key_of(&base, other);
    s = base, s.spec.type = "input_output", keys[n++] = key_of(&s, t);
    s = base, s.spec.field = "body", keys[n++] = key_of(&s, t);
    s = base, s.spec.chat_key = "template", keys[n++] = key_of(&s, t);
    s = base, s.spec.user_format = &(axl_user_format){.format = "{input}"},
    keys[n++] = key_of(&s, t);
    s = base, s.options.sequence_len++, keys[n++] = key_of(&s, t);
    s = base, s.options.min_sample_len++, keys[n++] = key_of(&s, t);
    s = base, s.options.excess = AXL_EXCESS_TRUNCATE, keys[n++] = key_of(&s, t);
    s = base, s.options.train_on_inputs = true, keys[n++] = key_of(&s, t);
    s = base, s.options.drop_untrained = true, keys[n++] = key_of(&s, t);
    s = base, s.options.deduplicate = true, keys[n++] = key_of(&s, t);
    s = base, s.options.skip_bad_rows = true, keys[n++] = key_of(&s, t);
    s = base, s.options.vocab_size = 5, keys[n++] = key_of(&s, t);
    s = base, s.spec.ds_type = "json", keys[n++] = key_of(&s, t);
    s = base, s.spec.split = "train[:5]", keys[n++] = key_of(&s, t);
    s = base, s.spec.shards = 2, keys[n++] = key_of(&s, t);
    s.spec.shards_idx = 1, keys[n++] = key_of(&s, t);
    s.spec.shard_seed = 9, keys[n++] = key_of(&s, t);
    s = base, s.spec.conversation = "llama3", keys[n++] = key_of(&s, t);
    // what cannot change the contents does not change the key
    s = base, s.options.n_threads = 1, s.options.memory_limit = 1 << 28;
    assert_int_equal(key_of(&s, t), keys[0]);
    CHECK_OK(axl_tokenizer_set_special(t, "eos_token", "<s>"));
    keys[n++] = key_of(&base, t);
    folder_write(f, "key.jsonl", "{\"text\": \"two\"}\n");
    keys[n++] = key_of(&base, other);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++)
            assert_true(keys[i] != keys[j]);
    }
    axl_tokenizer_destroy(t);
    axl_tokenizer_destroy(other);
}

static void a_prepared_set_is_used_again_until_the_data_change(void **state)
{
    const folder *f = *state;
    const int32_t lengths[] = {4, 5, 6};
    bool made = false;
    setup s;

    folder_write_rows(f, "again.jsonl", lengths, 3);
    setup_init(&s, f, "again.jsonl");
    axl_prepared_close(prepare(&s, NULL, &made));
    assert_true(made);
    axl_prepared *p = prepare(&s, NULL, &made);
    assert_false(made);
    // a damaged file is found and made again
    axl_str bytes = {0};
    CHECK_OK(axl_file_read(p->path, &bytes));
    bytes.data[bytes.len - 60] ^= 1;
    CHECK_OK(axl_file_write(p->path, bytes.data, bytes.len));
    axl_prepared_close(p);
    p = prepare(&s, NULL, &made);
    assert_true(made);
    CHECK_OK(axl_file_write(p->path, bytes.data, bytes.len / 2));
    axl_prepared *cut = NULL;
    CHECK_FAILS(axl_prepared_open(p->path, p->key, false, &cut), AXL_E_INPUT, "damaged");
    axl_str_fini(&bytes);
    axl_prepared_close(p);
    folder_write_rows(f, "again.jsonl", lengths, 2);
    p = prepare(&s, NULL, &made);
    assert_true(made);
    assert_int_equal(p->n, 2);
    axl_prepared_close(p);
}

static void bad_input(const folder *f, const char *name, const char *text, const char *message)
{
    axl_prepared *p = NULL;
    setup s;

    folder_write(f, name, text);
    setup_init(&s, f, name);
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_INPUT, message);
}

#define ROW "{\"input_ids\": [1, 2], \"labels\": [1, 2]}"

static void bad_data_are_refused_with_file_and_line(void **state)
{
    const folder *f = *state;
    axl_prepared *p = NULL;
    setup s;

    bad_input(f, "b1.jsonl", "", "b1.jsonl: the data set is empty");
    bad_input(f, "b2.jsonl", ROW "\n[1]\n", "b2.jsonl:2: the record is an array");
    bad_input(f, "b3.jsonl", ROW "\n\n" ROW "\n{\"a\": \xff}\n", "b3.jsonl:4: byte 7");
    bad_input(f, "b4.jsonl", ROW "\n{\"a\": \n", "b4.jsonl:2");
    bad_input(f, "b5.jsonl", ROW "\n{\"a\": 1}\n", "b5.jsonl:2: the column \"input_ids\"");
    bad_input(f, "b6.json", "[" ROW ",\n\n " ROW "\n, 7]", "b6.json:4: the record is an integer");
    bad_input(f, "b7.json", "[" ROW " " ROW "]", "b7.json:1: a comma");
    bad_input(f, "b8.json", "[" ROW, "b8.json:1: a comma or the closing ]");
    bad_input(f, "b9.json", "[" ROW ",", "b9.json:1: the array is not closed");
    bad_input(f, "b10.jsonl", "{\"input_ids\": [1], \"labels\": [1]}\n",
              "no sample is left of 1 rows: "
              "0 malformed, 1 shorter");
    setup_init(&s, f, "missing.jsonl");
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_INPUT,
                "run.yaml:3: data set");
    setup_init(&s, f, "x.jsonl");
    folder_write(f, "x.jsonl", "PK\3\4 ...");
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_UNSUPPORTED,
                "x.jsonl: a .zip archive");
    setup_init(&s, f, "b2.jsonl");
    s.spec.type = "completion";
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_INPUT,
                "needs a tokenizer");
}

static void deep_json_is_an_error_not_a_crash(void **state)
{
    const folder *f = *state;
    axl_str text = {0};

    for (int i = 0; i < 10000; i++)
        CHECK_OK(axl_str_puts(&text, "{\"a\":["));
    bad_input(f, "deep.jsonl", text.data, "deep.jsonl:1");
    axl_str_fini(&text);
}

static void bad_rows_may_be_skipped(void **state)
{
    const folder *f = *state;
    setup s;

    folder_write(f, "skip.jsonl", ROW "\n17\n" ROW "\n{\"input_ids\": 1}\n");
    setup_init(&s, f, "skip.jsonl");
    s.options.skip_bad_rows = true;
    axl_prepared *p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 2);
    assert_int_equal(p->counts.bad, 2);
    assert_int_equal(p->counts.rows, 4);
    axl_prepared_close(p);
}

static void json_arrays_folders_and_patterns_are_read(void **state)
{
    const folder *f = *state;
    char path[256];
    setup s;

    CHECK_OK(axl_dir_make(folder_file(f, "many", path)));
    folder_write(f, "many/b.json", "\xef\xbb\xbf [ " ROW ",\n" ROW "]\n");
    folder_write(f, "many/a.jsonl", ROW "\r\n" ROW);
    folder_write(f, "many/c.json", ROW "\n" ROW);
    folder_write(f, "many/notes.md", "not data");
    setup_init(&s, f, "many");
    axl_prepared *p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 6);
    assert_int_equal(p->n_files, 3);
    assert_int_equal(p->info[3].file, 1);
    assert_int_equal(p->info[3].line, 2);
    axl_prepared_close(p);
    setup_init(&s, f, "many/*.json");
    p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 4);
    axl_prepared_close(p);
}

static int64_t rows_taken(const folder *f, const char *split, int64_t shards, int64_t idx)
{
    setup s;

    setup_init(&s, f, "slice.jsonl");
    s.spec.split = split;
    s.spec.shards = shards;
    s.spec.shards_idx = idx;
    axl_prepared *p = prepare(&s, NULL, NULL);
    int64_t n = p->n;
    axl_prepared_close(p);
    return n;
}

static void parts_of_an_entry_are_taken_by_slice_and_shard(void **state)
{
    const folder *f = *state;
    int32_t lengths[10];
    axl_prepared *p = NULL;
    setup s;

    for (int i = 0; i < 10; i++)
        lengths[i] = 3;
    folder_write_rows(f, "slice.jsonl", lengths, 10);
    assert_int_equal(rows_taken(f, "train", 0, 0), 10);
    assert_int_equal(rows_taken(f, "train[:3]", 0, 0), 3);
    assert_int_equal(rows_taken(f, "train[3:]", 0, 0), 7);
    assert_int_equal(rows_taken(f, "train[-2:]", 0, 0), 2);
    assert_int_equal(rows_taken(f, "train[10%:40%]", 0, 0), 3);
    assert_int_equal(rows_taken(f, "train[8:400]", 0, 0), 2);
    assert_int_equal(rows_taken(f, NULL, 3, 0), 4);
    assert_int_equal(rows_taken(f, NULL, 3, 1) + rows_taken(f, NULL, 3, 2), 6);
    setup_init(&s, f, "slice.jsonl");
    s.spec.split = "train[5:5]";
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_CONFIG,
                "none of 10");
    s.spec.split = "train[5]";
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_CONFIG,
                "[from:to]");
    s.spec.split = "train[2:4]";
    p = prepare(&s, NULL, NULL);
    assert_int_equal(p->info[0].line, 3);
    axl_prepared_close(p);
}

static void shards_part_the_slice(void **state)
{
    const folder *f = *state;
    enum { N = 97 };
    int32_t lengths[N];
    int taken[N + 1] = {0};
    bool in_order = true;
    setup s;

    for (int i = 0; i < N; i++)
        lengths[i] = 2;
    folder_write_rows(f, "parts.jsonl", lengths, N);
    setup_init(&s, f, "parts.jsonl");
    s.spec.split = "train[10:]";
    s.spec.shards = 4;
    for (s.spec.shards_idx = 0; s.spec.shards_idx < 4; s.spec.shards_idx++) {
        axl_prepared *p = prepare(&s, NULL, NULL);
        assert_in_range(p->n, 21, 22);
        for (int64_t i = 0; i < p->n; i++)
            taken[p->info[i].line]++;
        in_order = in_order && p->info[p->n - 1].line - p->info[0].line < p->n;
        axl_prepared_close(p);
    }
    for (int line = 1; line <= N; line++)
        assert_int_equal(taken[line], line > 10);
    assert_false(in_order); // they are drawn, not cut
}

// Rows of 41 tokens that all differ; every tenth row stands twice.
static void write_many(const folder *f, const char *name, int n)
{
    char path[256];
    FILE *file = fopen(folder_file(f, name, path), "w");

    assert_non_null(file);
    for (int i = 0; i < n; i++) {
        int value = i % 10 == 9 ? i - 1 : i;
        for (int column = 0; column < 2; column++) {
            (void)fputs(column == 0 ? "{\"input_ids\": [" : "\"labels\": [", file);
            for (int t = 0; t < 40; t++)
                (void)fprintf(file, "%d, ", value * 7 % 50000 + t);
            (void)fprintf(file, column == 0 ? "%d], " : "%d]}\n", value);
        }
    }
    assert_int_equal(fclose(file), 0);
}

// The peak memory in KiB of a process that prepares the rows, checks the file and walks over it.
static long peak_of(const setup *s, int64_t n)
{
    struct rusage usage;
    int code = 0;
    pid_t child = fork();

    if (child == 0) {
        axl_prepared *p = NULL;
        int64_t tokens = 0;
        bool good = axl_prepare(&s->spec, 1, &s->options, NULL, false, NULL, &p) == AXL_OK;
        axl_prepared_close(p);
        p = NULL;
        good = good && axl_prepare(&s->spec, 1, &s->options, NULL, false, NULL, &p) == AXL_OK;
        good = good && p->n == n && p->counts.duplicates == n / 9;
        good = good && axl_dump_all(p, NULL, "/dev/null") == AXL_OK;
        for (int64_t i = 0; good && i < p->n; i++) {
            tokens += axl_prepared_length(p, i);
            if (i % 1000 == 999)
                axl_prepared_release(p, i - 999, i);
        }
        good = good && tokens == p->n_tokens;
        axl_prepared_close(p);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(wait4(child, &code, 0, &usage), child);
    assert_int_equal(code, 0);
    return usage.ru_maxrss;
}

static void memory_does_not_grow_with_the_data(void **state)
{
    const folder *f = *state;
    enum { N = 5000 };
    setup s;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message("skipped: the sanitizer has memory of its own\n");
    skip();
#endif

    write_many(f, "few.jsonl", N);
    write_many(f, "many.jsonl", 10 * N); // 25 MB of text, 16 MB prepared
    setup_init(&s, f, "few.jsonl");
    s.options.sequence_len = 100;
    s.options.deduplicate = true;
    s.options.memory_limit = 1 << 20;
    long few = peak_of(&s, N / 10 * 9);
    setup_init(&s, f, "many.jsonl");
    s.options.sequence_len = 100;
    s.options.deduplicate = true;
    s.options.memory_limit = 1 << 20;
    long many = peak_of(&s, N * 9);
    print_message("peak %ld KiB, with ten times the data %ld KiB\n", few, many);
    assert_true(many < few + 1024);
}

static void a_record_beyond_the_limit_is_refused(void **state)
{
    const folder *f = *state;
    const int32_t lengths[] = {2, 300000};
    axl_prepared *p = NULL;
    setup s;

    folder_write_rows(f, "huge.jsonl", lengths, 2);
    setup_init(&s, f, "huge.jsonl");
    s.options.memory_limit = 1 << 20;
    s.options.skip_bad_rows = true; // the contents must not depend on the memory
    CHECK_FAILS(axl_prepare(&s.spec, 1, &s.options, NULL, false, NULL, &p), AXL_E_CONFIG,
                "huge.jsonl:2: the record has");
    s.options.memory_limit = 0;
    axl_prepared_close(prepare(&s, NULL, NULL));
}

static int count_temporaries(const setup *s)
{
    DIR *dir = opendir(s->prepared);
    int n = 0;

    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strstr(e->d_name, ".tmp") != NULL;
    (void)closedir(dir);
    return n;
}

static void a_crash_leaves_no_set_and_its_rest_is_removed(void **state)
{
    const folder *f = *state;
    const int32_t lengths[] = {4, 5, 6};
    uint64_t key = 0;
    axl_str path = {0};
    setup s;
    int code;

    folder_write_rows(f, "crash.jsonl", lengths, 3);
    setup_init(&s, f, "crash.jsonl");
    CHECK_OK(axl_prepare_key(&s.spec, 1, &s.options, NULL, &key));
    CHECK_OK(axl_prepared_path(&s.options, key, &path));
    pid_t child = fork();
    if (child == 0) {
        axl_prepared_writer *w = NULL;
        axl_samples samples = {0};
        const int32_t ids[] = {1, 2, 3};
        bool good = axl_prepared_writer_create(path.data, key, false, 1 << 20, &w) == AXL_OK &&
                    axl_samples_put(&samples, ids, NULL, 3, true) == AXL_OK &&
                    axl_samples_end(&samples, 0, 1) == AXL_OK &&
                    axl_prepared_writer_put(w, &samples) == AXL_OK;
        _exit(good ? 7 : 1);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(WEXITSTATUS(code), 7);
    assert_false(axl_path_exists(path.data));
    assert_int_equal(count_temporaries(&s), 1);
    axl_prepared *p = prepare(&s, NULL, NULL);
    assert_int_equal(p->n, 3);
    assert_int_equal(count_temporaries(&s), 0);
    axl_prepared_close(p);
    axl_str_fini(&path);
}

static void two_processes_may_prepare_the_same_set(void **state)
{
    const folder *f = *state;
    pid_t child[3];
    int code;
    setup s;

    write_many(f, "both.jsonl", 2000);
    setup_init(&s, f, "both.jsonl");
    s.options.deduplicate = true;
    for (int i = 0; i < 3; i++) {
        child[i] = fork();
        if (child[i] != 0)
            continue;
        axl_prepared *p = NULL;
        bool good =
            axl_prepare(&s.spec, 1, &s.options, NULL, true, NULL, &p) == AXL_OK && p->n == 1800;
        axl_prepared_close(p);
        _exit(good ? 0 : 1);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waitpid(child[i], &code, 0), child[i]);
        assert_int_equal(code, 0);
    }
    bool made = true;
    axl_prepared_close(prepare(&s, NULL, &made));
    assert_false(made); // whole, with a right checksum
    assert_int_equal(count_temporaries(&s), 0);
}

static void text_lines_are_completions(void **state)
{
    const folder *f = *state;
    axl_tokenizer *t = NULL;
    setup s;

    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/data/tokenizer", &t));
    folder_write(f, "lines.txt", "The first line.\n\nThe second \"line\".");
    setup_init(&s, f, "lines.txt");
    s.spec.type = "completion";
    axl_prepared *p = prepare(&s, t, NULL);
    assert_int_equal(p->n, 2);
    assert_int_equal(p->info[1].line, 3);
    axl_prepared_close(p);
    axl_tokenizer_destroy(t);
}

static void a_sample_is_written_in_three_ways(void **state)
{
    const folder *f = *state;
    const int32_t lengths[] = {3, 2};
    const axl_sample_place place = {.bin = 4, .document = 1, .offset = 7};
    axl_json *json = NULL;
    axl_str out = {0};
    setup s;

    folder_write_rows(f, "dump.jsonl", lengths, 2);
    setup_init(&s, f, "dump.jsonl");
    axl_prepared *p = prepare(&s, NULL, NULL);
    CHECK_OK(axl_dump_sample(p, 1, &out));
    assert_non_null(
        strstr(out.data, "{\"input_ids\": [2, 2], \"labels\": [-100, 2], \"length\": 2, "));
    CHECK_OK(axl_json_parse(out.data, out.len, "dump", &json));
    assert_non_null(strstr(axl_json_string(axl_json_get(json, "source"), ""), "dump.jsonl:2"));
    axl_json_free(json);
    axl_str_clear(&out);
    CHECK_OK(axl_explain_sample(p, 0, NULL, &place, true, &out));
    CHECK_OK(axl_json_parse(out.data, out.len, "explain", &json));
    const axl_json *token = axl_json_at(axl_json_get(json, "tokens"), 1);
    assert_int_equal(axl_json_int(axl_json_get(token, "weight"), -1), 1);
    assert_int_equal(axl_json_int(axl_json_get(token, "bin"), -1), 4);
    axl_json_free(json);
    axl_str_clear(&out);
    CHECK_OK(axl_debug_sample(p, 0, NULL, false, &out));
    assert_non_null(strstr(out.data, "(-100, 1) (1, 1) (-100, 1)"));
    CHECK_FAILS(axl_explain_sample(p, 2, NULL, &place, false, &out), AXL_E_CONFIG, "row 2");
    axl_str_fini(&out);
    axl_prepared_close(p);
}

static void colours_are_those_of_the_labels(void **state)
{
    const folder *f = *state;
    axl_tokenizer *t = NULL;
    axl_token_buffer ids = {0};
    axl_str text = {0}, out = {0};
    static const char words[] = "No\ntree.";
    setup s;

    CHECK_OK(axl_tokenizer_load(AXL_TEST_DATA "/data/tokenizer", &t));
    CHECK_OK(axl_tokenizer_encode(t, words, sizeof words - 1, false, &ids));
    assert_true(ids.n > 3);
    for (int column = 0; column < 2; column++) { // the first two tokens are masked
        CHECK_OK(axl_str_puts(&text, column == 0 ? "{\"input_ids\": [" : "], \"labels\": ["));
        for (size_t i = 0; i < ids.n; i++)
            CHECK_OK(axl_str_printf(&text, "%s%d", i > 0 ? ", " : "",
                                    column == 1 && i < 2 ? -100 : ids.ids[i]));
    }
    CHECK_OK(axl_str_puts(&text, "]}\n"));
    folder_write(f, "colour.jsonl", text.data);
    setup_init(&s, f, "colour.jsonl");
    axl_prepared *p = prepare(&s, t, NULL);
    CHECK_OK(axl_debug_sample(p, 0, t, true, &out));
    axl_str_clear(&text);
    CHECK_OK(axl_tokenizer_decode(t, ids.ids, 2, false, &text));
    assert_non_null(strstr(out.data, "\033[31m"));
    assert_non_null(strstr(out.data, "\xe2\x86\xb5\033[0m\n"));
    // without the colours, the arrows and the head it is the text again, and the red part is the masked one
    char *red = strstr(out.data, "\033[31m"), *green = strstr(red, "\033[32m");
    assert_non_null(green);
    axl_str plain = {0};
    size_t masked = 0;
    for (char *c = red; *c != '\0'; c++) {
        masked = c == green ? plain.len : masked;
        if (*c == '\033')
            c = strchr(c, 'm');
        else if (*c == '\xe2')
            c += 2;
        else
            CHECK_OK(axl_str_putc(&plain, *c));
    }
    assert_int_equal(masked, text.len);
    assert_memory_equal(plain.data, text.data, masked);
    assert_int_equal(plain.len, sizeof words); // and the line end behind the sample
    assert_memory_equal(plain.data, words, sizeof words - 1);
    axl_str_fini(&plain);
    axl_str_fini(&text);
    axl_str_fini(&out);
    axl_token_buffer_fini(&ids);
    axl_prepared_close(p);
    axl_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_keep_the_order_and_places_of_the_rows),
        cmocka_unit_test(length_rules_drop_cut_or_raise),
        cmocka_unit_test(untrained_and_equal_rows_are_dropped_when_asked),
        cmocka_unit_test(hidden_ends_are_left_out),
        cmocka_unit_test(every_ingredient_changes_the_key),
        cmocka_unit_test(a_prepared_set_is_used_again_until_the_data_change),
        cmocka_unit_test(bad_data_are_refused_with_file_and_line),
        cmocka_unit_test(deep_json_is_an_error_not_a_crash),
        cmocka_unit_test(bad_rows_may_be_skipped),
        cmocka_unit_test(json_arrays_folders_and_patterns_are_read),
        cmocka_unit_test(parts_of_an_entry_are_taken_by_slice_and_shard),
        cmocka_unit_test(shards_part_the_slice),
        cmocka_unit_test(memory_does_not_grow_with_the_data),
        cmocka_unit_test(a_record_beyond_the_limit_is_refused),
        cmocka_unit_test(a_crash_leaves_no_set_and_its_rest_is_removed),
        cmocka_unit_test(two_processes_may_prepare_the_same_set),
        cmocka_unit_test(text_lines_are_completions),
        cmocka_unit_test(a_sample_is_written_in_three_ways),
        cmocka_unit_test(colours_are_those_of_the_labels),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
