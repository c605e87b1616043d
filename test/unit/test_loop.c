#include "mkv/loop.h"

#include "table.h"

#include <event2/event.h>
#include <string.h>
#include <time.h>

/* What ran, as letters. */
struct diary {
    struct mkv_loop *loop;
    char text[64];
    size_t len;
};

struct entry {
    struct diary *diary;
    struct mkv_chore chore;
    struct mkv_retired retired;
    char letter;
    unsigned again;        /* how often it queues itself once more */
    struct entry *queues;  /* when it runs or is destroyed         */
    struct entry *forgets, *retires;
};

static void note(struct diary *d, char c)
{
    assert_true(d->len + 1 < sizeof(d->text));
    d->text[d->len++] = c;
    d->text[d->len] = '\0';
}

static void destroy(void *arg)
{
    struct entry *e = arg;

    note(e->diary, (char)(e->letter - 'a' + 'A'));
    if (e->queues) mkv_loop_at_end(e->diary->loop, &e->queues->chore);
}

static void run(void *arg)
{
    struct entry *e = arg;
    struct mkv_loop *loop = e->diary->loop;

    note(e->diary, e->letter);
    if (e->again && e->again--) mkv_loop_at_end(loop, &e->chore);
    if (e->queues) mkv_loop_at_end(loop, &e->queues->chore);
    if (e->forgets) mkv_loop_forget(loop, &e->forgets->chore);
    if (e->retires) mkv_loop_retire(loop, &e->retires->retired, destroy, e->retires);
}

static void begin(struct diary *d, struct entry *entries, size_t n)
{
    memset(d, 0, sizeof(*d));
    memset(entries, 0, n * sizeof(*entries));
    assert_int_equal(mkv_loop_open(&d->loop), MKV_OK);
    for (size_t i = 0; i < n; i++) {
        entries[i].diary = d;
        entries[i].letter = (char)('a' + (char)i);
        entries[i].chore.run = run;
        entries[i].chore.arg = &entries[i];
    }
}

static void queue(struct entry *e)
{
    mkv_loop_at_end(e->diary->loop, &e->chore);
}

static void chores_run_in_order_and_once(void **state)
{
    struct diary d;
    struct entry e[3];

    (void)state;
    begin(&d, e, 3);
    queue(&e[1]);
    queue(&e[0]);
    queue(&e[1]);
    queue(&e[2]);
    assert_string_equal(d.text, "");
    mkv_loop_turn(d.loop);
    assert_string_equal(d.text, "bac");
    queue(&e[1]);
    mkv_loop_turn(d.loop);
    assert_string_equal(d.text, "bacb");
    mkv_loop_close(d.loop);
}

static void forgotten_chores_do_not_run(void **state)
{
    static const char *const left[] = {"bc", "ac", "ab"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct diary d;
        struct entry e[3];

        begin(&d, e, 3);
        mkv_loop_forget(d.loop, &e[i].chore); /* not queued */
        for (size_t n = 0; n < 3; n++) queue(&e[n]);
        mkv_loop_forget(d.loop, &e[i].chore);
        mkv_loop_forget(d.loop, &e[i].chore);
        mkv_loop_settle(d.loop);
        assert_string_equal(d.text, left[i]);
        queue(&e[i]); /* may be queued again */
        mkv_loop_settle(d.loop);
        assert_int_equal(d.text[2], e[i].letter);
        mkv_loop_close(d.loop);
    }
}

/* Queued and forgotten by others, in the same end of turn. */
static void chores_among_chores(void **state)
{
    struct diary d;
    struct entry e[4];

    (void)state;
    begin(&d, e, 4);
    e[0].queues = &e[3];
    e[0].forgets = &e[1];
    e[2].again = 2;
    queue(&e[0]);
    queue(&e[1]);
    queue(&e[2]);
    mkv_loop_settle(d.loop);
    assert_string_equal(d.text, "acdcc");
    mkv_loop_close(d.loop);
}

/* After the others, also those that come later; among themselves in order. */
static void some_chores_run_last(void **state)
{
    struct diary d;
    struct entry e[5];

    (void)state;
    begin(&d, e, 5);
    e[0].queues = &e[3];
    mkv_loop_at_very_end(d.loop, &e[1].chore);
    mkv_loop_at_very_end(d.loop, &e[4].chore);
    mkv_loop_at_very_end(d.loop, &e[2].chore);
    mkv_loop_at_very_end(d.loop, &e[1].chore);
    queue(&e[0]);
    mkv_loop_forget(d.loop, &e[2].chore); /* the last one of its list */
    mkv_loop_at_very_end(d.loop, &e[2].chore);
    mkv_loop_forget(d.loop, &e[4].chore);
    mkv_loop_settle(d.loop);
    assert_string_equal(d.text, "adbc");
    e[1].queues = &e[0];
    mkv_loop_at_very_end(d.loop, &e[1].chore);
    mkv_loop_at_very_end(d.loop, &e[2].chore);
    mkv_loop_turn(d.loop);
    assert_string_equal(d.text, "adbcbadc");
    mkv_loop_close(d.loop);
}

/* The retired go after every chore of the turn, and may leave chores. */
static void the_retired_go_last(void **state)
{
    struct diary d;
    struct entry e[4];

    (void)state;
    begin(&d, e, 4);
    e[0].retires = &e[2];
    e[0].queues = &e[1];
    e[2].queues = &e[3];
    queue(&e[0]);
    mkv_loop_turn(d.loop);
    assert_string_equal(d.text, "abCd");
    mkv_loop_close(d.loop);
}

