/* lib/api/s3_crc.c - reflected CRCs of 32 and 64 bits, all by the same code.
 *
 * Plain C looks up eight bytes at a time; where the processor multiplies
 * without carries, 64 bytes at a time are folded into 16 and only those looked
 * up.  A table is linear: its entry i is the sum (xor) of the entries of the bits
 * of i.  So 64 numbers per polynomial, each the one before shifted by one bit,
 * name all 2,048 entries. */
#include "api/s3_crc.h"

#include <endian.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BIT(i, n, value) (((i) >> (n)) % 2 ? UINT64_C(value) : 0)
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                           \
    (BIT(i, 7, a) ^ BIT(i, 6, b) ^ BIT(i, 5, c) ^ BIT(i, 4, d) ^ BIT(i, 3, e) ^ BIT(i, 2, f) ^     \
     BIT(i, 1, g) ^ BIT(i, 0, h))
#define FOUR(i, ...)                                                                               \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__),               \
        ENTRY((i) + 3, __VA_ARGS__)
#define SIXTEEN(i, ...)                                                                            \
    FOUR(i, __VA_ARGS__), FOUR((i) + 4, __VA_ARGS__), FOUR((i) + 8, __VA_ARGS__),                  \
        FOUR((i) + 12, __VA_ARGS__)
