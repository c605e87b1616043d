"""ListObjects, ListObjectsV2, ListObjectVersions."""
import json
import random
import time
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import pytest

from mkvtest import http
from mkvtest.cluster import SANITIZED, as_bytes
from mkvtest.jobs import index
from mkvtest.s3 import LIMITED, code, md5, texts

XMLNS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
DATE = "2026-03-01T12:34:56.000Z"
MTIME = 1772368496


def record(key, **fields):
    """A line for mkv-index load: a value that no volume needs to hold to be listed."""
    key = as_bytes(key)
    line = {"key_hex": key.hex(), "state": "live", "generation": 0, "size": 5, "mtime": MTIME,
            "md5": md5(key), "replicas": ["localhost:3001"], **fields}
    return json.dumps({name: value for name, value in line.items() if value is not None})


@pytest.fixture
def loaded(make_s3, tmp_path):
    """loaded(lines): a server without -keys on an index of those records."""
    def load(lines, **options):
        index(tmp_path / "loaded", "load", stdin="\n".join(lines).encode()).expect(0)
        return make_s3(keys=False, db=tmp_path / "loaded", **options)
    return load


# --- a page, as it came


@dataclass
class Page:
    keys: list = field(default_factory=list)
    prefixes: list = field(default_factory=list)
    truncated: bool = False
    next: bytes = None     # what the next page is asked for with, as it came
    echoes: dict = field(default_factory=dict)


NEXT = {"v1": "NextMarker", "v2": "NextContinuationToken", "versions": "NextKeyMarker"}
FROM = {"v1": "marker", "v2": "start-after", "versions": "key-marker"}
AGAIN = {"v1": "marker", "v2": "continuation-token", "versions": "key-marker"}
FIRST = {"v1": [], "v2": [("list-type", "2")], "versions": [("versions", "")]}


def target(kind, bucket, **parameters):
    pairs = FIRST[kind] + [(name.replace("_", "-"), value) for name, value in parameters.items() if value is not None]
    return f"/{bucket}?" + urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote)


SIGNS_OF_S3 = [("x-amz-date", "20260301T000000Z")]  # without -keys nobody looks at it, but it says that this is S3


def ask(connection, kind, bucket, **parameters):
    answer = connection.request("GET", target(kind, bucket, **parameters), headers=SIGNS_OF_S3)
    assert answer.status == 200, (parameters, answer)
    return answer


def read_page(kind, answer):
    """Of an answer with encoding-type=url."""
    decode = urllib.parse.unquote_to_bytes
    page, root = Page(), ET.fromstring(answer.body)
    assert root.tag == XMLNS + ("ListVersionsResult" if kind == "versions" else "ListBucketResult")
    for element in root:
        name, text = element.tag.removeprefix(XMLNS), element.text or ""
        if name in ("Contents", "Version"):
            assert name == ("Version" if kind == "versions" else "Contents")
            page.keys.append(decode(element.findtext(XMLNS + "Key")))
        elif name == "CommonPrefixes":
            page.prefixes.append(decode(element.findtext(XMLNS + "Prefix")))
        else:
            assert name not in page.echoes, f"{name} came twice"
            page.echoes[name] = text
    page.truncated = {"true": True, "false": False}[page.echoes["IsTruncated"]]
    page.next = page.echoes.get(NEXT[kind])
    assert (page.next is not None) == page.truncated
    if kind == "v2":
        assert int(page.echoes["KeyCount"]) == len(page.keys) + len(page.prefixes)
    elif page.next is not None:
        page.next = decode(page.next)
    return page


# --- what AWS would say


def entries(keys, prefix, delimiter):
    """(what is shown, whether it is a common prefix) in byte order."""
    found = set()
    for key in keys:
        if key and key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add((key, False) if at < 0 else (key[:at + len(delimiter)], True))
    return sorted(found)


def expected_page(keys, prefix, delimiter, after, max_keys):
    left = [entry for entry in entries(keys, prefix, delimiter) if entry[0] > after] if max_keys else []
    shown = left[:max_keys]
    return ([name for name, common in shown if not common], [name for name, common in shown if common],
            len(left) > len(shown), shown[-1][0] if shown else b"")


