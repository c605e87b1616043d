"""The commands around the programs."""
import os
import re
import signal
import socket
import subprocess

import pytest

from mkvtest.cluster import ROOT, free_port, is_listening, wait_until


def test_check_layers_can_fail():
    done = subprocess.run([ROOT / "test" / "check-layers", "--self-test"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_quickstart_check():
    """Builds, starts everything, stores, reads and deletes a value, stops everything."""
    done = subprocess.run([ROOT / "quickstart", "--check"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stored, found, listed and deleted" in done.stdout


def free_ports():
    """The five that quickstart will use."""
    port = free_port(1, 2, 3, 10)
    return [port, port + 1, port + 2, port + 3, port + 10]


def heed_interrupts():
    """A shell in the background ignores Ctrl-C, and so would all that the tests start there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=lambda sig: sig.name)
def test_quickstart(tmp_path, sig):
    """What it prints works; stopped, it leaves nothing running, and the data is there next time."""
    ports = free_ports()
    for expected in (201, 403):
        process = subprocess.Popen([ROOT / "quickstart", tmp_path / "data"], env={**os.environ, "PORT": str(ports[0])},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=heed_interrupts)
        printed = ""
        while "Ctrl-C stops everything" not in printed:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            printed += line
        suggestions = re.findall(r"^    (curl .*?)\s*(?:#.*)?$", printed, re.M)
        assert len(suggestions) == 6
        done = subprocess.run(["bash", "-c", suggestions[0]], capture_output=True, text=True, check=False)
        assert f" {expected} " in done.stderr, done.stderr
        for suggestion in suggestions[1:2] + suggestions[3:]:
            done = subprocess.run(["bash", "-c", suggestion], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done
        process.send_signal(sig)
        process.communicate(timeout=30)
        assert not any(is_listening(port) for port in ports)


@pytest.mark.slow
def test_quickstart_where_a_port_is_taken(tmp_path):
    ports = free_ports()
    with socket.create_server(("127.0.0.1", ports[2])):
        done = subprocess.run([ROOT / "quickstart", tmp_path / "data"], env={**os.environ, "PORT": str(ports[0])},
                              capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1
    assert f"port {ports[2]} is taken" in done.stderr
    assert not any(is_listening(port) for port in ports)


@pytest.mark.slow
def test_quickstart_when_a_volume_dies(tmp_path):
    ports = free_ports()
    process = subprocess.Popen([ROOT / "quickstart", tmp_path / "data"], env={**os.environ, "PORT": str(ports[0])},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: is_listening(ports[0]) or process.poll() is not None, "everything runs", 300)
    assert process.poll() is None, process.stderr.read()
    os.kill(int((tmp_path / "data" / "volume2" / ".nginx" / "nginx.pid").read_text()), signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "volume 2 has stopped" in errors
    assert not any(is_listening(port) for port in ports)
