/* The volume client against a real nginx, started in a temporary directory. */
#include "volume_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct nginx {
    struct fixture f; /* first: the state that tests get */
    char dir[64];
    int port;
    pid_t pid;
};

static const char *nginx_program(void)
{
    static const char *const places[] = {"/usr/sbin/nginx", "/usr/local/sbin/nginx",
                                         "/usr/bin/nginx", "/opt/homebrew/bin/nginx"};

    for (size_t i = 0; i < COUNT(places); i++)
        if (access(places[i], X_OK) == 0) return places[i];
    return NULL;
}

static int free_port(void)
{
    struct fake f = {.port = 0};

    assert_int_equal(fake_listen(&f, AF_INET, -1), 0);
    close(f.listener);
    return f.port;
}

static void write_conf(const struct nginx *n)
{
    char path[128];
    FILE *out;

    snprintf(path, sizeof(path), "%s/conf", n->dir);
    out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out,
            "%s daemon off; master_process on; worker_processes 1; pid %s/pid;\n"
            "error_log %s/error.log crit;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 200; client_max_body_size 0;\n"
            " client_body_temp_path %s/tmp; proxy_temp_path %s/t1; fastcgi_temp_path %s/t2;\n"
            " uwsgi_temp_path %s/t3; scgi_temp_path %s/t4;\n"
            " server { listen 127.0.0.1:%d; root %s/data;\n"
            "  location / { dav_methods PUT DELETE; create_full_put_path on;\n"
            "   autoindex on; autoindex_format json; } } }\n",
            getuid() == 0 ? "user root;" : "", n->dir, n->dir, n->dir, n->dir, n->dir, n->dir,
            n->dir, n->port, n->dir);
    assert_int_equal(fclose(out), 0);
}

static void start_nginx(struct nginx *n)
{
    char conf[128];
    uint64_t end = test_now_ms() + PATIENCE_MS;

    snprintf(conf, sizeof(conf), "%s/conf", n->dir);
    n->pid = fork();
    assert_true(n->pid >= 0);
    if (n->pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        /* It goes when the test goes, and holds none of its pipes. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(null, 1);
        dup2(null, 2);
        execl(nginx_program(), "nginx", "-p", n->dir, "-c", conf, (char *)NULL);
        _exit(127);
    }
    while (test_now_ms() < end) { /* until it accepts */
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)n->port)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int failed = connect(fd, (struct sockaddr *)&a, sizeof(a));

        close(fd);
        if (!failed) return;
        nap();
    }
    fail_msg("nginx did not start");
}

static void stop_nginx(struct nginx *n)
{
    if (n->pid <= 0) return;
    kill(n->pid, SIGTERM);
    waitpid(n->pid, NULL, 0);
    n->pid = 0;
}

