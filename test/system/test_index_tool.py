"""mkv-index: what the index holds, written down, read back, copied, and found by hand."""
import hashlib
import json
import threading
import urllib.parse

import pytest

from mkvtest import http, place
from mkvtest.cluster import as_bytes, fetch, wait_until
from mkvtest.jobs import index, run

HARD_KEYS = [b"/plain", b"/with space", "/ümläut/\u2028".encode(), b"/quote\"back\\slash", b"/q?x#%41+&=", b"/line\nbreak",
             b"/a?", b"/" + b"x" * 300, b"/" + b"y" * 1088, b"//", b"/."]


def lines(outcome):
    return [json.loads(line) for line in outcome.out.splitlines()]


def key_of(record):
    return bytes.fromhex(record["key_hex"]) if "key_hex" in record else record["key"].encode()


@pytest.fixture
def filled(cluster):
    for i, key in enumerate(HARD_KEYS):
        assert cluster.master.put(key, b"value %d" % i).status == 201
    assert cluster.master.unlink(b"/plain").status == 204
    assert cluster.master.replace(b"/a?", b"another").status == 201
    return cluster


def test_get_shows_what_the_master_wrote(filled):
    record = index(filled.master.db, "get", b"/with space").expect(0).json
    assert record["key"] == "/with space" and record["state"] == "live" and record["generation"] == 0
    assert record["size"] == len(b"value 1") and record["md5"] == hashlib.md5(b"value 1").hexdigest()
    assert record["replicas"] == filled.master.placement(b"/with space")[:3]
    assert index(filled.master.db, "get", b"/plain").expect(0).json["state"] == "unlinked"
    assert index(filled.master.db, "get", b"/a?").expect(0).json["generation"] == 1
    missing = index(filled.master.db, "get", b"/nothing\n").expect(1)
    assert "/nothing\\x0a: no such key" in missing.why and not missing.out


def test_keys_can_be_given_percent_encoded(filled):
    for key in HARD_KEYS:
        assert key_of(index(filled.master.db, "-encoded", "get", http.encode(key)).expect(0).json) == key
    assert "hex digits" in index(filled.master.db, "-encoded", "get", "/100%").expect(2).why
    assert "no such key" in index(filled.master.db, "get", "/100%").expect(1).why


def test_dump_is_every_record_in_byte_order_beside_a_running_master(filled):
    records = lines(index(filled.master.db, "dump").expect(0))
    assert [key_of(record) for record in records] == sorted(HARD_KEYS)


def test_load_of_a_dump_is_the_same_index(filled, tmp_path):
    dump = index(filled.master.db, "dump").expect(0).out
    loaded = index(tmp_path / "new", "load", stdin=dump).expect(0)
    assert f"{len(HARD_KEYS)} records loaded" in loaded.why
    assert index(tmp_path / "new", "dump").expect(0).out == dump
    # And a master that is started on it serves the same values.
    filled.master.stop_cleanly()
    master = filled.start_master(db=tmp_path / "new")
    for i, key in enumerate(HARD_KEYS):
        expected = {b"/plain": None, b"/a?": b"another"}.get(key, b"value %d" % i)
        assert master.read(key) == expected, key


STRANGE = [
    '{"key":"/min","state":"live","generation":0,"replicas":[]}',
    '{"key_hex":"2f00ff","state":"unlinked","generation":72057594037927935,"size":0,"mtime":0,"replicas":["h:1"]}',
    '{"key_hex":"ff","state":"live","generation":0,"size":9223372036854775807,"replicas":["h:1/sv00","h:1/svFFFE"]}',
    '{"key":"/odd","state":"live","generation":0,"replicas":[{"volume":"h:1/sv03"},"h:1/sv03/sv03","h:1/sv3","h:1/sv0FF"]}',
    '{"key":"/fields","state":"live","generation":0,"replicas":["h:1/dir"],"fields":{"1":"746578742f68746d6c","200":"00ff"}}',
    '{"key":"/' + "k" * 1088 + '","state":"live","generation":1,"replicas":["' + "h" * 255 + '"]}',
]


