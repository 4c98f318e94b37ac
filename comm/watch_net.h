// Sockets of the watch: a listener, addresses to reach it by, messages of one size. Private to comm/.
#ifndef AXL_COMM_WATCH_NET_H
#define AXL_COMM_WATCH_NET_H

#include "src/base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { AXL_WATCH_HOST = 64, AXL_WATCH_ADDRESSES = 16, AXL_WATCH_TEXT = 2048 };

// Where a listener is; sent to all ranks.
typedef struct axl_watch_contact {
    uint8_t token[16]; // of this run: nobody else is let in
    int32_t port, n_addresses;
    char host[AXL_WATCH_HOST];
    struct {
        int32_t family;
        uint8_t bytes[16];
    } address[AXL_WATCH_ADDRESSES];
} axl_watch_contact;

// What the main thread of a rank does.
typedef struct axl_watch_state {
    int64_t step, bytes;
    int64_t still_ms; // since it last began or ended a collective, or changed its phase
    uint64_t n_started;
    int32_t phase, waiting;
    char op[24], axis[24];
} axl_watch_state;

typedef enum axl_watch_kind {
    AXL_WATCH_HELLO,   // first message of a rank, and the answer to it
    AXL_WATCH_STATE,   // the heartbeat
    AXL_WATCH_ASK,     // say your state now
    AXL_WATCH_BYE,     // an orderly end follows
    AXL_WATCH_FAILING, // an end with exit code `code` follows; the sender tells why
    AXL_WATCH_VERDICT  // end with code 4; text follows the message
} axl_watch_kind;

typedef struct axl_watch_message {
    uint8_t token[16];
    int32_t kind, rank, pid, code;
    char host[AXL_WATCH_HOST];
    axl_watch_state state;
} axl_watch_message;

// Bytes of a message of this kind on the wire, with its text.
size_t axl_watch_message_size(int kind);

// A listener on a free port, on the loopback interface only when here_only. Fills contact. Sockets are
// closed by the caller and not inherited. AXL_E_COMM.
axl_status axl_watch_listen(bool here_only, axl_watch_contact *contact, int *out);

// Tries the addresses in turn (loopback first on the same host) until one answers hello with the token:
// an address of a private network may belong to another machine here. *answer: who answered.
axl_status axl_watch_connect(const axl_watch_contact *contact, const axl_watch_message *hello,
                             axl_watch_message *answer, int *out);

// Sends without blocking; false when the peer takes no more. A message is never torn: a connection
// that took a part of one is not written to again by the caller.
bool axl_watch_send(int fd, const axl_watch_message *message, const char *text);

#endif
