/* lib/api/s3_xml.h - writes XML answers: elements and escaped text, into memory
 * that grows up to a limit.
 *
 * Nothing returns an error on the way: when memory ends or the limit is
 * reached, the rest is left out and `failed` says so at the end. */
#ifndef MKV_API_S3_XML_H
#define MKV_API_S3_XML_H

#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_XML_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

struct s3_xml {
    char *data; /* owned; not ended by NUL */
    size_t len, size, max;
    bool failed;
};

/* max: bytes it may grow to.  No memory is taken yet. */
void s3_xml_init(struct s3_xml *x, size_t max);
void s3_xml_clear(struct s3_xml *x);
/* The memory is given away to the caller (free); NULL where it failed.  x is
 * as after s3_xml_init. */
char *s3_xml_take(struct s3_xml *x, size_t *len);

/* The declaration and <name xmlns="...">.  Names are ours and are not escaped. */
void s3_xml_root(struct s3_xml *x, const char *name);
void s3_xml_open(struct s3_xml *x, const char *name);
void s3_xml_close(struct s3_xml *x, const char *name);

/* <name>text</name>.  & < > " become entities, control characters numbers
 * ("&#x1;", as S3 writes them: XML 1.0 knows most of them in no form, which is
 * what encoding-type=url is for), bytes that are no UTF-8 U+FFFD. */
void s3_xml_text(struct s3_xml *x, const char *name, struct mkv_slice text);
/* The same with the text percent-encoded where url is true; '/' stays. */
void s3_xml_key(struct s3_xml *x, const char *name, struct mkv_slice text, bool url);
void s3_xml_number(struct s3_xml *x, const char *name, uint64_t number);
void s3_xml_bool(struct s3_xml *x, const char *name, bool value);
void s3_xml_date(struct s3_xml *x, const char *name, int64_t when); /* seconds since 1970 */
void s3_xml_etag(struct s3_xml *x, const char *name, struct mkv_slice etag); /* adds the quotes */

/* Bytes as they are: white space that keeps a connection alive. */
void s3_xml_raw(struct s3_xml *x, struct mkv_slice bytes);

#endif
