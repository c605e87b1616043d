/* The volume client: names, states, addresses, descriptors. */
#include "volume_fixture.h"

#include "net/volume_internal.h"

#include <sys/resource.h>

/* ---- names --------------------------------------------------------------- */

static void test_names(void **state)
{
    static const struct {
        const char *name;
        enum mkv_err err;
    } rows[] = {
        {"localhost:3001",  MKV_OK    },
        {"localhost",       MKV_OK    },
        {"a.b-c_d:1",       MKV_OK    },
        {"127.0.0.1:65535", MKV_OK    },
        {"[::1]:3001",      MKV_OK    },
        {"[::1]",           MKV_OK    },
        {"host:80/dir",     MKV_OK    },
        {"host/dir/sub/",   MKV_OK    },
        {"[fe80::1]:1/d",   MKV_OK    },
        {"",                MKV_EINVAL},
        {":3001",           MKV_EINVAL},
        {"host:",           MKV_EINVAL},
        {"host:0",          MKV_EINVAL},
        {"host:65536",      MKV_EINVAL},
        {"host:1x",         MKV_EINVAL},
        {"ho st:1",         MKV_EINVAL},
        {"host:1/a b",      MKV_EINVAL},
        {"host:1/a?b",      MKV_EINVAL},
        {"host:1/a\r\nb",   MKV_EINVAL},
        {"::1:3001",        MKV_EINVAL},
        {"[::1:3001",       MKV_EINVAL},
        {"[host]:1",        MKV_EINVAL},
        {"[1.2.3.4]",       MKV_EINVAL},
        {"[]:1",            MKV_EINVAL},
        {"http://host:1",   MKV_EINVAL},
        {"[::1]x:1",        MKV_EINVAL},
        {"u@host:1",        MKV_EINVAL},
    };
    struct fixture *f = *state;
    struct mkv_volume *v, *again;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_slice name = mkv_slice_of(rows[i].name);

        if (mkv_volumes_get(f->volumes, name, &v) != rows[i].err) fail_msg("%s", rows[i].name);
        if (rows[i].err) continue;
        assert_true(mkv_slice_eq(mkv_volume_name(v), name));
        assert_int_equal(mkv_volumes_get(f->volumes, name, &again), MKV_OK);
        assert_ptr_equal(v, again);
        assert_int_equal(mkv_volume_state(v), MKV_VOLUME_UP);
    }
}

static void test_every_volume_is_listed(void **state)
{
    struct fixture *f = *state;
    struct mkv_volume *v = NULL;
    int n = 0;

    fixture_use(f, "b", 1);
    fixture_use(f, "a", 2);
    while ((v = mkv_volumes_next(f->volumes, v)))
        n++;
    assert_int_equal(n, 3);
}

/* ---- failures and states ------------------------------------------------- */

static void test_refused_then_back(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    close(f->fake.listener);
    f->fake.listener = -1;
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "connection refused");
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    assert_string_equal(stats_of(f).last_error, "connection refused");
    assert_int_equal(stats_of(f).failures, 1);

    /* A probe fails, and a later one finds it back. */
    run_until(f, stats_of(f).failures >= 2);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0);
    fake_start(&f->fake, script_always_201);
    run_until(f, mkv_volume_state(f->volume) == MKV_VOLUME_UP);
    assert_memory_equal(f->fake.request, "HEAD / HTTP/1.1\r\n", 17);
    trace_clear(&t);
}

/* Down, but asked all the same: an answer brings it back at once. */
static void test_an_answer_brings_it_back(void **state)
{
    struct fixture *f = *state;
    struct trace t, second;

    trace_init(&t, f);
    trace_init(&second, f);
    close(f->fake.listener);
    f->fake.listener = -1;
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0);
    fake_start(&f->fake, script_always_201);
    ask(&second, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(second.status, 201);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
    trace_clear(&t);
    trace_clear(&second);
}

/* Accepts (the kernel does) and never answers. */
static void test_hanging(void **state)
{
    struct fixture *f = *state;

    for (int i = 1; i <= VOLUME_DOWN_AFTER; i++) {
        struct trace t;
        uint64_t began = test_now_ms();

        trace_init(&t, f);
        ask(&t, i == 2 ? MKV_VOLUME_GET : MKV_VOLUME_HEAD, "/x");
        assert_int_equal(t.err, MKV_EVOLUME);
        assert_string_equal(t.why, "no answer within 300 ms");
        assert_true(test_now_ms() - began >= QUICK_MS - 1);
        assert_true(mkv_volume_state(f->volume) != MKV_VOLUME_UP);
        trace_clear(&t);
    }
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    run_until(f, stats_of(f).busy + stats_of(f).idle == 0); /* a probe may be under way */
}

