#include "net/block.h"

#include "table.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    struct mkv_blocks *blocks;
    int in, out; /* a pipe: what is written to out is read from in */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fds[2];

    assert_non_null(f);
    assert_int_equal(mkv_blocks_open(&f->blocks), MKV_OK);
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    f->in = fds[0];
    f->out = fds[1];
    assert_true(fcntl(f->out, F_SETPIPE_SZ, MKV_BLOCK_SIZE) >= MKV_BLOCK_SIZE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    mkv_blocks_close(f->blocks);
    close(f->in);
    if (f->out >= 0) close(f->out);
    free(f);
    return 0;
}

/* Writes len bytes of that letter, and reads them back. */
static struct mkv_bytes pass(struct fixture *f, char letter, size_t len)
{
    static char buf[MKV_BLOCK_SIZE];
    struct mkv_bytes got = {NULL, 0, NULL};

    memset(buf, letter, len);
    assert_int_equal(write(f->out, buf, len), len);
    assert_int_equal(mkv_blocks_read(f->blocks, f->in, len, &got), len);
    assert_int_equal(got.len, len);
    assert_non_null(got.block);
    assert_int_equal(got.data[0], letter);
    assert_int_equal(got.data[len - 1], letter);
    return got;
}

static bool all_are(struct evbuffer *b, char letter, size_t len)
{
    const unsigned char *data = evbuffer_pullup(b, -1);

    if (evbuffer_get_length(b) != len) return false;
    for (size_t i = 0; i < len; i++)
        if (data[i] != letter) return false;
    return true;
}

static void reads_as_read_does(void **state)
{
    struct fixture *f = *state;
    struct mkv_bytes got = {NULL, 0, NULL};

    errno = 0;
    assert_int_equal(mkv_blocks_read(f->blocks, f->in, 10, &got), -1);
    assert_int_equal(errno, EAGAIN);
    assert_null(got.data);
    assert_int_equal(write(f->out, "abcdef", 6), 6);
    assert_int_equal(mkv_blocks_read(f->blocks, f->in, 4, &got), 4); /* at most max */
    assert_memory_equal(got.data, "abcd", 4);
    assert_int_equal(mkv_blocks_read(f->blocks, f->in, 100, &got), 2);
    assert_memory_equal(got.data, "ef", 2);
    close(f->out);
    f->out = -1;
    assert_int_equal(mkv_blocks_read(f->blocks, f->in, 100, &got), 0);
    assert_int_equal(mkv_blocks_read(f->blocks, -1, 100, &got), -1);
    assert_int_equal(errno, EBADF);
}

/* Up to MKV_COPY_MAX is copied, so that it keeps no block; more is shared. */
static void small_pieces_are_copied(void **state)
{
    static const struct {
        size_t len;
        bool shared;
    } rows[] = {{1, false}, {MKV_COPY_MAX, false}, {MKV_COPY_MAX + 1, true}, {100000, true}};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct evbuffer *b = evbuffer_new();
        struct mkv_bytes piece = pass(f, 'a', rows[i].len);
        struct evbuffer_iovec at;

        assert_int_equal(mkv_bytes_append(b, piece), MKV_OK);
        assert_int_equal(evbuffer_peek(b, -1, NULL, &at, 1), 1);
        assert_int_equal(at.iov_base == piece.data, rows[i].shared);
        assert_true(all_are(b, 'a', rows[i].len));
        evbuffer_free(b);
    }
}

/* What belongs to nobody's block is copied, however long. */
static void foreign_bytes_are_copied(void **state)
{
    static char own[100000];
    struct evbuffer *b = evbuffer_new();

    (void)state;
    memset(own, 'o', sizeof(own));
    assert_int_equal(
        mkv_bytes_append(b, (struct mkv_bytes){(const uint8_t *)own, sizeof(own), NULL}), MKV_OK);
    memset(own, 'x', sizeof(own));
    assert_true(all_are(b, 'o', sizeof(own)));
    evbuffer_free(b);
}

