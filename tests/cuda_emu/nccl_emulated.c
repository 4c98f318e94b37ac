// An emulated NCCL: takes the place of comm/nccl_load.c. Data moves between the ranks' emulated device memory over MPI when the
// stream gets there and no sooner; what a call sends is read then, what it receives is poison until all has come. What the
// library documents as wrong ends the program with a message: calls on a communicator that is not at rest or has ended,
// memory of the host, sends outside of a group, ranks whose calls or sizes differ, messages that nobody receives, or of which
// one side alone lies in registered memory, gathers into different places of it.
//
// It is as slow to answer as the library may be: a communicator, a split, the first sends and an end are all "in progress"
// for some looks, the handle of a split is written at the end of that, and a group that connects queues nothing before.
//
// A GPU runs its streams at once. Here a rank that waits in one of them first runs what it has called before, on whatever
// stream; and who waits for the host side of the others (emu_nccl_idle) runs what they may wait for. So ranks meet as long
// as they call in one order.
#include "tests/cuda_emu/nccl_emulated.h"

#include <cuda_runtime.h>
#include <mpi.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void emu_set_stands(bool (*stands)(void));
void emu_push_work(cudaStream_t s, void (*work)(void *), void *data);
bool emu_is_device(const void *p);

enum { ALIVE = 0x4e43434c, ENDED = 0x454e4445, LOOKS = 3, REMOTE_ERROR = 6, MOST_OPS = 4096 };
enum { TAG_SETUP, TAG_COLL, TAG_PAIR, N_TAGS };
enum { PATIENCE = 64 }; // looks of a host that does nothing else
enum { MOST_PIECES = 16, LINKED_AT = 4096 };

typedef enum kind { ALL_GATHER, BROADCAST, SEND, RECV } kind;

typedef struct op {
    kind kind;
    const char *from;
    char *to;
    int64_t bytes;
    int peer; // or root
} op;

typedef struct group {
    struct ncclComm *comm;
    cudaStream_t stream;
    op *ops; // [n_ops]
    int n_ops;
    cudaEvent_t event;  // behind it
    bool queueing, ran; // it is freed when it has run and been queued
    struct group *next; // in the order of calls
} group;

typedef struct member {
    int color, key, rank, world; // rank: in the parent
} member;

struct ncclComm {
    int magic, number, rank, size;
    int *world;      // [size]
    int64_t n_calls; // collectives that have run
    unsigned state;
    int looks; // that are still answered with "in progress"
    bool finalized;
    bool *connected; // [size]
    int n_splits, n_registered;
    struct {
        const char *at;
        int64_t bytes;
    } registered[MOST_PIECES]; // [n_registered]
    group *held;               // until its connections are there
    // being made, as a member of an id or by a split of it
    bool making, splitting;
    int root_world;
    member *members; // [size]
    bool *came;      // [size]
    int n_came;
    struct ncclComm **child;
    int color;
};

nccl_counts nccl_seen;

static struct {
    char *at;
    int64_t bytes;
} linked[MOST_PIECES]; // [nccl_seen.linked]

static struct {
    op *ops;
    int n, depth;
    struct ncclComm *comm;
    cudaStream_t stream;
} open_group;
static group *first, *last; // called and not done
static int idle_looks, ids;