def test_records_that_no_master_writes_survive_too(tmp_path):
    text = "\n".join(STRANGE).encode() + b"\n"
    index(tmp_path / "a", "load", stdin=text).expect(0)
    dumped = index(tmp_path / "a", "dump").expect(0).out
    assert sorted(dumped.splitlines()) == sorted(text.splitlines())
    index(tmp_path / "b", "load", stdin=dumped).expect(0)
    assert index(tmp_path / "b", "dump").expect(0).out == dumped


def test_every_kind_of_field_survives(tmp_path):
    fields = {str(number): (bytes([number]) * (number * 97)).hex() for number in range(1, 12)}  # all of enum mkv_field
    fields["11"] = "ab" * 500_000
    text = json.dumps({"key": "/k", "state": "live", "generation": 3, "size": 5, "mtime": 7, "md5": "00" * 16,
                       "replicas": ["h:1/sv03"], "fields": fields}, separators=(",", ":")).encode() + b"\n"
    index(tmp_path / "a", "load", stdin=text).expect(0)
    assert index(tmp_path / "a", "dump").expect(0).out == text
    assert index(tmp_path / "a", "get", "/k").expect(0).out == text


BUCKETS = [
    '{"bucket":"a","created":-5}',
    '{"bucket":"a.b","owner":"k","created":0}',
    '{"bucket":"' + "n" * 63 + '","owner":"' + "ü" * 64 + '","created":9223372036854775807}',
    '{"bucket":"photos","owner":"AKIA0123456789","created":1793786400}',
]


def test_buckets_are_dumped_loaded_counted_and_copied(tmp_path):
    text = "\n".join(BUCKETS + STRANGE[:1]).encode() + b"\n"
    loaded = index(tmp_path / "a", "load", stdin=text).expect(0)
    assert "1 records and 4 buckets loaded" in loaded.why
    assert index(tmp_path / "a", "dump").expect(0).out == text
    index(tmp_path / "a", "backup", tmp_path / "copy").expect(0)
    assert index(tmp_path / "copy", "dump").expect(0).out == text
    stat = index(tmp_path / "copy", "-json", "stat").expect(0).json
    assert stat["buckets"] == 4 and stat["uploads"] == 0
    assert "buckets     4\nuploads     0\n" in index(tmp_path / "a", "stat").expect(0).text
    index(tmp_path / "only", "load", stdin=BUCKETS[0].encode()).expect(0)
    assert "holds 1 buckets already" in index(tmp_path / "only", "load", stdin=text).expect(1).why
    index(tmp_path / "only", "-force", "load", stdin=text).expect(0)
    assert index(tmp_path / "only", "dump").expect(0).out == text


GOOD = '{"key":"/k","state":"live","generation":0,"replicas":["h:1"]}'


