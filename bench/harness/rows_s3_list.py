"""The rows of S3's listings: pages of a large bucket, and common prefixes."""

import http.client
import re
import time
from statistics import median

from . import load
from .procs import BenchError, cpu_seconds, forget_peak, memory_kb
from .rows import fill, row
from .table import Line

PAGE = 1000  # keys, or common prefixes: the most that S3 shows at once


class Bucket:
    """One client on one connection, as an SDK's paginator asks."""

    def __init__(self, master):
        self.connection = http.client.HTTPConnection(master.address, timeout=60)

    def page(self, query):
        """(entries, the next page's token or None)"""
        self.connection.request("GET", "/bucket?list-type=2" + query)
        answer = self.connection.getresponse()
        body = answer.read()
        count = re.search(rb"<KeyCount>(\d+)</KeyCount>", body)
        if answer.status != 200 or not count or not body.endswith(b"</ListBucketResult>"):
            raise BenchError(f"a listing was answered with {answer.status}: {body[:200]!r}")
        token = re.search(rb"<NextContinuationToken>([^<]+)<", body)
        return int(count[1]), token and token[1].decode()

    def walk(self):
        """(entries, pages, seconds) of all of it."""
        entries, pages, token, began = 0, 0, None, time.monotonic()
        while pages == 0 or token:
            count, token = self.page("&continuation-token=" + token if token else "")
            entries, pages = entries + count, pages + 1
        return entries, pages, time.monotonic() - began


@row("s3list", "ListObjectsV2 of 1,000,000 keys, page by page")
def pages_of_a_bucket(bench):
    s = bench.settings
    master = bench.master(db=fill(bench, s.many, "-x", "/bucket/key-"))
    bucket = Bucket(master)
    rates, cpus, grown = [], [], []
    bucket.walk()  # the index file's pages come into memory
    for _ in range(s.rounds):
        forget_peak(master.pid)
        before, cpu = memory_kb(master.pid)["VmRSS"], cpu_seconds([master.pid])
        entries, pages, seconds = bucket.walk()
        if entries != s.many or pages != s.many // PAGE:
            raise BenchError(f"{entries} keys on {pages} pages, not {s.many} on {s.many // PAGE}")
        rates.append(pages / seconds)
        cpus.append((cpu_seconds([master.pid]) - cpu) / pages * 1e3)
        grown.append(memory_kb(master.pid)["VmHWM"] - before)
    url = f"http://{master.address}/bucket?list-type=2"
    last = f"{url}&start-after=key-{s.many - PAGE - 1:07}"
    first, end = load.alternate(s.rounds,
                                lambda: load.wrk(url, s.seconds, [master.pid], connections=1),
                                lambda: load.wrk(last, s.seconds, [master.pid], connections=1))
    first, end = load.median_rate(first), load.median_rate(end)
    yield Line("s3list", f"ListObjectsV2 of {s.many:,} keys, pages of {PAGE:,}", median(rates),
               "/s").at_least(300)
    yield Line("s3list", "CPU for each", median(cpus), "ms")
    yield (Line("s3list", "CPU for the last one", end.cpu_us / 1e3, "ms")
           .against(first.cpu_us / 1e3, "the first one").ratio_at_most(1.25))
    yield Line("s3list", "RSS grows by", max(grown) / 1024, "MB").at_most(8)


@row("s3delimiter", "ListObjectsV2 with a delimiter, 1,000 common prefixes")
def common_prefixes(bench):
    s = bench.settings
    prefixes = s.many // PAGE
    master = bench.master(db=fill(bench, s.many, "-x", "/bucket/dir", "-D", PAGE))
    bucket = Bucket(master)
    times = []
    until = time.monotonic() + s.rounds * s.seconds
    while time.monotonic() < until:
        began = time.monotonic()
        entries, token = bucket.page("&delimiter=/")
        times.append(time.monotonic() - began)
        if entries != prefixes or token:
            raise BenchError(f"{entries} common prefixes, not {prefixes}")
    yield Line("s3delimiter", f"delimiter, {prefixes:,} common prefixes of {PAGE:,} keys",
               median(times) * 1e3, "ms").at_most(10)
