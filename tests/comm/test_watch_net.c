// RUN: np=1
// The sockets of the watch: which address is taken, and who is let in.
#include "tests/check.h"

#include "comm/watch_net.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Answers one connection of a listener: with the token, or as a stranger would.
typedef struct server {
    int fd;
    uint8_t token[16];
    bool hangs_up;
} server;

static void *serve(void *argument)
{
    const server *s = argument;
    axl_watch_message m = {0};
    int fd = -1;

    while ((fd = accept(s->fd, NULL, NULL)) < 0)
        (void)usleep(1000);
    if (!s->hangs_up && recv(fd, &m, sizeof m, MSG_WAITALL) == (ssize_t)sizeof m) {
        m = (axl_watch_message){.kind = AXL_WATCH_HELLO, .pid = 77};
        memcpy(m.token, s->token, sizeof m.token);
        (void)axl_watch_send(fd, &m, NULL);
    }
    (void)close(fd);
    return NULL;
}

static void set_address(axl_watch_contact *c, int i, const char *text)
{
    c->address[i].family = AF_INET;
    assert_int_equal(inet_pton(AF_INET, text, c->address[i].bytes), 1);
    c->n_addresses = i + 1;
}

// A listener at the contact's port of another address of this machine.
static int listen_beside(const axl_watch_contact *c, const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, text, &a.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static axl_watch_message hello_of(const axl_watch_contact *c)
{
    axl_watch_message m = {.kind = AXL_WATCH_HELLO, .rank = 1, .host = "elsewhere"};

    memcpy(m.token, c->token, sizeof m.token);
    return m;
}

static void addresses_are_tried_until_one_knows_the_token(void **state)
{
    axl_watch_contact c;
    axl_watch_message answer;
    server real = {0}, stranger = {0}, closed = {.hangs_up = true};
    pthread_t threads[3];
    int fd = -1;

    (void)state;
    CHECK_OK(axl_watch_listen(true, &c, &real.fd));
    memcpy(real.token, c.token, sizeof c.token);
    stranger.fd = listen_beside(&c, "127.0.0.3");
    closed.fd = listen_beside(&c, "127.0.0.4");
    set_address(&c, 0, "127.0.0.2"); // nobody listens
    set_address(&c, 1, "127.0.0.3"); // another program
    set_address(&c, 2, "127.0.0.4"); // one that hangs up
    set_address(&c, 3, "127.0.0.1");
    server *all[] = {&real, &stranger, &closed};
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, serve, all[i]), 0);
    const axl_watch_message hello = hello_of(&c);
    CHECK_OK(axl_watch_connect(&c, &hello, &answer, &fd));
    assert_int_equal(answer.pid, 77);
    (void)close(fd);
    for (int i = 0; i < 3; i++) {
        (void)pthread_join(threads[i], NULL);
        (void)close(all[i]->fd);
    }
}

static void nobody_there_is_told_with_both_hosts(void **state)
{
    axl_watch_contact c;
    axl_watch_message answer;
    int listener = -1, fd = -1;

    (void)state;
    CHECK_OK(axl_watch_listen(true, &c, &listener));
    (void)close(listener);
    set_address(&c, 0, "127.0.0.2");
    (void)strcpy(c.host, "first");
    const axl_watch_message hello = hello_of(&c);
    assert_int_equal(axl_watch_connect(&c, &hello, &answer, &fd), AXL_E_COMM);
    assert_non_null(strstr(axl_error_message(), "host elsewhere cannot reach host first by TCP"));
}

static void other_hosts_get_addresses_this_host_needs_none(void **state)
{
    axl_watch_contact c;
    int fd = -1;

    (void)state;
    CHECK_OK(axl_watch_listen(true, &c, &fd));
    assert_int_equal(c.n_addresses, 0);
    assert_true(c.port > 0);
    (void)close(fd);
    CHECK_OK(axl_watch_listen(false, &c, &fd));
    assert_true(c.port > 0 && c.n_addresses >= 0 && c.n_addresses <= AXL_WATCH_ADDRESSES);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_tried_until_one_knows_the_token),
        cmocka_unit_test(nobody_there_is_told_with_both_hosts),
        cmocka_unit_test(other_hosts_get_addresses_this_host_needs_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
