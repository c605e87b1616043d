"""The rows of the table, each a function that yields its lines.

A row starts masters of its own, which are stopped at its end; the volumes and
the yardstick (nginx with one worker and constant answers) are shared.
"""

import json
import os
import time
from pathlib import Path
from statistics import median

from . import load
from .calm import calm_rounds
from .procs import cpu_seconds, forget_peak, memory_kb
from .table import Line

MB = 1024 * 1024
# A GET that nginx answers with a constant 404 takes so much CPU on the machine that targets in µs come from.
TARGETS_404_US = 6.2
PROBE_RATE = 300  # GETs a second whose latency is watched: a light load beside the heavy one
COMMITS = ("mkv_index_commits_total", "mkv_index_changes_total")
RANDOM_LUA = Path(__file__).resolve().parent.parent / "random.lua"

ROWS = {}


def row(name, title):
    def add(function):
        ROWS[name] = (title, function)
        return function
    return add


def size_text(count):
    return f"{count // MB} MB" if count < 1024 * MB else f"{count / MB / 1024:g} GB"


# ---- reads -------------------------------------------------------------------------

def fill(bench, count, *more):
    db = bench.fresh("index")
    load.run([bench.tool("fill"), "-n", count, "-d", db, "-v", bench.volume_list(), *more], 600)
    return db


def rate_lines(name, what, ours, yard, beside):
    """Requests per second and CPU, medians of both sides."""
    ours, yard = load.median_rate(ours), load.median_rate(yard)
    return (Line(name, what, ours.per_second, "/s").against(yard.per_second, beside),
            Line(name, "CPU for each", ours.cpu_us, "µs").against(yard.cpu_us, beside))


def nginx_404(bench, yard):
    """What wrk gets of the constant 404."""
    return load.wrk(f"http://{yard.address}/missing", bench.settings.seconds, yard.workers(),
                    error_status=True)


def scaled_line(name, what, ours, nginx, limit_us):
    """A target in µs for a machine of any speed: so many times as much as a GET of nginx."""
    return (Line(name, f"{what}, beside a GET of nginx", ours, "µs").against(nginx, "nginx, return 404")
            .ratio_at_most(round(limit_us / TARGETS_404_US, 1)))


@row("missing", "GET of a missing key")
def missing(bench):
    s = bench.settings
    master = bench.master(db=fill(bench, s.keys))
    yard = bench.yardstick()
    ours, nginx = load.alternate(
        s.rounds,
        lambda: load.wrk(f"http://{master.address}/missing", s.seconds, [master.pid],
                         error_status=True),
        lambda: nginx_404(bench, yard))
    rate, cpu = rate_lines("missing", f"GET of a missing key, {s.keys:,} keys", ours, nginx,
                           "nginx, return 404")
    yield rate.ratio_at_least(0.95)
    yield cpu.ratio_at_most(1.1)


@row("found", "GET of one found key")
def found(bench):
    s = bench.settings
    master = bench.master()
    yard = bench.yardstick()
    load.expect(201, "PUT", f"http://{master.address}/found", b"value")
    ours, nginx = load.alternate(
        s.rounds,
        lambda: load.wrk(f"http://{master.address}/found", s.seconds, [master.pid]),
        lambda: load.wrk(f"http://{yard.address}/found", s.seconds, yard.workers()))
    rate, cpu = rate_lines("found", "GET of one found key", ours, nginx, "nginx, return 302")
    yield rate.ratio_at_least(0.9)
    yield cpu


@row("random", "GET of random keys, every one asked for on a volume")
def random_keys(bench):
    s = bench.settings
    keys, paths = bench.fresh("keys"), bench.fresh("paths")
    dirs = ",".join(str(v.directory) for v in bench.volumes())
    # Empty files: wrk takes the Content-Length of an answer to HEAD for a body's.
    db = fill(bench, s.files, "-f", dirs, "-k", keys, "-p", paths, "-x", "/random-", "-s", 0)
    master = bench.master("-probe-ttl", "0", db=db)
    volume, yard = bench.volumes()[0], bench.yardstick()
    ours, nginx, constant = load.alternate(
        s.rounds,
        lambda: load.wrk(f"http://{master.address}", s.seconds, [master.pid],
                         script=RANDOM_LUA, args=["GET", str(keys)]),
        lambda: load.wrk(f"http://{volume.address}", s.seconds, volume.workers(),
                         script=RANDOM_LUA, args=["HEAD", str(paths)]),
        lambda: nginx_404(bench, yard))
    rate, cpu = rate_lines("random", f"GET of random keys among {s.files:,}, -probe-ttl 0",
                           ours, nginx, "HEAD straight to a volume")
    yield rate.ratio_at_least(0.5)
    yield cpu.at_most(20)
    yield scaled_line("random", "CPU for each", cpu.ours, load.median_rate(constant).cpu_us, 20)


