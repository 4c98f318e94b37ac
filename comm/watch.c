// The thread of the watch: connections, heartbeats, and what the main thread asks of it. The hard part is to
// tell an orderly end from a death, so everybody who leaves says so on the channel before.
#include "comm/watch_private.h"

#include "src/base/log.h"
#include "src/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_NONE, REQUEST_STOP, REQUEST_FAILING };

#define N_HUBS 2 // ranks that everybody is connected to

static axl_peer *self(axl_watch *w)
{
    return &w->peers[w->world->rank];
}

static void nap(double seconds)
{
    const struct timespec t = {.tv_sec = (time_t)seconds,
                               .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&t, NULL);
}

// ---- own state

static void look_at_flight(axl_watch *w)
{
    axl_flight *f = &w->world->root->flight;
    axl_watch_state *s = &self(w)->state;
    uint64_t n = 0;

    do { // again when the main thread went on while we looked
        n = atomic_load_explicit(&f->n_waits, memory_order_acquire);
        const char *op = atomic_load(&f->op), *axis = atomic_load(&f->axis);
        axl_stream **on = atomic_load(&f->waits_on);
        s->waiting = n % 2 == 1 && (on == NULL || __atomic_load_n(on, __ATOMIC_RELAXED) != NULL);
        (void)snprintf(s->op, sizeof s->op, "%s", op != NULL ? op : "");
        (void)snprintf(s->axis, sizeof s->axis, "%s", axis != NULL ? axis : "");
        s->bytes = atomic_load(&f->bytes);
    } while (n != atomic_load(&f->n_waits));
    s->step = atomic_load(&f->step);
    s->phase = atomic_load(&f->phase);
    s->n_started = atomic_load(&f->n_started);
    const uint64_t now[4] = {n, s->n_started, (uint64_t)s->phase, (uint64_t)s->step};
    if (memcmp(now, w->seen, sizeof now) != 0) {
        memcpy(w->seen, now, sizeof now);
        w->seen_since = w->clock;
    }
    s->still_ms = (int64_t)((w->clock - w->seen_since) * 1e3);
    self(w)->heard = w->clock;
}

static axl_watch_message message_of(const axl_watch *w, axl_watch_kind kind, int code, int hub)
{
    const axl_peer *me = &w->peers[w->world->rank];
    axl_watch_message m = {
        .kind = (int32_t)kind, .rank = me->rank, .pid = me->pid, .code = code, .state = me->state};

    memcpy(m.token, w->contact[hub].token, sizeof m.token);
    memcpy(m.host, me->host, sizeof m.host);
    return m;
}

// ---- messages

static void close_peer(axl_peer *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    p->fd = -1;
}

static void end_peer(const axl_watch *w, axl_peer *p, axl_peer_status status, int code)
{
    p->status = status;
    p->code = code;
    p->ended = w->clock;
}

// A connection is between a rank and a hub; the message bears the hub's token.
static void say_to(const axl_watch *w, const axl_peer *p, axl_watch_kind kind, int code,
                   const char *text)
{
    const int hub = p->rank < w->world->rank ? p->rank : w->world->rank;
    const axl_watch_message m = message_of(w, kind, code, hub);

    if (p->fd >= 0)
        (void)axl_watch_send(p->fd, &m, text); // who reads nothing is judged by silence
}

void axl_watch_say(axl_watch *w, axl_watch_kind kind, int code, const char *text)
{
    for (int r = 0; r < w->world->size; r++)
        if (w->peers[r].status == AXL_PEER_ALIVE)
            say_to(w, &w->peers[r], kind, code, text);
}

static void hear(axl_watch *w, axl_peer *p, const axl_watch_message *m)
{
    p->heard = w->clock;
    p->state = m->state; // every message bears it
    p->state.op[sizeof p->state.op - 1] = '\0';
    p->state.axis[sizeof p->state.axis - 1] = '\0';
    switch (m->kind) {
    case AXL_WATCH_ASK:
        say_to(w, p, AXL_WATCH_STATE, 0, NULL);
        break;
    case AXL_WATCH_BYE:
        end_peer(w, p, AXL_PEER_GONE, 0);
        break;
    case AXL_WATCH_FAILING:
        end_peer(w, p, AXL_PEER_FAILING, m->code);
        break;
    case AXL_WATCH_VERDICT:
        axl_watch_end(w, m->code, p->in + sizeof *m, false);
    default:
        break;
    }
}

