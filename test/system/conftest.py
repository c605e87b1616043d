import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from mkvtest import s3 as s3tools  # noqa: E402
from mkvtest.cluster import BIN, Cluster, Volume  # noqa: E402
from mkvtest.faults import FaultyVolume  # noqa: E402
from mkvtest.slow import SlowClients  # noqa: E402


def pytest_sessionstart():
    if not (BIN / "mkv-server").exists():
        pytest.exit(f"no mkv-server in {BIN}: build first (cmake -B build && cmake --build build), or use test/run", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its masters wrote."""
    report = (yield).get_result()
    if report.failed:
        for value in item.funcargs.values() if hasattr(item, "funcargs") else ():
            for master in getattr(value, "masters", ()):
                report.sections.append((f"standard error of {master.name}", master.errors()[-8000:]))


class VolumeSet:
    """Volumes that live as long as the test session; tests get them empty."""

    def __init__(self, directory):
        self.directory, self.volumes = directory, []

    def take(self, count):
        while len(self.volumes) < count:
            self.volumes.append(Volume(self.directory / f"shared{len(self.volumes)}").start())
        for volume in self.volumes[:count]:
            assert volume.running(), f"{volume.name} was stopped by a test: it should have taken its own volumes"
            volume.clear()
        return self.volumes[:count]

    def end(self):
        for volume in self.volumes:
            volume.stop()


@pytest.fixture(scope="session")
def shared_volumes(tmp_path_factory):
    volumes = VolumeSet(tmp_path_factory.mktemp("volumes"))
    yield volumes
    volumes.end()


def pytest_collection_modifyitems(items):
    """What waits for the slow clients comes last."""
    items.sort(key=lambda item: "slow_clients" in item.fixturenames)


@pytest.fixture(scope="session", autouse=True)
def started_slow_clients(request, tmp_path_factory):
    """They wait for the server's timeouts while the other tests run."""
    if not any("slow_clients" in item.fixturenames for item in request.session.items):
        yield None
        return
    clients = SlowClients(tmp_path_factory.mktemp("slow"))
    yield clients
    clients.end()


@pytest.fixture
def slow_clients(started_slow_clients):
    return started_slow_clients


@pytest.fixture
def make_cluster(shared_volumes, tmp_path):
    """make_cluster(*flags, volumes=3): a master with an empty index on empty volumes, which other tests use after this
    one: look, but do not stop them.  names=: what -volumes shall say instead, proxies in front of them."""
    made = []

    def make(*flags, volumes=3, names=None, **options):
        assert not made, "one cluster for each test: the volumes are shared"
        cluster = Cluster(tmp_path, shared_volumes.take(volumes))
        made.append(cluster)
        make.masters = cluster.masters
        cluster.start_master(*flags, volumes=names, **options)
        return cluster

    make.masters = []
    yield make
    for cluster in made:
        cluster.end()


@pytest.fixture
def cluster(make_cluster):
    """The ordinary case: three volumes, a master without flags."""
    return make_cluster()


@pytest.fixture
def faulty_cluster(shared_volumes, make_cluster):
    """faulty_cluster(*flags, volumes=3): as make_cluster, with a FaultyVolume before each volume: cluster.faulty."""
    made = []

    def make(*flags, volumes=3):
        made.extend(FaultyVolume(volume) for volume in shared_volumes.take(volumes))
        cluster = make_cluster(*flags, volumes=volumes, names=[volume.name for volume in made])
        cluster.faulty = made
        return cluster

    yield make
    for volume in made:
        volume.stop()


@pytest.fixture
def own_volumes(tmp_path):
    """own_volumes(count): volumes of this test alone, to stop, kill or freeze."""
    made = []

    def make(count, **environment):
        volumes = [Volume(tmp_path / f"volume{len(made) + i}", **environment).start() for i in range(count)]
        made.extend(volumes)
        return volumes

    yield make
    for volume in made:
        if volume.running():
            volume.thaw()
            volume.stop()


@pytest.fixture
def own_cluster(own_volumes, tmp_path):
    """own_cluster(count): a cluster of volumes of this test alone; no master yet."""
    made = []

    def make(count):
        made.append(Cluster(tmp_path, own_volumes(count)))
        make.masters = made[-1].masters
        return made[-1]

    make.masters = []
    yield make
    for cluster in made:
        cluster.end()


@pytest.fixture
def make_s3(make_cluster, tmp_path, monkeypatch):
    """make_s3(*flags, keys=True): a server on three volumes; its keys are those of mkvtest/s3.py, or it checks none."""
    for name in [name for name in os.environ if name.upper().startswith("AWS_")]:
        monkeypatch.delenv(name)
    made = []

    def make(*flags, keys=True, **options):
        file = s3tools.write_keys(tmp_path / "keys") if keys else None
        cluster = make_cluster(*(("-keys", file) if keys else ()), *flags, **options)
        made.append(s3tools.Server(cluster, tmp_path, file))
        return made[-1]

    yield make
    for server in made:
        server.end()


@pytest.fixture
def s3(make_s3):
    """The ordinary case: every request must be signed."""
    return make_s3()


@pytest.fixture
def client(tmp_path):
    """Where the programs of a test run: a home without configuration."""
    directory = tmp_path / "client"
    directory.mkdir()
    return s3tools.Client(directory)


def tsv(name):
    folder = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "original"
    return [line.split("\t") for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="session")
def fixture_rows():
    return tsv


@pytest.fixture(scope="session")
def parse_listing():
    return lambda answer: json.loads(answer.body)