@pytest.mark.parametrize("line, why", [
    ("nonsense", "no JSON"),
    ("[]", "no JSON object"),
    ('{"key":"/k","state":"live"}', '"replicas" is missing'),
    ('{"state":"live","replicas":[]}', '"key" is missing'),
    ('{"key":"/k","replicas":[]}', '"state" is missing'),
    (GOOD.replace("live", "writing"), '"state": it is live or unlinked'),
    (GOOD.replace('"/k"', '""'), '"key": a key has 1 to 1089 bytes'),
    (GOOD.replace("/k", "k" * 1090), '"key": a key has 1 to 1089 bytes'),
    (GOOD.replace('"key":"/k"', '"key_hex":"2"'), '"key_hex"'),
    (GOOD.replace('"key":"/k"', '"key_hex":"2g"'), '"key_hex"'),
    (GOOD.replace('"key":"/k"', '"key":"/k","key_hex":"2f"'), "one key"),
    (GOOD.replace('"key":"/k"', '"key":"/k","key":"/l"'), "duplicate"),
    (GOOD.replace(":0", ":-1"), '"generation"'),
    (GOOD.replace(":0", ":72057594037927936"), '"generation"'),
    (GOOD.replace(":0", ':0,"size":-5'), '"size"'),
    (GOOD.replace(":0", ':0,"size":"5"'), '"size"'),
    (GOOD.replace(":0", ':0,"mtime":1.5'), '"mtime"'),
    (GOOD.replace(":0", ':0,"md5":"00"'), '"md5"'),
    (GOOD.replace('["h:1"]', '"h:1"'), '"replicas"'),
    (GOOD.replace('["h:1"]', "[5]"), '"replicas"'),
    (GOOD.replace('["h:1"]', '["' + "h" * 256 + '"]'), '"replicas"'),
    (GOOD.replace('["h:1"]', json.dumps(["h:1"] * 17)), '"replicas"'),
    (GOOD.replace(":0", ':0,"fields":{"0":"00"}'), '"fields"'),
    (GOOD.replace(":0", ':0,"fields":{"1":"0"}'), '"fields"'),
    (GOOD.replace(":0", ':0,"fields":{"1":""}'), '"fields"'),
    (GOOD.replace(":0", ':0,"sise":5'), '"sise": no such member'),
    ('{"bucket":"","created":5}', '"bucket": a bucket\'s name has 1 to 63 bytes'),
    ('{"bucket":"%s","created":5}' % ("b" * 64), '"bucket": a bucket\'s name has 1 to 63 bytes'),
    ('{"bucket":"a/b","created":5}', '"bucket": a bucket\'s name'),
    ('{"bucket":5,"created":5}', '"bucket": a bucket\'s name'),
    ('{"bucket":"b"}', '"created" is missing'),
    ('{"bucket":"b","created":"5"}', '"created": it is in seconds since 1970'),
    ('{"bucket":"b","created":5,"owner":""}', '"owner": an access key has 1 to 128 bytes'),
    ('{"bucket":"b","created":5,"owner":"%s"}' % ("k" * 129), '"owner": an access key has 1 to 128 bytes'),
    ('{"bucket":"b","created":5,"size":5}', '"size": no such member'),
    ('{"bucket":"b","key":"/k","created":5}', '"key": no such member'),
    ('{"bucket":"b","bucket":"c","created":5}', "duplicate"),
])
def test_a_bad_line_is_named(tmp_path, line, why):
    text = GOOD.replace("/k", "/first") + "\n\n" + line + "\n" + GOOD + "\n"
    outcome = index(tmp_path / "new", "load", stdin=text.encode()).expect(1)
    assert "line 3: " in outcome.why and why in outcome.why, outcome
    assert "1 records loaded; the rest was not" in outcome.why
    assert [record["key"] for record in lines(index(tmp_path / "new", "dump").expect(0))] == ["/first"]


def test_load_adds_to_a_filled_index_only_by_force(tmp_path):
    index(tmp_path / "new", "load", stdin=GOOD.encode()).expect(0)  # the last line needs no newline
    more = (GOOD.replace("/k", "/l") + "\n" + GOOD.replace("live", "unlinked") + "\n").encode()
    refused = index(tmp_path / "new", "load", stdin=more).expect(1)
    assert "holds 1 records already" in refused.why and "-force" in refused.why
    index(tmp_path / "new", "-force", "load", stdin=more).expect(0)
    assert [(r["key"], r["state"]) for r in lines(index(tmp_path / "new", "dump").expect(0))] == [
        ("/k", "unlinked"), ("/l", "live")]


def test_load_is_refused_beside_a_master(cluster):
    assert cluster.master.get("/k").status == 404  # it has started
    outcome = index(cluster.master.db, "load", stdin=GOOD.encode()).expect(1)
    assert "in use by the server at" in outcome.why and str(cluster.master.port) in outcome.why


