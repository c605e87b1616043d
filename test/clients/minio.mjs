// usage: minio.mjs ENDPOINT LARGE: minio-js against a server; AWS_... in the environment.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import * as minio from "minio";

const [endpoint, largeSize] = process.argv.slice(2);
const { hostname, port } = new URL(endpoint);
const client = new minio.Client({
    endPoint: hostname, port: Number(port), useSSL: false, region: "mkv", pathStyle: true,
    accessKey: process.env.AWS_ACCESS_KEY_ID, secretKey: process.env.AWS_SECRET_ACCESS_KEY,
});
const bucket = "photos";
const md5 = (data) => createHash("md5").update(data).digest("hex");
const bytesOf = async (key) => buffer(await client.getObject(bucket, key));
const collect = async (stream) => (await stream.toArray()).map((entry) => entry.name ?? entry.prefix);

async function refused(promise, code) {
    await assert.rejects(promise, (error) => {
        assert.equal(error.code, code);
        return true;
    });
}

async function buckets() {
    assert.equal(await client.bucketExists(bucket), false);
    await client.makeBucket(bucket, "mkv");
    assert.equal(await client.bucketExists(bucket), true);
    assert.deepEqual((await client.listBuckets()).map((entry) => entry.name), [bucket]);
}

async function objects() {
    const key = "a cat+1 ü/&?#";
    await client.putObject(bucket, key, Buffer.from("a cat"), 5, { "Content-Type": "text/x-cat", "X-Amz-Meta-Colour": "black" });
    const about = await client.statObject(bucket, key);
    assert.deepEqual([about.size, about.etag, about.metaData["content-type"], about.metaData.colour],
        [5, md5("a cat"), "text/x-cat", "black"]);
    assert.equal((await bytesOf(key)).toString(), "a cat");
    assert.equal((await buffer(await client.getPartialObject(bucket, key, 2, 3))).toString(), "cat");
    await client.putObject(bucket, "empty", "");
    assert.equal((await bytesOf("empty")).length, 0);
    await refused(client.statObject(bucket, "none"), "NotFound");
    await refused(client.getObject(bucket, "none"), "NoSuchKey");
    const conditions = new minio.CopyConditions();
    conditions.setMatchETag(md5("a cat"));
    await client.copyObject(bucket, "copy", `/${bucket}/${key}`, conditions);
    assert.equal((await bytesOf("copy")).toString(), "a cat");
    conditions.setMatchETag("0");
    await refused(client.copyObject(bucket, "copy", `/${bucket}/${key}`, conditions), "PreconditionFailed");
    await client.removeObject(bucket, "copy");
}

async function lists() {
    const keys = Array.from({ length: 12 }, (_, i) => `list/${String(i).padStart(2, "0")} ü`);
    for (const key of keys) await client.putObject(bucket, key, key);
    assert.deepEqual(await collect(client.listObjects(bucket, "list/", true)), keys);
    assert.deepEqual(await collect(client.listObjectsV2(bucket, "list/", true)), keys);
    assert.deepEqual(await collect(client.listObjectsV2(bucket, "l", false)), ["list/"]);
    await client.removeObjects(bucket, keys);
    assert.deepEqual(await collect(client.listObjectsV2(bucket, "list/", true)), []);
}

async function parts() {
    const data = randomBytes(Number(largeSize));
    const small = new minio.Client({ endPoint: hostname, port: Number(port), useSSL: false, region: "mkv", partSize: 5 << 20,
        accessKey: process.env.AWS_ACCESS_KEY_ID, secretKey: process.env.AWS_SECRET_ACCESS_KEY });
    await small.putObject(bucket, "film", Readable.from(data, { objectMode: false }), data.length, { "X-Amz-Meta-Length": "long" });
    assert.equal((await client.statObject(bucket, "film")).metaData.length, "long");
    assert.ok((await bytesOf("film")).equals(data));
    const directory = await mkdtemp(join(tmpdir(), "minio-"));
    await writeFile(join(directory, "up"), data);
    await small.fPutObject(bucket, "film2", join(directory, "up"), {});
    await client.fGetObject(bucket, "film2", join(directory, "down"));
    assert.ok((await readFile(join(directory, "down"))).equals(data));
    await client.composeObject(new minio.CopyDestinationOptions({ Bucket: bucket, Object: "both" }),
        ["film", "film2"].map((name) => new minio.CopySourceOptions({ Bucket: bucket, Object: name })));
    assert.ok((await bytesOf("both")).equals(Buffer.concat([data, data])));
    const id = await client.initiateNewMultipartUpload(bucket, "left", {});
    assert.deepEqual((await client.listIncompleteUploads(bucket, "", true).toArray()).map((entry) => entry.uploadId), [id]);
    await client.removeIncompleteUpload(bucket, "left");
    assert.deepEqual(await client.listIncompleteUploads(bucket, "", true).toArray(), []);
}

async function presigned() {
    const put = await client.presignedPutObject(bucket, "by URL", 60);
    assert.equal((await fetch(put, { method: "PUT", body: "by URL" })).status, 200);
    assert.equal(await (await fetch(await client.presignedGetObject(bucket, "by URL", 60))).text(), "by URL");
    const policy = client.newPostPolicy();
    policy.setBucket(bucket);
    policy.setKey("by form");
    policy.setExpires(new Date(Date.now() + 60_000));
    const { postURL, formData } = await client.presignedPostPolicy(policy);
    const form = new FormData();
    for (const [name, value] of Object.entries(formData)) form.append(name, value);
    form.append("file", new Blob(["by form"]), "f");
    const posted = await fetch(postURL, { method: "POST", body: form });
    assert.equal(posted.status, 204, await posted.text());
    assert.equal((await bytesOf("by form")).toString(), "by form");
}

async function removal() {
    await refused(client.removeBucket(bucket), "BucketNotEmpty");
    await client.removeObjects(bucket, await collect(client.listObjectsV2(bucket, "", true)));
    await client.removeBucket(bucket);
}

for (const step of [buckets, objects, lists, parts, presigned, removal]) {
    await step();
    console.log(`${step.name}: as it should be`);
}
