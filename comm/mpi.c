// The MPI transport: start and end, communicators, and the blocking helpers. The hard part is that a
// blocking MPI call would stop the queued collectives of this rank, so every wait here is a loop of
// tests that also moves the streams on.
#include "comm/mpi_transport.h"

#include "src/base/mem.h"

#include <limits.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES ((int64_t)1 << 30) // one message at most: MPI counts are int

enum { TAG_SIZE = 1, TAG_DATA = 2 };

axl_status axl_mpi_error(int code, const char *call)
{
    char text[MPI_MAX_ERROR_STRING] = "unknown";
    int n = 0;

    (void)MPI_Error_string(code, text, &n);
    return axl_error_set(AXL_E_COMM, __FILE__, __LINE__, "%.*s: %s", (int)strcspn(call, "("), call,
                         text);
}

// NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker): wait_for waits, by a loop of MPI_Test
static axl_status wait_for(axl_comm *c, MPI_Request *request)
{
    axl_status status = AXL_OK;
    int done = 0;

    for (int64_t round = 0;; round++) {
        AXL_MPI(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done)
            break;
        AXL_TRY(axl_comm_idle(c, round));
    }

out:
    return status;
}

static int message_size(int64_t left)
{
    return (int)(left < MESSAGE_BYTES ? left : MESSAGE_BYTES);
}

static axl_status mpi_barrier(axl_comm *c)
{
    axl_status status = AXL_OK;
    mpi_state *m = c->impl;
    MPI_Request request = MPI_REQUEST_NULL;

    AXL_MPI(MPI_Ibarrier(m->host, &request));
    AXL_TRY_CTX(wait_for(c, &request), "barrier on axis %s", c->name);

out:
    return status;
}

static axl_status mpi_bcast(axl_comm *c, void *bytes, int64_t n, int root)
{
    axl_status status = AXL_OK;
    mpi_state *m = c->impl;

    for (int64_t at = 0; at < n; at += MESSAGE_BYTES) {
        MPI_Request request = MPI_REQUEST_NULL;
        AXL_MPI(MPI_Ibcast((char *)bytes + at, message_size(n - at), MPI_BYTE, root, m->host,
                           &request));
        AXL_TRY_CTX(wait_for(c, &request), "broadcast on axis %s", c->name);
    }

out:
    return status;
}

static axl_status mpi_all_gather(axl_comm *c, const void *mine, void *all, int64_t n)
{
    axl_status status = AXL_OK;
    mpi_state *m = c->impl;
    MPI_Request request = MPI_REQUEST_NULL;

    AXL_REQUIRE(n <= INT_MAX / c->size, AXL_E_BUG, "axis %s: %lld bytes are no small array",
                c->name, (long long)n);
    AXL_MPI(MPI_Iallgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE, m->host, &request));
    AXL_TRY_CTX(wait_for(c, &request), "reduction on axis %s", c->name);

out:
    return status;
}

// One rank's bytes to rank 0, in messages that an int can count.
static axl_status gather_one(axl_comm *c, char *bytes, int64_t n, int from)
{
    axl_status status = AXL_OK;
    mpi_state *m = c->impl;

    for (int64_t at = 0; at < n; at += MESSAGE_BYTES) {
        MPI_Request request = MPI_REQUEST_NULL;
        if (c->rank == 0)
            AXL_MPI(MPI_Irecv(bytes + at, message_size(n - at), MPI_BYTE, from, TAG_DATA, m->host,
                              &request));
        else
            AXL_MPI(MPI_Isend(bytes + at, message_size(n - at), MPI_BYTE, 0, TAG_DATA, m->host,
                              &request));
        AXL_TRY_CTX(wait_for(c, &request), "gather on axis %s", c->name);
    }

out:
    return status;
}

static axl_status mpi_gather(axl_comm *c, const void *bytes, int64_t n, axl_str *out,
                             int64_t *sizes)
{
    axl_status status = AXL_OK;
    char *part = NULL;
    int64_t *all = NULL; // [size]

    AXL_TRY(axl_calloc((size_t)c->size, sizeof *all, "sizes", &all));
    AXL_TRY(mpi_all_gather(c, &n, all, (int64_t)sizeof n));
    if (c->rank != 0) {
        AXL_TRY(axl_calloc((size_t)n, 1, "bytes to send", &part));
        if (n > 0)
            memcpy(part, bytes, (size_t)n);
        AXL_TRY(gather_one(c, part, n, c->rank));
        goto out;
    }
    AXL_TRY(axl_str_append(out, bytes, (size_t)n));
    for (int r = 1; r < c->size; r++) {
        free(part);
        part = NULL;
        AXL_TRY(axl_calloc((size_t)all[r], 1, "gathered bytes", &part));
        AXL_TRY(gather_one(c, part, all[r], r));
        AXL_TRY(axl_str_append(out, part, (size_t)all[r]));
    }
    if (sizes != NULL)
        memcpy(sizes, all, (size_t)c->size * sizeof *all);

out:
    free(part);
    free(all);
    return status;
}

// NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker)

// Up to the first comma: what follows is about the package.
static axl_status mpi_library(axl_str *out)
{
    axl_status status = AXL_OK;
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int n = 0;

    AXL_MPI(MPI_Get_library_version(text, &n));
    AXL_TRY(axl_str_append(out, text, strcspn(text, ",\n")));

out:
    return status;
}

static void mpi_abort(axl_comm *c, int exit_code)
{
    (void)c;
    (void)MPI_Abort(MPI_COMM_WORLD, exit_code);
}

