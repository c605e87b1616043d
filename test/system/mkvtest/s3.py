"""What the tests of S3 share: servers with keys, AWS signatures (version 4) written again here in plain Python, clients
that see nothing of this machine's configuration, and comparisons."""
import base64
import hashlib
import hmac
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as ET
import zlib
from dataclasses import dataclass

from . import http, jobs
from .cluster import ROOT, SANITIZED, as_bytes

REGION = "mkv"
EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Key:
    access: str
    secret: str


ADMIN = Key("MKVADMIN0000000000AD", "an/admins+secret=0123456789")   # everything
OTHER = Key("MKVOTHER0000000000OT", "another-secret-0123456789")     # everything, but somebody else
LIMITED = Key("MKVLIMITED00000000LI", "limited-secret-0123456789")   # the bucket "limited"
READER = Key("MKVREADER000000000RE", "readers-secret-0123456789")    # the same, reads only
NOBODY = Key("MKVNOBODY000000000NO", "nobodys-secret-0123456789")    # not in the file
KEYS = f"""# who may do what
{ADMIN.access} {ADMIN.secret}
{OTHER.access} {OTHER.secret}
{LIMITED.access} {LIMITED.secret} limited
{READER.access} {READER.secret} limited:r
"""


# --- signatures


def _mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def md5(data):
    return hashlib.md5(data).hexdigest()


def md5_base64(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def quote(text):
    return urllib.parse.quote(text, safe="-._~")


def _pairs(query):
    """The decoded pairs of a query, in order; a name alone has the value ''."""
    return [(urllib.parse.unquote_to_bytes(name), urllib.parse.unquote_to_bytes(value))
            for name, _, value in (piece.partition("=") for piece in query.split("&") if piece)]


def _canonical_query(query):
    return "&".join(f"{name}={value}" for name, value in sorted((quote(n), quote(v)) for n, v in _pairs(query)))


@dataclass
class Signed:
    """A signed head, and what the signatures of chunks grow from."""
    headers: list
    signature: str
    date: str = ""
    scope: str = ""
    key: bytes = b""

    def _next(self, previous, kind, *hashes):
        return _mac(self.key, "\n".join([kind, self.date, self.scope, previous, *hashes])).hex()

    def chunks(self, pieces, trailer=None):
        """One frame for each piece, then the last one; trailer: [(name, value)], signed in a frame of its own."""
        frames, previous = [], self.signature
        for piece in [*pieces, b""]:
            previous = self._next(previous, "AWS4-HMAC-SHA256-PAYLOAD", EMPTY, sha256(piece))
            head = b"%x;chunk-signature=%b\r\n" % (len(piece), previous.encode())
            frames.append(head + (piece + b"\r\n" if piece or trailer is None else b""))
        if trailer is not None:
            lines = "".join(f"{name}:{value}\n" for name, value in trailer)
            signature = self._next(previous, "AWS4-HMAC-SHA256-TRAILER", sha256(lines.encode()))
            sent = "".join(f"{name}:{value}\r\n" for name, value in trailer)
            frames.append(f"{sent}x-amz-trailer-signature:{signature}\r\n\r\n".encode())
        return frames


def unsigned_chunks(pieces, trailer=()):
    """aws-chunked without signatures, as boto3 and the JavaScript SDK send it."""
    frames = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return frames + [b"0\r\n" + "".join(f"{name}:{value}\r\n" for name, value in trailer).encode() + b"\r\n"]


@dataclass
class Signer:
    key: Key
    region: str = REGION
    skew: int = 0  # seconds that this client's clock is wrong
    host: str = "test"

    def _now(self):
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + self.skew))

    def _key(self, scope):
        key = ("AWS4" + self.key.secret).encode()
        for part in scope.split("/"):
            key = _mac(key, part)
        return key

    def _sign(self, method, path, query, headers, payload, date):
        scope = f"{date[:8]}/{self.region}/s3/aws4_request"
        joined = {}
        for name, value in headers:
            joined.setdefault(name.lower(), []).append(" ".join(str(value).split()))
        lines = "".join(f"{name}:{','.join(values)}\n" for name, values in sorted(joined.items()))
        path = urllib.parse.quote(urllib.parse.unquote_to_bytes(path), safe="/-._~")
        canonical = "\n".join([method, path, _canonical_query(query), lines, ";".join(sorted(joined)), payload])
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, sha256(canonical.encode("latin-1"))])
        return _mac(self._key(scope), text).hex(), scope, ";".join(sorted(joined))

    def sign(self, method, target, headers=(), payload=UNSIGNED):
        """The head for a target as it stands in the request line, with every header signed.  payload: of
        x-amz-content-sha256; None leaves that header out, as curl 7.88 does."""
        path, _, query = target.partition("?")
        date = self._now()
        headers = [("Host", self.host), ("x-amz-date", date), *headers]
        if payload is not None:
            headers.append(("x-amz-content-sha256", payload))
        signature, scope, names = self._sign(method, path, query, headers, payload or EMPTY, date)
        headers.append(("Authorization", f"AWS4-HMAC-SHA256 Credential={self.key.access}/{scope}, "
                                         f"SignedHeaders={names}, Signature={signature}"))
        return Signed(headers, signature, date, scope, self._key(scope))

    def presign(self, method, target, seconds=60, headers=()):
        """The target with its signature in the query; Host and the given headers are signed."""
        path, _, query = target.partition("?")
        date = self._now()
        names = ";".join(sorted(["host", *(name.lower() for name, _ in headers)]))
        pieces = [query] if query else []
        pieces += ["X-Amz-Algorithm=AWS4-HMAC-SHA256",
                   "X-Amz-Credential=" + quote(f"{self.key.access}/{date[:8]}/{self.region}/s3/aws4_request"),
                   f"X-Amz-Date={date}", f"X-Amz-Expires={seconds}", "X-Amz-SignedHeaders=" + quote(names)]
        query = "&".join(pieces)
        signature, _, _ = self._sign(method, path, query, [("Host", self.host), *headers], UNSIGNED, date)
        return f"{path}?{query}&X-Amz-Signature={signature}"


