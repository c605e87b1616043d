/* The store's spool: where it is, and who has one. */
#include "mkv/config.h"
#include "mkv/digest.h"
#include "mkv/spool.h"
#include "mkv/store.h"

#include "index_helper.h"

struct world {
    struct mkv_loop *loop;
    struct mkv_config cfg;
    struct mkv_metrics metrics;
    struct mkv_store *store;
    char dir[64], elsewhere[80], inside[80];
    char why[256];
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    if (!w || mkv_loop_open(&w->loop)) return -1;
    snprintf(w->dir, sizeof(w->dir), "/tmp/mkv-test-store-XXXXXX");
    if (!mkdtemp(w->dir)) return -1;
    snprintf(w->elsewhere, sizeof(w->elsewhere), "%s/elsewhere", w->dir);
    snprintf(w->inside, sizeof(w->inside), "%s/db/spool", w->dir);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    mkv_store_close(w->store);
    mkv_config_clear(&w->cfg);
    mkv_loop_close(w->loop);
    remove_tree(w->dir);
    free(w);
    return 0;
}

static enum mkv_err open_store(struct world *w, enum mkv_program program, const char *spool)
{
    char db[80];
    char *argv[] = {"mkv", "-db", db, "-volumes", "127.0.0.1:1", "-replicas", "1",
                    "-db-size", "64M", "-spool", (char *)spool};

    snprintf(db, sizeof(db), "%s/db", w->dir);
    mkv_store_close(w->store);
    w->store = NULL;
    mkv_config_clear(&w->cfg);
    assert_int_equal(mkv_config_parse(&w->cfg, program, spool ? 11 : 9, argv), MKV_CONFIG_RUN);
    return mkv_store_open(&w->store, w->loop, &w->cfg, &w->metrics, "127.0.0.1:1", w->why,
                          sizeof(w->why));
}

static void in_the_index_by_default(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_store(w, MKV_PROGRAM_SERVER, NULL), MKV_OK);
    assert_non_null(mkv_store_spool(w->store));
    assert_int_equal(access(w->inside, F_OK), 0);
}

static void elsewhere_where_wanted(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_store(w, MKV_PROGRAM_SERVER, w->elsewhere), MKV_OK);
    assert_non_null(mkv_store_spool(w->store));
    assert_int_equal(access(w->elsewhere, F_OK), 0);
    assert_int_equal(access(w->inside, F_OK), -1);
}

static void jobs_have_none(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_store(w, MKV_PROGRAM_REBALANCE, NULL), MKV_OK);
    assert_null(mkv_store_spool(w->store));
    assert_int_equal(access(w->inside, F_OK), -1);
}

/* Said at start, with its name. */
static void one_that_can_not_be_used(void **state)
{
    struct world *w = *state;
    struct mkv_spool *other;
    char missing[96];

    snprintf(missing, sizeof(missing), "%s/no/parent", w->elsewhere);
    assert_int_equal(open_store(w, MKV_PROGRAM_SERVER, missing), MKV_EIO);
    assert_non_null(strstr(w->why, missing));
    assert_int_equal(mkv_spool_open(&other, w->loop, w->elsewhere, w->why, sizeof(w->why)), MKV_OK);
    assert_int_equal(open_store(w, MKV_PROGRAM_SERVER, w->elsewhere), MKV_ELOCKED);
    assert_non_null(strstr(w->why, w->elsewhere));
    mkv_spool_close(other);
    assert_int_equal(open_store(w, MKV_PROGRAM_SERVER, w->elsewhere), MKV_OK);
}

/* ---- what a start leaves of it ------------------------------------------------------ */

#define UPLOADS 200

static void upload_id(uint8_t id[MKV_UPLOAD_ID_LEN], unsigned i)
{
    memset(id, (int)(i * 37 % 251), MKV_UPLOAD_ID_LEN);
    id[MKV_UPLOAD_ID_LEN - 1] = (uint8_t)i;
}

static void make_file(const struct world *w, unsigned upload, const char *name)
{
    uint8_t id[MKV_UPLOAD_ID_LEN];
    char hex[2 * MKV_UPLOAD_ID_LEN + 1], path[200];
    FILE *file;

    upload_id(id, upload);
    mkv_hex(hex, id, sizeof(id));
    snprintf(path, sizeof(path), "%s/%s", w->inside, hex);
    assert_true(mkdir(path, 0700) == 0 || access(path, F_OK) == 0);
    snprintf(path, sizeof(path), "%s/%s/%s", w->inside, hex, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static bool there(const struct world *w, unsigned upload, const char *name)
{
    uint8_t id[MKV_UPLOAD_ID_LEN];
    char hex[2 * MKV_UPLOAD_ID_LEN + 1], path[200];

    upload_id(id, upload);
    mkv_hex(hex, id, sizeof(id));
    snprintf(path, sizeof(path), "%s/%s/%s", w->inside, hex, name);
    return access(path, F_OK) == 0;
}

static void on_put(enum mkv_err err, void *arg)
{
    assert_int_equal(err, MKV_OK);
    --*(unsigned *)arg;
}

/* Every other upload is in the index. */
static void unknown_uploads_go(void **state)
{
    struct world *w = *state;
    unsigned waiting = 0;

    assert_int_equal(open_store(w, MKV_PROGRAM_SERVER, NULL), MKV_OK);
    for (unsigned i = 0; i < UPLOADS; i++) {
        struct mkv_upload u = {.key_len = 0};

        make_file(w, i, "1.1");
        make_file(w, i, "2.1~");
        if (i % 2) continue;
        upload_id(u.id, i);
        u.key_len = (size_t)snprintf(u.key, sizeof(u.key), "/bucket/%u", i % 7);
        mkv_record_init(&u.what);
        waiting++;
        assert_int_equal(
            mkv_index_upload_put(mkv_store_index(w->store), &u, on_put, &waiting), MKV_OK);
    }
    while (waiting) mkv_loop_turn(w->loop);
    assert_int_equal(open_store(w, MKV_PROGRAM_SERVER, NULL), MKV_OK);
    for (unsigned i = 0; i < UPLOADS; i++) {
        assert_int_equal(there(w, i, "1.1"), i % 2 == 0);
        assert_false(there(w, i, "2.1~"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_the_index_by_default),
        TEST(elsewhere_where_wanted),
        TEST(jobs_have_none),
        TEST(one_that_can_not_be_used),
        TEST(unknown_uploads_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
