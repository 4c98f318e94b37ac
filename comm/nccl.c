// Communicators of NCCL: whether to use it, making and ending them, and what it reports about failures. The hard part is
// that ranks must come to the same decision and never wait for each other inside the library, so each fact is told
// to all over MPI first.
#include "comm/nccl.h"

#include "src/base/log.h"
#include "src/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define END_SECONDS 10.0 // for the others to end a communicator with this rank

// ---- calls and their results

axl_status axl_nccl_check(const axl_nccl *n, axl_nccl_handle h, axl_nccl_result code,
                          const char *call)
{
    if (code == AXL_NCCL_OK || code == AXL_NCCL_IN_PROGRESS)
        return AXL_OK;
    const char *more = n->call.last_error(h);
    return axl_error_set(AXL_E_COMM, __FILE__, __LINE__, "NCCL: %s: %s%s%s", call,
                         n->call.error_text(code), more != NULL && more[0] != '\0' ? ": " : "",
                         more != NULL ? more : "");
}

axl_status axl_nccl_settle(axl_comm *c, axl_nccl_handle h, const char *op, int64_t bytes)
{
    axl_status status = AXL_OK;
    axl_nccl *n = c->root->nccl;
    axl_nccl_result state = AXL_NCCL_IN_PROGRESS;
    bool waited = false;

    for (int64_t round = 0;; round++) {
        (void)pthread_mutex_lock(&n->lock);
        const axl_nccl_result code = n->call.state(h, &state);
        status = axl_nccl_check(n, h, code != AXL_NCCL_OK ? code : state, "setting up");
        (void)pthread_mutex_unlock(&n->lock);
        if (status != AXL_OK || state != AXL_NCCL_IN_PROGRESS)
            break;
        if (!waited)
            axl_flight_wait(&c->root->flight, op, c->axis, bytes, NULL);
        waited = true;
        AXL_TRY(axl_comm_idle(c, round));
    }
    if (waited && status == AXL_OK)
        axl_flight_go_on(&c->root->flight);

out:
    return status;
}

bool axl_nccl_failed(axl_comm_root *root, char *text, size_t bytes)
{
    axl_nccl *n = __atomic_load_n(&root->nccl, __ATOMIC_ACQUIRE);
    bool failed = false;

    if (n == NULL || pthread_mutex_trylock(&n->lock) != 0)
        return false; // busy: the next look is soon
    for (const axl_nccl_comm *c = n->first; c != NULL && !failed; c = c->next) {
        axl_nccl_result state = AXL_NCCL_OK;
        const axl_nccl_result code = n->call.state(c->handle, &state);
        const axl_nccl_result worse = code != AXL_NCCL_OK ? code : state;
        failed = worse != AXL_NCCL_OK && worse != AXL_NCCL_IN_PROGRESS;
        if (failed) {
            const char *more = n->call.last_error(c->handle);
            (void)snprintf(text, bytes, "NCCL failed on axis %s: %s%s%s", c->axis,
                           n->call.error_text(worse), more != NULL && more[0] != '\0' ? ": " : "",
                           more != NULL ? more : "");
        }
    }
    (void)pthread_mutex_unlock(&n->lock);
    return failed;
}

// Under a watch another rank is mostly named as the cause; without one its words are all there will be.
axl_status axl_nccl_look(axl_comm_root *root)
{
    axl_status status = AXL_OK;
    const axl_flight *f = &root->flight;
    char text[256] = "", doing[160] = "";

    if (axl_watch_looks(root->watch) || !axl_nccl_failed(root, text, sizeof text))
        goto out;
    if (f->device.op != NULL)
        (void)snprintf(doing, sizeof doing,
                       "; the last that the device was given: %s on axis %s (%lld bytes)",
                       f->device.op, f->device.axis, (long long)f->device.bytes);
    AXL_FAIL(AXL_E_COMM, "%s%s", text, doing);

out:
    return status;
}

// ---- whether to use it

