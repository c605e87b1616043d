/* lib/api/s3_crc.h - the three CRCs of S3.  Pure.  Several GB/s where x86-64 has
 * PCLMULQDQ, which is asked at run time; about 1.5 GB/s elsewhere. */
#ifndef MKV_API_S3_CRC_H
#define MKV_API_S3_CRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum s3_crc { S3_CRC32, S3_CRC32C, S3_CRC64NVME };

/* The sum of what sum is of and data behind it; 0 is the sum of nothing. */
uint64_t s3_crc(enum s3_crc kind, uint64_t sum, const void *data, size_t len);

/* The sum of what a is of and, behind it, len_b bytes that b is of.  Takes as
 * long for a terabyte as for a byte. */
uint64_t s3_crc_join(enum s3_crc kind, uint64_t a, uint64_t b, uint64_t len_b);

/* The same as s3_crc without special instructions, for tests to compare. */
uint64_t s3_crc_plain(enum s3_crc kind, uint64_t sum, const void *data, size_t len);

#endif
