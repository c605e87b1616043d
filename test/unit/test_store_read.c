/* A value read from volumes that break off, lie, or are gone. */
#include "reading_world.h"

#define VALUE_LEN 700000 /* several reads of a socket */

/* ---- whole values, parts --------------------------------------------------------------- */

static const struct {
    uint64_t first, length;
} parts[] = {
    {0,                TO_THE_END    },
    {0,                VALUE_LEN     },
    {0,                1             },
    {0,                VALUE_LEN - 1 },
    {1,                TO_THE_END    },
    {300000,           300000        },
    {VALUE_LEN - 1,    1             },
    {VALUE_LEN - 1,    TO_THE_END    },
    {VALUE_LEN - 10,   50            }, /* fewer than asked for */
    {5,                UINT64_MAX - 1},
    {5,                INT64_MAX     },
    {0,                0             },
    {77,               0             },
    {VALUE_LEN,        TO_THE_END    }, /* behind the end: nothing, and the size */
    {VALUE_LEN,        1             },
    {VALUE_LEN + 1000, 0             },
    {UINT64_MAX,       TO_THE_END    },
    {UINT64_MAX - 1,   TO_THE_END    },
};

static void read_parts(struct reading_world *rw, const struct mkv_record *record)
{
    static const enum answer_how hows[] = {GOOD, NO_RANGES};

    for (size_t i = 0; i < COUNT(parts); i++)
        for (size_t h = 0; h < COUNT(hows); h++) {
            plan_answers(rw, &(struct answer){hows[h], 0}, 1);
            read_well(rw, record, parts[i].first, parts[i].length);
            assert_int_equal(rw->asked, 1);
        }
}

static void whole_values_and_parts(void **state)
{
    static const size_t sizes[] = {VALUE_LEN, 1, 0};
    struct reading_world rw;

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct mkv_record unknown;

        begin_reading(&rw, sizes[i]);
        read_parts(&rw, &rw.record);
        unknown = rw.record;
        unknown.size = -1;
        store_record(&rw, &unknown);
        read_parts(&rw, &unknown);
        end_reading(&rw);
    }
}

/* A part that is read to its end leaves the connection for the next one. */
static void parts_keep_their_connections(void **state)
{
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    for (unsigned i = 0; i < 30; i++)
        read_well(&rw, &rw.record, i * 1000, 200000);
    assert_int_equal(rw.asked, 30);
    assert_true(rw.connections <= SERVERS);
    end_reading(&rw);
}

/* A volume that sends more than was asked for is left: not when it has sent
 * nothing for ten seconds. */
static void what_comes_behind_is_not_waited_for(void **state)
{
    time_t begun = time(NULL);
    struct mkv_record unknown;
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    plan_answers(&rw, &(struct answer){NO_END, 5000}, 1);
    read_well(&rw, &rw.record, 1000, 4000);
    assert_int_equal(rw.asked, 1);
    unknown = rw.record;
    unknown.size = -1;
    store_record(&rw, &unknown);
    plan_answers(&rw, &(struct answer){NO_END, 5000}, 1);
    read_well(&rw, &unknown, VALUE_LEN, TO_THE_END);
    assert_int_equal(rw.asked, 1);
    assert_true(time(NULL) - begun < 8);
    end_reading(&rw);
}

/* Where no byte is wanted, none is sent for. */
static void no_bytes(void **state)
{
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    read_well(&rw, &rw.record, 77, 0);
    read_well(&rw, &rw.record, VALUE_LEN, TO_THE_END);
    assert_int_equal(rw.heads, 2);
    end_reading(&rw);
}

/* ---- one fails, another goes on ---------------------------------------------------------- */

