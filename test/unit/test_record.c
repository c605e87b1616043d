#include "mkv/record.h"

#include "table.h"

static struct mkv_record example(void)
{
    struct mkv_record r;

    mkv_record_init(&r);
    r.generation = 2;
    r.size = 1000;
    r.mtime = 1793786400; /* Wed, 04 Nov 2026 10:00:00 GMT */
    r.has_md5 = true;
    for (unsigned i = 0; i < MKV_MD5_LEN; i++)
        r.md5[i] = (uint8_t)(i * 17);
    r.nreplicas = 3;
    r.replicas[0] = (struct mkv_replica){0, 3};
    r.replicas[1] = (struct mkv_replica){4, 9};
    r.replicas[2] = (struct mkv_replica){200, MKV_NO_SUBVOLUME};
    return r;
}

static void assert_record(const struct mkv_record *a, const struct mkv_record *b)
{
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->mtime, b->mtime);
    assert_int_equal(a->has_md5, b->has_md5);
    assert_memory_equal(a->md5, b->md5, MKV_MD5_LEN);
    assert_int_equal(a->nreplicas, b->nreplicas);
    for (unsigned i = 0; i < a->nreplicas; i++) {
        assert_int_equal(a->replicas[i].volume, b->replicas[i].volume);
        assert_int_equal(a->replicas[i].subvolume, b->replicas[i].subvolume);
    }
    assert_slice(mkv_slice((const char *)a->fields, a->fields_len),
                 mkv_slice((const char *)b->fields, b->fields_len));
}

/* Encoded into memory of exactly the length that was asked for, so that the
 * sanitizers see a byte too many.  Freed by the caller. */
static uint8_t *encode(const struct mkv_record *r, size_t *len)
{
    uint8_t *out;

    *len = mkv_record_encoded_len(r);
    out = malloc(*len);
    assert_non_null(out);
    mkv_record_encode(r, out);
    return out;
}

static size_t check_round_trip(const struct mkv_record *r)
{
    struct mkv_record back;
    size_t len;
    uint8_t *bytes = encode(r, &len);

    mkv_record_init(&back);
    assert_int_equal(mkv_record_decode(&back, bytes, len), MKV_OK);
    assert_record(&back, r);
    assert_int_equal(mkv_record_peek_state(bytes, len), r->state);
    mkv_record_clear(&back);
    free(bytes);
    return len;
}

/* The bytes themselves, as docs/format.md explains them. */
static void bytes_on_disk(void **state)
{
    static const uint8_t want[] = {
        0x01, 0x1d, 0x02,             /* version 1; live, MD5, size, mtime; generation */
        0xe8, 0x07,                   /* size 1000                                     */
        0xa0, 0x84, 0xac, 0xd7, 0x06, /* mtime                                         */
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
        0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x03, /* three replicas                                */
        0x00, 0x04, 0x04, 0x0a, 0xc8, 0x01, 0x00,
    };
    struct mkv_record r = example();
    size_t len;
    uint8_t *bytes = encode(&r, &len);

    (void)state;
    assert_int_equal(len, sizeof(want));
    assert_memory_equal(bytes, want, sizeof(want));
    free(bytes);
}

static void round_trips(void **state)
{
    static const uint64_t generations[] = {0, 1, 127, 128, MKV_GENERATION_MAX};
    static const int64_t numbers[] = {-1,       0, 1, 127, 128, 16383, 16384, INT64_C(1) << 40,
                                      INT64_MAX};
    static const uint16_t subvolumes[] = {0, 1, 126, 127, 65534, MKV_NO_SUBVOLUME};
    struct mkv_record r = example();

    (void)state;
    for (unsigned s = MKV_LIVE; s <= MKV_WRITING; s++) {
        r.state = (enum mkv_state)s;
        for (size_t g = 0; g < COUNT(generations); g++) {
            r.generation = generations[g];
            for (size_t n = 0; n < COUNT(numbers); n++) {
                r.size = numbers[n];
                r.mtime = numbers[COUNT(numbers) - 1 - n];
                check_round_trip(&r);
            }
        }
    }
    r.has_md5 = false;
    memset(r.md5, 0, sizeof(r.md5));
    for (r.nreplicas = 0; r.nreplicas < MKV_REPLICAS_MAX; r.nreplicas++) {
        check_round_trip(&r);
        r.replicas[r.nreplicas].volume = UINT32_MAX >> r.nreplicas;
        r.replicas[r.nreplicas].subvolume = subvolumes[r.nreplicas % COUNT(subvolumes)];
    }
    check_round_trip(&r);
}