static void closing_runs_what_is_queued(void **state)
{
    struct diary d;
    struct entry e[2];

    (void)state;
    begin(&d, e, 2);
    e[0].retires = &e[1];
    queue(&e[0]);
    mkv_loop_close(d.loop);
    assert_string_equal(d.text, "aB");
    mkv_loop_close(NULL);
}

static void stop_after(evutil_socket_t fd, short what, void *arg)
{
    struct entry *e = arg;

    (void)fd;
    (void)what;
    queue(e);
    mkv_loop_stop(e->diary->loop);
}

/* The turn in which it is stopped still ends as every turn does. */
static void runs_until_stopped(void **state)
{
    const struct timeval soon = {0, 1000};
    struct event *timer;
    struct diary d;
    struct entry e[1];

    (void)state;
    begin(&d, e, 1);
    timer = event_new(mkv_loop_base(d.loop), -1, 0, stop_after, &e[0]);
    assert_int_equal(event_add(timer, &soon), 0);
    mkv_loop_run(d.loop);
    assert_string_equal(d.text, "a");
    event_free(timer);
    mkv_loop_close(d.loop);
}

/* Read once per turn: two answers in one turn are the same. */
static void clocks(void **state)
{
    const struct timespec nap = {0, 3000000};
    struct diary d;
    struct entry e[1];
    uint64_t now;

    (void)state;
    begin(&d, e, 1);
    now = mkv_loop_now(d.loop);
    nanosleep(&nap, NULL);
    assert_true(mkv_loop_now(d.loop) == now);
    mkv_loop_settle(d.loop);
    assert_true(mkv_loop_now(d.loop) >= now + 3);
    assert_true(mkv_loop_wall(d.loop) <= time(NULL) && mkv_loop_wall(d.loop) >= time(NULL) - 60);
    mkv_loop_close(d.loop);
}

static int64_t ns_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void on_due(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

/* Turns in each of which there is something to do. */
static int64_t time_of_turns(struct mkv_loop *loop, int turns)
{
    struct event *timer = event_new(mkv_loop_base(loop), -1, 0, on_due, NULL);
    const struct timeval now = {0, 0};
    int64_t began = ns_of(CLOCK_MONOTONIC);

    for (int i = 0; i < turns; i++) {
        event_add(timer, &now);
        mkv_loop_turn(loop);
    }
    event_free(timer);
    return ns_of(CLOCK_MONOTONIC) - began;
}

/* With a crowd turns keep a distance; what was queued outside of a turn waits for none. */
static void a_crowd_gathers(void **state)
{
    const int64_t apart = MKV_LOOP_GATHER_US * INT64_C(1000);
    struct diary d;
    struct entry e[1];
    int64_t began;

    (void)state;
    begin(&d, e, 1);
    mkv_loop_gather(d.loop, MKV_LOOP_CROWD);
    assert_true(time_of_turns(d.loop, 101) >= 100 * apart);
    began = ns_of(CLOCK_PROCESS_CPUTIME_ID);
    time_of_turns(d.loop, 101);
    assert_true(ns_of(CLOCK_PROCESS_CPUTIME_ID) - began < 50 * apart); /* it sleeps, it does not spin */
    mkv_loop_at_end(d.loop, &e[0].chore);
    mkv_loop_turn(d.loop);
    assert_string_equal(d.text, "a");
    mkv_loop_gather(d.loop, -1);
    assert_true(time_of_turns(d.loop, 1001) < 1000 * apart);
    mkv_loop_gather(d.loop, 1 - MKV_LOOP_CROWD);
    mkv_loop_close(d.loop);
}

/* In a throng turns are closer to each other; the machine may be busy, so one of ten shows it. */
static void a_throng_gathers_less(void **state)
{
    const int64_t crowd = MKV_LOOP_GATHER_US * INT64_C(1000), throng = MKV_LOOP_THRONG_US * INT64_C(1000);
    struct mkv_loop *loop;
    int64_t least = INT64_MAX;

    (void)state;
    assert_int_equal(mkv_loop_open(&loop), MKV_OK);
    mkv_loop_gather(loop, MKV_LOOP_THRONG);
    for (int i = 0; i < 10; i++) {
        int64_t took = time_of_turns(loop, 101);

        assert_true(took >= 100 * throng);
        if (took < least) least = took;
    }
    assert_true(least < 100 * crowd);
    mkv_loop_gather(loop, -1);
    time_of_turns(loop, 1);
    assert_true(time_of_turns(loop, 101) >= 100 * crowd);
    mkv_loop_gather(loop, 1 - MKV_LOOP_THRONG);
    mkv_loop_close(loop);
}

static void dates(void **state)
{
    static const struct {
        int64_t wall;
        const char *text;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 */
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"},
    };
    struct diary d;
    struct entry e[1];
    char text[MKV_HTTP_DATE_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        mkv_http_date(text, rows[i].wall);
        assert_string_equal(text, rows[i].text);
    }
    begin(&d, e, 1);
    mkv_http_date(text, mkv_loop_wall(d.loop));
    assert_string_equal(mkv_loop_http_date(d.loop), text);
    mkv_loop_close(d.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chores_run_in_order_and_once),
        cmocka_unit_test(forgotten_chores_do_not_run),
        cmocka_unit_test(chores_among_chores),
        cmocka_unit_test(some_chores_run_last),
        cmocka_unit_test(the_retired_go_last),
        cmocka_unit_test(closing_runs_what_is_queued),
        cmocka_unit_test(runs_until_stopped),
        cmocka_unit_test(clocks),
        cmocka_unit_test(a_crowd_gathers),
        cmocka_unit_test(a_throng_gathers_less),
        cmocka_unit_test(dates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
