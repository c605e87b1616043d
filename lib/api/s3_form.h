/* lib/api/s3_form.h - multipart/form-data as browsers post it to S3: fields, then
 * one file.  RFC 7578, 2046.  Pure: bytes in, fields and pieces of the file out.
 *
 * Fields are collected, the file is handed out as it comes; what follows it is
 * dropped.  Memory: the fields, S3_FORM_FIELDS_MAX bytes. */
#ifndef MKV_API_S3_FORM_H
#define MKV_API_S3_FORM_H

#include "api/s3_error.h"
#include "mkv/err.h"
#include "mkv/slice.h"
#include "net/http1.h"

#include <stdbool.h>
#include <stddef.h>

#define S3_FORM_BOUNDARY_MAX 70          /* characters: RFC 2046 */
#define S3_FORM_FIELDS_MAX   (64 * 1024) /* bytes of all names and values        */
#define S3_FORM_COUNT_MAX    64          /* fields                               */
#define S3_FORM_HEAD_MAX     4096        /* bytes of one part's header lines     */

enum s3_form_step {
    S3_FORM_PREAMBLE,  /* before the first boundary                           */
    S3_FORM_DELIMITER, /* behind a boundary: "--" ends it, CRLF begins a part */
    S3_FORM_HEAD,      /* a part's header lines                               */
    S3_FORM_FIELD,     /* a field's value                                     */
    S3_FORM_FILE,      /* the file                                            */
    S3_FORM_REST,      /* behind the file: dropped                            */
    S3_FORM_BAD
};

struct s3_form {
    enum s3_form_step step;
    char delimiter[4 + S3_FORM_BOUNDARY_MAX]; /* CR LF "--" and the boundary           */
    size_t delimiter_len;
    size_t matched;                 /* bytes of it that the last ones are           */
    char ends[2];                   /* DELIMITER: what follows it                   */
    size_t nends;
    char head[S3_FORM_HEAD_MAX];
    size_t head_len;
    char *text;                     /* owned: the fields, one behind the other      */
    size_t text_len;
    struct mkv_header fields[S3_FORM_COUNT_MAX]; /* into text; complete before the file */
    size_t nfields;
    size_t offsets[S3_FORM_COUNT_MAX][2];        /* of name and value in text           */
    struct mkv_slice filename, file_type;        /* of the file part; into text         */
    bool has_file;                  /* the file has begun                           */
    bool file_ended;
    const char *why;
};

/* content_type: of the request.  S3_OK, S3_MALFORMED_POST_REQUEST, S3_INTERNAL_ERROR. */
enum s3_error s3_form_init(struct s3_form *f, struct mkv_slice content_type) MKV_MUSTUSE;
void s3_form_clear(struct s3_form *f);

/* Takes bytes up to the beginning of the file (has_file becomes true: the fields
 * are complete), then one piece of it at a time into *payload, which may lie in f
 * or in data.  S3_OK with nothing used and no payload does not happen: feed more
 * when *used is len. */
enum s3_error s3_form_next(struct s3_form *f, const char *data, size_t len, size_t *used,
                           struct mkv_slice *payload) MKV_MUSTUSE;
/* The body is over: S3_OK, where there was a file and a boundary behind it. */
enum s3_error s3_form_end(const struct s3_form *f) MKV_MUSTUSE;

/* The field's value, names in either case; data NULL where there is none. */
struct mkv_slice s3_form_field(const struct s3_form *f, struct mkv_slice name);

#endif
