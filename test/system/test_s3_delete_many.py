"""DeleteObjects."""
import hashlib
import threading
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

import pytest

from mkvtest import faults, http
from mkvtest.cluster import SANITIZED, wait_until
from mkvtest.place import path_of
from mkvtest.s3 import ADMIN, LIMITED, READER, Raw, checksum, code, md5_base64, sha256, texts

XMLNS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def body_of(*entries, quiet=None):
    """entries: keys, or the inside of <Object> for dicts."""
    text = "" if quiet is None else f"<Quiet>{quiet}</Quiet>"
    for entry in entries:
        entry = entry if isinstance(entry, dict) else {"Key": entry}
        text += "<Object>" + "".join(f"<{name}>{escape(value, {chr(13): '&#13;'})}</{name}>" for name, value in entry.items()) \
            + "</Object>"
    return f'<?xml version="1.0"?><Delete xmlns="{XMLNS[1:-1]}">{text}</Delete>'.encode()


def results(answer):
    """[(key, None or the error's code)] in order."""
    assert answer.status == 200, answer
    root = ET.fromstring(answer.body)
    assert root.tag == XMLNS + "DeleteResult"
    assert all(e.tag in (XMLNS + "Deleted", XMLNS + "Error") for e in root)
    return [(e.findtext(XMLNS + "Key"), e.findtext(XMLNS + "Code") if e.tag == XMLNS + "Error" else None) for e in root]


def delete(raw, bucket, body, headers=(), **options):
    return raw.request("POST", f"/{bucket}?delete", body, headers, sha256(body), **options)


@pytest.fixture
def bucket(s3):
    return s3.make_bucket("bucket")


def put(server, *keys, bucket="bucket"):
    for key in keys:
        answer = server.raw().put(f"/{bucket}/{http.encode(key)}", b"value of " + key.encode())
        assert answer.status == 200, answer


def left(server, bucket="bucket"):
    answer = server.raw().get(f"/{bucket}?list-type=2")
    assert answer.status == 200, answer
    return texts(answer, "Key")


def test_a_thousand_keys_and_their_files(make_s3):
    server = make_s3(keys=False)
    keys = [f"{i % 10}/key {i:04}" for i in range(200 if SANITIZED else 1000)]
    with http.Connection(server.port) as connection:
        for key in [*keys, "stays"]:
            assert connection.request("PUT", "/bucket/" + http.encode(key), b"value").status == 201
        assert results(delete(server.raw(None), "bucket", body_of(*keys), timeout=60)) == [(key, None) for key in keys]
    assert left(server) == ["stays"]
    assert len(server.cluster.files()) == 3


def test_by_boto3(s3, bucket):
    client = s3.boto3()
    put(s3, "a", "b", "ü &<>\"'\n", "c")
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": "ü &<>\"'\n"}, {"Key": "missing"}, {"Key": "a", "VersionId": "null"}, {"Key": "b", "VersionId": "7"}]})
    assert [o["Key"] for o in answer["Deleted"]] == ["ü &<>\"'\n", "missing", "a"]
    assert answer["Deleted"][2]["VersionId"] == "null"
    error, = answer["Errors"]
    assert (error["Key"], error["VersionId"], error["Code"]) == ("b", "7", "NoSuchVersion")
    assert left(s3) == ["b", "c"]
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "c"}], "Quiet": True})
    assert "Deleted" not in answer and "Errors" not in answer
    assert left(s3) == []


def test_quiet_shows_only_errors(s3, bucket):
    put(s3, "a", "b")
    body = body_of("a", {"Key": "b", "VersionId": "other"}, "missing", quiet="true")
    assert results(delete(s3.raw(), bucket, body)) == [("b", "NoSuchVersion")]
    assert results(delete(s3.raw(), bucket, body_of("missing", quiet="false"))) == [("missing", None)]
    assert left(s3) == ["b"]