static void unknown_numbers_come_back_as_minus_one(void **state)
{
    struct mkv_record r = example(), back;
    size_t len;
    uint8_t *bytes;

    (void)state;
    r.size = INT64_MIN;
    r.mtime = -86400;
    bytes = encode(&r, &len);
    mkv_record_init(&back);
    assert_int_equal(mkv_record_decode(&back, bytes, len), MKV_OK);
    assert_int_equal(back.size, -1);
    assert_int_equal(back.mtime, -1);
    free(bytes);
}

/* Three replicas and an MD5: 60 bytes, whatever a large store puts in. */
static void records_are_small(void **state)
{
    struct mkv_record r = example();

    (void)state;
    assert_true(check_round_trip(&r) <= 36);
    r.generation = MKV_GENERATION_MAX;
    r.size = (INT64_C(1) << 56) - 1;
    r.mtime = (INT64_C(1) << 35) - 1; /* the year 3058 */
    for (unsigned i = 0; i < 3; i++)
        r.replicas[i] = (struct mkv_replica){16383, 65534};
    assert_true(check_round_trip(&r) <= 60);

    r.size = r.mtime = INT64_MAX;
    r.nreplicas = MKV_REPLICAS_MAX;
    for (unsigned i = 0; i < MKV_REPLICAS_MAX; i++)
        r.replicas[i] = (struct mkv_replica){UINT32_MAX, 65534};
    assert_true(check_round_trip(&r) <= MKV_RECORD_ENCODED_MAX);
}

