"""Objects: PUT, GET, HEAD, DELETE, GetObjectAttributes, byte by byte."""
import json
import threading
import time

import pytest

from mkvtest import http
from mkvtest import s3 as tools
from mkvtest.cluster import SANITIZED, fetch, wait_until
from mkvtest.jobs import index
from mkvtest.s3 import (MEGABYTE, STREAMING, STREAMING_TRAILER, UNSIGNED, UNSIGNED_TRAILER, bytes_of, checksum,
                        code, md5, md5_base64, sha256, texts, unsigned_chunks)

CAT = "/photos/cat"
SIZE = (8 if SANITIZED else 64) * MEGABYTE


def said(answer):
    return answer.status, code(answer)


def etag(data):
    return f'"{md5(data)}"'


@pytest.fixture
def photos(s3):
    s3.make_bucket("photos")
    return s3


@pytest.fixture
def open_server(make_s3):
    return make_s3(keys=False)


def temporary(server):
    return [path for volume in server.cluster.volumes for path in volume.temporary_files()]


# --- PUT


def test_every_way_to_send_a_body(photos):
    raw = photos.raw()
    for size in (0, 1, 65536, 300_001):
        data = bytes_of(size, size)
        pieces = [data[i:i + 65536] for i in range(0, size, 65536)]
        length = ("x-amz-decoded-content-length", len(data))
        trailer = ("x-amz-checksum-crc32", checksum("CRC32", data))
        announced = ("x-amz-trailer", "x-amz-checksum-crc32")

        def send(payload, body, headers=(), chunked=False):
            head = raw.head("PUT", CAT, headers, payload)
            body = b"".join(body(head)) if callable(body) else body
            return http.request(photos.port, "PUT", CAT, body, head.headers, chunked)

        for what, answer in [
                ("length", send(sha256(data), data)),
                ("chunked", send(UNSIGNED, data, chunked=True)),
                ("signed chunks", send(STREAMING, lambda head: head.chunks(pieces), [length])),
                ("signed chunks in chunks", send(STREAMING, lambda head: head.chunks(pieces), [length], True)),
                ("signed chunks and trailer", send(STREAMING_TRAILER, lambda head: head.chunks(pieces, [trailer]),
                                                   [length, announced])),
                ("unsigned chunks", send(UNSIGNED_TRAILER, b"".join(unsigned_chunks(pieces, [trailer])),
                                         [length, announced, ("Content-Encoding", "aws-chunked")], True)),
                ("without trailer", send(UNSIGNED_TRAILER, b"".join(unsigned_chunks(pieces)), [length]))]:
            assert answer.status == 200 and answer.header("ETag") == etag(data) and answer.body == b"", (size, what, answer)
            got = raw.get(CAT)
            assert got.body == data and got.header("Content-Length") == str(size), (size, what)
            assert got.header("Content-Encoding") is None
    record = photos.records()[b"/photos/cat"]
    assert record["size"] == 300_001 and record["md5"] == md5(data)


def test_each_overwrite_is_a_new_generation(photos):
    raw = photos.raw()
    for generation, data in enumerate([b"first", b"", b"third", b"third"]):
        assert raw.put(CAT, data).status == 200
        assert photos.records()[b"/photos/cat"]["generation"] == generation
        assert raw.get(CAT).body == data
        expected = photos.cluster.expected_files("/photos/cat", data, generation)
        assert expected.items() <= photos.cluster.files().items()
    wait_until(lambda: photos.cluster.files() == expected, "the old ones are deleted")


def test_keys_as_they_are(photos):
    raw = photos.raw()
    keys = ["folder/", "a//b", ".", "..", "../up", "with space", "plus+and&=?#%41", "ü/日本", "x" * 1024, "~-_.!*'()"]
    for i, key in enumerate(keys):
        target = "/photos/" + http.encode(key)
        assert raw.put(target, b"%d" % i).status == 200, key
        assert raw.get(target).body == b"%d" % i and raw.request("HEAD", target).status == 200, key
    listed = texts(raw.get("/photos?list-type=2&encoding-type=url"), "Key")
    assert listed == [http.encode(key) for key in sorted(keys, key=str.encode)]
    assert said(raw.put("/photos/" + "x" * 1025, b"x")) == (400, "KeyTooLongError")
    assert said(raw.put("/photos/" + "%C3%BC" * 513, b"x")) == (400, "KeyTooLongError")
    assert said(raw.put("/photos/not%FFutf8", b"x")) == (400, "InvalidURI")
    for key in keys:
        assert raw.request("DELETE", "/photos/" + http.encode(key)).status == 204
    assert photos.records() == {}


