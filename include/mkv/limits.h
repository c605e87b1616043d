/* include/mkv/limits.h - the sizes that every layer agrees on. */
#ifndef MKV_LIMITS_H
#define MKV_LIMITS_H

#include <stdint.h>

#define MKV_KEY_MAX         1089 /* an S3 bucket of 63, a key of 1,024, two slashes */
#define MKV_REPLICAS_MAX    16   /* copies of one value                             */
#define MKV_VOLUMES_MAX     1024 /* volume servers in one -volumes list             */
#define MKV_SUBVOLUMES_MAX  65535
#define MKV_VOLUME_NAME_MAX 255  /* host:port/dir                                   */

#endif
