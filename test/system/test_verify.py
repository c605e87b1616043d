"""mkv-verify: damage of every kind is found, named and repaired, and nothing that is well is ever touched."""
import hashlib
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import pytest

from mkvtest import faults, http, place
from mkvtest.cluster import BIN, as_bytes, wait_until
from mkvtest.jobs import Outcome, index, run

KEYS = {b"/plain": b"a plain value", b"/with space": b"s" * 1000, "/ümläut".encode(): b"u" * 70_000, b"/q?x#%41+&=": b"?",
        b"/line\nbreak": b"newline", b"/a?": b"slash at the end", b"/" + b"x" * 300: b"long", b"/" + b"y" * 700: b"longer",
        b"/big": bytes(range(256)) * 8192}
LARGE = b"/big"


def verify(cluster, *flags, names=None, replicas=3, **options):
    return run("mkv-verify", "-db", cluster.master.db, "-volumes", ",".join(names or cluster.master.volumes), "-replicas",
               replicas, "-json", *flags, **options)


def clean(cluster, *flags, **options):
    """Nothing is wrong: not a line, and no figure says otherwise."""
    outcome = verify(cluster, *flags, **options).expect(0)
    figures = outcome.json
    assert not outcome.errors, outcome
    for name in ("missing", "wrong_size", "damaged", "different", "under_replicated", "lost", "unchecked", "unbalanced",
                 "repaired", "repairable", "in_use", "orphans", "orphans_deleted", "spool_orphans", "parts_missing", "errors"):
        assert figures[name] == 0, (name, outcome)
    return figures


class Values:
    """A cluster with one value under each key, and where its files are."""

    def __init__(self, cluster, values):
        self.cluster, self.values = cluster, dict(values)
        for key, value in values.items():
            assert cluster.master.put(key, value).status == 201, key

    def file(self, key, copy, generation=0):
        """The path in the file system of the copy'th replica."""
        text = place.replicas_of(as_bytes(key), self.cluster.names())[copy]
        name, _, subvolume = text.partition("/")
        volume = self.cluster.volume(name)
        return pathlib.Path(str(volume.directory) + "/" + subvolume + place.path_of(as_bytes(key), generation))

    def where(self, key, copy):
        return place.replicas_of(as_bytes(key), self.cluster.names())[copy]

    def flip(self, key, copy):
        """One bit; size and mtime stay."""
        path = self.file(key, copy)
        before = path.stat()
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def truncate(self, key, copy):
        path = self.file(key, copy)
        path.write_bytes(path.read_bytes()[:-1])

    def all_well(self):
        expected = {}
        for key, value in self.values.items():
            expected |= self.cluster.expected_files(key, value)
        assert self.cluster.files() == expected


@pytest.fixture(params=["online", "offline"])
def stored(request, make_cluster):
    """Values(…), beside the running master and without one."""
    made = make_cluster(volumes=4)

    def make(values=None):
        stored = Values(made, values or KEYS)
        if request.param == "offline":
            made.master.stop_cleanly()
        return stored

    return make


def shown(key):
    """As a log line shows a key."""
    text = "".join(chr(c) if 32 <= c < 127 and c != 92 else f"\\x{c:02x}" for c in as_bytes(key))
    return text if len(text) < 512 else text[:508] + "..."


# --- finding and repairing


def test_nothing_wrong(stored):
    values = stored()
    size = 3 * sum(map(len, KEYS.values()))
    figures = clean(values.cluster)
    assert figures["keys"] == len(KEYS) and figures["copies"] == 3 * len(KEYS) and figures["bytes"] == 0
    figures = clean(values.cluster, "-deep", "-orphans", "-repair")
    assert figures["bytes"] == size and figures["files"] == 3 * len(KEYS) and figures["foreign"] == 0
    values.all_well()


