// The folders checkpoint-N of an output_dir. The hard part is that a kill may come between any two
// steps: a folder of that name is whole at every instant, because it gets and loses the name by one
// rename.
#include "sharding/ckpt_impl.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "checkpoint-"

axl_status axl_ckpt_put_shard(axl_str *out, int rank, int world)
{
    return axl_str_printf(out, "shard-%05d-of-%05d.h5", rank, world);
}

axl_status axl_ckpt_put_dir(axl_str *out, const char *dir, int64_t step, const char *suffix)
{
    return axl_str_printf(out, "%s/" PREFIX "%lld%s", dir, (long long)step, suffix);
}

axl_status axl_ckpt_put_set(axl_str *out, const char *group, const char *name)
{
    return axl_str_printf(out, "/%s/%s", group, name);
}

// The N of "checkpoint-N"; -1 for other names. *rest is what follows the digits.
static int64_t step_of(const char *name, const char **rest)
{
    char *end = NULL;

    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return -1;
    name += strlen(PREFIX);
    if (name[0] < '0' || name[0] > '9')
        return -1;
    errno = 0;
    const long long step = strtoll(name, &end, 10);
    *rest = end;
    return errno == 0 ? step : -1;
}

static int by_change(const void *a, const void *b)
{
    const axl_ckpt_dir *x = a, *y = b;

    if (x->changed_ns != y->changed_ns)
        return x->changed_ns < y->changed_ns ? -1 : 1;
    return x->step < y->step ? -1 : x->step > y->step;
}

axl_status axl_ckpt_scan(const char *dir, axl_ckpt_dir **out, size_t *n)
{
    axl_status status = AXL_OK;
    axl_ckpt_dir *list = NULL;
    size_t count = 0, capacity = 0;
    DIR *folder = opendir(dir);
    struct dirent *entry = NULL;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        const char *rest = "";
        const int64_t step = step_of(entry->d_name, &rest);
        struct stat info;
        if (step < 0 || rest[0] != '\0' || fstatat(dirfd(folder), entry->d_name, &info, 0) != 0 ||
            !S_ISDIR(info.st_mode))
            continue;
        AXL_TRY(axl_grow(&list, &capacity, count + 1, sizeof *list, "checkpoints"));
        list[count++] = (axl_ckpt_dir){.step = step,
                                       .changed_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 +
                                                     info.st_mtim.tv_nsec};
    }
    if (count > 0)
        qsort(list, count, sizeof *list, by_change);
    *out = list;
    *n = count;
    list = NULL;

out:
    if (folder != NULL)
        (void)closedir(folder);
    free(list);
    return status;
}

axl_status axl_ckpt_clean(const char *dir)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    DIR *folder = opendir(dir);
    struct dirent *entry = NULL;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        const char *rest = "";
        if (step_of(entry->d_name, &rest) < 0 || strcmp(rest, ".tmp") != 0)
            continue;
        axl_str_clear(&path);
        AXL_TRY(axl_str_printf(&path, "%s/%s", dir, entry->d_name));
        AXL_TRY(axl_path_remove(path.data));
    }

out:
    if (folder != NULL)
        (void)closedir(folder);
    axl_str_fini(&path);
    return status;
}

axl_status axl_ckpt_commit(const char *dir, int64_t step)
{
    axl_status status = AXL_OK;
    axl_str from = {0}, to = {0};

    AXL_TRY(axl_ckpt_put_dir(&from, dir, step, ".tmp"));
    AXL_TRY(axl_ckpt_put_dir(&to, dir, step, ""));
    AXL_TRY(axl_path_sync(from.data));
    if (rename(from.data, to.data) != 0) {
        AXL_REQUIRE(errno == ENOTEMPTY || errno == EEXIST, AXL_E_IO, "%s: cannot be renamed: %s",
                    from.data, strerror(errno));
        // A save of the same step: the two change names, and the old one goes.
        AXL_REQUIRE(renameat2(AT_FDCWD, from.data, AT_FDCWD, to.data, RENAME_EXCHANGE) == 0,
                    AXL_E_IO, "%s: cannot be replaced: %s", to.data, strerror(errno));
        AXL_TRY(axl_path_remove(from.data));
    }
    AXL_TRY(axl_path_sync(dir));

out:
    axl_str_fini(&from);
    axl_str_fini(&to);
    return status;
}

static bool is_kept(const axl_ckpt_options *o, int64_t step)
{
    if (step == o->step)
        return true;
    for (int i = 0; i < o->n_keep; i++) {
        const char *rest = "", *name = strrchr(o->keep[i], '/');
        if (step_of(name != NULL ? name + 1 : o->keep[i], &rest) == step)
            return true;
    }
    return false;
}

axl_status axl_ckpt_prune(const axl_ckpt_options *o)
{
    axl_status status = AXL_OK;
    axl_ckpt_dir *list = NULL;
    axl_str from = {0}, to = {0};
    size_t n = 0;

    if (o->save_total_limit <= 0)
        goto out;
    AXL_TRY(axl_ckpt_scan(o->dir, &list, &n));
    size_t left = n;
    for (size_t i = 0; i < n && left > (size_t)o->save_total_limit; i++) {
        if (is_kept(o, list[i].step))
            continue;
        axl_str_clear(&from);
        axl_str_clear(&to);
        AXL_TRY(axl_ckpt_put_dir(&from, o->dir, list[i].step, ""));
        AXL_TRY(axl_ckpt_put_dir(&to, o->dir, list[i].step, ".tmp"));
        AXL_REQUIRE(rename(from.data, to.data) == 0, AXL_E_IO, "%s: cannot be deleted: %s",
                    from.data, strerror(errno));
        AXL_TRY(axl_path_remove(to.data));
        left--;
    }

out:
    free(list);
    axl_str_fini(&from);
    axl_str_fini(&to);
    return status;
}

static int by_step_down(const void *a, const void *b)
{
    const int64_t x = ((const axl_ckpt_dir *)a)->step, y = ((const axl_ckpt_dir *)b)->step;
    return x > y ? -1 : x < y;
}

axl_status axl_ckpt_latest(const char *output_dir, char **out)
{
    axl_status status = AXL_OK;
    axl_ckpt_dir *list = NULL;
    axl_str path = {0};
    size_t n = 0;

    *out = NULL;
    AXL_TRY(axl_ckpt_scan(output_dir, &list, &n));
    if (n > 0)
        qsort(list, n, sizeof *list, by_step_down);
    for (size_t i = 0; i < n && *out == NULL; i++) {
        axl_ckpt *k = NULL;
        axl_str_clear(&path);
        AXL_TRY(axl_ckpt_put_dir(&path, output_dir, list[i].step, ""));
        if (axl_ckpt_open(path.data, &k) == AXL_OK)
            AXL_TRY(axl_strdup(path.data, out));
        else
            axl_warn("a checkpoint is passed over: %s", axl_error_message());
        axl_ckpt_close(k);
    }

out:
    free(list);
    axl_str_fini(&path);
    return status;
}
