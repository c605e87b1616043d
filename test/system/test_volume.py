"""volume-conf/volume: a directory served by nginx as the master needs it."""
import json
import os
import signal
import subprocess

import pytest

from mkvtest import http
from mkvtest.cluster import ROOT, VOLUME, Volume, free_port, is_listening


@pytest.fixture
def volume(own_volumes):
    return own_volumes(1)[0]


def run(*arguments, **environment):
    return subprocess.run([VOLUME, *arguments], capture_output=True, text=True, timeout=20, check=False,
                          env={**os.environ, **environment})


def ask(volume, method, path, body=None, headers=()):
    return http.request(volume.port, method, path, body, headers)


def test_one_file_for_each_value(volume):
    assert ask(volume, "PUT", "/sv00/ab/cd/L2Zv/bw==", b"value").status == 201
    assert volume.files() == {"/sv00/ab/cd/L2Zv/bw==": b"value"}
    assert ask(volume, "GET", "/sv00/ab/cd/L2Zv/bw==").body == b"value"
    head = ask(volume, "HEAD", "/sv00/ab/cd/L2Zv/bw==")
    assert (head.status, head.header("Content-Length"), head.header("Content-Type")) == (200, "5", "application/octet-stream")
    part = ask(volume, "GET", "/sv00/ab/cd/L2Zv/bw==", headers=[("Range", "bytes=1-2")])
    assert (part.status, part.body) == (206, b"al")
    assert ask(volume, "DELETE", "/sv00/ab/cd/L2Zv/bw==").status == 204
    assert ask(volume, "DELETE", "/sv00/ab/cd/L2Zv/bw==").status == 404
    assert volume.files() == {}
    assert not volume.temporary_files()


def test_listings(volume):
    ask(volume, "PUT", "/sv00/ab/cd/one", b"value", [("Date", "Sun, 06 Nov 1994 08:49:37 GMT")])
    ask(volume, "PUT", "/sv00/ab/cd/dir/two", b"value")
    listing = json.loads(ask(volume, "GET", "/sv00/ab/cd/").body)
    assert {entry["name"]: entry["type"] for entry in listing} == {"one": "file", "dir": "directory"}
    one = next(entry for entry in listing if entry["name"] == "one")
    assert (one["size"], one["mtime"]) == (5, "Sun, 06 Nov 1994 08:49:37 GMT")
    assert [entry["name"] for entry in json.loads(ask(volume, "GET", "/").body)] == ["sv00"], "nothing of nginx's own"
    for path in ("/.nginx/", "/.nginx/nginx.conf", "/./.nginx/nginx.pid", "//.nginx/nginx.conf", "/%2enginx/nginx.conf"):
        assert ask(volume, "GET", path).status == 404
        assert ask(volume, "PUT", path, b"x").status in (404, 409)


def test_large_and_chunked_and_empty(volume):
    value = os.urandom(5_000_000)
    assert http.request(volume.port, "PUT", "/aa/bb/large", value, chunked=True).status == 201
    assert http.request(volume.port, "PUT", "/aa/bb/empty", b"").status == 201
    assert volume.files() == {"/aa/bb/large": value, "/aa/bb/empty": b""}


def test_no_delete_takes_a_whole_directory(volume):
    ask(volume, "PUT", "/sv00/ab/cd/one", b"value")
    for path in ("/", "/sv00/", "/sv00/ab/"):
        assert ask(volume, "DELETE", path).status == 409
    assert volume.files() == {"/sv00/ab/cd/one": b"value"}


def test_who_may_write(own_volumes):
    (volume,) = own_volumes(1, MASTER="10.1.2.3,192.168.0.0/16,fd00::/8")
    assert ask(volume, "PUT", "/aa/bb/cc", b"value").status == 403
    assert ask(volume, "DELETE", "/aa/bb/cc").status == 403
    assert ask(volume, "GET", "/").status == 200
    (volume,) = own_volumes(1, MASTER="10.1.2.3,127.0.0.0/8")
    assert ask(volume, "PUT", "/aa/bb/cc", b"value").status == 201


def test_keep_alive(volume):
    with http.Connection(volume.port) as connection:
        for i in range(1500):
            assert connection.request("GET", "/nope").status == 404, i


