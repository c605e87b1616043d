"""PUT and REPLACE."""
import hashlib
import os
import random
import time

import pytest

from mkvtest import http, place
from mkvtest.cluster import SANITIZED, wait_until

MEGABYTE = 1 << 20


def md5(data):
    return hashlib.md5(data).hexdigest()


def values():
    chance = random.Random(1)
    return [chance.randbytes(size) for size in (1, 100, 4095, 4096, 65536, 300_000, 5 * MEGABYTE)]


@pytest.mark.parametrize("method", ["PUT", "REPLACE"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("value", values(), ids=len)
def test_stored(cluster, method, chunked, value):
    answer = cluster.master.ask(method, "/wehave", value, chunked=chunked)
    assert (answer.status, answer.header("Content-Md5")) == (201, md5(value))
    assert cluster.files() == cluster.expected_files("/wehave", value)
    assert cluster.master.read("/wehave") == value
    answer = cluster.master.get("/wehave")
    assert answer.header("Content-Md5") == md5(value)
    assert answer.header("Key-Balance") == "balanced"
    assert cluster.master.keys() == ["/wehave"]
    assert cluster.master.keys(operation="writing") == []


def test_without_md5sum(make_cluster):
    cluster = make_cluster("-md5sum=false")
    answer = cluster.master.put("/wehave", b"bigswag")
    assert (answer.status, answer.header("Content-Md5")) == (201, None)
    assert cluster.master.get("/wehave").header("Content-Md5") is None
    assert cluster.files() == cluster.expected_files("/wehave", b"bigswag")


@pytest.mark.parametrize("size", [7, 3 * MEGABYTE])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_live_key_is_not_overwritten(cluster, size, chunked):
    cluster.master.put("/wehave", b"first")
    before = cluster.files()
    answer = cluster.master.put("/wehave", b"x" * size, chunked=chunked)
    assert answer.status == 403
    assert answer.text.strip() and len(answer.text.splitlines()) == 1
    assert cluster.files() == before
    assert cluster.master.read("/wehave") == b"first"
    assert cluster.master.get("/wehave").header("Content-Md5") == md5(b"first")


@pytest.mark.parametrize("method", ["PUT", "REPLACE"])
@pytest.mark.parametrize("how", ["no body", "length 0", "chunked"])
def test_empty_body(cluster, method, how):
    def ask(key):
        if how == "no body":
            return cluster.master.ask(method, key)
        return cluster.master.ask(method, key, b"", chunked=how == "chunked")

    assert ask("/wehave").status == 411
    assert cluster.master.get("/wehave").status == 404
    assert cluster.files() == {}
    cluster.master.put("/wehave", b"bigswag")
    assert ask("/wehave").status == (411 if method == "REPLACE" else ask("/wehave").status)
    assert cluster.master.read("/wehave") == b"bigswag"
    assert cluster.files() == cluster.expected_files("/wehave", b"bigswag")
    assert cluster.master.keys(operation="writing") == []


@pytest.mark.parametrize("method", ["PUT", "REPLACE"])
def test_a_volume_is_down_and_another_takes_its_place(own_cluster, method):
    cluster = own_cluster(5)
    master = cluster.start_master("-probe-ttl", "0")
    down = cluster.volumes_of("/wehave")[1]
    down.stop()
    answer = master.ask(method, "/wehave", b"bigswag" * 1000)
    assert (answer.status, answer.header("Content-Md5")) == (201, md5(b"bigswag" * 1000))
    answer = master.get("/wehave")
    assert answer.header("Key-Balance") == "unbalanced"
    placement = master.placement("/wehave")
    expected = [placement[0], placement[2], placement[3]]
    assert sorted(answer.header("Key-Volumes").split(",")) == sorted(expected)
    assert {(name + path, data) for (name, path), data in cluster.files().items()} == \
        {(text + place.path_of(b"/wehave"), b"bigswag" * 1000) for text in expected}
    assert master.read("/wehave") == b"bigswag" * 1000


def test_too_few_volumes_and_the_key_stays_absent(own_cluster):
    cluster = own_cluster(3)
    master = cluster.start_master("-probe-ttl", "0")
    cluster.volumes[1].stop()
    for value in (b"bigswag", os.urandom(2 * MEGABYTE)):
        for method in ("PUT", "REPLACE"):
            answer = master.ask(method, "/wehave", value)
            assert answer.status == 503, answer
            assert master.get("/wehave").status == 404
            assert master.keys(operation="writing") == []
            wait_until(lambda: cluster.files() == {}, "what was stored is deleted again")
    cluster.volumes[1].start()
    wait_until(lambda: master.put("/wehave", b"bigswag").status == 201, "all volumes take writes again")
    assert cluster.files() == cluster.expected_files("/wehave", b"bigswag")


def test_too_few_volumes_and_the_old_value_stays(own_cluster):
    cluster = own_cluster(3)
    master = cluster.start_master("-probe-ttl", "0")
    master.put("/live", b"old")
    master.put("/unlinked", b"old")
    master.unlink("/unlinked")
    before = cluster.files()
    cluster.volumes[0].stop()
    assert master.replace("/live", b"new").status == 503
    assert master.put("/unlinked", b"new").status == 503
    assert master.read("/live") == b"old"
    assert master.keys(operation="unlinked") == ["/unlinked"]
    assert master.keys(operation="writing") == []
    wait_until(lambda: cluster.files() == before, "only the old files are left")


def test_min_replicas(own_cluster):
    cluster = own_cluster(3)
    master = cluster.start_master("-probe-ttl", "0", "-min-replicas", "2")
    assert master.put("/three", b"bigswag").status == 201
    assert master.get("/three").header("Key-Balance") == "balanced"
    cluster.volumes[0].stop()
    assert master.put("/two", b"bigswag").status == 201
    answer = master.get("/two")
    assert answer.header("Key-Balance") == "unbalanced"
    left = [text for text in master.placement("/two") if not text.startswith(cluster.volumes[0].name)]
    assert sorted(answer.header("Key-Volumes").split(",")) == sorted(left)
    cluster.volumes[1].stop()
    assert master.put("/one", b"bigswag").status == 503
    assert master.get("/one").status == 404


@pytest.mark.parametrize("method", ["PUT", "REPLACE"])
@pytest.mark.parametrize("sent", [0, 1, 100_000, 3 * MEGABYTE])
@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_client_goes_away(cluster, method, sent, how, chunked):
    """In the middle of a body: the key is as it was."""
    if method == "REPLACE":
        cluster.master.put("/wehave", b"old")
    before = cluster.files()
    client = cluster.master.connect()
    client.send_head(method, "/wehave", [("Transfer-Encoding", "chunked") if chunked
                                         else ("Content-Length", 4 * MEGABYTE)])
    if sent:
        client.send_chunk(b"x" * sent) if chunked else client.send(b"x" * sent)
        wait_until(lambda: cluster.master.keys(operation="writing") == ["/wehave"], "the write has begun")
    client.reset() if how == "resets" else client.close()
    wait_until(lambda: cluster.master.keys(operation="writing") == [], "the write is undone")
    wait_until(lambda: cluster.files() == before, "nothing is left of it")
    assert cluster.master.read("/wehave") == (b"old" if method == "REPLACE" else None)
    wait_until(lambda: not any(volume.temporary_files() for volume in cluster.volumes), "volumes hold no half files")
    # Before the first byte nothing shows whether the server has noticed: until then the key is busy.
    wait_until(lambda: cluster.master.ask(method, "/wehave", b"new").status == 201, "the key can be written")
    assert cluster.master.read("/wehave") == b"new"


@pytest.mark.slow
def test_replaced_files_go_after_a_while(cluster):
    """Old and new have files of their own; the old ones outlive the switch for readers on their way, then go."""
    master = cluster.master
    master.put("/replaced", b"one")
    old = master.get("/replaced").header("Location")
    master.put("/unlinked", b"one")
    master.unlink("/unlinked")
    assert master.replace("/replaced", b"two").status == 201
    assert master.put("/unlinked", b"two").status == 201
    switched = time.monotonic()
    both = {**cluster.expected_files("/replaced", b"one"), **cluster.expected_files("/replaced", b"two", generation=1),
            **cluster.expected_files("/unlinked", b"one"), **cluster.expected_files("/unlinked", b"two", generation=1)}
    new = {key: data for key, data in both.items() if data == b"two"}
    assert cluster.files() == both
    assert master.read("/replaced") == master.read("/unlinked") == b"two"
    assert http.request(int(old.split("/")[2].split(":")[1]), "GET", "/" + old.split("/", 3)[3]).body == b"one"
    wait_until(lambda: cluster.files() == new, "only the new files are left", 15)
    assert time.monotonic() - switched > 4
    assert master.read("/replaced") == master.read("/unlinked") == b"two"


def test_generations_count_up(cluster):
    for generation in range(20):
        assert cluster.master.replace("/counted", b"%d" % generation).status == 201
        assert cluster.expected_files("/counted", b"%d" % generation, generation).items() <= cluster.files().items()
        assert cluster.master.read("/counted") == b"%d" % generation


def test_no_write_takes_a_name_that_a_pending_delete_still_holds(cluster):
    """The files of the generation before wait to be deleted: a value written meanwhile must not lie among them."""
    master = cluster.master
    master.put("/again", b"first")
    master.replace("/again", b"second")
    assert master.delete("/again").status == 204
    assert cluster.files() == cluster.expected_files("/again", b"first")
    assert master.put("/again", b"third").status == 201
    assert cluster.expected_files("/again", b"first").items() <= cluster.files().items()
    wait_until(lambda: len(cluster.files()) == 3, "the old files go", 15)
    assert set(cluster.files().values()) == {b"third"}
    assert master.read("/again") == b"third"
    assert master.delete("/again").status == 204
    assert master.put("/again", b"fourth").status == 201
    assert cluster.files() == cluster.expected_files("/again", b"fourth"), "nothing is pending: no suffix"


def test_put_over_an_unlinked_key(cluster):
    master = cluster.master
    master.put("/key", b"old")
    master.unlink("/key")
    assert master.put("/key", b"new").status == 201
    assert master.read("/key") == b"new"
    assert (master.keys(), master.keys(operation="unlinked")) == (["/key"], [])
    assert master.relink("/key").status == 404
    assert cluster.expected_files("/key", b"new", generation=1).items() <= cluster.files().items()


def test_a_value_written_where_no_record_is_has_no_suffix(cluster):
    for _ in range(5):
        assert cluster.master.put("/key", b"value").status == 201
        assert cluster.files() == cluster.expected_files("/key", b"value")
        assert cluster.master.delete("/key").status == 204


def test_readers_see_the_old_value_or_the_new_one(make_cluster):
    cluster = make_cluster()
    master, old, new = cluster.master, b"o" * MEGABYTE, b"n" * MEGABYTE
    master.put("/key", old)
    with master.connect() as writer:
        writer.send_head("REPLACE", "/key", [("Content-Length", len(new))])
        for at in range(0, len(new), 100_000):
            writer.send(new[at:at + 100_000])
            if at + 100_000 < len(new):
                assert master.read("/key") == old
        assert writer.answer().status == 201
    assert master.read("/key") == new


# --- busy keys

VERBS = ["PUT", "REPLACE", "DELETE", "UNLINK", "RELINK"]


@pytest.mark.parametrize("method", VERBS)
@pytest.mark.parametrize("before", ["absent", "live"])
def test_busy(cluster, method, before):
    master = cluster.master
    if before == "live":
        master.put("/busy", b"old")
    with master.connect() as writer:
        writer.send_head("REPLACE", "/busy", [("Content-Length", "10")])
        writer.send(b"12345")
        wait_until(lambda: master.keys(operation="writing") == ["/busy"], "the key is being written")
        answer = master.ask(method, "/busy", b"other" if method in ("PUT", "REPLACE") else None)
        assert answer.status == 409, answer
        assert master.put("/other" + method, b"value").status == 201
        assert master.read("/busy") == (b"old" if before == "live" else None)
        writer.send(b"67890")
        assert writer.answer().status == 201
    assert master.read("/busy") == b"1234567890"


def test_never_busy_because_of_a_request_that_has_been_answered(cluster):
    """One after the other, on connections of their own: no 409."""
    rounds = 30 if SANITIZED else 100
    steps = [("PUT", b"a", 201), ("UNLINK", None, 204), ("RELINK", None, 204), ("REPLACE", b"b", 201), ("PUT", b"c", 403),
             ("UNLINK", None, 204), ("PUT", b"d", 201), ("DELETE", None, 204), ("DELETE", None, 404)]
    for _ in range(rounds):
        for method, body, expected in steps:
            answer = cluster.master.ask(method, "/key", body)
            assert answer.status == expected, (method, answer)


def test_free_again_after_a_refusal(cluster):
    """A PUT that was refused early holds the key no longer, whatever of its body still comes."""
    master = cluster.master
    master.put("/key", b"old")
    with master.connect() as refused:
        refused.send_head("PUT", "/key", [("Content-Length", 10 * MEGABYTE)])
        assert refused.answer().status == 403
        assert master.delete("/key").status == 204
        assert master.put("/key", b"new").status == 201


# --- Expect: 100-continue, and bodies that nobody wants

def put_expecting(connection, key, length, method="PUT"):
    connection.send_head(method, key, [("Content-Length", length), ("Expect", "100-continue")])
    return connection.interim()


@pytest.mark.parametrize("method", ["PUT", "REPLACE"])
def test_continue(cluster, method):
    with cluster.master.connect() as connection:
        assert put_expecting(connection, "/wehave", 7, method).status == 100
        connection.send(b"bigswag")
        assert connection.answer().status == 201
    assert cluster.master.read("/wehave") == b"bigswag"


def test_the_final_status_in_place_of_continue(cluster):
    master = cluster.master
    master.put("/live", b"old")
    for key, length, expected in [("/live", 7, 403), ("/empty", 0, 411), ("/" + "k" * 1089, 7, 414), ("/a%00b", 7, 400),
                                  ("/%ff", 7, 400)]:
        with master.connect() as connection:
            assert put_expecting(connection, key, length).status == expected, key
    with master.connect() as writer, master.connect() as connection:
        assert put_expecting(writer, "/busy", 7).status == 100
        writer.send(b"big")
        wait_until(lambda: master.keys(operation="writing") == ["/busy"], "the key is being written")
        assert put_expecting(connection, "/busy", 7).status == 409
        writer.send(b"swag")
        assert writer.answer().status == 201


def test_the_final_status_where_too_few_volumes_are_up(own_cluster):
    cluster = own_cluster(3)
    master = cluster.start_master()
    cluster.volumes[0].stop()
    assert master.put("/first", b"value").status == 503
    with master.connect() as connection:
        assert put_expecting(connection, "/wehave", 7).status in (100, 503)


@pytest.mark.parametrize("size", [10, 500_000, 100 * MEGABYTE])
def test_a_refused_body_does_not_hide_the_status(cluster, size):
    """The client that sends on regardless sees 403, not a reset."""
    master = cluster.master
    master.put("/live", b"old")
    piece = b"x" * min(size, 65536)
    for _ in range(3):
        with master.connect() as connection:
            connection.send_head("PUT", "/live", [("Content-Length", size)])
            sent = 0
            try:
                while sent < min(size, 900_000):  # the rest is more than the server will read
                    connection.send(piece)
                    sent += len(piece)
            except (BrokenPipeError, ConnectionResetError):
                pytest.fail(f"reset after {sent} bytes")
            assert connection.answer().status == 403
    assert master.read("/live") == b"old"


def test_the_status_of_a_refused_body_comes_at_once(cluster):
    cluster.master.put("/live", b"old")
    with cluster.master.connect(timeout=5) as connection:
        connection.send_head("PUT", "/live", [("Content-Length", "1000000000")])
        assert connection.answer().status == 403


# --- large values

@pytest.mark.slow
def test_memory_does_not_grow_with_the_value(cluster):
    size = (64 if SANITIZED else 256) * MEGABYTE
    piece = os.urandom(MEGABYTE)
    digest = hashlib.md5()
    before = cluster.master.memory_kb()
    with cluster.master.connect(timeout=120) as connection:
        connection.send_head("PUT", "/large", [("Content-Length", size)])
        for _ in range(size // MEGABYTE):
            connection.send(piece)
            digest.update(piece)
        answer = connection.answer()
    assert (answer.status, answer.header("Content-Md5")) == (201, digest.hexdigest())
    if not SANITIZED:
        assert cluster.master.memory_kb("VmHWM") < 32 * 1024, f"began with {before} kB"
    for volume in cluster.volumes:
        (path,) = [p for p in volume.directory.rglob("L2xh*") if p.is_file()]
        assert path.stat().st_size == size
    assert cluster.master.delete("/large").status == 204
