/* A new index beside the old one: what no volume knows goes over as it is. */
#include "index_helper.h"

#include "index/build.h"

#define UPLOADS 300
#define PARTS   40

static void make_upload(struct mkv_upload *u, unsigned n)
{
    *u = (struct mkv_upload){.key_len = n % 3 ? 20 : 900};
    memset(u->key, 'k', u->key_len);
    u->key[n % u->key_len] = 'j';
    memset(u->id, (int)n, sizeof(u->id));
    u->id[0] = (uint8_t)(n >> 8);
    mkv_record_init(&u->what);
    u->what.mtime = n;
}

static void fill(struct fixture *f)
{
    struct mkv_bucket b = {.name_len = 6, .owner_len = 5, .owner = "OWNER"};
    struct mkv_part p = {.number = 1};
    struct waiting w = {0};
    struct mkv_upload u;

    for (unsigned i = 0; i < 500; i++, w.left++) {
        snprintf(b.name, sizeof(b.name), "b%05u", i);
        b.created = i;
        assert_int_equal(mkv_index_bucket_put(f->ix, &b, on_done, &w), MKV_OK);
    }
    mkv_record_init(&p.what);
    for (unsigned i = 0; i < UPLOADS; i++) {
        make_upload(&u, i);
        assert_int_equal(mkv_index_upload_put(f->ix, &u, on_done, &w), MKV_OK);
        w.left++;
        for (p.number = 1; p.number <= PARTS; p.number++, w.left++) {
            p.serial = i;
            assert_int_equal(mkv_index_part_put(f->ix, mkv_slice(u.key, u.key_len), u.id, &p,
                                                on_done, &w),
                             MKV_OK);
        }
    }
    settle(f, &w);
    assert_int_equal(w.count[MKV_OK], 500 + UPLOADS + UPLOADS * PARTS);
}

static void check_all(struct fixture *f)
{
    struct mkv_upload u, back;
    struct mkv_part p;
    struct mkv_bucket b;

    assert_int_equal(stats_of(f).buckets, 500);
    assert_int_equal(stats_of(f).uploads, UPLOADS);
    assert_int_equal(mkv_index_bucket_get(f->ix, text("b00321"), &b), MKV_OK);
    assert_slice(mkv_slice(b.owner, b.owner_len), text("OWNER"));
    assert_int_equal(b.created, 321);
    mkv_record_init(&back.what);
    mkv_record_init(&p.what);
    for (unsigned i = 0; i < UPLOADS; i++) {
        make_upload(&u, i);
        assert_int_equal(
            mkv_index_upload_get(f->ix, mkv_slice(u.key, u.key_len), u.id, &back), MKV_OK);
        assert_int_equal(back.what.mtime, i);
        for (unsigned number = 1; number <= PARTS; number++) {
            assert_int_equal(mkv_index_part_get(f->ix, u.id, number, &p), MKV_OK);
            assert_int_equal(p.serial, i);
        }
    }
}

/* Makes a new index, and swaps it in. */
static void rebuild(struct fixture *f, bool fresh, uint64_t *buckets, uint64_t *uploads)
{
    const struct build_options opt = {.dir = f->dir, .map_size = SMALL_MAP, .fresh = fresh};
    struct build *b;

    close_index(f);
    if (build_open(&b, f->loop, &opt, f->why, sizeof(f->why))) fail_msg("%s", f->why);
    assert_int_equal(build_carry(b, buckets, uploads), MKV_OK);
    if (build_swap(b, f->why, sizeof(f->why))) fail_msg("%s", f->why);
    build_close(b);
    open_index(f);
}

static void everything_goes_over(void **state)
{
    struct fixture *f = *state;
    uint64_t buckets, uploads;

    fill(f);
    check_all(f);
    for (unsigned round = 0; round < 2; round++) {
        rebuild(f, false, &buckets, &uploads);
        assert_int_equal(buckets, 500);
        assert_int_equal(uploads, UPLOADS);
        check_all(f);
    }
    rebuild(f, true, &buckets, &uploads); /* does not look at it */
    assert_int_equal(buckets + uploads, 0);
    assert_int_equal(stats_of(f).buckets, 0);
    assert_int_equal(stats_of(f).uploads, 0);
}

static void nothing_to_carry(void **state)
{
    struct fixture *f = *state;
    uint64_t buckets = 7, uploads = 7;

    close_index(f);
    remove_tree(f->dir);
    assert_int_equal(mkdir(f->dir, 0755), 0);
    rebuild(f, false, &buckets, &uploads);
    assert_int_equal(buckets + uploads, 0);
}

int main(void)
{
#define WITH_INDEX(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_INDEX(everything_goes_over),
        WITH_INDEX(nothing_to_carry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
