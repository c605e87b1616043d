"""A raw HTTP/1.1 client: sends exactly the bytes it is told to, and reads answers strictly."""
import select
import socket
import urllib.parse
from dataclasses import dataclass, field

TIMEOUT = 20


def encode(key) -> str:
    """A key as it goes into a request line."""
    if isinstance(key, str):
        key = key.encode()
    return urllib.parse.quote(key, safe="/-._~")


@dataclass
class Answer:
    status: int
    reason: str
    headers: list = field(default_factory=list)  # (name in lower case, value)
    body: bytes = b""

    def header(self, name):
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode()


class Closed(Exception):
    """The server closed the connection where an answer was due."""


class Connection:
    def __init__(self, port, host="127.0.0.1", timeout=TIMEOUT, receive_buffer=None):
        self.sock = socket.socket(socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect((host, port))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with RST: what a killed client looks like."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # --- requests

    def send_head(self, method, target, headers=(), version="1.1"):
        lines = [f"{method} {target} HTTP/{version}"]
        if version == "1.1" and not any(name.lower() == "host" for name, _ in headers):
            lines.append("Host: test")
        lines += [f"{name}: {value}" for name, value in headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send_chunk(self, data):
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def request(self, method, target, body=None, headers=(), chunked=False):
        """One request and its answer.  A body is sent whole before anything is read: for early answers, send and read
        by hand."""
        headers = list(headers)
        if body is not None:
            headers.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body)))
        self.send_head(method, target, headers)
        try:
            if body and chunked:
                for at in range(0, len(body), 100_000):
                    self.send_chunk(body[at:at + 100_000])
            elif body:
                self.send(body)
            if body is not None and chunked:
                self.send(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused early: the answer is there to be read
        return self.answer(method)

    # --- answers

    def _more(self):
        data = self.sock.recv(262144)
        if not data:
            raise Closed(f"closed after {self.buffer[:200]!r}")
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _bytes(self, count):
        pieces, have = [self.buffer], len(self.buffer)
        while have < count:
            data = self.sock.recv(min(1 << 20, max(count - have, 1)))
            if not data:
                raise Closed(f"closed {count - have} bytes before the end of the body")
            pieces.append(data)
            have += len(data)
        data = b"".join(pieces)
        self.buffer = data[count:]
        return data[:count]

    def interim(self):
        """The head of one answer, 100 Continue too."""
        version, status, reason = self._line().decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1", version
        answer = Answer(int(status), reason)
        while line := self._line():
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon and name == name.strip(), line
            answer.headers.append((name.lower(), value.strip()))
        return answer

    def answer(self, method="GET"):
        answer = self.interim()
        while answer.status == 100:
            answer = self.interim()
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if answer.header("Transfer-Encoding") == "chunked":
            assert answer.header("Content-Length") is None
            pieces = []
            while size := int(self._line().split(b";")[0], 16):
                pieces.append(self._bytes(size))
                assert self._line() == b""
            while self._line():
                pass
            answer.body = b"".join(pieces)
        elif answer.header("Content-Length") is not None:
            answer.body = self._bytes(int(answer.header("Content-Length")))
        else:
            answer.body = self.rest()
        return answer

    def rest(self):
        """Everything until the server closes."""
        while True:
            try:
                self._more()
            except Closed:
                data, self.buffer = self.buffer, b""
                return data

    def is_closed(self, within=TIMEOUT):
        """True once the server has closed, without sending any more."""
        self.sock.settimeout(within)
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def is_quiet(self, seconds):
        """True where nothing arrives for so long: no bytes, no close."""
        return not self.buffer and not select.select([self.sock], [], [], seconds)[0]


def request(port, method, target, body=None, headers=(), chunked=False, timeout=TIMEOUT):
    """One request on a connection of its own."""
    with Connection(port, timeout=timeout) as connection:
        return connection.request(method, target, body, headers, chunked)
