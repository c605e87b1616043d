"""Keys that are hard to carry: in URLs, in signatures, in XML, in file names."""
import json
import urllib.parse

import pytest

from mkvtest import http, place
from mkvtest.s3 import ADMIN, CLIENTS, code, md5, texts

HARD = ["+", "a+b", "%", "100%", "%41", "%2F", "%2f/%00", "&", "a&b=c", "=", "?", "a?b", "#", "a#b", "/", "//", "///a", "a//b",
        "a/", "a//", ".", "..", "../", "../../etc", "./a", "a/../b", "~", "~a", " ", " a", "a ", "a  b", "'", '"', "`", "\\",
        "<a>&amp;</a>", "]]>", "a:b", "a;b,c", "a@b!$*()[]{}|^", "ü", "u\u0308", "日本語", "\U0001F600", "a\U0001F468\u200D\U0001F469b",
        "\u2028", "\ufeffbom", "a\tb", "a\nb", "a\r\nb", "list", "?list", "uploads", "x" * 1024, "ü" * 512, "a/" * 512]
# XML 1.0 has no way to write these: only encoding-type=url can list them.
NOT_XML = ["\x01", "a\x07b", "a\x08", "\x1b[0m", "a\x7fb\x1f", "\uffff", "a\ufffeb"]
XML = [key for key in HARD if "\r" not in key]  # that a parser of XML gives back as it was
TOO_LONG = ["x" * 1025, "ü" * 512 + "x"]


def body_of(key):
    return b"value of " + key.encode()


def in_order(keys):
    return sorted(keys, key=str.encode)


@pytest.fixture
def boto(s3):
    s3.make_bucket("photos")
    return s3.boto3()


def target(key):
    return "/photos/" + urllib.parse.quote(key, safe="/-._~")


def test_raw(s3):
    """Signed and unsigned URLs, every byte as it was sent; what the index and the volumes hold is the native key."""
    s3.make_bucket("photos")
    raw = s3.raw()
    for key in HARD + NOT_XML:
        answer = raw.put(target(key), body_of(key))
        assert (answer.status, answer.header("ETag")) == (200, f'"{md5(body_of(key))}"'), key
    assert sorted(s3.records()) == sorted(b"/photos/" + key.encode() for key in HARD + NOT_XML)
    files = s3.cluster.files()
    for key in HARD + NOT_XML:
        assert raw.get(target(key)).body == body_of(key), key
        head = raw.request("HEAD", target(key))
        assert (head.status, head.header("Content-Length")) == (200, str(len(body_of(key)))), key
        presigned = raw.signer.presign("GET", target(key))
        assert http.request(s3.port, "GET", presigned, None, [("Host", "test")]).body == body_of(key), key
        everywhere = raw.get("/photos/" + "".join(f"%{byte:02X}" for byte in key.encode()))
        assert everywhere.body == body_of(key), key
        for path in (place.path_of(b"/photos/" + key.encode()), ):
            assert sum(at.endswith(path) for _, at in files) == 3, key
    for key in HARD + NOT_XML:
        assert raw.request("DELETE", target(key)).status == 204
    assert s3.records() == {}


def test_too_long(s3):
    s3.make_bucket("photos")
    for key in TOO_LONG:
        for answer in (s3.raw().put(target(key), b"x"), s3.raw().get(target(key)),
                       s3.raw().request("POST", target(key) + "?uploads", b"")):
            assert (answer.status, code(answer)) == (400, "KeyTooLongError")
    assert s3.records() == {} and s3.uploads() == 0


@pytest.mark.parametrize("key", [b"\xff", b"a\x80b", b"\xc3", b"\xed\xa0\x80", b"a\0b"], ids=repr)
def test_no_utf8(s3, key):
    s3.make_bucket("photos")
    answer = s3.raw().put("/photos/" + urllib.parse.quote(key), b"x")
    assert answer.status == 400 and code(answer), answer
    assert s3.records() == {} and s3.cluster.files() == {}