PIECES = [b"a", b"b", b"a", b"b", b"/", b"/", b"//", b"\xff", b"\xff\xff", b"\x01", b"\x7f", b" ", b"+", b"%", b"%2F", b"&", b"<",
          b'"', b"'", b"\r", b"\n", "ü".encode(), "日".encode(), b"\xc3", b"\xef\xbf\xbe", b"=", b"?", b"#", b".", b"0", b"~",
          b"--", b"k" * 300]


def some_bytes(chance, most):
    return b"".join(chance.choice(PIECES) for _ in range(chance.randrange(most + 1)))


def some_world(chance):
    """Keys of the bucket, and lines for the index with what lies around and must not be seen."""
    keys = {some_bytes(chance, 6)[:1000] for _ in range(chance.choice([3, 40, 150]))}
    roots = [some_bytes(chance, 2) for _ in range(4)]
    keys |= {(chance.choice(roots) + some_bytes(chance, 4))[:1000] for _ in range(chance.choice([0, 60]))}
    keys.discard(b"")
    unlinked = {key for key in keys if chance.random() < 0.2}
    lines = [record(b"/nasty/" + key, state="unlinked" if key in unlinked else "live") for key in keys]
    lines += [record(key) for key in (b"/nasty/", b"/nasty", b"/nastx/z", b"/nasty.b/a", b"/nasty0", b"/nasty0/a", b"/zz")]
    return keys - unlinked, sorted(set(lines))


def some_question(chance, keys):
    """prefix, delimiter, marker: mostly of what is there."""
    one = chance.choice(sorted(keys) or [b"x"])
    other = chance.choice(sorted(keys) or [b"x"])
    prefix = chance.choice([b"", b"", one[:chance.randrange(4)], one[:chance.randrange(len(one) + 1)], some_bytes(chance, 2)])
    delimiter = chance.choice([b"", b"/", b"/", b"a", b"//", b"\xff", one[1:3], some_bytes(chance, 2)])
    marker = chance.choice([b"", b"", other, other[:2], prefix, prefix + b"a/", other + b"\0", other + b"\xff" * 1100,
                            b"~" * 1500, some_bytes(chance, 3)])
    return prefix, delimiter, marker


def check_walk(connection, chance, keys, kind):
    """Every page from a marker on is the one that AWS would give."""
    prefix, delimiter, after = some_question(chance, keys)
    max_keys = chance.choice([1, 1, 2, 3, 7, 50, 1000])
    again = {FROM[kind]: after} if after else {}
    for _ in range(12):
        answer = ask(connection, kind, "nasty", encoding_type="url", prefix=prefix or None, delimiter=delimiter or None,
                     max_keys=max_keys, **again)
        page, what = read_page(kind, answer), (kind, prefix, delimiter, after, max_keys)
        want_keys, want_prefixes, truncated, last = expected_page(keys, prefix, delimiter, after, max_keys)
        assert (page.keys, page.prefixes) == (want_keys, want_prefixes), what
        assert page.truncated == truncated, what
        if not truncated:
            break
        if kind != "v2":
            assert page.next == last, what
        again = {AGAIN[kind]: page.next}
        after = last


@pytest.mark.parametrize("seed", range(3))
def test_every_walk_is_what_aws_would_give(loaded, seed):
    chance = random.Random(seed)
    keys, lines = some_world(chance)
    server = loaded(lines)
    end = time.monotonic() + (12 if SANITIZED else 6)
    with http.Connection(server.port) as connection:
        for turn in range(3000):
            check_walk(connection, chance, keys, chance.choice(["v1", "v2", "versions"]))
            if time.monotonic() > end:
                break
    assert turn > 20


# --- single answers


ORDINARY = ["a", "a/", "a/1", "a/2", "a/b/1", "b", "c/", "c/1", "c//2", "d+e f", "ü", "日本/x"]