static void another_goes_on(void **state)
{
    static const struct {
        struct answer answer;
        bool within; /* after some bytes of the value */
    } rows[] = {
        {{CUT, 0},         false},
        {{CUT, 1},         true },
        {{CUT, 123456},    true },
        {{CUT, 199999},    true },
        {{CHUNKED, 0},     false},
        {{LONGER, 0},      false},
        {{OTHER_BYTES, 0}, false},
        {{FEWER, 1000},    true },
        {{STATUS, 404},    false},
        {{STATUS, 500},    false},
        {{STATUS, 403},    false},
        {{STATUS, 302},    false},
        {{STATUS, 206},    false},
        {{STATUS, 416},    false},
        {{STATUS, 200},    false},
    };
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t resumed = rw.w.metrics.reads_resumed;

        plan_answers(&rw, &rows[i].answer, 1);
        read_well(&rw, &rw.record, 100, 200000);
        assert_int_equal(rw.asked, rows[i].answer.how == CHUNKED ? 1 : 2);
        assert_int_equal(rw.w.metrics.reads_resumed - resumed, rows[i].within);
    }
    end_reading(&rw);
}

/* The whole value, without a range: chunks do not tell how much will come. */
static void a_whole_value_without_a_length(void **state)
{
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    plan_answers(&rw, &(struct answer){CHUNKED, 0}, 1);
    read_well(&rw, &rw.record, 0, TO_THE_END);
    assert_int_equal(rw.asked, 2);
    end_reading(&rw);
}

/* Where the record does not know the size, the first replica has said it. */
static void another_of_the_same_size(void **state)
{
    static const struct answer answers[] = {
        {CUT,    1000},
        {LONGER, 0   }
    };
    struct mkv_record unknown;
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    unknown = rw.record;
    unknown.size = -1;
    store_record(&rw, &unknown);
    plan_answers(&rw, answers, 2);
    read_well(&rw, &unknown, 0, TO_THE_END);
    assert_int_equal(rw.asked, 3);
    end_reading(&rw);
}

static void replicas_are_tried_again_after_progress(void **state)
{
    static const struct answer answers[] = {
        {CUT,    1000  },
        {STATUS, 503   },
        {CUT,    0     },
        {STATUS, 503   },
        {CUT,    100000},
        {STATUS, 404   },
        {GOOD,   0     }
    };
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    plan_answers(&rw, answers, COUNT(answers));
    read_well(&rw, &rw.record, 0, TO_THE_END);
    assert_int_equal(rw.asked, COUNT(answers));
    end_reading(&rw);
}

static void it_ends(void **state)
{
    static const struct {
        struct answer answer; /* to every request */
        unsigned asked, opened;
        enum mkv_err err;
    } rows[] = {
        {{HANG_UP, 0},  SERVERS,     0, MKV_ECANNOTASK},
        {{STATUS, 404}, SERVERS,     0, MKV_EGONE     },
        {{STATUS, 500}, SERVERS,     0, MKV_ECANNOTASK},
        {{LONGER, 0},   SERVERS,     0, MKV_EVOLUME   },
        {{CHUNKED, 0},  SERVERS,     0, MKV_ECANNOTASK},
        {{CUT, 0},      SERVERS,     1, MKV_ECANNOTASK}, /* no progress: one round */
        {{CUT, 1},      4 * SERVERS, 1, MKV_ECANNOTASK}, /* hardly any: four */
    };
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    for (size_t i = 0; i < COUNT(rows); i++) {
        plan_answers(&rw, &rows[i].answer, 1);
        rw.forever = true;
        assert_int_equal(read_badly(&rw, &rw.record, rows[i].opened), rows[i].err);
        assert_int_equal(rw.asked, rows[i].asked);
    }
    end_reading(&rw);
}

static void not_all_say_that_it_is_gone(void **state)
{
    static const struct {
        struct answer answers[SERVERS];
        enum mkv_err err;
    } rows[] = {
        {{{STATUS, 404}, {STATUS, 404}, {STATUS, 500}}, MKV_ECANNOTASK},
        {{{STATUS, 404}, {LONGER, 0}, {STATUS, 404}},   MKV_EVOLUME   },
        {{{LONGER, 0}, {STATUS, 503}, {STATUS, 404}},   MKV_ECANNOTASK},
    };
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    for (size_t i = 0; i < COUNT(rows); i++) {
        plan_answers(&rw, rows[i].answers, SERVERS);
        assert_int_equal(read_badly(&rw, &rw.record, 0), rows[i].err);
    }
    end_reading(&rw);
}

