"""GET and HEAD."""
import hashlib
import urllib.parse

import pytest

from mkvtest import faults, http, place
from mkvtest.cluster import fetch, wait_until

VALUE = b"bigswag"
MD5 = hashlib.md5(VALUE).hexdigest()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_found(cluster, method):
    assert cluster.master.put("/wehave", VALUE).status == 201
    answer = cluster.master.ask(method, "/wehave")
    assert (answer.status, answer.body) == (302, b"")
    assert answer.header("Content-Length") == "0"
    assert answer.header("Content-Md5") == MD5
    assert answer.header("Key-Balance") == "balanced"
    replicas = answer.header("Key-Volumes").split(",")
    assert replicas == cluster.master.placement("/wehave")
    assert answer.header("Location") in [f"http://{text}{place.path_of(b'/wehave')}" for text in replicas]
    assert fetch(answer.header("Location")) == VALUE


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("key", ["/nope", "/", "/" + "k" * 5000, "/a%00b", "/%ff%fe"])
def test_absent(cluster, method, key):
    answer = http.request(cluster.master.port, method, key)
    assert (answer.status, answer.body, answer.header("Content-Length")) == (404, b"", "0")
    assert answer.header("Location") is None


def test_absent_after_delete_and_unlink(cluster):
    for key, verb in (("/deleted", cluster.master.delete), ("/unlinked", cluster.master.unlink)):
        cluster.master.put(key, VALUE)
        assert verb(key).status == 204
        answer = cluster.master.get(key)
        assert (answer.status, answer.header("Content-Length")) == (404, "0")


def test_absent_while_half_written(cluster):
    with cluster.master.connect() as writer:
        writer.send_head("PUT", "/half", [("Content-Length", "10")])
        writer.send(b"12345")
        wait_until(lambda: cluster.master.keys(operation="writing") == ["/half"], "the key is being written")
        assert cluster.master.get("/half").status == 404
        writer.send(b"67890")
        assert writer.answer().status == 201
    assert cluster.master.read("/half") == b"1234567890"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("key", ["/nope", "/we have", "/a//b/", "/plus+", "/%", "/日本", "/a?b#c"])
def test_fallback(make_cluster, method, key):
    cluster = make_cluster("-fallback", "elsewhere.example:8080")
    answer = cluster.master.ask(method, key)
    assert (answer.status, answer.header("Content-Length")) == (302, "0")
    location = answer.header("Location")
    assert location.startswith("http://elsewhere.example:8080/")
    path = location[len("http://elsewhere.example:8080"):]
    assert urllib.parse.unquote(path) == key
    assert path.isascii() and not set(path) & set(" ?#\"<>")


def test_fallback_only_for_what_is_absent(make_cluster):
    cluster = make_cluster("-fallback", "elsewhere.example:8080")
    cluster.master.put("/here", VALUE)
    assert cluster.master.read("/here") == VALUE
    cluster.master.unlink("/here")
    assert cluster.master.get("/here").header("Location") == "http://elsewhere.example:8080/here"


def remove(cluster, key, count):
    """Takes the files of so many replicas away behind the master's back."""
    for volume in cluster.volumes_of(key)[:count]:
        for path in volume.files():
            if path.endswith(place.path_of(key.encode())):
                (volume.directory / path.lstrip("/")).unlink()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_gone_from_every_replica(make_cluster, method):
    cluster = make_cluster("-probe-ttl", "0")
    cluster.master.put("/gone", VALUE)
    remove(cluster, "/gone", 3)
    answer = cluster.master.ask(method, "/gone")
    assert answer.status == 410
    assert answer.header("Location") is None
    assert cluster.master.keys() == ["/gone"]


