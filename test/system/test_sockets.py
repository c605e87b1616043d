"""What the kernel was told about the master's connections, read from the master's own descriptors."""
import ctypes
import errno
import os
import socket

import pytest

PIDFD_GETFD = 438  # the system call's number, on every architecture (Linux 5.6)


def is_socket(path):
    try:
        return os.readlink(path).startswith("socket:")
    except FileNotFoundError:
        return False  # closed while we look


def borrow(pidfd, fd):
    """A copy of a process's socket; None where it has just been closed."""
    copy = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, fd, 0)
    if copy >= 0:
        return socket.socket(fileno=copy)
    if ctypes.get_errno() != errno.EBADF:
        pytest.skip(f"a process may not look into another here: {os.strerror(ctypes.get_errno())}")
    return None


def borrowed(pid):
    """Copies of all sockets of a process."""
    pidfd = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            copy = borrow(pidfd, int(name)) if is_socket(f"/proc/{pid}/fd/{name}") else None
            if copy:
                yield copy
    finally:
        os.close(pidfd)


def port_of_peer(sock):
    try:
        return sock.getpeername()[1]
    except OSError:
        return None


def told(pid):
    """By the other side's port: (congestion control, does it write at once) of each connection."""
    answers = {}
    for sock in borrowed(pid):
        with sock:
            port = sock.type == socket.SOCK_STREAM and port_of_peer(sock)
            if port:
                control = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")
                answers[port] = (control, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
    return answers


def test_connections_on_this_machine_are_not_paced(make_cluster):
    cluster = make_cluster()
    with cluster.master.connect() as connection:
        assert connection.request("PUT", "/key", body=b"value").status == 201
        client = connection.sock.getsockname()[1]
        answers = told(cluster.master.pid)
        for port in [client] + [volume.port for volume in cluster.volumes]:
            assert answers[port] == (b"reno", True), port