@pytest.mark.parametrize("deep", [False, True])
def test_missing_and_truncated_copies(stored, deep):
    values = stored()
    flags = ["-deep"] if deep else []
    for i, key in enumerate(KEYS):
        if i % 2:
            values.file(key, i % 3).unlink()
        else:
            values.truncate(key, i % 3)
    outcome = verify(values.cluster, *flags).expect(1)
    assert outcome.json["missing"] == len(KEYS) // 2 and outcome.json["wrong_size"] == len(KEYS) - len(KEYS) // 2
    assert outcome.json["errors"] == len(KEYS) and outcome.json["lost"] == 0
    for i, (key, value) in enumerate(KEYS.items()):
        size = len(value)
        what = "missing on " if i % 2 else f"{size - 1} bytes instead of {size} on "
        assert f"verify: {shown(key)}: {what}{values.where(key, i % 3)}\n" in outcome.why, outcome
    would = verify(values.cluster, "-repair", "-dry-run", *flags).expect(1)
    assert would.json["repairable"] == len(KEYS) and would.json["repaired"] == 0
    assert f"verify: /plain: would be repaired: 12 bytes instead of 13 on {values.where(b'/plain', 0)}\n" in would.why
    assert not values.file(list(KEYS)[1], 1).exists()
    repaired = verify(values.cluster, "-repair", *flags).expect(0)
    assert repaired.json["repaired"] == len(KEYS) and repaired.json["errors"] == 0
    assert f"verify: /plain: repaired: 12 bytes instead of 13 on {values.where(b'/plain', 0)}\n" in repaired.why
    clean(values.cluster, "-deep", "-orphans")
    values.all_well()


def test_a_flipped_bit_is_found_by_reading(stored):
    values = stored()
    for i, key in enumerate(KEYS):
        values.flip(key, i % 3)
    clean(values.cluster)
    outcome = verify(values.cluster, "-deep").expect(1)
    assert outcome.json["damaged"] == outcome.json["errors"] == len(KEYS)
    for i, key in enumerate(KEYS):
        md5 = hashlib.md5(values.file(key, i % 3).read_bytes()).hexdigest()
        assert f"verify: {shown(key)}: damaged on {values.where(key, i % 3)} (MD5 {md5})\n" in outcome.why, outcome
    assert verify(values.cluster, "-deep", "-repair").expect(0).json["repaired"] == len(KEYS)
    clean(values.cluster, "-deep", "-orphans")
    values.all_well()


def test_two_of_three_copies_are_bad(stored):
    values = stored()
    values.flip(LARGE, 0)
    values.truncate(LARGE, 2)
    values.flip(b"/a?", 1)
    values.file(b"/a?", 2).unlink()
    outcome = verify(values.cluster, "-deep", "-repair").expect(0)
    assert outcome.json["repaired"] == 2
    assert f"damaged on {values.where(LARGE, 0)}" in outcome.why and f"on {values.where(LARGE, 2)}" in outcome.why
    values.all_well()


def test_unlinked_keys_are_kept_whole_too(stored, request):
    values = stored({b"/live": b"1", b"/gone": b"22"})
    if not values.cluster.master.running():
        values.cluster.restart_master()
    assert values.cluster.master.unlink(b"/gone").status == 204
    if "offline" in request.node.name:
        values.cluster.master.stop_cleanly()
    values.file(b"/gone", 1).unlink()
    assert f"/gone: missing on {values.where(b'/gone', 1)}\n" in verify(values.cluster).expect(1).why
    verify(values.cluster, "-repair").expect(0)
    values.all_well()
    assert index(values.cluster.master.db, "get", "/gone").expect(0).json["state"] == "unlinked"
    values.flip(b"/gone", 0)
    verify(values.cluster, "-repair", "-deep").expect(0)
    values.all_well()


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped", "mixed"])
def test_a_lost_key_is_reported_and_never_deleted(stored, how):
    values = stored({b"/lost": b"a lost value", b"/kept": b"kept"})
    for copy in range(3):
        kind = ["missing", "truncated", "flipped"][copy] if how == "mixed" else how
        if kind == "missing":
            values.file(b"/lost", copy).unlink()
        elif kind == "truncated":
            values.truncate(b"/lost", copy)
        else:
            values.flip(b"/lost", copy)
    before, record = values.cluster.files(), index(values.cluster.master.db, "get", "/lost").expect(0).out
    for _ in range(2):
        outcome = verify(values.cluster, "-deep", "-repair", "-orphans").expect(1)
        assert outcome.json["lost"] == outcome.json["errors"] == 1 and outcome.json["repaired"] == 0
        assert "verify: /lost: lost, no good copy is left: " in outcome.why
        for copy in range(3):
            assert values.where(b"/lost", copy) in outcome.why
    assert values.cluster.files() == before
    assert index(values.cluster.master.db, "get", "/lost").expect(0).out == record