#define SIXTY_FOUR(i, ...)                                                                         \
    SIXTEEN(i, __VA_ARGS__), SIXTEEN((i) + 16, __VA_ARGS__), SIXTEEN((i) + 32, __VA_ARGS__),       \
        SIXTEEN((i) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
    {                                                                                              \
        SIXTY_FOUR(0, __VA_ARGS__), SIXTY_FOUR(64, __VA_ARGS__), SIXTY_FOUR(128, __VA_ARGS__),     \
            SIXTY_FOUR(192, __VA_ARGS__)                                                           \
    }

struct crc {
    uint64_t all_ones;      /* what the sum begins with, and is turned over by at the end */
    uint64_t far[2];        /* x^575 and x^511 mod P, reflected: 64 bytes on              */
    uint64_t near[2];       /* x^191 and x^127: 16 bytes on                               */
    uint64_t table[8][256]; /* [k][b]: the sum of byte b and k zero bytes behind it       */
};

/* clang-format off */
static const struct crc crcs[] = {
    [S3_CRC32] = {
        .all_ones = UINT64_C(0xffffffff),
        .far = {UINT64_C(0x653d982200000000), UINT64_C(0xcad38e8f00000000)},
        .near = {UINT64_C(0x65673b4600000000), UINT64_C(0x9ba54c6f00000000)},
        .table = {
            TABLE(0xedb88320, 0x76dc4190, 0x3b6e20c8, 0x1db71064, 0x0edb8832, 0x076dc419, 0xee0e612c, 0x77073096),
            TABLE(0x3b83984b, 0xf0794f05, 0x958424a2, 0x4ac21251, 0xc8d98a08, 0x646cc504, 0x32366282, 0x191b3141),
            TABLE(0xe1351b80, 0x709a8dc0, 0x384d46e0, 0x1c26a370, 0x0e1351b8, 0x0709a8dc, 0x0384d46e, 0x01c26a37),
            TABLE(0xed59b63b, 0x9b14583d, 0xa032af3e, 0x5019579f, 0xc5b428ef, 0x8f629757, 0xaa09c88b, 0xb8bc6765),
            TABLE(0xb1e6b092, 0x58f35849, 0xc1c12f04, 0x60e09782, 0x30704bc1, 0xf580a6c0, 0x7ac05360, 0x3d6029b0),
            TABLE(0x1eb014d8, 0x0f580a6c, 0x07ac0536, 0x03d6029b, 0xec53826d, 0x9b914216, 0x4dc8a10b, 0xcb5cd3a5),
            TABLE(0x8816eaf2, 0x440b7579, 0xcfbd399c, 0x67de9cce, 0x33ef4e67, 0xf44f2413, 0x979f1129, 0xa6770bb4),
            TABLE(0x533b85da, 0x299dc2ed, 0xf9766256, 0x7cbb312b, 0xd3e51bb5, 0x844a0efa, 0x4225077d, 0xccaa009e),
        },
    },
    [S3_CRC32C] = {
        .all_ones = UINT64_C(0xffffffff),
        .far = {UINT64_C(0x1c19243b00000000), UINT64_C(0x75bba45b00000000)},
        .near = {UINT64_C(0x3743f7bd00000000), UINT64_C(0x3171d43000000000)},
        .table = {
            TABLE(0x82f63b78, 0x417b1dbc, 0x20bd8ede, 0x105ec76f, 0x8ad958cf, 0xc79a971f, 0xe13b70f7, 0xf26b8303),
            TABLE(0xfbc3faf9, 0xff17c604, 0x7f8be302, 0x3fc5f181, 0x9d14c3b8, 0x4e8a61dc, 0x274530ee, 0x13a29877),
            TABLE(0x8b277743, 0xc76580d9, 0xe144fb14, 0x70a27d8a, 0x38513ec5, 0x9edea41a, 0x4f6f520d, 0xa541927e),
            TABLE(0x52a0c93f, 0xaba65fe7, 0xd725148b, 0xe964b13d, 0xf64463e6, 0x7b2231f3, 0xbf672381, 0xdd45aab8),
            TABLE(0x6ea2d55c, 0x37516aae, 0x1ba8b557, 0x8f2261d3, 0xc5670b91, 0xe045beb0, 0x7022df58, 0x38116fac),
            TABLE(0x1c08b7d6, 0x0e045beb, 0x85f4168d, 0xc00c303e, 0x6006181f, 0xb2f53777, 0xdb8ca0c3, 0xef306b19),
            TABLE(0xf56e0ef4, 0x7ab7077a, 0x3d5b83bd, 0x9c5bfaa6, 0x4e2dfd53, 0xa5e0c5d1, 0xd0065990, 0x68032cc8),
            TABLE(0x34019664, 0x1a00cb32, 0x0d006599, 0x847609b4, 0x423b04da, 0x211d826d, 0x9278fa4e, 0x493c7d27),
        },
    },
    [S3_CRC64NVME] = {
        .all_ones = UINT64_C(0xffffffffffffffff),
        .far = {UINT64_C(0x0c32cdb31e18a84a), UINT64_C(0x62242240ace5045a)},
        .near = {UINT64_C(0xeadc41fd2ba3d420), UINT64_C(0x21e9761e252621ac)},
        .table = {
            TABLE(0x9a6c9329ac4bc9b5, 0xd75adabd7a6e2d6f, 0xf1c1fe77117cdf02, 0x78e0ff3b88be6f81,
                  0xa61cecb46814fe75, 0xc962e5739841b68f, 0xfedde190606b12f2, 0x7f6ef0c830358979),
            TABLE(0xa5dbeb4db4510d09, 0xc881668f76634f31, 0xfe2c206e177a6e2d, 0xe57a831ea7f6fea3,
                  0xe8d1d2a6ffb0b6e4, 0x7468e9537fd85b72, 0x3a3474a9bfec2db9, 0x8776a97d73bddf69),
            TABLE(0xd9d7c79715952601, 0xf68770e226815ab5, 0xe12f2b58bf0b64ef, 0xeafb0685f3ce7bc2,
                  0x757d8342f9e73de1, 0xa0d25288d0b85745, 0xca05ba6dc417e217, 0xff6e4e1f4e4038be),
            TABLE(0x7fb7270fa7201c5f, 0xa5b700ae7fdbc79a, 0x52db80573fede3cd, 0xb301530233bd3853,
                  0xc3ec3aa8b595559c, 0x61f61d545acaaace, 0x30fb0eaa2d655567, 0x8211147cbaf96306),
            TABLE(0x41088a3e5d7cb183, 0xbae8d63682f59174, 0x5d746b1b417ac8ba, 0x2eba358da0bd645d,
                  0x8d3189ef7c157b9b, 0xdcf457de12417478, 0x6e7a2bef0920ba3c, 0x373d15f784905d1e),
            TABLE(0x1b9e8afbc2482e8f, 0x97a3d6544d6fdef2, 0x4bd1eb2a26b7ef79, 0xbf8466bcbf103e09,
                  0xc5aea077f3c3d6b1, 0xf8bbc31255aa22ed, 0xe63172a0869ed8c3, 0xe9742a79ef04a5d4),
            TABLE(0x74ba153cf78252ea, 0x3a5d0a9e7bc12975, 0x8742166691ab5d0f, 0xd9cd981ae49e6732,
                  0x6ce6cc0d724f3399, 0xac1ff52f156c5079, 0xcc6369be26fde189, 0xfc5d27f6bf353971),
            TABLE(0xe44200d2f3d1550d, 0xe84d9340d5a36333, 0xee4a5a89c69a782c, 0x77252d44e34d3c16,
                  0x3b9296a271a69e0b, 0x87a5d878949886b0, 0x43d2ec3c4a4c4358, 0x21e9761e252621ac),
        },
    },
};
/* clang-format on */

static uint64_t look_up(const struct crc *c, uint64_t sum, const uint8_t *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t eight;

        memcpy(&eight, p, sizeof(eight));
        sum ^= le64toh(eight);
        sum = c->table[7][sum & 255] ^ c->table[6][sum >> 8 & 255] ^ c->table[5][sum >> 16 & 255] ^
              c->table[4][sum >> 24 & 255] ^ c->table[3][sum >> 32 & 255] ^
              c->table[2][sum >> 40 & 255] ^ c->table[1][sum >> 48 & 255] ^ c->table[0][sum >> 56];
    }
    for (; len; p++, len--)
        sum = sum >> 8 ^ c->table[0][(sum ^ *p) & 255];
    return sum;
}

