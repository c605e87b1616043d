#include "net/stream.h"

#include "table.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    struct stream s; /* first: the callbacks find us by it */
    struct mkv_loop *loop;
    int peer;
    unsigned readable, written, failed;
    int err;
    bool inside;           /* a call on the stream is being made */
    bool close_when_told;  /* in every callback                  */
    struct mkv_chore awake;
};

static struct fixture *told(struct stream *s)
{
    struct fixture *f = (struct fixture *)s;

    assert_false(f->inside);
    if (f->close_when_told) stream_close(s);
    return f;
}

static void on_readable(struct stream *s)
{
    told(s)->readable++;
}

static void on_written(struct stream *s)
{
    told(s)->written++;
}

static void on_failed(struct stream *s, int err)
{
    struct fixture *f = (struct fixture *)s;

    assert_false(f->inside);
    f->failed++;
    f->err = err;
    stream_close(s);
}

static int setup(void **state)
{
    static const struct stream_events events = {on_readable, on_written, on_failed};
    struct fixture *f = calloc(1, sizeof(*f));
    int fds[2], small = 4096;

    signal(SIGPIPE, SIG_IGN); /* as the server does */
    assert_non_null(f);
    assert_int_equal(mkv_loop_open(&f->loop), MKV_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    stream_init(&f->s, f->loop, fds[0], &events);
    f->peer = fds[1];
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stream_close(&f->s);
    stream_close(&f->s); /* twice */
    if (f->peer >= 0) close(f->peer);
    mkv_loop_close(f->loop);
    free(f);
    return 0;
}

static void do_nothing(void *arg)
{
    (void)arg;
}

/* Without waiting. */
static void turn(struct fixture *f)
{
    f->awake.run = do_nothing;
    mkv_loop_at_end(f->loop, &f->awake);
    mkv_loop_turn(f->loop);
}

static void add(struct fixture *f, const char *text)
{
    f->inside = true;
    assert_int_equal(stream_add(&f->s, text, strlen(text)), MKV_OK);
    f->inside = false;
}

/* What has arrived, as text. */
static const char *heard(struct fixture *f)
{
    static char buf[256];
    ssize_t n = read(f->peer, buf, sizeof(buf) - 1);

    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

/* Everything added in one turn leaves at its end, in order, and is told once. */
static void output_is_gathered(void **state)
{
    struct fixture *f = *state;
    struct evbuffer *more = evbuffer_new();

    evbuffer_add(more, "three", 5);
    add(f, "one ");
    f->inside = true;
    assert_int_equal(stream_add_bytes(&f->s, (struct mkv_bytes){(const uint8_t *)"two ", 4, NULL}),
                     MKV_OK);
    assert_int_equal(stream_add_buffer(&f->s, more), MKV_OK);
    f->inside = false;
    assert_int_equal(evbuffer_get_length(more), 0);
    assert_int_equal(stream_unsent(&f->s), 13);
    assert_string_equal(heard(f), "");
    turn(f);
    assert_string_equal(heard(f), "one two three");
    assert_int_equal(f->written, 1);
    assert_int_equal(stream_unsent(&f->s), 0);
    assert_true(f->s.sent == 13);
    assert_false(f->s.writing);
    turn(f);
    assert_int_equal(f->written, 1);
    stream_trim(&f->s);
    assert_null(f->s.out);
    add(f, "again");
    stream_trim(&f->s); /* not while there is something to send */
    turn(f);
    assert_string_equal(heard(f), "again");
    evbuffer_free(more);
}

/* The kernel takes a part: the rest follows as the peer reads, in order. */
static void output_in_parts(void **state)
{
    static char sent[200000], got[200000];
    struct fixture *f = *state;
    size_t n = 0;

    for (size_t i = 0; i < sizeof(sent); i++) sent[i] = (char)(i * 7 + i / 251);
    assert_int_equal(stream_add(&f->s, sent, sizeof(sent)), MKV_OK);
    turn(f);
    assert_true(f->s.writing);
    assert_true(stream_unsent(&f->s) > 0 && stream_unsent(&f->s) < sizeof(sent));
    for (unsigned tries = 0; n < sizeof(got) && tries < 10000; tries++) {
        ssize_t part = read(f->peer, got + n, sizeof(got) - n);

        if (part > 0) n += (size_t)part;
        assert_true(f->s.sent + stream_unsent(&f->s) == sizeof(sent));
        turn(f);
    }
    assert_int_equal(n, sizeof(got));
    assert_memory_equal(got, sent, sizeof(got));
    turn(f);
    assert_false(f->s.writing); /* else the loop would spin */
    assert_true(f->written > 2);
    assert_int_equal(f->failed, 0);
}

/* send() writes at once; behind something unsent it waits for its turn. */
static void short_answers(void **state)
{
    static char big[200000];
    struct fixture *f = *state;

    f->inside = true;
    assert_int_equal(stream_send(&f->s, "at once", 7), MKV_OK);
    f->inside = false;
    assert_string_equal(heard(f), "at once");
    assert_true(f->s.sent == 7);
    add(f, "first ");
    f->inside = true;
    assert_int_equal(stream_send(&f->s, "second", 6), MKV_OK);
    f->inside = false;
    assert_string_equal(heard(f), "");
    turn(f);
    assert_string_equal(heard(f), "first second");
    assert_int_equal(stream_send(&f->s, big, sizeof(big)), MKV_OK);
    assert_true(f->s.sent > 19 && f->s.sent + stream_unsent(&f->s) == 19 + sizeof(big));
}

static void reading(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(write(f->peer, "x", 1), 1);
    turn(f);
    assert_int_equal(f->readable, 0);
    assert_int_equal(stream_read_on(&f->s, true), MKV_OK);
    assert_int_equal(stream_read_on(&f->s, true), MKV_OK);
    turn(f);
    turn(f);
    assert_int_equal(f->readable, 2); /* until somebody reads it */
    assert_int_equal(stream_read_on(&f->s, false), MKV_OK);
    turn(f);
    assert_int_equal(f->readable, 2);
    assert_int_equal(stream_read_on(&f->s, true), MKV_OK);
    close(f->peer);
    f->peer = -1;
    turn(f);
    assert_int_equal(f->readable, 3);
}

/* The peer is gone: told once, at the end of the turn, with the reason. */
static void a_failure(void **state)
{
    struct fixture *f = *state;

    close(f->peer);
    f->peer = -1;
    f->inside = true;
    assert_int_equal(stream_add(&f->s, "x", 1), MKV_OK);
    f->inside = false;
    turn(f);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->err, EPIPE);
    assert_int_equal(f->written, 0);
    assert_int_equal(f->s.fd, -1);
    turn(f);
    assert_int_equal(f->failed, 1);
}

static void a_failure_of_a_short_answer(void **state)
{
    struct fixture *f = *state;

    close(f->peer);
    f->peer = -1;
    f->inside = true;
    assert_int_equal(stream_send(&f->s, "x", 1), MKV_OK);
    f->inside = false;
    turn(f);
    assert_int_equal(f->failed, 1);
}

static void a_failure_while_waiting(void **state)
{
    static char big[200000];
    struct fixture *f = *state;

    assert_int_equal(stream_add(&f->s, big, sizeof(big)), MKV_OK);
    turn(f);
    assert_true(f->s.writing);
    close(f->peer);
    f->peer = -1;
    turn(f);
    assert_int_equal(f->failed, 1);
}

/* Closed inside each callback; what was unsent is dropped. */
static void closed_by_its_owner(void **state)
{
    static char big[200000];
    struct fixture *f = *state;

    f->close_when_told = true;
    assert_int_equal(stream_read_on(&f->s, true), MKV_OK);
    assert_int_equal(stream_add(&f->s, big, sizeof(big)), MKV_OK);
    turn(f); /* in written() */
    assert_int_equal(f->written, 1);
    assert_int_equal(f->s.fd, -1);
    assert_int_equal(stream_unsent(&f->s), 0);
    turn(f);
    assert_int_equal(f->written + f->readable + f->failed, 1);
}

/* With output queued for the end of the turn. */
static void closed_before_the_turn_ends(void **state)
{
    struct fixture *f = *state;

    add(f, "never");
    stream_close(&f->s);
    turn(f);
    assert_string_equal(heard(f), "");
    assert_int_equal(f->written + f->failed, 0);
}

/* What the socket does not take of a pipe waits in one of the stream's own. */
static void a_share_is_sent(void **state)
{
    static uint8_t data[100000], got[sizeof(data)];
    struct fixture *f = *state;
    struct mkv_pipes *pipes;
    struct mkv_pipe *pipe;
    int from[2];
    size_t len = 0;

    for (size_t i = 0; i < sizeof(data); i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(mkv_pipes_open(&pipes), MKV_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, from), 0);
    pipe = mkv_pipe_take(pipes);
    assert_int_equal(write(from[1], data, sizeof(data)), sizeof(data));
    assert_int_equal(mkv_pipe_fill(pipe, from[0], sizeof(data)), sizeof(data));

    add(f, "first");
    assert_false(stream_share(&f->s, pipe));
    turn(f);
    assert_string_equal(heard(f), "first");
    f->inside = true;
    assert_true(stream_share(&f->s, pipe));
    f->inside = false;
    assert_int_equal(mkv_pipe_len(pipe), sizeof(data));
    assert_in_range(stream_unsent(&f->s), 1, sizeof(data) - 1); /* some of it left at once */
    assert_false(stream_share(&f->s, pipe));
    while (len < sizeof(got)) {
        ssize_t n = read(f->peer, got + len, sizeof(got) - len);

        if (n > 0) len += (size_t)n;
        turn(f);
    }
    assert_memory_equal(got, data, sizeof(data));
    assert_int_equal(stream_unsent(&f->s), 0);
    assert_true(f->written > 1);
    assert_true(f->s.sent == sizeof(data) + 5);
    add(f, "last");
    turn(f);
    assert_string_equal(heard(f), "last");

    assert_true(stream_share(&f->s, pipe));
    stream_close(&f->s); /* with a part of it unsent */
    mkv_pipe_release(pipe);
    mkv_pipes_close(pipes);
    close(from[0]);
    close(from[1]);
}

/* As of every write: told at the end of the turn. */
static void a_share_for_nobody(void **state)
{
    struct fixture *f = *state;
    struct mkv_pipes *pipes;
    struct mkv_pipe *pipe;
    int from[2];

    assert_int_equal(mkv_pipes_open(&pipes), MKV_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, from), 0);
    pipe = mkv_pipe_take(pipes);
    assert_int_equal(write(from[1], "lost", 4), 4);
    assert_int_equal(mkv_pipe_fill(pipe, from[0], 4), 4);
    close(f->peer);
    f->peer = -1;
    f->inside = true;
    assert_true(stream_share(&f->s, pipe));
    f->inside = false;
    assert_int_equal(f->failed, 0);
    turn(f);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->err, EPIPE);
    mkv_pipe_release(pipe);
    mkv_pipes_close(pipes);
    close(from[0]);
    close(from[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_is_gathered),  TEST(output_in_parts),
        TEST(short_answers),       TEST(reading),
        TEST(a_failure),           TEST(a_failure_of_a_short_answer),
        TEST(a_failure_while_waiting), TEST(closed_by_its_owner),
        TEST(closed_before_the_turn_ends), TEST(a_share_is_sent),
        TEST(a_share_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
