// Who is lost, and what is said about it. The hard part is to be sure: a rank that was killed by its
// launcher, that saves for minutes, that enters the collective just now or that ends by itself is not lost.
#include "comm/watch_private.h"

#include "comm/nccl.h"

#include "src/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// Seconds. After a death the others are asked what they do; mpirun ends them about a second after it.
#define ASK_SECONDS     0.25 // enough when somebody waits by then
#define ASK_AT_MOST     0.8
#define SIGNAL_SECONDS  40.0 // deaths so soon after TERM or INT are the launcher's doing
#define LAUNCHER_GRACE  5.0  // then it may end this rank too, before anything is said
#define FAILING_SECONDS 5.0  // for a rank that tells why it ends to end all
#define END_SECONDS     3    // for the launcher to end the ranks; then they end themselves

static const char *const phase_names[AXL_N_PHASES] = {
    [AXL_PHASE_LOADING] = "loading",
    [AXL_PHASE_COMPUTING] = "computing",
    [AXL_PHASE_EVALUATING] = "evaluating",
    [AXL_PHASE_SAVING] = "saving",
};

// ---- the end

static void on_alarm(int number)
{
    (void)number;
    _exit(4);
}

static void sleep_on(double seconds)
{
    const double end = axl_now() + seconds;
    const struct timespec t = {.tv_nsec = 20000000};

    while (axl_now() < end)
        (void)nanosleep(&t, NULL);
}

_Noreturn void axl_watch_end(axl_watch *w, int code, const char *text, bool abort_all)
{
    const struct sigaction action = {.sa_handler = on_alarm};

    atomic_store(&w->verdict, 1);
    // Whatever follows may block: the log's disk, MPI without its network.
    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(END_SECONDS);
    if (text != NULL)
        axl_debug("%s", text);
    if (abort_all)
        w->world->transport->abort(w->world, code);
    else
        sleep_on(END_SECONDS - 1.0); // the launcher counts the end that came first
    _exit(code);
}

// Of the ranks that judge for themselves, the first of each host prints: an abstract socket is a lock that
// nobody needs to remove. It lasts as long as its holder, who therefore waits for the others' verdicts.
static bool first_to_print(const axl_watch *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint64_t token = 0;

    memcpy(&token, w->contact[0].token, sizeof token);
    (void)snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "axl-dist-%016llx",
                   (unsigned long long)token);
    return fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) == 0 || errno != EADDRINUSE;
}

// ---- text

typedef struct text {
    char s[AXL_WATCH_TEXT];
    size_t n;
} text;

__attribute__((format(printf, 2, 3))) static void put(text *t, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, args);
    va_end(args);
    t->n = n < 0 || (size_t)n >= sizeof t->s - t->n ? sizeof t->s - 1 : t->n + (size_t)n;
}

static void put_rank(text *t, const axl_peer *p)
{
    put(t, "rank %d (host %s, pid %d)", p->rank, p->host, p->pid);
}

static void put_wait(text *t, const axl_peer *p)
{
    put(t, "in %s on axis %s (%lld bytes), step %lld", p->state.op, p->state.axis,
        (long long)p->state.bytes, (long long)p->state.step);
}

static void put_doing(text *t, const axl_peer *p)
{
    if (p->status == AXL_PEER_GONE)
        put(t, "it has left the run");
    else if (p->state.waiting != 0)
        put_wait(t, p);
    else if (p->state.phase == AXL_PHASE_LOADING || p->state.step == 0)
        put(t, "%s", phase_names[p->state.phase]);
    else
        put(t, "%s, step %lld", phase_names[p->state.phase], (long long)p->state.step);
}

static void put_end(text *t, const axl_watch *w)
{
    axl_flight *f = &w->world->root->flight;

    (void)pthread_mutex_lock(&f->lock);
    if (f->checkpoint[0] == '\0')
        put(t, "; there is no checkpoint yet: start again from the beginning");
    else
        put(t,
            "; last good checkpoint: %s; start again with auto_resume_from_checkpoints: true to go "
            "on from it",
            f->checkpoint);
    (void)pthread_mutex_unlock(&f->lock);
}

