"""mkv-rebalance: all keys to where they belong, while the master runs and while it does not."""
import contextlib
import hashlib
import itertools
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import threading
import time

import pytest

from mkvtest import http, place
from mkvtest.cluster import BIN, SANITIZED, Process, as_bytes, fetch, wait_until

HARD_KEYS = [b"/with space", b"/new\nline", b"/q?x#y%z+a&b", b"/a?", "/ü/ß".encode(), b"//", b"/%41", b"/" + b"k" * 240,
             b"/" + b"l" * 241, b"/" + b"m" * 479, b"/" + b"m" * 478 + b"n" * 200, b"/" + b"x" * 1088,
             *(b"/slash" + bytes([255 - i]).hex().encode() + b"?\xc3\xbf" * i for i in range(1, 6))]


# --- the job

def command(names, db, *flags, program=("mkv-rebalance",), command_word=()):
    return [BIN / program[0], "-volumes", ",".join(names), "-db", db, *flags, *command_word]


def rebalance(cluster, names, *flags, status=0, timeout=120):
    """Runs it to its end; the summary as a dictionary, and what it said on standard error."""
    done = subprocess.run(command(names, cluster.master.db, "-json", *flags), capture_output=True, text=True,
                          timeout=timeout, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr[-4000:])
    for sign in ("Sanitizer", "runtime error"):
        assert sign not in done.stderr, done.stderr[-6000:]
    return json.loads(done.stdout), done.stderr


# --- a store, and what it must hold

class Ledger:
    """What was acknowledged: {key: value}, and which keys are unlinked."""

    def __init__(self):
        self.values, self.unlinked = {}, set()

    def fill(self, master, count, keys=()):
        with master.connect() as connection:
            for key in itertools.chain(keys, (b"/key%d" % i for i in range(count))):
                self.values[key] = os.urandom(random.randint(1, 2000))
                assert connection.request("PUT", http.encode(key), self.values[key]).status == 201, key
            for key in random.sample(list(self.values), len(self.values) // 10):
                assert connection.request("UNLINK", http.encode(key)).status == 204
                self.unlinked.add(key)

    def expected_files(self, names, generations=None):
        found = {}
        for key, value in self.values.items():
            for text in place.replicas_of(key, names)[:3]:
                name, _, subvolume = text.partition("/")
                generation = (generations or {}).get(key, 0)
                found[name, "/" + subvolume + place.path_of(key, generation)] = value
        return found

    def check(self, master):
        """Every value readable, balanced, with its MD5; unlinked ones are still that."""
        with master.connect() as connection:
            for key, value in self.values.items():
                if key in self.unlinked:
                    assert connection.request("GET", http.encode(key)).status == 404
                    assert connection.request("RELINK", http.encode(key)).status == 204
                got = connection.request("GET", http.encode(key))
                assert (got.status, got.header("Key-Balance")) == (302, "balanced"), key
                assert got.header("Content-Md5") == hashlib.md5(value).hexdigest()
                assert got.header("Key-Volumes").split(",") == master.placement(key)[:3]
                if key in self.unlinked:
                    assert connection.request("UNLINK", http.encode(key)).status == 204
        for key in random.sample(list(self.values), min(200, len(self.values))):
            if key not in self.unlinked:
                assert master.read(key) == self.values[key]
        assert {as_bytes(key) for key in master.keys(operation="unlinked")} == self.unlinked


def count_moving(ledger, before, after):
    return sum(place.replicas_of(key, before)[:3] != place.replicas_of(key, after)[:3] for key in ledger.values)


COUNT = 300 if SANITIZED else 2000


@pytest.fixture
def five(own_cluster):
    """Five volumes, a master on the first three, full of values."""
    cluster = own_cluster(5)
    cluster.start_master(volumes=cluster.names()[:3])
    return cluster


def test_offline_out_and_in(five):
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, COUNT, HARD_KEYS)
    assert five.master.stop() == 0
    before = five.files()
    moving = count_moving(ledger, names[:3], names)
    assert moving > COUNT / 2

    summary, _ = rebalance(five, names, "-dry-run")
    assert (summary["keys"], summary["moved"]) == (len(ledger.values), moving)
    new_copies = len(set(ledger.expected_files(names)) - set(before))
    assert summary["bytes"] == sum(len(ledger.values[key]) for key in ledger.values
                                   for text in place.replicas_of(key, names)[:3]
                                   if text not in place.replicas_of(key, names[:3])[:3])
    assert new_copies > 0
    assert five.files() == before

    summary, _ = rebalance(five, names)
    assert (summary["keys"], summary["moved"], summary["failed"]) == (len(ledger.values), moving, 0)
    assert five.files() == ledger.expected_files(names)  # the old files are gone when it ends
    summary, _ = rebalance(five, names)
    assert (summary["balanced"], summary["moved"]) == (len(ledger.values), 0)

    summary, _ = rebalance(five, names[:3])
    assert (summary["moved"], summary["failed"]) == (moving, 0)
    assert five.files() == before
    master = five.start_master(volumes=names[:3])
    ledger.check(master)