def test_redirects_only_to_a_replica_that_has_it(make_cluster):
    cluster = make_cluster("-probe-ttl", "0")
    cluster.master.put("/rare", VALUE)
    remove(cluster, "/rare", 2)
    left = cluster.volumes_of("/rare")[2].name
    for _ in range(20):
        answer = cluster.master.get("/rare")
        assert answer.status == 302
        assert answer.header("Location").startswith(f"http://{left}/")
        assert answer.header("Key-Volumes").split(",") == cluster.master.placement("/rare")


def test_every_replica_gets_its_share(make_cluster):
    cluster = make_cluster("-probe-ttl", "0")
    cluster.master.put("/popular", VALUE)
    hosts = [cluster.master.get("/popular").header("Location").split("/")[2] for _ in range(90)]
    for name in cluster.names():
        assert hosts.count(name) >= 10, hosts


def test_a_dead_volume_does_not_hide_a_value(own_cluster):
    cluster = own_cluster(3)
    master = cluster.start_master("-probe-ttl", "0")
    master.put("/wehave", VALUE)
    first, second, third = cluster.volumes_of("/wehave")
    first.stop()
    for _ in range(10):
        assert master.read("/wehave") == VALUE
    second.stop()
    for _ in range(10):
        assert master.get("/wehave").header("Location").startswith(f"http://{third.name}/")
    third.stop()
    answer = master.get("/wehave")
    assert answer.status == 503
    assert int(answer.header("Retry-After")) >= 1
    for volume in (first, second, third):
        volume.start()
    wait_until(lambda: master.get("/wehave").status == 302, "the volumes are used again")
    assert master.read("/wehave") == VALUE


def test_neither_404_nor_410_where_one_replica_could_not_be_asked(own_cluster):
    cluster = own_cluster(3)
    master = cluster.start_master("-probe-ttl", "0")
    master.put("/wehave", VALUE)
    remove(cluster, "/wehave", 2)
    cluster.volumes_of("/wehave")[2].stop()
    for _ in range(5):
        answer = master.get("/wehave")
        assert answer.status == 503
        assert answer.header("Retry-After")


def test_a_volume_that_answers_500_could_not_be_asked(faulty_cluster):
    cluster = faulty_cluster("-probe-ttl", "0")
    cluster.master.put("/wehave", VALUE)
    for volume in cluster.faulty:
        volume.when(faults.answer(500), method="HEAD")
    answer = cluster.master.get("/wehave")
    assert answer.status == 503
    assert answer.header("Retry-After")


def test_probe_ttl(faulty_cluster):
    """Within -probe-ttl a replica that was found is not asked again; with 0 it is asked every time."""
    cluster = faulty_cluster("-probe-ttl", "1h")

    def heads_of_twenty_reads():
        before = sum(len(volume.seen("HEAD")) for volume in cluster.faulty)
        for _ in range(20):
            assert cluster.master.read("/wehave") == VALUE
        return sum(len(volume.seen("HEAD")) for volume in cluster.faulty) - before

    cluster.master.put("/wehave", VALUE)
    assert heads_of_twenty_reads() == 0, "the PUT had found it"
    cluster.master.stop_cleanly()
    cluster.restart_master()
    assert 1 <= heads_of_twenty_reads() <= 3
    cluster.master.stop_cleanly()
    cluster.restart_master("-probe-ttl", "0")
    assert heads_of_twenty_reads() >= 20


def test_voltimeout(own_cluster):
    """A volume that accepts and never answers costs one -voltimeout, not more."""
    cluster = own_cluster(3)
    master = cluster.start_master("-probe-ttl", "0", "-voltimeout", "300ms")
    master.put("/wehave", VALUE)
    frozen = cluster.volumes_of("/wehave")[:2]
    for volume in frozen:
        volume.freeze()
    for _ in range(5):
        assert master.get("/wehave", timeout=5).header("Location").startswith(f"http://{cluster.volumes_of('/wehave')[2].name}/")
    for volume in frozen:
        volume.thaw()
    wait_until(lambda: len({master.get("/wehave").header("Location") for _ in range(10)}) > 1, "thawed volumes are used")
