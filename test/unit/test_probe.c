#include "store/probe.h"

#include "table.h"

#define TTL 1000

static const uint8_t key[MKV_MD5_LEN] = {1}, same_entry[MKV_MD5_LEN] = {2},
                     other[MKV_MD5_LEN] = {1, 0, 0, 0, 0, 0, 0, 0, 9};

static struct probe_cache *open_cache(uint64_t ttl_ms)
{
    struct probe_cache *c = NULL;

    assert_int_equal(probe_open(&c, ttl_ms), MKV_OK);
    return c;
}

static void found_for_a_while(void **state)
{
    struct probe_cache *c = open_cache(TTL);
    const struct probe *p;

    (void)state;
    assert_null(probe_find(c, key, 0, 1));
    probe_found(c, key, 3, 0x8001, true, 5000);
    p = probe_find(c, key, 3, 5000);
    assert_non_null(p);
    assert_int_equal(p->found, 0x8001);
    assert_true(p->balanced);
    assert_non_null(probe_find(c, key, 3, 5000 + TTL));
    assert_null(probe_find(c, key, 3, 5001 + TTL));
    probe_close(c);
}

/* Of that key and generation only. */
static void not_for_anything_else(void **state)
{
    struct probe_cache *c = open_cache(TTL);

    (void)state;
    probe_found(c, key, 3, 1, false, 5000);
    assert_null(probe_find(c, key, 2, 5000));
    assert_null(probe_find(c, key, 4, 5000));
    assert_null(probe_find(c, same_entry, 3, 5000));
    assert_null(probe_find(c, other, 3, 5000));
    probe_found(c, other, 3, 1, false, 5000);
    assert_non_null(probe_find(c, key, 3, 5000));
    probe_found(c, same_entry, 3, 1, false, 5000); /* which takes the entry */
    assert_null(probe_find(c, key, 3, 5000));
    assert_non_null(probe_find(c, same_entry, 3, 5000));
    probe_close(c);
}

static void forgotten(void **state)
{
    struct probe_cache *c = open_cache(TTL);

    (void)state;
    probe_found(c, key, 3, 1, false, 5000);
    probe_forget(c, same_entry);
    assert_non_null(probe_find(c, key, 3, 5000));
    probe_forget(c, key);
    assert_null(probe_find(c, key, 3, 5000));
    probe_close(c);
}

/* Once, in the last quarter of its time, and again only after it was found again. */
static void renewed_once_before_it_ends(void **state)
{
    struct probe_cache *c = open_cache(TTL);

    (void)state;
    probe_found(c, key, 3, 1, false, 5000);
    assert_false(probe_renew(c, key, 5000));
    assert_false(probe_renew(c, key, 5000 + TTL - TTL / 4 - 1));
    assert_false(probe_renew(c, same_entry, 5000 + TTL));
    assert_true(probe_renew(c, key, 5000 + TTL - TTL / 4));
    assert_false(probe_renew(c, key, 5000 + TTL));
    assert_non_null(probe_find(c, key, 3, 5000 + TTL));
    probe_found(c, key, 3, 1, false, 5000 + TTL);
    assert_false(probe_renew(c, key, 5000 + TTL));
    assert_true(probe_renew(c, key, 5000 + 2 * TTL));
    assert_false(probe_renew(c, key, 5000 + 3 * TTL)); /* too late */
    probe_close(c);
}

static void a_ttl_of_0_keeps_nothing(void **state)
{
    struct probe_cache *c = open_cache(0);

    (void)state;
    probe_found(c, key, 3, 1, false, 5000);
    assert_null(probe_find(c, key, 3, 5000));
    probe_close(c);
    probe_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_for_a_while),
        cmocka_unit_test(not_for_anything_else),
        cmocka_unit_test(forgotten),
        cmocka_unit_test(renewed_once_before_it_ends),
        cmocka_unit_test(a_ttl_of_0_keeps_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