class Load:
    """PUT, GET, DELETE and REPLACE by some clients, each with keys of its own; a ledger of what was acknowledged."""

    def __init__(self, master, clients=4):
        self.master, self.stopping, self.broken = master, threading.Event(), []
        self.values, self.generation_unknown, self.operations = {}, set(), 0
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def check(self):
        assert not self.broken, self.broken[:3]
        assert self.operations > 50

    def _run(self, client):
        rng = random.Random(client)
        try:
            while not self.stopping.is_set():
                with contextlib.suppress(ConnectionError, http.Closed):
                    with self.master.connect() as connection:
                        while not self.stopping.is_set():
                            self._step(connection, b"/load%d-%d" % (client, rng.randrange(60)), rng)
                time.sleep(0.01)
        except Exception as error:  # pylint: disable=broad-except
            self.broken.append(repr(error))

    def _step(self, connection, key, rng):
        what, target = rng.choice(("PUT", "GET", "GET", "DELETE", "REPLACE")), http.encode(key)
        if what == "GET":
            got = connection.request("GET", target)
            expected = self.values.get(key)
            assert got.status == (404 if expected is None else 302), (key, got)
            if expected is not None:
                assert fetch(got.header("Location")) == expected, key
        else:
            value = os.urandom(rng.randint(1, 5000)) if what != "DELETE" else None
            status = connection.request(what, target, value).status
            while status == 409:  # being moved
                time.sleep(0.005)
                status = connection.request(what, target, value).status
            if status == 201:
                self.values[key] = value
            elif status == 204:
                del self.values[key]
            else:
                assert (what, status) in (("PUT", 403), ("DELETE", 404)), (what, key, status)
        self.operations += 1


def readers(master, ledger, stopping, broken):
    """Reads settled keys all the time, through the redirect, as a client does."""
    live = [key for key in ledger.values if key not in ledger.unlinked]
    rng = random.Random(7)
    try:
        with master.connect() as connection:
            while not stopping.is_set():
                key = rng.choice(live)
                got = connection.request("GET", http.encode(key))
                assert got.status == 302, (key, got)
                assert fetch(got.header("Location")) == ledger.values[key], key
    except Exception as error:  # pylint: disable=broad-except
        broken.append(repr(error))


@contextlib.contextmanager
def reading(master, ledger):
    stopping, broken = threading.Event(), []
    thread = threading.Thread(target=readers, args=(master, ledger, stopping, broken))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    assert not broken, broken


def names_only(files):
    """{(volume, path)} of keys, whatever the generation of their files."""
    return {(name, path.partition("~")[0]) for name, path in files}


def test_online_under_load(five):
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, COUNT, HARD_KEYS)
    port = five.master.port
    for now in (names, names[:3]):
        assert five.master.stop() == 0
        master = five.start_master("-probe-ttl", "0", volumes=now, port=port)
        master.keys()
        with Load(master) as load, reading(master, ledger):
            summary, errors = rebalance(five, now)
        load.check()
        assert summary["failed"] == 0, errors
        assert summary["moved"] >= count_moving(ledger, names, names[:3])
        ledger.check(master)
        for key, value in load.values.items():
            assert master.get(key).header("Key-Balance") == "balanced"
            assert master.read(key) == value
        every = Ledger()
        every.values = {**ledger.values, **load.values}
        expected = every.expected_files(now)
        wait_until(lambda: names_only(five.files()) == names_only(expected) and len(five.files()) == len(expected),
                   "every file where placement says, and nowhere else", 40)
        for key in load.values:
            assert master.delete(key).status == 204


