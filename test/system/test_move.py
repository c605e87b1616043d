"""REBALANCE /key: one key to where it belongs."""
import hashlib
import os

import pytest

from mkvtest import place
from mkvtest.cluster import as_bytes, fetch, wait_until
from mkvtest.faults import answer

HARD_KEYS = [b"/plain", b"/with space", b"/new\nline", b"/q?x#y%z+a&b", b"/a?", "/ü/ß".encode(), b"//", b"/" + b"k" * 240,
             b"/" + b"m" * 479, b"/" + b"m" * 478 + b"n" * 200, b"/" + b"x" * 1088]


def grow(cluster, *flags):
    """The master again, now with all of the cluster's volumes."""
    assert cluster.master.stop() == 0
    return cluster.start_master(*flags, port=cluster.master.port)


def three_of(cluster, *flags):
    return cluster.start_master(*flags, volumes=cluster.names()[:3])


def found_on(cluster, key):
    """The replica texts of the key's files, whatever its generation."""
    plain = place.path_of(as_bytes(key))
    texts = set()
    for (name, path) in cluster.files():
        if path[5:] == plain or path[5:].startswith(plain + "~"):
            texts.add(name + path[:5])
    return texts


def volumes_header(master, key):
    return master.get(key).header("Key-Volumes").split(",")


def moving_key(cluster, start=0):
    """A key that three volumes hold elsewhere than five do."""
    names = cluster.names()
    for i in range(start, start + 1000):
        key = f"/key{i}"
        before = place.replicas_of(as_bytes(key), names[:3])
        if before != place.replicas_of(as_bytes(key), names)[:3]:
            return key
    raise AssertionError


@pytest.mark.parametrize("key", HARD_KEYS, ids=lambda key: repr(key[:12]))
def test_to_new_volumes_and_what_is_kept(own_cluster, key):
    cluster = own_cluster(5)
    master = three_of(cluster)
    value = os.urandom(3000)
    assert master.put(key, b"an older generation").status == 201
    assert master.replace(key, value).status == 201
    master = grow(cluster)
    assert master.ask("REBALANCE", key).status == 204
    got = master.get(key)
    assert (got.status, got.header("Key-Balance")) == (302, "balanced")
    assert got.header("Content-Md5") == hashlib.md5(value).hexdigest()
    assert got.header("Key-Volumes").split(",") == master.placement(key)[:3]
    assert fetch(got.header("Location")) == value
    wait_until(lambda: cluster.files() == cluster.expected_files(key, value, generation=1),
               "the old files are deleted, and nothing else")
    assert fetch(master.get(key).header("Location")) == value
    assert master.ask("REBALANCE", key).status == 204


def test_absent_unlinked_and_back(own_cluster):
    cluster = own_cluster(5)
    master = three_of(cluster)
    key = moving_key(cluster)
    master.put(key, b"value")
    master.unlink(key)
    master = grow(cluster)
    assert master.ask("REBALANCE", "/nope").status == 404
    assert master.ask("REBALANCE", key).status == 404
    assert master.ask("REBALANCE", "/nope", query="?unlinked").status == 404
    assert master.ask("REBALANCE", key, query="?unlinked").status == 204
    assert master.get(key).status == 404
    assert master.keys(operation="unlinked") == [key]
    wait_until(lambda: cluster.files() == cluster.expected_files(key, b"value"), "moved")
    assert master.relink(key).status == 204
    assert master.read(key) == b"value"
    assert master.ask("REBALANCE", key, query="?unlinked").status == 404
    assert master.ask("REBALANCE", key).status == 204


@pytest.mark.parametrize("query", ["?list", "?unlinked&x", "?deep=1&more"])
def test_unknown_operation(cluster, query):
    cluster.master.put("/key", b"value")
    got = cluster.master.ask("REBALANCE", "/key", query=query)
    assert (got.status, b"REBALANCE takes" in got.body) == (400, True)


def remove(volume, path):
    (volume.directory / path.lstrip("/")).unlink()


@pytest.mark.parametrize("missing", [1, 2])
def test_missing_copies_are_made_anew(cluster, missing):
    master = cluster.master
    value = os.urandom(300_000)
    master.put("/key", value)
    before = cluster.files()
    stamps = {(volume.name, path): (volume.directory / path[1:]).stat().st_mtime for volume in cluster.volumes
              for path in volume.files()}
    for volume in cluster.volumes[:missing]:
        for path in volume.files():
            remove(volume, path)
    assert master.ask("REBALANCE", "/key").status == 204
    assert cluster.files() == before
    assert stamps == {(volume.name, path): (volume.directory / path[1:]).stat().st_mtime for volume in cluster.volumes
                      for path in volume.files()}


def damage(volume, change):
    for path in volume.files():
        file = volume.directory / path[1:]
        file.write_bytes(change(file.read_bytes()))


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def test_a_copy_of_another_size_is_made_anew(cluster):
    cluster.master.put("/key", b"value" * 1000)
    before = cluster.files()
    damage(cluster.volumes[1], lambda data: data[:-1])
    assert cluster.master.ask("REBALANCE", "/key").status == 204
    assert cluster.files() == before


