"""rclone."""
import json
import os

import pytest

from mkvtest.cluster import SANITIZED
from mkvtest.s3 import ADMIN, LIMITED, MEGABYTE, bytes_of, sample_tree, tree_of, write_tree

CONFIG = """[{name}]
type = s3
provider = Other
access_key_id = {key.access}
secret_access_key = {key.secret}
endpoint = {endpoint}
region = mkv
force_path_style = true
"""


@pytest.fixture
def rclone_of(client):
    def of(server, key=ADMIN):
        config = client.configure(f"rclone-{key.access}", CONFIG.format(name="mkv", key=key, endpoint=server.endpoint))

        def rclone(*words, **options):
            return client.run("rclone", "--config", config, "--retries", "1", "--low-level-retries", "1", *words, **options)
        return rclone
    return of


@pytest.fixture
def rclone(s3, rclone_of):
    return rclone_of(s3)


def test_a_tree(s3, client, rclone):
    tree = {**sample_tree(), "quotes'\"and`": b"quotes", "question?#": b"question"}
    write_tree(client.work / "up", tree)
    for name in tree:
        os.utime(client.work / "up" / name, (1_500_000_000, 1_500_000_000))
    rclone("mkdir", "mkv:photos")
    rclone("copy", "up", "mkv:photos/tree")
    rclone("check", "up", "mkv:photos/tree")
    rclone("check", "--download", "up", "mkv:photos/tree")
    assert sorted(rclone("lsf", "-R", "--files-only", "mkv:photos/tree").splitlines()) == sorted(tree)
    assert rclone("lsf", "mkv:").splitlines() == ["photos/"]
    rclone("copy", "mkv:photos/tree", "down")
    assert tree_of(client.work / "down") == tree
    assert {int((client.work / "down" / name).stat().st_mtime) for name in tree} == {1_500_000_000}
    files = json.loads(rclone("lsjson", "--hash", "-R", "--files-only", "mkv:photos/tree"))
    assert {entry["Path"]: entry["Size"] for entry in files} == {name: len(data) for name, data in tree.items()}
    client.file("up/one", b"changed")
    (client.work / "up" / "with space").unlink()
    rclone("sync", "up", "mkv:photos/tree")
    rclone("sync", "mkv:photos/tree", "down")
    assert tree_of(client.work / "down") == tree_of(client.work / "up")
    rclone("copyto", "mkv:photos/tree/one", "mkv:photos/copied one")
    rclone("moveto", "mkv:photos/copied one", "mkv:photos/moved one")
    assert rclone("cat", "mkv:photos/moved one") == "changed"
    rclone("sync", "mkv:photos/tree", "mkv:photos/second", "--metadata")
    rclone("check", "mkv:photos/tree", "mkv:photos/second")
    rclone("touch", "-t", "2020-01-02T03:04:05", "mkv:photos/moved one")
    assert "2020-01-02 03:04:05" in rclone("lsl", "mkv:photos/moved one", environment={"TZ": "UTC"})
    rclone("delete", "mkv:photos/second")
    assert rclone("lsf", "mkv:photos/second") == ""
    rclone("purge", "mkv:photos")
    assert s3.records() == {} and rclone("lsf", "mkv:") == ""


def test_many_small_files(make_s3, client, rclone_of):
    """A directory of 5,000 files: five pages of a list, 16 uploads at a time.  One replica: the next test must clear it."""
    s3 = make_s3("-replicas", "1", "-subvolumes", "1")
    rclone = rclone_of(s3)
    count = 500 if SANITIZED else 5000
    tree = {f"file{i:04}": b"%d" % i for i in range(count)}
    write_tree(client.work / "up", tree)
    rclone("mkdir", "mkv:photos")
    rclone("copy", "--transfers", "16", "--s3-no-check-bucket", "--s3-no-head", "up", "mkv:photos/many")
    assert rclone("lsf", "mkv:photos/many").splitlines() == sorted(tree)
    assert rclone("size", "--json", "mkv:photos").strip().startswith(f'{{"count":{count},')
    rclone("check", "--checkers", "16", "--size-only", "up", "mkv:photos/many")
    rclone("delete", "mkv:photos/many", "--checkers", "16")
    assert s3.records() == {}


def test_multipart(s3, client, rclone):
    data = bytes_of(23 * MEGABYTE + 5, 1)
    client.file("film", data, mtime=1_500_000_000)
    rclone("mkdir", "mkv:photos")
    rclone("copy", "--s3-upload-cutoff", "5Mi", "--s3-chunk-size", "5Mi", "film", "mkv:photos")
    assert s3.raw().request("HEAD", "/photos/film").header("ETag").endswith('-5"')
    rclone("check", "--download", "film", "mkv:photos")
    rclone("copyto", "--s3-copy-cutoff", "6Mi", "mkv:photos/film", "mkv:photos/copy")
    rclone("copyto", "mkv:photos/copy", "back")
    assert (client.work / "back").read_bytes() == data
    assert int((client.work / "back").stat().st_mtime) == 1_500_000_000
    assert rclone("rcat", "mkv:photos/from a pipe", stdin=b"piped") == ""
    assert rclone("cat", "mkv:photos/from a pipe") == "piped"
    rclone("backend", "cleanup", "mkv:photos")


def test_a_key_with_one_bucket(s3, client, rclone_of):
    s3.make_bucket("limited")
    s3.make_bucket("photos")
    limited = rclone_of(s3, LIMITED)
    client.file("cat", b"a cat")
    limited("copy", "--s3-no-check-bucket", "cat", "mkv:limited")  # it may not make buckets, and does not try
    assert limited("lsf", "mkv:").splitlines() == ["limited/"]
    assert "403" in limited("copy", "--s3-no-check-bucket", "cat", "mkv:photos", status=1)


def test_without_keys(make_s3, client, rclone_of):
    server = make_s3(keys=False)
    rclone = rclone_of(server)
    client.file("cat", b"a cat")
    rclone("copy", "cat", "mkv:photos")
    assert rclone("cat", "mkv:photos/cat") == "a cat"
    assert server.master.read("/photos/cat") == b"a cat"
    rclone("purge", "mkv:photos")
    assert server.master.keys() == []
