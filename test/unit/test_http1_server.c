/* test/unit/test_http1_server.c - the front: pipelines, broken heads,
 * smuggling, the life of connections. */
#include "toy_front.h"

/* Every kind of request; the last one closes. */
#define PIPELINE                                                                                  \
    "GET /a%20b?c=%20 HTTP/1.1\r\nHost: x\r\n\r\n"                                                \
    "HEAD /head HTTP/1.1\r\nHost: x\r\n\r\n"                                                      \
    "PUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"                             \
    "\r\n\r\nPUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"                          \
    "PUT /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"                         \
    "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nContent-Md5: z\r\n\r\n"                                      \
    "PUT /later HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"                      \
    "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"                                                       \
    "PUT /pausing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"                      \
    "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"                                                     \
    "GET /stream?40 HTTP/1.1\r\nHost: x\r\n\r\n"                                                  \
    "GET /known?12 HTTP/1.1\r\nHost: x\r\n\r\n"                                                   \
    "HEAD /known?12 HTTP/1.1\r\nHost: x\r\n\r\n"                                                  \
    "HEAD /stream?12 HTTP/1.1\r\nHost: x\r\n\r\n"                                                 \
    "DELETE /none HTTP/1.1\r\nHost: x\r\n\r\n"                                                    \
    "get /lower HTTP/1.1\r\nHost: x\r\n\r\n"                                                      \
    "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n"                                                       \
    "GET http://x:3000/absolute%2fkey?q HTTP/1.1\r\nHost: x\r\n\r\n"                              \
    "GET HTTPS://x HTTP/1.1\r\nHost: x\r\n\r\n"                                                   \
    "GET http://x?list HTTP/1.1\r\nHost: x\r\n\r\n"                                               \
    "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"                                                       \
    "PUT /sink HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n!"                  \
    "UNLINK //../. HTTP/1.1\r\nHost: x\r\n\r\n"                                                   \
    "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

#define ANSWER(status, length, rest) "HTTP/1.1 " status "\r\nContent-Length: " length "\r\n" rest

static const char answers[] =
    ANSWER("200 OK", "19", "\r\nGET [/a b] [c=%20]")
    ANSWER("200 OK", "15", "\r\n")
    ANSWER("201 Created", "34", "\r\n5 bytes, sum 5e918d2, 0 trailers")
    ANSWER("201 Created", "28", "\r\n0 bytes, sum 0, 0 trailers")
    "";

static void send_cut(struct toy *t, size_t cut, char **text)
{
    static const char pipeline[] = PIPELINE;
    size_t len = sizeof(pipeline) - 1;
    struct client c;

    client_open(&c, t);
    if (cut == SIZE_MAX) {
        for (size_t i = 0; i < len; i++) client_send(&c, pipeline + i, 1);
    } else {
        client_send(&c, pipeline, cut);
        toy_turns(t, 2);
        toy_go(t);
        toy_turns(t, 2);
        client_send(&c, pipeline + cut, len - cut);
    }
    client_wait_closed(&c);
    assert_false(c.reset);
    *text = client_text(&c);
    client_close(&c);
}

static void test_a_pipeline_cut_anywhere_gets_the_same_answers(void **state)
{
    struct toy *t = *state;
    size_t len = sizeof(PIPELINE) - 1;
    char *whole, *cut;

    send_cut(t, len, &whole);
    print_message("%s\n", whole);
    assert_memory_equal(whole, answers, 1);
    for (size_t i = 1; i <= len; i++) {
        send_cut(t, i < len ? i : SIZE_MAX, &cut);
        assert_string_equal(cut, whole);
        free(cut);
    }
    free(whole);
    assert_int_equal(t->gone, 0);
    assert_int_equal(t->begun, 22 * (len + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_pipeline_cut_anywhere_gets_the_same_answers,
                                        toy_setup, toy_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
