"""boto3: every call of the API, and what it does beside them."""
import hashlib
import io
import threading

import pytest
from botocore.exceptions import ClientError

from mkvtest.cluster import SANITIZED
from mkvtest.s3 import (ADMIN, CHECKSUMS, LARGE, LIMITED, MEGABYTE, OTHER, READER, REGION, boto3_client, bytes_of, checksum,
                        md5, md5_base64)

PHOTOS = {"Bucket": "photos"}
CAT = {"Bucket": "photos", "Key": "a cat"}


def refused(call, **arguments):
    """(status, code) of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@pytest.fixture
def boto(s3):
    return s3.boto3()


@pytest.fixture
def photos(boto):
    boto.create_bucket(**PHOTOS)
    return boto


# --- buckets


def test_buckets(s3, boto):
    assert boto.list_buckets()["Buckets"] == []
    assert refused(boto.head_bucket, **PHOTOS)[0] == 404
    assert refused(boto.put_object, **CAT, Body=b"x") == (404, "NoSuchBucket")
    assert refused(boto.delete_bucket, **PHOTOS) == (404, "NoSuchBucket")
    boto.create_bucket(**PHOTOS)
    boto.create_bucket(Bucket="another", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    listed = boto.list_buckets()
    assert [bucket["Name"] for bucket in listed["Buckets"]] == ["another", "photos"]
    head = boto.head_bucket(**PHOTOS)
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == REGION
    assert boto.get_bucket_location(**PHOTOS)["LocationConstraint"] == REGION
    boto.get_waiter("bucket_exists").wait(**PHOTOS)
    assert refused(s3.boto3(OTHER).create_bucket, **PHOTOS) == (409, "BucketAlreadyExists")
    boto.put_object(**CAT, Body=b"x")
    assert refused(boto.delete_bucket, **PHOTOS) == (409, "BucketNotEmpty")
    boto.delete_object(**CAT)
    boto.delete_bucket(**PHOTOS)
    boto.get_waiter("bucket_not_exists").wait(**PHOTOS)
    assert [bucket["Name"] for bucket in boto.list_buckets()["Buckets"]] == ["another"]


def test_what_a_bucket_says_of_itself(photos):
    photos.put_object(**CAT, Body=b"x")
    assert "Status" not in photos.get_bucket_versioning(**PHOTOS)
    assert photos.get_object_tagging(**CAT)["TagSet"] == []
    for acl in (photos.get_bucket_acl(**PHOTOS), photos.get_object_acl(**CAT)):
        assert acl["Owner"]["ID"] == ADMIN.access
        assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    for call, expected in [("get_bucket_policy", "NoSuchBucketPolicy"), ("get_bucket_cors", "NoSuchCORSConfiguration"),
                           ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
                           ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
                           ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
                           ("get_bucket_website", "NoSuchWebsiteConfiguration")]:
        assert refused(getattr(photos, call), **PHOTOS) == (404, expected), call
    for call, more in [("get_bucket_logging", {}), ("get_bucket_notification_configuration", {}),
                       ("get_bucket_replication", {}), ("get_public_access_block", {}),
                       ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}})]:
        assert refused(getattr(photos, call), **PHOTOS, **more) == (501, "NotImplemented"), call


# --- objects


def test_put_get_head_delete(s3, photos):
    put = photos.put_object(**CAT, Body=b"a cat", ContentType="text/x-cat", CacheControl="max-age=9",
                            ContentDisposition="attachment", ContentEncoding="identity", ContentLanguage="en",
                            Metadata={"colour": "black", "age": "7"}, ContentMD5=md5_base64(b"a cat"))
    assert put["ETag"] == f'"{md5(b"a cat")}"'
    got, head = photos.get_object(**CAT), photos.head_object(**CAT)
    assert got["Body"].read() == b"a cat"
    for about in (got, head):
        assert {name: about[name] for name in ("ContentLength", "ContentType", "CacheControl", "ContentDisposition",
                                               "ContentEncoding", "ContentLanguage", "Metadata", "ETag")} == {
            "ContentLength": 5, "ContentType": "text/x-cat", "CacheControl": "max-age=9", "ContentDisposition": "attachment",
            "ContentEncoding": "identity", "ContentLanguage": "en", "Metadata": {"colour": "black", "age": "7"},
            "ETag": put["ETag"]}
        assert about["AcceptRanges"] == "bytes"
    assert got["LastModified"] == head["LastModified"]
    photos.put_object(**CAT, Body=b"another")  # overwrites, and forgets what was known of the first
    got = photos.get_object(**CAT)
    assert (got["Body"].read(), got["Metadata"]) == (b"another", {})
    assert photos.delete_object(**CAT)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert photos.delete_object(**CAT)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(photos.get_object, **CAT) == (404, "NoSuchKey")
    assert refused(photos.head_object, **CAT) == (404, "404")
    assert s3.records() == {}


def test_empty_objects_and_folders(photos):
    for key in ("empty", "folder/"):
        assert photos.put_object(**PHOTOS, Key=key)["ETag"] == f'"{md5(b"")}"'
        got = photos.get_object(**PHOTOS, Key=key)
        assert (got["Body"].read(), got["ContentLength"]) == (b"", 0)
    assert [entry["Key"] for entry in photos.list_objects_v2(**PHOTOS)["Contents"]] == ["empty", "folder/"]


def test_reading_in_pieces_and_under_conditions(photos):
    data = bytes_of(100_000, 2)
    etag = photos.put_object(**CAT, Body=data)["ETag"]
    for text, expected in [("bytes=0-0", data[:1]), ("bytes=10-19", data[10:20]), ("bytes=99990-", data[99990:]),
                           ("bytes=-7", data[-7:]), ("bytes=99990-200000", data[99990:])]:
        got = photos.get_object(**CAT, Range=text)
        assert got["Body"].read() == expected
        assert got["ContentRange"].endswith("/100000") and got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert refused(photos.get_object, **CAT, Range="bytes=100000-") == (416, "InvalidRange")
    at = photos.head_object(**CAT)["LastModified"]
    assert refused(photos.get_object, **CAT, IfNoneMatch=etag)[0] == 304
    assert refused(photos.get_object, **CAT, IfModifiedSince=at)[0] == 304
    assert refused(photos.get_object, **CAT, IfMatch='"0"') == (412, "PreconditionFailed")
    assert photos.get_object(**CAT, IfMatch=etag, IfUnmodifiedSince=at)["Body"].read() == data
    got = photos.get_object(**CAT, ResponseContentType="text/x-other", ResponseCacheControl="no-cache")
    assert (got["ContentType"], got["CacheControl"]) == ("text/x-other", "no-cache")
    assert b"".join(got["Body"].iter_chunks(10_000)) == data
    assert photos.get_object(**CAT, PartNumber=1)["Body"].read() == data


def test_writing_under_conditions(s3, photos):
    """IfNoneMatch and IfMatch of PutObject are newer than Debian's boto3: they go in as headers."""
    def with_header(name, value):
        def add(request, **_):
            request.headers[name] = value
        client = s3.boto3()
        client.meta.events.register("before-sign.s3.PutObject", add)
        return client

    only_new = with_header("If-None-Match", "*")
    etag = only_new.put_object(**CAT, Body=b"first")["ETag"]
    assert refused(only_new.put_object, **CAT, Body=b"second") == (412, "PreconditionFailed")
    assert refused(with_header("If-Match", '"0"').put_object, **CAT, Body=b"second") == (412, "PreconditionFailed")
    assert refused(with_header("If-Match", etag).put_object, **PHOTOS, Key="none", Body=b"x") in (
        (412, "PreconditionFailed"), (404, "NoSuchKey"))
    assert photos.get_object(**CAT)["Body"].read() == b"first"
    with_header("If-Match", etag).put_object(**CAT, Body=b"second")
    assert refused(with_header("If-Match", etag).put_object, **CAT, Body=b"third") == (412, "PreconditionFailed")
    assert photos.get_object(**CAT)["Body"].read() == b"second"