// Straight to the descriptor: the main thread may hold the lock of stderr. There is no second way if it fails.
static void print(const axl_watch *w, text *t)
{
    char line[AXL_WATCH_TEXT + 64];

    put_end(t, w);
    const int n = snprintf(line, sizeof line, "axl-dist: rank %d: %s\n", w->world->rank, t->s);
    if ((w->world->rank < 2 || first_to_print(w)) && write(STDERR_FILENO, line, (size_t)n) < 0)
        errno = 0;
}

static _Noreturn void pronounce(axl_watch *w, text *t)
{
    atomic_store(&w->verdict, 1);
    print(w, t);
    axl_watch_say(w, AXL_WATCH_VERDICT, 4, t->s);
    if (w->world->rank >= 2)
        sleep_on(1.5 * w->beat);
    axl_watch_end(w, 4, t->s, true);
}

// ---- who waits

static bool is_here(const axl_watch *w, int rank)
{
    return rank == w->world->rank || w->peers[rank].status == AXL_PEER_ALIVE;
}

static double silence(const axl_watch *w, int rank)
{
    return rank == w->world->rank ? 0.0 : w->clock - w->peers[rank].heard;
}

static bool is_silent(const axl_watch *w, int rank, double seconds)
{
    return w->peers[rank].status == AXL_PEER_ALIVE && silence(w, rank) > seconds;
}

// The lowest rank that is heard and waits; NULL: none.
static const axl_peer *a_waiter(const axl_watch *w)
{
    for (int r = 0; r < w->world->size; r++)
        if (is_here(w, r) && silence(w, r) < w->options.heartbeat_timeout / 2 &&
            w->peers[r].state.waiting != 0)
            return &w->peers[r];
    return NULL;
}

static void put_waiter(text *t, const axl_watch *w)
{
    const axl_peer *p = a_waiter(w);

    if (p == NULL) {
        put(t, "; no rank waits for it yet (");
        put_doing(t, &w->peers[w->world->rank]);
        put(t, ")");
    } else {
        put(t, "; rank %d waits for it ", p->rank);
        put_wait(t, p);
    }
}

// ---- ranks that are not there: dead (silent < 0), or not heard for that long

static bool is_lost(const axl_watch *w, int rank, double silent)
{
    return silent < 0.0 ? w->peers[rank].status == AXL_PEER_DEAD : is_silent(w, rank, silent);
}

// The host whose ranks are exactly the lost ones, when there is another; else NULL.
static const char *lost_host(const axl_watch *w, double silent)
{
    const char *host = NULL;
    bool others = false;

    for (int r = 0; r < w->world->size; r++)
        if (is_lost(w, r, silent) && host == NULL)
            host = w->peers[r].host;
    for (int r = 0; host != NULL && r < w->world->size; r++) {
        const axl_peer *p = &w->peers[r];
        const bool there = p->host[0] != '\0' && strcmp(p->host, host) == 0;
        if (p->host[0] != '\0' && there != is_lost(w, r, silent))
            return NULL;
        others = others || (p->host[0] != '\0' && !there);
    }
    return others ? host : NULL;
}

static int put_lost(text *t, const axl_watch *w, double silent, const char *host)
{
    enum { SHOWN = 6 };
    int n = 0;

    if (host != NULL)
        put(t, "host %s with ", host);
    for (int r = 0; r < w->world->size; r++) {
        if (!is_lost(w, r, silent))
            continue;
        if (n < SHOWN) {
            put(t, "%s", n > 0 ? ", " : "");
            if (host != NULL)
                put(t, "rank %d (pid %d)", r, w->peers[r].pid);
            else
                put_rank(t, &w->peers[r]);
        }
        n++;
    }
    if (n > SHOWN)
        put(t, " and %d more", n - SHOWN);
    return n;
}

static const axl_peer *first_lost(const axl_watch *w, double silent)
{
    for (int r = 0; r < w->world->size; r++)
        if (is_lost(w, r, silent))
            return &w->peers[r];
    return NULL;
}