def test_stat_counts_and_names_the_master(filled):
    stat = index(filled.master.db, "-json", "stat").expect(0).json
    assert stat["live"] == len(HARD_KEYS) - 1 and stat["unlinked"] == 1 and stat["volumes"] == filled.names()
    assert stat["holder"].endswith(f":{filled.master.port}")
    text = index(filled.master.db, "stat").expect(0).text
    assert f"live        {len(HARD_KEYS) - 1}\n" in text and stat["holder"] in text and filled.names()[2] in text
    filled.master.stop_cleanly()
    assert "in use by   nobody\n" in index(filled.master.db, "stat").expect(0).text


def test_a_backup_beside_a_master_that_writes_opens_as_an_index(cluster, tmp_path):
    master, acknowledged, stop = cluster.master, [], threading.Event()

    def write():
        while not stop.is_set():
            key = f"/k{len(acknowledged)}"
            assert master.put(key, key.encode()).status == 201
            acknowledged.append(key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: len(acknowledged) > 5, "it has begun to write")
        for i in range(4):
            before = list(acknowledged)
            index(master.db, "backup", tmp_path / f"copy{i}").expect(0)
            keys = {record["key"] for record in lines(index(tmp_path / f"copy{i}", "dump").expect(0))}
            assert keys >= set(before)
    finally:
        stop.set()
        writer.join()
    # No write that was under way is undone by whoever opens the copy.
    stat = index(tmp_path / "copy3", "-json", "stat").expect(0).json
    assert stat["writing"] == 0 and stat["garbage"] == 0
    kept = lines(index(tmp_path / "copy3", "dump").expect(0))
    master.stop_cleanly()
    copied = cluster.start_master(db=tmp_path / "copy3")
    assert sorted(copied.keys()) == [record["key"] for record in kept]
    for key in acknowledged:
        assert copied.read(key) == (key.encode() if key in copied.keys() else None)
    assert all((volume, path) in cluster.files() for key in acknowledged
               for volume, path in cluster.expected_files(key, key.encode()))


def test_a_backup_leaves_garbage_out(cluster, tmp_path):
    assert cluster.master.put("/k", b"old").status == 201
    assert cluster.master.replace("/k", b"new").status == 201
    assert index(cluster.master.db, "-json", "stat").expect(0).json["garbage"] == 1
    index(cluster.master.db, "backup", tmp_path / "copy").expect(0)
    assert index(tmp_path / "copy", "-json", "stat").expect(0).json["garbage"] == 0
    assert index(tmp_path / "copy", "get", "/k").expect(0).json["generation"] == 1


def test_a_backup_overwrites_no_index(filled, tmp_path):
    index(filled.master.db, "backup", tmp_path / "deep" / "copy").expect(0)
    before = (tmp_path / "deep" / "copy" / "data.mdb").read_bytes()
    again = index(filled.master.db, "backup", tmp_path / "deep" / "copy").expect(1)
    assert "holds an index already" in again.why
    assert (tmp_path / "deep" / "copy" / "data.mdb").read_bytes() == before
    (tmp_path / "file").write_text("")
    assert index(filled.master.db, "backup", tmp_path / "file").expect(1).why
    # A copy that was broken off is in nobody's way.
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "data.mdb.part").write_bytes(b"x" * 100_000)
    index(filled.master.db, "backup", tmp_path / "half").expect(0)
    assert lines(index(tmp_path / "half", "dump").expect(0)) == lines(index(filled.master.db, "dump").expect(0))


def test_path_finds_the_files_by_hand(filled):
    for i, key in enumerate(HARD_KEYS):
        urls = index(filled.master.db, "path", key).expect(0).text.splitlines()
        assert len(urls) == 3
        value = b"another" if key == b"/a?" else b"value %d" % i
        assert [fetch(url) for url in urls] == [value] * 3
        for url in urls:
            assert run("mkv-index", "key", url).expect(0).out == key + b"\n"
            encoded = run("mkv-index", "-encoded", "key", url).expect(0).text.removesuffix("\n")
            assert encoded.isascii() and urllib.parse.unquote_to_bytes(encoded) == key
    assert "no such key" in index(filled.master.db, "path", "/nothing").expect(1).why


