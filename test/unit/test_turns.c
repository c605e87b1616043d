/* test/unit/test_turns.c - moves give way to clients. */
#include "store/store.h"
#include "table.h"

#include <string.h>
#include <time.h>

#define MOVES 12
#define ALL   "abcdefghijkl"

struct world {
    struct mkv_store store; /* only what turns need of it */
    struct mover {
        struct world *world;
        struct store_op op;
        struct turn turn;
        char letter;
    } movers[MOVES];
    struct store_op client;
    char begun[MOVES + 1];
};

static int begin_world(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    assert_int_equal(mkv_loop_open(&w->store.loop), MKV_OK);
    turns_open(&w->store);
    for (size_t i = 0; i < MOVES; i++) {
        w->movers[i].world = w;
        w->movers[i].letter = (char)('a' + (char)i);
    }
    *state = w;
    return 0;
}

static int end_world(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < MOVES; i++)
        turns_leave(&w->store, &w->movers[i].turn);
    turns_close(&w->store);
    mkv_loop_close(w->store.loop);
    free(w);
    return 0;
}

static void on_begin(void *arg)
{
    struct mover *m = arg;

    m->world->begun[strlen(m->world->begun)] = m->letter;
}

static void start(struct world *w, unsigned i)
{
    struct mover *m = &w->movers[i];

    store_op_begin(&w->store, &m->op, NULL);
    if (turns_take(&w->store, &m->turn, on_begin, m)) on_begin(m);
}

static void stop(struct world *w, unsigned i)
{
    turns_leave(&w->store, &w->movers[i].turn);
    store_op_end(&w->store, &w->movers[i].op);
}

static void start_all(struct world *w)
{
    for (unsigned i = 0; i < MOVES; i++)
        start(w, i);
}

static void all_at_once_where_nobody_asks(void **state)
{
    struct world *w = *state;

    start_all(w);
    assert_string_equal(w->begun, ALL);
}

/* However slow this machine is, a client has just asked. */
static void settle(struct world *w)
{
    turns_asked(&w->store);
    mkv_loop_settle(w->store.loop);
}

/* As if the last turn had begun long ago. */
static void distance_passes(struct world *w)
{
    w->store.turns.begun_ms -= TURNS_APART_MS;
}

/* Until so many have begun. */
static void turn_until(struct world *w, size_t n)
{
    for (int ticks = 0; ticks < 100 && strlen(w->begun) < n; ticks++)
        mkv_loop_turn(w->store.loop);
}

static void few_beside_a_client_that_asked(void **state)
{
    struct world *w = *state;

    turns_asked(&w->store);
    for (unsigned i = 0; i < MOVES; i++) {
        distance_passes(w);
        start(w, i);
    }
    assert_string_equal(w->begun, "abcdefgh");
    stop(w, 0);
    distance_passes(w);
    assert_string_equal(w->begun, "abcdefgh"); /* not inside the call */
    settle(w);
    assert_string_equal(w->begun, "abcdefghi");
    stop(w, 9); /* while it waits */
    stop(w, 1);
    stop(w, 2);
    distance_passes(w);
    settle(w);
    assert_string_equal(w->begun, "abcdefghik");
}

/* None of them has ended when the second one may begin, nor has it become quiet. */
static void one_after_the_other_beside_a_client(void **state)
{
    struct world *w = *state;
    uint64_t began;

    store_op_begin(&w->store, &w->client, NULL);
    start_all(w);
    assert_string_equal(w->begun, "a");
    began = mkv_loop_now(w->store.loop);
    turn_until(w, 2);
    assert_true(mkv_loop_now(w->store.loop) >= began + TURNS_APART_MS);
    assert_string_equal(w->begun, "ab");
    store_op_end(&w->store, &w->client);
}

static void nobody_overtakes(void **state)
{
    struct world *w = *state;

    store_op_begin(&w->store, &w->client, NULL);
    start(w, 0);
    start(w, 1);
    distance_passes(w);
    start(w, 2); /* might begin, if 1 did not wait */
    assert_string_equal(w->begun, "a");
    mkv_loop_settle(w->store.loop); /* it need not wait for the tick, either */
    assert_string_equal(w->begun, "ab");
    store_op_end(&w->store, &w->client);
}

/* However long it takes. */
static void few_beside_a_client_that_waits(void **state)
{
    const struct timespec longer = {0, (TURNS_QUIET_MS + 20) * 1000000};
    struct world *w = *state;

    store_op_begin(&w->store, &w->client, NULL);
    for (unsigned i = 0; i < MOVES; i++) {
        distance_passes(w);
        start(w, i);
    }
    nanosleep(&longer, NULL);
    mkv_loop_turn(w->store.loop); /* the tick */
    assert_string_equal(w->begun, "abcdefgh");
    store_op_end(&w->store, &w->client);
    mkv_loop_turn(w->store.loop); /* the next tick: without any of them ending */
    assert_string_equal(w->begun, ALL);
}

static void all_once_it_is_quiet(void **state)
{
    struct world *w = *state;

    turns_asked(&w->store);
    start_all(w);
    assert_string_equal(w->begun, "a");
    turn_until(w, MOVES);
    assert_string_equal(w->begun, ALL);
}

/* ---- volumes ------------------------------------------------------------------------- */

static void will_use(struct world *w, unsigned i, const char *volumes)
{
    for (; *volumes; volumes++)
        turn_will_use(&w->movers[i].turn, (uint32_t)*volumes);
}