static void judge_dead(axl_watch *w)
{
    const axl_peer *p = first_lost(w, -1.0);
    text t = {.n = 0};

    if (p == NULL)
        return;
    const double ago = w->clock - p->ended;
    const bool launcher =
        w->signalled >= 0.0 && p->ended - w->signalled < SIGNAL_SECONDS && p->ended >= w->signalled;
    if (ago < (launcher ? LAUNCHER_GRACE : a_waiter(w) != NULL ? ASK_SECONDS : ASK_AT_MOST)) {
        axl_watch_say(w, AXL_WATCH_ASK, 0, NULL);
        return;
    }
    (void)put_lost(&t, w, -1.0, NULL);
    put(&t, " died (killed, or crashed), %.1f s before seen ", p->ended - p->heard);
    put_doing(&t, p);
    put_waiter(&t, w);
    pronounce(w, &t);
}

static void put_silent(text *t, const axl_watch *w, double silent)
{
    const axl_peer *p = first_lost(w, silent);
    const char *host = lost_host(w, silent);
    const int n = put_lost(t, w, silent, host);

    put(t, " %s been silent for %.1f s (heartbeat_timeout %g): %s; last seen ",
        n > 1 && host == NULL ? "have" : "has", silence(w, p->rank), w->options.heartbeat_timeout,
        host != NULL ? "stopped, down, or cut off from the network"
                     : "stopped, or on a machine that is");
    put_doing(t, p);
    put_waiter(t, w);
}

// Those who fall silent together are named together: their last beats lie up to one beat apart.
static void judge_silent(axl_watch *w)
{
    const double limit = w->options.heartbeat_timeout;
    text t = {.n = 0};

    if (first_lost(w, limit) != NULL) {
        put_silent(&t, w, limit - 1.5 * w->beat);
        pronounce(w, &t);
    }
    // The launcher may lose a host sooner, and end all before the timeout. If it was a signal for another
    // reason, a rank that cannot be heard is still worth a line, but no end: the run may save.
    if (w->signalled >= 0.0 && !w->noted_silence && first_lost(w, 2.5 * w->beat) != NULL) {
        put_silent(&t, w, 2.5 * w->beat);
        print(w, &t);
        w->noted_silence = true;
    }
}

// ---- ranks that do not come

static const axl_peer *longest_waiter(const axl_watch *w)
{
    const axl_peer *longest = NULL;

    for (int r = 0; r < w->world->size; r++) {
        const axl_peer *p = &w->peers[r];
        if (is_here(w, r) && p->state.waiting != 0 &&
            (longest == NULL || axl_peer_still(w, p) > axl_peer_still(w, longest)))
            longest = p;
    }
    return longest;
}

// The rank that is furthest behind among those that do (or do not) wait.
static const axl_peer *furthest_behind(const axl_watch *w, bool waiting)
{
    const axl_peer *last = NULL;

    for (int r = 0; r < w->world->size; r++) {
        const axl_peer *p = &w->peers[r];
        const bool gone = p->status == AXL_PEER_GONE;
        if ((!is_here(w, r) && !gone) || (!gone && (p->state.waiting != 0) != waiting) ||
            (gone && waiting))
            continue;
        if (last == NULL || p->state.n_started < last->state.n_started)
            last = p;
    }
    return last;
}

static bool same_wait(const axl_peer *a, const axl_peer *b)
{
    return strcmp(a->state.op, b->state.op) == 0 && strcmp(a->state.axis, b->state.axis) == 0 &&
           a->state.bytes == b->state.bytes;
}

// Everybody waits. The one to name beside the longest waiter: in another collective, else behind.
static void judge_crossed(axl_watch *w, const axl_peer *waiter)
{
    const double limit = w->options.collective_timeout;
    const axl_peer *other = NULL;
    text t = {.n = 0};

    for (int r = 0; r < w->world->size; r++) {
        const axl_peer *p = &w->peers[r];
        if (is_here(w, r) && axl_peer_still(w, p) < limit)
            return; // it has just come
        if (is_here(w, r) && other == NULL && !same_wait(p, waiter))
            other = p;
    }
    if (other == NULL)
        other = furthest_behind(w, true);
    put(&t, "all ranks have waited for each other for %.1f s (ddp_timeout %g): ",
        axl_peer_still(w, waiter), limit);
    put_rank(&t, waiter);
    put(&t, " ");
    put_wait(&t, waiter);
    if (other != waiter) {
        put(&t, "; ");
        put_rank(&t, other);
        put(&t, " ");
        put_wait(&t, other);
    }
    pronounce(w, &t);
}

