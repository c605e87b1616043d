#include "net/socket.h"

#include "table.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union address address_of(const char *text)
{
    union address a = {
        .v4 = {.sin_family = AF_INET, .sin_port = htons(80)}
    };

    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) return a;
    a = (union address){
        .v6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)}
    };
    assert_int_equal(inet_pton(AF_INET6, text, &a.v6.sin6_addr), 1);
    return a;
}

static void loopback(void **state)
{
    static const struct {
        const char *address;
        bool loopback;
    } rows[] = {
        {"127.0.0.1",          true },
        {"127.255.255.254",    true },
        {"::1",                true },
        {"::ffff:127.0.0.1",   true },
        {"128.0.0.1",          false},
        {"126.255.255.255",    false},
        {"1.0.0.127",          false},
        {"10.0.0.1",           false},
        {"0.0.0.0",            false},
        {"::",                 false},
        {"::2",                false},
        {"1::1",               false},
        {"fe80::1",            false},
        {"::127.0.0.1",        false},
        {"::ffff:10.0.0.1",    false},
        {"64:ff9b::127.0.0.1", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        union address a = address_of(rows[i].address);

        if (socket_is_loopback(&a.any) != rows[i].loopback) fail_msg("%s", rows[i].address);
    }
    assert_false(socket_is_loopback(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static int tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    return fd;
}

static bool is_at_once(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    return on != 0;
}

/* The name of its congestion control, zero-padded. */
static void control_of(int fd, char *name, size_t size)
{
    socklen_t len = (socklen_t)size;

    memset(name, 0, size);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
}

static void prepared(void **state)
{
    union address here = address_of("127.0.0.1"), there = address_of("192.0.2.1");
    char usual[16], got[16];
    int fd = tcp();

    (void)state;
    control_of(fd, usual, sizeof(usual));
    assert_false(is_at_once(fd));
    socket_prepare(fd, &there.any);
    assert_true(is_at_once(fd));
    control_of(fd, got, sizeof(got));
    assert_string_equal(got, usual);
    socket_prepare(fd, &here.any);
    control_of(fd, got, sizeof(got));
    assert_string_equal(got, "reno");
    close(fd);
}

static void accepted(void **state)
{
    union address a = address_of("127.0.0.1");
    socklen_t len = sizeof(a.v4);
    int listener = tcp(), client = tcp(), fd;
    char got[16];

    (void)state;
    a.v4.sin_port = 0;
    assert_int_equal(bind(listener, &a.any, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, &a.any, &len), 0);
    assert_int_equal(connect(client, &a.any, len), 0);
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    socket_accepted(fd);
    assert_true(is_at_once(fd));
    control_of(fd, got, sizeof(got));
    assert_string_equal(got, "reno");
    close(fd);
    close(client);
    close(listener);
}

static void another_kind(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    socket_accepted(fds[0]);
    assert_int_equal(write(fds[0], "x", 1), 1);
    close(fds[0]);
    close(fds[1]);
    socket_accepted(fds[0]); /* closed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback),
        cmocka_unit_test(prepared),
        cmocka_unit_test(accepted),
        cmocka_unit_test(another_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
