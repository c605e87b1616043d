// usage: sdk.mjs ENDPOINT LARGE: @aws-sdk/client-s3 and lib-storage against a server; AWS_... in the environment.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
    AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand,
    CreateMultipartUploadCommand, DeleteBucketCommand, DeleteObjectCommand, DeleteObjectsCommand, GetBucketLocationCommand,
    GetObjectAttributesCommand, GetObjectCommand, HeadBucketCommand, HeadObjectCommand, ListBucketsCommand,
    ListMultipartUploadsCommand, ListObjectsCommand, ListPartsCommand, paginateListObjectsV2, PutObjectCommand, S3Client,
    UploadPartCommand, UploadPartCopyCommand, waitUntilObjectExists,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const [endpoint, largeSize] = process.argv.slice(2);
const client = new S3Client({ endpoint, region: "mkv", forcePathStyle: true, maxAttempts: 1 });
const Bucket = "photos";
const send = (Command, input = {}) => client.send(new Command({ Bucket, ...input }));
const md5 = (data) => createHash("md5").update(data).digest("hex");
const bytesOf = async (Key, more = {}) => Buffer.from(await (await send(GetObjectCommand, { Key, ...more })).Body.transformToByteArray());

async function refused(promise, name, status) {
    await assert.rejects(promise, (error) => {
        assert.equal(error.name, name);
        assert.equal(error.$metadata.httpStatusCode, status);
        return true;
    });
}

async function buckets() {
    await refused(send(HeadBucketCommand), "NotFound", 404);
    await refused(send(PutObjectCommand, { Key: "a", Body: "a" }), "NoSuchBucket", 404);
    await send(CreateBucketCommand);
    await send(HeadBucketCommand);
    const { Buckets } = await client.send(new ListBucketsCommand({}));
    assert.deepEqual(Buckets.map((bucket) => bucket.Name), [Bucket]);
    assert.equal((await send(GetBucketLocationCommand)).LocationConstraint, "mkv");
}

async function objects() {
    const Key = "a cat+1 ü/&?#";
    const { ETag } = await send(PutObjectCommand, {
        Key, Body: "a cat", ContentType: "text/x-cat", CacheControl: "max-age=9", Metadata: { colour: "black" },
    });
    assert.equal(ETag, `"${md5("a cat")}"`);
    await waitUntilObjectExists({ client, maxWaitTime: 10 }, { Bucket, Key });
    const head = await send(HeadObjectCommand, { Key });
    assert.deepEqual([head.ContentLength, head.ContentType, head.CacheControl, head.Metadata, head.ETag],
        [5, "text/x-cat", "max-age=9", { colour: "black" }, ETag]);
    assert.equal((await bytesOf(Key)).toString(), "a cat");
    assert.equal((await bytesOf(Key, { Range: "bytes=2-4" })).toString(), "cat");
    await refused(send(GetObjectCommand, { Key: "none" }), "NoSuchKey", 404);
    await refused(send(PutObjectCommand, { Key, Body: "another", IfNoneMatch: "*" }), "PreconditionFailed", 412);
    await refused(send(PutObjectCommand, { Key, Body: "another", IfMatch: '"0"' }), "PreconditionFailed", 412);
    await send(PutObjectCommand, { Key, Body: "another cat", IfMatch: ETag });
    await send(PutObjectCommand, { Key: "empty", Body: "" });
    assert.equal((await bytesOf("empty")).length, 0);
    // A stream goes up in chunks with the checksum behind them, even over plain HTTP.
    const data = randomBytes(300_000);
    await send(PutObjectCommand, { Key: "streamed", Body: Readable.from([data.subarray(0, 100_000), data.subarray(100_000)]),
        ContentLength: data.length });
    assert.ok((await bytesOf("streamed")).equals(data));
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
        const put = await send(PutObjectCommand, { Key: ChecksumAlgorithm, Body: data, ChecksumAlgorithm });
        const got = await send(GetObjectCommand, { Key: ChecksumAlgorithm, ChecksumMode: "ENABLED" });
        const sum = `Checksum${ChecksumAlgorithm}`;
        assert.ok(put[sum]);
        assert.equal(got[sum], put[sum]);
        assert.ok(Buffer.from(await got.Body.transformToByteArray()).equals(data)); // checked against the sum on the way
        const about = await send(GetObjectAttributesCommand, { Key: ChecksumAlgorithm, ObjectAttributes: ["Checksum", "ObjectSize"] });
        assert.deepEqual([about.Checksum[sum], about.ObjectSize], [put[sum], data.length]);
    }
    await refused(send(PutObjectCommand, { Key: "wrong", Body: "x", ChecksumSHA256: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }),
        "BadDigest", 400);
    await send(CopyObjectCommand, { Key: "copy", CopySource: encodeURI(`${Bucket}/${Key}`).replace("+", "%2B").replace("?", "%3F").replace("#", "%23") });
    assert.equal((await bytesOf("copy")).toString(), "another cat");
    await send(DeleteObjectCommand, { Key: "copy" });
}

