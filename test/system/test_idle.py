"""Many connections that do nothing, or little: others do not notice."""
import resource

import pytest

from mkvtest.cluster import SANITIZED, wait_until

IDLE = 10_000


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = IDLE + 500
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"{need} descriptors are needed; the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def serve_others(master):
    for i in range(20):
        assert master.put(f"/other{i}", b"value", timeout=10).status == 201
        assert master.read(f"/other{i}", timeout=10) == b"value"
        assert master.delete(f"/other{i}", timeout=10).status == 204


@pytest.mark.slow
def test_ten_thousand_idle_connections(many_descriptors, make_cluster):
    master = make_cluster().master
    idle = []
    try:
        for _ in range(IDLE):
            idle.append(master.connect())
        for connection in idle:
            connection.send_head("GET", "/nope")
        for connection in idle:
            assert connection.answer().status == 404
        serve_others(master)
        if not SANITIZED:
            assert master.memory_kb() < 40 * 1024
        for connection in idle[::100]:
            assert connection.request("GET", "/nope").status == 404, "an idle connection is still good"
    finally:
        for connection in idle:
            connection.close()
    serve_others(master)


def test_slow_senders(make_cluster):
    """Heads and bodies that come a few bytes at a time."""
    cluster = make_cluster()
    master = cluster.master
    heads = [master.connect() for _ in range(200)]
    bodies = [master.connect() for _ in range(50)]
    for i, connection in enumerate(bodies):
        connection.send_head("PUT", f"/slow{i}", [("Content-Length", "5")])
    for step in range(5):
        for connection in heads:
            connection.send(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"[step * 7:step * 7 + 7])
        for connection in bodies:
            connection.send(b"value"[step:step + 1])
        for _ in range(10):
            assert master.get("/nope", timeout=5).status == 404
        assert master.put(f"/quick{step}", b"value", timeout=5).status == 201
    for connection in heads:
        assert connection.answer().status == 404
        connection.close()
    for i, connection in enumerate(bodies):
        assert connection.answer().status == 201
        connection.close()
        assert master.read(f"/slow{i}") == b"value"


@pytest.mark.slow
def test_timeouts(slow_clients):
    """A head must come within 30 s, a body must move within 60 s, idle connections end after 75 s."""
    closed = slow_clients.join()
    for name, at_least, at_most in (("head", 28, 50), ("trickle", 28, 50), ("body", 58, 85), ("idle", 73, 100)):
        seconds, answer = closed[name]
        assert at_least <= seconds <= at_most, (name, seconds)
        assert not answer or (name != "idle" and b" 408 " in answer.split(b"\r\n")[0]), (name, answer)
    master = slow_clients.cluster.master
    assert master.keys(operation="writing") == []
    assert master.get("/stalled").status == 404
    wait_until(lambda: slow_clients.cluster.files() == {}, "nothing is left of it")
