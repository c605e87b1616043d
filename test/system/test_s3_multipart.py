"""Uploads in parts: what becomes of them, and what is left of them."""
import base64
import concurrent.futures
import hashlib
import json
import os
import random
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET

import pytest

from mkvtest import faults, http
from mkvtest.cluster import SANITIZED, wait_until
from mkvtest.jobs import index
from mkvtest.s3 import (CHECKSUMS, LIMITED, MEGABYTE, READER, Raw, bytes_of, checksum, code, md5, sha256, texts)

PART = 5 * MEGABYTE  # the least that a part may have which is not the last


class Upload:
    """One upload, as raw requests make it; bucket and key are those of the target "/bucket/key"."""

    def __init__(self, raw, target, headers=(), upload_id=None):
        self.raw, self.target, self.named = raw, target, {}
        if upload_id is None:
            answer = raw.request("POST", target + "?uploads", None, headers)
            assert answer.status == 200, answer
            self.created, (upload_id,) = answer, texts(answer, "UploadId")
        self.id = upload_id

    def at(self, query=""):
        return f"{self.target}?{query}uploadId={self.id}"

    def put(self, number, data, headers=()):
        return self.raw.request("PUT", self.at(f"partNumber={number}&"), data, headers)

    def part(self, number, data, headers=()):
        """One that must succeed; remembered for complete()."""
        answer = self.put(number, data, headers)
        assert answer.status == 200, answer
        assert answer.header("ETag") == f'"{md5(data)}"'
        self.named[number] = f"<ETag>{answer.header('ETag')}</ETag>"
        return answer

    def copy(self, number, source, headers=(), timeout=http.TIMEOUT):
        return self.raw.request("PUT", self.at(f"partNumber={number}&"), None, [("x-amz-copy-source", source), *headers],
                                timeout=timeout)

    def xml(self, named=None):
        named = named or sorted(self.named.items())
        parts = "".join(f"<Part><PartNumber>{n}</PartNumber>{rest}</Part>" for n, rest in named)
        return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()

    def complete(self, named=None, headers=(), timeout=60):
        return self.raw.request("POST", self.at(), self.xml(named), headers, timeout=timeout)

    def abort(self):
        return self.raw.request("DELETE", self.at())

    def parts(self, query=""):
        return self.raw.request("GET", self.at(query))


def etag_of(*parts):
    return md5(b"".join(hashlib.md5(part).digest() for part in parts)) + f"-{len(parts)}"


def outcome(answer):
    """The code of an error, wherever it stands; else the ETag of the result."""
    root = ET.fromstring(answer.body.lstrip())
    if root.tag == "Error":
        return root.findtext("Code")
    assert answer.status == 200, answer
    return texts(http.Answer(200, "", [], answer.body.lstrip()), "ETag")[0].strip('"')


def spool(master):
    """What lies in the spool: {upload id: names}.  What goes while we look is not there."""
    root = str(master.db / "spool")
    return {os.path.basename(folder): sorted(names) for folder, _, names in os.walk(root) if folder != root}


def wait_clean(master):
    wait_until(lambda: spool(master) == {}, "the spool is empty")


@pytest.fixture
def server(make_s3):
    return make_s3(keys=False)


@pytest.fixture
def raw(server):
    return server.raw(None)


@pytest.fixture
def faulty(faulty_cluster):
    """A cluster whose volumes can be made slow; .raw speaks to its master."""
    cluster = faulty_cluster()
    cluster.raw = Raw(cluster.master.port, None)
    return cluster


# --- from the first part to the object


def test_parts_become_an_object(server, raw):
    parts = [bytes_of(PART, 1), bytes_of(PART + 12345, 2), b"the end"]
    upload = Upload(raw, "/bucket/some/key%20with%26", [("Content-Type", "text/x-parts"), ("x-amz-meta-colour", "blue"),
                                                     ("Cache-Control", "no-store")])
    for number in (7, 3, 9999):  # in any order: what counts is the numbers'
        upload.part(number, dict(zip((3, 7, 9999), parts))[number])
    assert server.master.keys() == []
    answer = upload.complete()
    assert (answer.status, outcome(answer)) == (200, etag_of(*parts))
    assert texts(answer, "Bucket") + texts(answer, "Key") == ["bucket", "some/key with&"]
    assert texts(answer, "Location") == ["http://test/bucket/some/key%20with%26"]
    assert server.master.read("/bucket/some/key with&") == b"".join(parts)
    head = raw.request("HEAD", upload.target)
    assert head.header("ETag") == f'"{etag_of(*parts)}"'
    assert (head.header("Content-Type"), head.header("x-amz-meta-colour"), head.header("Cache-Control")) == \
        ("text/x-parts", "blue", "no-store")
    for number, part in enumerate(parts, 1):
        piece = raw.get(f"{upload.target}?partNumber={number}")
        assert (piece.status, piece.header("x-amz-mp-parts-count")) == (206, "3")
        assert piece.body == part
    assert texts(raw.get("/bucket?uploads"), "Upload") == []
    wait_clean(server.master)


def test_with_boto3(s3):
    client = s3.boto3()
    client.create_bucket(Bucket="bucket")
    parts = [bytes_of(PART, 3), b"tail"]
    upload = client.create_multipart_upload(Bucket="bucket", Key="key", ChecksumAlgorithm="SHA256")["UploadId"]
    named = []
    for number, part in enumerate(parts, 1):
        answer = client.upload_part(Bucket="bucket", Key="key", UploadId=upload, PartNumber=number, Body=part,
                                    ChecksumAlgorithm="SHA256")
        assert answer["ChecksumSHA256"] == checksum("SHA256", part)
        named.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
    assert [p["ETag"] for p in client.list_parts(Bucket="bucket", Key="key", UploadId=upload)["Parts"]] == \
        [p["ETag"] for p in named]
    (listed,) = client.list_multipart_uploads(Bucket="bucket")["Uploads"]
    assert (listed["Key"], listed["UploadId"]) == ("key", upload)
    done = client.complete_multipart_upload(Bucket="bucket", Key="key", UploadId=upload, MultipartUpload={"Parts": named})
    assert done["ETag"] == f'"{etag_of(*parts)}"'
    assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == b"".join(parts)
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")


