"""Writes to which something happens in each of their steps."""
import os
import socket
import time

from mkvtest import faults
from mkvtest.cluster import wait_until

SMALL = b"bigswag"


def by_placement(cluster, key):
    faulty = {volume.name: volume for volume in cluster.faulty}
    return [faulty[text.partition("/")[0]] for text in cluster.master.placement(key)]


def test_a_copy_leaves_while_others_are_marked(faulty_cluster):
    """The first volume refuses the body at once, the third the connection: the second keeps its one copy."""
    cluster = faulty_cluster("-probe-ttl", "0", volumes=5)
    master = cluster.master
    for i in range(5):
        key = f"/early{i}"
        volumes = by_placement(cluster, key)
        volumes[0].when(faults.early(405), method="PUT")
        volumes[2].refuse()
        assert master.put(key, SMALL).status == 201
        names = master.get(key).header("Key-Volumes").split(",")
        volumes[2].start()
        volumes[0].clear()
        assert len(set(names)) == 3, (key, names)


def be_narrow(volume):
    """Little of a body fits between the master and this volume: what is slow is felt at once."""
    volume.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


def slow_then_close(size):
    """Reads slowly, and closes after so much of the body."""
    def act(exchange):
        got = 0
        for piece in exchange.body():
            got += len(piece)
            time.sleep(0.006)
            if got >= size:
                break
        raise ConnectionError
    return act


def test_a_body_ends_while_a_slow_volume_is_far_behind(faulty_cluster):
    """The others have the whole body and answer before the front hears that it may pass on its end."""
    cluster = faulty_cluster("-probe-ttl", "0", volumes=3)
    for volume in cluster.faulty:
        be_narrow(volume)
    for i in range(5):
        key, value = f"/slow{i}", os.urandom(3_400_000 + i * 200_000)
        by_placement(cluster, key)[1].when(faults.slow(0.006), method="PUT")
        assert cluster.master.put(key, value).status == 201, i
        assert cluster.master.read(key) == value
        assert cluster.master.get(key).header("Key-Balance") == "balanced"
        by_placement(cluster, key)[1].clear()


def test_a_slow_volume_fails_when_the_others_are_done(faulty_cluster):
    cluster = faulty_cluster("-probe-ttl", "0", volumes=4)
    for volume in cluster.faulty:
        be_narrow(volume)
    for i in range(5):
        key, value = f"/slow{i}", os.urandom(3_400_000 + i * 200_000)
        volumes = by_placement(cluster, key)
        volumes[1].when(slow_then_close(len(value) - 50_000), method="PUT")
        assert cluster.master.put(key, value).status == 201, i
        volumes[1].clear()
        names = [name.partition("/")[0] for name in cluster.master.get(key).header("Key-Volumes").split(",")]
        assert names == [volumes[n].name for n in (0, 2, 3)]
        assert cluster.master.read(key) == value


def test_a_client_leaves_while_a_slow_volume_is_far_behind(faulty_cluster):
    """Whether or not the value is stored: no mark and no stray file is left."""
    cluster = faulty_cluster("-probe-ttl", "0", volumes=3)
    master = cluster.master
    for volume in cluster.faulty:
        be_narrow(volume)
    for i in range(5):
        key, value = f"/gone{i}", os.urandom(3_400_000 + i * 200_000)
        by_placement(cluster, key)[1].when(faults.slow(0.006), method="PUT")
        with master.connect() as client:
            client.send_head("PUT", key, [("Content-Length", len(value))])
            client.send(value)
            client.reset()
    wait_until(lambda: master.keys(operation="writing") == [], "all writes have ended")
    wait_until(lambda: len(cluster.files()) == 3 * len(master.keys()), "no stray file", 60)
    for key in master.keys():
        assert len(master.read(key)) >= 3_400_000
