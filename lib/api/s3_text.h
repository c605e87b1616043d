/* lib/api/s3_text.h - the small text forms that S3 is made of: base64, its
 * percent-encoding, its dates.  Pure. */
#ifndef MKV_API_S3_TEXT_H
#define MKV_API_S3_TEXT_H

#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What len bytes take as base64, with its NUL. */
#define S3_BASE64_MAX(len) (4 * (((len) + 2) / 3) + 1)

/* Standard alphabet, padded, NUL behind it.  Returns the length without that. */
size_t s3_base64(char *out, const uint8_t *bytes, size_t len);
/* Strict: padded, canonical, no white space.  False also where it decodes to
 * more than max bytes. */
bool s3_unbase64(struct mkv_slice in, uint8_t *out, size_t max, size_t *len);

/* As AWS encodes: all but letters, digits and "-._~" becomes %XX, and '/' too
 * unless keep_slash.  That is also what encoding-type=url wants.  out must hold
 * 3 * in.len bytes.  Returns the length. */
size_t s3_uri_encode(struct mkv_slice in, bool keep_slash, char *out);

#define S3_AMZ_DATE_LEN 16 /* "20130524T000000Z"         */
#define S3_ISO_DATE_LEN 24 /* "2013-05-24T00:00:00.000Z" */

/* Seconds since 1970, as text with a NUL.  Years 0 to 9999; others become
 * 1970. */
void s3_amz_date(char out[S3_AMZ_DATE_LEN + 1], int64_t when);
void s3_iso_date(char out[S3_ISO_DATE_LEN + 1], int64_t when);

/* False where it is no such date: February 30th, a 25th hour, other text. */
bool s3_parse_amz_date(struct mkv_slice in, int64_t *when);
/* "2013-05-24T00:00:00Z", with or without a fraction, which is dropped. */
bool s3_parse_iso_date(struct mkv_slice in, int64_t *when);
/* The three forms of RFC 9110: IMF-fixdate, RFC 850 (years 70 to 99 lie in the
 * last century), asctime; and the first with "+0000" for "GMT", which s3cmd
 * sends.  The day's name is not looked at. */
bool s3_parse_http_date(struct mkv_slice in, int64_t *when);

#endif
