// RUN: np=1
// Which files an entry means: folders with splits, saved data sets, configurations, names of the hub.
#include "src/data/files.h"
#include "tests/src/data/data_check.h"

#define SAVED AXL_TEST_DATA "/data/files/"

static void put(const folder *f, const char *name)
{
    char path[256];

    folder_file(f, name, path);
    *strrchr(path, '/') = '\0';
    CHECK_OK(axl_dir_make(path));
    folder_write(f, name, "{}\n");
}

// The files of an entry without the folder in front, joined by a space; or the message of the failure.
static const char *list(const folder *f, const axl_dataset_spec *spec, char out[512])
{
    axl_file_list files = {0};
    axl_str text = {0};

    if (axl_file_list_make(spec, &files) == AXL_OK) {
        for (int64_t i = 0; i < files.n; i++) {
            const char *path = files.path[i];
            size_t n = strlen(f->path);
            path += strncmp(path, f->path, n) == 0 ? n + 1 : 0;
            path += strncmp(path, SAVED, strlen(SAVED)) == 0 ? strlen(SAVED) : 0;
            CHECK_OK(axl_str_printf(&text, "%s%s", i > 0 ? " " : "", path));
        }
    } else {
        CHECK_OK(axl_str_puts(&text, axl_error_message()));
    }
    (void)snprintf(out, 512, "%s", text.data);
    axl_str_fini(&text);
    axl_file_list_fini(&files);
    return out;
}

static axl_dataset_spec entry(const folder *f, const char *name, char path[256])
{
    return (axl_dataset_spec){.place = "run.yaml:3", .path = folder_file(f, name, path)};
}

static void names_of_files_and_folders_tell_the_split(void **state)
{
    const folder *f = *state;
    char path[256], out[512];
    static const char *const files[] = {"words/train-a.jsonl", "words/my_training2.csv",
                                        "words/dev.json",      "words/x.test.jsonl.gz",
                                        "words/readme.md",     "words/dataset_info.json",
                                        "words/.hidden.jsonl"};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(f, files[i]);
    axl_dataset_spec spec = entry(f, "words", path);
    assert_string_equal(list(f, &spec, out), "words/my_training2.csv words/train-a.jsonl");
    spec.is_test = true;
    assert_string_equal(list(f, &spec, out), "words/x.test.jsonl.gz");
    spec.split = "validation[:10]";
    assert_string_equal(list(f, &spec, out), "words/dev.json");
    spec.split = "train_sft";
    assert_non_null(strstr(list(f, &spec, out), "has no split train_sft; give split: one of "));
    put(f, "dirs/val/a.parquet");
    put(f, "dirs/train/b/a.parquet");
    put(f, "dirs/train/a.parquet");
    spec = entry(f, "dirs", path);
    assert_string_equal(list(f, &spec, out), "dirs/train/a.parquet dirs/train/b/a.parquet");
    spec.is_test = true;
    assert_non_null(strstr(list(f, &spec, out), "has no split test; give split: one of train, "));
}

static void shards_below_data_name_any_split(void **state)
{
    const folder *f = *state;
    char path[256], out[512];

    put(f, "hub/data/train_sft-00000-of-00002.parquet");
    put(f, "hub/data/train_sft-00001-of-00002-ab12.parquet");
    put(f, "hub/data/test_sft-00000-of-00001.parquet");
    axl_dataset_spec spec = entry(f, "hub", path);
    assert_non_null(
        strstr(list(f, &spec, out), "has no split train; give split: one of test_sft, train_sft"));
    spec.split = "train_sft[:50%]";
    assert_string_equal(list(f, &spec, out), "hub/data/train_sft-00000-of-00002.parquet "
                                             "hub/data/train_sft-00001-of-00002-ab12.parquet");
}

