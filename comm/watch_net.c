// Sockets of the watch. The hard part is the address: a host has several, and which of them the others can
// reach is not known, so all are tried.
#include "comm/watch_net.h"

#include "src/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_MS = 3000, ANSWER_MS = 10000 };

size_t axl_watch_message_size(int kind)
{
    return sizeof(axl_watch_message) + (kind == AXL_WATCH_VERDICT ? AXL_WATCH_TEXT : 0);
}

static void add_address(axl_watch_contact *c, int family, const void *bytes, size_t n)
{
    if (c->n_addresses == AXL_WATCH_ADDRESSES)
        return;
    c->address[c->n_addresses].family = family;
    memcpy(c->address[c->n_addresses].bytes, bytes, n);
    c->n_addresses++;
}

// Link-local IPv6 addresses need the other side's interface, so they are of no use.
static void list_addresses(axl_watch_contact *c)
{
    struct ifaddrs *list = NULL;

    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL || (i->ifa_flags & IFF_UP) == 0 ||
            (i->ifa_flags & IFF_LOOPBACK) != 0)
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            struct sockaddr_in v4;
            memcpy(&v4, i->ifa_addr, sizeof v4);
            add_address(c, AF_INET, &v4.sin_addr, sizeof v4.sin_addr);
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            struct sockaddr_in6 v6;
            memcpy(&v6, i->ifa_addr, sizeof v6);
            if (!IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr))
                add_address(c, AF_INET6, &v6.sin6_addr, sizeof v6.sin6_addr);
        }
    }
    freeifaddrs(list);
}

// A socket that takes IPv4 and IPv6, or IPv4 alone where the machine has no IPv6.
static int open_listener(bool here_only, int32_t *port)
{
    const int types = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, off = 0;
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    struct sockaddr_in v4 = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(here_only ? INADDR_LOOPBACK : INADDR_ANY)};
    socklen_t n = sizeof v4;
    int fd = here_only ? -1 : socket(AF_INET6, types, 0);

    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
        bind(fd, (struct sockaddr *)&v6, sizeof v6) == 0 && listen(fd, SOMAXCONN) == 0) {
        n = sizeof v6;
        (void)getsockname(fd, (struct sockaddr *)&v6, &n);
        *port = ntohs(v6.sin6_port);
        return fd;
    }
    if (fd >= 0)
        (void)close(fd);
    fd = socket(AF_INET, types, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&v4, sizeof v4) == 0 && listen(fd, SOMAXCONN) == 0) {
        (void)getsockname(fd, (struct sockaddr *)&v4, &n);
        *port = ntohs(v4.sin_port);
        return fd;
    }
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

axl_status axl_watch_listen(bool here_only, axl_watch_contact *contact, int *out)
{
    axl_status status = AXL_OK;

    *contact = (axl_watch_contact){0};
    (void)gethostname(contact->host, sizeof contact->host - 1);
    AXL_REQUIRE(getrandom(contact->token, sizeof contact->token, 0) ==
                    (ssize_t)sizeof contact->token,
                AXL_E_COMM, "no random numbers for the watch: %s", strerror(errno));
    *out = open_listener(here_only, &contact->port);
    AXL_REQUIRE(*out >= 0, AXL_E_COMM, "the watch cannot listen: %s", strerror(errno));
    if (!here_only)
        list_addresses(contact);

out:
    return status;
}

static bool wait_for(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    const double end = axl_now() + ms * 1e-3;
    int n = -1;

    do {
        n = poll(&p, 1, (int)((end - axl_now()) * 1e3) + 1);
    } while (n < 0 && errno == EINTR && axl_now() < end);
    return n > 0;
}

static int try_address(int family, const void *bytes, int port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    const struct sockaddr *to = family == AF_INET ? (const void *)&v4 : (const void *)&v6;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
    const int on = 1;
    socklen_t n = sizeof error;

    if (fd < 0)
        return -1;
    memcpy(&v4.sin_addr, bytes, sizeof v4.sin_addr);
    if (family == AF_INET6)
        memcpy(&v6.sin6_addr, bytes, sizeof v6.sin6_addr);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, to, family == AF_INET ? sizeof v4 : sizeof v6) == 0)
        return fd;
    if (errno == EINPROGRESS && wait_for(fd, POLLOUT, CONNECT_MS) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0)
        return fd;
    (void)close(fd);
    return -1;
}

// The answer proves that it is the listener: it repeats the token.
static bool introduce(int fd, const axl_watch_message *hello, axl_watch_message *answer)
{
    size_t at = 0;

    if (!axl_watch_send(fd, hello, NULL))
        return false;
    while (at < sizeof *answer) {
        if (!wait_for(fd, POLLIN, ANSWER_MS))
            return false;
        const ssize_t n = recv(fd, (char *)answer + at, sizeof *answer - at, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return answer->kind == AXL_WATCH_HELLO &&
           memcmp(answer->token, hello->token, sizeof hello->token) == 0;
}

axl_status axl_watch_connect(const axl_watch_contact *contact, const axl_watch_message *hello,
                             axl_watch_message *answer, int *out)
{
    axl_status status = AXL_OK;
    const struct in_addr here = {.s_addr = htonl(INADDR_LOOPBACK)};
    const bool same_host = strcmp(contact->host, hello->host) == 0 || contact->n_addresses == 0;
    int fd = -1;

    for (int i = same_host ? -1 : 0; i < contact->n_addresses; i++) {
        fd = i < 0 ? try_address(AF_INET, &here, contact->port)
                   : try_address(contact->address[i].family, contact->address[i].bytes,
                                 contact->port);
        if (fd >= 0 && introduce(fd, hello, answer))
            break;
        if (fd >= 0)
            (void)close(fd);
        fd = -1;
    }
    AXL_REQUIRE(fd >= 0, AXL_E_COMM,
                "host %s cannot reach host %s by TCP at any of its %d addresses", hello->host,
                contact->host, contact->n_addresses + same_host);
    *out = fd;

out:
    return status;
}

bool axl_watch_send(int fd, const axl_watch_message *message, const char *text)
{
    char bytes[sizeof *message + AXL_WATCH_TEXT] = {0};
    const size_t n = axl_watch_message_size(message->kind);

    memcpy(bytes, message, sizeof *message);
    if (text != NULL && n > sizeof *message)
        (void)snprintf(bytes + sizeof *message, AXL_WATCH_TEXT, "%s", text);
    return send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}
