"""Clients that the server must get rid of by its timeouts.  They take over a minute, so they are started when the tests
begin and looked at when the others are through."""
import threading
import time

from .cluster import Cluster, Volume, wait_until

LONGEST = 110


class SlowClients:
    def __init__(self, directory):
        self.cluster = Cluster(directory, [Volume(directory / f"volume{i}").start() for i in range(3)])
        master = self.cluster.start_master()
        self.began, self.closed, self.threads, self.connections = time.monotonic(), {}, [], []
        head, trickle, idle, body = (master.connect(timeout=LONGEST) for _ in range(4))
        head.send(b"GET /nope HTTP/1.1\r\nHo")
        trickle.send(b"GET /nope HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert idle.request("GET", "/nope").status == 404
        body.send_head("PUT", "/stalled", [("Content-Length", "10")])
        body.send(b"12345")
        wait_until(lambda: master.keys(operation="writing") == ["/stalled"], "the write has begun")
        for name, connection in (("head", head), ("trickle", trickle), ("idle", idle), ("body", body)):
            self.connections.append(connection)
            self.threads.append(threading.Thread(target=self._watch, args=(name, connection), daemon=True))
        self.threads.append(threading.Thread(target=self._trickle, args=(trickle,), daemon=True))
        for thread in self.threads:
            thread.start()

    def _watch(self, name, connection):
        try:
            answer = connection.rest()
        except OSError as problem:
            answer = repr(problem).encode()
        self.closed[name] = (time.monotonic() - self.began, answer)

    def _trickle(self, connection):
        """A byte now and then does not buy more time."""
        try:
            while "trickle" not in self.closed:
                connection.send(b"x")
                time.sleep(1)
        except OSError:
            pass  # closed, as it should be

    def join(self):
        """{name: (seconds until it was closed, what was answered before)}"""
        for thread in self.threads:
            thread.join(max(0, LONGEST - (time.monotonic() - self.began)))
        return self.closed

    def end(self):
        for connection in self.connections:
            connection.close()
        self.cluster.end()
        for volume in self.cluster.volumes:
            volume.stop()