static void test_hanging_put_and_delete(void **state)
{
    struct fixture *f = *state;
    struct trace t, second, third;

    trace_init(&t, f);
    trace_init(&second, f);
    trace_init(&third, f);
    put(&t, "/x", "hello", false);
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "no progress for 300 ms");
    assert_true(t.sent_all);
    ask(&second, MKV_VOLUME_DELETE, "/x");
    assert_string_equal(second.why, "no progress for 300 ms");

    /* A client that does not send is not the volume's fault. */
    begin_exchange(&third, MKV_VOLUME_PUT, "/x", 100);
    run_until(f, third.ready);
    for (uint64_t end = test_now_ms() + 2 * QUICK_MS; test_now_ms() < end;)
        mkv_loop_turn(f->loop);
    assert_false(third.done);
    assert_false(mkv_exchange_sent_all(third.x));
    mkv_exchange_cancel(third.x);
    trace_clear(&t);
    trace_clear(&second);
    trace_clear(&third);
}

/* A listener whose queue is full: the kernel drops what else comes. */
static void test_no_connection_in_time(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[8];
    struct trace t;

    assert_int_equal(listen(f->fake.listener, 0), 0);
    a.sin_port = htons((uint16_t)f->fake.port);
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&a, sizeof(a));
    }
    trace_init(&t, f);
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "no connection within 300 ms");
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_SUSPECT);
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    trace_clear(&t);
}

static void test_unknown_host(void **state)
{
    struct fixture *f = *state;
    struct trace t;

    trace_init(&t, f);
    fixture_use(f, "no-such-host.invalid", 80);
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_true(t.why[0] != '\0');
    assert_true(mkv_volume_state(f->volume) != MKV_VOLUME_UP);
    trace_clear(&t);
}

static void script_500_then_200(struct fake *f)
{
    int fd = serve(f);

    if (hear_head(f, fd)) say(fd, "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops");
    if (hear_head(f, fd)) say(fd, "HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n");
    if (hear_head(f, fd)) say(fd, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    hear_head(f, fd);
    close(fd);
}

static void test_5xx_makes_suspect(void **state)
{
    static const struct {
        int status;
        enum mkv_volume_state expected;
    } rows[] = {
        {500, MKV_VOLUME_SUSPECT},
        {507, MKV_VOLUME_SUSPECT},
        {404, MKV_VOLUME_UP     }
    };
    struct fixture *f = *state;

    fake_start(&f->fake, script_500_then_200);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace t;

        trace_init(&t, f);
        ask(&t, MKV_VOLUME_GET, "/x");
        assert_int_equal(t.err, MKV_OK);
        assert_int_equal(t.status, rows[i].status);
        assert_int_equal(mkv_volume_state(f->volume), rows[i].expected);
        trace_clear(&t);
    }
    assert_int_equal(stats_of(f).connects, 1);
}

/* ---- descriptors --------------------------------------------------------- */

/* Takes descriptors until there are none; returns how many. */
static size_t exhaust(int *fds, size_t max)
{
    size_t n = 0;

    while (n < max && (fds[n] = dup(0)) >= 0)
        n++;
    return n;
}

/* Keeps its descriptor when the other end closes. */
static void script_one_connection(struct fake *f)
{
    int fd = serve(f);

    while (hear_head(f, fd))
        say(fd, ANSWER_201);
    wait_for_stage(f, 1);
    close(fd);
}

