/* A write that its caller allows, describes, verifies and refuses. */
#include "store_helper.h"

/* ---- a caller with opinions ------------------------------------------------------- */

struct caller {
    struct write wr; /* first: what the callbacks of store_helper.h get */
    enum mkv_err allow_err, verify_err;
    unsigned asked, verified;
    bool saw_old;
    struct mkv_record old;         /* as allow() saw it: without fields */
    struct mkv_slice content_type; /* verify() sets it; empty: not */
    struct mkv_record stored;      /* as verify() saw it: without fields */
};

static enum mkv_err on_allow(const struct mkv_record *old, void *arg)
{
    struct caller *c = arg;

    assert_true(c->wr.inside); /* inside mkv_put_start() */
    c->asked++;
    c->saw_old = old != NULL;
    if (old) c->old = *old;
    return c->allow_err;
}

static enum mkv_err on_verify(struct mkv_record *stored, void *arg)
{
    struct caller *c = arg;

    assert_int_equal(c->wr.done, 0);
    c->verified++;
    if (c->content_type.len)
        assert_int_equal(mkv_record_set_field(stored, MKV_FIELD_CONTENT_TYPE, c->content_type),
                         MKV_OK);
    c->stored = *stored;
    return c->verify_err;
}

static const struct mkv_put_events opinions = {.ready = on_ready,
                                               .drained = on_drained,
                                               .done = on_put,
                                               .allow = on_allow,
                                               .verify = on_verify};

static struct caller caller_with(const char *value)
{
    return (struct caller){
        .wr = {.value = value, .events = &opinions}
    };
}

static void assert_no_key(struct world *w, const char *key)
{
    struct mkv_record rec;

    assert_int_equal(read_record(w, key, &rec), MKV_ENOKEY);
    assert_int_equal(all_files(w) + marks(w), 0);
    assert_int_equal(mkv_store_busy(w->store), 0);
}

static bool has_field(const struct mkv_record *rec, unsigned type, const char *value)
{
    struct mkv_slice found;

    return mkv_record_field(rec, type, &found) && mkv_slice_eq(found, text(value));
}

static void remove_key(struct world *w, const char *key, bool only_unlink)
{
    struct mkv_remove *removal;

    assert_int_equal(only_unlink ? mkv_store_unlink(w->store, text(key), &removal, NULL, NULL)
                                 : mkv_store_delete(w->store, text(key), &removal, NULL, NULL),
                     MKV_OK);
    run_until(w, mkv_store_busy(w->store) == 0);
}

/* ---- allow --------------------------------------------------------------------------- */

static void allow_sees_the_live_record(void **state)
{
    struct caller c = caller_with("value");
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    write_value(&w, &c.wr, "/key", true);
    assert_int_equal(c.wr.err, MKV_OK);
    assert_int_equal(c.asked, 1);
    assert_false(c.saw_old);

    assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
    c = caller_with("other");
    write_value(&w, &c.wr, "/key", true);
    assert_int_equal(c.wr.err, MKV_OK);
    assert_true(c.saw_old);
    assert_int_equal(c.old.size, 5);
    assert_int_equal(c.old.generation, rec.generation);
    assert_memory_equal(c.old.md5, rec.md5, MKV_MD5_LEN);

    remove_key(&w, "/key", true);
    c = caller_with("third");
    write_value(&w, &c.wr, "/key", false);
    assert_int_equal(c.wr.err, MKV_OK);
    assert_false(c.saw_old); /* unlinked: nobody finds it */
    finish(&w);
}

static void allow_refuses(void **state)
{
    struct caller c = caller_with("other");
    struct mkv_record before, after;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    c.allow_err = MKV_EINVAL;
    assert_int_equal(start_put(&w, &c.wr, "/key", true), MKV_EINVAL);
    for (unsigned i = 0; i < 5; i++)
        mkv_loop_settle(w.loop);
    assert_int_equal(c.wr.ready + c.wr.done + c.verified, 0);
    assert_no_key(&w, "/key");

    put_well(&w, "/key"); /* the key is free */
    assert_int_equal(read_record(&w, "/key", &before), MKV_OK);
    assert_int_equal(start_put(&w, &c.wr, "/key", true), MKV_EINVAL);
    assert_true(c.saw_old);
    assert_int_equal(read_record(&w, "/key", &after), MKV_OK);
    assert_int_equal(after.generation, before.generation);
    assert_int_equal(all_files(&w), 3);
    assert_int_equal(marks(&w) + mkv_store_busy(w.store), 0);
    /* A live key that is not to be replaced is no question. */
    c.asked = 0;
    assert_int_equal(start_put(&w, &c.wr, "/key", false), MKV_EEXISTS);
    assert_int_equal(c.asked, 0);
    finish(&w);
}