static void bad_bytes_are_refused(void **state)
{
#define NINES "\xff\xff\xff\xff\xff\xff\xff\xff"
    static const struct {
        struct mkv_slice bytes;
        enum mkv_err err;
    } rows[] = {
        {MKV_SLICE("\x01\x01\x00\x00"),                                 MKV_OK      }, /* the smallest there is */
        {MKV_SLICE(""),                                                 MKV_ECORRUPT},
        {MKV_SLICE("\x00\x01\x00\x00"),                                 MKV_ECORRUPT}, /* no such version */
        {MKV_SLICE("\x02\x01\x00\x00"),                                 MKV_ENEWER  },
        {MKV_SLICE("\x02"),                                             MKV_ENEWER  },
        {MKV_SLICE("\xff"),                                             MKV_ENEWER  },
        {MKV_SLICE("\x01\x00\x00\x00"),                                 MKV_ECORRUPT}, /* no state */
        {MKV_SLICE("\x01\x41\x00\x00"),                                 MKV_ECORRUPT}, /* reserved flags */
        {MKV_SLICE("\x01\x81\x00\x00"),                                 MKV_ECORRUPT},
        {MKV_SLICE("\x01\x01\x00\x00\x00"),                             MKV_ECORRUPT}, /* a byte left over */
        {MKV_SLICE("\x01\x01\x80\x00\x00"),                             MKV_ECORRUPT}, /* 0 in two bytes */
        {MKV_SLICE("\x01\x01\x81\x80\x00\x00"),                         MKV_ECORRUPT},
        {MKV_SLICE("\x01\x01\xff\xff\xff\xff\xff\xff\xff\x7f\x00"),     MKV_OK      },
        {MKV_SLICE("\x01\x01\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00"), MKV_ECORRUPT}, /* 2^56 */
        {MKV_SLICE("\x01\x09\x00" NINES "\x7f\x00"),                    MKV_OK      }, /* 2^63-1 */
        {MKV_SLICE("\x01\x09\x00" NINES "\xff\x01\x00"),                MKV_ECORRUPT}, /* 2^64-1 */
        {MKV_SLICE("\x01\x01\x00\x11"),                                 MKV_ECORRUPT}, /* 17 replicas */
        {MKV_SLICE("\x01\x01\x00\x01\x00\x00"),                         MKV_OK      },
        {MKV_SLICE("\x01\x01\x00\x02\x00\x00"),                         MKV_ECORRUPT},
        {MKV_SLICE("\x01\x01\x00\x01\xff\xff\xff\xff\x0f\xff\xff\x03"), MKV_OK      },
        {MKV_SLICE("\x01\x01\x00\x01\xff\xff\xff\xff\x1f\x00"),         MKV_ECORRUPT}, /* volume > 2^32 */
        {MKV_SLICE("\x01\x01\x00\x01\x00\x80\x80\x04"),                 MKV_ECORRUPT}, /* subvolume 65535 */
        {MKV_SLICE("\x01\x21\x00\x00\x01\x01x"),                        MKV_OK      }, /* one field */
        {MKV_SLICE("\x01\x21\x00\x00"),                                 MKV_ECORRUPT}, /* none in spite of the flag */
        {MKV_SLICE("\x01\x01\x00\x00\x01\x01x"),                        MKV_ECORRUPT}, /* one without it */
        {MKV_SLICE("\x01\x21\x00\x00\x00\x01x"),                        MKV_ECORRUPT}, /* type 0 */
        {MKV_SLICE("\x01\x21\x00\x00\x01\x00"),                         MKV_ECORRUPT}, /* empty */
        {MKV_SLICE("\x01\x21\x00\x00\x01\x02x"),                        MKV_ECORRUPT}, /* cut short */
        {MKV_SLICE("\x01\x21\x00\x00\x01\x01x\x02"),                    MKV_ECORRUPT},
        {MKV_SLICE("\x01\x21\x00\x00\x01\x01x\x02\x01y"),               MKV_OK      },
        {MKV_SLICE("\x01\x21\x00\x00\x02\x01x\x01\x01y"),               MKV_ECORRUPT}, /* not ascending */
        {MKV_SLICE("\x01\x21\x00\x00\x01\x01x\x01\x01y"),               MKV_ECORRUPT}, /* twice */
        {MKV_SLICE("\x01\x21\x00\x00\x01" NINES "\x7fx"),               MKV_ECORRUPT},
    };
#undef NINES

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_record r = example(), fresh;
        enum mkv_err err =
            mkv_record_decode(&r, (const uint8_t *)rows[i].bytes.data, rows[i].bytes.len);

        if (err != rows[i].err) fail_msg("row %zu: %s", i, mkv_strerror(err));
        mkv_record_init(&fresh);
        if (err) assert_record(&r, &fresh);
        mkv_record_clear(&r);
    }
}

/* No proper beginning of a record is a record, and no record with a byte more. */
static void cut_short_or_too_long(void **state)
{
    struct mkv_record r = example(), back;
    size_t len;
    uint8_t *bytes, *copy;

    (void)state;
    mkv_record_init(&back);
    for (int with_field = 0; with_field < 2; with_field++) {
        if (with_field) assert_int_equal(mkv_record_set_field(&r, 300, MKV_SLICE("value")), MKV_OK);
        bytes = encode(&r, &len);
        for (size_t cut = 0; cut < len; cut++) {
            copy = malloc(cut + 1); /* of the exact length, for the sanitizers */
            assert_non_null(copy);
            memcpy(copy + 1, bytes, cut);
            assert_int_equal(mkv_record_decode(&back, copy + 1, cut), MKV_ECORRUPT);
            free(copy);
        }
        bytes = realloc(bytes, len + 1);
        assert_non_null(bytes);
        for (unsigned junk = 0; junk < 256; junk++) {
            bytes[len] = (uint8_t)junk;
            assert_int_equal(mkv_record_decode(&back, bytes, len + 1), MKV_ECORRUPT);
        }
        free(bytes);
    }
    mkv_record_clear(&r);
}

