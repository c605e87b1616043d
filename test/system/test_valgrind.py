"""A smoke run under valgrind: no invalid access, nothing left allocated."""
import shutil

import pytest

from mkvtest.cluster import SANITIZED, Cluster, wait_until


@pytest.mark.slow
@pytest.mark.skipif(SANITIZED, reason="valgrind can not run a sanitized program")
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_smoke(shared_volumes, tmp_path):
    cluster = Cluster(tmp_path, shared_volumes.take(4))
    wrapper = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
               "--errors-for-leak-kinds=definite,indirect,possible"]
    master = cluster.start_master("-v", "-db-size", "64M", wrapper=wrapper)  # it has no terabyte to map
    options = {"timeout": 60}
    try:
        for i in range(5):
            assert master.put(f"/key{i}", b"value" * 10_000, **options).status == 201
            assert master.put(f"/long{i}" + "k" * 700, b"value", chunked=True, **options).status == 201
            assert master.replace(f"/key{i}", b"other", **options).status == 201
            assert master.read(f"/key{i}", **options) == b"other"
            assert master.get(f"/nope{i}", **options).status == 404
        assert len(master.keys("/key")) == 5
        assert master.unlink("/key1", **options).status == 204
        assert master.relink("/key1", **options).status == 204
        assert master.delete("/key2", **options).status == 204
        assert master.put("/key3", b"refused", **options).status == 403
        assert master.put("/empty", b"", **options).status == 411
        assert master.admin("/healthz").status == 200
        assert master.admin("/metrics").status == 200
        with master.connect() as connection:
            connection.send(b"nonsense\r\n\r\n")
            assert connection.answer().status == 400
        with master.connect() as connection:
            connection.send_head("PUT", "/half", [("Content-Length", "10")])
            connection.send(b"12345")
            wait_until(lambda: master.keys(operation="writing") == ["/half"], "the write has begun")
        wait_until(lambda: master.keys(operation="writing") == [], "the write is undone")
    finally:
        status = master.stop(timeout=60)
    assert status == 0, master.errors()[-6000:]
    assert "==" not in master.errors(), master.errors()[-6000:]
