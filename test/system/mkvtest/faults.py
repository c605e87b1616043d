"""A volume that misbehaves on purpose: a proxy in front of a real one, with a rule for what goes wrong."""
import socket
import threading
import time
from dataclasses import dataclass

from .cluster import free_port


@dataclass
class Exchange:
    """One request of the master, as a rule's action gets it."""
    proxy: "FaultyVolume"
    sock: socket.socket
    stream: object  # what has not been read of the request
    method: str
    path: str
    headers: dict

    def body(self):
        """The body in pieces, without its framing."""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.stream.readline().split(b";")[0] or b"0", 16):
                yield self._exactly(size)
                self.stream.readline()
            self.stream.readline()
        else:
            left = int(self.headers.get("content-length", 0))
            while left:
                piece = self._exactly(min(left, 65536))
                left -= len(piece)
                yield piece

    def _exactly(self, size):
        data = self.stream.read(size)
        if len(data) < size:
            raise ConnectionError("the master closed in the middle of a body")
        return data

    def expects_continue(self):
        return self.headers.get("expect", "").lower() == "100-continue"


# --- actions: what goes wrong.  Each answers, or raises ConnectionError to have the connection closed.

def hang(exchange):
    """Reads nothing more and never answers."""
    exchange.proxy.stopped.wait()
    raise ConnectionError


def answer(status, body=b""):
    """Takes the whole request, stores nothing."""
    def act(exchange):
        for _ in exchange.body():
            pass
        exchange.sock.sendall(b"HTTP/1.1 %d Fault\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
    return act


def early(status):
    """Answers before the body, which it then never reads."""
    def act(exchange):
        exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # the kernel takes no body for it
        exchange.sock.sendall(b"HTTP/1.1 %d Fault\r\nContent-Length: 0\r\n\r\n" % status)
        exchange.proxy.stopped.wait(3)
        raise ConnectionError
    return act


def close(exchange):
    raise ConnectionError


def close_after(size):
    """Reads so much of the body, then closes."""
    def act(exchange):
        got = 0
        for piece in exchange.body():
            got += len(piece)
            if got >= size:
                break
        raise ConnectionError
    return act


def stall_after(size):
    """Reads so much of the body, then nothing more, but stays connected."""
    def act(exchange):
        got = 0
        for piece in exchange.body():
            got += len(piece)
            if got >= size:
                break
        hang(exchange)
    return act


def say(data):
    """Sends these bytes in place of an answer, then closes."""
    def act(exchange):
        for _ in exchange.body():
            pass
        exchange.sock.sendall(data)
        raise ConnectionError
    return act


def slow(seconds):
    """Does as asked, but each piece of the body (64 KB) takes so long."""
    return lambda exchange: forward(exchange, seconds)


def forward(exchange, seconds_per_piece=0.0):
    """What a good volume does: hands everything to the real one."""
    if exchange.expects_continue():
        exchange.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    lines = [f"{exchange.method} {exchange.path} HTTP/1.1"]
    for name, value in exchange.headers.items():
        if name not in ("connection", "expect", "content-length", "transfer-encoding"):
            lines.append(f"{name}: {value}")
    lines.append("connection: close")
    chunked = exchange.headers.get("transfer-encoding") == "chunked"
    if chunked:
        lines.append("transfer-encoding: chunked")
    elif "content-length" in exchange.headers:
        lines.append(f"content-length: {exchange.headers['content-length']}")
    with socket.create_connection(("127.0.0.1", exchange.proxy.backend), timeout=30) as real:
        real.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        for piece in exchange.body():
            if seconds_per_piece:
                time.sleep(seconds_per_piece)
            real.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            real.sendall(b"0\r\n\r\n")
        got = b""
        while data := real.recv(1 << 20):
            got += data
    head, blank, body = got.partition(b"\r\n\r\n")
    exchange.sock.sendall(head.replace(b"Connection: close", b"Connection: keep-alive") + blank + body)


class FaultyVolume:
    """Listens like a volume.  Without a rule everything reaches the real one behind it.

    volume.when(faults.answer(500), method="PUT") makes a rule; times=1 ends it after one request; clear() ends all."""

    def __init__(self, real, host="localhost"):
        self.backend, self.port = real.port, free_port()
        self.real, self.name = real, f"{host}:{self.port}"
        self.rules, self.requests, self.lock = [], [], threading.Lock()
        self.stopped, self.listener, self.connections = None, None, set()
        self.start()

    def start(self):
        self.stopped = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, args=(self.listener, self.stopped), daemon=True).start()

    def refuse(self):
        """Stops listening and breaks what is open: connections are refused from now on."""
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.break_connections()

    def break_connections(self):
        with self.lock:
            for sock in self.connections:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # closed by the other side already

    def stop(self):
        if not self.stopped.is_set():
            self.refuse()

    def when(self, action, method=None, path="", times=None):
        with self.lock:
            self.rules.append([action, method, path, times])

    def clear(self):
        with self.lock:
            self.rules.clear()
            self.requests.clear()

    def seen(self, method=None):
        with self.lock:
            return [path for asked, path in self.requests if method in (None, asked)]

    def files(self):
        return self.real.files()

    # --- inside

    def _accept(self, listener, stopped):
        while not stopped.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _action(self, method, path):
        with self.lock:
            self.requests.append((method, path))
            for rule in self.rules:
                action, wanted, part, times = rule
                if wanted in (None, method) and part in path and times != 0:
                    if times is not None:
                        rule[3] -= 1
                    return action
        return forward

    def _serve(self, sock):
        try:
            stream = sock.makefile("rb")
            while True:
                head = []
                while (line := stream.readline()) not in (b"\r\n", b""):
                    head.append(line.rstrip(b"\r\n").decode("latin-1"))
                if not head:
                    return
                method, path, _ = head[0].split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                exchange = Exchange(self, sock, stream, method, path, headers)
                self._action(method, path)(exchange)
        except (OSError, ValueError):
            pass  # either side broke the connection: that is what it is for
        finally:
            with self.lock:
                self.connections.discard(sock)
            sock.close()