static void no_replica_can_be_tried(void **state)
{
    struct reader r = {.read = NULL};
    struct mkv_record nowhere;
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, 5);
    nowhere = rw.record;
    for (unsigned i = 0; i < SERVERS; i++)
        nowhere.replicas[i].volume = 9999;
    store_record(&rw, &nowhere);
    assert_int_equal(start_reading(&rw, &r, &nowhere, 0, TO_THE_END), MKV_ECANNOTASK);
    assert_int_equal(mkv_store_busy(rw.w.store), 0);
    clear_reader(&r);
    end_reading(&rw);
}

/* ---- the record changes meanwhile ----------------------------------------------------------- */

static void gone_meanwhile(void **state)
{
    static const struct answer gone = {STATUS, 404};
    struct mkv_record changed;
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    changed = rw.record;
    changed.state = MKV_UNLINKED;
    store_record(&rw, &changed);
    read_well(&rw, &rw.record, 0, TO_THE_END); /* as long as it is there */
    plan_answers(&rw, &gone, 1);
    rw.forever = true;
    assert_int_equal(read_badly(&rw, &rw.record, 0), MKV_ENOKEY);

    store_record(&rw, NULL);
    plan_answers(&rw, &gone, 1);
    rw.forever = true;
    assert_int_equal(read_badly(&rw, &rw.record, 0), MKV_ENOKEY);
    assert_int_equal(rw.asked, 1); /* the name may be a new write's: not asked for again */
    end_reading(&rw);
}

/* The old files stay for a while. */
static void replaced_meanwhile(void **state)
{
    struct mkv_record changed;
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    changed = rw.record;
    changed.generation = 1;
    changed.size = 5;
    store_record(&rw, &changed);
    plan_answers(&rw,
                 (struct answer[]){
                     {CUT,    1000},
                     {STATUS, 500 },
                     {CUT,    0   }
    },
                 3);
    read_well(&rw, &rw.record, 0, TO_THE_END);
    assert_int_equal(rw.asked, 4);
    plan_answers(&rw, &(struct answer){STATUS, 404}, 1);
    rw.forever = true;
    assert_int_equal(read_badly(&rw, &rw.record, 0), MKV_ECANNOTASK);
    end_reading(&rw);
}

/* Deleted and written anew, under the same name: bytes of the two must not mix. */
static void another_value_under_the_same_name(void **state)
{
    struct mkv_record changed, with_md5;
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    changed = rw.record;
    changed.mtime++;
    store_record(&rw, &changed);
    plan_answers(&rw, &(struct answer){CUT, 1000}, 1);
    assert_int_equal(read_badly(&rw, &rw.record, 1), MKV_ECANNOTASK);
    assert_int_equal(rw.asked, 1);

    with_md5 = changed = rw.record;
    with_md5.has_md5 = changed.has_md5 = true;
    changed.md5[3] = 1;
    store_record(&rw, &changed);
    plan_answers(&rw, &(struct answer){CUT, 1000}, 1);
    assert_int_equal(read_badly(&rw, &with_md5, 1), MKV_ECANNOTASK);
    assert_int_equal(rw.asked, 1);

    changed = with_md5; /* described anew: it is the same value */
    changed.mtime++;
    store_record(&rw, &changed);
    plan_answers(&rw, &(struct answer){CUT, 1000}, 1);
    read_well(&rw, &with_md5, 0, TO_THE_END);
    end_reading(&rw);
}

static void moved_meanwhile(void **state)
{
    static const struct answer answers[] = {
        {STATUS, 404},
        {STATUS, 404},
        {STATUS, 404}
    };
    struct mkv_record changed;
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    changed = rw.record;
    changed.nreplicas = 1;
    store_record(&rw, &changed);
    plan_answers(&rw, answers, 3);
    read_well(&rw, &rw.record, 0, TO_THE_END);
    assert_int_equal(rw.asked, 4);
    end_reading(&rw);
}