/* As if it had taken so long. */
static void lasts(struct world *w, unsigned i, uint64_t ms)
{
    w->movers[i].turn.begun_ms -= ms;
}

/* As if they lasted for ever; as if they were over. */
static void rests_last(struct world *w, bool for_ever)
{
    struct turn_rest *rests = w->store.turns.rests;

    for (size_t i = 0; i < TURNS_RESTS_MAX; i++)
        if (rests[i].until_ms) rests[i].until_ms = for_ever ? UINT64_MAX : 0;
}

/* Beside a client, each long enough after the one before. */
static void start_on(struct world *w, unsigned i, const char *volumes)
{
    turns_asked(&w->store);
    distance_passes(w);
    will_use(w, i, volumes);
    start(w, i);
}

static void one_at_a_time_on_each_volume(void **state)
{
    struct world *w = *state;

    start_on(w, 0, "12");
    start_on(w, 1, "23"); /* 2 is in use */
    start_on(w, 2, "45");
    start_on(w, 3, "36"); /* 3 is b's before it is d's */
    start_on(w, 4, "78");
    start_on(w, 5, "69"); /* 6 is nobody's: d is not the first that waits */
    assert_string_equal(w->begun, "acef");
}

static void look_again(struct world *w)
{
    distance_passes(w);
    mkv_loop_at_end(w->store.loop, &w->store.turns.ended);
    settle(w);
}

static void nobody_begins_where_a_volume_rests(void **state)
{
    struct world *w = *state;

    start_on(w, 0, "12");
    start_on(w, 1, "23");
    start_on(w, 2, "34"); /* 3 is b's first */
    stop(w, 0);
    rests_last(w, true);
    look_again(w);
    start_on(w, 3, "1");
    assert_string_equal(w->begun, "a");
    rests_last(w, false);
    look_again(w);
    assert_string_equal(w->begun, "ab");
}

/* Milliseconds.  The clock stands still until the turn of the loop ends. */
static void rests_are_as_long_as_moves_but_for_the_extremes(void **state)
{
    static const struct {
        uint64_t took, rest;
    } table[] = {
        {0,       TURNS_REST_MIN_MS},
        {4,       TURNS_REST_MIN_MS},
        {10,      10               },
        {49,      49               },
        {51,      TURNS_REST_MAX_MS},
        {1000000, TURNS_REST_MAX_MS},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct turn_rest *rest = &w->store.turns.rests[0];

        w->movers[0].turn.nvolumes = 0;
        will_use(w, 0, "1");
        start(w, 0);
        lasts(w, 0, table[i].took);
        stop(w, 0);
        assert_int_equal(rest->until_ms - mkv_loop_now(w->store.loop), table[i].rest);
        rest->until_ms = 0; /* to be the next one's, too */
    }
}

/* Nobody ends, and nothing becomes quiet: the tick wakes them. */
static void a_short_move_makes_for_a_rest_too(void **state)
{
    struct world *w = *state;
    uint64_t ended;

    store_op_begin(&w->store, &w->client, NULL);
    start_on(w, 0, "12");
    start_on(w, 1, "2");
    ended = mkv_loop_now(w->store.loop);
    stop(w, 0);
    turn_until(w, 2);
    assert_string_equal(w->begun, "ab");
    assert_true(mkv_loop_now(w->store.loop) >= ended + TURNS_REST_MIN_MS);
    store_op_end(&w->store, &w->client);
}

static void a_volume_that_was_left_alone_needs_no_rest(void **state)
{
    struct world *w = *state;

    start_on(w, 0, "12");
    start_on(w, 1, "2");
    turn_used_none(&w->movers[0].turn);
    stop(w, 0);
    distance_passes(w);
    settle(w);
    assert_string_equal(w->begun, "ab");
}

static void volumes_do_not_matter_where_nobody_asks(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < MOVES; i++)
        will_use(w, i, "12");
    start_all(w);
    assert_string_equal(w->begun, ALL);
}

/* More than are remembered. */
static void the_longest_rests_are_remembered(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < TURNS_RESTS_MAX + 1; i++) {
        w->movers[0].turn.nvolumes = 0;
        will_use(w, 0, i == 0 ? "2" : "1");
        start(w, 0);
        lasts(w, 0, i == 0 ? 40 : 10);
        stop(w, 0);
        w->begun[0] = '\0';
    }
    start_on(w, 1, "1");
    start_on(w, 2, "2");
    start_on(w, 3, "3");
    assert_string_equal(w->begun, "d");
}

#define TURNS_TEST(name) cmocka_unit_test_setup_teardown(name, begin_world, end_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURNS_TEST(all_at_once_where_nobody_asks),
        TURNS_TEST(few_beside_a_client_that_asked),
        TURNS_TEST(one_after_the_other_beside_a_client),
        TURNS_TEST(nobody_overtakes),
        TURNS_TEST(few_beside_a_client_that_waits),
        TURNS_TEST(all_once_it_is_quiet),
        TURNS_TEST(one_at_a_time_on_each_volume),
        TURNS_TEST(nobody_begins_where_a_volume_rests),
        TURNS_TEST(rests_are_as_long_as_moves_but_for_the_extremes),
        TURNS_TEST(a_short_move_makes_for_a_rest_too),
        TURNS_TEST(a_volume_that_was_left_alone_needs_no_rest),
        TURNS_TEST(volumes_do_not_matter_where_nobody_asks),
        TURNS_TEST(the_longest_rests_are_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
