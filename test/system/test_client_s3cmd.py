"""s3cmd."""
import re

import pytest

from mkvtest.s3 import ADMIN, LIMITED, MEGABYTE, bytes_of, md5, sample_tree, tree_of, write_tree

CONFIG = """[default]
access_key = {key.access}
secret_key = {key.secret}
host_base = 127.0.0.1:{port}
host_bucket = 127.0.0.1:{port}
bucket_location = mkv
use_https = False
max_retries = 1
"""


@pytest.fixture
def s3cmd_of(client):
    def of(server, key=ADMIN):
        config = client.configure(f"s3cfg-{key.access}", CONFIG.format(key=key, port=server.port))

        def s3cmd(*words, **options):
            return client.run("s3cmd", "-c", config, "--no-progress", *words, **options)
        return s3cmd
    return of


@pytest.fixture
def s3cmd(s3, s3cmd_of):
    return s3cmd_of(s3)


def test_objects(s3, client, s3cmd):
    assert "NoSuchBucket" in s3cmd("ls", "s3://photos", status=12)
    s3cmd("mb", "s3://photos")
    assert "s3://photos" in s3cmd("ls")
    client.file("a cat", b"a cat").chmod(0o640)
    s3cmd("put", "a cat", "s3://photos/a cat+1", "--add-header=x-amz-meta-colour:black", "--mime-type=text/x-cat")
    listed = s3cmd("ls", "s3://photos/").split()
    assert listed[2:] == ["5", "s3://photos/a", "cat+1"]
    info = s3cmd("info", "s3://photos/a cat+1")
    for pattern in (r"File size:\s+5\n", r"MIME type:\s+text/x-cat\n", rf"MD5 sum:\s+{md5(b'a cat')}\n",
                    r"x-amz-meta-colour:\s+black\n", r"x-amz-meta-s3cmd-attrs:.*\bmode:33184\b", r"Location:\s+mkv|ACL:"):
        assert re.search(pattern, info), (pattern, info)
    s3cmd("get", "s3://photos/a cat+1", "back")
    assert (client.work / "back").read_bytes() == b"a cat"
    s3cmd("cp", "s3://photos/a cat+1", "s3://photos/copy")
    s3cmd("mv", "s3://photos/copy", "s3://photos/moved")
    assert s3.raw().get("/photos/moved").body == b"a cat"
    assert sorted(s3.records()) == [b"/photos/a cat+1", b"/photos/moved"]
    s3cmd("modify", "--add-header=Cache-Control:max-age=9", "s3://photos/moved")
    answer = s3.raw().get("/photos/moved")
    assert (answer.header("Cache-Control"), answer.body) == ("max-age=9", b"a cat")
    assert "5" in s3cmd("du", "s3://photos/moved").split()
    s3cmd("del", "s3://photos/moved")
    assert "BucketNotEmpty" in s3cmd("rb", "s3://photos", status=13)
    s3cmd("rb", "--recursive", "--force", "s3://photos")
    assert s3.records() == {} and s3cmd("ls") == ""


def test_sync(s3, client, s3cmd):
    s3cmd("mb", "s3://photos")
    tree = sample_tree()
    write_tree(client.work / "up", tree)
    client.file("up/one", tree["one"], mtime=1_500_000_000).chmod(0o640)
    s3cmd("sync", "up/", "s3://photos/tree/")
    s3cmd("sync", "s3://photos/tree/", "down/")
    assert tree_of(client.work / "down") == tree
    status = (client.work / "down" / "one").stat()
    assert (int(status.st_mtime), status.st_mode & 0o777) == (1_500_000_000, 0o640)
    assert "upload:" not in s3cmd("sync", "up/", "s3://photos/tree/")
    client.file("up/one", b"changed")
    (client.work / "up" / "deep" / "er" / "beside").unlink()
    said = s3cmd("sync", "--delete-removed", "up/", "s3://photos/tree/")
    assert "upload: 'up/one'" in said and "delete: 's3://photos/tree/deep/er/beside'" in said
    assert len(s3cmd("ls", "-r", "s3://photos/").splitlines()) == len(tree) - 1
    assert "DIR" in s3cmd("ls", "s3://photos/tree/")
    s3cmd("del", "-r", "--force", "s3://photos/tree/")
    assert s3.records() == {}


def test_multipart(s3, client, s3cmd):
    s3cmd("mb", "s3://photos")
    data = bytes_of(17 * MEGABYTE + 3, 1)
    client.file("film", data)
    s3cmd("put", "--multipart-chunk-size-mb=5", "film", "s3://photos/film")
    assert s3.raw().request("HEAD", "/photos/film").header("ETag").endswith('-4"')
    s3cmd("get", "s3://photos/film", "back")
    assert (client.work / "back").read_bytes() == data
    s3cmd("cp", "s3://photos/film", "s3://photos/copy")
    assert s3.raw().get("/photos/copy").body == data
    assert "film" not in s3cmd("multipart", "s3://photos")


def test_a_key_with_one_bucket(s3, client, s3cmd_of):
    s3.make_bucket("limited")
    s3.make_bucket("photos")
    limited = s3cmd_of(s3, LIMITED)
    client.file("cat", b"a cat")
    limited("put", "cat", "s3://limited/cat")
    assert limited("ls").split()[2:] == ["s3://limited"]
    assert "AccessDenied" in limited("put", "cat", "s3://photos/cat", status=77)


def test_without_keys(make_s3, client, s3cmd_of):
    server = make_s3(keys=False)
    s3cmd = s3cmd_of(server)
    client.file("cat", b"a cat")
    s3cmd("mb", "s3://photos")
    s3cmd("put", "cat", "s3://photos/cat")
    s3cmd("get", "s3://photos/cat", "back")
    assert (client.work / "back").read_bytes() == b"a cat"
    assert server.master.read("/photos/cat") == b"a cat"
