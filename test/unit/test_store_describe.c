/* A value that gets other headers, and keeps its files. */
#include "store_helper.h"

struct describing {
    bool inside;
    unsigned done;
    enum mkv_err err;
};

static void on_described(enum mkv_err err, void *arg)
{
    struct describing *d = arg;

    assert_false(d->inside);
    d->done++;
    d->err = err;
}

static enum mkv_err start(struct world *w, struct describing *d, struct mkv_describe **out,
                          const char *key, const struct mkv_record *expected,
                          const char *content_type, int64_t mtime)
{
    struct mkv_record fields;
    const struct mkv_describe_options opt = {
        .key = text(key), .expected = expected, .fields = &fields, .mtime = mtime};
    enum mkv_err err;

    mkv_record_init(&fields);
    assert_int_equal(mkv_record_set_field(&fields, MKV_FIELD_CONTENT_TYPE, text(content_type)),
                     MKV_OK);
    d->inside = true;
    err = mkv_store_describe(w->store, &opt, out, on_described, d);
    d->inside = false;
    mkv_record_clear(&fields);
    return err;
}

static void describe_well(struct world *w, const char *key, const struct mkv_record *expected,
                          const char *content_type, int64_t mtime)
{
    struct describing d = {.done = 0};
    struct mkv_describe *describe;

    assert_int_equal(start(w, &d, &describe, key, expected, content_type, mtime), MKV_OK);
    run_until(w, d.done);
    assert_int_equal(d.err, MKV_OK);
    assert_int_equal(mkv_store_busy(w->store), 0);
}

static void assert_content_type(const struct mkv_record *rec, const char *wanted)
{
    struct mkv_slice got;

    if (!wanted[0]) {
        assert_false(mkv_record_field(rec, MKV_FIELD_CONTENT_TYPE, &got));
        return;
    }
    assert_true(mkv_record_field(rec, MKV_FIELD_CONTENT_TYPE, &got));
    assert_slice(got, text(wanted));
}

/* ---- fields ------------------------------------------------------------------------- */

static void fields_and_time_are_replaced(void **state)
{
    struct mkv_record before, after;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    assert_int_equal(read_record(&w, "/key", &before), MKV_OK);
    describe_well(&w, "/key", &before, "text/plain", 2000000000);
    mkv_store_close(w.store); /* it is on the disk */
    open_store(&w);
    assert_int_equal(read_record(&w, "/key", &after), MKV_OK);
    assert_content_type(&after, "text/plain");
    assert_int_equal(after.mtime, 2000000000);
    assert_int_equal(after.state, MKV_LIVE);
    assert_int_equal(after.generation, before.generation);
    assert_int_equal(after.size, before.size);
    assert_int_equal(after.nreplicas, 3);
    assert_true(after.has_md5);
    assert_memory_equal(after.md5, before.md5, MKV_MD5_LEN);
    assert_int_equal(all_files(&w), 3);

    /* Seen before the last change of its headers: still the same value. */
    describe_well(&w, "/key", &before, "", 2000000001);
    mkv_record_clear(&after);
    assert_int_equal(read_record(&w, "/key", &after), MKV_OK);
    assert_content_type(&after, "");
    assert_int_equal(after.fields_len, 0);
    assert_int_equal(w.volumes[0].puts + w.volumes[1].puts + w.volumes[2].puts, 3);
    finish(&w);
}

static void what_it_refuses(void **state)
{
    struct describing d = {.done = 0};
    struct write wr = {.value = "other", .hold = true};
    struct mkv_describe *describe;
    struct mkv_record seen, now;
    struct mkv_remove *removal;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    assert_int_equal(read_record(&w, "/key", &seen), MKV_OK);
    assert_int_equal(start(&w, &d, &describe, "/other", &seen, "a", 1), MKV_ENOKEY);

    assert_int_equal(start_put(&w, &wr, "/key", true), MKV_OK); /* somebody writes */
    assert_int_equal(start(&w, &d, &describe, "/key", &seen, "a", 1), MKV_EBUSY);
    run_until(&w, wr.ready);
    send_value(&wr);
    run_until(&w, wr.done);
    assert_int_equal(start(&w, &d, &describe, "/key", &seen, "a", 1), MKV_EBUSY); /* and wrote */

    assert_int_equal(read_record(&w, "/key", &seen), MKV_OK);
    now = seen;
    now.md5[0] ^= 1; /* another value under the same name */
    assert_int_equal(start(&w, &d, &describe, "/key", &now, "a", 1), MKV_EBUSY);
    now = seen;
    now.state = MKV_UNLINKED;
    assert_int_equal(start(&w, &d, &describe, "/key", &now, "a", 1), MKV_EBUSY);

    assert_int_equal(mkv_store_unlink(w.store, text("/key"), &removal, NULL, NULL), MKV_OK);
    assert_int_equal(start(&w, &d, &describe, "/key", &seen, "a", 1), MKV_EBUSY);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(start(&w, &d, &describe, "/key", &seen, "a", 1), MKV_ENOKEY);
    assert_int_equal(d.done, 0);
    assert_int_equal(read_record(&w, "/key", &now), MKV_OK);
    assert_int_equal(now.fields_len, 0);
    finish(&w);
}