# ---- big values --------------------------------------------------------------------

def source_file(bench, size):
    """A file of that size, in the page cache, that does not compress."""
    path = bench.dir / f"source-{size}"
    if not path.exists():
        block = os.urandom(MB)
        with open(path, "wb") as out:
            for _ in range(size // MB):
                out.write(block)
        os.sync()
    return path


class Uploads:
    """Uploads of one file, each under a name never used before and deleted
    again, so that the next one finds the disk at rest."""

    def __init__(self, bench, size):
        self.file = source_file(bench, size)
        self.count = 0

    def _names(self, address, directory, count):
        self.count += count
        return [f"http://{address}{directory}/upload-{i}"
                for i in range(self.count - count, self.count)]

    def _timed(self, *groups):
        seconds = load.upload(self.file, *groups)
        for urls in groups:
            for url in urls:
                load.expect(204, "DELETE", url)
        os.sync()
        return seconds

    def to_master(self, master):
        return self._timed(self._names(master.address, "", 1))

    def to_volumes(self, volumes):
        return self._timed(*[self._names(v.address, "/sv00/be/7c", 1) for v in volumes])

    def one_at_a_time(self, master, count):
        return self._timed(self._names(master.address, "", count))

    def at_once(self, master, count):
        return self._timed(*[[url] for url in self._names(master.address, "", count)])


def peak_mb(master):
    return memory_kb(master.pid)["VmHWM"] / 1024


@row("put1g", "PUT of 1 GB, three replicas")
def put_big(bench):
    s = bench.settings
    uploads = Uploads(bench, s.big)
    master, lean = bench.master(), bench.master("-md5sum=false")
    cpu = cpu_seconds([master.pid])
    with_md5, without, direct = load.alternate(
        s.few, lambda: uploads.to_master(master), lambda: uploads.to_master(lean),
        lambda: uploads.to_volumes(bench.volumes()))
    cpu = cpu_seconds([master.pid]) - cpu
    peak = max(peak_mb(master), peak_mb(lean))
    size, beside = size_text(s.big), "3 uploads to the volumes"
    yield (Line("put1g", f"PUT of {size}", median(with_md5), "s").against(median(direct), beside)
           .ratio_at_most(1.5))
    yield (Line("put1g", f"PUT of {size}, -md5sum=false", median(without), "s")
           .against(median(direct), beside).ratio_at_most(1.25))
    yield Line("put1g", "CPU of the master for each", cpu / s.few, "s")
    yield Line("put1g", "peak RSS of the master", peak, "MB").at_most(32)


@row("put16", "16 PUTs of 64 MB at once")
def put_many_big(bench):
    s = bench.settings
    uploads = Uploads(bench, s.middle)
    master = bench.master()
    serial, parallel = load.alternate(s.few, lambda: uploads.one_at_a_time(master, 16),
                                      lambda: uploads.at_once(master, 16))
    peak = peak_mb(master)
    total = 16 * s.middle / MB
    yield (Line("put16", f"16 PUTs of {size_text(s.middle)} at once", total / median(parallel), "MB/s")
           .against(total / median(serial), "one at a time").ratio_at_least(1))
    yield Line("put16", "peak RSS of the master", peak, "MB").at_most(64)


# ---- small values ------------------------------------------------------------------

@row("cycle", "write, read, delete of small values, 16 at once")
def cycle(bench):
    s = bench.settings
    master, yard = bench.master(), bench.yardstick()

    def once():
        before = cpu_seconds([master.pid]), cpu_seconds(bench.volume_workers())
        out = json.loads(load.run([bench.tool("cycle"), "-c", 16, "-t", s.seconds,
                                   master.address], s.seconds))
        after = cpu_seconds([master.pid]), cpu_seconds(bench.volume_workers())
        return out["per_second"], *((b - a) / out["cycles"] * 1e6 for a, b in zip(before, after))

    cycles, constant = load.alternate(s.rounds, once, lambda: nginx_404(bench, yard))
    rate, ours, volumes = map(median, zip(*cycles))
    yield Line("cycle", "write, read, delete of small values, 16 at once", rate, "/s")
    yield (Line("cycle", "CPU of the master for each", ours, "µs")
           .against(volumes, "the volumes").at_most(130))
    yield scaled_line("cycle", "CPU of the master for each", ours,
                      load.median_rate(constant).cpu_us, 130)


def probe(bench, address, path, seconds, rate=PROBE_RATE):
    """A light load of GETs in the background, to see how long each takes."""
    return load.Background([bench.tool("latency"), "-e", 302, "-r", rate, "-t", seconds,
                            address, path], seconds)


def latency_line(name, during, ours, yard):
    return (Line(name, f"p99 of a GET during {during}", median(ours), "ms")
            .against(median(yard), "nginx, return 302, meanwhile").at_most(5))


def steal_line(name, calm):
    return Line(name, f"cores taken by the hypervisor, at most ({calm.left_out} rounds left out)",
                100 * calm.worst, "%")


@row("smallputs", "PUTs of small values by 64 clients")
def small_puts(bench):
    s = bench.settings
    master, yard = bench.master(), bench.yardstick()
    load.expect(201, "PUT", f"http://{master.address}/found", b"value")

    def once():
        before = load.metrics(master, *COMMITS)
        with probe(bench, master.address, "/found", s.seconds) as a, \
                probe(bench, yard.address, "/found", s.seconds) as b:
            out = json.loads(load.run([bench.tool("cycle"), "-p", "-c", 64, "-t", s.seconds,
                                       master.address], s.seconds))
            ours, nginx = (tool.result()[0]["get"]["p99_ms"] for tool in (a, b))
        made, changes = (b - a for a, b in zip(before, load.metrics(master, *COMMITS)))
        return out["per_second"], made / out["seconds"], changes / made, ours, nginx

    calm = calm_rounds(s.rounds, once)
    puts, commits, groups, ours, nginx = zip(*calm.results)
    yield Line("smallputs", "PUTs of small values by 64 clients", median(puts), "/s")
    yield Line("smallputs", "commits", median(commits), "/s")
    yield Line("smallputs", "changes in each commit", median(groups))
    yield latency_line("smallputs", "it", ours, nginx)
    yield steal_line("smallputs", calm)


# ---- many keys, many connections -----------------------------------------------------

def most_anon_kb(pid, background):
    """RssAnon has no high-water mark in the kernel: look at it now and then."""
    most = 0
    while background.running():
        most = max(most, memory_kb(pid)["RssAnon"])
        time.sleep(0.02)
    return most


@row("list", "?list of 1,000,000 keys")
def listing(bench):
    s = bench.settings
    master = bench.master(db=fill(bench, s.many, "-x", "/many/"))
    yard = bench.yardstick()
    load.expect(201, "PUT", f"http://{master.address}/found", b"value")
    drain = [bench.tool("drain"), "-t", s.seconds, master.address, "/many/?list"]
    cold = memory_kb(master.pid)["VmRSS"]
    alone = load.Background([*drain[:1], *drain[3:]], 60).result()
    cold = memory_kb(master.pid)["VmHWM"] - cold

    grown, grown_anon = [], []  # of all rounds, of those left out, too

    def once():
        forget_peak(master.pid)
        before = memory_kb(master.pid)
        with load.Background(drain, s.seconds) as lists, \
                probe(bench, master.address, "/found", s.seconds) as a, \
                probe(bench, yard.address, "/found", s.seconds) as b:
            grown_anon.append(most_anon_kb(master.pid, lists) - before["RssAnon"])
            rate = median(one["keys"] / one["seconds"] for one in lists.result())
            ours, nginx = (tool.result()[0]["get"]["p99_ms"] for tool in (a, b))
        grown.append(memory_kb(master.pid)["VmHWM"] - before["VmRSS"])
        return rate, ours, nginx

    calm = calm_rounds(s.rounds, once)
    rates, ours, nginx = zip(*calm.results)
    if alone[0]["keys"] != s.many:
        raise load.BenchError(f"the listing holds {alone[0]['keys']} keys, not {s.many}")
    yield Line("list", f"?list of {s.many:,} keys, keys", median(rates), "/s").at_least(1_000_000)
    yield Line("list", "RSS grows by", max(grown) / 1024, "MB").at_most(8)
    yield Line("list", "… its own memory (RssAnon)", max(0, max(grown_anon)) / 1024, "MB")
    yield Line("list", "… in the first listing, with the index file's pages", cold / 1024, "MB")
    yield latency_line("list", "listings", ours, nginx)
    yield steal_line("list", calm)


def idle_rss(bench, server, pid, path):
    """Peak RSS in MB with the connections open; they must all still answer."""
    s = bench.settings
    command = [bench.tool("idle"), "-n", s.idle, server.address, path]
    with load.Background(command, 120) as tool:
        opened = json.loads(tool.popen.stdout.readline() or '{"open":0}')["open"]
        time.sleep(1)
        rss = memory_kb(pid)["VmHWM"] / 1024
        alive = (tool.result() or [{"alive": 0}])[-1]["alive"]
    if opened != s.idle or alive != s.idle:
        raise load.BenchError(f"of {s.idle} connections {opened} were answered, {alive} at the end")
    return rss


@row("idle", "10,000 idle connections")
def idle(bench):
    s = bench.settings
    master, yard = bench.master(), bench.yardstick()
    ours = idle_rss(bench, master, master.pid, "/missing")
    nginx = idle_rss(bench, yard, yard.workers()[0], "/missing")
    yield (Line("idle", f"RSS with {s.idle:,} idle connections", ours, "MB")
           .against(nginx, "an nginx worker").at_most(40))
