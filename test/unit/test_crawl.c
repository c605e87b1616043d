/* test/unit/test_crawl.c - how much a crawl asks of a volume at once.  What it finds
 * is for the system tests of mkv-rebuild and mkv-verify. */
#include "volume_fixture.h"

#include "jobs/crawl.h"

#include <poll.h>

#define DIRECTORIES 256 /* below the root, each empty */
#define CLIENTS_MAX 200

/* ---- a volume that makes one listing after the other ------------------------- */

struct connection {
    int fd;
    size_t len;
    char heads[16 * 1024];
};

static struct connection connections[CLIENTS_MAX];
static size_t nconnections, most_together; /* listings that one connection waited for */
static size_t arrivals;                    /* of one or more of them together         */
static unsigned listing_ms;

static void take_time(void)
{
    nanosleep(&(struct timespec){0, (long)listing_ms * 1000000}, NULL);
}

static void answer(int fd, const char *head)
{
    char body[DIRECTORIES * 64] = "[", text[sizeof(body) + 64];
    size_t len = 1;

    for (unsigned i = 0; i < DIRECTORIES && strncmp(head, "GET / ", 6) == 0; i++)
        len += (size_t)snprintf(body + len, sizeof(body) - len,
                                "%s{\"name\":\"%02x\",\"type\":\"directory\"}", i ? "," : "", i);
    snprintf(body + len, sizeof(body) - len, "]");
    snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
             body);
    take_time();
    say(fd, text);
}

/* False: the client has closed it. */
static bool serve_connection(struct connection *c)
{
    ssize_t n = recv(c->fd, c->heads + c->len, sizeof(c->heads) - 1 - c->len, 0);
    size_t together = 0;
    char *at = c->heads, *end;

    if (n <= 0) return false;
    c->len += (size_t)n;
    c->heads[c->len] = '\0';
    for (; (end = strstr(at, "\r\n\r\n")); at = end + 4) {
        answer(c->fd, at);
        together++;
    }
    arrivals += together > 0;
    if (together > most_together) most_together = together;
    c->len -= (size_t)(at - c->heads);
    memmove(c->heads, at, c->len);
    return true;
}

static void script_one_by_one(struct fake *f)
{
    struct pollfd fds[CLIENTS_MAX + 1] = {{.fd = f->listener, .events = POLLIN}};

    int fd;

    nconnections = most_together = arrivals = 0;
    while (poll(fds, nconnections + 1, PATIENCE_MS) > 0) {
        for (size_t i = 0; i < nconnections; i++)
            if (fds[i + 1].revents && !serve_connection(&connections[i])) fds[i + 1].fd = -1;
        if (!fds[0].revents) continue;
        if (nconnections == CLIENTS_MAX) break;
        fd = accept(f->listener, NULL, NULL);
        if (fd < 0) break; /* the test is over */
        connections[nconnections] = (struct connection){.fd = fd};
        fds[++nconnections] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    for (size_t i = 0; i < nconnections; i++) close(connections[i].fd);
}

/* ---- the crawl --------------------------------------------------------------- */

struct outcome {
    unsigned failed;
    bool done;
};

static void on_file(const struct crawl_file *f, void *arg)
{
    (void)f;
    (void)arg;
}

static void on_foreign(size_t volume, struct mkv_slice path, void *arg)
{
    (void)volume;
    (void)path;
    (void)arg;
}

static void on_failed(size_t volume, struct mkv_slice path, const char *why, void *arg)
{
    struct outcome *o = arg;

    (void)volume;
    o->failed++;
    print_message("%.*s: %s\n", (int)path.len, path.data, why);
}

static void on_done(void *arg)
{
    struct outcome *o = arg;

    o->done = true;
}

/* All of it, with so many jobs. */
static struct crawl_stats crawl_all(struct fixture *f, size_t jobs)
{
    static const struct crawl_events events = {on_file, on_foreign, on_failed, on_done};
    char text[32];
    const struct mkv_slice name = {text, (size_t)snprintf(text, sizeof(text), "localhost:%d",
                                                          f->fake.port)};
    const struct crawl_options opt = {
        .loop = f->loop, .volumes = f->volumes, .names = &name, .nnames = 1, .jobs = jobs};
    struct outcome o = {0};
    struct crawl_stats stats;
    struct crawl *c;

    fake_start(&f->fake, script_one_by_one);
    assert_int_equal(crawl_start(&c, &opt, &events, &o), MKV_OK);
    run_until(f, o.done);
    crawl_stats(c, &stats);
    crawl_close(c);
    shutdown(f->fake.listener, SHUT_RDWR);
    fake_join(&f->fake);
    close(f->fake.listener);
    assert_int_equal(fake_listen(&f->fake, AF_INET, 200), 0); /* for the next one */
    assert_int_equal(o.failed, 0);
    assert_int_equal(stats.listings, 1 + DIRECTORIES);
    return stats;
}

/* Until it has shown that it is quick they come one by one: of 257 listings some 150
 * arrivals; 225 and more where nothing waits for a batch.  On a busy machine it is not
 * always quick. */
static void a_quick_volume_gets_several_on_a_connection(void **state)
{
    int tries = 0;

    listing_ms = 0;
    do (void)crawl_all(*state, 128);
    while (arrivals > DIRECTORIES * 3 / 4 && ++tries < 50);
    assert_in_range(arrivals, 1, DIRECTORIES * 3 / 4);
    assert_in_range(most_together, 2, 8);
}

/* 128 at once would wait for 1.3 s, longer than -voltimeout. */
static void a_slow_volume_is_asked_for_a_quarter(void **state)
{
    listing_ms = 10;
    assert_int_equal(crawl_all(*state, 128).retries, 0);
    assert_int_equal(most_together, 1);
    assert_int_equal(nconnections, 128 / CRAWL_SLOW_PART);
}

/* Of few jobs it keeps ten. */
static void a_slow_volume_is_asked_for_some(void **state)
{
    listing_ms = 10;
    assert_int_equal(crawl_all(*state, 12).retries, 0);
    assert_int_equal(most_together, 1);
    assert_int_equal(nconnections, CRAWL_SLOW_MIN);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(a_quick_volume_gets_several_on_a_connection),
        WITH(a_slow_volume_is_asked_for_a_quarter),
        WITH(a_slow_volume_is_asked_for_some),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
