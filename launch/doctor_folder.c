// Whether all ranks see the folder that checkpoints go to. The hard part is to leave nothing behind: where
// output_dir does not exist yet, the nearest folder above it is probed.
#include "launch/doctor.h"

#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PIECE_BYTES   ((size_t)1 << 20)
#define N_PIECES      32
#define WRITE_SECONDS 0.7

// What rank 0 tells the others: the file, and what it holds in front.
typedef struct message {
    char path[600], token[64], folder[512];
} message;

// path, or the nearest folder above it that exists.
static void existing_folder(const char *path, char *folder, size_t size)
{
    (void)snprintf(folder, size, "%s", path);
    while (!axl_path_is_dir(folder)) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash == folder) {
            (void)snprintf(folder, size, "%s", slash == NULL ? "." : "/");
            return;
        }
        *slash = '\0';
    }
}

static bool write_piece(int file, const char *piece)
{
    for (size_t at = 0; at < PIECE_BYTES;) {
        ssize_t n = write(file, piece + at, PIECE_BYTES - at);
        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return fdatasync(file) == 0;
}

// Writes the file and times it. A failure is described in d->folder_error.
static void write_file(axl_doctor *d, const message *m, char *piece)
{
    struct statvfs disk;
    double start = axl_now();
    int n = 0;
    int file = open(m->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = file >= 0;

    (void)snprintf(piece, PIECE_BYTES, "%s", m->token);
    while (good && n < N_PIECES && axl_now() - start < WRITE_SECONDS) {
        good = write_piece(file, piece);
        n++;
    }
    int why = errno;
    double seconds = axl_now() - start;
    if (file >= 0 && close(file) != 0 && good) {
        why = errno;
        good = false;
    }
    if (good)
        d->folder_rate = (double)n * (double)PIECE_BYTES / seconds;
    else
        (void)snprintf(d->folder_error, sizeof d->folder_error, "%s", strerror(why));
    if (statvfs(m->folder, &disk) == 0)
        d->folder_free = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
}

// The same name may be another file: the content decides, and its inode is reported.
static void look_for_file(const message *m, axl_doctor_rank *r)
{
    char found[sizeof m->token] = "";
    struct stat info;
    int file = open(m->path, O_RDONLY | O_CLOEXEC);

    if (file >= 0) {
        r->folder_seen = read(file, found, sizeof found) == (ssize_t)sizeof found &&
                         memcmp(found, m->token, sizeof found) == 0;
        if (fstat(file, &info) == 0)
            r->folder_inode = (uint64_t)info.st_ino;
        (void)close(file);
    }
    r->folder_writable = access(m->folder, W_OK | X_OK) == 0;
}

axl_status axl_doctor_folder(axl_doctor *d, axl_doctor_rank *r)
{
    axl_status status = AXL_OK;
    axl_comm *world = d->up.world;
    const axl_config *c = d->up.config;
    const bool first = axl_comm_rank(world) == 0;
    message m = {{0}, {0}, {0}};
    char *piece = NULL;

    if (first) {
        existing_folder(c->output_dir, m.folder, sizeof m.folder);
        (void)snprintf(m.token, sizeof m.token, "axl-dist doctor %ld %.9f", (long)getpid(),
                       axl_now());
        (void)snprintf(m.path, sizeof m.path, "%s/.axl_doctor_%s_%ld", m.folder, r->host,
                       (long)getpid());
        status = axl_calloc(PIECE_BYTES, 1, "a test file", &piece);
    }
    AXL_TRY(axl_comm_agree(world, status));
    AXL_TRY(axl_comm_bcast_bytes(world, &m, (int64_t)sizeof m, 0));
    memcpy(d->folder, m.folder, sizeof d->folder);
    if (first)
        write_file(d, &m, piece);
    AXL_TRY(axl_comm_barrier(world));
    look_for_file(&m, r);
    r->model_seen = c->base_model == NULL || axl_path_exists(c->base_model);
    AXL_TRY(axl_comm_barrier(world));

out:
    if (first && m.path[0] != '\0')
        (void)unlink(m.path);
    free(piece);
    return status;
}
