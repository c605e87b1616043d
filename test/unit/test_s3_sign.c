/* test/unit/test_s3_sign.c - signatures of versions 4 and 2.  The expected ones
 * are computed by test/fixtures/s3/vectors, which compares them with those that
 * AWS has published. */
#include "api/s3_sign.h"

#include "s3_helper.h"

#define AUTH(headers, signature)                                                                   \
    "Authorization: AWS4-HMAC-SHA256 Credential=" EXAMPLE_ACCESS "/" EXAMPLE_SCOPE                  \
    ",SignedHeaders=" headers ",Signature=" signature "\n"
#define DATE "x-amz-date: 20130524T000000Z\n"
#define HASH "x-amz-content-sha256: " EMPTY_SHA256 "\n"
#define PUT_HASH "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define QUERY(expires, headers, signature)                                                         \
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" EXAMPLE_ACCESS                             \
    "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=" expires \
    "&X-Amz-SignedHeaders=" headers "&X-Amz-Signature=" signature

#define GET_RANGE                                                                                  \
    "GET /test.txt HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\nRange: bytes=0-9\n" HASH DATE    \
    AUTH("host;range;x-amz-content-sha256;x-amz-date",                                              \
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
#define PRESIGNED                                                                                  \
    "GET /test.txt?" QUERY("86400", "host",                                                         \
                           "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")      \
    " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"

static enum s3_error check_with(struct s3_key_cache *cache, const char *head, int64_t now,
                                struct s3_signature *out)
{
    struct s3_signer signer = {example_secret, NULL, cache};
    struct parsed_request p;

    parse_request(&p, head, now);
    return s3_sign_check(&signer, &p.r, out);
}

static enum s3_error check(const char *head, int64_t now, struct s3_signature *out)
{
    return check_with(NULL, head, now, out);
}

/* ---- version 4 ------------------------------------------------------------------ */

static const struct good_row {
    const char *head;
    enum s3_sign_kind kind;
    enum s3_payload payload;
} good[] = {
    {GET_RANGE, S3_SIGN_V4_HEADER, S3_PAYLOAD_HASH},
    {"PUT /test$file.text HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"
     "Date: Fri, 24 May 2013 00:00:00 GMT\nx-amz-content-sha256: " PUT_HASH "\n" DATE
     "x-amz-storage-class: REDUCED_REDUNDANCY\nContent-Length: 21\n"
     AUTH("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
          "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_HASH},
    {"GET /?lifecycle HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n" HASH DATE
     AUTH("host;x-amz-content-sha256;x-amz-date",
          "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_HASH},
    {"GET /?prefix=J&max-keys=2 HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n" HASH DATE
     AUTH("host;x-amz-content-sha256;x-amz-date",
          "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_HASH},
    /* encoded as little as the target allows, and in lower case */
    {"GET /b/a+b%20&=%3f%23(1)'!*//../~?uploadId=x%2by+z&x-id=GetObject&partNumber=1 HTTP/1.1\n"
     "Host: 127.0.0.1:3000\n" HASH DATE
     AUTH("host;x-amz-content-sha256;x-amz-date",
          "81f7aa12f49e26502f59b39bead4173f51eae28066cf24742fe483306ab67c77"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_HASH},
    /* spaces collapse, lines of one name are joined */
    {"PUT /b/k HTTP/1.1\nHost: h\nx-amz-content-sha256: UNSIGNED-PAYLOAD\n" DATE
     "X-Amz-Meta-A:   one   two \nX-Amz-Meta-A: three\n"
     AUTH("host;x-amz-content-sha256;x-amz-date;x-amz-meta-a",
          "c520d1c94924196c5fc76be64e4d3585283f017b9ed886cc30934fa6213a744b"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_UNSIGNED},
    /* neither encoded nor sorted: as curl 7.88 signs */
    {"GET /b/a(1).txt?list&b=2&a=1 HTTP/1.1\nHost: h\n" DATE
     AUTH("host;x-amz-date", "4a788a6e204f4f9e4a29e40f7a7c4aff89a4f03813bf857ed88f28820aa53e8b"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_ABSENT},
    {"PUT /b/k HTTP/1.1\nHost: h\nContent-Length: 5\n" DATE
     AUTH("host;x-amz-date", "528bd1689fe22d0ec5577c882a3f63f010b5af066f7a10b2084b4682b53cf92e"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_ABSENT},
    {"GET /b/k HTTP/1.1\nHost: h\nDate: Fri, 24 May 2013 00:00:00 GMT\n"
     AUTH("date;host", "f2ce75c06d350a63a6dbc3d6eb40065938948557139a6a8063fc1cfdfc9e02c5"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_ABSENT},
    {PRESIGNED, S3_SIGN_V4_QUERY, S3_PAYLOAD_ABSENT},
    {"PUT /b/k?" QUERY("604800", "host%3Bx-amz-meta-a",
                       "b495f0687570194fb9e402744d6b21ebb21203c7929aacc47fdac7ea0e92db25")
     " HTTP/1.1\nHost: h\nx-amz-meta-a: 1\nContent-Length: 1\n",
     S3_SIGN_V4_QUERY, S3_PAYLOAD_ABSENT},
    {"PUT /examplebucket/chunkObject.txt HTTP/1.1\nHost: s3.amazonaws.com\n" DATE
     "x-amz-storage-class: REDUCED_REDUNDANCY\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\nContent-Encoding: aws-chunked\n"
     "x-amz-decoded-content-length: 66560\nContent-Length: 66824\n"
     AUTH("content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
          "x-amz-decoded-content-length;x-amz-storage-class",
          "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_STREAMING},
    {"PUT /examplebucket/chunkObject.txt HTTP/1.1\nHost: s3.amazonaws.com\n" DATE
     "x-amz-storage-class: REDUCED_REDUNDANCY\nTransfer-Encoding: chunked\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\n"
     "Content-Encoding: aws-chunked\nx-amz-decoded-content-length: 66560\n"
     "x-amz-trailer: x-amz-checksum-crc32c\n"
     AUTH("content-encoding;host;x-amz-content-sha256;x-amz-date;"
          "x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
          "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"),
     S3_SIGN_V4_HEADER, S3_PAYLOAD_STREAMING_TRAILER},
};

static void good_signatures(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct s3_signature s;
        enum s3_error err = check(good[i].head, EXAMPLE_NOW, &s);

        if (err) fail_msg("row %zu: %s (%s)", i, s3_error_code(err), s.why ? s.why : "");
        assert_int_equal(s.kind, good[i].kind);
        assert_int_equal(s.payload, good[i].payload);
        assert_string_equal(s.access, EXAMPLE_ACCESS);
        assert_int_equal(s.access_len, strlen(EXAMPLE_ACCESS));
        assert_string_equal(s.scope, EXAMPLE_SCOPE);
        assert_string_equal(s.date, "20130524T000000Z");
        assert_non_null(strstr(good[i].head, s.seed));
    }
}

/* Whichever byte of the head changes, it is no longer what was signed - but for
 * those of headers that are not signed, and the case of what has none. */
static void any_other_byte_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        char *copy = strdup(good[i].head);
        size_t path = (size_t)(strchr(copy, ' ') - copy) + 2;
        size_t end = (size_t)(strstr(copy, " HTTP/1.1") - copy);

        for (size_t at = path; at < end; at++) {
            struct s3_signature s;
            char was = copy[at];

            copy[at] = was == 'q' ? 'r' : 'q';
            /* hex digits of X-Amz-Signature and encodings become no digits; never accepted */
            if (check(copy, EXAMPLE_NOW, &s) == S3_OK) fail_msg("row %zu, byte %zu", i, at);
            copy[at] = was;
        }
        free(copy);
    }
}

#define MALFORMED S3_AUTHORIZATION_HEADER_MALFORMED
#define BAD_QUERY S3_AUTHORIZATION_QUERY_PARAMETERS_ERROR

/* One change of a good request, and what comes of it. */
static const struct {
    const char *head, *from, *to;
    enum s3_error err;
} changed[] = {
    {GET_RANGE, "GET ", "HEAD ", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "bytes=0-9", "bytes=0-99", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "Range: bytes=0-9\n", "", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "Range: bytes=0-9\n", "Range: bytes=0-9\nRange: bytes=0-9\n", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "/test.txt", "/test.txt?a", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "/test.txt", "/test%2Etxt", S3_OK}, /* the same key */
    {GET_RANGE, "/test.txt", "//test.txt", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "/test.txt", "/test.txt%", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "us-east-1", "us-east-2", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "Signature=f0", "Signature=f1", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "Signature=f0", "Signature=F0", S3_OK},
    {GET_RANGE, "Signature=f0", "Signature=0", MALFORMED},
    {GET_RANGE, "Signature=f0", "Signature=zz", MALFORMED},
    {GET_RANGE, ",SignedHeaders", " ,  SignedHeaders", S3_OK},
    {GET_RANGE, ",Signature=", ",Sig=", MALFORMED},
    {GET_RANGE, ",Signature=", ",Signature=,Signature=", MALFORMED},
    {GET_RANGE, "Credential=", "", MALFORMED},
    {GET_RANGE, "/s3/", "/ec2/", MALFORMED},
    {GET_RANGE, "aws4_request", "aws5_request", MALFORMED},
    {GET_RANGE, "/20130524/", "/2013052/", MALFORMED},
    {GET_RANGE, "/20130524/", "/20130525/", MALFORMED},
    {GET_RANGE, "/us-east-1/", "/", MALFORMED},
    {GET_RANGE, EXAMPLE_ACCESS "/", "/", MALFORMED},
    {GET_RANGE, EXAMPLE_ACCESS, "AKIAIOSFODNN7EXAMPLF", S3_INVALID_ACCESS_KEY_ID},
    {GET_RANGE, EXAMPLE_ACCESS, "a/b", S3_INVALID_ACCESS_KEY_ID}, /* an access key may hold '/' */
    {GET_RANGE, "=host;range", "=range", MALFORMED},
    {GET_RANGE, "=host;range", "=Host;range", MALFORMED},
    {GET_RANGE, "=host;range", "=host;host;range", MALFORMED},
    {GET_RANGE, "=host;range", "=host;;range", MALFORMED},
    {GET_RANGE, "=host;range", "=range;host", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "range;x-amz-content-sha256;", "range;", S3_ACCESS_DENIED},
    {GET_RANGE, "\nRange", "\nx-amz-acl: public-read\nRange", S3_ACCESS_DENIED},
    {GET_RANGE, "20130524T000000Z", "20130524T00000Z", MALFORMED},
    {GET_RANGE, "20130524T000000Z", "20130524T000001Z", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "20130524T000000Z", "20130524T001501Z", S3_REQUEST_TIME_TOO_SKEWED},
    {GET_RANGE, DATE, "", MALFORMED},
    {GET_RANGE, HASH, "x-amz-content-sha256: STREAMING-PAYLOAD\n", S3_INVALID_ARGUMENT},
    {GET_RANGE, HASH, "x-amz-content-sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD\n", S3_NOT_IMPLEMENTED},
    {GET_RANGE, HASH, "x-amz-content-sha256: UNSIGNED-PAYLOAD\n", S3_SIGNATURE_DOES_NOT_MATCH},
    {GET_RANGE, "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256", S3_INVALID_ARGUMENT},
    {GET_RANGE, "AWS4-HMAC-SHA256 ", "Bearer ", S3_INVALID_ARGUMENT},
    {GET_RANGE, "/test.txt", "/test.txt?X-Amz-Signature=1", S3_INVALID_ARGUMENT},
    {GET_RANGE, "\nRange", "\nAuthorization: AWS a:b\nRange", S3_INVALID_ARGUMENT},
    {PRESIGNED, "GET ", "PUT ", S3_SIGNATURE_DOES_NOT_MATCH},
    {PRESIGNED, "X-Amz-Expires=86400", "X-Amz-Expires=86401", S3_SIGNATURE_DOES_NOT_MATCH},
    {PRESIGNED, "X-Amz-Expires=86400", "X-Amz-Expires=0", BAD_QUERY},
    {PRESIGNED, "X-Amz-Expires=86400", "X-Amz-Expires=604801", BAD_QUERY},
    {PRESIGNED, "X-Amz-Expires=86400", "X-Amz-Expires=-1", BAD_QUERY},
    {PRESIGNED, "X-Amz-Expires=86400", "X-Amz-Expires=1e3", BAD_QUERY},
    {PRESIGNED, "&X-Amz-Expires=86400", "", BAD_QUERY},
    {PRESIGNED, "&X-Amz-Date=", "&X-Amz-Date=20130524T000000Z&X-Amz-Date=", BAD_QUERY},
    {PRESIGNED, "X-Amz-Date=20130524", "X-Amz-Date=20130525", BAD_QUERY},
    {PRESIGNED, "-SHA256&", "-SHA512&", BAD_QUERY},
    {PRESIGNED, "SignedHeaders=host", "SignedHeaders=range", BAD_QUERY},
    {PRESIGNED, "X-Amz-Signature=ae", "X-Amz-Signature=af", S3_SIGNATURE_DOES_NOT_MATCH},
    {PRESIGNED, "X-Amz-Signature=ae", "X-Amz-Signature=%61e", S3_OK},
    {PRESIGNED, " HTTP", "&a=b HTTP", S3_SIGNATURE_DOES_NOT_MATCH},
    {PRESIGNED, " HTTP", "&%5Ba%5d=b HTTP", S3_SIGNATURE_DOES_NOT_MATCH},
    {PRESIGNED, " HTTP", "&%61=b HTTP", S3_INVALID_ARGUMENT}, /* signed as "a" is */
    {PRESIGNED, " HTTP", "&a%2Db HTTP", S3_INVALID_ARGUMENT},
    {PRESIGNED, " HTTP", "&ab%2d=1 HTTP", S3_INVALID_ARGUMENT},
    {PRESIGNED, "X-Amz-Date", "X-Amz-%44ate", S3_INVALID_ARGUMENT},
    {PRESIGNED, " HTTP", "&X-Amz-Signature= HTTP", BAD_QUERY},
    {PRESIGNED, "Host:", "x-amz-meta-a: 1\nHost:", S3_ACCESS_DENIED},
    {PRESIGNED, "Host: e", "Host: f", S3_SIGNATURE_DOES_NOT_MATCH},
    {PRESIGNED, EXAMPLE_ACCESS, "AKIAIOSFODNN7EXAMPLF", S3_INVALID_ACCESS_KEY_ID},
    {PRESIGNED, "%2Fs3%2F", "%2Fsqs%2F", BAD_QUERY},
};

static void changed_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(changed); i++) {
        char *head = replaced(changed[i].head, changed[i].from, changed[i].to);
        struct s3_signature s;
        enum s3_error err;

        assert_string_not_equal(head, changed[i].head);
        err = check(head, EXAMPLE_NOW, &s);
        if (err != changed[i].err)
            fail_msg("row %zu: %s -> %s: %s, not %s (%s)", i, changed[i].from, changed[i].to,
                     s3_error_code(err), s3_error_code(changed[i].err), s.why ? s.why : "");
        free(head);
    }
}

static void times(void **state)
{
    static const struct {
        const char *head;
        int64_t after; /* seconds behind the request's own time */
        enum s3_error err;
    } rows[] = {
        {GET_RANGE, -900,  S3_OK                     },
        {GET_RANGE, -901,  S3_REQUEST_TIME_TOO_SKEWED},
        {GET_RANGE, 900,   S3_OK                     },
        {GET_RANGE, 901,   S3_REQUEST_TIME_TOO_SKEWED},
        {PRESIGNED, -900,  S3_OK                     },
        {PRESIGNED, -901,  S3_ACCESS_DENIED          },
        {PRESIGNED, 86400, S3_OK                     },
        {PRESIGNED, 86401, S3_ACCESS_DENIED          },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct s3_signature s;

        if (check(rows[i].head, EXAMPLE_NOW + rows[i].after, &s) != rows[i].err)
            fail_msg("row %zu", i);
    }
}

/* ---- version 2 --------------------------------------------------------------------- */

#define V2_NOW 1175024202 /* Tue, 27 Mar 2007 19:36:42 */

static const struct {
    const char *head, *bucket;
    int64_t after;
    enum s3_error err;
} v2[] = {
    {"GET /photos/puppy.jpg HTTP/1.1\nHost: johnsmith.s3.amazonaws.com\n"
     "Date: Tue, 27 Mar 2007 19:36:42 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":bWq2s1WEIj+Ydj0vQ697zp+IXMU=\n", "johnsmith", 0, S3_OK},
    {"PUT /photos/puppy.jpg HTTP/1.1\nContent-Type: image/jpeg\nContent-Length: 94328\n"
     "Host: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 21:15:45 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":MyyxeRY7whkBe+bq8fHCL/2kKUg=\n", "johnsmith", 5943, S3_OK},
    {"GET /?prefix=photos&max-keys=50&marker=puppy HTTP/1.1\nHost: johnsmith.s3.amazonaws.com\n"
     "Date: Tue, 27 Mar 2007 19:42:41 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":htDYFYduRNen8P9ZfE/s9SuKy0U=\n", "johnsmith", 0, S3_OK},
    {"GET /?acl HTTP/1.1\nHost: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 19:44:46 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":c2WLPFtWHVgbEmeEG93a4cG37dM=\n", "johnsmith", 0, S3_OK},
    {"DELETE /johnsmith/photos/puppy.jpg HTTP/1.1\nHost: s3.amazonaws.com\n"
     "Date: Tue, 27 Mar 2007 21:20:27 +0000\nx-amz-date: Tue, 27 Mar 2007 21:20:26 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":R4dJ53KECjStyBO5iTBJZ4XVOaI=\n", "", 6224, S3_OK},
    {"PUT /b/k?x-id=a&uploadId=u&response-content-type=text%2Fplain&partNumber=1 HTTP/1.1\nHost: h\n"
     "Content-MD5: md5\nContent-Type: t\nX-AMZ-Meta-A: 1\nX-Amz-Acl: public-read\nx-amz-meta-a: 2\n"
     "Date: Tue, 27 Mar 2007 21:20:26 +0000\nContent-Length: 0\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":In4eSEj4tx1W251fDG1Tecrdg7s=\n", "", 6224, S3_OK},
    {"GET /photos/puppy.jpg?AWSAccessKeyId=" EXAMPLE_ACCESS
     "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620 HTTP/1.1\nHost: h\n", "johnsmith",
     1175139620 - V2_NOW, S3_OK},
    {"GET /photos/puppy.jpg?AWSAccessKeyId=" EXAMPLE_ACCESS
     "&Signature=NpgCjnDzrM+WFzoENXmpNDUsSn8=&Expires=1175139620 HTTP/1.1\nHost: h\n", "johnsmith",
     0, S3_OK},
    /* and what is refused */
    {"GET /photos/puppy.jpg?AWSAccessKeyId=" EXAMPLE_ACCESS
     "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620 HTTP/1.1\nHost: h\n", "johnsmith",
     1175139621 - V2_NOW, S3_ACCESS_DENIED},
    {"GET /photos/puppy.jpg?AWSAccessKeyId=" EXAMPLE_ACCESS
     "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139621 HTTP/1.1\nHost: h\n", "johnsmith",
     0, S3_SIGNATURE_DOES_NOT_MATCH},
    {"GET /photos/puppy.jpg?AWSAccessKeyId=" EXAMPLE_ACCESS
     "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620&uploads HTTP/1.1\nHost: h\n",
     "johnsmith", 0, S3_SIGNATURE_DOES_NOT_MATCH},
    {"GET /photos/puppy.jpg?AWSAccessKeyId=" EXAMPLE_ACCESS
     "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D HTTP/1.1\nHost: h\n", "johnsmith", 0, S3_ACCESS_DENIED},
    {"GET /photos/puppy.jpg?AWSAccessKeyId=" EXAMPLE_ACCESS
     "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620 HTTP/1.1\nHost: h\nx-amz-acl: x\n",
     "johnsmith", 0, S3_SIGNATURE_DOES_NOT_MATCH},
    {"GET /photos/puppy.jpg HTTP/1.1\nHost: h\nDate: Tue, 27 Mar 2007 19:36:42 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":bWq2s1WEIj+Ydj0vQ697zp+IXMU=\n", "", 0,
     S3_SIGNATURE_DOES_NOT_MATCH},
    {"GET /photos/puppy.jpg HTTP/1.1\nHost: h\nDate: Tue, 27 Mar 2007 19:36:42 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":bWq2s1WEIj+Ydj0vQ697zp+IXMV=\n", "johnsmith", 0,
     S3_SIGNATURE_DOES_NOT_MATCH},
    {"GET /photos/puppy.jpg HTTP/1.1\nHost: h\nDate: Tue, 27 Mar 2007 19:36:42 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":bWq2s1WEIj+Ydj0vQ697zp+IXMU=\n", "johnsmith", 901,
     S3_REQUEST_TIME_TOO_SKEWED},
    {"GET /b?acl&acl=1 HTTP/1.1\nHost: h\nDate: Tue, 27 Mar 2007 19:36:42 +0000\n"
     "Authorization: AWS " EXAMPLE_ACCESS ":bWq2s1WEIj+Ydj0vQ697zp+IXMU=\n", "", 0, S3_INVALID_REQUEST},
    {"GET /b HTTP/1.1\nHost: h\nAuthorization: AWS " EXAMPLE_ACCESS ":x\n", "", 0, S3_ACCESS_DENIED},
    {"GET /b HTTP/1.1\nHost: h\nDate: Tue, 27 Mar 2007 19:36:42 +0000\nAuthorization: AWS x:x\n", "",
     0, S3_INVALID_ACCESS_KEY_ID},
    {"GET /b HTTP/1.1\nHost: h\nAuthorization: AWS x\n", "", 0, S3_INVALID_ARGUMENT},
    {"GET /b HTTP/1.1\nHost: h\nDate: Tue, 27 Mar 2007 19:36:42 +0000\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\nAuthorization: AWS x:x\n", "", 0,
     S3_INVALID_ARGUMENT},
};

static void version_2(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(v2); i++) {
        struct s3_signer signer = {example_secret, NULL, NULL};
        struct parsed_request p;
        struct s3_signature s;
        enum s3_error err;
        int64_t now = V2_NOW + v2[i].after;

        parse_request(&p, v2[i].head, now);
        p.r.host_bucket = mkv_slice_of(v2[i].bucket);
        err = s3_sign_check(&signer, &p.r, &s);
        if (err != v2[i].err)
            fail_msg("row %zu: %s, not %s (%s)", i, s3_error_code(err), s3_error_code(v2[i].err),
                     s.why ? s.why : "");
    }
}

/* ---- the rest ------------------------------------------------------------------------- */

static void unsigned_requests(void **state)
{
    struct s3_signature s;

    (void)state;
    assert_int_equal(check("GET / HTTP/1.1\nHost: h\n", 0, &s), S3_ACCESS_DENIED);
    assert_int_equal(s.kind, S3_SIGN_NONE);
    /* nothing of it is the signature's own name */
    assert_int_equal(check("GET /?x-amz-signature=1&%58-Amz-Signature=1 HTTP/1.1\nHost: h\n", 0, &s),
                     S3_ACCESS_DENIED);
    assert_int_equal(s.kind, S3_SIGN_NONE);
}

static void payloads(void **state)
{
    static const struct {
        const char *text;
        enum s3_error err;
        enum s3_payload kind;
    } rows[] = {
        {"UNSIGNED-PAYLOAD",                           S3_OK,               S3_PAYLOAD_UNSIGNED                  },
        {EMPTY_SHA256,                                 S3_OK,               S3_PAYLOAD_HASH                      },
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",         S3_OK,               S3_PAYLOAD_STREAMING                 },
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", S3_OK,               S3_PAYLOAD_STREAMING_TRAILER         },
        {"STREAMING-UNSIGNED-PAYLOAD-TRAILER",         S3_OK,               S3_PAYLOAD_STREAMING_UNSIGNED_TRAILER},
        {"unsigned-payload",                           S3_INVALID_ARGUMENT, S3_PAYLOAD_ABSENT                    },
        {"e3b0",                                       S3_INVALID_ARGUMENT, S3_PAYLOAD_ABSENT                    },
        {"",                                           S3_INVALID_ARGUMENT, S3_PAYLOAD_ABSENT                    },
    };
    struct s3_sign_request r = {.nheaders = 0};
    enum s3_payload kind;
    uint8_t sha256[MKV_SHA256_LEN];

    (void)state;
    assert_int_equal(s3_sign_payload(&r, &kind, sha256), S3_OK);
    assert_int_equal(kind, S3_PAYLOAD_ABSENT);
    r.query = MKV_SLICE("X-Amz-Content-Sha256=UNSIGNED-PAYLOAD");
    assert_int_equal(s3_sign_payload(&r, &kind, sha256), S3_OK);
    assert_int_equal(kind, S3_PAYLOAD_UNSIGNED);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mkv_header h = {MKV_SLICE("X-Amz-Content-SHA256"), mkv_slice_of(rows[i].text)};

        r.headers = &h;
        r.nheaders = 1;
        assert_int_equal(s3_sign_payload(&r, &kind, sha256), rows[i].err);
        assert_int_equal(kind, rows[i].kind);
    }
}

static void key_cache(void **state)
{
    struct s3_key_cache *cache = calloc(1, sizeof(*cache));
    char *wrong = replaced(GET_RANGE, "Signature=f0", "Signature=f1");
    struct s3_signature first, second;

    (void)state;
    assert_non_null(cache);
    /* what did not hold leaves nothing behind */
    assert_int_equal(check_with(cache, wrong, EXAMPLE_NOW, &first), S3_SIGNATURE_DOES_NOT_MATCH);
    assert_int_equal(cache->used, 0);
    assert_int_equal(check_with(cache, GET_RANGE, EXAMPLE_NOW, &first), S3_OK);
    assert_int_equal(cache->used, 1);
    assert_int_equal(check_with(cache, GET_RANGE, EXAMPLE_NOW, &second), S3_OK);
    assert_int_equal(cache->used, 1);
    assert_memory_equal(first.key, second.key, sizeof(first.key));
    /* the kept key is what is used... */
    cache->keys[0].key[0] ^= 1;
    assert_int_equal(check_with(cache, GET_RANGE, EXAMPLE_NOW, &second), S3_SIGNATURE_DOES_NOT_MATCH);
    /* ...but only for the same secret */
    cache->keys[0].secret[0] ^= 1;
    assert_int_equal(check_with(cache, GET_RANGE, EXAMPLE_NOW, &second), S3_OK);
    assert_int_equal(cache->used, 2);
    s3_key_cache_clear(cache);
    assert_int_equal(cache->used, 0);
    free(wrong);
    free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_signatures),   cmocka_unit_test(any_other_byte_is_refused),
        cmocka_unit_test(changed_requests),  cmocka_unit_test(times),
        cmocka_unit_test(version_2),         cmocka_unit_test(unsigned_requests),
        cmocka_unit_test(payloads),          cmocka_unit_test(key_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