def test_of_many_conditional_writers_one_wins(s3, photos):
    """Ten at once, each after an ETag that it has seen: no update is lost."""
    photos.put_object(**CAT, Body=b"0")
    conflicts = []

    def count():
        client = boto3_client(s3.endpoint, ADMIN)
        try:
            for _ in range(5):
                while True:
                    got = client.get_object(**CAT)
                    value, etag = int(got["Body"].read()), got["ETag"]
                    def add(request, etag=etag, **_):
                        request.headers["If-Match"] = etag
                    client.meta.events.register("before-sign.s3.PutObject", add, unique_id="condition")
                    try:
                        client.put_object(**CAT, Body=str(value + 1).encode())
                        break
                    except ClientError as error:
                        conflicts.append(error.response["Error"]["Code"])
                    finally:
                        client.meta.events.unregister("before-sign.s3.PutObject", unique_id="condition")
        finally:
            client.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert photos.get_object(**CAT)["Body"].read() == b"20"
    assert set(conflicts) <= {"PreconditionFailed", "ConditionalRequestConflict"}


def test_copies(photos):
    data = bytes_of(300_000, 3)
    photos.put_object(**CAT, Body=data, ContentType="text/x-cat", Metadata={"colour": "black"})
    source = {"Bucket": "photos", "Key": "a cat"}
    copied = photos.copy_object(**PHOTOS, Key="copy+1", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == f'"{md5(data)}"'
    got = photos.get_object(**PHOTOS, Key="copy+1")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (data, "text/x-cat", {"colour": "black"})
    photos.copy_object(**PHOTOS, Key="copy2", CopySource="photos/a cat", MetadataDirective="REPLACE",
                       Metadata={"colour": "white"}, ContentType="text/x-white")
    got = photos.get_object(**PHOTOS, Key="copy2")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (data, "text/x-white", {"colour": "white"})
    photos.copy_object(**CAT, CopySource=source, MetadataDirective="REPLACE", Metadata={"colour": "grey"})
    assert photos.head_object(**CAT)["Metadata"] == {"colour": "grey"}
    assert refused(photos.copy_object, **CAT, CopySource=source) == (400, "InvalidRequest")
    assert refused(photos.copy_object, **PHOTOS, Key="x", CopySource="photos/none") == (404, "NoSuchKey")
    assert refused(photos.copy_object, **PHOTOS, Key="x", CopySource="nowhere/none") == (404, "NoSuchBucket")
    assert refused(photos.copy_object, **PHOTOS, Key="x", CopySource=source, CopySourceIfMatch='"0"') == (
        412, "PreconditionFailed")
    photos.copy_object(**PHOTOS, Key="x", CopySource=source, CopySourceIfMatch=f'"{md5(data)}"')
    photos.create_bucket(Bucket="another")
    photos.copy_object(Bucket="another", Key="x", CopySource=source)
    assert photos.get_object(Bucket="another", Key="x")["Body"].read() == data


def test_deleting_many(s3, photos):
    for i in range(20):
        photos.put_object(**PHOTOS, Key=f"many/{i}", Body=b"x")
    keys = [{"Key": f"many/{i}"} for i in range(20)] + [{"Key": "was never there"}]
    done = photos.delete_objects(**PHOTOS, Delete={"Objects": keys[:10]})
    assert sorted(entry["Key"] for entry in done["Deleted"]) == sorted(entry["Key"] for entry in keys[:10])
    done = photos.delete_objects(**PHOTOS, Delete={"Objects": keys, "Quiet": True})
    assert "Deleted" not in done and "Errors" not in done
    assert s3.records() == {}


@pytest.mark.parametrize("kind", [kind for kind in CHECKSUMS if kind != "CRC64NVME"])
def test_checksums(photos, kind):
    data = bytes_of(70_000, 4)
    sum_of = checksum(kind, data)
    try:
        put = photos.put_object(**CAT, Body=data, ChecksumAlgorithm=kind)
    except Exception as problem:  # CRC32C needs a library that boto3 does without
        if "MissingDependency" not in type(problem).__name__:
            raise
        put = photos.put_object(**CAT, Body=data, **{f"Checksum{kind}": sum_of})
    assert put[f"Checksum{kind}"] == sum_of
    got = photos.get_object(**CAT, ChecksumMode="ENABLED")
    assert (got["Body"].read(), got[f"Checksum{kind}"]) == (data, sum_of)
    assert f"Checksum{kind}" not in photos.head_object(**CAT)
    about = photos.get_object_attributes(**CAT, ObjectAttributes=["Checksum", "ObjectSize", "ETag", "StorageClass"])
    assert about["Checksum"] == {f"Checksum{kind}": sum_of}
    assert (about["ObjectSize"], about["ETag"]) == (len(data), md5(data))
    assert refused(photos.put_object, **CAT, Body=b"another", **{f"Checksum{kind}": sum_of}) == (400, "BadDigest")


# --- lists


def test_lists(photos):
    keys = sorted(["a", "a b", "b/1", "b/2", "b/c/3", "d+e&f", "ü/1", "z"], key=str.encode)
    for key in keys:
        photos.put_object(**PHOTOS, Key=key, Body=key.encode())

    def names(page):
        return [entry["Key"] for entry in page.get("Contents", [])]

    def prefixes(page):
        return [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]

    for call in (photos.list_objects, photos.list_objects_v2):
        page = call(**PHOTOS)
        assert names(page) == keys and not page["IsTruncated"]
        assert [entry["Size"] for entry in page["Contents"]] == [len(key.encode()) for key in keys]
        assert [entry["ETag"] for entry in page["Contents"]] == [f'"{md5(key.encode())}"' for key in keys]
        page = call(**PHOTOS, Delimiter="/")
        assert (names(page), prefixes(page)) == ([k for k in keys if "/" not in k], ["b/", "ü/"])
        page = call(**PHOTOS, Prefix="b/", Delimiter="/")
        assert (names(page), prefixes(page)) == (["b/1", "b/2"], ["b/c/"])
    assert names(photos.list_objects_v2(**PHOTOS, StartAfter="b/2")) == keys[keys.index("b/2") + 1:]
    assert names(photos.list_objects(**PHOTOS, Marker="b/2")) == keys[keys.index("b/2") + 1:]
    assert photos.list_objects_v2(**PHOTOS, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
    assert photos.list_objects_v2(**PHOTOS, MaxKeys=0)["KeyCount"] == 0
    for name in ("list_objects", "list_objects_v2", "list_object_versions"):
        pages = list(photos.get_paginator(name).paginate(**PHOTOS, PaginationConfig={"PageSize": 3}))
        entries = [entry for page in pages for entry in page.get("Contents", page.get("Versions", []))]
        assert [entry["Key"] for entry in entries] == keys and len(pages) == 3
        pages = list(photos.get_paginator(name).paginate(**PHOTOS, Delimiter="/", PaginationConfig={"PageSize": 2}))
        assert [prefix for page in pages for prefix in prefixes(page)] == ["b/", "ü/"]
    versions = photos.list_object_versions(**PHOTOS)["Versions"]
    assert {(entry["VersionId"], entry["IsLatest"]) for entry in versions} == {("null", True)}


# --- multipart


def test_multipart_step_by_step(s3, photos):
    parts = [bytes_of(5 * MEGABYTE, 10), bytes_of(5 * MEGABYTE + 7, 11), b"the end"]
    upload = photos.create_multipart_upload(**CAT, ContentType="text/x-cat", Metadata={"colour": "black"})["UploadId"]
    assert [entry["UploadId"] for entry in photos.list_multipart_uploads(**PHOTOS)["Uploads"]] == [upload]
    etags = {}
    for number in (3, 1, 2):
        etags[number] = photos.upload_part(**CAT, UploadId=upload, PartNumber=number, Body=parts[number - 1])["ETag"]
    assert etags[3] == f'"{md5(parts[2])}"'
    listed = photos.list_parts(**CAT, UploadId=upload)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == [
        (n, len(parts[n - 1]), etags[n]) for n in (1, 2, 3)]
    pages = list(photos.get_paginator("list_parts").paginate(**CAT, UploadId=upload, PaginationConfig={"PageSize": 2}))
    assert [part["PartNumber"] for page in pages for part in page["Parts"]] == [1, 2, 3]
    assert refused(photos.get_object, **CAT) == (404, "NoSuchKey")

    def complete(*numbers):
        return {"UploadId": upload,
                "MultipartUpload": {"Parts": [{"PartNumber": n, "ETag": etags.get(n, '"0"')} for n in numbers]}}

    for numbers, expected in [((2, 1), "InvalidPartOrder"), ((1, 4), "InvalidPart"), ((1, 3, 2), "InvalidPartOrder")]:
        assert refused(photos.complete_multipart_upload, **CAT, **complete(*numbers))[1] == expected
    done = photos.complete_multipart_upload(**CAT, **complete(1, 2, 3))
    of_parts = md5(b"".join(hashlib.md5(part).digest() for part in parts))
    assert done["ETag"] == f'"{of_parts}-3"'
    got = photos.get_object(**CAT)
    assert got["Body"].read() == b"".join(parts)
    assert (got["ContentType"], got["Metadata"], got["ETag"]) == ("text/x-cat", {"colour": "black"}, done["ETag"])
    assert photos.complete_multipart_upload(**CAT, **complete(1, 2, 3))["ETag"] == done["ETag"]
    assert not photos.list_multipart_uploads(**PHOTOS).get("Uploads")
    part = photos.get_object(**CAT, PartNumber=2)
    assert (part["Body"].read(), part["PartsCount"]) == (parts[1], 3)
    about = photos.get_object_attributes(**CAT, ObjectAttributes=["ObjectParts", "ObjectSize", "ETag"])
    assert about["ObjectSize"] == len(b"".join(parts)) and about["ObjectParts"]["TotalPartsCount"] == 3
    assert s3.cluster.files() == s3.cluster.expected_files(b"/photos/a cat", b"".join(parts))


def test_multipart_copies_and_aborts(s3, photos):
    data = bytes_of(11 * MEGABYTE, 12)
    photos.put_object(**PHOTOS, Key="source", Body=data)
    before = s3.state()
    upload = photos.create_multipart_upload(**CAT)["UploadId"]
    etags = []
    for number, (first, last) in enumerate([(0, 6 * MEGABYTE - 1), (6 * MEGABYTE, len(data) - 1)], 1):
        result = photos.upload_part_copy(**CAT, UploadId=upload, PartNumber=number, CopySource="photos/source",
                                         CopySourceRange=f"bytes={first}-{last}")
        etags.append(result["CopyPartResult"]["ETag"])
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    photos.complete_multipart_upload(**CAT, UploadId=upload, MultipartUpload={"Parts": parts})
    assert photos.get_object(**CAT)["Body"].read() == data
    photos.delete_object(**CAT)
    upload = photos.create_multipart_upload(**CAT)["UploadId"]
    photos.upload_part(**CAT, UploadId=upload, PartNumber=1, Body=b"small")
    photos.upload_part(**CAT, UploadId=upload, PartNumber=2, Body=b"last")
    parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]}
             for part in photos.list_parts(**CAT, UploadId=upload)["Parts"]]
    assert refused(photos.complete_multipart_upload, **CAT, UploadId=upload, MultipartUpload={"Parts": parts}) == (
        400, "EntityTooSmall")
    photos.abort_multipart_upload(**CAT, UploadId=upload)
    assert refused(photos.upload_part, **CAT, UploadId=upload, PartNumber=1, Body=b"x") == (404, "NoSuchUpload")
    assert refused(photos.list_parts, **CAT, UploadId=upload) == (404, "NoSuchUpload")
    assert s3.state() == before


