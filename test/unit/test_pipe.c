/* Bodies in pipes: filled from a socket, shared, sent on, read. */
#include "net/pipe.h"

#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEN 100000

struct fixture {
    struct mkv_blocks *blocks;
    struct mkv_pipes *pipes;
    struct mkv_pipe *pipe;
    int near, far; /* two ends of a connection */
    uint8_t data[LEN];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fds[2];

    assert_non_null(f);
    assert_int_equal(mkv_blocks_open(&f->blocks), MKV_OK);
    assert_int_equal(mkv_pipes_open(&f->pipes), MKV_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    f->near = fds[0];
    f->far = fds[1];
    for (size_t i = 0; i < LEN; i++) f->data[i] = (uint8_t)(i * 2654435761u >> 13);
    f->pipe = mkv_pipe_take(f->pipes);
    assert_non_null(f->pipe);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    mkv_pipe_release(f->pipe);
    mkv_pipes_close(f->pipes);
    mkv_blocks_close(f->blocks);
    close(f->near);
    if (f->far >= 0) close(f->far);
    free(f);
    return 0;
}

static void fill(struct fixture *f, size_t at, size_t len)
{
    assert_int_equal(write(f->far, f->data + at, len), len);
    assert_int_equal(mkv_pipe_fill(f->pipe, f->near, MKV_PIPE_SIZE), len);
}

/* Whatever is in it, in order. */
static void expect(struct fixture *f, struct mkv_pipe *p, size_t at, size_t len)
{
    struct mkv_bytes piece;

    assert_int_equal(mkv_pipe_len(p), len);
    while (len) {
        ssize_t n = mkv_pipe_read(p, f->blocks, &piece);

        assert_true(n > 0);
        assert_int_equal(piece.len, n);
        assert_memory_equal(piece.data, f->data + at, piece.len);
        at += piece.len;
        len -= piece.len;
        assert_int_equal(mkv_pipe_len(p), len);
    }
    assert_int_equal(mkv_pipe_read(p, f->blocks, &piece), 0);
}

static void filled_and_read(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkv_pipe_fill(f->pipe, f->near, 10), -1);
    assert_int_equal(errno, EAGAIN);
    fill(f, 0, 70000);
    expect(f, f->pipe, 0, 70000);
    assert_int_equal(write(f->far, f->data, 20), 20);
    assert_int_equal(mkv_pipe_fill(f->pipe, f->near, 8), 8); /* not more than that */
    expect(f, f->pipe, 0, 8);
    assert_int_equal(mkv_pipe_fill(f->pipe, f->near, 100), 12);
    expect(f, f->pipe, 8, 12);
    close(f->far);
    f->far = -1;
    assert_int_equal(mkv_pipe_fill(f->pipe, f->near, 10), 0);
}

static void shared_and_sent(void **state)
{
    struct fixture *f = *state;
    struct mkv_pipe *copies[2];
    static uint8_t heard[70000];

    fill(f, 0, sizeof(heard));
    for (size_t i = 0; i < COUNT(copies); i++) {
        copies[i] = mkv_pipe_share(f->pipe);
        assert_non_null(copies[i]);
    }
    assert_int_equal(mkv_pipe_drain(copies[0], f->near), sizeof(heard));
    assert_int_equal(mkv_pipe_len(copies[0]), 0);
    assert_int_equal(read(f->far, heard, sizeof(heard)), sizeof(heard));
    assert_memory_equal(heard, f->data, sizeof(heard));
    expect(f, f->pipe, 0, sizeof(heard)); /* whose copies are whole */
    expect(f, copies[1], 0, sizeof(heard));
    for (size_t i = 0; i < COUNT(copies); i++) mkv_pipe_release(copies[i]);
}

/* A socket takes only so much: the rest follows. */
static void sent_in_parts(void **state)
{
    struct fixture *f = *state;
    static uint8_t heard[90000];
    int small = 4096;
    size_t at = 0, turns = 0;

    fill(f, 0, sizeof(heard));
    setsockopt(f->near, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    while (at < sizeof(heard)) {
        ssize_t n = mkv_pipe_len(f->pipe) ? mkv_pipe_drain(f->pipe, f->near) : 0;

        assert_true(n >= 0 || errno == EAGAIN);
        n = read(f->far, heard + at, sizeof(heard) - at);
        assert_true(n > 0);
        at += (size_t)n;
        turns++;
    }
    assert_true(turns > 1);
    assert_memory_equal(heard, f->data, sizeof(heard));
}

/* What was left in one does not come out of it when it serves again. */
static void used_again(void **state)
{
    struct fixture *f = *state;
    struct mkv_pipe *before = f->pipe;

    fill(f, 0, 50000);
    mkv_pipe_release(f->pipe);
    f->pipe = mkv_pipe_take(f->pipes);
    assert_ptr_equal(f->pipe, before);
    fill(f, 50000, 1000);
    expect(f, f->pipe, 50000, 1000);
}

static void only_so_many(void **state)
{
    struct fixture *f = *state;
    struct mkv_pipe *more[MKV_PIPES_MAX];
    size_t n = 0;

    while ((more[n] = mkv_pipe_take(f->pipes))) n++;
    assert_int_equal(n, MKV_PIPES_MAX - 1);
    fill(f, 0, 10);
    assert_null(mkv_pipe_share(f->pipe));
    expect(f, f->pipe, 0, 10);
    while (n) mkv_pipe_release(more[--n]);
    assert_null(mkv_pipe_take(NULL));
    mkv_pipe_release(NULL);
    mkv_pipes_close(NULL);
}

/* Where the system can not do it nothing has been read, and nobody tries again. */
static void a_system_without(void **state)
{
    struct fixture *f = *state;
    int directory = open("/", O_RDONLY | O_DIRECTORY); /* can not be spliced anywhere */

    assert_true(directory >= 0);
    assert_int_equal(mkv_pipe_fill(f->pipe, directory, 10), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(mkv_pipe_len(f->pipe), 0);
    assert_null(mkv_pipe_take(f->pipes));
    close(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(filled_and_read), TEST(shared_and_sent), TEST(sent_in_parts),
        TEST(used_again),      TEST(only_so_many),    TEST(a_system_without),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
