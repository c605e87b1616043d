"""Buckets: how they come and go, what they say of themselves, and which requests are S3 at all."""
import threading

import pytest

from mkvtest import http
from mkvtest.cluster import free_port, wait_until
from mkvtest.s3 import ADMIN, OTHER, READER, UNSIGNED, code, md5, sha256, texts

SIGNED_HASH = ("x-amz-content-sha256", UNSIGNED)


def said(answer):
    return answer.status, code(answer)


def buckets_of(raw):
    return texts(raw.get("/"), "Name")


@pytest.fixture
def open_server(make_s3):
    """Without -keys; raw requests to it are S3 by their x-amz-content-sha256."""
    return make_s3(keys=False)


# --- create


GOOD = ["abc", "a" * 63, "1-2.3-4", "my.bucket-1", "2024"]
BAD = ["ab", "A" * 5, "a" * 64, "under_score", "-abc", "abc-", ".abc", "abc.", "a..b", "a.-b", "a-.b", "192.168.1.1",
       "xn--abc",
       "abc-s3alias", "a b c", "abc%25", "%FFabc", "..", "."]
LOCATION = b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' \
           b"<LocationConstraint>eu-west-3</LocationConstraint></CreateBucketConfiguration>"


def test_names(s3):
    raw = s3.raw()
    for name in GOOD:
        answer = raw.request("PUT", f"/{name}")
        assert answer.status == 200 and answer.header("Location") == f"/{name}", name
    for name in BAD:
        answer = raw.request("PUT", "/" + (name if "%" in name else http.encode(name)))
        assert said(answer) == (400, "InvalidBucketName"), name
    assert buckets_of(raw) == sorted(GOOD)


def test_again_and_by_somebody_else(s3):
    raw = s3.raw()
    for target in ("/photos", "/photos/", "/photos?x-id=CreateBucket"):
        assert raw.request("PUT", target).status == 200
    assert said(s3.raw(OTHER).request("PUT", "/photos")) == (409, "BucketAlreadyExists")
    assert said(s3.raw(READER).request("PUT", "/limited")) == (403, "AccessDenied")
    created = texts(raw.get("/"), "CreationDate")
    assert raw.request("PUT", "/photos").status == 200 and texts(raw.get("/"), "CreationDate") == created


def test_bodies_and_headers_of_a_creation(s3):
    raw = s3.raw()
    assert raw.put("/region", LOCATION).status == 200  # there is one place here, whatever it is called
    for body in (b"<CreateBucketConfiguration>", b"no xml", b"<Other/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + LOCATION,
                 b" " * (1 << 20) + LOCATION):
        answer = raw.put("/malformed", body)
        assert answer.status == 400 and code(answer) in ("MalformedXML", "MaxMessageLengthExceeded"), body[:60]
    answer = raw.request("PUT", "/malformed", LOCATION, payload=sha256(b"another"))
    assert said(answer) == (400, "XAmzContentSHA256Mismatch")
    for name, value in [("x-amz-bucket-object-lock-enabled", "true"), ("x-amz-acl", "public-read"),
                        ("x-amz-grant-read", "id=1")]:
        assert said(raw.request("PUT", "/malformed", headers=[(name, value)])) == (501, "NotImplemented"), name
    assert buckets_of(raw) == ["region"]
    for i, value in enumerate([("x-amz-acl", "private"), ("x-amz-bucket-object-lock-enabled", "false")]):
        assert raw.request("PUT", f"/fine{i}", headers=[value]).status == 200


# --- head, location, stubs


def test_what_is_said_of_a_bucket(make_s3):
    server = make_s3("-s3-region", "moon-1")
    raw = server.raw()
    for target in ("/photos", "/photos/"):
        assert raw.request("HEAD", target).status == 404
        assert said(raw.get(target + "?location")) == (404, "NoSuchBucket")
    server.make_bucket("photos")
    for target in ("/photos", "/photos/", "/photos?x-id=HeadBucket"):
        answer = raw.request("HEAD", target)
        assert answer.status == 200 and answer.header("x-amz-bucket-region") == "moon-1" and answer.header("x-amz-request-id")
    answer = raw.get("/photos?location")
    assert answer.status == 200 and texts(answer, "LocationConstraint") == ["moon-1"]
    answer = raw.request("HEAD", "/absent")
    assert answer.status == 404 and answer.header("x-amz-request-id") and answer.header("Content-Length") in (None, "0")


