/* test/unit/test_turns.c - moves give way to clients. */
#include "store/store.h"
#include "table.h"

#include <string.h>
#include <time.h>

#define MOVES 5

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

    for (size_t i = 0; i < MOVES; i++) turns_leave(&w->store, &w->movers[i].turn);
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
    for (unsigned i = 0; i < MOVES; i++) start(w, i);
}

static void all_at_once_where_nobody_asks(void **state)
{
    struct world *w = *state;

    start_all(w);
    assert_string_equal(w->begun, "abcde");
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

static void few_beside_a_client_that_asked(void **state)
{
    struct world *w = *state;

    turns_asked(&w->store);
    start(w, 0);
    distance_passes(w);
    for (unsigned i = 1; i < MOVES; i++) start(w, i);
    assert_string_equal(w->begun, "ab");
    stop(w, 0);
    distance_passes(w);
    assert_string_equal(w->begun, "ab"); /* not inside the call */
    settle(w);
    assert_string_equal(w->begun, "abc");
    stop(w, 3); /* while it waits */
    stop(w, 1);
    stop(w, 2);
    distance_passes(w);
    settle(w);
    assert_string_equal(w->begun, "abce");
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
    for (int ticks = 0; ticks < 100 && strlen(w->begun) == 1; ticks++)
        mkv_loop_turn(w->store.loop);
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
    for (int ticks = 0; ticks < 100 && strlen(w->begun) == 1; ticks++)
        mkv_loop_turn(w->store.loop);
    assert_string_equal(w->begun, "ab");
    store_op_end(&w->store, &w->client);
}

/* However long it takes. */
static void few_beside_a_client_that_waits(void **state)
{
    const struct timespec longer = {0, (TURNS_QUIET_MS + 20) * 1000000};
    struct world *w = *state;

    store_op_begin(&w->store, &w->client, NULL);
    start_all(w);
    nanosleep(&longer, NULL);
    for (int ticks = 0; ticks < 5; ticks++) mkv_loop_turn(w->store.loop);
    assert_string_equal(w->begun, "ab");
    store_op_end(&w->store, &w->client);
    mkv_loop_turn(w->store.loop); /* the next tick: without any of them ending */
    assert_string_equal(w->begun, "abcde");
}

static void all_once_it_is_quiet(void **state)
{
    struct world *w = *state;

    turns_asked(&w->store);
    start_all(w);
    assert_string_equal(w->begun, "a");
    for (int ticks = 0; ticks < 100 && strlen(w->begun) < MOVES; ticks++)
        mkv_loop_turn(w->store.loop);
    assert_string_equal(w->begun, "abcde");
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
