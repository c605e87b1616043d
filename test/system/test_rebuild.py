"""mkv-rebuild: the index made again from the volumes."""
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time

import pytest

from mkvtest import faults, fs, http, place
from mkvtest import summary as jobs
from mkvtest.cluster import ROOT, Cluster, Volume, is_listening, wait_until
from mkvtest.jobs import index

HARD = ["/wehave", "/", "/a?", "/we have", "/plus+plus", "//", "/a//b", "/./..//x/", "/日本語", "/per%cent", "/new\nline",
        "/hash#and&what?%+", "/" + "k" * 189, "/" + "k" * 190, "/" + "k" * 300, "/" + "ü" * 544, "/" + "k" * 1088,
        "/" + "?" * 200, "/dir/" + "a" * 400 + "/???", "/" + "l" * 478, "/" + "l" * 479, "/" + "l" * 480, "/" + "l" * 480 + "m"]


def md5(data):
    return hashlib.md5(data).hexdigest()


def value_of(key):
    return b"the value of " + (key.encode() if isinstance(key, str) else key)


def rebuild(volumes, db, *flags, **options):
    return jobs.run("mkv-rebuild", volumes, db, *flags, **options)


def index_bytes(db):
    return (pathlib.Path(db) / "data.mdb").read_bytes()


def leftovers(db):
    """What is in the index's directory that should not stay there."""
    return {p.name for p in pathlib.Path(db).iterdir()} - {"data.mdb", "lock.mdb", "mkv.lock", "marks", "spool"}


def records(master):
    """{key: what clients can see of its record}; unlinked ones are linked again to look at them."""
    found = {}
    for operation in ("list", "unlinked"):
        for key in master.keys("/", operation):
            if operation == "unlinked":
                assert master.relink(key).status == 204
            answer = master.get(key)
            found[key] = (operation, answer.status, answer.header("Content-Md5"), answer.header("Key-Balance"),
                          answer.header("Key-Volumes"))
            if operation == "unlinked":
                assert master.unlink(key).status == 204
    return found


def file_of(cluster, key, replica=0, generation=0):
    """The path of one replica's file on this machine's disk."""
    text = place.replicas_of(key.encode(), cluster.names())[replica]
    name, slash, subvolume = text.partition("/")
    path = cluster.volume(name).directory / subvolume / place.path_of(key.encode(), generation)[1:]
    assert path.is_file(), path
    return path


def stopped_store(cluster, keys=("/a", "/b", "/c")):
    """Values under these keys, and the master stopped."""
    for key in keys:
        assert cluster.master.put(key, value_of(key)).status == 201
    cluster.master.stop_cleanly()
    return cluster.names(), cluster.master.db


# ---- the original's volumes -----------------------------------------------------------

@pytest.fixture
def original(tmp_path):
    """The volumes that the original left.  Their names are part of the placement: the ports are given."""
    ports = range(13001, 13006)
    wait_until(lambda: not any(map(is_listening, ports)), "ports 13001 to 13005 are free", 120)
    with tarfile.open(ROOT / "test/fixtures/original/volumes.tar.gz") as tar:
        tar.extractall(tmp_path)
    cluster = Cluster(tmp_path, [Volume(tmp_path / f"vol{i}", port=13000 + i).start() for i in range(1, 6)])
    yield cluster
    cluster.end()
    for volume in cluster.volumes:
        volume.stop()


def test_adopts_the_original(original, fixture_rows):
    rows = [(bytes.fromhex(key), state, digest, replicas) for key, state, digest, replicas in fixture_rows("index.tsv")]
    before = original.files()
    done = rebuild(original.names(), original.directory / "index", "-md5sum")
    assert (done.status, done.errors) == (0, "")
    assert (done.summary["files"], done.summary["keys"], done.summary["md5_read"]) == (888, 296, 296)
    assert (done.summary["foreign"], done.summary["garbage"], done.summary["lost"]) == (0, 0, 0)
    master = original.start_master()
    assert sorted(master.keys()) == sorted(key.decode() for key, *_ in rows)
    for key, _, digest, replicas in rows:
        answer = master.get(key)
        assert (answer.status, answer.header("Key-Balance"), answer.header("Key-Volumes")) == (302, "balanced", replicas), key
        assert answer.header("Content-Md5") == digest, key
        assert md5(master.read(key)) == digest, key
    assert original.files() == before


