/* include/mkv/uri.h - percent-encoding, query strings, UTF-8.  Pure. */
#ifndef MKV_URI_H
#define MKV_URI_H

#include "mkv/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Decodes %XX; '+' stays unless form is true (then it is a space).  out must
 * hold in.len bytes and may be in.data's own memory.  False where a '%' is
 * not followed by two hex digits. */
bool mkv_percent_decode(struct mkv_slice in, bool form, char *out, size_t *out_len);

/* Encodes a key for a URL path: unreserved characters, '/' and what RFC 3986
 * allows in a path stay; everything else becomes %XX.  out must hold
 * 3 * in.len bytes.  Returns the length. */
size_t mkv_percent_encode_path(struct mkv_slice in, char *out);

/* Walks "a=b&c&d=": name and value still encoded.  Start with *rest the whole
 * query; false at the end.  "c" has value.data NULL; empty pieces are skipped. */
bool mkv_query_next(struct mkv_slice *rest, struct mkv_slice *name, struct mkv_slice *value);

/* Strict: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
bool mkv_utf8_valid(struct mkv_slice s);
/* Bytes of the character that s begins with, 1 to 4; 0 where s is empty or its
 * first byte begins none. */
size_t mkv_utf8_first(struct mkv_slice s);

/* s as the inside of a JSON string: quotes, backslash and control characters
 * escaped, bad UTF-8 replaced by U+FFFD (one for each bad byte).  out must hold
 * 6 * s.len bytes.  Returns the length. */
size_t mkv_json_escape(struct mkv_slice s, char *out);

#endif