static void files_without_a_split_are_the_train_split(void **state)
{
    const folder *f = *state;
    char path[256], out[512];

    put(f, "plain/b.json");
    put(f, "plain/a.jsonl");
    axl_dataset_spec spec = entry(f, "plain", path);
    spec.is_test = true; // one split: it is taken whatever its name
    assert_string_equal(list(f, &spec, out), "plain/a.jsonl plain/b.json");
    spec.split = "test";
    assert_string_equal(list(f, &spec, out), "plain/a.jsonl plain/b.json");
    put(f, "plain/test.jsonl");
    assert_string_equal(list(f, &spec, out), "plain/test.jsonl");
    spec.split = "train";
    assert_string_equal(list(f, &spec, out), "plain/a.jsonl plain/b.json");
    put(f, "plain/train.jsonl");
    assert_string_equal(list(f, &spec, out), "plain/train.jsonl");
}

static void saved_data_sets_name_their_files(void **state)
{
    const folder *f = *state;
    char out[512], path[256];
    axl_dataset_spec spec = {.place = "run.yaml:3", .path = SAVED "saved"};

    assert_string_equal(list(f, &spec, out),
                        "saved/data-00000-of-00002.arrow saved/data-00001-of-00002.arrow");
    spec.path = SAVED "saved-splits";
    assert_string_equal(list(f, &spec, out), "saved-splits/train/data-00000-of-00001.arrow");
    spec.is_test = true;
    assert_string_equal(list(f, &spec, out), "saved-splits/test/data-00000-of-00001.arrow");
    spec.split = "dev";
    assert_non_null(
        strstr(list(f, &spec, out), "has no split dev; give split: one of train, test"));
    put(f, "saved/data.arrow");
    folder_write(f, "saved/state.json", "{\"_data_files\": [{\"filename\": \"gone.arrow\"}]}");
    spec = entry(f, "saved", path);
    assert_non_null(strstr(list(f, &spec, out), "gone.arrow: the file is missing"));
    folder_write(f, "saved/state.json",
                 "{\"_data_files\": [], \"_indices_files\": [{\"filename\": \"i\"}]}");
    assert_non_null(strstr(list(f, &spec, out), "flatten_indices()"));
}

static void a_configuration_is_a_folder(void **state)
{
    const folder *f = *state;
    char path[256], out[512];
    static const char *const names[] = {"fr", "en"};

    put(f, "langs/en/train.jsonl");
    put(f, "langs/data/fr/train.jsonl");
    put(f, "langs/data/fr/test.jsonl");
    axl_dataset_spec spec = entry(f, "langs", path);
    spec.names = names;
    spec.n_names = 2;
    assert_string_equal(list(f, &spec, out), "langs/data/fr/train.jsonl langs/en/train.jsonl");
    spec.names = (const char *const[]){"de"};
    spec.n_names = 1;
    assert_non_null(strstr(list(f, &spec, out), "run.yaml:3: name de: "));
}

static void the_card_names_the_files_of_a_configuration(void **state)
{
    const folder *f = *state;
    char path[256], out[512];
    static const char card[] = "---\nlicense: mit\nconfigs:\n- config_name: en\n  data_files:\n"
                               "  - split: train\n    path: en/part-*\n  - split: test_sft\n"
                               "    path: [en/held.jsonl]\n- config_name: de\n%s"
                               "  data_files: de/*.jsonl\n---\n# A data set\n";
    char text[512];

    put(f, "card/en/part-1.jsonl");
    put(f, "card/en/part-2.jsonl");
    put(f, "card/en/held.jsonl");
    put(f, "card/de/a.jsonl");
    put(f, "card/README.md");
    (void)snprintf(text, sizeof text, card, "");
    folder_write(f, "card/README.md", text);
    axl_dataset_spec spec = entry(f, "card", path);
    assert_non_null(
        strstr(list(f, &spec, out), "has several configurations; give name: one of en, de"));
    (void)snprintf(text, sizeof text, card, "  default: true\n");
    folder_write(f, "card/README.md", text);
    assert_string_equal(list(f, &spec, out), "card/de/a.jsonl");
    spec.names = (const char *const[]){"en"};
    spec.n_names = 1;
    assert_string_equal(list(f, &spec, out), "card/en/part-1.jsonl card/en/part-2.jsonl");
    spec.split = "test_sft";
    assert_string_equal(list(f, &spec, out), "card/en/held.jsonl");
    spec.names = (const char *const[]){"fr"};
    assert_non_null(strstr(list(f, &spec, out), "name fr: README.md of "));
    spec = entry(f, "card", path);
    folder_write(f, "card/README.md", "---\nconfigs: [{data_files: gone-*}]\n---\n");
    assert_non_null(strstr(list(f, &spec, out), "README.md names gone-*; there is no such file"));
    folder_write(f, "card/README.md", "---\nconfigs: [\n---\n"); // broken: as if there were none
    assert_non_null(strstr(list(f, &spec, out), "card/en/part-1.jsonl"));
}