def test_etags_are_conditions(s3, bucket):
    put(s3, *"abcd")
    etag = {key: hashlib.md5(b"value of " + key.encode()).hexdigest() for key in "abcd"}
    body = body_of({"Key": "a", "ETag": f'"{etag["a"]}"'}, {"Key": "b", "ETag": etag["a"]}, {"Key": "c", "ETag": etag["c"]},
                   {"Key": "d", "ETag": "*"}, {"Key": "missing", "ETag": etag["a"]})
    assert results(delete(s3.raw(), bucket, body)) == [
        ("a", None), ("b", "PreconditionFailed"), ("c", None), ("d", None), ("missing", "NoSuchKey")]
    assert left(s3) == ["b"]


def test_the_same_key_twice(s3, bucket):
    put(s3, "a")
    assert results(delete(s3.raw(), bucket, body_of("a", "b", "a", "a"))) == [(key, None) for key in "abaa"]
    assert left(s3) == []


def test_keys_too_long(s3, bucket):
    put(s3, "k" * 1024)
    body = body_of("k" * 1024, "k" * 1025, "k" * 4000)
    assert [error for _, error in results(delete(s3.raw(), bucket, body))] == [None, "KeyTooLongError", "KeyTooLongError"]


def test_unlinked_keys_are_invisible(make_s3):
    server = make_s3(keys=False)
    put(server, "a", "b")
    assert server.master.unlink("/bucket/a").status == 204
    assert results(delete(server.raw(), "bucket", body_of("a", "b"))) == [("a", None), ("b", None)]
    assert server.master.keys(operation="unlinked") == ["/bucket/a"]
    assert len(server.cluster.files()) == 3


def test_protect(make_s3):
    server = make_s3("-protect")
    server.make_bucket("bucket")
    put(server, "a")
    assert results(delete(server.raw(), "bucket", body_of("a", "missing"))) == [("a", "AccessDenied"), ("missing", None)]
    assert left(server) == ["a"]


def test_digests_are_checked_and_never_demanded(s3, bucket):
    put(s3, *"abcd")
    body = body_of("a")
    assert results(delete(s3.raw(), bucket, body, [("Content-MD5", md5_base64(body))])) == [("a", None)]
    body = body_of("b")
    assert results(delete(s3.raw(), bucket, body, [("x-amz-checksum-crc32", checksum("CRC32", body))])) == [("b", None)]
    body = body_of("c")
    assert results(delete(s3.raw(), bucket, body)) == [("c", None)]
    body = body_of("d")
    for headers, error in [([("Content-MD5", md5_base64(b"other"))], "BadDigest"), ([("Content-MD5", "nonsense")], "InvalidDigest"),
                           ([("x-amz-checksum-sha256", checksum("SHA256", b"other"))], "BadDigest")]:
        answer = delete(s3.raw(), bucket, body, headers)
        assert answer.status == 400 and code(answer) == error
    answer = s3.raw().request("POST", "/bucket?delete", body, payload=sha256(b"other"))
    assert code(answer) == "XAmzContentSHA256Mismatch"
    assert left(s3) == ["d"]


def test_bodies_that_are_refused(s3, bucket):
    put(s3, "a")
    good = body_of("a")
    for body, error in [(b"", "MissingRequestBodyError"), (b"nonsense", "MalformedXML"), (good[:-3], "MalformedXML"),
                        (body_of(), "MalformedXML"), (body_of(""), "MalformedXML"), (body_of({"ETag": "x"}), "MalformedXML"),
                        (good.replace(b"Delete", b"Other"), "MalformedXML"),
                        (b'<!DOCTYPE Delete [<!ENTITY e "a">]>' + good[21:].replace(b">a<", b">&e;<"), "MalformedXML"),
                        (body_of(*["a"] * 1001), "MalformedXML"), (good + b" " * (5 << 20), "MaxMessageLengthExceeded")]:
        answer = delete(s3.raw(), bucket, body)
        assert answer.status == 400 and code(answer) == error, (body[:300], answer)
    assert code(s3.raw().request("POST", "/bucket?delete")) == "MissingRequestBodyError"
    assert left(s3) == ["a"]
    assert results(delete(s3.raw(), bucket, body_of(*["a"] * 1000))) == [("a", None)] * 1000


