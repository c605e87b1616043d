#include "store/keylock.h"

#include "table.h"

#include <string.h>

/* The MD5 is given: keys may share all of it, or the bucket alone. */
static const uint8_t one[MKV_MD5_LEN] = {1}, two[MKV_MD5_LEN] = {2},
                     elsewhere[MKV_MD5_LEN] = {1, 0, 0, 0, 7};

static void one_holder_at_a_time(void **state)
{
    struct keylocks locks = {.buckets = {NULL}};
    struct keylock a = {.prev = NULL}, b = {.prev = NULL};

    (void)state;
    assert_false(keylock_held(&locks, MKV_SLICE("/a"), one));
    assert_true(keylock_take(&locks, &a, MKV_SLICE("/a"), one));
    assert_true(keylock_held(&locks, MKV_SLICE("/a"), one));
    assert_false(keylock_take(&locks, &b, MKV_SLICE("/a"), one));
    assert_null(b.prev);
    keylock_release(&b); /* holds nothing */
    assert_true(keylock_held(&locks, MKV_SLICE("/a"), one));
    keylock_release(&a);
    assert_false(keylock_held(&locks, MKV_SLICE("/a"), one));
    keylock_release(&a); /* twice */
    assert_true(keylock_take(&locks, &b, MKV_SLICE("/a"), one));
    keylock_release(&b);
}

/* Three keys in one bucket, one in another, released in every order. */
static void keys_do_not_disturb_each_other(void **state)
{
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const struct {
        const char *key;
        const uint8_t *md5;
    } keys[] = {{"/a", one}, {"/b", one}, {"/a", two}, {"/a", elsewhere}};

    (void)state;
    for (size_t o = 0; o < COUNT(orders); o++) {
        struct keylocks locks = {.buckets = {NULL}};
        struct keylock held[4] = {{.prev = NULL}};

        for (size_t i = 0; i < 4; i++)
            assert_true(keylock_take(&locks, &held[i], mkv_slice_of(keys[i].key), keys[i].md5));
        for (size_t n = 0; n < 3; n++) {
            keylock_release(&held[orders[o][n]]);
            for (size_t i = 0; i < 4; i++)
                assert_int_equal(keylock_held(&locks, mkv_slice_of(keys[i].key), keys[i].md5),
                                 held[i].prev != NULL);
        }
        assert_non_null(held[3].prev);
        keylock_release(&held[3]);
        for (size_t i = 0; i < KEYLOCK_BUCKETS; i++) assert_null(locks.buckets[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holder_at_a_time),
        cmocka_unit_test(keys_do_not_disturb_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
