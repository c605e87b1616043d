"""Values lie where the original would put them."""
import hashlib
import tarfile

import pytest

from mkvtest import place
from mkvtest.cluster import ROOT, Master

KEYS = ["/wehave", "/", "/a?", "/we have", "/plus+plus", "//", "/a//b", "/./..//x/", "/日本語", "/per%cent", "/new\nline",
        "/" + "k" * 188, "/" + "k" * 189, "/" + "k" * 190, "/" + "k" * 300, "/" + "ü" * 544, "/" + "k" * 1088,
        "/" + "?" * 200, "/dir/" + "a" * 400 + "/???"]


def test_the_rule_equals_the_original(fixture_rows):
    rows = [(bytes.fromhex(key), path) for key, path in fixture_rows("key2path.tsv")]
    short = [(key, path) for key, path in rows if len(key) <= 189 and not path.endswith("/")]
    assert len(short) > 500
    for key, path in short:
        assert place.path_of(key) == path, key
    rows = fixture_rows("key2volume.tsv")
    assert len(rows) > 4000
    for key, volumes, replicas, subvolumes, expected in rows:
        found = place.replicas_of(bytes.fromhex(key), volumes.split(","), int(subvolumes))
        assert found[:int(replicas)] == expected.split(","), key


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{len(key.encode())}-{key[:12]!r}")
def test_files_and_headers(cluster, key):
    value = b"the value of " + key.encode()
    assert cluster.master.put(key, value).status == 201
    assert cluster.files() == cluster.expected_files(key, value)
    answer = cluster.master.get(key)
    assert answer.status == 302
    expected = cluster.master.placement(key)
    assert answer.header("Key-Volumes").split(",") == expected
    assert answer.header("Location") in [f"http://{text}{place.path_of(key.encode())}" for text in expected]
    assert cluster.master.read(key) == value


def test_next_generation_of_every_kind_of_name(cluster):
    for key in KEYS:
        assert cluster.master.put(key, b"old").status == 201
        assert cluster.master.replace(key, b"new").status == 201
        assert cluster.master.read(key) == b"new"
    files = cluster.files()
    for key in KEYS:
        expected = cluster.expected_files(key, b"new", generation=1)
        assert expected.items() <= files.items(), key


@pytest.mark.parametrize("subvolumes", [1, 2, 300])
def test_subvolumes(make_cluster, subvolumes):
    cluster = make_cluster("-subvolumes", subvolumes)
    assert cluster.master.put("/wehave", b"bigswag").status == 201
    assert cluster.files() == cluster.expected_files("/wehave", b"bigswag", subvolumes=subvolumes)
    assert cluster.master.read("/wehave") == b"bigswag"


@pytest.mark.parametrize("replicas,volumes", [(1, 1), (1, 3), (2, 3), (3, 3), (3, 5), (5, 5)])
def test_replicas(make_cluster, replicas, volumes):
    cluster = make_cluster("-replicas", replicas, volumes=volumes)
    for i in range(10):
        key, value = f"/key{i}", b"%d" % i
        assert cluster.master.put(key, value).status == 201
        assert cluster.expected_files(key, value, replicas=replicas).items() <= cluster.files().items()
        answer = cluster.master.get(key)
        assert answer.header("Key-Volumes").split(",") == cluster.master.placement(key)[:replicas]
        assert answer.header("Key-Balance") == "balanced"
    assert len(cluster.files()) == 10 * replicas


def test_volumes_with_a_directory(shared_volumes, tmp_path):
    volumes = shared_volumes.take(3)
    names = [f"{volume.name}/deep/er" for volume in volumes]
    master = Master(names, tmp_path).start()
    try:
        assert master.put("/wehave", b"bigswag").status == 201
        path = place.path_of(b"/wehave")
        expected = {text.replace("/deep/er", "", 1).partition("/")[2] for text in master.placement("/wehave")}
        assert {p for volume in volumes for p in volume.files()} == {f"/deep/er/{sv}{path}" for sv in expected}
        assert master.get("/wehave").header("Location").partition("/deep/er")[1]
        assert master.read("/wehave") == b"bigswag"
        assert master.delete("/wehave").status == 204
        assert not any(volume.files() for volume in volumes)
    finally:
        master.stop_cleanly()


def test_values_of_the_original_are_found_where_it_left_them(tmp_path, fixture_rows):
    """The original's files, served as they are, against the paths and replica lists that we compute."""
    tarball = tarfile.open(ROOT / "test" / "fixtures" / "original" / "volumes.tar.gz")
    with tarball:
        tarball.extractall(tmp_path / "original")
    names = [f"localhost:{port}" for port in range(13001, 13006)]
    files = 0
    for key_hex, _, md5, replicas in fixture_rows("index.tsv"):
        key = bytes.fromhex(key_hex)
        assert place.replicas_of(key, names)[:3] == replicas.split(",")
        for text in replicas.split(","):
            name, _, subvolume = text.partition("/")
            folder = tmp_path / "original" / f"vol{int(name[-1])}" / subvolume
            data = (folder / place.path_of(key).lstrip("/")).read_bytes()
            assert hashlib.md5(data).hexdigest() == md5
            files += 1
    assert files == 888
