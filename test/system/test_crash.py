"""The master is killed at random moments under load; nothing acknowledged may be lost, nothing half-done may stay."""
import os
import random
import time

import pytest

from mkvtest import place
from mkvtest.cluster import SANITIZED, wait_until
from mkvtest.ledger import LIVE, UNLINKED, Entry, Writer, settle

ROUNDS = int(os.environ.get("MKV_CRASH_ROUNDS", "30"))
WRITERS, KEYS_EACH = 8, 6


def seed():
    """MKV_SEED=N repeats the choices of a run (not its timing)."""
    number = int(os.environ.get("MKV_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"MKV_SEED={number}")
    return number


def files_that_records_name(cluster, entries):
    """{(volume, path)} by what the master says of each key; every key in doubt has been settled, unlinked ones are made
    live to be asked for."""
    named = set()
    for key, entry in entries.items():
        ((state, _),) = entry.states
        if state == UNLINKED:
            assert cluster.master.relink(key).status == 204
            entry.states = [(LIVE, entry.states[0][1])]
        if entry.states[0][0] != LIVE:
            continue
        answer = cluster.master.get(key)
        assert answer.status == 302, (key, answer)
        name_and_generation = answer.header("Location").rpartition(place.path_of(key.encode()))[2]
        generation = int(name_and_generation[1:], 16) if name_and_generation else 0
        for text in answer.header("Key-Volumes").split(","):
            volume, _, subvolume = text.partition("/")
            named.add((volume, f"/{subvolume}{place.path_of(key.encode(), generation)}"))
    return named


@pytest.mark.slow
def test_killed_at_random_moments(make_cluster):
    chance = random.Random(seed())
    cluster = make_cluster("-probe-ttl", "0")
    keys = [f"/crash/{writer}/{i}" for writer in range(WRITERS) for i in range(KEYS_EACH)]
    entries = {key: Entry() for key in keys}
    answered = 0
    for number in range(ROUNDS):
        master = cluster.master
        writers = [Writer(f"writer {i}", master.port, {key: entries[key] for key in keys[i::WRITERS]},
                          chance.getrandbits(64)) for i in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(chance.uniform(0.02, 0.5 if SANITIZED else 0.25))  # the random moment
        master.kill()
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive()
            assert not writer.complaints, writer.complaints
            answered += writer.answered
        master = cluster.restart_master()
        wait_until(lambda: master.keys(operation="writing") == [], f"recovery, round {number}", 30)
        complaints = settle(master, entries)
        assert not complaints, f"round {number}: {complaints}"
    print(f"{answered} writes were acknowledged in {ROUNDS} rounds")
    assert answered > ROUNDS * 3, "the load was too small to mean anything"

    named = files_that_records_name(cluster, entries)
    wait_until(lambda: set(cluster.files()) == named, "every file is named by a record, and the other way round", 30)
    for key, entry in entries.items():
        ((state, value),) = entry.states
        assert cluster.master.read(key) == (value if state == LIVE else None)
    wait_until(lambda: not any(volume.temporary_files() for volume in cluster.volumes), "volumes hold no half files")


def test_killed_in_the_middle_of_each_write(make_cluster):
    """Half-written keys, one of each kind: after the restart they are as they were before."""
    cluster = make_cluster()
    master = cluster.master
    master.put("/replaced", b"old")
    master.put("/unlinked", b"old")
    master.unlink("/unlinked")
    before = cluster.files()
    writes = [("PUT", "/absent"), ("REPLACE", "/replaced"), ("PUT", "/unlinked")]
    clients = [master.connect() for _ in writes]
    for client, (method, key) in zip(clients, writes):
        client.send_head(method, key, [("Content-Length", "10000000")])
        client.send(b"x" * 500_000)
    wait_until(lambda: len(master.keys(operation="writing")) == 3, "three keys are being written")
    master.kill()
    for client in clients:
        client.close()
    master = cluster.restart_master()
    wait_until(lambda: master.keys(operation="writing") == [], "recovery")
    assert (master.keys(), master.keys(operation="unlinked")) == (["/replaced"], ["/unlinked"])
    assert master.read("/replaced") == b"old"
    assert master.get("/absent").status == 404
    wait_until(lambda: cluster.files() == before, "no half-written file is left")
    assert master.relink("/unlinked").status == 204
    assert master.read("/unlinked") == b"old"


@pytest.mark.slow
def test_the_list_of_old_files_survives_a_crash(make_cluster):
    cluster = make_cluster()
    master = cluster.master
    for i in range(5):
        master.put(f"/key{i}", b"old")
        assert master.replace(f"/key{i}", b"new").status == 201
    master.kill()
    assert len(cluster.files()) == 30
    master = cluster.restart_master()
    new = {}
    for i in range(5):
        new.update(cluster.expected_files(f"/key{i}", b"new", generation=1))
    wait_until(lambda: cluster.files() == new, "the old files go", 20)
    for i in range(5):
        assert master.read(f"/key{i}") == b"new"


def test_recovery_waits_for_a_volume_that_is_away(own_cluster):
    """A half-written key whose volumes are down at the restart: served as it was, cleaned up when they are back."""
    cluster = own_cluster(3)
    master = cluster.start_master()
    master.put("/key", b"old")
    before = cluster.files()
    client = master.connect()
    client.send_head("REPLACE", "/key", [("Content-Length", "10")])
    client.send(b"12345")
    wait_until(lambda: master.keys(operation="writing") == ["/key"], "the key is being written")
    cluster.volumes[0].stop()
    master.kill()
    client.close()
    master = cluster.restart_master()
    assert master.read("/key") == b"old"
    cluster.volumes[0].start()
    wait_until(lambda: master.keys(operation="writing") == [], "recovery", 60)
    wait_until(lambda: master.replace("/key", b"new").status == 201, "the key can be written again")
    wait_until(lambda: not set(before) & set(cluster.files()), "the old files go", 20)
    assert master.read("/key") == b"new"
