"""curl: signs by itself (--aws-sigv4), and so reaches the native operations of a server with -keys too."""
import json

import pytest

from mkvtest.s3 import ADMIN, LIMITED, NOBODY, bytes_of, md5

BODY = b"bigswag"


@pytest.fixture
def curl_of(client):
    """curl(...): (status, body) of a signed request."""
    def of(server, key=ADMIN):
        def curl(*words, path, **options):
            out = client.work / "answer"
            out.unlink(missing_ok=True)
            status = client.run("curl", "-q", "-sS", "--max-time", "60", "-o", out, "-w", "%{http_code}", "--aws-sigv4",
                                "aws:amz:mkv:s3", "--user", f"{key.access}:{key.secret}", *words, server.endpoint + path,
                                **options)
            return int(status), out.read_bytes() if out.exists() else b""
        return curl
    return of


def test_s3(s3, client, curl_of):
    curl = curl_of(s3)
    assert curl("-X", "PUT", path="/photos") == (200, b"")
    client.file("film", bytes_of(3_000_000, 1))
    assert curl("-T", "film", path="/photos/a%20film%2B1") == (200, b"")
    assert curl(path="/photos/a%20film%2B1") == (200, bytes_of(3_000_000, 1))
    assert curl("-r", "10-19", path="/photos/a%20film%2B1") == (206, bytes_of(3_000_000, 1)[10:20])
    status, body = curl(path="/photos?list-type=2&prefix=a%20")
    assert status == 200 and b"<Key>a film+1</Key>" in body
    assert curl("-X", "DELETE", path="/photos/a%20film%2B1") == (204, b"")
    assert curl("-X", "DELETE", path="/photos") == (204, b"")
    assert s3.dump() == []


def test_native_operations(s3, client, curl_of):
    curl = curl_of(s3)
    s3.make_bucket("photos")
    client.file("cat", b"first")
    assert curl("-X", "REPLACE", "-T", "cat", path="/photos/cat")[0] == 201
    unhashed = ("-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD")  # else -d would sign a hash that it does not send
    assert curl("-X", "REPLACE", *unhashed, "-d", BODY.decode(), path="/photos/cat")[0] == 201
    assert curl(path="/photos/cat") == (200, BODY)  # signed, it is S3's GET: the value itself, no redirect
    assert curl("-X", "UNLINK", path="/photos/cat") == (204, b"")
    assert curl(path="/photos/cat")[0] == 404
    assert json.loads(curl(path="/?unlinked")[1])["keys"] == ["/photos/cat"]
    assert curl("-X", "RELINK", path="/photos/cat") == (204, b"")
    assert json.loads(curl(path="/photos/?list")[1])["keys"] == ["/photos/cat"]
    assert json.loads(curl(path="/photos/c?list&limit=10")[1])["keys"] == ["/photos/cat"]
    assert json.loads(curl(path="/?writing")[1])["keys"] == []
    assert curl("-X", "REBALANCE", path="/photos/cat") == (204, b"")
    record = s3.records()[b"/photos/cat"]
    assert (record["md5"], record["size"]) == (md5(BODY), len(BODY))


def test_who_may_not(s3, client, curl_of):
    s3.make_bucket("photos")
    assert s3.raw().put("/photos/cat", BODY).status == 200
    before = s3.state()
    for key in (LIMITED, NOBODY):
        curl = curl_of(s3, key)
        for words, path in ((("-X", "UNLINK"), "/photos/cat"), (("-X", "REPLACE", "-d", "x"), "/photos/cat"), ((), "/?list"),
                            (("-X", "REBALANCE"), "/photos/cat"), ((), "/photos/cat"), (("-X", "DELETE"), "/photos/cat"),
                            (("-T", "/dev/null"), "/photos/cat")):
            assert curl(*words, path=path)[0] == 403, (key, words, path)
    assert s3.state() == before
    unsigned = ("curl", "-q", "-s", "-o", "/dev/null", "-w", "%{http_code}")
    assert client.run(*unsigned, s3.endpoint + "/photos/cat") == "403"
    assert client.run(*unsigned, "-X", "UNLINK", s3.endpoint + "/photos/cat") == "403"


def test_without_keys(make_s3, client, curl_of):
    """A signature makes it an S3 request; without one it is a native one."""
    server = make_s3(keys=False)
    curl = curl_of(server)
    assert curl("-X", "PUT", "--data-binary", BODY.decode(), path="/photos/cat")[0] == 200
    assert curl(path="/photos/cat") == (200, BODY)
    assert client.run("curl", "-q", "-sS", "-L", server.endpoint + "/photos/cat") == BODY.decode()
    status = client.run("curl", "-q", "-s", "-o", "/dev/null", "-w", "%{http_code}", server.endpoint + "/photos/cat")
    assert status == "302"
    assert server.master.keys() == ["/photos/cat"]
