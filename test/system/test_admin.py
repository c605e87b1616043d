"""The admin port: /healthz and /metrics."""
import json
import re

from mkvtest import faults, http
from mkvtest.cluster import wait_until
from mkvtest.jobs import index

SAMPLE = re.compile(r'^([a-z_]+)(\{[a-z]+="(?:[^"\\]|\\.)*"(?:,[a-z]+="(?:[^"\\]|\\.)*")*\})? (-?[0-9.e+-]+|\+Inf|NaN)$')


def health(master):
    answer = master.admin("/healthz")
    assert answer.header("Content-Type").startswith("application/json")
    return answer.status, json.loads(answer.body)


def states(report):
    return {volume["name"]: volume["state"] for volume in report["volumes"]}


def test_healthy(cluster):
    cluster.master.put("/one", b"value")
    status, report = health(cluster.master)
    assert status == 200
    assert states(report) == {name: "up" for name in cluster.names()}
    assert report["index"]["state"] == "ok"
    assert (report["index"]["live"], report["index"]["unlinked"], report["index"]["writing"]) == (1, 0, 0)


def test_unhealthy_and_back(own_cluster):
    """503 where a value could not be stored any more."""
    cluster = own_cluster(4)
    master = cluster.start_master("-probe-ttl", "0")
    master.put("/one", b"value")
    first, second = cluster.volumes[:2]

    def known_to_be_down(volume):
        for i in range(8):  # a volume that is down is found out by using it
            master.replace(f"/more{i}", b"value")
        return states(health(master)[1])[volume.name] == "down"

    first.kill()
    wait_until(lambda: known_to_be_down(first), "one volume is known to be down")
    assert health(master)[0] == 200, "three are left"
    second.kill()
    wait_until(lambda: known_to_be_down(second), "two are known to be down")
    status, report = health(master)
    assert status == 503
    assert states(report) == {volume.name: "down" if volume in (first, second) else "up" for volume in cluster.volumes}
    first.start()
    second.start()
    wait_until(lambda: set(states(health(master)[1]).values()) == {"up"}, "all come back by themselves")
    assert health(master)[0] == 200


def test_other_paths(cluster):
    assert cluster.master.admin("/nope").status == 404
    assert cluster.master.admin("/").status in (200, 404)
    for path in ("/metrics", "/healthz"):
        assert cluster.master.get(path).status == 404, "on the data port it is a key like any other"


def test_metrics_count_buckets_and_uploads(cluster):
    cluster.master.stop_cleanly()
    index(cluster.master.db, "-force", "load", stdin=b'{"bucket":"a","created":0}\n{"bucket":"b","created":1}\n').expect(0)
    metrics = cluster.restart_master().metrics()
    assert (metrics["mkv_buckets"], metrics["mkv_uploads"]) == (2, 0)


def test_metrics_are_well_formed(make_cluster):
    cluster = make_cluster()
    master = cluster.master
    master.put("/one", b"value")
    master.get("/one")
    answer = master.admin("/metrics")
    assert answer.header("Content-Type").startswith("text/plain")
    types, seen, histograms = {}, set(), {}
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} is described twice"
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            assert (name, labels) not in seen, line
            seen.add((name, labels))
            base = re.sub("_(bucket|sum|count)$", "", name)
            assert name in types or types.get(base) == "histogram", line
            if types.get(base) == "histogram" and name.endswith("_bucket"):
                rest = re.sub(r',?le="[^"]*"', "", labels)
                histograms.setdefault((base, rest), []).append(float(value))
            elif types.get(base) == "histogram" and name.endswith("_count"):
                assert histograms[base, labels or "{}"][-1] == float(value)
    assert histograms
    for name, buckets in histograms.items():
        assert buckets == sorted(buckets), f"{name} is not cumulative"


def test_metrics_count(cluster):
    master = cluster.master
    before = master.metrics()
    value = b"x" * 100_000
    for i in range(3):
        assert master.put(f"/key{i}", value).status == 201
    assert master.put("/key0", value).status == 403
    for _ in range(5):
        assert master.get("/key0").status == 302
        assert master.get("/nope").status == 404
    assert master.unlink("/key1").status == 204
    assert master.replace("/key2", value).status == 201
    with master.connect() as connection:
        connection.send(b"nonsense\r\n\r\n")
        assert connection.answer().status == 400
    after = master.metrics()

    def grown(name):
        return after.get(name, 0) - before.get(name, 0)

    for method, status, count in (("PUT", 201, 3), ("PUT", 403, 1), ("GET", 302, 5), ("GET", 404, 5), ("UNLINK", 204, 1),
                                  ("REPLACE", 201, 1)):
        assert grown(f'mkv_requests_total{{method="{method}",status="{status}"}}') == count
    assert grown('mkv_request_duration_seconds_count{method="PUT"}') == 4
    assert 4 * len(value) <= grown("mkv_bytes_in_total") < 6 * len(value)
    assert grown("mkv_bytes_out_total") > 0
    assert grown("mkv_bad_requests_total") == 1
    assert grown("mkv_index_commits_total") >= 5
    assert (after['mkv_keys{state="live"}'], after['mkv_keys{state="unlinked"}'], after['mkv_keys{state="writing"}']) == (2, 1, 0)
    assert after["mkv_connections"] == 0
    assert after["process_resident_memory_bytes"] > 1_000_000
    for name in cluster.names():
        assert after[f'mkv_volume_state{{volume="{name}",state="up"}}'] == 1
        assert after[f'mkv_volume_exchanges_total{{volume="{name}"}}'] >= 4
        assert after[f'mkv_volume_sent_bytes_total{{volume="{name}"}}'] > 4 * len(value)


def test_keys_are_counted_across_a_restart(cluster):
    master = cluster.master
    for i in range(10):
        master.put(f"/key{i}", b"value")
    for i in range(4):
        master.unlink(f"/key{i}")
    master.delete("/key9")
    master.kill()
    metrics = cluster.restart_master().metrics()
    assert (metrics['mkv_keys{state="live"}'], metrics['mkv_keys{state="unlinked"}']) == (5, 4)


def test_connections_are_counted(cluster):
    master = cluster.master
    connections = [master.connect() for _ in range(7)]
    for connection in connections:
        assert connection.request("GET", "/nope").status == 404
    assert master.metrics()["mkv_connections"] == 7
    for connection in connections:
        connection.close()
    wait_until(lambda: master.metrics()["mkv_connections"] == 0, "they are gone")


def test_failures_of_a_volume_are_counted(faulty_cluster):
    cluster = faulty_cluster("-probe-ttl", "0", volumes=4)
    master = cluster.master
    name = master.placement("/wehave")[0].partition("/")[0]
    volume = next(volume for volume in cluster.faulty if volume.name == name)
    volume.when(faults.close_after(1000), method="PUT")
    assert master.put("/wehave", b"x" * 1_000_000).status == 201
    metrics = master.metrics()
    assert metrics[f'mkv_volume_failures_total{{volume="{name}"}}'] >= 1
    assert metrics["mkv_puts_repaired_total"] == 1
    report = health(master)[1]
    assert next(v for v in report["volumes"] if v["name"] == name)["last_error"]


def test_the_admin_port_survives_nonsense(cluster):
    with http.Connection(cluster.master.admin_port) as connection:
        connection.send(b"\x00\x01nonsense\r\n\r\n" * 100)
        try:
            connection.rest()
        except ConnectionResetError:
            pass
    assert health(cluster.master)[0] == 200
