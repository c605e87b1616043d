"""Real processes: volumes are nginx started by volume-conf/volume, masters are the program under test."""
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

from . import http, place

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("MKV_BIN", ROOT / "build" / "bin"))
VOLUME = ROOT / "volume-conf" / "volume"

SANITIZED = "ASAN_OPTIONS" in os.environ


def _is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return port not in _given


_given = set()
_chance = random.SystemRandom()


def free_port(*offsets):
    """A port that nobody uses, and with it those so far above.  Below the range from which the kernel takes ports for
    clients: between here and the server's start one of them might get it."""
    lowest_for_clients = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _chance.randrange(5000, max(lowest_for_clients, 20000) - 20)
        ports = [port] + [port + offset for offset in offsets]
        if all(_is_free(p) for p in ports):
            _given.update(ports)
            return port


def wait_until(condition, what, seconds=20.0):
    """Looks again and again: never a bare sleep.  Returns what the condition returned."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


class Process:
    """One program; its standard error goes to a file that is shown where a test fails."""

    def __init__(self, name, log):
        self.name, self.log, self.popen = name, pathlib.Path(log), None

    def spawn(self, command, env=None, **options):
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env={**os.environ, **(env or {})}, **options)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def errors(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_listening(self, port):
        def ready():
            assert self.running(), f"{self.name} exited with {self.popen.returncode}: {self.errors()[-4000:]}"
            return is_listening(port)
        wait_until(ready, f"{self.name} listens on {port}", 30)

    def stop(self, sig=signal.SIGTERM, timeout=30):
        """Asks it to stop; returns its exit status."""
        if self.running():
            self.popen.send_signal(sig)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.name} did not stop within {timeout} s of {sig.name}") from None


class Volume(Process):
    def __init__(self, directory, port=None, host="localhost", **environment):
        self.directory = pathlib.Path(directory)
        self.port = port or free_port()
        self.environment = environment
        super().__init__(f"{host}:{self.port}", str(self.directory) + ".log")

    def start(self):
        self.spawn([VOLUME, self.directory], {"PORT": str(self.port), "BIND": "127.0.0.1", "WORKERS": "1",
                                              **self.environment})
        self.wait_listening(self.port)
        # nginx listens before it has its handlers of signals, and forks its workers after that.
        wait_until(lambda: len(self._all_pids()) > 1, f"{self.name} has a worker")
        return self

    def _all_pids(self):
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid] + [int(pid) for pid in children]

    def _signal_all(self, sig):
        for pid in self._all_pids():
            os.kill(pid, sig)

    def kill(self):
        """SIGKILL to nginx and its workers: the machine is gone, the disk is not."""
        if self.running():
            self._signal_all(signal.SIGKILL)
            self.popen.wait()
            wait_until(lambda: not is_listening(self.port), f"{self.name} is gone")

    def freeze(self):
        """It still accepts connections, the kernel does that, but never answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def files(self):
        """{path: contents} of every value, paths with the leading slash."""
        found = {}
        for folder, folders, names in os.walk(self.directory):
            if ".nginx" in folders:
                folders.remove(".nginx")
            for name in names:
                path = pathlib.Path(folder, name)
                try:
                    found["/" + str(path.relative_to(self.directory))] = path.read_bytes()
                except FileNotFoundError:
                    pass  # deleted while we look
        return found

    def temporary_files(self):
        return [p for p in (self.directory / ".nginx" / "body").rglob("*") if p.is_file()]

    def clear(self):
        for entry in self.directory.iterdir():
            if entry.name == ".nginx":
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