/* ---- readers that pause, leave, or are left -------------------------------------------------- */

/* Whatever a volume sends, no more comes than was asked for, and all of that. */
static void in_pipes(void **state)
{
    static const struct answer plans[][2] = {
        {{GOOD, 0}, {GOOD, 0}},
        {{CUT, 2000000}, {GOOD, 0}},
        {{NO_RANGES, 0}, {GOOD, 0}},
        {{CUT, 2000000}, {NO_RANGES, 0}},
        {{MORE, 1500000}, {GOOD, 0}},
    };
    static const struct {
        uint64_t first, length;
    } wanted[] = {{0, TO_THE_END}, {1000000, 1500001}};
    struct reading_world rw;
    unsigned pipes = 0;

    (void)state;
    begin_reading(&rw, 4000000);
    for (size_t i = 0; i < 2 * COUNT(plans); i++) {
        struct reader r = {.blocks = mkv_store_blocks(rw.w.store)};
        uint64_t first = wanted[i % 2].first, length = wanted[i % 2].length;

        plan_answers(&rw, plans[i / 2], 2);
        assert_int_equal(start_reading(&rw, &r, &rw.record, first, length), MKV_OK);
        run_until(&rw.w, r.done);
        assert_int_equal(r.err, MKV_OK);
        assert_got(&rw, &r, first, (size_t)(length == TO_THE_END ? rw.size : length));
        pipes += r.pipes;
        clear_reader(&r);
    }
    assert_true(pipes > 2 * COUNT(plans));
    end_reading(&rw);
}

static void turns(struct reading_world *rw, unsigned n)
{
    const struct timeval soon = {0, 1000};

    while (n--) {
        event_base_loopexit(mkv_loop_base(rw->w.loop), &soon);
        mkv_loop_turn(rw->w.loop);
    }
}

static void a_reader_that_pauses(void **state)
{
    static const struct answer answers[] = {
        {CUT, 1000  },
        {CUT, 300000}
    };
    struct reader r = {.pauses_at_opened = true, .pauses_at_body = true};
    struct reading_world rw;
    unsigned pieces;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    plan_answers(&rw, answers, 2); /* others go on while it pauses, too */
    assert_int_equal(start_reading(&rw, &r, &rw.record, 0, TO_THE_END), MKV_OK);
    run_until(&rw.w, r.opened);
    turns(&rw, 20);
    assert_int_equal(r.pieces, 0);
    while (!r.done) {
        pieces = r.pieces;
        pause_reader(&r, false);
        run_until(&rw.w, r.done || r.pieces > pieces);
        turns(&rw, 3);
        assert_true(r.pieces <= pieces + 1);
    }
    assert_int_equal(r.err, MKV_OK);
    assert_got(&rw, &r, 0, VALUE_LEN);
    assert_int_equal(rw.asked, 3);
    clear_reader(&r);
    end_reading(&rw);
}

/* Before anything has come: the pause holds for whoever answers. */
static void paused_from_the_beginning(void **state)
{
    struct reader r = {.read = NULL};
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    plan_answers(&rw, &(struct answer){STATUS, 500}, 1);
    assert_int_equal(start_reading(&rw, &r, &rw.record, 10, 1000), MKV_OK);
    pause_reader(&r, true);
    run_until(&rw.w, r.opened);
    turns(&rw, 20);
    assert_int_equal(r.pieces + r.done, 0);
    pause_reader(&r, false);
    run_until(&rw.w, r.done);
    assert_got(&rw, &r, 10, 1000);
    clear_reader(&r);
    end_reading(&rw);
}