# --- checksums


def _crc_table(polynomial):
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


def _crc(data, table, mask):
    value = mask
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ mask


_CRC32C, _CRC64NVME = _crc_table(0x82F63B78), _crc_table(0x9A6C9329AC4BC9B5)

CHECKSUMS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: _crc(data, _CRC32C, (1 << 32) - 1).to_bytes(4, "big"),
    "CRC64NVME": lambda data: _crc(data, _CRC64NVME, (1 << 64) - 1).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}


def checksum(kind, data):
    """As it stands in x-amz-checksum-KIND.  CRC32C and CRC64NVME are slow here: small data only."""
    return base64.b64encode(CHECKSUMS[kind](data)).decode()


# --- raw requests


@dataclass
class Raw:
    """Requests whose every byte the test chooses."""
    port: int
    signer: Signer  # None: nothing is signed

    def head(self, method, target, headers=(), payload=UNSIGNED):
        if not self.signer:
            extra = [] if payload is None else [("x-amz-content-sha256", payload)]
            return Signed([("Host", "test"), *headers, *extra], "")
        return self.signer.sign(method, target, headers, payload)

    def request(self, method, target, body=None, headers=(), payload=UNSIGNED, timeout=http.TIMEOUT):
        return http.request(self.port, method, target, body, self.head(method, target, headers, payload).headers,
                            timeout=timeout)

    def put(self, target, body, headers=()):
        return self.request("PUT", target, body, headers, sha256(body))

    def get(self, target, headers=()):
        return self.request("GET", target, None, headers)


def code(answer):
    """The Code of an error's XML, None where the answer is none.  A key in it may be one that XML can not carry."""
    found = re.search(rb"<Error><Code>(\w+)</Code>", answer.body)
    return found.group(1).decode() if found else None


def texts(answer, name):
    """Every element of that name, in order, whatever its namespace."""
    return [element.text or "" for element in ET.fromstring(answer.body).iter() if element.tag.rpartition("}")[2] == name]


# --- servers