static int set_up_nginx(void **state)
{
    struct nginx *n;
    char path[128];

    if (!nginx_program()) {
        *state = NULL;
        return 0;
    }
    n = calloc(1, sizeof(*n));
    assert_non_null(n);
    snprintf(n->dir, sizeof(n->dir), "/tmp/mkv-nginx-XXXXXX");
    assert_non_null(mkdtemp(n->dir));
    snprintf(path, sizeof(path), "%s/data", n->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    n->port = free_port();
    write_conf(n);
    start_nginx(n);
    fixture_open(&n->f, PATIENCE_MS, PATIENCE_MS);
    fixture_use(&n->f, "localhost", n->port);
    *state = n;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
    (void)st;
    (void)what;
    (void)ftw;
    return remove(path);
}

static int tear_down_nginx(void **state)
{
    struct nginx *n = *state;

    if (!n) return 0;
    fixture_close(&n->f);
    stop_nginx(n);
    nftw(n->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(n);
    return 0;
}

#define NGINX_OR_SKIP(n, state)                                                                    \
    struct nginx *n = *(state);                                                                    \
    if (!n) skip()

/* One exchange that ends well. */
static void expect(struct trace *t, struct nginx *n, enum mkv_exchange_method method,
                   const char *path, int status)
{
    trace_init(t, &n->f);
    ask(t, method, path);
    if (t->err || t->status != status) fail_msg("%s: %d %s", path, t->status, t->why);
}

static void test_round_trip(void **state)
{
    NGINX_OR_SKIP(n, state);
    struct trace t;

    for (int chunked = 0; chunked < 2; chunked++) {
        trace_init(&t, &n->f);
        put(&t, "/sv01/ab/cd/eA==", "hello", chunked);
        assert_int_equal(t.err, MKV_OK);
        assert_int_equal(t.status, chunked ? 204 : 201);
        trace_clear(&t);
        expect(&t, n, MKV_VOLUME_HEAD, "/sv01/ab/cd/eA==", 200);
        assert_int_equal(t.heads, 1);
        assert_int_equal(t.head_length, 5);
        trace_clear(&t);
        expect(&t, n, MKV_VOLUME_GET, "/sv01/ab/cd/eA==", 200);
        assert_int_equal(evbuffer_get_length(t.body), 5);
        assert_memory_equal(evbuffer_pullup(t.body, -1), "hello", 5);
        trace_clear(&t);
    }
    expect(&t, n, MKV_VOLUME_DELETE, "/sv01/ab/cd/eA==", 204);
    trace_clear(&t);
    expect(&t, n, MKV_VOLUME_DELETE, "/sv01/ab/cd/eA==", 404);
    trace_clear(&t);
    expect(&t, n, MKV_VOLUME_HEAD, "/sv01/ab/cd/eA==", 404);
    trace_clear(&t);
    expect(&t, n, MKV_VOLUME_GET, "/sv01/ab/", 200);  /* a listing */
    assert_int_equal(evbuffer_add(t.body, "", 1), 0); /* the NUL that ends a text */
    assert_non_null(strstr((char *)evbuffer_pullup(t.body, -1), "\"type\":\"directory\""));
    trace_clear(&t);
    assert_int_equal(stats_of(&n->f).connects, 1);
    assert_int_equal(stats_of(&n->f).failures, 0);
}

static void note_date(struct mkv_exchange *x, const struct http1_head *head, void *arg)
{
    struct mkv_slice value;

    (void)x;
    if (http1_find(head, MKV_SLICE("last-modified"), &value))
        snprintf(((struct trace *)arg)->why, 64, "%.*s", (int)value.len, value.data);
}

static void done_quietly(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct trace *t = arg;

    (void)x;
    t->err = err;
    t->status = status;
    t->done = 1;
}

static void test_date_and_range(void **state)
{
    static const struct mkv_exchange_events noting = {.head = note_date, .done = done_quietly};
    static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    NGINX_OR_SKIP(n, state);
    struct mkv_exchange_options opt = {.volume = n->f.volume,
                                       .method = MKV_VOLUME_PUT,
                                       .path = MKV_SLICE("/dated"),
                                       .body_length = 10,
                                       .date = date};
    struct trace t;

    trace_init(&t, &n->f);
    t.act = send_everything;
    t.data = "0123456789";
    t.len = 10;
    assert_int_equal(mkv_exchange_start(&t.x, &opt, &trace_events, &t), MKV_OK);
    run_until(&n->f, t.done);
    assert_int_equal(t.status, 201);

    t.done = 0;
    opt.method = MKV_VOLUME_HEAD;
    assert_int_equal(mkv_exchange_start(&t.x, &opt, &noting, &t), MKV_OK);
    run_until(&n->f, t.done);
    assert_string_equal(t.why, date);
    trace_clear(&t);

    trace_init(&t, &n->f);
    opt.method = MKV_VOLUME_GET;
    opt.range_from = 7;
    assert_int_equal(mkv_exchange_start(&t.x, &opt, &trace_events, &t), MKV_OK);
    run_until(&n->f, t.done);
    assert_int_equal(t.status, 206);
    assert_int_equal(evbuffer_get_length(t.body), 3);
    assert_memory_equal(evbuffer_pullup(t.body, -1), "789", 3);
    trace_clear(&t);
}

static void note_range(struct mkv_exchange *x, const struct http1_head *head, void *arg)
{
    struct mkv_slice value;

    (void)x;
    if (http1_find(head, MKV_SLICE("content-range"), &value))
        snprintf(((struct trace *)arg)->why, 64, "%.*s", (int)value.len, value.data);
}

/* A range that ends leaves the connection; one that lies behind the end is told
 * the size. */
static void test_ranges_that_end(void **state)
{
    static const struct mkv_exchange_events noting = {
        .head = note_range, .body = trace_body, .done = done_quietly};
    static const struct {
        const char *path;
        uint64_t from, length;
        int status;
        const char *range, *body;
    } rows[] = {
        {"/ten",  0,          1,             206, "bytes 0-0/10", "0"  },
        {"/ten",  2,          3,             206, "bytes 2-4/10", "234"},
        {"/ten",  7,          100,           206, "bytes 7-9/10", "789"},
        {"/ten",  9,          INT64_MAX - 9, 206, "bytes 9-9/10", "9"  },
        {"/ten",  UINT64_MAX, 0,             416, "bytes */10",   ""   },
        {"/ten",  10,         1,             416, "bytes */10",   ""   },
        {"/ten",  10,         0,             416, "bytes */10",   ""   },
        {"/none", 0,          5,             200, "",             ""   }, /* it sends all of an empty file */
        {"/none", 3,          0,             416, "bytes */0",    ""   },
    };
    NGINX_OR_SKIP(n, state);
    struct trace t;

    trace_init(&t, &n->f);
    put(&t, "/ten", "0123456789", false);
    trace_clear(&t);
    trace_init(&t, &n->f);
    put(&t, "/none", "", false);
    trace_clear(&t);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct mkv_exchange_options opt = {.volume = n->f.volume,
                                                 .method = MKV_VOLUME_GET,
                                                 .path = mkv_slice_of(rows[i].path),
                                                 .range_from = rows[i].from,
                                                 .range_length = rows[i].length};

        trace_init(&t, &n->f);
        assert_int_equal(mkv_exchange_start(&t.x, &opt, &noting, &t), MKV_OK);
        run_until(&n->f, t.done);
        assert_int_equal(t.status, rows[i].status);
        assert_string_equal(t.why, rows[i].range);
        assert_int_equal(evbuffer_get_length(t.body), strlen(rows[i].body));
        if (rows[i].body[0])
            assert_memory_equal(evbuffer_pullup(t.body, -1), rows[i].body, strlen(rows[i].body));
        trace_clear(&t);
    }
    assert_int_equal(stats_of(&n->f).connects, 1);
}

#define BIG (20 * 1024 * 1024)

/* 20 MB there and back, copied from one exchange to the other by reference. */
struct copy {
    struct trace from, to;
};

static void copy_on(struct trace *t, const char *event)
{
    struct copy *c = (struct copy *)(void *)t; /* from is first */

    if (strcmp(event, "body") != 0) return;
    while (evbuffer_get_length(t->body)) {
        struct evbuffer_iovec v;

        evbuffer_peek(t->body, -1, NULL, &v, 1);
        mkv_exchange_send(c->to.x, (struct mkv_bytes){v.iov_base, v.iov_len, NULL});
        evbuffer_drain(t->body, v.iov_len);
    }
    if (mkv_exchange_unsent(c->to.x) > 2 * MKV_SEND_LOW) mkv_exchange_pause(t->x, true);
}

static void test_copy_volume_to_volume(void **state)
{
    NGINX_OR_SKIP(n, state);
    struct copy c;
    struct trace t;
    uint8_t *data = malloc(BIG);
    unsigned x = 1;

    assert_non_null(data);
    for (size_t i = 0; i < BIG; i++)
        data[i] = (uint8_t)((x = x * 1103515245u + 12345u) >> 16);
    trace_init(&t, &n->f);
    t.act = send_everything;
    t.data = data;
    t.len = BIG;
    begin_exchange(&t, MKV_VOLUME_PUT, "/big", BIG);
    run_until(&n->f, t.done);
    assert_int_equal(t.status, 201);
    trace_clear(&t);

    trace_init(&c.from, &n->f);
    trace_init(&c.to, &n->f);
    begin_exchange(&c.to, MKV_VOLUME_PUT, "/copy", -1);
    run_until(&n->f, c.to.ready);
    c.from.act = copy_on;
    begin_exchange(&c.from, MKV_VOLUME_GET, "/big", 0);
    while (!c.from.done) {
        int drained = c.to.drained;

        run_until(&n->f, c.from.done || c.to.drained != drained);
        if (!c.from.done) mkv_exchange_pause(c.from.x, false);
    }
    assert_int_equal(c.from.err, MKV_OK);
    assert_true(c.to.drained > 0);
    mkv_exchange_send_end(c.to.x);
    run_until(&n->f, c.to.done);
    assert_int_equal(c.to.status, 201);
    trace_clear(&c.from);
    trace_clear(&c.to);

    expect(&t, n, MKV_VOLUME_GET, "/copy", 200);
    assert_int_equal(evbuffer_get_length(t.body), BIG);
    assert_memory_equal(evbuffer_pullup(t.body, -1), data, BIG);
    trace_clear(&t);
    free(data);
}

/* nginx closes a connection after 200 requests: nobody notices. */
static void test_server_limits_requests(void **state)
{
    NGINX_OR_SKIP(n, state);
    struct trace t;

    for (int i = 0; i < 1000; i++) {
        if (i % 10) {
            expect(&t, n, MKV_VOLUME_HEAD, "/none", 404);
        } else {
            trace_init(&t, &n->f);
            put(&t, "/small", "x", false);
            assert_true(t.status == 201 || t.status == 204);
        }
        trace_clear(&t);
    }
    assert_int_equal(stats_of(&n->f).connects, 5);
    assert_int_equal(stats_of(&n->f).retries, 0);
    assert_int_equal(stats_of(&n->f).failures, 0);
}

/* All at once: no more connections than can be kept. */
static void test_many_heads_take_turns(void **state)
{
    NGINX_OR_SKIP(n, state);
    static struct trace t[1000];

    for (size_t i = 0; i < COUNT(t); i++) {
        trace_init(&t[i], &n->f);
        begin_exchange(&t[i], MKV_VOLUME_HEAD, "/none", 0);
    }
    for (size_t i = 0; i < COUNT(t); i++) {
        run_until(&n->f, t[i].done);
        assert_int_equal(t[i].status, 404);
        trace_clear(&t[i]);
    }
    assert_true(stats_of(&n->f).connects <= VOLUME_BRIEF_MAX);
    assert_true(stats_of(&n->f).idle <= VOLUME_IDLE_MAX);
    assert_int_equal(stats_of(&n->f).busy, 0);
}

#define CROWD 40

/* A crowd in one turn, which shares connections once there are any. */
static void expect_all(struct nginx *n, struct trace *t, enum mkv_exchange_method method,
                       int status)
{
    static const char value[CROWD];
    char path[CROWD][16];

    for (size_t i = 0; i < CROWD; i++) {
        snprintf(path[i], sizeof(path[i]), "/crowd-%zu", i);
        trace_init(&t[i], &n->f);
        t[i].act = send_everything;
        t[i].data = value;
        t[i].len = i + 1;
        begin_exchange(&t[i], method, path[i], (int64_t)t[i].len);
    }
    for (size_t i = 0; i < CROWD; i++) {
        run_until(&n->f, t[i].done);
        if (t[i].err || t[i].status != status)
            fail_msg("%s: %d %s", path[i], t[i].status, t[i].why);
        if (method == MKV_VOLUME_HEAD && status == 200) assert_int_equal(t[i].head_length, i + 1);
        trace_clear(&t[i]);
    }
}

/* nginx closes after 200 requests, whatever waits behind them: nobody notices. */
static void test_crowds(void **state)
{
    NGINX_OR_SKIP(n, state);
    static struct trace t[CROWD];

    for (int round = 0; round < 30; round++) {
        expect_all(n, t, MKV_VOLUME_PUT, 201);
        expect_all(n, t, MKV_VOLUME_HEAD, 200);
        expect_all(n, t, MKV_VOLUME_DELETE, 204);
        expect_all(n, t, MKV_VOLUME_HEAD, 404);
    }
    assert_true(stats_of(&n->f).retries > 0);
    assert_int_equal(stats_of(&n->f).failures, 0);
    assert_int_equal(stats_of(&n->f).busy, 0);
    assert_int_equal(mkv_volume_state(n->f.volume), MKV_VOLUME_UP);
}

/* A reload in mid-work closes idle connections: no exchange fails. */
static void test_reload(void **state)
{
    NGINX_OR_SKIP(n, state);
    struct trace t[8];

    for (int round = 0; round < 200; round++) {
        if (round == 50 || round == 120) kill(n->pid, SIGHUP);
        for (size_t i = 0; i < COUNT(t); i++) {
            trace_init(&t[i], &n->f);
            t[i].act = send_everything;
            t[i].data = "value";
            t[i].len = 5;
            begin_exchange(&t[i], i % 2 ? MKV_VOLUME_PUT : MKV_VOLUME_HEAD, "/value", 5);
        }
        for (size_t i = 0; i < COUNT(t); i++) {
            run_until(&n->f, t[i].done);
            if (t[i].err) fail_msg("round %d: %s", round, t[i].why);
            trace_clear(&t[i]);
        }
    }
    assert_int_equal(stats_of(&n->f).failures, 0);
    assert_int_equal(mkv_volume_state(n->f.volume), MKV_VOLUME_UP);
}

static void test_stopped_and_started(void **state)
{
    NGINX_OR_SKIP(n, state);
    struct trace t;

    expect(&t, n, MKV_VOLUME_HEAD, "/x", 404);
    trace_clear(&t);
    stop_nginx(n);
    trace_init(&t, &n->f);
    ask(&t, MKV_VOLUME_HEAD, "/x");
    assert_int_equal(t.err, MKV_EVOLUME);
    assert_string_equal(t.why, "connection refused");
    trace_clear(&t);
    assert_int_equal(mkv_volume_state(n->f.volume), MKV_VOLUME_DOWN);
    start_nginx(n);
    run_until(&n->f, mkv_volume_state(n->f.volume) == MKV_VOLUME_UP);
    expect(&t, n, MKV_VOLUME_HEAD, "/x", 404);
    trace_clear(&t);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up_nginx, tear_down_nginx)
    const struct CMUnitTest tests[] = {
        WITH(test_round_trip),
        WITH(test_date_and_range),
        WITH(test_ranges_that_end),
        WITH(test_copy_volume_to_volume),
        WITH(test_server_limits_requests),
        WITH(test_many_heads_take_turns),
        WITH(test_crowds),
        WITH(test_reload),
        WITH(test_stopped_and_started),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