static void mpi_finalize(void)
{
    (void)MPI_Finalize();
}

static void mpi_destroy(axl_comm *c)
{
    mpi_state *m = c->impl;

    if (m == NULL)
        return;
    if (m->queued != MPI_COMM_NULL)
        (void)MPI_Comm_free(&m->queued);
    if (m->host != MPI_COMM_NULL)
        (void)MPI_Comm_free(&m->host);
    free(m);
    c->impl = NULL;
}

// Who shares this host, and over how many hosts c spreads.
static axl_status find_hosts(axl_comm *c, MPI_Comm comm)
{
    axl_status status = AXL_OK;
    MPI_Comm local = MPI_COMM_NULL;
    int first = 0;

    AXL_MPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &local));
    AXL_MPI(MPI_Comm_rank(local, &c->local_rank));
    AXL_MPI(MPI_Comm_size(local, &c->local_size));
    first = c->local_rank == 0;
    AXL_MPI(MPI_Allreduce(&first, &c->n_hosts, 1, MPI_INT, MPI_SUM, comm));

out:
    if (local != MPI_COMM_NULL)
        (void)MPI_Comm_free(&local);
    return status;
}

// Fills c from comm, which it takes over.
static axl_status set_up(axl_comm *c, MPI_Comm comm)
{
    axl_status status = AXL_OK;
    mpi_state *m = NULL;
    int *limit = NULL, found = 0;

    AXL_TRY(axl_calloc(1, sizeof *m, "a communicator", &m));
    c->transport = &axl_transport_mpi;
    c->impl = m;
    m->queued = comm;
    m->host = MPI_COMM_NULL;
    AXL_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    AXL_MPI(MPI_Comm_dup(comm, &m->host));
    AXL_MPI(MPI_Comm_rank(comm, &c->rank));
    AXL_MPI(MPI_Comm_size(comm, &c->size));
    AXL_MPI(MPI_Comm_get_attr(comm, MPI_TAG_UB, &limit, &found));
    m->tag_limit = found && *limit < INT_MAX ? *limit : INT_MAX - 1;
    AXL_TRY(find_hosts(c, comm));

out:
    return status;
}

static axl_status mpi_split(axl_comm *parent, int color, int key, axl_comm *child, bool *member)
{
    axl_status status = AXL_OK;
    mpi_state *m = parent->impl;
    MPI_Comm part = MPI_COMM_NULL;
    int size = 0;

    AXL_MPI(MPI_Comm_split(m->host, color < 0 ? MPI_UNDEFINED : color, key, &part));
    *member = part != MPI_COMM_NULL;
    if (!*member)
        goto out;
    AXL_MPI(MPI_Comm_size(part, &size));
    if (size == 1) {
        (void)MPI_Comm_free(&part);
        axl_self_init(child);
    } else {
        AXL_TRY(set_up(child, part));
    }

out:
    return status;
}

// Bridges that containers and virtual machines bring: every host gives its own the same address, and
// Open MPI takes that for a network between the hosts and waits on it for ever.
static bool leads_nowhere(const char *name)
{
    static const char *const prefixes[] = {"docker", "podman", "cni", "virbr", "lxcbr", "lxdbr"};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    // networks of Docker: br- and twelve digits
    return strncmp(name, "br-", 3) == 0 && strlen(name) == 15 &&
           strspn(name + 3, "0123456789abcdef") == 12;
}

// Excludes them, unless the user has chosen networks. A host without such a bridge is left alone, with
// what its administrator may have set in Open MPI's own files.
static axl_status choose_networks(void)
{
    axl_status status = AXL_OK;
    axl_str list = {0};
    bool found = false;
    struct if_nameindex *all = if_nameindex();

    if (all == NULL || getenv("OMPI_MCA_btl_tcp_if_include") != NULL ||
        getenv("OMPI_MCA_btl_tcp_if_exclude") != NULL)
        goto out;
    AXL_TRY(axl_str_puts(&list, "127.0.0.0/8"));
    for (const struct if_nameindex *i = all; i->if_name != NULL; i++) {
        if (!leads_nowhere(i->if_name))
            continue;
        AXL_TRY(axl_str_printf(&list, ",%s", i->if_name));
        found = true;
    }
    if (found)
        (void)setenv("OMPI_MCA_btl_tcp_if_exclude", list.data, 0);

out:
    if (all != NULL)
        if_freenameindex(all);
    axl_str_fini(&list);
    return status;
}

axl_status axl_mpi_init(int *argc, char ***argv, axl_comm *world)
{
    axl_status status = AXL_OK;
    MPI_Comm comm = MPI_COMM_NULL;
    int level = MPI_THREAD_SINGLE;

    AXL_TRY(choose_networks());
    AXL_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &level));
    world->transport = &axl_transport_mpi; // from here on its end is MPI's end
    world->root->threads = level == MPI_THREAD_MULTIPLE;
    AXL_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    AXL_TRY(set_up(world, comm));

out:
    return status;
}

const axl_transport axl_transport_mpi = {
    .name = "mpi",
    .library = mpi_library,
    .split = mpi_split,
    .destroy = mpi_destroy,
    .plan = axl_mpi_plan,
    .poll = axl_mpi_poll,
    .task_fini = axl_mpi_task_fini,
    .barrier = mpi_barrier,
    .bcast = mpi_bcast,
    .gather = mpi_gather,
    .all_gather = mpi_all_gather,
    .abort = mpi_abort,
    .finalize = mpi_finalize,
};
