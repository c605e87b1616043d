"""The command line: flags, messages, exit status."""
import itertools
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from mkvtest import http
from mkvtest.cluster import BIN, Master, free_port, is_listening, wait_until

VOLUMES = "localhost:1,localhost:2,localhost:3"


def run(program, *arguments, timeout=20):
    return subprocess.run([BIN / program, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, check=False)


def refused(done, status, *words):
    """One line on standard error that names the thing; nothing on standard output."""
    assert done.returncode == status, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("arguments,words", [
    ([], ["is missing"]),
    (["-volumes", VOLUMES], ["-db"]),
    (["-db", "{db}"], ["-volumes"]),
    (["-db", "{db}", "-volumes", "localhost:1,localhost:2"], ["-volumes", "-replicas"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-replicas", "4"], ["-replicas"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-replicas", "0"], ["-replicas"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-replicas", "three"], ["-replicas", "three"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-port", "70000"], ["-port", "70000"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-port"], ["-port"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-subvolumes", "0"], ["-subvolumes"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-subvolumes", "-1"], ["-subvolumes"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-voltimeout", "fast"], ["-voltimeout", "fast"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-voltimeout", "1"], ["-voltimeout"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-protect=maybe"], ["-protect", "maybe"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-min-replicas", "4"], ["-min-replicas"]),
    (["-db", "{db}", "-volumes", VOLUMES, "-nonsense"], ["-nonsense"]),
    (["-db", "{db}", "-volumes", VOLUMES, "--nonsense=1"], ["nonsense"]),
    (["-db", "{db}", "-volumes", VOLUMES, "extra"], ["extra"]),
    (["-db", "{db}", "-volumes", "localhost:1,localhost:2,localhost:2"], ["-volumes", "localhost:2"]),
    (["-db", "{db}", "-volumes", "localhost:1,,localhost:2,localhost:3"], ["-volumes"]),
])
def test_usage_errors(tmp_path, arguments, words):
    refused(run("mkv-server", *(word.format(db=tmp_path / "db") for word in arguments)), 2, *words)


def test_mkv_without_a_command(tmp_path):
    for arguments in ([], ["-volumes", VOLUMES, "-db", tmp_path / "db"], ["-volumes", VOLUMES, "-db", tmp_path / "db", "serve"]):
        done = run("mkv", *arguments)
        assert done.returncode == 2
        assert done.stderr.strip()


@pytest.mark.parametrize("flag", ["-help", "--help"])
def test_help(flag):
    done = run("mkv-server", flag)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("-db", "-volumes", "-replicas", "-subvolumes", "-port", "-bind", "-fallback", "-protect", "-md5sum", "-voltimeout",
                 "-probe-ttl", "-min-replicas", "-admin", "-v", "-version"):
        assert name in done.stdout.split() or any(word.startswith(name) for word in done.stdout.split()), name


def test_version():
    done = run("mkv-server", "-version")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert any(character.isdigit() for character in done.stdout)


def test_port_in_use(cluster, tmp_path):
    port = cluster.master.port
    done = run("mkv-server", "-db", tmp_path / "other", "-volumes", VOLUMES, "-port", port, "-bind", "127.0.0.1")
    refused(done, 1, str(port))
    done = run("mkv-server", "-db", tmp_path / "other", "-volumes", VOLUMES, "-port", free_port(), "-bind", "127.0.0.1",
               "-admin", f"127.0.0.1:{port}")
    refused(done, 1, str(port))


@pytest.mark.parametrize("address", ["256.1.1.1", "not an address", "192.0.2.1"])
def test_bad_bind(tmp_path, address):
    done = run("mkv-server", "-db", tmp_path / "db", "-volumes", VOLUMES, "-port", free_port(), "-bind", address)
    assert done.returncode in (1, 2)
    assert len(done.stderr.splitlines()) == 1
    assert address in done.stderr


def test_a_database_that_can_not_be_opened(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("mkv-server", "-db", tmp_path / "file", "-volumes", VOLUMES, "-port", free_port())
    refused(done, 1, str(tmp_path / "file"))
    (tmp_path / "garbage").mkdir()
    for name in ("data.mdb", "index.mdb"):
        (tmp_path / "garbage" / name).write_bytes(b"not a database" * 10000)
    done = run("mkv-server", "-db", tmp_path / "garbage", "-volumes", VOLUMES, "-port", free_port())
    refused(done, 1, str(tmp_path / "garbage"))


def test_the_database_directory_is_made(shared_volumes, tmp_path):
    volumes = shared_volumes.take(3)
    master = Master([volume.name for volume in volumes], tmp_path, db=tmp_path / "new").start()
    assert (tmp_path / "new").is_dir()
    master.stop_cleanly()


def test_one_master_for_each_index(cluster):
    """The second is refused, and told where the first one is."""
    second = run("mkv-server", "-db", cluster.master.db, "-volumes", ",".join(cluster.names()), "-port", free_port())
    refused(second, 1, str(cluster.master.port))
    assert cluster.master.put("/still", b"works").status == 201


def test_the_index_of_a_killed_master_is_free(cluster):
    cluster.master.put("/key", b"value")
    cluster.master.kill()
    assert cluster.restart_master().read("/key") == b"value"


@pytest.mark.parametrize("flags", [["-protect"], ["--protect"], ["-protect=true"], ["--protect=1"], ["-protect=t"]])
def test_switch_on(make_cluster, flags):
    cluster = make_cluster(*flags)
    cluster.master.put("/key", b"value")
    assert cluster.master.delete("/key").status == 403


@pytest.mark.parametrize("flags", [["-protect=false"], ["--protect=0"], ["-protect", "-protect=false"]])
def test_switch_off(make_cluster, flags):
    cluster = make_cluster(*flags)
    cluster.master.put("/key", b"value")
    assert cluster.master.delete("/key").status == 204


@pytest.mark.parametrize("flags", [["-replicas", "2"], ["-replicas=2"], ["--replicas", "2"], ["--replicas=2"]])
def test_value_of_a_flag(make_cluster, flags):
    cluster = make_cluster(*flags)
    cluster.master.put("/key", b"value")
    assert cluster.files() == cluster.expected_files("/key", b"value", replicas=2)


@pytest.mark.parametrize("duration", ["1s", "500ms", "1m30s", "1h", "0"])
def test_durations(make_cluster, duration):
    assert make_cluster("-probe-ttl", duration).master.get("/nope").status == 404


def test_the_command_line_of_the_original(shared_volumes, tmp_path):
    """mkv -volumes ... -db ... server, with the flags before the command."""
    volumes = shared_volumes.take(3)

    class Original(Master):
        def command(self):
            return [BIN / "mkv", "-volumes", ",".join(self.volumes), "-db", f"{self.db}/", "-port", self.port, "server"]

    master = Original([volume.name for volume in volumes], tmp_path).start()
    assert master.put("/wehave", b"bigswag").status == 201
    assert master.read("/wehave") == b"bigswag"
    master.stop_cleanly()


def test_bind(make_cluster):
    cluster = make_cluster("-bind", "127.0.0.1")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", cluster.master.port), timeout=5)


def test_listens_everywhere_without_bind(shared_volumes, tmp_path):
    class Everywhere(Master):
        def command(self):
            words = super().command()
            at = words.index("-bind")
            return words[:at] + words[at + 2:]

    master = Everywhere([volume.name for volume in shared_volumes.take(3)], tmp_path).start()
    try:
        addresses = ["127.0.0.1", "127.0.0.2"] + (["::1"] if os.path.exists("/proc/net/if_inet6") else [])
        for address in addresses:
            socket.create_connection((address, master.port), timeout=5).close()
    finally:
        master.stop_cleanly()


def test_verbose(make_cluster):
    cluster = make_cluster("-v")
    cluster.master.put("/wehave", b"bigswag")
    cluster.master.get("/absent")
    wait_until(lambda: "/absent" in cluster.master.errors(), "the requests are logged")
    lines = cluster.master.errors().splitlines()
    assert any("PUT" in line and "/wehave" in line and "201" in line for line in lines)
    assert any("GET" in line and "/absent" in line and "404" in line for line in lines)


def test_quiet(cluster):
    cluster.master.put("/wehave", b"bigswag")
    cluster.master.get("/absent")
    cluster.master.stop_cleanly()
    assert "/wehave" not in cluster.master.errors()


def test_a_log_line_can_not_be_forged(make_cluster):
    cluster = make_cluster("-v")
    cluster.master.put("/x\nforged line\x1b[31m", b"value")
    cluster.master.get("/end")
    wait_until(lambda: "/end" in cluster.master.errors(), "the requests are logged")
    assert not any(line.startswith("forged") for line in cluster.master.errors().splitlines())
    assert "\x1b" not in cluster.master.errors()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=lambda sig: sig.name)
def test_stops_gracefully(cluster, sig):
    """Accepts nothing more, lets what is in flight finish, exits with 0."""
    master = cluster.master
    with master.connect() as idle, master.connect() as writer:
        assert idle.request("GET", "/nope").status == 404
        writer.send_head("PUT", "/wehave", [("Content-Length", "10")])
        writer.send(b"12345")
        wait_until(lambda: master.keys(operation="writing") == ["/wehave"], "the key is being written")
        master.popen.send_signal(sig)
        wait_until(lambda: not is_listening(master.port), "it accepts nothing more")
        assert idle.is_closed()
        writer.send(b"67890")
        assert writer.answer().status == 201
        assert writer.is_closed()
    assert master.popen.wait(10) == 0
    master = cluster.restart_master()
    assert master.read("/wehave") == b"1234567890"


@pytest.mark.slow
def test_stops_after_ten_seconds_whatever_is_in_flight(cluster):
    master = cluster.master
    with master.connect() as writer:
        writer.send_head("PUT", "/wehave", [("Content-Length", "10")])
        writer.send(b"12345")
        wait_until(lambda: master.keys(operation="writing") == ["/wehave"], "the key is being written")
        began = time.monotonic()
        assert master.stop(timeout=40) == 0
        assert time.monotonic() - began > 5
    master = cluster.restart_master()
    wait_until(lambda: master.keys(operation="writing") == [], "the half-written key is cleaned up")
    assert master.get("/wehave").status == 404
    wait_until(lambda: cluster.files() == {}, "nothing is left of it")


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "Put", "FOO", "LIST", "X" * 32])
def test_other_methods(cluster, method):
    assert http.request(cluster.master.port, method, "/key").status == 501


def niceness(pid):
    """Of each thread: its name and its nice value."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        name, fields = pathlib.Path(f"/proc/{pid}/task/{task}/stat").read_text().rsplit(")", 1)
        found.setdefault(name.split("(", 1)[1], set()).add(int(fields.split()[16]))
    return found


def session_nice(pid):
    """Of its session's group; None where the kernel makes none: no file, or an empty one."""
    file = pathlib.Path(f"/proc/{pid}/autogroup")
    text = file.read_text() if file.exists() else ""
    return int(text.rsplit("nice ", 1)[1]) if text else None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority everywhere")
@pytest.mark.parametrize("wrapper", [["setsid"], []], ids=["leads its session", "one of a session"])
def test_the_loop_goes_first_while_values_are_written(shared_volumes, tmp_path, wrapper):
    master = Master([volume.name for volume in shared_volumes.take(3)], tmp_path, wrapper=wrapper).start()
    pid = master.popen.pid
    numbers = itertools.count()

    def raised():
        for _ in range(20):
            assert master.put(f"/key{next(numbers)}", b"value").status == 201
        return (found := niceness(pid))["mkv-server"] != {0} and (found, session_nice(pid))

    try:
        before = session_nice(pid)
        found, session = wait_until(raised, "priority")
        wait_until(lambda: niceness(pid)["mkv-server"] == {0}, "no more priority without writes")
        after = session_nice(pid)
    finally:
        master.stop_cleanly()
    assert found.pop("mkv-server") == {-10}
    assert found and all(nice == {0} for nice in found.values()), found
    assert session in ((-10, None) if wrapper else (before,))
    assert after == before


def test_a_priority_that_was_given_stays(shared_volumes, tmp_path):
    master = Master([volume.name for volume in shared_volumes.take(3)], tmp_path, wrapper=["nice", "-n", "5"]).start()
    try:
        for i in range(100):
            assert master.put(f"/key{i}", b"value").status == 201
        time.sleep(0.3)  # it would have been looked at by now
        found = niceness(master.popen.pid)
    finally:
        master.stop_cleanly()
    assert all(nice == {5} for nice in found.values()), found
