/* lib/net/http1_fields.c - "Name: value" lines, byte by byte through one table. */
#include "net/http1_fields.h"

/* T: token, and so allowed everywhere.  G: other visible bytes.  S: space and
 * tab.  H: 0x80 and up, which old clients send raw in targets and values. */
#define T   (HTTP1_TOKEN | HTTP1_TARGET | HTTP1_VALUE)
#define G   (HTTP1_TARGET | HTTP1_VALUE)
#define S   HTTP1_VALUE
#define H   (HTTP1_TARGET | HTTP1_VALUE)
#define H16 H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H

/* clang-format off */
const unsigned char http1_bytes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, S, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
/*     !  "  #  $  %  &  '  (  )  *  +  ,  -  .  /  */
    S, T, G, T, T, T, T, T, G, G, T, T, G, T, T, G,
/*  0  1  2  3  4  5  6  7  8  9  :  ;  <  =  >  ?  */
    T, T, T, T, T, T, T, T, T, T, G, G, G, G, G, G,
/*  @  A  B  C  D  E  F  G  H  I  J  K  L  M  N  O  */
    G, T, T, T, T, T, T, T, T, T, T, T, T, T, T, T,
/*  P  Q  R  S  T  U  V  W  X  Y  Z  [  \  ]  ^  _  */
    T, T, T, T, T, T, T, T, T, T, T, G, G, G, T, T,
/*  `  a  b  c  d  e  f  g  h  i  j  k  l  m  n  o  */
    T, T, T, T, T, T, T, T, T, T, T, T, T, T, T, T,
/*  p  q  r  s  t  u  v  w  x  y  z  {  |  }  ~     */
    T, T, T, T, T, T, T, T, T, T, T, G, T, G, T, 0,
    H16, H16, H16, H16, H16, H16, H16, H16
};
/* clang-format on */

enum http1_progress http1_field(const char **p, const char *end, struct mkv_header *h,
                                const char **why)
{
    const char *at = *p, *name = at, *value, *last;

    while (at < end && http1_is((unsigned char)*at, HTTP1_TOKEN))
        at++;
    if (at == end || *at != ':' || at == name) {
        if (at < end && at == name && (*at == ' ' || *at == '\t'))
            *why = "a header line is folded";
        else if (at < end && (*at == ' ' || *at == '\t'))
            *why = "white space before the colon of a header";
        else
            *why = "a header's name is empty, misspelt or without a colon";
        return HTTP1_BAD;
    }
    h->name = mkv_slice(name, (size_t)(at - name));

    at++;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    value = at;
    while (at < end && http1_is((unsigned char)*at, HTTP1_VALUE))
        at++;
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n') {
        *why = "a control character in the value of a header";
        return HTTP1_BAD;
    }
    last = at;
    while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    h->value = mkv_slice(value, (size_t)(last - value));
    *p = at + 2;
    return HTTP1_DONE;
}
