"""CopyObject: what goes with the bytes, where they come from, and what may happen on the way."""
import threading
import urllib.parse

import pytest

from mkvtest import faults, http
from mkvtest.cluster import SANITIZED, wait_until
from mkvtest.s3 import LIMITED, MEGABYTE, Raw, bytes_of, checksum, code, md5, texts

CAT, COPY = "/photos/cat", "/photos/copy"
SIZE = (8 if SANITIZED else 64) * MEGABYTE
KEPT = [("Content-Type", "text/x-cat"), ("Cache-Control", "no-cache"), ("x-amz-meta-colour", "black")]
OTHERS = [("Content-Type", "text/x-dog"), ("x-amz-meta-age", "7")]
REPLACE = ("x-amz-metadata-directive", "REPLACE")


def said(answer):
    return answer.status, code(answer)


def etag(data):
    return f'"{md5(data)}"'


def copy(raw, source, target=COPY, headers=(), **options):
    return raw.request("PUT", target, None, [("x-amz-copy-source", source), *headers], **options)


def has(answer, headers):
    return [(name, answer.header(name)) for name, _ in headers] == headers


@pytest.fixture
def photos(s3):
    for name in ("photos", "other", "limited"):
        s3.make_bucket(name)
    assert s3.raw().put(CAT, b"meow", KEPT).status == 200
    return s3


@pytest.fixture
def raw(photos):
    return photos.raw()


def test_what_goes_with_the_bytes(raw):
    for target in (COPY, "/other/copy"):
        answer = copy(raw, "photos/cat", target, OTHERS)  # which COPY, the default, does not look at
        assert answer.status == 200 and answer.header("Content-Type") == "application/xml"
        assert texts(answer, "ETag") == [etag(b"meow")] and len(texts(answer, "LastModified")) == 1
        got = raw.get(target)
        assert got.body == b"meow" and has(got, KEPT) and got.header("x-amz-meta-age") is None
        assert copy(raw, "photos/cat", target, [*OTHERS, REPLACE]).status == 200
        got = raw.get(target)
        assert got.body == b"meow" and has(got, OTHERS) and got.header("x-amz-meta-colour") is None
        assert got.header("Cache-Control") is None
    assert has(raw.get(CAT), KEPT)
    assert said(copy(raw, "photos/cat", COPY, [("x-amz-metadata-directive", "MAYBE")])) == (400, "InvalidArgument")
    for headers in ([("x-amz-tagging", "a=b")], [("x-amz-acl", "public-read")],
                    [("x-amz-server-side-encryption", "AES256")]):
        for more in ([], [REPLACE]):
            assert said(copy(raw, "photos/cat", COPY, [*headers, *more])) == (501, "NotImplemented"), headers


def test_storage_class_is_the_copys_own(raw):
    cold, warm = [("x-amz-storage-class", "GLACIER_IR")], [("x-amz-storage-class", "STANDARD_IA")]
    assert raw.put(CAT, b"meow", [*KEPT, *cold]).status == 200
    assert copy(raw, "photos/cat").status == 200
    assert raw.get(COPY).header("x-amz-storage-class") is None and has(raw.get(COPY), KEPT)
    assert copy(raw, "photos/cat", COPY, warm).status == 200 and has(raw.get(COPY), [*warm, *KEPT])
    assert copy(raw, "photos/cat", CAT, warm).status == 200 and has(raw.get(CAT), [*warm, *KEPT])  # onto itself