def test_one_empty_part(server, raw):
    upload = Upload(raw, "/bucket/empty")
    upload.part(1, b"")
    assert outcome(upload.complete()) == etag_of(b"")
    assert raw.request("HEAD", "/bucket/empty").header("Content-Length") == "0"


def test_the_numbers_end_at_10000(server, raw):
    upload = Upload(raw, "/bucket/key")
    for number in ("0", "10001", "-1", "x", ""):
        assert code(upload.put(number, b"x")) == "InvalidArgument", number
    first, last = bytes_of(PART), b"last"
    upload.part(1, first)
    upload.part(10000, last)
    assert outcome(upload.complete()) == etag_of(first, last)
    assert server.master.read("/bucket/key") == first + last


def test_parts_at_once(server, raw):
    parts = {n: bytes_of(PART + n, n) for n in range(1, 9)}
    upload = Upload(raw, "/bucket/key")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: upload.part(n, parts[n]), parts))
    assert outcome(upload.complete()) == etag_of(*parts.values())
    assert md5(server.master.read("/bucket/key")) == md5(b"".join(parts.values()))


def test_a_part_again(server, raw):
    """The later one counts, and the earlier one's file goes."""
    upload = Upload(raw, "/bucket/key")
    for data in (b"first", b"second", b"third"):
        upload.part(1, data)
        wait_until(lambda: len(spool(server.master)[upload.id]) == 1, "the replaced part's file is gone")
    assert outcome(upload.complete([(1, f"<ETag>{md5(b'first')}</ETag>")])) == "InvalidPart"
    assert outcome(upload.complete()) == etag_of(b"third")
    assert server.master.read("/bucket/key") == b"third"


