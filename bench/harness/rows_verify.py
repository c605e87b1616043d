"""The row of mkv-verify -deep: it reads what curl would have to read, and takes MD5s."""

import json
import os
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from . import load
from .procs import BenchError
from .rows import MB, row, size_text, source_file
from .table import Line

SECONDS = 600
MIDDLE = 16 * MB
REST = 3  # seconds; what is behind a virtual disk is quick with every other round of 3 GB, else


@dataclass
class Run:
    rate: float     # MB a second
    cpu: float      # seconds for each GB
    peak_mb: float


class Values:
    """Values of one size, and the URLs of their copies by volume."""

    def __init__(self, bench, size, count):
        self.bench, self.size, self.count = bench, size, count
        master = bench.master()
        self.db = master.db
        load.upload(source_file(bench, size),
                    [f"http://{master.address}/verify-{size}-{i}" for i in range(count)])
        self.bytes = 3 * size * count
        self.urls = defaultdict(list)
        for i in range(count):
            out = load.run([bench.tool("mkv-index"), "-db", self.db, "path",
                            f"/verify-{size}-{i}"], SECONDS)
            for url in out.split():
                self.urls[url.split("/")[2]].append(url)

    def files(self):
        roots = {v.address: v.directory for v in self.bench.volumes()}
        return [f"{roots[address]}/{url.split('/', 3)[3]}"
                for address, urls in self.urls.items() for url in urls]

    def forget(self):
        """Out of the page cache: a store is larger than memory."""
        os.sync()
        for file in self.files():
            fd = os.open(file, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        time.sleep(REST)

    def verify(self):
        command = [self.bench.tool("mkv-verify"), "-db", str(self.db), "-volumes",
                   self.bench.volume_list(), "-deep", "-json"]
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
            out, err = popen.stdout.read(), popen.stderr.read()
            _, status, usage = os.wait4(popen.pid, 0)
            popen.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        load.check(command, popen.returncode, err.decode())
        if json.loads(out)["bytes"] != self.bytes:
            raise BenchError(f"mkv-verify read {json.loads(out)['bytes']} bytes, not {self.bytes}")
        return Run(self.bytes / MB / seconds,
                   (usage.ru_utime + usage.ru_stime) / (self.bytes / MB / 1024),
                   usage.ru_maxrss / 1024)

    def curl(self):
        """Every copy, one curl for each volume; MB a second."""
        began = time.monotonic()
        curls = []
        for urls in self.urls.values():
            words = ["curl", "-sS", "--fail", "--noproxy", "*"]
            for url in urls:
                words += ["-o", "/dev/null", url]
            curls.append(subprocess.Popen(words, stderr=subprocess.PIPE, text=True))
        for popen in curls:
            _, err = popen.communicate(timeout=SECONDS)
            load.check(["curl"], popen.returncode, err)
        return self.bytes / MB / (time.monotonic() - began)

    def cold(self, measure):
        def one():
            self.forget()
            return measure()
        return one


@row("verify", "mkv-verify -deep")
def verify(bench):
    s = bench.settings
    values = Values(bench, MIDDLE, s.deep)
    beside = "one curl for each volume"
    what = f"-deep, {s.deep} values of {size_text(MIDDLE)} × 3"
    ours, curl = load.alternate(s.few, values.cold(values.verify), values.cold(values.curl))
    warm, warm_curl = load.alternate(s.few, values.verify, values.curl)
    yield (Line("verify", f"{what}, from disk", median(run.rate for run in ours), "MB/s")
           .against(median(curl), beside).ratio_at_least(0.7))
    yield (Line("verify", f"{what}, from the page cache", median(run.rate for run in warm), "MB/s")
           .against(median(warm_curl), beside))
    yield Line("verify", "CPU for each GB", median(run.cpu for run in warm), "s")
    yield Line("verify", "peak RSS", max(run.peak_mb for run in ours + warm), "MB").at_most(64)
