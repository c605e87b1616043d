"""Native requests and the jobs beside a master with -keys: each is signed, or carries the token of the index."""
import json

import pytest

from mkvtest import http
from mkvtest.cluster import wait_until
from mkvtest.jobs import run
from mkvtest.s3 import ADMIN, EMPTY, LIMITED, OTHER, READER, bytes_of, code, md5, md5_base64, sha256

CAT = "/limited/cat"
TOKEN = "mkv.token"
DATA = bytes_of(200_000, 1)


@pytest.fixture
def limited(s3):
    s3.make_bucket("limited")
    assert s3.raw().put(CAT, b"meow", [("Content-Type", "text/plain")]).status == 200
    return s3


def keys_of(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)["keys"]


def test_what_each_key_may(limited):
    for i, key in enumerate((ADMIN, OTHER, LIMITED)):
        raw = limited.raw(key)
        body = b"%d" % i
        assert raw.request("REPLACE", CAT, body, payload=sha256(body)).status == 201
        assert limited.raw().get(CAT).body == body
        for method, status in [("UNLINK", 204), ("UNLINK", 404), ("RELINK", 204), ("RELINK", 404), ("REBALANCE", 204)]:
            assert raw.request(method, CAT).status == status, (key, method)
        assert keys_of(raw.get("/limited/?list")) == [CAT]
        assert raw.request("UNLINK", CAT).status == 204
        assert keys_of(raw.get("/limited/?unlinked")) == [CAT] and keys_of(raw.get("/limited/?list")) == []
        assert raw.request("GET", CAT).status == 404
        assert raw.request("RELINK", CAT).status == 204 and keys_of(raw.get("/limited/?writing")) == []
    assert keys_of(limited.raw(READER).get("/limited/?list&limit=5")) == [CAT]
    for method in ("REPLACE", "UNLINK", "RELINK", "REBALANCE"):
        answer = limited.raw(READER).request(method, CAT, b"x" if method == "REPLACE" else None)
        assert answer.status == 403 and b"AccessDenied" in answer.body, method
    assert keys_of(limited.raw(OTHER).get("/?list")) == [CAT]
    assert limited.raw().get(CAT).body == b"2"


def test_signed_as_curl_does(limited):
    """curl 7.88 leaves x-amz-content-sha256 out: the signature is over the hash of nothing, the body is not checked."""
    raw = limited.raw()
    assert raw.request("REPLACE", CAT, DATA, payload=None).status == 201
    assert raw.get(CAT).body == DATA
    assert raw.request("REPLACE", CAT, DATA, payload=EMPTY).status == 400  # but where it is sent it holds
    assert raw.request("REPLACE", CAT, b"", payload=sha256(b"")).status == 411  # natively no value is empty
    assert raw.get(CAT).body == DATA


@pytest.mark.parametrize("target", [CAT, "/limited/new", "/nobucket"])
def test_a_wrong_body_stores_nothing(limited, target):
    raw = limited.raw()
    before = limited.state()
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    for headers, payload, body, expected in [
            ([], sha256(DATA), wrong, "XAmzContentSHA256Mismatch"),
            ([("Content-MD5", md5_base64(DATA))], sha256(wrong), wrong, "BadDigest"),
            ([("Content-MD5", "nonsense")], sha256(DATA), DATA, "InvalidDigest")]:
        answer = raw.request("REPLACE", target, body, headers, payload)
        assert answer.status == 400 and answer.text.startswith(expected), answer
        assert limited.state() == before
    with http.Connection(limited.port) as connection:  # and one that goes away
        connection.send_head("REPLACE", target, [*raw.head("REPLACE", target, payload=sha256(DATA)).headers,
                                                 ("Content-Length", len(DATA))])
        connection.send(DATA[:100_000])
    wait_until(lambda: limited.state() == before, "it is as before")
    assert [v.temporary_files() for v in limited.cluster.volumes] == [[], [], []]

    def replaced():  # once what that one left has been taken back
        answer = raw.request("REPLACE", target, DATA, [("Content-MD5", md5_base64(DATA))], sha256(DATA))
        return answer if answer.status != 409 else None

    good = wait_until(replaced, "the key is free")
    assert good.status == 201 and good.header("Content-Md5") == md5(DATA)
    assert limited.records()[target.encode()]["md5"] == md5(DATA)