STUBS = [("versioning", 200, None), ("tagging", 200, None), ("acl", 200, None), ("location", 200, None),
         ("policy", 404, "NoSuchBucketPolicy"), ("cors", 404, "NoSuchCORSConfiguration"),
         ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
         ("encryption", 404, "ServerSideEncryptionConfigurationNotFoundError"),
         ("object-lock", 404, "ObjectLockConfigurationNotFoundError"), ("website", 404, "NoSuchWebsiteConfiguration")]
UNKNOWN = ["accelerate", "analytics", "intelligent-tiering", "inventory", "logging", "metrics", "notification",
           "ownershipControls", "policyStatus", "publicAccessBlock", "replication", "requestPayment"]


def test_stubs_and_what_is_not_implemented(s3):
    raw = s3.raw()
    s3.make_bucket("photos")
    assert raw.put("/photos/cat", b"cat").status == 200
    before = s3.state()
    for name, status, expected in STUBS:
        for query in (name, name + "="):
            assert said(raw.get(f"/photos?{query}")) == (status, expected), query
        assert said(raw.get(f"/absent?{name}")) == (404, "NoSuchBucket")
    for name in UNKNOWN:
        assert said(raw.get(f"/photos?{name}")) == (501, "NotImplemented"), name
    for name, _, _ in STUBS:
        assert said(raw.put(f"/photos?{name}", b"<x/>")) == (501, "NotImplemented"), name
        assert said(raw.request("DELETE", f"/photos?{name}")) == (501, "NotImplemented"), name
    for name in ("tagging", "acl"):
        assert raw.get(f"/photos/cat?{name}").status == 200
        assert said(raw.get(f"/photos/dog?{name}")) == (404, "NoSuchKey")
    for method, name in [("GET", "torrent"), ("GET", "retention"), ("GET", "legal-hold"), ("POST", "restore"),
                         ("POST", "select"), ("PUT", "tagging"), ("PUT", "acl"), ("DELETE", "tagging"),
                         ("PUT", "retention")]:
        assert said(raw.request(method, f"/photos/cat?{name}")) == (501, "NotImplemented"), (method, name)
    for method, target in [("PATCH", "/photos/cat"), ("POST", "/photos/cat"), ("POST", "/"), ("PUT", "/"), ("DELETE", "/")]:
        assert said(raw.request(method, target)) == (405, "MethodNotAllowed"), (method, target)
    assert s3.state() == before


def test_errors_say_where_and_which_request(s3):
    s3.make_bucket("photos")
    answer = s3.raw().get("/photos/a%20%3C&b")
    assert said(answer) == (404, "NoSuchKey") and answer.header("Content-Type") == "application/xml"
    assert texts(answer, "Resource") == ["/photos/a <&b"] and texts(answer, "Key") == ["a <&b"]
    assert texts(answer, "RequestId") == [answer.header("x-amz-request-id")] and texts(answer, "Message") != [""]
    ids = {s3.raw().get("/photos/x").header("x-amz-request-id") for _ in range(5)}
    assert len(ids) == 5


# --- list


def test_lists_with_keys_are_of_own_buckets(s3):
    for key, name in [(ADMIN, "zebra"), (ADMIN, "limited"), (OTHER, "other"), (ADMIN, "alpha")]:
        assert s3.raw(key).request("PUT", f"/{name}").status == 200
    assert buckets_of(s3.raw()) == ["alpha", "limited", "zebra"]
    assert buckets_of(s3.raw(OTHER)) == ["other"]
    assert buckets_of(s3.raw(READER)) == ["limited"]
    assert texts(s3.raw(OTHER).get("/"), "ID") == [OTHER.access]