__attribute__((format(printf, 2, 3))) static void must(bool right, const char *format, ...)
{
    va_list args;

    if (right)
        return;
    va_start(args, format);
    (void)fputs("NCCL: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    abort();
}

static void *take(size_t n, size_t bytes)
{
    void *p = calloc(n > 0 ? n : 1, bytes);

    must(p != NULL, "memory");
    return p;
}

static int world_rank(void)
{
    int rank = 0;

    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

static int tag(const struct ncclComm *c, int which)
{
    return c->number * N_TAGS + which;
}

// The round-th look for something. Ranks are more than cores: who waits for long leaves them to the others.
static void nap(int round)
{
    if (round < 100)
        (void)sched_yield();
    else
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

// A message that nobody waits for: eager, or taken by a thread of MPI later. Its memory is the message's.
static void post(const void *bytes, size_t n, int to, int with_tag)
{
    MPI_Request request;
    char *copy = take(n, 1);

    memcpy(copy, bytes, n);
    (void)MPI_Isend(copy, (int)n, MPI_BYTE, to, with_tag, MPI_COMM_WORLD, &request);
    (void)MPI_Request_free(&request); // the copy stays: these are few and small
}

static bool fetch(void *bytes, size_t n, int from, int with_tag)
{
    int there = 0;

    (void)MPI_Iprobe(from, with_tag, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
    if (there)
        (void)MPI_Recv(bytes, (int)n, MPI_BYTE, from, with_tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return there != 0;
}

// ---- communicators

typedef struct id_content {
    int magic, root_world, number;
} id_content;

static struct ncclComm *make(int number, int rank, int size)
{
    struct ncclComm *c = take(1, sizeof *c);

    *c = (struct ncclComm){
        .magic = ALIVE, .number = number, .rank = rank, .size = size, .looks = LOOKS};
    c->world = take((size_t)size, sizeof *c->world);
    c->connected = take((size_t)size, sizeof *c->connected);
    c->members = take((size_t)size, sizeof *c->members);
    c->came = take((size_t)size, sizeof *c->came);
    nccl_seen.communicators++;
    return c;
}

static void check_alive(const struct ncclComm *c, const char *call)
{
    must(c != NULL && (c->magic == ALIVE || c->magic == ENDED), "%s: no communicator", call);
    must(c->magic == ALIVE, "%s: the communicator has ended", call);
}

static void check_rest(const struct ncclComm *c, const char *call)
{
    check_alive(c, call);
    must(c->looks == 0 && c->held == NULL, "%s: the communicator is in progress", call);
    must(!c->finalized, "%s: the communicator is finalized", call);
}

static unsigned emu_ncclGetVersion(int *version)
{
    const char *given = getenv("AXL_EMU_NCCL_VERSION");

    *version = given != NULL ? atoi(given) : 22809;
    return AXL_NCCL_OK;
}

static unsigned emu_ncclGetUniqueId(axl_nccl_id *id)
{
    const id_content x = {.magic = ALIVE, .root_world = world_rank(), .number = ++ids};

    memcpy(id->bytes, &x, sizeof x);
    return AXL_NCCL_OK;
}

static void check_config(const axl_nccl_config *how)
{
    must(how != NULL && how->magic == 0xcafebeef && how->size == sizeof *how, "a configuration");
    must(how->blocking == 0, "calls block");
}

static unsigned emu_ncclCommInitRankConfig(axl_nccl_handle *out, int n_ranks, axl_nccl_id id,
                                           int rank, axl_nccl_config *how)
{
    id_content x;

    memcpy(&x, id.bytes, sizeof x);
    check_config(how);
    must(x.magic == ALIVE, "an id that ncclGetUniqueId did not make");
    must(rank >= 0 && rank < n_ranks, "rank %d of %d", rank, n_ranks);
    struct ncclComm *c = make(x.number, rank, n_ranks);
    const member mine = {.rank = rank, .world = world_rank()};
    c->making = true;
    c->root_world = x.root_world;
    post(&mine, sizeof mine, x.root_world, tag(c, TAG_SETUP));
    *out = c;
    return AXL_NCCL_IN_PROGRESS;
}

// The root of the id hears of all, and tells all. False: not yet.
static bool make_on(struct ncclComm *c)
{
    const size_t bytes = (size_t)c->size * sizeof *c->members;
    member m;

    while (c->root_world == world_rank() && c->n_came < c->size &&
           fetch(&m, sizeof m, MPI_ANY_SOURCE, tag(c, TAG_SETUP))) {
        must(!c->came[m.rank], "two of rank %d", m.rank);
        c->came[m.rank] = true;
        c->members[m.rank] = m;
        c->n_came++;
        for (int r = 0; c->n_came == c->size && r < c->size; r++)
            if (r != c->rank)
                post(c->members, bytes, c->members[r].world, tag(c, TAG_COLL));
    }
    if (c->root_world == world_rank() ? c->n_came < c->size
                                      : !fetch(c->members, bytes, c->root_world, tag(c, TAG_COLL)))
        return false;
    for (int r = 0; r < c->size; r++)
        c->world[r] = c->members[r].world;
    c->making = false;
    return true;
}

static unsigned emu_ncclCommSplit(axl_nccl_handle c, int color, int key, axl_nccl_handle *out,
                                  axl_nccl_config *how)
{
    const member mine = {color, key, c->rank, world_rank()};

    check_rest(c, "ncclCommSplit");
    check_config(how);
    must(color >= 0 || color == AXL_NCCL_NO_COLOR, "color %d", color);
    memset(c->came, 0, (size_t)c->size * sizeof *c->came);
    c->members[c->rank] = mine;
    c->came[c->rank] = true;
    c->n_came = 1;
    c->splitting = true;
    c->looks = LOOKS;
    c->child = out;
    c->color = color;
    c->n_splits++;
    for (int r = 0; r < c->size; r++)
        if (r != c->rank)
            post(&mine, sizeof mine, c->world[r], tag(c, TAG_SETUP));
    return AXL_NCCL_IN_PROGRESS;
}

static int by_key(const void *a, const void *b)
{
    const member *x = a, *y = b;

    return x->key != y->key ? (x->key > y->key) - (x->key < y->key)
                            : (x->rank > y->rank) - (x->rank < y->rank);
}

static bool split_on(struct ncclComm *c)
{
    member *same = NULL;
    int n = 0, rank = 0;

    for (int r = 0; r < c->size; r++) {
        if (!c->came[r] &&
            fetch(&c->members[r], sizeof *c->members, c->world[r], tag(c, TAG_SETUP))) {
            c->came[r] = true;
            c->n_came++;
        }
    }
    if (c->n_came < c->size)
        return false;
    c->splitting = false;
    if (c->color == AXL_NCCL_NO_COLOR)
        return true;
    same = take((size_t)c->size, sizeof *same);
    for (int r = 0; r < c->size; r++)
        if (c->members[r].color == c->color)
            same[n++] = c->members[r];
    qsort(same, (size_t)n, sizeof *same, by_key);
    for (int r = 0; r < n; r++)
        rank = same[r].rank == c->rank ? r : rank;
    struct ncclComm *child = make((c->number * 101 + c->n_splits) % 500000000, rank, n);
    for (int r = 0; r < n; r++)
        child->world[r] = same[r].world;
    *c->child = child;
    free(same);
    return true;
}

// ---- groups of calls

static void check_memory(const void *p, int64_t bytes, const char *call)
{
    must(emu_is_device(p) && emu_is_device((const char *)p + bytes - 1),
         "%s: memory that the device does not have", call);
}

static bool overlap(const char *a, int64_t n, const char *b, int64_t m)
{
    return a != NULL && b != NULL && a < b + m && b < a + n;
}

static int64_t received(const op *o, int size)
{
    return o->kind == ALL_GATHER ? o->bytes * size : o->kind == SEND ? 0 : o->bytes;
}

static bool is_in_place(const op *o, const struct ncclComm *c)
{
    return o->kind == ALL_GATHER ? o->from == o->to + c->rank * o->bytes : o->from == o->to;
}

// What one call of the group writes, no other touches.
static void check_apart(const struct ncclComm *c, const op *ops, int n)
{
    for (int i = 0; i < n && n < 512; i++) {
        const op *a = &ops[i];
        const int64_t writes = received(a, c->size);
        for (int j = 0; j < n && writes > 0; j++) {
            const op *b = &ops[j];
            if (j != i)
                must(!overlap(a->to, writes, b->to, received(b, c->size)) &&
                         !overlap(a->to, writes, b->from, b->bytes),
                     "two calls of a group use the same memory");
            else if (a->kind != RECV && !is_in_place(a, c))
                must(!overlap(a->to, writes, a->from, a->bytes), "from and to overlap");
        }
    }
}

static void call(struct ncclComm *c, cudaStream_t s, op o, const char *name)
{
    check_rest(c, name);
    must(s != NULL, "%s: no stream", name);
    must(open_group.depth > 0, "%s: outside of a group", name);
    must(open_group.n < MOST_OPS, "more than %d calls in a group", MOST_OPS);
    must(open_group.n == 0 || (open_group.comm == c && open_group.stream == s),
         "%s: another communicator or stream in this group", name);
    must(o.peer >= 0 && o.peer < c->size, "%s: rank %d of %d", name, o.peer, c->size);
    must(o.bytes > 0, "%s: nothing to move", name);
    if (o.kind != RECV)
        check_memory(o.from, o.bytes, name);
    if (o.kind != SEND)
        check_memory(o.to, received(&o, c->size), name);
    if (open_group.ops == NULL)
        open_group.ops = take(MOST_OPS, sizeof *open_group.ops);
    open_group.comm = c;
    open_group.stream = s;
    open_group.ops[open_group.n++] = o;
    nccl_seen.calls++;
    nccl_seen.in_place += o.kind <= BROADCAST && is_in_place(&o, c);
    if (o.kind == ALL_GATHER)
        nccl_seen.sent_bytes += o.bytes * (c->size - 1);
    if (o.kind == SEND || (o.kind == BROADCAST && (c->rank + 1) % c->size != o.peer))
        nccl_seen.sent_bytes += o.bytes;
}

static void check_bytes(axl_nccl_type type)
{
    must(type == AXL_NCCL_UINT8, "what moves is bytes");
}

static unsigned emu_ncclAllGather(const void *from, void *to, size_t n, axl_nccl_type type,
                                  axl_nccl_handle c, axl_nccl_stream s)
{
    check_bytes(type);
    call(c, (cudaStream_t)s, (op){ALL_GATHER, from, to, (int64_t)n, 0}, "ncclAllGather");
    return AXL_NCCL_OK;
}

static unsigned emu_ncclBroadcast(const void *from, void *to, size_t n, axl_nccl_type type,
                                  int root, axl_nccl_handle c, axl_nccl_stream s)
{
    check_bytes(type);
    call(c, (cudaStream_t)s, (op){BROADCAST, from, to, (int64_t)n, root}, "ncclBroadcast");
    return AXL_NCCL_OK;
}

static unsigned emu_ncclSend(const void *from, size_t n, axl_nccl_type type, int to,
                             axl_nccl_handle c, axl_nccl_stream s)
{
    check_bytes(type);
    must(to != c->rank, "ncclSend to itself");
    call(c, (cudaStream_t)s, (op){SEND, from, NULL, (int64_t)n, to}, "ncclSend");
    return AXL_NCCL_OK;
}

static unsigned emu_ncclRecv(void *to, size_t n, axl_nccl_type type, int from, axl_nccl_handle c,
                             axl_nccl_stream s)
{
    check_bytes(type);
    must(from != c->rank, "ncclRecv from itself");
    call(c, (cudaStream_t)s, (op){RECV, NULL, to, (int64_t)n, from}, "ncclRecv");
    return AXL_NCCL_OK;
}

// ---- on the stream

typedef struct header {
    int kind, root;
    int64_t bytes, number; // number: of the collective
    int64_t place;         // of what is gathered into or sent, see place_of
} header;

// Where it lies in registered memory; -1: in other memory.
static int64_t place_of(const struct ncclComm *c, const char *p)
{
    for (int i = 0; i < c->n_registered; i++)
        if (p >= c->registered[i].at && p < c->registered[i].at + c->registered[i].bytes)
            return p - c->registered[i].at;
    return -1;
}

typedef struct sending {
    MPI_Request *requests;
    char **messages;
    int n, capacity;
} sending;

static void start(sending *x, const struct ncclComm *c, const op *o, int64_t number, int to)
{
    const header h = {(int)o->kind, o->peer, o->bytes, number,
                      place_of(c, o->kind == SEND ? o->from : o->to)};

    if (x->n == x->capacity) {
        x->capacity = x->capacity * 2 + 16;
        x->requests = realloc(x->requests, (size_t)x->capacity * sizeof(MPI_Request));
        x->messages = realloc(x->messages, (size_t)x->capacity * sizeof *x->messages);
        must(x->requests != NULL && x->messages != NULL, "memory");
    }
    char *m = take(sizeof h + (size_t)o->bytes, 1);
    memcpy(m, &h, sizeof h);
    memcpy(m + sizeof h, o->from, (size_t)o->bytes);
    (void)MPI_Isend(m, (int)(sizeof h + (size_t)o->bytes), MPI_BYTE, c->world[to],
                    tag(c, o->kind == SEND ? TAG_PAIR : TAG_COLL), MPI_COMM_WORLD,
                    &x->requests[x->n]);
    x->messages[x->n++] = m;
}

static void start_all(sending *x, const group *g)
{
    const struct ncclComm *c = g->comm;
    int64_t number = c->n_calls;

    for (int i = 0; i < g->n_ops; i++) {
        const op *o = &g->ops[i];
        if (o->kind == SEND)
            start(x, c, o, 0, o->peer);
        for (int r = 0; r < c->size && o->kind <= BROADCAST; r++)
            if (r != c->rank && (o->kind == ALL_GATHER || o->peer == c->rank))
                start(x, c, o, number, r);
        number += o->kind <= BROADCAST;
    }
}

// Waits for a message of `from` and gives its content.
static char *await_message(const group *g, const op *o, int64_t number, int from)
{
    static const char *const names[] = {"ncclAllGather", "ncclBroadcast", "ncclSend", "ncclRecv"};
    const struct ncclComm *c = g->comm;
    const int with_tag = tag(c, o->kind == RECV ? TAG_PAIR : TAG_COLL);
    MPI_Message message;
    MPI_Status status;
    int there = 0, n = 0;
    header h;

    for (int round = 0; !there; round++) {
        (void)MPI_Improbe(c->world[from], with_tag, MPI_COMM_WORLD, &there, &message, &status);
        if (!there)
            nap(round);
    }
    (void)MPI_Get_count(&status, MPI_BYTE, &n);
    char *m = take((size_t)n, 1);
    (void)MPI_Mrecv(m, n, MPI_BYTE, &message, MPI_STATUS_IGNORE);
    memcpy(&h, m, sizeof h);
    const kind wanted = o->kind == RECV ? SEND : o->kind;
    must(h.kind == (int)wanted && h.bytes == o->bytes && h.number == number &&
             (o->kind == RECV || h.root == o->peer),
         "rank %d calls %s of %lld bytes, rank %d %s of %lld bytes", c->rank, names[o->kind],
         (long long)o->bytes, from, names[h.kind], (long long)h.bytes);
    const int64_t place = place_of(c, o->to);
    must((h.place < 0) == (place < 0), "%s: rank %d %s registered memory, rank %d the other",
         names[o->kind], c->rank, place < 0 ? "has no" : "has", from);
    must(o->kind == RECV || h.place == place,
         "%s: rank %d gathers at byte %lld of its memory, rank %d at %lld", names[o->kind], c->rank,
         (long long)place, from, (long long)h.place);
    nccl_seen.direct += place >= 0;
    return m;
}

// What the call at hand receives from others, after all of the group has been sent.
static void receive_all(const group *g)
{
    struct ncclComm *c = g->comm;
    int64_t number = c->n_calls;
    char **messages = take((size_t)g->n_ops * (size_t)c->size, sizeof *messages);

    for (int i = 0; i < g->n_ops; i++) {
        const op *o = &g->ops[i];
        for (int r = 0; r < c->size; r++) {
            const bool comes =
                o->kind == RECV || o->kind == BROADCAST ? r == o->peer : o->kind == ALL_GATHER;
            if (comes && r != c->rank)
                messages[i * c->size + r] = await_message(g, o, o->kind == RECV ? 0 : number, r);
        }
        number += o->kind <= BROADCAST;
    }
    c->n_calls = number;
    for (int i = 0; i < g->n_ops; i++) {
        const op *o = &g->ops[i];
        for (int r = 0; r < c->size; r++) {
            char *m = messages[i * c->size + r];
            if (m != NULL)
                memcpy(o->to + (o->kind == ALL_GATHER ? r * o->bytes : 0), m + sizeof(header),
                       (size_t)o->bytes);
            free(m);
        }
    }
    free(messages);
}

// Own parts into their places, poison where others' will come.
static void prepare(const group *g)
{
    const struct ncclComm *c = g->comm;

    for (int i = 0; i < g->n_ops; i++) {
        const op *o = &g->ops[i];
        if (o->kind == RECV)
            memset(o->to, 0xff, (size_t)o->bytes);
        for (int r = 0; r < c->size && o->kind == ALL_GATHER; r++)
            if (r != c->rank)
                memset(o->to + r * o->bytes, 0xff, (size_t)o->bytes);
        if (o->kind == ALL_GATHER)
            memmove(o->to + c->rank * o->bytes, o->from, (size_t)o->bytes);
        if (o->kind == BROADCAST && c->rank == o->peer)
            memmove(o->to, o->from, (size_t)o->bytes);
    }
}

static void finish(sending *x)
{
    for (int done = 0, round = 0; !done && x->n > 0; round++) {
        (void)MPI_Testall(x->n, x->requests, &done, MPI_STATUSES_IGNORE);
        if (!done)
            nap(round);
    }
    for (int i = 0; i < x->n; i++)
        free(x->messages[i]);
    free(x->messages);
    free(x->requests);
}

// Fails where the test wants it.
static bool fails(struct ncclComm *c)
{
    const char *given = getenv("AXL_EMU_NCCL_FAIL");
    int rank = -1, at = 0;

    if (given == NULL || sscanf(given, "%d:%d", &rank, &at) != 2 || rank != world_rank() ||
        nccl_seen.groups < at)
        return false;
    __atomic_store_n(&c->state, REMOTE_ERROR, __ATOMIC_RELEASE);
    return true;
}

// The work that is next will never end.
static bool stands(void)
{
    return first != NULL && fails(first->comm);
}

static cudaEvent_t spare[256];
static int n_spare;

// Events are kept for the next groups: a step makes nothing new.
static cudaEvent_t take_event(void)
{
    cudaEvent_t event = NULL;

    if (n_spare > 0)
        return spare[--n_spare];
    (void)cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    return event;
}

static void free_group(group *g)
{
    if (n_spare < (int)(sizeof spare / sizeof *spare))
        spare[n_spare++] = g->event;
    else
        (void)cudaEventDestroy(g->event);
    free(g->ops);
    free(g);
}

static void run_group(void *data)
{
    group *g = data;
    sending x = {0};

    for (group *before = first; before != g; before = first)
        (void)cudaEventSynchronize(
            before->event); // called earlier: it may be what the others wait for
    for (int round = 0; fails(g->comm); round = 100)
        nap(round);
    start_all(&x, g);
    prepare(g);
    receive_all(g);
    finish(&x);
    first = g->next;
    if (first == NULL)
        last = NULL;
    g->ran = true;
    if (!g->queueing)
        free_group(g);
}

// A stream that is early runs it at once.
static void queue(group *g)
{
    g->queueing = true;
    if (last != NULL)
        last->next = g;
    else
        first = g;
    last = g;
    g->event = take_event();
    emu_push_work(g->stream, run_group, g);
    g->queueing = false;
    if (g->ran) {
        free_group(g);
        return;
    }
    (void)cudaEventRecord(g->event, g->stream);
    if (nccl_seen.eager)
        (void)cudaEventSynchronize(g->event);
}

static unsigned emu_ncclGroupStart(void)
{
    open_group.depth++;
    return AXL_NCCL_OK;
}

static unsigned emu_ncclGroupEnd(void)
{
    must(open_group.depth > 0, "the end of no group");
    if (--open_group.depth > 0 || open_group.n == 0)
        return AXL_NCCL_OK;
    struct ncclComm *c = open_group.comm;
    const int n = open_group.n;
    group *g = take(1, sizeof *g);
    bool connects = false;

    check_apart(c, open_group.ops, n);
    *g = (group){.comm = c, .stream = open_group.stream, .n_ops = n};
    g->ops = take((size_t)n, sizeof *g->ops);
    memcpy(g->ops, open_group.ops, (size_t)n * sizeof *g->ops);
    open_group.n = 0;
    nccl_seen.groups++;
    for (int i = 0; i < n; i++) {
        connects = connects || (g->ops[i].kind >= SEND && !c->connected[g->ops[i].peer]);
        if (g->ops[i].kind >= SEND)
            c->connected[g->ops[i].peer] = true;
    }
    if (!connects) {
        queue(g);
        return AXL_NCCL_OK;
    }
    c->held = g;
    c->looks = LOOKS;
    return AXL_NCCL_IN_PROGRESS;
}

// ---- states and ends

static unsigned emu_ncclCommGetAsyncError(axl_nccl_handle c, axl_nccl_result *out)
{
    check_alive(c, "ncclCommGetAsyncError");
    *out = __atomic_load_n(&c->state, __ATOMIC_ACQUIRE);
    if (*out != AXL_NCCL_OK || (c->looks == 0 && c->held == NULL))
        return AXL_NCCL_OK;
    *out = AXL_NCCL_IN_PROGRESS;
    if ((c->making && !make_on(c)) || (c->splitting && !split_on(c)))
        return AXL_NCCL_OK;
    if (c->looks > 0 && --c->looks > 0)
        return AXL_NCCL_OK;
    if (c->held != NULL)
        queue(c->held);
    c->held = NULL;
    *out = AXL_NCCL_OK;
    return AXL_NCCL_OK;
}

static void check_nothing_left(const struct ncclComm *c)
{
    int there = 0;

    for (int which = TAG_COLL; which <= TAG_PAIR; which++) {
        (void)MPI_Iprobe(MPI_ANY_SOURCE, tag(c, which), MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
        must(!there, "rank %d was sent what it never received", c->rank);
    }
}

static unsigned emu_ncclCommFinalize(axl_nccl_handle c)
{
    check_rest(c, "ncclCommFinalize");
    must(c->n_registered == 0, "memory is registered at the end");
    while (first != NULL)
        (void)cudaEventSynchronize(first->event);
    check_nothing_left(c);
    c->finalized = true;
    c->looks = LOOKS;
    return AXL_NCCL_IN_PROGRESS;
}

static unsigned emu_ncclCommDestroy(axl_nccl_handle c)
{
    check_alive(c, "ncclCommDestroy");
    must(c->finalized && c->looks == 0, "ncclCommDestroy before the end of ncclCommFinalize");
    c->magic = ENDED; // the rest stays, so that a later use is seen
    nccl_seen.communicators--;
    return AXL_NCCL_OK;
}

static unsigned emu_ncclCommAbort(axl_nccl_handle c)
{
    check_alive(c, "ncclCommAbort");
    c->magic = ENDED;
    nccl_seen.communicators--;
    return AXL_NCCL_OK;
}

static const char *emu_ncclGetErrorString(axl_nccl_result r)
{
    return r == REMOTE_ERROR ? "remote process exited or there was a network error" : "an error";
}

static const char *emu_ncclGetLastError(axl_nccl_handle c)
{
    (void)c;
    return "emulated: the link went down";
}

static int find_linked(const char *p, int64_t bytes)
{
    for (int i = 0; i < nccl_seen.linked; i++)
        if (p >= linked[i].at && p + bytes <= linked[i].at + linked[i].bytes)
            return i;
    return -1;
}

// Not at the beginning of what the device gave, so that another way of giving it back is seen.
static unsigned emu_ncclMemAlloc(void **out, size_t bytes)
{
    void *p = NULL;

    must(nccl_seen.linked < MOST_PIECES, "memory");
    if (cudaMalloc(&p, bytes + LINKED_AT) != cudaSuccess)
        return AXL_NCCL_IN_PROGRESS + 1;
    linked[nccl_seen.linked].at = (char *)p + LINKED_AT;
    linked[nccl_seen.linked].bytes = (int64_t)bytes;
    *out = linked[nccl_seen.linked++].at;
    return AXL_NCCL_OK;
}

static unsigned emu_ncclMemFree(void *memory)
{
    const int i = find_linked(memory, 1);

    must(i >= 0 && linked[i].at == memory, "ncclMemFree of other memory");
    must(cudaFree(linked[i].at - LINKED_AT) == cudaSuccess, "memory that is gone");
    linked[i] = linked[--nccl_seen.linked];
    return AXL_NCCL_OK;
}

static unsigned emu_ncclCommRegister(axl_nccl_handle c, void *memory, size_t bytes, void **handle)
{
    check_rest(c, "ncclCommRegister");
    check_memory(memory, (int64_t)bytes, "ncclCommRegister");
    must(find_linked(memory, (int64_t)bytes) >= 0, "memory that ncclMemAlloc did not give");
    must(c->n_registered < MOST_PIECES, "memory");
    c->registered[c->n_registered].at = memory;
    c->registered[c->n_registered].bytes = (int64_t)bytes;
    c->n_registered++;
    nccl_seen.registered++;
    *handle = memory;
    return AXL_NCCL_OK;
}

static unsigned emu_ncclCommDeregister(axl_nccl_handle c, void *handle)
{
    check_alive(c, "ncclCommDeregister");
    int i = 0;
    must(c->n_registered > 0 && emu_is_device(handle), "ncclCommDeregister after the memory went");
    while (i < c->n_registered && c->registered[i].at != handle)
        i++;
    must(i < c->n_registered, "ncclCommDeregister of what is not registered");
    c->registered[i] = c->registered[--c->n_registered];
    nccl_seen.registered--;
    return AXL_NCCL_OK;
}

// ---- the engine's side

void emu_nccl_busy(void)
{
    idle_looks = 0;
}

void emu_nccl_idle(void)
{
    if (first == NULL || ++idle_looks < PATIENCE)
        return;
    while (first != NULL)
        (void)cudaEventSynchronize(first->event);
}

bool axl_nccl_load(axl_nccl_calls *out, const char **why)
{
    const char *given = getenv("AXL_EMU_NCCL");

    *why = "libnccl.so.2 is not found";
    emu_set_stands(stands);
#define FIELD(field, name, result, args) out->field = emu_##name;
    AXL_NCCL_CALLS(FIELD)
    AXL_NCCL_CALLS_SINCE_219(FIELD)
#undef FIELD
    return given != NULL && strcmp(given, "1") == 0;
}
