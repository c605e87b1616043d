"""PostObject: browsers' forms, with and without -keys."""
import base64
import hashlib
import hmac
import json

import pytest
import requests

from mkvtest import http
from mkvtest import s3 as tools
from mkvtest.cluster import wait_until
from mkvtest.s3 import ADMIN, LIMITED, READER, Key, Signer, bytes_of, checksum, code, md5, texts

FOREVER = "2099-01-01T00:00:00Z"
DATA = bytes_of(150_000, 1)  # more than what comes in one read
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"


def said(answer):
    return answer.status, code(answer)


def part(name, value, filename=None, kind=None):
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    head += "" if filename is None else f'; filename="{filename}"'
    head += "" if kind is None else f"\r\nContent-Type: {kind}"
    return head.encode() + b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"


def form(fields, data=DATA, filename="c at.jpg", more=()):
    file = [] if data is None else [part("file", data, filename, "image/jpeg")]
    return b"".join([*(part(*field) for field in fields), *file,
                     *(part(*field) for field in more)]) + f"--{BOUNDARY}--\r\n".encode()


def post(server, body, target="/photos", chunked=False, port=None):
    return http.request(port or server.port, "POST", target, body,
                        [("Host", "test"), ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")], chunked)


def policy_of(conditions, expiration=FOREVER):
    return base64.b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode()).decode()


def signed(fields, key=ADMIN, conditions=(), expiration=FOREVER, bucket="photos"):
    """The fields, with a policy that allows exactly them, and its signature (version 4)."""
    date = Signer(key)._now()
    scope = f"{date[:8]}/mkv/s3/aws4_request"
    fields = [*fields, ("x-amz-algorithm", "AWS4-HMAC-SHA256"), ("x-amz-credential", f"{key.access}/{scope}"),
              ("x-amz-date", date)]
    covered = [(name, value) for name, value in fields if name != "key" and not name.startswith("x-ignore-")]
    given = [{"bucket": bucket}, *({name: value} for name, value in covered),
             ["starts-with", "$key", ""], *conditions]
    text = policy_of(given, expiration)
    return [*fields, ("policy", text), ("x-amz-signature", tools._mac(Signer(key)._key(scope), text).hex())]


def signed_v2(fields, key=ADMIN):
    text = policy_of([{"bucket": "photos"}, *({name: value} for name, value in fields)])
    signature = base64.b64encode(hmac.new(key.secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return [*fields, ("AWSAccessKeyId", key.access), ("policy", text), ("signature", signature)]


def temporary(server):
    return [path for volume in server.cluster.volumes for path in volume.temporary_files()]


@pytest.fixture
def photos(s3):
    for name in ("photos", "limited"):
        s3.make_bucket(name)
    return s3


@pytest.fixture
def open_server(make_s3):
    return make_s3(keys=False)


# --- without keys


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 150_000, 3_000_000])
def test_a_plain_form(open_server, chunked, size):
    data = bytes_of(size, size)
    answer = post(open_server, form([("key", "cat")], data), chunked=chunked)
    assert answer.status == 204 and answer.body == b"" and answer.header("ETag") == f'"{md5(data)}"'
    assert answer.header("Location") == "/photos/cat"
    got = open_server.raw(None).get("/photos/cat")
    assert got.body == data and got.header("Content-Type") == "binary/octet-stream"  # the field, not the file's own
    for target in ("/photos/", "/photos?x-id=PostObject"):
        assert post(open_server, form([("key", "dog")], data), target).status == 204


def test_in_pieces_of_any_size(open_server):
    """Wherever a read ends."""
    data = b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n-\r\n--" + DATA[:3000] + b"\r"
    body = form([("key", "cat"), ("Content-Type", "text/plain")], data)
    for size in (1, 7, 64, 1000):
        with http.Connection(open_server.port) as connection:
            connection.send_head("POST", "/photos", [("Content-Length", len(body)),
                                                     ("Content-Type", f'multipart/form-data; boundary="{BOUNDARY}"')])
            for i in range(0, len(body), size):
                connection.send(body[i:i + size])
            assert connection.answer("POST").status == 204, size
        got = open_server.raw(None).get("/photos/cat")
        assert got.body == data and got.header("Content-Type") == "text/plain", size


def test_by_a_browser_of_sorts(open_server):
    url = f"http://127.0.0.1:{open_server.port}/photos"
    answer = requests.post(url, data={"key": "up/${filename}", "Content-Type": "image/png", "x-amz-meta-colour": "black"},
                           files={"file": ("büro cat.png", DATA, "image/png")}, timeout=20)
    assert answer.status_code == 204, answer.text
    got = open_server.raw(None).get("/photos/" + http.encode("up/büro cat.png"))
    assert got.body == DATA and got.header("Content-Type") == "image/png" and got.header("x-amz-meta-colour") == "black"


def test_fields_that_stand_for_headers(open_server):
    fields = [("key", "cat"), ("Cache-Control", "no-cache"), ("Content-Type", "text/x-cat"),
              ("Content-Disposition", "inline"),
              ("Content-Encoding", "identity"), ("Expires", "never"), ("x-amz-meta-a", "1"), ("X-Amz-Meta-B", "zwei ü"),
              ("x-amz-storage-class", "STANDARD_IA"), ("acl", "private"), ("submit", "Upload")]
    assert post(open_server, form(fields)).status == 204
    got = open_server.raw(None).get("/photos/cat")
    assert got.body == DATA
    for name, value in fields[1:9]:
        assert got.header(name) == value.encode().decode("latin-1"), name
    before = open_server.state()
    for field, expected in [(("x-amz-meta-a", "v" * 2048), (400, "MetadataTooLarge")),
                            (("acl", "public-read"), (501, "NotImplemented")),
                            (("tagging", "<Tagging/>"), (501, "NotImplemented")),
                            (("x-amz-meta-a", "1\r\nX-Evil: 1"), (400, "InvalidArgument")),
                            (("x-amz-meta-a: 1; b", "1"), (400, "InvalidArgument")),
                            (("Content-Type", "a\0b"), (400, "InvalidArgument")),
                            (("Content-Encoding", "v" * 60_000), (400, "MetadataTooLarge")),
                            (("Content-Disposition", "v" * 40_000), (400, "MetadataTooLarge"))]:
        assert said(post(open_server, form([("key", "cat"), field]))) == expected, field
        assert open_server.state() == before
    # a head as long as a request's may be comes back whole
    assert post(open_server, form([("key", "cat"), ("Content-Encoding", "v" * 30_000)])).status == 204
    assert open_server.raw(None).get("/photos/cat").header("Content-Encoding") == "v" * 30_000


def test_checksums(open_server):
    good, bad = checksum("CRC32", DATA), checksum("CRC32", b"x")
    assert said(post(open_server, form([("key", "cat"), ("x-amz-checksum-crc32", bad)]))) == (400, "BadDigest")
    assert open_server.records() == {} and open_server.cluster.files() == {}
    assert post(open_server, form([("key", "cat"), ("x-amz-checksum-crc32", good)])).status == 204
    answer = open_server.raw(None).get("/photos/cat", [("x-amz-checksum-mode", "ENABLED")])
    assert answer.header("x-amz-checksum-crc32") == good


def test_what_success_looks_like(open_server):
    for status, expected in [("200", 200), ("201", 201), ("204", 204), ("302", 204), ("x", 204), ("", 204)]:
        answer = post(open_server, form([("key", "a b"), ("success_action_status", status)]))
        assert answer.status == expected and answer.header("Location") == "/photos/a%20b", status
        if expected == 201:
            assert (texts(answer, "Bucket"), texts(answer, "Key"), texts(answer, "ETag")) == (["photos"], ["a b"],
                                                                                              [f'"{md5(DATA)}"'])
        else:
            assert answer.body == b""
    for name in ("success_action_redirect", "redirect"):
        for url, mark in [("http://there.test/done", "?"), ("http://there.test/done?a=b", "&")]:
            answer = post(open_server, form([("key", "a b"), (name, url), ("success_action_status", "201")]))
            assert answer.status == 303
            assert answer.header("Location") == f"{url}{mark}bucket=photos&key=a%20b&etag=%22{md5(DATA)}%22"
    answer = post(open_server, form([("key", "a b"), ("success_action_redirect", "http://x\r\nX-Evil: 1")]))
    assert answer.status == 204 and answer.header("X-Evil") is None


def test_names_of_files(open_server):
    for key, filename, expected in [("${filename}", "cat.jpg", "cat.jpg"), ("a/${filename}.bak", "cat", "a/cat.bak"),
                                    ("a/${filename}", "", "a/"), ("${filename", "cat", "${filename"),
                                    ("x" * 1000 + "${filename}", "y" * 24, "x" * 1000 + "y" * 24)]:
        assert post(open_server, form([("key", key)], filename=filename)).status == 204, key
        assert open_server.raw(None).get("/photos/" + http.encode(expected)).body == DATA, key
    for key, filename, expected in [("x" * 1000 + "${filename}", "y" * 25, "KeyTooLongError"),
                                    ("x" * 1025, "y", "KeyTooLongError"),
                                    ("${filename}", "", "UserKeyMustBeSpecified"), ("", "y", "UserKeyMustBeSpecified")]:
        assert said(post(open_server, form([("key", key)], filename=filename))) == (400, expected), key


def test_bodies_that_are_no_forms(open_server):
    whole = form([("key", "cat")])
    for body, expected in [(form([("key", "cat")], None), "MalformedPOSTRequest"),
                           (form([("name", "cat")]), "UserKeyMustBeSpecified"),
                           (whole[:-10], "IncompleteBody"), (whole[:2000], "IncompleteBody"), (b"no form", "IncompleteBody"),
                           (whole.replace(b'name="key"', b"nothing"), "MalformedPOSTRequest"),
                           (form([("key", "cat"), ("a", "v" * 70_000)]), "MalformedPOSTRequest"),
                           (form([("key", "cat"), *((f"f{i}", "") for i in range(70))]), "MalformedPOSTRequest"),
                           (whole.replace(b"form-data", b"form-data; " + b"x" * 5000, 1), "MalformedPOSTRequest")]:
        answer = post(open_server, body)
        assert answer.status == 400 and code(answer) in (expected, "MalformedPOSTRequest"), (expected, answer)
    for target in ("/photos/cat", "/"):
        assert said(post(open_server, whole, target)) == (405, "MethodNotAllowed"), target
    assert said(post(open_server, whole, "/No_Bucket")) == (400, "InvalidBucketName")
    with http.Connection(open_server.port) as connection:
        connection.send_head("POST", "/photos", [("Content-Length", len(whole)),
                                                 ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")])
        connection.send(whole[:100_000])
    wait_until(lambda: open_server.records() == {} and open_server.cluster.files() == {} and not temporary(open_server),
               "nothing is left")
    late = form([("key", "cat")], more=[("late", "field")])  # what follows the file counts for nothing
    assert post(open_server, late).status == 204


# --- with keys


def test_signed_forms(photos):
    raw = photos.raw()
    boto = photos.boto3()
    for i, fields in enumerate([signed([("key", "cat0"), ("x-amz-meta-a", "1")]),
                                signed_v2([("key", "cat1"), ("x-amz-meta-a", "1")]),
                                signed([("key", "cat2"), ("x-amz-meta-a", "1"), ("x-ignore-me", "x")])]):
        assert post(photos, form(fields), chunked=i == 0).status == 204, i
        got = raw.get(f"/photos/cat{i}")
        assert got.body == DATA and got.header("x-amz-meta-a") == "1"
    presigned = boto.generate_presigned_post("photos", "by boto/${filename}", Fields={"success_action_status": "201"},
                                             Conditions=[{"success_action_status": "201"},
                                                         ["content-length-range", 1, 1 << 20]])
    answer = requests.post(presigned["url"], data=presigned["fields"], files={"file": ("f", DATA)}, timeout=20)
    assert answer.status_code == 201, answer.text
    assert raw.get("/photos/by%20boto/f").body == DATA
    # with the bucket among the fields, as minio's clients have it
    assert post(photos, form([*signed([("key", "with")]), ("bucket", "photos")])).status == 204
    limited = signed([("key", "own")], LIMITED, bucket="limited")
    assert post(photos, form(limited), "/limited").status == 204 and raw.get("/limited/own").body == DATA


def test_refused_forms_store_nothing(photos):
    before = photos.state()
    def changed(fields, name, value):
        return [(n, value if n == name else v) for n, v in fields]

    good = signed([("key", "cat")])
    v2 = signed_v2([("key", "cat")])
    for what, fields, data, expected in [
            ("not signed", [("key", "cat")], DATA, (403, "AccessDenied")),
            ("another secret", signed([("key", "cat")], Key(ADMIN.access, "wrong-secret")), DATA,
             (403, "SignatureDoesNotMatch")),
            ("another secret, version 2", signed_v2([("key", "cat")], Key(ADMIN.access, "wrong-secret")), DATA,
             (403, "SignatureDoesNotMatch")),
            ("another policy", changed(good, "policy", policy_of([])), DATA, (403, "SignatureDoesNotMatch")),
            ("another policy, version 2", changed(v2, "policy", policy_of([])), DATA, (403, "SignatureDoesNotMatch")),
            ("expired", signed([("key", "cat")], expiration="2020-01-01T00:00:00Z"), DATA, (403, "AccessDenied")),
            ("no date", signed([("key", "cat")], expiration="tomorrow"), DATA, (400, "InvalidPolicyDocument")),
            ("another key than allowed", changed(v2, "key", "dog"), DATA, (403, "AccessDenied")),
            ("a field too many", [*good, ("x-amz-meta-a", "1")], DATA, (403, "AccessDenied")),
            ("a field twice", [*good, ("key", "cat")], DATA, (400, "InvalidArgument")),
            ("another bucket", signed([("key", "cat")], bucket="limited"), DATA, (403, "AccessDenied")),
            ("another bucket among the fields", [*good, ("bucket", "limited")], DATA, (400, "InvalidArgument")),
            ("a bucket that is not his", signed([("key", "cat")], LIMITED), DATA, (403, "AccessDenied")),
            ("too large", signed([("key", "cat")], conditions=[["content-length-range", 0, len(DATA) - 1]]), DATA,
             (400, "EntityTooLarge")),
            ("too small", signed([("key", "cat")], conditions=[["content-length-range", len(DATA) + 1, 10**9]]), DATA,
             (400, "EntityTooSmall")),
            ("small and too large", signed([("key", "cat")], conditions=[["content-length-range", 0, 1]]), b"xx",
             (400, "EntityTooLarge")),
            ("no file", good, None, (400, "MalformedPOSTRequest")),
            ("no such condition", signed([("key", "cat")], conditions=[["matches", "$key", "x"]]), DATA,
             (400, "InvalidPolicyDocument")),
            ("no policy", [field for field in good if field[0] != "policy"], DATA, (403, "AccessDenied"))]:
        for chunked in (False, True):
            assert said(post(photos, form(fields, data), chunked=chunked)) == expected, (what, chunked)
            assert photos.state() == before and not temporary(photos), what
    assert said(post(photos, form(signed([("key", "x")], READER, bucket="limited")), "/limited")) == (403, "AccessDenied")
    assert said(post(photos, form(signed([("key", "x")], bucket="absent")), "/absent")) == (404, "NoSuchBucket")
    assert photos.state() == before
    exactly = signed([("key", "cat")], conditions=[["content-length-range", len(DATA), len(DATA)]])
    assert post(photos, form(exactly)).status == 204


def test_a_bucket_that_goes_while_a_form_comes(photos):
    raw, body = photos.raw(), form(signed([("key", "cat")]))
    with http.Connection(photos.port) as connection:
        connection.send_head("POST", "/photos", [("Content-Length", len(body)),
                                                 ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")])
        connection.send(body[:-100])
        wait_until(lambda: b"cat" in raw.get("/?writing").body, "it has begun")
        assert raw.request("DELETE", "/photos").status == 204
        connection.send(body[-100:])
        assert said(connection.answer("POST")) == (404, "NoSuchBucket")
    assert photos.records() == {} and photos.cluster.files() == {}