def test_adopted_index_is_the_old_one_next_time(original, fixture_rows):
    """Unlinked keys came back live, for the volumes can not tell: unlinked again, they stay so."""
    db = original.directory / "index"
    done = rebuild(original.names(), db)
    assert (done.status, done.summary["keys"], done.summary["unlinked"]) == (0, 296, 0)
    master = original.start_master()
    unlinked = [bytes.fromhex(key) for key, state, *_ in fixture_rows("index.tsv") if state == "unlinked"]
    assert len(unlinked) == 19
    assert master.get(unlinked[0]).header("Content-Md5") is None
    for key in unlinked:
        assert master.unlink(key).status == 204
    before = records(master)
    master.stop_cleanly()
    done = rebuild(original.names(), db)
    assert (done.status, done.summary["keys"], done.summary["unlinked"]) == (0, 296, 19)
    assert records(original.start_master()) == before


# ---- our own index --------------------------------------------------------------------

def hard_store(master):
    """Every state that a key can be in; returns what must be read."""
    values = {}
    for key in HARD:
        assert master.put(key, value_of(key)).status == 201
        values[key] = value_of(key)
    for key in HARD[::3]:
        values[key] = b"replaced " + value_of(key)
        assert master.replace(key, values[key]).status == 201
    for key in HARD[::4]:
        assert master.unlink(key).status == 204
    for key in HARD[1::5]:
        if master.delete(key).status == 204:
            del values[key]
    for key in HARD[::8]:
        values[key] = b"written over unlinked " + value_of(key)
        assert master.put(key, values[key]).status == 201
    return values


def test_identical_to_the_running_store(cluster):
    values = hard_store(cluster.master)
    before = records(cluster.master)
    assert {state for state, *_ in before.values()} == {"list", "unlinked"}
    cluster.master.stop_cleanly()
    done = rebuild(cluster.names(), cluster.master.db)
    assert (done.status, done.errors) == (0, "")
    assert (done.summary["keys"], done.summary["lost"], done.summary["newer"], done.summary["foreign"]) == (len(before), 0, 0, 0)
    assert done.summary["unlinked"] == sum(state == "unlinked" for state, *_ in before.values())
    master = cluster.restart_master()
    assert records(master) == before
    metrics = master.metrics()
    assert [n for name, n in metrics.items() if 'state="unlinked"' in name] == [done.summary["unlinked"]]
    for key, value in values.items():
        if before[key][0] == "list":
            assert master.read(key) == value, key
    assert leftovers(master.db) == set()
    # What was garbage is still deleted: in the end only the values are there.
    wait_until(lambda: sorted(cluster.files().values()) == sorted(3 * list(values.values())), "garbage is gone", 60)


def test_dump_is_identical(cluster):
    """Record for record, as mkv-index prints them."""
    hard_store(cluster.master)
    cluster.master.stop_cleanly()

    def dump():
        words = [str(jobs.BIN / "mkv-index"), "-db", str(cluster.master.db), "dump"]
        return subprocess.run(words, capture_output=True, check=True).stdout
    before = dump()
    assert rebuild(cluster.names(), cluster.master.db).status == 0
    assert dump() == before


def test_fresh(cluster):
    values = hard_store(cluster.master)
    cluster.master.stop_cleanly()
    done = rebuild(cluster.names(), cluster.master.db, "-fresh", "-md5sum")
    assert (done.status, done.errors) == (0, "")
    assert done.summary["unlinked"] == 0
    assert done.summary["superseded"] == done.summary["garbage"] > 0
    master = cluster.restart_master()
    assert set(values) <= set(master.keys())  # and keys deleted just now, whose files the sweeper had not reached
    for key, value in values.items():
        answer = master.get(key)
        assert (answer.header("Content-Md5"), answer.header("Key-Balance")) == (md5(value), "balanced"), key
        assert master.read(key) == value
    kept = 3 * len(master.keys())
    wait_until(lambda: len(cluster.files()) == kept, "superseded generations are deleted", 60)


BUCKETS = b'{"bucket":"a.b","created":-1}\n{"bucket":"photos","owner":"KEY","created":1793786400}\n'