def test_boto3(s3, boto):
    """Puts, copies, lists page by page, deletes many at once: boto3 asks for encoded lists by itself."""
    keys = in_order(HARD + NOT_XML)
    for key in keys:
        boto.put_object(Bucket="photos", Key=key, Body=body_of(key))
    boto.create_bucket(Bucket="copies")
    for name in ("list_objects", "list_objects_v2"):
        pages = boto.get_paginator(name).paginate(Bucket="photos", PaginationConfig={"PageSize": 7})
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys, name
    for key in keys:
        assert boto.get_object(Bucket="photos", Key=key)["Body"].read() == body_of(key), key
        got = boto.list_objects_v2(Bucket="photos", Prefix=key)
        assert [entry["Key"] for entry in got["Contents"]] == [k for k in keys if k.startswith(key)], key
        later = boto.list_objects_v2(Bucket="photos", StartAfter=key).get("Contents", [])
        assert [entry["Key"] for entry in later] == [k for k in keys if k.encode() > key.encode()], key
        boto.copy_object(Bucket="copies", Key=key, CopySource={"Bucket": "photos", "Key": key})
        assert boto.get_object(Bucket="copies", Key=key)["Body"].read() == body_of(key), key
    for delimiter in ("/", "+", "%", " ", "ü", "//", "\n"):
        page = boto.list_objects_v2(Bucket="photos", Delimiter=delimiter)
        prefixes = {k[:k.index(delimiter) + len(delimiter)] for k in keys if delimiter in k}
        assert [entry["Prefix"] for entry in page.get("CommonPrefixes", [])] == in_order(prefixes), delimiter
    for bucket in ("photos", "copies"):
        done = boto.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys if key in XML]})
        assert not done.get("Errors")
        for key in keys:
            if key not in XML:
                boto.delete_object(Bucket=bucket, Key=key)
    assert s3.records() == {}