def test_transfers(photos, tmp_path):
    """upload_fileobj and its kin split large objects and send the parts side by side."""
    import boto3.s3.transfer
    data = bytes_of(LARGE, 13)
    settings = boto3.s3.transfer.TransferConfig(multipart_threshold=8 * MEGABYTE, max_concurrency=4)
    photos.upload_fileobj(io.BytesIO(data), "photos", "film", ExtraArgs={"Metadata": {"length": "long"}}, Config=settings)
    assert photos.head_object(**PHOTOS, Key="film")["Metadata"] == {"length": "long"}
    back = io.BytesIO()
    photos.download_fileobj("photos", "film", back, Config=settings)
    assert back.getvalue() == data
    photos.copy({"Bucket": "photos", "Key": "film"}, "photos", "copy", Config=settings)
    photos.download_file("photos", "copy", str(tmp_path / "copy"), Config=settings)
    assert (tmp_path / "copy").read_bytes() == data
    photos.upload_fileobj(io.BytesIO(b"small"), "photos", "small")
    photos.download_fileobj("photos", "small", small := io.BytesIO())
    assert small.getvalue() == b"small"


# --- signatures


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_signature_versions_and_presigned_urls(s3, photos, version):
    import requests
    client = s3.boto3(signature_version=version)
    client.put_object(**CAT, Body=b"a cat")
    session = requests.Session()
    session.trust_env = False
    url = client.generate_presigned_url("get_object", Params={**CAT, "ResponseContentType": "text/x-cat"}, ExpiresIn=60)
    assert ("X-Amz-Signature" in url) == (version == "s3v4")
    with session:
        answer = session.get(url, timeout=20)
        assert (answer.content, answer.headers["Content-Type"]) == (b"a cat", "text/x-cat")
        assert session.get(url.replace("a%20cat", "b"), timeout=20).status_code == 403
        url = client.generate_presigned_url("put_object", Params={**PHOTOS, "Key": "put+by&url"}, ExpiresIn=60)
        assert session.put(url, data=b"by URL", timeout=20).status_code == 200
        assert client.get_object(**PHOTOS, Key="put+by&url")["Body"].read() == b"by URL"
        form = client.generate_presigned_post("photos", "by form/${filename}", Conditions=[["content-length-range", 1, 100]])
        answer = session.post(form["url"], data=form["fields"], files={"file": ("f.txt", b"by form")}, timeout=20)
        assert answer.status_code == 204, answer.text
        assert client.get_object(**PHOTOS, Key="by form/f.txt")["Body"].read() == b"by form"
        answer = session.post(form["url"], data=form["fields"], files={"file": ("f.txt", b"x" * 101)}, timeout=20)
        assert answer.status_code == 400 and "EntityTooLarge" in answer.text


