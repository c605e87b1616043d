/* include/mkv/name.h - a key's file name on a volume, and back.
 *
 * "/%02x/%02x/NAME": the first two bytes of MD5(key), then standard base64.
 * The rules for long components, a final '/', and generations: api.md
 * section 4 and docs/format.md.  Pure; frozen. */
#ifndef MKV_NAME_H
#define MKV_NAME_H

#include "mkv/record.h"
#include "mkv/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define MKV_NAME_WHOLE_MAX 255 /* a component up to this stays whole...           */
#define MKV_NAME_CUT       240 /* ...a longer one is cut every so many characters */
/* "/xx/yy/", base64, two for each cut, "-", "~" and 14 hex digits, NUL */
#define MKV_PATH_MAX (8 + 4 * ((MKV_KEY_MAX + 2) / 3) + 2 * 8 + 1 + 15)

/* key.len must be at most MKV_KEY_MAX.  Returns the length, without the NUL. */
size_t mkv_key_path(char out[MKV_PATH_MAX], struct mkv_slice key, uint64_t generation);
/* The same where MD5(key) is at hand already. */
size_t mkv_key_path_md5(char out[MKV_PATH_MAX], struct mkv_slice key, const uint8_t md5[MKV_MD5_LEN],
                        uint64_t generation);

/* The key whose file lies at path ("/xx/yy/NAME").  False where path is not
 * exactly what mkv_key_path makes of a key of 1 to MKV_KEY_MAX bytes.
 * nginx merges the "//" that base64 of non-UTF-8 keys may hold; those are
 * found again by the MD5 in the path, as long as few slashes are missing.
 *
 * key must hold MKV_KEY_MAX bytes. */
bool mkv_path_key(struct mkv_slice path, char *key, size_t *key_len, uint64_t *generation);

#endif