def test_buckets_are_kept(cluster):
    names, db = stopped_store(cluster)
    index(db, "-force", "load", stdin=BUCKETS).expect(0)
    before = index(db, "dump").expect(0).out
    assert before.startswith(BUCKETS)
    done = rebuild(names, db)
    assert (done.status, done.errors, done.summary["buckets"], done.summary["uploads"]) == (0, "", 2, 0)
    assert index(db, "dump").expect(0).out == before
    done = rebuild(names, db, "-fresh")
    assert (done.status, done.errors, done.summary["buckets"]) == (0, "", 0)
    assert b"bucket" not in index(db, "dump").expect(0).out


def test_without_any_index(cluster):
    values = {key: value_of(key) for key in HARD}
    for key, value in values.items():
        assert cluster.master.put(key, value).status == 201
    cluster.master.stop_cleanly()
    shutil.rmtree(cluster.master.db)
    done = rebuild(cluster.names(), cluster.master.db)
    assert (done.status, done.errors, done.summary["keys"]) == (0, "", len(values))
    master = cluster.restart_master()
    for key, value in values.items():
        assert master.read(key) == value
        assert master.get(key).header("Key-Balance") == "balanced"


def test_adopted_keys_that_are_not_utf8(cluster):
    """Written by hand, where nginx would have put them: it merges slashes."""
    assert cluster.master.get("/").status == 404
    keys = [b"/a\xff\xff", b"/\xfe", b"/\xff\xff\xff\xff\xff", b"/ok\x80", b"/\x01\x02", b"/caf\xe9?" + b"x" * 300]
    cluster.master.stop_cleanly()
    for key in keys:
        for (name, path) in cluster.expected_files(key, b""):
            while "//" in path:
                path = path.replace("//", "/")
            file = cluster.volume(name).directory / path[1:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(value_of(key))
    done = rebuild(cluster.names(), cluster.master.db)
    assert (done.status, done.errors) == (0, "")
    assert (done.summary["keys"], done.summary["foreign"]) == (len(keys), 0)
    master = cluster.restart_master()
    for key in keys:
        assert master.get(key).header("Key-Balance") == "balanced"
        assert master.read(key) == value_of(key)


@pytest.mark.parametrize("before,after", [(10, 1), (1, 10), (10, 300), (300, 10)])
def test_other_subvolumes_than_before(make_cluster, before, after):
    """Files are found where they are, not where they should be."""
    cluster = make_cluster("-subvolumes", str(before))
    volumes, db = stopped_store(cluster)
    done = rebuild(volumes, db, "-fresh", "-subvolumes", after)
    assert (done.status, done.summary["keys"], done.summary["foreign"]) == (0, 3, 0)
    master = cluster.restart_master("-subvolumes", str(after))
    for key in ("/a", "/b", "/c"):
        assert master.read(key) == value_of(key)
        where = master.get(key).header("Key-Volumes").split(",")
        assert sorted(where) == sorted(master.placement(key, before)[:3])
        assert master.get(key).header("Key-Balance") == "unbalanced"


def test_a_volume_that_is_no_longer_named_keeps_its_replicas(make_cluster):
    cluster = make_cluster("-replicas", "2")
    keys = [f"/key{i}" for i in range(12)]
    volumes, db = stopped_store(cluster, keys)
    kept, left_out = volumes[:2], volumes[2]
    done = rebuild(kept, db, "-replicas", "2")
    assert (done.status, done.summary["keys"], done.summary["lost"]) == (0, 12, 0)
    master = cluster.start_master("-replicas", "2", volumes=kept, db=db)
    for key in keys:
        assert master.read(key) == value_of(key)
        assert sorted(master.get(key).header("Key-Volumes").split(",")) == \
            sorted(place.replicas_of(key.encode(), volumes)[:2])
    assert any(left_out in master.get(key).header("Key-Volumes") for key in keys)
    # A key of which only that volume has a file is not lost either.
    master.stop_cleanly()
    key = next(key for key in keys if left_out in place.replicas_of(key.encode(), volumes)[0])
    file_of(cluster, key, 1).unlink()
    done = rebuild(kept, db, "-replicas", "2")
    assert (done.status, done.summary["away"], done.summary["lost"]) == (0, 1, 0)


# ---- what can not be read ---------------------------------------------------------------

def expect_untouched(cluster, done, *words):
    assert done.status == 1
    assert done.summary["swapped"] == 0 and done.summary["errors"] > 0
    for word in words:
        assert word in done.errors, done.errors
    assert leftovers(cluster.master.db) == set()


def test_volume_down(own_cluster):
    cluster = own_cluster(3)
    cluster.start_master()
    volumes, db = stopped_store(cluster)
    before = index_bytes(db)
    cluster.volumes[1].stop()
    done = rebuild(volumes, db)
    expect_untouched(cluster, done, volumes[1], "can not be listed", "connection refused", "as it was")
    assert index_bytes(db) == before
    cluster.volumes[1].start()
    done = rebuild(volumes, db)
    assert (done.status, done.summary["keys"]) == (0, 3)


def test_volume_dies_halfway(own_cluster):
    """Its thousands of directories are not asked for one by one."""
    cluster = own_cluster(3)
    cluster.start_master()
    volumes, db = stopped_store(cluster)
    for i in range(3000):
        (cluster.volumes[0].directory / f"sv{i % 10:02X}" / f"{i // 10 % 256:02x}" / f"{i // 7 % 256:02x}").mkdir(parents=True,
                                                                                                       exist_ok=True)
    proxy = faults.FaultyVolume(cluster.volumes[0])

    def die(exchange):
        if len(proxy.requests) > 200:
            raise ConnectionError
        faults.forward(exchange)
    proxy.when(die)
    try:
        start = time.monotonic()
        done = rebuild([proxy.name, *volumes[1:]], db)
        assert time.monotonic() - start < 60
    finally:
        proxy.stop()
    expect_untouched(cluster, done, "more directories were not asked for")


CUT = b'[\r\n{ "name":"00", "type":"directory", "mtime":"Sun, 22 Nov 2026 10:22:42 GMT" },\r\n{ "na'


@pytest.mark.parametrize("action,words", [
    (faults.answer(500), "answered 500"), (faults.answer(403), "answered 403"), (faults.answer(404), "answered 404"),
    (faults.close, "closed"), (faults.hang, "no answer"), (faults.answer(200, b"<html>Index of /</html>"), "no JSON"),
    (faults.answer(200, CUT), "cut short"), (faults.answer(200, b"{}"), "no JSON"), (faults.answer(200), "no JSON"),
    (faults.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + CUT), "closed within the body"),
    (faults.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(CUT), CUT)), "closed within the body"),
    (faults.answer(301), "answered 301")],
    ids=["500", "403", "404", "close", "hang", "html", "cut", "object", "empty", "short", "short-chunked", "301"])