/* Three replicas share one piece; later reads leave it alone. */
static void a_piece_is_shared(void **state)
{
    struct fixture *f = *state;
    struct evbuffer *replica[3];
    struct mkv_bytes piece = pass(f, 's', 50000);

    for (size_t i = 0; i < 3; i++) {
        replica[i] = evbuffer_new();
        assert_int_equal(mkv_bytes_append(replica[i], piece), MKV_OK);
    }
    for (size_t i = 0; i < 20; i++) {
        struct mkv_bytes next = pass(f, 'n', 60000);

        assert_true(next.data + next.len <= piece.data || next.data >= piece.data + piece.len);
    }
    evbuffer_free(replica[1]);
    assert_true(all_are(replica[0], 's', 50000));
    evbuffer_free(replica[0]);
    for (size_t i = 0; i < 20; i++) pass(f, 'n', 60000);
    assert_true(all_are(replica[2], 's', 50000));
    evbuffer_free(replica[2]);
}

/* A block that nobody kept is filled from its start again; one of which
 * something was kept is filled on, until its room is too small. */
static void blocks_are_used_again(void **state)
{
    struct fixture *f = *state;
    struct evbuffer *b = evbuffer_new();
    struct mkv_bytes first = pass(f, '1', 20000), second = pass(f, '2', 20000), third;

    assert_ptr_equal(second.data, first.data);
    assert_int_equal(mkv_bytes_append(b, second), MKV_OK);
    third = pass(f, '3', MKV_BLOCK_SIZE - MKV_BLOCK_ROOM - 20000);
    assert_ptr_equal(third.block, second.block);
    assert_ptr_equal(third.data, second.data + second.len);
    third = pass(f, '4', 1); /* room for exactly MKV_BLOCK_ROOM: just enough */
    assert_ptr_equal(third.block, second.block);
    third = pass(f, '5', 20000); /* one byte less */
    assert_ptr_not_equal(third.block, second.block);
    assert_true(all_are(b, '2', 20000));
    evbuffer_free(b);
    assert_int_equal(mkv_bytes_append((b = evbuffer_new()), third), MKV_OK);
    pass(f, '6', MKV_BLOCK_SIZE - 20000 - MKV_BLOCK_ROOM + 1);
    assert_ptr_equal(pass(f, '7', 1).block, second.block); /* the spare one */
    evbuffer_free(b);
}

/* One that its taker fills: it lives as long as anybody has it, then serves again. */
static void a_block_is_taken(void **state)
{
    struct fixture *f = *state;
    struct evbuffer *b = evbuffer_new();
    struct mkv_block *own = mkv_blocks_take(f->blocks);
    uint8_t *data = mkv_block_data(own);

    memset(data, 't', MKV_BLOCK_SIZE);
    assert_int_equal(mkv_bytes_append(b, (struct mkv_bytes){data, MKV_BLOCK_SIZE, own}), MKV_OK);
    mkv_block_release(own);
    assert_ptr_not_equal(pass(f, 'p', 50000).block, own);
    assert_true(all_are(b, 't', MKV_BLOCK_SIZE));
    evbuffer_free(b);
    assert_ptr_equal(mkv_blocks_take(f->blocks), own);
    mkv_block_release(own);
}

/* Many are referenced when the pool closes: each is freed with its last bytes. */
static void references_outlive_the_pool(void **state)
{
    struct fixture *f = *state;
    struct evbuffer *b[30];

    for (size_t i = 0; i < COUNT(b); i++) {
        b[i] = evbuffer_new();
        assert_int_equal(mkv_bytes_append(b[i], pass(f, (char)('a' + (char)(i % 26)), 200000)), MKV_OK);
    }
    for (size_t i = 0; i < COUNT(b); i += 2) evbuffer_free(b[i]); /* more than are kept spare */
    mkv_blocks_close(f->blocks);
    f->blocks = NULL;
    for (size_t i = 1; i < COUNT(b); i += 2) {
        assert_true(all_are(b[i], (char)('a' + (char)(i % 26)), 200000));
        evbuffer_free(b[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_as_read_does),        TEST(small_pieces_are_copied),
        TEST(foreign_bytes_are_copied),  TEST(a_piece_is_shared),
        TEST(blocks_are_used_again),     TEST(references_outlive_the_pool),
        TEST(a_block_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