def test_onto_itself(photos, raw):
    assert said(copy(raw, "photos/cat", CAT)) == (400, "InvalidRequest")
    before, files = photos.records()[b"/photos/cat"], photos.cluster.files()
    answer = copy(raw, "photos/cat", CAT, [*OTHERS, REPLACE])
    assert answer.status == 200 and texts(answer, "ETag") == [etag(b"meow")]
    got = raw.get(CAT)
    assert got.body == b"meow" and has(got, OTHERS) and got.header("Cache-Control") is None
    after = photos.records()[b"/photos/cat"]
    assert after["generation"] == before["generation"] and photos.cluster.files() == files  # no byte has moved
    # conditions hold here, too
    for headers, expected in [([("If-None-Match", "*")], 412), ([("If-Match", etag(b"x"))], 412),
                              ([("If-Match", etag(b"meow"))], 200),
                              ([("x-amz-copy-source-if-match", etag(b"x"))], 412)]:
        assert copy(raw, "photos/cat", CAT, [*KEPT, REPLACE, *headers]).status == expected, headers
    assert has(raw.get(CAT), KEPT)
    # another checksum: its bytes are read
    answer = copy(raw, "photos/cat", CAT, [("x-amz-checksum-algorithm", "CRC32")])
    assert texts(answer, "ChecksumCRC32") == [checksum("CRC32", b"meow")] and has(raw.get(CAT), KEPT)
    assert raw.get(CAT, [("x-amz-checksum-mode", "ENABLED")]).header("x-amz-checksum-crc32") == checksum("CRC32", b"meow")
    # which then stays with the bytes
    assert copy(raw, "photos/cat", CAT, [*OTHERS, REPLACE]).status == 200
    assert raw.get(CAT, [("x-amz-checksum-mode", "ENABLED")]).header("x-amz-checksum-crc32") == checksum("CRC32", b"meow")


def test_forms_of_a_source(raw):
    keys = ["plain", "with space", "plus+and", "what?x=1", "ü/日本", "a%41b", "a//b", "?versionId=", "100%"]
    for i, key in enumerate(keys):
        assert raw.put("/photos/" + http.encode(key), b"%d" % i).status == 200
        encoded = urllib.parse.quote("photos/" + key, safe="")
        for source in {encoded, urllib.parse.quote("photos/" + key, safe="/"), "/" + encoded, "%2F" + encoded,
                       encoded.replace("%2B", "+"), encoded + "?versionId=null"}:
            answer = copy(raw, source)
            assert answer.status == 200 and raw.get(COPY).body == b"%d" % i, source
    assert copy(raw, "photos/what?x=1").status == 200 and raw.get(COPY).body == b"3"  # as some clients send it
    assert copy(raw, "photos/ü/日本".encode().decode("latin-1")).status == 200 and raw.get(COPY).body == b"4"
    for source, expected in [("photos", (400, "InvalidArgument")), ("photos/", (400, "InvalidArgument")),
                             ("/", (400, "InvalidArgument")),
                             ("", (400, "InvalidArgument")), ("photos/%zz", (400, "InvalidArgument")),
                             ("photos/plain?versionId=", (400, "InvalidArgument")),
                             ("//photos/plain", (400, "InvalidArgument")),
                             ("photos/plain?versionId=abc", (404, "NoSuchVersion")),
                             ("photos/" + "x" * 1025, (400, "KeyTooLongError")),
                             ("photos/nothing", (404, "NoSuchKey")), ("absent/x", (404, "NoSuchBucket")),
                             ("photos/plain%3FversionId%3Dnull", (404, "NoSuchKey"))]:
        assert said(copy(raw, source)) == expected, source
    assert said(copy(raw, "photos/plain", "/absent/x")) == (404, "NoSuchBucket")


def test_conditions_of_the_source(raw):
    when = raw.get(CAT).header("Last-Modified")
    before, after, yes, no = "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT", etag(b"meow"), '"0"'
    for name, value, good in [("match", yes, True), ("match", no, False), ("none-match", yes, False),
                              ("none-match", no, True),
                              ("modified-since", before, True), ("modified-since", after, False),
                              ("unmodified-since", when, True), ("unmodified-since", before, False)]:
        answer = copy(raw, "photos/cat", COPY, [(f"x-amz-copy-source-if-{name}", value)])
        assert said(answer) == ((200, None) if good else (412, "PreconditionFailed")), (name, value)
    assert raw.put(COPY, b"old").status == 200
    for headers, expected in [([("If-None-Match", "*")], 412), ([("If-Match", no)], 412),
                              ([("If-Match", etag(b"old"))], 200)]:
        assert copy(raw, "photos/cat", COPY, headers).status == expected, headers


def test_who_may(photos, raw):
    limited = photos.raw(LIMITED)
    assert said(copy(limited, "photos/cat", "/limited/cat")) == (403, "AccessDenied")
    assert said(copy(limited, "limited/x", COPY)) == (403, "AccessDenied")
    assert raw.put("/limited/x", b"x").status == 200
    assert copy(limited, "limited/x", "/limited/y").status == 200 and raw.get("/limited/y").body == b"x"