def test_who_may(s3):
    s3.make_bucket("limited")
    s3.make_bucket("bucket")
    put(s3, "a", bucket="limited")
    put(s3, "a")
    for key, bucket, status, said in [(READER, "limited", 403, "AccessDenied"), (LIMITED, "bucket", 403, "AccessDenied"),
                                      (ADMIN, "nowhere", 404, "NoSuchBucket"), (LIMITED, "limited", 200, None)]:
        answer = delete(s3.raw(key), bucket, body_of("a"))
        assert (answer.status, code(answer)) == (status, said)
    assert left(s3) == ["a"] and left(s3, "limited") == []


def test_waits_for_a_busy_key_and_sends_white_space_meanwhile(make_s3):
    server = make_s3(keys=False)
    put(server, "a", "b")
    raw, body = server.raw(None), body_of("a", "b")
    with http.Connection(server.port) as writer, http.Connection(server.port, timeout=60) as deleter:
        writer.send_head("PUT", "/bucket/a", [*raw.head("PUT", "/bucket/a").headers, ("Content-Length", 10)])
        writer.send(b"01234")
        wait_until(lambda: server.master.keys(operation="writing") == ["/bucket/a"], "the PUT has begun")
        deleter.send_head("POST", "/bucket?delete", [*raw.head("POST", "/bucket?delete").headers, ("Content-Length", len(body))])
        deleter.send(body)
        head = deleter.interim()  # long before the writer is done
        assert head.status == 200 and head.header("transfer-encoding") == "chunked"
        while b"\r\n \r\n" not in deleter.buffer:
            deleter._more()
        assert left(server) == ["a"]
        writer.send(b"56789")
        assert writer.answer("PUT").status == 200
        deleter.buffer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + deleter.buffer
        answer = deleter.answer("POST")
    assert answer.body.startswith(b"<?xml") and b"?>\n \n<DeleteResult" in answer.body
    assert results(answer) == [("a", None), ("b", None)]
    assert left(server) == []


def test_a_volume_that_fails_fails_its_keys_only(faulty_cluster):
    cluster = faulty_cluster(volumes=3)
    raw = Raw(cluster.master.port, None)
    keys = [f"key{i}" for i in range(50)]
    for key in keys:
        assert raw.request("PUT", f"/bucket/{key}", b"value").status == 200
    broken = [f"key{i}" for i in (3, 17)]
    paths = [path_of(f"/bucket/{key}".encode(), 0) for key in broken]
    for path in paths:
        cluster.faulty[0].when(faults.answer(500), method="DELETE", path=path)
    answer = delete(raw, "bucket", body_of(*keys))
    assert results(answer) == [(key, "InternalError" if key in broken else None) for key in keys]
    cluster.faulty[0].clear()


def test_client_that_leaves_early(s3, bucket):
    keys = [f"key{i:03}" for i in range(100)]
    put(s3, *keys)
    body = body_of(*keys)
    head = s3.raw().head("POST", "/bucket?delete", payload=sha256(body)).headers
    for cut in (len(body) // 2, len(body)):
        connection = http.Connection(s3.port)
        connection.send_head("POST", "/bucket?delete", [*head, ("Content-Length", len(body))])
        connection.send(body[:cut])
        connection.reset()
    results(delete(s3.raw(), bucket, body))
    assert left(s3) == []
    assert s3.cluster.files() == {}


def test_many_at_once(s3, bucket):
    """Several clients delete overlapping keys; each gets an answer for each."""
    keys = [f"key{i:03}" for i in range(60)]
    put(s3, *keys)
    found = []

    def one(turn):
        found.append(results(delete(s3.raw(), bucket, body_of(*keys[turn * 7:], *keys[:turn * 7]), timeout=60)))

    threads = [threading.Thread(target=one, args=(turn,)) for turn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(len(one) == 60 and not any(error for _, error in one) for one in found)
    assert left(s3) == []
