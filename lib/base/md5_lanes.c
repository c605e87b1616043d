#include "base/md5_lanes.h"

#include <stdbool.h>
#include <string.h>

/* One 32-bit word of each lane.  The steps below work on one of these, or on a
 * plain uint32_t where only one stream has anything to add. */
typedef uint32_t words __attribute__((vector_size(4 * MD5_LANES)));

/* abs(sin(i + 1)) * 2^32: RFC 1321, section 3.4. */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

#define ROTATE(x, s)  ((x) << (s) | (x) >> (32 - (s)))
#define F(b, c, d)    ((d) ^ ((b) & ((c) ^ (d))))
#define G(b, c, d)    (((c) & ~(d)) + ((b) & (d))) /* no bit twice: b, the newest, waits least */
#define H(b, c, d)    ((b) ^ (c) ^ (d))
#define I(b, c, d)    ((c) ^ ((b) | ~(d)))

#define STEP(mix, a, b, c, d, word, i, s)                                                         \
    do {                                                                                          \
        __typeof__(a) sum = (a) + mix(b, c, d) + w[word] + sines[i];                              \
        (a) = (b) + ROTATE(sum, s);                                                               \
    } while (0)

/* Four steps; the words that they take are by apart, the next begins at first. */
#define FOUR(mix, i, first, by, s0, s1, s2, s3)                                                   \
    do {                                                                                          \
        STEP(mix, a, b, c, d, (first) % 16, (i), s0);                                             \
        STEP(mix, d, a, b, c, ((first) + (by)) % 16, (i) + 1, s1);                                \
        STEP(mix, c, d, a, b, ((first) + 2 * (by)) % 16, (i) + 2, s2);                            \
        STEP(mix, b, c, d, a, ((first) + 3 * (by)) % 16, (i) + 3, s3);                            \
    } while (0)

#define ROUND(mix, i, first, by, s0, s1, s2, s3)                                                  \
    do {                                                                                          \
        FOUR(mix, (i), (first), (by), s0, s1, s2, s3);                                            \
        FOUR(mix, (i) + 4, (first) + 4 * (by), (by), s0, s1, s2, s3);                             \
        FOUR(mix, (i) + 8, (first) + 8 * (by), (by), s0, s1, s2, s3);                             \
        FOUR(mix, (i) + 12, (first) + 12 * (by), (by), s0, s1, s2, s3);                           \
    } while (0)

/* One block, whose words are w. */
#define BLOCK(state)                                                                              \
    do {                                                                                          \
        ROUND(F, 0, 0, 1, 7, 12, 17, 22);                                                         \
        ROUND(G, 16, 1, 5, 5, 9, 14, 20);                                                         \
        ROUND(H, 32, 5, 3, 4, 11, 16, 23);                                                        \
        ROUND(I, 48, 0, 7, 6, 10, 15, 21);                                                        \
        (state)[0] = a += (state)[0];                                                             \
        (state)[1] = b += (state)[1];                                                             \
        (state)[2] = c += (state)[2];                                                             \
        (state)[3] = d += (state)[3];                                                             \
    } while (0)

static inline uint32_t little_endian(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Adds that many blocks to every lane. */
static inline __attribute__((always_inline)) void
add_blocks(words state[4], const uint8_t *const from[MD5_LANES], size_t blocks)
{
    words a = state[0], b = state[1], c = state[2], d = state[3], w[16];

    for (size_t n = 0; n < blocks; n++) {
        for (size_t i = 0; i < 16; i++)
            for (size_t lane = 0; lane < MD5_LANES; lane++)
                w[i][lane] = little_endian(from[lane] + n * MD5_BLOCK + 4 * i);
        BLOCK(state);
    }
}

static void add_blocks_anywhere(words state[4], const uint8_t *const from[MD5_LANES], size_t blocks)
{
    add_blocks(state, from, blocks);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void
add_blocks_avx2(words state[4], const uint8_t *const from[MD5_LANES], size_t blocks)
{
    add_blocks(state, from, blocks);
}
#endif

static void run(words state[4], const uint8_t *const from[MD5_LANES], size_t blocks)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        add_blocks_avx2(state, from, blocks);
        return;
    }
#endif
    add_blocks_anywhere(state, from, blocks);
}

/* One stream: eight lanes for it alone would take more than twice as long. */
static void run_one(uint32_t state[4], const uint8_t *from, size_t blocks)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], w[16];

    for (size_t n = 0; n < blocks; n++) {
        for (size_t i = 0; i < 16; i++) w[i] = little_endian(from + n * MD5_BLOCK + 4 * i);
        BLOCK(state);
    }
}

