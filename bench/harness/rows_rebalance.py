"""Rows of mkv-rebalance."""

import json
import os
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager, nullcontext
from statistics import median

from . import load
from .calm import calm_rounds
from .procs import BenchError, memory_kb
from .rows import MB, PROBE_RATE, RANDOM_LUA, fill, probe, row, size_text, source_file, steal_line
from .table import Line

CURLS = 8  # copies at once of the yardstick
LIVE_SECONDS, LIVE_ROUNDS = 2, 3  # of rebalancelive: at most so long, so many for each of --rounds
LIVE_KEYS = 20_000  # at least: more than are moved meanwhile
BUSY_RATE = 3000  # GETs a second
REBALANCED = 'mkv_requests_total{method="REBALANCE",status="204"}'


def start(bench, names, db, *flags):
    command = [bench.tool("mkv-rebalance"), "-volumes", names, "-db", str(db), "-json", *flags]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(job):
    """Its summary, and its own peak memory in KB: looked at until it ends."""
    peak = 0
    while job.poll() is None:
        try:
            peak = max(peak, memory_kb(job.pid)["VmHWM"])
        except (BenchError, OSError):
            pass  # it is just ending
        time.sleep(0.01)
    out, errors = job.communicate()
    if job.returncode:
        raise BenchError(f"mkv-rebalance: exit status {job.returncode}: {errors.strip()[-300:]}")
    return json.loads(out), peak


def names_of(volumes):
    return ",".join(volume.address for volume in volumes)


@row("rebalance0", "mkv-rebalance that finds nothing to do")
def nothing_to_do(bench):
    """A HEAD for each copy.  wrk asks one volume after the other for the same files."""
    s = bench.settings
    keys, paths = bench.fresh("keys"), bench.fresh("paths")
    dirs = ",".join(str(v.directory) for v in bench.volumes())
    db = fill(bench, s.files, "-f", dirs, "-k", keys, "-p", paths, "-x", "/balanced-", "-s", 0)
    volume = bench.volumes()[0]
    peaks = []

    def ours():
        summary, peak = finish(start(bench, bench.volume_list(), db))
        if summary["balanced"] != s.files:
            raise BenchError(f"{summary['balanced']} keys are balanced, not {s.files}")
        peaks.append(peak / 1024)
        return 3 * s.files / summary["seconds"]

    mine, wrk = load.alternate(
        s.rounds, ours,
        lambda: load.wrk(f"http://{volume.address}", s.seconds, volume.workers(),
                         script=RANDOM_LUA, args=["HEAD", str(paths)]).per_second)
    yield (Line("rebalance0", f"nothing to do, {s.files:,} keys, HEADs", median(mine), "/s")
           .against(median(wrk), "wrk, HEAD on a volume").ratio_at_least(0.5))
    yield Line("rebalance0", "peak RSS", max(peaks), "MB").at_most(64)