// What each rank tells all others.
typedef struct facts {
    char machine[64], card[32]; // card "": no GPU
    char why[64];               // without the library
    int version;                // 0: none
    int shares;                 // the user allows several ranks on one GPU
} facts;

// Containers of one machine may have names of their own, but one boot.
static void name_machine(char *out, size_t bytes)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

    if (f == NULL || fgets(out, (int)bytes, f) == NULL)
        (void)gethostname(out, bytes - 1);
    if (f != NULL)
        (void)fclose(f);
}

// The library is opened once, and only by a rank with a GPU.
static axl_status load(axl_comm_root *root, facts *mine)
{
    axl_status status = AXL_OK;
    axl_nccl *n = root->nccl;
    const char *shares = getenv("NCCL_MULTI_RANK_GPU_ENABLE");

    if (n == NULL) {
        AXL_TRY(axl_calloc(1, sizeof *n, "NCCL", &n));
        (void)pthread_mutex_init(&n->lock, NULL);
        // Kernels of several communicators run at once and wait for their peers: they start in the program's order,
        // which is that of all ranks.
        (void)setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
        if (axl_nccl_load(&n->call, &n->why) && n->call.get_version(&n->version) == AXL_NCCL_OK)
            n->why = "";
        __atomic_store_n(&root->nccl, n, __ATOMIC_RELEASE);
    }
    mine->version = n->version;
    mine->shares = shares != NULL && strcmp(shares, "1") == 0;
    (void)snprintf(mine->why, sizeof mine->why, "%s", n->why);

out:
    return status;
}

// Why these ranks cannot use it; "": they can.
static void decide(const facts *all, int size, char *why, size_t bytes)
{
    for (int r = 0; r < size; r++) {
        const facts *f = &all[r];
        if (f->card[0] == '\0') {
            (void)snprintf(why, bytes, "rank %d has no GPU", r);
            return;
        }
        if (f->version == 0) {
            (void)snprintf(why, bytes, "%s, on rank %d", f->why, r);
            return;
        }
        if (f->version != all[0].version) {
            (void)snprintf(why, bytes, "rank %d has version %d, rank 0 version %d", r, f->version,
                           all[0].version);
            return;
        }
        for (int q = 0; q < r; q++) {
            const bool same =
                strcmp(f->machine, all[q].machine) == 0 && strcmp(f->card, all[q].card) == 0;
            if (same && (f->version < AXL_NCCL_SHARES_GPUS || !f->shares || !all[q].shares)) {
                (void)snprintf(why, bytes,
                               "ranks %d and %d share a GPU, which needs NCCL 2.30 and "
                               "NCCL_MULTI_RANK_GPU_ENABLE=1",
                               q, r);
                return;
            }
        }
    }
    why[0] = '\0';
}

// all [size * n] bytes from each rank's mine [n], over MPI; a rank that does not come is named.
static axl_status tell_all(axl_comm *c, const void *mine, void *all, int64_t n)
{
    axl_status status = AXL_OK;

    axl_flight_start(&c->root->flight);
    axl_flight_wait(&c->root->flight, "gather", c->axis, n, NULL);
    AXL_TRY(c->transport->all_gather(c, mine, all, n));
    axl_flight_go_on(&c->root->flight);

out:
    return status;
}

static axl_status ask_all(axl_comm *world, const axl_device *device, char *why, size_t bytes)
{
    axl_status status = AXL_OK;
    facts mine = {.version = 0}, *all = NULL;

    name_machine(mine.machine, sizeof mine.machine);
    (void)snprintf(mine.card, sizeof mine.card, "%s", device->card);
    if (mine.card[0] != '\0')
        AXL_TRY(load(world->root, &mine));
    AXL_TRY(axl_calloc((size_t)world->size, sizeof *all, "GPUs of all ranks", &all));
    AXL_TRY(tell_all(world, &mine, all, (int64_t)sizeof mine));
    decide(all, world->size, why, bytes);

out:
    free(all);
    return status;
}

// ---- communicators

static axl_nccl_config config(void)
{
    axl_nccl_config c = AXL_NCCL_CONFIG;

    c.blocking = 0;
    return c;
}