#if defined(__x86_64__)

__attribute__((target("pclmul,sse2"))) static inline __m128i fold(__m128i x, __m128i by)
{
    return _mm_xor_si128(_mm_clmulepi64_si128(x, by, 0x00), _mm_clmulepi64_si128(x, by, 0x11));
}

__attribute__((target("pclmul,sse2"))) static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* At least 64 bytes.  What has been folded is worth as much as the bytes before
 * it, so the sum of all is the sum of the last 16 with the rest behind them. */
__attribute__((target("pclmul,sse2"))) static uint64_t multiply(const struct crc *c, uint64_t sum,
                                                                const uint8_t *p, size_t len)
{
    const __m128i far = load((const uint8_t *)c->far), near = load((const uint8_t *)c->near);
    __m128i x[4];
    uint8_t last[16];

    for (size_t i = 0; i < 4; i++)
        x[i] = load(p + 16 * i);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi64_si128((long long)sum));
    for (p += 64, len -= 64; len >= 64; p += 64, len -= 64)
        for (size_t i = 0; i < 4; i++)
            x[i] = _mm_xor_si128(fold(x[i], far), load(p + 16 * i));
    for (size_t i = 1; i < 4; i++)
        x[i] = _mm_xor_si128(fold(x[i - 1], near), x[i]);
    _mm_storeu_si128((__m128i *)(void *)last, x[3]);
    return look_up(c, look_up(c, 0, last, sizeof(last)), p, len);
}

static bool can_multiply(void)
{
    return __builtin_cpu_supports("pclmul") != 0;
}

#else

static uint64_t multiply(const struct crc *c, uint64_t sum, const uint8_t *p, size_t len)
{
    return look_up(c, sum, p, len);
}

static bool can_multiply(void)
{
    return false;
}

#endif

uint64_t s3_crc(enum s3_crc kind, uint64_t sum, const void *data, size_t len)
{
    const struct crc *c = &crcs[kind];

    sum ^= c->all_ones;
    sum = len >= 64 && can_multiply() ? multiply(c, sum, data, len) : look_up(c, sum, data, len);
    return sum ^ c->all_ones;
}

uint64_t s3_crc_plain(enum s3_crc kind, uint64_t sum, const void *data, size_t len)
{
    const struct crc *c = &crcs[kind];

    return look_up(c, sum ^ c->all_ones, data, len) ^ c->all_ones;
}

/* ---- joining -----------------------------------------------------------------
 *
 * Behind it, len_b bytes multiply a by x^(8 * len_b), modulo the polynomial.
 * Reflected, x^0 is the highest bit, and times x is a shift to the right. */

static uint64_t times_x(const struct crc *c, uint64_t a)
{
    return a >> 1 ^ (a & 1 ? c->table[0][128] : 0); /* of the highest bit: the polynomial */
}

static uint64_t times(const struct crc *c, uint64_t a, uint64_t b)
{
    uint64_t bit = c->all_ones ^ c->all_ones >> 1, product = 0;

    for (; bit; bit >>= 1) {
        if (a & bit) product ^= b;
        b = times_x(c, b);
    }
    return product;
}

uint64_t s3_crc_join(enum s3_crc kind, uint64_t a, uint64_t b, uint64_t len_b)
{
    const struct crc *c = &crcs[kind];
    uint64_t power = (c->all_ones ^ c->all_ones >> 1) >> 8; /* x^8: one byte */

    for (; len_b; len_b >>= 1) {
        if (len_b & 1) a = times(c, a, power);
        power = times(c, power, power);
    }
    return a ^ b;
}