/* One change of a key at a time. */
static void it_holds_the_key(void **state)
{
    struct describing d = {.done = 0}, other = {.done = 0};
    struct mkv_describe *describe, *second;
    struct write wr = {.value = "other"};
    struct mkv_record seen;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    assert_int_equal(read_record(&w, "/key", &seen), MKV_OK);
    assert_int_equal(start(&w, &d, &describe, "/key", &seen, "a", 1), MKV_OK);
    assert_int_equal(start(&w, &other, &second, "/key", &seen, "b", 1), MKV_EBUSY);
    assert_int_equal(start_put(&w, &wr, "/key", true), MKV_EBUSY);
    run_until(&w, d.done);
    assert_int_equal(other.done, 0);
    write_value(&w, &wr, "/key", true);
    assert_int_equal(wr.err, MKV_OK);
    finish(&w);
}

static void nobody_waits(void **state)
{
    struct describing d = {.done = 0};
    struct mkv_describe *describe;
    struct mkv_record seen, now;
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    assert_int_equal(read_record(&w, "/key", &seen), MKV_OK);
    assert_int_equal(start(&w, &d, &describe, "/key", &seen, "a", 1), MKV_OK);
    mkv_describe_forget(describe);
    run_until(&w, mkv_store_busy(w.store) == 0);
    assert_int_equal(read_record(&w, "/key", &now), MKV_OK);
    assert_content_type(&now, "a");
    mkv_record_clear(&now);

    assert_int_equal(start(&w, &d, &describe, "/key", &seen, "b", 1), MKV_OK);
    mkv_store_close(w.store); /* what was begun is committed, and nobody called back */
    open_store(&w);
    assert_int_equal(d.done, 0);
    assert_int_equal(read_record(&w, "/key", &now), MKV_OK);
    assert_content_type(&now, "b");
    mkv_record_clear(&now);
    finish(&w);
}

/* ---- files ---------------------------------------------------------------------------- */

static void on_moved(enum mkv_err err, const char *why, void *arg)
{
    struct describing *d = arg;

    if (err) fail_msg("%s", why);
    d->done++;
    d->err = err;
}

/* A copy that is made anew shows the time of the others, not that of the record:
 * a client that asks two volumes sees one file. */
static void copies_keep_their_time(void **state)
{
    struct toy_volume *ordered[VOLUMES_MAX];
    struct describing d = {.done = 0};
    struct mkv_record seen;
    struct mkv_move *move;
    char date[MKV_HTTP_DATE_MAX], path[sizeof(ordered[0]->files[0])];
    struct world w;

    (void)state;
    begin(&w, 3, "3");
    put_well(&w, "/key");
    assert_int_equal(read_record(&w, "/key", &seen), MKV_OK);
    mkv_http_date(date, seen.mtime);
    describe_well(&w, "/key", &seen, "text/plain", seen.mtime + 1000);
    by_placement(&w, "/key", ordered);
    memcpy(path, ordered[1]->files[0], sizeof(path));
    assert_int_equal(toy_delete(ordered[1], path), 204);
    assert_int_equal(mkv_store_move(w.store, text("/key"), 0, &move, on_moved, &d), MKV_OK);
    run_until(&w, d.done);
    assert_int_equal(all_files(&w), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_string_equal(ordered[i]->dates[0], date);
    assert_int_equal(read_record(&w, "/key", &seen), MKV_OK);
    assert_content_type(&seen, "text/plain");
    mkv_record_clear(&seen);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_time_are_replaced),
        cmocka_unit_test(what_it_refuses),
        cmocka_unit_test(it_holds_the_key),
        cmocka_unit_test(nobody_waits),
        cmocka_unit_test(copies_keep_their_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
