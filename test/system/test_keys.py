"""What a key may be."""
import pytest

from mkvtest import http

KEPT = ["/we have", "//", "/./x", "/../../etc/passwd", "/a/../b", "/a/", "/a//b///", "/+", "/a+b", "/%2525", "/#", "/a?b", "/a&b=c",
        "/\"'<>\\", "/\t\r\n", "/\x01\x7f", "/ü", "/日本語", "/\U0001f600", "/é", "/" + "k" * 1088, "/" + "日" * 362 + "kk"]


@pytest.mark.parametrize("key", KEPT, ids=lambda key: repr(key[:12]))
def test_kept_as_it_is(cluster, key):
    master = cluster.master
    assert len(key.encode()) <= 1089
    assert master.put(key, b"value").status == 201
    assert master.read(key) == b"value"
    assert master.keys() == [key]
    assert cluster.files() == cluster.expected_files(key, b"value")
    assert master.unlink(key).status == 204
    assert master.relink(key).status == 204
    assert master.replace(key, b"other").status == 201
    assert master.read(key) == b"other"
    assert master.delete(key).status == 204
    assert master.keys() == []


def test_similar_keys_are_different_keys(cluster):
    keys = ["/a", "/a/", "//a", "/a//", "/./a", "/A", "/a%20", "/a ", "/a+"]
    for key in keys:
        assert cluster.master.put(key, key.encode()).status == 201
    for key in keys:
        assert cluster.master.read(key) == key.encode()
    assert cluster.master.keys() == sorted(keys)


@pytest.mark.parametrize("target,key", [("/we%20have", "/we have"), ("/%77e%48ave", "/weHave"), ("/a%2Fb", "/a/b"), ("/a%2fb", "/a/b"),
                                        ("/a+b", "/a+b"), ("/%e6%97%a5", "/日"), ("/%E6%97%A5", "/日"), ("/a%25b", "/a%b"),
                                        ("/a;b=c,d:e@f!$'()*~", "/a;b=c,d:e@f!$'()*~"), ("/a%3Flist", "/a?list"), ("/%2e%2e/x", "/../x")])
def test_percent_decoding(cluster, target, key):
    assert http.request(cluster.master.port, "PUT", target, b"value").status == 201
    assert cluster.master.keys() == [key]
    assert cluster.files() == cluster.expected_files(key, b"value")
    assert http.request(cluster.master.port, "GET", target).status == 302
    assert http.request(cluster.master.port, "DELETE", target).status == 204


@pytest.mark.parametrize("method", ["PUT", "REPLACE"])
@pytest.mark.parametrize("target,status", [
    ("/" + "k" * 1089, 414), ("/" + "%6b" * 1089, 414), ("/" + "k" * 5000, 414), ("/" + "k" * 9000, 414),
    ("/a%00b", 400), ("/%00", 400), ("/%ff", 400), ("/%c3", 400), ("/%c0%af", 400), ("/%ed%a0%80", 400), ("/%f4%90%80%80", 400),
    ("/%e6%97x", 400), ("/%80abc", 400)], ids=lambda value: str(value)[:12])
def test_refused_on_writing(cluster, method, target, status):
    with cluster.master.connect() as connection:
        answer = connection.request(method, target, b"value")
    assert answer.status == status
    assert answer.text.strip() and len(answer.text.splitlines()) == 1, answer.body
    assert cluster.files() == {}
    assert cluster.master.keys() == []


@pytest.mark.parametrize("target", ["/%", "/%4", "/%zz", "/a%", "/%%20", "/%u1234"])
def test_broken_percent_encoding(cluster, target):
    for method in ("PUT", "GET", "DELETE"):
        with cluster.master.connect() as connection:
            answer = connection.request(method, target, b"value" if method == "PUT" else None)
        assert answer.status == 400, (method, target, answer)
    assert cluster.files() == {}