KEPT = [("Content-Type", "text/x-cat; charset=utf-8"), ("Cache-Control", "no-cache"),
        ("Content-Disposition", 'attachment; filename="a b"'),
        ("Content-Encoding", "gzip"), ("Content-Language", "de, en"), ("Expires", "Thu, 01 Dec 2030 16:00:00 GMT"),
        ("x-amz-meta-colour", "black"), ("x-amz-meta-empty", ""), ("x-amz-storage-class", "GLACIER_IR")]


def test_headers_are_kept(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"meow", [*KEPT, ("X-Amz-Meta-MiXed", "Value")]).status == 200
    for method in ("GET", "HEAD"):
        answer = raw.request(method, CAT)
        for name, value in [*KEPT, ("x-amz-meta-mixed", "Value"), ("ETag", etag(b"meow")), ("Content-Length", "4"),
                            ("Accept-Ranges", "bytes")]:
            assert answer.header(name) == value, (method, name)
        assert answer.header("Last-Modified").endswith("GMT") and answer.header("x-amz-request-id")
    assert raw.put(CAT, b"meow").status == 200  # and forgotten with the value
    answer = raw.get(CAT)
    assert answer.header("Content-Type") == "binary/octet-stream"
    assert not any(answer.header(name) for name, _ in KEPT[1:])


def test_limits_and_what_is_not_implemented(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"old", [("x-amz-meta-a", "v" * 2047)]).status == 200
    before = photos.state()
    rows = [([("x-amz-meta-a", "v" * 2048)], 400, "MetadataTooLarge"),
            ([("x-amz-meta-a", "v" * 1023), ("x-amz-meta-bc", "v" * 1023)], 400, "MetadataTooLarge")]
    rows += [([(name, value)], 501, "NotImplemented") for name, value in [
        ("x-amz-server-side-encryption", "AES256"), ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-tagging", "a=b"), ("x-amz-acl", "public-read"), ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-legal-hold", "ON"), ("x-amz-grant-full-control", "id=1"),
        ("x-amz-website-redirect-location", "/x")]]
    for headers, status, expected in rows:
        assert said(raw.put(CAT, b"new", headers)) == (status, expected), headers
    assert photos.state() == before
    for headers in ([("x-amz-acl", "private")], [("x-amz-tagging", "")], [("x-amz-object-lock-legal-hold", "OFF")]):
        assert raw.put(CAT, b"new", headers).status == 200, headers


def test_what_is_wrong_stores_nothing(photos):
    raw = photos.raw()
    data = bytes_of(200_000, 3)
    assert raw.put(CAT, b"old").status == 200
    before = photos.state()
    wrong = bytes([data[0] ^ 1]) + data[1:]
    for target in (CAT, "/photos/dog"):
        for headers, payload, expected in [
                ([("Content-MD5", md5_base64(wrong))], UNSIGNED, "BadDigest"),
                ([("Content-MD5", "no base64!")], UNSIGNED, "InvalidDigest"),
                ([("Content-MD5", "")], UNSIGNED, "InvalidDigest"),
                ([("x-amz-checksum-crc32", checksum("CRC32", wrong))], UNSIGNED, "BadDigest"),
                ([("x-amz-checksum-sha256", checksum("SHA256", wrong))], UNSIGNED, "BadDigest"),
                ([("x-amz-checksum-crc32", "AA==")], UNSIGNED, "InvalidRequest"),
                ([("x-amz-checksum-crc32", checksum("CRC32", data)), ("x-amz-checksum-sha1", checksum("SHA1", data))],
                 UNSIGNED,
                 "InvalidRequest"),
                ([("x-amz-sdk-checksum-algorithm", "MD4")], UNSIGNED, "InvalidRequest"),
                ([], sha256(wrong), "XAmzContentSHA256Mismatch")]:
            answer = raw.request("PUT", target, data, headers, payload)
            assert said(answer) == (400, expected), (target, headers, payload)
        cut = b"".join(unsigned_chunks([data], [("x-amz-checksum-crc32", checksum("CRC32", wrong))]))
        headers = raw.head("PUT", target, [("x-amz-decoded-content-length", len(data)),
                                           ("x-amz-trailer", "x-amz-checksum-crc32")],
                           UNSIGNED_TRAILER).headers
        assert said(http.request(photos.port, "PUT", target, cut, headers)) == (400, "BadDigest")
        assert said(http.request(photos.port, "PUT", target, cut[:-40], headers))[0] == 400
    with http.Connection(photos.port) as connection:  # a client that goes away
        connection.send_head("PUT", CAT, [*raw.head("PUT", CAT).headers, ("Content-Length", len(data))])
        connection.send(data[:100_000])
    wait_until(lambda: photos.state() == before and not temporary(photos), "it is as before")
    assert raw.get(CAT).body == b"old"


