/* lib/api/s3_chunked.h - the aws-chunked framing of an S3 body.
 *
 *     hex-size;chunk-signature=SIG CRLF data CRLF
 *     ...
 *     0;chunk-signature=SIG CRLF
 *     x-amz-checksum-crc32c:VALUE CRLF x-amz-trailer-signature:SIG CRLF
 *     CRLF
 *
 * It lies inside HTTP's own framing.  Without signatures the sizes stand alone;
 * without trailers the last chunk is followed by an empty line.
 *
 * A chunk's payload is handed out BEFORE its signature can be known to hold:
 * the caller must commit nothing before s3_chunked_end() has said S3_OK.  That
 * the payload is as long as x-amz-decoded-content-length says is for the caller
 * to check.  Memory: 8 KB at most, and one hash. */
#ifndef MKV_API_S3_CHUNKED_H
#define MKV_API_S3_CHUNKED_H

#include "api/s3_error.h"
#include "api/s3_sign.h"

#define S3_CHUNK_LINE_MAX 128        /* bytes of a chunk's first line */
#define S3_TRAILER_MAX    (8 * 1024) /* bytes of all trailer lines    */
#define S3_TRAILERS_MAX   16         /* trailer lines                 */

enum s3_chunk_step {
    S3_CHUNK_HEAD,     /* the line with the size                                     */
    S3_CHUNK_DATA,     /* payload, handed out and hashed                             */
    S3_CHUNK_DATA_END, /* the CRLF behind it; then the signature is compared         */
    S3_CHUNK_TRAILER,  /* lines after the last chunk, up to an empty one             */
    S3_CHUNK_LAST,     /* all is said; one more CRLF may come, as minio-go sends it  */
    S3_CHUNK_BAD       /* what is wrong stands in err and why                        */
};

struct s3_chunked {
    enum s3_chunk_step step;
    bool is_signed, has_trailer;
    const struct s3_signature *signature; /* borrowed: outlives this; NULL: none is compared */
    char previous[2 * MKV_SHA256_LEN + 1];
    uint8_t expected[MKV_SHA256_LEN]; /* what the chunk's first line says         */
    struct mkv_digest *hash;          /* owned: of the chunk's payload so far     */
    uint64_t left;                    /* payload bytes of this chunk still to come */
    unsigned ends;                    /* bytes of a CRLF seen                     */
    char line[S3_CHUNK_LINE_MAX];
    size_t line_len;
    char *trailer;                    /* owned: the lines, as "name:value\n" with small letters */
    size_t trailer_len, trailer_line; /* trailer_line: where the current one begins */
    bool trailer_verified;
    struct mkv_header trailers[S3_TRAILERS_MAX]; /* into trailer; valid after S3_CHUNK_LAST */
    size_t ntrailers;
    enum s3_error err;
    const char *why; /* static text; NULL: the error's own message */
};

/* payload is one of the three S3_PAYLOAD_STREAMING... kinds.  signature: of the
 * request's head; NULL where the server checks none: then the framing alone is
 * checked.  A signature of version 2 goes with the unsigned kind only. */
void s3_chunked_init(struct s3_chunked *c, enum s3_payload payload,
                     const struct s3_signature *signature);

/* Takes bytes until it has a piece of payload or has used all.  S3_OK with
 * payload->len > 0: a piece, into data (call again with the rest).  S3_OK with
 * 0: all is used, feed more.  Otherwise the error to answer with: S3_INVALID_REQUEST
 * or S3_INCOMPLETE_BODY for framing, S3_SIGNATURE_DOES_NOT_MATCH, S3_MALFORMED_TRAILER,
 * S3_INTERNAL_ERROR (memory); it stays. */
enum s3_error s3_chunked_next(struct s3_chunked *c, const char *data, size_t len, size_t *used,
                              struct mkv_slice *payload) MKV_MUSTUSE;

/* The body is over.  S3_OK: it was complete and every signature held; then
 * trailers are set.  S3_INCOMPLETE_BODY: it was cut short. */
enum s3_error s3_chunked_end(struct s3_chunked *c) MKV_MUSTUSE;

void s3_chunked_clear(struct s3_chunked *c);

#endif
