"""The processes under measurement: started, watched through /proc, stopped.

Everything listens on 127.0.0.1 on a free port and lies under one work
directory; only what was started here is ever ended, by its process id.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
START_SECONDS = 20
STOP_SECONDS = 15


class BenchError(Exception):
    """A measurement that can not be made, with the reason."""


# ---- /proc -------------------------------------------------------------------

def cpu_seconds(pids):
    """User and system time of the processes, all their threads included."""
    total = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2:].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory_kb(pid):
    """VmRSS, VmHWM (the peak), RssAnon and RssFile, in KB."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM", "RssAnon", "RssFile"):
            found[name] = int(value.split()[0])
    if not found:
        raise BenchError(f"process {pid} has died")
    return found


def forget_peak(pid):
    """VmHWM counts from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def filesystem(path):
    """Mount point and type of the file system that holds path."""
    best = ("/", "?")
    real = os.path.realpath(path)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind = line.split()[:3]
        inside = mount == "/" or real == mount or real.startswith(mount + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- one process ---------------------------------------------------------------

class Process:
    """A server: running once made, since somebody listens on its port."""

    def __init__(self, name, command, port, log, env=None):
        self.name, self.port, self.log = name, port, log
        self.address = f"127.0.0.1:{port}"
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, env=env, start_new_session=True)
        self.pid = self.popen.pid
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop()
            raise

    def _wait_until_listening(self):
        until = time.monotonic() + START_SECONDS
        while True:
            if self.popen.poll() is not None:
                raise BenchError(f"{self.name} ended at once: {self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > until:
                    raise BenchError(f"{self.name} does not listen on {self.address}") from None
                time.sleep(0.02)

    def last_words(self):
        lines = Path(self.log).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Nginx(Process):
    """nginx counts by its workers: the parent does nothing."""

    def workers(self):
        until = time.monotonic() + START_SECONDS
        while not (pids := children(self.pid)):
            if time.monotonic() > until:
                raise BenchError(f"{self.name} has no workers: {self.last_words()}")
            time.sleep(0.02)
        return pids


# ---- all of them ---------------------------------------------------------------

YARDSTICK_CONF = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {dir}/nginx.pid;
error_log stderr;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 10m;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ return 404; }}
        location /found {{
            add_header Content-Md5 "{md5}";
            add_header Key-Balance "balanced";
            add_header Key-Volumes "{volumes}";
            return 302 "http://{volume}/sv05/ab/cd/L2ZvdW5k";
        }}
    }}
}}
"""


class Bench:
    """The work directory, and every process started in it."""

    def __init__(self, settings, bin_dir, top, work_parent):
        self.settings = settings
        self.bin = Path(bin_dir)
        self.top = Path(top)
        self.dir = Path(tempfile.mkdtemp(prefix="mkv-bench-", dir=work_parent))
        self.dir.chmod(0o755)
        self.processes = []  # shared by all rows
        self.masters = []    # of the row under way
        self._volumes = []
        self._yardstick = None
        self._count = 0

    def stop_masters(self):
        while self.masters:
            self.masters.pop().stop()

    def close(self):
        self.stop_masters()
        while self.processes:
            self.processes.pop().stop()
        subprocess.run(["rm", "-rf", "--", str(self.dir)], check=False)

    def tool(self, name):
        return str(self.bin / name)

    def fresh(self, name):
        """A path in the work directory that nobody has used."""
        self._count += 1
        return self.dir / f"{name}-{self._count}"

    def _add(self, process):
        self.processes.append(process)
        return process

    def volumes(self, count=3):
        """That many volumes, started once for all rows."""
        while len(self._volumes) < count:
            self._volumes.append(self._add(self._volume(len(self._volumes) + 1)))
        return self._volumes[:count]

    def more_volumes(self, count):
        """Volumes with nothing on them, for a row that must know what is there."""
        self._count += 1
        return [self._add(self._volume(f"{self._count}-{i}")) for i in range(count)]

    def _volume(self, i):
        port = free_port()
        directory = self.dir / f"volume{i}"
        env = dict(os.environ, PORT=str(port), BIND="127.0.0.1", MASTER="127.0.0.1")
        volume = Nginx(f"volume {i}", [str(self.top / "volume-conf/volume"), str(directory)],
                       port, self.dir / f"volume{i}.log", env)
        volume.directory = directory
        return volume

    def volume_list(self):
        return ",".join(v.address for v in self.volumes())

    def volume_workers(self):
        return [pid for v in self.volumes() for pid in v.workers()]

    def yardstick(self):
        """nginx with one worker and constant answers: 404, and 302 under /found."""
        if self._yardstick is None:
            directory = self.dir / "yardstick"
            directory.mkdir()
            port = free_port()
            conf = directory / "nginx.conf"
            conf.write_text(YARDSTICK_CONF.format(
                dir=directory, port=port, files=self.settings.idle + 1000, md5="0" * 32,
                volume=self.volumes()[0].address, volumes=self.volume_list()))
            self._yardstick = self._add(Nginx(
                "the yardstick", [find_nginx(), "-e", "stderr", "-c", str(conf)],
                port, directory / "log"))
        return self._yardstick

    def master(self, *flags, db=None):
        """A new mkv-server, on an index of its own unless db is given."""
        port, admin = free_port(), free_port()
        db = db or self.fresh("index")
        command = [self.tool("mkv-server"), "-bind", "127.0.0.1", "-port", str(port),
                   "-admin", f"127.0.0.1:{admin}", "-db", str(db),
                   "-volumes", self.volume_list(), *flags]
        master = Process("mkv-server", command, port, self.fresh("master.log"))
        self.masters.append(master)
        master.admin, master.db = f"127.0.0.1:{admin}", db
        return master


def find_nginx():
    path = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise BenchError("nginx is not installed: apt-get install nginx-light")
    return path


def end_on_signals():
    """SIGTERM and SIGHUP unwind like Ctrl-C, so that everything is stopped."""
    def leave(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def ignore_signals():
    """While cleaning up: a second Ctrl-C must not leave servers behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