def test_no_100_before_the_checks(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"old").status == 200
    for target, headers, expected in [
            (CAT, [("If-None-Match", "*")], (412, "PreconditionFailed")),
            (CAT, [("If-Match", '"0"')], (412, "PreconditionFailed")),
            ("/photos/dog", [("If-Match", '"0"')], (404, "NoSuchKey")), ("/absent/dog", [], (404, "NoSuchBucket")),
            ("/photos/" + "x" * 1025, [], (400, "KeyTooLongError")), (CAT, [("Content-MD5", "x")], (400, "InvalidDigest")),
            (CAT, [("x-amz-tagging", "a=b")], (501, "NotImplemented")), (CAT, [], (100, None))]:
        with http.Connection(photos.port) as connection:
            connection.send_head("PUT", target, [*raw.head("PUT", target, headers).headers, ("Content-Length", 3),
                                                 ("Expect", "100-continue")])
            answer = connection.interim()
            assert answer.status == expected[0], (target, headers, answer)
            if answer.status == 100:
                connection.send(b"new")
                assert connection.answer("PUT").status == 200
    assert raw.get(CAT).body == b"new"


def test_conditions_of_writes(photos):
    raw = photos.raw()
    absent = ("If-None-Match", "*")
    assert raw.put(CAT, b"1", [absent]).status == 200
    assert said(raw.put(CAT, b"2", [absent])) == (412, "PreconditionFailed")
    assert said(raw.put(CAT, b"2", [("If-Match", md5(b"other"))])) == (412, "PreconditionFailed")
    for tag in (etag(b"1"), md5(b"1"), "*"):
        assert raw.put(CAT, b"1", [("If-Match", tag)]).status == 200, tag
    assert said(raw.put("/photos/dog", b"x", [("If-Match", "*")])) == (404, "NoSuchKey")
    assert said(raw.put(CAT, b"2", [("If-Match", "*"), ("If-Match", "*")])) == (400, "InvalidRequest")
    with http.Connection(photos.port) as writer:  # a key that is being written: no waiting, since who knows what it will hold
        writer.send_head("PUT", CAT, [*raw.head("PUT", CAT).headers, ("Content-Length", 2)])
        writer.send(b"3")
        wait_until(lambda: b"cat" in raw.get("/?writing").body, "the PUT has begun")
        for headers in ([absent], [("If-Match", etag(b"1"))]):
            answer = raw.put(CAT, b"4", headers)
            assert said(answer) in ((409, "ConditionalRequestConflict"), (412, "PreconditionFailed")), answer
        assert said(raw.request("DELETE", CAT, headers=[("If-Match", etag(b"1"))])) == (409, "ConditionalRequestConflict")
        writer.send(b"3")
        assert writer.answer("PUT").status == 200
    assert raw.get(CAT).body == b"33"


def test_conditions_of_deletions(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"1").status == 200
    assert said(raw.request("DELETE", CAT, headers=[("If-Match", etag(b"2"))])) == (412, "PreconditionFailed")
    assert said(raw.request("DELETE", CAT, headers=[("x-amz-if-match-size", "1")])) == (501, "NotImplemented")
    assert raw.get(CAT).body == b"1"
    assert raw.request("DELETE", CAT, headers=[("If-Match", etag(b"1"))]).status == 204
    assert said(raw.request("DELETE", CAT, headers=[("If-Match", etag(b"1"))])) == (404, "NoSuchKey")
    assert raw.request("DELETE", CAT).status == 204