static void note_long_phase(axl_watch *w, const axl_peer *p, const axl_peer *waiter)
{
    text t = {.n = 0};

    if (w->noted > 0.0 && w->clock - w->noted < w->options.collective_timeout)
        return;
    w->noted = w->clock;
    put_rank(&t, p);
    put(&t, " has been %s for %.0f s while rank %d waits ", phase_names[p->state.phase],
        axl_peer_still(w, p), waiter->rank);
    put_wait(&t, waiter);
    axl_warn("%s", t.s);
}

static void judge_waits(axl_watch *w)
{
    const double limit = w->options.collective_timeout;
    const axl_peer *waiter = longest_waiter(w), *behind = furthest_behind(w, false);
    text t = {.n = 0};

    if (limit <= 0.0 || waiter == NULL || axl_peer_still(w, waiter) <= limit)
        return;
    if (first_lost(w, 2.5 * w->beat) != NULL)
        return; // what it said is old; its silence will be judged
    if (behind == NULL) {
        judge_crossed(w, waiter);
        return;
    }
    // It may have come since it said so, or the waiter may have been released by it and not have said so.
    const double still = axl_peer_still(w, behind);
    if (still < 2.0 * w->beat || still < w->clock - waiter->heard + w->beat)
        return;
    if (behind->status != AXL_PEER_GONE &&
        (behind->state.phase == AXL_PHASE_LOADING || behind->state.phase == AXL_PHASE_SAVING)) {
        note_long_phase(w, behind, waiter);
        return;
    }
    put_rank(&t, behind);
    put(&t, " keeps the others waiting: ");
    put_doing(&t, behind);
    put(&t, ", no collective begun for %.1f s; rank %d has waited for it %.1f s (ddp_timeout %g) ",
        still, waiter->rank, axl_peer_still(w, waiter), limit);
    put_wait(&t, waiter);
    pronounce(w, &t);
}

// ---- who may judge

static bool is_out(const axl_watch *w, int rank)
{
    return w->peers[rank].status == AXL_PEER_DEAD || w->peers[rank].status == AXL_PEER_GONE ||
           is_silent(w, rank, w->options.heartbeat_timeout);
}

static void judge_failing(axl_watch *w)
{
    for (int r = 0; r < w->world->size; r++) {
        const axl_peer *p = &w->peers[r];
        if (p->status == AXL_PEER_FAILING && w->clock - p->ended > FAILING_SECONDS)
            axl_watch_end(w, p->code, NULL, true);
    }
}

// What the library of the GPUs finds out by itself, while its kernels wait for ever. Mostly another rank is the cause, so
// it has the time that a lost connection of MPI gets (axl_watch_leaving) to be named. The main thread is left alone: what
// is on the device now is worth nothing, and if the library's work were aborted it would go on with that.
static void judge_library(axl_watch *w)
{
    const double patience =
        w->options.heartbeat_timeout + 2.0 + (w->world->rank < 2 ? 0.0 : 1.5 * w->beat);
    const axl_peer *me = &w->peers[w->world->rank];
    text t = {.n = 0};

    if (w->library[0] == '\0') {
        if (!axl_nccl_failed(w->world->root, w->library, sizeof w->library))
            return;
        w->library_failed = w->clock;
    }
    if (w->clock - w->library_failed < patience)
        return;
    put_rank(&t, me);
    put(&t, ": %s; it was ", w->library);
    put_doing(&t, me);
    pronounce(w, &t);
}

void axl_watch_judge(axl_watch *w)
{
    const int rank = w->world->rank;

    judge_failing(w);
    judge_library(w);
    for (int r = 0; r < 2 && r < rank; r++)
        if (!is_out(w, r))
            return;
    judge_dead(w);
    judge_silent(w);
    if (rank < 2) // the others see too little
        judge_waits(w);
}
