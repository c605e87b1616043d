"""aws, the command line."""
import json
import os
import urllib.request

import pytest

from mkvtest.cluster import free_port
from mkvtest.s3 import ADMIN, CHECKSUMS, LARGE, LIMITED, REGION, bytes_of, checksum, md5, sample_tree, tree_of, write_tree


def environment(key, region=REGION):
    return {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret, "AWS_DEFAULT_REGION": region,
            "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": ""}


@pytest.fixture
def aws_of(client):
    """aws_of(server): a function that runs aws on it."""
    def of(server, key=ADMIN):
        def aws(*words, **options):
            return client.run("aws", "--endpoint-url", server.endpoint, *words, environment=environment(key), **options)
        aws.api = lambda *words, **options: json.loads(aws("s3api", *words, "--output", "json", **options) or "null")
        return aws
    return of


@pytest.fixture
def aws(s3, aws_of):
    return aws_of(s3)


def test_buckets_and_small_objects(s3, client, aws):
    aws("s3", "mb", "s3://photos")
    assert aws("s3", "ls").split()[-1] == "photos"
    client.file("cat.txt", b"a cat")
    aws("s3", "cp", "cat.txt", "s3://photos/a cat+1.txt", "--metadata", "colour=black,Age=7", "--cache-control", "max-age=9",
        "--content-language", "en", "--content-disposition", "attachment; filename=\"c.txt\"")
    about = aws.api("head-object", "--bucket", "photos", "--key", "a cat+1.txt")
    assert {name: about[name] for name in ("ContentLength", "ContentType", "CacheControl", "ContentLanguage",
                                           "ContentDisposition", "ETag")} == {
        "ContentLength": 5, "ContentType": "text/plain", "CacheControl": "max-age=9", "ContentLanguage": "en",
        "ContentDisposition": "attachment; filename=\"c.txt\"", "ETag": f'"{md5(b"a cat")}"'}
    assert {name.lower(): value for name, value in about["Metadata"].items()} == {"colour": "black", "age": "7"}
    assert aws("s3", "ls", "s3://photos/").split()[2:] == ["5", "a", "cat+1.txt"]
    aws("s3", "cp", "s3://photos/a cat+1.txt", "back.txt")
    assert (client.work / "back.txt").read_bytes() == b"a cat"
    assert aws("s3", "cp", "s3://photos/a cat+1.txt", "-") == "a cat"
    aws("s3", "cp", "-", "s3://photos/from a pipe", stdin=b"piped")
    assert s3.raw().get("/photos/from%20a%20pipe").body == b"piped"
    aws("s3", "mv", "s3://photos/from a pipe", "s3://photos/moved")
    aws("s3", "mv", "s3://photos/moved", "moved.txt")
    assert (client.work / "moved.txt").read_bytes() == b"piped"
    assert sorted(s3.records()) == [b"/photos/a cat+1.txt"]
    assert "BucketNotEmpty" in aws("s3", "rb", "s3://photos", status=1)
    aws("s3", "rm", "s3://photos/a cat+1.txt")
    aws("s3", "rb", "s3://photos")
    assert aws("s3", "ls") == ""
    assert "NoSuchBucket" in aws("s3", "ls", "s3://photos", status=254)


