// RUN: np=1
// Files in the making: contents at every place, one name at the end, and nothing left of a maker that died.
#include "src/io/file.h"
#include "src/io/spill.h"
#include "tests/check.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], target[128];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/axl_spill_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(target, sizeof target, "%s/sets/one.axl", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return axl_path_remove(folder) == AXL_OK ? 0 : -1;
}

static int count_files(void)
{
    char path[128];
    int n = 0;

    (void)snprintf(path, sizeof path, "%s/sets", folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static void sweep(void)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/sets", folder);
    axl_spill_sweep(path, ".axl");
}

static void bytes_are_where_they_were_put(void **state)
{
    (void)state;
    enum { N = 300000 };
    axl_spill *s = NULL, *other = NULL;
    static int32_t values[N], back[N];
    axl_str file = {0};

    for (int32_t i = 0; i < N; i++)
        values[i] = i * 7;
    CHECK_OK(axl_spill_create(target, true, &s));
    CHECK_OK(axl_spill_create(target, false, &other));
    assert_int_equal(count_files(), 1);
    for (int i = 0; i < N; i += 1000) // smaller than the buffer
        CHECK_OK(axl_spill_put(other, values + i, 1000 * sizeof *values));
    CHECK_OK(axl_spill_put(s, "head", 4));
    CHECK_OK(axl_spill_put(s, values, sizeof values)); // larger than the buffer
    assert_int_equal(axl_spill_size(s), 4 + (int64_t)sizeof values);
    CHECK_OK(axl_spill_read(other, 0, back, sizeof back));
    assert_memory_equal(back, values, sizeof back);
    // moved down in place, then another file's bytes behind
    CHECK_OK(axl_spill_copy(s, 4, s, 4 + 4 * 100, 4 * (N - 100)));
    CHECK_OK(axl_spill_resize(s, 4 + 4 * (N - 100)));
    CHECK_OK(axl_spill_copy(s, axl_spill_size(s), other, 0, 4 * 100));
    CHECK_OK(axl_spill_write(s, 0, "HEAD", 4));
    CHECK_OK(axl_spill_publish(s));
    axl_spill_destroy(s);
    axl_spill_destroy(other);
    assert_int_equal(count_files(), 1);
    CHECK_OK(axl_file_read(target, &file));
    assert_int_equal(file.len, 4 + sizeof values);
    assert_memory_equal(file.data, "HEAD", 4);
    assert_memory_equal(file.data + 4, values + 100, sizeof values - 400);
    assert_memory_equal(file.data + file.len - 400, values, 400);
    axl_str_fini(&file);
    CHECK_OK(axl_path_remove(target));
}

static void what_is_not_published_is_gone(void **state)
{
    (void)state;
    axl_spill *s = NULL;

    CHECK_OK(axl_spill_create(target, true, &s));
    CHECK_OK(axl_spill_put(s, "x", 1));
    assert_int_equal(count_files(), 1);
    axl_spill_destroy(s);
    assert_int_equal(count_files(), 0);
}

static void only_the_files_of_dead_makers_are_swept(void **state)
{
    (void)state;
    axl_spill *mine = NULL, *s = NULL;
    int code = 0;

    CHECK_OK(axl_spill_create(target, true, &mine));
    pid_t child = fork();
    if (child == 0) { // dies in the middle
        _exit(axl_spill_create(target, true, &s) == AXL_OK && axl_spill_put(s, "x", 1) == AXL_OK
                  ? 7
                  : 1);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(WEXITSTATUS(code), 7);
    assert_int_equal(count_files(), 2);
    sweep();
    assert_int_equal(count_files(), 1);
    CHECK_OK(axl_spill_publish(mine)); // it was not touched
    axl_spill_destroy(mine);
    sweep();
    assert_int_equal(count_files(), 1); // a finished file is no temporary
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_where_they_were_put),
        cmocka_unit_test(what_is_not_published_is_gone),
        cmocka_unit_test(only_the_files_of_dead_makers_are_swept),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