def test_a_volume_dies_half_way(five):
    """Its keys fail, with its name; the others are moved; once it is back the rest follows."""
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, COUNT)
    port = five.master.port
    assert five.master.stop() == 0
    master = five.start_master("-voltimeout", "500ms", volumes=names, port=port)
    master.keys()
    job = Process("rebalance", five.directory / "rebalance.log")
    job.spawn(command(names, master.db, "-jobs", "3", "-json"))
    wait_until(lambda: len(five.volumes[4].files()) > COUNT / 20, "some are moved")
    assert job.running()
    five.volumes[4].kill()
    assert job.popen.wait(120) == 1
    assert names[4] in job.errors()
    for key in random.sample(list(ledger.values), 100):
        if key not in ledger.unlinked:
            assert master.get(key).status == 302
    five.volumes[4].start()
    wait_until(lambda: rebalance_again(five, names)["failed"] == 0, "the rest is moved", 60)
    ledger.check(master)
    expected = ledger.expected_files(names)
    wait_until(lambda: five.files() == expected, "all in place", 60)


def rebalance_again(cluster, names):
    done = subprocess.run(command(names, cluster.master.db, "-json"), capture_output=True, text=True, timeout=120,
                          check=False)
    return json.loads(done.stdout)


@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
def test_killed_again_and_again(five, online):
    """SIGKILL of the job, and of the master: run again, it ends up the same."""
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, COUNT // 2, HARD_KEYS)
    port = five.master.port
    assert five.master.stop() == 0
    master = five.master
    for attempt in range(6):
        if online and not master.running():
            master = five.start_master(volumes=names, port=port)
            master.keys()
        job = Process("rebalance", five.directory / f"rebalance{attempt}.log")
        job.spawn(command(names, master.db, "-jobs", "6"))
        time.sleep(random.uniform(0.02, 0.4))
        if online and attempt % 2:
            master.kill()
            wait_until(lambda: not master.running(), "killed")
        job.popen.kill()
        job.popen.wait()
    if not master.running() and online:
        master = five.start_master(volumes=names, port=port)
    summary, _ = rebalance(five, names)
    assert summary["keys"] == len(ledger.values)
    if not online:
        assert five.files() == ledger.expected_files(names)
        master = five.start_master(volumes=names, port=port)
    ledger.check(master)
    wait_until(lambda: five.files() == ledger.expected_files(names), "every file in place, no stray one", 60)


def test_the_master_comes_back(five):
    """A master that restarts on its port while the job runs: the job goes on."""
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, COUNT // 2)
    port = five.master.port
    assert five.master.stop() == 0
    master = five.start_master(volumes=names, port=port)
    master.keys()
    job = Process("rebalance", five.directory / "rebalance.log")
    job.spawn(command(names, master.db, "-jobs", "3"))
    wait_until(lambda: five.volumes[4].files(), "it has begun")
    master.kill()
    master = five.start_master(volumes=names, port=port)
    assert job.popen.wait(120) == 0, job.errors()
    ledger.check(master)


# --- what it says

def test_missing_copies_are_counted_and_restored(five):
    ledger, names = Ledger(), five.names()[:3]
    ledger.fill(five.master, 50)
    for path in list(five.volumes[0].files())[:20]:
        (five.volumes[0].directory / path[1:]).unlink()
    summary, _ = rebalance(five, names, "-dry-run")
    assert (summary["balanced"], summary["restored"], summary["moved"]) == (30, 20, 0)
    summary, _ = rebalance(five, names)
    assert (summary["balanced"], summary["restored"], summary["moved"]) == (30, 20, 0)
    assert five.files() == ledger.expected_files(names)
    ledger.check(five.master)