def test_lists_without_keys_show_what_keys_make(open_server):
    master, raw = open_server.master, open_server.raw(None)
    assert buckets_of(raw) == []
    for name in ("made", "both"):
        assert raw.request("PUT", f"/{name}").status == 200
    for key in ("/native/a", "/native/b/c", "/both/x", "/aaa/x", "/gone/x", "/Not_A_Bucket/x", "/lonely", "/zzz/y"):
        assert master.put(key, b"x").status == 201
    assert master.unlink("/gone/x").status == 204
    assert buckets_of(raw) == ["aaa", "both", "made", "native", "zzz"]
    assert len(texts(raw.get("/"), "CreationDate")) == 5
    assert raw.request("HEAD", "/native").status == 200 and raw.request("HEAD", "/gone").status == 404
    assert raw.get("/Not_A_Bucket/x").body == b"x"  # it can be reached all the same
    assert raw.put("/Not_A_Bucket/y", b"y").status == 200
    assert said(raw.put("/Another_One/y", b"y")) == (400, "InvalidBucketName")


def test_a_list_of_many_keys_skips_them(open_server):
    """One step for each bucket, not for each key."""
    raw = open_server.raw(None)
    for i in range(30):
        assert raw.put(f"/bucket{i % 3}/key{i}", b"x").status == 200
    assert buckets_of(raw) == ["bucket0", "bucket1", "bucket2"]


def test_a_client_that_leaves_a_list(open_server):
    for _ in range(20):
        with http.Connection(open_server.port) as connection:
            connection.send_head("GET", "/", [SIGNED_HASH])
            connection.reset()
    assert buckets_of(open_server.raw(None)) == []


# --- delete


def test_delete(s3):
    raw = s3.raw()
    assert said(raw.request("DELETE", "/photos")) == (404, "NoSuchBucket")
    s3.make_bucket("photos")
    assert raw.put("/photos/cat", b"cat").status == 200
    assert said(raw.request("DELETE", "/photos")) == (409, "BucketNotEmpty")
    assert raw.request("HEAD", "/photos").status == 200 and raw.get("/photos/cat").body == b"cat"
    assert raw.request("DELETE", "/photos/cat").status == 204
    answer = raw.request("DELETE", "/photos/")
    assert answer.status == 204 and answer.header("Content-Length") is None
    assert raw.request("HEAD", "/photos").status == 404 and buckets_of(raw) == []
    for method, target in [("PUT", "/photos/cat"), ("GET", "/photos/cat"), ("DELETE", "/photos/cat"), ("GET", "/photos")]:
        assert said(raw.request(method, target)) == (404, "NoSuchBucket"), (method, target)
    s3.make_bucket("photos")


def test_a_bucket_of_unlinked_keys_is_empty(open_server):
    raw = open_server.raw(None)
    assert raw.put("/photos/cat", b"cat").status == 200
    assert open_server.master.unlink("/photos/cat").status == 204
    assert raw.request("DELETE", "/photos").status == 204
    assert said(raw.request("DELETE", "/photos")) == (404, "NoSuchBucket")
    assert open_server.master.relink("/photos/cat").status == 204  # a native undelete: its bucket is there again
    assert raw.request("HEAD", "/photos").status == 200
    assert said(raw.request("DELETE", "/photos")) == (409, "BucketNotEmpty")


@pytest.mark.parametrize("keys", [True, False])
def test_a_body_is_on_its_way_while_the_bucket_goes(make_s3, keys):
    """With keys it must be created again; without them it comes into being with the object."""
    server = make_s3(keys=keys)
    raw = server.raw(ADMIN if keys else None)
    assert raw.request("PUT", "/photos").status == 200
    for _ in range(2):
        with http.Connection(server.port) as writer:
            writer.send_head("PUT", "/photos/cat", [*raw.head("PUT", "/photos/cat").headers, ("Content-Length", 6)])
            writer.send(b"cat")
            wait_until(lambda: b"/photos/cat" in raw.get("/?writing").body, "the PUT has begun")
            assert raw.request("DELETE", "/photos").status == 204
            writer.send(b"cat")
            answer = writer.answer("PUT")
        if keys:
            assert said(answer) == (404, "NoSuchBucket")
            assert (server.records(), server.cluster.files()) == ({}, {})
            assert raw.request("PUT", "/photos").status == 200
        else:
            assert answer.status == 200 and raw.get("/photos/cat").body == b"catcat"
            assert raw.request("DELETE", "/photos/cat").status == 204
        assert raw.request("HEAD", "/photos").status == 200


