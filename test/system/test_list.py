"""?list, ?unlinked, ?writing."""
import json
import urllib.parse

import pytest

from mkvtest import http
from mkvtest.cluster import wait_until

KEYS = sorted(["/", "/a", "/a/", "/a/1", "/a/2", "/a//3", "/a+b", "/a b", "/b", "/bb", "/b\"q\\", "/ü", "/日本", "/new\nline",
               "/\x7f\x01", "/" + "k" * 478, "/" + "k" * 479, "/" + "k" * 480, "/" + "k" * 478 + "j", "/" + "k" * 1088,
               "/" + "k" * 1087 + "a", "/" + "k" * 600 + "z", "/z"], key=lambda key: key.encode())


@pytest.fixture
def filled(cluster):
    for key in KEYS:
        assert cluster.master.put(key, b"value").status == 201
    return cluster.master


def listing(master, target):
    answer = http.request(master.port, "GET", target)
    assert answer.status == 200, (target, answer)
    return json.loads(answer.body)


def test_empty(cluster):
    for operation in ("list", "unlinked", "writing"):
        answer = cluster.master.get("/", query="?" + operation)
        assert answer.status == 200
        assert answer.header("Content-Type").startswith("application/json")
        assert answer.body.strip() == b'{"next":"","keys":[]}'


def test_everything_in_byte_order(filled):
    assert listing(filled, "/?list") == {"next": "", "keys": KEYS}


@pytest.mark.parametrize("prefix", ["/a", "/a/", "/a//", "/a+", "/a b", "/b", "/k", "/" + "k" * 479, "/" + "k" * 480,
                                    "/" + "k" * 700, "/ü", "/nothing", "/zz", "/\xff", "/日"], ids=lambda text: text[:5])
def test_prefix(filled, prefix):
    expected = [key for key in KEYS if key.startswith(prefix)]
    assert listing(filled, http.encode(prefix) + "?list") == {"next": "", "keys": expected}


@pytest.mark.parametrize("prefix", ["/", "/a", "/" + "k" * 479])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
def test_pages(filled, prefix, limit):
    expected = [key for key in KEYS if key.startswith(prefix)]
    got, start = [], None
    while True:
        query = f"?list&limit={limit}"
        if start is not None:
            query += "&start=" + urllib.parse.quote_plus(start)
        page = listing(filled, http.encode(prefix) + query)
        assert len(page["keys"]) <= limit
        got += page["keys"]
        if not page["next"]:
            break
        assert len(page["keys"]) == limit
        start = page["next"]
        assert start == expected[len(got)]
    assert got == expected


@pytest.mark.parametrize("start", ["", "/a", "/a/15", "/aa", "/b", "/" + "k" * 480, "/" + "k" * 500, "/" + "k" * 601, "/zzz", "0",
                                   "/ü"], ids=lambda text: text[:5])
def test_start(filled, start):
    for prefix in ("/", "/a", "/k"):
        expected = [key for key in KEYS if key.startswith(prefix) and key.encode() >= start.encode()]
        target = http.encode(prefix) + "?list&start=" + urllib.parse.quote(start, safe="")
        assert listing(filled, target)["keys"] == expected


def test_queries_are_form_encoded(filled):
    assert listing(filled, "/?list&start=/a+b&limit=1")["keys"] == ["/a b"]
    assert listing(filled, "/?list&start=/a%20b&limit=1")["keys"] == ["/a b"]
    assert listing(filled, "/?list&start=/a%2Bb&limit=1")["keys"] == ["/a+b"]
    assert listing(filled, "/?list&limit=%31&start=%2Fb")["keys"] == ["/b"]


def test_a_plus_in_the_path_is_a_plus(filled):
    assert listing(filled, "/a+?list")["keys"] == ["/a+b"]


@pytest.mark.parametrize("limit", ["x", "1x", "0x10", "1.5", "%20", "99999999999999999999999"])
def test_a_limit_that_is_no_number(cluster, limit):
    assert http.request(cluster.master.port, "GET", f"/?list&limit={limit}").status == 400


@pytest.mark.parametrize("query", ["nope", "list2", "List", "limit=1", "limit=1&list", "start=/a&list", "nope&list", "lis%74x",
                                   "version", "=list"])
def test_any_other_query(filled, query):
    assert http.request(filled.port, "GET", f"/a?{query}").status == 403


def test_states_are_listed_apart(cluster):
    master = cluster.master
    for key in ("/live1", "/live2", "/gone1", "/gone2", "/back"):
        master.put(key, b"value")
    for key in ("/gone1", "/gone2", "/back"):
        master.unlink(key)
    master.relink("/back")
    with master.connect() as first, master.connect() as second:
        for connection, method, key in ((first, "PUT", "/half"), (second, "REPLACE", "/live2")):
            connection.send_head(method, key, [("Content-Length", "10")])
            connection.send(b"12345")
        wait_until(lambda: master.keys(operation="writing") == ["/half", "/live2"], "two are being written")
        assert master.keys() in (["/back", "/live1", "/live2"], ["/back", "/live1"])
        assert master.keys(operation="unlinked") == ["/gone1", "/gone2"]
        assert master.keys("/gone2", "unlinked") == ["/gone2"]
        assert listing(master, "/?unlinked&limit=1") == {"next": "/gone2", "keys": ["/gone1"]}
        assert listing(master, "/?unlinked&limit=1&start=/gone2") == {"next": "", "keys": ["/gone2"]}
        assert listing(master, "/?writing&limit=1") == {"next": "/live2", "keys": ["/half"]}
        for connection in (first, second):
            connection.send(b"67890")
            assert connection.answer().status == 201
    assert master.keys() == ["/back", "/half", "/live1", "/live2"]
    assert master.keys(operation="writing") == []


def test_next_does_not_name_a_key_of_another_state(cluster):
    master = cluster.master
    for key in ("/1", "/2", "/3", "/4"):
        master.put(key, b"value")
    master.unlink("/2")
    master.unlink("/4")
    assert listing(master, "/?list&limit=1") == {"next": "/3", "keys": ["/1"]}
    assert listing(master, "/?list&limit=2") == {"next": "", "keys": ["/1", "/3"]}
    assert listing(master, "/?list&limit=1&start=/2") == {"next": "", "keys": ["/3"]}


@pytest.mark.slow
def test_many_keys_stream_and_others_are_answered(cluster):
    """A reader that stops in the middle of a listing holds nobody up, and the listing stays in order."""
    master = cluster.master
    count = 1500
    names = [f"/many/{i:05d}-" + "x" * 900 for i in range(count)]
    with master.connect() as connection:
        for name in names:
            assert connection.request("PUT", name, b"v").status == 201
    with master.connect(receive_buffer=4096) as reader:
        reader.send_head("GET", "/many/?list")
        wait_until(lambda: not reader.is_quiet(0), "the listing begins")
        for i in range(20):
            assert master.put(f"/while/{i}", b"v").status == 201
            assert master.get(names[i]).status == 302
        assert json.loads(reader.answer().body)["keys"] == names


def test_a_listing_over_http_1_0(filled):
    with filled.connect() as connection:
        connection.send(b"GET /?list HTTP/1.0\r\n\r\n")
        answer = connection.rest()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0] and b"chunked" not in head.lower()
    assert json.loads(body)["keys"] == KEYS
