"""DELETE, UNLINK and RELINK."""
import pytest

from mkvtest import place
from mkvtest.cluster import wait_until


def test_delete(cluster):
    master = cluster.master
    master.put("/wehave", b"bigswag")
    master.put("/other", b"stays")
    answer = master.delete("/wehave")
    assert (answer.status, answer.body) == (204, b"")
    assert cluster.files() == cluster.expected_files("/other", b"stays")
    assert master.get("/wehave").status == 404
    assert master.delete("/wehave").status == 404
    assert master.keys() == ["/other"]
    assert master.keys(operation="unlinked") == []


@pytest.mark.parametrize("method", ["DELETE", "UNLINK", "RELINK"])
@pytest.mark.parametrize("key", ["/nope", "/", "/%ff%fe", "/a%00b", "/" + "k" * 1089, "/" + "k" * 5000],
                         ids=lambda text: text[:8])
def test_absent(cluster, method, key):
    with cluster.master.connect() as connection:
        answer = connection.request(method, key)
    assert answer.status == 404


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_replica_that_lacks_the_file_counts_as_deleted(cluster, missing):
    cluster.master.put("/wehave", b"bigswag")
    for volume in cluster.volumes[:missing]:
        for path in volume.files():
            (volume.directory / path.lstrip("/")).unlink()
    assert cluster.master.delete("/wehave").status == 204
    assert cluster.files() == {}
    assert cluster.master.get("/wehave").status == 404
    assert cluster.master.keys() == []


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_volume_that_can_not_be_asked(own_cluster, how):
    """500, and the key stays unlinked for a later DELETE."""
    cluster = own_cluster(3)
    master = cluster.start_master("-voltimeout", "500ms")
    master.put("/wehave", b"bigswag")
    away = cluster.volumes_of("/wehave")[1]
    away.stop() if how == "stopped" else away.freeze()
    assert master.delete("/wehave").status == 500
    assert master.get("/wehave").status == 404
    assert (master.keys(), master.keys(operation="unlinked")) == ([], ["/wehave"])
    if how == "stopped":  # another 10 s where it is frozen
        assert master.delete("/wehave").status == 500
    away.start() if how == "stopped" else away.thaw()
    wait_until(lambda: master.delete("/wehave").status == 204, "the volume is asked again")
    assert cluster.files() == {}
    assert master.keys(operation="unlinked") == []


def test_unlink_keeps_the_files(cluster):
    master = cluster.master
    master.put("/wehave", b"bigswag")
    before = cluster.files()
    answer = master.unlink("/wehave")
    assert (answer.status, answer.body) == (204, b"")
    assert cluster.files() == before
    assert master.get("/wehave").status == 404
    assert (master.keys(), master.keys(operation="unlinked")) == ([], ["/wehave"])
    assert master.unlink("/wehave").status == 404
    assert master.delete("/wehave").status == 204
    assert cluster.files() == {}
    assert master.delete("/wehave").status == 404


def test_relink(cluster):
    master = cluster.master
    master.put("/wehave", b"bigswag")
    md5 = master.get("/wehave").header("Content-Md5")
    assert master.relink("/wehave").status == 404
    master.unlink("/wehave")
    assert master.relink("/wehave").status == 204
    assert master.read("/wehave") == b"bigswag"
    assert master.get("/wehave").header("Content-Md5") == md5
    assert (master.keys(), master.keys(operation="unlinked")) == (["/wehave"], [])
    assert master.relink("/wehave").status == 404


def test_protect(make_cluster):
    cluster = make_cluster("-protect")
    master = cluster.master
    master.put("/wehave", b"bigswag")
    before = cluster.files()
    answer = master.delete("/wehave")
    assert answer.status == 403
    assert answer.text.strip()
    assert cluster.files() == before
    assert master.read("/wehave") == b"bigswag"
    assert master.unlink("/wehave").status == 204
    assert master.delete("/wehave").status == 204
    assert cluster.files() == {}
    assert master.delete("/wehave").status == 404


def test_a_restart_changes_nothing(cluster):
    master = cluster.master
    master.put("/live", b"live")
    master.put("/unlinked", b"unlinked")
    master.unlink("/unlinked")
    master.put("/deleted", b"deleted")
    master.delete("/deleted")
    master.stop_cleanly()
    master = cluster.restart_master()
    assert master.read("/live") == b"live"
    assert (master.keys(), master.keys(operation="unlinked")) == (["/live"], ["/unlinked"])
    assert master.get("/deleted").status == 404
    assert master.relink("/unlinked").status == 204
    assert master.read("/unlinked") == b"unlinked"


def test_delete_goes_where_the_record_says(own_cluster):
    """Not where placement would put it now: the value was written past a volume that was down."""
    cluster = own_cluster(4)
    master = cluster.start_master()
    cluster.volumes_of("/wehave")[0].stop()
    assert master.put("/wehave", b"bigswag").status == 201
    cluster.volumes_of("/wehave")[0].start()
    placement = master.placement("/wehave")
    assert {name + path for name, path in cluster.files()} == {text + place.path_of(b"/wehave") for text in placement[1:]}
    assert master.delete("/wehave").status == 204
    assert cluster.files() == {}


@pytest.mark.parametrize("body", [b"", b"not asked for"])
@pytest.mark.parametrize("method,status", [("UNLINK", 204), ("RELINK", 404), ("DELETE", 204), ("GET", 302), ("HEAD", 302)])
def test_a_body_nobody_asked_for(cluster, method, status, body):
    """Never taken for the next request: the connection stays in step, or is closed as announced."""
    cluster.master.put("/wehave", b"bigswag")
    with cluster.master.connect() as connection:
        answer = connection.request(method, "/wehave", body)
        assert answer.status == status
        if answer.header("Connection") == "close":
            assert connection.is_closed()
        else:
            assert connection.request("GET", "/nope").status == 404