def test_puts_that_race_with_deletions(s3):
    """An acknowledged object never lies in a bucket that is gone: one of the two is refused."""
    raw, outcomes = s3.raw(), []
    for i in range(40):
        s3.make_bucket("photos")
        answers = {}

        def run(what, method, target, body):
            answers[what] = raw.request(method, target, body)

        threads = [threading.Thread(target=run, args=("put", "PUT", "/photos/cat", b"x" * (1 + 5000 * (i % 7)))),
                   threading.Thread(target=run, args=("delete", "DELETE", "/photos", None))]
        for thread in threads if i % 2 else reversed(threads):
            thread.start()
        for thread in threads:
            thread.join()
        put, delete = answers["put"], answers["delete"]
        outcomes.append((said(put), said(delete)))
        if put.status == 200:
            assert said(delete) == (409, "BucketNotEmpty"), outcomes
            assert raw.get("/photos/cat").status == 200
            assert raw.request("DELETE", "/photos/cat").status == 204
            assert raw.request("DELETE", "/photos").status == 204
        else:
            assert said(put) == (404, "NoSuchBucket") and delete.status == 204, outcomes
        assert s3.records() == {}


def test_a_new_bucket_comes_only_with_an_object(open_server):
    """A write that is refused leaves none behind."""
    raw = open_server.raw(None)
    assert said(raw.request("PUT", "/photos/cat", b"x", payload=sha256(b"y"))) == (400, "XAmzContentSHA256Mismatch")
    assert said(raw.request("PUT", "/photos/cat", b"x", [("If-Match", md5(b"x"))])) == (404, "NoSuchKey")
    assert said(raw.request("PUT", "/photos/cat", headers=[("x-amz-copy-source", "/other/cat")])) == (404, "NoSuchBucket")
    assert buckets_of(raw) == [] and said(raw.get("/photos")) == (404, "NoSuchBucket")
    assert raw.put("/photos/cat", b"x").status == 200
    assert raw.request("DELETE", "/photos/cat").status == 204
    assert buckets_of(raw) == ["photos"]  # which stays until it is deleted


# --- which API a request speaks


def test_which_requests_are_s3(open_server):
    """By what each answers to the GET of a value: the value itself, or a redirect to a volume."""
    assert open_server.master.put("/photos/cat", b"meow").status == 201
    date = ("Date", "Tue, 01 Jan 2019 00:00:00 GMT")
    for headers, query, is_s3 in [
            ([], "", False), ([], "?x-id=GetObject", None), ([("Range", "bytes=0-1")], "", False),
            ([("x-amz-date", "20190101T000000Z")], "", True), ([("X-AMZ-CONTENT-SHA256", UNSIGNED)], "", True),
            ([("amz-sdk-invocation-id", "1")], "", True), ([("x-amz", "1")], "", False), ([("x-other", "1")], "", False),
            ([("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request, SignedHeaders=host, Signature=00")], "",
             True),
            ([("Authorization", "AWS a:b"), date], "", True), ([("Authorization", "Basic YTpi")], "", False),
            ([], "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", True),
            ([], "?AWSAccessKeyId=a&Signature=b&Expires=1", True), ([], "?uploadId=1", True), ([], "?tagging", True)]:
        answer = open_server.master.ask("GET", "/photos/cat", headers=headers, query=query)
        if is_s3 is None:  # a query that the native API does not know
            assert answer.status == 403, answer
        elif is_s3:
            assert answer.header("x-amz-request-id"), (headers, query, answer)
        else:
            assert answer.status == 302 and not answer.header("x-amz-request-id"), (headers, query, answer)
    # native operations stay native, whatever comes with them
    raw = open_server.raw(None)
    for query in ("?list", "?unlinked", "?writing", "?list&limit=1"):
        assert b'"keys"' in raw.get("/photos/" + query).body, query
    assert raw.request("UNLINK", "/photos/cat").status == 204 and raw.request("RELINK", "/photos/cat").status == 204
    assert raw.request("REBALANCE", "/photos/cat").status == 204
    assert raw.request("REPLACE", "/photos/cat", b"purr").status == 201
    assert raw.get("/photos/cat").body == b"purr" and raw.get("/photos/cat?x-id=GetObject").body == b"purr"
    answer = http.request(open_server.port, "POST", "/photos", b"", [("Content-Type", "multipart/form-data; boundary=a")])
    assert said(answer) == (400, "IncompleteBody")  # no form at all
    assert http.request(open_server.port, "POST", "/photos", b"").status == 501


