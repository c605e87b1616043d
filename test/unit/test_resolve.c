/* Names to addresses: the hosts file, and a name server played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mkv/loop.h"
#include "net/resolve.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *show(const union resolve_address *a, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN];

    if (a->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->v4.sin_addr, text, sizeof(text));
        snprintf(out, size, "%s %d", text, ntohs(a->v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &a->v6.sin6_addr, text, sizeof(text));
        snprintf(out, size, "%s %d", text, ntohs(a->v6.sin6_port));
    }
    return out;
}

static void assert_addresses(const union resolve_address *a, unsigned n, const char *expected)
{
    char all[512] = "", one[80];

    for (unsigned i = 0; i < n; i++) {
        size_t len = strlen(all);

        snprintf(all + len, sizeof(all) - len, "%s%s", i ? ", " : "",
                 show(&a[i], one, sizeof(one)));
    }
    assert_string_equal(all, expected);
}

static void test_numeric(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"127.0.0.1",   true },
        {"::1",         true },
        {"10.0.0.256",  false},
        {"1.2.3",       false},
        {"localhost",   false},
        {"",            false},
        {"::1%lo",      false},
        {"fe80::1:2:3", true }
    };
    union resolve_address a;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(resolve_numeric(rows[i].text, 1, &a), rows[i].ok);
}

static void test_hosts_file(void **state)
{
    static const struct {
        const char *file, *host, *expected;
    } rows[] = {
        {"127.0.0.1 localhost\n",                                  "localhost", "127.0.0.1 80"                      },
        {"127.0.0.1 localhost",                                    "localhost", "127.0.0.1 80"                      },
        {"127.0.0.1\tlocalhost\r\n::1 localhost\n",                "LOCALHOST", "127.0.0.1 80, ::1 80"              },
        {"::1 ip6 localhost\n127.0.0.1 a b localhost c\n",         "localhost", "::1 80, 127.0.0.1 80"              },
        {"#127.0.0.1 localhost\n",                                 "localhost", ""                                  },
        {"127.0.0.1 local # localhost\n",                          "localhost", ""                                  },
        {"127.0.0.1 local#host\n10.0.0.1 local\n",                 "local",     "127.0.0.1 80, 10.0.0.1 80"         },
        {"nonsense localhost\n10.0.0.9 localhost\n",               "localhost", "10.0.0.9 80"                       },
        {"10.0.0.9 localhosts local\n",                            "localhost", ""                                  },
        {"localhost\n",                                            "localhost", ""                                  },
        {"\n\n   \n",                                              "localhost", ""                                  },
        {"",                                                       "localhost", ""                                  },
        {"12345678901234567890123456789012345678901234567890 x\n", "x",         ""                                  },
        {"1.1.1.1 x\n2.2.2.2 x\n3.3.3.3 x\n4.4.4.4 x\n",           "x",         "1.1.1.1 80, 2.2.2.2 80, 3.3.3.3 80"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        union resolve_address a[3];
        unsigned n = resolve_hosts(mkv_slice_of(rows[i].file), rows[i].host, 80, a, 3);

        assert_addresses(a, n, rows[i].expected);
    }
}

/* ---- with a loop, and a name server -------------------------------------- */

struct fixture {
    struct mkv_loop *loop;
    char hosts[64], resolv[64];
    struct resolver_options with;
    int server; /* UDP */
    struct event *readable;
    unsigned asked; /* questions that arrived          */
    bool mute, mute6, absent;
    unsigned char last; /* of the IPv4 address it answers  */
    struct resolve_wait wait;
    int answers; /* calls of done                   */
    enum mkv_err err;
};