/* Whatever decodes encodes to the same bytes: a record has one form. */
static void flipped_bits(void **state)
{
    struct mkv_record r = example(), back;
    size_t len, decoded = 0;
    uint8_t *bytes;

    (void)state;
    mkv_record_init(&back);
    assert_int_equal(mkv_record_set_field(&r, 1, MKV_SLICE("text/plain")), MKV_OK);
    assert_int_equal(mkv_record_set_field(&r, 2, MKV_SLICE("no-cache")), MKV_OK);
    bytes = encode(&r, &len);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (mkv_record_decode(&back, bytes, len) == MKV_OK) {
            size_t again_len;
            uint8_t *again = encode(&back, &again_len);

            assert_int_equal(again_len, len);
            assert_memory_equal(again, bytes, len);
            free(again);
            decoded++;
        }
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(decoded > 128 && decoded < 8 * len); /* those of the MD5, at least */
    mkv_record_clear(&back);
    mkv_record_clear(&r);
    free(bytes);
}

static void peek_state(void **state)
{
    static const struct {
        struct mkv_slice bytes;
        unsigned state;
    } rows[] = {
        {MKV_SLICE("\x01\x01\x00\x00"), MKV_LIVE    },
        {MKV_SLICE("\x01\x1e\x00\x00"), MKV_UNLINKED},
        {MKV_SLICE("\x01\x03\x00\x00"), MKV_WRITING },
        {MKV_SLICE("\x01\x00\x00\x00"), 0           },
        {MKV_SLICE("\x01\x41\x00\x00"), 0           },
        {MKV_SLICE("\x02\x01\x00\x00"), 0           },
        {MKV_SLICE("\x01"),             0           },
        {MKV_SLICE(""),                 0           },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(
            mkv_record_peek_state((const uint8_t *)rows[i].bytes.data, rows[i].bytes.len),
            rows[i].state);
}

static void set(struct mkv_record *r, unsigned type, const char *value)
{
    assert_int_equal(mkv_record_set_field(r, type, mkv_slice_of(value)), MKV_OK);
    check_round_trip(r);
}

static void expect(const struct mkv_record *r, unsigned type, const char *value)
{
    struct mkv_slice got = MKV_SLICE("untouched");

    assert_int_equal(mkv_record_field(r, type, &got), value != NULL);
    assert_slice(got, mkv_slice_of(value ? value : "untouched"));
}

static void fields(void **state)
{
    struct mkv_record r = example();
    struct mkv_slice value;

    (void)state;
    expect(&r, MKV_FIELD_CONTENT_TYPE, NULL);
    set(&r, MKV_FIELD_EXPIRES, "never");
    set(&r, MKV_FIELD_CONTENT_TYPE, "text/plain");
    set(&r, UINT32_MAX, "of a later version");
    set(&r, MKV_FIELD_CONTENT_ENCODING, "gzip");
    expect(&r, MKV_FIELD_CONTENT_TYPE, "text/plain");
    expect(&r, MKV_FIELD_CACHE_CONTROL, NULL);
    expect(&r, MKV_FIELD_CONTENT_ENCODING, "gzip");
    expect(&r, MKV_FIELD_EXPIRES, "never");
    expect(&r, UINT32_MAX - 1, NULL);
    expect(&r, UINT32_MAX, "of a later version");

    set(&r, MKV_FIELD_CONTENT_ENCODING, "br, and a value that is longer than the last one");
    expect(&r, MKV_FIELD_CONTENT_ENCODING, "br, and a value that is longer than the last one");
    expect(&r, MKV_FIELD_EXPIRES, "never");
    assert_true(mkv_record_field(&r, MKV_FIELD_CONTENT_TYPE, &value)); /* borrowed from r */
    assert_int_equal(mkv_record_set_field(&r, MKV_FIELD_EXPIRES, value), MKV_OK);
    expect(&r, MKV_FIELD_EXPIRES, "text/plain");

    set(&r, MKV_FIELD_CACHE_CONTROL, ""); /* removes what is not there */
    set(&r, MKV_FIELD_CONTENT_TYPE, "");
    set(&r, UINT32_MAX, "");
    set(&r, MKV_FIELD_CONTENT_ENCODING, "");
    expect(&r, MKV_FIELD_CONTENT_TYPE, NULL);
    expect(&r, UINT32_MAX, NULL);
    expect(&r, MKV_FIELD_EXPIRES, "text/plain");
    set(&r, MKV_FIELD_EXPIRES, "");
    assert_null(r.fields);
    assert_int_equal(r.fields_len, 0);
}

static void fields_in_order(void **state)
{
    static const struct {
        unsigned type;
        const char *value;
    } rows[] = {{1, "one"}, {2, "two"}, {300, "three hundred"}, {UINT32_MAX, "the last"}};
    struct mkv_record r = example();
    struct mkv_slice value;
    unsigned type = 0;

    (void)state;
    assert_false(mkv_record_next_field(&r, &type, &value));
    for (size_t i = COUNT(rows); i-- > 0;) set(&r, rows[i].type, rows[i].value);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(mkv_record_next_field(&r, &type, &value));
        assert_int_equal(type, rows[i].type);
        assert_true(mkv_slice_eq(value, mkv_slice_of(rows[i].value)));
    }
    assert_false(mkv_record_next_field(&r, &type, &value));
    type = 2; /* from any type on, there or not */
    assert_true(mkv_record_next_field(&r, &type, &value) && type == 300);
    mkv_record_clear(&r);
}

