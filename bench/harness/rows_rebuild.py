"""The row of mkv-rebuild: it can not be faster than nginx makes listings."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from . import load
from .procs import BenchError
from .rows import RANDOM_LUA, row
from .table import Line

CONNECTIONS = 32  # as many as listings that a rebuild has under way on a quick volume
SECONDS = 600


@dataclass
class Run:
    files: float     # a second
    listings: float  # a second
    cpu_us: float    # of ours, for each listing
    peak_mb: float


def rebuild(bench, volumes, keys):
    """One run into an empty directory."""
    command = [bench.tool("mkv-rebuild"), "-volumes", ",".join(v.address for v in volumes),
               "-db", str(bench.fresh("rebuilt")), "-json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        out, err = popen.stdout.read(), popen.stderr.read()
        _, status, usage = os.wait4(popen.pid, 0)
        popen.returncode = os.waitstatus_to_exitcode(status)
    load.check(command, popen.returncode, err.decode())
    summary = json.loads(out)
    if summary["keys"] != keys:
        raise BenchError(f"mkv-rebuild found {summary['keys']} keys, not {keys}")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(summary["files"] / summary["seconds"], summary["listings"] / summary["seconds"],
               cpu / summary["listings"] * 1e6, usage.ru_maxrss / 1024)


def directories_of(bench, volume):
    """A file with the path of each directory of the volume, one a line."""
    path = bench.fresh("directories")
    with open(path, "w", encoding="ascii") as out:
        for folder, inside, _ in os.walk(volume.directory):
            if ".nginx" in inside:
                inside.remove(".nginx")
            below = os.path.relpath(folder, volume.directory)
            out.write("/\n" if below == "." else f"/{below}/\n")
    return path


def listings_per_second(volumes, directories, seconds):
    """wrk on every volume at once, as many requests under way as a rebuild has."""
    def one(volume, paths):
        return load.wrk(f"http://{volume.address}", seconds, volume.workers(), script=RANDOM_LUA,
                        args=["GET", str(paths)], connections=CONNECTIONS).per_second
    with ThreadPoolExecutor(len(volumes)) as pool:
        return sum(pool.map(one, volumes, directories))


@row("rebuild", "the index made again from the volumes")
def rebuild_row(bench):
    s = bench.settings
    volumes = bench.more_volumes(3)
    load.run([bench.tool("fill"), "-n", s.files, "-d", bench.fresh("index"),
              "-v", ",".join(v.address for v in volumes),
              "-f", ",".join(str(v.directory) for v in volumes), "-s", 100], SECONDS)
    directories = [directories_of(bench, v) for v in volumes]
    runs, yard = load.alternate(
        s.few, lambda: rebuild(bench, volumes, s.files),
        lambda: listings_per_second(volumes, directories, s.seconds))
    listings = median(run.listings for run in runs)
    yield (Line("rebuild", f"listings, {s.files:,} keys × 3 replicas", listings, "/s")
           .against(median(yard), "wrk, the same listings").ratio_at_least(0.8))
    yield Line("rebuild", "files", median(run.files for run in runs), "/s")
    yield Line("rebuild", "CPU of ours for each listing", median(run.cpu_us for run in runs), "µs")
    yield Line("rebuild", "peak RSS", max(run.peak_mb for run in runs), "MB").at_most(64)
