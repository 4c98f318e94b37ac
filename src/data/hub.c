// The home directory comes from the user's account, not from the environment.
#include "src/data/hub.h"

#include "src/io/file.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

static axl_status mirror_of(const axl_dataset_spec *spec, axl_str *out)
{
    axl_status status = AXL_OK;
    struct passwd entry, *user = NULL;
    char space[4096];

    if (spec->hub_folder != NULL) {
        AXL_TRY(axl_str_puts(out, spec->hub_folder));
        goto out;
    }
    int code = getpwuid_r(geteuid(), &entry, space, sizeof space, &user);
    const char *home = code == 0 && user != NULL ? user->pw_dir : "/root";
    AXL_TRY(axl_str_printf(out, "%s/.cache/huggingface", home));

out:
    return status;
}

// M/hub/datasets--org--name/snapshots/COMMIT, where refs/REVISION holds the commit.
static axl_status find_snapshot(const axl_dataset_spec *spec, const char *mirror, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *slash = strchr(spec->path, '/');
    const char *revision = spec->revision != NULL ? spec->revision : "main";
    axl_str repo = {0}, ref = {0}, commit = {0};

    AXL_TRY(axl_str_printf(&repo, "%s/hub/datasets--%.*s--%s", mirror, (int)(slash - spec->path),
                           spec->path, slash + 1));
    AXL_TRY(axl_str_printf(&ref, "%s/refs/%s", repo.data, revision));
    if (axl_path_exists(ref.data))
        AXL_TRY(axl_file_read(ref.data, &commit));
    else
        AXL_TRY(axl_str_puts(&commit, revision));
    commit.len = strcspn(commit.data != NULL ? commit.data : "", "\r\n ");
    AXL_TRY(axl_str_printf(out, "%s/snapshots/%.*s", repo.data, (int)commit.len,
                           commit.data != NULL ? commit.data : ""));

out:
    axl_str_fini(&repo);
    axl_str_fini(&ref);
    axl_str_fini(&commit);
    return status;
}

axl_status axl_hub_find(const axl_dataset_spec *spec, axl_str *out)
{
    axl_status status = AXL_OK;
    const char *slash = strchr(spec->path, '/');
    bool is_name = slash != NULL && slash != spec->path && strchr(slash + 1, '/') == NULL &&
                   slash[1] != '\0' && spec->path[0] != '.' && slash[1] != '.';
    axl_str mirror = {0}, folder = {0}, snapshot = {0};

    AXL_REQUIRE(is_name, AXL_E_INPUT,
                "%s: data set %s: there is no such file or folder; data sets are not downloaded: "
                "put the files there, or give their path",
                spec->place, spec->path);
    AXL_TRY(mirror_of(spec, &mirror));
    AXL_TRY(axl_str_printf(&folder, "%s/datasets/%s", mirror.data, spec->path));
    if (!axl_path_is_dir(folder.data)) {
        AXL_TRY(find_snapshot(spec, mirror.data, &snapshot));
        AXL_REQUIRE(axl_path_is_dir(snapshot.data), AXL_E_INPUT,
                    "%s: data set %s: there is no such file or folder, and data sets are not "
                    "downloaded: put its files into %s (hf download %s --repo-type dataset "
                    "--local-dir %s), or give their path",
                    spec->place, spec->path, folder.data, spec->path, folder.data);
    }
    AXL_TRY(axl_str_puts(out, snapshot.len > 0 ? snapshot.data : folder.data));

out:
    axl_str_fini(&mirror);
    axl_str_fini(&folder);
    axl_str_fini(&snapshot);
    return status;
}