def test_the_same_part_by_many_at_once(server, raw):
    upload = Upload(raw, "/bucket/key")
    values = [b"%d" % i * 1000 for i in range(16)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert {answer.status for answer in pool.map(lambda v: upload.put(1, v), values)} == {200}
    (etag,) = texts(upload.parts(), "ETag")
    assert etag.strip('"') in [md5(v) for v in values]
    assert outcome(upload.complete([(1, f"<ETag>{etag}</ETag>")])).endswith("-1")
    assert md5(server.master.read("/bucket/key")) == etag.strip('"')
    wait_clean(server.master)


# --- what is refused of a part


def refusals():
    wrong = checksum("CRC32", b"other")
    return [
        ("BadDigest", [("Content-MD5", base64.b64encode(hashlib.md5(b"other").digest()).decode())]),
        ("InvalidDigest", [("Content-MD5", "nonsense")]),
        ("BadDigest", [("x-amz-checksum-crc32", wrong)]),
        ("InvalidRequest", [("x-amz-checksum-sha256", checksum("SHA256", b"data"))]),  # not the upload's algorithm
        ("InvalidRequest", [("x-amz-checksum-crc32", "nonsense")]),
    ]


@pytest.mark.parametrize("wanted, headers", refusals())
def test_a_bad_part_leaves_nothing(server, raw, wanted, headers):
    upload = Upload(raw, "/bucket/key", [("x-amz-checksum-algorithm", "CRC32")])
    assert code(upload.put(1, b"data", headers)) == wanted
    assert texts(upload.parts(), "PartNumber") == []
    wait_until(lambda: not spool(server.master).get(upload.id), "nothing is left of it")


def test_a_part_whose_hash_is_signed(s3):
    raw = s3.raw()
    s3.make_bucket("bucket")
    upload = Upload(raw, "/bucket/key")
    target = upload.at("partNumber=1&")
    assert code(raw.request("PUT", target, b"data", (), sha256(b"other"))) == "XAmzContentSHA256Mismatch"
    assert texts(upload.parts(), "PartNumber") == []
    assert raw.put(target, b"data").status == 200
    assert code(s3.raw(LIMITED).put(target, b"data")) == "AccessDenied"


def test_a_part_in_aws_chunks(s3):
    raw = s3.raw()
    s3.make_bucket("bucket")
    upload = Upload(raw, "/bucket/key", [("x-amz-checksum-algorithm", "CRC32")])
    pieces = [bytes_of(100_000, 1), bytes_of(65536, 2)]
    data = b"".join(pieces)
    target = upload.at("partNumber=1&")
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    signed = raw.head("PUT", target, [("x-amz-decoded-content-length", str(len(data))), ("Content-Encoding", "aws-chunked"),
                                      ("x-amz-trailer", "x-amz-checksum-crc32")], kind)
    body = b"".join(signed.chunks(pieces, [("x-amz-checksum-crc32", checksum("CRC32", data))]))
    answer = http.request(raw.port, "PUT", target, body, signed.headers)
    assert (answer.status, answer.header("ETag")) == (200, f'"{md5(data)}"')
    assert texts(upload.parts(), "ChecksumCRC32") == [checksum("CRC32", data)]


def test_a_part_that_is_too_large(server, raw):
    upload = Upload(raw, "/bucket/key")
    with server.master.connect() as client:
        client.send_head("PUT", upload.at("partNumber=1&"), [("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                                                            ("Content-Length", str(5 * 1024 * MEGABYTE + 1))])
        assert code(client.answer()) == "EntityTooLarge"


def test_uploads_that_are_not_there(server, raw):
    upload = Upload(raw, "/bucket/key")
    upload.part(1, b"data")
    for other in (Upload(raw, "/bucket/other", upload_id=upload.id), Upload(raw, "/bucket/key", upload_id="0" * 32),
                  Upload(raw, "/bucket/key", upload_id="nonsense")):
        assert code(other.put(1, b"data")) == "NoSuchUpload"
        assert code(other.copy(1, "/bucket/key")) == "NoSuchUpload"
        assert code(other.parts()) == "NoSuchUpload"
        assert code(other.abort()) == "NoSuchUpload"
        assert outcome(other.complete(upload.named.items())) == "NoSuchUpload"
    assert texts(upload.parts(), "PartNumber") == ["1"]


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_goes_away_leaves_nothing(server, raw, how):
    upload = Upload(raw, "/bucket/key")
    client = server.master.connect()
    client.send_head("PUT", upload.at("partNumber=1&"), [("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                                                        ("Content-Length", str(3 * MEGABYTE))])
    client.send(bytes_of(2 * MEGABYTE))
    wait_until(lambda: spool(server.master).get(upload.id), "a file is being written")
    getattr(client, how)()
    wait_until(lambda: not spool(server.master).get(upload.id), "it is gone")
    assert texts(upload.parts(), "PartNumber") == []


# --- what is refused of a Complete


@pytest.fixture
def three(server, raw):
    """An upload of three parts, the second of which is too small to stand there."""
    upload = Upload(raw, "/bucket/key", [("x-amz-checksum-algorithm", "CRC32")])
    upload.data = {1: bytes_of(PART, 1), 2: b"small", 3: bytes_of(PART, 3)}
    for number, data in upload.data.items():
        upload.part(number, data)
    return upload


def completes():
    def crc(text):
        return f"<ChecksumCRC32>{text}</ChecksumCRC32>"
    return [
        ("InvalidPartOrder", lambda named: [(3, named[3]), (1, named[1])], ()),
        ("InvalidPartOrder", lambda named: [(1, named[1]), (1, named[1])], ()),
        ("InvalidPart", lambda named: [(1, named[1]), (4, named[3])], ()),
        ("InvalidPart", lambda named: [(1, named[3]), (3, named[3])], ()),
        ("InvalidPart", lambda named: [(1, "<ETag>nonsense</ETag>")], ()),
        ("InvalidPart", lambda named: [(1, named[1] + crc(checksum("CRC32", b"other")))], ()),
        ("InvalidPart", lambda named: [(1, named[1] + f"<ChecksumSHA1>{checksum('SHA1', b'')}</ChecksumSHA1>")], ()),
        ("EntityTooSmall", lambda named: [(1, named[1]), (2, named[2]), (3, named[3])], ()),
        ("MalformedXML", lambda named: [], ()),
        ("MalformedXML", lambda named: [(0, named[1])], ()),
        ("InvalidRequest", lambda named: [(1, named[1])], [("x-amz-mp-object-size", str(PART + 1))]),
        ("InvalidArgument", lambda named: [(1, named[1])], [("x-amz-mp-object-size", "x")]),
        ("InvalidRequest", lambda named: [(1, named[1])], [("x-amz-checksum-type", "FULL_OBJECT")]),
        ("InvalidRequest", lambda named: [(1, named[1])], [("x-amz-checksum-sha1", checksum("SHA1", b""))]),
        ("BadDigest", lambda named: [(1, named[1])], [("x-amz-checksum-crc32", checksum("CRC32", b"other"))]),
        ("NoSuchKey", lambda named: [(1, named[1])], [("If-Match", '"0123"')]),
    ]


def test_complete_refused(server, three):
    for wanted, choose, headers in completes():
        named = choose(three.named)
        body = three.xml(named) if named else b"<CompleteMultipartUpload></CompleteMultipartUpload>"
        answer = three.raw.request("POST", three.at(), body, headers)
        assert answer.status >= 400 and code(answer) == wanted, (wanted, named, answer)
    assert texts(three.parts(), "PartNumber") == ["1", "2", "3"]
    assert server.master.keys() == [] and server.cluster.files() == {}
    named = [(1, three.named[1]), (2, three.named[2])]
    good = [("x-amz-mp-object-size", str(PART + 5)), ("x-amz-checksum-type", "COMPOSITE")]
    assert outcome(three.complete(named, good)) == etag_of(three.data[1], three.data[2])
    assert server.master.read("/bucket/key") == three.data[1] + b"small"


def test_conditions(server, raw):
    def complete(*headers):
        upload = Upload(raw, "/bucket/key")
        upload.part(1, b"new")
        answer = upload.complete(headers=headers)
        if answer.status != 200:
            assert upload.abort().status == 204
        return code(answer) or answer.status

    assert complete(("If-Match", "*")) == "NoSuchKey"
    assert complete(("If-None-Match", "*")) == 200
    assert complete(("If-None-Match", "*")) == "PreconditionFailed"
    assert complete(("If-Match", '"0123"')) == "PreconditionFailed"
    assert complete(("If-Match", f'"{etag_of(b"new")}"')) == 200
    assert complete() == 200


# --- checksums


@pytest.mark.parametrize("kind", CHECKSUMS)
@pytest.mark.parametrize("how", ["COMPOSITE", "FULL_OBJECT"])
@pytest.mark.parametrize("sent", [True, False], ids=["sent", "taken"])
def test_checksums(server, raw, kind, how, sent):
    headers = [("x-amz-checksum-algorithm", kind), ("x-amz-checksum-type", how)]
    if (kind == "CRC64NVME") if how == "COMPOSITE" else kind.startswith("SHA"):
        assert code(raw.request("POST", "/bucket/key?uploads", None, headers)) == "InvalidRequest"
        return
    big = bytes(PART) if kind in ("CRC32C", "CRC64NVME") else bytes_of(PART, 5)
    parts = {1: b"only"} if kind in ("CRC32C", "CRC64NVME") else {1: big, 2: b"tail"}  # those are slow here
    header = "x-amz-checksum-" + kind.lower()
    upload = Upload(raw, "/bucket/key", headers)
    assert (upload.created.header("x-amz-checksum-algorithm"), upload.created.header("x-amz-checksum-type")) == (kind, how)
    for number, data in parts.items():
        own = checksum(kind, data)
        answer = upload.part(number, data, [(header, own)] if sent else [])
        assert answer.header(header) == own
        upload.named[number] += f"<Checksum{kind}>{own}</Checksum{kind}>"
    assert texts(upload.parts(), "Checksum" + kind) == [checksum(kind, data) for data in parts.values()]
    if how == "FULL_OBJECT":
        wanted = checksum(kind, b"".join(parts.values()))
    else:
        wanted = checksum(kind, b"".join(CHECKSUMS[kind](data) for data in parts.values())) + f"-{len(parts)}"
    answer = upload.complete(headers=[(header, wanted), ("x-amz-checksum-type", how)])
    assert outcome(answer) == etag_of(*parts.values())
    assert texts(answer, "Checksum" + kind) + texts(answer, "ChecksumType") == [wanted, how]
    head = raw.request("HEAD", "/bucket/key", None, [("x-amz-checksum-mode", "ENABLED")])
    assert (head.header(header), head.header("x-amz-checksum-type")) == (wanted, how)


@pytest.mark.parametrize("headers", [[("x-amz-checksum-algorithm", "MD5")], [("x-amz-checksum-type", "COMPOSITE")],
                                     [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "HALF")]])
def test_checksums_that_are_none(server, raw, headers):
    assert code(raw.request("POST", "/bucket/key?uploads", None, headers)) == "InvalidRequest"
    assert texts(raw.get("/bucket?uploads"), "Code") in (["NoSuchBucket"], [])


# --- a Complete that takes its time


def make_slow(cluster, seconds=0.05):
    for volume in cluster.faulty:
        volume.when(faults.slow(seconds), method="PUT")


def large(raw, target="/bucket/key"):
    """An upload that takes some seconds to complete where volumes are slow."""
    upload = Upload(raw, target)
    upload.data = [bytes_of(PART, 1), bytes_of(PART, 2)]
    for number, data in enumerate(upload.data, 1):
        upload.part(number, data)
    upload.etag = etag_of(*upload.data)
    return upload


def begin_complete(master, upload, headers=()):
    client = master.connect(timeout=60)
    body = upload.xml()
    client.send_head("POST", upload.at(), [("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), *headers,
                                           ("Content-Length", str(len(body)))])
    client.send(body)
    return client


def being_written(master, key="/bucket/key"):
    return master.keys(operation="writing") == [key]


def test_white_space_until_it_is_done(faulty):
    upload = large(faulty.raw)
    make_slow(faulty)
    began = time.monotonic()
    with begin_complete(faulty.master, upload) as client:
        while b"<?xml" not in client.buffer:  # the head, and the declaration, which must be first
            client._more()
        head_after = time.monotonic() - began
        answer = client.answer()
    assert head_after < 5 < time.monotonic() - began
    assert answer.status == 200 and b"?>\n " in answer.body
    assert outcome(answer) == upload.etag
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)
    wait_clean(faulty.master)


def test_an_error_in_the_body_and_then_again(faulty):
    """The volumes fail in the middle: the upload is as it was, and can be completed."""
    upload = large(faulty.raw)
    make_slow(faulty)
    with begin_complete(faulty.master, upload) as client:
        client._more()  # the head is out
        for volume in faulty.faulty:
            volume.break_connections()
        answer = client.answer()
    assert answer.status == 200
    assert outcome(answer) == "ServiceUnavailable"
    for volume in faulty.faulty:
        volume.clear()
    assert faulty.master.keys() == []
    assert texts(upload.parts(), "PartNumber") == ["1", "2"]
    wait_until(lambda: outcome(upload.complete()) == upload.etag, "it can be completed")
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)


def test_two_at_once_both_succeed(faulty):
    upload = large(faulty.raw)
    make_slow(faulty)
    with begin_complete(faulty.master, upload) as first, begin_complete(faulty.master, upload) as second:
        assert [outcome(client.answer()) for client in (first, second)] == [upload.etag] * 2
    assert faulty.master.keys() == ["/bucket/key"]
    puts = [path for volume in faulty.faulty for path in volume.seen("PUT")]
    assert len(puts) == 3  # it was written once


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_goes_away_meanwhile(faulty, how):
    """The work goes on to its end."""
    upload = large(faulty.raw)
    make_slow(faulty, 0.02)
    client = begin_complete(faulty.master, upload)
    wait_until(lambda: being_written(faulty.master), "it is being written")
    getattr(client, how)()
    wait_until(lambda: faulty.master.keys() == ["/bucket/key"], "the object is there")
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)
    wait_clean(faulty.master)
    assert outcome(upload.complete()) == upload.etag  # its client asks again


def test_abort_meanwhile(faulty):
    """It waits for the end, which is that there is nothing to abort."""
    upload = large(faulty.raw)
    make_slow(faulty, 0.02)
    with begin_complete(faulty.master, upload) as client:
        wait_until(lambda: being_written(faulty.master), "it is being written")
        assert code(upload.abort()) == "NoSuchUpload"
        assert outcome(client.answer()) == upload.etag
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)


def test_a_part_again_meanwhile(faulty):
    """What the Complete has chosen stays until it has read it."""
    upload = large(faulty.raw)
    make_slow(faulty, 0.02)
    with begin_complete(faulty.master, upload) as client:
        wait_until(lambda: being_written(faulty.master), "it is being written")
        assert upload.put(2, b"another").status == 200
        assert outcome(client.answer()) == upload.etag
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)
    wait_clean(faulty.master)


def test_a_busy_key(faulty):
    """A conditional Complete says so at once, any other one waits."""
    upload = large(faulty.raw)
    make_slow(faulty, 0.02)
    writer = threading.Thread(target=lambda: faulty.raw.request("PUT", "/bucket/key", bytes_of(PART)))
    writer.start()
    wait_until(lambda: being_written(faulty.master), "somebody else writes the key")
    assert code(upload.complete(headers=[("If-None-Match", "*")])) == "ConditionalRequestConflict"
    assert outcome(upload.complete()) == upload.etag
    writer.join()
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)


def test_stopped_meanwhile(faulty):
    """A master that is told to stop finishes what it can, and leaves what it can not."""
    upload = large(faulty.raw)
    make_slow(faulty, 0.3)  # longer than a master waits
    client = begin_complete(faulty.master, upload)
    wait_until(lambda: being_written(faulty.master), "it is being written")
    client.close()
    faulty.master.stop_cleanly()
    for volume in faulty.faulty:
        volume.clear()
    faulty.restart_master()
    assert faulty.master.keys() == []
    wait_until(lambda: outcome(upload.complete()) == upload.etag, "it can be completed")
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)