@pytest.mark.parametrize("kind", ["CRC32", "CRC64NVME", "SHA256"])
def test_checksums(raw, kind):
    header, name = f"x-amz-checksum-{kind.lower()}", f"Checksum{kind}"
    enabled = [("x-amz-checksum-mode", "ENABLED")]
    answer = copy(raw, "photos/cat", COPY, [("x-amz-checksum-algorithm", kind)])
    assert texts(answer, name) == [checksum(kind, b"meow")] and texts(answer, "ChecksumType") == ["FULL_OBJECT"]
    assert raw.get(COPY, enabled).header(header) == checksum(kind, b"meow")
    answer = copy(raw, "photos/copy", "/photos/again")  # what the source has goes with it
    assert texts(answer, name) == [checksum(kind, b"meow")]
    assert raw.get("/photos/again", enabled).header(header) == checksum(kind, b"meow")
    answer = copy(raw, "photos/copy", "/photos/again", [("x-amz-checksum-algorithm", "SHA1")])
    assert texts(answer, "ChecksumSHA1") == [checksum("SHA1", b"meow")] and texts(answer, name) == []
    assert said(copy(raw, "photos/cat", COPY, [("x-amz-checksum-algorithm", "MD4")])) == (400, "InvalidRequest")


def test_of_an_object_uploaded_in_parts(photos, raw):
    boto, parts = photos.boto3(), [bytes_of(5 * MEGABYTE, 1), b"the end"]
    name = {"Bucket": "photos", "Key": "parts"}
    upload = boto.create_multipart_upload(**name, ContentType="text/x-parts")["UploadId"]
    done = [{"PartNumber": n, "ETag": boto.upload_part(**name, UploadId=upload, PartNumber=n, Body=part)["ETag"]}
            for n, part in enumerate(parts, 1)]
    boto.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": done})
    whole = b"".join(parts)
    assert raw.get("/photos/parts").header("ETag").endswith('-2"')
    answer = copy(raw, "photos/parts")
    assert texts(answer, "ETag") == [etag(whole)]  # an object in one piece by now
    got = raw.get(COPY)
    assert got.body == whole and got.header("ETag") == etag(whole) and got.header("Content-Type") == "text/x-parts"
    assert raw.get(COPY + "?partNumber=1").body == whole
    before = raw.get("/photos/parts").header("ETag")  # onto itself it keeps its parts
    assert copy(raw, "photos/parts", "/photos/parts", [*OTHERS, REPLACE]).status == 200
    assert raw.get("/photos/parts").header("ETag") == before and raw.get("/photos/parts?partNumber=2").body == b"the end"


def test_a_large_one_in_constant_memory(make_s3):
    server = make_s3(keys=False)
    raw, data = server.raw(None), bytes_of(SIZE, 2)
    assert raw.put(CAT, data).status == 200
    assert copy(raw, "photos/cat", "/photos/small").status == 200
    before = server.master.memory_kb()
    answers = []
    threads = [threading.Thread(target=lambda i=i: answers.append(copy(raw, "photos/cat", f"/photos/copy{i}", timeout=100)))
               for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts(answer, "ETag") for answer in answers] == [[etag(data)]] * 3
    grown = server.master.memory_kb("VmHWM") - before
    assert grown < (60 if SANITIZED else 24) * 1024, f"{grown} KB more"
    assert raw.get("/photos/copy2").body == data


def test_beside_overwrites_of_the_source(make_s3):
    """A copy is one whole value, whichever."""
    server = make_s3(keys=False)
    raw, stop, failed = server.raw(None), threading.Event(), []
    values = [bytes([i]) * (300_000 + i) for i in range(4)]
    assert raw.put(CAT, values[0]).status == 200

    def overwrite():
        i = 0
        while not stop.is_set():
            i += 1
            if raw.put(CAT, values[i % 4]).status != 200:
                failed.append(i)

    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        for _ in range(12 if SANITIZED else 40):
            answer = copy(raw, "photos/cat")
            assert answer.status == 200, answer
            got = raw.get(COPY)
            assert got.body in values and [etag(got.body)] == texts(answer, "ETag")
            answer = copy(raw, "photos/cat", CAT, [*KEPT, REPLACE])  # onto itself: done, or to be tried again
            assert answer.status == 200 or said(answer) == (503, "SlowDown"), answer
    finally:
        stop.set()
        writer.join()
    assert not failed


