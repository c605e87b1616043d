/* include/mkv/place.h - where a key belongs.  Pure, and frozen: the volumes of
 * the original minikeyvalue stay valid only while these answers stay the same.
 *
 * A volume server's score is MD5(key + name as given in -volumes); servers
 * sorted by score, highest first, stable; the subvolume is the last four bytes
 * of the score (big-endian) mod subvolumes. */
#ifndef MKV_PLACE_H
#define MKV_PLACE_H

#include "mkv/record.h"
#include "mkv/slice.h"

#include <stddef.h>

/* Fills ordered[0..n) with all n volumes in placement order; .volume is the
 * index into names.  With subvolumes == 1 every subvolume is MKV_NO_SUBVOLUME. */
void mkv_place(struct mkv_slice key, const struct mkv_slice *names, size_t n, unsigned subvolumes,
               struct mkv_replica *ordered);

/* "name/svXX" or "name" into out (MKV_REPLICA_TEXT_MAX bytes suffice);
 * returns its length. */
#define MKV_REPLICA_TEXT_MAX (MKV_VOLUME_NAME_MAX + sizeof("/svFFFF"))
size_t mkv_replica_text(char *out, struct mkv_slice name, unsigned subvolume);

#endif
