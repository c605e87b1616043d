#include "mkv/place.h"

#include "base/md5_lanes.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

/* Up to this many volumes an insertion sort beats the library's sort, which
 * calls back for each comparison and may allocate. */
#define INSERTION_MAX 32

struct scored {
    uint64_t high, low; /* the score, as a number of 128 bits */
    uint32_t volume;
};

static uint64_t load_be64(const uint8_t *p)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | p[i];
    return value;
}

/* Stable: of two equal scores the one given first comes first. */
static bool comes_before(const struct scored *a, const struct scored *b)
{
    if (a->high != b->high) return a->high > b->high;
    if (a->low != b->low) return a->low > b->low;
    return a->volume < b->volume;
}

static int by_score(const void *a, const void *b)
{
    return comes_before(a, b) ? -1 : 1; /* no two are equal */
}

static void insertion_sort(struct scored *s, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct scored moving = s[i];
        size_t j = i;

        for (; j > 0 && comes_before(&moving, &s[j - 1]); j--)
            s[j] = s[j - 1];
        s[j] = moving;
    }
}

/* The MD5 of key and name for each name, several side by side: with a hundred volumes
 * that is what a GET would spend most of its time on. */
static void score_all(struct mkv_slice key, const struct mkv_slice *names, size_t n,
                      struct scored *scored)
{
    struct md5_lane of_key, lane[MD5_LANES], *lanes[MD5_LANES] = {&of_key};

    md5_lane_init(&of_key);
    md5_lanes_add(lanes, &key, 1);
    for (size_t i = 0; i < MD5_LANES; i++) lanes[i] = &lane[i];
    for (size_t first = 0; first < n; first += MD5_LANES) {
        size_t count = n - first < MD5_LANES ? n - first : MD5_LANES;
        uint8_t md5[MD5_LANES][MKV_MD5_LEN];

        for (size_t i = 0; i < count; i++) lane[i] = of_key;
        md5_lanes_add(lanes, names + first, count);
        md5_lanes_final(lanes, md5, count);
        for (size_t i = 0; i < count; i++)
            scored[first + i] = (struct scored){load_be64(md5[i]), load_be64(md5[i] + 8),
                                                (uint32_t)(first + i)};
    }
}

static uint16_t subvolume_of(const struct scored *s, unsigned subvolumes)
{
    if (subvolumes <= 1) return MKV_NO_SUBVOLUME;
    return (uint16_t)((uint32_t)s->low % subvolumes);
}

void mkv_place(struct mkv_slice key, const struct mkv_slice *names, size_t n, unsigned subvolumes,
               struct mkv_replica *ordered)
{
    struct scored scored[MKV_VOLUMES_MAX];

    assert(n <= MKV_VOLUMES_MAX && subvolumes <= MKV_SUBVOLUMES_MAX);
    score_all(key, names, n, scored);
    if (n <= INSERTION_MAX)
        insertion_sort(scored, n);
    else
        qsort(scored, n, sizeof(scored[0]), by_score);
    for (size_t i = 0; i < n; i++)
        ordered[i] = (struct mkv_replica){scored[i].volume, subvolume_of(&scored[i], subvolumes)};
}

size_t mkv_replica_text(char *out, struct mkv_slice name, unsigned subvolume)
{
    static const char digits[] = "0123456789ABCDEF";
    char *p = out;

    if (name.len) memcpy(p, name.data, name.len);
    p += name.len;
    if (subvolume != MKV_NO_SUBVOLUME) {
        int shift = subvolume > 0xfff ? 12 : subvolume > 0xff ? 8 : 4; /* two digits at least */

        memcpy(p, "/sv", 3);
        p += 3;
        for (; shift >= 0; shift -= 4)
            *p++ = digits[subvolume >> shift & 15];
    }
    *p = '\0';
    return (size_t)(p - out);
}