def adopt(values, **changes):
    """The records as a rebuild makes them: without what only the index knew."""
    import json
    cluster = values.cluster
    lines = []
    for line in index(cluster.master.db, "dump").expect(0).out.splitlines():
        record = json.loads(line)
        for name in ("md5", *changes):
            record.pop(name, None)
        lines.append(json.dumps(record))
    running = cluster.master.running()
    if running:
        cluster.master.stop_cleanly()
    index(cluster.master.db, "-force", "load", stdin="\n".join(lines).encode()).expect(0)
    if running:
        cluster.restart_master()


def test_copies_that_differ_are_left_alone_where_no_md5_is_known(stored):
    values = stored({b"/differ": b"value", b"/same": b"other"})
    adopt(values)
    clean(values.cluster, "-deep")
    values.flip(b"/differ", 1)
    before = values.cluster.files()
    clean(values.cluster)
    for flags in ([], ["-repair"]):
        outcome = verify(values.cluster, "-deep", *flags).expect(1)
        assert outcome.json["different"] == 3 and outcome.json["lost"] == 0 and outcome.json["repaired"] == 0
        assert "verify: /differ: its copies differ, and the index does not know which is right: left alone: " in outcome.why
        for copy in range(3):
            md5 = hashlib.md5(values.file(b"/differ", copy).read_bytes()).hexdigest()
            assert f"5 bytes, MD5 {md5} on {values.where(b'/differ', copy)}" in outcome.why
    assert values.cluster.files() == before


def test_copies_of_unknown_size(stored):
    values = stored({b"/size": b"value", b"/missing": b"other"})
    adopt(values, size=True, mtime=True)
    clean(values.cluster)
    clean(values.cluster, "-deep")
    values.file(b"/missing", 2).unlink()
    verify(values.cluster, "-repair").expect(0)
    values.all_well()
    values.truncate(b"/size", 0)
    before = values.cluster.files()
    for flags in ([], ["-deep"], ["-repair"], ["-deep", "-repair"]):
        outcome = verify(values.cluster, *flags).expect(1)
        assert outcome.json["different"] == 3 and "copies differ" in outcome.why
        assert f"4 bytes, MD5" in outcome.why and "5 bytes, MD5" in outcome.why
    assert values.cluster.files() == before


def test_too_few_copies(make_cluster, request):
    cluster = make_cluster("-replicas", "2", volumes=3)
    values = Values(cluster, {b"/two": b"2", b"/also": b"22"})
    clean(cluster, replicas=2)
    cluster.master.stop_cleanly()
    outcome = verify(cluster).expect(1)
    assert outcome.json["under_replicated"] == outcome.json["unbalanced"] == 2
    assert "verify: /two: only 2 of 3 copies\n" in outcome.why
    assert verify(cluster, "-repair").expect(0).json["repaired"] == 2
    clean(cluster)
    values.all_well()


def test_unbalanced_keys_are_information(make_cluster):
    cluster = make_cluster(volumes=3)
    Values(cluster, KEYS)
    cluster.master.stop_cleanly()
    names = cluster.names() + ["localhost:1"]  # where nobody has to be asked
    moved = sum(place.replicas_of(key, names)[:3] != place.replicas_of(key, cluster.names())[:3] for key in KEYS)
    assert moved
    outcome = verify(cluster, names=names).expect(0)
    assert outcome.json["unbalanced"] == moved and not outcome.errors
    assert verify(cluster, "-v", names=names).expect(0).why.count("unbalanced") == moved


def test_a_replaced_value_is_checked_under_its_new_name(cluster):
    values = Values(cluster, {b"/k": b"old"})
    assert cluster.master.replace(b"/k", b"newer").status == 201
    clean(cluster, "-deep", "-orphans")  # the old files are garbage: not orphans
    values.file(b"/k", 0, generation=1).unlink()
    verify(cluster, "-repair").expect(0)
    assert cluster.master.read(b"/k") == b"newer"
    clean(cluster, "-deep", "-orphans")


# --- orphans