// How many neighbours in rank each host holds, when it is the same power of two everywhere.
static axl_status find_block(axl_comm *c, int *block)
{
    axl_status status = AXL_OK;
    const int mine[2] = {c->local_rank, c->local_size};
    int(*all)[2] = NULL; // [size]
    bool regular = (c->local_size & (c->local_size - 1)) == 0;

    AXL_TRY(axl_calloc((size_t)c->size, sizeof mine, "places of all ranks", &all));
    AXL_TRY(tell_all(c, mine, all, (int64_t)sizeof mine));
    for (int r = 0; r < c->size; r++)
        regular = regular && all[r][1] == c->local_size && all[r][0] == r % c->local_size;
    *block = regular ? c->local_size : 0;

out:
    free(all);
    return status;
}

// c takes over h, which is ready or not yet.
static axl_status adopt(axl_comm *c, axl_nccl_handle h)
{
    axl_status status = AXL_OK;
    axl_nccl *n = c->root->nccl;
    axl_nccl_comm *x = NULL;

    AXL_TRY(axl_calloc(1, sizeof *x, "a communicator", &x));
    x->handle = h;
    x->axis = c->axis;
    c->nccl = x;
    (void)pthread_mutex_lock(&n->lock);
    x->next = n->first;
    n->first = x;
    (void)pthread_mutex_unlock(&n->lock);
    AXL_TRY(axl_nccl_settle(c, h, "split", 0));
    AXL_TRY(find_block(c, &x->block));

out:
    return status;
}

static axl_status init(axl_comm *world)
{
    axl_status status = AXL_OK;
    axl_nccl *n = world->root->nccl;
    axl_nccl_config how = config();
    axl_nccl_handle h = NULL;
    axl_nccl_id id = {.bytes = {0}};

    if (world->rank == 0)
        status = axl_nccl_check(n, NULL, n->call.get_id(&id), "ncclGetUniqueId");
    AXL_TRY(axl_comm_agree(world, status));
    AXL_TRY(axl_comm_bcast_bytes(world, &id, (int64_t)sizeof id, 0));
    AXL_TRY(axl_nccl_check(n, NULL, n->call.init(&h, world->size, id, world->rank, &how),
                           "ncclCommInitRankConfig"));
    AXL_TRY(adopt(world, h));

out:
    return status;
}

axl_status axl_nccl_use(axl_comm *world, axl_device *device)
{
    axl_status status = AXL_OK;
    char why[160] = "";

    if (world->size == 1) { // needs none; only for who asks which there is
        facts mine = {.version = 0};
        if (device->card[0] != '\0')
            AXL_TRY(load(world->root, &mine));
        (void)snprintf(world->root->no_nccl, sizeof world->root->no_nccl, "%s", mine.why);
        goto out;
    }
    AXL_TRY(ask_all(world, device, why, sizeof why));
    if (why[0] != '\0' && device->card[0] != '\0')
        (void)snprintf(world->root->no_nccl, sizeof world->root->no_nccl, "%s", why);
    if (why[0] != '\0')
        goto out;
    world->root->no_nccl[0] = '\0';
    AXL_TRY(axl_comm_agree(world, axl_nccl_landing_create(world->root, device)));
    if (world->nccl == NULL)
        AXL_TRY_CTX(init(world), "axis %s", world->name);

out:
    return status;
}

// The library writes *child when the parent has come to rest, and no sooner.
axl_status axl_nccl_split(axl_comm *parent, int color, axl_comm *child, bool member)
{
    axl_status status = AXL_OK;
    axl_nccl *n = parent->root->nccl;
    axl_nccl_config how = config();
    axl_nccl_handle h = NULL;
    const bool wants = member && child->size > 1; // one rank alone needs no library
    const axl_nccl_handle from = parent->nccl->handle;

    (void)pthread_mutex_lock(&n->lock);
    const axl_nccl_result code =
        n->call.split(from, wants ? color : AXL_NCCL_NO_COLOR, wants ? child->rank : 0, &h, &how);
    status = axl_nccl_check(n, from, code, "ncclCommSplit");
    (void)pthread_mutex_unlock(&n->lock);
    AXL_TRY(status);
    AXL_TRY(axl_nccl_settle(parent, from, "split", 0));
    if (wants)
        AXL_TRY(adopt(child, h));

out:
    return status;
}