def curl_copies(pairs):
    """Copies URL to URL, CURLS at once; seconds."""
    text = "".join(f"{source} {target}\n" for source, target in pairs)
    began = time.monotonic()
    done = subprocess.run(["xargs", "-P", str(CURLS), "-L", "1", "sh", "-c",
                           'curl -sS --fail --noproxy "*" "$0" | curl -sS --fail --noproxy "*" -o /dev/null -T - "$1"'],
                          input=text, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise BenchError(f"curl: {done.stderr.strip()[-300:]}")
    return time.monotonic() - began


@row("rebalancebig", "mkv-rebalance of 200 values of 16 MB")
def big_values(bench):
    """One copy of each: from three volumes to two others, then back, and so on."""
    s = bench.settings
    count, size = (20, 4 * MB) if s.quick else (200, 16 * MB)
    volumes = bench.volumes(5)
    sides = names_of(volumes[:3]), names_of(volumes[3:])
    master = bench.master("-volumes", sides[0], "-replicas", "1")
    file = source_file(bench, size)
    urls = [f"http://{master.address}/move-{i}" for i in range(count)]
    load.upload(file, urls)
    load.upload(file, *[[f"http://{volume.address}/sv00/yard/source"] for volume in volumes[:3]])
    db = master.db
    bench.stop_masters()
    os.sync()
    ours, curls, peaks, side = [], [], [], 0
    for _ in range(s.few):
        side = 1 - side
        summary, peak = finish(start(bench, sides[side], db, "-replicas", "1"))
        if summary["moved"] != count:
            raise BenchError(f"{summary['moved']} values were moved, not {count}")
        ours.append(summary["bytes"] / MB / summary["seconds"])
        peaks.append(peak / 1024)
        os.sync()
        curls.append(count * size / MB / copy_with_curl(volumes, count))
        os.sync()
    yield (Line("rebalancebig", f"{count} values of {size_text(size)}, moved", median(ours), "MB/s")
           .against(median(curls), f"curl to curl, {CURLS} at once").ratio_at_least(0.7))
    yield Line("rebalancebig", "peak RSS", max(peaks), "MB").at_most(64)


def copy_with_curl(volumes, count):
    """The same number of copies, from the three volumes to the two others."""
    pairs = [(f"http://{volumes[i % 3].address}/sv00/yard/source",
              f"http://{volumes[3 + i % 2].address}/sv00/yard/copy-{i}") for i in range(count)]
    seconds = curl_copies(pairs)
    for _, url in pairs:
        load.expect(204, "DELETE", url)
    return seconds


@row("rebalancelive", "GETs through the master while mkv-rebalance runs")
def live(bench):
    """The master's p99 with and without; small values, so that moves are many.  nginx's p99 at the
    same moments tells how much of it is the busy machine.  Many short rounds: what disturbs
    one does not spoil the median."""
    s = bench.settings
    seconds = min(s.seconds, LIVE_SECONDS)
    volumes = bench.volumes(5)
    dirs = ",".join(str(v.directory) for v in volumes[:3])
    db = fill(bench, max(s.files, LIVE_KEYS), "-f", dirs, "-x", "/live-", "-s", 1000)
    master, yard = bench.master("-volumes", names_of(volumes), db=db), bench.yardstick()
    load.expect(201, "PUT", f"http://{master.address}/found", b"value")
    load.expect(204, "REBALANCE", f"http://{master.address}/found")  # the counter begins

    def probe_all(servers, rate, meanwhile):
        """p99 of each; values moved in a second."""
        with ExitStack() as stack:
            probes = [stack.enter_context(probe(bench, server.address, "/found", seconds, rate))
                      for server in servers]
            with meanwhile():
                before = load.metrics(master, REBALANCED)[0]
                took = [tool.result()[0]["get"]["p99_ms"] for tool in probes]
                return took, (load.metrics(master, REBALANCED)[0] - before) / seconds

    @contextmanager
    def rebalancing():
        """Begins beside clients, for before them nothing keeps it from a flood of moves."""
        time.sleep(0.05)
        job = start(bench, names_of(volumes), db)
        try:
            yield
            running = job.poll() is None
            if running:
                job.send_signal(signal.SIGINT)
            _, errors = job.communicate(timeout=60)
        finally:
            job.kill()
            job.wait()
        if not running:
            raise BenchError(f"mkv-rebalance had too little to do: {errors.strip()[-300:]}")

    def once():
        without, _ = probe_all((master, yard), PROBE_RATE, nullcontext)
        during, pace = probe_all((master, yard), PROBE_RATE, rebalancing)
        busy, _ = probe_all((master,), BUSY_RATE, nullcontext)
        busy_during, _ = probe_all((master,), BUSY_RATE, rebalancing)
        return *without, *during, pace, *busy, *busy_during

    calm = calm_rounds(LIVE_ROUNDS * s.rounds, once)
    without, without_nginx, during, during_nginx, pace, busy, busy_during = map(median, zip(*calm.results))
    yield (Line("rebalancelive", "p99 of a GET during mkv-rebalance", during, "ms")
           .against(without, "without it").ratio_at_most(2))
    yield (Line("rebalancelive", "… of nginx's return 302 at the same moments", during_nginx, "ms")
           .against(without_nginx, "without it"))
    yield (Line("rebalancelive", f"… beside {BUSY_RATE:,} GETs a second instead of {PROBE_RATE}", busy_during, "ms")
           .against(busy, "without it"))
    yield Line("rebalancelive", "values moved meanwhile", pace, "/s")
    yield steal_line("rebalancelive", calm)
