"""Requests that a master with -keys takes: signature version 4, by the book."""

import datetime
import hashlib
import hmac
import http.client
import os
from urllib.parse import quote

from .procs import BenchError

ACCESS, SECRET, REGION = "BENCHKEY", "bench-secret", "mkv"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()


def keys_file(bench):
    path = bench.fresh("keys")
    path.touch(mode=0o600)
    path.write_text(f"{ACCESS} {SECRET}\n")
    os.chmod(path, 0o600)
    return str(path)


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed(method, address, path, payload=UNSIGNED, query=""):
    """The headers of such a request, Host among them."""
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{date[:8]}/{REGION}/s3/aws4_request"
    headers = {"host": address, "x-amz-content-sha256": payload, "x-amz-date": date}
    names = ";".join(sorted(headers))
    canonical = "\n".join([method, quote(path, safe="/-._~"), query,
                           *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names,
                           payload])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope,
                         hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, "
                                f"SignedHeaders={names}, Signature={_hmac(key, to_sign).hex()}")
    return headers


def request(method, address, path, status, payload=EMPTY, body=None):
    """One request; anything but the status that is expected ends the row."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request(method, path, body=body, headers=signed(method, address, path, payload))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != status:
        raise BenchError(f"{method} {path}: status {answer.status}, expected {status}: {text[:300]!r}")
    return text


def curl_headers(method, address, path, payload=UNSIGNED):
    """The same as curl's arguments."""
    return [part for name, value in signed(method, address, path, payload).items()
            for part in ("-H", f"{name}: {value}")]