@pytest.fixture
def ordinary(loaded):
    return loaded([record("/bucket/" + key) for key in ORDINARY])


def names(answer):
    return texts(answer, "Key"), [e.findtext(XMLNS + "Prefix") for e in ET.fromstring(answer.body).iter(XMLNS + "CommonPrefixes")]


MARKERS = [  # marker, keys, common prefixes, with the delimiter "/"
    ("", ["a", "b", "d+e f", "ü"], ["a/", "c/", "日本/"]),
    ("a", ["b", "d+e f", "ü"], ["a/", "c/", "日本/"]),
    ("a/", ["b", "d+e f", "ü"], ["c/", "日本/"]),           # as the NextMarker of a page that ended there
    ("a/1", ["b", "d+e f", "ü"], ["c/", "日本/"]),          # in the midst of it
    ("a/zzz", ["b", "d+e f", "ü"], ["c/", "日本/"]),
    ("a0", ["b", "d+e f", "ü"], ["c/", "日本/"]),
    ("c", ["d+e f", "ü"], ["c/", "日本/"]),
    ("c.", ["d+e f", "ü"], ["c/", "日本/"]),
    ("日本/", [], []),
    ("\U0010ffff", [], []),
]


@pytest.mark.parametrize("kind", ["v1", "v2", "versions"])
def test_marker_and_delimiter(ordinary, kind):
    with http.Connection(ordinary.port) as connection:
        for marker, keys, prefixes in MARKERS:
            answer = ask(connection, kind, "bucket", delimiter="/", **{FROM[kind]: marker})
            assert names(answer) == (keys, prefixes), marker
            assert texts(answer, "IsTruncated") == ["false"]


@pytest.mark.parametrize("kind", ["v1", "v2", "versions"])
def test_truncated_only_if_one_more_follows(ordinary, kind):
    with http.Connection(ordinary.port) as connection:
        for max_keys in range(1, 14):
            answer = ask(connection, kind, "bucket", max_keys=max_keys)
            assert texts(answer, "IsTruncated") == ["true" if max_keys < len(ORDINARY) else "false"]
            answer = ask(connection, kind, "bucket", delimiter="/", max_keys=max_keys)
            assert texts(answer, "IsTruncated") == ["true" if max_keys < 7 else "false"]
            answer = ask(connection, kind, "bucket", delimiter="/", prefix="a/", max_keys=max_keys)
            assert texts(answer, "IsTruncated") == ["true" if max_keys < 4 else "false"]
            assert names(answer) == (["a/", "a/1", "a/2"][:max_keys], ["a/b/"] if max_keys >= 4 else [])


def test_nothing_behind_unlinked_keys_and_other_buckets(loaded):
    server = loaded([record("/bucket/a"), record("/bucket/b", state="unlinked"), record("/bucket/"), record("/bucket0/c"),
                     record("/bucket")])
    with http.Connection(server.port) as connection:
        answer = ask(connection, "v2", "bucket", max_keys=1)
    assert texts(answer, "Key") == ["a"] and texts(answer, "IsTruncated") == ["false"]


@pytest.mark.parametrize("kind", ["v1", "v2", "versions"])
def test_max_keys(ordinary, kind):
    with http.Connection(ordinary.port) as connection:
        for text, said, count in [("0", "0", 0), ("1", "1", 1), ("0005", "5", 5), ("1000", "1000", 12), ("1001", "1000", 12),
                                  ("2147483647", "1000", 12), ("", "1000", 12), (None, "1000", 12)]:
            answer = ask(connection, kind, "bucket", max_keys=text)
            assert texts(answer, "MaxKeys") == [said] and len(texts(answer, "Key")) == count
            assert texts(answer, "IsTruncated") == ["true" if 0 < count < 12 else "false"], text


BAD = ["max-keys=-1", "max-keys=x", "max-keys=1x", "max-keys=+1", "max-keys=2147483648", "max-keys=99999999999999999999",
       "encoding-type=URL", "encoding-type=base64", "prefix=%", "delimiter=%zz", "prefix=%a"]
