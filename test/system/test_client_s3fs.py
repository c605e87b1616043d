"""s3fs: a bucket as a directory."""
import os
import pathlib
import shutil
import subprocess

import pytest

from mkvtest.cluster import wait_until
from mkvtest.s3 import ADMIN, MEGABYTE, bytes_of, find_program, sample_tree, tree_of, write_tree


def need_fuse():
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as problem:
        pytest.skip(f"s3fs needs FUSE, which is not to be had here: /dev/fuse: {problem.strerror}")


@pytest.fixture
def mount(client):
    """mount(server, key): the bucket photos in a directory, until the test ends."""
    need_fuse()
    mounted = []

    def at(server, key=ADMIN):
        directory = client.work / "mounted"
        directory.mkdir(exist_ok=True)
        password = client.configure("passwd-s3fs", f"{key.access}:{key.secret}\n")
        log = client.home / "s3fs.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [find_program("s3fs"), "photos", directory, "-f", "-o", f"url={server.endpoint},use_path_request_style,"
                 f"passwd_file={password},endpoint=mkv,multipart_size=10,retries=1,stat_cache_expire=1"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=client.environment)
        mounted.append((directory, process))

        def ready():
            if process.poll() is not None:
                said = log.read_text(errors="replace")
                if "ermission denied" in said or "not permitted" in said:
                    pytest.skip(f"s3fs may not mount here: {said.strip().splitlines()[-1]}")
                raise AssertionError(f"s3fs exited with {process.returncode}: {said}")
            return os.path.ismount(directory)
        wait_until(ready, "s3fs has mounted the bucket")
        return directory

    def end(directory, process):
        subprocess.run([shutil.which("fusermount3") or "fusermount", "-u", directory], check=False, capture_output=True)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def unmount():
        while mounted:
            end(*mounted.pop())

    at.unmount = unmount
    yield at
    unmount()


def copy_tree(source, target):
    done = subprocess.run(["cp", "-a", source, target], check=False, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_tree(s3, client, mount):
    s3.make_bucket("photos")
    directory = mount(s3)
    tree = {**sample_tree(), "quotes'\"": b"quotes"}
    write_tree(client.work / "up", tree)
    (client.work / "up" / "deep" / "none").mkdir()
    os.utime(client.work / "up" / "one", (1_500_000_000, 1_500_000_000))
    (client.work / "up" / "one").chmod(0o640)
    copy_tree(client.work / "up", directory / "tree")
    mount.unmount()
    directory = mount(s3)  # nothing that is only remembered
    assert tree_of(directory / "tree") == {**tree, "deep/none": None}
    status = (directory / "tree" / "one").stat()
    assert (int(status.st_mtime), status.st_mode & 0o777) == (1_500_000_000, 0o640)
    with open(directory / "tree" / "one", "ab") as file:
        file.write(b" and more")
    assert s3.raw().get("/photos/tree/one").body == b"1 and more"
    (directory / "tree" / "one").rename(directory / "tree" / "renamed")
    assert (directory / "tree" / "renamed").read_bytes() == b"1 and more"
    assert not (directory / "tree" / "one").exists()
    (directory / "tree" / "deep").rename(directory / "tree" / "moved")
    assert (directory / "tree" / "moved" / "er" / "beside").read_bytes() == b"beside"
    os.symlink("renamed", directory / "tree" / "link")
    assert (directory / "tree" / "link").read_bytes() == b"1 and more"
    with open(directory / "tree" / "large", "r+b") as file:
        file.seek(1000)
        file.write(b"in the middle")
    expected = bytearray(tree["large"])
    expected[1000:1013] = b"in the middle"
    assert s3.raw().get("/photos/tree/large").body == bytes(expected)
    shutil.rmtree(directory / "tree")
    assert list(directory.iterdir()) == []
    assert s3.records() == {}


def test_a_large_file(s3, mount):
    s3.make_bucket("photos")
    directory = mount(s3)
    data = bytes_of(35 * MEGABYTE + 1, 1)
    (directory / "film").write_bytes(data)
    assert s3.raw().request("HEAD", "/photos/film").header("Content-Length") == str(len(data))
    mount.unmount()
    directory = mount(s3)
    assert (directory / "film").read_bytes() == data
    with open(directory / "film", "ab") as file:
        file.write(b"the end")
    (directory / "film").rename(directory / "renamed")
    assert s3.raw().get("/photos/renamed").body == data + b"the end"


def test_without_keys(make_s3, mount):
    server = make_s3(keys=False)
    server.make_bucket("photos")
    directory = mount(server)
    pathlib.Path(directory, "cat").write_bytes(b"a cat")
    assert server.master.read("/photos/cat") == b"a cat"
