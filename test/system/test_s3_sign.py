"""Who may do what under -keys: what is not signed, wrongly signed or not allowed is refused with the right code, and
leaves nothing behind, neither in the index nor on a volume."""
import base64
import hashlib
import hmac
import os
import signal
import subprocess
import time

import pytest

from mkvtest import http
from mkvtest import s3 as tools
from mkvtest.cluster import BIN, free_port, wait_until
from mkvtest.s3 import (ADMIN, EMPTY, LIMITED, NOBODY, OTHER, READER, STREAMING, STREAMING_TRAILER, UNSIGNED,
                        UNSIGNED_TRAILER, Key, Raw, Signer, checksum, code, md5_base64, sha256, texts, unsigned_chunks)

OLD, NEW = "/photos/old", "/photos/new"
BEFORE = b"what was there before"
BODY = bytes(range(256)) * 800  # several chunks
PIECES = [BODY[:65536], BODY[65536:131072], BODY[131072:]]


@pytest.fixture
def photos(s3):
    """A bucket with an object in it, and the bucket that LIMITED and READER may use."""
    s3.make_bucket("photos")
    s3.make_bucket("limited")
    assert s3.raw().put(OLD, BEFORE).status == 200
    assert s3.raw().put("/limited/own", BEFORE).status == 200
    return s3


def change(headers, name, value):
    """The headers with another value for one of them; None takes it away."""
    kept = [(n, value if n.lower() == name.lower() else v) for n, v in headers]
    return [(n, v) for n, v in kept if v is not None]


def check_refused(server, rows):
    """rows: (what it is, a function of the target that returns the answer, status, code)"""
    before = server.state()
    complaints = []
    for what, ask, status, expected in rows:
        for target in (OLD, NEW):
            answer = ask(target)
            if (answer.status, code(answer)) != (status, expected):
                complaints.append(f"{what}, {target}: {answer.status} {code(answer)}, not {status} {expected}")
        if server.state() != before:
            complaints.append(f"{what}: something changed")
            before = server.state()
    assert not complaints, "\n".join(complaints)
    assert [v.temporary_files() for v in server.cluster.volumes] == [[], [], []]


def send(server, method, target, body, headers):
    return http.request(server.port, method, target, body, headers)


# --- the head