def test_all_writers_of_one_key_succeed(photos):
    raw, answers = photos.raw(), []
    values = [bytes_of(1 + 40_000 * (i % 4), 100 + i) for i in range(24)]
    threads = [threading.Thread(target=lambda v=v: answers.append(raw.put(CAT, v).status)) for v in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * len(values)
    got = raw.get(CAT)
    assert got.body in values and got.header("ETag") == etag(got.body)
    assert photos.records()[b"/photos/cat"]["generation"] == len(values) - 1


def test_writers_that_leave_while_they_wait(photos):
    """Another request holds the key, and they lose patience."""
    raw = photos.raw()
    assert raw.put(CAT, b"old").status == 200
    with http.Connection(photos.port) as writer:
        writer.send_head("PUT", CAT, [*raw.head("PUT", CAT).headers, ("Content-Length", 2)])
        writer.send(b"n")
        wait_until(lambda: b"cat" in raw.get("/?writing").body, "the PUT has begun")
        copy = [("x-amz-copy-source", "photos/cat"), ("x-amz-metadata-directive", "REPLACE")]
        for method, headers, body in [("PUT", [], b"never"), ("DELETE", [], None), ("PUT", copy, None)] * 8:
            with http.Connection(photos.port) as impatient:
                length = [] if body is None else [("Content-Length", len(body))]
                impatient.send_head(method, CAT, [*raw.head(method, CAT, headers).headers, *length])
                if body:
                    impatient.send(body)
                time.sleep(0.02)
                assert b"cat" in raw.get("/?writing").body  # and so the earlier request has been read
                impatient.reset()
        writer.send(b"e")
        assert writer.answer("PUT").status == 200
    time.sleep(0.2)  # whoever still waited would have the key by now
    assert raw.get(CAT).body == b"ne"


# --- GET, HEAD


def test_ranges(photos):
    raw = photos.raw()
    data = bytes_of(70_000, 5)
    assert raw.put(CAT, data, [("x-amz-checksum-crc32", checksum("CRC32", data))]).status == 200
    assert raw.put("/photos/empty", b"").status == 200
    size = len(data)
    for text, first, last in [("bytes=0-0", 0, 0), ("bytes=0-", 0, size - 1), ("bytes=5-9", 5, 9),
                              ("bytes=69999-", size - 1, size - 1),
                              ("bytes=-1", size - 1, size - 1), ("bytes=-70000", 0, size - 1), ("bytes=-99999", 0, size - 1),
                              ("bytes=100-99999999999999999999999", 100, size - 1), ("Bytes=1-2", 1, 2)]:
        for method in ("GET", "HEAD"):
            answer = raw.request(method, CAT, headers=[("Range", text), ("x-amz-checksum-mode", "ENABLED")])
            assert answer.status == 206, (text, method, answer)
            assert answer.header("Content-Range") == f"bytes {first}-{last}/{size}"
            assert answer.header("Content-Length") == str(last - first + 1)
            assert answer.header("x-amz-checksum-crc32") is None  # which is not of the piece
            assert method == "HEAD" or answer.body == data[first:last + 1]
    for text in ("bytes=70000-", "bytes=70000-70001", "bytes=-0", "bytes=99999999999999999999-"):
        assert said(raw.get(CAT, [("Range", text)])) == (416, "InvalidRange"), text
        answer = raw.request("HEAD", CAT, headers=[("Range", text)])
        assert answer.status == 416 and answer.body == b""
        assert answer.header("Content-Range") == f"bytes */{size}"
    for text in ("bytes=9-5", "bytes=a-b", "lines=1-2", "bytes=1", "bytes=0-1,5-6", "bytes=", "bytes=-", "bytes= ",
                 "x" * 100):
        answer = raw.get(CAT, [("Range", text)])
        assert answer.status == 200 and answer.body == data, text
    assert said(raw.get("/photos/empty", [("Range", "bytes=0-")])) == (416, "InvalidRange")
    assert said(raw.get("/photos/empty", [("Range", "bytes=-1")])) == (416, "InvalidRange")
    when = raw.get(CAT).header("Last-Modified")
    for value, status in [(etag(data), 206), (when, 206), ('"0"', 200), ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
                          ("x" * 100, 200)]:
        assert raw.get(CAT, [("Range", "bytes=1-2"), ("If-Range", value)]).status == status, value


def test_part_numbers(photos):
    raw, boto = photos.raw(), photos.boto3()
    data = bytes_of(1000, 6)
    assert raw.put(CAT, data).status == 200
    for method in ("GET", "HEAD"):
        answer = raw.request(method, CAT + "?partNumber=1")
        assert answer.status == 206 and answer.header("Content-Range") == "bytes 0-999/1000"
        assert answer.header("x-amz-mp-parts-count") is None
    assert raw.get(CAT + "?partNumber=1").body == data
    assert said(raw.get(CAT + "?partNumber=2")) == (416, "InvalidPartNumber")
    for number in ("0", "10001", "x", "-1", ""):
        assert said(raw.get(CAT + f"?partNumber={number}")) == (400, "InvalidArgument"), number
    assert said(raw.get(CAT + "?partNumber=1", [("Range", "bytes=0-1")])) == (400, "InvalidRequest")
    parts = [bytes_of(5 * MEGABYTE, 7), bytes_of(5 * MEGABYTE, 8), b"the end"]
    upload = boto.create_multipart_upload(Bucket="photos", Key="parts")["UploadId"]
    done = [{"PartNumber": n, "ETag": boto.upload_part(Bucket="photos", Key="parts", UploadId=upload, PartNumber=n,
                                                       Body=part)["ETag"]}
            for n, part in enumerate(parts, 1)]
    boto.complete_multipart_upload(Bucket="photos", Key="parts", UploadId=upload, MultipartUpload={"Parts": done})
    at = 0
    for n, part in enumerate(parts, 1):
        answer = raw.get(f"/photos/parts?partNumber={n}")
        assert answer.status == 206 and answer.body == part and answer.header("x-amz-mp-parts-count") == "3"
        assert answer.header("Content-Range") == f"bytes {at}-{at + len(part) - 1}/{sum(map(len, parts))}"
        at += len(part)
    assert raw.get("/photos/parts").body == b"".join(parts)
    assert said(raw.get("/photos/parts?partNumber=4")) == (416, "InvalidPartNumber")


def test_conditions_of_reads(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"meow", [("Cache-Control", "no-cache")]).status == 200
    when = raw.get(CAT).header("Last-Modified")
    before, after = "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT"
    yes, no = etag(b"meow"), '"0123"'
    for headers, status in [
            ([("If-Match", yes)], 200), ([("If-Match", md5(b"meow"))], 200), ([("If-Match", f"{no}, {yes}")], 200),
            ([("If-Match", "*")], 200), ([("If-Match", no)], 412), ([("If-None-Match", yes)], 304),
            ([("If-None-Match", "*")], 304),
            ([("If-None-Match", f"W/{yes}")], 304), ([("If-None-Match", no)], 200), ([("If-Modified-Since", when)], 304),
            ([("If-Modified-Since", after)], 304), ([("If-Modified-Since", before)], 200),
            ([("If-Unmodified-Since", when)], 200),
            ([("If-Unmodified-Since", before)], 412), ([("If-Unmodified-Since", "nonsense")], 200),
            ([("If-Match", yes), ("If-Unmodified-Since", before)], 200),
            ([("If-None-Match", no), ("If-Modified-Since", after)], 200),
            ([("If-Match", no), ("If-None-Match", yes)], 412)]:
        for method in ("GET", "HEAD"):
            answer = raw.request(method, CAT, headers=headers)
            assert answer.status == status, (method, headers, answer)
            if status == 304:
                assert answer.body == b"" and answer.header("ETag") == yes and answer.header("Cache-Control") == "no-cache"
    for method in ("GET", "HEAD"):
        assert raw.request(method, "/photos/dog", headers=[("If-None-Match", "*")]).status == 404
    assert said(raw.get(CAT, [("If-Match", no)])) == (412, "PreconditionFailed")
    assert said(raw.get(CAT, [("If-Match", no), ("If-Match", yes)])) == (400, "InvalidRequest")


def test_overrides(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"meow", [("Content-Type", "text/plain"), ("Cache-Control", "no-cache")]).status == 200
    names = ["Content-Type", "Content-Language", "Content-Encoding", "Content-Disposition", "Cache-Control", "Expires"]
    query = "&".join(f"response-{name.lower()}=a%2Fb%20{i}" for i, name in enumerate(names))
    for method in ("GET", "HEAD"):
        answer = raw.request(method, f"{CAT}?{query}")
        assert [answer.header(name) for name in names] == [f"a/b {i}" for i in range(6)]
    answer = raw.get(CAT + "?response-expires=never&response-nothing=x")
    assert (answer.header("Expires"), answer.header("Content-Type")) == ("never", "text/plain")
    for value in ("a%0d%0aX-Evil:%201", "a%0ab", "a%00b", "a%7f"):
        answer = raw.get(f"{CAT}?response-content-type={value}")
        assert said(answer) == (400, "InvalidArgument") and answer.header("X-Evil") is None, value


@pytest.mark.parametrize("kind", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(photos, kind):
    raw = photos.raw()
    header, value = f"x-amz-checksum-{kind.lower()}", checksum(kind, b"meow")
    enabled = [("x-amz-checksum-mode", "ENABLED")]
    for how in ([(header, value)], [("x-amz-sdk-checksum-algorithm", kind)],
                [(header, value), ("x-amz-sdk-checksum-algorithm", kind)]):
        answer = raw.put(CAT, b"meow", how)
        assert answer.status == 200 and answer.header(header) == value, (how, answer)
        for method in ("GET", "HEAD"):
            answer = raw.request(method, CAT, headers=enabled)
            assert answer.header(header) == value and answer.header("x-amz-checksum-type") == "FULL_OBJECT"
            assert raw.request(method, CAT).header(header) is None
        answer = raw.request("GET", CAT + "?attributes", headers=[("x-amz-object-attributes", "Checksum")])
        assert texts(answer, f"Checksum{kind}") == [value]
        assert raw.put(CAT, b"meow").status == 200
        assert raw.get(CAT, enabled).header(header) is None


def test_attributes(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"meow", [("x-amz-storage-class", "GLACIER_IR")]).status == 200

    def ask(wanted, target=CAT, more=()):
        return raw.get(target + "?attributes", [("x-amz-object-attributes", wanted), *more])

    answer = ask("ETag,ObjectSize, StorageClass,ObjectParts,Checksum")
    assert answer.status == 200 and answer.header("Last-Modified") == raw.get(CAT).header("Last-Modified")
    assert texts(answer, "ETag") == [md5(b"meow")] and texts(answer, "ObjectSize") == ["4"]  # no quotes here
    assert texts(answer, "StorageClass") == ["GLACIER_IR"]
    assert texts(answer, "ObjectParts") == [] and texts(answer, "Checksum") == []
    assert texts(ask("ETag"), "ObjectSize") == []
    for wanted in ("", "Nothing", "ETag,"):
        assert said(ask(wanted)) == (400, "InvalidArgument"), wanted
    assert said(raw.get(CAT + "?attributes")) == (400, "InvalidArgument")
    assert said(ask("ETag", "/photos/dog")) == (404, "NoSuchKey") and said(ask("ETag", "/absent/dog")) == (404,
                                                                                                           "NoSuchBucket")
    assert said(ask("ObjectParts", more=[("x-amz-max-parts", "x")])) == (400, "InvalidArgument")


def test_versions(photos):
    raw = photos.raw()
    assert raw.put(CAT, b"meow").status == 200
    assert raw.get(CAT + "?versionId=null").body == b"meow"
    for method in ("GET", "DELETE"):
        assert said(raw.request(method, CAT + "?versionId=abc")) == (404, "NoSuchVersion")
    assert raw.request("DELETE", CAT + "?versionId=null").status == 204
    assert said(raw.get(CAT)) == (404, "NoSuchKey")


def test_adopted_values_without_size_or_md5(make_s3, tmp_path):
    """What mkv-rebuild finds on volumes of the original: nothing but names."""
    data = bytes_of(100_000, 9)
    index(tmp_path / "loaded", "load", stdin=b"").expect(0)
    server = make_s3(keys=False, db=tmp_path / "loaded")
    raw = server.raw(None)
    assert raw.put("/photos/a", data).status == 200 and raw.put("/photos/b", b"").status == 200
    server.master.stop_cleanly()
    lines = []
    for key, known in server.records().items():
        lines.append(json.dumps({"key": key.decode(), "state": "live", "generation": known["generation"],
                                 "mtime": known["mtime"], "replicas": known["replicas"]}))
    loaded = index(tmp_path / "adopted", "load", stdin="\n".join(lines).encode()).expect(0)
    assert "2 records" in loaded.why
    server.master.db = tmp_path / "adopted"
    server.cluster.restart_master()
    assert all(record.get("size") is None and record.get("md5") is None for record in server.records().values())
    tags = set()
    for method in ("GET", "HEAD"):
        answer = raw.request(method, "/photos/a")
        assert answer.status == 200 and answer.header("Content-Length") == "100000"
        tags.add(answer.header("ETag"))
        empty = raw.request(method, "/photos/b")
        assert empty.status == 200 and empty.header("Content-Length") == "0" and empty.body == b""
    assert raw.get("/photos/a").body == data
    tags.add(texts(raw.get("/photos"), "ETag")[0])
    assert len(tags) == 1 and next(iter(tags)).endswith('-1"')  # the same everywhere, and not taken for an MD5
    tag = next(iter(tags))
    assert raw.get("/photos/a", [("If-Match", tag)]).body == data
    assert raw.get("/photos/a", [("If-None-Match", tag)]).status == 304
    answer = raw.get("/photos/a", [("Range", "bytes=-10")])
    assert answer.body == data[-10:] and answer.header("Content-Range") == "bytes 99990-99999/100000"
    assert said(raw.get("/photos/a", [("Range", "bytes=100000-")])) == (416, "InvalidRange")
    assert said(raw.get("/photos/b", [("Range", "bytes=0-")])) == (416, "InvalidRange")
    assert raw.get("/photos/a?partNumber=1").body == data
    assert raw.request("PUT", "/photos/c", headers=[("x-amz-copy-source", "photos/a")]).status == 200
    answer = raw.get("/photos/c")
    assert answer.body == data and answer.header("ETag") == etag(data)
    assert raw.put("/photos/a", b"new").status == 200 and raw.get("/photos/a").header("ETag") == etag(b"new")


# --- large ones, and readers in trouble


def test_a_slow_reader_costs_no_memory(open_server):
    raw, data = open_server.raw(None), bytes_of(SIZE, 10)
    assert raw.put(CAT, data).status == 200
    assert raw.get(CAT).body == data
    before = open_server.master.memory_kb()
    readers = [http.Connection(open_server.port, receive_buffer=16384) for _ in range(6)]
    try:
        for reader in readers:
            reader.send_head("GET", CAT, raw.head("GET", CAT).headers)
        assert all(reader.interim().status == 200 for reader in readers)
        time.sleep(0.5)
        grown = open_server.master.memory_kb() - before
        assert grown < 6 * (4 if SANITIZED else 2) * 1024, f"{grown} KB more"
        assert raw.request("HEAD", CAT).status == 200  # and nobody waits for them
        got = readers[0]._bytes(SIZE)
        assert got == data
    finally:
        for reader in readers:
            reader.close()


def test_readers_survive_the_death_of_a_volume(own_cluster):
    """Whichever volume serves them is killed in the middle: the others go on at the same byte."""
    cluster = own_cluster(3)
    master = cluster.start_master()
    data = bytes_of(32 * MEGABYTE, 11)  # more than all buffers on the way hold
    raw = tools.Raw(master.port, None)
    assert raw.put(CAT, data).status == 200
    readers = [http.Connection(master.port, receive_buffer=16384, timeout=60) for _ in range(12)]
    got = []
    try:
        for reader in readers:
            reader.send_head("GET", CAT, raw.head("GET", CAT).headers)
        for reader in readers:
            assert reader.interim().header("Content-Length") == str(len(data))
            got.append(reader._bytes(100_000))
        for volume in cluster.volumes[:2]:
            volume.kill()
        threads = [threading.Thread(target=lambda i=i: got.__setitem__(i, got[i] + readers[i]._bytes(len(data) - 100_000)))
                   for i in range(len(readers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for reader in readers:
            reader.close()
    assert all(body == data for body in got), [len(body) for body in got]
    counted = {name: value for name, value in master.metrics().items() if "resumed" in name}
    assert counted and sum(counted.values()) >= 1, counted
    # one of three is left: reads go on, and with none there is an error, but never "no such key"
    assert raw.get(CAT).body == data
    cluster.volumes[2].kill()
    answer = raw.get(CAT)
    assert answer.status >= 500 and code(answer) in ("ServiceUnavailable", "InternalError"), answer
    assert raw.request("HEAD", CAT).status == 200  # of which the index knows all


def test_files_that_are_gone(open_server):
    raw = open_server.raw(None)
    assert raw.put(CAT, b"meow").status == 200
    for volume in open_server.cluster.volumes:
        volume.clear()
    answer = raw.get(CAT)
    assert answer.status == 500 and code(answer) == "InternalError", answer
    assert "every volume" in texts(answer, "Message")[0]
    assert raw.put(CAT, b"again").status == 200 and raw.get(CAT).body == b"again"


def test_readers_beside_overwriters_see_one_whole_value(open_server):
    raw, stop, wrong, reads = open_server.raw(None), threading.Event(), [], [0]
    values = [bytes([i]) * (200_000 + 1000 * i) for i in range(8)]
    assert raw.put(CAT, values[0]).status == 200

    def read():
        while not stop.is_set():
            answer = raw.get(CAT)
            reads[0] += 1
            if answer.status != 200 or answer.body not in values or answer.header("ETag") != etag(answer.body):
                wrong.append((answer.status, len(answer.body), answer.header("ETag")))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for i in range(16 if SANITIZED else 60):
            assert raw.put(CAT, values[i % 8]).status == 200
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong and reads[0] > 10, (reads, wrong[:3])


# --- DELETE, the native API, redirects


def test_delete(open_server):
    raw, master = open_server.raw(None), open_server.master
    assert raw.put(CAT, b"meow").status == 200
    answer = raw.request("DELETE", CAT)
    assert answer.status == 204 and answer.body == b"" and answer.header("Content-Type") is None
    assert open_server.records() == {} and open_server.cluster.files() == {}
    assert raw.request("DELETE", CAT).status == 204  # what is not there is deleted already
    assert raw.put(CAT, b"meow").status == 200 and master.unlink(CAT).status == 204
    for method in ("GET", "HEAD"):
        assert raw.request(method, CAT).status == 404
    assert raw.request("DELETE", CAT).status == 204  # invisible here
    assert master.relink(CAT).status == 204 and raw.get(CAT).body == b"meow"
    assert master.unlink(CAT).status == 204
    assert raw.put(CAT, b"anew", [("If-None-Match", "*")]).status == 200
    assert raw.get(CAT).body == b"anew"


def test_protected(make_s3):
    server = make_s3("-protect", keys=False)
    raw = server.raw(None)
    assert raw.put(CAT, b"meow").status == 200
    assert said(raw.request("DELETE", CAT)) == (403, "AccessDenied")
    assert raw.get(CAT).body == b"meow" and raw.request("DELETE", "/photos/dog").status == 204
    assert server.master.unlink(CAT).status == 204 and server.master.delete(CAT).status == 204


def test_both_apis_see_the_same_values(open_server):
    raw, master = open_server.raw(None), open_server.master
    assert master.put("/photos/native", b"native").status == 201
    assert raw.get("/photos/native").body == b"native" and raw.request("HEAD",
                                                                       "/photos/native").header("ETag") == etag(b"native")
    assert raw.put("/photos/s3", b"s3", [("Content-Type", "text/plain")]).status == 200
    answer = master.get("/photos/s3")
    assert answer.header("Content-Md5") == md5(b"s3") and fetch(answer.header("Location")) == b"s3"
    assert master.put("/photos/s3", b"again").status == 403  # natively a key holds its value
    assert raw.put("/photos/native", b"by s3").status == 200 and master.read("/photos/native") == b"by s3"
    assert master.replace("/photos/s3", b"replaced").status == 201
    answer = raw.get("/photos/s3")
    assert answer.body == b"replaced" and answer.header("Content-Type") == "binary/octet-stream"
    assert master.keys("/photos/") == ["/photos/native", "/photos/s3"]
    assert texts(raw.get("/photos"), "Key") == ["native", "s3"]
    assert raw.request("DELETE", "/photos/native").status == 204 and master.read("/photos/native") is None
    assert raw.put("/photos/empty", b"").status == 200 and master.read("/photos/empty") == b""


@pytest.mark.parametrize("when", ["never", "presigned", "always"])
def test_redirects(make_s3, when):
    server = make_s3("-s3-redirect", when)
    server.make_bucket("photos")
    raw = server.raw()
    assert raw.put(CAT, b"meow").status == 200

    def check(answer, redirected):
        if redirected:
            assert answer.status == 302 and fetch(answer.header("Location")) == b"meow" and answer.header("x-amz-request-id")
        else:
            assert answer.status in (200, 206) and answer.body == b"meow"

    check(raw.get(CAT), when == "always")
    check(raw.get(CAT, [("Range", "bytes=0-3")]), when == "always")
    presigned = raw.signer.presign("GET", CAT)
    check(http.request(server.port, "GET", presigned), when != "never")
    for query in ("?partNumber=1", "?response-content-type=text/html"):  # of which a volume knows nothing
        check(raw.get(CAT + query), False)
        check(http.request(server.port, "GET", raw.signer.presign("GET", CAT + query)), False)
    assert raw.request("HEAD", CAT).status == 200
    assert http.request(server.port, "HEAD", raw.signer.presign("HEAD", CAT)).status == 200
    assert said(raw.get("/photos/dog")) == (404, "NoSuchKey")
    assert raw.get(CAT, [("If-None-Match", etag(b"meow"))]).status == 304


def test_what_comes_with_an_error(photos):
    raw = photos.raw()
    for target, status in [("/photos/dog", 404), ("/absent/dog", 404), ("/photos/" + "x" * 1025, 400),
                           ("/photos?uploads", 501)]:
        answer = raw.request("HEAD", target)
        assert answer.status == status, answer
        assert answer.body == b"" and answer.header("x-amz-request-id") and answer.header("Content-Type") is None
    with http.Connection(photos.port) as connection:  # the connection goes on after each
        for _ in range(3):
            head = raw.head("HEAD", "/photos/dog").headers
            assert connection.request("HEAD", "/photos/dog", headers=head).status == 404
            head = raw.head("GET", "/photos/dog").headers
            assert said(connection.request("GET", "/photos/dog", headers=head)) == (404, "NoSuchKey")
