/* lib/index/lock.h - one writer for each index: the file mkv.lock.
 *
 * The lock belongs to the open file (F_OFD_SETLK), so that it ends with the
 * process however that ends, and so that looking at it, or closing another
 * descriptor of it, never disturbs it.  The file says who holds it, in two
 * lines: the address and the process id. */
#ifndef MKV_INDEX_LOCK_H
#define MKV_INDEX_LOCK_H

#include "mkv/err.h"

#include <stddef.h>

/* MKV_ELOCKED, MKV_EINDEX: why says what to do.  address may be NULL. */
enum mkv_err index_lock_take(int *fd, const char *dir, const char *address, char *why,
                             size_t why_size) MKV_MUSTUSE;
void index_lock_release(int fd); /* -1 is fine */

#endif
