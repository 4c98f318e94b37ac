// What is subtle is a record of which a disk took a part: the rest stands first among those that wait, so the file never
// has a torn record but at its end.
#include "src/io/append.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct axl_append {
    char *path; // owned
    int fd;
    axl_str waiting; // bytes that are not in the file yet
    size_t dropped;  // bytes that had to go
    int error;       // errno of the latest try; 0: it wrote all
};

axl_status axl_append_open(const char *path, axl_append **out)
{
    axl_status status = AXL_OK;
    axl_append *a = NULL;

    AXL_TRY(axl_calloc(1, sizeof *a, path, &a));
    a->fd = -1;
    AXL_TRY(axl_strdup(path, &a->path));
    a->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (a->fd < 0)
        AXL_TRY(axl_write_failed(path));
    *out = a;
    a = NULL; // handed to the caller
out:
    (void)axl_append_close(a);
    return status;
}

static void flush(axl_append *a)
{
    size_t done = 0;

    a->error = 0;
    while (done < a->waiting.len && a->error == 0) {
        const ssize_t n = write(a->fd, a->waiting.data + done, a->waiting.len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            a->error = n == 0 ? ENOSPC : errno;
    }
    a->waiting.len -= done;
    if (done > 0 && a->waiting.len > 0)
        memmove(a->waiting.data, a->waiting.data + done, a->waiting.len);
}

void axl_append_put(axl_append *a, const void *record, size_t n)
{
    const bool failed = a->error != 0;

    flush(a); // what waits makes room
    if (a->waiting.len + n > AXL_APPEND_KEPT_BYTES ||
        axl_str_append(&a->waiting, record, n) != AXL_OK)
        a->dropped += n;
    flush(a);
    if (a->error != 0 && !failed)
        axl_warn("%s: cannot be written: %s%s; the run goes on, and adds what is missing when it "
                 "can",
                 a->path, strerror(a->error), axl_write_hint(a->error));
    if (a->error == 0 && failed)
        axl_info("%s: is written again", a->path);
}

size_t axl_append_missing(const axl_append *a)
{
    return a->waiting.len + a->dropped;
}

axl_status axl_append_close(axl_append *a)
{
    axl_status status = AXL_OK;

    if (a == NULL)
        goto out;
    if (a->fd >= 0) {
        flush(a);
        if (close(a->fd) != 0 && a->error == 0)
            a->error = errno;
    }
    AXL_REQUIRE(a->error == 0 && axl_append_missing(a) == 0, AXL_E_IO,
                "%s: %zu bytes could not be written%s%s%s", a->path, axl_append_missing(a),
                a->error != 0 ? ": " : "", a->error != 0 ? strerror(a->error) : "",
                axl_write_hint(a->error));
out:
    if (a != NULL) {
        axl_str_fini(&a->waiting);
        free(a->path);
        free(a);
    }
    return status;
}