// True: whatever was under way has ended well.
static bool settles(axl_comm *c, axl_nccl_handle h, double seconds)
{
    axl_nccl *n = c->root->nccl;
    const double begin = axl_now();
    axl_nccl_result state = AXL_NCCL_IN_PROGRESS;

    for (int64_t round = 0; state == AXL_NCCL_IN_PROGRESS && axl_now() - begin < seconds; round++) {
        (void)pthread_mutex_lock(&n->lock);
        if (n->call.state(h, &state) != AXL_NCCL_OK)
            state = AXL_NCCL_IN_PROGRESS + 1;
        (void)pthread_mutex_unlock(&n->lock);
        if (state == AXL_NCCL_IN_PROGRESS && axl_comm_idle(c, round) != AXL_OK)
            return false;
    }
    return state == AXL_NCCL_OK;
}

static void forget(axl_nccl *n, const axl_nccl_comm *x)
{
    axl_nccl_comm **at = &n->first;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
}

// The others may have gone without a word: then it ends here alone.
void axl_nccl_leave(axl_comm *c)
{
    axl_nccl_comm *x = c->nccl;

    if (x == NULL)
        return;
    axl_nccl *n = c->root->nccl;
    for (size_t i = 0; i < x->n_registered; i++)
        if (x->registered[i].handle != NULL)
            (void)n->call.release(x->handle, x->registered[i].handle);
    (void)pthread_mutex_lock(&n->lock);
    forget(n, x);
    axl_nccl_result state = AXL_NCCL_OK;
    const bool well = n->call.state(x->handle, &state) == AXL_NCCL_OK && state == AXL_NCCL_OK &&
                      axl_nccl_check(n, x->handle, n->call.finalize(x->handle), "end") == AXL_OK;
    (void)pthread_mutex_unlock(&n->lock);
    if (well && settles(c, x->handle, END_SECONDS))
        (void)n->call.destroy(x->handle);
    else
        (void)n->call.abort(x->handle);
    free(x->registered);
    free(x);
    c->nccl = NULL;
}

void axl_nccl_end(axl_comm_root *root)
{
    if (root->nccl == NULL)
        return;
    (void)pthread_mutex_destroy(&root->nccl->lock);
    free(root->nccl->linked);
    free(root->nccl);
    root->nccl = NULL;
}

axl_status axl_comm_gpu_library(const axl_comm *world, axl_str *out)
{
    const axl_nccl *n = world->root->nccl;

    if (n == NULL)
        return AXL_OK;
    if (world->root->no_nccl[0] == '\0')
        return axl_str_printf(out, "NCCL %d.%d.%d", n->version / 10000, n->version / 100 % 100,
                              n->version % 100);
    return axl_str_printf(out, "host memory and MPI, not NCCL: %s", world->root->no_nccl);
}

// ---- memory that it knows

static void **find_linked(const axl_nccl *n, const void *memory)
{
    for (size_t i = 0; n != NULL && i < n->n_linked; i++)
        if (n->linked[i] == memory)
            return &n->linked[i];
    return NULL;
}