def test_uploads_in_parts(boto):
    for key in HARD:
        upload = boto.create_multipart_upload(Bucket="photos", Key=key)["UploadId"]
        etag = boto.upload_part(Bucket="photos", Key=key, UploadId=upload, PartNumber=1, Body=body_of(key))["ETag"]
        boto.complete_multipart_upload(Bucket="photos", Key=key, UploadId=upload,
                                       MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
        assert boto.get_object(Bucket="photos", Key=key)["Body"].read() == body_of(key), key


def test_lists_without_encoding(s3):
    """Plain XML where XML can say it; what it can not is written as AWS writes it, and is whole where a client asks for
    encoding-type=url."""
    s3.make_bucket("photos")
    for key in HARD:
        assert s3.raw().put(target(key), b"x").status == 200
    assert texts(s3.raw().get("/photos?list-type=2"), "Key") == in_order(HARD)
    for key in NOT_XML:
        assert s3.raw().put(target(key), b"x").status == 200
    plain = s3.raw().get("/photos?list-type=2")
    assert b"<Key>a&#x7;b</Key>" in plain.body and "<Key>\ufffd</Key>".encode() in plain.body
    for query in ("list-type=2&encoding-type=url", "encoding-type=url", "versions&encoding-type=url"):
        encoded = s3.raw().get("/photos?" + query)
        assert [urllib.parse.unquote_plus(key) for key in texts(encoded, "Key")] == in_order(HARD + NOT_XML), query


def test_signatures_do_not_confuse_them(s3):
    """A URL that was signed for one key opens no other that looks like it."""
    s3.make_bucket("photos")
    for key in HARD:
        assert s3.raw().put(target(key), body_of(key)).status == 200
    pairs = [("a+b", "a b"), ("%41", "A"), ("%2F", "/"), ("a//b", "a/b"), ("a/../b", "b"), ("a/", "a"), ("./a", "a"),
             ("ü", "u\u0308"), (" a", "a")]
    for ours, other in pairs:
        presigned = s3.raw().signer.presign("GET", target(ours))
        query = presigned.partition("?")[2]
        answer = http.request(s3.port, "GET", target(other) + "?" + query, None, [("Host", "test")])
        assert (answer.status, code(answer)) == (403, "SignatureDoesNotMatch"), (ours, other)


# --- through clients that are programs

FOR_PROGRAMS = [key for key in HARD if not key.startswith("/") and len(key) < 1000]


def test_aws(s3, client, boto):
    """aws takes keys from JSON, byte by byte, and lists them so."""
    environment = {"AWS_ACCESS_KEY_ID": ADMIN.access, "AWS_SECRET_ACCESS_KEY": ADMIN.secret, "AWS_DEFAULT_REGION": "mkv"}
    keys = ["a+b %41&=?#", "../..//~", "'\"`\\", "tab\tand\nline", "\U0001F600 ü", "control\x01"]
    for key in keys:
        client.file("body", body_of(key))
        client.run("aws", "--endpoint-url", s3.endpoint, "s3api", "put-object", "--bucket", "photos", "--body", "body", "--key",
                   key, environment=environment)
    out = client.run("aws", "--endpoint-url", s3.endpoint, "s3api", "list-objects-v2", "--bucket", "photos", "--output", "json",
                     environment=environment)
    assert [entry["Key"] for entry in json.loads(out)["Contents"]] == in_order(keys)
    for key in keys:
        assert boto.get_object(Bucket="photos", Key=key)["Body"].read() == body_of(key)
    out = client.run("aws", "--endpoint-url", s3.endpoint, "s3", "rm", "--recursive", "s3://photos/", environment=environment)
    assert out.count("delete:") == len(keys) and s3.records() == {}


def test_rclone(s3, client, boto):
    config = client.configure("rclone", f"""[mkv]
type = s3
provider = Other
access_key_id = {ADMIN.access}
secret_access_key = {ADMIN.secret}
endpoint = {s3.endpoint}
region = mkv
encoding = None
""")
    keys = [key for key in FOR_PROGRAMS if not key.endswith("/") and "//" not in key and ".." not in key and
            not key.startswith("./") and key != "." and not set("\t\r\n") & set(key)]
    for key in keys:
        client.run("rclone", "--config", config, "rcat", "mkv:photos/" + key, stdin=body_of(key))
        assert boto.get_object(Bucket="photos", Key=key)["Body"].read() == body_of(key), key
    listed = json.loads(client.run("rclone", "--config", config, "lsjson", "-R", "--files-only", "mkv:photos"))
    assert set(keys) ^ {entry["Path"] for entry in listed} == set()
    client.run("rclone", "--config", config, "purge", "mkv:photos")
    assert s3.records() == {}


def test_javascript(s3, client, tmp_path):
    """Both clients, on every key: put, get, list, delete many."""
    s3.make_bucket("photos")
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "keys.json").write_text(json.dumps(FOR_PROGRAMS))
    script = tmp_path / "keys.mjs"
    script.write_text("""
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import { DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import * as minio from "minio";
const [endpoint, file] = process.argv.slice(2), { hostname, port } = new URL(endpoint);
const Bucket = "photos", keys = JSON.parse(readFileSync(file));
const sdk = new S3Client({ endpoint, region: "mkv", forcePathStyle: true, maxAttempts: 1 });
const other = new minio.Client({ endPoint: hostname, port: Number(port), useSSL: false, region: "mkv", pathStyle: true,
    accessKey: process.env.AWS_ACCESS_KEY_ID, secretKey: process.env.AWS_SECRET_ACCESS_KEY });
const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
for (const Key of keys) {
    await sdk.send(new PutObjectCommand({ Bucket, Key, Body: "sdk " + Key }));
    assert.equal((await buffer(await other.getObject(Bucket, Key))).toString(), "sdk " + Key);
    if (minio_takes(Key)) await other.putObject(Bucket, Key, "minio " + Key);
    const { Body } = await sdk.send(new GetObjectCommand({ Bucket, Key }));
    assert.equal(await Body.transformToString(), (minio_takes(Key) ? "minio " : "sdk ") + Key);
}
function minio_takes(key) { return true; }
const listed = await sdk.send(new ListObjectsV2Command({ Bucket, EncodingType: "url" }));
assert.deepEqual(listed.Contents.map((entry) => decodeURIComponent(entry.Key.replaceAll("+", " "))), sorted);
const names = (await other.listObjectsV2(Bucket, "", true).toArray()).map((entry) => entry.name);
assert.deepEqual(names, sorted);
const some = keys.filter((key) => !key.includes("\\r"));
const { Errors } = await sdk.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: some.map((Key) => ({ Key })) } }));
assert.equal(Errors, undefined);
for (const key of keys) await other.removeObject(Bucket, key);
console.log("as it should be");
""")
    environment = {"AWS_ACCESS_KEY_ID": ADMIN.access, "AWS_SECRET_ACCESS_KEY": ADMIN.secret}
    assert client.run("node", script, s3.endpoint, tmp_path / "keys.json", environment=environment) == "as it should be\n"
    assert s3.records() == {}


def test_s3cmd(s3, client, boto):
    config = client.configure("s3cfg", f"[default]\naccess_key = {ADMIN.access}\nsecret_key = {ADMIN.secret}\n"
                                       f"host_base = 127.0.0.1:{s3.port}\nhost_bucket = 127.0.0.1:{s3.port}\n"
                                       "use_https = False\nbucket_location = mkv\n")
    keys = ["a+b %41&=#", "a//b/~", "'\"`\\", "\U0001F600 ü", "x" * 1024]
    for key in keys:
        client.file("body", body_of(key))
        client.run("s3cmd", "-c", config, "-q", "put", "body", "s3://photos/" + key)
        assert boto.get_object(Bucket="photos", Key=key)["Body"].read() == body_of(key), key
        client.run("s3cmd", "-c", config, "-q", "get", "--force", "s3://photos/" + key, "back")
        assert (client.work / "back").read_bytes() == body_of(key), key
    client.run("s3cmd", "-c", config, "del", "-r", "--force", "s3://photos/")
    assert s3.records() == {}