class Server:
    """A master that speaks S3, with or without -keys."""

    def __init__(self, cluster, directory, keys):
        self.cluster, self.master, self.directory, self.keys_file = cluster, cluster.master, pathlib.Path(directory), keys
        self.port, self.endpoint = self.master.port, f"http://127.0.0.1:{self.master.port}"
        self.key = ADMIN
        self._clients = []

    @property
    def keys(self):
        return self.keys_file is not None

    def raw(self, key=ADMIN, **options):
        """key None: unsigned."""
        return Raw(self.port, Signer(key, **options) if key else None)

    def boto3(self, key=ADMIN, **options):
        """A client of python3-boto3, path style; options are botocore.config.Config's."""
        client = boto3_client(self.endpoint, key, **options)
        self._clients.append(client)
        return client

    def make_bucket(self, name):
        answer = self.raw().request("PUT", "/" + name)
        assert answer.status == 200, answer
        return name

    def dump(self):
        """Every bucket and every record of the index, whoever may ask the server for them."""
        return [json.loads(line) for line in jobs.index(self.master.db, "dump").expect(0).out.splitlines()]

    def records(self):
        """{key: record} of the keys alone."""
        return {bytes.fromhex(r["key_hex"]) if "key_hex" in r else as_bytes(r["key"]): r for r in self.dump()
                if "key" in r or "key_hex" in r}

    def state(self):
        """All that the store holds; what a refused request must leave as it is."""
        return self.dump(), self.uploads(), self.spooled(), self.cluster.files()

    def uploads(self):
        """How many uploads in parts have begun."""
        return jobs.index(self.master.db, "-json", "stat").expect(0).json["uploads"]

    def spooled(self):
        """The files in which parts wait."""
        return sorted(name for _, _, names in os.walk(self.master.db / "spool") for name in names)

    def end(self):
        for client in self._clients:
            client.close()


def boto3_client(endpoint, key, **options):
    import boto3
    import botocore.config
    import botocore.session
    nothing = {name: (None, None, default, None) for name, default in
               (("profile", None), ("config_file", os.devnull), ("credentials_file", os.devnull))}
    session = boto3.Session(key.access, key.secret, region_name=REGION,
                            botocore_session=botocore.session.Session(session_vars=nothing))
    options.setdefault("retries", {"max_attempts": 0})
    options.setdefault("signature_version", "s3v4")
    options["s3"] = {"addressing_style": "path", **options.get("s3", {})}
    config = botocore.config.Config(proxies={}, connect_timeout=20, read_timeout=120, **options)
    return session.client("s3", endpoint_url=endpoint, config=config)


def write_keys(path, text=KEYS, mode=0o600):
    """A keys file as it must be: never readable by others, not even for a moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    path.chmod(mode)
    return path


# --- clients that are programs


def find_program(name):
    """Debian's before any other; the test that needs it fails where there is none."""
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    assert found, f"{name} is not installed: test/run installs it"
    return found


class Client:
    """Programs in a home of their own, with nothing of this machine's configuration in reach."""

    def __init__(self, directory, **environment):
        self.home, self.work = pathlib.Path(directory) / "home", pathlib.Path(directory) / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8",
                            "TMPDIR": str(self.home), "NO_PROXY": "*", "no_proxy": "*",
                            "AWS_EC2_METADATA_DISABLED": "true", **environment}

    def configure(self, name, text, mode=0o600):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(self, program, *words, status=0, stdin=b"", timeout=300, environment=None):
        """Runs it in self.work; returns what it wrote.  status: what it must exit with, None: anything but a signal."""
        command = [find_program(program), *(os.fsencode(str(w)) if not isinstance(w, bytes) else w for w in words)]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False, cwd=self.work,
                              env={**self.environment, **(environment or {})})
        said = f"{command}: exit {done.returncode}\n{done.stdout[-4000:].decode(errors='replace')}\n" \
               f"{done.stderr[-4000:].decode(errors='replace')}"
        assert done.returncode == status if status is not None else done.returncode >= 0, said
        return done.stdout.decode(errors="replace") + (done.stderr.decode(errors="replace") if status != 0 else "")

    def file(self, name, data, mtime=None):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path


def bytes_of(size, seed=0):
    """Bytes that neither compress nor repeat, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def tree_of(directory):
    """{relative path: contents}, and None for a directory that is empty."""
    directory, found = pathlib.Path(directory), {}
    for path in directory.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(directory))] = path.read_bytes()
        elif path.is_dir() and not any(path.iterdir()):
            found[str(path.relative_to(directory))] = None
    return found


def sample_tree():
    """{relative path: contents} with names and sizes that clients meet in life."""
    return {"empty": b"", "one": b"1", "with space": b"space", "umläut-é-日本": "ü".encode(), "plus+and&=": b"plus",
            "deep/er/and/deeper": b"deep", "deep/er/beside": b"beside", "deep/%41": b"percent",
            "large": bytes_of(300_000, 7)}


def write_tree(directory, tree):
    """Files of a minute ago: S3 knows whole seconds, so one that is stored in the second in which it was written looks
    older there, and would be stored again."""
    then = time.time() - 60
    for name, data in tree.items():
        path = pathlib.Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (then, then))


# Large enough for several parts of 5 or 8 MB each; smaller under the sanitizers.
LARGE = (24 if SANITIZED else 100) * MEGABYTE
CLIENTS = ROOT / "test" / "clients"