static void test_no_descriptors(void **state)
{
    struct fixture *f = *state;
    struct mkv_volume *first = f->volume;
    struct mkv_volume_stats stats;
    struct rlimit before, few;
    struct trace t, second, third;
    int fds[256];
    size_t n;

    trace_init(&t, f);
    trace_init(&second, f);
    trace_init(&third, f);
    fake_start(&f->fake, script_one_connection);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(stats_of(f).idle, 1);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 200;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    n = exhaust(fds, COUNT(fds));

    /* Another volume gets the descriptor of the first one's idle connection. */
    fixture_use(f, "127.0.0.1", f->fake.port);
    begin_exchange(&second, MKV_VOLUME_PUT, "/x", 5);
    run_until(f, second.ready);
    mkv_volume_stats(first, &stats);
    assert_int_equal(stats.idle, 0);
    assert_int_equal(stats_of(f).connects, 1);

    /* Now there is nothing to give up. */
    begin_exchange(&third, MKV_VOLUME_HEAD, "/x", 0);
    run_until(f, third.done);
    assert_int_equal(third.err, MKV_EVOLUME);
    assert_non_null(strstr(third.why, "descriptors"));
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);
    mkv_exchange_cancel(second.x);

    atomic_store(&f->fake.stage, 1);
    while (n)
        close(fds[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    trace_clear(&t);
    trace_clear(&second);
    trace_clear(&third);
}

/* ---- addresses ----------------------------------------------------------- */

static void test_ipv6(void **state)
{
    struct fixture *f = *state;
    struct fake six = {.port = 0};
    struct trace t;

    if (fake_listen(&six, AF_INET6, 4)) skip(); /* a machine without IPv6 */
    trace_init(&t, f);
    fake_start(&six, script_always_201);
    fixture_use(f, "[::1]", six.port);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(t.status, 201);
    trace_clear(&t);
    mkv_volumes_close(f->volumes);
    f->volumes = NULL;
    shutdown(six.listener, SHUT_RDWR);
    fake_join(&six);
    close(six.listener);
}

/* As if the volume's name stood for these ports of 127.0.0.1. */
static void set_addresses(struct mkv_volume *v, int first, int second)
{
    resolve_numeric("127.0.0.1", (uint16_t)first, &v->address.addresses[0]);
    resolve_numeric("127.0.0.1", (uint16_t)second, &v->address.addresses[1]);
    v->address.n = 2;
    v->address.numeric = true;
    v->preferred = 0;
}

static int closed_port(void)
{
    struct fake f = {.port = 0};

    assert_int_equal(fake_listen(&f, AF_INET, -1), 0);
    close(f.listener);
    return f.port;
}

static void test_next_address_where_refused(void **state)
{
    struct fixture *f = *state;
    struct trace t, second;

    trace_init(&t, f);
    trace_init(&second, f);
    fake_start(&f->fake, script_always_201);
    set_addresses(f->volume, closed_port(), f->fake.port);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(t.status, 201);
    assert_int_equal(f->volume->preferred, 1); /* tried first from now on */
    assert_int_equal(stats_of(f).failures, 0);
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_UP);

    set_addresses(f->volume, closed_port(), closed_port());
    volume_close_connection(TAILQ_FIRST(&f->volume->idle));
    ask(&second, MKV_VOLUME_DELETE, "/x");
    assert_string_equal(second.why, "connection refused");
    assert_int_equal(mkv_volume_state(f->volume), MKV_VOLUME_DOWN);
    trace_clear(&t);
    trace_clear(&second);
}

static int set_up_4s(void **state)
{
    return set_up_with(state, 4000, 4000);
}

/* The first address swallows packets: the second gets its share of the time. */
static void test_next_address_where_silent(void **state)
{
    struct fixture *f = *state;
    struct fake silent = {.port = 0};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[8];
    struct trace t;

    assert_int_equal(fake_listen(&silent, AF_INET, 0), 0);
    a.sin_port = htons((uint16_t)silent.port);
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&a, sizeof(a));
    }
    trace_init(&t, f);
    fake_start(&f->fake, script_always_201);
    set_addresses(f->volume, silent.port, f->fake.port);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(t.status, 201);
    assert_int_equal(f->volume->preferred, 1);
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    close(silent.listener);
    trace_clear(&t);
}

/* What the server may have forgotten is not used again. */
static void test_old_idle_connections_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct trace t, second;

    trace_init(&t, f);
    trace_init(&second, f);
    fake_start(&f->fake, script_always_201);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    TAILQ_FIRST(&f->volume->idle)->idle_since_ms -= VOLUME_IDLE_MS + 1;
    ask(&second, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(second.status, 201);
    assert_int_equal(stats_of(f).connects, 2);
    assert_int_equal(stats_of(f).idle, 1);
    trace_clear(&t);
    trace_clear(&second);
}

/* The size of the buffer that the kernel receives into. */
static int buffer_of(struct fixture *f)
{
    struct trace t;
    int size = 0;
    socklen_t len = sizeof(size);

    trace_init(&t, f);
    ask(&t, MKV_VOLUME_DELETE, "/x");
    assert_int_equal(t.status, 201);
    assert_int_equal(getsockopt(TAILQ_FIRST(&f->volume->idle)->stream.fd, SOL_SOCKET, SO_RCVBUF,
                                &size, &len),
                     0);
    volume_close_connection(TAILQ_FIRST(&f->volume->idle));
    trace_clear(&t);
    return size;
}

static void test_the_kernel_takes_ahead(void **state)
{
    struct fixture *f = *state;
    int before;

    fake_start(&f->fake, script_always_201);
    before = buffer_of(f);
    f->volumes->opt.ahead = 1024 * 1024;
    assert_true(buffer_of(f) > before);
}

int main(void)
{
#define WITH(test)       cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITH_QUICK(test) cmocka_unit_test_setup_teardown(test, set_up_quick, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_names),
        WITH(test_every_volume_is_listed),
        WITH(test_refused_then_back),
        WITH(test_an_answer_brings_it_back),
        WITH_QUICK(test_hanging),
        WITH_QUICK(test_hanging_put_and_delete),
        WITH_QUICK(test_no_connection_in_time),
        WITH(test_unknown_host),
        WITH(test_5xx_makes_suspect),
        WITH(test_no_descriptors),
        WITH(test_ipv6),
        WITH(test_next_address_where_refused),
        cmocka_unit_test_setup_teardown(test_next_address_where_silent, set_up_4s, tear_down),
        WITH(test_old_idle_connections_are_dropped),
        WITH(test_the_kernel_takes_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