def test_wrong_and_missing_signatures(photos):
    def altered(target):
        headers = photos.raw().head("PUT", target, payload=sha256(BODY)).headers
        last = headers[-1][1]
        return send(photos, "PUT", target, BODY, headers[:-1] + [("Authorization", last[:-1] + "01"[last[-1] == "0"])])

    def with_authorization(value, **more):
        def ask(target):
            headers = photos.raw().head("PUT", target, payload=sha256(BODY)).headers
            return send(photos, "PUT", target, BODY, change(headers, "Authorization", value) + list(more.items()))
        return ask

    def twice(target):
        headers = photos.raw().head("PUT", target, payload=sha256(BODY)).headers
        return send(photos, "PUT", target, BODY, headers + [headers[-1]])

    def put_as(key, **options):
        return lambda target: photos.raw(key, **options).put(target, BODY)

    check_refused(photos, [
        ("not signed, but S3", put_as(None), 403, "AccessDenied"),
        ("a key that nobody has", put_as(NOBODY), 403, "InvalidAccessKeyId"),
        ("another secret", put_as(Key(ADMIN.access, OTHER.secret)), 403, "SignatureDoesNotMatch"),
        ("one digit of the signature", altered, 403, "SignatureDoesNotMatch"),
        ("a clock that is slow", put_as(ADMIN, skew=-16 * 60), 403, "RequestTimeTooSkewed"),
        ("a clock that is fast", put_as(ADMIN, skew=16 * 60), 403, "RequestTimeTooSkewed"),
        ("two signatures", twice, 400, "InvalidArgument"),
        ("no signature at all, but its headers", with_authorization(None), 403, "AccessDenied"),
        ("another kind of authorization", with_authorization("Basic dXNlcjpwYXNz"), 400, "InvalidArgument"),
        ("an empty authorization", with_authorization("AWS4-HMAC-SHA256 Credential="), 400, "AuthorizationHeaderMalformed"),
        ("version 2, wrong", with_authorization(f"AWS {ADMIN.access}:AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 403,
         "SignatureDoesNotMatch"),
    ])
    for skew in (-14 * 60, 14 * 60):
        assert photos.raw(skew=skew).get(OLD).body == BEFORE
    for region in ("us-east-1", "eu-central-1", "anything"):
        assert photos.raw(region=region).get(OLD).body == BEFORE


def test_replayed_with_a_change(photos):
    def replay(name, value=None, method="PUT", aim=None, body=BODY, extra=()):
        def ask(target):
            sent = [("Content-Type", "text/plain"), ("x-amz-meta-a", "1"), ("x-amz-storage-class", "STANDARD")]
            headers = photos.raw().head("PUT", target, sent, sha256(BODY)).headers
            if name:
                headers = change(headers, name, value)
            return send(photos, method, aim(target) if aim else target, body, [*headers, *extra])
        return ask

    different = "SignatureDoesNotMatch"
    check_refused(photos, [
        ("another value of metadata", replay("x-amz-meta-a", "2"), 403, different),
        ("metadata taken away", replay("x-amz-meta-a"), 403, different),
        ("another type", replay("Content-Type", "text/html"), 403, different),
        ("another host", replay("Host", "elsewhere"), 403, different),
        ("another date", replay("x-amz-date", tools.Signer(ADMIN, skew=60)._now()), 403, different),
        ("another hash", replay("x-amz-content-sha256", sha256(b"x"), body=b"x"), 403, different),
        ("no hash", replay("x-amz-content-sha256", UNSIGNED, body=b"x"), 403, different),
        ("another method", replay(None, method="DELETE", body=None), 403, different),
        ("another key", replay(None, aim=lambda target: target + "2"), 403, different),
        ("another bucket", replay(None, aim=lambda target: target.replace("photos", "limited")), 403, different),
        ("a query added", replay(None, aim=lambda target: target + "?tagging"), 403, different),
        ("metadata added", replay(None, extra=[("x-amz-meta-b", "2")]), 403, "AccessDenied"),
        ("a source to copy added", replay(None, extra=[("x-amz-copy-source", OLD)]), 403, "AccessDenied"),
        ("another body", replay(None, body=BODY[:-1] + b"!"), 400, "XAmzContentSHA256Mismatch"),
        ("a shorter body", replay(None, body=BODY[:-1]), 400, "XAmzContentSHA256Mismatch"),
    ])


def test_presigned(photos):
    def url(method="PUT", change_url=lambda url: url, key=ADMIN, body=b"new", sent="PUT", headers=(), **options):
        def ask(target):
            seconds = options.pop("seconds", 60)
            target = change_url(Signer(key, **options).presign(method, target, seconds, headers))
            options["seconds"] = seconds
            return send(photos, sent, target, body, [("Host", "test")])
        return ask

    def without(parameter):
        def cut(url):
            path, _, query = url.partition("?")
            return path + "?" + "&".join(p for p in query.split("&") if not p.startswith(parameter + "="))
        return cut

    malformed = "AuthorizationQueryParametersError"
    check_refused(photos, [
        ("expired", url(seconds=10, skew=-60), 403, "AccessDenied"),
        ("not valid yet", url(skew=3600), 403, "AccessDenied"),
        ("for reading", url("GET"), 403, "SignatureDoesNotMatch"),
        ("for a longer time", url(change_url=lambda u: u.replace("Expires=60", "Expires=600")), 403, "SignatureDoesNotMatch"),
        ("for another key", url(change_url=lambda u: u.replace("?", "x?", 1)), 403, "SignatureDoesNotMatch"),
        ("with a parameter added", url(change_url=lambda u: u + "&x-amz-acl=private"), 403, "SignatureDoesNotMatch"),
        ("a header that must come with it", url(headers=[("x-amz-meta-a", "1")]), 403, "SignatureDoesNotMatch"),
        ("no time", url(seconds=0), 400, malformed),
        ("too long a time", url(seconds=604801), 400, malformed),
        ("without the time", url(change_url=without("X-Amz-Expires")), 400, malformed),
        ("without the signature", url(change_url=without("X-Amz-Signature")), 400, malformed),
        ("an unknown key", url(key=NOBODY), 403, "InvalidAccessKeyId"),
        ("a wrong secret", url(key=Key(ADMIN.access, "wrong-secret")), 403, "SignatureDoesNotMatch"),
        ("a key that may not", url(key=LIMITED), 403, "AccessDenied"),
        ("version 2, expired", lambda target: send(photos, "PUT", f"{target}?AWSAccessKeyId={ADMIN.access}&Expires=1000000000"
                                                   "&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D", b"new", [("Host", "test")]),
         403, "AccessDenied"),
    ])
    answer = send(photos, "PUT", Signer(ADMIN).presign("PUT", NEW), b"new", [("Host", "test")])
    assert answer.status == 200, answer
    answer = send(photos, "GET", Signer(READER).presign("GET", "/limited/own"), None, [("Host", "test")])
    assert (answer.status, answer.body) == (200, BEFORE)


def test_an_encoded_name_makes_no_other_request(photos):
    """%75ploadId is signed as uploadId is, and would be taken for none: a URL for a part must not write the object."""
    raw = photos.raw()
    upload = texts(raw.request("POST", OLD + "?uploads", b""), "UploadId")[0]
    query = f"partNumber=1&uploadId={upload}"
    before = photos.state()
    for method, sent, body in (("PUT", query, b"new"), ("DELETE", "uploadId=" + upload, None), ("GET", "uploadId=" + upload, None),
                               ("GET", "response-content-type=text/plain", None), ("GET", "versionId=none", None)):
        name = sent.rpartition("&")[2].partition("=")[0]
        for encoded in (f"%{ord(name[0]):02x}{name[1:]}", name[:-1] + f"%{ord(name[-1]):02X}"):
            altered = lambda text: text.replace(name + "=", encoded + "=")  # noqa: E731
            for target, headers in ((altered(raw.signer.presign(method, OLD + "?" + sent)), [("Host", "test")]),
                                    (OLD + "?" + altered(sent), raw.head(method, OLD + "?" + sent).headers)):
                answer = send(photos, method, target, body, headers)
                assert (answer.status, code(answer)) == (400, "InvalidArgument"), (target, answer)
    native = send(photos, "GET", "/photos/?%6cist", None, raw.head("GET", "/photos/?list").headers)
    assert (native.status, code(native)) == (400, "InvalidArgument"), native
    assert photos.state() == before
    answer = raw.get(OLD + "?x-a%5Bb%5D=1")  # what has to be encoded may be
    assert (answer.status, answer.body) == (200, BEFORE)


def test_a_source_is_not_split(photos):
    """Two lines are signed as one with a comma, which a key may hold: that URL must not copy what is before it."""
    raw = photos.raw()
    assert raw.put("/photos/old,x", b"what may be copied").status == 200
    url = raw.signer.presign("PUT", NEW, headers=[("x-amz-copy-source", "/photos/old,x")])
    answer = send(photos, "PUT", url, b"", [("Host", "test"), ("x-amz-copy-source", "/photos/old"), ("x-amz-copy-source", "x")])
    assert (answer.status, code(answer)) == (400, "InvalidArgument"), answer
    answer = send(photos, "PUT", url, b"", [("Host", "test"), ("x-amz-copy-source", "/photos/old,x")])
    assert answer.status == 200 and raw.get(NEW).body == b"what may be copied"


def sign_v2(method, path, query, until):
    """A presigned URL of version 2; query: what is appended, signed or not."""
    text = f"{method}\n\n\n{until}\n{path}"
    signature = base64.b64encode(hmac.new(ADMIN.secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return f"{path}?{query}AWSAccessKeyId={ADMIN.access}&Expires={until}&Signature={tools.quote(signature)}"


def test_version_2_signs_nothing_native(photos):
    """Of a query it covers what S3 had at its time: ?list could be put before any URL for reading one object."""
    until = int(time.time()) + 60
    answer = send(photos, "GET", sign_v2("GET", OLD, "", until), None, [("Host", "test")])
    assert (answer.status, answer.body) == (200, BEFORE)
    for query in ("list&", "unlinked&", "writing&"):
        answer = send(photos, "GET", sign_v2("GET", OLD, query, until), None, [("Host", "test")])
        assert answer.status == 403 and answer.body.startswith(b"AccessDenied: "), (query, answer)


# --- the body


def streaming(server, target, frames=lambda frames: frames, pieces=PIECES, trailer=None, length=None, headers=(),
              payload=None):
    """PUT in signed chunks; frames: what becomes of them on the way."""
    payload = payload or (STREAMING if trailer is None else STREAMING_TRAILER)
    length = len(b"".join(pieces)) if length is None else length
    headers = [("Content-Encoding", "aws-chunked"), ("x-amz-decoded-content-length", length), *headers]
    if trailer is not None:
        headers.append(("x-amz-trailer", ",".join(name for name, _ in trailer)))
    signed = server.raw().head("PUT", target, headers, payload)
    return send(server, "PUT", target, b"".join(frames(signed.chunks(pieces, trailer))), signed.headers)


def altered(number, at=-10):
    def frames(frames):
        frame = bytearray(frames[number])
        frame[at] = ord("1") if frame[at] == ord("0") else ord("0")  # a digit, where it was one
        return frames[:number] + [bytes(frame)] + frames[number + 1:]
    return frames


def test_chunks_of_signed_streaming(photos):
    def put(**options):
        return lambda target: streaming(photos, target, **options)

    different = "SignatureDoesNotMatch"
    check_refused(photos, [
        ("a byte altered in the first chunk", put(frames=altered(0)), 403, different),
        ("a byte altered in the last one", put(frames=altered(2)), 403, different),
        ("reordered", put(frames=lambda f: [f[1], f[0], f[2], f[3]]), 403, different),
        ("one left out", put(frames=lambda f: [f[0], f[2], f[3]], length=len(BODY) - 65536), 403, different),
        ("one twice", put(frames=lambda f: [f[0], f[0], *f[1:]], length=len(BODY) + 65536), 403, different),
        ("cut off before the last chunk", put(frames=lambda f: f[:3]), 400, "IncompleteBody"),
        ("cut off in a chunk", put(frames=lambda f: [f[0], f[1][:1000]]), 400, "IncompleteBody"),
        ("the end's signature altered", put(frames=altered(3, 20)), 403, different),
        ("shorter than announced", put(length=len(BODY) + 1), 400, "IncompleteBody"),
        ("longer than announced", put(length=len(BODY) - 1), 400, "IncompleteBody"),
        ("signatures left out", put(frames=lambda f: unsigned_chunks(PIECES)), 400, "InvalidRequest"),
        ("no frames at all", put(frames=lambda f: [BODY]), 400, "InvalidRequest"),
    ])
    assert streaming(photos, NEW).status == 200
    assert photos.raw().get(NEW).body == BODY


def test_trailers(photos):
    good = [("x-amz-checksum-sha256", checksum("SHA256", BODY))]
    wrong = [("x-amz-checksum-sha256", checksum("SHA256", b"another body"))]

    def put(trailer, **options):
        return lambda target: streaming(photos, target, trailer=trailer, **options)

    def unsigned(trailer, announced=good, pieces=PIECES):
        def ask(target):
            headers = [("Content-Encoding", "aws-chunked"), ("x-amz-decoded-content-length", len(BODY)),
                       ("x-amz-trailer", announced[0][0])]
            signed = photos.raw().head("PUT", target, headers, UNSIGNED_TRAILER)
            return send(photos, "PUT", target, b"".join(unsigned_chunks(pieces, trailer)), signed.headers)
        return ask

    check_refused(photos, [
        ("signed, another body's sum", put(wrong), 400, "BadDigest"),
        ("signed, the sum altered on the way", put(wrong, frames=lambda f: f[:-1] + [
            f[-1].replace(wrong[0][1].encode(), good[0][1].encode())]), 403, "SignatureDoesNotMatch"),
        ("signed, its signature altered", put(good, frames=altered(4, -6)), 403, "SignatureDoesNotMatch"),
        ("signed, a byte of the body altered", put(good, frames=altered(1)), 403, "SignatureDoesNotMatch"),
        ("signed, the trailer left out", put(good, frames=lambda f: f[:-1] + [b"\r\n"]), 400, "MalformedTrailerError"),
        ("unsigned, another body's sum", unsigned(wrong), 400, "BadDigest"),
        ("unsigned, a byte of the body altered", unsigned(good, pieces=[BODY[:-1] + b"!"]), 400, "BadDigest"),
        ("unsigned, the trailer left out", unsigned([]), 400, "MalformedTrailerError"),
        ("unsigned, another trailer", unsigned([("x-amz-checksum-crc32", checksum("CRC32", BODY))]), 400,
         "MalformedTrailerError"),
    ])
    for ask in (put(good), unsigned(good)):
        assert ask(NEW).status == 200
        assert photos.raw().get(NEW).body == BODY


def test_digests(photos):
    def put(name, value, payload=sha256(BODY)):
        return lambda target: photos.raw().request("PUT", target, BODY, [(name, value)], payload)

    rows = [("another payload hash", put("x-amz-meta-a", "1", sha256(b"another")), 400, "XAmzContentSHA256Mismatch"),
            ("a payload hash that is none", put("x-amz-meta-a", "1", "abc"), 400, "InvalidArgument"),
            ("another Content-MD5", put("Content-MD5", md5_base64(b"another")), 400, "BadDigest"),
            ("a Content-MD5 that is none", put("Content-MD5", "abc"), 400, "InvalidDigest"),
            ("a Content-MD5 that is too short", put("Content-MD5", base64.b64encode(b"short").decode()), 400, "InvalidDigest")]
    for kind in tools.CHECKSUMS:
        name = f"x-amz-checksum-{kind.lower()}"
        rows.append((f"another {kind}", put(name, checksum(kind, b"another")), 400, "BadDigest"))
        rows.append((f"another {kind}, unsigned body", put(name, checksum(kind, b"another"), UNSIGNED), 400, "BadDigest"))
        rows.append((f"a {kind} that is none", put(name, "!!!"), 400, "InvalidRequest"))
    check_refused(photos, rows)
    for kind in tools.CHECKSUMS:
        assert put(f"x-amz-checksum-{kind.lower()}", checksum(kind, BODY))(NEW).status == 200
        assert photos.raw().get(NEW).body == BODY


def test_the_body_of_a_native_write_is_what_was_signed(photos):
    """REPLACE is native: it has no other check of a body that somebody changed on the way."""
    before = photos.state()
    for target in (OLD, NEW):
        headers = photos.raw().head("REPLACE", target, payload=sha256(BODY)).headers
        answer = send(photos, "REPLACE", target, BODY[:-1] + b"!", headers)
        assert answer.status == 400 and "XAmzContentSHA256Mismatch" in answer.text, answer
    assert photos.state() == before
    headers = photos.raw().head("REPLACE", OLD, payload=sha256(BODY)).headers
    assert send(photos, "REPLACE", OLD, BODY, headers).status == 201
    assert photos.raw().get(OLD).body == BODY


# --- a good signature, but no right


def test_another_keys_bucket(photos):
    before = photos.state()
    write = [("PUT", OLD, b"x", ()), ("PUT", NEW, b"x", ()), ("DELETE", OLD, None, ()), ("DELETE", "/photos", None, ()),
             ("POST", "/photos?delete", b"<Delete><Object><Key>old</Key></Object></Delete>", ()),
             ("POST", NEW + "?uploads", b"", ()), ("PUT", NEW + "?uploadId=1&partNumber=1", b"x", ()),
             ("PUT", "/photos/copy", None, [("x-amz-copy-source", "/limited/own")])]
    read = [("GET", OLD, None, ()), ("HEAD", OLD, None, ()), ("GET", "/photos", None, ()), ("HEAD", "/photos", None, ()),
            ("GET", "/photos?list-type=2", None, ()), ("GET", "/photos?uploads", None, ()), ("GET", "/photos?acl", None, ()),
            ("GET", "/photos?location", None, ()), ("GET", OLD + "?attributes", None, ()),
            ("GET", OLD + "?tagging", None, ())]
    nowhere = [("PUT", "/made", None, ()), ("DELETE", "/limited", None, ()), ("GET", "/elsewhere/x", None, ())]
    steal = [("PUT", "/limited/stolen", None, [("x-amz-copy-source", OLD)])]
    own_writes = [("PUT", "/limited/new", b"x", ()), ("DELETE", "/limited/own", None, ()),
                  ("POST", "/limited/new?uploads", b"", ())]
    for key, requests in ((LIMITED, write + read + nowhere + steal), (READER, write + read + nowhere + steal + own_writes)):
        for method, target, body, headers in requests:
            answer = photos.raw(key).request(method, target, body, headers)
            assert answer.status == 403, (key, method, target, answer)
            assert method == "HEAD" or code(answer) == "AccessDenied", (key, method, target, answer)
        assert texts(photos.raw(key).get("/"), "Name") == ["limited"]
        assert photos.raw(key).get("/limited/own").body == BEFORE
    assert photos.state() == before
    assert photos.raw(LIMITED).put("/limited/new", b"x").status == 200
    assert photos.raw(LIMITED).request("DELETE", "/limited/new").status == 204


def test_another_keys_bucket_by_native_requests(photos):
    before = photos.state()
    for key in (LIMITED, READER):
        for method, target in (("UNLINK", OLD), ("RELINK", OLD), ("REPLACE", OLD), ("REBALANCE", OLD), ("REPLACE", NEW),
                               ("GET", "/photos/?list"), ("GET", "/?list"), ("GET", "/lim?list"), ("GET", "/limited?list"),
                               ("GET", "/?unlinked"), ("GET", "/?writing"), ("REPLACE", "/elsewhere")):
            body = b"x" if method == "REPLACE" else None
            answer = photos.raw(key).request(method, target, body)
            assert answer.status == 403, (key, method, target, answer)
            assert b"old" not in answer.body and b"own" not in answer.body
    for method in ("UNLINK", "RELINK", "REBALANCE"):
        assert photos.raw(READER).request(method, "/limited/own").status == 403
    assert photos.state() == before
    assert photos.raw(READER).get("/limited/?list").body == b'{"next":"","keys":["/limited/own"]}'
    assert photos.raw(LIMITED).request("UNLINK", "/limited/own").status == 204
    assert photos.raw(LIMITED).request("RELINK", "/limited/own").status == 204


def test_whose_buckets_they_are(photos):
    for bucket, owner, other in (("photos", ADMIN, OTHER), ):
        answer = photos.raw(other).request("PUT", f"/{bucket}")
        assert (answer.status, code(answer)) == (409, "BucketAlreadyExists")
        answer = photos.raw(owner).request("PUT", f"/{bucket}")
        assert answer.status == 200 or code(answer) == "BucketAlreadyOwnedByYou", answer
    answer = photos.raw().put("/missing/x", b"x")
    assert (answer.status, code(answer)) == (404, "NoSuchBucket")


# --- nothing without a signature


METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "UNLINK", "RELINK", "REPLACE", "REBALANCE", "OPTIONS", "PATCH"]
TARGETS = [OLD, NEW, "/", "/photos", "/photos/", "//photos/old"]
QUERIES = ["", "?", "?list", "?unlinked", "?writing", "?list-type=2", "?uploads", "?delete", "?acl", "?location", "?tagging",
           "?attributes", "?uploadId=x&partNumber=1", "?versions", "?x-id=PutObject", "?anything=1", "?list&limit=1"]
MARKS = [(), (("x-amz-date", "20260101T000000Z"),), (("x-amz-content-sha256", EMPTY),), (("x-amz-copy-source", OLD),)]


@pytest.mark.parametrize("door", ["data", "s3"])
def test_unsigned_requests_of_any_kind(make_s3, door):
    s3_port = free_port()
    server = make_s3("-s3-port", s3_port)
    server.make_bucket("photos")
    assert server.raw().put(OLD, BEFORE).status == 200
    before = server.state()
    port = server.port if door == "data" else s3_port
    complaints = []
    connection = http.Connection(port)
    for method in METHODS:
        body = b"x" if method in ("PUT", "POST", "REPLACE", "PATCH") else None
        for target in [path + query for path in TARGETS for query in QUERIES]:
            for headers in MARKS:
                try:
                    answer = connection.request(method, target, body, headers)
                except http.Closed:  # a refused body ends the connection
                    connection.close()
                    connection = http.Connection(port)
                    answer = connection.request(method, target, body, headers)
                if answer.header("Connection") == "close":
                    connection.close()
                    connection = http.Connection(port)
                told = b"AccessDenied" in answer.body or method == "HEAD" or b"InvalidURI" in answer.body
                if answer.status not in (403, 400 if target.startswith("//") else 403) or not told:
                    complaints.append((method, target, headers, answer))
    connection.close()
    assert not complaints, "\n".join(str(c) for c in complaints[:20])
    assert server.state() == before


FORM_END = "\r\n--limit--\r\n"


def form(fields, data=b"from a form"):
    parts = [f'--limit\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    parts.append('--limit\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n')
    return "".join(parts).encode() + data + FORM_END.encode()


def post_policy(key, expiration="2099-01-01T00:00:00Z", conditions=(), skew=0):
    """The fields of a form that key has signed."""
    import json
    date = Signer(key, skew=skew)._now()
    scope = f"{date[:8]}/mkv/s3/aws4_request"
    fields = [("x-amz-algorithm", "AWS4-HMAC-SHA256"), ("x-amz-credential", f"{key.access}/{scope}"), ("x-amz-date", date)]
    policy = {"expiration": expiration, "conditions": [{"bucket": "photos"}, ["starts-with", "$key", ""],
                                                       *({name: value} for name, value in fields), *conditions]}
    text = base64.b64encode(json.dumps(policy).encode()).decode()
    signature = tools._mac(Signer(key)._key(scope), text).hex()
    return [*fields, ("policy", text), ("x-amz-signature", signature)]


@pytest.mark.parametrize("door", ["data", "s3"])
def test_forms(make_s3, door):
    s3_port = free_port()
    server = make_s3("-s3-port", s3_port)
    server.make_bucket("photos")
    assert server.raw().put(OLD, BEFORE).status == 200
    before = server.state()
    port = server.port if door == "data" else s3_port

    def post(fields, target="/photos"):
        return http.request(port, "POST", target, form(fields), [("Host", "test"),
                                                                 ("Content-Type", "multipart/form-data; boundary=limit")])

    for key in ("old", "new"):
        wrong = post_policy(Key(ADMIN.access, "wrong-secret"))
        for what, fields, codes in [
                ("nothing signed", [], ("AccessDenied",)),
                ("wrongly signed", wrong, ("SignatureDoesNotMatch",)),
                ("a policy without signature", post_policy(ADMIN)[:-1], ("AccessDenied", "InvalidArgument")),
                ("an unknown key", post_policy(NOBODY), ("InvalidAccessKeyId",)),
                ("a key that may not", post_policy(LIMITED), ("AccessDenied",)),
                ("expired", post_policy(ADMIN, "2020-01-01T00:00:00Z"), ("AccessDenied",)),
                ("a condition that fails", post_policy(ADMIN, conditions=[["content-length-range", 0, 3]]),
                 ("EntityTooLarge",)),
                ("another bucket", post_policy(ADMIN, conditions=[{"bucket": "limited"}]), ("AccessDenied",))]:
            answer = post([("key", key), *fields])
            assert code(answer) in codes, (what, answer)
            assert server.state() == before, what
    for target in ("/", "/photos/old", "/nothere"):
        answer = post([("key", "old")], target)
        assert answer.status >= 400, (target, answer)
        assert server.state() == before
    answer = post([("key", "new"), *post_policy(ADMIN)])
    assert answer.status in (200, 201, 204), answer
    assert server.raw().get(NEW).body == b"from a form"


def test_a_signature_is_for_one_request(photos):
    """What follows a signed request on its connection is as unsigned as ever."""
    with http.Connection(photos.port) as connection:
        assert connection.request("GET", OLD, None, photos.raw().head("GET", OLD).headers).body == BEFORE
        answer = connection.request("GET", OLD)
        assert answer.status == 403 and BEFORE not in answer.body
        assert connection.request("UNLINK", OLD).status == 403
    assert photos.raw().get(OLD).body == BEFORE


# --- Expect: 100-continue


def test_no_100_before_the_signature_holds(photos):
    before = photos.state()
    for key, target, headers, status, expected in [
            (NOBODY, NEW, (), 403, "InvalidAccessKeyId"), (None, NEW, (), 403, "AccessDenied"),
            (Key(ADMIN.access, "wrong-secret"), NEW, (), 403, "SignatureDoesNotMatch"),
            (LIMITED, NEW, (), 403, "AccessDenied"), (ADMIN, "/missing/x", (), 404, "NoSuchBucket"),
            (ADMIN, OLD, [("If-None-Match", "*")], 412, "PreconditionFailed"),
            (ADMIN, NEW, [("Content-MD5", "abc")], 400, "InvalidDigest")]:
        with http.Connection(photos.port) as connection:
            signed = photos.raw(key).head("PUT", target, [("Expect", "100-continue"), *headers], sha256(BODY))
            connection.send_head("PUT", target, [*signed.headers, ("Content-Length", len(BODY))])
            answer = connection.interim()
            assert answer.status == status, (target, answer)
            answer.body = connection._bytes(int(answer.header("Content-Length")))
            assert code(answer) == expected, answer
    assert photos.state() == before
    with http.Connection(photos.port) as connection:
        signed = photos.raw().head("PUT", NEW, [("Expect", "100-continue")], sha256(BODY))
        connection.send_head("PUT", NEW, [*signed.headers, ("Content-Length", len(BODY))])
        assert connection.interim().status == 100
        connection.send(BODY)
        assert connection.answer().status == 200
    assert photos.raw().get(NEW).body == BODY


# --- the file of keys


def reload(server, text, mode=0o600):
    """Writes the file anew and has it read; returns what the server says of it."""
    said = len(server.master.errors())
    tools.write_keys(server.keys_file, text, mode)
    os.kill(server.master.pid, signal.SIGHUP)
    return wait_until(lambda: "-keys" in server.master.errors()[said:] and server.master.errors()[said:],
                      "the server says that it read its keys")


def test_sighup_reads_the_keys_again(photos):
    fresh = Key("MKVFRESH00000000FRES", "a-fresh-secret-0123")
    assert code(photos.raw(fresh).get(OLD)) == "InvalidAccessKeyId"
    assert "read again, 2 keys" in reload(photos, f"{fresh.access} {fresh.secret}\n{ADMIN.access} {ADMIN.secret} photos:r\n")
    assert photos.raw(fresh).get(OLD).body == BEFORE
    assert code(photos.raw(OTHER).get(OLD)) == "InvalidAccessKeyId"
    assert photos.raw().get(OLD).body == BEFORE
    assert code(photos.raw().put(OLD, b"x")) == "AccessDenied"
    reload(photos, f"{fresh.access} another-secret-0123\n")
    assert code(photos.raw(fresh).get(OLD)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("text, mode, said", [
    (f"{OTHER.access} {OTHER.secret}\n", 0o644, "others may read or change it"),
    (f"{OTHER.access} {OTHER.secret}\n", 0o660, "others may read or change it"),
    (f"{OTHER.access}\n", 0o600, "line 1"),
    ("", 0o600, "no key in it"),
], ids=["readable by others", "writable by the group", "broken", "empty"])
def test_a_bad_file_changes_nothing(photos, text, mode, said):
    assert said in reload(photos, text, mode)
    assert photos.raw(ADMIN).get(OLD).body == BEFORE
    assert photos.raw(READER).get("/limited/own").body == BEFORE


@pytest.mark.parametrize("mode, good", [(0o600, True), (0o400, True), (0o640, True), (0o604, False), (0o644, False),
                                        (0o602, False), (0o666, False), (0o620, False)], ids=oct)
def test_permissions_at_start(own_cluster, tmp_path, mode, good):
    keys = tools.write_keys(tmp_path / "keys", mode=mode)
    command = [str(BIN / "mkv-server"), "-volumes", "localhost:1,localhost:2,localhost:3", "-db", str(tmp_path / "index"),
               "-bind", "127.0.0.1", "-port", str(free_port()), "-keys", str(keys)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        line = process.stderr.readline().decode()
        if good:
            assert "listening" in line, line
            process.terminate()
            assert process.wait(20) == 0
        else:
            assert process.wait(20) in (1, 2)
            assert "-keys" in line and f"{mode:03o}" in line and "chmod" in line, line
            assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_file_that_is_not_there(tmp_path):
    done = subprocess.run([str(BIN / "mkv-server"), "-volumes", "localhost:1,localhost:2,localhost:3", "-db",
                           str(tmp_path / "index"), "-port", str(free_port()), "-keys", str(tmp_path / "none")],
                          capture_output=True, timeout=20, check=False)
    assert done.returncode in (1, 2) and b"-keys" in done.stderr and len(done.stderr.splitlines()) == 1


def test_without_keys_everything_is_served_and_said(make_s3):
    server = make_s3(keys=False)
    assert "signatures are not checked" in server.master.errors()
    for key in (None, NOBODY, Key(ADMIN.access, "wrong-secret")):
        assert Raw(server.port, Signer(key) if key else None).put(NEW, BODY).status == 200
        assert server.raw(key).get(NEW).body == BODY