static void data_files_are_names_and_patterns(void **state)
{
    const folder *f = *state;
    char path[256], out[512];
    static const char *const some[] = {"b?.jsonl", "a.jsonl"};

    put(f, "some/a.jsonl");
    put(f, "some/b1.jsonl");
    put(f, "some/b2.jsonl");
    axl_dataset_spec spec = entry(f, "some", path);
    spec.data_files = some;
    spec.n_data_files = 2;
    assert_string_equal(list(f, &spec, out), "some/b1.jsonl some/b2.jsonl some/a.jsonl");
    char all[256];
    spec.path = "json"; // a word of the `datasets` library, no folder
    spec.data_files = (const char *const[]){folder_file(f, "some/b*.jsonl", all)};
    spec.n_data_files = 1;
    assert_string_equal(list(f, &spec, out), "some/b1.jsonl some/b2.jsonl");
    spec = entry(f, "some", path);
    spec.data_files = (const char *const[]){"c*.jsonl"};
    spec.n_data_files = 1;
    assert_non_null(strstr(list(f, &spec, out), "no file matches"));
    spec.data_files = (const char *const[]){"c.jsonl"};
    assert_non_null(strstr(list(f, &spec, out), "data_files c.jsonl: there is no"));
}

static void hub_names_are_looked_up_in_the_mirror(void **state)
{
    const folder *f = *state;
    char mirror[256], out[512];
    axl_dataset_spec spec = {.place = "run.yaml:3", .path = "some-org/chats"};

    spec.hub_folder = folder_file(f, "mirror", mirror);
    assert_non_null(
        strstr(list(f, &spec, out), "mirror/datasets/some-org/chats (hf download some-org/chats"));
    put(f, "mirror/hub/datasets--some-org--chats/snapshots/0123abcd/train.jsonl");
    put(f, "mirror/hub/datasets--some-org--chats/refs/main");
    folder_write(f, "mirror/hub/datasets--some-org--chats/refs/main", "0123abcd");
    assert_string_equal(list(f, &spec, out),
                        "mirror/hub/datasets--some-org--chats/snapshots/0123abcd/train.jsonl");
    spec.revision = "0123abcd";
    assert_string_equal(list(f, &spec, out),
                        "mirror/hub/datasets--some-org--chats/snapshots/0123abcd/train.jsonl");
    spec.revision = "v2";
    assert_non_null(strstr(list(f, &spec, out), "not downloaded"));
    put(f, "mirror/datasets/some-org/chats/train.jsonl");
    assert_string_equal(list(f, &spec, out), "mirror/datasets/some-org/chats/train.jsonl");
    spec.path = "https://example.org/a.jsonl";
    assert_non_null(strstr(list(f, &spec, out), "https:// is not opened"));
    spec.path = "s3://bucket/a.parquet";
    assert_non_null(strstr(list(f, &spec, out), "s3:// is not opened"));
    spec.path = "no/such/file.jsonl";
    assert_non_null(strstr(list(f, &spec, out), "there is no such file or folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_files_and_folders_tell_the_split),
        cmocka_unit_test(shards_below_data_name_any_split),
        cmocka_unit_test(files_without_a_split_are_the_train_split),
        cmocka_unit_test(saved_data_sets_name_their_files),
        cmocka_unit_test(a_configuration_is_a_folder),
        cmocka_unit_test(the_card_names_the_files_of_a_configuration),
        cmocka_unit_test(data_files_are_names_and_patterns),
        cmocka_unit_test(hub_names_are_looked_up_in_the_mirror),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