def plant(cluster, key, data, copy=0, generation=0, subvolume=None):
    text = place.replicas_of(as_bytes(key), cluster.names())[copy]
    name, _, sub = text.partition("/")
    path = cluster.volume(name).directory / (subvolume or sub)
    path = pathlib.Path(str(path) + place.path_of(as_bytes(key), generation))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_orphans_in_the_spool(stored, tmp_path):
    values = stored()
    cluster, beside = values.cluster, values.cluster.master.running()
    spool = tmp_path / "another spool"
    old, new = spool / ("00ff" * 8), spool / ("ff00" * 8)
    for directory in (old, new):
        directory.mkdir(parents=True)
        (directory / "1.1").write_bytes(b"a part")
        (directory / "2.1~").write_bytes(b"half of one")
    for path in [*old.iterdir(), old]:
        os.utime(path, (time.time() - 100,) * 2)
    (spool / "notes").write_text("mine")
    found = verify(cluster, "-orphans", "-spool", spool).expect(1)
    assert f"verify: {old.name}: orphan in the spool: no upload has that id\n" in found.why
    assert (found.json["spool_orphans"], found.json["orphans"], found.json["foreign"]) == (1 if beside else 2, 0, 1)
    done = verify(cluster, "-orphans", "-repair", "-spool", spool).expect(0)
    assert done.json["spool_orphans_deleted"] == (1 if beside else 2)
    assert {path.name for path in spool.iterdir()} == {"notes"} | ({new.name} if beside else set())
    missing = verify(cluster, "-orphans", "-spool", tmp_path / "typo").expect(1)
    assert "typo can not be read" in missing.why and "-spool" in missing.why
    values.all_well()