def test_listing_fails(faulty_cluster, action, words):
    cluster = faulty_cluster()
    names, db = [volume.name for volume in cluster.faulty], cluster.master.db
    for key in ("/a", "/b"):
        assert cluster.master.put(key, value_of(key)).status == 201
    cluster.master.stop_cleanly()
    before = index_bytes(db)
    subvolume = place.replicas_of(b"/a", names)[0]
    name, _, folder = subvolume.partition("/")
    at = "/" + folder + place.path_of(b"/a")[:4]
    faulty = next(volume for volume in cluster.faulty if volume.name == name)
    faulty.when(action, method="GET", path=at)
    done = rebuild(names, db, "-voltimeout", "500ms")
    expect_untouched(cluster, done, name + at, words)
    assert done.summary["listings_failed"] == 1
    assert index_bytes(db) == before
    faulty.clear()
    assert rebuild(names, db).status == 0


@pytest.mark.parametrize("action", [faults.answer(500), faults.close, faults.answer(200, CUT),
                                    faults.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + CUT)],
                         ids=["500", "close", "cut", "short"])
def test_listing_fails_for_a_moment(faulty_cluster, action):
    cluster = faulty_cluster()
    names, db = [volume.name for volume in cluster.faulty], cluster.master.db
    assert cluster.master.put("/a", value_of("/a")).status == 201
    cluster.master.stop_cleanly()
    for volume in cluster.faulty:
        volume.when(action, method="GET", path="/", times=2)
    done = rebuild(names, db, "-fresh")
    assert (done.status, done.errors, done.summary["keys"]) == (0, "", 1)


def long_listing(size):
    entry = b'{ "name":"%06d", "type":"file", "mtime":"Sun, 22 Nov 2026 10:22:42 GMT", "size":7 }'
    count = size // len(entry % 0)
    return count, b"[\n" + b",\r\n".join(entry % i for i in range(count)) + b"\n]"