/* ---- verify --------------------------------------------------------------------------- */

static void verify_sees_what_will_be_stored(void **state)
{
    struct caller c = caller_with("value");
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 4, "3");
    c.content_type = text("text/plain");
    write_value(&w, &c.wr, "/key", false);
    assert_int_equal(c.wr.err, MKV_OK);
    assert_int_equal(c.verified, 1);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
    assert_int_equal(c.stored.size, 5);
    assert_true(c.stored.has_md5);
    assert_memory_equal(c.stored.md5, rec.md5, MKV_MD5_LEN);
    assert_int_equal(c.stored.nreplicas, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(c.stored.replicas[i].volume, rec.replicas[i].volume);
        assert_int_equal(c.stored.replicas[i].subvolume, rec.replicas[i].subvolume);
    }
    assert_true(has_field(&rec, MKV_FIELD_CONTENT_TYPE, "text/plain"));
    mkv_record_clear(&rec);
    finish(&w);
}

static void verify_takes_the_write_back(void **state)
{
    static const bool late_ends[] = {false, true}; /* true: inside mkv_put_end() */

    (void)state;
    for (size_t i = 0; i < COUNT(late_ends); i++) {
        struct caller c = caller_with("value");
        struct world w;

        begin(&w, 3, "3");
        c.verify_err = MKV_ECLIENT;
        c.content_type = text("text/plain");
        c.wr.leave_open = late_ends[i];
        assert_int_equal(start_put(&w, &c.wr, "/key", false), MKV_OK);
        if (late_ends[i]) {
            run_until(&w, c.wr.ready && all_files(&w) == 3);
            for (unsigned n = 0; n < 5; n++)
                mkv_loop_turn(w.loop);
            c.wr.inside = true;
            mkv_put_end(c.wr.put);
            c.wr.inside = false;
        }
        run_until(&w, c.wr.done);
        assert_int_equal(c.wr.err, MKV_ECLIENT);
        assert_int_equal(c.verified, 1);
        assert_no_key(&w, "/key");
        put_well(&w, "/key");
        finish(&w);
    }
}

static void verify_leaves_the_old_value(void **state)
{
    struct caller c = caller_with("other");
    struct mkv_record before, after;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    assert_int_equal(read_record(&w, "/key", &before), MKV_OK);
    c.verify_err = MKV_EINVAL;
    write_value(&w, &c.wr, "/key", true);
    assert_int_equal(c.wr.err, MKV_EINVAL);
    assert_int_equal(read_record(&w, "/key", &after), MKV_OK);
    assert_int_equal(after.state, MKV_LIVE);
    assert_int_equal(after.generation, before.generation);
    assert_memory_equal(after.md5, before.md5, MKV_MD5_LEN);
    assert_int_equal(all_files(&w), 3);
    assert_int_equal(marks(&w), 0);
    finish(&w);
}

/* The copy that was made anew is one of those that verify() sees, and goes too. */
static void verify_comes_after_a_repair(void **state)
{
    static const enum mkv_err errs[] = {MKV_OK, MKV_ECLIENT};

    (void)state;
    for (size_t i = 0; i < COUNT(errs); i++) {
        struct caller c = caller_with("value");
        struct toy_volume *ordered[VOLUMES_MAX];
        struct world w;

        begin(&w, 4, "3");
        by_placement(&w, "/key", ordered);
        ordered[1]->refuse_puts = 507;
        c.verify_err = errs[i];
        write_value(&w, &c.wr, "/key", false);
        assert_int_equal(c.wr.err, errs[i]);
        assert_int_equal(c.verified, 1);
        assert_int_equal(c.stored.nreplicas, 3);
        assert_int_equal(w.metrics.puts_repaired, 1);
        run_until(&w, mkv_store_busy(w.store) == 0);
        if (errs[i])
            assert_no_key(&w, "/key");
        else
            assert_int_equal(all_files(&w), 3);
        finish(&w);
    }
}

/* Nobody is there to look at it: it must not become the value. */
static void cancelled_before_verify(void **state)
{
    struct caller c = caller_with("value");
    struct mkv_record rec;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    c.wr.hold = true;
    assert_int_equal(start_put(&w, &c.wr, "/key", false), MKV_OK);
    run_until(&w, c.wr.ready);
    send_value(&c.wr);
    mkv_put_cancel(c.wr.put);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(c.verified + c.wr.done, 0);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_ENOKEY);
    assert_no_key(&w, "/key");
    finish(&w);
}

/* ---- refuse ---------------------------------------------------------------------------- */