def test_left_over_temporary_files_go_at_the_start(volume):
    with http.Connection(volume.port) as connection:
        connection.send_head("PUT", "/aa/bb/cc", [("Content-Length", "1000000")])
        connection.send(b"x" * 500_000)
        while not volume.temporary_files():
            pass
        volume.kill()
    assert volume.temporary_files()
    volume.start()
    assert not volume.temporary_files()
    assert volume.files() == {}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda sig: sig.name)
def test_stops(volume, sig):
    assert volume.stop(sig) == 0
    assert not is_listening(volume.port)
    assert "[" not in volume.errors(), "nothing to complain about"
    volume.start()


@pytest.mark.parametrize("environment,arguments,status,word", [
    ({}, [], 2, "which directory"),
    ({}, ["{dir}", "more"], 2, "which directory"),
    ({"PORT": ""}, ["{dir}"], 2, "which port"),
    ({"PORT": "0"}, ["{dir}"], 2, "PORT=0"),
    ({"PORT": "65536"}, ["{dir}"], 2, "PORT=65536"),
    ({"PORT": "x"}, ["{dir}"], 2, "PORT=x"),
    ({"MASTER": "elsewhere"}, ["{dir}"], 2, "'elsewhere'"),
    ({"MASTER": "127.0.0.1,,::1"}, ["{dir}"], 2, "MASTER"),
    ({"MASTER": "127.0.0.256"}, ["{dir}"], 2, "127.0.0.256"),
    ({"MASTER": "127.0.0.1/33"}, ["{dir}"], 2, "127.0.0.1/33"),
    ({"MASTER": "127.0.0.1; allow all"}, ["{dir}"], 2, "MASTER"),
    ({"MASTER": ""}, ["{dir}"], 2, "MASTER"),
    ({"BIND": "nowhere"}, ["{dir}"], 2, "'nowhere'"),
    ({"BIND": "192.0.2.1"}, ["{dir}"], 1, "192.0.2.1"),
    ({"WORKERS": "many"}, ["{dir}"], 2, "WORKERS=many"),
    ({"NGINX": "/nowhere/nginx"}, ["{dir}"], 1, "apt-get install nginx-light"),
    ({"NGINX": "true"}, ["{dir}"], 1, "http_dav_module"),
    ({}, ["/proc/nowhere"], 1, "/proc/nowhere"),
    ({}, ["/dev/null"], 1, "/dev/null"),
])
def test_messages(tmp_path, environment, arguments, status, word):
    """One line that says what is wrong."""
    environment = {"PORT": str(free_port()), "BIND": "127.0.0.1", **environment}
    done = run(*(argument.format(dir=tmp_path / "volume") for argument in arguments), **environment)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert word in done.stderr, done.stderr


def test_port_and_directory_taken(volume, tmp_path):
    done = run(str(tmp_path / "other"), PORT=str(volume.port), BIND="127.0.0.1")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"port {volume.port} is taken" in done.stderr
    done = run(str(volume.directory), PORT=str(free_port()), BIND="127.0.0.1")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "another volume server" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_started_by_root_and_by_others(tmp_path):
    """Root's workers become the owner of the directory; an ordinary user needs nothing outside it."""
    import pwd
    nobody = pwd.getpwnam("nobody")
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)
    (tmp_path / "owned").mkdir()
    os.chown(tmp_path / "owned", nobody.pw_uid, nobody.pw_gid)
    volume = Volume(tmp_path / "owned").start()
    try:
        assert ask(volume, "PUT", "/aa/bb/cc", b"value").status == 201
    finally:
        assert volume.stop() == 0
    status = (tmp_path / "owned/aa/bb/cc").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (nobody.pw_uid, 0o644)

    for file in (ROOT / "volume-conf").iterdir():
        copy = tmp_path / file.name
        copy.write_bytes(file.read_bytes())
        copy.chmod(0o755)
    environment = {**os.environ, "PORT": str(volume.port), "BIND": "127.0.0.1", "HOME": "/"}
    process = subprocess.Popen([tmp_path / "volume", tmp_path / "owned"], env=environment, user=nobody.pw_uid,
                               group=nobody.pw_gid, extra_groups=[], stderr=subprocess.PIPE)
    try:
        volume.popen = process
        volume.wait_listening(volume.port)
        assert ask(volume, "PUT", "/aa/bb/dd", b"value").status == 201
        assert ask(volume, "DELETE", "/aa/bb/cc").status == 204
        process.terminate()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.stderr.close()
