// What the files of the watch share; private to them.
#ifndef AXL_COMM_WATCH_PRIVATE_H
#define AXL_COMM_WATCH_PRIVATE_H

#include "comm/transport.h"
#include "comm/watch_net.h"

#include <pthread.h>
#include <stdatomic.h>

typedef enum axl_peer_status {
    AXL_PEER_UNKNOWN, // not connected to this rank
    AXL_PEER_ALIVE,
    AXL_PEER_GONE,    // said goodbye
    AXL_PEER_FAILING, // said that it ends by itself, and tells why
    AXL_PEER_DEAD     // its connection ended without a word
} axl_peer_status;

// A rank as this one sees it. Ranks 0 and 1 see all, the others see ranks 0 and 1.
typedef struct axl_peer {
    int fd; // -1: none
    axl_peer_status status;
    int rank, pid, code;
    char host[AXL_WATCH_HOST];
    double heard, ended; // w->clock of the last byte; of the change to GONE, FAILING or DEAD
    axl_watch_state state;
    size_t n_in;
    char in[sizeof(axl_watch_message) + AXL_WATCH_TEXT];
} axl_peer;

enum { AXL_WATCH_NEW = 64 }; // connections that have not introduced themselves

typedef struct axl_watch {
    axl_comm *world; // borrowed
    int n_peers;     // its size
    bool stopped;    // the thread has ended; the connections stay
    axl_watch_options options;
    pthread_t thread;
    int listener, wake; // sockets, -1: none; wake: eventfd
    double beat;        // seconds between heartbeats
    // Seconds that the thread has seen pass. Sleep of the whole process (a stopped job) counts for little,
    // so that a rank does not find all others silent when it wakes.
    double clock, last_now, last_beat;
    double signalled;   // clock when TERM or INT was seen; negative: never
    double noted;       // of the last warning about a long phase
    bool noted_silence; // said when the launcher ended the run
    axl_watch_contact contact[2];
    axl_peer *peers;       // [size], owned; that of this rank holds its own state
    axl_peer *newcomer;    // [AXL_WATCH_NEW], owned
    double library_failed; // clock when the GPUs' library reported what library says
    char library[512];     // "": nothing
    uint64_t seen[4];      // of the flight record, at the last look
    double seen_since;
    atomic_int request; // of the main thread: 0 none, 1 stop, 2 failing
    atomic_int code;    // of failing
    atomic_int announced;
    atomic_int verdict;   // the end has begun
    atomic_int connected; // 0 not yet, 1 yes, -1 no
    char trouble[512];    // why not
} axl_watch;

// watch_judge.c: looks at all peers; does not return when a rank is lost.
void axl_watch_judge(axl_watch *w);
// Ends this process, and the others by the launcher, with code; text (may be NULL) goes to debug.log.
_Noreturn void axl_watch_end(axl_watch *w, int code, const char *text, bool abort_all);

// watch.c
void axl_watch_say(axl_watch *w, axl_watch_kind kind, int code, const char *text); // to all alive

// Seconds since the rank began or ended a collective, or changed its phase.
static inline double axl_peer_still(const axl_watch *w, const axl_peer *p)
{
    return (double)p->state.still_ms * 1e-3 + (w->clock - p->heard);
}

#endif