# --- again


def test_complete_again(server, raw):
    upload = large(raw)
    first = upload.complete()
    again = upload.complete()
    assert (again.status, again.body) == (200, first.body)
    other = [(1, upload.named[1])]
    assert code(upload.complete(other)) == "NoSuchUpload"
    assert raw.request("PUT", "/bucket/key", b"something else").status == 200
    assert code(upload.complete()) == "NoSuchUpload"
    assert server.master.read("/bucket/key") == b"something else"


# --- a bucket that goes


def test_uploads_go_with_their_bucket(server, raw):
    assert raw.request("PUT", "/bucket").status == 200
    uploads = [Upload(raw, f"/bucket/{name}") for name in ("a", "b", "b", "k" * 1000)]
    other = Upload(raw, "/bucket2/a")
    for upload in [*uploads, other]:
        upload.part(1, b"data")
    assert raw.request("DELETE", "/bucket").status == 204
    wait_until(lambda: list(spool(server.master)) == [other.id], "their parts are gone")
    assert raw.request("PUT", "/bucket").status == 200
    assert texts(raw.get("/bucket?uploads"), "Upload") == []
    assert outcome(uploads[0].complete()) == "NoSuchUpload"
    assert outcome(other.complete()) == etag_of(b"data")


# --- abort, expiry


