"""The rows of S3 objects: large and small ones, read and written, signed."""

import base64
import hashlib
import time
from pathlib import Path
from statistics import median

from . import load, s3
from .procs import cpu_seconds
from .rows import MB, RANDOM_LUA, Uploads, fill, peak_mb, row, size_text, source_file
from .table import Line

SIGNED_LUA = Path(__file__).resolve().parent.parent / "signed.lua"
SMALL = 16 * 1024
CLIENTS = 64


def s3_master(bench, **more):
    master = bench.master("-keys", s3.keys_file(bench), **more)
    s3.request("PUT", master.address, "/bench", 200)
    return master


def curl(arguments, url):
    """Seconds that one curl takes."""
    began = time.monotonic()
    load.run(["curl", "-sS", "--fail", "--noproxy", "*", "-o", "/dev/null", *arguments, url], 600)
    return time.monotonic() - began


def file_of(bench, key):
    """The URL of a value's file on one of the volumes that has it."""
    name = base64.b64encode(key.encode()).decode()
    digest = hashlib.md5(key.encode()).hexdigest()
    for volume in bench.volumes():
        for path in volume.directory.glob(f"sv*/{digest[:2]}/{digest[2:4]}/{name}"):
            return f"http://{volume.address}/{path.relative_to(volume.directory)}"
    raise load.BenchError(f"no volume has the file of {key}")


def put_file(master, file, path, payload):
    return curl(["-T", file, *s3.curl_headers("PUT", master.address, path, payload)],
                f"http://{master.address}{path}")


@row("s3get1g", "GET of 1 GB through the master, signed")
def get_big(bench):
    s = bench.settings
    master = s3_master(bench)
    file = source_file(bench, s.big)
    put_file(master, file, "/bench/big", s3.UNSIGNED)
    direct_url = file_of(bench, "/bench/big")
    before = cpu_seconds([master.pid])

    def ours():
        return curl(s3.curl_headers("GET", master.address, "/bench/big", s3.EMPTY),
                    f"http://{master.address}/bench/big")

    through, direct = load.alternate(s.few, ours, lambda: curl([], direct_url))
    cpu = (cpu_seconds([master.pid]) - before) / s.few
    peak = peak_mb(master)
    s3.request("DELETE", master.address, "/bench/big", 204)
    yield (Line("s3get1g", f"GET of {size_text(s.big)}", s.big / MB / median(through), "MB/s")
           .against(s.big / MB / median(direct), "curl from the volume").ratio_at_least(0.7))
    yield Line("s3get1g", "CPU of the master for each", cpu, "s")
    yield Line("s3get1g", "peak RSS of the master", peak, "MB").at_most(32)


@row("s3get16k", "GET of 16 KB objects by 64 clients, signed")
def get_small(bench):
    s = bench.settings
    keys, paths, requests = bench.fresh("keys"), bench.fresh("paths"), bench.fresh("requests")
    dirs = ",".join(str(v.directory) for v in bench.volumes())
    count = min(s.files, 5000)
    db = fill(bench, count, "-f", dirs, "-k", keys, "-p", paths, "-x", "/bench/small-", "-s", SMALL)
    master = s3_master(bench, db=db)
    volume = bench.volumes()[0]

    def ours():
        # Signed anew each time: a signature holds for 15 minutes.
        with open(requests, "w", encoding="ascii") as out:
            for key in keys.read_text().split():
                headers = s3.signed("GET", master.address, key, s3.EMPTY)
                print(key, headers["x-amz-date"], headers["authorization"], sep="\t", file=out)
        return load.wrk(f"http://{master.address}", s.seconds, [master.pid], script=SIGNED_LUA,
                        args=[s3.EMPTY, str(requests)], connections=CLIENTS)

    signed, plain = load.alternate(
        s.rounds, ours,
        lambda: load.wrk(f"http://{volume.address}", s.seconds, volume.workers(),
                         script=RANDOM_LUA, args=["GET", str(paths)], connections=CLIENTS))
    signed, plain = load.median_rate(signed), load.median_rate(plain)
    yield (Line("s3get16k", f"GET of 16 KB objects, {CLIENTS} connections, signed",
                signed.per_second, "/s")
           .against(plain.per_second, "wrk straight on a volume").ratio_at_least(0.4))
    yield (Line("s3get16k", "CPU for each", signed.cpu_us, "µs")
           .against(plain.cpu_us, "the volume").at_most(60))


@row("s3put1g", "PUT of 1 GB through S3, signed")
def put_big(bench):
    s = bench.settings
    uploads = Uploads(bench, s.big)
    native, master = bench.master(), s3_master(bench)
    with open(uploads.file, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()

    def timed(payload):
        seconds = put_file(master, uploads.file, "/bench/big", payload)
        s3.request("DELETE", master.address, "/bench/big", 204)
        return seconds

    unsigned, hashed, plain = load.alternate(
        s.few, lambda: timed(s3.UNSIGNED), lambda: timed(digest),
        lambda: uploads.to_master(native))
    size = size_text(s.big)
    yield (Line("s3put1g", f"PUT of {size}, UNSIGNED-PAYLOAD", median(unsigned), "s")
           .against(median(plain), "the native PUT").ratio_at_most(1.1))
    yield (Line("s3put1g", f"PUT of {size}, with payload hash", median(hashed), "s")
           .against(median(plain), "the native PUT").ratio_at_most(1.4))
    yield Line("s3put1g", "peak RSS of the master", peak_mb(master), "MB").at_most(32)