def test_a_slow_one_is_answered_early(photos, raw):
    """The target is busy: 200 and white space until the result is known."""
    with http.Connection(photos.port) as writer, http.Connection(photos.port, timeout=60) as copier:
        writer.send_head("PUT", COPY, [*raw.head("PUT", COPY).headers, ("Content-Length", 10)])
        writer.send(b"01234")
        wait_until(lambda: b"copy" in raw.get("/?writing").body, "the PUT has begun")
        source = [("x-amz-copy-source", "photos/cat")]
        copier.send_head("PUT", COPY, raw.head("PUT", COPY, source).headers)
        assert copier.is_quiet(3)  # not at once: a copy that is done by then has a status
        head = copier.interim()
        assert head.status == 200 and head.header("transfer-encoding") == "chunked"
        writer.send(b"56789")
        assert writer.answer("PUT").status == 200
        copier.buffer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + copier.buffer
        answer = copier.answer("PUT")
    assert answer.body.startswith(b"<?xml") and texts(answer, "ETag") == [etag(b"meow")]
    assert raw.get(COPY).body == b"meow" and has(raw.get(COPY), KEPT)


@pytest.mark.parametrize("again,expected", [(b"woof", 503), (b"something longer", 503), (None, 404)])
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_source_that_goes_while_the_target_is_busy(make_s3, again, expected, in_parts):
    """A value that comes after a deleted one has its files' names: it is not the one that was to be copied, nor damaged."""
    photos = make_s3("-md5sum=false")
    photos.make_bucket("photos")
    raw = photos.raw()
    assert raw.put(CAT, b"meow").status == 200
    if in_parts:  # no MD5 is taken then
        upload = texts(raw.request("POST", CAT + "?uploads", b""), "UploadId")[0]
        part = raw.request("PUT", f"{CAT}?partNumber=1&uploadId={upload}", b"meow").header("ETag")
        assert raw.request("DELETE", CAT).status == 204  # so that it has the name which the next one gets
        done = raw.request("POST", f"{CAT}?uploadId={upload}", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
                           f"<ETag>{part}</ETag></Part></CompleteMultipartUpload>".encode())
        assert done.status == 200 and texts(done, "ETag"), done
        expected = 503
    with http.Connection(photos.port) as writer, http.Connection(photos.port, timeout=60) as copier:
        writer.send_head("PUT", COPY, [*raw.head("PUT", COPY).headers, ("Content-Length", 10)])
        writer.send(b"01234")
        wait_until(lambda: b"copy" in raw.get("/?writing").body, "the PUT has begun")
        copier.send_head("PUT", COPY, raw.head("PUT", COPY, [("x-amz-copy-source", "photos/cat")]).headers)
        assert copier.is_quiet(0.3)
        assert raw.request("DELETE", CAT).status == 204
        assert again is None or raw.put(CAT, again).status == 200
        writer.send(b"56789")
        assert writer.answer("PUT").status == 200
        answer = copier.answer("PUT")
    assert answer.status == expected, answer
    assert raw.get(COPY).body == b"0123456789"
    assert again is None or (copy(raw, "photos/cat").status == 200 and raw.get(COPY).body == again)


def test_replicas_of_the_source_that_fail(faulty_cluster):
    cluster = faulty_cluster(volumes=4)
    raw = Raw(cluster.master.port, None)
    data = bytes_of(3 * MEGABYTE, 3)
    assert raw.put(CAT, data).status == 200 and raw.put(COPY, b"old").status == 200
    source = cluster.expected_files("/photos/cat", data)
    path = next(iter(source))[1].rpartition("/")[2]
    for volume in cluster.faulty[:2]:  # two of the source's three may fail
        volume.when(faults.close, method="GET", path=path)
    assert copy(raw, "photos/cat").status == 200 and raw.get(COPY).body == data
    assert raw.put(COPY, b"old").status == 200
    for volume in cluster.faulty:
        volume.when(faults.answer(500), method="GET", path=path)
    answer = copy(raw, "photos/cat")
    assert answer.status >= 500 and code(answer), answer
    assert raw.get(COPY).body == b"old"