def test_deep_finds_what_the_size_hides(cluster):
    cluster.master.put("/key", b"value" * 1000)
    before = cluster.files()
    damage(cluster.volumes[0], flipped)
    damage(cluster.volumes[2], flipped)
    assert cluster.files() != before
    assert cluster.master.ask("REBALANCE", "/key").status == 204
    assert cluster.files() != before  # of the right size: nobody read them
    assert cluster.master.ask("REBALANCE", "/key", query="?deep").status == 204
    assert cluster.files() == before


def test_a_damaged_source_is_left_for_a_good_one(own_cluster):
    """Whichever copy is read first: the damaged ones never spread, and are mended where they belong."""
    cluster = own_cluster(5)
    master = three_of(cluster)
    key = moving_key(cluster)
    value = os.urandom(200_000)
    master.put(key, value)
    holders = [cluster.volume(text) for text in volumes_header(master, key)]
    damage(holders[0], flipped)
    damage(holders[1], flipped)
    master = grow(cluster)
    assert master.ask("REBALANCE", key, query="?deep").status == 204
    wait_until(lambda: cluster.files() == cluster.expected_files(key, value), "only good copies, where they belong")


def test_no_good_copy(cluster):
    master = cluster.master
    master.put("/key", b"value")
    for volume in cluster.volumes:
        damage(volume, flipped)
    before = cluster.files()
    got = master.ask("REBALANCE", "/key", query="?deep")
    assert (got.status, b"no good copy" in got.body) == (400, True)
    assert cluster.files() == before
    for volume in cluster.volumes:
        for path in volume.files():
            remove(volume, path)
    got = master.ask("REBALANCE", "/key")
    assert (got.status, b"no good copy" in got.body) == (400, True)
    assert master.keys() == ["/key"]


def test_copies_that_differ_without_an_md5(make_cluster):
    """Nobody knows which is right: nothing is touched."""
    cluster = make_cluster("-md5sum=false")
    cluster.master.put("/key", b"value")
    damage(cluster.volumes[0], flipped)
    before = cluster.files()
    got = cluster.master.ask("REBALANCE", "/key", query="?deep")
    assert (got.status, b"differ" in got.body) == (400, True)
    assert cluster.files() == before
    damage(cluster.volumes[0], flipped)
    assert cluster.master.ask("REBALANCE", "/key", query="?deep").status == 204


def test_a_volume_that_belongs_and_is_away(own_cluster):
    """400 that names it; nothing is changed, and it works once the volume is back."""
    cluster = own_cluster(5)
    master = three_of(cluster)
    key = moving_key(cluster)
    master.put(key, b"value")
    before = cluster.files()
    old = volumes_header(master, key)
    master = grow(cluster)
    fresh = [text for text in master.placement(key)[:3] if text not in old]
    away = cluster.volume(fresh[-1])
    away.stop()
    got = master.ask("REBALANCE", key)
    assert got.status == 400
    assert fresh[-1] in got.text and "refused" in got.text
    assert volumes_header(master, key) == old
    assert master.read(key) == b"value"
    assert master.keys(operation="writing") == []
    wait_until(lambda: cluster.files() == before, "what was copied is deleted again")
    away.start()
    wait_until(lambda: master.ask("REBALANCE", key).status == 204, "it is moved")
    wait_until(lambda: cluster.files() == cluster.expected_files(key, b"value"), "all in place")


def test_an_old_place_that_is_away(own_cluster):
    """A value leaves a volume that is dead; what lies there is deleted once it is back."""
    cluster = own_cluster(4)
    names = cluster.names()
    key = next(f"/k{i}" for i in range(1000)
               if names[3] in place.replicas_of(b"/k%d" % i, names)[1].partition("/")[0])
    master = cluster.start_master()
    master.put(key, b"value")
    cluster.volumes[3].stop()
    assert master.stop() == 0
    master = cluster.start_master("-voltimeout", "300ms", volumes=names[:3])
    assert master.ask("REBALANCE", key).status == 204
    assert volumes_header(master, key) == master.placement(key)[:3]
    assert master.read(key) == b"value"
    cluster.volumes[3].start()
    wait_until(lambda: cluster.volumes[3].files() == {}, "the dead volume came back and was cleaned", 40)
    assert master.read(key) == b"value"


@pytest.mark.parametrize("status", [500, 507])
def test_a_target_that_stores_nothing(faulty_cluster, status):
    cluster = faulty_cluster(volumes=3)
    master = cluster.master
    master.put("/key", b"value")
    name = volumes_header(master, "/key")[0]
    bad = next(volume for volume in cluster.faulty if name.startswith(volume.name))
    for path in bad.files():
        remove(bad.real, path)
    bad.when(answer(status), "PUT")
    got = master.ask("REBALANCE", "/key")
    assert got.status == 400
    assert name in got.text
    assert master.read("/key") == b"value"
    bad.clear()
    assert master.ask("REBALANCE", "/key").status == 204
    assert len(bad.files()) == 1