def test_keys_with_one_bucket(s3, boto):
    boto.create_bucket(Bucket="limited")
    boto.create_bucket(**PHOTOS)
    limited, reader = s3.boto3(LIMITED), s3.boto3(READER)
    limited.put_object(Bucket="limited", Key="x", Body=b"x")
    assert reader.get_object(Bucket="limited", Key="x")["Body"].read() == b"x"
    assert [bucket["Name"] for bucket in reader.list_buckets()["Buckets"]] == ["limited"]
    assert refused(reader.put_object, Bucket="limited", Key="x", Body=b"y") == (403, "AccessDenied")
    assert refused(limited.put_object, **CAT, Body=b"y") == (403, "AccessDenied")
    assert refused(limited.list_objects_v2, **PHOTOS) == (403, "AccessDenied")
    assert refused(limited.create_bucket, Bucket="mine") == (403, "AccessDenied")


def test_many_at_once(s3, photos):
    """One client, many threads: every answer goes to whom it belongs."""
    count = 50 if SANITIZED else 200
    client, complaints = s3.boto3(max_pool_connections=16), []

    def work(first):
        for i in range(first, count, 8):
            key, body = f"many/{i}", f"value {i} ".encode() * (1 + i % 50)
            client.put_object(**PHOTOS, Key=key, Body=body)
            if client.get_object(**PHOTOS, Key=key)["Body"].read() != body:
                complaints.append(key)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not complaints
    assert len(s3.records()) == count


def test_without_keys(make_s3):
    server = make_s3(keys=False)
    boto = server.boto3()
    boto.put_object(**CAT, Body=b"a cat")  # the bucket comes into being with it
    assert boto.get_object(**CAT)["Body"].read() == b"a cat"
    assert [bucket["Name"] for bucket in boto.list_buckets()["Buckets"]] == ["photos"]
    assert server.master.read("/photos/a cat") == b"a cat"
    assert server.master.put("/photos/native", b"native").status == 201
    assert boto.get_object(**PHOTOS, Key="native")["Body"].read() == b"native"
    assert [entry["Key"] for entry in boto.list_objects_v2(**PHOTOS)["Contents"]] == ["a cat", "native"]