axl_status axl_nccl_take(axl_comm_root *root, axl_device *d, size_t bytes, const char *what,
                         void **out)
{
    axl_status status = AXL_OK;
    axl_nccl *n = root->nccl;
    void *p = NULL;

    *out = NULL;
    if (n == NULL || n->call.mem_alloc == NULL || bytes == 0)
        return d->ops->alloc(d, bytes, what, out);
    AXL_TRY(axl_grow(&n->linked, &n->linked_capacity, n->n_linked + 1, sizeof p, "memory"));
    const axl_nccl_result code = n->call.mem_alloc(&p, bytes);
    if (code != AXL_NCCL_OK || p == NULL) { // the device says what is missing, or has it
        axl_debug("NCCL gives no memory for %s: %s", what, n->call.error_text(code));
        return d->ops->alloc(d, bytes, what, out);
    }
    n->linked[n->n_linked++] = p;
    d->others_bytes += bytes;
    AXL_TRY(d->ops->zero(d->compute, p, bytes));
    AXL_TRY(d->ops->synchronize(d->compute));
    *out = p;
    p = NULL;

out:
    axl_nccl_give(root, d, p, bytes);
    return status;
}

void axl_nccl_give(axl_comm_root *root, axl_device *d, void *memory, size_t bytes)
{
    axl_nccl *n = root->nccl;
    void **linked = memory != NULL ? find_linked(n, memory) : NULL;

    if (linked == NULL) {
        d->ops->free(d, memory, bytes);
        return;
    }
    *linked = n->linked[--n->n_linked];
    (void)n->call.mem_free(memory);
    d->others_bytes -= bytes;
}

axl_status axl_comm_alloc(axl_comm *c, axl_device *d, size_t bytes, const char *what, void **out)
{
    return c != NULL && c->nccl != NULL ? axl_nccl_take(c->root, d, bytes, what, out)
                                        : d->ops->alloc(d, bytes, what, out);
}

void axl_comm_free(axl_comm *c, axl_device *d, void *memory, size_t bytes)
{
    if (c != NULL && c->nccl != NULL)
        axl_nccl_give(c->root, d, memory, bytes);
    else
        d->ops->free(d, memory, bytes);
}

axl_status axl_comm_register_sums(axl_comm *c, const axl_device *d)
{
    size_t bytes = 0;

    if (c == NULL || c->nccl == NULL)
        return AXL_OK;
    void *landing = axl_nccl_landing(d, &bytes);
    return axl_comm_register(c, landing, bytes);
}

void axl_comm_unregister_sums(axl_comm *c, const axl_device *d)
{
    size_t bytes = 0;

    if (c != NULL && c->nccl != NULL)
        axl_comm_unregister(c, axl_nccl_landing(d, &bytes));
}

// Other memory than its own the library takes for its network alone, or with a variable of its own that may hang.
axl_status axl_comm_register(axl_comm *c, void *memory, size_t bytes)
{
    axl_status status = AXL_OK;
    axl_nccl_comm *x = c != NULL ? c->nccl : NULL;
    axl_nccl_memory m = {.memory = memory};

    if (x == NULL || memory == NULL || bytes == 0 || c->root->nccl->call.enrol == NULL ||
        find_linked(c->root->nccl, memory) == NULL)
        goto out;
    axl_nccl *n = c->root->nccl;
    AXL_TRY(
        axl_grow(&x->registered, &x->capacity, x->n_registered + 1, sizeof m, "registered memory"));
    (void)pthread_mutex_lock(&n->lock);
    const axl_nccl_result code = n->call.enrol(x->handle, memory, bytes, &m.handle);
    (void)pthread_mutex_unlock(&n->lock);
    if (code != AXL_NCCL_OK) // it works without, only slower
        axl_debug("NCCL registers no memory on axis %s: %s", c->name, n->call.error_text(code));
    else
        x->registered[x->n_registered++] = m;

out:
    return status;
}

void axl_comm_unregister(axl_comm *c, const void *memory)
{
    axl_nccl_comm *x = c != NULL ? c->nccl : NULL;

    for (size_t i = 0; x != NULL && i < x->n_registered; i++) {
        if (x->registered[i].memory != memory)
            continue;
        axl_nccl *n = c->root->nccl;
        (void)pthread_mutex_lock(&n->lock);
        if (x->registered[i].handle != NULL)
            (void)n->call.release(x->handle, x->registered[i].handle);
        (void)pthread_mutex_unlock(&n->lock);
        x->registered[i] = x->registered[--x->n_registered];
        return;
    }
}
