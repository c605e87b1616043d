"""The row of uploads in parts: what a client does with a large file."""

import hashlib
import http.client
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from . import load
from .procs import BenchError, cpu_seconds
from .rows import MB, Uploads, peak_mb, row, size_text, source_file
from .table import Line

PART = 8 * MB
AT_ONCE = 8
SECONDS = 600


def ask(address, method, target, status, body=None):
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    connection.request(method, target, body)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != status or b"<Error>" in text:
        raise BenchError(f"{method} {target}: status {answer.status}: {text[:200]!r}")
    return text


class Parts:
    """Uploads of a value whose parts are all the same 8 MB."""

    def __init__(self, bench, size):
        self.file = source_file(bench, PART)
        self.etag = hashlib.md5(self.file.read_bytes()).hexdigest()
        self.numbers = range(1, size // PART + 1)
        self.count = 0
        self.completes = []

    def _send(self, address, target, numbers):
        """By one curl, over one connection."""
        words = ["curl", "-sS", "--fail", "--noproxy", "*"]
        for number in numbers:
            words += ["-T", str(self.file), f"http://{address}{target}&partNumber={number}"]
        load.run(words, SECONDS)

    def _complete(self, address, target):
        named = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{self.etag}</ETag></Part>"
                        for number in self.numbers)
        ask(address, "POST", target, 200,
            f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode())

    def upload(self, master):
        """Seconds from the first request to the last answer."""
        self.count += 1
        key = f"/bench/multi-{self.count}"
        began = time.monotonic()
        text = ask(master.address, "POST", key + "?uploads", 200)
        target = f"{key}?uploadId={re.search(b'<UploadId>(.*)</UploadId>', text)[1].decode()}"
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda i: self._send(master.address, target, self.numbers[i::AT_ONCE]),
                          range(AT_ONCE)))
        sent = time.monotonic()
        self._complete(master.address, target)
        ended = time.monotonic()
        self.completes.append(ended - sent)
        load.expect(204, "DELETE", f"http://{master.address}{key}")
        os.sync()
        return ended - began


@row("s3multi", "upload of 1 GB in parts of 8 MB, 8 at once")
def s3_multi(bench):
    s = bench.settings
    parts, uploads = Parts(bench, s.big), Uploads(bench, s.big)
    master, native = bench.master(), bench.master()
    cpu = cpu_seconds([master.pid])
    ours, whole = load.alternate(s.few, lambda: parts.upload(master),
                                 lambda: uploads.to_master(native))
    cpu = cpu_seconds([master.pid]) - cpu
    what = f"{size_text(s.big)} in parts of {size_text(PART)}, {AT_ONCE} at once"
    yield (Line("s3multi", what, median(ours), "s").against(median(whole), "native PUT of it all")
           .ratio_at_most(2.2))
    yield Line("s3multi", "… Complete alone", median(parts.completes), "s")
    yield Line("s3multi", "CPU of the master for each", cpu / s.few, "s")
    yield Line("s3multi", "peak RSS of the master", peak_mb(master), "MB").at_most(64)
