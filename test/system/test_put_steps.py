"""Writes that fail at each of their steps."""
import os

from mkvtest import faults, place

SMALL = b"bigswag"


def by_placement(cluster, key):
    faulty = {volume.name: volume for volume in cluster.faulty}
    return [faulty[text.partition("/")[0]] for text in cluster.master.placement(key)]


def test_a_copy_leaves_while_others_are_marked(faulty_cluster):
    """The first volume refuses the body at once, the third the connection: the second keeps its one copy."""
    cluster = faulty_cluster("-probe-ttl", "0", volumes=5)
    master = cluster.master
    for i in range(40):
        key = f"/early{i}"
        volumes = by_placement(cluster, key)
        volumes[0].when(faults.early(405), method="PUT")
        volumes[2].refuse()
        assert master.put(key, SMALL).status == 201
        names = master.get(key).header("Key-Volumes").split(",")
        volumes[2].start()
        volumes[0].clear()
        assert len(set(names)) == 3, (key, names)
