"""Load, and what it took: wrk, curl and the tools of bench/*.c."""

import json
import os
import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from statistics import median

from .procs import BenchError, cpu_seconds

SLACK_SECONDS = 60  # beyond the time that a tool was told to take


def run(command, seconds, **more):
    """The tool's standard output; an error with its first complaint otherwise."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=seconds + SLACK_SECONDS, check=False, **more)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{command[0]} did not end in time") from None
    check(command, done.returncode, done.stderr)
    return done.stdout


def check(command, status, stderr):
    if status != 0:
        words = stderr.strip().splitlines() or [f"exit status {status}"]
        raise BenchError(f"{os.path.basename(command[0])}: {words[0]}")


class Background:
    """A tool that runs beside others; result() waits for it."""

    def __init__(self, command, seconds):
        self.command = [str(part) for part in command]
        self.until = time.monotonic() + seconds + SLACK_SECONDS
        self.popen = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def running(self):
        return self.popen.poll() is None

    def result(self):
        try:
            out, err = self.popen.communicate(timeout=max(1, self.until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise BenchError(f"{self.command[0]} did not end in time") from None
        check(self.command, self.popen.returncode, err)
        return [json.loads(line) for line in out.splitlines()]

    def kill(self):
        self.popen.kill()
        self.popen.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.running():
            self.kill()


# ---- requests per second ---------------------------------------------------------

@dataclass
class Rate:
    per_second: float
    cpu_us: float  # of the server, for each request


def median_rate(rates):
    return Rate(median(r.per_second for r in rates), median(r.cpu_us for r in rates))


def wrk(url, seconds, pids, *, error_status=False, script=None, args=(), connections=100):
    """One thread of wrk; the answers must all be errors, or none."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    if script:
        command += ["-s", script]
    command += [url]
    if args:
        command += ["--", *args]
    before = cpu_seconds(pids)
    out = run(command, seconds)
    cpu = cpu_seconds(pids) - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: .*", out)
    if requests == 0 or broken:
        raise BenchError(f"wrk on {url}: {broken[0] if broken else 'no answer at all'}")
    if (int(errors[1]) if errors else 0) != (requests if error_status else 0):
        raise BenchError(f"wrk on {url}: not the status expected: {errors and errors[0]}")
    return Rate(float(re.search(r"Requests/sec:\s*([\d.]+)", out)[1]), cpu / requests * 1e6)


def alternate(rounds, *measures):
    """Calls the measures in turn, so that what disturbs one disturbs all;
    one list of results for each."""
    results = [[] for _ in measures]
    for _ in range(rounds):
        for result, measure in zip(results, measures):
            result.append(measure())
    return results


# ---- single requests and uploads -------------------------------------------------

class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def status_of(method, url, body=None):
    opener = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, method=method)
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as answer:
        return answer.code


def expect(status, method, url, body=None):
    got = status_of(method, url, body)
    if got != status:
        raise BenchError(f"{method} {url}: status {got}, expected {status}")


def upload(file, *groups, seconds=600):
    """Seconds until every group of URLs is uploaded: the groups at once, each by one
    curl, the URLs of a group one after the other over its connection."""
    commands = [["curl", "-sS", "--fail", "--noproxy", "*", "-w", "%{http_code}\n"]
                + [part for url in urls for part in ("-T", str(file), "-o", "/dev/null", url)]
                for urls in groups]
    began = time.monotonic()
    curls = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
             for c in commands]
    try:
        for urls, curl in zip(groups, curls):
            out, err = curl.communicate(timeout=max(1, began + seconds - time.monotonic()))
            check(["curl"], curl.returncode, err)
            if out.split() != ["201"] * len(urls):
                raise BenchError(f"curl: status {out.split()}, expected 201")
    except subprocess.TimeoutExpired:
        raise BenchError("curl did not end in time") from None
    finally:
        for curl in curls:
            if curl.poll() is None:
                curl.kill()
                curl.communicate()
    return time.monotonic() - began


# ---- the admin port ----------------------------------------------------------------

def metrics(master, *names):
    """Those samples of /metrics, named with their labels."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{master.admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    missing = [name for name in names if name not in found]
    if missing:
        raise BenchError(f"/metrics of the master has no {missing[0]}")
    return [found[name] for name in names]