class Master(Process):
    """A server, with the methods a client would call."""

    def __init__(self, volumes, directory, *flags, port=None, db=None, program="mkv-server", environment=None,
                 wrapper=()):
        self.volumes = list(volumes)  # names as given in -volumes
        self.port = port or free_port()
        self.admin_port = free_port()
        self.directory = pathlib.Path(directory)
        self.db = pathlib.Path(db or self.directory / "index")
        self.flags, self.program = list(flags), program
        self.environment, self.wrapper = environment or {}, list(wrapper)
        super().__init__(f"master:{self.port}", self.directory / f"master-{self.port}.log")

    def command(self):
        return [*self.wrapper, BIN / self.program, "-volumes", ",".join(self.volumes), "-db", self.db, "-port", self.port,
                "-bind", "127.0.0.1", "-admin", f"127.0.0.1:{self.admin_port}", *self.flags]

    def start(self, **options):
        self.spawn(self.command(), self.environment, **options)
        self.wait_listening(self.port)
        return self

    def kill(self):
        if self.running():
            self.popen.kill()
        self.popen.wait()

    def stop_cleanly(self):
        """Stops, and sees to it that neither the exit status nor a sanitizer has anything to say."""
        status = self.stop()
        assert status == 0, f"{self.name} exited with {status}: {self.errors()[-6000:]}"
        self.check_errors()

    def check_errors(self):
        for sign in ("Sanitizer", "runtime error", "assertion", "Assertion"):
            assert sign not in self.errors(), self.errors()[-6000:]

    # --- requests

    def connect(self, **options):
        return http.Connection(self.port, **options)

    def ask(self, method, key, body=None, headers=(), chunked=False, query="", timeout=http.TIMEOUT):
        return http.request(self.port, method, http.encode(key) + query, body, headers, chunked, timeout)

    def put(self, key, value, **options):
        return self.ask("PUT", key, value, **options)

    def replace(self, key, value, **options):
        return self.ask("REPLACE", key, value, **options)

    def get(self, key, **options):
        return self.ask("GET", key, **options)

    def delete(self, key, **options):
        return self.ask("DELETE", key, **options)

    def unlink(self, key, **options):
        return self.ask("UNLINK", key, **options)

    def relink(self, key, **options):
        return self.ask("RELINK", key, **options)

    def read(self, key, timeout=http.TIMEOUT):
        """The value as a client sees it: through the redirect.  None where there is none."""
        answer = self.get(key, timeout=timeout)
        if answer.status == 404:
            return None
        assert answer.status == 302, (key, answer)
        return fetch(answer.header("Location"))

    def keys(self, prefix="/", operation="list"):
        answer = self.get(prefix, query="?" + operation)
        assert answer.status == 200, answer
        import json
        listing = json.loads(answer.body)
        assert listing["next"] == ""
        return listing["keys"]

    def admin(self, path):
        return http.request(self.admin_port, "GET", path)

    def metrics(self):
        """{'name{labels}': number}"""
        answer = self.admin("/metrics")
        assert answer.status == 200, answer
        lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def memory_kb(self, which="VmRSS"):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(which + ":"):
                return int(line.split()[1])
        raise KeyError(which)

    # --- the rule

    def placement(self, key, subvolumes=10):
        return place.replicas_of(as_bytes(key), self.volumes, subvolumes)


def as_bytes(key):
    return key.encode() if isinstance(key, str) else key


def fetch(url):
    """A value from a volume; the URL is taken as the master sent it."""
    assert url.startswith("http://"), url
    where, _, path = url[len("http://"):].partition("/")
    port = int(where.rpartition(":")[2])
    answer = http.request(port, "GET", "/" + path)
    assert answer.status == 200, (url, answer)
    return answer.body


class Cluster:
    """Volumes and the masters started on them; ends what it started."""

    def __init__(self, directory, volumes):
        self.directory = pathlib.Path(directory)
        self.volumes = list(volumes)
        self.masters, self.others = [], []
        self.master = None  # the last one started

    def names(self):
        return [volume.name for volume in self.volumes]

    def start_master(self, *flags, volumes=None, **options):
        db = options.pop("db", self.directory / "index")
        self.master = Master(volumes or self.names(), self.directory, *flags, db=db, **options)
        self.masters.append(self.master)
        return self.master.start()

    def restart_master(self, *flags):
        """The same index, the same port."""
        old = self.master
        assert not old.running()
        return self.start_master(*(flags or old.flags), port=old.port, db=old.db, volumes=old.volumes)

    def files(self):
        """{(volume name, path): contents} of every value on every volume."""
        return {(volume.name, path): data for volume in self.volumes for path, data in volume.files().items()}

    def expected_files(self, key, value, generation=0, replicas=3, subvolumes=10):
        """What files() must hold for that key where every volume is well."""
        key = as_bytes(key)
        found = {}
        for text in place.replicas_of(key, self.names(), subvolumes)[:replicas]:
            name, slash, subvolume = text.partition("/")
            found[name, slash + subvolume + place.path_of(key, generation)] = value
        return found

    def volume(self, name):
        name = name.partition("/")[0]
        return next(volume for volume in self.volumes if volume.name == name)

    def volumes_of(self, key, subvolumes=10):
        """The volumes in placement order of that key."""
        return [self.volume(text) for text in place.replicas_of(as_bytes(key), self.names(), subvolumes)]

    def end(self, check=True):
        for master in self.masters:
            if master.running():
                if check:
                    master.stop_cleanly()
                else:
                    master.kill()
            elif check:
                master.check_errors()
