"""What arrives on the wire and should not: raw sockets."""
import time

import pytest

from mkvtest.cluster import SANITIZED, Cluster, wait_until
from mkvtest.http import Closed

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def wire(shared_volumes, tmp_path_factory):
    """One master for the whole file: whatever comes, it must be as good as new for the next test."""
    cluster = Cluster(tmp_path_factory.mktemp("wire"), shared_volumes.take(3))
    cluster.start_master()
    yield cluster
    cluster.end()


@pytest.fixture
def master(wire):
    yield wire.master
    assert wire.master.running(), wire.master.errors()[-4000:]
    assert wire.master.get("/nope").status == 404


# --- a mixed pipeline, cut everywhere

PIPELINE = [  # request, method, expected status
    (b"PUT /wire/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nvalue", "PUT", 201),
    (b"GET /wire/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET", 302),
    (b"\r\nHEAD /wire/a HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 40 + b"\r\n\r\n", "HEAD", 302),
    (b"PUT /wire/b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
     b"3;ext=1\r\nval\r\n2\r\nue\r\n0\r\nTrailer: yes\r\n\r\n", "PUT", 201),
    (b"REPLACE /wire/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nnew", "REPLACE", 201),
    (b"GET /wire/?list HTTP/1.1\r\nHost: x\r\n\r\n", "GET", 200),
    (b"UNLINK /wire/a HTTP/1.1\r\nHost: x\r\n\r\n", "UNLINK", 204),
    (b"BREW /wire/a HTTP/1.1\r\nHost: x\r\n\r\n", "BREW", 501),
    (b"DELETE /wire/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "DELETE", 204),
    (b"GET http://x/wire/b HTTP/1.1\r\nHost: x\r\n\r\n", "GET", 302),
    (b"DELETE /wire/b HTTP/1.1\r\nHost: x\r\n\r\n", "DELETE", 204),
    (b"GET /wire/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET", 404),
]
BYTES = b"".join(request for request, _, _ in PIPELINE)


def check_pipeline(connection):
    for request, method, expected in PIPELINE:
        answer = connection.answer(method)
        assert answer.status == expected, request
        if b"?list" in request:
            assert answer.body.strip() == b'{"next":"","keys":["/wire/a","/wire/b"]}'
    assert connection.is_closed()


def test_pipeline_in_one_piece(master):
    with master.connect() as connection:
        connection.send(BYTES)
        check_pipeline(connection)


@pytest.mark.slow
def test_pipeline_split_at_every_byte(master):
    for at in range(1, len(BYTES), 5 if SANITIZED else 1):
        with master.connect() as connection:
            connection.send(BYTES[:at])
            time.sleep(0.001)  # a read of its own for each half; were they read as one, the test would only be weaker
            connection.send(BYTES[at:])
            check_pipeline(connection)


def test_pipeline_byte_by_byte(master):
    with master.connect() as connection:
        for i in range(len(BYTES)):
            connection.send(BYTES[i:i + 1])
        check_pipeline(connection)


# --- heads that are no heads

OVER_TARGET = b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
MALFORMED = {
    "no version": (b"GET /\r\n\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "tab as a space": (b"GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space at the end": (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "no letters": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, 400),
    "colon in the method": (b"G:T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "control in the target": (b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "NUL in the target": (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "version 2.0": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "version 0.9": (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    "version x": (b"GET / HTTP/x\r\nHost: x\r\n\r\n", 400),
    "lower-case version": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400),
    "empty name": (b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
    "space in a name": (b"GET / HTTP/1.1\r\nHost: x\r\nA B: y\r\n\r\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    "a folded first header": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400),
    "control in a value": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x1bc\r\n\r\n", 400),
    "CR in a value": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400),
    "control in a name": (b"GET / HTTP/1.1\r\nHost: x\r\nA\x07: b\r\n\r\n", 400),
    "LF alone": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "LF alone after a header": (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
    "length that is no number": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\nvalue", 400),
    "length below zero": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nvalue", 400),
    "length with a plus": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nvalue", 400),
    "length in hex": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nvalue", 400),
    "length with a space": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 5 5\r\n\r\nvalue", 400),
    "empty length": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\nvalue", 400),
    "a list of lengths": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nvalue", 400),
    "a length over 2^63": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808\r\n\r\n", 400),
    "a length over 2^64": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551621\r\n\r\nvalue", 400),
    "two lengths that differ": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nvalue", 400),
    "a foreign coding": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nvalue", 501),
    "another expectation": (b"PUT /bad HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 5\r\n\r\nvalue", 417),
    "a target over 8 KB": (OVER_TARGET, 414),
    "a target over 32 KB": (b"GET /" + b"x" * 40000, 414),
    "a head over 32 KB": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"y" * 33000 + b"\r\n\r\n", 431),
    "a head without end": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: y\r\n" * 90 + b"B: " + b"z" * 33000, 431),
    "101 headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: y\r\n" * 100 + b"\r\n", 431),
    "a hundred empty lines": (b"\r\n" * 100 + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}


@pytest.mark.parametrize("data,status", MALFORMED.values(), ids=MALFORMED)
def test_malformed(master, data, status):
    """One answer, then the connection is closed; a request behind it is never looked at."""
    with master.connect() as connection:
        connection.send(data + b"DELETE /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.answer()
        assert answer.status == status, answer
        assert answer.header("Connection") == "close"
        assert answer.text.strip(), "one line says why"
        assert connection.is_closed()
    assert master.get("/bad").status == 404
    assert master.keys("/bad", "writing") == []


@pytest.mark.parametrize("data,status", [
    (b"GET /nope HTTP/1.1\r\nHost: x\r\n" + b"A: y\r\n" * 99 + b"\r\n", 404),
    (b"GET /nope HTTP/1.1\r\nHost: x\r\nA: " + b"y" * 32000 + b"\r\n\r\n", 404),
    (b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET /nope HTTP/1.1\r\nHost:x\r\n\r\n", 404),
    (b"GET /nope HTTP/1.1\r\nHost:\r\n\r\n", 404),
    (b"GET /nope HTTP/1.1\r\nHost: \t x \t \r\nA:\r\n\r\n", 404),
    (b"GET /nope HTTP/1.1\r\nHOST: x\r\nA: \xff\xfe\r\n\r\n", 404),
    (b"GET /nope HTTP/1.2\r\nHost: x\r\n\r\n", 404),
    (b"\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET http://elsewhere/nope HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
    (b"GET /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 007\r\n\r\n1234567", 404),
])
def test_unusual_but_right(master, data, status):
    with master.connect() as connection:
        for _ in range(3):
            connection.send(data)
            assert connection.answer().status == status


@pytest.mark.parametrize("target,status", [("http://elsewhere:99/abs", 302), ("HTTP://elsewhere/abs", 302), ("http://x/abs?nope", 403),
                                           ("http://x", 404), ("http://x/abs%20", 404)])
def test_absolute_target(master, target, status):
    master.put("/abs", b"value")
    with master.connect() as connection:
        assert connection.request("GET", target).status == status


@pytest.mark.parametrize("target", ["*", "nope", "x:80", "?list"])
def test_targets_that_are_no_path(master, target):
    with master.connect() as connection:
        assert connection.request("GET", target).status in (400, 404)
    assert master.get("/nope").status == 404


# --- smuggling: two readers of the same bytes must not see different requests

SMUGGLED = b"DELETE /victim HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED_ZERO = b"0\r\n\r\n"


def smuggle(*headers, body=CHUNKED_ZERO, version=b"1.1", method=b"PUT"):
    return method + b" /smuggler HTTP/" + version + b"\r\nHost: x\r\n" + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


TE, CL = b"Transfer-Encoding: chunked", b"Content-Length: 5"
SMUGGLING = {
    "length and coding": smuggle(CL, TE),
    "coding and length": smuggle(TE, CL),
    "two codings": smuggle(TE, TE),
    "chunked, identity": smuggle(TE, b"Transfer-Encoding: identity"),
    "chunked twice in one line": smuggle(b"Transfer-Encoding: chunked, chunked"),
    "gzip, chunked": smuggle(b"Transfer-Encoding: gzip, chunked"),
    "xchunked": smuggle(b"Transfer-Encoding: xchunked", CL),
    "identity": smuggle(b"Transfer-Encoding: identity", CL),
    "quoted chunked": smuggle(b'Transfer-Encoding: "chunked"', CL),
    "chunked with a parameter": smuggle(b"Transfer-Encoding: chunked;q=1", CL),
    "space before the colon": smuggle(b"Transfer-Encoding : chunked", CL),
    "tab before the colon": smuggle(b"Transfer-Encoding\t: chunked", CL),
    "vertical tab": smuggle(b"Transfer-Encoding:\x0bchunked", CL),
    "NUL after the name": smuggle(b"Transfer-Encoding\x00: chunked", CL),
    "folded coding": smuggle(b"Transfer-Encoding:\r\n chunked", CL),
    "LF hides the coding": smuggle(b"X: y\nTransfer-Encoding: chunked", CL),
    "CR hides the coding": smuggle(b"X: y\rTransfer-Encoding: chunked", CL),
    "two lengths": smuggle(b"Content-Length: 0", CL),
    "two equal lengths": smuggle(CL, CL),
    "a list of lengths": smuggle(b"Content-Length: 5, 0"),
    "a length with a sign": smuggle(b"Content-Length: +5"),
    "coding over HTTP/1.0": smuggle(TE, version=b"1.0"),
    "length and coding on GET": smuggle(CL, TE, method=b"GET"),
    "empty coding": smuggle(b"Transfer-Encoding:", CL),
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING)
def test_smuggling(master, data):
    master.put("/victim", b"value")
    with master.connect() as connection:
        connection.send(data + SMUGGLED)
        assert connection.answer().status in (400, 501)
        assert connection.is_closed()
    assert master.get("/victim").status == 302
    assert master.get("/smuggler").status == 404


# --- chunks

def put_chunked(body):
    return b"PUT /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body


BAD_CHUNKS = {
    "no number": b"x\r\nvalue\r\n0\r\n\r\n",
    "empty size": b"\r\nvalue\r\n0\r\n\r\n",
    "0x": b"0x5\r\nvalue\r\n0\r\n\r\n",
    "sign": b"+5\r\nvalue\r\n0\r\n\r\n",
    "minus": b"-5\r\nvalue\r\n0\r\n\r\n",
    "space before": b" 5\r\nvalue\r\n0\r\n\r\n",
    "LF after the size": b"5\nvalue\r\n0\r\n\r\n",
    "LF after the data": b"5\r\nvalue\n0\r\n\r\n",
    "CR alone after the size": b"5\rvalue\r\n0\r\n\r\n",
    "longer than announced": b"5\r\nvalues\r\n0\r\n\r\n",
    "shorter than announced": b"6\r\nvalue\r\n0\r\n\r\n",
    "over 64 bits": b"10000000000000005\r\nvalue\r\n0\r\n\r\n",
    "many zeros": b"0" * 70000 + b"5\r\nvalue\r\n0\r\n\r\n",
    "an endless extension": b"5;" + b"x" * 70000 + b"\r\nvalue\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nvalue\r\n0\r\n\r\n",
    "LF ends the trailers": b"5\r\nvalue\r\n0\r\n\n",
    "a broken trailer": b"5\r\nvalue\r\n0\r\nno colon\r\n\r\n",
    "trailers over 8 KB": b"5\r\nvalue\r\n0\r\nA: " + b"x" * 9000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_bad_chunks(master, wire, body):
    """400, closed, and nothing of it is stored."""
    with master.connect() as connection:
        try:
            connection.send(put_chunked(body) + SMUGGLED)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.answer().status == 400
        assert connection.is_closed()
    wait_until(lambda: master.keys("/chunks", "writing") == [], "the write is undone")
    assert master.get("/chunks").status == 404
    wait_until(lambda: not any("L2NodW5rcw" in path for _, path in wire.files()), "nothing is left on the volumes")


@pytest.mark.parametrize("body", [
    b"5\r\nvalue\r\n0\r\n\r\n", b"005\r\nvalue\r\n000\r\n\r\n", b"5;a=b;c=\"d\"\r\nvalue\r\n0;e\r\n\r\n",
    b"1\r\nv\r\n1\r\na\r\n1\r\nl\r\n2\r\nue\r\n0\r\n\r\n", b"5\r\nvalue\r\n0\r\nA: b\r\nC: d\r\n\r\n"])
def test_good_chunks(master, body):
    with master.connect() as connection:
        connection.send(put_chunked(body))
        assert connection.answer().status == 201
        assert connection.request("GET", "/nope").status == 404
    assert master.read("/chunks") == b"value"
    assert master.delete("/chunks").status == 204


# --- bodies longer and shorter than announced, half-closed connections

def test_a_body_longer_than_announced_is_the_next_request(master):
    with master.connect() as connection:
        connection.send(b"PUT /longer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nvalueGARBAGE\r\n\r\n")
        assert connection.answer().status == 201
        assert connection.answer().status == 400
        assert connection.is_closed()
    assert master.read("/longer") == b"value"


@pytest.mark.parametrize("how", ["close", "half_close", "reset"])
@pytest.mark.parametrize("head", ["Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
                                  "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n"], ids=["length", "chunked", "no end"])
def test_a_body_shorter_than_announced(master, wire, how, head):
    with master.connect() as connection:
        connection.send(f"PUT /shorter HTTP/1.1\r\nHost: x\r\n{head}".encode())
        wait_until(lambda: master.keys("/shorter", "writing"), "the write has begun")
        getattr(connection, how)()
        if how == "half_close":
            try:
                assert connection.answer().status == 400
            except Closed:
                pass
    wait_until(lambda: not master.keys("/shorter", "writing"), "the write is undone")
    assert master.get("/shorter").status == 404
    wait_until(lambda: not any("L3Nob3J0ZXI" in path for _, path in wire.files()), "nothing is left on the volumes")


def test_half_closed_after_a_whole_request(master):
    """What was asked is answered, then the server closes too."""
    with master.connect() as connection:
        connection.send(b"PUT /halfclosed HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nvalue"
                        b"GET /halfclosed HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.half_close()
        assert connection.answer().status == 201
        assert connection.answer().status == 302
        assert connection.is_closed()


def test_half_closed_without_a_request(master):
    with master.connect() as connection:
        connection.half_close()
        assert connection.is_closed()
    with master.connect() as connection:
        connection.send(b"GET /nope HT")
        connection.half_close()
        connection.rest()


# --- versions and keep-alive

@pytest.mark.parametrize("version,header,stays", [("1.1", None, True), ("1.1", "close", False), ("1.1", "Close", False),
                                                  ("1.1", "foo, close", False), ("1.0", None, False), ("1.0", "keep-alive", True),
                                                  ("1.0", "Keep-Alive", True), ("1.0", "close", False)])
def test_keep_alive(master, version, header, stays):
    headers = [("Host", "x")] + ([("Connection", header)] if header else [])
    with master.connect() as connection:
        for _ in range(2 if stays else 1):
            connection.send_head("GET", "/nope", headers, version)
            answer = connection.answer()
            assert answer.status == 404
        if stays:
            assert connection.is_quiet(0.1)
            assert answer.header("Connection") in ((None, "keep-alive") if version == "1.1" else ("keep-alive",))
        else:
            assert answer.header("Connection") == "close"
            assert connection.is_closed()


def test_a_whole_body_before_the_status_of_a_refusal(master):
    """The body of a refused request, when it is small, is read: the connection stays in step or is closed, never confused."""
    master.put("/live", b"value")
    with master.connect() as connection:
        connection.send(b"PUT /live HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
        assert connection.answer().status == 403
        assert connection.is_closed(3) or connection.request("GET", "/nope").status == 404
    assert master.get("/live").status == 302


# --- clients that do not read

@pytest.mark.slow
def test_a_client_that_never_reads(master):
    """It pipelines and never reads: our memory does not grow, others are served, and nothing is lost once it reads."""
    ask = b"GET /never/read HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"y" * 1000 + b"\r\n\r\n"
    with master.connect(receive_buffer=4096) as connection:
        before = master.memory_kb()
        connection.sock.setblocking(False)
        sent = idle = 0
        while idle < 25 and sent < 64 * MEGABYTE:
            try:
                sent += connection.sock.send((ask * 100)[sent % len(ask):])
                idle = 0
            except BlockingIOError:
                idle += 1
                time.sleep(0.02)
        assert sent < 64 * MEGABYTE, "the server stops reading where it can not answer"
        for _ in range(10):
            assert master.get("/nope").status == 404
        if not SANITIZED:
            assert master.memory_kb() - before < 4096
        connection.sock.settimeout(20)
        assert sent // len(ask) > 1000
        for _ in range(sent // len(ask)):
            assert connection.answer().status == 404


def test_a_client_that_asks_for_a_listing_and_never_reads(master):
    for i in range(200):
        assert master.put(f"/unread/{i:04}" + "x" * 900, b"v").status == 201
    before = master.memory_kb()
    connections = [master.connect(receive_buffer=4096) for _ in range(20)]
    for connection in connections:
        connection.send(b"GET /unread/?list HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    for _ in range(20):
        assert master.get("/nope").status == 404
    if not SANITIZED:
        assert master.memory_kb() - before < 20 * 600
    for connection in connections:
        connection.close()