def test_orphans_are_found_and_deleted(stored):
    values = stored()
    cluster = values.cluster
    orphans = [plant(cluster, b"/nobody", b"orphan"), plant(cluster, b"/no\xffbody", b"orphan", 1),
               plant(cluster, b"/" + b"o" * 500, b"orphan"), plant(cluster, b"/plain", b"old", generation=3),
               plant(cluster, b"/plain", b"other place", subvolume="sv63"), plant(cluster, b"/a?", b"elsewhere", 3)]
    foreign = [cluster.volumes[0].directory / "README", cluster.volumes[1].directory / "sv00" / "notes.txt",
               cluster.volumes[2].directory / "sv01" / "aa" / "bb" / "L3dyb25n"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    clean(cluster, "-deep", "-repair")
    found = verify(cluster, "-orphans").expect(1)
    assert found.json["orphans"] == found.json["errors"] == len(orphans) and found.json["foreign"] == len(foreign)
    assert "verify: /nobody: orphan on " in found.why and ", 6 bytes: the index does not know its key: " in found.why
    assert "verify: /plain: orphan on " in found.why and "a newer generation than the index has" in found.why
    assert "a copy that the index does not name" in found.why and "README" in found.why and "foreign" in found.why
    would = verify(cluster, "-orphans", "-repair", "-dry-run").expect(1)
    assert would.json["orphans"] == len(orphans) and would.why.count("would be deleted") == len(orphans)
    assert all(path.exists() for path in orphans)
    done = verify(cluster, "-orphans", "-repair").expect(0)
    assert done.json["orphans"] == done.json["orphans_deleted"] == len(orphans) and done.json["errors"] == 0
    assert not any(path.exists() for path in orphans) and all(path.read_bytes() == b"mine" for path in foreign)
    after = verify(cluster, "-orphans").expect(0)  # they are told, and nothing is wrong with them
    assert after.json["foreign"] == after.why.count("\n") == len(foreign)
    assert f"verify: /sv01/aa/bb/L3dyb25n: on {cluster.names()[2]}: foreign" in after.why
    for path in foreign:
        path.unlink()
    values.all_well()


def test_the_wrong_index_deletes_nothing(make_cluster, tmp_path):
    cluster = make_cluster()
    values = Values(cluster, KEYS)
    cluster.master.stop_cleanly()
    outcome = run("mkv-verify", "-db", tmp_path / "typo", "-volumes", ",".join(cluster.names()), "-orphans", "-repair",
                  "-json").expect(1)
    assert outcome.json["orphans"] == 3 * len(KEYS) and outcome.json["orphans_deleted"] == 0
    assert "Is it the right index?" in outcome.why
    values.all_well()


@pytest.mark.parametrize("when", ["HEAD", "DELETE"])
def test_a_name_taken_in_the_moment_of_its_deletion_loses_no_copy(faulty_cluster, when):
    cluster = faulty_cluster()
    values = Values(cluster, {b"/other/%d" % i: b"value" for i in range(5)})
    names = [volume.name for volume in cluster.faulty]
    name, _, sub = place.replicas_of(b"/taken", names)[0].partition("/")
    volume = next(volume for volume in cluster.faulty if volume.name == name)
    path = pathlib.Path(str(volume.real.directory) + "/" + sub + place.path_of(b"/taken"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"nobody's")
    put = []

    def take_the_name(exchange):
        put.append(cluster.master.put(b"/taken", b"somebody's").status)
        faults.forward(exchange)

    volume.when(take_the_name, method=when, path=place.path_of(b"/taken"), times=1)
    outcome = verify(cluster, "-orphans", "-repair").expect(0)
    assert put == [201] and outcome.json["orphans_deleted"] == (when == "DELETE"), outcome
    assert path.read_bytes() == b"somebody's"
    clean(cluster, "-deep", "-orphans")
    assert len(cluster.files()) == 3 * (len(values.values) + 1)


def test_a_listing_that_fails_is_reported(faulty_cluster):
    cluster = faulty_cluster()
    Values(cluster, {b"/k": b"1"})
    plant_at = cluster.volumes[0].directory / "sv00" / "aa"
    plant_at.mkdir(parents=True, exist_ok=True)
    cluster.faulty[0].when(faults.answer(500), method="GET", path="/sv00/")
    outcome = verify(cluster, "-orphans").expect(1)
    assert f"/sv00/: on {cluster.faulty[0].name}: can not be listed" in outcome.why


# --- what can not be checked


def test_a_volume_that_is_down(own_cluster):
    cluster = own_cluster(4)
    cluster.start_master()
    values = Values(cluster, {**KEYS, **{b"/small/%d" % i: b"v" for i in range(60)}})
    down = cluster.volumes[1]
    there = [key for key in values.values if down.name in [v.name for v in cluster.volumes_of(key)[:3]]]
    lost = next(key for key in there)
    for copy in range(3):
        if cluster.volumes_of(lost)[copy].name != down.name:
            values.file(lost, copy).unlink()
    broken = next(key for key in values.values if key not in there)
    values.file(broken, 0).unlink()
    down.stop()
    outcome = verify(cluster, "-deep", "-repair").expect(1)
    figures = outcome.json
    assert figures["unchecked"] == len(there) and figures["lost"] == 0 and figures["repaired"] == 1, outcome
    assert f"{down.name} is down" in outcome.why or outcome.why.count("not checked on") >= len(there), outcome
    assert values.file(broken, 0).exists()
    down.start()
    # What is there again is repaired from it.
    assert verify(cluster, "-deep", "-repair").expect(0).json["repaired"] == 1
    clean(cluster, "-deep")
    values.all_well()


def test_a_volume_that_hiccups_is_waited_for(faulty_cluster):
    cluster = faulty_cluster()
    Values(cluster, KEYS)
    for volume in cluster.faulty:
        volume.clear()
        volume.when(faults.answer(503), method="HEAD", times=2)
    clean(cluster)


def test_a_file_that_its_volume_can_not_read(faulty_cluster):
    cluster = faulty_cluster()
    Values(cluster, {b"/k": b"value", b"/other": b"1"})
    path = place.path_of(b"/k")
    cluster.faulty[0].when(faults.answer(403), path=path)
    outcome = verify(cluster, "-deep").expect(1)
    assert outcome.json["unchecked"] == 1 and outcome.json["lost"] == outcome.json["missing"] == 0
    assert f"verify: /k: not checked on {cluster.faulty[0].name}/sv" in outcome.why and "(it answered 403)" in outcome.why


def test_an_answer_that_breaks_off_is_no_verdict(faulty_cluster):
    cluster = faulty_cluster()
    Values(cluster, {b"/k": b"v" * 100_000})
    cluster.faulty[2].when(faults.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"v" * 5000), method="GET")
    outcome = verify(cluster, "-deep", "-repair").expect(1)
    assert outcome.json["unchecked"] == 1 and outcome.json["damaged"] == outcome.json["lost"] == 0
    cluster.faulty[2].clear()
    clean(cluster, "-deep")


# --- beside a master at work


def test_no_false_alarm_beside_a_master_at_work(make_cluster):
    cluster = make_cluster(volumes=4)
    master = cluster.master
    Values(cluster, {b"/still/%d" % i: b"still" * i for i in range(1, 100)})
    stop, answers, failures = threading.Event(), [], []

    def work(n):
        chance = random.Random(n)
        try:
            while not stop.is_set():
                key = b"/busy/%d" % chance.randrange(30)
                method = chance.choice(["PUT", "REPLACE", "REPLACE", "DELETE", "UNLINK", "RELINK", "REBALANCE", "GET"])
                body = chance.randbytes(chance.choice([10, 1000, 50_000])) if method in ("PUT", "REPLACE") else None
                answers.append((method, master.ask(method, key, body).status))
                if answers[-1][1] not in (200, 201, 204, 302, 403, 404, 409):
                    failures.append((key, answers[-1]))
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(4):
            for flags in (["-deep"], [], ["-deep", "-repair"], ["-orphans", "-repair"]):
                outcome = verify(cluster, *flags).expect(0)
                assert outcome.json["errors"] == 0 and outcome.json["repaired"] == 0, outcome
                assert outcome.json["orphans"] == outcome.json["missing"] == 0, outcome
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not failures, failures[:3]
    assert answers.count(("REPLACE", 201)) > 20 and answers.count(("DELETE", 204)) > 20, "there was a load"
    wait_until(lambda: index(master.db, "-json", "stat").json["garbage"] == 0, "old files are swept", 60)
    clean(cluster, "-deep", "-orphans")


def test_a_key_under_repair_that_is_busy_is_tried_again(cluster):
    values = Values(cluster, {b"/k": b"value"})
    values.file(b"/k", 0).unlink()
    with cluster.master.connect() as writer:
        writer.send_head("REPLACE", "/k", [("Content-Length", 6)])
        wait_until(lambda: index(cluster.master.db, "-json", "stat").json["writing"] == 1, "the write has begun")
        job = subprocess.Popen([BIN / "mkv-verify", "-db", cluster.master.db, "-volumes", ",".join(cluster.names()), "-repair",
                                "-json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.3)
        assert job.poll() is None  # it waits
        writer.send(b"newest")
        assert writer.answer("REPLACE").status == 201
        out, errors = job.communicate(timeout=60)
    assert job.returncode == 0, (out, errors)
    clean(cluster, "-deep")
    assert cluster.master.read(b"/k") == b"newest"


# --- the program


def test_interrupted_it_sums_up_what_was_done(faulty_cluster):
    cluster = faulty_cluster()
    Values(cluster, {b"/%d" % i: b"value" for i in range(60)})
    for volume in cluster.faulty:
        volume.when(faults.slow(0.2), method="HEAD")
    command = [BIN / "mkv-verify", "-db", cluster.master.db, "-volumes", ",".join(cluster.master.volumes), "-json", "-jobs", "3",
               "-voltimeout", "30s"]
    for again in (False, True):
        for volume in cluster.faulty:
            volume.clear()
            volume.when(faults.hang if again else faults.slow(0.1), method="HEAD")
        job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: any(volume.seen("HEAD") for volume in cluster.faulty), "it has begun")
        job.send_signal(signal.SIGINT)
        if again:
            time.sleep(0.3)
            job.send_signal(signal.SIGINT)
        out, errors = job.communicate(timeout=60)
        outcome = Outcome(command, subprocess.CompletedProcess(command, job.returncode, out, errors)).expect(1)
        assert outcome.json["interrupted"] is True and outcome.json["keys"] < 60 and outcome.json["lost"] == 0, outcome


def test_the_summary_in_words(cluster):
    values = Values(cluster, {b"/k": b"value"})
    values.file(b"/k", 2).unlink()
    command = ["mkv-verify", "-db", cluster.master.db, "-volumes", ",".join(cluster.names()), "-deep"]
    outcome = run(*command).expect(1)
    words = {line[:25].strip(): line[25:] for line in outcome.text.splitlines()}
    assert words["keys checked"] == "1" and words["copies missing"] == "1" and words["bytes read"].startswith("20 ")  # what looks wrong is looked at twice
    assert run(*command, "-repair").expect(0).text.count("\nkeys repaired            1\n") == 1


def test_flags(cluster):
    assert "-volumes is missing" in run("mkv-verify", "-db", cluster.master.db).expect(2).why
    assert "flags only" in run("mkv-verify", "-db", "x", "-volumes", "a,b,c", "now").expect(2).why
    assert "-orphans" in run("mkv-verify", "-help").expect(0).text
    assert "there is no index in" in run("mkv-verify", "-db", cluster.directory / "none", "-volumes",
                                         ",".join(cluster.names())).expect(1).why


def test_lines_are_bounded(cluster):
    values = Values(cluster, {b"/%03d" % i: b"v" for i in range(130)})
    for i in range(130):
        values.file(b"/%03d" % i, 0).unlink()
    outcome = verify(cluster).expect(1)
    assert outcome.json["missing"] == outcome.json["errors"] == 130 and outcome.why.count("missing on") == 100
    assert verify(cluster, "-repair").expect(0).json["repaired"] == 130
    values.all_well()
