"""The README's usage examples, run as they are printed (but for ports, directories and the file)."""
import re
import subprocess

import pytest

from mkvtest.cluster import BIN, ROOT, free_port, is_listening, wait_until

README = (ROOT / "README.md").read_text()


def commands(heading):
    """The lines of the code blocks below a heading."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.M | re.S).group(1)
    blocks = re.findall(r"^```\n(.*?)^```", section, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def here(tmp_path):
    """What stands for the README's ports and paths."""
    ports = {str(port): str(free_port()) for port in (3000, 3001, 3002, 3003)}
    file = tmp_path / "file.txt"
    file.write_bytes(b"contents of the file\n" * 1000)

    def translate(line):
        line = re.sub(r"\b300[0-3]\b", lambda match: ports[match.group()], line)
        line = re.sub(r"/tmp/(volume\d|indexdb\w*)/", rf"{tmp_path}/\1/", line)
        line = line.replace("./build/bin/mkv ", f"./build/bin/mkv -port {ports['3000']} ")  # the default is not printed
        return line.replace("/path/to/local/file.txt", str(file)).replace("./build/bin/", f"{BIN}/")

    translate.ports, translate.file = ports, file
    return translate


def start(line, log):
    words = line.rstrip("& ").strip()
    return subprocess.Popen(["bash", "-c", "exec env " + words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def curl(line):
    """(status, body) of the last answer."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (line, done.stderr)
    statuses = re.findall(rb"^< HTTP/[\d.]+ (\d+)", done.stderr, re.M)
    return int(statuses[-1]), done.stdout


def test_usage(here, tmp_path):
    running = []
    with open(tmp_path / "log", "wb") as log:
        try:
            for line in commands("Starting it by hand"):
                if not line.startswith("cmake"):
                    running.append(start(here(line), log))
            assert len(running) == 4
            for port in here.ports.values():
                wait_until(lambda port=port: is_listening(port), f"port {port} answers")
            expected = [
                ("-X PUT -d bigswag", 201, b""),
                ("curl -v -L localhost:3000/wehave", 200, b"bigswag"),
                ("-X REPLACE -d biggerswag", 201, b""),
                ("-X UNLINK", 204, b""),
                ("?unlinked", 200, b'{"next":"","keys":["/wehave"]}'),
                ("-X RELINK", 204, b""),
                ("we?list", 200, b'{"next":"","keys":["/wehave"]}'),
                ("we?list&limit=10", 200, b'{"next":"","keys":["/wehave"]}'),
                ("-X DELETE", 204, b""),
                ("-X PUT -T", 201, b""),
                ("-o /path/to/local/file.txt", 200, b""),
            ]
            lines = commands("Using it")
            assert len(lines) == len(expected)
            for line, (part, status, body) in zip(lines, expected):
                assert part in line
                if " -o " in line:
                    here.file.unlink()
                got = curl(here(line))
                assert (got[0], got[1].strip()) == (status, body), line
            assert here.file.read_bytes() == b"contents of the file\n" * 1000
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(20)
    assert [process.returncode for process in running] == [0] * 4, (tmp_path / "log").read_text()