// Reads what has come; gives whole messages to hear. False: the connection has ended.
static bool read_peer(axl_watch *w, axl_peer *p)
{
    for (;;) {
        const axl_watch_message *m = (const axl_watch_message *)(const void *)p->in;
        size_t want = sizeof *m;
        if (p->n_in >= sizeof *m)
            want = axl_watch_message_size(m->kind);
        if (p->n_in == want) {
            const axl_watch_message whole = *m;
            p->in[sizeof p->in - 1] = '\0';
            p->n_in = 0;
            if (p->status == AXL_PEER_UNKNOWN && whole.kind != AXL_WATCH_HELLO)
                return false;
            hear(w, p, &whole);
            if (whole.kind == AXL_WATCH_HELLO)
                return true;
            continue;
        }
        const ssize_t n = recv(p->fd, p->in + p->n_in, want - p->n_in, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (n < 0)
            return true;
        p->n_in += (size_t)n;
    }
}

static void meet(axl_watch *w, axl_peer *p, const axl_watch_message *m, int fd)
{
    p->fd = fd;
    p->status = AXL_PEER_ALIVE;
    p->pid = m->pid;
    memcpy(p->host, m->host, sizeof p->host);
    p->host[sizeof p->host - 1] = '\0';
    p->state = m->state;
    p->heard = w->clock;
}

// ---- newcomers: connections to a hub that have not shown the token yet

static void admit(axl_watch *w)
{
    const int on = 1;

    for (int i = 0; i < AXL_WATCH_NEW; i++) {
        if (w->newcomer[i].fd >= 0)
            continue;
        const int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        w->newcomer[i] = (axl_peer){.fd = fd, .heard = w->clock};
    }
}

static void greet(axl_watch *w, axl_peer *p)
{
    const axl_watch_message *m = (const axl_watch_message *)(const void *)p->in;
    const int rank = w->world->rank;

    if (!read_peer(w, p)) {
        close_peer(p);
        return;
    }
    if (p->n_in > 0 || p->fd < 0)
        return;
    if (m->kind == AXL_WATCH_HELLO && m->rank > rank && m->rank < w->world->size &&
        memcmp(m->token, w->contact[rank].token, sizeof m->token) == 0 &&
        w->peers[m->rank].status == AXL_PEER_UNKNOWN) {
        meet(w, &w->peers[m->rank], m, p->fd);
        say_to(w, &w->peers[m->rank], AXL_WATCH_HELLO, 0, NULL);
        p->fd = -1;
    }
}

// ---- the loop

static bool is_hub(const axl_watch *w)
{
    return w->world->rank < N_HUBS;
}

static void pass_time(axl_watch *w)
{
    const double now = axl_now(), passed = now - w->last_now, most = 2.0 * w->beat;

    w->clock += passed < most ? passed : most;
    w->last_now = now;
    if (w->options.signal != NULL && w->signalled < 0.0 &&
        (*w->options.signal == SIGTERM || *w->options.signal == SIGINT))
        w->signalled = w->clock;
}

// Dead, or silent: then a signal may come from a launcher that knows, and leaves a second to say so.
static bool somebody_is_missing(const axl_watch *w)
{
    for (int r = 0; r < w->world->size; r++)
        if (w->peers[r].status == AXL_PEER_DEAD ||
            (w->peers[r].status == AXL_PEER_ALIVE && w->clock - w->peers[r].heard > 2.5 * w->beat))
            return true;
    return false;
}

static void wait_for_news(axl_watch *w, struct pollfd *fds)
{
    nfds_t n = 0;
    double left = w->last_beat + w->beat - w->clock;

    fds[n++] = (struct pollfd){.fd = w->wake, .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = w->listener, .events = POLLIN};
    for (int r = 0; r < w->world->size; r++)
        fds[n++] = (struct pollfd){.fd = w->peers[r].fd, .events = POLLIN};
    for (int i = 0; is_hub(w) && i < AXL_WATCH_NEW; i++)
        fds[n++] = (struct pollfd){.fd = w->newcomer[i].fd, .events = POLLIN};
    if (somebody_is_missing(w) && left > 0.05)
        left = 0.05; // the judge counts parts of a second
    (void)poll(fds, n, left > 0.0 ? (int)(left * 1e3) + 1 : 0);
    pass_time(w);
}

static void read_all(axl_watch *w)
{
    for (int r = 0; r < w->world->size; r++) {
        axl_peer *p = &w->peers[r];
        if (p->fd < 0 || read_peer(w, p))
            continue;
        close_peer(p);
        if (p->status == AXL_PEER_ALIVE)
            end_peer(w, p, AXL_PEER_DEAD, 0);
    }
    if (!is_hub(w))
        return;
    admit(w);
    for (int i = 0; i < AXL_WATCH_NEW; i++) {
        if (w->newcomer[i].fd >= 0)
            greet(w, &w->newcomer[i]);
        if (w->newcomer[i].fd >= 0 && w->clock - w->newcomer[i].heard > 10.0)
            close_peer(&w->newcomer[i]); // a stranger
    }
}

static void beat(axl_watch *w)
{
    look_at_flight(w);
    if (w->clock - w->last_beat < w->beat)
        return;
    w->last_beat = w->clock;
    axl_watch_say(w, AXL_WATCH_STATE, 0, NULL);
}

// The hubs below this rank, in turn. Rank 1 is reached by the others only after it has reached rank 0.
static void connect_all(axl_watch *w)
{
    axl_watch_message answer;
    axl_status status = AXL_OK;
    int fd = -1;

    for (int hub = 0; hub < N_HUBS && hub < w->world->rank && status == AXL_OK; hub++) {
        const axl_watch_message hello = message_of(w, AXL_WATCH_HELLO, 0, hub);
        status = axl_watch_connect(&w->contact[hub], &hello, &answer, &fd);
        if (status == AXL_OK)
            meet(w, &w->peers[hub], &answer, fd);
    }
    if (status != AXL_OK)
        (void)snprintf(w->trouble, sizeof w->trouble, "%s", axl_error_message());
    atomic_store(&w->connected, status == AXL_OK ? 1 : -1);
}

static void *run(void *argument)
{
    axl_watch *w = argument;
    const size_t n = (size_t)w->world->size + AXL_WATCH_NEW + 2;
    struct pollfd *fds = calloc(n, sizeof *fds);

    connect_all(w);
    w->last_now = axl_now();
    while (fds != NULL && atomic_load(&w->request) != REQUEST_STOP) {
        wait_for_news(w, fds);
        read_all(w);
        beat(w);
        if (atomic_load(&w->request) == REQUEST_FAILING && atomic_load(&w->announced) == 0) {
            axl_watch_say(w, AXL_WATCH_FAILING, atomic_load(&w->code), NULL);
            atomic_store(&w->announced, 1);
        }
        if (atomic_load(&w->announced) == 0)
            axl_watch_judge(w);
    }
    axl_watch_say(w, AXL_WATCH_BYE, 0, NULL);
    free(fds);
    return NULL;
}

// ---- for the main thread

void axl_watch_destroy(axl_watch *w)
{
    if (w == NULL)
        return;
    for (int r = 0; w->peers != NULL && r < w->n_peers; r++)
        close_peer(&w->peers[r]);
    for (int i = 0; w->newcomer != NULL && i < AXL_WATCH_NEW; i++)
        close_peer(&w->newcomer[i]);
    if (w->listener >= 0)
        (void)close(w->listener);
    if (w->wake >= 0)
        (void)close(w->wake);
    free(w->peers);
    free(w->newcomer);
    free(w);
}

bool axl_watch_looks(const axl_watch *w)
{
    return w != NULL && !w->stopped;
}

static void request(axl_watch *w, int what)
{
    const uint64_t one = 1;

    atomic_store(&w->request, what);
    if (write(w->wake, &one, sizeof one) != (ssize_t)sizeof one)
        axl_debug("the watch cannot be woken: %s", strerror(errno));
}

static axl_status create(axl_comm *world, const axl_watch_options *o, axl_watch **out)
{
    axl_status status = AXL_OK;
    axl_watch *w = NULL;

    AXL_TRY(axl_calloc(1, sizeof *w, "the watch", &w));
    w->world = world;
    w->options = *o;
    w->n_peers = world->size;
    w->listener = w->wake = -1;
    w->signalled = -1.0;
    w->beat = 1.0;
    if (w->beat > o->heartbeat_timeout / 4)
        w->beat = o->heartbeat_timeout / 4;
    if (o->collective_timeout > 0.0 && w->beat > o->collective_timeout / 4)
        w->beat = o->collective_timeout / 4;
    AXL_TRY(axl_calloc((size_t)world->size, sizeof *w->peers, "the watch", &w->peers));
    AXL_TRY(axl_calloc(AXL_WATCH_NEW, sizeof *w->newcomer, "the watch", &w->newcomer));
    for (int i = 0; i < AXL_WATCH_NEW; i++)
        w->newcomer[i].fd = -1;
    for (int r = 0; r < world->size; r++)
        w->peers[r] = (axl_peer){.fd = -1, .rank = r};
    self(w)->pid = (int)getpid();
    (void)gethostname(self(w)->host, sizeof self(w)->host - 1);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    AXL_REQUIRE(w->wake >= 0, AXL_E_COMM, "the watch cannot start: %s", strerror(errno));
    if (world->rank < N_HUBS)
        AXL_TRY(axl_watch_listen(world->n_hosts <= 1, &w->contact[world->rank], &w->listener));
    *out = w;
    w = NULL;

out:
    axl_watch_destroy(w);
    return status;
}

// Signals are the main thread's, except the alarm that ends the process (watch_judge.c).
static axl_status start_thread(axl_watch *w)
{
    axl_status status = AXL_OK;
    sigset_t most, before;

    (void)sigfillset(&most);
    (void)sigdelset(&most, SIGALRM);
    (void)pthread_sigmask(SIG_SETMASK, &most, &before);
    const int failed = pthread_create(&w->thread, NULL, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    AXL_REQUIRE(failed == 0, AXL_E_MEMORY, "the watch cannot start a thread: %s", strerror(failed));

out:
    return status;
}

static axl_status connected(const axl_watch *w)
{
    while (atomic_load(&w->connected) == 0)
        nap(0.001);
    if (atomic_load(&w->connected) > 0)
        return AXL_OK;
    return axl_error_set(AXL_E_COMM, __FILE__, __LINE__, "%s", w->trouble);
}

axl_status axl_watch_start(axl_comm *world, const axl_watch_options *o)
{
    axl_status status = AXL_OK;
    axl_watch *w = NULL;

    if (world->size == 1)
        goto out;
    AXL_TRY(axl_comm_agree(world, create(world, o, &w)));
    for (int hub = 0; hub < N_HUBS; hub++)
        AXL_TRY(axl_comm_bcast_bytes(world, &w->contact[hub], sizeof w->contact[hub], hub));
    // After a failure the threads that run are stopped by the ranks' own axl_watch_stop.
    status = start_thread(w);
    if (status == AXL_OK)
        world->root->watch = w;
    status = axl_comm_agree(world, status == AXL_OK ? connected(w) : status);
    if (world->root->watch == w)
        w = NULL; // the world owns it
    if (status == AXL_E_COMM) {
        axl_watch_stop(world);
        axl_warn("%s; a rank that dies or hangs will not be noticed", axl_error_message());
        status = AXL_OK;
    }

out:
    axl_watch_destroy(w);
    return status;
}

void axl_watch_stop(axl_comm *world)
{
    axl_watch *w = world == NULL || world->root == NULL ? NULL : world->root->watch;

    if (w == NULL || w->stopped)
        return;
    request(w, REQUEST_STOP);
    (void)pthread_join(w->thread, NULL);
    w->stopped = true;
}

void axl_watch_leaving(axl_comm *world, int exit_code)
{
    axl_watch *w = world->root == NULL ? NULL : world->root->watch;
    const double begin = axl_now();

    if (w == NULL || w->stopped)
        return;
    // A lost connection: the watch knows after the heartbeat timeout at the latest whose it was.
    const double patience =
        exit_code == axl_status_exit_code(AXL_E_COMM) ? w->options.heartbeat_timeout + 2.0 : 0.0;
    while (axl_now() - begin < patience && atomic_load(&w->verdict) == 0)
        nap(0.02);
    while (atomic_load(&w->verdict) != 0)
        nap(1.0); // the watch ends the process
    atomic_store(&w->code, exit_code);
    request(w, REQUEST_FAILING);
    for (int i = 0; i < 200 && atomic_load(&w->announced) == 0; i++)
        nap(0.005);
}