static void fields_have_a_limit(void **state)
{
    struct mkv_record r = example();
    char *big = calloc(1, MKV_RECORD_FIELDS_MAX + 1);

    (void)state;
    assert_non_null(big);
    set(&r, 1, "x"); /* three bytes; the next field's type and length take four */
    assert_int_equal(mkv_record_set_field(&r, 2, mkv_slice(big, MKV_RECORD_FIELDS_MAX - 6)),
                     MKV_EINVAL);
    expect(&r, 2, NULL);
    assert_int_equal(mkv_record_set_field(&r, 2, mkv_slice(big, MKV_RECORD_FIELDS_MAX - 7)),
                     MKV_OK);
    assert_int_equal(r.fields_len, MKV_RECORD_FIELDS_MAX);
    check_round_trip(&r);
    assert_int_equal(mkv_record_set_field(&r, 3, MKV_SLICE("y")), MKV_EINVAL);
    assert_int_equal(mkv_record_set_field(&r, 2, mkv_slice(big, SIZE_MAX)), MKV_EINVAL);
    assert_int_equal(mkv_record_set_field(&r, 0, MKV_SLICE("y")), MKV_EINVAL);
    assert_int_equal(r.fields_len, MKV_RECORD_FIELDS_MAX);
    expect(&r, 1, "x");
    mkv_record_clear(&r);
    free(big);
}

static void copies_are_independent(void **state)
{
    struct mkv_record r = example(), copy = example();

    (void)state;
    set(&r, 1, "first");
    set(&copy, 7, "replaced by the copy");
    assert_int_equal(mkv_record_copy(&copy, &r), MKV_OK);
    assert_record(&copy, &r);
    set(&r, 1, "second");
    expect(&copy, 1, "first");
    assert_int_equal(mkv_record_copy(&copy, &copy), MKV_OK);
    expect(&copy, 1, "first");
    mkv_record_clear(&r);
    assert_int_equal(r.state, MKV_LIVE);
    assert_int_equal(r.nreplicas, 0);
    assert_null(r.fields);
    assert_int_equal(mkv_record_copy(&copy, &r), MKV_OK);
    assert_record(&copy, &r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_on_disk),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(unknown_numbers_come_back_as_minus_one),
        cmocka_unit_test(records_are_small),
        cmocka_unit_test(bad_bytes_are_refused),
        cmocka_unit_test(cut_short_or_too_long),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(peek_state),
        cmocka_unit_test(fields),
        cmocka_unit_test(fields_in_order),
        cmocka_unit_test(fields_have_a_limit),
        cmocka_unit_test(copies_are_independent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
