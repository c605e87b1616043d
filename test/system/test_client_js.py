"""@aws-sdk/client-s3 with lib-storage, and minio-js: what test/clients/*.mjs do and check themselves."""
import pytest

from mkvtest.cluster import SANITIZED
from mkvtest.s3 import ADMIN, CLIENTS, MEGABYTE, NOBODY

STEPS = ["buckets", "objects", "lists", "parts", "presigned", "removal"]


def run(client, script, endpoint, key, **options):
    assert (CLIENTS / "node_modules").is_dir(), "the JavaScript clients are not installed: test/clients/install"
    environment = {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret, "AWS_EC2_METADATA_DISABLED": "true"}
    size = (11 if SANITIZED else 31) * MEGABYTE + 1
    return client.run("node", CLIENTS / script, endpoint, str(size), environment=environment, **options)


@pytest.mark.parametrize("script", ["sdk.mjs", "minio.mjs"])
def test_every_step(s3, client, script):
    said = run(client, script, s3.endpoint, ADMIN)
    assert said.splitlines() == [f"{step}: as it should be" for step in STEPS]
    assert (s3.dump(), s3.uploads(), s3.spooled()) == ([], 0, [])


@pytest.mark.parametrize("script", ["sdk.mjs", "minio.mjs"])
def test_a_key_that_nobody_has(s3, client, script):
    assert "as it should be" not in run(client, script, s3.endpoint, NOBODY, status=1)
    assert s3.dump() == []


def test_without_keys(make_s3, client, tmp_path):
    server = make_s3(keys=False)
    script = tmp_path / "smoke.mjs"
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    script.write_text("""
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import * as minio from "minio";
const [endpoint] = process.argv.slice(2), { hostname, port } = new URL(endpoint);
const sdk = new S3Client({ endpoint, region: "mkv", forcePathStyle: true, credentials: { accessKeyId: "a", secretAccessKey: "b" } });
const other = new minio.Client({ endPoint: hostname, port: Number(port), useSSL: false, accessKey: "a", secretKey: "b" });
await sdk.send(new PutObjectCommand({ Bucket: "photos", Key: "by sdk", Body: "by sdk" }));
await other.putObject("photos", "by minio", "by minio");
for await (const piece of await other.getObject("photos", "by sdk")) console.log(piece.toString());
console.log(await (await sdk.send(new GetObjectCommand({ Bucket: "photos", Key: "by minio" }))).Body.transformToString());
""")
    assert client.run("node", script, server.endpoint).splitlines() == ["by sdk", "by minio"]
    assert server.master.keys() == ["/photos/by minio", "/photos/by sdk"]