def test_long_listings_at_once(faulty_cluster):
    """Together they are more than is buffered: they come in one after the other."""
    cluster = faulty_cluster()
    names = [volume.name for volume in cluster.faulty]
    assert cluster.master.put("/a", b"x").status == 201
    cluster.master.stop_cleanly()
    count, listing = long_listing(6 << 20)
    for volume in cluster.faulty:
        volume.when(faults.answer(200, listing), path="/", method="GET")
    done = rebuild(names, cluster.directory / "other")
    assert (done.status, done.summary["foreign"], done.summary["listings"]) == (0, 3 * count, 3)
    assert len(done.errors.splitlines()) == 21


def test_listing_too_long(faulty_cluster):
    cluster = faulty_cluster()
    names, db = [volume.name for volume in cluster.faulty], cluster.master.db
    assert cluster.master.put("/a", b"x").status == 201
    cluster.master.stop_cleanly()
    cluster.faulty[0].when(faults.answer(200, long_listing(17 << 20)[1]), path="/", method="GET")
    expect_untouched(cluster, rebuild(names, db), "longer than 16 MB", names[0])


def test_unreadable_directory():
    """The volume runs as an ordinary user here: root may read everything."""
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        directory = pathlib.Path(top, "volume")
        directory.mkdir()
        if os.geteuid() == 0:
            shutil.chown(directory, "nobody")
        volume = Volume(directory)
        volume.start()
        cluster = Cluster(top, [volume])
        try:
            master = cluster.start_master("-replicas", "1")
            assert master.put("/a", value_of("/a")).status == 201
            master.stop_cleanly()
            folder = file_of(cluster, "/a").parent
            folder.chmod(0)
            done = rebuild(cluster.names(), master.db, "-replicas", "1")
            expect_untouched(cluster, done, "answered 403", place.path_of(b"/a")[:7])
            folder.chmod(0o755)
            assert rebuild(cluster.names(), master.db, "-replicas", "1").status == 0
        finally:
            cluster.end()
            volume.stop()


# ---- what lies about ---------------------------------------------------------------------

def test_foreign_files(cluster):
    volumes, db = stopped_store(cluster)
    top = cluster.volumes[0].directory
    foreign = ["README", "sv07x/60/08/L3dlaGF2ZQ==", "sv7/60/08/L3dlaGF2ZQ==", "sv007/60/08/L3dlaGF2ZQ==", "sv00/file", "sv00/6/file",
               "sv00/60/file", "sv00/60/AB/L3dlaGF2ZQ==", "sv00/60/08/no base64", "sv00/60/08/L3dlaGF2ZQ==~0",
               "sv00/60/08/L3dlaGF2ZQ==.bak", "sv00/60/09/L3dlaGF2ZQ==", "sv00/60/08/dir with spaces/L3dl", "sv00/60/08/",
               "60/08/L3dlaGF2ZQ==~", "sv00/60/08/\udcff\udcfe", "sv00/60/08/" + "A" * 241 + "/x"]
    for name in foreign:
        path = top / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"foreign")
    (top / "sv00/60/08/pipe").symlink_to("/nowhere")
    before = cluster.files()
    done = rebuild(volumes, db)
    assert (done.status, done.summary["keys"], done.summary["foreign"]) == (0, 3, len(foreign) - 1)
    for name in ("/README", "/sv007/", "/sv00/60/08/L3dlaGF2ZQ==.bak", "/sv00/60/08/dir with spaces/"):
        assert name in done.errors
    assert cluster.files() == before
    # The original's working files, and ours, are nobody's business.
    for name in ("body_temp", "tmp", "lost+found"):
        (top / name).mkdir()
        (top / name / "0001").write_bytes(b"x")
    assert rebuild(volumes, db).summary["foreign"] == len(foreign) - 1