/* ---- streams --------------------------------------------------------------------- */

/* What is still to be added to one lane, in whole blocks. */
struct todo {
    struct md5_lane *lane;
    const uint8_t *from;
    size_t blocks;
};

static void add_alone(struct todo *t)
{
    run_one(t->lane->state, t->from, t->blocks);
    t->from += t->blocks * MD5_BLOCK;
    t->blocks = 0;
}

/* As many blocks as the shortest that has any has; false where none has. */
static bool advance(struct todo todo[], size_t n)
{
    const uint8_t *from[MD5_LANES];
    struct todo *active[MD5_LANES];
    words state[4];
    size_t count = 0, blocks = 0;

    for (size_t i = 0; i < n; i++) {
        if (!todo[i].blocks) continue;
        if (!count || todo[i].blocks < blocks) blocks = todo[i].blocks;
        active[count++] = &todo[i];
    }
    if (!count) return false;
    if (count <= MD5_FEW) {
        for (size_t i = 0; i < count; i++) add_alone(active[i]);
        return true;
    }
    for (size_t lane = 0; lane < MD5_LANES; lane++) { /* the rest repeats the last, for nothing */
        const struct todo *t = active[lane < count ? lane : count - 1];

        from[lane] = t->from;
        for (int i = 0; i < 4; i++) state[i][lane] = t->lane->state[i];
    }
    run(state, from, blocks);
    for (size_t lane = 0; lane < count; lane++) {
        for (int i = 0; i < 4; i++) active[lane]->lane->state[i] = state[i][lane];
        active[lane]->from += blocks * MD5_BLOCK;
        active[lane]->blocks -= blocks;
    }
    return true;
}

void md5_lane_init(struct md5_lane *lane)
{
    *lane = (struct md5_lane){.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

/* Fills up the tail; one block to do where it is full.  Returns the bytes taken. */
static size_t fill_tail(struct md5_lane *lane, struct mkv_slice piece, struct todo *todo)
{
    size_t has = lane->len % MD5_BLOCK, n = MD5_BLOCK - has;

    if (!has) return 0;
    if (n > piece.len) n = piece.len;
    memcpy(lane->tail + has, piece.data, n);
    todo->from = lane->tail;
    todo->blocks = has + n == MD5_BLOCK;
    return n;
}

void md5_lanes_add(struct md5_lane *const lanes[], const struct mkv_slice pieces[], size_t n)
{
    struct todo todo[MD5_LANES] = {{NULL, NULL, 0}};
    size_t taken[MD5_LANES];

    for (size_t i = 0; i < n; i++) {
        todo[i].lane = lanes[i];
        taken[i] = pieces[i].len ? fill_tail(lanes[i], pieces[i], &todo[i]) : 0;
    }
    while (advance(todo, n)) {}
    for (size_t i = 0; i < n; i++) {
        if (!pieces[i].len) continue;
        todo[i].from = (const uint8_t *)pieces[i].data + taken[i];
        todo[i].blocks = (pieces[i].len - taken[i]) / MD5_BLOCK;
    }
    while (advance(todo, n)) {}
    for (size_t i = 0; i < n; i++) {
        size_t left = (pieces[i].len - taken[i]) % MD5_BLOCK;

        if (left) memcpy(lanes[i]->tail, todo[i].from, left);
        lanes[i]->len += pieces[i].len;
    }
}

void md5_lanes_final(struct md5_lane *const lanes[], uint8_t (*out)[MKV_MD5_LEN], size_t n)
{
    char padding[MD5_LANES][MD5_BLOCK + 8]; /* a bit, zeros, and the length in bits */
    struct mkv_slice pieces[MD5_LANES] = {{NULL, 0}};

    for (size_t i = 0; i < n; i++) {
        uint64_t bits = lanes[i]->len * 8;
        size_t has = lanes[i]->len % MD5_BLOCK, zeros = (has < 56 ? 56 : 120) - has;

        memset(padding[i], 0, zeros);
        padding[i][0] = (char)0x80;
        for (int k = 0; k < 8; k++) padding[i][zeros + (size_t)k] = (char)(bits >> 8 * k & 0xff);
        pieces[i] = mkv_slice(padding[i], zeros + 8);
    }
    md5_lanes_add(lanes, pieces, n);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < MKV_MD5_LEN; k++)
            out[i][k] = (uint8_t)(lanes[i]->state[k / 4] >> 8 * (k % 4));
}