enum refuse_when { AT_ONCE, AT_READY, BETWEEN, STORED_ALREADY };

static void refused(enum refuse_when when, unsigned long more_files)
{
    struct caller c = caller_with("value");
    struct world w;

    begin(&w, 4, "3");
    c.wr.hold = true;
    c.wr.leave_open = true;
    if (more_files) put_well(&w, "/key");
    assert_int_equal(start_put(&w, &c.wr, "/key", true), MKV_OK);
    if (when > AT_ONCE) run_until(&w, c.wr.ready);
    if (when == BETWEEN) {
        mkv_put_body(c.wr.put, (struct mkv_bytes){(const uint8_t *)"va", 2, NULL});
        mkv_loop_turn(w.loop);
    }
    if (when == STORED_ALREADY) {
        send_value(&c.wr);
        run_until(&w, all_files(&w) == 3 + more_files);
        for (unsigned i = 0; i < 5; i++)
            mkv_loop_turn(w.loop);
    }
    c.wr.inside = true;
    mkv_put_refuse(c.wr.put, MKV_EINVAL);
    mkv_put_refuse(c.wr.put, MKV_ECLIENT); /* the first one counts */
    c.wr.inside = false;
    run_until(&w, c.wr.done);
    assert_int_equal(c.wr.done, 1);
    assert_int_equal(c.wr.err, MKV_EINVAL);
    assert_int_equal(c.wr.ready, when > AT_ONCE);
    assert_int_equal(c.verified, 0);
    if (more_files)
        assert_int_equal(all_files(&w), more_files);
    else
        assert_no_key(&w, "/key");
    finish(&w);
}

static void a_body_that_is_refused(void **state)
{
    (void)state;
    for (int when = AT_ONCE; when <= STORED_ALREADY; when++) {
        refused((enum refuse_when)when, 0);
        refused((enum refuse_when)when, 3);
    }
}

/* ---- fields, MD5 -------------------------------------------------------------------------- */

static void fields_are_kept(void **state)
{
    struct write wr = {.value = "value"};
    struct mkv_record fields, rec;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    mkv_record_init(&fields);
    fields.size = 77; /* only the fields are taken */
    fields.nreplicas = 16;
    assert_int_equal(mkv_record_set_field(&fields, MKV_FIELD_CONTENT_TYPE, text("image/png")),
                     MKV_OK);
    assert_int_equal(mkv_record_set_field(&fields, MKV_FIELD_CACHE_CONTROL, text("no-cache")),
                     MKV_OK);
    wr.fields = &fields;
    assert_int_equal(start_put(&w, &wr, "/key", false), MKV_OK);
    mkv_record_clear(&fields); /* copied */
    run_until(&w, wr.done);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
    assert_int_equal(rec.size, 5);
    assert_int_equal(rec.nreplicas, 3);
    assert_true(has_field(&rec, MKV_FIELD_CONTENT_TYPE, "image/png"));
    assert_true(has_field(&rec, MKV_FIELD_CACHE_CONTROL, "no-cache"));
    mkv_record_clear(&rec);

    wr = (struct write){.value = "other"}; /* the next value has its own: none */
    write_value(&w, &wr, "/key", true);
    assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
    assert_int_equal(rec.fields_len, 0);
    finish(&w);
}

static void an_md5_that_one_write_asks_for(void **state)
{
    static const bool asks[] = {false, true};
    uint8_t md5[MKV_MD5_LEN];
    struct world w;

    (void)state;
    begin_with(&w, 3, "3", "-md5sum=false");
    mkv_md5(text("value"), md5);
    for (size_t i = 0; i < COUNT(asks); i++) {
        struct write wr = {.value = "value", .md5 = asks[i]};
        struct mkv_record rec;

        write_value(&w, &wr, "/key", true);
        assert_int_equal(wr.err, MKV_OK);
        assert_int_equal(read_record(&w, "/key", &rec), MKV_OK);
        assert_int_equal(rec.has_md5, asks[i]);
        if (asks[i]) assert_memory_equal(rec.md5, md5, MKV_MD5_LEN);
    }
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allow_sees_the_live_record),
        cmocka_unit_test(allow_refuses),
        cmocka_unit_test(verify_sees_what_will_be_stored),
        cmocka_unit_test(verify_takes_the_write_back),
        cmocka_unit_test(verify_leaves_the_old_value),
        cmocka_unit_test(verify_comes_after_a_repair),
        cmocka_unit_test(cancelled_before_verify),
        cmocka_unit_test(a_body_that_is_refused),
        cmocka_unit_test(fields_are_kept),
        cmocka_unit_test(an_md5_that_one_write_asks_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