BAD_V2 = ["continuation-token=", "continuation-token=a", "continuation-token=AWE=", "continuation-token=AQ",
          "continuation-token=AmE", "continuation-token=a/b", "continuation-token=AWF", "continuation-token=" + "A" * 2000,
          "continuation-token=key-12"]
BAD_VERSIONS = ["version-id-marker=null", "key-marker=a&version-id-marker=3"]


def test_refused(ordinary):
    queries = [*BAD, "list-type=", "list-type=1", "list-type=3", *("list-type=2&" + q for q in BAD + BAD_V2),
               *("versions&" + q for q in BAD + BAD_VERSIONS)]
    with http.Connection(ordinary.port) as connection:
        for query in queries:
            answer = connection.request("GET", "/bucket?" + query, headers=SIGNS_OF_S3)
            assert answer.status == 400 and code(answer) == "InvalidArgument", (query, answer)


def test_echoes(ordinary):
    with http.Connection(ordinary.port) as connection:
        v1 = ask(connection, "v1", "bucket", prefix="a", marker="a&", delimiter="<b>", encoding_type="url", max_keys=3)
        v2 = ask(connection, "v2", "bucket", prefix="a", start_after="a&", delimiter="<b>", max_keys=1)
        token, = texts(v2, "NextContinuationToken")
        next_v2 = ask(connection, "v2", "bucket", prefix="a", start_after="x", continuation_token=token)
        versions = ask(connection, "versions", "bucket", prefix="a", key_marker="a&", version_id_marker="null", max_keys=1)
        plain = ask(connection, "v2", "bucket")

    def said(answer, *which):
        root = ET.fromstring(answer.body)
        return [root.findtext(XMLNS + name) for name in which]

    assert said(v1, "Name", "Prefix", "Marker", "Delimiter", "EncodingType", "MaxKeys", "NextMarker") == [
        "bucket", "a", "a%26", "%3Cb%3E", "url", "3", "a/2"]
    assert said(v2, "Name", "Prefix", "StartAfter", "Delimiter", "EncodingType", "MaxKeys", "KeyCount") == [
        "bucket", "a", "a&", "<b>", None, "1", "1"]
    assert said(next_v2, "ContinuationToken", "StartAfter", "IsTruncated") == [token, "x", "false"]
    assert texts(next_v2, "Key") == ["a/1", "a/2", "a/b/1"]
    assert said(versions, "Prefix", "KeyMarker", "VersionIdMarker", "NextKeyMarker", "NextVersionIdMarker") == [
        "a", "a&", "null", "a/", "null"]
    assert said(plain, "Prefix", "Delimiter", "StartAfter", "ContinuationToken", "NextContinuationToken", "EncodingType") == [
        "", None, None, None, None, None]
    assert v1.header("Content-Type") == "application/xml" and v1.header("x-amz-request-id")


def test_entry(loaded):
    server = loaded([
        record("/bucket/known", md5="00112233445566778899aabbccddeeff"),
        record("/bucket/multipart", fields={"8": b"GLACIER".hex(), "9": (b"ab" * 16 + b"-12").hex()}),
        record("/bucket/unknown", size=None, mtime=None, md5=None)])
    with http.Connection(server.port) as connection:
        root = ET.fromstring(ask(connection, "v2", "bucket").body)
    known, multipart, unknown = [{e.tag.removeprefix(XMLNS): e.text for e in entry} for entry in root.iter(XMLNS + "Contents")]
    assert known == {"Key": "known", "LastModified": DATE, "ETag": '"00112233445566778899aabbccddeeff"', "Size": "5",
                     "StorageClass": "STANDARD"}
    assert multipart["ETag"] == '"' + "ab" * 16 + '-12"' and multipart["StorageClass"] == "GLACIER"
    assert unknown["Size"] == "0" and unknown["LastModified"] == "1970-01-01T00:00:00.000Z"
    assert unknown["ETag"].endswith('-1"') and len(unknown["ETag"]) == 36