def test_busy(cluster):
    """409 while another request writes the key; none because of a move that was answered."""
    master = cluster.master
    master.put("/key", b"value")
    with master.connect() as writer:
        writer.send_head("REPLACE", "/key", [("Content-Length", "10")])
        writer.send(b"12345")
        wait_until(lambda: master.keys(operation="writing") == ["/key"], "it is being written")
        assert master.ask("REBALANCE", "/key").status == 409
        writer.send(b"67890")
        assert writer.answer("REPLACE").status == 201
    for i in range(30):
        assert master.ask("REBALANCE", "/key").status == 204
        assert master.replace("/key", b"value %d" % i).status == 201


def test_many_beside_a_client(own_cluster):
    """While a client is being served most of them wait for their turn: each gets it, and one that has not begun holds no key."""
    cluster = own_cluster(5)
    keys = [f"/key{i}" for i in range(16)]
    three = three_of(cluster)
    for key in keys:
        assert three.put(key, b"value").status == 201
    master = grow(cluster)
    with master.connect() as writer:
        writer.send_head("PUT", "/slow", [("Content-Length", "10")])
        writer.send(b"12345")
        wait_until(lambda: master.keys(operation="writing"), "it is being written")
        movers = [master.connect() for _ in keys]
        for mover, key in zip(movers, keys):
            mover.send_head("REBALANCE", key)
        movers.pop().close()  # nobody waits for the last one
        for mover in movers:
            with mover:
                assert mover.answer("REBALANCE").status == 204
        writer.send(b"67890")
        assert writer.answer("PUT").status == 201
    wait_until(lambda: master.delete(keys[-1]).status == 204, "its move is over, or has never begun")
    for key in keys[:-1]:
        assert master.get(key).header("Key-Balance") == "balanced"
        assert master.read(key) == b"value"


def test_away_and_back_while_garbage_waits(own_cluster):
    """The old files are due to be deleted when the value comes back to where it was: they stay, or are there again."""
    cluster = own_cluster(5)
    keys = [f"/key{i}" for i in range(40)]
    values = {key: os.urandom(2000) for key in keys}
    three, five = three_of(cluster), None
    for key in keys:
        assert three.put(key, values[key]).status == 201
    for _ in range(3):
        five = grow(cluster)
        for key in keys:
            assert five.ask("REBALANCE", key).status == 204
        assert five.stop() == 0
        three = cluster.start_master(volumes=cluster.names()[:3], port=five.port)
        for key in keys:
            assert three.ask("REBALANCE", key).status == 204
            assert three.read(key) == values[key]
    expected = {}
    for key in keys:
        for text in three.placement(key)[:3]:
            name, _, subvolume = text.partition("/")
            expected[name, "/" + subvolume + place.path_of(as_bytes(key))] = values[key]
    wait_until(lambda: cluster.files() == expected, "every value where three volumes want it, and nowhere else")
    for key in keys:
        assert three.read(key) == values[key]


@pytest.mark.parametrize("when", ["marked", "copied"])
def test_killed_on_the_way(faulty_cluster, when):
    """SIGKILL before the commit: the value is where it was, and no stray file stays."""
    cluster = faulty_cluster(volumes=4)
    names = [volume.name for volume in cluster.faulty]
    assert cluster.master.keys() == []
    assert cluster.master.stop() == 0
    key = next(f"/k{i}" for i in range(1000)
               if sum(text.startswith(names[3]) for text in place.replicas_of(b"/k%d" % i, names)[:3]))
    master = cluster.start_master(volumes=names[:3])
    master.put(key, b"value" * 1000)
    before = cluster.files()
    assert master.stop() == 0
    master = cluster.start_master(volumes=names, port=master.port)
    reached = []

    def freeze_then(exchange):
        if when == "copied":  # stored, but the answer never comes
            for _ in exchange.body():
                pass
            path = cluster.volumes[3].directory / exchange.path[1:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"value" * 1000)
        reached.append(exchange.path)
        exchange.proxy.stopped.wait()
        raise ConnectionError

    cluster.faulty[3].when(freeze_then, "PUT")
    with master.connect() as client:
        client.send_head("REBALANCE", key, [])
        wait_until(lambda: reached, "the copy is under way")
        assert master.keys(operation="writing") == [key]
        master.kill()
    cluster.faulty[3].clear()
    master = cluster.start_master(volumes=names, port=master.port)
    assert master.read(key) == b"value" * 1000
    wait_until(lambda: cluster.files() == before and master.keys(operation="writing") == [], "nothing is left of the move")
    wait_until(lambda: master.ask("REBALANCE", key).status == 204, "it can be moved again")
    assert master.read(key) == b"value" * 1000