def test_summary_in_words(five):
    five.master.put("/key", b"value" * 1000)
    done = subprocess.run(command(five.names()[:3], five.master.db), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^keys looked at +1$", done.stdout, re.M)
    assert re.search(r"^in place already +1$", done.stdout, re.M)
    assert re.search(r"^errors +0$", done.stdout, re.M)


def test_a_lost_value_is_named(five):
    five.master.put("/good", b"value")
    five.master.put("/new\nline", b"value")
    for volume in five.volumes:
        for path in volume.files():
            if path.endswith(place.path_of(b"/new\nline")):
                (volume.directory / path[1:]).unlink()
    summary, errors = rebalance(five, five.names()[:3], status=1)
    assert (summary["failed"], summary["errors"], summary["balanced"]) == (1, 1, 1)
    assert "rebalance: /new\\x0aline: no good copy" in errors


def test_many_errors_are_counted(five):
    ledger = Ledger()
    ledger.fill(five.master, 150)
    for volume in five.volumes:
        volume.clear()
    summary, errors = rebalance(five, five.names()[:3], status=1)
    assert (summary["failed"], summary["errors"]) == (150, 150)
    assert errors.count("no good copy") == 100
    assert "only counted" in errors


def test_flags_that_differ_from_the_masters(five):
    """The job must not run on and on where the master would put values elsewhere."""
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, 50)
    done = subprocess.run(command(names, five.master.db), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not know the volume" in done.stderr and names[3] in done.stderr
    done = subprocess.run(command(names[:3], five.master.db, "-subvolumes", "7"), capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1
    assert "start both with the same" in done.stderr


def test_no_such_index_and_bad_flags(five):
    names = five.names()
    done = subprocess.run(command(names[:3], five.directory / "nowhere", "-dry-run"), capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere" in done.stderr and done.stderr.count("\n") == 1
    done = subprocess.run(command(names[:2], five.directory / "nowhere"), capture_output=True, text=True, check=False)
    assert done.returncode == 2


def slow_job(cluster, names, *flags):
    """One that is certain to be under way for a while: the volumes answer nothing."""
    job = Process("rebalance", cluster.directory / "rebalance.log")
    job.spawn(command(names, cluster.master.db, "-voltimeout", "3s", "-json", *flags))
    return job


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(five, number):
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, COUNT // 2)
    assert five.master.stop() == 0
    job = slow_job(five, names, "-jobs", "3")
    wait_until(lambda: len(five.volumes[4].files()) > 5, "it is at work")
    job.popen.send_signal(number)
    assert job.popen.wait(30) == 1
    text = job.errors()
    summary = json.loads(text[text.index("{"):])
    assert summary["interrupted"] is True
    assert 0 < summary["moved"] < len(ledger.values)
    assert summary["errors"] == 0
    summary, _ = rebalance(five, names)
    assert summary["failed"] == 0
    assert five.files() == ledger.expected_files(names)


def test_interrupted_twice_while_a_volume_hangs(five):
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, 50)
    assert five.master.stop() == 0
    five.volumes[4].freeze()
    job = slow_job(five, names)
    time.sleep(0.7)
    job.popen.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in job.errors(), "it says that it stops")
    began = time.monotonic()
    job.popen.send_signal(signal.SIGINT)
    assert job.popen.wait(20) == 1
    assert time.monotonic() - began < 5
    five.volumes[4].thaw()
    summary, _ = rebalance(five, names)
    assert summary["failed"] == 0
    assert five.files() == ledger.expected_files(names)
    master = five.start_master(volumes=names)
    ledger.check(master)


def test_bar_on_a_terminal(five):
    """With a terminal as standard error: a bar, drawn again in place, gone at the end."""
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, 100)
    assert five.master.stop() == 0
    five.volumes[4].freeze()  # so that it lasts for more than half a second
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(names, five.master.db, "-voltimeout", "1s"), stdout=subprocess.PIPE, stderr=theirs) as job:
        os.close(theirs)
        shown = b""
        end = time.monotonic() + 60
        while time.monotonic() < end and select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:
                break
            shown += piece
            if b"[" in shown:
                five.volumes[4].thaw()
        job.wait(60)
    os.close(ours)
    assert re.search(rb"\rrebalance \[=*>? *\] \d+ of 100 keys \(\d+%\), \d+/s", shown), shown[-500:]
    assert b"\033[K" in shown


def test_original_command_line(five):
    ledger, names = Ledger(), five.names()
    ledger.fill(five.master, 50)
    assert five.master.stop() == 0
    done = subprocess.run(command(names, five.master.db, program=("mkv",), command_word=("rebalance",)),
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert five.files() == ledger.expected_files(names)