def test_owner(s3):
    bucket = s3.make_bucket("limited")
    assert s3.raw().put("/limited/a", b"value").status == 200
    for query, owners in [("", 1), ("?list-type=2", 0), ("?list-type=2&fetch-owner=true", 1), ("?list-type=2&fetch-owner=false", 0),
                          ("?versions", 1)]:
        answer = s3.raw(LIMITED).get(f"/{bucket}{query}")
        assert answer.status == 200 and texts(answer, "ID") == [LIMITED.access] * owners, query


def test_what_xml_can_not_carry(loaded):
    server = loaded([record(b"/bucket/a\x01b"), record(b"/bucket/a\xffb"), record("/bucket/a&<>\"'\r\n\tü")])
    with http.Connection(server.port) as connection:
        body = ask(connection, "v2", "bucket").body
        url = ask(connection, "v2", "bucket", encoding_type="url")
    assert b"<Key>a&#x1;b</Key>" in body
    assert "<Key>a\ufffdb</Key>".encode() in body
    assert "<Key>a&amp;&lt;&gt;&quot;'&#xd;&#xa;&#x9;ü</Key>".encode() in body
    assert texts(url, "Key") == ["a%01b", "a%26%3C%3E%22%27%0D%0A%09%C3%BC", "a%FFb"]


def test_missing_bucket(s3):
    for query in ("", "?list-type=2", "?versions"):
        answer = s3.raw().get("/nowhere" + query)
        assert answer.status == 404 and code(answer) == "NoSuchBucket"


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_boto3_paginators(loaded, delimiter):
    keys = sorted({f"{i % 7}/{i % 3} +%&/{i}" for i in range(60)} | {f"top {i}" for i in range(20)})
    server = loaded([record("/bucket/" + key) for key in keys])
    client = server.boto3()
    want = entries([key.encode() for key in keys], b"", delimiter.encode())
    for operation, contents in [("list_objects", "Contents"), ("list_objects_v2", "Contents"), ("list_object_versions", "Versions")]:
        pages = list(client.get_paginator(operation).paginate(Bucket="bucket", Delimiter=delimiter,
                                                              PaginationConfig={"PageSize": 4}))
        found = [(o["Key"].encode(), False) for page in pages for o in page.get(contents, ())]
        found += [(p["Prefix"].encode(), True) for page in pages for p in page.get("CommonPrefixes", ())]
        assert sorted(found) == want and len(found) == len(set(found)), operation
        assert len(pages) == (len(want) + 3) // 4


def test_listed_as_put(s3):
    client = s3.boto3()
    client.create_bucket(Bucket="bucket")
    etag = client.put_object(Bucket="bucket", Key="käy", Body=b"12345", ChecksumAlgorithm="SHA256")["ETag"]
    entry, = client.list_objects_v2(Bucket="bucket")["Contents"]
    assert (entry["Key"], entry["Size"], entry["ETag"], entry["ChecksumAlgorithm"]) == ("käy", 5, etag, ["SHA256"])
    assert abs(entry["LastModified"].timestamp() - time.time()) < 60
    version, = client.list_object_versions(Bucket="bucket")["Versions"]
    assert (version["VersionId"], version["IsLatest"], version["Key"]) == ("null", True, "käy")
    client.delete_object(Bucket="bucket", Key="käy")
    assert "Contents" not in client.list_objects(Bucket="bucket")


def test_client_that_leaves_a_long_walk(loaded):
    """Thousands of unlinked keys take several turns; who asked may be gone by then."""
    lines = [record(f"/bucket/a{i:05}", state="unlinked") for i in range(20000)] + [record("/bucket/b")]
    server = loaded(lines)
    with http.Connection(server.port) as connection:
        assert texts(ask(connection, "v2", "bucket"), "Key") == ["b"]
    for _ in range(30):
        connection = http.Connection(server.port)
        connection.send_head("GET", "/bucket?list-type=2", SIGNS_OF_S3)
        connection.reset()
    with http.Connection(server.port) as connection:
        assert texts(ask(connection, "v2", "bucket", delimiter="/"), "Key") == ["b"]