async function lists() {
    const keys = Array.from({ length: 25 }, (_, i) => `list/${String(i).padStart(2, "0")} ü`);
    await Promise.all(keys.map((Key) => send(PutObjectCommand, { Key, Body: Key })));
    const found = [];
    let pages = 0;
    for await (const page of paginateListObjectsV2({ client, pageSize: 10 }, { Bucket, Prefix: "list/" })) {
        found.push(...page.Contents.map((entry) => entry.Key));
        pages++;
    }
    assert.deepEqual([found, pages], [keys, 3]);
    const { CommonPrefixes } = await send(ListObjectsCommand, { Delimiter: "/", Prefix: "l" });
    assert.deepEqual(CommonPrefixes, [{ Prefix: "list/" }]);
    const { Deleted } = await send(DeleteObjectsCommand, { Delete: { Objects: keys.map((Key) => ({ Key })) } });
    assert.deepEqual(Deleted.map((entry) => entry.Key), keys);
}

async function parts() {
    const data = randomBytes(Number(largeSize));
    const upload = new Upload({ client, queueSize: 4, partSize: 5 << 20,
        params: { Bucket, Key: "film", Body: Readable.from(data, { objectMode: false }), ContentType: "video/x-film", Metadata: { length: "long" } } });
    await upload.done();
    const head = await send(HeadObjectCommand, { Key: "film" });
    assert.deepEqual([head.ContentLength, head.ContentType, head.Metadata], [data.length, "video/x-film", { length: "long" }]);
    assert.ok((await bytesOf("film")).equals(data));
    await new Upload({ client, params: { Bucket, Key: "small", Body: Readable.from(["a ", "cat"]) } }).done();
    assert.equal((await bytesOf("small")).toString(), "a cat");

    const { UploadId } = await send(CreateMultipartUploadCommand, { Key: "joined" });
    const first = await send(UploadPartCopyCommand, { Key: "joined", UploadId, PartNumber: 1, CopySource: `${Bucket}/film`,
        CopySourceRange: `bytes=0-${(5 << 20) - 1}` });
    const second = await send(UploadPartCommand, { Key: "joined", UploadId, PartNumber: 2, Body: "the end" });
    const listed = await send(ListPartsCommand, { Key: "joined", UploadId });
    assert.deepEqual(listed.Parts.map((part) => part.ETag), [first.CopyPartResult.ETag, second.ETag]);
    await send(CompleteMultipartUploadCommand, { Key: "joined", UploadId, MultipartUpload: { Parts: [
        { PartNumber: 1, ETag: first.CopyPartResult.ETag }, { PartNumber: 2, ETag: second.ETag }] } });
    assert.ok((await bytesOf("joined")).equals(Buffer.concat([data.subarray(0, 5 << 20), Buffer.from("the end")])));

    const left = await send(CreateMultipartUploadCommand, { Key: "left" });
    assert.equal((await send(ListMultipartUploadsCommand)).Uploads.length, 1);
    await send(AbortMultipartUploadCommand, { Key: "left", UploadId: left.UploadId });
    await refused(send(UploadPartCommand, { Key: "left", UploadId: left.UploadId, PartNumber: 1, Body: "x" }), "NoSuchUpload", 404);
}

async function presigned() {
    const put = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key: "by URL" }), { expiresIn: 60 });
    assert.equal((await fetch(put, { method: "PUT", body: "by URL" })).status, 200);
    const get = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "by URL" }), { expiresIn: 60 });
    assert.equal(await (await fetch(get)).text(), "by URL");
}

async function removal() {
    await refused(send(DeleteBucketCommand), "BucketNotEmpty", 409);
    for await (const page of paginateListObjectsV2({ client }, { Bucket }))
        await send(DeleteObjectsCommand, { Delete: { Quiet: true, Objects: page.Contents.map(({ Key }) => ({ Key })) } });
    await send(DeleteBucketCommand);
}

for (const step of [buckets, objects, lists, parts, presigned, removal]) {
    await step();
    console.log(`${step.name}: as it should be`);
}