def test_abort(server, raw):
    upload = Upload(raw, "/bucket/key")
    upload.part(1, b"data")
    client = server.master.connect()
    client.send_head("PUT", upload.at("partNumber=2&"), [("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                                                        ("Content-Length", str(3 * MEGABYTE))])
    client.send(bytes_of(2 * MEGABYTE))
    wait_until(lambda: len(spool(server.master)[upload.id]) == 2, "a second part is on its way")
    assert upload.abort().status == 204
    try:
        client.send(bytes_of(MEGABYTE))
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused early: the answer is there to be read
    assert code(client.answer()) == "NoSuchUpload"
    client.close()
    assert code(upload.abort()) == "NoSuchUpload"
    assert code(upload.put(1, b"data")) == "NoSuchUpload"
    assert outcome(upload.complete()) == "NoSuchUpload"
    assert texts(raw.get("/bucket?uploads"), "Upload") == []
    wait_clean(server.master)


def test_old_uploads_go(make_s3):
    server = make_s3("-multipart-expiry", "3s", keys=False)
    raw = server.raw(None)
    old = [Upload(raw, f"/bucket/old{i}") for i in range(5)]
    for upload in old:
        upload.part(1, b"data")
    wait_until(lambda: texts(raw.get("/bucket?uploads"), "Upload") == [], "they have expired", 15)
    wait_clean(server.master)
    assert "multipart-expiry" in server.master.errors()
    young = Upload(raw, "/bucket/young")
    young.part(1, b"data")
    assert outcome(young.complete()) == etag_of(b"data")


def test_a_key_forges_no_line_of_the_log(make_s3):
    server = make_s3("-v", "-multipart-expiry", "2s", keys=False)
    upload = Upload(server.raw(None), "/photos/a%0Aforged%20line%0d")
    assert outcome(upload.complete([(1, f"<ETag>{'0' * 32}</ETag>")])) == "InvalidPart"
    wait_until(lambda: "has expired" in server.master.errors(), "it expires")
    said = [line for line in server.master.errors().splitlines() if "forged" in line and " s3: " in line]
    assert len(said) == 2 and all(r"/photos/a\x0aforged line\x0d" in line for line in said), said


def test_old_uploads_go_at_start(make_s3):
    server = make_s3("-multipart-expiry", "1000h", keys=False)
    upload = Upload(server.raw(None), "/bucket/key")
    upload.part(1, b"data")
    server.master.stop_cleanly()
    time.sleep(1.1)
    master = server.cluster.restart_master("-multipart-expiry", "1s")
    wait_until(lambda: texts(server.raw(None).get("/bucket?uploads"), "Upload") == [], "it has expired")
    wait_clean(master)


def test_uploads_of_a_deleted_bucket_go(make_s3):
    server = make_s3("-multipart-expiry", "30s")  # looked for every three seconds
    raw = server.raw()
    for bucket in ("bucket", "other"):
        server.make_bucket(bucket)
    kept, forsaken = Upload(raw, "/other/key"), Upload(raw, "/bucket/key")
    for upload in (kept, forsaken):
        upload.part(1, b"data")
    assert raw.request("DELETE", "/bucket").status == 204
    wait_until(lambda: list(spool(server.master)) == [kept.id], "the bucket's upload is gone", 15)
    server.make_bucket("bucket")
    assert texts(raw.get("/bucket?uploads"), "Upload") == []
    assert texts(kept.parts(), "PartNumber") == ["1"]


# --- buckets


def test_a_bucket_that_goes_meanwhile(s3):
    raw = s3.raw()
    s3.make_bucket("bucket")
    upload = Upload(raw, "/bucket/key")
    upload.part(1, b"data")
    assert raw.request("DELETE", "/bucket").status == 204
    assert outcome(upload.complete()) == "NoSuchBucket"
    assert code(upload.put(2, b"data")) == "NoSuchBucket"
    assert code(raw.request("POST", "/bucket/key?uploads")) == "NoSuchBucket"
    assert s3.records() == {}


def test_a_bucket_that_goes_in_the_middle(faulty):
    upload = large(faulty.raw)
    make_slow(faulty, 0.02)
    with begin_complete(faulty.master, upload) as client:
        wait_until(lambda: being_written(faulty.master), "it is being written")
        assert faulty.raw.request("DELETE", "/bucket").status == 204
        assert outcome(client.answer()) == "NoSuchBucket"
    assert faulty.master.keys() == []
    wait_until(lambda: faulty.files() == {}, "nothing stays on the volumes")


def test_a_bucket_comes_into_being(server, raw):
    assert code(raw.get("/fresh?uploads")) == "NoSuchBucket"
    Upload(raw, "/fresh/key")
    assert len(texts(raw.get("/fresh?uploads"), "UploadId")) == 1
    assert code(raw.request("POST", "/No_Name/key?uploads")) == "InvalidBucketName"
    assert code(raw.request("POST", "/fresh/" + "k" * 1025 + "?uploads")) == "KeyTooLongError"


# --- listings


def pages(raw, query, names):
    """Every page of ListMultipartUploads: [(Key, UploadId) or prefix] in the order of the answers, and their number."""
    found, count, markers = [], 0, ""
    while True:
        answer = raw.get(f"/bucket?uploads&{query}{markers}")
        assert answer.status == 200, answer
        count += 1
        root = ET.fromstring(answer.body)
        space = root.tag.partition("}")[0] + "}"
        entries = [(u.findtext(space + "Key"), u.findtext(space + "UploadId")) for u in root.findall(space + "Upload")]
        entries += [(p.findtext(space + "Prefix"), "") for p in root.findall(space + "CommonPrefixes")]
        found += sorted(entries)
        if root.findtext(space + "IsTruncated") == "false":
            return found, count
        assert entries, "an empty page that is not the last"
        markers = "&key-marker=" + urllib.parse.quote(root.findtext(space + "NextKeyMarker"), safe="")
        if root.findtext(space + "NextUploadIdMarker"):
            markers += "&upload-id-marker=" + root.findtext(space + "NextUploadIdMarker")


def model(uploads, prefix="", delimiter=""):
    shown = set()
    for key, upload_id in uploads:
        if not key.startswith(prefix):
            continue
        head, found, _ = key[len(prefix):].partition(delimiter) if delimiter else (key, "", "")
        shown.add((prefix + head + delimiter, "") if found else (key, upload_id))
    return sorted(shown, key=lambda entry: (entry[0].encode(), entry[1]))


def test_list_uploads(server, raw):
    names = ["a", "a", "a", "a/1", "a/2", "a/2", "a/b/3", "b", "photos/2026/x", "photos/2026/y", "photos/z", "ü", "z&<>"]
    names += ["long/" + "x" * 600 + end for end in ("1", "2", "3")]
    uploads = [(name, Upload(raw, "/bucket/" + http.encode(name)).id) for name in names]
    Upload(raw, "/bucket2/elsewhere")
    Upload(raw, "/bucke/elsewhere")
    for prefix in ("", "a", "a/", "photos/", "long/", "none"):
        for delimiter in ("", "/", "2", "photos/"):
            for most in ("", "1", "2", "3", "1000"):
                query = f"prefix={prefix}&delimiter={delimiter}" + (f"&max-uploads={most}" if most else "")
                found, count = pages(raw, query, names)
                wanted = model(uploads, prefix, delimiter)
                assert found == wanted, query
                assert count == max(1, -(-len(wanted) // int(most or 1000))), query


def test_list_many_uploads_of_long_keys(server, raw):
    """They lie in the index in no order, and more of them than are taken from it at once."""
    names = ["x" * 500 + f"{i % 7}{'/' if i % 7 < 5 else '-'}{i:03}" for i in range(700)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        uploads = list(pool.map(lambda name: (name, Upload(raw, "/bucket/" + name).id), names))
    for prefix in ("", "x" * 500 + "3"):
        for delimiter in ("", "/"):
            wanted = model(uploads, prefix, delimiter)
            for most in (9, 300, 1000):
                found, count = pages(raw, f"prefix={prefix}&delimiter={delimiter}&max-uploads={most}", names)
                assert found == wanted and count == -(-len(wanted) // most), (prefix, delimiter, most)


def test_list_uploads_details(server, raw):
    upload = Upload(raw, "/bucket/" + http.encode("kéy +&"), [("x-amz-storage-class", "STANDARD_IA"),
                                                         ("x-amz-checksum-algorithm", "CRC32")])
    answer = raw.get("/bucket?uploads&encoding-type=url")
    assert texts(answer, "Key") == ["k%C3%A9y%20%2B%26"]
    assert texts(answer, "UploadId") == [upload.id]
    assert [texts(answer, name)[0] for name in ("StorageClass", "ChecksumAlgorithm", "ChecksumType", "EncodingType")] == \
        ["STANDARD_IA", "CRC32", "COMPOSITE", "url"]
    for query in ("max-uploads=x", "max-uploads=-1", "encoding-type=base64", "prefix=%zz",
                  "key-marker=a&upload-id-marker=nonsense"):
        assert code(raw.get("/bucket?uploads&" + query)) == "InvalidArgument", query
    answer = raw.get("/bucket?uploads&max-uploads=0")
    assert texts(answer, "Upload") == [] and texts(answer, "IsTruncated") == ["false"]


def test_list_parts(server, raw):
    upload = Upload(raw, "/bucket/key")
    numbers = sorted(random.Random(1).sample(range(1, 10001), 25))
    for number in numbers:
        upload.part(number, b"%d" % number)
    for most in (1, 7, 25, 1000, 5000):
        found, marker = [], 0
        while True:
            answer = upload.parts(f"max-parts={most}&part-number-marker={marker}&")
            page = [int(number) for number in texts(answer, "PartNumber")]
            assert len(page) <= most
            assert texts(answer, "ETag") == [f'"{md5(b"%d" % number)}"' for number in page]
            assert texts(answer, "Size") == [str(len(str(number))) for number in page]
            found += page
            if texts(answer, "IsTruncated") == ["false"]:
                break
            (marker,) = texts(answer, "NextPartNumberMarker")
            assert int(marker) == page[-1]
        assert found == numbers
    for query in ("max-parts=x&", "part-number-marker=x&", "max-parts=-1&"):
        assert code(upload.parts(query)) == "InvalidArgument"


@pytest.mark.slow
def test_very_many_parts(server, raw):
    """Pages of a thousand, each at once; a Complete of them all, which is refused, holds nobody up either."""
    count = 1500 if SANITIZED else 10000
    upload = Upload(raw, "/bucket/key")

    def some(first):
        with server.master.connect() as client:
            for number in range(first, count + 1, 16):
                answer = client.request("PUT", upload.at(f"partNumber={number}&"), b"x",
                                        [("x-amz-content-sha256", "UNSIGNED-PAYLOAD")])
                assert answer.status == 200
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(some, range(1, 17)))
    began = time.monotonic()
    found, marker = 0, 0
    while True:
        answer = upload.parts(f"part-number-marker={marker}&")
        found += len(texts(answer, "PartNumber"))
        if texts(answer, "IsTruncated") == ["false"]:
            break
        (marker,) = texts(answer, "NextPartNumberMarker")
    assert found == count
    assert (time.monotonic() - began) / (count / 1000) < (5 if SANITIZED else 1)
    named = [(number, f"<ETag>{md5(b'x')}</ETag>") for number in range(1, count + 1)]
    assert outcome(upload.complete(named)) == "EntityTooSmall"
    named[0] = (1, f"<ETag>{md5(b'y')}</ETag>")
    assert outcome(upload.complete(named)) == "InvalidPart"
    assert upload.abort().status == 204
    wait_clean(server.master)


# --- parts that are copies


@pytest.fixture
def source(server, raw):
    data = bytes_of(PART + 1000, 9)
    assert raw.request("PUT", "/other/so%20urce", data).status == 200
    return data


def test_part_copies(server, raw, source):
    upload = Upload(raw, "/bucket/key", [("x-amz-checksum-algorithm", "SHA256")])
    data = [source, source[100:PART + 200], source[-1:]]
    ranges = [None, f"bytes=100-{PART + 199}", f"bytes={len(source) - 1}-{len(source) - 1}"]
    for number, (part, wanted) in enumerate(zip(data, ranges), 1):
        answer = upload.copy(number, "/other/so%20urce", [("x-amz-copy-source-range", wanted)] if wanted else [])
        assert answer.status == 200, answer
        assert texts(answer, "ETag") == [f'"{md5(part)}"']
        assert texts(answer, "ChecksumSHA256") == [checksum("SHA256", part)]
        upload.named[number] = f"<ETag>{md5(part)}</ETag>"
    assert outcome(upload.complete()) == etag_of(*data)
    assert server.master.read("/bucket/key") == b"".join(data)


def test_part_copies_refused(server, raw, source):
    upload = Upload(raw, "/bucket/key")
    past = "Thu, 01 Jan 2015 00:00:00 GMT"
    for wanted, name, headers in (
            ("NoSuchKey", "other/absent", ()),
            ("NoSuchBucket", "absent/key", ()),
            ("InvalidArgument", "nonsense", ()),
            ("InvalidArgument", "other/so%20urce", [("x-amz-copy-source-range", "bytes=5-")]),
            ("InvalidRange", "other/so%20urce", [("x-amz-copy-source-range", f"bytes=0-{len(source)}")]),
            ("PreconditionFailed", "other/so%20urce", [("x-amz-copy-source-if-match", '"0123"')]),
            ("PreconditionFailed", "other/so%20urce", [("x-amz-copy-source-if-none-match", f'"{md5(source)}"')]),
            ("PreconditionFailed", "other/so%20urce", [("x-amz-copy-source-if-unmodified-since", past)])):
        assert code(upload.copy(1, name, headers)) == wanted, (wanted, name, headers)
    assert code(upload.copy(0, "other/so%20urce")) == "InvalidArgument"
    assert texts(upload.parts(), "PartNumber") == []
    assert upload.copy(1, "other/so%20urce", [("x-amz-copy-source-if-match", f'"{md5(source)}"')]).status == 200


def test_part_copies_need_the_right_to_read(s3):
    admin = s3.raw()
    for bucket in ("limited", "secret"):
        s3.make_bucket(bucket)
        assert admin.put(f"/{bucket}/key", b"data").status == 200
    upload = Upload(s3.raw(LIMITED), "/limited/new")
    assert code(upload.copy(1, "/secret/key")) == "AccessDenied"
    assert upload.copy(1, "/limited/key").status == 200
    assert code(s3.raw(READER).request("POST", "/limited/new?uploads")) == "AccessDenied"
    assert code(s3.raw(READER).request("POST", upload.at(), upload.xml([(1, "<ETag>x</ETag>")]))) == "AccessDenied"


def test_a_part_copy_of_a_value_that_goes(faulty):
    """The source's volumes fail in the middle: the client hears it, and nothing is left."""
    assert faulty.raw.request("PUT", "/bucket/source", bytes_of(PART)).status == 200
    upload = Upload(faulty.raw, "/bucket/key")
    for volume in faulty.faulty:
        volume.when(faults.answer(500), method="GET")
    assert upload.copy(1, "/bucket/source").status >= 500
    assert texts(upload.parts(), "PartNumber") == []
    wait_until(lambda: not spool(faulty.master).get(upload.id), "nothing is left of it")
    for volume in faulty.faulty:
        volume.clear()
    wait_until(lambda: upload.copy(1, "/bucket/source").status == 200, "it can be copied")


def test_a_slow_part_copy(faulty_cluster):
    """200 goes out after a moment, and the result is in the body."""
    cluster = faulty_cluster("-voltimeout", "20s")
    raw = Raw(cluster.master.port, None)
    assert raw.request("PUT", "/bucket/source", b"data").status == 200
    upload = Upload(raw, "/bucket/key")

    def late(exchange):
        time.sleep(6.5)
        faults.forward(exchange)
    for volume in cluster.faulty:
        volume.when(late, method="GET")
    answer = upload.copy(1, "/bucket/source", timeout=60)
    assert (answer.status, answer.header("Transfer-Encoding"), outcome(answer)) == (200, "chunked", md5(b"data"))
    for volume in cluster.faulty:
        volume.clear()
        volume.when(lambda exchange: (time.sleep(6.5), faults.answer(500)(exchange)), method="GET")
    answer = upload.copy(2, "/bucket/source", timeout=60)
    assert answer.status == 200 and outcome(answer) not in (None, md5(b"data"))
    assert texts(upload.parts(), "PartNumber") == ["1"]


# --- memory, and the end of the process


@pytest.mark.slow
def test_memory_is_bounded(server, raw):
    size = (100 if SANITIZED else 500) * MEGABYTE
    part = 10 * MEGABYTE
    data = bytes_of(part, 4)
    upload = Upload(raw, "/bucket/key")
    before = server.master.memory_kb("VmHWM")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: upload.part(n, data), range(1, size // part + 1)))
    assert outcome(upload.complete(timeout=300)) == etag_of(*[data] * (size // part))
    grown = server.master.memory_kb("VmHWM") - before
    print(f"grew by {grown} KB")
    if not SANITIZED:  # whose allocator keeps what was freed
        assert grown < 48 * 1024
    assert raw.request("HEAD", "/bucket/key").header("Content-Length") == str(size)


def test_uploads_survive_a_restart(server, raw):
    upload = large(raw)
    server.master.stop_cleanly()
    server.cluster.restart_master()
    assert texts(upload.parts(), "ETag") == [f'"{md5(data)}"' for data in upload.data]
    assert outcome(upload.complete()) == upload.etag
    assert server.cluster.master.read("/bucket/key") == b"".join(upload.data)
    wait_clean(server.cluster.master)


def test_killed_in_the_middle(faulty):
    """Of a part, and of a Complete: the upload is there with the parts that were acknowledged."""
    upload = large(faulty.raw)
    make_slow(faulty, 0.02)
    clients = [begin_complete(faulty.master, upload), faulty.master.connect()]
    clients[1].send_head("PUT", upload.at("partNumber=3&"), [("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                                                            ("Content-Length", str(3 * MEGABYTE))])
    clients[1].send(bytes_of(2 * MEGABYTE))
    wait_until(lambda: being_written(faulty.master) and len(spool(faulty.master)[upload.id]) == 3, "both are under way")
    faulty.master.kill()
    for client in clients:
        client.close()
    for volume in faulty.faulty:
        volume.clear()
    faulty.restart_master()
    assert faulty.master.keys() == []
    assert texts(upload.parts(), "PartNumber") == ["1", "2"]
    assert len(spool(faulty.master)[upload.id]) == 2  # the sweep took the half-written one
    wait_until(lambda: outcome(upload.complete()) == upload.etag, "it can be completed")
    assert faulty.master.read("/bucket/key") == b"".join(upload.data)
    wait_clean(faulty.master)


def test_killed_between_object_and_upload(server, raw):
    """The object is there, and so is its upload: the same Complete only takes the upload away."""
    upload = large(raw)
    assert server.master.put("/bucket/key", b"".join(upload.data)).status == 201
    server.master.stop_cleanly()
    (line,) = [line for line in map(json.loads, index(server.master.db, "dump").expect(0).text.splitlines())
               if line.get("key") == "/bucket/key"]
    line["fields"] = {"9": upload.etag.encode().hex(), "13": upload.id}
    index(server.master.db, "-force", "load", stdin=json.dumps(line).encode()).expect(0)
    master = server.cluster.restart_master()
    raw = server.raw(None)
    assert texts(raw.get("/bucket?uploads"), "UploadId") == [upload.id]
    upload.raw = raw
    assert outcome(upload.complete(headers=[("If-None-Match", "*")])) == upload.etag
    assert texts(raw.get("/bucket?uploads"), "Upload") == []
    wait_clean(master)
    assert "~" not in master.get("/bucket/key").header("Location")  # it was not written again
    assert outcome(upload.complete()) == upload.etag


ROUNDS = int(os.environ.get("MKV_CRASH_ROUNDS", "3" if SANITIZED else "8"))


class Client(threading.Thread):
    """Uploads one object after another until the master is gone; the ledger says what was acknowledged."""

    def __init__(self, number, port, seed):
        super().__init__()
        self.name, self.raw, self.chance = f"k{number}", Raw(port, None), random.Random(seed)
        self.uploads, self.complaints = [], []

    def run(self):
        try:
            for i in range(1000):
                self.one(f"/bucket/{self.name}-{self.chance.getrandbits(40):x}")
        except (OSError, http.Closed):
            pass  # killed: what was being asked for is in doubt
        except AssertionError as error:
            self.complaints.append(error)

    def one(self, target):
        upload = Upload(self.raw, target)
        upload.data = {n: bytes_of(size, self.chance.random()) for n, size in ((1, PART), (2, 300_000))}
        upload.acknowledged, upload.completed = set(), False
        self.uploads.append(upload)
        for number, data in upload.data.items():
            upload.named[number] = f"<ETag>{md5(data)}</ETag>"
            answer = upload.put(number, data)
            assert answer.status == 200, answer
            upload.acknowledged.add(number)
        assert outcome(upload.complete()) == etag_of(*upload.data.values())
        upload.completed = True


def check_after_crash(master, upload):
    """The upload, or the object: never half of it, and nothing that was acknowledged is lost."""
    key = upload.target
    whole = b"".join(upload.data.values())
    value = master.read(key)
    assert value in (None, whole), f"{key}: half an object"
    assert value is not None or not upload.completed, f"{key}: completed, and lost"
    answer = upload.parts()
    if answer.status == 404:
        assert value is not None, f"{key}: neither upload nor object"
    else:
        assert upload.acknowledged <= {int(number) for number in texts(answer, "PartNumber")}
        for number in set(upload.data) - {int(number) for number in texts(answer, "PartNumber")}:
            upload.part(number, upload.data[number])
    assert outcome(upload.complete()) == etag_of(*upload.data.values())  # also where it is the second time
    assert master.read(key) == whole


@pytest.mark.slow
def test_killed_at_random_moments(server):
    seed = int(os.environ.get("MKV_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"MKV_SEED={seed}")
    chance, completed = random.Random(seed), 0
    for number in range(ROUNDS):
        master = server.cluster.master
        clients = [Client(i, master.port, chance.getrandbits(64)) for i in range(4)]
        for client in clients:
            client.start()
        time.sleep(chance.uniform(0.1, 3 if SANITIZED else 1))  # the random moment
        master.kill()
        for client in clients:
            client.join(60)
            assert not client.is_alive() and not client.complaints, client.complaints
        master = server.cluster.restart_master()
        known = set(texts(server.raw(None).get("/bucket?uploads"), "UploadId"))
        assert set(spool(master)) <= known, "the sweep left what no upload names"
        assert not [name for names in spool(master).values() for name in names if name.endswith("~")]
        listed = set(master.keys())
        for upload in (upload for client in clients for upload in client.uploads):
            completed += upload.completed
            assert upload.target in listed or not upload.completed
            check_after_crash(master, upload)
        for client in clients:
            for upload in client.uploads:
                assert master.delete(upload.target).status == 204
        leftovers = [u for u in texts(server.raw(None).get("/bucket?uploads"), "UploadId")]
        assert len(leftovers) <= 4  # created, and the client never heard
        for key, upload_id in zip(texts(server.raw(None).get("/bucket?uploads"), "Key"), leftovers):
            assert Upload(server.raw(None), "/bucket/" + key, upload_id=upload_id).abort().status == 204
        wait_clean(master)
    wait_until(lambda: server.cluster.files() == {}, "the volumes are empty", 30)
    print(f"{completed} uploads were completed in {ROUNDS} rounds")