def test_half_written_generation(faulty_cluster):
    """A REPLACE that was never acknowledged: two volumes have all of it when the master is killed."""
    cluster = faulty_cluster()
    names, master = [volume.name for volume in cluster.faulty], cluster.master
    for key in ("/a", "/b"):
        assert master.put(key, value_of(key)).status == 201
    assert master.unlink("/b").status == 204
    cluster.faulty[2].when(faults.stall_after(1), method="PUT")
    threads = [threading.Thread(target=cut_off, args=(master.port, method, key))
               for method, key in (("REPLACE", "/a"), ("PUT", "/b"), ("PUT", "/new"))]
    for thread in threads:
        thread.start()

    def arrived():
        return sum(path.endswith("~1") or place.path_of(b"/new") in path for _, path in cluster.files()) == 6
    wait_until(arrived, "two volumes have the new values")
    master.kill()
    for thread in threads:
        thread.join()
    cluster.faulty[2].clear()
    for key, value in cluster.files().items():
        assert value in (b"x" * 100, value_of("/a"), value_of("/b")), key
    done = rebuild(names, master.db)
    assert (done.status, done.errors) == (0, "")
    assert (done.summary["keys"], done.summary["unlinked"], done.summary["newer"]) == (2, 1, 0)
    assert done.summary["garbage"] >= 6
    master = cluster.restart_master()
    assert (master.keys(), master.keys("/", "unlinked"), master.keys("/", "writing")) == (["/a"], ["/b"], [])
    assert master.read("/a") == value_of("/a")
    wait_until(lambda: sorted(set(cluster.files().values())) == sorted([value_of("/a"), value_of("/b")]), "the rest is deleted", 60)


def cut_off(port, method, key):
    try:
        http.request(port, method, key, b"x" * 100)
    except (http.Closed, OSError):
        pass  # the master was killed: no answer is what this is about


def test_half_written_and_no_index(faulty_cluster):
    """Without an old index nobody can tell: the highest generation wins."""
    cluster = faulty_cluster()
    names, master = [volume.name for volume in cluster.faulty], cluster.master
    assert master.put("/a", value_of("/a")).status == 201
    cluster.faulty[2].when(faults.stall_after(1), method="PUT")
    thread = threading.Thread(target=cut_off, args=(master.port, "REPLACE", "/a"))
    thread.start()
    wait_until(lambda: sum(path.endswith("~1") for _, path in cluster.files()) == 2, "two volumes have the new value")
    master.kill()
    thread.join()
    cluster.faulty[2].clear()
    done = rebuild(names, master.db, "-fresh")
    assert (done.status, done.summary["keys"], done.summary["superseded"]) == (0, 1, 3)
    master = cluster.restart_master()
    assert master.read("/a") == b"x" * 100
    assert master.get("/a").header("Key-Balance") == "unbalanced"


# ---- what is not as the index says ---------------------------------------------------------

def test_lost_keys(cluster):
    volumes, db = stopped_store(cluster)
    for replica in range(3):
        file_of(cluster, "/b", replica).unlink()
    done = rebuild(volumes, db)
    assert (done.status, done.summary["keys"], done.summary["lost"], done.summary["swapped"]) == (1, 3, 1, 1)
    assert "/b: lost" in done.errors
    master = cluster.restart_master()
    assert master.get("/b").status == 410
    assert master.read("/a") == value_of("/a")
    assert master.delete("/b").status == 204
    master.stop_cleanly()
    assert rebuild(volumes, db).status == 0


def test_missing_and_extra_copies(make_cluster):
    cluster = make_cluster(volumes=4)
    volumes, db = stopped_store(cluster)
    want = place.replicas_of(b"/a", volumes)
    first = file_of(cluster, "/a")
    name, _, subvolume = want[3].partition("/")
    fourth = cluster.volume(name).directory / subvolume / place.path_of(b"/a")[1:]
    fourth.parent.mkdir(parents=True)
    first.rename(fourth)
    done = rebuild(volumes, db)
    assert (done.status, done.errors) == (0, "")
    master = cluster.restart_master()
    answer = master.get("/a")
    assert answer.header("Key-Volumes") == ",".join(want[1:])
    assert (answer.header("Key-Balance"), answer.header("Content-Md5")) == ("unbalanced", md5(value_of("/a")))
    assert master.read("/a") == value_of("/a")


@pytest.mark.parametrize("flags", [(), ("-fresh",)], ids=["known", "fresh"])
def test_copies_of_different_size(cluster, flags):
    volumes, db = stopped_store(cluster)
    os.truncate(file_of(cluster, "/a", 0), 3)
    done = rebuild(volumes, db, *flags)
    assert (done.status, done.summary["differ"], done.summary["swapped"], done.summary["garbage"]) == (1, 1, 1, 0)
    assert "/a: copies differ" in done.errors and "3 bytes on " + place.replicas_of(b"/a", volumes)[0] in done.errors
    master = cluster.restart_master()
    assert master.get("/a").header("Key-Volumes") == ",".join(place.replicas_of(b"/a", volumes)[1:])
    assert master.read("/a") == value_of("/a")
    assert file_of(cluster, "/a", 0).stat().st_size == 3