def test_large_objects(s3, client, aws):
    """In parts on the way up, in ranges on the way down, by copies of parts from S3 to S3."""
    aws("s3", "mb", "s3://photos")
    data = bytes_of(LARGE + 12345, 1)
    client.file("film", data)
    aws("s3", "cp", "film", "s3://photos/film", "--metadata", "length=long", "--content-type", "video/x-film",
        "--only-show-errors")
    about = aws.api("head-object", "--bucket", "photos", "--key", "film")
    assert (about["ContentLength"], about["ContentType"], about["Metadata"]) == (len(data), "video/x-film", {"length": "long"})
    assert about["ETag"].strip('"').partition("-")[2] == str(-(-len(data) // (8 << 20)))
    aws("s3", "cp", "s3://photos/film", "s3://photos/copy", "--only-show-errors")
    copy = aws.api("head-object", "--bucket", "photos", "--key", "copy")
    assert (copy["ContentLength"], copy["ContentType"], copy["Metadata"]) == (len(data), "video/x-film", {"length": "long"})
    aws("s3", "cp", "s3://photos/copy", "back", "--only-show-errors")
    assert (client.work / "back").read_bytes() == data
    aws("s3", "mv", "s3://photos/copy", "s3://photos/moved", "--only-show-errors")
    assert sorted(s3.records()) == [b"/photos/film", b"/photos/moved"]
    assert (s3.uploads(), s3.spooled()) == (0, [])


def test_sync_both_ways(s3, client, aws):
    aws("s3", "mb", "s3://photos")
    tree = sample_tree()
    write_tree(client.work / "up", tree)
    aws("s3", "sync", "up", "s3://photos/tree", "--only-show-errors")
    aws("s3", "sync", "s3://photos/tree", "down", "--only-show-errors")
    assert tree_of(client.work / "down") == tree
    assert aws("s3", "sync", "up", "s3://photos/tree") == ""  # nothing is left to do
    (client.work / "up" / "one").unlink()
    client.file("up/deep/er/beside", b"changed and longer")
    said = aws("s3", "sync", "up", "s3://photos/tree", "--delete", "--no-progress")
    assert "delete: s3://photos/tree/one" in said and "upload: up/deep/er/beside" in said
    assert len(said.strip().splitlines()) == 2
    listing = aws("s3", "ls", "--recursive", "--summarize", "s3://photos/")
    assert f"Total Objects: {len(tree) - 1}" in listing
    assert "PRE deep/" in aws("s3", "ls", "s3://photos/tree/")
    aws("s3", "rm", "--recursive", "s3://photos/tree", "--only-show-errors")
    assert s3.records() == {}
    aws("s3", "cp", "--recursive", "down", "s3://photos/", "--only-show-errors")
    aws("s3", "rb", "--force", "s3://photos")
    assert s3.dump() == []


def test_presign(s3, client, aws):
    aws("s3", "mb", "s3://photos")
    client.file("cat", b"a cat")
    aws("s3", "cp", "cat", "s3://photos/a cat", "--only-show-errors")
    url = aws("s3", "presign", "s3://photos/a cat", "--expires-in", "60").strip()
    assert "X-Amz-Signature=" in url
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as answer:
        assert answer.read() == b"a cat"


def test_checksums(s3, client, aws):
    s3.make_bucket("photos")
    data = os.urandom(70_000)
    client.file("cat", data)
    for kind in [kind for kind in CHECKSUMS if kind != "CRC64NVME"]:  # this aws is older than that
        put = aws.api("put-object", "--bucket", "photos", "--key", kind, "--body", "cat", "--checksum-algorithm", kind)
        assert put[f"Checksum{kind}"] == checksum(kind, data)
        got = aws.api("get-object", "--bucket", "photos", "--key", kind, "--checksum-mode", "ENABLED", "back")
        assert got[f"Checksum{kind}"] == checksum(kind, data)
        assert (client.work / "back").read_bytes() == data
    about = aws.api("get-object-attributes", "--bucket", "photos", "--key", "SHA1", "--object-attributes", "Checksum",
                    "ObjectSize", "ETag")
    assert about["Checksum"] == {"ChecksumSHA1": checksum("SHA1", data)}
    assert (about["ObjectSize"], about["ETag"]) == (len(data), md5(data))
    wrong = checksum("SHA256", b"another")
    assert "BadDigest" in aws("s3api", "put-object", "--bucket", "photos", "--key", "wrong", "--body", "cat",
                              "--checksum-sha256", wrong, status=254)
    assert b"/photos/wrong" not in s3.records()


def test_a_key_with_one_bucket(s3, client, aws_of):
    aws_of(s3)("s3", "mb", "s3://photos")
    s3.make_bucket("limited")
    limited = aws_of(s3, LIMITED)
    client.file("cat", b"a cat")
    limited("s3", "cp", "cat", "s3://limited/cat")
    assert limited("s3", "ls").split()[2:] == ["limited"]
    assert "AccessDenied" in limited("s3", "cp", "cat", "s3://photos/cat", status=1)
    assert "AccessDenied" in limited("s3", "ls", "s3://photos", status=254)


def test_without_keys(make_s3, client, aws_of):
    s3_port = free_port()
    server = make_s3("-s3-port", s3_port, keys=False)
    aws = aws_of(server)
    client.file("cat", b"a cat")
    aws("s3", "cp", "cat", "s3://photos/cat")  # the bucket comes into being with it
    assert aws("s3", "cp", "s3://photos/cat", "-") == "a cat"
    # Unsigned, its requests are like any native client's: the port tells.
    unsigned = ("--no-sign-request", "--endpoint-url", f"http://127.0.0.1:{s3_port}")
    assert client.run("aws", *unsigned, "s3", "cp", "s3://photos/cat", "-", environment=environment(ADMIN)) == "a cat"
    assert aws("s3", "ls").split()[2:] == ["photos"]
    assert server.master.keys() == ["/photos/cat"]
    assert server.master.read("/photos/cat") == b"a cat"
    aws("s3", "rb", "--force", "s3://photos")
    assert server.master.keys() == []
