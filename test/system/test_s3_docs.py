"""docs/s3.md, run as it is printed: its keys, every client's snippets, every row of its table of operations."""
import re
import subprocess

import pytest

from mkvtest import s3 as tools
from mkvtest.cluster import BIN, ROOT
from mkvtest.s3 import CLIENTS, Key, bytes_of, code, tree_of, write_tree
from test_client_s3fs import need_fuse

DOCS = (ROOT / "docs" / "s3.md").read_text()
CAT = bytes_of(200_000, 1)
ALBUM = {"one.jpg": b"one", "more/two three.jpg": b"two"}
TOLD = Key("WEHAVE", "bigswag-0123456789")
LANGUAGES = {"python": "python3", "js": "node", "sh": "bash"}


def blocks(heading):
    """(language, file name or None, text) of each fenced block below a heading."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", DOCS, re.M | re.S).group(1)
    return [(language, name.strip() or None, text)
            for language, name, text in re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```", section, re.M | re.S)]


def table(heading):
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", DOCS, re.M | re.S).group(1)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return rows[2:]


@pytest.fixture
def told(make_s3, tmp_path):
    """A server with the keys that the text shows."""
    ((_, name, text), (_, _, command)) = blocks("Access keys")
    assert (name, command) == ("mkv-keys", "chmod 600 mkv-keys\n")
    server = make_s3("-keys", tools.write_keys(tmp_path / name, text), keys=False)
    server.key = TOLD
    return server


def run_section(heading, server, client):
    """Files are written, the rest is run, in order; returns what the programs said."""
    said = ""
    (client.work / "node_modules").symlink_to(CLIENTS / "node_modules")
    client.file("cat.jpg", CAT)
    write_tree(client.work / "album", ALBUM)
    for language, name, text in blocks(heading):
        text = text.replace("localhost:3000", f"localhost:{server.port}").replace("port: 3000", f"port: {server.port}")
        if name and name.startswith("~/"):
            client.configure(name[2:], text)
            continue
        program = LANGUAGES[language]
        script = client.file(name or f"snippet.{language}", text.encode())
        if language == "sh":
            script.write_text("set -e\nshopt -s expand_aliases\n" + text)
        said += client.run(program, script, timeout=120)
    return said


def test_every_client_is_here():
    headings = re.findall(r"^## (.*)", DOCS, re.M)
    assert set(OBJECTS) | {"restic", "s3fs"} == set(headings[headings.index("aws"):])


OBJECTS = {"aws": True, "boto3": False, "rclone": True, "s3cmd": True, "AWS SDK for JavaScript": False, "minio-js": False,
           "curl": False}


@pytest.mark.parametrize("heading", OBJECTS)
def test_snippets(told, client, heading):
    said = run_section(heading, told, client)
    assert told.raw(TOLD).get("/photos/cat.jpg").body == CAT
    assert (client.work / "copy.jpg").read_bytes() == CAT
    album = {f"/photos/album/{name}".encode() for name in ALBUM} if OBJECTS[heading] else set()
    assert set(told.records()) == {b"/photos/cat.jpg"} | album
    assert heading not in ("aws", "boto3", "s3cmd", "curl") or "cat.jpg" in said


def test_restic(told, client):
    run_section("restic", told, client)
    assert {"/".join(key.decode().split("/")[:2]) for key in told.records()} == {"/backup"}
    (restored,) = (client.work / "restored").rglob("album")
    assert tree_of(restored) == ALBUM


def test_s3fs(told, client):
    need_fuse()
    assert told.raw(TOLD).request("PUT", "/photos").status == 200
    try:
        run_section("s3fs", told, client)
    finally:  # nothing stays mounted where a line before the last one failed
        if (client.home / "photos").is_mount():
            client.run("fusermount3", "-u", client.home / "photos", status=None)
    assert told.raw(TOLD).get("/photos/cat.jpg").body == CAT
    assert (client.work / "copy.jpg").read_bytes() == CAT
    assert told.raw(TOLD).get("/photos/album/more/two%20three.jpg").body == ALBUM["more/two three.jpg"]


def test_the_key_that_only_reads(told):
    assert told.raw(TOLD).request("PUT", "/photos").status == 200
    reader = told.raw(Key("READER", "reads-photos-only-0"))
    assert reader.get("/photos?list-type=2").status == 200
    assert code(reader.put("/photos/x", b"x")) == "AccessDenied"
    assert code(reader.get("/backup")) == "AccessDenied"


def test_the_table_of_operations(told):
    """"no" is NotImplemented, and nothing else is."""
    raw = told.raw(TOLD)
    rows = table("Operations")
    assert len(rows) > 30
    for operation, request, here, note in rows:
        method, target = request.strip("`").split(" ")
        target = re.sub(r"^/b(?=[/?]|$)", "/photos", target)
        raw.request("PUT", "/photos")
        raw.put("/photos/k", b"x")
        answer = raw.request(method, target, b"" if method == "POST" else b"x" if method == "PUT" and "/k" in target else None)
        if here == "no":
            assert (answer.status, code(answer)) == (501, "NotImplemented"), operation
        elif here == "stub":
            status, _, expected = note.partition(" ") if note.startswith("404 ") else ("200", "", None)
            assert (answer.status, code(answer)) == (int(status), expected), operation
        else:
            assert here == "yes" and answer.status != 501, operation
            # What can succeed as it stands has succeeded; the rest names an upload that is not there, or a full bucket.
            assert answer.status < 300 or code(answer) in ("NoSuchUpload", "BucketNotEmpty", "MalformedXML", "InvalidArgument",
                                                          "MalformedPOSTRequest", "MissingRequestBodyError",
                                                          "MethodNotAllowed"), (operation, answer)


def test_the_table_of_flags():
    said = subprocess.run([BIN / "mkv-server", "-help"], capture_output=True, text=True, check=True).stdout
    readme = (ROOT / "README.md").read_text()
    for flag, default, _ in table("Flags"):
        name = flag.strip("`").split()[0]
        line = next(line for line in said.splitlines() if line.strip().startswith(name + " "))
        assert default in ("off", "in `-db`") or default.strip("`") in line, line
        assert f"| `{flag.strip('`')}` |" in readme, f"README.md does not have {flag}"


def test_the_readme(make_s3, client):
    server = make_s3(keys=False)
    section = re.search(r"^## S3\n.*?^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S).group(1)
    client.file("file.txt", b"contents of the file")
    script = section.replace("localhost:3000", f"localhost:{server.port}").replace("/path/to/local/file.txt", "file.txt")
    said = client.run("bash", "-e", "-c", script)
    assert said.splitlines()[-1].split()[2:] == ["20", "file.txt"]
    assert server.master.read("/photos/file.txt") == b"contents of the file"


def test_what_quickstart_prints(make_s3, client):
    server = make_s3(keys=False)
    server.make_bucket("photos")
    (line,) = re.findall(r"^ +(AWS_.* aws .*)$", (ROOT / "quickstart").read_text(), re.M)
    assert client.run("bash", "-c", line.replace("$port", str(server.port))).split()[2:] == ["photos"]