def test_a_value_needs_its_bucket(limited):
    raw = limited.raw()
    answer = raw.request("REPLACE", "/absent/cat", b"x")
    assert answer.status == 404 and answer.text.startswith("NoSuchBucket")
    for target in ("/alone", "/No_Bucket/cat"):  # in none, or in what can not be one
        assert raw.request("REPLACE", target, b"x").status == 201
    assert limited.raw(LIMITED).request("REPLACE", "/alone", b"x").status == 403
    assert raw.request("UNLINK", CAT).status == 204
    assert raw.request("DELETE", "/limited").status == 204  # of unlinked keys: empty
    answer = raw.request("RELINK", CAT)
    assert answer.status == 404 and answer.text.startswith("NoSuchBucket")
    limited.make_bucket("limited")
    assert raw.request("RELINK", CAT).status == 204 and raw.get(CAT).body == b"meow"


def test_a_bucket_that_goes_while_a_body_comes(limited):
    raw = limited.raw()
    assert raw.request("DELETE", CAT).status == 204
    with http.Connection(limited.port) as connection:
        connection.send_head("REPLACE", CAT, [*raw.head("REPLACE", CAT).headers, ("Content-Length", 4)])
        connection.send(b"me")
        wait_until(lambda: keys_of(raw.get("/?writing")) == [CAT], "it has begun")
        assert raw.request("DELETE", "/limited").status == 204
        connection.send(b"ow")
        answer = connection.answer("REPLACE")
    assert answer.status == 404 and answer.text.startswith("NoSuchBucket")
    assert limited.records() == {} and limited.cluster.files() == {}


# --- jobs


def job(server, program, *flags, status=0):
    return run(program, "-volumes", ",".join(server.cluster.names()), "-db", server.master.db, *flags).expect(status)


def copies(server):
    return sum(1 for data in server.cluster.files().values() if data == b"meow")


def test_jobs_work_by_the_token(limited):
    token = limited.master.db / TOKEN
    assert token.stat().st_mode & 0o777 == 0o600
    limited.cluster.volumes_of(CAT)[0].clear()
    assert copies(limited) == 2
    job(limited, "mkv-verify", "-repair")
    assert copies(limited) == 3
    limited.cluster.volumes_of(CAT)[1].clear()
    job(limited, "mkv-rebalance")
    assert copies(limited) == 3
    assert limited.raw().get(CAT).header("Content-Type") == "text/plain"  # which a move keeps
    # without it they can do nothing, and say so
    text = token.read_text()
    token.unlink()
    limited.cluster.volumes_of(CAT)[2].clear()
    for program, flags in (("mkv-verify", ["-repair"]), ("mkv-rebalance", [])):
        done = job(limited, program, *flags, status=1)
        assert "403" in done.why or "AccessDenied" in done.why or "token" in done.why, done
        assert copies(limited) == 2
    token.write_text(text)
    job(limited, "mkv-verify", "-repair")
    assert copies(limited) == 3


def test_only_the_token_and_only_for_moves(limited):
    token = (limited.master.db / TOKEN).read_text()
    assert len(token) >= 32 and limited.master.ask("REBALANCE", CAT,
                                                   headers=[("Authorization", f"Mkv-Job {token}")]).status == 204
    other = token[:-1] + ("0" if token[-1] != "0" else "1")
    for value in (f"Mkv-Job {other}", f"Mkv-Job {token}0", f"Mkv-Job {token[:-1]}", "Mkv-Job ", "Mkv-Job", token,
                  f"mkv-job{token}",
                  f"Bearer {token}", "Mkv-Job " + "0" * len(token)):
        answer = limited.master.ask("REBALANCE", CAT, headers=[("Authorization", value)])
        assert answer.status in (400, 403), (value, answer)
    for method in ("GET", "HEAD", "DELETE", "UNLINK", "RELINK", "REPLACE", "PUT"):
        body = b"x" if method in ("PUT", "REPLACE") else None
        answer = limited.master.ask(method, CAT, body, headers=[("Authorization", f"Mkv-Job {token}")])
        assert answer.status in (400, 403), (method, answer)
    assert limited.raw().get(CAT).body == b"meow"
    limited.master.stop_cleanly()  # each run has a token of its own
    limited.cluster.restart_master()
    assert (limited.master.db / TOKEN).read_text() != token
    answer = http.request(limited.port, "REBALANCE", CAT, headers=[("Authorization", f"Mkv-Job {token}")])
    assert answer.status in (400, 403) and code(answer) is None