static void a_reader_that_leaves(void **state)
{
    static const enum leave leaves[] = {LEAVES_AT_OPENED, LEAVES_AT_BODY};
    static const struct answer answers[] = {
        {GOOD,      0},
        {NO_RANGES, 0}
    };
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    mkv_read_cancel(NULL);
    for (size_t i = 0; i < COUNT(leaves); i++)
        for (size_t a = 0; a < COUNT(answers); a++)
            for (uint64_t length = 0; length < 20; length += 10) {
                struct reader r = {.leave = leaves[i]};

                plan_answers(&rw, &answers[a], 1);
                assert_int_equal(start_reading(&rw, &r, &rw.record, 5, length), MKV_OK);
                run_until(&rw.w, r.done || mkv_store_busy(rw.w.store) == 0);
                turns(&rw, 5);
                assert_int_equal(r.done, length == 0 && leaves[i] == LEAVES_AT_BODY);
                clear_reader(&r);
            }
    end_reading(&rw);
}

static void a_reader_that_leaves_at_once(void **state)
{
    struct reader r = {.read = NULL};
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    assert_int_equal(start_reading(&rw, &r, &rw.record, 0, TO_THE_END), MKV_OK);
    mkv_read_cancel(r.read);
    turns(&rw, 20);
    assert_int_equal(r.opened + r.done, 0);
    assert_int_equal(mkv_store_busy(rw.w.store), 0);
    clear_reader(&r);
    end_reading(&rw);
}

/* Whatever it waits for, nobody is called back. */
static void a_store_that_closes(void **state)
{
    static const struct answer answers[] = {
        {SILENT, 0},
        {GOOD,   0}
    };
    struct reading_world rw;

    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct reader r = {.pauses_at_body = true};

        begin_reading(&rw, VALUE_LEN);
        plan_answers(&rw, &answers[i], 1);
        assert_int_equal(start_reading(&rw, &r, &rw.record, 0, TO_THE_END), MKV_OK);
        run_until(&rw.w, answers[i].how == SILENT ? rw.asked : r.pieces);
        end_reading(&rw);
        assert_int_equal(r.done, 0);
        clear_reader(&r);
    }
}

/* A copy knows its source already, and does not ask to be told. */
static void a_reader_that_only_takes_bytes(void **state)
{
    static const struct mkv_read_events events = {.body = on_body, .done = on_read};
    struct reader r = {.opened = 1};
    struct reading_world rw;

    (void)state;
    begin_reading(&rw, VALUE_LEN);
    plan_answers(&rw, &(struct answer){GOOD, 0}, 1);
    r.got = evbuffer_new();
    assert_non_null(r.got);
    assert_int_equal(mkv_store_read(&r.read, rw.w.store,
                                    &(struct mkv_read_options){.key = THE_KEY,
                                                               .record = &rw.record,
                                                               .length = TO_THE_END},
                                    &events, &r),
                     MKV_OK);
    run_until(&rw.w, r.done);
    assert_int_equal(r.err, MKV_OK);
    assert_got(&rw, &r, 0, VALUE_LEN);
    clear_reader(&r);
    end_reading(&rw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_values_and_parts),
        cmocka_unit_test(parts_keep_their_connections),
        cmocka_unit_test(what_comes_behind_is_not_waited_for),
        cmocka_unit_test(no_bytes),
        cmocka_unit_test(another_goes_on),
        cmocka_unit_test(a_whole_value_without_a_length),
        cmocka_unit_test(another_of_the_same_size),
        cmocka_unit_test(replicas_are_tried_again_after_progress),
        cmocka_unit_test(it_ends),
        cmocka_unit_test(not_all_say_that_it_is_gone),
        cmocka_unit_test(no_replica_can_be_tried),
        cmocka_unit_test(gone_meanwhile),
        cmocka_unit_test(replaced_meanwhile),
        cmocka_unit_test(another_value_under_the_same_name),
        cmocka_unit_test(moved_meanwhile),
        cmocka_unit_test(in_pipes),
        cmocka_unit_test(a_reader_that_pauses),
        cmocka_unit_test(paused_from_the_beginning),
        cmocka_unit_test(a_reader_that_leaves),
        cmocka_unit_test(a_reader_that_leaves_at_once),
        cmocka_unit_test(a_store_that_closes),
        cmocka_unit_test(a_reader_that_only_takes_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