def test_no_copy_is_whole(cluster):
    volumes, db = stopped_store(cluster)
    for replica in range(3):
        file = file_of(cluster, "/a", replica)
        was = file.stat().st_mtime_ns
        os.truncate(file, 3)
        os.utime(file, ns=(was, was))  # later ones would count as a value written after the index
    done = rebuild(volumes, db)
    assert (done.status, done.summary["damaged"], done.summary["swapped"]) == (1, 1, 1)
    assert f"no copy has the {len(value_of('/a'))} bytes" in done.errors
    assert cluster.restart_master().get("/a").header("Content-Md5") == md5(value_of("/a"))


def test_md5sum_finds_a_changed_copy(cluster):
    volumes, db = stopped_store(cluster)
    file = file_of(cluster, "/a", 0)
    file.write_bytes(b"X" + file.read_bytes()[1:])
    done = rebuild(volumes, db, "-md5sum")
    assert (done.status, done.summary["swapped"], done.summary["md5_read"], done.summary["errors"]) == (1, 1, 3, 1)
    assert place.replicas_of(b"/a", volumes)[0] in done.errors and md5(value_of("/a")) in done.errors
    assert cluster.restart_master().get("/a").header("Content-Md5") == md5(value_of("/a"))


def test_md5sum_with_a_volume_that_can_not_be_read(faulty_cluster):
    """Another copy does."""
    cluster = faulty_cluster()
    names, db = [volume.name for volume in cluster.faulty], cluster.master.db
    assert cluster.master.put("/a", value_of("/a")).status == 201
    cluster.master.stop_cleanly()
    first = place.replicas_of(b"/a", names)[0]
    next(v for v in cluster.faulty if first.startswith(v.name)).when(faults.answer(500), path=place.path_of(b"/a"))
    done = rebuild(names, db, "-fresh", "-md5sum")
    assert (done.status, done.summary["md5_read"]) == (1, 1)
    assert f"the copy on {first} can not be read" in done.errors
    assert cluster.restart_master().get("/a").header("Content-Md5") == md5(value_of("/a"))


# ---- the index and its directory ---------------------------------------------------------------

def test_refuses_while_a_master_runs(cluster):
    cluster.master.put("/a", b"x")
    done = rebuild(cluster.names(), cluster.master.db)
    assert done.status == 1
    assert f"127.0.0.1:{cluster.master.port}" in done.errors and "stop it first" in done.errors
    assert len(done.errors.splitlines()) == 1
    assert cluster.master.read("/a") == b"x"


