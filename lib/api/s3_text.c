#include "api/s3_text.h"

#include <string.h>
#include <time.h>

#include <openssl/evp.h>

/* ---- base64 ---------------------------------------------------------------- */

size_t s3_base64(char *out, const uint8_t *bytes, size_t len)
{
    return (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

bool s3_unbase64(struct mkv_slice in, uint8_t *out, size_t max, size_t *len)
{
    size_t pad = 0, n = 0;
    uint32_t bits = 0; /* the last ones read; what is older has been shifted out */

    if (in.len % 4 != 0) return false;
    while (pad < 2 && pad < in.len && in.data[in.len - 1 - pad] == '=')
        pad++;
    if (in.len / 4 * 3 - pad > max) return false;
    for (size_t i = 0; i < in.len - pad; i++) {
        int value = base64_value(in.data[i]);

        if (value < 0) return false;
        bits = bits << 6 | (unsigned)value;
        if (i % 4 != 0) out[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    /* Bits that belong to no byte must be 0, or two texts would mean the same. */
    if ((pad == 1 && (bits & 3)) || (pad == 2 && (bits & 15))) return false;
    *len = n;
    return true;
}

/* ---- percent-encoding ------------------------------------------------------ */

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

size_t s3_uri_encode(struct mkv_slice in, bool keep_slash, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    char *p = out;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.data[i];

        if (is_unreserved(c) || (c == '/' && keep_slash)) {
            *p++ = c;
            continue;
        }
        *p++ = '%';
        *p++ = digits[(unsigned char)c >> 4];
        *p++ = digits[(unsigned char)c & 15];
    }
    return (size_t)(p - out);
}

/* ---- dates ------------------------------------------------------------------ */

/* 9999-12-31T23:59:59Z: no text form here has a fifth digit for the year. */
#define LAST_SECOND INT64_C(253402300799)

struct moment {
    unsigned year, month, day, hour, minute, second;
};

/* A listing has a date for each key: gmtime_r and strftime would take longer than
 * all the rest of it.  Days and years are counted from March 1st of the year 0
 * on: so a leap day is the last one of its year.  400 years have 146,097 days. */
static struct moment split_time(int64_t when)
{
    int64_t t = when >= 0 && when <= LAST_SECOND ? when : 0;
    unsigned of_day = (unsigned)(t % 86400), day = (unsigned)(t / 86400) + 719468;
    unsigned of_era = day % 146097;
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153; /* 0: March */

    return (struct moment){.year = 400 * (day / 146097) + year + (month >= 10),
                           .month = month < 10 ? month + 3 : month - 9,
                           .day = of_year - (153 * month + 2) / 5 + 1,
                           .hour = of_day / 3600,
                           .minute = of_day / 60 % 60,
                           .second = of_day % 60};
}

/* Two digits, and the character behind them; returns where the next ones go. */
static char *put_two(char *out, unsigned n, char behind)
{
    out[0] = (char)('0' + n / 10);
    out[1] = (char)('0' + n % 10);
    out[2] = behind;
    return out + (behind ? 3 : 2);
}

void s3_amz_date(char out[S3_AMZ_DATE_LEN + 1], int64_t when)
{
    struct moment m = split_time(when);

    out = put_two(out, m.year / 100, 0);
    out = put_two(out, m.year % 100, 0);
    out = put_two(out, m.month, 0);
    out = put_two(out, m.day, 'T');
    out = put_two(out, m.hour, 0);
    out = put_two(out, m.minute, 0);
    out = put_two(out, m.second, 'Z');
    *out = '\0';
}

void s3_iso_date(char out[S3_ISO_DATE_LEN + 1], int64_t when)
{
    struct moment m = split_time(when);

    out = put_two(out, m.year / 100, 0);
    out = put_two(out, m.year % 100, '-');
    out = put_two(out, m.month, '-');
    out = put_two(out, m.day, 'T');
    out = put_two(out, m.hour, ':');
    out = put_two(out, m.minute, ':');
    out = put_two(out, m.second, '.');
    memcpy(out, "000Z", 5);
}

/* What a date's text is matched against: 'Y', 'N', 'D', 'h', 'm', 's' stand for
 * a digit, 'b' for a letter of the month's name, '_' for a digit or a space,
 * '?' for any byte; everything else for itself. */
struct parsed {
    int year, month, day, hour, minute, second;
    char name[3];
    unsigned letters;
};

static int *number_of(struct parsed *p, char kind)
{
    switch (kind) {
    case 'Y': return &p->year;
    case 'N': return &p->month;
    case 'D':
    case '_': return &p->day;
    case 'h': return &p->hour;
    case 'm': return &p->minute;
    case 's': return &p->second;
    default: return NULL;
    }
}

static bool match(struct mkv_slice in, const char *form, struct parsed *p)
{
    memset(p, 0, sizeof(*p));
    if (in.len != strlen(form)) return false;
    for (size_t i = 0; i < in.len; i++) {
        int *number = number_of(p, form[i]);
        char c = in.data[i];

        if (form[i] == '?' || (form[i] == '_' && c == ' ')) continue;
        if (form[i] == 'b') {
            p->name[p->letters++ % 3] = c;
        } else if (number) {
            if (c < '0' || c > '9') return false;
            *number = *number * 10 + (c - '0');
        } else if (c != form[i]) {
            return false;
        }
    }
    return true;
}

static int month_of(const char name[3])
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int i = 0; i < 12; i++)
        if (memcmp(names + 3 * i, name, 3) == 0) return i + 1;
    return 0;
}

/* timegm() would make March 2nd of February 30th: then the day has changed. */
static bool join_time(const struct parsed *p, int64_t *when)
{
    struct tm tm = {.tm_year = p->year - 1900,
                    .tm_mon = p->month - 1,
                    .tm_mday = p->day,
                    .tm_hour = p->hour,
                    .tm_min = p->minute,
                    .tm_sec = p->second};
    time_t t;

    if (p->month < 1 || p->month > 12 || p->day < 1 || p->hour > 23 || p->minute > 59 ||
        p->second > 60)
        return false;
    tm.tm_sec = 0; /* a leap second may not look like the next day */
    t = timegm(&tm);
    if (tm.tm_mday != p->day || tm.tm_mon != p->month - 1) return false;
    *when = (int64_t)t + p->second;
    return true;
}

bool s3_parse_amz_date(struct mkv_slice in, int64_t *when)
{
    struct parsed p;

    return match(in, "YYYYNNDDThhmmssZ", &p) && join_time(&p, when);
}

bool s3_parse_iso_date(struct mkv_slice in, int64_t *when)
{
    static const size_t seconds_end = sizeof("2013-05-24T00:00:00") - 1;
    struct parsed p;
    size_t i = seconds_end;

    if (in.len <= seconds_end || !match(mkv_slice(in.data, seconds_end), "YYYY-NN-DDThh:mm:ss", &p))
        return false;
    if (in.data[i] == '.') {
        size_t digits = 0;

        for (i++; i < in.len && in.data[i] >= '0' && in.data[i] <= '9'; i++)
            digits++;
        if (digits < 1 || digits > 9) return false;
    }
    return i + 1 == in.len && in.data[i] == 'Z' && join_time(&p, when);
}

bool s3_parse_http_date(struct mkv_slice in, int64_t *when)
{
    const char *comma = in.len ? memchr(in.data, ',', in.len) : NULL;
    struct parsed p;

    if (comma && comma - in.data > 3) {
        /* "Sunday, 06-Nov-94 08:49:37 GMT": the day's name has any length */
        size_t name = (size_t)(comma - in.data);

        if (!match(mkv_slice(comma, in.len - name), ", DD-bbb-YY hh:mm:ss GMT", &p)) return false;
        p.year += p.year >= 70 ? 1900 : 2000;
    } else if (!match(in, "???, DD bbb YYYY hh:mm:ss GMT", &p) &&
               !match(in, "???, DD bbb YYYY hh:mm:ss +0000", &p) &&
               !match(in, "??? bbb _D hh:mm:ss YYYY", &p)) {
        return false;
    }
    p.month = month_of(p.name);
    return join_time(&p, when);
}