def test_everything_is_s3_on_a_port_of_its_own(make_s3):
    s3_port = free_port()
    server = make_s3("-s3-port", s3_port, keys=False)

    def ask(method, target, body=None, headers=()):
        return http.request(s3_port, method, target, body, headers)

    assert server.master.put("/photos/cat", b"meow").status == 201
    assert server.master.get("/photos/cat").status == 302
    answer = ask("GET", "/photos/cat")
    assert (answer.status, answer.body) == (200, b"meow")
    assert ask("PUT", "/photos/cat", b"overwritten").status == 200
    assert ask("PUT", "/photos/empty", b"").status == 200
    assert texts(ask("GET", "/photos"), "Key") == ["cat", "empty"]
    assert texts(ask("GET", "/photos?list"), "Key") == ["cat", "empty"]  # a parameter that S3 does not know
    assert texts(ask("GET", "/"), "Name") == ["photos"]
    assert said(ask("GET", "/absent/x")) == (404, "NoSuchBucket")
    for method in ("UNLINK", "RELINK", "REPLACE", "REBALANCE", "OPTIONS"):
        assert said(ask(method, "/photos/cat")) == (405, "MethodNotAllowed"), method
    assert ask("DELETE", "/photos/nothing").status == 204
    assert server.master.read("/photos/cat") == b"overwritten"


def test_virtual_hosts(make_s3):
    server = make_s3("-s3-domain", "s3.test")
    raw = server.raw()
    assert server.raw(host="photos.s3.test").request("PUT", "/").status == 200
    assert buckets_of(server.raw(host="s3.test")) == ["photos"]  # the domain itself: path style
    for host in ("photos.s3.test", "photos.S3.Test", f"photos.s3.test:{server.port}"):
        virtual = server.raw(host=host)
        assert virtual.put("/cat", b"meow").status == 200 and virtual.put("/deep/er/dog", b"wau").status == 200
        assert virtual.get("/cat").body == b"meow" and raw.get("/photos/cat").body == b"meow"
        assert texts(virtual.get("/?list-type=2"), "Key") == ["cat", "deep/er/dog"]
        assert virtual.request("HEAD", "/").status == 200
        assert virtual.request("PUT", "/copy", headers=[("x-amz-copy-source", "photos/cat")]).status == 200
        assert virtual.request("DELETE", "/copy").status == 204
        presigned = virtual.signer.presign("GET", "/cat")
        assert http.request(server.port, "GET", presigned, headers=[("Host", host)]).body == b"meow"
    assert said(server.raw(host="other.s3.test").get("/cat")) == (404, "NoSuchBucket")
    dotted = server.raw(host="a.b.c.s3.test")
    assert dotted.request("PUT", "/").status == 200 and dotted.put("/x", b"1").status == 200
    assert raw.get("/a.b.c/x").body == b"1"
    assert server.raw(host="photos.elsewhere.test").get("/photos/cat").body == b"meow"  # not our domain: path style
    boto = server.boto3()
    assert [b["Name"] for b in boto.list_buckets()["Buckets"]] == ["a.b.c", "photos"]