def test_master_is_refused_meanwhile(faulty_cluster):
    cluster = faulty_cluster()
    names, db = [volume.name for volume in cluster.faulty], cluster.master.db
    assert cluster.master.put("/a", value_of("/a")).status == 201
    cluster.master.stop_cleanly()
    cluster.faulty[0].when(faults.hang, path="/")
    process = subprocess.Popen(jobs.command("mkv-rebuild", names, db, "-voltimeout", "60s"), stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        wait_until(lambda: cluster.faulty[0].seen("GET"), "it lists")
        start = subprocess.run([*map(str, cluster.master.command())], capture_output=True, timeout=30, check=False)
        assert start.returncode == 1 and b"in use by another program" in start.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 1


def test_the_originals_index_is_left_alone(cluster, tmp_path):
    volumes, _ = stopped_store(cluster)
    leveldb = tmp_path / "leveldb"
    leveldb.mkdir()
    for name in ("CURRENT", "MANIFEST-000004", "000005.ldb", "LOCK"):
        (leveldb / name).write_bytes(b"x")
    done = rebuild(volumes, leveldb)
    assert done.status == 1 and "another -db" in done.errors
    assert sorted(p.name for p in leveldb.iterdir()) == ["000005.ldb", "CURRENT", "LOCK", "MANIFEST-000004"]
    assert rebuild(volumes, tmp_path / "new").status == 0


def test_damaged_index(cluster):
    volumes, db = stopped_store(cluster)
    (db / "data.mdb").write_bytes(b"no index" * 1000)
    done = rebuild(volumes, db)
    assert done.status == 1 and "-fresh" in done.errors
    assert index_bytes(db) == b"no index" * 1000
    assert leftovers(db) == set()
    done = rebuild(volumes, db, "-fresh")
    assert (done.status, done.summary["keys"]) == (0, 3)
    assert cluster.restart_master().read("/a") == value_of("/a")


def test_no_space_beside_the_index(make_cluster, tmp_path):
    small = fs.SmallFileSystem(tmp_path / "small", 4)
    try:
        cluster = make_cluster(db=small.directory / "index")
        volumes, db = stopped_store(cluster)
        before = index_bytes(db)
        for leave in (0, 8192):
            small.fill(leave)
            done = rebuild(volumes, db)
            assert done.status == 1 and "space" in done.errors, (leave, done.errors)
            assert index_bytes(db) == before and leftovers(db) == set()
            small.empty()
        assert rebuild(volumes, db).status == 0
        assert cluster.restart_master().read("/a") == value_of("/a")
        cluster.master.stop_cleanly()
    finally:
        small.unmount()


def test_no_volumes_and_bad_flags(tmp_path):
    for flags in (("-volumes", ""), ("-jobs", "0"), ("-nonsense",)):
        done = jobs.run("mkv-rebuild", ["localhost:1"] * 3, tmp_path / "db", *flags)
        assert done.status == 2 and len(done.errors.splitlines()) == 1
    done = jobs.run("mkv-rebuild", ["localhost:1", "localhost:2", "no port:here"], tmp_path / "db")
    assert done.status != 0 and "-volumes" in done.errors


# ---- stopping it ---------------------------------------------------------------------------------

def check_usable(cluster, values):
    master = cluster.restart_master()
    assert sorted(master.keys()) == sorted(values)
    for key, value in values.items():
        assert master.read(key) == value
    master.stop_cleanly()


def test_killed_at_any_moment(make_cluster):
    """The index is the old one or the new one, whole; what a killed run left does not disturb the next."""
    cluster = make_cluster()
    values = {f"/key{i}": value_of(f"/key{i}") for i in range(120)}
    with cluster.master.connect() as connection:
        for key, value in values.items():
            assert connection.request("PUT", key, value).status == 201
    cluster.master.stop_cleanly()
    volumes, db = cluster.names(), cluster.master.db
    start = time.monotonic()
    assert rebuild(volumes, db).status == 0
    usual = time.monotonic() - start
    chance, swapped, inode = random.Random(3), 0, (db / "data.mdb").stat().st_ino
    for _ in range(30):
        process = subprocess.Popen(jobs.command("mkv-rebuild", volumes, db), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 1.2 * usual))
        process.kill()
        process.wait()
        swapped += (db / "data.mdb").stat().st_ino != inode
        inode = (db / "data.mdb").stat().st_ino
        if chance.random() < 0.3:
            check_usable(cluster, values)
    check_usable(cluster, values)
    assert swapped < 30, "not one run was killed before it was done"
    assert rebuild(volumes, db).status == 0
    assert leftovers(db) == set()
    check_usable(cluster, values)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_stopped(faulty_cluster, sig):
    cluster = faulty_cluster()
    names, db = [volume.name for volume in cluster.faulty], cluster.master.db
    assert cluster.master.put("/a", value_of("/a")).status == 201
    cluster.master.stop_cleanly()
    before = index_bytes(db)
    cluster.faulty[0].when(faults.hang, path="/")
    process = subprocess.Popen(jobs.command("mkv-rebuild", names, db, "-voltimeout", "60s", "-json"), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    wait_until(lambda: cluster.faulty[0].seen("GET") and cluster.faulty[1].seen("GET"), "it lists")
    process.send_signal(sig)
    output, errors = process.communicate(timeout=30)
    jobs.check_errors(errors.decode())
    assert process.returncode == 1
    assert b'"interrupted":true' in output and b'"swapped":0' in output
    assert b"as it was" in errors
    assert index_bytes(db) == before
    assert leftovers(db) == set()


def test_summary_in_words(cluster):
    volumes, db = stopped_store(cluster)
    done = rebuild(volumes, db, json_wanted=False)
    assert (done.status, done.errors) == (0, "")
    lines = dict(line.rsplit(None, 1) for line in done.output.splitlines())
    assert (lines["files seen"], lines["keys"], lines["errors"]) == ("9", "3", "0")


def test_original_command_line(cluster):
    """mkv -volumes ... -db ... rebuild"""
    volumes, db = stopped_store(cluster)
    words = [*jobs.command("mkv", volumes, db), "rebuild"]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0 and b"keys" in done.stdout, done.stderr