static void put16(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

/* Answers each question for A with 10.0.0.last, for AAAA with fd00::1. */
static void on_question(evutil_socket_t fd, short what, void *arg)
{
    struct fixture *f = arg;
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    uint8_t m[512];
    ssize_t n = recvfrom(fd, m, sizeof(m) - 64, 0, (struct sockaddr *)&from, &from_len);
    unsigned type, size;

    (void)what;
    if (n < 17) return;
    f->asked++;
    type = (unsigned)m[n - 4] << 8 | m[n - 3];
    if (f->mute || (f->mute6 && type == 28)) return;
    size = type == 28 ? 16 : 4;
    put16(m + 2, f->absent ? 0x8183 : 0x8180);
    put16(m + 6, f->absent ? 0 : 1);
    put16(m + 8, 0);
    put16(m + 10, 0);
    if (!f->absent) {
        put16(m + n, 0xc00c); /* the name: as in the question */
        put16(m + n + 2, type);
        put16(m + n + 4, 1);
        put16(m + n + 6, 0);
        put16(m + n + 8, 600);
        put16(m + n + 10, size);
        memset(m + n + 12, 0, size);
        m[n + 12] = type == 28 ? 0xfd : 10;
        m[n + 12 + size - 1] = type == 28 ? 1 : f->last;
        n += 12 + (ssize_t)size;
    }
    assert_int_equal(sendto(fd, m, (size_t)n, 0, (struct sockaddr *)&from, from_len), n);
}

static void write_file(char *path, size_t size, const char *text)
{
    int fd;

    snprintf(path, size, "/tmp/mkv-resolve-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void on_done(enum mkv_err err, void *arg)
{
    struct fixture *f = arg;

    f->answers++;
    f->err = err;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    char conf[80];

    assert_non_null(f);
    assert_int_equal(mkv_loop_open(&f->loop), MKV_OK);
    f->server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->server, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(f->server, (struct sockaddr *)&a, &len), 0);
    f->readable =
        event_new(mkv_loop_base(f->loop), f->server, EV_READ | EV_PERSIST, on_question, f);
    assert_int_equal(event_add(f->readable, NULL), 0);
    snprintf(conf, sizeof(conf), "nameserver 127.0.0.1:%d\n", ntohs(a.sin_port));
    write_file(f->hosts, sizeof(f->hosts), "127.0.0.3 near.test\n");
    write_file(f->resolv, sizeof(f->resolv), conf);
    f->with = (struct resolver_options){f->loop, f->hosts, f->resolv};
    f->wait.done = on_done;
    f->wait.arg = f;
    f->last = 7;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    event_free(f->readable);
    close(f->server);
    mkv_loop_close(f->loop);
    unlink(f->hosts);
    unlink(f->resolv);
    free(f);
    return 0;
}

static void run_until_answered(struct fixture *f)
{
    int before = f->answers;

    while (f->answers == before)
        mkv_loop_turn(f->loop);
}

/* As if the answer were old enough. */
static void doubt(struct resolve_name *name)
{
    name->expires_ms = mkv_loop_now(name->with.loop) + RESOLVE_KEEP_MS;
    resolve_doubt(name);
    assert_false(name->doubtful);
    name->expires_ms -= RESOLVE_DOUBT_MS;
    resolve_doubt(name);
    assert_true(name->doubtful);
}

static void test_needs_no_dns(void **state)
{
    static const struct {
        const char *host, *expected;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1 81"        },
        {"::1",       "::1 81"              },
        {"near.test", "127.0.0.3 81"        },
        {"localhost", "127.0.0.1 81, ::1 81"}
    }; /* though the file lacks it */
    struct fixture *f = *state;
    struct resolve_name name;

    f->with.resolv_conf = "/nonexistent/resolv.conf";
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (i == 3) f->with.hosts = "/nonexistent/hosts";
        resolve_name_init(&name, &f->with, mkv_slice_of(rows[i].host), 81);
        assert_int_equal(resolve(&name, &f->wait), MKV_OK);
        assert_addresses(name.addresses, name.n, rows[i].expected);
        resolve_name_clear(&name);
    }
    assert_int_equal(f->asked, 0);
}

static void test_asks_dns_and_keeps_the_answer(void **state)
{
    struct fixture *f = *state;
    struct resolve_name name;

    resolve_name_init(&name, &f->with, MKV_SLICE("far.test"), 81);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    run_until_answered(f);
    assert_int_equal(f->err, MKV_OK);
    assert_addresses(name.addresses, name.n, "10.0.0.7 81, fd00::1 81");
    assert_int_equal(f->asked, 2);
    assert_int_equal(resolve(&name, &f->wait), MKV_OK);
    assert_int_equal(f->asked, 2);

    /* Addresses that do not work are asked for anew. */
    f->last = 8;
    doubt(&name);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    run_until_answered(f);
    assert_addresses(name.addresses, name.n, "10.0.0.8 81, fd00::1 81");

    /* An expired answer serves while the new one is fetched. */
    f->last = 9;
    name.expires_ms = 0;
    assert_int_equal(resolve(&name, &f->wait), MKV_OK);
    assert_addresses(name.addresses, name.n, "10.0.0.8 81, fd00::1 81");
    while (name.lookup)
        mkv_loop_turn(f->loop);
    assert_addresses(name.addresses, name.n, "10.0.0.9 81, fd00::1 81");

    /* No new answer: the old one goes on. */
    f->absent = true;
    doubt(&name);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    run_until_answered(f);
    assert_int_equal(f->err, MKV_OK);
    assert_addresses(name.addresses, name.n, "10.0.0.9 81, fd00::1 81");
    resolve_name_clear(&name);
}

static void test_one_family_is_enough(void **state)
{
    struct fixture *f = *state;
    struct resolve_name name;

    f->mute6 = true;
    resolve_name_init(&name, &f->with, MKV_SLICE("far.test"), 81);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    run_until_answered(f);
    assert_int_equal(f->err, MKV_OK);
    assert_addresses(name.addresses, name.n, "10.0.0.7 81");
    resolve_name_clear(&name);
}

static void test_no_such_name(void **state)
{
    struct fixture *f = *state;
    struct resolve_name name;

    f->absent = true;
    resolve_name_init(&name, &f->with, MKV_SLICE("far.test"), 81);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    run_until_answered(f);
    assert_int_equal(f->err, MKV_EDNS);
    assert_string_equal(name.why, "no such host name");
    resolve_name_clear(&name);
}

static void test_all_who_wait_are_told_once(void **state)
{
    struct fixture *f = *state;
    struct resolve_name name;
    struct resolve_wait second = f->wait, third = f->wait;

    resolve_name_init(&name, &f->with, MKV_SLICE("far.test"), 81);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    assert_int_equal(resolve(&name, &second), MKV_PENDING);
    assert_int_equal(resolve(&name, &third), MKV_PENDING);
    resolve_forget(&name, &second);
    while (name.lookup)
        mkv_loop_turn(f->loop);
    assert_int_equal(f->answers, 2);
    assert_int_equal(f->asked, 2);
    resolve_name_clear(&name);
}

/* Nobody listens at the name server's port, or nothing comes back. */
static void test_name_server_is_dead(void **state)
{
    struct fixture *f = *state;
    struct resolve_name name;

    f->mute = true;
    resolve_name_init(&name, &f->with, MKV_SLICE("far.test"), 81);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    run_until_answered(f);
    assert_int_equal(f->err, MKV_EDNS);
    assert_string_equal(name.why, "the name servers do not answer");
    resolve_name_clear(&name);
}

static void test_given_up_in_mid_look_up(void **state)
{
    struct fixture *f = *state;
    struct resolve_name name;

    f->mute = true;
    resolve_name_init(&name, &f->with, MKV_SLICE("far.test"), 81);
    assert_int_equal(resolve(&name, &f->wait), MKV_PENDING);
    while (f->asked < 2)
        mkv_loop_turn(f->loop);
    resolve_name_clear(&name);
    mkv_loop_turn(f->loop);
    assert_int_equal(f->answers, 0);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numeric),
        cmocka_unit_test(test_hosts_file),
        WITH(test_needs_no_dns),
        WITH(test_asks_dns_and_keeps_the_answer),
        WITH(test_one_family_is_enough),
        WITH(test_no_such_name),
        WITH(test_all_who_wait_are_told_once),
        WITH(test_name_server_is_dead),
        WITH(test_given_up_in_mid_look_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
