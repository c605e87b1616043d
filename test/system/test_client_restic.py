"""restic: a backup there and back."""
import json

import pytest

from mkvtest.cluster import SANITIZED
from mkvtest.s3 import ADMIN, MEGABYTE, bytes_of, sample_tree, tree_of, write_tree


@pytest.fixture
def restic_of(client):
    def of(server, key=ADMIN, bucket="backup"):
        environment = {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret, "AWS_DEFAULT_REGION": "mkv",
                       "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{bucket}", "RESTIC_PASSWORD": "wehave",
                       "RESTIC_CACHE_DIR": str(client.home / "cache"), "RESTIC_PROGRESS_FPS": "0.1"}

        def restic(*words, **options):
            return client.run("restic", "-q", *words, environment=environment, **options)
        return restic
    return of


def test_backup_check_restore_forget(s3, client, restic_of):
    restic = restic_of(s3)
    tree = {**sample_tree(), **{f"data/{i}": bytes_of(10 * MEGABYTE, i) for i in range(5 if SANITIZED else 50)}}
    write_tree(client.work / "home", tree)
    restic("init")  # makes the bucket
    restic("backup", "home")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", "back")
    (place,) = (client.work / "back").rglob("home")
    assert tree_of(place) == tree
    client.file("home/one", b"changed")
    for i in range(2, 5):
        (client.work / "home" / "data" / str(i)).unlink()
    restic("backup", "home")
    snapshots = json.loads(restic("snapshots", "--json"))
    assert len(snapshots) == 2
    used = sum(len(data) for data in s3.cluster.files().values())
    restic("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    assert len(json.loads(restic("snapshots", "--json"))) == 1
    assert sum(len(data) for data in s3.cluster.files().values()) < used - 3 * 3 * 9 * MEGABYTE  # three files, three replicas
    restic("check", "--read-data-subset", "10%")
    restic("restore", "latest", "--target", "again", "--include", "one")
    (one,) = (client.work / "again").rglob("one")
    assert one.read_bytes() == b"changed"
    assert restic("list", "locks") == ""


def test_without_keys(make_s3, client, restic_of):
    server = make_s3(keys=False)
    restic = restic_of(server)
    client.file("home/cat", b"a cat")
    restic("init")
    restic("backup", "home")
    restic("check", "--read-data")
    assert "/backup/config" in server.master.keys()