def test_path_without_an_index_is_the_rule():
    volumes = ["a:1", "b:2", "c:3", "d:4/dir"]
    for key in HARD_KEYS + [b"\xff\xfe\xfd"]:
        for generation in (0, 1, 255):
            assert run("mkv-index", "path", key, generation).expect(0).text == place.path_of(key, generation) + "\n"
        for subvolumes in (1, 10):
            placed = run("mkv-index", "-volumes", ",".join(volumes), "-replicas", 2, "-subvolumes", subvolumes, "path", key)
            assert placed.expect(0).text.splitlines() == [
                "http://" + text + place.path_of(key) for text in place.replicas_of(key, volumes, subvolumes)[:2]]


def test_path_shows_where_the_files_of_this_generation_belong(filled):
    urls = index(filled.master.db, "-volumes", ",".join(filled.names()), "path", b"/a?").expect(0).text.splitlines()
    assert urls == ["http://" + text + place.path_of(b"/a?", 1) for text in filled.master.placement(b"/a?")[:3]]


def test_key_reads_any_form_of_a_path():
    path = place.path_of(b"/wehave", 2)
    for before in ("", "/sv03", "http://localhost:3001/sv03", "/var/lib/volume1/sv12B", "volume"):
        outcome = run("mkv-index", "key", before + path).expect(0)
        assert outcome.text == "/wehave\n" and "generation 2" in outcome.why
    for wrong in ("", "/", "wehave", path[1:], path.replace("~2", "~02"), path + "/", "/60/09" + path[6:]):
        assert "not the path" in run("mkv-index", "key", wrong).expect(1).why


@pytest.mark.parametrize("words, why", [
    ([], "a command is missing"),
    (["-db", "x"], "a command is missing"),
    (["look"], "look: no such command"),
    (["dump"], "-db is missing"),
    (["-db", "", "dump"], "-db is missing"),
    (["-db", "x", "get"], "get takes one argument"),
    (["-db", "x", "dump", "more"], "dump takes no argument"),
    (["path", "/k", "1", "2"], "path takes one or two arguments"),
    (["path", "/k", "-1"], "a generation is a whole number"),
    (["path", ""], "a key has 1 to 1089 bytes"),
    (["path", "k" * 1090], "longer than 1089"),
    (["-volumes", "a:1", "path", "/k"], "-replicas"),
    (["-port", "5", "stat"], "unknown flag -port"),
])
def test_usage(words, why):
    outcome = run("mkv-index", *words).expect(2)
    assert why in outcome.why and outcome.why.count("\n") == 1 and not outcome.out


def test_an_index_that_is_not_there(tmp_path):
    outcome = index(tmp_path / "none", "dump").expect(1)
    assert "there is no index in" in outcome.why
    assert not (tmp_path / "none").exists()


def test_help_names_every_command():
    text = run("mkv-index", "-help").expect(0).text
    for command in ("get KEY", "dump", "load", "stat", "backup DIR", "path KEY", "key PATH"):
        assert command in text


def test_binary_keys_of_an_adopted_index(tmp_path):
    keys = [b"\xff\xff\xff", b"/\x00", b"/a\xff\xff", as_bytes("/ok")]
    text = b"".join(b'{"key_hex":"%s","state":"live","generation":0,"replicas":["h:1"]}\n' % key.hex().encode() for key in keys)
    index(tmp_path / "new", "load", stdin=text).expect(0)
    assert {key_of(record) for record in lines(index(tmp_path / "new", "dump").expect(0))} == set(keys)
    for key in keys:
        assert key_of(index(tmp_path / "new", "-encoded", "get", http.encode(key)).expect(0).json) == key
        if b"\0" not in key:
            assert key_of(index(tmp_path / "new", "get", key).expect(0).json) == key
